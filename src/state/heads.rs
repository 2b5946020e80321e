//! The heads of files: what this peer hands out of a file while it hashes it, and what it fetches of one that another peer is
//! hashing. A head is never listed, published, reported as done, or given a name in the folder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::holdings::News;
use super::{Held, Standing, State, TrackerKind};
use crate::md5::Digest;
use crate::protocol::{Coming, Head, PeerList, Summary};
use crate::store::{Stamp, StoredPieces};
use crate::torrent::{Name, Torrent};

impl State {
    /// Hands out the head of a file that is being hashed, in place of the one before. Returns false if it isn't wanted: the
    /// file has changed, or the swarm has something under its name already, perhaps this very content.
    pub fn offer_head(
        &mut self,
        head: &Arc<Torrent>,
        pieces: StoredPieces,
        stamp: Stamp,
        now: Instant,
    ) -> bool {
        let name = head.name();
        let ours = matches!(self.tracker, TrackerKind::Ours { .. });
        let is_hashed = self.standing.get(name) == Some(&Standing::Hashing(stamp));
        if !ours || !is_hashed || self.swarm.contains_key(name) {
            return false;
        }
        let before = self.drop_file(name);
        let mut held = Held::new(Arc::clone(head), pieces, None, now);
        held.hashing = Some(stamp);
        held.goes_on_from(before);
        let (name, md5, piece) = (name.clone(), head.md5(), None);
        self.files.insert(name.clone(), held);
        self.news.push(News { name, md5, piece });
        true
    }

    /// A file isn't hashed any more: its head isn't handed out, either.
    pub(super) fn drop_own_head(&mut self, name: &Name) {
        let held = self.files.get(name);
        if held.is_some_and(|held| held.hashing.is_some()) {
            self.drop_file(name);
        }
    }

    /// A head that was fetched can't go on: what is here of it is found again when the file's download begins.
    pub fn drop_incoming_head(&mut self, name: &Name) {
        if self.held_incoming(name).is_some() {
            self.drop_file(name);
        }
    }

    /// Returns what the tracker is told of the head that is handed out here.
    pub(super) fn head_from_here(&self, name: &Name) -> Option<Head> {
        let held = self.files.get(name)?;
        held.hashing.map(|_| Head::of(&held.torrent))
    }

    /// Notes the heads of a list that the tracker has taken. Returns true if it didn't know them all.
    pub fn told_heads(&mut self, heads: BTreeMap<Name, Digest>) -> bool {
        let told = &mut self.told.heads;
        let is_news = heads.iter().any(|(name, md5)| told.get(name) != Some(md5));
        *told = heads;
        is_news
    }

    /// Returns the heads of files that others are hashing and of which the swarm has nothing yet.
    pub(super) fn heads(&self) -> impl Iterator<Item = Summary> {
        let new = |coming: &&Coming| {
            let name = &coming.name;
            !self.swarm.contains_key(name) && !self.deleted.contains_key(name)
        };
        let coming = self.coming.values().filter(new);
        coming.filter_map(summary_of_head)
    }

    /// Returns true if what is held under this name may go on as `listed`: it is a head that was fetched so far, and `listed`
    /// is the file, or a longer head.
    pub(super) fn goes_on_as(&self, listed: &Summary) -> bool {
        let head = self.held_incoming(&listed.name);
        head.is_some_and(|head| listed.head_of.is_none() || listed.size > head.torrent.size())
    }

    fn held_incoming(&self, name: &Name) -> Option<&Held> {
        self.files.get(name).filter(|held| held.is_incoming_head())
    }

    /// Returns true if a download under this name can't begin: a file is here already, and not only a head that was fetched.
    pub fn is_taken(&self, name: &Name) -> bool {
        self.files.contains_key(name) && self.held_incoming(name).is_none()
    }

    /// Returns the head that is being fetched under this name.
    pub fn incoming_head(&self, name: &Name) -> Option<(Arc<Torrent>, StoredPieces)> {
        let held = self.held_incoming(name)?;
        Some((Arc::clone(&held.torrent), held.have.clone()))
    }
}

impl PeerList {
    /// Returns the heads that it tells of.
    pub fn heads(&self) -> BTreeMap<Name, Digest> {
        let head = |coming: &Coming| Some((coming.name.clone(), coming.head.as_ref()?.md5));
        self.coming.iter().filter_map(head).collect()
    }
}

/// Returns how a head is listed, as far as its publisher tells.
fn summary_of_head(coming: &Coming) -> Option<Summary> {
    let head = coming.head.as_ref()?;
    Some(Summary {
        name: coming.name.clone(),
        size: head.size,
        md5: head.md5,
        n_pieces: (head.size / u64::from(Torrent::piece_len_for(coming.size))) as u32,
        publisher: coming.peer.clone(),
        published: 0,
        checkpoints: Some(head.checkpoints),
        here: true,
        pinned: false,
        others: Vec::new(),
        head_of: Some(coming.size),
    })
}

impl Held {
    /// Returns true if it is only the beginning of a file.
    pub fn is_head(&self) -> bool {
        self.torrent.head_of().is_some()
    }

    /// Returns true if it is the beginning of a file that another peer is hashing.
    pub(super) fn is_incoming_head(&self) -> bool {
        self.is_head() && self.hashing.is_none()
    }

    /// Takes over what was counted of its head.
    pub(super) fn goes_on_from(&mut self, head: Option<Held>) {
        let Some(head) = head.filter(|head| self.torrent.extends(&head.torrent)) else {
            return;
        };
        self.sent[..head.sent.len()].copy_from_slice(&head.sent);
        (self.since, self.had) = (head.since, head.had);
        self.reused += head.reused;
        (self.exchanged, self.down, self.up) = (head.exchanged, head.down, head.up);
        (self.tally, self.told) = (head.tally, head.told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::INITIAL;
    use crate::picker::Route;
    use crate::protocol::{Get, Have, Hello, Pieces, SwarmList, VERSION, parse, to_bytes};
    use crate::state::tests::{name, stamp, state, state_wanting};
    use crate::state::{Ending, Found, Landing, Served, Wants};
    use crate::store::{Location, Part, StoredPiece, WholeFile};
    use crate::torrent::BLOCKS_A_PIECE;
    use std::time::Duration;

    const SIZE: u64 = 256 << 20;
    const PIECE: u32 = 256 << 10;

    /// `f`, which has heads, and these.
    fn file() -> (Arc<Torrent>, Vec<Arc<Torrent>>) {
        let n_blocks = SIZE as usize / PIECE as usize * BLOCKS_A_PIECE;
        let md5 = crate::md5::digest(b"f");
        let whole = Torrent::new(name("f"), SIZE, PIECE, md5, vec![INITIAL; n_blocks]);
        let whole = whole.expect("a .torrent");
        let heads = whole.heads_for_a_test().into_iter().map(Arc::new);
        let heads = heads.collect();
        (Arc::new(whole), heads)
    }

    fn listed(torrents: &[&Torrent], heads: &[&Torrent]) -> SwarmList {
        let coming = |head: &&Torrent| Coming {
            name: head.name().clone(),
            size: head.whole_size(),
            done: head.size(),
            peer: "10.0.0.2:1".to_owned(),
            head: Some(Head::of(head)),
        };
        let files = torrents.iter().map(|torrent| Summary::of(torrent));
        let coming = heads.iter().map(coming).collect();
        let list = SwarmList::for_a_test(files.collect(), coming);
        parse(&to_bytes(&list)).expect("its own bytes")
    }

    fn have(torrent: &Torrent, pieces: Pieces) -> Vec<Have> {
        let (name, md5) = (torrent.name().clone(), torrent.md5());
        vec![Have { name, md5, pieces }]
    }

    fn all(torrent: &Torrent) -> Vec<Have> {
        have(torrent, Pieces::Digits("all".to_owned()))
    }

    fn get(torrent: &Torrent, idx: u32) -> Get {
        Get {
            n: 1,
            name: torrent.name().clone(),
            md5: torrent.md5(),
            pieces: vec![idx],
            blocks: None,
            wait: 0.0,
        }
    }

    /// Begins what is to begin, as the client does.
    fn begins(state: &mut State, begins: &[Summary], torrent: &Arc<Torrent>) {
        assert_eq!(begins.len(), 1, "{begins:?}");
        assert_eq!(begins[0].md5, torrent.md5());
        let before = state.incoming_head(torrent.name());
        let part = Part {
            continues: before.map(|(head, _)| head),
            ..Part::none_of(torrent)
        };
        assert!(state.begin(torrent, part, Instant::now()));
    }

    fn lands(state: &mut State, torrent: &Arc<Torrent>, idx: u32) -> Landing {
        let piece = StoredPiece::for_a_test(torrent, idx);
        state.landed(1, torrent, &piece, 1, Instant::now())
    }

    #[test]
    fn what_is_hashed_so_far_is_handed_out_and_never_listed() {
        let (whole, heads) = file();
        let (mut state, now) = (state(), Instant::now());
        let offer = |state: &mut State, head: &Arc<Torrent>| {
            state.offer_head(head, StoredPieces::all_for_a_test(head), stamp(), now)
        };
        assert!(
            !offer(&mut state, &heads[0]),
            "no tracker, and nothing is hashed"
        );
        state.tracker = TrackerKind::Ours { local: false };
        state.standing.insert(name("f"), Standing::Hashing(stamp()));
        for head in &heads {
            assert!(offer(&mut state, head));
            let list = state.file_list();
            assert!(list.files.is_empty() && list.pieces.is_empty());
            assert_eq!(list.coming[0].head, Some(Head::of(head)));
            assert!(state.told_heads(list.heads()) && !state.told_heads(list.heads()));
            assert!(state.unpublished().is_empty() && state.whole_names().is_empty());
            assert!(state.completes(&name("f")).is_none());
            assert!(state.whole_file(&name("f")).is_none());
            assert!(matches!(state.find("f"), Found::Unknown));
            assert_eq!(state.haves().0, all(head));
            assert_eq!(state.news_from(state.haves().1 - 1).0, all(head));
            // whoever asks for a shorter one is answered, too
            for asked in [&heads[0], head] {
                let served = state.choose(&get(asked, 7));
                let place = Location::Whole(name("f"), stamp());
                assert!(matches!(served, Served::Piece(_, at, 7) if at == place));
            }
        }
        state.gave(1, &name("f"), 100, now);
        assert!(state.share(&WholeFile::for_a_test(&whole, stamp(), false), now));
        assert_eq!(state.file_list().coming, []);
        assert_eq!(state.files[&name("f")].gave(), 100);
        assert!(matches!(
            state.choose(&get(&heads[3], 9)),
            Served::Piece(_, _, 9)
        ));
        assert!(!offer(&mut state, &heads[3]), "it isn't hashed any more");
    }

    #[test]
    fn no_head_outlives_its_hashing_or_stands_in_for_what_is_listed() {
        let (_, heads) = file();
        let hashing = || {
            let mut state = state();
            state.tracker = TrackerKind::Ours { local: false };
            state.standing.insert(name("f"), Standing::Hashing(stamp()));
            state
        };
        let offer = |state: &mut State| {
            let pieces = StoredPieces::all_for_a_test(&heads[0]);
            state.offer_head(&heads[0], pieces, stamp(), Instant::now())
        };
        for end in [
            (|state| state.changed_meanwhile(&name("f"), stamp())) as fn(&mut State),
            |state| {
                state.cannot_read(&name("f"), None, "why");
            },
            |state| {
                state.lost(&name("f"), true);
            },
        ] {
            let mut state = hashing();
            assert!(offer(&mut state));
            end(&mut state);
            assert!(state.files.is_empty() && state.file_list().heads().is_empty());
        }
        let mut state = hashing();
        let other = crate::state::tests::torrent();
        state.update_list(&listed(&[&other], &[]), Instant::now());
        assert!(!offer(&mut state), "another version is listed");
    }

    #[test]
    fn a_head_that_was_fetched_goes_on_as_the_next_and_as_the_file() {
        let (whole, heads) = file();
        let now = Instant::now();
        let mut state = state_wanting(Wants {
            exit_when_complete: true,
            ..Wants::default()
        });
        let to_begin = state.update_list(&listed(&[], &[&heads[0]]), now);
        begins(&mut state, &to_begin, &heads[0]);
        assert_eq!(state.update_list(&listed(&[], &[&heads[0]]), now), []);
        for idx in 0..heads[0].n_pieces() {
            lands(&mut state, &heads[0], idx);
        }
        let is_there = |state: &State| {
            let list = state.file_list();
            list.files.is_empty() && list.pieces.is_empty() && state.completes(&name("f")).is_some()
        };
        assert!(!is_there(&state) && state.unpublished().is_empty());
        let (mut later, hour) = (now, Duration::from_secs(3600));
        later += hour;
        assert!(matches!(state.ending(later), Ending::Wait(_)));

        let to_begin = state.update_list(&listed(&[], &[&heads[1]]), now);
        begins(&mut state, &to_begin, &heads[1]);
        assert_eq!(state.files[&name("f")].have.count(), heads[0].n_pieces());
        // one that has it is asked for the next pieces
        let peer = state.know(([10, 0, 0, 2], 1).into(), true);
        let hello = Hello {
            v: VERSION,
            id: "a".to_owned(),
            port: 1,
            have: all(&heads[1]),
        };
        state.said_hello(peer, &hello, Duration::ZERO, now);
        let route = Route {
            latency: Duration::ZERO,
            one_at_a_time: false,
            subnet: None,
        };
        state.picker.open(peer, route);
        let asked = state.next_requests(0, now);
        let first = asked.first().expect("pieces are missing").get.clone();
        assert_eq!(first.md5, heads[1].md5());
        // meanwhile the file is published, and its publisher says that it has it
        state.learn(peer, &all(&whole));
        let to_begin = state.update_list(&listed(&[&whole], &[]), now);
        begins(&mut state, &to_begin, &whole);
        let idx = first.pieces[0];
        let expected = state.expects(peer, first.n, idx).expect("it was asked for");
        assert!(expected.is_some_and(|it| Arc::ptr_eq(&it.torrent, &whole)));
        state
            .take_answer(peer, first.n, Some(idx), now)
            .expect("it was asked for");
        // written just before, it counts for what is no more, and is asked for again
        assert_eq!(lands(&mut state, &heads[1], idx), Landing::NotWanted);
        let n_here = heads[0].n_pieces();
        assert_eq!(state.files[&name("f")].have.count(), n_here);
        let known = state.picker.has(peer, &name("f"));
        assert!(
            known.is_some_and(|has| has.is_full()),
            "all of it, by its word"
        );
        for idx in n_here..whole.n_pieces() - 1 {
            assert!(matches!(lands(&mut state, &whole, idx), Landing::Another));
        }
        assert_eq!(
            lands(&mut state, &whole, whole.n_pieces() - 1),
            Landing::Last
        );
        let completing = state.completes(&name("f")).expect("all of it is here");
        assert!(completing.pieces.is_full());
    }

    #[test]
    fn what_was_copied_counts_beside_what_came() {
        let (_, heads) = file();
        let (mut state, now) = (state(), Instant::now());
        let to_begin = state.update_list(&listed(&[], &[&heads[0]]), now);
        begins(&mut state, &to_begin, &heads[0]);
        lands(&mut state, &heads[0], 3);
        let mut part = Part::none_of(&heads[1]);
        part.pieces.add(&StoredPiece::for_a_test(&heads[1], 70));
        (part.reused, part.continues) = (5, Some(Arc::clone(&heads[0])));
        // one more comes while others are copied
        lands(&mut state, &heads[0], 4);
        assert!(state.begin(&heads[1], part, now));
        let held = &state.files[&name("f")];
        assert_eq!(held.have.iter().collect::<Vec<u32>>(), [3, 4, 70]);
        assert_eq!(held.reused, 5);
        // and isn't asked for
        let peer = state.know(([10, 0, 0, 2], 1).into(), true);
        let route = Route {
            latency: Duration::ZERO,
            one_at_a_time: false,
            subnet: None,
        };
        state.learn(peer, &all(&heads[1]));
        state.picker.open(peer, route);
        let (mut asked, n) = (0, heads[1].n_pieces());
        while let Some(decision) = state.picker.classic_round(now, &mut state.rng) {
            let Get { n, pieces, .. } = decision.get;
            assert!(![3, 4, 70].contains(&pieces[0]));
            let answered = state.take_answer(peer, n, Some(pieces[0]), now);
            assert_eq!(answered, Ok(()));
            asked += 1;
        }
        assert_eq!(asked, n - 3);
    }

    #[test]
    fn heads_are_wanted_where_the_file_would_be() {
        let (whole, heads) = file();
        let now = Instant::now();
        let only = |file: &str, md5| Wants {
            only: vec![name(file)],
            md5,
            ..Wants::default()
        };
        let other = crate::md5::digest(b"other");
        for (situation, wants, is_wanted) in [
            ("all", Wants::default(), true),
            ("by name", only("f", None), true),
            ("another", only("g", None), false),
            // nobody knows yet if it becomes that
            ("pinned", only("f", Some(whole.md5())), true),
            ("pinned, another", only("f", Some(other)), true),
        ] {
            let mut state = state_wanting(wants);
            let to_begin = state.update_list(&listed(&[], &[&heads[2]]), now);
            assert_eq!(!to_begin.is_empty(), is_wanted, "{situation}");
            if situation == "pinned, another" {
                begins(&mut state, &to_begin, &heads[2]);
                assert_eq!(state.update_list(&listed(&[&whole], &[]), now), []);
                assert!(matches!(state.ending(now), Ending::Wait(_)));
            }
        }
        let mut state = state();
        let to_begin = state.update_list(&listed(&[&whole], &[&heads[2]]), now);
        assert_eq!(to_begin.len(), 1);
        assert_eq!(to_begin[0].head_of, None, "the file is listed");
        let mut state = self::state();
        let to_begin = state.update_list(&listed(&[], &[&heads[3], &heads[1]]), now);
        begins(&mut state, &to_begin, &heads[3]);
        let shorter = state.update_list(&listed(&[], &[&heads[2]]), now);
        assert!(shorter.is_empty());
    }
}
