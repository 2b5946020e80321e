//! Who published a record: known by a key, found at an address. Pure.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Roster;
use super::has::FileNo;
use crate::content::Offerer;
use crate::torrent::Name;

/// The publisher of a record.
#[derive(Clone, Default)]
pub(super) struct Publisher {
    /// Never told to anybody. None of a record that was made anew from a received copy: then nobody counts as its publisher.
    pub(super) key: Option<Arc<str>>,
    /// Where it was when it published last.
    pub(super) addr: Option<SocketAddr>,
    /// Where somebody with the same key published later while the publisher was here: a copied folder, or the publisher itself,
    /// started again, whose first address wasn't swept yet.
    pub(super) second: Option<SocketAddr>,
    /// Against whose cap the record counts.
    pub(super) counts_for: Option<IpAddr>,
    /// Whether the record came from the disk, and wasn't published in this run.
    pub(super) loaded: bool,
}

impl Roster {
    fn is_at(&self, a: SocketAddr, b: Option<SocketAddr>) -> bool {
        b.is_some_and(|b| self.reach.key(a) == self.reach.key(b))
    }

    /// Whether a peer that is here at this address has all of a file, or has it coming.
    fn has_at(&self, addr: SocketAddr, no: FileNo) -> bool {
        let Some(peer) = self.by_key.get(&self.reach.key(addr)) else {
            return false;
        };
        let (peer, file) = (&self.peers[*peer], &self.files[no]);
        let held = peer.has.of(no);
        let whole = held.is_some_and(|held| match &held.bits {
            Some(bits) => bits.is_full(),
            None => held.named && file.counts.n_pieces() == 0,
        });
        let comes = |name: &Name| name.as_str() == &*file.name;
        whole || peer.folder.coming.iter().any(|it| comes(&it.name))
    }

    /// Sees anew whether a record's publisher is here, where the peer `of` this address may be it, or in any case.
    pub(super) fn see_publisher(&mut self, no: FileNo, of: Option<SocketAddr>) {
        let Some(file) = self.files.get(no) else {
            return;
        };
        let (Some(record), publisher) = (&file.record, &file.publisher) else {
            return;
        };
        let concerns = |of| self.is_at(of, publisher.addr) || self.is_at(of, publisher.second);
        if publisher.key.is_none() || of.is_some_and(|of| !concerns(of)) {
            return;
        }
        let at = |addr: Option<SocketAddr>| addr.filter(|addr| self.has_at(*addr, no));
        let (first, second) = (at(publisher.addr), at(publisher.second));
        let (was, here) = (record.here, first.or(second).is_some());
        if let (None, Some(second)) = (first, second) {
            self.publisher_moves(no, second);
        }
        if was != here {
            self.files.change_record(no, |record| record.here = here);
        }
    }

    /// A record's publisher is at this address from now on.
    pub(super) fn publisher_moves(&mut self, no: FileNo, addr: SocketAddr) {
        let publisher = &mut self.files[no].publisher;
        publisher.second = None;
        if publisher.addr == Some(addr) {
            return;
        }
        publisher.addr = Some(addr);
        let before = publisher.counts_for.replace(addr.ip());
        if let Some(before) = before {
            self.addresses.change(before, |tally| tally.files -= 1);
        }
        self.addresses.change(addr.ip(), |tally| tally.files += 1);
        let text = addr.to_string();
        self.files
            .change_record(no, |record| record.publisher = text);
    }

    /// Who offers a content under the name of a record.
    pub(super) fn offerer(&self, no: FileNo, from: SocketAddr, key: &str) -> Offerer {
        let file = &self.files[no];
        let here = file.record.as_ref().is_some_and(|record| record.here);
        match &file.publisher.key {
            Some(publisher) if **publisher == *key => {
                if here && !self.is_at(from, file.publisher.addr) {
                    Offerer::CopiedFolder
                } else {
                    Offerer::Publisher
                }
            }
            _ => Offerer::Another,
        }
    }

    /// Whether a content that the peer at this address has coming may come to stand: where nothing stands that somebody has,
    /// where it is the publisher's, or where the publisher has left what isn't pinned.
    pub(super) fn may_stand(&self, name: &Name, addr: SocketAddr) -> bool {
        let no = self.files.find(name.as_str());
        let Some(no) = no.filter(|no| self.files.is_live(*no)) else {
            return true;
        };
        let file = &self.files[no];
        let left = file.record.as_ref().is_none_or(|it| !it.here && !it.pinned);
        let publisher = &file.publisher;
        let keyed = publisher.key.is_some();
        left || keyed && (self.is_at(addr, publisher.addr) || self.is_at(addr, publisher.second))
    }
}
