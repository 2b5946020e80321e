//! The page of a peer: what browsers ask for, and one that does.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use bittorrentish::md5::digest;
use serde_json::{Value, json};

use super::browser::{Browser, browser};
use super::lab::lab;
use super::support::*;

pub const CONTENT: usize = 5_000_000;

/// Where a program's page is, and what follows the address in its link.
pub fn link(program: &Program) -> (SocketAddr, String) {
    let line = program.until_line("page: http://");
    let url = line.split("http://").nth(1).expect("found");
    let (addr, path) = url.split_once('/').expect("a link");
    (addr.parse().expect("an address"), path.to_owned())
}

/// What is answered to this head and body: the status, the head, and the body.
pub fn http(to: SocketAddr, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(to).expect("somebody listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let head = head.replace('\n', "\r\n");
    let bytes = [format!("{head}\r\n\r\n").as_bytes(), body].concat();
    // who refuses may close before all of it is written
    let _ = stream.write_all(&bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let at = at.unwrap_or_else(|| panic!("no answer to {head}"));
    let body = answer.split_off(at + 4);
    let head = String::from_utf8(answer).expect("text");
    let status = head[9..12].parse().expect("a status");
    (status, head, body)
}

/// What the page itself would get.
pub fn get(to: SocketAddr, path: &str) -> (u16, String, Vec<u8>) {
    http(to, &format!("GET /{path} HTTP/1.1\nHost: {to}"), b"")
}

/// What the page itself would be answered.
pub fn post(to: SocketAddr, path: &str, body: &[u8]) -> (u16, String) {
    let head = format!(
        "POST /{path} HTTP/1.1\nHost: {to}\nOrigin: http://{to}\nX-Bittorrentish: 1\nContent-Length: {}",
        body.len()
    );
    let (status, _, text) = http(to, &head, body);
    (status, String::from_utf8(text).expect("text"))
}

pub fn status(to: SocketAddr) -> Value {
    serde_json::from_slice(&get(to, "status").2).expect("JSON")
}

/// What the page says of a file, once it is listed.
pub fn file(to: SocketAddr, name: &str) -> Option<Value> {
    let status = status(to);
    let files = status["files"].as_array().expect("files");
    files.iter().find(|file| file["name"] == name).cloned()
}

#[track_caller]
pub fn until_kind(to: SocketAddr, name: &str, kind: &str) -> Value {
    until(&format!("{name} {kind}"), || {
        file(to, name).filter(|file| file["doing"]["kind"] == kind)
    })
}

/// A tracker, a seed of `image.iso`, and a peer that waits to be told what to fetch.
pub struct Picked {
    pub temp: Temp,
    _tracker: Program,
    pub seed: Program,
    pub picker: Program,
    pub content: Vec<u8>,
}

impl Picked {
    pub fn new(more: &[&str]) -> Self {
        let temp = Temp::new();
        let tracker = Program::tracker(&temp.dir("torrents"), &[]);
        let content = random_bytes(CONTENT, 5);
        plant(&temp.dir("seed"), "image.iso", &content);
        let seed = Program::peer(&tracker, &temp.dir("seed"), &[]);
        seed.until_event("published", |_| true);
        let picker = Program::peer(&tracker, &temp.dir("picker"), &[&["--pick"], more].concat());
        Self {
            temp,
            _tracker: tracker,
            seed,
            picker,
            content,
        }
    }
}

#[test]
fn who_picks_on_the_page_fetches_nothing_before() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    let listed = until_kind(at, "image.iso", "listed");
    assert_eq!(
        (&listed["size"], &listed["holders"][0]),
        (&CONTENT.into(), &1.into())
    );
    assert_eq!(
        listed["md5"],
        torrent_of("image.iso", &swarm.content).md5().to_string()
    );
    // a round and more
    let pings = swarm.picker.events("list").len();
    until("more pings", || {
        (swarm.picker.events("list").len() > pings + 3).then_some(())
    });
    until_kind(at, "image.iso", "listed");
    assert!(swarm.picker.events("begin").is_empty());
    assert_eq!(get(at, "files/image.iso").0, 404);

    assert_eq!(post(at, "fetch/image.iso", b"").0, 200);
    let whole = until_kind(at, "image.iso", "verified");
    assert_eq!(
        (&whole["others"], &whole["verified"]),
        (&0.0.into(), &CONTENT.into())
    );
    until_content(&swarm.temp.path().join("picker/image.iso"), &swarm.content);
    let (code, head, body) = get(at, "files/image.iso");
    assert_eq!((code, body == swarm.content), (200, true));
    assert!(head.contains("attachment; filename"), "{head}");
}

#[test]
fn a_name_that_nobody_lists_is_waited_for() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    assert_eq!(post(at, "fetch/later.iso", b"").0, 200);
    until_kind(at, "later.iso", "unlisted");
    until(
        "the headline, which is another before the first list",
        || (status(at)["doing"]["kind"] == "unlisted").then_some(()),
    );
    plant(&swarm.temp.dir("seed"), "later.iso", &swarm.content);
    until_kind(at, "later.iso", "verified");
    until_kind(at, "image.iso", "listed");
}

#[test]
fn what_is_uploaded_is_shared_and_another_peer_gets_it() {
    let swarm = Picked::new(&["--only", "new file.bin"]);
    let (at, _) = link(&swarm.seed);
    let content = random_bytes(3_000_000, 6);
    assert_eq!(
        post(at, "share/new%20file.bin", &content),
        (200, String::new())
    );
    until_kind(at, "new file.bin", "verified");
    until_content(&swarm.temp.path().join("picker/new file.bin"), &content);
    let empty = post(at, "share/empty", b"");
    assert_eq!(empty, (200, String::new()));
    until_kind(at, "empty", "verified");
}

#[test]
fn an_upload_never_takes_the_place_of_a_file() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    until_kind(at, "image.iso", "listed");
    let (of_swarm, why) = post(at, "share/image.iso", b"other");
    assert_eq!(of_swarm, 409, "{why}");
    plant(&swarm.temp.dir("picker"), "mine", b"mine");
    assert_eq!(post(at, "share/mine", b"other").0, 409);
    assert_eq!(
        fs::read(swarm.temp.path().join("picker/mine")).expect("there"),
        b"mine"
    );
    let too_long = format!(
        "POST /share/huge HTTP/1.1\nHost: {at}\nX-Bittorrentish: 1\nContent-Length: 1099511627777"
    );
    assert_eq!(http(at, &too_long, b"").0, 413);
    let without = format!("POST /share/huge HTTP/1.1\nHost: {at}\nX-Bittorrentish: 1");
    assert_eq!(http(at, &without, b"").0, 411);
}

#[test]
fn an_upload_that_is_broken_off_leaves_nothing() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    let mut stream = TcpStream::connect(at).expect("a page");
    let head = format!(
        "POST /share/half HTTP/1.1\r\nHost: {at}\r\nX-Bittorrentish: 1\r\nContent-Length: 1000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it listens");
    stream.write_all(&[7; 400_000]).expect("it reads");
    let coming = until_kind(at, "half", "uploading");
    assert_eq!(coming["size"], 1_000_000);
    assert_eq!(post(at, "share/half", b"other").0, 409, "one at a time");
    drop(stream);
    until("its end", || file(at, "half").is_none().then_some(()));
    let hidden = swarm.temp.path().join("picker/.bittorrentish");
    let left = fs::read_dir(hidden).expect("there").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    let kept = |name: &std::ffi::OsString| ["lock", "key", "port"].iter().any(|it| name == it);
    assert!(left.iter().all(kept), "{left:?}");
    assert!(!swarm.temp.path().join("picker/half").exists());
}

#[test]
fn requests_that_another_site_may_have_made_are_refused() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    until_kind(at, "image.iso", "listed");
    let port = at.port();
    let head = "GET /status HTTP/1.1\nHost: ";
    for (host, code) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        ("localhost".to_owned(), 200),
        ("[::1]:9000".to_owned(), 200),
        (format!("evil.example:{port}"), 403),
        (format!("127.0.0.1.evil.example:{port}"), 403),
        ("localhost.evil.example".to_owned(), 403),
        (String::new(), 403),
        (format!("127.0.0.1:{port}\nHost: evil.example"), 400),
    ] {
        assert_eq!(http(at, &format!("{head}{host}"), b"").0, code, "{host}");
    }
    assert_eq!(http(at, "GET /status HTTP/1.1", b"").0, 403, "no Host");
    let head = format!("POST /fetch/image.iso HTTP/1.1\nHost: {at}\nContent-Length: 0");
    let own = "X-Bittorrentish: 1";
    for (more, code) in [
        // a form sends no header of ours; a script may not, unless an OPTIONS were answered
        (
            "Origin: http://evil.example\nContent-Type: text/plain".to_owned(),
            403,
        ),
        (format!("Origin: http://evil.example\n{own}"), 403),
        (format!("Origin: null\n{own}"), 403),
        (format!("Origin: https://{at}\n{own}"), 403),
        (format!("Origin: http://{at}"), 403),
        (
            format!("Origin: http://{at}\nOrigin: http://evil.example\n{own}"),
            400,
        ),
    ] {
        assert_eq!(http(at, &format!("{head}\n{more}"), b"").0, code, "{more}");
    }
    for method in ["OPTIONS", "PUT", "DELETE"] {
        let head = format!("{method} /fetch/image.iso HTTP/1.1\nHost: {at}\n{own}");
        assert_eq!(http(at, &head, b"").0, 405, "{method}");
    }
    assert_eq!(get(at, "fetch/image.iso").0, 404, "a link changes nothing");
    assert!(swarm.picker.events("begin").is_empty());
    assert_eq!(
        http(at, &format!("{head}\nOrigin: http://{at}\n{own}"), b"").0,
        200
    );
}

#[test]
fn heads_that_are_none_are_refused_and_the_page_goes_on() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    let long = "x".repeat(20_000);
    for head in [
        "GET".to_owned(),
        "GET / HTTP/9.9".to_owned(),
        "GET  / HTTP/1.1".to_owned(),
        "GET http://evil.example/ HTTP/1.1".to_owned(),
        format!("GET /{long} HTTP/1.1"),
        format!("GET / HTTP/1.1\nHost: {at}\nX: {long}"),
        format!("GET / HTTP/1.1\nHost: {at}\nno colon"),
        format!("GET /%zz HTTP/1.1\nHost: {at}"),
        format!("GET /%ff HTTP/1.1\nHost: {at}"),
        format!("POST /share/f HTTP/1.1\nHost: {at}\nContent-Length: -1"),
        format!("POST /share/f HTTP/1.1\nHost: {at}\nContent-Length: +1"),
        format!(
            "POST /share/f HTTP/1.1\nHost: {at}\nContent-Length: 1\nTransfer-Encoding: chunked"
        ),
    ] {
        let shown: String = head.chars().take(60).collect();
        assert_eq!(http(at, &head, b"").0, 400, "{shown}");
    }
    for name in [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        ".bittorrentish",
        "a%00b",
        "",
    ] {
        let code = get(at, &format!("files/{name}")).0;
        assert_eq!(code, 400, "{name}");
        assert_eq!(post(at, &format!("share/{name}"), b"x").0, 400, "{name}");
    }
    assert_eq!(get(at, "files/../../etc/passwd").0, 404);
    assert_eq!(get(at, "").0, 200);
}

#[test]
fn a_file_never_runs_as_a_page_of_ours() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    for name in ["a.html", "a.svg", "a.xml", "a.txt", "a.png"] {
        plant(&swarm.temp.dir("seed"), name, b"<script>alert(1)</script>");
    }
    for (name, shown) in [
        ("a.html", false),
        ("a.svg", false),
        ("a.xml", false),
        ("a.txt", true),
        ("a.png", true),
    ] {
        until_kind(at, name, "verified");
        let (code, head, _) = get(at, &format!("files/{name}"));
        let inline = head.contains("Content-Disposition: inline");
        let sandboxed = head.contains("default-src 'none'; sandbox") && head.contains("nosniff");
        assert_eq!(
            (code, inline, sandboxed),
            (200, shown, true),
            "{name}: {head}"
        );
        assert_eq!(head.contains("octet-stream"), !shown, "{name}: {head}");
    }
}

#[test]
fn a_page_that_others_reach_asks_for_a_token() {
    let swarm = Picked::new(&["--page", "0.0.0.0:0"]);
    let (at, path) = link(&swarm.picker);
    let at = SocketAddr::from(([127, 0, 0, 1], at.port()));
    let token = path.strip_prefix("?token=").expect("a token in the link");
    assert_eq!(token.len(), 32, "{token}");
    for path in ["", "status", "files/image.iso", "?token=", "?token=0"] {
        assert_eq!(get(at, path).0, 403, "{path}");
    }
    assert_eq!(post(at, "fetch/image.iso", b"").0, 403);
    let (code, head, _) = get(at, &path);
    assert_eq!(code, 303);
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("Set-Cookie: "));
    let (cookie, how) = cookie
        .expect("a cookie")
        .split_once("; ")
        .expect("attributes");
    assert_eq!(how, "Path=/; HttpOnly; SameSite=Lax");
    let own = format!("GET / HTTP/1.1\nHost: {at}\nCookie: other=1; {cookie}");
    assert_eq!(http(at, &own, b"").0, 200);
    // by whatever name the machine goes
    let by_name = |rest: &str| format!("GET /{rest}\nHost: lab-pc12.local:8080");
    let visit = by_name(&format!("{path} HTTP/1.1"));
    assert_eq!(http(at, &visit, b"").0, 303);
    let then = format!("{}\nCookie: {cookie}", by_name(" HTTP/1.1"));
    assert_eq!(http(at, &then, b"").0, 200);
    assert_eq!(http(at, &by_name(" HTTP/1.1"), b"").0, 403, "no token");
    let wrong = own.replace(&token[..4], "zzzz");
    assert_eq!(http(at, &wrong, b"").0, 403);
}

#[test]
fn a_page_is_optional_and_must_have_a_free_port() {
    let temp = Temp::new();
    let tracker = Program::tracker(&temp.dir("torrents"), &[]);
    let none = Program::peer(&tracker, &temp.dir("none"), &["--no-page"]);
    none.until_event("list", |_| true);
    assert!(
        none.lines().iter().all(|line| !line.contains("page:")),
        "{none:?}"
    );
    let taken = tracker.port().to_string();
    let mut clash = Program::peer(&tracker, &temp.dir("clash"), &["--page", &taken]);
    assert_eq!(clash.until_ended().code(), Some(1));
    clash.until_line("--page");
    for args in [
        &["--page", "no"][..],
        &["--page", "localhost:1"],
        &["--page", "1", "--no-page"],
    ] {
        let mut wrong = Program::peer(&tracker, &temp.dir("wrong"), args);
        assert_eq!(wrong.until_ended().code(), Some(2), "{args:?}");
    }
}

#[test]
fn who_sends_byte_by_byte_keeps_nobody_from_the_page() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    let refused = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let mut slow: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(at).expect("a page");
            stream.write_all(refused).expect("it listens");
            stream
        })
        .collect();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let drips = std::thread::spawn(move || {
        let every = std::time::Duration::from_millis(100);
        while stopped.recv_timeout(every) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            slow.iter_mut().for_each(|one| drop(one.write_all(b"x")));
        }
    });
    assert_eq!(get(at, "").0, 200);
    drop(stop);
    drips.join().expect("no panic");
}

#[test]
fn a_name_that_doesnt_show_as_it_is_can_be_picked() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    plant(&swarm.temp.dir("seed"), "a\tb.txt", b"tab");
    plant(&swarm.temp.dir("seed"), "a\\tb.txt", b"no tab");
    let listed = until_kind(at, "a\tb.txt", "listed");
    assert!(!listed["shown"].as_str().expect("text").contains('\t'));
    assert_eq!(post(at, "fetch/a%09b.txt", b"").0, 200);
    until_kind(at, "a\tb.txt", "verified");
    assert_eq!(get(at, "files/a%09b.txt").2, b"tab");
    until_kind(at, "a\\tb.txt", "listed");
}

#[test]
fn what_stands_in_the_way_is_named() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    until_kind(at, "image.iso", "listed");
    swarm.temp.dir("picker/image.iso");
    assert_eq!(post(at, "fetch/image.iso", b"").0, 200);
    let stuck = until_kind(at, "image.iso", "stuck");
    let why = stuck["doing"]["why"].as_str().expect("text");
    assert!(why.contains("move it away"), "{why}");
    if let Some(mut browser) = browser(None) {
        // what the program has in English only is told to be English
        browser.open(&format!("http://{at}/"), "pt-BR");
        browser
            .until("document.querySelector('#files .state').textContent.startsWith('esperando: ')");
        let english = browser.eval("document.querySelector('#files .state [lang=en]').textContent");
        assert_eq!(english, why);
        browser.until("document.querySelector('#now [lang=en]') !== null");
    }
    fs::remove_dir(swarm.temp.path().join("picker/image.iso")).expect("empty");
    until_kind(at, "image.iso", "verified");
}

#[test]
fn a_file_that_changes_while_it_is_opened_is_broken_off() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    let len = 60_000_000;
    plant(&swarm.temp.dir("seed"), "large", &vec![b'a'; len]);
    until_kind(at, "large", "verified");
    let mut stream = TcpStream::connect(at).expect("a page");
    let head = format!("GET /files/large HTTP/1.1\r\nHost: {at}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut first = [0; 1000];
    stream.read_exact(&mut first).expect("a head and more");
    assert!(first.starts_with(b"HTTP/1.1 200"));
    plant(&swarm.temp.dir("seed"), "large", &vec![b'b'; len]);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < len - 1000, "all of it came");
}

/// Follows a link as a person: sees the file, clicks, and waits until it is here.
fn click_and_wait(browser: &mut Browser, swarm: &Picked, url: &str) {
    browser.open(url, "en");
    browser.until("document.querySelector('#files .name')?.textContent === 'image.iso'");
    browser.until("document.querySelector('#files .action').offsetParent !== null");
    browser.eval("document.querySelector('#files .action').click()");
    browser.until("document.querySelector('#files .state').textContent === 'verified'");
    until_content(&swarm.temp.path().join("picker/image.iso"), &swarm.content);
    browser.until("document.querySelector('#files .action').offsetParent === null");
    browser.until("document.querySelector('#files a').offsetParent !== null");
    let size = browser.eval(
        "fetch(document.querySelector('#files a').href).then((a) => a.blob()).then((b) => b.size)",
    );
    assert_eq!(size, CONTENT);
}

#[test]
fn in_a_browser_a_file_is_clicked_and_comes() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&["--max-down", "600K"]);
    let (at, _) = link(&swarm.picker);
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelector('#files .action')?.offsetParent != null");
    browser.eval("document.querySelector('#files .action').click()");
    browser.until("document.querySelectorAll('.bars canvas').length === 2");
    browser.until("document.querySelector('#decisions li') !== null");
    browser.screenshots("fetching");
    // closed by a click, unless it has come meanwhile
    browser.eval("document.querySelector('#files .more[aria-expanded=true]')?.click()");
    browser.until("document.querySelectorAll('.bars canvas').length === 0");
    browser.until("document.querySelector('#files .state').textContent === 'verified'");
    until_content(&swarm.temp.path().join("picker/image.iso"), &swarm.content);
    browser.eval("document.querySelector('#files .more').click()");
    browser.until("document.querySelectorAll('.bars canvas').length === 2");
    browser.screenshots("whole");
    browser.open(&format!("http://{at}/"), "pt-BR");
    browser.until("document.querySelector('#files-title').textContent === 'Arquivos'");
    browser.until("document.documentElement.lang === 'pt'");
    browser.screenshots("pt");
}

#[test]
fn in_a_browser_an_upload_reaches_another_peer() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&["--only", "notes.bin"]);
    let (at, _) = link(&swarm.seed);
    let content = random_bytes(2_000_000, 8);
    let chosen = swarm.temp.path().join("notes.bin");
    fs::write(&chosen, &content).expect("room");
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelector('#files .name') !== null");
    // asked for, and listed by nobody: it can still be shared
    browser.eval("document.querySelector('#wanted').value = 'notes.bin'");
    browser.eval("document.querySelector('#ask button').click()");
    browser.until("document.querySelectorAll('#files .name').length === 2");
    browser.choose("#chosen", &chosen);
    browser.until("document.querySelector('#uploads').textContent.includes('is being hashed')");
    until_content(&swarm.temp.path().join("picker/notes.bin"), &content);
    browser.until("[...document.querySelectorAll('#files .name')].some((name) => name.textContent === 'notes.bin')");
    // a second time the name is taken
    browser.choose("#chosen", &chosen);
    browser.until(
        "document.querySelector('#uploads').textContent.includes('give yours another name')",
    );
}

#[test]
fn in_a_browser_many_files_are_found_by_name() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&["--max-down", "600K"]);
    let (at, _) = link(&swarm.picker);
    for n in 0..20 {
        plant(&swarm.temp.dir("seed"), &format!("a{n}.txt"), b"text");
    }
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelectorAll('#files li').length === 21");
    browser.until("document.querySelector('#now').textContent.includes('choose from 21 files')");
    // such a list moves within itself, for the keyboard, too
    browser.until("document.querySelector('#list').tabIndex === 0");
    let types = "document.querySelector('#wanted').dispatchEvent(new Event('input'))";
    browser.eval(&format!(
        "document.querySelector('#wanted').value = 'IMAGE'; {types}"
    ));
    browser.until("document.querySelectorAll('#files li').length === 1");
    // whoever uses the keyboard goes on from the button that stands there next
    let button = "document.querySelector('#files .action')";
    browser.eval(&format!("{button}.focus(); {button}.click()"));
    browser.until("document.activeElement.closest('#files .buttons') !== null && !document.activeElement.hidden && document.querySelector('#files .action').hidden");
    browser.eval(&format!(
        "document.querySelector('#wanted').value = ''; {types}"
    ));
    browser.until("document.querySelectorAll('#files li').length === 21");
    // or by what became of them
    let show = |which: &str| {
        format!(
            "document.querySelector('#state').value = '{which}'; document.querySelector('#state').dispatchEvent(new Event('change'))"
        )
    };
    browser.eval(&show("listed"));
    browser.until("document.querySelectorAll('#files li').length === 20");
    browser.eval(&show("work"));
    browser.until("document.querySelectorAll('#files li').length === 1");
    browser.eval(&show("all"));
    browser.until("document.querySelectorAll('#files li').length === 21");
    // what is fetched comes first
    browser.until("document.querySelector('#files li .name').textContent === 'image.iso'");
    until_content(&swarm.temp.path().join("picker/image.iso"), &swarm.content);
}

/// Whoever sees one file, and presses the key that usually starts a search, means that file.
#[test]
fn in_a_browser_a_part_of_a_name_is_enough() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&[]);
    plant(&swarm.temp.dir("seed"), "other.txt", b"text");
    let (at, _) = link(&swarm.picker);
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelectorAll('#files li').length === 2");
    let submit = |text: &str| {
        format!(
            "document.querySelector('#wanted').value = '{text}'; document.querySelector('#ask').requestSubmit()"
        )
    };
    browser.eval(&submit("IMAGE"));
    until_content(&swarm.temp.path().join("picker/image.iso"), &swarm.content);
    // of two that fit, or none, the name is taken as it is
    browser.eval(&submit("e"));
    until_kind(at, "e", "unlisted");
    browser.eval(&submit("later.iso"));
    until_kind(at, "later.iso", "unlisted");
    until_kind(at, "other.txt", "listed");
}

/// A name without a place to break it, and a refusal that nobody overlooks.
#[test]
fn in_a_browser_a_long_name_makes_the_page_no_wider() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    let long = swarm.temp.path().join("n".repeat(250));
    fs::write(&long, b"text").expect("room");
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelector('#files .name') !== null");
    browser.choose("#chosen", &long);
    browser
        .until("document.querySelector('#uploads .bad').textContent.includes('at most 240 bytes')");
    browser.until("document.documentElement.scrollWidth <= innerWidth");
}

/// What stands there once the program has ended isn't taken for what is.
#[test]
fn in_a_browser_a_page_without_its_program_says_what_to_do() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let mut swarm = Picked::new(&["--max-down", "256K"]);
    let (at, _) = link(&swarm.picker);
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelector('#files .action')?.offsetParent != null");
    browser.eval("document.querySelector('#files .action').click()");
    browser.until("document.title.includes('%')");
    swarm.picker.kill();
    browser.until("document.querySelector('#now').textContent.includes('start it again')");
    browser.until("document.querySelector('#live').textContent.includes('start it again')");
    browser.until("document.title === 'bittorrentish'");
}

#[test]
fn in_a_browser_a_hostile_name_is_text() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    let name = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'<\u{2044}script>.iso";
    plant(&swarm.temp.dir("seed"), name, &swarm.content);
    browser.open(&format!("http://{at}/"), "en");
    browser.until("[...document.querySelectorAll('#files .name')].some((one) => one.textContent.startsWith('<img'))");
    assert_eq!(
        browser.eval("document.querySelectorAll('#files img, #files script').length"),
        0
    );
    browser.eval("[...document.querySelectorAll('#files .action')][0].click()");
    until_content(&swarm.temp.path().join("picker").join(name), &swarm.content);
    browser
        .until("document.querySelector('#files li:first-child .state').textContent === 'verified'");
    assert_eq!(browser.eval("document.title.includes('owned')"), false);
    browser.screenshots("hostile");
}

#[test]
fn in_a_browser_another_site_reaches_nothing() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    until_kind(at, "image.iso", "listed");
    let evil = format!("http://evil.example:{}/", at.port());
    browser.open(&evil, "en");
    browser.until(
        "document.body?.innerText.startsWith('This page can only be reached by an address')",
    );
    browser.open("data:text/html,<p>another site", "en");
    browser.until("document.body?.innerText === 'another site'");
    let fetch = format!("fetch('http://{at}/fetch/image.iso', {{ method: 'POST'");
    let ends = "then(() => 'answered', () => 'stopped')";
    let blind = browser.eval(&format!("{fetch}, mode: 'no-cors' }}).{ends}"));
    assert_eq!(blind, "stopped");
    let own = "headers: { 'X-Bittorrentish': '1' }";
    let asked = browser.eval(&format!(
        "{fetch}, {own} }}).then(() => 'sent', () => 'stopped')"
    ));
    assert_eq!(asked, "stopped");
    let read = format!("fetch('http://{at}/status').{ends}");
    assert_eq!(browser.eval(&read), "stopped");
    let (status, _, _) = get(at, "status");
    assert_eq!(status, 200);
    assert_eq!(
        file(at, "image.iso").expect("listed")["doing"]["kind"],
        "listed"
    );
    assert!(swarm.picker.events("begin").is_empty());
}

/// The page of a peer is used from another host, at the peer's own address and port: pick a file and download it, upload a
/// file to share it.
#[test]
fn p7_the_page_of_a_peer_is_used_from_another_host() {
    let Some(lab) = lab(3) else { return };
    let temp = Temp::new();
    let content = random_bytes(CONTENT, 5);
    plant(&temp.dir("seed"), "image.iso", &content);
    let tracker_at = lab.addr(0).to_string();
    let torrents = temp.dir("torrents");
    let tracker = lab.start(
        0,
        "server",
        &[
            "--remote",
            "--port",
            "29283",
            "--torrents",
            torrents.to_str().expect("UTF-8"),
        ],
    );
    tracker.until_line("listening on port");
    let on = |i: u8, name: &str, more: &[&str]| {
        let dir = temp.dir(name);
        let dir = dir.to_str().expect("UTF-8").to_owned();
        lab.start(
            i,
            "client",
            &[&QUICK[..], &[&tracker_at, "29283", &dir], more].concat(),
        )
    };
    let seed = on(1, "seed", &[]);
    seed.until_line("sharing image.iso");
    let picker = on(2, "picker", &["--pick", "--page", "0.0.0.0:8080"]);
    let (at, path) = link(&picker);
    assert_eq!(at, (lab.addr(2), 8080).into(), "its own address and port");
    // the other host is this machine: the hosts' gateway
    let (code, head, _) = get(at, &path);
    assert_eq!(code, 303);
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("Set-Cookie: "));
    let cookie = cookie
        .and_then(|cookie| cookie.split(';').next())
        .expect("a cookie");
    let own = format!("Host: {at}\nCookie: {cookie}\nX-Bittorrentish: 1");
    let status = || {
        let (_, _, body) = http(at, &format!("GET /status HTTP/1.1\n{own}"), b"");
        String::from_utf8(body).expect("text")
    };
    until("image.iso on the page", || {
        status().contains("image.iso").then_some(())
    });
    let pick = format!("POST /fetch/image.iso HTTP/1.1\n{own}\nContent-Length: 0");
    assert_eq!(http(at, &pick, b"").0, 200);
    until_content(&temp.path().join("picker/image.iso"), &content);
    let share = format!("POST /share/mine.bin HTTP/1.1\n{own}\nContent-Length: {CONTENT}");
    assert_eq!(http(at, &share, &content).0, 200);
    until_content(&temp.path().join("seed/mine.bin"), &content);
}

/// The same in a real browser on a third host.
#[test]
fn p7_in_a_browser_on_another_host() {
    let Some(lab) = lab(3) else { return };
    let Some(mut browser) = browser(Some(&lab.ns(1))) else {
        return;
    };
    let temp = Temp::new();
    let content = random_bytes(CONTENT, 5);
    plant(&temp.dir("seed"), "image.iso", &content);
    let torrents = temp.dir("torrents");
    let torrents = torrents.to_str().expect("UTF-8");
    let tracker = lab.start(
        0,
        "server",
        &["--remote", "--port", "29283", "--torrents", torrents],
    );
    tracker.until_line("listening on port");
    let tracker_at = lab.addr(0).to_string();
    let client = |i: u8, dir: &Path, more: &[&str]| {
        let dir = dir.to_str().expect("UTF-8");
        lab.start(
            i,
            "client",
            &[&QUICK[..], &[&tracker_at, "29283", dir], more].concat(),
        )
    };
    let seed = client(1, &temp.dir("seed"), &[]);
    let picker = client(
        2,
        &temp.dir("picker"),
        &["--pick", "--page", "0.0.0.0:8080"],
    );
    let (at, path) = link(&picker);
    let swarm = Picked {
        temp,
        _tracker: tracker,
        seed,
        picker,
        content,
    };
    click_and_wait(&mut browser, &swarm, &format!("http://{at}/{path}"));
    assert_eq!(
        browser.eval("location.href"),
        format!("http://{at}/"),
        "the token is out of sight"
    );
}

/// A published image, and a machine with another file under its name; both pages tell of it for as long as it lasts.
#[test]
fn a_conflict_is_shown_on_both_pages_while_it_lasts() {
    let temp = Temp::new();
    let tracker = Program::tracker(&temp.dir("torrents"), &["--page", "0"]);
    let (right, stale) = (random_bytes(CONTENT, 5), random_bytes(CONTENT, 6));
    plant(&temp.dir("seed"), "image.iso", &right);
    let seed = Program::peer(&tracker, &temp.dir("seed"), &[]);
    seed.until_event("published", |_| true);
    plant(&temp.dir("stale"), "image.iso", &stale);
    let other = Program::peer(&tracker, &temp.dir("stale"), &[]);
    let [right, stale] = [right, stale].map(|content| digest(&content).to_string());
    let pages = [&seed, &other, &tracker].map(|program| link(program).0);
    let conflict = |at| file(at, "image.iso").map(|file| file["conflict"].clone());
    let [at_seed, at_other, at_tracker] =
        pages.map(|at| until("a conflict", || conflict(at).filter(|it| !it.is_null())));
    let copy = json!([{ "peer": other.addr().to_string(), "md5": stale }]);
    for told in [&at_seed, &at_tracker] {
        assert_eq!((&told["others"], &told["n_others"]), (&copy, &1.into()));
        assert!(told["here"].is_null(), "{told}");
    }
    assert_eq!(at_other["here"], json!({ "md5": stale, "cure": "pin" }));
    assert_eq!(at_other["n_others"], 0, "it is its own: {at_other}");
    for told in [&at_seed, &at_other, &at_tracker] {
        let (md5, only) = (&told["swarm"], &told["only"]);
        assert_eq!(
            (md5, only),
            (&right.as_str().into(), &"--only image.iso".into())
        );
        assert_eq!(told["publisher"], seed.addr().to_string());
        assert!(told.to_string().len() < 400, "it is polled: {told}");
    }
    if let Some(mut browser) = browser(None) {
        let shown = ["seed", "stale", "tracker"].into_iter().zip(pages);
        for (name, at) in shown {
            for (language, title) in [("en", "Conflict"), ("pt-BR", "Conflito")] {
                browser.open(&format!("http://{at}/"), language);
                let alert = "document.querySelector('#conflicts[role=alert]').textContent";
                browser.until(&format!("{alert}.startsWith('{title}: ')"));
                let text = browser.eval("document.querySelector('li .conflict').innerText");
                let text = text.as_str().expect("text");
                let what = [
                    title,
                    right.as_str(),
                    stale.as_str(),
                    "--only image.iso --md5",
                ];
                assert!(what.iter().all(|what| text.contains(what)), "{text}");
                browser.screenshots(&format!("conflict-{name}-{}", &language[..2]));
            }
        }
        browser
            .until("document.querySelector('#peers tr .bad').textContent === 'tem outro conteúdo'");
        fs::remove_file(temp.path().join("stale/image.iso")).expect("it is there");
        browser.until("document.querySelector('#conflicts').textContent === ''");
        browser.until("document.querySelector('.conflict') === null");
    }
    let _ = fs::remove_file(temp.path().join("stale/image.iso"));
    for at in pages {
        until("no conflict", || conflict(at)?.is_null().then_some(()));
    }
}

// ---- the tracker's

#[test]
fn what_was_picked_is_fetched_by_the_next_run_too() {
    let temp = Temp::new();
    let tracker = Program::tracker(&temp.dir("torrents"), &[]);
    let content = random_bytes(CONTENT, 7);
    for name in ["here.iso", "image.iso"] {
        plant(&temp.dir("seed"), name, &content);
    }
    let _seed = Program::peer(&tracker, &temp.dir("seed"), &[]);
    let folder = temp.dir("picker");
    let mut picker = Program::peer(&tracker, &folder, &["--pick", "--max-down", "1M"]);
    let (at, _) = link(&picker);
    until_kind(at, "image.iso", "listed");
    assert_eq!(post(at, "fetch/here.iso", b"").0, 200);
    until_content(&folder.join("here.iso"), &content);
    assert_eq!(post(at, "fetch/image.iso", b"").0, 200);
    assert_eq!(post(at, "fetch/later.iso", b"").0, 200);
    until_kind(at, "image.iso", "fetching");
    picker.kill();
    // this one was whole: whoever deletes it doesn't want it
    fs::remove_file(folder.join("here.iso")).expect("there");
    let picker = Program::peer(&tracker, &folder, &["--pick"]);
    until_content(&folder.join("image.iso"), &content);
    plant(&temp.dir("seed"), "later.iso", &content[1..]);
    until_content(&folder.join("later.iso"), &content[1..]);
    until_kind(link(&picker).0, "here.iso", "listed");
}

#[test]
fn the_trackers_page_shows_how_far_each_peer_is() {
    let temp = Temp::new();
    let quick = ["--page", "0", "--sweep-every", "1"];
    let tracker = Program::tracker(&temp.dir("torrents"), &quick);
    let (at, _) = link(&tracker);
    assert_eq!(status(at)["n_peers"], 0);
    let content = random_bytes(CONTENT, 5);
    plant(&temp.dir("seed"), "image.iso", &content);
    let seed = Program::peer(&tracker, &temp.dir("seed"), &[]);
    let slow = Program::peer(&tracker, &temp.dir("slow"), &["--max-down", "256K"]);
    let waits = Program::peer(&tracker, &temp.dir("waits"), &["--pick"]);
    let share = |of: &Program| {
        let status = status(at);
        let peers = status["peers"].as_array().expect("peers").clone();
        let peer = peers
            .iter()
            .find(|peer| peer["peer"] == of.addr().to_string())?;
        let here = peer["files"]
            .get(0)
            .map_or(0, |file| file["here"].as_u64().expect("pieces"));
        Some((here, peer["still"].as_f64().unwrap_or(0.0)))
    };
    until("the seed whole", || {
        share(&seed).filter(|(here, _)| *here == 77)
    });
    until("the slow one on its way", || {
        share(&slow).filter(|(here, _)| (1..77).contains(here))
    });
    until("the waiting one standing still", || {
        share(&waits).filter(|(here, still)| *here == 0 && *still >= 3.0)
    });
    let file = &status(at)["files"][0];
    assert_eq!(
        (&file["name"], &file["size"]),
        (&"image.iso".into(), &CONTENT.into())
    );
    assert_eq!(get(at, "").0, 200);
    assert_eq!(get(at, "nothing").0, 404);
    let forged = "GET /status HTTP/1.1\nHost: evil.example";
    assert_eq!(http(at, forged, b"").0, 403);
    let Some(mut browser) = browser(None) else {
        return;
    };
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelectorAll('#peers tr').length === 3");
    browser.until(
        "document.querySelector('#now').textContent.includes('of 2 machines have image.iso')",
    );
    browser
        .until("document.querySelector('#peers tr .bad').textContent.startsWith('stands still')");
    browser.screenshots("tracker");
    waits.until_line("listening on port");
    let (page, _) = link(&waits);
    assert_eq!(post(page, "fetch/image.iso", b"").0, 200);
    browser.until("document.querySelector('#now').textContent === 'All 3 peers have image.iso'");
}

/// A rollout as the page is told of it: so many machines, at so many percent in the mean, the last three in trouble.
fn rollout(n: usize, mean: usize) -> Value {
    let md5 = digest(b"image").to_string();
    let size = 4_u64 << 30;
    let machine = |at: usize| {
        let percent = match mean {
            0 | 100 => mean,
            _ => (at * 7919 % 81) + 10,
        } as u64;
        let whole = percent == 100 && at + 3 < n;
        let here = if whole {
            size
        } else {
            size / 100 * percent.min(99)
        };
        let file = json!({ "name": "image.iso", "md5": md5, "size": size, "here": here, "whole": whole,
            "speed": if whole { 0.0 } else { 11.2e6 }, "left": if whole { None } else { Some(95.0) }, "state": "from 5 peers" });
        let ended = (at + 1 == n).then(|| json!({ "code": 5, "why": "disk full" }));
        json!({ "host": format!("pc{at:03}"), "peer": format!("10.0.{}.{}:50001", at / 250, at % 250 + 1),
            "here": at + 2 != n && at + 1 != n, "age": 1.0, "files": [file],
            "still": [if at + 3 == n { 200.0 } else { 0.0 }], "ended": ended })
    };
    let machines: Vec<Value> = (0..n).map(machine).collect();
    let peers: Vec<Value> = machines
        .iter()
        .map(|machine| {
            json!({ "peer": machine["peer"], "original": false, "still": null,
                "files": [{ "name": "image.iso", "here": mean * 10, "of": 1024 }] })
        })
        .collect();
    let held_up = (mean == 50)
        .then(|| json!({ "host": "pc001", "term": "downlink", "rate": 11.8e6, "share": 0.94 }));
    json!({ "n_peers": n, "peers": peers, "machines": machines,
        "files": [{ "name": "image.iso", "shown": "image.iso", "size": size, "md5": md5, "held_up": held_up }] })
}

#[test]
fn in_a_browser_what_the_trackers_page_leaves_out_is_counted() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let temp = Temp::new();
    let tracker = Program::tracker(&temp.dir("torrents"), &["--page", "0"]);
    for n in 0..22 {
        plant(&temp.dir("seed"), &format!("a{n}.txt"), b"text");
    }
    plant(&temp.dir("seed"), &"n".repeat(240), b"a longer text");
    let seed = Program::peer(&tracker, &temp.dir("seed"), &[]);
    let (at, _) = link(&tracker);
    until("all files", || (status(at)["n_files"] == 23).then_some(()));
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelectorAll('#files li').length === 20");
    browser.until("document.querySelector('#more-files').textContent === 'and 3 more'");
    browser.until("document.querySelector('th.file').textContent.length === 40");
    drop(seed);
}

#[test]
fn in_a_browser_who_left_with_a_part_is_not_forgotten() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let temp = Temp::new();
    let tracker = Program::tracker(&temp.dir("torrents"), &["--page", "0"]);
    let (at, _) = link(&tracker);
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelector('#now').textContent !== '…'");
    // all peers that are listed have it; one machine has left, and another has none of it
    let mut told = rollout(4, 100);
    told["peers"] = json!([{ "peer": "10.0.0.1:50001", "original": false, "still": null,
        "files": [{ "name": "image.iso", "here": 1024, "of": 1024 }] }]);
    browser.eval(&format!(
        "window.fetch = async () => ({{ ok: true, json: async () => ({told}) }}); look()"
    ));
    browser.until(
        "document.querySelector('#now').textContent.startsWith('1 of 4 machines has image.iso')",
    );
}

#[test]
fn in_a_browser_a_rollout_fills_a_wall_of_machines() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let temp = Temp::new();
    let tracker = Program::tracker(&temp.dir("torrents"), &["--page", "0"]);
    let (at, _) = link(&tracker);
    for (language, shown, held_up) in [
        (
            "en",
            ["machines have image.iso", "machines has image.iso"],
            "held up by the downlink of pc001, 11.3 MiB/s at best; the slowest gets 94 %",
        ),
        (
            "pt-BR",
            ["máquinas têm image.iso", "máquinas tem image.iso"],
            "quem segura: a recepção de pc001, no máximo 11,3 MiB/s; o mais lento recebe 94 %",
        ),
    ] {
        browser.open(&format!("http://{at}/"), language);
        browser.until("document.querySelector('#now').textContent !== '…'");
        for n in [4, 30, 300] {
            for mean in [0, 50, 100] {
                let told = rollout(n, mean);
                browser.eval(&format!(
                    "window.fetch = async () => ({{ ok: true, json: async () => ({told}) }}); look()"
                ));
                browser.until(&format!(
                    "document.querySelectorAll('.tile').length === {n}"
                ));
                let done = if mean == 100 { n - 3 } else { 0 };
                let counted = format!(
                    "{done} {} {n} {}",
                    if language == "en" { "of" } else { "de" },
                    shown[usize::from(done == 1)]
                );
                browser.until(&format!(
                    "document.querySelector('#now').textContent.startsWith('{counted}')"
                ));
                browser.until("document.querySelectorAll('.tile.bad').length === 3");
                let said = if mean == 50 { held_up } else { "" };
                let begins = format!("textContent.startsWith({said:?})");
                let is_all = format!("textContent.length > 0 === {}", mean == 50);
                browser.until(&format!("document.querySelector('#held-up').{begins}"));
                browser.until(&format!("document.querySelector('#held-up').{is_all}"));
                // who needs help stands first
                browser.until("document.querySelector('.tile').classList.contains('bad')");
                if language == "en" {
                    browser.screenshots(&format!("rollout-{n}-{mean}"));
                }
            }
        }
    }
}
