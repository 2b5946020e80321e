//! What stands in a peer's folder and not in the swarm: contents that are coming, and contents other than the swarm's. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::{Rng, RngExt};

use super::caps::FOLDERS_PER_ADDRESS;
use super::files::FileList;
use super::has::{FileNo, PeerNo};
use super::{Ends, Listing, Roster};
use crate::md5::Digest;
use crate::protocol::{Coming, OTHERS_TOLD, OtherCopy, Summary};
use crate::torrent::Name;

/// The most coming files that are kept of one peer, and the most other contents.
pub(super) const KEPT: usize = 100;
/// The most coming files that are looked at for one answer.
const COMING_SEEN: usize = 10 * COMING_TOLD;
/// The most coming files in one answer.
pub(super) const COMING_TOLD: usize = 100;

/// A peer's word on its folder.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Folder {
    pub(super) coming: Vec<Coming>,
    pub(super) others: BTreeMap<Name, Digest>,
}

impl Folder {
    pub(super) fn len(&self) -> usize {
        self.coming.len() + self.others.len()
    }
}

/// Who has said what of their folders.
#[derive(Default)]
pub(super) struct Folders {
    /// Who has files that are coming.
    coming: BTreeSet<PeerNo>,
    /// By name, who has another content, or at least had when it listed it.
    others: BTreeMap<Name, BTreeSet<PeerNo>>,
}

impl Roster {
    /// Takes what a list says of its peer's folder. Until the whole list is understood, what was coming before counts, too: a
    /// file that stops coming because it is whole is here all the time.
    pub fn list_folder(
        &mut self,
        listing: &mut Listing,
        mut coming: Vec<Coming>,
        others: BTreeMap<Name, Digest>,
    ) {
        let (addr, v) = (listing.joined.addr, listing.v());
        let no = self.by_key.get(&self.reach.key(addr)).copied();
        let Some(no) = no.filter(|_| v.is_some()) else {
            return;
        };
        let ip = addr.ip();
        let beside = self.addresses.tally(ip).in_folders;
        let beside = beside.saturating_sub(self.peers[no].folder.len());
        let room = FOLDERS_PER_ADDRESS.saturating_sub(beside);
        coming.truncate(KEPT.min(room));
        let room = KEPT.min(room - coming.len());
        coming.iter_mut().for_each(|coming| coming.peer.clear());
        let others = others.into_iter().take(room).collect();
        let before = &self.peers[no].folder.coming;
        let before = before
            .iter()
            .filter(|it| !coming.iter().any(|new| new.name == it.name));
        let both = coming.iter().chain(before).cloned().collect();
        let meanwhile = Folder {
            coming: both,
            others,
        };
        listing.folder = Folder {
            coming,
            others: meanwhile.others.clone(),
        };
        self.set_folder(no, meanwhile);
    }

    /// A peer's folder is like this from now on.
    pub(super) fn set_folder(&mut self, no: PeerNo, folder: Folder) {
        if self.peers[no].folder == folder {
            return;
        }
        let before = std::mem::replace(&mut self.peers[no].folder, folder);
        let now = self.peers[no].folder.clone();
        let ip = self.peers[no].has.addr.ip();
        self.addresses.change(ip, |tally| {
            tally.in_folders = tally.in_folders + now.len() - before.len();
        });
        match now.coming.is_empty() {
            true => self.folders.coming.remove(&no),
            false => self.folders.coming.insert(no),
        };
        if before.others != now.others {
            for name in before.others.keys() {
                if let Some(peers) = self.folders.others.get_mut(name) {
                    peers.remove(&no);
                    if peers.is_empty() {
                        self.folders.others.remove(name);
                    }
                }
            }
            for name in now.others.keys() {
                let peers = self.folders.others.entry(name.clone()).or_default();
                peers.insert(no);
            }
            let names = before
                .others
                .iter()
                .filter(|(name, md5)| now.others.get(*name) != Some(*md5));
            let names = names.chain(
                now.others
                    .iter()
                    .filter(|(name, md5)| before.others.get(*name) != Some(*md5)),
            );
            for (name, _) in names {
                self.retell(name);
            }
        }
        let addr = self.peers[no].has.addr;
        for coming in before.coming.iter().chain(&now.coming) {
            if let Some(file) = self.files.find(coming.name.as_str()) {
                self.see_publisher(file, Some(addr));
            }
        }
    }

    /// A peer is told of at another address from now on.
    pub(super) fn retell_others(&mut self, no: PeerNo) {
        let names: Vec<Name> = self.peers[no].folder.others.keys().cloned().collect();
        names.iter().for_each(|name| self.retell(name));
    }

    fn retell(&mut self, name: &Name) {
        if let Some(file) = self.files.find(name.as_str()) {
            self.files.tell_anew(file);
        }
    }

    /// The live files for who asks.
    pub(super) fn file_list(&mut self, asker: Ends, rng: &mut impl Rng) -> Arc<FileList> {
        if let Some(ready) = self.files.ready(asker) {
            return ready;
        }
        let files = self.files.live.iter().filter_map(|no| self.told(*no));
        let files = files.collect();
        self.files.make_ready(files, asker, rng)
    }

    /// Whether another content than what stands may be in somebody's folder under this name.
    pub(super) fn may_have_others(&self, name: &Name) -> bool {
        self.folders.others.contains_key(name)
    }

    /// A file's record with those who have another content.
    pub(super) fn told(&self, no: FileNo) -> Option<Arc<Summary>> {
        let record = self.files[no].record.as_ref()?;
        let Some(peers) = self.folders.others.get(&record.name) else {
            return Some(Arc::clone(record));
        };
        let other = |no: &PeerNo| {
            let peer = &self.peers[*no];
            let md5 = peer.folder.others.get(&record.name).copied();
            Some(OtherCopy {
                peer: peer.has.addr.to_string(),
                md5: md5.filter(|md5| *md5 != record.md5)?,
            })
        };
        let others = peers.iter().filter_map(other).take(OTHERS_TOLD).collect();
        Some(Arc::new(Summary {
            others,
            ..(**record).clone()
        }))
    }

    /// Some of the contents that may stand soon, but for the asker's own; of many, others each time.
    pub(super) fn coming(
        &self,
        asker: Ends,
        own: Option<PeerNo>,
        rng: &mut impl Rng,
    ) -> Vec<Coming> {
        let peers = &self.folders.coming;
        let (Some(first), Some(last)) = (peers.first(), peers.last()) else {
            return Vec::new();
        };
        let from = rng.random_range(*first..=*last);
        let peers = peers.range(from..).chain(peers.range(..from)).copied();
        let (mut told, mut seen) = (Vec::new(), 0);
        for no in peers.filter(|no| Some(*no) != own) {
            let peer = &self.peers[no];
            let addr = peer.has.addr;
            let found = std::net::SocketAddr::new(asker.finds(addr.ip()), addr.port());
            for coming in &peer.folder.coming {
                if told.len() == COMING_TOLD || seen == COMING_SEEN {
                    return told;
                }
                seen += 1;
                if !self.may_stand(&coming.name, addr) {
                    continue;
                }
                told.push(Coming {
                    peer: found.to_string(),
                    ..coming.clone()
                });
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{SwarmList, parse};
    use crate::roster::Reach;
    use crate::roster::tests::{
        OURS, folder, here, lan, list, publication, publish, publish_by, summary, swarm_list,
    };

    /// Who is told to have `f` coming, by whoever asks from there.
    fn coming(roster: &mut Roster, asker: Ends) -> Vec<String> {
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
            let mut roster = Roster::new(Reach::Remote);
            act(&mut roster, pinned);
            folder(&mut roster, lan(3), 5, &[], &["f"], &[]);
            assert_eq!(coming(&mut roster, lan(9)), expected, "{name}");
            assert!(coming(&mut roster, lan(3)).is_empty(), "not to itself");
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
        let mut roster = Roster::new(Reach::Remote);
        let f = summary("f", 9, "a");
        for (port, verdict) in [(5, true), (6, false)] {
            let new = publish_by(&mut roster, lan(2), port, "key", &f, publication(&f));
            assert_eq!(new == Ok(crate::content::Verdict::New), verdict);
        }
        folder(&mut roster, lan(2), 6, &[], &["f"], &[]);
        assert_eq!(coming(&mut roster, lan(9)), ["10.0.0.2:6"]);
    }

    #[test]
    fn so_many_coming_files_are_kept_and_told() {
        let mut roster = Roster::new(Reach::Remote);
        let names: Vec<String> = (0..KEPT + 1).map(|n| format!("f{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        folder(&mut roster, here(), 1, &[], &names, &[]);
        assert_eq!(roster.peers[0].folder.coming.len(), KEPT);
        folder(&mut roster, here(), 2, &[], &names, &[]);
        let told = swarm_list(&mut roster, lan(9), 5).coming;
        assert_eq!(told.len(), COMING_TOLD);
        for port in 1..=120 {
            folder(&mut roster, lan(2), port, &[], &names, &[]);
        }
        let kept = roster.addresses.tally(lan(2).peer).in_folders;
        assert_eq!(kept, FOLDERS_PER_ADDRESS, "of one address off loopback");
        (0..2).for_each(|_| drop(roster.update_peer_list()));
        assert!(roster.addresses.tally(lan(2).peer) == Default::default());
        assert!(
            told[0].peer.starts_with("10.0.0.1:"),
            "as the asker finds it"
        );
    }

    #[test]
    fn others_are_told_with_the_file_and_change_its_edition() {
        let mut roster = Roster::new(Reach::Remote);
        publish(&mut roster, lan(2), 5, &summary("f", 9, "a")).expect("the first");
        let ask = |roster: &mut Roster| {
            let answer = roster.swarm_list(lan(9), 5, &[], None, &mut rand::rng());
            let list: SwarmList = parse(&answer.to_bytes()).expect("its own bytes");
            let others: Vec<_> = list.torrents[0]
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
        let mut roster = Roster::new(Reach::Remote);
        publish(&mut roster, lan(2), 5, &summary("f", 9, "a")).expect("the first");
        list(&mut roster, lan(3), 5, OURS, &["f"], &[]);
        let mut ask = |names: &[&str]| {
            list(&mut roster, lan(2), 5, OURS, names, &[]);
            let answer = roster.swarm_list(lan(9), 5, &[], None, &mut rand::rng());
            let list: SwarmList = parse(&answer.to_bytes()).expect("its own bytes");
            (list.edition, list.torrents[0].here)
        };
        let (first, second, third) = (ask(&["f"]), ask(&[]), ask(&["f"]));
        assert_eq!([first.1, second.1, third.1], [true, false, true]);
        assert!(first.0 != second.0 && second.0 != third.0);
    }
}
