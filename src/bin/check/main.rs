//! `check`: grades any tracker and any peer, in whatever language, by the rows of `tests/REQUIREMENTS.md`.
//!
//! It plays the other side by a script: [`peer`] the tracker and the other peers, [`tracker`] the peers. All that is sent and
//! comes is in one [`record`] with its time. When the run is over, each row is judged by that alone: a row is a sentence of
//! the course text in `rows.txt`, and a function from the record to a verdict, in [`judge_peer`] or [`judge_tracker`].

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
use crate::record::{ENDED, Recorder, event};
use crate::report::CourseRow;
use crate::scene::STARTED;
use crate::tracker::TrackerPlay;
use crate::verdict::{No, Run};

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

/// The flags with a value, and those without.
const FLAGS: [&str; 8] = [
    "rows", "port", "at", "folder", "within", "scale", "log", "junit",
];
const SWITCHES: [(&str, &str); 4] = [
    ("", "list"),
    ("", "remote"),
    ("h", "help"),
    ("V", "version"),
];
/// How long a peer takes, seconds of the course text; and the least for one with short intervals, seconds.
const MOST: f64 = 299.0;
const LEAST: f64 = 48.0;
/// What shows that something failed inside a program: in Python, Java, Rust, Go and others.
const TRACES: [&str; 5] = ["Traceback", "Exception", "panic", "goroutine", "Error"];
/// The peer's folder where none is named.
const FOLDER: &str = "files";
/// How often a tracker is looked for, and how long it is waited for between two times.
const LOOKS: usize = 200;
const LOOK: Duration = Duration::from_millis(100);

/// What the command line asks for.
struct CheckArgs {
    flags: Matches,
    kind: String,
    command: Vec<String>,
    port: u16,
    /// The peer's, within the fresh one.
    folder: String,
    scale: f64,
    /// In seconds of the course text.
    within: f64,
}

fn main() -> ExitCode {
    let list = || {
        let line =
            |row: &CourseRow| format!("{:<4}{:<7}  {}", row.id, row.shows_on, row.sentence());
        let lines: Vec<String> = report::rows().iter().map(line).collect();
        lines.join("\n")
    };
    match args() {
        Err(fault) => cli::fail(Exit::Usage, fault),
        Ok(args) if args.kind == "help" => cli::say(include_str!("help.txt").trim_end()),
        Ok(args) if args.kind == "version" => {
            cli::say(concat!("check ", env!("CARGO_PKG_VERSION")))
        }
        Ok(args) if args.kind == "list" => cli::say(list()),
        Ok(args) => check(&args).unwrap_or_else(|(exit, fault)| cli::fail(exit, fault)),
    }
}

fn args() -> Result<CheckArgs, String> {
    let mut own = cli::args()?;
    // getopts would take the command's flags for ours
    let at = own.iter().position(|word| word == "--");
    let mut command = own.split_off(at.unwrap_or(own.len()));
    command.drain(..command.len().min(1));
    let mut options = Options::new();
    for flag in FLAGS {
        options.optopt("", flag, "", "");
    }
    for (short, flag) in SWITCHES {
        options.optflag(short, flag, "");
    }
    let flags = cli::parse(&options, &own)?;
    let switch = ["help", "version", "list"]
        .into_iter()
        .find(|flag| flags.opt_present(flag));
    let kind = switch.map_or_else(|| flags.free.join(" "), str::to_owned);
    let (scale, port) = (
        cli::number(&flags, "scale", 1.0)?,
        cli::number(&flags, "port", TRACKER_PORT)?,
    );
    let most = Duration::from_secs_f64((MOST * scale).max(LEAST));
    let within = cli::seconds(&flags, "within", most)?.as_secs_f64() / scale;
    let folder = flags.opt_str("folder").unwrap_or_else(|| FOLDER.to_owned());
    let wrong = match (kind.as_str(), flags.opt_present("at")) {
        _ if !(0.02..=10.0).contains(&scale) => "--scale takes a number from 0.02 to 10",
        _ if folder.is_empty() || folder.contains('/') || folder.starts_with('.') => {
            "--folder takes the name of a folder, such as files"
        }
        ("peer", true) => "--at is for a tracker: a peer comes to --port",
        ("tracker", false) if command.is_empty() => {
            "where is the tracker? Give --at, or a command behind --"
        }
        _ if switch.is_some() || ["peer", "tracker"].contains(&kind.as_str()) => "",
        _ => "expected tracker or peer; a command comes behind --",
    };
    match wrong {
        "" => Ok(CheckArgs {
            flags,
            kind,
            command,
            port,
            folder,
            scale,
            within,
        }),
        wrong => Err(wrong.to_owned()),
    }
}

fn rows(chosen: Option<String>) -> Result<Vec<CourseRow>, String> {
    let mut rows = report::rows();
    let Some(chosen) = chosen.map(|chosen| chosen.to_uppercase()) else {
        return Ok(rows);
    };
    let ids: Vec<&str> = chosen.split(',').map(str::trim).collect();
    if let Some(id) = ids.iter().find(|id| rows.iter().all(|row| row.id != **id)) {
        return Err(format!("--rows: there is no row {id:?}, see --list"));
    }
    rows.retain(|row| ids.contains(&row.id));
    Ok(rows)
}

fn check(args: &CheckArgs) -> Result<ExitCode, (Exit, String)> {
    let rows = rows(args.flags.opt_str("rows")).map_err(|fault| (Exit::Usage, fault))?;
    let recorder = Recorder::new(args.scale, args.flags.opt_str("log"));
    let recorder = recorder.map_err(|fault| (Exit::Other, format!("--log: {fault}")))?;
    let recorder = Arc::new(recorder);
    let played = match args.kind.as_str() {
        "peer" => play_peer(args, &recorder),
        _ => play_tracker(args, &recorder),
    };
    // what it printed last
    std::thread::sleep(LOOK);
    let [output, errors] = recorder.last_lines();
    played.map_err(|why| {
        (
            Exit::Unreachable,
            [vec![why], output, errors].concat().join("\n"),
        )
    })?;
    judge(args, &rows, &recorder)
}

/// Starts the program, where a command is given.
fn start(args: &CheckArgs, port: u16, recorder: &Arc<Recorder>) -> Result<Option<Program>, String> {
    let Some(first) = args.command.first() else {
        return Ok(None);
    };
    let seconds = |every: f64| (every * args.scale).to_string();
    let replace = vec![
        ("{ip}", "127.0.0.1".to_owned()),
        ("{port}", port.to_string()),
        ("{ping}", seconds(10.0)),
        ("{list}", seconds(20.0)),
        ("{round}", seconds(30.0)),
        ("{sweep}", seconds(15.0)),
    ];
    let program = Program::start(&args.command, &args.folder, replace, recorder);
    recorder.note(event(STARTED, 0, &args.command.join(" ")));
    program
        .map(Some)
        .map_err(|fault| format!("{first} can't be started: {fault}"))
}

fn play_peer(args: &CheckArgs, recorder: &Arc<Recorder>) -> Result<(), String> {
    let play = PeerPlay::start(recorder, args.within, args.port);
    let (play, port, _listeners) = play.map_err(|fault| {
        let port = args.port;
        format!("port {port}: {fault}; end what uses it, or give --port")
    })?;
    let within = args.within * args.scale;
    eprintln!("check: the peer's tracker is at port {port}; this takes up to {within:.0} s");
    let mut program = start(args, port, recorder)?;
    match play.run(&mut program) {
        true => Ok(()),
        false => Err(format!(
            "no peer came to port {port}{}",
            ended(&mut program)
        )),
    }
}

/// How the program ended, for the end of a sentence.
fn ended(program: &mut Option<Program>) -> String {
    let how = program.as_mut().and_then(Program::ended);
    how.map_or_else(String::new, |how| format!("; it ended: {how}"))
}

fn play_tracker(args: &CheckArgs, recorder: &Arc<Recorder>) -> Result<(), String> {
    // one that binds to its host's name isn't at 127.0.0.1
    let own = ["127.0.0.1".to_owned(), host_name()].map(|host| format!("{host}:{}", args.port));
    let hosts = args.flags.opt_str("at").map_or(own.to_vec(), |at| vec![at]);
    let mut addrs = Vec::new();
    for host in &hosts {
        let (host, port) = host.rsplit_once(':').unwrap_or((host, "29283"));
        let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
        addrs.extend(resolve(host, port).unwrap_or_default());
    }
    let hosts = hosts.join(" or ");
    let remote =
        args.flags.opt_present("remote") || args.command.iter().any(|word| word == "--remote");
    if !args.command.is_empty() && connect(&addrs).is_ok() {
        return Err(format!(
            "{hosts} is taken: end what is there, or give --port"
        ));
    }
    let mut program = start(args, args.port, recorder)?;
    for _ in 0..LOOKS {
        if let Ok(connection) = connect(&addrs) {
            let seconds = tracker::ENDS * args.scale;
            eprintln!("check: a tracker is there; this takes {seconds:.0} s");
            let play = TrackerPlay::start(recorder, connection, remote);
            play.map_err(|fault| fault.to_string())?.run(&mut program);
            return Ok(());
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
fn judge(
    args: &CheckArgs,
    rows: &[CourseRow],
    recorder: &Recorder,
) -> Result<ExitCode, (Exit, String)> {
    let events = recorder.find(<[_]>::to_vec);
    let run = Run::new(&events, recorder.late(), args.scale);
    let (judges, because) = match args.kind.as_str() {
        "peer" => (&judge_peer::JUDGES[..], &judge_peer::BECAUSE[..]),
        _ => (&judge_tracker::JUDGES[..], &judge_tracker::BECAUSE[..]),
    };
    let verdicts = verdict::of_rows(&run, judges, because);
    let (mut judged, mut text, mut fails) = (Vec::new(), String::new(), false);
    for row in rows.iter().filter(|row| row.is_judged(&args.kind)) {
        let verdict = verdicts[row.id].clone();
        text += &report::text(row, &verdict);
        fails |= matches!(verdict, Err(No::Fails(..)));
        judged.push((row, verdict));
    }
    let [output, errors] = recorder.last_lines();
    let ended = run.first(ENDED);
    if ended.is_some()
        || fails
            && errors
                .iter()
                .any(|line| TRACES.iter().any(|trace| line.contains(trace)))
    {
        let lines = if errors.is_empty() { output } else { errors };
        text += &format!("the last that it printed:\n    {}\n", lines.join("\n    "));
    }
    cli::say(text + &report::not_judged(&args.kind, rows));
    if let Some(path) = args.flags.opt_str("junit") {
        let written = std::fs::write(&path, report::junit(&args.kind, &judged));
        written.map_err(|fault| (Exit::Other, format!("{path}: {fault}")))?;
    }
    Ok(if fails { Exit::Other } else { Exit::Done }.into())
}
