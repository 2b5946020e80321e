//! What a tracker's lists should have of what the played peers have said: each one is judged when it comes.

use std::collections::{BTreeMap, BTreeSet};

use bittorrentish::protocol::PeerEntry;

use super::{Message, TrackerPlay};
use crate::record::{fails, good, judge_beat, late, note, tell};
use crate::rows::RowVerdict::Holds;

/// The interval of the course text, seconds.
const SWEEP_EVERY: f64 = 15.0;
const SWEEP: &str = "sweep that drops whoever fell silent";
/// From when on all are known, and when many come: until then all are watched. Of a large swarm, a list may have some alone.
const SETTLED: f64 = 2.0 * SWEEP_EVERY;
const CROWD_COMES: f64 = 100.0;
/// Whoever keeps in touch says something so often, seconds, and so many messages go back for two sweeps.
const TALKS: f64 = 12.0;
const RECENT: usize = 6;

/// A list that tells of everybody.
struct WatchedList {
    at: f64,
    is_newcomers: bool,
    files: BTreeMap<u16, BTreeSet<String>>,
}

impl TrackerPlay {
    /// A peer pings, or sends a list.
    pub(super) fn said(&mut self, due: &Message) {
        let at = note(match &due.files[..] {
            [] => format!("{due} pinged"),
            files => format!("{due} sent its list: {}", files.join(" ")),
        });
        self.sent.push(Message { at, ..due.clone() });
    }

    /// A ping is answered with a list.
    pub(super) fn heard(&mut self, due: &Message, entries: &[PeerEntry]) {
        let told = |peer: &PeerEntry| format!(" port {}: {}", peer.port, peer.file_list.join(" "));
        let told: Vec<String> = entries.iter().map(told).collect();
        let at = note(format!("{due} was sent the list:{}", told.join(",")));
        good("F1");
        let (mut files, is_newcomers) = (BTreeMap::new(), due.role == "newcomer");
        for entry in entries {
            let listed: BTreeSet<String> = entry.file_list.iter().cloned().collect();
            self.judge_entry(entry, &listed);
            files.entry(entry.port).or_insert(listed);
        }
        let since = at - self.began;
        if since > CROWD_COMES || !is_newcomers && due.role != "observer" {
            return;
        }
        let list = WatchedList {
            at,
            is_newcomers,
            files,
        };
        let ports: BTreeSet<u16> = list.files.keys().copied().collect();
        let known: BTreeSet<u16> = self.sent.iter().map(|said| said.port).collect();
        for port in known.iter().filter(|port| **port != due.port) {
            self.judge_place(*port, &list);
        }
        if since > SETTLED {
            self.most = self.most.max(ports.len());
            for port in &ports {
                let n = entries.iter().filter(|entry| entry.port == *port).count();
                let is_twin = *port == self.steady;
                let n_due = if is_twin { self.at.len() } else { 1 };
                if n != n_due {
                    let why = format!("port {port} is {n} times on a list, not {n_due}");
                    fails("F9", why, "observer");
                }
            }
        }
        let is_dropped = |port: &u16| !ports.contains(port) && self.stays(*port);
        if is_newcomers {
            good("C2");
        } else if ports.len() - usize::from(ports.contains(&due.port)) >= 2 {
            good("C3");
        } else if since > SETTLED && !self.were_on.iter().any(is_dropped) {
            let why = "a list has fewer than two besides the asker, where four keep in touch";
            fails("C3", why, "list");
        }
        if !is_newcomers {
            let mut gone = self.on.difference(&ports);
            if gone.any(|port| !self.stays(*port)) {
                good("F8");
                self.sweeps.times.push(note(format!("a {SWEEP} was seen")));
            }
            (self.on, self.last) = (ports.clone(), at);
        }
        self.were_on.extend(ports);
    }

    /// Whether a peer keeps in touch.
    fn stays(&self, port: u16) -> bool {
        let mut sent = self.sent.iter();
        let said = sent.find(|said| said.port == port);
        said.is_some_and(|said| !["silent", "newcomer"].contains(&said.role))
    }

    /// Judges one place on a list by itself.
    fn judge_entry(&mut self, entry: &PeerEntry, files: &BTreeSet<String>) {
        let (ip, port, ips) = (&entry.ip, entry.port, self.ips.join(" or "));
        let about = format!("port {port}");
        if !self.ips.contains(ip) {
            let why = format!("a list has ip {ip:?} for {about}, which is at {ips}");
            fails("C3", why, &about);
        }
        let mut sent = self.sent.iter().rev();
        let Some(last) = sent.find(|said| said.port == port) else {
            let why = "which is in no message: is it a connection's?";
            return fails("C3", format!("a list has {about}, {why}"), &about);
        };
        let row = match last.role {
            "crowd" => "F7",
            "long" => "F2",
            _ => return,
        };
        // how many can be listed is one thing, with what another
        let is_shown = last.role == "crowd" || is_same(&last.files, files);
        if is_shown && self.shown.insert(port) {
            good(row);
        }
    }

    /// Compares a peer's place on a list, or that it has none, with what it had said until then.
    fn judge_place(&self, port: u16, list: &WatchedList) {
        let said = self.sent.iter().filter(|said| said.port == port);
        let said: Vec<&Message> = said.collect();
        let (row, drops) = match said[0].role {
            _ if list.is_newcomers => ("C2", "C2"),
            "changer" => ("F2", "F3"),
            _ => ("C2", "F3"),
        };
        let about = format!("port {port}");
        let late = |row, over, why| late(row, over, SWEEP_EVERY, format!("{about} {why}"), &about);
        let (known, silent) = (list.at - said[0].at, list.at - said[said.len() - 1].at);
        let Some(files) = list.files.get(&port) else {
            if self.were_on.contains(&port) {
                // this machine may have been late with one of its messages
                let recent = said[said.len().saturating_sub(RECENT)..].windows(2);
                let gaps = recent.map(|two| two[1].at - two[0].at);
                let gap = gaps.fold(0.0, f64::max);
                let quiet = silent.max(if gap > TALKS { gap } else { 0.0 });
                let at = list.at;
                let why = format!("isn't on the list of {at:.1} s, {silent:.1} s after a message");
                late(drops, 2.0 * (SWEEP_EVERY - quiet), why);
            } else if self.stays(port) {
                let why = format!("isn't listed {known:.1} s after it came");
                late(row, known - SWEEP_EVERY, why);
            }
            return;
        };
        let why = format!("is on the list {silent:.1} s after its last message");
        late("F8", silent - 2.0 * SWEEP_EVERY, why);
        // what it said after it had last sent these files
        let lists = said.iter().filter(|said| !said.files.is_empty()).rev();
        let newer = lists.take_while(|said| !is_same(&said.files, files));
        if let Some(newer) = newer.last() {
            let had = Vec::from_iter(files.iter().map(String::as_str)).join(" ");
            let had = if had.is_empty() { "no files" } else { &had };
            let (sent, at) = (newer.files.join(" "), newer.at);
            let why = format!("is on the list with {had}, and had sent {sent} at {at:.1} s");
            late(row, list.at - newer.at - 2.0 * SWEEP_EVERY, why);
        }
    }

    /// Judges what takes the whole time.
    pub(super) fn conclude(&self, is_whole: bool) {
        judge_beat("F3", &self.sweeps, SWEEP, SWEEP_EVERY, self.last);
        let is_unseen = |said: &&Message| !self.shown.contains(&said.port);
        for Message { role, .. } in self.sent.iter().filter(is_unseen) {
            match *role {
                "crowd" if is_whole => {
                    fails("F7", "many came at once, and not all were listed", role)
                }
                "long" if is_whole => fails("F2", "a list of 3,000 bytes never showed", role),
                _ => {}
            }
        }
        let twin = self.at.get(1);
        let twin = twin.map_or("", |_| ", and one of them at two addresses");
        match self.most {
            0 => {}
            1 => fails("F9", "of several peers one alone is listed", "list"),
            n => tell(
                "F9",
                Holds(format!("{n} ports, each listed by itself{twin}")),
            ),
        }
    }
}

fn is_same(files: &[String], listed: &BTreeSet<String>) -> bool {
    files.len() == listed.len() && files.iter().all(|file| listed.contains(file))
}
