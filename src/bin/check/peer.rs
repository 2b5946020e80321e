//! Plays the tracker and the other peers for a peer under test: [`mod@swarm`] decides what they have, and
//! [`judging`] what each message and request shows of the rows.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::Duration;

use bittorrentish::net::{BODY, Connection, HEADER, Listener, connect, is_timeout, listen};
use bittorrentish::protocol::{
    Ask, FirstMessage, PEER_CAP, TORRENT_CAP, ToTracker, VERSION, parse, to_bytes,
};
use serde_json::{Value, json};

use crate::program::Program;
use crate::record::{course_time, fails, note, now, tick};
use crate::tracker::what_follows;
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
/// For how long a peer keeps a connection on which nothing is asked for, and how long it waits before it has no news.
const IDLE: Duration = Duration::from_secs(120);
const NEWS_TIME: f64 = 1.0;
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

/// Listens as the tracker and as all the peers. `is_planted` is whether the peer's folder has the file that is put
/// there.
pub fn start(within: f64, port: u16, is_planted: bool) -> io::Result<Vec<Listener>> {
    // whoever comes already waits for it
    let mut swarm = swarm();
    let start = |port| Listener::start("played", listen(port)?, AT_ONCE, serve, |_| {});
    let ports = [port].into_iter().chain([0; DYING]);
    let mut listeners = ports.map(start).collect::<io::Result<Vec<_>>>()?;
    // listed in this order: whoever takes the first, or the lowest port, takes the same place each time
    listeners[1..].sort_by_key(|listener| listener.addr.port());
    let ports = listeners.iter().map(|listener| listener.addr.port());
    *swarm = Swarm::new(within, ports.collect(), is_planted);
    Ok(listeners)
}

/// Plays until there is enough to judge, the program has ended, or the time is over. Returns whether anything came.
pub fn run(program: &mut Program) -> bool {
    // it ends with the process: who knows for how long a peer answers
    thread::spawn(|| {
        loop {
            sleep(LOOK);
            ask_back();
        }
    });
    let is_over = |swarm: &Swarm, now: f64| {
        let is_watched = swarm.stage == Stage::Complete && now > swarm.since + WATCHED;
        is_watched || now > swarm.within || now > PATIENCE && !swarm.has_come()
    };
    while !is_over(&swarm(), now()) && program.ended().is_none() {
        tick();
    }
    let swarm = swarm();
    swarm.conclude();
    program.judge_end();
    swarm.has_come()
}

/// Answers as whoever is at the port: the tracker, or one of the peers.
fn serve(mut to: Connection) {
    let who = swarm().ports.iter().position(|port| *port == to.own.port());
    match who.unwrap_or_default() {
        0 => answer(&mut to),
        who => match give(who, &mut to) {
            Err(fault) if fault.kind() == io::ErrorKind::InvalidData => {
                swarm().odd(REQUEST, fault.to_string());
            }
            // whoever has gone misses the answer; that shows in what it does next
            _ => {}
        },
    }
}

/// Answers as the tracker.
fn answer(to: &mut Connection) {
    let value: io::Result<Value> = to.expect(HEADER, TORRENT_CAP);
    // meant as a list, if it has files, or else as a ping
    let has_files = value.as_ref().is_ok_and(|value| !value["files"].is_null());
    let at = |port| SocketAddr::new(to.peer.ip(), port);
    let answer = match value.and_then(|value| parse(&to_bytes(&value))) {
        Ok(ToTracker::Ping { port, v, .. }) => {
            let mut swarm = swarm();
            swarm.pinged(at(port), v.is_some());
            Some(swarm.list(&to.own.ip().to_string()))
        }
        Ok(ToTracker::FileList { port, files, v, .. }) => {
            swarm().sent_list(at(port), files);
            v.map(|v| json!({"v": v}))
        }
        Ok(ToTracker::Publish { files, .. }) => {
            let stands = json!({"is": "stands", "mine": true, "published": 1, "publisher": ""});
            Some(json!({"v": VERSION, "files": vec![stands; files.len()]}))
        }
        Ok(ToTracker::GetTorrent { name }) => {
            let is_film = name.as_str().starts_with(FILM);
            sleep(TORRENT_TIME[usize::from(is_film)]);
            note(format!("it was given the .torrent of {name}"));
            let mut swarm = swarm();
            swarm.has_torrent |= is_film;
            Some(json!({"v": VERSION, "torrent": swarm.torrents.get(name.as_str())}))
        }
        Ok(ToTracker::Report(_) | ToTracker::Status { .. }) => Some(json!({"v": VERSION})),
        Err(fault) => {
            swarm().odd(if has_files { LIST } else { PING }, fault.to_string());
            None
        }
    };
    let Some(answer) = answer else {
        return;
    };
    let _ = to.send(&answer).and_then(|()| to.finish());
    if let Ok(Some(came)) = what_follows(to) {
        let row = if has_files { "F2" } else { "F1" };
        let why = format!("behind a message comes more on its connection: {came}");
        fails(row, why, "connection");
    }
}

/// Answers as one of the other peers: the original's one request, or hellos and requests of ours.
fn give(who: usize, to: &mut Connection) -> io::Result<()> {
    to.lag = Duration::from_millis(AWAY[who.saturating_sub(NEAR)]);
    while let Some(message) = to.read::<FirstMessage>(IDLE, PEER_CAP)? {
        match message {
            FirstMessage::Original { filename } => {
                give_file(who, &filename, &[], to)?;
                // it fails where the peer has closed by now; the system says if it left bytes unread
                let _ = to.finish();
                let end = to.read_some(&mut [0]);
                if end.is_err_and(|fault| fault.kind() == io::ErrorKind::ConnectionReset) {
                    swarm().left_unread(&filename);
                }
                return Ok(());
            }
            FirstMessage::Ours(Ask::Hello(_)) if who >= NEAR => {
                let hello = swarm().hello(who);
                to.send(&hello)?;
            }
            FirstMessage::Ours(Ask::Get(get)) if who >= NEAR => {
                let Some(idx) = get.pieces.first() else {
                    sleep(Duration::from_secs_f64(get.wait.clamp(0.0, NEWS_TIME)));
                    to.send(&json!({"msg": "news", "n": get.n}))?;
                    continue;
                };
                let torrent = swarm().torrents.get(get.name.as_str()).cloned();
                let torrent = torrent.ok_or(io::ErrorKind::NotFound)?;
                let len = torrent.piece_len(*idx);
                let header = json!({"msg": "piece", "n": get.n, "idx": idx, "len": len});
                give_file(who, &torrent.original_name(*idx), &to_bytes(&header), to)?;
            }
            _ => break,
        }
    }
    Ok(())
}

/// Gives a file or a piece behind its header: one of the film not before it is time, and not if this peer dies.
fn give_file(who: usize, name: &str, header: &[u8], to: &Connection) -> io::Result<()> {
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
    let sent = to.sender().send_within(&[header, &bytes].concat(), BODY);
    swarm().gave(who, name, &sent);
    sent
}

/// Asks the peer for what it has and is due, as the original does.
fn ask_back() {
    let due = swarm().due(now() - course_time(SETTLED));
    let Some((peer, name, bytes)) = due else {
        return;
    };
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
    let n = came.len().min(content.len());
    let some = format!("and sent {n} of {} bytes", content.len());
    Err(match end {
        Ok(_) if came == content => return Ok(()),
        Ok(_) if came.len() == content.len() => "and sent other bytes".to_owned(),
        Ok(_) if came.len() > content.len() => format!("{some}, and more: is it read as text?"),
        Ok(_) => format!("{some}: did less come, or is less sent?"),
        Err(_) if came == content => "and sent it, but doesn't close: where is its end?".to_owned(),
        Err(fault) if is_timeout(&fault) => format!("{some}, and then nothing more"),
        Err(fault) => format!("{some}: {fault}"),
    })
}
