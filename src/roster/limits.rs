//! How much the tracker takes from one address, so that a single machine can't fill its memory or its disk.
//!
//! The number of peers as such has no limit. Loopback has no limit per address either: there many peers share one address by
//! design. This module owns numbers only.

/// Peers that one address may announce.
pub const PEERS_PER_ADDRESS: usize = 4096;
/// Names in one peer's list: ten times the pieces of a file of 16 GiB.
pub const NAMES_PER_LIST: usize = 10_000;
/// Names in the lists of all peers of one address. A file in many pieces counts as several, see [`listed_as`].
pub const NAMES_PER_ADDRESS: usize = 4 * NAMES_PER_LIST;
/// Files that one address may have published. One in many pieces counts as several, see [`published_as`]: so a whole folder
/// of files of up to 12 MiB fits, or some 2,300 larger ones, and the `.torrent`s of one address take 1.6 GB of the disk at most.
pub const FILES_PER_ADDRESS: usize = 4 * NAMES_PER_LIST;
/// An IPv6 network of 64 bits may have this many times what one address may: a single machine can take any address in its
/// network, but a whole lab may share one.
pub const ADDRESSES_PER_NETWORK: usize = 16;
/// Coming files and other copies that are kept of all peers of one address. More aren't kept.
pub(super) const FOLDER_ENTRIES_PER_ADDRESS: usize = NAMES_PER_LIST;
/// The longest name in a list, bytes: no file system has longer ones. Longer names are left out.
pub(super) const LONGEST_NAME: usize = 255;
/// Peers in one answer of ours. It is more than a peer takes from at a time; the next answer has others.
pub const PEERS_LISTED: usize = 50;

/// The pieces of a listed file that count as one name: 128 bytes in the memory, less than a long name takes.
const PIECES_PER_NAME: usize = 1024;
/// The pieces of a published file that count as one file: some 35 KB of its `.torrent`.
const PIECES_PER_FILE: usize = 64;

/// Returns how many names a listed file in `n_pieces` pieces counts as.
pub(super) fn listed_as(n_pieces: u32) -> usize {
    1 + n_pieces as usize / PIECES_PER_NAME
}

/// Returns how many files a published file in `n_pieces` pieces counts as.
pub(super) fn published_as(n_pieces: u32) -> usize {
    1 + n_pieces as usize / PIECES_PER_FILE
}
