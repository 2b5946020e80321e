//! What one peer has, and its entry in an answer.
//!
//! This module owns what a list says of each file. It never counts who else has it: that is [`super::files`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::limits::listed_as;
use crate::bitfield::Bitfield;
use crate::protocol::PeerEntry;
use crate::torrent::piece_name;

/// The files that a peer lists, by name.
pub(super) type HeldFiles = BTreeMap<Arc<str>, Holding>;

/// Who a peer is and what it has. Answers share it, and need no lock to write it: a later list makes another.
#[derive(Clone)]
pub(super) struct Holdings {
    pub(super) addr: SocketAddr,
    /// The version that it speaks; an original has none.
    pub(super) v: Option<u32>,
    pub(super) files: HeldFiles,
}

/// What a peer has of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Holding {
    /// Whether it lists the file's own name: a whole file in one piece, or a name that the tracker knows nothing about.
    pub(super) named: bool,
    /// The pieces that it has of a published file in several pieces: at least one, and as many bits as the record has pieces.
    pub(super) pieces: Option<Bitfield>,
}

impl Holding {
    /// All of a file in `n_pieces` pieces; 0 stands for a file in one piece.
    pub(super) fn whole(n_pieces: u32) -> Self {
        Self {
            named: n_pieces == 0,
            pieces: (n_pieces > 0).then(|| Bitfield::full(n_pieces)),
        }
    }

    /// How much of it the peer has: more is progress.
    pub(super) fn count(&self) -> u32 {
        u32::from(self.named) + self.pieces.as_ref().map_or(0, Bitfield::count)
    }

    /// How many names it counts as.
    pub(super) fn counted(&self) -> usize {
        listed_as(self.pieces.as_ref().map_or(0, Bitfield::len))
    }

    /// Whether it has this piece, or its own name.
    pub(super) fn has(&self, piece: Option<u32>) -> bool {
        let bits = self.pieces.as_ref();
        piece.map_or(self.named, |idx| bits.is_some_and(|bits| bits.get(idx)))
    }

    pub(super) fn pieces_mut(&mut self, n_pieces: u32) -> &mut Bitfield {
        self.pieces.get_or_insert_with(|| Bitfield::new(n_pieces))
    }
}

/// Returns how many names these files count as.
pub(super) fn counted(files: &HeldFiles) -> usize {
    files.values().map(Holding::counted).sum()
}

impl Holdings {
    /// The files of which it has some pieces and lacks others.
    pub(super) fn in_part(&self) -> impl Iterator<Item = &Arc<str>> {
        let is_part = |held: &Holding| held.pieces.as_ref().is_some_and(|bits| !bits.is_full());
        let in_part = self.files.iter().filter(move |(_, held)| is_part(held));
        in_part.map(|(name, _)| name)
    }
}

/// A peer as an answer lists it.
pub(super) struct ListedPeer {
    /// Where the asker finds it.
    found_at: IpAddr,
    pub(super) holdings: Arc<Holdings>,
}

impl ListedPeer {
    pub(super) fn new(holdings: &Arc<Holdings>, found_at: IpAddr) -> Self {
        Self {
            found_at,
            holdings: Arc::clone(holdings),
        }
    }

    /// About how many bytes its entry takes.
    pub(super) fn len_hint(&self) -> usize {
        let len = |(name, held): (&Arc<str>, &Holding)| match &held.pieces {
            None => name.len() + 3,
            Some(pieces) if self.holdings.v.is_some() => name.len() + pieces.len() as usize / 4,
            Some(pieces) => pieces.count() as usize * (name.len() + 12),
        };
        100 + self.holdings.files.iter().map(len).sum::<usize>()
    }

    /// Its entry. An original's pieces go by their names, as it listed them.
    pub(super) fn entry(&self) -> PeerEntry {
        let mut entry = self.bare_entry();
        let files = &self.holdings.files;
        let named = files.iter().filter(|(_, held)| held.named);
        entry.file_list = named.map(|(name, _)| name.to_string()).collect();
        for (name, held) in files {
            let Some(pieces) = &held.pieces else { continue };
            match self.holdings.v {
                None => {
                    let names = pieces.iter().map(|idx| piece_name(name, idx));
                    entry.file_list.extend(names);
                }
                Some(_) if pieces.is_full() => entry.file_list.push(name.to_string()),
                Some(_) => drop(entry.pieces.insert(name.to_string(), pieces.to_hex())),
            }
        }
        entry
    }

    /// Its entry without any names.
    pub(super) fn bare_entry(&self) -> PeerEntry {
        PeerEntry {
            ip: self.found_at.to_string(),
            port: self.holdings.addr.port(),
            v: self.holdings.v,
            file_list: Vec::new(),
            pieces: BTreeMap::new(),
        }
    }
}
