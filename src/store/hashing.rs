//! Finds out the content of a file in the folder: by hashing it, by checking it against a known `.torrent`, or by what an
//! earlier run remembered of it.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;

use super::faults::{StoreError, at};
use super::memory::Saved;
use super::stamp::Stamp;
use super::{STRIDE, Store, StoredPieces};
use crate::bitfield::Bitfield;
use crate::md5::{Digest, Hasher};
use crate::torrent::{BLOCKS_A_PIECE, BlockSet, Name, Torrent};

/// A whole file of the folder whose content is known: this run, or an earlier one that saw the same stamp, hashed it or
/// checked it piece by piece. Only the store creates such a value, and only such a file is shared.
#[derive(Clone, Debug)]
pub struct WholeFile {
    torrent: Arc<Torrent>,
    stamp: Stamp,
    /// Whether it came from a swarm; otherwise it is the user's own.
    received: bool,
}

impl WholeFile {
    pub(super) fn new(torrent: Arc<Torrent>, stamp: Stamp, received: bool) -> Self {
        Self {
            torrent,
            stamp,
            received,
        }
    }

    /// A file whose content no test reads.
    #[cfg(any(test, fuzzing))]
    pub fn for_a_test(torrent: &Arc<Torrent>, stamp: Stamp, received: bool) -> Self {
        Self::new(Arc::clone(torrent), stamp, received)
    }

    /// Returns its `.torrent`.
    pub fn torrent(&self) -> &Arc<Torrent> {
        &self.torrent
    }

    /// Returns the stamp that the file had when it was read.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Returns true if it came from a swarm; otherwise it is the user's own.
    pub fn is_received(&self) -> bool {
        self.received
    }

    /// Returns the set of all its pieces.
    pub fn pieces(&self) -> StoredPieces {
        StoredPieces::verified(&self.torrent, Bitfield::full(self.torrent.n_pieces()))
    }
}

/// What is remembered of a file that is in the folder and wasn't touched since.
#[derive(Debug)]
pub enum Remembered {
    /// Its content is known.
    Whole(WholeFile),
    /// It came twice with the same content from originals, and nobody vouches for this MD5.
    Unverified(Digest),
}

impl Store {
    /// Finds out the content of a file in the folder: by the `.torrent` that the swarm has under its name, if that fits
    /// (such a check takes several blocks at a time), or else by hashing it. The result is remembered. Returns `None` if
    /// the file doesn't have this stamp, or no longer has it, or if `progress`, which is called with the number of bytes
    /// so far, returned false. `heads` is called with each head that is hashed on the way.
    ///
    /// # Errors
    /// Returns an error if it can't be read.
    pub fn identify(
        &self,
        name: &Name,
        stamp: Stamp,
        listed: Option<Torrent>,
        mut progress: impl FnMut(u64) -> bool,
        heads: impl FnMut(Torrent, StoredPieces),
    ) -> Result<Option<WholeFile>, StoreError> {
        let (file, opened) = self.open_shared(name)?;
        if opened != stamp {
            return Ok(None);
        }
        let is_it = |torrent: &Torrent| {
            let have = self.check(torrent, &file, |done, good| progress(done) && good);
            have.is_ok_and(|have| have.is_full())
        };
        let torrent = match listed.filter(is_it) {
            Some(torrent) => Some(torrent),
            None => self.hash(name, &file, stamp.size, progress, heads)?,
        };
        let (_, after) = self.open_shared(name)?;
        let Some(torrent) = torrent.filter(|_| after == stamp) else {
            return Ok(None);
        };
        // what once came from a swarm is a received copy, however it came back into the folder
        let mut known = self.known(name).into_iter();
        let received = known.any(|known| known.md5 == torrent.md5() && known.received);
        // only a hint that saves the next run from hashing
        let _ = self.save(&Saved {
            stamp: Some(stamp),
            verified: true,
            received,
            torrent: torrent.clone(),
        });
        Ok(Some(WholeFile::new(Arc::new(torrent), stamp, received)))
    }

    /// Returns what an earlier run found out about a file that is in the folder with this stamp. `vouched` is true if the
    /// swarm has this very MD5 under its name: then a file that came from originals is verified, too.
    pub fn remembered(&self, name: &Name, stamp: Stamp, vouched: bool) -> Option<Remembered> {
        let saved = self.saved(name)?;
        if saved.stamp != Some(stamp) || !self.open_shared(name).is_ok_and(|(_, now)| now == stamp)
        {
            return None;
        }
        Some(if saved.verified || vouched {
            Remembered::Whole(WholeFile::new(
                Arc::new(saved.torrent),
                stamp,
                saved.received,
            ))
        } else {
            Remembered::Unverified(saved.torrent.md5())
        })
    }

    /// Hashes a file from front to back; `progress` is called with the number of bytes so far, and stops the hashing by
    /// returning false; `heads` is called with each head on the way. Returns `None` if it was stopped, or if the file is
    /// shorter than its stamp says.
    ///
    /// # Errors
    /// Returns an error if it can't be read.
    pub fn hash(
        &self,
        name: &Name,
        file: &File,
        size: u64,
        mut progress: impl FnMut(u64) -> bool,
        mut heads: impl FnMut(Torrent, StoredPieces),
    ) -> Result<Option<Torrent>, StoreError> {
        let piece_len = Torrent::piece_len_for(size);
        let mut hasher = Hasher::new(piece_len as usize / BLOCKS_A_PIECE);
        let mut buf = vec![0; STRIDE.min(size as usize)];
        let mut sizes = Torrent::head_sizes(size).peekable();
        let mut done = 0;
        while done < size {
            let n = buf.len().min((size - done) as usize);
            match self.disk.read_exact_at(file, &mut buf[..n], done) {
                Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                read => read.map_err(at(&self.path(name)))?,
            }
            hasher.update(&buf[..n]);
            done += n as u64;
            if !progress(done) {
                return Ok(None);
            }
            if sizes.next_if(|head| done == *head).is_some()
                && let Ok(head) = Torrent::head(name.clone(), size, hasher.clone())
            {
                let pieces = StoredPieces::verified(&head, Bitfield::full(head.n_pieces()));
                heads(head, pieces);
            }
        }
        let (checkpoints, md5) = hasher.finish();
        Ok(Torrent::new(name.clone(), size, piece_len, md5, checkpoints).ok())
    }

    /// Checks which pieces of `file` fit the `.torrent`. `go_on` is called after each piece, with the number of bytes so
    /// far and whether this piece is good, and stops the check by returning false.
    ///
    /// # Errors
    /// Returns an error if it can't be read.
    pub fn check(
        &self,
        torrent: &Torrent,
        file: &File,
        mut go_on: impl FnMut(u64, bool) -> bool,
    ) -> Result<StoredPieces, StoreError> {
        self.check_blocks(torrent, file, |done, _, piece| go_on(done, piece.is_ok()))
    }

    /// Does the same, but `go_on` is called with the number of bytes so far and the piece, and with its good blocks if
    /// the whole piece isn't good.
    pub(super) fn check_blocks(
        &self,
        torrent: &Torrent,
        file: &File,
        mut go_on: impl FnMut(u64, u32, Result<(), BlockSet>) -> bool,
    ) -> Result<StoredPieces, StoreError> {
        let mut have = Bitfield::new(torrent.n_pieces());
        let mut buf = vec![0; torrent.full_piece_len().min(torrent.size() as usize)];
        for idx in 0..torrent.n_pieces() {
            let bytes = &mut buf[..torrent.piece_len(idx)];
            if !self.read_piece(torrent, file, idx, bytes)? {
                break;
            }
            let good = torrent.good_blocks(idx, bytes);
            let piece = match good.missing_of(torrent.n_blocks(idx)).is_empty() {
                true => {
                    have.set(idx);
                    Ok(())
                }
                false => Err(good),
            };
            if !go_on(torrent.piece_start(idx) + bytes.len() as u64, idx, piece) {
                break;
            }
        }
        Ok(StoredPieces::verified(torrent, have))
    }

    /// Reads a piece. Returns false if the file ends early.
    fn read_piece(
        &self,
        torrent: &Torrent,
        file: &File,
        idx: u32,
        bytes: &mut [u8],
    ) -> Result<bool, StoreError> {
        match self
            .disk
            .read_exact_at(file, bytes, torrent.piece_start(idx))
        {
            Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => Ok(false),
            read => {
                let path = || self.part_path(torrent.name(), torrent.md5());
                read.map_err(|fault| at(&path())(fault)).map(|()| true)
            }
        }
    }
}
