//! The folder of `.torrent`s: `NAME.torrent` each, and for a moment `.new-…`, which no name begins with.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use super::events::Event;
use crate::protocol::{Summary, TORRENT_CAP, invalid, parse, to_bytes};
use crate::store::{Plain, StoreError, write_atomically};
use crate::torrent::{Name, Torrent};

pub(super) struct Shelf(PathBuf);

impl Shelf {
    /// Makes the folder, and sees whether it can be written to.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let shelf = Self(path.to_owned());
        File::create(shelf.beside())?;
        fs::remove_file(shelf.beside())?;
        Ok(shelf)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.0.join(format!("{}.torrent", name.as_str()))
    }

    /// Only the publisher of the moment writes it; another tracker in the same folder has its own.
    fn beside(&self) -> PathBuf {
        self.0.join(format!(".new-{}", process::id()))
    }

    /// Puts a `.torrent` in its place: after a power cut there is the old one or the new one, whole. One call at a time.
    pub(super) fn put(&self, torrent: &Torrent) -> Result<(), StoreError> {
        write_atomically(
            &Plain,
            &self.path(torrent.name()),
            &self.beside(),
            &to_bytes(torrent),
        )
    }

    /// Sees to it that what was put outlives a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    /// How many bytes a `.torrent` has; none where it isn't there.
    pub(super) fn len_of(&self, name: &Name) -> u64 {
        fs::metadata(self.path(name)).map_or(0, |found| found.len())
    }

    pub(super) fn get(&self, name: &Name) -> io::Result<Torrent> {
        read(&self.path(name))
    }

    /// Reads what is there. What is no `.torrent` is told of and left alone.
    pub(super) fn load(&self) -> io::Result<(Vec<Summary>, Vec<Event>)> {
        let (mut loaded, mut bad) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().into_owned();
            let name = match file.strip_suffix(".torrent") {
                Some(name) if !name.starts_with('.') => name,
                _ => continue,
            };
            let why = match read(&entry.path()) {
                Ok(torrent) if torrent.name().as_str() == name => {
                    loaded.push(Summary::of(&torrent));
                    continue;
                }
                Ok(torrent) => format!("it is of {}", torrent.name()),
                Err(fault) => fault.to_string(),
            };
            bad.push(Event::BadTorrent { file, why });
        }
        Ok((loaded, bad))
    }
}

fn read(path: &Path) -> io::Result<Torrent> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > TORRENT_CAP as u64 {
        return Err(invalid(format!(
            "expected a file of at most {TORRENT_CAP} bytes"
        )));
    }
    parse(&fs::read(path)?)
}
