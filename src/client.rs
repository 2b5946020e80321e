//! The peer: what it does by the clock, and what it asks of whom.
//!
//! As in the original, three [`RepeatedTimer`](crate::repeated_timer::RepeatedTimer)s run [`Client::ping_tracker`] every
//! 10 s, [`Client::send_tracker_file_list`] every 20 s, and a round of [`Client::manage_downloads`] every 30 s. The original
//! does all its downloading in that round, one file a round. Ours decides anew whenever something changed, so the round
//! has work only if no holder could be asked before; `--classic` makes the course text's round instead.
//!
//! It owns the peer's lock. Every method locks, decides, unlocks, and then acts: no socket, file, hash, sleep or
//! print under the lock.
//!
//! Beside the lesson's [`download`] and [`upload`], among others that [`crate`] lists: `starting` has the threads,
//! `tracker_answers` what an answer changes, `publishing` the contents that the tracker is told of, `folder` and `beginning`
//! the files, `connecting` the connections, `body` the bytes that come on them, `originals` what differs with them,
//! `pretending` what a class wants to see, and `telling` what people are told.

use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::Sender as Channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::buffers::Buffers;
use crate::events::Event;
use crate::limit::Limit;
use crate::picker::Decision;
use crate::protocol::{Ask, PingAnswer, ToTracker, VERSION};
use crate::repeated_timer::Trigger;
use crate::report::Report;
use crate::semaphore::Semaphore;
use crate::state::{LinkState, State, TrackerKind, Wants};
use crate::store::Store;

mod beginning;
mod body;
pub(crate) mod connecting;
pub mod download;
pub(crate) mod errors;
mod folder;
mod greeting;
mod heads;
mod originals;
mod pretending;
mod publishing;
mod reporting;
mod starting;
mod telling;
pub(crate) mod tracker_answers;
pub mod upload;

pub use self::pretending::Pretence;
pub use self::starting::Running;

/// What a peer is started with.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The tracker's name or address.
    pub tracker: String,
    /// The tracker's port.
    pub tracker_port: u16,
    /// The folder.
    pub dir: PathBuf,
    /// What is wanted, and when to end.
    pub wants: Wants,
    /// The course text's round: one piece, the rarest, one holder at random, one connection for it.
    pub classic: bool,
    /// A file from which is copied what fits, see `--reuse`.
    pub reuse: Option<PathBuf>,
    /// Send no request until this many other peers are listed.
    pub min_peers: usize,
    /// The most bytes a second that are sent.
    pub max_up: Option<u64>,
    /// The most bytes a second that are received.
    pub max_down: Option<u64>,
    /// The time between two rounds.
    pub round_every: Duration,
    /// What it pretends to be, for the class.
    pub pretence: Pretence,
}

/// A running peer. Cheap to clone: all clones are the same peer.
#[derive(Clone)]
pub struct Client(Arc<ClientParts>);

/// What all threads of a peer have in common.
struct ClientParts {
    config: ClientConfig,
    state: Mutex<State>,
    /// Notified whenever something came or ended.
    changed: Condvar,
    store: Store,
    report: Report,
    /// The interface that leads to the tracker, where link-local addresses on its list are valid.
    interface: AtomicU32,
    /// Random for each run: a peer that is sent its own id has connected to itself.
    run_id: String,
    /// By which the tracker knows this folder as a publisher.
    publisher_key: String,
    /// The port where other peers are served.
    port: u16,
    up: Option<Limit>,
    /// Permits to send a piece: under a limit, everybody at once would be too slow for each.
    upload_places: Semaphore,
    down: Option<Limit>,
    /// Buffers for received pieces, used again and again.
    buffers: Buffers,
    to_hash: Channel<starting::HashOrder>,
    to_begin: Channel<starting::BeginOrder>,
    list_now: OnceLock<Trigger>,
    /// Changes the time between two pings.
    ping_timer: OnceLock<Trigger>,
    /// Updates at once what a terminal shows; set only where there is a terminal.
    show_now: OnceLock<Trigger>,
}

impl Client {
    /// A thread that panicked under the lock has said so; what it left is still checked piece by piece, so the others go on.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder.
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// No request is sent until this many other peers are listed.
    pub(crate) fn min_peers(&self) -> usize {
        self.0.config.min_peers
    }

    /// Wakes every thread that waits for a change.
    fn notify_all(&self) {
        self.0.changed.notify_all();
    }

    /// Waits until something changed, or until `until`.
    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Instant) -> MutexGuard<'a, State> {
        let left = until.saturating_duration_since(Instant::now());
        let waited = self.0.changed.wait_timeout(state, left);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The original's `ping_tracker`, every 10 s: I am here; who else is, and what do they have? Then whatever the answer has made
    /// possible is begun.
    fn ping_tracker(&self) {
        let (wants, edition) = self.lock().asks_tracker_for();
        let ping = ToTracker::Ping {
            port: self.0.port,
            v: Some(VERSION),
            wants,
            edition,
        };
        match self.ask_tracker(&ping) {
            Ok((PingAnswer::Ours(list), own)) => self.take_list(list, own),
            Ok((PingAnswer::Original(peers), own)) => self.take_original_list(&peers, own),
            Ok((PingAnswer::Refused(refusal), _)) => self.refused_by_tracker(&refusal),
            Err(fault) => self.no_list(fault.no_list()),
        }
        self.share_known();
        self.connect_to_peers();
        self.manage_downloads();
        self.fetch_whole_files();
        self.notify_all();
    }

    /// The original's `send_tracker_file_list`, every 20 s and whenever something changed: this is what I have. Contents that
    /// the tracker doesn't know yet are published first.
    fn send_tracker_file_list(&self) {
        self.publish();
        let (tracker, list) = {
            let state = self.lock();
            (state.tracker(), state.file_list())
        };
        let (n_files, n_parts) = (list.files.len(), list.pieces.len());
        let sent = match tracker {
            TrackerKind::Unknown => return,
            TrackerKind::Original => self.send_original_list().map(|()| true),
            TrackerKind::Ours { .. } => self.send_list(list),
        };
        match sent {
            Ok(true) => self.say(&Event::ListSent { n_files, n_parts }),
            Ok(false) => return,
            Err(fault) => self.no_list(fault.no_list()),
        }
        self.pause_after_list(n_files);
    }

    /// The original's `manage_downloads`: decides what to ask of whom, and asks. The original makes one request every 30 s; here
    /// it runs whenever a piece came or a peer told of news, and fills every place that a connection has free.
    fn manage_downloads(&self) {
        if self.0.config.classic {
            return;
        }
        let decisions = self.lock().next_requests(self.min_peers(), Instant::now());
        for decision in decisions {
            self.request_piece(decision);
        }
    }

    /// The original's `request_piece`: asks a peer for a piece. The original opens a connection and waits for the answer; ours
    /// is open already, and its thread reads the answer ([`Client::receive_piece`]).
    fn request_piece(&self, decision: Decision) {
        self.explain(&decision);
        let link = self.lock().request_link(&decision);
        match link {
            LinkState::Open(sender) => {
                if sender.send(&Ask::Get(decision.get)).is_err() {
                    sender.close(); // its thread sees the end, and gives back what was asked for
                }
            }
            LinkState::Single { addr, ours } => self.request_alone(decision, addr, ours),
            LinkState::Trying | LinkState::No => self.lock().not_asked(decision.peer),
        }
    }

    /// The original's round, every 30 s. By default it only does what no event has triggered.
    fn round(&self) {
        if self.0.config.classic {
            let min_peers = self.0.config.min_peers;
            let decision = self.lock().classic_round(min_peers, Instant::now());
            decision.into_iter().for_each(|one| self.request_piece(one));
        }
        self.connect_to_peers();
        self.manage_downloads();
        self.fetch_whole_files();
        self.retry_and_say_what_waits();
    }
}
