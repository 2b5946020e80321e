//! One connection to one peer of ours, on which pieces are asked for: its thread reads the answers.
//!
//! The requests are sent by whichever thread finds that one can be made (`manage_downloads`); here the answers
//! come in, each piece is checked against its checkpoints while it is in the cache, and written in place. The original reads
//! until the close and believes what came.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::events::Event;
use crate::limit::Limit;
use crate::net::{BODY, Connection, HEADER, connect, is_timeout, unexpected};
use crate::picker::PeerNo;
use crate::protocol::{Answer, Ask, Hello, PEER_CAP, VERSION};
use crate::state::Verdict;
use crate::torrent::{BadPiece, Name, Torrent, legible};

/// How often the round trip is measured: the smallest counts.
const ROUND_TRIPS: usize = 3;

/// Gives back what a connection holds, on every way out.
struct Claims<'a> {
    client: &'a Client,
    peer: PeerNo,
    failed: bool,
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.client.lock().disconnected(self.peer, self.failed, now);
        self.client.connect_to_peers();
        self.client.manage_downloads();
    }
}

/// Connects to a peer, and takes from it until nothing is missing here or it fails.
pub(crate) fn talk_to(client: &Client, peer: PeerNo, addr: SocketAddr) {
    let failed = true;
    let mut claims = Claims {
        client,
        peer,
        failed,
    };
    let ended = introduce(client, peer, addr).and_then(|connection| match connection {
        Some(mut connection) => read_answers(client, peer, &mut connection),
        None => Ok(()),
    });
    if let Err(why) = ended {
        let asked = client.lock().picker.is_asked(peer);
        // a complete peer asks for nothing more, and the connection ends by itself
        claims.failed = asked || !is_timeout(&why);
        if claims.failed {
            client.lost(peer, addr, why.to_string());
        }
    }
}

/// Hello both ways, and the smallest of some round trips. `None` where this is no peer to take from.
fn introduce(client: &Client, peer: PeerNo, addr: SocketAddr) -> io::Result<Option<Connection>> {
    let mut connection = connect(&[addr])?;
    let (their, latency) = say_hello(client, &mut connection)?;
    if is_oneself(client, peer, &their) {
        return Ok(None);
    }
    let known = {
        let mut state = client.lock();
        state.hello(peer, &their.id, &their.have, Instant::now());
        state.connected(peer, connection.sender(), latency)
    };
    if known {
        client.say(&Event::Connected {
            peer: addr,
            latency_ms: latency.as_secs_f64() * 1e3,
        });
        client.manage_downloads();
    }
    Ok(known.then_some(connection))
}

/// Whether this peer was met under another of its own addresses; what stands there is forgotten then.
pub(crate) fn is_oneself(client: &Client, peer: PeerNo, their: &Hello) -> bool {
    let own = their.id == client.shared().id;
    if own {
        client.lock().forget(peer);
    }
    own
}

/// The first message of a connection, and its answer.
pub(crate) fn say_hello(
    client: &Client,
    connection: &mut Connection,
) -> io::Result<(Hello, Duration)> {
    let (have, _) = client.lock().haves();
    let mut hello = Hello {
        v: VERSION,
        id: client.shared().id.clone(),
        port: client.shared().port,
        have,
    };
    let mut first = None;
    let mut latency = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let asked = Instant::now();
        connection.send(&Ask::Hello(hello.clone()))?;
        let their = match connection.expect(HEADER, PEER_CAP)? {
            Answer::Hello(their) => their,
            Answer::Refused { why } => {
                return Err(io::Error::other(format!("refused: {}", legible(&why))));
            }
            _ => return Err(unexpected("expected a hello")),
        };
        latency = latency.min(asked.elapsed());
        let own = their.id == hello.id;
        first.get_or_insert(their);
        if own {
            break; // the other end, which noticed as well, has closed
        }
        hello.have.clear();
    }
    Ok((first.ok_or_else(|| unexpected("no hello"))?, latency))
}

fn read_answers(client: &Client, peer: PeerNo, connection: &mut Connection) -> io::Result<()> {
    loop {
        match connection.read(BODY, PEER_CAP)? {
            None => return Ok(()),
            Some(Answer::Piece { n, idx, len, news }) => {
                client.lock().learn(peer, &news);
                receive(client, peer, connection, n, idx, len)?;
            }
            Some(Answer::News { n, news }) => {
                let mut state = client.lock();
                state.learn(peer, &news);
                let fits = state.picker.answered(peer, n, None, Instant::now());
                fits.ok_or_else(|| unexpected("news that weren't asked for"))?;
            }
            Some(Answer::Gone { n, name }) => {
                let mut state = client.lock();
                let fits = state.picker.answered(peer, n, None, Instant::now());
                fits.ok_or_else(|| unexpected("an answer that nobody asked for"))?;
                state.picker.peer_lost(peer, &name);
            }
            Some(Answer::Refused { why }) => {
                return Err(io::Error::other(format!("refused: {}", legible(&why))));
            }
            Some(Answer::Hello(_)) => return Err(unexpected("a hello that nobody asked for")),
        }
        if client.lock().is_left_alone(peer) {
            return Err(io::Error::other(
                "it sent too many bad pieces, and is left alone",
            ));
        }
        client.manage_downloads();
    }
}

/// Reads a piece, asks for the next, and only then checks and writes this one: the wire never waits for the disk.
pub(crate) fn receive(
    client: &Client,
    peer: PeerNo,
    connection: &mut Connection,
    n: u64,
    idx: u32,
    len: u32,
) -> io::Result<()> {
    let asked = {
        let state = client.lock();
        state
            .picker
            .asked(peer, n)
            .filter(|(_, pieces)| pieces.contains(&idx))
            .map(|(name, _)| name.clone())
    };
    let name = asked.ok_or_else(|| unexpected("a piece that wasn't asked for"))?;
    let Some(torrent) = held(client, &name, idx) else {
        // it was given up, or came into the folder, meanwhile
        client.lock().picker.answered(peer, n, None, Instant::now());
        return skip(client, connection, len as usize);
    };
    if torrent.piece_len(idx) != len as usize {
        return Err(unexpected(&format!(
            "piece {idx} has {} bytes, it sent {len}",
            torrent.piece_len(idx)
        )));
    }
    let mut buffer = client.shared().buffers.take(len as usize);
    let came = read_body(client, connection, &mut buffer);
    if came.is_ok() {
        client
            .lock()
            .picker
            .answered(peer, n, Some(idx), Instant::now());
        client.manage_downloads();
        take(client, peer, &torrent, idx, &buffer);
    }
    came
}

/// The file that a piece belongs to, while it is held; another content under its name may have fewer pieces.
pub(crate) fn held(client: &Client, name: &Name, idx: u32) -> Option<Arc<Torrent>> {
    let state = client.lock();
    let held = state.files.get(name);
    let held = held.filter(|held| idx < held.torrent.n_pieces());
    held.map(|held| Arc::clone(&held.torrent))
}

fn read_body(client: &Client, connection: &mut Connection, mut buf: &mut [u8]) -> io::Result<()> {
    let limit = client.shared().down.as_ref();
    let mut pace = connection.begin_body()?;
    while !buf.is_empty() {
        let stride = buf.len().min(Limit::stride(limit));
        let asked = Instant::now();
        let came = connection.read_some(&mut buf[..stride])?;
        if came == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed in the middle of a piece",
            ));
        }
        pace.note(came, asked.elapsed())?;
        if let Some(limit) = limit {
            limit.pass(came);
        }
        buf = &mut buf[came..];
    }
    Ok(())
}

fn skip(client: &Client, connection: &mut Connection, len: usize) -> io::Result<()> {
    let len = len.min(crate::torrent::MAX_PIECE_LEN as usize);
    read_body(client, connection, &mut client.shared().buffers.take(len))
}

/// Checks a piece of a download that was [`held`] as it came, writes it, and counts it in; or finds out what is wrong with it.
pub(crate) fn take(client: &Client, peer: PeerNo, torrent: &Arc<Torrent>, idx: u32, piece: &[u8]) {
    let name = torrent.name();
    if let Err(bad) = torrent.check(idx, piece) {
        return bad_piece(client, peer, torrent, idx, bad);
    }
    // a second copy of a late piece needs no second writing
    let new = {
        let state = client.lock();
        state.goes_on(torrent) && !state.files[name].have.get(idx)
    };
    let (store, start) = (&client.shared().store, torrent.piece_start(idx));
    if new && let Err(fault) = store.write_part(torrent, piece, start) {
        let mut state = client.lock();
        if state.goes_on(torrent) {
            state.picker.dropped(peer, name, idx);
        }
        drop(state);
        return client.disk_fault(&fault);
    }
    let (each, classic) = (client.explains(), client.shared().config.classic);
    let (whole, events) = {
        let mut state = client.lock();
        if !state.goes_on(torrent) {
            return;
        }
        let now = Instant::now();
        let whole = state.landed(peer, name, idx, now);
        let events = Event::landed(&state, peer, name, idx, each, classic, now);
        (whole, events)
    };
    client.tell_all();
    if whole.is_some() {
        events.iter().for_each(|event| client.say(event));
    }
    if whole == Some(true) {
        client.complete(name);
    }
}

fn bad_piece(client: &Client, peer: PeerNo, torrent: &Arc<Torrent>, idx: u32, bad: BadPiece) {
    let (verdict, addr) = {
        let mut state = client.lock();
        let verdict = state.failed(peer, torrent, idx, bad);
        if let Some(known) = state.peers.get_mut(&peer) {
            known.trouble = Some(format!("piece {idx} was wrong"));
        }
        (verdict, state.peers.get(&peer).map(|peer| peer.addr))
    };
    client.say(&Event::BadPiece {
        name: torrent.name().to_string(),
        idx,
        why: bad.to_string(),
        peer: addr,
    });
    if verdict == Verdict::PublisherIsFaulty {
        client.say(&Event::PublisherFaulty {
            name: torrent.name().to_string(),
            idx,
            peer: addr,
        });
    }
}
