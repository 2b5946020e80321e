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
use crate::torrent::{Name, legible};
use crate::units::bytes;
use speeds::{SAMPLE_EVERY, SpeedHistory};

const HTML: &str = concat!(
    include_str!("page/common.html"),
    include_str!("page/client.html")
);
/// The largest file that can be uploaded, bytes: the `.torrent` of a larger one would be too long to send.
const UPLOAD_CAP: u64 = 1 << 40;
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
    if len > UPLOAD_CAP {
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
