//! The record of one run: all that was sent, came or happened, in order, with the time. Whoever plays writes it, and the
//! judges read it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bittorrentish::md5::digest;
use serde::Serialize;

/// Being so much too late is a standstill of this machine, seconds.
const STANDSTILL: f64 = 0.1;
/// Now and then some bytes are hashed, a few milliseconds' work: on a machine with no time for it that takes far longer.
const WORK_EVERY: usize = 25;
const WORK: usize = 1 << 20;
/// How often the time is looked at.
const TICK: Duration = Duration::from_millis(20);

/// The most files of a list that are shown.
const FILES_SHOWN: usize = 12;

/// Something that was sent, came or happened. `what` says which of the other fields there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RecordedEvent {
    /// Seconds since the start.
    pub at: f64,
    pub what: &'static str,
    /// A played peer: its number towards a peer, its port towards a tracker.
    pub who: usize,
    /// A file; towards a tracker, the part that `who` plays.
    pub name: String,
    pub files: Vec<String>,
    /// Who has which files.
    pub lists: BTreeMap<usize, Vec<String>>,
    pub fault: Option<String>,
}

/// An event with its first fields; `at` is filled in when it is noted.
pub fn event(what: &'static str, who: usize, name: &str) -> RecordedEvent {
    let name = name.to_owned();
    RecordedEvent {
        what,
        who,
        name,
        ..RecordedEvent::default()
    }
}

impl RecordedEvent {
    pub fn files(mut self, files: Vec<String>) -> Self {
        self.files = files;
        self
    }

    pub fn lists(mut self, lists: BTreeMap<usize, Vec<String>>) -> Self {
        self.lists = lists;
        self
    }

    pub fn fault(mut self, fault: Option<String>) -> Self {
        self.fault = fault;
        self
    }

    /// Who has a file, by this event's lists.
    pub fn holders(&self, name: &str) -> Vec<usize> {
        let has = |names: &[String]| names.iter().any(|one| one == name);
        let holders = self.lists.iter().filter(|(_, names)| has(names));
        holders.map(|(who, _)| *who).collect()
    }

    /// Each file, and how many have it.
    pub fn copies(&self) -> BTreeMap<&str, usize> {
        let mut copies = BTreeMap::new();
        for name in self.lists.values().flatten() {
            *copies.entry(name.as_str()).or_default() += 1;
        }
        copies
    }
}

impl fmt::Display for RecordedEvent {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:7.1} s  {} {}", self.at, self.what, self.name)?;
        match self.who {
            0 => {}
            who @ 1..1000 => write!(f, " (peer {who})")?,
            port => write!(f, " (port {port})")?,
        }
        self.files
            .iter()
            .try_for_each(|name| write!(f, " {name}"))?;
        for (name, n) in self.copies().iter().take(FILES_SHOWN) {
            write!(f, " {name} ×{n}")?;
        }
        self.fault.iter().try_for_each(|why| write!(f, ": {why}"))
    }
}

/// Takes down what happens.
pub struct Recorder {
    began: Instant,
    ticks: AtomicUsize,
    events: Mutex<Vec<RecordedEvent>>,
    log: Option<Mutex<File>>,
}

impl Recorder {
    pub fn new(log: Option<&str>) -> io::Result<Self> {
        Ok(Self {
            began: Instant::now(),
            ticks: AtomicUsize::new(0),
            events: Mutex::default(),
            log: log.map(File::create).transpose()?.map(Mutex::new),
        })
    }

    /// Seconds since the start.
    pub fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn note(&self, mut event: RecordedEvent) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        event.at = self.now();
        if let Some(log) = &self.log {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let line = serde_json::to_string(&event).unwrap_or_default();
            // a full disk takes the log away, not the verdicts
            let _ = writeln!(log, "{line}");
        }
        events.push(event);
    }

    pub fn events(&self) -> Vec<RecordedEvent> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.clone()
    }

    /// Sleeps for a moment, and notes if that took far too long.
    pub fn tick(&self) {
        let from = self.now();
        std::thread::sleep(TICK);
        if self
            .ticks
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(WORK_EVERY)
        {
            std::hint::black_box(digest(&vec![0; WORK]));
        }
        let late = self.now() - from - TICK.as_secs_f64();
        if late > STANDSTILL {
            self.note(event("stood still", 0, &late.to_string()));
        }
    }
}

/// The intervals of the course text, seconds, as the program under test keeps them.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub scale: f64,
    pub ping: f64,
    pub list: f64,
    pub round: f64,
    pub sweep: f64,
    /// The run ends at this time at the latest.
    pub within: f64,
}

impl Plan {
    pub fn new(scale: f64, within: Option<f64>) -> Self {
        Self {
            scale,
            ping: 10.0 * scale,
            list: 20.0 * scale,
            round: 30.0 * scale,
            sweep: 15.0 * scale,
            within: within.unwrap_or((290.0 * scale).max(40.0)),
        }
    }
}

/// How far from its interval something may happen.
pub fn tolerance(every: f64) -> f64 {
    0.2 * every + 0.3
}
