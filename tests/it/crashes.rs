//! Rounds of crashes: programs chosen at random are killed at random moments of a transfer, and started again or not.
//!
//! `BITTORRENTISH_ROUNDS=50 cargo test --test it crashes:: -- --nocapture` runs more of them than usual. A round that fails
//! tells its number; `BITTORRENTISH_CRASHES=<number>` makes the same choices again, though no two runs are alike to the
//! millisecond.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use bittorrentish::md5::{Digest, digest};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::support::{Program, Temp, md5_of, plant, random_bytes, until, until_content};

const FILE: &str = "image.iso";
const N_PIECES: usize = 64;
/// The program of each number, and the folder that it works on.
const PROGRAMS: [&str; 5] = ["tracker", "seed", "a", "b", "c"];
const TRACKER: usize = 0;
const SEED: usize = 1;
const PEERS: std::ops::Range<usize> = 2..5;

/// One swarm, from its start until all is whole.
struct Round {
    dir: Temp,
    content: Vec<u8>,
    md5: Digest,
    port: u16,
    running: [Option<Program>; 5],
    starts: [usize; 5],
    kills: [usize; 5],
}

impl Round {
    fn new(number: u64) -> Self {
        let dir = Temp::new();
        let content = random_bytes(N_PIECES * (64 << 10), number);
        plant(&dir.dir(PROGRAMS[SEED]), FILE, &content);
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        Self {
            dir,
            md5: digest(&content),
            content,
            port: free.expect("a free port").port(),
            running: Default::default(),
            starts: [0; 5],
            kills: [0; 5],
        }
    }

    /// Starts a program, each time by the same command.
    fn start(&mut self, program: usize) {
        let dir = self.dir.dir(PROGRAMS[program]);
        let started = match program {
            TRACKER => Program::tracker_at(self.port, &dir, &["--sweep-every", "2"]),
            SEED => Program::peer_at("127.0.0.1", self.port, &dir, &["--max-up", "2M"]),
            _ => Program::peer_at("127.0.0.1", self.port, &dir, &["--max-up", "1M"]),
        };
        self.running[program] = Some(started);
        self.starts[program] += 1;
    }

    fn kill(&mut self, program: usize) {
        let mut killed = self.running[program].take().expect("it runs");
        killed.kill();
        self.kills[program] += 1;
        self.check_names();
    }

    /// The file at one of the peers.
    fn file(&self, peer: usize) -> PathBuf {
        self.dir.dir(PROGRAMS[peer]).join(FILE)
    }

    /// What has its final name is right, and nothing else is in sight.
    fn check_names(&self) {
        for peer in &PROGRAMS[SEED..] {
            let dir = self.dir.dir(peer);
            for entry in fs::read_dir(&dir).expect("a folder") {
                let name = entry.expect("an entry").file_name();
                let known = name == FILE || name == ".bittorrentish";
                assert!(known, "{name:?} at {peer}");
            }
            if let Some(md5) = md5_of(&dir.join(FILE)) {
                assert_eq!(md5, self.md5, "{FILE} at {peer}");
            }
        }
    }

    /// Kills some at random; who isn't started again soon is so in the end.
    fn crash(&mut self, rng: &mut StdRng) {
        for _ in 0..rng.random_range(4..=8) {
            // not to wait for anything: a kill comes when it comes
            thread::sleep(Duration::from_millis(rng.random_range(10..700)));
            let (up, down): (Vec<usize>, Vec<usize>) =
                (0..PROGRAMS.len()).partition(|program| self.running[*program].is_some());
            if let Some(program) = down.choose(rng).filter(|_| rng.random_bool(0.5)) {
                self.start(*program);
            }
            if let Some(program) = up.choose(rng) {
                self.kill(*program);
                if rng.random_bool(0.5) {
                    self.start(*program);
                }
            }
        }
    }

    /// What the log of a peer says of all its runs. A piece is told of after it was written, and what a program has
    /// written survives its end, though not that of the machine. So no piece that was told of comes a second time: the
    /// number of those is exactly 0. Of what came, a kill loses only what was told of nowhere: pieces on the wire, for
    /// they are not here yet, and pieces written but not told of, for these are found. Of the latter each connection has
    /// one at most, and there is one connection to each program that was started.
    fn check_log(&self, peer: usize) -> Found {
        let log = self.dir.path().join(PROGRAMS[peer]).with_extension("log");
        let (mut told, mut found) = (BTreeSet::new(), Found::default());
        for line in fs::read_to_string(log).expect("its log").lines() {
            // a kill may have cut a line off, to which the next run appended
            let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
                continue;
            };
            if event["event"] == "piece" {
                found.repeats +=
                    usize::from(!told.insert(event["idx"].as_u64().expect("a number")));
            } else if event["event"] == "begin" {
                let here = event["here"].as_u64().expect("a number") as usize;
                assert!(here >= told.len(), "{} were told of: {event}", told.len());
                found.untold = here - told.len();
            }
        }
        assert_eq!(found.repeats, 0, "at {}", PROGRAMS[peer]);
        let others = SEED..PROGRAMS.len();
        let connections: usize = others
            .filter(|other| *other != peer)
            .map(|other| self.starts[other])
            .sum();
        assert!(found.untold <= connections * self.kills[peer], "{found:?}");
        found
    }
}

/// What a peer's log shows of its crashes.
#[derive(Debug, Default)]
struct Found {
    /// Pieces that were told of, and came again.
    repeats: usize,
    /// Pieces that were here at the last start, and hadn't been told of.
    untold: usize,
}

/// A number from the environment.
fn from_env<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whoever_is_killed_and_whenever_all_end_with_the_right_file() {
    let rounds: usize = from_env("BITTORRENTISH_ROUNDS").unwrap_or(2);
    let given: Option<u64> = from_env("BITTORRENTISH_CRASHES");
    let start = Instant::now();
    let (mut kills, mut repeats, mut untold) = (0, 0, 0);
    for n in 1..=rounds {
        let number = given.unwrap_or_else(rand::random);
        eprintln!("round {n}: BITTORRENTISH_CRASHES={number}");
        let mut rng = StdRng::seed_from_u64(number);
        let mut round = Round::new(number);
        round.start(TRACKER);
        round.start(SEED);
        let seed = round.running[SEED].as_ref().expect("started");
        seed.until_event("list_sent", |event| event["n_files"] == 1);
        PEERS.for_each(|peer| round.start(peer));
        round.crash(&mut rng);
        for program in 0..PROGRAMS.len() {
            if round.running[program].is_none() {
                round.start(program);
            }
        }
        PEERS.for_each(|peer| until_content(&round.file(peer), &round.content));
        round.check_names();
        for found in PEERS.map(|peer| round.check_log(peer)) {
            repeats += found.repeats;
            untold += found.untold;
        }
        kills += round.kills.iter().sum::<usize>();
        eprintln!("round {n}: kills of {PROGRAMS:?}: {:?}", round.kills);
    }
    let took = start.elapsed().as_secs_f64();
    eprintln!(
        "{rounds} rounds, {kills} kills, {repeats} pieces came twice, {untold} were found that had not been told of, {took:.1} s"
    );
}

/// As a laptop does that is closed in the middle: nothing runs, and the clock goes on.
#[test]
fn who_slept_in_the_middle_goes_on() {
    let dir = Temp::new();
    let content = random_bytes(N_PIECES * (64 << 10), 1);
    let tracker = Program::tracker(&dir.dir("torrents"), &["--sweep-every", "1"]);
    plant(&dir.dir("seed"), FILE, &content);
    let seed = Program::peer(&tracker, &dir.dir("seed"), &["--max-up", "2M"]);
    seed.until_line("the tracker has the .torrent");
    let peer = Program::peer(&tracker, &dir.dir("a"), &[]);
    peer.until_event("piece", |_| true);
    let signal = |signal: &str| {
        let kill = Command::new("kill")
            .args([signal, &peer.id().to_string()])
            .status();
        assert!(kill.is_ok_and(|status| status.success()), "kill {signal}");
    };
    signal("-STOP");
    let asleep = peer.events("piece").len();
    assert!(asleep < N_PIECES, "it was too fast");
    // long enough for the tracker to forget it
    until("the sweep that drops it", || {
        let port = format!(":{}", peer.port());
        let gone = |line: &String| line.contains("gone") && line.contains(&port);
        tracker.lines().iter().any(gone).then_some(())
    });
    signal("-CONT");
    until_content(&dir.path().join("a").join(FILE), &content);
}
