//! When the tracker tells what, and to whom it says something once only.
//!
//! This module owns what people were told already, in a leaf lock. It never answers a peer.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::events::TrackerEvent;
use super::replies::TrackerReply;
use super::torrent_folder::LoadedTorrents;
use super::{TrackerConfig, TrackerShared};
use crate::cli::fetch_flags;
use crate::http::NOT_HTTP;
use crate::md5::Digest;
use crate::net::Trouble;
use crate::net::addresses::own_addresses;
use crate::protocol::{PeerList, Summary};
use crate::report::{Report, Weight};
use crate::roster::{Joined, Reachability, TrackerRefusal};
use crate::torrent::Name;

/// People who start peers are told at most this many addresses of this machine.
const TOLD_ADDRESSES: usize = 4;
/// How many things that were told of once are remembered.
const REMEMBERED: usize = 4096;
/// For this many new files in a run the tracker prints the command by which other machines fetch exactly that content.
const COMMANDS: usize = 3;

/// The commands by which other machines join.
pub(super) struct JoinCommands {
    client: String,
    at: Vec<IpAddr>,
    port: u16,
}

/// What people were told already.
pub(super) struct Notices {
    join: JoinCommands,
    told: Mutex<ToldAlready>,
}

#[derive(Default)]
struct ToldAlready {
    /// Of an address, what was refused or not understood: the reason, or the content that wasn't taken.
    refused: HashSet<(IpAddr, String)>,
    /// How many files' commands were told.
    n_commands: usize,
}

impl JoinCommands {
    pub(super) fn new(config: &TrackerConfig, port: u16) -> Self {
        Self {
            client: config.client.clone(),
            at: match config.reach {
                Reachability::Local => vec![Ipv4Addr::LOCALHOST.into()],
                Reachability::Remote => own_addresses(TOLD_ADDRESSES),
            },
            port,
        }
    }

    /// The commands by which another machine fetches exactly this content, one for each address of this machine.
    fn pinned(&self, name: &str, md5: &str) -> Vec<String> {
        let Self { client, port, .. } = self;
        let mut at: Vec<String> = self.at.iter().map(IpAddr::to_string).collect();
        if at.is_empty() {
            at.push("<this machine's address>".to_owned());
        }
        let flags = fetch_flags(name, md5);
        let command = |at: String| format!("{client} {at} {port} shared {flags}");
        at.into_iter().map(command).collect()
    }

    /// Tells that the tracker listens, how to join, and what was loaded.
    pub(super) fn tell_loaded(
        &self,
        report: &Report,
        config: &TrackerConfig,
        loaded: &LoadedTorrents,
    ) {
        let all = loaded.records.iter().map(|record| &record.summary);
        let pinned = match all.max_by_key(|summary| summary.size) {
            Some(file) => self.pinned(file.name.as_str(), &file.md5.to_string()),
            None => self.pinned("NAME", "MD5"),
        };
        report.say(&TrackerEvent::Listening {
            port: self.port,
            local: config.reach == Reachability::Local,
            client: self.client.clone(),
            client_at: self.at.clone(),
            pinned,
        });
        report.say(&TrackerEvent::Loaded {
            n_torrents: loaded.records.len(),
            torrents: config.torrents.clone(),
        });
        loaded.bad.iter().for_each(|event| report.say(event));
    }
}

impl Notices {
    pub(super) fn new(join: JoinCommands) -> Self {
        let told = Mutex::default();
        Self { join, told }
    }

    /// Each step leaves the sets right, so a lock poisoned by a panic can still be used.
    fn lock(&self) -> MutexGuard<'_, ToldAlready> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if nothing from this address was refused, or not understood, for this reason so far, as far as is remembered.
    fn is_new(&self, ip: IpAddr, why: &str) -> bool {
        let refused = &mut self.lock().refused;
        refused.len() < REMEMBERED && refused.insert((ip, why.to_owned()))
    }

    /// The commands for a new content, as long as not too many were told.
    pub(super) fn join_commands(&self, file: &Summary) -> Vec<String> {
        let mut told = self.lock();
        if told.n_commands >= COMMANDS {
            return Vec::new();
        }
        told.n_commands += 1;
        drop(told);
        self.join.pinned(file.name.as_str(), &file.md5.to_string())
    }
}

impl TrackerShared {
    pub(super) fn tell_trouble(&self, trouble: Trouble) {
        self.report.say(&match trouble {
            Trouble::Accept(fault) => TrackerEvent::AcceptFailed {
                why: fault.to_string(),
            },
            Trouble::Full(n) => TrackerEvent::Full { n },
            Trouble::NotHttp(from) => TrackerEvent::NotUnderstood {
                from,
                why: NOT_HTTP.to_owned(),
                weight: Weight::Normal,
            },
        });
    }

    pub(super) fn tell_joined(&self, joined: Joined, v: Option<u32>) {
        if joined.new {
            self.report.say(&TrackerEvent::NewPeer {
                peer: joined.addr,
                original: v.is_none(),
            });
        }
    }

    pub(super) fn tell_ping(&self, joined: Joined, v: Option<u32>) {
        self.tell_joined(joined, v);
        let peer = joined.addr;
        self.report.say(&TrackerEvent::Ping { peer });
    }

    pub(super) fn tell_list(&self, joined: Joined, v: Option<u32>, list: &PeerList) {
        self.tell_joined(joined, v);
        self.report.say(&TrackerEvent::FileList {
            peer: joined.addr,
            n_files: list.files.len(),
            n_in_part: list.pieces.len(),
        });
    }

    pub(super) fn tell_failed(&self, from: SocketAddr, fault: &io::Error) {
        let why = fault.to_string();
        self.report
            .say(&TrackerEvent::ConnectionFailed { from, why });
    }

    /// Refuses what is no message, or a long one that no permit was free for.
    pub(super) fn refuse_message(
        &self,
        from: SocketAddr,
        is_busy: bool,
        why: String,
    ) -> TrackerReply<'_> {
        if is_busy {
            self.tell_refusal(from, &TrackerRefusal::Busy);
            return TrackerReply::error(TrackerRefusal::Busy.to_string());
        }
        let reply = TrackerReply::error(why.clone());
        let weight = match self.notices.is_new(from.ip(), &why) {
            true => Weight::Normal,
            false => Weight::Routine,
        };
        self.report
            .say(&TrackerEvent::NotUnderstood { from, why, weight });
        reply
    }

    pub(super) fn tell_refusal(&self, from: SocketAddr, refusal: &TrackerRefusal) {
        let why = refusal.to_string();
        let weight = match (refusal, self.notices.is_new(from.ip(), &why)) {
            // of many files, each is refused
            (TrackerRefusal::Busy, false) => return,
            (TrackerRefusal::Stranger, false) => Weight::Logged,
            (TrackerRefusal::Stranger | TrackerRefusal::Disk(_), _) => Weight::Important,
            (_, true) => Weight::Normal,
            (_, false) => Weight::Routine,
        };
        self.report
            .say(&TrackerEvent::Refused { from, why, weight });
    }

    /// Tells that a content wasn't taken: once, however often it is tried again.
    pub(super) fn tell_not_published(
        &self,
        peer: SocketAddr,
        name: Name,
        md5: Digest,
        stands: Option<Digest>,
        why: &str,
    ) {
        let content = format!("{} {name:?} {md5}", peer.port());
        if self.notices.is_new(peer.ip(), &content) {
            self.report.say(&TrackerEvent::NotPublished {
                peer,
                name,
                md5,
                stands,
                why: why.to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_and_commands_are_told_of_so_often() {
        let config = TrackerConfig {
            reach: Reachability::Local,
            torrents: "unused".into(),
            sweep_every: std::time::Duration::from_secs(15),
            client: "client".to_owned(),
        };
        let notices = Notices::new(JoinCommands::new(&config, 7));
        let [one, two] = ["10.0.0.2", "10.0.0.3"].map(|ip| ip.parse().expect("an address"));
        let stranger = TrackerRefusal::Stranger.to_string();
        let new = [one, one, two, one].map(|ip| notices.is_new(ip, &stranger));
        assert_eq!(new, [true, false, true, false]);
        let reasons = [(one, "x"), (one, "x"), (one, "y"), (two, "x")];
        let new = reasons.map(|(ip, why)| notices.is_new(ip, why));
        assert_eq!(new, [true, false, true, true]);
        let commands = notices.join.pinned("my image.iso", "99");
        let flags = "--only 'my image.iso' --md5 99";
        assert!(commands[0].starts_with(&format!("client 127.0.0.1 7 shared {flags}")));
    }
}
