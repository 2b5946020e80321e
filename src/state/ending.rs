//! When a run with `--exit-when-complete` may end, and how.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Standing, State};
use crate::cli::Exit;
use crate::md5::Digest;
use crate::torrent::Name;

/// With `--exit-when-complete`: without any answer of the tracker, it is given up after this time.
const NO_ANSWER: Duration = Duration::from_secs(60);

/// Whether the program may end.
#[derive(Debug, PartialEq)]
pub enum Ending {
    /// Not before something changes, or this moment.
    Wait(Option<Instant>),
    /// With this code; the names that are the reason, with what is wrong with them.
    Now(Exit, Vec<String>),
}

enum Fault {
    Missing,
    Wrong(String),
}

impl Fault {
    fn other(name: &Name, here: Digest, swarm: Digest) -> Self {
        Self::Wrong(format!(
            "{name} stands here with MD5 {here}, the swarm's has MD5 {swarm}: move one of the two away"
        ))
    }
}

impl State {
    /// What keeps a wanted file from counting as done.
    fn fault(&self, name: &Name) -> Result<(), Fault> {
        if let Some(why) = self.given_up.get(name) {
            return Err(Fault::Wrong(format!("{name}: {why}")));
        }
        match (
            self.standing.get(name),
            self.files.get(name),
            self.swarm.get(name),
        ) {
            (Some(Standing::Unverified(_, here)), _, Some(summary)) if *here != summary.md5 => {
                Err(Fault::other(name, *here, summary.md5))
            }
            (Some(Standing::Unverified(..)), ..) => Err(Fault::Wrong(format!(
                "{name} came from originals only: nobody knows its MD5, so it is unverified"
            ))),
            (Some(Standing::Shared(_)), Some(held), Some(summary))
                if held.torrent.md5() != summary.md5 =>
            {
                Err(Fault::other(name, held.torrent.md5(), summary.md5))
            }
            (Some(Standing::Shared(_)), Some(_), _) => Ok(()),
            _ => Err(Fault::Missing),
        }
    }

    /// Whether the program may end now, by `--exit-when-complete`.
    pub fn ending(&mut self, now: Instant) -> Ending {
        if !self.wants.exit_when_complete {
            return Ending::Wait(None);
        }
        if let Some(fault) = &self.disk_fault {
            return Ending::Now(Exit::Disk, vec![fault.clone()]);
        }
        if self.answered.is_none() {
            let until = self.start + NO_ANSWER;
            let why = format!("no answer from the tracker for {} s", NO_ANSWER.as_secs());
            return if now < until {
                Ending::Wait(Some(until))
            } else {
                Ending::Now(Exit::Unreachable, vec![why])
            };
        }
        let mut names: BTreeSet<Name> = self.named().cloned().collect();
        if names.is_empty() && self.wants.pick {
            return Ending::Wait(None);
        }
        if self.wants.only.is_empty() && !self.wants.pick {
            names.extend(self.swarm.keys().cloned());
            names.extend(
                self.standing
                    .iter()
                    .filter(|(_, standing)| matches!(standing, Standing::Unverified(..)))
                    .map(|(name, _)| name.clone()),
            );
            names.extend(self.from_originals_only().into_iter().map(|(name, _)| name));
            let settled = self.last_new + self.wants.list_every;
            if names.is_empty() || now < settled {
                return Ending::Wait((!names.is_empty()).then_some(settled));
            }
        }
        let faults: Vec<Fault> = names
            .iter()
            .filter_map(|name| self.fault(name).err())
            .collect();
        if faults.iter().any(|fault| matches!(fault, Fault::Missing)) {
            self.done_at = None;
            return Ending::Wait(None);
        }
        let until = *self.done_at.get_or_insert(now) + self.wants.seed_for;
        let wrong = faults.into_iter().filter_map(|fault| {
            if let Fault::Wrong(why) = fault {
                Some(why)
            } else {
                None
            }
        });
        match wrong.collect::<Vec<_>>() {
            _ if now < until => Ending::Wait(Some(until)),
            wrong if wrong.is_empty() => Ending::Now(Exit::Done, wrong),
            wrong => Ending::Now(Exit::Integrity, wrong),
        }
    }
}
