//! `client --status`: how far everybody is, once or until enough machines have it. It is no peer: it asks the tracker, and
//! serves nobody.

use std::fmt;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

pub mod standing;
mod text;

use self::standing::{Host, JudgedMachine, RolloutState, Target};
use crate::bound::{self, HoldUp};
use crate::cli::Exit;
use crate::md5::Digest;
use crate::net::{HEADER, connect, resolve};
use crate::protocol::{LIST_CAP, Reply, SwarmStatus, ToTracker};
use crate::report::{Report, Reportable, Tone, Weight};
use crate::torrent::{Name, legible};

/// The time between two questions: with that between two reports, what is shown is 5 s old at most.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// A tracker that doesn't answer for so long is given up where nobody said how long to wait.
const NO_ANSWER: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct StatusConfig {
    /// The tracker's name or address.
    pub tracker: String,
    /// Its port.
    pub port: u16,
    /// This file alone; otherwise all that are published.
    pub only: Option<Name>,
    /// This content of it, whatever stands.
    pub md5: Option<Digest>,
    /// Wait until so many machines beside publishers have it.
    pub until: Option<usize>,
    /// The machines that are expected.
    pub hosts: Vec<String>,
    /// How long to wait.
    pub within: Option<Duration>,
}

/// What is told while waiting.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum StatusEvent {
    /// The count of machines that have it has changed.
    Status {
        n_done: usize,
        summary: String,
        /// What holds up the machine that will have it last, if that can be told.
        held_up: Option<HoldUp>,
        machines: Vec<MachineLine>,
    },
    NoAnswer {
        why: String,
    },
}

/// One machine, for programs.
#[derive(Debug, Serialize)]
struct MachineLine {
    host: String,
    peer: String,
    percent: u64,
    done: bool,
    state: String,
    age: f64,
}

impl Reportable for StatusEvent {
    fn weight(&self) -> Weight {
        Weight::Normal
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Status { .. } => Tone::Neutral,
            Self::NoAnswer { .. } => Tone::Bad,
        }
    }
}

impl fmt::Display for StatusEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { summary, .. } => write!(f, "{summary}"),
            Self::NoAnswer { why } => {
                write!(f, "no answer from the tracker: {why}; it is asked again")
            }
        }
    }
}

/// Everything that is known at one moment.
struct RolloutView {
    targets: Vec<Target>,
    all: Vec<JudgedMachine>,
    /// Who will have it last, and what holds it up.
    held_up: Option<(String, HoldUp)>,
}

impl RolloutView {
    fn n_done(&self) -> usize {
        self.all.iter().filter(|one| one.is_done()).count()
    }

    /// Returns the expected machines that have it not.
    fn missing<'a>(&self, hosts: &'a [Host]) -> Vec<&'a Host> {
        let has = |host: &Host| {
            let mut of_it = self.all.iter().filter(|one| one.is_host(host));
            of_it.any(JudgedMachine::has_it)
        };
        hosts.iter().filter(|host| !has(host)).collect()
    }

    /// Returns the count, and what holds them up.
    fn summary(&self, until: Option<usize>) -> String {
        let count = text::summary(&self.all, &self.targets, until);
        let held_up = self.held_up.as_ref();
        let held_up = held_up.map(|(host, by)| format!("\n{}", text::held_up(host, by)));
        count + &held_up.unwrap_or_default()
    }

    fn event(&self, until: Option<usize>) -> StatusEvent {
        let line = |one: &JudgedMachine| MachineLine {
            host: one.host.clone(),
            peer: one.peer.clone(),
            percent: one.percent(),
            done: one.is_done(),
            state: text::standing(one),
            age: one.age,
        };
        StatusEvent::Status {
            n_done: self.n_done(),
            summary: self.summary(until),
            held_up: self.held_up.as_ref().map(|(_, by)| *by),
            machines: self.all.iter().map(line).collect(),
        }
    }

    /// Returns what is printed at the end: the table, the count, and who is missing and why.
    fn ending(&self, until: Option<usize>, hosts: &[Host]) -> String {
        let mut out = text::table(&self.all);
        out += &self.summary(until);
        let known = |host: &Host| self.all.iter().any(|one| one.is_host(host));
        let never = self.missing(hosts).into_iter().filter(|host| !known(host));
        for host in never {
            out += &format!("\nmissing: {} never came", legible(&host.text));
        }
        let lacking = self.all.iter().filter(|one| !one.has_it());
        for one in lacking.filter(|_| until.is_some()) {
            let who = if one.host.is_empty() {
                &one.peer
            } else {
                &one.host
            };
            let why = match one.standing {
                RolloutState::OnItsWay => {
                    format!("at {} %, {}", one.percent(), text::standing(one))
                }
                _ => text::standing(one),
            };
            out += &format!(
                "\nmissing: {} ({}): {why}",
                legible(who),
                legible(&one.peer)
            );
        }
        out
    }
}

/// Asks once, or until enough machines have it. Returns the exit code and what is printed at the end.
pub fn run(config: &StatusConfig, report: &Report) -> (Exit, String) {
    let start = Instant::now();
    let hosts: Vec<Host> = config.hosts.iter().map(|text| host(text)).collect();
    let (mut last, mut told, mut fault): (Option<RolloutView>, Option<usize>, _) =
        (None, None, None);
    let mut answered = start;
    loop {
        match ask(config) {
            Ok(mut seen) => {
                // when all have it, nothing moves any more, and what held them up is what was seen last
                let before = last.take().and_then(|last: RolloutView| last.held_up);
                seen.held_up = seen.held_up.or(before);
                answered = Instant::now();
                fault = None;
                if config.until.is_some() {
                    tell(report, &seen, config.until, &mut told);
                }
                let is_enough = config
                    .until
                    .is_none_or(|until| seen.n_done() >= until && seen.missing(&hosts).is_empty());
                if is_enough {
                    return (Exit::Done, seen.ending(config.until, &hosts));
                }
                last = Some(seen);
            }
            Err(why) if config.until.is_none() => return (Exit::Unreachable, why),
            Err(why) => {
                if fault.as_ref() != Some(&why) {
                    report.say(&StatusEvent::NoAnswer { why: why.clone() });
                }
                fault = Some(why);
            }
        }
        let is_late = config
            .within
            .is_some_and(|within| start.elapsed() >= within);
        if is_late && let Some(seen) = &last {
            return (Exit::Late, seen.ending(config.until, &hosts));
        }
        let is_silent = config.within.is_none() && answered.elapsed() >= NO_ANSWER;
        if is_late || is_silent {
            let why = fault.unwrap_or_default();
            return (
                Exit::Unreachable,
                format!("no answer from the tracker: {why}"),
            );
        }
        thread::sleep(ASK_EVERY);
    }
}

/// Shows the count as a status line, and prints it where that isn't possible or whenever it changes.
fn tell(report: &Report, seen: &RolloutView, until: Option<usize>, told: &mut Option<usize>) {
    let event = seen.event(until);
    if report.status_terminal().is_some() {
        report.show(event.to_string().lines().map(str::to_owned).collect());
    }
    if told.replace(seen.n_done()) != Some(seen.n_done()) {
        report.say(&event);
    }
}

fn host(text: &str) -> Host {
    let resolved = resolve(text, 0).unwrap_or_default();
    let addresses: Vec<IpAddr> = resolved.into_iter().map(|addr| addr.ip()).collect();
    Host {
        text: text.to_owned(),
        addresses,
    }
}

/// Asks the tracker.
fn ask(config: &StatusConfig) -> Result<RolloutView, String> {
    let answer = || {
        let mut tracker = connect(&resolve(&config.tracker, config.port)?)?;
        tracker.send(&ToTracker::Status)?;
        tracker.expect::<Reply>(HEADER, LIST_CAP)
    };
    let reply = answer().map_err(|fault| match fault.kind() {
        ErrorKind::ConnectionRefused => {
            "nothing listens there; is the tracker started, and are these its address and port?"
                .to_owned()
        }
        _ => fault.to_string(),
    })?;
    if let Some(why) = reply.error {
        return Err(legible(&why));
    }
    let status: SwarmStatus = reply.status.ok_or("it is no tracker that knows --status")?;
    let targets = standing::targets(config.only.as_ref(), config.md5, &status.files);
    let all = standing::judge(&status, &targets);
    let last = |target: &Target| bound::of_last(&status.machines, &target.name, target.md5);
    let last = targets.iter().find_map(last);
    let held_up = last.map(|(machine, by)| (machine.label().to_owned(), by));
    Ok(RolloutView {
        targets,
        all,
        held_up,
    })
}
