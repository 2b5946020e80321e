//! What is published: which content stands under a name, and who has it.
//!
//! The original has no such thing: two contents under one name would mix. This module keeps the records by the rules of
//! [`crate::content`]; it never writes a `.torrent`, which is the tracker's part.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rand::Rng;
use rand::seq::index;

use super::address::{Endpoints, PeerKey};
use super::files::{Publisher, SharedFile, summary_for};
use super::holdings::Holding;
use super::limits::{PEERS_LISTED, published_as};
use super::{KnownPeer, Roster, TrackerRefusal};
use crate::content::{Offer, Offerer, StandingContent, Verdict, decide};
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

/// What becomes of a content that a peer publishes.
#[derive(Clone)]
pub struct Judged {
    /// The verdict by the rules.
    pub verdict: Verdict,
    /// Who publishes it.
    pub by: Offerer,
    /// What stands under the name so far.
    pub stands: Option<Record>,
}

/// The `.torrent`'s publisher and the peers that have pieces of its file.
#[derive(Debug, PartialEq)]
pub struct FileSources {
    /// Who published it, as the asker finds it.
    pub publisher: String,
    /// Some of those who have the file, or pieces of it.
    pub peers: Vec<Source>,
}

impl SharedFile {
    fn standing(&self, settling: bool) -> Option<StandingContent> {
        let record = self.record.as_deref()?;
        Some(StandingContent {
            size: record.size,
            md5: record.md5,
            checkpoints: record.checkpoints,
            published: record.published,
            pinned: record.pinned,
            keyed: self.publisher.key.is_some(),
            publisher_is_here: record.here,
            settling: settling && self.publisher.loaded,
        })
    }

    /// The address against whose limit its record counts, and as how many files.
    pub(super) fn counts(&self) -> Option<(IpAddr, usize)> {
        let record = self.record.as_ref()?;
        Some((self.publisher.counts_for?, published_as(record.n_pieces)))
    }

    fn standing_record(&self) -> Option<Record> {
        Some(Record {
            summary: self.record.as_deref()?.clone(),
            key: self.publisher.key.clone(),
        })
    }
}

/// Returns true if a content with this verdict is recorded in the place of what stood.
fn is_recorded(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::New | Verdict::Replaces | Verdict::Corrects
    )
}

impl Roster {
    /// Takes a record from the disk.
    pub fn load(&mut self, record: Record) {
        let addr: Option<SocketAddr> = record.summary.publisher.parse().ok();
        let publisher = Publisher {
            key: record.key,
            second: None,
            counts_for: addr.map(|addr| addr.ip()),
            loaded: true,
        };
        self.set_record(record.summary, publisher);
    }

    fn set_record(&mut self, record: Summary, publisher: Publisher) {
        let name = self.files.intern(record.name.as_str());
        let before = self.files.get(&name).and_then(SharedFile::counts);
        self.files.set_record(&name, record, publisher);
        let now = self.files.get(&name).and_then(SharedFile::counts);
        self.quotas.count_record(before, now);
    }

    /// Whether a content may be published by the peer at this address. `settling` says that the tracker has just started.
    ///
    /// # Errors
    /// Fails if too many files are published from this address.
    pub fn judge(
        &mut self,
        from: SocketAddr,
        key: &str,
        new: &Publication,
        now: u64,
        settling: bool,
    ) -> Result<Judged, TrackerRefusal> {
        let name = new.name.as_str();
        let by = match self.files.record(name) {
            Some(_) => self.offerer(name, from, key),
            None => Offerer::Another,
        };
        if by == Offerer::CopiedFolder
            && let Some(publisher) = self.files.publisher_mut(name)
        {
            publisher.second = Some(from);
        }
        let file = self.files.get(name);
        let file = file.filter(|file| file.record.is_some());
        let offer = Offer {
            size: new.size,
            md5: new.md5,
            checkpoints: new.checkpoints,
            own: new.own,
            pinned: new.pinned,
            published: new.published,
            now,
            by,
        };
        // whoever comes back to where it published, with its key, need not be waited for
        let is_back = |file: &SharedFile| self.is_at(from, file.publisher_addr());
        let is_back = by == Offerer::Publisher && file.is_some_and(is_back);
        let standing = file.and_then(|file| file.standing(settling && !is_back));
        let verdict = decide(standing.as_ref(), &offer);
        if is_recorded(verdict) {
            self.check_publication(from, name, 0)?;
        }
        Ok(Judged {
            verdict,
            by,
            stands: file.and_then(SharedFile::standing_record),
        })
    }

    /// Whether a file in `n_pieces` pieces may be published under a name from this address. What it replaces is given back.
    ///
    /// # Errors
    /// Fails if too many files are published from this address.
    pub fn check_publication(
        &self,
        from: SocketAddr,
        name: &str,
        n_pieces: u32,
    ) -> Result<(), TrackerRefusal> {
        let before = self.files.get(name).and_then(SharedFile::counts);
        let own = before.filter(|(ip, _)| *ip == from.ip());
        let given_back = own.map_or(0, |(_, counted)| counted);
        let counted = published_as(n_pieces).saturating_sub(given_back);
        self.quotas.check_publication(from.ip(), counted)
    }

    /// Records what [`Roster::judge`] allowed. The sender has the file, by its word. Where the sender is credited with what
    /// stands already, the record takes its address, its key and its pin.
    pub fn publish(&mut self, sender: SocketAddr, record: Record, verdict: Verdict) {
        let name = record.summary.name.clone();
        if is_recorded(verdict) {
            self.replace_record(sender, record, verdict);
        } else if verdict == (Verdict::Same { credited: true }) {
            self.credit(sender, record);
        }
        let name = self.files.intern(name.as_str());
        let whole = Holding::whole(self.files.n_pieces(&name));
        self.set_file(self.reach.key(sender), &name, Some(whole));
        self.see_publisher(&name, None);
    }

    /// Puts a record in the place of what stood. What peers listed under the name of a content that is replaced means nothing
    /// any more; otherwise it is of this content, as far as it fits.
    fn replace_record(&mut self, sender: SocketAddr, record: Record, verdict: Verdict) {
        let name = self.files.intern(record.summary.name.as_str());
        let listed = self.take_out(&name);
        let publisher = Publisher {
            key: record.key,
            second: None,
            counts_for: Some(sender.ip()),
            loaded: false,
        };
        self.set_record(record.summary, publisher);
        if verdict != Verdict::Replaces {
            self.give_back(&name, listed);
        }
    }

    /// Forgets what is published under a name, as if the tracker had started without it: whoever has it publishes it anew.
    /// Returns false if nothing was.
    pub fn forget_record(&mut self, name: &Name) -> bool {
        let name = self.files.intern(name.as_str());
        let Some(file) = self.files.get(&name).filter(|file| file.record.is_some()) else {
            return false;
        };
        let counted = file.counts();
        let listed = self.take_out(&name);
        self.files.forget_record(&name);
        self.quotas.count_record(counted, None);
        self.give_back(&name, listed);
        true
    }

    /// Takes a name from all who list it. Returns what they had.
    fn take_out(&mut self, name: &Arc<str>) -> Vec<(PeerKey, Holding)> {
        let holders = self.files.get(name).map(|file| file.holders.as_slice());
        let holders = holders.unwrap_or_default().to_vec();
        let had = |key| Some((key, self.set_file(key, name, None)?));
        holders.into_iter().filter_map(had).collect()
    }

    /// Gives back what was taken out, as far as it fits what is published now.
    fn give_back(&mut self, name: &Arc<str>, listed: Vec<(PeerKey, Holding)>) {
        for (key, held) in listed {
            let ours = self.peers.get(&key).is_some_and(KnownPeer::is_ours);
            let held = self.files.understand_anew(name, held, ours);
            if held.is_some() {
                self.set_file(key, name, held);
            }
        }
    }

    /// The sender is the publisher of what stands.
    fn credit(&mut self, sender: SocketAddr, record: Record) {
        let name = record.summary.name.as_str();
        let Some(stands) = self.files.record(name) else {
            return;
        };
        let pin_changes = stands.pinned != record.summary.pinned;
        if let Some(publisher) = self.files.publisher_mut(name) {
            publisher.key = record.key;
        }
        self.publisher_moves(name, sender);
        if pin_changes {
            let pinned = record.summary.pinned;
            self.files
                .change_record(name, |record| record.pinned = pinned);
        }
    }

    /// Who published a file and who has pieces of it; `None` where nothing is published, or another content.
    pub fn sources(
        &self,
        name: &Name,
        md5: Digest,
        asker: Endpoints,
        rng: &mut impl Rng,
    ) -> Option<FileSources> {
        let file = self.files.get(name.as_str())?;
        let record = file.record.as_ref().filter(|record| record.md5 == md5)?;
        let holders = file.holders.as_slice();
        let some = index::sample(rng, holders.len(), holders.len().min(PEERS_LISTED));
        let peers = some.into_iter().filter_map(|at| {
            let peer = self.peers.get(&holders[at])?;
            let (ip, port) = (peer.found_by(asker).to_string(), peer.holdings.addr.port());
            Some(Source { ip, port })
        });
        Some(FileSources {
            publisher: summary_for(record, asker).publisher,
            peers: peers.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Reachability;
    use crate::roster::tests::{
        OURS, folder, lan, list, publication, publish, publish_by, rng, summary, swarm_list,
    };

    #[test]
    fn a_record_without_a_live_holder_is_kept_and_not_listed() {
        let mut roster = Roster::new(Reachability::Remote);
        let image = summary("image.iso", 9, "a");
        publish(&mut roster, lan(2), 5, &image).expect("the first");
        let sources = |roster: &Roster, md5| {
            let sources = roster.sources(&image.name, md5, lan(9), &mut rng());
            sources.map(|of| (of.publisher, of.peers))
        };
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
        assert!(
            swarm_list(&mut roster, lan(9), 5)
                .torrents
                .unwrap_or_default()
                .is_empty()
        );
        assert_eq!(
            sources(&roster, image.md5),
            Some(("10.0.0.2:5".to_owned(), vec![]))
        );
        list(&mut roster, lan(3), 5, None, &["image.iso.part0001"], &[]);
        assert_eq!(
            swarm_list(&mut roster, lan(9), 5)
                .torrents
                .unwrap_or_default()
                .len(),
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
            let mut roster = Roster::new(Reachability::Remote);
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
        let mut roster = Roster::new(Reachability::Remote);
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
        (0..2).for_each(|_| drop(roster.update_peer_list()));
        let file = publication(&new);
        publish_by(&mut roster, lan(3), 8, "key", &new, file).expect("a fine offer");
        assert_eq!(told(&mut roster), (8, true), "at another address");
        let files = [2, 3].map(|last| roster.quotas.usage(lan(last).peer).files);
        assert_eq!(files, [0, 1], "it counts there");
    }

    #[test]
    fn an_original_at_the_publishers_address_is_not_the_publisher() {
        let mut roster = Roster::new(Reachability::Remote);
        publish(&mut roster, lan(2), 5, &summary("f", 9, "a")).expect("the first");
        list(&mut roster, lan(2), 5, None, &["f"], &[]);
        assert_eq!(told(&mut roster), (5, false), "it only lists the name");
    }

    #[test]
    fn what_is_forgotten_is_listed_as_before_it_was_published() {
        let mut roster = Roster::new(Reachability::Remote);
        let f = summary("f", 9, "a");
        publish(&mut roster, lan(2), 5, &f).expect("the first");
        list(&mut roster, lan(3), 5, None, &["f"], &[]);
        assert!(roster.forget_record(&f.name) && !roster.forget_record(&f.name));
        let answer = swarm_list(&mut roster, lan(9), 5);
        assert!(answer.torrents.is_some_and(|files| files.is_empty()));
        let original = answer.peers.iter().find(|peer| peer.v.is_none());
        assert_eq!(original.expect("here").file_list, ["f"]);
        assert_eq!(roster.quotas.usage(lan(2).peer).files, 0);
        let again = publish(&mut roster, lan(2), 5, &f);
        assert_eq!(again, Ok(Verdict::New));
    }

    #[test]
    fn a_file_that_its_publisher_hashes_is_here() {
        let old = summary("f", 9, "old");
        let mut roster = Roster::new(Reachability::Remote);
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
        let judge_at = |addr, roster: &mut Roster, key: &str, content: &Summary, settling| {
            let file = publication(content);
            let judged = roster.judge(addr, key, &file, u64::MAX, settling);
            judged.expect("a fine offer").verdict
        };
        let judge = |roster: &mut Roster, key: &str, content: &Summary, settling| {
            judge_at(addr, roster, key, content, settling)
        };
        let home: SocketAddr = "10.0.0.2:5".parse().expect("an address");
        for pinned in [false, true] {
            let mut roster = Roster::new(Reachability::Remote);
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
            let at_home = |key| judge_at(home, &mut roster, key, &new, true);
            let verdicts = ["key", "other"].map(at_home);
            assert_eq!(verdicts, [Verdict::Replaces, stays], "where it published");
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
        let mut roster = Roster::new(Reachability::Remote);
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
            let mut roster = Roster::new(Reachability::Remote);
            list(&mut roster, lan(3), 5, OURS, &["f"], &[]);
            list(&mut roster, lan(4), 5, None, &["f"], &[]);
            publish(&mut roster, lan(2), 5, &summary("f", n_pieces, "a")).expect("the first");
            let listed = swarm_list(&mut roster, lan(9), 5).peers;
            assert!(
                listed.iter().all(|peer| peer.file_list == ["f"]),
                "{listed:?}"
            );
            let ours = &roster.peers[&roster.key(lan(3), 5, OURS)];
            assert_eq!(ours.holdings.files.len(), 1);
            let held = &ours.holdings.files["f"];
            assert_eq!(
                (held.named, held.pieces.is_some()),
                (n_pieces == 1, n_pieces > 1)
            );
        }
    }

    #[test]
    fn a_list_of_a_replaced_content_means_nothing() {
        let mut roster = Roster::new(Reachability::Remote);
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
        let mut roster = Roster::new(Reachability::Remote);
        let old = summary("f", 9, "a");
        publish(&mut roster, lan(2), 5, &old).expect("the first");
        (0..2).for_each(|_| drop(roster.update_peer_list()));
        let joined = roster.append_client(lan(3), 5, OURS).expect("a peer");
        let new = Summary {
            n_pieces: 5,
            ..old.clone()
        };
        let (file, key) = (publication(&new), "other".to_owned());
        let judged = roster.judge(joined.addr, &key, &file, u64::MAX, false);
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
            let mut roster = Roster::new(Reachability::Remote);
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
