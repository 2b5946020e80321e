//! What a person may look at: who is there, how far each is, and who stands still. Pure.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Roster;
use super::holdings::Holdings;
use crate::protocol::Summary;

/// Some of the peers at one moment; it needs no lock any more.
pub struct SwarmOverview {
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
    holdings: Arc<Holdings>,
}

impl Row {
    /// The files that it lists, with how many of their pieces it has, and how many there are. What was never published counts
    /// as one piece.
    pub fn files(&self) -> impl Iterator<Item = (&str, u32, u32)> {
        self.holdings.files.iter().map(|(name, held)| {
            let pieces = held.pieces.as_ref();
            let (n, of) = pieces.map_or((1, 1), |bits| (bits.count(), bits.len()));
            (&**name, n, of)
        })
    }
}

impl Roster {
    /// At most so many peers, with what they have, and at most so many files.
    pub fn overview(&self, peers: usize, files: usize) -> SwarmOverview {
        let record = |name: &Arc<str>| self.files.record(name);
        let mut live: Vec<&Arc<Summary>> = self.files.live().iter().filter_map(record).collect();
        let by_size = |file: &&Arc<Summary>| Reverse(file.size);
        if live.len() > files {
            live.select_nth_unstable_by_key(files, by_size);
            live.truncate(files);
        }
        live.sort_by_key(by_size);
        let some = self.everyone.as_slice().iter().take(peers);
        let some = some.filter_map(|key| self.peers.get(key));
        let rows = some.map(|peer| Row {
            addr: peer.holdings.addr,
            original: !peer.is_ours(),
            still: self.sweeps - peer.last_grew,
            holdings: Arc::clone(&peer.holdings),
        });
        SwarmOverview {
            n_peers: self.n_peers(),
            rows: rows.collect(),
            files: live.into_iter().cloned().collect(),
        }
    }
}
