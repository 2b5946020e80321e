//! The life of a file: looked at, hashed, shared, withdrawn; or begun, completed, shared.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Client;
use crate::bitfield::Bitfield;
use crate::events::Event;
use crate::protocol::Summary;
use crate::report::bytes;
use crate::state::{DISK_RETRY, Standing};
use crate::store::{Saved, Seen, Stamp, StoreError};
use crate::torrent::{Name, Torrent, legible};

/// The least time between two lines on a file that is read through, one for each tenth of it.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// The most time between them.
const TELL_EVERY: Duration = Duration::from_secs(30);

impl Client {
    /// Every 2 s: what is new, what changed, what went away.
    pub(super) fn look_at_folder(&self) {
        let shared = &self.0;
        let before = self.lock().standing.clone();
        let seen = match shared.store.look() {
            Ok(seen) => seen,
            Err(fault) => return self.disk_fault(&fault),
        };
        let (to_hash, withdrawn) = self.lock().looked(&before, &seen);
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
        for name in &withdrawn {
            self.say(&Event::Withdrawn {
                name: name.to_string(),
            });
        }
        if !withdrawn.is_empty() {
            self.list_now();
        }
        for (name, stamp) in to_hash {
            let _ = shared.to_hash.send(Some((name, stamp)));
        }
        self.share_known();
        self.tell_all();
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
                self.share(saved.torrent, stamp, saved.verified || verified);
            }
        }
    }

    pub(super) fn hash_files(&self, hashes: &Receiver<Option<(Name, Stamp)>>) {
        while let Ok(Some((name, stamp))) = hashes.recv() {
            let hashed = self.hash_file(&name, stamp);
            self.lock().progress.remove(&name);
            match hashed {
                Ok(Some(torrent)) => self.share(torrent, stamp, true),
                // it changed while it was hashed: the next look sees it again
                Ok(None) => drop(self.lock().standing.remove(&name)),
                // not tried again before it changes
                Err(fault) => self.say(&Event::Disk {
                    why: fault.to_string(),
                    full: false,
                }),
            }
        }
    }

    /// What a file of the folder is: by the swarm's checkpoints where these fit, else by hashing it. `None` where it changed.
    pub(super) fn hash_file(
        &self,
        name: &Name,
        stamp: Stamp,
    ) -> Result<Option<Torrent>, StoreError> {
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
            let saved = Saved {
                stamp: Some(stamp),
                verified: true,
                torrent: torrent.clone(),
            };
            if let Err(fault) = store.save(&saved) {
                self.disk_fault(&fault);
            }
        }
        Ok(torrent)
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
    pub(super) fn share(&self, torrent: Torrent, stamp: Stamp, verified: bool) {
        let name = torrent.name().clone();
        if !verified {
            self.lock()
                .standing
                .insert(name, Standing::Unverified(stamp, torrent.md5()));
            return;
        }
        let Ok((file, opened)) = self.0.store.open_shared(&name) else {
            return;
        };
        let event = Event::Sharing {
            name: name.to_string(),
            size: stamp.size,
            md5: torrent.md5().to_string(),
        };
        // a part of it that an earlier run began is needed no more
        self.0.store.discard_part(&name);
        let shared = opened == stamp
            && self
                .lock()
                .share(Arc::new(torrent), Arc::new(file), stamp, Instant::now());
        if shared {
            self.say(&event);
            self.tell_all();
            self.publish();
            self.list_now();
        }
    }

    /// A shared file isn't any more what was hashed.
    pub(crate) fn withdraw(&self, name: &Name) {
        if self.lock().withdraw(name) {
            self.say(&Event::Withdrawn {
                name: name.to_string(),
            });
            self.list_now();
        }
    }

    pub(super) fn begin_downloads(&self, begins: &Receiver<Option<Summary>>) {
        while let Ok(Some(summary)) = begins.recv() {
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

    /// What stands in one file's way doesn't hold up the others. It is tried again at each ping, and said once.
    fn cannot_begin(&self, name: &Name, fault: &StoreError) {
        let exits = self.0.config.wants.exit_when_complete;
        let new = {
            let mut state = self.lock();
            if exits {
                state.disk_fault = Some(fault.to_string());
            }
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
        if shared.store.exists(name) {
            // a file came into the folder just now, and the next look sees it; anything else stays in the way
            let blocked = shared.store.is_blocked(name);
            let new = blocked && self.lock().odd.insert(name.to_string());
            if new {
                let why = "a folder, link or the like has its name here; move it away".to_owned();
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
                self.say(&Event::NoTorrent {
                    name: name.to_string(),
                    why: fault.to_string(),
                });
                return Ok(false);
            }
        };
        let (file, was_there) = shared.store.open_part(&torrent)?;
        // another run goes on from here, with or without the tracker
        shared.store.save(&Saved {
            stamp: None,
            verified: true,
            torrent: torrent.clone(),
        })?;
        let have = if was_there {
            let mut progress = self.checking(name, torrent.size());
            let go_on = |done, _| progress(done);
            shared.store.check(&torrent, &file, go_on)?
        } else {
            Bitfield::new(torrent.n_pieces())
        };
        let event = Event::Begin {
            name: name.to_string(),
            size: torrent.size(),
            n_pieces: torrent.n_pieces(),
            here: have.count(),
            md5: torrent.md5().to_string(),
        };
        let whole = have.is_full();
        self.lock()
            .begin(Arc::new(torrent), Arc::new(file), have, Instant::now());
        self.say(&event);
        self.tell_all();
        Ok(whole)
    }

    /// All pieces are here: gives the file its name, tells everybody, and closes what isn't needed any more.
    pub(crate) fn complete(&self, name: &Name) {
        let held = {
            let state = self.lock();
            state
                .files
                .get(name)
                .filter(|held| held.stamp.is_none())
                .map(|held| (Arc::clone(&held.torrent), Arc::clone(&held.file)))
        };
        let Some((torrent, file)) = held else { return };
        match self.0.store.complete(&torrent, &file, true) {
            Ok(stamp) => {
                let event = {
                    let mut state = self.lock();
                    let event = Event::complete(&state, name, Instant::now());
                    let standing = Standing::Shared(stamp);
                    state.standing.insert(name.clone(), standing);
                    if let Some(held) = state.files.get_mut(name) {
                        held.stamp = Some(stamp);
                        held.told_given();
                    }
                    event
                };
                if let Some(event) = event {
                    self.say(&event);
                }
                self.list_now();
            }
            Err(StoreError::Exists(path)) => {
                // what stands there is hashed at the next looks; equal or not, it is left as it is
                let why = StoreError::Exists(path).to_string();
                self.say(&Event::Disk { why, full: false });
                self.lock().drop_file(name);
            }
            Err(fault) => self.unsure(name, &fault),
        }
        self.tell_all();
    }

    /// After a failed sync nobody knows what is on the disk: the file is begun, and with that checked, anew.
    fn unsure(&self, name: &Name, fault: &StoreError) {
        self.lock().drop_file(name);
        self.disk_fault(fault);
    }

    /// Asks for nothing for a while; what is here is served meanwhile. Said once, until something can be written again.
    pub(crate) fn disk_fault(&self, fault: &StoreError) {
        let (full, exits) = (fault.is_full(), self.0.config.wants.exit_when_complete);
        let (why, first) = {
            let mut state = self.lock();
            let why = if full {
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
