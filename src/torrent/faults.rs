//! What can be wrong with a piece, and with a `.torrent`.

use std::fmt;

use super::{MAX_PIECE_LEN, MIN_PIECE_LEN};
use crate::md5::Digest;

/// What is wrong with a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPiece {
    /// It is too short or too long.
    Length {
        /// The expected number of bytes.
        expected: usize,
        /// The number of bytes that came.
        came: usize,
    },
    /// A block doesn't fit the checkpoints.
    Block {
        /// The number of the block in the file, from 0.
        block: usize,
        /// The MD5 of the bytes that came, by which people tell one wrong copy from another.
        digest: Digest,
    },
}

impl fmt::Display for BadPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, came } => write!(f, "expected {expected} bytes, got {came}"),
            Self::Block { block, digest } => write!(
                f,
                "block {block} fails its check (MD5 of what came: {digest})"
            ),
        }
    }
}

/// Why a `.torrent` is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TorrentError {
    /// The piece length isn't a power of two within the limits.
    PieceLen(u32),
    /// There are more pieces than can be numbered.
    TooLarge(u64),
    /// There isn't one checkpoint for each block.
    Checkpoints {
        /// The number of the file's blocks.
        expected: u64,
        /// The number of checkpoints in the list.
        came: u64,
    },
    /// The list doesn't begin with MD5's own state.
    FirstState,
    /// An empty file can't have this MD5.
    Empty(Digest),
    /// The checkpoints aren't 32 hexadecimal digits each.
    NotHex,
    /// It can't be the beginning of a file.
    Head {
        /// Its size, bytes.
        size: u64,
        /// The file's.
        of: u64,
    },
    /// The number of pieces doesn't follow from the size.
    Pieces {
        /// The number that follows.
        expected: u32,
        /// The number in the `.torrent`.
        came: u32,
    },
}

impl fmt::Display for TorrentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PieceLen(len) => {
                write!(
                    f,
                    "a piece has a power of two between {MIN_PIECE_LEN} and {MAX_PIECE_LEN} bytes, not {len}"
                )
            }
            Self::TooLarge(size) => {
                write!(f, "{size} bytes are more than the numbered pieces can hold")
            }
            Self::Checkpoints { expected, came } => {
                write!(f, "expected {expected} checkpoints, got {came}")
            }
            Self::FirstState => write!(
                f,
                "the first checkpoint isn't the state that MD5 begins with"
            ),
            Self::Empty(md5) => write!(f, "the MD5 of an empty file isn't {md5}"),
            Self::Head { size, of } => write!(
                f,
                "{size} bytes can't be the first pieces of a file of {of}"
            ),
            Self::NotHex => write!(f, "the checkpoints aren't 32 hexadecimal digits each"),
            Self::Pieces { expected, came } => {
                write!(f, "expected {expected} pieces, got {came}")
            }
        }
    }
}

impl std::error::Error for TorrentError {}
