//! What each message and request of a peer under test shows of the rows.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::swarm::*;
use crate::record::*;
use crate::rows::{CANT_TELL, HOLDS};

/// What comes again and again.
pub const PING: &str = "ping";
pub const LIST: &str = "list of its files";
pub const REQUEST: &str = "request";
/// How long a program may take to start and ping; and C6's interval, seconds.
const FIRST_PING: f64 = 1.5 * PING_EVERY + 1.5;
const THREE_MINUTES: f64 = 180.0;
/// What is given this shortly before a source dies may be asked for again; and whoever asks for nothing for this long has
/// given up.
const JUST_GIVEN: Duration = Duration::from_secs(1);
const GIVES_UP: Duration = Duration::from_secs(5);
/// Being this late is as if a peer was as far away.
const LATE: Duration = Duration::from_millis(50);
/// How many small files are asked for while it meets the peers.
const MEETS: usize = 8;

impl Swarm {
    /// Whether anything came, understood or not.
    pub fn has_come(&self) -> bool {
        self.peer.is_some() || self.pings.odd.is_some() || self.lists.odd.is_some()
    }

    /// The first message shows how long it took to come.
    fn contacted(&self, at: f64) {
        if self.pings.times.is_empty() && self.pings.odd.is_none() {
            judge_gaps("C2", &self.pings, PING, FIRST_PING, at);
        }
    }

    pub fn pinged(&mut self, peer: SocketAddr, is_ours: bool) {
        let at = note(format!("it pinged the tracker, as {peer}"));
        self.contacted(at);
        good("C2");
        if is_ours && !self.ours {
            note("it speaks our messages");
            good(OURS);
        }
        self.pings.times.push(at);
        self.ours |= is_ours;
        self.is_at(peer);
    }

    pub fn sent_list(&mut self, peer: SocketAddr, files: Vec<String>) {
        let at = note(format!("it sent a {LIST}, as {peer}: {}", files.join(" ")));
        good("C6");
        self.lists.times.push(at);
        // a piece of a file of ours is listed otherwise
        let lacks = |name: &&String| name.ends_with(".txt") && !files.contains(name);
        for name in self.files.keys().filter(lacks) {
            let after = at - self.files[name].given.unwrap_or(at);
            let why = format!("a list lacks {name}, which it had {after:.1} s before");
            late("F2", after - LIST_EVERY, LIST_EVERY, why, name);
        }
        self.own_files = files;
        self.is_at(peer);
    }

    /// The port in its messages is where it is asked for files: always the same one.
    fn is_at(&mut self, peer: SocketAddr) {
        if let Some(before) = self.peer.replace(peer)
            && before.port() != peer.port()
        {
            let ports = format!("{} and {}", before.port(), peer.port());
            fails(
                "C5",
                format!("its messages have two ports, {ports}"),
                ", as ",
            );
        }
    }

    /// Something came that isn't understood, and may have been meant as one of these.
    pub fn odd(&mut self, what: &str, fault: String) {
        let at = note(format!("it sent a {what} that isn't understood: {fault}"));
        self.contacted(at);
        let beat = match what {
            PING => &mut self.pings,
            LIST => &mut self.lists,
            _ => &mut self.requests,
        };
        beat.odd.get_or_insert(fault);
    }

    /// One of the other peers is asked for something.
    pub fn asked(&mut self, who: usize, name: &str) {
        let at = note(format!("{REQUEST} to peer {who} for {name}"));
        if self.stage == Stage::Complete {
            let after = at - self.since;
            let why = format!("it asked for {name} {after:.1} s after it had everything");
            late("F5", after - PING_EVERY, PING_EVERY, why, name);
        }
        match name {
            _ if who < NEAR => self.asked_as_original(at, who, name),
            _ if name.starts_with(SMALL) => self.small.push(who),
            _ if name.starts_with(FILM) => self.asked_for_film(at, name),
            _ => {}
        }
    }

    fn asked_as_original(&mut self, at: f64, who: usize, name: &str) {
        let file = self.files.get(name).into_iter();
        let mut holders = file.flat_map(|file| &file.holders);
        let Some(place) = holders.position(|holder| *holder == who) else {
            return fails("C3", format!("peer {who} doesn't list {name}"), name);
        };
        good("C3");
        if self.stage != Stage::Choice || !self.listed.iter().any(|listed| listed == name) {
            return;
        }
        let n = self.files[name].holders.len();
        self.places[0].insert(place);
        self.places[1].insert(n - place);
        if self.is_chosen {
            return;
        }
        self.is_chosen = true;
        self.requests.times.push(at);
        good("C4");
        let copies = |name| (self.files[name].holders.len(), name);
        let (least, rarer) = self.listed.iter().map(copies).min().expect("it is listed");
        if least < n {
            let instead = format!("{rarer} ({least}) was missing");
            let why = format!("asked for {name} ({n} copies) while {instead}");
            fails("C4", why, name);
        }
    }

    fn asked_for_film(&mut self, at: f64, name: &str) {
        self.last_film = at;
        good("P2");
        if !self.has_torrent {
            let why = format!("{name} was asked for before the .torrent came");
            fails("P2", why, FILM);
        }
        let given = self.files.get(name).and_then(|file| file.given);
        let since = given.zip(self.died).map(|(given, died)| died - given);
        if since.is_some_and(|since| since > course_time(JUST_GIVEN)) {
            let why = format!("{name} was there already when a source went away");
            fails("P5", why, name);
        }
    }

    /// One of the other peers gave something, or the peer closed before.
    pub fn gave(&mut self, who: usize, name: &str, sent: &io::Result<()>) {
        let told = match sent {
            Ok(()) => format!("peer {who} gave it {name}"),
            Err(fault) => format!("it closed before peer {who} had given all of {name}: {fault}"),
        };
        let at = note(&told);
        self.is_answered = true;
        match self.files.get_mut(name) {
            _ if who == CORRUPT => self.is_corrupt_given |= name.starts_with(FILM),
            Some(file) if sent.is_ok() => file.given = file.given.or(Some(at)),
            _ if name.starts_with(LARGE) => fails("C1", told, name),
            _ => {}
        }
    }

    /// The peer closed before it had read all of a file, of which it can't hand on more.
    pub fn left_unread(&mut self, name: &str) {
        let told = format!("it closed before it had read all of {name}");
        note(&told);
        if let Some(file) = self.files.get_mut(name) {
            file.given = None;
        }
        fails("C1", told, name);
    }

    /// Whether one of the other peers goes away instead of giving something: once, in the middle of the film.
    pub fn dies(&mut self, who: usize) -> bool {
        let dies = who == DYING && self.was_asked_for(FILM, "");
        if dies {
            let at = note(format!("peer {who}, which had the {FILM}, went away"));
            self.died.get_or_insert(at);
        }
        dies
    }

    /// The peer was asked for something.
    pub fn came_back(&mut self, name: &str, fault: Option<String>) {
        let is_good = fault.is_none();
        let told = format!("it was asked for {name} {}", fault.unwrap_or_default());
        note(&told);
        let row = match name {
            _ if name.starts_with(FILM) && name.ends_with(WHOLE) => "P4",
            _ if name.starts_with(FILM) => "P6",
            _ if name.starts_with(LARGE) => "C1",
            _ => "C5",
        };
        let file = self.files.entry(name.to_owned()).or_default();
        file.came_back.push(is_good);
        match file.came_back[..] {
            [false] => fails(row, told, name),
            [true] if row != "P4" || self.is_corrupt_given => good(row),
            [true, false] => fails("F5", told, name),
            _ => {}
        }
        if row == "P4" && self.died.is_some() {
            good("P5");
        }
    }

    /// Judges what takes the whole time.
    pub fn conclude(&self) {
        let ended = now();
        judge_gaps("C6", &self.lists, LIST, THREE_MINUTES, ended);
        judge_beat("F1", &self.pings, PING, PING_EVERY, ended);
        judge_beat("F2", &self.lists, LIST, LIST_EVERY, ended);
        let end = self.choices_end.unwrap_or(ended);
        judge_beat("F4", &self.requests, REQUEST, ROUND_EVERY, end);
        let n = self.requests.times.len();
        if n < CHOICES {
            let why = format!("choices that were answered: {n}, and {CHOICES} are needed");
            tell("F4", CANT_TELL, why);
            if let Some(odd) = &self.requests.odd {
                fails("C4", odd, REQUEST);
                fails("F4", odd, REQUEST);
            }
        } else if self.places.iter().any(|places| places.len() == 1) {
            let why = "it asked the holder at the same place of the list each time";
            fails("F4", why, REQUEST);
        }
        if n == 0 && self.requests.odd.is_none() {
            let waited = ended - self.since;
            let why = format!("for {waited:.0} s it asked for nothing; is a long list read whole?");
            late("C3", waited - 2.0 * ROUND_EVERY, ROUND_EVERY, why, "list");
        }
        if self.stage == Stage::Complete && !self.listed.is_empty() {
            self.conclude_complete(ended - self.since);
        }
        self.conclude_download(ended);
    }

    fn conclude_complete(&self, watched: f64) {
        let has_listed = self.lists.times.iter().any(|at| *at >= self.since);
        let has_served = |file: &PlayedFile| file.came_back.get(1) == Some(&true);
        let is_serving = self.files.values().any(has_served);
        if watched < WATCHED - PING_EVERY {
        } else if !has_listed {
            fails("F5", "no list comes since it has everything", LIST);
        } else if is_serving && !self.requests.times.is_empty() {
            let told = format!("for {watched:.0} s it asked for nothing, listed and served");
            tell("F5", HOLDS, told);
        }
    }

    fn conclude_download(&self, ended: f64) {
        let small = &self.small[self.small.len().min(MEETS)..];
        let from = |away| small.iter().filter(|who| **who == NEAR + away).count();
        let [near, next, last] = [0, 1, 2].map(from);
        let others = format!("{next} and {last} from those 60 and 200 ms away");
        let told = format!("{near} files from the nearest peer, {others}");
        // what is measured on a machine that is late itself isn't how far away a peer is
        let is_late = lateness()[1] > course_time(LATE);
        match near >= 2 * (next + last) {
            _ if small.len() < MEETS => {}
            true => tell("P3", HOLDS, told),
            false if is_late => tell("P3", CANT_TELL, told + "; but this machine was late"),
            false => fails("P3", told, SMALL),
        }
        let is_complete = self.stage == Stage::Complete;
        let end = if is_complete { self.since } else { ended };
        let has_given_up = end > self.last_film + course_time(GIVES_UP);
        if self.died.is_some() && !self.was_asked_for(FILM, WHOLE) && has_given_up {
            let why = "nothing more was asked for after a source went away";
            fails("P5", why, FILM);
        }
    }
}
