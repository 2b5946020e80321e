//! What each address has at the tracker, counted as it changes, so that nobody is counted one by one.
//!
//! This module owns the counts and compares them with [`super::limits`]. It never looks at a peer.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::limits::{
    FILES_PER_ADDRESS, FOLDER_ENTRIES_PER_ADDRESS, NAMES_PER_ADDRESS, NAMES_PER_LIST,
    PEERS_PER_ADDRESS,
};
use super::refusal::TrackerRefusal;

/// What each address has. Loopback isn't counted.
#[derive(Default)]
pub(super) struct AddressQuotas(BTreeMap<IpAddr, AddressUsage>);

/// What one address has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AddressUsage {
    /// Its peers.
    pub(super) peers: usize,
    /// The names in the lists of its peers.
    pub(super) names: usize,
    /// The coming files and other copies in the folders of its peers.
    pub(super) in_folders: usize,
    /// The files that were published from it.
    pub(super) files: usize,
}

impl AddressQuotas {
    /// What counts against an address's limits.
    pub(super) fn usage(&self, ip: IpAddr) -> AddressUsage {
        self.0.get(&ip).copied().unwrap_or_default()
    }

    pub(super) fn change(&mut self, ip: IpAddr, change: impl FnOnce(&mut AddressUsage)) {
        if ip.is_loopback() {
            return;
        }
        let usage = self.0.entry(ip).or_default();
        change(usage);
        if *usage == AddressUsage::default() {
            self.0.remove(&ip);
        }
    }

    /// Counts one more peer.
    pub(super) fn add_peer(&mut self, ip: IpAddr) -> Result<(), TrackerRefusal> {
        if self.usage(ip).peers >= PEERS_PER_ADDRESS {
            return Err(TrackerRefusal::Peers(ip));
        }
        self.change(ip, |usage| usage.peers += 1);
        Ok(())
    }

    /// Whether a list of `n_names` fits, in the place of one of `n_before`.
    pub(super) fn check_list(
        &self,
        ip: IpAddr,
        n_names: usize,
        n_before: usize,
    ) -> Result<(), TrackerRefusal> {
        if n_names > NAMES_PER_LIST {
            return Err(TrackerRefusal::Names(n_names));
        }
        let beside = self.usage(ip).names.saturating_sub(n_before);
        if !ip.is_loopback() && n_names + beside > NAMES_PER_ADDRESS {
            return Err(TrackerRefusal::NamesOf(ip));
        }
        Ok(())
    }

    /// Whether one more file may be published from this address.
    pub(super) fn check_publication(&self, ip: IpAddr) -> Result<(), TrackerRefusal> {
        match self.usage(ip).files >= FILES_PER_ADDRESS {
            true => Err(TrackerRefusal::Files(ip)),
            false => Ok(()),
        }
    }

    /// How many entries of a folder fit, in the place of `n_before`.
    pub(super) fn room_for_folder(&self, ip: IpAddr, n_before: usize) -> usize {
        let beside = self.usage(ip).in_folders.saturating_sub(n_before);
        FOLDER_ENTRIES_PER_ADDRESS.saturating_sub(beside)
    }
}
