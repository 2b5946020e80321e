//! What the tests have in common: folders, the real programs, and waiting for a condition with a deadline.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bittorrentish::md5::{Digest, digest};
use bittorrentish::protocol::{PingAnswer, Publication, SwarmList, ToTracker, parse, to_bytes};
use bittorrentish::torrent::{Name, Torrent};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// How long any condition may take. Long, as the machine may be busy; what fails takes it all.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Short intervals: what happens by the clock happens soon.
pub const QUICK: [&str; 6] = [
    "--ping-every",
    "0.3",
    "--list-every",
    "0.5",
    "--round-every",
    "0.5",
];

/// Looks again and again until `found` gives something; `what` is told where it never does.
#[track_caller]
pub fn until<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, found)
}

/// The same, for what the program itself lets take long.
#[track_caller]
pub fn until_within<T>(limit: Duration, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {limit:?} in vain: {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns true if so many sweeps in a row were told of with this text.
pub fn swept_in_a_row(lines: &[String], n: usize, text: &str) -> bool {
    let sweeps = lines.iter().filter(|line| line.contains("sweep: "));
    let sweeps: Vec<&String> = sweeps.collect();
    let mut in_a_row = sweeps.windows(n);
    in_a_row.any(|some| some.iter().all(|line| line.ends_with(text)))
}

/// A folder that is removed with this value.
pub struct Temp(PathBuf);

impl Temp {
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// A folder of its own in this one.
    pub fn within(dir: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "bittorrentish-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = dir.join(name);
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A folder in this one, made where it is missing.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.0.join(name);
        fs::create_dir_all(&dir).expect("a folder");
        dir
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes that look like nothing, the same for the same seed.
pub fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// An image a week later: every 20th block of 64 KiB is another.
pub fn next_version(content: &[u8]) -> Vec<u8> {
    let mut next = content.to_vec();
    for block in next.chunks_mut(64 << 10).step_by(20) {
        block[..100].fill(0x5a);
    }
    next
}

/// The MD5 of a file; `None` where there is none.
pub fn md5_of(path: &Path) -> Option<Digest> {
    fs::read(path).ok().map(|bytes| digest(&bytes))
}

/// Waits until a file stands there with this content.
#[track_caller]
pub fn until_content(path: &Path, content: &[u8]) {
    until(
        &format!("{} with the right content", path.display()),
        || path.exists().then_some(()),
    );
    assert_eq!(md5_of(path), Some(digest(content)), "{}", path.display());
}

/// The flag with which a program prints all that may explain a failure, but for one that is told what to print.
fn verbose(more: &[&str]) -> Option<&'static str> {
    (!more.contains(&"--quiet")).then_some("--verbose")
}

/// One of the two programs, running. Killed with this value; its output is shown where a test fails.
pub struct Program {
    child: Child,
    command: String,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    log: Option<PathBuf>,
}

impl Program {
    /// Starts `server` or `client`.
    pub fn start<S: AsRef<str>>(program: &str, args: &[S]) -> Self {
        Self::start_by(&[], program, args)
    }

    /// The same, in a network namespace.
    pub fn start_on<S: AsRef<str>>(namespace: Option<&str>, program: &str, args: &[S]) -> Self {
        match namespace {
            None => Self::start(program, args),
            Some(namespace) => Self::start_by(&["ip", "netns", "exec", namespace], program, args),
        }
    }

    /// The same, by a command that becomes what is put behind it.
    pub fn start_by<S: AsRef<str>>(by: &[&str], program: &str, args: &[S]) -> Self {
        let path = match program {
            "server" => env!("CARGO_BIN_EXE_server"),
            _ => env!("CARGO_BIN_EXE_client"),
        };
        let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        let mut words = by.iter().chain([&path]);
        let mut command = Command::new(words.next().expect("the program at least"));
        command.args(words);
        command
            .args(&args)
            // the signs in what is printed follow it
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let out: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("piped")),
            Box::new(child.stderr.take().expect("piped")),
        ];
        let readers = out.map(|out| {
            let lines = Arc::clone(&lines);
            thread::spawn(move || {
                for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                    lines
                        .lock()
                        .expect("no panic")
                        .push(String::from_utf8_lossy(&line).into_owned());
                }
            })
        });
        let log = args
            .iter()
            .position(|arg| *arg == "--log")
            .map(|at| PathBuf::from(args[at + 1]));
        Self {
            child,
            command: format!("{program} {}", args.join(" ")),
            lines,
            readers: readers.into(),
            log,
        }
    }

    /// A tracker for this machine alone, at any free port, with its `.torrent`s in `dir`.
    pub fn tracker(dir: &Path, more: &[&str]) -> Self {
        let mut args = vec!["--port", "0", "--torrents", dir.to_str().expect("UTF-8")];
        args.extend(verbose(more));
        args.extend(more);
        Self::start("server", &args)
    }

    /// The same at the port of one that is gone.
    #[track_caller]
    pub fn tracker_at(port: u16, dir: &Path, more: &[&str]) -> Self {
        let port = port.to_string();
        let mut args = vec!["--port", &port, "--torrents", dir.to_str().expect("UTF-8")];
        args.extend(verbose(more));
        args.extend(more);
        until("the port free again", || {
            let mut tracker = Self::start("server", &args);
            until("its first line or its end", || {
                (!tracker.is_running() || !tracker.lines().is_empty()).then_some(())
            });
            tracker
                .lines()
                .iter()
                .any(|line| line.contains("listening on port"))
                .then_some(tracker)
        })
    }

    /// A peer of that tracker which works on `dir`, with short intervals, and logs to `dir.log` beside its folder.
    pub fn peer(tracker: &Self, dir: &Path, more: &[&str]) -> Self {
        Self::peer_at(
            &format!("{}", tracker.addr().ip()),
            tracker.port(),
            dir,
            more,
        )
    }

    /// A peer of the tracker at that address.
    pub fn peer_at(ip: &str, port: u16, dir: &Path, more: &[&str]) -> Self {
        let log = dir.with_extension("log");
        let port = port.to_string();
        let mut args = vec![ip, &port, dir.to_str().expect("UTF-8")];
        let log = ["--log", log.to_str().expect("UTF-8")];
        // getopts takes a flag once: what a test sets itself isn't set here
        args.extend(
            [&QUICK[..], &log]
                .concat()
                .chunks(2)
                .filter(|flag| !more.contains(&flag[0]))
                .flatten(),
        );
        args.extend(verbose(more));
        args.extend(more);
        Self::start("client", &args)
    }

    /// Waits for a line with `text` in it.
    #[track_caller]
    pub fn until_line(&self, text: &str) -> String {
        until(&format!("a line with {text:?} from {self:?}"), || {
            self.lines().into_iter().find(|line| line.contains(text))
        })
    }

    /// What it has printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// The port that it listens on.
    #[track_caller]
    pub fn port(&self) -> u16 {
        let line = self.until_line("listening on port ");
        let digits: String = line
            .split("listening on port ")
            .nth(1)
            .expect("found")
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits
            .parse()
            .unwrap_or_else(|_| panic!("a port in {line:?}"))
    }

    /// Where it can be reached.
    pub fn addr(&self) -> SocketAddr {
        (IpAddr::V4(Ipv4Addr::LOCALHOST), self.port()).into()
    }

    /// The events in its log so far, of one kind.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let log = self
            .log
            .as_ref()
            .map(|log| fs::read_to_string(log).unwrap_or_default())
            .unwrap_or_default();
        // the last line may be cut: it is being written
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["event"] == kind)
            .collect()
    }

    /// Waits for an event of this kind that fits.
    #[track_caller]
    pub fn until_event(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        until(&format!("an event {kind:?} from {self:?}"), || {
            self.events(kind).into_iter().find(&fits)
        })
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn until_ended(&mut self) -> ExitStatus {
        let status = until(&format!("the end of {self:?}"), || {
            self.child.try_wait().expect("a child")
        });
        self.readers
            .drain(..)
            .for_each(|reader| drop(reader.join()));
        status
    }

    /// Its number in the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}`, which printed\n{}",
            self.command,
            self.lines().join("\n")
        )
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{self:?}\n");
        }
        self.kill();
    }
}

/// Writes a file into a folder.
pub fn plant(dir: &Path, name: &str, content: &[u8]) {
    fs::write(dir.join(name), content).unwrap_or_else(|fault| panic!("{name:?}: {fault}"));
}

/// Sends bytes to a listener, and reads up to the close.
pub fn ask(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).expect("somebody listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let mut answer = Vec::new();
    // who refuses a message may close before all of it is written
    let _ = stream
        .write_all(bytes)
        .and_then(|()| stream.read_to_end(&mut answer));
    answer
}

/// What an original gets that asks a peer for this name.
pub fn ask_for(to: SocketAddr, filename: &str) -> Vec<u8> {
    ask(to, &to_bytes(&json!({ "filename": filename })))
}

/// The `.torrent` of this content.
pub fn torrent_of(name: &str, content: &[u8]) -> Torrent {
    Torrent::of_content(Name::parse(name).expect("a name"), content)
}

/// The `.torrent` with one word of one checkpoint wrong: that before piece 3.
pub fn with_wrong_list(torrent: &Torrent) -> Torrent {
    let mut wrong = serde_json::to_value(torrent).expect("JSON");
    let mut checkpoints = wrong["checkpoints"].as_str().expect("digits").to_owned();
    let at = 32 * 16 * 3 + 7;
    let digit = match &checkpoints[at..=at] {
        "0" => "1",
        _ => "0",
    };
    checkpoints.replace_range(at..=at, digit);
    wrong["checkpoints"] = checkpoints.into();
    serde_json::from_value(wrong).expect("a .torrent that looks well")
}

/// The message that publishes a file of one's own; who listens at this port is known by it.
pub fn publish_message(port: u16, torrent: Torrent) -> ToTracker {
    let file = Publication {
        torrent: Some(torrent.clone()),
        ..Publication::of(&torrent)
    };
    ToTracker::Publish {
        port,
        key: format!("key of {port}"),
        files: vec![file],
    }
}

/// What a tracker tells a peer of ours.
pub fn swarm_list(tracker: &Program) -> SwarmList {
    let ping = br#"{"msg": "ping", "port": 1, "v": 1}"#;
    match parse(&ask(tracker.addr(), ping)).expect("an answer") {
        PingAnswer::Ours(list) => list,
        other => panic!("{other:?}"),
    }
}
