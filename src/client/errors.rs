//! What can go wrong between this peer and the tracker or another peer.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use crate::causes::{Lost, NoList, NotUnderstood};
use crate::md5::Digest;
use crate::net::is_timeout;
use crate::state::NotAskedFor;
use crate::store::StoreError;
use crate::torrent::legible;

/// Why a connection was of no use.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// The network, or a message that isn't one of the protocol's.
    Network(io::Error),
    /// The tracker's name has no address, or not yet.
    NoAddress(io::Error),
    /// The other end can't be connected to.
    NotConnected(io::Error),
    /// This machine no longer has the address at which its end of the connection was.
    Stranded,
    /// The system gives no thread for a connection.
    NoThread(io::Error),
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
    /// The connection was closed between two answers, though more was asked for.
    ClosedUnanswered,
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
    pub(crate) fn no_list(&self) -> NoList {
        let said = self.to_string();
        match self {
            Self::NoAddress(_) => NoList::NoAddress { said },
            Self::NotConnected(fault) => match fault.kind() {
                ErrorKind::ConnectionRefused => NoList::NobodyListens,
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                    NoList::NoRoute { said }
                }
                // nothing else than a scope may be missing from an address
                ErrorKind::InvalidInput => NoList::NoScope,
                _ if is_timeout(fault) => NoList::NoReply,
                _ => NoList::Failed { said },
            },
            Self::Network(fault) => match NotUnderstood::in_error(fault) {
                Some(NotUnderstood::NotJson { begins }) => NoList::NotATracker {
                    sends: begins.clone(),
                },
                Some(what) => NoList::BadAnswer { what: what.clone() },
                None if is_timeout(fault) => NoList::Silent,
                None if is_closed(fault) => NoList::Closed,
                None => NoList::Failed { said },
            },
            Self::Refused(said) => NoList::Refused { said: said.clone() },
            _ => NoList::Failed { said },
        }
    }

    /// Returns what it means where a peer was taken from.
    pub(super) fn lost(&self) -> Lost {
        let said = self.to_string();
        match self {
            Self::NotConnected(fault) => match fault.kind() {
                ErrorKind::ConnectionRefused => Lost::NobodyListens,
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                    Lost::NoRoute { said }
                }
                _ if is_timeout(fault) => Lost::NoReply,
                _ => Lost::Failed { said },
            },
            Self::Network(fault) => match NotUnderstood::in_error(fault) {
                Some(what) => Lost::BadMessage { what: what.clone() },
                None if fault.kind() == ErrorKind::UnexpectedEof => Lost::ClosedEarly,
                None if is_closed(fault) => Lost::BrokeOff,
                None if is_timeout(fault) => Lost::Late { said },
                None => Lost::Failed { said },
            },
            Self::Refused(said) => Lost::Refused { said: said.clone() },
            Self::ClosedInPiece => Lost::ClosedEarly,
            Self::ClosedUnanswered => Lost::BrokeOff,
            Self::BadPieces => Lost::BadPieces,
            Self::NotAskedFor | Self::Unexpected(_) | Self::PieceLength { .. } => {
                Lost::Misfit { how: said }
            }
            _ => Lost::Failed { said },
        }
    }

    /// Returns true if nothing came in time.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Network(fault) if is_timeout(fault))
    }
}

/// Returns true if the other end closed the connection, or it broke off.
fn is_closed(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

/// Returns the system's words without the number that it gives the fault.
fn without_number(fault: &io::Error) -> String {
    let said = fault.to_string();
    said.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
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
            Self::Network(fault) | Self::NoAddress(fault) | Self::NotConnected(fault) => {
                write!(f, "{}", without_number(fault))
            }
            Self::Stranded => write!(f, "this machine has another address by now"),
            Self::NoThread(fault) => write!(
                f,
                "no thread for the connection ({}): `ulimit -u` or a service's TasksMax allows too few",
                without_number(fault)
            ),
            Self::Disk(fault) => write!(f, "{fault}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::NotAskedFor => write!(f, "nobody asked for it"),
            Self::Unexpected(what) => write!(f, "{what}"),
            Self::PieceLength {
                idx,
                expected,
                came,
            } => write!(f, "piece {idx} has {expected} bytes, it sends {came}"),
            Self::ClosedInPiece => write!(f, "closed in the middle of a piece"),
            Self::ClosedUnanswered => write!(f, "closed before it had answered"),
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

    /// An error of the system, as it comes from a socket.
    fn system(kind: ErrorKind) -> io::Error {
        io::Error::from(kind)
    }

    #[test]
    fn whatever_fails_at_the_tracker_is_one_cause() {
        let web = || NotUnderstood::not_json(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let field = || NotUnderstood::MissingField {
            path: "port".to_owned(),
            expected: "a number".to_owned(),
        };
        let said = |text: &str| text.to_owned();
        // EHOSTUNREACH, which each C library says in words of its own
        let no_route = || io::Error::from_raw_os_error(113);
        for (error, expected) in [
            (
                ClientError::NoAddress(system(ErrorKind::NotFound)),
                NoList::NoAddress {
                    said: said("entity not found"),
                },
            ),
            (
                ClientError::NotConnected(system(ErrorKind::ConnectionRefused)),
                NoList::NobodyListens,
            ),
            (
                ClientError::NotConnected(no_route()),
                NoList::NoRoute {
                    said: without_number(&no_route()),
                },
            ),
            (
                // EINVAL
                ClientError::NotConnected(io::Error::from_raw_os_error(22)),
                NoList::NoScope,
            ),
            (
                ClientError::NotConnected(system(ErrorKind::TimedOut)),
                NoList::NoReply,
            ),
            (system(ErrorKind::TimedOut).into(), NoList::Silent),
            (system(ErrorKind::UnexpectedEof).into(), NoList::Closed),
            (system(ErrorKind::ConnectionReset).into(), NoList::Closed),
            (
                io::Error::from(web()).into(),
                NoList::NotATracker {
                    sends: said("HTTP/1.1 400 Bad Request"),
                },
            ),
            (
                io::Error::from(field()).into(),
                NoList::BadAnswer { what: field() },
            ),
            (
                ClientError::refused("no"),
                NoList::Refused { said: said("no") },
            ),
        ] {
            assert_eq!(error.no_list(), expected, "{error:?}");
        }
    }

    #[test]
    fn whatever_fails_at_a_peer_is_one_cause() {
        let web = || NotUnderstood::not_json(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let misfit = |how: &str| Lost::Misfit {
            how: how.to_owned(),
        };
        for (error, expected) in [
            (
                ClientError::NotConnected(system(ErrorKind::ConnectionRefused)),
                Lost::NobodyListens,
            ),
            (
                ClientError::NotConnected(system(ErrorKind::TimedOut)),
                Lost::NoReply,
            ),
            (system(ErrorKind::ConnectionReset).into(), Lost::BrokeOff),
            (system(ErrorKind::UnexpectedEof).into(), Lost::ClosedEarly),
            (ClientError::ClosedInPiece, Lost::ClosedEarly),
            (ClientError::ClosedUnanswered, Lost::BrokeOff),
            (
                io::Error::new(ErrorKind::TimedOut, "nothing came in time").into(),
                Lost::Late {
                    said: "nothing came in time".to_owned(),
                },
            ),
            (
                io::Error::from(web()).into(),
                Lost::BadMessage { what: web() },
            ),
            (
                ClientError::refused("all places are taken"),
                Lost::Refused {
                    said: "all places are taken".to_owned(),
                },
            ),
            (NotAskedFor.into(), misfit("nobody asked for it")),
            (ClientError::BadPieces, Lost::BadPieces),
        ] {
            assert_eq!(error.lost(), expected, "{error:?}");
        }
    }

    #[test]
    fn each_error_says_what_was_expected_and_what_came() {
        let addr = |host: u8| SocketAddr::from(([10, 0, 0, host], 1));
        let digest = crate::md5::digest(b"");
        for (error, text) in [
            (ClientError::refused("a\u{1b}b"), "refused: a\\u{1b}b"),
            (NotAskedFor.into(), "nobody asked for it"),
            (
                ClientError::PieceLength {
                    idx: 3,
                    expected: 9,
                    came: 7,
                },
                "piece 3 has 9 bytes, it sends 7",
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
