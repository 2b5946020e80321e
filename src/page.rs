//! The peer's page: pick a file and download it, upload a file to share it, and see what goes on.
//!
//! The course's *prototype-network-p2p* has a page on the requesting peer; this is ours. One HTML file in the program
//! asks for `/status` every second while something moves, and draws it. Each request runs on a thread of [`crate::http`];
//! under the peer's lock it only decides and copies.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /` | the page |
//! | `GET /status?file=NAME` | everything that the page shows, as JSON; with the bars of that file |
//! | `GET /files/NAME` | a whole, verified file of the folder, or a range of it |
//! | `POST /fetch/NAME` | adds this file to those that are wanted |
//! | `POST /fetch` | adds all that are listed |
//! | `POST /cancel/NAME` | takes that back, as long as it isn't whole |
//! | `POST /ask/NAME?size=N` | answers as the next one would, before a browser sends a file in vain |
//! | `POST /share/NAME` | the body becomes a new file of the folder, and is shared |

mod speeds;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::client::Client;
use crate::http::{Request, Response, Site};
use crate::net::addresses::own_addresses;
use crate::net::{Connection, Listener, STRIDE};
use crate::repeated_timer::RepeatedTimer;
use crate::state::overview::Overview;
use crate::store::{Stamp, StoreError};
use crate::torrent::{MAX_SIZE, Name, legible};
use crate::units::bytes;
use speeds::{SAMPLE_EVERY, SpeedHistory};

const HTML: &str = concat!(
    include_str!("page/common.html"),
    include_str!("page/client.html")
);
/// How long the free space counts that was looked at last: each look starts `df`.
const FREE_KEPT: Duration = Duration::from_secs(10);

/// A page that is served until this value is dropped.
pub struct Page {
    _listener: Listener,
    _sampler: RepeatedTimer,
}

/// Serves a peer's page.
///
/// # Errors
/// Returns an error if the system gives no thread.
pub fn start(client: &Client, site: Site) -> io::Result<Page> {
    let (sampled, telling) = (client.clone(), client.clone());
    let shown = Arc::new(Shown::of(client));
    let history = Arc::clone(&shown);
    let sample = move || {
        let (down, up) = sampled.lock().speeds(Instant::now());
        history.speeds.note(down, up);
    };
    let serving = client.clone();
    let handle = move |request: &Request, connection: &mut Connection| {
        handle_request(&serving, &shown, request, connection)
    };
    Ok(Page {
        _sampler: RepeatedTimer::start("speeds", SAMPLE_EVERY, sample)?,
        _listener: site.serve(handle, move |trouble| telling.trouble(trouble))?,
    })
}

/// What the page shows beside the state: where this peer is, how much room there is, and how fast it was.
#[derive(Serialize)]
struct Shown {
    dir: String,
    /// Where other peers reach it, if it has an address.
    address: Option<String>,
    tracker: String,
    /// Bytes that are free in the folder, as last looked at.
    #[serde(skip)]
    free: Mutex<Option<(Instant, Option<u64>)>>,
    #[serde(skip)]
    speeds: SpeedHistory,
}

/// What the page is sent.
#[derive(Serialize)]
struct PageView<'a> {
    #[serde(flatten)]
    overview: Overview,
    #[serde(flatten)]
    shown: &'a Shown,
    free: Option<u64>,
    /// Bytes per second, in and out, every two seconds.
    speeds: Vec<[u64; 2]>,
    /// How many files could still be picked.
    unpicked: usize,
}

impl Shown {
    fn of(client: &Client) -> Self {
        let own = own_addresses(1).first().copied();
        let dir = client.store().dir();
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        Self {
            dir: legible(&dir.to_string_lossy()),
            address: own.map(|ip| SocketAddr::new(ip, client.port()).to_string()),
            tracker: client.tracker_at(),
            free: Mutex::default(),
            speeds: SpeedHistory::default(),
        }
    }

    /// Returns the bytes that are free in the folder, looked at again every [`FREE_KEPT`].
    fn free(&self, client: &Client) -> Option<u64> {
        let lock = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let last = *lock();
        match last {
            Some((at, free)) if at.elapsed() < FREE_KEPT => free,
            _ => {
                let free = client.store().free_space();
                *lock() = Some((Instant::now(), free));
                free
            }
        }
    }
}

fn handle_request(
    client: &Client,
    shown: &Shown,
    request: &Request,
    connection: &mut Connection,
) -> Response {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.dispatched_as(), &path[..]) {
        ("GET", [""]) => Response::page(HTML),
        ("GET", ["status"]) => handle_status(client, shown, request.query("file")),
        ("GET", ["files", name]) => with_name(name, |name| handle_file(client, &name)),
        ("POST", ["fetch", name]) => with_name(name, |name| {
            client.pick(&name);
            Response::text("200 OK", "")
        }),
        ("POST", ["fetch"]) => {
            client.pick_all();
            Response::text("200 OK", "")
        }
        ("POST", ["cancel", name]) => with_name(name, |name| {
            client.cancel(&name);
            Response::text("200 OK", "")
        }),
        ("POST", ["ask", name]) => with_name(name, |name| {
            let size = request.query("size").and_then(|size| size.parse().ok());
            let refusal = refusal(client, &name, size.unwrap_or(0));
            refusal.unwrap_or_else(|| Response::text("200 OK", ""))
        }),
        ("POST", ["share", name]) => with_name(name, |name| {
            let Some(len) = request.len else {
                return Response::text("411 Length Required", "Expected a Content-Length.");
            };
            let refusal = refusal(client, &name, len);
            refusal.unwrap_or_else(|| handle_share(client, &name, len, request, connection))
        }),
        _ => Response::text("404 Not Found", "There is nothing here."),
    }
}

/// Calls `answer` if the path has a valid file name.
fn with_name(name: &str, answer: impl FnOnce(Name) -> Response) -> Response {
    match Name::parse(name) {
        Ok(name) => answer(name),
        Err(why) => Response::text("400 Bad Request", why.to_string()),
    }
}

fn handle_status(client: &Client, shown: &Shown, detail: Option<&str>) -> Response {
    let now = Instant::now();
    let (overview, unpicked) = {
        let state = client.lock();
        let overview = state.overview(client.min_peers(), detail, now);
        (overview, state.unpicked().count())
    };
    Response::json(&PageView {
        overview,
        shown,
        free: shown.free(client),
        speeds: shown.speeds.samples(),
        unpicked,
    })
}

fn handle_file(client: &Client, name: &Name) -> Response {
    let whole = client.lock().whole_file(name);
    let whole = whole.and_then(|(place, stamp, md5)| {
        let file = client.store().open_at(&place);
        Some((file.ok()?, stamp, md5))
    });
    match whole {
        Some((file, stamp, md5)) => Response::file(name.as_str(), file, stamp, md5),
        None => Response::text(
            "404 Not Found",
            format!("{name} isn't here yet as a whole, verified file."),
        ),
    }
}

/// Returns the answer to an upload that can't be taken, as far as that is known before it comes.
fn refusal(client: &Client, name: &Name, len: u64) -> Option<Response> {
    if len > MAX_SIZE {
        let why = "A file of up to 1 TiB can be shared.";
        return Some(Response::text("413 Content Too Large", why));
    }
    if !client.may_upload(name) {
        return Some(name_is_taken(name));
    }
    let free = client.store().free_space()?;
    (len > free).then(|| {
        let (len, free) = (bytes(len), bytes(free));
        let why = format!("It has {len}, and {free} are free in the folder: make room first.");
        Response::text("507 Insufficient Storage", why)
    })
}

fn name_is_taken(name: &Name) -> Response {
    let why = format!("There is a file called {name} already: give yours another name.");
    Response::text("409 Conflict", why)
}

/// Takes a body into the folder: through a temporary file, and under a name that isn't taken.
fn handle_share(
    client: &Client,
    name: &Name,
    len: u64,
    request: &Request,
    connection: &mut Connection,
) -> Response {
    if !client.begin_upload(name, len) {
        return name_is_taken(name);
    }
    let came = receive(client, name, len, request, connection);
    client.end_upload(name, came.as_ref().ok().copied());
    match came {
        Ok(_) => Response::text("200 OK", ""),
        Err(Fault::Disk(fault @ (StoreError::Exists(_) | StoreError::Folded { .. }))) => {
            Response::text("409 Conflict", fault.to_string())
        }
        Err(Fault::Disk(fault)) => Response::text("507 Insufficient Storage", fault.to_string()),
        Err(Fault::Connection(fault)) => Response::text("400 Bad Request", fault.to_string()),
    }
}

enum Fault {
    Disk(StoreError),
    Connection(io::Error),
}

fn receive(
    client: &Client,
    name: &Name,
    len: u64,
    request: &Request,
    connection: &mut Connection,
) -> Result<Stamp, Fault> {
    let store = &client.store();
    let mut copy = store.new_copy(name, "upload").map_err(Fault::Disk)?;
    let mut pace = request.begin_body(connection).map_err(Fault::Connection)?;
    let mut buffer = vec![0; STRIDE];
    while copy.size < len {
        let want = buffer.len().min((len - copy.size) as usize);
        let asked = Instant::now();
        let came = connection
            .read_some(&mut buffer[..want])
            .map_err(Fault::Connection)?;
        if came == 0 {
            let fault = io::Error::new(io::ErrorKind::UnexpectedEof, "the upload was broken off");
            return Err(Fault::Connection(fault));
        }
        pace.note(came, asked.elapsed())
            .map_err(Fault::Connection)?;
        store
            .append(&mut copy, &buffer[..came])
            .map_err(Fault::Disk)?;
        client.lock().note_upload(name, copy.size, len);
    }
    store.complete_copy(name, &copy).map_err(Fault::Disk)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::path::PathBuf;

    use serde_json::Value;

    use super::*;
    use crate::client::{ClientConfig, Running};
    use crate::net::listen;
    use crate::report::Report;
    use crate::state::Wants;
    use crate::store::Store;

    /// A peer whose tracker isn't there, with one file in its folder.
    struct Lonely {
        running: Running,
        dir: PathBuf,
    }

    impl Lonely {
        fn new(name: &str) -> Self {
            let id = std::process::id();
            let dir = std::env::temp_dir().join(format!("bittorrentish-page-{name}-{id}"));
            fs::create_dir_all(&dir).expect("room");
            fs::write(dir.join("here.txt"), b"here").expect("room");
            let closed = listen(0).and_then(|listener| listener.local_addr());
            let config = ClientConfig {
                tracker: "127.0.0.1".to_owned(),
                tracker_port: closed.expect("a port").port(),
                dir: dir.clone(),
                wants: Wants {
                    pick: true,
                    ping_every: Duration::from_secs(60),
                    list_every: Duration::from_secs(60),
                    ..Wants::default()
                },
                reuse: None,
                classic: false,
                min_peers: 0,
                max_up: None,
                max_down: None,
                round_every: Duration::from_secs(60),
                pretence: Default::default(),
            };
            let store = Store::open(&dir).expect("a folder");
            let listener = listen(0).expect("a port");
            let running = Client::start(config, store, listener, Report::silent());
            let running = running.expect("threads");
            Self { running, dir }
        }

        /// Returns the status and the text that are the answer to a request with this body.
        fn answer(&self, request: &str, body: &[u8]) -> (u16, String) {
            self.answer_to(request, body.len(), body)
        }

        /// The same, where the head gives another length.
        fn answer_to(&self, request: &str, len: usize, body: &[u8]) -> (u16, String) {
            let near = TcpListener::bind("127.0.0.1:0").expect("a port");
            let mut far =
                TcpStream::connect(near.local_addr().expect("bound")).expect("it listens");
            far.write_all(body).expect("it is small");
            drop(far);
            let (stream, _) = near.accept().expect("it was connected to");
            let mut connection = Connection::new(stream).expect("a socket");
            let head = format!("{request} HTTP/1.1\r\nContent-Length: {len}\r\n\r\n");
            let request = Request::parse(head.as_bytes()).expect("a request");
            let client = &self.running.client;
            handle_request(client, &Shown::of(client), &request, &mut connection).told()
        }

        fn status(&self) -> Value {
            let (code, text) = self.answer("GET /status", b"");
            assert_eq!(code, 200, "{text}");
            serde_json::from_str(&text).expect("JSON")
        }
    }

    impl Drop for Lonely {
        fn drop(&mut self) {
            // the folder is the test's own; what can't be removed is in nobody's way
            let _ = fs::remove_dir_all(&self.dir);
        }
    }

    #[test]
    fn each_request_has_its_answer() {
        let peer = Lonely::new("answers");
        for (request, code) in [
            ("GET /", 200),
            ("HEAD /", 200),
            ("GET /status", 200),
            ("GET /status?file=nothing", 200),
            ("GET /nothing", 404),
            ("GET /files", 404),
            ("GET /files/nothing.iso", 404),
            ("GET /files/a/b", 404),
            ("GET /files/..", 400),
            ("GET /files/.hidden", 400),
            ("GET /fetch/nothing.iso", 404),
            ("GET /fetch", 404),
            ("POST /fetch", 200),
            ("POST /fetch/%2e%2e", 400),
            ("POST /cancel/nothing.iso", 200),
            ("POST /cancel/", 400),
            ("POST /ask/new.iso", 200),
            ("POST /share/a%2Fb", 400),
            ("POST /status", 404),
        ] {
            let (came, text) = peer.answer(request, b"");
            assert_eq!(came, code, "{request}: {text}");
        }
    }

    #[test]
    fn a_refusal_says_why_before_anything_is_sent() {
        let peer = Lonely::new("refusals");
        for (request, code, why) in [
            ("POST /ask/here.txt?size=4", 409, "give yours another name"),
            ("POST /ask/new.iso?size=1099511627777", 413, "up to 1 TiB"),
            ("POST /ask/.new?size=1", 400, "dot"),
        ] {
            let (came, text) = peer.answer(request, b"");
            assert_eq!(came, code, "{request}: {text}");
            assert!(text.contains(why), "{request}: {text}");
        }
        assert_eq!(peer.answer("POST /share/here.txt", b"other").0, 409);
        let here = fs::read(peer.dir.join("here.txt")).expect("it is there");
        assert_eq!(here, b"here");
    }

    #[test]
    fn an_upload_is_whole_or_not_there() {
        let peer = Lonely::new("uploads");
        assert_eq!(peer.answer("POST /share/new.txt", b"content").0, 200);
        let new = fs::read(peer.dir.join("new.txt")).expect("it came");
        assert_eq!(new, b"content");
        assert_eq!(peer.answer("POST /share/empty.txt", b"").0, 200);
        assert!(peer.dir.join("empty.txt").exists());
        let (code, text) = peer.answer_to("POST /share/half.txt", 9, b"half");
        assert_eq!(code, 400, "{text}");
        assert!(!peer.dir.join("half.txt").exists());
        assert_eq!(
            peer.answer("POST /ask/half.txt", b"").0,
            200,
            "its name is free again"
        );
    }

    #[test]
    fn what_is_picked_is_shown_and_can_be_taken_back() {
        let peer = Lonely::new("picks");
        let now = peer.status();
        assert_eq!(now["dir"], peer.dir.to_str().expect("UTF-8"));
        assert_eq!(now["unpicked"], 0);
        assert!(
            now["speeds"].is_array() && now["free"].as_u64() > Some(0),
            "{now}"
        );
        let can_cancel = |now: &Value| {
            let files = now["files"].as_array().expect("files").clone();
            let found = files.iter().find(|file| file["name"] == "wanted.iso");
            found.map(|file| file["can_cancel"].clone())
        };
        assert_eq!(peer.answer("POST /fetch/wanted.iso", b"").0, 200);
        assert_eq!(can_cancel(&peer.status()), Some(true.into()));
        assert_eq!(peer.answer("POST /cancel/wanted.iso", b"").0, 200);
        assert_eq!(can_cancel(&peer.status()), None);
    }
}
