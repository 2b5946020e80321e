//! What a judge says of a row, and what the judges have in common.

use std::collections::BTreeMap;

use bittorrentish::units::plural;

use crate::record::RecordedEvent;

/// What shows that a program does what a row asks for, or why that can't be said.
pub type Verdict = Result<String, No>;

/// Why a row isn't said to hold.
#[derive(Clone, Debug, PartialEq)]
pub enum No {
    /// The program does something else: what, and the events that show it.
    Fails(String, Vec<RecordedEvent>),
    /// The run doesn't tell.
    CantTell(String),
    /// The program doesn't speak the messages that the row is about.
    NotSpoken,
}

/// A row's judge, and the rows whose failing explains that it fails.
pub type RowJudge = (&'static str, fn(&Run) -> Verdict);
pub type RowCauses = (&'static str, &'static [&'static str]);

pub fn cant<T>(why: impl Into<String>) -> Result<T, No> {
    Err(No::CantTell(why.into()))
}

pub fn fails<T>(why: impl Into<String>, shown: &[&RecordedEvent]) -> Result<T, No> {
    let mut shown: Vec<RecordedEvent> = shown.iter().copied().cloned().collect();
    shown.sort_by(|one, other| one.at.total_cmp(&other.at));
    Err(No::Fails(why.into(), shown))
}

/// The record of one run, in seconds of the course text.
pub struct Run<'a> {
    pub events: &'a [RecordedEvent],
    pub began: f64,
    pub ended: f64,
    /// How late this machine mostly was, and at the most.
    usually_late: f64,
    late: f64,
    scale: f64,
}

impl<'a> Run<'a> {
    /// Takes a record, and how late this machine was again and again. A run begins with its first event.
    pub fn new(events: &'a [RecordedEvent], mut late: Vec<f64>, scale: f64) -> Self {
        late.sort_by(f64::total_cmp);
        Self {
            events,
            began: events.first().map_or(0.0, |event| event.at),
            ended: events.last().map_or(0.0, |event| event.at),
            usually_late: late.get(late.len() / 2).copied().unwrap_or(0.0),
            late: late.last().copied().unwrap_or(0.0),
            scale,
        }
    }

    /// The run as far as a time.
    pub fn until(&self, ended: f64) -> Self {
        Self { ended, ..*self }
    }

    /// All events of a kind.
    pub fn of(&self, what: &'a str) -> impl DoubleEndedIterator<Item = &'a RecordedEvent> + Clone {
        self.events.iter().filter(move |event| event.what == what)
    }

    /// The events of a kind about a file, its pieces, or a played part.
    pub fn about(&self, what: &'a str, name: &str) -> Vec<&'a RecordedEvent> {
        let about = self.of(what).filter(|event| event.name.starts_with(name));
        about.collect()
    }

    pub fn first(&self, what: &'a str) -> Option<&'a RecordedEvent> {
        self.of(what).next()
    }

    /// Whether this machine was ever so late, in real seconds.
    pub fn is_late(&self, seconds: f64) -> bool {
        self.late * self.scale > seconds
    }

    /// A time in seconds of the course text.
    pub fn real(&self, seconds: f64) -> f64 {
        seconds / self.scale
    }

    /// How far the middle one of several intervals may be from what it is to be: a fifth, what programs need to do
    /// anything, and what this machine was late.
    fn tolerance(&self, every: f64) -> f64 {
        0.2 * every + 0.3 / self.scale + 4.0 * self.usually_late
    }

    /// How much later than at `every` something may happen once: this machine may have been late just then.
    pub fn grace(&self, every: f64) -> Result<f64, No> {
        match 4.0 * self.late > every / 2.0 {
            true => cant(format!("this machine was up to {:.1} s late", self.late)),
            false => Ok(0.2 * every + 0.3 / self.scale + 4.0 * self.late),
        }
    }

    /// How often something came, and whether that is too often: the middle one of its intervals, if none is far too
    /// long. `odd` isn't understood, and may have been meant so.
    pub fn interval(
        &self,
        what: &str,
        came: &[&'a RecordedEvent],
        every: f64,
        odd: &[&'a RecordedEvent],
    ) -> Result<(String, bool), No> {
        let shown = [odd, came].concat();
        let odd = odd.first().and_then(|odd| odd.fault.as_deref());
        let fails = |told: String| match odd {
            Some(fault) => fails(format!("{told}; {fault}"), &shown),
            None => fails(told, &shown),
        };
        if came.is_empty() && odd.is_some() {
            return fails(format!("no {what} is understood"));
        }
        let mut from = came.first().map_or(self.began, |first| first.at);
        let (tolerance, mut gaps) = (self.tolerance(every), Vec::new());
        for at in came.iter().map(|event| event.at).chain([self.ended]) {
            if at - from > 2.0 * every + tolerance + 4.0 * self.late {
                let gap = at - from;
                return fails(format!("no {what} for {gap:.1} s, from {from:.1} s on"));
            }
            gaps.push(at - from);
            from = at;
        }
        // before the first one there is none, and the last one was cut short
        let gaps = &mut gaps[1..];
        let Some((_, gaps @ [_, _, _, ..])) = gaps.split_last_mut() else {
            return cant(format!("{} in the time: too few", plural(came.len(), what)));
        };
        gaps.sort_by(f64::total_cmp);
        let middle = gaps[gaps.len() / 2];
        let told = format!("a {what} every {middle:.1} s ({every:.1} ± {tolerance:.1} s)");
        match middle {
            _ if middle > every + tolerance => fails(told),
            _ if middle < every - tolerance => Ok((told + ", more often than asked for", true)),
            _ => Ok((told, false)),
        }
    }
}

/// Judges all rows. In the order of `because`: where a row fails and one fails that explains it, it can't be told.
pub fn of_rows(
    run: &Run,
    judges: &[RowJudge],
    because: &[RowCauses],
) -> BTreeMap<&'static str, Verdict> {
    let mut verdicts: BTreeMap<_, _> = judges.iter().map(|(id, judge)| (*id, judge(run))).collect();
    for (id, causes) in because {
        let failed = |id: &&&str| matches!(verdicts[**id], Err(No::Fails(..)));
        let cause = causes.iter().find(failed);
        if let (Err(No::Fails(why, _)), Some(cause)) = (&verdicts[id], cause) {
            let untold = cant(format!("{why}; see {cause}"));
            verdicts.insert(id, untold);
        }
    }
    verdicts
}

pub fn holds(why: impl Into<String>) -> Verdict {
    Ok(why.into())
}

/// Can't tell, unless something is so.
pub fn needs(is_so: bool, unless: impl Into<String>) -> Result<(), No> {
    match is_so {
        true => Ok(()),
        false => cant(unless),
    }
}

/// Fails if there is such an event, for what it tells.
pub fn never<'a>(events: impl Iterator<Item = &'a RecordedEvent>) -> Result<(), No> {
    never_so(events, None, "")
}

/// Fails if there is such an event, for this reason. In it, `{who}` and `{name}` stand for the event's fields, and `{after}`
/// for the time since `from`, which is shown, too.
pub fn never_so<'a>(
    mut events: impl Iterator<Item = &'a RecordedEvent>,
    from: Option<&RecordedEvent>,
    why: &str,
) -> Result<(), No> {
    let Some(event) = events.next() else {
        return Ok(());
    };
    let after = event.at - from.map_or(0.0, |from| from.at);
    let told = why.replace("{after}", &format!("{after:.1} s"));
    let told = told.replace("{who}", &event.who.to_string());
    let told = told.replace("{name}", &event.name);
    let told = if why.is_empty() { event.told() } else { told };
    fails(told, &Vec::from_iter(from.into_iter().chain([event])))
}

/// Whether something went wrong with it.
pub fn is_bad(event: &&RecordedEvent) -> bool {
    event.fault.is_some()
}
