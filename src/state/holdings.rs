//! The files of which pieces are here, from the beginning of a download on, and what is reported and sent of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::rate::Rate;
use super::telling::ToldOfFile;
use super::{OtherPeer, PaceTally, Standing, State};
use crate::md5::Digest;
use crate::picker::PeerId;
use crate::protocol::{Get, Have, PEER_CAP, Pieces, to_bytes};
use crate::store::{Location, Part, Stamp, StoredPieces, WholeFile};
use crate::torrent::{Name, Torrent};

/// Bytes of what one hello tells, but for the last file: half of what the other end reads.
const HELLO_ROOM: usize = PEER_CAP / 2;
/// How many pieces or whole files one message tells as news: those of the longest names, with each of their bytes escaped,
/// take some 750 KB.
const NEWS_TOLD: usize = 500;

/// A file of which all or some pieces are here.
pub struct Held {
    /// What the file should be.
    pub torrent: Arc<Torrent>,
    /// The MD5s of the heads that it goes on from: a request for one of these is for its own first pieces.
    heads: Vec<Digest>,
    /// The pieces that are here and checked.
    pub have: StoredPieces,
    /// The whole file in the folder; `None` while it is a part.
    pub stamp: Option<Stamp>,
    /// Of the head of a file that is being hashed here: that file, in which its pieces are.
    pub(super) hashing: Option<Stamp>,
    /// How often each piece was sent.
    pub(super) sent: Vec<u16>,
    /// When its download began.
    pub since: Instant,
    /// Pieces that were here already when the download began.
    pub had: u32,
    /// Whether it came from a swarm, in this run or an earlier one; otherwise it is the user's own.
    pub received: bool,
    /// Whether it was downloaded in this run.
    pub downloaded: bool,
    /// Bytes that were copied from other files when the download began.
    pub reused: u64,
    /// What the tracker says about this content.
    pub word: TrackerWord,
    /// Whether people were told that it is shared.
    pub announced: bool,
    /// What came from each peer, and what was sent to it, in this run, by the address where it listens; `None` for those that
    /// aren't remembered.
    pub exchanged: BTreeMap<Option<SocketAddr>, Exchanged>,
    /// The recent speed of verified bytes that came, and of bytes that were sent.
    pub down: Rate,
    /// See [`Held::down`].
    pub up: Rate,
    /// What holds its download up.
    pub(super) tally: PaceTally,
    /// What was reported about it.
    pub(super) told: ToldOfFile,
    /// Pieces that failed their check, and the peers that sent them.
    pub(super) bad: BTreeMap<u32, Vec<PeerId>>,
}

/// What the tracker says about a content that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackerWord {
    /// Nothing, or nothing that still holds: the content has yet to be published.
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
        /// Since when that content, or its publisher, hasn't been seen: after a while this content is published again.
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

/// What came from a peer, and what was sent to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Requests for its pieces.
    pub asked: u64,
    /// Pieces that came and were new.
    pub pieces: u64,
    /// Their bytes.
    pub got: u64,
    /// Pieces that were sent.
    pub sent: u64,
    /// Bytes that were sent.
    pub gave: u64,
    /// The smallest round trip seen.
    pub latency: Option<Duration>,
}

/// One piece that has come, for peers that ask for news.
#[derive(Clone)]
pub(super) struct News {
    pub(super) name: Name,
    pub(super) md5: Digest,
    /// The piece; `None` means the whole file.
    pub(super) piece: Option<u32>,
}

impl News {
    pub(super) fn of_piece(torrent: &Torrent, idx: u32) -> Self {
        Self {
            name: torrent.name().clone(),
            md5: torrent.md5(),
            piece: Some(idx),
        }
    }
}

/// What to send to a peer that asks for pieces.
pub enum Served {
    /// This piece of this file.
    Piece(Arc<Torrent>, Location, u32),
    /// None of the pieces is here yet.
    NotHere,
    /// This content isn't here.
    Gone,
}

impl Served {
    /// The answer to a request by a content that isn't here. Whoever asks for nothing but news has to name one, and is told of
    /// all that comes: as gone, it would be asked for again at once, and the news would be lost.
    pub(super) fn without(get: &Get) -> Self {
        match get.pieces.is_empty() {
            true => Self::NotHere,
            false => Self::Gone,
        }
    }
}

/// Where a file or piece is that an original asks for by name.
pub enum Found {
    /// In this file, at these bytes.
    Here(Location, Range<u64>),
    /// On its way.
    Coming,
    /// It isn't here and won't come.
    Unknown,
}

impl State {
    /// Begins a download, of which `part` is here already; it takes the place of a head. Returns false if something
    /// else has the name by now.
    pub fn begin(&mut self, torrent: &Arc<Torrent>, part: Part, now: Instant) -> bool {
        let name = torrent.name().clone();
        self.beginning.remove(&name);
        self.stuck.remove(&name);
        if self.is_taken(&name) {
            return false;
        }
        let continues = |head: &Held| {
            let continued = part.continues.as_ref();
            continued.is_some_and(|continued| Arc::ptr_eq(continued, &head.torrent))
        };
        let head = self.files.remove(&name).filter(continues);
        let mut have = part.pieces;
        if let Some(head) = &head {
            // more of it may have come since
            have.add_head(&head.torrent, &head.have, torrent);
        }
        if have.is_full() {
            self.picker.unwant(&name);
        } else if head.is_some() {
            self.picker.extend(torrent, &have);
        } else {
            self.picker.want(torrent, &have, &part.blocks);
        }
        for idx in have.iter() {
            self.news.push(News::of_piece(torrent, idx));
        }
        let mut held = Held::new(Arc::clone(torrent), have, None, now);
        held.received = true;
        held.reused = part.reused;
        if !held.is_head() {
            held.word = TrackerWord::Stands { mine: false };
        }
        held.goes_on_from(head);
        self.files.insert(name.clone(), held);
        self.take_offers(torrent);
        true
    }

    /// Returns the `.torrent` by which piece `idx` of the content with this MD5 is checked, if that is still wanted.
    pub fn torrent_with(&self, name: &Name, md5: Digest, idx: u32) -> Option<Arc<Torrent>> {
        let held = self.files.get(name).filter(|held| held.begins_with(md5));
        let held = held.filter(|held| idx < held.torrent.n_pieces())?;
        Some(Arc::clone(&held.torrent))
    }

    /// Returns the files of which pieces are here.
    pub fn files(&self) -> &BTreeMap<Name, Held> {
        &self.files
    }

    /// Returns where a whole file of the folder is read, its stamp from when it was hashed, and its MD5.
    pub fn whole_file(&self, name: &Name) -> Option<(Location, Stamp, Digest)> {
        let held = self.files.get(name)?;
        Some((held.location(), held.stamp?, held.torrent.md5()))
    }

    /// Returns a download whose pieces are all here and which has no final name yet: its `.torrent` and pieces, and the
    /// outdated file that it replaces.
    pub fn completes(&self, name: &Name) -> Option<Completing> {
        let held = self.files.get(name)?;
        let outdated = match self.standing.get(name) {
            Some(Standing::Outdated(stamp, _)) => Some(*stamp),
            _ => None,
        };
        let is_whole_part = held.stamp.is_none() && !held.is_head();
        is_whole_part.then(|| Completing {
            torrent: Arc::clone(&held.torrent),
            pieces: held.have.clone(),
            replaced: outdated,
        })
    }

    /// Notes that a download has its final name.
    pub fn completed(&mut self, file: &WholeFile) {
        let (name, stamp) = (file.torrent().name(), file.stamp());
        let held = self.files.get_mut(name);
        // if it was dropped meanwhile, the next look finds the file
        if let Some(held) = held.filter(|held| held.have.is_full()) {
            held.stamp = Some(stamp);
            held.downloaded = true;
            held.announced = true;
            held.told_given();
            self.standing.insert(name.clone(), Standing::Shared(stamp));
        }
    }

    /// Returns true if a piece of this very download is still missing here.
    pub fn lacks_piece(&self, torrent: &Arc<Torrent>, idx: u32) -> bool {
        self.goes_on(torrent) && !self.files[torrent.name()].have.get(idx)
    }

    /// Gives back the claim on a piece that came and isn't kept: it is requested again.
    pub fn give_back_claim(&mut self, peer: PeerId, torrent: &Arc<Torrent>, idx: u32) {
        if self.goes_on_beyond(torrent) {
            self.picker.dropped(peer, torrent.name(), idx);
        }
    }

    /// Returns true if this very download goes on: its file may have been given up, or begun anew, while a piece of it
    /// came.
    pub fn goes_on(&self, torrent: &Arc<Torrent>) -> bool {
        let held = self.files.get(torrent.name());
        held.is_some_and(|held| Arc::ptr_eq(&held.torrent, torrent))
    }

    /// Returns true if this download goes on, or a longer content that it was a head of.
    pub(super) fn goes_on_beyond(&self, torrent: &Arc<Torrent>) -> bool {
        let held = self.files.get(torrent.name());
        self.goes_on(torrent) || held.is_some_and(|held| held.heads.contains(&torrent.md5()))
    }

    /// Forgets what is here of a file, and returns it; it may be begun anew.
    pub fn drop_file(&mut self, name: &Name) -> Option<Held> {
        self.picker.unwant(name);
        self.files.remove(name)
    }

    /// Gives up a file that can't be had. What is here of it is no longer served.
    pub fn give_up(&mut self, name: &Name, why: String) {
        self.drop_file(name);
        self.beginning.remove(name);
        self.given_up.insert(name.clone(), why);
    }

    /// Returns what is here, for a hello; and the place in the news from which on the other end doesn't know it. Of thousands of
    /// files, not all fit: then all are told again as news.
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
        // the tracker's list names whole files, too
        held.sort_by_key(|held| held.have.is_full());
        let (n_held, mut room) = (held.len(), HELLO_ROOM);
        let fits = |have: &Have| {
            let fits = room > 0;
            room = room.saturating_sub(to_bytes(have).len());
            fits
        };
        let told: Vec<Have> = held.into_iter().map(have).take_while(fits).collect();
        let news_from = match told.len() == n_held {
            true => self.news.len(),
            false => 0,
        };
        (told, news_from)
    }

    /// Returns what came here since the place `from` in the news, as far as one message tells it; and the place after that.
    pub fn news_from(&self, from: usize) -> (Vec<Have>, usize) {
        let mut by_content: BTreeMap<(&Name, Digest), Option<Vec<u32>>> = BTreeMap::new();
        let next = self.news.len().min(from + NEWS_TOLD);
        for news in &self.news[from..next] {
            let content = by_content.entry((&news.name, news.md5));
            let idxs = content.or_insert_with(|| Some(Vec::new()));
            match (news.piece, idxs) {
                (Some(idx), Some(idxs)) => idxs.push(idx),
                (None, idxs) => *idxs = None,
                (Some(_), None) => {}
            }
        }
        let pieces = |idxs: Option<Vec<u32>>| {
            idxs.map_or_else(|| Pieces::Digits("all".to_owned()), Pieces::These)
        };
        let have = by_content.into_iter().map(|((name, md5), idxs)| Have {
            name: name.clone(),
            md5,
            pieces: pieces(idxs),
        });
        (have.collect(), next)
    }

    /// Returns how many bytes are wanted and not here, of all files that were begun.
    pub fn missing(&self) -> u64 {
        let missing = self.files.values().map(|held| {
            let n = held.torrent.n_pieces() - held.have.count();
            (u64::from(n) * held.torrent.full_piece_len() as u64).min(held.torrent.size())
        });
        missing.sum()
    }

    /// Returns what an original means by `filename`: a piece by its name, or a whole file.
    pub fn find(&self, filename: &str) -> Found {
        let piece = Name::parse_piece(filename);
        let name = piece
            .as_ref()
            .map(|(name, _)| name.clone())
            .or_else(|| Name::parse(filename).ok());
        let held = name.and_then(|name| self.files.get(&name));
        let Some(held) = held.filter(|held| held.is_offered() && !held.is_head()) else {
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
        Found::Here(held.location(), range)
    }
}

/// The result of [`State::completes`].
pub struct Completing {
    /// The file's `.torrent`.
    pub torrent: Arc<Torrent>,
    /// All of its pieces.
    pub pieces: StoredPieces,
    /// The file that has its name until then.
    pub replaced: Option<Stamp>,
}

impl Held {
    /// Counts the bytes of a new piece that came from a peer.
    pub(super) fn count(&mut self, peer: Option<&OtherPeer>, bytes: u64, now: Instant) {
        let with = self.account_with(peer);
        with.pieces += 1;
        with.got += bytes;
        self.down.note(bytes, now);
    }

    /// Returns the account of what was exchanged with a peer, which may have left.
    pub(super) fn account_with(&mut self, peer: Option<&OtherPeer>) -> &mut Exchanged {
        let with = self
            .exchanged
            .entry(peer.map(|peer| peer.addr))
            .or_default();
        with.latency = peer.and_then(|peer| peer.latency).or(with.latency);
        with
    }

    /// Returns true if what is asked for by this MD5 is here under the same numbers: it is this content's, or a head's.
    pub(super) fn begins_with(&self, md5: Digest) -> bool {
        self.torrent.md5() == md5 || self.heads.contains(&md5)
    }

    /// Returns where its bytes are.
    pub fn location(&self) -> Location {
        match self.stamp.or(self.hashing) {
            Some(stamp) => Location::Whole(self.torrent.name().clone(), stamp),
            None => Location::part(&self.torrent),
        }
    }

    /// Returns how many bytes are here and verified.
    pub fn verified(&self) -> u64 {
        let (torrent, n) = (&self.torrent, self.torrent.n_pieces());
        let full = u64::from(self.have.count()) * torrent.full_piece_len() as u64;
        let last = n.checked_sub(1).filter(|last| self.have.get(*last));
        full - last.map_or(0, |last| {
            (torrent.full_piece_len() - torrent.piece_len(last)) as u64
        })
    }

    /// Returns true if others are told of it and may take it: not while another content stands under its name.
    pub fn is_offered(&self) -> bool {
        self.stamp.is_none() || !matches!(self.word, TrackerWord::Other { .. })
    }

    /// Returns how many bytes were sent to others in this run.
    pub fn gave(&self) -> u64 {
        self.exchanged.values().map(|with| with.gave).sum()
    }

    pub(super) fn new(
        torrent: Arc<Torrent>,
        have: StoredPieces,
        stamp: Option<Stamp>,
        now: Instant,
    ) -> Self {
        let (sent, had) = (vec![0; torrent.n_pieces() as usize], have.count());
        let mut held = Self {
            heads: torrent.heads(),
            torrent,
            have,
            stamp,
            hashing: None,
            sent,
            since: now,
            had,
            received: false,
            downloaded: false,
            reused: 0,
            word: TrackerWord::Unasked,
            announced: false,
            exchanged: BTreeMap::new(),
            down: Rate::default(),
            up: Rate::default(),
            tally: PaceTally::default(),
            told: ToldOfFile::new(now),
            bad: BTreeMap::new(),
        };
        held.told.tenths = held.tenths();
        held
    }
}
