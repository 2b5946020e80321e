//! What the tracker answers, as bytes.
//!
//! This module owns the form of an answer. What it says is decided elsewhere.

use std::sync::Arc;

use crate::protocol::{Outcome, Reply, SwarmPace, SwarmStatus, VERSION, to_bytes};
use crate::roster::FileList;
use crate::semaphore::Permit;
use crate::torrent::Torrent;

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

fn reply(reply: Reply) -> Vec<u8> {
    to_bytes(&Reply {
        v: VERSION,
        ..reply
    })
}

/// The answer to a peer of ours where there is nothing to say.
pub(super) fn done() -> Vec<u8> {
    reply(Reply::default())
}

/// The answer to a peer of ours that is refused or not understood.
pub(super) fn error(why: String) -> Vec<u8> {
    reply(Reply {
        error: Some(why),
        ..Reply::default()
    })
}

/// How fast everybody moves what the asker lacks.
pub(super) fn pace(pace: Option<SwarmPace>) -> Vec<u8> {
    reply(Reply {
        pace,
        ..Reply::default()
    })
}

/// How far everybody is.
pub(super) fn status(status: SwarmStatus) -> Vec<u8> {
    reply(Reply {
        status: Some(status),
        ..Reply::default()
    })
}

/// What became of each file that was to be published.
pub(super) fn outcomes(files: Vec<Outcome>) -> Vec<u8> {
    reply(Reply {
        files,
        ..Reply::default()
    })
}

/// The `.torrent` that was asked for.
pub(super) fn torrent(torrent: Torrent) -> Vec<u8> {
    reply(Reply {
        torrent: Some(torrent),
        ..Reply::default()
    })
}
