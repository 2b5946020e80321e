//! Connections to the peers that pieces are taken from: how they are opened, introduced, and given back.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::Client;
use super::errors::ClientError;
use crate::events::Event;
use crate::net::addresses::is_same_subnet;
use crate::net::{Connection, HEADER, connect, is_local, on_interface};
use crate::picker::{PeerId, Route, Subnet};
use crate::protocol::{Answer, Ask, Have, Hello, PEER_CAP, VERSION};

/// How often the round trip is measured: the smallest result counts.
const ROUND_TRIPS: usize = 3;

/// What a connection holds; dropping this gives it back, however the connection ends.
struct Claims<'a> {
    client: &'a Client,
    peer: PeerId,
    failed: bool,
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.client.lock().disconnected(self.peer, self.failed, now);
        self.client.connect_to_peers();
        self.client.manage_downloads();
    }
}

impl Client {
    /// Connects to those of our peers that have, or will have, something that is missing here, with a thread for each.
    pub(super) fn connect_to_peers(&self) {
        if self.0.config.classic {
            return;
        }
        let min_peers = self.0.config.min_peers;
        let to_connect = self.lock().to_connect(min_peers, Instant::now());
        for (peer, addr) in to_connect {
            let client = self.clone();
            let thread = Builder::new()
                .name(format!("download {addr}"))
                .spawn(move || client.take_from(peer, addr));
            if let Err(fault) = thread {
                self.lock().disconnected(peer, true, Instant::now());
                self.not_connected(peer, addr, &ClientError::NoThread(fault));
            }
        }
    }

    /// Takes pieces from a peer until nothing is missing here, or it fails.
    fn take_from(&self, peer: PeerId, addr: SocketAddr) {
        let mut claims = Claims {
            client: self,
            peer,
            failed: true,
        };
        let mut connection = match self.introduce(peer, addr) {
            Ok(Some(connection)) => connection,
            Ok(None) => return,
            Err(why) => return self.not_connected(peer, addr, &why),
        };
        let ended = self.read_answers(peer, &mut connection);
        let (asked, is_ending) = {
            let state = self.lock();
            (state.is_asked(peer), state.is_ending())
        };
        if ended.is_ok() && asked && !is_ending {
            self.lost(peer, addr, &ClientError::ClosedUnanswered);
        }
        if let Err(why) = ended {
            // a complete peer asks for nothing more, so the connection ends by itself
            claims.failed = asked || !why.is_timeout();
            if claims.failed {
                let stranded = connection.sender().is_stranded();
                let why = if stranded { ClientError::Stranded } else { why };
                self.lost(peer, addr, &why);
            }
        }
    }

    /// Connects to a peer on the tracker's list.
    pub(super) fn connect_to(&self, addr: SocketAddr) -> Result<Connection, ClientError> {
        let interface = self.0.interface.load(Ordering::Relaxed);
        let connected = connect(&[on_interface(addr, interface)]);
        connected.map_err(ClientError::NotConnected)
    }

    /// Says hello both ways. Returns `None` if this isn't a peer to take from.
    fn introduce(&self, peer: PeerId, addr: SocketAddr) -> Result<Option<Connection>, ClientError> {
        let mut connection = self.connect_to(addr)?;
        let Some((their, latency)) = self.say_hello(peer, &mut connection)? else {
            return Ok(None);
        };
        let sender = connection.sender();
        let now = Instant::now();
        let route = Route {
            latency,
            one_at_a_time: false,
            subnet: Some(self.subnet_of(addr, &connection, &their)),
        };
        let known = self.lock().connected(peer, &their, sender, route, now);
        if known {
            let latency_ms = latency.as_secs_f64() * 1e3;
            self.say(&Event::Connected {
                peer: addr,
                latency_ms,
            });
            self.manage_downloads();
        }
        Ok(known.then_some(connection))
    }

    /// Returns in which subnet a peer is, as far as the two addresses tell.
    fn subnet_of(&self, addr: SocketAddr, connection: &Connection, their: &Hello) -> Subnet {
        let own = connection.own.ip();
        match is_local(addr.ip(), own) || is_same_subnet(addr.ip(), own) {
            true => Subnet::Same {
                comes_before: their.id < self.0.run_id,
            },
            false => Subnet::Other,
        }
    }

    /// Returns the message by which this peer introduces itself.
    pub(super) fn hello(&self, have: Vec<Have>) -> Hello {
        Hello {
            v: VERSION,
            id: self.0.run_id.clone(),
            port: self.0.port,
            have,
        }
    }

    /// Sends the first message of a connection and reads its answer; returns it with the smallest of some round trips.
    /// Returns `None` if this peer met itself at another of its own addresses; then that address is forgotten.
    pub(super) fn say_hello(
        &self,
        peer: PeerId,
        connection: &mut Connection,
    ) -> Result<Option<(Hello, Duration)>, ClientError> {
        let (have, _) = self.lock().haves();
        let mut hello = self.hello(have);
        let mut first = None;
        let mut latency = Duration::MAX;
        for _ in 0..ROUND_TRIPS {
            let asked = Instant::now();
            connection.send(&Ask::Hello(hello.clone()))?;
            let their = match connection.expect(HEADER, PEER_CAP)? {
                Answer::Hello(their) => their,
                Answer::Refused { why } => return Err(ClientError::refused(&why)),
                _ => return Err(ClientError::Unexpected("expected a hello")),
            };
            latency = latency.min(asked.elapsed());
            if their.id == hello.id {
                // the other end has noticed the same and has closed
                self.lock().forget(peer);
                return Ok(None);
            }
            first.get_or_insert(their);
            hello.have.clear();
        }
        Ok(first.map(|their| (their, latency)))
    }
}
