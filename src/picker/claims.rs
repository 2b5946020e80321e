//! What the picker keeps account of: who has what, and which piece was asked of whom.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{PeerNo, Picker, Wanted, Way};
use crate::bitfield::Bitfield;
use crate::torrent::{Name, Torrent};

impl Picker {
    /// Wants a file, of which `have` is here.
    pub fn want(&mut self, torrent: &Torrent, have: Bitfield) {
        let n = torrent.n_pieces();
        let mut open = Bitfield::full(n);
        have.iter().for_each(|idx| {
            open.clear(idx);
        });
        self.links.values_mut().for_each(|link| {
            link.has.remove(torrent.name());
        });
        let wanted = Wanted {
            md5: torrent.md5(),
            piece_len: torrent.full_piece_len() as u64,
            have,
            open,
            copies: vec![0; n as usize],
            claims: BTreeMap::new(),
        };
        self.files.insert(torrent.name().clone(), wanted);
    }

    /// Wants a file no more: it is whole, or given up.
    pub fn unwant(&mut self, name: &Name) {
        self.files.remove(name);
        self.links.values_mut().for_each(|link| {
            link.has.remove(name);
        });
    }

    /// Whether nothing is wanted that isn't here.
    pub fn is_idle(&self) -> bool {
        self.files.is_empty()
    }

    /// How many files are wanted of which some other peer has a piece that is missing here.
    pub fn n_obtainable(&self) -> usize {
        let obtainable = |file: &&Wanted| {
            let mut copies = file.copies.iter().enumerate();
            copies.any(|(idx, copies)| *copies > 0 && !file.have.get(idx as u32))
        };
        self.files.values().filter(obtainable).count()
    }

    /// Whether this file is wanted and not whole.
    pub fn wants(&self, name: &Name) -> bool {
        self.files.contains_key(name)
    }

    /// The peer has these pieces, too. What is said of a file that isn't wanted is forgotten.
    pub fn peer_has(&mut self, peer: PeerNo, name: &Name, pieces: impl IntoIterator<Item = u32>) {
        let Some(file) = self.files.get_mut(name) else {
            return;
        };
        let n = file.have.len();
        let has = self
            .links
            .entry(peer)
            .or_default()
            .has
            .entry(name.clone())
            .or_insert_with(|| Bitfield::new(n));
        for idx in pieces {
            if has.set(idx) {
                file.copies[idx as usize] += 1;
            }
        }
    }

    /// The peer hasn't this file any more, or never had.
    pub fn peer_lost(&mut self, peer: PeerNo, name: &Name) {
        let has = self
            .links
            .get_mut(&peer)
            .and_then(|link| link.has.remove(name));
        if let (Some(has), Some(file)) = (has, self.files.get_mut(name)) {
            has.iter().for_each(|idx| file.copies[idx as usize] -= 1);
        }
    }

    /// The peer has nothing, as far as is known.
    pub fn peer_lost_all(&mut self, peer: PeerNo) {
        let link = self.links.get(&peer);
        let files: Vec<Name> = link
            .map(|link| link.has.keys().cloned().collect())
            .unwrap_or_default();
        files.iter().for_each(|name| self.peer_lost(peer, name));
    }

    /// The peer doesn't have this one piece, whatever it said: its copy was bad.
    pub fn peer_lacks(&mut self, peer: PeerNo, name: &Name, idx: u32) {
        let has = self
            .links
            .get_mut(&peer)
            .and_then(|link| link.has.get_mut(name));
        // another content may stand under the name by now, of fewer pieces
        if let (Some(has), Some(file)) = (has, self.files.get_mut(name))
            && has.clear(idx)
        {
            file.copies[idx as usize] -= 1;
        }
    }

    /// From now on the peer can be asked.
    pub fn open(&mut self, peer: PeerNo, way: Way) {
        self.links.entry(peer).or_default().open = Some(way);
    }

    /// The peer can't be asked any more; what it was asked for is open again.
    pub fn release(&mut self, peer: PeerNo) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        link.open = None;
        link.asked.clear();
        for file in self.files.values_mut() {
            let claimed: Vec<u32> = file.claims.keys().copied().collect();
            claimed.into_iter().for_each(|idx| file.unclaim(idx, peer));
        }
    }

    /// The peer is gone, and what it has with it.
    pub fn forget(&mut self, peer: PeerNo) {
        self.release(peer);
        self.peer_lost_all(peer);
        self.links.remove(&peer);
    }

    /// What request `n` of this peer names, while it has no answer.
    pub fn asked(&self, peer: PeerNo, n: u64) -> Option<(&Name, &[u32])> {
        let asked = self
            .links
            .get(&peer)?
            .asked
            .iter()
            .find(|asked| asked.n == n)?;
        Some((&asked.name, &asked.pieces))
    }

    /// Whether this peer owes an answer.
    pub fn is_asked(&self, peer: PeerNo) -> bool {
        let link = self.links.get(&peer);
        link.is_some_and(|link| !link.asked.is_empty())
    }

    /// Request `n` was answered with piece `got`, or with none. The piece stays claimed until it [`Picker::landed`] or is
    /// [`Picker::dropped`]. Returns the file, where the answer fits the request.
    pub fn answered(
        &mut self,
        peer: PeerNo,
        n: u64,
        got: Option<u32>,
        now: Instant,
    ) -> Option<Name> {
        let link = self.links.get_mut(&peer)?;
        let at = link.asked.iter().position(|asked| asked.n == n)?;
        if got.is_some_and(|idx| !link.asked[at].pieces.contains(&idx)) {
            return None;
        }
        let asked = link.asked.remove(at);
        let took = now.saturating_duration_since(link.turn(asked.since));
        link.answered = Some(now);
        if got.is_some() {
            self.usual = Some(self.usual.map_or(took, |usual| (usual * 7 + took) / 8));
        }
        if let Some(file) = self.files.get_mut(&asked.name) {
            let claims = got.and_then(|idx| file.claims.get_mut(&idx));
            let own = claims.into_iter().flatten();
            own.filter(|claim| claim.peer == peer)
                .for_each(|claim| claim.came = true);
            asked
                .pieces
                .iter()
                .filter(|idx| Some(**idx) != got)
                .for_each(|idx| file.unclaim(*idx, peer));
        }
        Some(asked.name)
    }

    /// The piece is here, checked and written.
    pub fn landed(&mut self, name: &Name, idx: u32) {
        if let Some(file) = self.files.get_mut(name) {
            file.claims.remove(&idx);
            file.have.set(idx);
            file.open.clear(idx);
        }
    }

    /// The piece came, and was bad or couldn't be written.
    pub fn dropped(&mut self, peer: PeerNo, name: &Name, idx: u32) {
        if let Some(file) = self.files.get_mut(name) {
            file.unclaim(idx, peer);
        }
    }

    /// The pieces of a wanted file that no peer has, where there are any that are missing here.
    pub fn nowhere(&self, name: &Name) -> Vec<u32> {
        let file = self.files.get(name);
        file.map(|file| {
            file.open
                .iter()
                .filter(|idx| file.copies[*idx as usize] == 0)
                .collect()
        })
        .unwrap_or_default()
    }
}

impl Wanted {
    /// One request less names this piece.
    pub(super) fn unclaim(&mut self, idx: u32, peer: PeerNo) {
        let Some(claims) = self.claims.get_mut(&idx) else {
            return;
        };
        claims.retain(|claim| claim.peer != peer);
        if claims.is_empty() {
            self.claims.remove(&idx);
            if !self.have.get(idx) {
                self.open.set(idx);
            }
        }
    }
}
