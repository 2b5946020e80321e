//! What the tracker tells people and programs, and what it answers where there is little to say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::PoisonError;

use super::events::Event;
use super::{Config, Inner};
use crate::cli::fetch_flags;
use crate::md5::Digest;
use crate::net::Trouble;
use crate::net::addresses::own_addresses;
use crate::protocol::{Reply, Summary, VERSION, to_bytes};
use crate::report::Weight;
use crate::roster::{Joined, Reach, Refusal};
use crate::torrent::Name;

/// The most addresses of this machine that are told to whoever starts peers.
const TOLD_ADDRESSES: usize = 4;
/// Refused publications that are remembered, so as to tell of each once.
const NOT_PUBLISHED: usize = 4096;

/// How to join.
pub(super) struct Joining {
    client: String,
    at: Vec<IpAddr>,
    port: u16,
}

impl Joining {
    pub(super) fn new(config: &Config, port: u16) -> Self {
        Self {
            client: config.client.clone(),
            at: match config.reach {
                Reach::Local => vec![Ipv4Addr::LOCALHOST.into()],
                Reach::Remote => own_addresses(TOLD_ADDRESSES),
            },
            port,
        }
    }

    /// The commands by which another machine fetches exactly this content, one for each address of this machine.
    pub(super) fn pinned(&self, name: &str, md5: &str) -> Vec<String> {
        let Self { client, port, .. } = self;
        let mut at: Vec<String> = self.at.iter().map(IpAddr::to_string).collect();
        if at.is_empty() {
            at.push("<this machine's address>".to_owned());
        }
        let flags = fetch_flags(name, md5);
        let command = |at: String| format!("{client} {at} {port} shared {flags}");
        at.into_iter().map(command).collect()
    }

    /// That it listens, and how to join: for the largest file that is known, or for any.
    pub(super) fn listening(&self, config: &Config, largest: Option<&Summary>) -> Event {
        let pinned = match largest {
            Some(file) => self.pinned(file.name.as_str(), &file.md5.to_string()),
            None => self.pinned("NAME", "MD5"),
        };
        Event::Listening {
            port: self.port,
            local: config.reach == Reach::Local,
            client: self.client.clone(),
            client_at: self.at.clone(),
            pinned,
        }
    }
}

impl Inner {
    pub(super) fn tell_trouble(&self, trouble: Trouble) {
        self.report.say(&match trouble {
            Trouble::Accept(fault) => Event::AcceptFailed {
                why: fault.to_string(),
            },
            Trouble::Full(n) => Event::Full { n },
        });
    }

    pub(super) fn tell_joined(&self, joined: Joined, v: Option<u32>) {
        if joined.new {
            self.report.say(&Event::NewPeer {
                peer: joined.addr,
                original: v.is_none(),
            });
        }
    }

    pub(super) fn tell_refusal(&self, from: SocketAddr, refusal: &Refusal) {
        let weight = match refusal {
            Refusal::Stranger if !self.lock().is_first_time(from.ip()) => Weight::Logged,
            Refusal::Stranger | Refusal::Disk(_) => Weight::Important,
            _ => Weight::Normal,
        };
        let why = refusal.to_string();
        self.report.say(&Event::Refused { from, why, weight });
    }

    /// Tells that a content wasn't taken: to people once, however often it is tried again.
    pub(super) fn tell_not_published(
        &self,
        peer: SocketAddr,
        name: Name,
        md5: Digest,
        stands: Option<Digest>,
        why: &str,
    ) {
        let mut told = self
            .not_published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let first = told.len() < NOT_PUBLISHED && told.insert((peer, name.clone(), md5));
        drop(told);
        let weight = if first {
            Weight::Important
        } else {
            Weight::Logged
        };
        let why = why.to_owned();
        self.report.say(&Event::NotPublished {
            peer,
            name,
            md5,
            stands,
            why,
            weight,
        });
    }
}

/// What ours are answered where there is nothing to say.
pub(super) fn done() -> Vec<u8> {
    to_bytes(&Reply {
        v: VERSION,
        ..Reply::default()
    })
}

/// What ours are told where they are refused or not understood. `md5` is that of what the swarm has under the name.
pub(super) fn error(why: String, md5: Option<Digest>) -> Vec<u8> {
    to_bytes(&Reply {
        v: VERSION,
        error: Some(why),
        md5,
        ..Reply::default()
    })
}
