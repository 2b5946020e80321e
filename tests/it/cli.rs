//! What a user sees of `client`: its flags, its lines, its log and its exit codes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bittorrentish::md5::digest;
use serde_json::Value;

use super::support::{DEADLINE, Program, Temp, ask_for, plant, random_bytes, until, until_content};

/// Runs `client` to its end, in a folder of its own. One that goes on instead is killed, and that is a failure.
#[track_caller]
fn run<S: AsRef<OsStr>>(args: &[S]) -> Output {
    let (away, args) = (
        Temp::new(),
        args.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(&args).current_dir(away.path());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the client");
    let deadline = Instant::now() + DEADLINE / 2;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{args:?} went on: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("a child that ended")
}

/// The end was an error's: this code, and one line on stderr with these words.
#[track_caller]
fn fails_with(ended: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(
        (ended.status.code(), text.lines().count()),
        (Some(code), 1),
        "{ended:?}"
    );
    assert!(
        text.starts_with("error: ") && !text.contains("panicked"),
        "{text}"
    );
    words
        .iter()
        .for_each(|word| assert!(text.contains(word), "{word:?} in {text}"));
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_usage_mistake_is_one_line_and_code_2() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "<tracker-ip> <port> <dir>"),
        (&["127.0.0.1"], "<tracker-ip> <port> <dir>"),
        (&["127.0.0.1", "29283"], "<tracker-ip> <port> <dir>"),
        (
            &["127.0.0.1", "29283", "d", "e"],
            "<tracker-ip> <port> <dir>",
        ),
        (
            &["127.0.0.1", "29283", "my", "folder"],
            "a name with spaces goes in quotes",
        ),
        (&["d", "127.0.0.1", "29283"], "the order is <tracker-ip>"),
        (
            &["127.0.0.1", "29283", "d", "--only", "--replace"],
            "--only needs a value behind it, got the flag --replace",
        ),
        (
            &["127.0.0.1", "29283", "--status", "--replace"],
            "--replace doesn't go with --status",
        ),
        (
            &["127.0.0.1", "29283", "--status", "--quiet", "--verbose"],
            "exclude each other",
        ),
        (&["127.0.0.1", "0", "d"], "\"0\""),
        (&["127.0.0.1", "65536", "d"], "\"65536\""),
        (&["127.0.0.1", "tracker", "d"], "\"tracker\""),
        (&["127.0.0.1", "", "d"], "\"\""),
        (&["127.0.0.1", "29283", "d", "--bogus"], "bogus"),
        (&["127.0.0.1", "29283", "d", "--quiet=yes"], "quiet"),
        (&["127.0.0.1", "29283", "d", "--listen"], "listen"),
        (
            &["127.0.0.1", "29283", "d", "--listen", "65536"],
            "--listen",
        ),
        (&["127.0.0.1", "29283", "d", "--listen", "-1"], "listen"),
        (
            &["127.0.0.1", "29283", "d", "--listen=1", "--listen=2"],
            "listen",
        ),
        (&["127.0.0.1", "29283", "d", "--only", ""], "--only"),
        (&["127.0.0.1", "29283", "d", "--only", "../x"], "--only"),
        (
            &["127.0.0.1", "29283", "d", "--only", "/etc/passwd"],
            "--only",
        ),
        (&["127.0.0.1", "29283", "d", "--only", ".hidden"], "--only"),
        (
            &["127.0.0.1", "29283", "d", "--only", "image.iso.part0001"],
            "--only",
        ),
        (
            &["127.0.0.1", "29283", "d", "--seed-for", "5"],
            "--exit-when-complete",
        ),
        (
            &[
                "127.0.0.1",
                "29283",
                "d",
                "--exit-when-complete",
                "--seed-for",
                "soon",
            ],
            "--seed-for",
        ),
        (
            &["127.0.0.1", "29283", "d", "--min-peers", "few"],
            "--min-peers",
        ),
        (&["127.0.0.1", "29283", "d", "--max-up", "0"], "--max-up"),
        (&["127.0.0.1", "29283", "d", "--max-up", "5X"], "--max-up"),
        (
            &["127.0.0.1", "29283", "d", "--max-up", "3K"],
            "at least 5K",
        ),
        (&["127.0.0.1", "29283", "d", "--max-up", "5KM"], "--max-up"),
        (
            &["127.0.0.1", "29283", "d", "--max-down", "1K"],
            "--max-down takes at least 5K",
        ),
        (
            &["127.0.0.1", "29283", "d", "--pick", "--no-page"],
            "--pick and --no-page exclude each other",
        ),
        (
            &["127.0.0.1", "29283", "d", "--corrupt", "200"],
            "--corrupt takes up to 100",
        ),
        (&["http://127.0.0.1", "29283", "d"], "a name alone"),
        (
            &["127.0.0.1", "29283", "d", "--max-down", "M"],
            "--max-down",
        ),
        (
            &["127.0.0.1", "29283", "d", "--max-down", "NaN"],
            "--max-down",
        ),
        (
            &["127.0.0.1", "29283", "d", "--ping-every", "0"],
            "--ping-every",
        ),
        (
            &["127.0.0.1", "29283", "d", "--list-every", "inf"],
            "--list-every",
        ),
        (
            &["127.0.0.1", "29283", "d", "--round-every", "1e300"],
            "--round-every",
        ),
        (
            &["127.0.0.1", "29283", "d", "--round-every", "-3"],
            "round-every",
        ),
    ];
    thread::scope(|scope| {
        for (args, word) in cases {
            scope.spawn(move || {
                let ended = run(args);
                fails_with(&ended, 2, &[word, "try --help"]);
                assert!(ended.stdout.is_empty(), "{args:?}: {ended:?}");
            });
        }
    });
    let odd: [&OsStr; 3] = [
        "127.0.0.1".as_ref(),
        "29283".as_ref(),
        OsStr::from_bytes(b"\xff"),
    ];
    fails_with(&run(&odd), 2, &["UTF-8"]);
}

#[test]
fn a_mistyped_flag_is_told_with_what_was_meant() {
    let [client, server] = [env!("CARGO_BIN_EXE_client"), env!("CARGO_BIN_EXE_server")];
    for (program, flag, expected) in [
        (
            client,
            "--exit-when-complet",
            "error: unknown flag --exit-when-complet: did you mean --exit-when-complete?\n",
        ),
        (
            client,
            "--max-dwon=3M",
            "error: unknown flag --max-dwon: did you mean --max-down?\n",
        ),
        (
            server,
            "--prot",
            "error: unknown flag --prot: did you mean --port?\n",
        ),
        (
            server,
            "--exit-when-complete",
            "error: unknown flag --exit-when-complete; try --help\n",
        ),
    ] {
        let ended = Command::new(program)
            .args(["127.0.0.1", "29283", "d", flag])
            .output()
            .expect("it ends");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), expected);
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0));
    }
}

#[test]
fn the_help_leads_with_three_examples() {
    for (program, name) in [
        (env!("CARGO_BIN_EXE_client"), "client "),
        (env!("CARGO_BIN_EXE_server"), "server "),
    ] {
        let help = Command::new(program).arg("--help").output();
        let help = String::from_utf8(help.expect("it runs").stdout).expect("UTF-8");
        let (examples, rest) = help.split_once("\nUsage: ").expect("the usage");
        assert!(examples.starts_with("Examples"), "{help}");
        let commands = examples.lines().map(str::trim);
        let commands = commands.filter(|line| line.starts_with(name));
        assert_eq!(commands.count(), 3, "{help}");
        assert!(rest.starts_with(name), "{help}");
        assert!(
            help.lines().all(|line| line.trim_end().len() <= 80),
            "{help}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_was_asked_for_and_cannot_be_printed_is_an_error() {
    let full = File::options().write(true).open("/dev/full");
    let mut help = Command::new(env!("CARGO_BIN_EXE_client"));
    let help = help.arg("--help").stdout(full.expect("Linux has it"));
    let ended = help.stderr(Stdio::piped()).spawn().expect("it starts");
    let ended = ended.wait_with_output().expect("it ends");
    fails_with(&ended, 5, &["can't be printed: No space left"]);
}

#[test]
fn an_empty_dir_is_a_mistake() {
    // `client 10.0.0.1 29283 "$DIR"` with the variable unset must not share the working folder, nor go on without one
    fails_with(&run(&["127.0.0.1", "29283", ""]), 2, &["<dir>"]);
}

#[test]
fn help_and_version_go_to_stdout() {
    for flag in ["--help", "-h"] {
        let help = run(&[flag]);
        let text = String::from_utf8_lossy(&help.stdout);
        assert!(help.status.success() && help.stderr.is_empty(), "{help:?}");
        let flags = [
            "listen",
            "only",
            "exit-when-complete",
            "seed-for",
            "classic",
            "explain",
            "min-peers",
            "max-up",
            "max-down",
        ];
        let more = [
            "ping-every",
            "list-every",
            "round-every",
            "log",
            "quiet",
            "version",
        ];
        flags
            .iter()
            .chain(&more)
            .for_each(|flag| assert!(text.contains(&format!("--{flag}")), "--{flag} in {text}"));
        for words in [
            "<tracker-ip> <port> <dir>",
            "29283",
            "Exit codes: 0",
            "5 disk",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
    for flag in ["--version", "-V"] {
        let version = run(&[flag]);
        let text = String::from_utf8_lossy(&version.stdout);
        assert!(
            version.status.success()
                && text.contains(env!("CARGO_PKG_VERSION"))
                && text.lines().count() == 1,
            "{version:?}"
        );
    }
}

#[test]
fn a_tracker_whose_name_nobody_knows_is_waited_for() {
    let temp = Temp::new();
    let dir = temp.dir("d");
    let args = [
        "no-such-host.invalid",
        "29283",
        utf8(&dir),
        "--ping-every",
        "0.2",
    ];
    let mut waits = Program::start("client", &args);
    waits.until_line("no list from the tracker no-such-host.invalid:29283");
    assert!(waits.is_running(), "{waits:?}");
    fails_with(&run(&["", "29283", "d"]), 2, &["<tracker-ip>"]);
}

#[test]
fn the_tracker_has_a_log_too() {
    let temp = Temp::new();
    let log = temp.path().join("server.log");
    let tracker = Program::tracker(&temp.dir("torrents"), &["--log", utf8(&log), "--quiet"]);
    plant(&temp.dir("seed"), "image.iso", b"small");
    let seed = Program::peer(&tracker, &temp.dir("seed"), &[]);
    seed.until_event("published", |_| true);
    let published = tracker.until_event("published", |event| event["name"] == "image.iso");
    assert_eq!(published["md5"], digest(b"small").to_string());
    let nowhere = temp.path().join("missing/server.log");
    let args = ["--port", "0", "--log", utf8(&nowhere)];
    let mut fails = Program::start("server", &args);
    assert_eq!(fails.until_ended().code(), Some(5));
    fails.until_line("the log ");
}

#[test]
fn a_taken_port_is_1() {
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let ended = run(&["127.0.0.1", "29283", "d", "--listen", &port]);
    fails_with(&ended, 1, &[&format!("port {port}"), "--listen"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_5() {
    let dir = Temp::new();
    plant(dir.path(), "file", b"");
    let below = dir.path().join("file").join("below");
    fails_with(
        &run(&["127.0.0.1", "29283", utf8(&below)]),
        5,
        &[&format!(
            "{} isn't a folder",
            utf8(&dir.path().join("file"))
        )],
    );
    // a plain file where the folder should be
    fails_with(
        &run(&["127.0.0.1", "29283", utf8(&dir.path().join("file"))]),
        5,
        &["file isn't a folder: give a folder"],
    );
    // with the slash that a shell puts behind folders
    let slash = format!("{}/", dir.path().join("file").display());
    fails_with(
        &run(&["127.0.0.1", "29283", &slash]),
        5,
        &["file isn't a folder: give a folder"],
    );
    // and where the hidden folder should be
    plant(&dir.dir("peer"), ".bittorrentish", b"");
    fails_with(
        &run(&["127.0.0.1", "29283", utf8(&dir.dir("peer"))]),
        5,
        &[".bittorrentish isn't a folder"],
    );
    let log = below.join("log");
    fails_with(
        &run(&[
            "127.0.0.1",
            "29283",
            utf8(&dir.dir("other")),
            "--log",
            utf8(&log),
        ]),
        5,
        &[utf8(&log)],
    );
}

#[test]
fn a_hidden_folder_that_is_a_link_is_5() {
    let dir = Temp::new();
    let (peer, outside) = (dir.dir("peer"), dir.dir("outside"));
    std::os::unix::fs::symlink(&outside, peer.join(".bittorrentish")).expect("a link");
    fails_with(
        &run(&["127.0.0.1", "29283", utf8(&peer)]),
        5,
        &[".bittorrentish"],
    );
    assert_eq!(fs::read_dir(&outside).expect("a folder").count(), 0);
}

#[test]
fn a_second_client_on_a_folder_is_5() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let folder = dir.dir("peer");
    plant(&folder, "f", b"one");
    let mut first = Program::peer(&tracker, &folder, &[]);
    first.port();
    let ended = run(&["127.0.0.1", &tracker.port().to_string(), utf8(&folder)]);
    fails_with(&ended, 5, &["another client works on", utf8(&folder)]);
    first.until_event("sharing", |event| event["name"] == "f");
    assert!(first.is_running());
    // the lock goes with its process, however that ends
    first.kill();
    let again = Program::peer(&tracker, &folder, &[]);
    until("the file from the second", || {
        (ask_for(again.addr(), "f") == b"one").then_some(())
    });
}

#[test]
fn a_closed_stdout_ends_the_printing_alone() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let folder = dir.dir("peer");
    plant(&folder, "f", b"content");
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args([
        "127.0.0.1",
        &tracker.port().to_string(),
        utf8(&folder),
        "--ping-every",
        "0.1",
        "--explain",
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut first)
        .expect("a line");
    // nobody reads its lines any more, of which there are many; it still shares, and serves
    let other = Program::peer(&tracker, &dir.dir("other"), &["--only", "f"]);
    let served = thread::scope(|scope| {
        scope
            .spawn(|| until_content(&dir.path().join("other/f"), b"content"))
            .join()
            .is_ok()
    });
    let went_on = child.try_wait().expect("a child").is_none();
    let _ = child.kill();
    let ended = child.wait_with_output().expect("a child");
    assert!(
        served && went_on && ended.stderr.is_empty(),
        "{ended:?}; {other:?}"
    );
}

#[test]
fn quiet_prints_results_and_trouble_only() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    plant(&dir.dir("seed"), "f", b"content");
    let seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    let quiet = Program::peer(&tracker, &dir.dir("quiet"), &["--quiet"]);
    quiet.until_line("complete: f");
    // the same events, in a program that isn't quiet
    seed.until_line("ping →");
    seed.until_line("list →");
    seed.until_line("sharing f");
    let noise = ["ping →", "list →", "connected to", "fetching f", "hashed"];
    let lines = quiet.lines();
    assert!(
        !lines
            .iter()
            .any(|line| noise.iter().any(|word| line.contains(word))),
        "{quiet:?}"
    );
    quiet.until_event("list", |event| event["n_files"] == 1);
}

#[test]
fn the_log_is_one_json_object_a_line() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    plant(&dir.dir("seed"), "f", &random_bytes(200_000, 1));
    let _seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    for run in 1..=2 {
        let mut peer = Program::peer(
            &tracker,
            &dir.dir("peer"),
            &["--only", "f", "--exit-when-complete"],
        );
        assert!(peer.until_ended().success(), "{peer:?}");
        let log = fs::read_to_string(dir.path().join("peer.log")).expect("the log");
        assert!(log.ends_with('\n'), "{log}");
        let events: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect();
        for event in &events {
            assert!(
                event["t"].as_f64().is_some_and(|t| t >= 0.0) && event["event"].is_string(),
                "{event}"
            );
        }
        let count = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
        assert_eq!(
            (
                count("listening"),
                count("ending"),
                count("complete"),
                count("piece")
            ),
            (run, run, 1, 4),
            "{log}"
        );
    }
}

#[test]
fn the_tracker_may_be_named() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    plant(&dir.dir("seed"), "f", b"content");
    let port = tracker.port();
    let mut names = vec!["localhost"];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        names.extend(["::1", "[::1]"]);
    }
    let _seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    let mut peers: Vec<Program> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        peers.push(Program::peer_at(
            name,
            port,
            &dir.dir(&at.to_string()),
            &["--only", "f", "--exit-when-complete"],
        ));
    }
    for (at, mut peer) in peers.into_iter().enumerate() {
        assert!(peer.until_ended().success(), "{peer:?}");
        until_content(&dir.path().join(at.to_string()).join("f"), b"content");
    }
}

// ---- --exit-when-complete, to the letter

#[test]
fn exit_with_only_waits_for_an_unlisted_name() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    plant(&dir.dir("seed"), "other", b"another file");
    let seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    let mut peer = Program::peer(
        &tracker,
        &dir.dir("peer"),
        &["--only", "f", "--exit-when-complete"],
    );
    // all that is listed isn't what is wanted
    peer.until_event("list", |event| event["n_files"] == 1);
    let lists = peer.events("list").len();
    until("some more lists", || {
        (peer.events("list").len() > lists + 4).then_some(())
    });
    assert!(peer.is_running());
    plant(&dir.dir("seed"), "f", b"content");
    seed.until_event("sharing", |event| event["name"] == "f");
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    until_content(&dir.path().join("peer/f"), b"content");
    assert!(
        !dir.path().join("peer/other").exists(),
        "only what was asked for"
    );
    assert_eq!(peer.events("ending")[0]["code"], 0);
}

#[test]
fn exit_with_only_is_0_for_what_is_here_already() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    for folder in ["seed", "peer"] {
        plant(&dir.dir(folder), "f", b"content");
    }
    let _seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    let mut peer = Program::peer(
        &tracker,
        &dir.dir("peer"),
        &["--only", "f", "--exit-when-complete"],
    );
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    assert!(peer.events("piece").is_empty(), "nothing had to be fetched");
}

#[test]
fn exit_without_only_waits_for_an_interval_of_calm() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let flags = ["--exit-when-complete", "--list-every", "4"];
    let mut peer = Program::peer(&tracker, &dir.dir("peer"), &flags);
    // nothing listed isn't everything: it waits for the first file
    until("some empty lists", || {
        (peer.events("list").len() > 3).then_some(())
    });
    assert!(
        peer.is_running()
            && peer
                .events("list")
                .iter()
                .all(|event| event["n_files"] == 0)
    );
    for name in ["a", "b"] {
        plant(
            &dir.dir("seed"),
            name,
            &random_bytes(100_000, name.len() as u64),
        );
    }
    let _seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    for name in ["a", "b"] {
        until_content(
            &dir.path().join("peer").join(name),
            &random_bytes(100_000, name.len() as u64),
        );
    }
    let t = |kind: &str| {
        peer.events(kind)
            .last()
            .and_then(|event| event["t"].as_f64())
            .expect("an event")
    };
    // half of it allows for a machine so busy that a thread tells of the start late; without the calm it'd be nothing
    assert!(t("ending") - t("begin") > 2.0, "{peer:?}");
}

#[test]
fn exit_is_4_where_the_swarm_has_another_content() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let (swarms, here) = (b"the swarm's".as_slice(), b"what is here".as_slice());
    for folder in ["one", "two"] {
        plant(&dir.dir(folder), "f", swarms);
    }
    // a record stands while somebody beside its publisher has it
    let holders = ["one", "two"].map(|folder| Program::peer(&tracker, &dir.dir(folder), &[]));
    holders
        .iter()
        .for_each(|holder| drop(holder.until_event("list_sent", |event| event["n_files"] == 1)));
    plant(&dir.dir("peer"), "f", here);
    let mut peer = Program::peer(
        &tracker,
        &dir.dir("peer"),
        &["--only", "f", "--exit-when-complete"],
    );
    assert_eq!(peer.until_ended().code(), Some(4), "{peer:?}");
    let md5s = [swarms, here].map(|content| digest(content).to_string());
    let told = |line: &String| md5s.iter().all(|md5| line.contains(md5)) && line.contains("f ");
    assert!(peer.lines().iter().any(told), "{peer:?}");
    assert_eq!(
        fs::read(dir.path().join("peer/f")).expect("it stands there"),
        here
    );
    let end = &peer.events("ending")[0];
    assert!(
        end["code"] == 4 && md5s.iter().all(|md5| end["why"].to_string().contains(md5)),
        "{end}"
    );
}

#[test]
fn seed_for_serves_on() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    plant(&dir.dir("seed"), "f", b"content");
    let mut seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    let flags = ["--only", "f", "--exit-when-complete", "--seed-for", "8"];
    let mut peer = Program::peer(&tracker, &dir.dir("peer"), &flags);
    let at = peer.addr();
    peer.until_event("complete", |event| event["name"] == "f");
    seed.kill();
    assert_eq!(
        ask_for(at, "f"),
        b"content",
        "served by the one that is complete"
    );
    let other = Program::peer(&tracker, &dir.dir("other"), &["--only", "f"]);
    other.until_event("complete", |event| event["name"] == "f");
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    let t = |kind: &str| peer.events(kind)[0]["t"].as_f64().expect("a time");
    assert!(t("ending") - t("complete") > 7.5, "{peer:?}");
}

#[test]
fn exit_is_5_where_the_disk_refuses() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    plant(&dir.dir("seed"), "f", b"content");
    let _seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    // a folder where the unfinished file should be: even root can't write into it
    let part = ".bittorrentish/9a0364b9e99bb480dd25e1f0284c8555.8fa14cdd754f91cc.part";
    fs::create_dir_all(dir.dir("peer").join(part)).expect("a folder");
    let mut peer = Program::peer(
        &tracker,
        &dir.dir("peer"),
        &["--only", "f", "--exit-when-complete"],
    );
    assert_eq!(peer.until_ended().code(), Some(5), "{peer:?}");
    assert!(
        peer.lines().iter().any(|line| line.contains(part)),
        "{peer:?}"
    );
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let content = random_bytes(64 << 20, 1);
    plant(&dir.dir("seed"), "image.iso", &content);
    let _seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    let pipe = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("coreutils").success());
    // there is a reader, and it never reads
    let _reader = File::options().read(true).write(true).open(&pipe);
    let folder = dir.dir("peer");
    let port = tracker.port().to_string();
    let args = [
        "127.0.0.1",
        &port,
        utf8(&folder),
        "--only",
        "image.iso",
        "--exit-when-complete",
        "--log",
        utf8(&pipe),
    ];
    let mut peer = Program::start("client", &args);
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    until_content(&folder.join("image.iso"), &content);
}

/// What is said where no list comes: the true cause, as far as a client can know it.
#[test]
fn whoever_answers_in_the_trackers_place_is_named() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &["--page", "0"]);
    let peer = Program::peer(&tracker, &dir.dir("peer"), &[]);
    let page = tracker.until_line("page: http://127.0.0.1:");
    let page = page.rsplit(':').next().expect("a port");
    let page: u16 = page.trim_end_matches('/').parse().expect("a port");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let free = silent.local_addr().expect("bound").port();
    drop(silent);
    for (name, port, cause, why) in [
        ("peers", peer.port(), "refused", "this is a peer's port"),
        ("page", page, "not_a_tracker", "but a web server"),
        ("nobody", free, "nobody_listens", "start `server`"),
    ] {
        let client = Program::peer_at("127.0.0.1", port, &dir.dir(name), &[]);
        let told = client.until_event("tracker_unreachable", |_| true);
        assert_eq!(told["cause"], cause, "{told}");
        client.until_line(why);
        client.until_line("it is tried again at each ping");
    }
    let unknown = Program::peer_at("no.such.host.invalid", 1, &dir.dir("unknown"), &[]);
    let told = unknown.until_event("tracker_unreachable", |_| true);
    assert_eq!(told["cause"], "no_address", "{told}");
}

#[test]
fn a_list_that_is_refused_is_told_once_and_as_that() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let folder = dir.dir("peer");
    // one more than a list may have, and each shared without a word from the tracker
    for n in 0..=10_000 {
        fs::write(folder.join(format!("{n}.txt")), b"").expect("room");
    }
    let peer = Program::peer(&tracker, &folder, &[]);
    let told = peer.until_event("list_refused", |_| true);
    assert!(
        told["why"].as_str().expect("text").contains("10000 names"),
        "{told}"
    );
    let pings = peer.events("list").len();
    until("some more pings", || {
        (peer.events("list").len() > pings + 3).then_some(())
    });
    assert_eq!(peer.events("list_refused").len(), 1);
    assert!(
        peer.events("tracker_unreachable").is_empty(),
        "it answers pings"
    );
}

#[test]
fn a_folder_that_is_a_file_is_told_as_that() {
    let dir = Temp::new();
    let file = dir.path().join("image.iso");
    fs::write(&file, b"x").expect("room");
    let out = run(&["127.0.0.1", "29283", utf8(&file)]);
    assert_eq!(out.status.code(), Some(5));
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("isn't a folder"),
        "{out:?}"
    );
}

#[test]
fn an_idle_seed_prints_no_more_than_a_page() {
    let dir = Temp::new();
    let folder = dir.dir("seed");
    plant(&folder, "image.iso", &random_bytes(1 << 20, 1));
    let torrents = dir.dir("torrents");
    let tracker = Program::start("server", &["--port", "0", "--torrents", utf8(&torrents)]);
    let (port, log) = (tracker.port().to_string(), dir.path().join("log"));
    let quick = [
        "--ping-every",
        "0.02",
        "--list-every",
        "0.03",
        "--round-every",
        "0.05",
    ];
    let args = ["127.0.0.1", &port, utf8(&folder), "--log", utf8(&log)];
    let seed = Program::start("client", &[&args[..], &quick].concat());
    until("as many pings as in a morning", || {
        (seed.events("list").len() > 1200).then_some(())
    });
    for program in [&tracker, &seed] {
        assert!(program.lines().len() < 25, "{program:?}");
    }
    seed.until_line("ping → 0 other peers listed");
}

#[test]
fn small_files_have_a_line_each() {
    let dir = Temp::new();
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    let folder = dir.dir("seed");
    for n in 0..20 {
        plant(&folder, &format!("{n}.txt"), format!("file {n}").as_bytes());
    }
    plant(&folder, "some.bin", &random_bytes(5_000_000, 1));
    // its files have just been written, so they are left alone for a moment: who comes now has no further line for each
    let seed = Program::peer(&tracker, &folder, &[]);
    seed.until_event("list_sent", |_| true);
    let port = tracker.port().to_string();
    let to = dir.dir("peer");
    let args = [
        "127.0.0.1",
        &port,
        utf8(&to),
        "--exit-when-complete",
        "--list-every",
        "3",
        "--round-every",
        "0.3",
    ];
    let mut peer = Program::start("client", &args);
    assert_eq!(peer.until_ended().code(), Some(0), "{peer:?}");
    let lines = peer.lines();
    for n in 0..20 {
        let of_it = lines
            .iter()
            .filter(|line| line.contains(&format!(" {n}.txt")));
        // one when it comes; ten of them are credited at the end
        assert!((1..=2).contains(&of_it.count()), "{peer:?}");
    }
    let of_it = lines.iter().filter(|line| line.contains(" some.bin"));
    assert!((1..=2).contains(&of_it.count()), "{peer:?}");
}
