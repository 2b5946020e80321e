//! How much the tracker takes, from one address and in all. Pure.
//!
//! No number of peers is too large. What one machine may put into the memory is bounded; loopback, where many peers share
//! one address by design, may have as many as ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Peers that one address may announce, so that a single machine can't fill the memory.
pub const PEERS_PER_ADDRESS: usize = 4096;
/// Names in one peer's list: ten times the pieces that a file of up to 16 GiB has.
pub const NAMES_PER_LIST: usize = 10_000;
/// Names in the lists of all peers of one address, so that a single machine can't fill the memory.
pub const NAMES_PER_ADDRESS: usize = 4 * NAMES_PER_LIST;
/// Files that one address may have published, so that a single machine can't fill the disk with names.
pub const FILES_PER_ADDRESS: usize = NAMES_PER_LIST;

/// Coming files and other contents in the folders of all peers of one address, likewise. What is beyond isn't kept.
pub(super) const FOLDERS_PER_ADDRESS: usize = NAMES_PER_LIST;

/// What each address has here. Kept up to date with each change, so that nobody is counted one by one.
#[derive(Default)]
pub(super) struct Addresses(BTreeMap<IpAddr, Tally>);

/// What one address has here.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) peers: usize,
    /// In the lists of its peers.
    pub(super) names: usize,
    /// Coming files and other contents in the folders of its peers.
    pub(super) in_folders: usize,
    /// That were published from it.
    pub(super) files: usize,
}

impl Addresses {
    /// What counts against an address's caps: nothing on loopback.
    pub(super) fn tally(&self, ip: IpAddr) -> Tally {
        self.0.get(&ip).copied().unwrap_or_default()
    }

    pub(super) fn change(&mut self, ip: IpAddr, change: impl FnOnce(&mut Tally)) {
        if ip.is_loopback() {
            return;
        }
        let tally = self.0.entry(ip).or_default();
        change(tally);
        if *tally == Tally::default() {
            self.0.remove(&ip);
        }
    }
}
