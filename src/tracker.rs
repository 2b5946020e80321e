//! The tracker: answers pings and lists, keeps `.torrent`s, and sweeps.
//!
//! It owns the one Mutex around the [`Roster`]. It never holds a part of any file, and under the lock it never sends, reads,
//! writes or prints: it locks, decides, unlocks, and then acts.
//!
//! The original's words: `listen_for_clients` accepts, `handle_client` reads one message and answers it, and the timer calls
//! `sweep`, which calls `update_peer_list`; what they do with the list is in [`crate::roster`]. The original's `handle_client`
//! holds the lock while it reads and sends, so one client that says nothing blocks all others; its sweep takes no lock at all.
//!
//! Threads: those of a [`Listener`], each with one connection at a time, and the sweep's timer. Two semaphores bound what costs
//! memory or the disk: whoever waits too long for a permit is told that the tracker is busy, and asks again at its next ping.
//!
//! Engineering, not needed for the lesson: publishing (`publishing`, `reasons`, `torrent_folder`), permits (`message_permit`),
//! how an answer is written (`replies`), what people are told (`events`, `notices`, `machines`, `status`), and the page (`page`).

mod events;
mod machines;
mod message_permit;
mod notices;
mod page;
mod publishing;
mod reasons;
mod replies;
mod status;
#[cfg(test)]
mod tests;
mod torrent_folder;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::net::{Connection, HEADER, Listener, canonical};
use crate::protocol::{PeerList, Reply, ToTracker};
use crate::repeated_timer::RepeatedTimer;
use crate::report::Report;
use crate::roster::{Endpoints, Reachability, Roster, TrackerRefusal};
use crate::semaphore::Semaphore;
use crate::torrent::Name;
pub use events::StartError;
use events::TrackerEvent;
use machines::Machines;
use message_permit::MessagePermit;
use notices::{JoinCommands, Notices};
use replies::TrackerReply;
use torrent_folder::TorrentFolder;

/// Connections at a time: what comes beyond waits in the system's queue.
const CONNECTIONS: usize = 512;
/// The longest message or answer that needs no permit, bytes: a list, or the `.torrent` of a file of up to 30 GiB.
const SMALL: usize = 1 << 20;
/// How many longer messages and answers may be in memory at a time, each up to some 80 MiB with what is made of it.
const LARGE_AT_ONCE: usize = 4;
/// How many threads may wait for a permit: an eighth of [`CONNECTIONS`], so that the others serve on.
const WAITING: usize = 64;
/// How long a thread waits for a permit: half as long as a peer waits for the answer.
const PERMIT_WAIT: Duration = Duration::from_secs(5);

/// What a tracker is started with.
#[derive(Clone, Debug)]
pub struct TrackerConfig {
    /// Whom it serves.
    pub reach: Reachability,
    /// Where it keeps the `.torrent`s.
    pub torrents: PathBuf,
    /// The time between two sweeps.
    pub sweep_every: Duration,
    /// How a peer is started, for what people are told: `./client`, for example.
    pub client: String,
}

/// A running tracker. Dropping it ends it.
pub struct Tracker {
    shared: Arc<TrackerShared>,
    listener: Listener,
    _sweep: RepeatedTimer,
}

/// What the tracker's threads share.
pub(crate) struct TrackerShared {
    reach: Reachability,
    roster: Mutex<Roster>,
    torrents: TorrentFolder,
    /// How far each machine is, for people who watch.
    machines: Machines,
    /// One permit, from judging a content to recording it, so that the disk and the roster say the same.
    publishing: Semaphore,
    /// Messages and answers of over [`SMALL`] bytes, so that many connections can't fill the memory.
    large: Semaphore,
    permit_wait: Duration,
    sweep_every: Duration,
    report: Report,
    started: Instant,
    /// What people were told already.
    notices: Notices,
}

impl Tracker {
    /// Loads the `.torrent`s and serves `listener`.
    ///
    /// # Errors
    /// Fails if the folder can't be written to, or if the system gives no thread.
    pub fn start(
        config: TrackerConfig,
        listener: TcpListener,
        report: Report,
    ) -> Result<Self, StartError> {
        Self::start_with(Roster::new(config.reach), config, listener, report)
    }

    /// Starts a tracker that knows some peers already.
    ///
    /// # Errors
    /// Fails as [`Tracker::start`] does.
    pub fn start_with(
        roster: Roster,
        config: TrackerConfig,
        listener: TcpListener,
        report: Report,
    ) -> Result<Self, StartError> {
        let port = canonical(listener.local_addr().map_err(StartError::System)?).port();
        let shared = Arc::new(TrackerShared::new(roster, &config, port, report)?);
        let sweeping = Arc::clone(&shared);
        let sweep = move || sweeping.sweep();
        let sweep = RepeatedTimer::start("sweep", config.sweep_every, sweep);
        let listener = listen_for_clients(Arc::clone(&shared), listener);
        Ok(Self {
            shared,
            _sweep: sweep.map_err(StartError::System)?,
            listener: listener.map_err(StartError::System)?,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr
    }
}

/// Accepts connections, each on a thread of its own.
pub(crate) fn listen_for_clients(
    shared: Arc<TrackerShared>,
    listener: TcpListener,
) -> io::Result<Listener> {
    let telling = Arc::clone(&shared);
    let trouble = move |trouble| telling.tell_trouble(trouble);
    let handle = move |client| shared.handle_client(client);
    Listener::start("tracker", listener, CONNECTIONS, handle, trouble)
}

impl TrackerShared {
    /// Loads the `.torrent`s, and tells how to join.
    fn new(
        mut roster: Roster,
        config: &TrackerConfig,
        port: u16,
        report: Report,
    ) -> Result<Self, StartError> {
        let disk = |fault| StartError::Disk(config.torrents.clone(), fault);
        let torrents = TorrentFolder::open(&config.torrents).map_err(disk)?;
        let loaded = torrents.load().map_err(disk)?;
        let join = JoinCommands::new(config, port);
        join.tell_loaded(&report, config, &loaded);
        loaded
            .records
            .into_iter()
            .for_each(|record| roster.load(record));
        Ok(Self {
            reach: config.reach,
            roster: Mutex::new(roster),
            torrents,
            machines: Machines::default(),
            publishing: Semaphore::new(1, WAITING),
            large: Semaphore::new(LARGE_AT_ONCE, WAITING),
            permit_wait: PERMIT_WAIT,
            sweep_every: config.sweep_every,
            report,
            started: Instant::now(),
            notices: Notices::new(join),
        })
    }

    /// Each step leaves the roster consistent, so a lock poisoned by a panic can still be used.
    fn lock(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long after the start the loaded records are left in place, so that their peers can come back.
    fn settles_in(&self) -> Duration {
        self.sweep_every * 4 / 3
    }

    /// The sweep: drops the peers that have fallen silent.
    fn sweep(&self) {
        let mut roster = self.lock();
        let dropped = roster.update_peer_list();
        let n_peers = roster.n_peers();
        drop(roster);
        if n_peers + dropped.len() > 0 {
            self.report.say(&TrackerEvent::Swept { dropped, n_peers });
        }
    }

    /// Reads one message, answers it, and closes.
    fn handle_client(&self, mut client: Connection) {
        let (from, own) = (client.peer, client.own.ip());
        let mut permit = MessagePermit::new(&self.large, self.permit_wait);
        let message = client.read(HEADER, |len| permit.cap(len));
        let reply = match message {
            // somebody looked whether the port is open
            Ok(None) => return,
            Ok(Some(message)) => self.answer(from, own, message),
            Err(fault) if fault.kind() == io::ErrorKind::InvalidData => {
                self.refuse_message(from, permit.is_refused(), fault.to_string())
            }
            Err(fault) => return self.tell_failed(from, &fault),
        };
        let sender = client.sender();
        let mut parts = reply.parts().into_iter().zip(reply.times());
        if let Err(fault) = parts.try_for_each(|(part, time)| sender.send_within(part, time)) {
            self.tell_failed(from, &fault);
        }
    }

    /// What a message is answered: nothing to an original's list.
    fn answer(&self, peer: SocketAddr, own: IpAddr, message: ToTracker) -> TrackerReply<'_> {
        let from = Endpoints {
            peer: peer.ip(),
            own,
        };
        // an original that is refused is told so by an empty list
        let to_refused_original: Option<&[u8]> = match message {
            ToTracker::Ping { v: None, .. } => Some(b"[]"),
            ToTracker::FileList { v: None, .. } => Some(b""),
            _ => None,
        };
        let reply = match message {
            _ if !self.reach.serves(from) => Err(TrackerRefusal::Stranger),
            ToTracker::Ping {
                port,
                v: Some(v),
                wants,
                edition,
            } => self.handle_ping(from, port, v, &wants, edition),
            ToTracker::Ping { port, v: None, .. } => self.handle_original_ping(from, port),
            ToTracker::FileList { port, v, list } => self.handle_file_list(from, port, v, &list),
            ToTracker::Publish { port, key, files } => self.handle_publish(from, port, &key, files),
            ToTracker::GetTorrent { name } => self.handle_get_torrent(from, peer, &name),
            ToTracker::Report(report) => self.handle_report(from, report),
            ToTracker::Status { only } => self.handle_status(only.as_ref()),
        };
        reply.unwrap_or_else(|refusal| {
            self.tell_refusal(peer, &refusal);
            let reply = to_refused_original.map(|bytes| bytes.to_vec().into());
            reply.unwrap_or_else(|| TrackerReply::error(refusal.to_string()))
        })
    }

    /// Answers a ping of ours with some of the others, and with the published files.
    fn handle_ping(
        &self,
        from: Endpoints,
        port: u16,
        v: u32,
        wants: &[Name],
        known_edition: Option<u64>,
    ) -> Result<TrackerReply<'_>, TrackerRefusal> {
        let mut roster = self.lock();
        let joined = roster.append_client(from, port, Some(v))?;
        let list = roster.swarm_list(from, port, wants, known_edition, &mut rand::rng());
        drop(roster);
        self.tell_ping(joined, Some(v));
        let (permit, room) = self.room_for(list.len_hint());
        Ok(TrackerReply {
            bytes: list.beginning(self.sweep_every, room),
            ending: list.new_files(),
            _permit: permit,
        })
    }

    /// Answers an original's ping with what it can read at once.
    fn handle_original_ping(
        &self,
        from: Endpoints,
        port: u16,
    ) -> Result<TrackerReply<'_>, TrackerRefusal> {
        let rng = &mut rand::rng();
        let mut roster = self.lock();
        let joined = roster.append_client(from, port, None)?;
        let list = roster.original_list(from, port, rng);
        drop(roster);
        self.tell_ping(joined, None);
        Ok(list.to_bytes(rng).into())
    }

    /// Takes a peer's list.
    fn handle_file_list(
        &self,
        from: Endpoints,
        port: u16,
        v: Option<u32>,
        list: &PeerList,
    ) -> Result<TrackerReply<'_>, TrackerRefusal> {
        let joined = self.lock().set_list(from, port, v, list)?;
        self.tell_list(joined, v, list);
        Ok(match v {
            Some(_) => Reply::default().into(),
            None => Vec::new().into(),
        })
    }
}
