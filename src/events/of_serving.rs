//! The lines about serving others, the system, and the end.

use std::fmt;

use super::Event;
use super::shares::table;
use crate::units::{bytes, plural};

impl Event {
    /// What is said of serving others, of the disk, and at the end.
    pub(super) fn fmt_of_serving(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
            _ => Ok(()),
        }
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
