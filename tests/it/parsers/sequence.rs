//! What a tracker knows, through any sequence of messages. The bytes choose what happens: at random in the tests next door,
//! and in `tests/fuzz` as a fuzzer likes. The same for a peer is in `src/state/sequence.rs`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bittorrentish::bitfield::Bitfield;
use bittorrentish::content::Verdict;
use bittorrentish::protocol::{
    Coming, LIST_CAP, ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK, PeerEntry, PeerList, Publication,
    Summary, SwarmList, VERSION, parse, to_bytes,
};
use bittorrentish::roster::{Endpoints, FileSources, PEERS_LISTED, Reachability, Record, Roster};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::dice::{Dice, sent, summary};

/// As what peers tell and ask a tracker.
pub fn of_a_tracker(bytes: &[u8]) {
    let mut dice = Dice(bytes);
    let reach = *dice.of(&[Reachability::Remote, Reachability::Local]);
    let mut roster = Roster::new(reach);
    let rng = &mut StdRng::seed_from_u64(1);
    while !dice.0.is_empty() {
        let (from, port) = (ends(&mut dice), dice.port());
        let v = dice.one_in(2).then_some(VERSION);
        match dice.below(8) {
            0 => drop(roster.append_client(from, port, v)),
            1..4 => lists(&mut roster, &mut dice, from, port, v),
            4 | 5 => publishes(&mut roster, &mut dice, from, port),
            6 if dice.one_in(3) => drop(roster.update_peer_list()),
            _ => {
                let torrent = dice.content();
                let sources = roster.sources(torrent.name(), torrent.md5(), from, rng);
                let sources = sources.into_iter().flat_map(|of: FileSources| of.peers);
                assert!(
                    sources
                        .map(|source| source.ip.parse::<IpAddr>())
                        .all(|ip| ip.is_ok())
                );
            }
        }
        answers_hold(&mut roster, from, port, rng);
    }
    (0..2).for_each(|_| drop(roster.update_peer_list()));
    assert_eq!(roster.n_peers(), 0, "who is silent goes");
    let left = roster
        .swarm_list(ends(&mut dice), 1, &[], None, rng)
        .to_bytes(std::time::Duration::ZERO);
    let left: SwarmList = parse(&left).expect("a list");
    assert!(left.peers.is_empty() && left.torrents == Some(Vec::new()));
}

fn ends(dice: &mut Dice) -> Endpoints {
    let (peer, own) = *dice.of(&[
        ("10.0.0.2", "10.0.0.1"),
        ("10.0.0.3", "10.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("fe80::2", "fe80::1"),
        ("::1", "::1"),
    ]);
    let ip = |text: &str| text.parse().expect("an address");
    Endpoints {
        peer: ip(peer),
        own: ip(own),
    }
}

fn lists(roster: &mut Roster, dice: &mut Dice, from: Endpoints, port: u16, v: Option<u32>) {
    let list = PeerList {
        files: dice.up_to(6, Dice::listed),
        pieces: dice.parts(),
        coming: dice.up_to(2, |dice| Coming {
            name: dice.name(),
            size: 9,
            done: 1,
            peer: String::new(),
            head: None,
        }),
        others: dice
            .up_to(2, |dice| (dice.name(), dice.content().md5()))
            .into_iter()
            .collect(),
    };
    let listed = roster.set_list(from, port, v, &list);
    assert_eq!(listed.is_ok(), port > 0);
}

/// As the tracker does: it is judged, then written, while others list what they have, and then recorded.
fn publishes(roster: &mut Roster, dice: &mut Dice, from: Endpoints, port: u16) {
    let Ok(joined) = roster.append_client(from, port, Some(VERSION)) else {
        return;
    };
    let torrent = dice.content();
    let file = sent(&Publication {
        own: !dice.one_in(3),
        pinned: dice.one_in(3),
        published: dice.below(3) as u64,
        publisher: "10.0.0.2:1".to_owned(),
        ..Publication::of(&torrent)
    });
    let (key, settling) = (*dice.of(&["one", "two"]), dice.one_in(4));
    // of the dates below 3, one is ahead
    let judged = roster.judge(joined.addr, key, &file, 1, settling);
    let judged = judged.expect("below the caps");
    if dice.one_in(3) {
        let other = ends(dice);
        lists(roster, dice, other, 2, Some(VERSION));
    }
    if dice.one_in(8) {
        roster.forget_record(torrent.name());
    }
    if matches!(judged.verdict, Verdict::Stays(_)) {
        return;
    }
    let publisher = match file.own {
        true => joined.addr.to_string(),
        false => file.publisher,
    };
    let summary = Summary {
        publisher,
        published: file.published,
        pinned: file.own && file.pinned,
        ..summary(&torrent)
    };
    let key = file.own.then(|| key.to_owned());
    roster.publish(joined.addr, Record { summary, key }, judged.verdict);
}

/// Whatever the tracker knows, its answers fit who asks.
fn answers_hold(roster: &mut Roster, asker: Endpoints, port: u16, rng: &mut StdRng) {
    let answer = roster
        .swarm_list(asker, port, &[], None, rng)
        .to_bytes(std::time::Duration::ZERO);
    let list: SwarmList = parse(&answer).expect("a list");
    assert!(list.peers.len() <= PEERS_LISTED && answer.len() <= LIST_CAP);
    assert_eq!(to_bytes(&list), answer);
    for coming in &list.coming {
        assert!(coming.peer.parse::<SocketAddr>().is_ok());
    }
    for summary in list.torrents.iter().flatten() {
        let others = summary.others.iter().map(|other| other.md5);
        assert!(others.clone().all(|md5| md5 != summary.md5));
    }
    let listed: BTreeMap<&str, &Summary> = list
        .torrents
        .iter()
        .flatten()
        .map(|it| (it.name.as_str(), it))
        .collect();
    for peer in &list.peers {
        assert!(peer.ip.parse::<IpAddr>().is_ok() && peer.port > 0);
        for (name, digits) in &peer.pieces {
            let summary = listed[name.as_str()];
            let bits = Bitfield::from_hex(digits, summary.n_pieces);
            assert!(
                bits.is_some_and(|bits| !bits.is_empty()),
                "{name}: {digits} of {}",
                summary.n_pieces
            );
        }
    }
    let answer = roster.original_list(asker, port, rng).to_bytes(rng);
    let entries: Vec<PeerEntry> = parse(&answer).expect("a list");
    let cap = if asker.peer.is_loopback() || asker.peer == asker.own {
        ORIGINAL_CAP
    } else {
        ORIGINAL_CAP_OFF_LOOPBACK
    };
    assert!(to_bytes(&entries) == answer && answer.len() <= cap);
    for entry in entries {
        assert!(entry.ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()));
        assert!(entry.v.is_none() && entry.pieces.is_empty());
    }
}
