//! What the tracker answers, as bytes.
//!
//! This module owns the form of an answer. What it says is decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use crate::net::ANSWER_EACH_BYTE;
use crate::protocol::{Reply, VERSION, to_bytes};
use crate::roster::LiveFiles;
use crate::semaphore::Permit;

/// How long an answer may take to be sent: whoever takes it more slowly than that keeps others from its permit.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// An answer on its way, and the permit for its memory: both go once the bytes are sent.
pub(super) struct TrackerReply<'a> {
    pub(super) bytes: Vec<u8>,
    /// What follows them: all answers share one, so it takes no memory of theirs.
    pub(super) ending: Option<Arc<LiveFiles>>,
    pub(super) _permit: Option<Permit<'a>>,
}

impl TrackerReply<'_> {
    /// What is sent, one after the other.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        let ending = self.ending.as_ref().map(|files| files.text());
        [&self.bytes, ending.unwrap_or_default()]
    }

    /// How long each of these may take to be sent: the list of files, of which all take megabytes at once, at least as long as a
    /// peer reads it.
    pub(super) fn times(&self) -> [Duration; 2] {
        let [_, ending] = self.parts();
        let of_ending = ANSWER_TIME + ANSWER_EACH_BYTE * ending.len() as u32;
        [ANSWER_TIME, of_ending]
    }
}

impl From<Vec<u8>> for TrackerReply<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ending: None,
            _permit: None,
        }
    }
}

impl From<Reply> for TrackerReply<'_> {
    fn from(reply: Reply) -> Self {
        to_bytes(&Reply {
            v: VERSION,
            ..reply
        })
        .into()
    }
}

impl TrackerReply<'_> {
    /// The answer to a peer of ours that is refused or not understood.
    pub(super) fn error(why: String) -> Self {
        Self::from(Reply {
            error: Some(why),
            ..Reply::default()
        })
    }
}
