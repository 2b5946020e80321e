//! What networks do to a transfer that is under way: links that go down, a swarm in two, new addresses, machines that are
//! gone from one moment to the next. The links are slow enough for the fault to fall into the middle.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde_json::Value;

use super::lab::{Lab, lab};
use super::support::{Program, QUICK, Temp, plant, random_bytes, until, until_content};

const FILE: &str = "image.iso";
const PIECE: usize = 64 << 10;
/// Hosts with a part of their own; the leechers' are those behind them.
const TRACKER: u8 = 0;
const SEED: u8 = 1;

/// A tracker, a seed and leechers, each on a host of its own.
struct Swarm {
    tracker: Program,
    seed: Program,
    leechers: Vec<Program>,
    content: Vec<u8>,
    dir: Temp,
    // goes last: connections of programs that end without a network linger for minutes
    lab: Lab,
}

impl Swarm {
    /// So many leechers that have begun a file of so many pieces; the seed sends `up` Mbit/s, all others `theirs`, and all
    /// receive twice as much. There is room for one who comes late. None where this machine has no hosts for us.
    fn new(n_leechers: u8, n_pieces: usize, up: f64, theirs: f64) -> Option<Self> {
        let lab = lab(n_leechers + 3)?;
        for i in SEED..n_leechers + 3 {
            let up = if i == SEED { up } else { theirs };
            lab.shape(i, up, 2.0 * up).expect("a shaped link");
        }
        let dir = Temp::new();
        let torrents = dir.dir("torrents");
        let torrents = torrents.to_str().expect("UTF-8");
        let flags = ["--remote", "--torrents", torrents, "--sweep-every", "1"];
        let tracker = lab.start(TRACKER, "server", &flags);
        tracker.until_line("listening on port 29283");
        let content = random_bytes(n_pieces * PIECE, 1);
        plant(&dir.dir(&format!("host{SEED}")), FILE, &content);
        let seed = peer(&lab, &dir, SEED);
        seed.until_event("list_sent", |event| event["n_files"] == 1);
        let hosts = SEED + 1..=SEED + n_leechers;
        let leechers: Vec<_> = hosts.map(|i| peer(&lab, &dir, i)).collect();
        Some(Self {
            lab,
            dir,
            content,
            tracker,
            seed,
            leechers,
        })
    }

    /// The host of a leecher.
    fn host(&self, leecher: usize) -> u8 {
        SEED + 1 + leecher as u8
    }

    /// The peer that comes late.
    fn late(&self) -> Program {
        peer(&self.lab, &self.dir, self.host(self.leechers.len()))
    }

    fn file(&self, host: u8) -> PathBuf {
        self.dir.dir(&format!("host{host}")).join(FILE)
    }

    /// Waits until this leecher has so many pieces.
    #[track_caller]
    fn until_has(&self, leecher: usize, n: usize) {
        self.leechers[leecher]
            .until_event("piece", |event| event["have"].as_u64() >= Some(n as u64));
    }

    #[track_caller]
    fn until_complete(&self, leecher: usize) {
        self.leechers[leecher].until_event("complete", |_| true);
        until_content(&self.file(self.host(leecher)), &self.content);
    }
}

/// A peer on a host, which works on the folder of that host.
fn peer(lab: &Lab, dir: &Temp, host: u8) -> Program {
    let folder = dir.dir(&format!("host{host}"));
    let log = folder.with_extension("log");
    let tracker = lab.addr(TRACKER).to_string();
    let paths = [&folder, &log].map(|path| path.to_str().expect("UTF-8"));
    let args = [&tracker, "29283", paths[0], "--log", paths[1]];
    lab.start(host, "client", &[&args[..], &QUICK].concat())
}

/// The pieces that came.
fn pieces(peer: &Program) -> BTreeSet<u64> {
    let events = peer.events("piece");
    events
        .iter()
        .filter_map(|event| event["idx"].as_u64())
        .collect()
}

fn is_complete(peer: &Program) -> bool {
    !peer.events("complete").is_empty()
}

/// Whether an event tells of a peer at this address.
fn is_at(event: &Value, addr: Ipv4Addr) -> bool {
    let peer = event["peer"].as_str();
    peer.is_some_and(|peer| peer.starts_with(&format!("{addr}:")))
}

#[test]
fn a_link_goes_down_in_the_middle_and_comes_back() {
    let Some(swarm) = Swarm::new(2, 96, 20.0, 20.0) else {
        return;
    };
    swarm.until_has(0, 24);
    swarm.lab.link(swarm.host(0), false);
    // what is down holds up nobody else
    swarm.until_complete(1);
    assert!(!is_complete(&swarm.leechers[0]), "it was cut off in time");
    swarm.lab.link(swarm.host(0), true);
    swarm.until_complete(0);
}

#[test]
fn a_swarm_in_two_parts_heals() {
    let Some(swarm) = Swarm::new(4, 96, 20.0, 20.0) else {
        return;
    };
    (0..4).for_each(|leecher| swarm.until_has(leecher, 16));
    let cut_off = [swarm.host(2), swarm.host(3)];
    swarm.lab.split(&cut_off);
    (0..2).for_each(|leecher| swarm.until_complete(leecher));
    // without tracker and seed, these two go on with each other
    until("what one of them has is with the other, too", || {
        (pieces(&swarm.leechers[2]) == pieces(&swarm.leechers[3])).then_some(())
    });
    let alone = pieces(&swarm.leechers[2]).len();
    assert!(alone < 96, "they were cut off in time");
    swarm.lab.rejoin(&cut_off);
    (2..4).for_each(|leecher| swarm.until_complete(leecher));
}

#[test]
fn a_peer_gets_another_address_in_the_middle() {
    let Some(mut swarm) = Swarm::new(2, 96, 20.0, 20.0) else {
        return;
    };
    swarm.until_has(0, 24);
    let addr = swarm.lab.readdress(swarm.host(0));
    assert!(!is_complete(&swarm.leechers[0]), "it moved in time");
    (0..2).for_each(|leecher| swarm.until_complete(leecher));
    // it noticed by itself, and didn't wait until its old connections ended in time
    let waited = |event: &Value| event["why"] == "nothing came in time";
    let lost = swarm.leechers[0].events("lost");
    assert!(!lost.iter().any(waited), "{lost:?}");
    let own = "this machine has another address by now";
    assert!(lost.iter().any(|event| event["why"] == own), "{lost:?}");
    let closed = |event: &Value| event["cause"] == "closed_early";
    assert!(!lost.iter().any(closed), "{lost:?}");
    // where it is now, it is a source like any other
    swarm.seed.kill();
    swarm.leechers[1].kill();
    let late = swarm.late();
    late.until_event("complete", |_| true);
    until_content(&swarm.file(swarm.host(2)), &swarm.content);
    let came = late.events("piece");
    assert!(came.len() == 96 && came.iter().all(|event| is_at(event, addr)));
}

/// The seed is lost once all pieces are out, none of the leechers having all of them.
fn without_the_seed(lose: impl Fn(&mut Swarm)) {
    // the leechers are slow, so that they are long from done when the seed is
    let Some(mut swarm) = Swarm::new(3, 64, 30.0, 8.0) else {
        return;
    };
    until("each piece at one leecher at least", || {
        let out: BTreeSet<u64> = swarm.leechers.iter().flat_map(pieces).collect();
        (out.len() == 64).then_some(())
    });
    lose(&mut swarm);
    assert!(
        !swarm.leechers.iter().any(is_complete),
        "it was lost in time"
    );
    (0..3).for_each(|leecher| swarm.until_complete(leecher));
}

#[test]
fn once_all_pieces_are_out_the_seed_may_be_killed() {
    without_the_seed(|swarm| swarm.seed.kill());
}

#[test]
fn once_all_pieces_are_out_the_seed_may_lose_its_power() {
    // unlike a program that is killed, it doesn't even say so
    without_the_seed(|swarm| {
        swarm.lab.link(SEED, false);
        swarm.seed.kill();
    });
}

#[test]
fn the_trackers_link_goes_down_and_comes_back() {
    let Some(swarm) = Swarm::new(2, 192, 10.0, 10.0) else {
        return;
    };
    (0..2).for_each(|leecher| swarm.until_has(leecher, 16));
    swarm.lab.link(TRACKER, false);
    until("the sweep of all", || {
        let last = swarm.tracker.lines().pop()?;
        last.contains("sweep: 0 peers here").then_some(())
    });
    for leecher in 0..2 {
        let has = pieces(&swarm.leechers[leecher]).len();
        swarm.until_has(leecher, has + 8);
        assert!(!is_complete(&swarm.leechers[leecher]));
    }
    swarm.lab.link(TRACKER, true);
    let late = swarm.late();
    late.until_event("list", |list| list["n_peers"] == 3 && list["n_files"] == 1);
    (0..2).for_each(|leecher| swarm.until_complete(leecher));
    late.until_event("complete", |_| true);
    until_content(&swarm.file(swarm.host(2)), &swarm.content);
}
