//! Why a message isn't understood.

use std::fmt;
use std::io;

use serde::Serialize;

use crate::torrent::legible;

/// Why a message isn't understood: what was expected, and what came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum NotUnderstood {
    /// It doesn't begin as JSON does.
    NotJson {
        /// Its beginning, with what doesn't show escaped.
        begins: String,
    },
    /// It is no JSON, or none of the messages.
    NoMessage {
        /// Its beginning.
        begins: String,
        /// What the parser says.
        said: String,
    },
    /// A field isn't what it must be.
    WrongField {
        /// Which field: `peers[1].port`.
        path: String,
        /// What it must be.
        expected: String,
        /// Its type and value.
        got: String,
    },
    /// A field is missing.
    MissingField {
        /// Which field.
        path: String,
        /// What it must be.
        expected: String,
    },
    /// It has more bytes than any message.
    TooLong {
        /// The most, bytes.
        most: usize,
    },
    /// It has more values than any message.
    TooManyValues {
        /// The most.
        most: usize,
    },
}

impl NotUnderstood {
    /// It doesn't begin as JSON does, but like this.
    pub fn not_json(bytes: &[u8]) -> Self {
        Self::NotJson {
            begins: begin_of(bytes),
        }
    }

    /// It is no JSON, or none of the messages, as the parser says.
    pub fn no_message(bytes: &[u8], said: &str) -> Self {
        Self::NoMessage {
            begins: begin_of(bytes),
            said: legible(said),
        }
    }

    /// Returns the cause that is in an error of the protocol.
    pub fn in_error(fault: &io::Error) -> Option<&Self> {
        fault.get_ref()?.downcast_ref()
    }
}

/// Returns the first line of what came, at most [`super::SHOWN`] characters of it.
fn begin_of(bytes: &[u8]) -> String {
    let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(super::SHOWN)]);
    legible(begin.lines().next().unwrap_or_default())
}

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson { begins } => write!(f, "expected JSON, got \"{begins}\""),
            Self::NoMessage { begins, said } => write!(
                f,
                "expected one of the protocol's messages, got \"{begins}\": {said}"
            ),
            Self::WrongField {
                path,
                expected,
                got,
            } => write!(f, "expected {path:?} to be {expected}, got {got}"),
            Self::MissingField { path, expected } => {
                write!(f, "expected {path:?}, {expected}, which is missing")
            }
            Self::TooLong { most } => write!(f, "a message of over {most} bytes"),
            Self::TooManyValues { most } => write!(f, "a message of over {most} values"),
        }
    }
}

impl std::error::Error for NotUnderstood {}

impl From<NotUnderstood> for io::Error {
    fn from(what: NotUnderstood) -> Self {
        Self::new(io::ErrorKind::InvalidData, what)
    }
}
