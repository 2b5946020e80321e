//! The peer: what it does by the clock, and what it does when something happens.
//!
//! As in the original, three [`RepeatedTimer`](crate::repeated_timer::RepeatedTimer)s: `ping_tracker` every 10 s, `send_tracker_file_list` every 20 s, and a round of
//! `manage_downloads` every 30 s. The original does all its downloading in that round, one file a round. Ours decides anew
//! whenever something changed, so the round is for when nobody had anything; `--classic` keeps the original's round.
//!
//! Owns the one lock of the process. Every method locks, decides, unlocks, and then acts: no socket, file, hash, sleep or
//! print under the guard.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::Sender as Channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crate::buffers::Buffers;
use crate::cli::Exit;
use crate::events::Event;
use crate::limit::Limit;
use crate::net::{Connection, HEADER, Sender, connect, is_local, resolve};
use crate::picker::Order;
use crate::protocol::{
    LIST_CAP, ORIGINAL_CAP, OtherCopy, PeerEntry, PingAnswer, Reply, Summary, SwarmList, ToTracker,
    VERSION,
};
use crate::repeated_timer::Trigger;
use crate::report::Report;
use crate::state::{Ending, Reach, State, TrackerKind, Wants};
use crate::store::{Stamp, Store};
use crate::torrent::{Name, legible};
use crate::{download, originals};

mod files;
mod publishing;
mod running;
mod telling;

pub use running::Running;

/// After a list, the next one waits so long for each file that it named.
const LIST_PAUSE: Duration = Duration::from_micros(100);
/// But for so many of them at most: half a second in all.
const LONG_LIST: usize = 5000;

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
    /// A file of which what fits is copied, see `--reuse`.
    pub reuse: Option<PathBuf>,
    /// Ask nobody before so many others are listed.
    pub min_peers: usize,
    /// The most bytes a second that are sent, and received.
    pub max_up: Option<u64>,
    /// See [`Config::max_up`].
    pub max_down: Option<u64>,
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
    /// By which the tracker knows this folder as a publisher.
    key: String,
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
    /// Looks at once what is to be shown; only where there is a terminal for it.
    show_now: OnceLock<Trigger>,
}

impl Client {
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
        if let Some(show) = self.0.show_now.get()
            && event.changes_work()
        {
            show.fire();
        }
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
                Ending::Ask => {
                    drop(state);
                    self.ping_tracker();
                    state = self.lock();
                }
                Ending::Now(exit, why) => {
                    drop(state);
                    self.tell_given(true);
                    self.say(&Event::Ending {
                        code: exit as u8,
                        why,
                    });
                    self.0.report.settle();
                    return exit;
                }
                // an hour is as good as for ever
                Ending::Wait(until) => {
                    state = self.wait(state, until.unwrap_or(now + Duration::from_secs(3600)))
                }
            }
        }
    }

    fn to_tracker(&self) -> std::io::Result<Connection> {
        connect(&resolve(
            &self.0.config.tracker,
            self.0.config.tracker_port,
        )?)
    }

    /// Every 10 s: I am here; who else is?
    fn ping_tracker(&self) {
        let (connections, wants, edition) = {
            let state = self.lock();
            (state.connections(), state.wanted_names(), state.edition)
        };
        connections.iter().for_each(Sender::close_if_stranded);
        let ping = ToTracker::Ping {
            port: self.0.port,
            v: Some(VERSION),
            wants,
            edition,
        };
        let answer = self.to_tracker().and_then(|mut tracker| {
            tracker.send(&ping)?;
            Ok((
                tracker.expect::<PingAnswer>(HEADER, LIST_CAP)?,
                tracker.own.ip(),
            ))
        });
        match answer {
            Ok((PingAnswer::Ours(mut list), own)) => {
                self.leave_out_own(&mut list, own);
                let (first, n_peers, n_files, wanted, few) = {
                    let mut state = self.lock();
                    let first = state.tracker == TrackerKind::Unknown || state.unreachable;
                    state.unreachable = false;
                    let wanted = state.update_list(&list, Instant::now());
                    (
                        first,
                        state.n_listed(),
                        state.swarm.len(),
                        wanted,
                        state.few_peers(self.0.config.min_peers),
                    )
                };
                self.say(&Event::List {
                    n_peers,
                    n_files,
                    original: false,
                });
                if let Some(waits_for) = few {
                    self.say(&Event::FewPeers { n_peers, waits_for });
                }
                wanted
                    .into_iter()
                    .for_each(|summary| drop(self.0.to_begin.send(Some(summary))));
                self.tell_conflicts();
                let unpublished = !self.lock().unpublished().is_empty();
                if first || unpublished {
                    self.list_now();
                }
            }
            Ok((PingAnswer::Original(peers), own)) => {
                self.original_answered(&peers, own);
                self.announce_all();
            }
            Ok((PingAnswer::Refused(refusal), _)) => {
                self.unreachable(format!("it answers: {}", legible(&refusal.error)));
            }
            Err(fault) => self.unreachable(fault.to_string()),
        }
        self.share_known();
        self.connect_to_peers();
        self.manage_downloads();
        originals::fetch_whole_files(self);
        self.tell_all();
    }

    /// The list names all in whose folders another content stands: this peer knows its own folder better.
    fn leave_out_own(&self, list: &mut SwarmList, own: IpAddr) {
        let is_own = |other: &OtherCopy| {
            let addr: Option<SocketAddr> = other.peer.parse().ok();
            addr.is_some_and(|addr| addr.port() == self.0.port && is_local(addr.ip(), own))
        };
        for listed in &mut list.torrents {
            listed.others.retain(|other| !is_own(other));
        }
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

    /// Every 20 s, and whenever something changed: what I have. What the tracker doesn't know yet is published first.
    fn send_tracker_file_list(&self) {
        self.publish();
        let (kind, (files, pieces), coming, others) = {
            let state = self.lock();
            match state.tracker {
                TrackerKind::Unknown => return,
                TrackerKind::Ours { .. } => (
                    state.tracker,
                    state.file_list(),
                    state.coming(),
                    state.other_contents(),
                ),
                TrackerKind::Original => (
                    state.tracker,
                    (state.whole_names(), Default::default()),
                    Vec::new(),
                    Default::default(),
                ),
            }
        };
        let (n_files, n_parts) = (files.len(), pieces.len());
        let sent = self.to_tracker().and_then(|mut tracker| {
            if kind == TrackerKind::Original {
                return originals::send_list(&mut tracker, self.0.port, files);
            }
            tracker.send(&ToTracker::FileList {
                port: self.0.port,
                files,
                v: Some(VERSION),
                pieces,
                coming,
                others,
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
        // where thousands of files become whole one after the other, the next list tells of many of them
        std::thread::sleep(LIST_PAUSE * n_files.min(LONG_LIST) as u32);
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
        let waits_for = {
            let mut state = self.lock();
            state.retry_bad_pieces();
            state.waits_for()
        };
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
        let (reach, addr, ours, why) = {
            let mut state = self.lock();
            state.asked(order.peer, &order.get);
            let why = self.explain(&mut state, &order, Instant::now());
            let Some(peer) = state.peers.get(&order.peer) else {
                return;
            };
            (peer.reach.clone(), peer.addr, peer.ours, why)
        };
        if let Some(why) = why {
            self.say(&why);
        }
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
