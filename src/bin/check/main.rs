//! `check`: grades any tracker and any peer, in whatever language, by the rows of `tests/REQUIREMENTS.md`.
//!
//! It plays the other side, and writes down what comes with the time ([`record`]); [`tracker`] plays the peers, [`peer`] the
//! tracker, [`holders`] the other peers, and [`scene`] decides what they have. When the run is over, each row is judged by the
//! record alone ([`judge_tracker`], [`judge_peer`]).

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bittorrentish::cli::{self, Exit};
use bittorrentish::net::addresses::host_name;
use bittorrentish::net::{connect, resolve};
use bittorrentish::protocol::TRACKER_PORT;
use getopts::{Matches, Options};

use crate::peer::PeerPlay;
use crate::program::Program;
use crate::record::{Event, Plan, Recorder, What};
use crate::report::{Row, rows};
use crate::tracker::TrackerPlay;
use crate::verdict::{Run, Verdict};

mod holders;
mod judge_peer;
mod judge_tracker;
mod peer;
mod program;
mod record;
mod report;
mod scene;
mod tracker;
mod verdict;

const BRIEF: &str = "\
Examples:
    check peer -- python3 client.py
        start this peer in a fresh folder with `files/`, and judge it; its tracker is at port 29283
    check tracker -- python3 server.py --remote
        start this tracker, and judge it
    check tracker --at 192.168.1.10:29283
        judge a tracker that runs already
    check peer --scale 0.1 -- client {ip} {port} {dir} --ping-every {ping} --list-every {list} --round-every {round}
        a peer with flags for its intervals, in a tenth of the time

Usage: check tracker|peer [flags] [-- COMMAND…]

Plays the other side, and says of each sentence of the course texts whether the program does it.
In COMMAND, {ip}, {port} and {dir} are replaced: the tracker's address and port, and the peer's folder; {ping}, {list}, {round}
and {sweep} are the intervals in seconds.";

const REST: &str = "\
Exit codes: 0 no row fails, 1 one does, 2 usage, 3 the program can't be started or reached.";

/// How long a tracker is waited for.
const START: Duration = Duration::from_secs(20);

fn options() -> Options {
    let mut options = Options::new();
    options.optopt("", "rows", "say only what these are, such as C4,F1", "ROWS");
    options.optopt("", "port", "the tracker's port (29283)", "N");
    options.optopt(
        "",
        "at",
        "where a tracker is: then it may run already",
        "HOST:PORT",
    );
    options.optopt(
        "",
        "folder",
        "the peer's folder in the fresh one (files)",
        "NAME",
    );
    options.optopt("", "within", "end after this time at the latest (290)", "S");
    options.optopt(
        "",
        "scale",
        "all intervals times X, for a program that has flags for them (1)",
        "X",
    );
    options.optopt(
        "",
        "log",
        "write down all that is seen, a line of JSON each",
        "FILE",
    );
    options.optopt("", "junit", "write the verdicts for a grader", "FILE");
    options.optflag("", "list", "print all rows, and end");
    options.optflag("h", "help", "print this");
    options.optflag("V", "version", "print the version");
    options
}

/// What the command line asks for.
struct Args {
    kind: String,
    command: Vec<String>,
    rows: Vec<Row>,
    port: u16,
    at: Option<String>,
    folder: Option<String>,
    plan: Plan,
    log: Option<String>,
    junit: Option<String>,
}

fn main() -> ExitCode {
    let options = options();
    // getopts would take a flag of the program for one of ours
    let (own, command) = match cli::args() {
        Ok(mut own) => {
            let command = own
                .iter()
                .position(|word| word == "--")
                .map(|at| own.split_off(at));
            (
                own,
                command.map_or_else(Vec::new, |words| words[1..].to_vec()),
            )
        }
        Err(fault) => return cli::fail(Exit::Usage, fault),
    };
    let matches = match cli::parse(&options, &own) {
        Ok(matches) => matches,
        Err(fault) => return cli::fail(Exit::Usage, fault),
    };
    if matches.opt_present("help") {
        return cli::say(format!("{}\n{REST}", options.usage(BRIEF)));
    }
    if matches.opt_present("version") {
        return cli::say(concat!("check ", env!("CARGO_PKG_VERSION")));
    }
    if matches.opt_present("list") {
        let line = |row: &Row| format!("{:<4} {:<8} {}\n", row.id, row.kinds(), row.sentence());
        return cli::say(rows().iter().map(line).collect::<String>().trim_end());
    }
    match args(&matches, command) {
        Ok(args) => check(&args),
        Err(fault) => cli::fail(Exit::Usage, fault),
    }
}

fn args(matches: &Matches, command: Vec<String>) -> Result<Args, String> {
    let kind = match matches.free.as_slice() {
        [kind] if ["tracker", "peer"].contains(&kind.as_str()) => kind.clone(),
        other => {
            return Err(format!(
                "expected tracker or peer, got {:?}; a command comes behind --",
                other.join(" ")
            ));
        }
    };
    let scale: f64 = cli::number(matches, "scale", 1.0)?;
    if !(0.02..=10.0).contains(&scale) {
        return Err(format!(
            "--scale takes a number from 0.02 to 10, got {scale}"
        ));
    }
    let within = matches
        .opt_present("within")
        .then(|| cli::seconds(matches, "within", Duration::ZERO));
    let within = within.transpose()?.map(|within| within.as_secs_f64());
    let (at, folder) = (matches.opt_str("at"), matches.opt_str("folder"));
    let own = |name: &String| !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    if folder.as_ref().is_some_and(|folder| !own(folder)) {
        return Err("--folder takes the name of a folder, such as files".to_owned());
    }
    if at.is_some() && kind == "peer" {
        return Err("--at is for a tracker: a peer comes by itself, to --port".to_owned());
    }
    if kind == "tracker" && command.is_empty() && at.is_none() {
        return Err("where is the tracker? Give --at HOST:PORT, or -- and a command".to_owned());
    }
    Ok(Args {
        rows: chosen_rows(matches.opt_str("rows"))?,
        port: cli::number(matches, "port", TRACKER_PORT)?,
        plan: Plan::new(scale, within),
        log: matches.opt_str("log"),
        junit: matches.opt_str("junit"),
        kind,
        command,
        at,
        folder,
    })
}

fn chosen_rows(chosen: Option<String>) -> Result<Vec<Row>, String> {
    let mut rows = rows();
    if let Some(chosen) = chosen {
        let chosen: Vec<String> = chosen
            .split(',')
            .map(|id| id.trim().to_uppercase())
            .collect();
        if let Some(unknown) = chosen
            .iter()
            .find(|id| !rows.iter().any(|row| row.id == **id))
        {
            return Err(format!(
                "--rows: there is no row {unknown:?}; --list has them all"
            ));
        }
        rows.retain(|row| chosen.iter().any(|id| id == row.id));
    }
    Ok(rows)
}

fn check(args: &Args) -> ExitCode {
    let recorder = match Recorder::new(args.log.as_deref()) {
        Ok(recorder) => Arc::new(recorder),
        Err(fault) => {
            return cli::fail(
                Exit::Other,
                format!("the log {}: {fault}", args.log.clone().unwrap_or_default()),
            );
        }
    };
    let played = match args.kind.as_str() {
        "peer" => play_peer(args, &recorder),
        _ => play_tracker(args, &recorder),
    };
    match played {
        Ok(()) => judge(args, &recorder.events()),
        Err(why) => cli::fail(Exit::Unreachable, why),
    }
}

/// Starts the program, where a command is given.
fn start(args: &Args, ip: &str, port: u16, recorder: &Recorder) -> Result<Option<Program>, String> {
    let Some(first) = args.command.first() else {
        return Ok(None);
    };
    let plan = &args.plan;
    let seconds = [
        ("{ping}", plan.ping),
        ("{list}", plan.list),
        ("{round}", plan.round),
        ("{sweep}", plan.sweep),
    ];
    let mut replace = vec![("{ip}", ip.to_owned()), ("{port}", port.to_string())];
    replace.extend(seconds.map(|(brace, seconds)| (brace, format!("{seconds:.3}"))));
    let program = Program::start(
        &args.command,
        args.folder.as_deref(),
        &replace,
        &[(scene::PLANTED, scene::planted())],
    );
    let program = program.map_err(|fault| format!("{first} can't be started: {fault}"))?;
    recorder.note(What::Started {
        command: args.command.clone(),
    });
    Ok(Some(program))
}

fn play_peer(args: &Args, recorder: &Arc<Recorder>) -> Result<(), String> {
    let taken = |fault| {
        format!(
            "port {} can't be listened on ({fault}): end what uses it, or give another --port",
            args.port
        )
    };
    let (play, port, _listeners) =
        PeerPlay::start(Arc::clone(recorder), args.plan, args.port).map_err(taken)?;
    eprintln!(
        "check: the tracker for the peer is at port {port}; this takes up to {:.0} s",
        args.plan.within
    );
    let mut program = start(args, "127.0.0.1", port, recorder)?;
    let came = play.run(&mut program);
    let unclear = |event: &Event| matches!(event.what, What::Unclear { .. });
    if came || recorder.events().iter().any(unclear) {
        return Ok(());
    }
    let ended = program
        .as_mut()
        .and_then(Program::ended)
        .map(|how| format!("; it ended: {how}"));
    Err(format!(
        "the peer never came to the tracker at port {port}{}",
        ended.unwrap_or_default()
    ))
}

fn play_tracker(args: &Args, recorder: &Arc<Recorder>) -> Result<(), String> {
    let hosts = match &args.at {
        Some(at) => vec![at.clone()],
        // a tracker that binds to its host's name isn't at 127.0.0.1
        None => vec![
            format!("127.0.0.1:{}", args.port),
            format!("{}:{}", host_name(), args.port),
        ],
    };
    let split = |host: &String| {
        host.rsplit_once(':')
            .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
    };
    let places: Vec<(String, u16)> = hosts.iter().filter_map(split).collect();
    let addrs: Vec<SocketAddr> = places
        .iter()
        .flat_map(|(host, port)| resolve(host, *port).unwrap_or_default())
        .collect();
    if !args.command.is_empty() && args.at.is_none() && connect(&addrs).is_ok() {
        return Err(format!(
            "port {} is taken: end what uses it, or give another --port",
            args.port
        ));
    }
    let mut program = start(args, "127.0.0.1", args.port, recorder)?;
    let remote = args.command.iter().any(|word| word == "--remote");
    let since = Instant::now();
    let mut play = loop {
        let found = addrs.iter().find_map(|addr| {
            TrackerPlay::start(Arc::clone(recorder), args.plan, *addr, remote).ok()
        });
        if let Some(play) = found {
            break play;
        }
        let ended = program.as_mut().and_then(Program::ended);
        if ended.is_some() || since.elapsed() > START {
            let ended = ended.map(|how| format!("; it ended: {how}"));
            return Err(format!(
                "no tracker answers at {}{}",
                hosts.join(" or "),
                ended.unwrap_or_default()
            ));
        }
        std::thread::sleep(START / 200);
    };
    eprintln!(
        "check: the tracker is reached; this takes about {:.0} s",
        10.0 * args.plan.sweep
    );
    play.run(&mut program);
    Ok(())
}

/// Judges all rows, and says so.
fn judge(args: &Args, events: &[Event]) -> ExitCode {
    let is_peer = args.kind == "peer";
    let run = match is_peer {
        true => Run::new(events, args.plan, judge_peer::is_first),
        false => Run::new(events, args.plan, judge_tracker::is_first),
    };
    let (mut judged, mut text) = (Vec::new(), String::new());
    let mut not_judged = Vec::new();
    for row in &args.rows {
        if let Some(why) = row.not_judged(&args.kind) {
            not_judged.push(format!("{} ({why})", row.id));
            continue;
        }
        let verdict = match is_peer {
            true => judge_peer::judge(row.id, &run),
            false => judge_tracker::judge(row.id, &run),
        };
        text += &report::text(row, &verdict);
        judged.push((row, verdict));
    }
    for event in events {
        if let What::Ended { how } = &event.what {
            text += &format!("The program ended at {:.1} s: {how}\n", event.at);
        }
    }
    if !not_judged.is_empty() {
        text += &format!("Not judged: {}\n", not_judged.join(", "));
    }
    cli::say(text.trim_end());
    if let Some(path) = &args.junit
        && let Err(fault) = std::fs::write(path, report::junit(&args.kind, &judged))
    {
        return cli::fail(Exit::Other, format!("{path}: {fault}"));
    }
    let fails = judged
        .iter()
        .any(|(_, verdict)| matches!(verdict, Verdict::Fails { .. }));
    if fails {
        Exit::Other.into()
    } else {
        Exit::Done.into()
    }
}
