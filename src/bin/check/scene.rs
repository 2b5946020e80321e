//! What a peer under test is offered, decided by the record so far. Nothing waits here.
//!
//! First a large file; then *choices*, each of files that nobody has seen before, and a new one once the last was answered;
//! for a peer that speaks our messages, a *download* of files with `.torrent`s; at the end, nothing but what it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use bittorrentish::protocol::{PeerEntry, Summary, VERSION, to_bytes};
use bittorrentish::torrent::{MIN_PIECE_LEN, Name, Torrent};
use rand::seq::{SliceRandom, index::sample};
use rand::{Rng, RngExt};
use serde_json::json;

use crate::record::{Holdings, RecordedEvent};

pub const STARTED: &str = "it was started: {name}";
pub const OURS: &str = "it speaks our messages";
pub const PING: &str = "it pinged the tracker, from {name} with port {who}";
pub const LIST: &str = "it sent the tracker its list:";
pub const ODD: &str = "it sent a {name} that isn't understood:";
pub const OFFER: &str = "the tracker lists others, with files to choose from:";
pub const DOWNLOAD: &str = "the tracker lists files with .torrents:";
pub const COMPLETE: &str = "from here on the tracker lists what it has:";
pub const SENT: &str = "the tracker's list was sent, {who} bytes";
pub const TORRENT: &str = "it was given the .torrent of {name}";
pub const ASKED: &str = "it asked peer {who} for {name}";
pub const GAVE: &str = "peer {who} gave it {name}";
pub const DIED: &str = "peer {who} went away";
pub const BACK: &str = "it was asked for {name}";

/// The peers that are chosen from are 1 to 12. The rarest file has eight holders: that a random choice falls on the same
/// place six times comes once in 30,000 runs.
pub const HOLDERS: usize = 12;
/// How many choices are watched.
pub const CHOICES: usize = 6;
/// The peers that have the download: three that are ever farther away, one that sends other bytes, and one that dies.
pub const NEAR: usize = 13;
pub const CORRUPT: usize = 16;
pub const DYING: usize = 17;
/// The first file, 4 MiB, and another one where no choice is answered for so many seconds. Few have them: the list is short.
pub const LARGE: &str = "large";
const LARGE_PIECES: usize = 64;
const PIECE: usize = MIN_PIECE_LEN as usize;
pub const SHORT: &str = "short";
const UNANSWERED: f64 = 2.2 * ROUND_EVERY;
const FEW: usize = 4;
/// The download: many small files, each of which is a decision between three that are free, and one of many pieces.
pub const SMALL: &str = "a-small";
const SMALL_FILES: usize = 24;
pub const FILM: &str = "film";
const FILM_PIECES: usize = 96;
/// So many pieces are given before the peer is asked for one.
const UNDER_WAY: usize = 20;
/// The file that is in the peer's folder at the start, and what is in it.
pub const PLANTED: &str = "planted.txt";
pub const PLANTED_BYTES: &[u8] = b"This file was here before the program was started.\n";

/// The intervals of the course text, seconds.
pub const PING_EVERY: f64 = 10.0;
pub const LIST_EVERY: f64 = 20.0;
pub const ROUND_EVERY: f64 = 30.0;
/// How long a complete peer is watched, seconds: a round and a list must come, both with some delay.
pub const WATCHED: f64 = 60.0;

/// All files that were ever listed, with their pieces.
#[derive(Default)]
pub struct Scene {
    pub contents: BTreeMap<String, Arc<Vec<u8>>>,
    pub torrents: BTreeMap<String, Torrent>,
}

/// What is listed at present.
pub fn offer(events: &[RecordedEvent]) -> Option<&RecordedEvent> {
    let listed = [OFFER, DOWNLOAD, COMPLETE];
    events.iter().rfind(|event| listed.contains(&event.what))
}

/// Whether something happened to a file, its pieces, or a kind of files.
pub fn was(events: &[RecordedEvent], what: &str, name: &str) -> bool {
    let is = |event: &RecordedEvent| event.what == what && event.name.starts_with(name);
    events.iter().any(is)
}

impl Scene {
    pub fn new() -> Self {
        let mut scene = Self::default();
        let bytes = Arc::new(PLANTED_BYTES.to_vec());
        scene.contents.insert(PLANTED.to_owned(), bytes);
        scene
    }

    /// Decides at a ping whether something else is listed from now on. The run ends at `within`; the download takes
    /// `most` at the most.
    pub fn turn(
        &mut self,
        events: &[RecordedEvent],
        now: f64,
        [within, most]: [f64; 2],
    ) -> Option<(&'static str, Holdings)> {
        let ours = was(events, OURS, "");
        let Some(last) = offer(events) else {
            return Some((OFFER, self.choice(ours, LARGE)));
        };
        let answered = events
            .iter()
            .any(|event| event.what == GAVE && event.at > last.at);
        let n_offers = events.iter().filter(|event| event.what == OFFER).count();
        let left = within - now - WATCHED - PING_EVERY - if ours { most } else { 0.0 };
        match last.what {
            OFFER if left > 0.0 && !answered && now < last.at + UNANSWERED => None,
            OFFER if left > 0.0 && !answered => Some((OFFER, self.choice(ours, SHORT))),
            OFFER if left > 0.0 && n_offers <= CHOICES => Some((OFFER, self.choice(ours, ""))),
            OFFER if ours => Some((DOWNLOAD, self.download())),
            DOWNLOAD if now < last.at + most && !is_back(events) => None,
            COMPLETE => None,
            _ => Some((COMPLETE, self.complete(events))),
        }
    }

    /// New names: one file alone, of a kind, or files to choose from, each at another number of peers. Of ours, these are
    /// pieces, and there are more of the rarest than can be asked for at once.
    fn choice(&mut self, ours: bool, kind: &str) -> Holdings {
        let mut copies = match (ours, kind) {
            (false, "") => vec![8, 9, 10, 11, 12],
            (true, "") => [vec![8; 24], vec![10; 6], vec![12; 6]].concat(),
            _ => vec![FEW; if ours { LARGE_PIECES } else { 1 }],
        };
        let mut rng = rand::rng();
        copies.shuffle(&mut rng);
        let len = if kind == LARGE {
            LARGE_PIECES * PIECE
        } else {
            3000
        };
        let names = match ours {
            true => self.new_torrent(kind, copies.len()),
            false => copies
                .iter()
                .map(|_| self.new_file(kind, ".txt", len))
                .collect(),
        };
        let mut lists: Holdings = (1..=HOLDERS).map(|who| (who, Vec::new())).collect();
        for (name, n) in names.iter().zip(copies) {
            for holder in sample(&mut rng, HOLDERS, n) {
                lists[holder].1.push(name.clone());
            }
        }
        lists
    }

    fn download(&mut self) -> Holdings {
        let small = (0..SMALL_FILES).flat_map(|_| self.new_torrent(SMALL, 1));
        let small: Vec<String> = small.collect();
        let film = self.new_torrent(FILM, FILM_PIECES)[0].replace(".part0001", "");
        let both = [&small[..], std::slice::from_ref(&film)].concat();
        let files = |who| {
            if who < CORRUPT {
                both.clone()
            } else {
                vec![film.clone()]
            }
        };
        (NEAR..=DYING).map(|who| (who, files(who))).collect()
    }

    /// Nothing but what the peer has said that it has, at everybody.
    fn complete(&self, events: &[RecordedEvent]) -> Holdings {
        let list = events.iter().rfind(|event| event.what == LIST);
        let mut files = list.map_or(Vec::new(), |list| list.files().to_vec());
        files.retain(|name| self.contents.contains_key(name));
        let pieces = |name: &String| match self.torrents.get(name) {
            Some(torrent) => pieces_of(torrent),
            None => vec![name.clone()],
        };
        let names: Vec<String> = files.iter().flat_map(pieces).collect();
        (1..=HOLDERS).map(|who| (who, names.clone())).collect()
    }

    fn new_file(&mut self, kind: &str, ending: &str, len: usize) -> String {
        let mut rng = rand::rng();
        let letters = (0..6).map(|_| rng.random_range('a'..='z'));
        let name = [kind, &letters.collect::<String>(), ending].concat();
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        self.contents.insert(name.clone(), Arc::new(bytes));
        name
    }

    /// Makes a file of ours. Returns its pieces' names.
    fn new_torrent(&mut self, kind: &str, n_pieces: usize) -> Vec<String> {
        let name = self.new_file(kind, ".bin", n_pieces * PIECE);
        let bytes = Arc::clone(&self.contents[&name]);
        let torrent = Torrent::of_content(Name::parse(&name).expect("letters"), &bytes);
        let pieces = pieces_of(&torrent);
        for (piece, bytes) in pieces.iter().zip(bytes.chunks(PIECE)) {
            self.contents
                .insert(piece.clone(), Arc::new(bytes.to_vec()));
        }
        self.torrents.insert(name, torrent);
        pieces
    }

    /// The answer to a ping. `ip` is where the peer reached the tracker: it reaches all others there, too.
    pub fn list(&self, events: &[RecordedEvent], ip: &str, ports: &[u16]) -> Vec<u8> {
        let none = RecordedEvent::default();
        let lists = &offer(events).unwrap_or(&none).lists;
        let entry = |(who, files): &(usize, Vec<String>)| {
            let v = (*who >= NEAR).then_some(VERSION);
            let (ip, port, file_list) = (ip.to_owned(), ports[*who], files.clone());
            PeerEntry {
                ip,
                port,
                file_list,
                v,
                pieces: BTreeMap::new(),
            }
        };
        let mut peers: Vec<PeerEntry> = lists.iter().map(entry).collect();
        if was(events, OURS, "") {
            let listed = |torrent: &&Torrent| {
                let names = [torrent.name().to_string(), torrent.original_name(0)];
                lists
                    .iter()
                    .any(|(_, files)| files.iter().any(|file| names.contains(file)))
            };
            let torrents = self.torrents.values().filter(listed).map(Summary::of);
            let torrents: Vec<Summary> = torrents.collect();
            let v = VERSION;
            return to_bytes(
                &json!({"v": v, "local": false, "peers": peers, "torrents": torrents}),
            );
        }
        // an original tracker's list has the asker, too
        let of = |what| events.iter().rfind(|event| event.what == what);
        if let Some((ping, list)) = of(PING).zip(of(LIST)) {
            let own = PeerEntry {
                ip: ping.name.clone(),
                port: ping.who as u16,
                file_list: list.files().to_vec(),
                v: None,
                pieces: BTreeMap::new(),
            };
            peers.push(own);
        }
        to_bytes(&peers)
    }

    /// What the peer has, and is to be asked for now: each file once, and one once more when it has been complete for a
    /// round. What it was given after `before` may not be written yet.
    pub fn due(&self, events: &[RecordedEvent], before: f64) -> Option<String> {
        let of = |what| events.iter().filter(move |event| event.what == what);
        let mut given = of(GAVE).filter(|event| event.at < before && event.who != CORRUPT);
        if is_held(events) {
            return Some(
                given
                    .find(|event| event.name.starts_with(FILM))?
                    .name
                    .clone(),
            );
        }
        let given: Vec<&str> = given.map(|event| event.name.as_str()).collect();
        let again = of(COMPLETE)
            .next()
            .map_or(f64::MAX, |last| last.at + ROUND_EVERY);
        let again = before > again && !of(BACK).any(|event| event.at > again);
        let asked: Vec<&str> = of(BACK).map(|event| event.name.as_str()).collect();
        let is_new =
            |name: &str| of(GAVE).any(|event| event.at > before && event.name.starts_with(name));
        let is_due = |name: &&String| {
            let came = **name == PLANTED || given.contains(&name.as_str());
            let came = came || self.torrents.contains_key(*name) && !is_new(name);
            came && self.contents.contains_key(*name) && (again || !asked.contains(&name.as_str()))
        };
        of(LIST).next_back()?.files().iter().find(is_due).cloned()
    }
}

/// Whether nothing more of the film is given before the peer was asked for some of it.
pub fn is_held(events: &[RecordedEvent]) -> bool {
    let given = events
        .iter()
        .filter(|event| event.what == GAVE && event.name.starts_with(FILM));
    given.count() > UNDER_WAY && !was(events, BACK, FILM)
}

/// Whether the peer was asked for the whole film.
fn is_back(events: &[RecordedEvent]) -> bool {
    let mut back = events.iter().filter(|event| event.what == BACK);
    back.any(|event| event.name.starts_with(FILM) && event.name.ends_with(".bin"))
}

fn pieces_of(torrent: &Torrent) -> Vec<String> {
    let pieces = 0..torrent.n_pieces();
    pieces.map(|idx| torrent.original_name(idx)).collect()
}
