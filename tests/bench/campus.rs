//! A campus at the tracker: many peers, each with some of one of many files, put into the roster without sockets, as ports
//! would run out.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use bittorrentish::bitfield::Bitfield;
use bittorrentish::md5::digest;
use bittorrentish::protocol::{Summary, VERSION};
use bittorrentish::roster::{Ends, Reach, Roster};
use bittorrentish::torrent::Name;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Of each file.
const PIECES: u32 = 1024;
/// Peers on one address: they have the ports from [`FIRST_PORT`] on.
pub const PORTS: usize = 60_000;
pub const FIRST_PORT: u16 = 1024;

/// So many peers, each with about half of one file.
pub struct Campus {
    pub n_peers: usize,
    pub n_files: usize,
}

impl Campus {
    pub fn roster(&self) -> Roster {
        let mut roster = Roster::new(Reach::Remote);
        for file in 0..self.n_files {
            let name = name(file);
            let md5 = digest(name.as_bytes());
            roster.load(Summary {
                name: Name::parse(&name).expect("a name"),
                size: u64::from(PIECES) << 16,
                md5,
                n_pieces: PIECES,
                publisher: "127.0.0.1:1024".to_owned(),
            });
        }
        let mut rng = StdRng::seed_from_u64(1);
        (0..self.n_peers).for_each(|peer| self.lists(&mut roster, peer, &mut rng));
        roster
    }

    fn lists(&self, roster: &mut Roster, peer: usize, rng: &mut StdRng) {
        let (digits, (from, port)) = (self.digits(peer, rng), way(peer));
        let listed = roster.set_list(from, port, Some(VERSION), Vec::new(), &digits);
        listed.expect("a fine list");
    }

    /// What a peer has.
    fn digits(&self, peer: usize, rng: &mut StdRng) -> BTreeMap<String, String> {
        let mut bits = Bitfield::new(PIECES);
        (0..PIECES).filter(|_| rng.random()).for_each(|idx| {
            bits.set(idx);
        });
        BTreeMap::from([(name(peer % self.n_files), bits.to_hex())])
    }

    /// What the tracker does under its lock, one after the other, and how long each took.
    pub fn holds(&self, roster: &mut Roster, turns: usize) -> Vec<(&'static str, Vec<Duration>)> {
        let rng = &mut StdRng::seed_from_u64(2);
        let mut clock = Clock::new();
        let [mut ours, mut originals, mut lists, mut sweeps] = [const { Vec::new() }; 4];
        for _ in 0..turns {
            let (from, port) = way(rng.random_range(0..self.n_peers));
            ours.extend(clock.time(|| {
                let joined = roster.append_client(from, port, Some(VERSION));
                (joined, roster.swarm_list(from, port, &[], rng))
            }));
            originals.extend(clock.time(|| roster.original_list(from, port, rng)));
            let peer = rng.random_range(0..self.n_peers);
            let (digits, (from, port)) = (self.digits(peer, rng), way(peer));
            let list = || roster.set_list(from, port, Some(VERSION), Vec::new(), &digits);
            lists.extend(clock.time(list));
        }
        // the first finds everybody, the second drops all
        for _ in 0..2 {
            let (mut sweep, mut dropped) = (roster.begin_sweep(), Vec::new());
            let mut more = true;
            while more {
                sweeps.extend(clock.time(|| more = roster.sweep_on(&mut sweep, &mut dropped)));
            }
        }
        vec![
            ("our ping", ours),
            ("an original's ping", originals),
            ("a list", lists),
            ("a step of a sweep", sweeps),
        ]
    }
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
fn way(peer: usize) -> (Ends, u16) {
    let own = IpAddr::from(Ipv4Addr::LOCALHOST);
    if peer < PORTS {
        return (Ends { peer: own, own }, FIRST_PORT + peer as u16);
    }
    let host = Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 0).to_bits() + peer as u32);
    let own = Ipv4Addr::new(10, 0, 0, 1).into();
    (
        Ends {
            peer: host.into(),
            own,
        },
        50_001,
    )
}
