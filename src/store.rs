//! The folder: whole files in `<dir>`, unfinished ones in `<dir>/.bittorrentish/`.
//!
//! The original lists whatever stands in its folder, half-written files included, and serves it. Ours gives a file its final
//! name only when all of it was verified and is on the disk, never overwrites or changes what stands there, and never
//! follows a link out of the folder.
//!
//! # Why a final name never stands for wrong bytes
//! 1. What comes from the network is written only as a [`VerifiedPiece`], in place, into a part in `.bittorrentish/`; what is
//!    copied from another file, as one or block by block, each checked. No list of finished pieces is kept that could be
//!    wrong: whenever a part is opened, each of its pieces is verified again, at some 2 GB/s.
//! 2. Once every piece is here ([`StoredPieces`] is full), [`Store::complete`] first waits until the part's bytes are on the
//!    disk. If that fails, nobody knows what is there: the part is opened, and so verified, anew.
//! 3. The final name is given by a step that fails if the name is taken in the sense of *this* file system, and the folder is
//!    synced. A crash before leaves a part, a crash after leaves the whole file; between the two names of one file
//!    (`link`, then `unlink`), the next start removes the part's.
//!
//! In `.bittorrentish/`, under names of hexadecimal digits that no file system takes for one another:
//! - `<MD5>.<digits of the name>.part`, the pieces so far: see `parts`;
//! - `<MD5>.<digits of the name>.torrent`, what is known of a file, so that it isn't hashed or asked for again: `memory`;
//! - `<digits of the name>.copy1`, `.copy2` and `.upload`, files that come whole: `copies`;
//! - `key`, by which a publisher is known; `port`, where the last run listened; `picked`, what was picked on the page; `lock`.
//!
//! Beside the lesson, among others that [`crate`] lists: `opening` takes the folder, `looking` sees what stands in it,
//! `hashing` finds out what that is, `naming` gives final names, `cache` keeps files open, `copies` takes uploads. Called from
//! several threads: its locks are held for a few words each, but for three kinds that are held over a step on the disk.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use crate::bitfield::Bitfield;
use crate::md5::{Digest, digest};
use crate::torrent::{Name, Torrent, VerifiedPiece};

use self::cache::OpenFiles;
use self::memory::Memory;
use self::parts::OpenParts;

pub use self::cache::Location;
pub use self::copies::{Copy, write_atomically};
pub use self::disk::{Disk, Plain};
pub use self::faults::StoreError;
pub use self::hashing::{Remembered, WholeFile};
pub use self::left_out::{LeftOut, TEMPORARY, is_temporary};
pub use self::looking::Seen;
pub use self::memory::{Known, Saved};
pub use self::resuming::Part;
pub use self::stamp::{AccessStamp, Stamp};

mod cache;
mod copies;
mod disk;
#[cfg(test)]
mod fake;
mod faults;
mod hashing;
mod lacks;
mod left_out;
mod looking;
mod memory;
mod naming;
mod opening;
mod parts;
mod picked;
mod resuming;
mod stamp;
#[cfg(test)]
mod tests;

/// Where unfinished files are, within the folder.
pub const HIDDEN: &str = ".bittorrentish";
/// Bytes that are hashed or copied at a stride.
const STRIDE: usize = 1 << 20;

/// How the names of copies in the folder itself begin, which are made where `.bittorrentish` is on another file system.
const BESIDE: &str = ".bittorrentish-";
/// How they end.
const NEW: &str = ".new";
/// Hexadecimal digits of a name's MD5 that stand for it in file names.
const NAME_DIGITS: usize = 16;

/// What stands for a name in the names of hidden files.
fn digits_of(name: &Name) -> String {
    let mut digits = digest(name.as_str().as_bytes()).to_string();
    digits.truncate(NAME_DIGITS);
    digits
}

/// A folder that this process alone works on.
pub struct Store {
    disk: Box<dyn Disk>,
    dir: PathBuf,
    hidden: PathBuf,
    /// Locked as long as it is open; the system unlocks it however the process ends. `None` where it can't be.
    lock: Mutex<Option<File>>,
    is_read_only: bool,
    remarks: Vec<String>,
    /// The files that this process writes its lines to, by device and number.
    outputs: Vec<(u64, u64)>,
    key: OnceLock<String>,
    memory: Mutex<Memory>,
    parts: Mutex<OpenParts>,
    cache: Mutex<OpenFiles>,
    /// Held while a name is given that can't be given in one step.
    naming: Mutex<()>,
    /// Held while what was picked is written, so that the last word is kept.
    picking: Mutex<()>,
}

/// A piece that was verified and then written: only [`Store::write_piece`] makes one.
#[derive(Debug)]
pub struct StoredPiece {
    /// The MD5 of the file that it is a piece of.
    content: Digest,
    idx: u32,
}

impl StoredPiece {
    /// Which piece of its file it is, from 0.
    pub fn idx(&self) -> u32 {
        self.idx
    }

    /// One that was never written.
    #[cfg(any(test, fuzzing))]
    pub fn for_a_test(torrent: &Torrent, idx: u32) -> Self {
        Self {
            content: torrent.md5(),
            idx,
        }
    }
}

/// The pieces of one file that are verified and stored here. The store makes the first set, from what it verified in a part or
/// in a whole file; it grows by [`StoredPiece`]s, and by the set of a head that the file extends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPieces {
    content: Digest,
    bits: Bitfield,
}

impl StoredPieces {
    /// None of a file's pieces.
    pub fn none_of(torrent: &Torrent) -> Self {
        Self::verified(torrent, Bitfield::new(torrent.n_pieces()))
    }

    /// These, which the store has just verified.
    fn verified(torrent: &Torrent, bits: Bitfield) -> Self {
        let content = torrent.md5();
        Self { content, bits }
    }

    /// All of them, of which none was ever read.
    #[cfg(any(test, fuzzing))]
    pub fn all_for_a_test(torrent: &Torrent) -> Self {
        Self::verified(torrent, Bitfield::full(torrent.n_pieces()))
    }

    /// Adds a piece of the same content. Returns true if it is new.
    pub fn add(&mut self, piece: &StoredPiece) -> bool {
        piece.content == self.content && self.bits.set(piece.idx)
    }
}

impl Deref for StoredPieces {
    type Target = Bitfield;

    fn deref(&self) -> &Bitfield {
        &self.bits
    }
}

impl Store {
    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.dir.join(name.as_str())
    }

    /// Reads bytes of a file that is shared, or of a part.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.read_exact_at(file, buf, offset)
    }

    /// Writes a verified piece into its part, in place. Returns `None` without writing if the part is done with: by then the
    /// file may be the user's.
    ///
    /// # Errors
    /// Where the disk doesn't take it.
    pub fn write_piece(&self, piece: VerifiedPiece) -> Result<Option<StoredPiece>, StoreError> {
        let (torrent, bytes) = (piece.torrent(), piece.bytes());
        let written = self.write_part(torrent, bytes, torrent.piece_start(piece.idx()))?;
        Ok(written.then(|| StoredPiece {
            content: torrent.md5(),
            idx: piece.idx(),
        }))
    }

    /// Gives a part whose pieces are all here its final name: first its bytes are on the disk, then the name. Whatever has
    /// the name already stays untouched, unless it is the outdated file with the stamp `replaced`.
    ///
    /// # Errors
    /// [`StoreError::Exists`] or [`StoreError::Folded`] where something stands there; [`StoreError::Changed`] where a piece is
    /// missing, or the part is done with already; and as for the steps. After a failed sync the part has to be opened anew.
    pub fn complete(
        &self,
        torrent: &Arc<Torrent>,
        pieces: &StoredPieces,
        replaced: Option<Stamp>,
    ) -> Result<WholeFile, StoreError> {
        let part = self.part_path(torrent.name(), torrent.md5());
        if !pieces.is_full() || pieces.len() != torrent.n_pieces() || torrent.head_of().is_some() {
            return Err(StoreError::Changed(part));
        }
        let file = self.open_at(&Location::part(torrent))?;
        let stamp = self.finish(torrent, &file, replaced)?;
        Ok(WholeFile::new(Arc::clone(torrent), stamp, true))
    }
}
