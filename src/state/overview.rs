//! What people are shown of a peer, on its page and in the terminal: each file's state and its cause, its pieces, and the
//! other peers. Pure; it returns owned data, and only does its work when somebody looks.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use serde::Serialize;

use super::doing::CALM;
pub use super::doing::Doing;
use super::{Choice, Held, LinkState, State, TrackerKind};
use crate::conflicts::Conflict;
use crate::picker::PeerId;
use crate::torrent::Name;

/// The most files and peers that are shown: more are of no help, and a page asks again every second.
const SHOWN: usize = 200;
/// The most cells of a bar: if a file has more pieces, each cell stands for several.
const CELLS: u32 = 1024;
/// A peer at one point in time.
#[derive(Debug, Serialize)]
pub struct Overview {
    /// What it does, in one line, with the name of the file if it is about one.
    pub doing: Doing,
    /// See [`Overview::doing`].
    pub of: Option<String>,
    /// Whether the tracker can't be reached at present.
    pub unreachable: bool,
    /// Whether the tracker is an original: nothing can be verified.
    pub original: bool,
    /// The recent speed of verified bytes that came, and of bytes that were sent, per second.
    pub down: f64,
    /// See [`Overview::down`].
    pub up: f64,
    /// The files, in the order of their names.
    pub files: Vec<FileView>,
    /// How many files there are in total, including those that aren't shown.
    pub n_files: usize,
    /// The other peers.
    pub peers: Vec<PeerView>,
    /// How many other peers there are in total.
    pub n_peers: usize,
    /// The last decisions, the newest last.
    pub decisions: Vec<Choice>,
}

/// A file at one point in time.
#[derive(Debug, Serialize)]
pub struct FileView {
    /// Its name.
    pub name: String,
    /// The name as people are shown it: some characters don't show, or look like others.
    pub shown: String,
    /// Its size, bytes, if known: originals don't tell it.
    pub size: Option<u64>,
    /// Its MD5, if known.
    pub md5: Option<String>,
    /// Its state and the cause.
    pub doing: Doing,
    /// Other peers that have all of it, and that have some of it.
    pub holders: (usize, usize),
    /// Bytes of it that are here and verified.
    pub verified: u64,
    /// Verified bytes per second that came recently, until it is whole.
    pub down: f64,
    /// Bytes per second that were sent recently.
    pub up: f64,
    /// Bytes that were sent in this run.
    pub gave: u64,
    /// The number of peers that they were sent to.
    pub takers: usize,
    /// Seconds until it is whole, at that speed; `None` if nothing comes.
    pub left: Option<f64>,
    /// The share, from 0 to 1, that peers other than its publisher sent of what came in this run.
    pub others: Option<f64>,
    /// Its bars, if they were asked for or the file is being fetched.
    pub bars: Option<Bars>,
    /// Whether the user has picked it and may take that back: it isn't whole yet.
    pub can_cancel: bool,
    /// The contents beside the swarm's, as long as there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
}

/// A file's pieces as cells, one character each.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Bars {
    /// How many pieces there are.
    pub n_pieces: u32,
    /// How many of them are here.
    pub here: u32,
    /// `0` for missing, `1` for requested, `2` for here.
    pub pieces: String,
    /// How many other peers have the rarest piece of the cell, at most 9.
    pub copies: String,
    /// How many pieces no other peer has.
    pub lonely: usize,
}

/// Another peer at one point in time.
#[derive(Debug, Serialize)]
pub struct PeerView {
    /// Where it listens.
    pub peer: SocketAddr,
    /// Whether it speaks our messages.
    pub ours: bool,
    /// `connected`, `connecting`, `left_alone`, or `none`.
    pub link: &'static str,
    /// The smallest round trip seen, milliseconds.
    pub latency_ms: Option<f64>,
    /// The chance, from 0 to 1, that it is asked if all peers that can be asked have a piece.
    pub chance: Option<f64>,
    /// Pieces and bytes that came from it, and that were sent to it, in this run.
    pub pieces: u64,
    /// See [`PeerView::pieces`].
    pub got: u64,
    /// See [`PeerView::pieces`].
    pub sent: u64,
    /// See [`PeerView::pieces`].
    pub gave: u64,
    /// Why its last connection ended, or what was wrong with what it sent.
    pub trouble: Option<String>,
}

impl State {
    /// Returns what is to be shown. There are bars for the files that are being fetched, and for `detail`.
    pub fn overview(&self, min_peers: usize, detail: Option<&str>, now: Instant) -> Overview {
        let (names, n_files) = self.names();
        let view = |name: &Name| FileView {
            bars: self.bars_of(name, detail),
            conflict: self.conflict(name),
            ..self.file_view(name, min_peers, now)
        };
        let files: Vec<FileView> = names.into_iter().map(view).collect();
        let (doing, of) = self.headline(&files);
        Overview {
            doing,
            of,
            unreachable: self.no_list.is_some(),
            original: self.tracker == TrackerKind::Original,
            // the sum of nothing is -0
            down: files.iter().map(|file| file.down).sum::<f64>() + 0.0,
            up: files.iter().map(|file| file.up).sum::<f64>() + 0.0,
            files,
            n_files,
            peers: self.peer_views(),
            n_peers: self.peers.len(),
            decisions: self.last_choices(),
        }
    }

    /// Returns the first of the files that are listed, here, or wanted, in the order of their names, and how many there
    /// are in total. If there are too many, those that move or have another content somewhere come before the rest.
    fn names(&self) -> (BTreeSet<&Name>, usize) {
        let parts = self.files.iter().filter(|(_, held)| held.stamp.is_none());
        let parts = parts.map(|(name, _)| name);
        let moving = parts.chain(self.uploads.keys()).chain(self.progress.keys());
        let conflicts = self.swarm.values().filter(|it| !it.others.is_empty());
        let conflicts = conflicts.map(|listed| &listed.name);
        let moving = moving.chain(&self.beginning).chain(self.named());
        let moving = moving.chain(conflicts);
        let listed = self.swarm.keys().chain(self.standing.keys());
        let rest = listed.chain(self.whole_at_originals().map(|(name, ..)| name));
        let (mut shown, mut left_out) = (BTreeSet::new(), BTreeSet::new());
        for name in moving.chain(rest) {
            if shown.len() < SHOWN {
                shown.insert(name);
            } else if !shown.contains(name) {
                left_out.insert(name);
            }
        }
        let n_files = shown.len() + left_out.len();
        (shown, n_files)
    }

    fn headline(&self, files: &[FileView]) -> (Doing, Option<String>) {
        let urgent = files.iter().filter(|file| file.doing.urgency() < CALM);
        // those that aren't shown, too
        let whole = self.files.iter().filter(|(_, held)| held.stamp.is_some());
        let verified = whole.filter(|(name, _)| self.doing(name, 0) == Doing::Verified);
        let n_verified = verified.count();
        let first = files.iter().min_by_key(|file| file.doing.urgency());
        if let Some(file) = urgent.min_by_key(|file| file.doing.urgency()) {
            (file.doing.clone(), Some(file.name.clone()))
        } else if n_verified > 0 {
            (Doing::Serving { files: n_verified }, None)
        } else if self.last_answer.is_none() {
            (Doing::Starting, None)
        } else if let Some(file) = first {
            (file.doing.clone(), Some(file.name.clone()))
        } else {
            (Doing::Idle, None)
        }
    }

    /// Returns how many other peers have all of a file, and how many have some of it.
    fn holders(&self, name: &Name) -> (usize, usize) {
        let is_head = self.files.get(name).is_some_and(Held::is_head);
        let whole = |(id, peer): (&PeerId, &super::OtherPeer)| match self.picker.has(*id, name) {
            Some(has) => (!has.is_empty()).then(|| has.is_full() && !is_head),
            None => peer.offers.get(name).map(|offered| offered.pieces.is_all()),
        };
        let holders = self.peers.iter().filter_map(whole);
        let (whole, some): (Vec<bool>, Vec<bool>) = holders.partition(|whole| *whole);
        (whole.len(), some.len())
    }

    /// Returns at most `most` of the files in work, in the order of their names, and how many more there are. Files that
    /// move are preferred to those that wait, and those of which most is sent to others. There are no bars.
    pub fn in_work(&self, most: usize, min_peers: usize, now: Instant) -> (Vec<FileView>, usize) {
        let (names, _) = self.names();
        let names = names.into_iter();
        let up = |name| {
            self.files
                .get(name)
                .map(|held| held.up.per_second(now) as u64)
        };
        let ranked = names.filter_map(|name| {
            let urgency = self.urgency(name, min_peers, now)?;
            Some(((urgency, Reverse(up(name))), name))
        });
        let mut work: Vec<_> = ranked.collect();
        work.sort();
        let others = work.len().saturating_sub(most);
        work.truncate(most);
        work.sort_by_key(|(_, name)| *name);
        let views = work.iter();
        let views = views.map(|(_, name)| self.file_view(name, min_peers, now));
        (views.collect(), others)
    }

    /// Returns [`Doing::urgency`], but files that wait for their turn come after all that move; `None` if a file isn't in
    /// work.
    fn urgency(&self, name: &Name, min_peers: usize, now: Instant) -> Option<u8> {
        // with a few bytes lately, a line would say that 0 go
        let goes = |held: &Held| held.up.per_second(now) >= 1.0;
        let doing = self.doing(name, min_peers);
        let in_work = match doing {
            Doing::Verified => self.files.get(name).is_some_and(goes),
            Doing::Listed
            | Doing::Unverified
            | Doing::Deleted
            | Doing::OtherContent { .. }
            | Doing::GivenUp { .. } => false,
            _ => true,
        };
        let waits = matches!(doing, Doing::Fetching { peers: 0 });
        in_work.then(|| 2 * doing.urgency() + u8::from(waits))
    }

    /// Returns a file as it is now, without its bars.
    pub(crate) fn file_view(&self, name: &Name, min_peers: usize, now: Instant) -> FileView {
        let (held, listed) = (self.files.get(name), self.swarm.get(name));
        let verified = held.map_or(0, Held::verified);
        let part = held.filter(|held| held.stamp.is_none());
        let down = part.map_or(0.0, |held| held.down.per_second(now));
        let missing = held.map_or(0, |held| held.torrent.whole_size() - verified);
        let doing = self.doing(name, min_peers);
        // if nobody sends any more, no time left can be told
        let comes = matches!(doing, Doing::Fetching { peers: 1.. });
        // nobody knows yet what the head of a file will be
        let known = held.filter(|held| !held.is_head());
        let md5 = known.map(|held| held.torrent.md5());
        let md5 = md5.or(listed.map(|listed| listed.md5));
        FileView {
            name: name.as_str().to_owned(),
            shown: name.to_string(),
            size: self.size_of(name),
            md5: md5.map(|md5| md5.to_string()),
            doing,
            holders: self.holders(name),
            verified,
            down,
            up: held.map_or(0.0, |held| held.up.per_second(now)),
            gave: held.map_or(0, Held::gave),
            takers: held.map_or(0, Held::takers),
            left: (missing > 0 && down > 0.0 && comes).then(|| missing as f64 / down),
            others: held.and_then(|held| self.others(held)),
            bars: None,
            can_cancel: self.can_cancel(name),
            conflict: None,
        }
    }

    /// Returns the size of a file, bytes, if it is known.
    pub(super) fn size_of(&self, name: &Name) -> Option<u64> {
        let held = self.files.get(name);
        let held = held.map(|held| held.torrent.whole_size());
        let listed = || self.swarm.get(name).map(|listed| listed.size);
        let standing = || Some(self.standing.get(name)?.stamp().size);
        let uploaded = || self.uploads.get(name).map(|upload| upload.of);
        held.or_else(listed).or_else(standing).or_else(uploaded)
    }

    /// Returns the bars of a file that is being fetched, or of `detail`.
    fn bars_of(&self, name: &Name, detail: Option<&str>) -> Option<Bars> {
        let held = self.files.get(name)?;
        let wanted = detail == Some(name.as_str()) || !held.have.is_full();
        wanted.then(|| self.bars(held))
    }

    /// Returns the share of what came that peers other than its publisher sent.
    fn others(&self, held: &Held) -> Option<f64> {
        let listed = self.swarm.get(held.torrent.name());
        let publisher = listed.map_or(&held.torrent.publisher, |listed| &listed.publisher);
        let publisher: Option<SocketAddr> = publisher.parse().ok();
        let (mut all, mut others) = (0, 0);
        for (peer, with) in &held.exchanged {
            all += with.got;
            let is_publisher = publisher.is_some() && *peer == publisher;
            others += if is_publisher { 0 } else { with.got };
        }
        (all > 0).then(|| others as f64 / all as f64)
    }

    fn bars(&self, held: &Held) -> Bars {
        let (name, n_pieces) = (held.torrent.name(), held.torrent.n_pieces());
        let mut copies = vec![0_u32; n_pieces as usize];
        for (id, peer) in &self.peers {
            let of_offer = || peer.offers.get(name)?.pieces.bits(n_pieces);
            let has = self.picker.has(*id, name).cloned().or_else(of_offer);
            let idxs = has.iter().flat_map(|has| has.iter());
            idxs.for_each(|idx| copies[idx as usize] += 1);
        }
        let (in_flight, _) = self.picker.in_flight(name);
        let n = n_pieces.min(CELLS);
        let start =
            |cell: u32| (u64::from(cell) * u64::from(n_pieces) / u64::from(n.max(1))) as u32;
        let cells = || (0..n).map(|cell| start(cell)..start(cell + 1));
        let piece = |mut of: std::ops::Range<u32>| match of.clone().all(|idx| held.have.get(idx)) {
            true => '2',
            false if of.any(|idx| in_flight.contains(&idx)) => '1',
            false => '0',
        };
        let rarest = |of: std::ops::Range<u32>| of.map(|idx| copies[idx as usize]).min();
        let digit = |n: u32| char::from_digit(n.min(9), 10).unwrap_or('9');
        Bars {
            n_pieces,
            here: held.have.count(),
            pieces: cells().map(piece).collect(),
            copies: cells().map(|of| digit(rarest(of).unwrap_or(0))).collect(),
            lonely: copies.iter().filter(|copies| **copies == 0).count(),
        }
    }

    fn peer_views(&self) -> Vec<PeerView> {
        let chances = self.picker.chances();
        let view = |(id, peer): (&PeerId, &super::OtherPeer)| {
            let with = self
                .files
                .values()
                .filter_map(|held| held.exchanged.get(&Some(peer.addr)));
            let sum = |of: fn(&super::Exchanged) -> u64| with.clone().map(of).sum();
            PeerView {
                peer: peer.addr,
                ours: peer.ours,
                link: match peer.link {
                    _ if self.is_left_alone(*id) => "left_alone",
                    LinkState::Open(_) | LinkState::Single { .. } => "connected",
                    LinkState::Trying => "connecting",
                    LinkState::No => "none",
                },
                latency_ms: peer.latency.map(|latency| latency.as_secs_f64() * 1e3),
                chance: chances.get(id).copied(),
                pieces: sum(|with| with.pieces),
                got: sum(|with| with.got),
                sent: sum(|with| with.sent),
                gave: sum(|with| with.gave),
                trouble: peer.trouble.as_ref().map(ToString::to_string),
            }
        };
        self.peers.iter().take(SHOWN).map(view).collect()
    }
}
