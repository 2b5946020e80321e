//! What a judge says of a row, and what the judges have in common.

use crate::record::{Plan, RecordedEvent, tolerance};

/// On a machine that stands still for this share of the time, no row fails for what came too late or never.
const BUSY: f64 = 0.1;
/// The rows that fail for something that came.
const TIMELESS: [&str; 7] = ["C3", "C4", "F6", "F9", "P2", "P4", "P6"];

/// What shows that a program does what a row asks for, or why that can't be said.
pub type Verdict = Result<String, No>;

/// Why a row isn't said to hold.
#[derive(Clone, Debug, PartialEq)]
pub enum No {
    /// The program does something else.
    Fails {
        why: String,
        expected: String,
        shown: Vec<RecordedEvent>,
    },
    /// The run doesn't tell.
    CantTell(String),
    /// The program doesn't speak the messages that the row is about.
    NotSpoken,
}

pub fn cant<T>(why: impl Into<String>) -> Result<T, No> {
    Err(No::CantTell(why.into()))
}

pub fn fails<T>(why: String, expected: &str, shown: &[&RecordedEvent]) -> Result<T, No> {
    Err(No::Fails {
        why,
        expected: expected.to_owned(),
        shown: shown.iter().copied().cloned().collect(),
    })
}

/// The record of one run, and the intervals that the program is to keep.
pub struct Run<'a> {
    pub events: &'a [RecordedEvent],
    pub plan: Plan,
    pub began: f64,
    pub ended: f64,
}

impl<'a> Run<'a> {
    /// Takes a record. Where `check` didn't start the program, the run began with its first message.
    pub fn new(events: &'a [RecordedEvent], plan: Plan) -> Self {
        let is_first = |event: &&RecordedEvent| event.what != "stood still";
        let (began, ended) = (events.iter().find(is_first), events.iter().rfind(is_first));
        Self {
            events,
            plan,
            began: began.map_or(0.0, |event| event.at),
            ended: ended.map_or(0.0, |event| event.at),
        }
    }

    pub fn of(&self, what: &'a str) -> impl Iterator<Item = &'a RecordedEvent> {
        self.events.iter().filter(move |event| event.what == what)
    }

    pub fn first(&self, what: &'a str) -> Option<&'a RecordedEvent> {
        self.of(what).next()
    }

    /// The time between two moments, without that in which this machine stood still: it isn't the program's fault.
    pub fn lasted(&self, from: f64, to: f64) -> f64 {
        let mut lasted = to - from;
        for event in self.of("stood still") {
            let late: f64 = event.name.parse().unwrap_or_default();
            if event.at > from && event.at - late < to {
                lasted -= late;
            }
        }
        lasted
    }

    /// Takes back that a row fails, if that may be so because this machine had no time for the program.
    pub fn doubted(&self, row: &str, verdict: Verdict) -> Verdict {
        let stalls = self
            .of("stood still")
            .filter_map(|stall| stall.name.parse().ok());
        let (mut all, mut longest): (f64, f64) = (0.0, 0.0);
        for late in stalls {
            all += late;
            longest = longest.max(late);
        }
        let busy = all > BUSY * (self.ended - self.began);
        let stalled = busy || longest > tolerance(self.plan.ping) / 2.0;
        match verdict {
            Err(No::Fails { why, .. }) if stalled && !TIMELESS.contains(&row) => cant(format!(
                "{why}; but this machine stood still for {all:.1} s"
            )),
            verdict => verdict,
        }
    }

    /// How often something came: the middle one of its intervals, if none is far too long.
    pub fn interval(
        &self,
        what: &str,
        came: &[&'a RecordedEvent],
        until: f64,
        every: f64,
    ) -> Result<f64, No> {
        let most = every + tolerance(every);
        let expected = format!("a {what} every {every:.1} ± {:.1} s", tolerance(every));
        let mut from = came.first().map_or(self.began, |first| first.at);
        let mut gaps = Vec::new();
        for at in came.iter().skip(1).map(|event| event.at).chain([until]) {
            let gap = self.lasted(from, at);
            if gap > most + every {
                let why = format!("no {what} for {gap:.1} s, from {from:.1} s on");
                return fails(why, &expected, came);
            }
            gaps.push(gap);
            from = at;
        }
        // the last one was cut short
        gaps.pop();
        gaps.sort_by(f64::total_cmp);
        match gaps.get(gaps.len() / 2) {
            Some(middle) if gaps.len() < 3 => cant(format!(
                "{} {what}s ({middle:.1} s) are too few",
                came.len()
            )),
            Some(middle) if *middle > most => {
                fails(format!("a {what} every {middle:.1} s"), &expected, came)
            }
            Some(middle) => Ok(*middle),
            None => cant(format!("no second {what} came in the time")),
        }
    }
}

/// Says in a few words that an interval is kept.
pub fn kept(what: &str, middle: f64, every: f64) -> String {
    let tolerance = tolerance(every);
    let more = match middle < every - tolerance {
        true => ", more often than asked for",
        false => "",
    };
    format!("a {what} every {middle:.1} s ({every:.1} ± {tolerance:.1} s){more}")
}
