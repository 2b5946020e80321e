//! The tracker's program: it parses the flags, starts the tracker's threads, and waits.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bittorrentish::cli::{self, Exit, fail};
use bittorrentish::http::Site;
use bittorrentish::net;
use bittorrentish::protocol::TRACKER_PORT;
use bittorrentish::report::{self, Report};
use bittorrentish::roster::Reachability;
use bittorrentish::tracker::{StartError, Tracker, TrackerConfig};
use getopts::{Matches, Options};

/// The original's interval between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

const BRIEF: &str = "\
Examples:
    server --remote
        a tracker for the classroom; it prints the command for the others
    server --remote --port 4000 --torrents lab
        a second one on the same machine, with a port and a folder of its own
    server --page 8081
        one for this machine alone, with a page that shows the swarm

Usage: server [flags]

Keeps the list of peers and the .torrents of what they share; holds no part of
any file.";

const REST: &str = "\
Exit codes: 0 done, 1 other (the port is taken, say), 2 usage, 5 disk.
It runs until Ctrl-C, which is safe at any moment.";

fn options() -> Options {
    let mut options = Options::new();
    options.optflag(
        "",
        "remote",
        "serve other machines, too, and tell peers apart by address and port",
    );
    options.optopt(
        "",
        "port",
        "listen on this port; 0 is any free one (29283)",
        "N",
    );
    options.optopt(
        "",
        "torrents",
        "keep the .torrents here (.bittorrentish-tracker)",
        "DIR",
    );
    options.optopt(
        "",
        "page",
        "serve a page with all peers there; a port alone is on 127.0.0.1",
        "[ADDR:]PORT",
    );
    options.optopt(
        "",
        "sweep-every",
        "drop peers that were silent for one to two times S, such as 15 or 1m (15)",
        "S",
    );
    options.optopt("", "log", "append each event as a line of JSON", "FILE");
    options.optflag("", "quiet", "print only what matters");
    options.optflag("", "verbose", "print each ping, list and sweep, too");
    options.optflag("h", "help", "print this");
    options.optflag("V", "version", "print the version");
    options
}

struct Args {
    port: u16,
    report: report::ReportConfig,
    log: Option<PathBuf>,
    page: Option<SocketAddr>,
    tracker: TrackerConfig,
}

fn config(matches: &Matches) -> Result<Args, String> {
    if let Some(extra) = matches.free.first() {
        return Err(format!("expected flags only, got {extra:?}"));
    }
    let reach = if matches.opt_present("remote") {
        Reachability::Remote
    } else {
        Reachability::Local
    };
    let torrents = matches
        .opt_str("torrents")
        .unwrap_or_else(|| ".bittorrentish-tracker".to_owned());
    if torrents.is_empty() {
        return Err("--torrents takes a folder, got nothing".to_owned());
    }
    cli::exclude(matches, ["quiet", "verbose"])?;
    let sweep_every = cli::seconds(matches, "sweep-every", SWEEP_EVERY)?;
    Ok(Args {
        port: cli::number(matches, "port", TRACKER_PORT)?,
        page: cli::page(matches)?,
        report: report::ReportConfig {
            quiet: matches.opt_present("quiet"),
            verbose: matches.opt_present("verbose"),
            explain: false,
        },
        log: matches.opt_str("log").map(PathBuf::from),
        tracker: TrackerConfig {
            reach,
            torrents: torrents.into(),
            sweep_every,
            client: cli::client_command(),
        },
    })
}

fn main() -> ExitCode {
    let options = options();
    let parsed = cli::args().and_then(|args| cli::parse(&options, &args));
    let matches = match parsed {
        Ok(matches) if matches.opt_present("help") => {
            return cli::say(Exit::Done, format!("{}\n{REST}", options.usage(BRIEF)));
        }
        Ok(matches) if matches.opt_present("version") => {
            return cli::say(Exit::Done, concat!("server ", env!("CARGO_PKG_VERSION")));
        }
        Ok(matches) => matches,
        Err(why) => return fail(Exit::Usage, why),
    };
    match config(&matches) {
        Ok(args) => run(args),
        Err(why) => fail(Exit::Usage, why),
    }
}

fn run(args: Args) -> ExitCode {
    let port = args.port;
    let listener = match net::listen(port) {
        Ok(listener) => listener,
        Err(fault) if fault.kind() == ErrorKind::AddrInUse => {
            let why = format!(
                "port {port} is taken: another tracker may be running; choose another with --port"
            );
            return fail(Exit::Other, why);
        }
        Err(fault) => {
            return fail(
                Exit::Other,
                format!("can't listen on port {port}: {fault}; choose another with --port"),
            );
        }
    };
    let site = args.page.map(|at| {
        let site = Site::bind(at, None);
        site.map_err(|fault| format!("no page at {at}: {fault}; choose another place with --page"))
    });
    let site = match site.transpose() {
        Ok(site) => site,
        Err(why) => return fail(Exit::Other, why),
    };
    let report = match Report::new(args.report, args.log.as_deref()) {
        Ok(report) => report,
        Err(fault) => {
            let log = args.log.unwrap_or_default();
            return fail(Exit::Disk, format!("the log {}: {fault}", log.display()));
        }
    };
    let start = || {
        // write all messages before a failure is printed
        let tracker = Tracker::start(args.tracker, listener, report.clone());
        let tracker = tracker.inspect_err(|_| report.settle())?;
        let page = site.map(|site| tracker.serve_page(site)).transpose();
        Ok((page.map_err(StartError::System)?, tracker))
    };
    match start() {
        Ok(_running) => loop {
            // its threads do the work; only a signal ends the program
            std::thread::park();
        },
        Err(StartError::Disk(path, _)) if path.is_file() => {
            let path = path.display();
            let why = format!("{path} isn't a folder: --torrents takes one for the .torrents");
            fail(Exit::Disk, why)
        }
        Err(fault @ StartError::Disk(..)) => fail(Exit::Disk, fault),
        Err(fault @ StartError::System(_)) => fail(Exit::Other, fault),
    }
}
