//! Which pieces of an unfinished file are here when its download begins: those that an earlier run stored, and those that
//! other files have in common with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use super::cache::Location;
use super::faults::StoreError;
use super::{Store, StoredPieces};
use crate::torrent::{BlockSet, Torrent};

/// What is here of an unfinished file.
#[derive(Debug)]
pub struct Part {
    /// The pieces that are verified and stored.
    pub pieces: StoredPieces,
    /// Blocks that are good and stored, of pieces that aren't whole. They needn't be downloaded; the piece is still
    /// verified as a whole.
    pub blocks: BTreeMap<u32, BlockSet>,
    /// How many bytes were copied from other files.
    pub reused: u64,
    /// The head that it was until now: what is here of that is here of this.
    pub continues: Option<Arc<Torrent>>,
}

impl Part {
    /// Returns the value for a file with no piece here.
    pub fn none_of(torrent: &Torrent) -> Self {
        Self {
            pieces: StoredPieces::none_of(torrent),
            blocks: BTreeMap::new(),
            reused: 0,
            continues: None,
        }
    }
}

impl StoredPieces {
    /// Adds the pieces of this content, `longer`, that are here as `pieces` of its head: none if it doesn't extend that.
    pub fn add_head(&mut self, head: &Torrent, pieces: &Self, longer: &Torrent) {
        let is_its_head = longer.extends(head) && pieces.content == head.md5();
        if is_its_head && self.content == longer.md5() {
            self.bits.set_all(&pieces.bits);
        }
    }
}

impl Store {
    /// Opens a file's part, or creates it, and verifies its pieces. `go_on` is called with the number of bytes so far,
    /// and stops the check by returning false.
    ///
    /// # Errors
    /// Returns an error if the part can't be created or read.
    pub fn resume(
        &self,
        torrent: &Torrent,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<Part, StoreError> {
        let (file, was_there) = self.open_part(torrent)?;
        let mut part = Part::none_of(torrent);
        if was_there {
            let blocks_here = &mut part.blocks;
            part.pieces = self.check_blocks(torrent, &file, |done, idx, piece| {
                let blocks = piece.err().filter(|blocks| !blocks.is_empty());
                blocks_here.extend(blocks.map(|blocks| (idx, blocks)));
                go_on(done)
            })?;
        }
        Ok(part)
    }

    /// Copies into a part what `source` has in common with the file at the same offsets, verified like pieces from the
    /// network. What can't be read, or lies beyond the end of `source`, is skipped.
    ///
    /// # Errors
    /// Returns an error if the part can't be written.
    pub fn reuse(
        &self,
        torrent: &Torrent,
        part: &mut Part,
        source: &File,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<(), StoreError> {
        let mut buffer = vec![0; torrent.full_piece_len().min(torrent.size() as usize)];
        for idx in 0..torrent.n_pieces() {
            let start = torrent.piece_start(idx);
            if !go_on(start) {
                break;
            }
            if part.pieces.get(idx) {
                continue;
            }
            let bytes = &mut buffer[..torrent.piece_len(idx)];
            bytes.fill(0);
            self.read_what_is_there(source, bytes, start);
            match torrent.verify(idx, bytes) {
                Ok(piece) => {
                    let Some(stored) = self.write_piece(piece)? else {
                        break; // its download was given up in the meantime
                    };
                    part.pieces.add(&stored);
                    part.blocks.remove(&idx);
                    part.reused += bytes.len() as u64;
                }
                Err(_) => self.reuse_blocks(torrent, part, idx, bytes)?,
            }
        }
        Ok(())
    }

    /// Copies the good blocks of a piece that isn't good as a whole.
    fn reuse_blocks(
        &self,
        torrent: &Torrent,
        part: &mut Part,
        idx: u32,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let good = torrent.good_blocks(idx, bytes);
        let here = part.blocks.get(&idx).copied().unwrap_or_default();
        let new = good.without(here);
        for run in new.runs() {
            let range = torrent.bytes_of(idx, run);
            let at = torrent.piece_start(idx) + range.start as u64;
            self.write_part(torrent, &bytes[range.clone()], at)?;
            part.reused += range.len() as u64;
        }
        if !new.is_empty() {
            part.blocks.insert(idx, here.with(new));
        }
        Ok(())
    }

    /// Reads a piece; the file may have only its beginning.
    fn read_what_is_there(&self, source: &File, bytes: &mut [u8], start: u64) {
        let len = source.metadata().map_or(0, |meta| meta.len());
        let there = len.saturating_sub(start).min(bytes.len() as u64) as usize;
        if self.read(source, &mut bytes[..there], start).is_err() {
            bytes.fill(0);
        }
    }

    /// Reads these blocks of a piece from the part into `bytes`, at their places within the piece.
    ///
    /// # Errors
    /// Returns an error if they can't be read.
    pub fn read_blocks(
        &self,
        torrent: &Torrent,
        idx: u32,
        blocks: BlockSet,
        bytes: &mut [u8],
    ) -> Result<(), StoreError> {
        for run in blocks.runs() {
            let range = torrent.bytes_of(idx, run);
            let at = torrent.piece_start(idx) + range.start as u64;
            self.read_at(&Location::part(torrent), &mut bytes[range], at)?;
        }
        Ok(())
    }
}
