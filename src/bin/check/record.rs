//! The record of the one run that a process makes: the time, how late this machine is, all that was sent, came and was
//! printed, and what it shows of each row. Seconds are the course text's: with `--scale 0.1`, ten in a real one.
//!
//! Whoever plays takes down each event in a line that begins with what it is: how often something came, and when, is asked of
//! these lines. A fault that is a time counts only at the end, when it is known how late this machine was itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bittorrentish::md5::digest;
use serde_json::json;

use crate::rows::{CANT_TELL, CourseRow, FAILS, HOLDS, NOT_SPOKEN};

/// How often it is measured how late this machine is; this many measures in a row count as one, the largest.
const TICK: Duration = Duration::from_millis(20);
const TICKS: usize = 25;
/// What is hashed in one of them, bytes: whoever only sleeps is woken in time even where there is none for work.
const WORK: usize = 1 << 20;
/// How many lines about something are shown, the first and the last ones; how many characters of each, and of its
/// beginning.
const SHOWN: [usize; 2] = [3, 5];
const WIDTH: usize = 160;
const BEGIN: usize = 50;
/// The least number of intervals to judge by. Only of these rows, more often than asked for is wrong, too.
const INTERVALS: usize = 3;
const EXACT: [&str; 2] = ["F1", "F3"];
/// What is good of a program that speaks our messages: the rows of the second text are about them.
pub const OURS: &str = "ours";
/// How a line of the program's output begins.
pub const PRINTED: &str = "it printed";

static BOOK: LazyLock<Mutex<Book>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Book {
    began: Option<Instant>,
    scale: f64,
    lines: Vec<(f64, String)>,
    findings: BTreeMap<&'static str, Findings>,
    /// How late this machine was at each tick, seconds.
    late: Vec<f64>,
    log: Option<File>,
}

/// What the run shows of a row.
#[derive(Clone, Default)]
struct Findings {
    /// How often the program did what it asks for; and what is said at the end, where counting isn't enough.
    n_good: usize,
    told: Option<(&'static str, String)>,
    /// When it failed, by `over` seconds more than something that takes `every` is to take; why; and what the
    /// lines have in them that show it.
    at: f64,
    over: f64,
    every: f64,
    why: String,
    about: String,
}

fn book() -> MutexGuard<'static, Book> {
    BOOK.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn begin(scale: f64, log: Option<File>) {
    let mut book = book();
    *book = Book::default();
    (book.began, book.scale, book.log) = (Some(Instant::now()), scale, log);
}

/// How long something takes, in seconds of the course text.
pub fn course_time(time: Duration) -> f64 {
    time.as_secs_f64() / book().scale
}

/// The time since the start.
pub fn now() -> f64 {
    let began = book().began;
    began.map_or(0.0, |began| course_time(began.elapsed()))
}

/// Takes down what happens now, and returns the time.
pub fn note(text: impl Into<String>) -> f64 {
    note_at(now(), text.into())
}

pub fn note_at(at: f64, text: String) -> f64 {
    let mut book = book();
    book.log(at, "event", &text);
    book.lines.push((at, text));
    at
}

/// When something happened: the lines begin so.
pub fn times(what: &str) -> Vec<f64> {
    let book = book();
    let lines = book.lines.iter().filter(|(_, text)| text.starts_with(what));
    lines.map(|(at, _)| *at).collect()
}

/// When anything happened first: the program was started, or came.
pub fn first_time() -> f64 {
    times("").first().copied().unwrap_or_default()
}

/// The program did what a row asks for.
pub fn good(row: &'static str) {
    book().findings.entry(row).or_default().n_good += 1;
}

/// What is said of a row that doesn't fail, where counting isn't enough.
pub fn tell(row: &'static str, word: &'static str, why: String) {
    book().findings.entry(row).or_default().told = Some((word, why));
}

/// The program does something else, which the lines with `about` in them show. The first one counts.
pub fn fails(row: &'static str, why: impl Into<String>, about: &str) {
    late(row, f64::INFINITY, f64::MAX, why, about);
}

/// Something came `over` seconds later than it should, with an interval of `every`. The worst one counts.
pub fn late(row: &'static str, over: f64, every: f64, why: impl Into<String>, about: &str) {
    let (at, mut book) = (now(), book());
    let least = book.tolerance(every, 0.0);
    let found = book.findings.entry(row).or_default();
    if over > found.over.max(least) {
        (found.at, found.over, found.every) = (at, over, every);
        (found.why, found.about) = (why.into(), about.to_owned());
        let why = found.why.clone();
        book.log(at, "fault", &format!("{row}: {why}"));
    }
}

/// Judges whether something that comes again and again ever took longer than `most`, until a time.
pub fn judge_gaps(row: &'static str, what: &str, most: f64, ended: f64) {
    let times = times(what);
    let mut from = times.first().copied().unwrap_or(first_time());
    for at in times.into_iter().chain([ended]) {
        let gap = at - from;
        let why = format!("no {what} for {gap:.1} s, from {from:.1} s on");
        late(row, gap - most, most, why, what);
        from = at;
    }
}

/// Judges what comes again and again by the middle one of its intervals, if none is far too long.
pub fn judge_beat(row: &'static str, what: &str, every: f64, ended: f64) {
    judge_gaps(row, what, 2.0 * every, ended);
    let gaps: Vec<f64> = times(what).windows(2).map(|two| two[1] - two[0]).collect();
    let (n_gaps, middle) = (gaps.len(), middle_of(gaps));
    let [usually_late, _] = lateness();
    let tolerance = book().tolerance(every, usually_late);
    let told = format!("a {what} every {middle:.1} s ({every:.1} ± {tolerance:.1} s)");
    let often = middle < every - tolerance;
    match n_gaps {
        ..INTERVALS => tell(row, CANT_TELL, format!("too few in the time: {what}")),
        _ if middle > every + tolerance => fails(row, told, what),
        _ if often && EXACT.contains(&row) => fails(row, told, what),
        _ if often => tell(row, HOLDS, told + ", more often than asked for"),
        _ => tell(row, HOLDS, told),
    }
}

/// How late this machine mostly was, and at the most.
fn lateness() -> [f64; 2] {
    let book = book();
    let most = |late: &[f64]| late.iter().copied().fold(0.0, f64::max);
    let usually = middle_of(book.late.chunks(TICKS).map(most).collect());
    [usually, most(&book.late)]
}

/// A row with what is said of it.
pub fn judged(mut row: CourseRow) -> CourseRow {
    let ([_, late], book) = (lateness(), book());
    let found = book.findings.get(row.id).cloned().unwrap_or_default();
    let is_spoken = !row.id.starts_with('P') || book.findings.contains_key(OURS);
    let is_sure = found.over > book.tolerance(found.every, late) && 8.0 * late < found.every;
    let is_cause = |id: &str| book.findings.get(id).is_some_and(|found| found.over > 0.0);
    let cause = row.causes.iter().find(|id| is_cause(id));
    let counted = |text: &str| text.replace("{n}", &found.n_good.to_string());
    let unspoken = "it doesn't speak the messages for this".to_owned();
    (row.word, row.why) = match (cause, found.told) {
        _ if !is_spoken => (NOT_SPOKEN, unspoken),
        (Some(cause), _) if is_sure => (CANT_TELL, format!("{}; see {cause}", found.why)),
        (None, _) if is_sure => (FAILS, found.why),
        _ if found.over > 0.0 => (CANT_TELL, format!("this machine was {late:.1} s late")),
        (_, Some(told)) => told,
        _ if found.n_good >= row.needs => (HOLDS, counted(row.holds)),
        _ => (CANT_TELL, counted(row.untold)),
    };
    if row.word == FAILS {
        row.shown = book.lines_about(&found.about, found.at);
    }
    row
}

/// What the program printed, or how it ended: the lines that begin so.
pub fn last_lines(about: &str) -> Vec<String> {
    book().lines_about(about, f64::MAX)
}

/// Sleeps for a moment, and measures how much longer that took.
pub fn tick() {
    let from = Instant::now();
    sleep(TICK);
    if book().late.len().is_multiple_of(TICKS) {
        std::hint::black_box(digest(&vec![0; WORK]));
    }
    was_late(course_time(from.elapsed() - TICK));
}

/// Takes down how late this machine was.
pub fn was_late(late: f64) {
    book().late.push(late);
}

impl Book {
    /// How far an interval may be from what it is to be: a fifth, what programs need to do anything, and what this
    /// machine was late.
    fn tolerance(&self, every: f64, late: f64) -> f64 {
        0.2 * every + 0.3 / self.scale + 4.0 * late
    }

    /// The first lines until a time about something, and the last.
    fn lines_about(&self, about: &str, until: f64) -> Vec<String> {
        let is_about = |(at, text): &&(f64, String)| {
            let is_printed = about.starts_with(PRINTED);
            *at <= until && text.contains(about) && text.starts_with(PRINTED) == is_printed
        };
        let shown = self.lines.iter().filter(is_about);
        let shown = shown.map(|(at, text)| format!("{at:7.1} s  {}", excerpt(text, about)));
        let (mut shown, [first, last]) = (shown.collect::<Vec<_>>(), SHOWN);
        if shown.len() > first + last {
            shown.splice(first..shown.len() - last, ["         …".to_owned()]);
        }
        shown
    }

    /// A full disk takes the log away, not the verdicts.
    fn log(&mut self, at: f64, what: &str, text: &str) {
        if let Some(log) = &mut self.log {
            let _ = writeln!(log, "{}", json!({"at": at, what: text}));
        }
    }
}

/// The beginning of a long line, and what it has about something.
fn excerpt(text: &str, about: &str) -> String {
    match text.find(about) {
        Some(at) if at + about.len() > WIDTH => format!("{text:.BEGIN$} … {:.WIDTH$}", &text[at..]),
        _ => format!("{text:.WIDTH$}"),
    }
}

/// The middle one of several times; 0 of none.
fn middle_of(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
