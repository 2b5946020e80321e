//! From a situation to the text that a user reads: the real `client`, with whoever the situation needs in the others' places.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use bittorrentish::protocol::{PEER_CAP, Summary, VERSION, read_value};
use bittorrentish::torrent::Torrent;
use serde_json::{Value, json};

use crate::support::{Program, Temp, ask, plant, random_bytes, torrent_of};

/// Listens at a free port, and answers the first message of each connection; the thread ends with the tests.
fn stand_in(answer: impl Fn(Value) -> Option<Value> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let read = read_value(&mut BufReader::new(&stream), PEER_CAP);
            let message = read.ok().flatten();
            let message = message.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(answer) = message.and_then(&answer) {
                let _ = (&stream).write_all(answer.to_string().as_bytes());
            }
        }
    });
    port
}

/// Listens at a free port, and sends the same to everybody at once.
fn greeter(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        let mut streams: Vec<TcpStream> = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(greeting);
            streams.push(stream);
        }
    });
    port
}

/// A port at which nothing listens, and nothing will: it is that of a connection that stays open, so that nobody who asks for a
/// free one is given it.
fn nobodys_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound");
    let open = TcpStream::connect(at).expect("it listens");
    let port = open.local_addr().expect("connected").port();
    std::mem::forget((listener, open));
    port
}

/// A tracker's answer to a ping.
fn list(peers: &Value, torrents: &[Summary], coming: &Value) -> Value {
    json!({"v": VERSION, "local": true, "peers": peers, "torrents": torrents, "coming": coming})
}

/// A tracker that answers pings with this, and takes everything else.
fn tracker_with(answer: Value) -> u16 {
    stand_in(move |message| match message["msg"].as_str() {
        Some("ping") => Some(answer.clone()),
        _ => Some(json!({"v": VERSION})),
    })
}

/// A tracker with one file that these peers are said to have.
fn tracker_of(torrent: &Torrent, holders: &[u16]) -> u16 {
    let holder = |port: &u16| {
        let files = [torrent.name()];
        json!({"ip": "127.0.0.1", "port": port, "file_list": files, "v": VERSION})
    };
    let holders: Vec<Value> = holders.iter().map(holder).collect();
    let summary = Summary {
        here: true,
        publisher: "127.0.0.1:1".to_owned(),
        ..Summary::of(torrent)
    };
    let answer = list(&json!(holders), &[summary], &json!([]));
    let torrent = torrent.clone();
    stand_in(move |message| match message["msg"].as_str() {
        Some("ping") => Some(answer.clone()),
        Some("get_torrent") => Some(json!({"v": VERSION, "torrent": torrent})),
        _ => Some(json!({"v": VERSION})),
    })
}

/// Makes a situation, with what it needs in the client's folder. Returns the tracker's port.
type Situation = fn(&Path) -> u16;

#[test]
fn each_situation_has_its_text() {
    let cases: &[(&str, Situation, &[&str], &str)] = &[
        (
            "no tracker",
            |_| nobodys_port(),
            &[],
            "nothing listens at that port: start `server`, or compare address and port with the command that it prints",
        ),
        (
            "a tracker that never answers",
            |_| greeter(b""),
            &[],
            "it takes the connection, and no whole answer comes in time",
        ),
        (
            "an SSH server",
            |_| greeter(b"SSH-2.0-OpenSSH_9.2\r\n"),
            &[],
            "no tracker answers there, but an SSH server",
        ),
        (
            "a web server",
            |_| greeter(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            &[],
            "no tracker answers there, but a web server",
        ),
        (
            "something else",
            |_| greeter(b"* OK IMAP4 ready\r\n"),
            &[],
            r#"but another program, which sends "* OK IMAP4 ready": give the port that `server` prints"#,
        ),
        (
            "a tracker that refuses",
            |_| tracker_with(json!({"error": "this class is over"})),
            &[],
            "it refuses this peer: this class is over",
        ),
        (
            "a wrong field in the tracker's answer",
            |_| {
                let peer = json!({"ip": "10.0.0.2", "port": "41120", "file_list": []});
                tracker_with(list(&json!([peer]), &[], &json!([])))
            },
            &[],
            r#"its answer isn't understood: expected "peers[0].port" to be a whole number from 1 to 65535, got the string "41120""#,
        ),
        (
            "a wrong field in an original tracker's answer",
            |_| tracker_with(json!([{"ip": "10.0.0.2", "port": 1, "file_list": [7]}])),
            &[],
            r#"expected "[0].file_list[0]" to be a string, got the number 7"#,
        ),
        (
            "a list that the tracker refuses",
            |_| {
                stand_in(|message| match message["msg"].as_str() {
                    Some("ping") => Some(list(&json!([]), &[], &json!([]))),
                    _ => Some(json!({"v": VERSION, "error": "it has too many names"})),
                })
            },
            &[],
            "the tracker doesn't take the list of what is here, so nobody learns of it: it has too many names",
        ),
        (
            "a publication that the tracker refuses",
            |dir| {
                plant(dir, "own.txt", b"own");
                let old = std::time::SystemTime::UNIX_EPOCH;
                let file = fs::File::open(dir.join("own.txt")).expect("planted");
                file.set_modified(old).expect("ours");
                stand_in(|message| match message["msg"].as_str() {
                    Some("ping") => Some(list(&json!([]), &[], &json!([]))),
                    Some("publish") => Some(json!({"v": VERSION, "error": "its disk is full"})),
                    _ => Some(json!({"v": VERSION})),
                })
            },
            &[],
            "own.txt isn't shared: the tracker doesn't take it: its disk is full",
        ),
        (
            "no source ever",
            |_| tracker_of(&torrent_of("image.iso", &random_bytes(1 << 20, 1)), &[]),
            &[],
            "image.iso waits: nobody is here who has any of it, and 16 pieces are missing: start a peer that has it",
        ),
        (
            "a source that isn't there any more",
            |_| {
                let torrent = torrent_of("image.iso", &random_bytes(1 << 20, 1));
                tracker_of(&torrent, &[nobodys_port()])
            },
            &[],
            "the 1 peer with pieces of it can't be taken from; 127.0.0.1:",
        ),
        (
            "a source that refuses",
            |_| {
                let torrent = torrent_of("image.iso", &random_bytes(1 << 20, 1));
                let source = stand_in(|_| Some(json!({"msg": "refused", "why": "not for you"})));
                tracker_of(&torrent, &[source])
            },
            &[],
            "it takes no requests: not for you",
        ),
        (
            "a source whose hello has a wrong field",
            |_| {
                let torrent = torrent_of("image.iso", &random_bytes(1 << 20, 1));
                let source = stand_in(|_| {
                    Some(json!({"msg": "hello", "v": VERSION, "id": 7, "port": 1, "have": []}))
                });
                tracker_of(&torrent, &[source])
            },
            &[],
            r#"its message isn't understood: expected "id" to be a string, got the number 7"#,
        ),
        (
            "a name that is misspelt",
            |_| tracker_of(&torrent_of("image.iso", b"tiny"), &[]),
            &["--only", "imgae.iso"],
            "imgae.iso waits: nobody lists it: did you mean image.iso?",
        ),
        (
            "a name that nobody lists",
            |_| tracker_with(list(&json!([]), &[], &json!([]))),
            &["--only", "image.iso"],
            "image.iso waits: nobody lists it",
        ),
        (
            "being hashed elsewhere",
            |_| {
                let coming =
                    json!([{"name": "image.iso", "size": 200, "done": 50, "peer": "10.0.0.2:1"}]);
                tracker_with(list(&json!([]), &[], &coming))
            },
            &[],
            "image.iso waits: 10.0.0.2:1 is hashing it, 25 %",
        ),
        (
            "another content than the pinned one",
            |_| tracker_of(&torrent_of("image.iso", b"last week's"), &[]),
            &[
                "--only",
                "image.iso",
                "--md5",
                "d41d8cd98f00b204e9800998ecf8427e",
            ],
            "published by 127.0.0.1:1; --md5 asks for another, which nobody publishes",
        ),
    ];
    let dir = Temp::new();
    let running = cases
        .iter()
        .enumerate()
        .map(|(n, (what, situation, flags, text))| {
            let folder = dir.dir(&n.to_string());
            let port = situation(&folder);
            (
                what,
                Program::peer_at("127.0.0.1", port, &folder, flags),
                text,
            )
        });
    for (what, client, text) in running.collect::<Vec<_>>() {
        println!("{what}");
        client.until_line(text);
        assert!(
            client.events("lost").is_empty(),
            "{what}: nobody was connected to"
        );
    }
}

#[test]
fn once_all_sources_are_gone_that_is_said_and_no_time_is_left() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &["--sweep-every", "1"]);
    let folder = dir.dir("seed");
    plant(&folder, "image.iso", &random_bytes(4 << 20, 1));
    let mut seed = Program::peer(&tracker, &folder, &["--max-up", "256K"]);
    let peer = Program::peer(&tracker, &dir.dir("peer"), &[]);
    peer.until_event("piece", |_| true);
    seed.kill();
    let line = peer.until_line("image.iso waits: whoever had it has left, and ");
    assert!(
        line.ends_with(&format!("such as {}", seed.addr())),
        "{line}"
    );
    let told = peer.events("progress").into_iter().last();
    let nothing_comes = told.filter(|told| told["doing"]["kind"] != "fetching");
    assert!(
        nothing_comes.is_none_or(|told| told["left"].is_null()),
        "{peer:?}"
    );
    peer.until_event("waiting", |told| told["cause"] == "sources_gone");
}

#[test]
fn who_was_never_connected_to_is_not_lost() {
    let dir = Temp::new();
    let torrent = torrent_of("image.iso", &random_bytes(1 << 20, 1));
    let gone = nobodys_port();
    let port = tracker_of(&torrent, &[gone]);
    let client = Program::peer_at("127.0.0.1", port, &dir.dir("peer"), &[]);
    client.until_line(&format!(
        "can't reach 127.0.0.1:{gone}: nothing listens at its port"
    ));
    // it is tried again every few seconds, and the round says it again
    client.until_event("waiting", |told| told["cause"] == "sources_fail");
    assert_eq!(client.events("lost").len(), 0, "{client:?}");
    assert_eq!(client.events("not_reached").len(), 1, "{client:?}");
}

#[test]
fn a_tracker_that_goes_is_the_cause_and_not_the_name() {
    let dir = Temp::new();
    let mut tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let flags = ["--only", "image.iso"];
    let client = Program::peer(&tracker, &dir.dir("peer"), &flags);
    client.until_line("image.iso waits: nobody lists it");
    tracker.kill();
    client.until_line(
        "image.iso waits: the tracker's last list didn't have it; no list now: nothing listens at that port",
    );
}

#[test]
fn a_wrong_field_is_told_to_who_sent_it() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    for (message, text) in [
        (
            r#"{"port": "41120", "msg": "ping"}"#,
            r#"expected "port" to be a whole number from 1 to 65535, got the string "41120""#,
        ),
        (
            r#"{"port": 41120, "msg": "pong"}"#,
            r#"expected "msg" to be one of "ping", "file_list", "publish", "get_torrent", "report", "status", got the string "pong""#,
        ),
        (
            r#"{"port": 41120, "msg": "file_list"}"#,
            r#"expected "files", a list of strings, which is missing"#,
        ),
        (
            "GET / HTTP/1.1\r\n\r\n",
            r#"expected JSON, got "GET / HTTP/1.1""#,
        ),
    ] {
        let answer: Value =
            serde_json::from_slice(&ask(tracker.addr(), message.as_bytes())).expect("an answer");
        assert_eq!(answer["error"], text, "{message}");
        tracker.until_line(&format!(": {text}"));
    }
}
