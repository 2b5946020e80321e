//! Connections: the only place that sets timeouts. The original waits forever on a silent connection.

pub mod addresses;
mod listener;

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs,
    UdpSocket,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::listener::{Listener, Trouble};
use crate::protocol::{Cap, invalid, read_message, to_bytes};

/// How long connecting may take.
pub const CONNECT: Duration = Duration::from_secs(5);
/// How long each of several addresses has at first: a name may have one that nobody answers at.
const CONNECT_FIRST: Duration = Duration::from_millis(500);
/// How long a message may take from its first byte to its last, and how long an answer may take to begin unless a caller
/// says otherwise.
pub const HEADER: Duration = Duration::from_secs(10);
/// How much longer an answer may take for each of its bytes: one of megabytes, to each of thirty who ask at once, fills a slow
/// link for longer than [`HEADER`].
pub const ANSWER_EACH_BYTE: Duration = Duration::from_micros(15);
/// Within this time a body must make progress by at least [`BODY_STEP`] bytes.
pub const BODY: Duration = Duration::from_secs(30);
/// The least progress of a body within [`BODY`], bytes.
pub const BODY_STEP: u64 = 64 << 10;
/// How often a slow send's progress is checked.
const BODY_LOOK: Duration = Duration::from_secs(5);
/// The most bytes that are sent or received in one step.
pub const STRIDE: usize = 256 << 10;
/// How long a connection stays open for the last bytes from the other end.
const LINGER: Duration = Duration::from_secs(2);

/// Listens on `port` of every address of this machine, IPv6 and IPv4, or IPv4 alone if IPv6 is off. Port 0 means any free
/// port.
///
/// # Errors
/// Returns the system's error: the port may be taken, for example.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Err(fault) if fault.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        }
        done => done,
    }
}

/// Returns the address in the form that is compared and shown: an IPv4 address as IPv4.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Returns a link-local IPv6 address as one on the interface with this number, without which it can't be connected to;
/// other addresses need none.
pub fn on_interface(mut addr: SocketAddr, interface: u32) -> SocketAddr {
    if let SocketAddr::V6(addr) = &mut addr
        && addr.ip().is_unicast_link_local()
        && addr.scope_id() == 0
    {
        addr.set_scope_id(interface);
    }
    addr
}

/// Returns true if both ends of a connection are on this machine.
pub fn is_local(peer: IpAddr, own: IpAddr) -> bool {
    peer.is_loopback() || peer == own
}

/// Returns the addresses of a host name or of an address in text form.
///
/// # Errors
/// Returns an error if the name isn't known.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    // a link-local address can't be connected to without its interface
    let kept = |addr: SocketAddr| match addr {
        SocketAddr::V6(v6) if v6.scope_id() > 0 => addr,
        _ => canonical(addr),
    };
    let addrs: Vec<_> = (bare, port).to_socket_addrs()?.map(kept).collect();
    if addrs.is_empty() {
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ))
    } else {
        Ok(addrs)
    }
}

/// Connects to the first of the addresses that answers.
///
/// # Errors
/// Returns the error of the last address.
pub fn connect(addrs: &[SocketAddr]) -> io::Result<Connection> {
    let mut fault = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address");
    let is_one = addrs.len() == 1;
    for time in &[CONNECT_FIRST, CONNECT][usize::from(is_one)..] {
        for addr in addrs {
            match TcpStream::connect_timeout(addr, *time).and_then(Connection::new) {
                Ok(connection) => return Ok(connection),
                Err(why) => fault = why,
            }
        }
    }
    if is_timeout(&fault) {
        let why = "no answer: a wrong address, or a firewall in between?";
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    Err(fault)
}

/// Returns true if nothing came, or could be sent, in time: std reports this in two ways.
pub fn is_timeout(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn timed_out_alike(fault: io::Error) -> io::Error {
    if is_timeout(&fault) {
        io::Error::new(io::ErrorKind::TimedOut, "nothing came in time")
    } else {
        fault
    }
}

/// A stream that its owner reads and anyone with the sender may write to.
#[derive(Clone)]
pub struct Sender(Arc<TcpStream>);

impl Sender {
    /// Sends one message with one write.
    ///
    /// # Errors
    /// Returns the stream's error.
    pub fn send(&self, message: &impl Serialize) -> io::Result<()> {
        self.send_bytes(&to_bytes(message))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Fails as [`Sender::send_both`] does.
    pub fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_both(bytes, &[], &mut Pace::default())
    }

    /// Sends bytes within `time`, even if the other end takes them slowly.
    ///
    /// # Errors
    /// Returns the stream's error; `TimedOut` once the time is over.
    pub fn send_within(&self, bytes: &[u8], time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = "the other end took the answer too slowly";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            self.0.set_write_timeout(Some(left))?;
            match (&*self.0).write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => rest = &rest[n..],
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(timed_out_alike(fault)),
            }
        }
        Ok(())
    }

    /// Sends a header and what follows it, with one write if the stream takes it, and ends after one [`BODY`] if the other end
    /// takes nothing.
    ///
    /// # Errors
    /// Returns the stream's error; `TimedOut` if the other end takes it more slowly than a body may come.
    pub fn send_both(&self, header: &[u8], body: &[u8], pace: &mut Pace) -> io::Result<()> {
        // a write that waits doesn't tell what was taken of earlier ones meanwhile: only the next one does
        self.0.set_write_timeout(Some(BODY_LOOK))?;
        let (mut header, mut body) = (header, body);
        while header.len() + body.len() > 0 {
            let asked = Instant::now();
            let sent = (&*self.0).write_vectored(&[IoSlice::new(header), IoSlice::new(body)]);
            let sent = match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => sent,
                Err(fault) if is_timeout(&fault) => 0,
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => 0,
                Err(fault) => return Err(fault),
            };
            pace.note(sent, asked.elapsed())?;
            let of_header = sent.min(header.len());
            header = &header[of_header..];
            body = &body[sent - of_header..];
        }
        Ok(())
    }

    /// Ends the connection for both sides; a thread that reads from it wakes up.
    pub fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Returns true if the address of this end is no longer one of this machine's: nothing arrives any more, and the
    /// connection would only end by its timeout.
    pub fn is_stranded(&self) -> bool {
        self.0.local_addr().is_ok_and(|mut own| {
            own.set_port(0);
            UdpSocket::bind(own).is_err_and(|fault| fault.kind() == io::ErrorKind::AddrNotAvailable)
        })
    }
}

impl Read for Sender {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buf)
    }
}

/// One connection, as its owner's thread sees it. Every read and write ends in bounded time.
pub struct Connection {
    stream: BufReader<Sender>,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub own: SocketAddr,
    /// The number of the interface where the other end's link-local address is valid; 0 for all other addresses.
    pub interface: u32,
    /// How long each message waits before it is looked at: none but in a class, see `--pretend-latency`.
    pub lag: Duration,
    read_timeout: Duration,
    /// How long the last message kept its reader waiting before it began: nothing, where it was there already.
    pub silent: Duration,
    /// Whether a message came. A connection that hasn't sent one makes room for others.
    spoke: Arc<AtomicBool>,
}

impl Connection {
    /// Takes a stream and sets its timeouts.
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        let peer = stream.peer_addr()?;
        Self::with(stream, peer)
    }

    fn with(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HEADER))?;
        stream.set_write_timeout(Some(BODY))?;
        let own = stream.local_addr()?;
        let interface = match own {
            SocketAddr::V6(own) => own.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let own = canonical(own);
        Ok(Self {
            interface,
            stream: BufReader::new(Sender(Arc::new(stream))),
            peer: canonical(peer),
            own,
            lag: Duration::ZERO,
            read_timeout: HEADER,
            silent: Duration::ZERO,
            spoke: Arc::default(),
        })
    }

    /// Returns a handle to send with.
    pub fn sender(&self) -> Sender {
        self.stream.get_ref().clone()
    }

    /// Sends one message.
    ///
    /// # Errors
    /// Returns the stream's error.
    pub fn send(&self, message: &impl Serialize) -> io::Result<()> {
        self.stream.get_ref().send(message)
    }

    /// Reads one message that begins within `first` and ends within [`HEADER`] after that. Returns `None` if the
    /// connection is closed before it.
    ///
    /// # Errors
    /// Fails as [`read_message`] does; after `TimedOut` the connection can't be used any more.
    pub fn read<T: DeserializeOwned>(
        &mut self,
        first: Duration,
        cap: impl Cap,
    ) -> io::Result<Option<T>> {
        self.read_by(first, Duration::ZERO, cap)
    }

    /// Reads one message, which may take `each_byte` longer for each byte that came.
    fn read_by<T: DeserializeOwned>(
        &mut self,
        first: Duration,
        each_byte: Duration,
        cap: impl Cap,
    ) -> io::Result<Option<T>> {
        let asked = Instant::now();
        if self.stream.buffer().is_empty() {
            self.set_read_timeout(first)?;
            loop {
                match self.stream.fill_buf() {
                    Ok([]) => return Ok(None),
                    Ok(_) => break,
                    Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                    Err(fault) => return Err(timed_out_alike(fault)),
                }
            }
        }
        self.silent = asked.elapsed();
        let until = Instant::now() + HEADER;
        let message = read_message(
            &mut Deadline {
                connection: self,
                until,
                each_byte,
            },
            cap,
        )
        .map_err(timed_out_alike)?;
        self.spoke.store(true, Ordering::Relaxed);
        std::thread::sleep(self.lag);
        Ok(message)
    }

    /// Reads an answer, which may take the longer the more of it has come; a missing one is an error.
    ///
    /// # Errors
    /// Fails as [`Connection::read`] does; `UnexpectedEof` if the connection was closed.
    pub fn expect<T: DeserializeOwned>(&mut self, first: Duration, cap: impl Cap) -> io::Result<T> {
        let closed = || {
            io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "expected a message, but the connection was closed",
            )
        };
        let answer = self.read_by(first, ANSWER_EACH_BYTE, cap)?;
        answer.ok_or_else(closed)
    }

    /// Reads lines of at most `cap` bytes in total, up to and including an empty one, within [`HEADER`]: the head of an
    /// HTTP request. Returns `None` if the connection is closed before it. `may_be` looks at what came so far.
    ///
    /// # Errors
    /// Returns `Unsupported` if it can't be a head, `InvalidData` if it is too long or ends early; otherwise the stream's
    /// error.
    pub fn read_head(
        &mut self,
        cap: usize,
        may_be: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Option<Vec<u8>>> {
        let until = Instant::now() + HEADER;
        let mut head = Vec::new();
        let mut lines = Deadline {
            connection: self,
            until,
            each_byte: Duration::ZERO,
        }
        .take(cap as u64);
        let other = || {
            let why = "expected HTTP: this page's address begins with http://, not https://";
            io::Error::new(io::ErrorKind::Unsupported, why)
        };
        let begin = lines.fill_buf().map_err(timed_out_alike)?;
        if !begin.is_empty() && !may_be(begin) {
            return Err(other());
        }
        while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
            if head.ends_with(b"\n") && !may_be(&head) {
                return Err(other());
            }
            match lines.read_until(b'\n', &mut head) {
                Ok(0) if head.is_empty() => return Ok(None),
                Ok(0) => return Err(invalid(format!("expected a head of up to {cap} bytes"))),
                Ok(_) => {}
                Err(fault) => return Err(timed_out_alike(fault)),
            }
        }
        self.spoke.store(true, Ordering::Relaxed);
        Ok(Some(head))
    }

    /// Announces that nothing more will be sent, and reads what the other end still sends for up to `LINGER`.
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn finish(&mut self) -> io::Result<()> {
        self.stream.get_ref().0.shutdown(Shutdown::Write)?;
        self.set_read_timeout(LINGER)
    }

    /// Reads some of a body. The caller watches the progress with a [`Pace`].
    ///
    /// # Errors
    /// Returns the stream's error; `TimedOut` if nothing came within [`BODY`].
    pub fn read_some(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buf) {
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                done => return done.map_err(timed_out_alike),
            }
        }
    }

    /// Prepares for a body: from here on a read waits for up to [`BODY`].
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn begin_body(&mut self) -> io::Result<Pace> {
        self.set_read_timeout(BODY)?;
        Ok(Pace::default())
    }

    fn set_read_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        if timeout == std::mem::replace(&mut self.read_timeout, timeout) {
            return Ok(());
        }
        // zero would mean no timeout, and is an error
        self.stream
            .get_ref()
            .0
            .set_read_timeout(Some(timeout.max(Duration::from_millis(1))))
    }
}

/// Measures how fast a body comes, or is taken: less than [`BODY_STEP`] bytes in [`BODY`] of waiting is too slow.
#[derive(Default)]
pub struct Pace {
    came: u64,
    waited: Duration,
}

impl Pace {
    /// Records that `bytes` came, or were taken, after waiting for `waited`.
    ///
    /// # Errors
    /// Returns `TimedOut` if that is too slow.
    pub fn note(&mut self, bytes: usize, waited: Duration) -> io::Result<()> {
        self.came += bytes as u64;
        self.waited += waited;
        if self.came >= BODY_STEP {
            (self.came, self.waited) = (0, Duration::ZERO);
        } else if self.waited > BODY {
            let why = format!(
                "expected {BODY_STEP} bytes in {} s, got {}",
                BODY.as_secs(),
                self.came
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        Ok(())
    }
}

/// A reader whose reads all end by one deadline, however many there are.
struct Deadline<'a> {
    connection: &'a mut Connection,
    until: Instant,
    each_byte: Duration,
}

impl Read for Deadline<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.connection.stream.read(buf)
    }
}

impl BufRead for Deadline<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.connection.stream.buffer().is_empty() {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the message took too long",
                ));
            }
            self.connection.set_read_timeout(left)?;
        }
        self.connection.stream.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.until += self.each_byte * amount as u32;
        self.connection.stream.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_end_of_a_connection_is_waited_for_for_ever() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let addr = listener.local_addr().expect("bound");
        let ours = connect(&[addr]).expect("it listens");
        let (theirs, _) = listener.accept().expect("it connected");
        let theirs = Connection::new(theirs).expect("a stream");
        for connection in [ours, theirs] {
            let Sender(stream) = connection.sender();
            assert_eq!(stream.write_timeout().expect("a socket"), Some(BODY));
            assert_eq!(stream.read_timeout().expect("a socket"), Some(HEADER));
        }
    }

    #[test]
    fn an_answer_may_take_longer_the_more_of_it_has_come() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let addr = listener.local_addr().expect("bound");
        let mut ours = connect(&[addr]).expect("it listens");
        let (mut theirs, _) = listener.accept().expect("it connected");
        theirs.write_all(&[b'x'; 1000]).expect("a stream");
        let until = Instant::now() + HEADER;
        let mut answer = Deadline {
            connection: &mut ours,
            until,
            each_byte: ANSWER_EACH_BYTE,
        };
        assert!(!answer.fill_buf().expect("it came").is_empty());
        answer.consume(500);
        assert_eq!(answer.until, until + 500 * ANSWER_EACH_BYTE);
    }
}
