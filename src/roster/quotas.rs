//! What each address has at the tracker, counted as it changes, so that nobody is counted one by one.
//!
//! This module owns the counts and compares them with [`super::limits`]. It never looks at a peer.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::limits::{
    ADDRESSES_PER_NETWORK, FILES_PER_ADDRESS, FOLDER_ENTRIES_PER_ADDRESS, NAMES_PER_ADDRESS,
    NAMES_PER_LIST, PEERS_PER_ADDRESS,
};
use super::refusal::TrackerRefusal;
use crate::net::addresses::network;

/// What each address has, and each IPv6 network. Loopback isn't counted.
#[derive(Default)]
pub(super) struct AddressQuotas(BTreeMap<QuotaHolder, AddressUsage>);

/// Who is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum QuotaHolder {
    Address(IpAddr),
    /// A [`network`] of IPv6 addresses.
    Network(IpAddr),
}

/// What one address has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AddressUsage {
    /// Its peers.
    pub(super) peers: usize,
    /// The names in the lists of its peers, as [`super::limits::listed_as`] counts them.
    pub(super) names: usize,
    /// The coming files and other copies in the folders of its peers.
    pub(super) in_folders: usize,
    /// The files that were published from it, as [`super::limits::published_as`] counts them.
    pub(super) files: usize,
}

/// Whom a peer at this address counts for, with the number of addresses' shares that each may have.
fn quota_holders(ip: IpAddr) -> impl Iterator<Item = (QuotaHolder, usize)> {
    let network = match ip {
        IpAddr::V6(_) => Some(QuotaHolder::Network(network(ip))),
        IpAddr::V4(_) => None,
    };
    let network = network.map(|network| (network, ADDRESSES_PER_NETWORK));
    let quota_holders = [Some((QuotaHolder::Address(ip), 1)), network];
    let counts = !ip.is_loopback();
    quota_holders.into_iter().flatten().filter(move |_| counts)
}

impl AddressQuotas {
    /// What an address has.
    #[cfg(test)]
    pub(super) fn usage(&self, ip: IpAddr) -> AddressUsage {
        let usage = self.0.get(&QuotaHolder::Address(ip));
        usage.copied().unwrap_or_default()
    }

    pub(super) fn change(&mut self, ip: IpAddr, change: impl Fn(&mut AddressUsage)) {
        for (holder, _) in quota_holders(ip) {
            let usage = self.0.entry(holder).or_default();
            change(usage);
            if *usage == AddressUsage::default() {
                self.0.remove(&holder);
            }
        }
    }

    /// A record counts for this address and as so many files, where it counted for that one before.
    pub(super) fn count_record(
        &mut self,
        before: Option<(IpAddr, usize)>,
        now: Option<(IpAddr, usize)>,
    ) {
        if let Some((ip, less)) = before {
            self.change(ip, |usage| usage.files -= less);
        }
        if let Some((ip, more)) = now {
            self.change(ip, |usage| usage.files += more);
        }
    }

    /// How much more an address may have of what `of` counts and one address may have `most` of.
    fn room(&self, ip: IpAddr, most: usize, of: impl Fn(&AddressUsage) -> usize) -> usize {
        let room = |(holder, addresses): (QuotaHolder, usize)| {
            let has = self.0.get(&holder).map_or(0, &of);
            (most * addresses).saturating_sub(has)
        };
        quota_holders(ip).map(room).min().unwrap_or(usize::MAX)
    }

    /// Counts one more peer.
    pub(super) fn add_peer(&mut self, ip: IpAddr) -> Result<(), TrackerRefusal> {
        if self.room(ip, PEERS_PER_ADDRESS, |usage| usage.peers) == 0 {
            return Err(TrackerRefusal::Peers(ip));
        }
        self.change(ip, |usage| usage.peers += 1);
        Ok(())
    }

    /// Whether a list of `n_names`, which count as `counted`, fits in the place of one that counted as `before`.
    pub(super) fn check_list(
        &self,
        ip: IpAddr,
        n_names: usize,
        counted: usize,
        before: usize,
    ) -> Result<(), TrackerRefusal> {
        if n_names > NAMES_PER_LIST {
            return Err(TrackerRefusal::Names(n_names));
        }
        let room = self.room(ip, NAMES_PER_ADDRESS, |usage| usage.names);
        if counted > room.saturating_add(before) {
            return Err(TrackerRefusal::NamesOf(ip));
        }
        Ok(())
    }

    /// Whether a file that counts as `counted` may be published from this address.
    pub(super) fn check_publication(
        &self,
        ip: IpAddr,
        counted: usize,
    ) -> Result<(), TrackerRefusal> {
        match counted > self.room(ip, FILES_PER_ADDRESS, |usage| usage.files) {
            true => Err(TrackerRefusal::Files(ip)),
            false => Ok(()),
        }
    }

    /// How many entries of a folder fit, in the place of `n_before`.
    pub(super) fn room_for_folder(&self, ip: IpAddr, n_before: usize) -> usize {
        let room = self.room(ip, FOLDER_ENTRIES_PER_ADDRESS, |usage| usage.in_folders);
        room.saturating_add(n_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many peers these addresses get in, in turns, until none of them does.
    fn peers_of(addresses: &[IpAddr]) -> usize {
        let mut quotas = AddressQuotas::default();
        let mut turn = || {
            let taken = addresses.iter().filter(|ip| quotas.add_peer(**ip).is_ok());
            taken.count()
        };
        std::iter::from_fn(|| Some(turn()).filter(|n| *n > 0)).sum()
    }

    #[test]
    fn a_machine_with_a_network_of_its_own_is_bounded() {
        let network = |n: u16| ip(&format!("2001:db8::{n:x}"));
        let few: Vec<IpAddr> = (1..=3).map(network).collect();
        assert_eq!(peers_of(&few), 3 * PEERS_PER_ADDRESS);
        let many: Vec<IpAddr> = (1..=1000).map(network).collect();
        let most = ADDRESSES_PER_NETWORK * PEERS_PER_ADDRESS;
        assert_eq!(peers_of(&many), most);
        let (one, other) = (network(1), ip("2001:db8:0:1::1"));
        assert_eq!(peers_of(&[one, other]), 2 * PEERS_PER_ADDRESS);
        // neighbours by IPv4 aren't one machine
        let lan: Vec<IpAddr> = (1..=20).map(|n| ip(&format!("10.0.0.{n}"))).collect();
        assert_eq!(peers_of(&lan), 20 * PEERS_PER_ADDRESS);
    }

    #[test]
    fn what_leaves_is_given_back_to_its_address_and_its_network() {
        let mut quotas = AddressQuotas::default();
        for address in ["10.0.0.1", "2001:db8::1"].map(ip) {
            quotas.add_peer(address).expect("the first");
            quotas.change(address, |usage| usage.peers -= 1);
        }
        assert!(quotas.0.is_empty());
    }
}
