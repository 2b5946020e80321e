//! Nobody waits until a file is hashed: its publisher hands out the beginning that it has hashed so far, and the others
//! fetch that meanwhile. See [`crate::torrent::Torrent::head`] for what a head is.
//!
//! The original lists a file as soon as it stands in its folder, and everybody believes what comes. Here nothing gets a name,
//! or counts as done, before the whole file's MD5 is published; until then all of a head is in the hidden folder.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Client;
use super::errors::ClientError;
use crate::events::Event;
use crate::md5::Digest;
use crate::net::Connection;
use crate::protocol::{FirstMessage, Reply, Summary, VERSION};
use crate::store::{Stamp, StoredPieces};
use crate::torrent::{Name, Torrent};

impl Client {
    /// Hands out what was hashed so far of a file, and tells the others of it.
    pub(super) fn offer_head(&self, head: Torrent, pieces: StoredPieces, stamp: Stamp) {
        if self.0.config.classic {
            return;
        }
        let head = Arc::new(head);
        let (first, offered) = {
            let mut state = self.lock();
            let first = !state.files().contains_key(head.name());
            let offered = state.offer_head(&head, pieces, stamp, Instant::now());
            (first, offered)
        };
        if offered {
            self.say(&Event::Head {
                name: head.name().to_string(),
                size: head.size(),
                of: head.whole_size(),
                here: None,
                first,
            });
            self.notify_all();
            // once the tracker has the list, the others are greeted
            self.list_now();
        }
    }

    /// Answers who asks for the `.torrent` of a head.
    pub(super) fn serve_head(
        &self,
        connection: &Connection,
        name: &Name,
        md5: Digest,
    ) -> Result<(), ClientError> {
        let torrent = self.lock().torrent_of(name, md5);
        let missing = || format!("this head of {name} isn't here");
        Ok(connection.send(&Reply {
            v: VERSION,
            error: torrent.is_none().then(missing),
            torrent: torrent.map(|torrent| (*torrent).clone()),
            ..Reply::default()
        })?)
    }

    /// Asks the peer that hashes a file for the `.torrent` of its head.
    pub(super) fn ask_for_head(&self, summary: &Summary) -> Result<Connection, ClientError> {
        let publisher: Option<SocketAddr> = summary.publisher.parse().ok();
        let unknown = ClientError::Unexpected("the tracker doesn't say where the file is hashed");
        let publisher = self.connect_to(publisher.ok_or(unknown)?)?;
        publisher.send(&FirstMessage::Head {
            head: summary.name.clone(),
            md5: summary.md5,
        })?;
        Ok(publisher)
    }
}
