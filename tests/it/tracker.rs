//! The tracker's program, over real sockets: what originals, ours, strangers and vandals get from it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;

use bittorrentish::md5::{INITIAL, digest};
use bittorrentish::protocol::{
    Outcome, PUBLICATIONS, PingAnswer, Publication, Reply, SwarmList, ToTracker, parse, to_bytes,
};
use bittorrentish::torrent::{Name, Torrent};
use serde_json::{Value, json};

use super::support::{
    DEADLINE, Program, Temp, publish_message, swept_in_a_row, torrent_of, until, with_wrong_list,
};

/// The program on a free port, and what it is asked.
struct Server {
    program: Program,
    port: u16,
}

impl Server {
    fn start(dir: &Temp, flags: &[&str]) -> Self {
        let program = Program::tracker(&dir.path().join("torrents"), flags);
        let port = program.port();
        Self { program, port }
    }

    fn connect(&self) -> TcpStream {
        connect(self.port)
    }

    fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        ask(self.port, bytes)
    }

    fn json(&self, text: &str) -> Value {
        let answer = self.ask(text.as_bytes());
        serde_json::from_slice(&answer)
            .unwrap_or_else(|fault| panic!("{text}: {fault}: {}", String::from_utf8_lossy(&answer)))
    }

    fn ping(&self, port: u16) -> SwarmList {
        let ping = ToTracker::Ping {
            port,
            v: Some(1),
            wants: Vec::new(),
            edition: None,
        };
        match parse(&self.ask(&to_bytes(&ping))).expect("an answer of ours") {
            PingAnswer::Ours(list) => list,
            other => panic!("{other:?}"),
        }
    }

    fn reply(&self, message: &ToTracker) -> Reply {
        parse(&self.ask(&to_bytes(message))).expect("a reply")
    }

    fn publish(&self, port: u16, torrent: &Torrent) -> Reply {
        let mut reply = self.reply(&publish_message(port, torrent.clone()));
        match reply.files.pop() {
            Some(Outcome::OtherStands { why, .. } | Outcome::Refused { why }) => {
                reply.error = Some(why);
            }
            Some(Outcome::Stands { .. }) => {}
            Some(Outcome::Send) | None => assert!(reply.error.is_some(), "{reply:?}"),
        }
        reply
    }

    /// Publishes with a key, and has what became of each.
    fn outcomes(&self, port: u16, key: &str, files: &[Publication]) -> Vec<Outcome> {
        let reply = self.reply(&ToTracker::Publish {
            port,
            key: key.to_owned(),
            files: files.to_vec(),
        });
        assert_eq!(reply.error, None);
        reply.files
    }

    fn get_torrent(&self, name: &str) -> Reply {
        self.reply(&ToTracker::GetTorrent {
            name: Name::parse(name).expect("a name"),
        })
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
    stream
}

/// Sends bytes and reads what comes until the server closes.
fn ask(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(port);
    stream.write_all(bytes).expect("it reads");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("an answer, then a close");
    answer
}

/// A `.torrent` of 200,000 bytes: four pieces.
fn torrent(name: &str, content: u8) -> Torrent {
    torrent_of(name, &[content; 200_000])
}

/// Runs the program to its end, with what it printed.
fn run<S: AsRef<OsStr>>(args: &[S]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    let mut child = command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server");
    until(&format!("the end of {command:?}"), || {
        child.try_wait().expect("a child")
    });
    child.wait_with_output().expect("a child that ended")
}

#[test]
fn the_originals_two_messages_are_answered_as_the_original_does() {
    let dir = Temp::new();
    let server = Server::start(&dir, &[]);
    assert_eq!(server.ask(br#"{"port": 50001, "msg": "ping"}"#), b"[]");
    assert_eq!(
        server.ask(br#"{"port": 50002, "files": ["1.txt", "2.txt"], "msg": "file_list"}"#),
        b"",
        "no reply, a close"
    );
    let entry = json!([{"ip": "127.0.0.1", "port": 50002, "file_list": ["1.txt", "2.txt"]}]);
    let mut answer = server.json(r#"{"port": 50001, "msg": "ping"}"#);
    let names = answer[0]["file_list"].as_array_mut().expect("a list");
    names.sort_by_key(|name| name.to_string());
    assert_eq!(answer, entry);
    let other = server.json(r#"{"port": 50002, "msg": "ping"}"#);
    assert_eq!(
        other,
        json!([{"ip": "127.0.0.1", "port": 50001, "file_list": []}]),
        "the ping added its sender"
    );
    for line in [
        "new peer 127.0.0.1:50001, an original",
        "ping from 127.0.0.1:50001",
        "list from 127.0.0.1:50002: 2 whole files",
    ] {
        server.program.until_line(line);
    }
}

#[test]
fn a_message_may_come_byte_by_byte() {
    let dir = Temp::new();
    let server = Server::start(&dir, &[]);
    server.ask(b"\r\n {\"port\": 50002, \"files\": [\"}]\\\"\"], \"msg\": \"file_list\"}\n");
    let mut stream = server.connect();
    stream.set_nodelay(true).expect("a socket");
    for byte in br#"{"port": 50001, "msg": "ping"}"# {
        stream.write_all(&[*byte]).expect("it reads");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(
        answer,
        r#"[{"ip":"127.0.0.1","port":50002,"file_list":["}]\""]}]"#
    );
}

#[test]
fn what_is_no_message_gets_an_error() {
    let dir = Temp::new();
    let server = Server::start(&dir, &[]);
    let deep = [
        &b"{\"deep\": "[..],
        &[b'['; 5000],
        &[b']'; 5000],
        br#", "msg": "ping", "port": 1}"#,
    ]
    .concat();
    for (name, bytes, why) in [
        ("text", &b"GET / HTTP/1.1\r\n\r\n"[..], "expected JSON"),
        ("binary", b"\x16\x03\x01\x00\xff", "expected JSON"),
        ("a number", b"17", "expected JSON"),
        ("another object", b"{}", "missing field `msg`"),
        (
            "another message",
            br#"{"msg": "nonsense", "port": 1}"#,
            r#"expected "msg" to be one of "ping", "#,
        ),
        (
            "no port",
            br#"{"msg": "ping"}"#,
            r#"expected "port", a whole number from 1 to 65535, which is missing"#,
        ),
        (
            "a port beyond ports",
            br#"{"msg": "ping", "port": 70000}"#,
            "70000",
        ),
        (
            "a port of text",
            br#"{"msg": "ping", "port": "1"}"#,
            "string",
        ),
        (
            "port 0, of ours",
            br#"{"msg": "ping", "port": 0, "v": 1}"#,
            "came 0",
        ),
        ("brackets that don't fit", b"{]", "expected"),
        ("deep nesting", &deep, "recursion"),
        ("no UTF-8", b"{\"msg\": \"\xff\"}", "expected"),
        (
            "a bad name",
            br#"{"msg": "get_torrent", "name": "../x"}"#,
            "/",
        ),
        (
            "no such file",
            br#"{"msg": "get_torrent", "name": "x"}"#,
            "nobody has published x",
        ),
        (
            "a .torrent that isn't",
            br#"{"msg": "publish", "port": 1, "torrent": {"name": "x"}}"#,
            r#"expected "key", a string, which is missing"#,
        ),
    ] {
        let answer: Value = serde_json::from_slice(&server.ask(bytes))
            .unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let error = answer["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{name}: {answer}"));
        assert!(
            answer["v"] == 1 && (error.contains(why) || name == "a bad name"),
            "{name}: {answer}"
        );
    }
    assert_eq!(
        server.ask(br#"{"port": 0, "msg": "ping"}"#),
        b"[]",
        "an original that is refused gets an empty list"
    );
    server.program.until_line("not understood, from 127.0.0.1:");
    assert_eq!(server.ping(50001).peers, [], "and nobody was added");
}

#[test]
fn huge_messages_and_broken_ones_are_cut_off() {
    let dir = Temp::new();
    let server = Server::start(&dir, &[]);
    let chunk = vec![b'['; 1 << 20];
    let flood = |server: &Server| {
        let mut stream = server.connect();
        (0..40).any(|_| stream.write_all(&chunk).is_err())
            || matches!(stream.read(&mut [0]), Ok(0) | Err(_))
    };
    thread::scope(|scope| {
        let floods: Vec<_> = (0..6).map(|_| scope.spawn(|| flood(&server))).collect();
        floods
            .into_iter()
            .for_each(|flood| assert!(flood.join().expect("no panic"), "40 MiB were taken"));
    });
    let mut broken = server.connect();
    broken
        .write_all(br#"{"port": 50009, "msg": "pi"#)
        .expect("it reads");
    drop(broken);
    drop(server.connect());
    assert_eq!(server.ask(br#"{"port": 50001, "msg": "ping"}"#), b"[]");
}

#[test]
fn silent_connections_block_nobody() {
    let dir = Temp::new();
    let server = Server::start(&dir, &["--quiet"]);
    let silent: Vec<TcpStream> = (0..60).map(|_| server.connect()).collect();
    let mut slow = server.connect();
    slow.write_all(br#"{"port": 50002, "#).expect("it reads");
    assert_eq!(server.ask(br#"{"port": 50001, "msg": "ping"}"#), b"[]");
    slow.write_all(br#""msg": "ping"}"#)
        .expect("it still reads");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("50001"), "{answer}");
    drop(silent);
}

#[test]
fn ours_are_told_of_peers_pieces_and_torrents() {
    let dir = Temp::new();
    let server = Server::start(&dir, &[]);
    let image = torrent("image.iso", 1);
    assert_eq!(
        server.publish(50001, &image),
        Reply {
            v: 1,
            ..Reply::default()
        }
    );
    let list = r#"{"msg": "file_list", "port": 50002, "v": 1, "files": ["1.txt"], "pieces": {"image.iso": "50"}}"#;
    assert_eq!(server.json(list), json!({"v": 1}));
    let mut answer = server.json(r#"{"msg": "ping", "port": 50003, "v": 1}"#);
    let mut expected = json!({"v": 1, "local": true, "edition": answer["edition"], "sweep_every": 15.0, "peers": [
        {"ip": "127.0.0.1", "port": 50001, "file_list": ["image.iso"], "v": 1},
        {"ip": "127.0.0.1", "port": 50002, "file_list": ["1.txt"], "v": 1, "pieces": {"image.iso": "50"}},
    ], "torrents": [
        {"name": "image.iso", "size": 200_000, "md5": image.md5().to_string(), "n_pieces": 4, "publisher": "127.0.0.1:50001",
            "published": answer["torrents"][0]["published"], "checkpoints": image.checkpoints_md5().to_string(),
            "here": true, "pinned": false},
    ]});
    assert_eq!(answer, expected);
    let known = format!(
        r#"{{"msg": "ping", "port": 50003, "v": 1, "edition": {}}}"#,
        answer["edition"]
    );
    answer = server.json(&known);
    expected
        .as_object_mut()
        .expect("an object")
        .remove("torrents");
    assert_eq!(answer, expected, "it knows them");
    let handed_out = server
        .get_torrent("image.iso")
        .torrent
        .expect("the .torrent");
    assert!(handed_out.same_content(&image) && handed_out.publisher == "127.0.0.1:50001");
    let mut ports: Vec<u16> = handed_out.peers.iter().map(|source| source.port).collect();
    ports.sort(); // they come in any order
    assert_eq!(ports, [50001, 50002], "the peers that have it");
    let originals = server.json(r#"{"port": 50009, "msg": "ping"}"#);
    let names: Vec<&str> = originals
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|entry| entry["file_list"].as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        names.contains(&"image.iso.part0004")
            && names.contains(&"1.txt")
            && !names.contains(&"image.iso"),
        "{originals}"
    );
    server
        .program
        .until_line("127.0.0.1:50001 published image.iso, 195.3 KiB, MD5");
    server
        .program
        .until_line(".torrent of image.iso to 127.0.0.1:");
}

#[test]
fn torrents_survive_a_kill_and_are_all_that_is_stored() {
    let dir = Temp::new();
    let server = Server::start(&dir, &[]);
    let image = torrent("naïve image.iso", 1);
    assert_eq!(server.publish(50001, &image).error, None);
    drop(server);
    let torrents = dir.path().join("torrents");
    let stored = || {
        fs::read_dir(&torrents)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect::<Vec<_>>()
    };
    assert_eq!(stored(), ["naïve image.iso.torrent"]);
    fs::write(torrents.join("bad.torrent"), "{}").expect("a temporary folder");
    fs::copy(
        torrents.join("naïve image.iso.torrent"),
        torrents.join("other.torrent"),
    )
    .expect("a temporary folder");
    fs::create_dir(torrents.join("folder.torrent")).expect("a temporary folder");
    fs::write(torrents.join(".new-1"), "half").expect("a temporary folder");

    let server = Server::start(&dir, &[]);
    for line in [
        "left out bad.torrent: ",
        "left out other.torrent: it is of naïve image.iso",
        "left out folder.torrent: ",
    ] {
        server.program.until_line(line);
    }
    server.program.until_line("1 .torrent in ");
    assert_eq!(
        server.ping(50002).torrents.unwrap_or_default(),
        [],
        "no live holder"
    );
    let handed_out = server
        .get_torrent("naïve image.iso")
        .torrent
        .expect("the .torrent");
    assert!(
        handed_out.same_content(&image)
            && handed_out.publisher == "127.0.0.1:50001"
            && handed_out.peers.is_empty()
    );
    server.ask(&to_bytes(
        &json!({"msg": "file_list", "port": 50003, "v": 1, "files": ["naïve image.iso"]}),
    ));
    assert_eq!(
        server.ping(50002).torrents.unwrap_or_default().len(),
        1,
        "a live holder"
    );
}

#[test]
fn another_content_is_refused_while_the_publisher_is_here() {
    let dir = Temp::new();
    let server = Server::start(&dir, &["--sweep-every", "0.3"]);
    let (one, two) = (torrent("f", 1), torrent("f", 2));
    assert_eq!(server.publish(50001, &one).error, None);
    server
        .ask(br#"{"msg": "file_list", "port": 50002, "v": 1, "files": [], "pieces": {"f": "80"}}"#);
    let refused = server.reply(&publish_message(50003, two.clone())).files;
    let [Outcome::OtherStands { md5, why }] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert!(
        why.contains(&one.md5().to_string()) && why.contains(&two.md5().to_string()),
        "{why}"
    );
    assert_eq!(*md5, one.md5());
    let line = server.program.until_line("not taken from 127.0.0.1:");
    assert!(
        line.contains(&one.md5().to_string()) && line.contains(&two.md5().to_string()),
        "{line}"
    );
    server.program.until_line("gone: ");
    until("accepted once the publisher is gone", || {
        server.publish(50003, &two).error.is_none().then_some(())
    });
    assert!(
        server
            .get_torrent("f")
            .torrent
            .expect("the .torrent")
            .same_content(&two)
    );
    server
        .program
        .until_line(&format!("in place of MD5 {}", one.md5()));
}

/// An own file with its `.torrent`.
fn whole(torrent: &Torrent) -> Publication {
    Publication {
        torrent: Some(torrent.clone()),
        ..Publication::of(torrent)
    }
}

#[test]
fn a_batch_is_published_in_two_steps() {
    let dir = Temp::new();
    let server = Server::start(&dir, &[]);
    let (f, g) = (torrent("f", 1), torrent("g", 2));
    let sent = server.outcomes(50001, "key", &[Publication::of(&f), Publication::of(&g)]);
    assert_eq!(sent, [Outcome::Send, Outcome::Send]);
    assert_eq!(
        server.ping(50002).torrents.unwrap_or_default(),
        [],
        "nothing is recorded yet"
    );
    let misfit = Publication {
        torrent: Some(f.clone()),
        ..Publication::of(&g)
    };
    let outcomes = server.outcomes(50001, "key", &[whole(&f), misfit, whole(&g)]);
    let [first, Outcome::Refused { why }, last] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert!(why.contains("name f, expected g"), "{why}");
    let stands = |outcome: &Outcome| match outcome {
        Outcome::Stands {
            mine,
            published,
            publisher,
        } => {
            assert_eq!(publisher, "127.0.0.1:50001");
            (*mine, *published)
        }
        other => panic!("{other:?}"),
    };
    let (mine, published) = stands(first);
    assert!(mine && published > 1_600_000_000 && stands(last).0);
    let others = server.outcomes(
        50002,
        "other",
        &[Publication::of(&f), Publication::of(&torrent("g", 3))],
    );
    let [same, Outcome::OtherStands { md5, why }] = &others[..] else {
        panic!("{others:?}")
    };
    assert_eq!((stands(same), *md5), ((false, published), g.md5()));
    assert!(why.contains("by 127.0.0.1:50001, which is here"), "{why}");
    // a new version is later, even within one second
    let new = torrent("f", 4);
    assert_eq!(
        server.outcomes(50001, "key", &[Publication::of(&new)]),
        [Outcome::Send]
    );
    let outcomes = server.outcomes(50001, "key", &[whole(&new)]);
    assert!(stands(&outcomes[0]).1 > published);
    let handed_out = server.get_torrent("f").torrent.expect("the .torrent");
    assert!(handed_out.same_content(&new) && handed_out.published > published);
}

#[test]
fn keys_and_pins_outlive_the_tracker_and_are_told_to_nobody() {
    let dir = Temp::new();
    let (f, other) = (torrent("f", 1), torrent("f", 2));
    let pinned = Publication {
        pinned: true,
        ..whole(&f)
    };
    let received = Publication {
        own: false,
        published: u64::MAX,
        publisher: "10.0.0.7:5\u{1b}[2J".to_owned(),
        ..whole(&torrent("g", 1))
    };
    let server = Server::start(&dir, &[]);
    let outcomes = server.outcomes(50001, "a secret", &[pinned, received]);
    let [
        Outcome::Stands {
            mine: true,
            published,
            ..
        },
        Outcome::Stands {
            mine: false,
            publisher,
            published: g,
        },
    ] = &outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    assert!(publisher.starts_with("10.0.0.7:5") && !publisher.contains('\u{1b}'));
    assert_eq!(*g, u64::MAX, "as it was dated, by whatever clock");
    drop(server);
    let server = Server::start(&dir, &["--sweep-every", "0.3"]);
    let first = server.outcomes(50003, "other", &[Publication::of(&other)]);
    assert!(matches!(first[..], [Outcome::Refused { .. }]), "it settles");
    let pinned = Publication {
        pinned: true,
        ..Publication::of(&f)
    };
    let again = server.outcomes(50002, "a secret", &[pinned]);
    let mine = Outcome::Stands {
        mine: true,
        published: *published,
        publisher: "127.0.0.1:50002".to_owned(),
    };
    assert_eq!(again, [mine]);
    server.program.until_line("gone: ");
    let outcomes = server.outcomes(50003, "other", &[Publication::of(&other)]);
    let [Outcome::OtherStands { why, .. }] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert!(why.contains("pinned"), "{why}");
    for message in [
        r#"{"msg": "get_torrent", "name": "f"}"#,
        r#"{"msg": "ping", "port": 50003, "v": 1}"#,
    ] {
        let told = server.json(message).to_string();
        assert!(!told.contains("a secret"), "{told}");
    }
}

#[test]
fn a_restarted_tracker_waits_for_the_publishers_that_it_knows() {
    let dir = Temp::new();
    let (f, other) = (torrent("f", 1), torrent("f", 2));
    let server = Server::start(&dir, &[]);
    assert_eq!(server.publish(50001, &f).error, None);
    drop(server);
    let server = Server::start(&dir, &[]);
    let error = server.publish(50003, &other).error.expect("an error");
    assert!(error.contains("the tracker has just started"), "{error}");
    assert_eq!(server.publish(50002, &torrent("g", 1)).error, None);
    drop(server);
    let server = Server::start(&dir, &["--sweep-every", "0.3"]);
    until("its peers had time to come back", || {
        server.publish(50003, &other).error.is_none().then_some(())
    });
}

#[test]
fn who_corrects_a_list_of_checkpoints_becomes_no_publisher() {
    let dir = Temp::new();
    let server = Server::start(&dir, &["--sweep-every", "0.3"]);
    let right = torrent("f", 1);
    let wrong = with_wrong_list(&right);
    let outcomes = server.outcomes(50001, "publisher", &[whole(&wrong)]);
    let [Outcome::Stands { published, .. }] = outcomes[..] else {
        panic!("{outcomes:?}")
    };
    server.program.until_line("gone: ");
    let outcomes = server.outcomes(50002, "another", &[whole(&right)]);
    let expected = Outcome::Stands {
        mine: false,
        published,
        publisher: "127.0.0.1:50001".to_owned(),
    };
    assert_eq!(outcomes, [expected]);
    let handed_out = server.get_torrent("f").torrent.expect("the .torrent");
    assert_eq!(handed_out.checkpoints_md5(), right.checkpoints_md5());
}

#[test]
fn what_is_no_publication_is_refused() {
    let dir = Temp::new();
    let server = Server::start(&dir, &[]);
    let f = Publication::of(&torrent("f", 1));
    for (key, n, why) in [
        ("", 1, "1 to 64 bytes"),
        (&*"k".repeat(65), 1, "1 to 64 bytes"),
        ("key", PUBLICATIONS + 1, "at most 1000 files"),
    ] {
        let reply = server.reply(&ToTracker::Publish {
            port: 50001,
            key: key.to_owned(),
            files: vec![f.clone(); n],
        });
        let error = reply.error.expect("an error");
        assert!(error.contains(why) && reply.files.is_empty(), "{error}");
    }
    assert_eq!(server.ping(50002).peers, [], "and nobody was added");
}

#[test]
fn two_publishers_at_once_leave_roster_and_disk_agreeing() {
    let dir = Temp::new();
    let server = Server::start(&dir, &["--quiet"]);
    thread::scope(|scope| {
        for publisher in 0..6u8 {
            let server = &server;
            scope.spawn(move || {
                (0..10).for_each(|n| {
                    drop(server.publish(
                        50001 + u16::from(publisher),
                        &torrent("f", publisher * 10 + n),
                    ))
                })
            });
        }
    });
    let listed = server.ping(1).torrents.unwrap_or_default();
    let handed_out = server
        .get_torrent("f")
        .torrent
        .expect("one that agrees with the roster");
    assert_eq!([handed_out.md5()], [listed[0].md5]);
}

#[test]
fn large_torrents_go_both_ways_many_at_a_time() {
    let dir = Temp::new();
    let server = Server::start(&dir, &["--quiet"]);
    let large = |name: &str| {
        let name = Name::parse(name).expect("a name");
        Torrent::new(
            name,
            50_000 << 12,
            64 << 10,
            digest(b"any"),
            vec![INITIAL; 50_000],
        )
        .expect("a .torrent")
    };
    assert!(to_bytes(&large("0")).len() > 3 << 19, "of over 1 MiB");
    thread::scope(|scope| {
        for n in 0..12u16 {
            let (server, large) = (&server, &large);
            scope.spawn(move || {
                let name = n.to_string();
                assert_eq!(server.publish(50001 + n, &large(&name)).error, None);
                assert!(
                    server
                        .get_torrent(&name)
                        .torrent
                        .expect("the .torrent")
                        .same_content(&large(&name))
                );
            });
        }
    });
    assert_eq!(server.ping(1).torrents.unwrap_or_default().len(), 12);
}

#[test]
fn a_disk_that_fails_ends_the_publishing_and_not_the_tracker() {
    let dir = Temp::new();
    let server = Server::start(&dir, &[]);
    let torrents = dir.path().join("torrents");
    fs::remove_dir(&torrents).expect("an empty folder");
    fs::write(&torrents, b"no folder").expect("room");
    let error = server
        .publish(50001, &torrent("f", 1))
        .error
        .expect("an error");
    assert!(
        error.contains("the tracker's disk: can't keep the .torrent of f"),
        "{error}"
    );
    server.program.until_line("not taken from 127.0.0.1:");
    assert_eq!(server.ping(50002).torrents.unwrap_or_default(), []);
    fs::remove_file(&torrents).expect("it stands there");
    assert_eq!(
        server.publish(50001, &torrent("f", 1)).error,
        None,
        "and later it works"
    );
}

#[test]
fn peers_that_fall_silent_are_swept() {
    let dir = Temp::new();
    let server = Server::start(&dir, &["--sweep-every", "0.3"]);
    server.ask(br#"{"port": 50002, "files": [], "msg": "file_list"}"#);
    let mut was_listed = false;
    until("the sweep of who is silent", || {
        let listed = server
            .ping(50001)
            .peers
            .iter()
            .any(|peer| peer.port == 50002);
        was_listed |= listed;
        (!listed).then_some(())
    });
    assert!(was_listed);
    server
        .program
        .until_line("sweep: 1 peer here; gone: 127.0.0.1:50002");
}

#[test]
fn a_closed_stdout_ends_the_printing_alone() {
    let dir = Temp::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command
        .args(["--port", "0", "--torrents"])
        .arg(dir.path().join("torrents"))
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("the server");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut first)
        .expect("a line");
    let port: Option<u16> = first
        .split("port ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .and_then(|port| port.parse().ok());
    let answers: Vec<Vec<u8>> = (0..3)
        .map(|_| ask(port.expect("a port"), br#"{"port": 50001, "msg": "ping"}"#))
        .collect();
    let _ = child.kill().and_then(|()| child.wait());
    assert_eq!(answers, [b"[]"; 3]);
}

#[test]
fn help_and_version_go_to_stdout() {
    for flag in ["--help", "-h"] {
        let help = run(&[flag]);
        let text = String::from_utf8_lossy(&help.stdout);
        assert!(help.status.success() && help.stderr.is_empty(), "{help:?}");
        for word in [
            "--remote",
            "--port",
            "--torrents",
            "--sweep-every",
            "--quiet",
            "29283",
            "Examples:",
            "Exit codes:",
        ] {
            assert!(text.contains(word), "{word} in {text}");
        }
    }
    let version = run(&["--version"]);
    assert!(
        version.status.success()
            && String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")),
        "{version:?}"
    );
}

#[test]
fn a_usage_mistake_is_one_line_and_code_2() {
    use std::os::unix::ffi::OsStrExt;
    let odd = OsStr::from_bytes(b"\xff\xfe");
    let cases: [(&[&OsStr], &str); 9] = [
        (&["--bogus".as_ref()], "bogus"),
        (&["--port".as_ref()], "port"),
        (&["--port".as_ref(), "70000".as_ref()], "\"70000\""),
        (&["--port".as_ref(), "".as_ref()], "--port"),
        (&["--sweep-every".as_ref(), "0".as_ref()], "--sweep-every"),
        (&["--sweep-every=inf".as_ref()], "--sweep-every"),
        (&["--torrents=".as_ref()], "--torrents"),
        (&["29283".as_ref()], "\"29283\""),
        (&[odd], "UTF-8"),
    ];
    for (args, why) in cases {
        let ended = run(args);
        let text = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(
            (
                ended.status.code(),
                ended.stdout.len(),
                text.lines().count()
            ),
            (Some(2), 0, 1),
            "{args:?}: {ended:?}"
        );
        assert!(
            text.contains(why) && text.contains("try --help"),
            "{args:?}: {text}"
        );
    }
}

#[test]
fn a_taken_port_is_1_and_an_unusable_folder_5() {
    let dir = Temp::new();
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let torrents = dir.path().join("torrents");
    let ended = run(&[
        "--port".as_ref(),
        port.as_ref(),
        "--torrents".as_ref(),
        torrents.as_os_str(),
    ]);
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(
        (ended.status.code(), text.lines().count()),
        (Some(1), 1),
        "{ended:?}"
    );
    assert!(
        text.contains(&format!("port {port} is taken")) && text.contains("--port"),
        "{text}"
    );

    fs::write(&torrents, "a file").expect("a temporary folder");
    let ended = run(&[
        "--port".as_ref(),
        "0".as_ref(),
        "--torrents".as_ref(),
        torrents.as_os_str(),
    ]);
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(
        (ended.status.code(), text.lines().count()),
        (Some(5), 1),
        "{ended:?}"
    );
    assert!(
        text.contains(&*torrents.to_string_lossy()) && text.contains("--torrents"),
        "{text}"
    );
}

#[test]
fn a_remote_tracker_says_how_to_join() {
    let dir = Temp::new();
    let server = Server::start(&dir, &["--remote"]);
    // one for each address that it can learn; a machine without any gets a place to put it
    let command = server.program.until_line("client ");
    let words: Vec<&str> = command.split_whitespace().collect();
    assert!(!server.ping(50001).local);
    if command.contains("<this machine's address>") {
        return;
    }
    // before them what starts it: by cargo, or the program beside this one
    let [.., address, port, dir] = words[..] else {
        panic!("{command}");
    };
    assert_eq!((port, dir), (&*server.port.to_string(), "shared"));
    let pinned = server.program.until_line("--md5 ");
    let flags = " shared --only NAME --md5 MD5 --replace --exit-when-complete";
    assert!(pinned.ends_with(flags), "{pinned}");
    // of what is published, the command is told whole
    let image = torrent("my image.iso", 1);
    assert_eq!(server.publish(50001, &image).error, None);
    let md5 = image.md5();
    let flags = format!("--only 'my image.iso' --md5 {md5} --replace --exit-when-complete");
    server.program.until_line(&flags);
    let address: IpAddr = address.parse().expect("an address");
    assert!(!address.is_loopback() && !address.is_unspecified());
}

/// Programs as they are, with their own pings. One of them would be too slow for this tracker, and learns so.
#[test]
fn a_quick_sweep_drops_nobody_who_is_here() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &["--sweep-every", "1"]);
    let (quick, slow) = (["0.2", "1000"], ["1000", "1000"]);
    let peers = [("quick", quick), ("slow", slow)].map(|(name, [pings, lists])| {
        let flags = ["--ping-every", pings, "--list-every", lists];
        Program::peer(&tracker, &dir.dir(name), &flags)
    });
    peers[1].until_event("pings_every", |event| event["seconds"].as_f64() < Some(1.0));
    // on a busy machine one of the two may miss a sweep; who doesn't count misses every other
    until("four sweeps in a row that drop nobody", || {
        swept_in_a_row(&tracker.lines(), 4, "sweep: 2 peers here").then_some(())
    });
    assert!(peers[0].events("pings_every").is_empty());
}
