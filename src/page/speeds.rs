//! The speeds of the last minutes, for the page's plot: they are kept whether anybody looks or not.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The time between two samples.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// Samples that are kept: those of five minutes.
const SAMPLES: usize = 150;

/// Bytes per second that came and that were sent, the newest last.
#[derive(Default)]
pub(super) struct SpeedHistory(Mutex<VecDeque<[u64; 2]>>);

impl SpeedHistory {
    /// Adds a sample; after [`SAMPLES`], the oldest goes.
    pub fn note(&self, down: f64, up: f64) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back([down as u64, up as u64]);
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    /// Returns all samples.
    pub fn samples(&self) -> Vec<[u64; 2]> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_samples_are_kept_in_order() {
        let history = SpeedHistory::default();
        assert!(history.samples().is_empty());
        (0..500).for_each(|n| history.note(f64::from(n), -0.0));
        let samples = history.samples();
        assert_eq!(samples.len(), SAMPLES);
        assert_eq!((samples[0], samples[SAMPLES - 1]), ([350, 0], [499, 0]));
    }
}
