//! The files in the folder: seen, hashed, shared, withdrawn, deleted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::State;
use super::holdings::Held;
use crate::md5::Digest;
use crate::store::{AccessStamp, Seen, Stamp, WholeFile};
use crate::torrent::Name;

/// A file whose last change is at least this long ago was left alone, seconds.
const LEFT_ALONE: i64 = 10;

/// What is in the folder under a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// It was seen once; it may still be growing.
    Looked(Stamp),
    /// It is being hashed.
    Hashing(Stamp),
    /// It is shared.
    Shared(Stamp),
    /// It came twice with the same content from originals, and nobody knows its MD5.
    Unverified(Stamp, Digest),
    /// It has another content than the swarm's, with this MD5, and stays until the swarm's is here and replaces it.
    Outdated(Stamp, Digest),
}

impl Standing {
    pub(super) fn stamp(&self) -> Stamp {
        match self {
            Self::Looked(stamp)
            | Self::Hashing(stamp)
            | Self::Shared(stamp)
            | Self::Unverified(stamp, _)
            | Self::Outdated(stamp, _) => *stamp,
        }
    }
}

/// The findings of a look at the folder.
#[derive(Debug, Default, PartialEq)]
pub struct LookFindings {
    /// Files that were left alone long enough to be hashed.
    pub to_hash: Vec<(Name, Stamp)>,
    /// Shared files that changed.
    pub withdrawn: Vec<Name>,
    /// Shared files that went away.
    pub deleted: Vec<Name>,
    /// Whether the set of files that are hashed, or seen to change, is another one than before.
    pub news: bool,
}

impl State {
    /// Takes a look at the folder, which began when `before` was known to be there; `today` is the wall clock's time,
    /// seconds since 1970. A file whose last change is old was left alone; for any other file, the second look tells.
    pub fn looked(
        &mut self,
        before: &BTreeMap<Name, Standing>,
        seen: &[Seen],
        today: i64,
    ) -> LookFindings {
        let file = |seen: &Seen| match seen {
            Seen::File(name, stamp) => Some((name.clone(), *stamp)),
            Seen::Odd(..) => None,
        };
        let seen: BTreeMap<Name, Stamp> = seen.iter().filter_map(file).collect();
        let changed = |(name, standing): &(&Name, &Standing)| {
            seen.get(*name) != Some(&standing.stamp())
                && self.standing.get(*name) == Some(*standing)
        };
        let changed: Vec<&Name> = before
            .iter()
            .filter(changed)
            .map(|(name, _)| name)
            .collect();
        let mut looked = LookFindings::default();
        for name in changed {
            let deleted = !seen.contains_key(name);
            if !self.lost(name, deleted) {
                continue;
            }
            match deleted {
                true => looked.deleted.push(name.clone()),
                false => looked.withdrawn.push(name.clone()),
            }
        }
        for (name, stamp) in seen {
            let is_past = |known: &&Standing| matches!(known, Standing::Looked(at) if *at != stamp);
            let known = self.standing.get(&name).filter(|known| !is_past(known));
            let old = today.saturating_sub(stamp.mtime.0) >= LEFT_ALONE;
            looked.news |= known.is_none();
            if matches!(known, Some(Standing::Looked(_))) || known.is_none() && old {
                self.standing.insert(name.clone(), Standing::Hashing(stamp));
                looked.to_hash.push((name, stamp));
            } else if known.is_none() {
                self.standing.insert(name, Standing::Looked(stamp));
            }
        }
        looked
    }

    /// Returns true if nothing in the folder, in the swarm or on its way has this name.
    pub fn is_free(&self, name: &Name) -> bool {
        !self.standing.contains_key(name)
            && !self.files.contains_key(name)
            && !self.swarm.contains_key(name)
            && !self.beginning.contains(name)
            && !self.uploads.contains_key(name)
    }

    /// Notes that an uploaded file is in the folder and grows no more: it can be hashed at once.
    fn uploaded(&mut self, name: &Name, stamp: Stamp) -> bool {
        let known = self.standing.get(name);
        let new = known.is_none_or(|known| *known == Standing::Looked(stamp));
        if new {
            self.standing.insert(name.clone(), Standing::Hashing(stamp));
        }
        new
    }

    /// Returns the files of the folder whose content an earlier run may know.
    pub fn unsettled(&self) -> Vec<UnsettledFile> {
        let unsettled = |(name, standing): (&Name, &Standing)| {
            let (stamp, vouched) = match standing {
                Standing::Looked(stamp) => (*stamp, false),
                Standing::Unverified(stamp, md5) => {
                    let listed = self.swarm.get(name);
                    listed.filter(|listed| listed.md5 == *md5)?;
                    (*stamp, true)
                }
                _ => return None,
            };
            let name = name.clone();
            Some(UnsettledFile {
                name,
                stamp,
                vouched,
            })
        };
        self.standing.iter().filter_map(unsettled).collect()
    }

    /// Stops sharing a file of the folder. Returns true if it was shared.
    pub(super) fn withdraw(&mut self, name: &Name) -> bool {
        self.standing.remove(name);
        self.stuck.remove(name);
        self.drop_own_head(name);
        let whole = self
            .files
            .get(name)
            .is_some_and(|held| held.stamp.is_some());
        if whole {
            self.files.remove(name);
        }
        whole
    }

    /// Shares a whole file of the folder from now on. Returns false if it changed in the meantime, or is shared already.
    pub fn share(&mut self, file: &WholeFile, now: Instant) -> bool {
        let (torrent, stamp) = (Arc::clone(file.torrent()), file.stamp());
        let name = torrent.name().clone();
        if self.deleted.get(&name) == Some(&torrent.md5()) {
            self.deleted.remove(&name);
        }
        let shared = Standing::Shared(stamp);
        let standing = self.standing.get(&name);
        if standing.is_some_and(|standing| standing.stamp() != stamp || *standing == shared) {
            return false;
        }
        self.standing.insert(name.clone(), shared);
        self.stuck.remove(&name);
        self.changed.remove(&name);
        let head = self.drop_file(&name);
        let mut held = Held::new(torrent, file.pieces(), Some(stamp), now);
        held.goes_on_from(head);
        held.received = file.is_received();
        if let Some(word) = self.word_by_pin(&name, held.torrent.md5()) {
            held.word = word;
        }
        self.files.insert(name, held);
        true
    }

    /// Notes that a file, in this run or an earlier one, came twice with the same content from originals: it is here, and
    /// nobody vouches for its MD5.
    pub fn stands_unverified(&mut self, name: &Name, stamp: Stamp, md5: Digest) {
        let unverified = Standing::Unverified(stamp, md5);
        self.standing.insert(name.clone(), unverified);
    }

    /// Returns what is in the folder now.
    pub fn standing(&self) -> &BTreeMap<Name, Standing> {
        &self.standing
    }

    /// Notes that the file with this stamp changed while it was hashed: it is still coming, and the next look sees it again, if
    /// it hasn't already.
    pub fn changed_meanwhile(&mut self, name: &Name, stamp: Stamp) {
        if self.standing.get(name) == Some(&Standing::Hashing(stamp)) {
            self.standing.insert(name.clone(), Standing::Looked(stamp));
        }
        self.drop_own_head(name);
    }

    /// Notes how far the reading, or the upload, of a file is. Returns false if everything is to end.
    pub fn note_progress(&mut self, name: &Name, done: u64, of: u64) -> bool {
        self.progress
            .insert(name.clone(), ByteProgress { done, of });
        !self.ending
    }

    /// Notes that a file is no longer being read.
    pub fn end_progress(&mut self, name: &Name) {
        self.progress.remove(name);
    }

    /// Notes that a file of the folder can't be read. Returns true if that is news.
    pub fn cannot_read(&mut self, name: &Name, access: Option<AccessStamp>, why: &str) -> bool {
        self.drop_own_head(name);
        self.unreadable.insert(name.clone(), access);
        let before = self.stuck.insert(name.clone(), why.to_owned());
        before.as_deref() != Some(why)
    }

    /// Returns the files that can't be read, with the permissions that they had.
    pub fn unreadable(&self) -> BTreeMap<Name, Option<AccessStamp>> {
        self.unreadable.clone()
    }

    /// Looks again at a file that couldn't be read.
    pub fn retry(&mut self, name: &Name) {
        self.unreadable.remove(name);
        self.standing.remove(name);
    }

    /// Reserves a name for an upload of `size` bytes. Returns false if the name is taken.
    pub fn begin_upload(&mut self, name: &Name, size: u64) -> bool {
        let free = self.is_free(name);
        if free {
            self.note_upload(name, 0, size);
        }
        free
    }

    /// Notes how far an upload is.
    pub fn note_upload(&mut self, name: &Name, done: u64, of: u64) {
        self.uploads.insert(name.clone(), ByteProgress { done, of });
    }

    /// Ends an upload: with a file in the folder, which grows no more, or with none. Returns true if it is to be hashed.
    pub fn end_upload(&mut self, name: &Name, stamp: Option<Stamp>) -> bool {
        self.uploads.remove(name);
        stamp.is_some_and(|stamp| self.uploaded(name, stamp))
    }

    /// Notes that a file is no longer there as it was: it changed, or the user deleted it. Returns true if it was shared, or,
    /// where it was deleted, if it stood in the place of what was.
    pub fn lost(&mut self, name: &Name, deleted: bool) -> bool {
        let held = self.files.get(name).filter(|held| held.stamp.is_some());
        let stamp = held.and_then(|held| held.stamp);
        let md5 = held.map(|held| held.torrent.md5());
        // somebody may be at work in what came a moment ago
        let stays = held.is_some_and(|held| held.downloaded);
        self.withdraw(name);
        // what is there next is refused anew
        self.told.other.remove(name);
        self.told.refusal.remove(name);
        // a new version is coming, whoever noticed that first: the next look sees what there is of it
        if let Some(stamp) = stamp.filter(|_| !deleted) {
            self.standing.insert(name.clone(), Standing::Looked(stamp));
        }
        let was_whole = md5.or(self.changed.remove(name));
        let was_whole = was_whole.map(|md5| (name.clone(), md5));
        let told = stamp.is_some() || deleted && was_whole.is_some();
        match deleted || stays {
            true => self.deleted.extend(was_whole),
            false => self.changed.extend(was_whole),
        }
        told
    }
}

/// A file of the folder whose content an earlier run may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsettledFile {
    /// Its name.
    pub name: Name,
    /// The file as it was when it was looked at.
    pub stamp: Stamp,
    /// Whether the swarm has, under its name, the MD5 with which originals sent it.
    pub vouched: bool,
}

/// The progress of something, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteProgress {
    /// The bytes that are done.
    pub done: u64,
    /// The bytes in total.
    pub of: u64,
}
