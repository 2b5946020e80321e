//! What a person may look at: who is there, how far each is, and who stands still. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Roster;
use super::holdings::Holdings;
use crate::protocol::Summary;
use crate::torrent::Name;

/// At most this many files that change are named.
const CHANGING: usize = 20;

/// Some of the peers at one moment; it needs no lock any more.
pub struct SwarmOverview {
    /// How many there are in all.
    pub n_peers: usize,
    /// The first of them.
    pub rows: Vec<Row>,
    /// How many published files somebody has.
    pub n_files: usize,
    /// Of these the largest, but first those of which somebody has another content.
    pub files: Vec<Arc<Summary>>,
}

/// One peer.
pub struct Row {
    /// Where others find it.
    pub addr: SocketAddr,
    /// Whether it speaks the original's messages alone.
    pub original: bool,
    /// How many sweeps there were since its list had something new.
    pub still: u32,
    holdings: Arc<Holdings>,
}

impl Row {
    /// The files that it lists, with how many of their pieces it has, and how many there are. What was never published counts
    /// as one piece.
    pub fn files(&self) -> impl Iterator<Item = (&str, u32, u32)> {
        self.holdings.files.iter().map(|(name, held)| {
            let pieces = held.pieces.as_ref();
            let (n, of) = pieces.map_or((1, 1), |bits| (bits.count(), bits.len()));
            (&**name, n, of)
        })
    }
}

impl Roster {
    /// Whether the peer that others find at this address is here.
    pub fn is_here(&self, addr: SocketAddr) -> bool {
        self.peers.contains_key(&self.reach.key(addr))
    }

    /// What is published under a name, if somebody has it.
    pub fn published(&self, name: &Name) -> Option<Arc<Summary>> {
        let file = self
            .files
            .get(name.as_str())
            .filter(|file| file.is_live())?;
        file.record.clone()
    }

    /// Some of the names under which another content may stand soon; of one file alone if `only` says so.
    pub fn changing(&self, only: Option<&Name>) -> BTreeSet<Name> {
        let peers = self.folders.coming.as_slice().iter();
        let peers = peers.filter_map(|key| self.peers.get(key));
        let coming = peers.flat_map(|peer| {
            let names = peer.folder.coming.iter().map(|coming| &coming.name);
            let names = names.filter(|name| only.is_none_or(|only| only == *name));
            names.filter(|name| self.may_stand(name, peer.holdings.addr))
        });
        coming.take(CHANGING).cloned().collect()
    }

    /// At most this many peers, with what they have, and at most this many files.
    pub fn overview(&self, peers: usize, files: usize) -> SwarmOverview {
        // of equally large ones, those whose names come first, as peers report them
        let rank = |name: &Arc<str>| {
            let record = self.files.record(name);
            record.map(|it| {
                let has_others = self.may_have_others(&it.name);
                (!has_others, Reverse(it.size), it.name.clone())
            })
        };
        let mut live: Vec<Arc<str>> = self.files.live().to_vec();
        let n_files = live.len();
        if live.len() > files {
            live.select_nth_unstable_by_key(files, rank);
            live.truncate(files);
        }
        live.sort_by_key(rank);
        let some = self.everyone.as_slice().iter().take(peers);
        let some = some.filter_map(|key| self.peers.get(key));
        let rows = some.map(|peer| Row {
            addr: peer.holdings.addr,
            original: !peer.is_ours(),
            still: self.sweeps - peer.last_grew,
            holdings: Arc::clone(&peer.holdings),
        });
        SwarmOverview {
            n_peers: self.n_peers(),
            rows: rows.collect(),
            n_files,
            files: live
                .iter()
                .filter_map(|name| self.with_other_copies(name))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::OTHERS_TOLD;
    use crate::roster::Reachability;
    use crate::roster::tests::{folder, lan, publish, summary};

    #[test]
    fn a_file_with_a_conflict_is_shown_before_larger_ones() {
        let mut roster = Roster::new(Reachability::Remote);
        for (port, name, size) in [(1, "large", 3), (2, "small", 1), (3, "middle", 2)] {
            let file = Summary {
                size,
                ..summary(name, 9, "a")
            };
            publish(&mut roster, lan(2), port, &file).expect("the first");
        }
        let names = |roster: &Roster| {
            let files = roster.overview(10, 2).files;
            let of = |file: &Arc<Summary>| (file.name.to_string(), file.others.len());
            files.iter().map(of).collect::<Vec<_>>()
        };
        let of = |name: &str, others| (name.to_owned(), others);
        assert_eq!(names(&roster), [of("large", 0), of("middle", 0)]);
        folder(
            &mut roster,
            lan(4),
            5,
            &[],
            &[],
            &[("small", "b"), ("nobody's", "b")],
        );
        assert_eq!(names(&roster), [of("small", 1), of("large", 0)]);
        for host in 10..40 {
            folder(&mut roster, lan(host), 5, &[], &[], &[("small", "b")]);
        }
        assert_eq!(names(&roster)[0], of("small", OTHERS_TOLD));
        for host in (10..40).chain([4]) {
            folder(&mut roster, lan(host), 5, &[], &[], &[]);
        }
        assert_eq!(names(&roster), [of("large", 0), of("middle", 0)]);
    }

    #[test]
    fn of_equally_large_files_those_are_told_that_peers_report() {
        let mut roster = Roster::new(Reachability::Remote);
        for n in (10..90).rev() {
            let file = summary(&n.to_string(), 9, "a");
            publish(&mut roster, lan(2), 1, &file).expect("the first");
        }
        let files = roster.overview(0, 20).files;
        let names: Vec<String> = files.iter().map(|file| file.name.to_string()).collect();
        let first: Vec<String> = (10..30).map(|n| n.to_string()).collect();
        assert_eq!(names, first);
    }
}
