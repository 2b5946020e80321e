//! What one peer has, and how an answer of ours tells it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::bitfield::Bitfield;
use crate::protocol::{PeerEntry, Summary};
use crate::torrent::Name;

/// Invariant: a bitfield in `pieces` has its record's length and at least one piece. Of a published file in several pieces,
/// ours have a bitfield there, and an original has one of those that it listed by the names of pieces.
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    pub(super) v: Option<u32>,
    /// Names of whole files, and all names that mean nothing to the tracker.
    pub(super) files: BTreeSet<String>,
    pub(super) pieces: BTreeMap<Name, Bitfield>,
    /// Whether it was heard of since the last sweep.
    pub(super) seen: bool,
}

impl Peer {
    pub(super) fn new(addr: SocketAddr, v: Option<u32>) -> Self {
        let (files, pieces, seen) = (BTreeSet::new(), BTreeMap::new(), true);
        Self {
            addr,
            v,
            files,
            pieces,
            seen,
        }
    }

    pub(super) fn add_digits(&mut self, record: &Summary, digits: &str) {
        let bits = Bitfield::from_hex(digits, record.n_pieces);
        match bits.filter(|bits| !bits.is_empty()) {
            Some(bits) if bits.is_full() => self.add_whole(record),
            Some(bits) => drop(self.pieces.insert(record.name.clone(), bits)),
            None => {}
        }
    }

    pub(super) fn add_piece(&mut self, record: &Summary, idx: u32) {
        let bits = self.pieces.entry(record.name.clone());
        bits.or_insert_with(|| Bitfield::new(record.n_pieces))
            .set(idx);
    }

    pub(super) fn add_whole(&mut self, record: &Summary) {
        if record.n_pieces > 1 {
            let all = Bitfield::full(record.n_pieces);
            self.pieces.insert(record.name.clone(), all);
        } else {
            self.files.insert(record.name.as_str().to_owned());
        }
    }

    /// Whether it has a piece of this file.
    pub(super) fn holds(&self, name: &Name) -> bool {
        self.files.contains(name.as_str()) || self.pieces.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().map(String::as_str);
        files.chain(self.pieces.keys().map(Name::as_str))
    }

    pub(super) fn has_any(&self) -> bool {
        !self.files.is_empty() || !self.pieces.is_empty()
    }

    /// The most bytes that its names and digits take in an answer.
    pub(super) fn len(&self) -> usize {
        let of_bits = |(name, bits): (&Name, &Bitfield)| match self.v {
            Some(_) => json_len(name.as_str()) + bits.len() as usize / 4 + 6,
            None => bits.count() as usize * (json_len(name.as_str()) + 15),
        };
        let of_files = self.files.iter().map(|file| json_len(file));
        of_files.sum::<usize>() + self.pieces.iter().map(of_bits).sum::<usize>()
    }

    pub(super) fn bare_entry(&self, ip: IpAddr) -> PeerEntry {
        PeerEntry {
            ip: ip.to_string(),
            port: self.addr.port(),
            v: self.v,
            file_list: Vec::new(),
            pieces: BTreeMap::new(),
        }
    }

    /// Its place in an answer of ours: an original's pieces go by their names, as it listed them.
    pub(super) fn entry(&self, ip: IpAddr) -> PeerEntry {
        let mut entry = self.bare_entry(ip);
        entry.file_list.extend(self.files.iter().cloned());
        for (name, bits) in &self.pieces {
            let file = name.as_str().to_owned();
            match self.v {
                Some(_) if bits.is_full() => entry.file_list.push(file),
                Some(_) => drop(entry.pieces.insert(file, bits.to_hex())),
                None => entry
                    .file_list
                    .extend(bits.iter().map(|idx| name.of_piece(idx))),
            }
        }
        entry
    }
}

/// The most bytes that a string takes in JSON, with a comma.
pub(super) fn json_len(text: &str) -> usize {
    let len = |byte| match byte {
        b'"' | b'\\' => 2,
        0..b' ' => 6,
        _ => 1,
    };
    text.bytes().map(len).sum::<usize>() + 3
}
