//! The `.torrent`s' way to the tracker and back.

use std::io;
use std::time::Instant;

use super::Client;
use crate::events::Event;
use crate::net::HEADER;
use crate::protocol::{ORIGINAL_CAP, Reply, Summary, TORRENT_CAP, ToTracker, invalid};
use crate::torrent::{Torrent, legible};

impl Client {
    /// Hands the tracker what it should have and hasn't: a new file, or all of them, where it lost its own.
    pub(super) fn publish(&self) {
        let (unpublished, contradicted) = {
            let mut state = self.lock();
            (state.unpublished(), state.contradicted())
        };
        for (name, here, swarm) in contradicted {
            let (name, md5, swarm) = (name.to_string(), here.to_string(), Some(swarm.to_string()));
            let why = String::new();
            self.say(&Event::Refused {
                name,
                md5,
                swarm,
                why,
            });
        }
        for torrent in unpublished {
            let reply = self.to_tracker().and_then(|mut tracker| {
                tracker.send(&ToTracker::Publish {
                    port: self.0.port,
                    torrent: (*torrent).clone(),
                })?;
                tracker.expect::<Reply>(HEADER, ORIGINAL_CAP)
            });
            match reply {
                Err(fault) => return self.unreachable(fault.to_string()),
                Ok(Reply { error: None, .. }) => {
                    self.lock().published(&torrent, Instant::now());
                    self.say(&Event::Published {
                        name: torrent.name().to_string(),
                        md5: torrent.md5().to_string(),
                    });
                    self.list_now();
                }
                Ok(Reply {
                    error: Some(why),
                    md5,
                    ..
                }) => {
                    let why = legible(&why);
                    let news = self.lock().refused(&torrent, md5, &why);
                    if news {
                        let (name, swarm) =
                            (torrent.name().to_string(), md5.map(|md5| md5.to_string()));
                        self.say(&Event::Refused {
                            name,
                            md5: torrent.md5().to_string(),
                            swarm,
                            why,
                        });
                    }
                }
            }
        }
        self.tell_all();
    }

    pub(super) fn get_torrent(&self, summary: &Summary) -> io::Result<Torrent> {
        if let Some(saved) = self.0.store.saved(&summary.name)
            && (saved.torrent.md5(), saved.torrent.size()) == (summary.md5, summary.size)
        {
            return Ok(saved.torrent);
        }
        let mut tracker = self.to_tracker()?;
        tracker.send(&ToTracker::GetTorrent {
            name: summary.name.clone(),
        })?;
        let reply: Reply = tracker.expect(HEADER, TORRENT_CAP)?;
        let torrent = reply.torrent.ok_or_else(|| {
            io::Error::other(
                reply
                    .error
                    .map_or("the answer has none".to_owned(), |why| legible(&why)),
            )
        })?;
        if (torrent.name(), torrent.md5(), torrent.size())
            != (&summary.name, summary.md5, summary.size)
        {
            return Err(invalid("the .torrent isn't of the file that was listed"));
        }
        Ok(torrent)
    }
}
