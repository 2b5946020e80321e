//! What is in the folder, and which of it can be shared. A link is never followed.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::faults::{StoreError, at};
use super::left_out::{LeftOut, is_temporary};
use super::stamp::{AccessStamp, Stamp};
use super::{BESIDE, HIDDEN, NEW, Store};
use crate::torrent::{MAX_SIZE, Name, NameError};

/// A file in the folder, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It can be shared.
    File(Name, Stamp),
    /// It can't be shared, for this reason.
    Odd(String, LeftOut),
}

impl Store {
    /// Lists everything in the folder: the files that can be shared, and what can't be shared with the reason. A file that is
    /// asked for by its name is shared even if it looks like an unfinished download. `.bittorrentish` and what belongs to it are
    /// skipped.
    ///
    /// # Errors
    /// Returns an error if the folder can't be read.
    pub fn look_for(&self, explicit: &dyn Fn(&str) -> bool) -> Result<Vec<Seen>, StoreError> {
        let mut seen = Vec::new();
        for found in self.disk.read_dir(&self.dir).map_err(at(&self.dir))? {
            let shown = found.to_string_lossy().into_owned();
            if shown == HIDDEN || shown.starts_with(BESIDE) && shown.ends_with(NEW) {
                continue;
            }
            // a file that has gone away since isn't an error
            let Ok(meta) = self.disk.lstat(&self.dir.join(&found)) else {
                continue;
            };
            seen.push(match self.shareable(found.to_str(), &meta, explicit) {
                Ok(name) => Seen::File(name, Stamp::of(&meta)),
                Err(why) => Seen::Odd(shown, why),
            });
        }
        Ok(seen)
    }

    fn shareable(
        &self,
        name: Option<&str>,
        meta: &fs::Metadata,
        explicit: &dyn Fn(&str) -> bool,
    ) -> Result<Name, LeftOut> {
        let kind = meta.file_type();
        if name.is_some_and(|name| name.starts_with('.')) {
            return Err(LeftOut::Name(NameError::LeadingDot));
        }
        if kind.is_dir() {
            return Err(LeftOut::Folder(self.dir.clone()));
        }
        if kind.is_symlink() {
            return Err(LeftOut::Link);
        }
        if !kind.is_file() {
            return Err(LeftOut::Special);
        }
        if self.is_output(meta) {
            return Err(LeftOut::Output);
        }
        if meta.len() > MAX_SIZE {
            return Err(LeftOut::TooLarge);
        }
        let name = name.ok_or(LeftOut::NotUtf8)?;
        let name = Name::parse(name).map_err(LeftOut::Name)?;
        if is_temporary(name.as_str()) && !explicit(name.as_str()) {
            return Err(LeftOut::Temporary);
        }
        Ok(name)
    }

    /// Returns what changes when a file's permissions do; `None` if there is no such file.
    pub fn access_stamp(&self, name: &Name) -> Option<AccessStamp> {
        let meta = self.disk.lstat(&self.path(name)).ok()?;
        Some(AccessStamp::of(&meta))
    }

    /// Returns true if anything in the folder has this name, even a folder or a link.
    pub fn exists(&self, name: &Name) -> bool {
        self.disk.lstat(&self.path(name)).is_ok()
    }

    /// Returns true if something that is never shared has this name in the folder: no plain file, or this program's own
    /// output.
    pub fn is_blocked(&self, name: &Name) -> bool {
        let found = self.disk.lstat(&self.path(name));
        found.is_ok_and(|meta| !meta.is_file() || self.is_output(&meta))
    }

    fn is_output(&self, meta: &fs::Metadata) -> bool {
        self.outputs.contains(&(meta.dev(), meta.ino()))
    }

    /// Opens a whole file of the folder for reading.
    ///
    /// # Errors
    /// Returns an error if it isn't a plain file of the folder, or no longer is.
    pub fn open_shared(&self, name: &Name) -> Result<(File, Stamp), StoreError> {
        self.open_plain(&self.path(name), File::options().read(true))
    }

    /// Opens a file that is plain, and no link, before and after: so the open file is the one at this path.
    pub(super) fn open_plain(
        &self,
        path: &Path,
        options: &fs::OpenOptions,
    ) -> Result<(File, Stamp), StoreError> {
        let is_plain = || self.disk.lstat(path).map(|meta| meta.is_file());
        let in_the_way = || StoreError::InTheWay(path.to_owned());
        if !is_plain().map_err(at(path))? {
            return Err(in_the_way());
        }
        let file = self.disk.open(path, options).map_err(at(path))?;
        let opened = file.metadata().map_err(at(path))?;
        if !opened.is_file() || !is_plain().map_err(at(path))? {
            return Err(in_the_way());
        }
        Ok((file, Stamp::of(&opened)))
    }
}
