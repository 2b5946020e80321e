//! The swarms that are measured, and how their figures are printed.

use super::aria2::{aria2, is_installed};
use super::swarm::{Links, Outcome, Work, bound, lab, ours};
use super::{median, rounds};

/// The medians of some rounds of the same work.
fn medians(outcomes: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> f64 {
    median(outcomes.iter().map(figure).collect())
}

/// Ours and aria2 in turn, so that both meet the same minutes.
fn beside(work: &Work, rounds: usize) -> (Vec<Outcome>, Vec<Outcome>) {
    let (mut us, mut them) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        us.push(ours(work));
        them.extend(aria2(work));
    }
    (us, them)
}

/// Work on this machine's loopback.
pub fn unshaped(mib: usize, peers: u8) -> Work {
    Work {
        mib,
        peers,
        links: None,
    }
}

fn gib(work: &Work) -> f64 {
    work.mib as f64 * f64::from(work.peers) / 1024.0
}

/// 512 MiB to 4 peers, beside aria2.
pub fn swarm() {
    let work = unshaped(512, 4);
    let (us, them) = beside(&work, rounds());
    let show = |name: &str, outcomes: &[Outcome]| {
        println!(
            "  {name:14} {:6.2} s   {:5.2} CPU s per GiB   peak {:3.0} MiB",
            medians(outcomes, Outcome::last),
            medians(outcomes, |outcome| outcome.cpu) / gib(&work),
            medians(outcomes, |outcome| outcome.peak),
        );
    };
    show("bittorrentish", &us);
    if them.is_empty() {
        println!("  aria2c isn't installed");
        return;
    }
    show("aria2", &them);
    println!(
        "  ratio          {:6.2}     {:5.2}",
        medians(&us, Outcome::last) / medians(&them, Outcome::last),
        medians(&us, |outcome| outcome.cpu) / medians(&them, |outcome| outcome.cpu)
    );
}

/// Peers and files grow, on this machine's loopback.
pub fn growth() {
    println!("  file       peers   all have it   CPU s per GiB   peak MiB   seed sent");
    let by_peers = [2, 4, 8, 16, 32, 100].map(|peers| unshaped(64, peers));
    let by_size = [16, 64, 256, 1024].map(|mib| unshaped(mib, 4));
    for work in by_peers.iter().chain(&by_size) {
        let us: Vec<_> = (0..rounds().div_ceil(2)).map(|_| ours(work)).collect();
        println!(
            "  {:4} MiB   {:5}   {:9.2} s   {:13.2}   {:8.0}   {:9.2}",
            work.mib,
            work.peers,
            medians(&us, Outcome::last),
            medians(&us, |outcome| outcome.cpu) / gib(work),
            medians(&us, |outcome| outcome.peak),
            medians(&us, |outcome| outcome.sent),
        );
    }
}

fn links(up: &[f64], down: f64, seed_up: f64) -> Links {
    Links {
        up: up.to_vec(),
        down,
        seed_up,
        late_by: None,
    }
}

/// How many neighbours all hosts of this machine may know together: beyond that some don't reach each other for a while.
fn neighbours() -> Option<usize> {
    let most = std::fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3").ok()?;
    most.trim().parse().ok()
}

/// Links of a given speed: the time over Kurose and Ross's bound.
pub fn shaped() {
    let work = |mib, peers, links| Work {
        mib,
        peers,
        links: Some(links),
    };
    let late = Links {
        late_by: Some(4.0),
        ..links(&[10.0, 40.0], 100.0, 100.0)
    };
    let goals = [
        ("50 up, 50 down", work(64, 8, links(&[50.0], 50.0, 50.0))),
        ("50 up, 200 down", work(64, 8, links(&[50.0], 200.0, 50.0))),
        ("10 or 40 up, 100 down, one late", work(48, 12, late)),
        (
            "8 up, 80 down, seed 80",
            work(24, 4, links(&[8.0], 80.0, 80.0)),
        ),
        (
            "5 up, 100 down, seed 100",
            work(32, 2, links(&[5.0], 100.0, 100.0)),
        ),
    ];
    if let Err(why) = lab(&goals[0].1) {
        println!("  left out, as it needs root and iproute2: {why}");
        return;
    }
    println!(
        "  links, Mbit/s                     file, peers   bound   last / bound   seed sent   aria2: last / bound"
    );
    for (name, work) in &goals {
        let (us, them) = beside(work, rounds());
        row(name, work, &us, &them);
    }
    // the cost as the work grows, at speeds that two cores can emulate
    for peers in [2, 4, 8, 16, 32] {
        if let Some(room) = neighbours().filter(|room| (usize::from(peers) + 2).pow(2) > *room) {
            println!(
                "  {peers} peers are left out: this machine knows only {room} neighbours of all its hosts \
                 (sysctl -w net.ipv4.neigh.default.gc_thresh3=4096 makes it more)"
            );
            continue;
        }
        let work = work(16, peers, links(&[10.0], 10.0, 10.0));
        row("10 up, 10 down", &work, &[ours(&work)], &[]);
    }
    for mib in [16, 64, 256, 1024] {
        let work = work(mib, 8, links(&[50.0], 50.0, 50.0));
        row("50 up, 50 down", &work, &[ours(&work)], &[]);
    }
    if !is_installed() {
        println!("  aria2c isn't installed");
    }
}

/// One line, and one more for who came late.
fn row(name: &str, work: &Work, us: &[Outcome], them: &[Outcome]) {
    let links = work.links.as_ref().expect("shaped");
    let n = usize::from(work.peers) - usize::from(links.late_by.is_some());
    let bound = bound(work);
    let last = |outcome: &Outcome| outcome.seconds[..n].iter().copied().fold(0.0, f64::max) / bound;
    let aria2 = match them {
        [] => String::new(),
        them => format!("{:.2}", medians(them, last)),
    };
    println!(
        "  {name:32} {:5} MiB, {:2}   {bound:5.1}   {:12.3}   {:9.2}   {aria2}",
        work.mib,
        work.peers,
        medians(us, last),
        medians(us, |outcome| outcome.sent),
    );
    if links.late_by.is_some() {
        // alone, it would be limited by its own link
        let alone = (work.mib << 20) as f64 * 8e-6 / 0.956 / links.down;
        let late = |outcome: &Outcome| outcome.seconds[n] / alone;
        let aria2 = match them {
            [] => String::new(),
            them => format!("{:.2}", medians(them, late)),
        };
        println!(
            "  {:32} its time over its own F/d:  {:12.3}               {aria2}",
            "  the late one",
            medians(us, late)
        );
    }
}
