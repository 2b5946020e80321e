//! The tracker: answers pings and lists, keeps `.torrent`s, and sweeps. Holds no part of any file.
//!
//! Threads: those of a [`Listener`], each with one connection at a time, and the sweep's timer. Locks: the roster's Mutex,
//! under which nothing is sent, read, written or printed; and `Turns`, leaves.
//!
//! The original's words: `listen_for_clients` accepts, `handle_client` reads one message and answers it, `append_client`
//! and `update_peer_list` are in [`crate::roster`]. The original does all of it under its lock, and waits for ever on a
//! client that says nothing.

mod events;
mod shelf;
mod turns;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::md5::Digest;
use crate::net::addresses::own_addresses;
use crate::net::{Connection, HEADER, Listener, Trouble, canonical};
use crate::protocol::{Reply, TORRENT_CAP, ToTracker, VERSION, to_bytes};
use crate::repeated_timer::RepeatedTimer;
use crate::report::{Report, Weight};
use crate::roster::{Ends, Joined, Reach, Refusal, Roster, Verdict};
use crate::torrent::{Name, Torrent};
use events::Event;
pub use events::StartError;
use shelf::{Shelf, summary_of};
use turns::Turns;

/// Connections at a time: what comes beyond waits in the system's queue. Each ends within seconds.
const CONNECTIONS: usize = 512;
/// The longest message that needs no turn, bytes: a list, or the `.torrent` of a file of up to 30 GiB.
const SMALL: usize = 1 << 20;
/// Connections at a time that may hold a longer message in memory; others wait for one of them to end.
const LARGE_AT_ONCE: usize = 4;

/// The most addresses of this machine that are told to whoever starts peers.
const TOLD_ADDRESSES: usize = 4;

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
    listener: Listener,
    _sweep: RepeatedTimer,
}

/// What the threads share.
struct Inner {
    roster: Mutex<Roster>,
    shelf: Shelf,
    /// One turn, from judging a `.torrent` to recording it, so that the disk and the roster say the same.
    publishing: Turns,
    /// Messages of over [`SMALL`] bytes, so that many connections can't fill the memory.
    large: Turns,
    report: Report,
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
        let disk = |fault| StartError::Disk(config.torrents.clone(), fault);
        let shelf = Shelf::open(&config.torrents).map_err(disk)?;
        let addr = canonical(listener.local_addr().map_err(StartError::System)?);
        report.say(&Event::Listening {
            port: addr.port(),
            local: config.reach == Reach::Local,
            client: config.client,
            client_at: match config.reach {
                Reach::Local => vec![Ipv4Addr::LOCALHOST.into()],
                Reach::Remote => own_addresses(TOLD_ADDRESSES),
            },
        });
        let (loaded, bad) = shelf.load().map_err(disk)?;
        report.say(&Event::Loaded {
            n_torrents: loaded.len(),
            torrents: config.torrents.clone(),
        });
        bad.iter().for_each(|event| report.say(event));
        let mut roster = Roster::new(config.reach);
        loaded.into_iter().for_each(|record| roster.load(record));
        let inner = Arc::new(Inner {
            roster: Mutex::new(roster),
            shelf,
            publishing: Turns::new(1),
            large: Turns::new(LARGE_AT_ONCE),
            report,
        });
        let sweeping = Arc::clone(&inner);
        let sweep = move || sweeping.update_peer_list();
        let sweep = RepeatedTimer::start("sweep", config.sweep_every, sweep);
        Ok(Self {
            _sweep: sweep.map_err(StartError::System)?,
            listener: listen_for_clients(inner, listener).map_err(StartError::System)?,
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
    let told = move |trouble| {
        telling.report.say(&match trouble {
            Trouble::Accept(fault) => Event::AcceptFailed {
                why: fault.to_string(),
            },
            Trouble::Full(n) => Event::Full { n },
        });
    };
    let handle = move |client| inner.handle_client(client);
    Listener::start("client", listener, CONNECTIONS, handle, told)
}

impl Inner {
    /// No step under the lock leaves the roster in between, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sweep.
    fn update_peer_list(&self) {
        let mut roster = self.lock();
        let dropped = roster.update_peer_list();
        let n_peers = roster.n_peers();
        drop(roster);
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
        let served = self.lock().serves(from);
        let answer = match message {
            _ if !served => Err(Refusal::Stranger),
            ToTracker::Ping { port, v } => self.handle_ping(from, port, v),
            ToTracker::FileList {
                port,
                files,
                v,
                pieces,
            } => self.handle_file_list(from, port, v, files, &pieces),
            ToTracker::Publish { port, torrent } => self.handle_publish(from, port, torrent),
            ToTracker::GetTorrent { name } => self.handle_get_torrent(from, client.peer, &name),
        };
        answer.unwrap_or_else(|refusal| {
            self.tell_refusal(client.peer, &refusal);
            let md5 = match refusal {
                Refusal::OtherContent { stands, .. } => Some(stands),
                _ => None,
            };
            to_original.map_or_else(|| error(refusal.to_string(), md5), <[u8]>::to_vec)
        })
    }

    fn handle_ping(&self, from: Ends, port: u16, v: Option<u32>) -> Result<Vec<u8>, Refusal> {
        let rng = &mut rand::rng();
        let mut roster = self.lock();
        let joined = roster.append_client(from, port, v)?;
        let (ours, original) = match v {
            Some(_) => (Some(roster.swarm_list(from, port, rng)), Vec::new()),
            None => (None, roster.original_list(from, port, rng)),
        };
        drop(roster);
        self.tell_joined(joined, v);
        self.report.say(&Event::Ping { peer: joined.addr });
        Ok(ours.map_or_else(|| to_bytes(&original), |list| to_bytes(&list)))
    }

    fn handle_file_list(
        &self,
        from: Ends,
        port: u16,
        v: Option<u32>,
        files: Vec<String>,
        pieces: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, Refusal> {
        let (n_files, n_in_part) = (files.len(), pieces.len());
        let joined = self.lock().set_list(from, port, v, files, pieces)?;
        self.tell_joined(joined, v);
        self.report.say(&Event::FileList {
            peer: joined.addr,
            n_files,
            n_in_part,
        });
        Ok(v.map_or_else(Vec::new, |_| done()))
    }

    fn handle_publish(
        &self,
        from: Ends,
        port: u16,
        mut torrent: Torrent,
    ) -> Result<Vec<u8>, Refusal> {
        let _turn = self.publishing.take();
        let joined = self.lock().append_client(from, port, Some(VERSION))?;
        self.tell_joined(joined, Some(VERSION));
        torrent.publisher = joined.addr.to_string();
        torrent.peers.clear();
        let record = summary_of(&torrent);
        let verdict = self.lock().judge(&record)?;
        if verdict != Verdict::Again {
            self.shelf.put(&torrent).map_err(|fault| {
                Refusal::Disk(format!(
                    "can't keep the .torrent of {}: {fault}",
                    record.name
                ))
            })?;
        }
        self.lock().publish(joined.addr, record.clone(), verdict);
        self.report.say(&Event::Published {
            peer: joined.addr,
            name: record.name,
            size: record.size,
            md5: record.md5,
            again: verdict == Verdict::Again,
            replaced: match verdict {
                Verdict::Replaces(old) => Some(old),
                Verdict::New | Verdict::Again => None,
            },
        });
        if verdict != Verdict::Again
            && let Err(fault) = self.shelf.sync()
        {
            let why = fault.to_string();
            self.report.say(&Event::NotSynced { why });
        }
        Ok(done())
    }

    fn handle_get_torrent(
        &self,
        from: Ends,
        asker: SocketAddr,
        name: &Name,
    ) -> Result<Vec<u8>, Refusal> {
        let _turn = (self.shelf.len_of(name) > SMALL as u64).then(|| self.large.take());
        let mut torrent = self.shelf.get(name).map_err(|fault| match fault.kind() {
            io::ErrorKind::NotFound => Refusal::Unknown(name.clone()),
            _ => Refusal::Disk(format!("can't read the .torrent of {name}: {fault}")),
        })?;
        let md5 = torrent.md5();
        let sources = self.lock().sources(name, md5, from, &mut rand::rng());
        (torrent.publisher, torrent.peers) = sources.ok_or(Refusal::Unknown(name.clone()))?;
        self.report.say(&Event::HandedOut {
            to: asker,
            name: name.clone(),
        });
        Ok(to_bytes(&Reply {
            v: VERSION,
            torrent: Some(torrent),
            ..Reply::default()
        }))
    }

    fn tell_joined(&self, joined: Joined, v: Option<u32>) {
        if joined.new {
            self.report.say(&Event::NewPeer {
                peer: joined.addr,
                original: v.is_none(),
            });
        }
    }

    fn tell_refusal(&self, from: SocketAddr, refusal: &Refusal) {
        let weight = match refusal {
            Refusal::Stranger if !self.lock().is_first_time(from.ip()) => Weight::Logged,
            Refusal::Stranger | Refusal::OtherContent { .. } | Refusal::Disk(_) => {
                Weight::Important
            }
            _ => Weight::Normal,
        };
        let why = refusal.to_string();
        self.report.say(&Event::Refused { from, why, weight });
    }
}

/// What ours are answered where there is nothing to say.
fn done() -> Vec<u8> {
    to_bytes(&Reply {
        v: VERSION,
        ..Reply::default()
    })
}

/// What ours are told where they are refused or not understood. `md5` is that of what the swarm has under the name.
fn error(why: String, md5: Option<Digest>) -> Vec<u8> {
    to_bytes(&Reply {
        v: VERSION,
        error: Some(why),
        md5,
        torrent: None,
    })
}
