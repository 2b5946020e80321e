//! Why something doesn't go on: no list comes from the tracker, a file waits, a peer is lost, a message isn't understood.
//!
//! Each situation is a value, made where it is known, and its text is made here alone: so the screen, the log and the page say
//! the same, and say what is true. `Display` is for people; programs get it by [`with_text`]. It knows no socket, no file and
//! no state.

use std::fmt::Display;

use serde::{Serialize, Serializer};

pub use self::lost::Lost;
pub use self::no_list::NoList;
pub use self::not_understood::NotUnderstood;
pub use self::waits::Waits;

mod lost;
mod no_list;
mod not_understood;
#[cfg(test)]
mod tests;
mod waits;

/// The most characters that are repeated of what came.
pub const SHOWN: usize = 60;

/// A situation with its text, as programs get it.
#[derive(Serialize)]
struct WithText<'a, C> {
    #[serde(flatten)]
    cause: &'a C,
    why: String,
}

/// Serializes a cause for programs: the situation's name as `cause`, its parts, and the text as `why`.
///
/// # Errors
/// The serializer's.
pub fn with_text<C: Serialize + Display, S: Serializer>(
    cause: &C,
    to: S,
) -> Result<S::Ok, S::Error> {
    let why = cause.to_string();
    WithText { cause, why }.serialize(to)
}
