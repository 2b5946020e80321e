//! `client --status`: how far everybody is, once or until enough machines have it. It is no peer: it asks the tracker, and
//! serves nobody.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

pub mod standing;
mod text;

use self::standing::{Host, JudgedMachine, RolloutState, Target};
use crate::bound::{self, HoldUp};
use crate::cli::{Exit, nearest};
use crate::client::errors::ClientError;
use crate::client::tracker_answers::to_tracker;
use crate::md5::Digest;
use crate::net::addresses::at_port;
use crate::net::{HEADER, resolve};
use crate::protocol::{LIST_CAP, Reply, SwarmStatus, ToTracker};
use crate::report::{Report, Reportable, Tone, Weight};
use crate::torrent::{Name, legible};

/// The time between two questions: with that between two reports, what is shown is 5 s old at most.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// A tracker that doesn't answer for this long is given up where nobody said how long to wait.
const NO_ANSWER: Duration = Duration::from_secs(60);

/// How many names are looked up at a time.
const AT_ONCE: usize = 64;

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
    /// Wait until this many machines beside publishers have it.
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
                write!(f, "{why}; it is asked again")
            }
        }
    }
}

/// Everything that is known at one moment.
struct RolloutView {
    targets: Vec<Target>,
    /// How many files every machine is to have beside these: of many, the tracker doesn't tell.
    n_untold: usize,
    /// If nobody publishes the one that is asked for, a published name that is nearly the same.
    near: Option<String>,
    /// Some of the files under whose names another content may stand soon.
    changing: BTreeSet<Name>,
    all: Vec<JudgedMachine>,
    /// Who will have it last, and what holds it up.
    held_up: Option<(String, HoldUp)>,
}

impl RolloutView {
    fn n_done(&self) -> usize {
        self.all.iter().filter(|one| one.is_done()).count()
    }

    /// Returns true if enough machines have what won't be another content in a moment.
    fn is_enough(&self, until: usize, hosts: &[Host]) -> bool {
        self.changing.is_empty() && self.n_done() >= until && self.missing(hosts).is_empty()
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
        let targets = (&self.targets[..], self.n_untold);
        let near = self.near.as_deref();
        let mut count = text::summary(&self.all, targets, near, until);
        for name in self.changing.iter().filter(|_| until.is_some()) {
            count += &format!("\na new {name} is coming, and is waited for");
        }
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
        let missing = self.missing(hosts);
        let is_expected =
            |one: &JudgedMachine| hosts.is_empty() || hosts.iter().any(|host| one.is_host(host));
        let counted = |one: &&JudgedMachine| one.standing != RolloutState::Publisher;
        if !self.all.iter().filter(counted).all(is_expected) {
            let (n, of) = (hosts.len() - missing.len(), hosts.len());
            out += &format!("\n{n} of the {of} in --hosts have it");
        }
        for host in missing.into_iter().filter(|host| !known(host)) {
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
            let word = match is_expected(one) {
                true => "missing",
                false => "not in --hosts",
            };
            let (who, peer) = (legible(who), legible(&one.peer));
            out += &format!("\n{word}: {who} ({peer}): {why}");
        }
        out
    }
}

/// Asks once, or until enough machines have it. Returns the exit code and what is printed at the end.
pub fn run(config: &StatusConfig, report: &Report) -> (Exit, String) {
    let start = Instant::now();
    let hosts = hosts(&config.hosts, config.within.map(|within| start + within));
    let (mut last, mut told, mut fault): (Option<RolloutView>, Option<(usize, bool)>, _) =
        (None, None, None);
    let mut answered = start;
    loop {
        let known = last.as_ref().map_or(&[][..], |last| &last.targets);
        match ask(config, known) {
            Ok(mut seen) => {
                // at the end nothing moves any more, and what held them up is what was seen last; before, it is who is missing
                let before = last.take().and_then(|last: RolloutView| last.held_up);
                let is_over = config.until.is_some_and(|n| seen.is_enough(n, &hosts));
                seen.held_up = seen.held_up.or(before.filter(|_| is_over));
                answered = Instant::now();
                fault = None;
                if seen.n_untold > 0 && config.until.is_some() {
                    let n = seen.targets.len().saturating_add(seen.n_untold);
                    let why = "more than can be waited for: name one with --only";
                    return (Exit::Other, format!("{n} files are published, {why}"));
                }
                if config.until.is_some() {
                    tell(report, &seen, config.until, &mut told);
                }
                if config
                    .until
                    .is_none_or(|until| seen.is_enough(until, &hosts))
                {
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
            return (Exit::Unreachable, fault.unwrap_or_default());
        }
        thread::sleep(ASK_EVERY);
    }
}

/// Shows the count as a status line, and prints it where that isn't possible or whenever it, or what is waited for, changes.
fn tell(
    report: &Report,
    seen: &RolloutView,
    until: Option<usize>,
    told: &mut Option<(usize, bool)>,
) {
    let event = seen.event(until);
    if report.status_terminal().is_some() {
        report.measure();
        report.show(event.to_string().lines().map(str::to_owned).collect());
    }
    let changes = (seen.n_done(), seen.changing.is_empty());
    if told.replace(changes) != Some(changes) {
        report.say(&event);
    }
}

/// The expected machines, each perhaps with a user's name before it, as for `ssh`. A short name means one of them alone,
/// or else none. No more names are looked up once the time is over.
fn hosts(texts: &[String], until: Option<Instant>) -> Vec<Host> {
    let bare = |text: &String| text.rsplit('@').next().map(str::to_ascii_lowercase);
    let bare: Vec<String> = texts.iter().filter_map(bare).collect();
    let short = |bare: &str| bare.split('.').next().unwrap_or_default().to_owned();
    let host = |((text, own), addresses): ((&String, &String), Vec<IpAddr>)| {
        let is_other = |other: &String| other != own && short(other) == short(own);
        let is_name = own.parse::<IpAddr>().is_err() && !bare.iter().any(is_other);
        Host {
            text: text.clone(),
            name: is_name.then(|| short(own)),
            addresses,
        }
    };
    let is_over = || until.is_some_and(|until| Instant::now() >= until);
    let addresses = bare.chunks(AT_ONCE);
    let addresses = addresses.flat_map(|names| addresses_of(names, is_over()));
    texts.iter().zip(&bare).zip(addresses).map(host).collect()
}

/// Looks names up, all at once: where no name server answers, each takes ten seconds. Without these, takes the addresses alone.
fn addresses_of(names: &[String], without_names: bool) -> Vec<Vec<IpAddr>> {
    if without_names {
        let parsed = names.iter().map(|name| name.parse().ok());
        return parsed.map(|ip| ip.into_iter().collect()).collect();
    }
    let look_up = |name: &String| -> Vec<IpAddr> {
        let resolved = resolve(name, 0).unwrap_or_default();
        resolved.into_iter().map(|addr| addr.ip()).collect()
    };
    thread::scope(|scope| {
        let start = |name| thread::Builder::new().spawn_scoped(scope, move || look_up(name));
        let started: Vec<_> = names.iter().map(start).collect();
        let found = started.into_iter().zip(names).map(|(started, name)| {
            let found = started.ok().and_then(|thread| thread.join().ok());
            found.unwrap_or_else(|| look_up(name))
        });
        found.collect()
    })
}

/// Asks the tracker.
fn ask_tracker(config: &StatusConfig) -> Result<Reply, ClientError> {
    let mut tracker = to_tracker(&config.tracker, config.port)?;
    let only = config.only.clone();
    tracker.send(&ToTracker::Status { only })?;
    Ok(tracker.expect(HEADER, LIST_CAP)?)
}

/// Asks it, and judges what it answers. What was `known` to be published is still waited for when nobody has it any more.
fn ask(config: &StatusConfig, known: &[Target]) -> Result<RolloutView, String> {
    let at = at_port(&config.tracker, config.port);
    let reply = ask_tracker(config);
    let reply =
        reply.map_err(|fault| format!("no answer from the tracker {at}: {}", fault.no_list()))?;
    if let Some(why) = reply.error {
        return Err(legible(&why));
    }
    let status: SwarmStatus = reply.status.ok_or("it is no tracker that knows --status")?;
    let n_untold = match config.only {
        Some(_) => 0,
        None => status.n_files.saturating_sub(status.files.len()),
    };
    let mut targets = standing::targets(config.only.as_ref(), config.md5, &status.files);
    let is_gone = |before: &&Target| targets.iter().all(|target| target.name != before.name);
    let gone: Vec<Target> = known.iter().filter(is_gone).cloned().collect();
    targets.extend(gone);
    let all = standing::judge(&status, &targets);
    let last = |target: &Target| bound::of_last(&status.machines, &target.name, target.md5);
    let last = targets.iter().find_map(last);
    let held_up = last.map(|(machine, by)| (machine.label().to_owned(), by));
    // a pinned content counts, whatever comes
    let changing = match config.md5 {
        Some(_) => BTreeSet::new(),
        None => status.changing,
    };
    let names = status
        .files
        .iter()
        .map(|file| file.name.as_str().to_owned());
    let names: Vec<String> = names.collect();
    let near = config.only.as_ref().filter(|_| targets[0].md5.is_none());
    let near = near.and_then(|name| nearest(name.as_str(), &names).map(legible));
    Ok(RolloutView {
        targets,
        n_untold,
        near,
        changing,
        all,
        held_up,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_the_time_is_over_no_name_is_looked_up() {
        let texts = ["localhost", "10.0.0.7"].map(str::to_owned);
        let n_addresses = |until| {
            hosts(&texts, until)
                .into_iter()
                .map(|host| host.addresses.len())
        };
        assert_eq!(
            n_addresses(Some(Instant::now())).collect::<Vec<_>>(),
            [0, 1]
        );
        assert!(n_addresses(None).all(|n| n > 0));
    }

    #[test]
    fn a_rollout_ends_once_enough_have_it_and_nothing_comes() {
        use RolloutState::{Done, OnItsWay, Publisher};
        let host = |ip: &str| Host {
            text: ip.to_owned(),
            name: None,
            addresses: ip.parse().ok().into_iter().collect(),
        };
        for (standings, until, missing, comes, is_enough) in [
            (&[Publisher, Done, Done][..], 2, &[][..], false, true),
            (&[Publisher, Done, Done], 3, &[], false, false),
            (&[Publisher, Done, OnItsWay], 2, &[], false, false),
            (&[Publisher, Done, Done], 2, &[], true, false),
            // by address: the publisher has it, too
            (&[Publisher, Done, OnItsWay], 1, &["10.0.0.2"], false, false),
            (&[Publisher, Done], 1, &["10.0.0.9"], false, false),
        ] {
            let machine = |(nth, standing): (usize, &RolloutState)| JudgedMachine {
                host: String::new(),
                peer: format!("10.0.0.{nth}:1"),
                here: true,
                age: 0.0,
                standing: standing.clone(),
                file: None,
            };
            let name = Name::parse("image.iso").expect("a name");
            let view = RolloutView {
                targets: Vec::new(),
                n_untold: 0,
                near: None,
                changing: comes.then_some(name).into_iter().collect(),
                all: standings.iter().enumerate().map(machine).collect(),
                held_up: None,
            };
            let have_it = ["10.0.0.0", "10.0.0.1"].map(host);
            let hosts: Vec<Host> = have_it
                .into_iter()
                .chain(missing.iter().map(|ip| host(ip)))
                .collect();
            let case = format!("{standings:?} {until} {missing:?} {comes}");
            assert_eq!(view.is_enough(until, &hosts), is_enough, "{case}");
            let lacking = view.missing(&hosts).into_iter().map(|host| &host.text);
            assert!(lacking.eq(missing), "{case}");
        }
    }

    #[test]
    fn a_short_name_means_one_machine() {
        let names = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let hosts = hosts(&texts, None).into_iter();
            hosts
                .map(|host| host.name.unwrap_or_default())
                .collect::<Vec<_>>()
        };
        let (one, other) = ("pc01.a.invalid", "pc01.b.invalid");
        assert_eq!(names(&[one, "PC02.a.invalid"]), ["pc01", "pc02"]);
        assert_eq!(names(&[one, other, "pc2"]), ["", "", "pc2"]);
        assert_eq!(names(&[one, one]), ["pc01", "pc01"], "written twice");
        assert_eq!(names(&["root@PC7", "admin@pc7"]), ["pc7", "pc7"]);
        assert_eq!(names(&["10.0.0.7", "10.0.0.8"]), ["", ""]);
    }
}
