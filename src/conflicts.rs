//! A name under which different peers have different contents, as both pages show it while that lasts. Pure.

use serde::Serialize;

use crate::cli::only_flag;
use crate::md5::Digest;
use crate::protocol::{OTHERS_TOLD, OtherCopy, Summary};
use crate::torrent::{Name, legible};

/// Two contents or more under one name: the swarm's, and those that stand beside it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The MD5 of the content that stands; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swarm: Option<Digest>,
    /// Who published it; empty if unknown.
    pub publisher: String,
    /// Whether that publisher is here now.
    pub publisher_is_here: bool,
    /// The flag that names the file, quoted for a shell: `--md5` follows it.
    pub only: String,
    /// The content in this machine's own folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub here: Option<Here>,
    /// The content that `--md5` asks for, if it isn't the swarm's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Digest>,
    /// The first of the other machines with another content.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherCopy>,
    /// How many of them are known; if there are more than [`OTHERS_TOLD`], that many.
    pub n_others: usize,
}

/// A content other than the swarm's in this machine's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Here {
    /// Its MD5.
    pub md5: Digest,
    /// What the user can do about it.
    pub cure: Cure,
}

/// What the user can do about another content in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cure {
    /// Start again with `--replace`, or move it away.
    Replace,
    /// Nothing: with `--replace` the file makes way once the swarm's content is here.
    Wait,
    /// Move it away.
    MoveAway,
    /// It is the user's own file: pin it or move it away.
    Pin,
}

impl Conflict {
    /// Builds what the tracker shows about a file; at most `most` of the machines with another content are named.
    pub fn of_listed(listed: &Summary, most: usize) -> Self {
        let named = listed.others.iter().take(most);
        let named = named.map(|other| OtherCopy {
            peer: legible(&other.peer),
            md5: other.md5,
        });
        Self {
            publisher: legible(&listed.publisher),
            publisher_is_here: listed.here,
            others: named.collect(),
            n_others: listed.others.len().min(OTHERS_TOLD),
            ..Self::with(&listed.name, Some(listed.md5))
        }
    }

    /// Builds the same for a name that the tracker no longer lists.
    pub fn with(name: &Name, swarm: Option<Digest>) -> Self {
        Self {
            swarm,
            publisher: String::new(),
            publisher_is_here: false,
            only: only_flag(name.as_str()),
            here: None,
            pinned: None,
            others: Vec::new(),
            n_others: 0,
        }
    }

    /// Returns the conflict, if there is one.
    pub fn if_any(self) -> Option<Self> {
        let any = self.here.is_some() || self.pinned.is_some() || self.n_others > 0;
        any.then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::digest;
    use crate::torrent::{MIN_PIECE_LEN, Torrent};

    fn listed(n_others: usize) -> Summary {
        let name = Name::parse("my image").expect("a name");
        let checkpoints = vec![crate::md5::INITIAL];
        let torrent = Torrent::new(name, 5, MIN_PIECE_LEN, digest(b"image"), checkpoints);
        let other = |n| OtherCopy {
            peer: format!("10.0.0.{n}:1\u{1b}"),
            md5: digest(b"old"),
        };
        Summary {
            publisher: "10.0.0.1:1".to_owned(),
            others: (0..n_others).map(other).collect(),
            ..Summary::of(&torrent.expect("a torrent"))
        }
    }

    #[test]
    fn other_machines_make_a_conflict() {
        assert_eq!(Conflict::of_listed(&listed(0), 9).if_any(), None);
        let conflict = Conflict::of_listed(&listed(3), 2).if_any();
        let conflict = conflict.expect("three others");
        assert_eq!((conflict.others.len(), conflict.n_others), (2, 3));
        assert_eq!(conflict.only, "--only 'my image'");
        assert!(!conflict.others[0].peer.contains('\u{1b}'));
        let many = Conflict::of_listed(&listed(OTHERS_TOLD + 5), 0);
        assert_eq!(many.n_others, OTHERS_TOLD);
    }

    #[test]
    fn another_content_here_or_a_pin_makes_a_conflict_too() {
        let name = Name::parse("f").expect("a name");
        let none = || Conflict::with(&name, None);
        assert_eq!(none().if_any(), None);
        let md5 = digest(b"here");
        let cure = Cure::Pin;
        let here = Conflict {
            here: Some(Here { md5, cure }),
            ..none()
        };
        assert!(here.if_any().is_some());
        let pinned = Conflict {
            pinned: Some(md5),
            ..none()
        };
        assert!(pinned.if_any().is_some());
    }
}
