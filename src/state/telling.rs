//! What is reported by the clock: how far a download is, and what was sent to others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::running::RefusedList;
use super::{Held, State};
use crate::causes::{NoList, Waits};
use crate::md5::Digest;
use crate::picker::PeerId;
use crate::protocol::OtherCopy;
use crate::torrent::Name;

/// What was sent to others is reported this long after the first unreported piece.
const GIVEN_EVERY: Duration = Duration::from_secs(10);
/// After a report of a download, its next tenth is reported this much later at the earliest: a file that comes at once is one
/// line.
const PROGRESS_LEAST: Duration = Duration::from_secs(2);
/// It is also reported if nothing was said about it for this long.
const PROGRESS_EVERY: Duration = Duration::from_secs(30);
/// How many downloads are reported at a time: of thousands that wait, nobody reads more.
pub(super) const PROGRESS_TOLD: usize = 20;

/// What the user was told already, so that it is told only once.
#[derive(Default)]
pub(super) struct ToldUser {
    /// The MD5s of contents that stand in place of the user's.
    pub(super) other: BTreeMap<Name, Digest>,
    /// The reasons why the tracker refused files.
    pub(super) refusal: BTreeMap<Name, String>,
    /// The causes for which no list came since the last one.
    pub(super) no_list: Vec<NoList>,
    /// The list that the tracker doesn't take.
    pub(super) list: Option<RefusedList>,
    /// What files wait for.
    pub(super) waits: Vec<(Name, Waits)>,
    /// The heads that the tracker was told of.
    pub(super) heads: BTreeMap<Name, Digest>,
    /// The peers with other contents.
    pub(super) conflicts: BTreeMap<Name, Vec<OtherCopy>>,
    /// Names in the folder that can't be shared, or that something is in the way of.
    pub(super) odd: BTreeSet<String>,
    /// The number of peers that was reported as few.
    pub(super) few: Option<usize>,
    /// Whether the disk was reported to fail.
    pub(super) disk_fault: bool,
    /// For how many files the command for other machines was printed.
    pub(super) commands: usize,
}

/// What was reported about a file.
pub(super) struct ToldOfFile {
    /// How many bytes had been sent at the last report.
    gave: u64,
    /// When the first and the last of the unreported ones were sent.
    untold: Option<(Instant, Instant)>,
    /// How many had been sent when people were last told, and not only the log.
    shown: u64,
    /// When its progress was last reported, or its download began.
    progress: Instant,
    /// How many tenths of it were here then.
    pub(super) tenths: u64,
}

impl ToldOfFile {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            gave: 0,
            untold: None,
            shown: 0,
            progress: now,
            tenths: 0,
        }
    }
}

/// What was sent of one file since the last report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The file.
    pub name: Name,
    /// How many bytes.
    pub bytes: u64,
    /// The time from the end of the first piece to the end of the last.
    pub time: Duration,
    /// Whether people are to be told, and not only the log: twice as much was sent as when they were told last, or it is the end.
    pub is_news: bool,
}

impl State {
    /// Notes that `bytes` of a piece were sent to a peer.
    pub fn gave(&mut self, peer: PeerId, name: &Name, bytes: u64, now: Instant) {
        let Some(held) = self.files.get_mut(name) else {
            return;
        };
        let with = held.account_with(self.peers.get(&peer));
        with.sent += 1;
        with.gave += bytes;
        held.up.note(bytes, now);
        held.told.untold.get_or_insert((now, now)).1 = now;
    }

    /// Returns what was sent of the whole files and wasn't reported, if the first of it is 10 s old; at the end, all of
    /// it.
    pub fn given(&mut self, at_the_end: bool, now: Instant) -> Vec<Given> {
        let given = |(name, held): (&Name, &mut Held)| {
            let (first, last) = held.told.untold?;
            let due = at_the_end || now.saturating_duration_since(first) >= GIVEN_EVERY;
            if !due || held.stamp.is_none() {
                return None;
            }
            let (name, gave) = (name.clone(), held.gave());
            let bytes = gave - held.told.gave;
            let is_news = at_the_end || gave >= 2 * held.told.shown;
            if is_news {
                held.told.shown = gave;
            }
            held.told_given();
            let time = last.saturating_duration_since(first);
            Some(Given {
                name,
                bytes,
                time,
                is_news,
            })
        };
        self.files.iter_mut().filter_map(given).collect()
    }

    /// Returns the downloads of which another tenth is here, or about which nothing was said for 30 s, and counts them as
    /// reported.
    pub fn untold_progress(&mut self, now: Instant) -> Vec<Name> {
        let due = |held: &Held| {
            let since = now.saturating_duration_since(held.told.progress);
            let is_tenth = since >= PROGRESS_LEAST && held.tenths() > held.told.tenths;
            !held.have.is_full() && (is_tenth || since >= PROGRESS_EVERY)
        };
        let due = self.files.iter_mut().filter(|(_, held)| due(held));
        let mut due: Vec<Name> = due
            .map(|(name, held)| {
                (held.told.progress, held.told.tenths) = (now, held.tenths());
                name.clone()
            })
            .collect();
        due.truncate(PROGRESS_TOLD);
        due
    }
}

impl Held {
    /// Returns verified bytes per second since the download began.
    pub fn mean_speed(&self, now: Instant) -> f64 {
        let came: u64 = self.exchanged.values().map(|with| with.got).sum();
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        came as f64 / seconds.max(1e-3)
    }

    /// Returns the peers to which something was sent in this run.
    pub fn takers(&self) -> usize {
        let takers = self.exchanged.values().filter(|with| with.gave > 0);
        takers.count()
    }

    /// Returns how many tenths of the file are here.
    pub(super) fn tenths(&self) -> u64 {
        self.verified() * 10 / self.torrent.whole_size().max(1)
    }

    /// Notes that everything sent so far was reported.
    pub fn told_given(&mut self) {
        (self.told.gave, self.told.untold) = (self.gave(), None);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use super::*;
    use crate::md5::Hasher;
    use crate::state::Wants;
    use crate::state::overview::Doing;
    use crate::store::{Part, Stamp, StoredPiece, WholeFile};
    use crate::torrent::{BLOCKS_A_PIECE, Torrent};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const PIECE: u32 = 65_536;
    const N_PIECES: u32 = 20;

    fn torrent(name: &str) -> Arc<Torrent> {
        let content = vec![7; N_PIECES as usize * PIECE as usize];
        let mut hasher = Hasher::new(PIECE as usize / BLOCKS_A_PIECE);
        hasher.update(&content);
        let (checkpoints, md5) = hasher.finish();
        let name = Name::parse(name).expect("a name");
        let torrent = Torrent::new(name, content.len() as u64, PIECE, md5, checkpoints);
        Arc::new(torrent.expect("a .torrent"))
    }

    fn state(now: Instant) -> (State, File) {
        let state = State::new(Wants::default(), StdRng::seed_from_u64(1), now);
        let file = File::open("/dev/null").expect("it is always there");
        (state, file)
    }

    #[test]
    fn what_was_sent_is_reported_every_10_s() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let (mut state, file) = state(start);
        let (torrent, stamp) = (torrent("f"), Stamp::of_file(&file).expect("a file"));
        let name = torrent.name().clone();
        assert!(state.share(&WholeFile::for_a_test(&torrent, stamp, false), start));
        let peer = state.know(([10, 0, 0, 2], 5).into(), true);
        let given = |bytes, seconds: f64, is_news| {
            let (name, time) = (name.clone(), Duration::from_secs_f64(seconds));
            vec![Given {
                name,
                bytes,
                time,
                is_news,
            }]
        };
        assert_eq!(state.given(true, at(1.0)), []);
        state.gave(peer, &name, 100, at(5.0));
        state.gave(peer, &name, 100, at(7.0));
        assert_eq!(state.given(false, at(14.9)), []);
        assert_eq!(state.given(false, at(15.0)), given(200, 2.0, true));
        assert_eq!(state.given(false, at(60.0)), [], "nothing went since");
        state.gave(peer, &name, 50, at(70.0));
        assert_eq!(state.given(false, at(71.0)), []);
        assert_eq!(state.given(true, at(71.0)), given(50, 0.0, true));
        for (seconds, bytes, is_news) in [(80.0, 10, false), (100.0, 40, false), (120.0, 200, true)]
        {
            state.gave(peer, &name, bytes, at(seconds));
            assert_eq!(
                state.given(false, at(seconds + 10.0)),
                given(bytes, 0.0, is_news)
            );
        }
        let (work, others) = state.in_work(5, 0, at(125.0));
        assert_eq!((work.len(), others), (1, 0), "something goes");
        assert_eq!((work[0].takers, work[0].gave), (1, 500));
        assert_eq!(state.in_work(5, 0, at(150.0)).0.len(), 0);
    }

    #[test]
    fn a_slow_download_is_reported_after_30_s() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let (mut state, _) = state(start);
        let torrents = ["a", "b", "c"].map(torrent);
        for torrent in &torrents {
            state.begin(torrent, Part::none_of(torrent), start);
        }
        assert_eq!(state.untold_progress(at(29)), []);
        let peer = state.know(([10, 0, 0, 2], 5).into(), true);
        let b = Name::parse("b").expect("a name");
        for (idx, seconds) in [(0, 20), (1, 29)] {
            let piece = StoredPiece::for_a_test(&torrents[1], idx);
            state.landed(
                peer,
                &torrents[1],
                &piece,
                torrents[1].piece_len(idx),
                at(seconds),
            );
        }
        let tenth = state.untold_progress(at(29));
        assert_eq!(tenth, std::slice::from_ref(&b));
        let untold = state.untold_progress(at(30));
        assert_eq!(untold.len(), 2, "{untold:?}");
        assert_eq!(state.untold_progress(at(31)), []);
        assert_eq!(state.untold_progress(at(59)), [b]);
        let (work, others) = state.in_work(2, 0, at(60));
        assert_eq!((work.len(), others), (2, 1));
        let doing = Doing::Nowhere {
            n: 20,
            first: vec![0, 1, 2, 3, 4],
            waits: Waits::NoSource { n_missing: 20 },
        };
        assert_eq!((work[0].name.as_str(), &work[0].doing), ("a", &doing));
    }
}
