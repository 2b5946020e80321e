//! A file's name, on the disk, on the wire and for people.
//!
//! This module owns the rules for names and never touches a disk: no path contains a name that [`Name::parse`] refuses.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name, bytes: on file systems that allow 255, it leaves room for a suffix like `.part0001`.
pub const MAX_NAME: usize = 240;
/// The most characters of a text that people are shown: names are shorter, but a peer may send a MiB.
const SHOWN: usize = 500;

/// A file's name: one plain path component that any folder can hold.
///
/// Invariant: [`Name::parse`] accepted it. Nothing else from the wire ever becomes part of a path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Accepts a name that is not empty, has at most [`MAX_NAME`] bytes, no `/` and no NUL, doesn't begin with a dot
    /// (such a file is hidden, or leads out of the folder) and isn't the name of a piece.
    ///
    /// # Errors
    /// Returns the rule that the name breaks.
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

    /// Returns the name as it is on the disk and on the wire. To show it, use `Display`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the originals' name for piece `idx` (from 0) of this file: `image.iso.part0001` for the first.
    pub fn of_piece(&self, idx: u32) -> String {
        piece_name(&self.0, idx)
    }

    /// Returns the file's name and the piece's index (from 0), if `name` is the name of a piece.
    pub fn parse_piece(name: &str) -> Option<(Self, u32)> {
        let (whole, idx) = split_piece_name(name)?;
        Some((Self::parse(whole).ok()?, idx))
    }
}

/// Returns the name of a piece of the file with this name.
pub fn piece_name(file: &str, idx: u32) -> String {
    format!("{file}{PIECE_INFIX}{:04}", u64::from(idx) + 1)
}

/// The text between a file's name and a piece's number.
const PIECE_INFIX: &str = ".part";

fn split_piece_name(name: &str) -> Option<(&str, u32)> {
    let (whole, digits) = name.rsplit_once(PIECE_INFIX)?;
    let shortest = digits.len() == 4 || digits.len() > 4 && !digits.starts_with('0');
    let number: u32 = digits
        .bytes()
        .all(|c| c.is_ascii_digit())
        .then(|| digits.parse().ok())??;
    (shortest && !whole.is_empty()).then_some((whole, number.checked_sub(1)?))
}

/// Whether a character, below U+10000, drives a terminal, or changes how the text around it is shown.
pub fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Wraps a text from elsewhere, or a name, for people: control characters, which could drive their terminal, are escaped,
/// and only the first `SHOWN` characters are shown.
pub fn legible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(SHOWN));
    let mut chars = text.chars();
    for c in chars.by_ref().take(SHOWN) {
        if is_odd(c) {
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

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It is empty.
    Empty,
    /// It has this many bytes, which is over [`MAX_NAME`].
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
                "a file's name can have at most {MAX_NAME} bytes, this one has {len}"
            ),
            Self::LeadingDot => write!(f, "a file's name can't begin with a dot"),
            Self::NotPlain => write!(f, "a file's name can't have a / or a NUL in it"),
            Self::Piece => write!(
                f,
                "names that end in .part0001 and the like are reserved for pieces"
            ),
        }
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn people_are_shown_any_name_legibly() {
        let longest = "x".repeat(MAX_NAME);
        assert_eq!(legible(&longest), longest);
        // the joiners are part of words and of emoji
        for plain in ["naïve ファイル.txt", "نامه\u{200c}ای", "👩\u{200d}💻"] {
            assert_eq!(legible(plain), plain);
        }
        for odd in [
            '\u{9b}', '\u{61c}', '\u{200b}', '\u{2028}', '\u{202e}', '\u{2067}', '\u{feff}',
        ] {
            assert_eq!(legible(&odd.to_string()), odd.escape_default().to_string());
        }
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
}
