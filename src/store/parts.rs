//! Unfinished files: `<MD5 of the content>.part` has the pieces so far, at their places.
//!
//! If two names with one content are fetched at once, the second has a part of its own, with the name's digits in
//! between. Holes stay holes: a range that was never written reads as zeros, so zeros aren't written there.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use super::cache::{Location, OpenKey};
use super::faults::{StoreError, at};
use super::{Store, digits_of};
use crate::md5::Digest;
use crate::torrent::{Name, Torrent};

/// Blocks of this many zero bytes are left out as holes, as a whole or not at all.
const HOLE: usize = 64 << 10;

/// A part that is worked on.
struct OpenPart {
    /// Its file in the hidden folder.
    file: String,
    /// Which strides were written to. `None` if the part existed before: then it may have any content.
    written: Option<HashSet<u64>>,
    /// Whether it is done with. Locked for reading by each thread that writes to it: the next content's part may be the same
    /// file.
    is_done: Arc<RwLock<bool>>,
}

/// The parts that were opened in this run and are still in use, and how long has been written to them, summed up over the
/// threads.
#[derive(Default)]
pub(super) struct OpenParts(HashMap<(Name, Digest), OpenPart>, Duration);

impl OpenParts {
    fn is_anothers(&self, name: &Name, file: &str) -> bool {
        let mut parts = self.0.iter();
        parts.any(|((of, _), part)| of != name && part.file == file)
    }

    fn place_of(&self, name: &Name, md5: Digest, is_at_second: bool) -> String {
        let first = first_place(md5);
        match self.0.get(&(name.clone(), md5)) {
            Some(part) => part.file.clone(),
            None if is_at_second || self.is_anothers(name, &first) => second_place(name, md5),
            None => first,
        }
    }
}

fn first_place(md5: Digest) -> String {
    format!("{md5}.part")
}

fn second_place(name: &Name, md5: Digest) -> String {
    format!("{md5}.{}.part", digits_of(name))
}

/// Returns the ranges of `bytes`, which begin at `offset`, that have to be written; from now on these count as written.
fn to_write(written: &mut HashSet<u64>, bytes: &[u8], offset: u64) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let place = offset + start as u64;
        let to_the_next = HOLE - (place % HOLE as u64) as usize;
        let end = bytes.len().min(start + to_the_next);
        let stride = place / HOLE as u64;
        let is_zero = bytes[start..end].iter().all(|byte| *byte == 0);
        if !is_zero || written.contains(&stride) {
            written.insert(stride);
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        start = end;
    }
    ranges
}

impl Store {
    fn is_plain(&self, file: &str) -> bool {
        let found = self.disk.lstat(&self.hidden.join(file));
        found.is_ok_and(|meta| meta.is_file())
    }

    /// Returns true if an earlier run left this content's part only at the second place.
    fn is_at_second(&self, name: &Name, md5: Digest) -> bool {
        self.is_plain(&second_place(name, md5)) && !self.is_plain(&first_place(md5))
    }

    /// Returns the path of this content's part: the place that it has in this run, or else the one where an earlier run
    /// left it.
    fn find_part(&self, name: &Name, md5: Digest) -> String {
        let is_at_second = self.is_at_second(name, md5);
        let parts = self.parts.lock().expect("no panic while locked");
        parts.place_of(name, md5, is_at_second)
    }

    pub(super) fn part_path(&self, name: &Name, md5: Digest) -> PathBuf {
        self.hidden.join(self.find_part(name, md5))
    }

    /// Takes a place for this content's part, which may have any content.
    fn take_part(&self, name: &Name, md5: Digest) -> PathBuf {
        let is_at_second = self.is_at_second(name, md5);
        let mut parts = self.parts.lock().expect("no panic while locked");
        let file = parts.place_of(name, md5, is_at_second);
        let path = self.hidden.join(&file);
        let part = OpenPart {
            file,
            written: None,
            is_done: Arc::default(),
        };
        parts.0.insert((name.clone(), md5), part);
        path
    }

    /// Returns true if this content's part was opened and is still in use.
    pub(super) fn is_open_part(&self, name: &Name, md5: Digest) -> bool {
        let parts = self.parts.lock().expect("no panic while locked");
        parts.0.contains_key(&(name.clone(), md5))
    }

    /// Ends the writing to a part. When it returns, nobody writes to it any more.
    pub(super) fn end_writing(&self, name: &Name, md5: Digest) {
        let mut parts = self.parts.lock().expect("no panic while locked");
        let part = parts.0.remove(&(name.clone(), md5));
        drop(parts);
        if let Some(part) = part {
            *part.is_done.write().expect("no panic while locked") = true;
        }
    }

    /// Ends the use of a part: nothing is written to it any more, and it isn't kept open.
    pub(super) fn part_is_done(&self, name: &Name, md5: Digest) {
        self.end_writing(name, md5);
        self.forget_open(&OpenKey::Part(name.clone(), md5));
    }

    /// Closes a part that has its final name by now. Until then its pieces could still be read from it.
    pub fn close_part(&self, torrent: &Torrent) {
        self.forget_open(&OpenKey::Part(torrent.name().clone(), torrent.md5()));
    }

    /// Turns what the first version left of this name into the part at `path`, if nothing stands there. It is checked
    /// like any other part.
    fn adopt_first_versions(&self, name: &Name, path: &PathBuf) -> Result<(), StoreError> {
        let left = format!("{}.part", name.as_str());
        let left_at = self.hidden.join(&left);
        if &left_at != path && self.is_plain(&left) && self.is_free(path)? {
            self.disk.rename(&left_at, path).map_err(at(&left_at))?;
        }
        Ok(())
    }

    /// Opens the unfinished file at its full size, and returns whether it existed before.
    ///
    /// # Errors
    /// Returns an error if it can't be created: the folder may be read-only, or the file system may not allow files of
    /// that size.
    pub fn open_part(&self, torrent: &Torrent) -> Result<(File, bool), StoreError> {
        self.in_hidden(|| self.try_open_part(torrent))
    }

    fn try_open_part(&self, torrent: &Torrent) -> Result<(File, bool), StoreError> {
        let (name, md5) = (torrent.name(), torrent.md5());
        let path = self.take_part(name, md5);
        self.forget_open(&OpenKey::Part(name.clone(), md5));
        self.adopt_first_versions(name, &path)?;
        // a run was cut off between the two names of a whole file: it is the user's by now and mustn't be written to
        let found = self.disk.lstat(&path);
        if found.is_ok_and(|meta| meta.is_file() && meta.nlink() > 1) {
            self.disk.remove(&path).map_err(at(&path))?;
        }
        let mut options = File::options();
        options.read(true).write(true);
        let new = self.disk.open(&path, options.clone().create_new(true));
        let (file, was_there) = match new {
            Ok(file) => (file, false),
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists => {
                (self.open_plain(&path, &options)?.0, true)
            }
            Err(fault) => return Err(StoreError::Io(path, fault)),
        };
        if file.metadata().map_err(at(&path))?.len() != torrent.size() {
            self.disk
                .set_len(&file, torrent.size())
                .map_err(at(&path))?;
        }
        if !was_there {
            let mut parts = self.parts.lock().expect("no panic while locked");
            if let Some(part) = parts.0.get_mut(&(name.clone(), md5)) {
                part.written = Some(HashSet::new());
            }
        }
        Ok((file, was_there))
    }

    /// Returns how many bytes of a content's part are on the disk already.
    pub fn part_on_disk(&self, torrent: &Torrent) -> u64 {
        let path = self.part_path(torrent.name(), torrent.md5());
        self.disk.lstat(&path).map_or(0, |meta| meta.blocks() * 512)
    }

    /// Continues a download of this name with another content: the part of content `old` becomes the new one's part, so
    /// that the blocks that both have in common are kept. Returns true if there was such a part and none of the new
    /// content. The caller opens and checks it like any existing part; nothing may be written to the old one any more.
    ///
    /// # Errors
    /// Returns an error if it can't be renamed.
    pub fn adopt_part(&self, old: Digest, torrent: &Torrent) -> Result<bool, StoreError> {
        self.in_hidden(|| self.try_adopt_part(old, torrent))
    }

    fn try_adopt_part(&self, old: Digest, torrent: &Torrent) -> Result<bool, StoreError> {
        let (name, md5) = (torrent.name(), torrent.md5());
        let (from, to) = (self.find_part(name, old), self.find_part(name, md5));
        let anothers = {
            let parts = self.parts.lock().expect("no panic while locked");
            parts.is_anothers(name, &from) || parts.is_anothers(name, &to)
        };
        let (from_path, to_path) = (self.hidden.join(&from), self.hidden.join(&to));
        if anothers || old == md5 || !self.is_plain(&from) || !self.is_free(&to_path)? {
            return Ok(false);
        }
        self.part_is_done(name, old);
        self.part_is_done(name, md5);
        self.disk
            .rename(&from_path, &to_path)
            .map_err(at(&from_path))?;
        Ok(true)
    }

    /// Continues a head's part as that of a content that extends it, without a check: this run has verified what is in it.
    /// Returns false if there is no such part, or one of the longer content.
    ///
    /// # Errors
    /// Returns an error if it can't be renamed, or can't be as long.
    pub fn continue_part(&self, head: &Torrent, longer: &Torrent) -> Result<bool, StoreError> {
        let name = longer.name();
        let written = {
            let parts = self.parts.lock().expect("no panic while locked");
            let part = parts.0.get(&(name.clone(), head.md5()));
            part.map(|part| part.written.clone())
        };
        let Some(written) = written.filter(|_| longer.extends(head)) else {
            return Ok(false);
        };
        if !self.adopt_part(head.md5(), longer)? {
            return Ok(false);
        }
        let path = self.take_part(name, longer.md5());
        let file = self.open_at(&Location::part(longer))?;
        let set = self.disk.set_len(&file, longer.size());
        set.map_err(at(&path))?;
        let mut parts = self.parts.lock().expect("no panic while locked");
        if let Some(part) = parts.0.get_mut(&(name.clone(), longer.md5())) {
            part.written = written;
        }
        Ok(true)
    }

    /// Removes what is unfinished of one content of a name.
    pub fn discard_part_of(&self, name: &Name, md5: Digest) {
        let file = self.find_part(name, md5);
        let anothers = {
            let parts = self.parts.lock().expect("no panic while locked");
            parts.is_anothers(name, &file)
        };
        self.part_is_done(name, md5);
        if !anothers {
            let _ = self.disk.remove(&self.hidden.join(file));
        }
    }

    /// Removes what is unfinished of other contents of a file's name, and of its heads: earlier runs left that, and nobody
    /// goes on with it.
    pub fn discard_other_parts(&self, torrent: &Torrent) {
        let others = self.unfinished(torrent.name()).into_iter();
        let others = others.filter(|md5| *md5 != torrent.md5());
        for md5 in others.chain(torrent.heads()) {
            self.discard_part_of(torrent.name(), md5);
        }
    }

    /// Writes into a part. Returns false without writing if the part is done with: by then `file` may be the user's.
    ///
    /// # Errors
    /// Returns an error if the disk doesn't take it.
    pub(super) fn write(
        &self,
        torrent: &Torrent,
        file: &File,
        bytes: &[u8],
        offset: u64,
    ) -> Result<bool, StoreError> {
        let key = (torrent.name().clone(), torrent.md5());
        let (ranges, is_done) = {
            let mut parts = self.parts.lock().expect("no panic while locked");
            let Some(part) = parts.0.get_mut(&key) else {
                return Ok(false);
            };
            let ranges = match &mut part.written {
                Some(written) => to_write(written, bytes, offset),
                None => std::iter::once(0..bytes.len()).collect(),
            };
            (ranges, Arc::clone(&part.is_done))
        };
        let is_done = is_done.read().expect("no panic while locked");
        if *is_done {
            return Ok(false);
        }
        let start = Instant::now();
        for range in ranges {
            self.disk
                .write_all_at(file, &bytes[range.clone()], offset + range.start as u64)
                .map_err(|fault| at(&self.part_path(&key.0, key.1))(fault))?;
        }
        self.parts.lock().expect("no panic while locked").1 += start.elapsed();
        Ok(true)
    }

    /// Returns how long parts have been written to, summed up over all threads.
    pub fn time_written(&self) -> Duration {
        self.parts.lock().expect("no panic while locked").1
    }
}
