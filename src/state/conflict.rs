//! Which contents exist beside the swarm's under a name, as far as this peer knows. Pure.

use super::{Held, Standing, State, TrackerWord};
use crate::conflicts::{Conflict, Cure, Here};
use crate::md5::Digest;
use crate::torrent::Name;

/// How many of the other machines with another content are named.
const NAMED: usize = 5;

impl State {
    /// Returns the contents beside the swarm's that are known under a name: here, and on other machines.
    pub(super) fn conflict(&self, name: &Name) -> Option<Conflict> {
        let held = self.files.get(name).filter(|held| held.stamp.is_some());
        let conflict = match self.swarm.get(name) {
            Some(listed) => Conflict::of_listed(listed, NAMED),
            None => {
                // the tracker's last word
                let other = held.and_then(|held| match held.word {
                    TrackerWord::Other { md5, .. } => Some(md5),
                    _ => None,
                });
                Conflict::with(name, other.filter(|other| self.pin(name) != Some(*other)))
            }
        };
        let pin = self.pin(name);
        Conflict {
            here: self.other_here(name, held, conflict.swarm),
            pinned: pin.filter(|_| conflict.swarm.is_some() && conflict.swarm != pin),
            ..conflict
        }
        .if_any()
    }

    /// Returns the content in the folder under a name, if it isn't the one that counts.
    fn other_here(&self, name: &Name, held: Option<&Held>, swarm: Option<Digest>) -> Option<Here> {
        let (md5, cure) = match (self.standing.get(name), held) {
            (Some(Standing::Outdated(_, md5)), _) => (*md5, Cure::Wait),
            (Some(Standing::Unverified(_, md5)), _) if swarm.is_some() => (*md5, Cure::MoveAway),
            (_, Some(held)) if matches!(held.word, TrackerWord::Other { .. }) => {
                let cure = match held.received {
                    _ if self.replaces(name, held.received) => Cure::Wait,
                    false if self.deleted.contains_key(name) => Cure::MoveAway,
                    false => Cure::Pin,
                    true if self.wants.replace => Cure::MoveAway,
                    true => Cure::Replace,
                };
                (held.torrent.md5(), cure)
            }
            _ => return None,
        };
        (Some(md5) != swarm).then_some(Here { md5, cure })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;
    use std::time::Instant;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::md5::digest;
    use crate::protocol::{OtherCopy, Summary};
    use crate::state::Wants;
    use crate::store::{Stamp, WholeFile};
    use crate::torrent::{BLOCKS_A_PIECE, MIN_PIECE_LEN, Torrent};

    fn torrent() -> Arc<Torrent> {
        let (name, size) = (Name::parse("my f").expect("a name"), MIN_PIECE_LEN.into());
        let checkpoints = vec![crate::md5::INITIAL; BLOCKS_A_PIECE];
        let torrent = Torrent::new(name, size, MIN_PIECE_LEN, digest(b"mine"), checkpoints);
        Arc::new(torrent.expect("a torrent"))
    }

    /// A content that another peer published, whose publisher is here.
    fn listed(content: &[u8], others: usize) -> Summary {
        let other = |n| OtherCopy {
            peer: format!("10.0.0.{n}:5"),
            md5: digest(b"theirs"),
        };
        Summary {
            md5: digest(content),
            publisher: "10.0.0.2:5".to_owned(),
            here: true,
            others: (0..others).map(other).collect(),
            ..Summary::of(&torrent())
        }
    }

    /// A peer whose folder has a file that the tracker refused.
    fn refused(wants: Wants, received: bool, listed: Summary) -> State {
        let now = Instant::now();
        let mut state = State::new(wants, StdRng::seed_from_u64(1), now);
        let file = File::open("/dev/null").expect("it is always there");
        let stamp = Stamp::of_file(&file).expect("a file");
        let shared = WholeFile::for_a_test(&torrent(), stamp, received);
        assert!(state.share(&shared, now));
        let name = listed.name.clone();
        if listed.md5 != torrent().md5() {
            state.files.get_mut(&name).expect("shared").word = TrackerWord::Other {
                md5: listed.md5,
                gone_since: None,
            };
        }
        state.swarm.insert(name, listed);
        state
    }

    fn conflict(state: &State) -> Option<Conflict> {
        state.conflict(torrent().name())
    }

    #[test]
    fn another_content_here_is_told_with_what_helps() {
        let replace = |replace| Wants {
            replace,
            ..Wants::default()
        };
        let only_another = Wants {
            only: vec![Name::parse("g").expect("a name")],
            ..replace(true)
        };
        for (wants, received, cure) in [
            (replace(false), true, Cure::Replace),
            (replace(true), true, Cure::Wait),
            (only_another, true, Cure::MoveAway),
            (replace(false), false, Cure::Pin),
            (replace(true), false, Cure::Pin),
        ] {
            let mut state = refused(wants, received, listed(b"swarm's", 0));
            let conflict_told = conflict(&state).expect("two contents");
            let md5 = torrent().md5();
            assert_eq!(conflict_told.here, Some(Here { md5, cure }));
            assert_eq!(conflict_told.swarm, Some(digest(b"swarm's")));
            assert_eq!(conflict_told.only, "--only 'my f'");
            assert!(conflict_told.publisher_is_here);
            // while it makes way, and once it is gone
            state.make_way();
            assert!(conflict(&state).is_some());
            state.drop_file(torrent().name());
            state.standing.clear();
            assert_eq!(conflict(&state), None);
        }
    }

    #[test]
    fn other_machines_are_counted_and_the_first_are_named() {
        let state = |others| refused(Wants::default(), false, listed(b"mine", others));
        assert_eq!(conflict(&state(0)), None, "all have the same");
        let told = conflict(&state(7)).expect("others differ");
        assert_eq!(
            (told.here, told.others.len(), told.n_others),
            (None, NAMED, 7)
        );
        assert_eq!(told.others[0].md5, digest(b"theirs"));
        let size = serde_json::to_string(&conflict(&state(20)))
            .expect("JSON")
            .len();
        assert!(size < 700, "{size} bytes each second");
    }

    #[test]
    fn what_is_pinned_and_isnt_the_swarms_is_told() {
        let pin = |content: &[u8]| Wants {
            only: vec![torrent().name().clone()],
            md5: Some(digest(content)),
            ..Wants::default()
        };
        let told = |content: &[u8]| {
            let told = conflict(&refused(pin(content), true, listed(b"mine", 0)));
            told.map(|told| (told.pinned, told.here.is_some()))
        };
        assert_eq!(told(b"mine"), None);
        assert_eq!(told(b"another"), Some((Some(digest(b"another")), false)));
    }

    #[test]
    fn a_conflict_outlasts_the_listing_of_what_was_refused_for() {
        let mut state = refused(Wants::default(), false, listed(b"swarm's", 0));
        state.swarm.clear();
        let told = conflict(&state).expect("the tracker's last word");
        assert_eq!(
            (told.swarm, &*told.publisher),
            (Some(digest(b"swarm's")), "")
        );
    }
}
