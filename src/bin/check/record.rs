//! The record of one run: all that was sent, came or happened, in order, with the time. Whoever plays writes it and goes by
//! it, and the judges read nothing else. Its seconds are the course text's: with `--scale 0.1`, ten in a real one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bittorrentish::md5::digest;
use serde::Serialize;
use serde_json::json;

/// How often it is measured how late this machine is; so many measures in a row count as one, the largest.
const TICK: Duration = Duration::from_millis(20);
const TICKS: usize = 25;
/// What is hashed in one of them, bytes: whoever only sleeps is woken in time even where there is none for work.
const WORK: usize = 1 << 20;
/// The most lines of the program's output that are shown, and that are logged.
const SHOWN_LINES: usize = 20;
const LOGGED_LINES: usize = 100_000;
/// The most files or peers that are shown of an event.
const SHOWN: usize = 8;

/// The program under test ended by itself.
pub const ENDED: &str = "it ended: {name}";

/// Which files each peer has.
pub type Holdings = Vec<(usize, Vec<String>)>;

/// Something that was sent, came or happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RecordedEvent {
    pub at: f64,
    /// What it is, and how it is told: `{who}` and `{name}` stand for the two fields.
    pub what: &'static str,
    /// The number of a played peer, or a port.
    pub who: usize,
    /// A file, or the part that a peer plays.
    pub name: String,
    /// Of a list of the program's own, there is one peer here: 0.
    pub lists: Holdings,
    pub fault: Option<String>,
}

/// An event; its time is filled in when it is noted.
pub fn event(what: &'static str, who: usize, name: &str) -> RecordedEvent {
    let (name, default) = (name.to_owned(), RecordedEvent::default());
    RecordedEvent {
        what,
        who,
        name,
        ..default
    }
}

impl RecordedEvent {
    pub fn lists(mut self, lists: Holdings) -> Self {
        self.lists = lists;
        self
    }

    pub fn fault(mut self, fault: Option<String>) -> Self {
        self.fault = fault;
        self
    }

    pub fn files(&self) -> &[String] {
        self.lists.first().map_or(&[], |(_, files)| files)
    }

    /// Who has a file, by this event's lists.
    pub fn holders(&self, name: &str) -> Vec<usize> {
        let mut lists = self.lists.clone();
        lists.retain(|(_, files)| files.iter().any(|file| file == name));
        lists.iter().map(|(who, _)| *who).collect()
    }

    /// Who is on the list.
    pub fn ports(&self) -> BTreeSet<usize> {
        self.lists.iter().map(|(who, _)| *who).collect()
    }

    /// Each file, and how many have it.
    pub fn copies(&self) -> BTreeMap<&str, usize> {
        let mut copies = BTreeMap::new();
        for name in self.lists.iter().flat_map(|(_, files)| files) {
            *copies.entry(name.as_str()).or_default() += 1;
        }
        copies
    }

    /// What happened, in words.
    pub fn told(&self) -> String {
        let mut words = vec![self.what.replace("{who}", &self.who.to_string())];
        words[0] = words[0].replace("{name}", &self.name);
        let lists = self.lists.iter();
        match self.who {
            _ if self.lists.len() < 2 => words.extend(self.files().to_vec()),
            0 => words.extend(self.copies().iter().map(|(name, n)| format!("{name} ×{n}"))),
            _ => words.extend(lists.map(|(port, files)| format!("{port}: {},", files.join(" ")))),
        }
        if words.len() > 1 + SHOWN {
            let more = format!("and {} more", words.len() - 1 - SHOWN);
            words.splice(1 + SHOWN.., [more]);
        }
        words.extend(self.fault.clone());
        words.join(" ")
    }
}

impl fmt::Display for RecordedEvent {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:7.1} s  {}", self.at, self.told())
    }
}

/// Takes down what happens.
pub struct Recorder {
    began: Instant,
    scale: f64,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    events: Vec<RecordedEvent>,
    /// How late this machine was in each row of ticks, seconds.
    late: Vec<f64>,
    n_ticks: usize,
    /// The last lines of the program's output and of its errors.
    printed: [VecDeque<String>; 2],
    n_printed: usize,
    log: Option<File>,
}

impl Recorder {
    pub fn new(scale: f64, log: Option<String>) -> io::Result<Self> {
        let log = log.map(File::create).transpose()?;
        let (began, default) = (Instant::now(), Book::default());
        let book = Mutex::new(Book { log, ..default });
        Ok(Self { began, scale, book })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the start.
    pub fn now(&self) -> f64 {
        self.course_time(self.began.elapsed())
    }

    /// How long something takes, in seconds of the course text.
    pub fn course_time(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.scale
    }

    pub fn note(&self, mut event: RecordedEvent) {
        let mut book = self.book();
        event.at = self.now();
        book.log(&event);
        book.events.push(event);
    }

    /// What `find` finds in the events so far.
    pub fn find<T>(&self, find: impl FnOnce(&[RecordedEvent]) -> T) -> T {
        find(&self.book().events)
    }

    /// Takes a line of the program's output, or of its errors.
    pub fn printed(&self, is_error: bool, line: &str) {
        let mut book = self.book();
        book.n_printed += 1;
        if book.n_printed < LOGGED_LINES {
            book.log(&json!({"at": self.now(), "stderr": is_error, "printed": line}));
        }
        let lines = &mut book.printed[usize::from(is_error)];
        lines.push_back(line.chars().take(200).collect());
        if lines.len() > SHOWN_LINES {
            lines.pop_front();
        }
    }

    /// The last lines of the program's output, and of its errors.
    pub fn last_lines(&self) -> [Vec<String>; 2] {
        let book = self.book();
        book.printed.clone().map(Vec::from)
    }

    /// Sleeps for a moment, and measures how much longer that took.
    pub fn tick(&self) {
        let from = Instant::now();
        sleep(TICK);
        let mut book = self.book();
        let at = book.n_ticks / TICKS;
        book.n_ticks += 1;
        book.late.resize(at + 1, 0.0);
        if book.n_ticks.is_multiple_of(TICKS) {
            std::hint::black_box(digest(&vec![0; WORK]));
        }
        let late = from.elapsed() - TICK;
        book.late[at] = book.late[at].max(self.course_time(late));
    }

    /// How late this machine was, again and again.
    pub fn late(&self) -> Vec<f64> {
        self.book().late.clone()
    }
}

impl Book {
    /// A full disk takes the log away, not the verdicts.
    fn log(&mut self, line: &impl Serialize) {
        if let Some(log) = &mut self.log {
            let _ = writeln!(log, "{}", json!(line));
        }
    }
}
