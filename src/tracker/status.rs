//! Takes the reports of how far machines are, and hands out what is known of all.

use std::time::Instant;

use super::TrackerShared;
use super::replies::{self, TrackerReply};
use crate::protocol::{MachineReport, MachineStatus, SwarmStatus, VERSION};
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
        let now = Instant::now();
        let behind = report.files.iter().find(|file| !file.whole).cloned();
        self.machines.note(addr, report, now);
        let pace = behind.map(|file| self.machines.pace(&file, now));
        Ok(replies::pace(pace).into())
    }

    /// Tells how far everybody is.
    pub(super) fn handle_status(&self) -> Result<TrackerReply<'_>, TrackerRefusal> {
        let permit = self.permit_for(self.machines.len_hint())?;
        Ok(TrackerReply {
            bytes: replies::status(self.status()),
            _permit: permit,
        })
    }

    /// Returns what is published, and how far each machine is.
    pub(super) fn status(&self) -> SwarmStatus {
        let files = self.lock().overview(0, FILES).files;
        let machines = self.machine_statuses(usize::MAX);
        let mut files: Vec<_> = files.iter().map(|file| (**file).clone()).collect();
        files.iter_mut().for_each(|file| file.others.clear());
        SwarmStatus { files, machines }
    }

    /// Returns how far the machines are, at most so many of them.
    pub(super) fn machine_statuses(&self, most: usize) -> Vec<MachineStatus> {
        // there may be thousands, with their reports: these aren't copied under the roster's lock
        let mut all = self.machines.all(Instant::now(), most);
        let roster = self.lock();
        for (addr, machine) in &mut all {
            machine.here = machine.ended.is_none() && roster.is_here(*addr);
        }
        drop(roster);
        all.into_iter().map(|(_, machine)| machine).collect()
    }
}
