//! What can go wrong with the folder, in words for people.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::torrent::{Name, legible};
use crate::units::bytes;

/// A fault of the folder. Its text names the path, and what to do about it if that is known.
#[derive(Debug)]
pub enum StoreError {
    /// Another client works on this folder.
    InUse(PathBuf),
    /// What was given as the folder is a file, or the like.
    NotAFolder(PathBuf),
    /// Something other than a folder has the hidden folder's name.
    HiddenInTheWay(PathBuf),
    /// Something other than a plain file has this name.
    InTheWay(PathBuf),
    /// A file with this name has come into the folder in the meantime.
    Exists(PathBuf),
    /// The file system takes this name for that of another file, which is in the folder.
    Folded {
        /// The name to be stored.
        name: Name,
        /// The name that is in the folder.
        stands: String,
    },
    /// Nothing can be written here.
    ReadOnly(PathBuf),
    /// The file is no longer what it was.
    Changed(PathBuf),
    /// The download needs more room than there is.
    NoRoom {
        /// The folder.
        dir: PathBuf,
        /// Bytes that the download needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The system's error at this path.
    Io(PathBuf, io::Error),
}

impl StoreError {
    /// Returns true if there is no room: it may become free again.
    pub fn is_full(&self) -> bool {
        if matches!(self, Self::NoRoom { .. }) {
            return true;
        }
        matches!(self, Self::Io(_, fault) if matches!(fault.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    }

    /// Returns true if this process, or the machine, has no file descriptor left: that passes, as connections end.
    pub fn is_out_of_descriptors(&self) -> bool {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        let Self::Io(_, fault) = self else {
            return false;
        };
        matches!(fault.raw_os_error(), Some(ENFILE | EMFILE))
    }

    /// Returns true if the file is gone or has changed.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Changed(_) | Self::InTheWay(_) => true,
            Self::Io(_, fault) => fault.kind() == ErrorKind::NotFound,
            _ => false,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { dir, needed, free } => write!(
                f,
                "not enough room in {}: {} more are needed, {} are free",
                dir.display(),
                bytes(*needed),
                bytes(*free)
            ),
            Self::InUse(path) => write!(
                f,
                "another client works on {}, perhaps an earlier run of the same command: let it finish or end it, or give each its own folder",
                path.display()
            ),
            Self::NotAFolder(path) => write!(
                f,
                "{} isn't a folder: give a folder to share from and download into",
                path.display()
            ),
            Self::HiddenInTheWay(path) => write!(
                f,
                "{} isn't a folder, which unfinished files need: move it away",
                path.display()
            ),
            Self::InTheWay(path) => {
                write!(f, "{} isn't a plain file: move it away", path.display())
            }
            Self::Exists(path) => write!(
                f,
                "{} came into the folder meanwhile; it is left as it is",
                path.display()
            ),
            Self::Folded { name, stands } => write!(
                f,
                "{name} can't be stored here beside {}: to this file system they are the same name, as names are that differ in case or \
                 Unicode form only; use another folder",
                legible(stands)
            ),
            Self::ReadOnly(path) => write!(f, "{} can't be written to", path.display()),
            Self::Changed(path) => write!(f, "{} has changed meanwhile", path.display()),
            Self::Io(path, fault) => match fault.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    let path = path.display();
                    write!(f, "disk full: no room for {path}, or no inode (`df -i`)")
                }
                ErrorKind::PermissionDenied => write!(f, "no permission for {}", path.display()),
                _ => write!(f, "{}: {fault}", path.display()),
            },
        }
    }
}

impl std::error::Error for StoreError {}

/// Wraps the system's error at this path.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    |fault| StoreError::Io(path.to_owned(), fault)
}
