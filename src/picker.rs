//! What to ask of whom next. It decides and opens nothing: the time and the random generator are parameters.
//!
//! The original, every 30 s: `rank_file_rarity`, `select_file` (which computes the rarity, and then takes any missing file),
//! `select_peer` (any holder at random). Ours keeps the three steps and means them: the rarest piece first, ties at random;
//! its holder by a random choice weighted by latency, so that nearer ones are asked more often. And it decides whenever
//! something changed, not every 30 s: [`Picker::next_requests`] fills every place that a connection has free.
//!
//! At a tie it names up to eight equally rare pieces in one request, and the *holder* sends the one that it has sent least
//! ([`crate::state::State::choose`]): so a seed sends each piece once before it sends any twice.
//!
//! `./run_local.sh tmux --classic --explain --verbose` shows the three steps of each round, here peer 4's. At first all 16 pieces
//! are equally rare; later their copies differ, and there is a choice of holders:
//! ```text
//!     60.0 s  pick image.iso piece 0 from 127.0.0.1:35765: the rarest, 1 copy, 16 equally rare
//!    270.0 s  pick image.iso piece 9 from 127.0.0.1:35765: the rarest, 2 copies, 6 equally rare; latency 0.02 ms, chosen at 50 % among 2
//! ```
//! Who had piece 9 at 270 s, besides peer 1? What if peer 1 had left at 90 s, and what if at 270 s?
//!
//! Invariant: a missing piece is either open (nobody was asked for it) or has a claim for each request that names it; any other
//! piece is here.
//! Beside the lesson: `claims` keeps that account, `late` asks again for what should have come,
//! `places` bounds what each peer is asked for at a time, `subnets` what is asked of other subnets, and `view` is for people.
//!
//! Cost of a decision: one pass over the open pieces of each connection that has a place free, without any system call.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use crate::bitfield::Bitfield;
use crate::md5::Digest;
use crate::protocol::Get;
use crate::torrent::{BlockSet, Name};

mod claims;
mod late;
mod places;
mod subnets;
#[cfg(test)]
mod tests;
mod view;

pub use self::subnets::Subnet;

/// A peer's number in this process.
pub type PeerId = u32;

/// The most pieces that one request names.
const CANDIDATES: usize = 8;
/// Latencies below this count as this: on one machine, or one switch, the difference means nothing.
pub const NEAREST: Duration = Duration::from_millis(2);
/// The most bytes asked for, and the most that are checked at a time; it bounds the memory of a download.
pub const IN_FLIGHT: u64 = 64 << 20;

/// Everything that the choice of the next piece depends on.
#[derive(Default)]
pub struct Picker {
    files: BTreeMap<Name, WantedFile>,
    links: BTreeMap<PeerId, Link>,
    /// A moving mean of the time that a piece takes, from its request, or from the holder's answer before it.
    usual: Option<Duration>,
    /// The number of the last request.
    n: u64,
}

/// A file that is wanted and not whole.
pub(crate) struct WantedFile {
    md5: Digest,
    piece_len: u64,
    /// Missing, and nobody was asked.
    open: Bitfield,
    /// Blocks that are missing of the pieces that are here in part.
    missing_blocks: BTreeMap<u32, BlockSet>,
    /// How many peers have each piece.
    copies: Vec<u32>,
    /// Missing, and asked for.
    claims: BTreeMap<u32, Vec<Claim>>,
}

/// One request that names a piece.
#[derive(Clone, Copy)]
struct Claim {
    peer: PeerId,
    since: Instant,
    /// The piece came, and is being checked and written: it can't be late any more.
    came: bool,
}

/// A peer: what it has, and what it was asked for.
#[derive(Default)]
struct Link {
    has: BTreeMap<Name, Bitfield>,
    /// How pieces are asked of it, while they can be.
    open: Option<Route>,
    asked: Vec<Asked>,
    /// When the last of its answers came.
    answered: Option<Instant>,
    /// A moving mean of the time that its pieces take.
    took: Option<Duration>,
    /// How many requests beyond the usual number keep it busy, see [`Picker::stood_idle`].
    further: f64,
}

/// How pieces are asked of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The smallest round trip seen.
    pub latency: Duration,
    /// Whether it is asked for one piece at a time, and never for news: an original, or any peer in a classic round.
    pub one_at_a_time: bool,
    /// Where it is; `None` where that makes no difference.
    pub subnet: Option<Subnet>,
}

/// A request that has no answer yet.
struct Asked {
    get: Get,
    since: Instant,
    /// Whether it took the last place of a connection that was in use.
    last_place: bool,
}

/// A decision: ask this of that peer.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Whom.
    pub peer: PeerId,
    /// What.
    pub get: Get,
    /// Why.
    pub why: Why,
}

/// The reason for a [`Decision`].
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// No piece that is missing here has fewer copies.
    Rarest {
        /// How many peers have it.
        copies: u32,
        /// How many pieces of this holder are as rare.
        tied: usize,
        /// The holders that could be asked, with the chance that each had.
        holders: Vec<(PeerId, f64)>,
    },
    /// Every missing piece was asked for; this one is late, and asked for once more.
    Late,
    /// It has nothing that is missing here and wasn't asked for: tell when that changes.
    News,
}

/// The rarest of what one peer could be asked for.
pub(crate) struct Rank {
    copies: u32,
    name: Name,
    /// Some of the pieces that are as rare, at random.
    sample: Vec<u32>,
    /// How many there are.
    tied: usize,
}

impl Picker {
    /// Every request that can be made now. The caller sends them; until it is answered or released, each counts as made.
    pub fn next_requests(&mut self, now: Instant, rng: &mut impl Rng) -> Vec<Decision> {
        let mut decisions = Vec::new();
        while let Some(decision) = self.next_request(CANDIDATES, now, rng) {
            decisions.push(decision);
        }
        // a peer that has nothing new for us is asked for what is late, or else for news
        decisions.extend(self.late_and_news(now));
        decisions
    }

    /// The classic round's one request: one piece, the rarest, of one holder at random, whatever else is under way.
    pub fn classic_round(&mut self, now: Instant, rng: &mut impl Rng) -> Option<Decision> {
        self.next_request(1, now, rng)
    }

    /// A request for the rarest piece that anybody can be asked for, to one of its holders. It names up to `most` candidates
    /// that are as rare there.
    fn next_request(&mut self, most: usize, now: Instant, rng: &mut impl Rng) -> Option<Decision> {
        let ranks = self.rank_file_rarity(rng);
        let (piece, name) = select_file(&ranks, rng)?;
        let has = |peer: &PeerId| self.links[peer].has.get(&name);
        let holders = ranks.keys().copied();
        let holders = holders.filter(|peer| has(peer).is_some_and(|has| has.get(piece)));
        let holders: Vec<_> = holders.map(|peer| (peer, self.latency(peer))).collect();
        let (peer, chances) = select_peer(&holders, rng)?;
        let copies = self.files[&name].copies[piece as usize];
        let ties = ranks.get(&peer);
        let ties = ties.filter(|rank| rank.name == name && rank.copies == copies);
        let (sample, tied) = ties.map_or((&[][..], 1), |rank| (&rank.sample, rank.tied));
        let why = Why::Rarest {
            copies,
            tied,
            holders: chances,
        };
        let pieces = self.candidates(peer, &name, piece, sample, tied, most);
        Some(self.ask(peer, name, pieces, now, Duration::ZERO, why))
    }

    /// The original's `rank_file_rarity`, for each peer that has a place free: the rarest of what it could be asked for.
    fn rank_file_rarity(&self, rng: &mut impl Rng) -> BTreeMap<PeerId, Rank> {
        let in_flight = self.bytes_in_flight();
        let mut ranks: BTreeMap<PeerId, Rank> = BTreeMap::new();
        for peer in self.peers_with_a_place_free() {
            for (name, has) in self.offers_of(peer, in_flight) {
                let file = &self.files[name];
                let fits = in_flight + file.piece_len <= IN_FLIGHT;
                let Some(rank) = fits.then(|| file.rank(name, &has, rng)).flatten() else {
                    continue;
                };
                let best = ranks.get(&peer);
                if best.is_none_or(|best| rank.copies < best.copies) {
                    ranks.insert(peer, rank);
                }
            }
        }
        ranks
    }

    /// Notes a request, and claims the pieces that it names.
    fn ask(
        &mut self,
        peer: PeerId,
        name: Name,
        pieces: Vec<u32>,
        now: Instant,
        wait: Duration,
        why: Why,
    ) -> Decision {
        let file = self.files.get_mut(&name);
        let file = file.expect("only wanted files are asked for");
        pieces.iter().for_each(|idx| file.claim(*idx, peer, now));
        let blocks = match pieces[..] {
            [idx] => file.missing_blocks.get(&idx).copied(),
            _ => None,
        };
        self.n += 1;
        let get = Get {
            n: self.n,
            name,
            md5: file.md5,
            pieces,
            blocks,
            wait: wait.as_secs_f64(),
        };
        let asked = Asked {
            get: get.clone(),
            since: now,
            last_place: self.takes_last_place(peer, now),
        };
        self.links.entry(peer).or_default().asked.push(asked);
        Decision { peer, get, why }
    }
}

impl WantedFile {
    /// The rarest of the open pieces that are in `has`.
    fn rank(&self, name: &Name, has: &Bitfield, rng: &mut impl Rng) -> Option<Rank> {
        let mut rank = Rank {
            copies: u32::MAX,
            name: name.clone(),
            sample: Vec::new(),
            tied: 0,
        };
        for idx in self.open.and(has) {
            let copies = self.copies[idx as usize];
            if copies > rank.copies {
                continue;
            }
            if copies < rank.copies {
                rank.copies = copies;
                rank.sample.clear();
                rank.tied = 0;
            }
            // each of the tied has the same chance to be in the sample, and to stand first in it
            rank.tied += 1;
            let at = rng.random_range(0..rank.tied);
            if rank.sample.len() < CANDIDATES {
                rank.sample.push(idx);
                let last = rank.sample.len() - 1;
                rank.sample.swap(at.min(last), last);
            } else if at < CANDIDATES {
                rank.sample[at] = idx;
            }
        }
        (rank.tied > 0).then_some(rank)
    }
}

/// The original's `select_file`, and here it selects a piece: the rarest that anybody could be asked for, ties at random.
pub(crate) fn select_file(
    ranks: &BTreeMap<PeerId, Rank>,
    rng: &mut impl Rng,
) -> Option<(u32, Name)> {
    let copies = ranks.values().map(|rank| rank.copies).min()?;
    let rarest = ranks.values().filter(|rank| rank.copies == copies);
    let rarest: Vec<&Rank> = rarest.collect();
    let rank = rarest[rng.random_range(0..rarest.len())];
    Some((rank.sample[0], rank.name.clone()))
}

/// The original's `select_peer`: one of the holders at random, here the nearer the likelier. Returns all chances, too.
pub(crate) fn select_peer(
    holders: &[(PeerId, Duration)],
    rng: &mut impl Rng,
) -> Option<(PeerId, Vec<(PeerId, f64)>)> {
    let chances = chances(holders);
    let mut roll = rng.random_range(0.0..1.0);
    let chosen = chances.iter().find(|(_, chance)| {
        roll -= chance;
        roll < 0.0
    });
    let (peer, _) = *chosen.or(chances.first())?;
    Some((peer, chances))
}

/// The chance of each of these peers to be chosen: in proportion to 1 / latency.
fn chances(peers: &[(PeerId, Duration)]) -> Vec<(PeerId, f64)> {
    let weight = |latency: &Duration| 1.0 / latency.max(&NEAREST).as_secs_f64();
    let all: f64 = peers.iter().map(|(_, latency)| weight(latency)).sum();
    let chances = peers.iter();
    let chances = chances.map(|(peer, latency)| (*peer, weight(latency) / all));
    chances.collect()
}
