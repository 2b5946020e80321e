//! A *head*: the beginning of a file, as far as its publisher has hashed it. Others fetch it meanwhile; it never counts as a
//! file.
//!
//! A head is a content of its own, with a size and an MD5, so its pieces are told of, asked for and checked like any
//! other's. The list of a longer head, and the file's own, begin with the same checkpoints: then what is here of the head
//! is here of that, too, and isn't checked again.

use super::{Name, Torrent, TorrentError};
use crate::md5::{Digest, Hasher, digest_at};

/// Files of fewer bytes are hashed in half a second, and have no heads.
const HEADS_FROM: u64 = 256 << 20;
/// How long the heads are, in sixteenths of the file. The others have most of one before the next is hashed, as long as
/// hashing is faster than the network; where it isn't, only a quarter is left to be sent at its end. With more heads, each
/// peer would fetch more lists.
const SIXTEENTHS: [u64; 5] = [1, 2, 4, 8, 12];
/// A head's size is a multiple of this, bytes, as files are hashed in such strides, and of the length of a piece.
const STEP: u64 = 1 << 20;

impl Torrent {
    /// Returns the sizes of the heads of a file of `size` bytes, in order.
    pub fn head_sizes(size: u64) -> impl Iterator<Item = u64> {
        let step = STEP.max(Self::piece_len_for(size).into());
        let sixteenths = SIXTEENTHS.into_iter().filter(move |_| size >= HEADS_FROM);
        sixteenths.map(move |n| size / 16 * n / step * step)
    }

    /// Returns the `.torrent` of what was hashed so far of a file of `whole` bytes.
    ///
    /// # Errors
    /// Returns an error if that isn't the beginning of such a file, up to the end of a piece.
    pub fn head(name: Name, whole: u64, hashed: Hasher) -> Result<Self, TorrentError> {
        let (size, piece_len) = (hashed.size(), Self::piece_len_for(whole));
        let (checkpoints, md5) = hashed.finish();
        Self::new(name, size, piece_len, md5, checkpoints)?.into_head_of(Some(whole))
    }

    /// Returns this as the `.torrent` of a head, where the size of the file is given.
    pub(super) fn into_head_of(self, whole: Option<u64>) -> Result<Self, TorrentError> {
        let (size, piece_len) = (self.size, u64::from(self.piece_len));
        match whole {
            Some(of) if size == 0 || of <= size || !size.is_multiple_of(piece_len) => {
                Err(TorrentError::Head { size, of })
            }
            head_of => Ok(Self { head_of, ..self }),
        }
    }

    /// Returns the first of this file's heads up to the last.
    #[cfg(any(test, fuzzing))]
    pub fn heads_for_a_test(&self) -> Vec<Self> {
        let sizes = Self::head_sizes(self.size).zip(self.heads().into_iter().rev());
        let head = |(size, md5): (u64, Digest)| {
            let n = (size / self.block_len() as u64) as usize;
            let (name, checkpoints) = (self.name.clone(), self.checkpoints[..n].to_vec());
            let head = Self::new(name, size, self.piece_len, md5, checkpoints);
            head.and_then(|head| head.into_head_of(Some(self.size)))
        };
        let heads = sizes.map(head).collect::<Result<_, _>>();
        heads.expect("its own beginning")
    }

    /// Returns the size of the file whose beginning this is, if it is a head.
    pub fn head_of(&self) -> Option<u64> {
        self.head_of
    }

    /// Returns the size of the file, bytes, also if this is only its head.
    pub fn whole_size(&self) -> u64 {
        self.head_of.unwrap_or(self.size)
    }

    /// Returns true if every piece of this head is the same in this longer content.
    pub fn extends(&self, head: &Self) -> bool {
        let cut = |torrent: &Self| (torrent.whole_size(), torrent.piece_len);
        let next = self.checkpoints.get(head.checkpoints.len());
        head.head_of.is_some()
            && self.name == head.name
            && cut(self) == cut(head)
            && self.checkpoints.starts_with(&head.checkpoints)
            && next.is_some_and(|next| digest_at(*next, head.size) == head.md5)
    }

    /// Returns the MD5s of this content's heads, the longest first: by these their parts are known on the disk.
    pub fn heads(&self) -> Vec<Digest> {
        let sizes = Self::head_sizes(self.whole_size());
        let sizes = sizes.filter(|size| *size < self.size);
        let md5 = |size| {
            let state = self.checkpoints[(size / self.block_len() as u64) as usize];
            digest_at(state, size)
        };
        let mut heads: Vec<Digest> = sizes.map(md5).collect();
        heads.reverse();
        heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRIDE: usize = 64 << 10;

    fn hashed(content: &[u8]) -> Hasher {
        let mut hasher = Hasher::new(STRIDE / super::super::BLOCKS_A_PIECE);
        hasher.update(content);
        hasher
    }

    fn name(name: &str) -> Name {
        Name::parse(name).expect("a name")
    }

    #[test]
    fn large_files_have_heads() {
        let sizes = |size| Torrent::head_sizes(size).collect::<Vec<u64>>();
        const MIB: u64 = 1 << 20;
        assert!(sizes(256 * MIB - 1).is_empty());
        assert_eq!(
            sizes(256 * MIB),
            [16, 32, 64, 128, 192].map(|mib| mib * MIB)
        );
        // whole pieces, and whole strides
        assert_eq!(
            sizes(300 * MIB + 7),
            [18, 37, 75, 150, 225].map(|mib| mib * MIB)
        );
        assert_eq!(
            sizes(9000 * MIB),
            [560, 1120, 2240, 4496, 6736].map(|mib| mib * MIB)
        );
    }

    #[test]
    fn the_file_and_longer_heads_extend_a_head() {
        let content: Vec<u8> = (0..4 * STRIDE + 9).map(|at| (at / 77) as u8).collect();
        let of = content.len() as u64;
        let head = |n: usize| Torrent::head(name("f"), of, hashed(&content[..n * STRIDE]));
        let head = |n| head(n).expect("whole pieces");
        let whole = Torrent::of_content(name("f"), &content);
        assert!(whole.extends(&head(1)) && whole.extends(&head(4)) && head(3).extends(&head(2)));
        assert!(!head(2).extends(&head(2)) && !head(1).extends(&head(2)) && !whole.extends(&whole));
        for at in [0, STRIDE, 2 * STRIDE - 1] {
            let mut changed = content.clone();
            changed[at] ^= 1;
            let changed = Torrent::of_content(name("f"), &changed);
            assert!(!changed.extends(&head(2)), "{at}");
        }
        let other = Torrent::of_content(name("g"), &content);
        let shorter = Torrent::of_content(name("f"), &content[..4 * STRIDE]);
        assert!(!other.extends(&head(1)) && !shorter.extends(&head(1)));
    }

    #[test]
    fn a_list_tells_the_md5s_of_its_heads() {
        const SIZE: usize = 256 << 20;
        let content = vec![3; SIZE];
        let mut hasher = Hasher::new(Torrent::piece_len_for(SIZE as u64) as usize / 16);
        let (mut heads, mut done) = (Vec::new(), 0);
        for size in Torrent::head_sizes(SIZE as u64) {
            hasher.update(&content[done..size as usize]);
            done = size as usize;
            let head = Torrent::head(name("f"), SIZE as u64, hasher.clone());
            heads.insert(0, head.expect("whole pieces"));
        }
        let md5s: Vec<Digest> = heads.iter().map(Torrent::md5).collect();
        assert_eq!(Torrent::of_content(name("f"), &content).heads(), md5s);
        assert_eq!(heads[0].heads(), md5s[1..]);
        assert_eq!(heads[4].heads(), []);
    }

    #[test]
    fn a_head_is_the_beginning_up_to_the_end_of_a_piece() {
        let content = vec![5; 2 * STRIDE];
        let head = |hashed: &[u8], of| Torrent::head(name("f"), of, self::hashed(hashed));
        let of = content.len() as u64;
        assert!(head(&content[..STRIDE], of).is_ok());
        for (hashed, of) in [
            (&content[..0], of),
            (&content[..STRIDE + 64], of),
            (&content[..], of),
            (&content[..], 1),
        ] {
            assert!(head(hashed, of).is_err(), "{} of {of}", hashed.len());
        }
        let head = head(&content[..STRIDE], of).expect("a piece");
        let mut json = serde_json::to_value(&head).expect("plain data");
        let back: Torrent = serde_json::from_value(json.clone()).expect("its own JSON");
        assert_eq!((back.head_of(), &back), (Some(of), &head));
        json["head_of"] = 7.into();
        serde_json::from_value::<Torrent>(json).expect_err("shorter than its head");
    }
}
