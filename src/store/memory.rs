//! What is remembered of files from one run to the next: `<MD5 of the content>.<16 digits of the name's MD5>.torrent`.
//!
//! These files are only hints that save hashing and asking. One that is torn, or about something else, is ignored, so
//! nothing is synced.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::faults::{StoreError, at};
use super::stamp::Stamp;
use super::{Store, digits_of};
use crate::md5::Digest;
use crate::protocol::TORRENT_CAP;
use crate::torrent::{Name, Torrent};

/// The most contents that are remembered of one name; beyond that the oldest is dropped.
const CONTENTS_A_NAME: usize = 16;
/// The bytes of a remembered file beside its `.torrent`, at most.
const BESIDE_THE_TORRENT: usize = 4096;

/// What is remembered of a file from one run to the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// The stamp of the file that was hashed; `None` for a file that isn't whole yet.
    pub stamp: Option<Stamp>,
    /// Whether the content is proven; otherwise it only came twice with the same content from originals.
    pub verified: bool,
    /// Whether its `.torrent` came from a swarm.
    #[serde(default)]
    pub received: bool,
    /// The content itself.
    pub torrent: Torrent,
}

/// One content that is remembered of a name: [`Saved`] without the checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The content's MD5.
    pub md5: Digest,
    /// The content's size, bytes.
    pub size: u64,
    /// When it was published, seconds since 1970 by the tracker's clock; 0 if it wasn't.
    pub published: u64,
    /// The stamp of the file that was hashed; `None` for a file that isn't whole yet.
    pub stamp: Option<Stamp>,
    /// Whether the content is proven.
    pub verified: bool,
    /// Whether its `.torrent` came from a swarm.
    pub received: bool,
}

impl Known {
    fn of(saved: &Saved) -> Self {
        Self {
            md5: saved.torrent.md5(),
            size: saved.torrent.size(),
            published: saved.torrent.published,
            stamp: saved.stamp,
            verified: saved.verified,
            received: saved.received,
        }
    }
}

/// What is known of a content, and which file of the hidden folder has the rest of it.
#[derive(Clone)]
struct MemoryEntry {
    known: Known,
    file: String,
}

/// The remembered contents of each name, the oldest first.
#[derive(Default)]
pub(super) struct Memory(HashMap<Name, Vec<MemoryEntry>>);

impl Memory {
    /// Adds the newest content of a name, and returns the files that are no longer needed.
    fn put(&mut self, name: &Name, entry: MemoryEntry) -> Vec<String> {
        let entries = self.0.entry(name.clone()).or_default();
        let mut gone = Vec::new();
        entries.retain(|old| {
            let replaced = old.known.md5 == entry.known.md5;
            if replaced && old.file != entry.file {
                gone.push(old.file.clone());
            }
            !replaced
        });
        entries.push(entry);
        if entries.len() > CONTENTS_A_NAME {
            gone.push(entries.remove(0).file);
        }
        gone
    }
}

fn file_of(name: &Name, md5: Digest) -> String {
    format!("{md5}.{}.torrent", digits_of(name))
}

impl Store {
    /// Reads what earlier runs remembered, the first version's `NAME.torrent` included: if that file isn't whole, the
    /// `.torrent` came from a swarm.
    pub(super) fn load_memory(&self) -> Memory {
        let mut found = Vec::new();
        for file in self.disk.read_dir(&self.hidden).unwrap_or_default() {
            let Some(file) = file.to_str().filter(|file| file.ends_with(".torrent")) else {
                continue;
            };
            let path = self.hidden.join(file);
            let Some(mut saved) = self.read_saved(file) else {
                continue;
            };
            let torrent = &saved.torrent;
            let by_name = format!("{}.torrent", torrent.name().as_str());
            if file == by_name {
                saved.received |= saved.stamp.is_none();
            } else if file != file_of(torrent.name(), torrent.md5()) {
                continue;
            }
            let Ok(meta) = self.disk.lstat(&path) else {
                continue;
            };
            let entry = MemoryEntry {
                known: Known::of(&saved),
                file: file.to_owned(),
            };
            found.push((Stamp::of(&meta).mtime, torrent.name().clone(), entry));
        }
        found.sort_by(|one, two| (one.0, &one.2.file).cmp(&(two.0, &two.2.file)));
        let mut memory = Memory::default();
        for (_, name, entry) in found {
            let gone = memory.put(&name, entry).into_iter();
            gone.filter(|_| !self.is_read_only)
                .for_each(|file| drop(self.disk.remove(&self.hidden.join(file))));
        }
        memory
    }

    fn read_saved(&self, file: &str) -> Option<Saved> {
        let bytes = self.get_hidden(file, TORRENT_CAP + BESIDE_THE_TORRENT)?;
        serde_json::from_slice(&bytes).ok()
    }

    fn recall(&self, name: &Name, entry: &MemoryEntry) -> Option<Saved> {
        let mut saved = self.read_saved(&entry.file)?;
        let fits = saved.torrent.name() == name && saved.torrent.md5() == entry.known.md5;
        saved.received = entry.known.received;
        fits.then_some(saved)
    }

    fn entries(&self, name: &Name) -> Vec<MemoryEntry> {
        let memory = self.memory.lock().expect("no panic while locked");
        let entries = memory.0.get(name).into_iter().flatten();
        entries.rev().cloned().collect()
    }

    /// Returns the contents that are remembered of a name, the most recent first.
    pub fn known(&self, name: &Name) -> Vec<Known> {
        let entries = self.entries(name).into_iter();
        entries.map(|entry| entry.known).collect()
    }

    /// Returns the contents of a name that were never whole here, the most recent first.
    pub(super) fn unfinished(&self, name: &Name) -> Vec<Digest> {
        let known = self.known(name).into_iter();
        let unfinished = known.filter(|known| known.stamp.is_none());
        unfinished.map(|known| known.md5).collect()
    }

    /// Returns what is remembered of a name: of the file in the folder, if it wasn't touched; otherwise of the most
    /// recent content that was whole; otherwise of the most recent one.
    pub fn saved(&self, name: &Name) -> Option<Saved> {
        let standing = self.disk.lstat(&self.path(name)).ok();
        let standing = standing.filter(|meta| meta.is_file());
        let standing = standing.map(|meta| Stamp::of(&meta));
        let mut entries = self.entries(name);
        // the sort is stable: the most recent stays first among equals
        entries.sort_by_key(|entry| match entry.known.stamp {
            Some(stamp) if standing == Some(stamp) => 0,
            Some(_) => 1,
            None => 2,
        });
        entries.iter().find_map(|entry| self.recall(name, entry))
    }

    /// Returns what is remembered of this content of a name.
    pub fn saved_content(&self, name: &Name, md5: Digest) -> Option<Saved> {
        let entries = self.entries(name);
        let entry = entries.iter().find(|entry| entry.known.md5 == md5)?;
        self.recall(name, entry)
    }

    /// Remembers what is known of a file. If the folder is read-only, it does nothing and returns no error.
    ///
    /// # Errors
    /// Returns an error if it can't be written; then the file is only hashed again.
    pub fn save(&self, saved: &Saved) -> Result<(), StoreError> {
        let name = saved.torrent.name();
        let file = file_of(name, saved.torrent.md5());
        self.put_hidden(&file, &serde_json::to_vec(saved).expect("plain data"))?;
        if self.is_read_only {
            return Ok(());
        }
        let known = Known::of(saved);
        let gone = {
            let mut memory = self.memory.lock().expect("no panic while locked");
            memory.put(name, MemoryEntry { known, file })
        };
        for file in gone {
            let _ = self.disk.remove(&self.hidden.join(file));
        }
        Ok(())
    }

    /// Reads a file of the hidden folder, of which at most `most` bytes count.
    pub(super) fn get_hidden(&self, file: &str, most: usize) -> Option<Vec<u8>> {
        let path = self.hidden.join(file);
        let (file, _) = self.open_plain(&path, File::options().read(true)).ok()?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Writes a file of the hidden folder, so that it is whole or as it was before. If the folder is read-only, it does
    /// nothing and returns no error.
    pub(super) fn put_hidden(&self, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if self.is_read_only {
            return Ok(());
        }
        let path = self.hidden.join(file);
        let beside = self.hidden.join(format!("{file}.new"));
        let mut options = File::options();
        options.write(true).create_new(true);
        let written = self.in_hidden(|| {
            let _ = self.disk.remove(&beside);
            let new = self.disk.open(&beside, &options);
            new.and_then(|new| self.disk.write_all_at(&new, bytes, 0))
                .and_then(|()| self.disk.rename(&beside, &path))
                .map_err(at(&path))
        });
        if written.is_err() {
            let _ = self.disk.remove(&beside);
        }
        written
    }
}
