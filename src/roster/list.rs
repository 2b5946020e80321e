//! What a peer's list means, by the files that are published.
//!
//! This module understands a list. It never changes who has what: that is [`super::changes`].

use std::sync::Arc;

use super::files::FileIndex;
use super::holdings::{HeldFiles, Holding};
use super::limits::LONGEST_NAME;
use crate::bitfield::Bitfield;
use crate::protocol::PeerList;
use crate::torrent::Name;

impl PeerList {
    /// How many names it has.
    pub(super) fn n_names(&self) -> usize {
        self.files.len() + self.pieces.len()
    }
}

impl FileIndex {
    /// What a list of a peer of ours, or of an original's, says of each file. Digits that don't fit the published file are left
    /// out, and so are names that no file has.
    pub(super) fn understand(&self, list: &PeerList, ours: bool) -> HeldFiles {
        let mut held = HeldFiles::new();
        for (name, digits) in &list.pieces {
            self.understand_digits(name, digits, &mut held);
        }
        for name in &list.files {
            self.understand_name(name, ours, &mut held);
        }
        held
    }

    /// Takes digits of a published file. They count only where they fit it, and name a piece.
    fn understand_digits(&self, name: &str, digits: &str, held: &mut HeldFiles) {
        let Some(record) = self.record(name) else {
            return;
        };
        let bits = Bitfield::from_hex(digits, record.n_pieces);
        let Some(bits) = bits.filter(|bits| !bits.is_empty()) else {
            return;
        };
        let holding = held.entry(self.intern(name)).or_default();
        match self.n_pieces(name) {
            0 => holding.named = true,
            n_pieces => holding.pieces_mut(n_pieces).set_all(&bits),
        }
    }

    /// Takes a name: of a whole file, or of an original's piece of a published one.
    fn understand_name(&self, name: &str, ours: bool, held: &mut HeldFiles) {
        if let Some((file, idx)) = Name::parse_piece(name) {
            let n_pieces = self.n_pieces(file.as_str());
            if idx < n_pieces {
                let holding = held.entry(self.intern(file.as_str())).or_default();
                holding.pieces_mut(n_pieces).set(idx);
                return;
            }
        }
        if name.len() > LONGEST_NAME {
            return;
        }
        let name: Arc<str> = self.intern(name);
        let n_pieces = self.n_pieces(&name);
        let holding = held.entry(name).or_default();
        match ours && n_pieces > 0 {
            true => *holding.pieces_mut(n_pieces) = Bitfield::full(n_pieces),
            false => holding.named = true,
        }
    }

    /// What somebody has of a file that was published after it was listed; nothing where the listed pieces are of another cut.
    pub(super) fn understand_anew(
        &self,
        name: &str,
        listed: Holding,
        ours: bool,
    ) -> Option<Holding> {
        let n_pieces = self.n_pieces(name);
        // what a peer of ours listed before it was published is the file
        if listed.named && ours {
            return Some(Holding::whole(n_pieces));
        }
        let Holding { named, pieces } = listed;
        let pieces = pieces.filter(|bits| bits.len() == n_pieces);
        (named || pieces.is_some()).then_some(Holding { named, pieces })
    }
}
