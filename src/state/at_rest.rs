//! How things stand while no file is in work, for the one line that a terminal shows then.

use std::collections::BTreeSet;

use super::State;
use crate::causes::NoList;

/// How things stand while no file is in work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtRest {
    /// Whether a list ever came from the tracker.
    pub has_list: bool,
    /// Why none comes, if the last try failed.
    pub no_list: Option<NoList>,
    /// The whole files that others can have.
    pub n_served: usize,
    /// Bytes that were sent in this run.
    pub gave: u64,
    /// The number of peers that they were sent to.
    pub takers: usize,
    /// The other peers that are listed.
    pub n_peers: usize,
}

impl State {
    /// Returns how things stand.
    pub fn at_rest(&self) -> AtRest {
        let served = self.files.values();
        let served = served.filter(|held| held.stamp.is_some() && self.is_listed(held));
        let exchanged = self.files.values().flat_map(|held| &held.exchanged);
        let taken = exchanged.filter(|(_, with)| with.gave > 0);
        let takers: BTreeSet<_> = taken.clone().map(|(peer, _)| peer).collect();
        AtRest {
            has_list: self.last_answer.is_some(),
            no_list: self.no_list.clone(),
            n_served: served.count(),
            gave: taken.map(|(_, with)| with.gave).sum(),
            takers: takers.len(),
            n_peers: self.n_listed(),
        }
    }
}
