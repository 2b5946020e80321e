//! What a peer under test is told: who has what. Nothing waits here.
//!
//! There are three stages. *Choices*: each answer to a ping has names that nobody has seen before; once the peer has chosen
//! one, the next answer has others. *Download*, for a peer that speaks our messages: one file with a `.torrent`. *Complete*:
//! nothing is listed but what the peer has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bittorrentish::md5::Hasher;
use bittorrentish::protocol::{Summary, VERSION, to_bytes};
use bittorrentish::torrent::{BLOCKS_A_PIECE, MIN_PIECE_LEN, Name, Torrent};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde_json::{Value, json};

use crate::record::{Plan, RecordedEvent, event, tolerance};

/// The peers that are chosen from are 1 to 12. The rarest file has eight holders: that a random choice falls on the same
/// place six times comes once in 30,000 runs.
pub const HOLDERS: usize = 12;
/// How many have each file of a choice.
const COPIES: [usize; 5] = [8, 9, 10, 11, 12];
/// The same for pieces, and how many these are: more than can be asked for at once.
const PIECES: [(usize, usize); 4] = [(8, 4), (9, 6), (10, 6), (12, 8)];
/// The peers that have the download: three that are ever farther away, one that sends other bytes, and one that dies.
pub const NEAR: usize = 13;
pub const CORRUPT: usize = 16;
pub const DYING: usize = 17;
/// How many choices are watched.
pub const CHOICES: usize = 6;
/// What C1 calls a large file, bytes.
pub const LARGE: usize = 4 << 20;
/// The pieces of the download, and how many of them are sent before the peer is asked for one.
const DOWNLOAD: usize = 96;
const UNDER_WAY: usize = 20;
/// The most time for the download, seconds.
const DOWNLOAD_TIME: f64 = 25.0;
/// After this time a file that was sent is taken to be on the disk, seconds.
pub const SETTLED: f64 = 1.0;
/// The file that is in the peer's folder at the start, and what is in it.
pub const PLANTED: &str = "planted.txt";
pub const PLANTED_BYTES: &[u8] = b"This file was here before the program was started.\n";

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Stage {
    #[default]
    Choices,
    Download,
    Complete,
}

/// What is listed, and what the peer has done so far.
#[derive(Default)]
pub struct Scene {
    pub stage: Stage,
    /// When the stage began.
    pub since: f64,
    choices: usize,
    /// Whether a request of the present choice was answered, which ends it.
    pub answered: bool,
    pub last_ask: f64,
    /// Whether the peer speaks our messages.
    pub ours: bool,
    pub peer: Option<SocketAddr>,
    /// The bytes of all that was ever listed, pieces included.
    pub contents: BTreeMap<String, Arc<Vec<u8>>>,
    pub torrents: BTreeMap<String, Arc<Torrent>>,
    /// The file of the download.
    pub download: String,
    /// Who has what, of the present answer, and the files in it.
    lists: BTreeMap<usize, Vec<String>>,
    files: Vec<String>,
    /// What was sent to the peer to its end, and when.
    pub given: BTreeMap<String, f64>,
    /// Pieces of which other bytes were sent: who takes these has a whole file, too, and a wrong one.
    pub wrong: BTreeSet<String>,
    /// The peer's last list.
    pub listed: Vec<String>,
    /// What the peer was asked for.
    pub back: BTreeSet<String>,
}

impl Scene {
    /// Decides at a ping whether something else is listed from now on, and returns it.
    pub fn turn(&mut self, now: f64, plan: &Plan) -> Option<RecordedEvent> {
        let download = DOWNLOAD_TIME.min(plan.within / 4.0);
        let later = 2.0 * (plan.round + plan.ping) + tolerance(plan.round);
        let later = later + if self.ours { download } else { 0.0 };
        let new = self.choices == 0 || self.answered;
        let chosen = self.choices >= CHOICES && self.answered || now > plan.within - later;
        let whole = self.back.contains(&self.download) || now > self.since + download;
        let next = match self.stage {
            Stage::Choices if chosen && self.ours => self.begin_download(),
            Stage::Choices if chosen => self.complete(),
            Stage::Choices if new => return Some(self.next_choice()),
            Stage::Download if whole => self.complete(),
            _ => return None,
        };
        self.since = now;
        Some(next)
    }

    /// New names, each at another number of peers.
    fn next_choice(&mut self) -> RecordedEvent {
        let (mut names, mut copies) = (Vec::new(), COPIES.to_vec());
        if self.ours {
            let each = PIECES.map(|(copies, n)| vec![copies; n]);
            copies = each.concat();
            self.files = vec![self.new_torrent(copies.len())];
            names.extend(self.pieces_of(&self.files[0]));
        } else {
            // the first one that comes is the large file of C1
            let len = if self.choices == 0 { LARGE } else { 3000 };
            names.extend(COPIES.map(|_| self.new_file(".txt", len)));
        }
        let mut rng = rand::rng();
        copies.shuffle(&mut rng);
        self.lists.clear();
        let mut everyone: Vec<usize> = (1..=HOLDERS).collect();
        for (name, n) in names.iter().zip(copies) {
            everyone.shuffle(&mut rng);
            for holder in &everyone[..n] {
                let list = self.lists.entry(*holder).or_default();
                list.push(name.clone());
            }
        }
        self.choices += 1;
        self.answered = false;
        event("sent: the list with", 0, "").lists(self.lists.clone())
    }

    fn begin_download(&mut self) -> RecordedEvent {
        self.stage = Stage::Download;
        self.download = self.new_torrent(DOWNLOAD);
        self.files = vec![self.download.clone()];
        let all = (NEAR..=DYING).map(|holder| (holder, self.files.clone()));
        self.lists = all.collect();
        event("download", 0, &self.download)
    }

    fn complete(&mut self) -> RecordedEvent {
        self.stage = Stage::Complete;
        self.files = self.listed.clone();
        self.files.retain(|name| self.contents.contains_key(name));
        let mut names = Vec::new();
        for name in &self.files {
            match self.torrents.contains_key(name) {
                true => names.extend(self.pieces_of(name)),
                false => names.push(name.clone()),
            }
        }
        self.lists = (1..=HOLDERS).map(|who| (who, names.clone())).collect();
        event("complete", 0, "").files(self.files.clone())
    }

    fn new_file(&mut self, ending: &str, len: usize) -> String {
        let mut rng = rand::rng();
        let mut name: String = (0..6).map(|_| rng.random_range('a'..='z')).collect();
        name += ending;
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        self.contents.insert(name.clone(), Arc::new(bytes));
        name
    }

    fn new_torrent(&mut self, n_pieces: usize) -> String {
        let len = MIN_PIECE_LEN as usize;
        let name = self.new_file(".bin", n_pieces * len);
        let bytes = Arc::clone(&self.contents[&name]);
        let torrent = Arc::new(torrent_of(&name, &bytes));
        for (idx, piece) in bytes.chunks(len).enumerate() {
            let name = torrent.original_name(idx as u32);
            self.contents.insert(name, Arc::new(piece.to_vec()));
        }
        self.torrents.insert(name.clone(), torrent);
        name
    }

    fn pieces_of(&self, file: &str) -> Vec<String> {
        let torrent = &self.torrents[file];
        let pieces = 0..torrent.n_pieces();
        pieces.map(|idx| torrent.original_name(idx)).collect()
    }

    /// The answer to a ping. `ip` is where the peer reached the tracker: it reaches all others there, too.
    pub fn list(&self, ip: &str, ports: &[u16]) -> Vec<u8> {
        let mut peers = Vec::new();
        for (holder, files) in &self.lists {
            let port = ports[holder - 1];
            let mut peer = json!({"ip": ip, "port": port, "file_list": files});
            if *holder >= NEAR {
                peer["v"] = VERSION.into();
            }
            peers.push(peer);
        }
        if self.ours {
            let torrents = self.files.iter().filter_map(|name| self.torrents.get(name));
            let torrents: Vec<Value> = torrents.map(|one| json!(Summary::of(one))).collect();
            let list = json!({"v": VERSION, "local": false, "peers": peers, "torrents": torrents});
            return to_bytes(&list);
        }
        if let Some(peer) = self.peer {
            // an original tracker's list has the asker, too
            let (ip, port) = (peer.ip(), peer.port());
            peers.push(json!({"ip": ip, "port": port, "file_list": self.listed}));
        }
        to_bytes(&peers)
    }

    /// What the peer has, and is to be asked for now.
    pub fn due_back(&mut self, now: f64, round: f64) -> Option<String> {
        if self.is_held() {
            return self.download_given().next().cloned();
        }
        let once_more = self.stage == Stage::Complete && now > self.since + round;
        // asked for once, and once more in the last stage
        let again = once_more && self.back.insert(String::new());
        let is_due = |name: &&String| again || !self.back.contains(*name);
        let mut due = self.listed.iter().filter(is_due);
        due.find(|name| self.is_there(name, now)).cloned()
    }

    /// Whether a file of ours is at the peer.
    fn is_there(&self, name: &str, now: f64) -> bool {
        let given = |name: &str| {
            let good = self.given.get(name).is_some_and(|at| now > at + SETTLED);
            good || self.wrong.contains(name)
        };
        match self.torrents.contains_key(name) {
            true => self.pieces_of(name).iter().all(|piece| given(piece)),
            false => name == PLANTED || given(name),
        }
    }

    /// Whether nothing more of the download is sent before the peer was asked for some of it.
    pub fn is_held(&self) -> bool {
        let asked = self.back.iter().any(|name| self.is_of_download(name));
        self.stage == Stage::Download && !asked && self.download_given().count() >= UNDER_WAY
    }

    fn is_of_download(&self, piece: &str) -> bool {
        !self.download.is_empty() && piece.starts_with(&self.download)
    }

    fn download_given(&self) -> impl Iterator<Item = &String> {
        let given = self.given.keys();
        given.filter(|piece| self.is_of_download(piece))
    }
}

/// The `.torrent` of some bytes.
pub fn torrent_of(name: &str, bytes: &[u8]) -> Torrent {
    let mut hasher = Hasher::new(MIN_PIECE_LEN as usize / BLOCKS_A_PIECE);
    hasher.update(bytes);
    let (checkpoints, md5) = hasher.finish();
    let (name, size) = (Name::parse(name).expect("letters"), bytes.len() as u64);
    Torrent::new(name, size, MIN_PIECE_LEN, md5, checkpoints).expect("whole pieces")
}
