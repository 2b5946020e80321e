//! Names of files and pieces, and whatever else is in a string.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../it/parsers/holds.rs"]
#[allow(dead_code)] // other targets use the rest
mod holds;

fuzz_target!(|bytes: &[u8]| {
    holds::names(bytes);
});
