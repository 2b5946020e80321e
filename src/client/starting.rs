//! The threads of a peer: how they are started, and how they end.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};

use super::reporting::{self, LastReport};
use super::upload::UPLOADS;
use super::{Client, ClientConfig, ClientParts};
use crate::buffers::Buffers;
use crate::limit::Limit;
use crate::net::{Listener, Sender};
use crate::protocol::Summary;
use crate::repeated_timer::RepeatedTimer;
use crate::report::status::Status;
use crate::report::{Report, Weight};
use crate::semaphore::Semaphore;
use crate::state::State;
use crate::store::{Stamp, Store};
use crate::torrent::Name;

/// The time between two looks at the folder: a file that kept its size and time for this long was left alone.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The time between two looks at what is to be reported and shown by the clock.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The time between two looks at the width of the terminal.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// The messages to the thread that hashes.
pub(super) enum HashOrder {
    /// Hash this file, as it was when it was looked at.
    Hash(Name, Stamp),
    /// Stop.
    End,
}

/// The messages to the thread that begins downloads.
pub(super) enum BeginOrder {
    /// Begin this file.
    Begin(Box<Summary>),
    /// Stop.
    End,
}

/// The threads of a peer; dropping it ends them.
pub struct Running {
    /// The peer.
    pub client: Client,
    timers: Vec<RepeatedTimer>,
    workers: Vec<JoinHandle<()>>,
    listener: Option<Listener>,
}

impl Client {
    /// Starts a peer that is served at `listener`.
    ///
    /// # Errors
    /// Returns an error if the system gives no threads.
    pub fn start(
        config: ClientConfig,
        store: Store,
        listener: TcpListener,
        report: Report,
    ) -> io::Result<Running> {
        let port = listener.local_addr()?.port();
        let rng = rand::rngs::StdRng::from_rng(&mut rand::rng());
        let key = store.key();
        let mut state = State::new(config.wants.clone(), rng, Instant::now());
        if config.wants.pick {
            for name in store.picked() {
                state.pick(&name);
            }
        }
        let ((to_hash, hashes), (to_begin, begins)) = (channel(), channel());
        let client = Self(Arc::new(ClientParts {
            run_id: format!("{:016x}", rand::rng().random::<u64>()),
            publisher_key: key,
            port,
            up: config.max_up.map(Limit::new),
            upload_places: Semaphore::new(config.max_up.map_or(UPLOADS, Limit::places), UPLOADS),
            down: config.max_down.map(Limit::new),
            state: Mutex::new(state),
            changed: Condvar::new(),
            interface: AtomicU32::default(),
            buffers: Buffers::default(),
            to_hash,
            to_begin,
            list_now: OnceLock::new(),
            ping_timer: OnceLock::new(),
            show_now: OnceLock::new(),
            config,
            store,
            report,
        }));
        client.run(listener, hashes, begins)
    }

    fn run(
        self,
        listener: TcpListener,
        hashes: Receiver<HashOrder>,
        begins: Receiver<BeginOrder>,
    ) -> io::Result<Running> {
        let mut running = Running {
            client: self.clone(),
            timers: Vec::new(),
            workers: Vec::new(),
            listener: None,
        };
        running.listener = Some(self.listen_requests(listener)?);
        let (hash, begin) = (self.clone(), self.clone());
        running.workers.push(
            Builder::new()
                .name("hash".to_owned())
                .spawn(move || hash.hash_files(&hashes))?,
        );
        running.workers.push(
            Builder::new()
                .name("begin".to_owned())
                .spawn(move || begin.begin_downloads(&begins))?,
        );
        let config = &self.0.config;
        let timer = |name, every, call: fn(&Self)| {
            let client = self.clone();
            RepeatedTimer::start(name, every, move || call(&client))
        };
        let list = timer(
            "list",
            config.wants.list_every,
            Self::send_tracker_file_list,
        )?;
        let _ = self.0.list_now.set(list.trigger());
        let ping = timer("ping", config.wants.ping_every, Self::ping_tracker)?;
        let _ = self.0.ping_timer.set(ping.trigger());
        running.timers = vec![
            list,
            timer("look", LOOK_EVERY, Self::look_at_folder)?,
            ping,
            timer("round", config.round_every, Self::round)?,
        ];
        running.timers.extend(self.tell_by_the_clock()?);
        let (client, mut last) = (self.clone(), LastReport::default());
        let report = move || {
            // the pause after a failure ends between two pings
            client.connect_to_peers();
            client.report_progress(&mut last);
        };
        let report = RepeatedTimer::start("report", reporting::SAMPLE_EVERY, report)?;
        running.timers.push(report);
        Ok(running)
    }

    /// Starts the thread that reports by the clock; returns `None` if nothing is reported.
    fn tell_by_the_clock(&self) -> io::Result<Option<RepeatedTimer>> {
        let (client, report) = (self.clone(), &self.0.report);
        if !report.wants(Weight::Normal) {
            return Ok(None);
        }
        let draws = report.status_terminal().is_some();
        let (mut status, mut measured) = (Status::default(), Instant::now());
        let tell = move || {
            client.tell_progress();
            if draws && measured.elapsed() >= MEASURE_EVERY {
                client.0.report.measure();
                measured = Instant::now();
            }
            client.show_status(&mut status);
        };
        let timer = RepeatedTimer::start("tell", TELL_EVERY, tell)?;
        if draws {
            let _ = self.0.show_now.set(timer.trigger());
        }
        Ok(Some(timer))
    }
}

impl Drop for Running {
    /// Ends all threads of the peer. Connections to others end by themselves, within their timeouts at the latest.
    fn drop(&mut self) {
        let open: Vec<_> = {
            let mut state = self.client.lock();
            state.end();
            state.connections()
        };
        open.iter().for_each(Sender::close);
        self.client.notify_all();
        self.timers.clear();
        self.listener = None;
        let _ = (
            self.client.0.to_hash.send(HashOrder::End),
            self.client.0.to_begin.send(BeginOrder::End),
        );
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::thread;

    use super::*;
    use crate::net::listen;
    use crate::report::ReportConfig;
    use crate::roster::Reachability;
    use crate::state::Wants;
    use crate::tracker::{Tracker, TrackerConfig};

    fn start_tracker(temp: &Path, sweep_every: Duration, report: Report) -> Tracker {
        let config = TrackerConfig {
            reach: Reachability::Local,
            torrents: temp.join("torrents"),
            sweep_every,
            client: "client".to_owned(),
        };
        Tracker::start(config, listen(0).expect("a port"), report).expect("it starts")
    }

    fn start(tracker: &Tracker, dir: &Path, report: Report) -> Running {
        let quick = Duration::from_millis(200);
        let config = ClientConfig {
            tracker: "127.0.0.1".to_owned(),
            tracker_port: tracker.addr().port(),
            dir: dir.to_owned(),
            wants: Wants {
                list_every: quick,
                ping_every: quick,
                ..Wants::default()
            },
            reuse: None,
            classic: false,
            min_peers: 0,
            max_up: None,
            max_down: None,
            round_every: quick,
            pretence: Default::default(),
        };
        let store = Store::open(dir).expect("a folder");
        let listener = listen(0).expect("a port");
        Client::start(config, store, listener, report).expect("threads")
    }

    /// Two folders in a temporary one, and in the first `image.iso` of `len` bytes.
    fn folders(name: &str, len: usize) -> (PathBuf, [PathBuf; 2]) {
        let temp =
            std::env::temp_dir().join(format!("bittorrentish-{name}-{}", std::process::id()));
        let folders = ["a", "b"].map(|dir| temp.join(dir));
        fs::create_dir_all(&folders[0]).expect("room");
        fs::write(folders[0].join("image.iso"), vec![7; len]).expect("room");
        (temp, folders)
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_panic_under_the_lock_stops_nobody() {
        let (temp, [a, b]) = folders("running", 300_000);
        let tracker = start_tracker(&temp, Duration::from_secs(30), Report::silent());
        let running = [&a, &b].map(|dir| start(&tracker, dir, Report::silent()));
        let clients = running.each_ref().map(|running| running.client.clone());
        for client in &clients {
            let client = client.clone();
            let panicked = thread::spawn(move || {
                let _state = client.lock();
                panic!("for the test");
            });
            panicked.join().expect_err("it panics");
        }
        until("the file", || b.join("image.iso").exists());
        drop(running);
        // every thread of a peer holds it
        for Client(shared) in &clients {
            until("the end of all threads", || Arc::strong_count(shared) == 1);
        }
        drop(tracker);
        fs::remove_dir_all(&temp).expect("it is ours");
    }

    /// `tests/it/walk.rs` runs this alone, and reads from its profile what ran.
    #[test]
    fn the_four_paths_from_a_ping_to_a_sweep() {
        let (temp, [a, b]) = folders("walk", 3_000_000);
        let report = |name| {
            let config = ReportConfig {
                quiet: true,
                ..ReportConfig::default()
            };
            Report::new(config, Some(&temp.join(name))).expect("a log")
        };
        let tracker = start_tracker(&temp, Duration::from_millis(800), report("tracker.log"));
        let seed = start(&tracker, &a, report("a.log"));
        until("publishing", || seed.client.lock().unpublished().is_empty());
        let peer = start(&tracker, &b, report("b.log"));
        until("the file", || b.join("image.iso").exists());
        drop(seed);
        until("the sweep", || peer.client.lock().n_listed() == 0);
        drop((peer, tracker));
        fs::remove_dir_all(&temp).expect("it is ours");
    }
}
