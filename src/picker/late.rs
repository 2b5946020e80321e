//! A late piece is requested again, from another holder; and a peer that has nothing new is asked for news.

use std::time::{Duration, Instant};

use super::{Claim, Decision, PeerId, Picker, WantedFile, Why};
use crate::torrent::Name;

/// How long a holder may delay its answer if it has nothing that is missing here. This bounds how late a connection
/// learns that it may ask again.
const POLL: Duration = Duration::from_secs(1);
/// The usual time of a piece, before the first one has come.
pub(super) const USUAL: Duration = Duration::from_secs(5);
/// The shortest time after which a piece counts as late: below it, the thread may just not have been scheduled.
const SHORTEST: Duration = Duration::from_millis(50);
/// From another subnet, a late piece is requested after this many times as long: it would cross the trunk twice (traffic 1.2
/// instead of 1.3 times the file).
const ELSEWHERE: u32 = 4;
/// Added so that a due time has passed.
const TICK: Duration = Duration::from_millis(1);

impl Picker {
    /// Decides for each peer without an open request: it is asked for a late piece, or else for news.
    pub(super) fn late_and_news(&mut self, now: Instant) -> Vec<Decision> {
        let peers: Vec<PeerId> = self.links.keys().copied().collect();
        let asked = peers.into_iter();
        let asked = asked.filter_map(|peer| self.late(peer, now).or_else(|| self.news(peer, now)));
        asked.collect()
    }

    /// Requests a piece once more that was requested from others and should have come by now.
    pub(super) fn late(&mut self, peer: PeerId, now: Instant) -> Option<Decision> {
        let link = self
            .links
            .get(&peer)
            .filter(|link| link.open.is_some() && link.asked.is_empty())?;
        let has = |(_, name, idx): &(Instant, &Name, u32)| {
            let has = link.has.get(*name);
            has.is_some_and(|has| has.get(*idx))
        };
        let due = self.due(peer).filter(has);
        let (_, name, idx) = due.min().filter(|(at, ..)| *at < now)?;
        let name = name.clone();
        Some(self.ask(peer, name, vec![idx], now, Duration::ZERO, Why::Late))
    }

    /// Returns when each piece that was requested and hasn't come will be late for `peer`, which isn't asked for anything. With
    /// each further request it is waited for twice as long, so that a silent holder holds up nothing, and a network that is merely
    /// slow isn't flooded.
    fn due(&self, peer: PeerId) -> impl Iterator<Item = (Instant, &Name, u32)> {
        let late = match self.links[&peer].is_elsewhere() {
            true => self.late_after() * ELSEWHERE,
            false => self.late_after(),
        };
        self.files.iter().flat_map(move |(name, file)| {
            file.claims.iter().filter_map(move |(idx, claims)| {
                if claims.iter().any(|claim| claim.came) {
                    return None;
                }
                let turn = |claim: &Claim| self.links[&claim.peer].turn(claim.since);
                let last = claims.iter().map(turn).max()?;
                let times = 1 << (claims.len() - 1).min(8);
                Some((last + late * times, name, *idx))
            })
        })
    }

    /// Returns the time after which a piece is late. As long as others can be asked for, a slow holder holds up nothing, and
    /// what comes twice takes the place of another piece; the last ones hold up everything.
    fn late_after(&self) -> Duration {
        let usual = self.usual.unwrap_or(USUAL);
        let is_endgame = !self.files.values().any(WantedFile::has_more);
        let late = if is_endgame { usual * 3 / 2 } else { usual * 4 };
        late.max(SHORTEST)
    }

    fn news(&mut self, peer: PeerId, now: Instant) -> Option<Decision> {
        let link = self.links.get(&peer)?;
        if link.open.is_none_or(|route| route.one_at_a_time) || !link.asked.is_empty() {
            return None;
        }
        let name = self.files.keys().next()?.clone();
        // the answer must be back in time to take over a piece that will be late, even one that is only requested by then
        let due = self.due(peer).map(|(at, ..)| at);
        let next = due.filter(|at| *at >= now).min();
        let wait = next.map_or(POLL, |at| at - now + TICK);
        let wait = wait.min(self.late_after()).min(POLL);
        Some(self.ask(peer, name, Vec::new(), now, wait, Why::News))
    }
}

impl WantedFile {
    /// Whether there is a piece that somebody has and nobody was asked for.
    fn has_more(&self) -> bool {
        self.open.iter().any(|idx| self.copies[idx as usize] > 0)
    }
}
