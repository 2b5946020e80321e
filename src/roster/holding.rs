//! What each peer holds: how a list is understood, and what changes with it. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::has::{FileNo, Has, Held, Peer, PeerNo};
use super::{LONGEST_LISTED, Roster};
use crate::bitfield::Bitfield;
use crate::torrent::Name;

impl Roster {
    /// A known peer comes from another address, or is another program, for which the list of the one before doesn't hold.
    pub(super) fn moves(&mut self, no: PeerNo, addr: SocketAddr, v: Option<u32>) {
        if self.peers[no].v != v {
            self.hold(no, Vec::new());
        }
        let peer = &mut self.peers[no];
        let n_names = peer.has.held.len();
        let before = std::mem::replace(&mut peer.addr, addr);
        peer.v = v;
        peer.has = Arc::new(Has::new(addr, v, peer.has.held.clone()));
        self.addresses.change(before.ip(), |tally| {
            tally.peers -= 1;
            tally.names -= n_names;
        });
        self.addresses.change(addr.ip(), |tally| {
            tally.peers += 1;
            tally.names += n_names;
        });
    }

    /// What a list says, by the records.
    pub(super) fn understand(
        &mut self,
        v: Option<u32>,
        names: Vec<String>,
        digits: &BTreeMap<String, String>,
    ) -> Vec<Held> {
        let mut held = BTreeMap::new();
        for (name, digits) in digits {
            let Some(no) = self.files.find(name) else {
                continue;
            };
            let n_pieces = self.files[no].record.as_ref().map(|record| record.n_pieces);
            let bits = n_pieces.and_then(|n_pieces| Bitfield::from_hex(digits, n_pieces));
            if let Some(bits) = bits.filter(|bits| !bits.is_empty()) {
                let mut whole = self.files.whole(no);
                whole.bits = whole.bits.map(|_| bits);
                held.insert(no, whole);
            }
        }
        for name in names.iter().filter(|name| name.len() <= LONGEST_LISTED) {
            let piece = Name::parse_piece(name).and_then(|(file, idx)| {
                let no = self.files.find(file.as_str())?;
                ((idx as usize) < self.files[no].counts.len()).then_some((no, idx))
            });
            if let Some((no, idx)) = piece {
                let file = held.entry(no).or_insert_with(|| self.files.none(no));
                let n_pieces = self.files[no].counts.len() as u32;
                let bits = file.bits.get_or_insert_with(|| Bitfield::new(n_pieces));
                bits.set(idx);
            } else {
                let no = self.files.intern(name);
                let whole = self.files.whole(no);
                let file = held.entry(no).or_insert_with(|| self.files.none(no));
                match whole.bits {
                    Some(bits) if v.is_some() => file.bits = Some(bits),
                    _ => file.named = true,
                }
            }
        }
        held.into_values().collect()
    }

    /// A peer has this, and no more what it had.
    pub(super) fn hold(&mut self, no: PeerNo, mut held: Vec<Held>) {
        held.sort_unstable_by_key(|held| held.file);
        let (addr, v) = (self.peers[no].addr, self.peers[no].v);
        let before = Arc::clone(&self.peers[no].has);
        let mut places = Vec::with_capacity(held.len());
        let mut grew = false;
        for new in &held {
            let at = before.place_of(new.file);
            let old = at.map(|at| &before.held[at]);
            places.push(match at {
                Some(at) => self.peers[no].places[at],
                None => self.files.join(new.file, no),
            });
            self.files.recount(new.file, no, old, Some(new));
            grew |= old.is_none_or(|old| old.count() < new.count());
        }
        let has = Arc::new(Has::new(addr, v, held));
        let peer = &mut self.peers[no];
        let old_places = std::mem::replace(&mut peer.places, places);
        peer.has = Arc::clone(&has);
        if grew {
            peer.grew = self.sweeps;
        }
        for (old, place) in before.held.iter().zip(old_places) {
            if has.place_of(old.file).is_none() {
                self.files.recount(old.file, no, Some(old), None);
                self.leave(old.file, place);
            }
        }
        let (less, more) = (before.held.len(), has.held.len());
        self.addresses
            .change(addr.ip(), |tally| tally.names = tally.names + more - less);
    }

    /// Who stood last among a file's holders stands where one has left.
    fn leave(&mut self, file: FileNo, place: u32) {
        if let Some(moved) = self.files.leave(file, place) {
            let moved = &mut self.peers[moved];
            if let Some(at) = moved.has.place_of(file) {
                moved.places[at] = place;
            }
        }
    }

    pub(super) fn remove(&mut self, no: PeerNo) {
        self.hold(no, Vec::new());
        if let Some(peer) = self.peers.remove(no) {
            self.by_key.remove(&self.reach.key(peer.addr));
            self.addresses
                .change(peer.addr.ip(), |tally| tally.peers -= 1);
            self.all.swap_remove(peer.at as usize);
            if let Some(moved) = self.all.get(peer.at as usize) {
                self.peers[*moved].at = peer.at;
            }
        }
    }

    /// A new peer, which has nothing yet.
    pub(super) fn insert(&mut self, addr: SocketAddr, v: Option<u32>) {
        let no = self.peers.insert(Peer {
            addr,
            v,
            seen: self.sweeps,
            grew: self.sweeps,
            at: self.all.len() as u32,
            has: Arc::new(Has::new(addr, v, Vec::new())),
            places: Vec::new(),
        });
        self.by_key.insert(self.reach.key(addr), no);
        self.all.push(no);
        self.addresses.change(addr.ip(), |tally| tally.peers += 1);
    }
}
