//! What the tracker tells of: each event as a line for people and as JSON for programs.
//!
//! This module owns the wording. When something is told is decided by who tells it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Serialize;

use crate::md5::Digest;
use crate::report::{self, Tone, Weight, bytes, plural};
use crate::torrent::{Name, legible};

/// A line names at most this many peers; a program reads of all.
const NAMED: usize = 10;

/// What the tracker tells of.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum TrackerEvent {
    Listening {
        port: u16,
        local: bool,
        client: String,
        client_at: Vec<IpAddr>,
        /// The commands for machines that are to fetch exactly one content.
        pinned: Vec<String>,
    },
    Loaded {
        n_torrents: usize,
        torrents: PathBuf,
    },
    Page {
        url: String,
    },
    BadTorrent {
        file: String,
        why: String,
    },
    NewPeer {
        peer: SocketAddr,
        original: bool,
    },
    Ping {
        peer: SocketAddr,
    },
    FileList {
        peer: SocketAddr,
        n_files: usize,
        n_in_part: usize,
    },
    Swept {
        dropped: Vec<SocketAddr>,
        n_peers: usize,
    },
    Published {
        peer: SocketAddr,
        name: Name,
        size: u64,
        md5: Digest,
        own: bool,
        again: bool,
        corrected: bool,
        replaced: Option<Digest>,
        /// The commands by which other machines fetch exactly this content; none if they were told often enough.
        join: Vec<String>,
    },
    NotPublished {
        peer: SocketAddr,
        name: Name,
        md5: Digest,
        stands: Option<Digest>,
        why: String,
    },
    NotSynced {
        why: String,
    },
    HandedOut {
        to: SocketAddr,
        name: Name,
    },
    Refused {
        from: SocketAddr,
        why: String,
        #[serde(skip)]
        weight: Weight,
    },
    NotUnderstood {
        from: SocketAddr,
        why: String,
        #[serde(skip)]
        weight: Weight,
    },
    ConnectionFailed {
        from: SocketAddr,
        why: String,
    },
    AcceptFailed {
        why: String,
    },
    Full {
        n: usize,
    },
}

impl report::Reportable for TrackerEvent {
    fn weight(&self) -> Weight {
        match self {
            Self::Refused { weight, .. } | Self::NotUnderstood { weight, .. } => *weight,
            Self::Published { again: true, .. } => Weight::Normal,
            Self::Listening { .. }
            | Self::Page { .. }
            | Self::BadTorrent { .. }
            | Self::Published { .. }
            | Self::NotPublished { .. }
            | Self::NotSynced { .. }
            | Self::AcceptFailed { .. }
            | Self::Loaded { .. }
            | Self::Full { .. } => Weight::Important,
            Self::ConnectionFailed { .. } => Weight::Logged,
            Self::Swept { dropped, .. } if !dropped.is_empty() => Weight::Normal,
            Self::Ping { .. }
            | Self::FileList { .. }
            | Self::Swept { .. }
            | Self::HandedOut { .. } => Weight::Routine,
            _ => Weight::Normal,
        }
    }

    fn tone(&self) -> Tone {
        match self {
            Self::BadTorrent { .. } | Self::NotSynced { .. } | Self::AcceptFailed { .. } => {
                Tone::Bad
            }
            _ => Tone::Neutral,
        }
    }
}

impl fmt::Display for TrackerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { .. } => self.fmt_listening(f),
            Self::Loaded {
                n_torrents,
                torrents,
            } => {
                let torrents = legible(&torrents.to_string_lossy());
                write!(f, "{} in {torrents}", plural(*n_torrents, ".torrent"))
            }
            Self::Page { url } => write!(f, "page: {url}"),
            Self::BadTorrent { file, why } => {
                write!(f, "left out {}: {}", legible(file), legible(why))
            }
            Self::NewPeer { peer, original } => write!(
                f,
                "new peer {peer}{}",
                if *original { ", an original" } else { "" }
            ),
            Self::Ping { peer } => write!(f, "ping from {peer}"),
            Self::FileList {
                peer,
                n_files,
                n_in_part,
            } => write!(
                f,
                "list from {peer}: {}, {n_in_part} in part",
                plural(*n_files, "whole file")
            ),
            Self::Swept { dropped, n_peers } => fmt_swept(f, dropped, *n_peers),
            Self::Published { .. } => self.fmt_published(f),
            Self::NotPublished {
                peer,
                name,
                md5,
                stands,
                why,
                ..
            } => {
                let why = legible(why);
                write!(f, "not taken from {peer}: {name}, MD5 {md5}; ")?;
                match stands {
                    Some(_) => write!(f, "there stands {why}"),
                    None => write!(f, "{why}"),
                }
            }
            Self::NotSynced { why } => write!(f, "a .torrent may not outlive a power cut: {why}"),
            Self::HandedOut { to, name } => write!(f, ".torrent of {name} to {to}"),
            Self::Refused { from, why, .. } => write!(f, "refused {from}: {}", legible(why)),
            Self::NotUnderstood { from, why, .. } => {
                write!(f, "not understood, from {from}: {}", legible(why))
            }
            Self::ConnectionFailed { from, why } => write!(f, "connection with {from}: {why}"),
            Self::AcceptFailed { why } => write!(f, "can't accept connections ({why}); trying on"),
            Self::Full { n } => write!(f, "{n} connections are open, the most; others wait"),
        }
    }
}

/// The long ones.
impl TrackerEvent {
    fn fmt_listening(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Listening {
            port,
            local,
            client,
            client_at,
            pinned,
        } = self
        else {
            return Ok(());
        };
        let whom = match local {
            true => "this machine only (--remote serves others)",
            false => "every machine that reaches it",
        };
        let on_each = match local {
            true => "each peer",
            false => "each of the other machines",
        };
        let which = match client_at.len() {
            ..2 => "",
            _ => ", with the address that it reaches",
        };
        writeln!(f, "tracker: listening on port {port} for {whom}")?;
        writeln!(
            f,
            "Ctrl-C is safe at any moment: the same command goes on from there"
        )?;
        write!(f, "on {on_each}, with a folder of its own{which}:")?;
        let mut at: Vec<String> = client_at.iter().map(IpAddr::to_string).collect();
        if at.is_empty() {
            at.push("<this machine's address>".to_owned());
        }
        at.iter()
            .try_for_each(|at| write!(f, "\n  {client} {at} {port} shared"))?;
        write!(f, "\nand where exactly one content is wanted:")?;
        fmt_commands(f, pinned)
    }

    fn fmt_published(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Published {
            peer,
            name,
            size,
            md5,
            again,
            corrected,
            replaced,
            join,
            ..
        } = self
        else {
            return Ok(());
        };
        let what = if *again { "also has" } else { "published" };
        write!(f, "{peer} {what} {name}, {}, MD5 {md5}", bytes(*size))?;
        if *corrected {
            write!(f, ", with another list of checkpoints")?;
        }
        if let Some(old) = replaced {
            write!(f, ", in place of MD5 {old}")?;
        }
        if !join.is_empty() {
            write!(f, "\non each machine that is to have exactly this:")?;
        }
        fmt_commands(f, join)
    }
}

fn fmt_commands(f: &mut fmt::Formatter<'_>, commands: &[String]) -> fmt::Result {
    commands
        .iter()
        .try_for_each(|command| write!(f, "\n  {command}"))
}

fn fmt_swept(f: &mut fmt::Formatter<'_>, dropped: &[SocketAddr], n_peers: usize) -> fmt::Result {
    write!(f, "sweep: {} here", plural(n_peers, "peer"))?;
    let mut before = "; gone: ";
    dropped
        .iter()
        .take(NAMED)
        .try_for_each(|peer| write!(f, "{}{peer}", std::mem::replace(&mut before, ", ")))?;
    match dropped.len().saturating_sub(NAMED) {
        0 => Ok(()),
        others => write!(f, " and {}", plural(others, "other")),
    }
}

/// Why a tracker doesn't start.
#[derive(Debug)]
pub enum StartError {
    /// The folder for the `.torrent`s can't be used.
    Disk(PathBuf, io::Error),
    /// The system gives no socket or thread.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path, fault) => write!(
                f,
                "can't keep .torrents in {}: {fault}; choose another folder with --torrents",
                path.display()
            ),
            Self::System(fault) => write!(f, "can't start: {fault}"),
        }
    }
}

impl std::error::Error for StartError {}
