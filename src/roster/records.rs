//! What is published: which content stands under a name, and who has it. Pure.
//!
//! The original has no such thing: two contents under one name would mix.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rand::Rng;
use rand::seq::index;

use super::files::summary_for;
use super::has::{FileNo, Held};
use super::holding::Changes;
use super::{Ends, FILES_PER_ADDRESS, NAME_WORK, PEERS_LISTED, Refusal, Roster, WORK_AT_ONCE};
use crate::md5::Digest;
use crate::protocol::Summary;
use crate::torrent::{Name, Source};

/// What comes of a content that somebody wants to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    New,
    /// It is there already, and stays as it is.
    Again,
    /// Keep it in the place of the content with this MD5.
    Replaces(Digest),
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
    pub fn load(&mut self, record: Summary) {
        let no = self.files.intern(record.name.as_str());
        self.set_record(no, record);
    }

    fn set_record(&mut self, no: FileNo, record: Summary) {
        if let Some(ip) = ip_of(&record) {
            self.addresses.change(ip, |tally| tally.files += 1);
        }
        self.files.set_record(no, record);
    }

    /// Whether a content may be published. A record stands while a live peer other than its publisher holds a piece of it;
    /// against the same content, also while its publisher lives.
    ///
    /// # Errors
    /// Where another content stands, or too many files are published from its publisher's address.
    pub fn judge(&self, new: &Summary) -> Result<Verdict, Refusal> {
        let no = self.files.find(new.name.as_str());
        let Some(file) = no.map(|no| &self.files[no]) else {
            return self.judge_new(new);
        };
        let Some(old) = &file.record else {
            return self.judge_new(new);
        };
        let publisher = old.publisher.parse().ok();
        let publisher = publisher.and_then(|addr| self.by_key.get(&self.reach.key(addr)).copied());
        let same = (old.size, old.md5) == (new.size, new.md5);
        let stands =
            file.holders.iter().any(|no| Some(*no) != publisher) || same && publisher.is_some();
        match (same, stands) {
            (true, true) => Ok(Verdict::Again),
            (true, false) => Ok(Verdict::New),
            (false, false) => Ok(Verdict::Replaces(old.md5)),
            (false, true) => Err(Refusal::OtherContent {
                name: new.name.clone(),
                stands: old.md5,
                came: new.md5,
            }),
        }
    }

    fn judge_new(&self, new: &Summary) -> Result<Verdict, Refusal> {
        match ip_of(new).filter(|ip| self.addresses.tally(*ip).files >= FILES_PER_ADDRESS) {
            Some(ip) => Err(Refusal::Files(ip)),
            None => Ok(Verdict::New),
        }
    }

    /// Records what [`Roster::judge`] allowed. Its publisher has the file, by its word; what others listed under the name
    /// of a content that is replaced means nothing any more.
    pub fn publish(&mut self, publisher: SocketAddr, summary: Summary, verdict: Verdict) {
        let mut publishing = self.begin_publish(publisher, summary, verdict);
        while self.publish_on(&mut publishing) {}
    }

    /// Begins to record it, which [`Roster::publish_on`] goes on with. In between, those who listed it before have, as others
    /// are told, what they listed.
    pub fn begin_publish(
        &mut self,
        publisher: SocketAddr,
        summary: Summary,
        verdict: Verdict,
    ) -> Publishing {
        let before = self.files.find(summary.name.as_str());
        let before = before.filter(|_| verdict != Verdict::Again);
        let before = before.map(|no| (no, Arc::clone(&self.files[no].name)));
        if let Some((no, _)) = before
            && let Some(ip) = self.files.take_record(no).as_deref().and_then(ip_of)
        {
            self.addresses.change(ip, |tally| tally.files -= 1);
        }
        let no = match verdict {
            Verdict::Again => self.files.intern(summary.name.as_str()),
            Verdict::New | Verdict::Replaces(_) => {
                let no = self.files.renew(summary.name.as_str());
                let publisher = publisher.to_string();
                self.set_record(
                    no,
                    Summary {
                        publisher,
                        ..summary
                    },
                );
                no
            }
        };
        if let Some(peer) = self.by_key.get(&self.reach.key(publisher)).copied() {
            let whole = self.files.whole(no);
            self.change(peer, Changes::from([(no, Some(whole))]));
        }
        let stays = !matches!(verdict, Verdict::Replaces(_));
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

fn ip_of(record: &Summary) -> Option<IpAddr> {
    Some(record.publisher.parse::<SocketAddr>().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Reach;
    use crate::roster::tests::{OURS, lan, list, publish, rng, summary, swarm_list};

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
    fn another_content_is_refused_while_a_live_peer_other_than_its_publisher_holds_a_piece() {
        let (old, new) = (summary("f", 9, "old"), summary("f", 7, "new"));
        let refused = Err(Refusal::OtherContent {
            name: old.name.clone(),
            stands: old.md5,
            came: new.md5,
        });
        let replaces = Ok(Verdict::Replaces(old.md5));
        let nobody = |_: &mut Roster| ();
        let whole = |r: &mut Roster| list(r, lan(4), 5, OURS, &["f"], &[]);
        let piece = |r: &mut Roster| list(r, lan(4), 5, OURS, &[], &[("f", "8000")]);
        let named = |r: &mut Roster| list(r, lan(4), 5, None, &["f.part0002"], &[]);
        let other = |r: &mut Roster| list(r, lan(4), 5, OURS, &[], &[("f", "80")]);
        let left = |r: &mut Roster| (0..2).for_each(|_| drop(r.update_peer_list()));
        type Case<'a> = (
            &'a str,
            fn(&mut Roster),
            &'a Summary,
            u8,
            &'a Result<Verdict, Refusal>,
        );
        let cases: [Case; 9] = [
            ("its publisher alone has it", nobody, &new, 3, &replaces),
            ("another has it whole", whole, &new, 3, &refused),
            ("another has a piece", piece, &new, 3, &refused),
            ("an original has a piece", named, &new, 3, &refused),
            ("its publisher may not, either", whole, &new, 2, &refused),
            ("another has other digits", other, &new, 3, &replaces),
            ("all have left", left, &new, 3, &replaces),
            ("the same content", nobody, &old, 3, &Ok(Verdict::Again)),
            ("the same, and all left", left, &old, 3, &Ok(Verdict::New)),
        ];
        for (name, act, content, from, expected) in cases {
            let mut roster = Roster::new(Reach::Remote);
            publish(&mut roster, lan(2), 5, &old).expect("the first");
            act(&mut roster);
            let verdict = publish(&mut roster, lan(from), 5, content);
            assert_eq!(verdict, *expected, "{name}");
            let stands = match verdict {
                Ok(Verdict::New | Verdict::Replaces(_)) => (content.md5, "10.0.0.3:5"),
                Ok(Verdict::Again) | Err(_) => (old.md5, "10.0.0.2:5"),
            };
            let record = roster.files.record("f").expect("published");
            assert_eq!((record.md5, &*record.publisher), stands, "{name}");
        }
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
        publish(&mut roster, lan(3), 5, &summary("f", 9, "new")).expect("nobody else has it");
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
            Ok(Verdict::Replaces(crate::md5::digest(b"new"))),
            "its publisher's old list doesn't hold it"
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
        assert_eq!(roster.judge(&new), Ok(Verdict::New));
        list(&mut roster, lan(4), 5, OURS, &[], &[("f", "8000")]);
        roster.publish(joined.addr, new, Verdict::New);
        let listed = swarm_list(&mut roster, lan(9), 5).peers;
        assert_eq!((listed[0].file_list.len(), listed[1].pieces.len()), (1, 0));
    }

    #[test]
    fn a_record_from_the_disk_knows_its_publisher() {
        let mut roster = Roster::new(Reach::Remote);
        roster.load(Summary {
            publisher: "10.0.0.2:5".to_owned(),
            ..summary("f", 9, "old")
        });
        list(&mut roster, lan(2), 5, OURS, &["f"], &[]);
        assert!(matches!(
            roster.judge(&summary("f", 9, "new")),
            Ok(Verdict::Replaces(_))
        ));
        list(&mut roster, lan(2), 6, OURS, &["f"], &[]);
        assert!(matches!(
            roster.judge(&summary("f", 9, "new")),
            Err(Refusal::OtherContent { .. })
        ));
    }
}
