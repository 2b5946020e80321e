//! The tracker: answers pings and lists, keeps `.torrent`s, and sweeps. Holds no part of any file.
//!
//! Threads: those of a [`Listener`], each with one connection at a time, and the sweep's timer. Locks: the roster's Mutex,
//! under which nothing is sent, read, written or printed; and `Turns`, leaves.
//!
//! The original's words: `listen_for_clients` accepts, `handle_client` reads one message and answers it, `append_client`
//! and `update_peer_list` are in [`crate::roster`]. The original does all of it under its lock, and waits for ever on a
//! client that says nothing.

mod events;
mod page;
mod publishing;
mod reasons;
mod shelf;
mod telling;
mod turns;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::md5::Digest;
use crate::net::{Connection, HEADER, Listener, canonical};
use crate::protocol::{Coming, TORRENT_CAP, ToTracker};
use crate::repeated_timer::RepeatedTimer;
use crate::report::Report;
use crate::roster::{Ends, Reach, Refusal, Roster};
use crate::torrent::Name;
use events::Event;
pub use events::StartError;
use shelf::Shelf;
use telling::{Joining, done, error};
use turns::Turns;

/// Connections at a time: what comes beyond waits in the system's queue. Each ends within seconds.
const CONNECTIONS: usize = 512;
/// The longest message that needs no turn, bytes: a list, or the `.torrent` of a file of up to 30 GiB.
const SMALL: usize = 1 << 20;
/// Connections at a time that may hold a longer message in memory; others wait for one of them to end.
const LARGE_AT_ONCE: usize = 4;
/// Between two turns of one work under the lock.
const BETWEEN_TURNS: Duration = Duration::from_micros(100);

/// What a peer lists.
struct Listed {
    files: Vec<String>,
    pieces: BTreeMap<String, String>,
    coming: Vec<Coming>,
    others: BTreeMap<Name, Digest>,
}

/// What a tracker is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom it serves.
    pub reach: Reach,
    /// Where it keeps the `.torrent`s.
    pub torrents: PathBuf,
    /// The time between two sweeps.
    pub sweep_every: Duration,
    /// How a peer is started, to be told: `./client`, say.
    pub client: String,
}

/// A running tracker. Dropping it ends it.
pub struct Tracker {
    inner: Arc<Inner>,
    listener: Listener,
    _sweep: RepeatedTimer,
}

/// What the threads share.
struct Inner {
    reach: Reach,
    roster: Mutex<Roster>,
    shelf: Shelf,
    /// One turn, from judging a `.torrent` to recording it, so that the disk and the roster say the same.
    publishing: Turns,
    /// Messages of over [`SMALL`] bytes, so that many connections can't fill the memory.
    large: Turns,
    sweep_every: Duration,
    report: Report,
    started: Instant,
    /// For so long after the start no record that was loaded is replaced: its peers come back meanwhile.
    settles_in: Duration,
    joining: Joining,
    /// How many files' commands were told.
    commands_told: AtomicUsize,
    /// Refused publications that were told of. A leaf lock.
    not_published: Mutex<HashSet<(SocketAddr, Name, Digest)>>,
}

impl Tracker {
    /// Loads the `.torrent`s and serves `listener`.
    ///
    /// # Errors
    /// Where the folder can't be written to, or the system gives no thread.
    pub fn start(
        config: Config,
        listener: TcpListener,
        report: Report,
    ) -> Result<Self, StartError> {
        Self::start_with(Roster::new(config.reach), config, listener, report)
    }

    /// Likewise, with peers that are known already.
    ///
    /// # Errors
    /// As [`Tracker::start`].
    pub fn start_with(
        mut roster: Roster,
        config: Config,
        listener: TcpListener,
        report: Report,
    ) -> Result<Self, StartError> {
        let disk = |fault| StartError::Disk(config.torrents.clone(), fault);
        let shelf = Shelf::open(&config.torrents).map_err(disk)?;
        let addr = canonical(listener.local_addr().map_err(StartError::System)?);
        let joining = Joining::new(&config, addr.port());
        let (loaded, bad) = shelf.load().map_err(disk)?;
        let all = loaded.iter().map(|record| &record.summary);
        let largest = all.max_by_key(|summary| summary.size);
        report.say(&joining.listening(&config, largest));
        report.say(&Event::Loaded {
            n_torrents: loaded.len(),
            torrents: config.torrents.clone(),
        });
        bad.iter().for_each(|event| report.say(event));
        loaded.into_iter().for_each(|record| roster.load(record));
        let inner = Arc::new(Inner {
            reach: config.reach,
            roster: Mutex::new(roster),
            shelf,
            publishing: Turns::new(1),
            large: Turns::new(LARGE_AT_ONCE),
            sweep_every: config.sweep_every,
            report,
            started: Instant::now(),
            settles_in: config.sweep_every * 4 / 3,
            joining,
            commands_told: AtomicUsize::new(0),
            not_published: Mutex::default(),
        });
        let sweeping = Arc::clone(&inner);
        let sweep = move || sweeping.update_peer_list();
        let sweep = RepeatedTimer::start("sweep", config.sweep_every, sweep);
        let listener = listen_for_clients(Arc::clone(&inner), listener);
        Ok(Self {
            inner,
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
fn listen_for_clients(inner: Arc<Inner>, listener: TcpListener) -> io::Result<Listener> {
    let telling = Arc::clone(&inner);
    let told = move |trouble| telling.tell_trouble(trouble);
    let handle = move |client| inner.handle_client(client);
    Listener::start("tracker", listener, CONNECTIONS, handle, told)
}

impl Inner {
    /// No step under the lock leaves the roster in between, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may take long, bit by bit: whoever waits for the lock has it in between.
    fn in_turns(&self, mut go_on: impl FnMut(&mut Roster) -> bool) {
        while go_on(&mut self.lock()) {
            // who takes a lock again at once mostly gets it, whoever waits
            thread::sleep(BETWEEN_TURNS);
        }
    }

    /// The sweep.
    fn update_peer_list(&self) {
        let mut sweep = self.lock().begin_sweep();
        self.in_turns(|roster| roster.sweep_on(&mut sweep));
        let dropped = sweep.dropped();
        let n_peers = self.lock().n_peers();
        if n_peers + dropped.len() > 0 {
            self.report.say(&Event::Swept { dropped, n_peers });
        }
    }

    /// Reads one message, and answers it.
    fn handle_client(&self, mut client: Connection) {
        let mut turn = None;
        let cap = |len| {
            if len > SMALL && turn.is_none() {
                turn = Some(self.large.take());
            }
            TORRENT_CAP
        };
        let from = client.peer;
        let done = match client.read(HEADER, cap) {
            // somebody looked whether the port is open
            Ok(None) => Ok(()),
            Ok(Some(message)) => {
                // what is answered may need a turn of its own: nobody waits for one while holding one
                if !matches!(message, ToTracker::Publish { .. }) {
                    drop(turn.take());
                }
                client.sender().send_bytes(&self.answer(&client, message))
            }
            Err(fault) if fault.kind() == io::ErrorKind::InvalidData => {
                let why = fault.to_string();
                let sent = client.sender().send_bytes(&error(why.clone(), None));
                self.report.say(&Event::NotUnderstood { from, why });
                sent
            }
            Err(fault) => Err(fault),
        };
        if let Err(fault) = done {
            let why = fault.to_string();
            self.report.say(&Event::ConnectionFailed { from, why });
        }
    }

    /// The bytes that a message is answered with; none to an original's list.
    fn answer(&self, client: &Connection, message: ToTracker) -> Vec<u8> {
        let from = Ends {
            peer: client.peer.ip(),
            own: client.own.ip(),
        };
        // an original that is refused is told so by an empty list
        let to_original: Option<&[u8]> = match message {
            ToTracker::Ping { v: None, .. } => Some(b"[]"),
            ToTracker::FileList { v: None, .. } => Some(b""),
            _ => None,
        };
        let answer = match message {
            _ if !self.reach.serves(from) => Err(Refusal::Stranger),
            ToTracker::Ping {
                port,
                v,
                wants,
                edition,
            } => self.handle_ping(from, port, v, &wants, edition),
            ToTracker::FileList {
                port,
                files,
                v,
                pieces,
                coming,
                others,
            } => {
                let listed = Listed {
                    files,
                    pieces,
                    coming,
                    others,
                };
                self.handle_file_list(from, port, v, listed)
            }
            ToTracker::Publish { port, key, files } => self.handle_publish(from, port, &key, files),
            ToTracker::GetTorrent { name } => self.handle_get_torrent(from, client.peer, &name),
        };
        answer.unwrap_or_else(|refusal| {
            self.tell_refusal(client.peer, &refusal);
            to_original.map_or_else(|| error(refusal.to_string(), None), <[u8]>::to_vec)
        })
    }

    fn handle_ping(
        &self,
        from: Ends,
        port: u16,
        v: Option<u32>,
        wants: &[Name],
        edition: Option<u64>,
    ) -> Result<Vec<u8>, Refusal> {
        let rng = &mut rand::rng();
        let mut roster = self.lock();
        let joined = roster.append_client(from, port, v)?;
        let (ours, original) = match v {
            Some(_) => {
                let list = roster.swarm_list(from, port, wants, edition, rng);
                (Some(list), None)
            }
            None => (None, Some(roster.original_list(from, port, rng))),
        };
        drop(roster);
        self.tell_joined(joined, v);
        self.report.say(&Event::Ping { peer: joined.addr });
        let ours = ours.map(|list| list.to_bytes());
        Ok(ours
            .or(original.map(|list| list.to_bytes(rng)))
            .unwrap_or_default())
    }

    fn handle_file_list(
        &self,
        from: Ends,
        port: u16,
        v: Option<u32>,
        listed: Listed,
    ) -> Result<Vec<u8>, Refusal> {
        let (n_files, n_in_part) = (listed.files.len(), listed.pieces.len());
        let mut roster = self.lock();
        let mut listing = roster.begin_list(from, port, v, listed.files, listed.pieces)?;
        roster.list_folder(&mut listing, listed.coming, listed.others);
        drop(roster);
        self.in_turns(|roster| roster.list_on(&mut listing));
        let joined = listing.joined;
        self.tell_joined(joined, v);
        self.report.say(&Event::FileList {
            peer: joined.addr,
            n_files,
            n_in_part,
        });
        Ok(v.map_or_else(Vec::new, |_| done()))
    }
}
