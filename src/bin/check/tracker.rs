//! Plays the peers towards a tracker under test, by a timetable.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bittorrentish::net::{Connection, HEADER, Listener, connect, listen};
use bittorrentish::protocol::{
    LIST_CAP, PEER_CAP, PeerEntry, PingAnswer, Publication, Reply, VERSION, invalid, parse,
    to_bytes,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::program::Program;
use crate::record::{Plan, Recorder, event};
use crate::scene::torrent_of;

/// Who sends a message, how often, from when to when, in seconds of the course text; and the files of a list, or none of a ping.
const TIMETABLE: [(&str, f64, f64, f64, &str); 9] = [
    ("steady", 20.0, 0.0, WATCHED, "one.txt two.txt"),
    ("steady", 10.0, 1.0, WATCHED, ""),
    ("pinger", 999.0, 0.0, WATCHED, "two.txt three.txt"),
    ("pinger", 10.0, 1.0, WATCHED, ""),
    ("lister", 10.0, 0.0, WATCHED, "four.txt"),
    ("changer", 10.0, 0.0, 45.0, "kept.txt old.txt"),
    ("changer", 10.0, 45.0, WATCHED, "kept.txt new.txt"),
    ("newcomer", 999.0, 62.0, WATCHED, ""),
    ("observer", 1.0, 0.5, WATCHED, ""),
];
/// The same for many peers: their part, how many, the time between two of them, and their first message.
const WATCHED: f64 = 105.0;
pub const CROWD: usize = 150;
/// How many fall silent after one list, each a while after the one before.
const SILENT: usize = 25;
const SILENT_EVERY: f64 = 3.0;
/// Their first ports, at which nobody listens.
const SILENT_PORT: usize = 20_000;
const CROWD_PORT: usize = 21_000;
/// A tracker that doesn't answer so often in a row isn't asked any more.
const GIVEN_UP: usize = 4;
/// How long a list's end is waited for: it needs no answer.
const NO_ANSWER: Duration = Duration::from_millis(300);

/// A message that is due.
struct Due {
    at: f64,
    role: &'static str,
    port: usize,
    files: &'static str,
}

pub struct TrackerPlay {
    recorder: Arc<Recorder>,
    plan: Plan,
    at: SocketAddr,
    /// The addresses of both ends.
    ips: Vec<String>,
    /// Where the peers of the timetable listen, to see whether the tracker asks them for something.
    ports: BTreeMap<&'static str, usize>,
    _listeners: Vec<Listener>,
    /// Whether it answers our pings with our list.
    ours: bool,
    unanswered: usize,
}

impl TrackerPlay {
    pub fn start(recorder: Arc<Recorder>, plan: Plan, at: SocketAddr) -> io::Result<Self> {
        let connection = connect(&[at])?;
        let ips = [connection.own.ip(), connection.peer.ip()];
        let mut play = Self {
            recorder,
            plan,
            at,
            ips: ips.map(|ip| ip.to_string()).to_vec(),
            ports: BTreeMap::new(),
            _listeners: Vec::new(),
            ours: false,
            unanswered: 0,
        };
        for (role, ..) in TIMETABLE {
            let listener = listen(0)?;
            let port = usize::from(listener.local_addr()?.port());
            let recorder = Arc::clone(&play.recorder);
            let serve = move |connection| was_asked(&recorder, port, connection);
            let listener = Listener::start("peer", listener, 8, serve, |_| {})?;
            play._listeners.push(listener);
            play.ports.insert(role, port);
        }
        // whether it speaks our messages: an original takes no notice of the version
        play.ours = true;
        let ping = play.message(play.ports["observer"], "");
        let answer = play.tell::<PingAnswer>(connection, &ping);
        play.ours = matches!(answer, Ok(PingAnswer::Ours(_)));
        Ok(play)
    }

    /// Plays the timetable to its end, or until the program has ended or answers no more.
    pub fn run(&mut self, program: &mut Option<Program>) {
        let began = self.recorder.now();
        for due in self.timetable() {
            while self.recorder.now() < began + due.at * self.plan.scale {
                self.recorder.tick();
            }
            if let Some(how) = program.as_mut().and_then(Program::ended) {
                return self.recorder.note(event("ended", 0, &how));
            }
            if self.unanswered >= GIVEN_UP || self.recorder.now() > self.plan.within {
                return;
            }
            self.send(&due);
        }
        if self.ours {
            let fault = self.publish().err().map(|fault| fault.to_string());
            self.recorder
                .note(event("published a .torrent", 0, "").fault(fault));
        }
    }

    /// All messages, in order.
    fn timetable(&self) -> Vec<Due> {
        let mut table = Vec::new();
        let mut add = |role, port, every: f64, mut at: f64, to, files| {
            while at < to {
                table.push(Due {
                    at,
                    role,
                    port,
                    files,
                });
                at += every;
            }
        };
        for (role, every, from, to, files) in TIMETABLE {
            add(role, self.ports[role], every, from, to, files);
        }
        for nth in 0..SILENT {
            let at = nth as f64 * SILENT_EVERY;
            add(
                "silent",
                SILENT_PORT + nth,
                999.0,
                at,
                WATCHED,
                "silent.txt",
            );
        }
        for nth in 0..CROWD {
            let (at, port) = (WATCHED + nth as f64 / 25.0, CROWD_PORT + nth);
            add("crowd", port, 999.0, at, WATCHED + 30.0, "crowd.txt");
            add("crowd", port, 10.0, at + 8.0, WATCHED + 38.0, "");
        }
        table.sort_by(|one, other| one.at.total_cmp(&other.at));
        table
    }

    /// A ping, or a list of some files.
    fn message(&self, port: usize, files: &str) -> Value {
        let files: Vec<&str> = files.split_whitespace().collect();
        let mut message = match files.is_empty() {
            true => json!({"port": port, "msg": "ping"}),
            false => json!({"port": port, "files": files, "msg": "file_list"}),
        };
        if self.ours {
            message["v"] = VERSION.into();
        }
        message
    }

    /// Sends a message, and takes down what comes of it.
    fn send(&mut self, due: &Due) {
        let files = due.files.split_whitespace().map(str::to_owned).collect();
        let note = |what| event(what, due.port, due.role);
        self.recorder.note(note("sent: as").files(files));
        let message = self.message(due.port, due.files);
        let came = match connect(&[self.at]) {
            Ok(mut to) if !due.files.is_empty() => {
                let sent = to.send(&message);
                // it may answer, or not
                let _ = to.read::<Value>(NO_ANSWER, PEER_CAP);
                return drop(sent);
            }
            Ok(to) => self.tell(to, &message),
            Err(fault) => Err(fault),
        };
        let (heard, fault) = match came {
            Ok(PingAnswer::Ours(list)) => return self.heard(due, list.peers),
            Ok(PingAnswer::Original(peers)) => return self.heard(due, peers),
            Ok(PingAnswer::Refused(refusal)) => ("not understood", refusal.error),
            Err(fault) if fault.kind() == io::ErrorKind::InvalidData => {
                ("not understood", fault.to_string())
            }
            Err(fault) => ("no answer to", fault.to_string()),
        };
        self.unanswered += 1;
        self.recorder.note(note(heard).fault(Some(fault)));
    }

    fn heard(&mut self, due: &Due, peers: Vec<PeerEntry>) {
        self.unanswered = 0;
        let wrong = peers.iter().find(|peer| !self.ips.contains(&peer.ip));
        let fault = wrong.map(|peer| {
            let (ip, ips) = (&peer.ip, self.ips.join(" or "));
            format!(
                "ip: expected {ips}, from where port {} came, got {ip:?}",
                peer.port
            )
        });
        let peers = peers.into_iter();
        let lists = peers
            .map(|peer| (peer.port.into(), peer.file_list))
            .collect();
        let heard = event("came: the list for", due.port, due.role);
        self.recorder.note(heard.lists(lists).fault(fault));
    }

    fn tell<T: DeserializeOwned>(&self, mut to: Connection, message: &Value) -> io::Result<T> {
        to.send(message)?;
        let answer = to.read::<Value>(HEADER, LIST_CAP)?;
        let none = || io::Error::other("it closed without an answer");
        parse(&to_bytes(&answer.ok_or_else(none)?))
    }

    /// Publishes a `.torrent`, and fetches it.
    fn publish(&self) -> io::Result<()> {
        let torrent = torrent_of("published.bin", &[7; 3 << 16]);
        let port = self.ports["steady"];
        let mut file = Publication::of(&torrent);
        file.torrent = Some(torrent.clone());
        let ask = |message: Value| self.tell::<Reply>(connect(&[self.at])?, &message);
        ask(json!({"msg": "publish", "port": port, "key": "check", "files": [file]}))?;
        ask(self.message(port, "published.bin"))?;
        let kept = ask(json!({"msg": "get_torrent", "name": "published.bin"}))?.torrent;
        let kept = kept.ok_or_else(|| invalid("it has no such .torrent"))?;
        let named = kept.peers.iter().any(|peer| usize::from(peer.port) == port);
        if named && kept.same_content(&torrent) && kept.n_pieces() == torrent.n_pieces() {
            return Ok(());
        }
        let peers = &kept.peers;
        Err(invalid(format!(
            "expected {torrent:?}, at port {port}, got {kept:?}, at {peers:?}"
        )))
    }
}

/// Notes what a tracker wants from a peer.
fn was_asked(recorder: &Recorder, port: usize, mut connection: Connection) {
    if let Ok(Some(message)) = connection.read::<Value>(HEADER, PEER_CAP) {
        let message: String = message.to_string().chars().take(200).collect();
        recorder.note(event("the tracker asked:", port, &message));
        // it would be sent, as by any peer
        let _ = connection.sender().send_bytes(b"bytes of the file\n");
    }
}
