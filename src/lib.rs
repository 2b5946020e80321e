//! bittorrentish: a tracker and a peer, in plain synchronous Rust, that hand one large file from one machine to every other on
//! a network.
//!
//! It mirrors a course's Python original, whose words and messages it keeps, so that the two can be read side by side.
//!
//! # The lesson
//! Four paths lead through eleven files: [`repeated_timer`], [`protocol`], [`tracker`], [`roster`], [`client`],
//! [`client::download`], [`client::upload`], [`state`], [`picker`], [`torrent`] and [`store`]. What these files call in other
//! rooms is engineering, listed at the end: its names say what it does, and the lesson reads without opening it.
//!
//! The original's words name the functions that do its jobs:
//! | the original's | here | what differs |
//! |---|---|---|
//! | `RepeatedTimer` | [`repeated_timer::RepeatedTimer`] | one thread, so that calls never overlap; it also fires at the start, and can be asked to fire at once |
//! | `listen_for_clients` | [`tracker::listen_for_clients`] | at most 512 connections at a time |
//! | `handle_client` | [`tracker::TrackerShared::handle_client`] | the lock is held to decide, and not while anything is read or sent |
//! | `append_client` | [`roster::Roster::append_client`] | a new peer is seen at once; with `--remote` the original tells peers apart by address alone, ours by address and port (without it, both by port) |
//! | `update_peer_list`, `merge_arrays` | [`roster::Roster::update_peer_list`] | one list in which each peer has the number of a sweep, instead of two lists that are merged |
//! | `ping_tracker` | [`client::Client::ping_tracker`] | the answer also names pieces and published files; of more than 50 other peers it names 50, and never the asker |
//! | `send_tracker_file_list`, `get_file_list` | [`client::Client::send_tracker_file_list`], [`state::State::file_list`] | only verified content is listed, not whatever is in the folder; it is also sent whenever something changes, and an empty list counts |
//! | `manage_downloads` | [`client::Client::manage_downloads`] | it runs whenever something changed, not only every 30 s |
//! | `rank_file_rarity` | [`picker::Picker::rank_file_rarity`] | it ranks pieces, and the ranking is used |
//! | `select_file` | [`picker::select_file`] | it selects a piece, the rarest |
//! | `select_peer` | [`picker::select_peer`] | nearer holders have a greater chance |
//! | `request_piece` | [`client::Client::request_piece`] | it sends a request on a connection that stays open; the answer is read by that connection's thread |
//! | `listen_requests` | [`client::Client::listen_requests`] | all are served at once: the original's threads wait for one lock |
//! | `handle_piece_request` | [`client::Client::handle_piece_request`] | of several pieces that were named it sends the one that it has sent least |
//!
//! Words: an *original* is a program that speaks the Python original's messages only. A *content* is what stands under a
//! file's name, known by its MD5. A *part* is an unfinished file. A piece is *open* if nobody was asked for it, and a request
//! *claims* the pieces that it names. A peer has a *place free* if another request may be sent to it. An *edition* is the
//! number of the tracker's list of published files. A *room* is a module.
//!
//! ## A ping
//! 1. Every 10 s a peer's timer ([`repeated_timer::RepeatedTimer::start`]) calls [`client::Client::ping_tracker`]: a
//!    [`protocol::ToTracker::Ping`] with its port, the files that it wants ([`state::State::asks_tracker_for`]) and the edition
//!    of the published files that it knows. It goes over a connection of its own, as the original's does
//!    ([`client::tracker_answers`]).
//! 2. At the tracker, [`tracker::listen_for_clients`] gives each connection a thread, and
//!    [`tracker::TrackerShared::handle_client`] reads the one message. [`tracker::TrackerShared::answer`] tells which it is.
//! 3. [`tracker::TrackerShared::handle_ping`] locks the roster. [`roster::Roster::append_client`] notes that the peer is
//!    there: from now on others see it, and it outlives the next sweep.
//! 4. [`roster::Roster::swarm_list`] makes the answer: up to 50 other peers, at random, with holders of the rarest of what the
//!    asker lacks among them, and the published files, unless the asker knows them. It is written after the lock is released.
//!    Many long ones at once would fill the memory: where too many are on their way, it names less of what the others have
//!    (`tracker::message_permit`).
//! 5. Back at the peer, [`state::State::update_list`] takes the answer: [`state::State::take_files`] the contents,
//!    [`state::State::take_peers`] the peers and what they have, [`state::State::to_begin`] names the files whose download can
//!    begin.
//! 6. New holders are connected to ([`client::Client::connect_to_peers`]), with a thread for each, which says hello and will
//!    read the answers ([`client::connecting`]). There, [`client::Client::listen_requests`] gives each connection a thread.
//!    [`client::Client::serve_first`] tells an original from one of ours, and refuses other machines if the tracker serves only
//!    its own. [`client::Client::serve_ours`] exchanges hellos, which say what each has, and then answers one request after the
//!    other.
//! 7. Everything that can be requested is requested ([`client::Client::manage_downloads`]). The same happens every 30 s, as in
//!    the original ([`client::Client::round`]).
//!
//! ## A list
//! 1. Every 20 s, and whenever something changes here: a file becomes whole, is shared, changes or goes away
//!    ([`repeated_timer::Trigger::fire`]), [`client::Client::send_tracker_file_list`] runs. What the tracker doesn't know yet is
//!    published first ([`client::Client::publish`]).
//! 2. [`state::State::file_list`] says what is here: names of whole files, and the pieces of others as digits. Only verified
//!    pieces count, and only the swarm's contents ([`state::State::is_listed`]). What is still being hashed is sent as
//!    *coming*, and the MD5s of other contents as *others*. Until a tracker has answered the first ping, no list is sent.
//! 3. At the tracker, [`tracker::TrackerShared::handle_file_list`] has [`roster::Roster::set_list`] take it in the place of the
//!    peer's last list. A list also adds an unknown peer, and keeps a known one through the next sweep.
//!
//! ## A sweep
//! 1. Every 15 s the tracker's timer calls [`tracker::TrackerShared::sweep`].
//! 2. The tracker counts its sweeps, and notes for each peer how many there had been when its last message came.
//!    [`roster::Roster::update_peer_list`] drops the peers that have sent nothing since the sweep before this one: a peer that
//!    falls silent goes at the second sweep after its last message. What it had is no longer counted.
//!
//! ## A piece, from disk to disk
//! 1. [`client::Client::manage_downloads`] runs whenever a piece arrives, a peer reports news, or a connection opens or ends. It
//!    asks [`state::State::next_requests`], and so [`picker::Picker::next_requests`], for everything that can be asked for
//!    now.
//! 2. [`picker::Picker::next_request`] takes the original's three steps: [`picker::Picker::rank_file_rarity`] finds the rarest
//!    missing pieces ([`picker::WantedFile::rank`]) of each peer that has a place free, [`picker::select_file`] takes one of
//!    the rarest at random, and [`picker::select_peer`] one of its holders, with a chance in proportion to 1/latency (those
//!    below 2 ms count as 2 ms). [`picker::Picker::ask`] claims up to eight equally rare pieces.
//! 3. [`client::Client::request_piece`] sends the request ([`protocol::Get`]) on the connection to that holder; in a round of
//!    `--classic`, on one that is opened for it (`client::originals`).
//! 4. There, the connection's thread calls [`client::Client::handle_piece_request`]. [`client::Client::choose_or_wait`] has
//!    [`state::State::choose`] decide: of the named pieces that are here, the one that it has sent least. If none is here, it
//!    answers with news; a request for nothing but news is held until there is some, for as long as it says: ours say 1 s at
//!    most. The bytes go from the disk to the network in [`client::Client::send_ranges`].
//! 5. Back at the asker, on that connection's thread, [`client::Client::read_answers`] reads the header, and
//!    [`client::Client::receive_piece`] the bytes: [`state::State::expects`] checks that they were asked for, and
//!    [`client::Client::read_piece`] that their number is right. Before they are looked at, the next piece is asked for.
//! 6. [`client::Client::keep_piece`] verifies, writes and marks. Only [`torrent::Torrent::verify`] makes a
//!    [`torrent::VerifiedPiece`]: where none of its blocks differs ([`torrent::Torrent::bad_blocks`]). Only
//!    [`store::Store::write_piece`] makes a [`store::StoredPiece`] of it, once its bytes are in the part (`store::parts`), and
//!    only that is taken by [`state::State::landed`], which sets its bit ([`store::StoredPieces::add`]): from now on the piece
//!    is here, is told of, and is served.
//! 7. With the last piece, `Client::complete` has [`store::Store::complete`] give the file its name: first its bytes are on the
//!    disk, then the name. The file's MD5 needs no second reading, as each block has led from its checkpoint to the next.
//!
//! ## The life of a piece
//! ```text
//!   open ──request_piece──> requested ──receive_piece──> received ──verify──> verified ──write_piece──> stored ──landed──> here
//!    ^                          │                            │                     │                                       │
//!    ├── its connection ends, ──┘                            │                     │                            served to all
//!    │   or another piece came                               │                     │
//!    └───────────────────────── it fails its check ──────────┴─── the disk fails ──┘
//! ```
//! - *open*: missing, and nobody was asked for it ([`picker::Picker`]).
//! - *requested*: one or more requests name it; each is a claim. If the holder sends one of the other pieces named in the
//!   request, or if its connection ends ([`client::connecting`] gives back all claims of that connection), the piece is open
//!   again, and the next decision follows at once. If it is late, it is asked for once more, of another holder.
//! - *received*: it is in memory ([`client::Client::receive_piece`]), and can't be late any more.
//! - *verified*: each of its blocks leads from its checkpoint to the next ([`torrent::Torrent::verify`]). If a block is
//!   wrong, the piece is open again, and that peer isn't asked for it as long as another one has it ([`state::State::failed`]).
//!   Once a good copy has come from another peer, the bad one counts as a strike; after three strikes the peer is left alone.
//!   The file's publisher is asked a second time: if its bytes are wrong again, its disk or its checkpoints
//!   are at fault, and the user is told.
//! - *stored*: it is in the part ([`store::Store::write_piece`]).
//! - *here*: it is marked, and others are told of it with the next answer ([`state::State::landed`]).
//!
//! ## The life of a peer, at the tracker
//! ```text
//!   unknown ──first message──> listed ──no message between two sweeps──> dropped
//!                               │  ^
//!                               └──┘ a ping or a list
//! ```
//!
//! ## The life of a peer, at another peer
//! ```text
//!   listed ──connect_to_peers──> trying ──hello──> open ──read_answers──> open … ──closes, or fails──> listed, or forgotten
//! ```
//!
//! ## What else runs in these files
//! Helpers, none of which decides, checks or marks anything. `tests/it/walk.rs` records what runs in a default swarm: any
//! function that is in neither list fails the test.
//! - [`repeated_timer`]: `trigger` makes the handle that fires; `drop` ends the timer.
//! - [`tracker`]: `start`, `start_with` and `new` start it; `lock`; `addr` and `settles_in` are read by others.
//! - [`roster`]: `new`; `key`, `is_ours`, `has_nothing` and `n_peers` read it; `listed` makes the peers of an answer.
//! - [`client`]: `lock`; `wait` and `notify_all` wait for a change and tell of one; `store` and `min_peers` are read by others.
//! - [`client::upload`]: `serve` tells how a connection ended; `answer_hello`; `ranges_of` says where a piece is in its file.
//! - [`state`]: `new` makes it.
//! - [`picker`]: `chances` has the arithmetic of a choice by latency.
//! - [`torrent`]: what is known of a file is read by `name`, `size`, `md5`, `checkpoints_md5`, `n_pieces` and `full_piece_len`, and
//!   of a piece by `idx`, `bytes` and `torrent`; `piece_len_for`, `piece_len`, `piece_start`, `block_len`, `blocks_of`,
//!   `n_blocks`, `blocks_len` and `bytes_of` have the arithmetic.
//! - [`store`]: `none_of`, `verified` and `deref` for stored pieces, and `idx` for a piece; `dir`, `path` and `digits_of`
//!   make paths; `read` reads from the disk.
//!
//! # Engineering, by room
//! Each module beside the lesson, and what it does. The messages and the file:
//! - `protocol::framing`: reads and writes messages, with a cap on all that is buffered.
//! - `protocol::pieces`: which pieces somebody has, as it is told.
//! - `protocol::publishing`: the messages on contents.
//! - `protocol::reporting`: how far machines are.
//! - `protocol::wrong_field`: names the field of a message that is of the wrong kind.
//! - `torrent::name`: the rules for names, so that none leads out of the folder.
//! - `torrent::blocks`: a set of a piece's blocks.
//! - `torrent::json`: makes a `.torrent`, and checks its fields.
//! - `torrent::head`: the beginning of a file that is still being hashed.
//! - `torrent::faults`: what can be wrong with a piece or a `.torrent`.
//! - `md5`: MD5 with checkpoints, in vector lanes.
//! - `bitfield`: which pieces somebody has, a bit each.
//! - `content`: the rules on which content stands under a name.
//! - `conflicts`: names with more than one content, as the pages show them.
//!
//! The tracker:
//! - `tracker::publishing`: takes, keeps and hands out `.torrent`s.
//! - `tracker::torrent_folder`: the folder that they are in.
//! - `tracker::reasons`: why a content doesn't stand, for its publisher.
//! - `tracker::replies`: the answers as bytes.
//! - `tracker::message_permit`: the permit for a long message.
//! - `tracker::events`: what people are told.
//! - `tracker::machines`: how far each machine is, and who finished and left.
//! - `tracker::status`: takes and hands out how far machines are.
//! - `tracker::notices`: when people are told, and how often.
//! - `tracker::page`: the tracker's page.
//!
//! The tracker's roster:
//! - `roster::address`: tells peers apart, and says by which address each is found.
//! - `roster::list`: what a peer's list means.
//! - `roster::holdings`: what one peer has.
//! - `roster::changes`: a peer's new list, its move, its departure.
//! - `roster::files`: who has each file, and the list of files, ready to be sent.
//! - `roster::piece_counts`: how many peers have each piece.
//! - `roster::draw_set`: a set to draw from at random.
//! - `roster::sample`: which peers are on an answer.
//! - `roster::swarm_answer`: the answer to a ping of ours.
//! - `roster::original_answer`: the answer to an original's ping.
//! - `roster::records`: what is published.
//! - `roster::publisher`: whether a publisher is here.
//! - `roster::folder`: what stands in a peer's folder and not in the swarm.
//! - `roster::quotas`: what each address has here, counted.
//! - `roster::limits`: how much one address may have.
//! - `roster::refusal`: why a message is refused.
//! - `roster::overview`: what the tracker's page shows.
//!
//! The peer:
//! - `client::starting`: starts and ends the threads.
//! - `client::tracker_answers`: talks to the tracker, and takes its answers.
//! - `client::greeting`: tells waiting peers at once of a file that is new.
//! - `client::heads`: hands out the beginning of a file that is being hashed, and asks for one.
//! - `client::reporting`: tells the tracker how far this peer is.
//! - `client::publishing`: publishes what is here, and takes what the tracker decides on it.
//! - `client::folder`: looks at the folder, hashes, shares and withdraws files.
//! - `client::beginning`: begins and completes downloads.
//! - `client::connecting`: opens connections, and gives back what was asked for on those that end.
//! - `client::body`: reads the bytes of a piece, no faster than `--max-down` allows.
//! - `client::errors`: what can go wrong with the tracker or another peer.
//! - `client::originals`: whatever differs with originals; and a classic round's request.
//! - `client::pretending`: a peer that seems far away, or corrupt, for the class.
//! - `client::telling`: what people are told.
//!
//! What the peer knows:
//! - `state::peers`: who else is there, how each can be asked, and that it was asked or has answered.
//! - `state::holdings`: the files of which pieces are here, and what is told and sent of them.
//! - `state::contents`: takes the swarm's contents, and decides which of them this peer wants.
//! - `state::heads`: the beginnings of files that are being hashed, here or elsewhere.
//! - `state::conflict`: which other contents stand under a name.
//! - `state::bad_copies`: what a bad piece proves, and of whom.
//! - `state::folder`: what stands in the folder.
//! - `state::running`: the tracker, the disk, the user: what stops everything, or ends it.
//! - `state::ending`: when `--exit-when-complete` ends the run.
//! - `state::waits`: what keeps files from coming.
//! - `state::wants`: what the user asked for.
//! - `state::choices`: the last decisions, for the page.
//! - `state::overview`: what page and terminal show.
//! - `state::doing`: what becomes of a file, and why.
//! - `state::reporting`: how far this peer is.
//! - `state::at_rest`: what a terminal shows while nothing moves.
//! - `state::rate`: how fast something came lately.
//! - `state::shares`: who gave how much to whom.
//! - `state::telling`: what is to be told by the clock.
//! - `picker::claims`: the account of who has what, and what was asked of whom.
//! - `picker::late`: asks again for what is late, and else for news.
//! - `picker::places`: how much each peer is asked for at a time.
//! - `picker::subnets`: what is asked of peers in other subnets.
//! - `picker::view`: what people are shown of that account.
//!
//! The folder:
//! - `store::opening`: takes the folder for this process alone.
//! - `store::looking`: sees what stands in it.
//! - `store::left_out`: which of that isn't shared.
//! - `store::hashing`: finds out what a file is.
//! - `store::memory`: remembers it for the next run.
//! - `store::stamp`: tells whether a file was touched.
//! - `store::parts`: unfinished files.
//! - `store::picked`: what was picked on the page, from one run to the next.
//! - `store::resuming`: which pieces of an unfinished file are good already.
//! - `store::naming`: gives a file its final name.
//! - `store::copies`: files that come whole.
//! - `store::cache`: keeps files open for a while.
//! - `store::disk`: each file operation that can fail.
//! - `store::lacks`: what a file system lacks.
//! - `store::faults`: what can go wrong with the folder.
//!
//! Both programs:
//! - `net`: connections; the only place with timeouts.
//! - `net::listener`: accepts connections, each on a thread of its own.
//! - `net::addresses`: this machine's own addresses.
//! - `status`: `client --status`: how far everybody is.
//! - `status::standing`: what a machine's report means.
//! - `status::text`: the table.
//! - `bound`: what holds a rollout up, and Kurose and Ross's bound.
//! - `limit`: holds a rate.
//! - `semaphore`: limits how many threads do something at a time.
//! - `buffers`: buffers for pieces, used again.
//! - `cli`: flags and exit codes.
//! - `http`: as much of HTTP as the pages need.
//! - `http::request`: the head of a request, and ranges of a file.
//! - `http::guard`: who may see a page and act on it.
//! - `page`: the peer's page.
//! - `page::speeds`: the speeds of the last minutes, for the page's plot.
//! - `causes`: why something doesn't go on, one value for each situation.
//! - `causes::no_list`: why no list came from the tracker.
//! - `causes::waits`: why a file doesn't come.
//! - `causes::lost`: why a peer can't be taken from.
//! - `causes::not_understood`: why a message isn't understood.
//! - `events`: what a peer tells of.
//! - `events::weights`: whom each event is for.
//! - `events::text`: the line of each event.
//! - `events::shares`: the table of who gave how much.
//! - `report`: prints and logs events.
//! - `report::printer`: the thread that prints.
//! - `report::screen`: what a terminal gets.
//! - `report::status`: the lines that stand below the others.
//! - `report::text`: how wide text is.
//! - `units`: numbers as people read them.
//!
//! What decides is apart from what waits: `protocol`, `torrent`, `md5`, `bitfield`, `content`, `roster`, `picker` and `state`
//! open no socket and no file and start no thread; they take time and the random generator as parameters.
//!
//! # Threads
//! | thread | how many | waits for | made and ended by |
//! |---|---|---|---|
//! | `tracker` | as many as are needed, at most 512 | a connection to the tracker | [`net::Listener`] |
//! | `sweep` | 1 in the tracker | its time | [`repeated_timer::RepeatedTimer`] |
//! | `ping`, `list`, `round`, `look`, `report`, `tell`; `speeds` with a page | 1 each in a peer | its time, or being asked | [`repeated_timer::RepeatedTimer`] |
//! | `upload` | as many as are needed, at most 256 | a connection, then its requests, then news to answer with | [`net::Listener`] |
//! | `download ADDR` | 1 for each peer that is taken from, at most 40 | that peer's answers | itself, when the connection ends |
//! | `request_piece ADDR` | 1 for each piece from an original, or in a classic round | that piece | itself, once it is here |
//! | `page` | as many as are needed, at most 64 | a browser's request | [`net::Listener`] |
//! | `hash`, `begin` | 1 each in a peer | a file to be hashed; one to be begun | [`client::Running`] |
//! | `originals` | 0 or 1 in a peer | whole files from originals | itself, after one pass |
//! | `greet` | 0 or 1 in a peer | the other peers' hellos | itself, once there is nothing new to tell |
//! | `print`; `log` with `--log` | 1 each | lines to be printed, or written | [`report::Report`] |
//! | main | 1 | the end | |
//!
//! # Locks
//! | lock | guards | waited for with |
//! |---|---|---|
//! | the tracker's, in [`tracker`] | a [`roster::Roster`] | |
//! | the peer's, in [`client`] | a [`state::State`] | a Condvar: something came, or ended |
//! | leaf locks: in [`net`] (a listener's threads), [`limit`] (a time), [`buffers`], [`report`] (lines to be printed), [`store`] (what is remembered and open), [`semaphore`] (counts), [`protocol`] (one long message is parsed at a time), [`page`] (speeds, free space), and in [`tracker`] what people were told and how far machines are | a few words each | |
//! | in [`store`]: one for each part, one for names and one for what is picked | a step on the disk, which is made under it | |
//!
//! Decisions are made under the first two, and only owned data leaves them; sockets, files, hashes, sleeps and prints come
//! after. Whoever holds one of these or a leaf lock takes no other. Under a lock of the last row the peer's or a leaf lock may
//! be taken, never the other way round.
//!
//! # Always true
//! - A final name in the folder stands for a file that is on the disk and all of which was verified, or which came from
//!   originals twice the same; what stands there is never changed or overwritten, unless `--replace` replaces it as a whole.
//! - A piece counts, is told of and is served only after it was verified and written.
//! - A missing piece is open, or was asked for: whatever happens to whoever was asked, it is open again.
//! - Nothing from the wire becomes part of a path but a [`torrent::Name`], and nothing is buffered beyond a cap.

// the walks name private functions; the documentation is made with --document-private-items
#![allow(rustdoc::private_intra_doc_links)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "bittorrentish needs a 64-bit target: it keeps sizes and places in files as large as 1 TiB in a usize"
);

// what the tests share names the crate as they do
#[cfg(any(test, fuzzing))]
extern crate self as bittorrentish;

pub mod bitfield;
pub mod bound;
pub mod buffers;
pub mod causes;
pub mod cli;
pub mod client;
pub mod conflicts;
pub mod content;
pub mod events;
pub mod http;
pub mod limit;
pub mod md5;
pub mod net;
pub mod page;
pub mod picker;
pub mod protocol;
pub mod repeated_timer;
pub mod report;
pub mod roster;
pub mod semaphore;
pub mod state;
pub mod status;
pub mod store;
pub mod torrent;
pub mod tracker;
pub mod units;
