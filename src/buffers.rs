//! Buffers that pieces are received into: kept and used again, as fresh memory costs more than the copy into it.

use std::sync::{Mutex, PoisonError};

use crate::picker::IN_FLIGHT;

/// The most that is kept, bytes: as much as may be in flight.
const KEPT: usize = IN_FLIGHT as usize;

/// The buffers that are free at the moment. Its lock is a leaf.
#[derive(Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A buffer of `len` bytes, whatever they are.
    pub fn take(&self, len: usize) -> Vec<u8> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = free.unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    /// Keeps a buffer for the next piece.
    pub fn keep(&self, buffer: Vec<u8>) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if (free.len() + 1) * buffer.capacity() <= KEPT {
            free.push(buffer);
        }
    }
}
