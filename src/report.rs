//! What people and programs are told: lines with the seconds since the start, and the same events as JSON in a log.
//!
//! Called from every thread, never under the state's lock. One thread of its own writes to standard output, so nobody waits
//! for whoever reads it. Printing never panics: a closed pipe ends the printing, not the program.
//!
//! On a terminal, [`status`] lines stand below the lines that scroll.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::printer::Printer;
pub use self::screen::Terminal;

mod printer;
mod screen;
pub mod status;
mod text;

pub use crate::units::{bytes, duration, plural};

/// What follows an event's first line is indented by the width of the time before it.
const INDENT: usize = 12;

/// Something that happened. `Display` is for people, `Serialize` for programs.
pub trait Reportable: Serialize + Display {
    /// Who wants to know.
    fn weight(&self) -> Weight;

    /// Whether it is good or bad news, for who wants colours.
    fn tone(&self) -> Tone {
        Tone::Neutral
    }
}

/// Whether an event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something is done.
    Good,
    /// Something keeps something from being done.
    Bad,
    /// Neither.
    Neutral,
}

/// Who wants to know of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Everybody: results, and what a person has to do something about. Printed with `--quiet`, too.
    Important,
    /// Who follows what goes on.
    Normal,
    /// Who follows what goes on where no status line shows it.
    Progress,
    /// Who asked why, with `--explain`.
    Detail,
    /// Programs only.
    Logged,
}

/// What is told, and where to.
#[derive(Clone, Debug, Default)]
pub struct ReportConfig {
    /// Leave out all but what is [`Weight::Important`].
    pub quiet: bool,
    /// Print what is [`Weight::Detail`], too.
    pub explain: bool,
}

/// Tells people and programs of events. Cheap to clone.
#[derive(Clone)]
pub struct Report(Arc<ReportState>);

struct ReportState {
    start: Instant,
    config: ReportConfig,
    log: Option<File>,
    terminal: Terminal,
    /// None where nobody is to be told.
    printer: Option<Printer>,
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
    /// Where the log can't be opened, or the system gives no thread.
    pub fn new(config: ReportConfig, log: Option<&Path>) -> io::Result<Self> {
        let log = log
            .map(|path| File::options().append(true).create(true).open(path))
            .transpose()?;
        Ok(Self(Arc::new(ReportState {
            start: Instant::now(),
            config,
            log,
            terminal: Terminal::new(io::stdout().is_terminal(), |name| std::env::var(name).ok()),
            printer: Some(Printer::start()?),
        })))
    }

    /// Tells nobody: for a peer within another program.
    pub fn silent() -> Self {
        Self(Arc::new(ReportState {
            start: Instant::now(),
            config: ReportConfig::default(),
            log: None,
            terminal: Terminal::new(false, |_| None),
            printer: None,
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
        let quiet = self.0.config.quiet;
        self.0.printer.is_some()
            && match weight {
                Weight::Important => true,
                Weight::Normal => !quiet,
                Weight::Progress => !quiet && !self.0.terminal.redraws,
                Weight::Detail => self.0.config.explain && !quiet,
                Weight::Logged => false,
            }
    }

    /// Where status lines are to be shown: a terminal that redraws, and nobody who wants quiet.
    pub fn status_terminal(&self) -> Option<Terminal> {
        let wanted = self.0.printer.is_some() && !self.0.config.quiet;
        Some(self.0.terminal).filter(|terminal| wanted && terminal.redraws)
    }

    /// Has these lines stand below all that is told from now on, in place of those from before.
    pub fn show(&self, lines: Vec<String>) {
        if let Some(printer) = &self.0.printer {
            printer.show(lines);
        }
    }

    /// Takes the status lines away for good, and waits until all that was told is written. For the end of the program.
    pub fn settle(&self) {
        if let Some(printer) = &self.0.printer {
            printer.settle();
        }
    }

    /// Tells of an event. Several lines of text stay together.
    pub fn say(&self, event: &impl Reportable) {
        let t = self.since_start().as_secs_f64();
        if let Some(printer) = self.0.printer.as_ref()
            && self.prints(event.weight())
        {
            printer.print(&legible_event(t, event, self.0.terminal));
        }
        if let Some(mut log) = self.0.log.as_ref() {
            let t = (t * 1e3).round() / 1e3;
            let mut line = serde_json::to_vec(&Line { t, event }).unwrap_or_default();
            line.push(b'\n');
            // one write a line: lines of several threads don't mix, and a full disk must not stop the swarm
            let _ = log.write_all(&line);
        }
    }
}

/// An event as lines for people: the time, and its text. Wrapped on a screen alone, as elsewhere somebody searches them; and
/// not where a line is indented, as that is a command to be copied.
fn legible_event(t: f64, event: &impl Reportable, terminal: Terminal) -> String {
    let text = event.to_string();
    let begin = format!("{t:8.1} s  ");
    let lines = text.split('\n').enumerate();
    let wrapped = lines.flat_map(|(at, line)| {
        let begin = if at == 0 { begin.as_str() } else { "" };
        let full = format!("{begin:INDENT$}{line}");
        match terminal.is_screen && !line.starts_with(' ') {
            true => text::wrap(&full, INDENT, terminal.width),
            false => vec![full],
        }
    });
    let mut lines: Vec<String> = wrapped.collect();
    let colour = match event.tone() {
        Tone::Good => "\x1b[32m",
        Tone::Bad => "\x1b[31m",
        Tone::Neutral => "",
    };
    if terminal.colour && !colour.is_empty() {
        let first = &mut lines[0];
        let at = first.char_indices().nth(INDENT).map_or(0, |(at, _)| at);
        *first = format!("{}{colour}{}\x1b[0m", &first[..at], &first[at..]);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct TestEvent(&'static str);

    impl Display for TestEvent {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{}", self.0)
        }
    }

    impl Reportable for TestEvent {
        fn weight(&self) -> Weight {
            Weight::Important
        }

        fn tone(&self) -> Tone {
            Tone::Good
        }
    }

    #[test]
    fn an_event_is_wrapped_on_a_screen_and_coloured_where_that_is_wanted() {
        let told = TestEvent(
            "complete: a file with a long name\nMD5 0123456789abcdef\n  client 192.168.1.10 29283 shared",
        );
        let pipe = Terminal::new(false, |_| None);
        let screen = Terminal {
            width: 30,
            is_screen: true,
            ..pipe
        };
        let colour = Terminal {
            colour: true,
            ..screen
        };
        for (terminal, expected) in [
            (
                pipe,
                "     1.5 s  complete: a file with a long name\n            MD5 0123456789abcdef\n              client 192.168.1.10 29283 shared\n",
            ),
            (
                screen,
                "     1.5 s  complete: a file\n            with a long name\n            MD5\n            0123456789abcdef\n              client 192.168.1.10 29283 shared\n",
            ),
            (
                colour,
                "     1.5 s  \x1b[32mcomplete: a file\x1b[0m\n            with a long name\n            MD5\n            \
                 0123456789abcdef\n              client 192.168.1.10 29283 shared\n",
            ),
        ] {
            assert_eq!(legible_event(1.5, &told, terminal), expected);
        }
    }
}
