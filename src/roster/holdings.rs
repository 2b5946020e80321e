//! What one peer has, and its entry in an answer, kept ready.
//!
//! This module owns what a list says of each file. It never counts who else has it: that is [`super::files`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use super::limits::listed_as;
use crate::bitfield::Bitfield;
use crate::protocol::{PeerEntry, to_bytes};
use crate::torrent::piece_name;

/// The files that a peer lists, by name.
pub(super) type HeldFiles = BTreeMap<Arc<str>, Holding>;

/// Who a peer is and what it has. Answers share it, and need no lock to write it: a later list makes another.
pub(super) struct Holdings {
    pub(super) addr: SocketAddr,
    /// The version that it speaks; an original has none.
    pub(super) v: Option<u32>,
    pub(super) files: HeldFiles,
    /// Its entry in an answer of ours. The first answer that lists the peer writes it, and the others find it ready.
    json: OnceLock<PeerJson>,
}

/// A [`PeerEntry`] as it goes over the wire.
struct PeerJson {
    text: Box<[u8]>,
    /// The bytes before its names.
    head: usize,
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

    pub(super) fn has_piece(&self, idx: u32) -> bool {
        self.pieces.as_ref().is_some_and(|bits| bits.get(idx))
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
    pub(super) fn new(addr: SocketAddr, v: Option<u32>, files: HeldFiles) -> Self {
        let json = OnceLock::new();
        Self {
            addr,
            v,
            files,
            json,
        }
    }

    /// For a change: answers that share it keep what they have.
    pub(super) fn change(this: &mut Arc<Self>) -> &mut Self {
        if Arc::get_mut(this).is_none() {
            *this = Arc::new(Self::new(this.addr, this.v, this.files.clone()));
        }
        let own = Arc::get_mut(this).expect("nobody else has the new one");
        own.json.take();
        own
    }

    /// The files of which it has some pieces and lacks others.
    pub(super) fn in_part(&self) -> impl Iterator<Item = &Arc<str>> {
        let is_part = |held: &Holding| held.pieces.as_ref().is_some_and(|bits| !bits.is_full());
        let in_part = self.files.iter().filter(move |(_, held)| is_part(held));
        in_part.map(|(name, _)| name)
    }

    fn json(&self) -> &PeerJson {
        self.json.get_or_init(|| {
            let text = to_bytes(&self.entry());
            let names = text.iter().position(|byte| *byte == b'[');
            PeerJson {
                text: text.into(),
                head: names.map_or(0, |at| at + 1),
            }
        })
    }

    /// The peer's entry. An original's pieces go by their names, as it listed them.
    fn entry(&self) -> PeerEntry {
        let mut entry = self.bare_entry();
        let named = self.files.iter().filter(|(_, held)| held.named);
        entry.file_list = named.map(|(name, _)| name.to_string()).collect();
        for (name, held) in &self.files {
            let Some(pieces) = &held.pieces else { continue };
            match self.v {
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

    fn bare_entry(&self) -> PeerEntry {
        PeerEntry {
            ip: self.addr.ip().to_string(),
            port: self.addr.port(),
            v: self.v,
            file_list: Vec::new(),
            pieces: BTreeMap::new(),
        }
    }
}

/// A peer as an answer lists it.
pub(super) struct ListedPeer {
    /// Where the asker finds it.
    found_at: IpAddr,
    pub(super) holdings: Arc<Holdings>,
}

/// How an entry begins.
const BEGIN: &[u8] = br#"{"ip":""#;

impl ListedPeer {
    pub(super) fn new(holdings: &Arc<Holdings>, found_at: IpAddr) -> Self {
        Self {
            found_at,
            holdings: Arc::clone(holdings),
        }
    }

    /// About how many bytes its entry takes.
    pub(super) fn len(&self) -> usize {
        self.holdings.json().text.len()
    }

    /// Writes its entry.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.write_part(&self.holdings.json().text, out);
    }

    /// Writes its entry without any names.
    pub(super) fn write_bare(&self, out: &mut Vec<u8>) {
        self.write_part(&to_bytes(&self.holdings.bare_entry()), out);
    }

    /// Its entry up to its names, as originals know it.
    pub(super) fn head(&self) -> Vec<u8> {
        let json = self.holdings.json();
        let mut head = Vec::new();
        self.write_part(&json.text[..json.head], &mut head);
        head
    }

    /// Writes what is ready, with the address at which the asker finds the peer.
    fn write_part(&self, ready: &[u8], out: &mut Vec<u8>) {
        if self.found_at == self.holdings.addr.ip() {
            return out.extend_from_slice(ready);
        }
        let rest = &ready[BEGIN.len()..];
        let quote = rest.iter().position(|byte| *byte == b'"');
        out.extend_from_slice(BEGIN);
        out.extend_from_slice(self.found_at.to_string().as_bytes());
        out.extend_from_slice(&rest[quote.unwrap_or(0)..]);
    }
}
