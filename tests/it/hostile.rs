//! Hostile and broken peers and trackers, against the real programs: whatever comes, an honest source completes the file,
//! nothing outside the folder is read or written, and the process goes on serving.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bittorrentish::md5::digest;
use bittorrentish::protocol::{
    Answer, Ask, Get, Hello, LIST_CAP, PEER_CAP, PieceHeader, TORRENT_CAP, read_message, to_bytes,
};
use bittorrentish::torrent::{Name, Torrent};
use serde_json::{Value, json};

use super::support::{
    DEADLINE, Program, Temp, ask, ask_for, plant, random_bytes, torrent_of, until, until_content,
    with_wrong_list,
};

const PIECE: usize = 64 << 10;
const N_PIECES: u32 = 12;

// ---- fakes: what listens, and misbehaves as the test says

/// A listener of which each connection is handled on a thread of its own; its number says which it is.
struct Fake {
    addr: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Fake {
    fn start(handle: impl Fn(TcpStream, usize) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let closed = Arc::new(AtomicBool::new(false));
        let (over, handle) = (Arc::clone(&closed), Arc::new(handle));
        thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (handle, stream) = (Arc::clone(&handle), stream.expect("a connection"));
                // ends with the other end, which is killed with the test at the latest
                thread::spawn(move || handle(stream, n));
            }
        });
        Self { addr, closed }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

/// Reads and answers nothing until the other end closes.
fn be_silent(mut stream: TcpStream) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

fn drip(mut stream: &TcpStream, bytes: &[u8], pause: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    bytes.iter().try_for_each(|byte| {
        thread::sleep(pause);
        stream.write_all(&[*byte])
    })
}

/// What a fake tracker answers, until it is told otherwise. `None` is no answer.
type Script = dyn Fn(&Value, &TcpStream) -> Option<Vec<u8>> + Send + Sync;

/// A tracker that says what the test wants.
struct FakeTracker {
    fake: Fake,
    script: Arc<Mutex<Arc<Script>>>,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl FakeTracker {
    fn start(
        script: impl Fn(&Value, &TcpStream) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let script: Arc<Mutex<Arc<Script>>> = Arc::new(Mutex::new(Arc::new(script)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (now, seen) = (Arc::clone(&script), Arc::clone(&asked));
        let fake = Fake::start(move |stream, _| {
            let message: Option<Value> = read_message(&mut BufReader::new(&stream), TORRENT_CAP)?;
            let Some(message) = message else {
                return Ok(());
            };
            seen.lock().expect("no panic").push(message.clone());
            let script = Arc::clone(&*now.lock().expect("no panic"));
            script(&message, &stream).map_or(Ok(()), |answer| (&stream).write_all(&answer))
        });
        Self {
            fake,
            script,
            asked,
        }
    }

    /// One that lists these peers, each with these files, and hands out the `.torrent`s.
    fn listing(torrents: &[&Torrent], peers: &[SocketAddr]) -> Self {
        Self::start(listing(torrents, peers))
    }

    fn becomes(
        &self,
        script: impl Fn(&Value, &TcpStream) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) {
        *self.script.lock().expect("no panic") = Arc::new(script);
    }

    fn peer(&self, dir: &Temp, name: &str, flags: &[&str]) -> Program {
        Program::peer_at("127.0.0.1", self.fake.addr.port(), &dir.dir(name), flags)
    }

    /// The messages of this kind that came so far.
    fn asked(&self, msg: &str) -> Vec<Value> {
        let asked = self.asked.lock().expect("no panic");
        asked
            .iter()
            .filter(|message| message["msg"] == msg)
            .cloned()
            .collect()
    }
}

fn entry(at: SocketAddr, names: &[&str]) -> Value {
    json!({"ip": at.ip().to_string(), "port": at.port(), "file_list": names, "v": 1})
}

fn summary(torrent: &Torrent) -> Value {
    let (name, md5) = (torrent.name().as_str(), torrent.md5().to_string());
    json!({"name": name, "size": torrent.size(), "md5": md5, "n_pieces": torrent.n_pieces(), "publisher": "127.0.0.1:4"})
}

fn swarm_list(peers: &[Value], torrents: &[Value]) -> Vec<u8> {
    to_bytes(&json!({"v": 1, "local": true, "peers": peers, "torrents": torrents}))
}

fn listing(
    torrents: &[&Torrent],
    peers: &[SocketAddr],
) -> impl Fn(&Value, &TcpStream) -> Option<Vec<u8>> + Send + Sync + use<> {
    let names: Vec<&str> = torrents
        .iter()
        .map(|torrent| torrent.name().as_str())
        .collect();
    let entries: Vec<Value> = peers.iter().map(|peer| entry(*peer, &names)).collect();
    let summaries: Vec<Value> = torrents.iter().map(|torrent| summary(torrent)).collect();
    let list = swarm_list(&entries, &summaries);
    let torrents: Vec<Torrent> = torrents.iter().copied().cloned().collect();
    move |message, _| match message["msg"].as_str() {
        Some("ping") => Some(list.clone()),
        Some("get_torrent") => {
            let torrent = torrents
                .iter()
                .find(|torrent| message["name"] == torrent.name().as_str());
            Some(to_bytes(&json!({"v": 1, "torrent": torrent})))
        }
        Some("publish") => Some(accepting(message)),
        _ => Some(br#"{"v": 1}"#.to_vec()),
    }
}

/// The answer to a publication, all of which is accepted.
fn accepting(message: &Value) -> Vec<u8> {
    let stands = json!({"is": "stands", "mine": true, "published": 1, "publisher": "127.0.0.1:4"});
    let n_files = message["files"].as_array().map_or(0, Vec::len);
    to_bytes(&json!({"v": 1, "files": vec![stands; n_files]}))
}

/// How a peer misbehaves.
#[derive(Clone, Copy, Debug)]
enum Evil {
    /// Bytes that mean nothing, at once.
    Garbage,
    /// Accepts, and says nothing.
    Silent,
    /// Closes at once.
    Closes,
    /// A hello that never ends.
    EndlessHello,
    /// A hello with names that lead out of the folder.
    BadNames,
    /// A hello with pieces that no such file has.
    PiecesBeyond,
    /// Closes after the hello.
    ClosesAfterHello,
    /// A hello, and then silence.
    SilentAfterHello,
    /// Refuses, with words that drive a terminal, and many of them.
    Refuses,
    /// Says that it has everything, and answers each request with no piece.
    Promises,
    /// Says that it has everything, and then that it hasn't.
    Gone,
    /// Answers with something that isn't an answer.
    GarbageForAnswer,
    /// Half the bytes, and a close.
    CutShort,
    /// A piece that wasn't asked for.
    NotAsked,
    /// The right piece under the number of another request.
    OtherNumber,
    /// A length that the piece hasn't.
    Length(u32),
    /// Wrong bytes in one piece, always.
    Corrupt(u32),
    /// Wrong bytes in every piece.
    CorruptAll,
    /// Wrong bytes in every other piece.
    CorruptSometimes,
    /// News of pieces that no such file has, and no piece.
    NewsBeyond,
    /// Nothing: an honest peer, one byte at a time.
    ByteByByte,
}

impl Evil {
    /// What is told of a connection that ended by this; none where it isn't seen to end in time, or needn't.
    fn is_told_as(self) -> Option<&'static str> {
        match self {
            Self::NotAsked | Self::OtherNumber | Self::Length(_) => Some("the answer doesn't fit"),
            Self::GarbageForAnswer => Some("its message isn't understood"),
            Self::CorruptAll => Some("left alone"),
            _ => None,
        }
    }
}

/// A peer of ours that misbehaves. `met` counts how often it came to that.
struct EvilPeer {
    fake: Fake,
    met: Arc<AtomicUsize>,
}

impl EvilPeer {
    fn start(evil: Evil, torrent: &Torrent, content: &[u8]) -> Self {
        let met = Arc::new(AtomicUsize::new(0));
        let (count, torrent, content) = (Arc::clone(&met), torrent.clone(), content.to_vec());
        let fake = Fake::start(move |stream, n| talk(evil, stream, n, &torrent, &content, &count));
        Self { fake, met }
    }

    fn was_met(&self) -> bool {
        self.met.load(Ordering::SeqCst) > 0
    }
}

fn talk(
    evil: Evil,
    mut stream: TcpStream,
    n: usize,
    torrent: &Torrent,
    content: &[u8],
    met: &AtomicUsize,
) -> io::Result<()> {
    let meet = || met.fetch_add(1, Ordering::SeqCst);
    let name = torrent.name().as_str();
    match evil {
        Evil::Garbage => {
            meet();
            stream.write_all(b"\x16\x03\x01\x00\xffHTTP/1.1 400 Bad Request\r\n\r\n")?;
            return be_silent(stream);
        }
        Evil::Silent => {
            meet();
            return be_silent(stream);
        }
        Evil::Closes => {
            meet();
            return Ok(());
        }
        _ => {}
    }
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut n_gets = n; // so that "sometimes" isn't the same in each connection
    loop {
        let asked = match read_message::<Ask>(&mut reader, PEER_CAP)? {
            None => return Ok(()),
            Some(asked) => asked,
        };
        let have = |name: &str, pieces: Value| json!([{"name": name, "md5": torrent.md5().to_string(), "pieces": pieces}]);
        let hello = |have: Value| {
            to_bytes(
                &json!({"msg": "hello", "v": 1, "id": format!("{evil:?}"), "port": 1, "have": have}),
            )
        };
        let get = match (asked, evil) {
            (Ask::Hello(_), Evil::EndlessHello) => {
                meet();
                let mut start = hello(json!([]));
                start.pop();
                stream.write_all(&start)?;
                stream.write_all(b", \"x\": \"")?;
                loop {
                    stream.write_all(&[b'x'; 4096])?;
                }
            }
            (Ask::Hello(_), Evil::BadNames) => {
                meet();
                stream.write_all(&hello(have("../../x", json!("all"))))?;
                continue;
            }
            (Ask::Hello(_), Evil::PiecesBeyond) => {
                meet();
                stream.write_all(&hello(have(name, json!([0, u32::MAX]))))?;
                continue;
            }
            (Ask::Hello(_), Evil::Refuses) => {
                meet();
                let why = format!("\u{1b}[2Jno\u{7}{}", "o".repeat(100_000));
                stream.write_all(&to_bytes(&json!({"msg": "refused", "why": why})))?;
                return Ok(());
            }
            (Ask::Hello(_), Evil::ByteByByte) => {
                drip(
                    &stream,
                    &hello(have(name, json!("all"))),
                    Duration::from_millis(1),
                )?;
                continue;
            }
            (Ask::Hello(_), _) => {
                stream.write_all(&hello(have(name, json!("all"))))?;
                if let Evil::ClosesAfterHello = evil {
                    meet();
                    return Ok(());
                }
                continue;
            }
            (Ask::Get(_), Evil::SilentAfterHello) => {
                meet();
                return be_silent(stream);
            }
            (Ask::Get(get), _) => get,
        };
        n_gets += 1;
        // it was asked for news alone, or for nothing that it is bad at
        let of_corrupt = |idx: &u32| !matches!(evil, Evil::Corrupt(bad) if bad == *idx);
        let Some(&idx) = get
            .pieces
            .iter()
            .find(|idx| !of_corrupt(idx))
            .or(get.pieces.first())
        else {
            thread::sleep(Duration::from_millis(50));
            stream.write_all(&to_bytes(&Answer::News {
                n: get.n,
                news: vec![],
            }))?;
            continue;
        };
        let start = torrent.piece_start(idx) as usize;
        let mut piece = content[start..start + torrent.piece_len(idx)].to_vec();
        let header = |n: u64, idx: u32, len: u32| {
            to_bytes(&Answer::Piece(PieceHeader {
                n,
                idx,
                len,
                idle_ms: 0,
                news: vec![],
            }))
        };
        let whole = piece.len() as u32;
        let send = |mut stream: &TcpStream, header: Vec<u8>, piece: &[u8]| {
            stream
                .write_all(&header)
                .and_then(|()| stream.write_all(piece))
        };
        match evil {
            Evil::Promises => {
                meet();
                thread::sleep(Duration::from_millis(50));
                stream.write_all(&to_bytes(&Answer::News {
                    n: get.n,
                    news: vec![],
                }))?;
            }
            Evil::NewsBeyond => {
                meet();
                thread::sleep(Duration::from_millis(50));
                let news = have(name, json!([u32::MAX, 999_999]));
                stream.write_all(&to_bytes(&json!({"msg": "news", "n": get.n, "news": news})))?;
            }
            Evil::Gone => {
                meet();
                stream.write_all(&to_bytes(&json!({"msg": "gone", "n": get.n, "name": name})))?;
            }
            Evil::GarbageForAnswer => {
                meet();
                stream.write_all(br#"{"msg": "piece", "n": "one", "idx": -1}"#)?;
            }
            Evil::CutShort => {
                meet();
                return send(
                    &stream,
                    header(get.n, idx, whole),
                    &piece[..piece.len() / 2],
                );
            }
            Evil::NotAsked => {
                meet();
                let other = (0..torrent.n_pieces())
                    .find(|idx| !get.pieces.contains(idx))
                    .unwrap_or(u32::MAX);
                send(&stream, header(get.n, other, whole), &piece)?;
            }
            Evil::OtherNumber => {
                meet();
                send(&stream, header(get.n + 1000, idx, whole), &piece)?;
            }
            Evil::Length(len) => {
                meet();
                send(&stream, header(get.n, idx, len), &piece)?;
            }
            Evil::Corrupt(_) | Evil::CorruptAll | Evil::CorruptSometimes => {
                let bad = match evil {
                    Evil::Corrupt(bad) => bad == idx,
                    Evil::CorruptSometimes => n_gets.is_multiple_of(2),
                    _ => true,
                };
                if bad {
                    meet();
                    let last = piece.len() - 1;
                    piece[last] ^= 1;
                }
                send(&stream, header(get.n, idx, whole), &piece)?;
            }
            _ => {
                meet();
                drip(
                    &stream,
                    &header(get.n, idx, whole),
                    Duration::from_millis(1),
                )?;
                stream.write_all(&piece)?;
            }
        }
    }
}

// ---- an honest seed, a hostile peer, and who meets both

/// A file, and a real client that has it.
struct Honest {
    dir: Temp,
    content: Vec<u8>,
    torrent: Torrent,
    seed: Program,
    _tracker: FakeTracker,
}

impl Honest {
    fn start() -> Self {
        let dir = Temp::new();
        let content = random_bytes(N_PIECES as usize * PIECE - 1000, 1);
        let torrent = torrent_of("image.iso", &content);
        let tracker = FakeTracker::listing(&[], &[]);
        plant(&dir.dir("seed"), "image.iso", &content);
        let seed = tracker.peer(&dir, "seed", &[]);
        seed.until_event("sharing", |_| true);
        Self {
            dir,
            content,
            torrent,
            seed,
            _tracker: tracker,
        }
    }

    fn piece(&self, idx: usize) -> &[u8] {
        let start = idx * PIECE;
        &self.content[start..self.content.len().min(start + PIECE)]
    }

    /// The peer has the file, and serves it; nothing in its lines could drive a terminal.
    #[track_caller]
    fn has_all_and_serves(&self, peer: &mut Program, folder: &str) {
        let complete = peer.until_event("complete", |event| event["name"] == "image.iso");
        assert_eq!(complete["md5"], digest(&self.content).to_string());
        until_content(
            &self.dir.path().join(folder).join("image.iso"),
            &self.content,
        );
        assert!(
            ask_for(peer.addr(), "image.iso.part0002") == self.piece(1),
            "{peer:?}"
        );
        assert!(
            peer.is_running()
                && !peer
                    .lines()
                    .iter()
                    .any(|line| line.contains(['\u{1b}', '\u{7}'])),
            "{peer:?}"
        );
        assert!(
            !peer.lines().iter().any(|line| line.contains("panicked")),
            "{peer:?}"
        );
    }

    /// One peer meets the hostile one alone first, and the honest seed only once that has shown what it is.
    fn survives(&self, evil: Evil) -> Program {
        let hostile = EvilPeer::start(evil, &self.torrent, &self.content);
        let tracker = FakeTracker::listing(&[&self.torrent], &[hostile.fake.addr]);
        let folder = format!("{evil:?}");
        let mut peer = tracker.peer(&self.dir, &folder, &[]);
        until(&format!("{evil:?} met by {peer:?}"), || {
            hostile.was_met().then_some(())
        });
        tracker.becomes(listing(
            &[&self.torrent],
            &[hostile.fake.addr, self.seed.addr()],
        ));
        self.has_all_and_serves(&mut peer, &folder);
        if let Some(why) = evil.is_told_as() {
            let told = |event: &Value| event["why"].to_string().contains(why);
            peer.until_event("lost", told);
        }
        if let Evil::CutShort = evil {
            // a close, or a reset where it left a request unread; half a piece isn't a bad one
            assert!(peer.events("bad_piece").is_empty(), "{peer:?}");
        }
        peer
    }
}

/// Each of these meets a peer of its own, all at the same time.
fn all_survive(evils: &[Evil]) {
    let honest = Honest::start();
    thread::scope(|scope| {
        for evil in evils {
            let honest = &honest;
            let named = thread::Builder::new().name(format!("{evil:?}"));
            named
                .spawn_scoped(scope, move || drop(honest.survives(*evil)))
                .expect("a thread");
        }
    });
    assert_eq!(
        ask_for(honest.seed.addr(), "image.iso.part0001"),
        honest.piece(0),
        "the seed serves on"
    );
}

#[test]
fn peers_that_do_not_get_beyond_hello() {
    let before = [
        Evil::Garbage,
        Evil::Silent,
        Evil::Closes,
        Evil::EndlessHello,
        Evil::BadNames,
    ];
    let after = [Evil::PiecesBeyond, Evil::ClosesAfterHello];
    all_survive(&[&before[..], &after].concat());
}

#[test]
fn what_a_silent_peer_was_asked_for_is_asked_for_elsewhere() {
    let honest = Honest::start();
    let peer = honest.survives(Evil::SilentAfterHello);
    // its connection would end in time, too: the file was there before
    assert!(peer.events("lost").is_empty(), "{peer:?}");
}

#[test]
fn a_refusal_that_drives_terminals_is_shown_escaped_and_cut_short() {
    let honest = Honest::start();
    let peer = honest.survives(Evil::Refuses);
    let line = peer.until_line("it takes no requests: ");
    assert!(line.len() < 1000, "{} bytes", line.len());
}

#[test]
fn peers_that_answer_what_they_were_not_asked() {
    let answers = [
        Evil::Promises,
        Evil::Gone,
        Evil::GarbageForAnswer,
        Evil::NotAsked,
        Evil::OtherNumber,
        Evil::NewsBeyond,
    ];
    let bodies = [
        Evil::CutShort,
        Evil::Length(0),
        Evil::Length(PIECE as u32 - 1),
        Evil::Length(u32::MAX),
    ];
    all_survive(&[&answers[..], &bodies].concat());
}

#[test]
fn wrong_bytes_are_caught_wherever_they_are() {
    let honest = Honest::start();
    let evils = [
        Evil::Corrupt(0),
        Evil::Corrupt(N_PIECES / 2),
        Evil::Corrupt(N_PIECES - 1),
        Evil::CorruptAll,
        Evil::CorruptSometimes,
    ];
    thread::scope(|scope| {
        for evil in evils {
            let honest = &honest;
            scope.spawn(move || {
                let peer = honest.survives(evil);
                let bad = peer.events("bad_piece");
                let seeds = honest.seed.addr().to_string();
                assert!(
                    !bad.is_empty() && bad.iter().all(|event| event["peer"] != seeds.as_str()),
                    "{evil:?}: {bad:?}"
                );
                if let Evil::Corrupt(idx) = evil {
                    assert!(
                        bad.iter().all(|event| event["idx"] == idx),
                        "{evil:?}: {bad:?}"
                    );
                }
                assert!(peer.events("publisher_faulty").is_empty(), "{peer:?}");
            });
        }
    });
}

#[test]
fn one_byte_at_a_time_is_slow_and_no_fault() {
    let honest = Honest::start();
    let slow = EvilPeer::start(Evil::ByteByByte, &honest.torrent, &honest.content);
    let tracker = FakeTracker::listing(&[&honest.torrent], &[slow.fake.addr]);
    let mut peer = tracker.peer(&honest.dir, "peer", &[]);
    honest.has_all_and_serves(&mut peer, "peer");
    assert!(peer.events("bad_piece").is_empty() && slow.was_met());
}

#[test]
fn who_calls_itself_notices() {
    let honest = Honest::start();
    let tracker = FakeTracker::listing(&[&honest.torrent], &[]);
    let mut peer = tracker.peer(&honest.dir, "peer", &[]);
    let own = peer.port();
    // itself under the addresses that it has, and one more that it finds there
    let selves = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, own)),
        (Ipv4Addr::new(127, 0, 0, 2), own).into(),
    ];
    tracker.becomes(listing(&[&honest.torrent], &selves));
    let lists = peer.events("list").len();
    until("some lists with itself on it", || {
        (peer.events("list").len() > lists + 4).then_some(())
    });
    peer.until_line(" waits: nobody is here who has any of it, and 12 pieces are missing");
    assert!(peer.events("lost").is_empty(), "{peer:?}");
    tracker.becomes(listing(
        &[&honest.torrent],
        &[selves[0], selves[1], honest.seed.addr()],
    ));
    honest.has_all_and_serves(&mut peer, "peer");
    let seed = honest.seed.addr().to_string();
    for kind in ["connected", "piece"] {
        assert!(
            peer.events(kind)
                .iter()
                .all(|event| event["peer"] == seed.as_str()),
            "{peer:?}"
        );
    }
}

/// Lists this content with this publisher, which is here, and with its checkpoints.
fn published_by(
    torrent: &Torrent,
    publisher: &str,
    peers: &[SocketAddr],
) -> impl Fn(&Value, &TcpStream) -> Option<Vec<u8>> + Send + Sync + use<> {
    let mut listed = summary(torrent);
    listed["publisher"] = publisher.into();
    listed["here"] = true.into();
    listed["checkpoints"] = torrent.checkpoints_md5().to_string().into();
    let entries: Vec<Value> = peers
        .iter()
        .map(|peer| entry(*peer, &[torrent.name().as_str()]))
        .collect();
    let list = swarm_list(&entries, &[listed]);
    let all_else = listing(&[torrent], peers);
    move |message, stream| match message["msg"].as_str() {
        Some("ping") => Some(list.clone()),
        _ => all_else(message, stream),
    }
}

fn says(why: &str) -> impl Fn(&Value) -> bool + '_ {
    move |event| event["why"].as_str().is_some_and(|said| said.contains(why))
}

#[test]
fn a_wrong_list_of_checkpoints_names_its_publisher_and_nobody_else() {
    let honest = Honest::start();
    let wrong = with_wrong_list(&honest.torrent);
    let seed = honest.seed.addr();
    let tracker = FakeTracker::start(published_by(&wrong, &seed.to_string(), &[seed]));
    let flags = ["--only", "image.iso", "--exit-when-complete"];
    let mut peer = tracker.peer(&honest.dir, "peer", &flags);
    let faulty = peer.until_event("publisher_faulty", |event| event["name"] == "image.iso");
    assert_eq!(faulty["peer"], seed.to_string());
    peer.until_event("waiting", says("nobody has a correct copy of piece"));
    assert!(peer.is_running() && !honest.dir.path().join("peer/image.iso").exists());
    // its corrected list reaches who has the wrong one, and keeps what is here
    tracker.becomes(published_by(&honest.torrent, &seed.to_string(), &[seed]));
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    until_content(&honest.dir.path().join("peer/image.iso"), &honest.content);
    let begun = peer.events("begin");
    assert!(begun[1]["here"].as_u64() > Some(5), "{begun:?}");
}

#[test]
fn a_piece_that_nobody_sends_correctly_is_named() {
    let honest = Honest::start();
    let hostile = EvilPeer::start(Evil::Corrupt(3), &honest.torrent, &honest.content);
    let nobody = "192.0.2.7:50007\u{1b}[2J";
    let only_bad = published_by(&honest.torrent, nobody, &[hostile.fake.addr]);
    let tracker = FakeTracker::start(only_bad);
    let mut peer = tracker.peer(&honest.dir, "peer", &[]);
    let tried = format!(
        "nobody has a correct copy of piece 3; tried {}",
        hostile.fake.addr
    );
    let waits = peer.until_event("waiting", says(&tried));
    assert_eq!(waits["name"], "image.iso");
    assert!(peer.events("publisher_faulty").is_empty(), "{peer:?}");
    let both = [hostile.fake.addr, honest.seed.addr()];
    tracker.becomes(published_by(&honest.torrent, nobody, &both));
    honest.has_all_and_serves(&mut peer, "peer");
}

#[test]
fn colluding_peers_stop_nobody() {
    let honest = Honest::start();
    let liars: Vec<EvilPeer> = (0..5)
        .map(|_| EvilPeer::start(Evil::CorruptAll, &honest.torrent, &honest.content))
        .collect();
    let mut addrs: Vec<SocketAddr> = liars.iter().map(|liar| liar.fake.addr).collect();
    let seed = honest.seed.addr();
    let liars_alone = published_by(&honest.torrent, &seed.to_string(), &addrs);
    let tracker = FakeTracker::start(liars_alone);
    let mut peer = tracker.peer(&honest.dir, "peer", &[]);
    peer.until_event("bad_piece", |_| true);
    addrs.push(seed);
    tracker.becomes(published_by(&honest.torrent, &seed.to_string(), &addrs));
    honest.has_all_and_serves(&mut peer, "peer");
    assert!(peer.events("publisher_faulty").is_empty(), "{peer:?}");
}

#[test]
fn control_characters_are_shown_escaped_by_all_three() {
    let dir = Temp::new();
    let name = "esc\u{1b}[31m\u{7}\nnew line\u{202e}.txt";
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    plant(&dir.dir("seed"), name, b"content");
    let seed = Program::peer(&tracker, &dir.dir("seed"), &["--explain"]);
    let peer = Program::peer(&tracker, &dir.dir("peer"), &["--explain"]);
    until_content(&dir.path().join("peer").join(name), b"content");
    // what an original asks for, and the tracker is told, isn't trusted either
    ask_for(seed.addr(), "lacks\u{1b}[2J");
    ask(
        tracker.addr(),
        br#"{"msg": "get_torrent", "name": "lacks\u001b[2J"}"#,
    );
    ask(tracker.addr(), b"\x1b[2J");
    ask(peer.addr(), b"{\"msg\": \"\x1b[2J\"}");
    let shown = r"esc\u{1b}[31m\u{7}\nnew line\u{202e}.txt";
    for (program, line) in [
        (&seed, "sharing esc"),
        (&peer, "complete: "),
        (&tracker, "published "),
    ] {
        let line = program.until_line(line);
        assert!(line.contains(shown), "{line}");
    }
    assert!(seed.until_line("lacks").contains(r"\u{1b}[2J"), "{seed:?}");
    tracker.until_line("not understood");
    peer.until_line("expected one of the protocol's messages");
    for program in [&seed, &peer, &tracker] {
        let drives = |c: char| c.is_control() || c == '\u{202e}';
        assert!(
            !program.lines().iter().any(|line| line.contains(drives)),
            "{program:?}"
        );
    }
}

// ---- a real client, and what raw sockets send it

#[test]
fn nobody_gets_names_outside_the_folder() {
    let honest = Honest::start();
    let (seed, dir) = (&honest.seed, honest.dir.dir("seed"));
    plant(honest.dir.path(), "secret", b"secret");
    plant(&honest.dir.dir("seed/folder"), "inner", b"secret");
    plant(&dir, ".env", b"secret");
    symlink(honest.dir.path().join("secret"), dir.join("link")).expect("a link");
    plant(&dir, "z", b"comes later");
    seed.until_event("sharing", |event| event["name"] == "z");
    let absolute = honest.dir.path().join("secret");
    let names = [
        "../secret",
        "/etc/passwd",
        absolute.to_str().expect("UTF-8"),
        "..",
        ".",
        "",
        "link",
        "folder",
        "folder/inner",
    ];
    let more = [
        ".env",
        ".bittorrentish/lock",
        ".bittorrentish/image.iso.torrent",
        "./image.iso",
        "image.iso\0",
        "../seed/image.iso",
    ];
    let beyond = [
        "image.iso.part0000",
        "image.iso.part0013",
        "image.iso.part4294967295",
        "../image.iso.part0001",
        "lacks",
    ];
    for name in names.iter().chain(&more).chain(&beyond) {
        assert_eq!(ask_for(seed.addr(), name), b"", "{name:?}");
        let md5 = honest.torrent.md5().to_string();
        let get =
            json!({"msg": "get", "n": 1, "name": name, "md5": md5, "pieces": [0], "wait": 0.0});
        let hello = json!({"msg": "hello", "v": 1, "id": "raw", "port": 1});
        let come = ask(seed.addr(), format!("{hello}{get}{get}garbage").as_bytes());
        assert!(
            !come.windows(6).any(|bytes| bytes == b"secret"),
            "{name:?}: {}",
            String::from_utf8_lossy(&come)
        );
    }
    assert_eq!(ask_for(seed.addr(), "image.iso"), honest.content);
    assert_eq!(ask_for(seed.addr(), "image.iso.part0012"), honest.piece(11));
}

/// Says hello to a real client, and gives the reader behind its answer.
fn greet(to: SocketAddr, have: Value) -> (TcpStream, BufReader<TcpStream>, Hello) {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let hello = json!({"msg": "hello", "v": 1, "id": "raw", "port": 1, "have": have});
    stream.write_all(&to_bytes(&hello)).expect("it reads");
    let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
    match read_message(&mut reader, PEER_CAP)
        .expect("an answer")
        .expect("a hello")
    {
        Answer::Hello(hello) => (stream, reader, hello),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_message_ends_its_connection_alone() {
    let honest = Honest::start();
    let mut seed = honest.seed.addr();
    let deep = [vec![b'['; 5000], vec![b']'; 5000]].concat();
    let bad_have = br#"{"msg": "hello", "v": 1, "id": "x", "port": 1, "have": [{"name": "../x", "md5": "00", "pieces": "all"}]}"#;
    let cases: [(&str, &[u8]); 12] = [
        ("text", b"GET / HTTP/1.1\r\n\r\n"),
        ("binary", b"\x16\x03\x01\x00\xff"),
        ("an array", b"[]"),
        ("another object", b"{}"),
        ("another message", br#"{"msg": "nonsense"}"#),
        ("a get before a hello", br#"{"msg": "get", "n": 1, "name": "x", "md5": "00000000000000000000000000000000", "pieces": [], "wait": 0}"#),
        ("a name that is a number", br#"{"filename": 7}"#),
        ("a hello without an id", br#"{"msg": "hello", "v": 1, "port": 1}"#),
        ("a port beyond ports", br#"{"msg": "hello", "v": 1, "id": "x", "port": 70000}"#),
        ("bad names in a hello", bad_have),
        ("deep nesting", &deep),
        ("no UTF-8", b"{\"filename\": \"\xff\"}"),
    ];
    for (case, bytes) in cases {
        assert_eq!(ask(seed, bytes), b"", "{case}");
    }
    // a message that never ends is cut off before it is all in memory
    let mut flood = TcpStream::connect(seed).expect("it listens");
    flood.write_all(b"{\"filename\": \"").expect("it reads");
    let chunk = [b'x'; 64 << 10];
    assert!(
        (0..32 * PEER_CAP / chunk.len()).any(|_| flood.write_all(&chunk).is_err()),
        "32 MiB were taken"
    );
    // closes: at once, and in the middle
    drop(TcpStream::connect(seed).expect("it listens"));
    TcpStream::connect(seed)
        .and_then(|mut stream| stream.write_all(b"{\"filename\""))
        .expect("it reads");
    assert_eq!(ask_for(seed, "image.iso"), honest.content);
    seed.set_ip(Ipv4Addr::new(127, 0, 1, 1).into());
    assert_eq!(
        ask_for(seed, "image.iso.part0001"),
        honest.piece(0),
        "at its host name's address, too"
    );
    assert!(
        !honest
            .seed
            .lines()
            .iter()
            .any(|line| line.contains("panicked")),
        "{:?}",
        honest.seed
    );
}

#[test]
fn requests_that_make_no_sense_are_answered_without_a_piece() {
    let honest = Honest::start();
    let odd_have = json!([{"name": "image.iso", "md5": honest.torrent.md5().to_string(), "pieces": [u32::MAX]}, {"name": "unknown", "md5": honest.torrent.md5().to_string(), "pieces": "ff"}]);
    let (mut stream, mut reader, hello) = greet(honest.seed.addr(), odd_have);
    assert_eq!((hello.have.len(), hello.port), (1, honest.seed.port()));
    let name = Name::parse("image.iso").expect("a name");
    let get = |n: u64, pieces: &[u32], wait: f64| {
        let (name, md5) = (name.clone(), honest.torrent.md5());
        to_bytes(&Ask::Get(Get {
            n,
            name,
            md5,
            pieces: pieces.to_vec(),
            blocks: None,
            wait,
        }))
    };
    let (beyond, none): (&[u32], &[u32]) = (&[N_PIECES, u32::MAX], &[]);
    for (n, pieces, wait) in [
        (1, beyond, 0.0),
        (2, none, 0.0),
        (3, beyond, -1.0),
        (4, none, 1e300),
        (5, none, 1e-300),
    ] {
        stream.write_all(&get(n, pieces, wait)).expect("it reads");
        let answer = read_message::<Answer>(&mut reader, PEER_CAP)
            .expect("an answer")
            .expect("an answer");
        assert!(
            matches!(answer, Answer::News { n: of, .. } if of == n),
            "{n}: {answer:?}"
        );
    }
    // another content, and another name: a piece of that is gone, and news are of all contents
    for (n, name, md5, pieces) in [
        (6, "image.iso", digest(b"other"), json!([0])),
        (7, "unknown", honest.torrent.md5(), json!([0])),
        (9, "unknown", honest.torrent.md5(), json!([])),
    ] {
        let ask = json!({"msg": "get", "n": n, "name": name, "md5": md5.to_string(), "pieces": pieces, "wait": 0.0});
        stream.write_all(&to_bytes(&ask)).expect("it reads");
        let answer = read_message::<Answer>(&mut reader, PEER_CAP)
            .expect("an answer")
            .expect("an answer");
        let (of, is_gone) = match answer {
            Answer::Gone { n, .. } => (n, true),
            Answer::News { n, .. } => (n, false),
            other => panic!("{other:?}"),
        };
        assert_eq!((of, is_gone), (n, pieces != json!([])));
    }
    // and one that does, a byte at a time
    drip(
        &stream,
        &get(8, &[2, N_PIECES], 0.0),
        Duration::from_millis(1),
    )
    .expect("it reads");
    let answer = read_message::<Answer>(&mut reader, PEER_CAP)
        .expect("an answer")
        .expect("an answer");
    let Answer::Piece(PieceHeader {
        n: 8, idx: 2, len, ..
    }) = answer
    else {
        panic!("{answer:?}")
    };
    let mut piece = vec![0; len as usize];
    reader.read_exact(&mut piece).expect("the piece");
    assert!(piece == honest.piece(2));
}

#[test]
fn who_is_silent_and_who_reads_nothing_block_nobody() {
    let honest = Honest::start();
    let at = honest.seed.addr();
    let silent: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(at).expect("it listens"))
        .collect();
    let stuck: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(at).expect("it listens");
            stream
                .write_all(br#"{"filename": "image.iso"}"#)
                .expect("it reads");
            stream
        })
        .collect();
    let tracker = FakeTracker::listing(&[&honest.torrent], &[at]);
    let mut peer = tracker.peer(&honest.dir, "peer", &[]);
    honest.has_all_and_serves(&mut peer, "peer");
    drop((silent, stuck));
}

#[test]
fn the_bound_of_connections_is_told_and_outlived() {
    let honest = Honest::start();
    let at = honest.seed.addr();
    // each is closed once it was silent for the time that a header has
    let silent: Vec<TcpStream> = (0..300)
        .map_while(|_| TcpStream::connect(at).ok())
        .collect();
    let full = honest.seed.until_event("full", |_| true);
    assert!(
        full["most"].as_u64().is_some_and(|most| most <= 300),
        "{full}"
    );
    honest.seed.until_line("connections are in use");
    assert_eq!(ask_for(at, "image.iso.part0001"), honest.piece(0));
    drop(silent);
}

// ---- trackers that lie

/// The client goes on, tells of it, and has the file once the tracker says what is right. Returns what it told.
fn outlives(
    case: &str,
    script: impl Fn(&Value, &TcpStream) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> String {
    let honest = Honest::start();
    let tracker = FakeTracker::start(script);
    let mut peer = tracker.peer(&honest.dir, "peer", &[]);
    let why = peer.until_event("tracker_unreachable", |_| true)["why"]
        .as_str()
        .expect("a text")
        .to_owned();
    tracker.becomes(listing(&[&honest.torrent], &[honest.seed.addr()]));
    honest.has_all_and_serves(&mut peer, "peer");
    assert!(
        !why.is_empty(),
        "{case}: it isn't said what is wrong: {peer:?}"
    );
    why
}

#[test]
fn a_tracker_that_answers_garbage() {
    let answers: [(&str, &[u8]); 7] = [
        ("binary", b"\x00\xff\x00"),
        ("text", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("nothing", b""),
        ("half", b"{\"v\": 1, \"peers\": ["),
        ("another array", b"[1, 2, 3]"),
        ("an object", b"{\"error\": 7}"),
        ("an error", br#"{"v": 1, "error": "not today"}"#),
    ];
    thread::scope(|scope| {
        for (case, answer) in answers {
            let named = thread::Builder::new().name(case.to_owned());
            let outlived = move || drop(outlives(case, move |_, _| Some(answer.to_vec())));
            named.spawn_scoped(scope, outlived).expect("a thread");
        }
    });
}

#[test]
fn an_error_that_drives_terminals_is_shown_escaped() {
    // `outlives` looks for control characters in all that was printed
    outlives("an error", |_, _| {
        Some(br#"{"v": 1, "error": "\u001b[2J\u0007not today"}"#.to_vec())
    });
}

#[test]
fn a_refused_file_is_reported_once_for_each_reason() {
    let refusing = |why: &'static str| {
        move |message: &Value, _: &TcpStream| match message["msg"].as_str() {
            Some("ping") => Some(swarm_list(&[], &[])),
            Some("publish") => {
                let refused = json!([{"is": "refused", "why": why}]);
                Some(to_bytes(&json!({"v": 1, "files": refused})))
            }
            _ => Some(br#"{"v": 1}"#.to_vec()),
        }
    };
    let tracker = FakeTracker::start(refusing("no room"));
    let dir = Temp::new();
    plant(&dir.dir("seed"), "image.iso", b"content");
    let seed = tracker.peer(&dir, "seed", &[]);
    let tried_again = || {
        let before = tracker.asked("publish").len();
        until("more tries to publish", || {
            (tracker.asked("publish").len() > before + 2).then_some(())
        });
    };
    tried_again();
    assert_eq!(seed.events("refused").len(), 1, "{seed:?}");
    seed.until_line("image.iso isn't shared: the tracker doesn't take it: no room");
    tracker.becomes(refusing("no time"));
    tried_again();
    assert_eq!(seed.events("refused").len(), 2, "{seed:?}");
    tracker.becomes(listing(&[], &[]));
    seed.until_event("published", |event| event["name"] == "image.iso");
}

#[test]
fn a_list_with_a_bad_name_is_told_of() {
    let mut bad = summary(&torrent_of("image.iso", b"any"));
    bad["name"] = "../../image.iso".into();
    let list = swarm_list(&[], &[bad]);
    outlives("a bad name", move |_, _| Some(list.clone()));
}

#[test]
fn a_tracker_whose_list_has_no_end() {
    let all_taken = Arc::new(AtomicBool::new(false));
    let taken = Arc::clone(&all_taken);
    let why = outlives("endless", move |_, mut stream| {
        let chunk = [b'['; 64 << 10];
        // far more than a list may have
        let all = (0..8 * LIST_CAP / chunk.len()).all(|_| stream.write_all(&chunk).is_ok());
        taken.fetch_or(all, Ordering::SeqCst);
        None
    });
    assert!(
        why.contains("a message of over") && !all_taken.load(Ordering::SeqCst),
        "{why}"
    );
}

#[test]
fn a_tracker_whose_list_takes_for_ever() {
    // each byte comes soon after the last, and the message never ends
    let why = outlives("slow", |_, stream| {
        drip(stream, &[b'['; 900], Duration::from_millis(100))
            .map(|()| Vec::new())
            .ok()
    });
    assert!(why.contains("in time") || why.contains("too long"), "{why}");
}

#[test]
fn a_torrent_that_contradicts_its_listing_is_not_taken() {
    let honest = Honest::start();
    let right = honest.torrent.clone();
    let value = |torrent: &Torrent| serde_json::to_value(torrent).expect("JSON");
    let other_content = torrent_of("image.iso", &random_bytes(honest.content.len(), 2));
    let change = |key: &str, to: Value| {
        let mut torrent = value(&right);
        torrent[key] = to;
        torrent
    };
    let mut first = value(&right)["checkpoints"]
        .as_str()
        .expect("digits")
        .to_owned();
    first.replace_range(..8, "00000000");
    let short = value(&right)["checkpoints"].as_str().expect("digits")[32..].to_owned();
    let cases = [
        ("another content", value(&other_content)),
        (
            "another name",
            value(&torrent_of("image2.iso", &honest.content)),
        ),
        (
            "another size",
            value(&torrent_of("image.iso", &honest.content[1..])),
        ),
        (
            "a name out of the folder",
            change("name", "../image.iso".into()),
        ),
        ("an odd piece length", change("piece_len", 65_537.into())),
        (
            "a huge piece length",
            change("piece_len", (1u32 << 31).into()),
        ),
        ("a size beyond sizes", change("size", u64::MAX.into())),
        ("too few pieces", change("n_pieces", 1.into())),
        ("another first state", change("checkpoints", first.into())),
        ("a checkpoint less", change("checkpoints", short.into())),
        (
            "checkpoints that are none",
            change("checkpoints", "x".repeat(32 * 16 * 12).into()),
        ),
        ("nothing", Value::Null),
    ];
    thread::scope(|scope| {
        for (case, torrent) in cases {
            let (honest, right) = (&honest, listing(&[&right], &[honest.seed.addr()]));
            let before = listing(&[&honest.torrent], &[honest.seed.addr()]);
            let named = thread::Builder::new().name(case.to_owned());
            let taken = move || {
                let answer = to_bytes(&json!({"v": 1, "torrent": torrent}));
                let tracker =
                    FakeTracker::start(move |message, stream| match message["msg"].as_str() {
                        Some("get_torrent") => Some(answer.clone()),
                        _ => before(message, stream),
                    });
                let folder = case.replace(' ', "-");
                let mut peer = tracker.peer(&honest.dir, &folder, &["--only", "image.iso"]);
                let told = peer.until_event("no_torrent", |event| event["name"] == "image.iso");
                let said = told["why"].as_str().is_some_and(|why| !why.is_empty());
                assert!(peer.events("begin").is_empty(), "{case}: {peer:?}");
                tracker.becomes(right);
                honest.has_all_and_serves(&mut peer, &folder);
                assert!(said, "{case}: it isn't said what is wrong: {told}");
            };
            named.spawn_scoped(scope, taken).expect("a thread");
        }
    });
    let names: BTreeSet<PathBuf> = fs::read_dir(honest.dir.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(
        !names.iter().any(|path| path.ends_with("image.iso")),
        "nothing went out of a folder: {names:?}"
    );
}

#[test]
fn an_originals_list_cannot_lead_out_of_the_folder() {
    let dir = Temp::new();
    let asked = Arc::new(Mutex::new(Vec::<String>::new()));
    let seen = Arc::clone(&asked);
    let holder = Fake::start(move |mut stream, _| {
        let request: Option<Value> = read_message(&mut BufReader::new(&stream), PEER_CAP)?;
        let name = request.and_then(|request| Some(request["filename"].as_str()?.to_owned()));
        seen.lock().expect("no panic").extend(name);
        stream.write_all(b"evil")
    });
    let outside = dir.path().join("absolute");
    let names = [
        "../x",
        "../../x",
        outside.to_str().expect("UTF-8"),
        "a/b",
        ".profile",
        ".bittorrentish",
        "..",
        "",
        "nul\0",
        "zz",
    ];
    let list = json!([
        {"ip": "127.0.0.1", "port": holder.addr.port(), "file_list": names},
        {"ip": "not an address", "port": 1, "file_list": ["zz"]},
        {"ip": "127.0.0.1", "port": 0, "file_list": []},
    ]);
    let tracker =
        FakeTracker::start(move |message, _| (message["msg"] == "ping").then(|| to_bytes(&list)));
    let mut peer = tracker.peer(&dir, "peer", &[]);
    peer.until_event("unverified", |event| event["name"] == "zz");
    let lists = peer.events("list").len();
    until("some more lists", || {
        (peer.events("list").len() > lists + 3).then_some(())
    });
    let asked: BTreeSet<String> = asked.lock().expect("no panic").iter().cloned().collect();
    assert_eq!(asked, ["zz".to_owned()].into());
    let in_folder = |path: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(dir.path().join(path)).expect("a folder");
        entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    };
    assert_eq!(
        in_folder("."),
        ["peer".to_owned(), "peer.log".to_owned()].into()
    );
    assert_eq!(
        in_folder("peer"),
        [".bittorrentish".to_owned(), "zz".to_owned()].into()
    );
    assert!(peer.is_running() && !tracker.asked("file_list").is_empty());
}

#[test]
fn a_piece_of_an_originals_that_has_no_end_is_left() {
    const MOST: usize = 256 * PIECE;
    let honest = Honest::start();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let counts = Arc::clone(&sent);
    let endless = Fake::start(move |mut stream, _| {
        let _: Option<Value> = read_message(&mut BufReader::new(&stream), PEER_CAP)?;
        let all = (0..MOST / PIECE).take_while(|_| stream.write_all(&[0; PIECE]).is_ok());
        let count = all.count() * PIECE;
        counts.lock().expect("no panic").push(count);
        Ok(())
    });
    let parts: Vec<String> = (0..N_PIECES)
        .map(|idx| honest.torrent.original_name(idx))
        .collect();
    let at = (endless.addr.ip().to_string(), endless.addr.port());
    let original = json!({"ip": at.0, "port": at.1, "file_list": parts});
    let list = swarm_list(&[original], &[summary(&honest.torrent)]);
    let then = listing(&[&honest.torrent], &[]);
    let tracker = FakeTracker::start(move |message, stream| match message["msg"] == "ping" {
        true => Some(list.clone()),
        false => then(message, stream),
    });
    let mut peer = tracker.peer(&honest.dir, "peer", &[]);
    peer.until_event("bad_piece", |event| {
        event["peer"] == endless.addr.to_string()
    });
    tracker.becomes(listing(&[&honest.torrent], &[honest.seed.addr()]));
    honest.has_all_and_serves(&mut peer, "peer");
    let sent = sent.lock().expect("no panic").clone();
    // the system takes some MiB that nobody reads
    assert!(
        !sent.is_empty() && sent.iter().all(|count| *count < MOST),
        "{sent:?}"
    );
}

#[test]
fn a_head_that_cannot_be_had_is_asked_for_once_a_ping() {
    let dir = Temp::new();
    let n_asked = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&n_asked);
    let publisher = Fake::start(move |_, _| {
        counts.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let md5 = digest(b"head").to_string();
    let coming = json!({
        "name": "c.iso", "size": 600 << 20, "done": 64 << 20, "peer": publisher.addr.to_string(),
        "head": {"size": 32 << 20, "md5": md5, "checkpoints": md5},
    });
    let list = json!({"v": 1, "local": true, "peers": [], "torrents": [], "coming": [coming]});
    let tracker = FakeTracker::start(move |message, _| {
        let is_ping = message["msg"] == "ping";
        Some(to_bytes(&if is_ping {
            list.clone()
        } else {
            json!({"v": 1})
        }))
    });
    let _peer = tracker.peer(&dir, "peer", &[]);
    until("some pings", || {
        (tracker.asked("ping").len() > 4).then_some(())
    });
    let n_asked = n_asked.load(Ordering::SeqCst);
    let n_pings = tracker.asked("ping").len();
    assert!((1..=n_pings).contains(&n_asked), "{n_asked} of {n_pings}");
}

#[test]
fn who_was_lost_is_tried_again_before_the_next_ping() {
    let (dir, torrent) = (Temp::new(), torrent_of("image.iso", b"image"));
    let n_tries = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&n_tries);
    let holder = Fake::start(move |_, _| {
        counts.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let tracker = FakeTracker::listing(&[&torrent], &[holder.addr]);
    let never = ["--ping-every", "3600", "--round-every", "3600"];
    let _peer = tracker.peer(&dir, "peer", &never);
    until("a second try", || {
        (n_tries.load(Ordering::SeqCst) > 1).then_some(())
    });
    assert_eq!(tracker.asked("ping").len(), 1);
}

#[test]
fn a_list_full_of_peers_that_are_not_there() {
    let honest = Honest::start();
    let tracker = FakeTracker::listing(&[], &[]);
    // on port 1 nobody listens, and nobody will
    let closed = |n| entry((Ipv4Addr::new(127, 9, 9, n), 1).into(), &["image.iso"]);
    let mut peers: Vec<Value> = (1..=150).map(closed).collect();
    peers.extend([
        json!({"ip": "", "port": 9, "file_list": [], "v": 1}),
        json!({"ip": "0.0.0.0", "port": 0, "file_list": ["image.iso"], "v": 1}),
    ]);
    peers.push(json!({"ip": "127.0.0.1", "port": 9, "file_list": [], "v": 1, "pieces": {"image.iso": "zz", "../x": "ff"}}));
    peers.push(entry(honest.seed.addr(), &["image.iso"]));
    let (list, then) = (
        swarm_list(&peers, &[summary(&honest.torrent)]),
        listing(&[&honest.torrent], &[]),
    );
    tracker.becomes(move |message, stream| {
        if message["msg"] == "ping" {
            Some(list.clone())
        } else {
            then(message, stream)
        }
    });
    let mut peer = tracker.peer(&honest.dir, "peer", &[]);
    honest.has_all_and_serves(&mut peer, "peer");
}

#[test]
fn a_list_that_is_refused_is_told_once_and_as_that() {
    let dir = Temp::new();
    let answers = listing(&[], &[]);
    let tracker = FakeTracker::start(move |message, stream| match message["msg"].as_str() {
        Some("file_list") => Some(br#"{"v": 1, "error": "too long a list"}"#.to_vec()),
        _ => answers(message, stream),
    });
    let peer = tracker.peer(&dir, "peer", &[]);
    let told = peer.until_event("list_refused", |_| true);
    assert_eq!(told["why"], "too long a list");
    let pings = tracker.asked("ping").len();
    until("some more pings", || {
        (tracker.asked("ping").len() > pings + 3).then_some(())
    });
    assert_eq!(peer.events("list_refused").len(), 1);
    let lists = tracker.asked("file_list").len();
    assert_eq!(lists, 1, "the same list again would be refused again");
    let unreachable = peer.events("tracker_unreachable");
    assert!(unreachable.is_empty(), "it answers pings: {unreachable:?}");
}
