//! Takes the reports of how far machines are, and hands out what is known of all.

use std::time::Instant;

use super::TrackerShared;
use super::replies::{self, TrackerReply};
use crate::protocol::{MachineReport, SwarmStatus, VERSION};
use crate::roster::{Endpoints, TrackerRefusal};

/// The most published files that are told, the largest.
const FILES: usize = 20;

impl TrackerShared {
    /// Takes a report. It is no sign of life: only pings and lists are.
    pub(super) fn handle_report(
        &self,
        from: Endpoints,
        report: MachineReport,
    ) -> Result<TrackerReply<'_>, TrackerRefusal> {
        if report.port == 0 {
            return Err(TrackerRefusal::PortZero);
        }
        let addr = from.addr_of(report.port, Some(VERSION));
        self.machines.note(addr, report, Instant::now());
        Ok(replies::done().into())
    }

    /// Tells how far everybody is.
    pub(super) fn handle_status(&self) -> Result<TrackerReply<'_>, TrackerRefusal> {
        let bytes = replies::status(self.status());
        let permit = self.permit_for(bytes.len())?;
        Ok(TrackerReply {
            bytes,
            _permit: permit,
        })
    }

    /// Returns what is published, and how far each machine is.
    pub(super) fn status(&self) -> SwarmStatus {
        let roster = self.lock();
        let files = roster.overview(0, FILES).files;
        let machines = self
            .machines
            .all(Instant::now(), |addr| roster.is_here(addr));
        drop(roster);
        let mut files: Vec<_> = files.iter().map(|file| (**file).clone()).collect();
        files.iter_mut().for_each(|file| file.others.clear());
        SwarmStatus { files, machines }
    }
}
