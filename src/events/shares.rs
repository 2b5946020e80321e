//! How much each peer gave and took, as a table in a report.

use std::fmt;

use super::millis;
use crate::state::Share;
use crate::units::{bytes, plural};

/// The most rows that are printed; they are of the peers that exchanged most.
const ROWS: usize = 10;

/// The least width of the first column: room for what stands below it.
const NARROW: usize = 13;

/// Prints the shares, each on a line of its own that begins with a line break, with the number of pieces that came of the
/// requests that were made; prints nothing if there are no shares. There are columns for latencies and received
/// pieces only if some were measured, and something came.
pub(super) fn table(shares: &[Share], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let came = shares.iter().any(|share| share.got > 0);
    let measured = shares.iter().any(|share| share.latency_ms.is_some());
    let (shown, others) = shares.split_at(shares.len().min(ROWS));
    let longest = shown.iter().map(|share| share.peer.to_string().len());
    let column = longest.max().unwrap_or(0).max(NARROW);
    let row = |f: &mut fmt::Formatter<'_>, [who, latency, pieces, got, share, gave]: [&str; 6]| {
        write!(f, "\n{who:column$}")?;
        if measured {
            write!(f, " {latency:>7}")?;
        }
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
    fn a_table_has_columns_for_what_there_is() {
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
            "\npeer                     out\n192.168.1.9:50001    3.0 GiB"
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
