//! Where a peer comes from, what tells it from the others, and by which address they find it.
//!
//! This module owns the rules for addresses. It never opens a connection.

use std::net::{IpAddr, SocketAddr};

use super::KnownPeer;
use crate::net::is_local;

/// Whom a tracker serves, and so what tells peers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// It serves this machine, where many peers share one address and are told apart by port.
    Local,
    /// It serves every machine, and tells peers apart by address and port.
    Remote,
}

/// The two ends of a connection to the tracker. A peer is where it came from, so nobody can list anybody else.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints {
    /// The peer's address.
    pub peer: IpAddr,
    /// The address at which it reached the tracker.
    pub own: IpAddr,
}

/// What tells one peer from another: its port, and on a [`Reachability::Remote`] tracker its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PeerKey {
    ip: Option<IpAddr>,
    port: u16,
}

impl Reachability {
    /// Returns true if whoever comes this way is served.
    pub fn serves(self, from: Endpoints) -> bool {
        self == Self::Remote || is_local(from.peer, from.own)
    }

    pub(super) fn key(self, addr: SocketAddr) -> PeerKey {
        let ip = match self {
            Self::Local => None,
            Self::Remote => Some(addr.ip()),
        };
        let port = addr.port();
        PeerKey { ip, port }
    }
}

impl Endpoints {
    /// The address at which the others find the peer. An original on this machine listens on its host name's address alone,
    /// which is the one it connected to.
    pub fn addr_of(self, port: u16, v: Option<u32>) -> SocketAddr {
        let original_here = v.is_none() && is_local(self.peer, self.own);
        let ip = if original_here { self.own } else { self.peer };
        SocketAddr::new(ip, port)
    }

    /// Returns true if the peer listens at every address of the tracker's machine: an original has one of them alone.
    pub(super) fn is_here(self, v: Option<u32>) -> bool {
        self.peer.is_loopback() || (v.is_some() && is_local(self.peer, self.own))
    }

    /// The address at which this asker finds a peer. If that is here, on the tracker's machine, it is where the asker reached
    /// the tracker: no way may lead from there to the machine's other addresses.
    pub(super) fn finds(self, peer: IpAddr, is_here: bool) -> IpAddr {
        let same = self.peer.is_loopback() && self.own.is_ipv4() == peer.is_ipv4();
        if is_here && !same { self.own } else { peer }
    }

    /// Returns true if this asker finds every peer at the address at which the other one does.
    pub(super) fn finds_as(self, other: Self) -> bool {
        let finds = |it: Self| (it.peer.is_loopback(), it.own);
        finds(self) == finds(other)
    }
}

impl KnownPeer {
    /// Where this asker finds it.
    pub(super) fn found_by(&self, asker: Endpoints) -> IpAddr {
        asker.finds(self.holdings.addr.ip(), self.is_here)
    }
}
