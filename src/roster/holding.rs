//! What each peer holds: how a list is understood, and what changes with it. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::folder::Folder;
use super::has::{FileNo, Has, Held, ListNo, Peer, PeerNo, Said};
use super::{
    Ends, Joined, LONGEST_LISTED, NAME_WORK, NAMES_PER_ADDRESS, NAMES_PER_LIST, Refusal, Roster,
    WORK_AT_ONCE,
};
use crate::bitfield::Bitfield;
use crate::torrent::Name;

/// A list on its way in, see [`Roster::list_on`].
pub struct Listing {
    /// Whose it is.
    pub joined: Joined,
    from: Ends,
    port: u16,
    v: Option<u32>,
    /// Not understood yet.
    names: Vec<String>,
    /// Likewise.
    digits: Vec<(String, String)>,
    no: ListNo,
    pub(super) folder: Folder,
}

/// What a peer has of some files from now on, if anything.
pub(super) type Changes = BTreeMap<FileNo, Option<Held>>;

impl Listing {
    pub(super) fn v(&self) -> Option<u32> {
        self.v
    }
}

impl Roster {
    /// Takes a peer's list in the place of its last. Digits that don't fit the published file are left out, and so are names
    /// that no file has.
    ///
    /// # Errors
    /// As [`Roster::append_client`]; where the list is too long, by itself or with those of the other peers at its address.
    pub fn set_list(
        &mut self,
        from: Ends,
        port: u16,
        v: Option<u32>,
        names: Vec<String>,
        digits: BTreeMap<String, String>,
    ) -> Result<Joined, Refusal> {
        let mut listing = self.begin_list(from, port, v, names, digits)?;
        while self.list_on(&mut listing) {}
        Ok(listing.joined)
    }

    /// Begins to take a list, which [`Roster::list_on`] goes on with.
    ///
    /// # Errors
    /// As [`Roster::set_list`].
    pub fn begin_list(
        &mut self,
        from: Ends,
        port: u16,
        v: Option<u32>,
        names: Vec<String>,
        digits: BTreeMap<String, String>,
    ) -> Result<Listing, Refusal> {
        let n_names = names.len() + digits.len();
        if n_names > NAMES_PER_LIST {
            return Err(Refusal::Names(n_names));
        }
        let ip = from.addr_of(port, v).ip();
        let own = self.find(from, port, v).map(|no| &self.peers[no]);
        let own = own.filter(|own| own.has.addr.ip() == ip);
        let own = own.map_or(0, |own| own.has.held.len());
        let beside = self.addresses.tally(ip).names.saturating_sub(own);
        if !ip.is_loopback() && n_names + beside > NAMES_PER_ADDRESS {
            return Err(Refusal::NamesOf(ip));
        }
        let joined = self.append_client(from, port, v)?;
        self.lists += 1;
        if let Some(no) = self.find(from, port, v) {
            self.peers[no].list = self.lists;
        }
        Ok(Listing {
            joined,
            from,
            port,
            v,
            names,
            digits: digits.into_iter().collect(),
            no: self.lists,
            folder: Folder::default(),
        })
    }

    /// A known peer comes from another address, or is another program, for which the list of the one before doesn't hold: a
    /// long one is forgotten first, bit by bit each time that it is heard of.
    pub(super) fn moves(&mut self, no: PeerNo, addr: SocketAddr, v: Option<u32>) {
        if self.peers[no].has.v != v && !self.forget(no, &mut { WORK_AT_ONCE }) {
            return;
        }
        if self.peers[no].has.v != v {
            self.set_folder(no, Folder::default());
        }
        let has = &mut self.peers[no].has;
        let (before, held) = (has.addr, has.held.clone());
        let (n_names, in_folder) = (held.len(), self.peers[no].folder.len());
        let has = &mut self.peers[no].has;
        *has = Arc::new(Has::new(addr, v, held));
        self.addresses.change(before.ip(), |tally| {
            tally.peers -= 1;
            tally.names -= n_names;
            tally.in_folders -= in_folder;
        });
        self.addresses.change(addr.ip(), |tally| {
            tally.peers += 1;
            tally.names += n_names;
            tally.in_folders += in_folder;
        });
        self.retell_others(no);
    }

    /// Understands some more of a list; once all of it is, forgets some more of what isn't on it. Whether there is more to do.
    pub fn list_on(&mut self, listing: &mut Listing) -> bool {
        let no = self.find(listing.from, listing.port, listing.v);
        let Some(no) = no.filter(|no| self.peers[*no].list == listing.no) else {
            return false; // it was swept meanwhile, or lists something else
        };
        let has = Arc::clone(&self.peers[no].has);
        if has.v != listing.v {
            self.moves(no, listing.joined.addr, listing.v);
            return true;
        }
        let mut room = WORK_AT_ONCE;
        let mut changes = Changes::new();
        for (file, mut held) in self.understand(listing, &mut room) {
            held.list = listing.no;
            if let Some(had) = has.of(file).filter(|had| had.list == listing.no) {
                held.join(had); // an original's other pieces
            }
            changes.insert(file, Some(held));
        }
        let understood = listing.names.is_empty() && listing.digits.is_empty();
        let mut others = has.held.iter().filter(|had| had.list != listing.no);
        let all = understood && forget_some(&mut others, &mut room, &mut changes);
        drop(has);
        self.change(no, changes);
        if all {
            let folder = std::mem::take(&mut listing.folder);
            self.set_folder(no, folder);
        }
        !all
    }

    /// Forgets what a peer has, as far as there is room for the work. Whether that is all of it.
    fn forget(&mut self, no: PeerNo, room: &mut usize) -> bool {
        let has = Arc::clone(&self.peers[no].has);
        let mut changes = Changes::new();
        let all = forget_some(&mut has.held.iter(), room, &mut changes);
        drop(has);
        self.change(no, changes);
        all
    }

    /// A peer goes, where there is room for the work; otherwise it forgets some of what it has.
    pub(super) fn go(&mut self, no: PeerNo, room: &mut usize) -> Option<Peer> {
        let has = Arc::clone(&self.peers[no].has);
        let mut held = has.held.iter();
        let Some(left) = held.try_fold(*room, |left, held| left.checked_sub(held.work())) else {
            drop(has);
            self.forget(no, room);
            return None;
        };
        *room = left;
        self.set_folder(no, Folder::default());
        let peer = self.peers.remove(no)?;
        for (held, place) in has.held.iter().zip(&peer.places) {
            self.files.recount(held.file, no, Some(held), None);
            self.leave(held.file, *place);
        }
        self.by_key.remove(&self.reach.key(has.addr));
        has.held
            .iter()
            .for_each(|held| self.see_publisher(held.file, Some(has.addr)));
        self.addresses.change(has.addr.ip(), |tally| {
            tally.peers -= 1;
            tally.names -= has.held.len();
        });
        self.all.swap_remove(peer.at as usize);
        if let Some(moved) = self.all.get(peer.at as usize) {
            self.peers[*moved].at = peer.at;
        }
        Some(peer)
    }

    /// What some more of a list says, by the records.
    fn understand(&mut self, listing: &mut Listing, room: &mut usize) -> BTreeMap<FileNo, Held> {
        let mut understood = BTreeMap::new();
        while *room > 0 {
            *room = room.saturating_sub(NAME_WORK);
            let said = if let Some((name, digits)) = listing.digits.pop() {
                self.in_part(&name, &digits)
            } else if let Some(name) = listing.names.pop() {
                self.named(&name, listing.v.is_some())
            } else {
                break;
            };
            let Some((no, said)) = said else { continue };
            let n_pieces = self.files[no].counts.n_pieces();
            let new = || {
                *room = room.saturating_sub(n_pieces as usize);
                self.files.none(no)
            };
            let held: &mut Held = understood.entry(no).or_insert_with(new);
            held.add(said, n_pieces);
        }
        understood
    }

    /// Digits of a published file; none where they aren't of it, or of no piece.
    fn in_part(&self, name: &str, digits: &str) -> Option<(FileNo, Said)> {
        let no = self.files.find(name)?;
        let n_pieces = self.files[no].record.as_ref()?.n_pieces;
        let bits = Bitfield::from_hex(digits, n_pieces).filter(|bits| !bits.is_empty())?;
        let several = self.files[no].counts.n_pieces() > 0;
        let pieces = several.then_some(Said::Pieces(bits));
        Some((no, pieces.unwrap_or(Said::Name)))
    }

    /// A whole file, or an original's piece of a published one; none where no file has such a name.
    fn named(&mut self, name: &str, ours: bool) -> Option<(FileNo, Said)> {
        let n_pieces = |no: FileNo| self.files[no].counts.n_pieces();
        let piece = Name::parse_piece(name)
            .and_then(|(file, idx)| Some((self.files.find(file.as_str())?, idx)));
        if let Some((no, idx)) = piece.filter(|(no, idx)| *idx < n_pieces(*no)) {
            return Some((no, Said::Piece(idx)));
        }
        let no = (name.len() <= LONGEST_LISTED).then(|| self.files.intern(name))?;
        Some(match self.files[no].counts.n_pieces() {
            n_pieces @ 1.. if ours => (no, Said::Pieces(Bitfield::full(n_pieces))),
            _ => (no, Said::Name),
        })
    }

    /// A peer has something else of some files, or nothing any more.
    pub(super) fn change(&mut self, no: PeerNo, changes: Changes) {
        let peer = &mut self.peers[no];
        let (addr, v) = (peer.has.addr, peer.has.v);
        // unless somebody is being told of it, it needn't be copied
        let own = Arc::get_mut(&mut peer.has).map(|has| std::mem::take(&mut has.held));
        let before = own.unwrap_or_else(|| peer.has.held.clone());
        let (less, most) = (before.len(), before.len() + changes.len());
        let places = std::mem::take(&mut peer.places);
        let mut olds = before.into_iter().zip(places).peekable();
        let (mut held, mut places) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let (mut gone, mut grew) = (Vec::new(), false);
        let files: Vec<FileNo> = changes.keys().copied().collect();
        for (file, new) in changes {
            while let Some((kept, place)) = olds.next_if(|(old, _)| old.file < file) {
                held.push(kept);
                places.push(place);
            }
            let old = olds.next_if(|(old, _)| old.file == file);
            let Some(new) = new else {
                gone.extend(old);
                continue;
            };
            let (old, place) = old.unzip();
            places.push(place.unwrap_or_else(|| self.files.join(file, no)));
            self.files.recount(file, no, old.as_deref(), Some(&new));
            grew |= old.is_none_or(|old| old.count() < new.count());
            held.push(Arc::new(new));
        }
        for (kept, place) in olds {
            held.push(kept);
            places.push(place);
        }
        let more = held.len();
        held.shrink_to_fit();
        places.shrink_to_fit();
        let peer = &mut self.peers[no];
        peer.has = Arc::new(Has::new(addr, v, held));
        peer.places = places;
        if grew {
            peer.grew = self.sweeps;
        }
        for (old, place) in gone {
            self.files.recount(old.file, no, Some(&old), None);
            self.leave(old.file, place);
        }
        self.addresses.change(addr.ip(), |tally| {
            tally.names = tally.names + more - less;
        });
        files
            .into_iter()
            .for_each(|file| self.see_publisher(file, Some(addr)));
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

    /// A new peer, which has nothing yet.
    pub(super) fn insert(&mut self, addr: SocketAddr, v: Option<u32>) {
        let no = self.peers.insert(Peer {
            seen: self.sweeps,
            grew: self.sweeps,
            at: self.all.len() as u32,
            list: 0,
            has: Arc::new(Has::new(addr, v, Vec::new())),
            places: Vec::new(),
            folder: Folder::default(),
        });
        self.by_key.insert(self.reach.key(addr), no);
        self.all.push(no);
        self.addresses.change(addr.ip(), |tally| tally.peers += 1);
    }
}

/// Has these forgotten, but for what is kept otherwise, as far as there is room for the work. Whether that is all of them.
fn forget_some<'a>(
    had: &mut impl Iterator<Item = &'a Arc<Held>>,
    room: &mut usize,
    changes: &mut Changes,
) -> bool {
    while *room > 0 {
        let Some(had) = had.next() else { return true };
        *room = room.saturating_sub(had.work());
        changes.entry(had.file).or_default();
    }
    had.next().is_none()
}
