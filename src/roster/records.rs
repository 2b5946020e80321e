//! What is published: which content stands under a name, and who has it. Pure.
//!
//! The original has no such thing: two contents under one name would mix.

use std::net::SocketAddr;

use rand::Rng;

use super::{Ends, FILES_PER_ADDRESS, Refusal, Roster, ip_for};
use crate::bitfield::Bitfield;
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

impl Roster {
    /// Takes a record from the disk.
    pub fn load(&mut self, record: Summary) {
        self.records.insert(record.name.as_str().to_owned(), record);
    }

    /// Whether a content may be published. A record stands while a live peer other than its publisher holds a piece of it;
    /// against the same content, also while its publisher lives.
    ///
    /// # Errors
    /// Where another content stands, or too many files are published from its publisher's address.
    pub fn judge(&self, new: &Summary) -> Result<Verdict, Refusal> {
        let Some(old) = self.records.get(new.name.as_str()) else {
            return self.judge_new(new);
        };
        let publisher = old.publisher.parse().ok().map(|addr| self.key(addr));
        let mut others = self
            .peers
            .iter()
            .filter(|(key, _)| Some(**key) != publisher);
        let same = (old.size, old.md5) == (new.size, new.md5);
        let stands = others.any(|(_, peer)| peer.holds(&new.name))
            || same && publisher.is_some_and(|key| self.peers.contains_key(&key));
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
        let ip_of = |record: &Summary| Some(record.publisher.parse::<SocketAddr>().ok()?.ip());
        let Some(ip) = ip_of(new).filter(|ip| !ip.is_loopback()) else {
            return Ok(Verdict::New);
        };
        let beside = self.records.values().filter(|old| ip_of(old) == Some(ip));
        if beside.count() >= FILES_PER_ADDRESS {
            return Err(Refusal::Files(ip));
        }
        Ok(Verdict::New)
    }

    /// Records what [`Roster::judge`] allowed. Its publisher has the file, by its word; what others listed under the name
    /// of a content that is replaced means nothing any more.
    pub fn publish(&mut self, publisher: SocketAddr, summary: Summary, verdict: Verdict) {
        let (name, own) = (summary.name.clone(), self.key(publisher));
        if verdict != Verdict::Again {
            self.load(Summary {
                publisher: publisher.to_string(),
                ..summary
            });
        }
        let record = &self.records[name.as_str()];
        for (key, peer) in &mut self.peers {
            if let Verdict::Replaces(_) = verdict {
                peer.files.remove(name.as_str());
                peer.pieces.remove(&name);
            }
            // listed while this was written, of the same content in another cut
            let n_pieces = peer.pieces.get(&name).map(Bitfield::len);
            if n_pieces.is_some_and(|n_pieces| n_pieces != record.n_pieces) {
                peer.pieces.remove(&name);
            }
            // what ours listed before it was published
            let listed = peer.v.is_some() && peer.files.remove(name.as_str());
            if listed || *key == own {
                peer.add_whole(record);
            }
        }
    }

    /// Who published a file and who has pieces of it; `None` where the record isn't there or of another content.
    pub fn sources(
        &self,
        name: &Name,
        md5: Digest,
        asker: Ends,
        rng: &mut impl Rng,
    ) -> Option<(String, Vec<Source>)> {
        let record = self
            .records
            .get(name.as_str())
            .filter(|record| record.md5 == md5)?;
        let holders = self.others(None, asker, rng, |peer| peer.holds(name));
        let sources = holders.into_iter().map(|(ip, peer)| Source {
            ip: ip.to_string(),
            port: peer.addr.port(),
        });
        Some((summary_for(record, asker).publisher, sources.collect()))
    }

    /// The published file that is in several pieces, so that its pieces have names.
    pub(super) fn cut(&self, name: &str) -> Option<&Summary> {
        self.records.get(name).filter(|record| record.n_pieces > 1)
    }
}

/// A record as the asker is told it: with its publisher's address as the asker finds it.
pub(super) fn summary_for(record: &Summary, asker: Ends) -> Summary {
    let mut summary = record.clone();
    if let Ok(addr) = record.publisher.parse::<SocketAddr>() {
        let ip = ip_for(asker, addr.ip());
        summary.publisher = SocketAddr::new(ip, addr.port()).to_string();
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Reach;
    use crate::roster::tests::{OURS, lan, list, publish, rng, summary};

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
        assert!(roster.swarm_list(lan(9), 5, &mut rng()).torrents.is_empty());
        assert_eq!(
            sources(&roster, image.md5),
            Some(("10.0.0.2:5".to_owned(), vec![]))
        );
        list(&mut roster, lan(3), 5, None, &["image.iso.part0001"], &[]);
        assert_eq!(
            roster.swarm_list(lan(9), 5, &mut rng()).torrents.len(),
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
            let record = &roster.records["f"];
            assert_eq!((record.md5, &*record.publisher), stands, "{name}");
        }
    }

    #[test]
    fn what_ours_listed_before_it_was_published_is_the_file() {
        for (n_pieces, files) in [(1, vec!["f"]), (9, vec![])] {
            let mut roster = Roster::new(Reach::Remote);
            list(&mut roster, lan(3), 5, OURS, &["f"], &[]);
            list(&mut roster, lan(4), 5, None, &["f"], &[]);
            publish(&mut roster, lan(2), 5, &summary("f", n_pieces, "a")).expect("the first");
            let listed = roster.swarm_list(lan(9), 5, &mut rng()).peers;
            assert!(
                listed.iter().all(|peer| peer.file_list == ["f"]),
                "{listed:?}"
            );
            let ours = roster
                .peers
                .values()
                .find(|peer| peer.addr.ip() == lan(3).peer);
            let ours = ours.expect("it listed");
            assert!(ours.files.iter().eq(&files) && ours.pieces.len() + files.len() == 1);
        }
    }

    #[test]
    fn what_was_listed_of_a_content_that_is_replaced_means_nothing_any_more() {
        let mut roster = Roster::new(Reach::Remote);
        publish(&mut roster, lan(2), 5, &summary("f", 9, "old")).expect("the first");
        publish(&mut roster, lan(3), 5, &summary("f", 9, "new")).expect("nobody else has it");
        let answer = roster.swarm_list(lan(9), 5, &mut rng());
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
        let listed = roster.swarm_list(lan(9), 5, &mut rng()).peers;
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
