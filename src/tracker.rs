//! The tracker: answers pings and lists, keeps `.torrent`s, and sweeps. Holds no part of any file.
//!
//! Threads: those of a [`Listener`], each with one connection at a time, and the sweep's timer. Locks: the roster's Mutex,
//! under which nothing is sent, read, written or printed; `publishing`, which guards no data and is taken before the
//! roster's; and [`Large`], a leaf.
//!
//! The original's words: `listen_for_clients` accepts, `handle_client` reads one message and answers it, `append_client`
//! and `update_peer_list` are in [`crate::roster`]. The original does all of it under its lock, and waits for ever on a
//! client that says nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, process};

use serde::Serialize;

use crate::md5::Digest;
use crate::net::{Connection, HEADER, Listener, Trouble, canonical};
use crate::protocol::{
    Cap, Reply, Summary, TORRENT_CAP, ToTracker, VERSION, invalid, parse, to_bytes,
};
use crate::repeated_timer::RepeatedTimer;
use crate::report::{self, Report, Weight, bytes};
use crate::roster::{Ends, Joined, Reach, Refusal, Roster, Verdict};
use crate::torrent::{Name, Torrent, legible};

/// Connections at a time: what comes beyond waits in the system's queue. Each ends within seconds.
const CONNECTIONS: usize = 512;
/// The longest message that needs no leave, bytes: a list, or the `.torrent` of a file of up to 30 GiB.
const SMALL: usize = 1 << 20;
/// Connections at a time that may hold a longer message in memory; others wait for one of them to end.
const LARGE_AT_ONCE: usize = 4;

/// What a tracker is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom it serves.
    pub reach: Reach,
    /// Where it keeps the `.torrent`s.
    pub torrents: PathBuf,
    /// The time between two sweeps.
    pub sweep_every: Duration,
}

/// A running tracker. Dropping it ends it.
pub struct Tracker {
    listener: Listener,
    _sweep: RepeatedTimer,
}

/// Why a tracker doesn't start.
#[derive(Debug)]
pub enum StartError {
    /// The folder for the `.torrent`s can't be used.
    Disk(PathBuf, io::Error),
    /// The system gives no socket or thread.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path, fault) => {
                write!(
                    f,
                    "can't keep .torrents in {}: {fault}; choose another folder with --torrents",
                    path.display()
                )
            }
            Self::System(fault) => write!(f, "can't start: {fault}"),
        }
    }
}

impl std::error::Error for StartError {}

/// What the threads share.
struct Inner {
    roster: Mutex<Roster>,
    torrents: TorrentDir,
    /// Held from judging a `.torrent` to recording it, so that the disk and the roster say the same: only publishers wait.
    publishing: Mutex<()>,
    large: Large,
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
        let torrents = TorrentDir::open(&config.torrents).map_err(disk)?;
        let (loaded, bad) = torrents.load().map_err(disk)?;
        let mut roster = Roster::new(config.reach);
        let addr = canonical(listener.local_addr().map_err(StartError::System)?);
        let client_at = if config.reach == Reach::Remote {
            own_address()
        } else {
            Some(Ipv4Addr::LOCALHOST.into())
        };
        let (port, local, n_torrents) = (addr.port(), config.reach == Reach::Local, loaded.len());
        report.say(&Event::Listening {
            port,
            local,
            client_at,
            n_torrents,
            torrents: config.torrents,
        });
        bad.iter().for_each(|event| report.say(event));
        loaded.into_iter().for_each(|summary| roster.load(summary));
        let (roster, publishing, large) = (Mutex::new(roster), Mutex::new(()), Large::default());
        let inner = Arc::new(Inner {
            roster,
            torrents,
            publishing,
            large,
            report,
        });
        let sweeping = Arc::clone(&inner);
        let sweep = RepeatedTimer::start("sweep", config.sweep_every, move || {
            sweeping.update_peer_list()
        });
        let sweep = sweep.map_err(StartError::System)?;
        let listener = listen_for_clients(inner, listener).map_err(StartError::System)?;
        Ok(Self {
            listener,
            _sweep: sweep,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr
    }
}

/// An address of this machine on its network: the one it would send from. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // an address that is nowhere, for examples: it goes by the default route
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket
        .local_addr()
        .ok()
        .map(|addr| addr.ip())
        .filter(|ip| !ip.is_unspecified())
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
    Listener::start(
        "client",
        listener,
        CONNECTIONS,
        move |client| inner.handle_client(client),
        told,
    )
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
        let mut leave = Leave {
            large: &self.large,
            slot: None,
        };
        let done = match client.read(HEADER, &mut leave) {
            // somebody looked whether the port is open
            Ok(None) => Ok(()),
            Ok(Some(message)) => self
                .answer(&client, message)
                .map_or(Ok(()), |answer| client.sender().send_bytes(&answer)),
            Err(fault) if fault.kind() == io::ErrorKind::InvalidData => {
                let why = fault.to_string();
                let sent = client.send(&Reply {
                    v: VERSION,
                    error: Some(why.clone()),
                    ..Reply::default()
                });
                self.report.say(&Event::NotUnderstood {
                    from: client.peer,
                    why,
                });
                sent
            }
            Err(fault) => Err(fault),
        };
        if let Err(fault) = done {
            self.report.say(&Event::ConnectionFailed {
                from: client.peer,
                why: fault.to_string(),
            });
        }
    }

    /// The bytes that a message is answered with. To an original that is refused, an empty list.
    fn answer(&self, client: &Connection, message: ToTracker) -> Option<Vec<u8>> {
        let from = Ends {
            peer: client.peer.ip(),
            own: client.own.ip(),
        };
        let (no_v, is_ping) = match message {
            ToTracker::Ping { v, .. } => (v.is_none(), true),
            ToTracker::FileList { v, .. } => (v.is_none(), false),
            ToTracker::Publish { .. } | ToTracker::GetTorrent { .. } => (false, false),
        };
        let served = self.lock().serves(from);
        let answer = match message {
            _ if !served => Err(Refusal::Stranger),
            ToTracker::Ping { port, v } => self.handle_ping(from, port, v),
            ToTracker::FileList { .. } => self.handle_file_list(from, message),
            ToTracker::Publish { port, torrent } => self.handle_publish(from, port, torrent),
            ToTracker::GetTorrent { name } => self.handle_get_torrent(from, client.peer, &name),
        };
        let refusal = match answer {
            Ok(answer) => return Some(answer).filter(|answer| !answer.is_empty()),
            Err(refusal) => refusal,
        };
        self.tell_refusal(client.peer, &refusal);
        let md5 = if let Refusal::OtherContent { stands, .. } = refusal {
            Some(stands)
        } else {
            None
        };
        match (no_v, is_ping) {
            (true, true) => Some(b"[]".to_vec()),
            (true, false) => None,
            (false, _) => Some(to_bytes(&Reply {
                v: VERSION,
                error: Some(refusal.to_string()),
                md5,
                torrent: None,
            })),
        }
    }

    fn tell_refusal(&self, from: SocketAddr, refusal: &Refusal) {
        let again = *refusal == Refusal::Stranger && !self.lock().is_first_time(from.ip());
        let weight = match refusal {
            Refusal::Stranger if again => Weight::Logged,
            Refusal::Stranger | Refusal::OtherContent { .. } | Refusal::Disk(_) => {
                Weight::Important
            }
            _ => Weight::Normal,
        };
        self.report.say(&Event::Refused {
            from,
            why: refusal.to_string(),
            weight,
        });
    }

    fn tell_joined(&self, joined: Joined, v: Option<u32>) {
        if joined.new {
            self.report.say(&Event::NewPeer {
                peer: joined.addr,
                original: v.is_none(),
            });
        }
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

    fn handle_file_list(&self, from: Ends, message: ToTracker) -> Result<Vec<u8>, Refusal> {
        let ToTracker::FileList {
            port,
            files,
            v,
            pieces,
        } = message
        else {
            return Ok(Vec::new());
        };
        let (n_files, n_in_part) = (files.len(), pieces.len());
        let mut roster = self.lock();
        let joined = roster.set_list(from, port, v, files, &pieces)?;
        drop(roster);
        self.tell_joined(joined, v);
        self.report.say(&Event::FileList {
            peer: joined.addr,
            n_files,
            n_in_part,
        });
        Ok(v.map_or_else(Vec::new, |_| {
            to_bytes(&Reply {
                v: VERSION,
                ..Reply::default()
            })
        }))
    }

    fn handle_publish(
        &self,
        from: Ends,
        port: u16,
        mut torrent: Torrent,
    ) -> Result<Vec<u8>, Refusal> {
        let _alone = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut roster = self.lock();
        let joined = roster.append_client(from, port, Some(VERSION))?;
        torrent.publisher = joined.addr.to_string();
        torrent.peers.clear();
        let summary = summary_of(&torrent);
        let judged = roster.judge(&summary);
        drop(roster);
        self.tell_joined(joined, Some(VERSION));
        let verdict = judged?;
        let mut unsynced = None;
        if verdict != Verdict::Again {
            let wrong = |fault: io::Error| {
                Refusal::Disk(format!(
                    "can't keep the .torrent of {}: {fault}",
                    summary.name
                ))
            };
            unsynced = self.torrents.store(&torrent).map_err(wrong)?.err();
        }
        let mut roster = self.lock();
        roster.publish(joined.addr, summary.clone(), verdict);
        drop(roster);
        let Summary {
            name, size, md5, ..
        } = summary;
        let replaced = if let Verdict::Replaces(old) = verdict {
            Some(old)
        } else {
            None
        };
        let again = verdict == Verdict::Again;
        self.report.say(&Event::Published {
            peer: joined.addr,
            name,
            size,
            md5,
            again,
            replaced,
        });
        if let Some(fault) = unsynced {
            self.report.say(&Event::NotSynced {
                why: fault.to_string(),
            });
        }
        Ok(to_bytes(&Reply {
            v: VERSION,
            ..Reply::default()
        }))
    }

    fn handle_get_torrent(
        &self,
        from: Ends,
        asker: SocketAddr,
        name: &Name,
    ) -> Result<Vec<u8>, Refusal> {
        let unknown = || Refusal::Unknown(name.clone());
        let wrong =
            |fault: io::Error| Refusal::Disk(format!("can't read the .torrent of {name}: {fault}"));
        let path = self.torrents.path(name);
        let len = match fs::metadata(&path) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Err(unknown()),
            found => found.map_err(wrong)?.len(),
        };
        let _slot = (len > SMALL as u64).then(|| self.large.take());
        let mut torrent = read_torrent(&path).map_err(wrong)?;
        let sources = self
            .lock()
            .sources(name, torrent.md5(), from, &mut rand::rng());
        (torrent.publisher, torrent.peers) = sources.ok_or_else(unknown)?;
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
}

fn summary_of(torrent: &Torrent) -> Summary {
    let (name, publisher) = (torrent.name().clone(), torrent.publisher.clone());
    Summary {
        name,
        size: torrent.size(),
        md5: torrent.md5(),
        n_pieces: torrent.n_pieces(),
        publisher,
    }
}

/// Room for messages of over [`SMALL`] bytes, so that many connections can't fill the memory. A leaf lock.
#[derive(Default)]
struct Large {
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// A share of [`Large`], given back on every way out.
struct Slot<'a>(&'a Large);

impl Large {
    fn take(&self) -> Slot<'_> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken >= LARGE_AT_ONCE {
            taken = self
                .given_back
                .wait(taken)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *taken += 1;
        Slot(self)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.given_back.notify_one();
    }
}

/// How long a message may get: over [`SMALL`] with a slot of [`Large`], which it keeps until it was dealt with.
struct Leave<'a> {
    large: &'a Large,
    slot: Option<Slot<'a>>,
}

impl Cap for &mut Leave<'_> {
    fn allow(&mut self, len: usize) -> io::Result<()> {
        if len > TORRENT_CAP {
            return Err(invalid(format!("a message of over {TORRENT_CAP} bytes")));
        }
        if len > SMALL && self.slot.is_none() {
            self.slot = Some(self.large.take());
        }
        Ok(())
    }
}

/// The folder of `.torrent`s: `NAME.torrent` each, and for a moment `.new-…`, which no name begins with.
struct TorrentDir(PathBuf);

impl TorrentDir {
    /// Makes the folder, and sees whether it can be written to.
    fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let dir = Self(path.to_owned());
        File::create(dir.temporary())?;
        fs::remove_file(dir.temporary())?;
        Ok(dir)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.0.join(format!("{}.torrent", name.as_str()))
    }

    /// Only the publisher of the moment writes it; another tracker in the same folder has its own.
    fn temporary(&self) -> PathBuf {
        self.0.join(format!(".new-{}", process::id()))
    }

    /// Puts a `.torrent` in its place: after a power cut there is the old one or the new one, whole. The inner error is
    /// that it is in its place, but may not outlive a power cut.
    fn store(&self, torrent: &Torrent) -> io::Result<io::Result<()>> {
        let temporary = self.temporary();
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(&to_bytes(torrent))?;
            file.sync_all()?;
            fs::rename(&temporary, self.path(torrent.name()))
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.map(|()| File::open(&self.0).and_then(|dir| dir.sync_all()))
    }

    /// Reads what is there. What is no `.torrent` is told of and left alone.
    fn load(&self) -> io::Result<(Vec<Summary>, Vec<Event>)> {
        let (mut loaded, mut bad) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            let file = path
                .file_name()
                .map(|file| file.to_string_lossy().into_owned())
                .unwrap_or_default();
            let Some(name) = file
                .strip_suffix(".torrent")
                .filter(|name| !name.starts_with('.'))
            else {
                continue;
            };
            match read_torrent(&path) {
                Ok(torrent) if torrent.name().as_str() == name => loaded.push(summary_of(&torrent)),
                Ok(torrent) => bad.push(Event::BadTorrent {
                    why: format!("it is of {}", torrent.name()),
                    file,
                }),
                Err(fault) => bad.push(Event::BadTorrent {
                    why: fault.to_string(),
                    file,
                }),
            }
        }
        Ok((loaded, bad))
    }
}

fn read_torrent(path: &Path) -> io::Result<Torrent> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > TORRENT_CAP as u64 {
        return Err(invalid(format!(
            "expected a file of at most {TORRENT_CAP} bytes"
        )));
    }
    parse(&fs::read(path)?)
}

/// What the tracker tells of.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Listening {
        port: u16,
        local: bool,
        client_at: Option<IpAddr>,
        n_torrents: usize,
        torrents: PathBuf,
    },
    BadTorrent {
        file: String,
        why: String,
    },
    NewPeer {
        peer: SocketAddr,
        original: bool,
    },
    Ping {
        peer: SocketAddr,
    },
    FileList {
        peer: SocketAddr,
        n_files: usize,
        n_in_part: usize,
    },
    Swept {
        dropped: Vec<SocketAddr>,
        n_peers: usize,
    },
    Published {
        peer: SocketAddr,
        name: Name,
        size: u64,
        md5: Digest,
        again: bool,
        replaced: Option<Digest>,
    },
    NotSynced {
        why: String,
    },
    HandedOut {
        to: SocketAddr,
        name: Name,
    },
    Refused {
        from: SocketAddr,
        why: String,
        #[serde(skip)]
        weight: Weight,
    },
    NotUnderstood {
        from: SocketAddr,
        why: String,
    },
    ConnectionFailed {
        from: SocketAddr,
        why: String,
    },
    AcceptFailed {
        why: String,
    },
    Full {
        n: usize,
    },
}

impl report::Event for Event {
    fn weight(&self) -> Weight {
        match self {
            Self::Listening { .. } | Self::BadTorrent { .. } | Self::NotSynced { .. } => {
                Weight::Important
            }
            Self::AcceptFailed { .. } | Self::Full { .. } => Weight::Important,
            Self::Published { again, .. } => {
                if *again {
                    Weight::Normal
                } else {
                    Weight::Important
                }
            }
            Self::Refused { weight, .. } => *weight,
            Self::NewPeer { .. }
            | Self::Ping { .. }
            | Self::FileList { .. }
            | Self::Swept { .. } => Weight::Normal,
            Self::HandedOut { .. } | Self::NotUnderstood { .. } => Weight::Normal,
            Self::ConnectionFailed { .. } => Weight::Logged,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening {
                port,
                local,
                client_at,
                n_torrents,
                torrents,
            } => {
                let whom = if *local {
                    "this machine only (--remote serves others)"
                } else {
                    "every machine that reaches it"
                };
                let at =
                    client_at.map_or("<this machine's address>".to_owned(), |ip| ip.to_string());
                writeln!(
                    f,
                    "listening on port {port} for {whom}; to join: client {at} {port} DIR"
                )?;
                let torrents = legible(&torrents.to_string_lossy());
                write!(
                    f,
                    "{n_torrents} .torrents in {torrents}, safe at every moment: end with Ctrl-C"
                )
            }
            Self::BadTorrent { file, why } => {
                write!(f, "left out {}: {}", legible(file), legible(why))
            }
            Self::NewPeer { peer, original } => write!(
                f,
                "new peer {peer}{}",
                if *original { ", an original" } else { "" }
            ),
            Self::Ping { peer } => write!(f, "ping from {peer}"),
            Self::FileList {
                peer,
                n_files,
                n_in_part,
            } => write!(f, "list from {peer}: {n_files} names, {n_in_part} in part"),
            Self::Swept { dropped, n_peers } => {
                write!(f, "sweep: {n_peers} peers here")?;
                let mut before = "; gone: ";
                dropped.iter().try_for_each(|peer| {
                    write!(f, "{}{peer}", std::mem::replace(&mut before, ", "))
                })
            }
            Self::Published {
                peer,
                name,
                size,
                md5,
                again,
                replaced,
            } => {
                let what = if *again { "has, too," } else { "published" };
                write!(f, "{peer} {what} {name}, {}, MD5 {md5}", bytes(*size))?;
                replaced.map_or(Ok(()), |old| {
                    write!(f, ", in place of MD5 {old}, which nobody else has")
                })
            }
            Self::NotSynced { why } => write!(f, "a .torrent may not outlive a power cut: {why}"),
            Self::HandedOut { to, name } => write!(f, ".torrent of {name} to {to}"),
            Self::Refused { from, why, .. } => write!(f, "refused {from}: {}", legible(why)),
            Self::NotUnderstood { from, why } => {
                write!(f, "not understood, from {from}: {}", legible(why))
            }
            Self::ConnectionFailed { from, why } => write!(f, "connection with {from}: {why}"),
            Self::AcceptFailed { why } => write!(f, "can't accept connections ({why}); trying on"),
            Self::Full { n } => write!(f, "{n} connections are open, the most; others wait"),
        }
    }
}
