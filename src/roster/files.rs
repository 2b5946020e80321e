//! Every name that is listed or published: who has it, how rare its pieces are, and the list of files ready to be sent.
//!
//! This module owns the index of files. It never looks at a peer beyond its key, and decides nothing about contents.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use rand::{Rng, RngExt};

use super::address::{Endpoints, PeerKey};
use super::draw_set::DrawSet;
use super::holdings::Holding;
use super::piece_counts::PieceCounts;
use crate::bitfield::Bitfield;
use crate::protocol::{LIST_CAP, Summary, to_bytes};
use crate::torrent::Name;

/// Bytes of files in one answer of ours: half of what a client reads.
const FILES_ROOM: usize = LIST_CAP / 2;
/// How many holders of a file's rarest pieces are remembered: those that listed last.
pub(super) const RARE_KEPT: usize = 16;
/// Lists of files that are kept ready: one for each address of this machine at which peers reach it, of which it has few.
const LISTS_READY: usize = 8;
/// Editions are below this: programs in other languages know whole numbers up to here.
const EDITIONS: u64 = 1 << 53;

/// One name.
#[derive(Default)]
pub(super) struct SharedFile {
    /// What is published under it.
    pub(super) record: Option<Arc<Summary>>,
    /// Who published that.
    pub(super) publisher: Publisher,
    /// The peers that list it.
    pub(super) holders: DrawSet<PeerKey>,
    /// How many peers have each piece, where it is published in several pieces.
    pub(super) counts: PieceCounts,
    /// Some of those who had one of the rarest pieces when they listed.
    pub(super) rare: Vec<PeerKey>,
}

/// The publisher of a record.
#[derive(Clone, Default)]
pub(super) struct Publisher {
    /// It is never told to anybody. A record that was made anew from a received copy has none: then nobody counts as its
    /// publisher.
    pub(super) key: Option<String>,
    /// Where somebody with the same key published later, while the publisher was here: a copied folder, or the publisher
    /// itself, started again before its first address was swept.
    pub(super) second: Option<SocketAddr>,
    /// The address against whose limit the record counts.
    pub(super) counts_for: Option<IpAddr>,
    /// Whether the record came from the disk and wasn't published in this run.
    pub(super) loaded: bool,
}

impl SharedFile {
    /// Returns true if answers tell of it: it is published, and somebody has it.
    pub(super) fn is_live(&self) -> bool {
        self.record.is_some() && !self.holders.is_empty()
    }

    /// Where the publisher was when it published last, as the record has it.
    pub(super) fn publisher_addr(&self) -> Option<SocketAddr> {
        self.record.as_ref()?.publisher.parse().ok()
    }

    /// Remembers a peer with these pieces if one of them is among the rarest, and forgets it otherwise.
    fn note_rare(&mut self, key: PeerKey, pieces: Option<&Bitfield>) {
        self.rare.retain(|other| *other != key);
        if pieces.is_some_and(|pieces| self.counts.are_rarest(pieces)) {
            if self.rare.len() >= RARE_KEPT {
                self.rare.remove(0);
            }
            self.rare.push(key);
        }
    }
}

/// Invariant: a name is here while it has a record or a holder, and in `live` while it has both.
#[derive(Default)]
pub(super) struct FileIndex {
    by_name: HashMap<Arc<str>, SharedFile>,
    live: DrawSet<Arc<str>>,
    /// The live files as answers tell of them, until one of them changes.
    ready: Vec<Arc<LiveFiles>>,
}

impl FileIndex {
    pub(super) fn get(&self, name: &str) -> Option<&SharedFile> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut SharedFile> {
        self.by_name.get_mut(name)
    }

    /// What is published under a name.
    pub(super) fn record(&self, name: &str) -> Option<&Arc<Summary>> {
        self.get(name)?.record.as_ref()
    }

    pub(super) fn publisher_mut(&mut self, name: &str) -> Option<&mut Publisher> {
        Some(&mut self.get_mut(name)?.publisher)
    }

    /// The pieces of a file that is published in several; 0 of every other name.
    pub(super) fn n_pieces(&self, name: &str) -> u32 {
        self.get(name).map_or(0, |file| file.counts.n_pieces())
    }

    /// The name, shared with everybody else who lists it.
    pub(super) fn intern(&self, name: &str) -> Arc<str> {
        let known = self.by_name.get_key_value(name);
        known.map_or_else(|| name.into(), |(known, _)| Arc::clone(known))
    }

    /// Those of these names that somebody lists, or that are published.
    pub(super) fn known(&self, names: &[Name]) -> Vec<Arc<str>> {
        let known = |name: &Name| self.by_name.get_key_value(name.as_str());
        let known = names.iter().filter_map(known);
        known.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// The files that are published and that somebody has.
    pub(super) fn live(&self) -> &[Arc<str>] {
        self.live.as_slice()
    }

    /// A peer has `new` of a file where it had `old` before.
    pub(super) fn replace(
        &mut self,
        name: &Arc<str>,
        key: PeerKey,
        old: Option<&Holding>,
        new: Option<&Holding>,
    ) {
        let file = self.by_name.entry(Arc::clone(name)).or_default();
        let n_before = file.holders.len();
        match new {
            Some(_) => file.holders.insert(key),
            None => file.holders.remove(&key),
        };
        let [old, new] = [old, new].map(|held| held.and_then(|held| held.pieces.as_ref()));
        file.counts.replace(old, new);
        file.note_rare(key, new);
        let n_now = file.holders.len();
        if (n_before == 0) != (n_now == 0) {
            self.settle(name);
        }
    }

    /// Notes whether a peer that lists the same of a file as before has one of the rarest pieces by now.
    pub(super) fn note_rare(&mut self, name: &str, key: PeerKey, held: &Holding) {
        if let (Some(file), Some(pieces)) = (self.by_name.get_mut(name), &held.pieces) {
            file.note_rare(key, Some(pieces));
        }
    }

    /// Publishes a record under a name of which nobody has anything.
    pub(super) fn set_record(&mut self, name: &Arc<str>, record: Summary, publisher: Publisher) {
        let file = self.by_name.entry(Arc::clone(name)).or_default();
        file.publisher = publisher;
        file.counts = match record.n_pieces {
            ..2 => PieceCounts::default(),
            n_pieces => PieceCounts::new(n_pieces),
        };
        file.record = Some(Arc::new(record));
        self.settle(name);
    }

    /// Forgets what is published under a name of which nobody has anything.
    pub(super) fn forget_record(&mut self, name: &Arc<str>) {
        if let Some(file) = self.by_name.get_mut(name) {
            *file = SharedFile::default();
        }
        self.settle(name);
    }

    /// Changes what is told of a file's record.
    pub(super) fn change_record(&mut self, name: &str, change: impl FnOnce(&mut Summary)) {
        let file = self.by_name.get_mut(name);
        if let Some(record) = file.and_then(|file| file.record.as_mut()) {
            change(Arc::make_mut(record));
            self.list_anew(name);
        }
    }

    /// What is told of this name has changed, so the lists that are ready are out of date.
    pub(super) fn list_anew(&mut self, name: &str) {
        if self.get(name).is_some_and(SharedFile::is_live) {
            self.ready.clear();
        }
    }

    /// Keeps the invariant after a file's record, or its first or last holder, came or went.
    fn settle(&mut self, name: &Arc<str>) {
        let Some(file) = self.by_name.get(name) else {
            return;
        };
        let changed = match file.is_live() {
            true => self.live.insert(Arc::clone(name)),
            false => self.live.remove(name),
        };
        if changed {
            self.ready.clear();
        }
        if file.record.is_none() && file.holders.is_empty() {
            self.by_name.remove(name);
        }
    }

    /// The list that is ready for this asker.
    pub(super) fn ready(&self, asker: Endpoints) -> Option<Arc<LiveFiles>> {
        let mut ready = self.ready.iter();
        ready.find(|list| list.asker.finds_as(asker)).cloned()
    }

    /// Makes the list of these files ready for this asker.
    pub(super) fn make_ready(
        &mut self,
        files: Vec<Arc<Summary>>,
        asker: Endpoints,
        rng: &mut impl Rng,
    ) -> Arc<LiveFiles> {
        if self.ready.len() >= LISTS_READY {
            self.ready.clear();
        }
        let ready = Arc::new(LiveFiles {
            edition: rng.random_range(..EDITIONS),
            files,
            asker,
            text: OnceLock::new(),
        });
        self.ready.push(Arc::clone(&ready));
        ready
    }
}

/// The live files of one moment, as this asker is told of them, and others that find the peers where it does.
pub struct LiveFiles {
    /// A random number: whoever names it knows this very list.
    pub(super) edition: u64,
    files: Vec<Arc<Summary>>,
    asker: Endpoints,
    /// The first answer with this list writes it, without a lock.
    text: OnceLock<Box<[u8]>>,
}

impl LiveFiles {
    /// The end of an answer.
    pub fn text(&self) -> &[u8] {
        self.text.get_or_init(|| {
            let mut text = b",\"torrents\":[".to_vec();
            let (first, mut all_fit) = (text.len(), true);
            for record in &self.files {
                let begin = text.len();
                text.extend_from_slice(if begin == first { b"" } else { b"," });
                text.extend_from_slice(&to_bytes(&summary_for(record, self.asker)));
                if text.len() > FILES_ROOM {
                    text.truncate(begin);
                    all_fit = false;
                }
            }
            let end = match all_fit {
                true => "]}".to_owned(),
                // whoever wants all must not take these for all
                false => format!("],\"n_files\":{}}}", self.files.len()),
            };
            text.extend_from_slice(end.as_bytes());
            text.into()
        })
    }
}

/// A record as the asker is told of it: with addresses at which the asker finds the peers.
pub fn summary_for(record: &Summary, asker: Endpoints) -> Summary {
    let mut summary = record.clone();
    let found = |text: &str| {
        let addr: SocketAddr = text.parse().ok()?;
        let found = asker.finds(addr.ip(), addr.ip().is_loopback());
        Some(SocketAddr::new(found, addr.port()).to_string())
    };
    let others = summary.others.iter_mut().map(|other| &mut other.peer);
    for addr in others.chain([&mut summary.publisher]) {
        if let Some(found) = found(addr) {
            *addr = found;
        }
    }
    summary
}
