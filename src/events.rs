//! The events of a peer: each one as a line for people and as JSON for programs.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use self::shares::table;
use crate::report::{self, Tone, Weight};
use crate::state::overview::Doing;
use crate::state::{Choice, Share};
use crate::torrent::Name;
use crate::units::{bytes, duration, plural};

mod no_list;
mod shares;

pub use no_list::NoList;

/// Hashing that takes less isn't worth a line, seconds.
const SOON: f64 = 1.0;

/// Something that a peer does or meets. In the log it is an object with `t` (the seconds since the start), `event`, and
/// these fields; sizes are bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs)] // the fields say what they are
pub enum Event {
    Starting {
        dir: String,
        tracker: String,
        only: Vec<Name>,
        pick: bool,
    },
    Listening {
        port: u16,
        dir: String,
        tracker: String,
    },
    Page {
        url: String,
    },
    /// No list came: the cause is one of [`NoList`].
    TrackerUnreachable {
        at: String,
        cause: &'static str,
        why: String,
    },
    /// The tracker answers pings, and doesn't take this peer's list.
    ListRefused {
        why: String,
    },
    OriginalTracker,
    List {
        n_peers: usize,
        n_files: usize,
        original: bool,
        /// Whether it is the first one, or the first after a failure.
        #[serde(skip)]
        first: bool,
    },
    FewPeers {
        n_peers: usize,
        waits_for: Option<usize>,
    },
    PingsEvery {
        seconds: f64,
    },
    ListSent {
        n_files: usize,
        n_parts: usize,
    },
    Waiting {
        why: String,
    },
    NotShared {
        name: String,
        why: String,
    },
    Hashing {
        name: String,
        done: u64,
        size: u64,
    },
    Checking {
        name: String,
        done: u64,
        size: u64,
    },
    Hashed {
        name: String,
        size: u64,
        md5: String,
        seconds: f64,
    },
    Sharing {
        name: String,
        size: u64,
        md5: String,
    },
    Withdrawn {
        name: String,
    },
    Deleted {
        name: String,
    },
    Command {
        command: String,
    },
    OtherCopy {
        name: String,
        peer: String,
        md5: String,
    },
    PublisherFaulty {
        name: String,
        idx: u32,
        peer: Option<SocketAddr>,
    },
    Remark {
        what: String,
    },
    Reusing {
        name: String,
        done: u64,
        size: u64,
    },
    Published {
        name: String,
        md5: String,
    },
    Refused {
        name: String,
        md5: String,
        swarm: Option<String>,
        why: String,
    },
    NoTorrent {
        name: String,
        why: String,
    },
    Begin {
        name: String,
        size: u64,
        n_pieces: u32,
        here: u32,
        md5: String,
    },
    Connected {
        peer: SocketAddr,
        latency_ms: f64,
    },
    /// A peer that is listed can't be connected to.
    NotReached {
        peer: SocketAddr,
        why: String,
    },
    Lost {
        peer: SocketAddr,
        why: String,
    },
    Pick(Choice),
    Piece {
        name: String,
        idx: u32,
        peer: Option<SocketAddr>,
        have: u32,
        n_pieces: u32,
        #[serde(skip)]
        classic: bool,
    },
    Progress {
        name: String,
        percent: u64,
        bytes_a_second: u64,
        left: Option<f64>,
        doing: Doing,
    },
    BadPiece {
        name: String,
        idx: u32,
        why: String,
        peer: Option<SocketAddr>,
    },
    GivenUp {
        name: String,
        why: String,
    },
    Complete {
        name: String,
        size: u64,
        md5: String,
        seconds: f64,
        here: u32,
        n_pieces: u32,
        /// How much of what was here when the download began was copied from other files.
        reused: u64,
        gave: u64,
        shares: Vec<Share>,
    },
    Given {
        name: String,
        size: u64,
        md5: String,
        lately: u64,
        seconds: f64,
        gave: u64,
        shares: Vec<Share>,
    },
    Unverified {
        name: String,
        size: u64,
        md5: String,
    },
    NotTwiceTheSame {
        name: String,
        why: String,
    },
    Gave {
        name: String,
        idx: u32,
        len: u32,
        peer: SocketAddr,
    },
    GaveOriginal {
        peer: SocketAddr,
        name: String,
        len: u64,
    },
    UploadEnded {
        peer: SocketAddr,
        why: String,
    },
    Disk {
        why: String,
        full: bool,
    },
    AcceptFailed {
        why: String,
    },
    Full {
        most: usize,
    },
    Ending {
        code: u8,
        why: Vec<String>,
    },
}

impl Event {
    /// Returns true if no other event says it: each round already reports that pieces are nowhere.
    pub(crate) fn is_news(&self) -> bool {
        let nowhere = |doing: &Doing| matches!(doing, Doing::Nowhere { .. });
        !matches!(self, Self::Progress { doing, .. } if nowhere(doing))
    }

    /// Returns true if the event changes which files are in work.
    pub(crate) fn changes_work(&self) -> bool {
        matches!(
            self,
            Self::Begin { .. }
                | Self::Sharing { .. }
                | Self::Complete { .. }
                | Self::GivenUp { .. }
        )
    }
}

impl report::Reportable for Event {
    fn weight(&self) -> Weight {
        match self {
            Self::Pick(Choice { classic: true, .. }) | Self::Piece { classic: true, .. } => {
                Weight::Normal
            }
            Self::Pick(_) | Self::Piece { .. } | Self::Gave { .. } => Weight::Detail,
            Self::List { first: true, .. } => Weight::Normal,
            // what `sharing`, `complete` or the next ping says as well
            Self::List { .. } | Self::ListSent { .. } | Self::Published { .. } => Weight::Routine,
            Self::Begin { n_pieces, .. } if *n_pieces <= 1 => Weight::Routine,
            Self::Hashed { seconds, .. } if *seconds < SOON => Weight::Routine,
            Self::Refused { .. }
            | Self::OtherCopy { .. }
            | Self::PublisherFaulty { .. }
            | Self::GivenUp { .. }
            | Self::Complete { .. }
            | Self::Unverified { .. } => Weight::Important,
            Self::Hashing { .. }
            | Self::Checking { .. }
            | Self::Reusing { .. }
            | Self::Progress { .. }
            | Self::Waiting { .. } => Weight::Progress,
            Self::Starting { .. }
            | Self::Listening { .. }
            | Self::Page { .. }
            | Self::Disk { .. }
            | Self::Ending { .. }
            | Self::ListRefused { .. }
            | Self::TrackerUnreachable { .. } => Weight::Important,
            _ => Weight::Normal,
        }
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Complete { .. } | Self::Ending { code: 0, .. } => Tone::Good,
            Self::Ending { .. }
            | Self::Refused { .. }
            | Self::OtherCopy { .. }
            | Self::PublisherFaulty { .. }
            | Self::GivenUp { .. }
            | Self::BadPiece { .. }
            | Self::Disk { .. }
            | Self::ListRefused { .. }
            | Self::TrackerUnreachable { .. } => Tone::Bad,
            _ => Tone::Neutral,
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

/// Formats milliseconds, with more digits for smaller values.
fn millis(ms: f64) -> String {
    if ms < 1.0 {
        format!("{ms:.2} ms")
    } else {
        format!("{ms:.1} ms")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            Self::TrackerUnreachable { at, why, .. } => {
                writeln!(f, "no list from the tracker {at}: {why}")?;
                write!(
                    f,
                    "it is tried again at each ping; the swarm goes on meanwhile"
                )
            }
            Self::ListRefused { why } => write!(
                f,
                "the tracker doesn't take this peer's list, so that others don't learn what is here: {why}"
            ),
            Self::Waiting { why } => write!(f, "waiting: {why}"),
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
            } => {
                write!(
                    f,
                    "{} listed: nothing is asked for before there are {least} (--min-peers)",
                    plural(*n_peers, "other peer")
                )
            }
            Self::FewPeers { n_peers, .. } => {
                write!(
                    f,
                    "{} listed, fewer than the 2 of the course text: going on with it",
                    plural(*n_peers, "other peer")
                )
            }
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
            Self::NotShared { name, why } => write!(f, "{name} isn't shared or fetched: {why}"),
            Self::Hashing { name, done, size } => {
                write!(
                    f,
                    "hashing {name}: {} %, {} of {}",
                    done * 100 / size.max(&1),
                    bytes(*done),
                    bytes(*size)
                )
            }
            Self::Checking { name, done, size } => {
                write!(
                    f,
                    "checking what is here of {name}: {} %",
                    done * 100 / size.max(&1)
                )
            }
            Self::Hashed {
                name,
                size,
                md5,
                seconds,
            } => {
                write!(
                    f,
                    "hashed {name}: {} in {seconds:.1} s, MD5 {md5}",
                    bytes(*size)
                )
            }
            Self::Sharing { name, size, md5 } => {
                write!(f, "sharing {name}: {}, MD5 {md5}", bytes(*size))
            }
            Self::Withdrawn { name } => {
                write!(
                    f,
                    "{name} changed: it is shared again once it is left alone"
                )
            }
            Self::Deleted { name } => write!(
                f,
                "{name} was deleted or moved away: it is shared no more, and not fetched again in this run"
            ),
            Self::Command { command } => {
                write!(
                    f,
                    "this content and no other, on the other machines:\n{command}"
                )
            }
            Self::OtherCopy { name, peer, md5 } => write!(
                f,
                "{peer} has another {name}, MD5 {md5}: that copy isn't shared"
            ),
            Self::PublisherFaulty { name, idx, peer } => {
                let peer = peer.map_or("its publisher".to_owned(), |peer| {
                    format!("its publisher {peer}")
                });
                write!(
                    f,
                    "{name} is published wrongly: {peer} sent piece {idx} twice, and both times it failed {peer}'s own list; have the file \
                     hashed and published again there (its memory or its disk may be faulty)"
                )
            }
            Self::Remark { what } => write!(f, "{what}"),
            Self::Reusing { name, done, size } => write!(
                f,
                "looking for what can be copied into {name}: {} %",
                done * 100 / size.max(&1)
            ),
            Self::Published { name, md5 } => {
                write!(f, "the tracker has the .torrent of {name}, MD5 {md5}")
            }
            Self::Refused {
                name,
                md5,
                swarm: Some(swarm),
                why,
            } => {
                write!(
                    f,
                    "{name} isn't shared: here it has MD5 {md5}, in the swarm MD5 {swarm}"
                )?;
                if why.is_empty() {
                    Ok(())
                } else {
                    write!(f, "\n{why}")
                }
            }
            Self::Refused { name, why, .. } => write!(f, "the tracker refused {name}: {why}"),
            Self::NoTorrent { name, why } => {
                write!(f, "no .torrent of {name} from the tracker: {why}")
            }
            Self::Begin {
                name,
                size,
                n_pieces,
                here,
                md5,
            } => {
                write!(
                    f,
                    "fetching {name}: {}, {}, MD5 {md5}",
                    bytes(*size),
                    plural(*n_pieces as usize, "piece")
                )?;
                if *here > 0 {
                    write!(f, "; {here} of them are here already, and checked")
                } else {
                    Ok(())
                }
            }
            Self::Connected { peer, latency_ms } => {
                write!(f, "connected to {peer}, latency {}", millis(*latency_ms))
            }
            Self::NotReached { peer, why } => write!(f, "can't reach {peer}: {why}"),
            Self::Lost { peer, why } => write!(f, "lost {peer}: {why}"),
            Self::Pick(Choice {
                name,
                pieces,
                peer,
                latency_ms,
                copies,
                tied,
                holders,
                reason,
                ..
            }) => {
                let shown: Vec<String> = pieces.iter().map(u32::to_string).collect();
                write!(f, "pick {name} piece {} from {peer}", shown.join(" or "))?;
                match copies {
                    Some(1) => write!(f, ": the rarest, 1 copy")?,
                    Some(copies) => write!(f, ": the rarest, {copies} copies")?,
                    None => write!(f, ": {reason}, asked for once more")?,
                }
                if *tied > 1 {
                    write!(f, ", {tied} as rare")?;
                }
                if let Some(latency) = latency_ms {
                    write!(f, "; latency {}", millis(*latency))?;
                }
                match holders.iter().find(|holder| holder.peer == *peer) {
                    Some(holder) if holders.len() > 1 => {
                        write!(
                            f,
                            ", chosen at {:.0} % among {}",
                            holder.chance * 100.0,
                            holders.len()
                        )
                    }
                    _ => Ok(()),
                }
            }
            Self::Piece {
                name,
                idx,
                peer,
                have,
                n_pieces,
                ..
            } => {
                let peer = peer.map_or("a peer that left".to_owned(), |peer| peer.to_string());
                write!(
                    f,
                    "piece {idx} of {name} from {peer}, checked; {have} of {n_pieces} are here"
                )
            }
            Self::Progress {
                name,
                percent,
                bytes_a_second,
                left,
                doing,
            } => {
                write!(f, "{name}: {percent} %, {}/s", bytes(*bytes_a_second))?;
                if let Some(left) = left {
                    write!(f, ", {} left", duration(*left))?;
                }
                write!(f, ", {doing}")
            }
            Self::BadPiece {
                name,
                idx,
                why,
                peer,
            } => {
                let peer = peer.map_or("a peer that left".to_owned(), |peer| peer.to_string());
                write!(
                    f,
                    "piece {idx} of {name} from {peer} is wrong: {why}; it is taken from elsewhere"
                )
            }
            Self::GivenUp { name, why } => write!(f, "{name} is given up: {why}"),
            Self::Complete {
                name,
                size,
                md5,
                seconds,
                here,
                n_pieces,
                reused,
                shares,
                ..
            } if *n_pieces <= 1 => {
                write!(f, "complete: {name}, {}, MD5 {md5} verified", bytes(*size))
            }
            Self::Complete {
                name,
                size,
                md5,
                seconds,
                here,
                n_pieces,
                reused,
                shares,
                ..
            } => {
                let came =
                    *size as f64 * f64::from(n_pieces - here) / f64::from((*n_pieces).max(1));
                let rate = bytes((came / seconds.max(1e-3)) as u64);
                let size = bytes(*size);
                writeln!(f, "complete: {name}, {size} in {seconds:.1} s ({rate}/s)")?;
                if *reused > 0 {
                    writeln!(
                        f,
                        "{} of it copied from files that were here",
                        bytes(*reused)
                    )?;
                }
                write!(f, "MD5 {md5} verified; serving on")?;
                table(shares, f)
            }
            Self::Given {
                name,
                size,
                md5,
                lately,
                seconds,
                gave,
                shares,
            } => {
                let takers = shares.iter().filter(|share| share.gave > 0).count();
                write!(f, "gave {} of {name}", bytes(*lately))?;
                // a single piece takes no measurable time
                if *seconds >= 0.1 {
                    let rate = bytes((*lately as f64 / seconds) as u64);
                    write!(f, " in {seconds:.1} s ({rate}/s)")?;
                }
                writeln!(f)?;
                let n_sizes = *gave as f64 / (*size).max(1) as f64;
                let (gave, takers, size) = (bytes(*gave), plural(takers, "peer"), bytes(*size));
                writeln!(
                    f,
                    "so far {gave} to {takers}, {n_sizes:.2} times its size of {size}"
                )?;
                write!(f, "MD5 {md5} verified; serving on")?;
                table(shares, f)
            }
            Self::Unverified { name, size, md5 } => {
                write!(
                    f,
                    "{name} came twice the same, {}, MD5 {md5}: unverified, as originals know no MD5; it isn't published",
                    bytes(*size)
                )
            }
            Self::NotTwiceTheSame { name, why } => write!(f, "{name} isn't taken yet: {why}"),
            Self::Gave {
                name,
                idx,
                len,
                peer,
            } => write!(
                f,
                "gave piece {idx} of {name} to {peer}, {}",
                bytes(u64::from(*len))
            ),
            Self::GaveOriginal { peer, name, len } => {
                write!(f, "gave {name} to the original {peer}, {}", bytes(*len))
            }
            Self::UploadEnded { peer, why } => write!(f, "connection from {peer} ended: {why}"),
            Self::Disk { why, full: true } => write!(
                f,
                "{why}; what is here is served, and it goes on by itself once there is room"
            ),
            Self::Disk { why, .. } => write!(f, "{why}"),
            Self::AcceptFailed { why } => write!(
                f,
                "no connection can be taken at the moment: {why}; trying again"
            ),
            Self::Full { most } => {
                write!(f, "all {most} connections are in use: further ones wait")
            }
            Self::Ending { code: 0, why } => {
                write!(f, "everything wanted is here and verified")?;
                why.iter().try_for_each(|why| write!(f, "\n{why}"))
            }
            Self::Ending { why, .. } => write!(f, "{}", why.join("\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line_for_people_and_an_object_for_programs() {
        let name = || "a.iso".to_owned();
        let md5 = || "d41d8cd98f00b204e9800998ecf8427e".to_owned();
        let choice = Choice {
            name: name(),
            pieces: vec![3, 9],
            peer: "10.0.0.2:1".to_owned(),
            latency_ms: Some(0.5),
            copies: Some(1),
            tied: 2,
            holders: Vec::new(),
            reason: "rarest",
            classic: true,
        };
        for (event, kind, weight, text) in [
            (
                Event::Pick(choice),
                "pick",
                Weight::Normal,
                "pick a.iso piece 3 or 9 from 10.0.0.2:1: the rarest, 1 copy, 2 as rare; latency 0.50 ms",
            ),
            (
                Event::Sharing {
                    name: name(),
                    size: 1536,
                    md5: md5(),
                },
                "sharing",
                Weight::Normal,
                "sharing a.iso: 1.5 KiB, MD5 d41d8cd98f00b204e9800998ecf8427e",
            ),
            (
                Event::Ending {
                    code: 4,
                    why: vec!["one".to_owned(), "two".to_owned()],
                },
                "ending",
                Weight::Important,
                "one\ntwo",
            ),
        ] {
            assert_eq!(event.to_string(), text);
            assert_eq!(report::Reportable::weight(&event), weight, "{text}");
            let json = serde_json::to_value(&event).expect("plain data");
            assert_eq!(json["event"], json!(kind));
            assert!(json.get("classic").is_none(), "{json}");
        }
    }
}
