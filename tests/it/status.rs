//! `client --status`: how far everybody is, and whether all have it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bittorrentish::md5::digest;

use super::page::link;
use super::support::*;

const CONTENT: usize = 4_000_000;

/// Runs `client --status` with these flags to its end. Returns its exit code and what it printed.
#[track_caller]
fn status(tracker: &Program, more: &[&str]) -> (Option<i32>, String) {
    let port = tracker.port().to_string();
    let mut status = Program::start(
        "client",
        &[&["127.0.0.1", &port, "--status"], more].concat(),
    );
    let ended = status.until_ended();
    (ended.code(), status.lines().join("\n"))
}

/// A tracker, a seed of `image.iso` that fetches nothing, and the folder of all.
fn swarm(content: &[u8]) -> (Temp, Program, Program) {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &["--sweep-every", "1"]);
    plant(&dir.dir("seed"), "image.iso", content);
    let seed = Program::peer(&tracker, &dir.dir("seed"), &["--only", "image.iso"]);
    seed.until_event("published", |_| true);
    (dir, tracker, seed)
}

/// A machine that fetches the image, and is gone at once.
#[track_caller]
fn fetch_and_leave(tracker: &Program, dir: &Path) {
    let flags = ["--only", "image.iso", "--exit-when-complete"];
    let mut peer = Program::peer(tracker, dir, &flags);
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
}

#[test]
fn everybody_is_shown_once_without_until() {
    let (dir, tracker, _seed) = swarm(&random_bytes(CONTENT, 1));
    let slow = Program::peer(&tracker, &dir.dir("slow"), &["--max-down", "64K"]);
    slow.until_event("piece", |_| true);
    until("a report of both", || {
        let (code, text) = status(&tracker, &[]);
        assert_eq!(code, Some(0), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let moving = lines[0].contains("KiB/s") && lines[0].contains("from 1 peer");
        let all = lines.len() == 4 && moving && lines[1].contains("publisher");
        // the machine knows that by its own --max-down, and would else be as far as all others of a slow seed
        let held_up = all && lines[3].starts_with("held up by the downlink of ");
        (held_up && lines[2].starts_with("0 of 1 machines have image.iso, MD5 ")).then_some(())
    });
}

/// Three peers of a slow seed.
fn slow_swarm(mib: usize) -> (Temp, Program, Program, [Program; 3]) {
    let dir = Temp::new();
    let flags = ["--page", "0", "--sweep-every", "1"];
    let tracker = Program::tracker(&dir.dir("torrents"), &flags);
    plant(&dir.dir("seed"), "image.iso", &random_bytes(mib << 20, 1));
    let seed = Program::peer(&tracker, &dir.dir("seed"), &["--max-up", "1M"]);
    seed.until_event("published", |_| true);
    let peers = ["a", "b", "c"].map(|name| Program::peer(&tracker, &dir.dir(name), &[]));
    (dir, tracker, seed, peers)
}

/// Waits until `--status` and the tracker's page both say what holds everybody up.
#[track_caller]
fn until_held_up(tracker: &Program, said: &str, term: &str) {
    let (at, _) = link(tracker);
    until(said, || {
        let (_, text) = status(tracker, &[]);
        let page = super::page::status(at);
        let on_page = page["files"][0]["held_up"]["term"] == term;
        (on_page && text.contains(said)).then_some(())
    });
}

#[test]
fn a_slow_seed_is_told_to_hold_all_up() {
    let (_dir, tracker, _seed, peers) = slow_swarm(16);
    until_held_up(&tracker, "held up by the seed's uplink", "seed_uplink");
    for peer in &peers {
        let complete = peer.until_event("complete", |_| true);
        assert_eq!(complete["held_up"], "seed_uplink", "{peer:?}");
        let share = complete["of_bound"].as_f64().expect("all rates are known");
        assert!(share > 0.5 && share <= 1.0, "{complete}");
    }
}

#[test]
fn a_missing_piece_is_told_to_hold_all_up() {
    let (_dir, tracker, mut seed, peers) = slow_swarm(64);
    peers
        .iter()
        .for_each(|peer| drop(peer.until_event("piece", |_| true)));
    seed.kill();
    until_held_up(
        &tracker,
        "held up by a piece that nobody has",
        "missing_piece",
    );
}

#[test]
fn what_held_a_machine_up_is_not_told_once_it_has_it_and_others_are_missing() {
    let (dir, tracker, _seed) = swarm(&random_bytes(1 << 20, 1));
    let port = tracker.port().to_string();
    let args = ["127.0.0.1", &port, "--status", "--until", "2"];
    let mut watch = Program::start("client", &args);
    let _slow = Program::peer(&tracker, &dir.dir("slow"), &["--max-down", "128K"]);
    watch.until_line("1 of 2 machines");
    fetch_and_leave(&tracker, &dir.dir("late"));
    assert_eq!(watch.until_ended().code(), Some(0), "{watch:?}");
    let lines = watch.lines();
    let one = lines.iter().position(|line| line.contains("1 of 2 "));
    let next = one.map(|one| &lines[one + 1]);
    assert!(
        next.is_some_and(|next| !next.contains("held up")),
        "{lines:?}"
    );
}

#[test]
fn who_finished_and_left_counts_until_the_content_changes() {
    let old = random_bytes(CONTENT, 1);
    let (dir, tracker, mut seed) = swarm(&old);
    fetch_and_leave(&tracker, &dir.dir("peer"));
    let late = ["--until", "1", "--within", "0.1"];
    let (code, text) = status(&tracker, &late);
    assert_eq!(code, Some(0), "{text}");
    // pinned, another content counts and no other
    let other = digest(b"another").to_string();
    let pinned = [&late[..], &["--only", "image.iso", "--md5", &other]].concat();
    let (code, text) = status(&tracker, &pinned);
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("has another content, MD5 "), "{text}");
    // next week's image
    seed.kill();
    plant(&dir.dir("seed"), "image.iso", &next_version(&old));
    let _seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    until("nobody who has the new one", || {
        let (code, text) = status(&tracker, &late);
        (code == Some(6) && text.contains("0 of 1 machines have image.iso")).then_some(())
    });
}

#[test]
fn what_no_publisher_confirms_counts_only_if_it_is_pinned() {
    let content = random_bytes(CONTENT, 1);
    let (dir, tracker, mut seed) = swarm(&content);
    fetch_and_leave(&tracker, &dir.dir("peer"));
    seed.kill();
    until("the seed to be off the list", || {
        swarm_list(&tracker).peers.is_empty().then_some(())
    });
    // as an earlier run left it: a newer version may come
    let waits = Program::peer(&tracker, &dir.dir("peer"), &["--only", "image.iso"]);
    waits.until_event("waiting", |_| true);
    let late = ["--only", "image.iso", "--until", "1", "--within", "0.1"];
    until("its report", || {
        let (code, text) = status(&tracker, &late);
        (code == Some(6) && text.contains("may have a newer version")).then_some(())
    });
    let md5 = digest(&content).to_string();
    let (code, text) = status(&tracker, &[&late[..], &["--md5", &md5]].concat());
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_restarted_tracker_never_says_0_too_early() {
    let (dir, mut tracker, _seed) = swarm(&random_bytes(CONTENT, 1));
    fetch_and_leave(&tracker, &dir.dir("peer"));
    let port = tracker.port();
    tracker.kill();
    let tracker = Program::tracker_at(port, &dir.dir("torrents"), &["--sweep-every", "1"]);
    for _ in 0..3 {
        let (code, text) = status(&tracker, &["--until", "1", "--within", "0.5"]);
        assert_eq!(code, Some(6), "{text}");
    }
    // the machine says it again
    fetch_and_leave(&tracker, &dir.dir("peer"));
    let (code, text) = status(&tracker, &["--until", "1", "--within", "0.1"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_file_that_nobody_published_is_had_by_nobody() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    for more in [&[][..], &["--only", "image.iso"]] {
        let late = [
            more,
            &["--until", "0", "--within", "0.1", "--hosts", "/dev/null"],
        ]
        .concat();
        assert_eq!(status(&tracker, &late).0, Some(0), "nobody is waited for");
        let late = [more, &["--until", "1", "--within", "0.1"]].concat();
        let (code, text) = status(&tracker, &late);
        assert_eq!(code, Some(6), "{text}");
        assert!(text.contains("published"), "{text}");
    }
}

#[test]
fn expected_machines_that_never_came_are_named() {
    let (dir, tracker, _seed) = swarm(&random_bytes(CONTENT, 1));
    fetch_and_leave(&tracker, &dir.dir("peer"));
    let hosts = dir.path().join("hosts");
    fs::write(
        &hosts,
        "\u{feff}127.0.0.1\r\n\n# broken:\nno.such.host.invalid # it is\n",
    )
    .expect("room");
    let hosts = hosts.to_str().expect("UTF-8");
    let (code, text) = status(
        &tracker,
        &["--until", "1", "--within", "0.1", "--hosts", hosts],
    );
    assert_eq!(code, Some(6), "{text}");
    assert!(
        text.ends_with("missing: no.such.host.invalid never came"),
        "{text}"
    );
    assert!(!text.contains("in --hosts"), "all are expected: {text}");
    fs::write(hosts, "no.such.host.invalid\n").expect("room");
    let late = ["--until", "1", "--within", "0.1", "--hosts", hosts];
    let (code, text) = status(&tracker, &late);
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("\n0 of the 1 in --hosts have it\n"), "{text}");
}

/// How many bytes of a content are on the disk in this folder, whole pieces only: under its name, or in its part.
fn on_disk(dir: &Path, content: &[u8]) -> u64 {
    let digits = &digest(b"image.iso").to_string()[..16];
    let part = format!("{}.{digits}.part", digest(content));
    let part = dir.join(".bittorrentish").join(part);
    let read = fs::read(dir.join("image.iso")).or_else(|_| fs::read(part));
    let piece_len = torrent_of("image.iso", content).full_piece_len();
    let found = read.unwrap_or_default();
    let pieces = found.chunks(piece_len).zip(content.chunks(piece_len));
    let right = pieces.filter(|(found, right)| found == right);
    right.map(|(piece, _)| piece.len() as u64).sum()
}

#[test]
fn figures_agree_with_the_disk_at_every_look() {
    let content = random_bytes(CONTENT, 1);
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &["--page", "0"]);
    plant(&dir.dir("seed"), "image.iso", &content);
    let seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    seed.until_event("published", |_| true);
    let folder = dir.dir("slow");
    let slow = Program::peer(&tracker, &folder, &["--max-down", "400K"]);
    let (at, peer) = (link(&tracker).0, slow.addr().to_string());
    let by_status = || -> Option<u64> {
        let (_, text) = status(&tracker, &[]);
        let line = text.lines().find(|line| line.contains(&peer))?;
        let (before, _) = line.split_once(" %")?;
        before.split(' ').next_back()?.parse().ok()
    };
    let by_page = || -> Option<u64> {
        let page = super::page::status(at);
        let mut machines = page["machines"].as_array()?.iter();
        let slow = machines.find(|machine| machine["peer"] == peer.as_str())?;
        slow["files"][0]["here"].as_u64()
    };
    let (mut last, mut looks) = ((0, 0), 0);
    until("all of it, and never more than there is", || {
        let (percent, here) = (by_status()?, by_page()?);
        let disk = on_disk(&folder, &content);
        let known = percent <= disk * 100 / CONTENT as u64 && here <= disk;
        assert!(known, "{percent} %, {here} and {disk} bytes");
        assert!(last <= (percent, here), "{last:?}, {percent} %, {here}");
        (last, looks) = ((percent, here), looks + 1);
        (percent == 100 && here == CONTENT as u64).then_some(())
    });
    assert!(looks > 10, "{looks} looks");
    assert_eq!(md5_of(&folder.join("image.iso")), Some(digest(&content)));
}

#[test]
fn what_is_about_to_change_is_waited_for() {
    let content = random_bytes(CONTENT, 1);
    let (dir, tracker, seed) = swarm(&content);
    fetch_and_leave(&tracker, &dir.dir("peer"));
    let file = dir.dir("seed").join("image.iso");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // never left alone for two looks
        scope.spawn(|| {
            for n in 0.. {
                fs::write(&file, format!("so far there are {n} lines")).expect("room");
                std::thread::sleep(Duration::from_millis(100));
                if over.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let late = ["--only", "image.iso", "--until", "1", "--within", "0.1"];
        until("the look at the change", || {
            let (code, text) = status(&tracker, &late);
            let waits = text.contains("a new image.iso is coming, and is waited for");
            assert!(waits == (code == Some(6)), "{code:?}: {text}");
            waits.then_some(())
        });
        // whatever comes, this one is there
        let md5 = digest(&content).to_string();
        let (code, text) = status(&tracker, &[&late[..], &["--md5", &md5]].concat());
        over.store(true, Ordering::SeqCst);
        assert_eq!(code, Some(0), "{text}");
    });
    drop(seed);
}

/// A seed of so many small files, and a machine that has them all and stays.
fn many_files(n: usize) -> (Temp, Program, [Program; 2]) {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    for nth in 0..n {
        let content = random_bytes(100 + nth, nth as u64);
        plant(&dir.dir("seed"), &format!("{nth}.txt"), &content);
    }
    let peers = ["seed", "peer"].map(|name| Program::peer(&tracker, &dir.dir(name), &[]));
    let all = || fs::read_dir(dir.dir("peer")).expect("a folder").count();
    // and the hidden one
    until("all files", || (all() == n + 1).then_some(()));
    (dir, tracker, peers)
}

#[test]
fn one_of_many_files_is_told_and_not_all_are_waited_for() {
    let (_dir, tracker, _peers) = many_files(25);
    let (code, text) = status(&tracker, &["--until", "1"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("25 files are published"), "{text}");
    // it is the smallest, so nobody reports it; and of two machines that have it, one published it
    let (code, text) = status(&tracker, &["--only", "0.txt", "--until", "1"]);
    assert_eq!(code, Some(0), "{text}");
    let late = ["--only", "0.txt", "--until", "2", "--within", "0.1"];
    let (code, text) = status(&tracker, &late);
    assert_eq!(code, Some(6), "{text}");
}

#[test]
fn another_programs_port_is_named() {
    let (_dir, tracker, seed) = swarm(b"small");
    let port = |of: &str| {
        let line = seed.lines().into_iter().find(|line| line.contains(of));
        let line = line.expect("its first lines");
        let (_, rest) = line.split_once(of).expect("found");
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits.expect("a port").to_owned()
    };
    for (at, why) in [
        (port("listening on port "), "this is a peer's port"),
        (port("page: http://127.0.0.1:"), "a web server"),
    ] {
        let mut asks = Program::start("client", &["127.0.0.1", &at, "--status"]);
        assert_eq!(asks.until_ended().code(), Some(3), "{asks:?}");
        let said = asks.lines().join("\n");
        assert!(said.contains(why), "{said}");
    }
    drop(tracker);
}

#[test]
fn what_is_waited_for_stays_when_its_only_seed_goes() {
    let (dir, tracker, seed) = swarm(&random_bytes(CONTENT, 1));
    plant(&dir.dir("other"), "other.iso", b"small");
    let other = Program::peer(&tracker, &dir.dir("other"), &["--only", "other.iso"]);
    other.until_event("published", |_| true);
    let peer = Program::peer(&tracker, &dir.dir("peer"), &["--only", "image.iso"]);
    peer.until_event("complete", |_| true);
    let port = tracker.port().to_string();
    let ask = [
        "127.0.0.1",
        &port,
        "--status",
        "--until",
        "1",
        "--within",
        "6",
    ];
    let mut asks = Program::start("client", &ask);
    asks.until_line("2 published files");
    drop(other);
    assert_eq!(asks.until_ended().code(), Some(6), "{asks:?}");
    drop(seed);
}
