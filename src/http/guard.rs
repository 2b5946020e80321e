//! Who may see a page and act on it.
//!
//! A browser also runs other people's pages, so what it sends proves nothing by itself. Two attacks are to be stopped:
//! another site's page that sends requests here (CSRF), and a name of another site that is made to point here, so that its
//! page counts as ours (DNS rebinding).
//!
//! - **A request that changes something** is a POST with a header that no form can send ([`HEADER`]). A script of another
//!   site may only send it if an OPTIONS request is answered, and none is. Where the browser says which page sends it
//!   (`Origin`), that must be ours. A GET changes nothing, so it may come from anywhere.
//! - **A page that others can reach** asks for a token of 128 random bits. It is first in the printed link, and whoever
//!   has it gets in, whatever the name of the machine and whichever site the link stood on: neither `Host` nor
//!   `Referer` nor `Sec-Fetch-Site` can say more than the token. The link is answered with a cookie and leads on to `/`, so
//!   that the token doesn't stay in sight. The browser sends the cookie to that name alone, so that a name that points here
//!   by rebinding has none, and not with what another site's page asks for (`SameSite=Lax`), but with a click on a
//!   link.
//! - **A page for this machine alone** has no token: every user of the machine can open it. There the `Host` must be an
//!   address or `localhost`, which a rebound name is neither.
//!
//! What can be read is kept from other sites by the browser: no answer allows them to (CORS), and
//! `Cross-Origin-Resource-Policy` keeps them from showing it as a picture or running it as a script.

use std::net::{IpAddr, SocketAddr};

use rand::RngExt;

use super::{HEADER, Request, Response};

/// Returns 128 random bits that nobody can guess.
pub(super) fn secret() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// Decides who may see a page and act on it.
pub(super) struct Guard {
    port: u16,
    /// What the printed link has, where others than this machine can connect.
    pub token: Option<String>,
}

impl Guard {
    /// Asks for a token if others than this machine can connect.
    pub fn new(addr: SocketAddr) -> Self {
        let token = (!addr.ip().is_loopback()).then(secret);
        Self {
            port: addr.port(),
            token,
        }
    }

    /// Returns the answer if the request is refused, or if it is the first visit by the printed link.
    pub fn stops(&self, request: &Request) -> Option<Response> {
        let forbidden = |why: &str| Some(Response::text("403 Forbidden", why));
        let host = request.header("host");
        if self.token.is_none() && !host.is_some_and(is_own_name) {
            return forbidden(
                "This page can only be reached by an address or as localhost. To reach it by another name, start the \
                 program with --page 0.0.0.0:PORT and open the link that it prints.",
            );
        }
        if request.method == "POST" {
            let origin = request.header("origin");
            let same = origin.is_none_or(|origin| self.is_own(origin, host));
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

    /// Returns true if a page with this origin is ours. With a token it may be behind another server, which adds TLS.
    fn is_own(&self, origin: &str, host: Option<&str>) -> bool {
        let with_tls = origin.strip_prefix("https://");
        let with_tls = with_tls.filter(|_| self.token.is_some());
        let name = origin.strip_prefix("http://").or(with_tls);
        name.is_some() && name == host
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
    name.eq_ignore_ascii_case("localhost") || bare.unwrap_or(name).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    /// Returns the status of the answer of a page with or without a token; 200 where the request goes through.
    fn answer(token: bool, head: &str) -> u16 {
        let guard = Guard {
            port: 8080,
            token: token.then(|| TOKEN.to_owned()),
        };
        let head = head.replace('\n', "\r\n").replace("TOKEN", TOKEN);
        let request = Request::parse(head.as_bytes()).expect("a request");
        let stopped = guard.stops(&request);
        stopped.map_or(200, |response| {
            response.status[..3].parse().expect("a number")
        })
    }

    #[test]
    fn only_addresses_and_localhost_are_own_names() {
        for own in [
            "localhost",
            "localhost:80",
            "LOCALHOST",
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

    #[test]
    fn a_page_that_others_reach_has_a_token() {
        for (addr, has) in [
            ("127.0.0.1:1", false),
            ("[::1]:1", false),
            ("0.0.0.0:1", true),
        ] {
            let guard = Guard::new(addr.parse().expect("an address"));
            assert_eq!(guard.token.is_some(), has, "{addr}");
        }
    }

    #[test]
    fn only_the_token_is_the_token() {
        for (came, is_it) in [(TOKEN, true), (&TOKEN[1..], false), ("", false)] {
            assert_eq!(equal(came, TOKEN), is_it, "{came}");
        }
        assert!(!equal(&TOKEN.replace('f', "e"), TOKEN));
        assert!(!equal(&format!("{TOKEN}0"), TOKEN));
    }

    #[test]
    fn whoever_has_the_link_gets_in() {
        let from_elsewhere =
            "Referer: https://mail.example/\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate";
        for head in [
            "GET /?token=TOKEN HTTP/1.1\nHost: 10.0.0.7:8080",
            "GET /?token=TOKEN HTTP/1.1\nHost: lab-pc12.local:8080",
            "GET /?utm=mail&token=TOKEN HTTP/1.1\nHost: [fd00::7]:8080\nOrigin: https://course.example",
            "HEAD /?token=TOKEN HTTP/1.1\nHost: lab-pc12\nOrigin: null",
            "GET /?token=TOKEN HTTP/1.0",
        ] {
            assert_eq!(
                answer(true, &format!("{head}\n{from_elsewhere}")),
                303,
                "{head}"
            );
        }
        let known = "Cookie: a=b; bittorrentish-8080=TOKEN; c=d";
        for head in [
            "GET / HTTP/1.1\nHost: lab-pc12.local:8080",
            "GET /files/a HTTP/1.0",
        ] {
            assert_eq!(
                answer(true, &format!("{head}\n{from_elsewhere}\n{known}")),
                200,
                "{head}"
            );
        }
    }

    #[test]
    fn without_the_token_nobody_gets_in() {
        for head in [
            "GET / HTTP/1.1\nHost: 10.0.0.7:8080",
            "GET /?token= HTTP/1.1\nHost: 10.0.0.7:8080",
            "GET /?token=0123 HTTP/1.1\nHost: 10.0.0.7:8080",
            "GET / HTTP/1.1\nHost: 10.0.0.7:8080\nCookie: bittorrentish-8080=",
            // of a program at another port
            "GET / HTTP/1.1\nHost: 10.0.0.7:8080\nCookie: bittorrentish-8081=TOKEN",
            "GET / HTTP/1.1\nHost: evil.example:8080",
            // a link changes nothing
            "POST /fetch/a?token=TOKEN HTTP/1.1\nHost: 10.0.0.7:8080\nX-Bittorrentish: 1",
        ] {
            assert_eq!(answer(true, head), 403, "{head}");
        }
    }

    #[test]
    fn without_a_token_only_own_names_are_answered() {
        let local = |host: &str| answer(false, &format!("GET / HTTP/1.1\nHost: {host}"));
        assert_eq!(local("localhost:9000"), 200);
        assert_eq!(local("127.0.0.1:8080"), 200);
        assert_eq!(local("evil.example:8080"), 403);
        assert_eq!(answer(false, "GET / HTTP/1.1"), 403, "no name at all");
    }

    #[test]
    fn only_our_page_may_change_anything() {
        let post = |token: bool, more: &str| {
            let cookie = "Cookie: bittorrentish-8080=TOKEN";
            let head = format!("POST /fetch/a HTTP/1.1\nHost: 10.0.0.7:8080\n{cookie}\n{more}");
            answer(token, &head)
        };
        let own = "X-Bittorrentish: 1\nOrigin: ";
        for token in [true, false] {
            assert_eq!(post(token, "X-Bittorrentish: 1"), 200);
            assert_eq!(post(token, &format!("{own}http://10.0.0.7:8080")), 200);
            assert_eq!(post(token, "Origin: http://10.0.0.7:8080"), 403, "a form");
            for other in [
                "http://evil.example",
                "http://10.0.0.7",
                "null",
                "10.0.0.7:8080",
                "",
            ] {
                assert_eq!(post(token, &format!("{own}{other}")), 403, "{other}");
            }
        }
        // another server may stand before a page with a token
        assert_eq!(post(true, &format!("{own}https://10.0.0.7:8080")), 200);
        assert_eq!(post(false, &format!("{own}https://10.0.0.7:8080")), 403);
    }
}
