//! What a peer and a tracker know, through any sequence of messages.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../it/parsers/dice.rs"]
mod dice;
#[path = "../../it/parsers/sequence.rs"]
mod sequence;

fuzz_target!(|bytes: &[u8]| {
    bittorrentish::state::sequence::of_a_peer(bytes);
    sequence::of_a_tracker(bytes);
});
