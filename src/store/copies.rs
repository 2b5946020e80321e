//! Files that arrive whole: copies from originals, and uploads; and the removal of those that an earlier run left
//! unfinished.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::faults::{StoreError, at};
use super::{BESIDE, NEW, Store, digits_of};
use crate::torrent::Name;

impl Store {
    /// Creates an empty file for a copy from an original, or for an upload; `which` is the file's ending: `copy1`,
    /// `copy2` or `upload`.
    ///
    /// # Errors
    /// Returns an error if it can't be made.
    pub fn new_copy(&self, name: &Name, which: &str) -> Result<Copy, StoreError> {
        let path = self.hidden.join(format!("{}.{which}", digits_of(name)));
        let file = self.in_hidden(|| {
            let gone = self.disk.remove(&path);
            if let Err(fault) = gone
                && fault.kind() != ErrorKind::NotFound
            {
                return Err(StoreError::Io(path.clone(), fault));
            }
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            self.disk.open(&path, &options).map_err(at(&path))
        })?;
        Ok(Copy {
            file,
            path,
            size: 0,
        })
    }

    /// Appends to a copy. If that fails, the copy is emptied: half of it is useless, and other files may need the room.
    ///
    /// # Errors
    /// Returns an error if the disk doesn't take it.
    pub fn append(&self, copy: &mut Copy, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.disk.write_all_at(&copy.file, bytes, copy.size);
        copy.size += bytes.len() as u64;
        written.map_err(|fault| {
            let _ = self.disk.set_len(&copy.file, 0);
            StoreError::Io(copy.path.clone(), fault)
        })
    }

    /// Removes the copies and uploads that an earlier run received in part, and the files that it didn't finish writing:
    /// they can't be resumed.
    pub(super) fn discard_left_overs(&self) {
        for name in self.disk.read_dir(&self.hidden).unwrap_or_default() {
            let path = self.hidden.join(name);
            let ending = path.extension().and_then(|ending| ending.to_str());
            if matches!(ending, Some("copy1" | "copy2" | "upload" | "new")) {
                let _ = self.disk.remove(&path);
            }
        }
        for name in self.disk.read_dir(&self.dir).unwrap_or_default() {
            let shown = name.to_string_lossy();
            if shown.starts_with(BESIDE) && shown.ends_with(NEW) {
                let _ = self.disk.remove(&self.dir.join(&name));
            }
        }
    }
}

/// A copy from an original, or an upload, not yet in the folder. It is removed when this value is dropped.
pub struct Copy {
    /// The file, open for reading and writing.
    pub file: File,
    /// Bytes received so far.
    pub size: u64,
    pub(super) path: PathBuf,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes a file so that afterwards it is either complete or as it was before.
///
/// # Errors
/// Returns an error if the disk doesn't take it; the new file is removed then.
pub fn write_atomically(
    disk: &dyn Disk,
    path: &Path,
    beside: &Path,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    let written = disk.open(beside, &options).and_then(|file| {
        disk.write_all_at(&file, bytes, 0)?;
        disk.sync(&file)
    });
    let renamed = written.and_then(|()| disk.rename(beside, path));
    renamed.map_err(|fault| {
        let _ = disk.remove(beside);
        StoreError::Io(path.to_owned(), fault)
    })
}
