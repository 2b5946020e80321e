//! Who is on an answer: everybody in a small swarm, and a random sample of a large one.
//!
//! The sample is random with one exception: peers that list what the asker lacks come first, and among them some holders of
//! the rarest pieces. Chance alone would leave these out as long as they are few. One address has half of the places at most,
//! as long as others fill the rest: a machine may pretend to be many peers. This module never changes the roster.

use std::ptr;
use std::sync::Arc;

use rand::seq::index;
use rand::{Rng, RngExt};

use super::address::PeerKey;
use super::{KnownPeer, Roster};

/// At most this part of a sample is there for its rare pieces: a peer must know others, too.
const RARE_SHARE: usize = 5;
/// An answer is about at most this many files. A peer that lacks more is told of others by the next answer.
pub(super) const WANTED: usize = 4;
/// Draws for each place in a sample: some draw a peer twice, or one that doesn't fit.
const TRIES: usize = 4;

/// A sample as it fills up.
struct Sample<'a, F> {
    roster: &'a Roster,
    chosen: Vec<&'a KnownPeer>,
    room: usize,
    fits: F,
    /// The most peers of one address.
    of_one: usize,
}

impl<F: Fn(&KnownPeer) -> bool> Sample<'_, F> {
    /// Takes up to `most` more, at random.
    fn take(&mut self, most: usize, from: &[PeerKey], rng: &mut impl Rng) {
        let until = (self.chosen.len() + most).min(self.room);
        let tries = TRIES * self.room;
        if from.len() <= tries {
            let all = index::sample(rng, from.len(), from.len());
            all.into_iter().for_each(|at| self.add(&from[at], until));
        } else {
            for _ in 0..tries {
                self.add(&from[rng.random_range(..from.len())], until);
                if self.chosen.len() == until {
                    break;
                }
            }
        }
    }

    fn add(&mut self, key: &PeerKey, until: usize) {
        if self.chosen.len() == until {
            return;
        }
        let Some(peer) = self.roster.peers.get(key) else {
            return;
        };
        let is_new = !self.chosen.iter().any(|other| ptr::eq(*other, peer));
        let ip = peer.holdings.addr.ip();
        let neighbours = || {
            self.chosen
                .iter()
                .filter(|other| other.holdings.addr.ip() == ip)
        };
        let is_crowd = || self.of_one < self.room && neighbours().count() >= self.of_one;
        if is_new && (self.fits)(peer) && !is_crowd() {
            self.chosen.push(peer);
        }
    }
}

/// At most `most` of them, at random.
fn some_of(all: &[Arc<str>], most: usize, rng: &mut impl Rng) -> Vec<Arc<str>> {
    let some = index::sample(rng, all.len(), most.min(all.len()));
    some.into_iter().map(|at| Arc::clone(&all[at])).collect()
}

impl Roster {
    /// The files that an answer should be about: those that were asked for, or else those that the asker has in part, or else
    /// any.
    pub(super) fn wanted(
        &self,
        asker: Option<&KnownPeer>,
        mut wanted: Vec<Arc<str>>,
        rng: &mut impl Rng,
    ) -> Vec<Arc<str>> {
        if let (true, Some(asker)) = (wanted.is_empty(), asker) {
            wanted.extend(asker.holdings.in_part().cloned());
        }
        match wanted.is_empty() {
            true => some_of(self.files.live(), WANTED, rng),
            false => some_of(&wanted, WANTED, rng),
        }
    }

    /// Draws peers for an answer: all others that fit where there are at most `room`, and else a sample of that many.
    pub(super) fn sample(
        &self,
        room: usize,
        asker: Option<&KnownPeer>,
        wanted: &[Arc<str>],
        rng: &mut impl Rng,
        fits: impl Fn(&KnownPeer) -> bool,
    ) -> Vec<&KnownPeer> {
        let everyone = self.everyone.as_slice();
        let is_asker = |peer: &KnownPeer| asker.is_some_and(|asker| ptr::eq(asker, peer));
        let fits = |peer: &KnownPeer| !is_asker(peer) && fits(peer);
        if self.n_others(asker) <= room {
            let all = everyone.iter().filter_map(|key| self.peers.get(key));
            return all.filter(|peer| fits(peer)).collect();
        }
        let mut sample = Sample {
            roster: self,
            chosen: Vec::with_capacity(room),
            room,
            fits,
            of_one: room / 2,
        };
        let wanted = wanted.iter().filter_map(|name| self.files.get(name));
        let wanted: Vec<_> = wanted.collect();
        let share = wanted.len().max(1);
        for file in &wanted {
            let rare = (room / RARE_SHARE).div_ceil(share);
            sample.take(rare, &file.rare, rng);
        }
        for of_one in [room / 2, room] {
            sample.of_one = of_one;
            for (nth, file) in wanted.iter().enumerate() {
                let left = room - sample.chosen.len();
                sample.take(left.div_ceil(share - nth), file.holders.as_slice(), rng);
            }
            sample.take(room, everyone, rng);
        }
        sample.chosen
    }

    /// How many there are beside the asker.
    pub(super) fn n_others(&self, asker: Option<&KnownPeer>) -> usize {
        self.peers.len() - usize::from(asker.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    use crate::bitfield::Bitfield;
    use crate::protocol::{SwarmList, parse};
    use crate::roster::tests::{OURS, lan, list, publish, summary};
    use crate::roster::{Endpoints, PEERS_LISTED, Reachability, Roster};
    use crate::torrent::Name;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    /// From one of many machines.
    fn host(n: u16) -> Endpoints {
        let [high, low] = n.to_be_bytes();
        let peer = [10, 1, high, low].into();
        Endpoints { peer, ..lan(1) }
    }

    /// `of_each` peers of each of some files: each has the first half of the pieces but one, which no other has.
    fn swarms(n_files: u16, of_each: u16) -> Roster {
        let mut roster = Roster::new(Reachability::Remote);
        for file in 0..n_files {
            let name = format!("f{file}");
            publish(&mut roster, lan(2), 5, &summary(&name, 64, &name)).expect("the first");
            for nth in 0..of_each {
                let mut bits = Bitfield::new(64);
                (0..32).for_each(|idx| {
                    bits.set(idx);
                });
                bits.clear(u32::from(nth) % 32);
                let peer = host(file * of_each + nth);
                list(&mut roster, peer, 5, OURS, &[], &[(&name, &bits.to_hex())]);
            }
        }
        roster
    }

    fn ask(roster: &mut Roster, asker: Endpoints, wants: &[Name], seed: u64) -> SwarmList {
        let rng = &mut StdRng::seed_from_u64(seed);
        let answer = roster.swarm_list(asker, 5, wants, None, rng);
        parse(&answer.to_bytes(std::time::Duration::ZERO)).expect("its own bytes")
    }

    #[test]
    fn of_a_large_swarm_a_sample_is_told() {
        let most = PEERS_LISTED as u16;
        for (name, n_hosts, expected) in [
            ("as many as are listed", most - 1, (PEERS_LISTED, None)),
            ("one more", most, (PEERS_LISTED, Some(PEERS_LISTED + 1))),
            ("many", 400, (PEERS_LISTED, Some(401))),
        ] {
            let list = ask(&mut swarms(1, n_hosts), lan(9), &[], 1);
            let different: BTreeSet<_> = list.peers.iter().map(|peer| &peer.ip).collect();
            assert_eq!((different.len(), list.n_peers), expected, "{name}");
            assert_eq!(list.torrents.map(|files| files.len()), Some(1), "{name}");
        }
    }

    #[test]
    fn who_pretends_to_be_many_hides_nobody() {
        for (others, expected) in [
            (0, PEERS_LISTED),
            (1, PEERS_LISTED - 1),
            (100, PEERS_LISTED / 2),
        ] {
            let mut roster = swarms(1, others);
            for port in 1..=150 {
                list(&mut roster, lan(66), port, OURS, &["f0"], &[]);
            }
            for seed in 0..100 {
                let peers = ask(&mut roster, lan(9), &[], seed).peers;
                let n = peers.iter().filter(|peer| peer.ip == "10.0.0.66").count();
                assert_eq!(peers.len(), PEERS_LISTED);
                assert!(n <= expected, "{n} of one address beside {others}");
            }
        }
    }

    #[test]
    fn everybody_comes_equally_often_but_who_has_rare_pieces() {
        let mut roster = swarms(1, 300);
        // the publisher alone has the second half; it listed long before all others
        list(&mut roster, lan(2), 5, OURS, &["f0"], &[]);
        let (turns, mut seen) = (2000, BTreeMap::new());
        for seed in 0..turns {
            for peer in ask(&mut roster, host(0), &[], seed).peers {
                *seen.entry(peer.ip).or_insert(0) += 1;
            }
        }
        assert_eq!(
            seen.remove("10.0.0.2"),
            Some(turns),
            "the rarest, each time"
        );
        assert_eq!(seen.len(), 299, "everybody but the asker");
        let rare: Vec<u64> = seen.values().copied().filter(|n| *n > 600).collect();
        assert!(rare.len() < super::super::files::RARE_KEPT, "{rare:?}");
        // 49 places for 299: 328 times, give or take six times the deviation
        let others = seen.values().filter(|n| **n <= 600);
        assert!(others.clone().all(|n| (228..428).contains(n)), "{seen:?}");
    }

    #[test]
    fn a_list_that_did_not_change_shows_what_has_become_rare() {
        let mut roster = swarms(1, 0);
        let name = "f0";
        let rare = |roster: &Roster| roster.files.get(name).expect("published").rare.clone();
        // many others have all pieces, and then only one of them
        for digits in ["ffffffffffffffff", "8000000000000000"] {
            for nth in 10..40 {
                list(&mut roster, host(nth), 5, OURS, &[], &[(name, digits)]);
            }
        }
        let seed = roster.key(lan(2), 5, OURS);
        assert!(!rare(&roster).contains(&seed), "it was pushed out");
        list(&mut roster, lan(2), 5, OURS, &[name], &[]);
        assert!(rare(&roster).contains(&seed));
    }

    #[test]
    fn of_many_files_those_come_first_that_the_asker_lacks() {
        let mut roster = swarms(10, 100);
        let of = |list: &SwarmList, file: &str| {
            let has = list
                .peers
                .iter()
                .filter(|peer| peer.pieces.contains_key(file));
            has.count()
        };
        let in_part = ask(&mut roster, host(0), &[], 1);
        assert!(of(&in_part, "f0") >= PEERS_LISTED - 1, "and its publisher");
        let wants = [Name::parse("f7").expect("a name")];
        let by_name = ask(&mut roster, host(0), &wants, 1);
        assert!(of(&by_name, "f7") >= PEERS_LISTED - 1, "what it asked for");
        let newcomer = ask(&mut roster, lan(9), &[], 1);
        let files = (0..10).filter(|file| of(&newcomer, &format!("f{file}")) > 0);
        assert!(files.count() >= WANTED, "some of several");
        let few = [Name::parse("nobody has it").expect("a name")];
        assert_eq!(ask(&mut roster, lan(9), &few, 1).peers.len(), PEERS_LISTED);
    }

    #[test]
    fn an_originals_sample_has_what_it_lacks() {
        let mut roster = swarms(10, 100);
        list(&mut roster, lan(9), 5, None, &["f3.part0001"], &[]);
        let (_, entries) = crate::roster::tests::original_list(&roster, lan(9), 5, 1);
        let names: Vec<&String> = entries.iter().flat_map(|entry| &entry.file_list).collect();
        assert!(names.len() > 40, "as many as fit: {names:?}");
        let of_it = |name: &&&String| name.starts_with("f3.part") && **name != "f3.part0001";
        assert_eq!(names.iter().filter(of_it).count(), names.len());
    }
}
