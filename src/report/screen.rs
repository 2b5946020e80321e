//! What is printed to, and the lines that stand below those that scroll. Pure: it returns the bytes to write.
//!
//! It only moves up and clears downwards: the cursor stays visible, at the start of the line below, and there is no
//! alternate screen to come back from. So a program that is ended by Ctrl-C leaves the terminal in order.

use std::fmt::Write;

/// The width if `COLUMNS` isn't set: that of an old terminal, less one.
const USUAL_WIDTH: usize = 79;
/// The widths that are believed. Narrower lines can't be read, and wider ones are a mistake.
const WIDTHS: std::ops::RangeInclusive<usize> = 20..=1000;

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
    /// Whether letters beyond ASCII can be shown.
    pub unicode: bool,
}

impl Terminal {
    /// Reads this from the environment, by way of `var`.
    pub fn new(is_terminal: bool, var: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| var(name).filter(|value| !value.is_empty());
        let redraws = is_terminal && set("TERM").is_some_and(|term| term != "dumb");
        let columns = set("COLUMNS").and_then(|columns| columns.trim().parse().ok());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let locale = locale.unwrap_or_default().to_ascii_uppercase();
        Self {
            width: columns
                .filter(|columns| WIDTHS.contains(columns))
                .unwrap_or(USUAL_WIDTH),
            is_screen: is_terminal,
            redraws,
            colour: redraws && set("NO_COLOR").is_none(),
            unicode: locale.contains("UTF-8") || locale.contains("UTF8"),
        }
    }
}

/// The status lines that stand on a terminal.
#[derive(Default)]
pub(super) struct Screen {
    lines: Vec<String>,
}

impl Screen {
    /// Returns what to write, at once, so that `text`, in whole lines, scrolls, and `lines` stand below it; without new
    /// ones, the previous lines stay.
    pub(super) fn update(&mut self, text: &str, lines: Option<Vec<String>>) -> String {
        if text.is_empty() && lines.as_ref().is_none_or(|lines| *lines == self.lines) {
            return String::new();
        }
        let mut out = String::with_capacity(text.len() + 1024);
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
            Terminal::new(is_terminal, |name| {
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
