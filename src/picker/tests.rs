//! The picker's decisions, by tables and by a seeded generator.

use super::late::USUAL;
use super::places::MANY;
use super::*;
use crate::md5::digest;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeSet;

use crate::torrent::{BLOCKS_A_PIECE, MAX_PIECE_LEN, Torrent};

/// A file of pieces of the longest kind, whose content nobody looks at.
fn torrent(n_pieces: u32) -> Torrent {
    let size = u64::from(n_pieces) * u64::from(MAX_PIECE_LEN);
    let checkpoints = vec![crate::md5::INITIAL; n_pieces as usize * BLOCKS_A_PIECE];
    let name = Name::parse("f").expect("a name");
    Torrent::new(name, size, MAX_PIECE_LEN, digest(b"f"), checkpoints).expect("a torrent")
}

const NEAR: Route = Route {
    latency: Duration::from_millis(1),
    one_at_a_time: false,
    subnet: None,
};

fn far(ms: u64) -> Route {
    Route {
        latency: Duration::from_millis(ms),
        ..NEAR
    }
}

/// A picker that wants `n_pieces`, with peers from 1 that have these and are reached so.
fn picker(n_pieces: u32, peers: &[(&[u32], Route)]) -> (Picker, Name) {
    let torrent = torrent(n_pieces);
    let mut picker = Picker::default();
    picker.want(&torrent, &Bitfield::new(n_pieces), &BTreeMap::new());
    for (no, (has, way)) in (1..).zip(peers) {
        picker.peer_has(no, torrent.name(), has.iter().copied());
        picker.open(no, *way);
    }
    (picker, torrent.name().clone())
}

fn pieces(orders: &[Decision]) -> Vec<u32> {
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
            .next_request(CANDIDATES, Instant::now(), &mut rng)
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
            .next_request(CANDIDATES, Instant::now(), &mut rng)
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
    let (_, chances) = select_peer(&holders, &mut StdRng::seed_from_u64(1)).expect("two holders");
    assert_eq!(chances, [(1, 0.5), (2, 0.5)]);
}

#[test]
fn far_peers_have_one_request_outstanding_and_near_ones_two() {
    let all: Vec<u32> = (0..64).collect();
    for (latency, depth) in [(2, 2), (16, 2), (17, 1)] {
        let (mut picker, _) = picker(64, &[(&all, NEAR), (&all, far(latency))]);
        let orders = picker.next_requests(Instant::now(), &mut StdRng::seed_from_u64(1));
        let of = |peer| orders.iter().filter(|order| order.peer == peer).count();
        assert_eq!((of(1), of(2)), (2, depth), "{latency} ms");
    }
    for (n_peers, depth) in [(MANY - 1, 2), (MANY, 1)] {
        let peers: Vec<(&[u32], Route)> = (0..n_peers).map(|_| (&all[..], NEAR)).collect();
        let (mut picker, _) = picker(64, &peers);
        picker
            .files
            .values_mut()
            .for_each(|file| file.piece_len = 1);
        let orders = picker.next_requests(Instant::now(), &mut StdRng::seed_from_u64(1));
        assert_eq!(orders.len(), n_peers * depth, "{n_peers} peers");
    }
    let original = Route {
        one_at_a_time: true,
        ..NEAR
    };
    let (mut picker, _) = picker(64, &[(&all, original)]);
    let orders = picker.next_requests(Instant::now(), &mut StdRng::seed_from_u64(1));
    // and that one names one piece: others of it can be asked of somebody else
    assert_eq!((orders.len(), pieces(&orders).len()), (1, 1));
}

#[test]
fn a_piece_is_open_again_when_its_peer_leaves() {
    let (mut picker, name) = picker(4, &[(&[0, 1, 2, 3], NEAR), (&[0, 1, 2, 3], NEAR)]);
    let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
    let orders = picker.next_requests(now, &mut rng);
    let mut asked = pieces(&orders);
    asked.sort_unstable();
    assert_eq!(asked, [0, 1, 2, 3], "each once: {orders:?}");
    assert!(pieces(&picker.next_requests(now, &mut rng)).is_empty());
    picker.forget(1);
    let order = orders
        .iter()
        .find(|order| order.peer == 2)
        .expect("two of the four");
    picker
        .answered(2, order.get.n, Some(order.get.pieces[0]), now)
        .expect("it was asked for");
    picker.landed(&name, order.get.pieces[0]);
    let again = pieces(&picker.next_requests(now, &mut rng));
    let first = orders.iter().filter(|order| order.peer == 1);
    assert!(
        first
            .flat_map(|order| &order.get.pieces)
            .all(|idx| again.contains(idx) || picker.files[&name].open.get(*idx))
    );
    assert_eq!(again.len(), 1, "one of its two places is free");
}

#[test]
fn candidates_are_a_fair_share_of_what_is_open() {
    let all: Vec<u32> = (0..64).collect();
    for (n_peers, expected) in [(1, 8), (8, 8), (16, 4), (64, 1)] {
        let peers: Vec<(&[u32], Route)> = (0..n_peers).map(|_| (&all[..], NEAR)).collect();
        let (mut picker, _) = picker(64, &peers);
        let order = picker
            .next_request(CANDIDATES, Instant::now(), &mut StdRng::seed_from_u64(1))
            .expect("something to ask for");
        assert_eq!(order.get.pieces.len(), expected, "{n_peers} peers");
    }
}

#[test]
fn each_of_many_ties_may_come_first() {
    let all: Vec<u32> = (0..64).collect();
    let alone = [(&all[..32], NEAR), (&all[32..], NEAR)];
    for peers in [&[(&all[..], NEAR)][..], &alone] {
        let first = |seed| {
            let (mut picker, _) = picker(64, peers);
            let mut rng = StdRng::seed_from_u64(seed);
            let order = picker.next_request(CANDIDATES, Instant::now(), &mut rng);
            order.expect("something to ask for").get.pieces[0]
        };
        let seen: BTreeSet<u32> = (0..1000).map(first).collect();
        assert_eq!(seen.len(), 64, "of {} peers: {seen:?}", peers.len());
    }
}

/// Another file that is wanted, of so many pieces.
fn want_too(picker: &mut Picker, name: &str, n_pieces: u32) -> Name {
    let name = Name::parse(name).expect("a name");
    let checkpoints = vec![crate::md5::INITIAL; n_pieces as usize * BLOCKS_A_PIECE];
    let size = u64::from(n_pieces) * u64::from(MAX_PIECE_LEN);
    let torrent = Torrent::new(name.clone(), size, MAX_PIECE_LEN, digest(b""), checkpoints);
    let torrent = torrent.expect("a torrent");
    picker.want(&torrent, &Bitfield::new(n_pieces), &BTreeMap::new());
    name
}

#[test]
fn of_several_files_the_rarest_piece_comes_first() {
    // the first peer has all pieces of `f`, which has two holders, and of another file, which has one
    for other in ["e", "g"] {
        let (mut picker, _) = picker(2, &[(&[0, 1], NEAR), (&[0, 1], NEAR)]);
        let other = want_too(&mut picker, other, 64);
        picker.peer_has(1, &other, 0..64);
        let mut rng = StdRng::seed_from_u64(1);
        let next = picker.next_request(CANDIDATES, Instant::now(), &mut rng);
        let get = next.expect("the rarest").get;
        assert_eq!((get.name, get.pieces.len()), (other, CANDIDATES));
    }
}

#[test]
fn what_is_named_with_a_piece_is_of_its_file() {
    let all: Vec<u32> = (0..64).collect();
    let mut names = BTreeSet::new();
    for seed in 0..100 {
        // the first peer has both files, whose pieces are equally rare
        let (mut picker, _) = picker(64, &[(&all, NEAR), (&all, NEAR), (&[], NEAR)]);
        let other = want_too(&mut picker, "g", 2);
        for peer in [1, 3] {
            picker.peer_has(peer, &other, 0..2);
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let next = picker.next_request(CANDIDATES, Instant::now(), &mut rng);
        let Decision { peer, get, .. } = next.expect("something to ask for");
        let fits = get.name != other || get.pieces.iter().all(|idx| *idx < 2);
        assert!(fits, "{seed}: {:?} of {}", get.pieces, get.name);
        names.insert((peer, get.name));
    }
    assert_eq!(
        names.len(),
        4,
        "whatever the first peer's rank is: {names:?}"
    );
}

#[test]
fn nothing_is_named_that_is_less_rare() {
    let all: Vec<u32> = (0..12).collect();
    for seed in 0..100 {
        let (mut picker, _) = picker(12, &[(&all, NEAR), (&all[..8], NEAR)]);
        let mut rng = StdRng::seed_from_u64(seed);
        let next = picker.next_request(CANDIDATES, Instant::now(), &mut rng);
        let named = next.expect("the rarest").get.pieces;
        assert!(
            named.len() == 2 && named.iter().all(|idx| *idx >= 8),
            "{seed}: {named:?}"
        );
    }
}

#[test]
fn what_was_named_and_not_sent_is_open_again() {
    let (mut picker, name) = picker(8, &[(&[0, 1, 2, 3, 4, 5, 6, 7], NEAR)]);
    let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
    let first = picker.next_request(CANDIDATES, now, &mut rng);
    let get = first.expect("something to ask for").get;
    assert_eq!(get.pieces.len(), 4, "half of them for each of two places");
    let not_named = picker.answered(1, get.n, Some(99), now);
    assert!(not_named.is_none());
    assert_eq!(picker.files[&name].open.count(), 4);
    let sent = get.pieces[2];
    let named = picker.answered(1, get.n, Some(sent), now);
    named.expect("it was named");
    let open: Vec<u32> = picker.files[&name].open.iter().collect();
    let others: Vec<u32> = (0..8).filter(|idx| *idx != sent).collect();
    assert_eq!(open, others);
}

#[test]
fn a_late_piece_is_asked_for_again() {
    // nobody has the second one
    let (mut picker, name) = picker(2, &[(&[0], NEAR), (&[], NEAR), (&[], NEAR)]);
    let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
    let first = picker.next_requests(start, &mut rng);
    assert_eq!(pieces(&first), [0]);
    // the other two are told of it by news, and their polls answered
    for poll in first.iter().filter(|order| order.get.pieces.is_empty()) {
        picker.peer_has(poll.peer, &name, [0]);
        picker
            .answered(poll.peer, poll.get.n, None, start)
            .expect("it was asked");
    }
    let wait = USUAL * 3 / 2;
    assert!(picker.late(2, start + wait).is_none(), "not late yet");
    let late = start + wait + Duration::from_millis(1);
    let second = picker.next_requests(late, &mut rng);
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
    assert!(picker.late(3, late + wait * 2).is_none(), "not late yet");
    let then = late + wait * 2 + Duration::from_millis(1);
    assert_eq!(pieces(&picker.next_requests(then, &mut rng)), [0]);
    assert!(pieces(&picker.next_requests(then + USUAL * 99, &mut rng)).is_empty());
}

#[test]
fn a_piece_is_late_later_as_long_as_others_can_be_asked_for() {
    let all: Vec<u32> = (0..16).collect();
    let (mut picker, name) = picker(16, &[(&all, NEAR), (&[], NEAR)]);
    let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
    let first = picker.next_request(CANDIDATES, start, &mut rng);
    let asked = first.expect("something to ask for").get.pieces[0];
    picker.peer_has(2, &name, [asked]);
    assert!(picker.late(2, start + USUAL * 4).is_none(), "not late yet");
    let late = start + USUAL * 4 + Duration::from_millis(1);
    let again = picker.late(2, late).expect("it is late");
    assert_eq!(again.get.pieces, [asked]);
}

#[test]
fn bytes_in_flight_are_bounded() {
    let all: Vec<u32> = (0..64).collect();
    let peers: Vec<(&[u32], Route)> = all.chunks(8).map(|has| (has, NEAR)).collect();
    let (mut picker, _) = picker(64, &peers);
    let orders = picker.next_requests(Instant::now(), &mut StdRng::seed_from_u64(1));
    let bodies = orders
        .iter()
        .filter(|order| !order.get.pieces.is_empty())
        .count();
    assert_eq!(bodies, (IN_FLIGHT / u64::from(MAX_PIECE_LEN)) as usize);
    assert!(orders.len() > bodies, "some wait for news, which is short");
    assert_eq!(picker.bytes_in_flight(), IN_FLIGHT);
}

#[test]
fn an_idle_connection_waits_for_news() {
    let (mut picker, name) = picker(
        1,
        &[
            (&[], NEAR),
            (
                &[],
                Route {
                    one_at_a_time: true,
                    ..NEAR
                },
            ),
        ],
    );
    let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
    let orders = picker.next_requests(now, &mut rng);
    assert_eq!(orders.len(), 1);
    assert_eq!(
        (orders[0].peer, &orders[0].why, orders[0].get.pieces.len()),
        (1, &Why::News, 0)
    );
    assert!(
        picker.next_requests(now, &mut rng).is_empty(),
        "one poll at a time"
    );
    picker.unwant(&name);
    picker.answered(1, orders[0].get.n, None, now);
    assert!(picker.is_idle() && picker.next_requests(now, &mut rng).is_empty());
}

#[test]
fn a_bad_copy_is_not_asked_for_again() {
    let (mut picker, name) = picker(1, &[(&[0], NEAR)]);
    let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
    let order = picker
        .next_request(CANDIDATES, now, &mut rng)
        .expect("the one piece");
    picker.answered(1, order.get.n, Some(0), now);
    picker.dropped(1, &name, 0);
    picker.peer_lacks(1, &name, 0);
    assert!(picker.next_request(CANDIDATES, now, &mut rng).is_none());
    picker.peer_has(2, &name, [0]);
    picker.open(2, NEAR);
    assert_eq!(
        picker
            .next_request(CANDIDATES, now, &mut rng)
            .map(|order| order.peer),
        Some(2)
    );
}

#[test]
fn another_contents_bad_copy_means_nothing() {
    let (mut picker, name) = picker(9, &[(&[8], NEAR)]);
    picker.want(&torrent(2), &Bitfield::new(2), &BTreeMap::new());
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

/// One connection among `n_peers`, on which each answer comes a `round_trip` after its request, and is said to begin after a
/// pause; returns how many requests are outstanding in the end.
fn outstanding_after(answers: usize, n_peers: usize, route: Route, pause: [u64; 2]) -> usize {
    let ms = Duration::from_millis;
    let mut rng = StdRng::seed_from_u64(1);
    let all: Vec<u32> = (0..2000).collect();
    let peers = vec![(&all[..], route); n_peers];
    let (mut picker, name) = picker(2000, &peers);
    picker.files.get_mut(&name).expect("wanted").piece_len = 65_536;
    let mut now = Instant::now();
    let mut asked = std::collections::VecDeque::new();
    let [round_trip, idle] = pause.map(ms);
    for _ in 0..answers {
        let requests = picker.next_requests(now, &mut rng).into_iter();
        asked.extend(requests.filter(|request| request.peer == 1));
        now += round_trip;
        let Decision { get, .. } = asked.pop_front().expect("a request");
        picker.stood_idle(1, get.n, idle, now);
        picker.answered(1, get.n, Some(get.pieces[0]), now);
        picker.landed(&name, get.pieces[0]);
    }
    picker.links[&1].asked.len() + 1
}

#[test]
fn a_connection_that_stands_idle_gets_more_places() {
    for (answers, n_peers, latency, pause, expected) in [
        // the holder never waits
        (100, 1, 40, [40, 0], 2..=2),
        // it waits for most of the round trip
        (8, 1, 40, [40, 35], 5..=64),
        // too short to matter: on one switch, or beside what a piece takes
        (100, 1, 1, [5, 2], 2..=2),
        (100, 1, 40, [2000, 100], 2..=2),
        // among many, others fill the pause, unless the distance makes it
        (100, MANY, 1, [40, 35], 1..=1),
        (8, MANY, 40, [40, 35], 3..=64),
        // there is an end to it
        (400, 1, 40, [40, 35], 64..=258),
    ] {
        let found = outstanding_after(answers, n_peers, far(latency), pause);
        assert!(
            expected.contains(&found),
            "{found} after {answers} answers of {pause:?} ms, with {n_peers} peers {latency} ms away"
        );
    }
}

#[test]
fn places_that_are_not_needed_any_more_are_given_up() {
    let mut rng = StdRng::seed_from_u64(1);
    let all: Vec<u32> = (0..64).collect();
    let (mut picker, _) = picker(64, &[(&all, far(40))]);
    picker.links.get_mut(&1).expect("a link").further = 3.0;
    let now = Instant::now();
    let first = picker.next_requests(now, &mut rng);
    // pieces of the longest kind: 16 MiB is one of them
    picker.stood_idle(1, first[0].get.n, Duration::ZERO, now);
    assert!(picker.links[&1].further <= 1.0);
    (0..32).for_each(|_| picker.stood_idle(1, first[0].get.n, Duration::ZERO, now));
    assert!(picker.links[&1].further < 0.1);
    // a connection that is opened anew begins anew
    picker.links.get_mut(&1).expect("a link").further = 3.0;
    picker.release(1);
    assert!(picker.links[&1].further == 0.0);
    assert!(
        picker.next_requests(now, &mut rng).is_empty(),
        "it's closed"
    );
}

#[test]
fn a_piece_that_two_were_asked_for_is_open_once_both_left() {
    let (mut picker, name) = picker(1, &[(&[0], NEAR), (&[0], NEAR), (&[0], NEAR)]);
    let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
    let first = picker.classic_round(now, &mut rng).expect("the piece").peer;
    let later = now + USUAL * 99;
    let others: Vec<PeerId> = (1..=3).filter(|peer| *peer != first).collect();
    picker.release(others[1]);
    assert!(picker.late(others[1], later).is_none(), "it's closed");
    picker.late(others[0], later).expect("it is late");
    picker.forget(first);
    assert!(
        !picker.files[&name].open.get(0),
        "the other one may send it"
    );
    assert!(!picker.links.contains_key(&first));
    picker.forget(others[0]);
    assert!(picker.files[&name].open.get(0));
}

#[test]
fn what_has_come_is_not_late() {
    let (mut picker, _) = picker(1, &[(&[0], NEAR), (&[0], NEAR)]);
    let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
    let order = picker.classic_round(now, &mut rng).expect("the piece");
    picker.answered(order.peer, order.get.n, Some(0), now);
    // it is checked, or on its way to the disk
    assert!(picker.late(3 - order.peer, now + USUAL * 99).is_none());
}

#[test]
fn what_is_missing_of_a_piece_is_asked_for_alone() {
    let torrent = torrent(12);
    let mut blocks = BlockSet::NONE;
    (0..BLOCKS_A_PIECE - 1).for_each(|block| blocks.insert(block));
    let all = BlockSet::NONE.missing_of(BLOCKS_A_PIECE);
    let mut n_alone = 0;
    for seed in 0..100 {
        let (mut picker, name) = (Picker::default(), torrent.name().clone());
        let here = BTreeMap::from([(0, blocks), (1, all)]);
        picker.want(&torrent, &Bitfield::new(12), &here);
        picker.peer_has(1, &name, 0..12);
        picker.open(1, NEAR);
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(seed));
        let mut next = |picker: &mut Picker| {
            let next = picker.next_request(CANDIDATES, now, &mut rng);
            next.expect("something to ask for").get
        };
        let get = next(&mut picker);
        let missing = blocks.missing_of(BLOCKS_A_PIECE);
        if get.pieces.contains(&0) {
            assert_eq!((get.pieces, get.blocks), (vec![0], Some(missing)), "{seed}");
            n_alone += 1;
            // the blocks that are here may be what was wrong with it
            picker.dropped(1, &name, 0);
            picker.links.get_mut(&1).expect("a link").asked.clear();
            (1..12).for_each(|idx| picker.landed(&name, idx));
            assert_eq!(next(&mut picker).blocks, None, "{seed}");
        } else {
            // of piece 1, all blocks are here: it is whole, or something in it is wrong
            assert_eq!((get.pieces.len(), get.blocks), (6, None), "{seed}");
        }
    }
    assert!(n_alone > 0);
}

#[test]
fn only_what_somebody_has_can_be_obtained() {
    let (mut picker, name) = picker(2, &[(&[], NEAR)]);
    assert_eq!(picker.n_obtainable(), 0);
    picker.peer_has(1, &name, [0]);
    assert_eq!(picker.n_obtainable(), 1);
    // also while it is on its way
    picker.next_requests(Instant::now(), &mut StdRng::seed_from_u64(1));
    assert_eq!(picker.n_obtainable(), 1);
    picker.landed(&name, 0);
    assert_eq!(picker.n_obtainable(), 0);
}

#[test]
fn a_longer_head_is_asked_of_who_is_known_already() {
    let (mut picker, name) = picker(64, &[(&[0], NEAR)]);
    picker.extend(&torrent(65), &Bitfield::new(65));
    picker.peer_has(1, &name, [64]);
    let wanted: BTreeSet<u32> = picker.files[&name]
        .open
        .and(&picker.links[&1].has[&name])
        .collect();
    assert_eq!(wanted, BTreeSet::from([0, 64]));
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
        let mut open: Vec<Decision> = Vec::new();
        let mut here = Bitfield::new(40);
        for _ in 0..300 {
            now += Duration::from_millis(100);
            open.extend(picker.next_requests(now, &mut rng));
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
                            here.set(idx);
                        }
                    }
                }
            }
            let file = &picker.files[&name];
            for idx in 0..40 {
                let states = [
                    here.get(idx),
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
        assert!(here.is_full(), "300 steps are enough for 40 pieces");
    }
}

const ELSEWHERE: Route = Route {
    subnet: Some(Subnet::Other),
    ..NEAR
};

fn here(comes_before: bool) -> Route {
    Route {
        subnet: Some(Subnet::Same { comes_before }),
        ..NEAR
    }
}

/// What peer 1, elsewhere, is to be asked for, as soon as something else is on its way.
fn share(picker: &Picker, name: &Name) -> Vec<u32> {
    let has = &picker.links[&1].has[name];
    let share = picker.share_of(name, has, picker.links[&1].took);
    share.iter().collect()
}

#[test]
fn of_another_subnet_is_asked_what_nobody_here_has_and_one_share_of_it() {
    let all: Vec<u32> = (0..6).collect();
    let (before, after) = (here(true), here(false));
    type Others<'a> = &'a [(&'a [u32], Route)];
    let cases: [(&str, Others, &[u32]); 7] = [
        ("nobody else is here", &[], &[0, 1, 2, 3, 4, 5]),
        (
            "who has nothing yet is no help",
            &[(&[], before)],
            &[0, 1, 2, 3, 4, 5],
        ),
        (
            "a seed here is for what is rare",
            &[(&all, before)],
            &[0, 1, 2, 3, 4, 5],
        ),
        ("the second of two", &[(&[1], before)], &[3, 5]),
        ("the first of two", &[(&[1], after)], &[0, 2, 4]),
        (
            "the second of three",
            &[(&[1], before), (&[2], after)],
            &[4],
        ),
        (
            "others elsewhere share nothing",
            &[(&[1], ELSEWHERE)],
            &[0, 1, 2, 3, 4, 5],
        ),
    ];
    for (what, others, expected) in cases {
        // peer 1 isn't the only one elsewhere, so nothing has a single holder
        let elsewhere = [(&all[..], ELSEWHERE), (&all[..], ELSEWHERE)];
        let peers: Vec<_> = elsewhere.iter().chain(others).copied().collect();
        let (picker, name) = picker(6, &peers);
        assert_eq!(share(&picker, &name), expected, "{what}");
    }
}

#[test]
fn what_one_holder_elsewhere_has_is_anybodys() {
    let peers: [(&[u32], Route); 2] = [(&[0, 1, 2, 3], ELSEWHERE), (&[3], here(true))];
    let (picker, name) = picker(4, &peers);
    assert_eq!(share(&picker, &name), [0, 1, 2]);
}

#[test]
fn a_slower_machine_of_the_subnet_is_not_waited_for() {
    let all: &[u32] = &[0, 1, 2, 3];
    let (mut picker, name) = picker(4, &[(all, ELSEWHERE), (&[1, 2], here(true))]);
    for (here, elsewhere, expected) in [
        (None, Some(1), &[0, 3][..]),
        (Some(9), None, &[0, 3]),
        (Some(1), Some(1), &[0, 3]),
        (Some(2), Some(1), all),
    ] {
        let seconds = |n: Option<u64>| n.map(Duration::from_secs);
        for (peer, took) in [(1, elsewhere), (2, here)] {
            picker.links.get_mut(&peer).expect("known").took = seconds(took);
        }
        assert_eq!(share(&picker, &name), expected, "{here:?} {elsewhere:?}");
    }
}

#[test]
fn who_waits_for_nothing_takes_what_it_can_get() {
    // piece 1 is the share of the machine that comes after
    let peers: [(&[u32], Route); 3] = [(&[1], ELSEWHERE), (&[1], ELSEWHERE), (&[0], here(false))];
    let (mut picker, name) = picker(2, &peers);
    let offer = |picker: &Picker| -> Vec<u32> {
        let offers = picker.offers_of(1, picker.bytes_in_flight());
        offers
            .flat_map(|(_, has)| has.iter().collect::<Vec<_>>())
            .collect()
    };
    assert_eq!((offer(&picker), share(&picker, &name)), (vec![1], vec![]));
    let why = Why::News;
    picker.ask(3, name, vec![0], Instant::now(), Duration::ZERO, why);
    assert!(offer(&picker).is_empty());
}
