//! The events of a peer: each one as a line for people and as JSON for programs.

use std::net::SocketAddr;

use serde::Serialize;

use crate::bound::BoundTerm;
use crate::causes::{Lost, NoList, Waits, with_text};
use crate::md5::Digest;
use crate::state::overview::Doing;
use crate::state::{Choice, Share};
use crate::torrent::Name;

mod shares;
mod text;
mod weights;

/// A file of fewer bytes isn't said to begin: a terminal shows how far it is.
const SMALL: u64 = 16 << 20;
/// What takes less has no line of its own, or no more than one, seconds.
const SOON: f64 = 1.0;

/// Something that a peer does or meets. In the log it is an object with `t` (the seconds since the start), `event`, and
/// these fields; sizes are bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs)] // the fields say what they are
pub enum Event {
    Starting {
        dir: String,
        tracker: String,
        only: Vec<Name>,
        pick: bool,
    },
    Listening {
        port: u16,
        dir: String,
        tracker: String,
    },
    Page {
        url: String,
    },
    /// It isn't what it seems, as the command line wants it.
    Pretending {
        told: String,
    },
    /// No list came.
    TrackerUnreachable {
        at: String,
        #[serde(flatten, serialize_with = "with_text")]
        cause: NoList,
    },
    /// The tracker answers pings, and doesn't take this peer's list.
    ListRefused {
        why: String,
    },
    OriginalTracker,
    List {
        n_peers: usize,
        n_files: usize,
        original: bool,
        /// Whether it is the first one, or the first after a failure.
        #[serde(skip)]
        first: bool,
    },
    FewPeers {
        n_peers: usize,
        waits_for: Option<usize>,
    },
    PingsEvery {
        seconds: f64,
    },
    ListSent {
        n_files: usize,
        n_parts: usize,
    },
    Waiting {
        name: String,
        #[serde(flatten, serialize_with = "with_text")]
        cause: Waits,
        /// Whether people weren't told of it yet.
        #[serde(skip)]
        is_news: bool,
    },
    NotShared {
        name: String,
        why: String,
    },
    Hashing {
        name: String,
        done: u64,
        size: u64,
    },
    Checking {
        name: String,
        done: u64,
        size: u64,
    },
    Hashed {
        name: String,
        size: u64,
        md5: String,
        seconds: f64,
    },
    Sharing {
        name: String,
        size: u64,
        md5: String,
    },
    Withdrawn {
        name: String,
    },
    Deleted {
        name: String,
    },
    Command {
        command: String,
    },
    OtherCopy {
        name: String,
        peer: String,
        md5: String,
    },
    PublisherFaulty {
        name: String,
        idx: u32,
        peer: Option<SocketAddr>,
    },
    Remark {
        what: String,
    },
    Reusing {
        name: String,
        done: u64,
        size: u64,
    },
    Published {
        name: String,
        md5: String,
    },
    Refused {
        name: String,
        md5: Digest,
        swarm: Option<Digest>,
        why: String,
    },
    NoTorrent {
        name: String,
        why: String,
    },
    Begin {
        name: String,
        size: u64,
        n_pieces: u32,
        here: u32,
        md5: String,
    },
    /// A file is being hashed, and its beginning is handed out; or it is fetched, where `here` says how many of its pieces are
    /// here.
    Head {
        name: String,
        size: u64,
        of: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        here: Option<u32>,
        /// Whether none of the file was fetched or handed out before.
        #[serde(skip)]
        first: bool,
    },
    Connected {
        peer: SocketAddr,
        latency_ms: f64,
    },
    /// A peer that is listed can't be connected to.
    NotReached {
        peer: SocketAddr,
        #[serde(flatten, serialize_with = "with_text")]
        cause: Lost,
    },
    Lost {
        peer: SocketAddr,
        #[serde(flatten, serialize_with = "with_text")]
        cause: Lost,
    },
    Pick(Choice),
    Piece {
        name: String,
        idx: u32,
        peer: Option<SocketAddr>,
        have: u32,
        n_pieces: u32,
        #[serde(skip)]
        classic: bool,
    },
    Progress {
        name: String,
        percent: u64,
        bytes_a_second: u64,
        left: Option<f64>,
        doing: Doing,
    },
    BadPiece {
        name: String,
        idx: u32,
        why: String,
        peer: Option<SocketAddr>,
    },
    GivenUp {
        name: String,
        why: String,
    },
    Complete {
        name: String,
        size: u64,
        md5: String,
        seconds: f64,
        here: u32,
        n_pieces: u32,
        /// How much of what was here when the download began was copied from other files.
        reused: u64,
        gave: u64,
        /// How many requests this peer had sent since its start, those for news too. Each has an answer.
        requests: u64,
        /// What held it up most of the time, if that can be told.
        held_up: Option<BoundTerm>,
        /// Its speed as a share of what Kurose and Ross's bound allows for the rates that were seen.
        of_bound: Option<f64>,
        shares: Vec<Share>,
    },
    Given {
        name: String,
        size: u64,
        md5: String,
        lately: u64,
        seconds: f64,
        gave: u64,
        shares: Vec<Share>,
        /// Whether people are to be told: a seed in use is told of often.
        #[serde(skip)]
        is_news: bool,
    },
    Unverified {
        name: String,
        size: u64,
        md5: String,
    },
    NotTwiceTheSame {
        name: String,
        why: String,
    },
    Gave {
        name: String,
        idx: u32,
        len: u32,
        peer: SocketAddr,
    },
    GaveOriginal {
        peer: SocketAddr,
        name: String,
        len: u64,
    },
    UploadEnded {
        peer: SocketAddr,
        why: String,
    },
    Disk {
        why: String,
        full: bool,
    },
    AcceptFailed {
        why: String,
    },
    Full {
        most: usize,
    },
    Ending {
        code: u8,
        why: Vec<String>,
    },
}

impl Event {
    /// Returns true if no other event says it: each round already reports that pieces are nowhere.
    pub(crate) fn is_news(&self) -> bool {
        let nowhere = |doing: &Doing| matches!(doing, Doing::Nowhere { .. });
        !matches!(self, Self::Progress { doing, .. } if nowhere(doing))
    }

    /// Returns true if the event changes which files are in work.
    pub(crate) fn changes_work(&self) -> bool {
        matches!(
            self,
            Self::Begin { .. }
                | Self::Head { .. }
                | Self::Sharing { .. }
                | Self::Complete { .. }
                | Self::GivenUp { .. }
        )
    }
}

/// Formats milliseconds, with more digits for smaller values.
fn millis(ms: f64) -> String {
    if ms < 1.0 {
        format!("{ms:.2} ms")
    } else {
        format!("{ms:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::{Reportable, Weight};

    #[test]
    fn an_event_is_a_line_and_an_object() {
        let name = || "a.iso".to_owned();
        let md5 = || "d41d8cd98f00b204e9800998ecf8427e".to_owned();
        let choice = Choice {
            name: name(),
            pieces: vec![3, 9],
            peer: "10.0.0.2:1".to_owned(),
            latency_ms: Some(0.5),
            copies: Some(1),
            tied: 2,
            holders: Vec::new(),
            reason: "rarest",
            classic: true,
        };
        for (event, kind, weight, text) in [
            (
                Event::Pick(choice),
                "pick",
                Weight::Normal,
                "pick a.iso piece 3 or 9 from 10.0.0.2:1: the rarest, 1 copy, 2 equally rare; latency 0.50 ms",
            ),
            (
                Event::Sharing {
                    name: name(),
                    size: 1536,
                    md5: md5(),
                },
                "sharing",
                Weight::Normal,
                "sharing a.iso: 1.5 KiB, MD5 d41d8cd98f00b204e9800998ecf8427e",
            ),
            (
                Event::Complete {
                    name: name(),
                    size: 10 << 20,
                    md5: md5(),
                    seconds: 10.0,
                    here: 0,
                    n_pieces: 10,
                    reused: 0,
                    gave: 0,
                    requests: 12,
                    held_up: Some(BoundTerm::SeedUplink),
                    of_bound: Some(0.8),
                    shares: Vec::new(),
                },
                "complete",
                Weight::Important,
                "complete: a.iso, 10.0 MiB in 10.0 s (1.0 MiB/s)\n\
                 held up by the seed's uplink; 1.25 times Kurose and Ross's bound for the rates that were seen\n\
                 MD5 d41d8cd98f00b204e9800998ecf8427e verified; serving on",
            ),
            (
                Event::Ending {
                    code: 4,
                    why: vec!["one".to_owned(), "two".to_owned()],
                },
                "ending",
                Weight::Important,
                "one\ntwo",
            ),
        ] {
            assert_eq!(event.to_string(), text);
            assert_eq!(event.weight(), weight, "{text}");
            let json = serde_json::to_value(&event).expect("plain data");
            assert_eq!(json["event"], json!(kind));
            assert!(json.get("classic").is_none(), "{json}");
        }
    }
}
