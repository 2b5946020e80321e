//! How far machines are: what peers report to the tracker, and what it tells of them to whoever asks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Summary;
use crate::md5::Digest;
use crate::torrent::Name;

/// The most files in a report: those that were named, then unfinished ones, then the largest.
pub const FILES_REPORTED: usize = 20;
/// The most characters of a host's name: DNS allows no more in one part.
pub const HOST_CHARS: usize = 63;
/// The most characters of a text in a report.
pub const TEXT_CHARS: usize = 300;

/// How far a peer is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineReport {
    /// Its listening port.
    pub port: u16,
    /// What its machine calls itself, of at most [`HOST_CHARS`]. Nobody checks it.
    pub host: String,
    /// The MD5 of its publisher's key, which is kept in its folder: the same machine at another address has the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Digest>,
    /// At most [`FILES_REPORTED`].
    pub files: Vec<FileReport>,
    /// Set in the last report of a run that ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<RunEnd>,
}

/// How far one file is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileReport {
    /// The file.
    pub name: Name,
    /// The content, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Digest>,
    /// Its size, bytes.
    pub size: u64,
    /// How many of them are here and verified.
    pub here: u64,
    /// Whether all of it is here, verified, and under its name.
    pub whole: bool,
    /// Whether this peer published it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mine: bool,
    /// Whether an earlier run received it, and its publisher isn't here: a newer version may come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unconfirmed: bool,
    /// Bytes a second that came recently.
    pub speed: f64,
    /// Seconds until it is whole, at that speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<f64>,
    /// What becomes of it and why, for people, of at most [`TEXT_CHARS`].
    pub state: String,
    /// How fast it moves here, for whoever asks what holds everybody up.
    #[serde(default, skip_serializing_if = "FilePace::is_none")]
    pub pace: FilePace,
}

impl FileReport {
    /// What a peer would report of somebody's file that it has, if it told of all that it has.
    pub fn of_whole(file: &Summary) -> Self {
        Self {
            name: file.name.clone(),
            md5: Some(file.md5),
            size: file.size,
            here: file.size,
            whole: true,
            mine: false,
            unconfirmed: false,
            speed: 0.0,
            left: None,
            state: String::new(),
            pace: FilePace::default(),
        }
    }
}

/// How fast a file moves at a peer, and what the peer itself can tell of the reasons. It measures what happens anyway:
/// nothing is sent to try a link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilePace {
    /// Bytes a second that were sent recently.
    pub up: f64,
    /// The most that were sent, in the mean of five seconds; 0 as long as that isn't known.
    pub best_up: f64,
    /// The same of what came.
    pub best_down: f64,
    /// What keeps it from coming faster, where that can be seen from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brake: Option<Brake>,
}

impl FilePace {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What a peer sees of what keeps its file from coming faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Brake {
    /// Nobody has what is missing here.
    MissingPiece,
    /// The disk takes no more, or is written to nearly all the time.
    Disk,
    /// Only complete peers have what is missing here.
    Seeders,
    /// Of the peers that send, each sends less whenever others send more: together they fill this machine's downlink.
    Downlink,
    /// They send more or less independently of each other: the downlink has room for more.
    Others,
}

/// How fast a swarm moves one content: the terms of Kurose and Ross's bound, as far as reports tell them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SwarmPace {
    /// The machines that lack some of it.
    pub n_behind: usize,
    /// Bytes a second that those with all of it have sent at best, together.
    pub best_seed_up: f64,
    /// The same of everybody.
    pub best_up: f64,
    /// Bytes a second that everybody sends now.
    pub up: f64,
}

/// How a run ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Its exit code.
    pub code: u8,
    /// Why, for people, of at most [`TEXT_CHARS`].
    pub why: String,
}

/// What the tracker knows of everybody.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SwarmStatus {
    /// What is published and somebody has, without the peers that have other contents; of many, the largest, and the
    /// one that was asked for.
    pub files: Vec<Summary>,
    /// How many are published.
    #[serde(default)]
    pub n_files: usize,
    /// Under these names another content may stand soon: it is hashed, or still changes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub changing: BTreeSet<Name>,
    /// The machines that have reported since the tracker started; those that left, too.
    pub machines: Vec<MachineStatus>,
}

/// What the tracker knows of one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// What it calls itself.
    pub host: String,
    /// The address and port at which it was last.
    pub peer: String,
    /// Whether its peer is on the tracker's list.
    pub here: bool,
    /// How old its report is, seconds.
    pub age: f64,
    /// What it reported.
    pub files: Vec<FileReport>,
    /// Seconds for which each of these files hasn't grown, in the same order.
    pub still: Vec<f64>,
    /// How its last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<RunEnd>,
}

impl MachineStatus {
    /// Returns what people call it: its name, or its address where it has none.
    pub fn label(&self) -> &str {
        if self.host.is_empty() {
            &self.peer
        } else {
            &self.host
        }
    }
}
