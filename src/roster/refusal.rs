//! What the tracker doesn't do, and why. Pure.

use std::fmt;
use std::net::IpAddr;

use super::{FILES_PER_ADDRESS, NAMES_PER_ADDRESS, NAMES_PER_LIST, PEERS_PER_ADDRESS};
use crate::protocol::{KEY_CAP, PUBLICATIONS};
use crate::torrent::Name;

/// Why the tracker doesn't do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// From another machine, to a local tracker.
    Stranger,
    /// Nobody listens on port 0.
    PortZero,
    /// [`PEERS_PER_ADDRESS`] are known at this address.
    Peers(IpAddr),
    /// So many names in a list, over [`NAMES_PER_LIST`].
    Names(usize),
    /// The lists of this address would have over [`NAMES_PER_ADDRESS`] names.
    NamesOf(IpAddr),
    /// [`FILES_PER_ADDRESS`] are published from this address.
    Files(IpAddr),
    /// A publisher's key of so many bytes: none, or over [`KEY_CAP`].
    Key(usize),
    /// So many files in one publication, over [`PUBLICATIONS`].
    Publications(usize),
    /// There is no such record.
    Unknown(Name),
    /// The tracker's disk doesn't do what it should.
    Disk(String),
}

impl fmt::Display for Refusal {
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
                "the lists from {ip} have at most {NAMES_PER_ADDRESS} names together"
            ),
            Self::Files(ip) => write!(
                f,
                "{FILES_PER_ADDRESS} files have been published from {ip}, and no more are taken"
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
        }
    }
}
