//! What is asked of peers in other rooms: each piece should come into a room once, and not once for each of its machines.
//!
//! Rooms are joined by a trunk that all their machines share, so it is the first link to be full. What some machine of this
//! room has is therefore asked of it, as long as that isn't much slower. What several machines elsewhere have, and none here,
//! those of this room divide among themselves, without a word: of m machines that lack something, number i fetches the pieces
//! k with k mod m = i. A piece with a single holder needs no such rule: that holder sends the pieces it has sent least.
//!
//! A peer that waits for nothing at all takes what it can get.

use std::borrow::Cow;
use std::time::Duration;

use super::{Link, PeerId, Picker};
use crate::bitfield::Bitfield;
use crate::torrent::Name;

/// A machine of this room that takes so many times as long for a piece as one elsewhere isn't waited for.
const SLOW: u32 = 2;

/// Where a peer is, as far as its address tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// In the room of this peer. All its machines have one order, that of their ids.
    Same {
        /// Whether it comes before this peer in that order.
        comes_before: bool,
    },
    /// In another room.
    Other,
}

impl Picker {
    /// Returns what a peer has of each wanted file and should be asked for.
    pub(super) fn offers_of(&self, peer: PeerId) -> impl Iterator<Item = (&Name, Cow<'_, Bitfield>)> {
        let link = &self.links[&peer];
        let is_free = !link.is_elsewhere() || self.bytes_in_flight() == 0;
        link.has.iter().map(move |(name, has)| {
            let offer = match is_free {
                true => Cow::Borrowed(has),
                false => Cow::Owned(self.to_fetch_from_elsewhere(name, has, link.took)),
            };
            (name, offer)
        })
    }

    /// Returns those of `has` that a machine of this room should fetch from elsewhere, from a holder that takes so long.
    fn to_fetch_from_elsewhere(
        &self,
        name: &Name,
        has: &Bitfield,
        took: Option<Duration>,
    ) -> Bitfield {
        let file = &self.files[name];
        let mut here = Bitfield::new(has.len());
        let (mut n_whole, mut m, mut i) = (0, 1, 0);
        for link in self.links.values() {
            let (Some(comes_before), Some(theirs)) = (link.in_room(), link.has.get(name)) else {
                continue;
            };
            if theirs.is_full() {
                n_whole += 1;
            } else if !theirs.is_empty() {
                m += 1;
                i += u32::from(comes_before);
                if !link.is_slow_beside(took) {
                    here.set_all(theirs);
                }
            }
        }
        if n_whole >= 2 {
            return Bitfield::new(has.len());
        }
        let mut offer = Bitfield::new(has.len());
        for idx in has.minus(&here) {
            if file.copies[idx as usize] == 1 || idx % m == i {
                offer.set(idx);
            }
        }
        offer
    }
}

impl Link {
    pub(super) fn is_elsewhere(&self) -> bool {
        self.open.is_some_and(|route| route.room == Some(Room::Other))
    }

    /// Whether it comes before this peer in the order of this room, if it is here.
    fn in_room(&self) -> Option<bool> {
        match self.open?.room? {
            Room::Same { comes_before } => Some(comes_before),
            Room::Other => None,
        }
    }

    fn is_slow_beside(&self, took: Option<Duration>) -> bool {
        let both = self.took.zip(took);
        both.is_some_and(|(here, elsewhere)| here > elsewhere * SLOW)
    }
}
