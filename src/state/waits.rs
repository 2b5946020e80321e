//! What keeps files from coming, or from counting as done. The words are in [`crate::causes`].

use std::collections::HashMap;
use std::mem::discriminant;
use std::net::SocketAddr;

use super::{Held, LinkState, OtherPeer, State};
use crate::causes::Waits;
use crate::cli::nearest;
use crate::picker::PeerId;
use crate::protocol::{Coming, Summary};
use crate::torrent::{Name, legible};
use crate::units::percent;

/// How many of the pieces that nobody has are named.
pub(super) const NAMED: usize = 5;
/// How many files are told that wait for the like: of thousands, nobody reads more.
pub(super) const TOLD_ALIKE: usize = 20;
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

/// Returns how far another peer has hashed a file.
pub(super) fn hashed_elsewhere(coming: &Coming) -> Waits {
    Waits::HashedElsewhere {
        by: legible(&coming.peer),
        percent: percent(coming.done, coming.size),
    }
}

/// Returns that the swarm has another content than the pinned one.
pub(super) fn other_than_pinned(listed: &Summary) -> Waits {
    let (swarm, publisher) = (listed.md5, legible(&listed.publisher));
    Waits::OtherThanPinned { swarm, publisher }
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

    /// Returns what keeps files from coming or from counting as done, unless another message says it.
    pub fn waits_for(&self) -> Vec<(&Name, Waits)> {
        if self.last_answer.is_none() {
            return Vec::new();
        }
        let unlisted = self.named().filter(|name| self.is_unlisted(name));
        let unlisted = unlisted.map(|name| (name, self.unlisted(name)));
        let coming = self.coming.values();
        let coming = coming.filter(|coming| self.is_wanted(&coming.name));
        let coming = coming.map(|coming| (&coming.name, hashed_elsewhere(coming)));
        let other = self.swarm.values().filter(|listed| !self.may_be(listed));
        let other = other.filter(|listed| !self.has_pinned(&listed.name));
        let other = other.map(|listed| (&listed.name, other_than_pinned(listed)));
        let unconfirmed = self.files.iter();
        let unconfirmed = unconfirmed.filter(|(name, held)| self.is_unconfirmed(name, held));
        let unconfirmed = unconfirmed.map(|(name, held)| {
            let (md5, known) = (held.torrent.md5(), name.clone());
            (name, Waits::Unconfirmed { name: known, md5 })
        });
        let bad = self.without_good_copy();
        let is_said = |name: &Name, waits: &Waits| {
            let n_bad = bad.iter().filter(|(of, ..)| *of == name).count();
            matches!(waits, Waits::Nowhere { n, .. } if *n == n_bad)
        };
        let parts = self.files.values().filter(|held| held.stamp.is_none());
        let parts = parts.filter_map(|held| Some((held.torrent.name(), self.of_sources(held)?)));
        let parts: Vec<_> = parts
            .filter(|(name, waits)| !is_said(name, waits))
            .collect();
        let bad = bad.into_iter();
        let bad = bad.map(|(name, idx, tried)| (name, Waits::NoGoodCopy { idx, tried }));
        unlisted
            .chain(coming)
            .chain(other)
            .chain(unconfirmed)
            .chain(bad)
            .chain(parts)
            .collect()
    }

    /// Returns what files wait for, and whether that is news to people. Of each kind of wait, so many files are told; and how
    /// many others there are.
    pub fn waits_to_tell(&mut self) -> (Vec<(Name, Waits, bool)>, usize) {
        let mut before = std::mem::take(&mut self.told.waits);
        let mut waits = self.waits_for();
        let (n_waits, mut alike) = (waits.len(), HashMap::new());
        waits.retain(|(_, waits)| {
            let nth = alike.entry(discriminant(waits)).or_insert(0);
            *nth += 1;
            *nth <= TOLD_ALIKE
        });
        let others = n_waits - waits.len();
        let waits = waits.into_iter().map(|(name, waits)| {
            let is_it = |(of, told): &(Name, Waits)| of == name && told.is_like(&waits);
            let at = before.iter().position(is_it);
            // of two that are alike, one may be new
            let known = at.map(|at| before.swap_remove(at));
            (name.clone(), waits, known.is_none())
        });
        let waits: Vec<_> = waits.collect();
        let told = waits.iter();
        self.told.waits = told
            .map(|(name, waits, _)| (name.clone(), waits.clone()))
            .collect();
        (waits, others)
    }

    /// Returns true if nobody lists a name that the user named, or lists it no more where it is to be replaced.
    fn is_unlisted(&self, name: &Name) -> bool {
        let comes = self.swarm.contains_key(name) || self.coming.contains_key(name);
        let held = self.files.get(name);
        let replaced =
            held.is_some_and(|held| self.word_by_pin(name, held.torrent.md5()).is_some());
        !self.is_known(name) || replaced && !comes
    }

    /// Returns why a name isn't listed.
    pub(super) fn unlisted(&self, name: &Name) -> Waits {
        let no_list = self.no_list.clone();
        match (self.last_answer, no_list) {
            (None, no_list) => Waits::NoTracker { no_list },
            (Some(_), Some(no_list)) => Waits::TrackerGone { no_list },
            (Some(_), None) => Waits::NotListed {
                near: self.meant(name),
            },
        }
    }

    /// Returns why the missing pieces of a file don't come, if the other peers are the reason.
    pub(super) fn of_sources(&self, held: &Held) -> Option<Waits> {
        let name = held.torrent.name();
        let nowhere = self.picker.nowhere(name);
        let n_missing = (held.torrent.n_pieces() - held.have.count()) as usize;
        let holders = self.holders_of_missing(held);
        // whoever is tried again fails until that has worked
        let fails = |peer: &&OtherPeer| match peer.link {
            LinkState::No | LinkState::Trying => Some((peer.addr, peer.trouble.clone()?)),
            _ => None,
        };
        let failing: Vec<_> = holders.iter().filter_map(fails).collect();
        let all_fail = failing.len() == holders.len();
        // a peer that fell silent is remembered for a while after the tracker has dropped it
        let others = self
            .peers
            .keys()
            .any(|peer| self.picker.has(*peer, name).is_some());
        let is_alone = holders.is_empty() && !others;
        let forgotten = !holders.is_empty() && !holders.iter().any(|holder| holder.is_listed());
        let all_gone = all_fail && (is_alone || forgotten);
        if n_missing > 0 && all_gone {
            return Some(match self.most_from(held) {
                Some(most_from) => Waits::SourcesGone {
                    n_missing,
                    most_from,
                },
                None => Waits::NoSource { n_missing },
            });
        }
        if !nowhere.is_empty() {
            return Some(Waits::Nowhere {
                n: nowhere.len(),
                first: nowhere.iter().take(NAMED).copied().collect(),
                of_sample: self.sampled_of.is_some(),
            });
        }
        let (peer, lost) = failing.first().filter(|_| all_fail).cloned()?;
        Some(Waits::SourcesFail {
            n_holders: holders.len(),
            peer,
            lost,
        })
    }

    /// Returns the peers that have a piece that is missing here.
    pub(super) fn holders_of_missing(&self, held: &Held) -> Vec<&OtherPeer> {
        let name = held.torrent.name();
        let has_some = |peer: &PeerId| {
            let has = self.picker.has(*peer, name);
            has.is_some_and(|has| has.iter().any(|idx| !held.have.get(idx)))
        };
        let holders = self.peers.iter().filter(|(peer, _)| has_some(peer));
        holders.map(|(_, peer)| peer).collect()
    }

    /// Returns who sent most of a file in this run.
    fn most_from(&self, held: &Held) -> Option<SocketAddr> {
        let shares = self.shares(held);
        let most = shares.iter().filter(|share| share.got > 0);
        most.max_by_key(|share| share.got).map(|share| share.peer)
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
