//! What is published: which content stands under a name, and who has it. Pure.
//!
//! The original has no such thing: two contents under one name would mix.

use std::net::SocketAddr;
use std::sync::Arc;

use rand::Rng;
use rand::seq::index;

use super::files::summary_for;
use super::has::{FileNo, Held};
use super::holding::Changes;
use super::publisher::Publisher;
use super::{Ends, FILES_PER_ADDRESS, NAME_WORK, PEERS_LISTED, Refusal, Roster, WORK_AT_ONCE};
use crate::content::{Offer, Offerer, Standing, Verdict, decide};
use crate::md5::Digest;
use crate::protocol::{Publication, Summary};
use crate::torrent::{Name, Source};

/// What is published under a name, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// All that is told of it.
    pub summary: Summary,
    /// Its publisher's key, which isn't told.
    pub key: Option<String>,
}

/// What stands under a name at the moment.
#[derive(Clone)]
pub struct Stands {
    /// All that is told of it.
    pub summary: Arc<Summary>,
    /// Its publisher's key, which isn't told.
    pub key: Option<Arc<str>>,
}

/// What becomes of a content that a peer publishes.
#[derive(Clone)]
pub struct Judged {
    /// By the rules.
    pub verdict: Verdict,
    /// Who publishes it.
    pub by: Offerer,
    /// What stands under the name so far.
    pub stands: Option<Stands>,
}

/// A record on its way in, see [`Roster::publish_on`].
pub struct Publishing {
    /// What was listed under the name until now.
    before: Option<(FileNo, Arc<str>)>,
    no: FileNo,
    /// Whether what was listed is of this content.
    stays: bool,
}

impl Roster {
    /// Takes a record from the disk.
    pub fn load(&mut self, record: Record) {
        let no = self.files.intern(record.summary.name.as_str());
        let addr: Option<SocketAddr> = record.summary.publisher.parse().ok();
        let publisher = Publisher {
            key: record.key.map(Into::into),
            addr,
            second: None,
            counts_for: addr.map(|addr| addr.ip()),
            loaded: true,
        };
        self.set_record(no, record.summary, publisher);
    }

    fn set_record(&mut self, no: FileNo, mut record: Summary, publisher: Publisher) {
        record.here = false;
        record.others.clear();
        if let Some(ip) = publisher.counts_for {
            self.addresses.change(ip, |tally| tally.files += 1);
        }
        self.files.set_record(no, record, publisher);
        self.see_publisher(no, None);
    }

    /// Whether a content may be published by the peer at this address, by the rules in [`crate::content`]. `settling` says that
    /// the tracker has just started.
    ///
    /// # Errors
    /// Where too many files are published from this address.
    pub fn judge(
        &mut self,
        from: SocketAddr,
        key: &str,
        new: &Publication,
        settling: bool,
    ) -> Result<Judged, Refusal> {
        let no = self.files.find(new.name.as_str());
        let no = no.filter(|no| self.files[*no].record.is_some());
        let by = no.map_or(Offerer::Another, |no| self.offerer(no, from, key));
        if let Some(no) = no.filter(|_| by == Offerer::CopiedFolder) {
            self.files[no].publisher.second = Some(from);
        }
        let file = no.map(|no| &self.files[no]);
        let standing = file.and_then(|file| {
            let record = file.record.as_deref()?;
            Some(Standing {
                size: record.size,
                md5: record.md5,
                checkpoints: record.checkpoints,
                published: record.published,
                pinned: record.pinned,
                keyed: file.publisher.key.is_some(),
                publisher_is_here: record.here,
                settling: settling && file.publisher.loaded,
            })
        });
        let offer = Offer {
            size: new.size,
            md5: new.md5,
            checkpoints: new.checkpoints,
            own: new.own,
            pinned: new.pinned,
            published: new.published,
            by,
        };
        let verdict = decide(standing.as_ref(), &offer);
        let counts_already = file.is_some_and(|it| it.publisher.counts_for == Some(from.ip()));
        let is_kept = matches!(
            verdict,
            Verdict::New | Verdict::Replaces | Verdict::Corrects
        );
        let full = self.addresses.tally(from.ip()).files >= FILES_PER_ADDRESS;
        if is_kept && full && !counts_already {
            return Err(Refusal::Files(from.ip()));
        }
        let stands = file.and_then(|file| {
            Some(Stands {
                summary: Arc::clone(file.record.as_ref()?),
                key: file.publisher.key.clone(),
            })
        });
        Ok(Judged {
            verdict,
            by,
            stands,
        })
    }

    /// Records what [`Roster::judge`] allowed. The sender has the file, by its word; what others listed under the name of a
    /// content that is replaced means nothing any more.
    pub fn publish(&mut self, sender: SocketAddr, record: Record, verdict: Verdict) {
        let mut publishing = self.begin_publish(sender, record, verdict);
        while self.publish_on(&mut publishing) {}
    }

    /// Begins to record it, which [`Roster::publish_on`] goes on with. In between, those who listed it before have, as others
    /// are told, what they listed. Where the sender is credited with what stands already, the record takes its address, and the
    /// key and the pin from here.
    pub fn begin_publish(
        &mut self,
        sender: SocketAddr,
        record: Record,
        verdict: Verdict,
    ) -> Publishing {
        let is_kept = matches!(
            verdict,
            Verdict::New | Verdict::Replaces | Verdict::Corrects
        );
        let name = record.summary.name.clone();
        let before = self.files.find(name.as_str()).filter(|_| is_kept);
        let before = before.map(|no| (no, Arc::clone(&self.files[no].name)));
        if let Some((no, _)) = before {
            let counted = std::mem::take(&mut self.files[no].publisher).counts_for;
            if let Some(ip) = counted {
                self.addresses.change(ip, |tally| tally.files -= 1);
            }
            // without holders it is gone with its record
            drop(self.files.take_record(no));
        }
        let no = match is_kept {
            false => self.files.intern(name.as_str()),
            true => self.files.renew(name.as_str()),
        };
        if is_kept {
            let publisher = Publisher {
                key: record.key.map(Into::into),
                addr: record.summary.publisher.parse().ok(),
                second: None,
                counts_for: Some(sender.ip()),
                loaded: false,
            };
            self.set_record(no, record.summary, publisher);
        } else if verdict == (Verdict::Same { credited: true }) && self.files[no].record.is_some() {
            self.files[no].publisher.key = record.key.map(Into::into);
            self.publisher_moves(no, sender);
            let pinned = record.summary.pinned;
            if self.files[no]
                .record
                .as_ref()
                .is_some_and(|it| it.pinned != pinned)
            {
                self.files
                    .change_record(no, |record| record.pinned = pinned);
            }
        }
        if let Some(peer) = self.by_key.get(&self.reach.key(sender)).copied() {
            let whole = self.files.whole(no);
            self.change(peer, Changes::from([(no, Some(whole))]));
        }
        if self.files.get(no).is_some() {
            self.see_publisher(no, None);
        }
        let stays = verdict != Verdict::Replaces;
        Publishing { before, no, stays }
    }

    /// Sees what some more of those have who listed the name before. Whether there are others yet.
    pub fn publish_on(&mut self, publishing: &mut Publishing) -> bool {
        let Publishing { before, no, stays } = publishing;
        let Some((before, name)) = before else {
            return false;
        };
        let mut room = WORK_AT_ONCE;
        while room > 0 {
            // once nobody has it under the old number, there is no such file
            let there = self.files.is(*before, name);
            let Some(peer) = there.then(|| self.files[*before].holders.last()).flatten() else {
                return false;
            };
            let (peer, has) = (*peer, Arc::clone(&self.peers[*peer].has));
            let mut changes = Changes::from([(*before, None)]);
            if let (Some(listed), None) = (has.of(*before).filter(|_| *stays), has.of(*no)) {
                let held = self.under_record(*no, listed, has.v.is_some());
                changes.extend(held.map(|held| (*no, Some(held))));
            }
            let n_pieces = self.files[*no].counts.n_pieces() as usize;
            room = room.saturating_sub(NAME_WORK + n_pieces + has.held.len());
            self.change(peer, changes);
        }
        true
    }

    /// What somebody has of a file that was published after it was listed; nothing where that was in another cut.
    fn under_record(&self, no: FileNo, listed: &Held, ours: bool) -> Option<Held> {
        let n_pieces = self.files[no].counts.n_pieces();
        // what ours listed before it was published is the file
        if listed.named && ours && n_pieces > 0 {
            return Some(self.files.whole(no));
        }
        let bits = listed.bits.clone().filter(|bits| bits.len() == n_pieces);
        (listed.named || bits.is_some()).then(|| Held {
            named: listed.named,
            bits,
            ..self.files.none(no)
        })
    }

    /// Who published a file and who has pieces of it; `None` where the record isn't there or of another content.
    pub fn sources(
        &self,
        name: &Name,
        md5: Digest,
        asker: Ends,
        rng: &mut impl Rng,
    ) -> Option<(String, Vec<Source>)> {
        let file = &self.files[self.files.find(name.as_str())?];
        let record = file.record.as_ref().filter(|record| record.md5 == md5)?;
        let some = index::sample(
            rng,
            file.holders.len(),
            file.holders.len().min(PEERS_LISTED),
        );
        let sources = some.into_iter().map(|at| {
            let addr = self.peers[file.holders[at]].has.addr;
            let (ip, port) = (asker.finds(addr.ip()).to_string(), addr.port());
            Source { ip, port }
        });
        Some((summary_for(record, asker).publisher, sources.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Reach;
    use crate::roster::tests::{
        OURS, folder, lan, list, publication, publish, publish_by, rng, summary, swarm_list,
    };

    #[test]
    fn a_record_without_a_live_holder_is_kept_and_not_listed() {
        let mut roster = Roster::new(Reach::Remote);
        let image = summary("image.iso", 9, "a");
        publish(&mut roster, lan(2), 5, &image).expect("the first");
        let sources = |roster: &Roster, md5| roster.sources(&image.name, md5, lan(9), &mut rng());
        let source = Source {
            ip: "10.0.0.2".to_owned(),
            port: 5,
        };
        assert_eq!(
            sources(&roster, image.md5),
            Some(("10.0.0.2:5".to_owned(), vec![source]))
        );
        assert_eq!(sources(&roster, crate::md5::digest(b"other")), None);
        (0..2).for_each(|_| drop(roster.update_peer_list()));
        assert!(swarm_list(&mut roster, lan(9), 5).torrents.is_empty());
        assert_eq!(
            sources(&roster, image.md5),
            Some(("10.0.0.2:5".to_owned(), vec![]))
        );
        list(&mut roster, lan(3), 5, None, &["image.iso.part0001"], &[]);
        assert_eq!(
            swarm_list(&mut roster, lan(9), 5).torrents.len(),
            1,
            "an original has a piece"
        );
    }

    #[test]
    fn a_publisher_that_is_here_decides_whoever_else_holds_pieces() {
        use crate::content::Reason::PublisherIsHere;
        let (old, new) = (summary("f", 9, "old"), summary("f", 7, "new"));
        let stays = Verdict::Stays(PublisherIsHere);
        let nobody = |_: &mut Roster| ();
        let whole = |r: &mut Roster| list(r, lan(4), 5, OURS, &["f"], &[]);
        let piece = |r: &mut Roster| list(r, lan(4), 5, OURS, &[], &[("f", "8000")]);
        let deleted = |r: &mut Roster| list(r, lan(2), 5, OURS, &[], &[]);
        let left = |r: &mut Roster| (0..2).for_each(|_| drop(r.update_peer_list()));
        let alone = |r: &mut Roster| {
            r.update_peer_list();
            list(r, lan(4), 5, OURS, &["f"], &[]);
            r.update_peer_list();
        };
        let (not_mine, mine) = (
            Verdict::Same { credited: false },
            Verdict::Same { credited: true },
        );
        type Case<'a> = (&'a str, fn(&mut Roster), &'a Summary, u8, Verdict);
        let cases: [Case; 11] = [
            ("its publisher alone has it", nobody, &new, 3, stays),
            ("another has it, too", whole, &new, 3, stays),
            ("its publisher itself", nobody, &new, 2, Verdict::Replaces),
            ("whoever has it whole", whole, &new, 2, Verdict::Replaces),
            ("or in part", piece, &new, 2, Verdict::Replaces),
            (
                "its publisher has deleted it",
                deleted,
                &new,
                3,
                Verdict::Replaces,
            ),
            ("all have left", left, &new, 3, Verdict::Replaces),
            ("its publisher has left", alone, &new, 3, Verdict::Replaces),
            ("the same content", nobody, &old, 3, not_mine),
            ("the same, and all left", left, &old, 3, not_mine),
            ("the same by its publisher", left, &old, 2, mine),
        ];
        for (name, act, content, from, expected) in cases {
            let mut roster = Roster::new(Reach::Remote);
            publish(&mut roster, lan(2), 5, &old).expect("the first");
            act(&mut roster);
            let verdict = publish(&mut roster, lan(from), 5, content);
            assert_eq!(verdict, Ok(expected), "{name}");
            let stands = match expected {
                Verdict::Replaces => (content.md5, format!("10.0.0.{from}:5")),
                _ => (old.md5, "10.0.0.2:5".to_owned()),
            };
            let record = roster.files.record("f").expect("published");
            assert_eq!((record.md5, record.publisher.clone()), stands, "{name}");
        }
    }

    /// What is told of `f`: its publisher's port, and whether that is here.
    fn told(roster: &mut Roster) -> (u16, bool) {
        let _ = swarm_list(roster, lan(9), 5);
        let record = roster.files.record("f").expect("published");
        let addr: SocketAddr = record.publisher.parse().expect("an address");
        (addr.port(), record.here)
    }

    #[test]
    fn a_publisher_is_known_by_its_key_at_another_port() {
        let (old, new) = (summary("f", 9, "old"), summary("f", 9, "new"));
        let offer = |roster: &mut Roster, port, content: &Summary| {
            let file = publication(content);
            publish_by(roster, lan(2), port, "key", content, file).expect("a fine offer")
        };
        let mut roster = Roster::new(Reach::Remote);
        assert_eq!(offer(&mut roster, 5, &old), Verdict::New);
        assert_eq!(told(&mut roster), (5, true));
        // while it seems to be at the first port, this may be a copied folder
        let copied = Verdict::Stays(crate::content::Reason::CopiedFolder);
        assert_eq!(offer(&mut roster, 6, &new), copied);
        assert_eq!(
            offer(&mut roster, 6, &old),
            Verdict::Same { credited: false }
        );
        assert_eq!(told(&mut roster), (5, true), "the first is here");
        roster.update_peer_list();
        list(&mut roster, lan(2), 6, OURS, &["f"], &[]);
        roster.update_peer_list();
        assert_eq!(told(&mut roster), (6, true), "the second goes on");
        assert_eq!(offer(&mut roster, 6, &new), Verdict::Replaces);
        (0..2).for_each(|_| drop(roster.update_peer_list()));
        assert!(!roster.files.record("f").expect("kept").here, "swept");
        assert_eq!(
            offer(&mut roster, 7, &new),
            Verdict::Same { credited: true }
        );
        assert_eq!(told(&mut roster), (7, true), "back elsewhere");
    }

    #[test]
    fn a_file_that_its_publisher_hashes_is_here() {
        let old = summary("f", 9, "old");
        let mut roster = Roster::new(Reach::Remote);
        publish(&mut roster, lan(2), 5, &old).expect("the first");
        folder(&mut roster, lan(2), 5, &["g"], &["f"], &[]);
        assert_eq!(told(&mut roster), (5, true), "it is coming");
        folder(&mut roster, lan(2), 5, &["f"], &[], &[]);
        assert_eq!(told(&mut roster), (5, true), "it is whole");
        folder(&mut roster, lan(2), 5, &["g"], &[], &[]);
        assert_eq!(told(&mut roster), (5, false), "it was deleted");
    }

    #[test]
    fn what_was_loaded_is_kept_while_the_tracker_settles() {
        use crate::content::Reason::{Pinned, Settling};
        let (old, new) = (summary("f", 9, "old"), summary("f", 9, "new"));
        let addr: SocketAddr = "10.0.0.3:5".parse().expect("an address");
        let judge = |roster: &mut Roster, key: &str, content: &Summary, settling| {
            let file = publication(content);
            let judged = roster.judge(addr, key, &file, settling);
            judged.expect("a fine offer").verdict
        };
        for pinned in [false, true] {
            let mut roster = Roster::new(Reach::Remote);
            let summary = Summary {
                publisher: "10.0.0.2:5".to_owned(),
                checkpoints: Some(publication(&old).checkpoints),
                pinned,
                ..old.clone()
            };
            let key = Some("key".to_owned());
            roster.load(Record { summary, key });
            let stays = Verdict::Stays(Settling);
            for key in ["key", "other"] {
                assert_eq!(judge(&mut roster, key, &new, true), stays);
            }
            let mine = Verdict::Same { credited: true };
            assert_eq!(judge(&mut roster, "key", &old, true), mine);
            let then = match pinned {
                true => Verdict::Stays(Pinned),
                false => Verdict::Replaces,
            };
            assert_eq!(judge(&mut roster, "other", &new, false), then);
            publish_by(&mut roster, lan(3), 5, "key", &new, publication(&new)).expect("its own");
            let again = judge(&mut roster, "key", &old, true);
            assert_eq!(again, Verdict::Replaces, "it was published in this run");
        }
    }

    #[test]
    fn whoever_has_the_file_is_credited_where_nobodys_key_is_known() {
        let f = Summary {
            publisher: "10.0.0.2:5".to_owned(),
            ..summary("f", 9, "a")
        };
        let received = Publication {
            own: false,
            publisher: f.publisher.clone(),
            ..publication(&f)
        };
        let mut roster = Roster::new(Reach::Remote);
        let verdict = publish_by(&mut roster, lan(3), 5, "other", &f, received);
        assert_eq!(verdict, Ok(Verdict::New));
        list(&mut roster, lan(2), 5, OURS, &["f"], &[]);
        assert_eq!(told(&mut roster), (5, false), "its word doesn't count yet");
        let pinned = Publication {
            pinned: true,
            ..publication(&f)
        };
        let verdict = publish_by(
            &mut roster,
            lan(2),
            6,
            "key",
            &Summary {
                pinned: true,
                ..f.clone()
            },
            pinned,
        );
        assert_eq!(verdict, Ok(Verdict::Same { credited: true }));
        assert_eq!(told(&mut roster), (6, true));
        assert!(roster.files.record("f").expect("published").pinned);
    }

    #[test]
    fn what_ours_listed_before_it_was_published_is_the_file() {
        for n_pieces in [1, 9] {
            let mut roster = Roster::new(Reach::Remote);
            list(&mut roster, lan(3), 5, OURS, &["f"], &[]);
            list(&mut roster, lan(4), 5, None, &["f"], &[]);
            publish(&mut roster, lan(2), 5, &summary("f", n_pieces, "a")).expect("the first");
            let listed = swarm_list(&mut roster, lan(9), 5).peers;
            assert!(
                listed.iter().all(|peer| peer.file_list == ["f"]),
                "{listed:?}"
            );
            let ours = roster.find(lan(3), 5, OURS).expect("it listed");
            let [held] = &roster.peers[ours].has.held[..] else {
                panic!("one file")
            };
            assert_eq!(
                (held.named, held.bits.is_some()),
                (n_pieces == 1, n_pieces > 1)
            );
        }
    }

    #[test]
    fn what_was_listed_of_a_content_that_is_replaced_means_nothing_any_more() {
        let mut roster = Roster::new(Reach::Remote);
        publish(&mut roster, lan(2), 5, &summary("f", 9, "old")).expect("the first");
        list(&mut roster, lan(2), 5, OURS, &[], &[("f", "8000")]);
        list(&mut roster, lan(4), 5, OURS, &["f"], &[]);
        publish(&mut roster, lan(3), 5, &summary("f", 9, "new")).expect("a fine offer");
        let answer = swarm_list(&mut roster, lan(9), 5);
        let holders: Vec<_> = answer
            .peers
            .iter()
            .filter(|peer| !peer.file_list.is_empty())
            .map(|peer| &peer.ip)
            .collect();
        assert_eq!(holders, ["10.0.0.3"]);
        let again = publish(&mut roster, lan(3), 5, &summary("f", 9, "newer"));
        assert_eq!(
            again,
            Ok(Verdict::Replaces),
            "its publisher has changed its mind"
        );
    }

    #[test]
    fn what_was_listed_of_another_cut_of_the_content_means_nothing() {
        let mut roster = Roster::new(Reach::Remote);
        let old = summary("f", 9, "a");
        publish(&mut roster, lan(2), 5, &old).expect("the first");
        (0..2).for_each(|_| drop(roster.update_peer_list()));
        let joined = roster.append_client(lan(3), 5, OURS).expect("a peer");
        let new = Summary {
            n_pieces: 5,
            ..old.clone()
        };
        let (file, key) = (publication(&new), "other".to_owned());
        let judged = roster.judge(joined.addr, &key, &file, false);
        assert_eq!(judged.expect("fine").verdict, Verdict::Corrects);
        list(&mut roster, lan(4), 5, OURS, &[], &[("f", "8000")]);
        let (summary, key) = (new, Some(key));
        roster.publish(joined.addr, Record { summary, key }, Verdict::Corrects);
        let listed = swarm_list(&mut roster, lan(9), 5).peers;
        assert_eq!((listed[0].file_list.len(), listed[1].pieces.len()), (1, 0));
    }

    #[test]
    fn a_record_from_the_disk_knows_its_publisher() {
        let (old, new) = (summary("f", 9, "old"), summary("f", 9, "new"));
        for (key, stays) in [(Some("key".to_owned()), true), (None, false)] {
            let mut roster = Roster::new(Reach::Remote);
            let summary = Summary {
                publisher: "10.0.0.2:5".to_owned(),
                ..old.clone()
            };
            roster.load(Record { summary, key });
            list(&mut roster, lan(2), 5, OURS, &["f"], &[]);
            let verdict = publish(&mut roster, lan(3), 6, &new).expect("a fine offer");
            assert_eq!(matches!(verdict, Verdict::Stays(_)), stays, "{verdict:?}");
        }
    }
}
