//! Plays the peers for a tracker under test, by a timetable; [`lists`] judges what it hands out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use std::{fmt, io, thread};

use bittorrentish::net::addresses::own_addresses;
use bittorrentish::net::{Connection, HEADER, Listener, connect, is_local, is_timeout, listen};
use bittorrentish::protocol::{
    LIST_CAP, PEER_CAP, PingAnswer, Publication, Reply, VERSION, invalid,
};
use bittorrentish::torrent::{Name, Torrent};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::program::Program;
use crate::record::{OURS, fails, good, note, now, tick, was_late};

use lists::CROWD_COMES;

mod lists;

/// When all is over, seconds of the course text.
pub const ENDS: f64 = 170.0;
/// The files of a long list: more than 3,000 bytes, and fewer than the 4,096 that the original reads.
const LONG: usize = 110;
/// After this many times in a row without an answer nobody asks any more.
const GIVEN_UP: usize = 4;
/// How long a close is waited for.
const CLOSES: Duration = Duration::from_secs(2);

/// A message that is due, or was sent: a list, or a ping without files. The timetable has it for `n` ports from `port` on,
/// each so much `later` than the one before, and every so often from `at` until `to`; port 0 is one that is free.
///
/// Whoever comes pings first, as every peer does: some trackers know a peer from its first ping on. Those who stay speak at
/// different times between two sweeps: who is dropped right before it speaks is missing for too short to be seen.
#[derive(Clone, Deserialize)]
struct Message {
    role: String,
    port: u16,
    n: u16,
    later: f64,
    every: f64,
    at: f64,
    to: f64,
    files: BTreeSet<String>,
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
    /// The steady peer's port, at how many addresses it is, and where this machine and the tracker are by their
    /// connections.
    steady: u16,
    n_addrs: usize,
    ips: Vec<IpAddr>,
    /// Whether it answers our pings with our list; taken for granted at the first one.
    ours: bool,
    /// How many pings in a row had no answer.
    n_mute: usize,
    /// All messages of each port, and the ports of peers that were there before, of which nothing is known.
    sent: BTreeMap<u16, Vec<Message>>,
    strangers: BTreeSet<u16>,
    /// Who was on the observer's last list, and the most that ever were.
    on: BTreeSet<u16>,
    most: usize,
    /// Who was on any list as it should be.
    shown: BTreeSet<u16>,
}

/// Plays the timetable to its end, or until the program has ended or answers nothing any more. Begins with an open
/// connection, as a close without a message would end an original.
pub fn run(first: Connection, is_remote: bool, program: &mut Program) -> io::Result<()> {
    // the steady peer listens, to see whether the tracker asks it for something
    let listener = Listener::start("steady", listen(0)?, 8, was_asked, |_| {})?;
    let (peer, own, mut open) = (first.peer, first.own.ip(), vec![first]);
    if is_remote && is_local(peer.ip(), own) {
        open.extend(find_other(peer.port(), own));
    }
    let addrs: Vec<SocketAddr> = open.iter().map(|to| to.peer).collect();
    let ends = |to: &Connection| [to.own.ip(), to.peer.ip()];
    let (began, steady) = (now(), listener.addr.port());
    let mut play = TrackerPlay::default();
    (play.began, play.steady, play.n_addrs) = (began, steady, addrs.len());
    (play.ips, play.ours) = (open.iter().flat_map(ends).collect(), true);
    let mut open = open.into_iter();
    for due in timetable(steady) {
        while now() < began + due.at {
            tick();
        }
        if due.at < CROWD_COMES {
            was_late(now() - began - due.at);
        }
        if play.n_mute == GIVEN_UP || program.ended().is_some() {
            break;
        }
        for to in &addrs[..play.n_due(due.port)] {
            let to = open.next().map_or_else(|| connect(&[*to]), Ok);
            play.send(to, &due);
        }
    }
    play.conclude(play.n_mute < GIVEN_UP && program.ended().is_none());
    program.judge_end();
    if play.ours {
        good(OURS);
        note("a .torrent is published");
        match publish(addrs[0], steady) {
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
    /// How often a port is to be listed: once, or once for each address.
    fn n_due(&self, port: u16) -> usize {
        if port == self.steady { self.n_addrs } else { 1 }
    }

    /// Sends a message, and judges what comes of it.
    fn send(&mut self, to: io::Result<Connection>, due: &Message) {
        self.said(due);
        let is_ping = due.files.is_empty();
        let mut message = json!({"port": due.port, "msg": "ping"});
        if !is_ping {
            good("F6");
            (message["msg"], message["files"]) = ("file_list".into(), json!(due.files));
        }
        if self.ours {
            // an original takes no notice of it
            message["v"] = VERSION.into();
        }
        let heard = to.and_then(|mut to| {
            to.send(&message)?;
            let answer = is_ping.then(|| to.expect(HEADER, LIST_CAP)).transpose()?;
            Ok((answer, to))
        });
        let (answer, mut to) = match heard {
            Ok(heard) => heard,
            Err(fault) => return self.missed(&fault, due),
        };
        if let Some(answer) = answer {
            (self.ours, self.n_mute) = (matches!(answer, PingAnswer::Ours(_)), 0);
            match answer {
                PingAnswer::Ours(list) => self.heard(due, list.peers),
                PingAnswer::Original(peers) => self.heard(due, peers),
                PingAnswer::Refused(why) => self.missed(&invalid(why.error), due),
            }
        }
        // a tracker of ours answers a list, too; and others don't wait for the end
        if is_ping || !self.ours {
            let (row, who) = (if is_ping { "F1" } else { "F2" }, due.to_string());
            thread::spawn(move || judge_close(&mut to, row, is_ping, &who));
        }
    }

    /// Judges that no list came. What comes after a long list is F2's, and the first ping, which may be taken for another
    /// message, counts if the next ones aren't answered, either.
    fn missed(&mut self, fault: &io::Error, due: &Message) {
        let told = format!("{due} had no list: {fault}");
        note(&told);
        (self.ours, self.n_mute) = (false, self.n_mute + 1);
        let is_garbage = fault.kind() == io::ErrorKind::InvalidData;
        let mut sent = self.sent.values().flatten();
        let is_judged = due.files.is_empty() && self.sent.len() > 1;
        if is_judged && !sent.any(|sent| sent.files.len() > LONG) {
            fails(if is_garbage { "C3" } else { "F1" }, told, &due.to_string());
        }
    }
}

/// Publishes a `.torrent`, and fetches it.
fn publish(to: SocketAddr, port: u16) -> io::Result<()> {
    let name = "published.bin";
    let torrent = Torrent::of_content(Name::parse(name).expect("letters"), &[7; 3 << 16]);
    let mut file = Publication::of(&torrent);
    file.torrent = Some(torrent.clone());
    let ask = |message| -> io::Result<Reply> {
        let mut to = connect(&[to])?;
        to.send(&message)?;
        to.expect(HEADER, LIST_CAP)
    };
    ask(json!({"msg": "publish", "port": port, "key": "check", "files": [file]}))?;
    ask(json!({"msg": "file_list", "port": port, "files": [name], "v": VERSION}))?;
    let kept = ask(json!({"msg": "get_torrent", "name": name}))?.torrent;
    let kept = kept.ok_or_else(|| invalid("the tracker has no such .torrent"))?;
    let is_named = kept.peers.iter().any(|peer| peer.port == port);
    let is_same = kept.same_content(&torrent) && kept.n_pieces() == torrent.n_pieces();
    let came = format!("{kept:?} at {:?}", kept.peers);
    let why = || {
        invalid(format!(
            "published was {torrent:?} from port {port}; came {came}"
        ))
    };
    (is_named && is_same).then_some(()).ok_or_else(why)
}

/// Judges what comes behind the one message of a connection, as that is all that is read; and that nothing ends it, if
/// a close is to.
pub fn judge_close(to: &mut Connection, row: &'static str, is_to_close: bool, about: &str) {
    let more = match to.read::<Value>(CLOSES, PEER_CAP) {
        Ok(Some(more)) => format!("more comes, which nobody reads: {more}"),
        Err(fault) if fault.kind() == io::ErrorKind::InvalidData => fault.to_string(),
        Err(fault) if is_to_close && is_timeout(&fault) => "it stays open".to_owned(),
        _ => return,
    };
    let why = format!("a connection doesn't end behind its message: {more}");
    fails(row, why, about);
}

/// All messages, in order. The steady peer's port is where one listens.
fn timetable(steady: u16) -> Vec<Message> {
    let parts = serde_json::from_str(include_str!("tracker/timetable.json"));
    let (parts, mut table): (Vec<Message>, _) = (parts.expect("parts"), Vec::new());
    for mut part in parts {
        if part.role == "long" && !part.files.is_empty() {
            let names = (0..LONG).map(|n| format!("a-rather-long-name-{n:04}.txt"));
            part.files.extend(names);
        }
        let first = if part.port == 0 { steady } else { part.port };
        for nth in 0..part.n {
            let mut due = part.clone();
            (due.at, due.port) = (part.at + f64::from(nth) * part.later, first + nth);
            while due.at < part.to {
                table.push(due.clone());
                due.at += part.every;
            }
        }
    }
    table.sort_by(|one, other| one.at.total_cmp(&other.at));
    table
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
