//! What is printed to, and the lines that stand below those that scroll. Pure: it returns the bytes to write.
//!
//! It only moves up and clears downwards: the cursor stays visible, at the start of the line below, and there is no
//! alternate screen to come back from. So a program that is ended by Ctrl-C leaves the terminal in order.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

/// The width if `COLUMNS` isn't set: that of an old terminal, less one.
const USUAL_WIDTH: usize = 79;
/// The widths that are believed. Narrower lines can't be read, and wider ones are a mistake.
const WIDTHS: std::ops::RangeInclusive<usize> = 20..=1000;

/// Terminals whose usual fonts lack the blocks of bars, and some the arrows, whatever the locale: the Linux console, and what
/// calls itself a plain xterm.
const SPARSE: [&str; 4] = ["linux", "xterm", "vt100", "vt220"];

/// Asks the terminal that standard output is for its columns, by way of `stty`, which every Unix has.
pub(super) fn columns() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let terminal = io::stdout().as_fd().try_clone_to_owned().ok()?;
    let mut stty = Command::new("stty");
    let asked = stty.arg("size").stdin(terminal).stderr(Stdio::null());
    let size = String::from_utf8(asked.output().ok()?.stdout).ok()?;
    let columns = size.split_whitespace().nth(1)?.parse().ok();
    columns.filter(|columns| *columns > 0)
}

/// What standard output can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// The most columns of a line on a terminal.
    pub width: usize,
    /// Whether a person reads it on a screen: long lines are wrapped.
    pub is_screen: bool,
    /// Whether lines can be redrawn.
    pub redraws: bool,
    /// Whether colours are wanted.
    pub colour: bool,
    /// Whether our signs beyond ASCII can be shown: bars, arrows, dots.
    pub unicode: bool,
}

impl Terminal {
    /// Reads this from the environment, by way of `var`, and the width from the terminal itself if it has told it.
    pub fn new(
        is_terminal: bool,
        columns: Option<usize>,
        var: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let set = |name| var(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let redraws = is_terminal && !["", "dumb"].contains(&term.as_str());
        let set_columns = set("COLUMNS").and_then(|columns| columns.trim().parse().ok());
        // one less: some terminals wrap a line that fills them
        let columns = set_columns.or(columns.map(|columns| columns.saturating_sub(1)));
        let has_signs = !(is_terminal && SPARSE.contains(&term.as_str()));
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let locale = locale.unwrap_or_default().to_ascii_uppercase();
        Self {
            width: columns
                .filter(|columns| WIDTHS.contains(columns))
                .unwrap_or(USUAL_WIDTH),
            is_screen: is_terminal,
            redraws,
            colour: redraws && set("NO_COLOR").is_none(),
            unicode: has_signs && (locale.contains("UTF-8") || locale.contains("UTF8")),
        }
    }
}

/// The status lines that stand on a terminal.
#[derive(Default)]
pub(super) struct Screen {
    lines: Vec<String>,
    /// Whether the last line lacks its end, so that the next one must not stand behind it.
    pub(super) is_torn: bool,
}

impl Screen {
    /// Returns what to write, at once, so that `text`, in whole lines, scrolls, and `lines` stand below it; without new
    /// ones, the previous lines stay.
    pub(super) fn update(&mut self, text: &str, lines: Option<Vec<String>>) -> String {
        if text.is_empty() && lines.as_ref().is_none_or(|lines| *lines == self.lines) {
            return String::new();
        }
        let mut out = String::with_capacity(text.len() + 1024);
        if std::mem::take(&mut self.is_torn) {
            out.push('\n');
        }
        if !self.lines.is_empty() {
            let _ = write!(out, "\r\x1b[{}A\x1b[J", self.lines.len());
        }
        out.push_str(text);
        self.lines = lines.unwrap_or(std::mem::take(&mut self.lines));
        for line in &self.lines {
            // if the window is narrower than we know, a wrapped line would be more lines than we count
            let _ = writeln!(out, "\x1b[?7l{line}\x1b[?7h");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_what_its_environment_says() {
        let of = |is_terminal, vars: &[(&str, &str)]| {
            let var = |name: &str| vars.iter().find(|(var, _)| *var == name);
            Terminal::new(is_terminal, None, |name| {
                var(name).map(|(_, value)| (*value).to_owned())
            })
        };
        let xterm = ("TERM", "xterm-256color");
        let plain = Terminal {
            width: 79,
            is_screen: false,
            redraws: false,
            colour: false,
            unicode: false,
        };
        let screen = Terminal {
            is_screen: true,
            ..plain
        };
        let colour = Terminal {
            redraws: true,
            colour: true,
            ..screen
        };
        for (is_terminal, vars, expected) in [
            (false, &[xterm][..], plain),
            (true, &[], screen),
            (true, &[("TERM", "")], screen),
            (true, &[("TERM", "dumb")], screen),
            (true, &[xterm], colour),
            (true, &[xterm, ("NO_COLOR", "")], colour),
            (
                true,
                &[xterm, ("NO_COLOR", "1")],
                Terminal {
                    colour: false,
                    ..colour
                },
            ),
            (
                true,
                &[xterm, ("COLUMNS", "60"), ("LANG", "en_US.UTF-8")],
                Terminal {
                    width: 60,
                    unicode: true,
                    ..colour
                },
            ),
            (
                true,
                &[xterm, ("COLUMNS", "0"), ("LC_ALL", "C"), ("LANG", "C.utf8")],
                colour,
            ),
            (
                true,
                &[xterm, ("COLUMNS", "wide"), ("LC_CTYPE", "C.utf8")],
                Terminal {
                    unicode: true,
                    ..colour
                },
            ),
        ] {
            assert_eq!(of(is_terminal, vars), expected, "{vars:?}");
        }
    }

    #[test]
    fn a_terminals_own_width_and_font_count() {
        let of = |columns, term: &'static str, set: Option<&'static str>| {
            Terminal::new(true, columns, |name| match name {
                "TERM" => Some(term.to_owned()),
                "LANG" => Some("C.UTF-8".to_owned()),
                "COLUMNS" => set.map(str::to_owned),
                _ => None,
            })
        };
        for (columns, set, expected) in [
            (None, None, 79),
            (Some(40), None, 39),
            (Some(0), None, 79),
            (Some(200), Some("60"), 60),
        ] {
            assert_eq!(of(columns, "tmux", set).width, expected, "{columns:?}");
        }
        for (term, unicode) in [
            ("xterm-256color", true),
            ("tmux", true),
            ("xterm", false),
            ("linux", false),
        ] {
            assert_eq!(of(None, term, None).unicode, unicode, "{term}");
        }
    }

    #[test]
    fn lines_are_erased_before_what_scrolls_and_stand_again_below_it() {
        let mut screen = Screen::default();
        let lines = |lines: &[&str]| Some(lines.iter().map(|line| (*line).to_owned()).collect());
        for (text, status, expected) in [
            ("first\n", None, "first\n"),
            ("", lines(&[]), ""),
            ("", lines(&["a 1 %"]), "\x1b[?7la 1 %\x1b[?7h\n"),
            ("", lines(&["a 1 %"]), ""),
            (
                "second\n",
                None,
                "\r\x1b[1A\x1b[Jsecond\n\x1b[?7la 1 %\x1b[?7h\n",
            ),
            (
                "",
                lines(&["a 2 %", "b"]),
                "\r\x1b[1A\x1b[J\x1b[?7la 2 %\x1b[?7h\n\x1b[?7lb\x1b[?7h\n",
            ),
            ("third\n", lines(&[]), "\r\x1b[2A\x1b[Jthird\n"),
            ("fourth\n", None, "fourth\n"),
        ] {
            assert_eq!(screen.update(text, status), expected, "{text:?}");
        }
    }
}
