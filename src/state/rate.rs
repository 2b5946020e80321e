//! The recent speed of something. Pure: the time is a parameter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::State;

/// The mean is over this time: short enough to follow a changing network, long enough that the time left doesn't jump.
const WINDOW: Duration = Duration::from_secs(20);
/// At the start it is over at least this time, as the first bytes say little.
const LEAST: Duration = Duration::from_secs(1);

/// Bytes, second by second.
#[derive(Default)]
pub struct Rate {
    first: Option<Instant>,
    /// The bytes of each second since the first note that is still kept, the oldest first.
    seconds: VecDeque<(u64, u64)>,
}

impl Rate {
    /// Notes that `bytes` came at `now`.
    pub fn note(&mut self, bytes: u64, now: Instant) {
        let since = now.saturating_duration_since(*self.first.get_or_insert(now));
        let second = since.as_secs();
        match self.seconds.back_mut() {
            Some((last, sum)) if *last == second => *sum += bytes,
            _ => self.seconds.push_back((second, bytes)),
        }
        let oldest = second.saturating_sub(WINDOW.as_secs());
        while self.seconds.front().is_some_and(|(at, _)| *at < oldest) {
            self.seconds.pop_front();
        }
    }

    /// Returns bytes per second over the last [`WINDOW`], or since the first note if that is more recent.
    pub fn per_second(&self, now: Instant) -> f64 {
        let Some(first) = self.first else {
            return 0.0;
        };
        let since = now.saturating_duration_since(first);
        let from = since.saturating_sub(WINDOW).as_secs();
        let lately = self.seconds.iter().filter(|(at, _)| *at >= from);
        let bytes: u64 = lately.map(|(_, bytes)| bytes).sum();
        bytes as f64 / (since - Duration::from_secs(from)).max(LEAST).as_secs_f64()
    }
}

impl State {
    /// Returns the recent speed of verified bytes that came, and of bytes that were sent, per second.
    pub fn speeds(&self, now: Instant) -> (f64, f64) {
        let parts = self.files().values().filter(|held| held.stamp.is_none());
        let down = parts.map(|held| held.down.per_second(now)).sum();
        let up = self.files().values().map(|held| held.up.per_second(now));
        (down, up.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(at(0.0)), 0.0);
        rate.note(500, at(0.0));
        assert_eq!(rate.per_second(at(0.1)), 500.0, "over a second at least");
        for tick in 1..400 {
            rate.note(100, at(f64::from(tick) / 10.0));
        }
        let steady = rate.per_second(at(40.0));
        assert!((steady - 1000.0).abs() < 1.0, "{steady}");
        assert!(rate.seconds.len() <= 22, "{}", rate.seconds.len());
        let later = rate.per_second(at(50.0));
        assert!((later - 500.0).abs() < 1.0, "half of the window: {later}");
        assert_eq!(rate.per_second(at(70.0)), 0.0, "nothing came lately");
    }
}
