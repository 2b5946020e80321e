//! Serving others: `listen_requests` and `handle_piece_request`, on a thread for each connection.
//!
//! The original serves one at a time, under its lock, and ends for good on a name that it lacks. Ours serves all that ask at
//! once, and breaks the ties among the pieces that were named: of these it sends the one that it has sent least.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::events::Event;
use crate::limit::Limit;
use crate::net::{Connection, HEADER, is_local};
use crate::picker::PeerNo;
use crate::protocol::{
    Answer, Ask, FirstMessage, Get, Hello, PEER_CAP, VERSION, invalid, to_bytes,
};
use crate::state::{Found, Served, TrackerKind};
use crate::store::Place;
use crate::torrent::legible;

/// A connection on which nothing is asked for so long is closed.
const IDLE: Duration = Duration::from_secs(75);
/// The longest that an answer is held back.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// News are gathered for so long before they are sent to who has nothing to ask for: in a fast swarm several go as one.
const GATHER: Duration = Duration::from_millis(5);
/// An original that asks for what is still on its way here waits so long: refused, it would keep an empty piece for good.
const ORIGINAL_WAIT: Duration = Duration::from_secs(600);

/// Serves one connection until it ends.
pub(crate) fn listen_requests(client: &Client, mut connection: Connection) {
    let peer = connection.peer;
    let served = serve(client, &mut connection);
    if let Err(fault) = served {
        client.say(&Event::UploadEnded {
            peer,
            why: fault.to_string(),
        });
    }
}

fn serve(client: &Client, connection: &mut Connection) -> io::Result<()> {
    let local = client.lock().tracker == TrackerKind::Ours { local: true };
    if local && !is_local(connection.peer.ip(), connection.own.ip()) {
        let why =
            "its tracker was started without --remote: this peer serves its own machine alone"
                .to_owned();
        return connection.send(&Answer::Refused { why });
    }
    match connection.read(HEADER, PEER_CAP)? {
        None => Ok(()),
        Some(FirstMessage::Original { filename }) => serve_original(client, connection, &filename),
        Some(FirstMessage::Ours(Ask::Hello(hello))) => serve_ours(client, connection, &hello),
        Some(FirstMessage::Ours(Ask::Get(_))) => Err(invalid("expected a hello first, came a get")),
    }
}

/// What a connection's thread keeps from one request to the next.
struct Asker {
    peer: PeerNo,
    /// The place in the news from which on they are new to the asker.
    news_from: usize,
    buffer: Vec<u8>,
}

fn serve_ours(client: &Client, connection: &mut Connection, hello: &Hello) -> io::Result<()> {
    let addr = (connection.peer.ip(), hello.port).into();
    let (peer, have, news_from) = {
        let mut state = client.lock();
        if hello.id == client.shared().id {
            drop(state);
            return answer_hello(client, connection, Vec::new()); // it has called itself, and will notice
        }
        let peer = state.meet(addr);
        state.hello(peer, &hello.id, &hello.have, Instant::now());
        let (have, news_from) = state.haves();
        (peer, have, news_from)
    };
    answer_hello(client, connection, have)?;
    // it may not be on our list yet, and have what is missing here
    client.connect_to_peers();
    let mut asker = Asker {
        peer,
        news_from,
        buffer: Vec::new(),
    };
    loop {
        match connection.read(IDLE, PEER_CAP)? {
            None => return Ok(()),
            Some(Ask::Hello(_)) => answer_hello(client, connection, Vec::new())?,
            Some(Ask::Get(get)) => handle_piece_request(client, connection, &mut asker, &get)?,
        }
    }
}

fn answer_hello(
    client: &Client,
    connection: &Connection,
    have: Vec<crate::protocol::Have>,
) -> io::Result<()> {
    let shared = client.shared();
    connection.send(&Answer::Hello(Hello {
        v: VERSION,
        id: shared.id.clone(),
        port: shared.port,
        have,
    }))
}

/// Answers one request: with a piece, or, where none of those asked for is here, with news once there are any.
fn handle_piece_request(
    client: &Client,
    connection: &Connection,
    asker: &mut Asker,
    get: &Get,
) -> io::Result<()> {
    let wait = Duration::try_from_secs_f64(get.wait)
        .unwrap_or_default()
        .min(LONGEST_WAIT);
    let until = Instant::now() + wait;
    if get.pieces.is_empty() {
        std::thread::sleep(GATHER.min(wait));
    }
    let mut state = client.lock();
    let (served, news) = loop {
        let served = state.choose(get);
        let (news, next) = state.news(asker.news_from);
        let nothing = matches!(served, Served::NotHere) && news.is_empty();
        if !nothing || state.ending || Instant::now() >= until {
            asker.news_from = next;
            break (served, news);
        }
        state = client.wait(state, until);
    };
    drop(state);
    let n = get.n;
    match served {
        Served::Gone => connection.send(&Answer::Gone {
            n,
            name: get.name.clone(),
        }),
        Served::NotHere => connection.send(&Answer::News { n, news }),
        Served::Piece(torrent, place, idx) => {
            let Some(file) = open(client, &place)? else {
                let name = get.name.clone();
                return connection.send(&Answer::Gone { n, name });
            };
            let (start, len) = (torrent.piece_start(idx), torrent.piece_len(idx) as u32);
            let header = to_bytes(&Answer::Piece { n, idx, len, news });
            send_range(
                client,
                connection,
                &mut asker.buffer,
                &header,
                &file,
                start..start + u64::from(len),
            )?;
            client.gave(asker.peer, &get.name, idx, len);
            Ok(())
        }
    }
}

/// The file that is to be read; none where it isn't any more what was hashed: then it is withdrawn.
fn open(client: &Client, place: &Place) -> io::Result<Option<Arc<File>>> {
    match client.shared().store.open_at(place) {
        Ok(file) => Ok(Some(file)),
        Err(fault) if fault.is_gone() => {
            if let Place::Whole(name, _) = place {
                client.withdraw(name);
            }
            Ok(None)
        }
        Err(fault) => Err(io::Error::other(fault.to_string())),
    }
}

/// Sends a header and some bytes of a file, at strides that a rate limit allows.
fn send_range(
    client: &Client,
    to: &Connection,
    buffer: &mut Vec<u8>,
    header: &[u8],
    file: &File,
    range: Range<u64>,
) -> io::Result<()> {
    let limit = client.shared().up.as_ref();
    let sender = to.sender();
    let mut header = header;
    let Range { start: mut at, end } = range;
    buffer.resize(Limit::stride(limit), 0);
    while at < end {
        let stride = (end - at).min(buffer.len() as u64) as usize;
        client
            .shared()
            .store
            .read(file, &mut buffer[..stride], at)?;
        if let Some(limit) = limit {
            limit.pass(stride);
        }
        sender.send_both(header, &buffer[..stride])?;
        header = &[];
        at += stride as u64;
    }
    Ok(())
}

/// The original's request: the bytes of a file or a piece, and then the close.
fn serve_original(client: &Client, connection: &Connection, filename: &str) -> io::Result<()> {
    let until = Instant::now() + ORIGINAL_WAIT;
    let mut state = client.lock();
    let found = loop {
        match state.find(filename) {
            Found::Coming if Instant::now() < until && !state.ending => {
                state = client.wait(state, until)
            }
            found => break found,
        }
    };
    drop(state);
    let Found::Here(place, range) = found else {
        return Err(invalid(format!(
            "it asked for {:?}, which isn't here",
            legible(filename)
        )));
    };
    let Some(file) = open(client, &place)? else {
        let name = legible(filename);
        return Err(invalid(format!("it asked for {name}, which has changed")));
    };
    let len = range.end - range.start;
    send_range(client, connection, &mut Vec::new(), &[], &file, range)?;
    client.say(&Event::GaveOriginal {
        peer: connection.peer,
        name: legible(filename),
        len,
    });
    Ok(())
}
