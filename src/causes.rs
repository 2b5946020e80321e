//! Why something doesn't go on: no list comes from the tracker, a file waits, a peer is lost, a message isn't understood.
//!
//! Each situation is a value of [`Cause`], made where it is known, and its text is made here alone: so the screen, the log and
//! the page say the same, and say what is true. It knows no socket, no file and no state.

use std::fmt::{self, Display};

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

/// Why something doesn't go on. `Display` is for people; programs get the situation's name as `cause`, its parts, and the text
/// as `why`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No list came from the tracker.
    NoList(NoList),
    /// A file doesn't come, or doesn't count as done.
    Waits(Waits),
    /// A peer can't be taken from, or not any more.
    Lost(Lost),
    /// A message isn't understood.
    NotUnderstood(NotUnderstood),
}

impl Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoList(cause) => write!(f, "{cause}"),
            Self::Waits(cause) => write!(f, "{cause}"),
            Self::Lost(cause) => write!(f, "{cause}"),
            Self::NotUnderstood(cause) => write!(f, "{cause}"),
        }
    }
}

/// A situation with its text, as programs get it.
#[derive(Serialize)]
struct WithText<'a, C> {
    #[serde(flatten)]
    cause: &'a C,
    why: String,
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let why = self.to_string();
        match self {
            Self::NoList(cause) => WithText { cause, why }.serialize(to),
            Self::Waits(cause) => WithText { cause, why }.serialize(to),
            Self::Lost(cause) => WithText { cause, why }.serialize(to),
            Self::NotUnderstood(cause) => WithText { cause, why }.serialize(to),
        }
    }
}

impl From<NoList> for Cause {
    fn from(cause: NoList) -> Self {
        Self::NoList(cause)
    }
}

impl From<Waits> for Cause {
    fn from(cause: Waits) -> Self {
        Self::Waits(cause)
    }
}

impl From<Lost> for Cause {
    fn from(cause: Lost) -> Self {
        Self::Lost(cause)
    }
}

impl From<NotUnderstood> for Cause {
    fn from(cause: NotUnderstood) -> Self {
        Self::NotUnderstood(cause)
    }
}
