//! Reports to people and to the log: decisions, pieces, progress, and how a run ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Client;
use super::errors::ClientError;
use crate::cli::Exit;
use crate::events::Event;
use crate::http::NOT_HTTP;
use crate::net::Trouble;
use crate::net::addresses::at_port;
use crate::picker::{Decision, PeerId};
use crate::report::Weight;
use crate::report::status::{self, Status};
use crate::state::{BadPieceVerdict, Ending, Given, Landing, State};
use crate::torrent::{BadPiece, Name, Torrent};
use crate::units::percent;

/// The least time between two looks at whether all is done: one at 10,000 files takes a millisecond or two under the lock, and
/// each file that comes asks for one.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Client {
    pub(crate) fn say(&self, event: &Event) {
        self.0.report.say(event);
        if let Some(show) = self.0.show_now.get()
            && event.changes_work()
        {
            show.fire();
        }
    }

    /// The port where other peers are served.
    pub(crate) fn port(&self) -> u16 {
        self.0.port
    }

    /// The tracker's name or address with its port, as the user gave them.
    pub(crate) fn tracker_at(&self) -> String {
        let config = &self.0.config;
        at_port(&config.tracker, config.tracker_port)
    }

    /// Waits until the program may end, by `--exit-when-complete`; without that flag, it waits forever.
    pub fn wait_until_done(&self) -> Exit {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            match state.ending(now) {
                Ending::Ask => {
                    drop(state);
                    self.ping_tracker();
                    state = self.lock();
                }
                Ending::Now(exit, why) => {
                    drop(state);
                    self.tell_given(true);
                    self.report_end(exit, &why);
                    let code = exit as u8;
                    // nothing stands below the last words
                    self.0.report.settle();
                    self.say(&Event::Ending { code, why });
                    self.0.report.settle();
                    return exit;
                }
                // an hour is long enough: the loop waits again
                Ending::Wait(until) => {
                    let hour = Duration::from_secs(3600);
                    drop(self.wait(state, until.unwrap_or(now + hour)));
                    sleep(LOOK_AGAIN);
                    state = self.lock();
                }
            }
        }
    }

    /// Returns true if decisions and single pieces are reported.
    fn explains(&self) -> bool {
        let weight = match self.0.config.classic {
            true => Weight::Normal,
            false => Weight::Detail,
        };
        self.0.report.wants(weight)
    }

    /// Reports why a request is made, and keeps it for the page.
    pub(super) fn explain(&self, decision: &Decision) {
        if decision.get.pieces.is_empty() {
            return;
        }
        let choice = {
            let mut state = self.lock();
            state.keep_decision(decision);
            self.explains()
                .then(|| state.explain(decision, self.0.config.classic))
        };
        if let Some(choice) = choice {
            self.say(&Event::Pick(choice));
        }
    }

    /// Reports that a connection that pieces were taken from has ended, and why.
    pub(super) fn lost(&self, peer: PeerId, addr: SocketAddr, fault: &ClientError) {
        // a classic round has a connection for each piece
        if matches!(fault, ClientError::NotConnected(_)) {
            return self.not_connected(peer, addr, fault);
        }
        let cause = fault.lost();
        self.lock().note_trouble(peer, &cause);
        self.say(&Event::Lost { peer: addr, cause });
    }

    /// Reports a listed peer that can't be connected to, or that introduces itself wrongly: once, until that changes.
    pub(super) fn not_connected(&self, peer: PeerId, addr: SocketAddr, fault: &ClientError) {
        let cause = fault.lost();
        let is_news = self.lock().note_trouble(peer, &cause);
        if is_news {
            self.say(&Event::NotReached { peer: addr, cause });
        }
    }

    pub(super) fn tell_upload_ended(&self, peer: SocketAddr, served: Result<(), ClientError>) {
        if let Err(fault) = served {
            let why = fault.to_string();
            self.say(&Event::UploadEnded { peer, why });
        }
    }

    /// Reports a piece that came and is wrong.
    pub(super) fn bad_piece(&self, peer: PeerId, torrent: &Arc<Torrent>, idx: u32, bad: BadPiece) {
        let (verdict, peer) = {
            let mut state = self.lock();
            (state.failed(peer, torrent, idx, bad), state.addr_of(peer))
        };
        let (name, why) = (torrent.name().to_string(), bad.to_string());
        self.say(&Event::BadPiece {
            name: name.clone(),
            idx,
            why,
            peer,
        });
        if verdict == BadPieceVerdict::PublisherIsFaulty {
            self.say(&Event::PublisherFaulty { name, idx, peer });
        }
    }

    /// Reports a piece that was sent.
    pub(super) fn gave(&self, peer: PeerId, name: &Name, idx: u32, len: u32) {
        let addr = {
            let mut state = self.lock();
            state.gave(peer, name, u64::from(len), Instant::now());
            state.addr_of(peer)
        };
        if let Some(peer) = addr.filter(|_| self.0.report.wants(Weight::Detail)) {
            let name = name.to_string();
            self.say(&Event::Gave {
                name,
                idx,
                len,
                peer,
            });
        }
    }

    /// Reports a piece that has landed, if single pieces are reported.
    pub(super) fn tell_landed(&self, peer: PeerId, name: &Name, idx: u32, landing: Landing) {
        if landing == Landing::NotWanted || !self.explains() {
            return;
        }
        let event = {
            let state = self.lock();
            let held = state.files().get(name);
            held.map(|held| Event::Piece {
                name: name.to_string(),
                idx,
                peer: state.addr_of(peer),
                have: held.have.count(),
                n_pieces: held.torrent.n_pieces(),
                classic: self.0.config.classic,
            })
        };
        event.iter().for_each(|event| self.say(event));
    }

    /// Every second, reports what has become due.
    pub(super) fn tell_progress(&self) {
        let min_peers = self.0.config.min_peers;
        let events: Vec<Event> = {
            let (mut state, now) = (self.lock(), Instant::now());
            let untold = state.untold_progress(now);
            let untold = untold.iter();
            let events = untold.filter_map(|name| progress(&state, name, min_peers, now));
            events.filter(Event::is_news).collect()
        };
        events.iter().for_each(|event| self.say(event));
        self.tell_given(false);
    }

    /// Reports on a file that is now whole.
    pub(super) fn report_on_completion(&self, name: &Name) -> Option<Event> {
        let state = self.lock();
        let held = state.files().get(name)?;
        let now = Instant::now();
        let since = now.saturating_duration_since(held.since);
        let held_up = held.held_up(now);
        Some(Event::Complete {
            held_up: held_up.map(|(term, _)| term),
            of_bound: held_up.and_then(|(_, share)| share),
            name: name.to_string(),
            size: held.torrent.size(),
            md5: held.torrent.md5().to_string(),
            seconds: since.as_secs_f64(),
            here: held.had,
            reused: held.reused,
            n_pieces: held.torrent.n_pieces(),
            gave: held.gave(),
            requests: state.n_requests(),
            shares: state.shares(held),
        })
    }

    /// Reports what was sent since the last report; at the end, all of it.
    fn tell_given(&self, at_the_end: bool) {
        let events: Vec<Event> = {
            let mut state = self.lock();
            let given = state.given(at_the_end, Instant::now());
            given
                .iter()
                .filter_map(|given| report_on_given(&state, given))
                .collect()
        };
        events.iter().for_each(|event| self.say(event));
    }

    /// Every second, on a terminal, updates the lines of the files in work, or the one that says how things stand.
    pub(super) fn show_status(&self, status: &mut Status) {
        let Some(terminal) = self.0.report.status_terminal() else {
            return;
        };
        let (now, min_peers) = (Instant::now(), self.0.config.min_peers);
        let (work, others, at_rest) = {
            let state = self.lock();
            let (work, others) = state.in_work(status::MOST, min_peers, now);
            let at_rest = work.is_empty().then(|| state.at_rest());
            (work, others, at_rest)
        };
        let lines = match at_rest {
            Some(at_rest) => vec![status::line_at_rest(&at_rest, terminal)],
            None => status.lines(&work, others, terminal, now),
        };
        self.0.report.show(lines);
    }

    pub(crate) fn trouble(&self, trouble: Trouble) {
        self.say(&match trouble {
            Trouble::Accept(fault) => Event::AcceptFailed {
                why: fault.to_string(),
            },
            Trouble::Full(most) => Event::Full { most },
            Trouble::NotHttp(from) => Event::Remark {
                what: format!("from {from}: {NOT_HTTP}"),
            },
        });
    }
}

/// Returns how far the download of a file is, and its state.
fn progress(state: &State, name: &Name, min_peers: usize, now: Instant) -> Option<Event> {
    let held = state.files().get(name)?;
    let view = state.file_view(name, min_peers, now);
    // the recent speed is over at least a second, and a small file doesn't take that long
    let speed = held.mean_speed(now).max(view.down);
    let size = held.torrent.whole_size();
    let missing = size - view.verified;
    Some(Event::Progress {
        percent: percent(view.verified, size),
        bytes_a_second: speed as u64,
        left: view.left.map(|_| missing as f64 / speed),
        doing: view.doing,
        name: view.name,
    })
}

/// Reports on what was sent.
fn report_on_given(state: &State, given: &Given) -> Option<Event> {
    let held = state.files().get(&given.name)?;
    Some(Event::Given {
        name: given.name.to_string(),
        size: held.torrent.size(),
        md5: held.torrent.md5().to_string(),
        lately: given.bytes,
        seconds: given.time.as_secs_f64(),
        gave: held.gave(),
        shares: state.shares(held),
        is_news: given.is_news,
    })
}
