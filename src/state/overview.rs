//! What people are shown of a peer, on its page and in the terminal: each file's state and its cause, its pieces, and the
//! other peers. Pure; it returns owned data, and only does its work when somebody looks.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use serde::{Serialize, Serializer};

use super::folder::ByteProgress;
use super::holdings::TrackerWord;
use super::{Choice, Held, LinkState, Standing, State, TrackerKind};
use crate::causes::Waits;
use crate::conflicts::Conflict;
use crate::md5::Digest;
use crate::picker::PeerId;
use crate::protocol::Pieces;
use crate::torrent::{Name, legible};
use crate::units::{bytes, plural};

/// The most files and peers that are shown: more are of no help, and a page asks again every second.
const SHOWN: usize = 200;
/// The urgency of a file that nobody has to look at.
const CALM: u8 = 6;
/// The most cells of a bar: if a file has more pieces, each cell stands for several.
const CELLS: u32 = 1024;
/// How many of the pieces that nobody has are named.
const NAMED: usize = 5;

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

/// The state of a file, or of the whole peer, and its cause. `Display` is for people; programs use `kind`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs)] // the texts below say what they are
pub enum Doing {
    /// Of a peer: the tracker hasn't answered yet.
    Starting,
    /// Of a peer: nobody shares anything.
    Idle,
    /// Of a peer: this many files are verified and served.
    Serving { files: usize },
    /// It is listed, and nobody has picked it.
    Listed,
    /// It is picked, and nobody lists it.
    Unlisted {
        #[serde(skip)]
        waits: Waits,
    },
    /// Its `.torrent` is on its way, or it waits for its turn to begin.
    Beginning,
    /// The pieces of it that are here are being checked.
    Checking { done: u64, of: u64 },
    /// Pieces were requested from this many peers.
    Fetching { peers: usize },
    /// No other peer has these pieces: their number, and the first of them.
    Nowhere {
        n: usize,
        first: Vec<u32>,
        #[serde(skip)]
        waits: Waits,
    },
    /// Other peers have what is missing, but none of them can be asked at present.
    Unconnected {
        holders: usize,
        #[serde(skip)]
        waits: Waits,
    },
    /// This many peers are listed, and `--min-peers` asks for more.
    FewPeers { listed: usize, least: usize },
    /// The disk or the tracker doesn't take it, or something is in its way.
    Stuck {
        #[serde(serialize_with = "as_text")]
        why: Waits,
    },
    /// All pieces are here, and are being brought to the disk.
    Completing,
    /// It is being uploaded through the page.
    Uploading { done: u64, of: u64 },
    /// It is in the folder, and may still be growing.
    Settling,
    /// It is being hashed.
    Hashing { done: u64, of: u64 },
    /// It is whole, verified and served.
    Verified,
    /// It is whole, and nobody knows its MD5.
    Unverified,
    /// The file here has another content than the swarm's: the two MD5s.
    OtherContent { here: Digest, swarm: Digest },
    /// Another peer is hashing it.
    Coming { done: u64, of: u64, peer: String },
    /// It was whole here, and the user has deleted it or moved it away.
    Deleted,
    /// It can't be had.
    GivenUp { why: String },
}

/// Programs get the text.
fn as_text<S: Serializer>(waits: &Waits, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(waits)
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |done: &u64, of: &u64| done * 100 / of.max(&1);
        match self {
            Self::Starting => write!(f, "waiting for the tracker's first answer"),
            Self::Nowhere { waits, .. }
            | Self::Unconnected { waits, .. }
            | Self::Unlisted { waits }
            | Self::Stuck { why: waits } => write!(f, "waiting: {waits}"),
            Self::Idle => write!(f, "nothing is shared so far"),
            Self::Serving { files } => write!(f, "serving {}", plural(*files, "verified file")),
            Self::Listed => write!(f, "not fetched: it wasn't picked"),
            Self::Beginning => write!(f, "beginning"),
            Self::Checking { done, of } => {
                write!(f, "checking what is here: {} %", percent(done, of))
            }
            Self::Fetching { peers } => write!(f, "from {}", plural(*peers, "peer")),
            Self::FewPeers { listed, least } => {
                let (listed, least) = (*listed, *least);
                write!(f, "waiting: {}", Waits::FewPeers { listed, least })
            }
            Self::Completing => write!(f, "all pieces are here: bringing them to the disk"),
            Self::Uploading { done, of } => {
                write!(f, "uploading: {} of {}", bytes(*done), bytes(*of))
            }
            Self::Settling => write!(f, "seen in the folder: hashed once it is left alone"),
            Self::Hashing { done, of } => write!(f, "hashing: {} %", percent(done, of)),
            Self::Verified => write!(f, "verified, serving"),
            Self::Unverified => write!(f, "unverified: originals know no MD5"),
            Self::OtherContent { here, swarm } => {
                let (here, swarm) = (*here, *swarm);
                write!(f, "not shared: {}", Waits::OtherContent { here, swarm })
            }
            Self::Coming { done, of, peer } => {
                let (by, percent) = (peer.clone(), percent(done, of));
                write!(f, "waiting: {}", Waits::HashedElsewhere { by, percent })
            }
            Self::Deleted => write!(
                f,
                "deleted or moved away here: not fetched again in this run"
            ),
            Self::GivenUp { why } => write!(f, "given up: {why}"),
        }
    }
}

impl Doing {
    /// Returns the rank by which people want to know: first what moves, then what is held up.
    fn urgency(&self) -> u8 {
        match self {
            Self::Stuck { .. } => 0,
            Self::Fetching { .. } => 1,
            Self::Coming { .. } => 4,
            Self::Completing | Self::Checking { .. } | Self::Uploading { .. } => 2,
            Self::Hashing { .. } | Self::Beginning => 3,
            Self::Nowhere { .. } | Self::Unconnected { .. } | Self::FewPeers { .. } => 4,
            Self::OtherContent { .. } | Self::GivenUp { .. } => 5,
            Self::Unlisted { .. } => CALM,
            _ => CALM + 1,
        }
    }
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
        let originals = self.peers.values().filter(|peer| !peer.ours);
        let of_originals = originals.flat_map(|peer| &peer.offers);
        let of_originals = of_originals.filter(|(_, pieces)| pieces.is_all());
        let rest = listed.chain(of_originals.map(|(name, _)| name));
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
        let verified = files.iter().filter(|file| file.doing == Doing::Verified);
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
        let whole = |(no, peer): (&PeerId, &super::OtherPeer)| match self.picker.has(*no, name) {
            Some(has) => (!has.is_empty()).then(|| has.is_full()),
            None => peer.offers.get(name).map(Pieces::is_all),
        };
        let holders = self.peers.iter().filter_map(whole);
        let (whole, some): (Vec<bool>, Vec<bool>) = holders.partition(|whole| *whole);
        (whole.len(), some.len())
    }

    /// Returns at most `most` of the files in work, in the order of their names, and how many more there are. Files that
    /// move are preferred to those that wait. There are no bars.
    pub fn in_work(&self, most: usize, min_peers: usize, now: Instant) -> (Vec<FileView>, usize) {
        let (names, _) = self.names();
        let names = names.into_iter();
        let mut work: Vec<(u8, &Name)> = names
            .filter_map(|name| Some((self.urgency(name, min_peers, now)?, name)))
            .collect();
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
        let goes = |held: &Held| held.up.per_second(now) > 0.0;
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
        let standing = self.standing.get(name).map(Standing::stamp);
        let verified = held.map_or(0, Held::verified);
        let part = held.filter(|held| held.stamp.is_none());
        let down = part.map_or(0.0, |held| held.down.per_second(now));
        let missing = held.map_or(0, |held| held.torrent.size() - verified);
        let doing = self.doing(name, min_peers);
        // of what nobody sends any more, no time is left
        let comes = matches!(doing, Doing::Fetching { peers: 1.. });
        let md5 = held.map(|held| held.torrent.md5());
        let md5 = md5.or(listed.map(|listed| listed.md5));
        let size = held.map(|held| held.torrent.size());
        let uploaded = self.uploads.get(name).map(|upload| upload.of);
        FileView {
            name: name.as_str().to_owned(),
            shown: name.to_string(),
            size: size
                .or(listed.map(|listed| listed.size))
                .or(standing.map(|stamp| stamp.size))
                .or(uploaded),
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

    /// Returns the bars of a file that is being fetched, or of `detail`.
    fn bars_of(&self, name: &Name, detail: Option<&str>) -> Option<Bars> {
        let held = self.files.get(name)?;
        let wanted = detail == Some(name.as_str()) || !held.have.is_full();
        wanted.then(|| self.bars(held))
    }

    /// Returns the state of one file.
    fn doing(&self, name: &Name, min_peers: usize) -> Doing {
        if let Some(ByteProgress { done, of }) = self.uploads.get(name).copied() {
            return Doing::Uploading { done, of };
        }
        if let Some(why) = self.given_up.get(name).cloned() {
            return Doing::GivenUp { why };
        }
        if let Some(why) = self.stuck.get(name).cloned() {
            let why = Waits::InTheWay { said: why };
            return Doing::Stuck { why };
        }
        let progress = self.progress.get(name).copied();
        let (done, of) = progress.map_or((0, 1), |progress| (progress.done, progress.of));
        match (self.standing.get(name), self.files.get(name)) {
            (Some(Standing::Looked(_)), _) => Doing::Settling,
            (Some(Standing::Hashing(_)), _) => Doing::Hashing { done, of },
            (Some(Standing::Unverified(..)), _) => Doing::Unverified,
            (_, Some(held)) if held.stamp.is_some() => match &held.word {
                TrackerWord::Other { md5, .. } => Doing::OtherContent {
                    here: held.torrent.md5(),
                    swarm: *md5,
                },
                TrackerWord::Refused { why, .. } => Doing::Stuck {
                    why: Waits::TrackerRefuses { said: legible(why) },
                },
                _ => Doing::Verified,
            },
            (_, Some(held)) => self.doing_part(held, min_peers),
            _ if self.beginning.contains(name) => match progress {
                Some(ByteProgress { done, of }) => Doing::Checking { done, of },
                None => Doing::Beginning,
            },
            _ if !self.is_wanted(name) => Doing::Listed,
            _ if self.deleted.contains_key(name) => Doing::Deleted,
            _ if self.coming.contains_key(name) => {
                let coming = &self.coming[name];
                let peer = legible(&coming.peer);
                Doing::Coming {
                    done: coming.done,
                    of: coming.size,
                    peer,
                }
            }
            _ if self.swarm.contains_key(name) || self.fetches_whole_files => Doing::Beginning,
            _ => Doing::Unlisted {
                waits: self.unlisted(name),
            },
        }
    }

    /// Returns the state of a file of which something is here.
    fn doing_part(&self, held: &Held, min_peers: usize) -> Doing {
        let name = held.torrent.name();
        let (nowhere, listed) = (self.picker.nowhere(name), self.n_listed());
        let (in_flight, peers) = self.picker.in_flight(name);
        let missing = (held.torrent.n_pieces() - held.have.count()) as usize;
        if held.have.is_full() {
            Doing::Completing
        } else if let Some(why) = self
            .disk_fault
            .clone()
            .filter(|_| self.paused_until.is_some())
        {
            let why = Waits::Disk { said: why };
            Doing::Stuck { why }
        } else if !in_flight.is_empty() {
            Doing::Fetching { peers }
        } else if listed < min_peers {
            let least = min_peers;
            Doing::FewPeers { listed, least }
        } else if nowhere.len() == missing {
            let first: Vec<u32> = nowhere.iter().take(NAMED).copied().collect();
            let waits = self.of_sources(held).unwrap_or(Waits::Nowhere {
                n: missing,
                first: first.clone(),
                of_sample: false,
            });
            Doing::Nowhere {
                n: missing,
                first,
                waits,
            }
        } else if self.picker.is_reachable(name) {
            Doing::Fetching { peers }
        } else {
            let holders = self.peers.keys();
            let has = |peer: &&PeerId| self.picker.has(**peer, name).is_some();
            let holders = holders.filter(has).count();
            let n_holders = holders;
            let waits = self.of_sources(held);
            Doing::Unconnected {
                holders,
                waits: waits.unwrap_or(Waits::NotConnected { n_holders }),
            }
        }
    }

    /// Returns the share of what came that peers other than its publisher sent.
    fn others(&self, held: &Held) -> Option<f64> {
        let listed = self.swarm.get(held.torrent.name());
        let publisher = listed.map_or(&held.torrent.publisher, |listed| &listed.publisher);
        let publisher: Option<SocketAddr> = publisher.parse().ok();
        let at = |peer: &PeerId| self.peers.get(peer).map(|peer| peer.addr);
        let (mut all, mut others) = (0, 0);
        for (peer, with) in &held.exchanged {
            all += with.got;
            let is_publisher = publisher.is_some() && at(peer) == publisher;
            others += if is_publisher { 0 } else { with.got };
        }
        (all > 0).then(|| others as f64 / all as f64)
    }

    fn bars(&self, held: &Held) -> Bars {
        let (name, n_pieces) = (held.torrent.name(), held.torrent.n_pieces());
        let mut copies = vec![0_u32; n_pieces as usize];
        for (no, peer) in &self.peers {
            let of_offer = || peer.offers.get(name)?.bits(n_pieces);
            let has = self.picker.has(*no, name).cloned().or_else(of_offer);
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
        let view = |(no, peer): (&PeerId, &super::OtherPeer)| {
            let with = self
                .files
                .values()
                .filter_map(|held| held.exchanged.get(no));
            let sum = |of: fn(&super::Exchanged) -> u64| with.clone().map(of).sum();
            PeerView {
                peer: peer.addr,
                ours: peer.ours,
                link: match peer.link {
                    _ if self.is_left_alone(*no) => "left_alone",
                    LinkState::Open(_) | LinkState::Single { .. } => "connected",
                    LinkState::Trying => "connecting",
                    LinkState::No => "none",
                },
                latency_ms: peer.latency.map(|latency| latency.as_secs_f64() * 1e3),
                chance: chances.get(no).copied(),
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
