//! Plays the tracker and the other peers towards a peer under test; [`Scene`] decides what they have.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use bittorrentish::net::{BODY, Connection, HEADER, Listener, connect, listen};
use bittorrentish::protocol::{
    FirstMessage, PEER_CAP, Reply, TORRENT_CAP, ToTracker, VERSION, invalid, parse, to_bytes,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::program::Program;
use crate::record::{Plan, Recorder, event, tolerance};
use crate::scene::{CORRUPT, DYING, LARGE, NEAR, PLANTED, PLANTED_BYTES, SETTLED, Scene, Stage};

/// A choice is over once nothing more is asked for during this time, seconds: a peer that asks several at once has
/// asked them all.
const CHOSEN: f64 = 0.3;
/// How far away the peers are that have the download, and how long each takes for a piece beside that, milliseconds.
const AWAY: [u64; 5] = [0, 60, 200, 0, 0];
const PIECE_TIME: u64 = 30;
/// The peer that dies gives this many pieces before.
const LAST_PIECES: usize = 4;
/// How long a piece of the download is held back at most, seconds.
const HELD: f64 = 12.0;
const LOOK: Duration = Duration::from_millis(20);
/// Connections at a time to the tracker and to each peer.
const AT_ONCE: usize = 64;

/// What is played, for all threads.
pub struct PeerPlay {
    recorder: Arc<Recorder>,
    plan: Plan,
    scene: Mutex<Scene>,
    ports: Vec<u16>,
}

impl PeerPlay {
    /// Listens as the tracker and as all the peers. Returns the tracker's port, too, and what has to be kept as long.
    pub fn start(
        recorder: Arc<Recorder>,
        plan: Plan,
        port: u16,
    ) -> io::Result<(Arc<Self>, u16, Vec<Listener>)> {
        let tracker = listen(port)?;
        let port = tracker.local_addr()?.port();
        let mut doors = Vec::new();
        for _ in 1..=DYING {
            let door = listen(0)?;
            doors.push((door.local_addr()?.port(), door));
        }
        // listed in this order: whoever takes the first, or the lowest port, takes the same place each time
        doors.sort_by_key(|(port, _)| *port);
        let mut scene = Scene::default();
        let planted = Arc::new(PLANTED_BYTES.to_vec());
        scene.contents.insert(PLANTED.to_owned(), planted);
        let play = Arc::new(Self {
            recorder,
            plan,
            scene: Mutex::new(scene),
            ports: doors.iter().map(|(port, _)| *port).collect(),
        });
        let serving = Arc::clone(&play);
        let serve = move |connection| serving.serve("to the tracker", &Self::answer, connection);
        let mut listeners = vec![Listener::start("tracker", tracker, AT_ONCE, serve, |_| {})?];
        for (idx, (_, door)) in doors.into_iter().enumerate() {
            let serving = Arc::clone(&play);
            let give = move |play: &Self, message, connection: &mut Connection| {
                play.give(idx + 1, message, connection)
            };
            let serve = move |connection| serving.serve("to a peer", &give, connection);
            listeners.push(Listener::start("peer", door, AT_ONCE, serve, |_| {})?);
        }
        Ok((play, port, listeners))
    }

    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays until there is enough to judge, the program has ended, or the time is over. Returns whether the peer came.
    pub fn run(&self, program: &mut Option<Program>) -> bool {
        let patience = self.plan.within.min((6.0 * self.plan.ping).max(30.0));
        let round = self.plan.round;
        let enough = 2.0 * round + tolerance(round) + self.plan.ping;
        loop {
            self.recorder.tick();
            if let Some(how) = program.as_mut().and_then(Program::ended) {
                self.recorder.note(event("ended", 0, &how));
                return self.scene().peer.is_some();
            }
            let now = self.recorder.now();
            let (came, due) = {
                let mut scene = self.scene();
                let came = scene.peer.is_some();
                if scene.stage == Stage::Complete && now > scene.since + enough {
                    return true;
                }
                (came, scene.due_back(now, round))
            };
            if now > self.plan.within || !came && now > patience {
                return came;
            }
            if let Some(name) = due {
                self.ask_back(&name);
            }
        }
    }

    /// Reads a message and has it answered; what isn't one is taken down with its fault.
    fn serve<T: DeserializeOwned>(
        &self,
        to: &str,
        answer: &dyn Fn(&Self, T, &mut Connection) -> io::Result<()>,
        mut connection: Connection,
    ) {
        let mut of = to;
        let read = connection.read::<Value>(HEADER, TORRENT_CAP);
        let message = read.and_then(|value| {
            let value = value.ok_or_else(|| invalid("closed without a message"))?;
            if value["msg"] == "file_list" {
                of = "list";
            }
            parse(&to_bytes(&value))
        });
        match message {
            // whoever has gone meanwhile misses the answer; that shows in what it does next
            Ok(message) => drop(answer(self, message, &mut connection)),
            Err(fault) => {
                let fault = Some(fault.to_string());
                self.recorder
                    .note(event("not understood", 0, of).fault(fault));
            }
        }
    }

    /// Answers as the tracker.
    fn answer(&self, message: ToTracker, connection: &mut Connection) -> io::Result<()> {
        let ip = connection.peer.ip();
        let mut scene = self.scene();
        let answer = match message {
            ToTracker::Ping { port, v, .. } => {
                let ours = v.map_or("", |_| "ours");
                self.recorder.note(event("came: a ping", 0, ours));
                scene.peer = Some((ip, port).into());
                scene.ours |= v.is_some();
                let turn = scene.turn(self.recorder.now(), &self.plan);
                turn.into_iter().for_each(|turn| self.recorder.note(turn));
                scene.list(&connection.own.ip().to_string(), &self.ports)
            }
            ToTracker::FileList { port, files, v, .. } => {
                let list = event("came: the list", 0, "").files(files.clone());
                self.recorder.note(list);
                (scene.peer, scene.listed) = (Some((ip, port).into()), files);
                v.map_or_else(Vec::new, |v| to_bytes(&json!({"v": v})))
            }
            ToTracker::Publish { port, files, .. } => {
                let publisher = SocketAddr::from((ip, port)).to_string();
                let stands =
                    json!({"is": "stands", "mine": true, "published": 1, "publisher": publisher});
                to_bytes(&json!({"v": VERSION, "files": vec![stands; files.len()]}))
            }
            ToTracker::GetTorrent { name } => {
                self.recorder
                    .note(event("came: for the .torrent of", 0, name.as_str()));
                let torrent = scene.torrents.get(name.as_str()).map(|one| (**one).clone());
                let v = VERSION;
                to_bytes(&Reply {
                    v,
                    torrent,
                    ..Reply::default()
                })
            }
            ToTracker::Report(_) | ToTracker::Status => to_bytes(&json!({"v": VERSION})),
        };
        drop(scene);
        connection.sender().send_bytes(&answer)
    }

    /// Answers as one of the other peers.
    fn give(&self, who: usize, message: Value, connection: &mut Connection) -> io::Result<()> {
        match parse(&to_bytes(&message))? {
            FirstMessage::Original { filename } => {
                self.asked(who, &filename);
                self.wait_until_chosen();
                let content = self.scene().contents.get(&filename).cloned();
                let content = content.ok_or(io::ErrorKind::NotFound)?;
                let sent = connection.sender().send_within(&content, BODY);
                self.gave(who, &filename, sent.is_ok());
                sent
            }
            _ if who < NEAR => Err(io::ErrorKind::InvalidInput.into()),
            _ => self.give_ours(who, message, connection),
        }
    }

    fn asked(&self, who: usize, name: &str) {
        self.recorder.note(event("came: a request for", who, name));
        self.scene().last_ask = self.recorder.now();
    }

    fn gave(&self, who: usize, name: &str, whole: bool) {
        let mut scene = self.scene();
        let fault = (!whole).then(|| "not to its end".to_owned());
        self.recorder
            .note(event("sent: all of", who, name).fault(fault));
        if who == CORRUPT {
            scene.wrong.insert(name.to_owned());
        } else if whole {
            scene.given.insert(name.to_owned(), self.recorder.now());
        }
    }

    /// Holds back the first answer of a choice.
    fn wait_until_chosen(&self) {
        loop {
            let mut scene = self.scene();
            let chosen = self.recorder.now() > scene.last_ask + CHOSEN;
            if chosen || scene.answered || scene.stage != Stage::Choices {
                scene.answered = true;
                return;
            }
            drop(scene);
            sleep(LOOK);
        }
    }

    /// Exchanges hellos, and gives the pieces of the download.
    fn give_ours(&self, who: usize, first: Value, connection: &mut Connection) -> io::Result<()> {
        let away = Duration::from_millis(AWAY[who - NEAR]);
        let mut next = Some(first);
        while let Some(ask) = next {
            sleep(away);
            match ask["pieces"][0].as_u64() {
                Some(idx) => self.give_piece(who, &ask, idx as u32, connection)?,
                None if ask["msg"] == "hello" => {
                    let (port, id) = (self.ports[who - 1], format!("check {who}"));
                    let scene = self.scene();
                    let torrent = scene.torrents.get(&scene.download);
                    let torrent = torrent.ok_or(io::ErrorKind::NotFound)?;
                    let (name, md5) = (torrent.name(), torrent.md5());
                    let have = json!([{"name": name, "md5": md5, "pieces": "all"}]);
                    let hello =
                        json!({"msg": "hello", "v": 1, "id": id, "port": port, "have": have});
                    drop(scene);
                    connection.send(&hello)?;
                }
                None => {
                    sleep(HEADER / 10);
                    connection.send(&json!({"msg": "news", "n": ask["n"]}))?;
                }
            }
            next = connection.read(BODY, PEER_CAP)?;
        }
        Ok(())
    }

    fn give_piece(&self, who: usize, ask: &Value, idx: u32, to: &mut Connection) -> io::Result<()> {
        let file = ask["name"].as_str().unwrap_or_default();
        let torrent = self.scene().torrents.get(file).cloned();
        let torrent = torrent.filter(|one| idx < one.n_pieces());
        let name = torrent.ok_or(io::ErrorKind::NotFound)?.original_name(idx);
        self.asked(who, &name);
        sleep(Duration::from_millis(PIECE_TIME));
        let until = self.recorder.now() + HELD;
        while self.scene().is_held() && self.recorder.now() < until {
            sleep(LOOK);
        }
        if who == DYING && self.is_dead() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let mut bytes = self.scene().contents[&name].to_vec();
        if who == CORRUPT {
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
        }
        let (n, len) = (&ask["n"], bytes.len());
        to.send(&json!({"msg": "piece", "n": n, "idx": idx, "len": len}))?;
        let sent = to.sender().send_within(&bytes, BODY);
        self.gave(who, &name, sent.is_ok());
        sent
    }

    /// Whether the peer that dies is dead: it has given all that it was to give.
    fn is_dead(&self) -> bool {
        let events = self.recorder.events();
        let gave = events
            .iter()
            .filter(|one| one.who == DYING && one.what.starts_with("sent"));
        let dies = gave.count() >= LAST_PIECES;
        if dies && !events.iter().any(|one| one.what == "a source went away") {
            self.recorder.note(event("a source went away", DYING, ""));
        }
        dies
    }

    /// Asks the peer for something that it has, as the original does; once more where that fails, as it may be busy.
    fn ask_back(&self, name: &str) {
        let (peer, content) = {
            let scene = self.scene();
            (scene.peer, scene.contents.get(name).cloned())
        };
        // how C1 knows it from the others
        let large = content.as_ref().filter(|bytes| bytes.len() >= LARGE);
        let large = large.map(|_| "large".to_owned()).into_iter().collect();
        let fault = peer.zip(content).and_then(|(peer, content)| {
            fetch(peer, name, &content).err()?;
            sleep(Duration::from_secs_f64(SETTLED));
            fetch(peer, name, &content).err()
        });
        self.recorder.note(
            event("asked the peer for", 0, name)
                .files(large)
                .fault(fault),
        );
        self.scene().back.insert(name.to_owned());
    }
}

/// Fetches a file, and compares it.
fn fetch(from: SocketAddr, name: &str, content: &[u8]) -> Result<(), String> {
    let told = |fault: io::Error| format!("{from}: {fault}");
    let mut connection = connect(&[from]).map_err(told)?;
    connection.send(&json!({"filename": name})).map_err(told)?;
    let (mut came, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    while came.len() <= content.len() {
        match connection.read_some(&mut buffer).map_err(told)? {
            0 if came == content => return Ok(()),
            0 => break,
            n => came.extend_from_slice(&buffer[..n]),
        }
    }
    let (n, of) = (came.len(), content.len());
    match n == of {
        true => Err("other bytes came".to_owned()),
        false => Err(format!("{n} bytes came, of {of}")),
    }
}
