//! A semaphore: at most this many threads at a time may do something that costs memory, the disk, or the uplink.
//!
//! It is a leaf lock: nothing else is locked while its counter is, and nobody waits for a permit longer than a given time.

use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// This part of those who wait may be from one network: so one machine can't keep others from waiting.
const NETWORK_SHARE: usize = 4;

/// Permits, and a bounded number of threads that wait for one, in the order in which they came.
pub struct Semaphore {
    counts: Mutex<PermitCounts>,
    returned: Condvar,
    max_waiting: usize,
}

struct PermitCounts {
    free: usize,
    /// The numbers of those who wait, and the networks that they are from.
    waiting: Vec<(u64, Option<IpAddr>)>,
    next: u64,
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
                waiting: Vec::new(),
                next: 0,
            }),
            returned: Condvar::new(),
            max_waiting,
        }
    }

    /// Waits for a permit. Returns `None` if none is free within `timeout`, or at once if too many wait already.
    pub fn acquire(&self, timeout: Duration) -> Option<Permit<'_>> {
        self.acquire_from(None, timeout)
    }

    /// Waits for a permit for somebody in this network, of which only some may wait.
    pub fn acquire_from(&self, network: Option<IpAddr>, timeout: Duration) -> Option<Permit<'_>> {
        let mut counts = self.lock();
        if counts.free == 0 || !counts.waiting.is_empty() {
            let is_neighbour = |(_, other): &&(u64, Option<IpAddr>)| *other == network;
            let n_neighbours = counts.waiting.iter().filter(is_neighbour).count();
            let is_crowd = network.is_some() && n_neighbours >= self.max_waiting / NETWORK_SHARE;
            if is_crowd || counts.waiting.len() >= self.max_waiting {
                return None;
            }
            let own = counts.next;
            counts.next += 1;
            counts.waiting.push((own, network));
            let waits = |counts: &mut PermitCounts| counts.free == 0 || counts.waiting[0].0 != own;
            let waited = self.returned.wait_timeout_while(counts, timeout, waits);
            counts = waited.unwrap_or_else(PoisonError::into_inner).0;
            let in_vain = waits(&mut counts);
            counts.waiting.retain(|(other, _)| *other != own);
            // another is the first now
            self.returned.notify_all();
            if in_vain {
                return None;
            }
        }
        counts.free -= 1;
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
        self.0.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    fn until_waiting(semaphore: &Semaphore, n: usize) {
        while semaphore.lock().waiting.len() < n {
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
    fn permits_come_in_turn_and_one_network_has_few_of_the_places() {
        let semaphore = Semaphore::new(1, 8);
        let [crowd, other] = ["10.0.0.2", "10.0.0.3"].map(|ip| ip.parse().ok());
        let order = Mutex::new(Vec::new());
        let first = semaphore.acquire(Duration::ZERO).expect("it is free");
        thread::scope(|scope| {
            let (semaphore, order) = (&semaphore, &order);
            for (n, network) in [crowd, crowd, other, None].into_iter().enumerate() {
                let wait = move || {
                    let _permit = semaphore.acquire_from(network, LONG).expect("in turn");
                    order.lock().expect("no panic").push(n);
                };
                scope.spawn(wait);
                until_waiting(semaphore, n + 1);
            }
            assert!(semaphore.acquire_from(crowd, LONG).is_none(), "two wait");
            drop(first);
        });
        assert_eq!(*order.lock().expect("no panic"), [0, 1, 2, 3]);
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
