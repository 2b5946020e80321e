//! Plays the tracker and the other peers towards a peer under test: [`mod@swarm`] decides what they have, and [`judging`] what
//! each message and request shows of the rows.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::Duration;

use bittorrentish::net::{BODY, Connection, HEADER, Listener, connect, is_timeout, listen};
use bittorrentish::protocol::{
    Ask, FirstMessage, Get, PEER_CAP, TORRENT_CAP, ToTracker, VERSION, parse, to_bytes,
};
use serde_json::{Value, json};

use crate::program::Program;
use crate::record::{course_time, end, note, now, tick};
use judging::{LIST, PING, REQUEST};
use swarm::*;

mod judging;
pub mod swarm;

/// How far away each peer of the download is, milliseconds.
const AWAY: [u64; 5] = [0, 60, 200, 0, 0];
/// How long a small file's `.torrent` is on its way, so that one comes after the other; and the film's, so that whoever
/// doesn't wait for it is seen.
const TORRENT_TIME: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];
/// How long a piece of the film takes, and for how long it is held back at the most.
const PIECE_TIME: Duration = Duration::from_millis(30);
const HELD: Duration = Duration::from_secs(12);
/// How long it takes for a file to get to the disk, and for how long a peer may be busy.
const SETTLED: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);
/// For how long the first message is waited for, seconds of the course text.
const PATIENCE: f64 = 3.0 * ROUND_EVERY;
/// Connections at a time to the tracker and to each peer.
const AT_ONCE: usize = 64;

/// Of the one run that a process makes, for all threads.
static SWARM: LazyLock<Mutex<Swarm>> = LazyLock::new(Mutex::default);

fn swarm() -> MutexGuard<'static, Swarm> {
    SWARM.lock().unwrap_or_else(PoisonError::into_inner)
}

fn port_of(door: &TcpListener) -> u16 {
    door.local_addr().map_or(0, |addr| addr.port())
}

/// Listens as the tracker and as all the peers. `is_planted` is whether the peer's folder has the file that is put there.
pub fn start(within: f64, port: u16, is_planted: bool) -> io::Result<Vec<Listener>> {
    let doors = (0..=DYING).map(|who| listen(if who == 0 { port } else { 0 }));
    let mut doors = doors.collect::<io::Result<Vec<_>>>()?;
    // listed in this order: whoever takes the first, or the lowest port, takes the same place each time
    doors[1..].sort_by_key(port_of);
    *swarm() = Swarm::new(within, doors.iter().map(port_of).collect(), is_planted);
    let listeners = doors.into_iter().enumerate().map(|(who, door)| {
        let serve = move |to| serve(who, to);
        Listener::start("played", door, AT_ONCE, serve, |_| {})
    });
    listeners.collect()
}

/// Plays until there is enough to judge, the program has ended, or the time is over. Returns whether anything came.
pub fn run(program: &mut Option<Program>) -> bool {
    let ends = |swarm: &Swarm, now: f64| {
        let is_watched = swarm.stage == Stage::Complete && now > swarm.since + WATCHED;
        is_watched || now > swarm.within || now > PATIENCE && !swarm.has_come()
    };
    // it ends with the process: who knows for how long a peer answers
    thread::spawn(|| {
        loop {
            sleep(LOOK);
            ask_back();
        }
    });
    while !ends(&swarm(), now()) && !Program::has_ended(program) {
        tick();
    }
    let swarm = swarm();
    swarm.conclude();
    end();
    swarm.has_come()
}

fn serve(who: usize, mut to: Connection) {
    let served = match who {
        0 => answer(&mut to),
        who => give(who, &mut to),
    };
    match served {
        Err(fault) if who == 0 => {
            swarm().odd(PING, format!("a connection had no message: {fault}"));
        }
        Err(fault) if fault.kind() == io::ErrorKind::InvalidData => {
            swarm().odd(REQUEST, fault.to_string());
        }
        // whoever has gone misses the answer; that shows in what it does next
        _ => {}
    }
}

/// Answers as the tracker. Fails if no message comes.
fn answer(to: &mut Connection) -> io::Result<()> {
    let value: Value = to.expect(HEADER, TORRENT_CAP)?;
    match parse(&to_bytes(&value)) {
        Ok(message) => drop(to.sender().send_bytes(&answer_to(message, to))),
        // a list, if it has files, or else a ping
        Err(fault) => {
            let what = if value["files"].is_null() { PING } else { LIST };
            swarm().odd(what, fault.to_string());
        }
    }
    Ok(())
}

fn answer_to(message: ToTracker, from: &Connection) -> Vec<u8> {
    let at = |port| SocketAddr::new(from.peer.ip(), port);
    let answer = match message {
        ToTracker::Ping { port, v, .. } => {
            swarm().pinged(at(port), v.is_some());
            swarm().list(&from.own.ip().to_string())
        }
        ToTracker::FileList { port, files, v, .. } => {
            swarm().sent_list(at(port), files);
            let Some(v) = v else { return Vec::new() };
            json!({"v": v})
        }
        ToTracker::Publish { files, .. } => {
            let stands = json!({"is": "stands", "mine": true, "published": 1, "publisher": ""});
            json!({"v": VERSION, "files": vec![stands; files.len()]})
        }
        ToTracker::GetTorrent { name } => {
            let is_film = name.as_str().starts_with(FILM);
            sleep(TORRENT_TIME[usize::from(is_film)]);
            note(format!("it was given the .torrent of {name}"));
            let mut swarm = swarm();
            swarm.has_torrent |= is_film;
            json!({"v": VERSION, "torrent": swarm.torrents.get(name.as_str())})
        }
        ToTracker::Report(_) | ToTracker::Status => json!({"v": VERSION}),
    };
    to_bytes(&answer)
}

/// Answers as one of the other peers: the original's one request, or hellos and requests of ours.
fn give(who: usize, to: &mut Connection) -> io::Result<()> {
    let away = Duration::from_millis(AWAY[who.saturating_sub(NEAR)]);
    let (mut wait, mut news) = (HEADER, None);
    loop {
        let message = to.read::<FirstMessage>(wait, PEER_CAP);
        if let Some(n) = news.take() {
            to.send(&json!({"msg": "news", "n": n}))?;
        }
        wait = BODY;
        match message {
            Err(fault) if is_timeout(&fault) && who >= NEAR => {}
            Ok(Some(FirstMessage::Original { filename })) => {
                return give_file(who, &filename, None, to);
            }
            Ok(Some(FirstMessage::Ours(Ask::Hello(_)))) if who >= NEAR => {
                let hello = swarm().hello(who);
                sleep(away);
                to.send(&hello)?;
            }
            Ok(Some(FirstMessage::Ours(Ask::Get(get)))) if who >= NEAR => {
                let Some(idx) = get.pieces.first() else {
                    (wait, news) = (Duration::from_secs_f64(get.wait), Some(get.n));
                    continue;
                };
                // what came while another one was answered was on its way meanwhile
                if to.silent > LOOK / 10 {
                    sleep(away);
                }
                let torrent = swarm().torrents.get(get.name.as_str()).cloned();
                let torrent = torrent.ok_or(io::ErrorKind::NotFound)?;
                give_file(who, &torrent.original_name(*idx), Some(&get), to)?;
            }
            other => return other.map(|_| ()),
        }
    }
}

/// Gives a file, or the first piece of a request: one of the film not before it is time, and not if this peer dies.
fn give_file(who: usize, name: &str, get: Option<&Get>, to: &Connection) -> io::Result<()> {
    swarm().asked(who, name);
    if name.starts_with(FILM) {
        sleep(PIECE_TIME);
        let until = now() + course_time(HELD);
        while swarm().is_held() && now() < until {
            sleep(LOOK);
        }
        if swarm().dies(who) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
    let bytes = swarm().files.get(name).map(|file| Arc::clone(&file.bytes));
    let mut bytes = bytes.ok_or(io::ErrorKind::NotFound)?.to_vec();
    if who == CORRUPT {
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
    }
    if let Some(Get { n, pieces, .. }) = get {
        to.send(&json!({"msg": "piece", "n": n, "idx": pieces[0], "len": bytes.len()}))?;
    }
    let sent = to.sender().send_within(&bytes, BODY);
    swarm().gave(who, name, &sent);
    sent
}

/// Asks the peer for what it has and is due, as the original does.
fn ask_back() {
    let swarm_now = swarm();
    let due = swarm_now.due(now() - course_time(SETTLED)).cloned();
    let (Some(name), Some(peer)) = (due, swarm_now.peer) else {
        return;
    };
    let bytes = Arc::clone(&swarm_now.files[&name].bytes);
    drop(swarm_now);
    // it may be busy, or still writing
    let until = now() + course_time(BUSY);
    let mut fault = fetch(peer, &name, &bytes).err();
    while fault.is_some() && now() < until {
        sleep(SETTLED);
        fault = fetch(peer, &name, &bytes).err();
    }
    swarm().came_back(&name, fault);
}

/// Fetches a file, and compares it.
fn fetch(from: SocketAddr, name: &str, content: &[u8]) -> Result<(), String> {
    let port = from.port();
    let closed = |fault| format!("but nobody is at port {port}, which its messages have: {fault}");
    let to = connect(&[from]).map_err(closed)?;
    let (mut came, most) = (Vec::new(), content.len() as u64 + 1);
    let end = to.send(&json!({"filename": name}));
    let end = end.and_then(|()| to.sender().take(most).read_to_end(&mut came));
    let (n, of) = (came.len(), content.len());
    match end {
        Ok(_) if came == content => Ok(()),
        Ok(_) if n == of => Err("and sent other bytes".to_owned()),
        Ok(_) => Err(format!(
            "and sent {n} of {of} bytes: did less come, or is less sent?"
        )),
        Err(_) if came == content => {
            Err("and sent it, but doesn't close: where is its end?".to_owned())
        }
        Err(fault) if is_timeout(&fault) => {
            Err(format!("and sent {n} of {of} bytes, and then nothing more"))
        }
        Err(fault) => Err(format!("and sent {n} of {of} bytes: {fault}")),
    }
}
