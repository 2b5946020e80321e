//! The tracker's state: who is there, what each peer has, and which contents are published.
//!
//! The roster owns the list of peers. It holds no part of any file. It is pure: it opens no socket and no file, starts no
//! thread, takes no lock and reads no clock; [`crate::tracker`] keeps it in its one Mutex. Its clock is the number of the
//! sweep, and the random generator is a parameter.
//!
//! What the original's tracker does with its list is here under the original's names: [`Roster::append_client`] and
//! [`Roster::update_peer_list`]. There are four differences. A new peer is visible at once, not after the next sweep. An
//! empty list counts, too. A remote tracker tells peers apart by address *and* port. And where the original sends everybody
//! the whole list, here everybody is told of [`PEERS_LISTED`] peers, so that an answer doesn't grow with the swarm.
//!
//! - A ping costs one look-up and [`PEERS_LISTED`] random draws, however large the swarm is: some 50 µs under the lock, and 10
//!   for an original's.
//! - A list costs a look-up for each name, an addition for each piece of a file that changed, and a comparison for each piece
//!   of each file listed: some 6 µs under the lock for one file in 1,024 pieces.
//! - A sweep looks at every peer once, and takes back what each one that it drops had listed: some 30 ms for 10,000 of them.
//!
//! Engineering, not needed for the lesson: addresses (`address`), what a list means (`list`, `holdings`), the index of files
//! (`files`, `piece_counts`, `draw_set`), what else changes with a peer (`changes`, `folder`), who is on an answer (`sample`)
//! and how it is written (`swarm_answer`, `original_answer`), which content stands (`records`, `publisher`), limits
//! (`limits`, `quotas`, `refusal`), and the page's overview (`overview`).

mod address;
mod changes;
mod draw_set;
mod files;
mod folder;
mod holdings;
mod limits;
mod list;
mod original_answer;
mod overview;
mod piece_counts;
mod publisher;
mod quotas;
mod records;
mod refusal;
mod sample;
mod swarm_answer;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::Rng;

use crate::net::is_local;
use crate::protocol::{PeerList, VERSION, original_cap};
use crate::torrent::Name;
use address::PeerKey;
pub use address::{Endpoints, Reachability};
use draw_set::DrawSet;
use files::FileIndex;
pub use files::{LiveFiles, summary_for};
use folder::{FolderIndex, FolderReport};
use holdings::{HeldFiles, Holdings, ListedPeer, counted};
pub use limits::{
    FILES_PER_ADDRESS, NAMES_PER_ADDRESS, NAMES_PER_LIST, PEERS_LISTED, PEERS_PER_ADDRESS,
};
pub use original_answer::OriginalAnswer;
use original_answer::PEERS_NAMED;
pub use overview::{Row, SwarmOverview};
use quotas::AddressQuotas;
pub use records::{FileSources, Judged, Record};
pub use refusal::TrackerRefusal;
pub use swarm_answer::SwarmAnswer;

/// The tracker's state.
///
/// Invariant: `everyone`, `files`, `folders` and `quotas` say the same as `peers`.
pub struct Roster {
    reach: Reachability,
    /// Who is there.
    peers: HashMap<PeerKey, KnownPeer>,
    /// The same peers, to draw a sample from.
    everyone: DrawSet<PeerKey>,
    /// Who has which pieces of each file, and what is published.
    files: FileIndex,
    /// Who has what in the folder that isn't in the swarm.
    folders: FolderIndex,
    /// How much each address has here.
    quotas: AddressQuotas,
    /// How many sweeps there were.
    sweeps: u32,
}

/// A peer that is there.
struct KnownPeer {
    /// How many sweeps there had been when its last message came.
    last_seen: u32,
    /// How many sweeps there had been when its list last had something new.
    last_grew: u32,
    /// Its address, and what it has.
    holdings: Arc<Holdings>,
    /// Whether it is on the tracker's machine, and listens at all of its addresses.
    is_here: bool,
    /// What it has in its folder that isn't in the swarm.
    folder: FolderReport,
}

impl KnownPeer {
    /// Returns true if it speaks our messages, and not the original's alone.
    fn is_ours(&self) -> bool {
        self.holdings.v.is_some()
    }

    fn has_nothing(&self) -> bool {
        self.holdings.files.is_empty()
    }
}

/// A peer that has sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Where others find it.
    pub addr: SocketAddr,
    /// Whether it wasn't known before.
    pub new: bool,
}

impl Roster {
    /// A roster without peers.
    pub fn new(reach: Reachability) -> Self {
        Self {
            reach,
            peers: HashMap::new(),
            everyone: DrawSet::default(),
            files: FileIndex::default(),
            folders: FolderIndex::default(),
            quotas: AddressQuotas::default(),
            sweeps: 0,
        }
    }

    /// How many peers are there.
    pub fn n_peers(&self) -> usize {
        self.peers.len()
    }

    fn key(&self, from: Endpoints, port: u16, v: Option<u32>) -> PeerKey {
        self.reach.key(from.addr_of(port, v))
    }

    /// Notes that a peer is there. A new one is visible at once; a known one outlives the next sweep.
    ///
    /// # Errors
    /// Fails if it can't be a peer, or if too many have come from its address.
    pub fn append_client(
        &mut self,
        from: Endpoints,
        port: u16,
        v: Option<u32>,
    ) -> Result<Joined, TrackerRefusal> {
        if port == 0 {
            return Err(TrackerRefusal::PortZero);
        }
        let addr = from.addr_of(port, v);
        let key = self.reach.key(addr);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.last_seen = self.sweeps;
            peer.is_here = from.is_here(v);
            self.follow(key, addr, v);
            return Ok(Joined { addr, new: false });
        }
        self.quotas.add_peer(addr.ip())?;
        let peer = KnownPeer {
            last_seen: self.sweeps,
            last_grew: self.sweeps,
            holdings: Arc::new(Holdings {
                addr,
                v,
                files: HeldFiles::new(),
            }),
            is_here: from.is_here(v),
            folder: FolderReport::default(),
        };
        self.peers.insert(key, peer);
        self.everyone.insert(key);
        Ok(Joined { addr, new: true })
    }

    /// Takes a peer's list in the place of its last one.
    ///
    /// # Errors
    /// Fails as [`Roster::append_client`] does, or if the list is too long, by itself or with those of the other peers at its
    /// address.
    pub fn set_list(
        &mut self,
        from: Endpoints,
        port: u16,
        v: Option<u32>,
        list: &PeerList,
    ) -> Result<Joined, TrackerRefusal> {
        let ip = from.addr_of(port, v).ip();
        let known = self.peers.get(&self.key(from, port, v));
        let known = known.filter(|peer| peer.holdings.addr.ip() == ip);
        let before = known.map_or(0, |peer| counted(&peer.holdings.files));
        let files = self.files.understand(list, v.is_some());
        let n_names = list.n_names();
        self.quotas
            .check_list(ip, n_names, counted(&files), before)?;

        let joined = self.append_client(from, port, v)?;
        let key = self.reach.key(joined.addr);
        let folder = self.understand_folder(key, list);
        self.set_holdings(key, files, folder);
        Ok(joined)
    }

    /// The sweep: drops the peers that have sent nothing since the sweep before, and returns them.
    pub fn update_peer_list(&mut self) -> Vec<SocketAddr> {
        self.sweeps += 1;
        let sweeps = self.sweeps;
        let is_silent = |(_, peer): &(&PeerKey, &KnownPeer)| peer.last_seen + 1 < sweeps;
        let silent = self.peers.iter().filter(is_silent);
        let silent: Vec<PeerKey> = silent.map(|(key, _)| *key).collect();
        let dropped = silent.into_iter().filter_map(|key| self.forget(key));
        dropped.collect()
    }

    /// The answer to a ping of ours: others than the asker, and the files that somebody has. `wants` names the files that the
    /// asker lacks, if it doesn't want all. `known_edition` is that of the list of files it knows, which isn't sent again.
    pub fn swarm_list(
        &mut self,
        asker: Endpoints,
        port: u16,
        wants: &[Name],
        known_edition: Option<u64>,
        rng: &mut impl Rng,
    ) -> SwarmAnswer {
        let files = self.live_files(asker, rng);
        let key = self.key(asker, port, Some(VERSION));
        let own = self.peers.get(&key);
        let wanted = self.wanted(own, self.files.known(wants), rng);
        let chosen = self.sample(PEERS_LISTED, own, &wanted, rng, |_| true);
        let n_others = self.n_others(own);
        SwarmAnswer {
            local: self.reach == Reachability::Local,
            n_peers: (n_others > PEERS_LISTED).then_some(n_others),
            peers: listed(&chosen, asker),
            files,
            known_edition,
            coming: self.coming(asker, key, rng),
        }
    }

    /// The answer to an original's ping: peers that it can reach, with the names that it may ask each of them for.
    pub fn original_list(&self, asker: Endpoints, port: u16, rng: &mut impl Rng) -> OriginalAnswer {
        let own = self.peers.get(&self.key(asker, port, None));
        let wanted = self.wanted(own, Vec::new(), rng);
        let is_ipv4 = |peer: &KnownPeer| peer.found_by(asker).is_ipv4();
        let has_files = |peer: &KnownPeer| is_ipv4(peer) && !peer.has_nothing();
        let is_idle = |peer: &KnownPeer| is_ipv4(peer) && peer.has_nothing();
        let mut chosen = self.sample(PEERS_NAMED, own, &wanted, rng, has_files);
        let room = PEERS_NAMED - chosen.len();
        chosen.extend(self.sample(room, own, &[], rng, is_idle));
        OriginalAnswer {
            cap: original_cap(is_local(asker.peer, asker.own)),
            asker: own.map(|own| Arc::clone(&own.holdings)),
            wanted,
            peers: listed(&chosen, asker),
        }
    }
}

fn listed(chosen: &[&KnownPeer], asker: Endpoints) -> Vec<ListedPeer> {
    let listed = |peer: &&KnownPeer| ListedPeer::new(&peer.holdings, peer.found_by(asker));
    chosen.iter().map(listed).collect()
}
