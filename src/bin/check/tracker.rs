//! Plays the peers towards a tracker under test, by a timetable.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bittorrentish::net::addresses::own_addresses;
use bittorrentish::net::{Connection, HEADER, Listener, connect, is_local, is_timeout, listen};
use bittorrentish::protocol::{
    LIST_CAP, PEER_CAP, PingAnswer, Publication, Reply, SwarmList, ToTracker, VERSION, invalid,
    parse, to_bytes,
};
use bittorrentish::torrent::{Name, Torrent};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::program::Program;
use crate::record::{ENDED, RecordedEvent, Recorder, event};

pub const PINGED: &str = "{name} (port {who}) pinged";
pub const LISTED: &str = "{name} (port {who}) sent its list:";
pub const HEARD: &str = "{name} (port {who}) was sent the list:";
pub const MUTE: &str = "{name} (port {who}) pinged, and was sent no list:";
pub const ODD: &str = "{name} (port {who}) was sent what isn't understood:";
pub const ANSWERED: &str = "the list of {name} (port {who}) was answered, which nobody reads:";
pub const OPEN: &str =
    "{name} (port {who}) was answered, but the connection stays open: where is the list's end?";
pub const WANTED: &str = "the tracker asked the peer at port {who} for {name}";
pub const PUBLISHED: &str = "{name} was published";
pub const REMOTE: &str = "{name} (port {who}) is at a second address";

/// Until when all are watched, seconds; then many come, and then one with a long list.
pub const CROWD_COMES: f64 = 100.0;
const LONG_COMES: f64 = 135.0;
pub const ENDS: f64 = 170.0;
/// How many fall silent after one list, and how many come at once.
pub const CROWD: usize = 150;
const SILENT: usize = 25;
const NEVER: f64 = 1e6;

/// Who sends a message: a part, how many play it and how long one begins after the other; how often, from when to when; and
/// the files of a list, or none of a ping. In seconds of the course text.
type Part = (&'static str, usize, f64, f64, f64, f64, &'static str);
const TIMETABLE: [Part; 12] = [
    ("steady", 1, 0.0, 20.0, 0.0, ENDS, "one.txt two.txt"),
    ("steady", 1, 0.0, 10.0, 1.0, ENDS, ""),
    ("pinger", 1, 0.0, NEVER, 0.0, ENDS, "two.txt three.txt"),
    ("pinger", 1, 0.0, 10.0, 1.0, ENDS, ""),
    ("lister", 1, 0.0, 10.0, 0.0, ENDS, "four.txt"),
    ("changer", 1, 0.0, 10.0, 0.0, 45.0, "kept.txt old.txt"),
    ("changer", 1, 0.0, 10.0, 45.0, ENDS, "kept.txt new.txt"),
    ("newcomer", 1, 0.0, NEVER, 62.0, ENDS, ""),
    ("observer", 1, 0.0, 1.0, 0.5, ENDS, ""),
    ("silent", SILENT, 3.0, NEVER, 0.0, ENDS, "silent.txt"),
    ("crowd", CROWD, 0.04, 10.0, CROWD_COMES, ENDS, "crowd.txt"),
    ("long", 1, 0.0, 10.0, LONG_COMES, ENDS, "one.txt"),
];
/// The first port of peers that nobody listens for.
const PORT: usize = 20_000;
/// The files of a long list: more than 3,000 bytes, and fewer than the 4,096 that the original reads.
const LONG: usize = 110;
/// So many times in a row nothing comes before nobody asks any more.
const GIVEN_UP: usize = 4;
/// How long a close is waited for, and the next answer of one that didn't answer.
const CLOSES: Duration = Duration::from_secs(2);

/// A message that is due.
struct Due {
    at: f64,
    role: &'static str,
    port: usize,
    files: Vec<String>,
}

pub struct TrackerPlay {
    recorder: Arc<Recorder>,
    at: SocketAddr,
    /// Another address of the same tracker, from which it sees another one of this machine.
    other: Option<SocketAddr>,
    /// The addresses at which the peers are.
    ips: Vec<String>,
    /// Where those listen that play a part alone, to see whether the tracker asks them for something.
    ports: BTreeMap<&'static str, usize>,
    _listeners: Vec<Listener>,
    /// The ports of peers that were there before, of which nothing is known.
    strangers: Vec<u16>,
    /// Whether it answers our pings with our list.
    ours: bool,
    mute: usize,
}

impl TrackerPlay {
    /// Begins with an open connection, as a close without a message would end an original.
    pub fn start(recorder: &Arc<Recorder>, first: Connection, remote: bool) -> io::Result<Self> {
        let (at, own) = (first.peer, first.own.ip());
        let mut play = Self {
            recorder: Arc::clone(recorder),
            at,
            other: None,
            ips: vec![own.to_string(), at.ip().to_string()],
            ports: BTreeMap::new(),
            _listeners: Vec::new(),
            strangers: Vec::new(),
            ours: false,
            mute: 0,
        };
        for (role, ..) in TIMETABLE.iter().filter(|part| part.1 == 1) {
            let listener = listen(0)?;
            let port = usize::from(listener.local_addr()?.port());
            let recorder = Arc::clone(recorder);
            let serve = move |connection| was_asked(&recorder, port, connection);
            play._listeners
                .push(Listener::start("peer", listener, 8, serve, |_| {})?);
            play.ports.insert(role, port);
        }
        // whether it speaks our messages: an original takes no notice of the version
        let ping = json!({"msg": "ping", "port": play.ports["observer"], "v": VERSION});
        let answer = play.ask(first, &ping).ok();
        play.ours = matches!(answer, Some((PingAnswer::Ours(_), _)));
        if let Some((PingAnswer::Ours(SwarmList { peers, .. }) | PingAnswer::Original(peers), _)) =
            answer
        {
            play.strangers = peers.iter().map(|peer| peer.port).collect();
        }
        let mut others = own_addresses(4);
        others.push(Ipv6Addr::LOCALHOST.into());
        others.retain(|_| remote && is_local(at.ip(), own));
        for ip in others {
            let other = connect(&[SocketAddr::new(ip, at.port())]);
            let Some(other) = other.ok().filter(|other| other.own.ip() != own) else {
                continue;
            };
            play.other = Some(other.peer);
            play.ips.push(other.own.ip().to_string());
            recorder.note(event(REMOTE, play.ports["steady"], "steady"));
            // a close without a message would end an original
            let _ = play.ask::<Value>(other, &ping);
            break;
        }
        Ok(play)
    }

    /// Plays the timetable to its end, or until the program has ended or answers no more.
    pub fn run(&mut self, program: &mut Option<Program>) {
        let began = self.recorder.now();
        for due in self.timetable() {
            while self.recorder.now() < began + due.at {
                self.recorder.tick();
            }
            if let Some(how) = program.as_mut().and_then(Program::ended) {
                return self.recorder.note(event(ENDED, 0, &how));
            }
            if self.mute < GIVEN_UP {
                self.send(self.at, &due);
            }
            if let Some(other) = self.other.filter(|_| due.role == "steady") {
                self.send(other, &due);
            }
        }
        if self.ours {
            let fault = self.publish().err().map(|fault| fault.to_string());
            self.recorder
                .note(event(PUBLISHED, 0, "a .torrent").fault(fault));
        }
    }

    /// All messages, in order.
    fn timetable(&self) -> Vec<Due> {
        let (mut table, mut next_port) = (Vec::new(), PORT);
        for (role, n, apart, every, from, to, files) in TIMETABLE {
            let mut files: Vec<String> = files.split_whitespace().map(str::to_owned).collect();
            if role == "long" {
                files.extend((0..LONG).map(|n| format!("a-rather-long-name-{n:04}.txt")));
            }
            for nth in 0..n {
                let port = self.ports.get(role).copied().unwrap_or(next_port);
                next_port += 1;
                let mut at = from + nth as f64 * apart;
                while at < to {
                    table.push(Due {
                        at,
                        role,
                        port,
                        files: files.clone(),
                    });
                    at += every;
                }
            }
        }
        table.sort_by(|one, other| one.at.total_cmp(&other.at));
        table
    }

    /// Sends a message, and takes down what comes of it.
    fn send(&mut self, to: SocketAddr, due: &Due) {
        let (port, role, files) = (due.port, due.role, due.files.clone());
        let mut message = json!({"port": port, "msg": "ping"});
        if self.ours {
            message["v"] = VERSION.into();
        }
        if files.is_empty() {
            self.recorder.note(event(PINGED, port, role));
            let heard = match connect(&[to]).and_then(|to| self.ask(to, &message)) {
                Ok((came, to)) => {
                    self.wait_for_close(to, due);
                    self.heard(came, event(HEARD, port, role))
                }
                Err(fault) => {
                    let is_odd = fault.kind() == io::ErrorKind::InvalidData;
                    let what = if is_odd { ODD } else { MUTE };
                    event(what, port, role).fault(Some(fault.to_string()))
                }
            };
            self.mute = if heard.what == MUTE { self.mute + 1 } else { 0 };
            return self.recorder.note(heard);
        }
        (message["msg"], message["files"]) = ("file_list".into(), json!(files));
        self.recorder
            .note(event(LISTED, port, role).lists(vec![(port, files)]));
        if let Ok(to) = connect(&[to])
            && to.send(&message).is_ok()
            && !self.ours
        {
            self.wait_for_close(to, due);
        }
    }

    /// Takes down what still comes, or that nothing ends the connection: on a thread of its own, as others don't wait.
    fn wait_for_close(&self, mut to: Connection, due: &Due) {
        let (recorder, port, role) = (Arc::clone(&self.recorder), due.port, due.role);
        let is_ping = due.files.is_empty();
        std::thread::spawn(move || match to.read::<Value>(CLOSES, PEER_CAP) {
            Ok(Some(came)) if !is_ping => {
                recorder.note(event(ANSWERED, port, role).fault(Some(came.to_string())))
            }
            Err(fault) if is_ping && is_timeout(&fault) => recorder.note(event(OPEN, port, role)),
            _ => {}
        });
    }

    /// What an answer to a ping tells.
    fn heard(&self, came: PingAnswer, heard: RecordedEvent) -> RecordedEvent {
        let peers = match came {
            PingAnswer::Ours(list) => list.peers,
            PingAnswer::Original(peers) => peers,
            PingAnswer::Refused(refusal) => {
                return RecordedEvent { what: ODD, ..heard }.fault(Some(refusal.error));
            }
        };
        let (mut peers, ports) = (peers, PORT..PORT + 999);
        peers.retain(|peer| !self.strangers.contains(&peer.port));
        let known = |port| ports.contains(&port) || self.ports.values().any(|known| *known == port);
        let fault = peers.iter().find_map(|peer| {
            let (ip, port, ips) = (&peer.ip, usize::from(peer.port), self.ips.join(" or "));
            match self.ips.contains(ip) {
                false => Some(format!("with ip {ip:?} for port {port}, which is at {ips}")),
                true if known(port) => None,
                true => Some(format!(
                    "with port {port}, which is in no message: is it a connection's?"
                )),
            }
        });
        let lists = peers
            .into_iter()
            .map(|peer| (peer.port.into(), peer.file_list));
        heard.lists(lists.collect()).fault(fault)
    }

    /// Sends a message. Returns the answer, and the connection.
    fn ask<T: DeserializeOwned>(
        &self,
        mut to: Connection,
        message: &Value,
    ) -> io::Result<(T, Connection)> {
        to.send(message)?;
        let patience = if self.mute == 0 { HEADER } else { CLOSES };
        let came = to.expect(patience, LIST_CAP)?;
        Ok((came, to))
    }

    /// Publishes a `.torrent`, and fetches it.
    fn publish(&self) -> io::Result<()> {
        let name = Name::parse("published.bin").expect("letters");
        let torrent = Torrent::of_content(name.clone(), &[7; 3 << 16]);
        let port = self.ports["steady"] as u16;
        let file = Publication {
            torrent: Some(torrent.clone()),
            ..Publication::of(&torrent)
        };
        let ask = |message: ToTracker| self.ask::<Reply>(connect(&[self.at])?, &json!(message));
        ask(ToTracker::Publish {
            port,
            key: "check".to_owned(),
            files: vec![file],
        })?;
        ask(parse(&to_bytes(
            &json!({"msg": "file_list", "port": port, "files": [name], "v": VERSION}),
        ))?)?;
        let kept = ask(ToTracker::GetTorrent { name })?.0.torrent;
        let kept = kept.ok_or_else(|| invalid("but the tracker has no such .torrent"))?;
        let named = kept.peers.iter().any(|peer| peer.port == port);
        if named && kept.same_content(&torrent) && kept.n_pieces() == torrent.n_pieces() {
            return Ok(());
        }
        let peers = &kept.peers;
        Err(invalid(format!(
            "at port {port}, and came back as {kept:?}, at {peers:?}, not {torrent:?}"
        )))
    }
}

/// Notes what a tracker wants from a peer.
fn was_asked(recorder: &Recorder, port: usize, mut connection: Connection) {
    if let Ok(Some(message)) = connection.read::<Value>(HEADER, PEER_CAP) {
        // who only says hello took the port for that of a peer that was here before
        if message["filename"].is_string() || message["msg"] == "get" {
            recorder.note(event(WANTED, port, &message.to_string()));
        }
        // it would be sent, as by any peer
        let _ = connection.sender().send_bytes(b"bytes of the file\n");
    }
}
