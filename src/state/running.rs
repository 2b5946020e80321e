//! The causes that hold everything up or end it: the tracker, the disk, the user; and what the client asks about them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Standing, State, TrackerKind};
use crate::causes::NoList;
use crate::picker::{Decision, PeerId};
use crate::protocol::{PeerList, Summary};
use crate::torrent::{Name, Torrent};

/// The pause before the disk is tried again after a failure.
const DISK_RETRY: Duration = Duration::from_secs(10);
/// The pause before the tracker is sent a list again that it refused. Pings tell it meanwhile that this peer is here.
const LIST_RETRY: Duration = Duration::from_secs(60);

/// A file of fewer bytes is small, where the commands for other machines are printed.
const COMMAND_SIZE: u64 = 16 << 20;

/// A list that was sent, known by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListAttempt(u64);

/// A list that the tracker refused.
pub(super) struct RefusedList {
    list: ListAttempt,
    /// What the tracker said.
    why: String,
    at: Instant,
}

impl PeerList {
    /// Returns what tells this list from others.
    pub fn attempt(&self) -> ListAttempt {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        ListAttempt(hasher.finish())
    }
}

impl State {
    /// Lets everything end from now on.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// Returns true if everything is to end.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    /// Returns which kind of tracker it is, by its last answer.
    pub fn tracker(&self) -> TrackerKind {
        self.tracker
    }

    /// Returns the files that a ping names as wanted, and the edition of the tracker's files that is known here.
    pub fn asks_tracker_for(&self) -> (Vec<Name>, Option<u64>) {
        (self.wanted_names(), self.edition)
    }

    /// Notes that a tracker answered. Returns true if it is its first answer, or the first one after a failure.
    pub fn reached(&mut self) -> bool {
        self.told.no_list.clear();
        self.no_list.take().is_some() || self.tracker == TrackerKind::Unknown
    }

    /// Notes why no list came from the tracker. Returns true if that wasn't told since one came.
    pub fn no_list(&mut self, cause: NoList) -> bool {
        let told = &mut self.told.no_list;
        let is_news = !told.iter().any(|told| told.is_like(&cause));
        if is_news {
            told.push(cause.clone());
        }
        self.no_list = Some(cause);
        is_news
    }

    /// Returns true if the tracker refused this very list a short while ago: it would say the same again.
    pub fn is_list_refused(&self, list: ListAttempt, now: Instant) -> bool {
        let refused = self.told.list.as_ref();
        refused.is_some_and(|refused| refused.list == list && now < refused.at + LIST_RETRY)
    }

    /// Notes that the tracker doesn't take this list. Returns true if it hasn't said so since it took one.
    pub fn list_refused(&mut self, list: ListAttempt, why: &str, now: Instant) -> bool {
        let (why, at) = (why.to_owned(), now);
        let refused = RefusedList { list, why, at };
        let before = self.told.list.replace(refused);
        let before = before.map(|before| before.why);
        before.as_ref() != self.told.list.as_ref().map(|refused| &refused.why)
    }

    /// Notes that the tracker took a list, or can't be reached: what it refuses next is news.
    pub fn list_taken(&mut self) {
        self.told.list = None;
    }

    /// Returns how many files the tracker lists.
    pub fn n_files_listed(&self) -> usize {
        self.swarm.len()
    }

    /// Returns what the tracker lists under a name.
    pub fn listed(&self, name: &Name) -> Option<&Summary> {
        self.swarm.get(name)
    }

    /// Returns how many wanted files have a piece that is missing here and that some other peer has.
    pub fn n_obtainable(&self) -> usize {
        self.picker.n_obtainable()
    }

    /// Returns true if pieces may be requested: the disk takes them, and enough peers are listed.
    pub(super) fn may_ask(&mut self, min_peers: usize, now: Instant) -> bool {
        if self.paused_until.is_some_and(|until| until <= now) {
            (self.paused_until, self.disk_fault) = (None, None);
        }
        !self.ending && self.paused_until.is_none() && self.n_listed() >= min_peers
    }

    /// Returns the classic round's request, see [`crate::picker::Picker::classic_round`].
    pub fn classic_round(&mut self, min_peers: usize, now: Instant) -> Option<Decision> {
        if !self.may_ask(min_peers, now) {
            return None;
        }
        self.open_single_links(true, now);
        self.picker.classic_round(now, &mut self.rng)
    }

    /// Stops all requests until the disk has had some time. Returns true if the user doesn't know yet that it fails.
    pub fn pause_for_disk(&mut self, why: &str, now: Instant) -> bool {
        self.disk_fault = Some(why.to_owned());
        self.pause(now)
    }

    /// Asks for nothing for a while. Returns true if no fault was reported since the last piece came.
    pub fn pause(&mut self, now: Instant) -> bool {
        self.paused_until = Some(now + DISK_RETRY);
        !std::mem::replace(&mut self.told.disk_fault, true)
    }

    /// Notes that a name of the folder can't be shared. Returns true if that wasn't reported yet.
    pub fn note_oddity(&mut self, name: &str) -> bool {
        self.told.odd.insert(name.to_owned())
    }

    /// Notes that something is in a file's way. Returns true if that wasn't reported yet.
    pub fn note_stuck(&mut self, name: &Name, why: &str) -> bool {
        self.stuck.insert(name.clone(), why.to_owned());
        self.told.odd.insert(name.as_str().to_owned())
    }

    /// Notes that something other than a file has a wanted name. Returns true if that wasn't reported yet.
    pub fn note_blocked(&mut self, name: &Name, why: &str) -> bool {
        self.blocked.insert(name.clone());
        self.note_stuck(name, why)
    }

    /// Notes that it was moved away.
    pub fn unblock(&mut self, name: &Name) {
        self.blocked.remove(name);
        self.stuck.remove(name);
    }

    /// The wanted names under which something other than a file stands.
    pub fn blocked(&self) -> Vec<Name> {
        self.blocked.iter().cloned().collect()
    }

    /// Notes that a download can't begin. Returns true if that wasn't reported yet.
    pub fn cannot_begin(&mut self, name: &Name, why: &str) -> bool {
        if self.wants.exit_when_complete {
            self.disk_fault = Some(why.to_owned());
        }
        self.note_stuck(name, why)
    }

    /// Notes that a file is no longer being begun: its download has begun, or it can't.
    pub fn end_beginning(&mut self, name: &Name) {
        self.beginning.remove(name);
        self.end_progress(name);
    }

    /// Returns true if an outdated file stands under this name until its replacement is here.
    pub fn replaces_outdated(&self, name: &Name) -> bool {
        matches!(self.standing.get(name), Some(Standing::Outdated(..)))
    }

    /// Returns true if the command for other machines is to be printed for one more file, of this size. Of small files it is
    /// printed only for the very first: they come before the large one that it is needed for.
    pub fn tells_command(&mut self, most: usize, size: u64) -> bool {
        let least = if size < COMMAND_SIZE { 1 } else { most };
        let tells = self.told.commands < least;
        self.told.commands += usize::from(tells);
        tells
    }

    /// Notes that files are fetched from originals. Returns false if there is nothing to fetch, or a thread does it
    /// already.
    pub fn begin_whole_files(&mut self) -> bool {
        let wanted = !self.from_originals_only().is_empty() && !self.ending;
        wanted && !std::mem::replace(&mut self.fetches_whole_files, true)
    }

    /// Notes that no thread fetches files from originals any more.
    pub fn end_whole_files(&mut self) {
        self.fetches_whole_files = false;
    }

    /// Notes that the others are to be greeted after the next ping.
    pub fn greet_soon(&mut self) {
        self.to_greet = true;
    }

    /// Notes that the others are greeted. Returns false if they needn't be, or a thread does it already.
    pub fn begin_greeting(&mut self) -> bool {
        self.to_greet && !std::mem::replace(&mut self.greets, true)
    }

    /// Returns whom to greet; `None` if there is nothing new to tell, by which the greeting ends.
    pub fn next_to_greet(&mut self) -> Option<Vec<SocketAddr>> {
        if std::mem::take(&mut self.to_greet) {
            return Some(self.listed_of_ours());
        }
        self.end_greeting();
        None
    }

    /// Notes that no thread greets the others any more.
    pub fn end_greeting(&mut self) {
        self.greets = false;
    }

    /// A piece came that isn't to be written: it was here before, or its download doesn't go on as it was.
    pub fn came_twice(&mut self, peer: PeerId, torrent: &Torrent, idx: u32) {
        let name = torrent.name();
        let held = self.files.get(name);
        let same = held.filter(|held| held.begins_with(torrent.md5()));
        match same.map(|held| held.have.get(idx)) {
            Some(true) => {
                self.picker.landed(name, idx);
                self.blame_for(name, idx, peer);
            }
            // the download was begun anew in the meantime, and lacks the piece
            Some(false) => self.picker.dropped(peer, name, idx),
            None => {}
        }
    }
}
