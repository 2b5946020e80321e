//! The bytes of a piece, as they come from a connection.

use std::thread;
use std::time::{Duration, Instant};

use super::Client;
use super::errors::ClientError;
use crate::limit::Limit;
use crate::net::Connection;
use crate::torrent::MAX_PIECE_LEN;

/// The most bytes that are waited for before the next read: half of the smallest window that a receiver offers at first, so
/// that the sender never waits.
const PORTION: usize = 32 << 10;
/// The longest wait between two reads.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// A shorter wait saves nothing.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// How long to wait before the next read, after `came` bytes in `time`, with `rest` bytes missing: until half of the rest is
/// there. Over a slow link each packet would wake this thread, which costs more than everything else that is done with it.
fn pause(came: usize, rest: usize, time: Duration) -> Duration {
    if came == 0 {
        return Duration::ZERO;
    }
    let wanted = (rest / 2).min(PORTION);
    let pause = time.mul_f64(wanted as f64 / came as f64);
    match pause < SHORTEST_PAUSE {
        true => Duration::ZERO,
        false => pause.min(LONGEST_PAUSE),
    }
}

impl Client {
    /// Fills `buffer`, at the rate that `--max-down` allows and the other end keeps up.
    pub(super) fn read_body(
        &self,
        from: &mut Connection,
        mut buffer: &mut [u8],
    ) -> Result<(), ClientError> {
        let limit = self.0.down.as_ref();
        let mut pace = from.begin_body()?;
        let (began, len) = (Instant::now(), buffer.len());
        while !buffer.is_empty() {
            let stride = buffer.len().min(Limit::stride(limit));
            let asked = Instant::now();
            thread::sleep(pause(len - buffer.len(), buffer.len(), asked - began));
            let came = from.read_some(&mut buffer[..stride])?;
            if came == 0 {
                return Err(ClientError::ClosedInPiece);
            }
            pace.note(came, asked.elapsed())?;
            Limit::pass(limit, came);
            buffer = &mut buffer[came..];
        }
        Ok(())
    }

    /// Reads a piece that isn't wanted any more, so that the next answer can be read.
    pub(super) fn skip(&self, from: &mut Connection, len: usize) -> Result<(), ClientError> {
        let len = len.min(MAX_PIECE_LEN as usize);
        self.read_body(from, &mut self.0.buffers.take(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_waits_while_little_comes() {
        let ms = Duration::from_millis;
        for (came, rest, time, expected) in [
            // nothing is known yet
            (0, 65_536, ms(50), Duration::ZERO),
            // 1 MB/s: until half of the rest is there
            (10_000, 20_000, ms(10), ms(10)),
            (10_000, 200, ms(10), Duration::ZERO),
            // never for more than a receiver's first window holds, nor for long
            (100_000, 1 << 24, ms(50), ms(16)),
            (1_000, 64_000, ms(500), LONGEST_PAUSE),
            // a fast link
            (262_144, 262_144, ms(1), Duration::ZERO),
        ] {
            let found = pause(came, rest, time);
            assert!(
                found.abs_diff(expected) < ms(1),
                "{found:?} for {came}, {rest}, {time:?}"
            );
        }
    }
}
