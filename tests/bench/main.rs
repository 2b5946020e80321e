//! `cargo bench [-- PART …]`: what handing a file around costs, and how near it comes to what the network allows.
//!
//! Parts: `md5`, `picker`, `copy`, `announce`, `scale`, `growth`, and, as root with iproute2, `shaped`, `latency`, `rooms`, `swarm`, `messages` and
//! `cold`. aria2c and opentracker are measured beside in the same minutes where they are installed. `ROUNDS=n` sets how often
//! each is measured; medians are printed. `CONGESTION=bbr` gives the hosts another TCP than CUBIC.

#[allow(dead_code)] // the tests use the rest
#[path = "../it/lab.rs"]
mod lab;
#[path = "../it/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../it/support.rs"]
mod support;

mod announce;
mod aria2;
mod campus;
mod copy;
mod hashing;
mod network;
mod opentracker;
mod picking;
mod swarm;
mod tables;

/// A part's name, what it measures, and how.
type Part = (&'static str, &'static str, fn());

const PARTS: [Part; 12] = [
    (
        "md5",
        "checking pieces, and a file's first hashing",
        hashing::run,
    ),
    (
        "picker",
        "the time of a decision, by the number of peers",
        picking::run,
    ),
    ("copy", "one peer, beside one plain TCP copy", copy::run),
    (
        "announce",
        "what the tracker answers a second, with 1,000 peers of one file",
        announce::run,
    ),
    (
        "scale",
        "what a campus of 10,000 peers and 100 files costs it",
        announce::scale,
    ),
    (
        "shaped",
        "links of a given speed, Mbit/s, beside the bound",
        tables::shaped,
    ),
    (
        "latency",
        "links with a round trip, beside the bound",
        tables::latency,
    ),
    (
        "rooms",
        "two rooms with a trunk between them",
        tables::rooms,
    ),
    (
        "swarm",
        "hosts on links as fast as this machine makes them",
        tables::swarm,
    ),
    ("growth", "the cost as peers and files grow", tables::growth),
    (
        "messages",
        "requests and answers for each piece, as peers grow",
        tables::messages,
    ),
    (
        "cold",
        "a seed that hashes while the others come",
        tables::cold,
    ),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if copy::was_an_end(&args) {
        return;
    }
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    for (name, what, run) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            println!("\n{name}: {what}");
            run();
        }
    }
}

/// How often each thing is measured.
fn rounds() -> usize {
    let rounds = std::env::var("ROUNDS");
    rounds.ok().and_then(|n| n.parse().ok()).unwrap_or(5)
}

/// The middle one.
fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}
