//! Accepts connections, each on a thread of its own.
//!
//! The original spawns a thread for each connection. Ours keeps threads that go back to `accept`: there is still one thread for
//! each connection, but it needn't be spawned each time, and there are never more than a fixed number.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::addresses::network;
use super::{CONNECT, Connection, Sender, canonical};

/// The pause after a failed accept: without it, the loop would spin while the descriptor table is full.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The least time between two reports of trouble: a flood isn't news again each time one of its connections leaves.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// The most threads that wait for the next connection; further ones end, as where few are allowed, downloads need them. A
/// new one costs the tracker 15 µs.
const IDLE_THREADS: usize = 2;
/// Bytes of stack for a connection's thread.
const STACK: usize = 512 << 10;

/// Trouble that a [`Listener`], at most once a minute, or a page reports to its owner.
pub enum Trouble {
    /// There was no descriptor for a connection, or no thread; the listener goes on with those that it has.
    Accept(io::Error),
    /// This many connections are open, and no more are accepted until one ends.
    Full(usize),
    /// Something other than HTTP came to a page from there, TLS for example; told once.
    NotHttp(SocketAddr),
}

type Handler = dyn Fn(Connection) + Send + Sync;
type Told = dyn Fn(Trouble) + Send + Sync;

/// Accepts connections until it is dropped, each on a thread that goes back to accepting afterwards.
pub struct Listener {
    shared: Arc<Accepting>,
    /// Where it listens.
    pub addr: SocketAddr,
}

struct Accepting {
    name: String,
    listener: TcpListener,
    most: usize,
    threads: Mutex<Threads>,
    /// Signalled when a thread ends.
    ended: Condvar,
    handle: Box<Handler>,
    told: Box<Told>,
}

/// Behind a leaf lock: while it is held, nothing else is locked and nothing is waited for.
#[derive(Default)]
struct Threads {
    all: usize,
    idle: usize,
    ending: bool,
    /// When trouble was last reported.
    told: Option<Instant>,
    /// Open connections, the oldest first.
    open: Vec<OpenOne>,
}

/// A connection that is open.
struct OpenOne {
    ip: IpAddr,
    /// Whether it is being closed to make room.
    closing: bool,
    sender: Sender,
    /// The connection's own, by which it is also found here.
    spoke: Arc<AtomicBool>,
}

impl Listener {
    /// Serves `listener` with at most `most` threads called `name`. A panic in `handle` ends only that connection.
    ///
    /// # Errors
    /// Returns an error if the system gives no first thread.
    pub fn start(
        name: &str,
        listener: TcpListener,
        most: usize,
        handle: impl Fn(Connection) + Send + Sync + 'static,
        told: impl Fn(Trouble) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let addr = canonical(listener.local_addr()?);
        let (threads, ended) = (Mutex::default(), Condvar::new());
        let shared = Accepting {
            name: name.to_owned(),
            listener,
            most,
            threads,
            ended,
            handle: Box::new(handle),
            told: Box::new(told),
        };
        let shared = Arc::new(shared);
        shared.lock().all = 1;
        spawn(&shared)?;
        Ok(Self { shared, addr })
    }

    /// Wakes the threads that wait in accept. A connection of its own need not get here: IPv6 may be turned off, or the address
    /// have moved away. Only Linux has another way.
    fn wake(&self) {
        if cfg!(target_os = "linux") {
            let same = self.shared.listener.try_clone().map(OwnedFd::from);
            let _ = same.and_then(|same| TcpStream::from(same).shutdown(Shutdown::Both));
            return;
        }
        let at = match self.addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let _ = TcpStream::connect_timeout(&(at, self.addr.port()).into(), CONNECT);
    }
}

impl Drop for Listener {
    /// Closes all connections and waits until their threads have ended.
    fn drop(&mut self) {
        let mut threads = self.shared.lock();
        threads.ending = true;
        threads.open.iter().for_each(|one| one.sender.close());
        while threads.all > 0 {
            drop(threads);
            self.wake();
            threads = self.shared.lock();
            if threads.all > 0 {
                let wait = Duration::from_millis(20);
                threads = self
                    .shared
                    .ended
                    .wait_timeout(threads, wait)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        }
    }
}

fn spawn(shared: &Arc<Accepting>) -> io::Result<()> {
    let own = Arc::clone(shared);
    let thread = Builder::new().name(shared.name.clone()).stack_size(STACK);
    thread
        .spawn(move || own.serve())
        .map(drop)
        .inspect_err(|_| shared.lock().all -= 1)
}

impl Accepting {
    /// Each step leaves the counters consistent, so a lock poisoned by a panic can still be used.
    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one thread: it accepts and handles connections while it is needed.
    fn serve(self: Arc<Self>) {
        let _ends = Ends(&self);
        loop {
            let mut threads = self.lock();
            if threads.ending || threads.idle >= IDLE_THREADS {
                return;
            }
            threads.idle += 1;
            drop(threads);
            let accepted = self
                .listener
                .accept()
                .and_then(|(stream, peer)| Connection::with(stream, peer));
            let mut threads = self.lock();
            threads.idle -= 1;
            if threads.ending {
                return;
            }
            match accepted {
                Ok(connection) => {
                    let full = threads.all == self.most && threads.idle == 0;
                    let more = threads.idle == 0 && threads.all < self.most;
                    threads.all += usize::from(more);
                    let spoke = Arc::clone(&connection.spoke);
                    threads.open.push(OpenOne {
                        ip: connection.peer.ip(),
                        closing: false,
                        sender: connection.sender(),
                        spoke: Arc::clone(&spoke),
                    });
                    drop(threads);
                    let _open = Open(&self, spoke);
                    let ip = Some(connection.peer.ip());
                    if full && !self.make_room(Trouble::Full(self.most), ip) {
                        continue;
                    }
                    if more && let Err(fault) = spawn(&self) {
                        self.make_room(Trouble::Accept(fault), None);
                    }
                    (self.handle)(connection);
                }
                // a peer that connected and left before it was accepted is no trouble
                Err(fault)
                    if matches!(
                        fault.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::NotConnected
                    ) => {}
                Err(fault) => {
                    drop(threads);
                    self.make_room(Trouble::Accept(fault), None);
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Closes the connection that has waited longest for its first message, so that its thread takes the next one:
    /// clients that only connect can't keep others out. The newest connection is spared, as its message may be on its
    /// way. If a [`crowd`] has several connections, one of these is closed: the silent one that has waited longest, or else
    /// the oldest. If there is no silent one, and the newest is of those who have as many, it is turned away instead, and
    /// the result is false. So a crowd never takes the last thread.
    fn make_room(&self, trouble: Trouble, newest: Option<IpAddr>) -> bool {
        let now = Instant::now();
        let mut threads = self.lock();
        let tells = threads.told.is_none_or(|at| now - at >= TOLD_EVERY);
        if tells {
            threads.told = Some(now);
        }
        let n_older = threads.open.len().saturating_sub(1);
        let older = &mut threads.open[..n_older];
        let stay = older.iter().filter(|one| !one.closing);
        let crowd = crowd(stay.map(|one| one.ip), newest);
        let is_of_it = |one: &OpenOne| crowd.is_none_or(|(crowd, _)| one.ip == crowd);
        let eligible = |one: &OpenOne| !one.closing && is_of_it(one);
        let silent = |one: &OpenOne| eligible(one) && !one.spoke.load(Ordering::Relaxed);
        let at = older.iter().position(silent);
        let turned_away = at.is_none() && crowd.is_some_and(|(_, has_newest)| has_newest);
        let oldest = || older.iter().position(eligible);
        let at = at.or_else(|| oldest().filter(|_| crowd.is_some() && !turned_away));
        let makes_room = at.map(|at| {
            older[at].closing = true;
            older[at].sender.clone()
        });
        drop(threads);
        if tells {
            (self.told)(trouble);
        }
        if let Some(sender) = makes_room {
            sender.close();
        }
        !turned_away
    }
}

/// Returns the address that has most connections within the network that has most, where it isn't the only one, and whether
/// the newest connection's network, or its address within the same one, has as many by now. Loopback, which many peers share
/// by design, is no crowd.
fn crowd(open: impl Iterator<Item = IpAddr>, newest: Option<IpAddr>) -> Option<(IpAddr, bool)> {
    let (mut networks, mut addresses) = (BTreeMap::new(), BTreeMap::new());
    for ip in open {
        *networks.entry(network(ip)).or_insert(0) += 1;
        *addresses.entry(ip).or_insert(0) += 1;
    }
    let in_network = |ip: IpAddr| networks.get(&network(ip)).copied().unwrap_or(0);
    let at_address = |ip: IpAddr| addresses.get(&ip).copied().unwrap_or(0);
    let has = |ip: IpAddr| (in_network(ip), at_address(ip));
    let crowd = addresses.keys().copied().max_by_key(|ip| has(*ip))?;
    let within = newest.is_some_and(|newest| network(newest) == network(crowd));
    let of = |ip: IpAddr| {
        if within {
            at_address(ip)
        } else {
            in_network(ip)
        }
    };
    let has_newest = newest.is_some_and(|newest| of(newest) + 1 >= of(crowd));
    (of(crowd) > 1 && !crowd.is_loopback()).then_some((crowd, has_newest))
}

/// Counts a thread out, however it ends; a panicking one is replaced if no other thread waits for connections.
struct Ends<'a>(&'a Arc<Accepting>);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let mut threads = self.0.lock();
        let replaced = std::thread::panicking() && !threads.ending && threads.idle == 0;
        threads.all -= usize::from(!replaced);
        drop(threads);
        if replaced {
            let _ = spawn(self.0);
        }
        self.0.ended.notify_all();
    }
}

/// An open connection's place in the list of those that are closed at the end.
struct Open<'a>(&'a Accepting, Arc<AtomicBool>);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut threads = self.0.lock();
        let is_it = |one: &OpenOne| Arc::ptr_eq(&one.spoke, &self.1);
        let at = threads.open.iter().position(is_it);
        let closes = at.map(|at| threads.open.remove(at));
        // closing takes longer than everything else under the lock
        drop(threads);
        drop(closes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_most_connections_gives_one_up() {
        const THREE: &[(&str, usize)] = &[("10.0.0.6", 80), ("10.0.0.7", 85), ("10.0.0.8", 80)];
        const NETWORK: &[(&str, usize)] = &[("fd00::6", 80), ("fd00::7", 85), ("fd00:1::1", 90)];
        let lab: Vec<String> = (1..=200).map(|n| format!("fd00::{n:x}")).collect();
        let lab: Vec<(&str, usize)> = lab.iter().map(|ip| (ip.as_str(), 1)).collect();
        for (name, open, newest, expected) in [
            ("nobody", &[][..], "10.0.0.1", None),
            (
                "one each",
                &[("10.0.0.2", 1), ("10.0.0.3", 1)],
                "10.0.0.1",
                None,
            ),
            (
                "three addresses",
                THREE,
                "10.0.0.1",
                Some(("10.0.0.7", false)),
            ),
            ("of most", THREE, "10.0.0.7", Some(("10.0.0.7", true))),
            ("of fewer", THREE, "10.0.0.6", Some(("10.0.0.7", false))),
            (
                "of one fewer",
                &[("10.0.0.2", 5), ("10.0.0.3", 4)],
                "10.0.0.3",
                Some(("10.0.0.2", true)),
            ),
            (
                "an IPv6 network",
                NETWORK,
                "fd00:2::1",
                Some(("fd00::7", false)),
            ),
            (
                "of that network",
                NETWORK,
                "fd00::9",
                Some(("fd00::7", false)),
            ),
            ("that address", NETWORK, "fd00::7", Some(("fd00::7", true))),
            ("a lab's network, from it", &lab, "fd00::1:1", None),
            (
                "a lab's network",
                &lab,
                "fd00:1::1",
                Some(("fd00::c8", false)),
            ),
            (
                "loopback",
                &[("127.0.0.1", 9), ("10.0.0.3", 4)],
                "10.0.0.1",
                None,
            ),
        ] {
            let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
            let open = open
                .iter()
                .flat_map(|(at, n)| [ip(at)].into_iter().cycle().take(*n));
            let expected = expected.map(|(at, has_newest)| (ip(at), has_newest));
            assert_eq!(crowd(open, Some(ip(newest))), expected, "{name}");
        }
    }
}
