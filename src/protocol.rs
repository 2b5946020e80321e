//! The messages. Beside the lesson: `framing` reads and writes them, `publishing` has what is told of contents, `reporting` of
//! machines, and `pieces` of pieces; `wrong_field` names what is wrong with one.
//!
//! # The original's, valid here in both directions
//! To the tracker, one JSON value a connection, with nothing behind it:
//! ```text
//! {"port": 50001, "msg": "ping"}
//!   → [{"ip": "10.0.0.7", "port": 50001, "file_list": ["1.txt", "2.txt"]}, …], and the tracker closes
//! {"port": 50001, "files": ["1.txt", "2.txt"], "msg": "file_list"}
//!   → the tracker closes
//! ```
//! To a peer, on the port that it announced: `{"filename": "1.txt"}` → the bytes, then it closes.
//!
//! # Ours
//! A superset. Our pings carry `"v": 1`; our tracker answers them with an object, an original with an array: so the answer
//! tells who is there, and nobody is probed.
//! ```text
//! {"msg": "ping", "port": 50001, "v": 1}
//!   → {"v": 1, "local": false, "edition": 7, "sweep_every": 15,
//!      "peers": [{"ip": "10.0.0.7", "port": 50001, "file_list": ["1.txt"], "v": 1, "pieces": {"image.iso": "fff0"}}, …],
//!      "torrents": [{"name": "image.iso", "size": 1048576, "md5": "…", "n_pieces": 16, "publisher": "10.0.0.7:50001",
//!      "published": 1764000000, "checkpoints": "…", "here": true, "pinned": false,
//!      "others": [{"peer": "10.0.0.9:50001", "md5": "…"}]}],
//!      "coming": [{"name": "b.iso", "size": 99, "done": 10, "peer": "10.0.0.7:50001"}]}
//!   of a large swarm: {"v": 1, "local": false, "n_peers": 1000, "peers": [50 of them, others each time], …}
//!   of more files than fit: {"v": 1, "local": false, …, "torrents": [as many as fit], "n_files": 40000}
//! {"msg": "ping", "port": 50001, "v": 1, "wants": ["image.iso"]}   → the same, but first of all with peers that have that file
//! {"msg": "ping", "port": 50001, "v": 1, "edition": 7}   → the same, but without "torrents" where they are of this edition
//! {"msg": "file_list", "port": 50001, "v": 1, "files": ["1.txt"], "pieces": {"image.iso": "fff0"},
//!   "coming": [{"name": "b.iso", "size": 99, "done": 10}], "others": {"c.iso": "an MD5"}}   → {"v": 1}
//! {"msg": "publish", "port": 50001, "key": "5c…",
//!   "files": [{"name": "image.iso", "size": 1048576, "md5": "…", "checkpoints": "…", "own": true}]}
//!   → {"v": 1, "files": [{"is": "send"}]}, and then the same again with its "torrent": {…}
//!   → {"v": 1, "files": [{"is": "stands", "mine": true, "published": 1764000000, "publisher": "10.0.0.7:50001"}]}
//!   → {"v": 1, "files": [{"is": "other_stands", "md5": "the swarm's", "why": "…"}]}, or {"is": "refused", "why": "…"}
//! {"msg": "get_torrent", "name": "image.iso"}   → {"v": 1, "torrent": {…}}, or {"v": 1, "error": "…"}
//! {"msg": "report", "port": 50001, "host": "pc07", "folder": "…",
//!   "files": [{"name": "image.iso", "md5": "…", "size": 1048576, "here": 65536, "whole": false,
//!   "speed": 32768.0, "left": 30.0, "state": "from 2 peers"}]}   → {"v": 1}
//! {"msg": "status", "only": "image.iso"}   → {"v": 1, "status": {"files": […], "n_files": 1, "changing": […],
//!   "machines": [{"host": "pc07", "peer": "10.0.0.7:50001", "here": true, "age": 1.5, "files": [the same], "still": [0.0]}]}}
//! ```
//! Between peers of ours, the opener asks and the holder answers, in order, on a connection that stays open:
//! ```text
//! {"msg": "hello", "v": 1, "id": "9f…", "port": 50002, "have": [{"name": "image.iso", "md5": "…", "pieces": "8000"}]}
//!   → {"msg": "hello", "v": 1, "id": "03…", "port": 50001, "have": [{"name": "image.iso", "md5": "…", "pieces": "all"}]}
//! {"msg": "get", "n": 1, "name": "image.iso", "md5": "…", "pieces": [3, 9, 12], "wait": 0.0}
//!   → {"msg": "piece", "n": 1, "idx": 9, "len": 65536, "idle_ms": 12,
//!      "news": [{"name": "image.iso", "md5": "…", "pieces": [4, 7]}]}, the bytes
//!   → {"msg": "news", "n": 1, "news": […]}, where none of the pieces is here: once one came, or `wait` seconds went by. Ours
//!      wait only with no pieces named, for news, and for 1.0 at most
//!   → {"msg": "gone", "n": 1, "name": "image.iso"}, where pieces of a content were named that isn't here, or not any more
//!   → {"msg": "refused", "why": "…"}, and it closes
//! ```
//! Whoever hashes a file hands out its beginning already: in `coming` it tells
//! `"head": {"size": 524288, "md5": "…", "checkpoints": "…"}`, and it is asked on a connection of its own, as an original would be:
//! ```text
//! {"head": "b.iso", "md5": "…"}   → {"v": 1, "torrent": {…, "head_of": 1048576}}, or {"v": 1, "error": "…"}, and it closes
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::md5::Digest;
use crate::torrent::{BlockSet, Name, Torrent};

mod framing;
mod pieces;
mod publishing;
mod reporting;
#[cfg(test)]
mod tests;
mod wrong_field;

pub use framing::{Cap, invalid, parse, read_message, read_value, to_bytes};
pub use publishing::{
    Coming, Head, KEY_CAP, OTHERS_TOLD, OtherCopy, Outcome, PUBLICATIONS, Publication, Summary,
};

pub use reporting::{
    Brake, FILES_REPORTED, FilePace, FileReport, HOST_CHARS, MachineReport, MachineStatus, RunEnd,
    SwarmPace, SwarmStatus, TEXT_CHARS,
};

/// The version of our messages.
pub const VERSION: u32 = 1;
/// The tracker's port where none is given: the original's.
pub const TRACKER_PORT: u16 = 29283;
/// The longest message that can carry a `.torrent`, bytes: the checkpoints of 1 TiB in the longest pieces, and 64 KiB for all
/// else.
pub const TORRENT_CAP: usize = (32 << 20) + (64 << 10);
/// The longest tracker's list, bytes: half of it holds a folder of 10,000 files, whatever these are called.
pub const LIST_CAP: usize = 16 << 20;
/// The longest message between peers, bytes: a hello that lists thousands of files.
pub const PEER_CAP: usize = 1 << 20;
/// The longest id in a hello, bytes: four times what ours have.
pub const ID_CAP: usize = 64;
/// The longest message to an original on this machine, bytes: it reads once, at most this many.
pub const ORIGINAL_CAP: usize = 4096;
/// The longest message to an original elsewhere, bytes: what one packet carries, as one write may arrive in several.
pub const ORIGINAL_CAP_OFF_LOOPBACK: usize = 1400;

/// The longest message to an original, by whether it is on this machine, bytes.
pub fn original_cap(is_local: bool) -> usize {
    match is_local {
        true => ORIGINAL_CAP,
        false => ORIGINAL_CAP_OFF_LOOPBACK,
    }
}

/// What a peer tells or asks the tracker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "msg", rename_all = "snake_case")]
pub enum ToTracker {
    /// I am still here; who else is?
    Ping {
        /// My listening port.
        port: u16,
        /// [`VERSION`]; an original has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        v: Option<u32>,
        /// The only files that I lack, where I don't want all: the answer is to have their holders.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        wants: Vec<Name>,
        /// That of the last answer, whose files I know: they needn't be told again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edition: Option<u64>,
    },
    /// What I have.
    FileList {
        /// My listening port.
        port: u16,
        /// [`VERSION`]; an original has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        v: Option<u32>,
        /// All of it.
        #[serde(flatten)]
        list: PeerList,
    },
    /// Let these contents stand under their names, and hand their `.torrent`s to whoever asks.
    Publish {
        /// My listening port.
        port: u16,
        /// Random, and kept in my folder: by it I am known as the publisher at another address, too. The tracker tells it to
        /// nobody.
        key: String,
        /// At most [`PUBLICATIONS`].
        files: Vec<Publication>,
    },
    /// Give me the `.torrent` of this file.
    GetTorrent {
        /// The file.
        name: Name,
    },
    /// How far I am, for people who watch.
    Report(MachineReport),
    /// How far is everybody?
    Status {
        /// With this file: of many, others aren't told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Name>,
    },
}

/// What a peer has.
#[derive(Clone, Debug, Default, PartialEq, Hash, Serialize, Deserialize)]
pub struct PeerList {
    /// Names of whole files; an original lists its pieces by their names, too.
    pub files: Vec<String>,
    /// Files that it has in part, with their pieces as [`Bitfield`](crate::bitfield::Bitfield) digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pieces: BTreeMap<String, String>,
    /// Files of its folder that are being hashed, or seen to change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coming: Vec<Coming>,
    /// Files that stand in its folder with another content than the swarm's: their MD5s.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<Name, Digest>,
}

/// A peer in the tracker's list. Originals know the first three fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerEntry {
    /// Its address.
    pub ip: String,
    /// Its listening port.
    pub port: u16,
    /// The whole files that it has; of an original's pieces, the names.
    pub file_list: Vec<String>,
    /// [`VERSION`], where it speaks ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v: Option<u32>,
    /// Files that it has in part, with their pieces as [`Bitfield`](crate::bitfield::Bitfield) digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pieces: BTreeMap<String, String>,
}

/// Our tracker's answer to a ping of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwarmList {
    /// [`VERSION`].
    pub v: u32,
    /// Whether the tracker serves this machine alone.
    pub local: bool,
    /// The number of `torrents` as they are, another for each list that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<u64>,
    /// How many others there are, where `peers` is a sample of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_peers: Option<usize>,
    /// The time between two sweeps, seconds: whoever is silent for longer is dropped from the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep_every: Option<f64>,
    /// Everybody else; of a large swarm, some, and others the next time.
    pub peers: Vec<PeerEntry>,
    /// Contents that are to be published soon, and may then stand under their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coming: Vec<Coming>,
    /// The files that a live peer has; `None` where they are those of the edition that the ping named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torrents: Option<Vec<Summary>>,
    /// How many there are, where `torrents` leaves some out because they don't fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_files: Option<usize>,
}

/// A tracker's answer to our ping: its variant tells which kind of tracker answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PingAnswer {
    /// From a tracker of ours.
    Ours(SwarmList),
    /// From an original.
    Original(Vec<PeerEntry>),
    /// From a tracker of ours that doesn't serve us.
    Refused(PingRefusal),
}

/// A tracker of ours doesn't do what was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PingRefusal {
    /// Why, for people.
    pub error: String,
}

/// Our tracker's answer to whatever isn't a ping.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// [`VERSION`]; whoever isn't a tracker answers without.
    #[serde(default)]
    pub v: u32,
    /// What was wrong, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The `.torrent` that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torrent: Option<Torrent>,
    /// How far everybody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SwarmStatus>,
    /// How fast all move the first file of a report that isn't whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<SwarmPace>,
    /// What became of each file that was to be published, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Outcome>,
}

/// The first message on a connection to a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FirstMessage {
    /// The original's: send this file or piece, and close.
    Original {
        /// A file's name or a piece's.
        filename: String,
    },
    /// The `.torrent` of the beginning of a file that it is hashing, please, and close.
    Head {
        /// The file's name.
        head: Name,
        /// The beginning's MD5.
        md5: Digest,
    },
    /// Ours.
    Ours(Ask),
    /// One for the tracker: somebody took this peer's port for the tracker's.
    ForTracker(ToTracker),
}

/// What the opener of a connection sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "msg", rename_all = "snake_case")]
pub enum Ask {
    /// Who I am and what I have.
    Hello(Hello),
    /// One of these pieces, please.
    Get(Get),
}

/// How two peers introduce themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub v: u32,
    /// Random for each run of the program; whoever meets its own has called itself. Remembered, so of at most [`ID_CAP`] bytes.
    #[serde(deserialize_with = "framing::short_id")]
    pub id: String,
    /// Its listening port.
    pub port: u16,
    /// What it has. Empty in the hellos that only measure the round trip.
    #[serde(default)]
    pub have: Vec<Have>,
}

/// Some pieces of one content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Have {
    /// The file's name.
    pub name: Name,
    /// The file's MD5.
    pub md5: Digest,
    /// Which pieces.
    pub pieces: Pieces,
}

/// Which pieces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pieces {
    /// These, from 0.
    These(Vec<u32>),
    /// [`Bitfield`](crate::bitfield::Bitfield) digits, or the word "all".
    Digits(String),
}

/// A request for one of several pieces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Get {
    /// The opener's number for it, repeated in the answer.
    pub n: u64,
    /// Which file.
    pub name: Name,
    /// Which content under that name.
    pub md5: Digest,
    /// The candidates. With none, only news are asked for.
    pub pieces: Vec<u32>,
    /// Of a single candidate: the blocks that are missing here. Without it, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<BlockSet>,
    /// How long the holder may hold back its answer where it has none of them, seconds.
    pub wait: f64,
}

/// What is told of a piece before its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PieceHeader {
    /// Which request it answers.
    pub n: u64,
    /// Which of the candidates it is.
    pub idx: u32,
    /// How many bytes follow.
    pub len: u32,
    /// How long the holder had waited for this request, with nothing else to do on this connection, milliseconds.
    #[serde(default)]
    pub idle_ms: u64,
    /// What came here since the last answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub news: Vec<Have>,
}

/// What the holder answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "msg", rename_all = "snake_case")]
pub enum Answer {
    /// To a hello.
    Hello(Hello),
    /// A piece.
    Piece(PieceHeader),
    /// None of the candidates is here.
    News {
        /// Which request it answers.
        n: u64,
        /// What came here since the last answer.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        news: Vec<Have>,
    },
    /// This content isn't here, or not any more.
    Gone {
        /// Which request it answers.
        n: u64,
        /// The file.
        name: Name,
    },
    /// No connection for you; the holder closes.
    Refused {
        /// The reason, for people.
        why: String,
    },
}
