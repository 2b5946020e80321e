//! What the tracker knows: who is there, what each has, and which contents are published. Holds no part of any file.
//!
//! Pure: no socket, no file, no clock, no lock; the random generator is a parameter. [`crate::tracker`] keeps it in its one
//! Mutex. Time goes by in sweeps: who wasn't heard of between two of them is dropped.
//!
//! The original's `append_client` and `update_peer_list` are here under their names. What differs: new peers are visible at
//! once, `--remote` tells peers apart by address *and* port, and the answer to an original fits what it reads at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::bitfield::Bitfield;
use crate::md5::Digest;
use crate::net::is_local;
use crate::protocol::{
    LIST_CAP, ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK, PeerEntry, Summary, SwarmList, VERSION,
};
use crate::torrent::{Name, Source};

/// Peers in one answer. Of a larger swarm each answer names others at random; the tracker knows them all.
pub const PEERS_LISTED: usize = 200;
/// Peers that one address may announce, so that a single machine can't fill the memory. Loopback may have as many as ports.
pub const PEERS_PER_ADDRESS: usize = 4096;
/// Names in one peer's list: ten times the pieces that a file of up to 16 GiB has.
pub const NAMES_PER_LIST: usize = 10_000;
/// Bytes of names in one answer of ours: half of what a client reads. A peer whose names don't fit is listed without.
const NAMES_ROOM: usize = LIST_CAP / 2;
/// Whole files that are looked at for one answer to an original, so that it takes a millisecond, not a second.
const NAMES_WEIGHED: usize = 20_000;
/// Strangers that are remembered, so as to tell of each once.
const STRANGERS: usize = 4096;

/// Whom a tracker serves, and so what tells peers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine: many peers on one address, told apart by port.
    Local,
    /// Every machine: told apart by address and port.
    Remote,
}

/// The two ends of a connection to the tracker. A peer is where it came from, and can't list anybody else.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The peer's address.
    pub peer: IpAddr,
    /// The address at which it reached the tracker.
    pub own: IpAddr,
}

/// What tells peers apart. Without an address on a [`Reach::Local`] tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key(Option<IpAddr>, u16);

/// Invariant: a bitfield in `pieces` has its record's length and at least one piece; in ours, the file isn't in `files`.
struct Peer {
    addr: SocketAddr,
    v: Option<u32>,
    /// Names of whole files, and all names that mean nothing to the tracker.
    files: BTreeSet<String>,
    /// Pieces of published files; an original's come as the names that pieces have.
    pieces: BTreeMap<Name, Bitfield>,
    /// Whether it was heard of since the last sweep.
    seen: bool,
}

struct Record {
    summary: Summary,
    publisher: Option<SocketAddr>,
}

/// The tracker's state.
///
/// Invariant: `places` says for each peer where in `peers` it is; random ones are picked from there.
pub struct Roster {
    reach: Reach,
    peers: Vec<Peer>,
    places: HashMap<Key, usize>,
    /// By the file's name.
    records: BTreeMap<String, Record>,
    strangers: HashSet<IpAddr>,
}

/// A peer that was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Where others find it.
    pub addr: SocketAddr,
    /// Whether it wasn't known before.
    pub new: bool,
}

/// What comes of a content that somebody wants to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    New,
    /// It is there already, and stays as it is.
    Again,
    /// Keep it in the place of the content with this MD5.
    Replaces(Digest),
}

/// Why the tracker doesn't do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// From another machine, to a local tracker.
    Stranger,
    /// Nobody listens on port 0.
    PortZero,
    /// [`PEERS_PER_ADDRESS`] are known at this address.
    Peers(IpAddr),
    /// So many names in a list, over [`NAMES_PER_LIST`].
    Names(usize),
    /// The swarm has another content under the name.
    OtherContent {
        /// The file.
        name: Name,
        /// The MD5 of what the swarm has.
        stands: Digest,
        /// The MD5 of what was to be published.
        came: Digest,
    },
    /// There is no such record.
    Unknown(Name),
    /// The tracker's disk doesn't do what it should.
    Disk(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger => write!(
                f,
                "this tracker serves its own machine only: it was started without --remote"
            ),
            Self::PortZero => write!(f, "expected the port that the peer listens on, came 0"),
            Self::Peers(ip) => write!(
                f,
                "{PEERS_PER_ADDRESS} peers have come from {ip}, and no more are taken"
            ),
            Self::Names(n) => write!(f, "a list has at most {NAMES_PER_LIST} names, this one {n}"),
            Self::OtherContent { name, stands, came } => {
                write!(
                    f,
                    "the swarm has another {name}, with MD5 {stands}; yours has MD5 {came}: publish it under another name"
                )
            }
            Self::Unknown(name) => write!(f, "nobody has published {name} here"),
            Self::Disk(why) => write!(f, "the tracker's disk: {why}"),
        }
    }
}

impl Roster {
    /// Nobody and nothing.
    pub fn new(reach: Reach) -> Self {
        Self {
            reach,
            peers: Vec::new(),
            places: HashMap::new(),
            records: BTreeMap::new(),
            strangers: HashSet::new(),
        }
    }

    /// How many peers are there.
    pub fn n_peers(&self) -> usize {
        self.peers.len()
    }

    /// Whether whoever comes this way is served.
    pub fn serves(&self, from: Ends) -> bool {
        self.reach == Reach::Remote || is_local(from.peer, from.own)
    }

    /// Whether this stranger is seen for the first time, as far as is remembered.
    pub fn is_first_time(&mut self, stranger: IpAddr) -> bool {
        self.strangers.len() < STRANGERS && self.strangers.insert(stranger)
    }

    fn key(&self, addr: SocketAddr) -> Key {
        Key(
            (self.reach == Reach::Remote).then_some(addr.ip()),
            addr.port(),
        )
    }

    fn peer(&self, key: Key) -> Option<&Peer> {
        self.places.get(&key).map(|at| &self.peers[*at])
    }

    fn peer_mut(&mut self, key: Key) -> Option<&mut Peer> {
        self.places.get(&key).map(|at| &mut self.peers[*at])
    }

    /// Where the others find who comes this way. An original on this machine connects to its host name's address, and
    /// listens on just that.
    fn addr_of(from: Ends, port: u16, v: Option<u32>) -> SocketAddr {
        let ip = if v.is_none() && is_local(from.peer, from.own) {
            from.own
        } else {
            from.peer
        };
        SocketAddr::new(ip, port)
    }

    /// Notes that a peer is there: new ones are visible at once, and known ones outlive the next sweep.
    ///
    /// # Errors
    /// Where it can't be a peer, or too many have come from its address.
    pub fn append_client(
        &mut self,
        from: Ends,
        port: u16,
        v: Option<u32>,
    ) -> Result<Joined, Refusal> {
        let addr = Self::addr_of(from, port, v);
        let key = self.key(addr);
        if port == 0 {
            return Err(Refusal::PortZero);
        }
        if let Some(peer) = self.peer_mut(key) {
            (peer.addr, peer.v, peer.seen) = (addr, v, true);
            return Ok(Joined { addr, new: false });
        }
        let beside = self
            .peers
            .iter()
            .filter(|peer| self.key(peer.addr).0 == key.0);
        if !addr.ip().is_loopback() && beside.count() >= PEERS_PER_ADDRESS {
            return Err(Refusal::Peers(addr.ip()));
        }
        self.places.insert(key, self.peers.len());
        self.peers.push(Peer {
            addr,
            v,
            files: BTreeSet::new(),
            pieces: BTreeMap::new(),
            seen: true,
        });
        Ok(Joined { addr, new: true })
    }

    /// Takes a peer's list in the place of its last. Digits that don't fit the published file are left out.
    ///
    /// # Errors
    /// As [`Roster::append_client`]; where the list is too long.
    pub fn set_list(
        &mut self,
        from: Ends,
        port: u16,
        v: Option<u32>,
        names: Vec<String>,
        digits: &BTreeMap<String, String>,
    ) -> Result<Joined, Refusal> {
        let n_names = names.len() + digits.len();
        if n_names > NAMES_PER_LIST {
            return Err(Refusal::Names(n_names));
        }
        let joined = self.append_client(from, port, v)?;
        let (mut files, mut pieces) = (BTreeSet::new(), BTreeMap::<Name, Bitfield>::new());
        for (name, digits) in digits {
            let record = self.records.get(name).map(|record| &record.summary);
            let bits = record
                .and_then(|record| Bitfield::from_hex(digits, record.n_pieces))
                .filter(|bits| !bits.is_empty());
            match record.zip(bits) {
                Some((record, _)) if record.n_pieces == 1 => drop(files.insert(name.clone())),
                Some((record, bits)) => drop(pieces.insert(record.name.clone(), bits)),
                None => {}
            }
        }
        for name in names {
            let piece = Name::parse_piece(&name)
                .and_then(|(whole, idx)| Some((self.cut(whole.as_str())?, idx)));
            match piece.filter(|(record, idx)| *idx < record.n_pieces) {
                Some((record, idx)) => {
                    let bits = pieces
                        .entry(record.name.clone())
                        .or_insert_with(|| Bitfield::new(record.n_pieces));
                    bits.set(idx);
                }
                None => drop(files.insert(name)),
            }
        }
        if v.is_some() {
            pieces.retain(|name, _| !files.contains(name.as_str()));
        }
        let peer = self
            .peer_mut(self.key(joined.addr))
            .expect("it was appended above");
        (peer.files, peer.pieces) = (files, pieces);
        Ok(joined)
    }

    /// The sweep: drops who sent nothing since the sweep before, and returns them.
    pub fn update_peer_list(&mut self) -> Vec<SocketAddr> {
        let mut dropped = Vec::new();
        self.peers.retain_mut(|peer| {
            let stays = std::mem::replace(&mut peer.seen, false);
            if !stays {
                dropped.push(peer.addr);
            }
            stays
        });
        self.places = self
            .peers
            .iter()
            .enumerate()
            .map(|(at, peer)| (self.key(peer.addr), at))
            .collect();
        dropped
    }

    /// Takes a record from the disk.
    pub fn load(&mut self, summary: Summary) {
        let publisher = summary.publisher.parse().ok();
        self.records.insert(
            summary.name.as_str().to_owned(),
            Record { summary, publisher },
        );
    }

    /// Whether a content may be published. A record stands while a live peer other than its publisher holds a piece of it;
    /// against the same content, also while its publisher lives.
    ///
    /// # Errors
    /// Where another content stands.
    pub fn judge(&self, new: &Summary) -> Result<Verdict, Refusal> {
        let Some(Record {
            summary: old,
            publisher,
        }) = self.records.get(new.name.as_str())
        else {
            return Ok(Verdict::New);
        };
        let publisher = publisher.map(|addr| self.key(addr));
        let others_hold = self
            .peers
            .iter()
            .any(|peer| peer.holds(&new.name) && Some(self.key(peer.addr)) != publisher);
        let is_live = || publisher.is_some_and(|key| self.places.contains_key(&key));
        if (old.size, old.md5) == (new.size, new.md5) {
            return Ok(if others_hold || is_live() {
                Verdict::Again
            } else {
                Verdict::New
            });
        }
        match others_hold {
            true => Err(Refusal::OtherContent {
                name: new.name.clone(),
                stands: old.md5,
                came: new.md5,
            }),
            false => Ok(Verdict::Replaces(old.md5)),
        }
    }

    /// Records what [`Roster::judge`] allowed. Its publisher has the file, by its word; what others listed under the name
    /// of a content that is replaced means nothing any more.
    pub fn publish(&mut self, publisher: SocketAddr, summary: Summary, verdict: Verdict) {
        let name = summary.name.clone();
        if let Verdict::Replaces(_) = verdict {
            for peer in &mut self.peers {
                peer.files.remove(name.as_str());
                peer.pieces.remove(&name);
            }
        }
        if let Some(peer) = self.peer_mut(self.key(publisher)) {
            peer.pieces.remove(&name);
            peer.files.insert(name.as_str().to_owned());
        }
        if verdict != Verdict::Again {
            self.records.insert(
                name.as_str().to_owned(),
                Record {
                    summary,
                    publisher: Some(publisher),
                },
            );
        }
    }

    /// Who published a file and who has pieces of it; `None` where the record isn't there or of another content.
    pub fn sources(
        &self,
        name: &Name,
        md5: Digest,
        asker: Ends,
        rng: &mut impl Rng,
    ) -> Option<(String, Vec<Source>)> {
        let record = self
            .records
            .get(name.as_str())
            .filter(|record| record.summary.md5 == md5)?;
        let holders = self.others(None, asker, rng, |peer| peer.holds(name));
        let source = |(ip, peer): (IpAddr, &Peer)| Source {
            ip: ip.to_string(),
            port: peer.addr.port(),
        };
        Some((
            record.publisher_for(asker),
            holders.into_iter().map(source).collect(),
        ))
    }

    /// The answer to a ping of ours: everybody but the asker, and the files that somebody has.
    pub fn swarm_list(&self, asker: Ends, port: u16, rng: &mut impl Rng) -> SwarmList {
        let mut room = NAMES_ROOM;
        let mut fits = |len: usize| room.checked_sub(len).map(|left| room = left).is_some();
        let names = self
            .peers
            .iter()
            .filter(|peer| peer.has_any())
            .flat_map(Peer::names);
        let live: BTreeMap<&str, &Record> = names
            .filter_map(|name| Some((name, self.records.get(name)?)))
            .collect();
        let summary = |record: &Record| Summary {
            publisher: record.publisher_for(asker),
            ..record.summary.clone()
        };
        let torrents = live
            .iter()
            .filter(|(name, _)| fits(200 + json_len(name)))
            .map(|(_, record)| summary(record))
            .collect();
        let own = self.key(Self::addr_of(asker, port, Some(VERSION)));
        let others = self.others(Some(own), asker, rng, |_| true);
        let peers = others.into_iter().map(|(ip, peer)| {
            if fits(peer.len()) {
                peer.entry(ip)
            } else {
                peer.bare_entry(ip)
            }
        });
        SwarmList {
            v: VERSION,
            local: self.reach == Reach::Local,
            peers: peers.collect(),
            torrents,
        }
    }

    /// The peers but one that are wanted, with their addresses for the asker: at most [`PEERS_LISTED`].
    fn others(
        &self,
        but: Option<Key>,
        asker: Ends,
        rng: &mut impl Rng,
        wanted: impl Fn(&Peer) -> bool,
    ) -> Vec<(IpAddr, &Peer)> {
        let but = but.and_then(|key| self.places.get(&key));
        let fits = |(at, peer): &(usize, &Peer)| Some(at) != but && wanted(peer);
        let mut others: Vec<&Peer> = Vec::with_capacity(self.peers.len());
        others.extend(
            self.peers
                .iter()
                .enumerate()
                .filter(fits)
                .map(|(_, peer)| peer),
        );
        let n_listed = others.len().min(PEERS_LISTED);
        let listed = if others.len() > n_listed {
            others.partial_shuffle(rng, n_listed).0
        } else {
            &mut others
        };
        listed
            .iter()
            .map(|peer| (ip_for(asker, peer.addr.ip()), *peer))
            .collect()
    }

    /// The answer to an original's ping, as JSON short enough for its one read: IPv4 peers with the names that each serves.
    /// First come names that it lacks, the rarest first; then second holders; then what it has; then the rest.
    pub fn original_list(&self, asker: Ends, port: u16, rng: &mut impl Rng) -> Vec<PeerEntry> {
        let own = self.key(Self::addr_of(asker, port, None));
        let near = is_local(asker.peer, asker.own);
        let reaches = |peer: &Peer| ip_for(asker, peer.addr.ip()).is_ipv4();
        let mut holders = self.others(Some(own), asker, rng, |peer| {
            peer.has_any() && reaches(peer)
        });
        holders.shuffle(rng);
        let mut offers = self.offers(&holders, self.peer(own), rng);
        let mut page = Page::new(
            &holders,
            if near {
                ORIGINAL_CAP
            } else {
                ORIGINAL_CAP_OFF_LOOPBACK
            },
        );
        let shortest = offers.iter().map(|offer| offer.len).min().unwrap_or(0);
        let rounds = [
            (false, 1),
            (false, 1),
            (true, 1),
            (false, usize::MAX),
            (true, usize::MAX),
        ];
        for (had, n_holders) in rounds {
            for offer in offers.iter_mut().filter(|offer| offer.had == had) {
                if page.room < shortest {
                    return page.done();
                }
                let mut left = offer.holders.take().unwrap_or_else(|| {
                    let mut able: Vec<usize> = (0..holders.len())
                        .filter(|at| self.can_ask(holders[*at].1, &offer.item))
                        .collect();
                    able.shuffle(rng);
                    able
                });
                let mut n = 0;
                while n < n_holders
                    && let Some(holder) = left.pop()
                {
                    n += usize::from(page.add(holder, offer));
                }
                offer.holders = Some(left);
            }
        }
        let idle = self.others(Some(own), asker, rng, |peer| {
            !peer.has_any() && reaches(peer)
        });
        idle.into_iter()
            .take_while(|(ip, peer)| page.add_idle(peer.bare_entry(*ip)))
            .for_each(drop);
        page.done()
    }

    /// The names that an original can ask the holders for: those that it lacks first, then the rarest, ties at random.
    fn offers<'a>(
        &'a self,
        holders: &[(IpAddr, &'a Peer)],
        asker: Option<&Peer>,
        rng: &mut impl Rng,
    ) -> Vec<Offer<'a>> {
        let (mut names, mut pieces) = (
            HashMap::<&str, u32>::new(),
            BTreeMap::<&Name, Vec<u32>>::new(),
        );
        let mut weighed = 0;
        for (_, peer) in holders {
            weighed += peer.files.len();
            if weighed > NAMES_WEIGHED {
                break;
            }
            for file in &peer.files {
                match self.cut(file).filter(|_| peer.v.is_some()) {
                    Some(record) => counts(&mut pieces, &record.name, record.n_pieces)
                        .iter_mut()
                        .for_each(|n| *n += 1),
                    None => *names.entry(file).or_default() += 1,
                }
            }
            for (name, bits) in &peer.pieces {
                let counts = counts(&mut pieces, name, bits.len());
                bits.iter().for_each(|idx| counts[idx as usize] += 1);
            }
        }
        let mut offers: Vec<Offer> = Vec::new();
        for (name, n_holders) in names {
            let had = asker.is_some_and(|asker| asker.files.contains(name));
            offers.push(Offer {
                had,
                n_holders,
                tie: rng.random(),
                len: json_len(name),
                item: Item::File(name),
                holders: None,
            });
        }
        for (name, counts) in pieces {
            let whole = asker.is_some_and(|asker| asker.files.contains(name.as_str()));
            let bits = asker.and_then(|asker| asker.pieces.get(name));
            let len = json_len(name.as_str()) + ".part".len();
            for (idx, n_holders) in (0u32..).zip(counts).filter(|(_, n_holders)| *n_holders > 0) {
                let had = whole || bits.is_some_and(|bits| bits.get(idx));
                let len = len + if idx < 9999 { 4 } else { 10 };
                offers.push(Offer {
                    had,
                    n_holders,
                    tie: rng.random(),
                    len,
                    item: Item::Piece(name, idx),
                    holders: None,
                });
            }
        }
        // no more of the shortest names fit, so the others need no order
        let most = ORIGINAL_CAP / 4;
        if offers.len() > most {
            offers.select_nth_unstable_by_key(most, Offer::order);
            offers.truncate(most);
        }
        offers.sort_unstable_by_key(Offer::order);
        offers
    }

    /// Whether an original may ask this peer for this name: another original only for what is on its own list.
    fn can_ask(&self, peer: &Peer, item: &Item<'_>) -> bool {
        let ours = peer.v.is_some();
        match item {
            Item::File(name) => peer.files.contains(*name) && !(ours && self.cut(name).is_some()),
            Item::Piece(name, idx) => {
                peer.pieces.get(*name).is_some_and(|bits| bits.get(*idx))
                    || ours && peer.files.contains(name.as_str())
            }
        }
    }

    /// The published file that is in several pieces, so that originals know those.
    fn cut(&self, name: &str) -> Option<&Summary> {
        self.records
            .get(name)
            .map(|record| &record.summary)
            .filter(|record| record.n_pieces > 1)
    }
}

/// The address by which the asker finds a peer: one that came over loopback is on the tracker's machine.
fn ip_for(asker: Ends, peer: IpAddr) -> IpAddr {
    let finds = asker.peer.is_loopback() && asker.own.is_ipv4() == peer.is_ipv4();
    if peer.is_loopback() && !finds {
        asker.own
    } else {
        peer
    }
}

fn counts<'a, 'b>(
    of: &'b mut BTreeMap<&'a Name, Vec<u32>>,
    name: &'a Name,
    n_pieces: u32,
) -> &'b mut Vec<u32> {
    of.entry(name).or_insert_with(|| vec![0; n_pieces as usize])
}

/// The most bytes that a string takes in JSON, with a comma.
fn json_len(text: &str) -> usize {
    let len = |byte| match byte {
        b'"' | b'\\' => 2,
        0..b' ' => 6,
        _ => 1,
    };
    text.bytes().map(len).sum::<usize>() + 3
}

/// The most bytes that an entry takes without its names, with a comma.
fn entry_len(entry: &PeerEntry) -> usize {
    entry.ip.len() + r#"{"ip":"","port":65535,"file_list":[]},"#.len()
}

impl Record {
    fn publisher_for(&self, asker: Ends) -> String {
        let seen =
            |addr: SocketAddr| SocketAddr::new(ip_for(asker, addr.ip()), addr.port()).to_string();
        self.publisher
            .map_or_else(|| self.summary.publisher.clone(), seen)
    }
}

impl Peer {
    fn holds(&self, name: &Name) -> bool {
        self.files.contains(name.as_str()) || self.pieces.contains_key(name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.files
            .iter()
            .map(String::as_str)
            .chain(self.pieces.keys().map(Name::as_str))
    }

    fn has_any(&self) -> bool {
        !self.files.is_empty() || !self.pieces.is_empty()
    }

    /// The most bytes that its names and digits take in an answer.
    fn len(&self) -> usize {
        let of_bits = |(name, bits): (&Name, &Bitfield)| match self.v {
            Some(_) => json_len(name.as_str()) + bits.len() as usize / 4 + 6,
            None => bits.count() as usize * (json_len(name.as_str()) + 15),
        };
        self.files.iter().map(|file| json_len(file)).sum::<usize>()
            + self.pieces.iter().map(of_bits).sum::<usize>()
    }

    fn bare_entry(&self, ip: IpAddr) -> PeerEntry {
        let (ip, port) = (ip.to_string(), self.addr.port());
        PeerEntry {
            ip,
            port,
            v: self.v,
            file_list: Vec::new(),
            pieces: BTreeMap::new(),
        }
    }

    fn entry(&self, ip: IpAddr) -> PeerEntry {
        let mut file_list: Vec<String> = self.files.iter().cloned().collect();
        let mut pieces = BTreeMap::new();
        for (name, bits) in &self.pieces {
            match self.v {
                Some(_) => drop(pieces.insert(name.as_str().to_owned(), bits.to_hex())),
                None => file_list.extend(bits.iter().map(|idx| name.of_piece(idx))),
            }
        }
        PeerEntry {
            file_list,
            pieces,
            ..self.bare_entry(ip)
        }
    }
}

/// Something that an original can ask for by name.
enum Item<'a> {
    File(&'a str),
    Piece(&'a Name, u32),
}

/// A name for an original's list.
struct Offer<'a> {
    /// Whether the original has it.
    had: bool,
    n_holders: u32,
    tie: u32,
    /// The most bytes that it takes.
    len: usize,
    item: Item<'a>,
    /// Who can be asked and isn't listed with it yet, in random order; looked up when its turn comes.
    holders: Option<Vec<usize>>,
}

impl Offer<'_> {
    fn order(&self) -> (bool, u32, u32) {
        (self.had, self.n_holders, self.tie)
    }
}

/// An original's list as it fills up.
///
/// Invariant: what is in it and `room` make at most the cap.
struct Page {
    room: usize,
    /// One for each holder, and whether it is in.
    entries: Vec<(PeerEntry, bool)>,
}

impl Page {
    fn new(holders: &[(IpAddr, &Peer)], cap: usize) -> Self {
        let bare = |(ip, peer): &(IpAddr, &Peer)| {
            (
                PeerEntry {
                    v: None,
                    ..peer.bare_entry(*ip)
                },
                false,
            )
        };
        Self {
            room: cap - "[]".len(),
            entries: holders.iter().map(bare).collect(),
        }
    }

    /// Adds a name to a holder's, where there is room for it.
    fn add(&mut self, holder: usize, offer: &Offer<'_>) -> bool {
        let (entry, is_in) = &mut self.entries[holder];
        let len = offer.len + if *is_in { 0 } else { entry_len(entry) };
        let fits = len <= self.room;
        if fits {
            (self.room, *is_in) = (self.room - len, true);
            entry.file_list.push(match offer.item {
                Item::File(name) => name.to_owned(),
                Item::Piece(name, idx) => name.of_piece(idx),
            });
        }
        fits
    }

    /// Adds a peer that has nothing, where there is room for it.
    fn add_idle(&mut self, entry: PeerEntry) -> bool {
        let entry = PeerEntry { v: None, ..entry };
        let len = entry_len(&entry);
        let fits = len <= self.room;
        if fits {
            self.room -= len;
            self.entries.push((entry, true));
        }
        fits
    }

    fn done(self) -> Vec<PeerEntry> {
        self.entries
            .into_iter()
            .filter(|(_, is_in)| *is_in)
            .map(|(entry, _)| entry)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::to_bytes;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const OURS: Option<u32> = Some(VERSION);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn ends(peer: &str, own: &str) -> Ends {
        Ends {
            peer: ip(peer),
            own: ip(own),
        }
    }

    /// From a machine on the network to a remote tracker at 10.0.0.1.
    fn lan(last: u8) -> Ends {
        ends(&format!("10.0.0.{last}"), "10.0.0.1")
    }

    fn here() -> Ends {
        ends("127.0.0.1", "127.0.0.1")
    }

    fn rng() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    fn summary(name: &str, n_pieces: u32, content: &str) -> Summary {
        let (name, md5) = (
            Name::parse(name).expect("a name"),
            crate::md5::digest(content.as_bytes()),
        );
        Summary {
            name,
            size: u64::from(n_pieces) << 16,
            md5,
            n_pieces,
            publisher: String::new(),
        }
    }

    /// Publishes as `tracker.rs` does.
    fn publish(
        roster: &mut Roster,
        from: Ends,
        port: u16,
        summary: &Summary,
    ) -> Result<Verdict, Refusal> {
        let joined = roster.append_client(from, port, OURS)?;
        let verdict = roster.judge(summary)?;
        roster.publish(joined.addr, summary.clone(), verdict);
        Ok(verdict)
    }

    fn list(
        roster: &mut Roster,
        from: Ends,
        port: u16,
        v: Option<u32>,
        names: &[&str],
        pieces: &[(&str, &str)],
    ) {
        let pieces = pieces
            .iter()
            .map(|(name, hex)| (name.to_string(), hex.to_string()))
            .collect();
        roster
            .set_list(
                from,
                port,
                v,
                names.iter().map(|name| name.to_string()).collect(),
                &pieces,
            )
            .expect("a fine list");
    }

    fn addrs(roster: &Roster, asker: Ends, port: u16) -> Vec<String> {
        let list = roster.swarm_list(asker, port, &mut rng());
        list.peers
            .iter()
            .map(|peer| format!("{} {}", peer.ip, peer.port))
            .collect()
    }

    fn original_list(
        roster: &Roster,
        asker: Ends,
        port: u16,
        seed: u64,
    ) -> (usize, Vec<PeerEntry>) {
        let entries = roster.original_list(asker, port, &mut StdRng::seed_from_u64(seed));
        (to_bytes(&entries).len(), entries)
    }

    fn names(list: &[PeerEntry]) -> Vec<&str> {
        list.iter()
            .flat_map(|peer| peer.file_list.iter().map(String::as_str))
            .collect()
    }

    #[test]
    fn peers_are_told_apart_by_port_alone_or_by_address_and_port() {
        let twice = [(ends("10.0.0.1", "10.0.0.1"), 1), (here(), 1), (here(), 2)];
        for (name, reach, n_peers) in [("local", Reach::Local, 2), ("remote", Reach::Remote, 3)] {
            let mut roster = Roster::new(reach);
            twice.iter().for_each(|(from, port)| {
                roster.append_client(*from, *port, OURS).expect("a peer");
            });
            assert_eq!(roster.n_peers(), n_peers, "{name}");
        }
    }

    #[test]
    fn a_local_tracker_serves_its_own_machine_and_a_remote_one_everybody() {
        for (name, from, local) in [
            ("loopback", here(), true),
            (
                "another loopback address",
                ends("127.0.0.2", "127.0.0.1"),
                true,
            ),
            ("IPv6 loopback", ends("::1", "::1"), true),
            (
                "this machine by its own address",
                ends("10.0.0.1", "10.0.0.1"),
                true,
            ),
            ("another machine", lan(2), false),
            (
                "another machine over IPv6",
                ends("fe80::2", "fe80::1"),
                false,
            ),
        ] {
            assert_eq!(Roster::new(Reach::Local).serves(from), local, "{name}");
            assert!(Roster::new(Reach::Remote).serves(from), "{name}");
        }
        let mut roster = Roster::new(Reach::Local);
        assert!(roster.is_first_time(ip("10.0.0.2")) && !roster.is_first_time(ip("10.0.0.2")));
    }

    #[test]
    fn a_new_peer_is_visible_at_once_and_gone_at_the_second_sweep_after_its_last_message() {
        let mut roster = Roster::new(Reach::Remote);
        assert!(roster.append_client(lan(2), 5, OURS).expect("a peer").new);
        list(&mut roster, lan(3), 5, None, &["1.txt"], &[]);
        assert_eq!(
            addrs(&roster, lan(2), 5),
            ["10.0.0.3 5"],
            "everybody but the asker"
        );
        assert_eq!(addrs(&roster, lan(9), 5), ["10.0.0.2 5", "10.0.0.3 5"]);
        assert_eq!(roster.update_peer_list(), []);
        list(&mut roster, lan(3), 5, None, &[], &[]);
        assert_eq!(
            roster.update_peer_list(),
            ["10.0.0.2:5".parse().expect("an address")]
        );
        assert!(
            !roster.append_client(lan(3), 5, None).expect("a peer").new,
            "a ping keeps it, too"
        );
        assert_eq!(roster.update_peer_list(), []);
        assert_eq!(
            roster.update_peer_list(),
            ["10.0.0.3:5".parse().expect("an address")]
        );
        assert_eq!(roster.n_peers(), 0);
    }

    #[test]
    fn each_asker_is_given_an_address_by_which_it_finds_the_peer() {
        for (name, peer, v, asker, expected) in [
            (
                "a peer beside the tracker, to another machine",
                here(),
                OURS,
                lan(2),
                "10.0.0.1",
            ),
            (
                "the same, to its neighbour",
                here(),
                OURS,
                here(),
                "127.0.0.1",
            ),
            (
                "the same by IPv6, to a neighbour by IPv4",
                ends("::1", "::1"),
                OURS,
                here(),
                "127.0.0.1",
            ),
            ("a peer elsewhere", lan(3), OURS, lan(2), "10.0.0.3"),
            (
                "an original at its host name's loopback address",
                ends("127.0.0.1", "127.0.1.1"),
                None,
                here(),
                "127.0.1.1",
            ),
            (
                "ours, that used that address",
                ends("127.0.0.1", "127.0.1.1"),
                OURS,
                here(),
                "127.0.0.1",
            ),
            (
                "an original at its own LAN address",
                ends("10.0.0.1", "10.0.0.1"),
                None,
                here(),
                "10.0.0.1",
            ),
            ("an original elsewhere", lan(3), None, lan(2), "10.0.0.3"),
        ] {
            let mut roster = Roster::new(Reach::Remote);
            list(&mut roster, peer, 5, v, &["1.txt"], &[]);
            assert_eq!(
                addrs(&roster, asker, 6),
                [format!("{expected} 5")],
                "{name}"
            );
            assert_eq!(
                original_list(&roster, asker, 6, 1).1[0].ip,
                expected,
                "{name}"
            );
            let published =
                publish(&mut roster, peer, 5, &summary("f", 1, "f")).expect("the first");
            assert_eq!(published, Verdict::New);
        }
    }

    #[test]
    fn limits_are_kept_and_say_so() {
        let mut roster = Roster::new(Reach::Remote);
        assert_eq!(
            roster.append_client(lan(2), 0, OURS),
            Err(Refusal::PortZero)
        );
        for port in 1..=PEERS_PER_ADDRESS as u16 {
            roster
                .append_client(lan(2), port, OURS)
                .expect("below the limit");
        }
        assert_eq!(
            roster.append_client(lan(2), 60_000, OURS),
            Err(Refusal::Peers(ip("10.0.0.2")))
        );
        assert!(
            roster.append_client(lan(2), 7, OURS).is_ok(),
            "who is known may stay"
        );
        assert!(
            roster.append_client(lan(3), 60_000, OURS).is_ok(),
            "another address has its own limit"
        );
        let mut roster = Roster::new(Reach::Local);
        for port in 1..=u16::MAX {
            roster
                .append_client(here(), port, None)
                .expect("no limit on loopback");
        }
        let many = vec![String::new(); NAMES_PER_LIST + 1];
        assert_eq!(
            roster.set_list(here(), 1, None, many, &BTreeMap::new()),
            Err(Refusal::Names(NAMES_PER_LIST + 1))
        );
        let listed = roster.swarm_list(here(), 1, &mut rng()).peers;
        let different: BTreeSet<u16> = listed.iter().map(|peer| peer.port).collect();
        assert_eq!(
            (listed.len(), different.len(), different.contains(&1)),
            (PEERS_LISTED, PEERS_LISTED, false)
        );
        assert!(original_list(&roster, here(), 1, 1).0 <= ORIGINAL_CAP);
    }

    #[test]
    fn lists_that_are_too_long_together_still_fit_what_a_client_reads() {
        let mut roster = Roster::new(Reach::Remote);
        let long: Vec<String> = (0..NAMES_PER_LIST).map(|n| format!("{n:090}")).collect();
        for last in 2..22 {
            roster
                .set_list(lan(last), 5, OURS, long.clone(), &BTreeMap::new())
                .expect("a fine list");
        }
        let list = roster.swarm_list(lan(99), 5, &mut rng());
        assert_eq!(list.peers.len(), 20, "all are there");
        assert!(
            list.peers
                .iter()
                .filter(|peer| !peer.file_list.is_empty())
                .count()
                >= 3,
            "as many names as fit"
        );
        assert!(to_bytes(&list).len() <= LIST_CAP);
        assert!(original_list(&roster, lan(99), 5, 1).0 <= ORIGINAL_CAP_OFF_LOOPBACK);
    }

    #[test]
    fn a_list_shows_what_was_announced_and_what_fits_the_record() {
        let mut roster = Roster::new(Reach::Remote);
        publish(&mut roster, lan(2), 5, &summary("image.iso", 9, "a")).expect("the first");
        let digits = [("image.iso", "8000"), ("unknown", "80"), ("../etc", "80")];
        list(&mut roster, lan(3), 5, OURS, &["1.txt"], &digits);
        list(&mut roster, lan(4), 5, OURS, &[], &[("image.iso", "80")]);
        list(&mut roster, lan(5), 5, OURS, &[], &[("image.iso", "0000")]);
        list(
            &mut roster,
            lan(6),
            5,
            None,
            &["2.txt", "image.iso.part0009", "image.iso.part0010"],
            &[],
        );
        let answer = roster.swarm_list(lan(9), 5, &mut rng());
        let [publisher, ours, short, empty, original] = &answer.peers[..] else {
            panic!("{answer:?}")
        };
        assert_eq!(publisher.file_list, ["image.iso"], "who publishes has it");
        assert_eq!(
            (ours.file_list.clone(), ours.v),
            (vec!["1.txt".to_owned()], OURS)
        );
        assert_eq!(
            ours.pieces.iter().collect::<Vec<_>>(),
            [(&"image.iso".to_owned(), &"8000".to_owned())]
        );
        assert!(short.pieces.is_empty() && empty.pieces.is_empty());
        assert_eq!(
            original.file_list,
            ["2.txt", "image.iso.part0010", "image.iso.part0009"],
            "part 10 is none of 9"
        );
        assert_eq!((original.v, original.pieces.len()), (None, 0));
        assert_eq!(
            answer.torrents,
            [Summary {
                publisher: "10.0.0.2:5".to_owned(),
                ..summary("image.iso", 9, "a")
            }]
        );
        assert!(!answer.local && answer.v == VERSION);
    }

    #[test]
    fn a_record_without_a_live_holder_is_kept_and_not_listed() {
        let mut roster = Roster::new(Reach::Remote);
        let image = summary("image.iso", 9, "a");
        publish(&mut roster, lan(2), 5, &image).expect("the first");
        let sources = |roster: &Roster, md5| roster.sources(&image.name, md5, lan(9), &mut rng());
        let source = Source {
            ip: "10.0.0.2".to_owned(),
            port: 5,
        };
        assert_eq!(
            sources(&roster, image.md5),
            Some(("10.0.0.2:5".to_owned(), vec![source]))
        );
        assert_eq!(sources(&roster, crate::md5::digest(b"other")), None);
        (0..2).for_each(|_| drop(roster.update_peer_list()));
        assert!(roster.swarm_list(lan(9), 5, &mut rng()).torrents.is_empty());
        assert_eq!(
            sources(&roster, image.md5),
            Some(("10.0.0.2:5".to_owned(), vec![]))
        );
        list(&mut roster, lan(3), 5, None, &["image.iso.part0001"], &[]);
        assert_eq!(
            roster.swarm_list(lan(9), 5, &mut rng()).torrents.len(),
            1,
            "an original has a piece"
        );
    }

    #[test]
    fn another_content_is_refused_while_a_live_peer_other_than_its_publisher_holds_a_piece() {
        let (old, new) = (summary("f", 9, "old"), summary("f", 7, "new"));
        let refused = Err(Refusal::OtherContent {
            name: old.name.clone(),
            stands: old.md5,
            came: new.md5,
        });
        type Case<'a> = (
            &'a str,
            fn(&mut Roster),
            &'a Summary,
            u8,
            Result<Verdict, Refusal>,
        );
        let cases: [Case; 9] = [
            (
                "nobody but the publisher has it",
                |_| (),
                &new,
                3,
                Ok(Verdict::Replaces(old.md5)),
            ),
            (
                "another has it whole",
                |r| list(r, lan(4), 5, OURS, &["f"], &[]),
                &new,
                3,
                refused.clone(),
            ),
            (
                "another has a piece",
                |r| list(r, lan(4), 5, OURS, &[], &[("f", "8000")]),
                &new,
                3,
                refused.clone(),
            ),
            (
                "an original has a piece",
                |r| list(r, lan(4), 5, None, &["f.part0002"], &[]),
                &new,
                3,
                refused.clone(),
            ),
            (
                "its publisher may not, either",
                |r| list(r, lan(4), 5, OURS, &["f"], &[]),
                &new,
                2,
                refused.clone(),
            ),
            (
                "another has other digits",
                |r| list(r, lan(4), 5, OURS, &[], &[("f", "80")]),
                &new,
                3,
                Ok(Verdict::Replaces(old.md5)),
            ),
            (
                "the other one left",
                |r| (0..2).for_each(|_| drop(r.update_peer_list())),
                &new,
                3,
                Ok(Verdict::Replaces(old.md5)),
            ),
            ("the same content", |_| (), &old, 3, Ok(Verdict::Again)),
            (
                "the same content, when all have left",
                |r| (0..2).for_each(|_| drop(r.update_peer_list())),
                &old,
                3,
                Ok(Verdict::New),
            ),
        ];
        for (name, act, content, from, expected) in cases {
            let mut roster = Roster::new(Reach::Remote);
            publish(&mut roster, lan(2), 5, &old).expect("the first");
            act(&mut roster);
            let verdict = publish(&mut roster, lan(from), 5, content);
            assert_eq!(verdict, expected, "{name}");
            let stands = &roster.records["f"];
            let replaced = matches!(verdict, Ok(Verdict::New | Verdict::Replaces(_)));
            assert_eq!(
                stands.summary.md5,
                if replaced { content.md5 } else { old.md5 },
                "{name}"
            );
            assert_eq!(
                stands.publisher,
                Some(SocketAddr::new(
                    ip(if replaced { "10.0.0.3" } else { "10.0.0.2" }),
                    5
                )),
                "{name}"
            );
        }
    }

    #[test]
    fn what_was_listed_of_a_content_that_is_replaced_means_nothing_any_more() {
        let mut roster = Roster::new(Reach::Remote);
        publish(&mut roster, lan(2), 5, &summary("f", 9, "old")).expect("the first");
        publish(&mut roster, lan(3), 5, &summary("f", 9, "new")).expect("nobody else has it");
        let answer = roster.swarm_list(lan(9), 5, &mut rng());
        let holders: Vec<_> = answer
            .peers
            .iter()
            .filter(|peer| !peer.file_list.is_empty())
            .map(|peer| &peer.ip)
            .collect();
        assert_eq!(holders, ["10.0.0.3"]);
        let again = publish(&mut roster, lan(3), 5, &summary("f", 9, "newer"));
        assert_eq!(
            again,
            Ok(Verdict::Replaces(crate::md5::digest(b"new"))),
            "its publisher's old list doesn't hold it"
        );
    }

    #[test]
    fn a_record_from_the_disk_knows_its_publisher() {
        let mut roster = Roster::new(Reach::Remote);
        roster.load(Summary {
            publisher: "10.0.0.2:5".to_owned(),
            ..summary("f", 9, "old")
        });
        list(&mut roster, lan(2), 5, OURS, &["f"], &[]);
        assert!(matches!(
            roster.judge(&summary("f", 9, "new")),
            Ok(Verdict::Replaces(_))
        ));
        list(&mut roster, lan(2), 6, OURS, &["f"], &[]);
        assert!(matches!(
            roster.judge(&summary("f", 9, "new")),
            Err(Refusal::OtherContent { .. })
        ));
    }

    #[test]
    fn originals_are_given_ipv4_peers_with_the_names_that_each_serves() {
        let mut roster = Roster::new(Reach::Remote);
        publish(&mut roster, lan(2), 5, &summary("image.iso", 3, "a")).expect("the first");
        publish(&mut roster, lan(2), 5, &summary("note.txt", 1, "b")).expect("the first");
        publish(&mut roster, lan(2), 5, &summary("empty", 0, "")).expect("the first");
        list(
            &mut roster,
            lan(3),
            5,
            OURS,
            &["plain"],
            &[("image.iso", "40"), ("note.txt", "80")],
        );
        list(
            &mut roster,
            lan(4),
            5,
            None,
            &["image.iso", "image.iso.part0003", "other.part0001"],
            &[],
        );
        list(
            &mut roster,
            ends("fe80::5", "fe80::1"),
            5,
            OURS,
            &["image.iso"],
            &[],
        );
        roster.append_client(lan(6), 5, OURS).expect("a peer");
        let (_, mut entries) = original_list(&roster, lan(9), 5, 1);
        entries.sort_by(|a, b| a.ip.cmp(&b.ip));
        entries.iter_mut().for_each(|entry| entry.file_list.sort());
        let listed: Vec<(&str, Vec<&str>)> = entries
            .iter()
            .map(|entry| {
                (
                    entry.ip.as_str(),
                    entry.file_list.iter().map(String::as_str).collect(),
                )
            })
            .collect();
        let parts = [
            "image.iso.part0001",
            "image.iso.part0002",
            "image.iso.part0003",
        ];
        assert_eq!(
            listed,
            [
                (
                    "10.0.0.2",
                    vec!["empty", parts[0], parts[1], parts[2], "note.txt"]
                ),
                ("10.0.0.3", vec![parts[1], "note.txt", "plain"]),
                ("10.0.0.4", vec!["image.iso", parts[2], "other.part0001"]),
                ("10.0.0.6", vec![]),
            ]
        );
        assert!(
            entries
                .iter()
                .all(|entry| entry.v.is_none() && entry.pieces.is_empty()),
            "nothing that an original doesn't know"
        );
        let json = to_bytes(&roster.original_list(lan(9), 5, &mut rng()));
        assert!(
            json.starts_with(br#"[{"ip":"10.0.0."#) && json.ends_with(b"}]"),
            "{}",
            String::from_utf8_lossy(&json)
        );
    }

    /// A swarm of 30 peers of ours with 1,024 pieces, the first whole, and an original that has the first 100.
    fn large_swarm() -> Roster {
        let mut roster = Roster::new(Reach::Remote);
        publish(&mut roster, lan(100), 5, &summary("image.iso", 1024, "a")).expect("the first");
        for last in 101..130 {
            let mut bits = Bitfield::new(1024);
            (0..1024)
                .filter(|idx| (idx * 31 + u32::from(last)) % 7 != 0 && *idx != 777)
                .for_each(|idx| {
                    bits.set(idx);
                });
            list(
                &mut roster,
                lan(last),
                5,
                OURS,
                &[],
                &[("image.iso", &bits.to_hex())],
            );
        }
        for asker in [here(), lan(50)] {
            let parts: Vec<String> = (1..=100).map(|n| format!("image.iso.part{n:04}")).collect();
            roster
                .set_list(asker, 5, None, parts, &BTreeMap::new())
                .expect("a fine list");
        }
        roster
    }

    #[test]
    fn an_originals_answer_fits_and_names_first_what_it_lacks_and_is_rare() {
        let roster = large_swarm();
        for (name, asker, cap) in [
            ("here", here(), ORIGINAL_CAP),
            ("elsewhere", lan(50), ORIGINAL_CAP_OFF_LOOPBACK),
        ] {
            let (mut all, mut one) = (HashSet::new(), 0);
            for seed in 0..10 {
                let (len, entries) = original_list(&roster, asker, 5, seed);
                assert!(
                    len <= cap && len > cap - 150,
                    "{name}: {len} of {cap} bytes"
                );
                let names = names(&entries);
                let different: BTreeSet<&str> = names.iter().copied().collect();
                assert_eq!(
                    different.len(),
                    names.len(),
                    "{name}: no second holder before all are named"
                );
                assert!(
                    names.iter().all(|name| *name > "image.iso.part0100"),
                    "{name}: nothing that it has"
                );
                assert!(
                    names.contains(&"image.iso.part0778"),
                    "{name}: the rarest, which one peer has"
                );
                one = names.len();
                all.extend(names.into_iter().map(str::to_owned));
            }
            assert!(
                all.len() > one + 30,
                "{name}: ties are at random: {} names in ten answers of {one}",
                all.len()
            );
        }
    }

    #[test]
    fn second_holders_come_before_what_the_original_has() {
        let mut roster = Roster::new(Reach::Remote);
        let files: Vec<String> = (0..40)
            .map(|n| format!("{n:02}-a-name-of-some-length.txt"))
            .collect();
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        for last in [2, 3, 4] {
            list(&mut roster, lan(last), 5, None, &names, &[]);
        }
        list(&mut roster, lan(9), 5, None, &names[15..], &[]);
        let (len, entries) = original_list(&roster, lan(9), 5, 1);
        let count = |name: &str| {
            entries
                .iter()
                .filter(|entry| entry.file_list.iter().any(|file| file == name))
                .count()
        };
        assert!(
            names[..15].iter().all(|name| count(name) == 2),
            "two holders of what it lacks"
        );
        let had = names[15..].iter().filter(|name| count(name) > 0).count();
        assert!(
            had > 3 && had < 25,
            "what is left goes to what it has: {had}, {len} bytes"
        );
        list(&mut roster, lan(9), 5, None, &names, &[]);
        assert!(
            original_list(&roster, lan(9), 5, 1).0 > ORIGINAL_CAP_OFF_LOOPBACK - 100,
            "all had, and the list is full yet"
        );
    }

    #[test]
    fn whatever_the_names_an_originals_answer_is_json_that_fits() {
        let odd = [
            "\u{1}".repeat(300),
            "\"\\".repeat(100),
            "é".repeat(200),
            "x".repeat(5000),
            String::new(),
            "\n\u{7f}".to_owned(),
        ];
        let mut roster = Roster::new(Reach::Remote);
        let roomy = "name ".repeat(40);
        for last in 2..60 {
            let names = odd
                .iter()
                .map(|name| format!("{name}{last}"))
                .chain([roomy.clone()])
                .collect();
            roster
                .set_list(
                    lan(last),
                    u16::MAX,
                    (last % 2 == 0).then_some(1),
                    names,
                    &BTreeMap::new(),
                )
                .expect("a fine list");
        }
        for (asker, cap) in [(here(), ORIGINAL_CAP), (lan(99), ORIGINAL_CAP_OFF_LOOPBACK)] {
            for seed in 0..20 {
                let (len, entries) = original_list(&roster, asker, 1, seed);
                assert!(len <= cap && !entries.is_empty(), "{len}");
            }
        }
        assert_eq!(
            Roster::new(Reach::Local).original_list(here(), 1, &mut rng()),
            []
        );
    }
}
