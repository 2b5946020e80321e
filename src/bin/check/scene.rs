//! What a peer under test is told: who has what. Nothing waits here.
//!
//! There are three stages. *Choices*: each answer to a ping has names that nobody has seen before; once the peer has chosen
//! one, the next answer has others. *Download*, for a peer that speaks our messages: one file with a `.torrent`. *Complete*:
//! nothing is listed but what the peer has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bittorrentish::md5::Hasher;
use bittorrentish::protocol::{PeerEntry, Summary, SwarmList, VERSION, to_bytes};
use bittorrentish::torrent::{BLOCKS_A_PIECE, MIN_PIECE_LEN, Name, Torrent};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::peer::SETTLED;
use crate::record::{Plan, What};

/// The peers whose files are chosen from. The rarest name has eight holders: that a random choice falls on the same place six
/// times comes once in 30,000 runs.
pub const HOLDERS: usize = 12;
/// How many have each name of a choice.
const COPIES: [usize; 5] = [8, 9, 10, 11, 12];
/// The same for pieces, where the peer speaks our messages, and how many pieces: more than can be asked for at once.
const PIECES: [(usize, usize); 4] = [(8, 4), (9, 6), (10, 6), (12, 8)];
/// The peers that have the download: three that are ever farther away, one that sends other bytes, and one that dies.
pub const NEAR: usize = HOLDERS;
pub const FAR: usize = HOLDERS + 2;
pub const CORRUPT: usize = HOLDERS + 3;
pub const DYING: usize = HOLDERS + 4;
/// How many choices are watched.
pub const DECISIONS: usize = 6;
/// What C1 calls a large file, bytes.
pub const LARGE: usize = 4 << 20;
/// The pieces of the download.
const DOWNLOAD: usize = 96;
/// So many of them are sent before the peer is asked for one of them.
const UNDER_WAY: usize = 20;
/// The most time for the download, seconds.
const DOWNLOAD_TIME: f64 = 25.0;
/// The file that is in the peer's folder at the start.
pub const PLANTED: &str = "planted.txt";

/// What the planted file has in it.
pub fn planted() -> Vec<u8> {
    b"This file was here before the program was started.\n".repeat(40)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Choices,
    Download,
    Complete,
}

/// What is listed, and what the peer has done so far.
pub struct Scene {
    pub stage: Stage,
    /// When the stage began.
    pub since: f64,
    /// When the choices end, however many there were.
    choices_until: f64,
    choices: usize,
    /// Whether a request of the present choice was answered, which ends it.
    pub answered: bool,
    /// When the last request came.
    pub last_ask: f64,
    pub ours: bool,
    pub peer: Option<SocketAddr>,
    /// The bytes of all that was ever listed, pieces included.
    pub contents: BTreeMap<String, Arc<Vec<u8>>>,
    pub torrents: BTreeMap<String, Arc<Torrent>>,
    /// The download, once it has begun.
    pub download: Option<Arc<Torrent>>,
    /// Who has what, of the present answer.
    offer: BTreeMap<String, Vec<usize>>,
    /// What was sent to the peer to its end, and when.
    pub given: BTreeMap<String, f64>,
    /// The peer's last list.
    pub listed: Vec<String>,
    /// What the peer was asked for.
    back: BTreeSet<String>,
    /// Whether it was asked for a piece of the download, or needn't be.
    pub gate_open: bool,
    asked_when_complete: bool,
}

impl Scene {
    pub fn new(plan: &Plan) -> Self {
        let later = plan.round * 2.0 + Plan::tolerance(plan.round) + 2.0 * plan.ping;
        Self {
            stage: Stage::Choices,
            since: 0.0,
            choices_until: plan.within - later - DOWNLOAD_TIME.min(plan.within / 4.0),
            choices: 0,
            answered: true,
            last_ask: 0.0,
            ours: false,
            peer: None,
            contents: BTreeMap::from([(PLANTED.to_owned(), Arc::new(planted()))]),
            torrents: BTreeMap::new(),
            download: None,
            offer: BTreeMap::new(),
            given: BTreeMap::new(),
            listed: Vec::new(),
            back: BTreeSet::new(),
            gate_open: false,
            asked_when_complete: false,
        }
    }

    /// Decides at a ping whether something else is listed from now on, and returns it.
    pub fn turn(&mut self, now: f64, plan: &Plan) -> Option<What> {
        match self.stage {
            Stage::Choices
                if self.choices >= DECISIONS && self.answered || now > self.choices_until =>
            {
                self.since = now;
                Some(match self.ours {
                    true => self.begin_download(),
                    false => self.list_what_is_here(),
                })
            }
            Stage::Choices if self.answered => Some(self.next_choice()),
            Stage::Download => {
                let whole = self
                    .download
                    .as_ref()
                    .is_some_and(|torrent| self.back.contains(torrent.name().as_str()));
                let over = now > self.since + DOWNLOAD_TIME.min(plan.within / 4.0);
                (whole || over).then(|| {
                    self.since = now;
                    self.list_what_is_here()
                })
            }
            Stage::Choices | Stage::Complete => None,
        }
    }

    /// New names, each at another number of peers.
    fn next_choice(&mut self) -> What {
        let mut rng = rand::rng();
        let (names, mut copies) = match self.ours {
            true => {
                let copies: Vec<usize> = PIECES
                    .iter()
                    .flat_map(|(copies, n)| vec![*copies; *n])
                    .collect();
                (self.new_torrent(copies.len()).1, copies)
            }
            false => {
                // the first one that comes is the large file of C1
                let len = if self.choices == 0 { LARGE } else { 3000 };
                (
                    COPIES.map(|_| self.new_file(".txt", len)).into(),
                    COPIES.to_vec(),
                )
            }
        };
        copies.shuffle(&mut rng);
        let mut everyone: Vec<usize> = (0..HOLDERS).collect();
        let mut some = |n: usize| {
            everyone.shuffle(&mut rng);
            let mut some = everyone[..n].to_vec();
            some.sort_unstable();
            some
        };
        self.offer = names
            .into_iter()
            .zip(copies)
            .map(|(name, n)| (name, some(n)))
            .collect();
        self.choices += 1;
        self.answered = false;
        What::Offers {
            copies: self.offer.clone(),
        }
    }

    fn begin_download(&mut self) -> What {
        self.stage = Stage::Download;
        let (torrent, _) = self.new_torrent(DOWNLOAD);
        let name = torrent.name().to_string();
        self.offer = BTreeMap::from([(name.clone(), (NEAR..=DYING).collect())]);
        self.download = Some(torrent);
        What::Download { name }
    }

    fn list_what_is_here(&mut self) -> What {
        self.stage = Stage::Complete;
        let known = self
            .listed
            .iter()
            .filter(|name| self.contents.contains_key(*name));
        let names: Vec<String> = known.cloned().collect();
        let pieces = names.iter().flat_map(|name| match self.torrents.get(name) {
            Some(torrent) => (0..torrent.n_pieces())
                .map(|idx| torrent.original_name(idx))
                .collect(),
            None => vec![name.clone()],
        });
        self.offer = pieces.map(|name| (name, (0..HOLDERS).collect())).collect();
        What::Complete { names }
    }

    fn new_file(&mut self, ending: &str, len: usize) -> String {
        let mut rng = rand::rng();
        let letters: String = (0..6).map(|_| rng.random_range('a'..='z')).collect();
        let name = letters + ending;
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        self.contents.insert(name.clone(), Arc::new(bytes));
        name
    }

    /// A new file in pieces, and their names.
    fn new_torrent(&mut self, n_pieces: usize) -> (Arc<Torrent>, Vec<String>) {
        let len = MIN_PIECE_LEN as usize;
        let name = self.new_file(".bin", n_pieces * len);
        let bytes = Arc::clone(&self.contents[&name]);
        let torrent = Arc::new(torrent_of(&name, &bytes));
        let pieces = bytes.chunks(len).enumerate();
        let pieces = pieces
            .map(|(idx, piece)| (torrent.original_name(idx as u32), Arc::new(piece.to_vec())));
        let pieces: Vec<(String, Arc<Vec<u8>>)> = pieces.collect();
        let names = pieces.iter().map(|(name, _)| name.clone()).collect();
        self.contents.extend(pieces);
        self.torrents.insert(name, Arc::clone(&torrent));
        (torrent, names)
    }

    /// The answer to a ping. `own` is where the peer reached the tracker: it reaches all others there, too.
    pub fn list(&self, own: IpAddr, ports: &[u16], ours: bool) -> Vec<u8> {
        let entry = |holder: usize, port: u16| PeerEntry {
            ip: own.to_string(),
            port,
            file_list: self
                .offer
                .iter()
                .filter(|(_, has)| has.contains(&holder))
                .map(|(name, _)| name.clone())
                .collect(),
            v: (holder >= NEAR).then_some(VERSION),
            pieces: BTreeMap::new(),
        };
        let peers = ports
            .iter()
            .enumerate()
            .map(|(holder, port)| entry(holder, *port));
        let mut peers: Vec<PeerEntry> = peers.filter(|peer| !peer.file_list.is_empty()).collect();
        if !ours {
            // an original tracker's list has the asker, too
            peers.extend(self.peer.map(|peer| PeerEntry {
                ip: peer.ip().to_string(),
                port: peer.port(),
                file_list: self.listed.clone(),
                v: None,
                pieces: BTreeMap::new(),
            }));
            return to_bytes(&peers);
        }
        let file_of = |name: &String| {
            Name::parse_piece(name).map_or(name.clone(), |(file, _)| file.to_string())
        };
        let files: BTreeSet<String> = self.offer.keys().map(file_of).collect();
        let torrents = files.iter().filter_map(|name| self.torrents.get(name));
        to_bytes(&SwarmList {
            v: VERSION,
            local: false,
            edition: None,
            n_peers: None,
            sweep_every: None,
            peers,
            torrents: torrents.map(|torrent| Summary::of(torrent)).collect(),
            coming: Vec::new(),
        })
    }

    /// What the peer has, and is to be asked for now.
    pub fn due_back(&mut self, now: f64, round: f64) -> Option<String> {
        let piece = (self.is_under_way() && !self.gate_open)
            .then(|| self.pieces_given().next())
            .flatten();
        if piece.is_some() {
            return piece.cloned();
        }
        let here = |name: &str| {
            let given = |name: &String| self.given.get(name).is_some_and(|at| now > at + SETTLED);
            match self.torrents.get(name) {
                Some(torrent) => {
                    (0..torrent.n_pieces()).all(|idx| given(&torrent.original_name(idx)))
                }
                None => name == PLANTED || given(&name.to_owned()),
            }
        };
        let mut known = self
            .listed
            .iter()
            .filter(|name| self.contents.contains_key(*name) && here(name));
        let once_more =
            self.stage == Stage::Complete && now > self.since + round && !self.asked_when_complete;
        let due = match once_more {
            true => known.next().cloned(),
            false => known.find(|name| !self.back.contains(*name)).cloned(),
        };
        self.asked_when_complete |= once_more;
        due
    }

    /// Notes that the peer was asked.
    pub fn asked_back(&mut self, name: &str) {
        self.gate_open |= self.is_under_way();
        self.back.insert(name.to_owned());
    }

    /// Whether some of the download was sent, but not all.
    pub fn is_under_way(&self) -> bool {
        self.stage == Stage::Download && self.pieces_given().count() >= UNDER_WAY
    }

    fn pieces_given(&self) -> impl Iterator<Item = &String> {
        let name = self
            .download
            .as_ref()
            .map(|torrent| torrent.name().as_str());
        let of_it = move |piece: &&String| name.is_some_and(|name| piece.starts_with(name));
        self.given.keys().filter(of_it)
    }
}

/// The `.torrent` of some bytes.
pub fn torrent_of(name: &str, bytes: &[u8]) -> Torrent {
    let mut hasher = Hasher::new(MIN_PIECE_LEN as usize / BLOCKS_A_PIECE);
    hasher.update(bytes);
    let (checkpoints, md5) = hasher.finish();
    let name = Name::parse(name).expect("letters and a dot");
    Torrent::new(name, bytes.len() as u64, MIN_PIECE_LEN, md5, checkpoints).expect("whole pieces")
}
