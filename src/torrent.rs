//! The `.torrent`: what a file is called, how long it is, where its pieces and blocks begin and end, and how each is checked.
//!
//! All arithmetic over pieces and blocks is here and nowhere else. Pure: no lock, no I/O.
//!
//! The original has no such thing: its "pieces" are files of their own, listed by name. prototype-network-p2p asks for one
//! (name, peers, number of blocks, MD5); ours adds *checkpoints*, the states of that very MD5 before each block, so that
//! each block can be checked when it comes.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bitfield::to_hex;
use crate::md5::{Digest, End, INITIAL, State, first_bad_block};

/// The blocks of a full piece: as many as the lanes that [`crate::md5`] checks at once.
pub const BLOCKS_A_PIECE: usize = 16;
/// The shortest full piece, bytes.
pub const MIN_PIECE_LEN: u32 = 64 << 10;
/// The longest piece, bytes: it is kept in memory until it is checked.
pub const MAX_PIECE_LEN: u32 = 16 << 20;
/// How many pieces a file is cut into where the two limits above allow it.
const PIECES_WANTED: u64 = 1024;
/// The longest name, bytes: room for `.part0001` behind it where file systems take 255.
pub const MAX_NAME: usize = 240;
/// The most characters that people are shown of a text: a name has fewer, and who refuses may say a MiB.
const SHOWN: usize = 500;

/// A file's name: one plain path component that any folder can hold.
///
/// Invariant: [`Name::parse`] took it. Nothing else from the wire ever becomes part of a path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Takes a name that is not empty, has at most [`MAX_NAME`] bytes, no `/` and no NUL, doesn't begin with a dot (what
    /// does is hidden or leads out of the folder) and isn't the name of a piece.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match name {
            "" => Err(NameError::Empty),
            _ if name.len() > MAX_NAME => Err(NameError::TooLong(name.len())),
            _ if name.starts_with('.') => Err(NameError::LeadingDot),
            _ if name.contains(['/', '\0']) => Err(NameError::NotPlain),
            _ if split_piece_name(name).is_some() => Err(NameError::Piece),
            _ => Ok(Self(name.into())),
        }
    }

    /// The name as it is on the disk and on the wire. To show it, use `Display`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the originals call piece `idx` (from 0) of this file: `image.iso.part0001` for the first.
    pub fn of_piece(&self, idx: u32) -> String {
        piece_name(&self.0, idx)
    }

    /// Whose piece it is, and which (from 0), where `name` is the name of a piece.
    pub fn parse_piece(name: &str) -> Option<(Self, u32)> {
        let (whole, idx) = split_piece_name(name)?;
        Some((Self::parse(whole).ok()?, idx))
    }
}

/// The name of a piece of the file with this name.
pub fn piece_name(file: &str, idx: u32) -> String {
    format!("{file}{PIECE_INFIX}{}", PieceNumber(idx))
}

/// What stands between a file's name and a piece's number.
pub const PIECE_INFIX: &str = ".part";

/// The number, from 1, that ends the name of the piece with this number from 0.
pub struct PieceNumber(pub u32);

impl PieceNumber {
    /// Writes it, for who writes hundreds of them: several times as fast as by a format.
    pub fn append(&self, out: &mut Vec<u8>) {
        if self.0 >= 9999 {
            return out.extend_from_slice(self.to_string().as_bytes());
        }
        let (high, low) = ((self.0 + 1) / 100, (self.0 + 1) % 100);
        let digits = [high / 10, high % 10, low / 10, low % 10];
        out.extend_from_slice(&digits.map(|digit| b'0' + digit as u8));
    }
}

impl fmt::Display for PieceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", u64::from(self.0) + 1)
    }
}

fn split_piece_name(name: &str) -> Option<(&str, u32)> {
    let (whole, digits) = name.rsplit_once(PIECE_INFIX)?;
    let shortest = digits.len() == 4 || digits.len() > 4 && !digits.starts_with('0');
    let number: u32 = digits
        .bytes()
        .all(|c| c.is_ascii_digit())
        .then(|| digits.parse().ok())??;
    (shortest && !whole.is_empty()).then_some((whole, number.checked_sub(1)?))
}

/// A text of somebody else, or a name, that people read: control characters, which could drive their terminal, are shown
/// escaped, and of more than `SHOWN` characters the beginning.
pub fn legible(text: &str) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len().min(SHOWN));
    let mut chars = text.chars();
    for c in chars.by_ref().take(SHOWN) {
        if odd(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&legible(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::parse(name)
    }
}

/// Why a name isn't taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// There is nothing.
    Empty,
    /// So many bytes, over [`MAX_NAME`].
    TooLong(usize),
    /// It begins with a dot.
    LeadingDot,
    /// It has a `/` or a NUL.
    NotPlain,
    /// It is the name that originals give to a piece.
    Piece,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a file's name can't be empty"),
            Self::TooLong(len) => write!(
                f,
                "a file's name has at most {MAX_NAME} bytes, this one {len}"
            ),
            Self::LeadingDot => write!(f, "a file's name can't begin with a dot"),
            Self::NotPlain => write!(f, "a file's name can't have a / or a NUL in it"),
            Self::Piece => write!(
                f,
                "names that end in .part0001 and the like are kept for pieces"
            ),
        }
    }
}

impl std::error::Error for NameError {}

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
/// Invariant: the geometry is one that [`Torrent::new`] makes or takes, and there is one checkpoint for each block, the
/// first of which is MD5's own initial state.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Torrent {
    name: Name,
    size: u64,
    piece_len: u32,
    md5: Digest,
    checkpoints: Vec<State>,
    /// Of the checkpoints and the piece length.
    checkpoints_md5: Digest,
    /// When it was published, seconds since 1970 by the tracker's clock; 0 until then.
    pub published: u64,
    /// Who has pieces of it, by the tracker's word as it handed this out; the tracker keeps none.
    pub peers: Vec<Source>,
    /// Who published it, by the tracker's word; empty until it was published.
    pub publisher: String,
}

/// The `.torrent` as JSON.
#[derive(Serialize, Deserialize)]
struct Wire {
    name: Name,
    size: u64,
    piece_len: u32,
    n_pieces: u32,
    md5: Digest,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    publisher: String,
    #[serde(default)]
    published: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    peers: Vec<Source>,
    /// 32 hexadecimal digits for each block: the words of the state before it, each with its low byte first, as MD5s are
    /// printed.
    checkpoints: String,
}

impl Torrent {
    /// The piece length for a file of `size` bytes: the next power of two of size/1024, within 64 KiB to 16 MiB.
    pub fn piece_len_for(size: u64) -> u32 {
        let wanted = size.div_ceil(PIECES_WANTED).next_power_of_two();
        wanted.clamp(MIN_PIECE_LEN.into(), MAX_PIECE_LEN.into()) as u32
    }

    /// A file's `.torrent`. `checkpoints` are MD5's states before each block of [`Torrent::block_len`] bytes.
    ///
    /// # Errors
    /// Where these can't be a file's.
    pub fn new(
        name: Name,
        size: u64,
        piece_len: u32,
        md5: Digest,
        checkpoints: Vec<State>,
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
            published: 0,
            peers: Vec::new(),
            publisher: String::new(),
        })
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

    /// Checks piece `idx` against the checkpoints.
    ///
    /// # Errors
    /// The length, or the first block that isn't what was published.
    pub fn check(&self, idx: u32, piece: &[u8]) -> Result<(), BadPiece> {
        let blocks = self.blocks_of(idx);
        let end = match self.checkpoints.get(blocks.end) {
            Some(state) => End::State(*state),
            None => End::Digest {
                digest: self.md5,
                size: self.size,
            },
        };
        if piece.len() != self.piece_len(idx) {
            return Err(BadPiece::Length {
                expected: self.piece_len(idx),
                came: piece.len(),
            });
        }
        match first_bad_block(
            piece,
            self.block_len(),
            &self.checkpoints[blocks.clone()],
            end,
        ) {
            None => Ok(()),
            Some(bad) => {
                let at = bad * self.block_len();
                let block = &piece[at..piece.len().min(at + self.block_len())];
                Err(BadPiece::Block {
                    block: blocks.start + bad,
                    digest: crate::md5::digest(block),
                })
            }
        }
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

/// What is wrong with a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPiece {
    /// It is cut short, or too long.
    Length {
        /// Bytes.
        expected: usize,
        /// Bytes.
        came: usize,
    },
    /// A block isn't what the checkpoints say.
    Block {
        /// Which block of the file, from 0.
        block: usize,
        /// The MD5 of the bytes that came: the same from two peers means that the list is wrong, not they.
        digest: Digest,
    },
}

impl fmt::Display for BadPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, came } => write!(f, "expected {expected} bytes, {came} came"),
            Self::Block { block, digest } => write!(
                f,
                "block {block} fails its check (MD5 of what came: {digest})"
            ),
        }
    }
}

impl From<Torrent> for Wire {
    fn from(torrent: Torrent) -> Self {
        let words = torrent.checkpoints.as_flattened().iter();
        let checkpoints = to_hex(words.flat_map(|word| word.to_le_bytes()));
        let n_pieces = torrent.n_pieces();
        let Torrent {
            name,
            size,
            piece_len,
            md5,
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
            md5,
            publisher,
            published,
            peers,
            checkpoints,
        }
    }
}

impl TryFrom<Wire> for Torrent {
    type Error = TorrentError;
    fn try_from(wire: Wire) -> Result<Self, TorrentError> {
        let (states, rest) = wire.checkpoints.as_bytes().as_chunks::<32>();
        let states: Option<Vec<State>> = states.iter().map(state_from_hex).collect();
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
            ..torrent
        })
    }
}

fn state_from_hex(hex: &[u8; 32]) -> Option<State> {
    let mut state = [0u32; 4];
    for (at, digit) in hex.iter().enumerate() {
        let value = char::from(*digit).to_digit(16)?;
        let high = at % 2 == 0;
        state[at / 8] |= (if high { value << 4 } else { value }) << (at % 8 / 2 * 8);
    }
    Some(state)
}

/// Why a `.torrent` isn't taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TorrentError {
    /// This piece length isn't a power of two within the limits.
    PieceLen(u32),
    /// More pieces than can be numbered.
    TooLarge(u64),
    /// Not one checkpoint for each block.
    Checkpoints {
        /// The file's blocks.
        expected: u64,
        /// The checkpoints in the list.
        came: u64,
    },
    /// The list doesn't begin with MD5's own state.
    FirstState,
    /// An empty file can't have this MD5.
    Empty(Digest),
    /// The checkpoints aren't 32 hexadecimal digits each.
    NotHex,
    /// The number of pieces doesn't follow from the size.
    Pieces {
        /// What follows.
        expected: u32,
        /// What it says.
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
                write!(f, "{size} bytes are more than pieces can be numbered for")
            }
            Self::Checkpoints { expected, came } => {
                write!(f, "expected {expected} checkpoints, {came} came")
            }
            Self::FirstState => write!(
                f,
                "the first checkpoint isn't the state that MD5 begins with"
            ),
            Self::Empty(md5) => write!(f, "the MD5 of an empty file isn't {md5}"),
            Self::NotHex => write!(f, "the checkpoints aren't 32 hexadecimal digits each"),
            Self::Pieces { expected, came } => {
                write!(f, "expected {expected} pieces, it says {came}")
            }
        }
    }
}

impl std::error::Error for TorrentError {}

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
    fn names_are_one_plain_component() {
        let long = "é".repeat(121);
        for (name, fault) in [
            ("", NameError::Empty),
            (".", NameError::LeadingDot),
            ("..", NameError::LeadingDot),
            (".hidden", NameError::LeadingDot),
            ("a/b", NameError::NotPlain),
            ("/etc/passwd", NameError::NotPlain),
            ("a\0b", NameError::NotPlain),
            (long.as_str(), NameError::TooLong(242)),
            ("image.iso.part0001", NameError::Piece),
            ("image.iso.part12345", NameError::Piece),
        ] {
            assert_eq!(Name::parse(name), Err(fault), "{name:?}");
        }
        for name in [
            "image.iso",
            "naïve ファイル.txt",
            "a\\b",
            "x.part1",
            "x.part0000",
            "x.part01234",
            "x.part",
            "-rf",
            "..a".trim_start_matches('.'),
        ] {
            assert!(Name::parse(name).is_ok(), "{name:?}");
        }
        assert_eq!(
            Name::parse("a\u{1b}[2Jb")
                .expect("legal on a disk")
                .to_string(),
            "a\\u{1b}[2Jb"
        );
    }

    #[test]
    fn people_are_shown_any_name_and_the_beginning_of_what_is_longer() {
        let longest = "x".repeat(MAX_NAME);
        assert_eq!(legible(&longest), longest);
        for long in ["é", "\u{1b}"] {
            let shown = legible(&long.repeat(1 << 20));
            assert!(shown.len() < SHOWN * 10, "{} bytes", shown.len());
            assert!(shown.ends_with('…') && !shown.chars().any(char::is_control));
        }
    }

    #[test]
    fn pieces_have_the_originals_names() {
        let name = Name::parse("image.iso").expect("a name");
        for (idx, piece) in [
            (0, "image.iso.part0001"),
            (9998, "image.iso.part9999"),
            (9999, "image.iso.part10000"),
        ] {
            assert_eq!(name.of_piece(idx), piece);
            assert_eq!(Name::parse_piece(piece), Some((name.clone(), idx)));
        }
        for no in [
            "image.iso.part0000",
            "image.iso.part001",
            "image.iso.part00010",
            ".part0001",
            "image.iso",
            "../x.part0001",
            "x.part+001",
        ] {
            assert_eq!(Name::parse_piece(no), None, "{no}");
        }
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
                    torrent.check(idx, bytes),
                    Ok(()),
                    "{size} bytes, piece {idx}"
                );
                let mut wrong = bytes.to_vec();
                *wrong.last_mut().expect("no piece is empty") ^= 1;
                let bad = torrent.check(idx, &wrong).expect_err("one bit is wrong");
                assert!(
                    matches!(bad, BadPiece::Block { block, .. } if block == (end as usize - 1) / torrent.block_len())
                );
                assert!(
                    torrent.check(idx, &bytes[1..]).is_err(),
                    "a byte is missing"
                );
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
    }
}
