//! Why the tracker refuses a message, in words for the peer's user. This module decides nothing.

use std::fmt;
use std::net::IpAddr;

use super::limits::{FILES_PER_ADDRESS, NAMES_PER_ADDRESS, NAMES_PER_LIST, PEERS_PER_ADDRESS};
use crate::protocol::{KEY_CAP, PUBLICATIONS};
use crate::torrent::Name;

/// Why the tracker doesn't do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackerRefusal {
    /// The sender is on another machine, and the tracker is a local one.
    Stranger,
    /// The sender gave port 0, on which nobody listens.
    PortZero,
    /// This address has [`PEERS_PER_ADDRESS`] peers already.
    Peers(IpAddr),
    /// The list has this many names, which is more than [`NAMES_PER_LIST`].
    Names(usize),
    /// The lists of this address would have more than [`NAMES_PER_ADDRESS`] names.
    NamesOf(IpAddr),
    /// This address has published [`FILES_PER_ADDRESS`] files already.
    Files(IpAddr),
    /// The publisher's key has this many bytes: none, or more than [`KEY_CAP`].
    Key(usize),
    /// The message publishes this many files, which is more than [`PUBLICATIONS`].
    Publications(usize),
    /// No file of this name was published.
    Unknown(Name),
    /// The tracker's disk failed.
    Disk(String),
    /// Too many others are being served. The peer asks again at its next ping.
    Busy,
}

impl fmt::Display for TrackerRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger => write!(
                f,
                "this tracker serves its own machine only: it was started without --remote"
            ),
            Self::PortZero => write!(f, "expected the port that the peer listens on, came 0"),
            Self::Peers(ip) => write!(
                f,
                "{PEERS_PER_ADDRESS} peers have come from {ip}, and no more are taken"
            ),
            Self::Names(n) => write!(f, "a list has at most {NAMES_PER_LIST} names, this one {n}"),
            Self::NamesOf(ip) => write!(
                f,
                "the lists from {ip} have at most {NAMES_PER_ADDRESS} names together, and a large file counts as several"
            ),
            Self::Files(ip) => write!(
                f,
                "{FILES_PER_ADDRESS} files have been published from {ip}, where a large one counts as several, and no more are taken: end the \
                 tracker, delete the .torrents that nobody needs any more, and start it again"
            ),
            Self::Key(n) => write!(
                f,
                "a publisher's key has 1 to {KEY_CAP} bytes, this one {n}"
            ),
            Self::Publications(n) => write!(
                f,
                "a publication has at most {PUBLICATIONS} files, this one {n}"
            ),
            Self::Unknown(name) => write!(f, "nobody has published {name} here"),
            Self::Disk(why) => write!(f, "the tracker's disk: {why}"),
            Self::Busy => write!(f, "the tracker is busy, try again"),
        }
    }
}
