//! What a tracker's lists should have of what the played peers have said: each one is judged when it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bittorrentish::protocol::PeerEntry;

use super::{Message, TrackerPlay};
use crate::record::{fails, good, judge_beat, late, note, now, tell};
use crate::rows::HOLDS;

/// The interval of the course text, seconds.
const SWEEP_EVERY: f64 = 15.0;
const SWEEP: &str = "sweep that drops whoever fell silent";
/// From when on all are known, and when many come: until then all are watched. Of a large swarm, a list may have some
/// alone.
const SETTLED: f64 = 2.0 * SWEEP_EVERY;
pub const CROWD_COMES: f64 = 100.0;

impl TrackerPlay {
    /// A peer pings, or sends a list.
    pub(super) fn said(&mut self, due: &Message) {
        let at = match due.files.is_empty() {
            true => note(format!("{due} pinged")),
            false => note(format!("{due} sent its list: {:?}", due.files)),
        };
        let said = self.sent.entry(due.port).or_default();
        said.push(Message { at, ..due.clone() });
    }

    /// A ping is answered with a list.
    pub(super) fn heard(&mut self, asker: &Message, mut entries: Vec<PeerEntry>) {
        good("F1");
        if self.sent.len() == 1 {
            let ports = entries.iter().map(|entry| entry.port);
            self.strangers = ports.filter(|port| *port != asker.port).collect();
        }
        entries.retain(|entry| !self.strangers.contains(&entry.port));
        let told = entries.iter().map(place).collect::<String>();
        let at = note(format!("{asker} was sent the list:{told}"));
        let mut listed: BTreeMap<u16, Vec<BTreeSet<String>>> = BTreeMap::new();
        for entry in entries {
            self.judge_place(&entry);
            let places = listed.entry(entry.port).or_default();
            places.push(entry.file_list.into_iter().collect());
        }
        let (since, is_new) = (at - self.began, asker.role == "newcomer");
        let is_watched = asker.role == "observer" && since < CROWD_COMES;
        for said in self.sent.values().filter(|said| said[0].port != asker.port) {
            let places = listed.get(&said[0].port).map_or(&[][..], |places| places);
            // how many can be listed is one thing, with what another
            let last = &said[said.len() - 1];
            let is_whole = |files: &BTreeSet<_>| last.role == "crowd" || last.files == *files;
            if places.first().is_some_and(is_whole) {
                self.shown.insert(last.port);
            }
            if is_watched || is_new {
                self.judge_peer(said, at, places, is_new);
            }
        }
        if is_new {
            good("C2");
        }
        if is_watched {
            self.watch(since, listed.into_keys().collect());
        }
    }

    /// Judges a place on a list by itself: somebody is there.
    fn judge_place(&self, entry: &PeerEntry) {
        // Java writes ::1 as 0:0:0:0:0:0:0:1
        let ip = entry.ip.parse();
        let is_here = ip.is_ok_and(|ip: IpAddr| self.ips.contains(&ip));
        if !is_here || !self.sent.contains_key(&entry.port) {
            let all = format!("all are at {:?}, at the ports in their messages", self.ips);
            let why = format!("a list has{}, where nobody is: {all}", place(entry));
            fails("C3", why, &format!("port {}", entry.port));
        }
    }

    /// Compares a peer's places on a list with what it had said until then. On a new peer's list is whoever keeps in touch.
    fn judge_peer(&self, said: &[Message], at: f64, places: &[BTreeSet<String>], is_new: bool) {
        let (who, n_due) = (&said[0], self.n_due(said[0].port));
        let about = format!("port {}", who.port);
        let judge = |row, over, why: String| {
            late(row, over, SWEEP_EVERY, format!("{who} {why}"), &about);
        };
        let silent = at - said[said.len() - 1].at;
        let Some(files) = places.first() else {
            let why = format!("isn't on the list of {at:.1} s, {silent:.1} s after a message");
            let early = 2.0 * (SWEEP_EVERY - silent);
            match who.role.as_str() {
                "steady" | "pinger" | "changer" if is_new => judge("C2", early, why),
                _ if !is_new && self.on.contains(&who.port) => judge("F3", early, why),
                _ => {}
            }
            return;
        };
        if places.len() != n_due && at > self.began + SETTLED {
            let n = places.len();
            fails(
                "F9",
                format!("{who} is {n} times on a list, not {n_due}"),
                &about,
            );
        }
        let why = format!("is on the list {silent:.1} s after its last message");
        judge("F8", silent - 2.0 * SWEEP_EVERY, why);
        // what it said after it had last sent these files
        let lists = said.iter().filter(|said| !said.files.is_empty()).rev();
        if let Some(newer) = lists.take_while(|said| said.files != *files).last() {
            let (sent, since) = (&newer.files, newer.at);
            let why = format!("is listed with {files:?}, and sent {sent:?} at {since:.1} s");
            let row = if is_new { "C2" } else { "F2" };
            judge(row, at - since - 2.0 * SWEEP_EVERY, why);
        }
    }

    /// Judges who is on the list that is asked for all the time.
    fn watch(&mut self, since: f64, ports: BTreeSet<u16>) {
        if self.on.difference(&ports).next().is_some() {
            good("F8");
            note(SWEEP);
        }
        if ports.len() > 2 {
            good("C3");
        }
        if since > SETTLED {
            self.most = self.most.max(ports.len());
        }
        self.on = ports;
    }

    /// Judges what takes the whole time.
    pub(super) fn conclude(&self, is_whole: bool) {
        let ended = now().min(self.began + CROWD_COMES);
        judge_beat("F3", SWEEP, SWEEP_EVERY, ended);
        for said in self.sent.values() {
            let long = "a list of 3,000 bytes never showed: is it read with one read() of fewer?";
            match (said[0].role.as_str(), self.shown.contains(&said[0].port)) {
                ("crowd", true) => good("F7"),
                ("crowd", _) if is_whole => fails("F7", "of many not all were listed", "crowd"),
                ("long", true) => good("F2"),
                ("long", _) => fails("F2", long, "long"),
                _ => {}
            }
        }
        let alone = "of several one is listed: have all one key, or are they dropped at once?";
        if is_whole && [0, 2].contains(&self.most) {
            let few = "no list had two others, where three keep in touch";
            fails("C3", few, "observer");
        }
        match self.most {
            0 => {}
            1 => fails("F9", alone, "observer"),
            most => tell("F9", HOLDS, format!("ports, each listed by itself: {most}")),
        }
    }
}

/// A place on a list, as it is told.
fn place(entry: &PeerEntry) -> String {
    format!(" {} port {}: {:?}", entry.ip, entry.port, entry.file_list)
}
