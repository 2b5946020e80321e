//! The file operations that can fail in the middle of a download, one method each, so that a test can have the k-th of
//! them fail. Every method is the standard library's, and so are its errors.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where files are.
pub trait Disk: Send + Sync {
    /// Opens or makes a file.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        options.open(path)
    }

    /// Reads some bytes.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
        file.read_at(buf, at)
    }

    /// Writes some bytes.
    ///
    /// # Errors
    /// The system's.
    fn write_at(&self, file: &File, buf: &[u8], at: u64) -> io::Result<usize> {
        file.write_at(buf, at)
    }

    /// Gives a file its size.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    /// Waits until a file, or a folder's names, are on the disk.
    ///
    /// # Errors
    /// The system's; it doesn't say what is on the disk then.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Gives a file a second name, where nothing has that.
    ///
    /// # Errors
    /// The system's.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// The system's own.
pub struct Plain;

impl Disk for Plain {}

impl dyn Disk + '_ {
    /// Reads as many bytes as `buf` has.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` where the file ends before.
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
    /// The system's; `WriteZero` where it takes nothing more.
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
