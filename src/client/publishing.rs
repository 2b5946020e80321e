//! Which content is the swarm's: what is published, and how the tracker answers.

use std::net::IpAddr;
use std::time::Instant;

use super::Client;
use super::errors::ClientError;
use crate::cli::fetch_flags;
use crate::events::Event;
use crate::net::addresses::own_addresses;
use crate::net::{Connection, HEADER};
use crate::protocol::{Outcome, Publication, Reply, Summary, TORRENT_CAP, ToTracker};
use crate::state::{PublishNews, TrackerKind};
use crate::torrent::{Name, Torrent, legible};

/// `.torrent`s of about this many bytes go to the tracker in one message, so that many small files need one connection.
const BATCH: u64 = 256 << 10;
/// What each file counts beside its checkpoints, bytes: a message has some 50 small ones at most, as the tracker syncs
/// each to its disk before it answers.
const EACH: u64 = 5 << 10;
/// Bytes of a `.torrent` for each byte of its file, at most: 32 digits for a block of 4 KiB.
const TORRENT_SHARE: u64 = 128;
/// The command for the other machines is printed for this many files: nobody reads more.
const COMMANDS: usize = 3;

impl Client {
    /// Asks the tracker about each content that it should know and doesn't: whether it may stand under its name. The
    /// `.torrent` is sent along if the tracker doesn't have it.
    pub(super) fn publish(&self) {
        loop {
            let asked = self.lock().unpublished();
            if asked.is_empty() {
                return;
            }
            let done = self.ask(&asked).and_then(|outcomes| {
                let sends = |(_, outcome): &(&Publication, &Outcome)| **outcome == Outcome::Send;
                let wanted = asked.iter().zip(&outcomes).filter(sends);
                let wanted: Vec<Publication> = wanted.map(|(asked, _)| asked.clone()).collect();
                let answered = self.answered(&asked, &outcomes);
                Ok(answered + self.send_torrents(wanted)?)
            });
            match done {
                Ok(0) => return,
                Ok(_) => {}
                Err(fault) => return self.no_list(fault.no_list()),
            }
        }
    }

    fn ask(&self, files: &[Publication]) -> Result<Vec<Outcome>, ClientError> {
        let mut tracker = self.to_tracker()?;
        tracker.send(&ToTracker::Publish {
            port: self.0.port,
            key: self.0.publisher_key.clone(),
            files: files.to_vec(),
        })?;
        let reply: Reply = tracker.expect(HEADER, TORRENT_CAP)?;
        match reply.error {
            Some(why) => Ok(vec![Outcome::Refused { why }; files.len()]),
            None if reply.files.len() == files.len() => Ok(reply.files),
            None => Err(ClientError::Unexpected("it didn't answer for each file")),
        }
    }

    /// Sends the `.torrent`s in messages of about [`BATCH`] bytes. Returns how many were answered.
    fn send_torrents(&self, wanted: Vec<Publication>) -> Result<usize, ClientError> {
        let mut answered = 0;
        let mut wanted = wanted.into_iter().peekable();
        while wanted.peek().is_some() {
            let (mut batch, mut room) = (Vec::new(), BATCH);
            while room > 0
                && let Some(mut next) = wanted.next()
            {
                let torrent = self.lock().torrent_of(&next.name, next.md5);
                room = room.saturating_sub(next.size / TORRENT_SHARE + EACH);
                next.torrent = torrent.map(|torrent| (*torrent).clone());
                // the file may have gone away in the meantime
                if next.torrent.is_some() {
                    batch.push(next);
                }
            }
            if !batch.is_empty() {
                let outcomes = self.ask(&batch)?;
                answered += self.answered(&batch, &outcomes);
            }
        }
        Ok(answered)
    }

    /// Takes the tracker's decisions about publications, and reports the news among them. Returns how many were decided.
    fn answered(&self, asked: &[Publication], outcomes: &[Outcome]) -> usize {
        let decided = asked.iter().zip(outcomes);
        let decided = decided.filter(|(_, outcome)| **outcome != Outcome::Send);
        let mut n_decided = 0;
        for (publication, outcome) in decided {
            n_decided += 1;
            let news = self.lock().published(publication, outcome, Instant::now());
            if let Some(news) = news {
                self.tell_published(publication, outcome, news);
            }
        }
        // a file that turned out to be outdated may make way at once
        let begins = self.lock().to_begin();
        self.begin_all(begins);
        self.notify_all();
        n_decided
    }

    fn tell_published(&self, publication: &Publication, outcome: &Outcome, news: PublishNews) {
        let (name, md5) = (publication.name.to_string(), publication.md5);
        match (news, outcome) {
            (
                PublishNews::Stands {
                    announce,
                    mine,
                    credited,
                },
                _,
            ) => {
                if credited {
                    self.remember_received(&publication.name);
                }
                if announce {
                    let size = publication.size;
                    self.say(&Event::Sharing {
                        name: name.clone(),
                        size,
                        md5: md5.to_string(),
                    });
                }
                if announce && !self.0.config.classic {
                    self.greet_peers_soon();
                }
                if announce && mine {
                    let md5 = md5.to_string();
                    self.say(&Event::Published { name, md5 });
                    self.tell_command(publication);
                }
            }
            (PublishNews::Other, Outcome::OtherStands { md5: swarm, why }) => {
                self.say(&Event::Refused {
                    name,
                    md5,
                    swarm: Some(*swarm),
                    why: legible(why),
                })
            }
            (_, Outcome::Refused { why }) => self.say(&Event::Refused {
                name,
                md5,
                swarm: None,
                why: legible(why),
            }),
            _ => {}
        }
    }

    /// Remembers that the tracker credits another publisher with this content, so that the next runs do so, too.
    fn remember_received(&self, name: &Name) {
        if let Some(mut saved) = self.0.store.saved(name) {
            saved.received = true;
            let _ = self.0.store.save(&saved);
        }
    }

    /// Prints the exact command that brings this very content to the other machines.
    fn tell_command(&self, publication: &Publication) {
        // a name with control characters is shown escaped, so the command wouldn't name the file
        let name = publication.name.as_str();
        if legible(name) != name {
            return;
        }
        let local = {
            let mut state = self.lock();
            if !state.tells_command(COMMANDS, publication.size) {
                return;
            }
            state.tracker() == TrackerKind::Ours { local: true }
        };
        let loopback = self
            .0
            .config
            .tracker
            .parse()
            .is_ok_and(|ip: IpAddr| ip.is_loopback());
        let tracker = match own_addresses(1).first() {
            Some(own) if loopback && !local => own.to_string(),
            _ => self.0.config.tracker.clone(),
        };
        let (port, flags) = (
            self.0.config.tracker_port,
            fetch_flags(name, &publication.md5.to_string()),
        );
        let command = format!("client {tracker} {port} DIR {flags}");
        self.say(&Event::Command { command });
    }

    /// Reports the peers that have another content than this peer's, which is the swarm's.
    pub(super) fn tell_conflicts(&self) {
        let conflicts = self.lock().new_conflicts();
        for (name, others) in conflicts {
            for other in others {
                self.say(&Event::OtherCopy {
                    name: name.to_string(),
                    peer: legible(&other.peer),
                    md5: other.md5.to_string(),
                });
            }
        }
    }

    /// An original tracker takes no publications: the files that are here are shared without them.
    pub(super) fn announce_all(&self) {
        let announced = self.lock().announce_all();
        for torrent in announced {
            self.say(&Event::Sharing {
                name: torrent.name().to_string(),
                size: torrent.size(),
                md5: torrent.md5().to_string(),
            });
        }
    }

    fn ask_for_torrent(&self, summary: &Summary) -> Result<Connection, ClientError> {
        let tracker = self.to_tracker()?;
        let name = summary.name.clone();
        tracker.send(&ToTracker::GetTorrent { name })?;
        Ok(tracker)
    }

    /// Returns the `.torrent` of a listed file: as an earlier run kept it, or from the tracker; a head's from whoever hashes it.
    pub(super) fn get_torrent(&self, summary: &Summary) -> Result<Torrent, ClientError> {
        let fits = |torrent: &Torrent| {
            let list = summary.checkpoints;
            (torrent.name(), torrent.md5(), torrent.size())
                == (&summary.name, summary.md5, summary.size)
                && torrent.head_of() == summary.head_of
                && list.is_none_or(|list| list == torrent.checkpoints_md5())
        };
        let saved = self.0.store.saved_content(&summary.name, summary.md5);
        if let Some(saved) = saved.filter(|saved| fits(&saved.torrent)) {
            return Ok(saved.torrent);
        }
        let mut asked = match summary.head_of {
            Some(_) => self.ask_for_head(summary)?,
            None => self.ask_for_torrent(summary)?,
        };
        let reply: Reply = asked.expect(HEADER, TORRENT_CAP)?;
        let why = reply.error.map(|why| legible(&why));
        let why = why.unwrap_or("the answer has none".to_owned());
        let torrent = reply.torrent.ok_or(ClientError::Refused(why))?;
        if !fits(&torrent) {
            return Err(ClientError::Unexpected(
                "the .torrent is of another file than the listed one",
            ));
        }
        Ok(torrent)
    }
}
