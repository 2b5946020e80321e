//! What is in the folder and isn't shared.

use std::fmt;
use std::path::PathBuf;

use crate::torrent::{MAX_SIZE, NameError};
use crate::units::bytes;

/// The endings of names of unfinished downloads and of a system's own files, in either case. A file that is asked for by
/// its name is shared all the same.
pub const TEMPORARY: [&str; 14] = [
    ".crdownload",
    ".part",
    ".partial",
    ".download",
    ".tmp",
    ".temp",
    ".swp",
    ".aria2",
    ".!qb",
    ".!ut",
    ".opdownload",
    ".unconfirmed",
    ".filepart",
    "~",
];
/// The names, in lower case, that systems give to their own files.
const OF_SYSTEMS: [&str; 3] = ["desktop.ini", "thumbs.db", "ehthumbs.db"];

/// Returns true if a file with this name is an unfinished download or a system's own file.
pub fn is_temporary(name: &str) -> bool {
    let name = name.to_lowercase();
    OF_SYSTEMS.contains(&name.as_str()) || TEMPORARY.iter().any(|ending| name.ends_with(ending))
}

/// Why something in the folder isn't shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Its name breaks a rule.
    Name(NameError),
    /// It is a folder.
    Folder(PathBuf),
    /// It is a link.
    Link,
    /// It is a device, a pipe or a socket.
    Special,
    /// It is this program's own output, or its log.
    Output,
    /// It is longer than [`crate::torrent::MAX_SIZE`].
    TooLarge,
    /// Its name isn't text.
    NotUtf8,
    /// It is an unfinished download, or a system's own file: see [`TEMPORARY`].
    Temporary,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(fault) => fault.fmt(f),
            Self::Folder(dir) => {
                write!(
                    f,
                    "a folder: only files directly in {} are shared",
                    dir.display()
                )
            }
            Self::Link => write!(f, "a link: links aren't followed"),
            Self::Special => write!(f, "a device, a pipe or a socket: only files are shared"),
            Self::Output => write!(f, "this program writes its lines to it"),
            Self::TooLarge => write!(f, "it is longer than {}, the most", bytes(MAX_SIZE)),
            Self::NotUtf8 => write!(f, "its name isn't UTF-8"),
            Self::Temporary => write!(f, "an unfinished download or a system's file, by its name"),
        }
    }
}
