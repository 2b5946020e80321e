//! Takes the reports of how far machines are, and hands out what is known of all.

use std::sync::Arc;
use std::time::Instant;

use super::TrackerShared;
use super::replies::TrackerReply;
use crate::protocol::{
    FileReport, MachineReport, MachineStatus, Reply, Summary, SwarmStatus, VERSION,
};
use crate::roster::{Endpoints, SwarmOverview, TrackerRefusal};
use crate::torrent::Name;

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
        Ok(TrackerReply::from(Reply {
            pace,
            ..Reply::default()
        }))
    }

    /// Tells how far everybody is, above all with the file that is asked for.
    pub(super) fn handle_status(
        &self,
        only: Option<&Name>,
    ) -> Result<TrackerReply<'_>, TrackerRefusal> {
        let permit = self.permit_for(self.machines.len_hint())?;
        Ok(TrackerReply {
            _permit: permit,
            ..TrackerReply::from(Reply {
                status: Some(self.status(only)),
                ..Reply::default()
            })
        })
    }

    /// Returns what is published, and how far each machine is.
    fn status(&self, only: Option<&Name>) -> SwarmStatus {
        let roster = self.lock();
        let SwarmOverview {
            mut files, n_files, ..
        } = roster.overview(0, FILES);
        let asked = only.and_then(|name| roster.published(name));
        let changing = roster.changing(only);
        drop(roster);
        let is_told = |file: &Arc<Summary>| files.iter().any(|told| told.name == file.name);
        files.extend(asked.clone().filter(|file| !is_told(file)));
        let mut files: Vec<Summary> = files.iter().map(|file| (**file).clone()).collect();
        files.iter_mut().for_each(|file| file.others.clear());
        SwarmStatus {
            files,
            n_files,
            changing,
            machines: self.machine_statuses(usize::MAX, asked.as_deref()),
        }
    }

    /// Returns how far the machines are, for at most `most` of them. Reports may leave files out: for the file asked for, the
    /// peer's list counts, too.
    pub(super) fn machine_statuses(
        &self,
        most: usize,
        asked: Option<&Summary>,
    ) -> Vec<MachineStatus> {
        // there may be thousands, with their reports: these aren't copied under the roster's lock
        let mut all = self.machines.all(Instant::now(), most);
        let roster = self.lock();
        for (addr, folder, machine) in &mut all {
            machine.here = machine.ended.is_none() && roster.is_here(*addr);
            let is_told = |file: &&Summary| machine.files.iter().any(|it| it.name == file.name);
            let asked = asked.filter(|file| machine.here && !is_told(file));
            if let Some(file) = asked.filter(|file| roster.has_whole(*addr, file.name.as_str())) {
                machine.files.push(FileReport::of_whole(file));
                machine.still.push(0.0);
            }
            // its last report may be older than what it has published; and who was there then may be another machine
            for file in machine.files.iter_mut().filter(|file| file.whole) {
                let record = roster.published(&file.name);
                let record = record.filter(|record| Some(record.md5) == file.md5);
                let is_there = record.is_some_and(|record| record.publisher == machine.peer);
                file.mine |= is_there && roster.may_be_from(file.name.as_str(), *folder);
            }
        }
        drop(roster);
        all.into_iter().map(|(.., machine)| machine).collect()
    }
}
