//! Ours and the original, each way round: trackers, files, pieces. After each test, every original must still be serving:
//! what would have ended it is ours to keep from it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use bittorrentish::md5::digest;
use bittorrentish::protocol::SwarmList;
use serde_json::{Value, json};

use super::original::{Intervals, Mode, ONE_READ, OriginalClient, OriginalTracker};
use super::support::{
    DEADLINE, Program, Temp, ask_for, plant, random_bytes, swarm_list, until, until_content,
};

const PIECE: usize = 64 << 10;
/// Where a host name's address often is: originals bind to it, and connect to it.
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const TICK: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::from_secs(3600);

/// An original that fetches nothing.
const SOURCE: Intervals = Intervals {
    ping: TICK,
    list: TICK,
    round: NEVER,
};
/// An original that does all the original does.
const PEER: Intervals = Intervals {
    ping: TICK,
    list: TICK,
    round: TICK,
};

/// Our tracker, and the folders of its peers.
struct Swarm {
    tracker: Program,
    dir: Temp,
}

impl Swarm {
    fn new() -> Self {
        let dir = Temp::new();
        let tracker = Program::tracker(&dir.dir("torrents"), &["--sweep-every", "600"]);
        Self { tracker, dir }
    }

    fn peer(&self, name: &str, flags: &[&str]) -> Program {
        Program::peer(&self.tracker, &self.dir.dir(name), flags)
    }

    fn seed(&self, file: &str, content: &[u8]) -> Program {
        plant(&self.dir.dir("seed"), file, content);
        let seed = self.peer("seed", &[]);
        until("its listing", || {
            self.list()
                .torrents
                .iter()
                .flatten()
                .any(|listed| listed.name.as_str() == file)
                .then_some(())
        });
        seed
    }

    /// An original, at its host name's address, as is the tracker.
    fn original(&self, name: &str, every: Intervals) -> OriginalClient {
        let tracker = (THERE, self.tracker.port()).into();
        OriginalClient::start(tracker, THERE, &self.folder(name), every)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.dir(name)
    }

    /// What the tracker tells a peer of ours.
    fn list(&self) -> SwarmList {
        swarm_list(&self.tracker)
    }

    /// Waits until the tracker lists just these names for the peer on this port.
    #[track_caller]
    fn until_listed(&self, port: u16, names: &[&str]) {
        let names: BTreeSet<&str> = names.iter().copied().collect();
        until(&format!("{names:?} listed for {port}"), || {
            let list = self.list();
            let entry = list.peers.iter().find(|peer| peer.port == port)?;
            (entry
                .file_list
                .iter()
                .map(String::as_str)
                .collect::<BTreeSet<_>>()
                == names)
                .then_some(())
        });
    }
}

/// None of its threads has ended, and its lock is free.
#[track_caller]
fn serves_on(original: &OriginalClient) {
    assert!(
        original.is_serving(),
        "{:?}; it was asked for {:?}",
        original.died_of(),
        original.state().requests
    );
}

#[track_caller]
fn until_there(original: &OriginalClient, name: &str, content: &[u8]) {
    // it creates the file before the bytes come
    until(
        &format!("{name} at an original: {:?}", original.state()),
        || (original.file(name)? == content).then_some(()),
    );
}

fn part_name(k: usize) -> String {
    format!("image.iso.part{k:04}")
}

fn parts(content: &[u8]) -> Vec<(String, &[u8])> {
    content
        .chunks(PIECE)
        .enumerate()
        .map(|(idx, piece)| (part_name(idx + 1), piece))
        .collect()
}

// ---- our tracker

#[test]
fn our_tracker_serves_originals() {
    let swarm = Swarm::new();
    let (one, two) = (swarm.original("one", PEER), swarm.original("two", PEER));
    one.plant("1.txt", b"one");
    two.plant("ação.txt", &random_bytes(300_000, 1));
    until_there(&two, "1.txt", b"one");
    until_there(&one, "ação.txt", &random_bytes(300_000, 1));
    for original in [&one, &two] {
        let (pings, lists) = (original.state().pings, original.state().lists);
        assert!(original.wait(DEADLINE, |state| state.pings > pings + 3
            && state.lists > lists + 3));
        serves_on(original);
    }
    // at the address at which it reached the tracker: there it listens
    assert_eq!(one.asked(), [("ação.txt".to_owned(), two.addr)]);
}

#[test]
fn our_trackers_list_fits_what_an_original_reads_at_once() {
    let swarm = Swarm::new();
    for n in 0..150 {
        plant(
            &swarm.folder("seed"),
            &format!("a rather long name, so that one read won't take all of them {n}.txt"),
            &[n],
        );
    }
    let seed = swarm.peer("seed", &[]);
    until("all of them listed", || {
        (swarm.list().torrents.unwrap_or_default().len() == 150).then_some(())
    });
    let original = swarm.original("original", PEER);
    // all the same it comes by every one of them: what it lacks is named first
    assert!(
        original.wait(DEADLINE, |state| state.fetched.len() == 150),
        "{:?}",
        original.state()
    );
    for n in 0..150u8 {
        let name = format!("a rather long name, so that one read won't take all of them {n}.txt");
        assert_eq!(original.file(&name), Some(vec![n]), "{name}");
    }
    serves_on(&original);
    drop(seed);
}

#[test]
fn small_files_go_from_ours_to_an_original_and_back() {
    let swarm = Swarm::new();
    let seed = swarm.seed("ours.txt", b"from ours");
    let original = swarm.original("original", PEER);
    original.plant("theirs.txt", b"from theirs");
    until_there(&original, "ours.txt", b"from ours");
    until_content(&swarm.folder("seed").join("theirs.txt"), b"from theirs");
    let unverified = seed.until_event("unverified", |event| event["name"] == "theirs.txt");
    assert_eq!(unverified["md5"], digest(b"from theirs").to_string());
    serves_on(&original);
}

#[test]
fn a_large_file_goes_to_an_original_piece_by_piece() {
    let swarm = Swarm::new();
    let content = random_bytes(9 * PIECE + 100, 1);
    let seed = swarm.seed("image.iso", &content);
    let original = swarm.original("original", PEER);
    for (name, piece) in parts(&content) {
        until_there(&original, &name, piece);
    }
    assert!(
        original
            .state()
            .fetched
            .iter()
            .all(|(name, _)| name != "image.iso"),
        "{:?}",
        original.state().fetched
    );
    until("what it gave in its log", || {
        let gave = seed.events("gave_original");
        let gave: BTreeSet<String> = gave.iter().map(|event| event["name"].to_string()).collect();
        (gave.len() == 10).then_some(())
    });
    serves_on(&original);
}

#[test]
fn a_large_file_comes_back_from_an_original() {
    let swarm = Swarm::new();
    let content = random_bytes(9 * PIECE + 100, 1);
    let mut seed = swarm.seed("image.iso", &content);
    let original = swarm.original("original", PEER);
    for (name, piece) in parts(&content) {
        until_there(&original, &name, piece);
    }
    let names: Vec<String> = parts(&content).into_iter().map(|(name, _)| name).collect();
    swarm.until_listed(
        original.port(),
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    seed.kill();
    let mut peer = swarm.peer("peer", &["--only", "image.iso", "--exit-when-complete"]);
    assert_eq!(
        peer.until_ended().code(),
        Some(0),
        "verified by its checkpoints: {peer:?}"
    );
    until_content(&swarm.folder("peer").join("image.iso"), &content);
    let served: BTreeSet<String> = original.served().into_iter().collect();
    assert_eq!(served, names.into_iter().collect());
    serves_on(&original);
}

#[test]
fn a_large_file_comes_from_several_originals_and_ours_at_once() {
    let swarm = Swarm::new();
    let content = random_bytes(12 * PIECE, 1);
    let _seed = swarm.seed("image.iso", &content);
    let originals = ["one", "two"].map(|name| swarm.original(name, SOURCE));
    for (n, (name, piece)) in parts(&content).into_iter().enumerate() {
        originals[n % 2].plant(&name, piece);
    }
    for (n, original) in originals.iter().enumerate() {
        let names: Vec<String> = (0..12)
            .filter(|idx| idx % 2 == n)
            .map(|idx| part_name(idx + 1))
            .collect();
        swarm.until_listed(
            original.port(),
            &names.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    }
    let mut peer = swarm.peer("peer", &["--only", "image.iso", "--exit-when-complete"]);
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    until_content(&swarm.folder("peer").join("image.iso"), &content);
    originals.iter().for_each(serves_on);
}

#[test]
fn an_originals_bad_pieces_are_taken_from_elsewhere() {
    let swarm = Swarm::new();
    let content = random_bytes(9 * PIECE + 100, 1);
    let mut seed = swarm.seed("image.iso", &content);
    let original = swarm.original("original", SOURCE);
    let bad = [2u64, 4, 6, 9];
    for (idx, (name, piece)) in parts(&content).into_iter().enumerate() {
        let mut corrupt = piece.to_vec();
        corrupt[piece.len() / 2] ^= 1;
        let planted: &[u8] = match idx {
            2 => &piece[..piece.len() / 3],
            4 => b"",
            6 => &corrupt,
            9 => &[piece, b"too long"].concat(),
            _ => piece,
        };
        original.plant(&name, planted);
    }
    let names: Vec<String> = (1..=10).map(part_name).collect();
    swarm.until_listed(
        original.port(),
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    // the original alone first, so that it is met
    seed.kill();
    let peer = swarm.peer("peer", &[]);
    let at = original.addr.to_string();
    for idx in bad {
        peer.until_event("bad_piece", |event| {
            event["idx"] == idx && event["peer"] == at.as_str()
        });
    }
    assert!(!swarm.folder("peer").join("image.iso").exists());
    let _seed = swarm.peer("seed", &[]);
    peer.until_event("complete", |event| event["name"] == "image.iso");
    until_content(&swarm.folder("peer").join("image.iso"), &content);
    let from = |idx: u64| {
        peer.events("piece")
            .iter()
            .find(|event| event["idx"] == idx)
            .map(|event| event["peer"].clone())
    };
    bad.iter()
        .for_each(|idx| assert_ne!(from(*idx), Some(at.as_str().into()), "piece {idx}"));
    assert!(peer.events("given_up").is_empty());
    serves_on(&original);
}

#[test]
fn an_original_waits_for_a_piece_that_is_on_its_way() {
    let swarm = Swarm::new();
    let content = random_bytes(16 * PIECE, 1);
    let mut seed = swarm.seed("image.iso", &content);
    let peer = swarm.peer("peer", &["--max-down", "512K"]);
    until("some pieces", || {
        (peer.events("piece").len() > 1).then_some(())
    });
    seed.kill();
    let here: BTreeSet<u64> = peer
        .events("piece")
        .iter()
        .filter_map(|event| event["idx"].as_u64())
        .collect();
    let missing = (0..16)
        .find(|idx| !here.contains(idx))
        .expect("the rate left some");
    let mut stream = TcpStream::connect(peer.addr()).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let request = json!({"filename": part_name(missing as usize + 1)}).to_string();
    stream.write_all(request.as_bytes()).expect("it reads");
    // refused, it would keep an empty piece for good
    let _seed = swarm.peer("seed", &[]);
    let mut came = Vec::new();
    stream.read_to_end(&mut came).expect("the piece");
    assert!(
        came == content[missing as usize * PIECE..][..PIECE],
        "{} bytes came",
        came.len()
    );
}

// ---- what an original isn't asked for: it would end its serving

#[test]
fn it_is_asked_for_the_names_on_its_list_alone() {
    let swarm = Swarm::new();
    let content = random_bytes(4 * PIECE, 1);
    plant(&swarm.dir.dir("seed"), "image.iso", &content);
    // it isn't to fetch what else the original has
    let _seed = swarm.peer("seed", &["--only", "image.iso"]);
    until("its listing", || {
        swarm.list().torrents.unwrap_or_default().pop()
    });
    let original = swarm.original("original", SOURCE);
    let pieces = parts(&content);
    for (name, piece) in &pieces[..2] {
        original.plant(name, piece);
    }
    // a large file under its own name may be anything, and names beyond the file mean nothing
    original.plant("image.iso", &content[..100]);
    for name in [
        "image.iso.part0099",
        "lost.part0001",
        ".hidden",
        "image.iso.part0000",
    ] {
        original.plant(name, b"any");
    }
    fs::create_dir(swarm.folder("original").join(".git")).expect("a folder");
    until("its whole list", || {
        let list = swarm.list();
        let entry = list
            .peers
            .iter()
            .find(|peer| peer.port == original.port())?;
        (entry.file_list.len() >= 8).then_some(())
    });
    let peer = swarm.peer("peer", &["--only", "image.iso"]);
    peer.until_event("complete", |event| event["name"] == "image.iso");
    until_content(&swarm.folder("peer").join("image.iso"), &content);
    let allowed: BTreeSet<String> = pieces[..2].iter().map(|(name, _)| name.clone()).collect();
    let asked: BTreeSet<String> = original.state().requests.into_iter().collect();
    assert!(asked.is_subset(&allowed), "{asked:?}");
    serves_on(&original);
}

#[test]
fn a_small_files_piece_is_not_asked_by_name() {
    let swarm = Swarm::new();
    let original = swarm.original("original", SOURCE);
    original.plant("small.txt.part0001", b"content");
    swarm.until_listed(original.port(), &["small.txt.part0001"]);
    // the tracker lists the file while nobody but the original says that it has some of it
    let mut seed = swarm.seed("small.txt", b"content");
    seed.kill();
    let peer = swarm.peer("peer", &["--only", "small.txt"]);
    peer.until_event("begin", |event| event["name"] == "small.txt");
    let lists = peer.events("list").len();
    until("some more rounds", || {
        (peer.events("list").len() > lists + 5).then_some(())
    });
    serves_on(&original);
    let _seed = swarm.peer("seed", &[]);
    until_content(&swarm.folder("peer").join("small.txt"), b"content");
    assert!(
        !original.state().requests.contains(&"small.txt".to_owned()),
        "{:?}",
        original.state().requests
    );
    serves_on(&original);
}

#[test]
fn a_name_that_left_its_list_is_not_asked_for() {
    let swarm = Swarm::new();
    let content = random_bytes(4 * PIECE, 1);
    let _seed = swarm.seed("image.iso", &content);
    let original = swarm.original("original", SOURCE);
    for (name, piece) in parts(&content) {
        original.plant(&name, piece);
    }
    let names: Vec<String> = (1..=4).map(part_name).collect();
    swarm.until_listed(
        original.port(),
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    // it knows the list, and asks nobody yet
    // (listed are the seed, the original, and, on port 1, who asks for the list here)
    let peer = swarm.peer("peer", &["--min-peers", "4"]);
    peer.until_event("begin", |event| event["name"] == "image.iso");
    let until_lists = |more: usize| {
        let lists = peer.events("list").len();
        until("some more lists", || {
            (peer.events("list").len() > lists + more).then_some(())
        });
    };
    until_lists(2);
    assert!(
        original.state().requests.is_empty(),
        "before it has company"
    );
    for name in &names[1..] {
        fs::remove_file(swarm.folder("original").join(name)).expect("a file");
    }
    swarm.until_listed(original.port(), &[&names[0]]);
    until_lists(2);
    let _company = swarm.peer("company", &["--only", "nothing"]);
    peer.until_event("complete", |event| event["name"] == "image.iso");
    until_content(&swarm.folder("peer").join("image.iso"), &content);
    let gone: Vec<String> = original
        .state()
        .requests
        .into_iter()
        .filter(|name| *name != names[0])
        .collect();
    assert!(gone.is_empty(), "{gone:?}");
    serves_on(&original);
}

#[test]
fn an_originals_whole_file_does_not_count_as_pieces() {
    let swarm = Swarm::new();
    let content = random_bytes(8 * PIECE, 1);
    let original = swarm.original("original", SOURCE);
    original.plant("image.iso", &content);
    swarm.until_listed(original.port(), &["image.iso"]);
    // before there is a .torrent, it begins to fetch the file as originals have it; slowly
    let peer = swarm.peer("peer", &["--max-down", "128K"]);
    peer.until_event("list", |event| event["n_peers"].as_u64() > Some(0));
    until("the first request", || {
        original
            .state()
            .requests
            .contains(&"image.iso".to_owned())
            .then_some(())
    });
    let _seed = swarm.seed("image.iso", &content);
    peer.until_event("list", |event| event["n_files"] == 1);
    until("the file, one way or the other", || {
        let events = ["complete", "unverified", "sharing"].map(|kind| peer.events(kind));
        events
            .iter()
            .flatten()
            .any(|event| event["name"] == "image.iso")
            .then_some(())
    });
    until_content(&swarm.folder("peer").join("image.iso"), &content);
    let requests = original.state().requests;
    assert!(
        requests.iter().all(|name| name == "image.iso"),
        "{requests:?}"
    );
    serves_on(&original);
}

// ---- from originals only

#[test]
fn a_file_comes_twice_from_two_holders_and_stays_unverified() {
    let swarm = Swarm::new();
    let content = random_bytes(3 * PIECE, 1);
    let originals = ["one", "two"].map(|name| swarm.original(name, SOURCE));
    for original in &originals {
        original.plant("theirs.iso", &content);
        swarm.until_listed(original.port(), &["theirs.iso"]);
    }
    for run in 1..=2 {
        let mut peer = swarm.peer("peer", &[]);
        until_content(&swarm.folder("peer").join("theirs.iso"), &content);
        if run == 1 {
            peer.until_event("unverified", |event| event["name"] == "theirs.iso");
            peer.until_line("unverified");
            for original in &originals {
                assert_eq!(original.served(), ["theirs.iso"], "once from each");
            }
        }
        // more than enough time to hash and to publish: another file has both behind it
        let calm = format!("{run}.txt");
        plant(&swarm.folder("peer"), &calm, b"calm");
        peer.until_event("published", |event| event["name"] == calm.as_str());
        let list = swarm.list();
        assert!(
            !list
                .torrents
                .iter()
                .flatten()
                .any(|file| file.name.as_str() == "theirs.iso"),
            "run {run}: published all the same"
        );
        peer.kill();
        make_older(&swarm.folder("peer"), "theirs.iso");
    }
    let mut exits = swarm.peer("peer", &["--only", "theirs.iso", "--exit-when-complete"]);
    assert_eq!(exits.until_ended().code(), Some(4), "{exits:?}");
    assert!(
        exits
            .lines()
            .iter()
            .any(|line| line.contains("theirs.iso") && line.contains("unverified")),
        "{exits:?}"
    );
    originals.iter().for_each(serves_on);
}

/// Makes a file of a peer's folder an hour old, also as the peer remembers it.
fn make_older(folder: &Path, name: &str) {
    let path = folder.join(name);
    let file = File::options().write(true).open(&path).expect("it came");
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    file.set_modified(hour_ago).expect("ours");
    let meta = file.metadata().expect("it is open");
    for kept in fs::read_dir(folder.join(".bittorrentish")).expect("it is there") {
        let kept = kept.expect("an entry").path();
        let saved = fs::read(&kept).expect("a file");
        let Ok(mut saved) = serde_json::from_slice::<Value>(&saved) else {
            continue;
        };
        if saved["torrent"]["name"] == name {
            saved["stamp"]["mtime"] = json!([meta.mtime(), meta.mtime_nsec()]);
            fs::write(&kept, saved.to_string()).expect("room");
        }
    }
}

#[test]
fn one_holder_is_asked_twice() {
    let swarm = Swarm::new();
    let original = swarm.original("original", SOURCE);
    original.plant("theirs.iso", b"content");
    let peer = swarm.peer("peer", &[]);
    peer.until_event("unverified", |event| event["name"] == "theirs.iso");
    until_content(&swarm.folder("peer").join("theirs.iso"), b"content");
    assert_eq!(original.served(), ["theirs.iso", "theirs.iso"]);
    serves_on(&original);
}

#[test]
fn two_contents_from_two_originals_do_not_enter_the_folder() {
    let swarm = Swarm::new();
    let originals = ["one", "two"].map(|name| swarm.original(name, SOURCE));
    for (original, content) in originals
        .iter()
        .zip([b"whole content".as_slice(), b"whole"])
    {
        original.plant("theirs.iso", content);
        swarm.until_listed(original.port(), &["theirs.iso"]);
    }
    let mut peer = swarm.peer("peer", &["--only", "theirs.iso", "--exit-when-complete"]);
    let told = peer.until_event("not_twice_the_same", |event| event["name"] == "theirs.iso");
    for content in [b"whole content".as_slice(), b"whole"] {
        assert!(
            told["why"]
                .to_string()
                .contains(&digest(content).to_string()),
            "{told}"
        );
    }
    assert!(peer.is_running() && !swarm.folder("peer").join("theirs.iso").exists());
    // mended, it is taken
    originals[1].plant("theirs.iso", b"whole content");
    assert_eq!(
        peer.until_ended().code(),
        Some(4),
        "here, and unverified: {peer:?}"
    );
    until_content(&swarm.folder("peer").join("theirs.iso"), b"whole content");
    originals.iter().for_each(serves_on);
}

#[test]
fn an_unverified_file_becomes_verified_once_the_tracker_has_its_md5() {
    let swarm = Swarm::new();
    let content = random_bytes(3 * PIECE, 1);
    let original = swarm.original("original", SOURCE);
    original.plant("image.iso", &content);
    let mut peer = swarm.peer(
        "peer",
        &[
            "--exit-when-complete",
            "--only",
            "image.iso",
            "--seed-for",
            "600",
        ],
    );
    peer.until_event("unverified", |event| event["name"] == "image.iso");
    let _seed = swarm.seed("image.iso", &content);
    peer.until_event("sharing", |event| event["name"] == "image.iso");
    assert!(
        peer.is_running()
            && ask_for(peer.addr(), "image.iso.part0002") == content[PIECE..2 * PIECE]
    );
    serves_on(&original);
}

// ---- an original's tracker

/// An original's tracker at its host name's address, and the folders of its peers.
struct Theirs {
    tracker: OriginalTracker,
    dir: Temp,
}

impl Theirs {
    fn new() -> Self {
        Self {
            tracker: OriginalTracker::start(THERE, Mode::Local, 10 * TICK),
            dir: Temp::new(),
        }
    }

    fn peer(&self, name: &str, flags: &[&str]) -> Program {
        Program::peer_at(
            &THERE.to_string(),
            self.tracker.addr.port(),
            &self.dir.dir(name),
            flags,
        )
    }

    fn original(&self, name: &str, every: Intervals) -> OriginalClient {
        OriginalClient::start(self.tracker.addr, THERE, &self.dir.dir(name), every)
    }

    #[track_caller]
    fn serves_on(&self) {
        assert!(
            self.tracker.is_serving(),
            "{:?}; {:?}",
            self.tracker.died_of(),
            self.tracker.messages().last()
        );
    }
}

#[test]
fn an_originals_tracker_serves_ours() {
    let theirs = Theirs::new();
    let content = random_bytes(3 * PIECE, 1);
    plant(&theirs.dir.dir("seed"), "image.iso", &content);
    let seed = theirs.peer("seed", &[]);
    let peer = theirs.peer("peer", &[]);
    for program in [&seed, &peer] {
        program.until_event("original_tracker", |_| true);
        program.until_line("the tracker is an original");
    }
    let unverified = peer.until_event("unverified", |event| event["name"] == "image.iso");
    assert_eq!(unverified["md5"], digest(&content).to_string());
    until_content(&theirs.dir.path().join("peer/image.iso"), &content);
    // it is told in the original's words alone
    for message in theirs.tracker.messages() {
        let value: Value = serde_json::from_str(&message).expect("JSON");
        let keys: BTreeSet<&str> = value
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        let is_ours = value["msg"] == "ping" && keys == ["msg", "port", "v"].into();
        assert!(
            is_ours || keys == ["files", "msg", "port"].into(),
            "{message}"
        );
    }
    assert!(peer.events("piece").is_empty() && peer.events("connected").is_empty());
    theirs.serves_on();
}

#[test]
fn files_go_both_ways_behind_an_originals_tracker() {
    let theirs = Theirs::new();
    let original = theirs.original("original", PEER);
    original.plant("theirs.txt", b"from theirs");
    plant(&theirs.dir.dir("ours"), "ours.txt", b"from ours");
    let ours = theirs.peer("ours", &[]);
    until_there(&original, "ours.txt", b"from ours");
    ours.until_event("unverified", |event| event["name"] == "theirs.txt");
    until_content(&theirs.dir.path().join("ours/theirs.txt"), b"from theirs");
    serves_on(&original);
    theirs.serves_on();
}

#[test]
fn what_ours_lists_it_serves() {
    let theirs = Theirs::new();
    let mut original = Some(theirs.original("original", SOURCE));
    original
        .as_ref()
        .expect("there")
        .plant("theirs.txt", b"from theirs");
    plant(&theirs.dir.dir("ours"), "ours.txt", b"from ours");
    let ours = theirs.peer("ours", &[]);
    ours.until_event("unverified", |event| event["name"] == "theirs.txt");
    ours.until_event("sharing", |event| event["name"] == "ours.txt");
    let lists = ours.events("list_sent").len();
    until("some more lists", || {
        (ours.events("list_sent").len() > lists + 2).then_some(())
    });
    serves_on(original.as_ref().expect("there"));
    original = None; // who asks now has nobody else
    let listed = |state: &super::original::TrackerState| {
        let own = state
            .roster
            .iter()
            .find(|(entry, _)| entry.port == ours.port());
        own.map(|(entry, _)| entry.files.clone())
            .unwrap_or_default()
    };
    let names = listed(&theirs.tracker.state());
    assert!(names.contains(&"ours.txt".to_owned()), "{names:?}");
    for name in names {
        // an original that gets nothing keeps an empty file for good
        let expected =
            fs::read(theirs.dir.path().join("ours").join(&name)).expect("it stands there");
        assert_eq!(ask_for(ours.addr(), &name), expected, "{name} is listed");
    }
    drop(original);
    theirs.serves_on();
}

#[test]
fn an_original_tracker_is_told_only_what_it_reads() {
    let theirs = Theirs::new();
    for n in 0..200 {
        plant(
            &theirs.dir.dir("ours"),
            &format!("ação, a rather long name that isn't ASCII alone \u{1f600} {n}.txt"),
            b"x",
        );
    }
    let ours = theirs.peer("ours", &["--list-every", "0.3"]);
    until("all of them shared", || {
        (ours.events("sharing").len() == 200).then_some(())
    });
    let lists = ours.events("list_sent").len();
    until("some more lists", || {
        (ours.events("list_sent").len() > lists + 3).then_some(())
    });
    theirs.serves_on();
    let messages = theirs.tracker.messages();
    assert!(messages.iter().all(|message| message.len() <= ONE_READ));
    let n_names = |message: &String| {
        serde_json::from_str::<Value>(message).expect("JSON")["files"]
            .as_array()
            .map_or(0, Vec::len)
    };
    let most = messages.iter().map(n_names).max().expect("a list");
    assert!((20..200).contains(&most), "as many as fit, {most} names");
}

#[test]
fn requests_to_an_original_fit_what_it_reads_off_loopback() {
    let swarm = Swarm::new();
    let original = swarm.original("original", SOURCE);
    original.set_read_limit(super::original::ONE_SEGMENT);
    let name = "ã".repeat(120);
    original.plant(&name, b"content");
    let peer = swarm.peer("peer", &[]);
    peer.until_event("unverified", |event| event["name"] == name.as_str());
    until_content(&swarm.folder("peer").join(&name), b"content");
    assert!(
        original
            .state()
            .messages
            .iter()
            .all(|message| message.len() <= super::original::ONE_SEGMENT)
    );
    serves_on(&original);
}

#[test]
fn what_the_tracker_is_is_judged_anew_at_each_ping() {
    let theirs = Theirs::new();
    plant(&theirs.dir.dir("ours"), "f", b"content");
    let ours = theirs.peer("ours", &[]);
    ours.until_event("original_tracker", |_| true);
    assert!(theirs.tracker.wait(DEADLINE, |state| {
        state.roster.iter().any(|(entry, _)| entry.files == ["f"])
    }));
    theirs.serves_on();
    let Theirs { tracker, dir } = theirs;
    let port = tracker.addr.port();
    drop(tracker);
    let tracker = Program::tracker_at(port, &dir.dir("torrents"), &[]);
    tracker.until_line("published f");
    let peer = Program::peer(&tracker, &dir.dir("peer"), &[]);
    peer.until_event("complete", |event| event["name"] == "f");
    until_content(&dir.path().join("peer/f"), b"content");
}

#[test]
fn a_mixed_swarm_of_originals_and_ours_ends_with_everything_everywhere() {
    let swarm = Swarm::new();
    let content = random_bytes(6 * PIECE, 1);
    let _seed = swarm.seed("image.iso", &content);
    let originals = ["one", "two", "three"].map(|name| swarm.original(name, PEER));
    let ours = ["a", "b"].map(|name| swarm.peer(name, &[]));
    originals[0].plant("1.txt", b"one");
    thread::scope(|scope| {
        for original in &originals {
            let content = &content;
            scope.spawn(move || {
                parts(content)
                    .into_iter()
                    .for_each(|(name, piece)| until_there(original, &name, piece));
                until_there(original, "1.txt", b"one");
            });
        }
    });
    for name in ["a", "b", "seed"] {
        until_content(&swarm.folder(name).join("image.iso"), &content);
        until_content(&swarm.folder(name).join("1.txt"), b"one");
    }
    originals.iter().for_each(serves_on);
    drop(ours);
}

/// Not part of any exchange: the stand-in is at another address than everything of ours.
#[test]
fn the_originals_are_where_their_host_name_says() {
    let swarm = Swarm::new();
    let original = swarm.original("original", SOURCE);
    let there: SocketAddr = original.addr;
    assert_eq!(there.ip(), THERE);
    until("its entry", || {
        swarm
            .list()
            .peers
            .iter()
            .any(|peer| peer.ip == THERE.to_string() && peer.port == there.port())
            .then_some(())
    });
    assert!(
        TcpStream::connect((Ipv4Addr::LOCALHOST, there.port())).is_err(),
        "only there"
    );
    serves_on(&original);
}
