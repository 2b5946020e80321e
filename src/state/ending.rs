//! When a run with `--exit-when-complete` may end, and how.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Held, Standing, State, TrackerKind, TrackerWord};
use crate::cli::Exit;
use crate::md5::Digest;
use crate::torrent::{Name, legible};

/// With `--exit-when-complete`, a run without any answer from the tracker gives up after this time.
const NO_ANSWER: Duration = Duration::from_secs(60);

/// A wanted file of the user's own that can't be read, or something else in its place, ends the program after this time.
const UNREADABLE: Duration = Duration::from_secs(60);
/// When the program ends, it reports the publishers of this many files.
const CREDITED: usize = 10;

/// Whether the program may end.
#[derive(Debug, PartialEq)]
pub enum Ending {
    /// Not before something changes, or before this time.
    Wait(Option<Instant>),
    /// The tracker must be asked once more: a new version may be coming.
    Ask,
    /// Now, with this exit code; the lines tell people what is here, or what is wrong.
    Now(Exit, Vec<String>),
}

enum Unfinished {
    Missing,
    /// The user's own file can't be read, or something that isn't one has its name.
    Unreadable(String),
    Wrong(String),
}

impl State {
    /// Describes a file that is here with another content than the swarm's.
    fn other(&self, name: &Name, here: Digest, swarm: Digest, received: bool) -> Unfinished {
        let advice = match received {
            true if !self.wants.replace => "--replace has it replaced, or move it away",
            true => "move it away",
            false if self.deleted.contains_key(name) => {
                "it was changed after it had come, so nothing replaces it in this run: move it away, and start again"
            }
            false => {
                "it is your own file, so nothing replaces it: move one of the two away, or pin the one that counts with --only \
                 and --md5"
            }
        };
        Unfinished::Wrong(format!(
            "{name} stands here with MD5 {here}, the swarm's has MD5 {swarm}: {advice}"
        ))
    }

    /// Says that the tracker's list, which was to be fetched, doesn't name all its `n` files.
    fn left_out(&self, n: usize) -> Unfinished {
        Unfinished::Wrong(format!(
            "the tracker has {n} files, and its list is full with {} of them: fetch the others with --only, or publish fewer",
            self.swarm.len()
        ))
    }

    /// Returns what keeps a wanted file from counting as done.
    fn fault(&self, name: &Name) -> Result<(), Unfinished> {
        if let Some(why) = self.given_up.get(name) {
            return Err(Unfinished::Wrong(format!("{name}: {why}")));
        }
        let listed = self.swarm.get(name);
        let unpinned = self.pin(name).is_none();
        if unpinned && self.coming.contains_key(name) {
            return Err(Unfinished::Missing);
        }
        match (self.standing.get(name), self.files.get(name), listed) {
            (Some(Standing::Unverified(_, here)), _, Some(listed)) if *here != listed.md5 => {
                Err(self.other(name, *here, listed.md5, false))
            }
            (Some(Standing::Unverified(..)), ..) => Err(Unfinished::Wrong(format!(
                "{name} came from originals only: nobody knows its MD5, so it is unverified"
            ))),
            (Some(Standing::Shared(_)), Some(held), _) => self.fault_of_whole(name, held),
            (Some(Standing::Hashing(_)), ..) if self.stuck.contains_key(name) => {
                Err(Unfinished::Unreadable(self.stuck[name].clone()))
            }
            (None, None, _) if self.blocked.contains(name) => {
                let why = self.stuck.get(name).map_or("", String::as_str);
                Err(Unfinished::Unreadable(format!("{name}: {why}")))
            }
            (None, None, listed) => match self.deleted.get(name) {
                Some(md5) if listed.is_none_or(|listed| listed.md5 == *md5) => {
                    Err(Unfinished::Wrong(format!(
                        "{name} was whole here and was deleted or moved away: it isn't fetched again in this run; start again to \
                         fetch it"
                    )))
                }
                _ => Err(Unfinished::Missing),
            },
            _ => Err(Unfinished::Missing),
        }
    }

    /// Does the same for a file that is whole in the folder.
    fn fault_of_whole(&self, name: &Name, held: &Held) -> Result<(), Unfinished> {
        if self.tracker == TrackerKind::Original {
            return Ok(());
        }
        match &held.word {
            TrackerWord::Stands { .. } if self.is_unconfirmed(name, held) => {
                Err(Unfinished::Missing)
            }
            TrackerWord::Stands { .. } => Ok(()),
            // it is what this run was asked for, whatever stands elsewhere
            TrackerWord::Other { .. } | TrackerWord::Refused { .. } if self.has_pinned(name) => {
                Ok(())
            }
            TrackerWord::Unasked | TrackerWord::Refused { .. } => Err(Unfinished::Missing),
            TrackerWord::Other { md5, gone_since } => {
                let listed = self.swarm.get(name);
                let pinned = listed.is_some_and(|listed| listed.pinned);
                // the file will be published again, or make way
                let undecided = !held.received && gone_since.is_some() && !pinned;
                let makes_way = self.replaces(name, held.received);
                if undecided || makes_way {
                    return Err(Unfinished::Missing);
                }
                Err(self.other(name, held.torrent.md5(), *md5, held.received))
            }
        }
    }

    /// Finds a pinned file that is here with another MD5: it can't be shared, and without `--replace` it can't be
    /// fetched.
    fn breaks_pin(&self) -> Option<String> {
        let name = self.wants.only.first()?;
        let pin = self.pin(name)?;
        let held = self.files.get(name)?;
        let md5 = held.torrent.md5();
        (held.stamp.is_some() && md5 != pin && !self.wants.replace).then(|| {
            format!(
                "{name} stands here with MD5 {md5}, and --md5 asks for {pin}: it isn't shared; correct the MD5, move the file away, or \
                 add --replace"
            )
        })
    }

    /// Describes a file that is here when the program ends: which content it is, and who says so.
    fn credits(&self, name: &Name) -> Option<String> {
        let held = self.files.get(name)?;
        let md5 = held.torrent.md5();
        if self.pin(name).is_some() {
            return Some(format!("{name}, MD5 {md5}, as pinned"));
        }
        if held.word == (TrackerWord::Stands { mine: true }) {
            return Some(format!("{name}, MD5 {md5}, published by this machine"));
        }
        let listed = self.swarm.get(name)?;
        let here = if listed.here {
            "who is here"
        } else {
            "who isn't here now"
        };
        Some(format!(
            "{name}, MD5 {md5}, published {} by {}, {here}",
            date(listed.published),
            legible(&listed.publisher)
        ))
    }

    /// Returns whether the program may end now, by `--exit-when-complete`.
    pub fn ending(&mut self, now: Instant) -> Ending {
        if let Some(why) = self.breaks_pin() {
            return Ending::Now(Exit::Integrity, vec![why]);
        }
        if !self.wants.exit_when_complete {
            return Ending::Wait(None);
        }
        if let Some(fault) = &self.disk_fault {
            return Ending::Now(Exit::Disk, vec![fault.clone()]);
        }
        if self.last_answer.is_none() {
            let until = self.start + NO_ANSWER;
            let cause = self.no_list.as_ref().map(|cause| format!(": {cause}"));
            let (seconds, cause) = (NO_ANSWER.as_secs(), cause.unwrap_or_default());
            let why = format!("no list from the tracker for {seconds} s{cause}");
            return if now < until {
                Ending::Wait(Some(until))
            } else {
                Ending::Now(Exit::Unreachable, vec![why])
            };
        }
        let all = self.wants.only.is_empty() && !self.wants.pick;
        let names = match all {
            true => self.all_names(),
            false => self.named().cloned().collect(),
        };
        if names.is_empty() {
            return Ending::Wait(None);
        }
        let settled = self.last_new + self.wants.list_every;
        if all && now < settled {
            return Ending::Wait(Some(settled));
        }
        let faults = names.iter().filter_map(|name| self.fault(name).err());
        let left_out = self.n_files.filter(|_| all).map(|n| self.left_out(n));
        let faults: Vec<Unfinished> = faults.chain(left_out).collect();
        if faults
            .iter()
            .any(|fault| matches!(fault, Unfinished::Missing))
        {
            self.done_at = None;
            return Ending::Wait(None);
        }
        self.ending_of_done(&names, faults, now)
    }

    /// Returns what a run without given names wants.
    fn all_names(&self) -> BTreeSet<Name> {
        let listed = self.swarm.keys().chain(self.coming.keys()).cloned();
        let unverified = self.standing.iter();
        let unverified = unverified
            .filter(|(_, standing)| matches!(standing, Standing::Unverified(..)))
            .map(|(name, _)| name.clone());
        let of_originals = self.from_originals_only().into_iter().map(|(name, _)| name);
        listed.chain(unverified).chain(of_originals).collect()
    }

    /// Returns whether the program may end now that nothing is missing; `faults` say what is wrong with the files.
    fn ending_of_done(
        &mut self,
        names: &BTreeSet<Name>,
        faults: Vec<Unfinished>,
        now: Instant,
    ) -> Ending {
        let since = *self.done_at.get_or_insert(now);
        let unreadable = faults.iter().find_map(|fault| match fault {
            Unfinished::Unreadable(why) => Some(why.clone()),
            _ => None,
        });
        if let Some(why) = unreadable {
            let until = since + UNREADABLE;
            return if now < until {
                Ending::Wait(Some(until))
            } else {
                Ending::Now(Exit::Disk, vec![why])
            };
        }
        let until = since + self.wants.seed_for;
        if now < until {
            return Ending::Wait(Some(until));
        }
        let wrong = faults.into_iter().filter_map(|fault| match fault {
            Unfinished::Wrong(why) => Some(why),
            Unfinished::Missing | Unfinished::Unreadable(_) => None,
        });
        let wrong: Vec<String> = wrong.collect();
        if !wrong.is_empty() {
            return Ending::Now(Exit::Integrity, wrong);
        }
        let ours = matches!(self.tracker, TrackerKind::Ours { .. });
        if ours && self.no_list.is_none() && self.last_answer.is_none_or(|at| at < until) {
            return Ending::Ask;
        }
        let credits = names.iter().filter_map(|name| self.credits(name));
        Ending::Now(Exit::Done, credits.take(CREDITED).collect())
    }
}

/// Formats a time in UTC; `seconds` are since 1970.
pub fn date(seconds: u64) -> String {
    // by eras of 400 years, each of which has 146,097 days and begins in March
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (of_month, of_day) = (of_year - (153 * month + 2) / 5 + 1, seconds % 86_400);
    let (month, turn) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year + era * 400 + turn;
    let (hour, minute) = (of_day / 3_600, of_day / 60 % 60);
    format!("{year:04}-{month:02}-{of_month:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::NoList;
    use crate::md5::digest;
    use crate::protocol::{Coming, PeerEntry, Summary, SwarmList};
    use crate::state::Wants;
    use crate::state::tests::{name, share, stamp, state_wanting, torrent};
    use std::collections::BTreeMap;

    /// A run that wants `f` alone and has it shared, received in this run; its publisher is here. The tracker answered
    /// at the start.
    fn done() -> State {
        let mut state = state_wanting(Wants {
            only: vec![name("f")],
            exit_when_complete: true,
            ..Wants::default()
        });
        state.tracker = TrackerKind::Ours { local: false };
        let listed = Summary {
            publisher: "10.0.0.2:1".to_owned(),
            published: 1_764_046_000,
            here: true,
            ..Summary::of(&torrent())
        };
        state.swarm.insert(name("f"), listed);
        share(&mut state, TrackerWord::Stands { mine: false });
        let held = state.files.get_mut(&name("f")).expect("shared");
        (held.received, held.downloaded) = (true, true);
        state.last_answer = Some(state.start);
        state
    }

    fn held(state: &mut State) -> &mut Held {
        state.files.get_mut(&name("f")).expect("shared")
    }

    fn listed(state: &mut State) -> &mut Summary {
        state.swarm.get_mut(&name("f")).expect("listed")
    }

    fn other_stands(state: &mut State, gone_since: Option<Instant>) {
        let md5 = digest(b"other");
        listed(state).md5 = md5;
        held(state).word = TrackerWord::Other { md5, gone_since };
    }

    fn comes(state: &mut State, file: &str) {
        let coming = Coming {
            name: name(file),
            size: 1,
            done: 0,
            peer: String::new(),
            head: None,
        };
        state.coming.insert(name(file), coming);
    }

    fn deleted(state: &mut State) {
        let md5 = held(state).torrent.md5();
        state.withdraw(&name("f"));
        state.deleted.insert(name("f"), md5);
    }

    fn unverified(state: &mut State, md5: &Digest) {
        state.withdraw(&name("f"));
        state.stands_unverified(&name("f"), stamp(), *md5);
    }

    /// What is expected: to wait, or to end with this code and say this.
    type Expected = Option<(Exit, &'static str)>;

    #[test]
    fn a_run_ends_well_only_with_the_swarms_content() {
        const HERE: &str = "published 2025-11-25 04:46 UTC by 10.0.0.2:1, who is here";
        type Case = (&'static str, fn(&mut State), Expected);
        let cases: [Case; 35] = [
            ("it is here", |_| (), Some((Exit::Done, HERE))),
            (
                "its publisher has left since",
                |state| listed(state).here = false,
                Some((Exit::Done, "10.0.0.2:1, who isn't here now")),
            ),
            (
                "an earlier run received it",
                |state| held(state).downloaded = false,
                Some((Exit::Done, HERE)),
            ),
            (
                "an earlier run received it, and its publisher isn't here",
                |state| (held(state).downloaded, listed(state).here) = (false, false),
                None,
            ),
            (
                "this machine is its publisher",
                |state| held(state).word = TrackerWord::Stands { mine: true },
                Some((Exit::Done, "published by this machine")),
            ),
            (
                "the tracker wasn't asked yet",
                |state| held(state).word = TrackerWord::Unasked,
                None,
            ),
            (
                "the tracker refuses it",
                |state| {
                    let (why, at) = (String::new(), state.start);
                    held(state).word = TrackerWord::Refused { why, at };
                },
                None,
            ),
            (
                "a received one, and another content stands",
                |state| other_stands(state, None),
                Some((Exit::Integrity, "--replace has it replaced")),
            ),
            (
                "an own one, and another content stands",
                |state| {
                    held(state).received = false;
                    other_stands(state, None);
                },
                Some((Exit::Integrity, "it is your own file")),
            ),
            (
                "an own one, and the other content's publisher has left",
                |state| {
                    held(state).received = false;
                    other_stands(state, Some(state.start));
                },
                None,
            ),
            (
                "an own one, and the other content is pinned",
                |state| {
                    held(state).received = false;
                    other_stands(state, Some(state.start));
                    listed(state).pinned = true;
                },
                Some((Exit::Integrity, "it is your own file")),
            ),
            (
                "a received one that makes way",
                |state| {
                    state.wants.replace = true;
                    other_stands(state, None);
                },
                None,
            ),
            ("a new version comes", |state| comes(state, "f"), None),
            (
                "a new version comes, and it is pinned",
                |state| {
                    state.wants.md5 = Some(torrent().md5());
                    comes(state, "f");
                },
                Some((Exit::Done, "as pinned")),
            ),
            (
                "another one stands, and this one is pinned",
                |state| {
                    state.wants.md5 = Some(torrent().md5());
                    other_stands(state, None);
                },
                Some((Exit::Done, "as pinned")),
            ),
            (
                "another one stands, and this one is pinned, with --replace",
                |state| {
                    state.wants.md5 = Some(torrent().md5());
                    state.wants.replace = true;
                    other_stands(state, None);
                },
                Some((Exit::Done, "as pinned")),
            ),
            (
                "another one is pinned",
                |state| state.wants.md5 = Some(digest(b"other")),
                Some((Exit::Integrity, "--md5 asks for")),
            ),
            (
                "another one is pinned, which replaces it",
                |state| {
                    state.wants.md5 = Some(digest(b"other"));
                    state.wants.replace = true;
                    held(state).word = TrackerWord::Unasked;
                },
                None,
            ),
            (
                "the user deleted it",
                deleted,
                Some((Exit::Integrity, "was deleted or moved away")),
            ),
            (
                "the user deleted it, and there is another content now",
                |state| {
                    deleted(state);
                    listed(state).md5 = digest(b"other");
                },
                None,
            ),
            (
                "nobody has it",
                |state| {
                    state.withdraw(&name("f"));
                    state.swarm.clear();
                },
                None,
            ),
            (
                "all is wanted, and that's all",
                |state| state.wants.only.clear(),
                Some((Exit::Done, HERE)),
            ),
            (
                "all is wanted, and the list leaves some out",
                |state| {
                    state.wants.only.clear();
                    state.n_files = Some(2);
                },
                Some((Exit::Integrity, "has 2 files, and its list is full with 1")),
            ),
            (
                "one is wanted, and the list leaves others out",
                |state| state.n_files = Some(2),
                Some((Exit::Done, HERE)),
            ),
            (
                "all is wanted, and another file is being hashed",
                |state| {
                    state.wants.only.clear();
                    comes(state, "g");
                },
                None,
            ),
            (
                "all is wanted, and there is nothing",
                |state| {
                    state.wants.only.clear();
                    state.withdraw(&name("f"));
                    state.swarm.clear();
                },
                None,
            ),
            (
                "all is wanted, and originals have another file",
                |state| {
                    state.wants.only.clear();
                    let original = PeerEntry {
                        ip: "10.0.0.4".to_owned(),
                        port: 1,
                        file_list: vec!["g".to_owned()],
                        v: None,
                        pieces: BTreeMap::new(),
                    };
                    state.take_peers(&[original], None, state.start);
                },
                None,
            ),
            (
                "all is wanted, and it came from originals",
                |state| {
                    state.wants.only.clear();
                    state.swarm.clear();
                    unverified(state, &torrent().md5());
                },
                Some((Exit::Integrity, "nobody knows its MD5")),
            ),
            (
                "it came from originals, and another content stands",
                |state| unverified(state, &digest(b"other")),
                Some((Exit::Integrity, "the swarm's has MD5")),
            ),
            (
                "what is picked is wanted, and nothing is",
                |state| {
                    state.wants.only.clear();
                    state.wants.pick = true;
                },
                None,
            ),
            (
                "an earlier run received it, and it is pinned",
                |state| {
                    (held(state).downloaded, listed(state).here) = (false, false);
                    state.wants.md5 = Some(torrent().md5());
                },
                Some((Exit::Done, "as pinned")),
            ),
            (
                "a received one, and the other content's publisher has left",
                |state| other_stands(state, Some(state.start)),
                Some((Exit::Integrity, "--replace has it replaced")),
            ),
            (
                "an original's tracker decides nothing",
                |state| {
                    state.tracker = TrackerKind::Original;
                    held(state).word = TrackerWord::Unasked;
                },
                Some((Exit::Done, HERE)),
            ),
            (
                "the disk fails",
                |state| state.disk_fault = Some("full".to_owned()),
                Some((Exit::Disk, "full")),
            ),
            (
                "it needn't end",
                |state| state.wants.exit_when_complete = false,
                None,
            ),
        ];
        for (situation, prepare, expected) in cases {
            let mut state = done();
            let now = state.start;
            prepare(&mut state);
            match (state.ending(now), expected) {
                (Ending::Wait(None), None) => {}
                (Ending::Now(code, why), Some((expected, text))) => {
                    assert_eq!(code, expected, "{situation}: {why:?}");
                    assert!(why.concat().contains(text), "{situation}: {why:?}");
                }
                (ending, _) => panic!("{situation}: {ending:?}"),
            }
        }
    }

    #[test]
    fn without_an_answer_it_ends_after_a_minute() {
        let mut state = done();
        state.last_answer = None;
        let until = state.start + NO_ANSWER;
        for now in [state.start, until - Duration::from_secs(1)] {
            assert_eq!(state.ending(now), Ending::Wait(Some(until)));
        }
        let ended = state.ending(until);
        assert!(matches!(ended, Ending::Now(Exit::Unreachable, _)));
    }

    #[test]
    fn all_is_there_once_nothing_new_came_for_a_while() {
        let mut state = done();
        let (start, second) = (state.start, Duration::from_secs(1));
        state.wants.list_every = 20 * second;
        assert!(matches!(state.ending(start), Ending::Now(Exit::Done, _)));
        state.wants.only.clear();
        let listed = listed(&mut state).clone();
        let coming = |file: &str| Coming {
            name: name(file),
            size: 1,
            done: 0,
            peer: String::new(),
            head: None,
        };
        for (at, coming, since) in [
            (1, vec![], 0),
            // "f" is known; so is "g", the second time
            (2, vec![coming("g")], 2),
            (3, vec![coming("g")], 2),
            (4, vec![], 2),
        ] {
            let list = SwarmList::for_a_test(vec![listed.clone()], coming);
            state.update_list(&list, start + at * second);
            let until = start + (since + 20) * second;
            assert_eq!(
                state.ending(start + at * second),
                Ending::Wait(Some(until)),
                "{at}"
            );
        }
        let until = start + 22 * second;
        state.last_answer = Some(until);
        assert!(matches!(state.ending(until), Ending::Now(Exit::Done, _)));
        let mut new = listed.clone();
        new.name = name("h");
        let list = SwarmList::for_a_test(vec![listed, new], Vec::new());
        state.update_list(&list, until);
        assert_eq!(state.ending(until), Ending::Wait(Some(until + 20 * second)));
    }

    #[test]
    fn it_serves_others_first_from_when_all_was_there() {
        let mut state = done();
        let (start, second) = (state.start, Duration::from_secs(1));
        state.wants.seed_for = 10 * second;
        assert_eq!(state.ending(start), Ending::Wait(Some(start + 10 * second)));
        // a new version comes, and goes
        comes(&mut state, "f");
        assert_eq!(state.ending(start + 5 * second), Ending::Wait(None));
        state.coming.clear();
        let until = start + 16 * second;
        for at in [6, 15] {
            let ending = state.ending(start + at * second);
            assert_eq!(ending, Ending::Wait(Some(until)), "{at}");
        }
        state.last_answer = Some(until);
        assert!(matches!(state.ending(until), Ending::Now(Exit::Done, _)));
    }

    #[test]
    fn before_it_ends_well_the_tracker_is_asked_once_more() {
        let mut state = done();
        let now = state.start + Duration::from_secs(1);
        assert_eq!(state.ending(now), Ending::Ask);
        state.last_answer = Some(now);
        assert!(matches!(state.ending(now), Ending::Now(Exit::Done, _)));
        // an original answers nothing that matters
        let mut state = done();
        state.tracker = TrackerKind::Original;
        let now = state.start + Duration::from_secs(1);
        assert!(matches!(state.ending(now), Ending::Now(Exit::Done, _)));
        // who can't be reached isn't asked
        let mut state = done();
        state.no_list(NoList::NobodyListens);
        let now = state.start + Duration::from_secs(1);
        assert!(matches!(state.ending(now), Ending::Now(Exit::Done, _)));
    }

    #[test]
    fn an_unreadable_own_file_ends_it_after_a_minute() {
        let mut state = done();
        let now = state.start;
        state.withdraw(&name("f"));
        state.standing.insert(name("f"), Standing::Hashing(stamp()));
        assert_eq!(state.ending(now), Ending::Wait(None), "it may be readable");
        state.stuck.insert(name("f"), "no permission".to_owned());
        let until = now + UNREADABLE;
        assert_eq!(state.ending(now), Ending::Wait(Some(until)));
        let why = vec!["no permission".to_owned()];
        assert_eq!(state.ending(until), Ending::Now(Exit::Disk, why));
    }

    #[test]
    fn something_in_the_way_ends_it_after_a_minute() {
        let mut state = done();
        let now = state.start;
        state.withdraw(&name("f"));
        assert!(state.note_blocked(&name("f"), "a folder"));
        let until = now + UNREADABLE;
        assert_eq!(state.ending(now), Ending::Wait(Some(until)));
        let why = vec!["f: a folder".to_owned()];
        assert_eq!(state.ending(until), Ending::Now(Exit::Disk, why));
        state.unblock(&name("f"));
        assert_eq!(state.ending(until), Ending::Wait(None), "it was moved away");
    }

    #[test]
    fn a_moment_is_written_as_people_do() {
        for (seconds, written) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (1_764_046_000, "2025-11-25 04:46 UTC"),
            (4_102_444_800, "2100-01-01 00:00 UTC"),
        ] {
            assert_eq!(date(seconds), written);
        }
    }
}
