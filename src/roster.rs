//! What the tracker knows: who is there, what each has, and which contents are published. Holds no part of any file.
//!
//! Pure: no socket, no file, no clock, no lock; the random generator is a parameter. [`crate::tracker`] keeps it in its one
//! Mutex. Time goes by in sweeps: who wasn't heard of between two of them is dropped.
//!
//! The original's `append_client` and `update_peer_list` are here under their names. What differs: new peers are visible at
//! once, `--remote` tells peers apart by address *and* port, and who speaks ours is told of pieces and of published files,
//! too. Beside the lesson: what a peer has, the records of what is published, the answer to an original, and the refusals.

mod original_list;
mod peer;
mod records;
mod refusal;

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use rand::seq::IteratorRandom;

use crate::net::is_local;
use crate::protocol::{LIST_CAP, Summary, SwarmList, VERSION};
use crate::torrent::Name;
use peer::{Peer, json_len};
pub use records::Verdict;
use records::summary_for;
pub use refusal::Refusal;

/// Peers in one answer. Of a larger swarm each answer names others at random; the tracker knows them all.
pub const PEERS_LISTED: usize = 200;
/// Peers that one address may announce, so that a single machine can't fill the memory. Loopback may have as many as ports.
pub const PEERS_PER_ADDRESS: usize = 4096;
/// Names in one peer's list: ten times the pieces that a file of up to 16 GiB has.
pub const NAMES_PER_LIST: usize = 10_000;
/// Names in the lists of all peers of one address, so that a single machine can't fill the memory. Loopback has no limit.
pub const NAMES_PER_ADDRESS: usize = 4 * NAMES_PER_LIST;
/// Files that one address may have published, so that a single machine can't fill the disk with names. Loopback has no limit.
pub const FILES_PER_ADDRESS: usize = NAMES_PER_LIST;
/// The longest name that a list may have, bytes: no file has a longer one. Longer ones are left out.
const LONGEST_LISTED: usize = 255;
/// Bytes of names in one answer of ours: half of what a client reads. A peer whose names don't fit is listed without.
const NAMES_ROOM: usize = LIST_CAP / 2;
/// Strangers that are remembered, so as to tell of each once.
const STRANGERS: usize = 4096;

/// Whom a tracker serves, and so what tells peers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine: many peers on one address, told apart by port.
    Local,
    /// Every machine: told apart by address and port.
    Remote,
}

/// The two ends of a connection to the tracker. A peer is where it came from, and can't list anybody else.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The peer's address.
    pub peer: IpAddr,
    /// The address at which it reached the tracker.
    pub own: IpAddr,
}

/// What tells peers apart. Without an address on a [`Reach::Local`] tracker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Option<IpAddr>, u16);

/// The tracker's state.
pub struct Roster {
    reach: Reach,
    peers: BTreeMap<Key, Peer>,
    /// What is published, by the file's name.
    records: BTreeMap<String, Summary>,
    strangers: HashSet<IpAddr>,
}

/// A peer that was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Where others find it.
    pub addr: SocketAddr,
    /// Whether it wasn't known before.
    pub new: bool,
}

impl Roster {
    /// Nobody and nothing.
    pub fn new(reach: Reach) -> Self {
        Self {
            reach,
            peers: BTreeMap::new(),
            records: BTreeMap::new(),
            strangers: HashSet::new(),
        }
    }

    /// How many peers are there.
    pub fn n_peers(&self) -> usize {
        self.peers.len()
    }

    /// Whether whoever comes this way is served.
    pub fn serves(&self, from: Ends) -> bool {
        self.reach == Reach::Remote || is_local(from.peer, from.own)
    }

    /// Whether this stranger is seen for the first time, as far as is remembered.
    pub fn is_first_time(&mut self, stranger: IpAddr) -> bool {
        self.strangers.len() < STRANGERS && self.strangers.insert(stranger)
    }

    fn key(&self, addr: SocketAddr) -> Key {
        match self.reach {
            Reach::Local => Key(None, addr.port()),
            Reach::Remote => Key(Some(addr.ip()), addr.port()),
        }
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
        let addr = addr_of(from, port, v);
        let key = self.key(addr);
        if let Some(peer) = self.peers.get_mut(&key) {
            if peer.v != v {
                // another program, for which the list of the one before doesn't hold
                *peer = Peer::new(addr, v);
            }
            (peer.addr, peer.seen) = (addr, true);
            return Ok(Joined { addr, new: false });
        }
        if !addr.ip().is_loopback() && self.beside(key).count() >= PEERS_PER_ADDRESS {
            return Err(Refusal::Peers(addr.ip()));
        }
        self.peers.insert(key, Peer::new(addr, v));
        Ok(Joined { addr, new: true })
    }

    /// The peers at the same address, itself among them.
    fn beside(&self, key: Key) -> impl Iterator<Item = (&Key, &Peer)> {
        self.peers.range(Key(key.0, 0)..=Key(key.0, u16::MAX))
    }

    /// The names that the other peers at this address list.
    fn names_beside(&self, addr: SocketAddr) -> usize {
        let own = self.key(addr);
        let others = self.beside(own).filter(|(key, _)| **key != own);
        others.map(|(_, peer)| peer.names().count()).sum()
    }

    /// Takes a peer's list in the place of its last. Digits that don't fit the published file are left out, and so are names
    /// that no file has.
    ///
    /// # Errors
    /// As [`Roster::append_client`]; where the list is too long, by itself or with those of the other peers at its address.
    pub fn set_list(
        &mut self,
        from: Ends,
        port: u16,
        v: Option<u32>,
        names: Vec<String>,
        digits: &BTreeMap<String, String>,
    ) -> Result<Joined, Refusal> {
        let n_names = names.len() + digits.len();
        if n_names > NAMES_PER_LIST {
            return Err(Refusal::Names(n_names));
        }
        let addr = addr_of(from, port, v);
        if !addr.ip().is_loopback() && n_names + self.names_beside(addr) > NAMES_PER_ADDRESS {
            return Err(Refusal::NamesOf(addr.ip()));
        }
        let joined = self.append_client(from, port, v)?;
        let mut peer = Peer::new(joined.addr, v);
        for (name, digits) in digits {
            if let Some(record) = self.records.get(name) {
                peer.add_digits(record, digits);
            }
        }
        for name in names
            .into_iter()
            .filter(|name| name.len() <= LONGEST_LISTED)
        {
            let piece = Name::parse_piece(&name);
            let file = piece
                .as_ref()
                .map_or(name.as_str(), |(file, _)| file.as_str());
            match (self.cut(file), piece) {
                (Some(record), Some((_, idx))) if idx < record.n_pieces => {
                    peer.add_piece(record, idx)
                }
                (Some(record), None) if v.is_some() => peer.add_whole(record),
                _ => drop(peer.files.insert(name)),
            }
        }
        self.peers.insert(self.key(joined.addr), peer);
        Ok(joined)
    }

    /// The sweep: drops who sent nothing since the sweep before, and returns them.
    pub fn update_peer_list(&mut self) -> Vec<SocketAddr> {
        let mut dropped = Vec::new();
        self.peers.retain(|_, peer| {
            let stays = std::mem::replace(&mut peer.seen, false);
            if !stays {
                dropped.push(peer.addr);
            }
            stays
        });
        dropped
    }

    /// The answer to a ping of ours: everybody but the asker, and the files that somebody has.
    pub fn swarm_list(&self, asker: Ends, port: u16, rng: &mut impl Rng) -> SwarmList {
        let mut room = NAMES_ROOM;
        let mut fits = |len: usize| room.checked_sub(len).map(|left| room = left).is_some();
        let names = self.peers.values().flat_map(Peer::names);
        let live: BTreeMap<&str, &Summary> = names
            .filter_map(|name| Some((name, self.records.get(name)?)))
            .collect();
        let listed = live
            .values()
            .filter(|record| fits(200 + json_len(record.name.as_str())));
        let torrents = listed.map(|record| summary_for(record, asker)).collect();
        let own = self.key(addr_of(asker, port, Some(VERSION)));
        let others = self.others(Some(own), asker, rng, |_| true);
        let peers = others.into_iter().map(|(ip, peer)| {
            if fits(peer.len()) {
                peer.entry(ip)
            } else {
                peer.bare_entry(ip)
            }
        });
        SwarmList {
            v: VERSION,
            local: self.reach == Reach::Local,
            peers: peers.collect(),
            torrents,
        }
    }

    /// The peers but one that are wanted, with their addresses for the asker: at most [`PEERS_LISTED`].
    fn others(
        &self,
        but: Option<Key>,
        asker: Ends,
        rng: &mut impl Rng,
        wanted: impl Fn(&Peer) -> bool,
    ) -> Vec<(IpAddr, &Peer)> {
        self.peers
            .iter()
            .filter(|(key, peer)| Some(**key) != but && wanted(peer))
            .map(|(_, peer)| (ip_for(asker, peer.addr.ip()), peer))
            .sample(rng, PEERS_LISTED)
    }
}

/// Where the others find who comes this way. An original on this machine connects to its host name's address, and listens
/// on just that.
fn addr_of(from: Ends, port: u16, v: Option<u32>) -> SocketAddr {
    let original_here = v.is_none() && is_local(from.peer, from.own);
    let ip = if original_here { from.own } else { from.peer };
    SocketAddr::new(ip, port)
}

/// The address by which the asker finds a peer: one that came over loopback is on the tracker's machine.
fn ip_for(asker: Ends, peer: IpAddr) -> IpAddr {
    let finds = asker.peer.is_loopback() && asker.own.is_ipv4() == peer.is_ipv4();
    if peer.is_loopback() && !finds {
        asker.own
    } else {
        peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::protocol::{ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK, PeerEntry, to_bytes};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    pub(super) const OURS: Option<u32> = Some(VERSION);

    pub(super) fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    pub(super) fn ends(peer: &str, own: &str) -> Ends {
        Ends {
            peer: ip(peer),
            own: ip(own),
        }
    }

    /// From a machine on the network to a remote tracker at 10.0.0.1.
    pub(super) fn lan(last: u8) -> Ends {
        ends(&format!("10.0.0.{last}"), "10.0.0.1")
    }

    pub(super) fn here() -> Ends {
        ends("127.0.0.1", "127.0.0.1")
    }

    pub(super) fn rng() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    pub(super) fn summary(name: &str, n_pieces: u32, content: &str) -> Summary {
        let (name, md5) = (
            Name::parse(name).expect("a name"),
            crate::md5::digest(content.as_bytes()),
        );
        Summary {
            name,
            size: u64::from(n_pieces) << 16,
            md5,
            n_pieces,
            publisher: String::new(),
        }
    }

    /// Publishes as `tracker.rs` does.
    pub(super) fn publish(
        roster: &mut Roster,
        from: Ends,
        port: u16,
        summary: &Summary,
    ) -> Result<Verdict, Refusal> {
        let joined = roster.append_client(from, port, OURS)?;
        let verdict = roster.judge(summary)?;
        roster.publish(joined.addr, summary.clone(), verdict);
        Ok(verdict)
    }

    pub(super) fn list(
        roster: &mut Roster,
        from: Ends,
        port: u16,
        v: Option<u32>,
        names: &[&str],
        pieces: &[(&str, &str)],
    ) {
        let pieces = pieces
            .iter()
            .map(|(name, hex)| (name.to_string(), hex.to_string()))
            .collect();
        roster
            .set_list(
                from,
                port,
                v,
                names.iter().map(|name| name.to_string()).collect(),
                &pieces,
            )
            .expect("a fine list");
    }

    pub(super) fn addrs(roster: &Roster, asker: Ends, port: u16) -> Vec<String> {
        let list = roster.swarm_list(asker, port, &mut rng());
        list.peers
            .iter()
            .map(|peer| format!("{} {}", peer.ip, peer.port))
            .collect()
    }

    pub(super) fn original_list(
        roster: &Roster,
        asker: Ends,
        port: u16,
        seed: u64,
    ) -> (usize, Vec<PeerEntry>) {
        let entries = roster.original_list(asker, port, &mut StdRng::seed_from_u64(seed));
        (to_bytes(&entries).len(), entries)
    }

    #[test]
    fn peers_are_told_apart_by_port_alone_or_by_address_and_port() {
        let twice = [(ends("10.0.0.1", "10.0.0.1"), 1), (here(), 1), (here(), 2)];
        for (name, reach, n_peers) in [("local", Reach::Local, 2), ("remote", Reach::Remote, 3)] {
            let mut roster = Roster::new(reach);
            twice.iter().for_each(|(from, port)| {
                roster.append_client(*from, *port, OURS).expect("a peer");
            });
            assert_eq!(roster.n_peers(), n_peers, "{name}");
        }
    }

    #[test]
    fn a_local_tracker_serves_its_own_machine_and_a_remote_one_everybody() {
        let (own, other) = (ends("10.0.0.1", "10.0.0.1"), ends("fe80::2", "fe80::1"));
        for (name, from, local) in [
            ("loopback", here(), true),
            ("another of it", ends("127.0.0.2", "127.0.0.1"), true),
            ("IPv6 loopback", ends("::1", "::1"), true),
            ("this machine by its own address", own, true),
            ("another machine", lan(2), false),
            ("another machine over IPv6", other, false),
        ] {
            assert_eq!(Roster::new(Reach::Local).serves(from), local, "{name}");
            assert!(Roster::new(Reach::Remote).serves(from), "{name}");
        }
        let mut roster = Roster::new(Reach::Local);
        assert!(roster.is_first_time(ip("10.0.0.2")) && !roster.is_first_time(ip("10.0.0.2")));
    }

    #[test]
    fn a_new_peer_is_visible_at_once_and_gone_at_the_second_sweep_after_its_last_message() {
        let mut roster = Roster::new(Reach::Remote);
        assert!(roster.append_client(lan(2), 5, OURS).expect("a peer").new);
        list(&mut roster, lan(3), 5, None, &["1.txt"], &[]);
        assert_eq!(
            addrs(&roster, lan(2), 5),
            ["10.0.0.3 5"],
            "everybody but the asker"
        );
        assert_eq!(addrs(&roster, lan(9), 5), ["10.0.0.2 5", "10.0.0.3 5"]);
        assert_eq!(roster.update_peer_list(), []);
        list(&mut roster, lan(3), 5, None, &[], &[]);
        assert_eq!(
            roster.update_peer_list(),
            ["10.0.0.2:5".parse().expect("an address")]
        );
        assert!(
            !roster.append_client(lan(3), 5, None).expect("a peer").new,
            "a ping keeps it, too"
        );
        assert_eq!(roster.update_peer_list(), []);
        assert_eq!(
            roster.update_peer_list(),
            ["10.0.0.3:5".parse().expect("an address")]
        );
        assert_eq!(roster.n_peers(), 0);
    }

    #[test]
    fn another_program_on_the_same_port_has_not_what_the_one_before_listed() {
        let mut roster = Roster::new(Reach::Remote);
        list(&mut roster, lan(3), 5, OURS, &["1.txt"], &[]);
        for (v, expected) in [(OURS, vec!["1.txt"]), (None, vec![])] {
            roster.append_client(lan(3), 5, v).expect("a ping");
            let answer = roster.swarm_list(lan(9), 5, &mut rng());
            assert_eq!(answer.peers[0].file_list, expected);
        }
    }

    #[test]
    fn each_asker_is_given_an_address_by_which_it_finds_the_peer() {
        let (odd, own) = (ends("127.0.0.1", "127.0.1.1"), ends("10.0.0.1", "10.0.0.1"));
        let six = ends("::1", "::1");
        for (name, peer, v, asker, expected) in [
            ("beside, for afar", here(), OURS, lan(2), "10.0.0.1"),
            ("its neighbour", here(), OURS, here(), "127.0.0.1"),
            ("IPv6 for IPv4", six, OURS, here(), "127.0.0.1"),
            ("elsewhere", lan(3), OURS, lan(2), "10.0.0.3"),
            ("its host name's", odd, None, here(), "127.0.1.1"),
            ("ours, at that", odd, OURS, here(), "127.0.0.1"),
            ("its LAN address", own, None, here(), "10.0.0.1"),
            ("an original afar", lan(3), None, lan(2), "10.0.0.3"),
        ] {
            let mut roster = Roster::new(Reach::Remote);
            list(&mut roster, peer, 5, v, &["1.txt"], &[]);
            assert_eq!(
                addrs(&roster, asker, 6),
                [format!("{expected} 5")],
                "{name}"
            );
            assert_eq!(
                original_list(&roster, asker, 6, 1).1[0].ip,
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn limits_are_kept_and_say_so() {
        let mut roster = Roster::new(Reach::Remote);
        assert_eq!(
            roster.append_client(lan(2), 0, OURS),
            Err(Refusal::PortZero)
        );
        for port in 1..=PEERS_PER_ADDRESS as u16 {
            roster
                .append_client(lan(2), port, OURS)
                .expect("below the limit");
        }
        assert_eq!(
            roster.append_client(lan(2), 60_000, OURS),
            Err(Refusal::Peers(ip("10.0.0.2")))
        );
        assert!(
            roster.append_client(lan(2), 7, OURS).is_ok(),
            "who is known may stay"
        );
        assert!(
            roster.append_client(lan(3), 60_000, OURS).is_ok(),
            "another address has its own limit"
        );
        let mut roster = Roster::new(Reach::Local);
        for port in 1..=u16::MAX {
            roster
                .append_client(here(), port, None)
                .expect("no limit on loopback");
        }
        let many = vec![String::new(); NAMES_PER_LIST + 1];
        assert_eq!(
            roster.set_list(here(), 1, None, many, &BTreeMap::new()),
            Err(Refusal::Names(NAMES_PER_LIST + 1))
        );
        let listed = roster.swarm_list(here(), 1, &mut rng()).peers;
        let different: BTreeSet<u16> = listed.iter().map(|peer| peer.port).collect();
        assert_eq!(
            (listed.len(), different.len(), different.contains(&1)),
            (PEERS_LISTED, PEERS_LISTED, false)
        );
        assert!(original_list(&roster, here(), 1, 1).0 <= ORIGINAL_CAP);
    }

    #[test]
    fn what_one_address_lists_and_publishes_has_limits_off_loopback() {
        let names = |port: u16| -> Vec<String> {
            (0..NAMES_PER_LIST).map(|n| format!("{port}-{n}")).collect()
        };
        for (from, refuses) in [(lan(2), true), (here(), false)] {
            let mut roster = Roster::new(Reach::Remote);
            let mut listing =
                |from, port: u16| roster.set_list(from, port, OURS, names(port), &BTreeMap::new());
            for port in 1..=4 {
                assert!(listing(from, port).is_ok(), "{NAMES_PER_ADDRESS} are fine");
            }
            let fifth = listing(from, 5).map(drop);
            let refused = Err(Refusal::NamesOf(from.peer));
            assert_eq!(fifth, if refuses { refused } else { Ok(()) });
            assert!(listing(from, 4).is_ok(), "a list in the place of its last");
            assert!(listing(lan(3), 5).is_ok(), "another address");

            let mut roster = Roster::new(Reach::Remote);
            let of = |from: Ends, n: usize| Summary {
                publisher: SocketAddr::new(from.peer, 1).to_string(),
                ..summary(&n.to_string(), 1, "a")
            };
            (0..FILES_PER_ADDRESS).for_each(|n| roster.load(of(from, n)));
            let mut publishing = |from, n| publish(&mut roster, from, 1, &of(from, n)).map(drop);
            let refused = Err(Refusal::Files(from.peer));
            let one_more = publishing(from, FILES_PER_ADDRESS);
            assert_eq!(one_more, if refuses { refused } else { Ok(()) });
            assert_eq!(publishing(from, 0), Ok(()), "what is there already");
            assert_eq!(publishing(lan(3), FILES_PER_ADDRESS + 1), Ok(()));
        }
    }

    #[test]
    fn a_name_longer_than_files_have_is_left_out() {
        let mut roster = Roster::new(Reach::Remote);
        let (longest, longer) = ("x".repeat(LONGEST_LISTED), "x".repeat(LONGEST_LISTED + 1));
        list(&mut roster, lan(2), 5, None, &[&longer, &longest], &[]);
        let peers = roster.swarm_list(lan(9), 5, &mut rng()).peers;
        assert_eq!(peers[0].file_list, [longest]);
    }

    #[test]
    fn lists_that_are_too_long_together_still_fit_what_a_client_reads() {
        let mut roster = Roster::new(Reach::Remote);
        let long: Vec<String> = (0..NAMES_PER_LIST).map(|n| format!("{n:090}")).collect();
        for last in 2..22 {
            roster
                .set_list(lan(last), 5, OURS, long.clone(), &BTreeMap::new())
                .expect("a fine list");
        }
        let list = roster.swarm_list(lan(99), 5, &mut rng());
        assert_eq!(list.peers.len(), 20, "all are there");
        assert!(
            list.peers
                .iter()
                .filter(|peer| !peer.file_list.is_empty())
                .count()
                >= 3,
            "as many names as fit"
        );
        assert!(to_bytes(&list).len() <= LIST_CAP);
        assert!(original_list(&roster, lan(99), 5, 1).0 <= ORIGINAL_CAP_OFF_LOOPBACK);
    }

    #[test]
    fn a_list_shows_what_was_announced_and_what_fits_the_record() {
        let mut roster = Roster::new(Reach::Remote);
        publish(&mut roster, lan(2), 5, &summary("image.iso", 9, "a")).expect("the first");
        let digits = [("image.iso", "8000"), ("unknown", "80"), ("../etc", "80")];
        list(&mut roster, lan(3), 5, OURS, &["1.txt"], &digits);
        list(&mut roster, lan(4), 5, OURS, &[], &[("image.iso", "80")]);
        list(&mut roster, lan(5), 5, OURS, &[], &[("image.iso", "0000")]);
        list(
            &mut roster,
            lan(6),
            5,
            None,
            &["2.txt", "image.iso.part0009", "image.iso.part0010"],
            &[],
        );
        let answer = roster.swarm_list(lan(9), 5, &mut rng());
        let [publisher, ours, short, empty, original] = &answer.peers[..] else {
            panic!("{answer:?}")
        };
        assert_eq!(publisher.file_list, ["image.iso"], "who publishes has it");
        assert_eq!(
            (ours.file_list.clone(), ours.v),
            (vec!["1.txt".to_owned()], OURS)
        );
        assert_eq!(
            ours.pieces.iter().collect::<Vec<_>>(),
            [(&"image.iso".to_owned(), &"8000".to_owned())]
        );
        assert!(short.pieces.is_empty() && empty.pieces.is_empty());
        assert_eq!(
            original.file_list,
            ["2.txt", "image.iso.part0010", "image.iso.part0009"],
            "part 10 is none of 9"
        );
        assert_eq!((original.v, original.pieces.len()), (None, 0));
        assert_eq!(
            answer.torrents,
            [Summary {
                publisher: "10.0.0.2:5".to_owned(),
                ..summary("image.iso", 9, "a")
            }]
        );
        assert!(!answer.local && answer.v == VERSION);
    }
}
