//! A set of blocks of one piece: up to sixteen.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::BLOCKS_A_PIECE;

/// Some of a piece's blocks, counted from 0. On the wire it is a number: block 0 is its lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSet(u16);

impl BlockSet {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Adds a block.
    pub fn insert(&mut self, block: usize) {
        debug_assert!(block < BLOCKS_A_PIECE);
        self.0 |= 1 << block;
    }

    /// Returns true if this block is in the set.
    pub fn contains(self, block: usize) -> bool {
        block < BLOCKS_A_PIECE && self.0 >> block & 1 == 1
    }

    /// Returns true if no block is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the blocks of either set.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the blocks that are in this set and not in the other.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the first `n_blocks` blocks that aren't in the set.
    pub fn missing_of(self, n_blocks: usize) -> Self {
        let all = ((1_u32 << n_blocks.min(BLOCKS_A_PIECE)) - 1) as u16;
        Self(all & !self.0)
    }

    /// Returns the runs of consecutive blocks in the set, in order.
    pub fn runs(self) -> impl Iterator<Item = Range<usize>> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = (from..BLOCKS_A_PIECE).find(|block| self.contains(*block))?;
            let end = (start..BLOCKS_A_PIECE).find(|block| !self.contains(*block));
            from = end.unwrap_or(BLOCKS_A_PIECE);
            Some(start..from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_the_set_and_nothing_else() {
        for bits in [0, 1, 0x8000, 0xffff, 0b0110_1001, 0x7ffe, 0xaaaa] {
            let set = BlockSet(bits);
            let covered: Vec<usize> = set.runs().flatten().collect();
            let expected: Vec<usize> = (0..16).filter(|block| bits >> block & 1 == 1).collect();
            assert_eq!(covered, expected, "{bits:b}");
            let runs: Vec<_> = set.runs().collect();
            assert!(runs.windows(2).all(|two| two[0].end < two[1].start));
        }
    }

    #[test]
    fn what_is_missing_is_of_the_pieces_own_blocks() {
        let mut here = BlockSet::NONE;
        here.insert(1);
        assert_eq!(here.missing_of(4), BlockSet(0b1101));
        assert_eq!(here.missing_of(16), BlockSet(0xfffd));
        assert_eq!(here.missing_of(0), BlockSet::NONE);
    }
}
