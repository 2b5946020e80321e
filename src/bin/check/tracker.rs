//! Plays the peers for a tracker under test, by a timetable; [`lists`] judges what it hands out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use std::{fmt, io, thread};

use bittorrentish::net::addresses::own_addresses;
use bittorrentish::net::{Connection, HEADER, Listener, connect, is_local, is_timeout, listen};
use bittorrentish::protocol::{
    LIST_CAP, PEER_CAP, PeerEntry, PingAnswer, Publication, Reply, VERSION, invalid,
};
use bittorrentish::torrent::{Name, Torrent};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::program::Program;
use crate::record::{Beat, OURS, fails, good, note, now, tick};

mod lists;

/// When all is over, seconds of the course text.
pub const ENDS: f64 = 170.0;
/// The files of a long list: more than 3,000 bytes, and fewer than the 4,096 that the original reads.
const LONG: usize = 110;
/// After this many times in a row without an answer nobody asks any more.
const GIVEN_UP: usize = 4;
/// How long a close is waited for, and the next answer of one that didn't answer.
const CLOSES: Duration = Duration::from_secs(2);

/// A message that is due, or was sent: a list, or a ping without files.
#[derive(Clone)]
struct Message {
    at: f64,
    role: &'static str,
    port: u16,
    files: Vec<String>,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} (port {})", self.role, self.port)
    }
}

/// What is played for a tracker, and what was seen of it.
#[derive(Default)]
struct TrackerPlay {
    began: f64,
    /// Another address of the tracker, from which it sees another one of this machine.
    other: Option<SocketAddr>,
    /// The addresses at which the peers are.
    ips: Vec<String>,
    /// The steady peer's port, where one listens, to see whether the tracker asks it for something.
    steady: u16,
    /// The ports of peers that were there before, of which nothing is known.
    strangers: Vec<u16>,
    /// Whether it answers our pings with our list.
    ours: bool,
    /// How many pings in a row had no answer.
    n_mute: usize,
    /// All messages of each port.
    sent: BTreeMap<u16, Vec<Message>>,
    /// Who was ever on the newcomer's list or the observer's, who was on that last, and when somebody silent was
    /// missing there for the first time.
    were_on: BTreeSet<u16>,
    on: BTreeSet<u16>,
    sweeps: Beat,
    /// Who was on any list with the files that it sent last, and the most ports on one that is watched.
    shown: BTreeSet<u16>,
    most: usize,
}

/// Plays the timetable to its end, or until the program has ended or answers nothing any more. Begins with an open
/// connection, as a close without a message would end an original.
pub fn run(first: Connection, is_remote: bool, program: &mut Program) -> io::Result<()> {
    let listener = Listener::start("steady", listen(0)?, 8, was_asked, |_| {})?;
    let (peer, own, steady) = (first.peer, first.own.ip(), listener.addr.port());
    let mut play = TrackerPlay::default();
    (play.began, play.steady) = (now(), steady);
    play.ips = vec![own.to_string(), peer.ip().to_string()];
    play.ips.dedup();
    // whether it speaks our messages: an original takes no notice of the version
    let ping = json!({"msg": "ping", "port": steady, "v": VERSION});
    note(format!("steady (port {steady}) pinged"));
    if let Ok(answer) = ask::<PingAnswer>(first, &ping) {
        play.ours = matches!(answer, PingAnswer::Ours(_));
        let peers = peers_of(answer).unwrap_or_default().into_iter();
        let ports = peers.map(|peer| peer.port).filter(|port| *port != steady);
        play.strangers = ports.collect();
    }
    let is_split = is_remote && is_local(peer.ip(), own);
    if let Some(other) = is_split.then(|| find_other(peer.port(), own)).flatten() {
        play.other = Some(other.peer);
        play.ips.push(other.own.ip().to_string());
        let _ = ask::<Value>(other, &ping);
    }
    for due in timetable(steady) {
        while now() < play.began + due.at {
            tick();
        }
        if play.n_mute == GIVEN_UP || program.ended().is_some() {
            break;
        }
        let other = play.other.filter(|_| due.role == "steady");
        for to in [peer].into_iter().chain(other) {
            play.send(to, &due);
        }
    }
    play.conclude(play.n_mute < GIVEN_UP && program.ended().is_none());
    program.judge_end();
    if play.ours {
        good(OURS);
        note("a .torrent is published");
        match publish(peer, steady) {
            Ok(()) => good("P1"),
            Err(fault) => fails("P1", fault.to_string(), "publish"),
        }
    }
    Ok(())
}

/// Looks for a second address of this machine at which the tracker is.
fn find_other(port: u16, own: IpAddr) -> Option<Connection> {
    let mut ips = own_addresses(4);
    ips.push(Ipv6Addr::LOCALHOST.into());
    let others = ips.into_iter().map(|ip| connect(&[(ip, port).into()]));
    let mut others = others.filter_map(Result::ok);
    others.find(|other| other.own.ip() != own)
}

impl TrackerPlay {
    /// Sends a message, and judges what comes of it.
    fn send(&mut self, to: SocketAddr, due: &Message) {
        self.said(due);
        let (is_ping, ours) = (due.files.is_empty(), self.ours);
        let mut message = json!({"port": due.port, "msg": "ping"});
        if ours {
            message["v"] = VERSION.into();
        }
        if !is_ping {
            good("F6");
            (message["msg"], message["files"]) = ("file_list".into(), json!(due.files));
        }
        let patience = if self.n_mute == 0 { HEADER } else { CLOSES };
        let heard = connect(&[to]).and_then(|mut to| {
            to.send(&message)?;
            let answer = is_ping.then(|| to.expect(patience, LIST_CAP)).transpose()?;
            Ok((answer.map(peers_of).transpose()?, to))
        });
        match heard {
            Ok((Some(peers), to)) => {
                self.n_mute = 0;
                self.heard(due, peers);
                wait_for_close(to, due);
            }
            // a tracker of ours answers a list, too
            Ok((None, to)) if !ours => wait_for_close(to, due),
            Err(fault) if is_ping => self.missed(&fault, due),
            _ => {}
        }
    }

    /// Judges that no list came. What comes after a long list is F2's.
    fn missed(&mut self, fault: &io::Error, due: &Message) {
        let (who, told) = (due.to_string(), format!("{due} had no list: {fault}"));
        note(&told);
        let mut sent = self.sent.values().flatten();
        let is_after_long = sent.any(|sent| sent.files.len() > LONG);
        self.n_mute += 1;
        if fault.kind() == io::ErrorKind::InvalidData {
            self.n_mute = 0;
            fails("C3", told, &who);
        } else if !is_after_long {
            fails("F1", "a ping had no answer", &who);
        } else if self.n_mute > 1 {
            let why = "after a list of more than 3,000 bytes nothing is answered: is it read \
                       with one recv() of fewer?";
            fails("F2", why, "long");
        }
    }
}

/// Publishes a `.torrent`, and fetches it.
fn publish(to: SocketAddr, port: u16) -> io::Result<()> {
    let name = "published.bin";
    let torrent = Torrent::of_content(Name::parse(name).expect("letters"), &[7; 3 << 16]);
    let mut file = Publication::of(&torrent);
    file.torrent = Some(torrent.clone());
    let ask = |message| ask::<Reply>(connect(&[to])?, &message);
    ask(json!({"msg": "publish", "port": port, "key": "check", "files": [file]}))?;
    ask(json!({"msg": "file_list", "port": port, "files": [name], "v": VERSION}))?;
    let kept = ask(json!({"msg": "get_torrent", "name": name}))?.torrent;
    let kept = kept.ok_or_else(|| invalid("the tracker has no such .torrent"))?;
    let named = kept.peers.iter().any(|peer| peer.port == port);
    if named && kept.same_content(&torrent) && kept.n_pieces() == torrent.n_pieces() {
        return Ok(());
    }
    let (at, sent) = (&kept.peers, format!("{torrent:?} from port {port}"));
    let why = format!("published was {sent}; it came back as {kept:?}, at {at:?}");
    Err(invalid(why))
}

/// Judges what still comes behind an answer or a list, or that nothing ends the connection: on a thread of its own, as
/// others don't wait.
fn wait_for_close(mut to: Connection, due: &Message) {
    let (is_ping, who) = (due.files.is_empty(), due.to_string());
    thread::spawn(move || match what_follows(&mut to) {
        Err(fault) if is_ping && is_timeout(&fault) => {
            let why = "the connection stays open behind a list: where is its end?";
            fails("F1", why, &who);
        }
        Ok(Some(came)) if is_ping => {
            let why = format!("behind the list comes what others can't read: {came}");
            fails("C3", why, &who);
        }
        Ok(Some(came)) => {
            let why = format!("a list was answered, which nobody reads: {came}");
            fails("F2", why, &who);
        }
        _ => {}
    });
}

/// What comes behind the one message of a connection: nothing, as a message or its answer is all that is read.
pub fn what_follows(to: &mut Connection) -> io::Result<Option<String>> {
    match to.read::<Value>(CLOSES, PEER_CAP) {
        Err(fault) if fault.kind() == io::ErrorKind::InvalidData => Ok(Some(fault.to_string())),
        came => Ok(came?.map(|value| value.to_string())),
    }
}

/// All messages, in order. The steady peer's port is where one listens.
fn timetable(steady: u16) -> Vec<Message> {
    let mut table = Vec::new();
    let lines = include_str!("tracker/timetable.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |column: usize| words[column].parse::<f64>().expect("a number");
        let [port, n, later, every, from, to] = [1, 2, 3, 4, 5, 6].map(number);
        let first = if port == 0.0 { steady } else { port as u16 };
        let role = words[0];
        let mut files: Vec<String> = words[7..].iter().map(|file| file.to_string()).collect();
        if role == "long" && !files.is_empty() {
            files.extend((0..LONG).map(|n| format!("a-rather-long-name-{n:04}.txt")));
        }
        for nth in 0..n as u16 {
            let port = first + nth;
            let mut at = from + f64::from(nth) * later;
            while at < to {
                let files = files.clone();
                table.push(Message {
                    at,
                    role,
                    port,
                    files,
                });
                at += every;
            }
        }
    }
    table.sort_by(|one, other| one.at.total_cmp(&other.at));
    table
}

/// Sends a message, and returns the answer.
fn ask<T: DeserializeOwned>(mut to: Connection, message: &Value) -> io::Result<T> {
    to.send(message)?;
    to.expect(HEADER, LIST_CAP)
}

fn peers_of(answer: PingAnswer) -> io::Result<Vec<PeerEntry>> {
    match answer {
        PingAnswer::Ours(list) => Ok(list.peers),
        PingAnswer::Original(peers) => Ok(peers),
        PingAnswer::Refused(refusal) => Err(invalid(refusal.error)),
    }
}

/// Judges what a tracker wants from a peer.
fn was_asked(mut connection: Connection) {
    if let Ok(Some(message)) = connection.read::<Value>(HEADER, PEER_CAP) {
        // whoever only says hello took the port for that of a peer that was here before
        if message["filename"].is_string() || message["msg"] == "get" {
            note(format!("the tracker asked a peer: {message}"));
            fails("F6", "the tracker asked a peer for a file", "asked");
        }
        // it would be sent, as by any peer
        let _ = connection.sender().send_bytes(b"bytes of the file\n");
    }
}
