//! The life of a file: looked at, hashed, shared, withdrawn; or begun, completed, shared.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Client;
use crate::bitfield::Bitfield;
use crate::events::Event;
use crate::originals;
use crate::protocol::Summary;
use crate::report::bytes;
use crate::state::{DISK_RETRY, Standing, TrackerKind};
use crate::store::{Place, Saved, Seen, Stamp, StoreError};
use crate::torrent::{Name, Torrent, legible};

/// The least time between two lines on a file that is read through, one for each tenth of it.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// The most time between them.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Free space is looked at for files of so many bytes and more: for thousands of small ones it would take too long.
const SPACE_CHECKED: u64 = 16 << 20;
/// So many files are fetched at a time.
const BEGUN: usize = 64;

impl Client {
    /// Every 2 s: what is new, what changed, what went away.
    pub(super) fn look_at_folder(&self) {
        let shared = &self.0;
        let before = self.lock().standing.clone();
        self.retry_unreadable();
        // what the user names is shared whatever it looks like
        let only = &shared.config.wants.only;
        let explicit = |name: &str| only.iter().any(|only| only.as_str() == name);
        let seen = match shared.store.look_for(&explicit) {
            Ok(seen) => seen,
            Err(fault) => return self.disk_fault(&fault),
        };
        let today = SystemTime::now().duration_since(UNIX_EPOCH);
        let today = today.map_or(0, |since| since.as_secs() as i64);
        let looked = self.lock().looked(&before, &seen, today);
        for seen in seen {
            let Seen::Odd(name, why) = seen else { continue };
            let new = self.lock().odd.insert(name.clone());
            if new {
                self.say(&Event::NotShared {
                    name: legible(&name),
                    why: why.to_string(),
                });
            }
        }
        for name in &looked.withdrawn {
            self.say(&Event::Withdrawn {
                name: name.to_string(),
            });
        }
        for name in &looked.deleted {
            self.say(&Event::Deleted {
                name: name.to_string(),
            });
        }
        if looked.news || !looked.withdrawn.is_empty() || !looked.deleted.is_empty() {
            self.list_now();
        }
        for (name, stamp) in looked.to_hash {
            let _ = shared.to_hash.send(Some((name, stamp)));
        }
        self.share_known();
        self.tell_all();
    }

    /// What couldn't be read is tried again where that may have changed.
    fn retry_unreadable(&self) {
        let unreadable = self.lock().unreadable.clone();
        for (name, access) in unreadable {
            if self.0.store.access_stamp(&name) != access {
                let mut state = self.lock();
                state.unreadable.remove(&name);
                state.standing.remove(&name);
            }
        }
    }

    /// What an earlier run hashed or fetched, and nobody touched since, needs no second look; what came from originals
    /// is verified once the tracker has its MD5.
    pub(super) fn share_known(&self) {
        let unsettled = self.lock().unsettled();
        for (name, stamp, verified) in unsettled {
            if let Some(saved) = self
                .0
                .store
                .saved(&name)
                .filter(|saved| saved.stamp == Some(stamp))
            {
                self.share(
                    saved.torrent,
                    stamp,
                    saved.verified || verified,
                    saved.received,
                );
            }
        }
    }

    pub(super) fn hash_files(&self, hashes: &Receiver<Option<(Name, Stamp)>>) {
        while let Ok(Some((name, stamp))) = hashes.recv() {
            let hashed = self.hash_file(&name, stamp);
            self.lock().progress.remove(&name);
            match hashed {
                Ok(Some((torrent, received))) => self.share(torrent, stamp, true, received),
                // it changed while it was hashed: the next look sees it again
                Ok(None) => drop(self.lock().standing.remove(&name)),
                // tried again once it changes, or its permissions do
                Err(fault) => {
                    let (why, full) = (fault.to_string(), false);
                    let access = self.0.store.access_stamp(&name);
                    let new = {
                        let mut state = self.lock();
                        state.unreadable.insert(name.clone(), access);
                        state.stuck.insert(name, why.clone()).as_ref() != Some(&why)
                    };
                    if new {
                        self.say(&Event::Disk { why, full });
                    }
                    self.tell_all();
                }
            }
        }
    }

    /// What a file of the folder is: by the swarm's checkpoints where these fit, else by hashing it. `None` where it changed.
    pub(super) fn hash_file(
        &self,
        name: &Name,
        stamp: Stamp,
    ) -> Result<Option<(Torrent, bool)>, StoreError> {
        let store = &self.0.store;
        let (file, opened) = store.open_shared(name)?;
        if opened != stamp {
            return Ok(None);
        }
        let start = Instant::now();
        let progress = self.progress(name, stamp.size, |name, done, size| Event::Hashing {
            name,
            done,
            size,
        });
        let torrent = match self.adopt(name, &file, stamp.size) {
            Some(torrent) => Some(torrent),
            None => store.hash(name, &file, stamp.size, progress)?,
        };
        let (_, after) = store.open_shared(name)?;
        let torrent = torrent.filter(|_| after == stamp);
        if let Some(torrent) = &torrent {
            let (seconds, md5) = (start.elapsed().as_secs_f64(), torrent.md5().to_string());
            self.say(&Event::Hashed {
                name: name.to_string(),
                size: stamp.size,
                md5,
                seconds,
            });
            // what a swarm had once is a received copy, however it came back into the folder
            let kept = store.saved_content(name, torrent.md5());
            let received = kept.is_some_and(|kept| kept.received);
            let saved = Saved {
                stamp: Some(stamp),
                verified: true,
                received,
                torrent: torrent.clone(),
            };
            if let Err(fault) = store.save(&saved) {
                self.disk_fault(&fault);
            }
            return Ok(Some((saved.torrent, received)));
        }
        Ok(None)
    }

    /// The swarm's `.torrent`, where this file is what it says: checked in lanes, several times as fast as hashing.
    pub(super) fn adopt(&self, name: &Name, file: &File, size: u64) -> Option<Torrent> {
        let summary = self
            .lock()
            .swarm
            .get(name)
            .filter(|summary| summary.size == size)
            .cloned()?;
        let torrent = self.get_torrent(&summary).ok()?;
        let mut progress = self.checking(name, size);
        let go_on = |done, good| progress(done) && good;
        let have = self.0.store.check(&torrent, file, go_on);
        have.is_ok_and(|have| have.is_full()).then_some(torrent)
    }

    /// Follows a file that is read through: shown at once, told now and then. What it returns says false once all is to end.
    fn progress(
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
            let mut state = self.lock();
            state.progress.insert(name.clone(), (done, size));
            !state.ending
        }
    }

    fn checking(&self, name: &Name, size: u64) -> impl FnMut(u64) -> bool {
        self.progress(name, size, |name, done, size| Event::Checking {
            name,
            done,
            size,
        })
    }

    /// Shares a whole file of the folder from now on.
    pub(super) fn share(&self, torrent: Torrent, stamp: Stamp, verified: bool, received: bool) {
        let name = torrent.name().clone();
        if !verified {
            self.lock()
                .standing
                .insert(name, Standing::Unverified(stamp, torrent.md5()));
            return;
        }
        let Ok((_, opened)) = self.0.store.open_shared(&name) else {
            return;
        };
        // a part of it that an earlier run began is needed no more
        self.0.store.discard_part_of(&name, torrent.md5());
        let (torrent, now) = (Arc::new(torrent), Instant::now());
        let (shared, original) = {
            let mut state = self.lock();
            let shared = opened == stamp && state.share(torrent, stamp, received, now);
            (shared, state.tracker == TrackerKind::Original)
        };
        if shared {
            if original {
                self.announce_all();
            }
            self.tell_all();
            self.list_now();
        }
    }

    /// A shared file isn't any more what was hashed.
    pub(crate) fn withdraw(&self, name: &Name) {
        let deleted = !self.0.store.exists(name) || self.0.store.is_blocked(name);
        let withdrawn = {
            let mut state = self.lock();
            let md5 = state.files.get(name).map(|held| held.torrent.md5());
            let withdrawn = state.withdraw(name);
            if let Some(md5) = md5.filter(|_| withdrawn && deleted) {
                state.deleted.insert(name.clone(), md5);
            }
            withdrawn
        };
        if withdrawn {
            let name = name.to_string();
            self.say(&match deleted {
                true => Event::Deleted { name },
                false => Event::Withdrawn { name },
            });
            self.list_now();
        }
    }

    /// The user wants this file, too.
    pub(crate) fn pick(&self, name: &Name) {
        let begins = self.lock().pick(name);
        if let Some(summary) = begins {
            let _ = self.0.to_begin.send(Some(summary));
        }
        originals::fetch_whole_files(self);
        self.tell_all();
    }

    /// Takes a name for an upload. False where a file of the folder or of the swarm has it, or another upload.
    pub(crate) fn begin_upload(&self, name: &Name, size: u64) -> bool {
        let stands = self.0.store.exists(name);
        let mut state = self.lock();
        let free = !stands && state.is_free(name);
        if free {
            state.uploads.insert(name.clone(), (0, size));
        }
        free
    }

    /// An upload has ended, with a file in the folder or with none: it is hashed, and then shared.
    pub(crate) fn end_upload(&self, name: &Name, stamp: Option<Stamp>) {
        let hashes = {
            let mut state = self.lock();
            state.uploads.remove(name);
            stamp.filter(|stamp| state.uploaded(name, *stamp))
        };
        if let Some(stamp) = hashes {
            let _ = self.0.to_hash.send(Some((name.clone(), stamp)));
        }
    }

    pub(super) fn begin_downloads(&self, begins: &Receiver<Option<Summary>>) {
        while let Ok(Some(summary)) = begins.recv() {
            self.wait_for_room();
            let name = summary.name.clone();
            let begun = self.begin_download(&summary);
            {
                let mut state = self.lock();
                state.beginning.remove(&name);
                state.progress.remove(&name);
            }
            match begun {
                Ok(true) => self.complete(&name),
                Ok(false) => {
                    self.connect_to_peers();
                    self.manage_downloads();
                }
                Err(fault) if fault.is_full() => self.disk_fault(&fault),
                Err(fault) => self.cannot_begin(&name, &fault),
            }
        }
    }

    /// So many files are fetched at a time that deciding on the next piece stays cheap, and few descriptors are open. Those
    /// that nobody has anything of don't count.
    fn wait_for_room(&self) {
        let mut state = self.lock();
        while state.picker.n_obtainable() >= BEGUN && !state.ending {
            state = self.wait(state, Instant::now() + Duration::from_secs(1));
        }
    }

    /// A file that can't be stored here, whatever happens.
    fn give_up(&self, name: &Name, fault: &StoreError) {
        let why = fault.to_string();
        self.lock().give_up(name, why.clone());
        let name = name.to_string();
        self.say(&Event::GivenUp { name, why });
    }

    /// What stands in one file's way doesn't hold up the others. It is tried again at each ping, and said once.
    fn cannot_begin(&self, name: &Name, fault: &StoreError) {
        let exits = self.0.config.wants.exit_when_complete;
        let new = {
            let mut state = self.lock();
            if exits {
                state.disk_fault = Some(fault.to_string());
            }
            state.stuck.insert(name.clone(), fault.to_string());
            state.odd.insert(name.to_string())
        };
        if new && !exits {
            let (why, full) = (fault.to_string(), false);
            self.say(&Event::Disk { why, full });
        }
        self.tell_all();
    }

    /// Gets the `.torrent`, and checks what is here of the file already. Returns whether that is all of it.
    pub(super) fn begin_download(&self, summary: &Summary) -> Result<bool, StoreError> {
        let (shared, name) = (&self.0, &summary.name);
        if let Some(stands) = shared
            .store
            .stands_as(name)
            .filter(|stands| stands != name.as_str())
        {
            let folded = StoreError::Folded {
                name: name.clone(),
                stands,
            };
            self.give_up(name, &folded);
            return Ok(false);
        }
        let outdated = {
            let state = self.lock();
            matches!(state.standing.get(name), Some(Standing::Outdated(..)))
        };
        if shared.store.exists(name) && !outdated {
            // a file came into the folder just now, and the next look sees it; anything else stays in the way
            let blocked = shared.store.is_blocked(name);
            let why = "a folder, link or the like has its name here; move it away".to_owned();
            let new = blocked && {
                let mut state = self.lock();
                state.stuck.insert(name.clone(), why.clone());
                state.odd.insert(name.to_string())
            };
            if new {
                self.say(&Event::NotShared {
                    name: name.to_string(),
                    why,
                });
            }
            return Ok(false);
        }
        let torrent = match self.get_torrent(summary) {
            Ok(torrent) => torrent,
            Err(fault) => {
                let why = fault.to_string();
                self.lock().stuck.insert(name.clone(), why.clone());
                self.say(&Event::NoTorrent {
                    name: name.to_string(),
                    why,
                });
                return Ok(false);
            }
        };
        let before = self.lock().switched.remove(name);
        if let Some(before) = before {
            shared.store.adopt_part(before, &torrent)?;
        }
        self.check_space(&torrent)?;
        let (file, was_there) = shared.store.open_part(&torrent)?;
        // another run goes on from here, with or without the tracker
        shared.store.save(&Saved {
            stamp: None,
            verified: true,
            received: true,
            torrent: torrent.clone(),
        })?;
        let mut have = if was_there {
            let mut progress = self.checking(name, torrent.size());
            let go_on = |done, _| progress(done);
            shared.store.check(&torrent, &file, go_on)?
        } else {
            Bitfield::new(torrent.n_pieces())
        };
        let reused = self.reuse(&torrent, &file, &mut have, outdated)?;
        let event = Event::Begin {
            name: name.to_string(),
            size: torrent.size(),
            n_pieces: torrent.n_pieces(),
            here: have.count(),
            md5: torrent.md5().to_string(),
        };
        let whole = have.is_full();
        let begun = self.lock().begin(Arc::new(torrent), have, Instant::now());
        if !begun {
            // it came into the folder meanwhile, and is whole there
            return Ok(false);
        }
        if reused > 0
            && let Some(held) = self.lock().files.get_mut(name)
        {
            held.reused = reused;
        }
        self.say(&event);
        self.tell_all();
        Ok(whole)
    }

    /// Copies what other files have in common with this content at the same offsets: the file that it will replace, and the one
    /// that the user named. Each piece is checked like one from the network. Returns how many pieces were copied.
    fn reuse(
        &self,
        torrent: &Torrent,
        part: &File,
        have: &mut Bitfield,
        outdated: bool,
    ) -> Result<u32, StoreError> {
        let (shared, name) = (&self.0, torrent.name());
        let replaced = outdated.then(|| shared.store.open_shared(name).ok());
        let replaced = replaced.flatten().map(|(file, _)| file);
        let named = shared.config.reuse.as_ref();
        let named = named.and_then(|path| File::open(path).ok());
        let before = have.count();
        for source in replaced.iter().chain(&named) {
            let mut go_on = self.progress(name, torrent.size(), |name, done, size| {
                Event::Reusing { name, done, size }
            });
            let mut buffer = shared.buffers.take(torrent.full_piece_len());
            for idx in 0..torrent.n_pieces() {
                let (start, piece) = (
                    torrent.piece_start(idx),
                    &mut buffer[..torrent.piece_len(idx)],
                );
                if !go_on(start) {
                    break;
                }
                // what can't be read, or lies behind the other file's end, is fetched
                let came = !have.get(idx) && shared.store.read(source, piece, start).is_ok();
                if came && torrent.check(idx, piece).is_ok() {
                    shared.store.write(torrent, part, piece, start)?;
                    have.set(idx);
                }
            }
        }
        Ok(have.count() - before)
    }

    /// Compares the free space with what is needed, before a large download starts.
    fn check_space(&self, torrent: &Torrent) -> Result<(), StoreError> {
        let store = &self.0.store;
        if torrent.size() < SPACE_CHECKED {
            return Ok(());
        }
        let needed = torrent.size() - store.part_on_disk(torrent).min(torrent.size());
        match store.free_space() {
            Some(free) if free < needed => Err(StoreError::NoRoom {
                dir: store.dir().to_owned(),
                needed,
                free,
            }),
            _ => Ok(()),
        }
    }

    /// All pieces are here: gives the file its name, tells everybody, and closes what isn't needed any more.
    pub(crate) fn complete(&self, name: &Name) {
        let held = {
            let state = self.lock();
            state
                .files
                .get(name)
                .filter(|held| held.stamp.is_none())
                .map(|held| Arc::clone(&held.torrent))
        };
        let Some(torrent) = held else { return };
        let outdated = match self.lock().standing.get(name) {
            Some(Standing::Outdated(stamp, _)) => Some(*stamp),
            _ => None,
        };
        let store = &self.0.store;
        let file = store.open_at(&Place::part(&torrent));
        let done = file.and_then(|file| match outdated {
            Some(stamp) => store.complete_replacing(&torrent, &file, true, stamp),
            None => store.complete(&torrent, &file, true),
        });
        match done {
            Ok(stamp) => {
                let event = {
                    let mut state = self.lock();
                    let event = Event::complete(&state, name, Instant::now());
                    let standing = Standing::Shared(stamp);
                    state.standing.insert(name.clone(), standing);
                    if let Some(held) = state.files.get_mut(name) {
                        held.stamp = Some(stamp);
                        held.downloaded = true;
                        held.announced = true;
                        held.told_given();
                    }
                    event
                };
                if let Some(event) = event {
                    self.say(&event);
                }
                self.list_now();
            }
            Err(fault @ StoreError::Folded { .. }) => self.give_up(name, &fault),
            Err(StoreError::Exists(path)) => {
                // what stands there is hashed at the next looks; equal or not, it is left as it is
                let why = StoreError::Exists(path).to_string();
                self.say(&Event::Disk { why, full: false });
                self.lock().drop_file(name);
            }
            Err(fault) => {
                // after a failed sync nobody knows what is on the disk: the file is begun, and with that checked, anew
                self.lock().drop_file(name);
                self.disk_fault(&fault);
            }
        }
        self.tell_all();
    }

    /// Asks for nothing for a while; what is here is served meanwhile. Said once, until something can be written again.
    pub(crate) fn disk_fault(&self, fault: &StoreError) {
        let (full, exits) = (fault.is_full(), self.0.config.wants.exit_when_complete);
        let (why, first) = {
            let mut state = self.lock();
            let begun = !matches!(fault, StoreError::NoRoom { .. });
            let why = if full && begun {
                let (needs, dir) = (bytes(state.missing()), self.0.store.dir().display());
                format!("disk full: {needs} more are needed in {dir}")
            } else {
                fault.to_string()
            };
            state.paused_until = Some(Instant::now() + DISK_RETRY);
            state.disk_fault = Some(why.clone());
            (why, !std::mem::replace(&mut state.disk_told, true))
        };
        // a run that ends with it says so as it ends
        if first && !exits {
            self.say(&Event::Disk { why, full });
        }
        self.tell_all();
    }
}
