//! What stands in a peer's folder and not in the swarm: files that are coming, and copies with another content.
//!
//! This module owns what peers say of their folders, and tells it in answers. It never looks at a disk: the tracker has only
//! the peers' word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use rand::{Rng, RngExt};

use super::Roster;
use super::address::{Endpoints, PeerKey};
use super::draw_set::DrawSet;
use super::files::LiveFiles;
use crate::md5::Digest;
use crate::protocol::{Coming, OTHERS_TOLD, OtherCopy, Summary};
use crate::torrent::Name;

/// How many coming files are kept of one peer, and how many other copies.
pub(super) const KEPT: usize = 100;
/// How many coming files are looked at for one answer.
const COMING_SEEN: usize = 10 * COMING_TOLD;
/// How many coming files are in one answer.
pub(super) const COMING_TOLD: usize = 100;

/// What a peer says of its folder.
#[derive(Clone, Default, PartialEq)]
pub(super) struct FolderReport {
    pub(super) coming: Vec<Coming>,
    pub(super) others: BTreeMap<Name, Digest>,
}

impl FolderReport {
    /// Takes what a list says, as far as there is `room` for it.
    pub(super) fn new(coming: &[Coming], others: &BTreeMap<Name, Digest>, room: usize) -> Self {
        let nameless = |coming: &Coming| Coming {
            peer: String::new(),
            ..coming.clone()
        };
        let coming: Vec<Coming> = coming.iter().take(KEPT.min(room)).map(nameless).collect();
        let room = KEPT.min(room - coming.len());
        let others = others.iter().take(room);
        let others = others.map(|(name, md5)| (name.clone(), *md5)).collect();
        Self { coming, others }
    }

    pub(super) fn len(&self) -> usize {
        self.coming.len() + self.others.len()
    }

    pub(super) fn has_coming(&self, name: &str) -> bool {
        self.coming.iter().any(|it| it.name.as_str() == name)
    }

    fn coming_names(&self) -> impl Iterator<Item = Arc<str>> + '_ {
        self.coming.iter().map(|it| it.name.as_str().into())
    }
}

/// Which peers say what of their folders.
#[derive(Default)]
pub(super) struct FolderIndex {
    /// The peers with files that are coming.
    pub(super) coming: DrawSet<PeerKey>,
    /// By name, the peers with another copy, or with what was another copy when they listed it.
    pub(super) others: BTreeMap<Name, BTreeSet<PeerKey>>,
}

impl FolderIndex {
    /// Returns the names of the peer's other copies, where these aren't the same as before.
    fn replace(&mut self, key: PeerKey, old: &FolderReport, new: &FolderReport) -> Vec<Name> {
        match new.coming.is_empty() {
            true => self.coming.remove(&key),
            false => self.coming.insert(key),
        };
        if old.others == new.others {
            return Vec::new();
        }
        for name in old.others.keys() {
            if let Some(peers) = self.others.get_mut(name) {
                peers.remove(&key);
                if peers.is_empty() {
                    self.others.remove(name);
                }
            }
        }
        for name in new.others.keys() {
            self.others.entry(name.clone()).or_default().insert(key);
        }
        old.others
            .keys()
            .chain(new.others.keys())
            .cloned()
            .collect()
    }
}

impl Roster {
    /// A peer's folder is like this from now on. Returns the names of the files that were coming, or are.
    pub(super) fn set_folder(&mut self, key: PeerKey, folder: FolderReport) -> Vec<Arc<str>> {
        let Some(peer) = self.peers.get_mut(&key) else {
            return Vec::new();
        };
        if peer.folder == folder {
            return Vec::new();
        }
        let ip = peer.holdings.addr.ip();
        let before = std::mem::replace(&mut peer.folder, folder);
        self.quotas.change(ip, |usage| {
            usage.in_folders = usage.in_folders + peer.folder.len() - before.len();
        });
        for name in self.folders.replace(key, &before, &peer.folder) {
            self.files.list_anew(name.as_str());
        }
        let coming = before.coming_names().chain(peer.folder.coming_names());
        coming.collect()
    }

    /// The live files as this asker is told of them.
    pub(super) fn live_files(&mut self, asker: Endpoints, rng: &mut impl Rng) -> Arc<LiveFiles> {
        if let Some(ready) = self.files.ready(asker) {
            return ready;
        }
        let live = self.files.live().iter();
        let files = live.filter_map(|name| self.with_other_copies(name));
        let files = files.collect();
        self.files.make_ready(files, asker, rng)
    }

    /// Returns true if another content than the one that stands may be in somebody's folder under this name.
    pub(super) fn may_have_others(&self, name: &Name) -> bool {
        self.folders.others.contains_key(name)
    }

    /// A file's record with some of the peers that have another content under its name.
    pub(super) fn with_other_copies(&self, name: &str) -> Option<Arc<Summary>> {
        let record = self.files.record(name)?;
        let Some(peers) = self.folders.others.get(&record.name) else {
            return Some(Arc::clone(record));
        };
        let other_copy = |key: &PeerKey| {
            let peer = self.peers.get(key)?;
            let md5 = peer.folder.others.get(&record.name).copied();
            Some(OtherCopy {
                peer: peer.holdings.addr.to_string(),
                md5: md5.filter(|md5| *md5 != record.md5)?,
            })
        };
        let others = peers.iter().filter_map(other_copy).take(OTHERS_TOLD);
        Some(Arc::new(Summary {
            others: others.collect(),
            ..(**record).clone()
        }))
    }

    /// Some of the contents that may stand soon, but for the asker's own; of many, others each time.
    pub(super) fn coming(&self, asker: Endpoints, own: PeerKey, rng: &mut impl Rng) -> Vec<Coming> {
        let peers = self.folders.coming.as_slice();
        if peers.is_empty() {
            return Vec::new();
        }
        let (last, first) = peers.split_at(rng.random_range(..peers.len()));
        let (mut told, mut seen) = (Vec::new(), 0);
        let others = first.iter().chain(last).filter(|key| **key != own);
        for peer in others.filter_map(|key| self.peers.get(key)) {
            let addr = peer.holdings.addr;
            let found = SocketAddr::new(peer.found_by(asker), addr.port());
            for coming in &peer.folder.coming {
                if told.len() == COMING_TOLD || seen == COMING_SEEN {
                    return told;
                }
                seen += 1;
                if self.may_stand(&coming.name, addr) {
                    told.push(Coming {
                        peer: found.to_string(),
                        ..coming.clone()
                    });
                }
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{SwarmList, parse};
    use crate::roster::limits::FOLDER_ENTRIES_PER_ADDRESS;
    use crate::roster::tests::{
        OURS, folder, here, lan, list, publication, publish, publish_by, summary, swarm_list,
    };
    use crate::roster::{Reachability, Record};

    /// Who is told to have `f` coming, by whoever asks from there.
    fn coming(roster: &mut Roster, asker: Endpoints) -> Vec<String> {
        let coming = swarm_list(roster, asker, 5).coming;
        assert!(
            coming
                .iter()
                .all(|it| it.name.as_str() == "f" && it.done == 1)
        );
        let mut peers: Vec<String> = coming.into_iter().map(|it| it.peer).collect();
        peers.sort();
        peers
    }

    #[test]
    fn what_may_come_to_stand_is_told() {
        fn publisher(roster: &mut Roster, pinned: bool) {
            let f = Summary {
                pinned,
                ..summary("f", 9, "a")
            };
            publish(roster, lan(2), 5, &f).expect("the first");
            list(roster, lan(2), 5, OURS, &["f"], &[]);
            list(roster, lan(4), 5, OURS, &["f"], &[]);
        }
        let nothing: fn(&mut Roster, bool) = |_, _| ();
        let here: fn(&mut Roster, bool) = publisher;
        let left = |roster: &mut Roster, pinned| {
            publisher(roster, pinned);
            list(roster, lan(2), 5, OURS, &[], &[]);
        };
        for (name, act, pinned, expected) in [
            ("nothing stands", nothing, false, &["10.0.0.3:5"][..]),
            ("its publisher is here", here, false, &[]),
            ("and has pinned it", here, true, &[]),
            ("its publisher has left", left, false, &["10.0.0.3:5"]),
            ("but it is pinned", left, true, &[]),
        ] {
            let mut roster = Roster::new(Reachability::Remote);
            act(&mut roster, pinned);
            folder(&mut roster, lan(3), 5, &[], &["f"], &[]);
            assert_eq!(coming(&mut roster, lan(9)), expected, "{name}");
            assert!(coming(&mut roster, lan(3)).is_empty(), "not to itself");
            let (f, g) = (summary("f", 9, "a").name, summary("g", 9, "a").name);
            let changing = [None, Some(&f), Some(&g)].map(|only| roster.changing(only).len());
            let n = expected.len();
            assert_eq!(
                changing,
                [n, n, 0],
                "{name}: whoever waits for all waits for it"
            );
            // the publisher's own new version is told in any case
            folder(&mut roster, lan(2), 5, &[], &["f"], &[]);
            let published = roster.files.record("f").is_some();
            let told = coming(&mut roster, lan(9));
            assert!(told.contains(&"10.0.0.2:5".to_owned()), "{name}: {told:?}");
            assert_eq!(told.len(), if published { 1 } else { 2 }, "{name}");
            (0..2).for_each(|_| drop(roster.update_peer_list()));
            assert!(coming(&mut roster, lan(9)).is_empty(), "they are gone");
            assert!(roster.folders.coming.is_empty());
        }
    }

    #[test]
    fn a_copied_folder_that_hashes_may_be_the_publisher_started_again() {
        let mut roster = Roster::new(Reachability::Remote);
        let f = summary("f", 9, "a");
        for (port, verdict) in [(5, true), (6, false)] {
            let new = publish_by(&mut roster, lan(2), port, "key", &f, publication(&f));
            assert_eq!(new == Ok(crate::content::Verdict::New), verdict);
        }
        folder(&mut roster, lan(2), 6, &[], &["f"], &[]);
        assert_eq!(coming(&mut roster, lan(9)), ["10.0.0.2:6"]);
    }

    #[test]
    fn where_nobodys_key_is_known_no_address_is_the_publishers() {
        let mut roster = Roster::new(Reachability::Remote);
        let f = Summary {
            pinned: true,
            publisher: "10.0.0.3:5".to_owned(),
            ..summary("f", 9, "a")
        };
        roster.load(Record {
            summary: f,
            key: None,
        });
        list(&mut roster, lan(4), 5, OURS, &["f"], &[]);
        folder(&mut roster, lan(3), 5, &[], &["f"], &[]);
        assert!(coming(&mut roster, lan(9)).is_empty(), "it is pinned");
    }

    #[test]
    fn so_many_coming_files_are_kept_and_told() {
        let mut roster = Roster::new(Reachability::Remote);
        let names: Vec<String> = (0..KEPT + 1).map(|n| format!("f{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        folder(&mut roster, here(), 1, &[], &names, &[]);
        let peer = &roster.peers[&roster.key(here(), 1, OURS)];
        assert_eq!(peer.folder.coming.len(), KEPT);
        folder(&mut roster, here(), 2, &[], &names, &[]);
        let told = swarm_list(&mut roster, lan(9), 5).coming;
        assert_eq!(told.len(), COMING_TOLD);
        for port in 1..=120 {
            folder(&mut roster, lan(2), port, &[], &names, &[]);
        }
        let kept = roster.quotas.usage(lan(2).peer).in_folders;
        assert_eq!(
            kept, FOLDER_ENTRIES_PER_ADDRESS,
            "of one address off loopback"
        );
        (0..2).for_each(|_| drop(roster.update_peer_list()));
        assert!(roster.quotas.usage(lan(2).peer) == Default::default());
        assert!(
            told[0].peer.starts_with("10.0.0.1:"),
            "as the asker finds it"
        );
    }

    #[test]
    fn others_are_told_with_the_file_and_change_its_edition() {
        let mut roster = Roster::new(Reachability::Remote);
        publish(&mut roster, lan(2), 5, &summary("f", 9, "a")).expect("the first");
        let ask = |roster: &mut Roster| {
            let answer = roster.swarm_list(lan(9), 5, &[], None, &mut rand::rng());
            let list: SwarmList =
                parse(&answer.to_bytes(std::time::Duration::ZERO)).expect("its own bytes");
            let others: Vec<_> = list.torrents.expect("files")[0]
                .others
                .iter()
                .map(|it| (it.peer.clone(), it.md5))
                .collect();
            (list.edition, others)
        };
        let (first, none) = ask(&mut roster);
        assert!(none.is_empty());
        let b = crate::md5::digest(b"b");
        folder(&mut roster, lan(3), 5, &[], &[], &[("f", "b"), ("g", "b")]);
        let (second, told) = ask(&mut roster);
        assert_eq!(told, [("10.0.0.3:5".to_owned(), b)]);
        folder(
            &mut roster,
            lan(3),
            5,
            &["h"],
            &[],
            &[("f", "b"), ("g", "b")],
        );
        assert_eq!(ask(&mut roster), (second, told), "the same again");
        folder(&mut roster, lan(3), 5, &[], &[], &[("f", "a")]);
        let (third, same) = ask(&mut roster);
        assert!(same.is_empty(), "it is what stands");
        assert!(first != second && second != third);
        for host in 10..40 {
            folder(&mut roster, lan(host), 5, &[], &[], &[("f", "b")]);
        }
        assert_eq!(ask(&mut roster).1.len(), OTHERS_TOLD);
        (0..2).for_each(|_| drop(roster.update_peer_list()));
        list(&mut roster, lan(2), 5, OURS, &["f"], &[]);
        assert!(ask(&mut roster).1.is_empty() && roster.folders.others.is_empty());
    }

    #[test]
    fn the_edition_changes_with_whether_the_publisher_is_here() {
        let mut roster = Roster::new(Reachability::Remote);
        publish(&mut roster, lan(2), 5, &summary("f", 9, "a")).expect("the first");
        list(&mut roster, lan(3), 5, OURS, &["f"], &[]);
        let mut ask = |names: &[&str]| {
            list(&mut roster, lan(2), 5, OURS, names, &[]);
            let answer = roster.swarm_list(lan(9), 5, &[], None, &mut rand::rng());
            let list: SwarmList =
                parse(&answer.to_bytes(std::time::Duration::ZERO)).expect("its own bytes");
            (list.edition, list.torrents.expect("files")[0].here)
        };
        let (first, second, third) = (ask(&["f"]), ask(&[]), ask(&["f"]));
        assert_eq!([first.1, second.1, third.1], [true, false, true]);
        assert!(first.0 != second.0 && second.0 != third.0);
    }
}
