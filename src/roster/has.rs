//! What one peer has, ready to be sent. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Ends;
use crate::bitfield::Bitfield;
use crate::protocol::{PeerEntry, to_bytes};
use crate::torrent::piece_name;

/// A peer's number, while it is here.
pub(super) type PeerNo = u32;
/// A file's number, while somebody lists it or it is published.
pub(super) type FileNo = u32;

/// A peer.
///
/// Invariant: `places` goes with `has.held`: where this peer stands among each file's holders.
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    pub(super) v: Option<u32>,
    /// The sweep before which it was heard of last.
    pub(super) seen: u32,
    /// The sweep before which it had something new last.
    pub(super) grew: u32,
    /// Its place among all.
    pub(super) at: u32,
    pub(super) has: Arc<Has>,
    pub(super) places: Vec<u32>,
}

/// What a peer has. It doesn't change: the next list makes another. So who answers takes it along, and needs no lock.
pub(super) struct Has {
    /// By the files' numbers.
    pub(super) held: Vec<Held>,
    /// Its place in an answer of ours, as it goes over the wire.
    pub(super) entry: Box<[u8]>,
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
    /// and an original's pieces.
    pub(super) bits: Option<Bitfield>,
}

impl Has {
    pub(super) fn new(addr: SocketAddr, v: Option<u32>, held: Vec<Held>) -> Self {
        let entry: Box<[u8]> = to_bytes(&entry(addr, v, &held)).into();
        let names = entry.iter().position(|byte| *byte == b'[');
        let head = names.map_or(0, |at| at + 1);
        Self { held, entry, head }
    }

    pub(super) fn of(&self, file: FileNo) -> Option<&Held> {
        Some(&self.held[self.place_of(file)?])
    }

    pub(super) fn place_of(&self, file: FileNo) -> Option<usize> {
        self.held.binary_search_by_key(&file, |held| held.file).ok()
    }

    /// The pieces of each file that it has in part.
    pub(super) fn in_part(&self) -> impl Iterator<Item = &Held> {
        let in_part = |held: &&Held| held.bits.as_ref().is_some_and(|bits| !bits.is_full());
        self.held.iter().filter(in_part)
    }
}

/// A peer as the asker finds it.
pub(super) struct Told {
    addr: SocketAddr,
    found_at: IpAddr,
    v: Option<u32>,
    pub(super) has: Arc<Has>,
}

/// How an entry begins.
const BEGIN: &[u8] = br#"{"ip":""#;

impl Told {
    pub(super) fn new(peer: &Peer, asker: Ends) -> Self {
        Self {
            addr: peer.addr,
            found_at: asker.finds(peer.addr.ip()),
            v: peer.v,
            has: Arc::clone(&peer.has),
        }
    }

    /// Writes its entry.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.write_part(&self.has.entry, out);
    }

    /// Writes its entry without any names.
    pub(super) fn write_bare(&self, out: &mut Vec<u8>) {
        self.write_part(&to_bytes(&entry(self.addr, self.v, &[])), out);
    }

    /// Its entry up to its names, as originals know it, with room for some.
    pub(super) fn head(&self, room: usize) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.has.head + room);
        self.write_part(&self.has.entry[..self.has.head], &mut head);
        head
    }

    /// Writes what is ready, with the address by which the asker finds it.
    fn write_part(&self, ready: &[u8], out: &mut Vec<u8>) {
        if self.found_at == self.addr.ip() {
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
}

/// A peer's place in an answer of ours: an original's pieces go by their names, as it listed them.
fn entry(addr: SocketAddr, v: Option<u32>, held: &[Held]) -> PeerEntry {
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
