//! Why a content that a peer publishes doesn't stand, and what its user can do about it. Pure.

use crate::cli::pin_flags;
use crate::content::Reason;
use crate::protocol::{Publication, Summary};
use crate::report::plural;

/// What whoever is refused reads: what stands, when and by whom it was published, whether that publisher is here, and what to
/// do.
pub(super) fn why_it_stays(
    reason: Reason,
    file: &Publication,
    stands: &Summary,
    now: u64,
) -> String {
    let (name, md5) = (&stands.name, stands.md5);
    let by = match &*stands.publisher {
        "" => "an unknown publisher".to_owned(),
        publisher => publisher.to_owned(),
    };
    let here = match stands.here {
        true => "which is here and has it",
        false => "which isn't here now",
    };
    let age = age(now.saturating_sub(stands.published));
    let age = match stands.published {
        0 => "at an unknown time".to_owned(),
        published if published > now => "by a clock ahead of the tracker's".to_owned(),
        _ => age,
    };
    let pinned = if stands.pinned { ", pinned" } else { "" };
    let what = format!("MD5 {md5}{pinned}, published {age} by {by}, {here}");
    let pin = pin_flags(name.as_str(), &file.md5.to_string());
    let todo = match reason {
        Reason::PublisherIsHere if file.own => format!(
            "if yours is the right one, pin it with {pin}, or stop the other publisher; otherwise move your file away"
        ),
        Reason::Pinned if file.own => format!(
            "if yours is the right one, start again with {pin}; otherwise move your file away"
        ),
        Reason::CopiedFolder => "this folder is that publisher's, or a copy: if you have just started it again, wait until its last run is \
                                 off the list; otherwise delete .bittorrentish in the copy, or stop one of the two"
            .to_owned(),
        Reason::Settling => "the tracker has just started and waits for its peers to come back; this is tried again".to_owned(),
        _ if file.pinned => "it is what --md5 asks for, so it is kept and counts as done, but isn't shared".to_owned(),
        Reason::PublisherIsHere | Reason::Pinned | Reason::Received => {
            let replaced = match file.replace {
                true => "where it is wanted, it is replaced once what stands is here; otherwise move it away",
                false => "start again with --replace to have it replaced, or move it away to fetch what stands",
            };
            let later = match file.published > now {
                true => "is dated ahead of this tracker's clock, so one clock is wrong, and it isn't known to be later",
                false => "is no later one",
            };
            format!("your copy was received from a swarm, and {later}: {replaced}")
        }
    };
    format!("{what}: {todo}")
}

/// How long ago something was, in the largest unit that fits.
fn age(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    let fits = |(unit, _): &&(u64, &str)| seconds >= *unit;
    match UNITS.iter().find(fits) {
        Some((unit, name)) => format!("{} ago", plural((seconds / unit) as usize, name)),
        None => "less than a minute ago".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::digest;
    use crate::torrent::Name;

    fn stands() -> Summary {
        Summary {
            name: Name::parse("my image.iso").expect("a name"),
            size: 9,
            md5: digest(b"old"),
            n_pieces: 1,
            publisher: "10.0.0.2:5".to_owned(),
            published: 1000,
            checkpoints: None,
            here: true,
            pinned: false,
            others: Vec::new(),
            head_of: None,
        }
    }

    #[test]
    fn each_reason_says_what_stands_and_what_to_do() {
        let (own, received) = ((true, false), (false, false));
        let makes_way = (false, true);
        let pinned = "what --md5 asks for";
        for (reason, (own, replace), todo) in [
            (Reason::PublisherIsHere, own, "stop the other publisher"),
            (Reason::PublisherIsHere, received, "again with --replace"),
            (Reason::PublisherIsHere, makes_way, "it is replaced once"),
            (Reason::CopiedFolder, own, "delete .bittorrentish"),
            (Reason::Pinned, own, "--only 'my image.iso' --md5"),
            (Reason::Pinned, received, "again with --replace"),
            (Reason::Received, received, "again with --replace"),
            (Reason::Received, makes_way, "it is replaced once"),
            (Reason::Received, received, pinned),
            (Reason::PublisherIsHere, makes_way, pinned),
            (Reason::Settling, own, "tried again"),
        ] {
            let file = Publication {
                name: stands().name,
                size: 9,
                md5: digest(b"new"),
                checkpoints: digest(b"list"),
                own,
                pinned: todo == pinned,
                replace,
                published: 0,
                publisher: String::new(),
                torrent: None,
            };
            let why = why_it_stays(reason, &file, &stands(), 1000 + 7200);
            let what = format!(
                "MD5 {}, published 2 hours ago by 10.0.0.2:5, which is here and has it: ",
                digest(b"old")
            );
            assert!(
                why.starts_with(&what) && why.contains(todo),
                "{reason:?}: {why}"
            );
            assert!(
                !(replace && why.contains("--replace")),
                "it is given: {why}"
            );
        }
    }
}
