//! Plays the tracker and the other peers for a peer under test: [`mod@swarm`] decides what they have, and
//! [`judging`] what each message and request shows of the rows.

use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidData, NotFound};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use bittorrentish::net::{BODY, Connection, HEADER, Listener, connect, is_timeout, listen};
use bittorrentish::protocol::{
    Ask, FirstMessage, PEER_CAP, TORRENT_CAP, ToTracker, VERSION, parse, to_bytes,
};
use serde_json::{Value, json};

use crate::program::Program;
use crate::record::{note, now, tick};
use crate::tracker::judge_close;
use judging::{LIST, PING};
use swarm::*;

mod judging;
pub mod swarm;

/// How far away each peer of the download is, milliseconds.
const AWAY: [u64; 5] = [0, 60, 200, 0, 0];
/// How long a `.torrent` is on its way, so that one comes after the other; a piece of the film; and, at the most, that there
/// is no news, seconds.
const TORRENT_TIME: Duration = Duration::from_millis(250);
const PIECE_TIME: Duration = Duration::from_millis(30);
const NEWS_TIME: f64 = 1.0;
/// For how long a peer keeps a connection on which nothing is asked for.
const IDLE: Duration = Duration::from_secs(120);
/// When a peer that was busy is asked again.
const BUSY: Duration = Duration::from_secs(2);
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
    let is_over = |swarm: &Swarm, now: f64| {
        let is_watched = swarm.is_complete && now > swarm.since + WATCHED;
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
            Err(fault) if fault.kind() == InvalidData => swarm().odd("C4", CHOICE, &fault),
            // whoever has gone misses the answer; that shows in what it does next
            _ => {}
        },
    }
}

/// Answers as the tracker.
fn answer(to: &mut Connection) {
    let value: io::Result<Value> = to.expect(HEADER, TORRENT_CAP);
    // meant as a list, if it has files, or else as a ping
    let is_list = value.as_ref().is_ok_and(|value| !value["files"].is_null());
    let (row, what) = if is_list { ("F2", LIST) } else { ("F1", PING) };
    let at = |port| SocketAddr::new(to.peer.ip(), port);
    let answer = match value.and_then(|value| parse(&to_bytes(&value))) {
        Ok(ToTracker::Ping { port, v, .. }) => {
            let mut swarm = swarm();
            swarm.pinged(at(port), v.is_some());
            Some(swarm.list(&to.own.ip().to_string()))
        }
        Ok(ToTracker::FileList { port, v, list }) => {
            swarm().sent_list(at(port), list.files);
            v.map(|v| json!({"v": v}))
        }
        Ok(ToTracker::Publish { files, .. }) => {
            let stands = json!({"is": "stands", "mine": true, "published": 1, "publisher": ""});
            Some(json!({"v": VERSION, "files": vec![stands; files.len()]}))
        }
        Ok(ToTracker::GetTorrent { name }) => {
            sleep(TORRENT_TIME);
            note(format!("{TORRENT} {name}"));
            Some(json!({"v": VERSION, "torrent": swarm().torrents.get(name.as_str())}))
        }
        Ok(ToTracker::Report(_) | ToTracker::Status { .. }) => Some(json!({"v": VERSION})),
        Err(fault) => return swarm().odd(row, what, &fault),
    };
    let sent = answer.map_or(Ok(()), |answer| to.send(&answer));
    if sent.and_then(|()| to.finish()).is_ok() {
        judge_close(to, row, false, what);
    }
    ask_back();
}

/// Answers as one of the other peers: the original's one request, or hellos and requests of ours.
fn give(who: usize, to: &mut Connection) -> io::Result<()> {
    to.lag = Duration::from_millis(AWAY[who.saturating_sub(NEAR)]);
    while let Some(message) = to.read::<FirstMessage>(IDLE, PEER_CAP)? {
        match message {
            FirstMessage::Original { filename } => return give_file(who, &filename, &[], to),
            FirstMessage::Ours(Ask::Hello(_)) if who >= NEAR => {
                let hello = swarm().hello(who);
                to.send(&hello)?;
            }
            FirstMessage::Ours(Ask::Get(get)) if who >= NEAR && get.pieces.is_empty() => {
                sleep(Duration::from_secs_f64(get.wait.clamp(0.0, NEWS_TIME)));
                to.send(&json!({"msg": "news", "n": get.n}))?;
            }
            FirstMessage::Ours(Ask::Get(get)) if who >= NEAR => {
                let idx = get.pieces[0];
                let header = json!({"msg": "piece", "n": get.n, "idx": idx, "len": PIECE});
                let torrent = swarm().torrents.get(get.name.as_str()).cloned();
                let piece = torrent.map(|torrent| torrent.original_name(idx));
                give_file(who, &piece.unwrap_or_default(), &to_bytes(&header), to)?;
            }
            _ => break,
        }
    }
    Ok(())
}

/// Gives a file, or a piece behind its header.
fn give_file(who: usize, name: &str, header: &[u8], to: &mut Connection) -> io::Result<()> {
    let bytes = swarm().asked(who, name).ok_or(NotFound)?;
    if name.starts_with(FILM) {
        sleep(PIECE_TIME);
    }
    if who == DYING {
        // in the middle of the film, another piece is asked back before this one comes, which it never does
        ask_back();
        if swarm().dies() {
            return Err(ConnectionAborted.into());
        }
    }
    let mask = u8::from(who == CORRUPT);
    let bytes = bytes.iter().map(|byte| byte ^ mask);
    let bytes: Vec<u8> = header.iter().copied().chain(bytes).collect();
    let mut sent = to.sender().send_within(&bytes, BODY);
    // a close ends what has no header; if the peer left bytes unread, the system says so
    if header.is_empty()
        && to.finish().is_ok()
        && let Err(fault) = to.read_some(&mut [0])
        && fault.kind() == ConnectionReset
    {
        sent = Err(fault);
    }
    swarm().gave(who, name, &sent);
    sent
}

/// Asks the peer for what it has and is due, as the original does.
fn ask_back() {
    let due = swarm().due();
    if let Some((peer, name, bytes)) = due {
        let mut came = fetch(peer, &name, &bytes);
        if came.as_ref().is_err_and(|fault| !is_timeout(fault)) {
            // it may be busy, or still writing
            sleep(BUSY);
            came = fetch(peer, &name, &bytes);
        }
        swarm().came_back(&name, came);
    }
}

/// Fetches a file, and compares it. The fault is `InvalidData` if a close ends what isn't the file.
fn fetch(from: SocketAddr, name: &str, content: &[u8]) -> io::Result<()> {
    let (mut came, len) = (Vec::new(), content.len());
    let end = connect(&[from]).and_then(|to| {
        to.send(&json!({"filename": name}))?;
        to.sender().take(len as u64 + 1).read_to_end(&mut came)
    });
    let (kind, how) = match end {
        Ok(_) if came == content => return Ok(()),
        Ok(_) => (InvalidData, "a close".to_owned()),
        Err(fault) => (fault.kind(), fault.to_string()),
    };
    let both = came.iter().zip(content);
    let same = both.take_while(|(one, other)| one == other).count();
    let n = came.len();
    let why = format!("at {from} came {n} bytes, the first {same} of {len} right; then {how}");
    Err(io::Error::new(kind, why))
}
