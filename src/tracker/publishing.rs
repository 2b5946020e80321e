//! What is published: the `.torrent`s that the tracker takes, keeps and hands out.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::events::Event;
use super::reasons::why_it_stays;
use super::shelf::Kept;
use super::{Inner, SMALL};
use crate::content::{Offerer, Verdict};
use crate::protocol::{
    KEY_CAP, Outcome, PUBLICATIONS, Publication, Reply, Summary, VERSION, to_bytes,
};
use crate::roster::{Ends, Judged, Record, Refusal, summary_for};
use crate::torrent::{Name, Torrent, legible};

/// For so many new files in a run the tracker prints the command by which other machines fetch exactly that content.
const COMMANDS: usize = 3;
/// The most characters that are kept of a received copy's publisher: an address has fewer.
const PUBLISHER: usize = 80;

/// Who publishes.
struct Sender<'a> {
    addr: SocketAddr,
    from: Ends,
    key: &'a str,
}

impl Inner {
    pub(super) fn handle_publish(
        &self,
        from: Ends,
        port: u16,
        key: &str,
        files: Vec<Publication>,
    ) -> Result<Vec<u8>, Refusal> {
        let files = self.publish_all(from, port, key, files)?;
        Ok(to_bytes(&Reply {
            v: VERSION,
            files,
            ..Reply::default()
        }))
    }

    fn publish_all(
        &self,
        from: Ends,
        port: u16,
        key: &str,
        files: Vec<Publication>,
    ) -> Result<Vec<Outcome>, Refusal> {
        if key.is_empty() || key.len() > KEY_CAP {
            return Err(Refusal::Key(key.len()));
        }
        if files.len() > PUBLICATIONS {
            return Err(Refusal::Publications(files.len()));
        }
        let _turn = self.publishing.take();
        let joined = self.lock().append_client(from, port, Some(VERSION))?;
        self.tell_joined(joined, Some(VERSION));
        let sender = Sender {
            addr: joined.addr,
            from,
            key,
        };
        let mut written = false;
        let publish = |file: Publication| {
            let (name, md5) = (file.name.clone(), file.md5);
            self.publish_file(&sender, file, &mut written)
                .unwrap_or_else(|refusal| {
                    let why = refusal.to_string();
                    self.tell_not_published(joined.addr, name, md5, None, &why);
                    Outcome::Refused { why }
                })
        };
        let outcomes = files.into_iter().map(publish).collect();
        if written && let Err(fault) = self.shelf.sync() {
            let why = fault.to_string();
            self.report.say(&Event::NotSynced { why });
        }
        Ok(outcomes)
    }

    fn publish_file(
        &self,
        sender: &Sender,
        mut file: Publication,
        written: &mut bool,
    ) -> Result<Outcome, Refusal> {
        // another tracker's clock may have been ahead
        let now = seconds_since_1970();
        file.published = file.published.min(now);
        let settling = self.started.elapsed() < self.settles_in;
        let judged = self
            .lock()
            .judge(sender.addr, sender.key, &file, settling)?;
        let record = match (judged.verdict, &judged.stands) {
            (Verdict::Stays(reason), Some(stands)) => {
                let stands = summary_for(&stands.summary, sender.from);
                let why = why_it_stays(reason, &file, &stands, now);
                let md5 = stands.md5;
                self.tell_not_published(sender.addr, file.name, file.md5, Some(md5), &why);
                return Ok(Outcome::OtherStands { md5, why });
            }
            (Verdict::Same { credited: true }, Some(stands)) => {
                let pinned = file.own && file.pinned;
                let summary = Summary {
                    publisher: sender.addr.to_string(),
                    pinned,
                    ..(*stands.summary).clone()
                };
                // an address alone isn't worth a write: a publisher that is back tells its own
                let known = (stands.key.as_deref(), stands.summary.pinned);
                if known != (Some(sender.key), pinned) {
                    let kept = Kept {
                        key: Some(sender.key.to_owned()),
                        pinned,
                    };
                    self.shelf
                        .rewrite(&file.name, &summary.publisher, &kept)
                        .map_err(|fault| cant_keep(&file.name, fault))?;
                    *written = true;
                }
                Record {
                    summary,
                    key: Some(sender.key.to_owned()),
                }
            }
            (Verdict::Same { .. }, Some(stands)) => Record {
                summary: (*stands.summary).clone(),
                key: stands.key.as_deref().map(str::to_owned),
            },
            (verdict, stands) => {
                let Some(mut torrent) = file.torrent.take() else {
                    return Ok(Outcome::Send);
                };
                if let Some(why) = misfit(&file, &torrent) {
                    let name = file.name.clone();
                    self.tell_not_published(sender.addr, name, file.md5, None, &why);
                    return Ok(Outcome::Refused { why });
                }
                let corrected = stands.as_ref().filter(|_| verdict == Verdict::Corrects);
                let kept = self.credit(sender, &file, &judged, &mut torrent, now);
                if let Some(corrected) = corrected {
                    torrent.published = corrected.summary.published;
                }
                torrent.peers.clear();
                self.shelf
                    .put(&torrent, &kept)
                    .map_err(|fault| cant_keep(&file.name, fault))?;
                *written = true;
                let summary = Summary {
                    pinned: kept.pinned,
                    ..Summary::of(&torrent)
                };
                Record {
                    summary,
                    key: kept.key,
                }
            }
        };
        let outcome = Outcome::Stands {
            mine: record.key.as_deref() == Some(sender.key),
            published: record.summary.published,
            publisher: summary_for(&record.summary, sender.from).publisher,
        };
        let (key, verdict) = (record.key.is_some(), judged.verdict);
        let mut publishing = self.lock().begin_publish(sender.addr, record, verdict);
        self.in_turns(|roster| roster.publish_on(&mut publishing));
        let is_new = matches!(verdict, Verdict::New | Verdict::Replaces) && file.own && key;
        let join = match is_new && self.commands_told.fetch_add(1, Ordering::Relaxed) < COMMANDS {
            true => self
                .joining
                .pinned(file.name.as_str(), &file.md5.to_string()),
            false => Vec::new(),
        };
        let old = judged.stands.map(|stands| stands.summary.md5);
        self.report.say(&Event::Published {
            peer: sender.addr,
            name: file.name,
            size: file.size,
            md5: file.md5,
            own: file.own,
            again: matches!(verdict, Verdict::Same { .. }),
            corrected: verdict == Verdict::Corrects,
            replaced: old.filter(|_| verdict == Verdict::Replaces),
            join,
        });
        Ok(outcome)
    }

    /// Writes into a `.torrent` that is new here who has published it, and when. Returns what is kept beside.
    fn credit(
        &self,
        sender: &Sender,
        file: &Publication,
        judged: &Judged,
        torrent: &mut Torrent,
        now: u64,
    ) -> Kept {
        let stands = judged.stands.as_ref();
        // whoever corrects another publisher's list of checkpoints doesn't become the publisher
        let of_another = stands.filter(|stands| {
            judged.verdict == Verdict::Corrects
                && judged.by != Offerer::Publisher
                && stands.key.is_some()
        });
        if let Some(stands) = of_another {
            torrent.publisher = stands.summary.publisher.clone();
            return Kept {
                key: stands.key.as_deref().map(str::to_owned),
                pinned: stands.summary.pinned,
            };
        }
        if file.own || judged.verdict == Verdict::Corrects {
            let before = stands.map_or(0, |stands| stands.summary.published);
            torrent.published = now.max(before.saturating_add(1));
            torrent.publisher = sender.addr.to_string();
            return Kept {
                key: Some(sender.key.to_owned()),
                pinned: file.own && file.pinned,
            };
        }
        torrent.published = file.published;
        torrent.publisher = publisher_text(&file.publisher);
        Kept::default()
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

/// Seconds since 1970, by this machine's clock.
pub(super) fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn cant_keep(name: &Name, fault: impl fmt::Display) -> Refusal {
    Refusal::Disk(format!("can't keep the .torrent of {name}: {fault}"))
}

/// Who published a received copy, as its `.torrent` says: a text of somebody else.
fn publisher_text(text: &str) -> String {
    legible(&text.chars().take(PUBLISHER).collect::<String>())
}

/// What is wrong where a `.torrent` isn't of the content that it was sent for.
fn misfit(file: &Publication, torrent: &Torrent) -> Option<String> {
    let differs = |what: &str, expected: &dyn fmt::Display, found: &dyn fmt::Display| {
        let (expected, found) = (expected.to_string(), found.to_string());
        let differs = expected != found;
        differs.then(|| format!("the .torrent has {what} {found}, expected {expected}"))
    };
    differs("the name", &file.name, torrent.name())
        .or_else(|| differs("the size", &file.size, &torrent.size()))
        .or_else(|| differs("the MD5", &file.md5, &torrent.md5()))
        .or_else(|| {
            let found = torrent.checkpoints_md5();
            differs(
                "a list of checkpoints with the MD5",
                &file.checkpoints,
                &found,
            )
        })
}
