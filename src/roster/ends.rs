//! Who comes from where, and by which address others find it. Pure.

use std::net::{IpAddr, SocketAddr};

use crate::net::is_local;

/// Whom a tracker serves, and so what tells peers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine: many peers on one address, told apart by port.
    Local,
    /// Every machine: told apart by address and port.
    Remote,
}

/// The two ends of a connection to the tracker. A peer is where it came from, and can't list anybody else.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The peer's address.
    pub peer: IpAddr,
    /// The address at which it reached the tracker.
    pub own: IpAddr,
}

impl Reach {
    /// Whether whoever comes this way is served.
    pub fn serves(self, from: Ends) -> bool {
        self == Self::Remote || is_local(from.peer, from.own)
    }

    pub(super) fn key(self, addr: SocketAddr) -> Key {
        match self {
            Self::Local => Key(None, addr.port()),
            Self::Remote => Key(Some(addr.ip()), addr.port()),
        }
    }
}

/// What tells peers apart. Without an address on a [`Reach::Local`] tracker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(Option<IpAddr>, u16);

impl Ends {
    /// Where the others find who comes this way. An original on this machine connects to its host name's address, and
    /// listens on just that.
    pub fn addr_of(self, port: u16, v: Option<u32>) -> SocketAddr {
        let original_here = v.is_none() && is_local(self.peer, self.own);
        let ip = if original_here { self.own } else { self.peer };
        SocketAddr::new(ip, port)
    }

    /// The address by which who asks finds a peer: one that came over loopback is on the tracker's machine.
    pub(super) fn finds(self, peer: IpAddr) -> IpAddr {
        let same = self.peer.is_loopback() && self.own.is_ipv4() == peer.is_ipv4();
        if peer.is_loopback() && !same {
            self.own
        } else {
            peer
        }
    }

    /// Whoever has the same view finds every peer by the same address.
    pub(super) fn view(self) -> View {
        View(self.peer.is_loopback(), self.own)
    }
}

/// All that [`Ends::finds`] depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct View(bool, IpAddr);
