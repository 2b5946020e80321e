//! HTTP/1.1, as much as a local page needs: one request per connection, a small head, a body that is streamed.
//!
//! Whole files are sent in ranges, too, so that a browser resumes a download and a video can be wound forward. A refusal can be
//! read: what a browser still sends after it is read for a while, as closing at once would discard the answer. Who may see a
//! page and act on it is decided in [`guard`].

mod guard;
mod request;

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::md5::Digest;
use crate::net::addresses::own_addresses;
use crate::net::{Connection, Listener, Pace, STRIDE, Sender, Trouble};
use crate::protocol::to_bytes;
use crate::semaphore::Semaphore;
use crate::store::Stamp;
use guard::{Guard, secret};
use request::OutOfRange;
pub use request::Request;

/// Connections at a time: a browser opens six, and some of them wait for a page.
const CONNECTIONS: usize = 64;
/// Of these, files on their way at a time, up or down: the others are for the page itself.
const TRANSFERS: usize = 32;
/// A longer body takes a while, bytes: it counts as a transfer.
const LONG_BODY: u64 = 1 << 20;
/// Own addresses that are looked at for one that fits the printed link: few machines have more.
const ADDRESSES: usize = 16;
/// The header that every POST has. A form can't send it, and a script of another site may only send it with permission.
pub const HEADER: &str = "x-bittorrentish";
/// What is told of a connection to a page that speaks TLS or something else.
pub const NOT_HTTP: &str =
    "something else than HTTP came to the page, whose address begins with http://, not https://";
/// How long a connection is still read after its answer: closing it earlier would discard the answer.
const LINGER: Duration = Duration::from_secs(5);
/// How long a refused body is still read, so that whoever sends it reads the refusal.
const BODY_LINGER: Duration = Duration::from_secs(30);

/// The answer to a browser.
pub struct Response {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

enum Body {
    Bytes(Vec<u8>),
    /// A whole file, as long as it stays unchanged.
    File(WholeBody),
}

/// A file to be sent.
struct WholeBody {
    file: Arc<File>,
    stamp: Stamp,
    /// Tells this content from any other.
    etag: String,
}

impl Response {
    /// Answers with text for a person.
    pub fn text(status: &'static str, text: impl Into<String>) -> Self {
        let plain = "text/plain; charset=utf-8".to_owned();
        let body = Body::Bytes(text.into().into_bytes());
        Self {
            status,
            headers: vec![("Content-Type", plain)],
            body,
        }
    }

    /// Returns the status and the text that is sent.
    #[cfg(test)]
    pub(crate) fn told(&self) -> (u16, String) {
        let text = match &self.body {
            Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Body::File(_) => "a file".to_owned(),
        };
        (self.status[..3].parse().expect("a number"), text)
    }

    /// Answers with data for a page's script.
    pub fn json(value: &impl Serialize) -> Self {
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Self {
            status: "200 OK",
            headers,
            body: Body::Bytes(to_bytes(value)),
        }
    }

    /// Answers with a page, in which `{nonce}` marks where its own script and style get theirs. No other script or style
    /// runs.
    pub fn page(html: &str) -> Self {
        let nonce = secret();
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let html_type = "text/html; charset=utf-8".to_owned();
        Self {
            status: "200 OK",
            headers: vec![
                ("Content-Type", html_type),
                ("Content-Security-Policy", policy),
            ],
            body: Body::Bytes(html.replace("{nonce}", &nonce).into_bytes()),
        }
    }

    /// Answers with a file, whose content has this MD5. Types that a browser would run as part of our page are sent as
    /// downloads.
    pub fn file(name: &str, file: Arc<File>, stamp: Stamp, md5: Digest) -> Self {
        let shown = content_type(name);
        let how = match shown {
            Some(_) => "inline",
            None => "attachment",
        };
        let type_ = shown.unwrap_or("application/octet-stream");
        // a video is asked for by the page that a browser makes for it; nothing in that page runs either
        let policy = match type_.split_once('/') {
            Some(("video" | "audio", _)) => {
                "default-src 'none'; media-src 'self'; sandbox allow-same-origin"
            }
            _ => "default-src 'none'; sandbox",
        };
        // for programs that don't know the second form, which has all characters
        let plain = name.replace(
            |c: char| !c.is_ascii_alphanumeric() && !" .-_()+,".contains(c),
            "_",
        );
        let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let how = format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{name}");
        Self {
            status: "200 OK",
            headers: vec![
                ("Content-Type", type_.to_owned()),
                ("Content-Disposition", how),
                ("Content-Security-Policy", policy.to_owned()),
            ],
            body: Body::File(WholeBody {
                file,
                stamp,
                etag: format!("\"{md5}\""),
            }),
        }
    }

    /// Answers that as many files as possible are on their way.
    fn busy() -> Self {
        let why =
            format!("{TRANSFERS} files are on their way: try again once one of them is there.");
        Self::text("503 Service Unavailable", why).with("Retry-After", "10".to_owned())
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Returns the status line's text, more headers, and the range of the file that is sent, if it is one.
    fn status_for(&self, request: Option<&Request>) -> (&'static str, String, Range<u64>) {
        let whole = match &self.body {
            Body::Bytes(bytes) => return (self.status, String::new(), 0..bytes.len() as u64),
            Body::File(whole) => whole,
        };
        let (size, etag) = (whole.stamp.size, &whole.etag);
        let known = format!("Accept-Ranges: bytes\r\nETag: {etag}\r\n");
        let asked = request.filter(|request| request.method == "GET");
        match asked.map_or(Ok(None), |request| request.range(size, etag)) {
            Ok(None) => (self.status, known, 0..size),
            Ok(Some(range)) => {
                let (first, last) = (range.start, range.end - 1);
                let of = format!("Content-Range: bytes {first}-{last}/{size}\r\n");
                ("206 Partial Content", known + &of, range)
            }
            Err(OutOfRange) => {
                let of = format!("Content-Range: bytes */{size}\r\n");
                ("416 Range Not Satisfiable", known + &of, 0..0)
            }
        }
    }

    /// Sends what was asked for; nothing is known of a request that isn't HTTP.
    fn send(&self, request: Option<&Request>, connection: &Connection) -> io::Result<()> {
        let (status, more, range) = self.status_for(request);
        let len = range.end - range.start;
        let mut head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n\
             Referrer-Policy: no-referrer\r\n{more}"
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let (sender, mut pace) = (connection.sender(), Pace::default());
        let is_head = request.is_some_and(|request| request.method == "HEAD");
        match &self.body {
            _ if is_head => sender.send_bytes(head.as_bytes()),
            Body::Bytes(bytes) => sender.send_both(head.as_bytes(), bytes, &mut pace),
            Body::File(whole) => {
                sender.send_bytes(head.as_bytes())?;
                whole.send(range, &sender)
            }
        }
    }
}

impl WholeBody {
    /// Sends a range, or breaks off if the file is no longer what was promised.
    fn send(&self, range: Range<u64>, sender: &Sender) -> io::Result<()> {
        let Range { mut start, end } = range;
        let (mut buffer, mut pace) = (vec![0; STRIDE.min((end - start) as usize)], Pace::default());
        while start < end {
            let n = buffer.len().min((end - start) as usize);
            self.file.read_exact_at(&mut buffer[..n], start)?;
            if Stamp::of_file(&self.file)? != self.stamp {
                return Err(io::Error::other("it changed while it was sent"));
            }
            sender.send_both(&buffer[..n], &[], &mut pace)?;
            start += n as u64;
        }
        Ok(())
    }
}

/// Returns the content type of a file that a browser shows without running anything in it.
fn content_type(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "txt" | "md" | "log" => "text/plain; charset=utf-8",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        _ => return None,
    })
}

/// An address on which a page will be served.
pub struct Site {
    /// The URL with its token: the link that is printed.
    pub url: String,
    listener: TcpListener,
    guard: Guard,
}

impl Site {
    /// Binds to an address. If that is every address of this machine, the link shows one that others can use:
    /// `preferred`, or else the first that fits.
    ///
    /// # Errors
    /// Returns the system's error: the port may be taken, or the address may be another machine's.
    pub fn bind(at: SocketAddr, preferred: Option<IpAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        let addr = listener.local_addr()?;
        let guard = Guard::new(addr);
        let shown = match addr.ip().is_unspecified() {
            true => shown_for(addr, preferred.into_iter().chain(own_addresses(ADDRESSES))),
            false => addr,
        };
        let token = guard.token.as_ref().map(|token| format!("?token={token}"));
        let url = format!("http://{shown}/{}", token.unwrap_or_default());
        Ok(Self {
            url,
            listener,
            guard,
        })
    }

    /// Serves the page until the returned value is dropped.
    ///
    /// # Errors
    /// Returns an error if the system gives no thread.
    pub fn serve(
        self,
        handle: impl Fn(&Request, &mut Connection) -> Response + Send + Sync + 'static,
        told: impl Fn(Trouble) + Send + Sync + 'static,
    ) -> io::Result<Listener> {
        let serving = Serving {
            guard: self.guard,
            transfers: Semaphore::new(TRANSFERS, 0),
            handle,
        };
        let (told, told_later) = (Arc::new(told), AtomicBool::new(false));
        let tell = Arc::clone(&told);
        let serve = move |mut connection: Connection| {
            // a browser that is closed in the middle is no news
            let answered = serving.answer(&mut connection);
            let is_foreign = answered.is_err_and(|why| why.kind() == io::ErrorKind::Unsupported);
            if is_foreign && !told_later.swap(true, Ordering::Relaxed) {
                tell(Trouble::NotHttp(connection.peer));
            }
        };
        Listener::start("page", self.listener, CONNECTIONS, serve, move |trouble| {
            told(trouble)
        })
    }
}

/// Returns the address that the link names, of a page at every address of this machine: the first that the page listens
/// at; this machine's own where there is none.
fn shown_for(listens: SocketAddr, own: impl Iterator<Item = IpAddr>) -> SocketAddr {
    let is_reached = |ip: &IpAddr| ip.is_ipv4() || listens.is_ipv6();
    // a browser can't be told the interface that a link-local address needs
    let is_usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_unicast_link_local(),
    };
    let mut own = own.filter(|ip| is_reached(ip) && is_usable(ip));
    let ip = own.next().unwrap_or(Ipv4Addr::LOCALHOST.into());
    SocketAddr::new(ip, listens.port())
}

/// A page that is being served.
struct Serving<H> {
    guard: Guard,
    transfers: Semaphore,
    handle: H,
}

impl<H: Fn(&Request, &mut Connection) -> Response> Serving<H> {
    /// Answers one request. Fails with `Unsupported` if something else than HTTP came.
    fn answer(&self, connection: &mut Connection) -> io::Result<()> {
        let request = match Request::read(connection) {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => request,
            Err(fault) => return Err(refuse(fault, connection)),
        };
        let place = || self.transfers.acquire(Duration::ZERO);
        let has_long_body = request.len.is_some_and(|len| len > LONG_BODY);
        let upload = has_long_body.then(place);
        let mut response = match self.guard.stops(&request) {
            Some(response) => response,
            None if !matches!(&*request.method, "GET" | "HEAD" | "POST") => {
                Response::text("405 Method Not Allowed", "Expected GET, HEAD or POST.")
            }
            None if matches!(upload, Some(None)) => Response::busy(),
            None => (self.handle)(&request, connection),
        };
        drop(upload);
        let is_download = request.method == "GET" && matches!(response.body, Body::File(_));
        let download = is_download.then(place);
        if matches!(download, Some(None)) {
            response = Response::busy();
        }
        response.send(Some(&request), connection)?;
        drop(download);
        linger(connection, request.len.map_or(LINGER, |_| BODY_LINGER))
    }
}

/// Answers what isn't a request, and returns what it is.
fn refuse(fault: io::Error, connection: &mut Connection) -> io::Error {
    let kinds = [io::ErrorKind::InvalidData, io::ErrorKind::Unsupported];
    if kinds.contains(&fault.kind()) {
        let answer = Response::text("400 Bad Request", fault.to_string());
        // whatever becomes of the connection, this is known
        let sent = answer.send(None, connection);
        let _ = sent.and_then(|()| linger(connection, LINGER));
    }
    fault
}

/// Reads what the other end still sends: closing before everything was read would discard the answer.
fn linger(connection: &mut Connection, time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    let mut buffer = vec![0; STRIDE];
    connection.finish()?;
    while Instant::now() < until {
        if connection.read_some(&mut buffer)? == 0 {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_names_an_address_that_others_can_use() {
        let shown = |listens: &str, own: &[&str]| {
            let listens: SocketAddr = listens.parse().expect("an address");
            let own = own.iter().map(|ip| ip.parse().expect("an address"));
            shown_for(listens, own).to_string()
        };
        let both = ["127.0.1.1", "fe80::1", "fd00::2", "10.0.0.7"];
        assert_eq!(shown("[::]:80", &both), "[fd00::2]:80");
        assert_eq!(
            shown("0.0.0.0:80", &both),
            "10.0.0.7:80",
            "it isn't reached by IPv6"
        );
        assert_eq!(shown("0.0.0.0:80", &["fd00::2"]), "127.0.0.1:80");
        assert_eq!(shown("[::]:80", &[]), "127.0.0.1:80");
    }

    #[test]
    fn a_name_is_given_in_a_form_for_every_program() {
        let path = std::env::temp_dir().join(format!("bittorrentish-name-{}", std::process::id()));
        let file = File::create(&path).expect("room");
        let stamp = Stamp::of_file(&file).expect("a file");
        std::fs::remove_file(&path).expect("it is ours");
        let (file, md5) = (Arc::new(file), crate::md5::digest(b""));
        let how = |name: &str| {
            let response = Response::file(name, Arc::clone(&file), stamp, md5);
            let found = response
                .headers
                .iter()
                .find(|(name, _)| *name == "Content-Disposition");
            found.expect("it is always given").1.clone()
        };
        assert_eq!(
            how("a \"b\"\\%41ç.iso"),
            "attachment; filename=\"a _b___41_.iso\"; \
             filename*=UTF-8''%61%20%22%62%22%5C%25%34%31%C3%A7%2E%69%73%6F"
        );
        assert!(how("a.TXT").starts_with("inline; "));
        assert!(how("a.html").starts_with("attachment; "));
    }
}
