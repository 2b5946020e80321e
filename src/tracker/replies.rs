//! What the tracker answers, as bytes.
//!
//! This module owns the form of an answer. What it says is decided elsewhere.

use std::sync::Arc;

use crate::protocol::{Reply, VERSION, to_bytes};
use crate::roster::FileList;
use crate::semaphore::Permit;

/// An answer on its way, and the permit for its memory: both go once the bytes are sent.
pub(super) struct TrackerReply<'a> {
    pub(super) bytes: Vec<u8>,
    /// What follows them: all answers share one, so it takes no memory of theirs.
    pub(super) ending: Option<Arc<FileList>>,
    pub(super) _permit: Option<Permit<'a>>,
}

impl TrackerReply<'_> {
    /// What is sent, one after the other.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        let ending = self.ending.as_ref().map(|files| files.text());
        [&self.bytes, ending.unwrap_or_default()]
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
