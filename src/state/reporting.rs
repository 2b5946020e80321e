//! How far this peer is, as it is told to the tracker for people who watch. Pure: the time is a parameter.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Instant;

use super::{State, TrackerWord};
use crate::protocol::{FILES_REPORTED, FileReport};
use crate::torrent::Name;

impl State {
    /// Returns how far the files are that are here, on their way or wanted; of many, the largest.
    pub fn file_reports(&self, min_peers: usize, now: Instant) -> Vec<FileReport> {
        let here = self.files.keys().chain(self.standing.keys());
        let wanted = self.named().chain(&self.beginning);
        let names: BTreeSet<&Name> = here.chain(wanted).collect();
        let mut names: Vec<&Name> = names.into_iter().collect();
        if names.len() > FILES_REPORTED {
            names.sort_by_cached_key(|name| Reverse(self.size_of(name).unwrap_or(0)));
            names.truncate(FILES_REPORTED);
        }
        let report = |name: &Name| {
            let view = self.file_view(name, min_peers, now);
            let held = self.files.get(name);
            let whole = held.filter(|held| held.stamp.is_some());
            let size = view.size.unwrap_or(0);
            FileReport {
                name: name.clone(),
                md5: view.md5.and_then(|md5| md5.parse().ok()),
                size,
                here: if whole.is_some() { size } else { view.verified },
                whole: whole.is_some(),
                mine: held.is_some_and(|held| held.word == TrackerWord::Stands { mine: true }),
                speed: view.down,
                left: view.left,
                state: view.doing.to_string(),
            }
        };
        names.into_iter().map(report).collect()
    }
}
