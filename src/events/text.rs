//! The line of each event, for people.

use std::fmt;
use std::net::SocketAddr;

use super::shares::table;
use super::{Event, SMALL, SOON, millis};
use crate::bound::BoundTerm;
use crate::causes::Waits;
use crate::state::Choice;
use crate::torrent::Name;
use crate::units::{bytes, duration, percent, plural};

impl fmt::Display for Event {
    // long, as it is the list of all lines
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // the start
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
            // the tracker and its lists
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

            // the folder, and what is shared of it
            Self::NotShared { name, why } => write!(f, "{name} isn't shared or fetched: {why}"),
            Self::Hashing { name, done, size } => {
                write!(
                    f,
                    "hashing {name}: {} %, {} of {}",
                    percent(*done, *size),
                    bytes(*done),
                    bytes(*size)
                )
            }
            Self::Checking { name, done, size } => {
                write!(
                    f,
                    "checking what is here of {name}: {} %",
                    percent(*done, *size)
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
            Self::Remark { what } => write!(f, "{what}"),
            Self::Reusing { name, done, size } => write!(
                f,
                "looking for what can be copied into {name}: {} %",
                percent(*done, *size)
            ),
            Self::Sharing { name, size, md5 } => {
                write!(f, "sharing {name}: {}, MD5 {md5}", bytes(*size))
            }
            Self::Published { name, md5 } => {
                write!(f, "the tracker has the .torrent of {name}, MD5 {md5}")
            }
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
            Self::Refused {
                name,
                md5,
                swarm: Some(swarm),
                why,
            } => {
                let (here, swarm) = (*md5, *swarm);
                let what = Waits::OtherContent { here, swarm };
                let before = if why.is_empty() { "" } else { "\n" };
                write!(f, "{name} isn't shared: {what}{before}{why}")
            }
            Self::Refused { name, why, .. } => {
                let said = why.clone();
                write!(f, "{name} isn't shared: {}", Waits::TrackerRefuses { said })
            }
            Self::NoTorrent { name, why } => {
                write!(f, "no .torrent of {name} from the tracker: {why}")
            }

            // what comes, and from whom
            Self::Connected { peer, latency_ms } => {
                write!(f, "connected to {peer}, latency {}", millis(*latency_ms))
            }
            Self::NotReached { peer, cause } => write!(f, "can't reach {peer}: {cause}"),
            Self::Lost { peer, cause } => write!(f, "lost {peer}: {cause}"),
            Self::NotTwiceTheSame { name, why } => write!(f, "{name} isn't taken yet: {why}"),
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

            // what is sent, the system and the end
            Self::Given { .. } => self.fmt_given(f),
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

impl Event {
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

    fn fmt_given(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Given {
            name,
            size,
            md5,
            lately,
            seconds,
            gave,
            shares,
            ..
        } = self
        else {
            return Ok(());
        };

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
}

/// Names the peer that something came from.
fn whom(peer: Option<SocketAddr>) -> String {
    peer.map_or("a peer that left".to_owned(), |peer| peer.to_string())
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

/// Says in a few words what a run is for.
fn purpose(dir: &str, only: &[Name], pick: bool) -> String {
    let names: Vec<String> = only.iter().map(Name::to_string).collect();
    match names.as_slice() {
        [] if pick => format!("serving {dir}, fetching what is picked"),
        [] => format!("serving {dir}, fetching all else"),
        names => format!("serving {dir}, fetching {}", names.join(", ")),
    }
}
