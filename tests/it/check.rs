//! `check` itself: ours passes every row, the stand-in of the original has the verdicts that reading the original gives, and a
//! stand-in with a twist fails just the row that the twist is about.
//!
//! The intervals are a tenth of the course text's. Where a busy machine keeps a row
//! from being judged, the run is made once more; a row that is judged wrongly fails at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::original::{Intervals, Mode, OriginalClient, OriginalTracker, Twist};
use super::slips::{Slip, SmallPeer};
use super::support::{self, Program, Temp, plant};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SCALE: f64 = 0.1;
/// The file that `check` puts into the folder of a program that it starts.
const PLANTED: &[u8] = b"This file was here before the program was started.\n";
/// How often a run is made in which not all could be judged.
const RUNS: usize = 6;

const PEER_ROWS: [&str; 10] = ["C1", "C2", "C3", "C4", "C5", "C6", "F1", "F2", "F4", "F5"];
const TRACKER_ROWS: [&str; 9] = ["C2", "C3", "F1", "F2", "F3", "F6", "F7", "F8", "F9"];

/// `check`, running.
struct Checking {
    child: Child,
    /// What it says before it begins, and after that.
    first: String,
    rest: JoinHandle<String>,
}

/// What it found: each row's verdict, its exit code, and all that it printed.
struct Found {
    verdicts: BTreeMap<String, String>,
    code: Option<i32>,
    text: String,
}

impl Checking {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_check"));
        command.args(args).env("LC_ALL", "C.UTF-8");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut first = String::new();
        said.read_line(&mut first).expect("a line or none");
        let rest = thread::spawn(move || {
            let mut rest = String::new();
            let _ = said.read_to_string(&mut rest);
            rest
        });
        Self { child, first, rest }
    }

    /// The port of the tracker that it plays.
    fn port(&self) -> u16 {
        let (_, rest) = self.first.split_once("at port ").expect("its first line");
        let digits = rest.split(';').next().expect("a port");
        digits.parse().expect("a port")
    }

    fn end(self) -> Found {
        let output = self.child.wait_with_output().expect("it ends");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let words = ["holds", "fails", "can't tell", "not spoken"];
        let verdict = |line: &str| {
            let rest = line.get(4..)?;
            let word = words.iter().find(|word| rest.starts_with(**word))?;
            let row = line.split_whitespace().next()?;
            Some((row.to_owned(), (*word).to_owned()))
        };
        Found {
            verdicts: text.lines().filter_map(verdict).collect(),
            code: output.status.code(),
            text: self.first + &self.rest.join().expect("no panic") + &text,
        }
    }
}

impl Found {
    fn with(&self, word: &str) -> BTreeSet<&str> {
        let rows = self.verdicts.iter().filter(|(_, verdict)| *verdict == word);
        rows.map(|(row, _)| row.as_str()).collect()
    }
}

fn scaled(seconds: f64, scale: f64) -> Duration {
    Duration::from_secs_f64(seconds * scale)
}

fn peer_with(twist: Twist) -> Found {
    let scale = SCALE.to_string();
    let checking = Checking::start(&["peer", "--port", "0", "--scale", &scale]);
    let folder = Temp::new();
    plant(folder.path(), "planted.txt", PLANTED);
    let every = Intervals {
        ping: scaled(10.0, SCALE),
        list: scaled(20.0, SCALE),
        round: scaled(30.0, SCALE),
    };
    let tracker = (HERE, checking.port()).into();
    let _client = OriginalClient::start_with(tracker, HERE, folder.path(), every, twist);
    checking.end()
}

fn tracker_with(twist: Twist, mode: Mode) -> Found {
    let every = scaled(15.0, SCALE);
    let tracker = OriginalTracker::start_with(HERE, mode, every, twist);
    let (at, scale) = (tracker.addr.to_string(), SCALE.to_string());
    Checking::start(&["tracker", "--at", &at, "--scale", &scale]).end()
}

/// Runs until all rows but `untold` are judged. In each run these rows fail and no others.
fn fails_just(rows: &[&str], fails: &[&str], untold: &[&str], run: impl Fn() -> Found) {
    let fails: BTreeSet<&str> = fails.iter().copied().collect();
    for nth in 1..=RUNS {
        let found = run();
        let text = &found.text;
        let judged: BTreeSet<&str> = found.verdicts.keys().map(String::as_str).collect();
        assert!(rows.iter().all(|row| judged.contains(row)), "{text}");
        let untold = untold.iter().filter(|row| !fails.contains(*row));
        let untold: BTreeSet<&str> = untold.copied().collect();
        let wrong: Vec<&str> = found.with("fails").difference(&fails).copied().collect();
        assert!(wrong.is_empty(), "{wrong:?} are judged wrongly: {text}");
        let missed: Vec<&str> = fails.intersection(&found.with("holds")).copied().collect();
        assert!(missed.is_empty(), "{missed:?} are judged wrongly: {text}");
        if found.with("can't tell").is_subset(&untold) {
            assert_eq!(found.code, Some(i32::from(!fails.is_empty())), "{text}");
            return;
        }
        assert!(nth < RUNS, "after {nth} runs not all can be told: {text}");
    }
}

/// All at once, as they mostly wait.
fn all_at_once<T: Sync + std::fmt::Debug>(cases: &[T], judge: impl Fn(&T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            let named = thread::Builder::new().name(format!("{case:?}"));
            named.spawn_scoped(scope, || judge(case)).expect("a thread");
        }
    });
}

#[test]
fn check_finds_each_row_that_a_peer_breaks() {
    let cases: [(Twist, &[&str], &[&str]); 18] = [
        (Twist::Rarest, &[], &[]),
        // the original computes the rarity and doesn't use it
        (Twist::No, &["C4"], &[]),
        (Twist::OneReadKept, &["C1"], &[]),
        (Twist::OneShortRead, &["C1"], &["F5"]),
        (Twist::LatePings, &["C2"], &["F4"]),
        (Twist::AsksWhoHasNot, &["C3"], &["C1", "C4", "F4", "F5"]),
        (Twist::ShortList, &["C3"], &["C1", "C4", "F4", "F5"]),
        (Twist::SendsLess, &["C5"], &["F5"]),
        (Twist::WrongPort, &["C5"], &["C1", "F5"]),
        (Twist::TwoPorts, &["C5"], &["C1", "F5"]),
        (Twist::NoClose, &["C5"], &["C1", "F5"]),
        // a list every 20 s is one every three minutes, too
        (Twist::NoLists, &["C6", "F2"], &["C1", "C5", "F5"]),
        (Twist::FewPings, &["F1"], &[]),
        (
            Twist::Misspelt,
            &["F1"],
            &["C1", "C2", "C3", "C4", "F4", "F5"],
        ),
        (Twist::FewLists, &["F2"], &[]),
        (Twist::FirstHolder, &["F4"], &[]),
        (Twist::OneRequest, &["F4"], &["C4", "F5"]),
        (Twist::NeverDone, &["F5"], &[]),
    ];
    all_at_once(&cases, |(twist, fails, untold)| {
        fails_just(&PEER_ROWS, fails, untold, || peer_with(*twist));
    });
}

#[test]
fn check_finds_each_row_that_a_tracker_breaks() {
    // where one peer alone is listed, no more can be seen
    let alone: &[&str] = &["C2", "C3", "F2", "F3", "F7", "F8"];
    let nobody: &[&str] = &["C2", "F2", "F3", "F7", "F8", "F9"];
    let cases: [(Twist, Mode, &[&str], &[&str]); 19] = [
        (Twist::No, Mode::Local, &[], &[]),
        (Twist::KnownByPing, Mode::Local, &[], &[]),
        (Twist::No, Mode::Remote, &["F9"], alone),
        (Twist::FirstPingInVain, Mode::Local, &["C2"], &[]),
        (Twist::WrongAddress, Mode::Local, &["C3"], &[]),
        (Twist::SourcePort, Mode::Local, &["C3"], alone),
        (Twist::OneOther, Mode::Local, &["C3"], alone),
        (Twist::Nobody, Mode::Local, &["C3"], nobody),
        (Twist::NotAlwaysAnswered, Mode::Local, &["F1"], &[]),
        (Twist::KeepsOpen, Mode::Local, &["F1"], &[]),
        (Twist::FirstListStays, Mode::Local, &["F2"], &[]),
        (Twist::AnswersLists, Mode::Local, &["F2"], &[]),
        (Twist::ShortRead, Mode::Local, &["F2"], &["F7"]),
        // as the course text has it; the original counts lists, too
        (Twist::PingsAlone, Mode::Local, &[], &[]),
        (Twist::SweepsEnd, Mode::Local, &["F3"], alone),
        (Twist::Fetches, Mode::Local, &["F6"], &[]),
        (Twist::Full, Mode::Local, &["F7"], &["F2"]),
        (Twist::LateSweeps, Mode::Local, &["F8"], &[]),
        (Twist::EachConnection, Mode::Local, &["F9"], alone),
    ];
    all_at_once(&cases, |(twist, mode, fails, untold)| {
        fails_just(&TRACKER_ROWS, fails, untold, || tracker_with(*twist, *mode));
    });
}

#[test]
fn check_finds_each_row_of_the_second_text_that_a_peer_breaks() {
    let cases: [(Slip, &[&str], &[&str]); 6] = [
        (Slip::No, &[], &[]),
        (Slip::PieceFirst, &["P2"], &[]),
        (Slip::AnyHolder, &["P3"], &[]),
        (Slip::NoCheck, &["P4"], &[]),
        (Slip::StartsOver, &["P5"], &[]),
        (Slip::KeepsPieces, &["P6"], &[]),
    ];
    let rows = [&PEER_ROWS[..], &["P2", "P3", "P4", "P5", "P6"]].concat();
    all_at_once(&cases, |(slip, fails, untold)| {
        fails_just(&rows, fails, untold, || {
            let scale = SCALE.to_string();
            let checking = Checking::start(&["peer", "--port", "0", "--scale", &scale]);
            let planted = ("planted.txt", PLANTED);
            let ping = scaled(10.0, SCALE);
            let _peer = SmallPeer::start(checking.port(), planted, ping, *slip);
            checking.end()
        });
    });
}

#[test]
fn check_finds_a_torrent_that_a_tracker_changes() {
    let dir = Temp::new();
    let tracker = Program::tracker(dir.path(), &["--remote", "--sweep-every", "1.5"]);
    let door = TcpListener::bind((HERE, 0)).expect("a port");
    let (at, to) = (
        door.local_addr().expect("bound").to_string(),
        tracker.addr(),
    );
    // all that goes through it stays as it is, but for a digit of a .torrent's MD5
    let pass = move |mut asker: TcpStream| -> std::io::Result<()> {
        let mut ask = vec![0; 1 << 20];
        let len = asker.read(&mut ask)?;
        let mut answer = String::from_utf8_lossy(&support::ask(to, &ask[..len])).into_owned();
        if let Some(at) = answer.find("\"torrent\":").and(answer.find("\"md5\":\"")) {
            let digit = if answer[at + 7..].starts_with('0') {
                "1"
            } else {
                "0"
            };
            answer.replace_range(at + 7..at + 8, digit);
        }
        asker.write_all(answer.as_bytes())
    };
    thread::spawn(move || {
        door.incoming()
            .flatten()
            .for_each(|asker| drop(pass(asker)))
    });
    fails_just(&[&TRACKER_ROWS[..], &["P1"]].concat(), &["P1"], &[], || {
        Checking::start(&["tracker", "--at", &at, "--scale", "0.1"]).end()
    });
}

#[test]
fn check_sees_whether_addresses_are_told_apart() {
    let other = |ip: Ipv6Addr| TcpListener::bind((ip, 0)).is_ok();
    for (mode, code) in [(&["--remote"][..], 0), (&[], 1)] {
        let dir = Temp::new();
        let flags = [mode, &["--sweep-every", "1.5"]].concat();
        let tracker = Program::tracker(dir.path(), &flags);
        let at = tracker.addr().to_string();
        let args = [
            "tracker", "--at", &at, "--scale", "0.1", "--remote", "--rows", "F9",
        ];
        let found = Checking::start(&args).end();
        let seen = if other(Ipv6Addr::LOCALHOST) { code } else { 0 };
        assert_eq!(found.code, Some(seen), "{mode:?}: {}", found.text);
    }
}

#[test]
fn check_finds_nothing_wrong_with_ours() {
    let (client, server) = (env!("CARGO_BIN_EXE_client"), env!("CARGO_BIN_EXE_server"));
    let every = [
        "--ping-every",
        "{ping}",
        "--list-every",
        "{list}",
        "--round-every",
        "{round}",
    ];
    let peer = [
        "peer", "--port", "0", "--scale", "0.1", "--", client, "{ip}", "{port}", "{dir}",
    ];
    let port = unused_port();
    let tracker = [
        "tracker", "--port", &port, "--scale", "0.1", "--", server, "--remote",
    ];
    let flags = ["--port", "{port}", "--sweep-every", "{sweep}"];
    let cases = [
        (
            [&peer[..], &every].concat(),
            [&PEER_ROWS[..], &["P2", "P3", "P4", "P5", "P6"]].concat(),
        ),
        (
            [&tracker[..], &flags].concat(),
            [&TRACKER_ROWS[..], &["P1"]].concat(),
        ),
    ];
    all_at_once(&cases, |(args, rows)| {
        fails_just(rows, &[], &[], || Checking::start(args).end());
    });
}

/// A port that is never given to whoever asks for any.
fn unused_port() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nth = std::process::id() * 4 + NEXT.fetch_add(1, Ordering::Relaxed);
    (22_000 + nth % 7000).to_string()
}

/// A peer in place of a program: what it does with the tracker that `check` plays, for so many seconds.
fn odd_peer(within: &str, act: impl FnOnce(u16)) -> Found {
    let args = ["peer", "--port", "0", "--scale", "0.05", "--within", within];
    let checking = Checking::start(&args);
    act(checking.port());
    checking.end()
}

fn say(port: u16, text: &str) {
    let mut stream = TcpStream::connect((HERE, port)).expect("it listens");
    stream.write_all(text.as_bytes()).expect("it takes it");
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn check_names_the_field_that_is_wrong() {
    let found = odd_peer("1.2", |port| {
        say(port, r#"{"port": "41120", "msg": "ping"}"#)
    });
    let text = &found.text;
    assert_eq!(
        (found.code, found.verdicts["F1"].as_str()),
        (Some(1), "fails"),
        "{text}"
    );
    assert!(
        text.contains("port") && text.contains("\"41120\""),
        "{text}"
    );
    let list = r#"{"port": 5, "msg": "file_list", "files": "1.txt"}"#;
    let found = odd_peer("1.2", |port| say(port, list));
    assert_eq!(found.verdicts["F2"], "fails", "{}", found.text);
}

#[test]
fn check_sees_that_a_peer_falls_silent() {
    let found = odd_peer("4", |port| say(port, r#"{"port": 5, "msg": "ping"}"#));
    assert_eq!(found.verdicts["F1"], "fails", "{}", found.text);
}

#[test]
fn check_survives_what_isnt_a_message() {
    let found = odd_peer("4", |port| {
        let _silent = TcpStream::connect((HERE, port)).expect("it listens");
        for garbage in ["", "hello", "{", "[[[[", "\0\0", r#"{"msg": 7}"#] {
            let mut stream = TcpStream::connect((HERE, port)).expect("it listens");
            stream.write_all(garbage.as_bytes()).expect("it takes it");
        }
    });
    assert_eq!(
        (found.code, found.verdicts["F1"].as_str()),
        (Some(1), "fails"),
        "{}",
        found.text
    );
    assert_eq!(found.verdicts.len(), 15, "{}", found.text);
}

#[test]
fn check_says_3_where_nothing_can_be_reached() {
    let port = unused_port();
    let taken = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port");
    let taken = taken.local_addr().expect("bound").port().to_string();
    let cases: [(&[&str], &str); 5] = [
        (
            &["peer", "--port", "0", "--", "/no/such/program"],
            "can't be started",
        ),
        (
            &["peer", "--port", "0", "--", "sh", "-c", "echo bye; exit 5"],
            "bye",
        ),
        (&["peer", "--port", &taken], "end what uses it"),
        (&["tracker", "--port", &port, "--", "false"], "it ended"),
        (
            &["tracker", "--at", "127.0.0.1:9"],
            "no tracker at 127.0.0.1:9",
        ),
    ];
    all_at_once(&cases, |(args, why)| {
        let found = Checking::start(args).end();
        assert_eq!(found.code, Some(3), "{args:?}: {}", found.text);
        assert!(found.text.contains(why), "{args:?}: {}", found.text);
    });
}

#[test]
fn check_says_2_for_a_wrong_command_line() {
    let cases: [&[&str]; 8] = [
        &[],
        &["both"],
        &["tracker"],
        &["peer", "--at", "127.0.0.1:1"],
        &["peer", "--scale", "0"],
        &["peer", "--rows", "C4,X1"],
        &["peer", "--folder", "../x"],
        &["peer", "--sclae", "1"],
    ];
    for args in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_check"))
            .args(args)
            .output();
        let output = output.expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}

#[test]
fn check_lists_every_row() {
    let of_project = include_str!("../REQUIREMENTS.md");
    let list = |language: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_check"));
        let output = command.arg("--list").env("LC_ALL", language).output();
        String::from_utf8(output.expect("it starts").stdout).expect("UTF-8")
    };
    let (english, portuguese) = (list("C"), list("pt_BR.UTF-8"));
    for line in of_project
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
    {
        let id = line.split_whitespace().nth(1).expect("an id");
        for text in [&english, &portuguese] {
            assert!(
                text.lines()
                    .any(|line| line.starts_with(&format!("{id:<4}"))),
                "{id}: {text}"
            );
        }
    }
    assert!(english.contains("rarest") && portuguese.contains("mais raro"));
}

#[test]
fn check_writes_for_graders() {
    let dir = Temp::new();
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (xml, log) = (path("junit.xml"), path("log"));
    let args = [
        "peer", "--port", "0", "--scale", "0.05", "--within", "4", "--junit", &xml,
    ];
    let checking = Checking::start(&[&args[..], &["--log", &log, "--rows", "F1,C4"]].concat());
    say(checking.port(), r#"{"port": "<&>", "msg": "ping"}"#);
    let found = checking.end();
    assert_eq!(
        found.verdicts.keys().collect::<Vec<_>>(),
        ["C4", "F1"],
        "{}",
        found.text
    );
    let xml = std::fs::read_to_string(Path::new(&xml)).expect("the file for graders");
    assert!(
        xml.contains(r#"tests="2" failures="1" skipped="1""#),
        "{xml}"
    );
    assert!(
        !xml.contains("<&>") && xml.ends_with("</testsuite>\n"),
        "{xml}"
    );
    let failed = path("failed.xml");
    let args = ["peer", "--port", "0", "--junit", &failed, "--", "/no/such"];
    assert_eq!(Checking::start(&args).end().code, Some(3));
    let failed = std::fs::read_to_string(Path::new(&failed)).expect("the file for graders");
    assert!(failed.contains(r#"errors="1""#) && failed.contains("/no/such"));
    let log = std::fs::read_to_string(Path::new(&log)).expect("the log");
    let lines = log.lines().map(serde_json::from_str::<serde_json::Value>);
    assert!(
        lines
            .map(|line| line.expect("JSON"))
            .any(|line| line["fault"].is_string())
    );
}
