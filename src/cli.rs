//! What the programs' command lines share: exit codes, unknown flags, and flags with numbers. A closed pipe never
//! causes a panic.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use getopts::{Fail, Matches, Options};

/// How a program ends, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything is done.
    Done = 0,
    /// Any failure without a code of its own.
    Other = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The tracker can't be reached.
    Unreachable = 3,
    /// The file here isn't the published one, or can't be verified.
    Integrity = 4,
    /// The disk is full, or can't be written to.
    Disk = 5,
    /// `--within` ran out before everybody had it.
    Late = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Says on stderr why the program ends, and returns its exit code.
pub fn fail(exit: Exit, why: impl Display) -> ExitCode {
    let why = why.to_string();
    let has_hint = why.contains("did you mean");
    // a reader that closed stderr doesn't want to know
    let _ = match exit {
        Exit::Usage if !has_hint => writeln!(io::stderr(), "error: {why}; try --help"),
        _ => writeln!(io::stderr(), "error: {why}"),
    };
    exit.into()
}

/// Prints what the user asked for, such as the help, and returns `exit`; or says why it can't be printed.
pub fn say(exit: Exit, text: impl Display) -> ExitCode {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // a reader that closed the pipe doesn't want more
        Err(fault) if fault.kind() != ErrorKind::BrokenPipe => {
            fail(Exit::Disk, format!("this can't be printed: {fault}"))
        }
        _ => exit.into(),
    }
}

/// Returns the command line after the program's name.
///
/// # Errors
/// Returns an error, for people, if an argument isn't UTF-8.
pub fn args() -> Result<Vec<String>, String> {
    let utf8 = |arg: std::ffi::OsString| {
        arg.into_string()
            .map_err(|arg| format!("expected UTF-8, got the argument {arg:?}"))
    };
    std::env::args_os().skip(1).map(utf8).collect()
}

/// Parses the flags.
///
/// # Errors
/// Returns an error, for people, if one is unknown, lacks its value, or the like.
pub fn parse(options: &Options, args: &[String]) -> Result<Matches, String> {
    let known = flags_of(options);
    let matches = options.parse(args).map_err(|fault| match fault {
        Fail::UnrecognizedOption(flag) => unknown_flag(&flag, args, &known),
        Fail::ArgumentMissing(flag) => format!("--{flag} needs a value behind it"),
        Fail::OptionDuplicated(flag) => format!("--{flag} is given more than once"),
        fault => fault.to_string(),
    })?;
    let is_flag = |value: &String| {
        let flag = value.strip_prefix("--").map(str::to_owned);
        flag.is_some_and(|flag| known.contains(&flag)) && args.contains(value)
    };
    for flag in &known {
        // the value was forgotten, and getopts takes the next flag for it
        if let Some(value) = matches.opt_strs(flag).into_iter().find(is_flag) {
            return Err(format!(
                "--{flag} needs a value behind it, got the flag {value}"
            ));
        }
    }
    Ok(matches)
}

/// Checks that of all flags only some are given, those that go with `with`.
///
/// # Errors
/// Returns an error, for people, about the first other one.
pub fn only_with(
    options: &Options,
    matches: &Matches,
    with: &str,
    allowed: &[&str],
) -> Result<(), String> {
    let mut flags = flags_of(options).into_iter();
    let other = flags.find(|flag| matches.opt_present(flag) && !allowed.contains(&flag.as_str()));
    other.map_or(Ok(()), |flag| {
        Err(format!("--{flag} doesn't go with --{with}"))
    })
}

/// Checks that not both of two flags are given.
///
/// # Errors
/// Returns an error, for people, if they are.
pub fn exclude(matches: &Matches, [one, other]: [&str; 2]) -> Result<(), String> {
    match matches.opt_present(one) && matches.opt_present(other) {
        true => Err(format!("--{one} and --{other} exclude each other")),
        false => Ok(()),
    }
}

/// Returns the long flags, as the help has them.
fn flags_of(options: &Options) -> Vec<String> {
    let help = options.usage_with_format(|rows| rows.collect::<Vec<_>>().join("\n"));
    let words = |row: &str| {
        let flag = row
            .split_whitespace()
            .find_map(|word| word.strip_prefix("--"));
        flag.filter(|_| row.trim_start().starts_with('-'))
            .map(|flag| flag.trim_end_matches(',').to_owned())
    };
    help.lines().filter_map(words).collect()
}

/// Returns the message about a flag that isn't among the `known`, with the one that was probably meant.
fn unknown_flag(flag: &str, args: &[String], known: &[String]) -> String {
    // `-quiet` is reported as `q` alone: getopts reads a long flag with one dash as several short ones
    let behind_dash = args.iter().filter_map(|arg| arg.strip_prefix('-'));
    let mut behind_dash = behind_dash.filter(|arg| !arg.starts_with('-') && arg.contains(flag));
    let with_one_dash = (flag.chars().count() == 1).then(|| behind_dash.next());
    let (dashes, typed) = match with_one_dash.flatten() {
        Some(typed) => ("-", typed),
        None => ("--", flag),
    };
    let typed = typed.split('=').next().unwrap_or(typed);
    match nearest(typed, known) {
        Some(near) => format!("unknown flag {dashes}{typed}: did you mean --{near}?"),
        None => format!("unknown flag {dashes}{typed}"),
    }
}

/// Returns the name that was probably meant by a mistyped one: a third of its letters may be wrong, or its end missing.
pub fn nearest<'a>(typed: &str, known: &'a [String]) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let len = typed.chars().count();
    let begins = |name: &&String| len >= 3 && name.starts_with(&typed);
    let begun = known.iter().find(begins);
    let near = known.iter().map(|name| (edits(&typed, name), name)).min();
    let near = near.filter(|(edits, _)| *edits <= len / 3);
    begun.or(near.map(|(_, name)| name)).map(String::as_str)
}

/// Returns how many letters have to be inserted, removed, changed, or swapped with the next, to turn one word into the
/// other.
fn edits(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let changed = rows[i][j] + usize::from(a != b);
            let mut least = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

/// Quotes a word for a shell.
fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-+,:=@%".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        let shown = crate::torrent::legible(word);
        format!("'{}'", shown.replace('\'', r"'\''"))
    }
}

/// Returns the flag that names a file, quoted for a shell.
pub fn only_flag(name: &str) -> String {
    // apart from its flag, such a name may be taken for another one
    let between = if name.starts_with('-') { '=' } else { ' ' };
    format!("--only{between}{}", shell_quoted(name))
}

/// Returns the flags that name one content of a file, quoted for a shell.
pub fn pin_flags(name: &str, md5: &str) -> String {
    format!("{} --md5 {md5}", only_flag(name))
}

/// Returns the flags with which another machine fetches this content and no other, and ends once it is there.
pub fn fetch_flags(name: &str, md5: &str) -> String {
    format!("{} --replace --exit-when-complete", pin_flags(name, md5))
}

/// Returns how to start `client`, if this program, `server`, was started like this: from the same folder, or through
/// cargo.
pub fn client_command() -> String {
    let program = std::env::args().next().unwrap_or_default();
    beside(&program, std::env::var_os("CARGO").is_some())
}

fn beside(program: &str, by_cargo: bool) -> String {
    let (dir, name) = program.rsplit_once('/').unwrap_or(("", program));
    match by_cargo {
        true if dir.ends_with("release") => "cargo run --release --bin client --".to_owned(),
        true => "cargo run --bin client --".to_owned(),
        false if program.contains('/') => format!("{dir}/{}", name.replace("server", "client")),
        false => name.replace("server", "client"),
    }
}

/// Returns the value of the flag `name` as a number.
///
/// # Errors
/// Returns an error, for people, if it isn't a number, or is out of the type's range.
pub fn number<T: FromStr>(matches: &Matches, name: &str, default: T) -> Result<T, String> {
    match matches.opt_str(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| format!("--{name} takes {}, got {text:?}", range_of::<T>())),
    }
}

/// Says which numbers a type can hold: the only one of two bytes is a port.
fn range_of<T>() -> &'static str {
    match size_of::<T>() {
        2 => "a port, from 0 to 65535",
        _ => "a whole number from 0 up",
    }
}

/// Returns the value of the flag `name` as a Duration that a timer can handle: seconds, fractions allowed, or `90s`, `10m`,
/// `2h`.
///
/// # Errors
/// Returns an error, for people, if it isn't a number above zero; or zero, where that is the default.
pub fn seconds(matches: &Matches, name: &str, default: Duration) -> Result<Duration, String> {
    let Some(text) = matches.opt_str(name) else {
        return Ok(default);
    };
    let (digits, unit) = match text.as_bytes().last() {
        Some(b's' | b'S') => (&text[..text.len() - 1], 1.0),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 60.0),
        Some(b'h' | b'H') => (&text[..text.len() - 1], 3600.0),
        _ => (text.as_str(), 1.0),
    };
    let number: Option<f64> = digits.parse().ok();
    let seconds = number.map(|number| number * unit);
    // a century: the clock can't add every Duration
    let least = if default.is_zero() { 0.0 } else { 1e-3 };
    let fits = seconds.filter(|seconds| (least..=3.2e9).contains(seconds));
    let wrong = || {
        format!(
            "--{name} takes a time of at least {least} s, such as 90, 90s, 10m or 2h, got {text:?}"
        )
    };
    fits.map(Duration::from_secs_f64).ok_or_else(wrong)
}

/// Returns the value of `--page`, `[ADDR:]PORT`: a port alone means this machine's own 127.0.0.1.
///
/// # Errors
/// Returns an error, for people, if it is neither.
pub fn page(matches: &Matches) -> Result<Option<SocketAddr>, String> {
    let Some(text) = matches.opt_str("page") else {
        return Ok(None);
    };
    let port = text.parse().ok();
    let own = port.map(|port: u16| (Ipv4Addr::LOCALHOST, port).into());
    let addr = own.or_else(|| text.parse().ok());
    let wrong = || {
        format!("--page takes a port, or an address and a port such as 0.0.0.0:8080, got {text:?}")
    };
    addr.ok_or_else(wrong).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_where_a_shell_needs_it() {
        for (word, quoted) in [
            ("image.iso", "image.iso"),
            ("my image", "'my image'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
        ] {
            assert_eq!(shell_quoted(word), quoted);
        }
        assert_eq!(only_flag("my image"), "--only 'my image'");
        assert_eq!(only_flag("--help"), "--only=--help");
    }

    #[test]
    fn an_unknown_flag_is_told_with_what_was_meant() {
        let mut options = Options::new();
        options
            .optflag("", "exit-when-complete", "end --once all is here")
            .optopt("", "max-up", "", "RATE")
            .optopt("", "max-down", "", "RATE")
            .optopt("", "log", "", "FILE")
            .optopt("", "only", "", "NAME")
            .optflag("", "quiet", "")
            .optflag("h", "help", "");
        for (args, expected) in [
            (
                &["--exit-when-complet"][..],
                "unknown flag --exit-when-complet: did you mean --exit-when-complete?",
            ),
            (
                &["--exit"],
                "unknown flag --exit: did you mean --exit-when-complete?",
            ),
            (
                &["a", "--qiuet"],
                "unknown flag --qiuet: did you mean --quiet?",
            ),
            (&["--Quiet"], "unknown flag --Quiet: did you mean --quiet?"),
            (
                &["--max-dwn=5"],
                "unknown flag --max-dwn: did you mean --max-down?",
            ),
            (&["-quiet"], "unknown flag -quiet: did you mean --quiet?"),
            (&["-q"], "unknown flag -q"),
            (&["--onyl"], "unknown flag --onyl: did you mean --only?"),
            (&["--lgo"], "unknown flag --lgo: did you mean --log?"),
            (&["--speed"], "unknown flag --speed"),
            (&["--once"], "unknown flag --once"),
            (&["--bogus"], "unknown flag --bogus"),
            (&["--é"], "unknown flag --é"),
            (&["-?"], "unknown flag -?"),
            (&["--log"], "--log needs a value behind it"),
            (
                &["--only", "--quiet"],
                "--only needs a value behind it, got the flag --quiet",
            ),
            (&["--log=a", "--log=b"], "--log is given more than once"),
            (&["-help"], "unknown flag -help: did you mean --help?"),
        ] {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            assert_eq!(
                parse(&options, &args).err().as_deref(),
                Some(expected),
                "{args:?}"
            );
        }
        for named in [&["--only", "-quiet"][..], &["--only=--quiet"]] {
            let args: Vec<String> = named.iter().map(|arg| (*arg).to_owned()).collect();
            let matches = parse(&options, &args).expect("a name");
            assert!(matches.opt_present("only") && !matches.opt_present("quiet"));
        }
    }

    #[test]
    fn the_client_is_started_like_the_server() {
        for (program, by_cargo, expected) in [
            ("target/debug/server", true, "cargo run --bin client --"),
            (
                "target/release/server",
                true,
                "cargo run --release --bin client --",
            ),
            ("target/debug/server", false, "target/debug/client"),
            ("./server", false, "./client"),
            ("/opt/lab/server", false, "/opt/lab/client"),
            ("/server", false, "/client"),
            ("server", false, "client"),
        ] {
            assert_eq!(beside(program, by_cargo), expected, "{program}");
        }
    }

    #[test]
    fn a_time_is_above_zero_and_finite() {
        let mut options = getopts::Options::new();
        options.optopt("", "every", "", "S");
        for (text, expected) in [
            ("0.25", Some(Duration::from_millis(250))),
            ("15", Some(Duration::from_secs(15))),
            ("90s", Some(Duration::from_secs(90))),
            ("10m", Some(Duration::from_secs(600))),
            ("0.5h", Some(Duration::from_secs(1800))),
            ("m", None),
            ("10 min", None),
            ("10ms", None),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("1e300", None),
            ("soon", None),
            ("", None),
        ] {
            let matches = options
                .parse([format!("--every={text}")])
                .expect("a flag with a value");
            assert_eq!(
                seconds(&matches, "every", Duration::from_secs(1)).ok(),
                expected,
                "{text:?}"
            );
        }
        let zero = options.parse(["--every=0"]).expect("a flag with a value");
        let zero = seconds(&zero, "every", Duration::ZERO);
        assert_eq!(zero, Ok(Duration::ZERO), "the default may be given");
        let none = options.parse([""; 0]).expect("no flag");
        assert_eq!(
            seconds(&none, "every", Duration::from_secs(7)),
            Ok(Duration::from_secs(7))
        );
    }
}
