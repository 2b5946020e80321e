//! Plays the tracker and the other peers towards a peer under test; [`Scene`] decides what they have.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use bittorrentish::net::{BODY, Connection, HEADER, Listener, connect, is_timeout, listen};
use bittorrentish::protocol::{
    Ask, FirstMessage, PEER_CAP, TORRENT_CAP, ToTracker, VERSION, invalid, parse, to_bytes,
};
use serde_json::{Value, json};

use crate::program::Program;
use crate::record::{ENDED, RecordedEvent, Recorder, event};
use crate::scene::*;

/// How far away each peer of the download is, milliseconds.
const AWAY: [u64; 5] = [0, 60, 200, 0, 0];
/// How long a small file's `.torrent` is on its way, so that one comes after the other; and the film's, so that whoever
/// doesn't wait for it is seen.
const TORRENT_TIME: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];
/// How long a piece of the film takes, and for how long it is held back at the most.
const PIECE_TIME: Duration = Duration::from_millis(30);
const HELD: Duration = Duration::from_secs(12);
/// The most time for the download, and for a file to get to the disk.
const DOWNLOAD_TIME: Duration = Duration::from_secs(20);
const SETTLED: Duration = Duration::from_secs(1);
/// For how long the first message is waited for, seconds of the course text.
const PATIENCE: f64 = 3.0 * ROUND_EVERY;
const LOOK: Duration = Duration::from_millis(20);
/// Connections at a time to the tracker and to each peer.
const AT_ONCE: usize = 64;

/// What is played, for all threads.
pub struct PeerPlay {
    recorder: Arc<Recorder>,
    scene: Mutex<Scene>,
    within: f64,
    ports: Vec<u16>,
    over: AtomicBool,
}

fn port_of(door: &TcpListener) -> io::Result<u16> {
    Ok(door.local_addr()?.port())
}

impl PeerPlay {
    /// Listens as the tracker and as all the peers. Returns the tracker's port, too, and what has to be kept as long.
    pub fn start(
        recorder: &Arc<Recorder>,
        within: f64,
        port: u16,
    ) -> io::Result<(Arc<Self>, u16, Vec<Listener>)> {
        let doors = (0..=DYING).map(|who| listen(if who == 0 { port } else { 0 }));
        let mut doors = doors.collect::<io::Result<Vec<_>>>()?;
        // listed in this order: whoever takes the first, or the lowest port, takes the same place each time
        doors[1..].sort_by_key(|door| port_of(door).ok());
        let ports = doors.iter().map(port_of).collect::<io::Result<Vec<_>>>()?;
        let (port, mut listeners) = (ports[0], Vec::new());
        let play = Arc::new(Self {
            recorder: Arc::clone(recorder),
            scene: Mutex::new(Scene::new()),
            within,
            ports,
            over: AtomicBool::new(false),
        });
        for (who, door) in doors.into_iter().enumerate() {
            let play = Arc::clone(&play);
            let serve = move |mut to: Connection| match who {
                0 => play.answer(&mut to),
                who => play.give(who, &mut to).unwrap_or_else(|fault| {
                    // whoever has gone misses the answer; that shows in what it does next
                    if fault.kind() == io::ErrorKind::InvalidData {
                        play.recorder
                            .note(event(ODD, who, "request").fault(Some(fault.to_string())));
                    }
                }),
            };
            listeners.push(Listener::start("played", door, AT_ONCE, serve, |_| {})?);
        }
        Ok((play, port, listeners))
    }

    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays until there is enough to judge, the program has ended, or the time is over. Returns whether anything came.
    pub fn run(&self, program: &mut Option<Program>) -> bool {
        let came =
            |events: &[RecordedEvent]| [PING, LIST, ODD].iter().any(|what| was(events, what, ""));
        std::thread::scope(|scope| {
            scope.spawn(|| self.ask_back());
            while !self.is_over() && (self.recorder.now() < PATIENCE || self.recorder.find(came)) {
                self.recorder.tick();
                if let Some(how) = program.as_mut().and_then(Program::ended) {
                    self.recorder.note(event(ENDED, 0, &how));
                    break;
                }
            }
            self.over.store(true, Ordering::Relaxed);
        });
        self.recorder.find(came)
    }

    fn is_over(&self) -> bool {
        let now = self.recorder.now();
        let complete = |events: &[RecordedEvent]| {
            let last = offer(events).filter(|last| last.what == COMPLETE);
            last.is_some_and(|last| now > last.at + WATCHED)
        };
        now > self.within || self.recorder.find(complete)
    }

    /// Answers as the tracker.
    fn answer(&self, to: &mut Connection) {
        let value = to.expect::<Value>(HEADER, TORRENT_CAP);
        let message = match &value {
            Ok(value) => parse(&to_bytes(value)),
            Err(fault) => Err(invalid(format!("a connection had no message: {fault}"))),
        };
        match message {
            // whoever has gone misses the answer
            Ok(message) => drop(to.sender().send_bytes(&self.answer_to(message, to))),
            Err(fault) => self.odd(&value.unwrap_or_default(), fault.to_string()),
        }
    }

    fn answer_to(&self, message: ToTracker, from: &Connection) -> Vec<u8> {
        let ip = from.peer.ip().to_string();
        match message {
            ToTracker::Ping { port, v, .. } => {
                self.recorder.note(event(PING, port.into(), &ip));
                if v.is_some() && !self.recorder.find(|events| was(events, OURS, "")) {
                    self.recorder.note(event(OURS, 0, ""));
                }
                self.list(&from.own.ip().to_string())
            }
            ToTracker::FileList { port, files, v, .. } => {
                self.recorder
                    .note(event(LIST, port.into(), &ip).lists(vec![(0, files)]));
                v.map_or_else(Vec::new, |v| to_bytes(&json!({"v": v})))
            }
            ToTracker::Publish { files, .. } => {
                let stands = json!({"is": "stands", "mine": true, "published": 1, "publisher": ip});
                to_bytes(&json!({"v": VERSION, "files": vec![stands; files.len()]}))
            }
            ToTracker::GetTorrent { name } => {
                sleep(TORRENT_TIME[usize::from(name.as_str().starts_with(FILM))]);
                self.recorder.note(event(TORRENT, 0, name.as_str()));
                let torrent = self.scene().torrents.get(name.as_str()).cloned();
                to_bytes(&json!({"v": VERSION, "torrent": torrent}))
            }
            ToTracker::Report(_) | ToTracker::Status => to_bytes(&json!({"v": VERSION})),
        }
    }

    /// Takes down what is no message to a tracker: a list, if it has files, or else a ping.
    fn odd(&self, value: &Value, fault: String) {
        let msg = value["msg"]
            .as_str()
            .filter(|msg| !["ping", "file_list"].contains(msg));
        let misspelt =
            msg.map(|msg| format!("msg is {msg:?}; known are \"ping\" and \"file_list\""));
        let name = if value["files"].is_null() {
            "ping"
        } else {
            "list"
        };
        let odd = event(ODD, 0, name).fault(misspelt.or(Some(fault)));
        self.recorder.note(odd);
    }

    /// The answer to a ping, with new files where it is time for them.
    fn list(&self, ip: &str) -> Vec<u8> {
        let (mut scene, now) = (self.scene(), self.recorder.now());
        let time = [self.within, self.recorder.course_time(DOWNLOAD_TIME)];
        if let Some((what, lists)) = self.recorder.find(|events| scene.turn(events, now, time)) {
            self.recorder.note(event(what, 0, "").lists(lists));
        }
        let list = self
            .recorder
            .find(|events| scene.list(events, ip, &self.ports));
        self.recorder.note(event(SENT, list.len(), ""));
        list
    }

    /// Answers as one of the other peers: the original's one request, or hellos and requests of ours.
    fn give(&self, who: usize, to: &mut Connection) -> io::Result<()> {
        let away = Duration::from_millis(AWAY[who.saturating_sub(NEAR)]);
        let (mut wait, mut news) = (HEADER, None);
        loop {
            let message = to.read::<FirstMessage>(wait, PEER_CAP);
            if let Some(n) = news.take() {
                to.send(&json!({"msg": "news", "n": n}))?;
            }
            wait = BODY;
            let get = match message {
                Err(fault) if is_timeout(&fault) && who >= NEAR => continue,
                Ok(Some(FirstMessage::Original { filename })) => {
                    self.recorder.note(event(ASKED, who, &filename));
                    return self.send(who, &filename, to, |_| Ok(()));
                }
                Ok(Some(FirstMessage::Ours(Ask::Hello(_)))) if who >= NEAR => {
                    sleep(away);
                    to.send(&self.hello(who))?;
                    continue;
                }
                Ok(Some(FirstMessage::Ours(Ask::Get(get)))) if who >= NEAR => get,
                other => return other.map(|_| ()),
            };
            let Some(idx) = get.pieces.first() else {
                (wait, news) = (Duration::from_secs_f64(get.wait), Some(get.n));
                continue;
            };
            // what came while another one was answered was on its way meanwhile
            sleep(if to.silent > LOOK / 10 {
                away
            } else {
                Duration::ZERO
            });
            let torrent = self.scene().torrents.get(get.name.as_str()).cloned();
            let piece = torrent.ok_or(io::ErrorKind::NotFound)?.original_name(*idx);
            self.recorder.note(event(ASKED, who, &piece));
            self.hold(who, &piece)?;
            let header =
                |len| to.send(&json!({"msg": "piece", "n": get.n, "idx": idx, "len": len}));
            self.send(who, &piece, to, header)?;
        }
    }

    fn hello(&self, who: usize) -> Value {
        let scene = self.scene();
        let lists = |events: &[RecordedEvent]| offer(events).map(|last| last.lists.clone());
        let mut lists = self.recorder.find(lists).unwrap_or_default();
        lists.retain(|(holder, _)| *holder == who);
        let files = lists.iter().flat_map(|(_, files)| files);
        let torrents = files.filter_map(|file| scene.torrents.get(file));
        let have = |one: &bittorrentish::torrent::Torrent| json!({"name": one.name(), "md5": one.md5(), "pieces": "all"});
        let have: Vec<Value> = torrents.map(have).collect();
        let (id, port) = (format!("check {who}"), self.ports[who]);
        json!({"msg": "hello", "v": VERSION, "id": id, "port": port, "have": have})
    }

    /// Holds back a piece of the film for as long as it takes, and where the peer is to be asked for one before. Fails
    /// then at the peer that dies.
    fn hold(&self, who: usize, piece: &str) -> io::Result<()> {
        if !piece.starts_with(FILM) {
            return Ok(());
        }
        sleep(PIECE_TIME);
        let until = self.recorder.now() + self.recorder.course_time(HELD);
        while self.recorder.find(is_held) && self.recorder.now() < until {
            sleep(LOOK);
        }
        let dies = |events: &[RecordedEvent]| was(events, BACK, FILM);
        if who != DYING || !self.recorder.find(dies) {
            return Ok(());
        }
        self.recorder.note(event(DIED, DYING, ""));
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Sends a file or a piece of one, behind a header that takes its length.
    fn send(
        &self,
        who: usize,
        name: &str,
        to: &Connection,
        header: impl Fn(usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let content = self.scene().contents.get(name).cloned();
        let mut bytes = content.ok_or(io::ErrorKind::NotFound)?.to_vec();
        bytes
            .iter_mut()
            .for_each(|byte| *byte ^= u8::from(who == CORRUPT));
        header(bytes.len())?;
        let sent = to.sender().send_within(&bytes, BODY);
        let cut = |fault| format!("but it closed before the end: {fault}");
        self.recorder
            .note(event(GAVE, who, name).fault(sent.as_ref().err().map(cut)));
        sent
    }

    /// Asks the peer for what it has, as the original does.
    fn ask_back(&self) {
        while !self.over.load(Ordering::Relaxed) {
            sleep(LOOK);
            let before = self.recorder.now() - self.recorder.course_time(SETTLED);
            let scene = self.scene();
            let due = self.recorder.find(|events| {
                let last = events
                    .iter()
                    .rfind(|event| [PING, LIST].contains(&event.what))?;
                let addr = SocketAddr::new(last.name.parse().ok()?, last.who as u16);
                scene.due(events, before).map(|name| (name, addr))
            });
            let Some((name, addr)) = due else { continue };
            let content = Arc::clone(&scene.contents[&name]);
            drop(scene);
            // it may be busy, or still writing
            let until = self.recorder.now() + self.recorder.course_time(HEADER / 2);
            let mut fault = fetch(addr, &name, &content).err();
            while fault.is_some() && self.recorder.now() < until {
                sleep(SETTLED);
                fault = fetch(addr, &name, &content).err();
            }
            self.recorder.note(event(BACK, 0, &name).fault(fault));
        }
    }
}

/// Fetches a file, and compares it.
fn fetch(from: SocketAddr, name: &str, content: &[u8]) -> Result<(), String> {
    let port = from.port();
    let closed = |fault| format!("but nobody is at port {port}, which its messages have: {fault}");
    let mut connection = connect(&[from]).map_err(closed)?;
    let (mut came, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let mut end = connection.send(&json!({"filename": name})).map(|()| 1);
    while matches!(end, Ok(1..)) && came.len() <= content.len() {
        end = connection.read_some(&mut buffer);
        came.extend_from_slice(&buffer[..*end.as_ref().unwrap_or(&0)]);
    }
    let (n, of) = (came.len(), content.len());
    match end {
        Ok(0) if came == content => Ok(()),
        Ok(_) if n == of => Err("and sent other bytes".to_owned()),
        Ok(_) => Err(format!("and sent {n} of {of} bytes")),
        Err(_) if came == content => {
            Err("and sent it, but doesn't close: where is its end?".to_owned())
        }
        Err(fault) => Err(format!("and sent {n} of {of} bytes: {fault}")),
    }
}
