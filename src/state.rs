//! What a peer knows: its files, who else is there, what the tracker said. It decides, and never waits: no lock, no I/O;
//! the time is a parameter, and [`crate::client::Client`] keeps one behind its Mutex.
//!
//! The original's client keeps the tracker's list, and reads its folder anew whenever it needs to know what is there. Here is
//! what the four paths of the lesson need: taking the tracker's list, making one's own, deciding on requests, choosing what to
//! send, and marking a piece as here. Beside the lesson, among others that [`crate`] lists: `contents` has the rules on which
//! content is the file, `folder` what stands in the folder, `peers` how each peer can be asked, `bad_copies` what a bad piece
//! proves, `ending` when it is all over, `waits` what keeps files from coming, and `overview`, `shares` and `telling` what
//! people are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

pub use self::at_rest::AtRest;
pub use self::bad_copies::BadPieceVerdict;
pub use self::choices::{Chance, Choice};
pub use self::contents::PublishNews;
pub use self::ending::{Ending, date};
pub use self::folder::{ByteProgress, LookFindings, Standing, UnsettledFile};
pub use self::holdings::{Completing, Exchanged, Found, Held, Served, TrackerWord};
pub use self::peers::{LinkState, MetPeer, OtherPeer};
pub use self::reporting::{PaceTally, note_own_limit};
pub use self::shares::Share;
pub use self::telling::Given;
pub use self::waits::PeerShortage;
pub use self::wants::{TrackerKind, Wants};
use crate::causes::NoList;
use crate::md5::Digest;
use crate::picker::{Decision, PeerId, Picker};
use crate::protocol::{Coming, Get, PeerList, Summary, SwarmList};
use crate::store::{AccessStamp, StoredPiece};
use crate::torrent::{BlockSet, Name, Torrent};

mod at_rest;
mod bad_copies;
mod choices;
mod conflict;
pub mod contents;
mod doing;
pub mod ending;
mod folder;
mod heads;
pub mod holdings;
pub mod overview;
pub mod peers;
mod rate;
mod reporting;
mod running;
#[cfg(any(test, fuzzing))]
pub mod sequence;
mod shares;
mod telling;
#[cfg(test)]
mod tests;
mod waits;
mod wants;

use self::choices::RecentChoices;
use self::holdings::News;
use self::telling::ToldUser;

/// Everything that a peer knows.
pub struct State {
    /// What to ask of whom.
    picker: Picker,
    rng: StdRng,
    /// The files of which pieces are here.
    files: BTreeMap<Name, Held>,
    /// Who else is there.
    peers: BTreeMap<PeerId, OtherPeer>,
    /// The contents that the tracker lists.
    swarm: BTreeMap<Name, Summary>,
    /// How many contents the tracker has, if its list leaves some out.
    n_files: Option<usize>,
    /// The tracker's number for `swarm` as it is: its answer to a ping that names this leaves the files out if it is still theirs.
    edition: Option<u64>,
    /// What others are hashing or see changing, and what may then stand under its name.
    coming: BTreeMap<Name, Coming>,
    /// Each piece that came here, in order, for those who ask for news.
    news: Vec<News>,
    /// Who the tracker is, by its last answer.
    tracker: TrackerKind,
    /// When the tracker answered last.
    last_answer: Option<Instant>,
    /// Why no list comes from it, if the last try failed.
    no_list: Option<NoList>,
    /// How many others there are, where the tracker lists some only.
    sampled_of: Option<usize>,
    /// How many lists came.
    n_lists: u64,
    /// What stands in the folder.
    standing: BTreeMap<Name, Standing>,
    /// Files of the folder that couldn't be read, with the permissions that they had.
    unreadable: BTreeMap<Name, Option<AccessStamp>>,
    /// Contents that were whole here, and that the user deleted or moved away, or changed after they had come: they aren't
    /// fetched again.
    deleted: BTreeMap<Name, Digest>,
    /// Contents that were whole here, in whose place something stands that isn't hashed yet: where that is deleted, too, they
    /// aren't fetched again.
    changed: BTreeMap<Name, Digest>,
    /// Files whose `.torrent` is being fetched, or whose part is being checked.
    beginning: BTreeSet<Name>,
    /// Files that were given up, and why.
    given_up: BTreeMap<Name, String>,
    /// Files that can't be read or begun at the moment, and why.
    stuck: BTreeMap<Name, String>,
    /// Those of them under whose name something other than a file stands.
    blocked: BTreeSet<Name>,
    /// Files that are being hashed or checked.
    progress: BTreeMap<Name, ByteProgress>,
    /// Files that come in through the page.
    uploads: BTreeMap<Name, ByteProgress>,
    /// No request is made before this time: the disk failed.
    paused_until: Option<Instant>,
    /// A disk error that a run with `--exit-when-complete` ends with.
    disk_fault: Option<String>,
    /// Whether a thread fetches files from originals.
    fetches_whole_files: bool,
    /// Whether the others are to be greeted after the next ping.
    to_greet: bool,
    /// Whether a thread greets them.
    greets: bool,
    /// Whether everything is to end.
    ending: bool,
    told: ToldUser,
    choices: RecentChoices,
    wants: Wants,
    /// When a hello last had the tracker asked what is new, or will have it asked.
    prompted: Option<Instant>,
    /// The time between two pings, as the tracker's sweeps ask for it.
    pings_every: Duration,
    picked: BTreeSet<Name>,
    start: Instant,
    /// When something new was listed.
    last_new: Instant,
    done_at: Option<Instant>,
    last_peer_id: PeerId,
}

/// A piece that a peer sends because it was asked for it.
pub struct Expected {
    /// The file that it is a piece of.
    pub torrent: Arc<Torrent>,
    /// The blocks that were asked for, if not all.
    pub blocks: Option<BlockSet>,
}

impl State {
    /// At the start nothing is known.
    pub fn new(wants: Wants, rng: StdRng, now: Instant) -> Self {
        Self {
            picker: Picker::default(),
            rng,
            files: BTreeMap::new(),
            peers: BTreeMap::new(),
            swarm: BTreeMap::new(),
            n_files: None,
            edition: None,
            coming: BTreeMap::new(),
            news: Vec::new(),
            tracker: TrackerKind::Unknown,
            last_answer: None,
            no_list: None,
            sampled_of: None,
            n_lists: 0,
            standing: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            deleted: BTreeMap::new(),
            changed: BTreeMap::new(),
            beginning: BTreeSet::new(),
            given_up: BTreeMap::new(),
            stuck: BTreeMap::new(),
            blocked: BTreeSet::new(),
            progress: BTreeMap::new(),
            uploads: BTreeMap::new(),
            paused_until: None,
            disk_fault: None,
            fetches_whole_files: false,
            to_greet: false,
            greets: false,
            ending: false,
            told: ToldUser::default(),
            choices: RecentChoices::default(),
            prompted: None,
            pings_every: wants.ping_every,
            wants,
            picked: BTreeSet::new(),
            start: now,
            last_new: now,
            done_at: None,
            last_peer_id: 0,
        }
    }

    /// Takes the list that our tracker answered a ping with: the files, and who else is there. Returns the files whose
    /// download can begin.
    pub fn update_list(&mut self, list: &SwarmList, now: Instant) -> Vec<Summary> {
        self.tracker = TrackerKind::Ours { local: list.local };
        self.last_answer = Some(now);
        self.edition = list.edition;
        // an answer without them says that they are unchanged
        if let Some(files) = &list.torrents {
            self.take_files(files, now);
            self.n_files = list.n_files;
        }
        self.take_coming(&list.coming, now);
        self.drop_replaced();
        self.reconsider(now);
        self.take_peers(&list.peers, list.n_peers, now);
        self.to_begin()
    }

    /// What goes to a tracker of ours: the swarm's contents as far as they are verified here.
    pub fn file_list(&self) -> PeerList {
        let mut list = PeerList {
            coming: self.coming_from_here(),
            others: self.other_contents(),
            ..PeerList::default()
        };
        for (name, held) in self.files.iter().filter(|(_, held)| self.is_listed(held)) {
            let name = name.as_str().to_owned();
            if held.have.is_full() {
                list.files.push(name);
            } else if !held.have.is_empty() {
                list.pieces.insert(name, held.have.to_hex());
            }
        }
        list
    }

    /// Every request that can be made now, see [`Picker::next_requests`].
    pub fn next_requests(&mut self, min_peers: usize, now: Instant) -> Vec<Decision> {
        if !self.may_ask(min_peers, now) {
            return Vec::new();
        }
        self.open_single_links(false, now);
        self.picker.next_requests(now, &mut self.rng)
    }

    /// What to send for a request: of the candidates that are here, the one that this peer has sent least.
    pub fn choose(&mut self, get: &Get) -> Served {
        let held = self.files.get_mut(&get.name);
        let held = held.filter(|held| held.begins_with(get.md5) && held.is_offered());
        let Some(held) = held else {
            return Served::without(get);
        };
        let here = get.pieces.iter().copied().filter(|idx| held.have.get(*idx));
        let Some(idx) = here.min_by_key(|idx| held.sent[*idx as usize]) else {
            return Served::NotHere;
        };
        held.sent[idx as usize] = held.sent[idx as usize].saturating_add(1);
        Served::Piece(Arc::clone(&held.torrent), held.location(), idx)
    }

    /// Looks up what piece `idx`, received in answer to request `n`, belongs to; returns `None` if it
    /// isn't wanted any more.
    ///
    /// # Errors
    /// Where it wasn't asked for.
    pub fn expects(&self, peer: PeerId, n: u64, idx: u32) -> Result<Option<Expected>, NotAskedFor> {
        let get = self.picker.request(peer, n);
        let get = get.filter(|get| get.pieces.contains(&idx));
        let get = get.ok_or(NotAskedFor)?;
        let (torrent, blocks) = (self.torrent_with(&get.name, get.md5, idx), get.blocks);
        Ok(torrent.map(|torrent| Expected { torrent, blocks }))
    }

    /// A piece is verified and stored, after `came` bytes of it came from this peer: from now on it is here, and served.
    pub fn landed(
        &mut self,
        peer: PeerId,
        torrent: &Arc<Torrent>,
        piece: &StoredPiece,
        came: usize,
        now: Instant,
    ) -> Landing {
        let (name, idx) = (torrent.name(), piece.idx());
        let held = self.files.get_mut(name);
        // its download may have been given up, or begun anew, while the piece came
        let Some(held) = held.filter(|held| Arc::ptr_eq(&held.torrent, torrent)) else {
            self.give_back_claim(peer, torrent, idx);
            return Landing::NotWanted;
        };
        if !held.have.add(piece) {
            self.came_twice(peer, torrent, idx);
            return Landing::NotWanted;
        }
        held.count(self.peers.get(&peer), came as u64, now);
        let whole = held.have.is_full();
        self.picker.landed(name, idx);
        self.blame_for(name, idx, peer);
        self.told.disk_fault = false;
        self.news.push(News::of_piece(torrent, idx));
        if whole {
            self.picker.unwant(name);
            return Landing::Last;
        }
        Landing::Another
    }
}

/// What a piece is that has landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// It was here before, or its download doesn't go on.
    NotWanted,
    /// It is new, and others are missing.
    Another,
    /// With it the file is whole.
    Last,
}

/// An answer that doesn't fit any request: its peer breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAskedFor;
