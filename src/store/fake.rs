//! A file system that lacks what some file systems lack, imitated on the one that the tests run on.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Disk, HIDDEN, Plain};

pub(super) const EPERM: i32 = 1;
pub(super) const EIO: i32 = 5;
pub(super) const EBADF: i32 = 9;
pub(super) const EXDEV: i32 = 18;
pub(super) const EINVAL: i32 = 22;
pub(super) const EROFS: i32 = 30;
pub(super) const EMLINK: i32 = 31;
pub(super) const ENOLCK: i32 = 37;
pub(super) const ENOSYS: i32 = 38;
pub(super) const EOPNOTSUPP: i32 = 95;
pub(super) const EACCES: i32 = 13;

/// What this file system does and lacks. The numbers are the errors that it returns.
#[derive(Default)]
pub(super) struct Fake {
    /// It treats names that differ only by case, or by the form of an é, as the same.
    pub folds: bool,
    pub hard_links: Option<i32>,
    pub locks: Option<i32>,
    pub folder_syncs: Option<i32>,
    /// This many files can still be brought to the disk.
    pub file_syncs: Option<AtomicUsize>,
    pub writing: Option<i32>,
    /// `.bittorrentish` is on another file system.
    pub is_split: bool,
    /// A byte of each copy in the folder gets corrupted.
    pub garbles: bool,
    /// Somebody removes `.bittorrentish` this many times right after it was found to be there.
    pub removals: Arc<AtomicUsize>,
    /// This many operations still succeed, and the next one fails; 0 means that none fails.
    pub works: Arc<AtomicUsize>,
    /// Held while a link is made: a real one's name is looked for and given in one step.
    pub linking: Mutex<()>,
}

fn fail(number: Option<i32>) -> io::Result<()> {
    number.map_or(Ok(()), |number| Err(io::Error::from_raw_os_error(number)))
}

fn fold(name: &str) -> String {
    name.to_lowercase().replace("e\u{301}", "é")
}

fn is_hidden(path: &Path) -> bool {
    path.parent().is_some_and(|dir| dir.ends_with(HIDDEN))
}

impl Fake {
    /// Returns the path that this file system takes `path` for.
    fn real(&self, path: &Path) -> PathBuf {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return path.to_owned();
        };
        let wanted = fold(&name.to_string_lossy());
        let is_it = |found: &OsString| fold(&found.to_string_lossy()) == wanted;
        let names = if self.folds {
            Plain.read_dir(dir).unwrap_or_default()
        } else {
            Vec::new()
        };
        let found = names.into_iter().find(is_it);
        found.map_or_else(|| path.to_owned(), |found| dir.join(found))
    }

    fn step(&self) -> io::Result<()> {
        let less = |works: usize| works.checked_sub(1);
        let (load, store) = (Ordering::SeqCst, Ordering::SeqCst);
        let is_due = self.works.fetch_update(load, store, less) == Ok(1);
        fail(is_due.then_some(EIO))
    }

    fn cross(&self, from: &Path, to: &Path) -> io::Result<()> {
        fail((self.is_split && is_hidden(from) != is_hidden(to)).then_some(EXDEV))
    }
}

impl Disk for Fake {
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        self.step()?;
        // the options have no getters, but a debug format
        if format!("{options:?}").contains("write: true") {
            fail(self.writing)?;
        }
        Plain.open(&self.real(path), options)
    }

    fn write_at(&self, file: &File, buf: &[u8], at: u64) -> io::Result<usize> {
        self.step()?;
        let mut buf = buf.to_vec();
        if self.garbles {
            buf[0] ^= 1;
        }
        Plain.write_at(file, &buf, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.step()?;
        if file.metadata()?.is_dir() {
            fail(self.folder_syncs)?;
        } else if let Some(left) = &self.file_syncs {
            fail((left.fetch_sub(1, Ordering::SeqCst) == 0).then_some(EIO))?;
        }
        Plain.sync(file)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fail(self.writing)?;
        self.cross(from, to)?;
        fail(self.hard_links)?;
        let _at_once = self.linking.lock().expect("no panic while locked");
        Plain.hard_link(&self.real(from), &self.real(to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fail(self.writing)?;
        self.cross(from, to)?;
        // long enough for another thread to come between, if it were let in
        std::thread::sleep(Duration::from_millis(2));
        Plain.rename(&self.real(from), &self.real(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fail(self.writing)?;
        Plain.remove(&self.real(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fail(self.writing)?;
        let less = |removals: usize| removals.checked_sub(1);
        let (load, store) = (Ordering::SeqCst, Ordering::SeqCst);
        if self.removals.fetch_update(load, store, less).is_ok() {
            std::fs::remove_dir_all(path)?;
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Plain.create_dir(&self.real(path))
    }

    fn lstat(&self, path: &Path) -> io::Result<Metadata> {
        self.step()?;
        Plain.lstat(&self.real(path))
    }

    fn try_lock(&self, file: &File) -> Result<(), TryLockError> {
        fail(self.locks).map_err(TryLockError::Error)?;
        Plain.try_lock(file)
    }

    fn device(&self, path: &Path) -> io::Result<u64> {
        Ok(u64::from(self.is_split && path.ends_with(HIDDEN)))
    }
}
