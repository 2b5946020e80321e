//! The answer to a ping of ours, put together under the lock from what is ready, and written without it.
//!
//! This module owns how the answer is written. Who is on it is decided in [`super::Roster::swarm_list`].

use std::sync::Arc;
use std::time::Duration;

use super::files::LiveFiles;
use super::holdings::ListedPeer;
use crate::protocol::{Coming, VERSION, to_bytes};

/// Bytes of peers' names in one answer. The lists of thirty peers with 10,000 files have several times as many, and each of
/// the thirty pings every ten seconds; what is left out, peers tell each other.
const NAMES_ROOM: usize = 2 << 20;

/// A [`crate::protocol::SwarmList`] that isn't written yet.
pub struct SwarmAnswer {
    /// Whether the tracker serves this machine alone.
    pub(super) local: bool,
    /// How many others there are, where not all are listed.
    pub(super) n_peers: Option<usize>,
    pub(super) peers: Vec<ListedPeer>,
    pub(super) files: Arc<LiveFiles>,
    /// The edition of the list of files that the asker knows: that list isn't sent again.
    pub(super) known_edition: Option<u64>,
    pub(super) coming: Vec<Coming>,
}

impl SwarmAnswer {
    /// The list of files, where the asker doesn't know it: the end of the answer.
    pub fn new_files(&self) -> Option<Arc<LiveFiles>> {
        let knows = self.known_edition == Some(self.files.edition);
        (!knows).then(|| Arc::clone(&self.files))
    }

    /// About how many bytes it takes up to the list of files.
    pub fn len_hint(&self) -> usize {
        let peers: usize = self.peers.iter().map(ListedPeer::len_hint).sum();
        peers.min(NAMES_ROOM) + 150 * (1 + self.coming.len())
    }

    /// Writes the whole answer of a tracker that sweeps every `sweep_every`.
    pub fn to_bytes(&self, sweep_every: Duration) -> Vec<u8> {
        let mut out = self.beginning(sweep_every, usize::MAX);
        if let Some(files) = self.new_files() {
            out.extend_from_slice(files.text());
        }
        out
    }

    /// Writes the answer up to the list of files. With that it has fewer bytes than a client reads, and at most `room` bytes of
    /// peers' names: a peer whose names don't fit is listed without them.
    pub fn beginning(&self, sweep_every: Duration, room: usize) -> Vec<u8> {
        let files = self.new_files();
        let coming = match self.coming.is_empty() {
            true => Vec::new(),
            false => to_bytes(&self.coming),
        };
        let room = room.min(NAMES_ROOM);
        let mut out = Vec::with_capacity(room.min(self.len_hint()));
        let n_peers = self.n_peers.map(|n| format!("\"n_peers\":{n},"));
        let (local, n_peers) = (self.local, n_peers.unwrap_or_default());
        let (edition, sweep_every) = (self.files.edition, sweep_every.as_secs_f64());
        let head = format!(
            "{{\"v\":{VERSION},\"local\":{local},\"edition\":{edition},{n_peers}\"sweep_every\":{sweep_every:?},\"peers\":["
        );
        out.extend_from_slice(head.as_bytes());
        self.write_peers(room, &mut out);
        out.extend_from_slice(b"]");
        if !coming.is_empty() {
            out.extend_from_slice(b",\"coming\":");
            out.extend_from_slice(&coming);
        }
        if files.is_none() {
            out.extend_from_slice(b"}");
        }
        out
    }

    fn write_peers(&self, mut room: usize, out: &mut Vec<u8>) {
        for (nth, peer) in self.peers.iter().enumerate() {
            out.extend_from_slice(if nth == 0 { b"" } else { b"," });
            // one that is too long needn't be made to find that out
            let entry = (peer.len_hint() <= room).then(|| to_bytes(&peer.entry()));
            let entry = entry.filter(|entry| entry.len() <= room);
            room -= entry.as_ref().map_or(0, Vec::len);
            let entry = entry.unwrap_or_else(|| to_bytes(&peer.bare_entry()));
            out.extend_from_slice(&entry);
        }
    }
}
