//! Rate limits: `--max-up` and `--max-down`.
//!
//! There is one per direction and process, shared by all connections. Its lock is a leaf, held for a few additions.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::net::STRIDE;

/// How much may be saved up while nobody sends, as time at the full rate.
const BURST: Duration = Duration::from_millis(100);

/// What each of the connections that are served at once is to get, bytes per second: seven times what keeps it open. The
/// more are served at once, the later each has a whole piece to pass on.
const SHARE: u64 = 16 << 10;
/// The least number of connections that are served at once, so that one that takes little doesn't waste the rate.
const FEWEST: usize = 2;

/// Keeps the sum of everything that passes below a number of bytes per second.
pub struct Limit {
    /// Bytes per second.
    rate: f64,
    /// When everything that has passed so far will be due.
    due: Mutex<Instant>,
}

impl Limit {
    /// Creates a limit of `rate` bytes per second, at least 1.
    pub fn new(rate: u64) -> Self {
        Self {
            rate: rate.max(1) as f64,
            due: Mutex::new(Instant::now()),
        }
    }

    /// Returns how many bytes to pass at once: a twentieth of a second's worth, but at least a KiB.
    pub fn stride(limit: Option<&Self>) -> usize {
        limit.map_or(STRIDE, |limit| {
            ((limit.rate / 20.0) as usize).clamp(1024, STRIDE)
        })
    }

    /// Returns how many connections may be served at once at `rate` bytes per second.
    pub fn places(rate: u64) -> usize {
        usize::try_from(rate / SHARE).map_or(usize::MAX, |places| places.max(FEWEST))
    }

    /// Lets `bytes` pass: waits until they are due.
    pub fn pass(limit: Option<&Self>, bytes: usize) {
        if let Some(limit) = limit {
            thread::sleep(limit.wait(bytes, Instant::now()));
        }
    }

    /// Returns how long these bytes have to wait.
    fn wait(&self, bytes: usize, now: Instant) -> Duration {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        *due = (*due).max(earliest) + Duration::from_secs_f64(bytes as f64 / self.rate);
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_however_many_share_it() {
        for (rate, sharers) in [(3_000, 1), (100 << 10, 1), (1 << 20, 7), (200 << 20, 30)] {
            let limit = Limit::new(rate);
            let stride = Limit::stride(Some(&limit));
            let start = Instant::now() + Duration::from_secs(5);
            let end = start + Duration::from_secs(10);
            let mut ready = vec![start; sharers];
            let mut passed = 0;
            while let Some(next) = ready.iter_mut().min().filter(|next| **next < end) {
                *next += limit.wait(stride, *next);
                passed += if *next < end { stride as u64 } else { 0 };
            }
            let expected = rate * 10;
            let off = passed.abs_diff(expected);
            assert!(
                off * 20 <= expected,
                "{rate} bytes/s: {passed} passed in 10 s"
            );
        }
    }
}
