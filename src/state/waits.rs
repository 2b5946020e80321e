//! What keeps files from coming, or from counting as done, in words for people.

use super::State;
use crate::cli::nearest;
use crate::torrent::{Name, legible};

/// The course text's list has this many other peers.
const COURSE_PEERS: usize = 2;

/// The report that fewer other peers are listed than the course text has on its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerShortage {
    /// Nothing is requested until this many are listed (`--min-peers`).
    WaitsFor(usize),
    /// The client goes on with the peers that there are.
    GoesOn,
}

impl State {
    /// Returns how few other peers are listed, if that is to be reported: once for each number of them.
    pub fn few_peers(&mut self, min_peers: usize) -> Option<PeerShortage> {
        let (n_listed, at_least) = (self.n_listed(), min_peers.max(COURSE_PEERS));
        let missing = !self.picker.is_idle() || !self.beginning.is_empty();
        if n_listed >= at_least {
            self.told.few = None;
            return None;
        }
        let new = missing && self.told.few.replace(n_listed) != Some(n_listed);
        new.then_some(match n_listed < min_peers {
            true => PeerShortage::WaitsFor(min_peers),
            false => PeerShortage::GoesOn,
        })
    }

    /// Describes what keeps files from coming or from counting as done, unless another message says it.
    pub fn waits_for(&self) -> Vec<String> {
        if self.last_answer.is_none() {
            return Vec::new();
        }
        let comes = |name: &Name| self.swarm.contains_key(name) || self.coming.contains_key(name);
        let replaced = |name: &Name| {
            let held = self.files.get(name);
            held.is_some_and(|held| self.word_by_pin(name, held.torrent.md5()).is_some())
        };
        let unlisted = |name: &&Name| !self.is_known(name) || replaced(name) && !comes(name);
        let unlisted = self.named().filter(unlisted);
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

    /// Describes which missing pieces of a file nobody has.
    fn nowhere(&self, name: &Name) -> Option<String> {
        let idxs = self.picker.nowhere(name);
        let first: Vec<String> = idxs.iter().take(5).map(u32::to_string).collect();
        let (first, more) = (first.join(", "), if idxs.len() > 5 { ", …" } else { "" });
        let nobody = self.sampled_of.map_or("nobody", |_| "nobody known here");
        let n = idxs.len();
        (n > 0).then(|| format!("{nobody} has {n} of the missing pieces of {name} ({first}{more})"))
    }

    /// Returns true if a name is listed, here, or being hashed by any peer.
    fn is_known(&self, name: &Name) -> bool {
        self.swarm.contains_key(name)
            || self.files.contains_key(name)
            || self.standing.contains_key(name)
            || self.coming.contains_key(name)
    }

    /// Returns the listed name that was probably meant by one that nobody lists.
    fn meant(&self, name: &Name) -> Option<String> {
        let listed = self.swarm.keys().chain(self.coming.keys());
        let listed: Vec<String> = listed.map(|name| name.as_str().to_owned()).collect();
        nearest(name.as_str(), &listed).map(legible)
    }
}
