//! Whether a record's publisher is here: it is known by a key, and found at an address.
//!
//! This module owns that question. Which content stands is decided in [`crate::content`].

use std::net::SocketAddr;

use super::Roster;
use crate::content::Offerer;
use crate::md5::{Digest, digest};
use crate::torrent::Name;

impl Roster {
    /// Whether a peer at one address is the one at another.
    pub(super) fn is_at(&self, a: SocketAddr, b: Option<SocketAddr>) -> bool {
        b.is_some_and(|b| self.reach.key(a) == self.reach.key(b))
    }

    /// Returns true if a peer is here at this address that has all of a file.
    pub fn has_whole(&self, addr: SocketAddr, name: &str) -> bool {
        let peer = self.peers.get(&self.reach.key(addr));
        let held = peer.and_then(|peer| peer.holdings.files.get(name));
        held.is_some_and(|held| match &held.pieces {
            Some(bits) => bits.is_full(),
            None => self.files.n_pieces(name) == 0,
        })
    }

    /// Returns true unless a record is known to have been published from another folder: a report has the MD5 of its key.
    pub fn may_be_from(&self, name: &str, folder: Option<Digest>) -> bool {
        let file = self.files.get(name);
        let key = file.and_then(|file| file.publisher.key.as_deref());
        let both = key.zip(folder);
        both.is_none_or(|(key, folder)| digest(key.as_bytes()) == folder)
    }

    /// Returns true if a peer is here at this address that has all of a file, or has it coming.
    fn has_at(&self, addr: SocketAddr, name: &str) -> bool {
        let peer = self.peers.get(&self.reach.key(addr));
        let is_coming = peer.is_some_and(|peer| peer.folder.has_coming(name));
        is_coming || self.has_whole(addr, name)
    }

    /// Looks again whether a record's publisher is here: after a change of the peer `of` this address, or in any case.
    pub(super) fn see_publisher(&mut self, name: &str, of: Option<SocketAddr>) {
        let Some(file) = self.files.get(name) else {
            return;
        };
        let (Some(record), publisher) = (&file.record, &file.publisher) else {
            return;
        };
        let addr = file.publisher_addr();
        let concerns = |of| self.is_at(of, addr) || self.is_at(of, publisher.second);
        if publisher.key.is_none() || of.is_some_and(|of| !concerns(of)) {
            return;
        }
        let at = |addr: Option<SocketAddr>| addr.filter(|addr| self.has_at(*addr, name));
        let (first, second) = (at(addr), at(publisher.second));
        let (was, here) = (record.here, first.or(second).is_some());
        if let (None, Some(second)) = (first, second) {
            self.publisher_moves(name, second);
        }
        if was != here {
            self.files.change_record(name, |record| record.here = here);
        }
    }

    /// A record's publisher is at this address from now on.
    pub(super) fn publisher_moves(&mut self, name: &str, addr: SocketAddr) {
        let Some(file) = self.files.get_mut(name) else {
            return;
        };
        file.publisher.second = None;
        if file.publisher_addr() == Some(addr) {
            return;
        }
        let before = file.counts();
        file.publisher.counts_for = Some(addr.ip());
        let now = file.counts();
        self.quotas.count_record(before, now);
        let text = addr.to_string();
        self.files
            .change_record(name, |record| record.publisher = text);
    }

    /// Who offers a content under this name.
    pub(super) fn offerer(&self, name: &str, from: SocketAddr, key: &str) -> Offerer {
        let Some(file) = self.files.get(name) else {
            return Offerer::Another;
        };
        let here = file.record.as_ref().is_some_and(|record| record.here);
        match &file.publisher.key {
            Some(publisher) if *publisher == *key => {
                if here && !self.is_at(from, file.publisher_addr()) {
                    Offerer::CopiedFolder
                } else {
                    Offerer::Publisher
                }
            }
            _ => Offerer::Another,
        }
    }

    /// Returns true if a content that the peer at this address has coming may come to stand: where nothing stands that somebody
    /// has, where it is the publisher's, or where the publisher has left what isn't pinned.
    pub(super) fn may_stand(&self, name: &Name, addr: SocketAddr) -> bool {
        let file = self.files.get(name.as_str());
        let Some(file) = file.filter(|file| file.is_live()) else {
            return true;
        };
        let left = file.record.as_ref().is_none_or(|it| !it.here && !it.pinned);
        let (keyed, second) = (file.publisher.key.is_some(), file.publisher.second);
        left || keyed && (self.is_at(addr, file.publisher_addr()) || self.is_at(addr, second))
    }
}
