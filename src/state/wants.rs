//! What the user asked for, and who the tracker is.

use std::time::Duration;

use super::{Standing, State};
use crate::md5::Digest;
use crate::protocol::Summary;
use crate::torrent::Name;

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

impl State {
    /// Whether the user lets a file of this name be replaced.
    pub(super) fn replaces(&self, name: &Name, received: bool) -> bool {
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
    pub(super) fn named(&self) -> impl Iterator<Item = &Name> {
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
}
