//! The rows that show on a tracker, each judged by the record of one run.

use std::collections::BTreeSet;

use crate::record::{RecordedEvent, tolerance};
use crate::tracker::CROWD;
use crate::verdict::{No, Run, Verdict, cant, fails};

/// How many sweeps have to be seen.
const SWEEPS: usize = 4;
const SAMPLE: &str = r#"[{"ip": "10.0.0.7", "port": 50001, "file_list": ["1.txt"]}, …]"#;

const SAID: &str = "sent: as";
const HEARD: &str = "came: the list for";

/// The judge of a row.
pub fn judge(row: &str, run: &Run) -> Verdict {
    match row {
        "F1" => return answered(run),
        "F6" => return holds_nothing(run),
        "F9" => return apart(run),
        "P1" => return stores_torrent(run),
        _ => {}
    }
    if let Some(event) = run.first("not understood") {
        let why = event.fault.clone().unwrap_or_default();
        return match row {
            "C3" => fails(
                format!("an answer isn't understood: {why}"),
                SAMPLE,
                &[event],
            ),
            _ => cant("an answer isn't understood, see C3"),
        };
    }
    if most_listed(run) == 1 {
        return cant("one peer alone is on its list, see F9");
    }
    if ["C2", "C3"].contains(&row) && too_early(run, "").is_err() {
        return cant("peers that keep in touch are dropped, see F3");
    }
    match row {
        "C2" => newcomer(run),
        "C3" => at_least_two(run),
        "F2" => updates(run),
        "F3" => sweeps(run),
        "F7" => no_limit(run),
        _ => leaves(run),
    }
}

/// The events of one role.
fn of<'a>(run: &Run<'a>, what: &'a str, role: &str) -> Vec<&'a RecordedEvent> {
    run.of(what).filter(|event| event.name == role).collect()
}

/// The lists before the crowd came.
fn watched<'a>(run: &Run<'a>) -> Vec<&'a RecordedEvent> {
    of(run, HEARD, "observer")
}

/// The most peers on one list, once the first ones have settled.
fn most_listed(run: &Run) -> usize {
    let settled = run.began + 2.0 * run.plan.sweep;
    let lists = watched(run).into_iter().filter(|list| list.at > settled);
    lists.map(|list| list.lists.len()).max().unwrap_or(0)
}

fn same(one: &[String], other: &[String]) -> bool {
    one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
}

fn answered(run: &Run) -> Verdict {
    if let Some(ended) = run.first("ended") {
        return fails("it ended".to_owned(), "answers until it is ended", &[ended]);
    }
    let mut mute = run.of("no answer to").filter(|event| event.name != "crowd");
    match (mute.next(), run.of(HEARD).count()) {
        (Some(event), _) => {
            let why = format!("{} pings had no answer", 1 + mute.count());
            fails(why, "the list in answer to each", &[event])
        }
        (None, 0) => cant("it gave no list, see C3"),
        (None, n) => Ok(format!("{n} pings, all answered with the list")),
    }
}

fn newcomer(run: &Run) -> Verdict {
    let lists = of(run, HEARD, "newcomer");
    let Some(list) = lists.first() else {
        return cant("the new peer had no answer, see F1");
    };
    for role in ["steady", "pinger"] {
        let said = of(run, SAID, role)[0];
        let (port, files) = (said.who, &said.files);
        let why = match list.lists.get(&port) {
            None => format!("the list for a new peer lacks the one at port {port}"),
            Some(listed) if !same(listed, files) => {
                format!("port {port} has {files:?}, and is listed with {listed:?}")
            }
            Some(_) => continue,
        };
        return fails(why, "all peers, with their files", &[said, list]);
    }
    let n = list.lists.len();
    Ok(format!("a new peer was given {n} peers with their files"))
}

fn at_least_two(run: &Run) -> Verdict {
    let settled = run.began + 2.0 * run.plan.sweep;
    for list in watched(run) {
        if let Some(fault) = &list.fault {
            return fails(fault.clone(), SAMPLE, &[list]);
        }
        let others = list.lists.keys().filter(|port| **port != list.who).count();
        if run.lasted(settled, list.at) > 0.0 && others < 2 {
            let why = format!("{others} other peers are listed, of four that keep in touch");
            return fails(why, "two others at least", &[list]);
        }
    }
    match watched(run).len() {
        0 => cant("no list came, see F1"),
        n => Ok(format!(
            "{n} lists with address, port and files, of two others at least"
        )),
    }
}

fn updates(run: &Run) -> Verdict {
    let said = of(run, SAID, "changer");
    let Some(new) = said.iter().find(|list| list.files != said[0].files) else {
        return cant("it wasn't watched for so long");
    };
    let until = 2.0 * run.plan.sweep + tolerance(run.plan.sweep);
    let (mut before, mut shown) = (false, None);
    for list in watched(run) {
        let Some(files) = list.lists.get(&new.who) else {
            continue;
        };
        let after = run.lasted(new.at, list.at);
        before |= after < 0.0 && !files.is_empty();
        if after > 0.0 && same(files, &new.files) {
            shown = shown.or(Some(after));
        } else if after > until && before {
            let why = format!("{after:.0} s after its list changed, a peer has {files:?}");
            return fails(why, &format!("{:?}", new.files), &[new, list]);
        }
    }
    match shown {
        Some(after) if before => Ok(format!("a changed list was there after {after:.1} s")),
        _ => cant("the list that changes was never there, see C2"),
    }
}

/// A peer that fell silent: its last message, when it was last seen after that, and when it was seen no more.
struct SilentPeer<'a> {
    said: &'a RecordedEvent,
    seen: &'a RecordedEvent,
    gone: Option<&'a RecordedEvent>,
}

fn silent<'a>(run: &Run<'a>) -> Vec<SilentPeer<'a>> {
    let (lists, mut left) = (watched(run), Vec::new());
    for said in of(run, SAID, "silent") {
        let is_on = |list: &&&RecordedEvent| list.lists.contains_key(&said.who);
        if let Some(seen) = lists.iter().rfind(is_on) {
            let gone = lists.iter().find(|list| list.at > seen.at).copied();
            left.push(SilentPeer { said, seen, gone });
        }
    }
    left
}

/// When peers were dropped. Those of one sweep are gone from the same list.
fn dropped_at(left: &[SilentPeer]) -> Vec<f64> {
    let gone = left.iter().filter_map(|left| Some(left.gone?.at));
    let mut times: Vec<f64> = gone.collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    times
}

fn sweeps(run: &Run) -> Verdict {
    let (every, most) = (run.plan.sweep, tolerance(run.plan.sweep));
    let expected = format!("a sweep every {every:.1} ± {most:.1} s, of who sent nothing since");
    too_early(run, &expected)?;
    let left = silent(run);
    let times = dropped_at(&left);
    if left.is_empty() {
        return cant("who sent one list only was never listed");
    }
    if times.is_empty() {
        return fails(
            "nobody was ever dropped".to_owned(),
            &expected,
            &[left[0].seen],
        );
    }
    let slow = |left: &&SilentPeer| run.lasted(left.said.at, left.seen.at) > 2.0 * every + most;
    if let Some(left) = left.iter().find(slow).filter(|_| times.len() < SWEEPS) {
        let why = format!("{} sweeps in {:.0} s", times.len(), run.ended - run.began);
        return fails(why, &expected, &[left.said, left.seen]);
    }
    let pairs = times.windows(2).map(|pair| run.lasted(pair[0], pair[1]));
    let mut gaps: Vec<f64> = pairs.collect();
    gaps.sort_by(f64::total_cmp);
    let middle = gaps.get(gaps.len() / 2).copied().unwrap_or(every);
    let told = format!(
        "{} sweeps, every {middle:.1} s ({every:.1} ± {most:.1} s)",
        times.len()
    );
    match (middle - every).abs() > most {
        true => fails(
            told,
            &expected,
            &left.iter().filter_map(|left| left.gone).collect::<Vec<_>>(),
        ),
        false if times.len() < SWEEPS => cant(told + ": too few"),
        false => Ok(told),
    }
}

/// Fails if a peer was dropped though it kept in touch, or right after its message.
fn too_early(run: &Run, expected: &str) -> Result<(), No> {
    let lists = watched(run);
    for role in ["steady", "pinger", "lister", "changer"] {
        let said = of(run, SAID, role);
        let mut was_on = false;
        for list in &lists {
            let is_on = said
                .first()
                .is_some_and(|said| list.lists.contains_key(&said.who));
            let last = said.iter().rfind(|said| said.at < list.at);
            // this machine may have been late with its message
            if let Some(last) =
                last.filter(|last| was_on && !is_on && list.at - last.at < run.plan.sweep)
            {
                let why = format!("a peer that kept in touch ({role}) was dropped");
                return fails(why, expected, &[last, list]);
            }
            was_on |= is_on;
        }
    }
    for SilentPeer { said, gone, .. } in silent(run) {
        let least = run.plan.sweep - tolerance(run.plan.sweep);
        if let Some(gone) = gone.filter(|gone| gone.at - said.at < least) {
            let after = gone.at - said.at;
            return fails(
                format!("a peer was dropped {after:.1} s after its message"),
                expected,
                &[said, gone],
            );
        }
    }
    Ok(())
}

fn leaves(run: &Run) -> Verdict {
    let most = 2.0 * run.plan.sweep + tolerance(run.plan.sweep);
    let left = silent(run);
    let times = dropped_at(&left);
    for SilentPeer { said, seen, .. } in &left {
        // two sweeps, even if these are slow: that is F3's
        let from = said.at + tolerance(run.plan.sweep);
        let survived = times
            .iter()
            .filter(|at| **at > from && **at <= seen.at)
            .count();
        let after = run.lasted(said.at, seen.at);
        if after > most && (survived >= 2 || times.is_empty()) {
            let why = format!("a peer was on the list {after:.1} s after its last message");
            let expected = format!("gone at the second sweep, within {most:.1} s");
            return fails(why, &expected, &[said, seen]);
        }
    }
    match left.iter().filter(|left| left.gone.is_some()).count() {
        0 => cant("nobody was seen to leave"),
        n => Ok(format!(
            "{n} peers that fell silent were gone at the second sweep"
        )),
    }
}

fn holds_nothing(run: &Run) -> Verdict {
    match run.first("the tracker asked:") {
        Some(event) => fails(
            "it asked a peer for something".to_owned(),
            "no such request",
            &[event],
        ),
        None => Ok("it asked no peer for anything".to_owned()),
    }
}

fn no_limit(run: &Run) -> Verdict {
    let (mut crowd, mut listed) = (BTreeSet::new(), BTreeSet::new());
    crowd.extend(of(run, SAID, "crowd").iter().map(|said| said.who));
    listed.extend(
        of(run, HEARD, "crowd")
            .iter()
            .flat_map(|list| list.lists.keys()),
    );
    let mute = of(run, "no answer to", "crowd");
    match crowd.difference(&listed).count() {
        _ if crowd.len() < CROWD => cant("it wasn't watched for so long"),
        0 => Ok(format!("{CROWD} peers came at once, and all were listed")),
        n => fails(
            format!("{n} of {CROWD} peers at once were never listed"),
            "all of them",
            &mute,
        ),
    }
}

fn apart(run: &Run) -> Verdict {
    match most_listed(run) {
        0 => cant("nobody was listed"),
        1 => {
            let why = "of several peers at one address one alone is listed".to_owned();
            let last = watched(run).pop();
            fails(
                why,
                "all of them, told apart by port",
                &last.into_iter().collect::<Vec<_>>(),
            )
        }
        n => Ok(format!(
            "{n} peers at one address; two addresses can't be shown from one machine"
        )),
    }
}

fn stores_torrent(run: &Run) -> Verdict {
    let kept = run.first("published a .torrent").ok_or(No::NotSpoken)?;
    match &kept.fault {
        None => Ok("name, peers, number of pieces and MD5 came as they were given".to_owned()),
        Some(fault) => fails(fault.clone(), "the .torrent that was published", &[kept]),
    }
}
