//! What each message is answered, without sockets.

use std::collections::BTreeSet;
use std::fs;
use std::process;

use super::message_permit::MessagePermit;
use super::*;
use crate::content::Verdict;
use crate::md5::{INITIAL, digest};
use crate::net::ANSWER_EACH_BYTE;
use crate::protocol::{
    FileReport, MachineReport, MachineStatus, Outcome, PeerEntry, PingAnswer, Publication, Reply,
    Summary, SwarmList, TORRENT_CAP, VERSION, parse,
};
use crate::roster::{FILES_PER_ADDRESS, Record};
use crate::torrent::Torrent;

/// This test's folder.
fn dir() -> PathBuf {
    let thread = std::thread::current().id();
    let dir = format!("bittorrentish-tracker-{}-{thread:?}", process::id());
    std::env::temp_dir().join(dir)
}

/// A tracker without a listener, and with a folder of its own.
fn with_tracker(reach: Reachability, test: impl FnOnce(&mut TrackerShared)) {
    let config = TrackerConfig {
        reach,
        torrents: dir(),
        sweep_every: Duration::from_secs(15),
        client: "client".to_owned(),
    };
    let roster = Roster::new(reach);
    let tracker = TrackerShared::new(roster, &config, 29283, Report::silent());
    test(&mut tracker.expect("a new folder"));
    fs::remove_dir_all(&config.torrents).expect("it is there");
}

/// Answers a message from this machine.
fn ask(tracker: &TrackerShared, message: &str) -> Vec<u8> {
    ask_from(tracker, "127.0.0.1:40000", message)
}

fn ask_from(tracker: &TrackerShared, peer: &str, message: &str) -> Vec<u8> {
    let message = parse(message.as_bytes()).expect("a message");
    let own = match peer.starts_with("127.") {
        true => "127.0.0.1",
        false => "10.0.0.1",
    };
    let peer = peer.parse().expect("an address");
    let own = own.parse().expect("an address");
    tracker.answer(peer, own, message).parts().concat()
}

fn swarm(tracker: &TrackerShared, port: u16) -> SwarmList {
    let ping = format!(r#"{{"msg": "ping", "port": {port}, "v": 1}}"#);
    match parse(&ask(tracker, &ping)).expect("an answer of ours") {
        PingAnswer::Ours(list) => list,
        other => panic!("{other:?}"),
    }
}

fn torrent(n_blocks: usize) -> Torrent {
    let name = Name::parse("image.iso").expect("a name");
    let size = (n_blocks as u64) << 12;
    Torrent::new(
        name,
        size,
        64 << 10,
        digest(b"any"),
        vec![INITIAL; n_blocks],
    )
    .expect("a .torrent")
}

/// Publishes from port 5, with the `.torrent` or without.
fn publish<'a>(tracker: &'a TrackerShared, torrent: &Torrent, with: bool) -> Reply {
    let file = Publication {
        torrent: with.then(|| torrent.clone()),
        ..Publication::of(torrent)
    };
    let message = ToTracker::Publish {
        port: 5,
        key: "key".to_owned(),
        files: vec![file],
    };
    let peer = "127.0.0.1:40000".parse().expect("an address");
    let reply: TrackerReply<'a> = tracker.answer(peer, peer.ip(), message);
    parse(&reply.bytes).expect("a reply")
}

/// Has a peer publish a small file under each name.
fn publish_all(tracker: &TrackerShared, peer: SocketAddr, names: impl Iterator<Item = String>) {
    for name in names {
        let summary = Summary {
            name: Name::parse(&name).expect("a name"),
            n_pieces: 1,
            ..Summary::of(&torrent(16))
        };
        let record = Record { summary, key: None };
        tracker.lock().publish(peer, record, Verdict::New);
    }
}

#[test]
fn a_ping_gets_the_list_in_its_senders_dialect() {
    with_tracker(Reachability::Local, |tracker| {
        let list = r#"{"msg": "file_list", "port": 7, "files": ["1.txt"]}"#;
        assert_eq!(ask(tracker, list), b"", "an original's list has no answer");
        let original = ask(tracker, r#"{"msg": "ping", "port": 8}"#);
        let entries: Vec<PeerEntry> = parse(&original).expect("an array");
        let named = |entry: &PeerEntry| (entry.port, entry.file_list.clone());
        let of_7 = (7, vec!["1.txt".to_owned()]);
        assert_eq!((entries.len(), named(&entries[0])), (1, of_7.clone()));
        let list = swarm(tracker, 9);
        let mut peers: Vec<_> = list.peers.iter().map(named).collect();
        peers.sort();
        assert_eq!(peers, [of_7, (8, vec![])], "the ping added its sender");
        assert!(list.local && list.v == VERSION);
    });
}

#[test]
fn a_list_of_ours_is_answered_and_visible() {
    with_tracker(Reachability::Local, |tracker| {
        let list = r#"{"msg": "file_list", "port": 7, "v": 1, "files": ["1.txt"]}"#;
        assert_eq!(ask(tracker, list), br#"{"v":1}"#);
        assert_eq!(swarm(tracker, 9).peers[0].file_list, ["1.txt"]);
    });
}

#[test]
fn the_refused_are_told_so_in_their_dialect() {
    with_tracker(Reachability::Local, |tracker| {
        for (peer, message, expected) in [
            ("10.0.0.2:1", r#"{"msg": "ping", "port": 7}"#, "[]"),
            ("127.0.0.1:1", r#"{"msg": "ping", "port": 0}"#, "[]"),
            (
                "10.0.0.2:1",
                r#"{"msg": "file_list", "port": 7, "files": []}"#,
                "",
            ),
            (
                "10.0.0.2:1",
                r#"{"msg": "ping", "port": 7, "v": 1}"#,
                "started without --remote",
            ),
            (
                "127.0.0.1:1",
                r#"{"msg": "get_torrent", "name": "x"}"#,
                "nobody has published x",
            ),
        ] {
            let answer = ask_from(tracker, peer, message);
            let answer = String::from_utf8(answer).expect("text");
            let fits = match expected {
                "" | "[]" => answer == expected,
                why => answer.starts_with(r#"{"v":1,"error":""#) && answer.contains(why),
            };
            assert!(fits, "{message}: {answer}");
        }
        assert_eq!(tracker.lock().n_peers(), 0, "nobody was added");
    });
}

#[test]
fn a_publication_is_what_it_says_and_no_more_than_one_may_send() {
    let image = torrent(16);
    let fine = Publication {
        torrent: Some(image.clone()),
        ..Publication::of(&image)
    };
    let other = Name::parse("other.iso").expect("a name");
    let answer = |key: &str, files: Vec<Publication>| {
        let mut said = String::new();
        with_tracker(Reachability::Local, |tracker| {
            let (port, key) = (5, key.to_owned());
            let message = ToTracker::Publish { port, key, files };
            let peer: SocketAddr = "127.0.0.1:40000".parse().expect("an address");
            let reply = tracker.answer(peer, peer.ip(), message).parts().concat();
            said = String::from_utf8(reply).expect("text");
            let is_kept = said.contains("\"stands\"");
            let n_listed = swarm(tracker, 9).torrents.map(|files| files.len());
            assert_eq!(n_listed, Some(usize::from(is_kept)));
        });
        said
    };
    let long = "k".repeat(65);
    for (expected, key, files) in [
        ("\"stands\"", "key", vec![fine.clone()]),
        (
            "a publisher's key has 1 to 64 bytes, this one 0",
            "",
            vec![],
        ),
        (
            "a publisher's key has 1 to 64 bytes, this one 65",
            &long,
            vec![],
        ),
        (
            "at most 1000 files, this one 1001",
            "key",
            vec![fine.clone(); 1001],
        ),
        (
            "has the name",
            "key",
            vec![Publication {
                name: other,
                ..fine.clone()
            }],
        ),
        (
            "has the size",
            "key",
            vec![Publication {
                size: 1,
                ..fine.clone()
            }],
        ),
        (
            "has the MD5",
            "key",
            vec![Publication {
                md5: digest(b"1"),
                ..fine.clone()
            }],
        ),
        (
            "has a list of checkpoints",
            "key",
            vec![Publication {
                checkpoints: digest(b"1"),
                ..fine.clone()
            }],
        ),
    ] {
        let said = answer(key, files);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn who_published_it_and_whether_it_is_pinned_outlives_the_tracker() {
    let steps = [
        // a received copy has no publisher, and a pin on it means nothing
        ("one", false, true, (None, false)),
        ("two", true, false, (Some("two"), false)),
        ("two", true, true, (Some("two"), true)),
        ("two", false, true, (Some("two"), false)),
        ("two", true, true, (Some("two"), true)),
        ("one", true, false, (Some("two"), true)),
    ];
    // with the received copy, or without
    for steps in [&steps[..], &steps[1..], &steps[2..]] {
        with_tracker(Reachability::Local, |tracker| {
            let image = torrent(16);
            for &(key, own, pinned, kept) in steps {
                let file = Publication {
                    own,
                    pinned,
                    torrent: Some(image.clone()),
                    ..Publication::of(&image)
                };
                let message = ToTracker::Publish {
                    port: 5,
                    key: key.to_owned(),
                    files: vec![file],
                };
                let peer: SocketAddr = "127.0.0.1:40000".parse().expect("an address");
                let reply = tracker.answer(peer, peer.ip(), message).parts().concat();
                let reply: Reply = parse(&reply).expect("a reply");
                let is_mine = kept.0 == Some(key);
                let told =
                    matches!(&reply.files[..], [Outcome::Stands { mine, .. }] if *mine == is_mine);
                assert!(told, "{key} {own} {pinned}: {reply:?}");
                let loaded = tracker.torrents.load().expect("readable");
                let [Record { summary, key: last }] = &loaded.records[..] else {
                    panic!("one record");
                };
                assert_eq!(
                    (last.as_deref(), summary.pinned),
                    kept,
                    "{key} {own} {pinned}"
                );
            }
        });
    }
}

#[test]
fn a_long_message_needs_a_permit_and_keeps_it() {
    let large = Semaphore::new(1, 0);
    let [mut first, mut second] = [(); 2].map(|()| MessagePermit::new(&large, Duration::ZERO));
    for (len, expected, refused) in [
        (SMALL, [TORRENT_CAP; 2], false),
        (SMALL + 1, [TORRENT_CAP, SMALL], true),
        (SMALL + 2, [TORRENT_CAP, SMALL], true),
    ] {
        assert_eq!([first.cap(len), second.cap(len)], expected, "{len}");
        assert_eq!((first.is_refused(), second.is_refused()), (false, refused));
    }
    drop(first);
    assert_eq!(second.cap(SMALL + 3), SMALL, "it has been refused");
    let mut third = MessagePermit::new(&large, Duration::ZERO);
    assert_eq!(third.cap(SMALL + 1), TORRENT_CAP, "it was given back");
}

#[test]
fn a_file_is_loaded_under_its_own_name() {
    with_tracker(Reachability::Local, |tracker| {
        publish(tracker, &torrent(16), true);
        let dir = dir();
        fs::rename(dir.join("image.iso.torrent"), dir.join("x.torrent")).expect("it is there");
        fs::write(dir.join(".new.torrent"), "").expect("room");
        fs::create_dir(dir.join("y.torrent")).expect("room");
        let loaded = tracker.torrents.load().expect("readable");
        let bad: BTreeSet<String> = loaded.bad.iter().map(ToString::to_string).collect();
        assert_eq!((loaded.records.len(), bad.len()), (0, 2), "{bad:?}");
        assert!(
            bad.contains("left out x.torrent: it is of image.iso"),
            "{bad:?}"
        );
    });
}

#[test]
fn who_has_what_is_told_of_machines_that_report() {
    with_tracker(Reachability::Local, |tracker| {
        let image = torrent(16);
        publish(tracker, &image, true);
        let list = r#"{"msg": "file_list", "port": 6, "v": 1, "files": ["image.iso"]}"#;
        ask(tracker, list);
        ask(
            tracker,
            r#"{"msg": "file_list", "port": 7, "v": 1, "files": []}"#,
        );
        let ended = r#", "ended": {"code": 0, "why": ""}"#;
        for (port, ended) in [(5, ""), (6, ""), (7, ""), (8, ""), (6, ended)] {
            let report = format!(
                r#"{{"msg": "report", "port": {port}, "host": "pc{port}", "files": []{ended}}}"#
            );
            let answer = ask(tracker, &report);
            assert_eq!(answer, br#"{"v":1}"#);
            let status = ask(tracker, r#"{"msg": "status", "only": "image.iso"}"#);
            let status: Reply = parse(&status).expect("a reply");
            let status = status.status.expect("what was asked for");
            let of_it = |one: &&MachineStatus| one.host == format!("pc{port}");
            let machine = status.machines.iter().find(of_it).expect("it reported");
            let is_here = port != 8 && ended.is_empty();
            // what it has published or listed counts before it reports that
            let has = is_here && port != 7;
            assert_eq!(machine.here, is_here, "{port}");
            assert_eq!(machine.files.len(), usize::from(has), "{port}");
            let mine = machine.files.iter().filter(|file| file.mine);
            assert_eq!(mine.count(), usize::from(port == 5), "{port}");
        }
        let refused = ask(
            tracker,
            r#"{"msg": "report", "port": 0, "host": "x", "files": []}"#,
        );
        assert!(String::from_utf8_lossy(&refused).contains("error"));
    });
}

#[test]
fn a_publication_stands_once_its_torrent_came() {
    with_tracker(Reachability::Local, |tracker| {
        let image = torrent(16);
        assert_eq!(publish(tracker, &image, false).files, [Outcome::Send]);
        assert!(swarm(tracker, 9).torrents.unwrap_or_default().is_empty());
        let outcome = publish(tracker, &image, true).files;
        let [Outcome::Stands { mine: true, .. }] = &outcome[..] else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            swarm(tracker, 9).torrents.unwrap_or_default()[0].md5,
            image.md5()
        );
        let get = r#"{"msg": "get_torrent", "name": "image.iso"}"#;
        let reply: Reply = parse(&ask(tracker, get)).expect("a reply");
        let handed_out = reply.torrent.expect("the .torrent");
        assert!(handed_out.same_content(&image) && handed_out.peers.len() == 1);
    });
}

#[test]
fn a_copy_dated_ahead_of_this_clock_replaces_nothing_dated_by_it() {
    with_tracker(Reachability::Remote, |tracker| {
        let offer = |name: &str, content: &str, published| {
            let (name, list) = (Name::parse(name).expect("a name"), vec![INITIAL]);
            let torrent = Torrent::new(name, 4096, 64 << 10, digest(content.as_bytes()), list);
            let torrent = torrent.expect("a .torrent");
            let file = Publication {
                own: false,
                published,
                torrent: Some(torrent.clone()),
                ..Publication::of(&torrent)
            };
            let message = ToTracker::Publish {
                port: 5,
                key: "key".to_owned(),
                files: vec![file],
            };
            let message = serde_json::to_string(&message).expect("JSON");
            let reply: Reply = parse(&ask(tracker, &message)).expect("a reply");
            match &reply.files[..] {
                [Outcome::Stands { published, .. }] => Some(*published),
                [Outcome::OtherStands { .. }] => None,
                other => panic!("{other:?}"),
            }
        };
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let (today, day) = (since.expect("later than 1970").as_secs(), 24 * 3600);
        let next_year = today + 365 * day;
        for (name, content, published, stands) in [
            ("f", "this week's", today - day, true),
            ("f", "last week's, by a clock ahead", next_year, false),
            ("f", "today's", today, true),
            ("g", "this week's, by a clock ahead", next_year, true),
            (
                "g",
                "last week's, by that clock",
                next_year - 7 * day,
                false,
            ),
            ("g", "next week's, by that clock", next_year + 7 * day, true),
        ] {
            let outcome = offer(name, content, published);
            assert_eq!(outcome, stands.then_some(published), "{content}");
        }
    });
}

#[test]
fn a_long_answer_keeps_its_permit_until_it_goes() {
    with_tracker(Reachability::Local, |tracker| {
        tracker.permit_wait = Duration::from_millis(10);
        let image = torrent(50_000);
        publish(tracker, &image, true);
        let peer: SocketAddr = "127.0.0.1:40000".parse().expect("an address");
        let get = || {
            let name = image.name().clone();
            tracker.answer(peer, peer.ip(), ToTracker::GetTorrent { name })
        };
        let long: Vec<TrackerReply> = (0..LARGE_AT_ONCE).map(|_| get()).collect();
        assert!(long.iter().all(|reply| reply.bytes.len() > SMALL));
        let refused = String::from_utf8(get().bytes).expect("text");
        assert!(refused.contains("busy, try again"), "{refused}");
        assert!(!swarm(tracker, 9).peers.is_empty(), "others are served");
        drop(long);
        assert!(get().bytes.len() > SMALL);
    });
}

#[test]
fn who_takes_long_lists_slowly_keeps_nobody_from_a_list() {
    with_tracker(Reachability::Local, |tracker| {
        publish(tracker, &torrent(16), true);
        let names: Vec<String> = (0..4500).map(|n| format!("{n:0250}")).collect();
        let names = serde_json::to_string(&names).expect("JSON");
        let list = format!(r#"{{"msg": "file_list", "port": 7, "v": 1, "files": {names}}}"#);
        assert_eq!(ask(tracker, &list), br#"{"v":1}"#);
        let local: SocketAddr = "127.0.0.1:40000".parse().expect("an address");
        let ping = || {
            let ping = br#"{"msg": "ping", "port": 9, "v": 1}"#;
            tracker.answer(local, local.ip(), parse(ping).expect("a ping"))
        };
        let held: Vec<TrackerReply> = (0..LARGE_AT_ONCE).map(|_| ping()).collect();
        assert!(held.iter().all(|reply| reply.bytes.len() > SMALL));
        let short = ping();
        assert!(short.bytes.len() < SMALL);
        assert!(swarm(tracker, 9).peers.iter().any(|peer| peer.port == 7));
        assert_eq!(swarm(tracker, 9).torrents.unwrap_or_default().len(), 1);
        let shared = |reply: &TrackerReply| reply.ending.clone().expect("it is new");
        assert!(
            Arc::ptr_eq(&shared(&short), &shared(&held[0])),
            "one in memory"
        );
        drop(held);
        assert!(ping().bytes.len() > SMALL);
    });
}

#[test]
fn the_list_of_files_is_sent_for_as_long_as_a_peer_reads_it() {
    with_tracker(Reachability::Local, |tracker| {
        let peer: SocketAddr = "127.0.0.1:5".parse().expect("an address");
        ask(tracker, r#"{"msg": "ping", "port": 5, "v": 1}"#);
        publish_all(tracker, peer, (0..4500).map(|n| format!("{n:0240}")));
        let ping = br#"{"msg": "ping", "port": 9, "v": 1}"#;
        let reply = tracker.answer(peer, peer.ip(), parse(ping).expect("a ping"));
        let ([_, list], [_, time]) = (reply.parts(), reply.times());
        assert!(list.len() > SMALL, "{}", list.len());
        assert!(time > HEADER + ANSWER_EACH_BYTE * list.len() as u32);
    });
}

#[test]
fn a_publication_that_waits_too_long_is_refused() {
    with_tracker(Reachability::Local, |tracker| {
        tracker.permit_wait = Duration::from_millis(10);
        let image = torrent(16);
        let permit = tracker.publishing.acquire(Duration::ZERO);
        let refused = publish(tracker, &image, true).files;
        let [Outcome::Refused { why }] = &refused[..] else {
            panic!("{refused:?}")
        };
        assert!(why.contains("busy, try again"), "{why}");
        drop(permit);
        let taken = publish(tracker, &image, true).files;
        assert!(matches!(taken[..], [Outcome::Stands { mine: true, .. }]));
    });
}

#[test]
fn who_has_published_enough_keeps_nobody_waiting() {
    with_tracker(Reachability::Local, |tracker| {
        tracker.reach = Reachability::Remote;
        *tracker.lock() = Roster::new(Reachability::Remote);
        tracker.permit_wait = Duration::from_millis(10);
        let peer: SocketAddr = "10.0.0.2:5".parse().expect("an address");
        let own = "10.0.0.1".parse().expect("an address");
        let names = (0..FILES_PER_ADDRESS).map(|n| format!("f{n}"));
        publish_all(tracker, peer, names);
        let _permit = tracker.publishing.acquire(Duration::ZERO);
        let message = ToTracker::Publish {
            port: 5,
            key: "key".to_owned(),
            files: vec![Publication::of(&torrent(16))],
        };
        let reply: Reply = parse(&tracker.answer(peer, own, message).bytes).expect("a reply");
        let [Outcome::Refused { why }] = &reply.files[..] else {
            panic!("{:?}", reply.files)
        };
        assert!(!why.contains("busy"), "{why}");
    });
}

#[test]
fn who_has_the_publishers_address_now_is_not_the_publisher() {
    with_tracker(Reachability::Remote, |tracker| {
        let torrent = torrent(16);
        let peer: SocketAddr = "10.0.0.2:5".parse().expect("an address");
        let own = "10.0.0.1".parse().expect("an address");
        let tell = |message| tracker.answer(peer, own, message).parts().concat();
        tell(ToTracker::Publish {
            port: 5,
            key: "key".to_owned(),
            files: vec![Publication {
                torrent: Some(torrent.clone()),
                ..Publication::of(&torrent)
            }],
        });
        // the first report is older than the publication, and doesn't say whose it is
        for (key, is_publisher) in [("key", true), ("another", false)] {
            let report = MachineReport {
                port: 5,
                host: key.to_owned(),
                folder: Some(digest(key.as_bytes())),
                files: vec![FileReport::of_whole(&Summary::of(&torrent))],
                ended: None,
            };
            tell(ToTracker::Report(report));
            let known = tracker.machine_statuses(9, None);
            let of_it = known.iter().find(|machine| machine.host == key);
            let of_it = of_it.expect("it has reported");
            assert_eq!(of_it.files[0].mine, is_publisher, "{key}");
        }
    });
}

#[test]
fn the_sweep_drops_who_is_silent() {
    with_tracker(Reachability::Local, |tracker| {
        ask(tracker, r#"{"msg": "ping", "port": 7}"#);
        for n_peers in [1, 0] {
            tracker.sweep();
            assert_eq!(tracker.lock().n_peers(), n_peers);
        }
    });
}
