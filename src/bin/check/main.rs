//! `check`: grades any tracker and any peer, in whatever language, by the rows of `tests/REQUIREMENTS.md`.
//!
//! It plays the other side, and writes down with the time what is sent and comes ([`record`]): [`tracker`] plays the peers,
//! [`peer`] the tracker and the other peers, and [`scene`] decides what these have. When the run is over, each row is judged
//! by that record alone ([`judge_tracker`], [`judge_peer`]).

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bittorrentish::cli::{self, Exit};
use bittorrentish::net::addresses::host_name;
use bittorrentish::net::{connect, resolve};
use bittorrentish::protocol::TRACKER_PORT;
use getopts::{Matches, Options};

use crate::peer::PeerPlay;
use crate::program::Program;
use crate::record::{Plan, Recorder, event};
use crate::report::CourseRow;
use crate::tracker::TrackerPlay;
use crate::verdict::Run;

mod judge_peer;
mod judge_tracker;
mod peer;
mod program;
mod record;
mod report;
mod scene;
#[cfg(test)]
mod tests;
mod tracker;
mod verdict;

/// The flags with a value.
const FLAGS: [&str; 8] = [
    "rows", "port", "at", "folder", "within", "scale", "log", "junit",
];

/// How often a tracker is looked for, and how long it is waited for between two times.
const LOOKS: usize = 200;
const LOOK: Duration = Duration::from_millis(100);

fn options() -> Options {
    let mut options = Options::new();
    for flag in FLAGS {
        options.optopt("", flag, "", "");
    }
    for (short, flag) in [("", "list"), ("h", "help"), ("V", "version")] {
        options.optflag(short, flag, "");
    }
    options
}

/// What the command line asks for.
struct CheckArgs {
    kind: String,
    command: Vec<String>,
    rows: Vec<CourseRow>,
    port: u16,
    at: Option<String>,
    folder: String,
    plan: Plan,
    log: Option<String>,
    junit: Option<String>,
}

fn main() -> ExitCode {
    let options = options();
    let words = cli::args().map(|mut own| {
        // getopts would take the command's flags for ours
        let at = own
            .iter()
            .position(|word| word == "--")
            .unwrap_or(own.len());
        let command = own.split_off(at).into_iter().skip(1).collect();
        (own, command)
    });
    let parsed = words.and_then(|(own, command)| Ok((cli::parse(&options, &own)?, command)));
    let (matches, command): (Matches, Vec<String>) = match parsed {
        Ok(parsed) => parsed,
        Err(fault) => return cli::fail(Exit::Usage, fault),
    };
    let list = || {
        let line =
            |row: &CourseRow| format!("{:<4}{:<7}  {}", row.id, row.shows_on, row.sentence());
        let lines: Vec<String> = report::rows().iter().map(line).collect();
        lines.join("\n")
    };
    match args(&matches, command) {
        _ if matches.opt_present("help") => cli::say(include_str!("help.txt").trim_end()),
        _ if matches.opt_present("version") => {
            cli::say(concat!("check ", env!("CARGO_PKG_VERSION")))
        }
        _ if matches.opt_present("list") => cli::say(list()),
        Ok(args) => check(&args),
        Err(fault) => cli::fail(Exit::Usage, fault),
    }
}

fn args(matches: &Matches, command: Vec<String>) -> Result<CheckArgs, String> {
    let kind = matches.free.join(" ");
    if kind != "tracker" && kind != "peer" {
        return Err(format!(
            "expected tracker or peer, got {kind:?}; a command comes behind --"
        ));
    }
    let scale: f64 = cli::number(matches, "scale", 1.0)?;
    if !(0.02..=10.0).contains(&scale) {
        return Err(format!(
            "--scale takes a number from 0.02 to 10, got {scale}"
        ));
    }
    let within = cli::seconds(matches, "within", Duration::ZERO)?.as_secs_f64();
    let folder = matches
        .opt_str("folder")
        .unwrap_or_else(|| "files".to_owned());
    if folder.is_empty() || folder.contains('/') || folder.starts_with('.') {
        return Err(format!(
            "--folder takes the name of a folder, such as files, got {folder:?}"
        ));
    }
    let at = matches.opt_str("at");
    match kind.as_str() {
        "peer" if at.is_some() => {
            return Err("--at is for a tracker: a peer comes to --port".to_owned());
        }
        "tracker" if at.is_none() && command.is_empty() => {
            return Err("where is the tracker? Give --at, or a command behind --".to_owned());
        }
        _ => {}
    }
    Ok(CheckArgs {
        rows: rows(matches.opt_str("rows"))?,
        port: cli::number(matches, "port", TRACKER_PORT)?,
        plan: Plan::new(scale, Some(within).filter(|within| *within > 0.0)),
        log: matches.opt_str("log"),
        junit: matches.opt_str("junit"),
        kind,
        command,
        at,
        folder,
    })
}

fn rows(chosen: Option<String>) -> Result<Vec<CourseRow>, String> {
    let (mut rows, mut chosen_rows) = (report::rows(), Vec::new());
    let Some(chosen) = chosen else {
        return Ok(rows);
    };
    for id in chosen.to_uppercase().split(',') {
        let at = rows.iter().position(|row| row.id == id.trim());
        let at = at.ok_or_else(|| format!("--rows: there is no row {id:?}, see --list"))?;
        chosen_rows.push(rows.remove(at));
    }
    Ok(chosen_rows)
}

fn check(args: &CheckArgs) -> ExitCode {
    let recorder = match Recorder::new(args.log.as_deref()) {
        Ok(recorder) => Arc::new(recorder),
        Err(fault) => return cli::fail(Exit::Other, format!("--log: {fault}")),
    };
    let played = match args.kind.as_str() {
        "peer" => play_peer(args, &recorder),
        _ => play_tracker(args, &recorder),
    };
    match played {
        Ok(()) => judge(args, &recorder),
        Err(why) => cli::fail(Exit::Unreachable, why),
    }
}

/// Starts the program, where a command is given.
fn start(args: &CheckArgs, port: u16, recorder: &Recorder) -> Result<Option<Program>, String> {
    let Some(first) = args.command.first() else {
        return Ok(None);
    };
    let plan = args.plan;
    let replace = [
        ("{ip}", "127.0.0.1".to_owned()),
        ("{port}", port.to_string()),
        ("{ping}", plan.ping.to_string()),
        ("{list}", plan.list.to_string()),
        ("{round}", plan.round.to_string()),
        ("{sweep}", plan.sweep.to_string()),
    ];
    let planted = (scene::PLANTED, scene::PLANTED_BYTES);
    let program = Program::start(&args.command, &args.folder, replace.to_vec(), planted);
    let program = program.map_err(|fault| format!("{first} can't be started: {fault}"))?;
    recorder.note(event("started", 0, &args.command.join(" ")));
    Ok(Some(program))
}

/// How the program ended, for the end of a sentence.
fn ended(program: &mut Option<Program>) -> String {
    let how = program.as_mut().and_then(Program::ended);
    how.map_or_else(String::new, |how| format!("; it ended: {how}"))
}

fn play_peer(args: &CheckArgs, recorder: &Arc<Recorder>) -> Result<(), String> {
    let taken = |fault| {
        format!(
            "port {}: {fault}; end what uses it, or give --port",
            args.port
        )
    };
    let play = PeerPlay::start(Arc::clone(recorder), args.plan, args.port);
    let (play, port, _listeners) = play.map_err(taken)?;
    let within = args.plan.within;
    eprintln!("check: the peer's tracker is at port {port}; this takes up to {within:.0} s");
    let mut program = start(args, port, recorder)?;
    let came = play.run(&mut program);
    let spoke = recorder
        .events()
        .iter()
        .any(|event| event.what == "not understood");
    match came || spoke {
        true => Ok(()),
        false => Err(format!(
            "no peer came to port {port}{}",
            ended(&mut program)
        )),
    }
}

fn play_tracker(args: &CheckArgs, recorder: &Arc<Recorder>) -> Result<(), String> {
    // one that binds to its host's name isn't at 127.0.0.1
    let own = ["127.0.0.1".to_owned(), host_name()].map(|host| format!("{host}:{}", args.port));
    let hosts = args.at.clone().map_or(own.to_vec(), |at| vec![at]);
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for host in &hosts {
        let (host, port) = host.rsplit_once(':').unwrap_or((host, "29283"));
        let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
        addrs.extend(resolve(host, port).unwrap_or_default());
    }
    let hosts = hosts.join(" or ");
    if !args.command.is_empty() && connect(&addrs).is_ok() {
        return Err(format!(
            "{hosts} is taken: end what is there, or give --port"
        ));
    }
    let mut program = start(args, args.port, recorder)?;
    for _ in 0..LOOKS {
        for addr in &addrs {
            if let Ok(mut play) = TrackerPlay::start(Arc::clone(recorder), args.plan, *addr) {
                eprintln!(
                    "check: the tracker answers; this takes {:.0} s",
                    10.0 * args.plan.sweep
                );
                play.run(&mut program);
                return Ok(());
            }
        }
        let ended = ended(&mut program);
        if !ended.is_empty() {
            return Err(format!("no tracker at {hosts}{ended}"));
        }
        std::thread::sleep(LOOK);
    }
    Err(format!("no tracker at {hosts}"))
}

/// Judges all rows, and says so.
fn judge(args: &CheckArgs, recorder: &Recorder) -> ExitCode {
    let events = recorder.events();
    let run = Run::new(&events, args.plan);
    let (mut judged, mut text) = (Vec::new(), String::new());
    for row in args.rows.iter().filter(|row| row.is_judged(&args.kind)) {
        let verdict = match args.kind.as_str() {
            "peer" => judge_peer::judge(row.id, &run),
            _ => judge_tracker::judge(row.id, &run),
        };
        let verdict = run.doubted(row.id, verdict);
        text += &report::text(row, &verdict);
        judged.push((row, verdict));
    }
    if let Some(ended) = run.first("ended") {
        text += &format!("{ended}\n");
    }
    cli::say(text + &report::not_judged(&args.kind, &args.rows));
    if let Some(path) = &args.junit
        && let Err(fault) = std::fs::write(path, report::junit(&args.kind, &judged))
    {
        return cli::fail(Exit::Other, format!("{path}: {fault}"));
    }
    let failed = |(_, verdict): &(&CourseRow, _)| report::in_short(verdict).0 == "fails";
    match judged.iter().any(failed) {
        true => Exit::Other.into(),
        false => Exit::Done.into(),
    }
}
