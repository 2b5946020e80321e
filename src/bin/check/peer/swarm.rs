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

use crate::program::{PLANTED, PLANTED_BYTES};
use crate::record::{Beat, course_time, note, now};

/// The peers that are chosen from are 1 to 12. The rarest file has eight holders: that a random choice falls on the
/// same place six times comes once in 30,000 runs.
const HOLDERS: usize = 12;
/// How many choices are watched. In the first one, all files are large, 1 MiB.
pub const CHOICES: usize = 6;
const LEN: usize = 3000;
pub const LARGE: &str = "large";
const LARGE_LEN: usize = 16 * PIECE;
const PIECE: usize = MIN_PIECE_LEN as usize;
/// The peers that have the download: three that are ever farther away, one that sends other bytes, and one that dies.
pub const NEAR: usize = 13;
pub const CORRUPT: usize = 16;
pub const DYING: usize = 17;
/// The download: many small files, each of which is a decision between three that are free, and one of many pieces; the
/// most time for it; and how many pieces are given before the peer is asked for one.
pub const SMALL: &str = "a-small";
const SMALL_FILES: usize = 24;
pub const FILM: &str = "film";
pub const WHOLE: &str = ".bin";
const FILM_PIECES: usize = 64;
const DOWNLOAD_TIME: Duration = Duration::from_secs(20);
const UNDER_WAY: usize = 20;

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
    /// When the peer was given it first, and whether it sent it each time that it was asked for it.
    pub given: Option<f64>,
    pub came_back: Vec<bool>,
}

/// What is played for a peer, and what was seen of it.
#[derive(Default)]
pub struct Swarm {
    /// When the run ends, seconds; and the ports of the tracker and the peers.
    pub within: f64,
    pub ports: Vec<u16>,
    /// All that was ever listed, what is listed since a time, and whether some of it was given.
    pub files: BTreeMap<String, PlayedFile>,
    pub torrents: BTreeMap<String, Torrent>,
    pub stage: Stage,
    pub listed: Vec<String>,
    pub since: f64,
    pub is_answered: bool,
    /// Where the peer is, whether it speaks our messages, and what it lists.
    pub peer: Option<SocketAddr>,
    pub ours: bool,
    pub own_files: Vec<String>,
    pub pings: Beat,
    pub lists: Beat,
    /// The first request of each choice, whether the one that is listed had it, and when the last choice was over.
    pub requests: Beat,
    pub is_chosen: bool,
    pub choices_end: Option<f64>,
    /// The place on the list of each holder that was asked, from either end.
    pub places: [BTreeSet<usize>; 2],
    /// Of the download: who was asked for small files; whether the film's `.torrent` was given, and some of it wrongly;
    /// when a source went away, and when some of the film was asked for last.
    pub small: Vec<usize>,
    pub has_torrent: bool,
    pub is_corrupt_given: bool,
    pub died: Option<f64>,
    pub last_film: f64,
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
        file.bytes = Arc::new(bytes.to_vec());
        file
    }

    fn new_file(&mut self, kind: &str, ending: &str, len: usize) -> String {
        let mut rng = rand::rng();
        let letters = (0..6).map(|_| rng.random_range('a'..='z'));
        let name = [kind, &letters.collect::<String>(), ending].concat();
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        self.add(&name, &bytes);
        name
    }

    /// Makes a file of ours. Returns its name, and its pieces'.
    fn new_torrent(&mut self, kind: &str, n_pieces: usize) -> (String, Vec<String>) {
        let name = self.new_file(kind, WHOLE, n_pieces * PIECE);
        let bytes = Arc::clone(&self.files[&name].bytes);
        let torrent = Torrent::of_content(Name::parse(&name).expect("letters"), &bytes);
        let mut pieces = Vec::new();
        for (idx, bytes) in (0..).zip(bytes.chunks(PIECE)) {
            pieces.push(torrent.original_name(idx));
            self.add(&pieces[pieces.len() - 1], bytes);
        }
        self.torrents.insert(name.clone(), torrent);
        (name, pieces)
    }

    /// Decides at a ping whether something else is listed from now on.
    fn turn(&mut self) {
        let (download, waited) = (course_time(DOWNLOAD_TIME), now() - self.since);
        let rest = WATCHED + PING_EVERY + if self.ours { download } else { 0.0 };
        let (is_time, n_choices) = (now() + rest < self.within, self.requests.times.len());
        match self.stage {
            Stage::Choice if self.listed.is_empty() => self.offer(LARGE, LARGE_LEN),
            Stage::Choice if !self.is_answered && (is_time || n_choices == 0) => {}
            Stage::Choice if is_time && n_choices < CHOICES => self.offer("", LEN),
            Stage::Choice if self.ours => self.offer_download(),
            Stage::Download if waited < download && !self.was_asked_for(FILM, WHOLE) => {}
            Stage::Complete => {}
            _ => self.offer_nothing(),
        }
    }

    /// Lists files, each with its holders.
    pub fn list_now(&mut self, stage: Stage, what: &str, files: Vec<(String, BTreeSet<usize>)>) {
        let copies = |(name, who): &(String, BTreeSet<usize>)| format!(" {name} ×{}", who.len());
        let told: String = files.iter().map(copies).collect();
        self.since = note(format!("the tracker lists {what}:{told}"));
        if stage != Stage::Choice {
            self.choices_end.get_or_insert(self.since);
        }
        self.listed.clear();
        for (name, holders) in files {
            self.listed.push(name.clone());
            self.files.entry(name).or_default().holders = holders;
        }
        (self.stage, self.is_answered, self.is_chosen) = (stage, false, false);
    }

    /// Lists new names to choose from, each at another number of peers. Of ours, these are pieces, and there are more of
    /// the rarest than can be asked for at once.
    fn offer(&mut self, kind: &str, len: usize) {
        let mut copies = vec![8, 9, 10, 11, 12];
        if self.ours {
            copies = [vec![8; 24], vec![10; 6], vec![12; 6]].concat();
        }
        copies.shuffle(&mut rand::rng());
        let n = copies.len();
        let names: Vec<String> = match self.ours {
            true => self.new_torrent(kind, n).1,
            false => (0..n).map(|_| self.new_file(kind, ".txt", len)).collect(),
        };
        let holders = copies.into_iter().map(|n| {
            let sampled = sample(&mut rand::rng(), HOLDERS, n).into_iter();
            sampled.map(|nth| nth + 1).collect()
        });
        let files = names.into_iter().zip(holders).collect();
        self.list_now(Stage::Choice, "others, with files to choose from", files);
    }

    fn offer_download(&mut self) {
        let near = || (NEAR..CORRUPT).collect();
        let small = (0..SMALL_FILES).map(|_| (self.new_torrent(SMALL, 1).0, near()));
        let mut files: Vec<(String, BTreeSet<usize>)> = small.collect();
        let film = self.new_torrent(FILM, FILM_PIECES).0;
        files.push((film, (NEAR..=DYING).collect()));
        self.list_now(Stage::Download, "files with .torrents", files);
    }

    fn offer_nothing(&mut self) {
        let mut known = self.own_files.clone();
        known.retain(|name| self.files.contains_key(name));
        let everybody = |name| (name, (1..=HOLDERS).collect());
        let files = known.into_iter().map(everybody).collect();
        self.list_now(Stage::Complete, "only what it has", files);
    }

    /// What a peer has of what is listed.
    fn files_of(&self, who: usize) -> Vec<&String> {
        let has = |name: &&String| self.files[*name].holders.contains(&who);
        self.listed.iter().filter(has).collect()
    }

    /// The answer to a ping. `ip` is where the peer reached the tracker: it reaches all others there, too.
    pub fn list(&mut self, ip: &str) -> Value {
        self.turn();
        let entry = |who: usize| {
            let files = self.files_of(who);
            let mut entry = json!({"ip": ip, "port": self.ports[who], "file_list": files});
            if who >= NEAR {
                entry["v"] = VERSION.into();
            }
            entry
        };
        let mut peers: Vec<Value> = match self.stage {
            Stage::Download => (NEAR..=DYING).map(entry).collect(),
            _ => (1..=HOLDERS).map(entry).collect(),
        };
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

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&String, &PlayedFile)> {
        let files = self.files.iter();
        files.filter(move |(name, _)| name.starts_with(kind))
    }

    /// Whether the peer was asked for a file or a piece of a kind whose name ends so.
    pub fn was_asked_for(&self, kind: &str, ending: &str) -> bool {
        let mut files = self.of_kind(kind);
        files.any(|(name, file)| name.ends_with(ending) && !file.came_back.is_empty())
    }

    /// Whether nothing more of the film is given before the peer was asked for some of it.
    pub fn is_held(&self) -> bool {
        let given = self.of_kind(FILM).filter(|(_, file)| file.given.is_some());
        given.count() > UNDER_WAY && !self.was_asked_for(FILM, "")
    }

    /// What the peer has, and is to be asked for now: each file once, one once more when it has been complete for a
    /// round, and a piece of the film while that is held. What it was given after `before` may not be written yet.
    pub fn due(&self, before: f64) -> Option<(SocketAddr, String, Arc<Vec<u8>>)> {
        let is_rested = self.stage == Stage::Complete && before > self.since + ROUND_EVERY;
        let again = is_rested && self.files.values().all(|file| file.came_back.len() < 2);
        let is_due = |name: &&String| {
            // of a file of ours, the pieces were given
            let given = self.of_kind(name).filter_map(|(_, file)| file.given);
            let is_here = *name == PLANTED || given.reduce(f64::max).is_some_and(|at| at < before);
            let file = self.files.get(*name).filter(|_| is_here);
            file.is_some_and(|file| again || file.came_back.is_empty())
        };
        let is_held = self.is_held();
        let is_given = |(_, file): &(&String, &PlayedFile)| is_held && file.given.is_some();
        let film = self.of_kind(FILM).filter(is_given).map(|(name, _)| name);
        let name = film.chain(&self.own_files).find(is_due)?;
        Some((
            self.peer?,
            name.clone(),
            Arc::clone(&self.files[name].bytes),
        ))
    }
}
