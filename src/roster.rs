//! What the tracker knows: who is there, what each has, and which contents are published. Holds no part of any file.
//!
//! Pure: no socket, no file, no clock, no lock; the random generator is a parameter. [`crate::tracker`] keeps it in its one
//! Mutex. Time goes by in sweeps: who wasn't heard of between two of them is dropped.
//!
//! The original's `append_client` and `update_peer_list` are here under their names. What differs: new peers are visible at
//! once, `--remote` tells peers apart by address *and* port, and who speaks ours is told of pieces and of published files,
//! too. And where the original sends everybody the whole list, here a large swarm is told of by samples: so neither a ping
//! nor a list costs more the more peers there are.
//!
//! What may take long, a sweep, a long list, or a file that many have already, is done in turns: `begin_…` and then `…_on`,
//! between which the lock is free.
//!
//! Beside the lesson: what a list means (`holding`), who is on an answer (`sample`), how it is put together from what is
//! ready (`has`, `counts`, `files`, `answer`, and `original_list` for originals), what is published and by whom (`records`, `publisher`), what isn't (`folder`), and how much
//! is taken (`caps`, `refusal`).

mod answer;
mod caps;
mod counts;
mod ends;
mod files;
mod folder;
mod has;
mod holding;
mod original_list;
mod overview;
mod publisher;
mod records;
mod refusal;
mod sample;
mod slab;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::protocol::LIST_CAP;
pub use answer::Answer;
use caps::Addresses;
pub use caps::{FILES_PER_ADDRESS, NAMES_PER_ADDRESS, NAMES_PER_LIST, PEERS_PER_ADDRESS};
use ends::Key;
pub use ends::{Ends, Reach};
use files::Files;
pub use files::summary_for;
use folder::Folders;
use has::{ListNo, Peer, PeerNo};
pub use holding::Listing;
pub use original_list::OriginalList;
pub use overview::{Overview, Row};
pub use records::{Judged, Publishing, Record, Stands};
pub use refusal::Refusal;
pub use sample::PEERS_LISTED;
use slab::Slab;

/// The longest name that a list may have, bytes: no file has a longer one. Longer ones are left out.
const LONGEST_LISTED: usize = 255;
/// Bytes of files and of peers' names in one answer of ours: half of what a client reads.
const LIST_ROOM: usize = LIST_CAP / 2;
/// What is done in one go, in pieces that are counted: whoever waits for the lock gets it in between.
const WORK_AT_ONCE: usize = 64 << 10;
/// What a name takes, in pieces that are counted.
const NAME_WORK: usize = 256;
/// Peers that a sweep looks at in one go.
const SWEPT_AT_ONCE: usize = 64;
/// Strangers that are remembered, so as to tell of each once.
const STRANGERS: usize = 4096;

/// The tracker's state.
///
/// Invariant: `by_key`, `all` and each file's holders name the peers that are there, each once; a peer knows its places in
/// them, so that it leaves without anybody being looked for.
pub struct Roster {
    reach: Reach,
    peers: Slab<Peer>,
    by_key: BTreeMap<Key, PeerNo>,
    /// In no order.
    all: Vec<PeerNo>,
    files: Files,
    addresses: Addresses,
    folders: Folders,
    strangers: HashSet<IpAddr>,
    /// How many sweeps there were.
    sweeps: u32,
    /// How many lists came.
    lists: ListNo,
}

/// A peer that was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Where others find it.
    pub addr: SocketAddr,
    /// Whether it wasn't known before.
    pub new: bool,
}

/// A sweep under way.
pub struct Sweep {
    /// How many it has still to look at.
    left: usize,
    /// Who went, with what they had: freed by who needs no lock for it any more.
    gone: Vec<Peer>,
}

impl Sweep {
    /// Who was dropped.
    pub fn dropped(&self) -> Vec<SocketAddr> {
        self.gone.iter().map(|peer| peer.has.addr).collect()
    }
}

impl Roster {
    /// Nobody and nothing.
    pub fn new(reach: Reach) -> Self {
        Self {
            reach,
            peers: Slab::new(),
            by_key: BTreeMap::new(),
            all: Vec::new(),
            files: Files::new(),
            addresses: Addresses::default(),
            folders: Folders::default(),
            strangers: HashSet::new(),
            sweeps: 0,
            lists: 0,
        }
    }

    /// How many peers are there.
    pub fn n_peers(&self) -> usize {
        self.all.len()
    }

    /// Whether this stranger is seen for the first time, as far as is remembered.
    pub fn is_first_time(&mut self, stranger: IpAddr) -> bool {
        self.strangers.len() < STRANGERS && self.strangers.insert(stranger)
    }

    /// The peer that comes this way, where it is known.
    fn find(&self, from: Ends, port: u16, v: Option<u32>) -> Option<PeerNo> {
        let key = self.reach.key(from.addr_of(port, v));
        self.by_key.get(&key).copied()
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
        if port == 0 {
            return Err(Refusal::PortZero);
        }
        let addr = from.addr_of(port, v);
        if let Some(no) = self.find(from, port, v) {
            self.peers[no].seen = self.sweeps;
            if (self.peers[no].has.addr, self.peers[no].has.v) != (addr, v) {
                self.moves(no, addr, v);
            }
            return Ok(Joined { addr, new: false });
        }
        if self.addresses.tally(addr.ip()).peers >= PEERS_PER_ADDRESS {
            return Err(Refusal::Peers(addr.ip()));
        }
        self.insert(addr, v);
        Ok(Joined { addr, new: true })
    }

    /// The sweep: drops who sent nothing since the sweep before, and returns them.
    pub fn update_peer_list(&mut self) -> Vec<SocketAddr> {
        let mut sweep = self.begin_sweep();
        while self.sweep_on(&mut sweep) {}
        sweep.dropped()
    }

    /// Begins a sweep, which [`Roster::sweep_on`] goes on with.
    pub fn begin_sweep(&mut self) -> Sweep {
        self.sweeps += 1;
        let left = self.all.len();
        let gone = Vec::with_capacity(left);
        Sweep { left, gone }
    }

    /// Looks at some more peers. Whether there are others yet.
    pub fn sweep_on(&mut self, sweep: &mut Sweep) -> bool {
        let (until, mut room) = (sweep.left.saturating_sub(SWEPT_AT_ONCE), WORK_AT_ONCE);
        // from behind: in the place of who goes comes the last, who was looked at already, or is new
        while sweep.left > until && room > 0 {
            let no = self.all[sweep.left - 1];
            if self.peers[no].seen + 1 < self.sweeps {
                let Some(peer) = self.go(no, &mut room) else {
                    break;
                };
                sweep.gone.push(peer);
            }
            sweep.left -= 1;
        }
        sweep.left > 0
    }
}
