//! How many have each piece of a file, and so which are rare. Pure.

use std::sync::OnceLock;

use crate::bitfield::Bitfield;

/// How many have each piece of a file in several; of no pieces for another file.
#[derive(Default)]
pub(super) struct Counts {
    of: Vec<u32>,
    /// The pieces that somebody has, the rarest first: sorted by the first who asks, without a lock, until a count changes.
    rarest: OnceLock<Vec<u32>>,
}

impl Clone for Counts {
    /// To be changed: the order isn't taken along.
    fn clone(&self) -> Self {
        let of = self.of.clone();
        Self {
            of,
            ..Self::default()
        }
    }
}

impl Counts {
    /// Nobody has any of so many pieces.
    pub(super) fn new(n_pieces: u32) -> Self {
        let of = vec![0; n_pieces as usize];
        Self {
            of,
            ..Self::default()
        }
    }

    pub(super) fn n_pieces(&self) -> u32 {
        self.of.len() as u32
    }

    /// How many have this piece.
    pub(super) fn of(&self, idx: u32) -> u32 {
        self.of[idx as usize]
    }

    /// Somebody has `new` in the place of `old`.
    pub(super) fn replace(&mut self, old: Option<&Bitfield>, new: Option<&Bitfield>) {
        self.add(new, old, 1);
        self.add(old, new, -1);
        self.rarest.take();
    }

    /// Counts `change` more of what is in one set and not in the other.
    fn add(&mut self, of: Option<&Bitfield>, beside: Option<&Bitfield>, change: i32) {
        let add = |count: &mut u32| *count = count.wrapping_add_signed(change);
        let counts = &mut self.of;
        match (of, beside) {
            (None, _) => {}
            // a whole file is the usual case, and counted in vectors
            (Some(of), None) if of.is_full() => counts.iter_mut().for_each(add),
            (Some(of), None) => of.iter().for_each(|idx| add(&mut counts[idx as usize])),
            (Some(of), Some(beside)) => {
                let more = of.minus(beside);
                more.for_each(|idx| add(&mut counts[idx as usize]));
            }
        }
    }

    /// Whether one of these pieces is as rare as any that somebody has.
    pub(super) fn are_rarest(&self, pieces: &Bitfield) -> bool {
        let least = self.of.iter().filter(|count| **count > 0).min();
        least.is_some_and(|least| pieces.iter().any(|idx| self.of(idx) == *least))
    }

    /// The pieces that somebody has, the rarest first; those that are equally rare begin with another by each `turn`.
    pub(super) fn rarest_first(&self, turn: usize) -> impl Iterator<Item = u32> {
        let rarest = self.rarest.get_or_init(|| {
            let key = |(idx, count): (usize, &u32)| u64::from(*count) << 32 | idx as u64;
            let had = self.of.iter().enumerate().filter(|(_, count)| **count > 0);
            let mut keys: Vec<u64> = had.map(key).collect();
            keys.sort_unstable();
            keys.into_iter().map(|key| key as u32).collect()
        });
        let ties = rarest.chunk_by(|one, next| self.of(*one) == self.of(*next));
        ties.flat_map(move |tie| turned(tie, turn)).copied()
    }
}

/// All of them, from one of them on.
fn turned<T>(all: &[T], from: usize) -> impl Iterator<Item = &T> {
    let (last, first) = all.split_at(from % all.len().max(1));
    first.iter().chain(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rarest_come_first_and_ties_by_turns_as_counts_change() {
        let bits = |hex| Bitfield::from_hex(hex, 9).expect("digits");
        let order = |counts: &Counts, turn| counts.rarest_first(turn).collect::<Vec<_>>();
        let mut counts = Counts::new(9);
        assert!(order(&counts, 1).is_empty() && !counts.are_rarest(&bits("8000")));
        for hex in ["f000", "c000", "8000"] {
            counts.replace(None, Some(&bits(hex)));
        }
        assert_eq!(order(&counts, 0), [2, 3, 1, 0]);
        assert_eq!(order(&counts, 1), [3, 2, 1, 0]);
        let copied = counts.clone();
        counts.replace(Some(&bits("8000")), Some(&bits("b000")));
        assert_eq!(order(&counts, 0), [1, 2, 3, 0]);
        assert_eq!(order(&copied, 0), [2, 3, 1, 0], "as it was");
        assert!(counts.are_rarest(&bits("c000")) && !counts.are_rarest(&bits("8000")));
        counts.replace(None, Some(&Bitfield::full(9)));
        assert_eq!(order(&counts, 0), [4, 5, 6, 7, 8, 1, 2, 3, 0]);
        counts.replace(Some(&Bitfield::full(9)), None);
        counts.replace(Some(&bits("b000")), None);
        assert_eq!(order(&counts, 0), [2, 3, 0, 1]);
    }
}
