//! What is remembered of files from one run to the next: `<MD5 of the content>.<16 digits of the name's MD5>.torrent`.
//!
//! These files save hashing and asking; one that is torn, or about something else, is ignored. But one thing is known from here
//! alone: that a file came from a swarm, and isn't the user's own. So what can't be read isn't taken for absent, and what says that
//! of a large file is synced: else last week's image would be published as the user's own.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};

use serde::{Deserialize, Serialize};

use super::faults::{StoreError, at};
use super::stamp::Stamp;
use super::{Store, digits_of};
use crate::md5::Digest;
use crate::protocol::TORRENT_CAP;
use crate::torrent::{Name, Torrent};

/// The most contents that are remembered of one name; beyond that the oldest is dropped.
const CONTENTS_A_NAME: usize = 16;
/// What is known of a received file of at least this many bytes is synced. With a sync for each, a thousand of 4 KiB would take 15 s
/// instead of 8 s to come.
const SYNCED: u64 = 16 << 20;
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

/// The remembered contents of each name, the oldest first.
#[derive(Default)]
pub(super) struct Memory(HashMap<Name, Vec<Known>>);

impl Memory {
    /// Adds the newest content of a name, and returns one that is too many.
    fn put(&mut self, name: &Name, new: Known) -> Option<Known> {
        let known = self.0.entry(name.clone()).or_default();
        known.retain(|old| old.md5 != new.md5);
        known.push(new);
        (known.len() > CONTENTS_A_NAME).then(|| known.remove(0))
    }
}

fn file_of(name: &Name, md5: Digest) -> String {
    format!("{md5}.{}.torrent", digits_of(name))
}

impl Store {
    /// Reads what earlier runs remembered. The first version's `NAME.torrent` gets the name that it has now: if that file isn't
    /// whole, the `.torrent` came from a swarm.
    ///
    /// # Errors
    /// Returns an error if it can't be read.
    pub(super) fn load_memory(&self) -> Result<Memory, StoreError> {
        let mut found = Vec::new();
        for file in self.disk.read_dir(&self.hidden).map_err(at(&self.hidden))? {
            let Some(file) = file.to_str().filter(|file| file.ends_with(".torrent")) else {
                continue;
            };
            let saved = match self.read_saved(file) {
                Err(_) if self.is_read_only => None,
                read => read?,
            };
            let Some(mut saved) = saved else {
                continue;
            };
            let (name, md5) = (saved.torrent.name().clone(), saved.torrent.md5());
            let own = file_of(&name, md5);
            let path = self.hidden.join(&own);
            let is_first_versions = file == format!("{}.torrent", name.as_str());
            if is_first_versions && !self.is_read_only && self.is_free(&path).unwrap_or(false) {
                saved.received |= saved.stamp.is_none();
                if self.save(&saved).is_ok() {
                    let _ = self.disk.remove(&self.hidden.join(file));
                }
            } else if file != own {
                continue;
            }
            match self.disk.lstat(&path) {
                Ok(meta) => found.push((Stamp::of(&meta).mtime, md5, name, Known::of(&saved))),
                Err(fault) if self.is_read_only || fault.kind() == ErrorKind::NotFound => {}
                Err(fault) => return Err(at(&path)(fault)),
            }
        }
        found.sort_by_key(|(mtime, md5, ..)| (*mtime, *md5));
        let mut memory = Memory::default();
        for (.., name, known) in found {
            let too_many = memory.put(&name, known);
            self.forget(&name, too_many);
        }
        Ok(memory)
    }

    /// Removes the file of a content that isn't remembered any more.
    fn forget(&self, name: &Name, known: Option<Known>) {
        if let Some(known) = known.filter(|_| !self.is_read_only) {
            let _ = self
                .disk
                .remove(&self.hidden.join(file_of(name, known.md5)));
        }
    }

    fn read_saved(&self, file: &str) -> Result<Option<Saved>, StoreError> {
        let bytes = self.get_hidden(file, TORRENT_CAP + BESIDE_THE_TORRENT)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn recall(&self, name: &Name, md5: Digest) -> Option<Saved> {
        let saved = self.read_saved(&file_of(name, md5)).ok()??;
        (saved.torrent.name() == name && saved.torrent.md5() == md5).then_some(saved)
    }

    /// Returns the contents that are remembered of a name, the most recent first.
    pub fn known(&self, name: &Name) -> Vec<Known> {
        let memory = self.memory.lock().expect("no panic while locked");
        let known = memory.0.get(name).into_iter().flatten();
        known.rev().cloned().collect()
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
        let mut known = self.known(name);
        // the sort is stable: the most recent stays first among equals
        known.sort_by_key(|known| match known.stamp {
            Some(stamp) if standing == Some(stamp) => 0,
            Some(_) => 1,
            None => 2,
        });
        known.iter().find_map(|known| self.recall(name, known.md5))
    }

    /// Returns what is remembered of this content of a name.
    pub fn saved_content(&self, name: &Name, md5: Digest) -> Option<Saved> {
        let is_known = self.known(name).iter().any(|known| known.md5 == md5);
        is_known.then(|| self.recall(name, md5)).flatten()
    }

    /// Remembers what is known of a file. If the folder is read-only, it does nothing and returns no error.
    ///
    /// # Errors
    /// Returns an error if it can't be written; then the file is only hashed again.
    pub fn save(&self, saved: &Saved) -> Result<(), StoreError> {
        let name = saved.torrent.name();
        let file = file_of(name, saved.torrent.md5());
        let bytes = serde_json::to_vec(saved).expect("plain data");
        let synced = saved.received && saved.torrent.size() >= SYNCED;
        self.put_hidden(&file, &bytes, synced)?;
        if self.is_read_only {
            return Ok(());
        }
        let mut memory = self.memory.lock().expect("no panic while locked");
        let too_many = memory.put(name, Known::of(saved));
        drop(memory);
        self.forget(name, too_many);
        Ok(())
    }

    /// Reads a file of the hidden folder, of which at most `most` bytes count. Returns `None` if there is no such file.
    ///
    /// # Errors
    /// Returns an error if it can't be read.
    pub(super) fn get_hidden(
        &self,
        file: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.hidden.join(file);
        let file = match self.open_plain(&path, File::options().read(true)) {
            Err(fault) if fault.is_gone() => return Ok(None),
            opened => opened?.0,
        };
        let mut bytes = Vec::new();
        let read = file.take(most as u64).read_to_end(&mut bytes);
        read.map_err(at(&path))?;
        Ok(Some(bytes))
    }

    /// Writes a file of the hidden folder, so that it is whole or as it was before; if it isn't `synced`, only as long as the
    /// machine doesn't fail. If the folder is read-only, it does nothing and returns no error.
    pub(super) fn put_hidden(
        &self,
        file: &str,
        bytes: &[u8],
        synced: bool,
    ) -> Result<(), StoreError> {
        if self.is_read_only {
            return Ok(());
        }
        let path = self.hidden.join(file);
        let beside = self.hidden.join(format!("{file}.new"));
        let mut options = File::options();
        options.write(true).create_new(true);
        let write = || {
            let new = self.disk.open(&beside, &options)?;
            self.disk.write_all_at(&new, bytes, 0)?;
            if synced {
                self.disk.sync(&new)?;
            }
            self.disk.rename(&beside, &path)
        };
        let written = self.in_hidden(|| {
            let _ = self.disk.remove(&beside);
            write().map_err(at(&path))
        });
        if written.is_err() {
            let _ = self.disk.remove(&beside);
        }
        written
    }
}
