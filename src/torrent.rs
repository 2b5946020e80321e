//! The `.torrent`: what a file is called, how long it is, where its pieces and blocks begin and end, and how a piece is
//! checked.
//!
//! Pure: no lock, no I/O.
//!
//! The original has no such thing: its "pieces" are files of their own, listed by name. prototype-network-p2p asks for one
//! (name, peers, number of blocks, MD5). Ours adds *checkpoints*, the states of that very MD5 before each block: so a
//! piece can be checked as soon as it comes, and when every piece has passed, the whole file's MD5 is proven.
//!
//! Beside the lesson: `name` has the rules for names, `json` the fields on the wire, `faults` what can be wrong, `blocks` a set
//! of a piece's blocks, and `head` the beginning of a file that is still being hashed.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::md5::{Checkpoint, Digest, End, bad_blocks};

mod blocks;
mod faults;
mod head;
mod json;
mod name;

pub use blocks::BlockSet;
pub use faults::{BadPiece, TorrentError};
pub use name::{MAX_NAME, Name, NameError, is_odd, legible, piece_name};

/// How many blocks a full piece has: as many as the lanes that [`crate::md5`] checks at once.
pub const BLOCKS_A_PIECE: usize = 16;
/// The shortest full piece, bytes.
pub const MIN_PIECE_LEN: u32 = 64 << 10;
/// The longest piece, bytes: a piece is kept in memory until it is checked.
pub const MAX_PIECE_LEN: u32 = 16 << 20;
/// The longest file, bytes: with its checkpoints, a `.torrent` has the length that [`crate::protocol::TORRENT_CAP`] allows.
pub const MAX_SIZE: u64 = 1 << 40;
/// How many pieces a file is cut into where the two limits above allow it.
const PIECES_WANTED: u64 = 1024;

/// A peer that has some of a file, as the tracker adds it to a `.torrent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where it is.
    pub ip: String,
    /// Its listening port.
    pub port: u16,
}

/// What is known of a file before any of its bytes.
///
/// Invariant: the geometry is one that [`Torrent::new`] accepts, and there is one checkpoint for each block, the first of
/// which is MD5's own initial state.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "json::TorrentJson", into = "json::TorrentJson")]
pub struct Torrent {
    name: Name,
    size: u64,
    piece_len: u32,
    md5: Digest,
    checkpoints: Vec<Checkpoint>,
    /// The MD5 of the checkpoints and the piece length.
    checkpoints_md5: Digest,
    /// Of a head: the size of the file whose beginning it is, bytes.
    head_of: Option<u64>,
    /// When it was published, seconds since 1970 by the tracker's clock; 0 until then.
    pub published: u64,
    /// Who has pieces of it, by the tracker's word when it handed this out; the tracker keeps none.
    pub peers: Vec<Source>,
    /// Who published it, by the tracker's word; empty until it was published.
    pub publisher: String,
}

impl Torrent {
    /// The piece length for a file of `size` bytes: the next power of two of size/1024, within 64 KiB to 16 MiB.
    pub fn piece_len_for(size: u64) -> u32 {
        let wanted = size.div_ceil(PIECES_WANTED).next_power_of_two();
        wanted.clamp(MIN_PIECE_LEN.into(), MAX_PIECE_LEN.into()) as u32
    }

    /// The file's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The file's size, bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The whole file's MD5, the one that `md5sum` prints.
    pub fn md5(&self) -> Digest {
        self.md5
    }

    /// What tells this list of checkpoints from another list for the same content: a publisher may correct a wrong one.
    pub fn checkpoints_md5(&self) -> Digest {
        self.checkpoints_md5
    }

    /// How many pieces: none for an empty file.
    pub fn n_pieces(&self) -> u32 {
        self.size.div_ceil(self.piece_len.into()) as u32
    }

    /// The length of a full piece, bytes.
    pub fn full_piece_len(&self) -> usize {
        self.piece_len as usize
    }

    /// The length of piece `idx`, bytes: only the last is shorter.
    pub fn piece_len(&self, idx: u32) -> usize {
        let start = self.piece_start(idx);
        (self.size - start).min(self.piece_len.into()) as usize
    }

    /// Where piece `idx` begins, bytes from the start of the file. `idx` is below [`Torrent::n_pieces`].
    pub fn piece_start(&self, idx: u32) -> u64 {
        debug_assert!(idx < self.n_pieces());
        u64::from(idx) * u64::from(self.piece_len)
    }

    /// The length of a full block, bytes.
    pub fn block_len(&self) -> usize {
        self.piece_len as usize / BLOCKS_A_PIECE
    }

    fn blocks_of(&self, idx: u32) -> Range<usize> {
        let first = idx as usize * BLOCKS_A_PIECE;
        first..(first + BLOCKS_A_PIECE).min(self.checkpoints.len())
    }

    /// Checks piece `idx`: each block, hashed from its checkpoint on, must lead to the next checkpoint, and the file's last
    /// block to the file's MD5.
    ///
    /// # Errors
    /// The wrong length, or the first block that isn't what was published.
    pub fn verify<'a>(&'a self, idx: u32, bytes: &'a [u8]) -> Result<VerifiedPiece<'a>, BadPiece> {
        let expected = self.piece_len(idx);
        if bytes.len() != expected {
            let came = bytes.len();
            return Err(BadPiece::Length { expected, came });
        }
        match self.bad_blocks(idx, bytes).first() {
            None => Ok(VerifiedPiece {
                torrent: self,
                idx,
                bytes,
            }),
            Some(bad) => {
                let at = bad * self.block_len();
                let block = &bytes[at..bytes.len().min(at + self.block_len())];
                Err(BadPiece::Block {
                    block: self.blocks_of(idx).start + bad,
                    digest: crate::md5::digest(block),
                })
            }
        }
    }

    /// Which blocks of piece `idx` are as published: what another version of the file has in common with this one.
    pub fn good_blocks(&self, idx: u32, bytes: &[u8]) -> BlockSet {
        let mut good = BlockSet::NONE;
        if bytes.len() == self.piece_len(idx) {
            let bad = self.bad_blocks(idx, bytes);
            let all = 0..self.n_blocks(idx);
            all.filter(|block| !bad.contains(block))
                .for_each(|block| good.insert(block));
        }
        good
    }

    /// The blocks of piece `idx`, counted from its start, that aren't as published.
    fn bad_blocks(&self, idx: u32, bytes: &[u8]) -> Vec<usize> {
        let blocks = self.blocks_of(idx);
        let end = match self.checkpoints.get(blocks.end) {
            Some(next) => End::Checkpoint(*next),
            None => End::Digest {
                digest: self.md5,
                size: self.size,
            },
        };
        bad_blocks(bytes, self.block_len(), &self.checkpoints[blocks], end)
    }

    /// How many blocks piece `idx` has.
    pub fn n_blocks(&self, idx: u32) -> usize {
        self.blocks_of(idx).len()
    }

    /// How many bytes these blocks of piece `idx` have together.
    pub fn blocks_len(&self, idx: u32, blocks: BlockSet) -> usize {
        let runs = blocks.runs().map(|run| self.bytes_of(idx, run).len());
        runs.sum()
    }

    /// Where these consecutive blocks are within piece `idx`, bytes.
    pub fn bytes_of(&self, idx: u32, run: Range<usize>) -> Range<usize> {
        let len = self.piece_len(idx);
        let at = |block: usize| (block * self.block_len()).min(len);
        at(run.start)..at(run.end)
    }

    /// Whether `other` speaks of the same content: name, size and MD5.
    pub fn same_content(&self, other: &Self) -> bool {
        (&self.name, self.size, self.md5) == (&other.name, other.size, other.md5)
    }

    /// What originals know piece `idx` by: the file's own name where it is all in one piece.
    pub fn original_name(&self, idx: u32) -> String {
        if self.n_pieces() > 1 {
            self.name.of_piece(idx)
        } else {
            self.name.as_str().to_owned()
        }
    }
}

impl fmt::Debug for Torrent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}: {} bytes, {} pieces, MD5 {}",
            self.name,
            self.size,
            self.n_pieces(),
            self.md5
        )
    }
}

/// A piece all of whose blocks passed their check. Only [`Torrent::verify`] makes one, and of what peers send only such a piece
/// can be written ([`crate::store::Store::write_piece`]), marked as here, and served.
#[derive(Clone, Copy)]
pub struct VerifiedPiece<'a> {
    torrent: &'a Torrent,
    idx: u32,
    bytes: &'a [u8],
}

impl<'a> VerifiedPiece<'a> {
    /// What it is a piece of.
    pub fn torrent(&self) -> &'a Torrent {
        self.torrent
    }

    /// Which piece of the file it is, from 0.
    pub fn idx(&self) -> u32 {
        self.idx
    }

    /// Its content.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::Hasher;

    fn torrent_of(name: &str, data: &[u8]) -> Torrent {
        let piece_len = Torrent::piece_len_for(data.len() as u64);
        let mut hasher = Hasher::new(piece_len as usize / BLOCKS_A_PIECE);
        hasher.update(data);
        let (checkpoints, md5) = hasher.finish();
        Torrent::new(
            Name::parse(name).expect("a name"),
            data.len() as u64,
            piece_len,
            md5,
            checkpoints,
        )
        .expect("a torrent")
    }

    #[test]
    fn piece_lengths_follow_the_size() {
        for (size, piece_len) in [
            (0, 64 << 10),
            (1, 64 << 10),
            (64 << 20, 64 << 10),
            ((64 << 20) + 1, 128 << 10),
            (4 << 30, 4 << 20),
            (1 << 40, 16 << 20),
        ] {
            assert_eq!(Torrent::piece_len_for(size), piece_len, "{size}");
        }
    }

    #[test]
    fn pieces_and_blocks_cover_the_file_and_are_checked() {
        let piece = MIN_PIECE_LEN as usize;
        for size in [
            0,
            1,
            63,
            4096,
            4097,
            piece - 1,
            piece,
            piece + 1,
            3 * piece + 5000,
        ] {
            let data: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            let torrent = torrent_of("f", &data);
            let mut end = 0;
            for idx in 0..torrent.n_pieces() {
                assert_eq!(torrent.piece_start(idx), end);
                let bytes = &data[end as usize..end as usize + torrent.piece_len(idx)];
                end += bytes.len() as u64;
                assert_eq!(
                    torrent.verify(idx, bytes).map(|piece| piece.bytes()),
                    Ok(bytes),
                    "{size} bytes, piece {idx}"
                );
                let mut wrong = bytes.to_vec();
                *wrong.last_mut().expect("no piece is empty") ^= 1;
                let bad = torrent.verify(idx, &wrong).err().expect("one bit is wrong");
                assert!(
                    matches!(bad, BadPiece::Block { block, .. } if block == (end as usize - 1) / torrent.block_len())
                );
                for other in [bytes[1..].to_vec(), [bytes, &[0]].concat()] {
                    let (expected, came) = (bytes.len(), other.len());
                    let bad = torrent.verify(idx, &other).err();
                    assert_eq!(bad, Some(BadPiece::Length { expected, came }));
                    assert!(torrent.good_blocks(idx, &other).is_empty());
                }
            }
            assert_eq!(end, size as u64);
            let json = serde_json::to_string(&torrent).expect("plain data");
            assert_eq!(
                serde_json::from_str::<Torrent>(&json).expect("its own JSON"),
                torrent
            );
        }
    }

    #[test]
    fn torrents_that_contradict_themselves_are_refused() {
        let good = serde_json::to_value(torrent_of("f", &[7; 100_000])).expect("plain data");
        for (key, value, why) in [
            ("name", "../f".into(), "/"),
            ("size", 300_000.into(), "checkpoints"),
            ("piece_len", 65537.into(), "power of two"),
            ("n_pieces", 3.into(), "expected 2 pieces"),
            ("checkpoints", "00".into(), "32 hexadecimal digits"),
            (
                "checkpoints",
                "é".repeat(400).into(),
                "32 hexadecimal digits",
            ),
            ("checkpoints", "0".repeat(25 * 32).into(), "MD5 begins with"),
            ("md5", "x".into(), "32"),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            let fault = serde_json::from_value::<Torrent>(bad)
                .expect_err(key)
                .to_string();
            assert!(fault.contains(why) || key == "name", "{key}: {fault}");
        }
        // of an empty file, no piece would show that the MD5 is another
        let mut bad = serde_json::to_value(torrent_of("f", b"")).expect("plain data");
        bad["md5"] = good["md5"].clone();
        let fault = serde_json::from_value::<Torrent>(bad).expect_err("it isn't empty");
        assert!(fault.to_string().contains("the MD5 of an empty file"));
    }

    #[test]
    fn a_list_of_another_cut_is_another_list() {
        let of = |piece_len: u32| {
            let (name, md5) = (Name::parse("f").expect("a name"), crate::md5::digest(b"f"));
            let checkpoints = vec![crate::md5::INITIAL];
            let torrent = Torrent::new(name, 100, piece_len, md5, checkpoints);
            torrent.expect("one block").checkpoints_md5()
        };
        assert_ne!(of(MIN_PIECE_LEN), of(2 * MIN_PIECE_LEN));
    }
}
