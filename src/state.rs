//! What a peer knows: its files, who else is there, what the tracker said. Pure but for the open files it hands out: no
//! lock, no I/O, and the moment is a parameter. [`crate::client::Client`] keeps one behind its Mutex.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::bitfield::Bitfield;
use crate::cli::Exit;
use crate::md5::Digest;
use crate::net::Sender;
use crate::picker::{PeerNo, Picker, Way};
use crate::protocol::{Get, Have, PeerEntry, Pieces, Summary, SwarmList};
use crate::store::{Seen, Stamp};
use crate::torrent::{BadPiece, Name, Torrent};

/// A peer that was told of by a hello stays known so long without being on the tracker's list.
const HELLO_KEPT: Duration = Duration::from_secs(60);
/// After so many proven bad pieces a peer is left alone.
const STRIKES: u32 = 3;
/// After a failed connection, a peer is tried again so much later; after bad pieces, too.
const RETRY: Duration = Duration::from_secs(5);
/// The course text's list has so many other peers.
const COURSE_PEERS: usize = 2;
/// The most files that are remembered of one peer, and that one hello lists.
const OFFERS: usize = 4000;
/// Above so many neighbours, no more are connected to: pieces reach everybody over a few dozen.
pub const NEIGHBOURS: usize = 40;
/// The disk is tried again so long after a failure.
pub const DISK_RETRY: Duration = Duration::from_secs(10);
/// With `--exit-when-complete`: without any answer of the tracker, it is given up after this time.
const NO_ANSWER: Duration = Duration::from_secs(60);

/// A file whose pieces are here, all or some.
pub struct Held {
    /// What it should be.
    pub torrent: Arc<Torrent>,
    /// The part or the whole file.
    pub file: Arc<File>,
    /// The pieces that are here and checked.
    pub have: Bitfield,
    /// The whole file as it stands in the folder; none while it is a part.
    pub stamp: Option<Stamp>,
    /// How often each piece was sent.
    sent: Vec<u16>,
    /// When its download began.
    pub since: Instant,
    /// Pieces that were here already when the download began.
    pub had: u32,
    /// The MD5 of another content that the tracker has under this name, as it refused ours.
    pub refused: Option<Digest>,
    /// What came from, and went to, each peer in this run.
    pub exchanged: BTreeMap<PeerNo, Exchanged>,
    /// Pieces that failed their check: from whom, and what came.
    bad: BTreeMap<u32, Vec<(PeerNo, BadPiece)>>,
}

/// What came from a peer, and went to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Pieces that came, and were new.
    pub pieces: u64,
    /// Their bytes.
    pub got: u64,
    /// Bytes that went.
    pub gave: u64,
}

/// What stands in the folder under a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// Seen once; it may still be growing.
    Looked(Stamp),
    /// Being hashed.
    Hashing(Stamp),
    /// Shared.
    Shared(Stamp),
    /// Came twice the same from originals, and nobody knows its MD5.
    Unverified(Stamp, Digest),
}

impl Standing {
    fn stamp(&self) -> Stamp {
        match self {
            Self::Looked(stamp)
            | Self::Hashing(stamp)
            | Self::Shared(stamp)
            | Self::Unverified(stamp, _) => *stamp,
        }
    }
}

/// Who the tracker is, by its last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackerKind {
    /// No answer yet.
    Unknown,
    /// Ours; whether it serves its own machine alone.
    Ours {
        /// It does.
        local: bool,
    },
    /// An original.
    Original,
}

/// How a peer is asked for pieces.
#[derive(Clone)]
pub enum Reach {
    /// Not at the moment.
    No,
    /// A connection is being made.
    Trying,
    /// Over a connection for each piece.
    Single,
    /// Over this connection.
    Open(Sender),
}

/// Another peer.
pub struct Peer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it speaks our messages.
    pub ours: bool,
    /// Its random id, once it said hello.
    pub id: Option<String>,
    /// How it is asked.
    pub reach: Reach,
    /// The smallest round trip seen.
    pub latency: Option<Duration>,
    /// What it has of files that aren't fetched at the moment.
    offers: BTreeMap<Name, Pieces>,
    on_list: bool,
    said_hello: Option<Instant>,
    retry_at: Option<Instant>,
    strikes: u32,
}

/// One piece that has come here, for those who ask for news.
#[derive(Clone)]
struct News {
    name: Name,
    md5: Digest,
    /// None is the whole file.
    piece: Option<u32>,
}

/// What to send to a holder's asker.
pub enum Served {
    /// This piece of this file.
    Piece(Arc<Torrent>, Arc<File>, Option<Stamp>, u32),
    /// None of them is here yet.
    NotHere,
    /// This content isn't here.
    Gone,
}

/// Where a file or piece is that an original asks for by name.
pub enum Found {
    /// In this file, which is stamped so where it stands in the folder, at these bytes.
    Here(Name, Arc<File>, Option<Stamp>, Range<u64>),
    /// On its way.
    Coming,
    /// It isn't here and won't come.
    Unknown,
}

/// What a bad piece proves.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Open,
    /// Two peers sent the same bytes: the list of checkpoints is wrong.
    ListIsWrong,
}

/// Whether the program may end.
#[derive(Debug, PartialEq)]
pub enum Ending {
    /// Not before something changes, or this moment.
    Wait(Option<Instant>),
    /// With this code; the names that are the reason, with what is wrong with them.
    Now(Exit, Vec<String>),
}

/// What a program run is told of when it may end, and of what it wants.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// These alone; none is all.
    pub only: Vec<Name>,
    /// End once everything is here.
    pub exit_when_complete: bool,
    /// And so much later.
    pub seed_for: Duration,
    /// The time between two lists: a list without anything new for so long is complete.
    pub list_every: Duration,
}

/// Everything that a peer knows.
pub struct State {
    /// What to ask of whom.
    pub picker: Picker,
    /// The dice.
    pub rng: StdRng,
    /// Files of which pieces are here.
    pub files: BTreeMap<Name, Held>,
    /// What stands in the folder.
    pub standing: BTreeMap<Name, Standing>,
    /// Names in the folder that can't be shared, once that was said.
    pub odd: BTreeSet<String>,
    /// Files that were given up, and why.
    pub given_up: BTreeMap<Name, String>,
    /// What the tracker lists.
    pub swarm: BTreeMap<Name, Summary>,
    /// Files whose `.torrent` is being fetched, or whose part is being checked.
    pub beginning: BTreeSet<Name>,
    /// Who else is there.
    pub peers: BTreeMap<PeerNo, Peer>,
    /// Who the tracker is.
    pub tracker: TrackerKind,
    /// When the tracker answered last.
    pub answered: Option<Instant>,
    /// Whether the last try to reach it failed.
    pub unreachable: bool,
    /// No request is made before this moment.
    pub paused_until: Option<Instant>,
    /// A disk error that a run with `--exit-when-complete` ends with.
    pub disk_fault: Option<String>,
    /// Whether a thread fetches files from originals.
    pub fetching_whole: bool,
    /// Everything is to end.
    pub ending: bool,
    log: Vec<News>,
    wants: Wants,
    start: Instant,
    last_new: Instant,
    told_few: Option<usize>,
    done_at: Option<Instant>,
    next_peer: PeerNo,
}

impl State {
    /// At the start.
    pub fn new(wants: Wants, rng: StdRng, now: Instant) -> Self {
        Self {
            picker: Picker::default(),
            rng,
            files: BTreeMap::new(),
            standing: BTreeMap::new(),
            odd: BTreeSet::new(),
            given_up: BTreeMap::new(),
            swarm: BTreeMap::new(),
            beginning: BTreeSet::new(),
            peers: BTreeMap::new(),
            tracker: TrackerKind::Unknown,
            answered: None,
            unreachable: false,
            paused_until: None,
            disk_fault: None,
            fetching_whole: false,
            ending: false,
            log: Vec::new(),
            wants,
            start: now,
            last_new: now,
            told_few: None,
            done_at: None,
            next_peer: 0,
        }
    }

    // ---- the folder ----

    /// Takes a look at the folder. Returns the files that were left alone long enough to be hashed, and those that were
    /// withdrawn because they changed or went away. `shareable` tells what was shared before, by an earlier run.
    pub fn looked(&mut self, seen: &[Seen]) -> (Vec<(Name, Stamp)>, Vec<Name>) {
        let seen: BTreeMap<&Name, Stamp> = seen
            .iter()
            .filter_map(|seen| {
                if let Seen::File(name, stamp) = seen {
                    Some((name, *stamp))
                } else {
                    None
                }
            })
            .collect();
        let changed = |(name, standing): (&Name, &Standing)| {
            (seen.get(name) != Some(&standing.stamp())).then(|| name.clone())
        };
        let changed: Vec<Name> = self.standing.iter().filter_map(changed).collect();
        let withdrawn: Vec<Name> = changed
            .iter()
            .filter(|name| self.withdraw(name))
            .cloned()
            .collect();
        let mut to_hash = Vec::new();
        for (name, stamp) in seen {
            match self.standing.get(name) {
                None => drop(self.standing.insert(name.clone(), Standing::Looked(stamp))),
                Some(Standing::Looked(_)) => {
                    self.standing.insert(name.clone(), Standing::Hashing(stamp));
                    to_hash.push((name.clone(), stamp));
                }
                Some(_) => {}
            }
        }
        (to_hash, withdrawn)
    }

    /// What an earlier run may know, and, with true, what the swarm has the MD5 of by now.
    pub fn unsettled(&self) -> Vec<(Name, Stamp, bool)> {
        let unsettled = |(name, standing): (&Name, &Standing)| match standing {
            Standing::Looked(stamp) => Some((name.clone(), *stamp, false)),
            Standing::Unverified(stamp, md5) => self
                .swarm
                .get(name)
                .filter(|summary| summary.md5 == *md5)
                .map(|_| (name.clone(), *stamp, true)),
            _ => None,
        };
        self.standing.iter().filter_map(unsettled).collect()
    }

    /// A file that stands in the folder is shared no more. Returns whether it was.
    pub fn withdraw(&mut self, name: &Name) -> bool {
        self.standing.remove(name);
        let whole = self
            .files
            .get(name)
            .is_some_and(|held| held.stamp.is_some());
        if whole {
            self.files.remove(name);
        }
        whole
    }

    /// A whole file of the folder is shared from now on, unless it changed meanwhile.
    pub fn share(
        &mut self,
        torrent: Arc<Torrent>,
        file: Arc<File>,
        stamp: Stamp,
        now: Instant,
    ) -> bool {
        let name = torrent.name().clone();
        if self
            .standing
            .get(&name)
            .is_some_and(|standing| standing.stamp() != stamp)
        {
            return false;
        }
        self.standing.insert(name.clone(), Standing::Shared(stamp));
        self.picker.unwant(&name);
        self.log.push(News {
            name: name.clone(),
            md5: torrent.md5(),
            piece: None,
        });
        let have = Bitfield::full(torrent.n_pieces());
        self.files
            .insert(name, Held::new(torrent, file, have, Some(stamp), now));
        true
    }

    // ---- the tracker ----

    /// Takes what our tracker listed. Returns the files whose download can begin.
    pub fn update_list(&mut self, list: &SwarmList, now: Instant) -> Vec<Summary> {
        self.tracker = TrackerKind::Ours { local: list.local };
        self.answered = Some(now);
        let before = std::mem::take(&mut self.swarm);
        self.swarm = list
            .torrents
            .iter()
            .map(|summary| (summary.name.clone(), summary.clone()))
            .collect();
        if self.swarm.keys().any(|name| !before.contains_key(name)) {
            self.last_new = now;
        }
        self.update_peer_list(&list.peers, now);
        let wanted: Vec<_> = self
            .swarm
            .values()
            .filter(|summary| self.lacks(&summary.name))
            .cloned()
            .collect();
        self.beginning
            .extend(wanted.iter().map(|summary| summary.name.clone()));
        wanted
    }

    /// Takes what an original listed.
    pub fn update_original_list(&mut self, peers: &[PeerEntry], now: Instant) {
        self.tracker = TrackerKind::Original;
        self.answered = Some(now);
        self.swarm.clear();
        self.update_peer_list(peers, now);
    }

    /// Whether a file is wanted, and neither here, nor in the folder under another content, nor on its way.
    fn lacks(&self, name: &Name) -> bool {
        self.is_wanted(name)
            && !self.files.contains_key(name)
            && !self.standing.contains_key(name)
            && !self.beginning.contains(name)
            && !self.given_up.contains_key(name)
    }

    /// Whether the user wants this file.
    pub fn is_wanted(&self, name: &Name) -> bool {
        self.wants.only.is_empty() || self.wants.only.contains(name)
    }

    fn update_peer_list(&mut self, entries: &[PeerEntry], now: Instant) {
        self.peers
            .values_mut()
            .for_each(|peer| peer.on_list = false);
        for entry in entries {
            let Ok(ip) = entry.ip.parse::<IpAddr>() else {
                continue;
            };
            let peer = self.know(
                SocketAddr::new(ip.to_canonical(), entry.port),
                entry.v.is_some(),
            );
            self.peers.get_mut(&peer).expect("just known").on_list = true;
            for (name, digits) in &entry.pieces {
                if let Ok(name) = Name::parse(name) {
                    self.offers(peer, &name, Pieces::Digits(digits.clone()));
                }
            }
            self.lists(peer, &entry.file_list);
        }
        let gone = |peer: &Peer| {
            let silent = peer
                .said_hello
                .is_none_or(|at| now.saturating_duration_since(at) > HELLO_KEPT);
            !peer.on_list && silent && matches!(peer.reach, Reach::No | Reach::Single)
        };
        let gone: Vec<PeerNo> = self
            .peers
            .iter()
            .filter(|(_, peer)| gone(peer))
            .map(|(no, _)| *no)
            .collect();
        for no in gone {
            self.picker.forget(no);
            self.peers.remove(&no);
        }
    }

    /// Takes the names that a peer lists: of whole files, or, from an original, of pieces.
    fn lists(&mut self, peer: PeerNo, names: &[String]) {
        let mut parts: BTreeMap<Name, Vec<u32>> = BTreeMap::new();
        for listed in names {
            if let Some((name, idx)) = Name::parse_piece(listed) {
                parts.entry(name).or_default().push(idx);
            } else if let Ok(name) = Name::parse(listed) {
                let all = || Pieces::Digits("all".to_owned());
                // what an original calls by a large file's name may be anything; by a small one's name, it is checked
                let ours = self.peers[&peer].ours;
                let one_piece = self
                    .swarm
                    .get(&name)
                    .is_none_or(|summary| summary.n_pieces <= 1);
                if ours || one_piece {
                    self.offers(peer, &name, all());
                }
            }
        }
        for (name, idxs) in parts {
            self.offers(peer, &name, Pieces::These(idxs));
        }
    }

    fn offers(&mut self, peer: PeerNo, name: &Name, pieces: Pieces) {
        match self
            .files
            .get(name)
            .map(|held| held.have.len())
            .filter(|_| self.picker.wants(name))
        {
            Some(n) => {
                if let Some(bits) = pieces.bits(n) {
                    self.picker.peer_has(peer, name, bits.iter());
                }
            }
            None => {
                let offers = &mut self
                    .peers
                    .get_mut(&peer)
                    .expect("a known peer offers")
                    .offers;
                if offers.len() < OFFERS || offers.contains_key(name) {
                    offers.insert(name.clone(), pieces);
                }
            }
        }
    }

    /// What goes to a tracker of ours: names of whole files, and the pieces of the others. Only what is the swarm's content.
    pub fn file_list(&self) -> (Vec<String>, BTreeMap<String, String>) {
        let same = |held: &&Held| {
            self.swarm
                .get(held.torrent.name())
                .is_some_and(|summary| summary.md5 == held.torrent.md5())
        };
        let (whole, parts): (Vec<&Held>, Vec<&Held>) = self
            .files
            .values()
            .filter(same)
            .partition(|held| held.have.is_full());
        let name = |held: &&Held| held.torrent.name().as_str().to_owned();
        let parts = parts.iter().filter(|held| !held.have.is_empty());
        (
            whole.iter().map(name).collect(),
            parts.map(|held| (name(held), held.have.to_hex())).collect(),
        )
    }

    /// What goes to an original: names of whole files.
    pub fn whole_names(&self) -> Vec<String> {
        let shared = |standing: &Standing| {
            matches!(standing, Standing::Shared(_) | Standing::Unverified(..))
        };
        self.standing
            .iter()
            .filter(|(_, standing)| shared(standing))
            .map(|(name, _)| name.as_str().to_owned())
            .collect()
    }

    /// The contents that the tracker should have the `.torrent` of, and hasn't.
    pub fn unpublished(&self) -> Vec<Arc<Torrent>> {
        let lacks = |held: &&Held| match self.swarm.get(held.torrent.name()) {
            None => true,
            Some(summary) => summary.md5 != held.torrent.md5() && held.refused != Some(summary.md5),
        };
        let ours = matches!(self.tracker, TrackerKind::Ours { .. });
        self.files
            .values()
            .filter(|_| ours)
            .filter(|held| !held.have.is_empty() || held.have.is_full())
            .filter(lacks)
            .map(|held| Arc::clone(&held.torrent))
            .collect()
    }

    /// The tracker took a `.torrent`.
    pub fn published(&mut self, torrent: &Torrent, now: Instant) {
        let (name, n_pieces) = (torrent.name().clone(), torrent.n_pieces());
        let summary = Summary {
            name: name.clone(),
            size: torrent.size(),
            md5: torrent.md5(),
            n_pieces,
            publisher: torrent.publisher.clone(),
        };
        if self.swarm.insert(name, summary).is_none() {
            self.last_new = now;
        }
    }

    // ---- peers ----

    /// The number of the peer at this address; a new one where it isn't known.
    pub fn know(&mut self, addr: SocketAddr, ours: bool) -> PeerNo {
        if let Some((no, peer)) = self.peers.iter_mut().find(|(_, peer)| peer.addr == addr) {
            peer.ours |= ours;
            return *no;
        }
        self.next_peer += 1;
        let peer = Peer {
            addr,
            ours,
            id: None,
            reach: Reach::No,
            latency: None,
            offers: BTreeMap::new(),
            on_list: false,
            said_hello: None,
            retry_at: None,
            strikes: 0,
        };
        self.peers.insert(self.next_peer, peer);
        self.next_peer
    }

    /// A peer said who it is and what it has, on a connection of either side.
    pub fn hello(&mut self, peer: PeerNo, id: &str, have: &[Have], now: Instant) {
        if let Some(known) = self.peers.get_mut(&peer) {
            // another program at the same address: what the last one had is gone
            if known.id.as_ref().is_some_and(|last| last != id) {
                known.offers.clear();
                known.strikes = 0;
                self.picker.forget(peer);
            }
            let known = self.peers.get_mut(&peer).expect("known above");
            known.id = Some(id.to_owned());
            known.said_hello = Some(now);
            self.learn(peer, have);
        }
    }

    /// A peer told what it has.
    pub fn learn(&mut self, peer: PeerNo, news: &[Have]) {
        for have in news
            .iter()
            .filter(|_| self.peers.contains_key(&peer))
            .cloned()
            .collect::<Vec<_>>()
        {
            let md5 = self.files.get(&have.name).map(|held| held.torrent.md5());
            if md5
                .or(self.swarm.get(&have.name).map(|summary| summary.md5))
                .is_none_or(|md5| md5 == have.md5)
            {
                self.offers(peer, &have.name, have.pieces);
            }
        }
    }

    /// Everything that is here, for a hello; and the place in the news from which on what comes is new.
    pub fn haves(&self) -> (Vec<Have>, usize) {
        let have = |held: &Held| {
            let torrent = &held.torrent;
            Have {
                name: torrent.name().clone(),
                md5: torrent.md5(),
                pieces: Pieces::of(&held.have),
            }
        };
        let mut held: Vec<&Held> = self
            .files
            .values()
            .filter(|held| !held.have.is_empty())
            .collect();
        // what is whole, the tracker's list tells, too
        held.sort_by_key(|held| held.have.is_full());
        (
            held.into_iter().take(OFFERS).map(have).collect(),
            self.log.len(),
        )
    }

    /// What came here since the place `from` in the news.
    pub fn news(&self, from: usize) -> (Vec<Have>, usize) {
        let mut by_file: BTreeMap<&Name, (Digest, Option<Vec<u32>>)> = BTreeMap::new();
        for news in &self.log[from..] {
            let (_, idxs) = by_file
                .entry(&news.name)
                .or_insert_with(|| (news.md5, Some(Vec::new())));
            match (news.piece, idxs) {
                (Some(idx), Some(idxs)) => idxs.push(idx),
                (None, idxs) => *idxs = None,
                (Some(_), None) => {}
            }
        }
        let pieces = |idxs: Option<Vec<u32>>| {
            idxs.map_or_else(|| Pieces::Digits("all".to_owned()), Pieces::These)
        };
        let have = by_file.into_iter().map(|(name, (md5, idxs))| Have {
            name: name.clone(),
            md5,
            pieces: pieces(idxs),
        });
        (have.collect(), self.log.len())
    }

    /// The peers of ours to connect to now; each counts as being tried.
    pub fn to_connect(&mut self, now: Instant) -> Vec<(PeerNo, SocketAddr)> {
        if self.picker.is_idle() || self.ending {
            return Vec::new();
        }
        let busy = self
            .peers
            .values()
            .filter(|peer| peer.ours && !matches!(peer.reach, Reach::No))
            .count();
        let ready = |peer: &&mut Peer| {
            peer.ours
                && matches!(peer.reach, Reach::No)
                && peer.strikes < STRIKES
                && peer.retry_at.is_none_or(|at| at <= now)
        };
        let mut to_connect = Vec::new();
        for (no, peer) in self.peers.iter_mut() {
            if to_connect.len() + busy < NEIGHBOURS && ready(&&mut *peer) {
                peer.reach = Reach::Trying;
                to_connect.push((*no, peer.addr));
            }
        }
        to_connect
    }

    /// A connection came about, with this latency. False where the peer is connected to already, under another address.
    pub fn connected(&mut self, peer: PeerNo, sender: Sender, latency: Duration, id: &str) -> bool {
        let twin = |(no, other): (&PeerNo, &Peer)| {
            *no != peer && other.id.as_deref() == Some(id) && matches!(other.reach, Reach::Open(_))
        };
        if self.peers.iter().any(twin) {
            return false;
        }
        let Some(known) = self.peers.get_mut(&peer) else {
            return false;
        };
        known.reach = Reach::Open(sender);
        known.latency = Some(latency);
        self.picker.open(
            peer,
            Way {
                latency,
                ours: true,
            },
        );
        true
    }

    /// The connection is over; what was asked of it is open again.
    pub fn disconnected(&mut self, peer: PeerNo, failed: bool, now: Instant) {
        self.picker.release(peer);
        if let Some(known) = self.peers.get_mut(&peer) {
            known.reach = Reach::No;
            known.retry_at = failed.then_some(now + RETRY);
        }
    }

    /// Originals, and in classic rounds everybody, are asked over a connection for each piece.
    pub fn open_for_single_pieces(&mut self, classic: bool, now: Instant) {
        for (no, peer) in &mut self.peers {
            let ready =
                peer.strikes < STRIKES && peer.retry_at.is_none_or(|at| at <= now) && peer.on_list;
            if (classic || !peer.ours) && ready && matches!(peer.reach, Reach::No) {
                peer.reach = Reach::Single;
                self.picker.open(
                    *no,
                    Way {
                        latency: peer.latency.unwrap_or_default(),
                        ours: false,
                    },
                );
            }
        }
    }

    // ---- pieces ----

    /// Begins a download, of which `have` is here already.
    pub fn begin(&mut self, torrent: Arc<Torrent>, file: Arc<File>, have: Bitfield, now: Instant) {
        let name = torrent.name().clone();
        self.beginning.remove(&name);
        if !have.is_full() {
            self.picker.want(&torrent, have.clone());
        }
        for idx in have.iter() {
            self.log.push(News {
                name: name.clone(),
                md5: torrent.md5(),
                piece: Some(idx),
            });
        }
        self.files
            .insert(name.clone(), Held::new(torrent, file, have, None, now));
        let offers: Vec<_> = self
            .peers
            .iter_mut()
            .filter_map(|(no, peer)| Some((*no, peer.offers.remove(&name)?)))
            .collect();
        offers
            .into_iter()
            .for_each(|(no, pieces)| self.offers(no, &name, pieces));
    }

    /// What to send for a request.
    pub fn choose(&mut self, get: &Get) -> Served {
        let Some(held) = self
            .files
            .get_mut(&get.name)
            .filter(|held| held.torrent.md5() == get.md5)
        else {
            return Served::Gone;
        };
        let here = get.pieces.iter().copied().filter(|idx| held.have.get(*idx));
        match here.min_by_key(|idx| held.sent[*idx as usize]) {
            None => Served::NotHere,
            Some(idx) => {
                held.sent[idx as usize] = held.sent[idx as usize].saturating_add(1);
                Served::Piece(
                    Arc::clone(&held.torrent),
                    Arc::clone(&held.file),
                    held.stamp,
                    idx,
                )
            }
        }
    }

    /// What an original means by `filename`: a piece by its name, or a whole file.
    pub fn find(&self, filename: &str) -> Found {
        let piece = Name::parse_piece(filename);
        let name = piece
            .as_ref()
            .map(|(name, _)| name.clone())
            .or_else(|| Name::parse(filename).ok());
        let Some((name, held)) =
            name.and_then(|name| self.files.get(&name).map(|held| (name, held)))
        else {
            return Found::Unknown;
        };
        let torrent = &held.torrent;
        let range = match piece {
            Some((_, idx)) if idx >= torrent.n_pieces() => return Found::Unknown,
            Some((_, idx)) if !held.have.get(idx) => return Found::Coming,
            None if !held.have.is_full() => return Found::Coming,
            Some((_, idx)) => {
                torrent.piece_start(idx)..torrent.piece_start(idx) + torrent.piece_len(idx) as u64
            }
            None => 0..torrent.size(),
        };
        Found::Here(name, Arc::clone(&held.file), held.stamp, range)
    }

    /// A piece is here, checked and written. Returns whether it is the last; `None` where it was here before.
    pub fn landed(&mut self, peer: PeerNo, name: &Name, idx: u32, now: Instant) -> Option<bool> {
        let held = self.files.get_mut(name)?;
        let new = held.have.set(idx);
        let guilty: Vec<PeerNo> = held
            .bad
            .remove(&idx)
            .unwrap_or_default()
            .into_iter()
            .map(|(peer, _)| peer)
            .collect();
        let (md5, whole) = (held.torrent.md5(), held.have.is_full());
        if new {
            let exchanged = held.exchanged.entry(peer).or_default();
            exchanged.pieces += 1;
            exchanged.got += held.torrent.piece_len(idx) as u64;
        }
        self.picker.landed(peer, name, idx, now);
        // the list is right about this piece, so who sent another content of it was wrong
        for peer in guilty {
            if let Some(known) = self.peers.get_mut(&peer) {
                known.strikes += 1;
            }
        }
        if !new {
            return None;
        }
        self.log.push(News {
            name: name.clone(),
            md5,
            piece: Some(idx),
        });
        if whole {
            self.picker.unwant(name);
        }
        Some(whole)
    }

    /// A piece came, and isn't what it should be.
    pub fn failed(&mut self, peer: PeerNo, name: &Name, idx: u32, bad: BadPiece) -> Verdict {
        self.picker.dropped(peer, name, idx);
        self.picker.peer_lacks(peer, name, idx);
        let Some(held) = self.files.get_mut(name) else {
            return Verdict::Open;
        };
        // what is cut short says nothing of the list, and is an original's lost connection more often than a lie
        if matches!(bad, BadPiece::Length { .. }) {
            return Verdict::Open;
        }
        let senders = held.bad.entry(idx).or_default();
        let twice = senders
            .iter()
            .any(|(other, came)| *other != peer && *came == bad);
        senders.push((peer, bad));
        if twice {
            Verdict::ListIsWrong
        } else {
            Verdict::Open
        }
    }

    /// A file can't be had. What is here of it is served no more.
    pub fn give_up(&mut self, name: &Name, why: String) {
        self.picker.unwant(name);
        self.files.remove(name);
        self.beginning.remove(name);
        self.given_up.insert(name.clone(), why);
    }

    /// Whether a peer sent too many bad pieces.
    pub fn is_left_alone(&self, peer: PeerNo) -> bool {
        self.peers
            .get(&peer)
            .is_some_and(|peer| peer.strikes >= STRIKES)
    }

    /// How many other peers the tracker listed.
    pub fn n_listed(&self) -> usize {
        self.peers.values().filter(|peer| peer.on_list).count()
    }

    /// Whether it is to be said that few other peers are listed, and, within, how many are waited for.
    pub fn few_peers(&mut self, min_peers: usize) -> Option<Option<usize>> {
        let (n_listed, at_least) = (self.n_listed(), min_peers.max(COURSE_PEERS));
        let missing = !self.picker.is_idle() || !self.beginning.is_empty();
        if n_listed >= at_least {
            self.told_few = None;
            return None;
        }
        (missing && self.told_few.replace(n_listed) != Some(n_listed))
            .then_some(Some(min_peers).filter(|least| n_listed < *least))
    }

    /// Names that only originals list, and that are wanted and not here; with who has each.
    pub fn from_originals_only(&self) -> Vec<(Name, Vec<(PeerNo, SocketAddr)>)> {
        let mut names: BTreeMap<&Name, Vec<(PeerNo, SocketAddr)>> = BTreeMap::new();
        for (no, peer) in self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.ours && peer.on_list)
        {
            let whole = |pieces: &Pieces| matches!(pieces, Pieces::Digits(all) if all == "all");
            for (name, _) in peer.offers.iter().filter(|(_, pieces)| whole(pieces)) {
                names.entry(name).or_default().push((*no, peer.addr));
            }
        }
        names.retain(|name, _| !self.swarm.contains_key(name) && self.lacks(name));
        names
            .into_iter()
            .map(|(name, holders)| (name.clone(), holders))
            .collect()
    }

    // ---- the end ----

    /// What keeps a wanted file from counting as done.
    fn fault(&self, name: &Name) -> Result<(), Fault> {
        if let Some(why) = self.given_up.get(name) {
            return Err(Fault::Wrong(format!("{name}: {why}")));
        }
        match (
            self.standing.get(name),
            self.files.get(name),
            self.swarm.get(name),
        ) {
            (Some(Standing::Unverified(_, here)), _, Some(summary)) if *here != summary.md5 => {
                Err(Fault::other(name, *here, summary.md5))
            }
            (Some(Standing::Unverified(..)), ..) => Err(Fault::Wrong(format!(
                "{name} came from originals only: nobody knows its MD5, so it is unverified"
            ))),
            (Some(Standing::Shared(_)), Some(held), Some(summary))
                if held.torrent.md5() != summary.md5 =>
            {
                Err(Fault::other(name, held.torrent.md5(), summary.md5))
            }
            (Some(Standing::Shared(_)), Some(_), _) => Ok(()),
            _ => Err(Fault::Missing),
        }
    }

    /// Whether the program may end now, by `--exit-when-complete`.
    pub fn ending(&mut self, now: Instant) -> Ending {
        if !self.wants.exit_when_complete {
            return Ending::Wait(None);
        }
        if let Some(fault) = &self.disk_fault {
            return Ending::Now(Exit::Disk, vec![fault.clone()]);
        }
        if self.answered.is_none() {
            let until = self.start + NO_ANSWER;
            let why = format!("no answer from the tracker for {} s", NO_ANSWER.as_secs());
            return if now < until {
                Ending::Wait(Some(until))
            } else {
                Ending::Now(Exit::Unreachable, vec![why])
            };
        }
        let mut names: BTreeSet<Name> = self.wants.only.iter().cloned().collect();
        if names.is_empty() {
            names.extend(self.swarm.keys().cloned());
            names.extend(
                self.standing
                    .iter()
                    .filter(|(_, standing)| matches!(standing, Standing::Unverified(..)))
                    .map(|(name, _)| name.clone()),
            );
            names.extend(self.from_originals_only().into_iter().map(|(name, _)| name));
            let settled = self.last_new + self.wants.list_every;
            if names.is_empty() || now < settled {
                return Ending::Wait((!names.is_empty()).then_some(settled));
            }
        }
        let faults: Vec<Fault> = names
            .iter()
            .filter_map(|name| self.fault(name).err())
            .collect();
        if faults.iter().any(|fault| matches!(fault, Fault::Missing)) {
            self.done_at = None;
            return Ending::Wait(None);
        }
        let until = *self.done_at.get_or_insert(now) + self.wants.seed_for;
        let wrong = faults.into_iter().filter_map(|fault| {
            if let Fault::Wrong(why) = fault {
                Some(why)
            } else {
                None
            }
        });
        match wrong.collect::<Vec<_>>() {
            _ if now < until => Ending::Wait(Some(until)),
            wrong if wrong.is_empty() => Ending::Now(Exit::Done, wrong),
            wrong => Ending::Now(Exit::Integrity, wrong),
        }
    }
}

enum Fault {
    Missing,
    Wrong(String),
}

impl Fault {
    fn other(name: &Name, here: Digest, swarm: Digest) -> Self {
        Self::Wrong(format!(
            "{name} stands here with MD5 {here}, the swarm's has MD5 {swarm}: move one of the two away"
        ))
    }
}

impl Held {
    fn new(
        torrent: Arc<Torrent>,
        file: Arc<File>,
        have: Bitfield,
        stamp: Option<Stamp>,
        now: Instant,
    ) -> Self {
        let (sent, had) = (vec![0; torrent.n_pieces() as usize], have.count());
        Self {
            torrent,
            file,
            have,
            stamp,
            sent,
            since: now,
            had,
            refused: None,
            exchanged: BTreeMap::new(),
            bad: BTreeMap::new(),
        }
    }
}
