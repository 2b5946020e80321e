//! What a person may look at: who is there, how far each is, and who stands still. Pure.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Roster;
use super::has::{FileNo, Has};
use crate::protocol::Summary;

/// Some of the peers at one moment; it needs no lock any more.
pub struct Overview {
    /// How many there are in all.
    pub n_peers: usize,
    /// The first of them.
    pub rows: Vec<Row>,
    /// The largest of the published files that somebody has.
    pub files: Vec<Arc<Summary>>,
}

/// One peer.
pub struct Row {
    /// Where others find it.
    pub addr: SocketAddr,
    /// Whether it speaks the original's messages alone.
    pub original: bool,
    /// How many sweeps there were since its list had something new.
    pub still: u32,
    has: Arc<Has>,
}

impl Row {
    /// The files that it lists, with how many of their pieces it has, and how many there are. What was never published counts
    /// as one piece.
    pub fn files(&self) -> impl Iterator<Item = (&str, u32, u32)> {
        self.has.held.iter().map(|held| {
            let pieces = held.bits.as_ref().map(|bits| (bits.count(), bits.len()));
            let (n, of) = pieces.unwrap_or((1, 1));
            (&*held.name, n, of)
        })
    }
}

impl Roster {
    /// At most so many peers, with what they have, and at most so many files.
    pub fn overview(&self, peers: usize, files: usize) -> Overview {
        let record = |no: &FileNo| self.files[*no].record.as_ref();
        let mut live: Vec<&Arc<Summary>> = self.files.live.iter().filter_map(record).collect();
        let by_size = |file: &&Arc<Summary>| Reverse(file.size);
        if live.len() > files {
            live.select_nth_unstable_by_key(files, by_size);
            live.truncate(files);
        }
        live.sort_by_key(by_size);
        let some = self.all.iter().take(peers).map(|no| &self.peers[*no]);
        let rows = some.map(|peer| Row {
            addr: peer.has.addr,
            original: peer.has.v.is_none(),
            still: self.sweeps - peer.grew,
            has: Arc::clone(&peer.has),
        });
        Overview {
            n_peers: self.all.len(),
            rows: rows.collect(),
            files: live.into_iter().cloned().collect(),
        }
    }
}
