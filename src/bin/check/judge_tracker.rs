//! The rows that show on a tracker, judged by the record of one run: each list that it handed out is compared with what the
//! peers had said until then.

use std::collections::BTreeSet;

use bittorrentish::units::plural;

use crate::record::{ENDED, RecordedEvent};
use crate::tracker::*;
use crate::verdict::*;

/// The interval of the course text, seconds.
const SWEEP_EVERY: f64 = 15.0;
/// How many sweeps have to be seen.
const SWEEPS: usize = 4;

pub const JUDGES: [RowJudge; 10] = [
    ("C2", newcomer),
    ("C3", at_least_two),
    ("F1", answered),
    ("F2", updates),
    ("F3", sweeps),
    ("F6", holds_nothing),
    ("F7", no_limit),
    ("F8", leaves),
    ("F9", apart),
    ("P1", stores_torrent),
];
/// A row that fails isn't blamed where one of these fails, which explains it.
pub const BECAUSE: [RowCauses; 7] = [
    ("F9", &["F1"]),
    ("C3", &["F1", "F9"]),
    ("F3", &["F1", "F9", "C3"]),
    ("F7", &["F1", "F9", "C3", "F3"]),
    ("F8", &["F1", "F9", "C3", "F3"]),
    ("C2", &["F1", "F9", "C3", "F3"]),
    ("F2", &["F1", "F9", "C3", "F3", "F7"]),
];

/// One of the played peers: its part, its port, and its messages.
struct PlayedPeer<'a> {
    role: &'a str,
    port: usize,
    said: Vec<&'a RecordedEvent>,
}

fn peers<'a>(run: &Run<'a>) -> Vec<PlayedPeer<'a>> {
    let mut peers: Vec<PlayedPeer> = Vec::new();
    let all = run.events.iter();
    for event in all.filter(|event| [PINGED, LISTED].contains(&event.what)) {
        let (role, port, said) = (event.name.as_str(), event.who, vec![event]);
        match peers.iter_mut().find(|peer| peer.port == port) {
            Some(peer) => peer.said.push(event),
            None => peers.push(PlayedPeer { role, port, said }),
        }
    }
    peers
}

impl<'a> PlayedPeer<'a> {
    /// What is wrong with its place on a list, and which row that is about: the newcomer's list is C2's.
    fn wrong(
        &self,
        list: &RecordedEvent,
        was_on: bool,
        grace: f64,
    ) -> Option<(&'static str, String, &'a RecordedEvent)> {
        let (port, at) = (self.port, list.at);
        let said: Vec<_> = self.said.iter().filter(|said| said.at < at).collect();
        let (first, last) = (said.first()?, said.last()?);
        let silent = at - last.at;
        let (row, drops) = match self.role {
            _ if list.name == "newcomer" => ("C2", "C2"),
            "changer" => ("F2", "F3"),
            _ => ("C2", "F3"),
        };
        let listed = list.lists.iter().find(|(listed, _)| *listed == port);
        let Some((_, files)) = listed else {
            let stays = !["silent", "newcomer"].contains(&self.role);
            let after = at - first.at;
            return match was_on {
                true if silent < SWEEP_EVERY - grace / 2.0 => {
                    let why = format!("port {port} is dropped {silent:.1} s after a message");
                    Some((drops, why, last))
                }
                false if stays && after > SWEEP_EVERY + grace => {
                    let why = format!("port {port} isn't listed {after:.1} s after it came");
                    Some((row, why, first))
                }
                _ => None,
            };
        };
        if silent > 2.0 * SWEEP_EVERY + grace {
            let why = format!("port {port} is on the list {silent:.1} s after its last message");
            return Some(("F8", why, last));
        }
        let mut told = said.iter().filter(|said| said.what == LISTED).rev();
        let due = told.find(|told| told.at + 2.0 * SWEEP_EVERY + grace < at)?;
        let mut later = said.iter().filter(|said| said.at >= due.at);
        let files_of = plural(files.len(), "other file");
        let why = format!("port {port} is on the list with {files_of}");
        let known = later.any(|said| same(said.files(), files));
        (!known).then_some((row, why, **due))
    }
}

fn same(one: &[String], other: &[String]) -> bool {
    one.iter().collect::<BTreeSet<_>>() == other.iter().collect()
}

/// The lists that tell of everybody, before the crowd comes: once a second, and the newcomer's. Of a large swarm, a list may
/// have some alone.
fn lists<'a>(run: &Run<'a>) -> impl DoubleEndedIterator<Item = &'a RecordedEvent> {
    let of = |list: &&RecordedEvent| ["observer", "newcomer"].contains(&list.name.as_str());
    let until = run.began + CROWD_COMES;
    run.of(HEARD).filter(of).filter(move |list| list.at < until)
}

/// Fails if this row has something against a list, can't tell if there are not enough lists.
fn lists_are_right(run: &Run, row: &str) -> Result<(), No> {
    let (grace, peers) = (run.grace(SWEEP_EVERY)?, peers(run));
    let mut on = BTreeSet::new();
    for list in lists(run) {
        for peer in peers.iter().filter(|peer| peer.port != list.who) {
            match peer.wrong(list, on.contains(&peer.port), grace) {
                Some((wrong, why, said)) if wrong == row => return fails(why, &[said, list]),
                _ => {}
            }
        }
        on.extend(list.lists.iter().map(|(port, _)| *port));
    }
    match lists(run).next_back() {
        Some(last) if last.at - run.began > CROWD_COMES - SWEEP_EVERY => Ok(()),
        _ => cant("it gave no lists for so long"),
    }
}

/// Whether a peer's list was ever handed out again.
fn is_shown(run: &Run, said: &RecordedEvent) -> bool {
    let is = |(port, files): &(usize, Vec<String>)| *port == said.who && same(files, said.files());
    run.of(HEARD).any(|list| list.lists.iter().any(is))
}

fn newcomer(run: &Run) -> Verdict {
    lists_are_right(run, "C2")?;
    let list = run.about(HEARD, "newcomer");
    needs(!list.is_empty(), "the new peer had no answer, see F1")?;
    let n = list[0].lists.len();
    let n = plural(n, "peer");
    holds(format!("a new peer was given {n} with their files"))
}

fn at_least_two(run: &Run) -> Verdict {
    never(run.of(ODD))?;
    let settled = run.began + 2.0 * SWEEP_EVERY;
    let lists = run.about(HEARD, "observer");
    never(lists.iter().copied().filter(is_bad))?;
    let few = |list: &&RecordedEvent| {
        let others = list.lists.iter().filter(|(port, _)| *port != list.who);
        (settled..run.began + CROWD_COMES).contains(&list.at) && others.count() < 2
    };
    let dropped = matches!(lists_are_right(run, "F3"), Err(No::Fails(..)));
    needs(!dropped, "peers that keep in touch are dropped, see F3")?;
    let why = "a list has fewer than two besides the asker, where four keep in touch";
    never_so(lists.iter().copied().filter(few), None, why)?;
    needs(!lists.is_empty(), "no list came, see F1")?;
    let n = plural(lists.len(), "list");
    holds(format!(
        "{n} with address, port and files, of two others at least"
    ))
}

fn answered(run: &Run) -> Verdict {
    never(run.of(ENDED).chain(run.of(OPEN)))?;
    // what comes after a long list is F2's
    let long = run.about(LISTED, "long");
    let long = long.first().map_or(run.ended, |long| long.at);
    let mute = run.of(MUTE).filter(|mute| mute.at < long);
    let n = mute.clone().count();
    never_so(mute, None, &format!("{} had no answer", plural(n, "ping")))?;
    let n = run.of(HEARD).count();
    needs(n > 0, "it gave no list, see C3")?;
    let n = plural(n, "ping");
    holds(format!("{n}, each answered with the list"))
}

fn updates(run: &Run) -> Verdict {
    never(run.of(ANSWERED))?;
    lists_are_right(run, "F2")?;
    let long = run.about(LISTED, "long").first().copied();
    let sent = long.map_or(run.ended, |long| long.at);
    let files = long.map_or(&[][..], RecordedEvent::files);
    let len: usize = files.iter().map(|file| file.len() + 4).sum();
    let last = run.of(HEARD).next_back().map_or(sent, |list| list.at);
    let mute = run.of(MUTE).filter(|mute| mute.at > last.max(sent));
    let why = format!(
        "after a list of {len} bytes nothing is answered: is it read with one recv() of fewer?"
    );
    never_so(mute.skip(1), long, &why)?;
    needs(is_whole(run), "it wasn't watched for so long")?;
    let unseen = long.into_iter().filter(|long| !is_shown(run, long));
    never_so(unseen, None, &format!("a list of {len} bytes never showed"))?;
    holds("new lists, short and long ones, were there in time")
}

/// Whether the timetable was played to its end.
fn is_whole(run: &Run) -> bool {
    run.ended - run.began > ENDS - SWEEP_EVERY / 2.0
}

fn sweeps(run: &Run) -> Verdict {
    let grace = run.grace(SWEEP_EVERY)?;
    lists_are_right(run, "F3")?;
    let silent: BTreeSet<usize> = run
        .about(LISTED, "silent")
        .iter()
        .map(|said| said.who)
        .collect();
    let watched: Vec<_> = lists(run).filter(|list| list.name == "observer").collect();
    let left = |pair: &[&RecordedEvent]| {
        pair[0]
            .ports()
            .intersection(&silent)
            .any(|port| !pair[1].ports().contains(port))
    };
    let pairs = watched.windows(2).filter(|pair| left(pair));
    let times: Vec<f64> = pairs.map(|pair| pair[1].at).collect();
    let since = times.last().copied().unwrap_or(run.began);
    let late = watched
        .last()
        .filter(|last| last.at - since > 2.0 * SWEEP_EVERY + grace);
    let why = format!(
        "nobody is dropped since {since:.0} s, and many fell silent: does its timer still run?"
    );
    never_so(late.into_iter().copied(), None, &why)?;
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    let middle = gaps.get(gaps.len() / 2).copied().unwrap_or(SWEEP_EVERY);
    let told = format!(
        "{}, one every {middle:.1} s ({SWEEP_EVERY:.1} ± {grace:.1} s)",
        plural(times.len(), "sweep")
    );
    match (middle - SWEEP_EVERY).abs() > grace {
        true => fails(told, &watched[watched.len() - 1..]),
        false if times.len() < SWEEPS => cant(told + ": too few"),
        false => Ok(told),
    }
}

fn holds_nothing(run: &Run) -> Verdict {
    never(run.of(WANTED))?;
    holds("it asked no peer for anything")
}

fn no_limit(run: &Run) -> Verdict {
    needs(is_whole(run), "it wasn't watched for so long")?;
    let crowd = run.about(LISTED, "crowd");
    let missing = crowd.iter().copied().filter(|said| !is_shown(run, said));
    let ports: BTreeSet<usize> = missing.clone().map(|said| said.who).collect();
    let why = format!(
        "{} of {CROWD} peers that came at once were never listed",
        ports.len()
    );
    never_so(missing, None, &why)?;
    holds(format!("{CROWD} peers came at once, and all were listed"))
}

fn leaves(run: &Run) -> Verdict {
    lists_are_right(run, "F8")?;
    let mut silent = run.about(LISTED, "silent").into_iter();
    needs(
        silent.any(|said| is_shown(run, said)),
        "nobody who fell silent was ever listed",
    )?;
    holds("whoever fell silent was gone at the second sweep")
}

fn apart(run: &Run) -> Verdict {
    let settled = lists(run).filter(|list| list.at - run.began > 2.0 * SWEEP_EVERY);
    let Some(most) = settled.max_by_key(|list| list.ports().len()) else {
        return cant("no list came, see F1");
    };
    let (twin, n) = (run.first(REMOTE).map(|twin| twin.who), most.ports().len());
    for port in most.ports() {
        let places = most
            .lists
            .iter()
            .filter(|(listed, _)| *listed == port)
            .count();
        if places != 1 + usize::from(twin == Some(port)) {
            let at = if twin == Some(port) {
                "two addresses"
            } else {
                "one address"
            };
            return fails(
                format!(
                    "port {port} at {at} has {} on the list",
                    plural(places, "place")
                ),
                &[most],
            );
        }
    }
    match (n, twin) {
        (0, _) => cant("nobody was listed"),
        (1, _) => fails(
            "of several peers at one address one alone is listed",
            &[most],
        ),
        (n, None) => Ok(format!("{n} peers at one address")),
        (n, Some(_)) => Ok(format!("{n} peers at one address, and one port at two")),
    }
}

fn stores_torrent(run: &Run) -> Verdict {
    run.first(PUBLISHED).ok_or(No::NotSpoken)?;
    never(run.of(PUBLISHED).filter(is_bad))?;
    holds("name, peers, number of pieces and MD5 came as they were given")
}
