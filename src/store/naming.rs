//! How a file gets its final name.
//!
//! The promise: whatever the file system does or lacks, a final name never stands for unverified bytes, and nothing in
//! the folder is overwritten except the file that is to be replaced.
//!
//! Unlike a rename, a hard link fails if the name is taken. If there are no hard links, we first check that the name is
//! free and then rename; this process does that for one file at a time. If the part is on another file system, or its
//! path no longer leads to the open file, its bytes are copied beside the final name, and are read back and checked
//! before the copy gets that name.

use std::fs::{self, File, FileTimes};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::copies::Copy;
use super::faults::{StoreError, at};
use super::memory::Saved;
use super::stamp::Stamp;
use super::{BESIDE, NEW, STRIDE, Store, digits_of, lacks};
use crate::torrent::{Name, Torrent};

/// Returns true if these bytes are the expected ones.
type Check<'a> = &'a dyn Fn(&File) -> Result<bool, StoreError>;

impl Store {
    /// Returns true if the file system says that nothing stands at this path.
    pub(super) fn is_free(&self, path: &Path) -> Result<bool, StoreError> {
        match self.disk.lstat(path) {
            Ok(_) => Ok(false),
            Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(true),
            Err(fault) => Err(at(path)(fault)),
        }
    }

    /// Returns the name in the folder that the file system takes for `name`. It differs from `name` if the file system
    /// folds names by case or by Unicode form.
    pub fn stands_as(&self, name: &Name) -> Option<String> {
        let meta = self.disk.lstat(&self.path(name)).ok()?;
        let names = self.disk.read_dir(&self.dir).unwrap_or_default();
        if names.iter().any(|found| *found == *name.as_str()) {
            return Some(name.as_str().to_owned());
        }
        let is_it = |found: &&std::ffi::OsString| {
            let found = self.disk.lstat(&self.dir.join(found));
            found.is_ok_and(|found| (found.dev(), found.ino()) == (meta.dev(), meta.ino()))
        };
        let by_case = |found: &&std::ffi::OsString| {
            found.to_string_lossy().to_lowercase() == name.as_str().to_lowercase()
        };
        let stands = names.iter().find(by_case);
        let stands = stands.or_else(|| names.iter().find(is_it));
        Some(stands.map_or_else(
            || name.as_str().to_owned(),
            |found| found.to_string_lossy().into_owned(),
        ))
    }

    /// Returns the error for a name that is taken.
    fn taken(&self, name: &Name) -> StoreError {
        match self.stands_as(name) {
            Some(stands) if stands != name.as_str() => StoreError::Folded {
                name: name.clone(),
                stands,
            },
            _ => StoreError::Exists(self.path(name)),
        }
    }

    /// Gives the file at `from` its final name, unless that is taken.
    fn give_name(&self, from: &Path, name: &Name) -> Result<(), StoreError> {
        let path = self.path(name);
        match self.disk.hard_link(from, &path) {
            Ok(()) => return self.disk.remove(from).map_err(at(from)),
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists => return Err(self.taken(name)),
            Err(fault) if lacks::hard_links(&fault) => {}
            Err(fault) => return Err(at(&path)(fault)),
        }
        let _one_at_a_time = self.naming.lock().expect("no panic while locked");
        if !self.is_free(&path)? {
            return Err(self.taken(name));
        }
        self.disk.rename(from, &path).map_err(at(&path))
    }

    /// Replaces the file in the folder by the one at `from`, if the former is still the expected one.
    fn replace_name(&self, from: &Path, name: &Name, expected: Stamp) -> Result<(), StoreError> {
        let path = self.path(name);
        if self.is_free(&path)? {
            return self.give_name(from, name);
        }
        let _one_at_a_time = self.naming.lock().expect("no panic while locked");
        let meta = self.disk.lstat(&path).map_err(at(&path))?;
        let is_expected = meta.is_file() && Stamp::of(&meta) == expected;
        if !is_expected || self.stands_as(name).as_deref() != Some(name.as_str()) {
            return Err(self.taken(name));
        }
        self.disk.rename(from, &path).map_err(at(&path))
    }

    /// Waits until the folder's names are on the disk, as far as this file system supports that.
    fn sync_folder(&self) -> Result<(), StoreError> {
        let dir = self.disk.open(&self.dir, File::options().read(true));
        match dir.and_then(|dir| self.disk.sync(&dir)) {
            Err(fault) if !lacks::folder_syncs(&fault) => Err(at(&self.dir)(fault)),
            _ => Ok(()),
        }
    }

    /// Returns true if `path` leads to this open file.
    fn is_at(&self, file: &File, path: &Path) -> Result<bool, StoreError> {
        let opened = file.metadata().map_err(at(path))?;
        let found = self.disk.lstat(path);
        let same = |found: fs::Metadata| {
            found.is_file() && (found.dev(), found.ino()) == (opened.dev(), opened.ino())
        };
        Ok(found.is_ok_and(same))
    }

    /// Copies an open file to a path in the folder itself, checks what it reads back, and returns the path and the file.
    fn copy_beside(
        &self,
        from: &File,
        name: &Name,
        content: &str,
        is_good: Check,
    ) -> Result<(PathBuf, File), StoreError> {
        let path = self
            .dir
            .join(format!("{BESIDE}{content}-{}{NEW}", digits_of(name)));
        let copied = self
            .copy_to(from, &path)
            .map_err(at(&path))
            .and_then(|copy| match is_good(&copy)? {
                true => Ok(copy),
                false => {
                    let fault = "the copy isn't what was checked";
                    Err(at(&path)(io::Error::new(ErrorKind::InvalidData, fault)))
                }
            });
        match copied {
            Ok(copy) => Ok((path, copy)),
            Err(fault) => {
                let _ = self.disk.remove(&path);
                Err(fault)
            }
        }
    }

    fn copy_to(&self, from: &File, path: &Path) -> io::Result<File> {
        match self.disk.remove(path) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => return Err(fault),
            _ => {}
        }
        let mut options = File::options();
        let copy = self
            .disk
            .open(path, options.read(true).write(true).create_new(true))?;
        let meta = from.metadata()?;
        self.disk.set_len(&copy, meta.len())?;
        let mut buf = vec![0; STRIDE];
        let mut done = 0;
        while done < meta.len() {
            let n = buf.len().min((meta.len() - done) as usize);
            self.disk.read_exact_at(from, &mut buf[..n], done)?;
            if buf[..n].iter().any(|byte| *byte != 0) {
                self.disk.write_all_at(&copy, &buf[..n], done)?;
            }
            done += n as u64;
        }
        // a reader that has the part open sees a file with the same stamp
        if let Ok(modified) = meta.modified() {
            let _ = copy.set_times(FileTimes::new().set_modified(modified));
        }
        self.disk.sync(&copy)?;
        Ok(copy)
    }

    /// Gives an open file, which was created at `source`, its final name; by a copy if there is no other way.
    fn put_in_place(
        &self,
        source: &Path,
        file: &File,
        name: &Name,
        content: &str,
        (is_good, replaced): (Check, Option<Stamp>),
    ) -> Result<Stamp, StoreError> {
        let path = self.path(name);
        let give = |from: &Path| match replaced {
            Some(expected) => self.replace_name(from, name, expected),
            None => self.give_name(from, name),
        };
        self.disk.sync(file).map_err(at(source))?;
        self.forget_open(&path);
        let is_there = self.is_at(file, source)?;
        if is_there {
            match give(source) {
                Err(StoreError::Io(_, fault)) if fault.kind() == ErrorKind::CrossesDevices => {}
                given => {
                    given?;
                    self.sync_folder()?;
                    return Stamp::of_file(file).map_err(at(&path));
                }
            }
        }
        let (new, copy) = self.copy_beside(file, name, content, is_good)?;
        if let Err(fault) = give(&new) {
            let _ = self.disk.remove(&new);
            return Err(fault);
        }
        self.sync_folder()?;
        if is_there {
            let _ = self.disk.remove(source);
        }
        Stamp::of_file(&copy).map_err(at(&path))
    }

    /// See [`Store::complete`].
    pub(super) fn finish(
        &self,
        torrent: &Torrent,
        file: &File,
        replaced: Option<Stamp>,
    ) -> Result<Stamp, StoreError> {
        let (name, md5) = (torrent.name(), torrent.md5());
        let source = self.part_path(name, md5);
        self.check_len(torrent, file)?;
        if !self.is_open_part(name, md5) {
            return Err(StoreError::Changed(source));
        }
        let is_good = |copy: &File| {
            let have = self.check(torrent, copy, |_, good| good)?;
            Ok(have.is_full())
        };
        let how: (Check, _) = (&is_good, replaced);
        let stamp = self.put_in_place(&source, file, name, &md5.to_string(), how)?;
        self.end_writing(name, md5);
        let mut known = self.known(name).into_iter();
        let own = known.any(|known| known.md5 == md5 && !known.received);
        // only a hint that saves hashing: the file is whole without it
        let _ = self.save(&Saved {
            stamp: Some(stamp),
            verified: true,
            received: !own,
            torrent: torrent.clone(),
        });
        Ok(stamp)
    }

    /// Gives a copy its final name.
    ///
    /// # Errors
    /// Fails as [`Store::complete`] does.
    pub fn complete_copy(&self, name: &Name, copy: &Copy) -> Result<Stamp, StoreError> {
        let is_good = |new: &File| self.are_equal(&copy.file, new, copy.size);
        let how: (Check, _) = (&is_good, None);
        self.put_in_place(&copy.path, &copy.file, name, "copy", how)
    }

    fn are_equal(&self, one: &File, two: &File, size: u64) -> Result<bool, StoreError> {
        let (mut buf, mut other) = (vec![0; STRIDE], vec![0; STRIDE]);
        let mut done = 0;
        while done < size {
            let n = buf.len().min((size - done) as usize);
            self.read(one, &mut buf[..n], done)
                .and_then(|()| self.read(two, &mut other[..n], done))
                .map_err(at(&self.dir))?;
            if buf[..n] != other[..n] {
                return Ok(false);
            }
            done += n as u64;
        }
        Ok(true)
    }
}
