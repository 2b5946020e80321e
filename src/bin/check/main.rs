//! `check`: grades any tracker and any peer, in whatever language, by the rows of `tests/REQUIREMENTS.md`.
//!
//! It plays the other side: [`peer`] the tracker and the other peers, [`tracker`] the peers. Whatever comes is judged by
//! whoever answers it, and is in one [`record`] with its time. What is told of each row stands in `rows.txt`.

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use bittorrentish::cli::{self, Exit};
use bittorrentish::net::addresses::host_name;
use bittorrentish::net::{connect, resolve};
use bittorrentish::protocol::TRACKER_PORT;
use getopts::{Matches, Options};

use crate::program::{ENDED, ON_STDERR, Program};
use crate::record::{PRINTED, last_lines, note, verdict};
use crate::rows::{CourseRow, RowVerdict};
use crate::tracker::TrackerPlay;

mod peer;
mod program;
mod record;
mod rows;
#[cfg(test)]
mod tests;
mod tracker;

/// How long a peer takes, seconds of the course text; and the least for one with short intervals, seconds.
const MOST: f64 = 299.0;
const LEAST: f64 = 48.0;
/// How often a tracker is looked for, and how long it is waited for between two times.
const LOOKS: usize = 200;
const LOOK: Duration = Duration::from_millis(100);
/// The most lines of the program's output that are shown.
const SHOWN: usize = 20;

/// What the command line asks for.
struct CheckArgs {
    flags: Matches,
    kind: String,
    rows: Vec<CourseRow>,
    command: Vec<String>,
    port: u16,
    /// The peer's, within the fresh one.
    folder: String,
    scale: f64,
    /// In seconds of the course text.
    within: f64,
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(fault) => return cli::fail(Exit::Usage, fault),
    };
    match args.kind.as_str() {
        "help" => cli::say(include_str!("help.txt").trim_end()),
        "version" => cli::say(concat!("check ", env!("CARGO_PKG_VERSION"))),
        "list" => cli::say(
            args.rows
                .iter()
                .map(CourseRow::line)
                .collect::<String>()
                .trim_end(),
        ),
        _ => check(&args).unwrap_or_else(|(exit, fault)| cli::fail(exit, fault)),
    }
}

fn args() -> Result<CheckArgs, String> {
    let mut own = cli::args()?;
    // getopts would take the command's flags for ours
    let end = own.iter().position(|word| word == "--");
    let command = own.split_off(end.unwrap_or(own.len()));
    let command: Vec<String> = command.into_iter().skip(1).collect();
    let mut options = Options::new();
    for flag in "rows port at folder within scale log junit".split(' ') {
        options.optopt("", flag, "", "");
    }
    options.optflag("", "list", "").optflag("", "remote", "");
    options.optflag("h", "help", "").optflag("V", "version", "");
    let flags = cli::parse(&options, &own)?;
    let mut switches = ["help", "version", "list"].into_iter();
    let switch = switches.find(|flag| flags.opt_present(flag));
    let kind = switch.map_or_else(|| flags.free.join(" "), str::to_owned);
    let port = cli::number(&flags, "port", TRACKER_PORT)?;
    let scale = cli::number(&flags, "scale", 1.0)?;
    let most = Duration::from_secs_f64((MOST * scale).max(LEAST));
    let within = cli::seconds(&flags, "within", most)?.as_secs_f64() / scale;
    let folder = flags.opt_str("folder");
    let folder = folder.unwrap_or_else(|| "files".to_owned());
    let wrong = match (kind.as_str(), flags.opt_present("at")) {
        _ if !(0.02..=10.0).contains(&scale) => "--scale takes a number from 0.02 to 10",
        _ if folder.is_empty() || folder.contains('/') || folder.starts_with('.') => {
            "--folder takes the name of a folder, such as files"
        }
        ("peer", true) => "--at is for a tracker: a peer comes to --port",
        ("tracker", _) if flags.opt_present("within") => {
            "--within is for a peer: a tracker takes three minutes"
        }
        ("tracker", false) if command.is_empty() => {
            "where is the tracker? Give --at, or a command behind --"
        }
        ("peer" | "tracker" | "help" | "version" | "list", _) => "",
        _ => "expected tracker or peer; a command comes behind --",
    };
    if !wrong.is_empty() {
        return Err(wrong.to_owned());
    }
    let rows = chosen_rows(flags.opt_str("rows"), &kind)?;
    Ok(CheckArgs {
        flags,
        kind,
        rows,
        command,
        port,
        folder,
        scale,
        within,
    })
}

fn chosen_rows(chosen: Option<String>, kind: &str) -> Result<Vec<CourseRow>, String> {
    let mut rows = rows::rows();
    if let Some(chosen) = chosen.map(|chosen| chosen.to_uppercase()) {
        let ids: Vec<&str> = chosen.split(',').map(str::trim).collect();
        let shows = |row: &CourseRow| kind == "list" || row.shows_on == kind;
        let is_there = |id: &str| rows.iter().any(|row| row.id == id && shows(row));
        if let Some(id) = ids.iter().find(|id| !is_there(id)) {
            return Err(format!("--rows: no {kind} shows a row {id:?}, see --list"));
        }
        rows.retain(|row| ids.contains(&row.id));
    }
    Ok(rows)
}

fn check(args: &CheckArgs) -> Result<ExitCode, (Exit, String)> {
    let create = |flag: &str| {
        let path = args.flags.opt_str(flag);
        let file = path.as_ref().map(File::create).transpose();
        let told = |fault| format!("--{flag} {}: {fault}", path.unwrap_or_default());
        file.map_err(|fault| (Exit::Usage, told(fault)))
    };
    let (log, junit) = (create("log")?, create("junit")?);
    record::begin(args.scale, log);
    let played = match args.kind.as_str() {
        "peer" => play_peer(args),
        _ => play_tracker(args),
    };
    // what it printed last
    sleep(LOOK);
    if let Err(why) = played {
        let printed = last_lines(PRINTED, SHOWN);
        let why = [vec![why], printed].concat().join("\n");
        write(junit, &rows::junit_of_error(&args.kind, &why))?;
        return Err((Exit::Unreachable, why));
    }
    report(args, junit)
}

fn write(junit: Option<File>, text: &str) -> Result<(), (Exit, String)> {
    let written = junit.map_or(Ok(()), |mut file| file.write_all(text.as_bytes()));
    written.map_err(|fault| (Exit::Other, format!("--junit: {fault}")))
}

/// Starts the program, where a command is given.
fn start(args: &CheckArgs, port: u16) -> Result<Option<Program>, String> {
    if args.command.is_empty() {
        return Ok(None);
    }
    let command = args.command.join(" ");
    note(format!("it was started: {command}"));
    let program = Program::start(&args.command, &args.folder, port, args.scale);
    let program = program.map_err(|fault| format!("{command} can't be started: {fault}"))?;
    Ok(Some(program))
}

fn play_peer(args: &CheckArgs) -> Result<(), String> {
    let listeners = peer::start(args.within, args.port, !args.command.is_empty());
    let listeners = listeners.map_err(|fault| {
        let port = args.port;
        format!("port {port}: {fault}; end what uses it, or give --port")
    })?;
    let (port, within) = (listeners[0].addr.port(), args.within * args.scale);
    eprintln!("check: the peer's tracker is at port {port}; this takes up to {within:.0} s");
    let mut program = start(args, port)?;
    match peer::run(&mut program) {
        true => Ok(()),
        false => {
            let ended = Program::ended(&mut program);
            let hint = "is its tracker at another port, see --port?".to_owned();
            Err(format!(
                "no peer came to port {port}; {}",
                ended.unwrap_or(hint)
            ))
        }
    }
}

fn play_tracker(args: &CheckArgs) -> Result<(), String> {
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
    if !args.command.is_empty() && connect(&addrs).is_ok() {
        let hint = "end what is there, or give --port";
        return Err(format!("{hosts} is taken: {hint}"));
    }
    let is_remote = args.command.iter().any(|word| word == "--remote");
    let is_remote = is_remote || args.flags.opt_present("remote");
    let mut program = start(args, args.port)?;
    for _ in 0..LOOKS {
        if let Ok(connection) = connect(&addrs) {
            let seconds = tracker::ENDS * args.scale;
            eprintln!("check: a tracker is there; this takes {seconds:.0} s");
            let play = TrackerPlay::start(connection, is_remote);
            play.map_err(|fault| fault.to_string())?.run(&mut program);
            return Ok(());
        }
        if let Some(ended) = Program::ended(&mut program) {
            return Err(format!("no tracker at {hosts}; {ended}"));
        }
        sleep(LOOK);
    }
    Err(format!("no tracker at {hosts}"))
}

/// Says what is found of each row.
fn report(args: &CheckArgs, junit: Option<File>) -> Result<ExitCode, (Exit, String)> {
    let rows = args.rows.iter().filter(|row| row.shows_on == args.kind);
    let judged: Vec<(&CourseRow, RowVerdict)> = rows.map(|row| (row, verdict(row))).collect();
    let texts = judged.iter().map(|(row, verdict)| row.text(verdict));
    let mut text: String = texts.collect();
    let is_failed = |(_, verdict): &(_, RowVerdict)| matches!(verdict, RowVerdict::Fails(..));
    let fails = judged.iter().any(is_failed);
    let ended = last_lines(ENDED, 1);
    let mut printed = last_lines(ON_STDERR, SHOWN);
    if printed.is_empty() && !ended.is_empty() {
        printed = last_lines(PRINTED, SHOWN);
    }
    ended.iter().for_each(|how| text += &format!("{how}\n"));
    if fails && !printed.is_empty() {
        let printed = printed.join("\n    ");
        text += &format!("the last that it printed:\n    {printed}\n");
    }
    let is_other = |row: &&CourseRow| judged.iter().all(|(one, _)| one.id != row.id);
    let others = args.rows.iter().filter(is_other).map(|row| row.id);
    let others: Vec<&str> = others.collect();
    if !others.is_empty() {
        text += &format!("not judged, see --list: {}\n", others.join(" "));
    }
    cli::say(text.trim_end());
    write(junit, &rows::junit(&args.kind, &judged))?;
    Ok(if fails { Exit::Other } else { Exit::Done }.into())
}
