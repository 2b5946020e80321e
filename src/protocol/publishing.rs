//! What peers and tracker tell each other about contents: which one stands under a name, who published it, which peers
//! have another one, and which ones will come.

use serde::{Deserialize, Serialize};

use crate::md5::Digest;
use crate::torrent::{Name, Torrent};

/// The most machines that are named for one file as having another content.
pub const OTHERS_TOLD: usize = 20;
/// The most files in one publication: a thousand summaries are some 300 KB.
pub const PUBLICATIONS: usize = 1000;
/// The longest key of a publisher, bytes: twice the length of ours.
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
    /// What distinguishes its list of checkpoints from another list for the same content, see
    /// [`Torrent::checkpoints_md5`].
    #[serde(default)]
    pub checkpoints: Option<Digest>,
    /// Whether its publisher is here now, and still has it.
    #[serde(default)]
    pub here: bool,
    /// Whether its publisher pinned it: nobody else's content replaces it unless that is pinned, too.
    #[serde(default)]
    pub pinned: bool,
    /// Some of the peers whose folders have another content under this name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherCopy>,
    /// The file's size, bytes, if this is only its head: no tracker lists one.
    #[serde(skip)]
    pub head_of: Option<u64>,
}

impl Summary {
    /// Returns a `.torrent`'s fields, without its checkpoints.
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
            head_of: torrent.head_of(),
        }
    }
}

/// A peer whose folder has another content than the swarm's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherCopy {
    /// The peer's address and port.
    pub peer: String,
    /// The MD5 of its content.
    pub md5: Digest,
}

/// A file of a folder that is being hashed, or is seen to change: its content will be published, and may replace another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Coming {
    /// The file's name.
    pub name: Name,
    /// Its size so far, bytes.
    pub size: u64,
    /// How many of them were hashed.
    pub done: u64,
    /// The peer's address and port, as the tracker saw them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// Its beginning, which that peer hands out already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
}

/// The beginning of a file that is being hashed, see [`Torrent::head`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// How many bytes of the file.
    pub size: u64,
    /// Their MD5.
    pub md5: Digest,
    /// See [`Torrent::checkpoints_md5`].
    pub checkpoints: Digest,
}

#[cfg(any(test, fuzzing))]
impl super::SwarmList {
    /// A list of these files, without an edition and without other peers.
    pub fn for_a_test(torrents: Vec<Summary>, coming: Vec<Coming>) -> Self {
        Self {
            v: super::VERSION,
            local: false,
            edition: None,
            n_peers: None,
            sweep_every: None,
            peers: Vec::new(),
            torrents: Some(torrents),
            n_files: None,
            coming,
        }
    }
}

impl Head {
    /// Returns what is told of a head.
    pub fn of(torrent: &Torrent) -> Self {
        Self {
            size: torrent.size(),
            md5: torrent.md5(),
            checkpoints: torrent.checkpoints_md5(),
        }
    }
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
    /// Whether its user gave `--replace`, which then needn't be suggested.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// When it was published, seconds since 1970, if it is a received file; 0 for an own file: the tracker's clock
    /// counts.
    #[serde(default)]
    pub published: u64,
    /// Who published it, if it is a received file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub publisher: String,
    /// Its `.torrent`: sent only if the tracker answered [`Outcome::Send`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torrent: Option<Torrent>,
}

impl Publication {
    /// A user's own file that isn't pinned, without its `.torrent`.
    pub fn of(torrent: &Torrent) -> Self {
        Self {
            name: torrent.name().clone(),
            size: torrent.size(),
            md5: torrent.md5(),
            checkpoints: torrent.checkpoints_md5(),
            own: true,
            pinned: false,
            replace: false,
            published: 0,
            publisher: String::new(),
            torrent: None,
        }
    }
}

/// The result of a [`Publication`].
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
    /// It may stand, but the tracker doesn't have its `.torrent` yet.
    Send,
    /// Another content stands and stays.
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
