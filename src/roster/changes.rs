//! What changes with a list, a move and a departure: the peer, the files that it has, its address's counts, and whether it is
//! a publisher that is here.
//!
//! Each method here leaves the roster consistent. None decides who is there.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Roster;
use super::address::PeerKey;
use super::folder::FolderReport;
use super::holdings::{HeldFiles, Holding, Holdings, counted};
use super::list::PeerList;
use crate::content::Verdict;

impl Roster {
    /// What a list says of its peer's folder, as far as there is room for it. An original says nothing of it.
    pub(super) fn understand_folder(&self, key: PeerKey, list: &PeerList) -> FolderReport {
        let Some(peer) = self.peers.get(&key).filter(|peer| peer.is_ours()) else {
            return FolderReport::default();
        };
        let ip = peer.holdings.addr.ip();
        let room = self.quotas.room_for_folder(ip, peer.folder.len());
        FolderReport::new(&list.coming, &list.others, room)
    }

    /// A peer has exactly these files from now on, and its folder is like this.
    pub(super) fn set_holdings(&mut self, key: PeerKey, files: HeldFiles, folder: FolderReport) {
        let mut names = self.set_files(key, files);
        names.extend(self.set_folder(key, folder));
        let Some(peer) = self.peers.get(&key) else {
            return;
        };
        let addr = peer.holdings.addr;
        // only now: a file that stops coming because it is whole was here all the time
        for name in names {
            self.see_publisher(&name, Some(addr));
        }
    }

    /// Returns the names of which the peer has more or less than before.
    fn set_files(&mut self, key: PeerKey, files: HeldFiles) -> Vec<Arc<str>> {
        let Some(peer) = self.peers.get_mut(&key) else {
            return Vec::new();
        };
        let (addr, v) = (peer.holdings.addr, peer.holdings.v);
        if peer.holdings.files == files {
            // its entry stays ready; what is rare may have changed with others' lists
            for (name, held) in &files {
                self.files.note_rare(name, key, held);
            }
            return Vec::new();
        }
        let now = Arc::new(Holdings::new(addr, v, files));
        let before = std::mem::replace(&mut peer.holdings, Arc::clone(&now));
        let (mut changed, mut grew) = (Vec::new(), false);
        for (name, old) in &before.files {
            if !now.files.contains_key(name) {
                self.files.replace(name, key, Some(old), None);
                changed.push(Arc::clone(name));
            }
        }
        for (name, new) in &now.files {
            let old = before.files.get(name);
            if old == Some(new) {
                self.files.note_rare(name, key, new);
                continue;
            }
            self.files.replace(name, key, old, Some(new));
            grew |= old.is_none_or(|old| old.count() < new.count());
            changed.push(Arc::clone(name));
        }
        if grew {
            peer.last_grew = self.sweeps;
        }
        let (more, less) = (counted(&now.files), counted(&before.files));
        self.quotas.change_names(addr.ip(), more, less);
        changed
    }

    /// A peer has this much of one file from now on, and of the others what it had.
    pub(super) fn set_file(&mut self, key: PeerKey, name: &Arc<str>, holding: Holding) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let holdings = Holdings::change(&mut peer.holdings);
        let ip = holdings.addr.ip();
        let old = holdings.files.insert(Arc::clone(name), holding.clone());
        if old.as_ref().is_none_or(|old| old.count() < holding.count()) {
            peer.last_grew = self.sweeps;
        }
        self.files.replace(name, key, old.as_ref(), Some(&holding));
        let (more, less) = (holding.counted(), old.map_or(0, |old| old.counted()));
        self.quotas.change_names(ip, more, less);
    }

    /// The record under a name was replaced: what a peer listed of it counts as far as it is of the new content.
    pub(super) fn relist(&mut self, key: PeerKey, name: &Arc<str>, verdict: Verdict) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let listed = peer.holdings.files.get(name);
        let of_it = listed.filter(|_| verdict != Verdict::Replaces);
        let ours = peer.is_ours();
        let now = of_it.and_then(|listed| self.files.understand_anew(name, listed, ours));
        if let Some(now) = &now {
            self.files.replace(name, key, None, Some(now));
        }
        if now.as_ref() == listed {
            return;
        }
        let less = listed.map_or(0, Holding::counted);
        let more = now.as_ref().map_or(0, Holding::counted);
        let holdings = Holdings::change(&mut peer.holdings);
        match now {
            Some(now) => drop(holdings.files.insert(Arc::clone(name), now)),
            None => drop(holdings.files.remove(name)),
        }
        let ip = holdings.addr.ip();
        self.quotas.change_names(ip, more, less);
    }

    /// A known peer comes from another address, or is another program, for which the list of the one before doesn't hold.
    pub(super) fn follow(&mut self, key: PeerKey, addr: SocketAddr, v: Option<u32>) {
        let Some(peer) = self.peers.get(&key) else {
            return;
        };
        if (peer.holdings.addr, peer.holdings.v) == (addr, v) {
            return;
        }
        if peer.holdings.v != v {
            self.set_holdings(key, HeldFiles::new(), FolderReport::default());
        }
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let holdings = Holdings::change(&mut peer.holdings);
        let before = std::mem::replace(&mut holdings.addr, addr);
        holdings.v = v;
        let (n_names, in_folder) = (counted(&holdings.files), peer.folder.len());
        let others: Vec<_> = peer.folder.others.keys().cloned().collect();
        self.quotas.change(before.ip(), |usage| {
            usage.peers -= 1;
            usage.names -= n_names;
            usage.in_folders -= in_folder;
        });
        self.quotas.change(addr.ip(), |usage| {
            usage.peers += 1;
            usage.names += n_names;
            usage.in_folders += in_folder;
        });
        for name in others {
            self.files.list_anew(name.as_str());
        }
    }

    /// Forgets a peer, and all that it had. Returns where it was.
    pub(super) fn forget(&mut self, key: PeerKey) -> Option<SocketAddr> {
        self.set_holdings(key, HeldFiles::new(), FolderReport::default());
        let addr = self.peers.remove(&key)?.holdings.addr;
        self.everyone.remove(&key);
        self.quotas.change(addr.ip(), |usage| usage.peers -= 1);
        Some(addr)
    }
}
