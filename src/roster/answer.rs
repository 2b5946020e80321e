//! The answer to a ping of ours: put together under the lock from what is ready, and written after it. Pure.

use std::sync::Arc;

use rand::Rng;

use super::files::FileList;
use super::has::Told;
use super::sample::PEERS_LISTED;
use super::{Ends, LIST_ROOM, Reach, Roster};
use crate::protocol::{Coming, VERSION, to_bytes};
use crate::torrent::Name;

/// A [`crate::protocol::SwarmList`] that is still in pieces.
pub struct Answer {
    local: bool,
    /// How many others there are, where not all are listed.
    n_peers: Option<usize>,
    peers: Vec<Told>,
    files: Arc<FileList>,
    /// Whether the asker knows the files.
    known: bool,
    coming: Vec<Coming>,
}

impl Roster {
    /// The answer to a ping of ours: others than the asker, and the files that somebody has. `wants` are files that the
    /// asker lacks; without any, it is asked for what the asker has in part, or else for everything. `edition` is that of the
    /// files that the asker was told of last: these aren't told again.
    pub fn swarm_list(
        &mut self,
        asker: Ends,
        port: u16,
        wants: &[Name],
        edition: Option<u64>,
        rng: &mut impl Rng,
    ) -> Answer {
        let own = self.find(asker, port, Some(VERSION));
        let n_others = self.n_others(own);
        let wants = wants
            .iter()
            .filter_map(|name| self.files.find(name.as_str()));
        let wanted = self.wanted(own, wants.collect(), rng);
        let chosen = self.sample(PEERS_LISTED, own, &wanted, rng, |_| true);
        let files = self.file_list(asker, rng);
        let coming = self.coming(asker, own, rng);
        let told = chosen.iter().map(|no| Told::new(&self.peers[*no], asker));
        Answer {
            local: self.reach == Reach::Local,
            n_peers: (n_others > PEERS_LISTED).then_some(n_others),
            peers: told.collect(),
            known: edition == Some(files.edition),
            files,
            coming,
        }
    }
}

impl Answer {
    /// As it goes over the wire: at most what a client reads. A peer whose names don't fit is listed without.
    pub fn to_bytes(&self) -> Vec<u8> {
        let files = if self.known { b"" } else { self.files.text() };
        let coming = match self.coming.is_empty() {
            true => Vec::new(),
            false => to_bytes(&self.coming),
        };
        let mut room = LIST_ROOM.saturating_sub(files.len() + coming.len());
        let entries = self.peers.iter().map(|told| told.len() + 50);
        let len = entries.sum::<usize>().min(LIST_ROOM) + files.len() + coming.len() + 150;
        let mut out = Vec::with_capacity(len);
        let n_peers = self.n_peers.map(|n| format!("\"n_peers\":{n},"));
        let (local, n_peers) = (self.local, n_peers.unwrap_or_default());
        let edition = self.files.edition;
        let head = format!(
            "{{\"v\":{VERSION},\"local\":{local},\"edition\":{edition},{n_peers}\"peers\":["
        );
        out.extend_from_slice(head.as_bytes());
        for (nth, told) in self.peers.iter().enumerate() {
            out.extend_from_slice(if nth == 0 { b"" } else { b"," });
            match room.checked_sub(told.len()) {
                Some(left) => {
                    room = left;
                    told.write(&mut out);
                }
                None => {
                    told.write_bare(&mut out);
                }
            }
        }
        out.extend_from_slice(b"]");
        if !self.known {
            out.extend_from_slice(b",\"torrents\":[");
            out.extend_from_slice(files);
            out.extend_from_slice(b"]");
        }
        if !coming.is_empty() {
            out.extend_from_slice(b",\"coming\":");
            out.extend_from_slice(&coming);
        }
        out.extend_from_slice(b"}");
        out
    }
}
