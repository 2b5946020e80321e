//! How much a peer is asked for at a time: who has a place free for another request, and how many pieces that names.
//!
//! A connection should never stand idle while its holder has something to send. How many requests that takes follows from
//! its rate and its delay, and neither needs to be known: the holder says for how long it had waited for a request, and this
//! end knows for how long nothing came. Where both did, there was a place too few ([`Picker::stood_idle`]).

use std::time::{Duration, Instant};

use super::{IN_FLIGHT, Link, NEAREST, PeerId, Picker};
use crate::torrent::Name;

/// Requests outstanding on a connection where there are few: one whose answer is on its way, and one behind it, so that the
/// holder never waits.
const DEPTH: usize = 2;
/// From this many connections on, the others fill the pauses, and each has one request outstanding.
pub(super) const MANY: usize = 6;
/// A peer whose latency is this many times the nearest's has one request outstanding, not two.
const FAR: u32 = 8;
/// What each answer that was not waited for takes off the further places: they are given up again once they aren't needed.
const GIVEN_UP: f64 = 1.0 / 32.0;
/// A pause that is shorter than this share of a piece's usual time isn't worth another place.
const PAUSE: u32 = 16;
/// The most bytes asked for over one connection: 1 Gbit/s over 130 ms.
const REACH: u64 = IN_FLIGHT / 4;

impl Picker {
    /// The peers that can be asked for another piece now.
    pub(super) fn peers_with_a_place_free(&self) -> Vec<PeerId> {
        let places = self.places();
        let free = |(_, link): &(&PeerId, &Link)| link.asked.len() < places(link);
        let free = self.links.iter().filter(free);
        free.map(|(peer, _)| *peer).collect()
    }

    /// How many requests may be outstanding on a connection.
    fn places(&self) -> impl Fn(&Link) -> usize + use<> {
        let open = |link: &Link| link.open.map(|route| route.latency.max(NEAREST));
        let nearest = self.links.values().filter_map(open).min();
        let many = self.n_connections() >= MANY;
        move |link| {
            let Some(route) = link.open else { return 0 };
            let far = nearest.is_some_and(|nearest| route.latency > nearest * FAR);
            let one = many || far || route.one_at_a_time;
            let usual = if one { 1 } else { DEPTH };
            usual + link.further as usize
        }
    }

    /// Returns true if a request that is made now takes the last place of a connection that is in use: whether the places
    /// are enough shows only while all are taken.
    pub(super) fn takes_last_place(&self, peer: PeerId, now: Instant) -> bool {
        let Some(link) = self.links.get(&peer) else {
            return false;
        };
        let just_answered = || link.answered.is_some_and(|at| now - at < NEAREST);
        let in_use = !link.asked.is_empty() || just_answered();
        in_use && link.asked.len() + 1 >= self.places()(link)
    }

    /// Notes that a connection stood idle for `idle` before the answer to request `n` began. That share of a round trip was
    /// lost, so it gets as many more places; each answer that came without a pause takes a little of them back.
    pub fn stood_idle(&mut self, peer: PeerId, n: u64, idle: Duration, now: Instant) {
        let Some(asked) = self.asked(peer, n) else {
            return;
        };
        let (round_trip, last_place) =
            (now.saturating_duration_since(asked.since), asked.last_place);
        let idle = idle.min(round_trip).min(self.longest_pause(peer));
        let worth = NEAREST.max(self.usual.unwrap_or_default() / PAUSE);
        let file = self.files.get(&asked.get.name);
        let most = file.map_or(0.0, |file| (REACH / file.piece_len) as f64);
        let places = self.places();
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        if idle.is_zero() {
            link.further -= GIVEN_UP;
        } else if last_place && idle > worth {
            link.further += places(link) as f64 * idle.div_duration_f64(round_trip);
        }
        link.further = link.further.clamp(0.0, most);
    }

    /// The longest pause of a connection that counts: where there are many, the others fill any but those that the network's
    /// own delay makes.
    fn longest_pause(&self, peer: PeerId) -> Duration {
        match self.n_connections() {
            MANY.. => self.latency(peer),
            _ => Duration::MAX,
        }
    }

    /// The pieces that a request names beside the chosen one, of the `tied` ones that are equally rare at this holder: the fair
    /// share of one place among those of all who have that piece, as whoever claims more takes the choice from others. A piece
    /// that is here in part is asked for alone, block by block; and an original is asked for one by its name.
    pub(super) fn candidates(
        &self,
        peer: PeerId,
        name: &Name,
        piece: u32,
        ties: &[u32],
        tied: usize,
        most: usize,
    ) -> Vec<u32> {
        let file = &self.files[name];
        let has = |link: &&Link| link.has.get(name).is_some_and(|has| has.get(piece));
        let places: usize = self.links.values().filter(has).map(self.places()).sum();
        let in_part = |idx: &u32| file.missing_blocks.contains_key(idx);
        let route = self.links[&peer].open;
        let one = route.is_none_or(|route| route.one_at_a_time);
        let most = if one { 1 } else { most };
        let mut pieces = vec![piece];
        if !in_part(&piece) {
            let others = ties.iter().filter(|idx| **idx != piece && !in_part(idx));
            pieces.extend(others);
        }
        pieces.truncate((tied / places.max(1)).clamp(1, most));
        pieces
    }
}
