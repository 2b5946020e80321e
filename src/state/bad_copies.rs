//! What a bad piece proves about which peer, and which peers are asked for it again.

use std::net::SocketAddr;
use std::sync::Arc;

use super::State;
use crate::causes::Lost;
use crate::picker::PeerId;
use crate::torrent::{BadPiece, Name, Torrent};

/// How often a peer is asked for a piece that it sends wrong, if no other peer has it.
const RETRIES: usize = 3;

/// What a bad piece proves.
#[derive(Debug, PartialEq, Eq)]
pub enum BadPieceVerdict {
    /// Nothing but that this copy is bad.
    BadCopy,
    /// The publisher's own bytes fail its own list, even after it has read them once more.
    PublisherIsFaulty,
}

impl State {
    /// Takes note of a piece of this download that came and is wrong.
    pub fn failed(
        &mut self,
        peer: PeerId,
        torrent: &Arc<Torrent>,
        idx: u32,
        bad: BadPiece,
    ) -> BadPieceVerdict {
        if !self.goes_on_beyond(torrent) {
            return BadPieceVerdict::BadCopy;
        }
        let name = torrent.name();
        self.picker.dropped(peer, name, idx);
        if let Some(known) = self.peers.get_mut(&peer) {
            known.trouble = Some(Lost::BadPiece { idx });
        }
        let publishes = self.publishes(peer, name);
        let Some(held) = self.files.get_mut(name) else {
            return BadPieceVerdict::BadCopy;
        };
        // a piece that is cut short says nothing about the list, and is more often an original's lost connection than a
        // lie
        if matches!(bad, BadPiece::Length { .. }) {
            self.picker.peer_lacks(peer, name, idx);
            return BadPieceVerdict::BadCopy;
        }
        let senders = held.bad.entry(idx).or_default();
        senders.push(peer);
        let times = senders.iter().filter(|sender| **sender == peer).count();
        // the publisher is asked once more, and reads the piece from its disk again
        if publishes && times == 1 {
            return BadPieceVerdict::BadCopy;
        }
        self.picker.peer_lacks(peer, name, idx);
        if publishes && times == 2 {
            BadPieceVerdict::PublisherIsFaulty
        } else {
            BadPieceVerdict::BadCopy
        }
    }

    /// Whether this peer published the content that stands under the name, by the tracker's word.
    pub(super) fn publishes(&self, peer: PeerId, name: &Name) -> bool {
        let addr = self.peers.get(&peer).map(|peer| peer.addr);
        let listed = self.swarm.get(name).filter(|listed| listed.here);
        let publisher = listed.and_then(|listed| listed.publisher.parse().ok());
        publisher.is_some() && publisher == addr
    }

    /// Returns the pieces of which only bad copies came, with the peers that sent these; of each file, only the pieces
    /// that no other peer has.
    pub fn without_good_copy(&self) -> Vec<(&Name, u32, Vec<SocketAddr>)> {
        let mut found = Vec::new();
        for (name, held) in &self.files {
            let nowhere = self.picker.nowhere(name);
            for idx in nowhere.iter().filter(|idx| held.bad.contains_key(idx)) {
                let mut tried: Vec<SocketAddr> = held.bad[idx]
                    .iter()
                    .filter_map(|peer| Some(self.peers.get(peer)?.addr))
                    .collect();
                tried.sort();
                tried.dedup();
                found.push((name, *idx, tried));
            }
        }
        found
    }

    /// Gives the senders of bad pieces another chance if no other peer has the piece: a bit may have been lost on the
    /// way.
    pub fn retry_bad_pieces(&mut self) {
        let State {
            files,
            picker,
            peers,
            ..
        } = self;
        for (name, held) in files {
            for idx in picker.nowhere(name) {
                for peer in held.bad.get(&idx).into_iter().flatten() {
                    let times = held.bad[&idx].iter().filter(|sender| *sender == peer);
                    if times.count() < RETRIES && peers.contains_key(peer) {
                        picker.peer_has(*peer, name, [idx]);
                    }
                }
            }
        }
    }

    /// Takes note that a piece is right here, as this peer sent it: every other peer that sent another content of it was wrong.
    pub(super) fn blame_for(&mut self, name: &Name, idx: u32, by: PeerId) {
        let held = self.files.get_mut(name);
        let guilty = held.and_then(|held| held.bad.remove(&idx));
        let others = guilty.into_iter().flatten().filter(|peer| *peer != by);
        for peer in others {
            if let Some(known) = self.peers.get_mut(&peer) {
                known.strikes += 1;
            }
        }
    }
}
