//! Buffers that pieces are received into: kept and used again, as fresh memory costs more than the copy into it; and as many
//! at a time as bound the memory of a download.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::picker::IN_FLIGHT;

/// The most bytes in use, and the most that are kept: as much as may be in flight.
const MOST: usize = IN_FLIGHT as usize;
/// Who has waited so long for others gets a buffer beyond that: they may be waiting for a peer that has fallen silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// All buffers of one client. Its lock is a leaf.
#[derive(Default)]
pub struct Buffers {
    state: Mutex<BufferPool>,
    given_back: Condvar,
}

#[derive(Default)]
struct BufferPool {
    free: Vec<Vec<u8>>,
    /// Bytes of those in use.
    in_use: usize,
}

/// A buffer in use, given back on every way out.
pub struct Buffer<'a> {
    of: &'a Buffers,
    len: usize,
    bytes: Vec<u8>,
}

impl Buffers {
    /// A buffer of `len` bytes, whatever they are. Where too many are in use, it is waited for: what comes meanwhile stays
    /// with the system, and then with who sends it.
    pub fn take(&self, len: usize) -> Buffer<'_> {
        self.take_within(PATIENCE, len)
    }

    fn take_within(&self, patience: Duration, len: usize) -> Buffer<'_> {
        let full = |state: &mut BufferPool| state.in_use > 0 && state.in_use + len > MOST;
        let waited = self
            .given_back
            .wait_timeout_while(self.lock(), patience, full);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.in_use += len;
        let mut bytes = state.free.pop().unwrap_or_default();
        drop(state);
        bytes.resize(len, 0);
        let of = self;
        Buffer { of, len, bytes }
    }

    /// No step leaves the count wrong, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, BufferPool> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.of.lock();
        state.in_use -= self.len;
        if (state.free.len() + 1) * bytes.capacity() <= MOST {
            state.free.push(bytes);
        }
        drop(state);
        self.of.given_back.notify_all();
    }
}

impl Deref for Buffer<'_> {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Instant;

    #[test]
    fn no_more_than_the_bound_are_in_use_unless_nobody_gives_back() {
        let buffers = Buffers::default();
        let half = MOST / 2 + 1;
        let (asked, patience) = (Instant::now(), Duration::from_millis(20));
        let first = buffers.take(half);
        let beyond = buffers.take_within(patience, half);
        assert!(asked.elapsed() >= patience, "it was waited for");
        assert_eq!(buffers.lock().in_use, 2 * half, "and given in the end");
        thread::scope(|scope| {
            let third = scope.spawn(|| buffers.take(half).len());
            drop((first, beyond));
            assert_eq!(third.join().expect("no panic"), half);
        });
        assert_eq!(buffers.lock().in_use, 0);
        assert!(buffers.lock().free.len() * half <= MOST, "not all are kept");
        let large = buffers.take(MOST + 1);
        assert_eq!(large.len(), MOST + 1, "one is always given");
    }
}
