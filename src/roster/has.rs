//! What one peer has, ready to be sent. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use super::folder::Folder;
use super::{Ends, NAME_WORK};
use crate::bitfield::Bitfield;
use crate::protocol::{PeerEntry, to_bytes};
use crate::torrent::piece_name;

/// A peer's number, while it is here.
pub(super) type PeerNo = u32;
/// A file's number, while somebody lists it or it is published.
pub(super) type FileNo = u32;
/// The number of a list that came.
pub(super) type ListNo = u64;

/// A peer.
///
/// Invariant: `places` goes with `has.held`: where this peer stands among each file's holders.
pub(super) struct Peer {
    /// The sweep before which it was heard of last.
    pub(super) seen: u32,
    /// The sweep before which it had something new last.
    pub(super) grew: u32,
    /// Its place among all.
    pub(super) at: u32,
    /// Its last list.
    pub(super) list: ListNo,
    pub(super) has: Arc<Has>,
    pub(super) places: Vec<u32>,
    /// The files of its folder that don't, or don't yet, stand in the swarm.
    pub(super) folder: Folder,
}

/// Who a peer is and what it has. It doesn't change: the next list makes another. So who answers takes it along, and needs no
/// lock.
pub(super) struct Has {
    pub(super) addr: SocketAddr,
    pub(super) v: Option<u32>,
    /// By the files' numbers.
    pub(super) held: Vec<Arc<Held>>,
    /// Written by the first who tells of it, without a lock, and kept ready for the others.
    entry: OnceLock<Entry>,
}

/// A peer's place in an answer of ours, as it goes over the wire.
struct Entry {
    text: Box<[u8]>,
    /// Bytes of it before its names.
    head: usize,
}

/// One file in a peer's list.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) file: FileNo,
    pub(super) name: Arc<str>,
    /// Whether it goes by its own name: a whole file, or a name that means nothing to the tracker.
    pub(super) named: bool,
    /// The pieces of a published file that has several: at least one, as many bits as the record says. Ours are listed so,
    /// and an original's pieces. A file in another cut has another number.
    pub(super) bits: Option<Bitfield>,
    /// The list that it was on last.
    pub(super) list: ListNo,
}

/// What one entry of a list says of a file.
pub(super) enum Said {
    /// It goes by its own name.
    Name,
    /// One piece, by its name.
    Piece(u32),
    /// Pieces, in digits or as a whole.
    Pieces(Bitfield),
}

impl Has {
    pub(super) fn new(addr: SocketAddr, v: Option<u32>, held: Vec<Arc<Held>>) -> Self {
        Self {
            addr,
            v,
            held,
            entry: OnceLock::new(),
        }
    }

    fn entry(&self) -> &Entry {
        self.entry.get_or_init(|| {
            let text = to_bytes(&entry(self.addr, self.v, &self.held));
            let names = text.iter().position(|byte| *byte == b'[');
            Entry {
                text: text.into(),
                head: names.map_or(0, |at| at + 1),
            }
        })
    }

    pub(super) fn of(&self, file: FileNo) -> Option<&Held> {
        Some(&self.held[self.place_of(file)?])
    }

    pub(super) fn place_of(&self, file: FileNo) -> Option<usize> {
        self.held.binary_search_by_key(&file, |held| held.file).ok()
    }

    /// The pieces of each file that it has in part.
    pub(super) fn in_part(&self) -> impl Iterator<Item = &Arc<Held>> {
        let in_part = |held: &&Arc<Held>| held.bits.as_ref().is_some_and(|bits| !bits.is_full());
        self.held.iter().filter(in_part)
    }
}

/// A peer as the asker finds it.
pub(super) struct Told {
    found_at: IpAddr,
    pub(super) has: Arc<Has>,
}

/// How an entry begins.
const BEGIN: &[u8] = br#"{"ip":""#;

impl Told {
    pub(super) fn new(peer: &Peer, asker: Ends) -> Self {
        Self {
            found_at: asker.finds(peer.has.addr.ip()),
            has: Arc::clone(&peer.has),
        }
    }

    /// About how many bytes its entry takes.
    pub(super) fn len(&self) -> usize {
        self.has.entry().text.len()
    }

    /// Writes its entry.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.write_part(&self.has.entry().text, out);
    }

    /// Writes its entry without any names.
    pub(super) fn write_bare(&self, out: &mut Vec<u8>) {
        self.write_part(&to_bytes(&entry(self.has.addr, self.has.v, &[])), out);
    }

    /// Its entry up to its names, as originals know it, with room for some.
    pub(super) fn head(&self, room: usize) -> Vec<u8> {
        let entry = self.has.entry();
        let mut head = Vec::with_capacity(entry.head + room);
        self.write_part(&entry.text[..entry.head], &mut head);
        head
    }

    /// Writes what is ready, with the address by which the asker finds it.
    fn write_part(&self, ready: &[u8], out: &mut Vec<u8>) {
        if self.found_at == self.has.addr.ip() {
            return out.extend_from_slice(ready);
        }
        let rest = &ready[BEGIN.len()..];
        let quote = rest.iter().position(|byte| *byte == b'"');
        out.extend_from_slice(BEGIN);
        out.extend_from_slice(self.found_at.to_string().as_bytes());
        out.extend_from_slice(&rest[quote.unwrap_or(0)..]);
    }
}

impl Held {
    /// How much of it the peer has: more is news.
    pub(super) fn count(&self) -> u32 {
        u32::from(self.named) + self.bits.as_ref().map_or(0, Bitfield::count)
    }

    /// How much work it is to note it, as [`super::WORK_AT_ONCE`] counts.
    pub(super) fn work(&self) -> usize {
        NAME_WORK + self.bits.as_ref().map_or(0, |bits| bits.len() as usize)
    }

    /// This is listed of it, too.
    pub(super) fn add(&mut self, said: Said, n_pieces: u32) {
        match said {
            Said::Name => self.named = true,
            Said::Piece(idx) => drop(self.bits_of(n_pieces).set(idx)),
            Said::Pieces(some) => self.bits_of(n_pieces).set_all(&some),
        }
    }

    fn bits_of(&mut self, n_pieces: u32) -> &mut Bitfield {
        self.bits.get_or_insert_with(|| Bitfield::new(n_pieces))
    }

    /// And all that was listed of it before.
    pub(super) fn join(&mut self, before: &Self) {
        self.named |= before.named;
        match (&mut self.bits, &before.bits) {
            (Some(bits), Some(before)) => bits.set_all(before),
            (None, before) => self.bits = before.clone(),
            (Some(_), None) => {}
        }
    }
}

/// A peer's place in an answer of ours: an original's pieces go by their names, as it listed them.
fn entry(addr: SocketAddr, v: Option<u32>, held: &[Arc<Held>]) -> PeerEntry {
    let mut file_list: Vec<String> = Vec::new();
    file_list.extend(
        held.iter()
            .filter(|it| it.named)
            .map(|it| it.name.to_string()),
    );
    file_list.sort_unstable();
    let mut pieces = BTreeMap::new();
    for (name, bits) in held
        .iter()
        .filter_map(|it| Some((&it.name, it.bits.as_ref()?)))
    {
        match v {
            Some(_) if bits.is_full() => file_list.push(name.to_string()),
            Some(_) => drop(pieces.insert(name.to_string(), bits.to_hex())),
            None => file_list.extend(bits.iter().map(|idx| piece_name(name, idx))),
        }
    }
    PeerEntry {
        ip: addr.ip().to_string(),
        port: addr.port(),
        v,
        file_list,
        pieces,
    }
}
