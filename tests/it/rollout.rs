//! Which content every machine ends with: a second rollout, stale machines, two publishers, changing files, pins.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bittorrentish::md5::digest;

use super::support::{
    Program, Temp, ask_for, md5_of, next_version, plant, random_bytes, swarm_list, until,
    until_content,
};

const NAME: &str = "image.iso";
const LEN: usize = 3 << 20;
/// Ends once the image is here; waits for nothing else.
const FETCH: [&str; 3] = ["--only", NAME, "--exit-when-complete"];

/// A tracker, and the folders of its peers.
struct Lab {
    tracker: Program,
    dir: Temp,
}

impl Lab {
    fn new() -> Self {
        Self::sweeping("600")
    }

    fn sweeping(every: &str) -> Self {
        let dir = Temp::new();
        let tracker = Program::tracker(&dir.dir("torrents"), &["--sweep-every", every]);
        Self { tracker, dir }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.dir.dir(name)
    }

    fn peer(&self, name: &str, flags: &[&str]) -> Program {
        Program::peer(&self.tracker, &self.dir(name), flags)
    }

    /// A peer with this image, once the tracker has accepted it.
    fn seed(&self, name: &str, content: &[u8], flags: &[&str]) -> Program {
        put(&self.dir(name), content);
        let seed = self.peer(name, flags);
        seed.until_event("sharing", |event| event["name"] == NAME);
        seed
    }

    /// Machines that received this image from a swarm that is over: the seed, the tracker's records, and all peers are gone.
    fn last_week(&mut self, machines: &[&str], content: &[u8]) {
        let seed = self.seed("seed", content, &[]);
        for machine in machines {
            let code = self.peer(machine, &FETCH).until_ended().code();
            assert_eq!(code, Some(0), "{machine}");
        }
        drop(seed);
        until("all to be off the list", || {
            swarm_list(&self.tracker).peers.is_empty().then_some(())
        });
        // what is waited for from now on is this week's
        for name in machines.iter().chain(&["seed"]) {
            fs::remove_file(self.dir(name).with_extension("log")).expect("it was written");
        }
    }

    fn image(&self, name: &str) -> PathBuf {
        self.dir(name).join(NAME)
    }
}

/// The image, as a file that was left alone for long.
fn put(dir: &Path, content: &[u8]) {
    plant(dir, NAME, content);
    let file = File::options().write(true).open(dir.join(NAME));
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    file.and_then(|file| file.set_modified(hour_ago))
        .expect("it was just written");
}

#[track_caller]
fn ends(mut peer: Program, code: i32) -> Program {
    assert_eq!(peer.until_ended().code(), Some(code), "{peer:?}");
    peer
}

#[test]
fn a_second_rollout_replaces_last_weeks_image() {
    for seed_first in [true, false] {
        let mut lab = Lab::sweeping("1");
        let old = random_bytes(LEN, 1);
        let new = next_version(&old);
        let machines = ["m1", "m2", "m3"];
        // one had a copy of its own, with which the tracker credited the seed
        put(&lab.dir("m3"), &old);
        lab.last_week(&machines, &old);
        // and of one the image has another time now, so that it is hashed again
        put(&lab.dir("m2"), &old);
        let flags = [&FETCH[..], &["--replace"]].concat();
        let start = |lab: &Lab| machines.map(|machine| lab.peer(machine, &flags));
        let (seed, peers);
        if seed_first {
            seed = lab.seed("seed", &new, &[]);
            peers = start(&lab);
        } else {
            peers = start(&lab);
            for peer in &peers {
                peer.until_event("list_sent", |event| event["n_files"] == 1);
            }
            seed = lab.seed("seed", &new, &[]);
        }
        for (machine, peer) in machines.iter().zip(peers) {
            let peer = ends(peer, 0);
            assert_eq!(md5_of(&lab.image(machine)), Some(digest(&new)), "{peer:?}");
            let complete = peer.events("complete").pop().expect("it completed");
            assert!(complete["reused"].as_u64() > Some(2 << 20), "{complete}");
        }
        drop(seed);
    }
}

#[test]
fn a_second_rollout_moves_only_what_changed() {
    const SIZE: u64 = 64 << 20;
    let mut lab = Lab::sweeping("1");
    let old = random_bytes(SIZE as usize, 17);
    // of 1,024 pieces 52, which is 5.1 %
    let new = next_version(&old);
    lab.last_week(&["m1"], &old);
    let seed = lab.seed("seed", &new, &[]);
    let peer = ends(lab.peer("m1", &[&FETCH[..], &["--replace"]].concat()), 0);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&new)), "{peer:?}");
    let complete = peer.events("complete").pop().expect("it completed");
    let shares = complete["shares"].as_array().expect("a list").iter();
    let came: u64 = shares.filter_map(|share| share["got"].as_u64()).sum();
    assert!(came > 0 && came * 100 <= SIZE * 6, "{complete}");
    let reused = complete["reused"].as_u64().expect("a number");
    assert_eq!(reused + came, SIZE, "{complete}");
    drop(seed);
}

#[test]
fn an_outdated_image_makes_way_without_another_ping() {
    let mut lab = Lab::sweeping("1");
    let old = random_bytes(LEN, 17);
    let new = next_version(&old);
    lab.last_week(&["m1"], &old);
    let seed = lab.seed("seed", &new, &[]);
    let flags = [&FETCH[..], &["--replace", "--ping-every", "600"]].concat();
    let peer = lab.peer("m1", &flags);
    peer.until_event("complete", |event| event["md5"] == digest(&new).to_string());
    drop(seed);
}

#[test]
fn an_own_image_makes_way_for_a_pinned_one_alone() {
    let lab = Lab::new();
    let (new, own) = (random_bytes(LEN, 18), random_bytes(LEN, 19));
    let seed = lab.seed("seed", &new, &[]);
    put(&lab.dir("m1"), &own);
    let flags = [&FETCH[..], &["--replace"]].concat();
    let peer = ends(lab.peer("m1", &flags), 4);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&own)), "{peer:?}");
    let md5 = digest(&new).to_string();
    let peer = ends(lab.peer("m1", &[&flags[..], &["--md5", &md5]].concat()), 0);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&new)), "{peer:?}");
    drop(seed);
}

#[test]
fn without_replace_last_weeks_image_stays_and_the_code_is_4() {
    for seed_first in [true, false] {
        let mut lab = Lab::sweeping("1");
        let old = random_bytes(LEN, 2);
        let new = next_version(&old);
        lab.last_week(&["m1"], &old);
        let seed = seed_first.then(|| lab.seed("seed", &new, &[]));
        let peer = lab.peer("m1", &FETCH);
        let seed = seed.unwrap_or_else(|| {
            peer.until_event("list_sent", |event| event["n_files"] == 1);
            lab.seed("seed", &new, &[])
        });
        let peer = ends(peer, 4);
        let said = peer.lines().join("\n");
        for md5 in [digest(&old), digest(&new)] {
            assert!(said.contains(&md5.to_string()), "{peer:?}");
        }
        assert!(said.contains("--replace"), "{peer:?}");
        assert_eq!(md5_of(&lab.image("m1")), Some(digest(&old)));
        drop(seed);
    }
}

#[test]
fn a_pinned_second_rollout_replaces_last_weeks_image() {
    for seed_first in [true, false] {
        let mut lab = Lab::sweeping("1");
        let old = random_bytes(LEN, 20);
        let new = next_version(&old);
        lab.last_week(&["m1"], &old);
        let md5 = digest(&new).to_string();
        let flags = [&FETCH[..], &["--replace", "--md5", &md5]].concat();
        let seed = seed_first.then(|| lab.seed("seed", &new, &[]));
        let peer = lab.peer("m1", &flags);
        let seed = seed.unwrap_or_else(|| {
            peer.until_event("list_sent", |_| true);
            lab.seed("seed", &new, &[])
        });
        let peer = ends(peer, 0);
        assert_eq!(md5_of(&lab.image("m1")), Some(digest(&new)), "{peer:?}");
        drop(seed);
    }
}

#[test]
fn what_is_hashed_after_the_first_list_makes_way_at_once() {
    let lab = Lab::new();
    let old = random_bytes(LEN, 30);
    let new = next_version(&old);
    let _seed = lab.seed("seed", &new, &[]);
    // changed a moment ago, so it is looked at twice before it is hashed
    plant(&lab.dir("m1"), NAME, &old);
    let md5 = digest(&new).to_string();
    let rare = ["--replace", "--md5", &md5, "--ping-every", "500"];
    let peer = ends(lab.peer("m1", &[&FETCH[..], &rare].concat()), 0);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&new)), "{peer:?}");
}

#[test]
fn a_received_image_without_its_publisher_is_not_done() {
    let mut lab = Lab::sweeping("1");
    let old = random_bytes(LEN, 3);
    lab.last_week(&["m1"], &old);
    let mut peer = lab.peer("m1", &[&FETCH[..], &["--no-page"]].concat());
    let waits = peer.until_event("waiting", |event| {
        event["why"]
            .as_str()
            .is_some_and(|why| why.contains("published it isn't here"))
    });
    assert!(peer.is_running(), "{waits}");
    let seed = lab.seed("seed", &old, &[]);
    ends(peer, 0);
    drop(seed);
}

#[test]
fn a_stale_own_copy_does_not_replace_a_live_publishers() {
    let lab = Lab::new();
    let (new, old) = (random_bytes(LEN, 4), random_bytes(LEN, 5));
    let seed = lab.seed("seed", &new, &[]);
    put(&lab.dir("stale"), &old);
    let stale = lab.peer("stale", &[]);
    let refused = stale.until_event("refused", |event| event["name"] == NAME);
    assert_eq!(refused["swarm"], digest(&new).to_string());
    seed.until_event("other_copy", |event| {
        event["md5"] == digest(&old).to_string()
    });
    ends(lab.peer("m1", &FETCH), 0);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&new)));
    assert!(stale.events("sharing").is_empty(), "it isn't shared");
    assert_eq!(md5_of(&lab.image("stale")), Some(digest(&old)));
    drop(stale);
    ends(lab.peer("stale", &FETCH), 4);
}

#[test]
fn a_pinned_own_file_replaces_a_live_publishers() {
    let lab = Lab::new();
    let (first, second) = (random_bytes(LEN, 6), random_bytes(LEN, 7));
    let seed = lab.seed("seed", &first, &[]);
    let md5 = digest(&second).to_string();
    let pin = ["--only", NAME, "--md5", &md5];
    let pinned = lab.seed("pinned", &second, &pin);
    seed.until_event("refused", |event| event["swarm"] == md5.as_str());
    ends(lab.peer("m1", &[&FETCH[..], &pin[2..]].concat()), 0);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&second)));
    drop(pinned);
}

#[test]
fn a_pinned_seed_with_another_content_ends_with_4() {
    let lab = Lab::new();
    put(&lab.dir("seed"), &random_bytes(LEN, 8));
    let md5 = digest(b"another").to_string();
    let seed = ends(lab.peer("seed", &["--only", NAME, "--md5", &md5]), 4);
    assert!(seed.lines().join("\n").contains(&md5), "{seed:?}");
    assert!(
        swarm_list(&lab.tracker)
            .torrents
            .unwrap_or_default()
            .is_empty()
    );
}

#[test]
fn a_pinned_peer_waits_for_its_content() {
    let lab = Lab::new();
    let (other, right) = (random_bytes(LEN, 9), random_bytes(LEN, 10));
    let seed = lab.seed("seed", &other, &[]);
    let md5 = digest(&right).to_string();
    let mut peer = lab.peer("m1", &[&FETCH[..], &["--md5", &md5]].concat());
    peer.until_event("waiting", |event| {
        event["why"]
            .as_str()
            .is_some_and(|why| why.contains("--md5"))
    });
    assert!(peer.is_running() && !lab.image("m1").exists());
    plant(&lab.dir("seed"), NAME, &right);
    ends(peer, 0);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&right)));
    drop(seed);
}

#[test]
fn the_publishers_new_version_replaces_the_old_one() {
    let lab = Lab::new();
    let old = random_bytes(LEN, 11);
    let new = next_version(&old);
    let seed = lab.seed("seed", &old, &["--max-up", "600K"]);
    let peer = lab.peer("m1", &FETCH);
    peer.until_event("piece", |_| true);
    plant(&lab.dir("seed"), NAME, &new);
    ends(peer, 0);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&new)));
    drop(seed);
}

#[test]
fn nobody_ends_with_a_version_that_is_being_changed() {
    let lab = Lab::new();
    let (old, new) = (random_bytes(LEN, 12), random_bytes(LEN + 5, 13));
    // what it sees is told at once, and not only with the next list
    let seed = lab.seed("seed", &old, &["--list-every", "600"]);
    let middle = lab.peer("m1", &[]);
    until_content(&lab.image("m1"), &old);
    // it goes on changing for as long as nobody looks away
    let path = lab.image("seed");
    fs::write(&path, &new[..LEN / 2]).expect("room");
    until("the tracker to know of it", || {
        let list = swarm_list(&lab.tracker);
        list.coming
            .iter()
            .any(|coming| coming.name.as_str() == NAME)
            .then_some(())
    });
    let late = lab.peer("m2", &[&FETCH[..], &["--replace"]].concat());
    let kept = lab.peer("m3", &FETCH);
    for peer in [&late, &kept] {
        peer.until_event("complete", |_| true);
    }
    fs::write(&path, &new).expect("room");
    ends(late, 0);
    ends(kept, 4);
    assert_eq!(md5_of(&lab.image("m2")), Some(digest(&new)));
    drop((seed, middle));
}

#[test]
fn nobody_ends_with_the_old_version_while_the_tracker_settles() {
    let mut lab = Lab::sweeping("6");
    let old = random_bytes(LEN, 21);
    let new = next_version(&old);
    let seed = lab.seed("seed", &old, &[]);
    let middle = lab.peer("m1", &[]);
    until_content(&lab.image("m1"), &old);
    lab.tracker.kill();
    put(&lab.dir("seed"), &new);
    seed.until_event("hashed", |event| event["md5"] == digest(&new).to_string());
    let flags = ["--sweep-every", "6"];
    let port = lab.tracker.port();
    lab.tracker = Program::tracker_at(port, &lab.dir("torrents"), &flags);
    // it waits for its peers to come back, but the publisher is back where it was
    until("the new version", || {
        let listed = swarm_list(&lab.tracker).torrents.unwrap_or_default();
        (listed.first()?.md5 == digest(&new)).then_some(())
    });
    assert!(seed.events("refused").is_empty(), "{seed:?}");
    ends(lab.peer("m2", &FETCH), 0);
    assert_eq!(md5_of(&lab.image("m2")), Some(digest(&new)));
    drop((seed, middle));
}

#[test]
fn two_pinned_seeds_do_not_replace_each_other_for_ever() {
    let lab = Lab::sweeping("1");
    let contents = [random_bytes(LEN, 24), random_bytes(LEN, 25)];
    let seeds = [("seed", &contents[0]), ("later", &contents[1])];
    let [first, later] = seeds.map(|(name, content)| {
        let md5 = digest(content).to_string();
        lab.seed(name, content, &["--only", NAME, "--md5", &md5])
    });
    let [_, md5] = contents.each_ref().map(|content| digest(content));
    first.until_event("refused", |event| event["swarm"] == md5.to_string());
    let n_lists = first.events("list").len();
    until("five more lists", || {
        (first.events("list").len() > n_lists + 5).then_some(())
    });
    let lines = lab.tracker.lines();
    let replaced = lines.iter().filter(|line| line.contains("in place of"));
    assert_eq!(replaced.count(), 1, "{:?}", lab.tracker);
    assert_eq!(
        swarm_list(&lab.tracker).torrents.unwrap_or_default()[0].md5,
        md5
    );
    drop(later);
    until("its turn again", || {
        (first.events("sharing").len() == 2).then_some(())
    });
}

#[test]
fn a_pinned_seed_that_comes_while_the_tracker_settles_is_not_forgotten() {
    let mut lab = Lab::sweeping("6");
    let (old, new) = (random_bytes(LEN, 22), random_bytes(LEN, 23));
    let seed = lab.seed("seed", &old, &[]);
    lab.tracker.kill();
    let flags = ["--sweep-every", "6"];
    let port = lab.tracker.port();
    lab.tracker = Program::tracker_at(port, &lab.dir("torrents"), &flags);
    until("the first publisher to be back", || {
        let listed = swarm_list(&lab.tracker).torrents.unwrap_or_default();
        listed.iter().any(|file| file.here).then_some(())
    });
    put(&lab.dir("pinned"), &new);
    let md5 = digest(&new).to_string();
    let pin = ["--only", NAME, "--md5", &md5];
    let pinned = lab.peer("pinned", &pin);
    pinned.until_event("refused", |event| event["name"] == NAME);
    ends(lab.peer("m1", &[&FETCH[..], &pin[2..]].concat()), 0);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&new)));
    drop((seed, pinned));
}

#[test]
fn what_the_user_deletes_stays_deleted() {
    let lab = Lab::new();
    let content = random_bytes(LEN, 14);
    let seed = lab.seed("seed", &content, &[]);
    let peer = lab.peer("m1", &["--only", NAME]);
    until_content(&lab.image("m1"), &content);
    peer.until_event("list_sent", |event| event["n_files"] == 1);
    let at = peer.addr();
    fs::remove_file(lab.image("m1")).expect("it is there");
    // whoever asks for it may notice before the next look at the folder
    assert_eq!(ask_for(at, NAME), b"");
    peer.until_event("deleted", |event| event["name"] == NAME);
    let n_lists = peer.events("list").len();
    until("five more lists", || {
        (peer.events("list").len() > n_lists + 5).then_some(())
    });
    assert!(!lab.image("m1").exists());
    // another content is fetched
    let next = next_version(&content);
    plant(&lab.dir("seed"), NAME, &next);
    until_content(&lab.image("m1"), &next);
    drop(seed);
}

#[test]
fn what_the_user_changes_after_it_came_stays() {
    let lab = Lab::new();
    let content = random_bytes(LEN, 19);
    let seed = lab.seed("seed", &content, &[]);
    let md5 = digest(&content).to_string();
    let flags = ["--md5", &md5, "--replace", "--seed-for", "3"];
    let peer = lab.peer("m1", &[&FETCH[..], &flags].concat());
    until_content(&lab.image("m1"), &content);
    peer.until_event("complete", |_| true);
    let worked_on = [&content[..], b"a VM's"].concat();
    fs::write(lab.image("m1"), &worked_on).expect("room");
    let peer = ends(peer, 4);
    let said = peer.lines().join(" ");
    assert!(said.contains("changed after it had come"), "{peer:?}");
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&worked_on)));
    drop(seed);
}

#[test]
fn the_publisher_comes_back_at_another_port() {
    let lab = Lab::sweeping("1");
    let old = random_bytes(LEN, 15);
    let new = next_version(&old);
    drop(lab.seed("seed", &old, &[]));
    put(&lab.dir("seed"), &new);
    let port = lab.dir("seed").join(".bittorrentish/port");
    fs::remove_file(port).expect("it listened at one");
    let seed = lab.peer("seed", &[]);
    seed.until_event("sharing", |event| event["md5"] == digest(&new).to_string());
    assert_eq!(
        swarm_list(&lab.tracker).torrents.unwrap_or_default()[0].md5,
        digest(&new)
    );
}

#[test]
fn a_publisher_that_is_started_again_is_where_it_was() {
    // its last run stays listed
    let lab = Lab::new();
    let old = random_bytes(LEN, 16);
    let new = next_version(&old);
    // no program that asks for a free port is given one of these meanwhile
    let port = (20_000 + std::process::id() % 10_000).to_string();
    let seed = lab.seed("seed", &old, &["--listen", &port]);
    let at = seed.addr();
    let has_it = lab.peer("m1", &[]);
    until_content(&lab.image("m1"), &old);
    drop(seed);
    put(&lab.dir("seed"), &new);
    let seed = lab.peer("seed", &[]);
    // its log has what the last run sent, too
    seed.until_line("list → ");
    assert_eq!(seed.addr(), at);
    // it may get the old one before the new one is published
    ends(lab.peer("m2", &[&FETCH[..], &["--replace"]].concat()), 0);
    assert_eq!(md5_of(&lab.image("m2")), Some(digest(&new)));
    drop((seed, has_it));
}

#[test]
fn what_an_earlier_week_left_unfinished_is_used_and_leaves_nothing() {
    let lab = Lab::sweeping("1");
    let (other, old) = (random_bytes(LEN, 17), random_bytes(LEN, 18));
    let new = next_version(&old);
    for content in [&other, &old] {
        let seed = lab.seed("seed", content, &["--max-up", "600K"]);
        let peer = lab.peer("m1", &FETCH);
        until("some pieces", || {
            (peer.events("piece").len() > 5).then_some(())
        });
        drop((seed, peer));
        for name in ["m1", "seed"] {
            fs::remove_file(lab.dir(name).with_extension("log")).expect("it was written");
        }
    }
    let seed = lab.seed("seed", &new, &[]);
    let peer = ends(lab.peer("m1", &FETCH), 0);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&new)));
    let here = peer.events("begin")[0]["here"].as_u64();
    assert!(here > Some(0), "{peer:?}");
    let hidden = fs::read_dir(lab.dir("m1").join(".bittorrentish")).expect("a folder");
    let names = hidden.map(|entry| entry.expect("an entry").file_name());
    let parts: Vec<_> = names
        .filter(|name| name.to_string_lossy().ends_with(".part"))
        .collect();
    assert!(parts.is_empty(), "{parts:?}");
    drop(seed);
}

#[test]
fn reuse_copies_what_another_file_has_in_common() {
    let lab = Lab::new();
    let old = random_bytes(LEN, 16);
    let new = next_version(&old);
    let seed = lab.seed("seed", &new, &[]);
    let elsewhere = lab.dir("elsewhere").join("last-week.raw");
    fs::write(&elsewhere, &old).expect("room");
    let path = elsewhere.to_str().expect("UTF-8");
    let peer = ends(
        lab.peer("m1", &[&FETCH[..], &["--reuse", path]].concat()),
        0,
    );
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&new)));
    let complete = peer.events("complete").remove(0);
    assert!(complete["reused"].as_u64() > Some(2 << 20), "{complete}");
    assert_eq!(md5_of(&elsewhere), Some(digest(&old)), "it stays as it was");
    drop(seed);
}

#[test]
fn of_a_changed_piece_only_the_changed_block_crosses() {
    let (n_pieces, piece, block) = (40, 64 << 10, 4 << 10);
    let lab = Lab::new();
    let old = random_bytes(n_pieces * piece - 1000, 17);
    let mut new = old.clone();
    for idx in 0..n_pieces {
        // another block of each piece, and in the last piece its short last block
        let at = (idx * piece + idx % 16 * block + 7).min(new.len() - 1);
        new[at] ^= 1;
    }
    let seed = lab.seed("seed", &new, &[]);
    let elsewhere = lab.dir("elsewhere").join("last-week.raw");
    fs::write(&elsewhere, &old).expect("room");
    let path = elsewhere.to_str().expect("UTF-8");
    let flags = [&FETCH[..], &["--reuse", path]].concat();
    let peer = ends(lab.peer("m1", &flags), 0);
    assert_eq!(md5_of(&lab.image("m1")), Some(digest(&new)));
    let complete = peer.events("complete").remove(0);
    let shares = complete["shares"].as_array().expect("a list");
    let came: u64 = shares
        .iter()
        .filter_map(|share| share["got"].as_u64())
        .sum();
    let reused = complete["reused"].as_u64().expect("a number");
    assert_eq!(came + reused, new.len() as u64, "{complete}");
    assert!(came <= (n_pieces * block) as u64, "{complete}");
    drop(seed);
}

#[test]
fn a_misspelt_name_is_answered_with_the_nearest() {
    let lab = Lab::new();
    let seed = lab.seed("seed", b"small", &[]);
    for name in ["Image.iso", "imgae.iso"] {
        let peer = lab.peer(&name.to_lowercase(), &["--only", name]);
        peer.until_event("waiting", |event| {
            event["why"]
                .as_str()
                .is_some_and(|why| why.contains("did you mean image.iso?"))
        });
    }
    // otherwise a quiet one would wait without a word
    let quiet = lab.peer("quiet", &["--only", "imagee.iso", "--quiet"]);
    quiet.until_line("nobody lists it: did you mean image.iso?");
    drop(seed);
}

#[test]
fn a_file_that_is_being_hashed_is_waited_for() {
    let lab = Lab::new();
    let dir = lab.dir("seed");
    plant(&dir, "small.txt", b"small");
    File::create(dir.join("big.img"))
        .and_then(|file| file.set_len(6 << 30))
        .expect("a sparse file");
    let seed = lab.peer("seed", &[]);
    until("the tracker to know of it", || {
        let list = swarm_list(&lab.tracker);
        list.coming
            .iter()
            .any(|coming| coming.name.as_str() == "big.img")
            .then_some(())
    });
    let mut peer = lab.peer("m1", &["--exit-when-complete"]);
    peer.until_event("list", |_| true);
    let n_lists = peer.events("list").len();
    until("five more lists", || {
        (peer.events("list").len() > n_lists + 5).then_some(())
    });
    assert!(peer.is_running());
    drop(seed);
}
