//! `check`: grades any tracker and any peer, in whatever language, by the rows of `tests/REQUIREMENTS.md`.
//!
//! It plays the other side: [`peer`] the tracker and the other peers, [`tracker`] the peers. Whatever comes is judged
//! by whoever answers it, and is in one [`record`] with its time. What is told of each row stands in `rows.json`.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use bittorrentish::cli::{self, Exit};
use bittorrentish::net::addresses::host_name;
use bittorrentish::net::connect;
use bittorrentish::protocol::TRACKER_PORT;
use bittorrentish::torrent::Name;
use getopts::{Matches, Options};

use crate::program::{ENDED, ON_STDERR, Program};
use crate::record::{PRINTED, judged, last_lines};
use crate::rows::{CourseRow, FAILS};

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
    /// `peer` or `tracker`; or what is only to be printed.
    kind: String,
    rows: Vec<CourseRow>,
    command: Vec<String>,
    port: u16,
    scale: f64,
    /// In seconds of the course text.
    within: f64,
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(fault) => return cli::fail(Exit::Usage, fault),
    };
    let lines = args.rows.iter().map(CourseRow::line);
    match args.kind.as_str() {
        "help" => cli::say(Exit::Done, include_str!("help.txt").trim_end()),
        "version" => cli::say(Exit::Done, concat!("check ", env!("CARGO_PKG_VERSION"))),
        "list" => cli::say(Exit::Done, lines.collect::<Vec<_>>().join("\n")),
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
    let wrong = match (kind.as_str(), flags.opt_present("at")) {
        _ if !(0.02..=10.0).contains(&scale) => "--scale takes a number from 0.02 to 10",
        _ if folder.is_some_and(|folder| Name::parse(&folder).is_err()) => {
            "--folder takes the name of a folder, such as files"
        }
        ("peer", true) => "--at is for a tracker: a peer comes to --port",
        ("tracker", _) if flags.opt_present("within") => "--within is for a peer",
        ("tracker", false) if command.is_empty() => "a tracker takes --at, or a command behind --",
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
        scale,
        within,
    })
}

fn chosen_rows(chosen: Option<String>, kind: &str) -> Result<Vec<CourseRow>, String> {
    let mut rows = rows::rows();
    let Some(chosen) = chosen.map(|chosen| chosen.to_uppercase()) else {
        return Ok(rows);
    };
    let ids: Vec<&str> = chosen.split(',').map(str::trim).collect();
    rows.retain(|row| ids.contains(&row.id) && (kind == "list" || row.shows_on == kind));
    let is_missing = |id: &&&str| rows.iter().all(|row| row.id != **id);
    match ids.iter().find(is_missing) {
        Some(id) => Err(format!("--rows: no {kind} shows a row {id:?}, see --list")),
        None => Ok(rows),
    }
}

fn check(args: &CheckArgs) -> Result<ExitCode, (Exit, String)> {
    // the paths are tried before the run
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
    let printed = || last_lines(PRINTED, SHOWN).join("\n");
    let played = played.map_err(|why| format!("{why}\n{}", printed()).trim_end().to_owned());
    if let Some(mut junit) = junit {
        let cases = match &played {
            Ok(rows) => rows.iter().map(CourseRow::case).collect(),
            Err(why) => rows::case_of_error(&args.kind, why),
        };
        let written = junit.write_all(rows::junit(&args.kind, &cases).as_bytes());
        written.map_err(|fault| (Exit::Other, format!("--junit: {fault}")))?;
    }
    let rows = played.map_err(|why| (Exit::Unreachable, why))?;
    Ok(report(args, &rows).into())
}

fn start(args: &CheckArgs, port: u16) -> Result<Program, String> {
    let folder = args.flags.opt_str("folder").unwrap_or("files".to_owned());
    let program = Program::start(&args.command, &folder, port, args.scale);
    program.map_err(|fault| format!("{} can't be started: {fault}", args.command.join(" ")))
}

/// Judges each row, while the program still runs: what comes of its end is no fault of its own.
fn judge(args: &CheckArgs) -> Vec<CourseRow> {
    let rows = args.rows.iter().filter(|row| row.shows_on == args.kind);
    rows.cloned().map(judged).collect()
}

fn play_peer(args: &CheckArgs) -> Result<Vec<CourseRow>, String> {
    let listeners = peer::start(args.within, args.port, !args.command.is_empty());
    let hint = "end what uses it, or give --port";
    let told = |fault| format!("port {}: {fault}; {hint}", args.port);
    let listeners = listeners.map_err(told)?;
    let (port, within) = (listeners[0].addr.port(), args.within * args.scale);
    eprintln!("check: the peer's tracker is at port {port}; this takes up to {within:.0} s");
    let mut program = start(args, port)?;
    if peer::run(&mut program) {
        return Ok(judge(args));
    }
    let hint = || "is its tracker at another port, see --port?".to_owned();
    let ended = program.ended().unwrap_or_else(hint);
    Err(format!("no peer came to port {port}; {ended}"))
}

fn play_tracker(args: &CheckArgs) -> Result<Vec<CourseRow>, String> {
    // one that binds to its host's name isn't at 127.0.0.1
    let own = ["127.0.0.1".to_owned(), host_name()].map(|host| format!("{host}:{}", args.port));
    let hosts = args.flags.opt_str("at").map_or(own.to_vec(), |at| vec![at]);
    let with_port = |host: &String| (host.as_str(), args.port).to_socket_addrs();
    let found = |host: &String| host.to_socket_addrs().or_else(|_| with_port(host));
    let addrs: Vec<SocketAddr> = hosts.iter().flat_map(found).flatten().collect();
    let hosts = hosts.join(" or ");
    if !args.command.is_empty() && connect(&addrs).is_ok() {
        return Err(format!("{hosts} is taken: end it, or give --port"));
    }
    let is_remote = args.command.iter().any(|word| word == "--remote");
    let is_remote = is_remote || args.flags.opt_present("remote");
    let mut program = start(args, args.port)?;
    for _ in 0..LOOKS {
        if let Ok(connection) = connect(&addrs) {
            let seconds = tracker::ENDS * args.scale;
            eprintln!("check: a tracker is there; this takes {seconds:.0} s");
            let played = tracker::run(connection, is_remote, &mut program);
            played.map_err(|fault| fault.to_string())?;
            return Ok(judge(args));
        }
        if let Some(ended) = program.ended() {
            return Err(format!("no tracker at {hosts}; {ended}"));
        }
        sleep(LOOK);
    }
    Err(format!("no tracker at {hosts}"))
}

/// Says what is found of each row.
fn report(args: &CheckArgs, rows: &[CourseRow]) -> Exit {
    let mut lines: Vec<String> = rows.iter().map(CourseRow::text).collect();
    let fails = rows.iter().any(|row| row.word == FAILS);
    let ended = last_lines(ENDED, 1);
    let mut printed = last_lines(ON_STDERR, SHOWN);
    if printed.is_empty() && !ended.is_empty() {
        printed = last_lines(PRINTED, SHOWN);
    }
    lines.extend(ended);
    if !printed.is_empty() {
        lines.push("the last that it printed:".to_owned());
        lines.extend(printed.iter().map(|line| format!("    {line}")));
    }
    let is_other = |row: &&CourseRow| rows.iter().all(|one| one.id != row.id);
    let others = args.rows.iter().filter(is_other).map(|row| row.id);
    let others: Vec<&str> = others.collect();
    if !others.is_empty() {
        lines.push(format!("not judged, see --list: {}", others.join(" ")));
    }
    cli::say(Exit::Done, lines.join("\n"));
    if fails { Exit::Other } else { Exit::Done }
}
