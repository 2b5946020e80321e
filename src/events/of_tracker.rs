//! The lines about the start, the tracker and its lists.

use std::fmt;

use super::Event;
use crate::torrent::Name;
use crate::units::plural;

impl Event {
    /// What is said at the start.
    pub(super) fn fmt_of_start(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting {
                dir,
                tracker,
                only,
                pick,
            } => {
                let purpose = purpose(dir, only, *pick);
                writeln!(f, "{purpose}; tracker {tracker}")?;
                write!(
                    f,
                    "Ctrl-C is safe at any moment: the same command goes on from there"
                )
            }
            Self::Listening { port, .. } => write!(f, "listening on port {port} for other peers"),
            Self::Page { url } => write!(f, "page: {url}"),
            Self::Pretending { told } => {
                write!(f, "!!! FOR A CLASS ONLY: this peer pretends {told} !!!")
            }
            _ => Ok(()),
        }
    }

    /// What is said of the tracker and its lists.
    pub(super) fn fmt_of_tracker(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrackerUnreachable { at, cause } => write!(
                f,
                "no list from the tracker {at}: {cause}\nit is tried again at each ping; the swarm goes on meanwhile"
            ),
            Self::ListRefused { why } => write!(
                f,
                "the tracker doesn't take the list of what is here, so nobody learns of it: {why}\nit is sent again once it changes, or \
                 after a minute"
            ),
            Self::OriginalTracker => write!(
                f,
                "the tracker is an original: whole files only, and none of them verified"
            ),
            Self::List {
                n_peers,
                n_files,
                original: false,
                ..
            } => write!(
                f,
                "ping → {} listed, {}",
                plural(*n_peers, "other peer"),
                plural(*n_files, "file")
            ),
            Self::List { n_peers, .. } => write!(f, "ping → {} listed", plural(*n_peers, "peer")),
            Self::FewPeers {
                n_peers,
                waits_for: Some(least),
            } => write!(
                f,
                "{} listed: nothing is asked for before there are {least} (--min-peers)",
                plural(*n_peers, "other peer")
            ),
            Self::FewPeers { n_peers, .. } => write!(
                f,
                "{} listed, fewer than the 2 of the course text: going on with it",
                plural(*n_peers, "other peer")
            ),
            Self::PingsEvery { seconds } => write!(
                f,
                "pinging the tracker every {seconds:.1} s from now on: it drops whoever is silent between two of its sweeps"
            ),
            Self::ListSent { n_files, n_parts } => write!(
                f,
                "list → {}, {} in part",
                plural(*n_files, "whole file"),
                n_parts
            ),
            _ => Ok(()),
        }
    }
}

/// Says in a few words what a run is for.
fn purpose(dir: &str, only: &[Name], pick: bool) -> String {
    let names: Vec<String> = only.iter().map(Name::to_string).collect();
    match names.as_slice() {
        [] if pick => format!("serving {dir}, fetching what is picked"),
        [] => format!("serving {dir}, fetching all else"),
        names => format!("serving {dir}, fetching {}", names.join(", ")),
    }
}
