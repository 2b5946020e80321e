//! What a peer tells of its decisions.

use std::net::SocketAddr;
use std::time::Instant;

use super::Client;
use crate::events::Event;
use crate::picker::{Order, PeerNo};
use crate::report::status::{self, Status};
use crate::report::{Terminal, Weight};
use crate::state::State;
use crate::torrent::Name;

impl Client {
    /// Whether anybody wants to know of each decision and each piece.
    pub(crate) fn explains(&self) -> bool {
        let classic = self.0.config.classic;
        let weight = if classic {
            Weight::Normal
        } else {
            Weight::Detail
        };
        self.0.report.wants(weight)
    }

    /// Why a request is made: to be told, and to be shown where somebody looks.
    pub(super) fn explain(&self, state: &mut State, order: &Order, now: Instant) -> Option<Event> {
        let (told, shown) = (self.explains(), state.is_looked_at(now));
        if order.get.pieces.is_empty() || !(told || shown) {
            return None;
        }
        let event = {
            let at = |peer: &PeerNo| {
                state
                    .peers
                    .get(peer)
                    .map(|peer| peer.addr.to_string())
                    .unwrap_or_default()
            };
            let latency = state
                .peers
                .get(&order.peer)
                .and_then(|peer| peer.latency)
                .map(|latency| latency.as_secs_f64() * 1e3);
            Event::pick(order, at(&order.peer), latency, at, self.0.config.classic)
        };
        if shown {
            state.decided(event.clone());
        }
        told.then_some(event)
    }

    /// A connection that was taken from is over, and why.
    pub(crate) fn lost(&self, peer: PeerNo, addr: SocketAddr, why: String) {
        if let Some(known) = self.lock().peers.get_mut(&peer) {
            known.trouble = Some(why.clone());
        }
        self.say(&Event::Lost { peer: addr, why });
    }

    /// A piece was sent.
    pub(crate) fn gave(&self, peer: PeerNo, name: &Name, idx: u32, len: u32) {
        let addr = {
            let mut state = self.lock();
            state.gave(peer, name, u64::from(len), Instant::now());
            state.peers.get(&peer).map(|peer| peer.addr)
        };
        if let Some(peer) = addr.filter(|_| self.0.report.wants(Weight::Detail)) {
            self.say(&Event::Gave {
                name: name.to_string(),
                idx,
                len,
                peer,
            });
        }
    }

    /// Each second: what became due to be told since.
    pub(super) fn tell_progress(&self) {
        let min_peers = self.0.config.min_peers;
        let events: Vec<Event> = {
            let (mut state, now) = (self.lock(), Instant::now());
            let untold = state.untold_progress(now);
            let progress = untold
                .iter()
                .filter_map(|name| Event::progress(&state, name, min_peers, now));
            progress.filter(Event::is_news).collect()
        };
        events.iter().for_each(|event| self.say(event));
        self.tell_given(false);
    }

    /// What went to others since it was told last; where it is the end, all of it.
    pub(super) fn tell_given(&self, at_the_end: bool) {
        let events: Vec<Event> = {
            let mut state = self.lock();
            let given = state.given(at_the_end, Instant::now());
            let events = given.iter().filter_map(|given| Event::given(&state, given));
            events.collect()
        };
        events.iter().for_each(|event| self.say(event));
    }

    /// Each second, on a terminal: the lines of the files in work.
    pub(super) fn show_status(&self, status: &mut Status, terminal: Terminal) {
        let now = Instant::now();
        let (work, others) = self
            .lock()
            .in_work(status::MOST, self.0.config.min_peers, now);
        let lines = status.lines(&work, others, terminal, now);
        self.0.report.show(lines);
    }
}
