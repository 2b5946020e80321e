//! What people are shown of the picker's accounts.

use std::collections::{BTreeMap, BTreeSet};

use super::{PeerId, Picker};
use crate::bitfield::Bitfield;
use crate::torrent::Name;

impl Picker {
    /// Returns the pieces of a file that were requested and aren't here, and how many peers they were requested from.
    pub fn in_flight(&self, name: &Name) -> (BTreeSet<u32>, usize) {
        let claims = self.files.get(name).map(|file| &file.claims);
        let claims = claims.into_iter().flatten();
        let (mut idxs, mut peers) = (BTreeSet::new(), BTreeSet::new());
        for (idx, of_it) in claims {
            idxs.insert(*idx);
            peers.extend(of_it.iter().map(|claim| claim.peer));
        }
        (idxs, peers.len())
    }

    /// Returns the pieces that this peer has of a wanted file.
    pub fn has(&self, peer: PeerId, name: &Name) -> Option<&Bitfield> {
        self.links.get(&peer)?.has.get(name)
    }

    /// Returns the share of the pieces missing here, from 0 to 1, that a peer has that lacks others; `None` if no peer is
    /// on its way.
    pub fn spread(&self, name: &Name) -> Option<f64> {
        let file = self.files.get(name)?;
        let mut spread = Bitfield::new(file.open.len());
        let has = self.links.values().filter_map(|link| link.has.get(name));
        let mut parts = has.filter(|has| !has.is_full()).peekable();
        parts.peek()?;
        parts.for_each(|has| spread.set_all(has));
        let n_missing = file.missing().count();
        let n_spread = file.missing().filter(|idx| spread.get(*idx)).count();
        Some(n_spread as f64 / n_missing.max(1) as f64)
    }

    /// Returns how many requests were made, those for news too.
    pub fn n_requests(&self) -> u64 {
        self.n
    }

    /// Returns the chance of each peer that can be asked, if all of them hold a piece.
    pub fn chances(&self) -> BTreeMap<PeerId, f64> {
        let open = self.links.iter().filter(|(_, link)| link.open.is_some());
        let open: Vec<_> = open.map(|(peer, _)| (*peer, self.latency(*peer))).collect();
        super::chances(&open).into_iter().collect()
    }
}
