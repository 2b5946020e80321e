//! Why a peer can't be taken from, or not any more.

use std::fmt;

use serde::Serialize;

use super::NotUnderstood;

/// Why a peer can't be taken from, or not any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Lost {
    /// The machine is there, and nothing listens at the port.
    NobodyListens,
    /// No way leads to the address.
    NoRoute {
        /// What the system says.
        said: String,
    },
    /// Nothing comes back from the address.
    NoReply,
    /// The connection broke off.
    BrokeOff,
    /// It closed the connection where more had to come.
    ClosedEarly,
    /// The connection is open, and nothing came in time, or too little.
    Late {
        /// Which.
        said: String,
    },
    /// It says why it serves no requests.
    Refused {
        /// What it says.
        said: String,
    },
    /// Its message isn't understood.
    BadMessage {
        /// What is wrong with it.
        what: NotUnderstood,
    },
    /// Its answer is a message, and doesn't fit what was asked.
    Misfit {
        /// In which way.
        how: String,
    },
    /// It sent a bad piece.
    BadPiece {
        /// Which one.
        idx: u32,
    },
    /// It sent too many bad pieces.
    BadPieces,
    /// A fault of this machine's disk, or one that has no name here.
    Failed {
        /// What the system says.
        said: String,
    },
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyListens => write!(
                f,
                "nothing listens at its port: its program has ended, and the tracker forgets it soon; or a firewall or a NAT in between refuses"
            ),
            Self::NoRoute { said } => write!(
                f,
                "no way leads there ({said}): it is off, in another network, or kept apart by its Wi-Fi"
            ),
            Self::NoReply => write!(
                f,
                "nothing comes back from that address: it is off, a firewall drops what goes to its port, or a Wi-Fi keeps its clients apart"
            ),
            Self::BrokeOff => write!(
                f,
                "the connection broke off: its program was ended, or its machine"
            ),
            Self::ClosedEarly => write!(f, "it closed the connection in the middle of an answer"),
            Self::Late { said } => {
                write!(
                    f,
                    "{said}: it hangs, or the network between has failed or loses large packets (is an MTU too large?)"
                )
            }
            Self::Failed { said } => write!(f, "{said}"),
            Self::Refused { said } => write!(f, "it takes no requests: {said}"),
            Self::BadMessage { what } => write!(f, "its message isn't understood: {what}"),
            Self::Misfit { how } => write!(f, "the answer doesn't fit: {how}"),
            Self::BadPiece { idx } => write!(f, "it sent piece {idx} wrong"),
            Self::BadPieces => write!(f, "it sent too many bad pieces, and is left alone"),
        }
    }
}
