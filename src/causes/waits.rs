//! Why a file doesn't come, or isn't shared.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use super::{Lost, NoList};
use crate::cli::pin_flags;
use crate::md5::Digest;
use crate::torrent::Name;
use crate::units::plural;

/// Why a file doesn't come, or isn't shared. The texts call it "it": what stands before them names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Waits {
    /// No list has come so far, so nobody is known.
    NoTracker {
        /// Why not, once a try has failed.
        no_list: Option<NoList>,
    },
    /// The tracker's last list doesn't have it, and no further list comes.
    TrackerGone {
        /// Why not.
        no_list: NoList,
    },
    /// The tracker doesn't list it.
    NotListed {
        /// A listed name that is nearly the same.
        near: Option<String>,
    },
    /// Another peer is hashing it.
    HashedElsewhere {
        /// Where that peer listens.
        by: String,
        /// How far it is.
        percent: u64,
    },
    /// The swarm's content isn't the one of `--md5`.
    OtherThanPinned {
        /// The swarm's content.
        swarm: Digest,
        /// Who published that.
        publisher: String,
    },
    /// An earlier run received it, and its publisher isn't here.
    Unconfirmed {
        /// The file.
        name: Name,
        /// Its content.
        md5: Digest,
    },
    /// The file here has another content than the swarm's.
    OtherContent {
        /// Its content.
        here: Digest,
        /// The swarm's.
        swarm: Digest,
    },
    /// Whatever came of a piece was wrong.
    NoGoodCopy {
        /// Which piece.
        idx: u32,
        /// Who sent it.
        tried: Vec<SocketAddr>,
    },
    /// Nobody is here who has any of it, and nobody was in this run.
    NoSource {
        /// How many pieces are missing.
        n_missing: usize,
    },
    /// Whoever sent some of it has left.
    SourcesGone {
        /// How many pieces are missing.
        n_missing: usize,
        /// Who sent most of it.
        most_from: SocketAddr,
    },
    /// Others are here who have some of it, and none of these pieces.
    Nowhere {
        /// How many pieces nobody has.
        n: usize,
        /// The first of them.
        first: Vec<u32>,
        /// Whether only some of the other peers are known here.
        of_sample: bool,
    },
    /// Others have what is missing, and no connection to them is open so far.
    NotConnected {
        /// How many they are.
        n_holders: usize,
    },
    /// Others have what is missing, and none of them can be taken from.
    SourcesFail {
        /// How many they are.
        n_holders: usize,
        /// One of them.
        peer: SocketAddr,
        /// What is wrong with that one.
        lost: Lost,
    },
    /// Too few other peers are listed.
    FewPeers {
        /// How many are.
        listed: usize,
        /// How many `--min-peers` asks for.
        least: usize,
    },
    /// The disk is full, or refuses.
    Disk {
        /// What is wrong with it.
        said: String,
    },
    /// It can't be read or begun.
    InTheWay {
        /// What is in its way.
        said: String,
    },
    /// The tracker doesn't take it.
    TrackerRefuses {
        /// What the tracker says.
        said: String,
    },
}

impl Waits {
    /// Returns true if both are the same situation, whatever their details.
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Says which pieces are meant: the first of them, with a sign if there are more.
fn some_of(first: &[u32], n: usize) -> String {
    let named: Vec<String> = first.iter().map(u32::to_string).collect();
    let more = if n > first.len() { ", …" } else { "" };
    format!("{}{more}", named.join(", "))
}

/// Says that pieces are missing.
fn missing(n: usize) -> String {
    let verb = if n == 1 { "is" } else { "are" };
    format!("{} {verb} missing", plural(n, "piece"))
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTracker { no_list: None } => write!(f, "for the tracker's first answer"),
            Self::NoTracker {
                no_list: Some(no_list),
            } => write!(f, "no list from the tracker so far: {no_list}"),
            Self::TrackerGone { no_list } => {
                write!(
                    f,
                    "the tracker's last list didn't have it; no list now: {no_list}"
                )
            }
            Self::NotListed { near: None } => write!(f, "nobody lists it"),
            Self::NotListed { near: Some(near) } => {
                write!(f, "nobody lists it: did you mean {near}?")
            }
            Self::HashedElsewhere { by, percent } => write!(f, "{by} is hashing it, {percent} %"),
            Self::OtherThanPinned { swarm, publisher } => write!(
                f,
                "the swarm's has MD5 {swarm}, published by {publisher}; --md5 asks for another, which nobody publishes"
            ),
            Self::Unconfirmed { name, md5 } => write!(
                f,
                "it is here with MD5 {md5}, but the machine that published it isn't here, and may have a newer version; \
                 to take this one as it is, name it with {}",
                pin_flags(name.as_str(), &md5.to_string())
            ),
            Self::OtherContent { here, swarm } => {
                write!(f, "here it has MD5 {here}, in the swarm MD5 {swarm}")
            }
            Self::FewPeers { listed, least } => {
                write!(f, "{listed} of {least} peers (--min-peers)")
            }
            Self::Disk { said } | Self::InTheWay { said } => write!(f, "{said}"),
            Self::TrackerRefuses { said } => write!(f, "the tracker doesn't take it: {said}"),
            Self::NoGoodCopy { idx, tried } => {
                let tried: Vec<String> = tried.iter().map(ToString::to_string).collect();
                let tried = tried.join(", ");
                write!(f, "nobody has a correct copy of piece {idx}; tried {tried}")
            }
            Self::NoSource { n_missing } => write!(
                f,
                "nobody is here who has any of it, and {}: start a peer that has it",
                missing(*n_missing)
            ),
            Self::SourcesGone {
                n_missing,
                most_from,
            } => write!(
                f,
                "whoever had it has left, and {}: start one of them again, such as {most_from}",
                missing(*n_missing)
            ),
            Self::Nowhere {
                n,
                first,
                of_sample,
            } => {
                let nobody = if *of_sample {
                    "nobody known here"
                } else {
                    "nobody"
                };
                let first = some_of(first, *n);
                write!(f, "{nobody} has {n} of the missing pieces ({first})")
            }
            Self::NotConnected { n_holders } => {
                let holders = plural(*n_holders, "peer");
                write!(f, "no connection so far to the {holders} with pieces of it")
            }
            Self::SourcesFail {
                n_holders,
                peer,
                lost,
            } => {
                let holders = plural(*n_holders, "peer");
                write!(
                    f,
                    "the {holders} with pieces of it can't be taken from; {peer}: {lost}"
                )
            }
        }
    }
}
