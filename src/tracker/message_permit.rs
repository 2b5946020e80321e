//! The permit that a long message, or a long answer, needs: many of them at once would fill the memory.

use std::time::Duration;

use super::{SMALL, TrackerShared};
use crate::protocol::TORRENT_CAP;
use crate::roster::TrackerRefusal;
use crate::semaphore::{Permit, Semaphore};

/// The permit that a message needs once it turns out to be a long one.
pub(super) struct MessagePermit<'a> {
    large: &'a Semaphore,
    wait: Duration,
    permit: Option<Permit<'a>>,
    is_refused: bool,
}

impl<'a> MessagePermit<'a> {
    pub(super) fn new(large: &'a Semaphore, wait: Duration) -> Self {
        Self {
            large,
            wait,
            permit: None,
            is_refused: false,
        }
    }

    /// The most bytes that a message may have, of which `len` have come.
    pub(super) fn cap(&mut self, len: usize) -> usize {
        if len > SMALL && self.permit.is_none() && !self.is_refused {
            self.permit = self.large.acquire(self.wait);
            self.is_refused = self.permit.is_none();
        }
        match self.is_refused {
            true => SMALL,
            false => TORRENT_CAP,
        }
    }

    /// Returns true if the message was cut off because no permit was free.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }
}

impl TrackerShared {
    /// A permit for an answer of this many bytes, if it needs one.
    pub(super) fn permit_for(&self, len: usize) -> Result<Option<Permit<'_>>, TrackerRefusal> {
        if len <= SMALL {
            return Ok(None);
        }
        let permit = self.large.acquire(self.permit_wait);
        permit.map(Some).ok_or(TrackerRefusal::Busy)
    }

    /// How many bytes of peers' names an answer to a ping may have that would have `len` bytes with all of them, and the permit
    /// that it needs for these. Where none is free it has fewer, rather than none: the peers tell each other the rest.
    pub(super) fn room_for(&self, len: usize) -> (Option<Permit<'_>>, usize) {
        let is_long = len > SMALL;
        let permit = is_long
            .then(|| self.large.acquire(Duration::ZERO))
            .flatten();
        match is_long && permit.is_none() {
            true => (None, SMALL / 2),
            false => (permit, usize::MAX),
        }
    }
}
