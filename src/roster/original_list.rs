//! The answer to an original's ping: an array that fits its one read. Pure.
//!
//! The original hands out all that it knows, and breaks where that is more than its peer reads at once. Here an answer that
//! doesn't fit is what helps the asker most; the next one names something else. Under the lock only what is needed for it
//! is taken along.

use std::ops::Range;
use std::sync::Arc;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::counts::Counts;
use super::has::{FileNo, Has, Held, PeerNo, Told};
use super::sample::some_of;
use super::{Ends, PEERS_LISTED, Roster};
use crate::bitfield::Bitfield;
use crate::net::is_local;
use crate::protocol::{ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK, to_bytes};
use crate::torrent::{PIECE_INFIX, PieceNumber};

/// Whole files that are looked at for one answer, so that it takes a millisecond, not a second.
const NAMES_WEIGHED: usize = 20_000;
/// Holders of a large swarm that one answer is about: it has room for more of their names than for more of them.
const HOLDERS: usize = 10;
/// Files in several pieces that are looked at for one answer, for the same reason; beyond them some at random.
const CUTS_WEIGHED: usize = 16;

/// What an answer to an original is made of.
pub struct OriginalList {
    cap: usize,
    asker: Option<Arc<Has>>,
    /// In random order.
    holders: Vec<Told>,
    /// Peers that have nothing.
    idle: Vec<Told>,
    cuts: Vec<Cut>,
}

/// A file in several pieces.
struct Cut {
    file: FileNo,
    name: Arc<str>,
    /// How many have each piece.
    counts: Arc<Counts>,
}

impl Roster {
    /// IPv4 peers with the names that an original may ask each for.
    pub fn original_list(&self, asker: Ends, port: u16, rng: &mut impl Rng) -> OriginalList {
        let own = self.find(asker, port, None);
        let fits = |no, idle| {
            let has = &self.peers[no].has;
            has.held.is_empty() == idle && asker.finds(has.addr.ip()).is_ipv4()
        };
        let wanted = self.wanted(own, Vec::new(), rng);
        let mut holders = self.sample(HOLDERS, own, &wanted, rng, |no| fits(no, false));
        let mut idle = Vec::new();
        if holders.len() < HOLDERS {
            idle = self.sample(HOLDERS, own, &[], rng, |no| fits(no, true));
        }
        let cuts = self.cuts(wanted, own, rng);
        holders.shuffle(rng);
        let told = |of: Vec<PeerNo>| {
            let of = of.into_iter().map(|no| Told::new(&self.peers[no], asker));
            of.collect()
        };
        OriginalList {
            cap: if is_local(asker.peer, asker.own) {
                ORIGINAL_CAP
            } else {
                ORIGINAL_CAP_OFF_LOOPBACK
            },
            asker: own.map(|own| Arc::clone(&self.peers[own].has)),
            holders: told(holders),
            idle: told(idle),
            cuts,
        }
    }

    /// What goes in pieces of what is wanted; and of the rest, where all peers are on the list.
    fn cuts(&self, mut files: Vec<FileNo>, own: Option<PeerNo>, rng: &mut impl Rng) -> Vec<Cut> {
        let others = match self.n_others(own) {
            ..=PEERS_LISTED => some_of(&self.files.live, CUTS_WEIGHED, rng),
            _ => Vec::new(),
        };
        for no in others {
            if files.len() < CUTS_WEIGHED && !files.contains(&no) {
                files.push(no);
            }
        }
        let cuts = files.into_iter().map(|no| Cut {
            file: no,
            name: Arc::clone(&self.files[no].name),
            counts: Arc::clone(&self.files[no].counts),
        });
        cuts.filter(|cut| cut.counts.n_pieces() > 0).collect()
    }
}

/// A name that a holder goes by for a whole file, and the holder's place.
type Named<'a> = (&'a Held, usize);

/// A file in several pieces, and who has which of them, by their places.
struct Pieces<'a> {
    cut: &'a Cut,
    had: Option<&'a Bitfield>,
    had_whole: bool,
    of: Vec<(&'a Bitfield, usize)>,
    /// What any of them has.
    any: Bitfield,
    /// The pieces' names in JSON, up to their numbers.
    begin: Vec<u8>,
}

impl Pieces<'_> {
    /// Whether the asker has this piece.
    fn had(&self, idx: u32) -> bool {
        self.had_whole || self.had.is_some_and(|bits| bits.get(idx))
    }
}

/// A name, with those who can be asked for it.
#[derive(Clone, Copy)]
enum Item<'a> {
    File(&'a [Named<'a>]),
    Piece(&'a Pieces<'a>, u32),
}

impl<'a> Item<'a> {
    /// One of them: the files come first, then each file's pieces.
    fn new(which: usize, names: &[&'a [Named<'a>]], pieces: &'a [Pieces<'a>]) -> Self {
        if let Some(of) = names.get(which) {
            return Self::File(of);
        }
        let mut idx = which - names.len();
        let mut pieces = pieces.iter().filter_map(|of| {
            let Some(beyond) = idx.checked_sub(of.cut.counts.n_pieces() as usize) else {
                return Some(Self::Piece(of, idx as u32));
            };
            idx = beyond;
            None
        });
        pieces.next().expect("it was numbered so")
    }

    /// Writes its name in JSON, with a comma.
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::File(of) => {
                out.extend_from_slice(&to_bytes(&&*of[0].0.name));
                out.push(b',');
            }
            Self::Piece(of, idx) => {
                out.extend_from_slice(&of.begin);
                PieceNumber(idx).append(out);
                out.extend_from_slice(b"\",");
            }
        }
    }

    /// Who has it: the `nths` of them, from one of them on.
    fn holders(self, from: usize, nths: Range<usize>, add: impl FnMut(usize)) {
        match self {
            Self::File(of) => some_of_turn(of, |_| true, from, nths, add),
            Self::Piece(of, idx) => some_of_turn(&of.of, |bits| bits.get(idx), from, nths, add),
        }
    }
}

/// The places of the `nths` that are able, from one of them on.
fn some_of_turn<T>(
    all: &[(T, usize)],
    able: impl Fn(&T) -> bool,
    from: usize,
    nths: Range<usize>,
    mut add: impl FnMut(usize),
) {
    let (last, first) = all.split_at(from % all.len().max(1));
    let mut nth = 0;
    for part in [first, last] {
        for (_, place) in part.iter().filter(|(it, _)| able(it)) {
            if nths.contains(&nth) {
                add(*place);
            }
            nth += 1;
            if nth == nths.end {
                return;
            }
        }
    }
}

/// What goes first, in one number, as hundreds of them are compared: what the asker lacks (1 bit), what few have (23), then
/// chance (16); and in the last 24 bits which it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Order(u64);

impl Order {
    fn new(had: bool, n_holders: usize, chance: u32, which: usize) -> Self {
        let n_holders = (n_holders as u64).min((1 << 23) - 1);
        let chance = u64::from(chance as u16);
        Self(u64::from(had) << 63 | n_holders << 40 | chance << 24 | which as u64)
    }

    fn had(self) -> bool {
        self.0 >> 63 == 1
    }

    fn which(self) -> usize {
        self.0 as usize & ((1 << 24) - 1)
    }

    /// Some number, for which of the holders is the first.
    fn chance(self) -> usize {
        (self.0 >> 24) as u16 as usize
    }
}

impl OriginalList {
    /// As it goes over the wire. First come names that the asker lacks, the rarest first; then second holders; then what it
    /// has; then the rest.
    pub fn to_bytes(&self, rng: &mut impl Rng) -> Vec<u8> {
        let named = self.named();
        let names = named.chunk_by(|one, next| one.0.file == next.0.file);
        let names: Vec<_> = names.collect();
        let pieces: Vec<_> = self.cuts.iter().map(|cut| self.pieces(cut)).collect();
        let of_files = names.iter().map(|of| of[0].0.name.len() + "\"\",".len());
        let of_pieces = pieces.iter().map(|of| of.begin.len() + "0001\",".len());
        let least = of_files.chain(of_pieces).min().unwrap_or(1);
        let ranked = self.ranked(&names, &pieces, self.cap / least, rng);
        let mut page = Page::new(self);
        let rest = usize::MAX;
        for (had, nths) in [
            (false, 0..1),
            (false, 1..2),
            (true, 0..1),
            (false, 2..rest),
            (true, 1..rest),
        ] {
            for order in ranked.iter().filter(|order| order.had() == had) {
                if page.room < least {
                    break;
                }
                let item = Item::new(order.which(), &names, &pieces);
                item.holders(order.chance(), nths.clone(), |holder| {
                    page.add(holder, item)
                });
            }
        }
        page.done(self)
    }

    /// At most so many: those that the asker lacks first, then the rarest, ties at random.
    fn ranked(
        &self,
        names: &[&[Named]],
        pieces: &[Pieces],
        most: usize,
        rng: &mut impl Rng,
    ) -> Vec<Order> {
        let mut ranked = Vec::with_capacity(names.len() + most);
        for (which, of) in names.iter().enumerate() {
            let had = self.had(of[0].0.file).is_some_and(|held| held.named);
            ranked.push(Order::new(had, of.len(), rng.random(), which));
        }
        let dice = rng.random::<u16>().into();
        let mut first = names.len();
        for of in pieces {
            let (mut chance, until) = (dice as u32, ranked.len() + most);
            for had in [false, true] {
                let rarest = of.cut.counts.rarest_first(dice);
                let some = rarest.filter(|idx| of.any.get(*idx) && of.had(*idx) == had);
                // several times as fast as a loop, from so many parts
                some.take(until - ranked.len()).for_each(|idx| {
                    let n_holders = of.cut.counts.of(idx) as usize;
                    ranked.push(Order::new(had, n_holders, chance, first + idx as usize));
                    chance += 1;
                });
            }
            first += of.cut.counts.n_pieces() as usize;
        }
        ranked.sort();
        ranked.truncate(most);
        ranked
    }

    /// What the asker has of a file.
    fn had(&self, file: FileNo) -> Option<&Held> {
        self.asker.as_ref()?.of(file)
    }

    /// What goes under its own name, by files.
    fn named(&self) -> Vec<Named<'_>> {
        let holders = self.holders.iter().enumerate();
        let all = holders.flat_map(|(at, holder)| {
            let named = holder.has.held.iter().filter(|held| held.named);
            named.map(move |held| (&**held, at))
        });
        let mut all: Vec<Named> = all.take(NAMES_WEIGHED).collect();
        all.sort_unstable_by_key(|(held, at)| (held.file, *at));
        all
    }

    /// A file that goes in pieces, with its holders' places and what they have.
    fn pieces<'a>(&'a self, cut: &'a Cut) -> Pieces<'a> {
        let had = self.had(cut.file);
        let bits = |holder: &'a Told| holder.has.of(cut.file)?.bits.as_ref();
        let holders = self.holders.iter().enumerate();
        let of: Vec<_> = holders
            .filter_map(|(at, holder)| Some((bits(holder)?, at)))
            .collect();
        let mut any = Bitfield::new(cut.counts.n_pieces());
        of.iter().for_each(|(bits, _)| any.set_all(bits));
        let mut begin = to_bytes(&&*cut.name);
        begin.truncate(begin.len() - 1);
        begin.extend_from_slice(PIECE_INFIX.as_bytes());
        Pieces {
            cut,
            had: had.and_then(|held| held.bits.as_ref()),
            had_whole: had.is_some_and(|held| held.named),
            of,
            any,
            begin,
        }
    }
}

/// The list as it fills up.
///
/// Invariant: what is in it and `room` make the cap.
struct Page {
    room: usize,
    entries: Vec<Entry>,
}

/// A holder's place in it: it is in once it has a name.
struct Entry {
    text: Vec<u8>,
    has_name: bool,
}

/// How an entry ends.
const TAIL: &[u8] = b"]},";

impl Page {
    fn new(list: &OriginalList) -> Self {
        let capacity = 2 * list.cap / list.holders.len().max(1);
        let entry = |holder: &Told| Entry {
            text: holder.head(capacity),
            has_name: false,
        };
        Self {
            room: list.cap - "[]".len(),
            entries: list.holders.iter().map(entry).collect(),
        }
    }

    /// Adds a name to a holder's, where there is room for it.
    fn add(&mut self, holder: usize, name: Item) {
        let Entry { text, has_name } = &mut self.entries[holder];
        let before = text.len();
        name.write(text);
        let head = if *has_name { 0 } else { before + TAIL.len() };
        match self.room.checked_sub(text.len() - before + head) {
            Some(left) => (self.room, *has_name) = (left, true),
            None => text.truncate(before),
        }
    }

    /// What came in, and as many peers that have nothing as there is room for.
    fn done(mut self, list: &OriginalList) -> Vec<u8> {
        let mut out = Vec::with_capacity(list.cap);
        out.push(b'[');
        for entry in self.entries.iter().filter(|entry| entry.has_name) {
            out.extend_from_slice(&entry.text);
            out.pop();
            out.extend_from_slice(TAIL);
        }
        for idle in &list.idle {
            let head = idle.head(0);
            match self.room.checked_sub(head.len() + TAIL.len()) {
                Some(left) => self.room = left,
                None => break,
            }
            out.extend_from_slice(&head);
            out.extend_from_slice(TAIL);
        }
        if out.len() > 1 {
            out.pop();
        }
        out.push(b']');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet, HashSet};

    use crate::protocol::PeerEntry;
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
                .set_list(asker, 5, None, parts, BTreeMap::new())
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
                    BTreeMap::new(),
                )
                .expect("a fine list");
        }
        for (asker, cap) in [(here(), ORIGINAL_CAP), (lan(99), ORIGINAL_CAP_OFF_LOOPBACK)] {
            for seed in 0..20 {
                let (len, entries) = original_list(&roster, asker, 1, seed);
                assert!(len <= cap && !entries.is_empty(), "{len}");
            }
        }
        let nobody = original_list(&Roster::new(Reach::Local), here(), 1, 1);
        assert_eq!(nobody, (2, vec![]));
    }
}
