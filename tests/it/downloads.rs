//! What browsers and other programs do with the page of a peer beside looking at it: they resume downloads, break off, send
//! what isn't taken, come from other sites, and speak something else.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::browser::browser;
use super::page::{CONTENT, Picked, file, get, http, link, post, status, until_kind};
use super::support::*;

#[test]
fn a_download_resumes_at_any_byte() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    until_kind(at, "image.iso", "verified");
    let md5 = torrent_of("image.iso", &swarm.content).md5();
    let ask = |method: &str, more: &str| {
        let head = format!("{method} /files/image.iso HTTP/1.1\nHost: {at}{more}");
        http(at, &head, b"")
    };
    let all = 0..CONTENT;
    let last = CONTENT - 1;
    for (range, code, part) in [
        ("bytes=0-".to_owned(), 206, all.clone()),
        ("bytes=1000000-".to_owned(), 206, 1_000_000..CONTENT),
        ("bytes=0-0".to_owned(), 206, 0..1),
        (format!("bytes={last}-{last}"), 206, last..CONTENT),
        ("bytes=-10".to_owned(), 206, CONTENT - 10..CONTENT),
        (
            "bytes=-99999999999999999999999".to_owned(),
            206,
            all.clone(),
        ),
        (
            "bytes=100-99999999999999999999999".to_owned(),
            206,
            100..CONTENT,
        ),
        (format!("bytes={CONTENT}-"), 416, 0..0),
        ("bytes=-0".to_owned(), 416, 0..0),
        // what isn't understood counts as not said
        ("bytes=5-4".to_owned(), 200, all.clone()),
        ("bytes=0-1,3-4".to_owned(), 200, all.clone()),
        ("bytes=x-".to_owned(), 200, all.clone()),
        ("pieces=0-1".to_owned(), 200, all.clone()),
    ] {
        let (status, head, body) = ask("GET", &format!("\nRange: {range}"));
        assert_eq!(status, code, "{range}: {head}");
        assert!(body == swarm.content[part.clone()], "{range}");
        let of = format!(
            "Content-Range: bytes {}-{}/{CONTENT}",
            part.start,
            part.end.wrapping_sub(1)
        );
        assert_eq!(head.contains(&of), code == 206, "{head}");
        assert!(head.contains(&format!("ETag: \"{md5}\"")), "{head}");
        let (status, head, body) = ask("HEAD", &format!("\nRange: {range}"));
        assert_eq!((status, body.len()), (200, 0), "{head}");
        assert!(
            head.contains(&format!("Content-Length: {CONTENT}")),
            "{head}"
        );
    }
    // what was begun of another content can't be gone on with
    for (etag, code) in [(md5.to_string(), 206), ("other".to_owned(), 200)] {
        let more = format!("\nRange: bytes=1-\nIf-Range: \"{etag}\"");
        assert_eq!(ask("GET", &more).0, code);
    }
    assert_eq!(
        http(at, &format!("HEAD / HTTP/1.1\nHost: {at}"), b"").2,
        b""
    );
}

#[test]
fn slow_downloads_leave_room_for_the_page() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    plant(&swarm.temp.dir("seed"), "large", &vec![7; 60_000_000]);
    until_kind(at, "large", "verified");
    let head = format!("GET /files/large HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let begin = |_| {
        let mut stream = TcpStream::connect(at).expect("a page");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.write_all(head.as_bytes()).expect("it listens");
        let mut first = [0; 12];
        stream.read_exact(&mut first).expect("an answer");
        (stream, String::from_utf8_lossy(&first).into_owned())
    };
    let all: Vec<(TcpStream, String)> = (0..40).map(begin).collect();
    let taken = all.iter().filter(|(_, first)| first == "HTTP/1.1 200");
    assert_eq!(taken.count(), 32);
    let refused = all.iter().filter(|(_, first)| first == "HTTP/1.1 503");
    assert_eq!(refused.count(), 8);
    assert_eq!((get(at, "").0, get(at, "status").0), (200, 200));
    let (_, _, why) = get(at, "files/large");
    assert!(String::from_utf8_lossy(&why).contains("try again"));
    drop(all);
    until("a place that is free again", || {
        (get(at, "files/image.iso").0 == 200).then_some(())
    });
}

#[test]
fn a_refusal_is_read_however_much_is_sent() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    until_kind(at, "image.iso", "listed");
    // asked before anything is sent
    assert_eq!(post(at, "ask/new.iso?size=5", b""), (200, String::new()));
    assert_eq!(post(at, "ask/image.iso?size=5", b"").0, 409);
    assert_eq!(post(at, "ask/new.iso?size=1099511627777", b"").0, 413);
    let (code, why) = post(at, "ask/new.iso?size=1099511627776", b"");
    // this machine may have room for a TiB
    assert!(
        code == 200 || code == 507 && why.contains("make room"),
        "{why}"
    );
    assert!(file(at, "new.iso").is_none(), "nothing was reserved");
    // and by a program that sends all of it first
    let (code, why) = post(at, "share/image.iso", &vec![1; 100 << 20]);
    assert_eq!(code, 409, "{why}");
}

#[test]
fn who_speaks_something_else_is_told_at_once() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    for begin in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0\0\0\0",
        b"{\"msg\": \"ping\", \"port\": 50001}",
        b"get / http/1.1\r\n",
    ] {
        let mut stream = TcpStream::connect(at).expect("a page");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.write_all(begin).expect("it listens");
        // it is open still, and more might come
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 400");
    }
}

#[test]
fn what_was_picked_can_be_cancelled() {
    let swarm = Picked::new(&["--max-down", "600K"]);
    let (at, _) = link(&swarm.picker);
    until_kind(at, "image.iso", "listed");
    // a name that was typed wrong
    assert_eq!(post(at, "fetch/imge.iso", b"").0, 200);
    assert_eq!(until_kind(at, "imge.iso", "unlisted")["can_cancel"], true);
    assert_eq!(post(at, "cancel/imge.iso", b"").0, 200);
    assert!(file(at, "imge.iso").is_none());
    // one that is on its way
    assert_eq!(post(at, "fetch/image.iso", b"").0, 200);
    swarm.picker.until_event("piece", |_| true);
    assert_eq!(post(at, "cancel/image.iso", b"").0, 200);
    let listed = until_kind(at, "image.iso", "listed");
    assert_eq!(listed["can_cancel"], false);
    // and that is wanted again: what came of it is here
    assert_eq!(post(at, "fetch/image.iso", b"").0, 200);
    let again = swarm
        .picker
        .until_event("begin", |event| event["here"].as_u64() > Some(0));
    assert_eq!(again["name"], "image.iso");
    until_content(&swarm.temp.path().join("picker/image.iso"), &swarm.content);
    assert_eq!(
        post(at, "cancel/image.iso", b"").0,
        200,
        "too late, and no harm"
    );
    until_kind(at, "image.iso", "verified");
}

#[test]
fn the_page_says_where_everything_is() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    let now = status(at);
    let dir = swarm.temp.path().join("picker");
    assert_eq!(now["dir"], dir.to_str().expect("UTF-8"));
    assert!(
        now["tracker"]
            .as_str()
            .expect("text")
            .starts_with("127.0.0.1:")
    );
    assert!(now["free"].as_u64() > Some(0), "{now}");
    // not -0, which is what nothing sums up to
    let (_, _, text) = get(at, "status");
    assert!(!String::from_utf8_lossy(&text).contains("-0"));
}

#[test]
fn in_a_browser_the_first_click_from_elsewhere_gets_in() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&["--page", "0.0.0.0:0"]);
    let (at, path) = link(&swarm.picker);
    for host in ["127.0.0.1", "evil.example"] {
        let url = format!("http://{host}:{}/{path}", at.port());
        browser.open(
            &format!("data:text/html,<a href='{url}'>the page</a>"),
            "en",
        );
        browser.until("document.querySelector('a') !== null");
        browser.eval("document.querySelector('a').click()");
        browser.until("document.querySelector('#files .name')?.textContent === 'image.iso'");
        let shown = browser.eval("location.href");
        assert_eq!(shown, format!("http://{host}:{}/", at.port()));
    }
    // a page of another site still can't ask for anything
    browser.open("data:text/html,<p>another site", "en");
    browser.until("document.body?.innerText === 'another site'");
    let seen = browser.eval(&format!(
        "fetch('http://127.0.0.1:{}/status', {{ credentials: 'include' }}).then(() => 'read', () => 'stopped')",
        at.port()
    ));
    assert_eq!(seen, "stopped");
}

#[test]
fn in_a_browser_a_part_of_a_file_is_fetched() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelector('#files a')?.offsetParent != null");
    let part = browser.eval(
        "fetch(document.querySelector('#files a').href, { headers: { Range: 'bytes=1000-1999' } })\
         .then((a) => a.blob().then((b) => `${a.status} ${b.size}`))",
    );
    assert_eq!(part, "206 1000");
}

#[test]
fn in_a_browser_a_dropped_folder_is_refused_in_words() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&["--only", "beside.bin"]);
    let (at, _) = link(&swarm.seed);
    let folder = swarm.temp.dir("holiday");
    let beside = swarm.temp.path().join("beside.bin");
    fs::write(&beside, b"a file").expect("room");
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelector('#drop') !== null");
    let files = json!([folder, beside]);
    let data = json!({ "items": [], "files": files, "dragOperationsMask": 1 });
    for kind in ["dragEnter", "dragOver", "drop"] {
        let event = json!({ "type": kind, "x": 50, "y": 50, "data": data });
        browser.call("Input.dispatchDragEvent", event);
    }
    browser.until("document.querySelector('#dropped').textContent.includes('holiday')");
    until_content(&swarm.temp.path().join("picker/beside.bin"), b"a file");
    assert_eq!(
        browser.eval("document.querySelectorAll('#uploads li').length"),
        1
    );
}
