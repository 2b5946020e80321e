//! What is published: the `.torrent`s that the tracker takes, keeps and hands out.
//!
//! This module joins the rules ([`crate::content`]), the roster and the folder. Between the verdict and the record it holds
//! the one publishing permit, for one file at a time; it waits for that no longer than a peer waits for the answer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use super::TrackerShared;
use super::events::TrackerEvent;
use super::reasons::why_it_stays;
use super::replies::TrackerReply;
use super::torrent_folder::PublisherNote;
use crate::content::{Offerer, Reason, Verdict};
use crate::net::addresses::network;
use crate::protocol::{KEY_CAP, Outcome, PUBLICATIONS, Publication, Reply, Summary, VERSION};
use crate::roster::{Endpoints, FileSources, Judged, Record, TrackerRefusal, summary_for};
use crate::torrent::{Name, Torrent, legible};

/// How many characters are kept of a received copy's publisher: an address has fewer.
const PUBLISHER_CHARS: usize = 80;

/// Who publishes.
struct PublishingPeer<'a> {
    addr: SocketAddr,
    from: Endpoints,
    key: &'a str,
    /// Until when it waits for the permit, in all.
    waits_until: Instant,
}

/// What the tracker does with a content that was judged.
enum PublishDecision {
    /// It stands, with this record.
    Records(Record),
    /// Nothing is recorded.
    Answers(Outcome),
}

impl TrackerShared {
    pub(super) fn handle_publish(
        &self,
        from: Endpoints,
        port: u16,
        key: &str,
        files: Vec<Publication>,
    ) -> Result<TrackerReply<'_>, TrackerRefusal> {
        if key.is_empty() || key.len() > KEY_CAP {
            return Err(TrackerRefusal::Key(key.len()));
        }
        if files.len() > PUBLICATIONS {
            return Err(TrackerRefusal::Publications(files.len()));
        }
        let joined = self.lock().append_client(from, port, Some(VERSION))?;
        self.tell_joined(joined, Some(VERSION));
        let peer = PublishingPeer {
            addr: joined.addr,
            from,
            key,
            waits_until: Instant::now() + self.permit_wait,
        };
        let mut written = false;
        let publish = |file: Publication| {
            let (name, md5) = (file.name.clone(), file.md5);
            let outcome = self.publish_file(&peer, file, &mut written);
            outcome.unwrap_or_else(|refusal| {
                let why = refusal.to_string();
                match refusal {
                    TrackerRefusal::Busy => self.tell_refusal(peer.addr, &refusal),
                    _ => self.tell_not_published(peer.addr, name, md5, None, &why),
                }
                Outcome::Refused { why }
            })
        };
        let files = files.into_iter().map(publish).collect();
        if written && let Err(fault) = self.torrents.sync() {
            let why = fault.to_string();
            self.report.say(&TrackerEvent::NotSynced { why });
        }
        Ok(TrackerReply::from(Reply {
            files,
            ..Reply::default()
        }))
    }

    fn publish_file(
        &self,
        peer: &PublishingPeer,
        mut file: Publication,
        written: &mut bool,
    ) -> Result<Outcome, TrackerRefusal> {
        let now = seconds_since_1970();
        let left = peer.waits_until.saturating_duration_since(Instant::now());
        let settling = self.started.elapsed() < self.settles_in();
        // who is refused anyway keeps nobody waiting
        self.lock()
            .judge(peer.addr, peer.key, &file, now, settling)?;
        let ip = peer.from.peer;
        let network = (!ip.is_loopback()).then(|| network(ip));
        let permit = self.publishing.acquire_from(network, left);
        let _permit = permit.ok_or(TrackerRefusal::Busy)?;
        let judged = self
            .lock()
            .judge(peer.addr, peer.key, &file, now, settling)?;
        let record = match self.decide(peer, &mut file, &judged, now, written)? {
            PublishDecision::Records(record) => record,
            PublishDecision::Answers(outcome) => return Ok(outcome),
        };
        let outcome = Outcome::Stands {
            mine: record.key.as_deref() == Some(peer.key),
            published: record.summary.published,
            publisher: summary_for(&record.summary, peer.from).publisher,
        };
        let told = record.clone();
        self.lock().publish(peer.addr, record, judged.verdict);
        self.tell_published(peer.addr, &file, &told, judged);
        Ok(outcome)
    }

    /// Keeps on the disk what the verdict says.
    fn decide(
        &self,
        peer: &PublishingPeer,
        file: &mut Publication,
        judged: &Judged,
        now: u64,
        written: &mut bool,
    ) -> Result<PublishDecision, TrackerRefusal> {
        match (judged.verdict, &judged.stands) {
            (Verdict::Stays(reason), Some(stands)) => {
                let stands = summary_for(&stands.summary, peer.from);
                let why = why_it_stays(reason, file, &stands, now);
                let (name, md5) = (file.name.clone(), stands.md5);
                self.tell_not_published(peer.addr, name, file.md5, Some(md5), &why);
                Ok(PublishDecision::Answers(match reason {
                    // nothing is decided yet: it is offered again, whoever comes back meanwhile
                    Reason::Settling if file.own => Outcome::Refused { why },
                    _ => Outcome::OtherStands { md5, why },
                }))
            }
            (Verdict::Same { credited: true }, Some(stands)) => {
                let record = self.keep_credit(peer, file, stands, written)?;
                Ok(PublishDecision::Records(record))
            }
            (Verdict::Same { .. }, Some(stands)) => Ok(PublishDecision::Records(stands.clone())),
            _ => self.keep_torrent(peer, file, judged, now, written),
        }
    }

    /// The sender is the publisher of what stands: its address, its key and its pin are kept.
    fn keep_credit(
        &self,
        peer: &PublishingPeer,
        file: &Publication,
        stands: &Record,
        written: &mut bool,
    ) -> Result<Record, TrackerRefusal> {
        let pinned = file.own && file.pinned;
        let key = Some(peer.key.to_owned());
        let summary = Summary {
            publisher: peer.addr.to_string(),
            pinned,
            ..stands.summary.clone()
        };
        // an address alone isn't worth a write: a publisher that is back tells its own
        let known = (stands.key.as_deref(), stands.summary.pinned);
        if known != (Some(peer.key), pinned) {
            let note = PublisherNote {
                key: key.clone(),
                pinned,
            };
            let rewritten = self.torrents.rewrite(&file.name, &summary.publisher, &note);
            rewritten.map_err(|fault| cant_keep(&file.name, fault))?;
            *written = true;
        }
        Ok(Record { summary, key })
    }

    /// A content that is new here, or a corrected list of checkpoints: its `.torrent` is kept, once it was sent.
    fn keep_torrent(
        &self,
        peer: &PublishingPeer,
        file: &mut Publication,
        judged: &Judged,
        now: u64,
        written: &mut bool,
    ) -> Result<PublishDecision, TrackerRefusal> {
        let Some(mut torrent) = file.torrent.take() else {
            return Ok(PublishDecision::Answers(Outcome::Send));
        };
        if let Some(why) = misfit(file, &torrent) {
            self.tell_not_published(peer.addr, file.name.clone(), file.md5, None, &why);
            return Ok(PublishDecision::Answers(Outcome::Refused { why }));
        }
        let (name, n_pieces) = (torrent.name().as_str(), torrent.n_pieces());
        self.lock().check_publication(peer.addr, name, n_pieces)?;
        let note = credit(peer, file, judged, &mut torrent, now);
        torrent.peers.clear();
        let put = self.torrents.put(&torrent, &note);
        put.map_err(|fault| cant_keep(&file.name, fault))?;
        *written = true;
        Ok(PublishDecision::Records(note.record(&torrent)))
    }

    fn tell_published(
        &self,
        peer: SocketAddr,
        file: &Publication,
        record: &Record,
        judged: Judged,
    ) {
        let verdict = judged.verdict;
        let is_new = matches!(verdict, Verdict::New | Verdict::Replaces);
        let join = match is_new && file.own && record.key.is_some() {
            true => self.notices.join_commands(&record.summary),
            false => Vec::new(),
        };
        let old = judged.stands.map(|stands| stands.summary.md5);
        self.report.say(&TrackerEvent::Published {
            peer,
            name: file.name.clone(),
            size: file.size,
            md5: file.md5,
            own: file.own,
            again: matches!(verdict, Verdict::Same { .. }),
            corrected: verdict == Verdict::Corrects,
            replaced: old.filter(|_| verdict == Verdict::Replaces),
            join,
        });
    }

    /// Hands out a `.torrent`, with the peers that have pieces of its file.
    pub(super) fn handle_get_torrent(
        &self,
        from: Endpoints,
        asker: SocketAddr,
        name: &Name,
    ) -> Result<TrackerReply<'_>, TrackerRefusal> {
        let permit = self.permit_for(self.torrents.len_of(name))?;
        let mut torrent = self
            .torrents
            .get(name)
            .map_err(|fault| match fault.kind() {
                io::ErrorKind::NotFound if self.lock().forget_record(name) => {
                    let gone = format!("the .torrent of {name} is gone; it comes back once who has the file publishes it anew");
                    TrackerRefusal::Disk(gone)
                }
                io::ErrorKind::NotFound => TrackerRefusal::Unknown(name.clone()),
                _ => TrackerRefusal::Disk(format!("can't read the .torrent of {name}: {fault}")),
            })?;
        let md5 = torrent.md5();
        let sources = self.lock().sources(name, md5, from, &mut rand::rng());
        let FileSources { publisher, peers } =
            sources.ok_or(TrackerRefusal::Unknown(name.clone()))?;
        (torrent.publisher, torrent.peers) = (publisher, peers);
        self.report.say(&TrackerEvent::HandedOut {
            to: asker,
            name: name.clone(),
        });
        Ok(TrackerReply {
            _permit: permit,
            ..TrackerReply::from(Reply {
                torrent: Some(torrent),
                ..Reply::default()
            })
        })
    }
}

/// Writes into a `.torrent` that is new here who has published it, and when. Returns what is kept beside it.
fn credit(
    peer: &PublishingPeer,
    file: &Publication,
    judged: &Judged,
    torrent: &mut Torrent,
    now: u64,
) -> PublisherNote {
    let stands = judged.stands.as_ref();
    let corrected = stands.filter(|_| judged.verdict == Verdict::Corrects);
    // a peer that corrects another publisher's list of checkpoints doesn't become the publisher
    let of_another =
        corrected.filter(|stands| judged.by != Offerer::Publisher && stands.key.is_some());
    let note = if let Some(stands) = of_another {
        torrent.publisher = stands.summary.publisher.clone();
        PublisherNote {
            key: stands.key.clone(),
            pinned: stands.summary.pinned,
        }
    } else if file.own || corrected.is_some() {
        let before = stands.map_or(0, |stands| stands.summary.published);
        torrent.published = now.max(before.saturating_add(1));
        torrent.publisher = peer.addr.to_string();
        PublisherNote {
            key: Some(peer.key.to_owned()),
            pinned: file.own && file.pinned,
        }
    } else {
        torrent.published = file.published;
        torrent.publisher = publisher_text(&file.publisher);
        PublisherNote::default()
    };
    // the content is as old as it was
    if let Some(stands) = corrected {
        torrent.published = stands.summary.published;
    }
    note
}

/// Seconds since 1970, by this machine's clock.
fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn cant_keep(name: &Name, fault: impl fmt::Display) -> TrackerRefusal {
    TrackerRefusal::Disk(format!("can't keep the .torrent of {name}: {fault}"))
}

/// Who published a received copy, as its `.torrent` says: that text is somebody else's.
fn publisher_text(text: &str) -> String {
    legible(&text.chars().take(PUBLISHER_CHARS).collect::<String>())
}

/// What is wrong with a `.torrent` that isn't of the content it was sent for.
fn misfit(file: &Publication, torrent: &Torrent) -> Option<String> {
    let differs = |what: &str, expected: &dyn fmt::Display, found: &dyn fmt::Display| {
        let (expected, found) = (expected.to_string(), found.to_string());
        let differs = expected != found;
        differs.then(|| format!("the .torrent has {what} {found}, expected {expected}"))
    };
    let list = "a list of checkpoints with the MD5";
    let head = torrent.head_of();
    let is_head = |of| format!("the .torrent is of the beginning of a file of {of} bytes");
    differs("the name", &file.name, torrent.name())
        .or_else(|| differs("the size", &file.size, &torrent.size()))
        .or_else(|| differs("the MD5", &file.md5, &torrent.md5()))
        .or_else(|| differs(list, &file.checkpoints, &torrent.checkpoints_md5()))
        .or_else(|| head.map(is_head))
}
