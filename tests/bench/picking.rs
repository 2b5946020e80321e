//! The picker alone: a download of 1,024 pieces from peers that have everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bittorrentish::bitfield::Bitfield;
use bittorrentish::picker::{Picker, Route};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::support::torrent_of;
use super::{median, rounds};

const PIECES: u32 = 1024;

pub fn run() {
    let torrent = torrent_of("f", &vec![0; PIECES as usize * (64 << 10)]);
    let name = torrent.name().clone();
    for n_peers in [1, 4, 8, 16, 40] {
        let micros = (0..rounds()).map(|round| {
            let mut rng = StdRng::seed_from_u64(round as u64);
            let mut picker = Picker::default();
            picker.want(&torrent, &Bitfield::new(PIECES), &BTreeMap::new());
            for peer in 0..n_peers {
                picker.peer_has(peer, &name, 0..PIECES);
                let latency = Duration::from_millis(1);
                picker.open(
                    peer,
                    Route {
                        latency,
                        one_at_a_time: false,
                        subnet: None,
                    },
                );
            }
            let mut landed = 0;
            let start = Instant::now();
            let mut orders: Vec<_> = picker.next_requests(start, &mut rng);
            while let Some(order) = orders.pop() {
                let Some(idx) = order.get.pieces.first() else {
                    continue;
                };
                picker.answered(order.peer, order.get.n, Some(*idx), start);
                orders.extend(picker.next_requests(start, &mut rng));
                picker.landed(&name, *idx);
                landed += 1;
            }
            assert_eq!(landed, PIECES, "every piece, once");
            start.elapsed().as_secs_f64() * 1e6 / f64::from(PIECES)
        });
        println!(
            "  {n_peers:2} peers  {:6.1} µs a piece",
            median(micros.collect())
        );
    }
}
