//! What a peer knows: its files, who else is there, what the tracker said. Pure but for the open files it hands out: no
//! lock, no I/O, and the moment is a parameter. [`crate::client::Client`] keeps one behind its Mutex.
//!
//! Here is what the tracker said; [`peers`] has the others, [`holdings`] the files, [`ending`] when it is all over, and
//! [`overview`] what people are shown of it, `telling` what they are told by the clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

pub use self::ending::Ending;
use self::holdings::News;
pub use self::holdings::{Exchanged, Found, Held, Served, Standing, Verdict};
pub use self::peers::{Peer, Reach};
pub use self::telling::Given;
use crate::events::Event;
use crate::md5::Digest;
use crate::picker::{PeerNo, Picker};
use crate::protocol::{PeerEntry, Summary, SwarmList};
use crate::torrent::{Name, Torrent};

pub mod ending;
pub mod holdings;
pub mod overview;
pub mod peers;
mod rate;
mod telling;

/// The course text's list has so many other peers.
const COURSE_PEERS: usize = 2;
/// Decisions that are kept to be shown.
const DECISIONS: usize = 20;
/// Who looked so long ago looks no more, unless it is a page that nobody sees at the moment.
const LOOK_KEPT: Duration = Duration::from_secs(10);
/// The disk is tried again so long after a failure.
pub const DISK_RETRY: Duration = Duration::from_secs(10);

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

/// What a program run is told of when it may end, and of what it wants.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// These alone; none is all.
    pub only: Vec<Name>,
    /// None but what is picked on the page.
    pub pick: bool,
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
    /// The tracker's number for `swarm` as it is.
    pub edition: Option<u64>,
    /// Files whose `.torrent` is being fetched, or whose part is being checked.
    pub beginning: BTreeSet<Name>,
    /// Who else is there.
    pub peers: BTreeMap<PeerNo, Peer>,
    /// How many others there are, where the tracker tells of some only.
    sampled_of: Option<usize>,
    /// How many lists came.
    n_lists: u64,
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
    /// Whether the user knows that the disk fails.
    pub disk_told: bool,
    /// Files that can't be read or begun at the moment, and why.
    pub stuck: BTreeMap<Name, String>,
    /// Files that are being hashed or checked: the bytes so far, and their sizes.
    pub progress: BTreeMap<Name, (u64, u64)>,
    /// Files that come in through the page, likewise.
    pub uploads: BTreeMap<Name, (u64, u64)>,
    /// Whether a thread fetches files from originals.
    pub fetching_whole: bool,
    /// Everything is to end.
    pub ending: bool,
    /// The last decisions, while somebody looks.
    decisions: VecDeque<Event>,
    looked_at: Option<Instant>,
    log: Vec<News>,
    wants: Wants,
    picked: BTreeSet<Name>,
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
            edition: None,
            beginning: BTreeSet::new(),
            peers: BTreeMap::new(),
            sampled_of: None,
            n_lists: 0,
            tracker: TrackerKind::Unknown,
            answered: None,
            unreachable: false,
            paused_until: None,
            disk_fault: None,
            disk_told: false,
            stuck: BTreeMap::new(),
            progress: BTreeMap::new(),
            uploads: BTreeMap::new(),
            fetching_whole: false,
            ending: false,
            decisions: VecDeque::new(),
            looked_at: None,
            log: Vec::new(),
            wants,
            picked: BTreeSet::new(),
            start: now,
            last_new: now,
            told_few: None,
            done_at: None,
            next_peer: 0,
        }
    }

    /// Takes what our tracker listed. Returns the files whose download can begin.
    pub fn update_list(&mut self, list: &SwarmList, now: Instant) -> Vec<Summary> {
        self.tracker = TrackerKind::Ours { local: list.local };
        self.answered = Some(now);
        let asked = std::mem::replace(&mut self.edition, list.edition);
        if list.edition.is_none() || list.edition != asked {
            self.take_files(&list.torrents, now);
        }
        self.drop_replaced();
        for held in self.files.values_mut() {
            let summary = self.swarm.get(held.torrent.name());
            held.listed |= summary.is_some_and(|summary| summary.md5 == held.torrent.md5());
        }
        self.update_peer_list(&list.peers, list.n_peers, now);
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

    /// Takes the files that are listed in the place of those before.
    fn take_files(&mut self, listed: &[Summary], now: Instant) {
        let listed = listed.iter().map(|file| (file.name.clone(), file.clone()));
        let before = std::mem::replace(&mut self.swarm, listed.collect());
        if self.swarm.keys().any(|name| !before.contains_key(name)) {
            self.last_new = now;
        }
    }

    /// A part of a content that the swarm has replaced by another is of no use; what is whole here stays.
    fn drop_replaced(&mut self) {
        let replaced = |held: &&Held| {
            let summary = self.swarm.get(held.torrent.name());
            held.stamp.is_none() && summary.is_some_and(|summary| summary.md5 != held.torrent.md5())
        };
        let replaced = self.files.values().filter(replaced);
        let replaced: Vec<Name> = replaced.map(|held| held.torrent.name().clone()).collect();
        replaced.iter().for_each(|name| self.drop_file(name));
    }

    /// Takes what an original listed.
    pub fn update_original_list(&mut self, peers: &[PeerEntry], now: Instant) {
        self.tracker = TrackerKind::Original;
        self.answered = Some(now);
        self.swarm.clear();
        self.edition = None;
        self.update_peer_list(peers, None, now);
    }

    /// Whether a file is wanted, and neither here, nor in the folder under another content, nor on its way.
    pub(super) fn lacks(&self, name: &Name) -> bool {
        self.is_wanted(name)
            && !self.files.contains_key(name)
            && !self.standing.contains_key(name)
            && !self.beginning.contains(name)
            && !self.given_up.contains_key(name)
    }

    /// Whether the user wants this file.
    pub fn is_wanted(&self, name: &Name) -> bool {
        let all = self.wants.only.is_empty() && !self.wants.pick;
        all || self.wants.only.contains(name) || self.picked.contains(name)
    }

    /// The files that the user named or picked.
    fn named(&self) -> impl Iterator<Item = &Name> {
        self.wants.only.iter().chain(&self.picked)
    }

    /// The user wants this file, too; one that was given up is tried anew. Returns it where its download can begin.
    pub fn pick(&mut self, name: &Name) -> Option<Summary> {
        self.given_up.remove(name);
        self.picked.insert(name.clone());
        let begins = self.swarm.get(name).filter(|_| self.lacks(name)).cloned()?;
        self.beginning.insert(name.clone());
        Some(begins)
    }

    /// Somebody looks: for a while decisions are kept to be shown.
    pub fn look(&mut self, now: Instant) {
        self.looked_at = Some(now);
    }

    /// Whether somebody looked lately.
    pub fn is_looked_at(&self, now: Instant) -> bool {
        let looked = self.looked_at;
        looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK_KEPT)
    }

    /// Keeps a decision to be shown.
    pub fn decided(&mut self, decision: Event) {
        self.decisions.push_back(decision);
        if self.decisions.len() > DECISIONS {
            self.decisions.pop_front();
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
        let whole = self.files.values().filter(|held| held.stamp.is_some());
        whole
            .map(|held| held.torrent.name().as_str().to_owned())
            .collect()
    }

    /// The contents that the tracker should have the `.torrent` of, and hasn't.
    pub fn unpublished(&self) -> Vec<Arc<Torrent>> {
        let lacks = |held: &&Held| match self.swarm.get(held.torrent.name()) {
            None => true,
            Some(summary) => {
                summary.md5 != held.torrent.md5() && held.refused.is_none() && !held.listed
            }
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

    /// The files that stand here while the swarm has another content under their names, which is news: its MD5 with them.
    /// Each is published once; then the later one stands.
    pub fn contradicted(&mut self) -> Vec<(Name, Digest, Digest)> {
        let mut contradicted = Vec::new();
        for (name, held) in &mut self.files {
            let other = self
                .swarm
                .get(name)
                .filter(|summary| summary.md5 != held.torrent.md5());
            let Some(other) = other.filter(|_| held.listed && held.stamp.is_some()) else {
                continue;
            };
            if held.refused.replace(other.md5) != Some(other.md5) {
                contradicted.push((name.clone(), held.torrent.md5(), other.md5));
            }
        }
        contradicted
    }

    /// The tracker took a `.torrent`.
    pub fn published(&mut self, torrent: &Torrent, now: Instant) {
        let name = torrent.name().clone();
        if let Some(held) = self.files.get_mut(&name) {
            held.listed = true;
        }
        self.edition = None; // it is another list by now
        if self.swarm.insert(name, Summary::of(torrent)).is_none() {
            self.last_new = now;
        }
    }

    /// The tracker refused a `.torrent`, perhaps for the content that it has under this name. Returns whether that is news.
    pub fn refused(&mut self, torrent: &Torrent, other: Option<Digest>, why: &str) -> bool {
        let held = self.files.get_mut(torrent.name());
        let Some(held) = held.filter(|held| held.torrent.md5() == torrent.md5()) else {
            return false;
        };
        let told = std::mem::replace(&mut held.refused, other);
        let said = held.refusal.replace(why.to_owned());
        told != other || other.is_none() && said.as_deref() != Some(why)
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

    /// What keeps files from coming, where nobody can be asked for them.
    pub fn waits_for(&self) -> Vec<String> {
        let known = |name: &&Name| {
            self.swarm.contains_key(name)
                || self.files.contains_key(name)
                || self.standing.contains_key(name)
        };
        let unlisted = self.named().filter(|name| !known(name));
        let unlisted = unlisted.map(|name| format!("nobody lists {name}"));
        let nowhere = self
            .files
            .keys()
            .map(|name| (name, self.picker.nowhere(name)));
        let nowhere = nowhere
            .filter(|(_, idxs)| !idxs.is_empty())
            .map(|(name, idxs)| {
                let first: Vec<String> = idxs.iter().take(5).map(u32::to_string).collect();
                let more = if idxs.len() > 5 { ", …" } else { "" };
                let first = first.join(", ");
                let nobody = self.sampled_of.map_or("nobody", |_| "nobody known here");
                format!(
                    "{nobody} has {} of the missing pieces of {name} ({first}{more})",
                    idxs.len()
                )
            });
        unlisted.chain(nowhere).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rand::SeedableRng;

    use super::*;
    use crate::bitfield::Bitfield;
    use crate::md5::digest;
    use crate::protocol::{Have, Pieces};
    use crate::store::Stamp;
    use crate::torrent::{BadPiece, MIN_PIECE_LEN};

    /// Four pieces, whose content nobody looks at.
    fn torrent() -> Arc<Torrent> {
        let (name, size) = (Name::parse("f").expect("a name"), 4 * MIN_PIECE_LEN);
        let checkpoints = vec![crate::md5::INITIAL; 4 * crate::torrent::BLOCKS_A_PIECE];
        let torrent = Torrent::new(name, size.into(), MIN_PIECE_LEN, digest(b"f"), checkpoints);
        Arc::new(torrent.expect("a torrent"))
    }

    fn file() -> Arc<File> {
        Arc::new(File::open("/dev/null").expect("every machine has it"))
    }

    fn state() -> State {
        State::new(Wants::default(), StdRng::seed_from_u64(1), Instant::now())
    }

    /// A download begins, with nothing here.
    fn begin(state: &mut State, torrent: &Arc<Torrent>) -> bool {
        let have = Bitfield::new(torrent.n_pieces());
        state.begin(Arc::clone(torrent), file(), have, Instant::now())
    }

    #[test]
    fn a_download_does_not_begin_over_a_file_that_is_shared_by_then() {
        let (mut state, torrent) = (state(), torrent());
        let stamp = Stamp::of_file(&file()).expect("a file");
        let name = torrent.name();
        state.beginning.insert(name.clone());
        assert!(state.share(Arc::clone(&torrent), file(), stamp, Instant::now()));
        assert!(!begin(&mut state, &torrent));
        let held = &state.files[name];
        assert!(held.have.is_full() && held.stamp == Some(stamp));
        assert!(!state.picker.wants(name) && state.beginning.is_empty());
    }

    #[test]
    fn files_of_a_known_edition_stay_as_they_were() {
        let (mut state, torrent) = (state(), torrent());
        let file = Summary::of(&torrent);
        let list = |edition: Option<u64>, torrents: &[&Summary]| SwarmList {
            v: 1,
            local: false,
            edition,
            n_peers: None,
            peers: Vec::new(),
            torrents: torrents.iter().copied().cloned().collect(),
        };
        let files = |state: &mut State, list| {
            state.update_list(&list, Instant::now());
            (state.edition, state.swarm.len())
        };
        assert_eq!(files(&mut state, list(Some(7), &[&file])), (Some(7), 1));
        assert_eq!(files(&mut state, list(Some(7), &[])), (Some(7), 1));
        assert_eq!(files(&mut state, list(Some(8), &[])), (Some(8), 0));
        state.published(&torrent, Instant::now());
        assert_eq!(state.edition, None, "the tracker has another by now");
        // a tracker that knows of no editions tells all each time
        assert_eq!(files(&mut state, list(None, &[&file])), (None, 1));
        assert_eq!(files(&mut state, list(None, &[])), (None, 0));
    }

    #[test]
    fn what_stood_in_the_way_of_a_file_is_forgotten_once_it_is_shared() {
        let (mut state, torrent) = (state(), torrent());
        let stamp = Stamp::of_file(&file()).expect("a file");
        state.stuck.insert(torrent.name().clone(), "why".to_owned());
        assert!(state.share(torrent, file(), stamp, Instant::now()));
        assert!(state.stuck.is_empty());
    }

    #[test]
    fn a_bad_piece_of_an_earlier_download_says_nothing_of_this_one() {
        let (mut state, earlier, torrent) = (state(), torrent(), torrent());
        let bad = BadPiece::Block {
            block: 0,
            digest: digest(b"bad"),
        };
        begin(&mut state, &earlier);
        state.drop_file(torrent.name());
        begin(&mut state, &torrent);
        let everything = Have {
            name: torrent.name().clone(),
            md5: torrent.md5(),
            pieces: Pieces::Digits("all".to_owned()),
        };
        let peers = [2, 3].map(|ip| state.know(([10, 0, 0, ip], 1).into(), true));
        for peer in peers {
            state.learn(peer, std::slice::from_ref(&everything));
        }
        assert_eq!(state.failed(peers[0], &earlier, 0, bad), Verdict::Open);
        assert_eq!(state.failed(peers[1], &torrent, 0, bad), Verdict::Open);
        assert!(state.picker.nowhere(torrent.name()).is_empty());
        assert_eq!(
            state.failed(peers[0], &torrent, 0, bad),
            Verdict::ListIsWrong
        );
        assert_eq!(state.picker.nowhere(torrent.name()), [0]);
    }

    #[test]
    fn bad_copies_convict_the_list_only_where_they_are_the_same_from_two() {
        let bad = |what: &[u8]| BadPiece::Block {
            block: 0,
            digest: digest(what),
        };
        let (mut state, torrent) = (state(), torrent());
        begin(&mut state, &torrent);
        let peers = [2, 3].map(|ip| state.know(([10, 0, 0, ip], 1).into(), true));
        for (peer, what, verdict) in [
            (peers[0], b"one", Verdict::Open),
            (peers[0], b"one", Verdict::Open),
            (peers[1], b"two", Verdict::Open),
            (peers[1], b"one", Verdict::ListIsWrong),
        ] {
            assert_eq!(
                state.failed(peer, &torrent, 0, bad(what)),
                verdict,
                "{peer}"
            );
        }
    }
}
