//! Taking from originals: one connection for each piece or file, as they know it.
//!
//! Behind our tracker an original's pieces are checked like any other. Behind an original tracker there is no `.torrent`,
//! and an orderly end proves nothing: a file has to come twice the same, and stays marked as unverified.
//!
//! What was asked of an original is read to its end, whatever it is: a transfer that is broken off ends its serving for good.

use std::io;
use std::net::SocketAddr;
use std::thread::Builder;
use std::time::Instant;

use crate::client::Client;
use crate::download::{held, is_oneself, receive, say_hello, take};
use crate::events::Event;
use crate::limit::Limit;
use crate::md5::{Digest, Hasher};
use crate::net::{BODY, Connection, HEADER, connect, is_local, unexpected};
use crate::picker::{Order, PeerNo};
use crate::protocol::{
    Answer, Ask, FirstMessage, ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK, PEER_CAP, Reply, ToTracker,
    to_bytes,
};
use crate::state::Standing;
use crate::store::{Copy, Saved, StoreError};
use crate::torrent::{MAX_PIECE_LEN, Name, legible};

/// The original's `request_piece`: one connection, one piece.
pub(crate) fn request_piece(client: &Client, order: Order, addr: SocketAddr, ours: bool) {
    let peer = order.peer;
    let done = if ours {
        from_ours(client, order, addr)
    } else {
        from_original(client, order, addr)
    };
    client
        .lock()
        .disconnected(peer, done.is_err(), Instant::now());
    if let Err(fault) = done {
        client.lost(peer, addr, fault.to_string());
    }
    client.manage_downloads();
}

/// A classic round's one piece.
fn from_ours(client: &Client, order: Order, addr: SocketAddr) -> io::Result<()> {
    let mut connection = connect(&[addr])?;
    let (their, latency) = say_hello(client, &mut connection)?;
    if is_oneself(client, order.peer, &their) {
        return Ok(());
    }
    {
        let mut state = client.lock();
        state.hello(order.peer, &their.id, &their.have, Instant::now());
        if let Some(peer) = state.peers.get_mut(&order.peer) {
            peer.latency = Some(latency);
        }
    }
    connection.send(&Ask::Get(order.get))?;
    match connection.expect(BODY, PEER_CAP)? {
        Answer::Piece { n, idx, len, .. } => {
            receive(client, order.peer, &mut connection, n, idx, len)
        }
        Answer::Gone { name, .. } => {
            client.lock().picker.peer_lost(order.peer, &name);
            Ok(())
        }
        Answer::News { .. } => Ok(()),
        Answer::Refused { why } => Err(io::Error::other(format!("refused: {}", legible(&why)))),
        Answer::Hello(_) => Err(unexpected("a hello that nobody asked for")),
    }
}

/// A piece by its name, checked like any other.
fn from_original(client: &Client, order: Order, addr: SocketAddr) -> io::Result<()> {
    let Some(&idx) = order.get.pieces.first() else {
        return Ok(());
    };
    let name = &order.get.name;
    let Some(torrent) = held(client, name, idx) else {
        return Ok(());
    };
    let mut piece = client.shared().buffers.take(torrent.piece_len(idx));
    piece.clear();
    let mut latency = None;
    let came = ask(addr, &torrent.original_name(idx), &mut latency).and_then(|mut connection| {
        // one byte more than the longest piece is kept, so that too long is seen as wrong
        read_to_end(client, &mut connection, |bytes| {
            let room = (MAX_PIECE_LEN as usize + 1).saturating_sub(piece.len());
            piece.extend_from_slice(&bytes[..bytes.len().min(room)]);
            Ok(())
        })
    });
    {
        let mut state = client.lock();
        state.picker.answered(
            order.peer,
            order.get.n,
            came.is_ok().then_some(idx),
            Instant::now(),
        );
        if let Some(peer) = state.peers.get_mut(&order.peer) {
            peer.latency = latency.or(peer.latency);
        }
    }
    if came.is_ok() {
        take(client, order.peer, &torrent, idx, &piece);
    }
    came.map_err(io::Error::other)
}

/// Connects to an original, and asks for a name of its list.
fn ask(
    addr: SocketAddr,
    name: &str,
    latency: &mut Option<std::time::Duration>,
) -> io::Result<Connection> {
    let asked = Instant::now();
    let connection = connect(&[addr])?;
    *latency = Some(asked.elapsed());
    connection.send(&FirstMessage::Original {
        filename: name.to_owned(),
    })?;
    Ok(connection)
}

/// Reads up to the close. What `keep` doesn't take any more is read all the same, as an original would end where it can't
/// send; but no more than came before, as one may never stop.
fn read_to_end(
    client: &Client,
    connection: &mut Connection,
    mut keep: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> io::Result<()> {
    let limit = client.shared().down.as_ref();
    let mut buffer = vec![0; Limit::stride(limit)];
    let mut pace = connection.begin_body()?;
    let mut kept = Ok(());
    let (mut good, mut over) = (0, 0);
    loop {
        let asked = Instant::now();
        let came = connection.read_some(&mut buffer)?;
        if came == 0 || over > good {
            return kept.map_err(|fault: StoreError| io::Error::other(fault.to_string()));
        }
        pace.note(came, asked.elapsed())?;
        if kept.is_ok() {
            kept = keep(&buffer[..came]);
            good += came;
        } else {
            over += came;
        }
        if let Some(limit) = limit {
            limit.pass(came);
        }
    }
}

/// Fetches, one after the other, the files that only originals have; in the background, and not twice at a time.
pub(crate) fn fetch_whole_files(client: &Client) {
    let fetch = {
        let mut state = client.lock();
        let wanted = !state.from_originals_only().is_empty() && !state.ending;
        wanted && !std::mem::replace(&mut state.fetching_whole, true)
    };
    if !fetch {
        return;
    }
    let fetching = client.clone();
    let spawned = Builder::new().name("originals".to_owned()).spawn(move || {
        let wanted = fetching.lock().from_originals_only();
        for (name, holders) in wanted {
            if let Err(fault) = fetch_whole_file(&fetching, &name, &holders) {
                fetching.say(&Event::NotTwiceTheSame {
                    name: name.to_string(),
                    why: fault.to_string(),
                });
            }
        }
        fetching.lock().fetching_whole = false;
        fetching.tell_all();
    });
    if spawned.is_err() {
        client.lock().fetching_whole = false;
    }
}

/// Fetches a file twice, from two holders where there are two; only the same content twice enters the folder.
fn fetch_whole_file(
    client: &Client,
    name: &Name,
    holders: &[(PeerNo, SocketAddr)],
) -> io::Result<()> {
    let Some(&(_, first)) = holders.first() else {
        return Ok(());
    };
    let second = holders.get(1).map_or(first, |(_, addr)| *addr);
    let (_, once, size) = fetch_copy(client, name, first, "copy1")?;
    let (copy, again, _) = fetch_copy(client, name, second, "copy2")?;
    if once != again {
        return Err(io::Error::other(format!(
            "{first} sent a content with MD5 {once}, {second} one with {again}"
        )));
    }
    let store = &client.shared().store;
    let enter = || -> Result<_, StoreError> {
        let torrent = store.hash(name, &copy.file, size, |_| true)?;
        Ok((store.complete_copy(name, &copy)?, torrent))
    };
    let (stamp, torrent) = enter().map_err(|fault| io::Error::other(fault.to_string()))?;
    if let Some(torrent) = torrent {
        // what is remembered keeps it from being published by the next run
        store
            .save(&Saved {
                stamp: Some(stamp),
                verified: false,
                received: true,
                torrent,
            })
            .map_err(|fault| io::Error::other(fault.to_string()))?;
    }
    client
        .lock()
        .standing
        .insert(name.clone(), Standing::Unverified(stamp, again));
    client.say(&Event::Unverified {
        name: name.to_string(),
        size,
        md5: again.to_string(),
    });
    client.list_now();
    Ok(())
}

fn fetch_copy(
    client: &Client,
    name: &Name,
    from: SocketAddr,
    which: &str,
) -> io::Result<(Copy, Digest, u64)> {
    let mut copy = client
        .shared()
        .store
        .new_copy(name, which)
        .map_err(|fault| io::Error::other(fault.to_string()))?;
    let mut hasher = Hasher::new(crate::torrent::MIN_PIECE_LEN as usize);
    let mut connection = ask(from, name.as_str(), &mut None)?;
    read_to_end(client, &mut connection, |bytes| {
        hasher.update(bytes);
        client.shared().store.append(&mut copy, bytes)
    })?;
    let size = copy.size;
    Ok((copy, hasher.finish().1, size))
}

/// Tells an original tracker what is here, in one read of its.
pub(crate) fn send_list(tracker: &mut Connection, port: u16, files: Vec<String>) -> io::Result<()> {
    let local = is_local(tracker.peer.ip(), tracker.own.ip());
    let cap = if local {
        ORIGINAL_CAP
    } else {
        ORIGINAL_CAP_OFF_LOOPBACK
    };
    tracker.sender().send_bytes(&file_list(port, files, cap))?;
    // it closes without an answer; leaving before would end it
    tracker.read::<Reply>(HEADER, ORIGINAL_CAP).map(drop)
}

/// The original's list: as many names as fit into one read of its.
fn file_list(port: u16, mut files: Vec<String>, cap: usize) -> Vec<u8> {
    loop {
        let list = to_bytes(&ToTracker::FileList {
            port,
            files: files.clone(),
            v: None,
            pieces: Default::default(),
            coming: Vec::new(),
            others: Default::default(),
        });
        if list.len() <= cap || files.is_empty() {
            return list;
        }
        files.truncate(files.len() * cap / (list.len() + 1));
    }
}
