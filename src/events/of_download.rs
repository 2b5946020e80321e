//! The lines about downloads: who is connected, what is asked of whom, and what comes.

use std::fmt;
use std::net::SocketAddr;

use super::shares::table;
use super::{Event, SMALL, SOON, millis};
use crate::bound::BoundTerm;
use crate::state::Choice;
use crate::units::{bytes, duration, plural};

/// Names the peer that something came from.
fn whom(peer: Option<SocketAddr>) -> String {
    peer.map_or("a peer that left".to_owned(), |peer| peer.to_string())
}

impl Event {
    /// What is said of the peers that are taken from.
    pub(super) fn fmt_of_peers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { peer, latency_ms } => {
                write!(f, "connected to {peer}, latency {}", millis(*latency_ms))
            }
            Self::NotReached { peer, cause } => write!(f, "can't reach {peer}: {cause}"),
            Self::Lost { peer, cause } => write!(f, "lost {peer}: {cause}"),
            Self::NotTwiceTheSame { name, why } => write!(f, "{name} isn't taken yet: {why}"),
            _ => Ok(()),
        }
    }

    /// What is said of single pieces.
    pub(super) fn fmt_of_pieces(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pick(choice) => fmt_choice(choice, f),
            Self::Piece {
                name,
                idx,
                peer,
                have,
                n_pieces,
                ..
            } => {
                let peer = whom(*peer);
                write!(
                    f,
                    "piece {idx} of {name} from {peer}, checked; {have} of {n_pieces} are here"
                )
            }
            Self::BadPiece {
                name,
                idx,
                why,
                peer,
            } => {
                let peer = whom(*peer);
                write!(
                    f,
                    "piece {idx} of {name} from {peer} is wrong: {why}; it is taken from elsewhere"
                )
            }
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
            _ => Ok(()),
        }
    }

    /// What is said of a file on its way.
    pub(super) fn fmt_of_download(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { name, cause, .. } => write!(f, "{name} waits: {cause}"),
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
            Self::Head {
                name,
                size,
                of,
                here,
                ..
            } => {
                let (size, of) = (bytes(*size), bytes(*of));
                match here {
                    Some(_) => write!(f, "fetching {name} while it is hashed: {size} of {of}"),
                    None => write!(f, "{name}: others can fetch {size} of {of} already"),
                }
            }
            Self::GivenUp { name, why } => write!(f, "{name} is given up: {why}"),
            Self::Complete { .. } => self.fmt_complete(f),
            Self::Unverified { name, size, md5 } => {
                write!(
                    f,
                    "{name} came twice the same, {}, MD5 {md5}: unverified, as originals know no MD5; it isn't published",
                    bytes(*size)
                )
            }
            _ => Ok(()),
        }
    }

    fn fmt_complete(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Complete {
            name,
            size,
            md5,
            seconds,
            here,
            n_pieces,
            reused,
            shares,
            held_up,
            of_bound,
            ..
        } = self
        else {
            return Ok(());
        };

        let came = *size as f64 * f64::from(n_pieces - here) / f64::from((*n_pieces).max(1));
        let rate = bytes((came / seconds.max(1e-3)) as u64);
        let size_text = bytes(*size);
        if *size < SMALL && *seconds < SOON {
            return write!(f, "complete: {name}, {size_text}, MD5 verified");
        }
        writeln!(
            f,
            "complete: {name}, {size_text} in {seconds:.1} s ({rate}/s)"
        )?;
        if *reused > 0 {
            writeln!(
                f,
                "{} of it copied from files that were here",
                bytes(*reused)
            )?;
        }
        if let Some(term) = held_up {
            let what = match term {
                BoundTerm::MissingPiece => "a piece that nobody had",
                BoundTerm::Disk => "the disk here",
                BoundTerm::SeedUplink => "the seed's uplink",
                BoundTerm::Downlink => "the downlink here",
                BoundTerm::AllUplinks => "all uplinks together",
            };
            write!(f, "held up by {what}")?;
            if let Some(share) = of_bound {
                let times = 1.0 / share;
                write!(
                    f,
                    "; {times:.2} times Kurose and Ross's bound for the rates that were seen"
                )?;
            }
            writeln!(f)?;
        }
        write!(f, "MD5 {md5} verified; serving on")?;
        table(shares, f)
    }
}

/// Says what is asked of whom, and why.
fn fmt_choice(choice: &Choice, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Choice {
        name,
        pieces,
        peer,
        latency_ms,
        copies,
        tied,
        holders,
        reason,
        ..
    } = choice;

    let shown: Vec<String> = pieces.iter().map(u32::to_string).collect();
    write!(f, "pick {name} piece {} from {peer}", shown.join(" or "))?;
    match copies {
        Some(1) => write!(f, ": the rarest, 1 copy")?,
        Some(copies) => write!(f, ": the rarest, {copies} copies")?,
        None => write!(f, ": {reason}, asked for once more")?,
    }
    if *tied > 1 {
        write!(f, ", {tied} equally rare")?;
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
