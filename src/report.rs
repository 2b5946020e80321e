//! What people and programs are told: lines with the seconds since the start, and the same events as JSON in a log.
//!
//! Called from every thread, never under the state's lock. Printing never panics: a closed pipe ends the printing, not
//! the program.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Something that happened. `Display` is for people, `Serialize` for programs.
pub trait Event: Serialize + Display {
    /// Who wants to know.
    fn weight(&self) -> Weight;
}

/// Who wants to know of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Everybody: results, and what a person has to do something about. Printed with `--quiet`, too.
    Important,
    /// Who follows what goes on.
    Normal,
    /// Who asked why, with `--explain`.
    Detail,
    /// Programs only.
    Logged,
}

/// What is told, and where to.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Leave out all but what is [`Weight::Important`].
    pub quiet: bool,
    /// Print what is [`Weight::Detail`], too.
    pub explain: bool,
}

/// Tells people and programs of events. Cheap to clone.
#[derive(Clone)]
pub struct Report(Arc<Inner>);

struct Inner {
    start: Instant,
    config: Config,
    log: Option<File>,
    closed: AtomicBool,
}

/// An event as it stands in the log.
#[derive(Serialize)]
struct Line<'a, E> {
    /// Seconds since the start.
    t: f64,
    #[serde(flatten)]
    event: &'a E,
}

impl Report {
    /// Starts the clock. `log` is appended to.
    ///
    /// # Errors
    /// Where the log can't be opened.
    pub fn new(config: Config, log: Option<&Path>) -> io::Result<Self> {
        let log = log
            .map(|path| File::options().append(true).create(true).open(path))
            .transpose()?;
        Ok(Self(Arc::new(Inner {
            start: Instant::now(),
            config,
            log,
            closed: AtomicBool::new(false),
        })))
    }

    /// Tells nobody: for a peer within another program.
    pub fn silent() -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            config: Config::default(),
            log: None,
            closed: AtomicBool::new(true),
        }))
    }

    /// The time since the start.
    pub fn since_start(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// Whether events of this weight go anywhere; for those that cost something to put together.
    pub fn wants(&self, weight: Weight) -> bool {
        self.0.log.is_some() || self.prints(weight)
    }

    fn prints(&self, weight: Weight) -> bool {
        match weight {
            Weight::Important => true,
            Weight::Normal => !self.0.config.quiet,
            Weight::Detail => self.0.config.explain && !self.0.config.quiet,
            Weight::Logged => false,
        }
    }

    /// Tells of an event. Several lines of text stay together.
    pub fn say(&self, event: &impl Event) {
        let t = self.since_start().as_secs_f64();
        if self.prints(event.weight()) {
            self.print(&format!(
                "{t:8.1} s  {}\n",
                event.to_string().replace('\n', "\n            ")
            ));
        }
        if let Some(mut log) = self.0.log.as_ref() {
            let t = (t * 1e3).round() / 1e3;
            let mut line = serde_json::to_vec(&Line { t, event }).unwrap_or_default();
            line.push(b'\n');
            // one write a line: lines of several threads don't mix, and a full disk must not stop the swarm
            let _ = log.write_all(&line);
        }
    }

    fn print(&self, text: &str) {
        if !self.0.closed.load(Ordering::Relaxed) {
            let mut out = io::stdout().lock();
            if out
                .write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .is_err()
            {
                self.0.closed.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Bytes as people read them: `1.5 GiB`.
pub fn bytes(n: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1023.95 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    match unit {
        0 if n == 1 => "1 byte".to_owned(),
        0 => format!("{n} bytes"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

/// A number of things: `1 file`, `2 files`.
pub fn plural(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_legible() {
        for (n, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (4 << 30, "4.0 GiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }
}
