//! What is published: the `.torrent`s that the tracker takes, keeps and hands out.

use std::io;
use std::net::SocketAddr;

use super::events::Event;
use super::{Inner, SMALL, done};
use crate::protocol::{Reply, Summary, VERSION, to_bytes};
use crate::roster::{Ends, Refusal, Verdict};
use crate::torrent::{Name, Torrent};

impl Inner {
    pub(super) fn handle_publish(
        &self,
        from: Ends,
        port: u16,
        mut torrent: Torrent,
    ) -> Result<Vec<u8>, Refusal> {
        let _turn = self.publishing.take();
        let joined = self.lock().append_client(from, port, Some(VERSION))?;
        self.tell_joined(joined, Some(VERSION));
        torrent.publisher = joined.addr.to_string();
        torrent.peers.clear();
        let record = Summary::of(&torrent);
        let verdict = self.lock().judge(&record)?;
        if verdict != Verdict::Again {
            self.shelf.put(&torrent).map_err(|fault| {
                Refusal::Disk(format!(
                    "can't keep the .torrent of {}: {fault}",
                    record.name
                ))
            })?;
        }
        let content = record.clone();
        let mut publishing = self.lock().begin_publish(joined.addr, content, verdict);
        self.in_turns(|roster| roster.publish_on(&mut publishing));
        self.report.say(&Event::Published {
            peer: joined.addr,
            name: record.name,
            size: record.size,
            md5: record.md5,
            again: verdict == Verdict::Again,
            replaced: match verdict {
                Verdict::Replaces(old) => Some(old),
                Verdict::New | Verdict::Again => None,
            },
        });
        if verdict != Verdict::Again
            && let Err(fault) = self.shelf.sync()
        {
            let why = fault.to_string();
            self.report.say(&Event::NotSynced { why });
        }
        Ok(done())
    }

    pub(super) fn handle_get_torrent(
        &self,
        from: Ends,
        asker: SocketAddr,
        name: &Name,
    ) -> Result<Vec<u8>, Refusal> {
        let _turn = (self.shelf.len_of(name) > SMALL as u64).then(|| self.large.take());
        let mut torrent = self.shelf.get(name).map_err(|fault| match fault.kind() {
            io::ErrorKind::NotFound => Refusal::Unknown(name.clone()),
            _ => Refusal::Disk(format!("can't read the .torrent of {name}: {fault}")),
        })?;
        let md5 = torrent.md5();
        let sources = self.lock().sources(name, md5, from, &mut rand::rng());
        (torrent.publisher, torrent.peers) = sources.ok_or(Refusal::Unknown(name.clone()))?;
        self.report.say(&Event::HandedOut {
            to: asker,
            name: name.clone(),
        });
        Ok(to_bytes(&Reply {
            v: VERSION,
            torrent: Some(torrent),
            ..Reply::default()
        }))
    }
}
