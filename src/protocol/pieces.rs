//! Which pieces a peer has, as it is sent.

use super::Pieces;
use crate::bitfield::Bitfield;

impl Pieces {
    /// Returns true if it is every piece, however many there are.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::Digits(all) if all == "all")
    }

    /// Returns how many digits or numbers it has.
    pub fn n_told(&self) -> usize {
        match self {
            Self::Digits(digits) => digits.len(),
            Self::These(idxs) => idxs.len(),
        }
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

    /// Returns these pieces and those that were told before, of a file with an unknown number of pieces. Where both
    /// can't be of one content, the digits count that were told last.
    pub fn with(self, before: &Self) -> Self {
        match (before, self) {
            (all, _) if all.is_all() => all.clone(),
            (_, all) if all.is_all() => all,
            (Self::These(some), Self::These(mut more)) => {
                more.extend(some);
                more.sort_unstable();
                more.dedup();
                Self::These(more)
            }
            (Self::Digits(digits), more @ Self::These(_)) => more.within(digits),
            (some, Self::Digits(digits)) => some.within(&digits),
        }
    }

    /// Returns these pieces and the ones in `digits`; the latter alone if these can't be of the same file.
    fn within(&self, digits: &str) -> Self {
        let n_bits = 4 * digits.len() as u32;
        let bits = Bitfield::from_hex(digits, n_bits);
        let bits = bits.zip(self.bits(n_bits)).map(|(mut bits, more)| {
            bits.set_all(&more);
            bits.to_hex()
        });
        Self::Digits(bits.unwrap_or_else(|| digits.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_adds_to_what_was_told() {
        let digits = |text: &str| Pieces::Digits(text.to_owned());
        let these = |idxs: &[u32]| Pieces::These(idxs.to_vec());
        for (before, told, expected) in [
            (these(&[7]), these(&[3, 7]), these(&[3, 7])),
            (digits("80"), these(&[7]), digits("81")),
            (these(&[7]), digits("80"), digits("81")),
            (digits("80"), digits("01"), digits("81")),
            (digits("all"), these(&[7]), digits("all")),
            (digits("all"), digits("80"), digits("all")),
            (digits("80"), digits("all"), digits("all")),
            // of another content
            (digits("80"), digits("0001"), digits("0001")),
            (these(&[99]), digits("80"), digits("80")),
            (digits("80"), these(&[99]), digits("80")),
            (digits("80"), digits("xx"), digits("xx")),
        ] {
            let found = told.clone().with(&before);
            assert_eq!(found, expected, "{before:?} and {told:?}");
        }
    }
}
