//! bittorrentish: a tracker and a peer, in plain synchronous Rust, that hand one large file from one machine to every other on
//! a network.
//!
//! It mirrors a course's Python original, whose words and messages it keeps, so that the two can be read side by side.
//!
//! # Reading order
//! The lesson, in six rooms:
//! 1. [`repeated_timer`]: what makes everything happen by the clock.
//! 2. [`protocol`]: the messages, the original's and ours.
//! 3. [`roster`]: what the tracker knows, and what it tells whom.
//! 4. [`tracker`]: the tracker, `listen_for_clients` and `handle_client`.
//! 5. [`client`]: the peer, its three timers and `manage_downloads`.
//! 6. [`picker`]: the rarest piece, and whom to ask for it.
//!
//! Then what makes it fast and whole:
//! - [`torrent`], [`md5`], [`bitfield`]: names, pieces, blocks, and how each block is checked by itself.
//! - [`download`] and [`upload`]: the two ends of a connection between peers; [`originals`]: taking from the original's.
//! - [`state`]: what a peer knows, behind its one lock; [`store`]: the folder.
//! - [`net`]: every socket, its timeouts and its threads; [`limit`], [`buffers`]: rates and memory.
//! - [`report`], [`events`], [`cli`]: what people and programs are told; [`page`] and [`http`]: what a browser shows of it.
//!
//! What decides is apart from what waits: `protocol`, `torrent`, `md5`, `bitfield`, `roster`, `picker` and `state` open no
//! socket and no file, start no thread, and are given the moment and the dice.
//!
//! # Threads
//! | thread | how many | waits for | made and ended by |
//! |---|---|---|---|
//! | `tracker` | as many as are needed, at most 512 | a connection to the tracker | [`net::Listener`] |
//! | `sweep` | 1 in the tracker | its time | [`repeated_timer::RepeatedTimer`] |
//! | `ping`, `list`, `round`, `look`, `tell` | 1 each in a peer | its time, or being asked | [`repeated_timer::RepeatedTimer`] |
//! | `upload` | as many as are needed, at most 256 | a connection, then its requests, then news to answer with | [`net::Listener`] |
//! | `download ADDR` | 1 for each peer that is taken from, at most 40 | that peer's answers | itself, at the connection's end |
//! | `request_piece ADDR` | 1 for each piece from an original, or in a classic round | that piece | itself, once it is here |
//! | `page` | as many as are needed, at most 32 | a browser's request | [`net::Listener`] |
//! | `hash`, `begin` | 1 each in a peer | a file to be hashed; one to be begun | [`client::Running`] |
//! | `originals` | 0 or 1 in a peer | whole files from originals | itself, after one pass |
//! | `print` | 1 | lines to be printed | [`report::Report`] |
//! | main | 1 | the end | |
//!
//! # Locks
//! | lock | guards | told through |
//! |---|---|---|
//! | the tracker's, in [`tracker`] | a [`roster::Roster`] | |
//! | the peer's, in [`client`] | a [`state::State`] | a Condvar: something came, or ended |
//! | leaf locks: in [`net`] (threads), [`limit`] (a moment), [`buffers`], [`report`] (lines to be printed), [`store`] (what is remembered and open), and the tracker's turns | a few words each | |
//!
//! Nobody holds two, so there is no order to keep. Under a lock it is decided, and owned data comes out; sockets, files,
//! hashes, sleeps and prints come after it.
//!
//! # Always true
//! - A final name in the folder stands for a file all of which was checked and is on the disk; what stands there is never
//!   changed or overwritten.
//! - A piece counts, is told of and is served only after its check, and after it was written.
//! - A missing piece is open, or was asked for: whatever happens to who was asked, it is open again.
//! - Nothing from the wire becomes part of a path but a [`torrent::Name`], and nothing is buffered beyond a cap.

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "bittorrentish needs a 64-bit target: it keeps sizes and places in files as large as 1 TiB in a usize"
);

pub mod bitfield;
pub mod buffers;
pub mod cli;
pub mod client;
pub mod conflicts;
pub mod content;
pub mod download;
pub mod events;
pub mod http;
pub mod limit;
pub mod md5;
pub mod net;
pub mod originals;
pub mod page;
pub mod picker;
pub mod protocol;
pub mod repeated_timer;
pub mod report;
pub mod roster;
pub mod state;
pub mod store;
pub mod torrent;
pub mod tracker;
pub mod upload;
