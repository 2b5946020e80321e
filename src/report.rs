//! What people and programs are told: lines with the seconds since the start, and the same events as JSON in a log.
//!
//! Any thread may call it, but never under the state's lock. Threads of their own write to standard output and to the log, so
//! nobody waits for a slow reader. Printing never panics: a closed pipe ends the printing, not the program.
//!
//! On a terminal, [`status`] lines stand below the lines that scroll.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use self::printer::{Log, Output, Printer};
use self::screen::Screen;
pub use self::screen::Terminal;

mod printer;
mod screen;
pub mod status;
mod text;

pub use crate::units::{bytes, duration, plural};

/// The lines after an event's first one are indented by the width of its time.
const INDENT: usize = 12;

/// Something that happened. `Display` is for people, `Serialize` for programs.
pub trait Reportable: Serialize + Display {
    /// Returns who the event is for.
    fn weight(&self) -> Weight;

    /// Returns true if it is good or bad news, which is shown as a colour.
    fn tone(&self) -> Tone {
        Tone::Neutral
    }
}

/// Whether an event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something succeeded.
    Good,
    /// Something is in the way.
    Bad,
    /// Neither.
    Neutral,
}

/// Who an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Everybody: results, and trouble that a person has to act on. Printed even with `--quiet`.
    Important,
    /// People who follow what goes on.
    Normal,
    /// People who follow what goes on without a status line.
    Progress,
    /// People who watch the protocol, with `--verbose`: what happens again and again, all day.
    Routine,
    /// People who ask for reasons, with `--explain`.
    Detail,
    /// Programs only.
    Logged,
}

/// What is reported, and where it goes.
#[derive(Clone, Debug, Default)]
pub struct ReportConfig {
    /// Leave out everything but [`Weight::Important`] events.
    pub quiet: bool,
    /// Print [`Weight::Routine`] events as well.
    pub verbose: bool,
    /// Print [`Weight::Detail`] events as well.
    pub explain: bool,
}

/// Reports events to people and programs. It is cheap to clone.
#[derive(Clone)]
pub struct Report(Arc<ReportState>);

struct ReportState {
    start: Instant,
    config: ReportConfig,
    /// As it was at the start.
    terminal: Terminal,
    /// Its width now.
    width: AtomicUsize,
    log: Option<Printer>,
    /// `None` if nothing is reported.
    printer: Option<Printer>,
}

/// An event as written to the log.
#[derive(Serialize)]
struct Line<'a, E> {
    /// Seconds since the start.
    t: f64,
    #[serde(flatten)]
    event: &'a E,
}

impl Report {
    /// Starts the clock. New events are appended to `log`.
    ///
    /// # Errors
    /// Returns an error if the log can't be opened, or the system gives no thread.
    pub fn new(config: ReportConfig, log: Option<&Path>) -> io::Result<Self> {
        let start = Instant::now();
        let log = log.map(|path| Printer::start("log", Output::Log(Log::open(path, start)?)));
        let terminal = terminal(screen::columns());
        Ok(Self(Arc::new(ReportState {
            start,
            config,
            log: log.transpose()?,
            terminal,
            width: terminal.width.into(),
            printer: Some(Printer::start("print", Output::Screen(Screen::default()))?),
        })))
    }

    /// Reports to nobody: for a peer within another program.
    pub fn silent() -> Self {
        let terminal = Terminal::new(false, None, |_| None);
        Self(Arc::new(ReportState {
            start: Instant::now(),
            config: ReportConfig::default(),
            log: None,
            terminal,
            width: terminal.width.into(),
            printer: None,
        }))
    }

    /// Returns the time since the start.
    pub fn since_start(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// Returns true if events of this weight go anywhere; for those that cost something to put together.
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
                Weight::Routine => self.0.config.verbose && !quiet,
                Weight::Detail => self.0.config.explain && !quiet,
                Weight::Logged => false,
            }
    }

    /// Returns how status lines are shown: on a terminal that redraws, and not with `--quiet`.
    pub fn status_terminal(&self) -> Option<Terminal> {
        let wanted = self.0.printer.is_some() && !self.0.config.quiet;
        Some(self.terminal()).filter(|terminal| wanted && terminal.redraws)
    }

    fn terminal(&self) -> Terminal {
        Terminal {
            width: self.0.width.load(Ordering::Relaxed),
            ..self.0.terminal
        }
    }

    /// Asks the terminal for its width again: somebody may have resized the window, or its letters. It costs a process.
    pub fn measure(&self) {
        if let Some(columns) = screen::columns() {
            let width = terminal(Some(columns)).width;
            self.0.width.store(width, Ordering::Relaxed);
        }
    }

    /// Shows these status lines below everything that is printed from now on, in place of the previous ones.
    pub fn show(&self, lines: Vec<String>) {
        if let Some(printer) = &self.0.printer {
            let Terminal { width, unicode, .. } = self.terminal();
            let cut = |line: String| text::cut(&line, width, unicode);
            printer.show(lines.into_iter().map(cut).collect());
        }
    }

    /// Removes the status lines for good, and waits until everything is written. For the end of the program.
    pub fn settle(&self) {
        for printer in [&self.0.log, &self.0.printer].into_iter().flatten() {
            printer.settle();
        }
    }

    /// Reports an event. Its lines of text stay together.
    pub fn say(&self, event: &impl Reportable) {
        let t = self.since_start().as_secs_f64();
        if let Some(printer) = self.0.printer.as_ref()
            && self.prints(event.weight())
        {
            printer.print(&legible_event(t, event, self.terminal()));
        }
        if let Some(log) = &self.0.log {
            let t = (t * 1e3).round() / 1e3;
            let line = serde_json::to_string(&Line { t, event }).unwrap_or_default();
            log.print(&(text::escaped(&line) + "\n"));
        }
    }
}

/// Returns what standard output is, and can do; `columns` is what it said itself.
fn terminal(columns: Option<usize>) -> Terminal {
    let is_terminal = io::stdout().is_terminal();
    Terminal::new(is_terminal, columns, |name| std::env::var(name).ok())
}

/// Formats an event as lines for people: the time and its text. Lines are wrapped only on a screen, as people search them
/// elsewhere; indented lines aren't wrapped, as they are commands to be copied.
fn legible_event(t: f64, event: &impl Reportable, terminal: Terminal) -> String {
    let text = text::shown(event.to_string(), terminal.unicode);
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
    fn an_event_is_wrapped_and_coloured_on_a_screen() {
        let told = TestEvent(
            "complete: a file with a long name\nMD5 0123456789abcdef\n  client 192.168.1.10 29283 shared",
        );
        let pipe = Terminal::new(false, None, |_| None);
        let screen = Terminal {
            width: 30,
            is_screen: true,
            ..pipe
        };
        let colour = Terminal {
            colour: true,
            ..screen
        };
        let arrow = TestEvent("ping → 1");
        let unicode = Terminal {
            unicode: true,
            ..screen
        };
        for (terminal, sign) in [(pipe, "->"), (screen, "->"), (unicode, "→")] {
            assert!(legible_event(1.5, &arrow, terminal).contains(sign));
        }
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
