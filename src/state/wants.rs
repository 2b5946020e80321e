//! What the user asked for, and what kind of tracker there is.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Standing, State};
use crate::md5::Digest;
use crate::protocol::Summary;
use crate::torrent::Name;

/// The least time between two pings that a tracker can bring about.
pub(super) const QUICKEST_PINGS: Duration = Duration::from_millis(200);

/// The kind of tracker, by its last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackerKind {
    /// No answer yet.
    Unknown,
    /// One of ours.
    Ours {
        /// Whether it serves only its own machine.
        local: bool,
    },
    /// An original.
    Original,
}

/// What the user asked of this run: which files it fetches, and when it may end.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// Only these files; if empty, all files.
    pub only: Vec<Name>,
    /// The MD5 that the one file in `only` must have.
    pub md5: Option<Digest>,
    /// Whether a received file with another content than the swarm's is replaced.
    pub replace: bool,
    /// Whether only files that are picked on the page are fetched.
    pub pick: bool,
    /// Whether the run ends once everything is here.
    pub exit_when_complete: bool,
    /// How much longer it then serves.
    pub seed_for: Duration,
    /// The time between two lists: a list with nothing new for this long is complete.
    pub list_every: Duration,
    /// The time between two pings.
    pub ping_every: Duration,
}

impl State {
    /// Takes the tracker's time between two sweeps, in seconds. Returns the new time between two pings if that changes: a
    /// peer that is silent from one sweep to the next is dropped.
    pub fn adapt_pings(&mut self, sweep_every: Option<f64>) -> Option<Duration> {
        let sweep_every = sweep_every.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
        let wanted = self.wants.ping_every;
        let every = match sweep_every {
            Some(sweep) if sweep < wanted => wanted.min((sweep * 2 / 3).max(QUICKEST_PINGS)),
            _ => wanted,
        };
        let before = std::mem::replace(&mut self.pings_every, every);
        (every != before).then_some(every)
    }

    /// Returns true if the user lets a file of this name be replaced: not one that came in this run and was changed since.
    pub(super) fn replaces(&self, name: &Name, received: bool) -> bool {
        let listed = self.swarm.get(name);
        let was_here = listed.is_some_and(|listed| self.was_here(listed));
        let may = received || self.pin(name).is_some();
        self.wants.replace && self.is_wanted(name) && may && !was_here
    }

    /// Returns the MD5 that the user named for this file.
    pub fn pin(&self, name: &Name) -> Option<Digest> {
        self.wants.md5.filter(|_| self.wants.only.contains(name))
    }

    /// Returns true if the content that the user pinned is whole here.
    pub(super) fn has_pinned(&self, name: &Name) -> bool {
        let held = self.files.get(name).filter(|held| held.stamp.is_some());
        held.is_some_and(|held| self.pin(name) == Some(held.torrent.md5()))
    }

    /// Returns true if a content may be taken, shared or reported under its name: if the name is pinned, only the pinned
    /// one.
    pub fn may_be(&self, listed: &Summary) -> bool {
        self.pin(&listed.name).is_none_or(|pin| pin == listed.md5)
    }

    /// Returns true if a file is wanted, and neither here, nor in the folder under another content, nor on its way, nor
    /// deleted by the user. Nobody knows yet what the head of a file will be, so a pin doesn't count for it.
    pub(super) fn lacks(&self, listed: &Summary) -> bool {
        let name = &listed.name;
        let free = match self.standing.get(name) {
            None => true,
            Some(standing) => matches!(standing, Standing::Outdated(..)),
        };
        free && self.is_wanted(name)
            && (listed.head_of.is_some() || self.may_be(listed))
            && (!self.files.contains_key(name) || self.goes_on_as(listed))
            && !self.beginning.contains(name)
            && !self.given_up.contains_key(name)
            && !self.was_here(listed)
    }

    /// Returns true if a content was whole here, and the user deleted, moved away or changed it since.
    fn was_here(&self, listed: &Summary) -> bool {
        self.deleted.get(&listed.name) == Some(&listed.md5)
    }

    /// Returns true if the user wants this file.
    pub fn is_wanted(&self, name: &Name) -> bool {
        let all = self.wants.only.is_empty() && !self.wants.pick;
        all || self.wants.only.contains(name) || self.picked.contains(name)
    }

    /// Returns the files that the user named or picked.
    pub(super) fn named(&self) -> impl Iterator<Item = &Name> {
        self.wants.only.iter().chain(&self.picked)
    }

    /// Adds a file to those that the user wants; one that was given up is tried again. Returns it if its download can
    /// begin.
    pub fn pick(&mut self, name: &Name) -> Option<Summary> {
        self.given_up.remove(name);
        self.deleted.remove(name);
        self.picked.insert(name.clone());
        let listed = self.swarm.get(name);
        let begins = listed.filter(|listed| self.lacks(listed)).cloned()?;
        self.beginning.insert(name.clone());
        Some(begins)
    }

    /// Returns the files that could be picked: they are listed, nothing of them is here, and they aren't wanted so far.
    pub fn unpicked(&self) -> impl Iterator<Item = &Name> {
        let of_originals = self.whole_at_originals().map(|(name, ..)| name);
        let names: BTreeSet<&Name> = self.swarm.keys().chain(of_originals).collect();
        let here = |name: &Name| self.files.contains_key(name) || self.standing.contains_key(name);
        let is_open = move |name: &&Name| !self.is_wanted(name) && !here(name);
        names.into_iter().filter(is_open)
    }

    /// Picks all of [`State::unpicked`]. Returns those whose download can begin.
    pub fn pick_all(&mut self) -> Vec<Summary> {
        let names: Vec<Name> = self.unpicked().cloned().collect();
        names.iter().filter_map(|name| self.pick(name)).collect()
    }

    /// Returns the names that were picked, without those that the user deleted since.
    pub fn picked(&self) -> Vec<Name> {
        let picked = self.picked.iter();
        let stays = |name: &&Name| !self.deleted.contains_key(*name);
        picked.filter(stays).cloned().collect()
    }

    /// Returns true if a file was picked and isn't whole: [`State::cancel`] takes that back.
    pub(super) fn can_cancel(&self, name: &Name) -> bool {
        let held = self.files.get(name);
        let is_whole =
            held.is_some_and(|held| held.stamp.is_some() || held.have.is_full() && !held.is_head());
        self.picked.contains(name) && !self.wants.only.contains(name) && !is_whole
    }

    /// Takes back that the user picked a file. Its download ends; what is here of it stays for the next time.
    pub fn cancel(&mut self, name: &Name) {
        if !self.can_cancel(name) {
            return;
        }
        self.picked.remove(name);
        self.given_up.remove(name);
        self.unblock(name);
        if !self.is_wanted(name) {
            self.drop_file(name);
        }
    }
}
