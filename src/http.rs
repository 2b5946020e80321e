//! HTTP/1.1, as much as a local page needs: one request per connection, a small head, a body that is streamed.
//!
//! It also decides who may see a page and act on it (`Guard`). A browser also runs other people's pages, so what it sends
//! proves nothing by itself:
//! - A request that changes something is a POST with a header that no form can send, and no other site may.
//! - A page on an address that others can reach asks for a token, which is first in the printed link and then in a
//!   cookie. The link works from anywhere, a mail or a course's site, and with any name of this machine: the browser sends
//!   the cookie to that name alone, and with no request that another site's page makes (`SameSite=Lax`).
//! - A page for this machine alone asks for none. There the `Host` must be an address or `localhost`: a name that another
//!   site has made point here (DNS rebinding) is neither.
//!
//! Whole files are sent in ranges, too, so that a browser resumes a download and a video can be wound forward.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use serde::Serialize;

use crate::md5::Digest;
use crate::net::{Connection, Listener, Pace, STRIDE, Sender, Trouble};
use crate::protocol::{invalid, to_bytes};
use crate::semaphore::Semaphore;
use crate::store::Stamp;

/// The longest head, bytes: a browser's has about one KiB.
const HEAD_CAP: usize = 16 << 10;
/// Connections at a time: a browser opens six, and some of them wait for a page.
const CONNECTIONS: usize = 64;
/// Of these, files on their way at a time, up or down: the others are for the page itself.
const TRANSFERS: usize = 32;
/// A longer body takes a while, bytes: it counts as a transfer.
const LONG_BODY: u64 = 1 << 20;
/// The header that every POST has. A form can't send it, and a script of another site may only send it with permission.
pub const HEADER: &str = "x-bittorrentish";
/// How long a connection is still read after its answer: closing it earlier would discard the answer.
const LINGER: Duration = Duration::from_secs(5);
/// How long a refused body is still read, so that who sends it reads the refusal.
const BODY_LINGER: Duration = Duration::from_secs(30);

/// A browser's request.
pub struct Request {
    /// `GET`, `HEAD` or `POST`.
    pub method: String,
    /// The decoded parts of the path: `/files/a%20b` is `files` and `a b`.
    pub path: Vec<String>,
    /// The part after the `?`, decoded.
    pub query: Vec<(String, String)>,
    /// The headers, with names in lower case.
    headers: Vec<(String, String)>,
    /// Bytes of the body, if the head gives them.
    pub len: Option<u64>,
}

impl Request {
    /// Reads one head. Returns `None` if the connection is closed before it.
    ///
    /// # Errors
    /// Returns `InvalidData` if it isn't HTTP or is too long; otherwise the stream's error.
    fn read(connection: &mut Connection) -> io::Result<Option<Self>> {
        match connection.read_head(HEAD_CAP, may_be_http)? {
            None => Ok(None),
            Some(head) => Self::parse(&head).map(Some),
        }
    }

    /// Parses a head.
    fn parse(head: &[u8]) -> io::Result<Self> {
        // other programs on this host may have left any bytes in the browser's cookies
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, "HTTP/1.1" | "HTTP/1.0"] = first[..] else {
            return Err(invalid("expected a request line of HTTP/1.1"));
        };
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers: Option<Vec<_>> = lines
            .take_while(|line| !line.is_empty())
            .map(header)
            .collect();
        let headers =
            headers.ok_or_else(|| invalid("expected NAME: VALUE in each line of the head"))?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        };
        let parts = path
            .strip_prefix('/')
            .map(|path| path.split('/').map(decoded));
        let path = parts.and_then(|parts| parts.collect::<Option<Vec<_>>>());
        let query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(pair)
            .collect();
        let (Some(path), Some(query)) = (path, query) else {
            return Err(invalid("expected a path such as /files/NAME"));
        };
        let mut request = Self {
            method: method.to_owned(),
            path,
            query,
            headers,
            len: None,
        };
        if request.header("transfer-encoding").is_some() {
            return Err(invalid("expected a body with a Content-Length"));
        }
        // a header that is given twice can't be trusted
        for once in ["host", "origin", "content-length", HEADER] {
            let said = request.headers.iter().filter(|(name, _)| name == once);
            if said.count() > 1 {
                return Err(invalid(format!("expected one {once} in the head")));
            }
        }
        if let Some(len) = request.header("content-length") {
            let digits = len.bytes().all(|byte| byte.is_ascii_digit());
            let len = len.parse().ok().filter(|_| digits);
            let len = len.ok_or_else(|| invalid("expected bytes as Content-Length"))?;
            request.len = Some(len);
        }
        Ok(request)
    }

    /// Returns the method, where HEAD counts as GET: it is answered alike, without the body.
    pub fn dispatched_as(&self) -> &str {
        match &*self.method {
            "HEAD" => "GET",
            other => other,
        }
    }

    /// Returns the header with this name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the bytes of a file of `size` bytes that are asked for; `None` for all of them. Of several ranges at once,
    /// and of units that aren't bytes, all is sent, as the standard allows.
    ///
    /// # Errors
    /// Returns an error if the file has none of these bytes.
    fn range(&self, size: u64, etag: &str) -> Result<Option<Range<u64>>, OutOfRange> {
        let of_another = self.header("if-range").is_some_and(|known| known != etag);
        let asked = self.header("range").filter(|_| !of_another);
        let Some((first, last)) = asked.and_then(parse_range) else {
            return Ok(None);
        };
        let range = match (first, last) {
            (Some(first), last) => {
                first..last.map_or(size, |last| last.saturating_add(1)).min(size)
            }
            (None, last) => size.saturating_sub(last.unwrap_or(0))..size,
        };
        match range.is_empty() {
            true => Err(OutOfRange),
            false => Ok(Some(range)),
        }
    }

    /// Returns the first value of a name in the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Returns false as soon as the first bytes of a head aren't HTTP: who speaks TLS or SSH learns so at once.
fn may_be_http(begin: &[u8]) -> bool {
    let line = begin.split(|byte| *byte == b'\n').next().unwrap_or(begin);
    let method = line
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    match line.len() == begin.len() {
        // the first line isn't whole yet
        true => method > 0,
        false => {
            line.trim_ascii_end().ends_with(b" HTTP/1.1")
                || line.trim_ascii_end().ends_with(b" HTTP/1.0")
        }
    }
}

/// A range of a file that has no byte in it.
#[derive(Debug, PartialEq)]
struct OutOfRange;

/// Parses `bytes=5-9`, `bytes=5-` or `bytes=-9`, the last nine.
fn parse_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| -> Option<Option<u64>> {
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        match digits {
            "" => Some(None),
            // more than any file has
            digits if are_digits => Some(Some(digits.parse().unwrap_or(u64::MAX))),
            _ => None,
        }
    };
    let (first, last) = (number(first)?, number(last)?);
    let is_range = match (first, last) {
        (Some(first), Some(last)) => first <= last,
        (first, last) => first.is_some() || last.is_some(),
    };
    is_range.then_some((first, last))
}

/// Decodes `%20` and the like. Returns `None` if the result isn't UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        (bytes, rest) = match (first, tail) {
            (b'%', [a, b, tail @ ..]) => {
                let digit = |c: &u8| (*c as char).to_digit(16);
                bytes.push((digit(a)? * 16 + digit(b)?) as u8);
                (bytes, tail)
            }
            (b'%', _) => return None,
            (other, tail) => {
                bytes.push(*other);
                (bytes, tail)
            }
        };
    }
    String::from_utf8(bytes).ok()
}

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
        let how = if shown.is_some() {
            "inline"
        } else {
            "attachment"
        };
        let type_ = shown.unwrap_or("application/octet-stream").to_owned();
        let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let how = format!("{how}; filename*=UTF-8''{name}");
        Self {
            status: "200 OK",
            headers: vec![
                ("Content-Type", type_),
                ("Content-Disposition", how),
                (
                    "Content-Security-Policy",
                    "default-src 'none'; sandbox".to_owned(),
                ),
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

    /// Sends what was asked for; of a request that isn't HTTP, nothing is known.
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
            sender.send_both(&[], &buffer[..n], &mut pace)?;
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
        _ => return None,
    })
}

/// Returns 128 random bits that nobody can guess.
fn secret() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// Decides who may see a page and act on it.
struct Guard {
    port: u16,
    token: Option<String>,
}

impl Guard {
    /// Asks for a token if others than this machine can connect.
    fn new(addr: SocketAddr) -> Self {
        let token = (!addr.ip().is_loopback()).then(secret);
        Self {
            port: addr.port(),
            token,
        }
    }

    /// Returns the answer if the request is refused, or if it is the first visit by the printed link.
    fn stops(&self, request: &Request) -> Option<Response> {
        let forbidden = |why: &str| Some(Response::text("403 Forbidden", why));
        let host = request.header("host");
        let Some(host) = host.filter(|host| self.token.is_some() || is_own_name(host)) else {
            return forbidden("This page can only be reached by an address or as localhost.");
        };
        if request.method == "POST" {
            let origin = request.header("origin");
            let same = origin.is_none_or(|origin| origin.strip_prefix("http://") == Some(host));
            if !same || request.header(HEADER).is_none() {
                return forbidden("Only this page itself may change anything.");
            }
        }
        let token = self.token.as_ref()?;
        let cookie = format!("bittorrentish-{}", self.port);
        if request.method != "POST"
            && request
                .query("token")
                .is_some_and(|came| equal(came, token))
        {
            let cookie = format!("{cookie}={token}; Path=/; HttpOnly; SameSite=Lax");
            let there = Response::text("303 See Other", "").with("Location", "/".to_owned());
            return Some(there.with("Set-Cookie", cookie));
        }
        let cookies = request.header("cookie").unwrap_or_default().split("; ");
        let mut values = cookies.filter_map(|pair| pair.split_once('='));
        let known = values.any(|(name, value)| name == cookie && equal(value, token));
        if known {
            None
        } else {
            forbidden("Open the link that the program printed: it has a token.")
        }
    }
}

/// Returns true if two secrets are equal, in a time that doesn't depend on where they differ.
fn equal(a: &str, b: &str) -> bool {
    let differ = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && differ == 0
}

/// Returns true for an address or `localhost`, with or without a port: no name that somebody else can point here.
fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name == "localhost" || bare.unwrap_or(name).parse::<IpAddr>().is_ok()
}

/// An address on which a page will be served.
pub struct Site {
    /// The URL with its token: the link that is printed.
    pub url: String,
    listener: TcpListener,
    guard: Guard,
}

impl Site {
    /// Binds to an address. The link shows `shown_ip` if that is every address of this machine.
    ///
    /// # Errors
    /// Returns the system's error: the port may be taken, or the address may be another machine's.
    pub fn bind(at: SocketAddr, shown_ip: Option<IpAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        let mut addr = listener.local_addr()?;
        let guard = Guard::new(addr);
        if let Some(ip) = shown_ip.filter(|_| addr.ip().is_unspecified()) {
            addr.set_ip(ip);
        }
        let token = guard.token.as_ref().map(|token| format!("?token={token}"));
        let url = format!("http://{addr}/{}", token.unwrap_or_default());
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
        let (guard, transfers) = (self.guard, Semaphore::new(TRANSFERS, 0));
        let serve = move |mut connection: Connection| {
            // a browser that is closed in the middle is no news
            let _ = answer(&guard, &transfers, &handle, &mut connection);
        };
        Listener::start("page", self.listener, CONNECTIONS, serve, told)
    }
}

fn answer(
    guard: &Guard,
    transfers: &Semaphore,
    handle: &impl Fn(&Request, &mut Connection) -> Response,
    connection: &mut Connection,
) -> io::Result<()> {
    let request = match Request::read(connection) {
        Ok(None) => return Ok(()),
        Ok(Some(request)) => request,
        Err(fault) if fault.kind() == io::ErrorKind::InvalidData => {
            Response::text("400 Bad Request", fault.to_string()).send(None, connection)?;
            return linger(connection, LINGER);
        }
        Err(fault) => return Err(fault),
    };
    let free = || transfers.acquire(Duration::ZERO);
    let has_long_body = request.len.is_some_and(|len| len > LONG_BODY);
    let upload = has_long_body.then(free);
    let mut response = match guard.stops(&request) {
        Some(response) => response,
        None if !matches!(&*request.method, "GET" | "HEAD" | "POST") => {
            Response::text("405 Method Not Allowed", "Expected GET, HEAD or POST.")
        }
        None if matches!(upload, Some(None)) => Response::busy(),
        None => handle(&request, connection),
    };
    drop(upload);
    let is_download = request.method == "GET" && matches!(response.body, Body::File(_));
    let download = is_download.then(free);
    if matches!(download, Some(None)) {
        response = Response::busy();
    }
    response.send(Some(&request), connection)?;
    drop(download);
    linger(connection, request.len.map_or(LINGER, |_| BODY_LINGER))
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
    fn a_head_is_understood_or_refused() {
        let head = b"POST /share/a%20b%2Fc?file=x%26y&t HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Length: 12\r\n\r\n";
        let request = Request::parse(head).expect("a request");
        assert_eq!(request.path, ["share", "a b/c"]);
        assert_eq!(
            (request.query("file"), request.query("t")),
            (Some("x&y"), Some(""))
        );
        assert_eq!(
            (request.header("host"), request.len),
            (Some("127.0.0.1:80"), Some(12))
        );
        for bad in [
            "",
            "GET /",
            "GET / HTTP/2",
            "GET x HTTP/1.1",
            "GET /%zz HTTP/1.1",
            "GET / HTTP/1.1\r\nno colon",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b",
            "GET / HTTP/1.1\r\nContent-Length: -1",
            "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked",
        ] {
            assert!(Request::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_addresses_and_localhost_are_own_names() {
        for own in [
            "localhost",
            "localhost:80",
            "127.0.0.1:8080",
            "[::1]:80",
            "[::1]",
            "10.0.0.7",
        ] {
            assert!(is_own_name(own), "{own}");
        }
        for other in [
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "",
            "[::1",
            "1.2.3",
        ] {
            assert!(!is_own_name(other), "{other}");
        }
    }
}
