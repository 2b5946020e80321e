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
pub use self::ending::date;
use self::holdings::News;
pub use self::holdings::{Exchanged, Found, Held, Looked, Served, Standing, Verdict, Word};
pub use self::peers::{Peer, Reach};
pub use self::telling::Given;
use crate::cli::nearest;
use crate::events::Event;
use crate::md5::Digest;
use crate::picker::{PeerNo, Picker};
use crate::protocol::{
    Coming, OtherCopy, Outcome, PUBLICATIONS, PeerEntry, Publication, Summary, SwarmList,
};
use crate::store::{AccessStamp, Stamp};
use crate::torrent::{Name, Torrent, legible};

pub mod ending;
pub mod holdings;
pub mod overview;
pub mod peers;
mod rate;
mod telling;

/// The course text's list has so many other peers.
const COURSE_PEERS: usize = 2;
/// What was refused is published again so many ping intervals after the reason has gone.
const REFUSED_PINGS: u32 = 2;
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
    /// The MD5 that the one file in `only` must have.
    pub md5: Option<Digest>,
    /// A received file with another content than the swarm's is replaced.
    pub replace: bool,
    /// None but what is picked on the page.
    pub pick: bool,
    /// End once everything is here.
    pub exit_when_complete: bool,
    /// And so much later.
    pub seed_for: Duration,
    /// The time between two lists: a list without anything new for so long is complete.
    pub list_every: Duration,
    /// The time between two pings.
    pub ping_every: Duration,
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
    /// What others are hashing or see changing, and what may then stand under its name.
    pub coming: BTreeMap<Name, Coming>,
    /// Files of the folder that couldn't be read, with what permissions they had.
    pub unreadable: BTreeMap<Name, Option<AccessStamp>>,
    /// Contents that were whole here, and that the user deleted or moved away: they aren't fetched again.
    pub deleted: BTreeMap<Name, Digest>,
    /// Downloads that go on with another `.torrent`, with the MD5 of the content before.
    pub switched: BTreeMap<Name, Digest>,
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
    /// The MD5s of other contents that the user was told of.
    told_other: BTreeMap<Name, Digest>,
    /// The reasons for which the tracker refused files, as the user was told.
    told_refusal: BTreeMap<Name, String>,
    told_conflicts: BTreeMap<Name, Vec<OtherCopy>>,
    /// For so many files the command for other machines was told.
    pub commands_told: usize,
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
            coming: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            deleted: BTreeMap::new(),
            switched: BTreeMap::new(),
            told_other: BTreeMap::new(),
            told_refusal: BTreeMap::new(),
            told_conflicts: BTreeMap::new(),
            commands_told: 0,
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
        self.take_coming(&list.coming, now);
        self.drop_replaced();
        self.reconsider(now);
        self.update_peer_list(&list.peers, list.n_peers, now);
        self.to_begin()
    }

    /// The files whose download can begin, each of which is told once.
    pub fn to_begin(&mut self) -> Vec<Summary> {
        self.make_way();
        let wanted: Vec<_> = self
            .swarm
            .values()
            .filter(|summary| self.lacks(summary))
            .cloned()
            .collect();
        self.beginning
            .extend(wanted.iter().map(|summary| summary.name.clone()));
        wanted
    }

    /// Takes what others are hashing; what this peer hashes itself, it knows better.
    fn take_coming(&mut self, coming: &[Coming], now: Instant) {
        let own = |name: &Name| {
            matches!(
                self.standing.get(name),
                Some(Standing::Looked(_) | Standing::Hashing(_))
            )
        };
        let others = coming.iter().filter(|coming| !own(&coming.name));
        let others: BTreeMap<Name, Coming> = others
            .map(|coming| (coming.name.clone(), coming.clone()))
            .collect();
        if others.keys().any(|name| !self.coming.contains_key(name)) {
            self.last_new = now;
        }
        self.coming = others;
    }

    /// Takes the files that are listed in the place of those before.
    fn take_files(&mut self, listed: &[Summary], now: Instant) {
        let listed = listed.iter().map(|file| (file.name.clone(), file.clone()));
        let before = std::mem::replace(&mut self.swarm, listed.collect());
        if self.swarm.keys().any(|name| !before.contains_key(name)) {
            self.last_new = now;
        }
    }

    /// A part of a content that the swarm has replaced by another, or whose list of checkpoints was corrected, is begun anew
    /// with the new `.torrent`, which keeps what both have in common. What is whole here stays.
    fn drop_replaced(&mut self) {
        let replaced = |held: &&Held| {
            let listed = self.swarm.get(held.torrent.name());
            let listed = listed.filter(|listed| self.may_be(listed));
            held.stamp.is_none()
                && !held.have.is_full()
                && listed.is_some_and(|listed| {
                    let list = listed.checkpoints;
                    listed.md5 != held.torrent.md5()
                        || list.is_some_and(|list| list != held.torrent.checkpoints_md5())
                })
        };
        let replaced = self.files.values().filter(replaced);
        let replaced: Vec<(Name, Digest)> = replaced
            .map(|held| (held.torrent.name().clone(), held.torrent.md5()))
            .collect();
        for (name, md5) in replaced {
            self.drop_file(&name);
            self.switched.insert(name, md5);
        }
    }

    /// Whether what the tracker said of each whole file still holds.
    fn reconsider(&mut self, now: Instant) {
        let again_after = self.wants.ping_every * REFUSED_PINGS;
        for (name, held) in &mut self.files {
            let listed = self.swarm.get(name);
            if held.stamp.is_none() {
                if listed.is_some_and(|listed| listed.md5 == held.torrent.md5()) {
                    held.word = Word::Stands { mine: false };
                }
                continue;
            }
            let same = listed.filter(|listed| listed.md5 == held.torrent.md5());
            let asks_again = match &mut held.word {
                Word::Unasked => false,
                // somebody else stands there now, or the tracker lost it, or doesn't know that this peer is here
                Word::Stands { mine } => same.is_none_or(|same| *mine && !same.here),
                Word::Other { md5, gone_since } => match listed {
                    Some(listed) if listed.md5 != held.torrent.md5() && listed.here => {
                        (*md5, *gone_since) = (listed.md5, None);
                        false
                    }
                    Some(listed) if listed.md5 == held.torrent.md5() => true,
                    _ => now >= *gone_since.get_or_insert(now) + again_after,
                },
                Word::Refused { at, .. } => now >= *at + again_after,
            };
            if asks_again {
                held.word = Word::Unasked;
            }
        }
    }

    /// With `--replace`: what stands here and isn't the swarm's content is served no more, and makes way for it. A file of
    /// the user's own does so only for a pinned content.
    fn make_way(&mut self) {
        let replaced = |(name, held): (&Name, &Held)| {
            let listed = self.swarm.get(name)?;
            let stamp = held.stamp?;
            // what isn't the pinned content is never published, so the tracker doesn't say that it is another
            let refused = matches!(held.word, Word::Other { .. }) || self.pin(name).is_some();
            let other = refused && listed.md5 != held.torrent.md5();
            (other && self.replaces(name, held.received) && self.may_be(listed))
                .then(|| (name.clone(), Standing::Outdated(stamp, held.torrent.md5())))
        };
        let replaced: Vec<(Name, Standing)> = self.files.iter().filter_map(replaced).collect();
        for (name, outdated) in replaced {
            self.drop_file(&name);
            self.standing.insert(name, outdated);
        }
        // the swarm may have gone back to what stands here
        let back = |(name, standing): (&Name, &Standing)| {
            let Standing::Outdated(stamp, md5) = standing else {
                return None;
            };
            let listed = self.swarm.get(name)?;
            (listed.md5 == *md5).then(|| (name.clone(), *stamp))
        };
        let back: Vec<(Name, Stamp)> = self.standing.iter().filter_map(back).collect();
        for (name, stamp) in back {
            self.drop_file(&name);
            self.standing.insert(name, Standing::Looked(stamp));
        }
    }

    /// Whether the user lets a file of this name be replaced.
    fn replaces(&self, name: &Name, received: bool) -> bool {
        self.wants.replace && self.is_wanted(name) && (received || self.pin(name).is_some())
    }

    /// The MD5 that the user named for this file.
    pub fn pin(&self, name: &Name) -> Option<Digest> {
        self.wants.md5.filter(|_| self.wants.only.contains(name))
    }

    /// Whether a content may be taken, shared or reported under its name: another one than the pinned isn't.
    pub fn may_be(&self, listed: &Summary) -> bool {
        self.pin(&listed.name).is_none_or(|pin| pin == listed.md5)
    }

    /// Takes what an original listed.
    pub fn update_original_list(&mut self, peers: &[PeerEntry], now: Instant) {
        self.tracker = TrackerKind::Original;
        self.answered = Some(now);
        self.swarm.clear();
        self.edition = None;
        self.update_peer_list(peers, None, now);
    }

    /// Whether a file is wanted, and neither here, nor in the folder under another content, nor on its way, nor deleted by
    /// the user.
    pub(super) fn lacks(&self, listed: &Summary) -> bool {
        let name = &listed.name;
        let free = match self.standing.get(name) {
            None => true,
            Some(standing) => matches!(standing, Standing::Outdated(..)),
        };
        free && self.is_wanted(name)
            && self.may_be(listed)
            && !self.files.contains_key(name)
            && !self.beginning.contains(name)
            && !self.given_up.contains_key(name)
            && self.deleted.get(name) != Some(&listed.md5)
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
        self.deleted.remove(name);
        self.picked.insert(name.clone());
        let listed = self.swarm.get(name);
        let begins = listed.filter(|listed| self.lacks(listed)).cloned()?;
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
            let listed = self.swarm.get(held.torrent.name());
            let stands = matches!(held.word, Word::Stands { .. });
            stands && listed.is_none_or(|listed| listed.md5 == held.torrent.md5())
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

    /// The contents that the tracker is to be asked about.
    pub fn unpublished(&self) -> Vec<Publication> {
        let ours = matches!(self.tracker, TrackerKind::Ours { .. });
        let asked = |held: &&Held| {
            let name = held.torrent.name();
            let other = self.pin(name).is_some_and(|pin| pin != held.torrent.md5());
            // of a download: the tracker lost it, or never had it
            let part = held.stamp.is_none() && !held.have.is_empty();
            let stood = matches!(held.word, Word::Stands { .. });
            let lost = part && stood && !self.swarm.contains_key(name);
            ours && !other && (lost || held.stamp.is_some() && held.word == Word::Unasked)
        };
        let unpublished = self.files.values().filter(asked);
        let publication = |held: &Held| {
            let torrent = &held.torrent;
            Publication {
                name: torrent.name().clone(),
                size: torrent.size(),
                md5: torrent.md5(),
                checkpoints: torrent.checkpoints_md5(),
                own: !held.received,
                pinned: self.pin(torrent.name()).is_some(),
                published: torrent.published,
                publisher: torrent.publisher.clone(),
                torrent: None,
            }
        };
        let unpublished = unpublished.map(publication);
        unpublished.take(PUBLICATIONS).collect()
    }

    /// The `.torrent` of a content that is here.
    pub fn torrent_of(&self, name: &Name, md5: Digest) -> Option<Arc<Torrent>> {
        let held = self.files.get(name)?;
        (held.torrent.md5() == md5).then(|| Arc::clone(&held.torrent))
    }

    /// Takes what became of a publication. Returns what is news of it.
    pub fn published(
        &mut self,
        publication: &Publication,
        outcome: &Outcome,
        now: Instant,
    ) -> Option<Published> {
        let name = &publication.name;
        let held = self.files.get_mut(name)?;
        if held.torrent.md5() != publication.md5 {
            return None;
        }
        let before = held.word.clone();
        match outcome {
            Outcome::Send => None,
            Outcome::Stands { mine, .. } => {
                held.word = Word::Stands { mine: *mine };
                // the tracker credits another publisher with it
                let credited = !mine && !std::mem::replace(&mut held.received, !*mine);
                if self.swarm.get(name).map(|listed| listed.md5) != Some(publication.md5) {
                    let listed = Summary::of(&held.torrent);
                    self.edition = None; // it is another list by now
                    if self.swarm.insert(name.clone(), listed).is_none() {
                        self.last_new = now;
                    }
                }
                let held = self.files.get_mut(name)?;
                let whole = held.stamp.is_some();
                let first = whole && !std::mem::replace(&mut held.announced, true);
                let came_back = matches!(before, Word::Other { .. }) && whole;
                if first || came_back {
                    self.announce(name);
                }
                (first || came_back || credited).then_some(Published::Stands {
                    announce: first || came_back,
                    mine: *mine,
                    credited,
                })
            }
            Outcome::OtherStands { md5, .. } => {
                held.word = Word::Other {
                    md5: *md5,
                    gone_since: None,
                };
                let told = self.told_other.insert(name.clone(), *md5);
                (told != Some(*md5)).then_some(Published::Other)
            }
            Outcome::Refused { why } => {
                let told = self.told_refusal.insert(name.clone(), why.clone());
                held.word = Word::Refused {
                    why: why.clone(),
                    at: now,
                };
                (told.as_ref() != Some(why)).then_some(Published::Refused)
            }
        }
    }

    /// The whole files that people weren't told of as shared: they are told now.
    pub fn announce_all(&mut self) -> Vec<Arc<Torrent>> {
        let untold = self.files.values_mut();
        let untold = untold.filter(|held| held.stamp.is_some() && !held.announced);
        let told: Vec<Arc<Torrent>> = untold
            .map(|held| {
                held.announced = true;
                Arc::clone(&held.torrent)
            })
            .collect();
        told.iter()
            .for_each(|torrent| self.announce(torrent.name()));
        told
    }

    /// The peers in whose folders another content stands than this peer's, which is the swarm's: what is news of them.
    pub fn new_conflicts(&mut self) -> Vec<(Name, Vec<OtherCopy>)> {
        let mut news = Vec::new();
        for (name, listed) in &self.swarm {
            let held = self.files.get(name);
            let mine = held.is_some_and(|held| held.word == Word::Stands { mine: true });
            let told = self.told_conflicts.entry(name.clone()).or_default();
            if !mine {
                continue;
            }
            let new = listed.others.iter().filter(|other| !told.contains(other));
            let new: Vec<OtherCopy> = new.cloned().collect();
            told.clone_from(&listed.others);
            if !new.is_empty() {
                news.push((name.clone(), new));
            }
        }
        news
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

    /// What keeps files from coming or from counting as done, where nothing else says it.
    pub fn waits_for(&self) -> Vec<String> {
        if self.answered.is_none() {
            return Vec::new();
        }
        let unlisted = self.named().filter(|name| !self.is_known(name));
        let unlisted = unlisted.map(|name| match self.meant(name) {
            Some(near) => format!("nobody lists {name}: did you mean {near}?"),
            None => format!("nobody lists {name}"),
        });
        let coming = self
            .coming
            .values()
            .filter(|coming| self.is_wanted(&coming.name));
        let coming = coming.map(|coming| {
            let percent = coming.done.saturating_mul(100) / coming.size.max(1);
            let peer = legible(&coming.peer);
            format!("{peer} is hashing {}: {percent} %", coming.name)
        });
        let other = self.swarm.values().filter(|listed| !self.may_be(listed));
        let other = other.map(|listed| {
            let publisher = legible(&listed.publisher);
            format!(
                "the swarm's {} has MD5 {}, published by {publisher}; --md5 asks for another, which nobody publishes",
                listed.name, listed.md5
            )
        });
        let unconfirmed = self
            .files
            .iter()
            .filter(|(name, held)| self.is_unconfirmed(name, held));
        let unconfirmed = unconfirmed.map(|(name, held)| {
            format!(
                "{name} is here as an earlier run received it (MD5 {}), and its publisher isn't here: a newer version may come; \
                 to take this one as it is, name it with --only {name} --md5 {}",
                held.torrent.md5(),
                held.torrent.md5()
            )
        });
        let bad = self.without_good_copy().into_iter();
        let bad: Vec<(&Name, u32, String)> = bad
            .map(|(name, idx, tried)| {
                let tried: Vec<String> = tried.iter().map(ToString::to_string).collect();
                (name, idx, tried.join(", "))
            })
            .collect();
        let bad = bad.into_iter().map(|(name, idx, tried)| {
            format!("nobody has a correct copy of piece {idx} of {name}; tried {tried}")
        });
        let nowhere = self.files.keys();
        let nowhere = nowhere.filter_map(|name| self.nowhere(name));
        unlisted
            .chain(coming)
            .chain(other)
            .chain(unconfirmed)
            .chain(bad)
            .chain(nowhere)
            .collect()
    }

    /// Which missing pieces of a file nobody has.
    fn nowhere(&self, name: &Name) -> Option<String> {
        let idxs = self.picker.nowhere(name);
        let first: Vec<String> = idxs.iter().take(5).map(u32::to_string).collect();
        let (first, more) = (first.join(", "), if idxs.len() > 5 { ", …" } else { "" });
        let nobody = self.sampled_of.map_or("nobody", |_| "nobody known here");
        let n = idxs.len();
        (n > 0).then(|| format!("{nobody} has {n} of the missing pieces of {name} ({first}{more})"))
    }

    /// Whether a name is listed, here, or being hashed by anybody.
    fn is_known(&self, name: &Name) -> bool {
        self.swarm.contains_key(name)
            || self.files.contains_key(name)
            || self.standing.contains_key(name)
            || self.coming.contains_key(name)
    }

    /// The listed name that was meant by one that nobody lists.
    fn meant(&self, name: &Name) -> Option<String> {
        let listed = self.swarm.keys().chain(self.coming.keys());
        let listed: Vec<String> = listed.map(|name| name.as_str().to_owned()).collect();
        nearest(name.as_str(), &listed).map(legible)
    }

    /// Whether a file that an earlier run received may be out of date: its publisher isn't here to say so.
    pub(super) fn is_unconfirmed(&self, name: &Name, held: &Held) -> bool {
        let listed = self.swarm.get(name);
        let here = listed.is_some_and(|listed| listed.here);
        let ours = matches!(self.tracker, TrackerKind::Ours { .. });
        let left = held.stamp.is_some() && held.received && !held.downloaded && !here;
        ours && left && self.is_wanted(name) && self.pin(name).is_none()
    }
}

/// What is news of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The content stands.
    Stands {
        /// Whether people weren't told so yet.
        announce: bool,
        /// Whether this peer is its publisher.
        mine: bool,
        /// Whether it was taken for the user's own until now.
        credited: bool,
    },
    /// Another content stands.
    Other,
    /// It wasn't taken.
    Refused,
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

    fn stamp() -> Stamp {
        let file = File::open("/dev/null").expect("every machine has it");
        Stamp::of_file(&file).expect("a file")
    }

    fn state() -> State {
        State::new(Wants::default(), StdRng::seed_from_u64(1), Instant::now())
    }

    /// A download begins, with nothing here.
    fn begin(state: &mut State, torrent: &Arc<Torrent>) -> bool {
        let have = Bitfield::new(torrent.n_pieces());
        state.begin(Arc::clone(torrent), have, Instant::now())
    }

    #[test]
    fn a_download_does_not_begin_over_a_file_that_is_shared_by_then() {
        let (mut state, torrent) = (state(), torrent());
        let stamp = stamp();
        let name = torrent.name();
        state.beginning.insert(name.clone());
        assert!(state.share(Arc::clone(&torrent), stamp, false, Instant::now()));
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
            coming: Vec::new(),
        };
        let files = |state: &mut State, list| {
            state.update_list(&list, Instant::now());
            (state.edition, state.swarm.len())
        };
        assert_eq!(files(&mut state, list(Some(7), &[&file])), (Some(7), 1));
        assert_eq!(files(&mut state, list(Some(7), &[])), (Some(7), 1));
        assert_eq!(files(&mut state, list(Some(8), &[])), (Some(8), 0));
        let stamp = stamp();
        assert!(state.share(Arc::clone(&torrent), stamp, false, Instant::now()));
        let publication = state.unpublished().remove(0);
        let stands = Outcome::Stands {
            mine: true,
            published: 1,
            publisher: String::new(),
        };
        let news = state.published(&publication, &stands, Instant::now());
        assert!(matches!(
            news,
            Some(Published::Stands {
                announce: true,
                mine: true,
                ..
            })
        ));
        assert_eq!(state.edition, None, "the tracker has another by now");
        // a tracker that knows of no editions tells all each time
        assert_eq!(files(&mut state, list(None, &[&file])), (None, 1));
        assert_eq!(files(&mut state, list(None, &[])), (None, 0));
    }

    #[test]
    fn what_stood_in_the_way_of_a_file_is_forgotten_once_it_is_shared() {
        let (mut state, torrent) = (state(), torrent());
        let stamp = stamp();
        state.stuck.insert(torrent.name().clone(), "why".to_owned());
        assert!(state.share(torrent, stamp, false, Instant::now()));
        assert!(state.stuck.is_empty());
    }

    /// Two others that have all of it; the first published it, and is here.
    fn publisher_and_other(state: &mut State, torrent: &Torrent) -> [PeerNo; 2] {
        let mut listed = Summary::of(torrent);
        (listed.publisher, listed.here) = ("10.0.0.2:1".to_owned(), true);
        state.swarm.insert(torrent.name().clone(), listed);
        let everything = Have {
            name: torrent.name().clone(),
            md5: torrent.md5(),
            pieces: Pieces::Digits("all".to_owned()),
        };
        [2, 3].map(|ip| {
            let peer = state.know(([10, 0, 0, ip], 1).into(), true);
            state.learn(peer, std::slice::from_ref(&everything));
            peer
        })
    }

    const BAD: BadPiece = BadPiece::Length {
        expected: 1,
        came: 0,
    };

    fn bad_block() -> BadPiece {
        BadPiece::Block {
            block: 0,
            digest: digest(b"bad"),
        }
    }

    #[test]
    fn a_bad_piece_of_an_earlier_download_says_nothing_of_this_one() {
        let (mut state, earlier, torrent) = (state(), torrent(), torrent());
        begin(&mut state, &earlier);
        state.drop_file(torrent.name());
        begin(&mut state, &torrent);
        let [publisher, _] = publisher_and_other(&mut state, &torrent);
        let bad = bad_block();
        assert_eq!(state.failed(publisher, &earlier, 0, bad), Verdict::BadCopy);
        assert_eq!(state.failed(publisher, &torrent, 0, bad), Verdict::BadCopy);
        assert!(state.picker.nowhere(torrent.name()).is_empty());
    }

    #[test]
    fn only_the_publisher_convicts_itself_and_only_twice() {
        let (mut state, torrent) = (state(), torrent());
        begin(&mut state, &torrent);
        let [publisher, other] = publisher_and_other(&mut state, &torrent);
        for (peer, bad, verdict) in [
            (other, bad_block(), Verdict::BadCopy),
            (other, bad_block(), Verdict::BadCopy),
            (publisher, BAD, Verdict::BadCopy),
            (publisher, bad_block(), Verdict::BadCopy),
            (other, bad_block(), Verdict::BadCopy),
            (publisher, bad_block(), Verdict::PublisherIsFaulty),
            (publisher, bad_block(), Verdict::BadCopy),
        ] {
            assert_eq!(state.failed(peer, &torrent, 0, bad), verdict, "{peer}");
        }
        let addrs = [([10, 0, 0, 2], 1).into(), ([10, 0, 0, 3], 1).into()];
        assert_eq!(
            state.without_good_copy(),
            [(torrent.name(), 0, addrs.to_vec())]
        );
        assert!(state.waits_for().is_empty(), "no list has come yet");
        // somebody new has it
        let newcomer = state.know(([10, 0, 0, 4], 1).into(), true);
        state.picker.peer_has(newcomer, torrent.name(), [0]);
        assert!(state.without_good_copy().is_empty());
    }

    #[test]
    fn a_piece_that_came_wrong_gets_another_chance_where_nobody_else_has_it() {
        let (mut state, torrent) = (state(), torrent());
        begin(&mut state, &torrent);
        let [publisher, other] = publisher_and_other(&mut state, &torrent);
        state.forget(publisher);
        for chance in 1..=4 {
            assert_eq!(
                state.failed(other, &torrent, 0, bad_block()),
                Verdict::BadCopy
            );
            assert_eq!(state.picker.nowhere(torrent.name()), [0]);
            state.retry_bad_pieces();
            let again = state.picker.nowhere(torrent.name()).is_empty();
            assert_eq!(again, chance < 3, "after {chance}");
        }
    }
}
