//! Which pieces of a file a peer has: one bit per piece.
//!
//! On the wire it is hexadecimal, piece 0 in the highest bit of the first digit, as in BitTorrent's own bitfield.
//! Pure: no lock, no I/O.

/// A set of piece numbers below a fixed length.
///
/// Invariant: bits at and above `len` are zero, and `n_set` is the number of ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitfield {
    words: Vec<u64>,
    len: u32,
    n_set: u32,
}

impl Bitfield {
    /// Creates an empty set of `len` pieces.
    pub fn new(len: u32) -> Self {
        Self {
            words: vec![0; len.div_ceil(64) as usize],
            len,
            n_set: 0,
        }
    }

    /// Creates a full set of `len` pieces.
    pub fn full(len: u32) -> Self {
        let mut words = vec![u64::MAX; len.div_ceil(64) as usize];
        if let (Some(last), 1..) = (words.last_mut(), len % 64) {
            *last = (1 << (len % 64)) - 1;
        }
        let n_set = len;
        Self { words, len, n_set }
    }

    /// Returns the same set of a longer file's pieces.
    pub fn of_longer(&self, len: u32) -> Self {
        let mut longer = Self::new(len);
        longer.set_all(self);
        longer
    }

    /// Returns how many pieces the file has.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Returns how many pieces are in the set.
    pub fn count(&self) -> u32 {
        self.n_set
    }

    /// Returns true if no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.n_set == 0
    }

    /// Returns true if every piece is in the set; of an empty file, that is always so.
    pub fn is_full(&self) -> bool {
        self.n_set == self.len
    }

    /// Returns true if piece `idx` is in the set; false beyond the last piece.
    pub fn get(&self, idx: u32) -> bool {
        idx < self.len && self.words[idx as usize / 64] >> (idx % 64) & 1 == 1
    }

    /// Adds piece `idx`. Returns true if it is new; false beyond the last piece.
    pub fn set(&mut self, idx: u32) -> bool {
        let new = idx < self.len && !self.get(idx);
        if new {
            self.words[idx as usize / 64] |= 1 << (idx % 64);
            self.n_set += 1;
        }
        new
    }

    /// Adds all pieces of `other`, which is of the same file.
    pub fn set_all(&mut self, other: &Self) {
        let both = self.words.iter_mut().zip(&other.words);
        both.for_each(|(own, other)| *own |= other);
        self.n_set = self.words.iter().map(|word| word.count_ones()).sum();
    }

    /// Removes piece `idx`. Returns true if it was in the set.
    pub fn clear(&mut self, idx: u32) -> bool {
        let was = self.get(idx);
        if was {
            self.words[idx as usize / 64] &= !(1 << (idx % 64));
            self.n_set -= 1;
        }
        was
    }

    /// Iterates over the pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        ones(self.words.iter().copied())
    }

    /// Iterates over the pieces that are in this set and not in `other`, in order. Both are of one file.
    pub fn minus<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        ones(self.words.iter().zip(&other.words).map(|(a, b)| a & !b))
    }

    /// Iterates over the pieces that are in this set and in `other`, in order. Both are of one file.
    pub fn and<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        ones(self.words.iter().zip(&other.words).map(|(a, b)| a & b))
    }

    /// Returns the set as hexadecimal digits, two for every eight pieces.
    pub fn to_hex(&self) -> String {
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
        let bytes = bytes.map(u8::reverse_bits);
        to_hex(bytes.take(self.len.div_ceil(8) as usize))
    }

    /// Reads what [`Bitfield::to_hex`] wrote. Returns `None` if the length doesn't fit `len` pieces, a character isn't a
    /// digit, or a bit beyond the last piece is set.
    pub fn from_hex(hex: &str, len: u32) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != len.div_ceil(8) as usize * 2 {
            return None;
        }
        let mut bits = Self::new(len);
        for (byte, pair) in digits.as_chunks::<2>().0.iter().enumerate() {
            let value = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16)
                .ok()
                .filter(|_| pair[0] != b'+')?;
            bits.words[byte / 8] |= u64::from(value.reverse_bits()) << (byte % 8 * 8);
        }
        if !len.is_multiple_of(64)
            && bits
                .words
                .last()
                .is_some_and(|last| last >> (len % 64) != 0)
        {
            return None;
        }
        bits.n_set = bits.words.iter().map(|word| word.count_ones()).sum();
        Some(bits)
    }
}

/// Returns bytes as hexadecimal digits, two each.
pub(crate) fn to_hex(bytes: impl Iterator<Item = u8>) -> String {
    let digits = bytes.flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    String::from_utf8(digits.collect()).expect("digits are ASCII")
}

fn ones(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u32> {
    words.enumerate().flat_map(|(at, mut word)| {
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros())?;
            word &= word - 1;
            Some(at as u32 * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_from_hexadecimal() {
        for len in [0, 1, 7, 8, 9, 63, 64, 65, 1000] {
            let mut bits = Bitfield::new(len);
            (0..len)
                .filter(|idx| idx % 3 == 0)
                .for_each(|idx| assert!(bits.set(idx)));
            let again = Bitfield::from_hex(&bits.to_hex(), len).expect("its own digits");
            assert_eq!(again, bits);
            assert_eq!(
                again.iter().collect::<Vec<_>>(),
                (0..len).step_by(3).collect::<Vec<_>>()
            );
            let full = Bitfield::full(len);
            assert!(full.is_full() && full.iter().eq(0..len));
        }
        let mut first = Bitfield::new(9);
        first.set(0);
        assert_eq!(first.to_hex(), "8000");
    }

    #[test]
    fn digits_that_do_not_fit_are_refused() {
        for (name, hex, len) in [
            ("short", "ff", 9),
            ("long", "ffff", 8),
            ("no digit", "zz", 8),
            ("a sign", "+f", 8),
            ("a bit too many", "ff", 7),
            ("two bytes of one character", "é", 8),
        ] {
            assert_eq!(Bitfield::from_hex(hex, len), None, "{name}");
        }
    }

    #[test]
    fn counts_follow_each_change() {
        let mut bits = Bitfield::new(70);
        assert!(bits.set(69) && !bits.set(69) && !bits.set(70));
        assert_eq!((bits.count(), bits.get(69), bits.get(70)), (1, true, false));
        assert!(bits.clear(69) && !bits.clear(69) && bits.is_empty());
        let full = Bitfield::full(70);
        bits.set(5);
        let mut both = bits.clone();
        both.set_all(&Bitfield::from_hex("840000000000000000", 70).expect("digits"));
        assert_eq!((both.count(), both.get(0), both.get(5)), (2, true, true));
        assert_eq!(bits.minus(&full).count(), 0);
        assert_eq!(full.minus(&bits).count(), 69);
    }
}
