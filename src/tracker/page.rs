//! The tracker's page: the swarm at a glance, for the teacher's screen and for whoever waits for thirty machines.
//!
//! `GET /` is the page, `GET /status` what it shows, as JSON: the published files, and for each peer how much of them it has
//! and for how long that hasn't changed, and who has another content under the name of one. Under the lock it is copied only.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use super::{Tracker, TrackerEvent, TrackerShared};
use crate::bound::{self, HoldUp};
use crate::conflicts::Conflict;
use crate::http::{Request, Response, Site};
use crate::net::Listener;
use crate::protocol::{MachineStatus, Summary};
use crate::roster::Row;

const HTML: &str = concat!(
    include_str!("../page/common.html"),
    include_str!("../page/tracker.html")
);
/// Peers that are shown: nobody reads more rows.
const ROWS: usize = 1000;
/// Published files that are shown, the largest: nobody reads more columns.
const FILES: usize = 20;
/// After this many sweeps without anything new a peer stands still: lists come less often than sweeps, every 20 s and 15 s.
const STILL: u32 = 3;

#[derive(Serialize)]
struct View {
    n_peers: usize,
    /// How many files are published, those that aren't shown included.
    n_files: usize,
    files: Vec<ShownFile>,
    peers: Vec<ShownPeer>,
    /// How far the machines are by their own reports, those that left included.
    machines: Vec<MachineStatus>,
}

#[derive(Serialize)]
struct ShownFile {
    name: String,
    /// The name as people are shown it.
    shown: String,
    size: u64,
    md5: String,
    /// The contents that others have under its name, while there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<Conflict>,
    /// What holds up the machine that will have it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_up: Option<ShownHoldUp>,
}

#[derive(Serialize)]
struct ShownHoldUp {
    host: String,
    #[serde(flatten)]
    by: HoldUp,
}

#[derive(Serialize)]
struct ShownPeer {
    peer: SocketAddr,
    original: bool,
    /// Seconds since its list had something new, as far as the sweeps tell; none where that is usual.
    still: Option<f64>,
    files: Vec<ShownPart>,
}

/// How many pieces a peer has of a file.
#[derive(Serialize)]
struct ShownPart {
    name: String,
    here: u32,
    of: u32,
}

impl Tracker {
    /// Serves the page until what is returned is dropped, and tells where it is.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn serve_page(&self, site: Site) -> io::Result<Listener> {
        let url = site.url.clone();
        self.shared.report.say(&TrackerEvent::Page { url });
        let (serving, telling) = (self.shared.clone(), self.shared.clone());
        let handle = move |request: &Request, _: &mut _| serving.handle_page(request);
        site.serve(handle, move |trouble| telling.tell_trouble(trouble))
    }
}

impl TrackerShared {
    fn handle_page(&self, request: &Request) -> Response {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        match (request.dispatched_as(), &path[..]) {
            ("GET", [""]) => Response::page(HTML),
            ("GET", ["status"]) => Response::json(&self.view()),
            _ => Response::text("404 Not Found", "There is nothing here."),
        }
    }

    fn view(&self) -> View {
        let now = self.lock().overview(ROWS, FILES);
        let shown = |name: &str| now.files.iter().any(|file| file.name.as_str() == name);
        let part = |(name, here, of): (&str, u32, u32)| ShownPart {
            name: name.to_owned(),
            here,
            of,
        };
        let peer = |row: &Row| ShownPeer {
            peer: row.addr,
            original: row.original,
            still: (row.still >= STILL).then(|| (self.sweep_every * row.still).as_secs_f64()),
            files: row
                .files()
                .filter(|(name, ..)| shown(name))
                .map(part)
                .collect(),
        };
        let machines = self.machine_statuses(ROWS, None);
        let held_up = |file: &Summary| {
            let (last, by) = bound::of_last(&machines, &file.name, Some(file.md5))?;
            let host = last.label().to_owned();
            Some(ShownHoldUp { host, by })
        };
        let file = |file: &Arc<Summary>| ShownFile {
            held_up: held_up(file),
            name: file.name.as_str().to_owned(),
            shown: file.name.to_string(),
            size: file.size,
            md5: file.md5.to_string(),
            conflict: Conflict::of_listed(file, usize::MAX).if_any(),
        };
        View {
            n_peers: now.n_peers,
            n_files: now.n_files,
            peers: now.rows.iter().map(peer).collect(),
            files: now.files.iter().map(file).collect(),
            machines,
        }
    }
}
