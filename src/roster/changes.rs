//! What changes with a list, a move and a departure: the peer, the files that it has, its address's counts, and whether it is
//! a publisher that is here.
//!
//! Each method here leaves the roster consistent. None decides who is there.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Roster;
use super::address::PeerKey;
use super::folder::FolderReport;
use super::holdings::{HeldFiles, Holding};
use crate::protocol::PeerList;

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
        let Some(peer) = self.peers.get(&key) else {
            return Vec::new();
        };
        let had = &peer.holdings.files;
        let gone = had.keys().filter(|name| !files.contains_key(*name));
        let gone = gone.map(|name| (Arc::clone(name), None));
        let mut changes: Vec<(Arc<str>, Option<Holding>)> = gone.collect();
        for (name, held) in files {
            if had.get(&name) == Some(&held) {
                // what is rare may have changed with others' lists
                self.files.note_rare(&name, key, &held);
            } else {
                changes.push((name, Some(held)));
            }
        }
        let change = |(name, held)| {
            self.set_file(key, &name, held);
            name
        };
        changes.into_iter().map(change).collect()
    }

    /// A peer has this much of one file from now on, or nothing of it, and of the others what it had. Returns what it had.
    pub(super) fn set_file(
        &mut self,
        key: PeerKey,
        name: &Arc<str>,
        new: Option<Holding>,
    ) -> Option<Holding> {
        let peer = self.peers.get_mut(&key)?;
        let holdings = Arc::make_mut(&mut peer.holdings);
        let old = match &new {
            Some(new) => holdings.files.insert(Arc::clone(name), new.clone()),
            None => holdings.files.remove(name),
        };
        let ip = holdings.addr.ip();
        let count = |held: &Option<Holding>| held.as_ref().map_or(0, Holding::count);
        if count(&old) < count(&new) {
            peer.last_grew = self.sweeps;
        }
        self.files.replace(name, key, old.as_ref(), new.as_ref());
        let counted = |held: &Option<Holding>| held.as_ref().map_or(0, Holding::counted);
        self.quotas.change(ip, |usage| {
            usage.names = usage.names + counted(&new) - counted(&old);
        });
        old
    }

    /// A known peer comes from another address, or is another program, for which the list of the one before doesn't hold.
    pub(super) fn follow(&mut self, key: PeerKey, addr: SocketAddr, v: Option<u32>) {
        let Some(peer) = self.peers.get(&key) else {
            return;
        };
        let (before, v_before) = (peer.holdings.addr, peer.holdings.v);
        if (before, v_before) == (addr, v) {
            return;
        }
        if v_before != v {
            self.set_holdings(key, HeldFiles::new(), FolderReport::default());
        }
        let Some(peer) = self.peers.get(&key) else {
            return;
        };
        // taken away and given back, so that it counts for the new address
        let (files, folder) = (peer.holdings.files.clone(), peer.folder.clone());
        self.set_files(key, HeldFiles::new());
        self.set_folder(key, FolderReport::default());
        if let Some(peer) = self.peers.get_mut(&key) {
            let holdings = Arc::make_mut(&mut peer.holdings);
            (holdings.addr, holdings.v) = (addr, v);
        }
        self.quotas.change(before.ip(), |usage| usage.peers -= 1);
        self.quotas.change(addr.ip(), |usage| usage.peers += 1);
        self.set_files(key, files);
        self.set_folder(key, folder);
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
