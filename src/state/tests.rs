//! A peer's knowledge, step by step.

use std::fs::File;

use rand::SeedableRng;

use super::contents::PublishNews;
use super::*;
use crate::md5::digest;
use crate::protocol::Outcome;
use crate::protocol::{Have, Pieces};
use crate::store::Stamp;
use crate::store::{Part, WholeFile};
use crate::torrent::{BadPiece, MIN_PIECE_LEN};

/// Returns a file of four pieces, whose content no test reads.
fn torrent() -> Arc<Torrent> {
    let (name, size) = (Name::parse("f").expect("a name"), 4 * MIN_PIECE_LEN);
    let checkpoints = vec![crate::md5::INITIAL; 4 * crate::torrent::BLOCKS_A_PIECE];
    let torrent = Torrent::new(name, size.into(), MIN_PIECE_LEN, digest(b"f"), checkpoints);
    Arc::new(torrent.expect("a torrent"))
}

fn stamp() -> Stamp {
    let file = File::open("/dev/null").expect("every machine has it");
    Stamp::of_file(&file).expect("a file")
}

fn state() -> State {
    State::new(Wants::default(), StdRng::seed_from_u64(1), Instant::now())
}

/// Begins a download, with nothing here.
fn begin(state: &mut State, torrent: &Arc<Torrent>) -> bool {
    state.begin(torrent, Part::none_of(torrent), Instant::now())
}

#[test]
fn a_download_does_not_begin_over_a_file_that_is_shared_by_then() {
    let (mut state, torrent) = (state(), torrent());
    let stamp = stamp();
    let name = torrent.name();
    state.beginning.insert(name.clone());
    assert!(state.share(
        &WholeFile::for_a_test(&torrent, stamp, false),
        Instant::now()
    ));
    assert!(!begin(&mut state, &torrent));
    let held = &state.files[name];
    assert!(held.have.is_full() && held.stamp == Some(stamp));
    assert!(!state.picker.wants(name) && state.beginning.is_empty());
}

#[test]
fn files_of_a_known_edition_stay_as_they_were() {
    let (mut state, torrent) = (state(), torrent());
    let file = Summary::of(&torrent);
    let list = |edition: Option<u64>, torrents: &[&Summary]| SwarmList {
        v: 1,
        local: false,
        edition,
        n_peers: None,
        peers: Vec::new(),
        torrents: torrents.iter().copied().cloned().collect(),
        coming: Vec::new(),
    };
    let files = |state: &mut State, list| {
        state.update_list(&list, Instant::now());
        (state.edition, state.swarm.len())
    };
    assert_eq!(files(&mut state, list(Some(7), &[&file])), (Some(7), 1));
    assert_eq!(files(&mut state, list(Some(7), &[])), (Some(7), 1));
    assert_eq!(files(&mut state, list(Some(8), &[])), (Some(8), 0));
    let stamp = stamp();
    assert!(state.share(
        &WholeFile::for_a_test(&torrent, stamp, false),
        Instant::now()
    ));
    let publication = state.unpublished().remove(0);
    let stands = Outcome::Stands {
        mine: true,
        published: 1,
        publisher: String::new(),
    };
    let news = state.published(&publication, &stands, Instant::now());
    assert!(matches!(
        news,
        Some(PublishNews::Stands {
            announce: true,
            mine: true,
            ..
        })
    ));
    assert_eq!(state.edition, None, "the tracker has another by now");
    // a tracker without editions sends everything each time
    assert_eq!(files(&mut state, list(None, &[&file])), (None, 1));
    assert_eq!(files(&mut state, list(None, &[])), (None, 0));
}

#[test]
fn what_stood_in_the_way_of_a_file_is_forgotten_once_it_is_shared() {
    let (mut state, torrent) = (state(), torrent());
    let stamp = stamp();
    state.stuck.insert(torrent.name().clone(), "why".to_owned());
    assert!(state.share(
        &WholeFile::for_a_test(&torrent, stamp, false),
        Instant::now()
    ));
    assert!(state.stuck.is_empty());
}

/// Two other peers that have all of it; the first published it, and is here.
fn publisher_and_other(state: &mut State, torrent: &Torrent) -> [PeerId; 2] {
    let mut listed = Summary::of(torrent);
    (listed.publisher, listed.here) = ("10.0.0.2:1".to_owned(), true);
    state.swarm.insert(torrent.name().clone(), listed);
    let everything = Have {
        name: torrent.name().clone(),
        md5: torrent.md5(),
        pieces: Pieces::Digits("all".to_owned()),
    };
    [2, 3].map(|ip| {
        let peer = state.know(([10, 0, 0, ip], 1).into(), true);
        state.learn(peer, std::slice::from_ref(&everything));
        peer
    })
}

const BAD: BadPiece = BadPiece::Length {
    expected: 1,
    came: 0,
};

fn bad_block() -> BadPiece {
    BadPiece::Block {
        block: 0,
        digest: digest(b"bad"),
    }
}

#[test]
fn a_bad_piece_of_an_earlier_download_says_nothing_of_this_one() {
    let (mut state, earlier, torrent) = (state(), torrent(), torrent());
    begin(&mut state, &earlier);
    state.drop_file(torrent.name());
    begin(&mut state, &torrent);
    let [publisher, _] = publisher_and_other(&mut state, &torrent);
    let bad = bad_block();
    assert_eq!(
        state.failed(publisher, &earlier, 0, bad),
        BadPieceVerdict::BadCopy
    );
    assert_eq!(
        state.failed(publisher, &torrent, 0, bad),
        BadPieceVerdict::BadCopy
    );
    assert!(state.picker.nowhere(torrent.name()).is_empty());
}

#[test]
fn only_the_publisher_convicts_itself_and_only_twice() {
    let (mut state, torrent) = (state(), torrent());
    begin(&mut state, &torrent);
    let [publisher, other] = publisher_and_other(&mut state, &torrent);
    for (peer, bad, verdict) in [
        (other, bad_block(), BadPieceVerdict::BadCopy),
        (other, bad_block(), BadPieceVerdict::BadCopy),
        (publisher, BAD, BadPieceVerdict::BadCopy),
        (publisher, bad_block(), BadPieceVerdict::BadCopy),
        (other, bad_block(), BadPieceVerdict::BadCopy),
        (publisher, bad_block(), BadPieceVerdict::PublisherIsFaulty),
        (publisher, bad_block(), BadPieceVerdict::BadCopy),
    ] {
        assert_eq!(state.failed(peer, &torrent, 0, bad), verdict, "{peer}");
    }
    let addrs = [([10, 0, 0, 2], 1).into(), ([10, 0, 0, 3], 1).into()];
    assert_eq!(
        state.without_good_copy(),
        [(torrent.name(), 0, addrs.to_vec())]
    );
    assert!(state.waits_for().is_empty(), "no list has come yet");
    // a new peer has it
    let newcomer = state.know(([10, 0, 0, 4], 1).into(), true);
    state.picker.peer_has(newcomer, torrent.name(), [0]);
    assert!(state.without_good_copy().is_empty());
}

#[test]
fn a_piece_that_came_wrong_gets_another_chance_where_nobody_else_has_it() {
    let (mut state, torrent) = (state(), torrent());
    begin(&mut state, &torrent);
    let [publisher, other] = publisher_and_other(&mut state, &torrent);
    state.forget(publisher);
    for chance in 1..=4 {
        assert_eq!(
            state.failed(other, &torrent, 0, bad_block()),
            BadPieceVerdict::BadCopy
        );
        assert_eq!(state.picker.nowhere(torrent.name()), [0]);
        state.retry_bad_pieces();
        let again = state.picker.nowhere(torrent.name()).is_empty();
        assert_eq!(again, chance < 3, "after {chance}");
    }
}
