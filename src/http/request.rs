//! What a browser asks for: the head of a request, and ranges of a file.

use std::io;
use std::ops::Range;

use super::HEADER;
use crate::net::{Connection, Pace};
use crate::protocol::invalid;

/// The longest head, bytes: a browser's has about one KiB.
const HEAD_CAP: usize = 16 << 10;

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
    /// Returns `Unsupported` if it isn't HTTP, `InvalidData` if its head is wrong or too long; otherwise the stream's error.
    pub(super) fn read(connection: &mut Connection) -> io::Result<Option<Self>> {
        match connection.read_head(HEAD_CAP, may_be_http)? {
            None => Ok(None),
            Some(head) => Self::parse(&head).map(Some),
        }
    }

    /// Parses a head.
    pub(crate) fn parse(head: &[u8]) -> io::Result<Self> {
        // other programs on this host may have left any bytes in the browser's cookies
        let head = String::from_utf8_lossy(head);
        // by hand, and by some programs, lines are ended with a line feed alone
        let mut lines = head
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line));
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

    /// Returns the bytes of a file of `size` bytes that are asked for; `None` for all of them. For several ranges at once,
    /// and for units that aren't bytes, everything is sent, as the standard allows.
    ///
    /// # Errors
    /// Returns an error if the file has none of these bytes.
    pub(super) fn range(&self, size: u64, etag: &str) -> Result<Option<Range<u64>>, OutOfRange> {
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

    /// Prepares for the body. A program that waits to hear whether it is taken is told so: it would wait for a second
    /// otherwise.
    ///
    /// # Errors
    /// Returns the stream's error.
    pub fn begin_body(&self, connection: &mut Connection) -> io::Result<Pace> {
        if self.header("expect").is_some() {
            let go_ahead = b"HTTP/1.1 100 Continue\r\n\r\n";
            connection.sender().send_bytes(go_ahead)?;
        }
        connection.begin_body()
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
pub(super) struct OutOfRange;

/// Parses `bytes=5-9`, `bytes=5-` or `bytes=-9`, the last nine.
fn parse_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = text.split_once('=')?;
    let range = Some(range).filter(|_| unit.eq_ignore_ascii_case("bytes"));
    let (first, last) = range?.trim().split_once('-')?;
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
    fn a_head_written_by_hand_is_understood() {
        let request = Request::parse(b"GET /status HTTP/1.0\nHost: localhost\n\n");
        let request = request.expect("a request");
        assert_eq!(request.header("host"), Some("localhost"));
        assert_eq!((&*request.method, request.len), ("GET", None));
    }

    #[test]
    fn ranges_are_taken_as_the_standard_says() {
        let of = |more: &str| {
            let head = format!("GET /files/a HTTP/1.1\r\n{more}\r\n\r\n");
            let request = Request::parse(head.as_bytes()).expect("a request");
            request.range(1000, "\"etag\"")
        };
        let (all, some) = (Ok(None), |range| Ok(Some(range)));
        for (range, wanted) in [
            ("bytes=0-", some(0..1000)),
            ("bytes=999-", some(999..1000)),
            ("bytes=5-5", some(5..6)),
            ("bytes=5-5000", some(5..1000)),
            ("bytes=-1", some(999..1000)),
            ("bytes=-5000", some(0..1000)),
            ("Bytes= 5-6", some(5..7)),
            ("bytes=99999999999999999999-", Err(OutOfRange)),
            ("bytes=0-99999999999999999999", some(0..1000)),
            ("bytes=1000-", Err(OutOfRange)),
            ("bytes=-0", Err(OutOfRange)),
            ("bytes=6-5", all),
            ("bytes=-", Ok(None)),
            ("bytes=+1-2", Ok(None)),
            ("bytes=1-2,4-5", Ok(None)),
            ("lines=1-2", Ok(None)),
            ("", Ok(None)),
        ] {
            assert_eq!(of(&format!("Range: {range}")), wanted, "{range}");
        }
        let begun = "Range: bytes=5-\r\nIf-Range:";
        assert_eq!(of(&format!("{begun} \"etag\"")), some(5..1000));
        for other in ["\"other\"", "W/\"etag\"", "Tue, 24 Nov 2026 10:00:00 GMT"] {
            assert_eq!(of(&format!("{begun} {other}")), Ok(None), "{other}");
        }
        assert_eq!(of("X: 1"), Ok(None));
    }

    #[test]
    fn of_an_empty_file_there_is_no_range() {
        let request = Request::parse(b"GET /files/a HTTP/1.1\r\nRange: bytes=0-\r\n\r\n");
        let range = request.expect("a request").range(0, "\"etag\"");
        assert_eq!(range, Err(OutOfRange));
    }

    #[test]
    fn what_cant_become_http_is_known_by_its_first_bytes() {
        for may in [
            "G",
            "GET",
            "GET /files/a",
            "GET / HTTP/1.1\r\nHost",
            "HEAD / HTTP/1.0\n",
        ] {
            assert!(may_be_http(may.as_bytes()), "{may}");
        }
        for other in [
            "\x16\x03\x01",
            "{\"port\": 1}",
            "get / HTTP/1.1",
            "SSH-2.0-x\r\n",
            "GET / HTTP/2\r\n",
            "\0",
        ] {
            assert!(!may_be_http(other.as_bytes()), "{other}");
        }
    }
}
