//! The swarm that a peer under test meets: what is listed, and from when on. Nothing waits here.
//!
//! First *choices*, each of files that nobody has seen before, and a new one once the last was answered; then, for a
//! peer that speaks our messages, a *download* of files with `.torrent`s; at the end, nothing but what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bittorrentish::protocol::{Summary, VERSION};
use bittorrentish::torrent::{MIN_PIECE_LEN, Name, Torrent, piece_name};
use rand::seq::{SliceRandom, index::sample};
use rand::{Rng, RngExt};
use serde_json::{Value, json};

use crate::program::{PLANTED, PLANTED_BYTES};
use crate::record::{note, now, times};

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
/// The download: many small files, each of which is a decision between three that are free, and one of many pieces.
pub const SMALL: &str = "a-small";
const SMALL_FILES: usize = 24;
pub const FILM: &str = "film";
pub const WHOLE: &str = ".bin";
const FILM_PIECES: usize = 64;
/// How the lines begin that say what is listed, what is chosen of it, and which `.torrent` was given.
pub const LISTED: &str = "the tracker lists";
pub const CHOICE: &str = "choice";
pub const TORRENT: &str = "it was given the .torrent of";

/// The intervals of the course text, seconds.
pub const PING_EVERY: f64 = 10.0;
pub const LIST_EVERY: f64 = 20.0;
pub const ROUND_EVERY: f64 = 30.0;
/// How long a complete peer is watched, seconds: a round and a list must come, both with some delay.
pub const WATCHED: f64 = 60.0;

/// A file, or a piece of one.
#[derive(Default)]
pub struct PlayedFile {
    pub bytes: Arc<[u8]>,
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
    /// All that was ever listed; of that, what is listed now, since when, and whether some of it was given by those that
    /// are chosen from; and whether that is only what the peer has.
    pub files: BTreeMap<String, PlayedFile>,
    pub torrents: BTreeMap<String, Torrent>,
    pub listed: Vec<String>,
    pub since: f64,
    pub is_answered: bool,
    pub is_complete: bool,
    /// What came that isn't understood: for each, the row, what it may have been meant as, and why.
    pub odd: Vec<(&'static str, &'static str, String)>,
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
        let mut swarm = Self::default();
        (swarm.within, swarm.ports) = (within, ports);
        swarm.add(PLANTED, PLANTED_BYTES).given = is_planted.then_some(0.0);
        swarm
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> &mut PlayedFile {
        let file = self.files.entry(name.to_owned()).or_default();
        file.bytes = bytes.into();
        file
    }

    /// Makes a file; one for a peer of ours has a `.torrent`, and pieces.
    fn new_file(&mut self, kind: &str, n_pieces: usize) -> String {
        let mut rng = rand::rng();
        let letters = (0..6).map(|_| rng.random_range('a'..='z'));
        let name = [kind, &letters.collect::<String>(), WHOLE].concat();
        let mut bytes = vec![0; n_pieces * PIECE];
        rng.fill_bytes(&mut bytes);
        self.add(&name, &bytes);
        if self.ours {
            let torrent = Torrent::of_content(Name::parse(&name).expect("letters"), &bytes);
            for (idx, bytes) in (0..).zip(bytes.chunks(PIECE)) {
                self.add(&torrent.original_name(idx), bytes);
            }
            self.torrents.insert(name.clone(), torrent);
        }
        name
    }

    /// Decides at a ping whether something else is listed from now on.
    fn turn(&mut self) {
        let n_choices = times(CHOICE).len();
        let is_time = n_choices == 0 || now() + WATCHED + PING_EVERY < self.within;
        match n_choices {
            _ if self.is_complete => {}
            _ if !is_time || self.was_asked_for(FILM, WHOLE) => self.offer_nothing(),
            ..CHOICES if self.is_answered || self.listed.is_empty() => self.offer(),
            CHOICES.. if self.is_answered && self.ours => self.offer_download(),
            CHOICES.. if self.is_answered => self.offer_nothing(),
            _ => {}
        }
    }

    /// Lists files, each with its holders.
    pub fn list_now(&mut self, what: &str, files: Vec<(String, BTreeSet<usize>)>) {
        let copies = |(name, who): &(String, BTreeSet<usize>)| format!(" {name} ×{}", who.len());
        let told: String = files.iter().map(copies).collect();
        self.since = note(format!("{LISTED} {what}:{told}"));
        self.listed = files.iter().map(|(name, _)| name.clone()).collect();
        for (name, holders) in files {
            self.files.entry(name).or_default().holders = holders;
        }
        self.is_answered = false;
    }

    /// Lists new names to choose from, each at another number of peers. Of ours, these are pieces, and there are more of
    /// the rarest than can be asked for at once.
    fn offer(&mut self) {
        let mut copies = match self.ours {
            true => [vec![8; 24], vec![10; 6], vec![12; 6]].concat(),
            false => vec![8, 9, 10, 11, 12],
        };
        copies.shuffle(&mut rand::rng());
        let names: Vec<String> = match self.ours {
            true => {
                let file = self.new_file("", copies.len());
                (0..copies.len() as u32)
                    .map(|idx| piece_name(&file, idx))
                    .collect()
            }
            false => copies.iter().map(|_| self.new_file("", LARGE)).collect(),
        };
        let mut files = Vec::new();
        for (name, n) in names.into_iter().zip(copies) {
            let places = sample(&mut rand::rng(), HOLDERS, n).into_iter();
            files.push((name, places.map(|place| place + 1).collect()));
        }
        self.list_now("files to choose from", files);
    }

    fn offer_download(&mut self) {
        let film = self.new_file(FILM, FILM_PIECES);
        let mut files = vec![(film, (NEAR..=DYING).collect())];
        for _ in 0..SMALL_FILES {
            files.push((self.new_file(SMALL, 1), (NEAR..CORRUPT).collect()));
        }
        self.list_now("files with .torrents", files);
    }

    fn offer_nothing(&mut self) {
        let known = |name: &&String| self.files.contains_key(*name);
        let files = self.own_files.iter().filter(known).cloned();
        let files = files.map(|name| (name, (1..=HOLDERS).collect()));
        self.list_now("only what it has", files.collect());
        self.is_complete = true;
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
            let mut entry = json!({"ip": ip, "port": port, "file_list": self.files_of(who)});
            if who >= NEAR {
                entry["v"] = VERSION.into();
            }
            peers.extend(Some(entry).filter(|_| !self.files_of(who).is_empty()));
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
        let mut asked = self.files.iter().filter(|(_, file)| file.n_asked > 0);
        asked.any(|(name, _)| name.starts_with(kind) && name.ends_with(ending))
    }
}
