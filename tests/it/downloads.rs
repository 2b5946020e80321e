//! What browsers and other programs do with the page of a peer beside looking at it: they resume downloads, break off, send
//! what isn't taken, come from other sites, and speak something else.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

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

/// Sends a request's head, and reads how the answer begins.
fn begin_answer(at: SocketAddr, head: &[u8]) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(at).expect("a page");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.write_all(head).expect("it listens");
    let mut first = [0; 12];
    stream.read_exact(&mut first).expect("an answer");
    (stream, String::from_utf8_lossy(&first).into_owned())
}

#[test]
fn slow_downloads_leave_room_for_the_page() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    plant(&swarm.temp.dir("seed"), "large", &vec![7; 60_000_000]);
    until_kind(at, "large", "verified");
    let head = format!("GET /files/large HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let all: Vec<(TcpStream, String)> =
        (0..40).map(|_| begin_answer(at, head.as_bytes())).collect();
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
fn who_takes_nothing_gives_its_place_back_after_one_timeout() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    plant(&swarm.temp.dir("seed"), "large", &vec![7; 60_000_000]);
    until_kind(at, "large", "verified");
    let head = format!("GET /files/large HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let silent: Vec<TcpStream> = (0..32)
        .map(|_| begin_answer(at, head.as_bytes()).0)
        .collect();
    assert_eq!(get(at, "files/image.iso").0, 503);
    until("a place that is free again", || {
        (get(at, "files/image.iso").0 == 200).then_some(())
    });
    drop(silent);
}

#[test]
fn heads_that_other_programs_write_are_understood() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    until_kind(at, "image.iso", "verified");
    for head in [
        // typed by hand; a program of the last century; two requests at once
        format!("GET /files/image.iso HTTP/1.0\nHost: {at}\n\n"),
        format!("GET /files/image.iso HTTP/1.0\r\nHost: {at}\r\n\r\n"),
        format!(
            "GET /files/image.iso HTTP/1.1\r\nhost:{at}\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\nHost: {at}\r\n\r\n"
        ),
        "GET /files/image.iso HTTP/1.1\r\nHost: LOCALHOST\r\nRANGE: Bytes=0-\r\n\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(at).expect("a page");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.write_all(head.as_bytes()).expect("it listens");
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .expect("an answer, and its end");
        assert!(answer.starts_with(b"HTTP/1.1 20"), "{head}");
        assert!(answer.ends_with(&swarm.content), "{head}");
    }
}

#[test]
fn who_waits_to_be_told_to_send_is_told() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    until_kind(at, "image.iso", "verified");
    let ask = |name: &str| {
        let head = format!(
            "POST /share/{name} HTTP/1.1\r\nHost: {at}\r\nX-Bittorrentish: 1\r\n\
             Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        );
        begin_answer(at, head.as_bytes())
    };
    let (mut stream, first) = ask("new.bin");
    assert_eq!(first, "HTTP/1.1 100");
    stream.write_all(b"four").expect("it reads");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("an answer");
    assert!(rest.contains("HTTP/1.1 200"), "{rest}");
    until_kind(at, "new.bin", "verified");
    assert_eq!(ask("image.iso").1, "HTTP/1.1 409");
}

#[test]
fn files_of_any_name_are_downloaded_under_it() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    for (name, path, plain) in [
        ("we \"ird\".bin", "we%20%22ird%22.bin", "we _ird_.bin"),
        ("100%.bin", "100%25.bin", "100_.bin"),
        ("a#b?c&d.bin", "a%23b%3Fc%26d.bin", "a_b_c_d.bin"),
        (
            "ñandú – redes.bin",
            "%C3%B1and%C3%BA%20%E2%80%93%20redes.bin",
            "_and_ _ redes.bin",
        ),
    ] {
        plant(&swarm.temp.dir("seed"), name, name.as_bytes());
        until_kind(at, name, "verified");
        let (code, head, body) = get(at, &format!("files/{path}"));
        assert_eq!((code, body), (200, name.as_bytes().to_vec()), "{name}");
        assert!(
            head.contains(&format!("filename=\"{plain}\"; filename*=UTF-8''")),
            "{head}"
        );
    }
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
        // it is open still, and more might come
        let (_stream, answer) = begin_answer(at, begin);
        assert_eq!(answer, "HTTP/1.1 400");
    }
    // and whoever started the program, once
    let told = "something else than HTTP came to the page";
    swarm.picker.until_line(told);
    let lines = swarm.picker.lines();
    assert_eq!(lines.iter().filter(|line| line.contains(told)).count(), 1);
}

#[test]
fn a_link_for_others_names_an_address_of_this_machine() {
    for open in ["0.0.0.0:0", "[::]:0"] {
        let temp = Temp::new();
        let tracker = Program::tracker(&temp.dir("torrents"), &["--page", open]);
        let peer = Program::peer(&tracker, &temp.dir("peer"), &["--page", open]);
        for program in [&tracker, &peer] {
            let (at, path) = link(program);
            assert!(!at.ip().is_unspecified(), "{at}");
            assert!(
                at.is_ipv4() || open.starts_with('['),
                "{at} isn't listened at"
            );
            // it leads to the page: without a name, and with one
            assert_eq!(get(at, &path).0, 303);
            let own = TcpListener::bind((at.ip(), 0));
            assert!(own.is_ok(), "{at} isn't this machine's");
        }
    }
}

#[test]
fn all_that_is_listed_is_picked_at_once() {
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.picker);
    for n in 0..5 {
        plant(
            &swarm.temp.dir("seed"),
            &format!("{n}.bin"),
            &swarm.content[n..100_000],
        );
    }
    until("six files to be picked", || {
        (status(at)["unpicked"] == 6).then_some(())
    });
    assert_eq!(post(at, "fetch", b""), (200, String::new()));
    for n in 0..5 {
        let path = swarm.temp.path().join(format!("picker/{n}.bin"));
        until_content(&path, &swarm.content[n..100_000]);
    }
    until_content(&swarm.temp.path().join("picker/image.iso"), &swarm.content);
    assert_eq!(status(at)["unpicked"], 0);
}

#[test]
fn what_happened_while_nobody_looked_is_shown() {
    let swarm = Picked::new(&["--only", "image.iso", "--max-down", "1M"]);
    until_content(&swarm.temp.path().join("picker/image.iso"), &swarm.content);
    let now = status(link(&swarm.picker).0);
    let decisions = now["decisions"].as_array().expect("decisions");
    assert!((1..=20).contains(&decisions.len()), "{now}");
    let speeds = now["speeds"].as_array().expect("speeds");
    assert!(
        speeds.iter().any(|both| both[0].as_u64() > Some(100_000)),
        "{now}"
    );
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

/// Stands between a browser and a page, and lets the first download break off after so many bytes. Hands on the `Range` of
/// each request, and the first line of its answer.
fn breaks_off_once(page: SocketAddr, after: usize) -> (SocketAddr, Receiver<[String; 2]>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound");
    let (told, seen) = channel();
    thread::spawn(move || {
        for (n, stream) in listener.incoming().flatten().enumerate() {
            let told = told.clone();
            thread::spawn(move || {
                let least = if n == 0 { after } else { usize::MAX };
                // a browser that goes away in the middle is no fault
                let _ = hand_on(stream, page, least, &told);
            });
        }
    });
    (at, seen)
}

fn hand_on(
    mut browser: TcpStream,
    page: SocketAddr,
    most: usize,
    told: &std::sync::mpsc::Sender<[String; 2]>,
) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if browser.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let mut to_page = TcpStream::connect(page)?;
    to_page.write_all(&head)?;
    let (mut sent, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        let n = to_page.read(&mut buffer)?;
        if sent == 0 {
            let answer = String::from_utf8_lossy(&buffer[..n]).into_owned();
            let head = String::from_utf8_lossy(&head).into_owned();
            let range = head.lines().find_map(|line| line.strip_prefix("Range: "));
            let first = answer.lines().next().unwrap_or_default().to_owned();
            let _ = told.send([range.unwrap_or_default().to_owned(), first]);
        }
        if n == 0 || sent >= most {
            return Ok(());
        }
        browser.write_all(&buffer[..n])?;
        sent += n;
    }
}

#[test]
fn in_a_browser_a_broken_download_goes_on() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    until_kind(at, "image.iso", "verified");
    let (between, seen) = breaks_off_once(at, 2_000_000);
    let to = swarm.temp.dir("downloads");
    let params = json!({ "behavior": "allow", "downloadPath": to });
    browser.call("Page.setDownloadBehavior", params);
    let url = format!("http://{between}/files/image.iso");
    browser.call("Page.navigate", json!({ "url": url }));
    let md5 = torrent_of("image.iso", &swarm.content).md5();
    let image = to.join("image.iso");
    // a browser puts an empty file there first
    until("all of it", || (md5_of(&image) == Some(md5)).then_some(()));
    let [range, first] = seen.recv_timeout(DEADLINE).expect("a request");
    assert_eq!((range.as_str(), first.as_str()), ("", "HTTP/1.1 200 OK"));
    let [range, first] = seen.recv_timeout(DEADLINE).expect("another request");
    assert_eq!(first, "HTTP/1.1 206 Partial Content", "{range}");
    let from = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split('-').next());
    let from: usize = from.expect("a range").parse().expect("a number");
    assert!(from > 1_000_000, "it began again: {range}");
}

#[test]
fn in_a_browser_a_recording_is_wound_forward() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    // ten minutes of silence
    let (rate, len) = (8000_u32, 10 * 60 * 8000_u32);
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + len).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(
        [
            rate.to_le_bytes(),
            rate.to_le_bytes(),
            *b"\x01\0\x08\0",
            *b"data",
        ]
        .concat(),
    );
    wav.extend(len.to_le_bytes());
    wav.resize(44 + len as usize, 128);
    plant(&swarm.temp.dir("seed"), "lecture.wav", &wav);
    until_kind(at, "lecture.wav", "verified");
    browser.open(&format!("http://{at}/files/lecture.wav"), "en");
    browser.until("document.querySelector('video').duration === 600");
    browser.eval("document.querySelector('video').currentTime = 580");
    browser.until("document.querySelector('video').currentTime >= 580 && !document.querySelector('video').seeking");
}

#[test]
fn in_a_browser_a_refused_upload_says_why() {
    let Some(mut browser) = browser(None) else {
        return;
    };
    let swarm = Picked::new(&[]);
    let (at, _) = link(&swarm.seed);
    until_kind(at, "image.iso", "verified");
    let folder = swarm.temp.dir("to upload");
    let (taken, huge, hidden) = (
        folder.join("image.iso"),
        folder.join("huge.bin"),
        folder.join(".x"),
    );
    // long enough that a browser would still be sending when the connection is closed
    File::create(&taken)
        .and_then(|file| file.set_len(1 << 30))
        .expect("a sparse file");
    fs::write(&hidden, b"x").expect("room");
    let mut refused = vec![(taken, "give yours another name"), (hidden, "dot")];
    // some file systems have no files as large as that
    if File::create(&huge)
        .and_then(|file| file.set_len((1 << 40) + 1))
        .is_ok()
    {
        refused.push((huge, "up to 1 TiB"));
    }
    browser.open(&format!("http://{at}/"), "en");
    browser.until("document.querySelector('#chosen') !== null");
    for (path, why) in refused {
        browser.choose("#chosen", &path);
        browser.until(&format!(
            "document.querySelector('#uploads li:last-child').textContent.includes('{why}')"
        ));
    }
    let n_files = status(at)["files"].as_array().map(Vec::len);
    assert_eq!(n_files, Some(1), "none of them came");
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
    browser.until("document.querySelector('#dropped').textContent.includes('the folder holiday')");
    until_content(&swarm.temp.path().join("picker/beside.bin"), b"a file");
    assert_eq!(
        browser.eval("document.querySelectorAll('#uploads li').length"),
        1
    );
    browser.open(&format!("http://{at}/"), "pt-BR");
    browser
        .until("document.querySelector('#share-title').textContent === 'Compartilhar um arquivo'");
    let data =
        json!({ "items": [], "files": [folder, swarm.temp.dir("fotos")], "dragOperationsMask": 1 });
    for kind in ["dragEnter", "dragOver", "drop"] {
        let event = json!({ "type": kind, "x": 50, "y": 50, "data": data });
        browser.call("Input.dispatchDragEvent", event);
    }
    browser.until(
        "document.querySelector('#dropped').textContent.includes('as pastas holiday, fotos')",
    );
}
