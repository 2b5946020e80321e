//! The lines that stand below the others on a terminal: one for each file in work. Pure: the time is a parameter.
//!
//! `image.iso  [█████████░░░░░]  65 %  3.0 MiB/s, 7 s left, 2 of 3 peers`

use std::collections::BTreeMap;
use std::time::Instant;

use super::text::{cut, pad, shown, width};
use super::{Terminal, bytes, duration, plural};
use crate::state::AtRest;
use crate::state::overview::{Doing, FileView};
use crate::torrent::legible;

/// The most files that have a line; the others are only counted. More lines would push away what scrolls.
pub const MOST: usize = 5;
/// The most cells of a bar, and the fewest.
const CELLS: (usize, usize) = (20, 5);
/// Columns for the state of a file that moves: its numbers change every second, and the bar beside it must not.
const MOVING: usize = 44;
/// In the end, a look moves the time left by one part in this many of the difference: the speed is already a mean over
/// 20 s.
const LOOKS: u32 = 8;
/// The least time between two looks, seconds.
const LOOK_AFTER: f64 = 0.5;
/// Looks before a time left is shown: the first bytes say little.
const FIRST_LOOKS: u32 = 3;

/// The status lines, kept from one look to the next.
#[derive(Default)]
pub struct Status {
    left: BTreeMap<String, Left>,
}

/// The time left of one file.
struct Left {
    at: Instant,
    seconds: f64,
    looks: u32,
}

impl Status {
    /// Returns the lines for these files; `others` are in work and have none.
    pub fn lines(
        &mut self,
        work: &[FileView],
        others: usize,
        terminal: Terminal,
        now: Instant,
    ) -> Vec<String> {
        self.left
            .retain(|name, _| work.iter().any(|view| view.name == *name));
        let parts: Vec<Parts> = work
            .iter()
            .map(|view| Parts::of(view, self.left(view, now)))
            .collect();
        let columns = Columns::of(&parts, terminal);
        let mut lines: Vec<String> = parts.iter().map(|parts| columns.line(parts)).collect();
        if others > 0 {
            let more = format!("and {}", plural(others, "more file"));
            lines.push(cut(&more, terminal.width, terminal.unicode));
        }
        lines
    }

    /// Returns the time left, which counts down like a clock and follows the speed slowly.
    fn left(&mut self, view: &FileView, now: Instant) -> Option<f64> {
        let Some(raw) = view.left else {
            self.left.remove(&view.name);
            return None;
        };
        let left = self.left.entry(view.name.clone()).or_insert(Left {
            at: now,
            seconds: raw,
            looks: 0,
        });
        let since = now.saturating_duration_since(left.at).as_secs_f64();
        let expected = (left.seconds - since).max(0.0);
        if left.looks == 0 || since >= LOOK_AFTER {
            left.looks = (left.looks + 1).min(FIRST_LOOKS + LOOKS);
            left.at = now;
            let counted = (1 + 2 * left.looks.saturating_sub(FIRST_LOOKS)).min(LOOKS);
            left.seconds = expected + (raw - expected) / f64::from(counted);
        }
        (left.looks >= FIRST_LOOKS).then_some(left.seconds.max(1.0))
    }
}

/// The parts of a line.
struct Parts {
    name: String,
    /// How much is done, and of how much in total.
    done: Option<(u64, u64)>,
    state: String,
    /// Columns that are reserved for the state.
    room: usize,
}

impl Parts {
    fn of(view: &FileView, left: Option<f64>) -> Self {
        let here = view.size.map(|size| (view.verified, size));
        let (done, state) = match &view.doing {
            Doing::Hashing { done, of } => (Some((*done, *of)), "hashing".to_owned()),
            Doing::Checking { done, of } => {
                (Some((*done, *of)), "checking what is here".to_owned())
            }
            Doing::Uploading { done, of } => (Some((*done, *of)), "uploading".to_owned()),
            Doing::Fetching { peers } => (here, fetching(view, *peers, left)),
            Doing::Verified => (None, serving(view)),
            doing @ (Doing::Nowhere { .. }
            | Doing::Unconnected { .. }
            | Doing::FewPeers { .. }
            | Doing::Stuck { .. }) => {
                let peers = match view.holders.0 + view.holders.1 {
                    0 => "no peer has any of it".to_owned(),
                    n => format!("{} with it", plural(n, "peer")),
                };
                (here, format!("{doing}; {peers}"))
            }
            doing @ Doing::Completing => (here, doing.to_string()),
            doing => (None, doing.to_string()),
        };
        let state = legible(&state);
        let moves = matches!(view.doing, Doing::Fetching { .. });
        Self {
            name: view.shown.clone(),
            done,
            room: if moves { MOVING } else { width(&state) },
            state,
        }
    }
}

fn fetching(view: &FileView, peers: usize, left: Option<f64>) -> String {
    let speed = format!("{}/s", bytes(view.down as u64));
    let left = left.map(|left| format!(", {} left", duration(left)));
    let asked = match peers {
        0 => "none".to_owned(),
        n => n.to_string(),
    };
    let holders = plural((view.holders.0 + view.holders.1).max(peers), "peer");
    if peers == 0 && view.down == 0.0 {
        return format!("waiting for its turn; {holders} with it");
    }
    format!("{speed}{}, {asked} of {holders}", left.unwrap_or_default())
}

fn serving(view: &FileView) -> String {
    format!(
        "verified, serving: {}/s, {} so far to {}",
        bytes(view.up as u64),
        bytes(view.gave),
        plural(view.takers, "peer")
    )
}

/// Returns the line that stands there while no file is in work: whoever ends the program then reads what it did.
pub fn line_at_rest(rest: &AtRest, terminal: Terminal) -> String {
    let others = format!("{} here", plural(rest.n_peers, "other peer"));
    let gave = match rest.takers {
        0 => "nothing sent so far".to_owned(),
        n => format!("{} so far to {}", bytes(rest.gave), plural(n, "peer")),
    };
    let serving = match rest.n_served {
        0 => "nothing to fetch and nothing to serve so far".to_owned(),
        n => format!("serving {}, {gave}", plural(n, "file")),
    };
    let line = match (&rest.no_list, rest.has_list) {
        (None, true) => format!("{serving}; {others}"),
        (Some(_), true) => format!("{serving}; no list from the tracker at present"),
        (Some(no_list), false) => format!("waiting: no list from the tracker so far: {no_list}"),
        (None, false) => "waiting for the tracker's first answer".to_owned(),
    };
    cut(&legible(&line), terminal.width, terminal.unicode)
}

/// Where the parts of a line begin, the same for all lines.
struct Columns {
    name: usize,
    cells: usize,
    terminal: Terminal,
}

impl Columns {
    /// Gives a quarter of the width to names; the bar gets what the longest state leaves of the rest.
    fn of(parts: &[Parts], terminal: Terminal) -> Self {
        let longest = |of: fn(&Parts) -> usize| parts.iter().map(of).max().unwrap_or(0);
        let name = longest(|parts| width(&parts.name)).min(terminal.width / 4);
        let beside = name + "  [] 100 %  ".len() + longest(|parts| parts.room);
        let cells = terminal.width.saturating_sub(beside);
        Self {
            name,
            cells: cells.clamp(CELLS.1, CELLS.0),
            terminal,
        }
    }

    fn line(&self, parts: &Parts) -> String {
        let unicode = self.terminal.unicode;
        let name = pad(&cut(&parts.name, self.name, unicode), self.name);
        let done = parts.done.map(|(done, of)| {
            let done = done.min(of);
            let part = |n: u128| (u128::from(done) * n / u128::from(of.max(1))) as usize;
            let (full, empty) = if unicode { ("█", "░") } else { ("#", "-") };
            let cells = part(self.cells as u128);
            let (full, empty) = (full.repeat(cells), empty.repeat(self.cells - cells));
            format!("[{full}{empty}] {:>3} %  ", part(100))
        });
        let state = shown(parts.state.clone(), unicode);
        let line = format!("{name}  {}{state}", done.unwrap_or_default());
        cut(&line, self.terminal.width, unicode)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::causes::{NoList, Waits};

    fn view(name: &str, doing: Doing) -> FileView {
        FileView {
            name: name.to_owned(),
            shown: legible(name),
            size: Some(64 << 20),
            md5: None,
            doing,
            holders: (1, 2),
            verified: 42 << 20,
            down: 3.0 * 1048576.0,
            up: 1048576.0,
            gave: 5 << 20,
            takers: 3,
            left: Some(7.3),
            others: None,
            can_cancel: false,
            conflict: None,
            bars: None,
        }
    }

    fn terminal(width: usize, unicode: bool) -> Terminal {
        let plain = Terminal::new(true, None, |_| None);
        Terminal {
            width,
            unicode,
            ..plain
        }
    }

    #[test]
    fn a_line_says_what_becomes_of_a_file_and_why() {
        let fetching = || Doing::Fetching { peers: 2 };
        let nowhere = || Doing::Nowhere {
            n: 40,
            first: vec![3, 5, 8, 9, 11],
            waits: Waits::Nowhere {
                n: 40,
                first: vec![3, 5, 8, 9, 11],
                of_sample: false,
            },
        };
        let hashing = Doing::Hashing {
            done: 1 << 20,
            of: 4 << 20,
        };
        for (width, unicode, name, doing, expected) in [
            (
                79,
                true,
                "image.iso",
                fetching(),
                "image.iso  [█████████░░░░░]  65 %  3.0 MiB/s, 7 s left, 2 of 3 peers",
            ),
            (
                79,
                false,
                "image.iso",
                fetching(),
                "image.iso  [#########-----]  65 %  3.0 MiB/s, 7 s left, 2 of 3 peers",
            ),
            (
                60,
                false,
                "image.iso",
                fetching(),
                "image.iso  [###--]  65 %  3.0 MiB/s, 7 s left, 2 of 3 peers",
            ),
            (
                79,
                true,
                "image.iso",
                hashing,
                "image.iso  [█████░░░░░░░░░░░░░░░]  25 %  hashing",
            ),
            (
                79,
                false,
                "image.iso",
                nowhere(),
                "image.iso  [###--]  65 %  waiting: nobody has 40 of the missing pieces (3, 5...",
            ),
            (
                120,
                true,
                "image.iso",
                nowhere(),
                "image.iso  [███████████░░░░░░░]  65 %  waiting: nobody has 40 of the missing pieces (3, 5, 8, 9, 11, …); 3 peers with it",
            ),
            (
                79,
                true,
                "image.iso",
                Doing::Unlisted {
                    waits: Waits::NotListed { near: None },
                },
                "image.iso  waiting: nobody lists it",
            ),
            (
                79,
                true,
                "image.iso",
                Doing::Verified,
                "image.iso  verified, serving: 1.0 MiB/s, 5.0 MiB so far to 3 peers",
            ),
            (
                79,
                true,
                "教室の画像ファイルその一.iso",
                fetching(),
                "教室の画像ファイル…  [███░░]  65 %  3.0 MiB/s, 7 s left, 2 of 3 peers",
            ),
            (
                79,
                true,
                "a\x1b[2Jb",
                Doing::Completing,
                r"a\u{1b}[2Jb  [██████░░░░]  65 %  all pieces are here: bringing them to the disk",
            ),
        ] {
            let parts = Parts::of(&view(name, doing), Some(7.3));
            let columns = Columns::of(std::slice::from_ref(&parts), terminal(width, unicode));
            let line = columns.line(&parts);
            assert_eq!(line, expected);
            assert!(super::width(&line) <= width, "{line}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let doings = [
            Doing::Fetching { peers: 12 },
            Doing::Stuck {
                why: Waits::Disk {
                    said: "disk full: 7.2 MiB more are needed in /a/very/long/path/教室".repeat(3),
                },
            },
            Doing::Verified,
            Doing::Beginning,
        ];
        for at in [20, 21, 40, 60, 79, 200] {
            for unicode in [true, false] {
                let views: Vec<FileView> = doings
                    .iter()
                    .map(|doing| view(&"画像é.".repeat(30), doing.clone()))
                    .collect();
                let mut status = Status::default();
                let now = Instant::now();
                for line in status.lines(&views, 1234, terminal(at, unicode), now) {
                    assert!(width(&line) <= at, "{} > {at}: {line}", width(&line));
                }
            }
        }
    }

    #[test]
    fn what_stands_there_at_rest_says_how_things_stand() {
        let rest = AtRest {
            has_list: true,
            no_list: None,
            n_served: 3,
            gave: 5 << 20,
            takers: 2,
            n_peers: 29,
        };
        let unheard = AtRest {
            has_list: false,
            no_list: None,
            n_served: 1,
            gave: 0,
            takers: 0,
            n_peers: 0,
        };
        let fails = || Some(NoList::NobodyListens);
        for (rest, expected) in [
            (
                rest.clone(),
                "serving 3 files, 5.0 MiB so far to 2 peers; 29 other peers here",
            ),
            (
                AtRest {
                    takers: 0,
                    n_served: 1,
                    no_list: fails(),
                    ..rest.clone()
                },
                "serving 1 file, nothing sent so far; no list from the tracker at present",
            ),
            (
                AtRest {
                    n_served: 0,
                    n_peers: 1,
                    ..rest
                },
                "nothing to fetch and nothing to serve so far; 1 other peer here",
            ),
            (unheard.clone(), "waiting for the tracker's first answer"),
            (
                AtRest {
                    no_list: fails(),
                    ..unheard
                },
                "waiting: no list from the tracker so far: nothing listens at that port: star...",
            ),
        ] {
            assert_eq!(line_at_rest(&rest, terminal(79, false)), expected);
        }
    }

    #[test]
    fn the_time_left_does_not_jump() {
        let (mut status, start) = (Status::default(), Instant::now());
        let mut told = Vec::new();
        for look in 0..30_u64 {
            let mut view = view("image.iso", Doing::Fetching { peers: 1 });
            // pieces of 16 MiB: the speed falls between two of them, and jumps with each
            let wave = if look % 5 == 0 { 20.0 } else { 0.0 };
            // the very first one says almost nothing
            let wave = if look == 0 { 900.0 } else { wave };
            view.left = Some(100.0 - look as f64 + wave);
            told.push(status.left(&view, start + Duration::from_secs(look)));
        }
        assert_eq!(told[..3], [None, None, Some(98.0)]);
        let told: Vec<f64> = told.into_iter().flatten().collect();
        for pair in told.windows(2) {
            let change = pair[1] - pair[0];
            assert!((-6.0..=3.0).contains(&change), "{told:?}");
        }
        let mut nothing = view("image.iso", Doing::Fetching { peers: 0 });
        nothing.left = None;
        assert_eq!(status.left(&nothing, start), None);
    }

    #[test]
    fn others_are_counted_and_names_end_at_the_same_column() {
        let views = [
            view("a", Doing::Beginning),
            view("image.iso", Doing::Fetching { peers: 2 }),
        ];
        let mut status = Status::default();
        let lines = status.lines(&views, 12, terminal(79, false), Instant::now());
        assert_eq!(
            lines,
            [
                "a          beginning",
                "image.iso  [#########-----]  65 %  3.0 MiB/s, 2 of 3 peers",
                "and 12 more files"
            ]
        );
    }
}
