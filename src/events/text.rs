//! Each event as text for people, by what it is about.

use std::fmt;

use super::shares::table;
use super::{Event, millis, purpose};
use crate::report::{bytes, duration, plural};
use crate::state::Choice;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            Self::of_the_program,
            Self::of_the_tracker,
            Self::of_own_files,
            Self::of_downloads,
            Self::of_pieces,
            Self::of_uploads,
            Self::of_publications,
            Self::of_completions,
            Self::of_decisions,
        ];
        for text in texts {
            if text(self, f)? {
                break;
            }
        }
        Ok(())
    }
}

impl Event {
    /// Writes what is said of the program itself, its machine and its folder; returns false for other events.
    fn of_the_program(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
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
            Self::Remark { what } => write!(f, "{what}"),
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
            _ => return Ok(false),
        }?;
        Ok(true)
    }

    /// Writes what is said of what the tracker says; returns false for other events.
    fn of_the_tracker(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        match self {
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
            _ => return Ok(false),
        }?;
        Ok(true)
    }

    /// Writes what is said of the files in the folder; returns false for other events.
    fn of_own_files(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        match self {
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
            _ => return Ok(false),
        }?;
        Ok(true)
    }

    /// Writes what is said of what is on its way here; returns false for other events.
    fn of_downloads(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        match self {
            Self::Waiting { why } => write!(f, "waiting: {why}"),
            Self::Checking { name, done, size } => {
                write!(
                    f,
                    "checking what is here of {name}: {} %",
                    done * 100 / size.max(&1)
                )
            }
            Self::Reusing { name, done, size } => write!(
                f,
                "looking for what can be copied into {name}: {} %",
                done * 100 / size.max(&1)
            ),
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
            _ => return Ok(false),
        }?;
        Ok(true)
    }

    /// Writes what is said of other peers and single pieces; returns false for other events.
    fn of_pieces(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        match self {
            Self::Connected { peer, latency_ms } => {
                write!(f, "connected to {peer}, latency {}", millis(*latency_ms))
            }
            Self::NotReached { peer, why } => write!(f, "can't reach {peer}: {why}"),
            Self::Lost { peer, why } => write!(f, "lost {peer}: {why}"),
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
            _ => return Ok(false),
        }?;
        Ok(true)
    }

    /// Writes what is said of what is sent to others; returns false for other events.
    fn of_uploads(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        match self {
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
            _ => return Ok(false),
        }?;
        Ok(true)
    }

    /// Writes what is said of what is published; returns false for other events.
    fn of_publications(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        match self {
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
            _ => return Ok(false),
        }?;
        Ok(true)
    }

    /// Writes what is said of files that are whole; returns false for other events.
    fn of_completions(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        match self {
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
            Self::Unverified { name, size, md5 } => {
                write!(
                    f,
                    "{name} came twice the same, {}, MD5 {md5}: unverified, as originals know no MD5; it isn't published",
                    bytes(*size)
                )
            }
            Self::NotTwiceTheSame { name, why } => write!(f, "{name} isn't taken yet: {why}"),
            _ => return Ok(false),
        }?;
        Ok(true)
    }

    /// Writes what is said of why a piece is asked for; returns false for other events.
    fn of_decisions(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        match self {
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
            _ => return Ok(false),
        }?;
        Ok(true)
    }
}
