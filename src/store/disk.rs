//! The file operations that can fail, or differ from one file system to another, with one method each, so that a test can
//! let the k-th of them fail, or imitate a file system that lacks something. Every method is the standard library's, and
//! so are its errors.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Where files are.
pub trait Disk: Send + Sync {
    /// Opens or creates a file.
    ///
    /// # Errors
    /// Returns the system's error.
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        options.open(path)
    }

    /// Reads some bytes.
    ///
    /// # Errors
    /// Returns the system's error.
    fn read_at(&self, file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
        file.read_at(buf, at)
    }

    /// Writes some bytes.
    ///
    /// # Errors
    /// Returns the system's error.
    fn write_at(&self, file: &File, buf: &[u8], at: u64) -> io::Result<usize> {
        file.write_at(buf, at)
    }

    /// Sets the size of a file.
    ///
    /// # Errors
    /// Returns the system's error.
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    /// Waits until a file, or the names in a folder, are on the disk.
    ///
    /// # Errors
    /// Returns the system's error; then nobody knows what is on the disk.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Gives a file a second name, unless the name is taken.
    ///
    /// # Errors
    /// Returns the system's error.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    /// Renames a file.
    ///
    /// # Errors
    /// Returns the system's error.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Removes a name.
    ///
    /// # Errors
    /// Returns the system's error.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Creates a folder, unless the name is taken.
    ///
    /// # Errors
    /// Returns the system's error.
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    /// Returns what stands at this path; a link isn't followed.
    ///
    /// # Errors
    /// Returns the system's error.
    fn lstat(&self, path: &Path) -> io::Result<fs::Metadata> {
        fs::symlink_metadata(path)
    }

    /// Returns the names in a folder.
    ///
    /// # Errors
    /// Returns the system's error.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let entries = fs::read_dir(path)?;
        entries.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Locks a file for this process until it is closed.
    ///
    /// # Errors
    /// Returns an error if another process has locked it; otherwise the system's error.
    fn try_lock(&self, file: &File) -> Result<(), TryLockError> {
        file.try_lock()
    }

    /// Returns the number of the file system that a path is on.
    ///
    /// # Errors
    /// Returns the system's error.
    fn device(&self, path: &Path) -> io::Result<u64> {
        fs::symlink_metadata(path).map(|meta| meta.dev())
    }
}

/// The system's own disk.
pub struct Plain;

impl Disk for Plain {}

impl dyn Disk + '_ {
    /// Reads as many bytes as `buf` has.
    ///
    /// # Errors
    /// Returns the system's error; `UnexpectedEof` if the file ends early.
    pub fn read_exact_at(&self, file: &File, mut buf: &mut [u8], mut at: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(file, buf, at) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => (buf, at) = (&mut buf[n..], at + n as u64),
                Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Writes all of `buf`.
    ///
    /// # Errors
    /// Returns the system's error; `WriteZero` if the file takes nothing more.
    pub fn write_all_at(&self, file: &File, mut buf: &[u8], mut at: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write_at(file, buf, at) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => (buf, at) = (&buf[n..], at + n as u64),
                Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}
