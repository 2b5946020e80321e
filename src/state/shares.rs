//! How much each peer gave and took.

use std::net::SocketAddr;

use serde::Serialize;

use super::{Exchanged, Held, State};

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
        let share = |(peer, with): (&Option<SocketAddr>, &Exchanged)| {
            Some(Share {
                peer: (*peer)?,
                latency_ms: with.latency.map(|latency| latency.as_secs_f64() * 1e3),
                asked: with.asked,
                pieces: with.pieces,
                got: with.got,
                share: with.got as f64 / all.max(1) as f64,
                gave: with.gave,
            })
        };
        let mut shares: Vec<Share> = held.exchanged.iter().filter_map(share).collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.got + share.gave));
        shares
    }
}
