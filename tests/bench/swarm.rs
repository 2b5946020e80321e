//! One seed hands one file to some peers that start together.

use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::network::Network;
use super::process::{cpu_time, status};
use super::support::{Program, Temp, random_bytes};

/// A swarm takes no longer than this.
const DEADLINE: Duration = Duration::from_secs(600);
/// The file's name.
pub const NAME: &str = "image.bin";

/// What is handed to how many, over which links.
#[derive(Clone)]
pub struct Work {
    pub mib: usize,
    pub peers: u8,
    pub net: Net,
    /// The seed hasn't hashed its file yet, and all start at the same moment.
    pub is_cold: bool,
    /// Each peer writes a log, which costs time.
    pub is_logged: bool,
}

/// Where the peers are.
#[derive(Clone)]
pub enum Net {
    /// All on this machine.
    Loopback,
    /// Each in a namespace of its own, with links as fast as the machine makes them.
    Unshaped,
    Shaped(Links),
}

/// How fast the links are, Mbit/s.
#[derive(Clone)]
pub struct Links {
    /// In turn.
    pub up: Vec<f64>,
    pub down: f64,
    pub seed_up: f64,
    /// The last peer comes so many seconds later.
    pub late_by: Option<f64>,
    /// Between any two peers, the seed included.
    pub round_trip: Option<Duration>,
    /// The second half of the peers is in another room, behind a trunk of this speed.
    pub trunk: Option<f64>,
}

impl Links {
    /// The speed of a peer's uplink.
    pub fn up_of(&self, i: u8) -> f64 {
        self.up[usize::from(i) % self.up.len()]
    }
}

impl Work {
    /// The links, where they have a speed.
    pub fn links(&self) -> Option<&Links> {
        match &self.net {
            Net::Shaped(links) => Some(links),
            Net::Loopback | Net::Unshaped => None,
        }
    }

    /// So many peers start together.
    pub fn n_together(&self) -> u8 {
        let is_one_late = self.links().is_some_and(|links| links.late_by.is_some());
        self.peers - u8::from(is_one_late)
    }
}

/// What it took.
pub struct Outcome {
    /// Seconds until each had it; the late one's are the last, from its own start.
    pub seconds: Vec<f64>,
    /// Seconds of CPU, of all peers and the seed.
    pub cpu: f64,
    /// The most memory of any peer, MiB.
    pub peak: f64,
    /// Bytes that came over the trunk; none where there is no trunk.
    pub crossed: u64,
    /// Seconds from when the seed had something to give until it had given the first piece, as its log tells.
    pub first_piece: f64,
    /// Requests and answers for each piece, as the peers' logs tell.
    pub messages: f64,
}

impl Outcome {
    /// What these peers took, and the seed since it had used `before`.
    pub fn of(
        seconds: Vec<f64>,
        before: f64,
        seed: u32,
        peers: &[u32],
        network: Option<&Network>,
    ) -> Self {
        Self {
            seconds,
            cpu: peers.iter().map(|peer| cpu(*peer)).sum::<f64>() + cpu(seed) - before,
            peak: peers.iter().map(|peer| peak(*peer)).fold(0.0, f64::max),
            crossed: network.and_then(Network::crossed).unwrap_or(0),
            first_piece: f64::NAN,
            messages: f64::NAN,
        }
    }

    /// Seconds until all had it that started together.
    pub fn last(&self, work: &Work) -> f64 {
        let together = &self.seconds[..usize::from(work.n_together())];
        together.iter().copied().fold(0.0, f64::max)
    }
}

/// Seconds of CPU that a process has used; none where /proc doesn't tell.
pub fn cpu(id: u32) -> f64 {
    cpu_time(id).unwrap_or_default().as_secs_f64()
}

/// The most memory that it had at any time, MiB.
fn peak(id: u32) -> f64 {
    status(id, "VmHWM").unwrap_or(0) as f64 / 1024.0
}

/// Where files cost no disk, if there is such a place.
pub fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// Fills a file with random bytes; it looks as if that had been a while ago.
pub fn fill(path: &Path, mib: usize) {
    let mut file = File::create(path).expect("room");
    for i in 0..mib {
        file.write_all(&random_bytes(1 << 20, i as u64))
            .expect("room");
    }
    let then = SystemTime::now() - Duration::from_secs(60);
    file.set_modified(then).expect("one's own file");
}

/// Waits until each has it, and starts the late one when it is its turn.
pub fn watch<P>(
    work: &Work,
    mut start: impl FnMut(u8) -> P,
    has: impl Fn(u8) -> bool,
) -> (Vec<P>, Vec<f64>) {
    let late_by = work.links().and_then(|links| links.late_by);
    let together = work.n_together();
    let begin = Instant::now();
    let mut began = vec![begin; usize::from(together)];
    let mut peers: Vec<P> = (0..together).map(&mut start).collect();
    let mut seconds: Vec<Option<f64>> = vec![None; usize::from(work.peers)];
    while seconds.iter().any(Option::is_none) {
        assert!(begin.elapsed() < DEADLINE, "it never ended: {seconds:?}");
        if late_by
            .is_some_and(|by| peers.len() < seconds.len() && begin.elapsed().as_secs_f64() > by)
        {
            began.push(Instant::now());
            peers.push(start(together));
        }
        for (i, began) in (0..).zip(&began) {
            let done = &mut seconds[usize::from(i)];
            if done.is_none() && has(i) {
                *done = Some(began.elapsed().as_secs_f64());
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    (peers, seconds.into_iter().flatten().collect())
}

/// This project's programs. Unless the work is cold, the seed has hashed its file before anything is counted.
pub fn ours(work: &Work) -> Outcome {
    let temp = Temp::within(&memory());
    let network = Network::of(work).expect("root and iproute2");
    let lab = network.as_ref().map(|network| &network.lab);
    let (tracker_host, tracker_ip) = match lab {
        Some(lab) => (
            Some(lab.ns(work.peers + 1)),
            IpAddr::from(lab.addr(work.peers + 1)),
        ),
        None => (None, IpAddr::from([127, 0, 0, 1])),
    };
    let torrents = temp.dir("torrents");
    let torrents = torrents.to_str().expect("UTF-8");
    let tracker = Program::start_on(
        tracker_host.as_deref(),
        "server",
        &["--remote", "--port", "0", "--torrents", torrents],
    );
    let (at, port) = (tracker_ip.to_string(), tracker.port().to_string());
    let client = |host: u8, dir: &Path| {
        let mut args = vec![&*at, &port, dir.to_str().expect("UTF-8")];
        let log = temp.path().join(format!("log{host}"));
        if work.is_logged {
            args.extend(["--log", log.to_str().expect("UTF-8")]);
        }
        let host = lab.map(|lab| lab.ns(host));
        Program::start_on(host.as_deref(), "client", &args)
    };

    let source = temp.dir("seed");
    fill(&source.join(NAME), work.mib);
    let seed = client(0, &source);
    if !work.is_cold {
        tracker.until_line("published image.bin");
    }
    let before = cpu(seed.id());

    let dir = |i: u8| temp.path().join(format!("p{i}"));
    let start = |i: u8| client(i + 1, &dir(i));
    let (peers, seconds) = watch(work, start, |i| dir(i).join(NAME).exists());

    let ids: Vec<u32> = peers.iter().map(Program::id).collect();
    let mut outcome = Outcome::of(seconds, before, seed.id(), &ids, network.as_ref());
    if work.is_logged {
        outcome.first_piece = first_piece(&seed);
        outcome.messages = messages(&peers);
    }
    outcome
}

/// How long after it had something to give, a head or the published file, the seed had given a piece of it.
fn first_piece(seed: &Program) -> f64 {
    let at = |kind: &str| seed.events(kind).first()?["t"].as_f64();
    let times = at("head").or(at("published")).zip(at("gave"));
    times.map_or(f64::NAN, |(has, gave)| gave - has)
}

/// Requests and their answers for each piece of the files that came whole.
fn messages(peers: &[Program]) -> f64 {
    let whole: Vec<Value> = peers
        .iter()
        .flat_map(|peer| peer.events("complete"))
        .collect();
    let sum = |of: &str| -> f64 { whole.iter().filter_map(|event| event[of].as_f64()).sum() };
    2.0 * sum("requests") / sum("n_pieces")
}

/// The file's bits, and the headers around them, in Mbit.
fn mbit(work: &Work) -> f64 {
    /// Bytes of a file in 1,514 bytes of Ethernet.
    const GOODPUT: f64 = 0.956;
    (work.mib << 20) as f64 * 8e-6 / GOODPUT
}

/// Kurose and Ross's lower bound for the peers that start together, seconds, on the goodput that one TCP flow gets.
pub fn bound(work: &Work) -> f64 {
    let links = work.links().expect("only links have a bound");
    let (n, file) = (work.n_together(), mbit(work));
    let ups: f64 = (0..n).map(|i| links.up_of(i)).sum();
    let all = f64::from(n) * file / (links.seed_up + ups);
    (file / links.seed_up).max(file / links.down).max(all)
}

/// The same for one that comes late: its own downlink, or what is left of the others' bound.
pub fn bound_of_late(work: &Work) -> f64 {
    let links = work.links().expect("only links have a bound");
    let rest = bound(work) - links.late_by.unwrap_or(0.0);
    rest.max(mbit(work) / links.down)
}
