//! The record of one run: everything that was seen, in order, with the time. Whoever plays writes it, the judges read it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bittorrentish::protocol::PeerEntry;
use serde::Serialize;

/// Waking up so much too late is a standstill of this machine, seconds.
const STANDSTILL: f64 = 0.25;
/// How often the time is looked at.
const TICK: Duration = Duration::from_millis(20);

/// Which message of the program isn't understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclear {
    /// One to the tracker, neither a ping nor a list for sure.
    Tracker,
    /// A list to the tracker.
    List,
    /// One to a peer.
    Request,
}

/// Whom `check` plays towards a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Asks for the list again and again.
    Observer,
    /// Pings and lists, as the course text asks for.
    Steady,
    /// Lists once, and then only pings.
    Pinger,
    /// Only lists.
    Lister,
    /// Lists other files after a while.
    Changer,
    /// Comes late, and pings.
    Newcomer,
    /// Lists once, and then is silent.
    Silent,
    /// One of a great many.
    Crowd,
    /// Publishes a `.torrent`.
    Publisher,
}

/// Something that was sent, came or happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The program was started, or is waited for.
    Started { command: Vec<String> },
    /// The program ended by itself.
    Ended { how: String },
    /// This machine stood still.
    Stalled { seconds: f64 },
    /// A message of the program isn't understood.
    Unclear { of: Unclear, why: String },

    /// The peer pinged; `v` where it speaks our messages.
    Ping { v: bool },
    /// The peer sent its list.
    List { files: Vec<String> },
    /// From now on pings are answered with these names, and who has each.
    Offers {
        copies: BTreeMap<String, Vec<usize>>,
    },
    /// From now on it is a file in pieces.
    Download { name: String },
    /// From now on only what the peer has is listed.
    Complete { names: Vec<String> },
    /// The peer asked for a `.torrent`.
    Torrent { name: String },
    /// The peer asked one of the played peers.
    Asks { holder: usize, name: String },
    /// That one answered.
    Gave {
        holder: usize,
        name: String,
        len: usize,
        whole: bool,
        good: bool,
    },
    /// One of the played peers went away for good.
    Died { holder: usize },
    /// The peer was asked for something that it has.
    Back {
        name: String,
        len: usize,
        fault: Option<String>,
    },

    /// The tracker is reached, over these addresses of both ends.
    Reached { ips: Vec<String>, remote: bool },
    /// A message to the tracker: a list where it has files, or else a ping.
    Said {
        role: Role,
        port: u16,
        files: Option<Vec<String>>,
    },
    /// The tracker's answer to a ping.
    Heard {
        role: Role,
        port: u16,
        peers: Vec<PeerEntry>,
    },
    /// The tracker's answer isn't understood.
    Garbled { role: Role, port: u16, why: String },
    /// The tracker didn't answer.
    Mute { role: Role, port: u16, why: String },
    /// The tracker asked a played peer for something.
    Fetched { port: u16, message: String },
    /// Whether the tracker handed out the `.torrent` that it was given.
    Kept { fault: Option<String> },
}

/// Something that happened, and when: seconds since the start.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    pub at: f64,
    #[serde(flatten)]
    pub what: What,
}

/// Takes down what happens.
pub struct Recorder {
    began: Instant,
    events: Mutex<Vec<Event>>,
    log: Option<Mutex<File>>,
}

impl Recorder {
    pub fn new(log: Option<&str>) -> io::Result<Self> {
        Ok(Self {
            began: Instant::now(),
            events: Mutex::default(),
            log: log.map(File::create).transpose()?.map(Mutex::new),
        })
    }

    /// Seconds since the start.
    pub fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn note(&self, what: What) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Event {
            at: self.now(),
            what,
        };
        if let Some(log) = &self.log {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let line = serde_json::to_string(&event).unwrap_or_default();
            // a full disk takes the log away, not the verdicts
            let _ = writeln!(log, "{line}");
        }
        events.push(event);
    }

    pub fn events(&self) -> Vec<Event> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.clone()
    }

    /// Sleeps for a moment, and notes if that took far too long.
    pub fn tick(&self) {
        let slept = Instant::now();
        std::thread::sleep(TICK);
        let late = (slept.elapsed() - TICK.min(slept.elapsed())).as_secs_f64();
        if late > STANDSTILL {
            self.note(What::Stalled { seconds: late });
        }
    }
}

/// The intervals of the course text, seconds, as the program under test keeps them.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub ping: f64,
    pub list: f64,
    pub round: f64,
    pub sweep: f64,
    /// Of C6: three minutes.
    pub longest: f64,
    pub scale: f64,
    /// It ends at this time at the latest.
    pub within: f64,
}

impl Plan {
    pub fn new(scale: f64, within: Option<f64>) -> Self {
        Self {
            ping: 10.0 * scale,
            list: 20.0 * scale,
            round: 30.0 * scale,
            sweep: 15.0 * scale,
            longest: 180.0 * scale,
            scale,
            within: within.unwrap_or((290.0 * scale).max(40.0)),
        }
    }

    /// How far from its interval something may happen.
    pub fn tolerance(every: f64) -> f64 {
        0.2 * every + 0.3
    }
}
