//! What the two programs share of their command lines: exit codes, and flags that are numbers. Never panics on a closed pipe.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use getopts::Matches;

/// How a program ends, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All done.
    Done = 0,
    /// Whatever has no code of its own.
    Other = 1,
    /// The command line isn't one.
    Usage = 2,
    /// The tracker can't be reached.
    Unreachable = 3,
    /// What is here isn't what was published.
    Integrity = 4,
    /// The disk is full, or doesn't let us.
    Disk = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Says on stderr why the program ends.
pub fn fail(exit: Exit, why: impl Display) -> ExitCode {
    // who closed stderr doesn't want to know
    let _ = match exit {
        Exit::Usage => writeln!(io::stderr(), "error: {why}; try --help"),
        _ => writeln!(io::stderr(), "error: {why}"),
    };
    exit.into()
}

/// Prints what was asked for, such as the help.
pub fn say(text: impl Display) -> ExitCode {
    let _ = writeln!(io::stdout(), "{text}");
    Exit::Done.into()
}

/// The command line behind the program's name.
///
/// # Errors
/// Where an argument isn't UTF-8, for people.
pub fn args() -> Result<Vec<String>, String> {
    let utf8 = |arg: std::ffi::OsString| {
        arg.into_string()
            .map_err(|arg| format!("expected UTF-8, came the argument {arg:?}"))
    };
    std::env::args_os().skip(1).map(utf8).collect()
}

/// The value of the flag `name` as a number.
///
/// # Errors
/// Where it is none, or out of the type's range, for people.
pub fn number<T: FromStr<Err: Display>>(
    matches: &Matches,
    name: &str,
    default: T,
) -> Result<T, String> {
    match matches.opt_str(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|fault| format!("--{name} takes a number, came {text:?}: {fault}")),
    }
}

/// The value of the flag `name` in seconds, fractions allowed, as a Duration that a timer can keep to.
///
/// # Errors
/// Where it isn't a number above zero, for people.
pub fn seconds(matches: &Matches, name: &str, default: Duration) -> Result<Duration, String> {
    let seconds: f64 = number(matches, name, default.as_secs_f64())?;
    // a century, as the clock can't add everything that a Duration can hold
    let fits = (1e-3..=3.2e9).contains(&seconds);
    let wrong = || format!("--{name} takes seconds, from 0.001 up, came {seconds}");
    if fits {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(wrong())
    }
}

/// The value of `--page`, `[ADDR:]PORT`: a port alone is on this machine's own 127.0.0.1.
///
/// # Errors
/// Where it is neither, for people.
pub fn page(matches: &Matches) -> Result<Option<SocketAddr>, String> {
    let Some(text) = matches.opt_str("page") else {
        return Ok(None);
    };
    let port = text.parse().ok();
    let own = port.map(|port: u16| (Ipv4Addr::LOCALHOST, port).into());
    let addr = own.or_else(|| text.parse().ok());
    let wrong = || {
        format!("--page takes a port, or an address and a port such as 0.0.0.0:8080, came {text:?}")
    };
    addr.ok_or_else(wrong).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_above_zero_and_finite() {
        let mut options = getopts::Options::new();
        options.optopt("", "every", "", "S");
        for (text, expected) in [
            ("0.25", Some(Duration::from_millis(250))),
            ("15", Some(Duration::from_secs(15))),
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
                seconds(&matches, "every", Duration::ZERO).ok(),
                expected,
                "{text:?}"
            );
        }
        let none = options.parse([""; 0]).expect("no flag");
        assert_eq!(
            seconds(&none, "every", Duration::from_secs(7)),
            Ok(Duration::from_secs(7))
        );
    }
}
