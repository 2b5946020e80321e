//! What can go wrong between this peer and the tracker or another peer.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use crate::events::NoList;
use crate::md5::Digest;
use crate::net::is_timeout;
use crate::state::NotAskedFor;
use crate::store::StoreError;
use crate::torrent::legible;

/// Why a connection was of no use.
#[derive(Debug)]
pub(super) enum ClientError {
    /// The network, or a message that isn't one of the protocol's.
    Network(io::Error),
    /// The tracker's name has no address, or not yet.
    NoAddress(io::Error),
    /// The folder.
    Disk(StoreError),
    /// The other end takes no requests, and says why.
    Refused(String),
    /// An answer that doesn't fit any request.
    NotAskedFor,
    /// A message that the protocol doesn't have at this point: what was expected.
    Unexpected(&'static str),
    /// A piece of another length than its file's.
    PieceLength {
        /// Which piece.
        idx: u32,
        /// Bytes.
        expected: usize,
        /// Bytes.
        came: usize,
    },
    /// The connection was closed before all of a piece came.
    ClosedInPiece,
    /// The peer has sent too many pieces that failed their check.
    BadPieces,
    /// A peer asked for something that isn't here, or isn't any more.
    NotHere(String),
    /// Two copies from originals differ.
    NotTwiceTheSame([(SocketAddr, Digest); 2]),
}

impl ClientError {
    /// The other end takes no requests, and says why.
    pub(super) fn refused(why: &str) -> Self {
        Self::Refused(legible(why))
    }

    /// Returns what it means where the tracker was asked for its list.
    pub(super) fn no_list(&self) -> NoList {
        let why = self.to_string();
        match self {
            Self::NoAddress(_) => NoList::NoAddress { why },
            Self::Refused(why) => NoList::Refused { why: why.clone() },
            Self::Network(fault) => match fault.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => NoList::Closed,
                ErrorKind::InvalidData => NoList::Foreign { why },
                ErrorKind::ConnectionRefused => NoList::NobodyListens,
                _ => NoList::NoAnswer { why },
            },
            _ => NoList::Foreign { why },
        }
    }

    /// Returns true if nothing came in time.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Network(fault) if is_timeout(fault))
    }
}

impl From<io::Error> for ClientError {
    fn from(fault: io::Error) -> Self {
        Self::Network(fault)
    }
}

impl From<StoreError> for ClientError {
    fn from(fault: StoreError) -> Self {
        Self::Disk(fault)
    }
}

impl From<NotAskedFor> for ClientError {
    fn from(_: NotAskedFor) -> Self {
        Self::NotAskedFor
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(fault) => write!(f, "{fault}"),
            Self::NoAddress(fault) => write!(f, "{fault}"),
            Self::Disk(fault) => write!(f, "{fault}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::NotAskedFor => write!(f, "the answer doesn't fit: nobody asked for it"),
            Self::Unexpected(what) => write!(f, "the answer doesn't fit: {what}"),
            Self::PieceLength {
                idx,
                expected,
                came,
            } => write!(
                f,
                "the answer doesn't fit: piece {idx} has {expected} bytes, it sends {came}"
            ),
            Self::ClosedInPiece => write!(f, "closed in the middle of a piece"),
            Self::BadPieces => write!(f, "it sent too many bad pieces, and is left alone"),
            Self::NotHere(name) => write!(f, "it asked for {name:?}, which isn't here"),
            Self::NotTwiceTheSame([(first, one), (second, other)]) => write!(
                f,
                "{first} sent a content with MD5 {one}, {second} one with {other}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_was_expected_and_what_came() {
        let addr = |host: u8| SocketAddr::from(([10, 0, 0, host], 1));
        let digest = crate::md5::digest(b"");
        for (error, text) in [
            (ClientError::refused("a\u{1b}b"), "refused: a\\u{1b}b"),
            (
                NotAskedFor.into(),
                "the answer doesn't fit: nobody asked for it",
            ),
            (
                ClientError::PieceLength {
                    idx: 3,
                    expected: 9,
                    came: 7,
                },
                "the answer doesn't fit: piece 3 has 9 bytes, it sends 7",
            ),
            (
                ClientError::NotTwiceTheSame([(addr(2), digest), (addr(3), digest)]),
                "10.0.0.2:1 sent a content with MD5 d41d8cd98f00b204e9800998ecf8427e, 10.0.0.3:1 one with \
                 d41d8cd98f00b204e9800998ecf8427e",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
        let late = io::Error::from(io::ErrorKind::TimedOut);
        assert!(ClientError::from(late).is_timeout());
        assert!(!ClientError::BadPieces.is_timeout());
    }
}
