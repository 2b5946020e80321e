//! Plays the other peers: they send what they are asked for, the original's way and ours.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use bittorrentish::net::{BODY, Connection, HEADER};
use bittorrentish::protocol::{
    Answer, Ask, FirstMessage, Get, Have, Hello, PEER_CAP, Pieces, VERSION, invalid,
};
use bittorrentish::torrent::Torrent;

use crate::peer::PeerPlay;
use crate::record::{Unclear, What};
use crate::scene::{CORRUPT, DYING, NEAR, Stage};

/// A choice is over once nothing more is asked for during this time, seconds: a peer that asks several at once has
/// asked them all.
const CHOSEN: f64 = 0.3;
/// The round trip to each of the peers that have the download.
const AWAY_MS: [u64; 5] = [0, 60, 200, 0, 0];
/// What each of them takes for a piece beside that.
const PIECE_TIME: Duration = Duration::from_millis(30);
/// The peer that dies gives this many pieces before.
const LAST_WORDS: usize = 4;
/// How long a piece of the download is held back while the peer is asked for one.
const HELD: Duration = Duration::from_secs(12);
const LOOK: Duration = Duration::from_millis(20);

impl PeerPlay {
    /// Serves one connection to a played peer.
    pub fn serve_holder(&self, holder: usize, mut connection: Connection) {
        if holder == DYING && self.is_dead() {
            return;
        }
        match connection.read(HEADER, PEER_CAP) {
            Ok(Some(FirstMessage::Original { filename })) => {
                self.serve_original(holder, &connection, &filename)
            }
            Ok(Some(FirstMessage::Ours(Ask::Hello(_)))) if holder >= NEAR => {
                // whoever closes in the middle has its reason; what counts is what was asked for and given
                let _ = self.serve_ours(holder, &mut connection);
            }
            Ok(Some(_)) => self.unclear("a message for somebody else".to_owned()),
            Ok(None) => self.unclear("closed without a message".to_owned()),
            Err(fault) => self.unclear(fault.to_string()),
        }
    }

    fn unclear(&self, why: String) {
        self.recorder.note(What::Unclear {
            of: Unclear::Request,
            why,
        });
    }

    fn serve_original(&self, holder: usize, connection: &Connection, name: &str) {
        self.asked(holder, name);
        self.wait_until_chosen();
        let content = self.scene().contents.get(name).cloned();
        let Some(content) = content else { return };
        let sent = connection.sender().send_within(&content, BODY);
        self.gave(holder, name, content.len(), sent.is_ok(), true);
    }

    fn asked(&self, holder: usize, name: &str) {
        let mut scene = self.scene();
        self.recorder.note(What::Asks {
            holder,
            name: name.to_owned(),
        });
        scene.last_ask = self.recorder.now();
    }

    fn gave(&self, holder: usize, name: &str, len: usize, whole: bool, good: bool) {
        let mut scene = self.scene();
        self.recorder.note(What::Gave {
            holder,
            name: name.to_owned(),
            len,
            whole,
            good,
        });
        if whole && good {
            scene.given.insert(name.to_owned(), self.recorder.now());
        }
    }

    /// Holds back the first answer of a choice.
    fn wait_until_chosen(&self) {
        loop {
            let mut scene = self.scene();
            let chosen = scene.answered || self.recorder.now() > scene.last_ask + CHOSEN;
            if chosen || scene.stage != Stage::Choices {
                scene.answered = true;
                return;
            }
            drop(scene);
            sleep(LOOK);
        }
    }

    /// Exchanges hellos, and answers request after request.
    fn serve_ours(&self, holder: usize, connection: &mut Connection) -> io::Result<()> {
        let away = Duration::from_millis(AWAY_MS[holder - NEAR]);
        sleep(away);
        connection.send(&self.hello(holder))?;
        while let Some(ask) = connection.read(BODY, PEER_CAP)? {
            sleep(away);
            match ask {
                Ask::Hello(_) => connection.send(&self.hello(holder))?,
                Ask::Get(get) => self.serve_get(holder, connection, &get)?,
            }
        }
        Ok(())
    }

    fn hello(&self, holder: usize) -> Answer {
        let have = |torrent: &Torrent| Have {
            name: torrent.name().clone(),
            md5: torrent.md5(),
            pieces: Pieces::Digits("all".to_owned()),
        };
        Answer::Hello(Hello {
            v: VERSION,
            id: format!("check {holder}"),
            port: self.port_of(holder),
            have: self
                .scene()
                .download
                .as_deref()
                .map(have)
                .into_iter()
                .collect(),
        })
    }

    fn serve_get(&self, holder: usize, connection: &Connection, get: &Get) -> io::Result<()> {
        let torrent = self.scene().download.clone();
        let torrent = torrent.filter(|torrent| torrent.md5() == get.md5);
        let Some(torrent) = torrent else {
            return connection.send(&Answer::Gone {
                n: get.n,
                name: get.name.clone(),
            });
        };
        let Some(&idx) = get.pieces.first() else {
            sleep(
                Duration::try_from_secs_f64(get.wait)
                    .unwrap_or_default()
                    .min(HEADER / 10),
            );
            return connection.send(&Answer::News {
                n: get.n,
                news: Vec::new(),
            });
        };
        if idx >= torrent.n_pieces() {
            return Err(invalid("a piece beyond the end"));
        }
        let name = torrent.original_name(idx);
        self.asked(holder, &name);
        sleep(PIECE_TIME);
        self.wait_at_gate();
        if holder == DYING && self.is_dead() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.send_piece(holder, connection, &torrent, idx, get)
    }

    fn send_piece(
        &self,
        holder: usize,
        connection: &Connection,
        torrent: &Torrent,
        idx: u32,
        get: &Get,
    ) -> io::Result<()> {
        let name = torrent.original_name(idx);
        let piece = self.scene().contents[&name].to_vec();
        let mut bytes = match get.blocks {
            Some(blocks) => blocks
                .runs()
                .flat_map(|run| piece[torrent.bytes_of(idx, run)].to_vec())
                .collect(),
            None => piece,
        };
        let good = holder != CORRUPT;
        if let (Some(first), false) = (bytes.first_mut(), good) {
            *first ^= 1;
        }
        let len = bytes.len() as u32;
        connection.send(&Answer::Piece {
            n: get.n,
            idx,
            len,
            news: Vec::new(),
        })?;
        let sent = connection.sender().send_within(&bytes, BODY);
        self.gave(holder, &name, bytes.len(), sent.is_ok(), good);
        sent
    }

    /// In the middle of the download, nothing more comes before the peer was asked for some of it.
    fn wait_at_gate(&self) {
        let until = self.recorder.now() + HELD.as_secs_f64();
        while self.recorder.now() < until {
            let scene = self.scene();
            if scene.gate_open || !scene.is_under_way() {
                return;
            }
            drop(scene);
            sleep(LOOK);
        }
    }

    /// Whether the peer that dies is dead: it has given all that it was to give.
    fn is_dead(&self) -> bool {
        let events = self.recorder.events();
        let dead = events
            .iter()
            .any(|event| matches!(event.what, What::Died { .. }));
        let gave = events
            .iter()
            .filter(|event| matches!(event.what, What::Gave { holder: DYING, .. }));
        let dies = gave.count() >= LAST_WORDS;
        if dies && !dead {
            self.recorder.note(What::Died { holder: DYING });
        }
        dies
    }
}
