//! Which pieces somebody has, as it is told.

use super::Pieces;
use crate::bitfield::Bitfield;

impl Pieces {
    /// Whether it is every piece, however many there are.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::Digits(all) if all == "all")
    }

    /// What `bits` has, in short.
    pub fn of(bits: &Bitfield) -> Self {
        Self::Digits(if bits.is_full() {
            "all".to_owned()
        } else {
            bits.to_hex()
        })
    }

    /// The pieces below `n_pieces` as a set; `None` where they can't be of such a file.
    pub fn bits(&self, n_pieces: u32) -> Option<Bitfield> {
        match self {
            all if all.is_all() => Some(Bitfield::full(n_pieces)),
            Self::Digits(digits) => Bitfield::from_hex(digits, n_pieces),
            Self::These(idxs) => {
                let mut bits = Bitfield::new(n_pieces);
                idxs.iter().for_each(|idx| {
                    bits.set(*idx);
                });
                idxs.iter().all(|idx| *idx < n_pieces).then_some(bits)
            }
        }
    }
}
