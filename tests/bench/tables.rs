//! The swarms that are measured, and how their figures are printed.

use std::time::Duration;

use super::aria2::{aria2, is_installed};
use super::copy::plain_copy;
use super::network::{congestion_control, obstacle};
use super::swarm::{Links, Net, Outcome, Work, bound, bound_of_late, ours};
use super::{median, rounds};

/// Something to measure.
struct Row {
    /// What it is, beside its size and peers.
    name: &'static str,
    work: Work,
    figures: Vec<Figure>,
}

/// What is told of an outcome.
#[derive(Clone, Copy)]
struct Figure {
    name: &'static str,
    of: fn(&Work, &Outcome) -> f64,
    goal: Option<Goal>,
}

/// What a figure should be at most.
#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    /// So much of aria2's.
    OfAria2(f64),
}

impl Figure {
    const fn new(name: &'static str, of: fn(&Work, &Outcome) -> f64) -> Self {
        let goal = None;
        Self { name, of, goal }
    }

    fn at_most(self, most: f64) -> Self {
        let goal = Some(Goal::AtMost(most));
        Self { goal, ..self }
    }

    fn of_aria2(self, most: f64) -> Self {
        let goal = Some(Goal::OfAria2(most));
        Self { goal, ..self }
    }
}

const SECONDS: Figure = Figure::new("seconds", |work, outcome| outcome.last(work));
const CPU: Figure = Figure::new("CPU s per GiB", |work, outcome| {
    outcome.cpu * 1024.0 / (work.mib as f64 * f64::from(work.peers))
});
const PEAK: Figure = Figure::new("MiB of a peer", |_, outcome| outcome.peak);
const LAST: Figure = Figure::new("last / bound", |work, outcome| {
    outcome.last(work) / bound(work)
});
const LATE: Figure = Figure::new("late / bound", |work, outcome| {
    outcome.seconds[usize::from(work.n_together())] / bound_of_late(work)
});
const CROSSED: Figure = Figure::new("files crossed", |work, outcome| {
    outcome.crossed as f64 / (work.mib << 20) as f64
});

const MESSAGES: Figure = Figure::new("messages", |_, outcome| outcome.messages);

/// Work on this machine's loopback.
pub fn unshaped(mib: usize, peers: u8) -> Work {
    Work {
        mib,
        peers,
        net: Net::Loopback,
        is_cold: false,
        is_logged: false,
    }
}

/// The same, each on a host of its own.
fn between_hosts(mib: usize, peers: u8) -> Work {
    Work {
        net: Net::Unshaped,
        ..unshaped(mib, peers)
    }
}

/// Speeds in Mbit/s.
fn links(up: &[f64], down: f64, seed_up: f64) -> Links {
    Links {
        up: up.to_vec(),
        down,
        seed_up,
        late_by: None,
        round_trip: None,
        trunk: None,
    }
}

/// One row of work over such links.
fn over(name: &'static str, links: Links, mib: usize, peers: u8, figures: &[Figure]) -> Row {
    let work = Work {
        net: Net::Shaped(links),
        ..unshaped(mib, peers)
    };
    let figures = figures.to_vec();
    Row {
        name,
        work,
        figures,
    }
}

/// Links of a given speed.
pub fn shaped() {
    let [fifty, ten] = [50.0, 10.0].map(|mbit| links(&[mbit], mbit, mbit));
    let fast_down = links(&[50.0], 200.0, 50.0);
    let thin_up = links(&[8.0], 80.0, 80.0);
    let thinner_up = links(&[5.0], 100.0, 100.0);
    let one_late = Links {
        late_by: Some(4.0),
        ..links(&[10.0, 40.0], 100.0, 100.0)
    };
    let last = |most| LAST.at_most(most);
    table(&[
        over(
            "50 up, 50 down",
            fifty,
            64,
            8,
            &[last(1.05), CPU.at_most(14.0)],
        ),
        over("50 up, 200 down", fast_down, 64, 8, &[last(1.03)]),
        over("10 up, 10 down", ten.clone(), 16, 16, &[last(1.08)]),
        over("10 up, 10 down", ten, 16, 32, &[last(1.12)]),
        over("8 up, 80 down, seed 80", thin_up, 24, 4, &[last(1.12)]),
        over("5 up, 100 down, seed 100", thinner_up, 32, 2, &[last(1.09)]),
        over(
            "10 or 40 up, 100 down, one late",
            one_late,
            48,
            12,
            &[last(1.08), LATE.at_most(1.08)],
        ),
    ]);
}

/// Links with a round trip, and a plain copy over the first of them.
pub fn latency() {
    let round_trip = Some(Duration::from_millis(40));
    let [one, eight] = [100.0, 50.0].map(|up| Links {
        round_trip,
        ..links(&[up], 100.0, up)
    });
    let rows = [
        over("100 up, 100 down, 40 ms", one, 32, 1, &[LAST.at_most(1.22)]),
        over(
            "50 up, 100 down, 40 ms",
            eight,
            64,
            8,
            &[LAST.at_most(1.08)],
        ),
    ];
    table(&rows);
    let work = &rows[0].work;
    if obstacle(work).is_none() {
        let copies = (0..rounds()).map(|_| plain_copy(work) / bound(work));
        line(
            "the first, as one plain TCP copy",
            LAST.name,
            median(copies.collect()),
            None,
            f64::NAN,
        );
    }
}

/// Two rooms, and a trunk between them.
pub fn rooms() {
    let links = Links {
        trunk: Some(50.0),
        ..links(&[50.0], 50.0, 50.0)
    };
    let figures = [LAST.at_most(1.2), CROSSED.at_most(1.2)];
    table(&[over("two rooms, 50, trunk 50", links, 32, 12, &figures)]);
}

/// Links as fast as the machine makes them, in turns with aria2.
pub fn swarm() {
    let work = between_hosts(512, 4);
    let figures = vec![CPU.of_aria2(0.6), SECONDS.of_aria2(0.45), PEAK];
    table(&[Row {
        name: "hosts, links without a limit",
        work,
        figures,
    }]);
}

/// Peers and files grow, on this machine's loopback.
pub fn growth() {
    let row = |mib, peers| {
        let cpu = match peers {
            100 => CPU.at_most(5.0),
            _ => CPU,
        };
        Row {
            name: "loopback",
            work: unshaped(mib, peers),
            figures: vec![SECONDS, cpu, PEAK],
        }
    };
    let by_peers = [2, 4, 8, 16, 32, 100].map(|peers| row(64, peers));
    let rounds = table(&by_peers);
    let [at_4, at_32] = [1, 4].map(|i| rounds[i].medians(&by_peers[i].work, &CPU));
    line(
        "32 peers over 4",
        CPU.name,
        at_32[0] / at_4[0],
        Some(1.3),
        at_32[1] / at_4[1],
    );
    table(&[16, 256, 1024, 4096].map(|mib| row(mib, 4)));
}

/// Requests and answers, as peers grow: on links that are the limit, and where the machine is.
pub fn messages() {
    let figures = vec![MESSAGES];
    let row = |name, work| Row {
        name,
        work: Work {
            is_logged: true,
            ..work
        },
        figures: figures.clone(),
    };
    let rows = [4, 8, 16, 32].map(|peers| {
        let ten = links(&[10.0], 10.0, 10.0);
        let shaped = over("10 up, 10 down", ten, 16, peers, &[]);
        [
            row("loopback", unshaped(64, peers)),
            row(shaped.name, shaped.work),
        ]
    });
    table(rows.as_flattened());
}

/// The seed hashes while the others wait for it.
pub fn cold() {
    let unlimited = between_hosts(1024, 4);
    let gigabit = Work {
        net: Net::Shaped(links(&[1000.0], 1000.0, 1000.0)),
        ..unlimited.clone()
    };
    if let Some(why) = obstacle(&unlimited) {
        println!("  left out: {why}");
        return;
    }
    head();
    for (name, warm) in [
        ("1024 MiB to 4: hosts, cold", unlimited),
        ("1000 up, 1000 down, cold", gigabit),
    ] {
        cold_beside_warm(name, &warm);
    }
}

fn cold_beside_warm(name: &'static str, warm: &Work) {
    let cold = Work {
        is_cold: true,
        is_logged: true,
        ..warm.clone()
    };
    let (mut colds, mut warms, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let outcome = ours(&cold);
        colds.push(outcome.last(&cold));
        firsts.push(outcome.first_piece);
        warms.push(ours(warm).last(warm));
    }
    let ratios = colds.iter().zip(&warms).map(|(cold, warm)| cold / warm);
    let ratio = median(ratios.collect());
    for (name, figure, found, goal) in [
        (name, SECONDS.name, median(colds), None),
        ("the same, warm", SECONDS.name, median(warms), None),
        ("", "cold / warm", ratio, Some(1.2)),
        ("its first piece", SECONDS.name, median(firsts), Some(1.0)),
    ] {
        line(name, figure, found, goal, f64::NAN);
    }
}

/// What some work took: each round of ours, and of aria2's where it is installed.
struct Rounds {
    us: Vec<Outcome>,
    them: Vec<Outcome>,
}

impl Rounds {
    /// A figure's medians, ours and aria2's.
    fn medians(&self, work: &Work, figure: &Figure) -> [f64; 2] {
        [&self.us, &self.them].map(|rounds| {
            let figures = rounds.iter().map(|round| (figure.of)(work, round));
            median(figures.collect())
        })
    }
}

/// Measures each row, and prints its figures.
fn table(rows: &[Row]) -> Vec<Rounds> {
    head();
    let measure = |row: &Row| {
        let rounds = row.measure();
        row.print(&rounds);
        rounds
    };
    rows.iter().map(measure).collect()
}

impl Row {
    /// Ours and aria2 in turn, so that both meet the same minutes.
    fn measure(&self) -> Rounds {
        let (mut us, mut them): (_, Vec<Outcome>) = (Vec::new(), Vec::new());
        let n = match obstacle(&self.work) {
            None => rounds(),
            Some(why) => {
                println!("  {}: left out: {why}", self.title());
                0
            }
        };
        for _ in 0..n {
            let our = ours(&self.work);
            let hopeless = our.last(&self.work) * HOPELESS;
            us.push(our);
            if them.iter().all(|their| their.last(&self.work) < hopeless) {
                them.extend(aria2(&self.work));
            }
        }
        Rounds { us, them }
    }

    fn title(&self) -> String {
        format!(
            "{} MiB to {}: {}",
            self.work.mib, self.work.peers, self.name
        )
    }

    fn print(&self, rounds: &Rounds) {
        if rounds.us.is_empty() {
            return;
        }
        let mut title = self.title();
        for figure in &self.figures {
            let [our, their] = rounds.medians(&self.work, figure);
            let most = match figure.goal {
                Some(Goal::AtMost(most)) => Some(most),
                _ => None,
            };
            line(&title, figure.name, our, most, their);
            if let Some(Goal::OfAria2(most)) = figure.goal {
                line("", "of aria2's", our / their, Some(most), f64::NAN);
            }
            title.clear();
        }
    }
}

/// aria2 is measured once where it takes so many times as long.
const HOPELESS: f64 = 10.0;

fn head() {
    let beside = if is_installed() {
        "aria2"
    } else {
        "aria2c isn't installed"
    };
    let hosts = format!("(hosts with {})", congestion_control());
    println!(
        "  {hosts:47} {:14} {:>7} {:>6}  met  {beside}",
        "", "ours", "goal"
    );
}

/// One figure, what it should be at most, and aria2's. What isn't known is NaN, and left empty.
fn line(title: &str, figure: &str, ours: f64, most: Option<f64>, aria2: f64) {
    let known = |figure: f64, digits| match figure.is_nan() {
        true => String::new(),
        false => format!("{figure:.digits$}"),
    };
    let (our, their) = (known(ours, 3), known(aria2, 2));
    let goal = most.map_or(String::new(), |most| format!("{most:.2}"));
    let met = match most {
        Some(most) if ours <= most => "yes",
        Some(most) if ours > most => "no",
        _ => "",
    };
    println!("  {title:47} {figure:14} {our:>7} {goal:>6}  {met:3}  {their:>5}");
}
