//! Nobody waits for hashing: what a publisher has hashed so far is fetched while it goes on, and nothing counts as done before
//! the whole file's MD5 is known.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bittorrentish::md5::Digest;
use serde_json::Value;

use super::support::{Program, Temp, md5_of, random_bytes, swarm_list, until};

const NAME: &str = "image.iso";
/// Hashing this takes a second or so.
const SIZE: u64 = 512 << 20;
/// Ends once the image is here; waits for nothing else.
const FETCH: [&str; 3] = ["--only", NAME, "--exit-when-complete"];

/// These tests run one at a time: together they would take both cores of a small machine from all others.
static ALONE: Mutex<()> = Mutex::new(());

/// A tracker, a seed's folder with an image that it has never hashed, and one for a peer.
struct Lab {
    _alone: MutexGuard<'static, ()>,
    temp: Temp,
    tracker: Program,
}

impl Lab {
    fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let temp = Temp::new();
        let tracker = Program::tracker(&temp.dir("torrents"), &[]);
        let lab = Self {
            _alone: alone,
            temp,
            tracker,
        };
        let image = File::create(lab.image("seed")).expect("room");
        image.set_len(SIZE).expect("a sparse file");
        for at in (0..SIZE).step_by(32 << 20) {
            let bytes = random_bytes(1 << 20, at);
            image.write_all_at(&bytes, at).expect("room");
        }
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        image.set_modified(hour_ago).expect("one's own file");
        lab
    }

    fn image(&self, name: &str) -> PathBuf {
        self.temp.dir(name).join(NAME)
    }

    fn peer(&self, name: &str, flags: &[&str]) -> Program {
        Program::peer(&self.tracker, &self.temp.dir(name), flags)
    }

    fn md5(&self, name: &str) -> Option<Digest> {
        md5_of(&self.image(name))
    }
}

/// The first head that it fetches.
fn head(peer: &Program) -> Value {
    peer.until_event("head", |_| true)
}

/// Waits until the tracker has answered it a few times more.
fn until_more_lists(peer: &Program) {
    let n_lists = peer.events("list").len();
    until("three more lists", || {
        (peer.events("list").len() > n_lists + 3).then_some(())
    });
}

/// The unfinished files of a folder.
fn parts(image: &Path) -> Vec<String> {
    let hidden = image.with_file_name(".bittorrentish");
    let files = fs::read_dir(hidden).expect("a peer's folder");
    let names = files.map(|file| file.expect("a name").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".part")).collect()
}

#[test]
fn a_file_is_fetched_while_it_is_hashed() {
    let lab = Lab::new();
    let mut peers = ["m1", "m2"].map(|name| lab.peer(name, &FETCH));
    let seed = lab.peer("seed", &[]);
    peers[0].until_event("piece", |_| true);
    assert!(seed.events("hashed").is_empty(), "{seed:?}");
    let list = swarm_list(&lab.tracker);
    assert!(
        list.torrents == Some(Vec::new()) && list.coming.len() == 1,
        "{list:?}"
    );
    assert!(!lab.image("m1").exists());
    let md5 = lab.md5("seed");
    for (name, peer) in ["m1", "m2"].into_iter().zip(&mut peers) {
        assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
        assert_eq!(lab.md5(name), md5);
        let complete = peer.events("complete").pop().expect("it completed");
        assert_eq!(
            (&complete["here"], &complete["reused"]),
            (&0.into(), &0.into())
        );
        let shares = complete["shares"].as_array().expect("peers").iter();
        let came: u64 = shares.filter_map(|share| share["got"].as_u64()).sum();
        assert!((SIZE..SIZE + SIZE / 8).contains(&came), "{complete}");
        assert!(parts(&lab.image(name)).is_empty());
        // holes stay holes, however often the part was renamed
        let used = fs::metadata(lab.image(name)).expect("it is there").blocks() * 512;
        assert!(used < SIZE / 4, "{used} bytes are used");
    }
}

#[test]
fn who_is_cut_off_meanwhile_keeps_what_came() {
    let lab = Lab::new();
    let mut peer = lab.peer("m1", &FETCH);
    let seed = lab.peer("seed", &[]);
    peer.until_event("piece", |piece| piece["have"].as_u64() > Some(40));
    peer.kill();
    assert!(!lab.image("m1").exists() && parts(&lab.image("m1")).len() == 1);
    fs::remove_file(lab.temp.path().join("m1.log")).expect("it was written");
    seed.until_event("published", |_| true);
    // by now the file is published, and nobody has a head of it any more
    let mut peer = lab.peer("m1", &FETCH);
    let begun = peer.until_event("begin", |_| true);
    assert!(begun["here"].as_u64() > Some(40), "{begun}");
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    assert_eq!(lab.md5("m1"), lab.md5("seed"));
    assert!(parts(&lab.image("m1")).is_empty());
}

#[test]
fn a_file_that_changes_while_it_is_hashed_comes_as_it_is_then() {
    let lab = Lab::new();
    let mut peer = lab.peer("m1", &FETCH);
    let seed = lab.peer("seed", &[]);
    head(&peer);
    let image = File::options().write(true).open(lab.image("seed"));
    let written = image.and_then(|image| image.write_all_at(b"changed", 5_000_000));
    written.expect("room");
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    let md5 = lab.md5("seed").expect("it is there");
    assert_eq!(lab.md5("m1"), Some(md5));
    // it was hashed twice at most, and published once
    assert_eq!(seed.events("published").len(), 1, "{seed:?}");
    let published = seed.events("published").remove(0);
    assert_eq!(published["md5"], md5.to_string());
    assert!(peer.events("bad_piece").is_empty(), "{peer:?}");
}

#[test]
fn a_pinned_peer_fetches_what_may_be_its_file_and_takes_no_other() {
    let lab = Lab::new();
    let md5 = lab.md5("seed").expect("it is there").to_string();
    let other = "0123456789abcdef0123456789abcdef";
    let [mut right, mut wrong] = [("m1", &*md5), ("m2", other)].map(|(name, md5)| {
        let flags = [&FETCH[..], &["--md5", md5]].concat();
        lab.peer(name, &flags)
    });
    let seed = lab.peer("seed", &[]);
    head(&right);
    head(&wrong);
    assert_eq!(right.until_ended().code(), Some(0), "{right:?}");
    assert_eq!(lab.md5("m1").map(|md5| md5.to_string()), Some(md5));
    seed.until_event("published", |_| true);
    until_more_lists(&wrong);
    assert!(wrong.is_running() && !lab.image("m2").exists(), "{wrong:?}");
}

#[test]
fn a_publisher_that_goes_away_meanwhile_leaves_no_file() {
    let lab = Lab::new();
    let mut peer = lab.peer("m1", &FETCH);
    let mut seed = lab.peer("seed", &[]);
    head(&peer);
    seed.kill();
    until_more_lists(&peer);
    assert!(peer.is_running() && !lab.image("m1").exists(), "{peer:?}");
    // the tracker's list is empty: the head that came is nobody's file
    assert!(
        swarm_list(&lab.tracker)
            .torrents
            .unwrap_or_default()
            .is_empty()
    );
    fs::remove_file(lab.temp.path().join("seed.log")).expect("it was written");
    let _seed = lab.peer("seed", &[]);
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    assert_eq!(lab.md5("m1"), lab.md5("seed"));
}
