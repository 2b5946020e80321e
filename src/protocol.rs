//! The messages, and how they are read and written. Pure: over any `Read` and `Write`, with a cap on all that is buffered.
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
//!   → {"v": 1, "local": false, "edition": 7, "peers": [{"ip": "10.0.0.7", "port": 50001, "file_list": ["1.txt"], "v": 1,
//!      "pieces": {"image.iso": "fff0"}}, …],
//!      "torrents": [{"name": "image.iso", "size": 1048576, "md5": "…", "n_pieces": 16, "publisher": "10.0.0.7:50001",
//!      "published": 1764000000, "checkpoints": "…", "here": true, "pinned": false, "others": [{"peer": "10.0.0.9:50001", "md5": "…"}]}],
//!      "coming": [{"name": "b.iso", "size": 99, "done": 10, "peer": "10.0.0.7:50001"}]}
//!   of a large swarm: {"v": 1, "local": false, "n_peers": 1000, "peers": [50 of them, others each time], …}
//! {"msg": "ping", "port": 50001, "v": 1, "wants": ["image.iso"]}   → the same, but first of all with peers that have that file
//! {"msg": "ping", "port": 50001, "v": 1, "edition": 7}   → the same, but without "torrents" where they are of this edition
//! {"msg": "file_list", "port": 50001, "v": 1, "files": ["1.txt"], "pieces": {"image.iso": "fff0"},
//!   "coming": [{"name": "b.iso", "size": 99, "done": 10}], "others": {"c.iso": "an MD5"}}   → {"v": 1}
//! {"msg": "publish", "port": 50001, "key": "5c…", "files": [{"name": "image.iso", "size": 1048576, "md5": "…", "checkpoints": "…",
//!   "own": true}]}
//!   → {"v": 1, "files": [{"is": "send"}]}, and then the same again with its "torrent": {…}
//!   → {"v": 1, "files": [{"is": "stands", "mine": true, "published": 1764000000, "publisher": "10.0.0.7:50001"}]}
//!   → {"v": 1, "files": [{"is": "other_stands", "md5": "the swarm's", "why": "…"}]}, or {"is": "refused", "why": "…"}
//! {"msg": "get_torrent", "name": "image.iso"}   → {"v": 1, "torrent": {…}}, or {"v": 1, "error": "…"}
//! ```
//! Between peers of ours, the opener asks and the holder answers, in order, on a connection that stays open:
//! ```text
//! {"msg": "hello", "v": 1, "id": "9f…", "port": 50002, "have": [{"name": "image.iso", "md5": "…", "pieces": "8000"}]}
//!   → {"msg": "hello", "v": 1, "id": "03…", "port": 50001, "have": [{"name": "image.iso", "md5": "…", "pieces": "all"}]}
//! {"msg": "get", "n": 1, "name": "image.iso", "md5": "…", "pieces": [3, 9, 12], "wait": 30.0}
//!   → {"msg": "piece", "n": 1, "idx": 9, "len": 65536, "news": [{"name": "image.iso", "md5": "…", "pieces": [4, 7]}]}, the bytes
//!   → {"msg": "news", "n": 1, "news": […]}, where none of the pieces is here: once one came, or `wait` seconds went by
//!   → {"msg": "gone", "n": 1, "name": "image.iso"}, where this content isn't here any more
//!   → {"msg": "refused", "why": "…"}, and it closes
//! ```
//! A message ends at its closing brace; white space between messages is skipped.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::bitfield::Bitfield;
use crate::md5::Digest;
use crate::torrent::{Name, Torrent, legible};

/// The version of our messages.
pub const VERSION: u32 = 1;
/// The tracker's port where none is given: the original's.
pub const TRACKER_PORT: u16 = 29283;
/// The longest message that can carry a `.torrent`, bytes: 1 TiB of file in the longest pieces.
pub const TORRENT_CAP: usize = 32 << 20;
/// The longest tracker's list, bytes: some 10,000 peers with a large file each.
pub const LIST_CAP: usize = 8 << 20;
/// The longest message between peers, bytes: a hello that lists thousands of files.
pub const PEER_CAP: usize = 1 << 20;
/// The longest id in a hello, bytes: four times what ours have.
pub const ID_CAP: usize = 64;
/// The longest message to an original on this machine, bytes: it reads once, so many at most.
pub const ORIGINAL_CAP: usize = 4096;
/// The longest message to an original elsewhere, bytes: what one packet carries, as one write may arrive in several.
pub const ORIGINAL_CAP_OFF_LOOPBACK: usize = 1400;

/// The most machines that are told of one file as having another content.
pub const OTHERS_TOLD: usize = 20;
/// The most files in one publication: a thousand summaries are some 300 KB.
pub const PUBLICATIONS: usize = 1000;
/// The longest key of a publisher, bytes: twice what ours have.
pub const KEY_CAP: usize = 64;

/// The most values in one message. Each takes 32 bytes of memory while the message is understood, and only two on the wire; and
/// the longest lists of the shortest names have so many.
const VALUES: usize = 2 << 20;
/// The most characters of what is wrong with a message: it is printed, and sent back in an answer of [`ORIGINAL_CAP`] bytes.
const FAULT: usize = 200;

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
        /// Names of whole files; an original lists pieces by their names, too.
        files: Vec<String>,
        /// [`VERSION`]; an original has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        v: Option<u32>,
        /// Files that are here in part, with their pieces as [`Bitfield`] digits.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pieces: BTreeMap<String, String>,
        /// Files of my folder that I am hashing, or see changing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        coming: Vec<Coming>,
        /// Files that stand in my folder with another content than the swarm's: their MD5s.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        others: BTreeMap<Name, Digest>,
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
    /// Files that it has in part, with their pieces as [`Bitfield`] digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pieces: BTreeMap<String, String>,
}

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
    /// Everybody else; of a large swarm, some, and others the next time.
    pub peers: Vec<PeerEntry>,
    /// The files that a live peer has; none where the ping named this edition.
    #[serde(default)]
    pub torrents: Vec<Summary>,
    /// Contents that are to be published soon, and may then stand under their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coming: Vec<Coming>,
}

/// A tracker's answer to our ping: which of the two tells what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PingAnswer {
    /// From a tracker of ours.
    Ours(SwarmList),
    /// From an original.
    Original(Vec<PeerEntry>),
    /// From a tracker of ours that doesn't serve us.
    Refused(Refusal),
}

/// A tracker of ours doesn't do what was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why, for people.
    pub error: String,
}

/// Our tracker's answer to whatever isn't a ping.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// [`VERSION`].
    pub v: u32,
    /// What was wrong, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The MD5 of the content that the swarm has under a name, where another was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Digest>,
    /// The `.torrent` that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torrent: Option<Torrent>,
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
    /// Ours.
    Ours(Ask),
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
    /// Random for each run of the program; who meets its own has called itself. Remembered, so of at most [`ID_CAP`] bytes.
    #[serde(deserialize_with = "short_id")]
    pub id: String,
    /// Its listening port.
    pub port: u16,
    /// What it has. Empty in the hellos that only measure the round trip.
    #[serde(default)]
    pub have: Vec<Have>,
}

fn short_id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let id = String::deserialize(from)?;
    if id.len() > ID_CAP {
        let why = format!(
            "expected an id of at most {ID_CAP} bytes, came {}",
            id.len()
        );
        return Err(serde::de::Error::custom(why));
    }
    Ok(id)
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
    /// [`Bitfield`] digits, or the word "all".
    Digits(String),
}

impl Pieces {
    /// Whether it is every piece, however many there are.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::Digits(all) if all == "all")
    }

    /// What `bits` has, in short.
    pub fn of(bits: &Bitfield) -> Self {
        Self::Digits(if bits.is_full() {
            "all".to_owned()
        } else {
            bits.to_hex()
        })
    }

    /// The pieces below `n_pieces` as a set; `None` where they can't be of such a file.
    pub fn bits(&self, n_pieces: u32) -> Option<Bitfield> {
        match self {
            all if all.is_all() => Some(Bitfield::full(n_pieces)),
            Self::Digits(digits) => Bitfield::from_hex(digits, n_pieces),
            Self::These(idxs) => {
                let mut bits = Bitfield::new(n_pieces);
                idxs.iter().for_each(|idx| {
                    bits.set(*idx);
                });
                idxs.iter().all(|idx| *idx < n_pieces).then_some(bits)
            }
        }
    }
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
    /// How long the holder may hold back its answer where it has none of them, seconds.
    pub wait: f64,
}

/// What the holder answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "msg", rename_all = "snake_case")]
pub enum Answer {
    /// To a hello.
    Hello(Hello),
    /// A piece: `len` bytes follow.
    Piece {
        /// Which request it answers.
        n: u64,
        /// Which of the candidates it is.
        idx: u32,
        /// Its length, bytes.
        len: u32,
        /// What came here since the last answer.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        news: Vec<Have>,
    },
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

/// A message as it goes over the wire.
pub fn to_bytes(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages have string keys and no failing parts")
}

/// How long a message may get: a number of bytes, or a closure that is asked as it grows, and may have its caller wait.
pub trait Cap {
    /// The most bytes, asked before the message has `len` in memory.
    fn at_most(&mut self, len: usize) -> usize;
}

impl Cap for usize {
    fn at_most(&mut self, _: usize) -> usize {
        *self
    }
}

impl<F: FnMut(usize) -> usize> Cap for F {
    fn at_most(&mut self, len: usize) -> usize {
        self(len)
    }
}

/// Reads one message. `None` is a close before its first byte.
///
/// # Errors
/// The stream's; `UnexpectedEof` for a close within the message; `InvalidData` for more bytes than `cap` allows, or for what
/// isn't such a message.
pub fn read_message<T: DeserializeOwned>(
    stream: &mut impl BufRead,
    cap: impl Cap,
) -> io::Result<Option<T>> {
    match read_value(stream, cap)? {
        None => Ok(None),
        Some(bytes) => parse(&bytes).map(Some),
    }
}

/// Understands one message.
///
/// # Errors
/// `InvalidData` that says what was expected and shows the beginning of what came.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    serde_json::from_slice(bytes).map_err(|fault| {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
        // serde repeats what came, all of it and as it came
        let fault: String = fault.to_string().chars().take(FAULT).collect();
        let fault = legible(&fault);
        invalid(format!(
            "expected one of the protocol's messages, came {start:?}: {fault}"
        ))
    })
}

/// Reads the bytes of one JSON object or array, up to and with its closing bracket, and nothing behind it.
///
/// # Errors
/// As [`read_message`].
pub fn read_value(stream: &mut impl BufRead, mut cap: impl Cap) -> io::Result<Option<Vec<u8>>> {
    let mut value = Vec::new();
    let mut scan = Scan::default();
    let mut white = 0;
    loop {
        let came = match stream.fill_buf() {
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
            came => came?,
        };
        if came.is_empty() {
            let fault = || {
                io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "closed in the middle of a message",
                )
            };
            return if value.is_empty() {
                Ok(None)
            } else {
                Err(fault())
            };
        }
        let skipped = if value.is_empty() {
            came.iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count()
        } else {
            0
        };
        let end = scan.end_of(&came[skipped..])?;
        let taken = end.unwrap_or(came.len() - skipped);
        let len = value.len() + taken;
        let most = cap.at_most(len);
        // white space isn't kept, and has an end all the same
        white += skipped;
        if len > most || white > most {
            return Err(invalid(format!("a message of over {most} bytes")));
        }
        value.extend_from_slice(&came[skipped..skipped + taken]);
        stream.consume(skipped + taken);
        if end.is_some() {
            return Ok(Some(value));
        }
    }
}

/// How deep in brackets and strings a JSON value is, byte by byte.
#[derive(Default)]
struct Scan {
    depth: usize,
    /// How many values there were, the keys of objects among them.
    values: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// The length of `bytes` up to the end of the value, where it ends here.
    fn end_of(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => (self.depth, self.values) = (self.depth + 1, self.values + 1),
                b',' | b':' if self.values >= VALUES => {
                    return Err(invalid(format!("a message of over {VALUES} values")));
                }
                b',' | b':' => self.values += 1,
                b'}' | b']' if self.depth == 1 => return Ok(Some(at + 1)),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth == 0 {
                return Err(invalid(format!(
                    "expected a JSON object, came the byte {byte:#04x}"
                )));
            }
        }
        Ok(None)
    }
}

/// An error for what doesn't keep to the protocol.
pub fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};

    use serde_json::json;

    /// Gives its bytes one by one.
    struct OneByOne<'a>(&'a [u8]);
    impl Read for OneByOne<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = buf.len().min(self.0.len()).min(1);
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn the_originals_messages_are_understood_as_python_writes_them() {
        let ping: ToTracker = parse(br#"{"port": 50001, "msg": "ping"}"#).expect("the original's");
        assert_eq!(
            ping,
            ToTracker::Ping {
                port: 50001,
                v: None,
                wants: vec![],
                edition: None
            }
        );
        let list: ToTracker =
            parse(br#"{"port": 50001, "files": ["1.txt", "na\u00efve.txt"], "msg": "file_list"}"#)
                .expect("the original's");
        let files = vec!["1.txt".to_owned(), "naïve.txt".to_owned()];
        assert_eq!(
            list,
            ToTracker::FileList {
                port: 50001,
                files,
                v: None,
                pieces: BTreeMap::new(),
                coming: vec![],
                others: BTreeMap::new()
            }
        );
        let first: FirstMessage = parse(br#"{"filename": "1.txt"}"#).expect("the original's");
        assert_eq!(
            first,
            FirstMessage::Original {
                filename: "1.txt".to_owned()
            }
        );
        let answer: PingAnswer =
            parse(br#"[{"ip": "10.0.0.7", "port": 50001, "file_list": ["1.txt"]}]"#)
                .expect("the original's");
        assert!(
            matches!(answer, PingAnswer::Original(peers) if peers.len() == 1 && peers[0].v.is_none())
        );
    }

    #[test]
    fn ours_go_both_ways() {
        let have = Have {
            name: Name::parse("f").expect("a name"),
            md5: crate::md5::digest(b""),
            pieces: Pieces::These(vec![4, 7]),
        };
        for answer in [
            Answer::Hello(Hello {
                v: 1,
                id: "9f".to_owned(),
                port: 1,
                have: vec![have.clone()],
            }),
            Answer::Piece {
                n: 1,
                idx: 9,
                len: 65536,
                news: vec![have.clone()],
            },
            Answer::News { n: 2, news: vec![] },
            Answer::Gone {
                n: 3,
                name: have.name.clone(),
            },
            Answer::Refused {
                why: "full".to_owned(),
            },
        ] {
            assert_eq!(
                parse::<Answer>(&to_bytes(&answer)).expect("its own bytes"),
                answer
            );
        }
        let get = Ask::Get(Get {
            n: 1,
            name: have.name.clone(),
            md5: have.md5,
            pieces: vec![3],
            wait: 0.5,
        });
        assert_eq!(
            parse::<FirstMessage>(&to_bytes(&get)).expect("its own bytes"),
            FirstMessage::Ours(get)
        );
        assert!(matches!(
            parse(br#"{"v":1,"error":"x"}"#).expect("ours"),
            PingAnswer::Refused(_)
        ));
        assert!(matches!(
            parse(br#"{"v":1,"local":true,"peers":[],"torrents":[]}"#).expect("ours"),
            PingAnswer::Ours(_)
        ));
    }

    #[test]
    fn a_message_ends_at_its_brace_however_it_arrives() {
        let wire = b"\n {\"filename\": \"}]\\\"{\"}\n[[1],{}]{\"a\":1";
        for stream in [
            &mut BufReader::with_capacity(1, OneByOne(wire)) as &mut dyn BufRead,
            &mut &wire[..],
        ] {
            let mut stream = stream;
            assert_eq!(
                read_value(&mut stream, 100).expect("whole").expect("one"),
                br#"{"filename": "}]\"{"}"#
            );
            assert_eq!(
                read_value(&mut stream, 100).expect("whole").expect("one"),
                b"[[1],{}]"
            );
            assert_eq!(
                read_value(&mut stream, 100).expect_err("cut").kind(),
                io::ErrorKind::UnexpectedEof
            );
        }
        assert_eq!(read_value(&mut &b" \n"[..], 100).expect("nothing"), None);
    }

    #[test]
    fn what_is_no_message_is_refused_before_it_is_buffered() {
        for (name, wire) in [
            ("a number", &b"17 "[..]),
            ("a string", b"\"x\""),
            ("a closing brace", b"}"),
            ("binary", b"\x00\x01\x02"),
            ("too long", &[b'['; 101]),
            ("much of nothing", &[b' '; 101]),
        ] {
            assert_eq!(
                read_value(&mut &wire[..], 100).expect_err(name).kind(),
                io::ErrorKind::InvalidData,
                "{name}"
            );
        }
        let deep = [vec![b'['; 5000], vec![b']'; 5000]].concat();
        assert_eq!(
            read_message::<PingAnswer>(&mut &deep[..], 1 << 20)
                .expect_err("deep")
                .kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn a_message_has_so_many_values_at_most() {
        for (n, taken) in [(VALUES, true), (VALUES + 1, false)] {
            let wire = [b"[0", &b",0".repeat(n - 1)[..], b"]"].concat();
            let mut stream = BufReader::new(&wire[..]);
            assert_eq!(read_value(&mut stream, TORRENT_CAP).is_ok(), taken, "{n}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_message_is_short_and_legible() {
        let long = "x".repeat(1 << 20);
        for odd in ["\u{1b}[2J", &long] {
            for message in [json!({ "msg": odd }), json!({"msg": "ping", "port": odd})] {
                let fault = parse::<ToTracker>(&to_bytes(&message)).expect_err("odd");
                let why = fault.to_string();
                assert!(why.len() < 500, "{} bytes", why.len());
                assert!(!why.chars().any(char::is_control), "{why:?}");
            }
        }
    }

    #[test]
    fn pieces_that_the_file_does_not_have_are_refused() {
        assert!(Pieces::These(vec![0, 8]).bits(8).is_none());
        assert!(Pieces::Digits("ffff".to_owned()).bits(8).is_none());
        assert!(
            Pieces::Digits("all".to_owned())
                .bits(8)
                .expect("all")
                .is_full()
        );
        assert_eq!(
            Pieces::of(&Bitfield::full(3)),
            Pieces::Digits("all".to_owned())
        );
    }
}
