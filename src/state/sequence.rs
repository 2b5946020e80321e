//! A peer's knowledge through any sequence of messages and events. Bytes choose what happens: random ones in the test
//! below, and a fuzzer's in `tests/fuzz`.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::dice::{CONTENTS, Dice, sent, summary};
use super::*;
use crate::md5::digest;
use crate::net::{Connection, Sender};
use crate::picker::{Route, Subnet};
use crate::protocol::{Have, Head, Hello, Outcome, Pieces, VERSION};
use crate::store::{Location, Part, Seen, StoredPieces, WholeFile};
use crate::torrent::BadPiece;

#[path = "../../tests/it/parsers/dice.rs"]
#[allow(missing_docs, dead_code)]
mod dice;

/// Returns a connection that nothing is sent over.
static SENDER: LazyLock<Sender> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let _other_end = listener.accept().expect("it connected");
    Connection::new(stream).expect("a connection").sender()
});

/// A file that has heads, behind all of them.
static WITH_HEADS: LazyLock<Vec<Arc<Torrent>>> = LazyLock::new(|| {
    let whole = dice::torrent("d", 256 << 20, 256 << 10, "with heads");
    let heads = whole.heads_for_a_test();
    heads.into_iter().chain([whole]).map(Arc::new).collect()
});

fn hello(id: &str, have: Vec<Have>) -> Hello {
    Hello {
        v: VERSION,
        id: id.to_owned(),
        port: 1,
        have,
    }
}

fn blocks(dice: &mut Dice) -> BlockSet {
    let mut blocks = BlockSet::NONE;
    (0..dice.below(4)).for_each(|_| blocks.insert(dice.below(16)));
    blocks
}

/// A request that was sent, and what it asked for.
struct OpenRequest {
    peer: PeerId,
    get: Get,
}

/// A piece that came, while it is checked and written, with its file.
struct Came {
    peer: PeerId,
    torrent: Arc<Torrent>,
    idx: u32,
}

/// A peer's state and surroundings, driven as the client drives it.
struct Course {
    state: State,
    now: Instant,
    begins: Vec<Summary>,
    asked: Vec<OpenRequest>,
    came: Vec<Came>,
}

/// Runs the sequence that the bytes choose. At the end, everything wanted that somebody has arrives.
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
        match dice.below(26) {
            24 => self.is_hashed_elsewhere(dice),
            25 => self.hashes(dice),
            0 => self.is_listed(dice),
            1 => self.is_published(dice),
            2 => {
                let entries = sent(&dice.up_to(3, Dice::entry));
                self.state.update_original_list(&entries, self.now);
            }
            3 | 4 => {
                let peer = self.state.know(dice.addr(), true);
                let id = *dice.of(&["", "1", "2"]);
                let hello = hello(id, dice.haves());
                self.state
                    .said_hello(peer, &hello, Duration::ZERO, self.now);
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
                    0 => drop(self.state.drop_file(&name)),
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

    /// The tracker answers the publications.
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

    fn a_peer(&self, dice: &mut Dice) -> PeerId {
        let known: Vec<PeerId> = self.state.peers.keys().copied().collect();
        let nobody = PeerId::MAX;
        if known.is_empty() {
            nobody
        } else {
            *dice.of(&known)
        }
    }

    fn is_listed(&mut self, dice: &mut Dice) {
        let edition = dice.one_in(2).then_some(7);
        let peers = dice.up_to(4, Dice::entry);
        let torrents = dice.up_to(4, |dice| {
            let lie = dice.one_in(8);
            let summary = summary(&dice.content());
            let n_pieces = if lie { u32::MAX } else { summary.n_pieces };
            Summary {
                n_pieces,
                ..summary
            }
        });
        let list = SwarmList {
            edition,
            peers,
            ..SwarmList::for_a_test(torrents, Vec::new())
        };
        if dice.one_in(2) {
            self.state.asks_tracker_for();
        }
        let wanted = self.state.update_list(&sent(&list), self.now);
        self.begins.extend(wanted);
    }

    /// A peer says which pieces of a content it has.
    fn has_some(&mut self, content: &Torrent, dice: &mut Dice) {
        let have = Have {
            name: content.name().clone(),
            md5: content.md5(),
            pieces: Pieces::of(&dice.bits(content.n_pieces())),
        };
        let peer = self.a_peer(dice);
        self.state.learn(peer, &sent(&vec![have]));
    }

    /// A peer is hashing a file, and has a head of it to give, or has published it.
    fn is_hashed_elsewhere(&mut self, dice: &mut Dice) {
        let content = dice.of(&WITH_HEADS);
        let is_head = content.head_of().is_some();
        let coming = Coming {
            name: content.name().clone(),
            size: content.whole_size(),
            done: content.size(),
            peer: "10.0.0.9:9".to_owned(),
            head: is_head.then(|| Head::of(content)),
        };
        let torrents = Vec::from_iter((!is_head).then(|| summary(content)));
        let list = SwarmList::for_a_test(torrents, vec![coming]);
        let wanted = self.state.update_list(&sent(&list), self.now);
        self.begins.extend(wanted);
        self.has_some(content, dice);
        self.begins(dice);
    }

    /// A file of the folder is hashed, up to the end of a head or of the file.
    fn hashes(&mut self, dice: &mut Dice) {
        let (content, stamp) = (Arc::clone(dice.of(&WITH_HEADS)), dice.stamp());
        let name = content.name().clone();
        if !self.state.files.contains_key(&name) {
            self.state
                .standing
                .insert(name.clone(), Standing::Hashing(stamp));
        }
        match (content.head_of(), dice.below(4)) {
            (_, 0) => self.state.changed_meanwhile(&name, stamp),
            (None, _) => {
                let file = WholeFile::for_a_test(&content, stamp, false);
                self.state.share(&file, self.now);
            }
            (Some(_), _) => {
                let all = StoredPieces::all_for_a_test(&content);
                self.state.offer_head(&content, all, stamp, self.now);
            }
        }
    }

    /// A content is listed, perhaps in place of another, and its download begins; a peer has some of it.
    fn is_published(&mut self, dice: &mut Dice) {
        let content = dice.content();
        let list = SwarmList::for_a_test(vec![summary(&content)], Vec::new());
        let wanted = self.state.update_list(&sent(&list), self.now);
        self.begins.extend(wanted);
        self.begins(dice);
        self.has_some(&content, dice);
    }

    /// The `.torrent` of a listed file arrives: in any of the cuts that its content has.
    fn begins(&mut self, dice: &mut Dice) {
        let Some(summary) = self.begins.pop() else {
            return;
        };
        let of = |torrent: &&Arc<Torrent>| {
            (torrent.name(), torrent.md5(), torrent.size())
                == (&summary.name, summary.md5, summary.size)
        };
        let cuts = CONTENTS.iter().chain(&*WITH_HEADS).filter(of);
        let cuts: Vec<_> = cuts.collect();
        if dice.one_in(8) {
            self.state.end_beginning(&summary.name); // no .torrent, or no disk
            return;
        }
        let torrent: Arc<Torrent> = Arc::new(sent(&***dice.of(&cuts)));
        let mut part = Part::none_of(&torrent);
        if dice.one_in(3) {
            for idx in dice.bits(torrent.n_pieces()).iter() {
                part.pieces.add(&StoredPiece::for_a_test(&torrent, idx));
            }
        }
        let head = self.state.incoming_head(torrent.name());
        let head = head.filter(|(head, _)| torrent.extends(head) && dice.one_in(2));
        if let Some((head, pieces)) = head {
            part.pieces.add_head(&head, &pieces, &torrent);
            part.continues = Some(head);
        }
        let missing = (0..torrent.n_pieces()).filter(|idx| !part.pieces.get(*idx));
        let first = missing.take(dice.below(3)).map(|idx| (idx, blocks(dice)));
        part.blocks = first.collect();
        let whole = part.pieces.is_full();
        self.state.begin(&torrent, part, self.now);
        if whole {
            self.is_complete(torrent.name());
        }
    }

    /// All of it is on the disk under its final name.
    fn is_complete(&mut self, name: &Name) {
        if let Some(completing) = self.state.completes(name) {
            assert!(
                completing.pieces.is_full(),
                "only what is whole is complete"
            );
            let file = WholeFile::for_a_test(&completing.torrent, Dice(&[]).stamp(), true);
            self.state.completed(&file);
        }
    }

    fn connects(&mut self, dice: &mut Dice) {
        for (peer, _) in self.state.to_connect(0, self.now) {
            if dice.one_in(4) {
                self.state.disconnected(peer, true, self.now);
            } else {
                let same = |comes_before| Some(Subnet::Same { comes_before });
                let route = Route {
                    latency: Duration::from_millis(*dice.of(&[0, 1, 50])),
                    one_at_a_time: false,
                    subnet: *dice.of(&[None, same(true), same(false), Some(Subnet::Other)]),
                };
                let mut have = dice.haves();
                if dice.one_in(2) {
                    have.extend(self.all_of_what_is_here());
                }
                let (hello, sender) = (hello("1", have), SENDER.clone());
                let connected = self.state.connected(peer, &hello, sender, route, self.now);
                assert!(connected);
            }
        }
    }

    /// Returns the offer of a peer that has all of each file that is here.
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
        let decisions = if classic {
            Vec::from_iter(self.state.classic_round(0, now))
        } else {
            self.state.next_requests(0, now)
        };
        decisions.into_iter().for_each(|one| self.ask(one));
    }

    fn ask(&mut self, decision: Decision) {
        self.state.request_link(&decision);
        let Decision { peer, get, .. } = decision;
        let held = self.held(&get.name);
        let mut pieces = get.pieces.iter();
        assert!(pieces.all(|idx| *idx < held.have.len() && !held.have.get(*idx)));
        assert!(get.pieces.len() <= 8 && get.md5 == held.torrent.md5());
        assert!((0.0..=1.0).contains(&get.wait), "{}", get.wait);
        assert!(self.state.peers.contains_key(&peer), "a peer that is known");
        assert!(
            get.blocks
                .is_none_or(|blocks| get.pieces.len() == 1 && !blocks.is_empty())
        );
        self.asked.push(OpenRequest { peer, get });
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
        let OpenRequest { peer, get } = self.asked.remove(dice.below(self.asked.len()));
        let news = dice.haves();
        self.state.learn(peer, &news);
        let idx = get.pieces.get(dice.below(get.pieces.len() + 1)).copied();
        let expected = idx.map(|idx| self.state.expects(peer, get.n, idx));
        let expected = expected.map(|expected| expected.expect("it was asked for"));
        let came = idx.zip(expected.flatten().map(|expected| expected.torrent));
        let got = came.as_ref().map(|(idx, _)| *idx);
        let answered = self.state.take_answer(peer, get.n, got, self.now);
        assert_eq!(answered, Ok(()));
        match came {
            Some((idx, torrent)) => self.came.push(Came { peer, torrent, idx }),
            None if dice.one_in(2) => self.state.has_not(peer, &get.name),
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
            2 => self.state.give_back_claim(peer, &torrent, idx),
            _ => self.lands(peer, &torrent, idx),
        }
    }

    fn lands(&mut self, peer: PeerId, torrent: &Arc<Torrent>, idx: u32) {
        let piece = StoredPiece::for_a_test(torrent, idx);
        let landing = self
            .state
            .landed(peer, torrent, &piece, torrent.piece_len(idx), self.now);
        if landing == Landing::Last {
            self.is_complete(torrent.name());
        }
    }

    fn is_disconnected(&mut self, peer: PeerId, failed: bool) {
        self.state.disconnected(peer, failed, self.now);
        assert!(!self.state.picker.is_asked(peer));
        self.asked.retain(|asked| asked.peer != peer);
    }

    /// Drops what is no longer waited for, as another program is at that address, or none.
    fn forgets(&mut self) {
        let picker = &self.state.picker;
        self.asked
            .retain(|asked| picker.request(asked.peer, asked.get.n).is_some());
    }

    /// The folder is looked at, and its files are hashed.
    fn looks(&mut self, dice: &mut Dice) {
        let before = self.state.standing.clone();
        let see = |dice: &mut Dice| Seen::File(dice.name(), dice.stamp());
        let mut seen = dice.up_to(3, see);
        if dice.one_in(2) {
            // most of the files are still there
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
                let file = WholeFile::for_a_test(&content, stamp, dice.one_in(2));
                self.state.share(&file, self.now);
            } else if dice.one_in(4) {
                self.state.stands_unverified(&name, stamp, content.md5());
            } else {
                self.state.changed_meanwhile(&name, stamp);
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
            blocks: dice.one_in(2).then(|| blocks(dice)),
            wait: 0.0,
        });
        if let Served::Piece(torrent, _, idx) = self.state.choose(&get) {
            assert!(get.pieces.contains(&idx));
            assert!(self.held(torrent.name()).begins_with(get.md5));
            assert!(self.held(torrent.name()).have.get(idx));
        }
        if let Found::Here(place, range) = self.state.find(&dice.listed()) {
            let (Location::Whole(name, _) | Location::Part(name, _)) = place;
            let size = self.held(&name).torrent.size();
            assert!(range.start <= range.end && range.end <= size);
        }
    }

    fn tells(&mut self, dice: &mut Dice) {
        self.state.ending(self.now);
        self.state.few_peers(dice.below(4));
        self.state.new_conflicts();
        self.state.retry_bad_pieces();
        self.state.file_list();
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

    /// Checks what must always be true.
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
        let list = state.file_list();
        let (whole, parts) = (list.files, list.pieces);
        assert!(
            whole
                .iter()
                .chain(parts.keys())
                .all(|name| Name::parse(name).is_ok())
        );
        let (haves, next) = state.haves();
        assert!(
            haves.len() <= state.files.len() && (next == 0 || state.news_from(next).0.is_empty())
        );
        let told = |have: &Have| (have.name.clone(), have.md5, have.pieces.clone());
        for (name, md5, pieces) in haves.iter().map(told) {
            let held = self.held(&name);
            assert_eq!(pieces.bits(held.have.len()).as_ref(), Some(&*held.have));
            assert!(
                md5 == held.torrent.md5()
                    && parts
                        .get(name.as_str())
                        .is_none_or(|digits| *digits == held.have.to_hex())
            );
        }
        state.news_from(0);
    }

    /// All peers leave, and one comes that has everything: it is asked for all that is missing.
    fn comes_to_its_end(&mut self) {
        let all: Vec<PeerId> = self.state.peers.keys().copied().collect();
        all.into_iter()
            .for_each(|peer| self.is_disconnected(peer, true));
        self.came.drain(..).for_each(|Came { peer, torrent, idx }| {
            self.state.give_back_claim(peer, &torrent, idx);
        });
        let haves = self.all_of_what_is_here();
        let seed = self.state.know(([10, 9, 9, 9], 9).into(), true);
        let (hello, sender) = (hello("seed", haves), SENDER.clone());
        let route = Route {
            latency: Duration::ZERO,
            one_at_a_time: false,
            subnet: Some(Subnet::Other),
        };
        self.state.connected(seed, &hello, sender, route, self.now);
        let missing = |held: &Held| held.have.len() - held.have.count();
        let left: u32 = self.state.files.values().map(missing).sum();
        for _ in 0..left {
            let State { picker, rng, .. } = &mut self.state;
            let decisions = picker.next_requests(self.now, rng);
            decisions.into_iter().for_each(|one| self.ask(one));
            let first = self
                .asked
                .iter()
                .position(|asked| !asked.get.pieces.is_empty());
            let OpenRequest { peer, get } = self
                .asked
                .remove(first.expect("what is missing is asked for"));
            let torrent = Arc::clone(&self.held(&get.name).torrent);
            let answered = self
                .state
                .take_answer(peer, get.n, Some(get.pieces[0]), self.now);
            assert_eq!(answered, Ok(()));
            self.lands(peer, &torrent, get.pieces[0]);
            if get.pieces[0].is_multiple_of(50) {
                self.holds();
            }
        }
        assert!(self.state.picker.is_idle(), "everything is here");
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn no_sequence_of_events_breaks_what_a_peer_knows() {
        let mut rng = StdRng::seed_from_u64(3);
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..rng.random_range(1..400))
                .map(|_| rng.random())
                .collect();
            of_a_peer(&bytes);
        }
    }
}
