//! What becomes of a file, or of the whole peer, and why. Pure.

use std::fmt;

use serde::{Serialize, Serializer};

use super::folder::ByteProgress;
use super::holdings::TrackerWord;
use super::waits::{NAMED, other_than_pinned};
use super::{Held, LinkState, OtherPeer, Standing, State};
use crate::causes::Waits;
use crate::md5::Digest;
use crate::torrent::{Name, legible};
use crate::units::{bytes, percent, plural};

/// The urgency of a file that nobody has to look at.
pub(super) const CALM: u8 = 6;

/// The state of a file, or of the whole peer, and its cause. `Display` is for people; programs use `kind`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs)] // the texts below say what they are
pub enum Doing {
    /// Of a peer: the tracker hasn't answered yet.
    Starting,
    /// Of a peer: nobody shares anything.
    Idle,
    /// Of a peer: this many files are verified and served.
    Serving { files: usize },
    /// It is listed, and nobody has picked it.
    Listed,
    /// It is picked, and nobody lists it.
    Unlisted {
        #[serde(skip)]
        waits: Waits,
    },
    /// Its `.torrent` is on its way, or it waits for its turn to begin.
    Beginning,
    /// The pieces of it that are here are being checked.
    Checking { done: u64, of: u64 },
    /// Pieces were requested from this many peers.
    Fetching { peers: usize },
    /// No other peer has these pieces: their number, and the first of them.
    Nowhere {
        n: usize,
        first: Vec<u32>,
        #[serde(skip)]
        waits: Waits,
    },
    /// Other peers have what is missing, but none of them can be asked at present.
    Unconnected {
        holders: usize,
        #[serde(skip)]
        waits: Waits,
    },
    /// This many peers are listed, and `--min-peers` asks for more.
    FewPeers { listed: usize, least: usize },
    /// The disk or the tracker doesn't take it, or something is in its way.
    Stuck {
        #[serde(serialize_with = "as_text")]
        why: Waits,
    },
    /// All pieces are here, and are being brought to the disk.
    Completing,
    /// It is being uploaded through the page.
    Uploading { done: u64, of: u64 },
    /// It is in the folder, and may still be growing.
    Settling,
    /// It is being hashed.
    Hashing { done: u64, of: u64 },
    /// It is whole, verified and served.
    Verified,
    /// It is whole, and nobody knows its MD5.
    Unverified,
    /// The file here has another content than the swarm's: the two MD5s.
    OtherContent { here: Digest, swarm: Digest },
    /// Another peer is hashing it.
    Coming { done: u64, of: u64, peer: String },
    /// It was whole here, and the user has deleted it or moved it away.
    Deleted,
    /// It can't be had.
    GivenUp { why: String },
}

/// Programs get the text.
fn as_text<S: Serializer>(waits: &Waits, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(waits)
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => write!(f, "waiting for the tracker's first answer"),
            Self::Nowhere { waits, .. }
            | Self::Unconnected { waits, .. }
            | Self::Unlisted { waits }
            | Self::Stuck { why: waits } => write!(f, "waiting: {waits}"),
            Self::Idle => write!(f, "nothing is shared so far"),
            Self::Serving { files } => write!(f, "serving {}", plural(*files, "verified file")),
            Self::Listed => write!(f, "not fetched: it wasn't picked"),
            Self::Beginning => write!(f, "beginning"),
            Self::Checking { done, of } => {
                write!(f, "checking what is here: {} %", percent(*done, *of))
            }
            Self::Fetching { peers } => write!(f, "from {}", plural(*peers, "peer")),
            Self::FewPeers { listed, least } => {
                let (listed, least) = (*listed, *least);
                write!(f, "waiting: {}", Waits::FewPeers { listed, least })
            }
            Self::Completing => write!(f, "all pieces are here: bringing them to the disk"),
            Self::Uploading { done, of } => {
                write!(f, "uploading: {} of {}", bytes(*done), bytes(*of))
            }
            Self::Settling => write!(f, "seen in the folder: hashed once it is left alone"),
            Self::Hashing { done, of } => write!(f, "hashing: {} %", percent(*done, *of)),
            Self::Verified => write!(f, "verified, serving"),
            Self::Unverified => write!(f, "unverified: originals know no MD5"),
            Self::OtherContent { here, swarm } => {
                let (here, swarm) = (*here, *swarm);
                write!(f, "not shared: {}", Waits::OtherContent { here, swarm })
            }
            Self::Coming { done, of, peer } => {
                let (by, percent) = (peer.clone(), percent(*done, *of));
                write!(f, "waiting: {}", Waits::HashedElsewhere { by, percent })
            }
            Self::Deleted => write!(
                f,
                "deleted or moved away here: not fetched again in this run"
            ),
            Self::GivenUp { why } => write!(f, "given up: {why}"),
        }
    }
}

impl Doing {
    /// Returns the rank by which people want to know: first what moves, then what is held up.
    pub(super) fn urgency(&self) -> u8 {
        match self {
            Self::Stuck { .. } => 0,
            Self::Fetching { .. } => 1,
            Self::Coming { .. } => 4,
            Self::Completing | Self::Checking { .. } | Self::Uploading { .. } => 2,
            Self::Hashing { .. } | Self::Beginning => 3,
            Self::Nowhere { .. } | Self::Unconnected { .. } | Self::FewPeers { .. } => 4,
            Self::OtherContent { .. } | Self::GivenUp { .. } => 5,
            Self::Unlisted { .. } => CALM,
            _ => CALM + 1,
        }
    }
}

impl State {
    /// Returns the state of one file.
    pub(super) fn doing(&self, name: &Name, min_peers: usize) -> Doing {
        if let Some(ByteProgress { done, of }) = self.uploads.get(name).copied() {
            return Doing::Uploading { done, of };
        }
        if let Some(why) = self.given_up.get(name).cloned() {
            return Doing::GivenUp { why };
        }
        if let Some(why) = self.stuck.get(name).cloned() {
            let why = Waits::InTheWay { said: why };
            return Doing::Stuck { why };
        }
        let progress = self.progress.get(name).copied();
        let (done, of) = progress.map_or((0, 1), |progress| (progress.done, progress.of));
        match (self.standing.get(name), self.files.get(name)) {
            (Some(Standing::Looked(_)), _) => Doing::Settling,
            (Some(Standing::Hashing(_)), _) => Doing::Hashing { done, of },
            (Some(Standing::Unverified(..)), _) => Doing::Unverified,
            (_, Some(held)) if held.stamp.is_some() => match &held.word {
                TrackerWord::Other { md5, .. } => Doing::OtherContent {
                    here: held.torrent.md5(),
                    swarm: *md5,
                },
                TrackerWord::Refused { why, .. } => Doing::Stuck {
                    why: Waits::TrackerRefuses { said: legible(why) },
                },
                _ => Doing::Verified,
            },
            // of a head that is here, more is waited for
            (_, Some(held)) if !(held.is_head() && held.have.is_full()) => {
                self.doing_part(held, min_peers)
            }
            _ if self.beginning.contains(name) => match progress {
                Some(ByteProgress { done, of }) => Doing::Checking { done, of },
                None => Doing::Beginning,
            },
            _ if !self.is_wanted(name) => Doing::Listed,
            _ if self.deleted.contains_key(name) => Doing::Deleted,
            _ if self.coming.contains_key(name) => {
                let coming = &self.coming[name];
                let peer = legible(&coming.peer);
                Doing::Coming {
                    done: coming.done,
                    of: coming.size,
                    peer,
                }
            }
            _ => match self.swarm.get(name) {
                Some(listed) if !self.may_be(listed) => Doing::Stuck {
                    why: other_than_pinned(listed),
                },
                None if !self.fetches_whole_files => Doing::Unlisted {
                    waits: self.unlisted(name),
                },
                _ => Doing::Beginning,
            },
        }
    }

    /// Returns the state of a file of which something is here.
    fn doing_part(&self, held: &Held, min_peers: usize) -> Doing {
        let name = held.torrent.name();
        let (nowhere, listed) = (self.picker.nowhere(name), self.n_listed());
        let (in_flight, peers) = self.picker.in_flight(name);
        let missing = (held.torrent.n_pieces() - held.have.count()) as usize;
        if held.have.is_full() {
            Doing::Completing
        } else if let Some(why) = self
            .disk_fault
            .clone()
            .filter(|_| self.paused_until.is_some())
        {
            let why = Waits::Disk { said: why };
            Doing::Stuck { why }
        } else if !in_flight.is_empty() {
            Doing::Fetching { peers }
        } else if listed < min_peers {
            let least = min_peers;
            Doing::FewPeers { listed, least }
        } else if nowhere.len() == missing
            && let Some(waits) = self.of_sources(held)
        {
            Doing::Nowhere {
                n: missing,
                first: nowhere.iter().take(NAMED).copied().collect(),
                waits,
            }
        } else {
            self.doing_unasked(held)
        }
    }

    /// Returns the state of a file of which others have missing pieces, and nobody is asked for any.
    fn doing_unasked(&self, held: &Held) -> Doing {
        let holders = self.holders_of_missing(held);
        let is_open = |peer: &&OtherPeer| !matches!(peer.link, LinkState::No | LinkState::Trying);
        if holders.iter().any(is_open) {
            return Doing::Fetching { peers: 0 };
        }
        let holders = holders.len();
        let n_holders = holders;
        let waits = self.of_sources(held);
        Doing::Unconnected {
            holders,
            waits: waits.unwrap_or(Waits::NotConnected { n_holders }),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::md5::digest;
    use crate::protocol::Summary;
    use crate::state::Wants;
    use crate::state::tests::{name, state_wanting, torrent};

    #[test]
    fn another_content_than_the_pinned_one_is_waited_past() {
        for (md5, expected) in [
            (torrent().md5(), "beginning"),
            (digest(b"other"), "--md5 asks for another"),
        ] {
            let mut state = state_wanting(Wants {
                only: vec![name("f")],
                md5: Some(md5),
                ..Wants::default()
            });
            let listed = Summary::of(&torrent());
            state.swarm.insert(name("f"), listed);
            let doing = state.doing(&name("f"), 0).to_string();
            assert!(doing.contains(expected), "{doing}");
        }
    }
}
