//! A campus at the tracker: many peers, each with some of one of many files, put into the roster without sockets, as ports
//! would run out.

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use bittorrentish::bitfield::Bitfield;
use bittorrentish::content::Verdict;
use bittorrentish::md5::digest;
use bittorrentish::protocol::{PeerList, Summary, VERSION};
use bittorrentish::roster::{Endpoints, NAMES_PER_LIST, Reachability, Record, Roster};
use bittorrentish::torrent::Name;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Of each file.
const PIECES: u32 = 1024;
/// Peers on one address: they have the ports from [`FIRST_PORT`] on.
pub const PORTS: usize = 60_000;
pub const FIRST_PORT: u16 = 1024;

/// How long the lock was held for one thing, each time.
type Held = (&'static str, Vec<Duration>);

/// So many peers, each with about half of one file.
pub struct Campus {
    pub n_peers: usize,
    pub n_files: usize,
}

impl Campus {
    pub fn roster(&self) -> Roster {
        let mut roster = Roster::new(Reachability::Remote);
        (0..self.n_files).for_each(|file| roster.load(record(&name(file))));
        let mut rng = StdRng::seed_from_u64(1);
        (0..self.n_peers).for_each(|peer| self.lists(&mut roster, peer, &mut rng));
        roster
    }

    fn lists(&self, roster: &mut Roster, peer: usize, rng: &mut StdRng) {
        let (list, (from, port)) = (self.list(peer, rng), way(peer));
        let listed = roster.set_list(from, port, Some(VERSION), &list);
        listed.expect("a fine list");
    }

    /// What a peer has.
    fn list(&self, peer: usize, rng: &mut StdRng) -> PeerList {
        let mut bits = Bitfield::new(PIECES);
        (0..PIECES).filter(|_| rng.random()).for_each(|idx| {
            bits.set(idx);
        });
        PeerList {
            pieces: BTreeMap::from([(name(peer % self.n_files), bits.to_hex())]),
            ..PeerList::default()
        }
    }

    /// Nearly everybody is told of once, so that what is kept ready is there.
    pub fn is_told(&self, roster: &mut Roster) {
        let rng = &mut StdRng::seed_from_u64(3);
        for peer in (0..self.n_peers).step_by(10) {
            let (from, port) = way(peer);
            let list = roster.swarm_list(from, port, &[], None, rng);
            assert!(!list.to_bytes(Duration::ZERO).is_empty());
        }
    }

    /// What the tracker does under its lock, one after the other, and how long each took.
    pub fn holds(&self, roster: &mut Roster, turns: usize) -> Vec<Held> {
        let rng = &mut StdRng::seed_from_u64(2);
        let mut clock = Clock::new();
        let [mut ours, mut originals, mut lists] = [const { Vec::new() }; 3];
        for _ in 0..turns {
            let (from, port) = way(rng.random_range(0..self.n_peers));
            ours.extend(clock.time(|| {
                let joined = roster.append_client(from, port, Some(VERSION));
                (joined, roster.swarm_list(from, port, &[], None, rng))
            }));
            originals.extend(clock.time(|| roster.original_list(from, port, rng)));
            let peer = rng.random_range(0..self.n_peers);
            let (list, (from, port)) = (self.list(peer, rng), way(peer));
            lists.extend(clock.time(|| roster.set_list(from, port, Some(VERSION), &list)));
        }
        let mut held = vec![
            ("our ping", ours),
            ("an original's ping", originals),
            ("a list", lists),
        ];
        // what the machine itself makes of some 40 µs of arithmetic
        let count = || (0..60_000_u64).fold(1, |n, add| black_box(n + add));
        held.push((
            "no lock, a plain count",
            (0..turns).filter_map(|_| clock.time(count)).collect(),
        ));
        held.extend(self.rare(roster, &mut clock));
        // the first finds everybody, the second drops all, and then they come back
        let mut sweeps = Vec::new();
        for _ in 0..10 {
            for _ in 0..2 {
                sweeps.extend(clock.time(|| roster.update_peer_list()));
            }
            (0..self.n_peers).for_each(|peer| self.lists(roster, peer, rng));
        }
        held.push(("a sweep, none and then all", sweeps));
        held
    }

    /// What comes seldom, and takes longer: the longest lists, and files that are published while many have them.
    fn rare(&self, roster: &mut Roster, clock: &mut Clock) -> Vec<Held> {
        let rng = &mut StdRng::seed_from_u64(4);
        let (from, port) = way(self.n_peers);
        let [mut lists, mut pings, mut publishings] = [const { Vec::new() }; 3];
        let names = |prefix: &str| {
            (0..NAMES_PER_LIST)
                .map(|n| format!("{prefix}-{n}"))
                .collect()
        };
        let named: Vec<String> = names("document");
        named.iter().for_each(|name| roster.load(record(name)));
        for names in [named, names("unknown"), Vec::new()] {
            for _ in 0..3 {
                let files = names.clone();
                let list = PeerList {
                    files,
                    ..PeerList::default()
                };
                lists.extend(clock.time(|| roster.set_list(from, port, Some(VERSION), &list)));
                let (other, port) = way(0);
                pings.extend(clock.time(|| roster.swarm_list(other, port, &[], None, rng)));
            }
        }
        let publisher = SocketAddr::from(([127, 0, 0, 1], FIRST_PORT));
        for file in (0..self.n_files.max(5)).map(|file| file % self.n_files) {
            for verdict in [Verdict::New, Verdict::Same { credited: true }] {
                let record = record(&name(file));
                publishings.extend(clock.time(|| roster.publish(publisher, record, verdict)));
            }
        }
        vec![
            ("a list of 10,000", lists),
            ("our ping, 10,000 files new", pings),
            ("a publishing", publishings),
        ]
    }
}

/// The record of a file in as many pieces as all have.
fn record(name: &str) -> Record {
    let key = Some("key".to_owned());
    let summary = Summary {
        name: Name::parse(name).expect("a name"),
        size: u64::from(PIECES) << 16,
        md5: digest(name.as_bytes()),
        n_pieces: PIECES,
        publisher: "127.0.0.1:1024".to_owned(),
        published: 0,
        checkpoints: None,
        here: false,
        pinned: false,
        others: Vec::new(),
        head_of: None,
    };
    Record { summary, key }
}

/// Times what nobody interrupts: whoever else uses the cores would be measured otherwise.
struct Clock {
    status: File,
    text: Vec<u8>,
}

impl Clock {
    fn new() -> Self {
        let status = File::open("/proc/thread-self/status").expect("Linux");
        let text = vec![0; 4096];
        Self { status, text }
    }

    /// How long it took; `None` where the system gave the core to another meanwhile.
    fn time<T>(&mut self, act: impl FnOnce() -> T) -> Option<Duration> {
        let before = self.interruptions();
        let start = Instant::now();
        let done = act();
        let took = start.elapsed();
        drop(done);
        (self.interruptions() == before).then_some(took)
    }

    fn interruptions(&mut self) -> Option<String> {
        let len = self.status.read_at(&mut self.text, 0).ok()?;
        let text = str::from_utf8(&self.text[..len]).ok()?;
        let line = text.lines().find(|line| line.starts_with("nonvoluntary"));
        line.map(str::to_owned)
    }
}

fn name(file: usize) -> String {
    format!("image-{file}.iso")
}

/// How a peer comes: the first over loopback, the others from addresses of their own.
fn way(peer: usize) -> (Endpoints, u16) {
    let own = IpAddr::from(Ipv4Addr::LOCALHOST);
    if peer < PORTS {
        return (Endpoints { peer: own, own }, FIRST_PORT + peer as u16);
    }
    let host = Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 0).to_bits() + peer as u32);
    let own = Ipv4Addr::new(10, 0, 0, 1).into();
    (
        Endpoints {
            peer: host.into(),
            own,
        },
        50_001,
    )
}
