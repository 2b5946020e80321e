//! What to ask of whom next. Pure: the moment and the dice are parameters.
//!
//! The original, every 30 s: `rank_file_rarity`, `select_file` (which computes the rarity, and then takes any missing file),
//! `select_peer` (any holder at random). Ours keeps the three steps and means them: the rarest piece first, ties at random;
//! its holder by a random choice weighted by latency, nearer ones more often. And it decides whenever something changed,
//! not every 30 s: [`Picker::manage_downloads`] fills every place that a connection has free.
//!
//! At a tie of several pieces it names up to eight of them in one request, and the *holder* sends the one that it has sent
//! least: so a seed sends each piece once before it sends any twice. What was named is claimed until the answer.
//!
//! Invariant: a missing piece is either open (nobody was asked for it) or has a claim for each request that names it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use crate::bitfield::Bitfield;
use crate::md5::Digest;
use crate::protocol::Get;
use crate::torrent::Name;

mod claims;
mod view;

/// A peer's number, given by who keeps the peers.
pub type PeerNo = u32;

/// The most pieces that one request names.
const CANDIDATES: usize = 8;
/// Requests outstanding on a connection where there are few: one on its way, and one that fills the pause behind it.
const DEPTH: usize = 2;
/// From so many connections on, the others fill the pauses, and a second request would only wait in a queue: each has one.
const MANY: usize = 6;
/// A peer whose latency is so many times the nearest's has one request outstanding, not two.
const FAR: u32 = 8;
/// Latencies below this are taken as this: on one machine, or one switch, the difference means nothing.
pub const NEAREST: Duration = Duration::from_millis(2);
/// Bytes asked for in all, and bytes in all that come and are checked at a time; what bounds the memory of a download.
pub const IN_FLIGHT: u64 = 64 << 20;
/// How long a holder may hold back its answer where it has nothing that is missing here: bounds how late a connection
/// learns that it may ask again.
const POLL: Duration = Duration::from_secs(1);
/// The usual time of a piece before one has come.
const USUAL: Duration = Duration::from_secs(5);
/// The shortest time after which a piece counts as late: below it, the thread was just not scheduled.
const SHORTEST: Duration = Duration::from_millis(50);
/// Just after a moment.
const TICK: Duration = Duration::from_millis(1);

/// A file that is wanted and not whole.
struct Wanted {
    md5: Digest,
    piece_len: u64,
    have: Bitfield,
    /// Missing, and nobody was asked.
    open: Bitfield,
    /// How many peers have each piece.
    copies: Vec<u32>,
    claims: BTreeMap<u32, Vec<Claim>>,
}

/// A request names this piece.
#[derive(Clone, Copy)]
struct Claim {
    peer: PeerNo,
    since: Instant,
    /// It is here, and being checked and written: it can't be late any more.
    came: bool,
}

/// A peer: what it has, and what it was asked.
#[derive(Default)]
struct Link {
    has: BTreeMap<Name, Bitfield>,
    /// How pieces are asked of it, while they can be.
    open: Option<Way>,
    asked: Vec<Asked>,
    /// When the last of its answers came.
    answered: Option<Instant>,
}

impl Link {
    /// When the turn came of what was asked at `since`: with the answer before it, if that came later.
    fn turn(&self, since: Instant) -> Instant {
        self.answered.map_or(since, |at| at.max(since))
    }
}

/// How pieces are asked of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The smallest round trip seen.
    pub latency: Duration,
    /// Whether it speaks our messages; an original is asked for one piece at a time, by name.
    pub ours: bool,
}

/// A request that has no answer yet.
struct Asked {
    n: u64,
    since: Instant,
    name: Name,
    pieces: Vec<u32>,
}

/// A decision: ask this of that peer.
#[derive(Clone, Debug)]
pub struct Order {
    /// Whom.
    pub peer: PeerNo,
    /// What.
    pub get: Get,
    /// Why.
    pub why: Why,
}

/// The reason for an [`Order`].
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// No piece that is missing here has fewer copies.
    Rarest {
        /// How many peers have it.
        copies: u32,
        /// How many pieces of this holder are as rare.
        tied: usize,
        /// The holders that could be asked, with the chance that each had.
        holders: Vec<(PeerNo, f64)>,
    },
    /// Every missing piece was asked for; this one is late, and asked for once more.
    Late,
    /// It has nothing that is missing here and wasn't asked for: tell when that changes.
    News,
}

/// The rarest of what one peer could be asked for.
struct Rank {
    copies: u32,
    name: Name,
    /// Some of the pieces that are as rare, at random.
    sample: Vec<u32>,
    /// How many there are.
    tied: usize,
}

/// Everything that the choice of the next piece depends on.
#[derive(Default)]
pub struct Picker {
    files: BTreeMap<Name, Wanted>,
    links: BTreeMap<PeerNo, Link>,
    /// A moving mean of a piece's time, from its request, or from the answer that the holder gave before it.
    usual: Option<Duration>,
    n: u64,
}

impl Picker {
    /// Every request that can be made now. The caller sends them; until it is answered or released, each counts as made.
    pub fn manage_downloads(&mut self, now: Instant, rng: &mut impl Rng) -> Vec<Order> {
        let mut orders = Vec::new();
        while let Some(order) = self.next_order(now, rng) {
            orders.push(order);
        }
        for peer in self.links.keys().copied().collect::<Vec<_>>() {
            orders.extend(self.late(peer, now).or_else(|| self.news(peer, now)));
        }
        orders
    }

    /// The classic round: one piece, the rarest, one holder at random, whatever else is under way.
    pub fn classic_round(&mut self, now: Instant, rng: &mut impl Rng) -> Option<Order> {
        let order = self.next_order(now, rng)?;
        Some(self.narrow(order))
    }

    /// Names one candidate alone.
    fn narrow(&mut self, mut order: Order) -> Order {
        let asked = self
            .links
            .get_mut(&order.peer)
            .and_then(|link| link.asked.last_mut());
        if let (Some(file), Some(asked)) = (self.files.get_mut(&order.get.name), asked) {
            asked
                .pieces
                .drain(1..)
                .for_each(|idx| file.unclaim(idx, order.peer));
            order.get.pieces.truncate(1);
        }
        order
    }

    fn next_order(&mut self, now: Instant, rng: &mut impl Rng) -> Option<Order> {
        let ranks = self.rank_file_rarity(rng);
        let (piece, name, copies) = select_file(&ranks, rng)?;
        let holds = |peer: &PeerNo| {
            self.links[peer]
                .has
                .get(&name)
                .is_some_and(|has| has.get(piece))
        };
        let holders: Vec<_> = ranks
            .keys()
            .copied()
            .filter(holds)
            .map(|peer| (peer, self.latency(peer)))
            .collect();
        let (peer, chances) = select_peer(&holders, rng)?;
        let rank = ranks
            .get(&peer)
            .filter(|rank| rank.name == name && rank.copies == copies);
        let mut pieces = vec![piece];
        pieces.extend(
            rank.iter()
                .flat_map(|rank| &rank.sample)
                .copied()
                .filter(|idx| *idx != piece),
        );
        pieces.truncate(self.n_candidates(&name));
        let why = Why::Rarest {
            copies,
            tied: rank.map_or(1, |rank| rank.tied),
            holders: chances,
        };
        Some(self.ask(peer, name, pieces, now, Duration::ZERO, why))
    }

    /// For each peer that has a place free: the rarest of what it could be asked for.
    fn rank_file_rarity(&self, rng: &mut impl Rng) -> BTreeMap<PeerNo, Rank> {
        let nearest = self
            .links
            .values()
            .filter_map(|link| link.open)
            .map(|way| way.latency.max(NEAREST))
            .min();
        let in_flight: u64 = self
            .links
            .values()
            .flat_map(|link| &link.asked)
            .map(|asked| self.bytes(asked))
            .sum();
        let many = self.n_connections() >= MANY;
        let mut ranks = BTreeMap::new();
        for (peer, link) in &self.links {
            let Some(way) = link.open else { continue };
            let far = nearest.is_some_and(|nearest| way.latency > nearest * FAR);
            let one = many || far || !way.ours;
            if link.asked.len() >= if one { 1 } else { DEPTH } {
                continue;
            }
            for (name, has) in &link.has {
                let file = &self.files[name];
                let fits = in_flight == 0 || in_flight + file.piece_len <= IN_FLIGHT;
                let Some(rank) = fits.then(|| file.rank(name, has, rng)).flatten() else {
                    continue;
                };
                if ranks
                    .get(peer)
                    .is_none_or(|other: &Rank| rank.copies < other.copies)
                {
                    ranks.insert(*peer, rank);
                }
            }
        }
        ranks
    }

    /// The bytes that a request will bring.
    fn bytes(&self, asked: &Asked) -> u64 {
        let file = self
            .files
            .get(&asked.name)
            .filter(|_| !asked.pieces.is_empty());
        file.map_or(0, |file| file.piece_len)
    }

    fn latency(&self, peer: PeerNo) -> Duration {
        self.links
            .get(&peer)
            .and_then(|link| link.open)
            .map_or(NEAREST, |way| way.latency)
    }

    fn n_connections(&self) -> usize {
        let links = self.links.values();
        links.filter(|link| link.open.is_some()).count()
    }

    /// A fair share of what nobody was asked for yet: who claims more takes the choice from the others.
    fn n_candidates(&self, name: &Name) -> usize {
        let open = self.files[name].open.count() as usize;
        (open / self.n_connections().max(1)).clamp(1, CANDIDATES)
    }

    /// A piece that has been asked for of others, and should have come: asked for once more.
    fn late(&mut self, peer: PeerNo, now: Instant) -> Option<Order> {
        let link = self
            .links
            .get(&peer)
            .filter(|link| link.open.is_some() && link.asked.is_empty())?;
        let has = |(_, name, idx): &(Instant, &Name, u32)| {
            let has = link.has.get(*name);
            has.is_some_and(|has| has.get(*idx))
        };
        let due = self.due(peer).filter(has);
        let (_, name, idx) = due.min().filter(|(at, ..)| *at < now)?;
        let name = name.clone();
        Some(self.ask(peer, name, vec![idx], now, Duration::ZERO, Why::Late))
    }

    /// When each piece that was asked for of others than `peer` will be late: each time it is asked for, it is waited for
    /// twice as long, so that a silent holder holds up nothing, and a network that is only slow isn't flooded.
    fn due(&self, peer: PeerNo) -> impl Iterator<Item = (Instant, &Name, u32)> {
        let late = self.late_after();
        self.files.iter().flat_map(move |(name, file)| {
            file.claims.iter().filter_map(move |(idx, claims)| {
                if claims.iter().any(|claim| claim.came || claim.peer == peer) {
                    return None;
                }
                let turn = |claim: &Claim| self.links[&claim.peer].turn(claim.since);
                let last = claims.iter().map(turn).max()?;
                let times = 1 << (claims.len() - 1).min(8);
                Some((last + late * times, name, *idx))
            })
        })
    }

    /// After this time a piece is late.
    fn late_after(&self) -> Duration {
        (self.usual.unwrap_or(USUAL) * 2).max(SHORTEST)
    }

    fn news(&mut self, peer: PeerNo, now: Instant) -> Option<Order> {
        let link = self.links.get(&peer)?;
        if !link.open.is_some_and(|way| way.ours) || !link.asked.is_empty() {
            return None;
        }
        let name = self.files.keys().next()?.clone();
        // back in time to take over what will be late, be it asked for by then only
        let due = self.due(peer).map(|(at, ..)| at);
        let next = due.filter(|at| *at >= now).min();
        let wait = next.map_or(POLL, |at| at - now + TICK);
        let wait = wait.min(self.late_after()).min(POLL);
        Some(self.ask(peer, name, Vec::new(), now, wait, Why::News))
    }

    fn ask(
        &mut self,
        peer: PeerNo,
        name: Name,
        pieces: Vec<u32>,
        now: Instant,
        wait: Duration,
        why: Why,
    ) -> Order {
        let file = self
            .files
            .get_mut(&name)
            .expect("only wanted files are asked for");
        for idx in &pieces {
            file.open.clear(*idx);
            file.claims.entry(*idx).or_default().push(Claim {
                peer,
                since: now,
                came: false,
            });
        }
        self.n += 1;
        let asked = Asked {
            n: self.n,
            since: now,
            name: name.clone(),
            pieces: pieces.clone(),
        };
        self.links.entry(peer).or_default().asked.push(asked);
        Order {
            peer,
            get: Get {
                n: self.n,
                name,
                md5: file.md5,
                pieces,
                wait: wait.as_secs_f64(),
            },
            why,
        }
    }
}

impl Wanted {
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

/// The rarest piece that anybody could be asked for, ties at random; with its number of copies.
fn select_file(ranks: &BTreeMap<PeerNo, Rank>, rng: &mut impl Rng) -> Option<(u32, Name, u32)> {
    let copies = ranks.values().map(|rank| rank.copies).min()?;
    let rarest: Vec<&Rank> = ranks
        .values()
        .filter(|rank| rank.copies == copies)
        .collect();
    let rank = rarest[rng.random_range(0..rarest.len())];
    Some((rank.sample[0], rank.name.clone(), copies))
}

/// One of the holders at random, the nearer with the greater chance: in proportion to 1 / latency. With all chances.
fn select_peer(
    holders: &[(PeerNo, Duration)],
    rng: &mut impl Rng,
) -> Option<(PeerNo, Vec<(PeerNo, f64)>)> {
    let weights: Vec<f64> = holders
        .iter()
        .map(|(_, latency)| 1.0 / latency.max(&NEAREST).as_secs_f64())
        .collect();
    let all: f64 = weights.iter().sum();
    let mut roll = rng.random_range(0.0..1.0) * all;
    let chosen = weights.iter().position(|weight| {
        roll -= weight;
        roll < 0.0
    });
    let chances = holders
        .iter()
        .zip(&weights)
        .map(|((peer, _), weight)| (*peer, weight / all))
        .collect();
    holders
        .get(chosen.unwrap_or(0))
        .map(|(peer, _)| (*peer, chances))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::digest;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use crate::torrent::{BLOCKS_A_PIECE, MAX_PIECE_LEN, Torrent};

    /// A file of pieces of the longest kind, whose content nobody looks at.
    fn torrent(n_pieces: u32) -> Torrent {
        let size = u64::from(n_pieces) * u64::from(MAX_PIECE_LEN);
        let checkpoints = vec![crate::md5::INITIAL; n_pieces as usize * BLOCKS_A_PIECE];
        let name = Name::parse("f").expect("a name");
        Torrent::new(name, size, MAX_PIECE_LEN, digest(b"f"), checkpoints).expect("a torrent")
    }

    const NEAR: Way = Way {
        latency: Duration::from_millis(1),
        ours: true,
    };

    fn far(ms: u64) -> Way {
        Way {
            latency: Duration::from_millis(ms),
            ours: true,
        }
    }

    /// A picker that wants `n_pieces`, with peers from 1 that have these and are reached so.
    fn picker(n_pieces: u32, peers: &[(&[u32], Way)]) -> (Picker, Name) {
        let torrent = torrent(n_pieces);
        let mut picker = Picker::default();
        picker.want(&torrent, Bitfield::new(n_pieces));
        for (no, (has, way)) in (1..).zip(peers) {
            picker.peer_has(no, torrent.name(), has.iter().copied());
            picker.open(no, *way);
        }
        (picker, torrent.name().clone())
    }

    fn pieces(orders: &[Order]) -> Vec<u32> {
        orders
            .iter()
            .flat_map(|order| order.get.pieces.iter().copied())
            .collect()
    }

    #[test]
    fn the_rarest_comes_first_and_ties_are_random() {
        let mut seen = BTreeMap::<u32, usize>::new();
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            // 0 and 1 have three copies, 2 and 3 have one, 4 has two
            let (mut picker, _) = picker(
                5,
                &[
                    (&[0, 1, 2, 3, 4], NEAR),
                    (&[0, 1, 4], NEAR),
                    (&[0, 1], NEAR),
                ],
            );
            let first = picker
                .next_order(Instant::now(), &mut rng)
                .expect("something to ask for");
            assert_eq!(first.peer, 1, "only the first has the rarest");
            *seen.entry(first.get.pieces[0]).or_default() += 1;
        }
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert!(
            seen.values().all(|times| (60..=140).contains(times)),
            "a fair coin: {seen:?}"
        );
    }

    #[test]
    fn the_holder_is_a_random_choice_weighted_by_latency() {
        let mut asked = [0_usize; 4];
        for seed in 0..3000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut picker, _) = picker(1, &[(&[0], far(2)), (&[0], far(4)), (&[0], far(8))]);
            let order = picker
                .next_order(Instant::now(), &mut rng)
                .expect("something to ask for");
            asked[order.peer as usize] += 1;
        }
        // 4 : 2 : 1
        for (peer, expected) in [(1, 1714), (2, 857), (3, 429)] {
            assert!(
                asked[peer].abs_diff(expected) < 150,
                "peer {peer}: {asked:?}"
            );
        }
    }

    #[test]
    fn below_two_milliseconds_latency_makes_no_difference() {
        let holders = [
            (1, Duration::from_micros(10)),
            (2, Duration::from_micros(1990)),
        ];
        let (_, chances) =
            select_peer(&holders, &mut StdRng::seed_from_u64(1)).expect("two holders");
        assert_eq!(chances, [(1, 0.5), (2, 0.5)]);
    }

    #[test]
    fn far_peers_have_one_request_outstanding_and_near_ones_two() {
        let all: Vec<u32> = (0..64).collect();
        for (latency, depth) in [(2, 2), (16, 2), (17, 1)] {
            let (mut picker, _) = picker(64, &[(&all, NEAR), (&all, far(latency))]);
            let orders = picker.manage_downloads(Instant::now(), &mut StdRng::seed_from_u64(1));
            let of = |peer| orders.iter().filter(|order| order.peer == peer).count();
            assert_eq!((of(1), of(2)), (2, depth), "{latency} ms");
        }
        for (n_peers, depth) in [(MANY - 1, 2), (MANY, 1)] {
            let peers: Vec<(&[u32], Way)> = (0..n_peers).map(|_| (&all[..], NEAR)).collect();
            let (mut picker, _) = picker(64, &peers);
            picker
                .files
                .values_mut()
                .for_each(|file| file.piece_len = 1);
            let orders = picker.manage_downloads(Instant::now(), &mut StdRng::seed_from_u64(1));
            assert_eq!(orders.len(), n_peers * depth, "{n_peers} peers");
        }
        let original = Way {
            ours: false,
            ..NEAR
        };
        let (mut picker, _) = picker(64, &[(&all, original)]);
        assert_eq!(
            picker
                .manage_downloads(Instant::now(), &mut StdRng::seed_from_u64(1))
                .len(),
            1
        );
    }

    #[test]
    fn a_piece_is_asked_for_once_and_open_again_when_its_peer_is_gone() {
        let (mut picker, name) = picker(4, &[(&[0, 1, 2, 3], NEAR), (&[0, 1, 2, 3], NEAR)]);
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let orders = picker.manage_downloads(now, &mut rng);
        let mut asked = pieces(&orders);
        asked.sort_unstable();
        assert_eq!(asked, [0, 1, 2, 3], "each once: {orders:?}");
        assert!(pieces(&picker.manage_downloads(now, &mut rng)).is_empty());
        picker.forget(1);
        let order = orders
            .iter()
            .find(|order| order.peer == 2)
            .expect("two of the four");
        picker
            .answered(2, order.get.n, Some(order.get.pieces[0]), now)
            .expect("it was asked for");
        picker.landed(&name, order.get.pieces[0]);
        let again = pieces(&picker.manage_downloads(now, &mut rng));
        let first = orders.iter().filter(|order| order.peer == 1);
        assert!(
            first
                .flat_map(|order| &order.get.pieces)
                .all(|idx| again.contains(idx))
        );
    }

    #[test]
    fn candidates_are_a_fair_share_of_what_is_open() {
        let all: Vec<u32> = (0..64).collect();
        for (n_peers, expected) in [(1, 8), (8, 8), (16, 4), (64, 1)] {
            let peers: Vec<(&[u32], Way)> = (0..n_peers).map(|_| (&all[..], NEAR)).collect();
            let (mut picker, _) = picker(64, &peers);
            let order = picker
                .next_order(Instant::now(), &mut StdRng::seed_from_u64(1))
                .expect("something to ask for");
            assert_eq!(order.get.pieces.len(), expected, "{n_peers} peers");
        }
    }

    #[test]
    fn what_was_named_and_not_sent_is_open_again() {
        let (mut picker, _) = picker(8, &[(&[0, 1, 2, 3, 4, 5, 6, 7], NEAR)]);
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let first = picker.next_order(now, &mut rng).expect("all eight");
        assert_eq!(first.get.pieces.len(), 8);
        assert!(
            picker.answered(1, first.get.n, Some(99), now).is_none(),
            "it wasn't named"
        );
        picker
            .answered(1, first.get.n, Some(3), now)
            .expect("it was named");
        let mut second = picker
            .next_order(now, &mut rng)
            .expect("the other seven")
            .get
            .pieces;
        second.sort_unstable();
        assert_eq!(second, [0, 1, 2, 4, 5, 6, 7]);
    }

    #[test]
    fn a_late_piece_is_asked_for_again_and_waited_for_twice_as_long() {
        let (mut picker, name) = picker(1, &[(&[0], NEAR), (&[], NEAR), (&[], NEAR)]);
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let first = picker.manage_downloads(start, &mut rng);
        assert_eq!(pieces(&first), [0]);
        // the other two are told of it by news, and their polls answered
        for poll in first.iter().filter(|order| order.get.pieces.is_empty()) {
            picker.peer_has(poll.peer, &name, [0]);
            picker
                .answered(poll.peer, poll.get.n, None, start)
                .expect("it was asked");
        }
        assert!(picker.late(2, start + USUAL * 2).is_none(), "not late yet");
        let late = start + USUAL * 2 + Duration::from_millis(1);
        let second = picker.manage_downloads(late, &mut rng);
        assert_eq!(pieces(&second), [0]);
        assert_eq!(
            second.iter().filter(|order| order.why == Why::Late).count(),
            1,
            "{second:?}"
        );
        for poll in second.iter().filter(|order| order.get.pieces.is_empty()) {
            let answered = picker.answered(poll.peer, poll.get.n, None, late);
            answered.expect("it was asked");
        }
        // the third peer is asked once the second is late, too; then there is nobody left
        assert!(picker.late(3, late + USUAL * 4).is_none(), "not late yet");
        let then = late + USUAL * 4 + Duration::from_millis(1);
        assert_eq!(pieces(&picker.manage_downloads(then, &mut rng)), [0]);
        assert!(pieces(&picker.manage_downloads(then + USUAL * 99, &mut rng)).is_empty());
    }

    #[test]
    fn bytes_in_flight_are_bounded() {
        let all: Vec<u32> = (0..64).collect();
        let peers: Vec<(&[u32], Way)> = all.chunks(8).map(|has| (has, NEAR)).collect();
        let (mut picker, _) = picker(64, &peers);
        let orders = picker.manage_downloads(Instant::now(), &mut StdRng::seed_from_u64(1));
        let bodies = orders
            .iter()
            .filter(|order| !order.get.pieces.is_empty())
            .count();
        assert_eq!(bodies, (IN_FLIGHT / u64::from(MAX_PIECE_LEN)) as usize);
    }

    #[test]
    fn every_idle_connection_of_ours_waits_for_news_while_something_is_missing() {
        let (mut picker, name) = picker(
            1,
            &[
                (&[], NEAR),
                (
                    &[],
                    Way {
                        ours: false,
                        ..NEAR
                    },
                ),
            ],
        );
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let orders = picker.manage_downloads(now, &mut rng);
        assert_eq!(orders.len(), 1);
        assert_eq!(
            (orders[0].peer, &orders[0].why, orders[0].get.pieces.len()),
            (1, &Why::News, 0)
        );
        assert!(
            picker.manage_downloads(now, &mut rng).is_empty(),
            "one poll at a time"
        );
        picker.unwant(&name);
        picker.answered(1, orders[0].get.n, None, now);
        assert!(picker.is_idle() && picker.manage_downloads(now, &mut rng).is_empty());
    }

    #[test]
    fn a_bad_copy_is_not_asked_for_again() {
        let (mut picker, name) = picker(1, &[(&[0], NEAR)]);
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let order = picker.next_order(now, &mut rng).expect("the one piece");
        picker.answered(1, order.get.n, Some(0), now);
        picker.dropped(1, &name, 0);
        picker.peer_lacks(1, &name, 0);
        assert!(picker.next_order(now, &mut rng).is_none());
        picker.peer_has(2, &name, [0]);
        picker.open(2, NEAR);
        assert_eq!(
            picker.next_order(now, &mut rng).map(|order| order.peer),
            Some(2)
        );
    }

    #[test]
    fn a_bad_copy_of_a_piece_that_another_content_lacks_means_nothing() {
        let (mut picker, name) = picker(9, &[(&[8], NEAR)]);
        picker.want(&torrent(2), Bitfield::new(2));
        picker.peer_has(1, &name, [0, 1]);
        picker.peer_lacks(1, &name, 8);
        picker.peer_lacks(1, &name, 0);
        assert_eq!(picker.nowhere(&name), [0]);
    }

    #[test]
    fn a_classic_round_is_one_piece_of_one_holder() {
        let (mut picker, _) = picker(
            16,
            &[(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], NEAR), (&[0, 1], NEAR)],
        );
        let order = picker
            .classic_round(Instant::now(), &mut StdRng::seed_from_u64(1))
            .expect("a piece");
        assert_eq!((order.peer, order.get.pieces.len()), (1, 1));
        assert!(order.get.pieces[0] >= 2, "the rarest: {order:?}");
    }

    /// Whatever happens, in whatever order: a missing piece is open or claimed, and one that is here is neither.
    #[test]
    fn no_piece_is_ever_forgotten() {
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..50 {
            let all: Vec<u32> = (0..40).collect();
            let (mut picker, name) = picker(
                40,
                &[(&all, NEAR), (&all[..20], far(30)), (&all[10..], NEAR)],
            );
            let mut now = Instant::now();
            let mut open: Vec<Order> = Vec::new();
            for _ in 0..300 {
                now += Duration::from_millis(100);
                open.extend(picker.manage_downloads(now, &mut rng));
                if !open.is_empty() {
                    let order = open.swap_remove(rng.random_range(0..open.len()));
                    let got = order.get.pieces.first().copied();
                    match rng.random_range(0..6) {
                        0 => drop(picker.answered(order.peer, order.get.n, None, now)),
                        1 => {
                            picker.release(order.peer);
                            open.retain(|other| other.peer != order.peer);
                            picker.open(order.peer, NEAR);
                        }
                        2 => {
                            if picker.answered(order.peer, order.get.n, got, now).is_some()
                                && let Some(idx) = got
                            {
                                picker.dropped(order.peer, &name, idx);
                            }
                        }
                        _ => {
                            if picker.answered(order.peer, order.get.n, got, now).is_some()
                                && let Some(idx) = got
                            {
                                picker.landed(&name, idx);
                            }
                        }
                    }
                }
                let file = &picker.files[&name];
                for idx in 0..40 {
                    let states = [
                        file.have.get(idx),
                        file.open.get(idx),
                        file.claims.contains_key(&idx),
                    ];
                    assert_eq!(
                        states.iter().filter(|state| **state).count(),
                        1,
                        "piece {idx}: {states:?}"
                    );
                }
            }
            assert!(
                picker.files[&name].have.is_full(),
                "300 steps are enough for 40 pieces"
            );
        }
    }
}
