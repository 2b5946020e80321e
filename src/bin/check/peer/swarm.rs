//! The swarm that a peer under test meets: what is listed, and from when on. Nothing waits here.
//!
//! First *choices*, each of files that nobody has seen before, and a new one once the last was answered; then, for a
//! peer that speaks our messages, a *download* of files with `.torrent`s; at the end, nothing but what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bittorrentish::protocol::{Summary, VERSION};
use bittorrentish::torrent::{MIN_PIECE_LEN, Name, Torrent};
use rand::seq::{SliceRandom, index::sample};
use rand::{Rng, RngExt};
use serde_json::{Value, json};

use super::judging::CHOICE;
use crate::program::{PLANTED, PLANTED_BYTES};
use crate::record::{course_time, note, now, times};

/// The peers that are chosen from are 1 to 12. The rarest file has eight holders: that a random choice falls on the
/// same place six times comes once in 30,000 runs.
const HOLDERS: usize = 12;
/// How many choices are watched, and how many pieces a file has that is to be chosen: it is large, 1 MiB.
pub const CHOICES: usize = 6;
const LARGE: usize = 16;
pub const PIECE: usize = MIN_PIECE_LEN as usize;
/// The peers that have the download: three that are ever farther away, one that sends other bytes, and one that dies.
pub const NEAR: usize = 13;
pub const CORRUPT: usize = 16;
pub const DYING: usize = 17;
/// The download: many small files, each of which is a decision between three that are free, and one of many pieces; and the
/// most time for it.
pub const SMALL: &str = "a-small";
const SMALL_FILES: usize = 24;
pub const FILM: &str = "film";
pub const WHOLE: &str = ".bin";
const FILM_PIECES: usize = 64;
const DOWNLOAD_TIME: Duration = Duration::from_secs(20);
/// How the lines begin that say what is listed, and which `.torrent` was given.
pub const LISTED: &str = "the tracker lists";
pub const TORRENT: &str = "it was given the .torrent of";

/// The intervals of the course text, seconds.
pub const PING_EVERY: f64 = 10.0;
pub const LIST_EVERY: f64 = 20.0;
pub const ROUND_EVERY: f64 = 30.0;
/// How long a complete peer is watched, seconds: a round and a list must come, both with some delay.
pub const WATCHED: f64 = 60.0;

/// What is listed: files to choose from, files of ours, or only what the peer has.
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Stage {
    #[default]
    Choice,
    Download,
    Complete,
}

/// A file, or a piece of one.
#[derive(Default)]
pub struct PlayedFile {
    pub bytes: Arc<Vec<u8>>,
    pub holders: BTreeSet<usize>,
    /// When the peer was given it first.
    pub given: Option<f64>,
    /// How often the peer was asked for it, and how often it sent it.
    pub n_asked: usize,
    pub n_came: usize,
}

/// What is played for a peer, and what was seen of it.
#[derive(Default)]
pub struct Swarm {
    /// When the run ends, seconds; and the ports of the tracker and the peers.
    pub within: f64,
    pub ports: Vec<u16>,
    /// All that was ever listed, and what is listed since a time; whether some of it was given.
    pub files: BTreeMap<String, PlayedFile>,
    pub torrents: BTreeMap<String, Torrent>,
    pub stage: Stage,
    pub listed: Vec<String>,
    pub since: f64,
    pub is_answered: bool,
    /// When the last choice was over.
    pub choices_end: Option<f64>,
    /// Whether anything came, understood or not.
    pub has_come: bool,
    /// Where the peer is, whether it speaks our messages, and what it lists.
    pub peer: Option<SocketAddr>,
    pub ours: bool,
    pub own_files: Vec<String>,
    /// The place on the list of each holder that was asked, from either end.
    pub places: [BTreeSet<usize>; 2],
    /// Who was asked for small files, and what of the film was given, one after the other.
    pub small: Vec<usize>,
    pub film: Vec<String>,
}

impl Swarm {
    pub fn new(within: f64, ports: Vec<u16>, is_planted: bool) -> Self {
        let mut swarm = Self {
            within,
            ports,
            ..Self::default()
        };
        swarm.add(PLANTED, PLANTED_BYTES).given = is_planted.then_some(0.0);
        swarm
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> &mut PlayedFile {
        let file = self.files.entry(name.to_owned()).or_default();
        file.bytes = Arc::new(bytes.to_vec());
        file
    }

    /// Makes a file. Returns its name, and its pieces'.
    fn new_file(&mut self, kind: &str, n_pieces: usize) -> (String, Vec<String>) {
        let mut rng = rand::rng();
        let letters = (0..6).map(|_| rng.random_range('a'..='z'));
        let name = [kind, &letters.collect::<String>(), WHOLE].concat();
        let mut bytes = vec![0; n_pieces * PIECE];
        rng.fill_bytes(&mut bytes);
        let torrent = Torrent::of_content(Name::parse(&name).expect("letters"), &bytes);
        let pieces: Vec<String> = (0..torrent.n_pieces())
            .map(|idx| torrent.original_name(idx))
            .collect();
        for (piece, bytes) in pieces.iter().zip(bytes.chunks(PIECE)) {
            self.add(piece, bytes);
        }
        self.add(&name, &bytes);
        self.torrents.insert(name.clone(), torrent);
        (name, pieces)
    }

    /// Decides at a ping whether something else is listed from now on.
    fn turn(&mut self) {
        let (download, n_choices) = (course_time(DOWNLOAD_TIME), times(CHOICE).len());
        let rest = WATCHED + PING_EVERY + if self.ours { download } else { 0.0 };
        let is_time = now() + rest < self.within;
        let is_whole = self.was_asked_for(FILM, WHOLE);
        match self.stage {
            Stage::Choice if self.listed.is_empty() => self.offer(),
            Stage::Choice if !self.is_answered && (is_time || n_choices == 0) => {}
            Stage::Choice if is_time && n_choices < CHOICES => self.offer(),
            Stage::Choice if self.ours => self.offer_download(),
            Stage::Download if now() - self.since < download && !is_whole => {}
            Stage::Complete => {}
            _ => self.offer_nothing(),
        }
    }

    /// Lists files, each with its holders.
    pub fn list_now(&mut self, stage: Stage, what: &str, files: Vec<(String, BTreeSet<usize>)>) {
        let copies = |(name, who): &(String, BTreeSet<usize>)| format!(" {name} ×{}", who.len());
        let told: String = files.iter().map(copies).collect();
        self.since = note(format!("{LISTED} {what}:{told}"));
        self.listed = files.iter().map(|(name, _)| name.clone()).collect();
        for (name, holders) in files {
            self.files.entry(name).or_default().holders = holders;
        }
        if stage != Stage::Choice {
            self.choices_end.get_or_insert(self.since);
        }
        (self.stage, self.is_answered) = (stage, false);
    }

    /// Lists new names to choose from, each at another number of peers. Of ours, these are pieces, and there are more of
    /// the rarest than can be asked for at once.
    fn offer(&mut self) {
        let mut copies = vec![8, 9, 10, 11, 12];
        if self.ours {
            copies = [vec![8; 24], vec![10; 6], vec![12; 6]].concat();
        }
        copies.shuffle(&mut rand::rng());
        let names: Vec<String> = match self.ours {
            true => self.new_file("", copies.len()).1,
            false => copies.iter().map(|_| self.new_file("", LARGE).0).collect(),
        };
        let holders = |n| {
            sample(&mut rand::rng(), HOLDERS, n)
                .into_iter()
                .map(|nth| nth + 1)
        };
        let holders = copies.into_iter().map(|n| holders(n).collect());
        self.list_now(
            Stage::Choice,
            "files to choose from",
            names.into_iter().zip(holders).collect(),
        );
    }

    fn offer_download(&mut self) {
        let small =
            (0..SMALL_FILES).map(|_| (self.new_file(SMALL, 1).0, (NEAR..CORRUPT).collect()));
        let mut files: Vec<(String, BTreeSet<usize>)> = small.collect();
        files.push((self.new_file(FILM, FILM_PIECES).0, (NEAR..=DYING).collect()));
        self.list_now(Stage::Download, "files with .torrents", files);
    }

    fn offer_nothing(&mut self) {
        let known = self
            .own_files
            .iter()
            .filter(|name| self.files.contains_key(*name));
        let files = known.map(|name| (name.clone(), (1..=HOLDERS).collect()));
        self.list_now(Stage::Complete, "only what it has", files.collect());
    }

    /// What a peer has of what is listed.
    fn files_of(&self, who: usize) -> Vec<&String> {
        let has = |name: &&String| self.files[*name].holders.contains(&who);
        self.listed.iter().filter(has).collect()
    }

    /// The answer to a ping. `ip` is where the peer reached the tracker: it reaches all others there, too.
    pub fn list(&mut self, ip: &str) -> Value {
        self.turn();
        let mut peers = Vec::new();
        for (who, port) in self.ports.iter().enumerate() {
            let files = self.files_of(who);
            match files.is_empty() {
                true => {}
                false if who < NEAR => {
                    peers.push(json!({"ip": ip, "port": port, "file_list": files}))
                }
                false => {
                    peers.push(json!({"ip": ip, "port": port, "file_list": files, "v": VERSION}))
                }
            }
        }
        if self.ours {
            let is_listed = |name: &String| self.listed.iter().any(|file| file.starts_with(name));
            let torrents = self.torrents.iter().filter(|(name, _)| is_listed(name));
            let torrents: Vec<Summary> = torrents.map(|(_, of)| Summary::of(of)).collect();
            return json!({"v": VERSION, "local": false, "peers": peers, "torrents": torrents});
        }
        // an original tracker's list has the asker, too
        let (own, files) = (self.peer.into_iter(), &self.own_files);
        peers.extend(own.map(|at| json!({"ip": at.ip(), "port": at.port(), "file_list": files})));
        json!(peers)
    }

    /// The answer to whoever wants a `.torrent`.
    pub fn torrent(&self, name: &str) -> Value {
        note(format!("{TORRENT} {name}"));
        json!({"v": VERSION, "torrent": self.torrents.get(name)})
    }

    /// What a piece is called.
    pub fn piece(&self, name: &str, idx: u32) -> String {
        let torrent = self.torrents.get(name);
        torrent.map_or(String::new(), |torrent| torrent.original_name(idx))
    }

    /// What one of the peers of the download says of itself.
    pub fn hello(&self, who: usize) -> Value {
        let files = self.files_of(who).into_iter();
        let files = files.filter_map(|name| self.torrents.get(name));
        let have = files.map(|of| json!({"name": of.name(), "md5": of.md5(), "pieces": "all"}));
        let (id, have) = (format!("check {who}"), have.collect::<Vec<_>>());
        json!({"msg": "hello", "v": VERSION, "id": id, "port": self.ports[who], "have": have})
    }

    /// Whether the peer was asked for a file or a piece of a kind whose name ends so.
    pub fn was_asked_for(&self, kind: &str, ending: &str) -> bool {
        let is_so = |name: &String| name.starts_with(kind) && name.ends_with(ending);
        self.files
            .iter()
            .any(|(name, file)| is_so(name) && file.n_asked > 0)
    }
}
