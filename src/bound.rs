//! What holds a rollout up, and how near it is to Kurose and Ross's bound for handing a file of F bytes to N machines:
//! at least max(F/u_s, F/d_min, N·F/(u_s + Σu_i)), with the upload rates u and the download rates d. Pure.
//!
//! The rates are those that peers report: what links have carried, which is no more than what they can carry. Rates alone
//! don't tell which link of a swarm is full, as everything goes as fast as the narrowest allows. So each machine looks at
//! what comes, see [`Brake`], and a term is named only where that tells it from the others:
//! - a missing piece, and the disk: the machine itself sees them;
//! - the seed's uplink: several machines lack what the seed alone has, so the rest is passed on as fast as it comes;
//! - a machine's downlink: of the peers that send to it, each sends less whenever others send more. It stands for all that
//!   the bytes go through to the disk, the processor included;
//! - all uplinks together: they send independently of each other, and everybody about as much as it ever has.
//!
//! Between a seed and one machine nobody can tell which end of the link is the thinner, and nothing is said.

use serde::{Deserialize, Serialize};

use crate::md5::Digest;
use crate::protocol::{Brake, FileReport, MachineStatus, SwarmPace};
use crate::torrent::Name;

/// Uplinks are full if together they carry at least this share of the best that each has carried.
const FULL: f64 = 0.85;

/// What keeps a file from coming faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoundTerm {
    /// Nobody has a piece that is missing.
    MissingPiece,
    /// The machine's disk.
    Disk,
    /// The uplink of the seed, or of all that have all of it.
    SeedUplink,
    /// The machine's downlink.
    Downlink,
    /// The uplinks of all, the seed's included.
    AllUplinks,
}

/// What holds a machine up, and how near it is to the bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HoldUp {
    /// What it is.
    pub term: BoundTerm,
    /// The best rate that this term allows, bytes per second, if it has one and it is known.
    pub rate: Option<f64>,
    /// The machine's speed as a share of what the bound allows for the best rates seen, from 0 to 1, if all are known.
    pub share: Option<f64>,
}

impl HoldUp {
    /// Returns what holds a machine up whose report says this, if that can be told.
    pub fn of(file: &FileReport, swarm: &SwarmPace) -> Option<Self> {
        let term = term(file, swarm)?;
        let rate = match term {
            BoundTerm::MissingPiece | BoundTerm::Disk => 0.0,
            BoundTerm::SeedUplink => swarm.best_seed_up,
            BoundTerm::Downlink => file.pace.best_down,
            BoundTerm::AllUplinks => swarm.best_up,
        };
        Some(Self {
            term,
            rate: (rate > 0.0).then_some(rate),
            share: share(file.speed, file.pace.best_down, swarm),
        })
    }
}

/// Returns a machine's speed as a share of what the bound allows, from 0 to 1, if all rates in it are known.
pub fn share(speed: f64, best_down: f64, swarm: &SwarmPace) -> Option<f64> {
    let allowed = allowed(best_down, swarm);
    allowed.map(|allowed| (speed / allowed).min(1.0))
}

/// Returns the speed at which each machine gets the file by the bound, bytes per second, if all rates in it are known.
fn allowed(best_down: f64, swarm: &SwarmPace) -> Option<f64> {
    let each = swarm.best_up / swarm.n_behind.max(1) as f64;
    let terms = [swarm.best_seed_up, best_down, each];
    let known = terms.iter().all(|rate| *rate > 0.0);
    known.then(|| terms.into_iter().fold(f64::INFINITY, f64::min))
}

/// Returns the term that rules at a machine whose report says this, if that can be told.
fn term(file: &FileReport, swarm: &SwarmPace) -> Option<BoundTerm> {
    let is_alone = swarm.n_behind < 2;
    match file.pace.brake? {
        Brake::MissingPiece => Some(BoundTerm::MissingPiece),
        Brake::Disk => Some(BoundTerm::Disk),
        Brake::Downlink => Some(BoundTerm::Downlink),
        Brake::Seeders if !is_alone => Some(BoundTerm::SeedUplink),
        Brake::Others if !is_alone && swarm.up >= FULL * swarm.best_up => {
            Some(BoundTerm::AllUplinks)
        }
        Brake::Seeders | Brake::Others => None,
    }
}

impl SwarmPace {
    /// Sums up what machines report of one content.
    pub fn of<'a>(files: impl Iterator<Item = &'a FileReport>) -> Self {
        let mut sum = Self::default();
        for file in files {
            sum.best_up += file.pace.best_up;
            sum.up += file.pace.up;
            if file.whole {
                sum.best_seed_up += file.pace.best_up;
            } else {
                sum.n_behind += 1;
            }
        }
        sum
    }
}

/// Returns the machine that will have a content last, and what holds it up, if that can be told.
pub fn of_last<'a>(
    machines: &'a [MachineStatus],
    name: &Name,
    md5: Option<Digest>,
) -> Option<(&'a MachineStatus, HoldUp)> {
    let report = |machine: &'a MachineStatus| {
        let mut files = machine.files.iter();
        let file = files.find(|file| file.name == *name && file.md5 == md5)?;
        machine.here.then_some((machine, file))
    };
    let all = machines.iter().filter_map(report);
    let swarm = SwarmPace::of(all.clone().map(|(_, file)| file));
    // whoever only waits, for a pick or for its disk's hashing, says nothing of the swarm
    let moves = |file: &FileReport| file.left.is_some() || file.pace.brake.is_some();
    let behind = all.filter(|(_, file)| !file.whole && moves(file));
    let left = |file: &FileReport| file.left.unwrap_or(f64::INFINITY);
    let (last, file) = behind.max_by(|(_, a), (_, b)| left(a).total_cmp(&left(b)))?;
    Some((last, HoldUp::of(file, &swarm)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::digest;
    use crate::protocol::FilePace;

    const MIB: f64 = 1048576.0;

    /// A machine's speed and best speed, MiB/s.
    fn file(speed: f64, best_down: f64, brake: Option<Brake>) -> FileReport {
        FileReport {
            name: Name::parse("f").expect("a name"),
            md5: Some(digest(b"f")),
            size: 100,
            here: 50,
            whole: false,
            mine: false,
            unconfirmed: false,
            speed: speed * MIB,
            left: Some(1.0),
            state: String::new(),
            pace: FilePace {
                up: 0.0,
                best_up: 0.0,
                best_down: best_down * MIB,
                brake,
            },
        }
    }

    /// How many lack it, what all send, and the best of the seed and of all, MiB/s.
    fn swarm(n_behind: usize, up: f64, best_seed_up: f64, best_up: f64) -> SwarmPace {
        SwarmPace {
            n_behind,
            best_seed_up: best_seed_up * MIB,
            best_up: best_up * MIB,
            up: up * MIB,
        }
    }

    #[test]
    fn the_term_is_named_where_the_figures_tell_it() {
        use BoundTerm::{AllUplinks, Disk, Downlink, MissingPiece, SeedUplink};
        let thin_seed = swarm(8, 9.5, 1.2, 10.0);
        let pair = swarm(1, 1.2, 1.2, 1.2);
        let thin_uplinks = swarm(8, 21.6, 12.0, 22.0);
        let at_rest = swarm(8, 0.0, 0.0, 90.0);
        for (what, brake, swarm, expected) in [
            (
                "a thin seed",
                Some(Brake::Seeders),
                thin_seed,
                Some(SeedUplink),
            ),
            ("which end is thin?", Some(Brake::Seeders), pair, None),
            (
                "a thin downlink",
                Some(Brake::Downlink),
                thin_uplinks,
                Some(Downlink),
            ),
            (
                "the last one, with a thin downlink",
                Some(Brake::Downlink),
                pair,
                Some(Downlink),
            ),
            (
                "all send what they can",
                Some(Brake::Others),
                thin_uplinks,
                Some(AllUplinks),
            ),
            (
                "they have sent more",
                Some(Brake::Others),
                swarm(8, 21.6, 12.0, 30.0),
                None,
            ),
            ("two senders to one", Some(Brake::Others), pair, None),
            ("not seen for long enough", None, thin_uplinks, None),
            ("a slow disk", Some(Brake::Disk), thin_uplinks, Some(Disk)),
            (
                "a missing piece",
                Some(Brake::MissingPiece),
                at_rest,
                Some(MissingPiece),
            ),
            ("nothing comes, and why isn't known", None, at_rest, None),
        ] {
            assert_eq!(term(&file(1.2, 1.2, brake), &swarm), expected, "{what}");
        }
    }

    #[test]
    fn the_bound_is_that_of_the_least_rate() {
        for (best_down, swarm, expected) in [
            (12.0, swarm(4, 0.0, 2.0, 100.0), Some(2.0)),
            (3.0, swarm(4, 0.0, 10.0, 100.0), Some(3.0)),
            (12.0, swarm(4, 0.0, 10.0, 16.0), Some(4.0)),
            (0.0, swarm(4, 0.0, 10.0, 16.0), None),
            (12.0, swarm(4, 0.0, 0.0, 16.0), None),
        ] {
            let found = allowed(best_down * MIB, &swarm).map(|rate| rate / MIB);
            assert_eq!(found, expected, "{best_down}, {swarm:?}");
        }
        let held = HoldUp::of(
            &file(3.0, 12.0, Some(Brake::Seeders)),
            &swarm(4, 12.0, 4.0, 90.0),
        );
        let expected = HoldUp {
            term: BoundTerm::SeedUplink,
            rate: Some(4.0 * MIB),
            share: Some(0.75),
        };
        assert_eq!(held, Some(expected));
    }

    #[test]
    fn the_last_machine_tells_what_holds_all_up() {
        let machine = |host: &str, here, left, brake| MachineStatus {
            host: host.to_owned(),
            peer: "10.0.0.7:1".to_owned(),
            here,
            age: 0.0,
            files: vec![FileReport {
                left,
                ..file(1.0, 1.0, brake)
            }],
            still: vec![0.0],
            ended: None,
        };
        let machines = [
            machine("quick", true, Some(5.0), Some(Brake::Seeders)),
            machine("slow", true, Some(50.0), Some(Brake::Disk)),
            machine("gone", false, Some(500.0), Some(Brake::Seeders)),
            machine("waits", true, None, None),
        ];
        let name = Name::parse("f").expect("a name");
        let found = of_last(&machines, &name, Some(digest(b"f")));
        let found = found.map(|(machine, held)| (&*machine.host, held.term));
        assert_eq!(found, Some(("slow", BoundTerm::Disk)));
        assert_eq!(of_last(&machines, &name, Some(digest(b"other"))), None);
    }
}
