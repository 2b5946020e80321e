//! Buffers that pieces are received into. They are reused, as fresh memory costs more than the copy into it, and their
//! number bounds the memory of a download.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::picker::IN_FLIGHT;

/// The most bytes in use, and the most that are kept: as many as may be in flight.
const MOST: usize = IN_FLIGHT as usize;
/// After waiting this long a thread gets a buffer beyond that: the others may be waiting for a peer that has fallen
/// silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// All buffers of one client, behind a leaf lock.
#[derive(Default)]
pub struct Buffers {
    state: Mutex<BufferPool>,
    given_back: Condvar,
}

#[derive(Default)]
struct BufferPool {
    free: Vec<Vec<u8>>,
    /// Bytes of the buffers in use.
    in_use: usize,
}

/// A buffer in use, given back when it is dropped.
pub struct Buffer<'a> {
    of: &'a Buffers,
    len: usize,
    bytes: Vec<u8>,
}

impl Buffers {
    /// Returns a buffer of `len` bytes with any content. If too many bytes are in use, it waits; meanwhile, arriving data
    /// stays with the system, and then with the sender.
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

    /// Each step leaves the count right, so a lock poisoned by a panic can still be used.
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
    fn buffers_in_use_are_bounded() {
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
