//! Whom each event is for, and whether it is good or bad news.

use super::{Event, SMALL, SOON};
use crate::causes::Waits;
use crate::report::{Reportable, Tone, Weight};
use crate::state::Choice;

/// A file of which no more than this was sent isn't worth a table, bytes.
const LITTLE: u64 = 1 << 20;

impl Reportable for Event {
    fn weight(&self) -> Weight {
        match self {
            Self::Pick(Choice { classic: true, .. }) | Self::Piece { classic: true, .. } => {
                Weight::Normal
            }
            Self::Pick(_) | Self::Piece { .. } | Self::Gave { .. } => Weight::Detail,
            Self::List { first: true, .. } => Weight::Normal,
            // what `sharing`, `complete` or the next ping says as well
            Self::List { .. } | Self::ListSent { .. } | Self::Published { .. } => Weight::Routine,
            Self::Begin { size, here: 0, .. } if *size < SMALL => Weight::Routine,
            Self::Head { first: false, .. } => Weight::Routine,
            Self::Hashed { seconds, .. } if *seconds < SOON => Weight::Routine,
            // it has just been put into that folder, and mostly comes in a moment
            Self::Waiting {
                cause: Waits::HashedElsewhere { percent: 0, .. },
                is_news: true,
                ..
            } => Weight::Routine,
            // it would be waited for in silence, most likely for ever
            Self::Waiting {
                cause: Waits::NotListed { near: Some(_) },
                is_news: true,
                ..
            } => Weight::Important,
            Self::Refused { .. }
            | Self::OtherCopy { .. }
            | Self::PublisherFaulty { .. }
            | Self::GivenUp { .. }
            | Self::Complete { .. }
            | Self::Unverified { .. } => Weight::Important,
            Self::Hashing { .. }
            | Self::Checking { .. }
            | Self::Reusing { .. }
            | Self::Progress { .. } => Weight::Progress,
            Self::Waiting { is_news: false, .. } => Weight::Logged,
            Self::UploadEnded { .. } | Self::Given { is_news: false, .. } => Weight::Routine,
            Self::Given { gave, .. } if *gave < LITTLE => Weight::Routine,
            Self::Starting { .. }
            | Self::Listening { .. }
            | Self::Page { .. }
            | Self::Pretending { .. }
            | Self::Disk { .. }
            | Self::Ending { .. }
            | Self::ListRefused { .. }
            | Self::TrackerUnreachable { .. } => Weight::Important,
            _ => Weight::Normal,
        }
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Complete { .. } | Self::Ending { code: 0, .. } => Tone::Good,
            Self::Ending { .. }
            | Self::Refused { .. }
            | Self::OtherCopy { .. }
            | Self::PublisherFaulty { .. }
            | Self::GivenUp { .. }
            | Self::BadPiece { .. }
            | Self::Pretending { .. }
            | Self::Disk { .. }
            | Self::ListRefused { .. }
            | Self::TrackerUnreachable { .. } => Tone::Bad,
            _ => Tone::Neutral,
        }
    }
}
