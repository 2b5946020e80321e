//! Floods, against the real programs on loopback: thousands of connections, a descriptor table or an address space that is
//! full, garbage, and peers that ask for everything and take nothing. Meanwhile who is honest is served.
//!
//! What is open at a time stays within the descriptors that the tests themselves have.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use bittorrentish::md5::{INITIAL, digest};
use bittorrentish::protocol::{Answer, Ask, PEER_CAP, read_message, to_bytes};
use bittorrentish::torrent::{Name, Torrent};
use serde_json::{Value, json};

use super::lab::lab;
use super::process;
use super::support::{
    DEADLINE, Program, Temp, plant, publish_message, random_bytes, torrent_of, until, until_content,
};

/// The longest that an honest request may wait in a flood. Less than the 10 s after which who is silent is closed anyway,
/// and far more than it takes, as the machine may be busy.
const SOON: Duration = Duration::from_secs(8);
/// Threads of a peer beside those that serve connections: its timers and workers, and some to spare.
const OTHER_THREADS: u64 = 16;
/// Threads that a peer keeps for the next connections.
const IDLE_THREADS: u64 = 2;
/// Connections that a peer serves at once.
const UPLOADS: u64 = 256;
/// Connections that a program serves before it gets no more threads: it keeps some of theirs, and the system keeps the stacks
/// of the others for new ones. On a busy machine threads end late, and there are more of them, but never twice as many.
const WARM: u64 = 8;
/// Room in which no stack of a thread fits, KiB, as it has 512 and a page before it. There must be some: a thread whose stack is
/// there already ends its program if it finds none for its signals.
const ROOM: u64 = 510;
/// The most memory of a peer, KiB: 256 connections with a stride of 256 KiB each, and as much again for all the rest.
const MEMORY: u64 = 128 << 10;

/// One flood at a time, so that those of one process fit its descriptors.
fn alone() -> MutexGuard<'static, ()> {
    static FLOODS: Mutex<()> = Mutex::new(());
    FLOODS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number in the system's account of a program: its threads, or its memory in KiB.
#[track_caller]
fn status(program: &Program, key: &str) -> u64 {
    let value = process::status(program.id(), key);
    value.unwrap_or_else(|| panic!("no {key} of {program:?}"))
}

/// Watches a program for a second in which it has nothing to do.
#[track_caller]
fn does_not_spin(program: &Program) {
    let cpu_time = || process::cpu_time(program.id()).expect("/proc tells it");
    let before = cpu_time();
    let watched = Instant::now();
    // not a wait for something, but the time in which it should do nothing
    thread::sleep(Duration::from_secs(1));
    let used = cpu_time() - before;
    assert!(used < watched.elapsed() / 4, "it spins: {used:?} of CPU");
}

/// How many lines with this in them it has printed.
fn count_lines(program: &Program, text: &str) -> usize {
    let lines = program.lines();
    lines.iter().filter(|line| line.contains(text)).count()
}

/// Sends bytes, says that no more come, and reads up to the close; a close before the bytes were taken is one, too.
fn answer_to(at: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&at, SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    let mut answer = Vec::new();
    let asked = stream
        .write_all(bytes)
        .and_then(|()| stream.shutdown(Shutdown::Write))
        .and_then(|()| stream.read_to_end(&mut answer));
    match asked {
        Err(fault)
            if !matches!(
                fault.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::NotConnected
            ) =>
        {
            Err(fault)
        }
        _ => Ok(answer),
    }
}

/// An honest announce, which is answered soon.
#[track_caller]
fn announce(tracker: &Program) {
    let asked = Instant::now();
    let ping = json!({"port": 50001, "msg": "ping", "v": 1});
    let answer = answer_to(tracker.addr(), &to_bytes(&ping)).expect("an answer");
    let list: Value = serde_json::from_slice(&answer).expect("a list");
    assert!(list["peers"].is_array(), "{list}");
    assert!(asked.elapsed() < SOON, "after {:?}", asked.elapsed());
}

/// Connections on which nothing is said.
fn silent(at: SocketAddr, n: usize) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect_timeout(&at, SOON).expect("it listens");
    (0..n).map(connect).collect()
}

// ---- the tracker

#[test]
fn ten_thousand_connections_hold_up_no_announce() {
    const THREADS: usize = 8;
    const AT_ONCE: usize = 40;
    const ROUNDS: usize = 32;
    let _alone = alone();
    let dir = Temp::new();
    let mut tracker = Program::tracker(dir.path(), &["--quiet"]);
    let at = tracker.addr();
    let made = AtomicUsize::new(0);
    // by turns they leave at once, and are silent until all of the round are there
    let flood = || {
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                (0..AT_ONCE).for_each(|_| drop(silent(at, 1)));
            } else {
                drop(silent(at, AT_ONCE));
            }
            made.fetch_add(AT_ONCE, Ordering::SeqCst);
        }
    };
    thread::scope(|scope| {
        let floods: Vec<_> = (0..THREADS).map(|_| scope.spawn(flood)).collect();
        while !floods.iter().all(ScopedJoinHandle::is_finished) {
            announce(&tracker);
            thread::sleep(Duration::from_millis(5));
        }
    });
    announce(&tracker);
    assert!(made.load(Ordering::SeqCst) >= 10_000);
    assert!(tracker.is_running());
    until("the threads of the flood to end", || {
        (status(&tracker, "Threads") <= IDLE_THREADS + OTHER_THREADS).then_some(())
    });
}

/// A `.torrent` of over 8 MiB: more than the system keeps for who doesn't read.
fn long_torrent() -> Torrent {
    let size = 300_000 << 12;
    let checkpoints = vec![INITIAL; 300_000];
    let name = Name::parse("image.iso").expect("a name");
    let image = Torrent::new(name, size, 64 << 10, digest(b"any"), checkpoints);
    image.expect("a .torrent")
}

fn publish(at: SocketAddr, torrent: Torrent) {
    let taken = answer_to(at, &to_bytes(&publish_message(1, torrent)));
    let taken = String::from_utf8(taken.expect("an answer")).expect("JSON");
    assert!(taken.contains(r#""is":"stands""#), "{taken}");
}

/// More connections than the tracker has at a time, 512.
const FLOOD: usize = 560;

#[test]
fn a_flood_from_one_machine_leaves_another_served() {
    let _alone = alone();
    let Some(lab) = lab(2) else { return };
    let dir = Temp::new();
    let torrents = dir.dir("torrents");
    let torrents = torrents.to_str().expect("UTF-8");
    let tracker = lab.start(
        0,
        "server",
        &["--remote", "--torrents", torrents, "--quiet"],
    );
    let at = SocketAddr::from((lab.addr(0), tracker.port()));
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        // for each that the tracker gives up on, others come; some may find its queue full
        let flood = || {
            let (begun, mut open) = (Instant::now(), VecDeque::new());
            while !ended.load(Ordering::SeqCst) && begun.elapsed() < 3 * DEADLINE {
                open.extend((0..20).filter_map(|_| TcpStream::connect_timeout(&at, SOON).ok()));
                if open.len() > FLOOD {
                    open.drain(..open.len() - FLOOD);
                    thread::sleep(Duration::from_millis(50));
                }
            }
        };
        let flood = scope.spawn(flood);
        until("a full tracker", || {
            (status(&tracker, "Threads") >= 512).then_some(())
        });
        let (folder, ip, port) = (dir.dir("other"), at.ip().to_string(), at.port().to_string());
        let folder = folder.to_str().expect("UTF-8");
        let other = lab.start(1, "client", &[&ip, &port, folder]);
        other.until_line("ping → ");
        assert!(status(&tracker, "Threads") >= 512, "while the flood lasts");
        assert_eq!(count_lines(&other, "no list from"), 0, "{other:?}");
        ended.store(true, Ordering::SeqCst);
        flood.join().expect("no panic");
    });
}

#[test]
fn who_asks_for_long_torrents_and_takes_none_fills_no_memory() {
    let _alone = alone();
    let dir = Temp::new();
    let tracker = Program::tracker(dir.path(), &["--quiet"]);
    let at = tracker.addr();
    publish(at, long_torrent());
    let asks = br#"{"msg": "get_torrent", "name": "image.iso"}"#;
    let mut flood = silent(at, FLOOD);
    for stream in &mut flood {
        let _ = stream.write_all(asks);
    }
    // four at a time, of some 30 MiB each with what they are made of; all at once they would be over 5 GiB
    for _ in 0..20 {
        announce(&tracker);
        thread::sleep(Duration::from_millis(100));
    }
    let peak = status(&tracker, "VmHWM");
    assert!(peak < 400 << 10, "{peak} KiB");
    let busy = flood.iter().any(|mut stream| {
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        let mut answer = [0; 100];
        let len = stream.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..len]).contains("busy, try again")
    });
    assert!(busy, "who waits in vain is told so");
    drop(flood);
    until("the .torrent, once the flood is over", || {
        let answer = answer_to(at, asks).ok()?;
        (answer.len() > 8 << 20).then_some(())
    });
}

/// Each would take 45 MiB while it is parsed. The C library keeps what was freed for the threads of one arena, of which it makes
/// one here: what it keeps isn't what is measured.
#[test]
fn long_messages_that_end_at_once_fill_no_memory() {
    let _alone = alone();
    let dir = Temp::new();
    let torrents = dir.path().to_str().expect("UTF-8");
    let args = ["--port", "0", "--torrents", torrents, "--quiet"];
    let tracker = Program::start_by(&["env", "MALLOC_ARENA_MAX=1"], "server", &args);
    let nested = format!("{}0{}", r#"{"":"#.repeat(100), "}".repeat(100));
    let values = vec![nested; 2000].join(",");
    let long = format!(r#"{{"msg": "file_list", "port": "x", "z": [{values}]}}"#);
    let (last, first) = long.as_bytes().split_last().expect("a message");
    let at = tracker.addr();
    let send = |mut stream: TcpStream| stream.write_all(first).map(|()| stream);
    let begun: Vec<TcpStream> = thread::scope(|scope| {
        let sends = silent(at, 24)
            .into_iter()
            .map(|stream| scope.spawn(move || send(stream)));
        let sends: Vec<_> = sends.collect();
        let sent = sends
            .into_iter()
            .map(|sends| sends.join().expect("no panic"));
        sent.map(|stream| stream.expect("it reads")).collect()
    });
    for mut stream in &begun {
        stream.write_all(&[*last]).expect("it reads");
    }
    for mut stream in begun {
        let mut answer = String::new();
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains(r#"expected \"port\""#), "{answer}");
    }
    announce(&tracker);
    let peak = status(&tracker, "VmHWM");
    assert!(peak < 400 << 10, "{peak} KiB");
}

#[test]
fn a_tracker_without_descriptors_says_so_once_and_serves_on() {
    let _alone = alone();
    let dir = Temp::new();
    let torrents = dir.path().to_str().expect("UTF-8");
    let by = ["sh", "-c", r#"ulimit -n 64; exec "$0" "$@""#];
    let args = ["--port", "0", "--torrents", torrents];
    let mut tracker = Program::start_by(&by, "server", &args);
    let trouble = "can't accept connections";
    let held = silent(tracker.addr(), 100);
    tracker.until_line(trouble);
    announce(&tracker);
    does_not_spin(&tracker);
    drop(held);
    announce(&tracker);
    assert_eq!(count_lines(&tracker, trouble), 1, "{tracker:?}");
    assert!(tracker.is_running());
}

/// Leaves a running program so little room in its address space that no stack of a thread fits, or all of it again. False
/// where the system has no `prlimit`.
fn leave_room(program: &Program, kib: Option<u64>) -> bool {
    // a thread that starts takes 128 MiB of addresses for its heap, and gives half of them back; one that ends gives back all
    let look = |_| {
        thread::sleep(Duration::from_millis(10));
        status(program, "VmSize")
    };
    let soft = kib.map_or("unlimited".to_owned(), |kib| {
        let least = (0..20).map(look).min().expect("twenty looks");
        ((least + kib) << 10).to_string()
    });
    let id = program.id().to_string();
    let limited = Command::new("prlimit")
        .args(["--pid", &id, &format!("--as={soft}:")])
        .status();
    match limited {
        Ok(done) => done.success(),
        Err(_) => {
            eprintln!("left out: there is no `prlimit` here");
            false
        }
    }
}

#[test]
fn a_tracker_without_more_threads_serves_on() {
    let _alone = alone();
    let dir = Temp::new();
    let mut tracker = Program::tracker(dir.path(), &[]);
    announce(&tracker);
    let at_first = status(&tracker, "Threads");
    let warm = silent(tracker.addr(), WARM as usize);
    until("more threads than at first", || {
        (status(&tracker, "Threads") >= at_first + 4).then_some(())
    });
    drop(warm);
    announce(&tracker);
    if !leave_room(&tracker, Some(ROOM)) {
        return;
    }
    let held = silent(tracker.addr(), 40);
    let trouble = "can't accept connections";
    tracker.until_line(trouble);
    (0..5).for_each(|_| announce(&tracker));
    let threads = status(&tracker, "Threads");
    assert!(
        threads <= at_first + 2 * WARM,
        "{threads} threads: {tracker:?}"
    );
    assert_eq!(count_lines(&tracker, trouble), 1, "{tracker:?}");
    assert!(leave_room(&tracker, None));
    let more = silent(tracker.addr(), 40);
    until("more threads once there is room", || {
        (status(&tracker, "Threads") >= at_first + 20).then_some(())
    });
    announce(&tracker);
    assert!(tracker.is_running());
    drop((held, more));
}

#[test]
fn garbage_does_not_cost_the_next_announce_its_answer() {
    let _alone = alone();
    let dir = Temp::new();
    let mut tracker = Program::tracker(dir.path(), &[]);
    let long = |start: &[u8], byte: u8, n: usize| [start, &vec![byte; n]].concat();
    let of = |text: &str| text.as_bytes().to_vec();
    let torrent = serde_json::to_value(torrent_of("x", &[1; 1000])).expect("JSON");
    let changed = |key: &str, to: Value| {
        let mut torrent = torrent.clone();
        torrent[key] = to;
        to_bytes(&json!({"msg": "publish", "port": 1, "torrent": torrent}))
    };
    let digits = "9".repeat(500);
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "a number of 500 digits",
            of(&format!(r#"{{"msg": "ping", "port": {digits}}}"#)),
        ),
        (
            "a number beyond floats",
            of(r#"{"msg": "ping", "port": 1e999999}"#),
        ),
        (
            "a version beyond versions",
            of(r#"{"msg": "ping", "port": 1, "v": 4294967296}"#),
        ),
        (
            "a negative version",
            of(r#"{"msg": "ping", "port": 1, "v": -1}"#),
        ),
        ("10,000 brackets", long(b"", b'[', 10_000)),
        (
            "10,000 brackets in an object",
            long(br#"{"msg": "ping", "port": "#, b'[', 10_000),
        ),
        ("10,000 objects", br#"{"a":"#.repeat(10_000)),
        ("two ports", of(r#"{"msg": "ping", "port": 1, "port": 2}"#)),
        (
            "two messages",
            of(r#"{"msg": "ping", "msg": "ping", "port": 2}"#),
        ),
        (
            "no UTF-8 in a name",
            b"{\"msg\": \"file_list\", \"port\": 1, \"files\": [\"\xc3\x28\"]}".to_vec(),
        ),
        (
            "half a surrogate",
            of(r#"{"msg": "file_list", "port": 1, "files": ["\ud800"]}"#),
        ),
        (
            "a megabyte of a string",
            long(br#"{"msg": ""#, b'x', 1 << 20),
        ),
        ("a megabyte of blanks", long(b"", b' ', 1 << 20)),
        (
            "two megabytes of digits",
            long(br#"{"msg": "ping", "port": "#, b'9', 2 << 20),
        ),
        ("NULs", vec![0; 1000]),
        (
            "NULs in an object",
            of("{\"msg\": \0\"ping\", \"port\": 1}"),
        ),
        ("NULs in a string", of("{\"msg\": \"pi\0ng\", \"port\": 1}")),
        (
            "a byte order mark",
            of("\u{feff}{\"msg\": \"ping\", \"port\": 1}"),
        ),
        ("half a message", of(r#"{"msg": "ping", "po"#)),
        ("nothing", Vec::new()),
    ];
    let wrong = [
        "-1", "1.5", "1e2", "null", "true", "[]", "{}", "[1]", r#""1""#,
    ];
    for value in wrong {
        let port = format!(r#"{{"msg": "ping", "v": 1, "port": {value}}}"#);
        cases.push(("a port that is none", of(&port)));
    }
    for value in ["-1", "1.5", "null", "true", "[]", "{}"] {
        for message in [
            format!(r#"{{"msg": {value}, "port": 1}}"#),
            format!(r#"{{"msg": "file_list", "port": 1, "files": [{value}]}}"#),
            format!(
                r#"{{"msg": "file_list", "port": 1, "files": [], "pieces": {{"x": {value}}}}}"#
            ),
            format!(r#"{{"msg": "get_torrent", "name": {value}}}"#),
            format!(r#"{{"msg": "publish", "port": 1, "torrent": {value}}}"#),
        ] {
            cases.push(("a wrong type", of(&message)));
        }
    }
    for (key, to) in [
        ("size", json!(-1)),
        ("size", json!(1e300)),
        ("size", json!(u64::MAX)),
        ("n_pieces", json!(u64::MAX)),
        ("n_pieces", json!(0)),
        ("piece_len", json!(0)),
        ("piece_len", json!(0.5)),
        ("md5", json!([])),
        ("md5", json!("zz")),
        ("checkpoints", json!(7)),
        ("name", json!("../x")),
        ("name", json!("nul\0")),
        ("peers", json!("all")),
    ] {
        cases.push(("a .torrent that is none", changed(key, to)));
    }
    for (case, bytes) in &cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
        let answer = answer_to(tracker.addr(), bytes)
            .unwrap_or_else(|fault| panic!("{case}: {shown}: {fault}"));
        if !answer.is_empty() {
            let answer: Value = serde_json::from_slice(&answer)
                .unwrap_or_else(|fault| panic!("{case}: {shown}: {fault}"));
            assert!(answer["error"].is_string(), "{case}: {shown}: {answer}");
        }
        announce(&tracker);
    }
    assert!(tracker.is_running() && count_lines(&tracker, "panicked") == 0);
}

// ---- peers

/// A real tracker, and a real peer that has a file.
struct Swarm {
    dir: Temp,
    tracker: Program,
    content: Vec<u8>,
    torrent: Torrent,
    seed: Program,
}

impl Swarm {
    fn start(len: usize) -> Self {
        let dir = Temp::new();
        let content = random_bytes(len, 11);
        let torrent = torrent_of("image.iso", &content);
        let tracker = Program::tracker(&dir.dir("torrents"), &[]);
        plant(&dir.dir("seed"), "image.iso", &content);
        let seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
        seed.until_line("the tracker has the .torrent of image.iso");
        Self {
            dir,
            tracker,
            content,
            torrent,
            seed,
        }
    }

    /// The seed sends its first piece to somebody who asks for it as originals do, within [`SOON`].
    #[track_caller]
    fn serves_soon(&self) {
        let (asked, at) = (Instant::now(), self.seed.addr());
        let ask = to_bytes(&json!({"filename": "image.iso.part0001"}));
        // who comes in a flood may be turned away, and comes again
        while answer_to(at, &ask).ok().as_deref()
            != Some(&self.content[..self.torrent.piece_len(0)])
        {
            assert!(asked.elapsed() < SOON, "not in {SOON:?}: {:?}", self.seed);
            thread::sleep(Duration::from_millis(20));
        }
        assert!(asked.elapsed() < SOON, "after {:?}", asked.elapsed());
    }

    /// An honest peer takes the whole file.
    #[track_caller]
    fn reaches_a_leecher(&self) {
        let folder = self.dir.dir("leecher");
        let leecher = Program::peer(&self.tracker, &folder, &[]);
        until_content(&folder.join("image.iso"), &self.content);
        drop(leecher);
    }

    /// Looks whether the seed keeps to its bounds, and says how much it uses.
    #[track_caller]
    fn is_within_bounds(&self) {
        let (threads, memory) = (status(&self.seed, "Threads"), status(&self.seed, "VmHWM"));
        eprintln!("the seed has {threads} threads, and had up to {memory} KiB");
        assert!(threads <= UPLOADS + OTHER_THREADS, "{threads} threads");
        assert!(memory <= MEMORY, "{memory} KiB");
    }

    /// Once the flood is over, its threads end, and as many connections as before are served at once.
    #[track_caller]
    fn is_as_before(&mut self) {
        until("the threads of the flood to end", || {
            (status(&self.seed, "Threads") <= IDLE_THREADS + OTHER_THREADS).then_some(())
        });
        let n = UPLOADS as usize - 56;
        let served: Vec<TcpStream> = (0..n).map(|_| greet(self.seed.addr())).collect();
        self.is_within_bounds();
        drop(served);
        assert!(self.seed.is_running() && count_lines(&self.seed, "panicked") == 0);
    }
}

/// A connection on which both have said hello.
#[track_caller]
fn greet(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&at, SOON).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.write_all(&hello_of("flood")).expect("it reads");
    // an answer ends with its last byte, and nothing follows it unasked
    let mut reader = BufReader::new(&stream);
    let answer = read_message::<Answer>(&mut reader, PEER_CAP).expect("an answer");
    assert!(matches!(answer, Some(Answer::Hello(_))), "{answer:?}");
    stream
}

fn hello_of(id: &str) -> Vec<u8> {
    to_bytes(&json!({"msg": "hello", "v": 1, "id": id, "port": 1, "have": []}))
}

/// How many connections a flood may have open: 2,000, or half of what this process may have open.
fn room_for_a_flood() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("/proc");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .expect("the limit");
    let soft = line.split_whitespace().next().expect("the limit");
    let room = soft.parse().map_or(2000, |soft: usize| 2000.min(soft / 2));
    eprintln!("{room} silent connections at a time");
    room
}

#[test]
fn two_thousand_silent_connections_hold_up_no_leecher() {
    const THREADS: usize = 2;
    let _alone = alone();
    let mut swarm = Swarm::start(12 << 16);
    let (at, room) = (swarm.seed.addr(), room_for_a_flood());
    let (over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    // it goes on as long as the test needs it: the oldest make room for new ones
    let flood = || {
        let mut held = VecDeque::new();
        while !over.load(Ordering::SeqCst) {
            if let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_secs(1)) {
                made.fetch_add(1, Ordering::SeqCst);
                held.push_back(stream);
            }
            if held.len() > room / THREADS {
                held.pop_front();
            }
            thread::sleep(Duration::from_millis(2));
        }
    };
    thread::scope(|scope| {
        // ends the flood where the test fails, too
        let ended = Over(&over);
        (0..THREADS).for_each(|_| drop(scope.spawn(flood)));
        swarm.seed.until_event("full", |_| true);
        swarm.serves_soon();
        swarm.reaches_a_leecher();
        until("2,000 connections", || {
            (made.load(Ordering::SeqCst) >= 2000).then_some(())
        });
        swarm.serves_soon();
        swarm.is_within_bounds();
        drop(ended);
    });
    assert_eq!(swarm.seed.events("full").len(), 1, "it is said once");
    swarm.is_as_before();
}

/// Says that it is over, on every way out.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_slow_or_resetting_taker_holds_up_no_leecher() {
    let _alone = alone();
    let mut swarm = Swarm::start(64 << 16);
    let (at, over) = (swarm.seed.addr(), AtomicBool::new(false));
    let md5 = swarm.torrent.md5().to_string();
    let get = |n: u32| {
        let pieces = [n % 64];
        to_bytes(
            &json!({"msg": "get", "n": n, "name": "image.iso", "md5": md5, "pieces": pieces, "wait": 0.0}),
        )
    };
    let gets: Vec<u8> = (0..1000).flat_map(get).collect();
    let ask_all = || {
        let mut stream = greet(at);
        stream.write_all(&gets).expect("it reads some");
        stream
    };
    let never: Vec<TcpStream> = (0..8).map(|_| ask_all()).collect();
    let slowly = || {
        let mut stream = ask_all();
        while !over.load(Ordering::SeqCst) && stream.read_exact(&mut [0]).is_ok() {
            thread::sleep(Duration::from_secs(1));
        }
    };
    let reset = || {
        let mut stream = ask_all();
        // what is unread at the close makes it a reset
        stream
            .read_exact(&mut [0; 100_000])
            .expect("a piece and a half");
    };
    thread::scope(|scope| {
        let ended = Over(&over);
        (0..8).for_each(|_| drop(scope.spawn(slowly)));
        (0..50).for_each(|_| reset());
        swarm.serves_soon();
        swarm.reaches_a_leecher();
        swarm.is_within_bounds();
        drop(ended);
    });
    drop(never);
    swarm.is_as_before();
}

/// Who has said something is not closed to make room, so that only time brings a descriptor back.
#[test]
fn a_peer_whose_descriptors_are_all_in_use_waits_for_one() {
    let _alone = alone();
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let folder = dir.dir("seed");
    plant(&folder, "f", b"content");
    let by = ["sh", "-c", r#"ulimit -n 64; exec "$0" "$@""#];
    let port = tracker.port().to_string();
    let args = ["127.0.0.1", &port, folder.to_str().expect("UTF-8")];
    let mut seed = Program::start_by(&by, "client", &args);
    seed.until_line("sharing f");
    let at = seed.addr();
    let hello = hello_of("flood");
    let mut held = silent(at, 100);
    for stream in &mut held {
        // those in the queue are not read, and some may have been closed
        let _ = stream.write_all(&hello);
    }
    let trouble = "no connection can be taken at the moment";
    seed.until_line(trouble);
    does_not_spin(&seed);
    drop(held);
    until("the file", || {
        (answer_to(at, br#"{"filename": "f"}"#).ok()? == b"content").then_some(())
    });
    assert_eq!(count_lines(&seed, trouble), 1, "{seed:?}");
    assert!(seed.is_running());
}

#[test]
fn a_download_goes_on_once_there_are_descriptors_again() {
    let _alone = alone();
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let by = ["sh", "-c", r#"ulimit -n 64; exec "$0" "$@""#];
    let (port, folder) = (tracker.port().to_string(), dir.dir("peer"));
    let folder = folder.to_str().expect("UTF-8");
    let args = ["127.0.0.1", &port, folder, "--exit-when-complete"];
    let mut peer = Program::start_by(&by, "client", &args);
    let at = peer.addr();
    let held = silent(at, 100);
    peer.until_line("Too many open files");
    let seed_dir = dir.dir("seed");
    plant(&seed_dir, "f", b"content");
    let _seed = Program::peer(&tracker, &seed_dir, &[]);
    drop(held);
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
}

#[test]
fn a_peer_without_more_threads_serves_on() {
    let _alone = alone();
    let mut swarm = Swarm::start(12 << 16);
    let at = swarm.seed.addr();
    let at_first = status(&swarm.seed, "Threads");
    let warm: Vec<TcpStream> = (0..WARM).map(|_| greet(at)).collect();
    until("more threads than at first", || {
        (status(&swarm.seed, "Threads") >= at_first + 4).then_some(())
    });
    drop(warm);
    // so that what a piece takes is there already
    (0..20).for_each(|_| swarm.serves_soon());
    if !leave_room(&swarm.seed, Some(ROOM)) {
        return;
    }
    let held = silent(at, 40);
    let trouble = "no connection can be taken at the moment";
    swarm.seed.until_line(trouble);
    (0..5).for_each(|_| swarm.serves_soon());
    swarm.reaches_a_leecher();
    let threads = status(&swarm.seed, "Threads");
    assert!(
        threads <= at_first + 2 * WARM,
        "{threads} threads: {:?}",
        swarm.seed
    );
    assert_eq!(count_lines(&swarm.seed, trouble), 1, "{:?}", swarm.seed);
    assert!(leave_room(&swarm.seed, None));
    drop(held);
    swarm.is_as_before();
}

#[test]
fn a_leecher_without_more_threads_says_so_and_goes_on() {
    let _alone = alone();
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let leecher = Program::peer(&tracker, &dir.dir("leecher"), &[]);
    leecher.until_line("ping → 0 other peers");
    // less than a thread's stack has, and enough for all else
    if !leave_room(&leecher, Some(1500)) {
        return;
    }
    let content = random_bytes(12 << 16, 12);
    plant(&dir.dir("seed"), "image.iso", &content);
    let _seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    leecher.until_line("no thread for the connection");
    assert!(leave_room(&leecher, None));
    until_content(&dir.dir("leecher").join("image.iso"), &content);
}

#[test]
fn who_answers_at_once_without_a_piece_keeps_nobody_busy() {
    let _alone = alone();
    let mut swarm = Swarm::start(12 << 16);
    swarm.seed.kill();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let n_asked = Arc::new(AtomicUsize::new(0));
    let (counts, md5) = (Arc::clone(&n_asked), swarm.torrent.md5().to_string());
    thread::spawn(move || {
        let have = json!([{"name": "image.iso", "md5": md5, "pieces": "all"}]);
        for stream in listener.incoming() {
            let mut stream = stream?;
            let mut reader = BufReader::new(stream.try_clone()?);
            // its connections come one after the other
            while let Some(asked) = read_message::<Ask>(&mut reader, PEER_CAP)? {
                stream.write_all(&to_bytes(&match asked {
                    Ask::Hello(_) => {
                        json!({"msg": "hello", "v": 1, "id": "quick", "port": port, "have": have})
                    }
                    Ask::Get(get) => json!({"msg": "news", "n": get.n, "news": have}),
                }))?;
                counts.fetch_add(1, Ordering::SeqCst);
            }
        }
        io::Result::Ok(())
    });
    let list = json!({"msg": "file_list", "port": port, "v": 1, "files": ["image.iso"]});
    answer_to(swarm.tracker.addr(), &to_bytes(&list)).expect("it is taken");
    let leecher = Program::peer(&swarm.tracker, &swarm.dir.dir("leecher"), &[]);
    until("a hundred requests", || {
        (n_asked.load(Ordering::SeqCst) > 100).then_some(())
    });
    does_not_spin(&leecher);
}

#[test]
fn an_id_without_end_is_refused() {
    let _alone = alone();
    let swarm = Swarm::start(1000);
    let at = swarm.seed.addr();
    let longest = answer_to(at, &hello_of(&"x".repeat(64))).expect("an answer");
    assert!(longest.starts_with(br#"{"msg":"hello""#));
    let longer = answer_to(at, &hello_of(&"x".repeat(65))).expect("a close");
    assert_eq!(longer, b"");
    swarm.seed.until_event("upload_ended", |_| true);
}
