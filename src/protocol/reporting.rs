//! How far machines are: what peers report to the tracker, and what it tells of them to who asks.

use serde::{Deserialize, Serialize};

use super::Summary;
use crate::md5::Digest;
use crate::torrent::Name;

/// The most files in a report, the largest: of more, nobody asks how far they are.
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
    /// Bytes a second that came recently.
    pub speed: f64,
    /// Seconds until it is whole, at that speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<f64>,
    /// What becomes of it and why, for people, of at most [`TEXT_CHARS`].
    pub state: String,
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
    /// What is published and somebody has, without the peers that have other contents.
    pub files: Vec<Summary>,
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
