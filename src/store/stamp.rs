//! What shows whether a file was touched since it was last looked at.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// The precision, in nanoseconds, with which exFAT stores modification times.
const EXFAT_NANOS: i64 = 10_000_000;
/// The precision, in seconds, with which FAT stores them.
const FAT_SECS: i64 = 2;

/// What shows whether a file was touched.
///
/// It has no inode number: some file systems number their files anew at each mount. The first version saved one, which is
/// ignored.
///
/// Two stamps are equal if their sizes are equal, and their times are equal or one of them is the other one cut to what
/// exFAT (10 ms) or FAT (2 s) stores of it: a remount drops the rest. A time without any nanoseconds counts as cut
/// already, and is compared as it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// The file's size, bytes.
    pub size: u64,
    /// When it was last modified, seconds and nanoseconds since 1970.
    pub mtime: (i64, i64),
}

impl Stamp {
    pub(super) fn of(meta: &fs::Metadata) -> Self {
        Self {
            size: meta.len(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
        }
    }

    /// Reads the stamp of an open file.
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|meta| Self::of(&meta))
    }
}

/// Returns true if `cut` is what exFAT or FAT stores of `time`.
fn is_cut(time: (i64, i64), cut: (i64, i64)) -> bool {
    let (secs, nanos) = time;
    let of_exfat = (secs, nanos - nanos % EXFAT_NANOS);
    let of_fat = (secs - secs.rem_euclid(FAT_SECS), 0);
    nanos != 0 && (cut == of_exfat || cut == of_fat)
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (self.mtime, other.mtime);
        self.size == other.size && (one == two || is_cut(one, two) || is_cut(two, one))
    }
}

impl Eq for Stamp {}

/// What changes when a file's permissions do: then a file that couldn't be read is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessStamp {
    /// When anything about the file last changed, seconds and nanoseconds since 1970.
    pub ctime: (i64, i64),
    /// Its kind and its permissions.
    pub mode: u32,
}

impl AccessStamp {
    pub(super) fn of(meta: &fs::Metadata) -> Self {
        Self {
            ctime: (meta.ctime(), meta.ctime_nsec()),
            mode: meta.mode(),
        }
    }
}
