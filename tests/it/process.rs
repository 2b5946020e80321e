//! What a process uses, as /proc tells: on Linux alone.

use std::fs;
use std::time::Duration;

/// How long it has been computing, all threads together, in steps of 10 ms.
pub fn cpu_time(id: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // the name, in brackets, may have anything in it; the 12th and 13th words behind it are the ticks
    let (_, behind) = stat.rsplit_once(')')?;
    let ticks = behind.split_whitespace().skip(11).take(2);
    let ticks: Option<u64> = ticks.map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks? * 10))
}

/// A number in the system's account of it: its threads, or its memory in KiB.
pub fn status(id: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    value?.split_whitespace().next()?.parse().ok()
}
