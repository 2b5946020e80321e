//! Tells the tracker how far this peer is, for people who watch: every few seconds while something moves.

use std::time::{Duration, Instant};

use super::Client;
use crate::cli::Exit;
use crate::net::addresses::host_name;
use crate::protocol::{MachineReport, RunEnd, ToTracker};
use crate::state::TrackerKind;

/// The time between two reports while something moves: those who watch ask every 2 s, and are to be 5 s behind at most.
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(3);
/// The time between two reports while nothing changes.
const SAME_AGAIN: Duration = Duration::from_secs(15);

/// What was reported last, and when.
pub(super) type LastReport = Option<(Instant, MachineReport)>;

impl Client {
    /// Reports how far this peer is, unless that is known.
    pub(super) fn report_progress(&self, last: &mut LastReport) {
        let report = self.machine_report(None);
        let is_known = last
            .as_ref()
            .is_some_and(|(at, known)| *known == report && at.elapsed() < SAME_AGAIN);
        if !is_known && self.send_report(&report) {
            *last = Some((Instant::now(), report));
        }
    }

    /// Reports how this run ends, so that a machine that leaves at once is remembered as it was.
    pub(super) fn report_end(&self, exit: Exit, why: &[String]) {
        let (code, why) = (exit as u8, why.join("; "));
        self.send_report(&self.machine_report(Some(RunEnd { code, why })));
    }

    fn machine_report(&self, ended: Option<RunEnd>) -> MachineReport {
        let min_peers = self.0.config.min_peers;
        MachineReport {
            port: self.0.port,
            host: host_name(),
            files: self.lock().file_reports(min_peers, Instant::now()),
            ended,
        }
    }

    /// Sends a report to a tracker of ours. Returns true if it took it; if it doesn't, nobody is told: only people who watch
    /// miss it.
    fn send_report(&self, report: &MachineReport) -> bool {
        let ours = matches!(self.lock().tracker(), TrackerKind::Ours { .. });
        ours && self
            .tell_tracker(&ToTracker::Report(report.clone()))
            .is_ok()
    }
}
