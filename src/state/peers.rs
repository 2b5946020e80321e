//! The other peers: what the tracker and the peers themselves said about them, and how each can be asked.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;

use super::{Held, NotAskedFor, State};
use crate::causes::Lost;
use crate::md5::Digest;
use crate::net::Sender;
use crate::picker::{Decision, PeerId, Route};
use crate::protocol::{Have, Hello, PeerEntry, PieceHeader, Pieces, TORRENT_CAP};
use crate::torrent::{BLOCKS_A_PIECE, Name, Torrent};

/// Hellos have the tracker asked what is new this often at most.
const PROMPTED_EVERY: Duration = Duration::from_millis(200);
/// How long a peer that said hello stays known without being on the tracker's list.
const HELLO_KEPT: Duration = Duration::from_secs(60);
/// The most peers of one address that are known only by their hellos, so that a single machine can't fill the memory.
const UNLISTED_PER_ADDRESS: usize = 64;
/// Stands for all peers that are served without being remembered: no peer has this number.
const NOBODY: PeerId = 0;
/// After this many proven bad pieces a peer is left alone.
const STRIKES: u32 = 3;
/// The pause before a peer is tried again after it couldn't be connected to; and the least time between two connections to it.
const RETRY: Duration = Duration::from_secs(5);
/// The most files that are remembered of one peer.
const OFFERS: usize = 10_000;
/// The most digits or numbers of one offer that are remembered: no file's pieces have more digits, as the longest
/// `.torrent` has no checkpoints for them.
const OFFER_LEN: usize = TORRENT_CAP / 32 / BLOCKS_A_PIECE / 4;
/// Bytes of what peers say that they have of contents that nobody lists: the list comes a moment later, and says it again.
const UNLISTED_ROOM: usize = 64 << 20;
/// Bytes that such a content takes beside its name and the numbers of its pieces.
const UNLISTED: usize = 128;
/// The most peers that are taken from one list: a campus. Each is looked for among all, under the lock.
const TAKEN: usize = 10_000;
/// Up to this many peers, every peer takes from every other.
const FULL_MESH: usize = 40;
/// In a larger swarm, each takes from this many peers at random: a dozen connect the whole swarm, and each more costs CPU time
/// (64 MiB to 100 peers on one machine: 5 s per GiB, where 24 took 5 to 11).
const NEIGHBOURS: usize = 12;
/// In a swarm of which a list names only a sample, a peer that was on one of this many previous lists still counts as
/// listed: the tracker itself forgets a silent peer in the time of three.
const LISTS_KEPT: u64 = 3;
/// Bytes of the names in a ping: an original reads no more than [`crate::protocol::ORIGINAL_CAP_OFF_LOOPBACK`] at once.
const WANTS_ROOM: usize = 500;

/// How a peer is asked for pieces.
#[derive(Clone)]
pub enum LinkState {
    /// Not at present.
    No,
    /// A connection is being opened.
    Trying,
    /// Over a separate connection for each piece: an original, or a peer in classic rounds.
    Single {
        /// Where it listens.
        addr: SocketAddr,
        /// Whether it speaks our messages.
        ours: bool,
    },
    /// Over this connection.
    Open(Sender),
}

/// Another peer.
pub struct OtherPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it uses our messages.
    pub ours: bool,
    /// Its random id, once it has said hello.
    pub id: Option<String>,
    /// How it is asked.
    pub link: LinkState,
    /// The smallest round trip seen.
    pub latency: Option<Duration>,
    /// The pieces that it has of files that aren't being fetched at present.
    pub(super) offers: BTreeMap<Name, OfferedPieces>,
    /// How many bytes it has said of contents that nobody listed then.
    unlisted: usize,
    /// Why its last connection ended, or what was wrong with what it sent.
    pub trouble: Option<Lost>,
    /// The number of the last list that it was on, as long as it counts as listed.
    on_list: Option<u64>,
    said_hello: Option<Instant>,
    retry_at: Option<Instant>,
    pub(super) strikes: u32,
}

impl OtherPeer {
    /// Returns true if it is on the tracker's list; otherwise it is known by its hello alone.
    pub(super) fn is_listed(&self) -> bool {
        self.on_list.is_some()
    }

    /// Returns true if it may be tried now: it wasn't a moment ago, and isn't left alone.
    fn is_ready(&self, now: Instant) -> bool {
        self.strikes < STRIKES && self.retry_at.is_none_or(|at| at <= now)
    }
}

/// The pieces that a peer has of a file that isn't being fetched at present.
pub(super) struct OfferedPieces {
    /// Of which content; `None` where an original lists a name, and nobody knows its content.
    md5: Option<Digest>,
    pub(super) pieces: Pieces,
}

/// A peer that connected.
pub struct MetPeer {
    /// Its id.
    pub peer: PeerId,
    /// The pieces that it is to be told of.
    pub have: Vec<Have>,
    /// The place in the news from which later pieces are new to it.
    pub news_from: usize,
}

/// Returns true if what a peer has of a name is of this content: a tracker lists no heads.
fn is_of(torrent: &Torrent, md5: Option<Digest>) -> bool {
    match md5 {
        Some(md5) => md5 == torrent.md5(),
        None => torrent.head_of().is_none(),
    }
}

impl State {
    /// Returns the number of the peer at this address, which is new if the address isn't known.
    pub(super) fn know(&mut self, addr: SocketAddr, ours: bool) -> PeerId {
        if let Some((id, peer)) = self.peers.iter_mut().find(|(_, peer)| peer.addr == addr) {
            peer.ours |= ours;
            return *id;
        }
        self.last_peer_id += 1;
        let peer = OtherPeer {
            addr,
            ours,
            id: None,
            link: LinkState::No,
            latency: None,
            offers: BTreeMap::new(),
            unlisted: 0,
            trouble: None,
            on_list: None,
            said_hello: None,
            retry_at: None,
            strikes: 0,
        };
        self.peers.insert(self.last_peer_id, peer);
        self.last_peer_id
    }

    /// Returns the number of the peer that says hello from this address. At most `UNLISTED_PER_ADDRESS` peers that aren't
    /// listed are remembered; beyond that, `NOBODY` is returned.
    fn meet(&mut self, addr: SocketAddr) -> PeerId {
        let known = self.peers.values().any(|peer| peer.addr == addr);
        let unlisted = |peer: &&OtherPeer| peer.on_list.is_none() && peer.addr.ip() == addr.ip();
        if known || self.peers.values().filter(unlisted).count() < UNLISTED_PER_ADDRESS {
            self.know(addr, true)
        } else {
            NOBODY
        }
    }

    /// Takes a list. A list that names only a sample of `sampled_of` peers leaves out others by chance, so a peer on one
    /// of the last few lists still counts.
    pub(super) fn take_peers(
        &mut self,
        entries: &[PeerEntry],
        sampled_of: Option<usize>,
        now: Instant,
    ) {
        self.n_lists += 1;
        self.sampled_of = sampled_of;
        let kept = sampled_of.map_or(0, |_| LISTS_KEPT);
        for peer in self.peers.values_mut() {
            peer.on_list = peer.on_list.filter(|list| list + kept >= self.n_lists);
        }
        for entry in entries.iter().take(TAKEN) {
            let Ok(ip) = entry.ip.parse::<IpAddr>() else {
                continue;
            };
            let peer = self.know(
                SocketAddr::new(ip.to_canonical(), entry.port),
                entry.v.is_some(),
            );
            let known = self.peers.get_mut(&peer).expect("just known");
            known.on_list = Some(self.n_lists);
            // an original must never be asked for what is no longer on its list
            if !known.ours {
                known.offers.clear();
                self.picker.peer_lost_all(peer);
            }
            for (name, digits) in &entry.pieces {
                if let Ok(name) = Name::parse(name) {
                    self.offers(peer, &name, None, Pieces::Digits(digits.clone()));
                }
            }
            self.lists(peer, &entry.file_list);
        }
        let gone = |peer: &OtherPeer| {
            let silent = peer
                .said_hello
                .is_none_or(|at| now.saturating_duration_since(at) > HELLO_KEPT);
            peer.on_list.is_none()
                && silent
                && matches!(peer.link, LinkState::No | LinkState::Single { .. })
        };
        let gone: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| gone(peer))
            .map(|(id, _)| *id)
            .collect();
        gone.into_iter().for_each(|id| self.forget(id));
    }

    /// Removes a peer that is gone or never existed: what it has no longer counts. The reports still name it.
    pub fn forget(&mut self, peer: PeerId) {
        self.picker.forget(peer);
        self.peers.remove(&peer);
    }

    /// Takes the names that a peer lists: of whole files, or, from an original, of pieces.
    fn lists(&mut self, peer: PeerId, names: &[String]) {
        let mut parts: BTreeMap<Name, Vec<u32>> = BTreeMap::new();
        for listed in names {
            if let Some((name, idx)) = Name::parse_piece(listed) {
                // a file of one piece is only requested by its own name
                if self
                    .swarm
                    .get(&name)
                    .is_some_and(|summary| summary.n_pieces > 1)
                {
                    parts.entry(name).or_default().push(idx);
                }
            } else if let Ok(name) = Name::parse(listed) {
                self.offers(peer, &name, None, Pieces::Digits("all".to_owned()));
            }
        }
        for (name, idxs) in parts {
            self.offers(peer, &name, None, Pieces::These(idxs));
        }
    }

    /// Notes that a peer has these pieces of a file, of this content if it said so, or else of the listed one.
    pub(super) fn offers(
        &mut self,
        peer: PeerId,
        name: &Name,
        md5: Option<Digest>,
        pieces: Pieces,
    ) {
        // another content may be listed by the time that this one is asked for
        let md5 = md5.or(self.swarm.get(name).map(|listed| listed.md5));
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        let of_it = |held: &&Held| is_of(&held.torrent, md5) && self.picker.wants(name);
        let wanted = self.files.get(name).filter(of_it);
        match wanted.map(|held| held.have.len()) {
            // an original serves a large file's name as the whole file, which nobody can check
            Some(n) if !known.ours && n > 1 && matches!(pieces, Pieces::Digits(_)) => {}
            Some(n) => {
                if let Some(bits) = pieces.bits(n) {
                    self.picker.peer_has(peer, name, bits.iter());
                }
            }
            None => {
                let offers = &mut known.offers;
                let before = offers.get(name).filter(|before| before.md5 == md5);
                let pieces = match before {
                    Some(before) => pieces.with(&before.pieces),
                    None => pieces,
                };
                let fits = offers.len() < OFFERS || offers.contains_key(name);
                if fits && pieces.n_told() <= OFFER_LEN {
                    offers.insert(name.clone(), OfferedPieces { md5, pieces });
                }
            }
        }
    }

    /// Takes what peers said that they have of a content before its download began.
    pub(super) fn take_offers(&mut self, torrent: &Torrent) {
        let name = torrent.name();
        let mut taken = Vec::new();
        for (id, peer) in &mut self.peers {
            let offered = peer.offers.get(name);
            if offered.is_some_and(|offered| is_of(torrent, offered.md5)) {
                taken.extend(peer.offers.remove(name).map(|offered| (*id, offered)));
            }
        }
        for (id, OfferedPieces { md5, pieces }) in taken {
            self.offers(id, name, md5, pieces);
        }
    }

    /// Notes that a peer said who it is and what it has, on a connection of either side.
    fn hello(&mut self, peer: PeerId, id: &str, have: &[Have], now: Instant) {
        if let Some(known) = self.peers.get_mut(&peer) {
            // another program is at the same address: what the previous one had is gone
            if known.id.as_ref().is_some_and(|last| last != id) {
                known.offers.clear();
                known.unlisted = 0;
                known.strikes = 0;
                self.picker.forget(peer);
            }
            let known = self.peers.get_mut(&peer).expect("known above");
            known.id = Some(id.to_owned());
            known.said_hello = Some(now);
            self.learn(peer, have);
        }
    }

    /// Notes what a peer says it has.
    pub fn learn(&mut self, peer: PeerId, news: &[Have]) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        for have in news {
            let held = self.files.get(&have.name);
            let listed = self.swarm.get(&have.name);
            let md5 = held.map(|held| held.torrent.md5());
            let md5 = md5.or(listed.map(|listed| listed.md5));
            // a head is to become what others have of the file by now
            let becomes = held.is_some_and(Held::is_incoming_head);
            let is_it = becomes || md5.is_none_or(|md5| md5 == have.md5);
            if is_it && self.has_room_for(peer, have) {
                self.offers(peer, &have.name, Some(have.md5), have.pieces.clone());
            }
        }
    }

    /// Returns true if what a peer says that it has of a content isn't longer than that content's pieces are, or, where nobody
    /// lists it, fits into what all peers together may say of such.
    fn has_room_for(&mut self, peer: PeerId, have: &Have) -> bool {
        let held = self.files.get(&have.name);
        let held = held.map(|held| (held.torrent.md5(), held.torrent.n_pieces()));
        let listed = self.swarm.get(&have.name);
        let listed = listed.map(|listed| (listed.md5, listed.n_pieces));
        let known = [held, listed].into_iter().flatten();
        if let Some((_, n_pieces)) = known.into_iter().find(|(md5, _)| *md5 == have.md5) {
            return have.pieces.n_told() <= "all".len().max(n_pieces as usize);
        }
        let len = UNLISTED + have.name.as_str().len() + size_of::<u32>() * have.pieces.n_told();
        let all: usize = self.peers.values().map(|peer| peer.unlisted).sum();
        let fits = all + len <= UNLISTED_ROOM;
        if let Some(peer) = self.peers.get_mut(&peer).filter(|_| fits) {
            peer.unlisted += len;
        }
        fits
    }

    /// Returns those of our peers to connect to now, while something is missing or its `.torrent` is on its way; each
    /// counts as being tried.
    pub fn to_connect(&mut self, min_peers: usize, now: Instant) -> Vec<(PeerId, SocketAddr)> {
        let idle = self.picker.is_idle() && self.beginning.is_empty();
        if idle || !self.may_ask(min_peers, now) {
            return Vec::new();
        }
        let ours = self.peers.iter().filter(|(_, peer)| peer.ours);
        let (idle, busy): (Vec<_>, Vec<_>) =
            ours.partition(|(_, peer)| matches!(peer.link, LinkState::No));
        let most = if idle.len() + busy.len() <= FULL_MESH {
            FULL_MESH
        } else {
            NEIGHBOURS
        };
        let room = most.saturating_sub(busy.len());
        // one machine may pretend to be many peers: an address has half of the places, where there is another
        let mut at_address: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (_, peer) in busy {
            *at_address.entry(peer.addr.ip()).or_default() += 1;
        }
        let ready = idle.into_iter().filter(|(_, peer)| peer.is_ready(now));
        let mut ready: Vec<_> = ready.map(|(id, peer)| (*id, peer.addr)).collect();
        ready.shuffle(&mut self.rng);
        let in_turn = ready.into_iter().map(|(id, addr)| {
            let nth = at_address.entry(addr.ip()).or_default();
            *nth += 1;
            (*nth, id, addr)
        });
        let mut in_turn: Vec<_> = in_turn.collect();
        let of_one = if at_address.len() > 1 { most / 2 } else { most };
        in_turn.retain(|(nth, ..)| *nth <= of_one);
        // peers that the tracker lists come before those that only said hello
        in_turn.sort_by_key(|(nth, id, _)| (self.peers[id].on_list.is_none(), *nth));
        let in_turn = in_turn.into_iter().take(room);
        let to_connect: Vec<_> = in_turn.map(|(_, id, addr)| (id, addr)).collect();
        for (id, _) in &to_connect {
            let tried = self.peers.get_mut(id).expect("just listed");
            tried.link = LinkState::Trying;
            tried.retry_at = Some(now + RETRY);
        }
        to_connect
    }

    /// Notes that a connection to a peer is open, and that it has said hello. Returns false if the peer is no longer
    /// known.
    pub fn connected(
        &mut self,
        peer: PeerId,
        their: &Hello,
        sender: Sender,
        route: Route,
        now: Instant,
    ) -> bool {
        self.said_hello(peer, their, route.latency, now);
        let Some(known) = self.peers.get_mut(&peer).filter(|_| !self.ending) else {
            return false;
        };
        known.link = LinkState::Open(sender);
        known.trouble = None;
        self.picker.open(peer, route);
        true
    }

    /// Notes that a peer has said hello, and its latency.
    pub fn said_hello(&mut self, peer: PeerId, their: &Hello, latency: Duration, now: Instant) {
        self.hello(peer, &their.id, &their.have, now);
        self.note_latency(peer, Some(latency));
    }

    /// Notes that a peer at this address connected and said hello.
    pub fn meets(&mut self, addr: SocketAddr, hello: &Hello, now: Instant) -> MetPeer {
        let peer = self.meet(addr);
        self.hello(peer, &hello.id, &hello.have, now);
        let (have, news_from) = self.haves();
        MetPeer {
            peer,
            have,
            news_from,
        }
    }

    /// Notes a peer's latency, if that was measured.
    pub fn note_latency(&mut self, peer: PeerId, latency: Option<Duration>) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.latency = latency.or(known.latency);
        }
    }

    /// Notes why a connection ended, or couldn't be made. Returns true if it isn't what was noted last.
    pub fn note_trouble(&mut self, peer: PeerId, lost: &Lost) -> bool {
        let Some(known) = self.peers.get_mut(&peer) else {
            return true;
        };
        let before = known.trouble.replace(lost.clone());
        before.as_ref() != Some(lost)
    }

    /// Returns where the peers of ours on the tracker's list listen.
    pub fn listed_of_ours(&self) -> Vec<SocketAddr> {
        let listed = self.peers.values();
        let listed = listed.filter(|peer| peer.ours && peer.on_list.is_some());
        listed.map(|peer| peer.addr).collect()
    }

    /// Returns after which time the tracker is to be asked because a hello tells of a content that isn't on its list, nor a head
    /// that is fetched already. Whoever says hello can't have it asked without end: what comes a moment after another has it
    /// asked once, for all that come until then.
    pub fn prompted_in(&mut self, hello: &Hello, now: Instant) -> Option<Duration> {
        let is_new = |have: &Have| {
            let listed = self.swarm.get(&have.name).map(|listed| listed.md5);
            let held = self.files.get(&have.name);
            let held = held.filter(|held| held.is_head());
            let held = held.map(|held| held.torrent.md5());
            ![listed, held].contains(&Some(have.md5))
        };
        let is_due = self.prompted.is_some_and(|at| at > now);
        if is_due || !hello.have.iter().any(is_new) {
            return None;
        }
        let at = self.prompted.map_or(now, |at| now.max(at + PROMPTED_EVERY));
        self.prompted = Some(at);
        Some(at - now)
    }

    /// Returns the address where a peer listens.
    pub fn addr_of(&self, peer: PeerId) -> Option<SocketAddr> {
        self.peers.get(&peer).map(|peer| peer.addr)
    }

    /// Returns true if a peer owes an answer.
    pub fn is_asked(&self, peer: PeerId) -> bool {
        self.picker.is_asked(peer)
    }

    /// Returns true if request `n` of a peer was answered, and it owes the answer to another.
    pub fn is_asked_since(&self, peer: PeerId, n: u64) -> bool {
        self.picker.request(peer, n).is_none() && self.picker.is_asked(peer)
    }

    /// How a request that was decided on is to be sent. It is counted.
    pub fn request_link(&mut self, decision: &Decision) -> LinkState {
        let (peer, get) = (decision.peer, &decision.get);
        if let Some(held) = self.files.get_mut(&get.name)
            && !get.pieces.is_empty()
        {
            held.account_with(self.peers.get(&peer)).asked += 1;
        }
        let known = self.peers.get(&peer);
        known.map_or(LinkState::No, |known| known.link.clone())
    }

    /// A piece begins to come, after its connection was silent for `silent`.
    pub fn piece_begins(
        &mut self,
        peer: PeerId,
        header: &PieceHeader,
        silent: Duration,
        now: Instant,
    ) {
        self.learn(peer, &header.news);
        // neither end knows it alone: the holder's bytes may still be on their way, or this end may have been busy
        let idle = silent.min(Duration::from_millis(header.idle_ms));
        self.picker.stood_idle(peer, header.n, idle, now);
    }

    /// Request `n` was answered: with this piece, which is being checked, or with none.
    ///
    /// # Errors
    /// Where there is no such request.
    pub fn take_answer(
        &mut self,
        peer: PeerId,
        n: u64,
        piece: Option<u32>,
        now: Instant,
    ) -> Result<(), NotAskedFor> {
        let name = self.picker.answered(peer, n, piece, now);
        name.map(drop).ok_or(NotAskedFor)
    }

    /// A request couldn't be sent: all that was asked of this peer is open again, and for now it isn't asked.
    pub fn not_asked(&mut self, peer: PeerId) {
        self.picker.release(peer);
    }

    /// The answer to request `n`: this peer has none of the pieces that were named, whatever it was said to have, but has
    /// these by now.
    ///
    /// # Errors
    /// Where there is no such request.
    pub fn take_news(
        &mut self,
        peer: PeerId,
        n: u64,
        news: &[Have],
        now: Instant,
    ) -> Result<(), NotAskedFor> {
        let get = self.picker.request(peer, n).cloned().ok_or(NotAskedFor)?;
        self.take_answer(peer, n, None, now)?;
        let held = self.files.get(&get.name);
        if held.is_some_and(|held| held.begins_with(get.md5)) {
            let lacks = |idx: &u32| self.picker.peer_lacks(peer, &get.name, *idx);
            get.pieces.iter().for_each(lacks);
        }
        self.learn(peer, news);
        Ok(())
    }

    /// The answer to request `n`: this peer hasn't the content that was asked for, or not any more.
    ///
    /// # Errors
    /// Where there is no such request.
    pub fn gone(
        &mut self,
        peer: PeerId,
        n: u64,
        name: &Name,
        now: Instant,
    ) -> Result<(), NotAskedFor> {
        let asked = self.picker.request(peer, n).map(|get| get.md5);
        self.take_answer(peer, n, None, now)?;
        // the request may be for the content before this one
        let held = self.files.get(name).map(|held| held.torrent.md5());
        if held.is_none() || held == asked {
            self.has_not(peer, name);
        }
        Ok(())
    }

    /// Notes that a peer no longer has this file, or never had it.
    pub fn has_not(&mut self, peer: PeerId, name: &Name) {
        self.picker.peer_lost(peer, name);
    }

    /// Returns the connections over which pieces are requested.
    pub fn connections(&self) -> Vec<Sender> {
        let open = |peer: &OtherPeer| match &peer.link {
            LinkState::Open(sender) => Some(sender.clone()),
            _ => None,
        };
        self.peers.values().filter_map(open).collect()
    }

    /// Notes that the connection has ended; the pieces that were requested over it are open again. That one in use has failed
    /// doesn't say that the next one will: a network that was away for a while is back long before TCP tries again.
    pub fn disconnected(&mut self, peer: PeerId, failed: bool, now: Instant) {
        self.picker.release(peer);
        if let Some(known) = self.peers.get_mut(&peer) {
            known.retry_at = match known.link {
                _ if !failed => None,
                LinkState::Open(_) => known.retry_at, // as it was set when it was tried
                _ => Some(now + RETRY),
            };
            known.link = LinkState::No;
        }
    }

    /// Lets originals, and in classic rounds all peers, be asked over a separate connection for each piece.
    pub(super) fn open_single_links(&mut self, classic: bool, now: Instant) {
        for (id, peer) in &mut self.peers {
            let ready = peer.is_ready(now) && peer.is_listed();
            if (classic || !peer.ours) && ready && matches!(peer.link, LinkState::No) {
                peer.link = LinkState::Single {
                    addr: peer.addr,
                    ours: peer.ours,
                };
                self.picker.open(
                    *id,
                    Route {
                        latency: peer.latency.unwrap_or_default(),
                        one_at_a_time: true,
                        subnet: None,
                    },
                );
            }
        }
    }

    /// Returns true if a peer sent too many bad pieces.
    pub fn is_left_alone(&self, peer: PeerId) -> bool {
        self.peers
            .get(&peer)
            .is_some_and(|peer| peer.strikes >= STRIKES)
    }

    /// Returns how many other peers the tracker has.
    pub fn n_listed(&self) -> usize {
        let listed = self.peers.values().filter(|peer| peer.on_list.is_some());
        listed.count().max(self.sampled_of.unwrap_or(0))
    }

    /// Returns the files that are wanted by name and not here, for a tracker that only tells of some peers; if there are
    /// none, all files are wanted.
    pub fn wanted_names(&self) -> Vec<Name> {
        let is_whole = |held: &Held| held.have.is_full() && !held.is_head();
        let whole = |name: &Name| self.files.get(name).is_some_and(is_whole);
        let mut room = WANTS_ROOM;
        let missing = self.named().filter(|name| !whole(name));
        let fits = missing.take_while(|name| {
            let left = room.checked_sub(name.as_str().len());
            room = left.unwrap_or(0);
            left.is_some()
        });
        fits.cloned().collect()
    }

    /// Returns the whole files that originals list, each with one that has it.
    pub(super) fn whole_at_originals(&self) -> impl Iterator<Item = (&Name, PeerId, SocketAddr)> {
        let listed = self.peers.iter().filter(|(_, peer)| peer.is_listed());
        let originals = listed.filter(|(_, peer)| !peer.ours);
        originals.flat_map(|(id, peer)| {
            let offers = peer.offers.iter();
            let whole = offers.filter(|(_, offered)| offered.pieces.is_all());
            whole.map(|(name, _)| (name, *id, peer.addr))
        })
    }

    /// Returns the names that only originals list and that are wanted and not here, with the peers that have each.
    pub fn from_originals_only(&self) -> Vec<(Name, Vec<(PeerId, SocketAddr)>)> {
        let mut names: BTreeMap<&Name, Vec<(PeerId, SocketAddr)>> = BTreeMap::new();
        for (name, peer, addr) in self.whole_at_originals() {
            names.entry(name).or_default().push((peer, addr));
        }
        let lacks = |name: &Name| {
            self.is_wanted(name)
                && !self.files.contains_key(name)
                && !self.standing.contains_key(name)
                && !self.deleted.contains_key(name)
                && !self.given_up.contains_key(name)
        };
        names.retain(|name, _| !self.swarm.contains_key(name) && lacks(name));
        names
            .into_iter()
            .map(|(name, holders)| (name.clone(), holders))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::md5::digest;
    use crate::net::connect;
    use crate::protocol::{Summary, SwarmList, VERSION};
    use crate::state::Wants;
    use crate::state::tests::torrent;
    use crate::store::Part;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn listed(peers: &[SocketAddr]) -> SwarmList {
        let entry = |peer: &SocketAddr| PeerEntry {
            ip: peer.ip().to_string(),
            port: peer.port(),
            file_list: Vec::new(),
            v: Some(VERSION),
            pieces: BTreeMap::new(),
        };
        SwarmList {
            peers: peers.iter().map(entry).collect(),
            ..SwarmList::for_a_test(Vec::new(), Vec::new())
        }
    }

    #[test]
    fn of_one_address_only_so_many_unlisted_peers_are_remembered() {
        let now = Instant::now();
        let mut state = State::new(Wants::default(), StdRng::seed_from_u64(7), now);
        let at = |last: u8, port: u16| SocketAddr::from(([10, 0, 0, last], port));
        let hello = |state: &mut State, addr| {
            let peer = state.meet(addr);
            state.hello(peer, "id", &[], now);
            peer
        };
        state.update_list(&listed(&[at(2, 1), at(2, 2)]), now);
        for port in 1..=1000 {
            hello(&mut state, at(2, port));
        }
        assert_eq!(state.peers.len(), 2 + UNLISTED_PER_ADDRESS);
        let first = hello(&mut state, at(2, 1));
        assert_eq!(state.peers[&first].addr, at(2, 1), "a listed one is known");
        assert_eq!(hello(&mut state, at(2, 1000)), NOBODY);
        let other = hello(&mut state, at(3, 1000));
        assert_eq!(state.peers[&other].addr, at(3, 1000), "of another machine");

        state.update_list(&listed(&[at(2, 1000)]), now);
        let late = hello(&mut state, at(2, 1000));
        assert_eq!(state.peers[&late].addr, at(2, 1000), "by the list");
        let later = now + HELLO_KEPT + Duration::from_secs(1);
        state.update_list(&listed(&[]), later);
        assert_eq!(state.peers.len(), 0, "all are forgotten in time");
        assert_ne!(hello(&mut state, at(2, 999)), NOBODY);
    }

    #[test]
    fn of_a_list_without_end_so_many_peers_are_taken() {
        let now = Instant::now();
        let mut state = State::new(Wants::default(), StdRng::seed_from_u64(7), now);
        let at = |n: usize| SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 1));
        let many: Vec<SocketAddr> = (0..=TAKEN).map(at).collect();
        state.update_list(&listed(&many), now);
        assert_eq!(state.peers.len(), TAKEN);
    }

    #[test]
    fn one_address_leaves_places_for_others() {
        let now = Instant::now();
        let at = |last: u8, port: u16| SocketAddr::from(([10, 0, 0, last], port));
        for (name, n_peers, n_others, expected) in [
            ("all at one address", 60, 0, (NEIGHBOURS, 0)),
            ("few at one address", 30, 0, (30, 0)),
            ("one elsewhere", 60, 1, (NEIGHBOURS / 2, 1)),
            ("few, and one elsewhere", 15, 1, (15, 1)),
            ("many elsewhere", 60, 60, (1, NEIGHBOURS - 1)),
        ] {
            let mut state = State::new(Wants::default(), StdRng::seed_from_u64(7), now);
            state.begin(&torrent(), Part::none_of(&torrent()), now);
            let ports = (1..=n_peers).map(|port| at(2, port));
            let others = (0..n_others).map(|n| at(10 + n, 1));
            let peers: Vec<SocketAddr> = ports.chain(others).collect();
            // on the second turn those of the first are still being tried
            let mut tried = Vec::new();
            for _ in 0..2 {
                state.take_peers(&listed(&peers).peers, None, now);
                tried.extend(state.to_connect(0, now));
            }
            let n = tried
                .iter()
                .filter(|(_, addr)| addr.ip() == at(2, 1).ip())
                .count();
            assert_eq!((n, tried.len() - n), expected, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_while_it_is_tried_again() {
        let now = Instant::now();
        let mut state = State::new(Wants::default(), StdRng::seed_from_u64(7), now);
        let torrent = torrent();
        state.begin(&torrent, Part::none_of(&torrent), now);
        let addr = ([10, 0, 0, 2], 1).into();
        state.update_list(&listed(&[addr]), now);
        let peer = state.know(addr, true);
        let all = Pieces::Digits("all".to_owned());
        state.offers(peer, torrent.name(), Some(torrent.md5()), all);
        let says = |state: &State| state.doing(torrent.name(), 0).to_string();
        assert_eq!(state.to_connect(0, now), [(peer, addr)]);
        assert!(says(&state).contains("no connection so far"));
        state.note_trouble(peer, &Lost::NoReply);
        state.disconnected(peer, true, now);
        let failed = says(&state);
        assert!(failed.contains(&Lost::NoReply.to_string()), "{failed}");
        assert_eq!(state.to_connect(0, now + RETRY), [(peer, addr)]);
        assert_eq!(says(&state), failed);
    }

    #[test]
    fn whose_connection_failed_is_tried_again_at_once() {
        let now = Instant::now();
        let mut state = State::new(Wants::default(), StdRng::seed_from_u64(7), now);
        let torrent = torrent();
        state.begin(&torrent, Part::none_of(&torrent), now);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let addr = listener.local_addr().expect("bound");
        let sender = connect(&[addr]).expect("it listens").sender();
        state.update_list(&listed(&[addr]), now);
        let peer = state.know(addr, true);
        let after = |seconds| now + Duration::from_secs(seconds);
        let hello = Hello {
            v: VERSION,
            id: "1".to_owned(),
            port: addr.port(),
            have: Vec::new(),
        };
        let route = Route {
            latency: Duration::ZERO,
            one_at_a_time: false,
            subnet: None,
        };
        // when it is connected, if that works, when it fails, and when it is tried again
        for (open, fails, again) in [
            (Some(0), 60, 60),
            (Some(60), 61, 65),
            (None, 70, 75),
            (Some(75), 80, 80),
        ] {
            let tries = |state: &mut State, at| !state.to_connect(0, after(at)).is_empty();
            assert!(tries(&mut state, open.unwrap_or(fails)));
            if let Some(open) = open {
                let sender = sender.clone();
                assert!(state.connected(peer, &hello, sender, route, after(open)));
            }
            state.disconnected(peer, true, after(fails));
            assert!(again == fails || !tries(&mut state, again - 1));
            assert!(tries(&mut state, again), "{fails}");
            state.disconnected(peer, false, after(again));
        }
    }

    #[test]
    fn who_is_left_out_of_a_sample_stays_listed() {
        let now = Instant::now();
        let at = |last: u8| SocketAddr::from(([10, 0, 0, last], 1));
        let known = |state: &State| -> Vec<u8> {
            let listed = state.peers.values().filter(|peer| peer.on_list.is_some());
            let hosts = listed.map(|peer| (1..9).find(|last| at(*last) == peer.addr));
            hosts.flatten().collect()
        };
        let sample = |peers: &[SocketAddr]| SwarmList {
            n_peers: Some(1000),
            ..listed(peers)
        };
        let mut state = State::new(Wants::default(), StdRng::seed_from_u64(7), now);
        state.update_list(&listed(&[at(1), at(2)]), now);
        assert_eq!((known(&state), state.n_listed()), (vec![1, 2], 2));
        for turn in 1..=LISTS_KEPT {
            state.update_list(&sample(&[at(3)]), now);
            assert_eq!(known(&state), [1, 2, 3], "{turn}");
            assert_eq!(state.n_listed(), 1000, "as the tracker says");
        }
        state.update_list(&sample(&[at(2), at(4)]), now);
        assert_eq!(known(&state), [2, 3, 4]);
        state.update_list(&listed(&[at(4)]), now);
        assert_eq!((known(&state), state.n_listed()), (vec![4], 1));
    }

    #[test]
    fn the_tracker_is_asked_for_the_named_missing_files() {
        let names = |n: usize| (0..n).map(|n| Name::parse(&format!("{n:0100}")).expect("a name"));
        for (n, asked) in [(0, 0), (2, 2), (40, WANTS_ROOM / 100)] {
            let wants = Wants {
                only: names(n).collect(),
                ..Wants::default()
            };
            let state = State::new(wants, StdRng::seed_from_u64(7), Instant::now());
            assert_eq!(state.wanted_names(), names(asked).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_nobody_lists_has_room_in_all() {
        let now = Instant::now();
        let mut state = State::new(Wants::default(), StdRng::seed_from_u64(1), now);
        let long = Pieces::These(vec![0; OFFER_LEN]);
        let of = |n: usize| Have {
            name: Name::parse(&format!("{n}")).expect("a name"),
            md5: digest(b""),
            pieces: long.clone(),
        };
        let fit = UNLISTED_ROOM / (size_of::<u32>() * OFFER_LEN) - 1;
        let of_each = fit / 20;
        for port in 0..40 {
            let have: Vec<Have> = (0..of_each)
                .map(|n| of(100 * usize::from(port) + n))
                .collect();
            let peer = state.know(([10, 0, 0, 2], port + 1).into(), true);
            state.hello(peer, "1", &have, now);
        }
        let n_kept = |state: &State| {
            state
                .peers
                .values()
                .map(|peer| peer.offers.len())
                .sum::<usize>()
        };
        let n = n_kept(&state);
        assert!((fit / 2..=fit).contains(&n), "{n}");
        // a listed one is still taken, as long as it is what it can be
        let listed = Summary::of(&torrent());
        let (name, md5) = (listed.name.clone(), listed.md5);
        state.swarm.insert(name.clone(), listed);
        let peer = state.know(([10, 0, 0, 3], 1).into(), true);
        for (pieces, kept) in [(long.clone(), 0), (Pieces::These(vec![3]), 1)] {
            let have = Have {
                name: name.clone(),
                md5,
                pieces,
            };
            state.learn(peer, &[have]);
            assert_eq!(state.peers[&peer].offers.len(), kept);
        }
        // who starts anew gives back what it had
        let first = state.know(([10, 0, 0, 2], 1).into(), true);
        state.hello(first, "2", &[], now);
        state.learn(peer, &[of(0)]);
        assert_eq!(state.peers[&peer].offers.len(), 2);
    }

    #[test]
    fn an_overlong_offer_is_not_remembered() {
        let now = Instant::now();
        let mut state = State::new(Wants::default(), StdRng::seed_from_u64(1), now);
        let peer = state.know(([10, 0, 0, 2], 5).into(), true);
        let of = |name: String, pieces| Have {
            name: Name::parse(&name).expect("a name"),
            md5: digest(b""),
            pieces,
        };
        for (len, kept) in [(OFFER_LEN, 2), (OFFER_LEN + 1, 0)] {
            let digits = Pieces::Digits("f".repeat(len));
            let these = Pieces::These(vec![0; len]);
            let have = [of(format!("d{len}"), digits), of(format!("t{len}"), these)];
            let before = state.peers[&peer].offers.len();
            state.hello(peer, "1", &have, now);
            let after = state.peers[&peer].offers.len();
            assert_eq!(after - before, kept, "{len}");
        }
        for n in 0..OFFERS {
            let have = [of(format!("{n}"), Pieces::Digits("all".to_owned()))];
            state.learn(peer, &have);
        }
        assert_eq!(state.peers[&peer].offers.len(), OFFERS);
    }
}
