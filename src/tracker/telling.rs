//! What the tracker tells people and programs, and what it answers where there is little to say.

use std::net::{Ipv4Addr, SocketAddr};

use super::events::Event;
use super::{Config, Inner};
use crate::md5::Digest;
use crate::net::Trouble;
use crate::net::addresses::own_addresses;
use crate::protocol::{Reply, VERSION, to_bytes};
use crate::report::Weight;
use crate::roster::{Joined, Reach, Refusal};

/// The most addresses of this machine that are told to whoever starts peers.
const TOLD_ADDRESSES: usize = 4;

/// That it listens, and how to join.
pub(super) fn listening(config: &Config, port: u16) -> Event {
    Event::Listening {
        port,
        local: config.reach == Reach::Local,
        client: config.client.clone(),
        client_at: match config.reach {
            Reach::Local => vec![Ipv4Addr::LOCALHOST.into()],
            Reach::Remote => own_addresses(TOLD_ADDRESSES),
        },
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
            Refusal::Stranger | Refusal::OtherContent { .. } | Refusal::Disk(_) => {
                Weight::Important
            }
            _ => Weight::Normal,
        };
        let why = refusal.to_string();
        self.report.say(&Event::Refused { from, why, weight });
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
        torrent: None,
    })
}
