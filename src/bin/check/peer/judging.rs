//! What each message and request of a peer under test shows of the rows.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::swarm::*;
use crate::program::PLANTED;
use crate::record::*;
use crate::rows::HOLDS;

/// How the lines about these begin.
pub const PING: &str = "ping";
pub const LIST: &str = "list of its files";
pub const REQUEST: &str = "request";
const DIED: &str = "the source went away";
/// How long a program may take to start and ping; and C6's interval, seconds.
const FIRST_PING: f64 = 1.5 * PING_EVERY + 1.5;
const THREE_MINUTES: f64 = 180.0;
/// How long a peer has been complete when it is asked once more, seconds.
const RESTED: f64 = 2.5 * PING_EVERY;
/// Of the film, so many pieces are surely there when a source goes away, and so many are given before that, and before
/// the peer is asked for one.
const EARLY: usize = 10;
const UNDER_WAY: usize = 20;
/// Whoever asks for nothing for this long has given up.
const GIVES_UP: Duration = Duration::from_secs(5);
/// Where this machine is late by an eighth of this, it may seem as if a peer was as far away.
const AWAY: Duration = Duration::from_millis(400);
/// How many small files are asked for while it meets the peers.
const MEETS: usize = 8;

impl Swarm {
    pub fn pinged(&mut self, peer: SocketAddr, is_ours: bool) {
        note(format!("{PING} from {peer}"));
        good("C2");
        if is_ours {
            good(OURS);
        }
        self.ours |= is_ours;
        self.is_at(peer);
    }

    pub fn sent_list(&mut self, peer: SocketAddr, files: Vec<String>) {
        let at = note(format!("{LIST} from {peer}: {}", files.join(" ")));
        good("C6");
        // a file with a `.torrent` is listed once it is whole, and may never be
        let is_here = |name: &str| !self.ours || name == PLANTED;
        let lacks = |(name, _): &(&String, _)| is_here(name) && !files.contains(name);
        for (name, file) in self.files.iter().filter(lacks) {
            let after = at - file.given.unwrap_or(at);
            let why = format!("a list lacks {name}, which it had {after:.1} s before");
            late("F2", after - LIST_EVERY, LIST_EVERY, why, name);
        }
        self.own_files = files;
        self.is_at(peer);
    }

    /// The port in its messages is where it is asked for files: always the same one.
    fn is_at(&mut self, peer: SocketAddr) {
        let ports = self
            .peer
            .replace(peer)
            .map(|before| [before.port(), peer.port()]);
        if let Some([before, port]) = ports.filter(|[before, port]| before != port) {
            let why = format!("its messages have two ports, {before} and {port}");
            fails("C5", why, " from ");
        }
    }

    /// Something came that isn't understood. That is a fault if nothing else comes that is.
    pub fn odd(&mut self, row: &'static str, what: &'static str, fault: &io::Error) {
        let why = format!("a {what} isn't understood: {fault}");
        note(&why);
        self.odd.push((row, what, why));
    }

    /// Whether anything came, understood or not.
    pub fn has_come(&self) -> bool {
        self.peer.is_some() || !self.odd.is_empty()
    }

    /// One of the other peers is asked for something. Returns its bytes.
    pub fn asked(&mut self, who: usize, name: &str) -> Option<Arc<[u8]>> {
        let holders = self.files.get(name).map(|file| &file.holders);
        let place = holders.and_then(|holders| holders.iter().position(|holder| *holder == who));
        let n = holders.map_or(0, BTreeSet::len);
        let is_choice = !self.is_complete && self.listed.iter().any(|listed| listed == name);
        let is_first = times(CHOICE).last().is_none_or(|at| *at < self.since);
        let is_first = is_first && is_choice && who < NEAR && place.is_some();
        let what = if is_first { CHOICE } else { REQUEST };
        let at = note(format!("{what}: {name} of peer {who}"));
        if self.is_complete {
            let after = at - self.since;
            let why = format!("it asked for {name} {after:.1} s after it had everything");
            late("F5", after - PING_EVERY, PING_EVERY, why, name);
        }
        match place {
            _ if who >= NEAR && name.starts_with(FILM) => self.asked_for_film(name),
            _ if who >= NEAR => self.small.push(who),
            None => fails("C3", format!("peer {who} doesn't list {name}"), name),
            Some(_) if !is_choice => good("C3"),
            Some(place) => {
                good("C3");
                self.places[0].insert(place);
                self.places[1].insert(n - place);
            }
        }
        if is_first {
            self.judge_choice(name, n);
        }
        self.files.get(name).map(|file| Arc::clone(&file.bytes))
    }

    /// The first request since others are listed is for what has the fewest copies.
    fn judge_choice(&self, name: &str, n: usize) {
        good("C4");
        let copies = |name| (self.files[name].holders.len(), name);
        let rarest = self.listed.iter().map(copies).min();
        if let Some((least, rarer)) = rarest.filter(|(least, _)| *least < n) {
            let instead = format!("{rarer} ({least}) was missing");
            let why = format!("asked for {name} ({n} copies) while {instead}");
            fails("C4", why, name);
        }
    }

    fn asked_for_film(&mut self, name: &str) {
        good("P2");
        if times(&format!("{TORRENT} {FILM}")).is_empty() {
            let why = format!("{name} was asked for before the .torrent came");
            fails("P2", why, FILM);
        }
        let mut early = self.film.iter().take(EARLY);
        if !times(DIED).is_empty() && early.any(|given| given == name) {
            let why = format!("{name} was there already when a source went away");
            fails("P5", why, name);
        }
    }

    /// Whether the peer that dies goes away instead of giving something: in the middle of the film.
    pub fn dies(&self) -> bool {
        let dies = self.film.len() >= UNDER_WAY;
        if dies {
            note(format!("{DIED}: peer {DYING}, which had the {FILM}"));
            good_once("P5", DIED);
        }
        dies
    }

    /// One of the other peers gave something, or the peer closed before.
    pub fn gave(&mut self, who: usize, name: &str, sent: &io::Result<()>) {
        let told = match sent {
            Ok(()) => format!("peer {who} gave it {name}"),
            Err(fault) => format!("it closed before it had read all of {name}: {fault}"),
        };
        let at = note(&told);
        self.is_answered |= who < NEAR;
        if who == CORRUPT {
            good_once("P4", &format!("peer {CORRUPT} gave"));
        } else if sent.is_err() {
            fails("C1", told, name);
        } else if let Some(file) = self.files.get_mut(name) {
            file.given = file.given.or(Some(at));
            if name.starts_with(FILM) {
                self.film.push(name.to_owned())
            }
        }
    }

    /// What the peer has, and is to be asked for now: each file once, one once more when it has been complete for a
    /// while, and a piece in the middle of the film.
    pub fn due(&mut self) -> Option<(SocketAddr, String, Arc<[u8]>)> {
        let is_rested = self.is_complete && now() > self.since + RESTED;
        let again = is_rested && self.files.values().all(|file| file.n_asked < 2);
        let is_due = |name: &&String| {
            let file = self.files.get(*name);
            file.is_some_and(|file| match file.n_asked {
                0 => self.ours || *name == PLANTED || file.given.is_some(),
                n => again && n == file.n_came,
            })
        };
        let is_under_way = self.film.len() >= UNDER_WAY && !self.was_asked_for(FILM, "");
        let film = self.film.iter().take(usize::from(is_under_way));
        let name = film.chain(&self.own_files).find(is_due)?.clone();
        let file = self.files.get_mut(&name)?;
        file.n_asked += 1;
        Some((self.peer?, name, Arc::clone(&file.bytes)))
    }

    /// The peer was asked for something.
    pub fn came_back(&mut self, name: &str, came: io::Result<()>) {
        let is_film = name.starts_with(FILM);
        let rows: &[&str] = match &came {
            _ if is_film && name.ends_with(WHOLE) => &["P4"],
            _ if is_film => &["P6"],
            Err(fault) if fault.kind() != io::ErrorKind::InvalidData => &["C5"],
            _ if name == PLANTED => &["C5"],
            _ => &["C1", "C5"],
        };
        if rows == ["P4"] {
            good("P5");
        }
        let file = self.files.entry(name.to_owned()).or_default();
        if let Err(fault) = came {
            let row = if file.n_asked > 1 { "F5" } else { rows[0] };
            let told = format!("it was asked for {name}: {fault}");
            note(&told);
            return fails(row, told, name);
        }
        note(format!("it was asked for {name}, and sent it"));
        file.n_came += 1;
        rows.iter().copied().for_each(good);
    }

    /// Judges what takes the whole time.
    pub fn conclude(&self) {
        let (ended, n) = (now(), times(CHOICE).len());
        if let Some(first) = times(PING).first() {
            let after = first - first_time();
            let why = format!("the first {PING} came after {after:.1} s");
            late("C2", after - FIRST_PING, FIRST_PING, why, PING);
        }
        for (row, what, why) in &self.odd {
            if times(what).is_empty() {
                fails(row, why, what);
            }
        }
        judge_gaps("C6", LIST, THREE_MINUTES, ended);
        judge_beat("F1", PING, PING_EVERY, ended);
        judge_beat("F2", LIST, LIST_EVERY, ended);
        let end = if self.is_complete { self.since } else { ended };
        let last = times(CHOICE).last().copied().filter(|_| n >= CHOICES);
        judge_gaps("F4", CHOICE, 2.0 * ROUND_EVERY, last.unwrap_or(end));
        if n >= CHOICES {
            judge_beat("F4", CHOICE, ROUND_EVERY, last.unwrap_or(end));
        }
        if n >= CHOICES && self.places.iter().any(|places| places.len() == 1) {
            let why = "it asked the holder at the same place of the list each time";
            fails("F4", why, CHOICE);
        }
        if n == 0 {
            let waited = ended - self.since;
            let why = format!("for {waited:.0} s it asked for nothing; is a long list read whole?");
            late("C3", waited - 2.0 * ROUND_EVERY, ROUND_EVERY, why, LISTED);
        }
        if self.is_complete && !self.listed.is_empty() {
            self.conclude_complete(ended - self.since);
        }
        self.conclude_download(end);
    }

    fn conclude_complete(&self, watched: f64) {
        let has_listed = times(LIST).iter().any(|at| *at >= self.since);
        let is_serving = self.files.values().any(|file| file.n_came > 1);
        if watched < WATCHED - PING_EVERY {
        } else if !has_listed {
            fails("F5", "no list comes since it has everything", LIST);
        } else if is_serving && !times(CHOICE).is_empty() {
            let told = format!("for {watched:.0} s it asked for nothing, listed and served");
            tell("F5", HOLDS, told);
        }
    }

    fn conclude_download(&self, end: f64) {
        let small = &self.small[self.small.len().min(MEETS)..];
        let from = |away| small.iter().filter(|who| **who == NEAR + away).count();
        let [near, next, last] = [0, 1, 2].map(from);
        let others = format!("{next} and {last} from those 60 and 200 ms away");
        let told = format!("{near} files from the nearest peer, {others}");
        match near >= 2 * (next + last) {
            _ if small.len() < MEETS => {}
            true => tell("P3", HOLDS, told),
            // what is measured on a machine that is late itself isn't how far away a peer is
            false => late("P3", f64::INFINITY, course_time(AWAY), told, SMALL),
        }
        let last = times(&format!("{REQUEST}: {FILM}")).last().copied();
        let has_given_up = last.is_some_and(|last| end > last + course_time(GIVES_UP));
        if !times(DIED).is_empty() && !self.was_asked_for(FILM, WHOLE) && has_given_up {
            let why = "nothing more was asked for after a source went away";
            fails("P5", why, FILM);
        }
    }
}

/// A row asks for something else, too: how often this happened doesn't matter.
fn good_once(row: &'static str, what: &str) {
    if times(what).len() == 1 {
        good(row);
    }
}
