//! A small peer that speaks our messages, one thing after the other, so that each row of the second course text can be broken
//! alone: a [`Slip`] is what it does wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bittorrentish::net::{BODY, Connection, HEADER, Listener, connect, listen};
use bittorrentish::protocol::{
    Answer, LIST_CAP, PEER_CAP, PeerEntry, PingAnswer, Reply, Summary, SwarmList, TORRENT_CAP,
};
use bittorrentish::torrent::Torrent;
use rand::seq::IndexedRandom;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// Nothing.
    No,
    /// It asks for a piece of the film before it has the `.torrent`.
    PieceFirst,
    /// Each holder has the same chance.
    AnyHolder,
    /// It takes whatever bytes come.
    NoCheck,
    /// When a source goes away, it begins the file anew.
    StartsOver,
    /// It sends whole files only.
    KeepsPieces,
}

/// What it has, by name: whole files, and pieces of files that aren't whole.
#[derive(Default)]
struct Shelves {
    files: BTreeMap<String, Vec<u8>>,
    pieces: BTreeMap<String, Vec<u8>>,
}

/// The names of the whole files.
fn whole_files(shelves: &Mutex<Shelves>) -> Vec<String> {
    let shelves = shelves.lock().expect("no panic");
    shelves.files.keys().cloned().collect()
}

/// The peer. It ends when it is dropped.
pub struct SmallPeer {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    _listener: Listener,
}

impl SmallPeer {
    /// Starts with one file; it pings `every` so often, and lists half as often.
    pub fn start(tracker: u16, file: (&str, &[u8]), every: Duration, slip: Slip) -> Self {
        let shelves = Arc::new(Mutex::new(Shelves::default()));
        let whole = (file.0.to_owned(), file.1.to_vec());
        shelves.lock().expect("no panic").files.extend([whole]);
        let served = Arc::clone(&shelves);
        let serve = move |to| drop(serve(&served, slip, to));
        let listener = listen(0).expect("a port");
        let listener = Listener::start("small peer", listener, 8, serve, |_| {}).expect("a thread");
        let over = Arc::new(AtomicBool::new(false));
        let (tracker, port) = ((Ipv4Addr::LOCALHOST, tracker).into(), listener.addr.port());
        let list = Arc::new(Mutex::new(None));
        let (told, listed, ended) = (Arc::clone(&list), Arc::clone(&shelves), Arc::clone(&over));
        let pings = thread::spawn(move || {
            let (mut due, mut n_pings) = (Instant::now(), 0);
            while !ended.load(Ordering::SeqCst) {
                if due <= Instant::now() {
                    due += every;
                    n_pings += 1;
                    let came = ping(tracker, port, &listed, n_pings % 2 == 0);
                    *told.lock().expect("no panic") = came.ok();
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        let mut downloads = Downloads {
            shelves,
            slip,
            tracker,
            port,
            torrents: BTreeMap::new(),
            away: BTreeMap::new(),
            left: BTreeSet::new(),
        };
        let ended = Arc::clone(&over);
        let steps = thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let list: Option<SwarmList> = list.lock().expect("no panic").clone();
                let step = list.map(|list| downloads.step(&list));
                if !matches!(step, Some(Ok(true))) {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Self {
            over,
            threads: vec![pings, steps],
            _listener: listener,
        }
    }
}

impl Drop for SmallPeer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn tell<T: DeserializeOwned>(tracker: SocketAddr, message: &Value) -> io::Result<T> {
    let mut to = connect(&[tracker])?;
    to.send(message)?;
    to.expect(HEADER, TORRENT_CAP.max(LIST_CAP))
}

/// Pings, and sends its list where that is due. Returns the tracker's.
fn ping(
    tracker: SocketAddr,
    port: u16,
    shelves: &Mutex<Shelves>,
    lists: bool,
) -> io::Result<SwarmList> {
    if lists {
        let files = whole_files(shelves);
        let list = json!({"msg": "file_list", "port": port, "v": 1, "files": files});
        tell::<Value>(tracker, &list)?;
    }
    match tell(tracker, &json!({"msg": "ping", "port": port, "v": 1}))? {
        PingAnswer::Ours(list) => Ok(list),
        other => panic!("{other:?}"),
    }
}

fn serve(shelves: &Mutex<Shelves>, slip: Slip, mut to: Connection) -> io::Result<()> {
    let ask: Value = to.expect(HEADER, PEER_CAP)?;
    let name = ask["filename"].as_str().unwrap_or_default();
    let shelves = shelves.lock().expect("no panic");
    let piece = shelves
        .pieces
        .get(name)
        .filter(|_| slip != Slip::KeepsPieces);
    let bytes = shelves.files.get(name).or(piece).cloned();
    drop(shelves);
    to.sender().send_within(&bytes.unwrap_or_default(), BODY)
}

struct Downloads {
    shelves: Arc<Mutex<Shelves>>,
    slip: Slip,
    tracker: SocketAddr,
    port: u16,
    torrents: BTreeMap<String, Torrent>,
    /// How far away peers are that speak our messages.
    away: BTreeMap<u16, Duration>,
    /// Who went away, or sent something wrong.
    left: BTreeSet<u16>,
}

impl Downloads {
    /// Gets one piece. Returns false if there is nothing to do.
    fn step(&mut self, list: &SwarmList) -> io::Result<bool> {
        let whole = whole_files(&self.shelves);
        let mut missing = list.torrents.iter().flatten();
        let Some(summary) = missing.find(|one| !whole.contains(&one.name.to_string())) else {
            return Ok(false);
        };
        let holders = |piece: &str| {
            let has = |peer: &&PeerEntry| {
                let files = &peer.file_list;
                files
                    .iter()
                    .any(|file| file == piece || file == summary.name.as_str())
            };
            let holders = list
                .peers
                .iter()
                .filter(|peer| !self.left.contains(&peer.port));
            holders.filter(has).collect::<Vec<_>>()
        };
        let Some(torrent) = self.torrents.get(summary.name.as_str()) else {
            if self.slip == Slip::PieceFirst && summary.name.as_str().starts_with("film") {
                let first = holders("");
                let _ = get(first[0].port, summary, 0);
            }
            let reply: Reply = tell(
                self.tracker,
                &json!({"msg": "get_torrent", "name": summary.name}),
            )?;
            let torrent = reply.torrent.expect("a .torrent");
            self.torrents.insert(summary.name.to_string(), torrent);
            return Ok(true);
        };
        let here = |idx: u32| {
            let piece = torrent.original_name(idx);
            self.shelves
                .lock()
                .expect("no panic")
                .pieces
                .contains_key(&piece)
        };
        let pieces = (0..torrent.n_pieces()).filter(|idx| !here(*idx));
        let copies = |idx: &u32| holders(&torrent.original_name(*idx)).len();
        let Some(idx) = pieces.filter(|idx| copies(idx) > 0).min_by_key(copies) else {
            return Ok(self.finish(torrent));
        };
        let (torrent, piece) = (torrent.clone(), torrent.original_name(idx));
        let holders: Vec<PeerEntry> = holders(&piece).into_iter().cloned().collect();
        for holder in holders.iter().filter(|holder| holder.v.is_some()) {
            self.measure(holder.port)?;
        }
        let weight = |holder: &&PeerEntry| match self.slip {
            Slip::AnyHolder => 1.0,
            _ => {
                1.0 / self
                    .away
                    .get(&holder.port)
                    .map_or(0.002, |away| away.as_secs_f64().max(0.002))
            }
        };
        let all: Vec<&PeerEntry> = holders.iter().collect();
        let holder = *all
            .choose_weighted(&mut rand::rng(), weight)
            .expect("a holder");
        let came = match holder.v {
            Some(_) => get(holder.port, summary, idx),
            None => get_from_original(holder.port, &piece),
        };
        let is_right =
            |bytes: &Vec<u8>| torrent.verify(idx, bytes).is_ok() || self.slip == Slip::NoCheck;
        let mut shelves = self.shelves.lock().expect("no panic");
        match came.ok().filter(is_right) {
            Some(bytes) => drop(shelves.pieces.insert(piece, bytes)),
            None => {
                self.left.insert(holder.port);
                if self.slip == Slip::StartsOver {
                    shelves
                        .pieces
                        .retain(|name, _| !name.starts_with(torrent.name().as_str()));
                }
            }
        }
        Ok(true)
    }

    /// Puts a file together if all of its pieces are here.
    fn finish(&self, torrent: &Torrent) -> bool {
        let mut shelves = self.shelves.lock().expect("no panic");
        let pieces = (0..torrent.n_pieces()).map(|idx| torrent.original_name(idx));
        let bytes: Option<Vec<_>> = pieces
            .map(|piece| shelves.pieces.get(&piece).cloned())
            .collect();
        if let Some(bytes) = &bytes {
            shelves
                .files
                .insert(torrent.name().to_string(), bytes.concat());
        }
        bytes.is_some()
    }

    /// Says hello to a peer three times, once for all, to know how far away it is.
    fn measure(&mut self, port: u16) -> io::Result<()> {
        if self.away.contains_key(&port) {
            return Ok(());
        }
        let mut to = connect(&[(Ipv4Addr::LOCALHOST, port).into()])?;
        for _ in 0..3 {
            let began = Instant::now();
            to.send(&json!({"msg": "hello", "v": 1, "id": "small", "port": self.port}))?;
            to.expect::<Answer>(HEADER, PEER_CAP)?;
            let away = self.away.entry(port).or_insert(HEADER);
            *away = began.elapsed().min(*away);
        }
        Ok(())
    }
}

fn get(port: u16, file: &Summary, idx: u32) -> io::Result<Vec<u8>> {
    let mut to = connect(&[(Ipv4Addr::LOCALHOST, port).into()])?;
    let ask = json!({"msg": "get", "n": 1, "name": file.name, "md5": file.md5, "pieces": [idx], "wait": 1.0});
    to.send(&ask)?;
    let Answer::Piece(header) = to.expect(BODY, PEER_CAP)? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (mut bytes, mut at) = (vec![0; header.len as usize], 0);
    while at < bytes.len() {
        match to.read_some(&mut bytes[at..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => at += n,
        }
    }
    Ok(bytes)
}

fn get_from_original(port: u16, piece: &str) -> io::Result<Vec<u8>> {
    let to = connect(&[(Ipv4Addr::LOCALHOST, port).into()])?;
    to.send(&json!({"filename": piece}))?;
    let mut bytes = Vec::new();
    to.sender().read_to_end(&mut bytes)?;
    Ok(bytes)
}
