//! What is asked of peers in other subnets: each piece should come into a subnet once, and not once for each machine.
//!
//! Subnets, which are classrooms more often than not, are joined by a trunk that all their machines share: it is the first link
//! to be full. What a machine here has fetched is therefore asked of it, unless one elsewhere is faster. The machines here
//! divide among themselves, without a word, what several elsewhere have and none here has: of m machines that are fetching,
//! number i takes the pieces k with k mod m = i. A piece with a single holder needs no such rule: that holder sends the pieces
//! that it has sent least. Complete machines don't count: better ask them for what only they have.
//!
//! A peer that waits for nothing takes what it can get; so whoever is alone in a subnet, or among slow ones, loses nothing.
//!
//! Cost: one pass over the machines here for each connection to elsewhere that has a place free.

use std::borrow::Cow;
use std::time::Duration;

use super::{Link, PeerId, Picker};
use crate::bitfield::Bitfield;
use crate::torrent::Name;

/// Where a peer is, as far as its address tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subnet {
    /// In the subnet of this peer. All its machines number themselves alike, by their ids.
    Same {
        /// Whether its id is before this peer's.
        comes_before: bool,
    },
    /// In another one.
    Other,
}

impl Picker {
    /// Returns what a peer has of each wanted file, but for what should be asked of others while
    /// `in_flight` bytes are on their way.
    pub(super) fn offers_of(
        &self,
        peer: PeerId,
        in_flight: u64,
    ) -> impl Iterator<Item = (&Name, Cow<'_, Bitfield>)> {
        let link = &self.links[&peer];
        let takes_all = !link.is_elsewhere() || in_flight == 0;
        link.has.iter().map(move |(name, has)| {
            let offer = match takes_all {
                true => Cow::Borrowed(has),
                false => self.share_of(name, has, link.took),
            };
            (name, offer)
        })
    }

    /// Returns those pieces of `has` that this peer should fetch from another subnet, where a piece takes
    /// `took`.
    pub(super) fn share_of<'a>(
        &self,
        name: &Name,
        has: &'a Bitfield,
        took: Option<Duration>,
    ) -> Cow<'a, Bitfield> {
        let copies = &self.files[name].copies;
        let mut here = Bitfield::new(has.len());
        let (mut n_fetching, mut number) = (1, 0);
        for link in self.links.values() {
            let (Some(comes_before), Some(theirs)) = (link.in_this_subnet(), link.has.get(name))
            else {
                continue;
            };
            let is_fetching = !theirs.is_empty() && !theirs.is_full();
            if is_fetching && !link.is_slower_than(took) {
                n_fetching += 1;
                number += u32::from(comes_before);
                here.set_all(theirs);
            }
        }
        if n_fetching == 1 {
            return Cow::Borrowed(has);
        }
        let is_ours = |idx: &u32| copies[*idx as usize] == 1 || idx % n_fetching == number;
        let mut share = Bitfield::new(has.len());
        has.minus(&here).filter(is_ours).for_each(|idx| {
            share.set(idx);
        });
        Cow::Owned(share)
    }
}

impl Link {
    /// Returns true if it is in another subnet.
    pub(super) fn is_elsewhere(&self) -> bool {
        let subnet = self.open.and_then(|route| route.subnet);
        subnet == Some(Subnet::Other)
    }

    /// Returns whether it comes before this peer among the machines of this subnet, if it is one of them.
    fn in_this_subnet(&self) -> Option<bool> {
        match self.open?.subnet? {
            Subnet::Same { comes_before } => Some(comes_before),
            Subnet::Other => None,
        }
    }

    fn is_slower_than(&self, took: Option<Duration>) -> bool {
        let both = self.took.zip(took);
        both.is_some_and(|(here, elsewhere)| here > elsewhere)
    }
}
