//! The life of a download apart from its pieces: it begins, it completes, or the disk is in its way.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Client;
use super::errors::ClientError;
use super::starting::BeginOrder;
use crate::events::Event;
use crate::protocol::Summary;
use crate::store::{Part, Saved, StoreError};
use crate::torrent::{Name, Torrent};
use crate::units::bytes;

/// Free space is checked for files of at least this many bytes: for thousands of small ones it would take too long.
const SPACE_CHECKED: u64 = 16 << 20;
/// The most files that are fetched at a time.
const BEGUN: usize = 64;

impl Client {
    /// Lets downloads begin, on a thread of their own.
    pub(super) fn begin_all(&self, begins: impl IntoIterator<Item = Summary>) {
        for summary in begins {
            let _ = self.0.to_begin.send(BeginOrder::Begin(Box::new(summary)));
        }
    }

    /// Does the work of the thread that begins downloads.
    pub(super) fn begin_downloads(&self, orders: &Receiver<BeginOrder>) {
        while let Ok(BeginOrder::Begin(summary)) = orders.recv() {
            self.wait_for_room();
            let name = &summary.name;
            let begun = self.begin_download(&summary);
            self.lock().end_beginning(name);
            let head = self.lock().incoming_head(name);
            if head.is_some_and(|(head, _)| head.md5() == summary.md5) {
                // there may be a longer one by now, or the file; what didn't begin waits for the next ping
                let begins = self.lock().to_begin();
                self.begin_all(begins);
            }
            match begun {
                Ok(true) => self.complete(name),
                Ok(false) => {
                    self.connect_to_peers();
                    self.manage_downloads();
                }
                Err(fault) => {
                    self.lock().drop_incoming_head(name);
                    match fault.is_full() {
                        true => {
                            // whoever looks at the file is told, too
                            self.lock().note_stuck(name, &fault.to_string());
                            self.disk_fault(&fault);
                        }
                        false if fault.is_out_of_descriptors() => self.disk_fault(&fault),
                        false => self.cannot_begin(name, &fault),
                    }
                }
            }
        }
    }

    /// Waits until another file may be fetched. The number is limited, so that deciding on the next piece stays cheap,
    /// and few descriptors are open. Files of which no peer has anything don't count.
    fn wait_for_room(&self) {
        let mut state = self.lock();
        while state.n_obtainable() >= BEGUN && !state.is_ending() {
            state = self.wait(state, Instant::now() + Duration::from_secs(1));
        }
    }

    /// Gets the `.torrent`, and checks which pieces of the file are here already. Returns true if all of them are.
    fn begin_download(&self, summary: &Summary) -> Result<bool, StoreError> {
        let (store, name) = (&self.0.store, &summary.name);
        let replaces = self.lock().replaces_outdated(name);
        let is_unwanted = summary.head_of.is_some() && self.0.config.classic;
        if is_unwanted || !self.is_name_free(name, replaces) {
            return Ok(false);
        }
        let torrent = match self.get_torrent(summary) {
            Ok(torrent) => torrent,
            // it is told of again, or the file is, at the next ping
            Err(_) if summary.head_of.is_some() => return Ok(false),
            // the next ping tells once that there is no tracker, and not for each of thousands of files
            Err(ClientError::NotConnected(_) | ClientError::NoAddress(_)) => return Ok(false),
            Err(fault) => {
                // the tracker answers pings, which are short
                let why = match fault.is_timeout() {
                    true => fault.lost().to_string(),
                    false => fault.to_string(),
                };
                self.no_torrent(name, why);
                return Ok(false);
            }
        };
        self.check_space(&torrent)?;
        if torrent.head_of().is_none() {
            // another run can resume from here, with or without the tracker
            store.save(&Saved {
                stamp: None,
                verified: true,
                received: true,
                torrent: torrent.clone(),
            })?;
        }
        let mut part = self.resume(&torrent)?;
        self.reuse(&torrent, &mut part, replaces)?;
        let (name_text, size, here) = (name.to_string(), torrent.size(), part.pieces.count());
        let event = match torrent.head_of() {
            Some(of) => Event::Head {
                name: name_text,
                size,
                of,
                here: Some(here),
                first: part.continues.is_none(),
            },
            None => Event::Begin {
                name: name_text,
                size,
                n_pieces: torrent.n_pieces(),
                here,
                md5: torrent.md5().to_string(),
            },
        };
        let whole = part.pieces.is_full();
        // it may have come into the folder meanwhile, or have been cancelled
        let is_moot = {
            let state = self.lock();
            state.is_taken(name) || !state.is_wanted(name)
        };
        if is_moot {
            return Ok(false);
        }
        // said first: as soon as it has begun, its pieces are told of
        self.say(&event);
        let begun = self.lock().begin(&Arc::new(torrent), part, Instant::now());
        self.notify_all();
        Ok(begun && whole)
    }

    /// Returns what is here of a content: as the head that was fetched so far, or as its part or another of the name has it,
    /// checked.
    fn resume(&self, torrent: &Torrent) -> Result<Part, StoreError> {
        let (store, name) = (&self.0.store, torrent.name());
        let head = self.lock().incoming_head(name);
        if let Some((head, pieces)) = &head
            && store.continue_part(head, torrent)?
        {
            let mut part = Part::none_of(torrent);
            part.pieces.add_head(head, pieces, torrent);
            part.continues = Some(Arc::clone(head));
            return Ok(part);
        }
        let event = |name, done, size| Event::Checking { name, done, size };
        store.resume(torrent, self.progress(name, torrent.size(), event))
    }

    /// Returns true if a download may take this name in the end; otherwise reports the reason.
    fn is_name_free(&self, name: &Name, replaces: bool) -> bool {
        let store = &self.0.store;
        let stands = store.stands_as(name);
        if let Some(stands) = stands.filter(|stands| stands != name.as_str()) {
            let name = name.clone();
            self.give_up(&name.clone(), &StoreError::Folded { name, stands });
            return false;
        }
        if !store.is_blocked(name) {
            // a file that has just come into the folder is seen at the next look
            return replaces || !store.exists(name);
        }
        let why = "a folder, link or the like has its name here; move it away";
        if self.lock().note_blocked(name, why) {
            self.say(&Event::NotShared {
                name: name.to_string(),
                why: why.to_owned(),
            });
        }
        false
    }

    fn no_torrent(&self, name: &Name, why: String) {
        if self.lock().note_stuck(name, &why) {
            let name = name.to_string();
            self.say(&Event::NoTorrent { name, why });
        }
    }

    /// Copies what other files have in common with this content: the file that it replaces, and the one that the user
    /// named.
    fn reuse(&self, torrent: &Torrent, part: &mut Part, replaces: bool) -> Result<(), StoreError> {
        let (store, name) = (&self.0.store, torrent.name());
        let replaced = replaces.then(|| store.open_shared(name).ok()).flatten();
        let named = self.0.config.reuse.as_ref();
        let named = named.and_then(|path| File::open(path).ok());
        for source in replaced.map(|(file, _)| file).iter().chain(&named) {
            let event = |name, done, size| Event::Reusing { name, done, size };
            let progress = self.progress(name, torrent.size(), event);
            store.reuse(torrent, part, source, progress)?;
        }
        Ok(())
    }

    /// Compares the free space with what is needed before a large download starts.
    fn check_space(&self, torrent: &Torrent) -> Result<(), StoreError> {
        let store = &self.0.store;
        if torrent.size() < SPACE_CHECKED {
            return Ok(());
        }
        let whole = torrent.whole_size();
        let needed = whole - store.part_on_disk(torrent).min(whole);
        match store.free_space() {
            Some(free) if free < needed => Err(StoreError::NoRoom {
                dir: store.dir().to_owned(),
                needed,
                free,
            }),
            _ => Ok(()),
        }
    }

    /// Completes a file whose pieces are all here: gives it its name, tells everybody, and closes what is no longer needed.
    pub(super) fn complete(&self, name: &Name) {
        let Some(completing) = self.lock().completes(name) else {
            return;
        };
        let (torrent, pieces) = (&completing.torrent, &completing.pieces);
        match self.0.store.complete(torrent, pieces, completing.replaced) {
            Ok(file) => {
                let report = self.report_on_completion(name);
                self.lock().completed(&file);
                self.0.store.close_part(file.torrent());
                self.0.store.discard_other_parts(file.torrent());
                report.iter().for_each(|report| self.say(report));
                self.list_now();
            }
            Err(fault @ StoreError::Folded { .. }) => self.give_up(name, &fault),
            Err(fault @ StoreError::Exists(_)) => {
                // the file that has the name is hashed after the next looks; equal or not, it is left as it is
                let (why, full) = (fault.to_string(), false);
                self.say(&Event::Disk { why, full });
                self.lock().drop_file(name);
            }
            Err(fault) => {
                // after a failed sync nobody knows what is on the disk: the file is begun anew, which checks it
                self.lock().drop_file(name);
                self.disk_fault(&fault);
            }
        }
        self.notify_all();
    }

    /// Gives up a file that can never be stored here.
    fn give_up(&self, name: &Name, fault: &StoreError) {
        let why = fault.to_string();
        self.lock().give_up(name, why.clone());
        let name = name.to_string();
        self.say(&Event::GivenUp { name, why });
    }

    /// Reports once what is in one file's way. It doesn't hold up the other files, and is tried again at each ping.
    fn cannot_begin(&self, name: &Name, fault: &StoreError) {
        let (why, full) = (fault.to_string(), false);
        let new = self.lock().cannot_begin(name, &why);
        // a run that ends because of it says so at its end
        if new && !self.0.config.wants.exit_when_complete {
            self.say(&Event::Disk { why, full });
        }
        self.notify_all();
    }

    /// Somebody has removed the part of a download: what was in it comes again.
    pub(super) fn begin_anew(&self, torrent: &Arc<Torrent>) {
        let begins = {
            let mut state = self.lock();
            if state.goes_on(torrent) {
                state.drop_file(torrent.name());
            }
            state.to_begin()
        };
        self.begin_all(begins);
        self.notify_all();
    }

    /// Asks for nothing for a while; the pieces that are here are still served. It is reported once, until the disk can
    /// be written to again.
    pub(super) fn disk_fault(&self, fault: &StoreError) {
        let full = fault.is_full();
        if fault.is_out_of_descriptors() {
            let why = format!(
                "{fault}: it goes on once connections have ended; `ulimit -n` says how many there are"
            );
            let first = self.lock().pause(Instant::now());
            if first {
                self.say(&Event::Disk { why, full });
            }
            return;
        }
        // a download that isn't begun for lack of room says itself what it needs; one that is whole, or lacks an inode, needs no
        // more bytes
        let begun = !matches!(fault, StoreError::NoRoom { .. });
        let missing = self.lock().missing();
        let why = if full && begun && missing > 0 {
            let (needs, dir) = (bytes(missing), self.0.store.dir().display());
            format!("disk full: {needs} more are needed in {dir}")
        } else {
            fault.to_string()
        };
        let first = self.lock().pause_for_disk(&why, Instant::now());
        // a run that ends because of it says so at its end
        if first && !self.0.config.wants.exit_when_complete {
            self.say(&Event::Disk { why, full });
        }
        self.notify_all();
    }
}
