//! The files of the folder: looked at, hashed, shared, withdrawn; uploads, and what the user picks.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Client;
use super::errors::ClientError;
use super::starting::HashOrder;
use crate::events::Event;
use crate::protocol::Summary;
use crate::state::{TrackerKind, UnsettledFile};
use crate::store::{Location, Remembered, Seen, Stamp, StoreError, WholeFile};
use crate::torrent::{Name, Torrent, legible};

/// The least time between two lines about a file that is being read, one for each tenth of it.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// The most time between them.
const TELL_EVERY: Duration = Duration::from_secs(30);

impl Client {
    /// Every 2 s: finds what is new in the folder, what changed, and what went away.
    pub(super) fn look_at_folder(&self) {
        let before = self.lock().standing().clone();
        self.retry_unreadable();
        // a file that the user names is shared even if it looks like an unfinished download
        let only = &self.0.config.wants.only;
        let explicit = |name: &str| only.iter().any(|only| only.as_str() == name);
        let seen = match self.0.store.look_for(&explicit) {
            Ok(seen) => seen,
            Err(fault) => return self.disk_fault(&fault),
        };
        let today = SystemTime::now().duration_since(UNIX_EPOCH);
        let today = today.map_or(0, |since| since.as_secs() as i64);
        let looked = self.lock().looked(&before, &seen, today);
        self.tell_left_out(&seen);
        let blocked = self.lock().blocked();
        for name in blocked.iter().filter(|name| !self.0.store.is_blocked(name)) {
            self.lock().unblock(name);
        }
        for name in &looked.withdrawn {
            let name = name.to_string();
            self.say(&Event::Withdrawn { name });
        }
        for name in &looked.deleted {
            let name = name.to_string();
            self.say(&Event::Deleted { name });
        }
        if looked.news || !looked.withdrawn.is_empty() || !looked.deleted.is_empty() {
            self.list_now();
        }
        for (name, stamp) in looked.to_hash {
            if !self.share_if_known(&name, stamp, false) {
                let _ = self.0.to_hash.send(HashOrder::Hash(name, stamp));
            }
        }
        self.share_known();
        self.notify_all();
    }

    fn tell_left_out(&self, seen: &[Seen]) {
        for seen in seen {
            let Seen::Odd(name, why) = seen else { continue };
            let new = self.lock().note_oddity(name);
            if new {
                self.say(&Event::NotShared {
                    name: legible(name),
                    why: why.to_string(),
                });
            }
        }
    }

    /// Tries again the files that couldn't be read, once that may have changed.
    fn retry_unreadable(&self) {
        let unreadable = self.lock().unreadable();
        for (name, access) in unreadable {
            if self.0.store.access_stamp(&name) != access {
                self.lock().retry(&name);
            }
        }
    }

    /// Shares known files: one that an earlier run hashed or fetched, and that nobody touched since, isn't read again;
    /// one that came from originals is verified once the tracker has its MD5.
    pub(super) fn share_known(&self) {
        let unsettled = self.lock().unsettled();
        for UnsettledFile {
            name,
            stamp,
            vouched,
        } in unsettled
        {
            self.share_if_known(&name, stamp, vouched);
        }
    }

    /// Returns true if an earlier run found out what this file is. It is shared then, unless nobody vouches for its MD5.
    fn share_if_known(&self, name: &Name, stamp: Stamp, vouched: bool) -> bool {
        match self.0.store.remembered(name, stamp, vouched) {
            Some(Remembered::Whole(file)) => self.share(&file),
            Some(Remembered::Unverified(md5)) => self.lock().stands_unverified(name, stamp, md5),
            None => return false,
        }
        true
    }

    /// Does the work of the thread that hashes.
    pub(super) fn hash_files(&self, orders: &Receiver<HashOrder>) {
        while let Ok(HashOrder::Hash(name, stamp)) = orders.recv() {
            let hashed = self.hash_file(&name, stamp);
            self.lock().end_progress(&name);
            match hashed {
                Ok(Some(file)) => self.share(&file),
                Ok(None) => self.lock().changed_meanwhile(&name, stamp),
                Err(fault) if fault.is_out_of_descriptors() => {
                    self.lock().changed_meanwhile(&name, stamp);
                }
                Err(fault) => self.cannot_read(&name, &fault),
            }
        }
    }

    /// Finds out the content of a file in the folder. Returns `None` if it changed in the meantime.
    fn hash_file(&self, name: &Name, stamp: Stamp) -> Result<Option<WholeFile>, StoreError> {
        let start = Instant::now();
        let event = |name, done, size| Event::Hashing { name, done, size };
        let progress = self.progress(name, stamp.size, event);
        let listed = self.listed_torrent(name, stamp.size);
        let heads = |head, pieces| self.offer_head(head, pieces, stamp);
        let file = self
            .0
            .store
            .identify(name, stamp, listed, progress, heads)?;
        if let Some(file) = &file {
            self.say(&Event::Hashed {
                name: name.to_string(),
                size: stamp.size,
                md5: file.torrent().md5().to_string(),
                seconds: start.elapsed().as_secs_f64(),
            });
        }
        Ok(file)
    }

    /// Returns the swarm's `.torrent` of a file with this name and size: checking by it is several times as fast as
    /// hashing.
    fn listed_torrent(&self, name: &Name, size: u64) -> Option<Torrent> {
        let summary = self.lock().listed(name).cloned()?;
        let fits = summary.size == size;
        fits.then(|| self.get_torrent(&summary).ok()).flatten()
    }

    /// Notes that a file can't be read: it is tried again once the file or its permissions change.
    fn cannot_read(&self, name: &Name, fault: &StoreError) {
        let (why, full) = (fault.to_string(), false);
        let access = self.0.store.access_stamp(name);
        let new = self.lock().cannot_read(name, access, &why);
        if new {
            self.say(&Event::Disk { why, full });
        }
        self.notify_all();
    }

    /// Follows a file that is being read: the progress is shown at once, and reported now and then. The returned closure
    /// returns false once everything is to end.
    pub(super) fn progress(
        &self,
        name: &Name,
        size: u64,
        event: impl Fn(String, u64, u64) -> Event,
    ) -> impl FnMut(u64) -> bool {
        let (mut told, mut told_tenth) = (Instant::now(), 0);
        move |done| {
            let tenth = done * 10 / size.max(1);
            let since = told.elapsed();
            if since >= TELL_EVERY || since >= TELL_AFTER && tenth > told_tenth {
                (told, told_tenth) = (Instant::now(), tenth);
                self.say(&event(name.to_string(), done, size));
            }
            self.lock().note_progress(name, done, size)
        }
    }

    /// Shares a whole file of the folder from now on.
    fn share(&self, file: &WholeFile) {
        let torrent = file.torrent();
        let (shared, tracker, is_pinned) = {
            let mut state = self.lock();
            let shared = state.share(file, Instant::now());
            let is_pinned = state.pin(torrent.name()).is_some();
            (shared, state.tracker(), is_pinned)
        };
        if shared {
            // a part of it that was begun is no longer needed
            let store = &self.0.store;
            store.discard_part_of(torrent.name(), torrent.md5());
            if tracker == TrackerKind::Original {
                self.announce_all();
            }
            if is_pinned {
                // if it is another content than the pinned one, it may make way at once
                let begins = self.lock().to_begin();
                self.begin_all(begins);
            }
            self.notify_all();
            self.list_now();
        }
    }

    /// The file that is to be read; `None` if it isn't what was hashed any more: then it is withdrawn.
    pub(super) fn open_or_withdraw(
        &self,
        location: &Location,
    ) -> Result<Option<Arc<File>>, ClientError> {
        match self.0.store.open_at(location) {
            Ok(file) => Ok(Some(file)),
            Err(fault) if fault.is_gone() => {
                if let Location::Whole(name, _) = location {
                    self.withdraw(name);
                }
                Ok(None)
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// A shared file isn't what was hashed any more.
    pub(super) fn withdraw(&self, name: &Name) {
        let deleted = !self.0.store.exists(name) || self.0.store.is_blocked(name);
        let withdrawn = self.lock().lost(name, deleted);
        if deleted {
            self.remember_picked();
        }
        if withdrawn {
            let name = name.to_string();
            self.say(&match deleted {
                true => Event::Deleted { name },
                false => Event::Withdrawn { name },
            });
            self.list_now();
        }
    }

    /// Adds a file to those that the user wants.
    pub(crate) fn pick(&self, name: &Name) {
        let begins = self.lock().pick(name);
        self.begin_picked(begins);
    }

    /// Adds all files that are listed and that the user could pick.
    pub(crate) fn pick_all(&self) {
        let begins = self.lock().pick_all();
        self.begin_picked(begins);
    }

    fn begin_picked(&self, begins: impl IntoIterator<Item = Summary>) {
        self.remember_picked();
        self.begin_all(begins);
        self.fetch_whole_files();
        self.notify_all();
    }

    /// Takes back that the user picked a file.
    pub(crate) fn cancel(&self, name: &Name) {
        self.lock().cancel(name);
        self.remember_picked();
        // others are told that it isn't here
        self.list_now();
        self.notify_all();
    }

    /// Keeps what is picked for the next run with `--pick`. Other runs don't keep it: a script that fetches one file
    /// mustn't wait for what somebody picked last week.
    fn remember_picked(&self) {
        if self.0.config.wants.pick {
            let picked = || self.lock().picked();
            // if it can't be kept, this run goes on as before
            let _ = self.0.store.save_picked(picked);
        }
    }

    /// Returns true if a file of this name can be uploaded: neither the folder nor the swarm has one.
    pub(crate) fn may_upload(&self, name: &Name) -> bool {
        !self.0.store.exists(name) && self.lock().is_free(name)
    }

    /// Reserves a name for an upload. Returns false if a file of the folder or of the swarm has it, or another upload.
    pub(crate) fn begin_upload(&self, name: &Name, size: u64) -> bool {
        !self.0.store.exists(name) && self.lock().begin_upload(name, size)
    }

    /// Ends an upload, with a file in the folder or with none: the file is hashed, and then shared.
    pub(crate) fn end_upload(&self, name: &Name, stamp: Option<Stamp>) {
        let hashes = self.lock().end_upload(name, stamp);
        if let Some(stamp) = stamp.filter(|_| hashes) {
            let _ = self.0.to_hash.send(HashOrder::Hash(name.clone(), stamp));
        }
    }
}
