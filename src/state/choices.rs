//! The last decisions, kept for the page.

use std::collections::VecDeque;

use serde::Serialize;

use super::State;
use crate::picker::{Decision, PeerId, Why};

/// How many decisions are kept for the page.
const CHOICES: usize = 20;

/// The last decisions. They are put into words when somebody looks: there are thousands in a second.
#[derive(Default)]
pub(super) struct RecentChoices(VecDeque<Decision>);

/// Why a request was made, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// The file.
    pub name: String,
    /// The candidates.
    pub pieces: Vec<u32>,
    /// Who was asked.
    pub peer: String,
    /// Its latency, milliseconds.
    pub latency_ms: Option<f64>,
    /// How many peers have the rarest.
    pub copies: Option<u32>,
    /// How many pieces were equally rare.
    pub tied: usize,
    /// The holders that could have been asked.
    pub holders: Vec<Chance>,
    /// `rarest`, `late` or `news`.
    pub reason: &'static str,
    /// Whether it belongs to a classic round.
    #[serde(skip)]
    pub classic: bool,
}

/// A holder's chance of being asked.
#[derive(Clone, Debug, Serialize)]
pub struct Chance {
    /// The holder.
    pub peer: String,
    /// From 0 to 1.
    pub chance: f64,
}

impl State {
    /// Returns a decision and its reason, with addresses instead of peer numbers.
    pub fn explain(&self, decision: &Decision, classic: bool) -> Choice {
        let known = |peer: &PeerId| self.peers.get(peer);
        let at = |peer: &PeerId| known(peer).map(|peer| peer.addr.to_string());
        let latency = known(&decision.peer).and_then(|peer| peer.latency);
        let (copies, tied, holders, reason) = match &decision.why {
            Why::Rarest {
                copies,
                tied,
                holders,
            } => (Some(*copies), *tied, &holders[..], "rarest"),
            Why::Late => (None, 1, &[][..], "late"),
            Why::News => (None, 0, &[][..], "news"),
        };
        let chance = |(peer, chance): &(PeerId, f64)| Chance {
            peer: at(peer).unwrap_or_default(),
            chance: *chance,
        };
        Choice {
            name: decision.get.name.to_string(),
            pieces: decision.get.pieces.clone(),
            peer: at(&decision.peer).unwrap_or_default(),
            latency_ms: latency.map(|latency| latency.as_secs_f64() * 1e3),
            copies,
            tied,
            holders: holders.iter().map(chance).collect(),
            reason,
            classic,
        }
    }

    /// Keeps a decision for the page.
    pub fn keep_decision(&mut self, decision: &Decision) {
        let RecentChoices(last) = &mut self.choices;
        last.push_back(decision.clone());
        if last.len() > CHOICES {
            last.pop_front();
        }
    }

    /// Returns the last decisions, the newest last. What was asked of peers that are gone isn't shown.
    pub(super) fn last_choices(&self) -> Vec<Choice> {
        let last = self.choices.0.iter();
        let known = last.filter(|decision| self.peers.contains_key(&decision.peer));
        known
            .map(|decision| self.explain(decision, false))
            .collect()
    }
}
