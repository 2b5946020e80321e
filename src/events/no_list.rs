//! Why no list came from the tracker: the true cause, as far as it is known.

use std::fmt;

/// Why no list came from the tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoList {
    /// It can't be connected to, or says nothing in time.
    NoAnswer {
        /// What the system says.
        why: String,
    },
    /// Nothing listens at its port.
    NobodyListens,
    /// Its name has no address, or not yet.
    NoAddress {
        /// What the system says.
        why: String,
    },
    /// It is a tracker, and doesn't serve this peer.
    Refused {
        /// What it says.
        why: String,
    },
    /// Whoever listens there took the ping for nonsense, and closed.
    Closed,
    /// What answers isn't a tracker, or one that speaks otherwise.
    Foreign {
        /// What came.
        why: String,
    },
}

impl NoList {
    /// Returns its name for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "no_answer",
            Self::NobodyListens => "nobody_listens",
            Self::NoAddress { .. } => "no_address",
            Self::Refused { .. } => "refused",
            Self::Closed => "closed",
            Self::Foreign { .. } => "foreign",
        }
    }
}

impl fmt::Display for NoList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer { why } => write!(f, "{why}"),
            Self::NobodyListens => write!(
                f,
                "nothing listens there; is the tracker started, and are these its address and port?"
            ),
            Self::NoAddress { why } => {
                write!(f, "its name can't be resolved, or not yet: {why}")
            }
            Self::Refused { why } => write!(f, "it refuses this peer: {why}"),
            Self::Closed => write!(
                f,
                "it closed the connection without an answer; is this the tracker's port, and not another program's or a peer's?"
            ),
            Self::Foreign { why } => write!(
                f,
                "what answers there isn't a tracker: {why}; give the port that the tracker listens on"
            ),
        }
    }
}
