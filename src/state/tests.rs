//! A peer's knowledge, step by step.

use std::fs::File;

use rand::SeedableRng;

use super::contents::PublishNews;
use super::telling::PROGRESS_TOLD;
use super::waits::TOLD_ALIKE;
use super::wants::QUICKEST_PINGS;
use super::*;
use crate::md5::digest;
use crate::picker::Route;
use crate::protocol::{
    Answer, Coming, Have, Hello, Outcome, PEER_CAP, PeerEntry, Pieces, Publication, to_bytes,
};
use crate::store::{Location, Part, Seen, Stamp, StoredPieces, WholeFile};
use crate::torrent::{BadPiece, MIN_PIECE_LEN};

const ROUTE: Route = Route {
    latency: Duration::ZERO,
    one_at_a_time: false,
    subnet: None,
};

/// `f`, of four pieces, whose content nobody looks at.
pub(super) fn torrent() -> Arc<Torrent> {
    torrent_of(b"f")
}

/// `f` with another content.
fn torrent_of(content: &[u8]) -> Arc<Torrent> {
    let (name, size, md5) = (name("f"), 4 * MIN_PIECE_LEN, digest(content));
    let checkpoints = vec![crate::md5::INITIAL; 4 * crate::torrent::BLOCKS_A_PIECE];
    let torrent = Torrent::new(name, size.into(), MIN_PIECE_LEN, md5, checkpoints);
    Arc::new(torrent.expect("a torrent"))
}

pub(super) fn stamp() -> Stamp {
    let file = File::open("/dev/null").expect("every machine has it");
    Stamp::of_file(&file).expect("a file")
}

pub(super) fn state() -> State {
    state_wanting(Wants::default())
}

pub(super) fn state_wanting(wants: Wants) -> State {
    State::new(wants, StdRng::seed_from_u64(1), Instant::now())
}

pub(super) fn name(name: &str) -> Name {
    Name::parse(name).expect("a name")
}

/// `f` is whole in the folder, and the tracker said so of it.
pub(super) fn share(state: &mut State, word: TrackerWord) {
    let file = WholeFile::for_a_test(&torrent(), stamp(), false);
    assert!(state.share(&file, Instant::now()));
    state.files.get_mut(&name("f")).expect("shared").word = word;
}

/// Begins a download, with nothing here.
fn begin(state: &mut State, torrent: &Arc<Torrent>) -> bool {
    state.begin(torrent, Part::none_of(torrent), Instant::now())
}

#[test]
fn pings_keep_up_with_the_sweeps() {
    let seconds = Duration::from_secs_f64;
    for (wanted, sweep, expected) in [
        (10.0, Some(15.0), None),
        (10.0, Some(10.0), None),
        (10.0, None, None),
        (10.0, Some(1.5), Some(seconds(1.0))),
        (10.0, Some(0.0), Some(QUICKEST_PINGS)),
        (10.0, Some(-1.0), None),
        (10.0, Some(f64::NAN), None),
        (0.1, Some(0.05), None),
    ] {
        let wants = Wants {
            ping_every: seconds(wanted),
            ..Wants::default()
        };
        let mut state = State::new(wants, StdRng::seed_from_u64(1), Instant::now());
        assert_eq!(state.adapt_pings(sweep), expected, "{wanted} {sweep:?}");
        assert_eq!(state.adapt_pings(sweep), None, "said once");
        let back = expected.map(|_| seconds(wanted));
        assert_eq!(state.adapt_pings(None), back, "{wanted} {sweep:?}");
    }
}

#[test]
fn a_download_does_not_begin_over_a_shared_file() {
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
    let list = |edition: Option<u64>, torrents: Option<&[Summary]>| SwarmList {
        edition,
        torrents: torrents.map(<[Summary]>::to_vec),
        ..SwarmList::for_a_test(Vec::new(), Vec::new())
    };
    let files = |state: &mut State, list| {
        state.update_list(&list, Instant::now());
        (state.edition, state.swarm.len())
    };
    let file = [file];
    assert_eq!(files(&mut state, list(Some(7), Some(&file))), (Some(7), 1));
    assert_eq!(files(&mut state, list(Some(7), None)), (Some(7), 1));
    assert_eq!(files(&mut state, list(Some(8), Some(&[]))), (Some(8), 0));
    assert_eq!(files(&mut state, list(Some(9), Some(&file))), (Some(9), 1));
    // the answer to a ping that was overtaken by one that brought another edition
    assert_eq!(files(&mut state, list(Some(7), None)).1, 1);
    state.update_list(&list(Some(8), Some(&[])), Instant::now());
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
    assert_eq!(files(&mut state, list(None, Some(&file))), (None, 1));
    assert_eq!(files(&mut state, list(None, Some(&[]))), (None, 0));
}

#[test]
fn what_was_listed_of_one_content_says_nothing_of_the_next() {
    let (mut state, before, next) = (state(), torrent(), torrent_of(b"next"));
    let list = |torrent: &Torrent, holders: &[u8]| {
        let entry = |ip: u8| PeerEntry {
            ip: format!("10.0.0.{ip}"),
            port: 1,
            file_list: holders
                .iter()
                .filter(|it| **it == ip)
                .map(|_| "f".to_owned())
                .collect(),
            v: Some(crate::protocol::VERSION),
            pieces: BTreeMap::new(),
        };
        SwarmList {
            peers: [2, 3].map(entry).into(),
            ..SwarmList::for_a_test(vec![Summary::of(torrent)], Vec::new())
        }
    };
    state.update_list(&list(&before, &[2, 3]), Instant::now());
    state.update_list(&list(&next, &[2]), Instant::now());
    assert!(begin(&mut state, &next));
    let peers = state.peers.iter();
    let has = |(no, _): &(&PeerId, &OtherPeer)| state.picker.has(**no, next.name()).is_some();
    let holders: Vec<String> = peers
        .filter(has)
        .map(|(_, peer)| peer.addr.to_string())
        .collect();
    assert_eq!(holders, ["10.0.0.2:1"]);
}

#[test]
fn an_obstacle_is_forgotten_once_its_file_is_shared() {
    let (mut state, torrent) = (state(), torrent());
    let stamp = stamp();
    state.stuck.insert(torrent.name().clone(), "why".to_owned());
    assert!(state.share(
        &WholeFile::for_a_test(&torrent, stamp, false),
        Instant::now()
    ));
    assert!(state.stuck.is_empty());
}

#[test]
fn an_obstacle_is_forgotten_once_its_file_is_cancelled() {
    let mut state = state_wanting(Wants {
        pick: true,
        ..Wants::default()
    });
    let torrent = torrent();
    let name = torrent.name();
    state.swarm.insert(name.clone(), Summary::of(&torrent));
    assert!(state.pick(name).is_some());
    state.note_stuck(name, "not enough room");
    state.end_beginning(name);
    assert_eq!(state.doing(name, 0).to_string(), "waiting: not enough room");
    state.cancel(name);
    assert_eq!(state.doing(name, 0), overview::Doing::Listed);
}

#[test]
fn the_headline_counts_files_that_are_not_shown_too() {
    let mut state = state();
    for n in 0..201 {
        let (size, len) = (MIN_PIECE_LEN, MIN_PIECE_LEN);
        let checkpoints = vec![crate::md5::INITIAL; crate::torrent::BLOCKS_A_PIECE];
        let name = name(&format!("f{n}"));
        let torrent = Torrent::new(name, size.into(), len, digest(b"f"), checkpoints);
        let torrent = Arc::new(torrent.expect("a torrent"));
        let file = WholeFile::for_a_test(&torrent, stamp(), false);
        assert!(state.share(&file, Instant::now()));
    }
    let seen = state.overview(0, None, Instant::now());
    assert_eq!((seen.files.len(), seen.n_files), (200, 201));
    assert_eq!(seen.doing.to_string(), "serving 201 verified files");
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
fn an_earlier_downloads_bad_piece_says_nothing() {
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
fn a_wrong_piece_is_retried_where_nobody_else_has_it() {
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

#[test]
fn what_a_peer_has_not_is_asked_of_it_once() {
    let (mut state, torrent, now) = (state(), torrent(), Instant::now());
    begin(&mut state, &torrent);
    let [_, other] = publisher_and_other(&mut state, &torrent);
    state.picker.open(other, ROUTE);
    let named = |state: &mut State, news: &[Have]| {
        let requests = state.picker.next_requests(now, &mut state.rng);
        for get in requests.iter().map(|decision| &decision.get) {
            let taken = state.take_news(other, get.n, news, now);
            taken.expect("it was asked for");
        }
        let named = requests.into_iter().flat_map(|it| it.get.pieces);
        named.collect::<BTreeSet<u32>>()
    };
    let asked: Vec<_> = (0..4).flat_map(|_| named(&mut state, &[])).collect();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), 4, "{asked:?}");
    // what comes to it later it tells of
    let news = [Have {
        name: torrent.name().clone(),
        md5: torrent.md5(),
        pieces: Pieces::These(vec![2]),
    }];
    assert!(
        named(&mut state, &news).is_empty(),
        "it is asked for news alone"
    );
    assert_eq!(named(&mut state, &[]), BTreeSet::from([2]));
}

/// As [`Summary::of`] `f`, or of another content under its name.
fn listed(content: &[u8], here: bool) -> Summary {
    let md5 = digest(content);
    Summary {
        md5,
        here,
        ..Summary::of(&torrent())
    }
}

fn only(replace: bool, md5: Option<Digest>) -> Wants {
    Wants {
        only: vec![name("f")],
        ping_every: Duration::from_secs(10),
        replace,
        md5,
        ..Wants::default()
    }
}

fn other(content: &[u8], gone_since: Option<Instant>) -> TrackerWord {
    let md5 = digest(content);
    TrackerWord::Other { md5, gone_since }
}

#[test]
fn only_what_the_user_lets_go_makes_way() {
    for (replace, pin, received, word, makes_way) in [
        (true, None, true, other(b"new", None), true),
        (false, None, true, other(b"new", None), false),
        (true, None, false, other(b"new", None), false),
        (true, Some(b"new"), false, other(b"new", None), true),
        (true, Some(b"pin"), true, other(b"new", None), false),
        (true, None, true, TrackerWord::Unasked, false),
    ] {
        let pin = pin.map(|content| digest(content));
        let mut state = state_wanting(only(replace, pin));
        share(&mut state, word.clone());
        state.files.get_mut(&name("f")).expect("shared").received = received;
        state.swarm.insert(name("f"), listed(b"new", true));
        let begins = state.to_begin();
        let case = format!("{replace}, {pin:?}, {received}, {word:?}");
        assert_eq!(begins.len(), usize::from(makes_way), "{case}");
        let outdated = Standing::Outdated(stamp(), digest(b"f"));
        let stands = state.standing[&name("f")] == outdated;
        assert_eq!(stands, makes_way, "{case}");
        if makes_way {
            assert_eq!(state.other_contents()[&name("f")], digest(b"f"));
            // the swarm goes back to what stands here
            state.swarm.insert(name("f"), listed(b"f", true));
            assert_eq!(state.to_begin(), [], "{case}");
            let looked = Standing::Looked(stamp());
            assert_eq!(state.standing[&name("f")], looked, "{case}");
        }
    }
}

#[test]
fn what_the_tracker_said_holds_as_long_as_its_list_agrees() {
    let start = Instant::now();
    let soon = start + Duration::from_secs(19);
    let later = start + Duration::from_secs(20);
    let (mine, theirs) = (
        TrackerWord::Stands { mine: true },
        TrackerWord::Stands { mine: false },
    );
    let (why, at) = ("full".to_owned(), start);
    let refused = TrackerWord::Refused { why, at };
    let gone = other(b"other", Some(start));
    let f = |here| Some(listed(b"f", here));
    let new = |here| Some(listed(b"new", here));
    for (word, list, now, becomes) in [
        (&mine, f(true), later, mine.clone()),
        (&mine, f(false), start, TrackerWord::Unasked),
        (&mine, None, start, TrackerWord::Unasked),
        (&mine, new(true), start, TrackerWord::Unasked),
        (&theirs, f(false), later, theirs.clone()),
        (&theirs, None, start, TrackerWord::Unasked),
        (&gone, f(true), start, TrackerWord::Unasked),
        (&gone, new(true), later, other(b"new", None)),
        (&gone, new(false), soon, gone.clone()),
        (&gone, new(false), later, TrackerWord::Unasked),
        (&gone, None, later, TrackerWord::Unasked),
        (&other(b"other", None), None, start, gone.clone()),
        (&refused, f(true), soon, refused.clone()),
        (&refused, f(true), later, TrackerWord::Unasked),
        (&refused, new(true), soon, refused.clone()),
        (&refused, new(false), soon, TrackerWord::Unasked),
    ] {
        let mut state = state_wanting(only(false, None));
        share(&mut state, word.clone());
        let case = format!("{word:?}, {list:?}");
        state.swarm.extend(list.map(|listed| (name("f"), listed)));
        state.reconsider(now);
        assert_eq!(state.files[&name("f")].word, becomes, "{case}");
    }
}

#[test]
fn what_the_tracker_credits_to_others_is_a_received_copy() {
    for mine in [true, false] {
        let mut state = state();
        state.tracker = TrackerKind::Ours { local: false };
        share(&mut state, TrackerWord::Unasked);
        let publication = state.unpublished().remove(0);
        assert!(publication.own && state.unpublished().len() == 1);
        let stands = Outcome::Stands {
            mine,
            published: 1,
            publisher: String::new(),
        };
        let news = state.published(&publication, &stands, Instant::now());
        let expected = PublishNews::Stands {
            announce: true,
            mine,
            credited: !mine,
        };
        assert_eq!(news, Some(expected));
        assert_eq!(state.files[&name("f")].received, !mine);
        let again = state.published(&publication, &stands, Instant::now());
        assert_eq!(again, None, "it is told once");
    }
}

#[test]
fn each_version_that_is_refused_is_told_of() {
    let now = Instant::now();
    let mut state = state();
    state.tracker = TrackerKind::Ours { local: false };
    let outcomes = [
        Outcome::OtherStands {
            md5: digest(b"other"),
            why: String::new(),
        },
        Outcome::Refused {
            why: "full".to_owned(),
        },
    ];
    for outcome in outcomes {
        share(&mut state, TrackerWord::Unasked);
        let publication = state.unpublished().remove(0);
        let is_told = |state: &mut State| state.published(&publication, &outcome, now).is_some();
        assert!(is_told(&mut state) && !is_told(&mut state), "{outcome:?}");
        // the user tries again with another version, and is told that it is shared once it is left alone
        assert!(state.lost(&name("f"), false));
        share(&mut state, TrackerWord::Unasked);
        assert!(is_told(&mut state) && !is_told(&mut state), "{outcome:?}");
        assert!(state.lost(&name("f"), false));
    }
}

#[test]
fn another_content_than_the_pinned_is_not_published() {
    for (pin, n_asked) in [(b"f", 1), (b"g", 0)] {
        let mut state = state_wanting(only(true, Some(digest(pin))));
        state.tracker = TrackerKind::Ours { local: false };
        share(&mut state, TrackerWord::Unasked);
        assert_eq!(state.unpublished().len(), n_asked);
    }
}

#[test]
fn a_replaced_download_goes_on_with_the_new_content() {
    let (mut state, torrent) = (state(), torrent());
    begin(&mut state, &torrent);
    state.drop_replaced();
    assert!(state.goes_on(&torrent), "nothing else is listed");
    let list = Some(torrent.checkpoints_md5());
    for (md5, list, goes_on) in [
        (torrent.md5(), None, true),
        (torrent.md5(), list, true),
        (torrent.md5(), Some(digest(b"corrected")), false),
        (digest(b"new"), list, false),
    ] {
        let mut listed = listed(b"f", true);
        (listed.md5, listed.checkpoints) = (md5, list);
        state.swarm.insert(name("f"), listed);
        state.drop_replaced();
        assert_eq!(state.goes_on(&torrent), goes_on);
        begin(&mut state, &torrent);
    }
}

#[test]
fn hellos_have_the_tracker_asked_in_turns() {
    let (mut state, start) = (state(), Instant::now());
    let (name, pieces) = (name("f"), Pieces::These(vec![0]));
    let have = |md5| Have {
        name: name.clone(),
        md5: digest(md5),
        pieces: pieces.clone(),
    };
    let mut prompted = |have, millis| {
        let hello = Hello {
            v: 1,
            id: String::new(),
            port: 1,
            have,
        };
        let after = state.prompted_in(&hello, start + Duration::from_millis(millis));
        after.map(|after| after.as_millis())
    };
    assert_eq!(prompted(Vec::new(), 0), None);
    assert_eq!(prompted(vec![have(b"1")], 0), Some(0));
    assert_eq!(prompted(vec![have(b"2")], 50), Some(150));
    assert_eq!(prompted(vec![have(b"3")], 100), None, "it comes before 200");
    assert_eq!(prompted(vec![have(b"4")], 300), Some(100));
    assert_eq!(prompted(vec![have(b"5")], 1000), Some(0));
}

#[test]
fn what_is_new_while_others_are_greeted_is_told_too() {
    let mut state = state();
    assert!(!state.begin_greeting(), "there is nothing to tell");
    state.greet_soon();
    assert!(state.begin_greeting() && !state.begin_greeting());
    assert!(state.next_to_greet().is_some());
    state.greet_soon();
    assert!(!state.begin_greeting(), "one thread does it already");
    assert!(state.next_to_greet().is_some(), "once more");
    assert_eq!(state.next_to_greet(), None);
    state.greet_soon();
    assert!(state.begin_greeting(), "the one before has ended");
}

#[test]
fn what_others_hash_is_said_to_be_waited_for() {
    let mut state = state_wanting(only(false, None));
    state.last_answer = Some(Instant::now());
    let waits = |state: &State| {
        let waits = state.waits_for();
        let told = waits.iter().map(|(name, waits)| format!("{name}: {waits}"));
        told.collect::<Vec<_>>()
    };
    assert_eq!(waits(&state), ["f: nobody lists it"]);
    for file in ["f", "g"] {
        let coming = Coming {
            name: name(file),
            size: 200,
            done: 50,
            peer: "10.0.0.2:1".to_owned(),
            head: None,
        };
        state.coming.insert(name(file), coming);
    }
    assert_eq!(waits(&state), ["f: 10.0.0.2:1 is hashing it, 25 %"]);
}

#[test]
fn a_tracker_learns_a_lost_content_from_partial_holders() {
    let (mut state, torrent) = (state(), torrent());
    state.tracker = TrackerKind::Ours { local: false };
    begin(&mut state, &torrent);
    assert_eq!(state.unpublished(), [], "nothing of it is here");
    let piece = StoredPiece::for_a_test(&torrent, 0);
    state.landed(1, &torrent, &piece, torrent.piece_len(0), Instant::now());
    let unpublished = state.unpublished();
    assert!(unpublished.len() == 1 && !unpublished[0].own);
    state.swarm.insert(name("f"), listed(b"f", true));
    assert_eq!(state.unpublished(), []);
}

const TODAY: i64 = 1_000_000;

fn aged(size: u64, age: i64) -> Stamp {
    let mtime = (TODAY - age, 1);
    Stamp { size, mtime }
}

fn look(state: &mut State, files: &[(&str, Stamp)]) -> LookFindings {
    let before = state.standing.clone();
    let seen = files
        .iter()
        .map(|(file, stamp)| Seen::File(name(file), *stamp));
    let seen: Vec<Seen> = seen.collect();
    state.looked(&before, &seen, TODAY)
}

fn coming(state: &State) -> Vec<(String, u64)> {
    let coming = state.coming_from_here().into_iter();
    coming
        .map(|coming| (coming.name.to_string(), coming.size))
        .collect()
}

#[test]
fn a_file_is_hashed_once_it_was_left_alone() {
    let mut state = state();
    let (old, fresh, grown) = (aged(1, 10), aged(2, 9), aged(3, 0));
    let looked = look(&mut state, &[("old", old), ("fresh", fresh)]);
    assert_eq!(looked.to_hash, [(name("old"), old)]);
    assert!(looked.news, "both are told of at once");
    let both = [("fresh".to_owned(), 2), ("old".to_owned(), 1)];
    assert_eq!(coming(&state), both);
    let looked = look(&mut state, &[("old", old), ("fresh", grown)]);
    assert_eq!(looked.to_hash, []);
    let looked = look(&mut state, &[("old", old), ("fresh", grown)]);
    assert_eq!(looked.to_hash, [(name("fresh"), grown)]);
    assert!(!looked.news);
    assert_eq!(coming(&state)[0], ("fresh".to_owned(), 3));
}

#[test]
fn a_file_that_is_hashed_is_reported_as_it_grows() {
    let mut state = state();
    look(&mut state, &[("f", aged(100, 10))]);
    for done in [0, 40, 90] {
        assert!(state.note_progress(&name("f"), done, 100));
        let reports = state.file_reports(0, 0.0, Instant::now());
        assert_eq!((reports[0].here, reports[0].whole), (done, false));
    }
}

#[test]
fn a_changing_file_is_withdrawn_and_coming() {
    let mut state = state();
    share(&mut state, TrackerWord::Stands { mine: true });
    assert_eq!(coming(&state), []);
    let looked = look(&mut state, &[("f", aged(7, 0))]);
    assert_eq!(looked.withdrawn, [name("f")]);
    assert!(looked.news && state.files.is_empty() && state.deleted.is_empty());
    assert_eq!(coming(&state), [("f".to_owned(), 7)]);
}

#[test]
fn what_is_found_changed_between_two_looks_is_coming_at_once() {
    let mut state = state();
    share(&mut state, TrackerWord::Stands { mine: true });
    // somebody asked for a piece of it
    assert!(state.lost(&name("f"), false));
    assert_eq!(coming(&state), [("f".to_owned(), stamp().size)]);
    let new = aged(7, 0);
    let looked = look(&mut state, &[("f", new)]);
    assert!(looked.news && looked.to_hash.is_empty(), "{looked:?}");
    assert_eq!(coming(&state), [("f".to_owned(), 7)]);
    // and where it changes again while it is hashed
    let hashed = look(&mut state, &[("f", new)]).to_hash;
    assert_eq!(hashed, [(name("f"), new)]);
    state.changed_meanwhile(&name("f"), new);
    assert_eq!(coming(&state), [("f".to_owned(), 7)]);
    look(&mut state, &[("f", aged(8, 0))]);
    assert_eq!(coming(&state), [("f".to_owned(), 8)]);
    look(&mut state, &[]);
    assert_eq!(coming(&state), []);
}

#[test]
fn an_own_file_that_is_refused_is_coming_where_another_content_stands() {
    let refused = TrackerWord::Refused {
        why: "the tracker has just started".to_owned(),
        at: Instant::now(),
    };
    for (stands, received, is_coming) in [
        (true, false, true),
        (false, false, false),
        (true, true, false),
    ] {
        let mut state = state();
        share(&mut state, refused.clone());
        state.files.get_mut(&name("f")).expect("shared").received = received;
        if stands {
            state.swarm.insert(name("f"), listed(b"old", false));
        }
        let case = format!("{stands}, {received}");
        assert_eq!(coming(&state).len(), usize::from(is_coming), "{case}");
    }
}

#[test]
fn of_two_pins_the_later_one_stays_while_its_publisher_is_here() {
    for (stood, pinned, here, is_pinned) in [
        (true, true, true, false),
        (false, true, true, true),
        (true, false, true, true),
        (true, true, false, true),
    ] {
        let mut state = state_wanting(only(false, Some(digest(b"f"))));
        state.tracker = TrackerKind::Ours { local: false };
        share(&mut state, TrackerWord::Unasked);
        state.files.get_mut(&name("f")).expect("shared").announced = stood;
        let other = Summary {
            pinned,
            ..listed(b"other", here)
        };
        state.swarm.insert(name("f"), other);
        let case = format!("{stood}, {pinned}, {here}");
        assert_eq!(state.unpublished()[0].pinned, is_pinned, "{case}");
    }
}

#[test]
fn a_shared_file_that_went_away_counts_as_deleted() {
    let mut state = state();
    share(&mut state, TrackerWord::Stands { mine: false });
    let looked = look(&mut state, &[]);
    assert_eq!(
        (looked.withdrawn, looked.deleted),
        (vec![], vec![name("f")])
    );
    let listed = Summary::of(&torrent());
    assert!(!state.lacks(&listed), "it isn't fetched again");
    let other = Summary {
        md5: digest(b"other"),
        ..listed.clone()
    };
    assert!(state.lacks(&other), "another content is");
    // who picks it wants it again
    state.swarm.insert(name("f"), listed.clone());
    assert_eq!(state.pick(&name("f")), Some(listed));
}

#[test]
fn what_was_overwritten_and_then_deleted_is_not_fetched_again() {
    let mut state = state();
    let listed = Summary::of(&torrent());
    share(&mut state, TrackerWord::Stands { mine: true });
    for size in [7, 8] {
        look(&mut state, &[("f", aged(size, 0))]);
        assert!(state.deleted.is_empty());
    }
    let looked = look(&mut state, &[]);
    assert_eq!(looked.deleted, [name("f")], "it is told");
    assert!(!state.lacks(&listed));
    // what is never shared is in the place of nothing
    let mut state = self::state();
    look(&mut state, &[("f", aged(7, 0))]);
    assert_eq!(look(&mut state, &[]).deleted, []);
    assert!(state.lacks(&listed));
}

#[test]
fn what_is_shared_during_a_look_is_none_of_its_business() {
    let mut state = state();
    let before = state.standing.clone();
    share(&mut state, TrackerWord::Stands { mine: true });
    let looked = state.looked(&before, &[], TODAY);
    assert_eq!(looked, LookFindings::default());
    let before = [(name("f"), Standing::Looked(aged(1, 0)))].into();
    assert_eq!(state.looked(&before, &[], TODAY), LookFindings::default());
    assert!(state.files.contains_key(&name("f")));
}

#[test]
fn what_changed_since_it_was_hashed_is_not_shared() {
    let mut state = state();
    look(&mut state, &[("f", aged(7, 0))]);
    let now = Instant::now();
    let file = |stamp| WholeFile::for_a_test(&torrent(), stamp, false);
    assert!(!state.share(&file(aged(6, 0)), now));
    assert!(state.share(&file(aged(7, 0)), now));
    assert!(!state.share(&file(aged(7, 0)), now), "it is already");
}

#[test]
fn another_content_than_the_swarms_is_neither_offered_nor_served() {
    let torrent = torrent();
    let get = Get {
        n: 1,
        wait: 0.0,
        name: name("f"),
        md5: torrent.md5(),
        pieces: vec![0],
        blocks: None,
    };
    let other = TrackerWord::Other {
        md5: digest(b"other"),
        gone_since: None,
    };
    for (word, is_served) in [(TrackerWord::Stands { mine: true }, true), (other, false)] {
        let mut state = state();
        share(&mut state, word);
        assert_eq!(state.haves().0.len(), usize::from(is_served));
        assert_eq!(matches!(state.find("f"), Found::Here(..)), is_served);
        assert_eq!(matches!(state.choose(&get), Served::Piece(..)), is_served);
        assert_eq!(state.file_list().files.len(), usize::from(is_served));
        assert_eq!(state.other_contents().len(), usize::from(!is_served));
    }
}

#[test]
fn a_publisher_that_is_not_here_convicts_nobody() {
    let mut state = state();
    let publisher = state.know(([10, 0, 0, 2], 1).into(), true);
    for here in [true, false] {
        let mut listed = Summary::of(&torrent());
        (listed.publisher, listed.here) = ("10.0.0.2:1".to_owned(), here);
        state.swarm.insert(name("f"), listed);
        assert_eq!(state.publishes(publisher, &name("f")), here);
    }
}

#[test]
fn a_piece_of_the_download_before_is_still_missing() {
    let (mut state, before, torrent) = (state(), torrent(), torrent());
    begin(&mut state, &before);
    state.drop_file(before.name());
    begin(&mut state, &torrent);
    let peer = state.know(([10, 0, 0, 2], 1).into(), true);
    state.picker.peer_has(peer, torrent.name(), [0]);
    state.came_twice(peer, &before, 0);
    assert!(!state.files[torrent.name()].have.get(0));
    let all: Vec<u32> = (1..4).collect();
    assert_eq!(
        state.picker.nowhere(torrent.name()),
        all,
        "0 can be asked for"
    );
    state.picker.open(peer, ROUTE);
    let asked = state.picker.next_requests(Instant::now(), &mut state.rng);
    assert!(asked.iter().any(|one| one.get.pieces == [0]), "{asked:?}");
}

#[test]
fn what_lands_is_of_this_download_and_told_of() {
    let (mut state, before, torrent) = (state(), torrent(), torrent());
    begin(&mut state, &before);
    state.drop_file(before.name());
    begin(&mut state, &torrent);
    let [peer, _] = publisher_and_other(&mut state, &torrent);
    let piece = StoredPiece::for_a_test(&torrent, 0);
    let from = state.news_from(0).1;
    let mut land = |of: &Arc<Torrent>| state.landed(peer, of, &piece, 1, Instant::now());
    assert_eq!(land(&before), Landing::NotWanted, "that part is gone");
    assert_eq!(land(&torrent), Landing::Another);
    assert_eq!(land(&torrent), Landing::NotWanted, "it comes twice");
    let (news, _) = state.news_from(from);
    let told: Vec<_> = news.into_iter().map(|have| have.pieces).collect();
    assert_eq!(told, [Pieces::These(vec![0])]);
    let served = ["f.part0001", "f.part0002", "f.part0005", "f"].map(|it| match state.find(it) {
        Found::Here(Location::Part(..), range) => range.end,
        Found::Here(..) => panic!("it isn't whole"),
        Found::Coming => 1,
        Found::Unknown => 0,
    });
    let len = u64::from(MIN_PIECE_LEN);
    assert_eq!(served, [len, 1, 0, 1], "an original checks nothing");
}

#[test]
fn of_what_is_asked_for_the_least_sent_goes_first() {
    let (mut state, torrent) = (state(), torrent());
    share(&mut state, TrackerWord::Stands { mine: true });
    let get = |pieces: &[u32]| Get {
        n: 1,
        wait: 0.0,
        name: name("f"),
        md5: torrent.md5(),
        pieces: pieces.to_vec(),
        blocks: None,
    };
    let mut sent = |pieces: &[u32]| match state.choose(&get(pieces)) {
        Served::Piece(_, _, idx) => idx,
        _ => panic!("all of it is here"),
    };
    let mut all: Vec<u32> = (0..4).map(|_| sent(&[0, 1, 2, 3])).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    assert_eq!([sent(&[0]), sent(&[0]), sent(&[0, 3])], [0, 0, 3]);
}

#[test]
fn a_bad_piece_is_asked_for_again_and_its_sender_left_alone() {
    let (mut state, torrent, now) = (state(), torrent(), Instant::now());
    begin(&mut state, &torrent);
    let [publisher, other] = publisher_and_other(&mut state, &torrent);
    state.picker.open(other, ROUTE);
    for _ in 0..3 {
        assert!(!state.is_left_alone(other));
        let asked = state.picker.classic_round(now, &mut state.rng);
        let get = asked.expect("a piece").get;
        let idx = get.pieces[0];
        let another = state.expects(other, get.n, (idx + 1) % 4);
        assert!(matches!(another, Err(NotAskedFor)));
        let taken = state.take_answer(other, get.n, Some(idx), now);
        taken.expect("it was asked for");
        state.failed(other, &torrent, idx, bad_block());
        let (in_flight, _) = state.picker.in_flight(torrent.name());
        assert!(in_flight.is_empty(), "it is open again");
        let piece = StoredPiece::for_a_test(&torrent, idx);
        state.landed(publisher, &torrent, &piece, 1, now);
    }
    assert!(state.is_left_alone(other));
    assert_eq!(state.peers[&publisher].strikes, 0);
    let open = state.picker.nowhere(torrent.name());
    assert!(open.is_empty());
    let left = (0..4).find(|idx| !state.files[torrent.name()].have.get(*idx));
    let left = left.expect("the fourth");
    // the publisher reads it from its disk once more
    for still in [true, false] {
        state.failed(publisher, &torrent, left, bad_block());
        let has = state.picker.has(publisher, torrent.name());
        assert_eq!(has.is_some_and(|has| has.get(left)), still);
    }
}

#[test]
fn what_another_tracker_would_not_understand_is_not_told() {
    for (tracker, n) in [
        (TrackerKind::Unknown, 0),
        (TrackerKind::Original, 0),
        (TrackerKind::Ours { local: false }, 1),
    ] {
        let mut state = state();
        share(&mut state, TrackerWord::Unasked);
        state.tracker = tracker;
        assert_eq!(state.unpublished().len(), n, "{tracker:?}");
    }
    let (mut state, now) = (state(), Instant::now());
    state.swarm.insert(name("f"), listed(b"f", true));
    state.edition = Some(7);
    assert!(state.update_original_list(&[], now), "it is the first");
    assert!(state.swarm.is_empty() && state.edition.is_none());
    assert!(!state.update_original_list(&[], now));
    state.no_list(crate::causes::NoList::NobodyListens);
    assert!(state.update_original_list(&[], now), "it is back");
}

#[test]
fn the_trackers_word_is_on_the_content_that_was_offered() {
    let (mut state, now) = (state(), Instant::now());
    state.tracker = TrackerKind::Ours { local: false };
    share(&mut state, TrackerWord::Unasked);
    let publication = state.unpublished().remove(0);
    let earlier = Publication {
        md5: digest(b"earlier"),
        ..publication.clone()
    };
    let stands = Outcome::Stands {
        mine: true,
        published: 1,
        publisher: String::new(),
    };
    assert_eq!(state.published(&earlier, &stands, now), None);
    assert_eq!(state.unpublished().len(), 1, "nothing is known of this one");
    assert!(state.published(&publication, &stands, now).is_some());
    assert_eq!(
        state.published(&publication, &stands, now),
        None,
        "said once"
    );
    assert_eq!(state.unpublished(), []);
}

#[test]
fn a_pinned_content_is_fetched_on_whatever_stands() {
    for (pin, goes_on) in [(None, false), (Some(digest(b"f")), true)] {
        let (mut state, torrent) = (state_wanting(only(false, pin)), torrent());
        let mut list = SwarmList::for_a_test(vec![listed(b"f", true)], Vec::new());
        state.update_list(&list, Instant::now());
        begin(&mut state, &torrent);
        let [peer, _] = publisher_and_other(&mut state, &torrent);
        let piece = StoredPiece::for_a_test(&torrent, 0);
        state.landed(peer, &torrent, &piece, 1, Instant::now());
        assert_eq!(state.file_list().pieces.len(), 1);
        list.torrents = Some(vec![listed(b"other", true)]);
        (list.edition, list.n_files) = (Some(2), Some(3));
        let begins = state.update_list(&list, Instant::now());
        assert_eq!(state.n_files, Some(3));
        assert_eq!(begins.len(), usize::from(!goes_on), "{pin:?}");
        assert_eq!(state.goes_on(&torrent), goes_on, "{pin:?}");
        // the tracker would take its pieces for the other's
        assert!(state.file_list().pieces.is_empty(), "{pin:?}");
    }
    // and another content, which stands here, isn't shared
    let mut state = state_wanting(only(false, Some(digest(b"pin"))));
    state.tracker = TrackerKind::Ours { local: false };
    let file = WholeFile::for_a_test(&torrent(), stamp(), false);
    assert!(state.share(&file, Instant::now()));
    assert!(!state.files[&name("f")].is_offered() && state.unpublished().is_empty());
}

#[test]
fn what_is_put_back_was_not_deleted() {
    for (content, stays) in [(&b"f"[..], false), (b"other", true)] {
        let mut state = state();
        state.deleted.insert(name("f"), digest(content));
        share(&mut state, TrackerWord::Unasked);
        assert_eq!(state.deleted.contains_key(&name("f")), stays);
    }
    // what came and was changed here is never replaced in this run
    for downloaded in [false, true] {
        let mut state = state();
        share(&mut state, TrackerWord::Stands { mine: false });
        state.files.get_mut(&name("f")).expect("shared").downloaded = downloaded;
        assert!(state.lost(&name("f"), false));
        assert!(!state.lacks(&listed(b"f", true)), "it stands here");
        state.standing.clear();
        assert_eq!(state.lacks(&listed(b"f", true)), !downloaded);
    }
}

#[test]
fn a_name_in_use_is_not_uploaded_to() {
    type Use = fn(&mut State);
    let uses: [(&str, Use, bool); 6] = [
        ("nothing", |_| (), true),
        (
            "standing",
            |state| state.stands_unverified(&name("f"), stamp(), digest(b"f")),
            false,
        ),
        (
            "a download",
            |state| assert!(begin(state, &torrent())),
            false,
        ),
        (
            "listed",
            |state| drop(state.swarm.insert(name("f"), listed(b"f", true))),
            false,
        ),
        (
            "beginning",
            |state| assert!(state.beginning.insert(name("f"))),
            false,
        ),
        (
            "an upload",
            |state| assert!(state.begin_upload(&name("f"), 1)),
            false,
        ),
    ];
    for (what, act, is_free) in uses {
        let mut state = state();
        act(&mut state);
        assert_eq!(state.is_free(&name("f")), is_free, "{what}");
        let before = state.uploads.len();
        assert_eq!(state.begin_upload(&name("f"), 1), is_free, "{what}");
        assert_eq!(state.uploads.len(), before + usize::from(is_free), "{what}");
    }
}

#[test]
fn a_copy_from_originals_is_shared_once_its_md5_is_listed() {
    for (content, vouched) in [
        (None, false),
        (Some(b"other"), false),
        (Some(b"copy!"), true),
    ] {
        let mut state = state();
        state.stands_unverified(&name("f"), stamp(), digest(b"copy!"));
        let listed = content.map(|content| (name("f"), self::listed(content, true)));
        state.swarm.extend(listed);
        let files: Vec<bool> = state.unsettled().iter().map(|it| it.vouched).collect();
        assert_eq!(files, if vouched { vec![true] } else { vec![] });
    }
}

#[test]
fn what_could_not_be_read_is_hashed_once_it_may_be() {
    let mut state = state();
    let files = [("f", aged(1, 10))];
    assert_eq!(look(&mut state, &files).to_hash.len(), 1);
    assert!(state.cannot_read(&name("f"), None, "no permission"));
    assert!(
        !state.cannot_read(&name("f"), None, "no permission"),
        "said once"
    );
    assert!(look(&mut state, &files).to_hash.is_empty());
    state.retry(&name("f"));
    assert!(state.unreadable().is_empty());
    assert_eq!(look(&mut state, &files).to_hash.len(), 1);
    // a program that ends hashes no longer
    assert!(state.note_progress(&name("f"), 0, 1));
    state.end();
    assert!(!state.note_progress(&name("f"), 0, 1));
}

#[test]
fn a_download_that_is_whole_stands_here() {
    let (mut state, torrent, now) = (state(), torrent(), Instant::now());
    let part = Part {
        pieces: StoredPieces::all_for_a_test(&torrent),
        ..Part::none_of(&torrent)
    };
    assert!(state.begin(&torrent, part, now));
    // the file that it replaces went away meanwhile
    state.withdraw(&name("f"));
    let completing = state.completes(&name("f")).expect("a whole part");
    assert!(completing.replaced.is_none());
    let outdated = Standing::Outdated(aged(1, 10), digest(b"old"));
    state.standing.insert(name("f"), outdated);
    let completing = state.completes(&name("f")).expect("a whole part");
    assert_eq!(completing.replaced, Some(aged(1, 10)));
    state.completed(&WholeFile::for_a_test(&torrent, stamp(), true));
    let held = &state.files[&name("f")];
    assert!(held.downloaded && held.announced && held.stamp == Some(stamp()));
    assert_eq!(state.standing[&name("f")], Standing::Shared(stamp()));
    assert!(state.completes(&name("f")).is_none());
}

#[test]
fn a_piece_of_another_content_is_not_taken() {
    let (mut state, torrent) = (state(), torrent());
    begin(&mut state, &torrent);
    let [peer, _] = publisher_and_other(&mut state, &torrent);
    state.picker.open(peer, ROUTE);
    let asked = state.picker.next_requests(Instant::now(), &mut state.rng);
    let (n, idx) = (asked[0].get.n, asked[0].get.pieces[0]);
    assert!(
        state
            .expects(peer, n, idx)
            .is_ok_and(|piece| piece.is_some())
    );
    let checkpoints = vec![crate::md5::INITIAL; 4 * crate::torrent::BLOCKS_A_PIECE];
    let size = 4 * u64::from(MIN_PIECE_LEN);
    let other = Torrent::new(
        name("f"),
        size,
        MIN_PIECE_LEN,
        digest(b"other"),
        checkpoints,
    );
    let other = Arc::new(other.expect("a torrent"));
    state.drop_file(torrent.name());
    begin(&mut state, &other);
    assert!(
        state
            .expects(peer, n, idx)
            .is_ok_and(|piece| piece.is_none())
    );
    let everything = state.picker.nowhere(other.name());
    assert_eq!(everything.len(), 4, "nobody has any of it so far");
    state.picker.peer_has(peer, other.name(), [0]);
    assert_eq!(state.gone(peer, n, torrent.name(), Instant::now()), Ok(()));
    assert_eq!(
        state.picker.nowhere(other.name()),
        [1, 2, 3],
        "it was of the other"
    );
}

#[test]
fn whoever_sends_the_good_copy_itself_is_not_blamed() {
    let (mut state, torrent) = (state(), torrent());
    begin(&mut state, &torrent);
    let [_, other] = publisher_and_other(&mut state, &torrent);
    state.failed(other, &torrent, 0, bad_block());
    let piece = StoredPiece::for_a_test(&torrent, 0);
    state.landed(
        other,
        &torrent,
        &piece,
        torrent.piece_len(0),
        Instant::now(),
    );
    assert_eq!(state.peers[&other].strikes, 0);
}

#[test]
fn news_of_two_contents_under_one_name_stay_apart() {
    let (mut state, torrent) = (state(), torrent());
    let before = state.news_from(0).1;
    for md5 in [torrent.md5(), digest(b"other")] {
        let (name, piece) = (name("f"), Some(0));
        state.news.push(News { name, md5, piece });
    }
    let (news, _) = state.news_from(before);
    let md5s: Vec<Digest> = news.iter().map(|have| have.md5).collect();
    assert_eq!(md5s.len(), 2, "{md5s:?}");
}

#[test]
fn an_answered_request_takes_nothing_from_the_next() {
    let (mut state, torrent, now) = (state(), torrent(), Instant::now());
    begin(&mut state, &torrent);
    let peer = state.know(([10, 0, 0, 2], 1).into(), true);
    let all = Pieces::Digits("all".to_owned());
    let (name, md5) = (torrent.name().clone(), torrent.md5());
    let have = Have {
        name,
        md5,
        pieces: all,
    };
    state.learn(peer, &[have]);
    state.picker.open(peer, ROUTE);
    let mut round = || state.picker.classic_round(now, &mut state.rng);
    let first = round().expect("a piece is missing").get;
    assert!(!state.is_asked_since(peer, first.n));
    let answered = state.take_answer(peer, first.n, Some(first.pieces[0]), now);
    assert_eq!(answered, Ok(()));
    assert!(
        !state.is_asked_since(peer, first.n),
        "nothing more is asked"
    );
    let mut round = || state.picker.classic_round(now, &mut state.rng);
    let second = round().expect("others are missing").get;
    assert!(state.is_asked_since(peer, first.n) && !state.is_asked_since(peer, second.n));
}

#[test]
fn what_a_file_waits_for_is_told_once() {
    let mut state = state_wanting(Wants {
        only: vec![name("f"), name("g")],
        ..Wants::default()
    });
    state.last_answer = Some(Instant::now());
    let news = |state: &mut State| -> Vec<bool> {
        let told = state.waits_to_tell().0.into_iter();
        told.map(|(_, _, is_news)| is_news).collect()
    };
    assert_eq!(news(&mut state), [true, true]);
    assert_eq!(news(&mut state), [false, false]);
    state.swarm.insert(name("f"), listed(b"f", true));
    assert_eq!(news(&mut state), [false], "of the other one");
    state.swarm.clear();
    assert_eq!(news(&mut state), [true, false], "it is gone again");
}

#[test]
fn who_left_and_came_back_has_one_account() {
    let (mut state, torrent, now) = (state(), torrent(), Instant::now());
    begin(&mut state, &torrent);
    let addr = ([10, 0, 0, 2], 1).into();
    for idx in 0..2 {
        let peer = state.know(addr, true);
        state.note_latency(peer, Some(Duration::from_millis(2)));
        let piece = StoredPiece::for_a_test(&torrent, idx);
        state.landed(peer, &torrent, &piece, 100, now);
        state.forget(peer);
    }
    let shares = state.shares(&state.files[&name("f")]);
    assert_eq!(shares.len(), 1, "{shares:?}");
    let share = &shares[0];
    assert_eq!((share.peer, share.pieces, share.got), (addr, 2, 200));
    assert_eq!((share.latency_ms, share.share), (Some(2.0), 1.0));
}

#[test]
fn ten_thousand_files_are_told_in_messages_that_are_read() {
    let (mut state, now) = (state(), Instant::now());
    for n in 0..10_000 {
        let torrent = Torrent::of_content(name(&format!("{n:0240}")), b"f");
        let file = WholeFile::for_a_test(&Arc::new(torrent), stamp(), false);
        assert!(state.share(&file, now));
        state.announce(file.torrent().name());
    }
    let (mut told, mut from) = state.haves();
    let mut names = BTreeSet::new();
    while !told.is_empty() {
        names.extend(told.iter().map(|have| have.name.clone()));
        let message = to_bytes(&Answer::News { n: 1, news: told });
        assert!(message.len() <= PEER_CAP, "{} bytes", message.len());
        (told, from) = state.news_from(from);
    }
    assert_eq!(names.len(), 10_000, "what a hello lacks comes as news");
}

#[test]
fn of_thousands_of_files_that_wait_some_are_told() {
    let (mut state, mut now) = (state(), Instant::now());
    let coming = |n| Coming {
        name: name(&format!("{n}")),
        size: 9,
        done: 0,
        peer: String::new(),
        head: None,
    };
    let coming = (0..TOLD_ALIKE + 30).map(coming).collect();
    state.update_list(&SwarmList::for_a_test(Vec::new(), coming), now);
    let (told, others) = state.waits_to_tell();
    assert_eq!((told.len(), others), (TOLD_ALIKE, 30));
    for n in 0..PROGRESS_TOLD + 30 {
        let torrent = Torrent::of_content(name(&format!("f{n}")), b"f");
        assert!(begin(&mut state, &Arc::new(torrent)));
    }
    now += Duration::from_secs(60);
    assert_eq!(state.untold_progress(now).len(), PROGRESS_TOLD);
    assert!(state.untold_progress(now).is_empty(), "not one by one");
}

#[test]
fn a_download_that_is_dropped_while_it_gets_its_name_is_found_by_the_next_look() {
    let (mut state, torrent, now) = (state(), torrent(), Instant::now());
    let file = WholeFile::for_a_test(&torrent, stamp(), true);
    // once it was dropped, and once it was begun anew
    for begun in [false, true] {
        assert!(!begun || begin(&mut state, &torrent));
        state.completed(&file);
        assert!(state.standing.is_empty() && state.whole_names().is_empty());
    }
    state.drop_file(&name("f"));
    let seen = [Seen::File(name("f"), stamp())];
    let looked = state.looked(&BTreeMap::new(), &seen, i64::MAX);
    assert_eq!(looked.to_hash.len(), 1);
    assert!(state.share(&file, now));
}

/// A peer at 10.0.0.`ip`, an original or ours, as the tracker lists it with these names.
fn entry(ip: u8, v: Option<u32>, names: &[&str]) -> PeerEntry {
    PeerEntry {
        ip: format!("10.0.0.{ip}"),
        port: 1,
        file_list: names.iter().map(ToString::to_string).collect(),
        v,
        pieces: BTreeMap::new(),
    }
}

#[test]
fn an_original_is_asked_for_what_its_list_names_and_no_more() {
    let part = |idxs: &[u32]| Some(idxs.to_vec());
    let one_piece = |state: &mut State| {
        let file = Summary {
            n_pieces: 1,
            ..listed(b"f", true)
        };
        state.swarm.insert(name("f"), file);
    };
    let large = |state: &mut State| {
        state.swarm.insert(name("f"), listed(b"f", true));
        begin(state, &torrent());
    };
    type Prepare<'a> = &'a dyn Fn(&mut State);
    type Case<'a> = (&'a str, Prepare<'a>, &'a [&'a [&'a str]], Option<Vec<u32>>);
    let cases: [Case; 5] = [
        ("a piece", &large, &[&["f.part0002"]], part(&[1])),
        (
            "another since",
            &large,
            &[&["f.part0002"], &["f.part0001"]],
            part(&[0]),
        ),
        ("nothing any more", &large, &[&["f.part0002"], &[]], None),
        // it would be the whole file, which nobody can check piece by piece
        ("the name", &large, &[&["f"]], None),
        // of a file in one piece, an original knows the name alone
        ("the only piece", &one_piece, &[&["f.part0001"]], None),
    ];
    for (what, prepare, lists, expected) in cases {
        let mut state = state();
        prepare(&mut state);
        for names in lists {
            state.take_peers(&[entry(4, None, names)], None, Instant::now());
        }
        let (id, peer) = state.peers.first_key_value().expect("listed");
        let has = state.picker.has(*id, &name("f"));
        let has = has.map(|has| has.iter().collect::<Vec<u32>>());
        assert_eq!(has.filter(|has| !has.is_empty()), expected, "{what}");
        assert!(expected.is_some() || peer.offers.is_empty() || what == "the name");
    }
}

#[test]
fn what_only_originals_have_is_fetched_from_them() {
    type Prepare = fn(&mut State);
    type Case<'a> = (&'a str, Prepare, Option<u32>, &'a [&'a str], usize);
    let cases: [Case; 10] = [
        ("a file", |_| (), None, &["g"], 1),
        ("a peer of ours has it", |_| (), Some(1), &["g"], 0),
        ("a piece", |_| (), None, &["g.part0001"], 0),
        (
            "it isn't wanted",
            |state| state.wants.only = vec![name("f")],
            None,
            &["g"],
            0,
        ),
        (
            "it stands here",
            |state| state.stands_unverified(&name("f"), stamp(), digest(b"f")),
            None,
            &["f"],
            0,
        ),
        (
            "it is on its way",
            |state| assert!(begin(state, &torrent())),
            None,
            &["f"],
            0,
        ),
        (
            "it was deleted",
            |state| assert!(state.deleted.insert(name("g"), digest(b"g")).is_none()),
            None,
            &["g"],
            0,
        ),
        (
            "it was given up",
            |state| state.give_up(&name("g"), String::new()),
            None,
            &["g"],
            0,
        ),
        (
            "its .torrent is known",
            |state| drop(state.swarm.insert(name("f"), listed(b"f", true))),
            None,
            &["f"],
            0,
        ),
        ("two files", |_| (), None, &["g", "h"], 2),
    ];
    for (what, prepare, v, names, n) in cases {
        let (mut state, now) = (state(), Instant::now());
        prepare(&mut state);
        state.take_peers(&[entry(4, v, names)], None, now);
        assert_eq!(state.from_originals_only().len(), n, "{what}");
        // who said hello, and is off the list, isn't asked
        state.take_peers(&[], None, now);
        assert!(state.from_originals_only().is_empty(), "{what}");
        assert_eq!(state.listed_of_ours(), []);
        state.take_peers(&[entry(4, v, &[])], None, now);
        assert_eq!(
            state.listed_of_ours().len(),
            usize::from(v.is_some()),
            "{what}"
        );
    }
}

#[test]
fn a_pause_for_the_disk_ends() {
    let (mut state, torrent, now) = (state(), torrent(), Instant::now());
    begin(&mut state, &torrent);
    assert!(
        state.may_ask(0, now) && !state.may_ask(1, now),
        "nobody is listed"
    );
    assert!(state.pause_for_disk("full", now));
    let later = now + Duration::from_secs(10);
    assert!(!state.may_ask(0, later - Duration::from_millis(1)));
    assert!(state.may_ask(0, later) && state.disk_fault.is_none());
    assert!(!state.pause_for_disk("full", later), "said once");
    let piece = StoredPiece::for_a_test(&torrent, 0);
    state.landed(1, &torrent, &piece, 1, later);
    assert!(state.pause_for_disk("full", later), "it worked meanwhile");
    state.end();
    assert!(
        !state.may_ask(0, later + Duration::from_secs(99)),
        "the program ends"
    );
    for exit_when_complete in [false, true] {
        let mut state = state_wanting(Wants {
            exit_when_complete,
            ..Wants::default()
        });
        assert!(state.cannot_begin(&name("f"), "no permission"));
        // a run that ends does so with what is wrong with the disk
        assert_eq!(state.disk_fault.is_some(), exit_when_complete);
    }
}

#[test]
fn what_was_given_up_or_cancelled_is_lacked_once_it_is_picked() {
    let mut state = state_wanting(Wants {
        pick: true,
        ..Wants::default()
    });
    let (name, file) = (name("f"), listed(b"f", true));
    state.swarm.insert(name.clone(), file.clone());
    assert!(!state.lacks(&file) && state.unpicked().eq([&name]));
    assert_eq!(state.pick(&name), Some(file.clone()));
    assert_eq!(state.pick(&name), None, "it begins already");
    assert!(state.unpicked().next().is_none() && state.picked() == [name.clone()]);
    state.give_up(&name, "no room".to_owned());
    assert!(!state.lacks(&file));
    assert_eq!(state.pick(&name), Some(file.clone()));
    state.end_beginning(&name);
    begin(&mut state, &torrent());
    assert!(state.can_cancel(&name));
    state.cancel(&name);
    assert!(state.files.is_empty() && state.picked().is_empty());
    assert!(!state.can_cancel(&name) && !state.lacks(&file));
    // what is whole stays
    state.pick(&name);
    state.end_beginning(&name);
    share(&mut state, TrackerWord::Stands { mine: false });
    assert!(!state.can_cancel(&name) && state.unpicked().next().is_none());
    state.cancel(&name);
    assert!(state.files.contains_key(&name));
    // and what the command line names is wanted in any case
    let mut state = state_wanting(only(false, None));
    state.pick(&name);
    assert!(!state.can_cancel(&name));
    assert_eq!(state.wants.md5, None);
    state.wants.md5 = Some(digest(b"f"));
    assert_eq!(state.pin(&self::name("g")), None, "of that one alone");
}

#[test]
fn of_many_files_those_that_are_asked_for_are_reported() {
    let mut state = state_wanting(Wants {
        only: vec![name("zz")],
        ..Wants::default()
    });
    share(&mut state, TrackerWord::Stands { mine: true });
    let files: Vec<String> = (10..40).map(|n| format!("g{n}")).collect();
    let files = files
        .iter()
        .zip(1..)
        .map(|(file, size)| (&**file, aged(size, 0)));
    let mut files: Vec<(&str, Stamp)> = files.collect();
    files.push(("f", stamp()));
    look(&mut state, &files);
    let reports = state.file_reports(0, 0.0, Instant::now());
    let names: Vec<String> = reports.iter().map(|it| it.name.to_string()).collect();
    assert_eq!(names.len(), 20);
    assert_eq!(
        names[..3],
        ["zz", "g39", "g38"],
        "the largest of those that come"
    );
}

#[test]
fn another_program_at_an_address_begins_anew() {
    let (mut state, torrent, now) = (state(), torrent(), Instant::now());
    begin(&mut state, &torrent);
    let addr = ([10, 0, 0, 2], 1).into();
    let have = |name: &str, md5| Have {
        name: self::name(name),
        md5,
        pieces: Pieces::Digits("all".to_owned()),
    };
    let hello = |id: &str, have: Vec<Have>| Hello {
        v: 1,
        id: id.to_owned(),
        port: 1,
        have,
    };
    let all = vec![have("f", torrent.md5()), have("g", digest(b"g"))];
    let peer = state.meets(addr, &hello("one", all), now).peer;
    state.peers.get_mut(&peer).expect("met").strikes = 3;
    for (id, left) in [("one", true), ("other", false)] {
        assert_eq!(state.meets(addr, &hello(id, Vec::new()), now).peer, peer);
        assert_eq!(state.is_left_alone(peer), left, "{id}");
        assert_eq!(
            state.picker.has(peer, torrent.name()).is_some(),
            left,
            "{id}"
        );
        assert_eq!(state.peers[&peer].offers.is_empty(), !left, "{id}");
        // who sent bad pieces isn't connected to
        let to_connect = state.to_connect(0, now).len();
        assert_eq!(to_connect, usize::from(!left), "{id}");
    }
    assert_eq!(state.to_connect(0, now), [], "it is tried");
    state.disconnected(peer, false, now);
    state.drop_file(torrent.name());
    assert_eq!(state.to_connect(0, now), [], "nothing is missing");
    state.beginning.insert(name("f"));
    assert_eq!(state.to_connect(0, now).len(), 1, "something will be");
}
