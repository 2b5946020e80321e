//! What stands on a terminal, and what goes into a pipe. A terminal is made by `script` of util-linux; where that is missing,
//! the tests with one say so and are left out.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::support::{Program, QUICK, Temp, plant, random_bytes, until};

/// So slow that a status line is seen at several looks, one a second: bytes a second, and the file's size.
const SLOW: (&str, usize) = ("1M", 4 << 20);

/// Ends by itself.
const ENDS: [&str; 3] = ["--only", "image.iso", "--exit-when-complete"];

/// A shell that runs the tests in the background has them ignore Ctrl-C's signal, and what they start, too. On a terminal
/// of its own a program doesn't: this command before another makes that sure, where there is one.
fn undo_ignoring() -> &'static str {
    let env = "env --default-signal=INT";
    let mut known = Command::new("sh");
    known.args(["-c", &format!("{env} true")]);
    let known = known.stderr(Stdio::null()).status();
    match known.is_ok_and(|status| status.success()) {
        true => env,
        false => "",
    }
}

/// A program on a terminal of its own.
struct OnTerminal {
    script: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl OnTerminal {
    /// Starts `client` with these variables and no others that a terminal looks at; none where this machine can't.
    fn start(vars: &[(&str, &str)], args: &[String]) -> Option<Self> {
        let version = Command::new("script").arg("--version").output();
        let version = version.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
        if !version.is_ok_and(|version| version.contains("util-linux")) {
            eprintln!("left out, as this needs `script` of util-linux");
            return None;
        }
        let quoted = args.iter().map(|arg| format!("'{arg}'"));
        let quoted = quoted.collect::<Vec<_>>().join(" ");
        let program = env!("CARGO_BIN_EXE_client");
        let command = format!("echo $$; exec {} '{program}' {quoted}", undo_ignoring());
        let mut script = Command::new("script");
        for name in ["COLUMNS", "NO_COLOR", "LC_ALL", "LC_CTYPE", "LANG"] {
            script.env_remove(name);
        }
        script
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .envs(vars.iter().copied());
        script
            .args(["-qec", &command, "/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut script = script.spawn().expect("it was there a moment ago");
        let mut out = script.stdout.take().expect("piped");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let reader = {
            let shown = Arc::clone(&shown);
            thread::spawn(move || {
                let mut some = [0; 4096];
                while let Ok(n @ 1..) = out.read(&mut some) {
                    shown.lock().expect("no panic").extend(&some[..n]);
                }
            })
        };
        Some(Self {
            script,
            shown,
            reader: Some(reader),
        })
    }

    /// All that was written to it so far.
    fn shown(&self) -> String {
        let shown = self.shown.lock().expect("no panic").clone();
        String::from_utf8_lossy(&shown).replace("\r\n", "\n")
    }

    #[track_caller]
    fn until_shown(&self, text: &str) -> String {
        until(&format!("{text:?} on the terminal"), || {
            Some(self.shown()).filter(|shown| shown.contains(text))
        })
    }

    /// Has Ctrl-C's signal end the program, and waits for that. Returns all that was written.
    fn interrupt(mut self) -> String {
        let shown = self.shown();
        let pid = shown.lines().next().expect("the shell's first line").trim();
        let kill = Command::new("kill").args(["-INT", pid]).status();
        assert!(kill.is_ok_and(|status| status.success()), "{pid}");
        self.end()
    }

    /// Waits for the end. Returns all that was written.
    fn end(&mut self) -> String {
        until("the end of the program", || {
            self.script.try_wait().expect("a child")
        });
        let reader = self.reader.take().expect("it ends once");
        reader.join().expect("no panic");
        self.shown()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        if self.reader.is_some() {
            // its terminal is closed with it, and that ends the program
            let _ = self.script.kill();
            let _ = self.script.wait();
        }
    }
}

/// The status lines in what was written, and the lines that stay, without what drives the terminal.
fn split(shown: &str) -> (Vec<String>, Vec<String>) {
    let (mut status, mut stays) = (Vec::new(), Vec::new());
    for line in shown.lines().skip(1) {
        let line = match line.split_once("\x1b[J") {
            Some((up, rest)) => {
                let n = up
                    .strip_prefix("\r\x1b[")
                    .and_then(|up| up.strip_suffix('A'));
                assert!(n.is_some_and(|n| n.parse::<usize>().is_ok()), "{line:?}");
                rest
            }
            None => line,
        };
        match line.strip_prefix("\x1b[?7l") {
            Some(line) => status.push(line.strip_suffix("\x1b[?7h").expect("on again").to_owned()),
            None => stays.push(line.to_owned()),
        }
    }
    (status, stays)
}

/// A tracker and a seed of `image.iso`, and the arguments of a slow peer of theirs, with `more` flags.
fn swarm(dir: &Temp, more: &[&str]) -> ([Program; 2], Vec<String>) {
    let tracker = Program::tracker(&dir.dir("torrents"), &[]);
    plant(&dir.dir("seed"), "image.iso", &random_bytes(SLOW.1, 1));
    let seed = Program::peer(&tracker, &dir.dir("seed"), &[]);
    seed.until_line("the tracker has the .torrent of image.iso");
    let (port, peer) = (tracker.port().to_string(), path(&dir.dir("peer")));
    let args = ["127.0.0.1", &port, &peer, "--max-down", SLOW.0];
    let args = args.iter().chain(&QUICK).chain(more);
    let args = args.map(|arg| (*arg).to_owned());
    let args = args.collect();
    ([tracker, seed], args)
}

fn path(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// Columns, of what has no wide letters.
fn width(line: &str) -> usize {
    line.chars().count()
}

#[test]
fn a_status_line_stands_below_lines_that_scroll() {
    let dir = Temp::new();
    let (_programs, args) = swarm(&dir, &ENDS);
    let vars = [("COLUMNS", "60"), ("LANG", "C.UTF-8")];
    let Some(mut peer) = OnTerminal::start(&vars, &args) else {
        return;
    };
    let shown = peer.end();
    let (status, stays) = split(&shown);
    let percent = |line: &str| -> Option<u32> {
        let (before, _) = line.split_once(" %")?;
        before.rsplit([' ', ']']).next()?.parse().ok()
    };
    let percents: Vec<u32> = status.iter().filter_map(|line| percent(line)).collect();
    assert!(percents.len() >= 2 && percents.is_sorted(), "{shown:?}");
    assert!(status.iter().all(|line| width(line) <= 60), "{status:#?}");
    let says = |words: &[&str]| {
        let says = |line: &&String| words.iter().all(|word| line.contains(word));
        status.iter().find(says).is_some()
    };
    assert!(
        says(&["image.iso  [█", "░]", "iB/s", "1 of 1"]),
        "{status:#?}"
    );
    assert!(says(&[" s left"]), "{status:#?}");
    // each line that stays is whole, the steps of 10 % aren't among them, and the last of what scrolls is the last at all
    let starts = stays
        .iter()
        .filter(|line| !line.starts_with("            "));
    let times = starts.map(|line| {
        line.split_once(" s  ")
            .map(|(t, _)| t.trim().parse::<f64>())
    });
    assert!(
        times.into_iter().all(|t| matches!(t, Some(Ok(_)))),
        "{stays:#?}"
    );
    let words = |line: &String| width(line) <= 60 || line.trim().split(' ').count() == 1;
    let wrapped = stays.iter().take_while(|line| !line.contains("peer  "));
    let plain = |line: &String| line.replace("\x1b[32m", "").replace("\x1b[0m", "");
    assert!(wrapped.map(plain).all(|line| words(&line)), "{stays:#?}");
    assert!(
        !stays.iter().any(|line| line.contains("  image.iso: ")),
        "{stays:#?}"
    );
    assert!(
        stays
            .iter()
            .any(|line| line.contains("\x1b[32mcomplete: image.iso")),
        "{stays:#?}"
    );
    let (_, after) = shown
        .split_once("everything wanted is here and verified\x1b[0m\n")
        .expect("the last that it does");
    assert!(!after.contains('\x1b'), "{after:?}");
    assert!(
        !shown.contains("\x1b[?25l") && !shown.contains("\x1b[?1049"),
        "{shown:?}"
    );
}

#[test]
fn ctrl_c_leaves_a_terminal_in_order() {
    let dir = Temp::new();
    let (_programs, args) = swarm(&dir, &[]);
    let Some(peer) = OnTerminal::start(&[], &args) else {
        return;
    };
    peer.until_shown("[##");
    let shown = peer.interrupt();
    let (status, stays) = split(&shown);
    assert!(
        status
            .iter()
            .all(|line| line.is_ascii() && width(line) <= 79),
        "{status:#?}"
    );
    assert!(shown.ends_with('\n'), "{shown:?}");
    let safe = |line: &String| line.contains("Ctrl-C is safe");
    assert!(stays.iter().take(3).any(safe), "{stays:#?}");
    let Some(peer) = OnTerminal::start(&[], &args) else {
        return;
    };
    peer.until_shown("are here already");
    peer.until_shown("complete: image.iso");
    // at rest, too, the last line says how things stand
    let rest = "serving 1 file, nothing sent so far; 1 other peer here";
    peer.until_shown(rest);
    let shown = peer.interrupt();
    assert!(shown.ends_with(&format!("{rest}\x1b[?7h\n")), "{shown:?}");
}

/// Whoever makes the letters larger for a room has fewer columns from then on.
#[test]
fn a_status_line_follows_the_width_of_the_window() {
    let dir = Temp::new();
    let (_programs, args) = swarm(&dir, &[]);
    let Some(peer) = OnTerminal::start(&[("LANG", "C.UTF-8")], &args) else {
        return;
    };
    let resize = |columns: &str| {
        let shown = peer.shown();
        let pid = shown.lines().next().expect("the shell's first line").trim();
        let terminal = format!("/proc/{pid}/fd/1");
        let mut stty = Command::new("stty");
        stty.args(["-F", &terminal, "cols", columns]);
        let stty = stty.status();
        stty.is_ok_and(|status| status.success())
    };
    let last = |is_fit: fn(usize) -> bool, what: &str| {
        until(what, || {
            let (status, _) = split(&peer.shown());
            status.last().filter(|line| is_fit(width(line))).cloned()
        })
    };
    last(|width| width > 50, "a status line");
    if !resize("45") {
        eprintln!("left out, as `stty` can't resize another's terminal here");
        return;
    }
    let narrow = last(|width| width <= 44, "a narrow status line");
    assert!(narrow.ends_with('…'), "{narrow}");
    assert!(resize("150"));
    last(|width| width > 50, "a whole status line");
    let shown = peer.interrupt();
    assert!(shown.ends_with('\n'), "{shown:?}");
}

#[test]
fn without_utf_8_all_that_is_shown_is_ascii() {
    let dir = Temp::new();
    let (_programs, mut args) = swarm(&dir, &ENDS);
    args.push("--verbose".to_owned());
    for vars in [
        &[("LC_ALL", "C"), ("LANG", "C.UTF-8")][..],
        &[("TERM", "linux"), ("LANG", "C.UTF-8")],
    ] {
        let _ = std::fs::remove_dir_all(dir.path().join("peer"));
        let Some(mut peer) = OnTerminal::start(vars, &args) else {
            return;
        };
        let shown = peer.end();
        assert!(shown.is_ascii(), "{vars:?}: {shown:?}");
        // who was here before may still be listed
        let pings = [
            "ping -> 1 other peer listed",
            "ping -> 2 other peers listed",
        ];
        let ping = pings.iter().any(|ping| shown.contains(ping));
        assert!(ping, "{shown:?}");
    }
}

#[test]
fn a_dumb_terminal_and_who_wants_no_colour_get_none() {
    let dir = Temp::new();
    let (_programs, args) = swarm(&dir, &ENDS);
    let dumb = OnTerminal::start(&[("TERM", "dumb")], &args);
    let Some(mut dumb) = dumb else { return };
    let shown = dumb.end();
    assert!(!shown.contains('\x1b'), "{shown:?}");
    let steps = shown.lines().filter(|line| line.contains("  image.iso: "));
    assert!((1..=9).contains(&steps.count()), "{shown:?}");

    std::fs::remove_dir_all(dir.path().join("peer")).expect("a folder");
    let Some(mut plain) = OnTerminal::start(&[("NO_COLOR", "1")], &args) else {
        return;
    };
    let shown = plain.end();
    assert!(
        shown.contains("\x1b[?7l") && !shown.contains("m\x1b"),
        "{shown:?}"
    );
    assert!(
        !shown.contains("\x1b[3") && !shown.contains("\x1b[0"),
        "{shown:?}"
    );
}

#[test]
fn a_pipe_gets_plain_lines() {
    let dir = Temp::new();
    let (programs, _) = swarm(&dir, &[]);
    let [tracker, seed] = &programs;
    // a tenth takes less than a second, and two seconds at least are between two lines
    let flags = [&ENDS[..], &["--max-down", "512K"]].concat();
    let mut peer = Program::peer(tracker, &dir.dir("peer"), &flags);
    assert!(peer.until_ended().success(), "{peer:?}");
    let lines = peer.lines();
    assert!(
        lines[0].ends_with(&format!(
            "s  serving {}, fetching image.iso; tracker {}",
            dir.path().join("peer").display(),
            tracker.addr()
        )),
        "{peer:?}"
    );
    assert!(lines[1].contains("Ctrl-C is safe") && lines[1].contains("the same command"));
    assert!(lines.iter().all(|line| !line.contains('\x1b')), "{peer:?}");
    let steps = lines.iter().filter(|line| line.contains("  image.iso: "));
    let steps: Vec<&String> = steps.collect();
    assert!((2..=5).contains(&steps.len()), "{peer:?}");
    let told = peer.events("progress");
    let times: Vec<f64> = told
        .iter()
        .map(|event| event["t"].as_f64().expect("a time"))
        .collect();
    // the times are those of the lines, a little after those of the decisions
    assert!(
        times.windows(2).all(|two| two[1] - two[0] > 1.5),
        "{times:?}"
    );
    assert!(
        steps
            .iter()
            .all(|line| line.contains("/s") && line.contains("from 1 peer")),
        "{steps:#?}"
    );
    for (line, event) in steps.iter().zip(told) {
        let shown = format!("image.iso: {} %, ", event["percent"]);
        assert!(line.contains(&shown) && line.contains(" s left"), "{line}");
        assert!(
            event["left"].is_f64() && event["doing"]["kind"] == "fetching",
            "{event}"
        );
    }
    // what it is told of at the seed
    let given = seed.until_event("given", |event| event["gave"] == SLOW.1);
    assert_eq!(given["shares"][0]["gave"], SLOW.1, "{given}");
    assert!(
        given["md5"].is_string() && given["seconds"].is_f64(),
        "{given}"
    );
    seed.until_line("so far 4.0 MiB to 1 peer, 1.00 times its size of 4.0 MiB");
}
