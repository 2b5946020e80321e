//! The files: what stands in the folder, which pieces are here, and what is told and sent of them.

use std::collections::BTreeMap;
use std::fs::File;
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
use crate::protocol::{Get, Have, Pieces};
use crate::store::{Seen, Stamp};
use crate::torrent::{BadPiece, Name, Torrent};

/// A file whose pieces are here, all or some.
pub struct Held {
    /// What it should be.
    pub torrent: Arc<Torrent>,
    /// The part or the whole file.
    pub file: Arc<File>,
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
    /// Whether the tracker was seen to have its `.torrent`.
    pub listed: bool,
    /// The MD5 of another content that the tracker has under this name, as it refused ours.
    pub refused: Option<Digest>,
    /// What the tracker said as it refused ours last.
    pub(super) refusal: Option<String>,
    /// What came from, and went to, each peer in this run.
    pub exchanged: BTreeMap<PeerNo, Exchanged>,
    /// Bytes that came lately and were verified, and that went.
    pub down: Rate,
    /// See [`Held::down`].
    pub up: Rate,
    /// What was told of it.
    pub(super) told: Told,
    /// Pieces that failed their check: from whom, and what came.
    bad: BTreeMap<u32, Vec<(PeerNo, BadPiece)>>,
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
}

impl Standing {
    pub(super) fn stamp(&self) -> Stamp {
        match self {
            Self::Looked(stamp)
            | Self::Hashing(stamp)
            | Self::Shared(stamp)
            | Self::Unverified(stamp, _) => *stamp,
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
    Piece(Arc<Torrent>, Arc<File>, Option<Stamp>, u32),
    /// None of them is here yet.
    NotHere,
    /// This content isn't here.
    Gone,
}

/// Where a file or piece is that an original asks for by name.
pub enum Found {
    /// In this file, which is stamped so where it stands in the folder, at these bytes.
    Here(Name, Arc<File>, Option<Stamp>, Range<u64>),
    /// On its way.
    Coming,
    /// It isn't here and won't come.
    Unknown,
}

/// What a bad piece proves.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Open,
    /// Two peers sent the same bytes: the list of checkpoints is wrong.
    ListIsWrong,
}

impl State {
    /// Takes a look at the folder, which began when `before` was known to stand there. Returns the files that were left
    /// alone long enough to be hashed, and those that were withdrawn because they changed or went away.
    pub fn looked(
        &mut self,
        before: &BTreeMap<Name, Standing>,
        seen: &[Seen],
    ) -> (Vec<(Name, Stamp)>, Vec<Name>) {
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
        let withdrawn = changed.into_iter().filter(|name| self.withdraw(name));
        let withdrawn = withdrawn.cloned().collect();
        let mut to_hash = Vec::new();
        for (name, stamp) in seen {
            match self.standing.get(&name) {
                None => drop(self.standing.insert(name.clone(), Standing::Looked(stamp))),
                Some(Standing::Looked(_)) => {
                    self.standing.insert(name.clone(), Standing::Hashing(stamp));
                    to_hash.push((name.clone(), stamp));
                }
                Some(_) => {}
            }
        }
        (to_hash, withdrawn)
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
        file: Arc<File>,
        stamp: Stamp,
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
        self.log.push(News {
            name: name.clone(),
            md5: torrent.md5(),
            piece: None,
        });
        let have = Bitfield::full(torrent.n_pieces());
        self.files
            .insert(name, Held::new(torrent, file, have, Some(stamp), now));
        true
    }

    /// Begins a download, of which `have` is here already. False where a file of this name is shared by now.
    pub fn begin(
        &mut self,
        torrent: Arc<Torrent>,
        file: Arc<File>,
        have: Bitfield,
        now: Instant,
    ) -> bool {
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
        self.files
            .insert(name.clone(), Held::new(torrent, file, have, None, now));
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
            .filter(|held| !held.have.is_empty())
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
            .filter(|held| held.torrent.md5() == get.md5)
        else {
            return Served::Gone;
        };
        let here = get.pieces.iter().copied().filter(|idx| held.have.get(*idx));
        match here.min_by_key(|idx| held.sent[*idx as usize]) {
            None => Served::NotHere,
            Some(idx) => {
                held.sent[idx as usize] = held.sent[idx as usize].saturating_add(1);
                Served::Piece(
                    Arc::clone(&held.torrent),
                    Arc::clone(&held.file),
                    held.stamp,
                    idx,
                )
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
        let Some((name, held)) =
            name.and_then(|name| self.files.get(&name).map(|held| (name, held)))
        else {
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
        Found::Here(name, Arc::clone(&held.file), held.stamp, range)
    }

    /// A piece is here, checked and written. Returns whether it is the last; `None` where it was here before.
    pub fn landed(&mut self, peer: PeerNo, name: &Name, idx: u32, now: Instant) -> Option<bool> {
        let held = self.files.get_mut(name)?;
        let new = held.have.set(idx);
        let guilty: Vec<PeerNo> = held
            .bad
            .remove(&idx)
            .unwrap_or_default()
            .into_iter()
            .map(|(peer, _)| peer)
            .collect();
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
            return Verdict::Open;
        }
        let name = torrent.name();
        self.picker.dropped(peer, name, idx);
        self.picker.peer_lacks(peer, name, idx);
        let Some(held) = self.files.get_mut(name) else {
            return Verdict::Open;
        };
        // what is cut short says nothing of the list, and is an original's lost connection more often than a lie
        if matches!(bad, BadPiece::Length { .. }) {
            return Verdict::Open;
        }
        let senders = held.bad.entry(idx).or_default();
        let twice = senders
            .iter()
            .any(|(other, came)| *other != peer && *came == bad);
        senders.push((peer, bad));
        if twice {
            Verdict::ListIsWrong
        } else {
            Verdict::Open
        }
    }
}

impl Held {
    /// Bytes that are here and verified.
    pub fn verified(&self) -> u64 {
        let (torrent, n) = (&self.torrent, self.torrent.n_pieces());
        let full = u64::from(self.have.count()) * torrent.full_piece_len() as u64;
        let last = n.checked_sub(1).filter(|last| self.have.get(*last));
        full - last.map_or(0, |last| {
            (torrent.full_piece_len() - torrent.piece_len(last)) as u64
        })
    }

    /// Bytes that went to others in this run.
    pub fn gave(&self) -> u64 {
        self.exchanged.values().map(|with| with.gave).sum()
    }

    fn new(
        torrent: Arc<Torrent>,
        file: Arc<File>,
        have: Bitfield,
        stamp: Option<Stamp>,
        now: Instant,
    ) -> Self {
        let (sent, had) = (vec![0; torrent.n_pieces() as usize], have.count());
        Self {
            torrent,
            file,
            have,
            stamp,
            sent,
            since: now,
            had,
            listed: false,
            refused: None,
            refusal: None,
            exchanged: BTreeMap::new(),
            down: Rate::default(),
            up: Rate::default(),
            told: Told::new(now),
            bad: BTreeMap::new(),
        }
    }
}
