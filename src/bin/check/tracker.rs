//! Plays the peers towards a tracker under test.
//!
//! One thread does it all by a timetable: peers that ping and list as the course text asks for, some that only do one of both,
//! one whose list changes, a new one that falls silent every fifth of a sweep, then a great many at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bittorrentish::net::{Connection, HEADER, Listener, connect, listen};
use bittorrentish::protocol::{
    LIST_CAP, PEER_CAP, PeerEntry, PingAnswer, Publication, Reply, ToTracker, VERSION, parse,
    to_bytes,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::program::Program;
use crate::record::{Plan, Recorder, Role, What};
use crate::scene::torrent_of;

/// How many come at once, and the first of their ports, at which nobody listens.
pub const CROWD: u16 = 150;
const CROWD_PORT: u16 = 21_000;
const SILENT_PORT: u16 = 20_000;
/// How long the peers are watched before the crowd comes, and how long the crowd is, in sweeps.
const WATCHED: f64 = 7.0;
const CROWDED: f64 = 2.5;
/// A tracker that doesn't answer so often in a row isn't asked any more.
const GIVEN_UP: usize = 4;
/// How long a list's end is waited for: it needs no answer.
const NO_ANSWER: Duration = Duration::from_millis(300);
/// The roles that listen at a port of their own, and see whether the tracker asks them for something.
const LISTENING: [Role; 7] = [
    Role::Observer,
    Role::Steady,
    Role::Pinger,
    Role::Lister,
    Role::Changer,
    Role::Newcomer,
    Role::Publisher,
];

/// A message that is due.
struct Due {
    at: f64,
    role: Role,
    port: u16,
    files: Option<Vec<String>>,
}

pub struct TrackerPlay {
    recorder: Arc<Recorder>,
    plan: Plan,
    at: SocketAddr,
    ports: Vec<u16>,
    _listeners: Vec<Listener>,
    /// Whether it answers our pings with our list.
    ours: bool,
    unanswered: usize,
}

/// What a played peer lists.
pub fn files_of(role: Role, changed: bool) -> Vec<String> {
    let names: &[&str] = match role {
        Role::Changer if changed => &["kept.txt", "new.txt"],
        Role::Changer => &["kept.txt", "old.txt"],
        Role::Steady => &["one.txt", "two.txt"],
        Role::Pinger => &["two.txt", "three.txt"],
        _ => &["four.txt"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl TrackerPlay {
    pub fn start(
        recorder: Arc<Recorder>,
        plan: Plan,
        at: SocketAddr,
        remote: bool,
    ) -> io::Result<Self> {
        let (mut ports, mut listeners) = (Vec::new(), Vec::new());
        for _ in LISTENING {
            let listener = listen(0)?;
            let port = listener.local_addr()?.port();
            let seen = Arc::clone(&recorder);
            let serve = move |connection| was_asked(&seen, port, connection);
            listeners.push(Listener::start("peer", listener, 8, serve, |_| {})?);
            ports.push(port);
        }
        let connection = connect(&[at])?;
        let ips = [connection.own.ip(), connection.peer.ip()]
            .map(|ip| ip.to_string())
            .to_vec();
        drop_politely(connection);
        recorder.note(What::Reached { ips, remote });
        Ok(Self {
            recorder,
            plan,
            at,
            ports,
            _listeners: listeners,
            ours: false,
            unanswered: 0,
        })
    }

    fn port(&self, role: Role) -> u16 {
        let idx = LISTENING.iter().position(|listening| *listening == role);
        idx.map_or(0, |idx| self.ports[idx])
    }

    /// Plays the timetable to its end, or until the program has ended or answers no more.
    pub fn run(&mut self, program: &mut Option<Program>) {
        // whether it speaks our messages: an original takes no notice of the version
        self.ours = matches!(
            self.tell::<PingAnswer>(&self.ping(self.port(Role::Observer), true)),
            Ok(PingAnswer::Ours(_))
        );
        let began = self.recorder.now();
        for due in self.timetable() {
            while self.recorder.now() < began + due.at {
                self.recorder.tick();
            }
            if let Some(how) = program.as_mut().and_then(Program::ended) {
                return self.recorder.note(What::Ended { how });
            }
            if self.unanswered >= GIVEN_UP || self.recorder.now() > self.plan.within {
                return;
            }
            self.send(due);
        }
        if self.ours {
            let fault = self.publish().err();
            self.recorder.note(What::Kept { fault });
        }
    }

    /// All messages, in order.
    fn timetable(&self) -> Vec<Due> {
        let sweep = self.plan.sweep;
        let mut table = Vec::new();
        let mut add = |role, port, every: f64, from: f64, to: f64, files: Option<Vec<String>>| {
            let times = (0..)
                .map(|n| from + f64::from(n) * every)
                .take_while(|at| *at < to);
            table.extend(times.map(|at| Due {
                at,
                role,
                port,
                files: files.clone(),
            }));
        };
        let (end, port) = (WATCHED * sweep, |role| self.port(role));
        let ping = 2.0 / 3.0 * sweep;
        let changes = 3.0 * sweep;
        let lists = |role| Some(files_of(role, false));
        // the lists come first: a peer that is known by its ping has no files
        add(
            Role::Steady,
            port(Role::Steady),
            2.0 * ping,
            0.0,
            end,
            lists(Role::Steady),
        );
        add(
            Role::Pinger,
            port(Role::Pinger),
            end,
            0.0,
            end,
            lists(Role::Pinger),
        );
        add(
            Role::Lister,
            port(Role::Lister),
            ping,
            0.0,
            end,
            lists(Role::Lister),
        );
        add(
            Role::Changer,
            port(Role::Changer),
            ping,
            0.0,
            changes,
            lists(Role::Changer),
        );
        add(
            Role::Changer,
            port(Role::Changer),
            ping,
            changes,
            end,
            Some(files_of(Role::Changer, true)),
        );
        add(
            Role::Steady,
            port(Role::Steady),
            ping,
            0.1 * ping,
            end,
            None,
        );
        add(
            Role::Pinger,
            port(Role::Pinger),
            ping,
            0.1 * ping,
            end,
            None,
        );
        for nth in 0..25 {
            let at = f64::from(nth) * sweep / 5.0;
            add(
                Role::Silent,
                SILENT_PORT + nth,
                end,
                at,
                at + 0.01,
                lists(Role::Silent),
            );
        }
        add(
            Role::Newcomer,
            port(Role::Newcomer),
            ping,
            4.1 * sweep,
            4.2 * sweep,
            None,
        );
        add(
            Role::Observer,
            port(Role::Observer),
            (sweep / 15.0).max(0.1),
            0.05 * ping,
            end,
            None,
        );
        for nth in 0..CROWD {
            let at = end + f64::from(nth) / f64::from(CROWD) * 0.4 * sweep;
            add(
                Role::Crowd,
                CROWD_PORT + nth,
                sweep,
                at,
                at + 0.01,
                lists(Role::Crowd),
            );
            add(
                Role::Crowd,
                CROWD_PORT + nth,
                0.7 * sweep,
                at + 0.5 * sweep,
                end + CROWDED * sweep,
                None,
            );
        }
        table.sort_by(|one, other| one.at.total_cmp(&other.at));
        table
    }

    /// Sends a message, and takes down what comes of it.
    fn send(&mut self, due: Due) {
        let Due {
            role, port, files, ..
        } = due;
        self.recorder.note(What::Said {
            role,
            port,
            files: files.clone(),
        });
        if let Some(files) = files {
            let list = json!({"port": port, "files": files, "msg": "file_list"});
            let sent = self
                .open(&list)
                .map(|mut connection| connection.read::<Value>(NO_ANSWER, PEER_CAP));
            if let Err(fault) = sent {
                self.mute(role, port, &fault);
            }
            return;
        }
        let ping = self.ping(port, self.ours);
        match self.tell(&ping) {
            Ok(PingAnswer::Ours(list)) => self.heard(role, port, list.peers),
            Ok(PingAnswer::Original(peers)) => self.heard(role, port, peers),
            Ok(PingAnswer::Refused(refusal)) => self.recorder.note(What::Garbled {
                role,
                port,
                why: refusal.error,
            }),
            Err(fault) if fault.kind() == io::ErrorKind::InvalidData => {
                let why = fault.to_string();
                self.recorder.note(What::Garbled { role, port, why });
            }
            Err(fault) => self.mute(role, port, &fault),
        }
    }

    fn heard(&mut self, role: Role, port: u16, peers: Vec<PeerEntry>) {
        self.unanswered = 0;
        self.recorder.note(What::Heard { role, port, peers });
    }

    fn mute(&mut self, role: Role, port: u16, fault: &io::Error) {
        self.unanswered += 1;
        let why = fault.to_string();
        self.recorder.note(What::Mute { role, port, why });
    }

    fn ping(&self, port: u16, ours: bool) -> Value {
        let mut ping = json!({"port": port, "msg": "ping"});
        if ours {
            ping["v"] = VERSION.into();
        }
        ping
    }

    fn open(&self, message: &Value) -> io::Result<Connection> {
        let connection = connect(&[self.at])?;
        connection.send(message)?;
        Ok(connection)
    }

    fn tell<T: DeserializeOwned>(&self, message: &Value) -> io::Result<T> {
        let mut connection = self.open(message)?;
        let answer = connection.read::<Value>(HEADER, LIST_CAP)?;
        let none = || io::Error::new(io::ErrorKind::UnexpectedEof, "it closed without an answer");
        parse(&to_bytes(&answer.ok_or_else(none)?))
    }

    /// Publishes a `.torrent`, and fetches it.
    fn publish(&self) -> Result<(), String> {
        let torrent = torrent_of("published.bin", &vec![7; 3 * 65536]);
        let port = self.port(Role::Publisher);
        let file = Publication {
            torrent: Some(torrent.clone()),
            ..Publication::of(&torrent)
        };
        let publish = ToTracker::Publish {
            port,
            key: "check".to_owned(),
            files: vec![file],
        };
        let told = |fault: io::Error| fault.to_string();
        let ask = |message: &ToTracker| self.tell::<Reply>(&json!(message)).map_err(told);
        ask(&publish)?;
        let name = torrent.name().clone();
        let list = json!({"port": port, "files": [name], "msg": "file_list", "v": VERSION});
        self.tell::<Reply>(&list).map_err(told)?;
        let kept = ask(&ToTracker::GetTorrent { name })?
            .torrent
            .ok_or("it has no such .torrent")?;
        let named = |peer: &bittorrentish::torrent::Source| peer.port == port;
        match kept.same_content(&torrent) && kept.n_pieces() == torrent.n_pieces() {
            true if kept.peers.iter().any(named) => Ok(()),
            true => Err(format!(
                "the peer on port {port} has it, and isn't named in it: {:?}",
                kept.peers
            )),
            false => Err(format!("expected {torrent:?}, got {kept:?}")),
        }
    }
}

/// An original reads once from each connection, and ends for good if nothing comes: it gets a ping.
fn drop_politely(mut connection: Connection) {
    let ping = json!({"port": CROWD_PORT - 1, "msg": "ping"});
    let _ = connection
        .send(&ping)
        .and_then(|()| connection.read::<Value>(HEADER, LIST_CAP));
}

/// Notes what a tracker wants from a peer.
fn was_asked(recorder: &Recorder, port: u16, mut connection: Connection) {
    if let Ok(Some(message)) = connection.read::<Value>(HEADER, PEER_CAP) {
        let message = message.to_string().chars().take(200).collect();
        recorder.note(What::Fetched { port, message });
        // it would be sent, as from any peer
        let _ = connection.sender().send_bytes(b"four\n");
    }
}
