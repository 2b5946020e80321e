//! The files: what stands in the folder, which pieces are here, and what is told and sent of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::State;
use super::peers::OFFERS;
use super::rate::Rate;
use super::telling::Told;
use crate::bitfield::Bitfield;
use crate::md5::Digest;
use crate::picker::PeerNo;
use crate::protocol::{Coming, Get, Have, Pieces};
use crate::store::{Place, Seen, Stamp};
use crate::torrent::{BadPiece, Name, Torrent};

/// A file whose last change is so long ago was left alone, seconds.
const LEFT_ALONE: i64 = 10;
/// The most files that a list tells of as being hashed, or as having another content.
const COMING: usize = 100;
/// A peer is asked so often for a piece that it sends wrong, where nobody else has it.
const RETRIES: usize = 3;

/// A file whose pieces are here, all or some.
pub struct Held {
    /// What it should be.
    pub torrent: Arc<Torrent>,
    /// The pieces that are here and checked.
    pub have: Bitfield,
    /// The whole file as it stands in the folder; none while it is a part.
    pub stamp: Option<Stamp>,
    /// How often each piece was sent.
    sent: Vec<u16>,
    /// When its download began.
    pub since: Instant,
    /// Pieces that were here already when the download began.
    pub had: u32,
    /// Whether it came from a swarm, in this run or an earlier one; otherwise it is the user's own.
    pub received: bool,
    /// Whether it was downloaded in this run.
    pub downloaded: bool,
    /// Pieces that were copied from other files as the download began.
    pub reused: u32,
    /// What the tracker says of this content.
    pub word: Word,
    /// Whether people were told that it is shared.
    pub announced: bool,
    /// What came from, and went to, each peer in this run.
    pub exchanged: BTreeMap<PeerNo, Exchanged>,
    /// Bytes that came lately and were verified, and that went.
    pub down: Rate,
    /// See [`Held::down`].
    pub up: Rate,
    /// What was told of it.
    pub(super) told: Told,
    /// Pieces that failed their check, and who sent them so.
    bad: BTreeMap<u32, Vec<PeerNo>>,
}

/// What the tracker says of a content that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nothing, or nothing that still holds: it is to be published.
    Unasked,
    /// It is the content that stands under its name.
    Stands {
        /// Whether this peer is its publisher.
        mine: bool,
    },
    /// Another content stands under its name.
    Other {
        /// That content's MD5.
        md5: Digest,
        /// Since when that content, or its publisher, hasn't been seen: after a while this one is published again.
        gone_since: Option<Instant>,
    },
    /// It wasn't taken for another reason.
    Refused {
        /// The tracker's reason.
        why: String,
        /// When it said so.
        at: Instant,
    },
}

/// What came from a peer, and went to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Requests for its pieces.
    pub asked: u64,
    /// Pieces that came, and were new.
    pub pieces: u64,
    /// Their bytes.
    pub got: u64,
    /// Pieces that went.
    pub sent: u64,
    /// Bytes that went.
    pub gave: u64,
    /// Who it was, and its latency, once it has left.
    pub left: Option<(SocketAddr, Option<Duration>)>,
}

/// What stands in the folder under a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// Seen once; it may still be growing.
    Looked(Stamp),
    /// Being hashed.
    Hashing(Stamp),
    /// Shared.
    Shared(Stamp),
    /// Came twice the same from originals, and nobody knows its MD5.
    Unverified(Stamp, Digest),
    /// Has another content than the swarm's, of this MD5, and stands until that is here and replaces it.
    Outdated(Stamp, Digest),
}

impl Standing {
    pub(super) fn stamp(&self) -> Stamp {
        match self {
            Self::Looked(stamp)
            | Self::Hashing(stamp)
            | Self::Shared(stamp)
            | Self::Unverified(stamp, _)
            | Self::Outdated(stamp, _) => *stamp,
        }
    }
}

/// One piece that has come here, for those who ask for news.
#[derive(Clone)]
pub(super) struct News {
    name: Name,
    md5: Digest,
    /// None is the whole file.
    piece: Option<u32>,
}

/// What to send to a holder's asker.
pub enum Served {
    /// This piece of this file.
    Piece(Arc<Torrent>, Place, u32),
    /// None of them is here yet.
    NotHere,
    /// This content isn't here.
    Gone,
}

/// Where a file or piece is that an original asks for by name.
pub enum Found {
    /// In this file, at these bytes.
    Here(Place, Range<u64>),
    /// On its way.
    Coming,
    /// It isn't here and won't come.
    Unknown,
}

/// What a bad piece proves.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing but that this copy is bad.
    BadCopy,
    /// The publisher's own bytes fail its own list, also after it has read them once more.
    PublisherIsFaulty,
}

/// What a look at the folder found.
#[derive(Debug, Default, PartialEq)]
pub struct Looked {
    /// Files that were left alone long enough to be hashed.
    pub to_hash: Vec<(Name, Stamp)>,
    /// Shared files that changed.
    pub withdrawn: Vec<Name>,
    /// Shared files that went away.
    pub deleted: Vec<Name>,
    /// Whether other files than before are hashed, or seen to change.
    pub news: bool,
}

impl State {
    /// Takes a look at the folder, which began when `before` was known to stand there; `today` is the wall clock's time,
    /// seconds since 1970. A file whose last change is old was left alone; of any other that is known at the second look.
    pub fn looked(
        &mut self,
        before: &BTreeMap<Name, Standing>,
        seen: &[Seen],
        today: i64,
    ) -> Looked {
        let file = |seen: &Seen| match seen {
            Seen::File(name, stamp) => Some((name.clone(), *stamp)),
            Seen::Odd(..) => None,
        };
        let seen: BTreeMap<Name, Stamp> = seen.iter().filter_map(file).collect();
        let changed = |(name, standing): &(&Name, &Standing)| {
            seen.get(*name) != Some(&standing.stamp())
                && self.standing.get(*name) == Some(*standing)
        };
        let changed: Vec<&Name> = before
            .iter()
            .filter(changed)
            .map(|(name, _)| name)
            .collect();
        let mut looked = Looked::default();
        for name in changed {
            let md5 = self.files.get(name).map(|held| held.torrent.md5());
            if !self.withdraw(name) {
                continue;
            }
            if seen.contains_key(name) {
                looked.withdrawn.push(name.clone());
            } else {
                self.deleted.extend(md5.map(|md5| (name.clone(), md5)));
                looked.deleted.push(name.clone());
            }
        }
        for (name, stamp) in seen {
            let known = self.standing.get(&name);
            let old = today.saturating_sub(stamp.mtime.0) >= LEFT_ALONE;
            looked.news |= known.is_none();
            if matches!(known, Some(Standing::Looked(_))) || known.is_none() && old {
                self.standing.insert(name.clone(), Standing::Hashing(stamp));
                looked.to_hash.push((name, stamp));
            } else if known.is_none() {
                self.standing.insert(name, Standing::Looked(stamp));
            }
        }
        looked
    }

    /// The files that are being hashed or may still be growing: what they contain will be published.
    pub fn coming(&self) -> Vec<Coming> {
        let coming = |(name, standing): (&Name, &Standing)| {
            let (Standing::Looked(stamp) | Standing::Hashing(stamp)) = standing else {
                return None;
            };
            let done = self.progress.get(name).map_or(0, |(done, _)| *done);
            Some(Coming {
                name: name.clone(),
                size: stamp.size,
                done,
                peer: String::new(),
            })
        };
        let coming = self.standing.iter().filter_map(coming);
        coming.take(COMING).collect()
    }

    /// The files of the folder whose content isn't the swarm's, with their MD5s.
    pub fn other_contents(&self) -> BTreeMap<Name, Digest> {
        let refused = self.files.iter();
        let refused = refused.filter(|(_, held)| matches!(held.word, Word::Other { .. }));
        let refused = refused.map(|(name, held)| (name.clone(), held.torrent.md5()));
        let outdated = self.standing.iter().filter_map(|(name, standing)| {
            let Standing::Outdated(_, md5) = standing else {
                return None;
            };
            Some((name.clone(), *md5))
        });
        refused.chain(outdated).take(COMING).collect()
    }

    /// Whether nothing in the folder, in the swarm or on its way has this name.
    pub fn is_free(&self, name: &Name) -> bool {
        !self.standing.contains_key(name)
            && !self.files.contains_key(name)
            && !self.swarm.contains_key(name)
            && !self.beginning.contains(name)
            && !self.uploads.contains_key(name)
    }

    /// An uploaded file stands in the folder, and grows no more: it can be hashed at once.
    pub fn uploaded(&mut self, name: &Name, stamp: Stamp) -> bool {
        let known = self.standing.get(name);
        let new = known.is_none_or(|known| *known == Standing::Looked(stamp));
        if new {
            self.standing.insert(name.clone(), Standing::Hashing(stamp));
        }
        new
    }

    /// What an earlier run may know, and, with true, what the swarm has the MD5 of by now.
    pub fn unsettled(&self) -> Vec<(Name, Stamp, bool)> {
        let unsettled = |(name, standing): (&Name, &Standing)| match standing {
            Standing::Looked(stamp) => Some((name.clone(), *stamp, false)),
            Standing::Unverified(stamp, md5) => self
                .swarm
                .get(name)
                .filter(|summary| summary.md5 == *md5)
                .map(|_| (name.clone(), *stamp, true)),
            _ => None,
        };
        self.standing.iter().filter_map(unsettled).collect()
    }

    /// A file that stands in the folder is shared no more. Returns whether it was.
    pub fn withdraw(&mut self, name: &Name) -> bool {
        self.standing.remove(name);
        self.stuck.remove(name);
        let whole = self
            .files
            .get(name)
            .is_some_and(|held| held.stamp.is_some());
        if whole {
            self.files.remove(name);
        }
        whole
    }

    /// A whole file of the folder is shared from now on, unless it changed meanwhile, or is shared already.
    pub fn share(
        &mut self,
        torrent: Arc<Torrent>,
        stamp: Stamp,
        received: bool,
        now: Instant,
    ) -> bool {
        let name = torrent.name().clone();
        let shared = Standing::Shared(stamp);
        let standing = self.standing.get(&name);
        if standing.is_some_and(|standing| standing.stamp() != stamp || *standing == shared) {
            return false;
        }
        self.standing.insert(name.clone(), shared);
        self.stuck.remove(&name);
        self.picker.unwant(&name);
        let have = Bitfield::full(torrent.n_pieces());
        let mut held = Held::new(torrent, have, Some(stamp), now);
        held.received = received;
        if let Some(word) = self.word_by_pin(&name, held.torrent.md5()) {
            held.word = word;
        }
        self.files.insert(name, held);
        true
    }

    /// Others may know that this whole file is here.
    pub(super) fn announce(&mut self, name: &Name) {
        if let Some(held) = self.files.get(name) {
            let (name, md5, piece) = (name.clone(), held.torrent.md5(), None);
            self.log.push(News { name, md5, piece });
        }
    }

    /// Begins a download, of which `have` is here already. False where a file of this name is shared by now.
    pub fn begin(&mut self, torrent: Arc<Torrent>, have: Bitfield, now: Instant) -> bool {
        let name = torrent.name().clone();
        self.beginning.remove(&name);
        self.stuck.remove(&name);
        if self.files.contains_key(&name) {
            return false;
        }
        if !have.is_full() {
            self.picker.want(&torrent, have.clone());
        }
        for idx in have.iter() {
            self.log.push(News {
                name: name.clone(),
                md5: torrent.md5(),
                piece: Some(idx),
            });
        }
        let mut held = Held::new(torrent, have, None, now);
        held.received = true;
        held.word = Word::Stands { mine: false };
        self.files.insert(name.clone(), held);
        let offers: Vec<_> = self
            .peers
            .iter_mut()
            .filter_map(|(no, peer)| Some((*no, peer.offers.remove(&name)?)))
            .collect();
        offers
            .into_iter()
            .for_each(|(no, pieces)| self.offers(no, &name, pieces));
        true
    }

    /// Whether this very download goes on: its file may have been given up, or begun anew, while a piece of it came.
    pub fn goes_on(&self, torrent: &Arc<Torrent>) -> bool {
        let held = self.files.get(torrent.name());
        held.is_some_and(|held| Arc::ptr_eq(&held.torrent, torrent))
    }

    /// Forgets what is here of a file; it may be begun anew.
    pub fn drop_file(&mut self, name: &Name) {
        self.picker.unwant(name);
        self.files.remove(name);
    }

    /// A file can't be had. What is here of it is served no more.
    pub fn give_up(&mut self, name: &Name, why: String) {
        self.drop_file(name);
        self.beginning.remove(name);
        self.given_up.insert(name.clone(), why);
    }

    /// Everything that is here, for a hello; and the place in the news from which on what comes is new.
    pub fn haves(&self) -> (Vec<Have>, usize) {
        let have = |held: &Held| {
            let torrent = &held.torrent;
            Have {
                name: torrent.name().clone(),
                md5: torrent.md5(),
                pieces: Pieces::of(&held.have),
            }
        };
        let mut held: Vec<&Held> = self
            .files
            .values()
            .filter(|held| !held.have.is_empty() && held.is_offered())
            .collect();
        // what is whole, the tracker's list tells, too
        held.sort_by_key(|held| held.have.is_full());
        (
            held.into_iter().take(OFFERS).map(have).collect(),
            self.log.len(),
        )
    }

    /// What came here since the place `from` in the news.
    pub fn news(&self, from: usize) -> (Vec<Have>, usize) {
        let mut by_file: BTreeMap<&Name, (Digest, Option<Vec<u32>>)> = BTreeMap::new();
        for news in &self.log[from..] {
            let (_, idxs) = by_file
                .entry(&news.name)
                .or_insert_with(|| (news.md5, Some(Vec::new())));
            match (news.piece, idxs) {
                (Some(idx), Some(idxs)) => idxs.push(idx),
                (None, idxs) => *idxs = None,
                (Some(_), None) => {}
            }
        }
        let pieces = |idxs: Option<Vec<u32>>| {
            idxs.map_or_else(|| Pieces::Digits("all".to_owned()), Pieces::These)
        };
        let have = by_file.into_iter().map(|(name, (md5, idxs))| Have {
            name: name.clone(),
            md5,
            pieces: pieces(idxs),
        });
        (have.collect(), self.log.len())
    }

    /// Bytes that are wanted and not here, of all files that were begun.
    pub fn missing(&self) -> u64 {
        let missing = self.files.values().map(|held| {
            let n = held.torrent.n_pieces() - held.have.count();
            (u64::from(n) * held.torrent.full_piece_len() as u64).min(held.torrent.size())
        });
        missing.sum()
    }

    /// Notes a request that goes to a peer.
    pub fn asked(&mut self, peer: PeerNo, get: &Get) {
        if let Some(held) = self.files.get_mut(&get.name)
            && !get.pieces.is_empty()
        {
            held.exchanged.entry(peer).or_default().asked += 1;
        }
    }

    /// What to send for a request.
    pub fn choose(&mut self, get: &Get) -> Served {
        let Some(held) = self
            .files
            .get_mut(&get.name)
            .filter(|held| held.torrent.md5() == get.md5 && held.is_offered())
        else {
            return Served::Gone;
        };
        let here = get.pieces.iter().copied().filter(|idx| held.have.get(*idx));
        match here.min_by_key(|idx| held.sent[*idx as usize]) {
            None => Served::NotHere,
            Some(idx) => {
                held.sent[idx as usize] = held.sent[idx as usize].saturating_add(1);
                Served::Piece(Arc::clone(&held.torrent), held.place(), idx)
            }
        }
    }

    /// What an original means by `filename`: a piece by its name, or a whole file.
    pub fn find(&self, filename: &str) -> Found {
        let piece = Name::parse_piece(filename);
        let name = piece
            .as_ref()
            .map(|(name, _)| name.clone())
            .or_else(|| Name::parse(filename).ok());
        let Some(held) = name.and_then(|name| self.files.get(&name)) else {
            return Found::Unknown;
        };
        let torrent = &held.torrent;
        let range = match piece {
            Some((_, idx)) if idx >= torrent.n_pieces() => return Found::Unknown,
            Some((_, idx)) if !held.have.get(idx) => return Found::Coming,
            None if !held.have.is_full() => return Found::Coming,
            Some((_, idx)) => {
                torrent.piece_start(idx)..torrent.piece_start(idx) + torrent.piece_len(idx) as u64
            }
            None => 0..torrent.size(),
        };
        Found::Here(held.place(), range)
    }

    /// A piece is here, checked and written. Returns whether it is the last; `None` where it was here before.
    pub fn landed(&mut self, peer: PeerNo, name: &Name, idx: u32, now: Instant) -> Option<bool> {
        let held = self.files.get_mut(name)?;
        let new = held.have.set(idx);
        let guilty: Vec<PeerNo> = held.bad.remove(&idx).unwrap_or_default();
        let (md5, whole) = (held.torrent.md5(), held.have.is_full());
        if new {
            let len = held.torrent.piece_len(idx) as u64;
            let exchanged = held.exchanged.entry(peer).or_default();
            exchanged.pieces += 1;
            exchanged.got += len;
            held.down.note(len, now);
            if held.is_tenth() {
                held.told_progress(now);
            }
        }
        self.picker.landed(name, idx);
        self.disk_told = false;
        // the list is right about this piece, so who sent another content of it was wrong
        for peer in guilty {
            if let Some(known) = self.peers.get_mut(&peer) {
                known.strikes += 1;
            }
        }
        if !new {
            return None;
        }
        self.log.push(News {
            name: name.clone(),
            md5,
            piece: Some(idx),
        });
        if whole {
            self.picker.unwant(name);
        }
        Some(whole)
    }

    /// A piece of this download came, and isn't what it should be.
    pub fn failed(
        &mut self,
        peer: PeerNo,
        torrent: &Arc<Torrent>,
        idx: u32,
        bad: BadPiece,
    ) -> Verdict {
        if !self.goes_on(torrent) {
            return Verdict::BadCopy;
        }
        let name = torrent.name();
        self.picker.dropped(peer, name, idx);
        let publishes = self.publishes(peer, name);
        let Some(held) = self.files.get_mut(name) else {
            return Verdict::BadCopy;
        };
        // what is cut short says nothing of the list, and is an original's lost connection more often than a lie
        if matches!(bad, BadPiece::Length { .. }) {
            self.picker.peer_lacks(peer, name, idx);
            return Verdict::BadCopy;
        }
        let senders = held.bad.entry(idx).or_default();
        senders.push(peer);
        let times = senders.iter().filter(|sender| **sender == peer).count();
        // the publisher is asked once more, and reads it from its disk again
        if publishes && times == 1 {
            return Verdict::BadCopy;
        }
        self.picker.peer_lacks(peer, name, idx);
        if publishes && times == 2 {
            Verdict::PublisherIsFaulty
        } else {
            Verdict::BadCopy
        }
    }

    /// Whether this peer published the content that stands under the name, by the tracker's word.
    fn publishes(&self, peer: PeerNo, name: &Name) -> bool {
        let addr = self.peers.get(&peer).map(|peer| peer.addr);
        let listed = self.swarm.get(name).filter(|listed| listed.here);
        let publisher = listed.and_then(|listed| listed.publisher.parse().ok());
        publisher.is_some() && publisher == addr
    }

    /// The pieces that only bad copies came of, with who sent these; of each file those that nobody else has.
    pub fn without_good_copy(&self) -> Vec<(&Name, u32, Vec<SocketAddr>)> {
        let mut found = Vec::new();
        for (name, held) in &self.files {
            let nowhere = self.picker.nowhere(name);
            for idx in nowhere.iter().filter(|idx| held.bad.contains_key(idx)) {
                let mut tried: Vec<SocketAddr> = held.bad[idx]
                    .iter()
                    .filter_map(|peer| Some(self.peers.get(peer)?.addr))
                    .collect();
                tried.sort();
                tried.dedup();
                found.push((name, *idx, tried));
            }
        }
        found
    }

    /// Gives those that sent a piece wrong another chance, where nobody else has it: a bit may have been lost on the way.
    pub fn retry_bad_pieces(&mut self) {
        let State {
            files,
            picker,
            peers,
            ..
        } = self;
        for (name, held) in files {
            for idx in picker.nowhere(name) {
                for peer in held.bad.get(&idx).into_iter().flatten() {
                    let times = held.bad[&idx].iter().filter(|sender| *sender == peer);
                    if times.count() < RETRIES && peers.contains_key(peer) {
                        picker.peer_has(*peer, name, [idx]);
                    }
                }
            }
        }
    }
}

impl Held {
    /// Where its bytes are read.
    pub fn place(&self) -> Place {
        match self.stamp {
            Some(stamp) => Place::Whole(self.torrent.name().clone(), stamp),
            None => Place::part(&self.torrent),
        }
    }

    /// Bytes that are here and verified.
    pub fn verified(&self) -> u64 {
        let (torrent, n) = (&self.torrent, self.torrent.n_pieces());
        let full = u64::from(self.have.count()) * torrent.full_piece_len() as u64;
        let last = n.checked_sub(1).filter(|last| self.have.get(*last));
        full - last.map_or(0, |last| {
            (torrent.full_piece_len() - torrent.piece_len(last)) as u64
        })
    }

    /// Whether others are told of it and given it: not while another content stands under its name.
    pub fn is_offered(&self) -> bool {
        self.stamp.is_none() || !matches!(self.word, Word::Other { .. })
    }

    /// Bytes that went to others in this run.
    pub fn gave(&self) -> u64 {
        self.exchanged.values().map(|with| with.gave).sum()
    }

    fn new(torrent: Arc<Torrent>, have: Bitfield, stamp: Option<Stamp>, now: Instant) -> Self {
        let (sent, had) = (vec![0; torrent.n_pieces() as usize], have.count());
        Self {
            torrent,
            have,
            stamp,
            sent,
            since: now,
            had,
            received: false,
            downloaded: false,
            reused: 0,
            word: Word::Unasked,
            announced: false,
            exchanged: BTreeMap::new(),
            down: Rate::default(),
            up: Rate::default(),
            told: Told::new(now),
            bad: BTreeMap::new(),
        }
    }
}
