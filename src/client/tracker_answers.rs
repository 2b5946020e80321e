//! The tracker's answers and their effects: how it is reached, and what is reported about it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::Client;
use super::errors::ClientError;
use crate::causes::NoList;
use crate::events::Event;
use crate::net::{Connection, HEADER, Sender, connect, is_local, resolve};
use crate::protocol::{
    LIST_CAP, ORIGINAL_CAP, OtherCopy, PeerList, PingRefusal, Reply, SwarmList, ToTracker, VERSION,
};
use crate::state::PeerShortage;
use crate::torrent::legible;
use crate::units::plural;

/// The pause after a list, for each file that it named.
const LIST_PAUSE: Duration = Duration::from_micros(100);
/// The most files that count towards this pause: half a second in total.
const LONG_LIST: usize = 5000;

/// Connects to a tracker, by its name or address.
pub(crate) fn to_tracker(host: &str, port: u16) -> Result<Connection, ClientError> {
    let addrs = resolve(host, port).map_err(ClientError::NoAddress)?;
    connect(&addrs).map_err(ClientError::NotConnected)
}

impl Client {
    pub(super) fn to_tracker(&self) -> Result<Connection, ClientError> {
        to_tracker(&self.0.config.tracker, self.0.config.tracker_port)
    }

    /// Sends one message and reads the answer. Returns it with this machine's address as the tracker sees it.
    pub(super) fn ask_tracker<T: DeserializeOwned>(
        &self,
        message: &ToTracker,
    ) -> Result<(T, IpAddr), ClientError> {
        let connections = self.lock().connections();
        let stranded = connections.iter().filter(|own| own.is_stranded());
        stranded.for_each(Sender::close);
        let mut tracker = self.to_tracker()?;
        self.0.interface.store(tracker.interface, Ordering::Relaxed);
        tracker.send(message)?;
        Ok((tracker.expect(HEADER, LIST_CAP)?, tracker.own.ip()))
    }

    /// Sends one message, which the tracker only accepts or refuses.
    pub(super) fn tell_tracker(&self, message: &ToTracker) -> Result<Reply, ClientError> {
        let mut tracker = self.to_tracker()?;
        tracker.send(message)?;
        let reply: Reply = tracker.expect(HEADER, ORIGINAL_CAP)?;
        match &reply.error {
            Some(why) => Err(ClientError::refused(why)),
            None => Ok(reply),
        }
    }

    /// Takes the list of one of our trackers, and begins the downloads that can begin.
    pub(super) fn take_list(&self, mut list: SwarmList, own: IpAddr) {
        self.leave_out_own(&mut list, own);
        self.keep_up_with(list.sweep_every);
        let taken = {
            let mut state = self.lock();
            let first = state.reached();
            let begins = state.update_list(&list, Instant::now());
            let few = state.few_peers(self.0.config.min_peers);
            (first, begins, few, state.n_listed(), state.n_files_listed())
        };
        let (first, begins, few, n_peers, n_files) = taken;
        self.say(&Event::List {
            n_peers,
            n_files,
            original: false,
            first,
        });
        if let Some(shortage) = few {
            let waits_for = match shortage {
                PeerShortage::WaitsFor(least) => Some(least),
                PeerShortage::GoesOn => None,
            };
            self.say(&Event::FewPeers { n_peers, waits_for });
        }
        self.begin_all(begins);
        self.greet_peers();
        self.tell_conflicts();
        let unpublished = !self.lock().unpublished().is_empty();
        if first || unpublished {
            self.list_now();
        }
    }

    /// Pings more often if the tracker would otherwise drop this peer between two pings.
    fn keep_up_with(&self, sweep_every: Option<f64>) {
        let changed = self.lock().adapt_pings(sweep_every);
        let (Some(every), Some(timer)) = (changed, self.0.ping_timer.get()) else {
            return;
        };
        timer.fire_every(every);
        self.say(&Event::PingsEvery {
            seconds: every.as_secs_f64(),
        });
    }

    /// Removes this peer from the machines that the list names as having another content: this peer knows its own folder
    /// better.
    fn leave_out_own(&self, list: &mut SwarmList, own: IpAddr) {
        let is_own = |other: &OtherCopy| {
            let addr: Option<SocketAddr> = other.peer.parse().ok();
            addr.is_some_and(|addr| addr.port() == self.0.port && is_local(addr.ip(), own))
        };
        for listed in list.torrents.iter_mut().flatten() {
            listed.others.retain(|other| !is_own(other));
        }
    }

    pub(super) fn refused_by_tracker(&self, refusal: &PingRefusal) {
        self.no_list(NoList::Refused {
            said: legible(&refusal.error),
        });
    }

    /// Sends a list, unless the tracker refused the very same a short while ago. Returns true if it was sent and taken; a refusal
    /// is reported as what it is, once.
    pub(super) fn send_list(&self, list: PeerList) -> Result<bool, ClientError> {
        let attempt = list.attempt();
        if self.lock().is_list_refused(attempt, Instant::now()) {
            return Ok(false);
        }
        let heads = list.heads();
        let sent = self.tell_tracker(&ToTracker::FileList {
            port: self.0.port,
            v: Some(VERSION),
            list,
        });
        match sent {
            Err(ClientError::Refused(why)) => {
                let is_news = self.lock().list_refused(attempt, &why, Instant::now());
                if is_news {
                    self.say(&Event::ListRefused { why });
                }
                Ok(false)
            }
            sent => {
                self.lock().list_taken();
                sent?;
                let is_news = self.lock().told_heads(heads);
                if is_news {
                    self.greet_peers_soon();
                }
                Ok(true)
            }
        }
    }

    /// Answers a message that is for a tracker, so that whoever gave this peer's port for the tracker's is told so.
    pub(super) fn not_the_tracker(
        &self,
        connection: &Connection,
        message: &ToTracker,
    ) -> Result<(), ClientError> {
        let tracker = self.tracker_at();
        let error = format!(
            "this is a peer's port and not the tracker's; the tracker of this peer is {tracker}"
        );
        match message {
            // an original that is refused is told so by an empty list
            ToTracker::Ping { v: None, .. } => connection.sender().send_bytes(b"[]")?,
            ToTracker::FileList { v: None, .. } => {}
            _ => connection.send(&PingRefusal { error })?,
        }
        Ok(())
    }

    /// Reports why no list comes, the first time since one came; the swarm goes on without the tracker.
    pub(super) fn no_list(&self, cause: NoList) {
        let is_news = self.lock().no_list(cause.clone());
        if is_news {
            let at = self.tracker_at();
            self.say(&Event::TrackerUnreachable { at, cause });
        }
    }

    /// If thousands of files become whole one after the other, the next list reports many of them at once.
    pub(super) fn pause_after_list(&self, n_files: usize) {
        std::thread::sleep(LIST_PAUSE * n_files.min(LONG_LIST) as u32);
    }

    /// Lets the list be sent at once, without waiting for it.
    pub(super) fn list_now(&self) {
        if let Some(list) = self.0.list_now.get() {
            list.fire();
        }
    }

    /// Once a round, gives bad copies another chance, and says what keeps files from coming.
    pub(super) fn retry_and_say_what_waits(&self) {
        let (waits_for, others) = {
            let mut state = self.lock();
            state.retry_bad_pieces();
            state.waits_to_tell()
        };
        let any_told = waits_for.iter().any(|(.., is_news)| *is_news);
        for (name, cause, is_news) in waits_for {
            let name = name.to_string();
            self.say(&Event::Waiting {
                name,
                cause,
                is_news,
            });
        }
        if others > 0 && any_told {
            let what = format!("and {}, for the like", plural(others, "more file"));
            self.say(&Event::Remark { what });
        }
    }
}
