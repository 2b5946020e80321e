//! How many peers have each piece of a file, and so which pieces are rare. Pure.

use crate::bitfield::Bitfield;

/// How many peers have each piece of a file in several pieces. A file in one piece has no counts.
#[derive(Default)]
pub(super) struct PieceCounts(Vec<u32>);

impl PieceCounts {
    /// Nobody has any piece yet.
    pub(super) fn new(n_pieces: u32) -> Self {
        Self(vec![0; n_pieces as usize])
    }

    pub(super) fn n_pieces(&self) -> u32 {
        self.0.len() as u32
    }

    /// How many peers have this piece.
    #[cfg(test)]
    pub(super) fn of(&self, idx: u32) -> u32 {
        self.0[idx as usize]
    }

    /// A peer has `new` where it had `old` before.
    pub(super) fn replace(&mut self, old: Option<&Bitfield>, new: Option<&Bitfield>) {
        for idx in new.into_iter().flat_map(Bitfield::iter) {
            self.0[idx as usize] += 1;
        }
        for idx in old.into_iter().flat_map(Bitfield::iter) {
            self.0[idx as usize] -= 1;
        }
    }

    /// Returns true if one of these pieces is as rare as any piece that somebody has.
    pub(super) fn are_rarest(&self, pieces: &Bitfield) -> bool {
        let least = self.0.iter().filter(|count| **count > 0).min();
        least.is_some_and(|least| pieces.iter().any(|idx| self.0[idx as usize] == *least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_the_rarest_follow_what_is_replaced() {
        let bits = |hex| Bitfield::from_hex(hex, 9).expect("digits");
        let all = |counts: &PieceCounts| (0..9).map(|idx| counts.of(idx)).collect::<Vec<_>>();
        let mut counts = PieceCounts::new(9);
        assert!(!counts.are_rarest(&bits("8000")), "nobody has any");
        for hex in ["f000", "c000", "8000"] {
            counts.replace(None, Some(&bits(hex)));
        }
        assert_eq!(all(&counts), [3, 2, 1, 1, 0, 0, 0, 0, 0]);
        assert!(counts.are_rarest(&bits("3000")) && !counts.are_rarest(&bits("c000")));
        counts.replace(Some(&bits("8000")), Some(&bits("b000")));
        assert_eq!(all(&counts), [3, 2, 2, 2, 0, 0, 0, 0, 0]);
        assert!(counts.are_rarest(&bits("c000")) && !counts.are_rarest(&bits("8000")));
        counts.replace(None, Some(&Bitfield::full(9)));
        assert_eq!(all(&counts), [4, 3, 3, 3, 1, 1, 1, 1, 1]);
        counts.replace(Some(&Bitfield::full(9)), None);
        counts.replace(Some(&bits("b000")), None);
        assert_eq!(all(&counts), [2, 2, 1, 1, 0, 0, 0, 0, 0]);
    }
}
