//! A piece arrives: its bytes are read, verified against the checkpoints while they are in the cache, written in place, and
//! only then counted as here. The original reads until the connection closes, and believes what came.
//!
//! One thread for each peer that pieces are taken from. It reads the answers; the requests are sent by whichever thread
//! finds that one can be made ([`Client::manage_downloads`]).
//!
//! Cost for each piece: one read per 256 KiB at best, one pass of MD5 in vector lanes, one write, and six short holds of the lock
//! beside those of the next decision; the buffer is used again.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Client;
use super::errors::ClientError;
use crate::net::{BODY, Connection};
use crate::picker::PeerId;
use crate::protocol::{Answer, PEER_CAP, PieceHeader};
use crate::state::{Expected, Landing};
use crate::store::StoreError;
use crate::torrent::Torrent;

/// The time before a peer is asked again that had no piece. Ours gather news for longer than this; one that answers at once,
/// and always without a piece, would keep both ends busy with nothing else.
const WITHOUT_A_PIECE: Duration = Duration::from_millis(1);

impl Client {
    /// Takes a peer's answers until it closes, or breaks the protocol.
    pub(super) fn read_answers(
        &self,
        peer: PeerId,
        from: &mut Connection,
    ) -> Result<(), ClientError> {
        while let Some(answer) = from.read(BODY, PEER_CAP)? {
            match answer {
                Answer::Piece(header) => {
                    self.lock()
                        .piece_begins(peer, &header, from.silent, Instant::now());
                    self.receive_piece(peer, from, &header)?;
                }
                Answer::News { n, news } => {
                    self.lock().take_news(peer, n, &news, Instant::now())?;
                    sleep(WITHOUT_A_PIECE);
                }
                Answer::Gone { n, name } => {
                    self.lock().gone(peer, n, &name, Instant::now())?;
                    sleep(WITHOUT_A_PIECE);
                }
                Answer::Refused { why } => return Err(ClientError::refused(&why)),
                Answer::Hello(_) => return Err(ClientError::Unexpected("a second hello")),
            }
            if self.lock().is_left_alone(peer) {
                return Err(ClientError::BadPieces);
            }
            self.manage_downloads();
        }
        Ok(())
    }

    /// Reads a piece, asks for the next one, and only then verifies and writes this one: the network never waits for the
    /// disk.
    pub(super) fn receive_piece(
        &self,
        peer: PeerId,
        from: &mut Connection,
        header: &PieceHeader,
    ) -> Result<(), ClientError> {
        let (n, idx, len) = (header.n, header.idx, header.len as usize);
        let Some(expected) = self.lock().expects(peer, n, idx)? else {
            // its download was given up, or another content took its place
            self.lock().take_answer(peer, n, None, Instant::now())?;
            return self.skip(from, len);
        };
        let mut buffer = self.0.buffers.take(expected.torrent.piece_len(idx));
        self.read_piece(from, &expected, idx, len, &mut buffer)?;
        self.lock()
            .take_answer(peer, n, Some(idx), Instant::now())?;
        self.manage_downloads();
        self.keep_piece(peer, &expected.torrent, idx, len, &buffer);
        Ok(())
    }

    /// Reads a piece into `buffer`. Where only some blocks were asked for, the others are read from the part.
    fn read_piece(
        &self,
        from: &mut Connection,
        expected: &Expected,
        idx: u32,
        len: usize,
        buffer: &mut [u8],
    ) -> Result<(), ClientError> {
        let torrent = &expected.torrent;
        if len == buffer.len() {
            return self.read_body(from, buffer);
        }
        let blocks = expected.blocks.unwrap_or_default();
        if len != torrent.blocks_len(idx, blocks) || len == 0 {
            return Err(ClientError::PieceLength {
                idx,
                expected: buffer.len(),
                came: len,
            });
        }
        for run in blocks.runs() {
            self.read_body(from, &mut buffer[torrent.bytes_of(idx, run)])?;
        }
        let here = blocks.missing_of(torrent.n_blocks(idx));
        // what can't be read any more fails the piece's check, and the whole piece is asked for
        let _ = self.0.store.read_blocks(torrent, idx, here, buffer);
        Ok(())
    }

    /// Verifies a piece, writes it, and marks it as here. `came` bytes of it came from this peer.
    pub(super) fn keep_piece(
        &self,
        peer: PeerId,
        torrent: &Arc<Torrent>,
        idx: u32,
        came: usize,
        bytes: &[u8],
    ) {
        let piece = match torrent.verify(idx, bytes) {
            Ok(piece) => piece,
            Err(bad) => return self.bad_piece(peer, torrent, idx, bad),
        };
        // a late piece may come twice
        if !self.lock().lacks_piece(torrent, idx) {
            return self.lock().came_twice(peer, torrent, idx);
        }
        let stored = match self.0.store.write_piece(piece) {
            Ok(Some(stored)) => stored,
            Ok(None) => return self.lock().came_twice(peer, torrent, idx),
            Err(fault) => return self.not_written(peer, torrent, idx, &fault),
        };
        let now = Instant::now();
        let landing = self.lock().landed(peer, torrent, &stored, came, now);
        // whoever waits for news of this piece can be served now
        self.notify_all();
        self.tell_landed(peer, torrent.name(), idx, landing);
        if landing == Landing::Last {
            self.complete(torrent.name());
        }
    }

    fn not_written(&self, peer: PeerId, torrent: &Arc<Torrent>, idx: u32, fault: &StoreError) {
        if !self.lock().lacks_piece(torrent, idx) {
            // it came from another peer meanwhile, and the part may have its final name by now
            return self.lock().came_twice(peer, torrent, idx);
        }
        self.lock().give_back_claim(peer, torrent, idx);
        match fault.is_gone() {
            true => self.begin_anew(torrent),
            false => self.disk_fault(fault),
        }
    }
}
