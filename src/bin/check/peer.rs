//! Plays the tracker towards a peer under test, and decides what it is told next.
//!
//! The run has three stages. *Choices*: each answer to a ping has names that nobody has seen before; once the peer has chosen
//! one, the next answer has others. *Download*, for a peer that speaks our messages: one file with a `.torrent`.
//! *Complete*: nothing is listed but what the peer has.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bittorrentish::net::{Connection, HEADER, Listener, connect, listen};
use bittorrentish::protocol::{
    FirstMessage, Outcome, Reply, TORRENT_CAP, ToTracker, VERSION, parse, to_bytes,
};
use bittorrentish::torrent::Torrent;
use serde_json::Value;

use crate::program::Program;
use crate::record::{Plan, Recorder, Unclear, What};
use crate::scene::{DYING, Scene, Stage};

/// After this time a file that was sent is taken to be on the disk, seconds.
pub const SETTLED: f64 = 1.0;
/// Connections at a time to the tracker and to each peer.
const AT_ONCE: usize = 64;

/// What is played, for all threads.
pub struct PeerPlay {
    pub recorder: Arc<Recorder>,
    plan: Plan,
    scene: Mutex<Scene>,
    ports: Vec<u16>,
}

/// What has to run as long as it is played.
pub type Listeners = Vec<Listener>;

impl PeerPlay {
    /// Listens as the tracker and as all the peers.
    pub fn start(
        recorder: Arc<Recorder>,
        plan: Plan,
        port: u16,
    ) -> io::Result<(Arc<Self>, u16, Listeners)> {
        let tracker = listen(port)?;
        let port = tracker.local_addr()?.port();
        let doors = (0..=DYING)
            .map(|_| listen(0))
            .collect::<io::Result<Vec<_>>>()?;
        let mut doors: Vec<_> = doors
            .into_iter()
            .map(|door| Ok((door.local_addr()?.port(), door)))
            .collect::<io::Result<_>>()?;
        // listed in this order: whoever takes the first, or the lowest port, takes the same one each time
        doors.sort_by_key(|(port, _)| *port);
        let ports = doors.iter().map(|(port, _)| *port).collect();
        let play = Arc::new(Self {
            recorder,
            plan,
            scene: Mutex::new(Scene::new(&plan)),
            ports,
        });
        let serving = Arc::clone(&play);
        let mut listeners = vec![Listener::start(
            "tracker",
            tracker,
            AT_ONCE,
            move |connection| serving.serve_tracker(connection),
            |_| {},
        )?];
        for (holder, (_, door)) in doors.into_iter().enumerate() {
            let serving = Arc::clone(&play);
            let serve = move |connection| serving.serve_holder(holder, connection);
            listeners.push(Listener::start("peer", door, AT_ONCE, serve, |_| {})?);
        }
        Ok((play, port, listeners))
    }

    pub fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn port_of(&self, holder: usize) -> u16 {
        self.ports[holder]
    }

    /// Plays until there is enough to judge, or the program has ended, or the time is over. Returns whether it ever came.
    pub fn run(&self, program: &mut Option<Program>) -> bool {
        let patience = self.plan.within.min((6.0 * self.plan.ping).max(30.0));
        loop {
            self.recorder.tick();
            if let Some(how) = program.as_mut().and_then(Program::ended) {
                self.recorder.note(What::Ended { how });
                return self.scene().peer.is_some();
            }
            let now = self.recorder.now();
            let due = {
                let mut scene = self.scene();
                if now > self.plan.within || scene.peer.is_none() && now > patience {
                    return scene.peer.is_some();
                }
                let enough =
                    2.0 * self.plan.round + Plan::tolerance(self.plan.round) + self.plan.ping;
                if scene.stage == Stage::Complete && now > scene.since + enough {
                    return true;
                }
                scene.due_back(now, self.plan.round)
            };
            if let Some(name) = due {
                self.ask_back(&name);
            }
        }
    }

    /// Answers one message to the tracker.
    fn serve_tracker(&self, mut connection: Connection) {
        let unclear = |of, why: String| self.recorder.note(What::Unclear { of, why });
        let value = match connection.read::<Value>(HEADER, TORRENT_CAP) {
            Ok(Some(value)) => value,
            Ok(None) => return unclear(Unclear::Tracker, "closed without a message".to_owned()),
            Err(fault) => return unclear(Unclear::Tracker, fault.to_string()),
        };
        let message = match parse::<ToTracker>(&to_bytes(&value)) {
            Ok(message) => message,
            Err(fault) if value["msg"] == "file_list" => {
                return unclear(Unclear::List, fault.to_string());
            }
            Err(fault) => return unclear(Unclear::Tracker, fault.to_string()),
        };
        let answer = self.answer(&connection, message);
        // whoever has gone meanwhile misses it; that shows in what it does next
        let _ = connection.sender().send_bytes(&answer);
    }

    fn answer(&self, connection: &Connection, message: ToTracker) -> Vec<u8> {
        let reply = Reply {
            v: VERSION,
            ..Reply::default()
        };
        let mut scene = self.scene();
        match message {
            ToTracker::Ping { port, v, .. } => {
                self.recorder.note(What::Ping { v: v.is_some() });
                scene.peer = Some((connection.peer.ip(), port).into());
                scene.ours |= v.is_some();
                if let Some(turn) = scene.turn(self.recorder.now(), &self.plan) {
                    self.recorder.note(turn);
                }
                scene.list(connection.own.ip(), &self.ports, v.is_some())
            }
            ToTracker::FileList { port, files, v, .. } => {
                self.recorder.note(What::List {
                    files: files.clone(),
                });
                scene.peer = Some((connection.peer.ip(), port).into());
                scene.listed = files;
                v.map_or_else(Vec::new, |_| to_bytes(&reply))
            }
            ToTracker::Publish { port, files, .. } => {
                let publisher = SocketAddr::from((connection.peer.ip(), port)).to_string();
                let stands = files.iter().map(|_| Outcome::Stands {
                    mine: true,
                    published: 1,
                    publisher: publisher.clone(),
                });
                to_bytes(&Reply {
                    files: stands.collect(),
                    ..reply
                })
            }
            ToTracker::GetTorrent { name } => {
                self.recorder.note(What::Torrent {
                    name: name.to_string(),
                });
                let torrent = scene
                    .torrents
                    .get(name.as_str())
                    .map(|torrent| Torrent::clone(torrent));
                to_bytes(&Reply { torrent, ..reply })
            }
            ToTracker::Report(_) | ToTracker::Status => to_bytes(&reply),
        }
    }

    /// Asks the peer for something that it has, as the original does; once more where that fails, as it may be busy.
    fn ask_back(&self, name: &str) {
        let (peer, content) = {
            let scene = self.scene();
            (scene.peer, scene.contents.get(name).cloned())
        };
        let (Some(peer), Some(content)) = (peer, content) else {
            return;
        };
        let mut fault = fetch(peer, name, &content).err();
        if fault.is_some() {
            std::thread::sleep(Duration::from_secs_f64(SETTLED));
            fault = fetch(peer, name, &content).err();
        }
        let len = content.len();
        self.recorder.note(What::Back {
            name: name.to_owned(),
            len,
            fault,
        });
        self.scene().asked_back(name);
    }
}

/// Fetches a file, and compares it.
fn fetch(from: SocketAddr, name: &str, content: &[u8]) -> Result<(), String> {
    let told = |fault: io::Error| format!("{from}: {fault}");
    let mut connection = connect(&[from]).map_err(told)?;
    let request = FirstMessage::Original {
        filename: name.to_owned(),
    };
    connection.send(&request).map_err(told)?;
    let (mut came, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match connection.read_some(&mut buffer).map_err(told)? {
            0 => break,
            n => came.extend_from_slice(&buffer[..n]),
        }
        if came.len() > content.len() {
            return Err(format!("more than its {} bytes came", content.len()));
        }
    }
    match came == content {
        true => Ok(()),
        false if came.len() == content.len() => Err("other bytes came".to_owned()),
        false => Err(format!(
            "{} of its {} bytes came",
            came.len(),
            content.len()
        )),
    }
}
