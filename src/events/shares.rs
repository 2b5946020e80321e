//! Who gave how much to whom: the rows of a report, and its table.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::millis;
use crate::picker::PeerNo;
use crate::report::{bytes, plural};
use crate::state::{Exchanged, Held, State};

/// The most rows that are printed; those of who exchanged most.
const ROWS: usize = 10;

/// Letters of the shortest first column: room for what stands below it.
const NARROW: usize = 13;

/// What came from, and went to, one peer.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// Where it listens.
    pub peer: SocketAddr,
    /// The smallest round trip seen, milliseconds.
    pub latency_ms: Option<f64>,
    /// Requests that it was sent, in this run.
    pub asked: u64,
    /// Pieces that came from it, in this run.
    pub pieces: u64,
    /// Bytes that came from it, in this run.
    pub got: u64,
    /// Its part in all that came, from 0 to 1.
    pub share: f64,
    /// Bytes that went to it, in this run.
    pub gave: u64,
}

/// What came from each peer, and went to it; also of those that have left. Who exchanged most comes first.
pub(super) fn shares(state: &State, held: &Held) -> Vec<Share> {
    let all: u64 = held.exchanged.values().map(|with| with.got).sum();
    let mut shares: BTreeMap<SocketAddr, Share> = BTreeMap::new();
    for (no, with) in &held.exchanged {
        let Some((peer, latency)) = who(state, *no, with) else {
            continue;
        };
        // who left and came back has two numbers
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

fn who(state: &State, no: PeerNo, with: &Exchanged) -> Option<(SocketAddr, Option<Duration>)> {
    let here = state.peers.get(&no);
    here.map(|peer| (peer.addr, peer.latency)).or(with.left)
}

/// Prints the shares, with the pieces that came of the requests that were made, each on a line of its own behind a line
/// break; nothing where there are none. What came has columns where something came.
pub(super) fn table(shares: &[Share], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let came = shares.iter().any(|share| share.got > 0);
    let (shown, others) = shares.split_at(shares.len().min(ROWS));
    let longest = shown.iter().map(|share| share.peer.to_string().len());
    let column = longest.max().unwrap_or(0).max(NARROW);
    let row = |f: &mut fmt::Formatter<'_>, [who, latency, pieces, got, share, gave]: [&str; 6]| {
        write!(f, "\n{who:column$} {latency:>7}")?;
        if came {
            write!(f, " {pieces:>9} {got:>10} {share:>5}")?;
        }
        write!(f, " {gave:>10}")
    };
    if !shown.is_empty() {
        row(f, ["peer", "latency", "got/asked", "in", "share", "out"])?;
    }
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    for share in shown {
        let latency = share.latency_ms.map(millis).unwrap_or_default();
        let who = share.peer.to_string();
        let pieces = format!("{}/{}", share.pieces, share.asked);
        let (got, gave, part) = (bytes(share.got), bytes(share.gave), percent(share.share));
        row(f, [&who, &latency, &pieces, &got, &part, &gave])?;
    }
    if !others.is_empty() {
        let sum = |of: fn(&Share) -> u64| others.iter().map(of).sum::<u64>();
        let part = percent(others.iter().map(|share| share.share).sum());
        let who = format!("and {}", plural(others.len(), "other"));
        let (pieces, asked) = (sum(|share| share.pieces), sum(|share| share.asked));
        let pieces = format!("{pieces}/{asked}");
        let (got, gave) = (
            bytes(sum(|share| share.got)),
            bytes(sum(|share| share.gave)),
        );
        row(f, [&who, "", &pieces, &got, &part, &gave])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(Vec<Share>);

    impl fmt::Display for Table {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            table(&self.0, f)
        }
    }

    fn share(host: u8, got: u64, gave: u64) -> Share {
        Share {
            peer: ([192, 168, 1, host], 50001).into(),
            latency_ms: (got > 0).then_some(0.42),
            asked: 12,
            pieces: got >> 20,
            got,
            share: 0.25,
            gave,
        }
    }

    #[test]
    fn a_table_is_short_and_narrow_and_has_columns_for_what_there_is() {
        assert_eq!(Table(Vec::new()).to_string(), "");
        let both = Table(vec![share(9, 1000 << 20, 1 << 20), share(10, 0, 5)]).to_string();
        assert_eq!(
            both,
            "
peer               latency got/asked         in share        out
192.168.1.9:50001  0.42 ms   1000/12 1000.0 MiB  25 %    1.0 MiB
192.168.1.10:50001              0/12    0 bytes  25 %    5 bytes"
        );
        let gave = Table(vec![share(9, 0, 3 << 30)]).to_string();
        assert_eq!(
            gave,
            "\npeer              latency        out\n192.168.1.9:50001            3.0 GiB"
        );
        let many = Table((0..30).map(|host| share(host, 1 << 20, 0)).collect()).to_string();
        assert_eq!(many.lines().count(), 1 + 1 + 10 + 1, "{many}");
        assert!(
            many.ends_with("and 20 others                20/240   20.0 MiB 500 %    0 bytes"),
            "{many}"
        );
        let width = |table: &str| table.lines().map(str::len).max();
        assert!(width(&many) <= Some(79 - 12), "{many}");
    }
}
