//! What a judge says of a row, and what judges have in common.

use crate::record::{Event, Plan, What};

/// What is known of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The program does what the row asks for: what shows it.
    Holds(String),
    /// It doesn't.
    Fails {
        why: String,
        /// What was sent, what was expected and what came, a line each.
        shown: Vec<String>,
    },
    /// The run doesn't tell.
    CantTell(String),
    /// The program doesn't speak the messages that the row is about.
    NotSpoken,
}

pub use Verdict::{CantTell, Holds, NotSpoken};

/// The row isn't fulfilled: in one line, what was expected, and what came.
pub fn fails(why: String, expected: &str, came: Vec<String>) -> Verdict {
    let expected = format!("expected: {expected}");
    let shown = std::iter::once(expected).chain(came).collect();
    Verdict::Fails { why, shown }
}

/// A line with a time.
pub fn line(at: f64, what: impl std::fmt::Display) -> String {
    format!("{at:7.1} s  {what}")
}

/// The record of one run, and the intervals that the program is to keep.
pub struct Run<'a> {
    pub events: &'a [Event],
    pub plan: Plan,
    pub began: f64,
    pub ended: f64,
}

impl<'a> Run<'a> {
    /// Takes a record. Where `check` didn't start the program, it began with its first message.
    pub fn new(events: &'a [Event], plan: Plan, is_first: impl Fn(&What) -> bool) -> Self {
        let started = |event: &&Event| matches!(event.what, What::Started { .. });
        let began = events
            .iter()
            .find(started)
            .or_else(|| events.iter().find(|event| is_first(&event.what)));
        let is_end = |event: &&Event| !matches!(event.what, What::Stalled { .. });
        Self {
            events,
            plan,
            began: began.map_or(0.0, |event| event.at),
            ended: events.iter().rfind(is_end).map_or(0.0, |event| event.at),
        }
    }

    /// What `found` finds, with the times.
    pub fn all<T>(&self, mut found: impl FnMut(&'a What) -> Option<T>) -> Vec<(f64, T)> {
        let found = |event: &'a Event| Some((event.at, found(&event.what)?));
        self.events.iter().filter_map(found).collect()
    }

    /// How long this machine stood still between two times: nothing that is late by no more is the program's fault.
    pub fn stalled(&self, from: f64, to: f64) -> f64 {
        let stalls = self.all(|what| match what {
            What::Stalled { seconds } => Some(*seconds),
            _ => None,
        });
        stalls
            .iter()
            .filter(|(at, seconds)| *at > from && *at - *seconds < to)
            .map(|(_, seconds)| seconds)
            .sum()
    }

    /// How often something comes: the middle one of its intervals, where none is far too long.
    pub fn interval(
        &self,
        what: &str,
        times: &[f64],
        until: f64,
        every: f64,
    ) -> Result<f64, Verdict> {
        let tolerance = Plan::tolerance(every);
        let expected = format!("{what} every {every:.1} s, give or take {tolerance:.1} s");
        let Some(&last) = times.last() else {
            let waited = until - self.began;
            let none = || {
                fails(
                    format!("no {what} came in {waited:.0} s"),
                    &expected,
                    Vec::new(),
                )
            };
            return Err(if waited > 2.0 * every + tolerance {
                none()
            } else {
                CantTell(format!("{waited:.0} s are too short to see {expected}"))
            });
        };
        let ends = times
            .windows(2)
            .map(|pair| (pair[0], pair[1]))
            .chain([(last, until)]);
        let gaps = ends.map(|(from, to)| (to - from - self.stalled(from, to), from));
        let mut gaps: Vec<(f64, f64)> = gaps.collect();
        let shown = || {
            let times: Vec<String> = times.iter().take(12).map(|at| format!("{at:.1}")).collect();
            vec![format!("came: {what} at {} s", times.join(", "))]
        };
        if let Some((gap, from)) = gaps.iter().find(|(gap, _)| *gap > 2.0 * every + tolerance) {
            let why = format!("no {what} for {gap:.1} s, from {from:.1} s on");
            return Err(fails(why, &expected, shown()));
        }
        gaps.pop();
        gaps.sort_by(|one, other| one.0.total_cmp(&other.0));
        let Some((middle, _)) = gaps.get(gaps.len() / 2).filter(|_| gaps.len() >= 3) else {
            return Err(CantTell(format!(
                "{} {what}s are too few to see {expected}",
                times.len()
            )));
        };
        match *middle > every + tolerance {
            true => Err(fails(
                format!("{what} every {middle:.1} s"),
                &expected,
                shown(),
            )),
            false => Ok(*middle),
        }
    }
}

/// Says in a few words that an interval is kept.
pub fn kept(what: &str, middle: f64, every: f64, n: usize) -> String {
    let tolerance = Plan::tolerance(every);
    let more = if middle < every - tolerance {
        "more often than asked for: "
    } else {
        ""
    };
    format!("{more}{n} times {what}, every {middle:.1} s ({every:.1} ± {tolerance:.1} s)")
}
