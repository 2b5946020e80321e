//! A semaphore: at most this many threads at a time may do something that costs memory, the disk, or the uplink.
//!
//! It is a leaf lock: nothing else is locked while its counter is, and nobody waits for a permit longer than a given time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Permits, and a bounded number of threads that wait for one.
pub struct Semaphore {
    counts: Mutex<PermitCounts>,
    returned: Condvar,
    max_waiting: usize,
}

struct PermitCounts {
    free: usize,
    waiting: usize,
}

/// A permit. Dropping it returns it.
pub struct Permit<'a>(&'a Semaphore);

impl Semaphore {
    /// Creates one with this many permits. `max_waiting` bounds the threads that wait: the others are needed for those who want
    /// no permit.
    pub fn new(permits: usize, max_waiting: usize) -> Self {
        Self {
            counts: Mutex::new(PermitCounts {
                free: permits,
                waiting: 0,
            }),
            returned: Condvar::new(),
            max_waiting,
        }
    }

    /// Waits for a permit. Returns `None` if none is free within `timeout`, or at once if too many wait already.
    pub fn acquire(&self, timeout: Duration) -> Option<Permit<'_>> {
        let mut counts = self.lock();
        if counts.free == 0 {
            if counts.waiting >= self.max_waiting {
                return None;
            }
            counts.waiting += 1;
            let none_free = |counts: &mut PermitCounts| counts.free == 0;
            let waited = self.returned.wait_timeout_while(counts, timeout, none_free);
            counts = waited.unwrap_or_else(PoisonError::into_inner).0;
            counts.waiting -= 1;
        }
        counts.free = counts.free.checked_sub(1)?;
        Some(Permit(self))
    }

    /// Each step leaves the counts right, so a lock poisoned by a panic can still be used.
    fn lock(&self) -> MutexGuard<'_, PermitCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.lock().free += 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    fn until_waiting(semaphore: &Semaphore, n: usize) {
        while semaphore.lock().waiting < n {
            thread::yield_now();
        }
    }

    #[test]
    fn a_permit_is_waited_for_so_long_and_by_so_many() {
        let semaphore = Semaphore::new(2, 1);
        let first = semaphore.acquire(Duration::ZERO).expect("one is free");
        let second = semaphore.acquire(Duration::ZERO).expect("another is free");
        let short = Duration::from_millis(5);
        assert!(semaphore.acquire(short).is_none(), "the time is over");
        thread::scope(|scope| {
            let waits = scope.spawn(|| semaphore.acquire(LONG).is_some());
            until_waiting(&semaphore, 1);
            assert!(semaphore.acquire(LONG).is_none(), "one waits already");
            drop(first);
            assert!(waits.join().expect("no panic"), "it was given one");
        });
        drop(second);
        assert_eq!(semaphore.lock().free, 2, "all came back");
    }

    #[test]
    fn a_panic_gives_its_permit_back() {
        let semaphore = Semaphore::new(1, 1);
        let panicked = thread::scope(|scope| {
            let holds = scope.spawn(|| {
                let _permit = semaphore.acquire(LONG).expect("one is free");
                panic!("for the test");
            });
            holds.join().is_err()
        });
        assert!(panicked && semaphore.acquire(Duration::ZERO).is_some());
    }
}
