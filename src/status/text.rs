//! The table of `--status`, for people. Pure.

use super::standing::{JudgedMachine, RolloutState, Target};
use crate::bound::{BoundTerm, HoldUp};
use crate::protocol::FileReport;
use crate::report::{bytes, duration, plural};
use crate::torrent::legible;

/// Returns a machine's columns: its name, address, percent, speed, time left, how it stands, and the age of that.
fn row(one: &JudgedMachine) -> [String; 7] {
    let file = one.file.as_ref();
    let speed = file.map_or(0.0, |file| file.speed);
    let moves = one.standing == RolloutState::OnItsWay;
    let left = file.and_then(|file| file.left).filter(|_| moves);
    let host = match &*one.host {
        "" => "-".to_owned(),
        host => legible(host),
    };
    [
        host,
        legible(&one.peer),
        format!("{} %", one.percent()),
        match speed >= 1.0 && moves {
            true => format!("{}/s", bytes(speed as u64)),
            false => "-".to_owned(),
        },
        left.map_or("-".to_owned(), |left| format!("{} left", duration(left))),
        standing(one),
        format!("{} ago", duration(one.age)),
    ]
}

/// Returns how a machine stands, and the cause.
pub fn standing(one: &JudgedMachine) -> String {
    let state = one.file.as_ref().map(|file| legible(&file.state));
    let state = state.filter(|state| !state.is_empty());
    match &one.standing {
        RolloutState::Publisher => "publisher".to_owned(),
        RolloutState::Done if one.here => "has it".to_owned(),
        RolloutState::Done => "has it, and has left".to_owned(),
        RolloutState::Other => match one.file.as_ref().and_then(|file| file.md5) {
            Some(md5) => format!("has another content, MD5 {md5}"),
            None => "has another content".to_owned(),
        },
        RolloutState::Ended(0, _) => match one.file.as_ref().filter(|file| file.whole) {
            Some(FileReport { md5: Some(md5), .. }) => format!("ended, with MD5 {md5}"),
            _ => "ended, and wanted something else".to_owned(),
        },
        RolloutState::Ended(code, why) => format!("ended with exit code {code}: {}", legible(why)),
        RolloutState::Gone => format!("gone at {} %: ended, or cut off", one.percent()),
        RolloutState::Still(seconds) => {
            let why = state.map(|state| format!(": {state}")).unwrap_or_default();
            format!("stands still for {}{why}", duration(*seconds))
        }
        RolloutState::OnItsWay => state.unwrap_or_else(|| "nothing of it is here yet".to_owned()),
    }
}

/// Returns the table, a line for each machine.
pub fn table(all: &[JudgedMachine]) -> String {
    let rows: Vec<[String; 7]> = all.iter().map(row).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    let widths: Vec<usize> = (0..7).map(|at| width(at).unwrap_or(0)).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths).enumerate();
        let cell = |(at, (text, width)): (usize, (&String, &usize))| match at {
            // numbers end at the same column
            2..=4 => format!("{text:>width$}"),
            _ => format!("{text:width$}"),
        };
        cells
            .map(cell)
            .collect::<Vec<_>>()
            .join("  ")
            .trim_end()
            .to_owned()
            + "\n"
    };
    rows.iter().map(line).collect()
}

/// Returns what holds up the machine that will have it last.
pub fn held_up(last: &str, by: &HoldUp) -> String {
    let host = legible(last);
    let what = match by.term {
        BoundTerm::MissingPiece => format!("a piece that nobody has, {host} for one"),
        BoundTerm::Disk => format!("the disk of {host}"),
        BoundTerm::SeedUplink => "the seed's uplink".to_owned(),
        BoundTerm::Downlink => format!("the downlink of {host}"),
        BoundTerm::AllUplinks => "all uplinks together".to_owned(),
    };
    let rate = by
        .rate
        .map(|rate| format!(", {}/s at best", bytes(rate as u64)));
    let share = by.share.map(|share| {
        let percent = share * 100.0;
        format!(
            "; {host} gets {percent:.0} % of what Kurose and Ross's bound allows for the rates seen"
        )
    });
    let (rate, share) = (rate.unwrap_or_default(), share.unwrap_or_default());
    format!("held up by {what}{rate}{share}")
}

/// Returns in one line how many machines have it.
pub fn summary(
    all: &[JudgedMachine],
    (targets, n_untold): (&[Target], usize),
    near: Option<&str>,
    until: Option<usize>,
) -> String {
    let what = match targets {
        [] => "anything: nothing is published so far".to_owned(),
        [one] => match one.md5 {
            Some(md5) => format!("{}, MD5 {md5}", one.name),
            None => {
                let more = near.map_or(" (--md5 counts a content anyway)".to_owned(), |near| {
                    format!(": did you mean {near}?")
                });
                format!("{}: nobody who is here has published it{more}", one.name)
            }
        },
        many if n_untold > 0 => {
            let n = many.len();
            format!("the {n} largest of {} published files", n + n_untold)
        }
        many => plural(many.len(), "published file"),
    };
    let counted = all
        .iter()
        .filter(|one| one.standing != RolloutState::Publisher);
    let done = all.iter().filter(|one| one.is_done()).count();
    let of = until.unwrap_or(counted.count()).max(done);
    let moving = all
        .iter()
        .filter(|one| one.standing == RolloutState::OnItsWay);
    let left = moving.filter_map(|one| one.file.as_ref()?.left);
    let left = left.reduce(f64::max);
    let left = left.map(|left| format!("; {} left for the slowest", duration(left)));
    format!(
        "{done} of {of} machines {} {what}{}",
        if done == 1 { "has" } else { "have" },
        left.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::digest;
    use crate::protocol::{FilePace, FileReport};
    use crate::torrent::Name;

    #[test]
    fn a_line_says_who_how_far_and_why() {
        let file = FileReport {
            name: Name::parse("f").expect("a name"),
            md5: Some(digest(b"")),
            size: 100,
            here: 64,
            whole: false,
            mine: false,
            unconfirmed: false,
            speed: 2048.0,
            left: Some(14.0),
            state: "from 3 peers".to_owned(),
            pace: FilePace::default(),
        };
        let one = |standing, here| JudgedMachine {
            host: "pc07".to_owned(),
            peer: "10.0.0.7:1".to_owned(),
            here,
            age: 2.0,
            standing,
            file: Some(file.clone()),
        };
        let all = [
            one(RolloutState::OnItsWay, true),
            one(RolloutState::Gone, false),
            one(RolloutState::Ended(5, "disk full".to_owned()), false),
        ];
        assert_eq!(
            table(&all),
            "pc07  10.0.0.7:1  64 %  2.0 KiB/s  14 s left  from 3 peers                       2 s ago\n\
             pc07  10.0.0.7:1  64 %          -          -  gone at 64 %: ended, or cut off    2 s ago\n\
             pc07  10.0.0.7:1  64 %          -          -  ended with exit code 5: disk full  2 s ago\n"
        );
        let target = Target {
            name: Name::parse("f").expect("a name"),
            md5: None,
            size: 100,
            pinned: false,
        };
        let mut by = HoldUp {
            term: BoundTerm::Downlink,
            rate: Some(2048.0),
            share: Some(0.94),
        };
        assert_eq!(
            held_up("pc07", &by),
            "held up by the downlink of pc07, 2.0 KiB/s at best; pc07 gets 94 % of what Kurose and Ross's bound allows for the rates seen"
        );
        (by.term, by.rate, by.share) = (BoundTerm::MissingPiece, None, None);
        assert_eq!(
            held_up("pc07", &by),
            "held up by a piece that nobody has, pc07 for one"
        );
        let targets = [target];
        let said = |near, n_untold| summary(&all, (&targets, n_untold), near, Some(30));
        assert_eq!(
            said(None, 0),
            "0 of 30 machines have f: nobody who is here has published it (--md5 counts a content anyway); 14 s left for the slowest"
        );
        let near =
            "0 of 30 machines have f: nobody who is here has published it: did you mean ff?; ";
        assert!(said(Some("ff"), 0).starts_with(near));
        let [target] = targets;
        let done = [one(RolloutState::Done, true)];
        let two = [target.clone(), target];
        assert_eq!(
            summary(&done, (&two, 24), None, None),
            "1 of 1 machines has the 2 largest of 26 published files"
        );
    }
}
