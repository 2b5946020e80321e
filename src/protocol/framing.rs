//! Reads and writes messages over any `Read` and `Write`, with a cap on everything that is buffered. A message ends at
//! its closing brace; white space between messages is skipped.

use std::io::{self, BufRead};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::ID_CAP;
use super::wrong_field::{unknown_message, wrong_field};
use crate::causes::NotUnderstood;

/// The most values in one message. Each takes 32 bytes of memory while the message is parsed, and only two on the wire;
/// the longest lists of the shortest names have this many.
pub(super) const VALUES: usize = 2 << 20;
/// Messages of more bytes are parsed one at a time: what is made of one takes up to 45 times its length while it is parsed, and
/// many connections may have sent their last byte at the same moment.
const LONG: usize = 16 << 10;
static ONE_LONG: Mutex<()> = Mutex::new(());
/// The most characters of a parse error: it is printed, and is sent back in an answer of [`super::ORIGINAL_CAP`] bytes.
const FAULT: usize = 200;

/// Returns a message as it goes over the wire.
pub fn to_bytes(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages have string keys and no failing parts")
}

/// The id in a hello, which isn't longer than [`super::ID_CAP`].
pub(super) fn short_id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let id = String::deserialize(from)?;
    if id.len() > ID_CAP {
        let why = format!(
            "expected an id of at most {ID_CAP} bytes, came {}",
            id.len()
        );
        return Err(serde::de::Error::custom(why));
    }
    Ok(id)
}

/// How long a message may get: a number of bytes, or a closure that is asked as it grows, and may have its caller wait.
pub trait Cap {
    /// Returns the most bytes; it is called before `len` bytes of the message are in memory.
    fn at_most(&mut self, len: usize) -> usize;
}

impl Cap for usize {
    fn at_most(&mut self, _: usize) -> usize {
        *self
    }
}

impl<F: FnMut(usize) -> usize> Cap for F {
    fn at_most(&mut self, len: usize) -> usize {
        self(len)
    }
}

/// Reads one message. Returns `None` if the stream is closed before its first byte.
///
/// # Errors
/// Returns the stream's error; `UnexpectedEof` if it is closed within the message; `InvalidData` if there are more bytes
/// than `cap` allows, or if they aren't such a message.
pub fn read_message<T: DeserializeOwned>(
    stream: &mut impl BufRead,
    cap: impl Cap,
) -> io::Result<Option<T>> {
    match read_value(stream, cap)? {
        None => Ok(None),
        Some(bytes) => parse(&bytes).map(Some),
    }
}

/// Parses one message.
///
/// # Errors
/// Returns `InvalidData` with what was expected and the beginning of what came.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let _alone =
        (bytes.len() > LONG).then(|| ONE_LONG.lock().unwrap_or_else(PoisonError::into_inner));
    serde_json::from_slice(bytes).map_err(|fault| {
        let said = || {
            let said = fault.to_string();
            unknown_message(bytes, &said).unwrap_or_else(|| {
                // serde repeats the whole input
                let said: String = said.chars().take(FAULT).collect();
                let said = match said.contains("untagged enum") {
                    true => "it has the fields of none",
                    false => &said,
                };
                NotUnderstood::no_message(bytes, said)
            })
        };
        wrong_field(bytes).unwrap_or_else(said).into()
    })
}

/// Reads the bytes of one JSON object or array, up to and including its closing bracket, and nothing after it.
///
/// # Errors
/// Fails as [`read_message`] does.
pub fn read_value(stream: &mut impl BufRead, mut cap: impl Cap) -> io::Result<Option<Vec<u8>>> {
    let mut value = Vec::new();
    let mut scan = Scan::default();
    let mut white = 0;
    loop {
        let came = match stream.fill_buf() {
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
            came => came?,
        };
        if came.is_empty() {
            let fault = || {
                io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the connection was closed in the middle of a message",
                )
            };
            return if value.is_empty() {
                Ok(None)
            } else {
                Err(fault())
            };
        }
        let skipped = if value.is_empty() {
            came.iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count()
        } else {
            0
        };
        let end = scan.end_of(&came[skipped..])?;
        let taken = end.unwrap_or(came.len() - skipped);
        let len = value.len() + taken;
        let most = cap.at_most(len);
        // white space isn't kept, but is limited all the same
        white += skipped;
        if len > most || white > most {
            return Err(NotUnderstood::TooLong { most }.into());
        }
        value.extend_from_slice(&came[skipped..skipped + taken]);
        stream.consume(skipped + taken);
        if end.is_some() {
            return Ok(Some(value));
        }
    }
}

/// How deeply nested a JSON value is, and whether it is in a string, byte by byte.
#[derive(Default)]
struct Scan {
    depth: usize,
    /// How many values there were, including the keys of objects.
    values: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Returns the length of `bytes` up to the end of the value, if it ends here.
    fn end_of(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => (self.depth, self.values) = (self.depth + 1, self.values + 1),
                b',' | b':' if self.values >= VALUES => {
                    return Err(NotUnderstood::TooManyValues { most: VALUES }.into());
                }
                b',' | b':' => self.values += 1,
                b'}' | b']' if self.depth == 1 => return Ok(Some(at + 1)),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth == 0 {
                return Err(NotUnderstood::not_json(&bytes[at..]).into());
            }
        }
        Ok(None)
    }
}

/// Returns an error for a violation of the protocol.
pub fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
