//! How far this peer is, and how fast, as it is told to the tracker for people who watch; and what held a download up,
//! by the tracker's answers. Pure: the time is a parameter.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Instant;

use super::overview::{Doing, FileView};
use super::{Exchanged, Held, State, TrackerWord};
use crate::bound::{BoundTerm, HoldUp, share};
use crate::causes::Waits;
use crate::protocol::{Brake, FILES_REPORTED, FilePace, FileReport, SwarmPace};
use crate::torrent::Name;

/// This many writes under way on average keep a disk busy.
const DISK_BUSY: f64 = 0.8;
/// If others that are on their way have at most this share of what is missing here, they are no further.
const NO_FURTHER: f64 = 0.1;
/// At the very start nobody is further than the others, whatever the links: this many samples are waited for.
const SAMPLES_OF_START: usize = 3;
/// If the total varies this little compared with its parts, they share a bottleneck: see [`PaceTally::together`].
const HELD_TOGETHER: f64 = 0.25;
/// If it varies this much, they don't: with independent parts it would be 1.
const INDEPENDENT: f64 = 0.5;
/// The most samples that are compared, the latest, and the fewest that say something.
const SAMPLES: RangeInclusive<usize> = 9..=25;
/// At least this many pieces come between two samples: with fewer, the speed is a matter of chance.
const PIECES_A_SAMPLE: u64 = 24;
/// What comes at this share of `--max-down` is held up by that, whatever the links could carry.
const AT_LIMIT: f64 = 0.9;
/// With fewer answers than these nothing is said of a download.
const ANSWERS: u32 = 3;

/// How a download goes, report by report, and what held it up by the tracker's answers.
#[derive(Default)]
pub struct PaceTally {
    /// When it was looked, and how much had come from each peer.
    samples: VecDeque<(Instant, BTreeMap<Option<SocketAddr>, u64>)>,
    /// How many pieces had come at the last sample.
    sampled: u64,
    terms: BTreeMap<Option<BoundTerm>, u32>,
    /// The swarm when most machines were behind.
    swarm: SwarmPace,
}

impl PaceTally {
    fn sample(&mut self, exchanged: &BTreeMap<Option<SocketAddr>, Exchanged>, now: Instant) {
        let pieces: u64 = exchanged.values().map(|with| with.pieces).sum();
        if pieces < self.sampled + PIECES_A_SAMPLE && !self.samples.is_empty() {
            return;
        }
        self.sampled = pieces;
        let got = exchanged.iter().map(|(peer, with)| (*peer, with.got));
        self.samples.push_back((now, got.collect()));
        if self.samples.len() > *SAMPLES.end() {
            self.samples.pop_front();
        }
    }

    /// Returns the variance of the whole speed, divided by the sum of the variances of each peer's. It is near 1 where
    /// the peers are independent of each other, and near 0 where each sends less whenever others send more.
    fn together(&self) -> Option<f64> {
        if self.samples.len() < *SAMPLES.start() {
            return None;
        }
        let (_, last) = self.samples.back()?;
        let speeds = |peer: &Option<SocketAddr>| -> Vec<f64> {
            let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
            let got = |all: &BTreeMap<Option<SocketAddr>, u64>| all.get(peer).copied().unwrap_or(0);
            let speed = |((since, before), (at, after)): (&(Instant, _), &(Instant, _))| {
                let seconds = at.saturating_duration_since(*since).as_secs_f64();
                (got(after) - got(before)) as f64 / seconds.max(1e-3)
            };
            pairs.map(speed).collect()
        };
        let each: Vec<Vec<f64>> = last.keys().map(speeds).collect();
        let n_sources = each
            .iter()
            .filter(|one| one.iter().any(|speed| *speed > 0.0));
        if n_sources.count() < 2 {
            return None;
        }
        let sums = (0..each[0].len()).map(|at| each.iter().map(|one| one[at]).sum());
        let sum = variance(&sums.collect::<Vec<f64>>());
        let of_each: f64 = each.iter().map(|one| variance(one)).sum();
        (of_each > 0.0).then(|| sum / of_each)
    }

    fn note(&mut self, file: &FileReport, swarm: SwarmPace) {
        let term = HoldUp::of(file, &swarm).map(|held| held.term);
        *self.terms.entry(term).or_default() += 1;
        if swarm.n_behind >= self.swarm.n_behind {
            self.swarm = swarm;
        }
    }

    /// Returns what held the download up most of the time, and its speed as a share of what the bound allows.
    fn verdict(&self, speed: f64, best_down: f64) -> Option<(BoundTerm, Option<f64>)> {
        let n: u32 = self.terms.values().sum();
        let told = self.terms.iter();
        let told = told.filter_map(|(term, n)| Some(((*term)?, *n)));
        let n_told: u32 = told.clone().map(|(_, n)| n).sum();
        let (term, of_it) = told.max_by_key(|(_, n)| *n)?;
        // at the start it can't be told yet
        if n < ANSWERS || 2 * of_it <= n_told || 3 * of_it < n {
            return None;
        }
        Some((term, share(speed, best_down, &self.swarm)))
    }
}

/// Names the downlink as what holds these files up if together they come as fast as the user lets them: the other signs are
/// those of a thin seed, as all that limit themselves alike are equally far.
pub fn note_own_limit(files: &mut [FileReport], most: u64) {
    let comes: f64 = files.iter().map(|file| file.speed).sum();
    if comes >= AT_LIMIT * most as f64 {
        let coming = files.iter_mut().filter(|file| file.speed > 0.0);
        coming.for_each(|file| file.pace.brake = Some(Brake::Downlink));
    }
}

/// Returns true if nobody has what is missing, as far as all peers are known.
fn is_missing(waits: &Waits) -> bool {
    match waits {
        Waits::NoSource { .. } | Waits::SourcesGone { .. } => true,
        Waits::Nowhere { of_sample, .. } => !of_sample,
        _ => false,
    }
}

fn variance(of: &[f64]) -> f64 {
    let mean = of.iter().sum::<f64>() / of.len() as f64;
    of.iter().map(|one| (one - mean).powi(2)).sum()
}

impl State {
    /// Returns how far the files are that are here, on their way or wanted; of many, those that were named, then unfinished
    /// ones, then the largest. `disk` is how many writes have been under way lately, in the mean.
    pub fn file_reports(&self, min_peers: usize, disk: f64, now: Instant) -> Vec<FileReport> {
        let here = self.files.keys().chain(self.standing.keys());
        let wanted = self.named().chain(&self.beginning);
        let names: BTreeSet<&Name> = here.chain(wanted).collect();
        let mut names: Vec<&Name> = names.into_iter().collect();
        if names.len() > FILES_REPORTED {
            let named: BTreeSet<&Name> = self.named().collect();
            let is_whole = |name: &Name| self.files.get(name).is_some_and(|it| it.stamp.is_some());
            names.sort_by_cached_key(|name| {
                let size = self.size_of(name).unwrap_or(0);
                (!named.contains(name), is_whole(name), Reverse(size))
            });
            names.truncate(FILES_REPORTED);
        }
        let report = |name: &Name| {
            let view = self.file_view(name, min_peers, now);
            let held = self.files.get(name);
            let whole = held.filter(|held| held.stamp.is_some());
            let size = view.size.unwrap_or(0);
            let unconfirmed = held.is_some_and(|held| self.is_unconfirmed(name, held));
            FileReport {
                name: name.clone(),
                pace: self.pace(name, &view, disk),
                md5: view.md5.and_then(|md5| md5.parse().ok()),
                size,
                here: match view.doing {
                    _ if whole.is_some() => size,
                    // it gets on, and doesn't stand still
                    Doing::Hashing { done, .. } | Doing::Checking { done, .. } => done,
                    _ => view.verified,
                },
                whole: whole.is_some(),
                mine: held.is_some_and(|held| held.word == TrackerWord::Stands { mine: true }),
                unconfirmed,
                speed: view.down,
                left: view.left,
                state: match unconfirmed {
                    true => "its publisher isn't here, and may have a newer version".to_owned(),
                    false => view.doing.to_string(),
                },
            }
        };
        names.into_iter().map(report).collect()
    }

    /// Returns how fast a file moves here, and what of the reasons can be seen from here.
    fn pace(&self, name: &Name, view: &FileView, disk: f64) -> FilePace {
        let held = self.files.get(name);
        let brake = match &view.doing {
            Doing::Nowhere { waits, .. } | Doing::Unconnected { waits, .. } => {
                is_missing(waits).then_some(Brake::MissingPiece)
            }
            Doing::Stuck { .. } if self.disk_fault.is_some() => Some(Brake::Disk),
            Doing::Fetching { peers: 1.. } if disk >= DISK_BUSY => Some(Brake::Disk),
            Doing::Fetching { peers: 1.. } => held.and_then(|held| self.brake_of_links(held)),
            _ => None,
        };
        FilePace {
            up: view.up,
            best_up: held.map_or(0.0, |held| held.up.best()),
            best_down: held.map_or(0.0, |held| held.down.best()),
            brake,
        }
    }

    /// Returns what can be seen from here of which links hold a file up that comes.
    fn brake_of_links(&self, held: &Held) -> Option<Brake> {
        let tally = &held.tally;
        let spread = self.picker.spread(held.torrent.name());
        let is_no_further = spread.is_some_and(|share| share <= NO_FURTHER);
        if is_no_further && tally.samples.len() >= SAMPLES_OF_START {
            return Some(Brake::Seeders);
        }
        match tally.together()? {
            ..=HELD_TOGETHER => Some(Brake::Downlink),
            INDEPENDENT.. => Some(Brake::Others),
            _ => None,
        }
    }

    /// Notes how much of each download has come from each peer: every second.
    pub fn sample_paces(&mut self, now: Instant) {
        let parts = self.files.values_mut().filter(|held| !held.have.is_full());
        parts.for_each(|held| held.tally.sample(&held.exchanged, now));
    }

    /// Takes the tracker's answer to a report: how fast everybody moves the first file of it that isn't whole.
    pub fn note_pace(&mut self, files: &[FileReport], swarm: SwarmPace) {
        let file = files.iter().find(|file| !file.whole);
        let held = file.and_then(|file| Some((file, self.files.get_mut(&file.name)?)));
        if let Some((file, held)) = held.filter(|(file, _)| file.speed > 0.0) {
            held.tally.note(file, swarm);
        }
    }
}

impl Held {
    /// Returns what held the download up most of the time, and its speed as a share, from 0 to 1, of what Kurose and
    /// Ross's bound allows for the rates that were seen; neither where that can't be told.
    pub fn held_up(&self, now: Instant) -> Option<(BoundTerm, Option<f64>)> {
        self.tally.verdict(self.mean_speed(now), self.down.best())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// The tally of a download from four peers, in each of ten samples by the shares that `share` makes of random ones.
    fn tally(share: impl Fn(&[f64]) -> Vec<f64>) -> PaceTally {
        let (mut rng, start) = (StdRng::seed_from_u64(1), Instant::now());
        let (mut tally, mut exchanged) = (PaceTally::default(), BTreeMap::new());
        for n in 0..10 {
            let shares: Vec<f64> = (0..4).map(|_| rng.random_range(0.5..1.5)).collect();
            for (port, got) in (0..).zip(share(&shares)) {
                let peer = SocketAddr::from(([10, 0, 0, 2], port));
                let with: &mut Exchanged = exchanged.entry(Some(peer)).or_default();
                with.got += (got * 1e6) as u64;
                with.pieces += 10;
            }
            tally.sample(&exchanged, start + Duration::from_secs(3 * n));
        }
        tally
    }

    #[test]
    fn a_full_downlink_shows_in_what_comes() {
        let sum = |shares: &[f64]| shares.iter().sum::<f64>();
        let full = tally(|shares| shares.iter().map(|one| one / sum(shares)).collect());
        assert!(full.together() < Some(0.01), "{:?}", full.together());
        let has_room = tally(<[f64]>::to_vec);
        assert!(has_room.together() > Some(INDEPENDENT));
        // of one peer nobody can tell
        let single = tally(|shares| vec![shares[0], 0.0, 0.0, 0.0]);
        assert_eq!(single.together(), None);
        let mut few = full;
        few.samples.truncate(*SAMPLES.start() - 1);
        assert_eq!(few.together(), None);
    }

    fn file(brake: Option<Brake>) -> FileReport {
        FileReport {
            name: Name::parse("f").expect("a name"),
            md5: None,
            size: 100,
            here: 50,
            whole: false,
            mine: false,
            unconfirmed: false,
            speed: 1.0,
            left: None,
            state: String::new(),
            pace: FilePace {
                brake,
                ..FilePace::default()
            },
        }
    }

    #[test]
    fn whoever_limits_what_comes_is_held_up_by_that() {
        let seeders = Some(Brake::Seeders);
        for (most, expected) in [(2, Some(Brake::Downlink)), (3, seeders)] {
            let rests = FileReport {
                speed: 0.0,
                ..file(None)
            };
            let mut files = [file(seeders), file(seeders), rests];
            note_own_limit(&mut files, most);
            let brakes = files.map(|file| file.pace.brake);
            assert_eq!(brakes, [expected, expected, None], "{most}");
        }
    }

    #[test]
    fn what_ruled_most_of_the_time_is_told() {
        let swarm = |n_behind| SwarmPace {
            n_behind,
            best_seed_up: 10.0,
            best_up: 40.0,
            up: 40.0,
        };
        let mut tally = PaceTally::default();
        for (brake, n_behind, expected) in [
            (Some(Brake::Disk), 2, None),
            (None, 5, None),
            (Some(Brake::Disk), 1, Some((BoundTerm::Disk, Some(0.5)))),
            (None, 1, Some((BoundTerm::Disk, Some(0.5)))),
            (Some(Brake::Downlink), 1, Some((BoundTerm::Disk, Some(0.5)))),
            (Some(Brake::Downlink), 1, None),
            // the bound is that of the moment when most were behind
            (Some(Brake::Disk), 1, Some((BoundTerm::Disk, Some(0.5)))),
        ] {
            tally.note(&file(brake), swarm(n_behind));
            assert_eq!(tally.verdict(4.0, 20.0), expected);
        }
    }
}
