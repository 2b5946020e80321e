//! How much a peer is asked for at a time: who has a place free for another request, and how many pieces that names.

use super::{Link, NEAREST, PeerId, Picker};
use crate::torrent::Name;

/// Requests outstanding on a connection where there are few: one whose answer is on its way, and one behind it, so that the
/// holder never waits.
const DEPTH: usize = 2;
/// From so many connections on the others fill the pauses, and each has one request outstanding.
pub(super) const MANY: usize = 6;
/// A peer whose latency is so many times the nearest's has one request outstanding, not two.
const FAR: u32 = 8;

impl Picker {
    /// The peers that can be asked for another piece now.
    pub(super) fn peers_with_a_place_free(&self) -> Vec<PeerId> {
        let open = |link: &Link| link.open.map(|route| route.latency.max(NEAREST));
        let nearest = self.links.values().filter_map(open).min();
        let many = self.n_connections() >= MANY;
        let is_free = |link: &Link| {
            let Some(route) = link.open else { return false };
            let far = nearest.is_some_and(|nearest| route.latency > nearest * FAR);
            let one = many || far || !route.ours;
            link.asked.len() < if one { 1 } else { DEPTH }
        };
        let free = self.links.iter().filter(|(_, link)| is_free(link));
        free.map(|(peer, _)| *peer).collect()
    }

    /// The pieces that a request names beside the chosen one: its fair share of what nobody was asked for yet, as who claims
    /// more takes the choice from others. A piece that is here in part is asked for alone, block by block.
    pub(super) fn candidates(
        &self,
        name: &Name,
        piece: u32,
        ties: &[u32],
        most: usize,
    ) -> Vec<u32> {
        let file = &self.files[name];
        let share = file.open.count() as usize / self.n_connections().max(1);
        let in_part = |idx: &u32| file.missing_blocks.contains_key(idx);
        let mut pieces = vec![piece];
        if !in_part(&piece) {
            let others = ties.iter().filter(|idx| **idx != piece && !in_part(idx));
            pieces.extend(others);
        }
        pieces.truncate(share.clamp(1, most));
        pieces
    }
}
