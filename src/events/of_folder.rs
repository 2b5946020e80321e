//! The lines about the folder, and what is shared of it.

use std::fmt;

use super::Event;
use crate::causes::Waits;
use crate::units::{bytes, percent};

impl Event {
    /// What is said of the files in the folder.
    pub(super) fn fmt_of_folder(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotShared { name, why } => write!(f, "{name} isn't shared or fetched: {why}"),
            Self::Hashing { name, done, size } => {
                write!(
                    f,
                    "hashing {name}: {} %, {} of {}",
                    percent(*done, *size),
                    bytes(*done),
                    bytes(*size)
                )
            }
            Self::Checking { name, done, size } => {
                write!(
                    f,
                    "checking what is here of {name}: {} %",
                    percent(*done, *size)
                )
            }
            Self::Hashed {
                name,
                size,
                md5,
                seconds,
            } => {
                write!(
                    f,
                    "hashed {name}: {} in {seconds:.1} s, MD5 {md5}",
                    bytes(*size)
                )
            }
            Self::Withdrawn { name } => {
                write!(
                    f,
                    "{name} changed: it is shared again once it is left alone"
                )
            }
            Self::Deleted { name } => write!(
                f,
                "{name} was deleted or moved away: it is shared no more, and not fetched again in this run"
            ),
            Self::Remark { what } => write!(f, "{what}"),
            Self::Reusing { name, done, size } => write!(
                f,
                "looking for what can be copied into {name}: {} %",
                percent(*done, *size)
            ),
            _ => Ok(()),
        }
    }

    /// What is said of contents that are shared or not.
    pub(super) fn fmt_of_sharing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sharing { name, size, md5 } => {
                write!(f, "sharing {name}: {}, MD5 {md5}", bytes(*size))
            }
            Self::Published { name, md5 } => {
                write!(f, "the tracker has the .torrent of {name}, MD5 {md5}")
            }
            Self::Command { command } => {
                write!(
                    f,
                    "this content and no other, on the other machines:\n{command}"
                )
            }
            Self::OtherCopy { name, peer, md5 } => write!(
                f,
                "{peer} has another {name}, MD5 {md5}: that copy isn't shared"
            ),
            Self::Refused {
                name,
                md5,
                swarm: Some(swarm),
                why,
            } => {
                let (here, swarm) = (*md5, *swarm);
                let what = Waits::OtherContent { here, swarm };
                let before = if why.is_empty() { "" } else { "\n" };
                write!(f, "{name} isn't shared: {what}{before}{why}")
            }
            Self::Refused { name, why, .. } => {
                let said = why.clone();
                write!(f, "{name} isn't shared: {}", Waits::TrackerRefuses { said })
            }
            Self::NoTorrent { name, why } => {
                write!(f, "no .torrent of {name} from the tracker: {why}")
            }
            _ => Ok(()),
        }
    }
}
