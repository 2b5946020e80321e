//! The bytes of a piece, as they come from a connection.

use std::time::Instant;

use super::Client;
use super::errors::ClientError;
use crate::limit::Limit;
use crate::net::Connection;
use crate::torrent::MAX_PIECE_LEN;

impl Client {
    /// Reads so many bytes, at the rate that `--max-down` allows and the other end keeps up.
    pub(super) fn read_body(
        &self,
        from: &mut Connection,
        mut buffer: &mut [u8],
    ) -> Result<(), ClientError> {
        let limit = self.0.down.as_ref();
        let mut pace = from.begin_body()?;
        while !buffer.is_empty() {
            let stride = buffer.len().min(Limit::stride(limit));
            let asked = Instant::now();
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
