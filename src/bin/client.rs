//! `client`: flags → configuration → [`bittorrentish::client`], and exit codes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bittorrentish::cli::{self, Exit};
use bittorrentish::client::{Client, ClientConfig, Pretence};
use bittorrentish::events::Event;
use bittorrentish::http::Site;
use bittorrentish::md5::Digest;
use bittorrentish::net::addresses::{at_port, sends_from};
use bittorrentish::report::{self, Report};
use bittorrentish::state::Wants;
use bittorrentish::status::{self, StatusConfig};
use bittorrentish::store::Store;
use bittorrentish::torrent::{Name, legible};
use bittorrentish::{net, page};
use getopts::{Matches, Options};

/// The least rate, bytes per second: two connections are served at once, and each is given up below 64 KiB in 30 s.
const LEAST_RATE: f64 = 5.0 * 1024.0;

/// The most milliseconds that a peer pretends to be away: others give up after ten seconds.
const MOST_PRETENDED: u64 = 5000;

const BRIEF: &str = "\
Examples, where the tracker is at 192.168.1.10:
    client 192.168.1.10 29283 shared
        share the folder `shared`, and fetch into it whatever the others share
    client 192.168.1.10 29283 shared --only image.iso --exit-when-complete
        fetch one file, and end with exit code 0; with --seed-for 10m, serve it
        for ten minutes first; with --md5 HEX and --replace, as the seed prints
        them: this content alone, in place of last week's
    client 192.168.1.10 29283 shared --max-up 5M --listen 50001
        send at most 5 MiB a second, and serve others on a port that the
        firewall lets through

Usage: client <tracker-ip> <port> <dir> [flags]
       client <tracker-ip> <port> --status [--only NAME] [--md5 HEX]
              [--until N [--within S] [--hosts FILE]]

Shares the files in <dir> with every other peer of the tracker, and fetches what
is missing there. <port> is the tracker's, 29283 unless it was started
otherwise. <dir> is made where it is missing.";

const AFTER: &str = "\
RATE is bytes a second; K, M and G are times 1024. S is seconds, or a time such
as 90s, 10m or 2h.
Exit codes: 0 done, 1 other, 2 usage, 3 tracker unreachable, 4 integrity or
conflict, 5 disk, 6 --within ran out.";

fn options() -> Options {
    let mut options = Options::new();
    options
        .optopt(
            "",
            "listen",
            "the port to serve others on (the last run's, or any free one)",
            "PORT",
        )
        .optmulti(
            "",
            "only",
            "fetch this file alone; may be given again",
            "NAME",
        )
        .optopt(
            "",
            "md5",
            "with one --only: this content and no other",
            "HEX",
        )
        .optflag(
            "",
            "replace",
            "replace a received file that isn't the swarm's any more; one of your own for a pinned content only",
        )
        .optopt(
            "",
            "reuse",
            "copy what fits from this file, and fetch the rest",
            "FILE",
        )
        .optflag("", "pick", "fetch only what is picked on the page")
        .optflag(
            "",
            "exit-when-complete",
            "end once everything wanted is here and verified",
        )
        .optopt(
            "",
            "seed-for",
            "with --exit-when-complete: first serve for this long (0)",
            "S",
        )
        .optflag("", "classic", "one piece a round, as in the course text")
        .optflag("", "explain", "print each decision with its reason")
        .optopt("", "min-peers", "ask nobody until this many others are listed (0)", "N")
        .optopt("", "max-up", "send no faster than this (no limit)", "RATE")
        .optopt("", "max-down", "receive no faster than this (no limit)", "RATE")
        .optopt("", "ping-every", "between two pings (10)", "S")
        .optopt("", "list-every", "between two lists (20)", "S")
        .optopt("", "round-every", "between two rounds (30)", "S")
        .optflag("", "status", "instead: print how far every machine is; without <dir>")
        .optopt(
            "",
            "until",
            "with --status: wait until N machines beside publishers have it",
            "N",
        )
        .optopt(
            "",
            "within",
            "with --until: end with 6 after this time, and name who is missing",
            "S",
        )
        .optopt("", "hosts", "with --until: these machines, one a line", "FILE")
        .optopt("", "log", "append each event as a line of JSON", "FILE")
        .optopt(
            "",
            "page",
            "serve the page here (127.0.0.1, any free port)",
            "[ADDR:]PORT",
        )
        .optflag("", "no-page", "serve no page")
        .optopt("", "pretend-latency", "for a class: delay answers by this (0)", "MS")
        .optopt("", "corrupt", "for a class: this much of what is sent is wrong (0)", "PERCENT")
        .optflag("", "quiet", "print results and trouble only")
        .optflag("", "verbose", "print each ping and list, too")
        .optflag("h", "help", "print this")
        .optflag("V", "version", "print the version");
    options
}

fn main() -> ExitCode {
    let options = options();
    let matches = match cli::args().and_then(|args| cli::parse(&options, &args)) {
        Ok(matches) => matches,
        Err(fault) => return cli::fail(Exit::Usage, fault),
    };
    if matches.opt_present("help") {
        return cli::say(Exit::Done, format!("{}\n{AFTER}", options.usage(BRIEF)));
    }
    if matches.opt_present("version") {
        return cli::say(Exit::Done, concat!("client ", env!("CARGO_PKG_VERSION")));
    }
    if matches.opt_present("status") {
        return match status_config(&options, &matches) {
            Ok(config) => run_status(&matches, &config),
            Err(fault) => cli::fail(Exit::Usage, fault),
        };
    }
    match config(&matches) {
        Ok((config, listen)) => run(&matches, config, listen),
        Err(fault) => cli::fail(Exit::Usage, fault),
    }
}

/// Returns what `--status` asks for.
fn status_config(options: &Options, matches: &Matches) -> Result<StatusConfig, String> {
    let [tracker, port] = matches.free.as_slice() else {
        return Err(format!(
            "expected <tracker-ip> <port> --status, without <dir>, got {} words beside flags",
            matches.free.len()
        ));
    };
    let of_status = [
        "status", "only", "md5", "until", "within", "hosts", "log", "quiet", "verbose",
    ];
    cli::only_with(options, matches, "status", &of_status)?;
    cli::exclude(matches, ["quiet", "verbose"])?;
    let only = names(matches)?;
    if only.len() > 1 {
        return Err("--status takes one --only".to_owned());
    }
    let given = |flag| matches.opt_present(flag);
    let until = given("until").then(|| cli::number(matches, "until", 0));
    let until = until.transpose()?;
    for flag in ["within", "hosts"] {
        if given(flag) && until.is_none() {
            return Err(format!("--{flag} goes with --until"));
        }
    }
    let within = given("within").then(|| cli::seconds(matches, "within", Duration::ZERO));
    Ok(StatusConfig {
        tracker: tracker.clone(),
        port: tracker_port(port)?,
        md5: md5(matches)?,
        only: only.into_iter().next(),
        until,
        hosts: hosts(matches)?,
        within: within.transpose()?,
    })
}

/// Reads the machines that are expected: one a line, with comments behind a `#`.
fn hosts(matches: &Matches) -> Result<Vec<String>, String> {
    let Some(path) = matches.opt_str("hosts") else {
        return Ok(Vec::new());
    };
    let text =
        std::fs::read_to_string(&path).map_err(|fault| format!("--hosts {path}: {fault}"))?;
    // some editors put a mark before the first line
    let lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(|line| line.split('#').next().unwrap_or(line).trim());
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Watches a rollout.
fn run_status(matches: &Matches, config: &StatusConfig) -> ExitCode {
    let report = match report(matches) {
        Ok(report) => report,
        Err(exit) => return exit,
    };
    let (exit, text) = status::run(config, &report);
    report.settle();
    match exit {
        Exit::Unreachable => cli::fail(exit, text),
        _ => cli::say(exit, text),
    }
}

/// Returns the names that were given with `--only`.
fn names(matches: &Matches) -> Result<Vec<Name>, String> {
    let name =
        |name: String| Name::parse(&name).map_err(|fault| format!("--only {name:?}: {fault}"));
    matches.opt_strs("only").into_iter().map(name).collect()
}

fn as_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

fn tracker_port(port: &str) -> Result<u16, String> {
    as_port(port).ok_or_else(|| format!("<port> is the tracker's, 1 to 65535, got {port:?}"))
}

/// Returns the configuration and the port to listen on.
fn config(matches: &Matches) -> Result<(ClientConfig, u16), String> {
    let (tracker, tracker_port, dir) = places(&matches.free)?;
    for flag in ["until", "hosts", "within"] {
        if matches.opt_present(flag) {
            return Err(format!("--{flag} goes with --status"));
        }
    }
    let wants = Wants {
        only: names(matches)?,
        md5: md5(matches)?,
        replace: matches.opt_present("replace"),
        pick: matches.opt_present("pick"),
        exit_when_complete: matches.opt_present("exit-when-complete"),
        seed_for: cli::seconds(matches, "seed-for", Duration::ZERO)?,
        list_every: cli::seconds(matches, "list-every", Duration::from_secs(20))?,
        ping_every: cli::seconds(matches, "ping-every", Duration::from_secs(10))?,
    };
    cli::exclude(matches, ["quiet", "verbose"])?;
    if matches.opt_present("seed-for") && !wants.exit_when_complete {
        return Err("--seed-for goes with --exit-when-complete: without it, the client serves until it is ended".to_owned());
    }
    cli::page(matches)?;
    cli::exclude(matches, ["page", "no-page"])?;
    cli::exclude(matches, ["pick", "no-page"])?;
    let config = ClientConfig {
        tracker,
        tracker_port,
        dir: PathBuf::from(dir),
        wants,
        reuse: reuse(matches)?,
        classic: matches.opt_present("classic"),
        min_peers: cli::number(matches, "min-peers", 0)?,
        max_up: rate(matches, "max-up")?,
        max_down: rate(matches, "max-down")?,
        round_every: cli::seconds(matches, "round-every", Duration::from_secs(30))?,
        pretence: pretence(matches)?,
    };
    Ok((config, cli::number(matches, "listen", 0)?))
}

/// Returns the tracker's address, its port, and the folder.
fn places(free: &[String]) -> Result<(String, u16, String), String> {
    let joined = free.first().and_then(|first| {
        let bare = first
            .split_once("://")
            .map_or(first.as_str(), |(_, rest)| rest);
        let (host, port) = bare.trim_end_matches('/').rsplit_once(':')?;
        let is_one = !host.contains(':') || host.ends_with(']');
        as_port(port)
            .filter(|_| is_one)
            .map(|_| (host.to_owned(), port.to_owned()))
    });
    let [tracker, port, dir] = free else {
        let hint = joined.map(|(host, port)| {
            format!(
                ": the port stands apart, as in client {host} {port} {}",
                free.get(1).map_or("shared", |dir| dir)
            )
        });
        let spaces = (free.len() > 3).then(|| ": a name with spaces goes in quotes".to_owned());
        return Err(format!(
            "expected <tracker-ip> <port> <dir>, got {} of these{}",
            free.len(),
            hint.or(spaces).unwrap_or_default()
        ));
    };
    if tracker.is_empty() || dir.is_empty() {
        return Err("<tracker-ip> and <dir> can't be empty".to_owned());
    }
    if tracker.contains('/') && joined.is_none() {
        return Err(format!(
            "<tracker-ip> is an address or a name alone, got {tracker:?}"
        ));
    }
    if let Some((host, joined)) = joined {
        return Err(format!(
            "<tracker-ip> is an address or a name alone, got {tracker:?}: give {host} and, as <port>, {joined}"
        ));
    }
    let number = tracker_port(port).map_err(|fault| match (as_port(tracker), as_port(dir)) {
        (Some(port), _) => {
            format!("the order is <tracker-ip> <port> <dir>, got the port {port} first")
        }
        (None, Some(port)) => {
            format!("the order is <tracker-ip> <port> <dir>, got the port {port} last")
        }
        (None, None) => fault,
    })?;
    Ok((tracker.clone(), number, dir.clone()))
}

/// Returns the MD5 that the one file of `--only` must have.
fn md5(matches: &Matches) -> Result<Option<Digest>, String> {
    let Some(hex) = matches.opt_str("md5") else {
        return Ok(None);
    };
    if matches.opt_count("only") != 1 {
        return Err(
            "--md5 says which content --only NAME is to have: give exactly one --only with it"
                .to_owned(),
        );
    }
    let digest = hex.to_ascii_lowercase().parse();
    digest.map(Some).map_err(|_| {
        format!("--md5 takes 32 hexadecimal digits, as md5sum prints them, got {hex:?}")
    })
}

/// Returns what the peer is to seem, for a class.
fn pretence(matches: &Matches) -> Result<Pretence, String> {
    let latency = cli::number(matches, "pretend-latency", 0)?;
    let corrupt_percent = cli::number(matches, "corrupt", 0)?;
    if latency > MOST_PRETENDED {
        return Err(format!("--pretend-latency takes up to {MOST_PRETENDED}"));
    }
    if corrupt_percent > 100 {
        return Err("--corrupt takes up to 100".to_owned());
    }
    Ok(Pretence {
        latency: Duration::from_millis(latency),
        corrupt_percent,
    })
}

/// Opens the file from which matching parts are copied.
fn reuse(matches: &Matches) -> Result<Option<PathBuf>, String> {
    let path = matches.opt_str("reuse").map(PathBuf::from);
    if let Some(path) = &path {
        let told = |fault| format!("--reuse {}: {fault}", path.display());
        // whoever opens a pipe waits for its other end
        if !std::fs::metadata(path).map_err(told)?.is_file() {
            return Err(format!("--reuse {}: expected a file", path.display()));
        }
        std::fs::File::open(path).map_err(told)?;
    }
    Ok(path)
}

/// Parses `500`, `500K`, `1.5M` or `2G` as bytes per second.
fn rate(matches: &Matches, flag: &str) -> Result<Option<u64>, String> {
    let Some(text) = matches.opt_str(flag) else {
        return Ok(None);
    };
    let digits = text.trim_end_matches(['K', 'M', 'G', 'k', 'm', 'g']);
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => Some(1.0),
        "K" => Some(1024.0),
        "M" => Some(1048576.0),
        "G" => Some(1073741824.0),
        _ => None,
    };
    let number: Option<f64> = digits.parse().ok();
    match number.zip(unit).map(|(number, unit)| number * unit) {
        Some(rate) if (LEAST_RATE..1e15).contains(&rate) => Ok(Some(rate as u64)),
        Some(rate) if rate < LEAST_RATE => Err(format!(
            "--{flag} takes at least 5K: a piece that comes slower than 64 KiB in 30 s is given up"
        )),
        _ => Err(format!(
            "--{flag} takes bytes a second, such as 500K or 1.5M, got {text:?}"
        )),
    }
}

/// Starts to report, where the flags say.
fn report(matches: &Matches) -> Result<Report, ExitCode> {
    let told = report::ReportConfig {
        quiet: matches.opt_present("quiet"),
        verbose: matches.opt_present("verbose"),
        explain: matches.opt_present("explain"),
    };
    let log = matches.opt_str("log");
    let report = Report::new(told, log.as_deref().map(Path::new));
    report.map_err(|fault| {
        let why = format!("the log {}: {fault}", log.unwrap_or_default());
        cli::fail(Exit::Disk, why)
    })
}

fn run(matches: &Matches, config: ClientConfig, listen: u16) -> ExitCode {
    let report = match report(matches) {
        Ok(report) => report,
        Err(exit) => return exit,
    };
    let at = at_port(&config.tracker, config.tracker_port);
    // before anything that may take time
    report.say(&Event::Starting {
        dir: legible(&config.dir.to_string_lossy()),
        tracker: at.clone(),
        only: config.wants.only.clone(),
        pick: config.wants.pick,
    });
    if let Some(told) = config.pretence.told() {
        report.say(&Event::Pretending { told });
    }
    let ended = serve(matches, config, listen, &at, &report);
    report.settle();
    match ended {
        Ok(exit) => exit.into(),
        Err((exit, why)) => cli::fail(exit, why),
    }
}

/// Runs the peer to its end, if it has one.
fn serve(
    matches: &Matches,
    config: ClientConfig,
    listen: u16,
    at: &str,
    report: &Report,
) -> Result<Exit, (Exit, String)> {
    let mut store = Store::open(&config.dir).map_err(|fault| (Exit::Disk, fault.to_string()))?;
    if let Some(log) = matches.opt_str("log") {
        store.leave_out(Path::new(&log));
    }
    // a name that isn't known yet is looked up again at each ping
    let tracker = net::resolve(&config.tracker, config.tracker_port).unwrap_or_default();
    let at_last = store.last_port().filter(|_| listen == 0);
    let at_last = at_last.and_then(|port| net::listen(port).ok());
    let listener = at_last.map_or_else(|| net::listen(listen), Ok);
    let listener = listener.map_err(|fault| {
        let why =
            format!("port {listen} can't be listened on: {fault}; choose another with --listen");
        (Exit::Other, why)
    })?;
    let site = site(matches, &tracker).map_err(|why| (Exit::Other, why))?;
    let port = listener.local_addr().map_or(listen, |addr| addr.port());
    store.keep_port(port);
    report.say(&Event::Listening {
        port,
        dir: config.dir.display().to_string(),
        tracker: at.to_owned(),
    });
    for what in store.remarks() {
        report.say(&Event::Remark { what });
    }
    if let Some(site) = &site {
        let url = site.url.clone();
        report.say(&Event::Page { url });
    }
    let no_threads = |fault| (Exit::Other, format!("no threads: {fault}"));
    let running = Client::start(config, store, listener, report.clone()).map_err(no_threads)?;
    let page = site.map(|site| page::start(&running.client, site));
    let _page = page.transpose().map_err(no_threads)?;
    // everything in progress is on the disk, and the next run resumes it
    Ok(running.client.wait_until_done())
}

/// Binds the page's address. If nobody asked for a page and there is no place for it, the client runs without one.
fn site(matches: &Matches, tracker: &[SocketAddr]) -> Result<Option<Site>, String> {
    if matches.opt_present("no-page") {
        return Ok(None);
    }
    let Some(at) = cli::page(matches)? else {
        return Ok(Site::bind((Ipv4Addr::LOCALHOST, 0).into(), None).ok());
    };
    // the link is for others: best is the address that leads to the tracker
    let own = tracker.first().and_then(|tracker| sends_from(tracker.ip()));
    let site = Site::bind(at, own);
    let taken = |fault| {
        format!(
            "no page at {at}: {fault}; choose another place with --page, or none with --no-page"
        )
    };
    site.map(Some).map_err(taken)
}
