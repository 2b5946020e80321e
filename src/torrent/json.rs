//! How a `.torrent` is built, from a file's checkpoints or from JSON, and the rules for its fields.

use serde::{Deserialize, Serialize};

use super::{BLOCKS_A_PIECE, MAX_PIECE_LEN, MIN_PIECE_LEN, Name, Source, Torrent, TorrentError};
use crate::bitfield::to_hex;
use crate::md5::{Checkpoint, Digest, Hasher, INITIAL};

/// The `.torrent` as JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct TorrentJson {
    name: Name,
    size: u64,
    piece_len: u32,
    n_pieces: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head_of: Option<u64>,
    md5: Digest,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    publisher: String,
    #[serde(default)]
    published: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    peers: Vec<Source>,
    /// 32 hexadecimal digits for each block: the words of the state before it, each with its low byte first, as in a
    /// printed MD5.
    checkpoints: String,
}

impl Torrent {
    /// Returns the `.torrent` of a file that is all in memory.
    pub fn of_content(name: Name, content: &[u8]) -> Self {
        let piece_len = Self::piece_len_for(content.len() as u64);
        let mut hasher = Hasher::new(piece_len as usize / BLOCKS_A_PIECE);
        hasher.update(content);
        let (checkpoints, md5) = hasher.finish();
        let torrent = Self::new(name, content.len() as u64, piece_len, md5, checkpoints);
        torrent.expect("the checkpoints are this content's")
    }

    /// Creates a file's `.torrent`. `checkpoints` are MD5's states before each block of [`Torrent::block_len`] bytes.
    ///
    /// # Errors
    /// Returns an error if these can't be a file's.
    pub fn new(
        name: Name,
        size: u64,
        piece_len: u32,
        md5: Digest,
        checkpoints: Vec<Checkpoint>,
    ) -> Result<Self, TorrentError> {
        if !piece_len.is_power_of_two() || !(MIN_PIECE_LEN..=MAX_PIECE_LEN).contains(&piece_len) {
            return Err(TorrentError::PieceLen(piece_len));
        }
        let n_pieces = size.div_ceil(piece_len.into());
        if n_pieces > u64::from(u32::MAX) {
            return Err(TorrentError::TooLarge(size));
        }
        let n_blocks = size.div_ceil(u64::from(piece_len) / BLOCKS_A_PIECE as u64);
        if checkpoints.len() as u64 != n_blocks {
            return Err(TorrentError::Checkpoints {
                expected: n_blocks,
                came: checkpoints.len() as u64,
            });
        }
        if checkpoints.first().is_some_and(|first| *first != INITIAL) {
            return Err(TorrentError::FirstState);
        }
        if size == 0 && md5 != crate::md5::digest(b"") {
            return Err(TorrentError::Empty(md5));
        }
        let words = checkpoints.as_flattened().iter();
        let mut listed: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        listed.extend_from_slice(&piece_len.to_le_bytes());
        Ok(Self {
            name,
            size,
            piece_len,
            md5,
            checkpoints_md5: crate::md5::digest(&listed),
            checkpoints,
            head_of: None,
            published: 0,
            peers: Vec::new(),
            publisher: String::new(),
        })
    }
}

impl From<Torrent> for TorrentJson {
    fn from(torrent: Torrent) -> Self {
        let words = torrent.checkpoints.as_flattened().iter();
        let checkpoints = to_hex(words.flat_map(|word| word.to_le_bytes()));
        let n_pieces = torrent.n_pieces();
        let Torrent {
            name,
            size,
            piece_len,
            md5,
            head_of,
            peers,
            publisher,
            published,
            ..
        } = torrent;
        Self {
            name,
            size,
            piece_len,
            n_pieces,
            head_of,
            md5,
            publisher,
            published,
            peers,
            checkpoints,
        }
    }
}

impl TryFrom<TorrentJson> for Torrent {
    type Error = TorrentError;
    fn try_from(wire: TorrentJson) -> Result<Self, TorrentError> {
        let (states, rest) = wire.checkpoints.as_bytes().as_chunks::<32>();
        let states: Option<Vec<Checkpoint>> = states.iter().map(checkpoint_from_hex).collect();
        let states = states
            .filter(|_| rest.is_empty())
            .ok_or(TorrentError::NotHex)?;
        let torrent = Self::new(wire.name, wire.size, wire.piece_len, wire.md5, states)?;
        if torrent.n_pieces() != wire.n_pieces {
            return Err(TorrentError::Pieces {
                expected: torrent.n_pieces(),
                came: wire.n_pieces,
            });
        }
        Ok(Self {
            peers: wire.peers,
            publisher: wire.publisher,
            published: wire.published,
            ..torrent.into_head_of(wire.head_of)?
        })
    }
}

fn checkpoint_from_hex(hex: &[u8; 32]) -> Option<Checkpoint> {
    let mut state = [0u32; 4];
    for (at, digit) in hex.iter().enumerate() {
        let value = char::from(*digit).to_digit(16)?;
        let high = at % 2 == 0;
        state[at / 8] |= (if high { value << 4 } else { value }) << (at % 8 / 2 * 8);
    }
    Some(state)
}
