//! Which content is the file, as far as a peer decides it: what the tracker says about each content that is here, and
//! what happens to a file when the swarm's content changes. The tracker decides by [`crate::content`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::holdings::{Held, News, TrackerWord};
use super::{Standing, State, TrackerKind};
use crate::md5::Digest;
use crate::protocol::{Coming, OtherCopy, Outcome, PUBLICATIONS, PeerEntry, Publication, Summary};
use crate::store::Stamp;
use crate::torrent::{Name, Torrent};

/// A refused content is published again after this many ping intervals; one that another stood in the way of, once that has been
/// gone for as long.
const REFUSED_PINGS: u32 = 2;

/// The most files that a list reports as being hashed, or as having another content.
const COMING: usize = 100;

/// The news about a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishNews {
    /// The content stands.
    Stands {
        /// Whether people have yet to be told so.
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

impl State {
    /// Returns true if a file is on the list that is sent to the tracker: only the swarm's content is.
    pub(super) fn is_listed(&self, held: &Held) -> bool {
        let listed = self.swarm.get(held.torrent.name());
        let stands = matches!(held.word, TrackerWord::Stands { .. });
        stands && listed.is_none_or(|listed| listed.md5 == held.torrent.md5())
    }

    /// Replaces the files that the tracker lists.
    pub(super) fn take_files(&mut self, listed: &[Summary], now: Instant) {
        let listed = listed.iter().map(|file| (file.name.clone(), file.clone()));
        let before = std::mem::replace(&mut self.swarm, listed.collect());
        if self.swarm.keys().any(|name| !before.contains_key(name)) {
            self.last_new = now;
        }
    }

    /// Returns the files whose download can begin, each of them once.
    pub fn to_begin(&mut self) -> Vec<Summary> {
        self.make_way();
        let listed = self.swarm.values().filter(|listed| self.lacks(listed));
        let heads = self.heads().filter(|head| self.lacks(head));
        let wanted: Vec<Summary> = listed.cloned().chain(heads).collect();
        self.beginning
            .extend(wanted.iter().map(|summary| summary.name.clone()));
        wanted
    }

    /// Takes the files that others are hashing; for those that this peer hashes itself, it knows better.
    pub(super) fn take_coming(&mut self, coming: &[Coming], now: Instant) {
        let own = |name: &Name| {
            matches!(
                self.standing.get(name),
                Some(Standing::Looked(_) | Standing::Hashing(_))
            )
        };
        let others = coming.iter().filter(|coming| !own(&coming.name));
        // of several under one name, the last is kept, but none before one with a longer head
        let mut others: Vec<&Coming> = others.collect();
        others.sort_by_key(|coming| coming.head.as_ref().map(|head| head.size));
        let others: BTreeMap<Name, Coming> = others
            .into_iter()
            .map(|coming| (coming.name.clone(), coming.clone()))
            .collect();
        if others.keys().any(|name| !self.coming.contains_key(name)) {
            self.last_new = now;
        }
        self.coming = others;
    }

    /// Begins anew each part whose content the swarm has replaced by another, or whose list of checkpoints was corrected:
    /// with the new `.torrent`, and with what both have in common. Whole files stay.
    pub(super) fn drop_replaced(&mut self) {
        let replaced = |held: &&Held| {
            let listed = self.swarm.get(held.torrent.name());
            let listed = listed.filter(|listed| self.may_be(listed));
            held.stamp.is_none()
                && !held.is_head()
                && !held.have.is_full()
                && listed.is_some_and(|listed| {
                    let list = listed.checkpoints;
                    listed.md5 != held.torrent.md5()
                        || list.is_some_and(|list| list != held.torrent.checkpoints_md5())
                })
        };
        let replaced = self.files.values().filter(replaced);
        let replaced: Vec<Name> = replaced.map(|held| held.torrent.name().clone()).collect();
        replaced.iter().for_each(|name| drop(self.drop_file(name)));
    }

    /// Returns what counts for a content in the folder that isn't the pinned one, whatever the tracker says about it.
    pub(super) fn word_by_pin(&self, name: &Name, md5: Digest) -> Option<TrackerWord> {
        let pin = self.pin(name).filter(|pin| *pin != md5)?;
        Some(TrackerWord::Other {
            md5: pin,
            gone_since: None,
        })
    }

    /// Checks for each whole file if what the tracker said about it still holds.
    pub(super) fn reconsider(&mut self, now: Instant) {
        let again_after = self.wants.ping_every * REFUSED_PINGS;
        let pinned = self.wants.only.first().filter(|_| self.wants.md5.is_some());
        for (name, held) in &mut self.files {
            let listed = self.swarm.get(name);
            if held.stamp.is_none() {
                let is_it = listed.is_some_and(|listed| listed.md5 == held.torrent.md5());
                if is_it && !held.is_head() {
                    held.word = TrackerWord::Stands { mine: false };
                }
                continue;
            }
            if pinned == Some(name) && self.wants.md5 != Some(held.torrent.md5()) {
                continue;
            }
            let same = listed.filter(|listed| listed.md5 == held.torrent.md5());
            let asks_again = match &mut held.word {
                TrackerWord::Unasked => false,
                // another content stands there now, or the tracker lost it, or doesn't know that this peer is here
                TrackerWord::Stands { mine } => same.is_none_or(|same| *mine && !same.here),
                TrackerWord::Other { md5, gone_since } => match listed {
                    Some(listed) if listed.md5 != held.torrent.md5() && listed.here => {
                        (*md5, *gone_since) = (listed.md5, None);
                        false
                    }
                    Some(listed) if listed.md5 == held.torrent.md5() => true,
                    _ => now >= *gone_since.get_or_insert(now) + again_after,
                },
                TrackerWord::Refused { at, .. } => {
                    // whoever was in its way may have left
                    let has_left = listed.is_some_and(|listed| !listed.here);
                    let again_after = if has_left {
                        self.wants.ping_every
                    } else {
                        again_after
                    };
                    now >= *at + again_after
                }
            };
            if asks_again {
                held.word = TrackerWord::Unasked;
            }
        }
    }

    /// With `--replace`, a content here that isn't the swarm's is no longer served, and makes way for it. A file of the
    /// user's own does so only for a pinned content.
    pub(super) fn make_way(&mut self) {
        let replaced = |(name, held): (&Name, &Held)| {
            let listed = self.listed_instead(held)?;
            let stamp = held.stamp?;
            let other = matches!(held.word, TrackerWord::Other { .. });
            (other && self.replaces(name, held.received) && self.may_be(listed))
                .then(|| (name.clone(), Standing::Outdated(stamp, held.torrent.md5())))
        };
        let replaced: Vec<(Name, Standing)> = self.files.iter().filter_map(replaced).collect();
        for (name, outdated) in replaced {
            self.drop_file(&name);
            self.standing.insert(name, outdated);
        }
        // the swarm may have gone back to the content that is here
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

    /// Takes an original's list. Returns true if it is its first answer, or the first one after a failure.
    pub fn update_original_list(&mut self, peers: &[PeerEntry], now: Instant) -> bool {
        let first = self.reached() || self.tracker != TrackerKind::Original;
        self.tracker = TrackerKind::Original;
        self.last_answer = Some(now);
        self.swarm.clear();
        self.edition = None;
        self.take_peers(peers, None, now);
        first
    }

    /// Returns what is sent to an original: the names of whole files.
    pub fn whole_names(&self) -> Vec<String> {
        let whole = self.files.values().filter(|held| held.stamp.is_some());
        whole
            .map(|held| held.torrent.name().as_str().to_owned())
            .collect()
    }

    /// Returns the contents that the tracker is to be asked about.
    pub fn unpublished(&self) -> Vec<Publication> {
        let ours = matches!(self.tracker, TrackerKind::Ours { .. });
        let asked = |held: &&Held| {
            let name = held.torrent.name();
            let other = self.pin(name).is_some_and(|pin| pin != held.torrent.md5());
            // a download whose content the tracker lost, or never had
            let part = held.stamp.is_none() && !held.have.is_empty();
            let stood = matches!(held.word, TrackerWord::Stands { .. });
            let lost = part && stood && !self.swarm.contains_key(name);
            ours && !other && (lost || held.stamp.is_some() && held.word == TrackerWord::Unasked)
        };
        let unpublished = self.files.values().filter(asked);
        let publication = |held: &Held| {
            let torrent = &held.torrent;
            Publication {
                own: !held.received,
                pinned: self.pin(torrent.name()).is_some() && !self.is_outpinned(held),
                replace: self.wants.replace,
                published: torrent.published,
                publisher: torrent.publisher.clone(),
                ..Publication::of(torrent)
            }
        };
        let unpublished = unpublished.map(publication);
        unpublished.take(PUBLICATIONS).collect()
    }

    /// Returns true if a content that stood has given way to a later pin, whose publisher is here: if the earlier one were
    /// offered as pinned again, both would replace each other for ever.
    fn is_outpinned(&self, held: &Held) -> bool {
        let other = self.listed_instead(held);
        let stood = held.announced && !held.received;
        stood && other.is_some_and(|other| other.pinned && other.here)
    }

    /// Returns what the swarm has under the name of a file that is here, if that is another content.
    fn listed_instead(&self, held: &Held) -> Option<&Summary> {
        let listed = self.swarm.get(held.torrent.name());
        listed.filter(|listed| listed.md5 != held.torrent.md5())
    }

    /// Returns the `.torrent` of a content that is here.
    pub fn torrent_of(&self, name: &Name, md5: Digest) -> Option<Arc<Torrent>> {
        let held = self.files.get(name)?;
        (held.torrent.md5() == md5).then(|| Arc::clone(&held.torrent))
    }

    /// Takes the tracker's decision about a publication. Returns its news.
    pub fn published(
        &mut self,
        publication: &Publication,
        outcome: &Outcome,
        now: Instant,
    ) -> Option<PublishNews> {
        let name = &publication.name;
        let held = self.files.get_mut(name)?;
        if held.torrent.md5() != publication.md5 {
            return None;
        }
        match outcome {
            Outcome::Send => None,
            Outcome::Stands { mine, .. } => {
                held.word = TrackerWord::Stands { mine: *mine };
                // the tracker credits another publisher with it
                let credited = !mine && !std::mem::replace(&mut held.received, !*mine);
                if self.swarm.get(name).map(|listed| listed.md5) != Some(publication.md5) {
                    let listed = Summary::of(&held.torrent);
                    self.edition = None; // the list has changed by now
                    if self.swarm.insert(name.clone(), listed).is_none() {
                        self.last_new = now;
                    }
                }
                let held = self.files.get_mut(name)?;
                let whole = held.stamp.is_some();
                let first = whole && !std::mem::replace(&mut held.announced, true);
                let came_back = whole && self.told.other.remove(name).is_some();
                if first || came_back {
                    self.announce(name);
                }
                (first || came_back || credited).then_some(PublishNews::Stands {
                    announce: first || came_back,
                    mine: *mine,
                    credited,
                })
            }
            Outcome::OtherStands { md5, .. } => {
                held.word = TrackerWord::Other {
                    md5: *md5,
                    gone_since: None,
                };
                let told = self.told.other.insert(name.clone(), *md5);
                (told != Some(*md5)).then_some(PublishNews::Other)
            }
            Outcome::Refused { why } => {
                let told = self.told.refusal.insert(name.clone(), why.clone());
                held.word = TrackerWord::Refused {
                    why: why.clone(),
                    at: now,
                };
                (told.as_ref() != Some(why)).then_some(PublishNews::Refused)
            }
        }
    }

    /// Returns the whole files that people have yet to be told of as shared, and counts them as told.
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

    /// Returns the news about peers whose folders have another content than this peer's, which is the swarm's.
    pub fn new_conflicts(&mut self) -> Vec<(Name, Vec<OtherCopy>)> {
        let mut news = Vec::new();
        for (name, listed) in &self.swarm {
            let held = self.files.get(name);
            let mine = held.is_some_and(|held| held.word == TrackerWord::Stands { mine: true });
            let told = self.told.conflicts.entry(name.clone()).or_default();
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

    /// The files that are being hashed or may still be growing: what they contain will be published. One that can't be read
    /// holds nobody up, unless it may be its publisher's next version. The user's own file that the tracker doesn't take yet is
    /// coming, too, where it may replace what stands.
    pub(super) fn coming_from_here(&self) -> Vec<Coming> {
        let coming = |(name, standing): (&Name, &Standing)| {
            let (Standing::Looked(stamp) | Standing::Hashing(stamp)) = standing else {
                return None;
            };
            let is_published = self.swarm.get(name).is_some_and(|listed| listed.here);
            if self.unreadable.contains_key(name) && !is_published {
                return None;
            }
            let done = self.progress.get(name).map_or(0, |progress| progress.done);
            Some(Coming {
                name: name.clone(),
                size: stamp.size,
                done,
                peer: String::new(),
                head: self.head_from_here(name),
            })
        };
        let hashed = self.standing.iter().filter_map(coming);
        let refused = self.files.iter().filter(|(_, held)| {
            let refused = matches!(held.word, TrackerWord::Refused { .. });
            refused && !held.received && self.listed_instead(held).is_some()
        });
        let refused = refused.map(|(name, held)| Coming {
            name: name.clone(),
            size: held.torrent.size(),
            done: held.torrent.size(),
            peer: String::new(),
            head: None,
        });
        hashed.chain(refused).take(COMING).collect()
    }

    /// Returns the files of the folder whose content isn't the swarm's, with their MD5s.
    pub(super) fn other_contents(&self) -> BTreeMap<Name, Digest> {
        let refused = self.files.iter();
        let refused = refused.filter(|(_, held)| matches!(held.word, TrackerWord::Other { .. }));
        let refused = refused.map(|(name, held)| (name.clone(), held.torrent.md5()));
        let outdated = self.standing.iter().filter_map(|(name, standing)| {
            let Standing::Outdated(_, md5) = standing else {
                return None;
            };
            Some((name.clone(), *md5))
        });
        refused.chain(outdated).take(COMING).collect()
    }

    /// Returns true if others may know that this whole file is here.
    pub(super) fn announce(&mut self, name: &Name) {
        if let Some(held) = self.files.get(name) {
            let (name, md5, piece) = (name.clone(), held.torrent.md5(), None);
            self.news.push(News { name, md5, piece });
        }
    }

    /// Returns true if a file that an earlier run received may be out of date: its publisher isn't here to confirm it.
    pub(super) fn is_unconfirmed(&self, name: &Name, held: &Held) -> bool {
        let listed = self.swarm.get(name);
        let here = listed.is_some_and(|listed| listed.here);
        let ours = matches!(self.tracker, TrackerKind::Ours { .. });
        let left = held.stamp.is_some() && held.received && !held.downloaded && !here;
        ours && left && self.is_wanted(name) && self.pin(name).is_none()
    }
}
