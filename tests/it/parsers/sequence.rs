//! What a peer and a tracker know, through any sequence of messages and events. The bytes choose what happens: at random in
//! the tests next door, and in `tests/fuzz` as a fuzzer likes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bittorrentish::bitfield::Bitfield;
use bittorrentish::content::Verdict;
use bittorrentish::md5::{INITIAL, digest};
use bittorrentish::net::{Connection, Sender};
use bittorrentish::picker::{Order, PeerNo};
use bittorrentish::protocol::{
    Coming, Get, Have, LIST_CAP, ORIGINAL_CAP, ORIGINAL_CAP_OFF_LOOPBACK, Outcome, PeerEntry,
    Pieces, Publication, Summary, SwarmList, VERSION, parse, to_bytes,
};
use bittorrentish::roster::{
    Endpoints, FileSources, PEERS_LISTED, PeerList, Reachability, Record, Roster,
};
use bittorrentish::state::{Found, Held, Served, Standing, State, Wants};
use bittorrentish::store::{Place, Seen, Stamp};
use bittorrentish::torrent::{BLOCKS_A_PIECE, BadPiece, MIN_PIECE_LEN, Name, Torrent};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The contents that there are: one in two cuts, two under one name, a small one, an empty one, and one of over 64 pieces.
static CONTENTS: LazyLock<Vec<Arc<Torrent>>> = LazyLock::new(|| {
    let of = |(name, size, piece_len, content)| Arc::new(torrent(name, size, piece_len, content));
    [
        ("a", 20 * 65536 - 5000, MIN_PIECE_LEN, "one"),
        ("a", 20 * 65536 - 5000, 2 * MIN_PIECE_LEN, "one"),
        ("a", 5 * 65536, MIN_PIECE_LEN, "other"),
        ("b", 100, MIN_PIECE_LEN, "small"),
        ("c", 0, MIN_PIECE_LEN, ""),
        ("d", 70 * 65536, MIN_PIECE_LEN, "large"),
    ]
    .map(of)
    .into()
});

/// Names as somebody may list them.
const LISTED: [&str; 14] = [
    "a",
    "b",
    "c",
    "d",
    "a.part0001",
    "a.part0005",
    "a.part0020",
    "a.part0021",
    "b.part0001",
    "a.part4294967295",
    "x",
    "../x",
    ".x",
    "\u{1}\"\\é",
];

/// A connection that nothing goes over.
static SENDER: LazyLock<Sender> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let _other_end = listener.accept().expect("it connected");
    Connection::new(stream).expect("a connection").sender()
});

fn torrent(name: &str, size: u64, piece_len: u32, content: &str) -> Torrent {
    let n_blocks = size.div_ceil(u64::from(piece_len) / BLOCKS_A_PIECE as u64);
    let checkpoints = vec![INITIAL; n_blocks as usize];
    let name = Name::parse(name).expect("a name");
    let md5 = digest(content.as_bytes());
    Torrent::new(name, size, piece_len, md5, checkpoints).expect("a .torrent")
}

fn summary(torrent: &Torrent) -> Summary {
    Summary::of(torrent)
}

/// What somebody sent, as it is understood where it arrives.
fn sent<T: Serialize + DeserializeOwned>(message: &T) -> T {
    parse(&to_bytes(message)).expect("its own bytes")
}

/// Choices, one byte each; once there are none left, the first of all.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    fn below(&mut self, n: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first) % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 1
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn up_to<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn content(&mut self) -> Arc<Torrent> {
        Arc::clone(self.of(&CONTENTS))
    }

    fn name(&mut self) -> Name {
        self.content().name().clone()
    }

    fn port(&mut self) -> u16 {
        *self.of(&[1, 2, 3, 50001, 0])
    }

    fn bits(&mut self, n: u32) -> Bitfield {
        if self.one_in(3) {
            return Bitfield::full(n);
        }
        let (from, to, step) = (self.below(4), self.below(80), 1 + self.below(4));
        let mut bits = Bitfield::new(n);
        (from..to).step_by(step).for_each(|idx| {
            bits.set(idx as u32);
        });
        bits
    }

    fn digits(&mut self) -> String {
        let n = self.content().n_pieces();
        let odd = ["all", "", "zz", "ff", "+f"];
        match self.below(8) {
            at @ 0..5 => odd[at].to_owned(),
            _ => self.bits(n).to_hex(),
        }
    }

    fn listed(&mut self) -> String {
        (*self.of(&LISTED)).to_owned()
    }

    fn parts(&mut self) -> BTreeMap<String, String> {
        self.up_to(3, |dice| (dice.listed(), dice.digits()))
            .into_iter()
            .collect()
    }

    fn pieces(&mut self) -> Pieces {
        if self.one_in(2) {
            Pieces::Digits(self.digits())
        } else {
            Pieces::These(self.up_to(5, |dice| {
                *dice.of(&[0, 1, 2, 4, 5, 9, 19, 69, 70, u32::MAX])
            }))
        }
    }

    fn haves(&mut self) -> Vec<Have> {
        let have = |dice: &mut Self| {
            let torrent = dice.content();
            let (name, md5) = (torrent.name().clone(), torrent.md5());
            Have {
                name,
                md5,
                pieces: dice.pieces(),
            }
        };
        sent(&self.up_to(4, have))
    }

    fn entry(&mut self) -> PeerEntry {
        PeerEntry {
            ip: (*self.of(&[
                "10.0.0.1",
                "10.0.0.2",
                "::ffff:10.0.0.2",
                "fe80::1",
                "x",
                "",
            ]))
            .to_owned(),
            port: self.port(),
            file_list: self.up_to(4, Self::listed),
            v: self.one_in(2).then_some(VERSION),
            pieces: self.parts(),
        }
    }

    fn addr(&mut self) -> SocketAddr {
        let ip: IpAddr = [10, 0, 0, 1 + self.below(3) as u8].into();
        (ip, self.port()).into()
    }

    fn stamp(&mut self) -> Stamp {
        Stamp {
            size: 100,
            mtime: (self.below(2) as i64, 0),
        }
    }
}

/// A request that was sent, and what it was for.
struct Asked {
    peer: PeerNo,
    get: Get,
}

/// A piece that came, while it is checked and written, with the file that it is of.
struct Came {
    peer: PeerNo,
    torrent: Arc<Torrent>,
    idx: u32,
}

/// A peer's course of things, driven as `client.rs`, `download.rs` and `upload.rs` drive it.
struct Course {
    state: State,
    now: Instant,
    begins: Vec<Summary>,
    asked: Vec<Asked>,
    came: Vec<Came>,
}

/// As what a peer is told, asked and sent. At the end everything wanted that somebody has comes.
pub fn of_a_peer(bytes: &[u8]) {
    let mut dice = Dice(bytes);
    let now = Instant::now();
    let wants = Wants {
        only: if dice.one_in(4) {
            vec![dice.name()]
        } else {
            Vec::new()
        },
        exit_when_complete: dice.one_in(2),
        ..Wants::default()
    };
    let mut course = Course {
        state: State::new(wants, StdRng::seed_from_u64(1), now),
        now,
        begins: Vec::new(),
        asked: Vec::new(),
        came: Vec::new(),
    };
    while !dice.0.is_empty() {
        course.step(&mut dice);
        course.forgets();
        course.holds();
    }
    course.comes_to_its_end();
}

impl Course {
    fn step(&mut self, dice: &mut Dice) {
        match dice.below(24) {
            0 => self.is_listed(dice),
            1 => self.is_published(dice),
            2 => {
                let entries = sent(&dice.up_to(3, Dice::entry));
                self.state.update_original_list(&entries, self.now);
            }
            3 | 4 => {
                let peer = self.state.know(dice.addr(), true);
                let id = *dice.of(&["", "1", "2"]);
                self.state.hello(peer, id, &dice.haves(), self.now);
            }
            5 => {
                let peer = self.a_peer(dice);
                self.state.learn(peer, &dice.haves());
            }
            6 | 7 => self.begins(dice),
            8 => self.connects(dice),
            9 | 10 => self.asks(dice),
            11..=14 => self.is_answered(dice),
            15..=17 => self.takes(dice),
            18 => {
                let (peer, failed) = (self.a_peer(dice), dice.one_in(2));
                self.is_disconnected(peer, failed);
            }
            19 => self.looks(dice),
            20 => {
                let name = dice.name();
                match dice.below(4) {
                    0 => self.state.drop_file(&name),
                    1 => self.state.give_up(&name, "why".to_owned()),
                    2 => drop(self.state.withdraw(&name)),
                    _ => self.publishes(dice),
                }
            }
            21 => self.serves(dice),
            22 => self.now += Duration::from_millis(*dice.of(&[1, 100, 6000, 70_000])),
            _ => self.tells(dice),
        }
    }

    /// The tracker answers for what is to be published.
    fn publishes(&mut self, dice: &mut Dice) {
        for publication in self.state.unpublished() {
            let md5 = dice.content().md5();
            let outcome = match dice.below(4) {
                0 => Outcome::Send,
                1 => Outcome::OtherStands {
                    md5,
                    why: String::new(),
                },
                2 => Outcome::Refused {
                    why: "why".to_owned(),
                },
                _ => Outcome::Stands {
                    mine: dice.one_in(2),
                    published: 1,
                    publisher: String::new(),
                },
            };
            self.state
                .published(&publication, &sent(&outcome), self.now);
        }
    }

    fn a_peer(&self, dice: &mut Dice) -> PeerNo {
        let known: Vec<PeerNo> = self.state.peers.keys().copied().collect();
        let nobody = PeerNo::MAX;
        if known.is_empty() {
            nobody
        } else {
            *dice.of(&known)
        }
    }

    fn is_listed(&mut self, dice: &mut Dice) {
        let list = SwarmList {
            v: VERSION,
            local: false,
            edition: dice.one_in(2).then_some(7),
            n_peers: None,
            peers: dice.up_to(4, Dice::entry),
            torrents: dice.up_to(4, |dice| {
                let lie = dice.one_in(8);
                let summary = summary(&dice.content());
                let n_pieces = if lie { u32::MAX } else { summary.n_pieces };
                Summary {
                    n_pieces,
                    ..summary
                }
            }),
            coming: Vec::new(),
        };
        let wanted = self.state.update_list(&sent(&list), self.now);
        self.begins.extend(wanted);
    }

    /// A content is listed, perhaps in the place of another, and begun; a peer has some of it.
    fn is_published(&mut self, dice: &mut Dice) {
        let content = dice.content();
        let list = SwarmList {
            v: VERSION,
            local: false,
            edition: None,
            n_peers: None,
            peers: Vec::new(),
            torrents: vec![summary(&content)],
            coming: Vec::new(),
        };
        let wanted = self.state.update_list(&sent(&list), self.now);
        self.begins.extend(wanted);
        self.begins(dice);
        let have = Have {
            name: content.name().clone(),
            md5: content.md5(),
            pieces: Pieces::of(&dice.bits(content.n_pieces())),
        };
        let peer = self.a_peer(dice);
        self.state.learn(peer, &sent(&vec![have]));
    }

    /// A `.torrent` came of what was listed: in any of the cuts that its content has.
    fn begins(&mut self, dice: &mut Dice) {
        let Some(summary) = self.begins.pop() else {
            return;
        };
        let of = |torrent: &&Arc<Torrent>| {
            (torrent.name(), torrent.md5(), torrent.size())
                == (&summary.name, summary.md5, summary.size)
        };
        let cuts: Vec<_> = CONTENTS.iter().filter(of).collect();
        if dice.one_in(8) {
            self.state.beginning.remove(&summary.name); // no .torrent, or no disk
            return;
        }
        let torrent: Arc<Torrent> = Arc::new(sent(&***dice.of(&cuts)));
        let have = if dice.one_in(3) {
            dice.bits(torrent.n_pieces())
        } else {
            Bitfield::new(torrent.n_pieces())
        };
        let whole = have.is_full();
        self.state.begin(Arc::clone(&torrent), have, self.now);
        if whole {
            self.is_complete(torrent.name());
        }
    }

    /// All of it is on the disk under its final name.
    fn is_complete(&mut self, name: &Name) {
        if let Some(held) = self
            .state
            .files
            .get_mut(name)
            .filter(|held| held.stamp.is_none())
        {
            assert!(held.have.is_full(), "only what is whole is complete");
            let stamp = Dice(&[]).stamp();
            held.stamp = Some(stamp);
            self.state
                .standing
                .insert(name.clone(), Standing::Shared(stamp));
        }
    }

    fn connects(&mut self, dice: &mut Dice) {
        for (peer, _) in self.state.to_connect(self.now) {
            if dice.one_in(4) {
                self.state.disconnected(peer, true, self.now);
            } else {
                let latency = Duration::from_millis(*dice.of(&[0, 1, 50]));
                let mut have = dice.haves();
                if dice.one_in(2) {
                    have.extend(self.all_of_what_is_here());
                }
                self.state.hello(peer, "1", &have, self.now);
                assert!(self.state.connected(peer, SENDER.clone(), latency));
            }
        }
    }

    /// What somebody has who has all of each file that is here.
    fn all_of_what_is_here(&self) -> Vec<Have> {
        let has = |held: &Held| Have {
            name: held.torrent.name().clone(),
            md5: held.torrent.md5(),
            pieces: Pieces::Digits("all".to_owned()),
        };
        self.state.files.values().map(has).collect()
    }

    fn asks(&mut self, dice: &mut Dice) {
        let (now, classic) = (self.now, dice.one_in(6));
        self.state.open_for_single_pieces(classic, now);
        let State { picker, rng, .. } = &mut self.state;
        let orders = if classic {
            Vec::from_iter(picker.classic_round(now, rng))
        } else {
            picker.manage_downloads(now, rng)
        };
        orders.into_iter().for_each(|order| self.ask(order));
    }

    fn ask(&mut self, Order { peer, get, .. }: Order) {
        let held = self.held(&get.name);
        let mut pieces = get.pieces.iter();
        assert!(pieces.all(|idx| *idx < held.have.len() && !held.have.get(*idx)));
        assert!(get.pieces.len() <= 8 && get.md5 == held.torrent.md5());
        assert!((0.0..=1.0).contains(&get.wait), "{}", get.wait);
        assert!(self.state.peers.contains_key(&peer), "a peer that is known");
        self.state.asked(peer, &get);
        self.asked.push(Asked { peer, get });
        let of_it = self.asked.iter().filter(|asked| asked.peer == peer);
        assert!(of_it.count() <= 2, "two requests a connection at most");
    }

    fn is_answered(&mut self, dice: &mut Dice) {
        if self.asked.is_empty() {
            self.asks(dice);
        }
        if self.asked.is_empty() {
            return;
        }
        let Asked { peer, get } = self.asked.remove(dice.below(self.asked.len()));
        let news = dice.haves();
        self.state.learn(peer, &news);
        let idx = get.pieces.get(dice.below(get.pieces.len() + 1)).copied();
        let asked = self.state.picker.asked(peer, get.n);
        assert_eq!(asked, Some((&get.name, &get.pieces[..])));
        let held = self.state.files.get(&get.name);
        let torrent = held.map(|held| Arc::clone(&held.torrent));
        let came =
            idx.zip(torrent.filter(|torrent| idx.is_some_and(|idx| idx < torrent.n_pieces())));
        let got = came.as_ref().map(|(idx, _)| *idx);
        let answered = self.state.picker.answered(peer, get.n, got, self.now);
        assert_eq!(answered, Some(get.name.clone()));
        match came {
            Some((idx, torrent)) => self.came.push(Came { peer, torrent, idx }),
            None if dice.one_in(2) => self.state.picker.peer_lost(peer, &get.name),
            None => {}
        }
    }

    /// A piece is checked and written, while anything may have happened to its file.
    fn takes(&mut self, dice: &mut Dice) {
        if self.came.is_empty() {
            return;
        }
        let Came { peer, torrent, idx } = self.came.remove(dice.below(self.came.len()));
        match dice.below(5) {
            0 => {
                let bad = BadPiece::Length {
                    expected: 2,
                    came: 1,
                };
                self.state.failed(peer, &torrent, idx, bad);
            }
            1 => {
                let bad = BadPiece::Block {
                    block: 0,
                    digest: digest(b"bad"),
                };
                self.state.failed(peer, &torrent, idx, bad);
            }
            2 if self.state.goes_on(&torrent) => {
                self.state.picker.dropped(peer, torrent.name(), idx);
            }
            _ => self.lands(peer, &torrent, idx),
        }
    }

    fn lands(&mut self, peer: PeerNo, torrent: &Arc<Torrent>, idx: u32) {
        if self.state.goes_on(torrent) {
            let whole = self.state.landed(peer, torrent.name(), idx, self.now);
            if whole == Some(true) {
                self.is_complete(torrent.name());
            }
        }
    }

    fn is_disconnected(&mut self, peer: PeerNo, failed: bool) {
        self.state.disconnected(peer, failed, self.now);
        assert!(!self.state.picker.is_asked(peer));
        self.asked.retain(|asked| asked.peer != peer);
    }

    /// What isn't waited for any more, as another program is at that address, or nobody.
    fn forgets(&mut self) {
        let picker = &self.state.picker;
        self.asked
            .retain(|asked| picker.asked(asked.peer, asked.get.n).is_some());
    }

    /// The folder is looked at, and what stands there hashed.
    fn looks(&mut self, dice: &mut Dice) {
        let before = self.state.standing.clone();
        let see = |dice: &mut Dice| Seen::File(dice.name(), dice.stamp());
        let mut seen = dice.up_to(3, see);
        if dice.one_in(2) {
            // most of what stood there stands there yet
            let held = self.state.files.iter();
            seen.extend(
                held.filter_map(|(name, held)| Some(Seen::File(name.clone(), held.stamp?))),
            );
        }
        let today = *dice.of(&[0, 1, i64::MAX]);
        let looked = self.state.looked(&before, &seen, today);
        for (name, stamp) in looked.to_hash {
            let content = dice.content();
            if content.name() == &name && dice.one_in(2) {
                self.state.share(content, stamp, dice.one_in(2), self.now);
            } else if dice.one_in(4) {
                let standing = Standing::Unverified(stamp, content.md5());
                self.state.standing.insert(name, standing);
            } else {
                self.state.standing.remove(&name);
            }
        }
        self.state.unsettled();
    }

    fn serves(&mut self, dice: &mut Dice) {
        let torrent = dice.content();
        let get = sent(&Get {
            n: 1,
            name: torrent.name().clone(),
            md5: torrent.md5(),
            pieces: dice.up_to(4, |dice| *dice.of(&[0, 1, 4, 5, 9, 19, 69, 70, u32::MAX])),
            wait: 0.0,
        });
        if let Served::Piece(torrent, _, idx) = self.state.choose(&get) {
            assert!(get.pieces.contains(&idx) && torrent.md5() == get.md5);
            assert!(self.held(torrent.name()).have.get(idx));
        }
        if let Found::Here(place, range) = self.state.find(&dice.listed()) {
            let (Place::Whole(name, _) | Place::Part(name, _)) = place;
            let size = self.held(&name).torrent.size();
            assert!(range.start <= range.end && range.end <= size);
        }
    }

    fn tells(&mut self, dice: &mut Dice) {
        self.state.ending(self.now);
        self.state.few_peers(dice.below(4));
        self.state.new_conflicts();
        self.state.retry_bad_pieces();
        self.state.coming();
        self.state.other_contents();
        self.state.given(false, self.now);
        self.state.untold_progress(self.now);
        let (shown, _) = self.state.in_work(5, 0, self.now);
        assert!(shown.len() <= 5);
        self.state.waits_for();
        self.state.from_originals_only();
        self.state.unpublished();
    }

    fn held(&self, name: &Name) -> &Held {
        self.state.files.get(name).expect("a file that is here")
    }

    /// What is true at every moment.
    fn holds(&self) {
        let state = &self.state;
        for (name, held) in &state.files {
            assert_eq!(
                (held.torrent.name(), held.torrent.n_pieces()),
                (name, held.have.len())
            );
            assert!(held.stamp.is_none() || held.have.is_full());
            assert_eq!(state.picker.wants(name), !held.have.is_full(), "{name}");
            let nowhere = state.picker.nowhere(name);
            assert!(
                nowhere
                    .iter()
                    .all(|idx| *idx < held.have.len() && !held.have.get(*idx))
            );
        }
        let addrs: BTreeSet<SocketAddr> = state.peers.values().map(|peer| peer.addr).collect();
        assert!(addrs.len() == state.peers.len() && state.n_listed() <= addrs.len());
        let (whole, parts) = state.file_list();
        assert!(
            whole
                .iter()
                .chain(parts.keys())
                .all(|name| Name::parse(name).is_ok())
        );
        let (haves, next) = state.haves();
        assert!(haves.len() <= state.files.len() && state.news(next).0.is_empty());
        let told = |have: &Have| (have.name.clone(), have.md5, have.pieces.clone());
        for (name, md5, pieces) in haves.iter().map(told) {
            let held = self.held(&name);
            assert_eq!(pieces.bits(held.have.len()).as_ref(), Some(&held.have));
            assert!(
                md5 == held.torrent.md5()
                    && parts
                        .get(name.as_str())
                        .is_none_or(|digits| *digits == held.have.to_hex())
            );
        }
        state.news(0);
    }

    /// Everybody goes, and one comes who has everything: it is asked for all that is missing.
    fn comes_to_its_end(&mut self) {
        let all: Vec<PeerNo> = self.state.peers.keys().copied().collect();
        all.into_iter()
            .for_each(|peer| self.is_disconnected(peer, true));
        self.came.drain(..).for_each(|Came { peer, torrent, idx }| {
            self.state.picker.dropped(peer, torrent.name(), idx);
        });
        let haves = self.all_of_what_is_here();
        let seed = self.state.know(([10, 9, 9, 9], 9).into(), true);
        self.state.hello(seed, "seed", &haves, self.now);
        self.state.connected(seed, SENDER.clone(), Duration::ZERO);
        let missing = |held: &Held| held.have.len() - held.have.count();
        let left: u32 = self.state.files.values().map(missing).sum();
        for _ in 0..left {
            let State { picker, rng, .. } = &mut self.state;
            let orders = picker.manage_downloads(self.now, rng);
            orders.into_iter().for_each(|order| self.ask(order));
            let first = self
                .asked
                .iter()
                .position(|asked| !asked.get.pieces.is_empty());
            let Asked { peer, get } = self
                .asked
                .remove(first.expect("what is missing is asked for"));
            let torrent = Arc::clone(&self.held(&get.name).torrent);
            self.state
                .picker
                .answered(peer, get.n, Some(get.pieces[0]), self.now);
            self.lands(peer, &torrent, get.pieces[0]);
            self.holds();
        }
        assert!(self.state.picker.is_idle(), "everything is here");
    }
}

/// As what peers tell and ask a tracker.
pub fn of_a_tracker(bytes: &[u8]) {
    let mut dice = Dice(bytes);
    let reach = *dice.of(&[Reachability::Remote, Reachability::Local]);
    let mut roster = Roster::new(reach);
    let rng = &mut StdRng::seed_from_u64(1);
    while !dice.0.is_empty() {
        let (from, port) = (ends(&mut dice), dice.port());
        let v = dice.one_in(2).then_some(VERSION);
        match dice.below(8) {
            0 => drop(roster.append_client(from, port, v)),
            1..4 => lists(&mut roster, &mut dice, from, port, v),
            4 | 5 => publishes(&mut roster, &mut dice, from, port),
            6 if dice.one_in(3) => drop(roster.update_peer_list()),
            _ => {
                let torrent = dice.content();
                let sources = roster.sources(torrent.name(), torrent.md5(), from, rng);
                let sources = sources.into_iter().flat_map(|of: FileSources| of.peers);
                assert!(
                    sources
                        .map(|source| source.ip.parse::<IpAddr>())
                        .all(|ip| ip.is_ok())
                );
            }
        }
        answers_hold(&mut roster, from, port, rng);
    }
    (0..2).for_each(|_| drop(roster.update_peer_list()));
    assert_eq!(roster.n_peers(), 0, "who is silent goes");
    let left = roster
        .swarm_list(ends(&mut dice), 1, &[], None, rng)
        .to_bytes();
    let left: SwarmList = parse(&left).expect("a list");
    assert!(left.peers.is_empty() && left.torrents.is_empty());
}

fn ends(dice: &mut Dice) -> Endpoints {
    let (peer, own) = *dice.of(&[
        ("10.0.0.2", "10.0.0.1"),
        ("10.0.0.3", "10.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("fe80::2", "fe80::1"),
        ("::1", "::1"),
    ]);
    let ip = |text: &str| text.parse().expect("an address");
    Endpoints {
        peer: ip(peer),
        own: ip(own),
    }
}

fn lists(roster: &mut Roster, dice: &mut Dice, from: Endpoints, port: u16, v: Option<u32>) {
    let list = PeerList {
        files: dice.up_to(6, Dice::listed),
        pieces: dice.parts(),
        coming: dice.up_to(2, |dice| Coming {
            name: dice.name(),
            size: 9,
            done: 1,
            peer: String::new(),
        }),
        others: dice
            .up_to(2, |dice| (dice.name(), dice.content().md5()))
            .into_iter()
            .collect(),
    };
    let listed = roster.set_list(from, port, v, &list);
    assert_eq!(listed.is_ok(), port > 0);
}

/// As the tracker does: it is judged, then written, while others list what they have, and then recorded.
fn publishes(roster: &mut Roster, dice: &mut Dice, from: Endpoints, port: u16) {
    let Ok(joined) = roster.append_client(from, port, Some(VERSION)) else {
        return;
    };
    let torrent = dice.content();
    let file = sent(&Publication {
        name: torrent.name().clone(),
        size: torrent.size(),
        md5: torrent.md5(),
        checkpoints: torrent.checkpoints_md5(),
        own: !dice.one_in(3),
        pinned: dice.one_in(3),
        published: dice.below(3) as u64,
        publisher: "10.0.0.2:1".to_owned(),
        torrent: None,
    });
    let (key, settling) = (*dice.of(&["one", "two"]), dice.one_in(4));
    let judged = roster.judge(joined.addr, key, &file, settling);
    let judged = judged.expect("below the caps");
    if dice.one_in(3) {
        let other = ends(dice);
        lists(roster, dice, other, 2, Some(VERSION));
    }
    if matches!(judged.verdict, Verdict::Stays(_)) {
        return;
    }
    let publisher = match file.own {
        true => joined.addr.to_string(),
        false => file.publisher,
    };
    let summary = Summary {
        publisher,
        published: file.published,
        pinned: file.own && file.pinned,
        ..summary(&torrent)
    };
    let key = file.own.then(|| key.to_owned());
    roster.publish(joined.addr, Record { summary, key }, judged.verdict);
}

/// Whatever the tracker knows, its answers fit who asks.
fn answers_hold(roster: &mut Roster, asker: Endpoints, port: u16, rng: &mut StdRng) {
    let answer = roster.swarm_list(asker, port, &[], None, rng).to_bytes();
    let list: SwarmList = parse(&answer).expect("a list");
    assert!(list.peers.len() <= PEERS_LISTED && answer.len() <= LIST_CAP);
    assert_eq!(to_bytes(&list), answer);
    for coming in &list.coming {
        assert!(coming.peer.parse::<SocketAddr>().is_ok());
    }
    for summary in &list.torrents {
        let others = summary.others.iter().map(|other| other.md5);
        assert!(others.clone().all(|md5| md5 != summary.md5));
    }
    let listed: BTreeMap<&str, &Summary> = list
        .torrents
        .iter()
        .map(|it| (it.name.as_str(), it))
        .collect();
    for peer in &list.peers {
        assert!(peer.ip.parse::<IpAddr>().is_ok() && peer.port > 0);
        for (name, digits) in &peer.pieces {
            let summary = listed[name.as_str()];
            let bits = Bitfield::from_hex(digits, summary.n_pieces);
            assert!(
                bits.is_some_and(|bits| !bits.is_empty()),
                "{name}: {digits} of {}",
                summary.n_pieces
            );
        }
    }
    let answer = roster.original_list(asker, port, rng).to_bytes(rng);
    let entries: Vec<PeerEntry> = parse(&answer).expect("a list");
    let cap = if asker.peer.is_loopback() || asker.peer == asker.own {
        ORIGINAL_CAP
    } else {
        ORIGINAL_CAP_OFF_LOOPBACK
    };
    assert!(to_bytes(&entries) == answer && answer.len() <= cap);
    for entry in entries {
        assert!(entry.ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()));
        assert!(entry.v.is_none() && entry.pieces.is_empty());
    }
}
