//! What the tracker tells people and programs, and what it answers where there is little to say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use super::events::Event;
use super::{Config, Inner};
use crate::md5::Digest;
use crate::net::Trouble;
use crate::protocol::{Reply, VERSION, to_bytes};
use crate::report::Weight;
use crate::roster::{Joined, Reach, Refusal};

/// That it listens, and how to join.
pub(super) fn listening(config: &Config, port: u16, n_torrents: usize) -> Event {
    Event::Listening {
        port,
        local: config.reach == Reach::Local,
        client_at: match config.reach {
            Reach::Local => Some(Ipv4Addr::LOCALHOST.into()),
            Reach::Remote => own_address(),
        },
        n_torrents,
        torrents: config.torrents.clone(),
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

/// An address of this machine on its network: the one it would send from. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // an address that is nowhere, for examples: it goes by the default route
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    Some(ip).filter(|ip| !ip.is_unspecified())
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
