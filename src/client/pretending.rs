//! For the class: a peer that seems to be far away, or sends wrong bytes. Neither is for any other use, and both are told
//! loudly.
//!
//! It owns two numbers of the command line, and never touches what is on the disk.

use std::time::Duration;

use rand::RngExt;

use crate::net::Connection;

/// How a peer differs from what it is, for those that it serves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pretence {
    /// Each message to it is answered this much later.
    pub latency: Duration,
    /// How many of a hundred stretches of up to 256 KiB that it sends have a wrong byte.
    pub corrupt_percent: u32,
}

impl Pretence {
    /// Returns what is said of it; `None` if nothing is pretended.
    pub fn told(self) -> Option<String> {
        let ms = self.latency.as_millis();
        let far = (ms > 0).then(|| format!("to be {ms} ms away (--pretend-latency)"));
        let percent = self.corrupt_percent;
        let corrupt = (percent > 0)
            .then(|| format!("to be corrupt: {percent} % of what it sends is wrong (--corrupt)"));
        let all: Vec<String> = far.into_iter().chain(corrupt).collect();
        (!all.is_empty()).then(|| all.join(", and "))
    }

    /// Makes a connection that is to be served a slow one.
    pub(super) fn farther(self, mut connection: Connection) -> Connection {
        connection.lag = self.latency;
        connection
    }

    /// Makes some of the bytes that are to be sent wrong.
    pub(super) fn corrupt(self, bytes: &mut [u8]) {
        if self.corrupt_percent > 0
            && rand::rng().random_range(0..100) < self.corrupt_percent
            && let Some(first) = bytes.first_mut()
        {
            *first ^= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pretended_is_told() {
        let pretence = |ms, corrupt_percent| Pretence {
            latency: Duration::from_millis(ms),
            corrupt_percent,
        };
        for (pretence, told) in [
            (pretence(0, 0), None),
            (
                pretence(80, 0),
                Some("to be 80 ms away (--pretend-latency)"),
            ),
            (
                pretence(0, 30),
                Some("to be corrupt: 30 % of what it sends is wrong (--corrupt)"),
            ),
            (
                pretence(80, 30),
                Some(
                    "to be 80 ms away (--pretend-latency), and to be corrupt: 30 % of what it sends is wrong (--corrupt)",
                ),
            ),
        ] {
            assert_eq!(pretence.told().as_deref(), told);
        }
    }

    #[test]
    fn all_none_or_some_bytes_are_wrong() {
        for (corrupt_percent, wrong) in [(0, 0..=0), (100, 1000..=1000), (50, 300..=700)] {
            let latency = Duration::ZERO;
            let pretence = Pretence {
                latency,
                corrupt_percent,
            };
            let mut bytes = [0; 1000];
            bytes.chunks_mut(1).for_each(|byte| pretence.corrupt(byte));
            let n = bytes.iter().filter(|byte| **byte != 0).count();
            assert!(wrong.contains(&n), "{n} at {corrupt_percent} %");
        }
    }
}
