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
const CROWD_COMES: f64 = 100.0;
/// Whoever keeps in touch says something so often, seconds, and so many messages go back for two sweeps.
const TALKS: f64 = 12.0;
const RECENT: usize = 6;

/// What a list has of one peer.
type Files<'a> = BTreeSet<&'a str>;

impl TrackerPlay {
    /// A peer pings, or sends a list.
    pub(super) fn said(&mut self, due: &Message) {
        let at = note(match &due.files[..] {
            [] => format!("{due} pinged"),
            files => format!("{due} sent its list: {}", files.join(" ")),
        });
        let said = self.sent.entry(due.port).or_default();
        said.push(Message { at, ..due.clone() });
    }

    /// A ping is answered with a list.
    pub(super) fn heard(&mut self, due: &Message, mut entries: Vec<PeerEntry>) {
        entries.retain(|entry| !self.strangers.contains(&entry.port));
        let told = |peer: &PeerEntry| format!(" port {}: {}", peer.port, peer.file_list.join(" "));
        let told: Vec<String> = entries.iter().map(told).collect();
        let at = note(format!("{due} was sent the list:{}", told.join(",")));
        good("F1");
        let mut list = BTreeMap::new();
        for entry in &entries {
            let files: Files = entry.file_list.iter().map(String::as_str).collect();
            self.judge_entry(entry, &files, due.port);
            list.entry(entry.port).or_insert(files);
        }
        let (since, is_newcomers) = (at - self.began, due.role == "newcomer");
        if since > CROWD_COMES || !is_newcomers && due.role != "observer" {
            return;
        }
        for (port, said) in self.sent.iter().filter(|(port, _)| **port != due.port) {
            self.judge_place(said, at, list.get(port), is_newcomers);
        }
        let ports: BTreeSet<u16> = list.into_keys().collect();
        let is_dropped = |port: &u16| !ports.contains(port) && self.stays(*port);
        if is_newcomers {
            good("C2");
        } else if ports.iter().filter(|port| **port != due.port).count() >= 2 {
            good("C3");
        } else if since > SETTLED && !self.were_on.iter().any(is_dropped) {
            let why = "a list has fewer than two besides the asker, where three keep in touch";
            fails("C3", why, "list");
        }
        if since > SETTLED {
            self.judge_twins(&ports, &entries);
        }
        if !is_newcomers {
            let mut gone = self.on.difference(&ports);
            if gone.any(|port| !self.stays(*port)) {
                good("F8");
                self.sweeps.times.push(note(format!("a {SWEEP} was seen")));
            }
            self.on = ports.clone();
        }
        self.were_on.extend(ports);
    }

    /// Whether a peer keeps in touch.
    fn stays(&self, port: u16) -> bool {
        let said = self.sent.get(&port);
        said.is_some_and(|said| !["silent", "newcomer"].contains(&said[0].role))
    }

    /// Judges how often each port is on a list: once, or once for each address.
    fn judge_twins(&mut self, ports: &BTreeSet<u16>, entries: &[PeerEntry]) {
        self.most = self.most.max(ports.len());
        for port in ports {
            let n = entries.iter().filter(|entry| entry.port == *port).count();
            let n_due = 1 + usize::from(*port == self.steady && self.other.is_some());
            if n != n_due {
                let why = format!("port {port} is {n} times on a list, not {n_due}");
                fails("F9", why, "observer");
            }
        }
    }

    /// Judges one place on a list by itself; `asker` is who was sent it.
    fn judge_entry(&mut self, entry: &PeerEntry, files: &Files, asker: u16) {
        let (ip, about) = (&entry.ip, format!("port {}", entry.port));
        // Java writes ::1 as 0:0:0:0:0:0:0:1
        let plain = ip.parse().map_or(ip.clone(), |ip: IpAddr| ip.to_string());
        if !self.ips.contains(&plain) {
            let ips = self.ips.join(" or ");
            let why = format!("a list has ip {ip:?} for {about}, which is at {ips}");
            fails("C3", why, &about);
        }
        let Some(last) = self.sent.get(&entry.port).and_then(|said| said.last()) else {
            let why = "which is in no message: is it a connection's?";
            return fails("C3", format!("a list has {about}, {why}"), &about);
        };
        // how many can be listed is one thing, with what another; whoever asks is no other
        let row = match last.role {
            _ if entry.port == asker => return,
            "crowd" => "F7",
            "long" if !last.files.is_empty() && is_same(&last.files, files) => "F2",
            _ => return,
        };
        if self.shown.insert(entry.port) {
            good(row);
        }
    }

    /// Compares a peer's place on a list, or that it has none, with what it had said until then. Of the rows, one is
    /// about who isn't listed as it should be, and one about who isn't any more.
    fn judge_place(&self, said: &[Message], at: f64, files: Option<&Files>, is_newcomers: bool) {
        let [row, drops] = match said[0].role {
            _ if is_newcomers => ["C2", "C2"],
            "changer" => ["F2", "F3"],
            _ => ["C2", "F3"],
        };
        let port = said[0].port;
        // of who isn't listed, what it sent shows that
        let about = match files {
            Some(_) => format!("port {port}"),
            None => said[0].to_string(),
        };
        let late = |row, over, why| {
            let why = format!("port {port} {why}");
            late(row, over, SWEEP_EVERY, why, &about);
        };
        let (known, silent) = (at - said[0].at, at - said[said.len() - 1].at);
        let Some(files) = files else {
            if self.were_on.contains(&port) {
                // this machine may have been late with one of its messages
                let recent = said[said.len().saturating_sub(RECENT)..].windows(2);
                let gaps = recent.map(|two| two[1].at - two[0].at);
                let gap = gaps.fold(0.0, f64::max);
                let quiet = silent.max(if gap > TALKS { gap } else { 0.0 });
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
            let had = Vec::from_iter(files.iter().copied()).join(" ");
            let had = if had.is_empty() { "no files" } else { &had };
            let (sent, since) = (newer.files.join(" "), newer.at);
            let why = format!("is on the list with {had}, and had sent {sent} at {since:.1} s");
            late(row, at - since - 2.0 * SWEEP_EVERY, why);
        }
    }

    /// Judges what takes the whole time.
    pub(super) fn conclude(&self, is_whole: bool) {
        let ended = now().min(self.began + CROWD_COMES);
        judge_beat("F3", &self.sweeps, SWEEP, SWEEP_EVERY, ended);
        let sent = self.sent.iter();
        let unseen = sent.filter(|(port, _)| !self.shown.contains(port));
        for role in unseen.map(|(_, said)| said[0].role).filter(|_| is_whole) {
            match role {
                "crowd" => fails("F7", "many came at once, and not all were listed", role),
                "long" => fails(
                    "F2",
                    "a list of 3,000 bytes never showed: is it read with one read() of fewer?",
                    role,
                ),
                _ => {}
            }
        }
        let ports = match self.other {
            Some(_) => "ports, each listed by itself, and one of them at two addresses",
            None => "ports, each listed by itself",
        };
        match self.most {
            0 => {}
            1 => {
                let why = "one alone of several is listed: have all one key, or are they dropped at once?";
                fails("F9", why, "list");
            }
            n => tell("F9", HOLDS, format!("{n} {ports}")),
        }
    }
}

fn is_same(files: &[String], listed: &Files) -> bool {
    files.len() == listed.len() && files.iter().all(|file| listed.contains(file.as_str()))
}
