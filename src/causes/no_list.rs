//! Why no list came from the tracker.

use std::fmt;

use serde::Serialize;

use super::NotUnderstood;

/// Why no list came from the tracker, as far as a client can know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum NoList {
    /// Its name has no address, or not yet.
    NoAddress {
        /// What the system says.
        said: String,
    },
    /// The machine is there, and nothing listens at the port.
    NobodyListens,
    /// No way leads to the address.
    NoRoute {
        /// What the system says.
        said: String,
    },
    /// It is an address of one link, and of which link isn't said.
    NoScope,
    /// Nothing comes back from the address.
    NoReply,
    /// It takes the connection, and says nothing in time, or not all.
    Silent,
    /// It closes the connection without an answer.
    Closed,
    /// Another program answers.
    NotATracker {
        /// What it sends.
        sends: String,
    },
    /// A tracker's answer, or what looks like one, isn't understood.
    BadAnswer {
        /// What is wrong with it.
        what: NotUnderstood,
    },
    /// It says why it doesn't serve this peer.
    Refused {
        /// What it says.
        said: String,
    },
    /// This machine's own fault, or one that has no name here.
    Failed {
        /// What the system says.
        said: String,
    },
}

impl NoList {
    /// Returns true if both are the same situation, whatever the system says of it.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Refused { said }, Self::Refused { said: other }) => said == other,
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        }
    }
}

/// Says what a program is by the first thing that it sends.
fn program_that_sends(sends: &str) -> String {
    for (begin, what) in [
        ("HTTP/", "a web server"),
        ("<", "a web server"),
        ("SSH-", "an SSH server"),
        ("RFB ", "a VNC server"),
        ("220", "a mail or FTP server"),
    ] {
        if sends.starts_with(begin) {
            return what.to_owned();
        }
    }
    format!("another program, which sends \"{sends}\"")
}

impl fmt::Display for NoList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress { said } => write!(
                f,
                "its name can't be resolved, or not yet ({said}): check the spelling, or give its address"
            ),
            Self::NobodyListens => write!(
                f,
                "nothing listens at that port: start `server`, or compare address and port with the command that it prints"
            ),
            Self::NoRoute { said } => write!(
                f,
                "no way leads there ({said}): check the address, and whether both machines are in one network"
            ),
            Self::NoScope => write!(
                f,
                "an address that begins with fe80 needs its interface behind it, as in fe80::1%eth0"
            ),
            Self::NoReply => write!(
                f,
                "nothing comes back from that address: it is wrong, the machine is off, or a firewall drops what goes to that port"
            ),
            Self::Silent => write!(
                f,
                "it takes the connection, and no whole answer comes in time: it hangs, the network is slow or loses large packets, or this isn't the tracker's port"
            ),
            Self::Closed => write!(
                f,
                "it closes the connection without an answer: is this the tracker's port, and not that of its page, of a peer or of \
                 another program?"
            ),
            Self::NotATracker { sends } => write!(
                f,
                "no tracker answers there, but {}: give the port that `server` prints",
                program_that_sends(sends)
            ),
            Self::BadAnswer { what } => write!(f, "its answer isn't understood: {what}"),
            Self::Refused { said } => write!(f, "it refuses this peer: {said}"),
            Self::Failed { said } => write!(f, "{said}"),
        }
    }
}
