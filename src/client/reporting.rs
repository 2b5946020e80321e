//! Tells the tracker how far this peer is, and how fast, for people who watch: every few seconds while something moves.

use std::time::{Duration, Instant};

use super::Client;
use crate::cli::Exit;
use crate::md5::digest;
use crate::net::addresses::host_name;
use crate::protocol::{MachineReport, RunEnd, ToTracker};
use crate::state::{TrackerKind, note_own_limit};

/// The time between two reports while something moves: those who watch ask every 2 s, and are to be 5 s behind at most.
const REPORT_EVERY: Duration = Duration::from_secs(3);
/// The time between two looks at what comes from whom.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// The time between two reports while nothing changes.
const SAME_AGAIN: Duration = Duration::from_secs(15);

/// What was reported last, and when; and when it was last tried, and how long the disk had been written to by then.
#[derive(Default)]
pub(super) struct LastReport {
    sent: Option<(Instant, MachineReport)>,
    tried: Option<(Instant, Duration)>,
}

impl Client {
    /// Every second, looks at what comes from whom; and every few seconds, reports how far this peer is, unless that is
    /// known.
    pub(super) fn report_progress(&self, last: &mut LastReport) {
        let now = Instant::now();
        self.lock().sample_paces(now);
        let is_due = |(at, _): (Instant, Duration)| {
            now.saturating_duration_since(at) + SAMPLE_EVERY / 2 >= REPORT_EVERY
        };
        if !last.tried.is_none_or(is_due) {
            return;
        }
        let written = self.0.store.time_written();
        let (at, before) = last.tried.replace((now, written)).unwrap_or((now, written));
        let time = now.saturating_duration_since(at).as_secs_f64();
        let disk = (written - before).as_secs_f64() / time.max(1e-3);
        let report = self.machine_report(disk, None);
        let is_known = last
            .sent
            .as_ref()
            .is_some_and(|(at, known)| *known == report && at.elapsed() < SAME_AGAIN);
        if !is_known && self.send_report(&report) {
            last.sent = Some((Instant::now(), report));
        }
    }

    /// Reports how this run ends, so that a machine that leaves at once is remembered as it was.
    pub(super) fn report_end(&self, exit: Exit, why: &[String]) {
        let (code, why) = (exit as u8, why.join("; "));
        self.send_report(&self.machine_report(0.0, Some(RunEnd { code, why })));
    }

    fn machine_report(&self, disk: f64, ended: Option<RunEnd>) -> MachineReport {
        let (min_peers, now) = (self.0.config.min_peers, Instant::now());
        let mut files = self.lock().file_reports(min_peers, disk, now);
        if let Some(most) = self.0.config.max_down {
            note_own_limit(&mut files, most);
        }
        MachineReport {
            port: self.0.port,
            host: host_name(),
            folder: Some(digest(self.0.publisher_key.as_bytes())),
            files,
            ended,
        }
    }

    /// Sends a report to a tracker of ours, and takes its answer: how fast the others are. Returns true if it took it; if it
    /// doesn't, nobody is told: only people who watch miss it.
    fn send_report(&self, report: &MachineReport) -> bool {
        let ours = matches!(self.lock().tracker(), TrackerKind::Ours { .. });
        if !ours {
            return false;
        }
        match self.tell_tracker(&ToTracker::Report(report.clone())) {
            Ok(reply) => {
                if let Some(pace) = reply.pace {
                    self.lock().note_pace(&report.files, pace);
                }
                true
            }
            Err(_) => false,
        }
    }
}
