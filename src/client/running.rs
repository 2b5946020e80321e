//! Which threads a peer has: how they are started, and how they end.

use std::io;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};

use super::{Client, Config, Shared};
use crate::buffers::Buffers;
use crate::events::Event;
use crate::limit::Limit;
use crate::net::{Listener, Sender, Trouble};
use crate::protocol::Summary;
use crate::repeated_timer::RepeatedTimer;
use crate::report::Report;
use crate::state::State;
use crate::store::{Stamp, Store};
use crate::torrent::Name;
use crate::upload;

/// The most connections that are served at once.
const UPLOADS: usize = 256;
/// Between two looks at the folder: what kept its size and time for so long was left alone.
const LOOK_EVERY: Duration = Duration::from_secs(2);

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
    /// Where the system gives no threads.
    pub fn start(
        config: Config,
        store: Store,
        listener: TcpListener,
        report: Report,
    ) -> io::Result<Running> {
        let port = listener.local_addr()?.port();
        let rng = rand::rngs::StdRng::from_rng(&mut rand::rng());
        let state = State::new(config.wants.clone(), rng, Instant::now());
        let ((to_hash, hashes), (to_begin, begins)) = (channel(), channel());
        let client = Self(Arc::new(Shared {
            id: format!("{:016x}", rand::rng().random::<u64>()),
            port,
            up: config.max_up.map(Limit::new),
            down: config.max_down.map(Limit::new),
            state: Mutex::new(state),
            changed: Condvar::new(),
            buffers: Buffers::default(),
            to_hash,
            to_begin,
            list_now: OnceLock::new(),
            config,
            store,
            report,
        }));
        client.run(listener, hashes, begins)
    }

    fn run(
        self,
        listener: TcpListener,
        hashes: Receiver<Option<(Name, Stamp)>>,
        begins: Receiver<Option<Summary>>,
    ) -> io::Result<Running> {
        let mut running = Running {
            client: self.clone(),
            timers: Vec::new(),
            workers: Vec::new(),
            listener: None,
        };
        let (serve, tell) = (self.clone(), self.clone());
        let told = move |trouble| tell.trouble(trouble);
        running.listener = Some(Listener::start(
            "upload",
            listener,
            UPLOADS,
            move |connection| upload::listen_requests(&serve, connection),
            told,
        )?);
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
        running.timers = vec![
            list,
            timer("look", LOOK_EVERY, Self::look_at_folder)?,
            timer("ping", config.ping_every, Self::ping_tracker)?,
            timer("round", config.round_every, Self::round)?,
        ];
        Ok(running)
    }

    fn trouble(&self, trouble: Trouble) {
        self.say(&match trouble {
            Trouble::Accept(fault) => Event::AcceptFailed {
                why: fault.to_string(),
            },
            Trouble::Full(most) => Event::Full { most },
        });
    }
}

impl Drop for Running {
    /// Ends all threads of the peer. Connections to others end by themselves, within their timeouts at the latest.
    fn drop(&mut self) {
        let open: Vec<_> = {
            let mut state = self.client.lock();
            state.ending = true;
            state.connections()
        };
        open.iter().for_each(Sender::close);
        self.client.tell_all();
        self.timers.clear();
        self.listener = None;
        let _ = (
            self.client.0.to_hash.send(None),
            self.client.0.to_begin.send(None),
        );
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
