//! A stand-in for the course's Python original, tracker and client. These facts about it are built in, its failures included:
//! what would have ended an original ends the stand-in, and `is_serving` tells a test so.
//!
//! - (a) Both read once, up to 4096 bytes. A longer message, an incomplete one, one without a key, or none ends the tracker's work.
//! - (b) One write may arrive as several reads.
//! - (c) An unknown name, or a transfer that is broken off, ends a peer's serving.
//! - (d) An unknown message to a peer is answered with silence.
//! - (e) A file is there, and listed, before its bytes have come; one that was cut short stays.
//! - (f) It asks for any missing name. Its `--remote` tells peers apart by address alone. A new peer is seen after the next sweep,
//!   the asker is on its own list, and whatever is in the folder is listed.
//! - (g) It binds and connects to its host name's address, IPv4 only.
//!
//! It owns its listeners, its threads and its folder's names; the thread of a test calls it; it never
//! speaks anything but the original's messages, over IPv4 only. Every thread ends in `Drop`.

use rand::seq::IndexedRandom;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes of the original's one read: `recv(4096)`.
pub const ONE_READ: usize = 4096;
/// Bytes that one read gets off loopback: a segment. For `set_read_limit`.
pub const ONE_SEGMENT: usize = 1400;
/// How long `is_serving` and `sweep` wait for their turn, and a connect for its answer.
const TURN: Duration = Duration::from_secs(5);

/// The tracker's `--remote` flag: how peers are told apart (fact f).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By port alone. All peers are on the tracker's host, and are listed at the address they reached it at.
    Local,
    /// By IP alone: of two peers on one IP the last one is left.
    Remote,
}

/// What a stand-in does otherwise than the original: so that each verdict of `check` can be provoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// Nothing: it is as the original is.
    No,
    // a tracker's
    /// A peer's first ping is answered with an empty list.
    FirstPingInVain,
    /// All peers are listed at another address.
    WrongAddress,
    /// Every seventh ping isn't answered.
    NotAlwaysAnswered,
    /// A peer's first list stays.
    FirstListStays,
    /// Only pings keep a peer on the list.
    PingsAlone,
    /// The lists of peers that haven't pinged are ignored, which no row forbids.
    KnownByPing,
    /// It fetches what peers list.
    Fetches,
    /// More than 40 peers aren't taken.
    Full,
    /// Whoever is silent goes one sweep later.
    LateSweeps,
    /// The third sweep is the last one.
    SweepsEnd,
    /// A list is answered.
    AnswersLists,
    /// No connection is closed.
    KeepsOpen,
    /// It reads once, up to 1024 bytes.
    ShortRead,
    /// Each peer is known, and listed, by the port of its connection.
    SourcePort,
    /// Each connection is a peer.
    EachConnection,
    /// Of the others, one alone is listed.
    OneOther,
    /// Nobody is listed.
    Nobody,
    // a client's, all of which take the rarest file, as the original only means to
    /// Nothing but that.
    Rarest,
    /// What comes with the first read is all that is kept.
    OneReadKept,
    /// What comes with a short first read is kept, and the connection closed.
    OneShortRead,
    /// Many pings are left out at the start.
    LatePings,
    /// Any peer is asked that doesn't have the file.
    AsksWhoHasNot,
    /// The last byte of small files isn't sent.
    SendsLess,
    /// No lists are sent.
    NoLists,
    /// Two of three pings are left out.
    FewPings,
    /// Two of three lists are left out.
    FewLists,
    /// The first holder on the list is asked.
    FirstHolder,
    /// It asks for what it has, too.
    NeverDone,
    /// It reads a list once, up to 1024 bytes, and does without one that was cut.
    ShortList,
    /// Nobody listens at the port that it announces.
    WrongPort,
    /// Its lists have another port than its pings.
    TwoPorts,
    /// What it sent isn't closed.
    NoClose,
    /// Its pings are misspelt.
    Misspelt,
    /// Its rounds end after the first request.
    OneRequest,
}

/// One peer, as it stands on a tracker's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub ip: IpAddr,
    pub port: u16,
    pub files: Vec<String>,
}

/// What a tracker knows and has seen.
#[derive(Clone, Debug, Default)]
pub struct TrackerState {
    /// Who is known now, and whether a message came since the last sweep.
    pub roster: Vec<(Entry, bool)>,
    /// What is handed out: the roster as it was at the last sweep.
    pub list: Vec<Entry>,
    /// What its one read gave, for each connection that sent something.
    pub messages: Vec<String>,
    pub sweeps: usize,
    pub died_of: Option<String>,
    pings: usize,
    /// Whom the last sweep should have dropped.
    silent: BTreeSet<u16>,
}

/// The original's tracker.
pub struct OriginalTracker {
    pub addr: SocketAddr,
    door: Door,
    book: Arc<Book<TrackerState>>,
    read_limit: Arc<AtomicUsize>,
}

impl OriginalTracker {
    /// Listens on `ip`, on a free port. The original sweeps every 15 s.
    pub fn start(ip: Ipv4Addr, mode: Mode, sweep_every: Duration) -> Self {
        Self::start_with(ip, mode, sweep_every, Twist::No)
    }

    /// The same with a twist.
    pub fn start_with(ip: Ipv4Addr, mode: Mode, sweep_every: Duration, twist: Twist) -> Self {
        let book = Arc::new(Book::<TrackerState>::default());
        let read_limit = Arc::new(AtomicUsize::new(ONE_READ));
        let (seen, limit) = (book.clone(), read_limit.clone());
        let halt = Arc::new(Halt::default());
        let mut open = Vec::new();
        let door = Door::open(ip, "tracker", sweep_every, halt.clone(), move |turn| {
            let stream = match turn {
                Turn::Connection(stream) => stream,
                Turn::Sweep => {
                    seen.change(|s| sweep(s, twist));
                    return true;
                }
            };
            let limit = match twist {
                Twist::ShortRead => 1024,
                _ => limit.load(Ordering::SeqCst),
            };
            open.extend(
                stream
                    .try_clone()
                    .ok()
                    .filter(|_| twist == Twist::KeepsOpen),
            );
            let ended = handle_client(&seen, mode, twist, stream, limit);
            match ended {
                Err(why) if !halt.stopped() => seen.change(|s| s.died_of = Some(why)),
                _ => return true,
            }
            false
        });
        Self {
            addr: door.addr,
            door,
            book,
            read_limit,
        }
    }

    /// `ONE_SEGMENT` makes it read as it would off loopback (fact b).
    pub fn set_read_limit(&self, bytes: usize) {
        self.read_limit.store(bytes, Ordering::SeqCst);
    }

    /// Alive, and its lock free: waits up to 5 s until all connections made before were handled.
    /// It asks through the listener itself, and leaves no trace on the list.
    pub fn is_serving(&self) -> bool {
        self.serves_within(TURN)
    }

    /// As `is_serving`, with another patience: false, too, while a silent connection blocks it.
    pub fn serves_within(&self, patience: Duration) -> bool {
        self.door.probe(patience)
    }

    /// Sweeps now. False where it is dead or blocked: the sweep needs the lock, too.
    pub fn sweep(&self) -> bool {
        self.door.sweep()
    }

    pub fn died_of(&self) -> Option<String> {
        self.state().died_of
    }

    /// Who is known now; `state().list` is what is handed out.
    pub fn peers(&self) -> Vec<(IpAddr, u16, Vec<String>)> {
        let roster = self.state().roster.into_iter();
        roster.map(|(e, _)| (e.ip, e.port, e.files)).collect()
    }

    pub fn messages(&self) -> Vec<String> {
        self.state().messages
    }

    pub fn state(&self) -> TrackerState {
        self.book.copy()
    }

    /// Waits until `cond` holds; false where it did not within `patience`.
    pub fn wait(&self, patience: Duration, cond: impl Fn(&TrackerState) -> bool) -> bool {
        self.book.wait(patience, cond)
    }
}

/// One connection under the lock. An error is an exception that left the lock taken.
fn handle_client(
    book: &Book<TrackerState>,
    mode: Mode,
    twist: Twist,
    mut stream: TcpStream,
    limit: usize,
) -> Result<(), String> {
    let address = match mode {
        Mode::Local => stream.local_addr(),
        Mode::Remote => stream.peer_addr(),
    };
    let ip = address.map_err(|e| format!("address: {e}"))?.ip();
    let raw = read_once(&mut stream, limit)?;
    book.change(|s| s.messages.push(String::from_utf8_lossy(&raw).into_owned()));
    let message = parse(&raw)?;
    let port = match twist {
        Twist::SourcePort => stream
            .peer_addr()
            .map_err(|e| format!("address: {e}"))?
            .port(),
        _ => port_of(&message)?,
    };
    match key(&message, "msg")?.as_str() {
        Some("ping") => {
            let list = book.change(|s| {
                let known = s.roster.iter().any(|(e, _)| e.port == port);
                append_client(s, mode, twist, ip, port, None);
                s.pings += 1;
                match twist {
                    Twist::FirstPingInVain if !known => Some(Vec::new()),
                    Twist::NotAlwaysAnswered if s.pings.is_multiple_of(7) => None,
                    _ => Some(s.list.clone()),
                }
            });
            let Some(mut list) = list else { return Ok(()) };
            if twist == Twist::WrongAddress {
                let nowhere = IpAddr::from(Ipv4Addr::UNSPECIFIED);
                list.iter_mut().for_each(|entry| entry.ip = nowhere);
            }
            if twist == Twist::OneOther {
                let other = list.iter().map(|entry| entry.port).find(|it| *it != port);
                list.retain(|entry| entry.port == port || Some(entry.port) == other);
            }
            if twist == Twist::Nobody {
                list.clear();
            }
            let answer = list_json(&list);
            let sent = stream.write_all(answer.as_bytes());
            sent.map_err(|e| format!("sending the list: {e}"))
        }
        Some("file_list") => {
            let files = names(key(&message, "files")?)?;
            if let (Twist::Fetches, Some(name)) = (twist, files.first()) {
                let request = format!("{{\"filename\": {}}}", json_str(name));
                let asked = TcpStream::connect((ip, port));
                let _ = asked.and_then(|mut peer| peer.write_all(request.as_bytes()));
            }
            book.change(|s| append_client(s, mode, twist, ip, port, Some(files)));
            let answer = if twist == Twist::AnswersLists {
                "[]"
            } else {
                ""
            };
            let sent = stream.write_all(answer.as_bytes());
            sent.map_err(|e| format!("answering a list: {e}"))
        }
        _ => Ok(()),
    }
}

/// Adds or renews a peer. Where another one had its key, only the last is left.
fn append_client(
    s: &mut TrackerState,
    mode: Mode,
    twist: Twist,
    ip: IpAddr,
    port: u16,
    files: Option<Vec<String>>,
) {
    let same = |(e, _): &&mut (Entry, bool)| match mode {
        _ if twist == Twist::EachConnection && files.is_none() => false,
        Mode::Local => e.port == port,
        Mode::Remote => e.ip == ip,
    };
    let refused = match twist {
        Twist::Full => s.roster.len() >= 40,
        Twist::KnownByPing => files.is_some(),
        _ => false,
    };
    let Some((entry, alive)) = s.roster.iter_mut().find(same) else {
        let files = files.unwrap_or_default();
        if !refused {
            s.roster.push((Entry { ip, port, files }, true));
        }
        return;
    };
    *alive |= twist != Twist::PingsAlone || files.is_none();
    if (entry.ip, entry.port) != (ip, port) {
        let files = Vec::new();
        *entry = Entry { ip, port, files };
    }
    let stays = twist == Twist::FirstListStays && !entry.files.is_empty();
    if let Some(files) = files.filter(|_| !stays) {
        entry.files = files;
    }
}

/// Drops who sent nothing since the sweep before, and builds the list that is handed out from now on.
fn sweep(s: &mut TrackerState, twist: Twist) {
    if twist == Twist::SweepsEnd && s.sweeps == 3 {
        return;
    }
    let late = |entry: &Entry| twist == Twist::LateSweeps && !s.silent.contains(&entry.port);
    s.roster.retain(|(entry, alive)| *alive || late(entry));
    let silent = s.roster.iter().filter(|(_, alive)| !alive);
    s.silent = silent.map(|(entry, _)| entry.port).collect();
    s.roster.iter_mut().for_each(|(_, alive)| *alive = false);
    s.list = s.roster.iter().map(|(e, _)| e.clone()).collect();
    s.sweeps += 1;
}

/// The client's three timers: 10 s, 20 s and 30 s in the original. Each first fires after its interval.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    pub ping: Duration,
    pub list: Duration,
    pub round: Duration,
}

impl Intervals {
    pub fn all(every: Duration) -> Self {
        Self {
            ping: every,
            list: every,
            round: every,
        }
    }
}

/// What a client knows and has seen.
#[derive(Clone, Debug, Default)]
pub struct ClientState {
    /// The tracker's last list.
    pub list: Vec<Entry>,
    /// What its one read gave, for each connection to it that sent something.
    pub messages: Vec<String>,
    /// Names that were asked of it, and those of them that it sent to the end.
    pub requests: Vec<String>,
    pub served: Vec<String>,
    /// What it asked others for, and of whom; then what came, with the bytes, once that connection ended.
    pub asked: Vec<(String, SocketAddr)>,
    pub fetched: Vec<(String, u64)>,
    /// How often it had a list from the tracker, sent its own, and ended a round.
    pub pings: usize,
    pub lists: usize,
    pub rounds: usize,
    /// What failed without ending anything, such as a connection refused.
    pub notes: Vec<String>,
    /// What ended its serving, its pings or its rounds for good.
    pub deaths: Vec<String>,
}

/// The original's client.
pub struct OriginalClient {
    pub addr: SocketAddr,
    door: Door,
    halt: Arc<Halt>,
    timers: Vec<JoinHandle<()>>,
    peer: Arc<Peer>,
}

/// What the client's threads share.
struct Peer {
    tracker: SocketAddr,
    dir: PathBuf,
    read_limit: AtomicUsize,
    book: Book<ClientState>,
    twist: Twist,
    /// How often it was to ping, and to send its list.
    ticks: [AtomicUsize; 2],
}

impl OriginalClient {
    /// Binds to `ip`, its host name's address (fact g), on a free port. `dir` is created if missing.
    pub fn start(tracker: SocketAddr, ip: Ipv4Addr, dir: &Path, every: Intervals) -> Self {
        Self::start_with(tracker, ip, dir, every, Twist::No)
    }

    /// The same with a twist.
    pub fn start_with(
        tracker: SocketAddr,
        ip: Ipv4Addr,
        dir: &Path,
        every: Intervals,
        twist: Twist,
    ) -> Self {
        assert!(tracker.is_ipv4(), "the original speaks IPv4 only");
        fs::create_dir_all(dir).expect("the client's folder");
        let peer = Arc::new(Peer {
            tracker,
            dir: dir.to_path_buf(),
            read_limit: AtomicUsize::new(ONE_READ),
            book: Book::default(),
            twist,
            ticks: Default::default(),
        });
        let halt = Arc::new(Halt::default());
        let (serving, stop) = (peer.clone(), halt.clone());
        let mut silent = Vec::new();
        let never = Duration::from_secs(u32::MAX.into());
        let door = Door::open(ip, "peer", never, halt.clone(), move |turn| {
            let Turn::Connection(stream) = turn else {
                return true;
            };
            let open = stream.try_clone().ok();
            silent.extend(open.filter(|_| serving.twist == Twist::NoClose));
            match handle_piece_request(&serving, stream) {
                Ok(unanswered) => silent.extend(unanswered),
                Err(why) => return !serving.die(&stop, "serving", &why),
            }
            true
        });
        let own = door.addr;
        let told = own.port() - u16::from(twist == Twist::WrongPort);
        let in_lists = told - u16::from(twist == Twist::TwoPorts);
        let timers = vec![
            repeat(&peer, &halt, "pings", every.ping, move |p, h| {
                p.ping_tracker(h, told)
            }),
            repeat(&peer, &halt, "lists", every.list, move |p, h| {
                p.send_tracker_file_list(h, in_lists)
            }),
            repeat(&peer, &halt, "rounds", every.round, move |p, h| {
                p.manage_downloads(h, own)
            }),
        ];
        Self {
            addr: own,
            door,
            halt,
            timers,
            peer,
        }
    }

    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// `ONE_SEGMENT` makes it read requests and lists as it would off loopback (fact b).
    pub fn set_read_limit(&self, bytes: usize) {
        self.peer.read_limit.store(bytes, Ordering::SeqCst);
    }

    /// Nothing of it died, and its lock is free: waits up to 5 s until all connections made before
    /// were handled, asking through the listener itself.
    pub fn is_serving(&self) -> bool {
        self.serves_within(TURN)
    }

    /// As `is_serving`, with another patience: false, too, while a connection blocks it.
    pub fn serves_within(&self, patience: Duration) -> bool {
        self.door.probe(patience) && self.state().deaths.is_empty()
    }

    /// All that died, each with its reason.
    pub fn died_of(&self) -> Option<String> {
        let deaths = self.state().deaths;
        (!deaths.is_empty()).then(|| deaths.join("; "))
    }

    /// Names that it was asked for and sent to the end.
    pub fn served(&self) -> Vec<String> {
        self.state().served
    }

    /// What it asked others for, and of whom.
    pub fn asked(&self) -> Vec<(String, SocketAddr)> {
        self.state().asked
    }

    /// Puts bytes in its folder: a piece, or what was left of one when its connection broke off.
    pub fn plant(&self, name: &str, bytes: &[u8]) {
        fs::write(self.peer.dir.join(name), bytes).expect("planting a file");
    }

    /// What stands in its folder under this name, half-written or not.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.peer.dir.join(name)).ok()
    }

    pub fn state(&self) -> ClientState {
        self.peer.book.copy()
    }

    /// Waits until `cond` holds; false where it did not within `patience`.
    pub fn wait(&self, patience: Duration, cond: impl Fn(&ClientState) -> bool) -> bool {
        self.peer.book.wait(patience, cond)
    }
}

impl Drop for OriginalClient {
    fn drop(&mut self) {
        self.halt.stop();
        for timer in self.timers.drain(..) {
            let _ = timer.join();
        }
    }
}

/// One request under the lock. `Some` is a connection whose message it did not know: left open,
/// never answered (fact d). An error ends its serving.
fn handle_piece_request(peer: &Peer, mut stream: TcpStream) -> Result<Option<TcpStream>, String> {
    let raw = read_once(&mut stream, peer.limit())?;
    let book = &peer.book;
    book.change(|s| s.messages.push(String::from_utf8_lossy(&raw).into_owned()));
    let Some(name) = parse(&raw)?.get("filename").cloned() else {
        return Ok(Some(stream));
    };
    let name = name.as_str().ok_or("filename: expected a string")?;
    book.change(|s| s.requests.push(name.to_string()));
    let told = |e: io::Error| format!("{name:?}: {e}");
    let file = peer.path(name).and_then(File::open).map_err(told)?;
    let len = file.metadata().map_or(0, |m| m.len());
    let less = peer.twist == Twist::SendsLess && len < 1 << 20;
    io::copy(&mut file.take(len - u64::from(less)), &mut stream).map_err(told)?;
    book.change(|s| s.served.push(name.to_string()));
    Ok(None)
}

impl Peer {
    fn limit(&self) -> usize {
        self.read_limit.load(Ordering::SeqCst)
    }

    fn note(&self, what: String) {
        self.book.change(|s| s.notes.push(what));
    }

    /// Records a death, unless it came from being stopped. True where it died.
    fn die(&self, halt: &Halt, job: &str, why: &str) -> bool {
        let died = !halt.stopped();
        if died {
            let told = format!("{job}: {why}");
            self.book.change(|s| s.deaths.push(told));
        }
        died
    }

    /// A name is one plain component: a stand-in has no business outside its folder.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let mut parts = Path::new(name).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(_)), None) => Ok(self.dir.join(name)),
            _ => Err(io::Error::other("not a name in its folder")),
        }
    }

    /// `os.listdir`: all names, half-written files, folders and dot files included.
    fn listdir(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let name = |e: fs::DirEntry| e.file_name().to_string_lossy().into_owned();
        entries.map(name).collect()
    }

    /// Connects and sends. `None` where nobody takes it: noted, and tried again at the next tick.
    fn send(&self, halt: &Arc<Halt>, to: SocketAddr, message: &str) -> Option<(TcpStream, Hold)> {
        let connected = TcpStream::connect_timeout(&to, TURN).and_then(|mut stream| {
            stream.write_all(message.as_bytes())?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => halt.hold(&stream).map(|hold| (stream, hold)),
            Err(e) => {
                self.note(format!("{to}: {e}"));
                None
            }
        }
    }

    /// Whether the twist leaves out this message: two of three, or the first ones.
    fn leaves_out(&self, job: usize, few: Twist) -> bool {
        let nth = self.ticks[job].fetch_add(1, Ordering::SeqCst);
        self.twist == few && !nth.is_multiple_of(3)
            || self.twist == Twist::LatePings && job == 0 && nth < 8
    }

    fn ping_tracker(&self, halt: &Arc<Halt>, port: u16) -> Result<(), String> {
        if self.leaves_out(0, Twist::FewPings) {
            return Ok(());
        }
        let msg = if self.twist == Twist::Misspelt {
            "pingg"
        } else {
            "ping"
        };
        let message = format!("{{\"port\": {port}, \"msg\": \"{msg}\"}}");
        let Some((mut stream, _hold)) = self.send(halt, self.tracker, &message) else {
            return Ok(());
        };
        let list = match self.twist {
            // the next call was ordered before this one failed
            Twist::ShortList | Twist::Misspelt => {
                let read = read_once(&mut stream, 1024);
                let Ok(list) = read.and_then(|raw| parse_list(&raw)) else {
                    return Ok(());
                };
                list
            }
            _ => parse_list(&read_once(&mut stream, self.limit())?)?,
        };
        self.book.change(|s| {
            s.list = list;
            s.pings += 1;
        });
        Ok(())
    }

    fn send_tracker_file_list(&self, halt: &Arc<Halt>, port: u16) -> Result<(), String> {
        if self.leaves_out(1, Twist::FewLists) || self.twist == Twist::NoLists {
            return Ok(());
        }
        let files = names_json(&self.listdir());
        let message = format!("{{\"port\": {port}, \"files\": {files}, \"msg\": \"file_list\"}}");
        if self.send(halt, self.tracker, &message).is_some() {
            self.book.change(|s| s.lists += 1);
        }
        Ok(())
    }

    fn manage_downloads(&self, halt: &Arc<Halt>, own: SocketAddr) -> Result<(), String> {
        let list = self.book.change(|s| s.list.clone());
        if let Some((name, holder)) = select_file(&list, &self.listdir(), own, self.twist) {
            if !holder.is_ipv4() {
                return Err(format!("{holder}: not an IPv4 address"));
            }
            self.request_piece(halt, &name, holder)?;
            if self.twist == Twist::OneRequest {
                return Err("this round's exception".into());
            }
        }
        self.book.change(|s| s.rounds += 1);
        Ok(())
    }

    /// The file is created before its bytes come, and whatever came stays (fact e).
    fn request_piece(
        &self,
        halt: &Arc<Halt>,
        name: &str,
        holder: SocketAddr,
    ) -> Result<(), String> {
        let message = format!("{{\"filename\": {}}}", json_str(name));
        let Some((mut stream, _hold)) = self.send(halt, holder, &message) else {
            return Ok(());
        };
        let created = self.path(name).and_then(File::create);
        let mut file = created.map_err(|e| format!("{name:?}: {e}"))?;
        self.book
            .change(|s| s.asked.push((name.to_string(), holder)));
        let most = match self.twist {
            Twist::OneReadKept => ONE_READ as u64,
            Twist::OneShortRead => 1024,
            _ => u64::MAX,
        };
        let all = io::copy(&mut Read::by_ref(&mut stream).take(most), &mut file);
        let rest = all.and_then(|len| match self.twist {
            Twist::OneShortRead => Ok(len),
            _ => io::copy(&mut stream, &mut io::sink()),
        });
        if let Err(e) = rest {
            self.note(format!("{name:?} from {holder}: {e}"));
        }
        let len = file.metadata().map_or(0, |m| m.len());
        self.book
            .change(|s| s.fetched.push((name.to_string(), len)));
        Ok(())
    }
}

/// Any name that others list and that is missing here, not the rarest (fact f), and any of its holders.
fn select_file(
    list: &[Entry],
    have: &[String],
    own: SocketAddr,
    twist: Twist,
) -> Option<(String, SocketAddr)> {
    let others = list.iter().map(|e| (SocketAddr::new(e.ip, e.port), e));
    let others: Vec<_> = others.filter(|(at, _)| *at != own).collect();
    let listed = others.iter().flat_map(|(_, e)| &e.files);
    let wanted = |name: &&String| twist == Twist::NeverDone || !have.contains(name);
    let missing: BTreeSet<_> = listed.filter(wanted).collect();
    let mut missing: Vec<_> = missing.into_iter().collect();
    if twist != Twist::No {
        let copies = |name: &String| {
            others
                .iter()
                .filter(|(_, e)| e.files.contains(name))
                .count()
        };
        missing.sort_by_key(|name| (have.contains(name), copies(name)));
        missing.truncate(1);
    }
    let name = *missing.choose(&mut rand::rng())?;
    let asked = |e: &Entry| e.files.contains(name) != (twist == Twist::AsksWhoHasNot);
    let holders = others.iter().filter(|(_, e)| asked(e));
    let holders: Vec<_> = holders.map(|(at, _)| *at).collect();
    let holder = match twist {
        Twist::FirstHolder => holders.first(),
        _ => holders.choose(&mut rand::rng()),
    };
    Some((name.clone(), *holder?))
}

/// `RepeatedTimer`: fires after each interval until the client is dropped or `job` fails for good.
fn repeat(
    peer: &Arc<Peer>,
    halt: &Arc<Halt>,
    name: &'static str,
    every: Duration,
    job: impl Fn(&Peer, &Arc<Halt>) -> Result<(), String> + Send + 'static,
) -> JoinHandle<()> {
    let (peer, halt) = (peer.clone(), halt.clone());
    let timer = move || {
        while halt.sleep(every) {
            if let Err(why) = job(&peer, &halt) {
                peer.die(&halt, name, &why);
                return;
            }
        }
    };
    let named = thread::Builder::new().name(format!("original {name}"));
    named.spawn(timer).expect("a timer's thread")
}

// ---- messages, in the style of Python's json.dumps

/// `recv(limit)`: one read, whatever it gives.
fn read_once(stream: &mut TcpStream, limit: usize) -> Result<Vec<u8>, String> {
    let mut buf = vec![0; limit];
    match stream.read(&mut buf) {
        Ok(0) => Err("expected a message, came a close without data".into()),
        Ok(len) => Ok(buf[..len].to_vec()),
        Err(e) => Err(format!("expected a message: {e}")),
    }
}

fn parse(raw: &[u8]) -> Result<Value, String> {
    let told = |e| format!("one read of {} bytes is no JSON value: {e}", raw.len());
    serde_json::from_slice(raw).map_err(told)
}

fn key<'a>(message: &'a Value, name: &str) -> Result<&'a Value, String> {
    let told = || format!("expected the key {name:?}, came {message}");
    message.get(name).ok_or_else(told)
}

fn port_of(message: &Value) -> Result<u16, String> {
    let port = key(message, "port")?;
    let number = port.as_u64().and_then(|p| u16::try_from(p).ok());
    number.ok_or_else(|| format!("expected a port, came {port}"))
}

fn names(value: &Value) -> Result<Vec<String>, String> {
    let told = || format!("expected a list of names, came {value}");
    let name = |v: &Value| v.as_str().map(str::to_string).ok_or_else(told);
    value
        .as_array()
        .ok_or_else(told)?
        .iter()
        .map(name)
        .collect()
}

fn parse_list(raw: &[u8]) -> Result<Vec<Entry>, String> {
    let list = parse(raw)?;
    let entry = |e: &Value| {
        let ip = key(e, "ip")?;
        let parsed = ip.as_str().and_then(|ip| ip.parse().ok());
        Ok(Entry {
            ip: parsed.ok_or_else(|| format!("expected an address, came {ip}"))?,
            port: port_of(e)?,
            files: names(key(e, "file_list")?)?,
        })
    };
    let entries = list.as_array().ok_or("expected a list of peers")?;
    entries.iter().map(entry).collect()
}

fn list_json(list: &[Entry]) -> String {
    let entry = |e: &Entry| {
        let (ip, files) = (json_str(&e.ip.to_string()), names_json(&e.files));
        let port = e.port;
        format!("{{\"ip\": {ip}, \"port\": {port}, \"file_list\": {files}}}")
    };
    let entries: Vec<_> = list.iter().map(entry).collect();
    format!("[{}]", entries.join(", "))
}

fn names_json(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|n| json_str(n)).collect();
    format!("[{}]", names.join(", "))
}

/// `ensure_ascii`: all but printable ASCII is escaped, beyond 16 bits as two surrogates.
fn json_str(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(b'"') => out.push_str("\\\""),
            Ok(b'\\') => out.push_str("\\\\"),
            Ok(b'\n') => out.push_str("\\n"),
            Ok(b'\r') => out.push_str("\\r"),
            Ok(b'\t') => out.push_str("\\t"),
            Ok(8) => out.push_str("\\b"),
            Ok(12) => out.push_str("\\f"),
            Ok(plain @ b' '..=b'~') => out.push(plain.into()),
            _ => write!(out, "\\u{unit:04x}").expect("a String takes all"),
        }
    }
    out + "\""
}

// ---- the threads beneath both

/// State that tests wait on.
#[derive(Default)]
struct Book<T> {
    state: Mutex<T>,
    changed: Condvar,
}

impl<T: Clone> Book<T> {
    fn copy(&self) -> T {
        self.state.lock().unwrap().clone()
    }

    fn change<R>(&self, with: impl FnOnce(&mut T) -> R) -> R {
        let result = with(&mut self.state.lock().unwrap());
        self.changed.notify_all();
        result
    }

    fn wait(&self, patience: Duration, cond: impl Fn(&T) -> bool) -> bool {
        let state = self.state.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(state, patience, |s| !cond(s));
        !waited.unwrap().1.timed_out()
    }
}

/// Ends threads: those that sleep are woken, those on a socket see it shut down.
#[derive(Default)]
struct Halt {
    held: Mutex<Held>,
    woken: Condvar,
}

#[derive(Default)]
struct Held {
    stopped: bool,
    next: usize,
    streams: HashMap<usize, TcpStream>,
}

/// Keeps a connection within reach of `Halt::stop`; the peer sees its close once this is dropped, too.
struct Hold {
    halt: Arc<Halt>,
    id: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.halt.held.lock().unwrap().streams.remove(&self.id);
    }
}

impl Halt {
    fn stopped(&self) -> bool {
        self.held.lock().unwrap().stopped
    }

    /// `None` once stopped.
    fn hold(self: &Arc<Self>, stream: &TcpStream) -> Option<Hold> {
        let stream = stream.try_clone().expect("a second handle of a socket");
        let mut held = self.held.lock().unwrap();
        if held.stopped {
            return None;
        }
        let (halt, id) = (self.clone(), held.next);
        held.next += 1;
        held.streams.insert(id, stream);
        Some(Hold { halt, id })
    }

    /// False once stopped.
    fn sleep(&self, time: Duration) -> bool {
        let held = self.held.lock().unwrap();
        let slept = self.woken.wait_timeout_while(held, time, |h| !h.stopped);
        !slept.unwrap().0.stopped
    }

    fn stop(&self) {
        let mut held = self.held.lock().unwrap();
        held.stopped = true;
        for stream in held.streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.woken.notify_all();
    }
}

enum Job {
    Connection(TcpStream),
    Probe(Sender<bool>),
    Sweep,
    Stop,
}

/// What is done under the original's lock, one after the other.
enum Turn {
    Connection(TcpStream),
    Sweep,
}

/// A listener that always accepts, and the original's lock behind it: one thread that takes the
/// connections in order. Once dead it goes on accepting, and never answers any more.
struct Door {
    addr: SocketAddr,
    halt: Arc<Halt>,
    probes: Arc<Mutex<HashMap<SocketAddr, Sender<bool>>>>,
    jobs: Sender<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl Door {
    /// `turn` says whether the original survived it.
    fn open(
        ip: Ipv4Addr,
        name: &str,
        every: Duration,
        halt: Arc<Halt>,
        turn: impl FnMut(Turn) -> bool + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        let addr = listener.local_addr().expect("a bound listener");
        let (jobs, queue) = mpsc::channel();
        let probes = Arc::new(Mutex::new(HashMap::new()));
        let (probed, queued, stop) = (probes.clone(), jobs.clone(), halt.clone());
        let accepts = move || listen_for_clients(&listener, &probed, &queued);
        let locked = move || take_turns(&queue, &stop, every, turn);
        let named = |what| thread::Builder::new().name(format!("original {name} {what}"));
        let threads = vec![
            named("accepts").spawn(accepts).expect("accept thread"),
            named("lock").spawn(locked).expect("lock thread"),
        ];
        Self {
            addr,
            halt,
            probes,
            jobs,
            threads,
        }
    }

    /// Connects, and waits for the answer to come through the queue: whether it is alive at its turn.
    fn probe(&self, patience: Duration) -> bool {
        let (answer, answered) = mpsc::channel();
        // Connecting under the guard, which the accepting thread takes next: so it knows the probe.
        let mut probes = self.probes.lock().unwrap();
        let connected = TcpStream::connect_timeout(&self.reachable(), TURN);
        let Ok(from) = connected.as_ref().map(|s| s.local_addr().expect("local")) else {
            return false;
        };
        probes.insert(from, answer);
        drop(probes);
        answered.recv_timeout(patience) == Ok(true)
    }

    fn sweep(&self) -> bool {
        let (answer, answered) = mpsc::channel();
        let sent = [Job::Sweep, Job::Probe(answer)].map(|job| self.jobs.send(job).is_ok());
        sent == [true, true] && answered.recv_timeout(TURN) == Ok(true)
    }

    fn reachable(&self) -> SocketAddr {
        match self.addr.ip().is_unspecified() {
            true => (Ipv4Addr::LOCALHOST, self.addr.port()).into(),
            false => self.addr,
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.halt.stop();
        let _ = self.jobs.send(Job::Stop);
        // The lock's thread has gone: the next connection ends the accepting one.
        let _ = self.threads.pop().map(JoinHandle::join);
        let _ = TcpStream::connect_timeout(&self.reachable(), TURN);
        let _ = self.threads.pop().map(JoinHandle::join);
    }
}

/// Accepts until the lock's thread has gone.
fn listen_for_clients(
    listener: &TcpListener,
    probes: &Mutex<HashMap<SocketAddr, Sender<bool>>>,
    jobs: &Sender<Job>,
) {
    while let Ok((stream, from)) = listener.accept() {
        let probe = probes.lock().unwrap().remove(&from);
        let job = probe.map_or(Job::Connection(stream), Job::Probe);
        if jobs.send(job).is_err() {
            return;
        }
    }
}

fn take_turns(
    queue: &Receiver<Job>,
    halt: &Arc<Halt>,
    every: Duration,
    mut turn: impl FnMut(Turn) -> bool,
) {
    let mut alive = true;
    let mut waiting_for_ever = Vec::new();
    let mut next_sweep = Instant::now() + every;
    loop {
        if alive && Instant::now() >= next_sweep {
            alive = turn(Turn::Sweep);
            next_sweep = Instant::now() + every;
        }
        let job = match alive {
            true => queue.recv_timeout(next_sweep.saturating_duration_since(Instant::now())),
            false => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match job {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Job::Sweep) if alive => alive = turn(Turn::Sweep),
            Ok(Job::Sweep) => {}
            Ok(Job::Connection(stream)) if alive => match halt.hold(&stream) {
                Some(_hold) => alive = turn(Turn::Connection(stream)),
                None => return,
            },
            Ok(Job::Connection(stream)) => waiting_for_ever.push(stream),
            Ok(Job::Probe(answer)) => drop(answer.send(alive)),
            Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The stand-in against the facts (a) to (g): each failure kills, and nothing else does.
mod original_tests {
    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
    const SOON: Duration = Duration::from_secs(5);
    /// How long something that must not come is waited for.
    const A_WHILE: Duration = Duration::from_millis(60);
    const NEVER: Duration = Duration::from_secs(3600);
    const TICK: Duration = Duration::from_millis(15);
    const PING: &str = r#"{"port": 50001, "msg": "ping"}"#;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let unique = NEXT.fetch_add(1, Ordering::SeqCst);
            let name = format!("original-{}-{unique}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A tracker that sweeps when told to.
    fn tracker(mode: Mode) -> OriginalTracker {
        OriginalTracker::start(HERE, mode, NEVER)
    }

    /// A client whose tracker is the test: a list given to it, in place of a tracker's answer.
    fn client_given(list: &'static str) -> (OriginalClient, Folder) {
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let tracker = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_once(&mut stream, ONE_READ).unwrap();
            stream.write_all(list.as_bytes()).unwrap();
        });
        let folder = Folder::new();
        let every = Intervals {
            list: NEVER,
            ..Intervals::all(TICK)
        };
        (
            OriginalClient::start(tracker, HERE, &folder.0, every),
            folder,
        )
    }

    /// A client that only serves.
    fn server() -> (OriginalClient, Folder) {
        let folder = Folder::new();
        let nobody = (HERE, 9).into();
        let client = OriginalClient::start(nobody, HERE, &folder.0, Intervals::all(NEVER));
        (client, folder)
    }

    fn send(to: SocketAddr, message: &str) -> TcpStream {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(message.as_bytes()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    fn ask(to: SocketAddr, message: &str) -> String {
        let mut answer = String::new();
        send(to, message).read_to_string(&mut answer).unwrap();
        answer
    }

    /// Still connected, and nothing comes.
    fn is_silent(stream: &TcpStream) -> bool {
        is_silent_for(A_WHILE, stream)
    }

    fn is_silent_for(time: Duration, mut stream: &TcpStream) -> bool {
        stream.set_read_timeout(Some(time)).unwrap();
        let came = stream.read(&mut [0]);
        stream.set_read_timeout(Some(SOON)).unwrap();
        matches!(came, Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    fn request(name: &str) -> String {
        format!("{{\"filename\": {}}}", json_str(name))
    }

    #[test]
    fn originals_hand_each_other_files() {
        // 127.0.1.1: where a host name's address often is (fact g).
        for ip in [HERE, Ipv4Addr::new(127, 0, 1, 1)] {
            let tracker = OriginalTracker::start(ip, Mode::Local, 4 * TICK);
            let folders = [Folder::new(), Folder::new()];
            let start =
                |f: &Folder| OriginalClient::start(tracker.addr, ip, &f.0, Intervals::all(TICK));
            let [one, two] = folders.each_ref().map(start);
            one.plant("1.txt", b"one");
            two.plant("ação.txt", &[7; 300_000]);
            let both = |s: &ClientState| s.fetched.len() == 1;
            assert!(one.wait(SOON, both) && two.wait(SOON, both));
            assert_eq!(one.file("ação.txt"), Some(vec![7; 300_000]));
            assert_eq!(two.file("1.txt"), Some(b"one".to_vec()));
            assert_eq!(two.asked(), [("1.txt".to_string(), one.addr)]);
            assert_eq!(
                (one.served(), one.addr.ip()),
                (vec!["1.txt".into()], ip.into())
            );
            assert!(two.wait(SOON, |s| s.messages
                == [r#"{"filename": "a\u00e7\u00e3o.txt"}"#]));
            let ping = format!("{{\"port\": {}, \"msg\": \"ping\"}}", one.port());
            let list = format!("{{\"port\": {}, \"files\": [\"1.txt\"]", one.port());
            let seen = tracker.messages();
            assert!(seen.contains(&ping) && seen.iter().any(|m| m.starts_with(&list)));
            assert!(one.is_serving() && two.is_serving() && tracker.is_serving());
            assert_eq!((one.died_of(), tracker.died_of()), (None, None));
        }
    }

    #[test]
    fn a_what_ends_the_tracker() {
        let long = format!(
            r#"{{"port": 1, "msg": "ping", "x": "{}"}}"#,
            "x".repeat(ONE_READ)
        );
        let killers = [
            ("more than one read", long.as_str()),
            ("part of a value", r#"{"port": 1, "#),
            ("no JSON", "hello"),
            ("two values", r#"{"port": 1, "msg": "ping"} {}"#),
            ("no port", r#"{"msg": "ping"}"#),
            ("no msg", r#"{"port": 1}"#),
            ("no files", r#"{"port": 1, "msg": "file_list"}"#),
            ("an array", "[]"),
            ("a close without data", ""),
        ];
        for (case, message) in killers {
            let tracker = tracker(Mode::Local);
            assert_eq!(ask(tracker.addr, PING), "[]", "{case}");
            assert!(tracker.is_serving(), "{case}");
            drop(send(tracker.addr, message));
            assert!(!tracker.is_serving(), "{case}");
            assert!(tracker.died_of().is_some(), "{case}");
            assert!(!tracker.sweep(), "{case}: the sweep needs the lock, too");
        }
    }

    #[test]
    fn a_dead_tracker_accepts_and_never_answers() {
        let tracker = tracker(Mode::Local);
        // The rest of the message would come with a second read: there is none.
        let _part = send(tracker.addr, r#"{"port": 1, "#);
        assert!(tracker.wait(SOON, |s| s.died_of.is_some()));
        assert!(is_silent(&send(tracker.addr, PING)));
        assert!(tracker.peers().is_empty());
    }

    #[test]
    fn a_silence_blocks_the_tracker_meanwhile() {
        let tracker = tracker(Mode::Local);
        let mut silent = send(tracker.addr, "");
        let mut behind = send(tracker.addr, PING);
        assert!(is_silent(&behind) && !tracker.serves_within(A_WHILE));
        silent.write_all(PING.as_bytes()).unwrap();
        let mut answer = String::new();
        behind.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "[]");
        assert!(tracker.is_serving());
    }

    #[test]
    fn b_off_loopback_a_read_is_a_segment() {
        let tracker = tracker(Mode::Local);
        let message = format!(
            r#"{{"port": 1, "msg": "ping", "x": "{}"}}"#,
            "x".repeat(1500)
        );
        assert_eq!(ask(tracker.addr, &message), "[]");
        tracker.set_read_limit(ONE_SEGMENT);
        drop(send(tracker.addr, &message));
        assert!(!tracker.is_serving());

        let (peer, _folder) = server();
        peer.plant("x", b"x");
        let padded = format!(r#"{{"filename": "x", "pad": "{}"}}"#, "x".repeat(1500));
        assert_eq!(ask(peer.addr, &padded), "x");
        peer.set_read_limit(ONE_SEGMENT);
        drop(send(peer.addr, &padded));
        assert!(!peer.is_serving());
    }

    #[test]
    fn a_b_a_list_in_two_reads_ends_the_pings() {
        let long = format!(
            r#"[{{"ip": "127.0.0.1", "port": 1, "file_list": ["{}"]}}]"#,
            "x".repeat(ONE_READ)
        );
        for list in [
            "",
            "[",
            r#"{"v": 1}"#,
            r#"[{"ip": "127.0.0.1"}]"#,
            long.leak(),
        ] {
            let (client, _folder) = client_given(list);
            assert!(client.wait(SOON, |s| !s.deaths.is_empty()), "{list}");
            let died = client.died_of().unwrap();
            assert!(
                died.starts_with("pings: ") && !client.is_serving(),
                "{died}"
            );
        }
    }

    #[test]
    fn c_what_ends_a_peers_serving() {
        let broken_off = |to, name: &str| {
            let mut asker = send(to, &request(name));
            asker.read_exact(&mut [0; 1000]).unwrap();
        };
        let cases: [(&str, &dyn Fn(SocketAddr)); 6] = [
            ("a name it lacks", &|to| drop(send(to, &request("2.txt")))),
            ("broken off", &|to| broken_off(to, "large")),
            ("a folder", &|to| drop(send(to, &request("folder")))),
            ("outside", &|to| drop(send(to, &request("../1.txt")))),
            ("part of a value", &|to| drop(send(to, "{"))),
            ("a close without data", &|to| drop(send(to, ""))),
        ];
        for (case, kill) in cases {
            let (peer, folder) = server();
            peer.plant("1.txt", b"one");
            let large = File::create(folder.0.join("large")).unwrap();
            large.set_len(64 << 20).unwrap();
            fs::create_dir(folder.0.join("folder")).unwrap();
            assert_eq!(ask(peer.addr, &request("1.txt")), "one", "{case}");
            assert!(peer.is_serving(), "{case}");
            kill(peer.addr);
            assert!(!peer.is_serving(), "{case}");
            let died = peer.died_of().unwrap();
            assert!(died.starts_with("serving: "), "{case}: {died}");
            assert!(is_silent(&send(peer.addr, &request("1.txt"))), "{case}");
        }
    }

    #[test]
    fn c_uploads_are_serial_and_may_be_read_late() {
        let (peer, folder) = server();
        peer.plant("1.txt", b"one");
        let large = File::create(folder.0.join("large")).unwrap();
        large.set_len(32 << 20).unwrap();
        let mut first = send(peer.addr, &request("large"));
        let mut second = send(peer.addr, &request("1.txt"));
        assert!(is_silent(&second) && !peer.serves_within(A_WHILE));
        assert_eq!(io::copy(&mut first, &mut io::sink()).unwrap(), 32 << 20);
        let mut came = String::new();
        second.read_to_string(&mut came).unwrap();
        assert_eq!(came, "one");
        assert!(peer.is_serving());
        assert_eq!(peer.served(), ["large", "1.txt"]);
    }

    #[test]
    fn d_an_unknown_message_gets_silence() {
        let (peer, _folder) = server();
        peer.plant("1.txt", b"one");
        let unknown = send(peer.addr, r#"{"msg": "hello", "v": 1}"#);
        assert!(is_silent(&unknown));
        assert_eq!(ask(peer.addr, &request("1.txt")), "one");
        assert!(is_silent(&unknown) && peer.is_serving());
    }

    #[test]
    fn e_what_is_broken_off_stays_and_is_served() {
        let tracker = OriginalTracker::start(HERE, Mode::Local, TICK);
        let holder = TcpListener::bind((HERE, 0)).unwrap();
        let holder_port = holder.local_addr().unwrap().port();
        let offer =
            move || format!(r#"{{"port": {holder_port}, "files": ["p"], "msg": "file_list"}}"#);
        let folder = Folder::new();
        let every = Intervals::all(TICK);
        let client = OriginalClient::start(tracker.addr, HERE, &folder.0, every);
        let (asked, was_asked) = mpsc::channel();
        let accepts = thread::spawn(move || asked.send(holder.accept().unwrap().0).unwrap());
        let (mut stream, mut tries) = (None, 0);
        while stream.is_none() && tries < 500 {
            drop(send(tracker.addr, &offer()));
            stream = was_asked.recv_timeout(TICK).ok();
            tries += 1;
        }
        accepts.join().unwrap();
        let mut stream = stream.expect("the client asks");
        assert_eq!(
            read_once(&mut stream, ONE_READ).unwrap(),
            request("p").into_bytes()
        );

        // Not a byte of it came, and it is listed.
        let lists_it = |s: &TrackerState| {
            let listed = |(e, _): &(Entry, bool)| e.port == client.port() && e.files == ["p"];
            s.roster.iter().any(listed)
        };
        assert!(tracker.wait(SOON, lists_it));
        assert_eq!(client.file("p"), Some(Vec::new()));
        stream.write_all(b"half").unwrap();
        drop(stream);
        assert!(client.wait(SOON, |s| s.fetched == [("p".to_string(), 4)]));
        assert_eq!(ask(client.addr, &request("p")), "half");
        let rounds = client.state().rounds;
        assert!(client.wait(SOON, |s| s.rounds > rounds + 2));
        assert_eq!(client.asked().len(), 1);
        assert!(client.is_serving() && tracker.is_serving());
    }

    #[test]
    fn f_who_is_on_the_list() {
        let files =
            |port: u16| format!(r#"{{"port": {port}, "files": ["a"], "msg": "file_list"}}"#);
        let ping = |port: u16| format!(r#"{{"port": {port}, "msg": "ping"}}"#);
        let [one, two] = [1, 2]
            .map(|port| format!(r#"{{"ip": "127.0.0.1", "port": {port}, "file_list": ["a"]}}"#));

        let local = tracker(Mode::Local);
        assert_eq!(ask(local.addr, &ping(1)), "[]");
        assert_eq!(ask(local.addr, &files(1)), "");
        assert_eq!(ask(local.addr, &files(2)), "");
        assert_eq!(
            ask(local.addr, &ping(1)),
            "[]",
            "new peers show after the next sweep"
        );
        assert_eq!(local.peers().len(), 2);
        assert!(local.sweep());
        assert_eq!(
            ask(local.addr, &ping(1)),
            format!("[{one}, {two}]"),
            "the asker included"
        );
        assert!(local.sweep());
        assert_eq!(
            ask(local.addr, &ping(1)),
            format!("[{one}]"),
            "2 sent nothing"
        );

        let remote = tracker(Mode::Remote);
        assert_eq!(ask(remote.addr, &files(1)), "");
        assert_eq!(ask(remote.addr, &files(2)), "");
        assert!(remote.sweep());
        assert_eq!(
            ask(remote.addr, &ping(2)),
            format!("[{two}]"),
            "two on one IP are one"
        );
        assert_eq!(ask(remote.addr, &ping(3)), format!("[{two}]"));
        assert_eq!(remote.peers(), [(HERE.into(), 3, Vec::new())]);
        let unknown = ask(remote.addr, r#"{"port": 4, "msg": "hello"}"#);
        assert_eq!((unknown, remote.state().sweeps), (String::new(), 1));
        assert!(local.is_serving() && remote.is_serving());
    }

    #[test]
    fn f_any_missing_name_not_the_rarest() {
        let entry = |port, files: &[&str]| Entry {
            ip: HERE.into(),
            port,
            files: files.iter().map(|f| f.to_string()).collect(),
        };
        let own = (HERE, 4).into();
        let common = ["here", "common"];
        let list = [
            entry(1, &common),
            entry(2, &common),
            entry(3, &["common", "rare"]),
            entry(4, &["own"]),
        ];
        let have = ["here".to_string()];
        let draws = (0..500).map(|_| select_file(&list, &have, own, Twist::No).unwrap());
        let drawn: BTreeSet<_> = draws.map(|(name, at)| (name, at.port())).collect();
        let all = [("common", 1), ("common", 2), ("common", 3), ("rare", 3)];
        assert_eq!(
            drawn,
            all.map(|(name, port)| (name.to_string(), port)).into()
        );
        assert_eq!(select_file(&list[3..], &have, own, Twist::No), None);
    }

    #[test]
    fn f_it_lists_whatever_stands_in_its_folder() {
        let tracker = tracker(Mode::Local);
        let folder = Folder::new();
        fs::create_dir_all(folder.0.join(".folder")).unwrap();
        let every = Intervals::all(TICK);
        let client = OriginalClient::start(tracker.addr, HERE, &folder.0, every);
        client.plant(".hidden", b"");
        client.plant("image.iso.part0001", b"half-writ");
        let all = [".folder", ".hidden", "image.iso.part0001"];
        let lists_all = |s: &TrackerState| {
            let listed = |(e, _): &(Entry, bool)| {
                e.files.iter().map(String::as_str).collect::<BTreeSet<_>>() == all.into()
            };
            s.roster.iter().any(listed)
        };
        assert!(tracker.wait(SOON, lists_all));
        assert!(client.wait(SOON, |s| s.pings > 0 && s.lists > 0));
        assert!(client.is_serving() && tracker.is_serving());
    }

    #[test]
    fn g_it_binds_to_its_own_ipv4_address() {
        let list = r#"[{"ip": "::1", "port": 1, "file_list": ["x"]}]"#;
        let (client, _folder) = client_given(list);
        assert!(client.wait(SOON, |s| !s.deaths.is_empty()));
        let died = client.died_of().unwrap();
        assert!(died.starts_with("rounds: [::1]:1"), "{died}");

        let folder = Folder::new();
        let ip = Ipv4Addr::new(127, 0, 1, 1);
        let nobody = (HERE, 9).into();
        let client = OriginalClient::start(nobody, ip, &folder.0, Intervals::all(NEVER));
        assert!(client.is_serving() && client.addr.ip() == ip);
    }

    #[test]
    fn a_refused_connection_ends_nothing() {
        let list = r#"[{"ip": "127.0.0.1", "port": 1, "file_list": ["x"]}]"#;
        let (client, _folder) = client_given(list);
        let refused = |s: &ClientState| {
            let of_it = s.notes.iter().filter(|n| n.starts_with("127.0.0.1:1: "));
            of_it.count() > 1
        };
        assert!(client.wait(SOON, refused));
        assert_eq!((client.died_of(), client.file("x")), (None, None));
        assert!(client.is_serving() && client.state().requests.is_empty());
    }

    #[test]
    fn dropping_ends_what_is_blocked() {
        let tracker = tracker(Mode::Local);
        let (peer, folder) = server();
        let large = File::create(folder.0.join("large")).unwrap();
        large.set_len(64 << 20).unwrap();
        let asker = send(peer.addr, &request("large"));
        let silent = [send(tracker.addr, ""), send(tracker.addr, "")];
        assert!(!tracker.serves_within(A_WHILE) && !peer.serves_within(A_WHILE));
        let start = Instant::now();
        drop((tracker, peer));
        assert!(start.elapsed() < SOON);
        assert!(silent.iter().all(|s| !is_silent_for(SOON, s)));
        let came = io::copy(&mut &asker, &mut io::sink());
        assert!(came.is_err() || came.is_ok_and(|len| len < 64 << 20));
    }

    #[test]
    fn json_is_pythons() {
        let escaped = r#""a\"\\\n\t\b\f\r\u0001\u007f\u00e7\ud83d\ude00""#;
        assert_eq!(json_str("a\"\\\n\t\u{8}\u{c}\r\u{1}\u{7f}ç😀"), escaped);
        assert_eq!(names_json(&["a".into(), "b".into()]), r#"["a", "b"]"#);
    }
}
