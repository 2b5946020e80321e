//! The answer to an original's ping: an array that fits its one read. Pure.
//!
//! The original hands out all that it knows, and breaks where that is more than its peer reads at once. Here an answer that
//! doesn't fit is what helps the asker most; the next one names something else.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::peer::json_len;
use super::{Ends, Peer, Roster, addr_of, ip_for};
use crate::bitfield::Bitfield;
use crate::net::is_local;
use crate::protocol::{ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK, PeerEntry};
use crate::torrent::Name;

/// Whole files that are looked at for one answer, so that it takes a millisecond, not a second.
const NAMES_WEIGHED: usize = 20_000;

impl Roster {
    /// IPv4 peers with the names that an original may ask each for. First come names that it lacks, the rarest first; then
    /// second holders; then what it has; then the rest.
    pub fn original_list(&self, asker: Ends, port: u16, rng: &mut impl Rng) -> Vec<PeerEntry> {
        let own = self.key(addr_of(asker, port, None));
        let cap = if is_local(asker.peer, asker.own) {
            ORIGINAL_CAP
        } else {
            ORIGINAL_CAP_OFF_LOOPBACK
        };
        let reaches = |peer: &Peer| ip_for(asker, peer.addr.ip()).is_ipv4();
        let mut holders = self.others(Some(own), asker, rng, |peer| {
            peer.has_any() && reaches(peer)
        });
        holders.shuffle(rng);
        let offers = offers(&holders, self.peers.get(&own), cap, rng);
        let mut page = Page::new(&holders, cap);
        let rest = usize::MAX;
        for (had, nths) in [
            (false, 0..1),
            (false, 1..2),
            (true, 0..1),
            (false, 2..rest),
            (true, 1..rest),
        ] {
            for offer in offers.iter().filter(|offer| offer.had == had) {
                let turn = offer.holders.iter().skip(nths.start).take(nths.len());
                turn.for_each(|holder| page.add(*holder, offer));
            }
        }
        let idle = self.others(Some(own), asker, rng, |peer| {
            !peer.has_any() && reaches(peer)
        });
        page.done(&idle)
    }
}

/// A name for the list, and who can be asked for it, in random order.
struct Offer {
    name: String,
    /// Whether the asker has it.
    had: bool,
    holders: Vec<usize>,
}

/// Something that has a name among originals, and its holders by their places.
enum Item<'a> {
    File(&'a str, &'a [usize]),
    Piece(&'a Name, u32, &'a [(usize, &'a Bitfield)]),
}

impl Item<'_> {
    /// The least bytes that its name takes in JSON.
    fn min_len(&self) -> usize {
        match self {
            Self::File(name, _) => name.len() + "\"\",".len(),
            Self::Piece(name, ..) => name.as_str().len() + "\".part0001\",".len(),
        }
    }

    fn offer(&self, had: bool, rng: &mut impl Rng) -> Offer {
        let (name, mut holders): (String, Vec<usize>) = match self {
            Self::File(name, holders) => ((*name).to_owned(), holders.to_vec()),
            Self::Piece(name, idx, of) => {
                let able = of.iter().filter(|(_, bits)| bits.get(*idx));
                (name.of_piece(*idx), able.map(|(at, _)| *at).collect())
            }
        };
        holders.shuffle(rng);
        Offer { name, had, holders }
    }
}

/// The names that can fit: those that the asker lacks first, then the rarest, ties at random.
fn offers(
    holders: &[(IpAddr, &Peer)],
    asker: Option<&Peer>,
    cap: usize,
    rng: &mut impl Rng,
) -> Vec<Offer> {
    let (names, pieces) = (names_of(holders), pieces_of(holders));
    let has = |name: &str| asker.is_some_and(|asker| asker.files.contains(name));
    let mut ranked = Vec::new();
    for (name, holders) in &names {
        let order = (has(name), holders.len(), rng.random::<u32>());
        ranked.push((order, Item::File(name, holders)));
    }
    for (name, holders) in &pieces {
        let whole = has(name.as_str());
        let had = asker.and_then(|asker| asker.pieces.get(*name));
        for idx in 0..holders[0].1.len() {
            let n_holders = holders.iter().filter(|(_, bits)| bits.get(idx)).count();
            if n_holders > 0 {
                let had = whole || had.is_some_and(|bits| bits.get(idx));
                let order = (had, n_holders, rng.random());
                ranked.push((order, Item::Piece(name, idx, holders)));
            }
        }
    }
    // no more of the shortest names fit, so the others need no order
    let shortest = ranked.iter().map(|(_, item)| item.min_len()).min();
    let most = cap / shortest.unwrap_or(1);
    if ranked.len() > most {
        ranked.select_nth_unstable_by_key(most, |(order, _)| *order);
        ranked.truncate(most);
    }
    ranked.sort_unstable_by_key(|(order, _)| *order);
    let offers = ranked.iter().map(|((had, ..), item)| item.offer(*had, rng));
    offers.collect()
}

/// The files that go under their own names, each with its holders' places.
fn names_of<'a>(holders: &[(IpAddr, &'a Peer)]) -> HashMap<&'a str, Vec<usize>> {
    let of_one = |(at, (_, peer)): (usize, &(IpAddr, &'a Peer))| {
        peer.files.iter().map(move |file| (file.as_str(), at))
    };
    let all = holders.iter().enumerate().flat_map(of_one);
    let mut names = HashMap::<_, Vec<_>>::new();
    for (name, at) in all.take(NAMES_WEIGHED) {
        names.entry(name).or_default().push(at);
    }
    names
}

/// The files that go in pieces, each with its holders' places and what they have.
fn pieces_of<'a>(holders: &[(IpAddr, &'a Peer)]) -> BTreeMap<&'a Name, Vec<(usize, &'a Bitfield)>> {
    let mut pieces = BTreeMap::<_, Vec<_>>::new();
    for (at, (_, peer)) in holders.iter().enumerate() {
        for (name, bits) in &peer.pieces {
            pieces.entry(name).or_default().push((at, bits));
        }
    }
    pieces
}

/// The list as it fills up.
///
/// Invariant: what is in it and `room` make at most the cap.
struct Page {
    room: usize,
    /// One for each holder; it is in once it has a name.
    entries: Vec<PeerEntry>,
}

impl Page {
    fn new(holders: &[(IpAddr, &Peer)], cap: usize) -> Self {
        Self {
            room: cap - "[]".len(),
            entries: holders.iter().map(nameless).collect(),
        }
    }

    /// Adds a name to a holder's, where there is room for it.
    fn add(&mut self, holder: usize, offer: &Offer) {
        let entry = &mut self.entries[holder];
        let new = entry.file_list.is_empty();
        let len = json_len(&offer.name) + if new { entry_len(entry) } else { 0 };
        if len <= self.room {
            self.room -= len;
            entry.file_list.push(offer.name.clone());
        }
    }

    /// What came in, and as many peers that have nothing as there is room for.
    fn done(mut self, idle: &[(IpAddr, &Peer)]) -> Vec<PeerEntry> {
        self.entries.retain(|entry| !entry.file_list.is_empty());
        for entry in idle.iter().map(nameless) {
            match self.room.checked_sub(entry_len(&entry)) {
                Some(left) => self.room = left,
                None => break,
            }
            self.entries.push(entry);
        }
        self.entries
    }
}

/// An entry as originals know it, without its names.
fn nameless((ip, peer): &(IpAddr, &Peer)) -> PeerEntry {
    PeerEntry {
        v: None,
        ..peer.bare_entry(*ip)
    }
}

/// The most bytes that an entry takes without its names, with a comma.
fn entry_len(entry: &PeerEntry) -> usize {
    entry.ip.len() + r#"{"ip":"","port":65535,"file_list":[]},"#.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashSet};

    use crate::protocol::to_bytes;
    use crate::roster::Reach;
    use crate::roster::tests::{OURS, ends, here, lan, list, original_list, publish, rng, summary};

    fn names(list: &[PeerEntry]) -> Vec<&str> {
        list.iter()
            .flat_map(|peer| peer.file_list.iter().map(String::as_str))
            .collect()
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
            "\u{1}".repeat(200),
            "\"\\".repeat(100),
            "é".repeat(100),
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
