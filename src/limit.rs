//! A rate that is held: `--max-up` and `--max-down`.
//!
//! One per direction and process, shared by all connections. Its lock is a leaf, and held for a few additions.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::net::STRIDE;

/// What may have been saved up while nobody sent, as time at the full rate.
const BURST: Duration = Duration::from_millis(100);

/// Holds the sum of all that passes at so many bytes a second.
pub struct Limit {
    /// Bytes a second.
    rate: f64,
    /// When all that passed so far will have been due.
    due: Mutex<Instant>,
}

impl Limit {
    /// At most `rate` bytes a second, at least 1.
    pub fn new(rate: u64) -> Self {
        Self {
            rate: rate.max(1) as f64,
            due: Mutex::new(Instant::now()),
        }
    }

    /// How many bytes to pass at once: no more than a twentieth of a second of them.
    pub fn stride(limit: Option<&Self>) -> usize {
        limit.map_or(STRIDE, |limit| {
            ((limit.rate / 20.0) as usize).clamp(1024, STRIDE)
        })
    }

    /// Lets `bytes` pass: waits until they are due.
    pub fn pass(&self, bytes: usize) {
        let now = Instant::now();
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = (*due).max(now - BURST) + Duration::from_secs_f64(bytes as f64 / self.rate);
        let wait = due.saturating_duration_since(now);
        drop(due);
        thread::sleep(wait);
    }
}
