//! The recent speed of something. Pure: the time is a parameter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::State;

/// The mean is over this time: short enough to follow a changing network, long enough that the time left doesn't jump.
const WINDOW: Duration = Duration::from_secs(20);
/// At the start it is over at least this time, as the first bytes say little.
const LEAST: Duration = Duration::from_secs(1);
/// The best mean is over this many whole seconds: what a link can carry, and not one of its bursts.
const BEST: u64 = 5;
/// With fewer notes than these in that time the mean says little: a note is a whole piece.
const BEST_NOTES: u32 = 10;

/// Bytes, second by second.
#[derive(Default)]
pub struct Rate {
    first: Option<Instant>,
    /// Each second since the first note that is still kept, the oldest first.
    seconds: VecDeque<NotedSecond>,
    /// Bytes per second of the best [`BEST`] seconds so far.
    best: f64,
}

/// What was noted in one second.
struct NotedSecond {
    /// Which second since the first note.
    at: u64,
    bytes: u64,
    notes: u32,
}

impl Rate {
    /// Notes that `bytes` came at `now`.
    pub fn note(&mut self, bytes: u64, now: Instant) {
        let since = now.saturating_duration_since(*self.first.get_or_insert(now));
        let second = since.as_secs();
        match self.seconds.back_mut() {
            Some(last) if last.at == second => {
                last.bytes += bytes;
                last.notes += 1;
            }
            _ => {
                self.note_best(second);
                let (at, notes) = (second, 1);
                self.seconds.push_back(NotedSecond { at, bytes, notes });
            }
        }
        let oldest = second.saturating_sub(WINDOW.as_secs());
        while self.seconds.front().is_some_and(|one| one.at < oldest) {
            self.seconds.pop_front();
        }
    }

    /// Compares the whole seconds before this one with the best ones.
    fn note_best(&mut self, second: u64) {
        let Some(from) = second.checked_sub(BEST) else {
            return;
        };
        let lately = self.seconds.iter().filter(|one| one.at >= from);
        let notes: u32 = lately.clone().map(|one| one.notes).sum();
        if notes >= BEST_NOTES {
            let bytes: u64 = lately.map(|one| one.bytes).sum();
            self.best = self.best.max(bytes as f64 / BEST as f64);
        }
    }

    /// Returns bytes per second of the best five seconds so far; 0 as long as that isn't known.
    pub fn best(&self) -> f64 {
        self.best
    }

    /// Returns bytes per second over the last [`WINDOW`], or since the first note if that is more recent.
    pub fn per_second(&self, now: Instant) -> f64 {
        let Some(first) = self.first else {
            return 0.0;
        };
        let since = now.saturating_duration_since(first);
        let from = since.saturating_sub(WINDOW).as_secs();
        let lately = self.seconds.iter().filter(|one| one.at >= from);
        let bytes: u64 = lately.map(|one| one.bytes).sum();
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

    #[test]
    fn the_best_seconds_are_kept_once_they_say_something() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut rate = Rate::default();
        let mut noted = |bytes, second| {
            (0..3).for_each(|_| rate.note(bytes, at(second)));
            rate.best()
        };
        for second in 0..5 {
            assert_eq!(noted(100, second), 0.0, "five whole seconds first");
        }
        for second in 5..40 {
            noted(20, second);
        }
        assert_eq!(rate.best(), 300.0);
        // a large piece now and then is no speed
        let mut rate = Rate::default();
        (0..100)
            .step_by(5)
            .for_each(|second| rate.note(1 << 20, at(second)));
        assert_eq!(rate.best(), 0.0);
    }
}
