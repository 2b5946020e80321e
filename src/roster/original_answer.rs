//! The answer to an original's ping: an array that the original reads at once.
//!
//! The original's tracker sends all that it knows, and its peer breaks where that is more than one read. Here an answer that
//! doesn't fit is a random choice of what the asker lacks, and the next one names something else. This module owns that
//! choice; it never asks the roster, but works on the peers that it was given.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use rand::{Rng, RngExt};

use super::holdings::{Holding, Holdings, ListedPeer};
use crate::bitfield::Bitfield;
use crate::protocol::to_bytes;
use crate::torrent::piece_name;

/// Peers that one answer names, at most 255: it has room for more of their names rather than for more of them.
pub(super) const PEERS_NAMED: usize = 10;
/// An answer names at most this many holders of one name.
const HOLDERS_NAMED: usize = 2;
/// Names that are weighed for one answer, so that it takes some milliseconds and not a second.
const NAMES_WEIGHED: usize = 40_000;

/// What an answer to an original is made of.
pub struct OriginalAnswer {
    /// The most bytes that it may have.
    pub(super) cap: usize,
    /// What the asker has.
    pub(super) asker: Option<Arc<Holdings>>,
    /// The files that it is about, where not all fit.
    pub(super) wanted: Vec<Arc<str>>,
    pub(super) peers: Vec<ListedPeer>,
}

/// What comes first in an answer: the smallest, by these in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct NameRank {
    /// Whether the asker has it.
    is_had: bool,
    /// Whether it is of a file that this answer isn't about.
    is_aside: bool,
    /// Which of the name's holders it is: second ones come after all first ones.
    nth_holder: u8,
    /// Of how many: rare names come first.
    n_holders: u8,
    /// Ties are broken at random.
    chance: u32,
}

/// A name that a peer can be asked for: of a whole file, or of a piece.
struct OfferedName<'a> {
    rank: NameRank,
    file: &'a str,
    piece: Option<u32>,
    /// Which of the peers has it.
    peer: u8,
}

impl OfferedName<'_> {
    /// Writes the name in JSON, with a comma.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(match self.piece {
            None => to_bytes(&self.file),
            Some(idx) => to_bytes(&piece_name(self.file, idx)),
        });
        out.push(b',');
    }
}

impl OriginalAnswer {
    /// Writes the answer: first the names that the asker lacks, then those that it has, and then peers that have nothing.
    pub fn to_bytes(&self, rng: &mut impl Rng) -> Vec<u8> {
        let mut names = self.offered_names(rng);
        names.sort_unstable_by_key(|name| name.rank);
        let mut page = OriginalPage::new(self.cap, &self.peers);
        for name in &names {
            if !page.add(name) {
                break;
            }
        }
        page.into_bytes()
    }

    /// The names that the peers have.
    fn offered_names(&self, rng: &mut impl Rng) -> Vec<OfferedName<'_>> {
        let mut files: BTreeMap<&str, Vec<(u8, &Holding)>> = BTreeMap::new();
        for (peer, listed) in (0..).zip(&self.peers) {
            for (name, held) in &listed.holdings.files {
                files.entry(name).or_default().push((peer, held));
            }
        }
        let files: Vec<_> = files.into_iter().collect();
        let mut names = Vec::new();
        // of very many files, others are weighed each time
        let (last, first) = files.split_at(rng.random_range(..files.len().max(1)));
        for (file, holders) in first.iter().chain(last) {
            if names.len() >= NAMES_WEIGHED {
                break;
            }
            self.offer(file, holders, rng, &mut names);
        }
        names
    }

    /// Adds the names of a file, each with some of those who can be asked for it, beginning with any of them.
    fn offer<'a>(
        &self,
        file: &'a str,
        holders: &[(u8, &Holding)],
        rng: &mut impl Rng,
        names: &mut Vec<OfferedName<'a>>,
    ) {
        let own = self.asker.as_ref().and_then(|own| own.files.get(file));
        let is_aside = !self.wanted.iter().any(|wanted| **wanted == *file);
        let bits = holders.iter().find_map(|(_, held)| held.pieces.as_ref());
        let pieces = (0..bits.map_or(0, Bitfield::len)).map(Some);
        for piece in iter::once(None).chain(pieces) {
            let is_had = own.is_some_and(|own| own.named || own.has(piece));
            let able = holders.iter().filter(|(_, held)| held.has(piece));
            let able: Vec<u8> = able.map(|(peer, _)| *peer).collect();
            let (n_holders, chance) = (able.len() as u8, rng.random::<u32>());
            let from = chance as usize % able.len().max(1);
            let some = able.iter().cycle().skip(from);
            let some = some.take(HOLDERS_NAMED.min(able.len()));
            for (nth_holder, peer) in (0..).zip(some) {
                let rank = NameRank {
                    is_had,
                    is_aside,
                    nth_holder,
                    n_holders,
                    chance,
                };
                let peer = *peer;
                names.push(OfferedName {
                    rank,
                    file,
                    piece,
                    peer,
                });
            }
        }
    }
}

/// The answer as it fills up.
struct OriginalPage {
    /// The bytes that are left.
    room: usize,
    entries: Vec<OriginalEntry>,
}

/// A peer's place in the answer. It counts once it has a name.
struct OriginalEntry {
    text: Vec<u8>,
    is_listed: bool,
}

/// How an entry ends.
const TAIL: &[u8] = b"]},";

impl OriginalPage {
    fn new(cap: usize, peers: &[ListedPeer]) -> Self {
        let entry = |peer: &ListedPeer| {
            let mut text = to_bytes(&peer.bare_entry());
            // originals know what stands up to the names
            let names = text.iter().position(|byte| *byte == b'[');
            text.truncate(names.map_or(0, |at| at + 1));
            let is_listed = false;
            OriginalEntry { text, is_listed }
        };
        Self {
            room: cap - "[]".len(),
            entries: peers.iter().map(entry).collect(),
        }
    }

    /// Adds a name to its holder's entry, where there is room for it. Returns false once there is no room for any.
    fn add(&mut self, name: &OfferedName) -> bool {
        let entry = &mut self.entries[usize::from(name.peer)];
        let before = entry.text.len();
        name.write(&mut entry.text);
        let head = match entry.is_listed {
            true => 0,
            false => before + TAIL.len(),
        };
        match self.room.checked_sub(entry.text.len() - before + head) {
            Some(left) => (self.room, entry.is_listed) = (left, true),
            None => entry.text.truncate(before),
        }
        self.room >= "\"x\",".len()
    }

    /// The entries with names, and as many without as there is room for.
    fn into_bytes(mut self) -> Vec<u8> {
        let mut out = vec![b'['];
        self.entries.sort_by_key(|entry| !entry.is_listed);
        for mut entry in self.entries {
            if entry.is_listed {
                entry.text.pop(); // the comma behind its last name
            } else {
                match self.room.checked_sub(entry.text.len() + TAIL.len()) {
                    Some(left) => self.room = left,
                    None => break,
                }
            }
            out.extend_from_slice(&entry.text);
            out.extend_from_slice(TAIL);
        }
        if out.len() > 1 {
            out.pop(); // the comma behind the last entry
        }
        out.push(b']');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashSet};

    use crate::protocol::PeerEntry;
    use crate::protocol::{ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK};
    use crate::roster::Reachability;
    use crate::roster::Roster;
    use crate::roster::tests::{
        OURS, ends, here, lan, list, of_names, original_list, publish, rng, summary,
    };

    fn names(list: &[PeerEntry]) -> Vec<&str> {
        list.iter()
            .flat_map(|peer| peer.file_list.iter().map(String::as_str))
            .collect()
    }

    #[test]
    fn originals_are_given_ipv4_peers_with_the_names_that_each_serves() {
        let mut roster = Roster::new(Reachability::Remote);
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
        let json = roster
            .original_list(lan(9), 5, &mut rng())
            .to_bytes(&mut rng());
        assert!(
            json.starts_with(br#"[{"ip":"10.0.0."#) && json.ends_with(b"}]"),
            "{}",
            String::from_utf8_lossy(&json)
        );
    }

    /// A swarm of 30 peers of ours with 1,024 pieces, the first whole, and an original that has the first 100.
    fn large_swarm() -> Roster {
        let mut roster = Roster::new(Reachability::Remote);
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
                .set_list(asker, 5, None, &of_names(&parts))
                .expect("a fine list");
        }
        roster
    }

    #[test]
    fn an_originals_answer_names_first_what_is_rare() {
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
        let mut roster = Roster::new(Reachability::Remote);
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
            "\u{1}".repeat(200),
            "\"\\".repeat(100),
            "é".repeat(100),
            "x".repeat(5000),
            String::new(),
            "\n\u{7f}".to_owned(),
        ];
        let mut roster = Roster::new(Reachability::Remote);
        let roomy = "name ".repeat(40);
        for last in 2..60 {
            let names = odd
                .iter()
                .map(|name| format!("{name}{last}"))
                .chain([roomy.clone()]);
            let names = of_names(&names.collect::<Vec<_>>());
            roster
                .set_list(lan(last), u16::MAX, (last % 2 == 0).then_some(1), &names)
                .expect("a fine list");
        }
        for (asker, cap) in [(here(), ORIGINAL_CAP), (lan(99), ORIGINAL_CAP_OFF_LOOPBACK)] {
            for seed in 0..20 {
                let (len, entries) = original_list(&roster, asker, 1, seed);
                assert!(len <= cap && !entries.is_empty(), "{len}");
            }
        }
        let nobody = original_list(&Roster::new(Reachability::Local), here(), 1, 1);
        assert_eq!(nobody, (2, vec![]));
    }
}
