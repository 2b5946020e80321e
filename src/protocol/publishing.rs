//! What peers and tracker tell each other of contents: which one stands under a name, who published it, who has another one,
//! and what is to come.

use serde::{Deserialize, Serialize};

use crate::md5::Digest;
use crate::torrent::{Name, Torrent};

/// The most machines that are told of one file as having another content.
pub const OTHERS_TOLD: usize = 20;
/// The most files in one publication: a thousand summaries are some 300 KB.
pub const PUBLICATIONS: usize = 1000;
/// The longest key of a publisher, bytes: twice what ours have.
pub const KEY_CAP: usize = 64;

/// A `.torrent` without its checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The file's name.
    pub name: Name,
    /// Its size, bytes.
    pub size: u64,
    /// Its MD5.
    pub md5: Digest,
    /// How many pieces it has.
    pub n_pieces: u32,
    /// Who published it.
    pub publisher: String,
    /// When it was published, seconds since 1970 by the tracker's clock.
    #[serde(default)]
    pub published: u64,
    /// What tells its list of checkpoints from another list for the same content, see [`Torrent::checkpoints_md5`].
    #[serde(default)]
    pub checkpoints: Option<Digest>,
    /// Whether its publisher is there now, and still has it.
    #[serde(default)]
    pub here: bool,
    /// Whether its publisher pinned it: nobody else's content replaces it unless that is pinned, too.
    #[serde(default)]
    pub pinned: bool,
    /// Some of the peers in whose folders another content stands under this name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherCopy>,
}

impl Summary {
    /// What a `.torrent` says, but for its checkpoints.
    pub fn of(torrent: &Torrent) -> Self {
        Self {
            name: torrent.name().clone(),
            size: torrent.size(),
            md5: torrent.md5(),
            n_pieces: torrent.n_pieces(),
            publisher: torrent.publisher.clone(),
            published: torrent.published,
            checkpoints: Some(torrent.checkpoints_md5()),
            here: false,
            pinned: false,
            others: Vec::new(),
        }
    }
}

/// A peer in whose folder another content stands than the swarm's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherCopy {
    /// The peer's address and port.
    pub peer: String,
    /// The MD5 of its content.
    pub md5: Digest,
}

/// A file of a folder that is being hashed, or is seen to change: a content that will be published, and may replace another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coming {
    /// The file's name.
    pub name: Name,
    /// Its size so far, bytes.
    pub size: u64,
    /// How many of them were hashed.
    pub done: u64,
    /// The peer's address and port, by the tracker's word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
}

/// One content that a peer publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// The file's name.
    pub name: Name,
    /// Its size, bytes.
    pub size: u64,
    /// Its MD5.
    pub md5: Digest,
    /// See [`Torrent::checkpoints_md5`].
    pub checkpoints: Digest,
    /// Whether it is the user's own file. Otherwise it was received from a swarm, and never competes with an own one.
    pub own: bool,
    /// Whether the user named its MD5 (`--md5`).
    #[serde(default)]
    pub pinned: bool,
    /// Whether its user gave `--replace`, which needn't be advised any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// Of a received file: when it was published, seconds since 1970. 0 of an own one: the tracker's clock counts.
    #[serde(default)]
    pub published: u64,
    /// Of a received file: who published it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub publisher: String,
    /// Its `.torrent`: sent only where the tracker answered [`Outcome::Send`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torrent: Option<Torrent>,
}

/// What became of a [`Publication`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// This content stands under its name.
    Stands {
        /// Whether the sender's key is its publisher's.
        mine: bool,
        /// When it was published, seconds since 1970.
        published: u64,
        /// Who published it.
        publisher: String,
    },
    /// It may stand; the tracker hasn't its `.torrent` yet.
    Send,
    /// Another content stands, and stays.
    OtherStands {
        /// That content's MD5.
        md5: Digest,
        /// Why it stays, for people.
        why: String,
    },
    /// It wasn't taken for another reason.
    Refused {
        /// The reason, for people.
        why: String,
    },
}
