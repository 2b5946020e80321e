//! The tracker beside opentracker: exchanges a second, and what a whole campus costs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bittorrentish::md5::digest;
use bittorrentish::protocol::{Brake, FilePace, FileReport, MachineReport, ToTracker, to_bytes};
use bittorrentish::report::Report;
use bittorrentish::roster::{Reachability, Roster};
use bittorrentish::torrent::Name;
use bittorrentish::tracker::{Tracker, TrackerConfig};

use super::campus::{Campus, FIRST_PORT, PORTS};
use super::opentracker::Opentracker;
use super::support::Temp;
use super::{median, rounds};

/// As many as send at a time.
const THREADS: usize = 8;
/// How long one rate is measured for.
const TIME: Duration = Duration::from_secs(3);
/// The time between two reports of a peer while something moves.
const REPORT_EVERY: Duration = Duration::from_secs(3);

/// What one rate was.
pub struct Rate {
    /// Exchanges a second.
    rate: f64,
    /// Bytes of an answer.
    bytes: f64,
    /// 99 in 100 took less, ms.
    most: f64,
    failed: usize,
}

const OURS: &str = r#"{"port": %, "msg": "ping", "v": 1}"#;
const ORIGINAL: &str = r#"{"port": %, "msg": "ping"}"#;

/// Our tracker in this process, with peers that never were there.
struct Ours {
    tracker: Tracker,
    n_peers: usize,
    _dir: Temp,
}

impl Ours {
    fn start(campus: &Campus) -> Self {
        let dir = Temp::new();
        let config = TrackerConfig {
            reach: Reachability::Remote,
            torrents: dir.path().to_owned(),
            // those who never ping are to stay
            sweep_every: Duration::from_secs(3600),
            client: String::new(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let roster = campus.roster();
        let tracker = Tracker::start_with(roster, config, listener, Report::silent());
        Self {
            tracker: tracker.expect("a tracker"),
            n_peers: campus.n_peers.min(PORTS),
            _dir: dir,
        }
    }

    /// Its peers ping.
    fn rate(&self) -> Rate {
        rate(self.tracker.addr(), OURS, FIRST_PORT, self.n_peers)
    }

    /// The same, while each of its peers reports how far it is every 3 s, too.
    fn rate_beside_reports(&self) -> Rate {
        let is_over = AtomicBool::new(false);
        let reporting = || {
            let (start, mut buffer) = (Instant::now(), vec![0; 4096]);
            for n in 0.. {
                let due = start + REPORT_EVERY * n / self.n_peers as u32;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let report = to_bytes(&ToTracker::Report(report(n, self.n_peers)));
                let answer = exchange(self.tracker.addr(), &report, &mut buffer);
                answer.expect("the tracker takes it");
            }
        };
        thread::scope(|scope| {
            scope.spawn(reporting);
            let rate = self.rate();
            is_over.store(true, Ordering::Relaxed);
            rate
        })
    }

    /// As many originals do, from other ports.
    fn originals(&self) -> Rate {
        let first = FIRST_PORT + PORTS as u16;
        rate(self.tracker.addr(), ORIGINAL, first, 1000)
    }
}

/// The `n`th report: a file on its way, from one peer after the other.
fn report(n: u32, n_peers: usize) -> MachineReport {
    let peer = n as usize % n_peers;
    let file = FileReport {
        name: Name::parse("image.iso").expect("a name"),
        md5: Some(digest(b"image")),
        size: 4 << 30,
        here: u64::from(n) << 20,
        whole: false,
        mine: false,
        unconfirmed: false,
        speed: 1e7,
        left: Some(60.0),
        state: "from 40 peers".to_owned(),
        pace: FilePace {
            up: 1e7,
            best_up: 1.2e7,
            best_down: 1.2e7,
            brake: Some(Brake::Seeders),
        },
    };
    MachineReport {
        port: FIRST_PORT + peer as u16,
        host: format!("pc{peer}"),
        folder: None,
        files: vec![file],
        ended: None,
    }
}

/// Connect, ask, read to the end, close: each thread again and again. A `%` in the request is the peer's port.
pub fn rate(at: SocketAddr, request: &str, first: u16, n_peers: usize) -> Rate {
    let start = Instant::now();
    let one = |thread: usize| {
        let (mut took, mut bytes, mut failed) = (Vec::new(), 0, 0);
        let mut buffer = vec![0; 64 << 10];
        for turn in thread * 7919.. {
            let begin = Instant::now();
            if begin - start > TIME {
                break;
            }
            let port = usize::from(first) + turn % n_peers;
            let request = request.replace('%', &port.to_string());
            match exchange(at, request.as_bytes(), &mut buffer) {
                Ok(len @ 1..) => (bytes, _) = (bytes + len, took.push(begin.elapsed())),
                _ => failed += 1,
            }
        }
        (took, bytes, failed)
    };
    let all: Vec<_> = thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || one(n))).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|ended| ended.expect("no panic")).collect()
    });
    let mut took: Vec<Duration> = all.iter().flat_map(|(took, ..)| took.clone()).collect();
    took.sort_unstable();
    let bytes: usize = all.iter().map(|(_, bytes, _)| bytes).sum();
    let most = took.get(took.len() * 99 / 100);
    Rate {
        rate: took.len() as f64 / start.elapsed().as_secs_f64(),
        bytes: bytes as f64 / took.len().max(1) as f64,
        most: most.map_or(f64::NAN, |most| most.as_secs_f64() * 1e3),
        failed: all.iter().map(|(.., failed)| failed).sum(),
    }
}

fn exchange(at: SocketAddr, request: &[u8], buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request)?;
    let mut len = 0;
    loop {
        match stream.read(buffer)? {
            0 => return Ok(len),
            n => len += n,
        }
    }
}

fn row(name: &str, of: &[Rate], beside: Option<f64>) -> f64 {
    let middle = |figure: fn(&Rate) -> f64| median(of.iter().map(figure).collect());
    let rate = middle(|rate| rate.rate);
    let beside = beside.map_or(String::new(), |other| format!("{:.2}", rate / other));
    println!(
        "  {name:28} {rate:8.0}   {:8.0}   {:7.2}   {:6}   {beside}",
        middle(|rate| rate.bytes),
        middle(|rate| rate.most),
        of.iter().map(|rate| rate.failed).sum::<usize>(),
    );
    rate
}

/// 1,000 peers of one file: exchanges a second, in turn with opentracker.
pub fn run() {
    let ours = Ours::start(&Campus {
        n_peers: 1000,
        n_files: 1,
    });
    let opentracker = Opentracker::start();
    let [mut us, mut beside_reports, mut originals, mut them] = [const { Vec::new() }; 4];
    for _ in 0..rounds() {
        us.push(ours.rate());
        beside_reports.push(ours.rate_beside_reports());
        them.extend(opentracker.iter().map(|it| it.rate(1000)));
        originals.push(ours.originals());
        them.extend(opentracker.iter().map(|it| it.rate(1000)));
    }
    println!(
        "                                      a s      bytes    99 %, ms   failed   over opentracker's"
    );
    let beside = opentracker
        .as_ref()
        .map(|_| row("opentracker, 50 peers", &them, None));
    row("our ping, 50 with pieces", &us, beside);
    row("the same, and 333 reports", &beside_reports, beside);
    row("an original's ping", &originals, beside);
    if opentracker.is_none() {
        println!("  opentracker isn't installed");
    }
}

/// 10,000 peers of 100 files beside 1,000 of one: rates, memory, and how long the lock is held.
pub fn scale() {
    let small = Campus {
        n_peers: 1000,
        n_files: 1,
    };
    let large = Campus {
        n_peers: 10_000,
        n_files: 100,
    };
    let one_file = Campus {
        n_files: 1,
        ..large
    };
    let before = resident();
    let mut roster = large.roster();
    large.is_told(&mut roster);
    let used = (resident() - before) / large.n_peers as f64;
    println!("  {used:.0} bytes for each peer, with its bitfield");
    for (campus, mut roster) in [(&large, roster), (&one_file, one_file.roster())] {
        campus.print_holds(&mut roster);
    }
    let (small, large) = (Ours::start(&small), Ours::start(&large));
    let [mut few, mut many, mut originals] = [const { Vec::new() }; 3];
    for _ in 0..rounds() {
        few.push(small.rate());
        many.push(large.rate());
        originals.push(large.originals());
    }
    println!(
        "                                      a s      bytes    99 %, ms   failed   over 1,000's"
    );
    let beside = Some(row("1,000 peers, our ping", &few, None));
    row("10,000 peers, our ping", &many, beside);
    row("10,000, an original's ping", &originals, None);
}

impl Campus {
    /// How long the lock is held for each thing that the tracker does.
    fn print_holds(&self, roster: &mut Roster) {
        println!("  {} peers of {} files", self.n_peers, self.n_files);
        println!("  the lock is held, µs:            median      99 %    99.9 %      most");
        for (name, mut took) in self.holds(roster, 20_000) {
            took.sort_unstable();
            let at =
                |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
            println!(
                "  {name:26} {:12.1} {:9.1} {:9.1} {:9.1}",
                at(0.5),
                at(0.99),
                at(0.999),
                at(1.0)
            );
        }
    }
}

/// Bytes of memory that this process has.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|n| n.parse::<f64>().ok());
    pages.unwrap_or(f64::NAN) * 4096.0
}
