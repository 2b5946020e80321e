//! A cache of open files: a shared file needs no descriptor while nobody reads it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Store;
use super::faults::{StoreError, at};
use super::stamp::Stamp;
use crate::md5::Digest;
use crate::torrent::{Name, Torrent};

/// The most files that are kept open: a peer that shares a thousand files may have only 1024 descriptors.
const OPEN_FILES: usize = 32;

/// Where bytes are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The whole file of this name, as it was when it was hashed.
    Whole(Name, Stamp),
    /// The part of this content of a name.
    Part(Name, Digest),
}

impl Location {
    /// Returns the place of this `.torrent`'s part.
    pub fn part(torrent: &Torrent) -> Self {
        Self::Part(torrent.name().clone(), torrent.md5())
    }
}

/// Open files by their paths, the least recently used first.
#[derive(Default)]
pub(super) struct OpenFiles(Vec<(PathBuf, Arc<File>)>);

impl OpenFiles {
    fn get(&mut self, path: &Path) -> Option<Arc<File>> {
        let at = self.0.iter().position(|(of, _)| of == path)?;
        let used = self.0.remove(at);
        let file = Arc::clone(&used.1);
        self.0.push(used);
        Some(file)
    }

    fn put(&mut self, path: PathBuf, file: Arc<File>) {
        self.0.retain(|(of, _)| *of != path);
        if self.0.len() >= OPEN_FILES {
            self.0.remove(0);
        }
        self.0.push((path, file));
    }
}

impl Store {
    fn path_of(&self, place: &Location) -> PathBuf {
        match place {
            Location::Whole(name, _) => self.path(name),
            Location::Part(name, md5) => self.part_path(name, *md5),
        }
    }

    /// Opens the file at a place, or takes it from the cache; a part can also be written to. A whole file must still have
    /// the stamp that is asked for.
    ///
    /// # Errors
    /// Returns [`StoreError::Changed`] if the whole file is no longer what it was; otherwise the system's error.
    pub fn open_at(&self, place: &Location) -> Result<Arc<File>, StoreError> {
        let path = self.path_of(place);
        let cached = self.cache.lock().expect("no panic while locked").get(&path);
        let file = match (place, cached) {
            (Location::Part(..), Some(file)) => return Ok(file),
            (Location::Whole(_, stamp), Some(file))
                if Stamp::of_file(&file).is_ok_and(|now| now == *stamp) =>
            {
                return Ok(file);
            }
            // it was replaced, perhaps by the file that is asked for
            (Location::Whole(name, stamp), _) => {
                self.forget_open(&path);
                let (file, now) = self.open_shared(name)?;
                if now != *stamp {
                    return Err(StoreError::Changed(path));
                }
                file
            }
            (Location::Part(..), None) => {
                let mut options = File::options();
                self.open_plain(&path, options.read(true).write(true))?.0
            }
        };
        let file = Arc::new(file);
        let mut cache = self.cache.lock().expect("no panic while locked");
        cache.put(path, Arc::clone(&file));
        Ok(file)
    }

    /// Reads bytes at a place.
    ///
    /// # Errors
    /// Fails as [`Store::open_at`] does, or if the file ends early.
    pub fn read_at(&self, place: &Location, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let file = self.open_at(place)?;
        let read = self.read(&file, buf, offset);
        read.map_err(|fault| at(&self.path_of(place))(fault))
    }

    /// Writes into a part that was opened by [`Store::open_part`]. Returns false if the part is done with.
    ///
    /// # Errors
    /// Fails as [`Store::open_at`] does, or if the disk doesn't take it.
    pub(super) fn write_part(
        &self,
        torrent: &Torrent,
        bytes: &[u8],
        offset: u64,
    ) -> Result<bool, StoreError> {
        if !self.is_open_part(torrent.name(), torrent.md5()) {
            return Ok(false);
        }
        let file = self.open_at(&Location::part(torrent))?;
        self.write(torrent, &file, bytes, offset)
    }

    /// Drops a file from the cache, which closes it once nobody uses it.
    pub(super) fn forget_open(&self, path: &Path) {
        let mut cache = self.cache.lock().expect("no panic while locked");
        cache.0.retain(|(of, _)| of != path);
    }

    /// Returns how many files are kept open.
    #[cfg(test)]
    pub(super) fn open_files(&self) -> usize {
        self.cache.lock().expect("no panic while locked").0.len()
    }
}
