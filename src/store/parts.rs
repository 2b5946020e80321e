//! Unfinished files: `<MD5 of the content>.<digits of the name>.part` has the pieces so far, at their places.
//!
//! A content that has none takes over that of another content of its name, or of its head: what both have in common is
//! kept. Earlier versions left `<MD5>.part` or `NAME.part`, which are taken over as well.
//!
//! Holes stay holes: a range that was never written reads as zeros, so zeros aren't written there.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use super::cache::Location;
use super::faults::{StoreError, at};
use super::{Store, digits_of};
use crate::md5::Digest;
use crate::torrent::{Name, Torrent};

/// Blocks of this many zero bytes are left out as holes, as a whole or not at all.
const HOLE: usize = 64 << 10;

/// A part that is worked on.
#[derive(Default)]
struct OpenPart {
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
    pub(super) fn part_path(&self, name: &Name, md5: Digest) -> PathBuf {
        let file = format!("{md5}.{}.part", digits_of(name));
        self.hidden.join(file)
    }

    /// Returns the contents of a file's name, but for this one, that may have a part: those that are open, its heads, and what
    /// is remembered as unfinished.
    fn other_contents(&self, torrent: &Torrent) -> Vec<Digest> {
        let (name, md5) = (torrent.name(), torrent.md5());
        let mut others: Vec<Digest> = {
            let parts = self.parts.lock().expect("no panic while locked");
            let of_name = parts.0.keys().filter(|(of, _)| of == name);
            of_name.map(|(_, content)| *content).collect()
        };
        others.extend(torrent.heads());
        others.extend(self.unfinished(name));
        others.retain(|other| *other != md5);
        others
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
        self.forget_open(&self.part_path(name, md5));
    }

    /// Closes a part that has its final name by now. Until then its pieces could still be read from it.
    pub fn close_part(&self, torrent: &Torrent) {
        self.forget_open(&self.part_path(torrent.name(), torrent.md5()));
    }

    /// Returns the part that a content takes over where it has none.
    fn left_part(&self, torrent: &Torrent) -> Option<PathBuf> {
        let (name, md5) = (torrent.name(), torrent.md5());
        let by_earlier = [format!("{md5}.part"), format!("{}.part", name.as_str())];
        let by_earlier = by_earlier.map(|file| self.hidden.join(file));
        let others = self.other_contents(torrent).into_iter();
        let others = others.map(|other| self.part_path(name, other));
        let is_plain = |path: &PathBuf| self.disk.lstat(path).is_ok_and(|meta| meta.is_file());
        others.chain(by_earlier).find(is_plain)
    }

    /// Opens the unfinished file at its full size, and returns whether it, or one that it takes over, existed before.
    ///
    /// # Errors
    /// Returns an error if it can't be created: the folder may be read-only, or the file system may not allow files of
    /// that size.
    pub fn open_part(&self, torrent: &Torrent) -> Result<(File, bool), StoreError> {
        self.in_hidden(|| self.try_open_part(torrent))
    }

    fn try_open_part(&self, torrent: &Torrent) -> Result<(File, bool), StoreError> {
        let (name, md5) = (torrent.name(), torrent.md5());
        let path = self.part_path(name, md5);
        self.forget_open(&path);
        let left = self.left_part(torrent);
        for other in self.other_contents(torrent) {
            self.part_is_done(name, other);
        }
        if self.is_free(&path)?
            && let Some(left) = left
        {
            self.disk.rename(&left, &path).map_err(at(&left))?;
        }
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
        self.note_open(torrent, (!was_there).then(HashSet::new));
        Ok((file, was_there))
    }

    /// Returns how many bytes of a content's part, or of the one that it takes over, are on the disk already.
    pub fn part_on_disk(&self, torrent: &Torrent) -> u64 {
        let own = self.part_path(torrent.name(), torrent.md5());
        let found = self.disk.lstat(&own).ok();
        let found = found.or_else(|| self.disk.lstat(&self.left_part(torrent)?).ok());
        found.map_or(0, |meta| meta.blocks() * 512)
    }

    /// From now on a part can be written to, of which these strides were written to.
    fn note_open(&self, torrent: &Torrent, written: Option<HashSet<u64>>) {
        let part = OpenPart {
            written,
            ..OpenPart::default()
        };
        let mut parts = self.parts.lock().expect("no panic while locked");
        parts
            .0
            .insert((torrent.name().clone(), torrent.md5()), part);
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
        let (from, to) = (
            self.part_path(name, head.md5()),
            self.part_path(name, longer.md5()),
        );
        let Some(written) = written.filter(|_| longer.extends(head)) else {
            return Ok(false);
        };
        if self.is_free(&from)? || !self.is_free(&to)? {
            return Ok(false);
        }
        self.part_is_done(name, head.md5());
        self.disk.rename(&from, &to).map_err(at(&from))?;
        let file = self.open_at(&Location::part(longer))?;
        let set = self.disk.set_len(&file, longer.size());
        set.map_err(at(&to))?;
        self.note_open(longer, written);
        Ok(true)
    }

    /// Removes what is unfinished of one content of a name.
    pub fn discard_part_of(&self, name: &Name, md5: Digest) {
        self.part_is_done(name, md5);
        let _ = self.disk.remove(&self.part_path(name, md5));
    }

    /// Removes what is unfinished of other contents of a file's name, and of its heads: nobody goes on with it.
    pub fn discard_other_parts(&self, torrent: &Torrent) {
        for other in self.other_contents(torrent) {
            self.discard_part_of(torrent.name(), other);
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
        self.check_len(torrent, file)?;
        for range in ranges {
            self.disk
                .write_all_at(file, &bytes[range.clone()], offset + range.start as u64)
                .map_err(|fault| at(&self.part_path(&key.0, key.1))(fault))?;
        }
        self.parts.lock().expect("no panic while locked").1 += start.elapsed();
        Ok(true)
    }

    /// Checks that nobody has cut a part short: what was behind that would be lost, which a later piece would hide.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if it is as long no more.
    pub(super) fn check_len(&self, torrent: &Torrent, part: &File) -> Result<(), StoreError> {
        let path = self.part_path(torrent.name(), torrent.md5());
        match part.metadata() {
            Ok(meta) if meta.len() == torrent.size() => Ok(()),
            Ok(_) => Err(StoreError::Changed(path)),
            Err(fault) => Err(at(&path)(fault)),
        }
    }

    /// Returns how long parts have been written to, summed up over all threads.
    pub fn time_written(&self) -> Duration {
        self.parts.lock().expect("no panic while locked").1
    }
}
