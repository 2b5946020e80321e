//! What the roster does, by an invented clock of sweeps.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::limits::LONGEST_NAME;
use crate::content::Verdict;

use crate::protocol::{
    Coming, LIST_CAP, ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK, PeerEntry, Publication, Summary,
    SwarmList, VERSION, parse, to_bytes,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

pub(super) const OURS: Option<u32> = Some(VERSION);

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn ends(peer: &str, own: &str) -> Endpoints {
    Endpoints {
        peer: ip(peer),
        own: ip(own),
    }
}

/// From a machine on the network to a remote tracker at 10.0.0.1.
pub(super) fn lan(last: u8) -> Endpoints {
    ends(&format!("10.0.0.{last}"), "10.0.0.1")
}

pub(super) fn here() -> Endpoints {
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
        published: 0,
        checkpoints: None,
        here: false,
        pinned: false,
        others: Vec::new(),
        head_of: None,
    }
}

/// A peer's own file, whose key is by its address.
pub(super) fn publication(summary: &Summary) -> Publication {
    let cut = summary.n_pieces.to_string();
    Publication {
        name: summary.name.clone(),
        size: summary.size,
        md5: summary.md5,
        checkpoints: crate::md5::digest(cut.as_bytes()),
        own: true,
        pinned: summary.pinned,
        replace: false,
        published: summary.published,
        publisher: String::new(),
        torrent: None,
    }
}

/// Publishes a file of one's own as the tracker does, with a key by the address.
pub(super) fn publish(
    roster: &mut Roster,
    from: Endpoints,
    port: u16,
    summary: &Summary,
) -> Result<Verdict, TrackerRefusal> {
    let key = format!("at {}", from.addr_of(port, OURS));
    publish_by(roster, from, port, &key, summary, publication(summary))
}

/// Publishes as the tracker does, once it has settled.
pub(super) fn publish_by(
    roster: &mut Roster,
    from: Endpoints,
    port: u16,
    key: &str,
    summary: &Summary,
    file: Publication,
) -> Result<Verdict, TrackerRefusal> {
    let joined = roster.append_client(from, port, OURS)?;
    let judged = roster.judge(joined.addr, key, &file, u64::MAX, false)?;
    if matches!(judged.verdict, Verdict::Stays(_)) {
        return Ok(judged.verdict);
    }
    let publisher = match file.own {
        true => joined.addr.to_string(),
        false => file.publisher,
    };
    let record = Record {
        summary: Summary {
            checkpoints: Some(file.checkpoints),
            publisher,
            ..summary.clone()
        },
        key: file.own.then(|| key.to_owned()),
    };
    roster.publish(joined.addr, record, judged.verdict);
    Ok(judged.verdict)
}

pub(super) fn list(
    roster: &mut Roster,
    from: Endpoints,
    port: u16,
    v: Option<u32>,
    names: &[&str],
    pieces: &[(&str, &str)],
) {
    let pieces = pieces
        .iter()
        .map(|(name, hex)| (name.to_string(), hex.to_string()))
        .collect();
    let list = PeerList {
        pieces,
        ..of_names(names)
    };
    roster.set_list(from, port, v, &list).expect("a fine list");
}

/// A list of whole files.
pub(super) fn of_names<S: ToString>(names: &[S]) -> PeerList {
    PeerList {
        files: names.iter().map(ToString::to_string).collect(),
        ..PeerList::default()
    }
}

/// Lists whole files, files that are coming, and others with their contents.
pub(super) fn folder(
    roster: &mut Roster,
    from: Endpoints,
    port: u16,
    names: &[&str],
    coming: &[&str],
    others: &[(&str, &str)],
) {
    let name = |name: &str| Name::parse(name).expect("a name");
    let coming = coming.iter().map(|it| Coming {
        name: name(it),
        size: 9,
        done: 1,
        peer: "somebody".to_owned(),
        head: None,
    });
    let digest = |content: &str| crate::md5::digest(content.as_bytes());
    let others = others
        .iter()
        .map(|(it, content)| (name(it), digest(content)));
    let list = PeerList {
        coming: coming.collect(),
        others: others.collect(),
        ..of_names(names)
    };
    roster
        .set_list(from, port, OURS, &list)
        .expect("a fine list");
}

pub(super) fn swarm_list(roster: &mut Roster, asker: Endpoints, port: u16) -> SwarmList {
    let answer = roster.swarm_list(asker, port, &[], None, &mut rng());
    parse(&answer.to_bytes(std::time::Duration::ZERO)).expect("its own bytes")
}

pub(super) fn addrs(roster: &mut Roster, asker: Endpoints, port: u16) -> Vec<String> {
    let list = swarm_list(roster, asker, port);
    list.peers
        .iter()
        .map(|peer| format!("{} {}", peer.ip, peer.port))
        .collect()
}

pub(super) fn original_list(
    roster: &Roster,
    asker: Endpoints,
    port: u16,
    seed: u64,
) -> (usize, Vec<PeerEntry>) {
    let rng = &mut StdRng::seed_from_u64(seed);
    let answer = roster.original_list(asker, port, rng).to_bytes(rng);
    (answer.len(), parse(&answer).expect("its own bytes"))
}

#[test]
fn peers_are_told_apart_by_port_or_address() {
    let twice = [(ends("10.0.0.1", "10.0.0.1"), 1), (here(), 1), (here(), 2)];
    for (name, reach, n_peers) in [
        ("local", Reachability::Local, 2),
        ("remote", Reachability::Remote, 3),
    ] {
        let mut roster = Roster::new(reach);
        twice.iter().for_each(|(from, port)| {
            roster.append_client(*from, *port, OURS).expect("a peer");
        });
        assert_eq!(roster.n_peers(), n_peers, "{name}");
    }
}

#[test]
fn only_a_remote_tracker_serves_everybody() {
    let (own, other) = (ends("10.0.0.1", "10.0.0.1"), ends("fe80::2", "fe80::1"));
    for (name, from, local) in [
        ("loopback", here(), true),
        ("another of it", ends("127.0.0.2", "127.0.0.1"), true),
        ("IPv6 loopback", ends("::1", "::1"), true),
        ("this machine by its own address", own, true),
        ("another machine", lan(2), false),
        ("another machine over IPv6", other, false),
    ] {
        assert_eq!(Reachability::Local.serves(from), local, "{name}");
        assert!(Reachability::Remote.serves(from), "{name}");
    }
}

#[test]
fn a_new_peer_is_visible_until_the_second_silent_sweep() {
    let mut roster = Roster::new(Reachability::Remote);
    assert!(roster.append_client(lan(2), 5, OURS).expect("a peer").new);
    list(&mut roster, lan(3), 5, None, &["1.txt"], &[]);
    assert_eq!(
        addrs(&mut roster, lan(2), 5),
        ["10.0.0.3 5"],
        "everybody but the asker"
    );
    assert_eq!(addrs(&mut roster, lan(9), 5), ["10.0.0.2 5", "10.0.0.3 5"]);
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
fn another_program_on_a_port_starts_with_nothing() {
    let mut roster = Roster::new(Reachability::Remote);
    list(&mut roster, lan(3), 5, OURS, &["1.txt"], &[]);
    for (v, expected) in [(OURS, vec!["1.txt"]), (None, vec![])] {
        roster.append_client(lan(3), 5, v).expect("a ping");
        let answer = swarm_list(&mut roster, lan(9), 5);
        assert_eq!(answer.peers[0].file_list, expected);
    }
}

#[test]
fn each_asker_gets_an_address_that_it_reaches() {
    let (odd, own) = (ends("127.0.0.1", "127.0.1.1"), ends("10.0.0.1", "10.0.0.1"));
    let (six, beyond) = (ends("::1", "::1"), ends("10.8.0.7", "10.8.0.1"));
    for (name, peer, v, asker, expected) in [
        ("beside, for afar", here(), OURS, lan(2), "10.0.0.1"),
        ("its neighbour", here(), OURS, here(), "127.0.0.1"),
        ("IPv6 for IPv4", six, OURS, here(), "127.0.0.1"),
        ("elsewhere", lan(3), OURS, lan(2), "10.0.0.3"),
        ("its host name's", odd, None, here(), "127.0.1.1"),
        ("ours, at that", odd, OURS, here(), "127.0.0.1"),
        ("its LAN address", own, None, here(), "10.0.0.1"),
        ("at that alone", own, None, beyond, "10.0.0.1"),
        ("ours, from another network", own, OURS, beyond, "10.8.0.1"),
        ("ours, from the same", own, OURS, lan(2), "10.0.0.1"),
        ("ours, beside", own, OURS, here(), "10.0.0.1"),
        ("an original afar", lan(3), None, lan(2), "10.0.0.3"),
    ] {
        let mut roster = Roster::new(Reachability::Remote);
        list(&mut roster, peer, 5, v, &["1.txt"], &[]);
        assert_eq!(
            addrs(&mut roster, asker, 6),
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
fn each_asker_gets_the_publisher_at_an_address_that_it_reaches() {
    let own = ends("10.0.0.1", "10.0.0.1");
    let by_vpn = ends("10.8.0.7", "10.8.0.1");
    for (publisher, expected) in [
        (here(), ["127.0.0.1", "10.0.0.1", "10.8.0.1", "10.0.0.1"]),
        (lan(3), ["10.0.0.3"; 4]),
    ] {
        let mut roster = Roster::new(Reachability::Remote);
        let f = summary("f", 9, "a");
        publish(&mut roster, publisher, 5, &f).expect("the first");
        folder(&mut roster, publisher, 6, &[], &[], &[("f", "b")]);
        // each asks twice: what is ready for one asker isn't for all
        for _ in 0..2 {
            let askers = [here(), lan(2), by_vpn, own];
            let found = askers.map(|asker| {
                let answer = swarm_list(&mut roster, asker, 7);
                let listed = answer.torrents.expect("not known to it").remove(0);
                let sources = roster.sources(&f.name, f.md5, asker, &mut rng());
                let sources = sources.expect("it is published");
                assert_eq!(sources.publisher, listed.publisher);
                (listed.publisher, listed.others[0].peer.clone())
            });
            let expected = expected.map(|ip| (format!("{ip}:5"), format!("{ip}:6")));
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn of_many_holders_a_torrent_names_some() {
    let mut roster = Roster::new(Reachability::Remote);
    let f = summary("f", 1, "a");
    publish(&mut roster, lan(2), 5, &f).expect("the first");
    for port in 1..=PEERS_LISTED as u16 + 1 {
        list(&mut roster, lan(3), port, OURS, &["f"], &[]);
    }
    let of = |md5| roster.sources(&f.name, md5, lan(9), &mut rng());
    let all = of(f.md5).expect("published").peers;
    let different: BTreeSet<_> = all.iter().map(|peer| (&peer.ip, peer.port)).collect();
    assert_eq!((all.len(), different.len()), (PEERS_LISTED, PEERS_LISTED));
    assert_eq!(of(crate::md5::digest(b"another")), None);
}

#[test]
fn limits_are_kept_and_say_so() {
    let mut roster = Roster::new(Reachability::Remote);
    assert_eq!(
        roster.append_client(lan(2), 0, OURS),
        Err(TrackerRefusal::PortZero)
    );
    for port in 1..=PEERS_PER_ADDRESS as u16 {
        roster
            .append_client(lan(2), port, OURS)
            .expect("below the limit");
    }
    assert_eq!(
        roster.append_client(lan(2), 60_000, OURS),
        Err(TrackerRefusal::Peers(ip("10.0.0.2")))
    );
    assert!(
        roster.append_client(lan(2), 7, OURS).is_ok(),
        "who is known may stay"
    );
    assert!(
        roster.append_client(lan(3), 60_000, OURS).is_ok(),
        "another address has its own limit"
    );
    let mut roster = Roster::new(Reachability::Local);
    for port in 1..=u16::MAX {
        roster
            .append_client(here(), port, None)
            .expect("no limit on loopback");
    }
    let many = of_names(&vec![""; NAMES_PER_LIST + 1]);
    assert_eq!(
        roster.set_list(here(), 1, None, &many),
        Err(TrackerRefusal::Names(NAMES_PER_LIST + 1))
    );
    let listed = swarm_list(&mut roster, here(), 1).peers;
    let different: BTreeSet<u16> = listed.iter().map(|peer| peer.port).collect();
    assert_eq!(
        (listed.len(), different.len(), different.contains(&1)),
        (PEERS_LISTED, PEERS_LISTED, false)
    );
    assert!(original_list(&roster, here(), 1, 1).0 <= ORIGINAL_CAP);
}

#[test]
fn a_file_in_many_pieces_counts_as_several() {
    let mut roster = Roster::new(Reachability::Remote);
    let n_pieces = 64_000;
    for n in 0..40 {
        publish(
            &mut roster,
            lan(2),
            5,
            &summary(&n.to_string(), n_pieces, "a"),
        )
        .expect("fine");
    }
    let usage = roster.quotas.usage(lan(2).peer);
    assert_eq!((usage.files, usage.names), (40 * 1001, 40 * 63));
    let more = summary("more", 1, "a");
    let refused = Err(TrackerRefusal::Files(lan(2).peer));
    assert_eq!(publish(&mut roster, lan(2), 5, &more).map(drop), refused);
    let smaller = summary("0", 640, "b");
    publish(&mut roster, lan(2), 5, &smaller).expect("in the place of a larger one");
    publish(&mut roster, lan(2), 5, &more).expect("there is room");
    let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = of_names(&names);
    let port = (1..=100).find(|port| roster.set_list(lan(3), *port, OURS, &all).is_err());
    // nine files count 63 each, and one 1
    assert_eq!(
        port.map(usize::from),
        Some(NAMES_PER_ADDRESS / (9 * 63 + 1) + 1)
    );
    (0..2).for_each(|_| drop(roster.update_peer_list()));
    assert_eq!(roster.quotas.usage(lan(3).peer), Default::default());
}

#[test]
fn what_one_address_lists_and_publishes_has_limits_off_loopback() {
    let names = |port: u16| {
        let names = (0..NAMES_PER_LIST).map(|n| format!("{port}-{n}"));
        of_names(&names.collect::<Vec<_>>())
    };
    for (from, refuses) in [(lan(2), true), (here(), false)] {
        let mut roster = Roster::new(Reachability::Remote);
        let mut listing = |from, port: u16| roster.set_list(from, port, OURS, &names(port));
        for port in 1..=4 {
            assert!(listing(from, port).is_ok(), "{NAMES_PER_ADDRESS} are fine");
        }
        let fifth = listing(from, 5).map(drop);
        let refused = Err(TrackerRefusal::NamesOf(from.peer));
        assert_eq!(fifth, if refuses { refused } else { Ok(()) });
        assert!(listing(from, 4).is_ok(), "a list in the place of its last");
        assert!(listing(lan(3), 5).is_ok(), "another address");

        let mut roster = Roster::new(Reachability::Remote);
        let of = |from: Endpoints, n: usize| Summary {
            publisher: SocketAddr::new(from.peer, 1).to_string(),
            ..summary(&n.to_string(), 1, "a")
        };
        for n in 0..FILES_PER_ADDRESS {
            let (summary, key) = (of(from, n), None);
            roster.load(Record { summary, key });
        }
        let mut publishing = |from, n| publish(&mut roster, from, 1, &of(from, n)).map(drop);
        let refused = Err(TrackerRefusal::Files(from.peer));
        let one_more = publishing(from, FILES_PER_ADDRESS);
        assert_eq!(one_more, if refuses { refused } else { Ok(()) });
        assert_eq!(publishing(from, 0), Ok(()), "what is there already");
        assert_eq!(publishing(lan(3), FILES_PER_ADDRESS + 1), Ok(()));
        // another's file counts for the one who replaces it
        drop(roster.update_peer_list());
        drop(roster.update_peer_list());
        let file = summary(&(FILES_PER_ADDRESS + 1).to_string(), 1, "b");
        let instead = publish(&mut roster, from, 1, &file).map(drop);
        let refused = Err(TrackerRefusal::Files(from.peer));
        assert_eq!(instead, if refuses { refused } else { Ok(()) });
    }
}

#[test]
fn a_name_longer_than_files_have_is_left_out() {
    let mut roster = Roster::new(Reachability::Remote);
    let (longest, longer) = ("x".repeat(LONGEST_NAME), "x".repeat(LONGEST_NAME + 1));
    list(&mut roster, lan(2), 5, None, &[&longer, &longest], &[]);
    let peers = swarm_list(&mut roster, lan(9), 5).peers;
    assert_eq!(peers[0].file_list, [longest]);
}

#[test]
fn long_lists_together_fit_what_a_client_reads() {
    let mut roster = Roster::new(Reachability::Remote);
    let long: Vec<String> = (0..NAMES_PER_LIST).map(|n| format!("{n:090}")).collect();
    let long = of_names(&long);
    for last in 2..22 {
        roster
            .set_list(lan(last), 5, OURS, &long)
            .expect("a fine list");
    }
    let list = swarm_list(&mut roster, lan(99), 5);
    assert_eq!(list.peers.len(), 20, "all are there");
    assert!(
        list.peers
            .iter()
            .filter(|peer| !peer.file_list.is_empty())
            .count()
            >= 2,
        "as many names as fit"
    );
    assert!(to_bytes(&list).len() <= LIST_CAP);
    assert!(original_list(&roster, lan(99), 5, 1).0 <= ORIGINAL_CAP_OFF_LOOPBACK);
}

#[test]
fn a_folder_of_the_longest_names_is_listed_and_what_is_left_out_is_told() {
    let mut roster = Roster::new(Reachability::Remote);
    for (publisher, listed, n_files) in [
        (2, NAMES_PER_LIST, None),
        (3, 16_000, Some(2 * NAMES_PER_LIST)),
    ] {
        for n in 0..NAMES_PER_LIST {
            let name = format!("{publisher}-{n:0238}");
            let record = summary(&name, 12 << 4, &name);
            publish(&mut roster, lan(publisher), 50_001, &record).expect("a folder fits");
        }
        let answer = swarm_list(&mut roster, lan(99), 5);
        let n_told = answer.torrents.as_ref().map_or(0, Vec::len);
        assert!(n_told >= listed, "{n_told}");
        assert_eq!(answer.n_files, n_files, "{publisher}");
        assert!(n_files.is_none_or(|n| n_told < n), "some are left out");
        assert!(to_bytes(&answer).len() <= LIST_CAP);
    }
}

#[test]
fn a_list_shows_what_was_announced_and_what_fits_the_record() {
    let mut roster = Roster::new(Reachability::Remote);
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
    let answer = swarm_list(&mut roster, lan(9), 5);
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
    let told = &answer.torrents.as_ref().expect("files")[0];
    let image = Summary {
        publisher: "10.0.0.2:5".to_owned(),
        checkpoints: told.checkpoints,
        here: true,
        ..summary("image.iso", 9, "a")
    };
    assert_eq!(answer.torrents, Some(vec![image]));
    assert!(!answer.local && answer.v == VERSION);
}

#[test]
fn a_peer_at_another_address_keeps_what_it_listed() {
    let mut roster = Roster::new(Reachability::Local);
    let lan = ends("10.0.0.1", "10.0.0.1");
    list(&mut roster, here(), 5, OURS, &["1.txt"], &[]);
    for (from, n_names) in [(lan, 1), (here(), 0)] {
        roster.append_client(from, 5, OURS).expect("a ping");
        let listed = swarm_list(&mut roster, lan, 6).peers;
        assert_eq!(listed[0].file_list, ["1.txt"]);
        assert_eq!(roster.quotas.usage(lan.peer).names, n_names);
    }
}

#[test]
fn files_that_the_asker_knows_are_not_told_again() {
    let mut roster = Roster::new(Reachability::Remote);
    publish(&mut roster, lan(2), 5, &summary("image.iso", 9, "a")).expect("the first");
    let rng = &mut rng();
    let mut ask = |roster: &mut Roster, asker, edition| {
        let answer = roster
            .swarm_list(asker, 5, &[], edition, rng)
            .to_bytes(std::time::Duration::ZERO);
        let list: SwarmList = parse(&answer).expect("its own bytes");
        assert!(!list.peers.is_empty(), "peers are told each time");
        (list.edition, list.torrents.map(|files| files.len()))
    };
    let (first, told) = ask(&mut roster, lan(9), None);
    assert!(first.is_some() && told == Some(1));
    assert_eq!(ask(&mut roster, lan(9), first), (first, None));
    assert_eq!(
        ask(&mut roster, lan(8), first),
        (first, None),
        "whoever asks"
    );
    assert_eq!(ask(&mut roster, lan(9), Some(1)), (first, Some(1)));
    let here = ask(&mut roster, here(), first);
    assert_ne!(here.0, first, "there its publisher has another address");
    assert_eq!(here.1, Some(1));
    publish(&mut roster, lan(2), 5, &summary("more.iso", 9, "b")).expect("the first");
    let (second, told) = ask(&mut roster, lan(9), first);
    assert!(second != first && told == Some(2));
    (0..2).for_each(|_| drop(roster.update_peer_list()));
    list(&mut roster, lan(3), 5, OURS, &["1.txt"], &[]);
    assert_eq!(
        ask(&mut roster, lan(9), second).1,
        Some(0),
        "nobody has them"
    );
}

#[test]
fn who_stands_still_is_seen() {
    let mut roster = Roster::new(Reachability::Remote);
    publish(&mut roster, lan(2), 5, &summary("image.iso", 9, "a")).expect("the first");
    list(&mut roster, lan(3), 5, None, &["image.iso.part0001"], &[]);
    for digits in ["8000", "c000", "c000"] {
        roster.update_peer_list();
        roster.append_client(lan(2), 5, OURS).expect("a ping");
        roster.append_client(lan(3), 5, None).expect("a ping");
        list(
            &mut roster,
            lan(4),
            5,
            OURS,
            &["1.txt"],
            &[("image.iso", digits)],
        );
    }
    let overview = roster.overview(10, 10);
    let rows = overview.rows.iter().map(|row| {
        let host = row.addr.ip().to_string();
        let files: Vec<_> = row.files().collect();
        (host, row.original, row.still, files)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    let image = |n| ("image.iso", n, 9);
    assert_eq!(
        rows,
        [
            ("10.0.0.2".to_owned(), false, 3, vec![image(9)]),
            ("10.0.0.3".to_owned(), true, 3, vec![image(1)]),
            (
                "10.0.0.4".to_owned(),
                false,
                1,
                vec![("1.txt", 1, 1), image(2)]
            ),
        ]
    );
    assert_eq!(
        (roster.overview(2, 10).rows.len(), overview.n_peers),
        (2, 3)
    );
}

#[test]
fn what_the_swept_had_is_counted_no_more() {
    let mut roster = Roster::new(Reachability::Remote);
    publish(&mut roster, lan(2), 5, &summary("image.iso", 900, "a")).expect("the first");
    let digits = crate::bitfield::Bitfield::full(900).to_hex();
    for host in 3..13 {
        list(&mut roster, lan(host), 5, OURS, &["1.txt"], &[]);
        list(&mut roster, lan(host), 6, OURS, &["image.iso"], &[]);
        list(
            &mut roster,
            lan(host),
            7,
            OURS,
            &[],
            &[("image.iso", &digits)],
        );
    }
    let count = |roster: &Roster| {
        let file = roster.files.get("image.iso").expect("it is published");
        (file.holders.len(), file.counts.of(899))
    };
    assert_eq!(count(&roster), (21, 21));
    roster.update_peer_list();
    roster.append_client(lan(7), 6, OURS).expect("a ping");
    let dropped = roster.update_peer_list();
    let different: BTreeSet<_> = dropped.iter().collect();
    assert_eq!((dropped.len(), different.len()), (30, 30), "each once");
    assert_eq!((roster.n_peers(), count(&roster)), (1, (1, 1)));
    assert!(roster.files.get("1.txt").is_none(), "nobody's name is kept");
    (0..2).for_each(|_| drop(roster.update_peer_list()));
    assert_eq!(roster.quotas.usage(lan(7).peer), Default::default());
    assert_eq!(roster.everyone.len(), 0);
}

#[test]
fn a_list_takes_the_place_of_the_last_one() {
    let mut roster = Roster::new(Reachability::Remote);
    publish(&mut roster, lan(2), 5, &summary("image.iso", 900, "a")).expect("the first");
    let parts = (1..=900).map(|n| format!("image.iso.part{n:04}"));
    let parts: Vec<String> = parts.filter(|name| !name.ends_with('7')).collect();
    for prefix in ["a", "b"] {
        let many: Vec<String> = (0..768).map(|n| format!("{prefix}-{n}")).collect();
        let names = of_names(&[many.clone(), parts.clone()].concat());
        let listed = roster.set_list(lan(3), 5, None, &names);
        assert_eq!(listed.map(|joined| joined.new), Ok(prefix == "a"));
        let peer = &roster.peers[&roster.key(lan(3), 5, None)];
        let held = peer.holdings.files.iter();
        let had: BTreeMap<_, _> = held
            .map(|(name, held)| (name.to_string(), held.count()))
            .collect();
        let mut expected: BTreeMap<_, _> = many.into_iter().map(|it| (it, 1)).collect();
        expected.insert("image.iso".to_owned(), parts.len() as u32);
        assert_eq!(had, expected);
        assert_eq!(roster.quotas.usage(lan(3).peer).names, expected.len());
    }
    assert!(
        roster.files.get("a-5").is_none(),
        "nobody lists it any more"
    );
    list(&mut roster, lan(3), 5, OURS, &["1.txt"], &[]);
    let usage = roster.quotas.usage(lan(3).peer);
    assert_eq!((usage.peers, usage.names), (1, 1), "another program's list");
}

#[test]
fn a_listed_name_counts_once_it_is_published() {
    let other = summary("f", 9, "other");
    for (content, named, expected) in [(&summary("f", 9, "a"), true, 100), (&other, false, 1)] {
        let mut roster = Roster::new(Reachability::Local);
        if !named {
            publish(&mut roster, here(), 1, &summary("f", 9, "a")).expect("the first");
        }
        (1..=100).for_each(|port| list(&mut roster, here(), port, OURS, &["f"], &[]));
        let verdict = match named {
            true => Verdict::New,
            false => Verdict::Replaces,
        };
        let record = Record {
            summary: content.clone(),
            key: None,
        };
        roster.publish(SocketAddr::new(here().peer, 1), record, verdict);
        let file = roster.files.get("f").expect("published");
        assert_eq!(file.holders.len(), expected);
        assert!((0..9).all(|idx| file.counts.of(idx) == expected as u32));
        let holders = roster.peers.values().filter(|peer| !peer.has_nothing());
        assert_eq!(holders.count(), expected);
    }
}
