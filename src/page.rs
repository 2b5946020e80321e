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
//! | `GET /files/NAME` | a whole, verified file of the folder |
//! | `POST /fetch/NAME` | adds this file to those that are wanted |
//! | `POST /share/NAME` | the body becomes a new file of the folder, and is shared |

use std::io;
use std::time::Instant;

use crate::client::Client;
use crate::http::{Request, Response, Site};
use crate::net::{Connection, Listener, STRIDE};
use crate::store::{Stamp, StoreError};
use crate::torrent::Name;

const HTML: &str = concat!(
    include_str!("page/common.html"),
    include_str!("page/client.html")
);
/// The largest file that can be uploaded, bytes: the `.torrent` of a larger one would be too long to send.
const UPLOAD_CAP: u64 = 1 << 40;

/// Serves a peer's page until the returned value is dropped.
///
/// # Errors
/// Returns an error if the system gives no thread.
pub fn start(client: &Client, site: Site) -> io::Result<Listener> {
    let (serving, telling) = (client.clone(), client.clone());
    let handle = move |request: &Request, connection: &mut Connection| {
        handle_request(&serving, request, connection)
    };
    let told = move |trouble| telling.trouble(trouble);
    site.serve(handle, told)
}

fn handle_request(client: &Client, request: &Request, connection: &mut Connection) -> Response {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (&*request.method, &path[..]) {
        ("GET", [""]) => Response::page(HTML),
        ("GET", ["status"]) => handle_status(client, request.query("file")),
        ("GET", ["files", name]) => with_name(name, |name| handle_file(client, &name)),
        ("POST", ["fetch", name]) => with_name(name, |name| {
            client.pick(&name);
            Response::text("200 OK", "")
        }),
        ("POST", ["share", name]) => with_name(name, |name| {
            let Some(len) = request.len else {
                return Response::text("411 Length Required", "Expected a Content-Length.");
            };
            handle_share(client, &name, len, connection)
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

fn handle_status(client: &Client, detail: Option<&str>) -> Response {
    let now = Instant::now();
    let mut state = client.lock();
    state.look(now);
    let overview = state.overview(client.min_peers(), detail, now);
    drop(state);
    Response::json(&overview)
}

fn handle_file(client: &Client, name: &Name) -> Response {
    let whole = client.lock().whole_file(name);
    let whole = whole.and_then(|(place, stamp)| {
        let file = client.store().open_at(&place);
        Some((file.ok()?, stamp))
    });
    match whole {
        Some((file, stamp)) => Response::file(name.as_str(), file, stamp),
        None => Response::text(
            "404 Not Found",
            format!("{name} isn't here yet as a whole, verified file."),
        ),
    }
}

/// Takes a body into the folder: through a temporary file, and under a name that isn't taken.
fn handle_share(client: &Client, name: &Name, len: u64, connection: &mut Connection) -> Response {
    if len > UPLOAD_CAP {
        return Response::text(
            "413 Content Too Large",
            "A file of up to 1 TiB can be shared.",
        );
    }
    if !client.begin_upload(name, len) {
        let why = format!("There is a file called {name} already: give yours another name.");
        return Response::text("409 Conflict", why);
    }
    let came = receive(client, name, len, connection);
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
    connection: &mut Connection,
) -> Result<Stamp, Fault> {
    let store = &client.store();
    let mut copy = store.new_copy(name, "upload").map_err(Fault::Disk)?;
    let mut pace = connection.begin_body().map_err(Fault::Connection)?;
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
