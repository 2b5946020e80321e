//! How much each peer gave and took.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Exchanged, Held, State};
use crate::picker::PeerId;

/// What came from one peer, and what was sent to it.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// Where it listens.
    pub peer: SocketAddr,
    /// The smallest round trip seen, milliseconds.
    pub latency_ms: Option<f64>,
    /// Requests that were sent to it, in this run.
    pub asked: u64,
    /// Pieces that came from it, in this run.
    pub pieces: u64,
    /// Bytes that came from it, in this run.
    pub got: u64,
    /// Its share of everything that came, from 0 to 1.
    pub share: f64,
    /// Bytes that were sent to it, in this run.
    pub gave: u64,
}

impl State {
    /// Returns how many requests this peer made in this run.
    pub fn n_requests(&self) -> u64 {
        self.picker.n_requests()
    }

    /// Returns what came from each peer and was sent to it, including peers that have left. Those that exchanged most
    /// come first.
    pub fn shares(&self, held: &Held) -> Vec<Share> {
        let all: u64 = held.exchanged.values().map(|with| with.got).sum();
        let mut shares: BTreeMap<SocketAddr, Share> = BTreeMap::new();
        for (id, with) in &held.exchanged {
            let Some((peer, latency)) = self.who(*id, with) else {
                continue;
            };
            // a peer that left and came back has two numbers
            let share = shares.entry(peer).or_insert(Share {
                peer,
                latency_ms: None,
                asked: 0,
                pieces: 0,
                got: 0,
                share: 0.0,
                gave: 0,
            });
            let latency_ms = latency.map(|latency| latency.as_secs_f64() * 1e3);
            share.latency_ms = latency_ms.or(share.latency_ms);
            share.asked += with.asked;
            share.pieces += with.pieces;
            share.got += with.got;
            share.gave += with.gave;
            share.share = share.got as f64 / all.max(1) as f64;
        }
        let mut shares: Vec<Share> = shares.into_values().collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.got + share.gave));
        shares
    }

    fn who(&self, id: PeerId, with: &Exchanged) -> Option<(SocketAddr, Option<Duration>)> {
        let here = self.peers.get(&id);
        here.map(|peer| (peer.addr, peer.latency)).or(with.left)
    }
}
