//! The picker's accounts: which peer has what, and which piece was requested from which peer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Asked, Claim, Link, NEAREST, PeerId, Picker, Route, WantedFile};
use crate::bitfield::Bitfield;
use crate::protocol::Get;
use crate::torrent::{BlockSet, Name, Torrent};

impl Picker {
    /// Adds a wanted file, of which the pieces `have` are here, and these blocks of other pieces.
    pub fn want(&mut self, torrent: &Torrent, have: &Bitfield, blocks: &BTreeMap<u32, BlockSet>) {
        let n = torrent.n_pieces();
        let mut open = Bitfield::full(n);
        have.iter().for_each(|idx| {
            open.clear(idx);
        });
        self.links.values_mut().for_each(|link| {
            link.has.remove(torrent.name());
        });
        let missing = blocks
            .iter()
            .map(|(idx, here)| (*idx, here.missing_of(torrent.n_blocks(*idx))));
        let missing = missing.filter(|(_, blocks)| !blocks.is_empty());
        let wanted = WantedFile {
            md5: torrent.md5(),
            piece_len: torrent.full_piece_len() as u64,
            open,
            copies: vec![0; n as usize],
            missing_blocks: missing.collect(),
            claims: BTreeMap::new(),
        };
        self.files.insert(torrent.name().clone(), wanted);
    }

    /// Goes on with a longer content that begins with this one, and of which the pieces `have` are here: what was asked for
    /// still comes, and who has what still counts. If the head isn't wanted any more, it begins anew.
    pub fn extend(&mut self, torrent: &Torrent, have: &Bitfield) {
        let (name, n) = (torrent.name(), torrent.n_pieces());
        let Some(file) = self.files.get_mut(name) else {
            return self.want(torrent, have, &BTreeMap::new());
        };
        let before = file.open.len();
        file.open = file.open.of_longer(n);
        for idx in before..n {
            file.open.set(idx);
        }
        file.md5 = torrent.md5();
        file.copies.resize(n as usize, 0);
        let has = self.links.values_mut();
        for has in has.filter_map(|link| link.has.get_mut(name)) {
            *has = has.of_longer(n);
        }
        // some were copied from other files, and may have been asked for
        have.iter().for_each(|idx| self.landed(name, idx));
    }

    /// Removes a wanted file: it is whole, or given up.
    pub fn unwant(&mut self, name: &Name) {
        self.files.remove(name);
        self.links.values_mut().for_each(|link| {
            link.has.remove(name);
        });
    }

    /// Returns true if every wanted piece is here.
    pub fn is_idle(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns how many wanted files have a piece that is missing here and that some other peer has.
    pub fn n_obtainable(&self) -> usize {
        let obtainable =
            |file: &&WantedFile| file.missing().any(|idx| file.copies[idx as usize] > 0);
        self.files.values().filter(obtainable).count()
    }

    /// Returns true if this file is wanted and not whole.
    pub fn wants(&self, name: &Name) -> bool {
        self.files.contains_key(name)
    }

    /// Notes that the peer also has these pieces. They are ignored if the file isn't wanted.
    pub fn peer_has(&mut self, peer: PeerId, name: &Name, pieces: impl IntoIterator<Item = u32>) {
        let Some(file) = self.files.get_mut(name) else {
            return;
        };
        let n = file.open.len();
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

    /// Notes that the peer no longer has this file, or never had it.
    pub fn peer_lost(&mut self, peer: PeerId, name: &Name) {
        let has = self
            .links
            .get_mut(&peer)
            .and_then(|link| link.has.remove(name));
        if let (Some(has), Some(file)) = (has, self.files.get_mut(name)) {
            has.iter().for_each(|idx| file.copies[idx as usize] -= 1);
        }
    }

    /// Notes that the peer has nothing, as far as is known.
    pub fn peer_lost_all(&mut self, peer: PeerId) {
        let link = self.links.get(&peer);
        let files: Vec<Name> = link
            .map(|link| link.has.keys().cloned().collect())
            .unwrap_or_default();
        files.iter().for_each(|name| self.peer_lost(peer, name));
    }

    /// Notes that the peer doesn't have this piece, whatever it said: its copy was bad.
    pub fn peer_lacks(&mut self, peer: PeerId, name: &Name, idx: u32) {
        let has = self
            .links
            .get_mut(&peer)
            .and_then(|link| link.has.get_mut(name));
        // by now, another content with fewer pieces may stand under the name
        if let (Some(has), Some(file)) = (has, self.files.get_mut(name))
            && has.clear(idx)
        {
            file.copies[idx as usize] -= 1;
        }
    }

    /// Notes that from now on the peer can be asked.
    pub fn open(&mut self, peer: PeerId, route: Route) {
        self.links.entry(peer).or_default().open = Some(route);
    }

    /// Notes that from now on the peer can't be asked; the pieces that were requested from it are open again.
    pub fn release(&mut self, peer: PeerId) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        link.open = None;
        link.asked.clear();
        link.further = 0.0;
        for file in self.files.values_mut() {
            let claimed: Vec<u32> = file.claims.keys().copied().collect();
            claimed.into_iter().for_each(|idx| file.unclaim(idx, peer));
        }
    }

    /// Removes a peer and everything that it has.
    pub fn forget(&mut self, peer: PeerId) {
        self.release(peer);
        self.peer_lost_all(peer);
        self.links.remove(&peer);
    }

    /// Returns request `n` of this peer, as long as it isn't answered.
    pub fn request(&self, peer: PeerId, n: u64) -> Option<&Get> {
        self.asked(peer, n).map(|asked| &asked.get)
    }

    /// Does the same, with when and how it was made.
    pub(super) fn asked(&self, peer: PeerId, n: u64) -> Option<&Asked> {
        let link = self.links.get(&peer)?;
        link.asked.iter().find(|asked| asked.get.n == n)
    }

    /// Returns how many bytes were requested and haven't come.
    pub(super) fn bytes_in_flight(&self) -> u64 {
        let asked = self.links.values().flat_map(|link| &link.asked);
        let bytes = asked.map(|asked| match self.files.get(&asked.get.name) {
            Some(file) if !asked.get.pieces.is_empty() => file.piece_len,
            _ => 0,
        });
        bytes.sum()
    }

    /// Returns the latency of a peer.
    pub(super) fn latency(&self, peer: PeerId) -> Duration {
        let open = self.links.get(&peer).and_then(|link| link.open);
        open.map_or(NEAREST, |route| route.latency)
    }

    /// Returns how many peers can be asked.
    pub(super) fn n_connections(&self) -> usize {
        let links = self.links.values();
        links.filter(|link| link.open.is_some()).count()
    }

    /// Returns true if this peer owes an answer.
    pub fn is_asked(&self, peer: PeerId) -> bool {
        let link = self.links.get(&peer);
        link.is_some_and(|link| !link.asked.is_empty())
    }

    /// Notes that request `n` was answered with piece `got`, or with none. The piece stays claimed until it
    /// [`Picker::landed`] or is [`Picker::dropped`]. Returns the file if the answer fits the request.
    pub fn answered(
        &mut self,
        peer: PeerId,
        n: u64,
        got: Option<u32>,
        now: Instant,
    ) -> Option<Name> {
        let link = self.links.get_mut(&peer)?;
        let at = link.asked.iter().position(|asked| asked.get.n == n)?;
        if got.is_some_and(|idx| !link.asked[at].get.pieces.contains(&idx)) {
            return None;
        }
        let asked = link.asked.remove(at);
        let took = now.saturating_duration_since(link.turn(asked.since));
        link.answered = Some(now);
        if got.is_some() {
            let mean = |usual: Option<Duration>| usual.map_or(took, |usual| (usual * 7 + took) / 8);
            self.usual = Some(mean(self.usual));
            link.took = Some(mean(link.took));
        }
        if let Some(file) = self.files.get_mut(&asked.get.name) {
            let claims = got.and_then(|idx| file.claims.get_mut(&idx));
            let own = claims.into_iter().flatten();
            own.filter(|claim| claim.peer == peer)
                .for_each(|claim| claim.came = true);
            asked
                .get
                .pieces
                .iter()
                .filter(|idx| Some(**idx) != got)
                .for_each(|idx| file.unclaim(*idx, peer));
        }
        Some(asked.get.name)
    }

    /// Notes that the piece is here, checked and written.
    pub fn landed(&mut self, name: &Name, idx: u32) {
        if let Some(file) = self.files.get_mut(name) {
            file.claims.remove(&idx);
            file.open.clear(idx);
        }
    }

    /// Notes that the piece came and was bad or couldn't be written. From now on all of it is requested.
    pub fn dropped(&mut self, peer: PeerId, name: &Name, idx: u32) {
        if let Some(file) = self.files.get_mut(name) {
            file.missing_blocks.remove(&idx);
            file.unclaim(idx, peer);
        }
    }

    /// Returns the pieces of a wanted file that are missing here and that no peer has.
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

impl Link {
    /// Returns when a request that was sent at `since` had its turn: at the answer before it, if that came later.
    pub(super) fn turn(&self, since: Instant) -> Instant {
        self.answered.map_or(since, |at| at.max(since))
    }
}

impl WantedFile {
    /// The pieces that aren't here.
    pub(super) fn missing(&self) -> impl Iterator<Item = u32> {
        self.open.iter().chain(self.claims.keys().copied())
    }

    /// Counts one more request for this piece.
    pub(super) fn claim(&mut self, idx: u32, peer: PeerId, since: Instant) {
        self.open.clear(idx);
        let came = false;
        self.claims
            .entry(idx)
            .or_default()
            .push(Claim { peer, since, came });
    }

    /// Counts one request less for this piece.
    pub(super) fn unclaim(&mut self, idx: u32, peer: PeerId) {
        let Some(claims) = self.claims.get_mut(&idx) else {
            return;
        };
        claims.retain(|claim| claim.peer != peer);
        if claims.is_empty() {
            self.claims.remove(&idx);
            self.open.set(idx);
        }
    }
}
