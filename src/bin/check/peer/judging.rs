//! What each message and request of a peer under test shows of the rows.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::swarm::*;
use crate::record::*;
use crate::rows::RowVerdict::{CantTell, Holds};

/// What comes again and again.
pub const PING: &str = "ping";
pub const LIST: &str = "list of its files";
pub const REQUEST: &str = "request";
/// How long a program may take to start and ping; and C6's interval, seconds.
const FIRST_PING: f64 = 1.5 * PING_EVERY + 3.0;
const THREE_MINUTES: f64 = 180.0;
/// What is given so shortly before a source dies may be asked for again; and whoever asks for nothing for so long has given
/// up.
const JUST_GIVEN: Duration = Duration::from_secs(1);
const GIVES_UP: Duration = Duration::from_secs(5);
/// Being so late is as if a peer was as far away.
const LATE: Duration = Duration::from_millis(50);
/// So many small files are asked for while it meets the peers.
const MEETS: usize = 8;

impl Swarm {
    /// Whether anything came, understood or not.
    pub fn has_come(&self) -> bool {
        self.peer.is_some() || self.pings.odd.is_some() || self.lists.odd.is_some()
    }

    fn contacted(&self, at: f64) {
        if self.pings.times.is_empty() && self.pings.odd.is_none() {
            let after = at - span()[0];
            let why = format!("no ping for {after:.1} s");
            late("C2", after - FIRST_PING, PING_EVERY, why, PING);
            good("C2");
        }
    }

    pub fn pinged(&mut self, peer: SocketAddr, is_ours: bool) {
        let at = note(format!("it pinged the tracker, as {peer}"));
        self.contacted(at);
        if is_ours && !self.ours {
            note("it speaks our messages");
            good(OURS);
        }
        self.pings.times.push(at);
        (self.peer, self.ours) = (Some(peer), self.ours || is_ours);
    }

    pub fn sent_list(&mut self, peer: SocketAddr, files: Vec<String>) {
        let at = note(format!("it sent a {LIST}: {}", files.join(" ")));
        self.no_list_until(at);
        good("C6");
        self.lists.times.push(at);
        for (name, file) in &self.files {
            // a piece of a file of ours is listed otherwise
            if name.ends_with(".txt") && !files.contains(name) {
                let after = at - file.given.unwrap_or(at);
                let why = format!("a list lacks {name}, which it had {after:.1} s before");
                late("F2", after - LIST_EVERY, LIST_EVERY, why, name);
            }
        }
        (self.peer, self.own_files) = (Some(peer), files);
    }

    fn no_list_until(&self, at: f64) {
        let gap = at - self.lists.times.last().copied().unwrap_or(span()[0]);
        let why = format!("no list for {gap:.1} s");
        late("C6", gap - THREE_MINUTES, THREE_MINUTES, why, LIST);
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
        if who >= NEAR {
            return self.asked_in_download(at, who, name);
        }
        if self.stage == Stage::Complete {
            let after = at - self.since;
            let why = format!("it asked for {name} {after:.1} s after it had everything");
            late("F5", after - PING_EVERY, PING_EVERY, why, name);
        }
        let holders = self.files.get(name).map_or(&[][..], |file| &file.holders);
        let Some(place) = holders.iter().position(|holder| *holder == who) else {
            return fails("C3", format!("peer {who} doesn't list {name}"), name);
        };
        good("C3");
        let (n, choice) = (holders.len(), self.files[name].choice);
        if choice.is_none() || self.stage == Stage::Complete {
            return;
        }
        self.places[0].insert(place);
        self.places[1].insert(n - place);
        if !self.choices.insert(choice.unwrap_or_default()) {
            return;
        }
        self.requests.times.push(at);
        let others = self.files.iter().filter(|(_, file)| file.choice == choice);
        let others = others.map(|(name, file)| (file.holders.len(), name));
        match others.min() {
            Some((least, rarer)) if least < n => {
                let instead = format!("{rarer} ({least}) was missing");
                let why = format!("asked for {name} ({n} copies) while {instead}");
                fails("C4", why, name);
            }
            _ => good("C4"),
        }
    }

    fn asked_in_download(&mut self, at: f64, who: usize, name: &str) {
        if name.starts_with(SMALL) {
            self.small.push(who);
        }
        if !name.starts_with(FILM) {
            return;
        }
        self.last_film = at;
        match self.has_torrent {
            true => good("P2"),
            false => fails(
                "P2",
                format!("{name} was asked for before the .torrent came"),
                FILM,
            ),
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
        self.is_short_given |= name.starts_with(SHORT);
        let is_film = usize::from(name.starts_with(FILM));
        self.n_film += is_film;
        match self.files.get_mut(name) {
            _ if who == CORRUPT => self.n_corrupt += is_film,
            Some(file) if sent.is_ok() => file.given = file.given.or(Some(at)),
            _ if name.starts_with(LARGE) => fails("C1", told, name),
            _ => {}
        }
    }

    /// Whether one of the other peers goes away instead of giving something: once, in the middle of the film.
    pub fn dies(&mut self, who: usize) -> bool {
        let dies = who == DYING && self.is_film_back;
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
        self.last_back = note(&told);
        let is_complete = self.stage == Stage::Complete;
        self.is_serving |= is_good && is_complete;
        let is_film = name.starts_with(FILM);
        let is_whole = is_film && name.ends_with(".bin");
        self.is_film_back |= is_film;
        self.has_film |= is_whole;
        let row = match name {
            _ if is_whole => "P4",
            _ if is_film => "P6",
            _ if name.starts_with(LARGE) => "C1",
            _ => "C5",
        };
        let file = self.files.entry(name.to_owned()).or_default();
        match file.came_back {
            None if !is_good => fails(row, told, name),
            None if row != "P4" || self.n_corrupt > 0 => good(row),
            Some(true) if !is_good && is_complete => fails("F5", told, name),
            _ => {}
        }
        file.came_back.get_or_insert(is_good);
        if is_whole && self.died.is_some() {
            good("P5");
        }
    }

    /// Judges what takes the whole time.
    pub fn conclude(&self) {
        let [_, ended] = span();
        self.no_list_until(ended);
        judge_beat("F1", &self.pings, PING, PING_EVERY, ended);
        judge_beat("F2", &self.lists, LIST, LIST_EVERY, ended);
        let end = self.choices_end.unwrap_or(ended);
        judge_beat("F4", &self.requests, REQUEST, ROUND_EVERY, end);
        let n = self.choices.len();
        if n < CHOICES {
            let why = format!("choices that were answered: {n}, and {CHOICES} are needed");
            tell("F4", CantTell(why));
            if let Some(odd) = &self.requests.odd {
                fails("C4", odd, REQUEST);
                fails("F4", odd, REQUEST);
            }
        } else if self.places.iter().any(|places| places.len() == 1) {
            let why = "it asked the holder at the same place of the list each time";
            fails("F4", why, REQUEST);
        }
        if self.is_short_given && n == 0 {
            let why = "it asks for what comes in a short list, and for nothing in a long one: \
                       does it read with one recv()?";
            fails("C3", why, "bytes");
        }
        let watched = ended - self.since;
        let is_complete = self.stage == Stage::Complete && !self.listed.is_empty();
        if is_complete && watched > WATCHED - PING_EVERY {
            if self
                .lists
                .times
                .last()
                .is_none_or(|last| *last < self.since)
            {
                fails("F5", "no list comes since it has everything", LIST);
            } else if self.is_serving && n > 0 {
                let told = format!("for {watched:.0} s it asked for nothing, listed and served");
                tell("F5", Holds(told));
            }
        }
        self.conclude_download(ended);
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
            true => tell("P3", Holds(told)),
            false if is_late => tell("P3", CantTell(told + "; but this machine was late")),
            false => fails("P3", told, SMALL),
        }
        let is_complete = self.stage == Stage::Complete;
        let end = if is_complete { self.since } else { ended };
        let has_given_up = end > self.last_film + course_time(GIVES_UP);
        if self.died.is_some() && !self.has_film && has_given_up {
            let why = "nothing more was asked for after a source went away";
            fails("P5", why, FILM);
        }
    }
}
