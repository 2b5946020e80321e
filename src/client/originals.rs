//! The differences with originals: one connection for each piece or file, as they expect it. A classic round asks our own peers
//! in the same way.
//!
//! Behind our tracker, an original's pieces are checked like any others. Behind an original tracker there is no
//! `.torrent`, and a regular close proves nothing: a file has to come twice with the same content, and stays marked as
//! unverified.
//!
//! An answer of an original is read to its end, whatever it is: a broken transfer would stop it from ever serving again.
//!
//! | tracker | peers | what works |
//! |---|---|---|
//! | ours | originals and ours | everything: originals get large files piece by piece, keep the pieces as files under their part names, and hand them on |
//! | an original | ours and originals | whole files under their names, unverified; `--exit-when-complete` ends with 4, not with 0 |
//!
//! - An original whose connection broke keeps and serves a truncated piece, and never asks for it again: the short file has to
//!   be deleted there. Others catch it by the check.
//! - An original tracker with `--remote` tells peers apart by address alone, so each machine can have one peer only.
//! - Originals know IPv4 only.

use std::net::{IpAddr, SocketAddr};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::Client;
use super::errors::ClientError;
use crate::events::Event;
use crate::limit::Limit;
use crate::md5::{Digest, Hasher};
use crate::net::{BODY, Connection, HEADER, connect, is_local};
use crate::picker::{Decision, PeerId};
use crate::protocol::{
    Answer, Ask, FirstMessage, ORIGINAL_CAP, PEER_CAP, PeerEntry, PeerList, Reply, ToTracker,
    original_cap, to_bytes,
};
use crate::state::Found;
use crate::store::{Copy, Saved, Stamp, StoreError};
use crate::torrent::{MIN_PIECE_LEN, Name, legible};

/// How long an original's request waits for a piece that is still on its way here: after a refusal it would keep an
/// empty piece for good.
const ORIGINAL_WAIT: Duration = Duration::from_secs(600);

impl Client {
    /// Takes the list of an original tracker.
    pub(super) fn take_original_list(&self, peers: &[PeerEntry], own: IpAddr) {
        // its list contains the asker
        let is_own = |ip: &str| ip.parse().is_ok_and(|ip| is_local(ip, own));
        let others = peers.iter();
        let others = others.filter(|peer| peer.port != self.0.port || !is_own(&peer.ip));
        let others: Vec<_> = others.cloned().collect();
        let first = self.lock().update_original_list(&others, Instant::now());
        self.say(&Event::List {
            n_peers: peers.len(),
            n_files: 0,
            original: true,
            first,
        });
        if first {
            self.say(&Event::OriginalTracker);
            self.list_now();
        }
        self.announce_all();
    }

    /// Tells an original tracker which files are here, within one of its reads.
    pub(super) fn send_original_list(&self) -> Result<(), ClientError> {
        let files = self.lock().whole_names();
        let mut tracker = self.to_tracker()?;
        let local = is_local(tracker.peer.ip(), tracker.own.ip());
        let list = file_list(self.0.port, files, original_cap(local));
        tracker.sender().send_bytes(&list)?;
        // it closes without an answer; leaving earlier would end it
        tracker.read::<Reply>(HEADER, ORIGINAL_CAP)?;
        Ok(())
    }

    /// Sends a request on a connection of its own: to an original, or in a classic round.
    pub(super) fn request_alone(&self, decision: Decision, addr: SocketAddr, ours: bool) {
        let (client, peer, n) = (self.clone(), decision.peer, decision.get.n);
        let thread = Builder::new().name(format!("request_piece {addr}"));
        let spawned = thread.spawn(move || {
            let done = match ours {
                true => client.take_one_from_ours(decision, addr),
                false => client.take_one_from_original(decision, addr),
            };
            let failed = done.is_err();
            {
                let mut state = client.lock();
                // a round may have come between the answer and this, with a connection of its own
                if failed || !state.is_asked_since(peer, n) {
                    state.disconnected(peer, failed, Instant::now());
                }
            }
            if let Err(fault) = done {
                client.lost(peer, addr, &fault);
            }
            client.manage_downloads();
        });
        if spawned.is_err() {
            self.lock().disconnected(peer, true, Instant::now());
        }
    }

    /// Fetches the one piece of a classic round.
    fn take_one_from_ours(&self, decision: Decision, addr: SocketAddr) -> Result<(), ClientError> {
        let peer = decision.peer;
        let mut connection = self.connect_to(addr)?;
        let Some((their, latency)) = self.say_hello(peer, &mut connection)? else {
            return Ok(());
        };
        let now = Instant::now();
        self.lock().said_hello(peer, &their, latency, now);
        connection.send(&Ask::Get(decision.get))?;
        match connection.expect(BODY, PEER_CAP)? {
            Answer::Piece(header) => self.receive_piece(peer, &mut connection, &header),
            Answer::Gone { name, .. } => {
                self.lock().has_not(peer, &name);
                Ok(())
            }
            Answer::News { .. } => Ok(()),
            Answer::Refused { why } => Err(ClientError::refused(&why)),
            Answer::Hello(_) => Err(ClientError::Unexpected("a hello that nobody asked for")),
        }
    }

    /// Fetches a piece by its name, and verifies it like any other.
    fn take_one_from_original(
        &self,
        decision: Decision,
        addr: SocketAddr,
    ) -> Result<(), ClientError> {
        let (peer, get) = (decision.peer, decision.get);
        let Some(&idx) = get.pieces.first() else {
            return Ok(());
        };
        let Some(torrent) = self.lock().torrent_with(&get.name, get.md5, idx) else {
            return Ok(());
        };
        let mut piece = self.0.buffers.take(torrent.piece_len(idx));
        piece.clear();
        let mut latency = None;
        let asked = ask(addr, &torrent.original_name(idx), &mut latency);
        let came = asked.and_then(|mut connection| {
            // one byte more than it has is kept, so that a piece that is too long is seen as wrong
            let most = torrent.piece_len(idx) + 1;
            self.read_to_end(&mut connection, |bytes| {
                let room = most - piece.len();
                piece.extend_from_slice(&bytes[..bytes.len().min(room)]);
                Ok(piece.len() < most)
            })
        });
        let piece_came = came.is_ok().then_some(idx);
        {
            let mut state = self.lock();
            // the file may have been given up in the meantime
            let _ = state.take_answer(peer, get.n, piece_came, Instant::now());
            state.note_latency(peer, latency);
        }
        if came.is_ok() {
            self.keep_piece(peer, &torrent, idx, piece.len(), &piece);
        }
        came
    }

    /// Reads up to the close, or until `keep` returns false or fails. What comes after that is still read, as an original
    /// would end if it couldn't send; but only as many bytes as came before, as some may never stop.
    fn read_to_end(
        &self,
        connection: &mut Connection,
        mut keep: impl FnMut(&[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), ClientError> {
        let limit = self.0.down.as_ref();
        let mut buffer = vec![0; Limit::stride(limit)];
        let mut pace = connection.begin_body()?;
        let mut kept = Ok(true);
        let (mut good, mut over) = (0, 0);
        loop {
            let asked = Instant::now();
            let came = connection.read_some(&mut buffer)?;
            if came == 0 || over > good {
                return kept.map(drop).map_err(ClientError::Disk);
            }
            pace.note(came, asked.elapsed())?;
            if let Ok(true) = kept {
                kept = keep(&buffer[..came]);
                good += came;
            } else {
                over += came;
            }
            Limit::pass(limit, came);
        }
    }

    /// Fetches the files that only originals have, one after the other; in the background, on one thread at most.
    pub(super) fn fetch_whole_files(&self) {
        if !self.lock().begin_whole_files() {
            return;
        }
        let fetching = self.clone();
        let spawned = Builder::new().name("originals".to_owned()).spawn(move || {
            let wanted = fetching.lock().from_originals_only();
            for (name, holders) in wanted {
                if let Err(fault) = fetching.fetch_whole_file(&name, &holders) {
                    fetching.say(&Event::NotTwiceTheSame {
                        name: name.to_string(),
                        why: fault.to_string(),
                    });
                }
            }
            fetching.lock().end_whole_files();
            fetching.notify_all();
        });
        if spawned.is_err() {
            self.lock().end_whole_files();
        }
    }

    /// Fetches a file twice, from two holders if there are two; it only enters the folder if both copies are equal.
    fn fetch_whole_file(
        &self,
        name: &Name,
        holders: &[(PeerId, SocketAddr)],
    ) -> Result<(), ClientError> {
        let Some(&(_, first)) = holders.first() else {
            return Ok(());
        };
        let second = holders.get(1).map_or(first, |(_, addr)| *addr);
        let (_, once) = self.fetch_copy(name, first, "copy1")?;
        let (copy, again) = self.fetch_copy(name, second, "copy2")?;
        if once != again {
            let copies = [(first, once), (second, again)];
            return Err(ClientError::NotTwiceTheSame(copies));
        }
        let stamp = self.enter_unverified(name, &copy)?;
        self.lock().stands_unverified(name, stamp, again);
        self.say(&Event::Unverified {
            name: name.to_string(),
            size: copy.size,
            md5: again.to_string(),
        });
        self.list_now();
        Ok(())
    }

    /// Brings a copy into the folder. It is remembered as unverified, so that the next run doesn't publish it.
    fn enter_unverified(&self, name: &Name, copy: &Copy) -> Result<Stamp, StoreError> {
        let store = &self.0.store;
        let torrent = store.hash(name, &copy.file, copy.size, |_| true, |_, _| ())?;
        let stamp = store.complete_copy(name, copy)?;
        if let Some(torrent) = torrent {
            store.save(&Saved {
                stamp: Some(stamp),
                verified: false,
                received: true,
                torrent,
            })?;
        }
        Ok(stamp)
    }

    fn fetch_copy(
        &self,
        name: &Name,
        from: SocketAddr,
        which: &str,
    ) -> Result<(Copy, Digest), ClientError> {
        let mut copy = self.0.store.new_copy(name, which)?;
        let mut hasher = Hasher::new(MIN_PIECE_LEN as usize);
        let mut connection = ask(from, name.as_str(), &mut None)?;
        self.read_to_end(&mut connection, |bytes| {
            hasher.update(bytes);
            self.0.store.append(&mut copy, bytes).map(|()| true)
        })?;
        Ok((copy, hasher.finish().1))
    }

    /// Answers the original's request: sends the bytes of a file or a piece, and closes.
    pub(super) fn serve_original(
        &self,
        connection: &Connection,
        filename: &str,
    ) -> Result<(), ClientError> {
        let until = Instant::now() + ORIGINAL_WAIT;
        let mut state = self.lock();
        let found = loop {
            match state.find(filename) {
                Found::Coming if Instant::now() < until && !state.is_ending() => {
                    state = self.wait(state, until)
                }
                found => break found,
            }
        };
        drop(state);
        let name = legible(filename);
        let Found::Here(location, range) = found else {
            return Err(ClientError::NotHere(name));
        };
        let Some(file) = self.open_or_withdraw(&location)? else {
            return Err(ClientError::NotHere(name));
        };
        let len = range.end - range.start;
        self.send_ranges(connection, &mut Vec::new(), &[], &file, &[range])?;
        let peer = connection.peer;
        self.say(&Event::GaveOriginal { peer, name, len });
        Ok(())
    }
}

/// Connects to an original and asks for a name on its list.
fn ask(
    addr: SocketAddr,
    name: &str,
    latency: &mut Option<Duration>,
) -> Result<Connection, ClientError> {
    let asked = Instant::now();
    let connection = connect(&[addr]).map_err(ClientError::NotConnected)?;
    *latency = Some(asked.elapsed());
    connection.send(&FirstMessage::Original {
        filename: name.to_owned(),
    })?;
    Ok(connection)
}

/// Builds the original's list: as many names as fit into one of its reads.
fn file_list(port: u16, mut files: Vec<String>, cap: usize) -> Vec<u8> {
    loop {
        let list = to_bytes(&ToTracker::FileList {
            port,
            v: None,
            list: PeerList {
                files: files.clone(),
                ..PeerList::default()
            },
        });
        if list.len() <= cap || files.is_empty() {
            return list;
        }
        files.truncate(files.len() * cap / (list.len() + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ORIGINAL_CAP_OFF_LOOPBACK;

    #[test]
    fn a_list_for_an_original_fits_into_one_read_of_its() {
        for n_files in [0, 1, 30, 3000] {
            let names = (0..n_files).map(|n| format!("{n:040}"));
            let names: Vec<String> = names.collect();
            for cap in [ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK] {
                let list = file_list(50001, names.clone(), cap);
                assert!(list.len() <= cap, "{n_files} files: {} bytes", list.len());
                let ToTracker::FileList {
                    list: PeerList { files, .. },
                    v: None,
                    ..
                } = crate::protocol::parse(&list).expect("a message")
                else {
                    panic!("an original's list");
                };
                assert_eq!(files, names[..files.len()], "the first of them");
                let room = cap - list.len();
                assert!(
                    files.len() == n_files || room < 1400,
                    "{room} bytes are left"
                );
            }
        }
    }
}
