//! REQUIREMENTS.md, row by row: what the two course texts ask for, seen on the real programs. P7 is in `page`, P8 in
//! `hosts`. Where the other side of a conversation is what shows it, that side is played here: raw JSON to the tracker,
//! [`Holder`]s that serve as they are told, and a [`Notebook`] in a tracker's place.
//!
//! `tests/rows` has a mutation for each row that breaks its tests and, but for rows that ask for the same, no other's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use bittorrentish::bitfield::Bitfield;
use bittorrentish::md5::{Digest, Hasher, digest};
use bittorrentish::protocol::{
    Answer, Ask, FirstMessage, Have, Hello, PeerList, PieceHeader, Pieces, parse, read_message,
    read_value, to_bytes,
};
use bittorrentish::roster::{Endpoints, Reachability, Roster};
use bittorrentish::torrent::{Name, Torrent};
use serde_json::{Value, json};

use super::support::{
    DEADLINE, Program, Temp, md5_of, publish_message, random_bytes, swept_in_a_row, until,
    until_content,
};

/// The piece length of all files here, bytes.
const PIECE: usize = 64 << 10;
/// So many sweeps never come: for trackers whose peers are played here, and don't ping.
const NO_SWEEP: [&str; 2] = ["--sweep-every", "3600"];
/// In place of an interval that is not to come again during a test.
const NEVER: &str = "3600";

// ---- what is played here ----

/// A file and its `.torrent`.
struct Content {
    bytes: Vec<u8>,
    torrent: Torrent,
}

impl Content {
    fn new(name: &str, n_pieces: usize, seed: u64) -> Arc<Self> {
        let bytes = random_bytes(n_pieces * PIECE, seed);
        let mut hasher = Hasher::new(PIECE / 16);
        hasher.update(&bytes);
        let (checkpoints, md5) = hasher.finish();
        let name = Name::parse(name).expect("a name");
        let torrent = Torrent::new(name, bytes.len() as u64, PIECE as u32, md5, checkpoints);
        let torrent = torrent.expect("a .torrent");
        Arc::new(Self { bytes, torrent })
    }

    fn name(&self) -> &str {
        self.torrent.name().as_str()
    }

    fn all(&self) -> BTreeSet<u32> {
        (0..self.torrent.n_pieces()).collect()
    }

    fn piece(&self, idx: u32) -> &[u8] {
        &self.bytes[idx as usize * PIECE..][..PIECE]
    }
}

fn connect(port: u16) -> TcpStream {
    connect_to((Ipv4Addr::LOCALHOST, port).into())
}

fn connect_to(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
    stream
}

/// Sends text and reads what comes up to the close.
fn ask_at(addr: SocketAddr, text: &str) -> Vec<u8> {
    let mut stream = connect_to(addr);
    stream.write_all(text.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("an answer, then a close");
    answer
}

/// A message to a tracker, and its answer as JSON.
#[track_caller]
fn tell_at(addr: SocketAddr, message: &Value) -> Value {
    let answer = ask_at(addr, &message.to_string());
    let shown = || String::from_utf8_lossy(&answer).into_owned();
    serde_json::from_slice(&answer)
        .unwrap_or_else(|fault| panic!("{message}: {fault}: {}", shown()))
}

#[track_caller]
fn tell(tracker: &Program, message: &Value) -> Value {
    tell_at(tracker.addr(), message)
}

/// What the tracker answers to a ping of ours from this port.
#[track_caller]
fn ping(tracker: &Program, port: u16) -> Value {
    tell(tracker, &json!({"msg": "ping", "port": port, "v": 1}))
}

/// The peer with this port in an answer to a ping.
fn entry_of(list: &Value, port: u16) -> Option<Value> {
    let peers = list["peers"].as_array().expect("a list of peers");
    peers.iter().find(|peer| peer["port"] == port).cloned()
}

fn bits_of(n_pieces: u32, pieces: impl Iterator<Item = u32>) -> Bitfield {
    let mut bits = Bitfield::new(n_pieces);
    for idx in pieces {
        bits.set(idx);
    }
    bits
}

/// Tells the tracker that the peer on `port` has these pieces.
#[track_caller]
fn list_pieces(tracker: &Program, port: u16, content: &Content, pieces: &BTreeSet<u32>) {
    let bits = bits_of(content.torrent.n_pieces(), pieces.iter().copied());
    let (files, parts) = match bits.is_full() {
        true => (json!([content.name()]), json!({})),
        false => (json!([]), json!({content.name(): bits.to_hex()})),
    };
    let list = json!({"msg": "file_list", "port": port, "v": 1, "files": files, "pieces": parts});
    assert_eq!(tell(tracker, &list), json!({"v": 1}));
}

#[track_caller]
fn publish(tracker: &Program, port: u16, torrent: &Torrent) {
    let publish = serde_json::to_value(publish_message(port, torrent.clone())).expect("JSON");
    let answer = tell(tracker, &publish);
    assert_eq!(answer["files"][0]["is"], "stands", "{answer}");
}

/// A port that somebody listens on who never accepts.
fn silent_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

/// Takes connections on a free port, each on a thread of its own, until it is dropped: then all of them end.
struct Door {
    port: u16,
    /// The connections so far; none once it closes.
    streams: Arc<Mutex<Option<Vec<TcpStream>>>>,
    accepting: Option<thread::JoinHandle<()>>,
}

impl Door {
    fn open(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let (listener, port) = silent_port();
        let streams = Arc::new(Mutex::new(Some(Vec::new())));
        let (kept, serve) = (Arc::clone(&streams), Arc::new(serve));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                match kept.lock().expect("no panic").as_mut() {
                    Some(streams) => streams.extend(stream.try_clone().ok()),
                    None => return,
                }
                let serve = Arc::clone(&serve);
                // who leaves in the middle is no fault: the programs are killed at the end of their test
                thread::spawn(move || serve(stream).ok());
            }
        });
        Self {
            port,
            streams,
            accepting: Some(accepting),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let streams = self.streams.lock().expect("no panic").take();
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = self.accepting.take().map(thread::JoinHandle::join);
        for stream in streams.unwrap_or_default() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// How a [`Holder`] behaves.
#[derive(Clone)]
struct Manner {
    /// What it has; none is all.
    has: Option<BTreeSet<u32>>,
    /// How far away it is: each of its answers comes so much later.
    away: Duration,
    /// Whether one byte of each piece is wrong.
    corrupt: bool,
    /// So many pieces go out; then it is asked in vain.
    budget: i64,
    /// How long it says that it waited for each request, milliseconds.
    idle_ms: u64,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            has: None,
            away: Duration::ZERO,
            corrupt: false,
            budget: i64::MAX,
            idle_ms: 0,
        }
    }
}

/// A peer of ours, played here, that has a file and notes what it is asked for.
struct Holder {
    door: Door,
    content: Arc<Content>,
    seen: Arc<HolderSeen>,
    has: BTreeSet<u32>,
}

#[derive(Default)]
struct HolderSeen {
    /// The number of each request, and its candidates.
    gets: Mutex<Vec<(u64, Vec<u32>)>>,
    /// Connections on which something was said.
    connections: AtomicUsize,
    left: AtomicI64,
    /// The most requests that were there at once, on one connection.
    outstanding: AtomicUsize,
}

impl Holder {
    fn start(content: &Arc<Content>, manner: Manner) -> Self {
        let seen = Arc::new(HolderSeen::default());
        seen.left.store(manner.budget, Ordering::SeqCst);
        let has = manner.has.clone().unwrap_or_else(|| content.all());
        let (noted, served, pieces) = (Arc::clone(&seen), Arc::clone(content), has.clone());
        let own = Arc::new(AtomicUsize::new(0));
        let own_port = Arc::clone(&own);
        let door = Door::open(move |stream| {
            let port = own_port.load(Ordering::SeqCst) as u16;
            hold(stream, port, &served, &pieces, &manner, &noted)
        });
        own.store(door.port.into(), Ordering::SeqCst);
        Self {
            door,
            content: Arc::clone(content),
            seen,
            has,
        }
    }

    /// Starts one with everything, known to the tracker as the file's publisher.
    fn publisher(tracker: &Program, content: &Arc<Content>, manner: Manner) -> Self {
        let holder = Self::start(content, manner);
        publish(tracker, holder.port(), &content.torrent);
        holder
    }

    /// Starts one that the tracker lists with what it has.
    fn listed(tracker: &Program, content: &Arc<Content>, manner: Manner) -> Self {
        let holder = Self::start(content, manner);
        list_pieces(tracker, holder.port(), &holder.content, &holder.has);
        holder
    }

    fn port(&self) -> u16 {
        self.door.port
    }

    fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The requests for pieces so far; those for news alone are left out. In the order in which one peer decided on them, which
    /// their numbers tell: of two that are under way at a time, the later may be sent first, by another thread.
    fn gets(&self) -> Vec<Vec<u32>> {
        let mut gets = self.seen.gets.lock().expect("no panic").clone();
        gets.sort_by_key(|(n, _)| *n);
        let pieces = gets.into_iter().map(|(_, pieces)| pieces);
        pieces.filter(|pieces| !pieces.is_empty()).collect()
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

/// One connection to a [`Holder`]. A thread reads the requests, so that it is seen how many are there at once.
fn hold(
    stream: TcpStream,
    port: u16,
    content: &Content,
    has: &BTreeSet<u32>,
    manner: &Manner,
    seen: &Arc<HolderSeen>,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    stream.set_nodelay(true)?;
    let Some(FirstMessage::Ours(mut ask)) = read_message::<FirstMessage>(&mut reader, 1 << 20)?
    else {
        return Ok(());
    };
    seen.connections.fetch_add(1, Ordering::SeqCst);
    let (asked, asks) = std::sync::mpsc::channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let (noted, pending) = (Arc::clone(seen), Arc::clone(&waiting));
    thread::spawn(move || {
        loop {
            if let Ask::Get(get) = &ask {
                noted
                    .gets
                    .lock()
                    .expect("no panic")
                    .push((get.n, get.pieces.clone()));
                let now = pending.fetch_add(1, Ordering::SeqCst) + 1;
                noted.outstanding.fetch_max(now, Ordering::SeqCst);
            }
            if asked.send(ask).is_err() {
                return;
            }
            let Ok(Some(next)) = read_message::<Ask>(&mut reader, 1 << 20) else {
                return;
            };
            ask = next;
        }
    });
    for ask in &asks {
        thread::sleep(manner.away);
        let get = match ask {
            Ask::Hello(_) => {
                let torrent = &content.torrent;
                let pieces = Pieces::These(has.iter().copied().collect());
                let (name, md5) = (torrent.name().clone(), torrent.md5());
                let have = vec![Have { name, md5, pieces }];
                let hello = Hello {
                    v: 1,
                    id: format!("holder{port}"),
                    port,
                    have,
                };
                stream.write_all(&to_bytes(&Answer::Hello(hello)))?;
                continue;
            }
            Ask::Get(get) => get,
        };
        let here = get.pieces.iter().copied().find(|idx| has.contains(idx));
        let n = get.n;
        let Some(idx) = here else {
            thread::sleep(Duration::from_millis(20));
            waiting.fetch_sub(1, Ordering::SeqCst);
            let news = Vec::new();
            stream.write_all(&to_bytes(&Answer::News { n, news }))?;
            continue;
        };
        if seen.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            // whoever asks now waits until one of the two ends
            asks.iter().for_each(drop);
            return Ok(());
        }
        let mut body = content.piece(idx).to_vec();
        body[PIECE / 2] ^= u8::from(manner.corrupt);
        let (len, news) = (PIECE as u32, Vec::new());
        waiting.fetch_sub(1, Ordering::SeqCst);
        let header = to_bytes(&Answer::Piece(PieceHeader {
            n,
            idx,
            len,
            idle_ms: manner.idle_ms,
            news,
        }));
        stream.write_all(&[header, body].concat())?;
    }
    Ok(())
}

/// In a tracker's place: notes what it is told, and lists what it was given.
struct Notebook {
    door: Door,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Default)]
struct Pages {
    /// All messages, in the order in which they came.
    messages: Vec<Value>,
    /// The entries of its list.
    peers: Vec<Value>,
    torrents: Vec<Torrent>,
    /// Whoever asks for a `.torrent` has to wait.
    hold_back: bool,
}

impl Notebook {
    fn start() -> Self {
        let pages = Arc::new(Mutex::new(Pages::default()));
        let noted = Arc::clone(&pages);
        let door = Door::open(move |stream| note(stream, &noted));
        Self { door, pages }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().expect("no panic")
    }

    /// Lists a holder and its file.
    fn list(&self, holder: &Holder) {
        let content = &holder.content;
        let entry = json!({"ip": "127.0.0.1", "port": holder.port(), "file_list": [content.name()], "v": 1});
        let mut pages = self.pages();
        pages.peers.push(entry);
        pages.torrents = vec![content.torrent.clone()];
    }

    /// The messages of one kind so far.
    fn told(&self, msg: &str) -> Vec<Value> {
        let pages = self.pages();
        let told = pages.messages.iter().filter(|told| told["msg"] == msg);
        told.cloned().collect()
    }

    /// Waits until so many more messages of one kind came than now.
    #[track_caller]
    fn until_more(&self, n: usize, msg: &str) {
        let before = self.told(msg).len();
        until(&format!("{n} more {msg}s"), || {
            (self.told(msg).len() >= before + n).then_some(())
        });
    }

    fn peer(&self, dir: &Path, more: &[&str]) -> Program {
        Program::peer_at("127.0.0.1", self.door.port, dir, more)
    }
}

fn note(mut stream: TcpStream, pages: &Mutex<Pages>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let Some(bytes) = read_value(&mut reader, 1 << 20)? else {
        return Ok(());
    };
    let message: Value = parse(&bytes)?;
    let lock = || pages.lock().expect("no panic");
    lock().messages.push(message.clone());
    let answer = match message["msg"].as_str() {
        Some("ping") => {
            let pages = lock();
            let summary = |torrent: &Torrent| {
                json!({"name": torrent.name(), "size": torrent.size(), "md5": torrent.md5(),
                    "n_pieces": torrent.n_pieces(), "publisher": ""})
            };
            let torrents: Vec<Value> = pages.torrents.iter().map(summary).collect();
            json!({"v": 1, "local": true, "peers": pages.peers, "torrents": torrents})
        }
        Some("get_torrent") => {
            until("leave to hand out the .torrent", || {
                (!lock().hold_back).then_some(())
            });
            json!({"v": 1, "torrent": lock().torrents.first()})
        }
        _ => json!({"v": 1}),
    };
    stream.write_all(answer.to_string().as_bytes())
}

fn tracker(dir: &Temp) -> Program {
    Program::tracker(&dir.dir("torrents"), &NO_SWEEP)
}

/// A real peer that shares this file.
fn seed(tracker: &Program, dir: &Path, content: &Content, more: &[&str]) -> Program {
    fs::write(dir.join(content.name()), &content.bytes).expect("a file to share");
    Program::peer(tracker, dir, more)
}

/// The numbers of the pieces that came to a peer so far, in their order, with where from.
fn came(peer: &Program) -> Vec<(u32, String)> {
    let idx = |event: &Value| event["idx"].as_u64().expect("a number") as u32;
    let from = |event: &Value| event["peer"].as_str().unwrap_or_default().to_owned();
    peer.events("piece")
        .iter()
        .map(|event| (idx(event), from(event)))
        .collect()
}

/// What `client --help` or `server --help` says.
fn help(path: &str) -> String {
    let output = Command::new(path)
        .arg("--help")
        .output()
        .expect("the program");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The seconds that are the default of a flag, as the help has them in brackets.
#[track_caller]
fn default_of(help: &str, flag: &str) -> f64 {
    let its = help
        .lines()
        .skip_while(|line| !line.trim_start().starts_with(flag));
    // a long line is broken
    let mut words = its.take(2).flat_map(str::split_whitespace);
    let number = words.find_map(|word| word.strip_prefix('(')?.strip_suffix(')')?.parse().ok());
    number.unwrap_or_else(|| panic!("a default of {flag} in {help}"))
}

fn client_default(flag: &str) -> f64 {
    default_of(&help(env!("CARGO_BIN_EXE_client")), flag)
}

// ---- bittorrentish, Requisitos ----

#[test]
fn c1_the_nodes_distribute_one_large_file() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    // large: a file of over 64 MiB is cut into longer pieces than the others here
    let content = random_bytes(66 << 20, 1);
    fs::write(dir.dir("a").join("image.iso"), &content).expect("a file to share");
    let names = ["b", "c", "d"];
    let leechers = names.map(|name| Program::peer(&tracker, &dir.dir(name), &[]));
    for leecher in &leechers {
        leecher.until_event("list", |list| list["n_peers"] == 2);
    }
    // slow enough that all of them are at it at the same time
    let _seed = Program::peer(&tracker, &dir.dir("a"), &["--max-up", "32M"]);
    for (name, leecher) in names.iter().zip(&leechers) {
        leecher.until_event("complete", |event| event["name"] == "image.iso");
        until_content(&dir.path().join(name).join("image.iso"), &content);
    }
    let given: usize = leechers
        .iter()
        .map(|leecher| leecher.events("gave").len())
        .sum();
    assert!(
        given > 0,
        "the seed sent all, and the nodes nothing to each other"
    );
}

#[test]
fn c2_a_new_node_gets_the_list_over_tcp() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 8, 2);
    publish(&tracker, 50001, &content.torrent);
    list_pieces(&tracker, 50002, &content, &[0, 2].into());

    let list = ping(&tracker, 50003);
    let peers = list["peers"].as_array().expect("a list");
    assert_eq!(peers.len(), 2, "{list}");
    let whole = entry_of(&list, 50001).expect("the first node");
    assert_eq!(whole["file_list"], json!(["image.iso"]));
    let part = entry_of(&list, 50002).expect("the second node");
    assert_eq!(part["pieces"], json!({"image.iso": "a0"}));

    // an original is told the same in its words
    let list = tell(&tracker, &json!({"msg": "ping", "port": 50004}));
    let names = |port: u16| -> BTreeSet<String> {
        let peers = list.as_array().expect("an original's list");
        let entry = peers
            .iter()
            .find(|peer| peer["port"] == port)
            .expect("listed");
        let names = entry["file_list"].as_array().expect("names");
        names
            .iter()
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect()
    };
    let piece = |idx: u32| format!("image.iso.part{:04}", idx + 1);
    assert_eq!(names(50001), (0..8).map(piece).collect());
    assert_eq!(names(50002), [0, 2].map(piece).into());

    // and the real client asks as soon as it starts
    let peer = Program::peer(&tracker, &dir.dir("a"), &["--ping-every", NEVER]);
    let first = peer.until_event("list", |_| true);
    assert_eq!(
        (&first["n_peers"], &first["n_files"]),
        (&json!(4), &json!(1))
    );
}

#[test]
fn c3_the_list_gives_at_least_two_others() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 8, 3);
    publish(&tracker, 50001, &content.torrent);
    for port in [50002, 50003] {
        list_pieces(&tracker, port, &content, &[u32::from(port) - 50002].into());
    }
    for asker in [50001, 50002, 50003] {
        let list = ping(&tracker, asker);
        let peers = list["peers"].as_array().expect("a list");
        assert!(
            entry_of(&list, asker).is_none(),
            "the asker isn't another peer"
        );
        assert_eq!(peers.len(), 2, "{list}");
        for peer in peers {
            assert_eq!(peer["ip"], "127.0.0.1", "{peer}");
            assert!(peer["port"].is_u64(), "{peer}");
            let has_all = peer["file_list"] == json!(["image.iso"]);
            let has_some = peer["pieces"]["image.iso"].is_string();
            assert!(has_all || has_some, "{peer}");
        }
    }
}

#[test]
fn c3_min_peers_2_waits_for_a_second_other_peer() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 4, 4);
    let holder = Holder::publisher(&tracker, &content, Manner::default());
    let peer = Program::peer(&tracker, &dir.dir("a"), &["--min-peers", "2"]);
    peer.until_event("begin", |_| true);
    peer.until_event("few_peers", |few| few["n_peers"] == 1);
    peer.until_line("--min-peers");
    // with each ping it is looked what can be asked for
    let lists = peer.events("list").len();
    until("three more lists", || {
        (peer.events("list").len() >= lists + 3).then_some(())
    });
    assert_eq!(peer.events("list").last().expect("three")["n_peers"], 1);
    assert_eq!(holder.gets(), Vec::<Vec<u32>>::new(), "asked too early");

    ping(&tracker, silent_port().1);
    peer.until_event("complete", |_| true);
    until_content(&dir.path().join("a/image.iso"), &content.bytes);
    assert!(!holder.gets().is_empty());
}

#[test]
fn c3_a_shorter_list_is_used_and_said() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 4, 5);
    let _holder = Holder::publisher(&tracker, &content, Manner::default());
    let peer = Program::peer(&tracker, &dir.dir("a"), &[]);
    peer.until_event("complete", |_| true);
    until_content(&dir.path().join("a/image.iso"), &content.bytes);
    let said = peer.events("few_peers");
    assert_eq!(said.len(), 1, "said once, not at each ping: {peer:?}");
    assert_eq!(said[0]["n_peers"], 1);
    peer.until_line("1 other peer listed, fewer than the 2");
}

/// Listed peers that never answer, such that `order` is the order of rarity: the first piece has no further copy, the next
/// has one, and so on.
fn rarities(tracker: &Program, content: &Content, order: &[u32]) -> Vec<TcpListener> {
    let phantom = |at: usize| {
        let (listener, port) = silent_port();
        list_pieces(
            tracker,
            port,
            content,
            &order[at..].iter().copied().collect(),
        );
        listener
    };
    (1..order.len()).map(phantom).collect()
}

#[test]
fn c4_the_rarest_piece_is_asked_for_first_over_tcp() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 8, 6);
    let order = [5, 2, 7, 0, 3, 6, 1, 4];
    let holder = Holder::publisher(&tracker, &content, Manner::default());
    let _phantoms = rarities(&tracker, &content, &order);
    let peer = Program::peer(&tracker, &dir.dir("a"), &[]);
    peer.until_event("complete", |_| true);
    let asked: Vec<u32> = holder.gets().into_iter().flatten().collect();
    assert_eq!(asked, order);
    until_content(&dir.path().join("a/image.iso"), &content.bytes);
}

#[test]
fn c5_the_peer_that_was_asked_sends_the_piece_directly() {
    let dir = Temp::new();
    let mut tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let content = Content::new("image.iso", 8, 7);
    let peer = seed(&tracker, &dir.dir("a"), &content, &[]);
    peer.until_event("published", |_| true);
    // the two peers need nobody between them
    tracker.kill();
    assert_eq!(get_piece(peer.port(), &content, 3), content.piece(3));
    let as_original = ask_at(peer.addr(), r#"{"filename": "image.iso.part0004"}"#);
    assert_eq!(digest(&as_original), digest(content.piece(3)));
}

/// Asks a real peer for one piece, in raw JSON: its bytes.
#[track_caller]
fn get_piece(port: u16, content: &Content, idx: u32) -> Vec<u8> {
    let mut stream = connect(port);
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut exchange = |message: &Value| -> Value {
        stream
            .write_all(message.to_string().as_bytes())
            .expect("it reads");
        let answer = read_value(&mut reader, 1 << 20).expect("an answer");
        parse(&answer.expect("an answer, not a close")).expect("JSON")
    };
    let hello = exchange(&json!({"msg": "hello", "v": 1, "id": "test", "port": 9, "have": []}));
    assert_eq!(hello["msg"], "hello");
    let (name, md5) = (content.name(), content.torrent.md5());
    let piece = exchange(
        &json!({"msg": "get", "n": 1, "name": name, "md5": md5, "pieces": [idx], "wait": 20.0}),
    );
    assert_eq!(
        (&piece["msg"], &piece["idx"]),
        (&json!("piece"), &json!(idx))
    );
    let mut bytes = vec![0; piece["len"].as_u64().expect("a length") as usize];
    reader.read_exact(&mut bytes).expect("the piece");
    bytes
}

#[test]
fn c6_the_peers_send_their_lists_by_themselves() {
    let dir = Temp::new();
    let notebook = Notebook::start();
    let content = Content::new("image.iso", 8, 8);
    let three = Manner {
        budget: 3,
        ..Manner::default()
    };
    let holder = Holder::start(&content, three);
    notebook.list(&holder);
    let flags = ["--list-every", "0.2"];
    let peer = notebook.peer(&dir.dir("a"), &flags);
    until("three pieces", || (came(&peer).len() == 3).then_some(()));
    // nothing happens any more, and its lists come all the same
    notebook.until_more(5, "file_list");
    let last = notebook.told("file_list").pop().expect("five");
    let bits = bits_of(8, came(&peer).into_iter().map(|(idx, _)| idx));
    assert_eq!(last["pieces"], json!({"image.iso": bits.to_hex()}));
    assert_eq!(last["files"], json!([]));
    assert_eq!(last["port"], peer.port());
    assert!(client_default("--list-every") <= 180.0);
}

// ---- bittorrentish, Funcionamento ----

#[test]
fn f1_each_ping_is_answered_with_the_list() {
    let dir = Temp::new();
    let notebook = Notebook::start();
    let flags = [
        "--ping-every",
        "0.02",
        "--list-every",
        NEVER,
        "--round-every",
        NEVER,
    ];
    let peer = notebook.peer(&dir.dir("a"), &flags);
    let ping = json!({"msg": "ping", "port": peer.port(), "v": 1});
    // it doesn't tire of it
    notebook.until_more(150, "ping");
    assert!(notebook.told("ping").iter().all(|told| *told == ping));
    assert_eq!(client_default("--ping-every"), 10.0);

    // who joined between two pings is in the answer to the next
    let tracker = tracker(&dir);
    let flags = ["--ping-every", "0.1", "--list-every", NEVER];
    let join = |n| tell(&tracker, &json!({"msg": "ping", "port": 50000 + n}));
    (1..=2).for_each(|n| drop(join(n)));
    let peer = Program::peer(&tracker, &dir.dir("b"), &flags);
    peer.until_event("list", |list| list["n_peers"] == 2);
    for n in 3..=5 {
        join(n);
        peer.until_event("list", |list| list["n_peers"] == n);
    }
}

#[test]
fn f2_the_list_comes_every_interval_and_the_tracker_updates_its_own() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 8, 9);
    let three = Manner {
        budget: 3,
        ..Manner::default()
    };
    let _first = Holder::publisher(&tracker, &content, three);
    let flags = ["--list-every", "0.3"];
    let peer = Program::peer(&tracker, &dir.dir("a"), &flags);
    let listed = |what: &str| {
        let entry = entry_of(&ping(&tracker, 50001), peer.port());
        entry.map(|entry| entry[what].clone())
    };
    until("three pieces", || (came(&peer).len() == 3).then_some(()));
    let bits = bits_of(8, came(&peer).into_iter().map(|(idx, _)| idx));
    let pieces = json!({"image.iso": bits.to_hex()});
    until("the tracker's list with three pieces", || {
        listed("pieces").filter(|listed| *listed == pieces)
    });
    assert_eq!(listed("file_list"), Some(json!([])));

    // the list that comes next takes the place of the last
    let _second = Holder::listed(&tracker, &content, Manner::default());
    peer.until_event("complete", |_| true);
    until("the tracker's list with the whole file", || {
        listed("file_list").filter(|listed| *listed == json!(["image.iso"]))
    });
    assert_eq!(client_default("--list-every"), 20.0);
}

#[test]
fn f3_who_sent_neither_ping_nor_list_since_the_sweep_before_goes() {
    let from = Endpoints {
        peer: Ipv4Addr::LOCALHOST.into(),
        own: Ipv4Addr::LOCALHOST.into(),
    };
    let list = |roster: &mut Roster, port| {
        let files = vec!["1.txt".to_owned()];
        let list = PeerList {
            files,
            ..PeerList::default()
        };
        let listed = roster.set_list(from, port, None, &list);
        listed.expect("a list");
    };
    let mut roster = Roster::new(Reachability::Local);
    for port in [1, 2] {
        roster.append_client(from, port, None).expect("a ping");
    }
    list(&mut roster, 3);
    assert_eq!(roster.update_peer_list(), []);
    for _ in 0..3 {
        roster.append_client(from, 2, None).expect("a ping");
        list(&mut roster, 3);
        let gone = roster.update_peer_list();
        assert!(gone.iter().all(|addr| addr.port() == 1), "{gone:?}");
        assert_eq!(roster.n_peers(), 2);
    }
    let gone = roster.update_peer_list();
    let ports: BTreeSet<u16> = gone.iter().map(SocketAddr::port).collect();
    assert_eq!(ports, [2, 3].into());
}

#[test]
fn f3_the_tracker_sweeps_by_the_clock() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &["--sweep-every", "0.5"]);
    // one that only pings, one that only lists, and one that says nothing more
    let ping = json!({"msg": "ping", "port": 50001, "v": 1});
    let list = json!({"msg": "file_list", "port": 50002, "v": 1, "files": []});
    tell(&tracker, &json!({"msg": "ping", "port": 50003}));
    tracker.until_line("gone: 127.0.0.1:50003");
    // on a busy machine one of the two may miss a sweep; who doesn't count misses every other
    until("three sweeps in a row that drop nobody", || {
        tell(&tracker, &ping);
        tell(&tracker, &list);
        swept_in_a_row(&tracker.lines(), 3, "sweep: 2 peers here").then_some(())
    });
    assert_eq!(
        default_of(&help(env!("CARGO_BIN_EXE_server")), "--sweep-every"),
        15.0
    );
}

#[test]
fn f4_each_round_takes_the_rarest_piece_from_a_random_holder_directly() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 12, 10);
    // pieces 0 to 3 have one copy, 4 to 7 two, 8 to 11 three
    let has = |from: u32| Manner {
        has: Some((from..12).collect()),
        ..Manner::default()
    };
    let holders = [
        Holder::publisher(&tracker, &content, has(0)),
        Holder::listed(&tracker, &content, has(4)),
        Holder::listed(&tracker, &content, has(8)),
    ];
    // a round in which the last one's request still waits has another holder to ask: too slow for that
    let flags = ["--classic", "--round-every", "0.3"];
    let peer = Program::peer(&tracker, &dir.dir("a"), &flags);
    peer.until_event("complete", |_| true);
    until_content(&dir.path().join("a/image.iso"), &content.bytes);

    let picks = peer.events("pick");
    let picked = |pick: &Value| pick["pieces"][0].as_u64().expect("a number") as u32;
    let classes: Vec<u32> = picks.iter().map(|pick| picked(pick) / 4).collect();
    assert!(classes.is_sorted() && classes.len() == 12, "{picks:?}");
    for (nth, holder) in holders.iter().enumerate() {
        let at = |pick: &&Value| pick["peer"] == holder.addr();
        let asked: Vec<Vec<u32>> = picks
            .iter()
            .filter(at)
            .map(|pick| vec![picked(pick)])
            .collect();
        let mut gets = holder.gets();
        gets.sort_by_key(|get| asked.iter().position(|asked| asked == get));
        assert_eq!(
            gets, asked,
            "holder {nth}: what was picked is what was asked"
        );
        assert_eq!(holder.connections(), gets.len(), "a connection for each");
    }
    let chances = picks[11]["holders"].as_array().expect("holders");
    assert_eq!(chances.len(), 3, "any holder may be the one: {picks:?}");
    assert_eq!(client_default("--round-every"), 30.0);
}

#[test]
fn f4_the_holder_is_not_always_the_same() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 16, 11);
    let first = Holder::publisher(&tracker, &content, Manner::default());
    let second = Holder::listed(&tracker, &content, Manner::default());
    let flags = ["--classic", "--round-every", "0.05"];
    let peer = Program::peer(&tracker, &dir.dir("a"), &flags);
    peer.until_event("complete", |_| true);
    let picks = peer.events("pick");
    let had_choice = |pick: &&Value| pick["holders"].as_array().is_some_and(|all| all.len() == 2);
    let chosen = |holder: &Holder| {
        let choices = picks.iter().filter(had_choice);
        choices.filter(|pick| pick["peer"] == holder.addr()).count()
    };
    assert!(chosen(&first) > 0 && chosen(&second) > 0, "{picks:?}");
    assert!(!first.gets().is_empty() && !second.gets().is_empty());
}

#[test]
fn f4_between_two_rounds_nothing_is_asked_for() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 16, 12);
    let holder = Holder::publisher(&tracker, &content, Manner::default());
    let flags = ["--classic", "--round-every", NEVER, "--ping-every", "0.1"];
    let peer = Program::peer(&tracker, &dir.dir("a"), &flags);
    peer.until_event("begin", |_| true);
    let lists = peer.events("list").len();
    until("five more lists", || {
        (peer.events("list").len() >= lists + 5).then_some(())
    });
    // one round, at the start: it may have had a list already
    assert!(holder.gets().len() <= 1, "{:?}", holder.gets());
}

#[test]
fn f5_a_complete_peer_stops_asking_and_goes_on_listing_and_serving() {
    for classic in [false, true] {
        let dir = Temp::new();
        let notebook = Notebook::start();
        let content = Content::new("image.iso", 4, 13);
        let holder = Holder::start(&content, Manner::default());
        notebook.list(&holder);
        let mut flags = vec!["--list-every", "0.2", "--ping-every", "0.2"];
        flags.extend(["--round-every", "0.1"]);
        flags.extend(classic.then_some("--classic"));
        let peer = notebook.peer(&dir.dir("a"), &flags);
        peer.until_event("complete", |_| true);
        let asked = (holder.gets(), holder.connections());
        notebook.until_more(4, "ping");
        notebook.until_more(4, "file_list");
        let last = notebook.told("file_list").pop().expect("four");
        assert_eq!(last["files"], json!(["image.iso"]));
        assert_eq!((holder.gets(), holder.connections()), asked);
        assert_eq!(get_piece(peer.port(), &content, 2), content.piece(2));
    }
}

#[test]
fn f5_a_tracker_that_lost_everything_has_it_again() {
    let dir = Temp::new();
    let content = Content::new("image.iso", 4, 14);
    let mut first = tracker(&dir);
    let holder = Holder::publisher(&first, &content, Manner::default());
    let peer = Program::peer(&first, &dir.dir("a"), &[]);
    peer.until_event("complete", |_| true);
    let port = first.port().to_string();
    first.kill();
    drop(holder);
    let torrents = dir.dir("torrents2");
    let args = [
        "--port",
        &port,
        "--torrents",
        torrents.to_str().expect("UTF-8"),
    ];
    let second = Program::start("server", &args);
    until("the tracker's list with the file", || {
        let entry = entry_of(&ping(&second, 50001), peer.port())?;
        (entry["file_list"] == json!(["image.iso"])).then_some(())
    });
    let get = json!({"msg": "get_torrent", "name": "image.iso"});
    let md5 = content.torrent.md5().to_string();
    until("the .torrent", || {
        (tell(&second, &get)["torrent"]["md5"] == md5).then_some(())
    });
}

#[test]
fn f6_the_tracker_holds_no_part_of_any_file() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let content = Content::new("image.iso", 16, 15);
    let _seed = seed(&tracker, &dir.dir("a"), &content, &[]);
    let leecher = Program::peer(&tracker, &dir.dir("b"), &[]);
    leecher.until_event("complete", |_| true);

    let kept: Vec<PathBuf> = fs::read_dir(dir.dir("torrents"))
        .expect("the tracker's folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(kept, [dir.path().join("torrents/image.iso.torrent")]);
    let bytes = fs::read(&kept[0]).expect("the .torrent");
    let torrent: Torrent = serde_json::from_slice(&bytes).expect("JSON");
    assert!(torrent.same_content(&content.torrent));
    // an MD5 state is 32 digits of it: nothing else comes near a block's length
    assert!(bytes.len() < content.bytes.len() / 100, "{}", bytes.len());

    for name in ["image.iso", "image.iso.part0001"] {
        let answer = ask_at(tracker.addr(), &json!({"filename": name}).to_string());
        let answer: Value = serde_json::from_slice(&answer).expect("a refusal in JSON");
        assert!(answer["error"].is_string(), "{answer}");
    }
}

#[test]
fn f7_there_is_no_limit_on_the_number_of_peers() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &NO_SWEEP);
    let ports: BTreeSet<u64> = (20_000..20_600).collect();
    for port in &ports {
        tell(&tracker, &json!({"msg": "ping", "port": port}));
    }
    // one answer names some of a large swarm, at random; nobody is left out for good
    let mut listed = BTreeSet::new();
    until("all 600 peers", || {
        let list = ping(&tracker, 50001);
        let peers = list["peers"].as_array().expect("a list");
        assert!(peers.len() >= 2);
        listed.extend(peers.iter().filter_map(|peer| peer["port"].as_u64()));
        (listed == ports).then_some(())
    });
}

#[test]
fn f8_who_went_away_is_off_the_list_at_the_second_sweep() {
    let from = Endpoints {
        peer: Ipv4Addr::LOCALHOST.into(),
        own: Ipv4Addr::LOCALHOST.into(),
    };
    // its last message, after so many sweeps
    for after in 0..3 {
        let mut roster = Roster::new(Reachability::Local);
        roster.append_client(from, 1, Some(1)).expect("a ping");
        for _ in 0..after {
            roster.update_peer_list();
            roster.append_client(from, 1, Some(1)).expect("a ping");
        }
        roster.update_peer_list();
        roster.update_peer_list();
        assert_eq!(roster.n_peers(), 0);
    }
}

#[test]
fn f8_a_killed_peer_is_off_the_list_at_the_second_sweep() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &["--sweep-every", "0.4"]);
    let mut round = 0;
    // its last message may be noted just as a sweep ends; then another peer shows it
    until("a peer that was off at the second sweep", || {
        round += 1;
        let mut peer = Program::peer(&tracker, &dir.dir(&format!("{round}")), &[]);
        let addr = format!("127.0.0.1:{}", peer.port());
        peer.until_event("list_sent", |_| true);
        peer.kill();
        let gone = |line: &String| line.contains("gone: ") && line.contains(&addr);
        until("its removal", || {
            tracker.lines().iter().any(gone).then_some(())
        });
        assert!(entry_of(&ping(&tracker, 50001), peer.port()).is_none());
        let lines = tracker.lines();
        let last = lines
            .iter()
            .rposition(|line| line.contains(&format!("from {addr}")));
        let end = lines.iter().position(gone).expect("it was there");
        let lines = &lines[last.expect("its messages")..=end];
        let n_sweeps = lines.iter().filter(|line| line.contains("sweep: ")).count();
        (n_sweeps <= 2).then_some(())
    });
}

/// The addresses of this machine's own network that there are.
fn loopbacks(port: u16) -> Vec<SocketAddr> {
    let v6: IpAddr = Ipv6Addr::LOCALHOST.into();
    let both = [Ipv4Addr::LOCALHOST.into(), v6];
    let there = both
        .into_iter()
        .filter(|ip| TcpListener::bind((*ip, 0)).is_ok());
    there.map(|ip| SocketAddr::new(ip, port)).collect()
}

#[test]
fn f9_many_peers_on_one_ip_are_told_apart_by_port() {
    for mode in [&["--remote"][..], &[]] {
        for v in [json!({}), json!({"v": 1})] {
            let dir = Temp::new();
            let flags = [mode, &NO_SWEEP].concat();
            let tracker = Program::tracker(&dir.dir("torrents"), &flags);
            for port in [50001, 50002, 50001, 50003] {
                let mut ping = json!({"msg": "ping", "port": port});
                let members = ping.as_object_mut().expect("an object");
                members.extend(v.as_object().expect("an object").clone());
                tell(&tracker, &ping);
            }
            let list = ping(&tracker, 50009);
            let ports = list["peers"].as_array().expect("a list").iter();
            let mut ports: Vec<u64> = ports.filter_map(|peer| peer["port"].as_u64()).collect();
            ports.sort_unstable();
            assert_eq!(ports, [50001, 50002, 50003], "{flags:?} {v}");
        }
    }
}

#[test]
fn f9_with_remote_they_are_told_apart_by_ip_and_port() {
    for (remote, v) in [
        (false, None),
        (false, Some(1)),
        (true, None),
        (true, Some(1)),
    ] {
        let dir = Temp::new();
        let flags: Vec<&str> = remote
            .then_some("--remote")
            .into_iter()
            .chain(NO_SWEEP)
            .collect();
        let tracker = Program::tracker(&dir.dir("torrents"), &flags);
        let ips = loopbacks(tracker.port());
        for at in &ips {
            let mut ping = json!({"msg": "ping", "port": 50001});
            if let Some(v) = v {
                ping["v"] = json!(v);
            }
            tell_at(*at, &ping);
        }
        let list = ping(&tracker, 50009);
        let n_peers = list["peers"].as_array().expect("a list").len();
        assert_eq!(n_peers, if remote { ips.len() } else { 1 }, "{list}");
    }
}

/// Runs a copy of run_local.sh in a folder of its own, with the programs that stand here already in the place of a build.
fn run_local(dir: &Temp, args: &[&str]) -> (PathBuf, Output) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (here, bin, shims) = (dir.dir("copy"), dir.dir("target/debug"), dir.dir("shims"));
    fs::copy(root.join("run_local.sh"), here.join("run_local.sh")).expect("run_local.sh");
    symlink(env!("CARGO_BIN_EXE_server"), bin.join("server")).expect("a link");
    symlink(env!("CARGO_BIN_EXE_client"), bin.join("client")).expect("a link");
    let cargo = shims.join("cargo");
    fs::write(&cargo, "#!/bin/sh\necho \"$*\" >>cargo-was-called\n").expect("a script");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("a script");
    let path = format!(
        "{}:{}",
        shims.display(),
        std::env::var("PATH").expect("a PATH")
    );
    let mut command = Command::new("bash");
    command
        .arg(here.join("run_local.sh"))
        .args(args)
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", dir.path().join("target"))
        .env("TMUX_TMPDIR", dir.path())
        .env("PORT", silent_port().1.to_string())
        .env("DEADLINE", DEADLINE.as_secs().to_string())
        .env_remove("TMUX")
        .stdin(Stdio::null());
    let output = command.output().expect("bash");
    let called = fs::read_to_string(here.join("cargo-was-called")).unwrap_or_default();
    assert_eq!(called, "build\n", "{output:?}");
    (here.join("local_run"), output)
}

#[test]
fn f10_a_script_sets_up_a_tracker_and_four_peers() {
    let dir = Temp::new();
    let quick = ["headless", "--ping-every", "0.3", "--round-every", "0.3"];
    let (folder, output) = run_local(&dir, &quick);
    let said = String::from_utf8_lossy(&output.stdout);
    let shown = || format!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {}", output.status, shown());
    for who in ["tracker", "peer 1", "peer 2", "peer 3", "peer 4"] {
        let its = |line: &str| line.starts_with(who) && line.contains("listening on port");
        assert!(said.lines().any(its), "{who} in {}", shown());
    }
    assert!(said.contains("All copies are the same."), "{}", shown());

    let contents = |peer: u32| -> BTreeMap<String, Digest> {
        let files = fs::read_dir(folder.join(format!("peer{peer}"))).expect("its folder");
        let paths = files.map(|entry| entry.expect("an entry").path());
        let files = paths.filter(|path| path.is_file());
        let name = |path: &Path| {
            path.file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        };
        files
            .map(|path| (name(&path), md5_of(&path).expect("a file")))
            .collect()
    };
    let first = contents(1);
    assert!(first.contains_key("image.iso"), "{first:?}");
    for peer in 2..=4 {
        assert_eq!(contents(peer), first, "peer {peer}");
    }
    let ignored = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".gitignore"));
    let ignored = ignored.expect("a .gitignore");
    assert!(
        ignored.lines().any(|line| line == "/local_run/"),
        "{ignored}"
    );
}

#[test]
fn f10_each_has_a_pane_of_tmux() {
    let tmux = |dir: &Temp, args: &[&str]| {
        let mut command = Command::new("tmux");
        command
            .args(args)
            .env("TMUX_TMPDIR", dir.path())
            .env_remove("TMUX");
        command.output()
    };
    let dir = Temp::new();
    if tmux(&dir, &["-V"]).is_err() {
        eprintln!("tmux isn't installed: its panes aren't looked at");
        return;
    }
    let (_, output) = run_local(&dir, &["tmux", "--classic"]);
    assert!(output.status.success(), "{output:?}");
    let format = ["list-panes", "-a", "-F", "#{pane_title}"];
    let panes = tmux(&dir, &format).expect("tmux");
    let _ = tmux(&dir, &["kill-server"]);
    let panes = String::from_utf8_lossy(&panes.stdout).into_owned();
    let mut titles: Vec<&str> = panes.lines().map(str::trim).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["peer 1", "peer 2", "peer 3", "peer 4", "tracker"]);
}

// ---- prototype-network-p2p ----

#[test]
fn p1_the_tracker_stores_a_torrent_with_its_five_fields() {
    let dir = Temp::new();
    let mut tracker = tracker(&dir);
    let content = Content::new("image.iso", 8, 20);
    publish(&tracker, 50001, &content.torrent);
    list_pieces(&tracker, 50002, &content, &[5].into());
    tell(&tracker, &json!({"msg": "ping", "port": 50003}));

    let get = json!({"msg": "get_torrent", "name": "image.iso"});
    let torrent = tell(&tracker, &get)["torrent"].clone();
    let md5 = digest(&content.bytes).to_string();
    let is_right = |torrent: &Value| {
        assert_eq!(torrent["name"], "image.iso");
        assert_eq!(torrent["n_pieces"], 8);
        assert_eq!(torrent["size"], 8 * PIECE);
        assert_eq!(torrent["md5"], md5);
    };
    is_right(&torrent);
    let peers = torrent["peers"].as_array().expect("its peers").iter();
    let mut peers: Vec<String> = peers
        .map(|peer| format!("{}:{}", peer["ip"].as_str().expect("an ip"), peer["port"]))
        .collect();
    peers.sort_unstable();
    assert_eq!(peers, ["127.0.0.1:50001", "127.0.0.1:50002"]);

    // it is on the disk, and is there again after the tracker's end
    let stored = fs::read(dir.path().join("torrents/image.iso.torrent")).expect("a file");
    is_right(&serde_json::from_slice(&stored).expect("JSON"));
    tracker.kill();
    let tracker = Program::tracker(&dir.dir("torrents"), &NO_SWEEP);
    is_right(&tell(&tracker, &get)["torrent"]);
    let unknown = json!({"msg": "get_torrent", "name": "other.iso"});
    assert!(tell(&tracker, &unknown)["error"].is_string());
}

#[test]
fn p2_the_torrent_is_downloaded_first() {
    let dir = Temp::new();
    let notebook = Notebook::start();
    let content = Content::new("image.iso", 4, 21);
    let holder = Holder::start(&content, Manner::default());
    notebook.list(&holder);
    notebook.pages().hold_back = true;
    let peer = notebook.peer(&dir.dir("a"), &["--ping-every", "0.1"]);
    until("a request for the .torrent", || {
        (!notebook.told("get_torrent").is_empty()).then_some(())
    });
    assert_eq!(notebook.told("get_torrent")[0]["name"], "image.iso");
    // it knows the holder by now, and asks it for nothing as long as the .torrent isn't there
    notebook.until_more(20, "ping");
    assert_eq!(holder.gets(), Vec::<Vec<u32>>::new());
    notebook.pages().hold_back = false;
    peer.until_event("complete", |_| true);
    until_content(&dir.path().join("a/image.iso"), &content.bytes);
    assert!(!holder.gets().is_empty());
}

#[test]
fn p3_fewer_blocks_are_taken_from_farther_peers() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 256, 22);
    // another file, which nobody gets, has the peer connect to all of them: it knows the latencies before it has to choose
    let bait = Content::new("bait.iso", 1, 28);
    let none = Manner {
        budget: 0,
        ..Manner::default()
    };
    let _bait = Holder::publisher(&tracker, &bait, none);
    let distances = [0, 10, 40, 120];
    let holders = distances.map(|millis| {
        let away = Duration::from_millis(millis);
        let manner = Manner {
            away,
            ..Manner::default()
        };
        let holder = Holder::start(&content, manner);
        ping(&tracker, holder.port());
        holder
    });
    // long enough for the farthest to have its say
    let peer = Program::peer(&tracker, &dir.dir("a"), &["--max-down", "32M"]);
    until("five connections", || {
        (peer.events("connected").len() == 5).then_some(())
    });
    publish(&tracker, holders[0].port(), &content.torrent);
    for holder in &holders[1..] {
        list_pieces(&tracker, holder.port(), &content, &holder.has);
    }
    let complete = peer.until_event("complete", |_| true);
    until_content(&dir.path().join("a/image.iso"), &content.bytes);

    let shares = complete["shares"].as_array().expect("shares");
    let share = |holder: &Holder| {
        let share = shares.iter().find(|share| share["peer"] == holder.addr());
        let share = share.unwrap_or_else(|| panic!("{} in {complete}", holder.addr()));
        let latency = share["latency_ms"].as_f64().expect("a latency");
        (latency, share["pieces"].as_u64().expect("a number"))
    };
    let shares = holders.each_ref().map(share);
    let (latencies, blocks) = (shares.map(|share| share.0), shares.map(|share| share.1));
    assert!(latencies.is_sorted(), "{shares:?}");
    assert!(
        latencies
            .iter()
            .zip(distances)
            .all(|(latency, away)| *latency >= away as f64)
    );
    assert!(
        blocks.windows(2).all(|pair| pair[0] > pair[1]),
        "{shares:?}"
    );
    assert_eq!(blocks.iter().sum::<u64>(), 256);

    // and that is decided, not only so because the far ones are slow: by the chances, and by the requests under way
    let of = |addr: &Value| holders.iter().position(|holder| *addr == holder.addr());
    let of_image = |pick: &Value| pick["name"] == "image.iso";
    let mut compared = 0;
    for pick in peer.events("pick").into_iter().filter(of_image) {
        let chances = pick["holders"].as_array().expect("holders").iter();
        let weights = chances.map(|chance| {
            let latency = latencies[of(&chance["peer"]).expect("a holder")].max(2.0);
            chance["chance"].as_f64().expect("a chance") * latency
        });
        let weights: Vec<f64> = weights.collect();
        compared += usize::from(weights.len() > 1);
        let same = |pair: &[f64]| (pair[0] / pair[1] - 1.0).abs() < 0.01;
        assert!(weights.windows(2).all(same), "chance × latency: {pick}");
    }
    assert!(compared > 0, "there was never a choice");
    for (holder, latency) in holders.iter().zip(latencies) {
        let most = if latency > 8.0 * latencies[0].max(2.0) {
            1
        } else {
            2
        };
        let outstanding = holder.seen.outstanding.load(Ordering::SeqCst);
        assert_eq!(outstanding, most, "at {latency} ms");
    }
}

#[test]
fn a_holder_that_waits_for_requests_is_sent_more() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 64, 29);
    let waits = Manner {
        away: Duration::from_millis(20),
        idle_ms: 20,
        ..Manner::default()
    };
    let holder = Holder::publisher(&tracker, &content, waits);
    let peer = Program::peer(&tracker, &dir.dir("a"), &[]);
    peer.until_event("complete", |_| true);
    let outstanding = holder.seen.outstanding.load(Ordering::SeqCst);
    assert!(outstanding > 4, "{outstanding} requests at most");
}

#[test]
fn p4_a_corrupt_piece_is_not_taken() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 4, 23);
    let corrupt = Manner {
        corrupt: true,
        ..Manner::default()
    };
    let bad = Holder::publisher(&tracker, &content, corrupt);
    let mut peer = Program::peer(&tracker, &dir.dir("a"), &["--exit-when-complete"]);
    for idx in 0..4 {
        let event = peer.until_event("bad_piece", |event| event["idx"] == idx);
        assert_eq!(event["peer"], bad.addr());
    }
    let path = dir.path().join("a/image.iso");
    assert!(!path.exists() && peer.is_running());

    let good = Holder::listed(&tracker, &content, Manner::default());
    let status = peer.until_ended();
    assert!(status.success(), "{status}: {peer:?}");
    assert_eq!(md5_of(&path), Some(content.torrent.md5()));
    assert!(came(&peer).iter().all(|(_, from)| *from == good.addr()));
    // a bad copy isn't asked for again before the tracker says anew that it is there
    let (bad, lists) = (peer.events("bad_piece").len(), peer.events("list").len());
    assert!(bad <= 4 * (lists + 1), "{bad} bad pieces, {lists} lists");
}

#[test]
fn p4_what_has_another_md5_than_the_torrent_never_enters_the_folder() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let true_one = Content::new("image.iso", 4, 24);
    // all blocks fit the list, but what comes out in the end isn't what the .torrent says
    let mut wire = serde_json::to_value(&true_one.torrent).expect("JSON");
    wire["md5"] = json!(digest(b"something else"));
    let torrent: Torrent = serde_json::from_value(wire).expect("a .torrent");
    let wrong = Arc::new(Content {
        bytes: true_one.bytes.clone(),
        torrent,
    });
    let _first = Holder::publisher(&tracker, &wrong, Manner::default());
    let _second = Holder::listed(&tracker, &wrong, Manner::default());
    let flags = ["--only", "image.iso", "--exit-when-complete"];
    let mut peer = Program::peer(&tracker, &dir.dir("a"), &flags);
    peer.until_event("publisher_faulty", |event| event["idx"] == 3);
    peer.until_event("waiting", |event| {
        let why = event["why"].as_str();
        why.is_some_and(|why| why.contains("nobody has a correct copy of piece 3"))
    });
    assert!(peer.is_running(), "it waits for a correct one: {peer:?}");
    assert!(!dir.path().join("a/image.iso").exists());
    assert_eq!(peer.events("complete"), Vec::<Value>::new());
}

#[test]
fn p5_when_a_source_is_killed_another_one_continues_where_it_stopped() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 32, 25);
    // a piece takes it a quarter of a second: it has to be killed in the middle
    let mut source = seed(&tracker, &dir.dir("a"), &content, &["--max-up", "256K"]);
    let peer = Program::peer(&tracker, &dir.dir("b"), &[]);
    until("some pieces", || (came(&peer).len() >= 3).then_some(()));
    source.kill();
    peer.until_event("lost", |_| true);
    let before: BTreeSet<u32> = came(&peer).iter().map(|(idx, _)| *idx).collect();
    assert!(before.len() < 32 && !dir.path().join("b/image.iso").exists());

    let other = Holder::listed(&tracker, &content, Manner::default());
    let complete = peer.until_event("complete", |_| true);
    until_content(&dir.path().join("b/image.iso"), &content.bytes);
    assert_eq!(complete["md5"], content.torrent.md5().to_string());
    let all = came(&peer);
    assert_eq!(all.len(), 32, "each piece came once: {all:?}");
    let asked: BTreeSet<u32> = other.gets().into_iter().flatten().collect();
    assert!(asked.is_disjoint(&before), "{asked:?} after {before:?}");
    let after = |(idx, from): &(u32, String)| before.contains(idx) != (*from == other.addr());
    assert!(all.iter().all(after), "{before:?}, then {all:?}");
}

#[test]
fn p5_and_so_on_until_it_is_whole() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 16, 26);
    let peer = Program::peer(&tracker, &dir.dir("a"), &[]);
    // each of them gives four pieces, and is gone
    for (nth, left) in [12, 8, 4, 0].into_iter().enumerate() {
        let manner = Manner {
            budget: 4,
            ..Manner::default()
        };
        let source = match nth {
            0 => Holder::publisher(&tracker, &content, manner),
            _ => Holder::listed(&tracker, &content, manner),
        };
        until("four more pieces", || {
            (came(&peer).len() == 16 - left).then_some(())
        });
        drop(source);
    }
    until_content(&dir.path().join("a/image.iso"), &content.bytes);
    let idxs: BTreeSet<u32> = came(&peer).iter().map(|(idx, _)| *idx).collect();
    assert_eq!(idxs, content.all());
}

#[test]
fn p6_a_piece_is_served_on_while_the_download_goes_on() {
    let dir = Temp::new();
    let tracker = tracker(&dir);
    let content = Content::new("image.iso", 16, 27);
    // three pieces leave the source, once; whoever else has one has it from who got it
    let three = Manner {
        budget: 3,
        ..Manner::default()
    };
    let _source = Holder::publisher(&tracker, &content, three);
    let first = Program::peer(&tracker, &dir.dir("a"), &[]);
    until("three pieces", || (came(&first).len() == 3).then_some(()));
    let second = Program::peer(&tracker, &dir.dir("b"), &[]);
    until("three pieces", || (came(&second).len() == 3).then_some(()));
    let addr = format!("127.0.0.1:{}", first.port());
    assert!(came(&second).iter().all(|(_, from)| *from == addr));
    let idxs =
        |peer: &Program| -> BTreeSet<u32> { came(peer).iter().map(|(idx, _)| *idx).collect() };
    assert_eq!(idxs(&first), idxs(&second));
    assert!(first.events("complete").is_empty());

    let _other = Holder::listed(&tracker, &content, Manner::default());
    for (name, peer) in [("a", &first), ("b", &second)] {
        peer.until_event("complete", |_| true);
        until_content(&dir.path().join(name).join("image.iso"), &content.bytes);
    }
}
