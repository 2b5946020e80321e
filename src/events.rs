//! What a peer tells of: each event as a line for people and as JSON for programs.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use serde::Serialize;

use crate::picker::{Order, PeerNo, Why};
use crate::report::{self, Weight, bytes, plural};
use crate::state::{Exchanged, Held, State};
use crate::torrent::Name;

/// A holder that could have been asked, with the chance that it had.
#[derive(Clone, Debug, Serialize)]
pub struct Chance {
    /// Where it listens.
    pub peer: String,
    /// From 0 to 1.
    pub chance: f64,
}

/// What came from, and went to, one peer.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// Where it listens.
    pub peer: SocketAddr,
    /// The smallest round trip seen, milliseconds.
    pub latency_ms: Option<f64>,
    /// Requests that it was sent, in this run.
    pub asked: u64,
    /// Pieces that came from it, in this run.
    pub pieces: u64,
    /// Bytes that came from it, in this run.
    pub got: u64,
    /// Its part in all that came, from 0 to 1.
    pub share: f64,
    /// Bytes that went to it, in this run.
    pub gave: u64,
}

/// Something that a peer does or meets. In the log it is an object with `t`, the seconds since the start, `event`, and
/// these fields; sizes are bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs)] // the fields say what they are
pub enum Event {
    Listening {
        port: u16,
        dir: String,
        tracker: String,
    },
    Page {
        url: String,
    },
    TrackerUnreachable {
        at: String,
        why: String,
    },
    OriginalTracker,
    List {
        n_peers: usize,
        n_files: usize,
        original: bool,
    },
    FewPeers {
        n_peers: usize,
        waits_for: Option<usize>,
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
    Lost {
        peer: SocketAddr,
        why: String,
    },
    Pick {
        name: String,
        pieces: Vec<u32>,
        peer: String,
        latency_ms: Option<f64>,
        copies: Option<u32>,
        tied: usize,
        holders: Vec<Chance>,
        reason: &'static str,
        #[serde(skip)]
        classic: bool,
    },
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
        gave: u64,
        shares: Vec<Share>,
    },
    Given {
        name: String,
        size: u64,
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
    /// The decision behind a request. `at` gives a peer's address.
    pub(crate) fn pick(
        order: &Order,
        peer: String,
        latency_ms: Option<f64>,
        at: impl Fn(&PeerNo) -> String,
        classic: bool,
    ) -> Self {
        let (copies, tied, holders, reason) = match &order.why {
            Why::Rarest {
                copies,
                tied,
                holders,
            } => {
                let holders = holders.iter().map(|(peer, chance)| Chance {
                    peer: at(peer),
                    chance: *chance,
                });
                (Some(*copies), *tied, holders.collect(), "rarest")
            }
            Why::Late => (None, 1, Vec::new(), "late"),
            Why::News => (None, 0, Vec::new(), "news"),
        };
        let (name, pieces) = (order.get.name.to_string(), order.get.pieces.clone());
        Self::Pick {
            name,
            pieces,
            peer,
            latency_ms,
            copies,
            tied,
            holders,
            reason,
            classic,
        }
    }

    /// What is to be told of a piece that has just come; of each one only where that is wanted (`each`).
    pub(crate) fn landed(
        state: &State,
        peer: PeerNo,
        name: &Name,
        idx: u32,
        each: bool,
        classic: bool,
    ) -> Vec<Self> {
        let Some(held) = state.files.get(name) else {
            return Vec::new();
        };
        let (torrent, have, n_pieces) = (&held.torrent, held.have.count(), held.torrent.n_pieces());
        let peer = state.peers.get(&peer).map(|peer| peer.addr);
        let mut events = Vec::new();
        if each {
            events.push(Self::Piece {
                name: name.to_string(),
                idx,
                peer,
                have,
                n_pieces,
                classic,
            });
        }
        let tenth = |have: u32| u64::from(have) * 10 / u64::from(n_pieces.max(1));
        if tenth(have) > tenth(have.saturating_sub(1)) && have < n_pieces && n_pieces >= 20 {
            let seconds = held.since.elapsed().as_secs_f64().max(1e-3);
            let came = u64::from(have - held.had.min(have)) * torrent.full_piece_len() as u64;
            let bytes_a_second = (came as f64 / seconds) as u64;
            events.push(Self::Progress {
                name: name.to_string(),
                percent: tenth(have) * 10,
                bytes_a_second,
            });
        }
        events
    }

    /// The report on a file that is whole now.
    pub(crate) fn complete(state: &State, name: &Name, now: Instant) -> Option<Self> {
        let held = state.files.get(name)?;
        Some(Self::Complete {
            name: name.to_string(),
            size: held.torrent.size(),
            md5: held.torrent.md5().to_string(),
            seconds: now.saturating_duration_since(held.since).as_secs_f64(),
            here: held.had,
            n_pieces: held.torrent.n_pieces(),
            gave: held.gave(),
            shares: shares(state, held),
        })
    }

    /// The report on what went to others.
    pub(crate) fn given(state: &State, name: &Name) -> Option<Self> {
        let held = state.files.get(name)?;
        Some(Self::Given {
            name: name.to_string(),
            size: held.torrent.size(),
            gave: held.gave(),
            shares: shares(state, held),
        })
    }
}

/// What came from each peer, and went to it.
fn shares(state: &State, held: &Held) -> Vec<Share> {
    let all: u64 = held.exchanged.values().map(|with| with.got).sum();
    let share = |(no, with): (&PeerNo, &Exchanged)| {
        let peer = state.peers.get(no)?;
        Some(Share {
            peer: peer.addr,
            latency_ms: peer.latency.map(|latency| latency.as_secs_f64() * 1e3),
            asked: with.asked,
            pieces: with.pieces,
            got: with.got,
            share: with.got as f64 / all.max(1) as f64,
            gave: with.gave,
        })
    };
    held.exchanged.iter().filter_map(share).collect()
}

impl report::Event for Event {
    fn weight(&self) -> Weight {
        match self {
            Self::Pick { classic: true, .. } | Self::Piece { classic: true, .. } => Weight::Normal,
            Self::Pick { .. } | Self::Piece { .. } | Self::Gave { .. } => Weight::Detail,
            Self::Refused { .. }
            | Self::GivenUp { .. }
            | Self::Complete { .. }
            | Self::Unverified { .. } => Weight::Important,
            Self::Listening { .. }
            | Self::Page { .. }
            | Self::Disk { .. }
            | Self::Ending { .. }
            | Self::TrackerUnreachable { .. } => Weight::Important,
            _ => Weight::Normal,
        }
    }
}

/// Milliseconds, with more digits where there are fewer of them.
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
            Self::Listening { port, dir, tracker } => {
                writeln!(
                    f,
                    "listening on port {port}, folder {dir}, tracker {tracker}"
                )?;
                write!(
                    f,
                    "end it with Ctrl-C whenever you like: started again, it goes on from where it was"
                )
            }
            Self::Page { url } => write!(f, "page: {url}"),
            Self::TrackerUnreachable { at, why } => {
                writeln!(f, "no list from the tracker {at}: {why}")?;
                write!(
                    f,
                    "it is tried again at each ping; the swarm goes on meanwhile"
                )
            }
            Self::Waiting { why } => write!(f, "waiting: {why}"),
            Self::OriginalTracker => write!(
                f,
                "the tracker is an original: whole files only, and none of them verified"
            ),
            Self::List {
                n_peers,
                n_files,
                original: false,
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
                write!(f, "{name} changed or went away: it is shared no more")
            }
            Self::Published { name, md5 } => {
                write!(f, "the tracker has the .torrent of {name}, MD5 {md5}")
            }
            Self::Refused {
                name,
                md5,
                swarm: Some(swarm),
                ..
            } => {
                write!(
                    f,
                    "{name} isn't shared: here it has MD5 {md5}, in the swarm MD5 {swarm}; give one of the two another name"
                )
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
            Self::Lost { peer, why } => write!(f, "lost {peer}: {why}"),
            Self::Pick {
                name,
                pieces,
                peer,
                latency_ms,
                copies,
                tied,
                holders,
                reason,
                ..
            } => {
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
            } => write!(f, "{name}: {percent} %, {}/s", bytes(*bytes_a_second)),
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
                shares,
                ..
            } => {
                let came =
                    *size as f64 * f64::from(n_pieces - here) / f64::from((*n_pieces).max(1));
                let rate = bytes((came / seconds.max(1e-3)) as u64);
                let size = bytes(*size);
                writeln!(f, "complete: {name}, {size} in {seconds:.1} s ({rate}/s)")?;
                write!(f, "MD5 {md5} verified; serving on")?;
                if !shares.is_empty() {
                    write!(
                        f,
                        "\n{:21} {:>8} {:>5} {:>5} {:>10} {:>5} {:>10}",
                        "peer", "latency", "asked", "came", "in", "share", "out"
                    )?;
                }
                for share in shares {
                    let latency = share.latency_ms.map(millis).unwrap_or_default();
                    let (peer, percent) = (share.peer.to_string(), share.share * 100.0);
                    let (asked, pieces) = (share.asked, share.pieces);
                    let (got, gave) = (bytes(share.got), bytes(share.gave));
                    write!(
                        f,
                        "\n{peer:21} {latency:>8} {asked:>5} {pieces:>5} {got:>10} {percent:>3.0} % {gave:>10}"
                    )?;
                }
                Ok(())
            }
            Self::Given {
                name,
                size,
                gave,
                shares,
            } => {
                let peers = shares.iter().filter(|share| share.gave > 0).count();
                write!(
                    f,
                    "gave {} of {name} to {}: {:.2} times its size",
                    bytes(*gave),
                    plural(peers, "peer"),
                    *gave as f64 / (*size).max(1) as f64
                )
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
                write!(f, "all {most} connections are in use: the next ones wait")
            }
            Self::Ending { code: 0, .. } => write!(f, "everything wanted is here and verified"),
            Self::Ending { why, .. } => write!(f, "{}", why.join("\n")),
        }
    }
}
