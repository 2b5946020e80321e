//! Waiting for one's turn: what only so many connections do at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// So many turns at a time. A leaf lock: nothing is done while it is held.
pub(super) struct Turns {
    left: Mutex<usize>,
    given_back: Condvar,
}

/// A turn, given back on every way out.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            left: Mutex::new(at_once),
            given_back: Condvar::new(),
        }
    }

    /// Waits until there is one.
    pub(super) fn take(&self) -> Turn<'_> {
        let left = self.given_back.wait_while(self.lock(), |left| *left == 0);
        *left.unwrap_or_else(PoisonError::into_inner) -= 1;
        Turn(self)
    }

    /// A counter is right at every moment, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.given_back.notify_one();
    }
}
