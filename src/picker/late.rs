//! What should have come by now is asked for again, of another holder; and who has nothing new is asked for news.

use std::time::{Duration, Instant};

use super::{Claim, Decision, PeerId, Picker, Why};
use crate::torrent::Name;

/// How long a holder may hold back its answer where it has nothing that is missing here: it bounds how late a connection
/// learns that it may ask again.
const POLL: Duration = Duration::from_secs(1);
/// The usual time of a piece before one has come.
pub(super) const USUAL: Duration = Duration::from_secs(5);
/// The shortest time after which a piece counts as late: below it, the thread was just not scheduled.
const SHORTEST: Duration = Duration::from_millis(50);
/// Added so that a due time has passed.
const TICK: Duration = Duration::from_millis(1);

impl Picker {
    /// For each peer that wasn't asked for anything: what is late, or else a request for news.
    pub(super) fn late_and_news(&mut self, now: Instant) -> Vec<Decision> {
        let peers: Vec<PeerId> = self.links.keys().copied().collect();
        let asked = peers.into_iter();
        let asked = asked.filter_map(|peer| self.late(peer, now).or_else(|| self.news(peer, now)));
        asked.collect()
    }

    /// A piece that has been asked for of others, and should have come: asked for once more.
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

    /// When each piece that was asked for of others than `peer` will be late: each time it is asked for, it is waited for
    /// twice as long, so that a silent holder holds up nothing, and a network that is only slow isn't flooded.
    fn due(&self, peer: PeerId) -> impl Iterator<Item = (Instant, &Name, u32)> {
        let late = self.late_after();
        self.files.iter().flat_map(move |(name, file)| {
            file.claims.iter().filter_map(move |(idx, claims)| {
                if claims.iter().any(|claim| claim.came || claim.peer == peer) {
                    return None;
                }
                let turn = |claim: &Claim| self.links[&claim.peer].turn(claim.since);
                let last = claims.iter().map(turn).max()?;
                let times = 1 << (claims.len() - 1).min(8);
                Some((last + late * times, name, *idx))
            })
        })
    }

    /// After this time a piece is late.
    fn late_after(&self) -> Duration {
        (self.usual.unwrap_or(USUAL) * 2).max(SHORTEST)
    }

    fn news(&mut self, peer: PeerId, now: Instant) -> Option<Decision> {
        let link = self.links.get(&peer)?;
        if !link.open.is_some_and(|way| way.ours) || !link.asked.is_empty() {
            return None;
        }
        let name = self.files.keys().next()?.clone();
        // back in time to take over what will be late, be it asked for by then only
        let due = self.due(peer).map(|(at, ..)| at);
        let next = due.filter(|at| *at >= now).min();
        let wait = next.map_or(POLL, |at| at - now + TICK);
        let wait = wait.min(self.late_after()).min(POLL);
        Some(self.ask(peer, name, Vec::new(), now, wait, Why::News))
    }
}
