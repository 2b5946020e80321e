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
use crate::rows::{CourseRow, FAILS, junit, rows};

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

/// What the command line asks for.
struct CheckArgs {
    flags: Matches,
    /// `peer` or `tracker`; or what is only to be printed.
    kind: String,
    rows: Vec<CourseRow>,
    command: Vec<String>,
    folder: String,
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
    let folder = flags.opt_str("folder").unwrap_or("files".to_owned());
    let wrong = match (kind.as_str(), flags.opt_present("at")) {
        _ if !(0.02..=10.0).contains(&scale) => "--scale takes a number from 0.02 to 10",
        _ if Name::parse(&folder).is_err() => "--folder takes the name of a folder, such as files",
        ("peer", true) => "--at is for a tracker: a peer comes to --port",
        ("tracker", _) if flags.opt_present("within") => "--within is for a peer",
        ("tracker", false) if command.is_empty() => "a tracker takes --at, or a command behind --",
        ("peer" | "tracker" | "help" | "version" | "list", _) => "",
        _ => "expected tracker or peer; a command comes behind --",
    };
    if !wrong.is_empty() {
        return Err(wrong.to_owned());
    }
    let most = Duration::from_secs_f64((MOST * scale).max(LEAST));
    Ok(CheckArgs {
        rows: chosen_rows(flags.opt_str("rows"), &kind)?,
        within: cli::seconds(&flags, "within", most)?.as_secs_f64() / scale,
        flags,
        kind,
        command,
        folder,
        port,
        scale,
    })
}

/// The rows of a kind, or all; and of these, the chosen ones, if any are chosen.
fn chosen_rows(chosen: Option<String>, kind: &str) -> Result<Vec<CourseRow>, String> {
    let mut rows = rows();
    rows.retain(|row| kind == "list" || row.shows_on == kind);
    let chosen = chosen.unwrap_or_default().to_uppercase();
    let ids: Vec<&str> = chosen.split_terminator(',').map(str::trim).collect();
    if let Some(id) = ids.iter().find(|id| rows.iter().all(|row| row.id != **id)) {
        return Err(format!("--rows: no {kind} shows a row {id:?}, see --list"));
    }
    rows.retain(|row| ids.is_empty() || ids.contains(&row.id));
    Ok(rows)
}

fn check(args: &CheckArgs) -> Result<ExitCode, (Exit, String)> {
    // the paths are tried before the run
    let create = |flag: &str| {
        let path = args.flags.opt_str(flag);
        let file = path.as_ref().map(File::create).transpose();
        let told = |fault| format!("--{flag} {}: {fault}", path.unwrap_or_default());
        file.map_err(|fault| (Exit::Usage, told(fault)))
    };
    let (log, graders) = (create("log")?, create("junit")?);
    record::begin(args.scale, log);
    let mut program = Program::default();
    let played = match args.kind.as_str() {
        "peer" => play_peer(args, &mut program),
        _ => play_tracker(args, &mut program),
    };
    // judged while it still runs: what comes of its end is no fault of its own
    let judge = || args.rows.iter().cloned().map(judged).collect();
    let rows: Result<Vec<CourseRow>, String> = played.map(|()| judge());
    if let Some(mut graders) = graders {
        let written = graders.write_all(junit(&args.kind, &rows).as_bytes());
        written.map_err(|fault| (Exit::Other, format!("--junit: {fault}")))?;
    }
    // what it printed last is still read
    sleep(LOOK);
    let ended = last_lines(ENDED);
    let is_running = rows.is_ok() && ended.is_empty();
    let printed = last_lines(if is_running { ON_STDERR } else { PRINTED });
    let told = |lines: &[String]| [lines, &ended, &printed].concat().join("\n");
    let rows = rows.map_err(|why| (Exit::Unreachable, told(&[why])))?;
    let texts: Vec<String> = rows.iter().map(CourseRow::text).collect();
    cli::say(Exit::Done, told(&texts));
    let fails = rows.iter().any(|row| row.word == FAILS);
    Ok(if fails { Exit::Other } else { Exit::Done }.into())
}

fn play_peer(args: &CheckArgs, program: &mut Program) -> Result<(), String> {
    let listeners = peer::start(args.within, args.port, !args.command.is_empty());
    let hint = "end what uses it, or give --port";
    let told = |fault| format!("port {}: {fault}; {hint}", args.port);
    let listeners = listeners.map_err(told)?;
    let (port, within) = (listeners[0].addr.port(), args.within * args.scale);
    eprintln!("check: the peer's tracker is at port {port}; this takes up to {within:.0} s");
    program.start(args, port)?;
    if peer::run(program) {
        return Ok(());
    }
    let hint = || "is its tracker at another port, see --port?".to_owned();
    let ended = program.ended().unwrap_or_else(hint);
    Err(format!("no peer came to port {port}; {ended}"))
}

fn play_tracker(args: &CheckArgs, program: &mut Program) -> Result<(), String> {
    // one that binds to its host's name isn't at 127.0.0.1
    let own = ["127.0.0.1".to_owned(), host_name()].map(|host| format!("{host}:{}", args.port));
    let hosts = args.flags.opt_str("at").map_or(own.to_vec(), |at| vec![at]);
    let found = hosts.iter().flat_map(ToSocketAddrs::to_socket_addrs);
    let (addrs, hosts): (Vec<SocketAddr>, _) = (found.flatten().collect(), hosts.join(" or "));
    if !args.command.is_empty() && connect(&addrs).is_ok() {
        return Err(format!("{hosts} is taken: end it, or give --port"));
    }
    let is_remote = args.flags.opt_present("remote");
    let is_remote = is_remote || args.command.iter().any(|word| word == "--remote");
    program.start(args, args.port)?;
    for _ in 0..LOOKS {
        if let Ok(connection) = connect(&addrs) {
            let seconds = tracker::ENDS * args.scale;
            eprintln!("check: a tracker is there; this takes {seconds:.0} s");
            let played = tracker::run(connection, is_remote, program);
            return played.map_err(|fault| fault.to_string());
        }
        if let Some(ended) = program.ended() {
            return Err(format!("no tracker at {hosts}; {ended}"));
        }
        sleep(LOOK);
    }
    Err(format!("no tracker at {hosts}"))
}
