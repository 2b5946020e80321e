//! Which pieces a peer has, as it is sent.

use super::Pieces;
use crate::bitfield::Bitfield;

impl Pieces {
    /// Returns true if it is every piece, however many there are.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::Digits(all) if all == "all")
    }

    /// Returns the pieces in `bits`, in short form.
    pub fn of(bits: &Bitfield) -> Self {
        Self::Digits(if bits.is_full() {
            "all".to_owned()
        } else {
            bits.to_hex()
        })
    }

    /// Returns the pieces below `n_pieces` as a set; `None` if they can't be of such a file.
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
