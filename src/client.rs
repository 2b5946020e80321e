//! The peer: what it does by the clock, and what it does when something happens.
//!
//! As in the original, three [`RepeatedTimer`]s: `ping_tracker` every 10 s, `send_tracker_file_list` every 20 s, and a round of
//! `manage_downloads` every 30 s. The original does all its downloading in that round, one file a round. Ours decides anew
//! whenever something changed, so the round is for when nobody had anything; `--classic` keeps the original's round.
//!
//! Owns the one lock of the process. Every method locks, decides, unlocks, and then acts: no socket, file, hash, sleep or
//! print under the guard.

use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender as Channel, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};

use crate::buffers::Buffers;
use crate::cli::Exit;
use crate::events::Event;
use crate::limit::Limit;
use crate::net::{Connection, HEADER, Listener, Trouble, connect, is_local, resolve};
use crate::picker::Order;
use crate::protocol::{
    LIST_CAP, ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK, PeerEntry, PingAnswer, Reply, Summary,
    ToTracker, VERSION,
};
use crate::repeated_timer::{RepeatedTimer, Trigger};
use crate::report::Report;
use crate::state::{Ending, Reach, State, TrackerKind, Wants};
use crate::store::{Stamp, Store};
use crate::torrent::{Name, legible};
use crate::{download, originals, upload};

mod files;
mod publishing;
mod telling;

/// The most connections that are served at once.
const UPLOADS: usize = 256;
/// Between two looks at the folder: what kept its size and time for so long was left alone.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a peer is started with.
#[derive(Clone, Debug)]
pub struct Config {
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
    /// Ask nobody before so many others are listed.
    pub min_peers: usize,
    /// The most bytes a second that are sent, and received.
    pub max_up: Option<u64>,
    /// See [`Config::max_up`].
    pub max_down: Option<u64>,
    /// Between two pings.
    pub ping_every: Duration,
    /// Between two rounds.
    pub round_every: Duration,
}

/// A running peer. Cheap to clone: all clones are the same peer.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

/// What all threads of a peer have in common.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) report: Report,
    /// Random for each run: who meets it has called itself.
    pub(crate) id: String,
    /// The listening port.
    pub(crate) port: u16,
    pub(crate) up: Option<Limit>,
    pub(crate) down: Option<Limit>,
    state: Mutex<State>,
    /// Told whenever something came or ended.
    changed: Condvar,
    /// Buffers of received pieces, to be used again.
    pub(crate) buffers: Buffers,
    to_hash: Channel<Option<(Name, Stamp)>>,
    to_begin: Channel<Option<Summary>>,
    list_now: OnceLock<Trigger>,
    ping_now: OnceLock<Trigger>,
}

/// The threads of a peer; dropping it ends them.
pub struct Running {
    /// The peer.
    pub client: Client,
    timers: Vec<RepeatedTimer>,
    workers: Vec<JoinHandle<()>>,
    listener: Option<Listener>,
}

impl Client {
    /// Starts a peer that is served at `listener`.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub fn start(
        config: Config,
        store: Store,
        listener: TcpListener,
        report: Report,
    ) -> std::io::Result<Running> {
        let port = listener.local_addr()?.port();
        let rng = rand::rngs::StdRng::from_rng(&mut rand::rng());
        let state = State::new(config.wants.clone(), rng, Instant::now());
        let ((to_hash, hashes), (to_begin, begins)) = (channel(), channel());
        let client = Self(Arc::new(Shared {
            id: format!("{:016x}", rand::rng().random::<u64>()),
            port,
            up: config.max_up.map(Limit::new),
            down: config.max_down.map(Limit::new),
            state: Mutex::new(state),
            changed: Condvar::new(),
            buffers: Buffers::default(),
            to_hash,
            to_begin,
            list_now: OnceLock::new(),
            ping_now: OnceLock::new(),
            config,
            store,
            report,
        }));
        client.run(listener, hashes, begins)
    }

    fn run(
        self,
        listener: TcpListener,
        hashes: Receiver<Option<(Name, Stamp)>>,
        begins: Receiver<Option<Summary>>,
    ) -> std::io::Result<Running> {
        let mut running = Running {
            client: self.clone(),
            timers: Vec::new(),
            workers: Vec::new(),
            listener: None,
        };
        let (serve, tell) = (self.clone(), self.clone());
        let told = move |trouble| tell.trouble(trouble);
        running.listener = Some(Listener::start(
            "upload",
            listener,
            UPLOADS,
            move |connection| upload::listen_requests(&serve, connection),
            told,
        )?);
        let (hash, begin) = (self.clone(), self.clone());
        running.workers.push(
            Builder::new()
                .name("hash".to_owned())
                .spawn(move || hash.hash_files(&hashes))?,
        );
        running.workers.push(
            Builder::new()
                .name("begin".to_owned())
                .spawn(move || begin.begin_downloads(&begins))?,
        );
        let config = &self.0.config;
        let (look, ping, list, round) = (self.clone(), self.clone(), self.clone(), self.clone());
        running
            .timers
            .push(RepeatedTimer::start("look", LOOK_EVERY, move || {
                look.look_at_folder()
            })?);
        running.timers.push(RepeatedTimer::start(
            "list",
            config.wants.list_every,
            move || list.send_tracker_file_list(),
        )?);
        let _ = self.0.list_now.set(running.timers[1].trigger());
        running.timers.push(RepeatedTimer::start(
            "ping",
            config.ping_every,
            move || ping.ping_tracker(),
        )?);
        let _ = self.0.ping_now.set(running.timers[2].trigger());
        running.timers.push(RepeatedTimer::start(
            "round",
            config.round_every,
            move || round.round(),
        )?);
        Ok(running)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// A thread that panicked under the lock has told of it; what it left is still checked piece by piece, so the others
    /// go on.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn say(&self, event: &Event) {
        self.0.report.say(event);
    }

    /// Wakes whoever waits for news.
    pub(crate) fn tell_all(&self) {
        self.0.changed.notify_all();
    }

    /// Waits until something changed, or until `until`.
    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Instant,
    ) -> MutexGuard<'a, State> {
        let left = until.saturating_duration_since(Instant::now());
        self.0
            .changed
            .wait_timeout(state, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Waits until the program may end, by `--exit-when-complete`; for ever without it.
    pub fn wait_until_done(&self) -> Exit {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            match state.ending(now) {
                Ending::Now(exit, why) => {
                    drop(state);
                    self.say(&Event::Ending {
                        code: exit as u8,
                        why,
                    });
                    return exit;
                }
                // an hour is as good as for ever
                Ending::Wait(until) => {
                    state = self.wait(state, until.unwrap_or(now + Duration::from_secs(3600)))
                }
            }
        }
    }

    fn trouble(&self, trouble: Trouble) {
        self.say(&match trouble {
            Trouble::Accept(fault) => Event::AcceptFailed {
                why: fault.to_string(),
            },
            Trouble::Full(most) => Event::Full { most },
        });
    }

    fn to_tracker(&self) -> std::io::Result<Connection> {
        connect(&resolve(
            &self.0.config.tracker,
            self.0.config.tracker_port,
        )?)
    }

    /// Every 10 s: I am here; who else is?
    fn ping_tracker(&self) {
        let ping = ToTracker::Ping {
            port: self.0.port,
            v: Some(VERSION),
        };
        let answer = self.to_tracker().and_then(|mut tracker| {
            tracker.send(&ping)?;
            Ok((
                tracker.expect::<PingAnswer>(HEADER, LIST_CAP)?,
                tracker.own.ip(),
            ))
        });
        match answer {
            Ok((PingAnswer::Ours(list), _)) => {
                let (first, n_peers, wanted, few) = {
                    let mut state = self.lock();
                    let first = state.tracker == TrackerKind::Unknown || state.unreachable;
                    state.unreachable = false;
                    let wanted = state.update_list(&list, Instant::now());
                    (
                        first,
                        state.n_listed(),
                        wanted,
                        state.few_peers(self.0.config.min_peers),
                    )
                };
                self.say(&Event::List {
                    n_peers,
                    n_files: list.torrents.len(),
                    original: false,
                });
                if let Some(waits_for) = few {
                    self.say(&Event::FewPeers { n_peers, waits_for });
                }
                wanted
                    .into_iter()
                    .for_each(|summary| drop(self.0.to_begin.send(Some(summary))));
                self.publish();
                if first {
                    self.list_now();
                }
            }
            Ok((PingAnswer::Original(peers), own)) => self.original_answered(&peers, own),
            Ok((PingAnswer::Refused(reply), _)) => {
                self.unreachable(reply.error.unwrap_or_default())
            }
            Err(fault) => self.unreachable(fault.to_string()),
        }
        self.share_known();
        self.connect_to_peers();
        self.manage_downloads();
        originals::fetch_whole_files(self);
        self.tell_all();
    }

    fn original_answered(&self, peers: &[PeerEntry], own: IpAddr) {
        let first = {
            let mut state = self.lock();
            let first = state.tracker != TrackerKind::Original || state.unreachable;
            state.unreachable = false;
            // its list contains the asker
            let is_own = |ip: &str| ip.parse().is_ok_and(|ip| is_local(ip, own));
            let others: Vec<_> = peers
                .iter()
                .filter(|peer| peer.port != self.0.port || !is_own(&peer.ip))
                .cloned()
                .collect();
            state.update_original_list(&others, Instant::now());
            first
        };
        self.say(&Event::List {
            n_peers: peers.len(),
            n_files: 0,
            original: true,
        });
        if first {
            self.say(&Event::OriginalTracker);
            self.list_now();
        }
    }

    /// One line at the first failure; the swarm goes on without it.
    fn unreachable(&self, why: String) {
        let first = !std::mem::replace(&mut self.lock().unreachable, true);
        if first {
            let at = format!("{}:{}", self.0.config.tracker, self.0.config.tracker_port);
            self.say(&Event::TrackerUnreachable { at, why });
        }
    }

    /// Every 20 s, and whenever a file became whole: what I have.
    fn send_tracker_file_list(&self) {
        let (kind, files, pieces) = {
            let state = self.lock();
            match state.tracker {
                TrackerKind::Unknown => return,
                TrackerKind::Ours { .. } => {
                    let (files, pieces) = state.file_list();
                    (state.tracker, files, pieces)
                }
                TrackerKind::Original => (state.tracker, state.whole_names(), Default::default()),
            }
        };
        let (n_files, n_parts) = (files.len(), pieces.len());
        let sent = self.to_tracker().and_then(|mut tracker| {
            if kind == TrackerKind::Original {
                let cap = if is_local(tracker.peer.ip(), tracker.own.ip()) {
                    ORIGINAL_CAP
                } else {
                    ORIGINAL_CAP_OFF_LOOPBACK
                };
                let sent = tracker.sender().send_bytes(&publishing::original_file_list(
                    self.0.port,
                    files,
                    cap,
                ));
                // it closes without an answer; leaving before would end it
                return sent.and_then(|()| tracker.read::<Reply>(HEADER, ORIGINAL_CAP).map(drop));
            }
            tracker.send(&ToTracker::FileList {
                port: self.0.port,
                files,
                v: Some(VERSION),
                pieces,
            })?;
            let reply: Reply = tracker.expect(HEADER, ORIGINAL_CAP)?;
            reply
                .error
                .map_or(Ok(()), |why| Err(std::io::Error::other(legible(&why))))
        });
        match sent {
            Ok(()) => self.say(&Event::ListSent { n_files, n_parts }),
            Err(fault) => self.unreachable(fault.to_string()),
        }
    }

    pub(crate) fn list_now(&self) {
        if let Some(list) = self.0.list_now.get() {
            list.fire();
        }
    }

    /// Every 30 s, the original's round. By default it has only to do what no event brought about.
    fn round(&self) {
        if self.0.config.classic {
            self.classic_round();
        } else {
            self.connect_to_peers();
            self.manage_downloads();
        }
        originals::fetch_whole_files(self);
        let waits_for = self.lock().waits_for();
        for why in waits_for {
            self.say(&Event::Waiting { why });
        }
    }

    /// Connects to the peers of ours that have, or will have, something that is missing here.
    pub(crate) fn connect_to_peers(&self) {
        let to_connect = {
            let mut state = self.lock();
            let now = Instant::now();
            if self.0.config.classic || !self.may_ask(&mut state, now) {
                Vec::new()
            } else {
                state.to_connect(now)
            }
        };
        for (peer, addr) in to_connect {
            let client = self.clone();
            let thread = Builder::new()
                .name(format!("download {addr}"))
                .spawn(move || download::talk_to(&client, peer, addr));
            if thread.is_err() {
                self.lock().disconnected(peer, true, Instant::now());
            }
        }
    }

    /// Asks for all that can be asked for now.
    pub(crate) fn manage_downloads(&self) {
        let orders = {
            let mut state = self.lock();
            let now = Instant::now();
            if self.0.config.classic || !self.may_ask(&mut state, now) {
                return;
            }
            state.open_for_single_pieces(false, now);
            let State { picker, rng, .. } = &mut *state;
            picker.manage_downloads(now, rng)
        };
        orders.into_iter().for_each(|order| self.request(order));
    }

    fn classic_round(&self) {
        let order = {
            let mut state = self.lock();
            let now = Instant::now();
            if !self.may_ask(&mut state, now) {
                return;
            }
            state.open_for_single_pieces(true, now);
            let State { picker, rng, .. } = &mut *state;
            picker.classic_round(now, rng)
        };
        if let Some(order) = order {
            self.request(order);
        }
    }

    fn may_ask(&self, state: &mut State, now: Instant) -> bool {
        if state.paused_until.is_some_and(|until| until <= now) {
            (state.paused_until, state.disk_fault) = (None, None);
        }
        !state.ending && state.paused_until.is_none() && state.n_listed() >= self.0.config.min_peers
    }

    /// Sends a request on its way: over the open connection, or over one of its own.
    fn request(&self, order: Order) {
        let (reach, addr, ours) = {
            let state = self.lock();
            let Some(peer) = state.peers.get(&order.peer) else {
                return;
            };
            (peer.reach.clone(), peer.addr, peer.ours)
        };
        self.explain(&order);
        match reach {
            Reach::Open(sender) => {
                if sender.send(&crate::protocol::Ask::Get(order.get)).is_err() {
                    sender.close(); // its thread reads the end, and releases what was asked
                }
            }
            Reach::Trying | Reach::No => self.lock().picker.release(order.peer),
            Reach::Single => {
                let (client, peer) = (self.clone(), order.peer);
                let thread = Builder::new().name(format!("request_piece {addr}"));
                let spawned =
                    thread.spawn(move || originals::request_piece(&client, order, addr, ours));
                if spawned.is_err() {
                    self.lock().disconnected(peer, true, Instant::now());
                }
            }
        }
    }
}

impl Drop for Running {
    /// Ends all threads of the peer. Connections to others end by themselves, within their timeouts at the latest.
    fn drop(&mut self) {
        let open: Vec<_> = {
            let mut state = self.client.lock();
            state.ending = true;
            let open = |reach: &Reach| {
                if let Reach::Open(sender) = reach {
                    Some(sender.clone())
                } else {
                    None
                }
            };
            state
                .peers
                .values()
                .filter_map(|peer| open(&peer.reach))
                .collect()
        };
        open.iter().for_each(crate::net::Sender::close);
        self.client.tell_all();
        self.timers.clear();
        self.listener = None;
        let _ = (
            self.client.0.to_hash.send(None),
            self.client.0.to_begin.send(None),
        );
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
