//! How much the tracker takes from one address, so that a single machine can't fill its memory or its disk.
//!
//! The number of peers as such has no limit. Loopback has no limit per address either: there many peers share one address by
//! design. This module owns numbers only.

/// Peers that one address may announce.
pub const PEERS_PER_ADDRESS: usize = 4096;
/// Names in one peer's list: ten times the pieces of a file of 16 GiB.
pub const NAMES_PER_LIST: usize = 10_000;
/// Names in the lists of all peers of one address.
pub const NAMES_PER_ADDRESS: usize = 4 * NAMES_PER_LIST;
/// Files that one address may have published.
pub const FILES_PER_ADDRESS: usize = NAMES_PER_LIST;
/// Coming files and other copies that are kept of all peers of one address. More aren't kept.
pub(super) const FOLDER_ENTRIES_PER_ADDRESS: usize = NAMES_PER_LIST;
/// The longest name in a list, bytes: no file system has longer ones. Longer names are left out.
pub(super) const LONGEST_NAME: usize = 255;
/// Peers in one answer of ours. It is more than a peer takes from at a time; the next answer has others.
pub const PEERS_LISTED: usize = 50;
