//! The rows that show on a tracker, each judged by the record of one run.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bittorrentish::protocol::PeerEntry;

use crate::record::{Plan, Role, What};
use crate::tracker::{CROWD, files_of};
use crate::verdict::{CantTell, Holds, NotSpoken, Run, Verdict, fails, line};

/// How many sweeps have to be seen.
const SWEEPS: usize = 4;

/// The first message of a tracker.
pub fn is_first(what: &What) -> bool {
    matches!(what, What::Reached { .. })
}

/// The judge of a row.
pub fn judge(row: &str, run: &Run) -> Verdict {
    match row {
        "F1" => return answered(run),
        "F6" => return holds_nothing(run),
        "F9" => return apart(run),
        "P1" => return stores_torrent(run),
        _ => {}
    }
    let garbled = run.all(|what| match what {
        What::Garbled { why, .. } => Some(why),
        _ => None,
    });
    match garbled.first() {
        Some((at, why)) if row == "C3" => fails(
            format!("an answer isn't understood: {why}"),
            SAMPLE,
            vec![line(*at, why)],
        ),
        Some(_) if heard(run, |_| true).is_empty() => {
            CantTell("its answers aren't understood, see C3".to_owned())
        }
        _ if is_collapsed(run) => {
            CantTell("there is never more than one peer on its list, see F9".to_owned())
        }
        _ => match row {
            "C2" => newcomer(run),
            "C3" => at_least_two(run),
            "F2" => updates(run),
            "F3" => sweeps_by_the_clock(run),
            "F7" => no_limit(run),
            _ => leaves(run),
        },
    }
}

/// What an answer looks like.
const SAMPLE: &str = "[{\"ip\": \"10.0.0.7\", \"port\": 50001, \"file_list\": [\"1.txt\"]}, …]";

/// The lists that came to some of the roles.
fn heard<'a>(run: &Run<'a>, of: impl Fn(Role) -> bool) -> Vec<(f64, &'a Vec<PeerEntry>)> {
    run.all(|what| match what {
        What::Heard { role, peers, .. } if of(*role) => Some(peers),
        _ => None,
    })
}

/// The lists before the crowd came.
fn watched<'a>(run: &Run<'a>) -> Vec<(f64, &'a Vec<PeerEntry>)> {
    heard(run, |role| role == Role::Observer)
}

/// What was said by a role: when, at which port, and the files of a list.
fn said<'a>(run: &Run<'a>, by: Role) -> Vec<(f64, (u16, Option<&'a Vec<String>>))> {
    run.all(|what| match what {
        What::Said { role, port, files } if *role == by => Some((*port, files.as_ref())),
        _ => None,
    })
}

fn port_of(run: &Run, role: Role) -> u16 {
    said(run, role).first().map_or(0, |(_, (port, _))| *port)
}

fn entry(peers: &[PeerEntry], port: u16) -> Option<&PeerEntry> {
    peers.iter().find(|peer| peer.port == port)
}

fn same_names(one: &[String], other: &[String]) -> bool {
    one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
}

/// Whether the list has one peer at most, though several speak.
fn is_collapsed(run: &Run) -> bool {
    let settled = run.began + 2.0 * run.plan.sweep;
    let lists: Vec<usize> = watched(run)
        .iter()
        .filter(|(at, _)| *at > settled)
        .map(|(_, peers)| peers.len())
        .collect();
    lists.iter().max() == Some(&1)
}

fn answered(run: &Run) -> Verdict {
    let mute = run.all(|what| match what {
        What::Mute { role, port, why } if *role != Role::Crowd => Some((*port, why)),
        _ => None,
    });
    let answers = run
        .all(|what| matches!(what, What::Heard { .. } | What::Garbled { .. }).then_some(()))
        .len();
    match mute.first() {
        Some((at, (port, why))) => {
            let sent = format!("sent: a message from the peer at port {port}");
            fails(
                format!("{} messages had no answer; the first: {why}", mute.len()),
                "the list in answer to each ping",
                vec![sent, line(*at, why)],
            )
        }
        None if answers == 0 => CantTell("nothing was asked".to_owned()),
        None => Holds(format!("{answers} pings, all answered with the list")),
    }
}

fn newcomer(run: &Run) -> Verdict {
    let answers = heard(run, |role| role == Role::Newcomer);
    let Some((at, peers)) = answers.first() else {
        return CantTell("the new peer had no answer, see F1".to_owned());
    };
    let told = || {
        peers
            .iter()
            .map(|peer| format!("{}:{} {:?}", peer.ip, peer.port, peer.file_list))
            .collect::<Vec<_>>()
    };
    for role in [Role::Steady, Role::Pinger] {
        let port = port_of(run, role);
        let files = files_of(role, false);
        let wrong = match entry(peers, port) {
            None => format!("the list for a new peer lacks the one at port {port}"),
            Some(peer) if !same_names(&peer.file_list, &files) => format!(
                "the peer at port {port} has {files:?}, and is listed with {:?}",
                peer.file_list
            ),
            Some(_) => continue,
        };
        let came = vec![line(*at, format!("came: {}", told().join(", ")))];
        return fails(wrong, "all peers, with their files", came);
    }
    Holds(format!(
        "a new peer was given {} peers with their files",
        peers.len()
    ))
}

fn at_least_two(run: &Run) -> Verdict {
    let ips = run.all(|what| match what {
        What::Reached { ips, .. } => Some(ips),
        _ => None,
    });
    let ips: Vec<IpAddr> = ips
        .iter()
        .flat_map(|(_, ips)| ips.iter())
        .filter_map(|ip| ip.parse().ok())
        .collect();
    let own = port_of(run, Role::Observer);
    let settled = run.began + 2.0 * run.plan.sweep;
    for (at, peers) in watched(run) {
        let wrong = |peer: &&PeerEntry| {
            !peer
                .ip
                .parse()
                .is_ok_and(|ip: IpAddr| ips.contains(&ip.to_canonical()))
        };
        if let Some(peer) = peers.iter().find(wrong) {
            let expected = format!(
                "the address from which it came, {}",
                ips.iter()
                    .map(IpAddr::to_string)
                    .collect::<Vec<_>>()
                    .join(" or ")
            );
            return fails(
                format!("the peer at port {} is listed at {:?}", peer.port, peer.ip),
                &expected,
                vec![line(at, format!("{peer:?}"))],
            );
        }
        let others = peers.iter().filter(|peer| peer.port != own).count();
        if at > settled + run.stalled(0.0, at) && others < 2 {
            return fails(
                format!("{others} other peers on a list, while four kept in touch"),
                "at least two others",
                vec![line(at, format!("{peers:?}"))],
            );
        }
    }
    Holds("each list gives address, port and files, of two others at least".to_owned())
}

fn updates(run: &Run) -> Verdict {
    let port = port_of(run, Role::Changer);
    let new = files_of(Role::Changer, true);
    let changed = said(run, Role::Changer)
        .into_iter()
        .find(|(_, (_, files))| files.is_some_and(|files| **files == new));
    let Some((changed, _)) = changed else {
        return CantTell("it wasn't watched for so long".to_owned());
    };
    let until = changed + 2.0 * run.plan.sweep + Plan::tolerance(run.plan.sweep);
    let listed = |(at, peers): &(f64, &Vec<PeerEntry>)| {
        entry(peers, port).map(|peer| (*at, peer.file_list.clone()))
    };
    let listed: Vec<(f64, Vec<String>)> = watched(run).iter().filter_map(listed).collect();
    if !listed
        .iter()
        .any(|(at, files)| *at < changed && !files.is_empty())
    {
        return CantTell("its first list isn't there either, see C2".to_owned());
    }
    let late = listed
        .iter()
        .find(|(at, files)| *at > until + run.stalled(changed, *at) && !same_names(files, &new));
    let shown = listed
        .iter()
        .find(|(at, files)| *at > changed && same_names(files, &new));
    match (late, shown) {
        (Some((at, files)), _) => {
            let sent = line(
                changed,
                format!("sent: the list {new:?} of the peer at port {port}"),
            );
            let came = line(*at, format!("came: {files:?}"));
            fails(
                format!(
                    "{:.0} s after a peer's list changed, it is listed with {files:?}",
                    at - changed
                ),
                &format!("{new:?}"),
                vec![sent, came],
            )
        }
        (None, Some((at, _))) => Holds(format!(
            "a changed list was there after {:.1} s",
            at - changed
        )),
        (None, None) => CantTell("the peer whose list changed isn't listed, see F3".to_owned()),
    }
}

/// A peer that fell silent: its last message, when it was last seen after that, and when it was seen no more.
struct Left {
    port: u16,
    said: f64,
    seen: f64,
    gone: Option<f64>,
}

fn silent_peers(run: &Run) -> Vec<Left> {
    let lists = watched(run);
    let left = said(run, Role::Silent)
        .into_iter()
        .filter_map(|(said, (port, _))| {
            let with = lists
                .iter()
                .rfind(|(_, peers)| entry(peers, port).is_some());
            let seen = with?.0;
            let gone = lists.iter().find(|(at, _)| *at > seen).map(|(at, _)| *at);
            Some(Left {
                port,
                said,
                seen,
                gone,
            })
        });
    left.collect()
}

/// When peers were dropped. Those of one sweep are gone from the same list.
fn sweep_times(left: &[Left]) -> Vec<f64> {
    let mut times: Vec<f64> = left.iter().filter_map(|left| left.gone).collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    times
}

fn sweeps_by_the_clock(run: &Run) -> Verdict {
    let (sweep, tolerance) = (run.plan.sweep, Plan::tolerance(run.plan.sweep));
    let expected = format!(
        "a sweep every {sweep:.1} s, give or take {tolerance:.1} s, that drops who sent nothing since the one before"
    );
    if let Some(verdict) = dropped_too_early(run, &expected) {
        return verdict;
    }
    let left = silent_peers(run);
    let times = sweep_times(&left);
    if left.is_empty() {
        return CantTell("peers that spoke once were never listed".to_owned());
    }
    if times.is_empty() {
        return fails(
            format!("nobody was dropped in {:.0} s", run.ended - run.began),
            &expected,
            Vec::new(),
        );
    }
    let gaps = times
        .windows(2)
        .map(|pair| pair[1] - pair[0] - run.stalled(pair[0], pair[1]));
    let mut gaps: Vec<f64> = gaps.collect();
    gaps.sort_by(f64::total_cmp);
    let came: Vec<String> = times.iter().map(|at| format!("{at:.1}")).collect();
    let came = format!("came: silent peers were gone at {} s", came.join(", "));
    match gaps.get(gaps.len() / 2) {
        Some(middle) if (middle - sweep).abs() > tolerance => fails(
            format!("it sweeps every {middle:.1} s"),
            &expected,
            vec![came],
        ),
        Some(middle) if times.len() >= SWEEPS => Holds(format!(
            "{} sweeps, every {middle:.1} s ({sweep:.1} ± {tolerance:.1} s)",
            times.len()
        )),
        _ => CantTell(format!(
            "{} sweeps were seen, but {SWEEPS} are needed",
            times.len()
        )),
    }
}

/// A peer that was dropped though it kept in touch, or right after its message.
fn dropped_too_early(run: &Run, expected: &str) -> Option<Verdict> {
    let lists = watched(run);
    for role in [Role::Steady, Role::Pinger, Role::Lister, Role::Changer] {
        let (port, messages) = (port_of(run, role), said(run, role));
        let since = lists
            .iter()
            .find(|(_, peers)| entry(peers, port).is_some())?
            .0;
        for (at, _) in lists
            .iter()
            .filter(|(at, peers)| *at > since && entry(peers, port).is_none())
        {
            let last = messages
                .iter()
                .map(|(said, _)| *said)
                .rfind(|said| said < at)?;
            // a message every 10 s; unless this machine was late with it
            if at - last < 0.9 * run.plan.sweep && *at < run.began + 6.9 * run.plan.sweep {
                let how = match role {
                    Role::Pinger => "pinged",
                    Role::Lister | Role::Changer => "sent its list",
                    _ => "pinged, or sent its list,",
                };
                let came = vec![
                    line(last, format!("sent: its last message, from port {port}")),
                    line(*at, "came: a list without it"),
                ];
                return Some(fails(
                    format!(
                        "a peer that {how} every {:.1} s was dropped",
                        2.0 / 3.0 * run.plan.sweep
                    ),
                    expected,
                    came,
                ));
            }
        }
    }
    let least = run.plan.sweep - Plan::tolerance(run.plan.sweep);
    let left = silent_peers(run);
    let early = left
        .iter()
        .find_map(|left| Some((left, left.gone.filter(|gone| gone - left.said < least)?)));
    early.map(|(left, gone)| {
        let came = vec![
            line(
                left.said,
                format!("sent: its last message, from port {}", left.port),
            ),
            line(gone, "came: a list without it"),
        ];
        fails(
            format!(
                "a peer was dropped {:.1} s after its message, before a whole interval was over",
                gone - left.said
            ),
            expected,
            came,
        )
    })
}

fn leaves(run: &Run) -> Verdict {
    let (sweep, tolerance) = (run.plan.sweep, Plan::tolerance(run.plan.sweep));
    let left = silent_peers(run);
    let times = sweep_times(&left);
    let end = watched(run).last().map_or(0.0, |(at, _)| *at);
    let stays = left.iter().find(|left| {
        // twice the interval, or two sweeps if these are slower: they are F3's
        let survived = times
            .iter()
            .filter(|at| **at > left.said + tolerance && **at <= left.seen)
            .count();
        let slow =
            left.seen - left.said - run.stalled(left.said, left.seen) > 2.0 * sweep + tolerance;
        slow && (survived >= 2 || times.is_empty())
    });
    match stays {
        Some(left) => {
            let came = vec![
                line(
                    left.said,
                    format!("sent: the last message from port {}", left.port),
                ),
                line(left.seen, "came: a list with it, still"),
            ];
            let expected = format!(
                "gone at the second sweep, within {:.1} s",
                2.0 * sweep + tolerance
            );
            fails(
                format!(
                    "a peer was on the list {:.1} s after its last message",
                    left.seen - left.said
                ),
                &expected,
                came,
            )
        }
        None if times.is_empty() => CantTell(format!("nobody was seen to leave in {end:.0} s")),
        None => Holds(format!(
            "{} peers that fell silent were off the list at the second sweep",
            left.iter().filter(|left| left.gone.is_some()).count()
        )),
    }
}

fn holds_nothing(run: &Run) -> Verdict {
    let fetched = run.all(|what| match what {
        What::Fetched { port, message } => Some((*port, message)),
        _ => None,
    });
    match fetched.first() {
        Some((at, (port, message))) => {
            let came = vec![line(*at, format!("came: {message} at port {port}"))];
            fails(
                "it asked a peer for a file".to_owned(),
                "a tracker that asks peers for nothing",
                came,
            )
        }
        None => Holds(format!(
            "it asked no peer for anything in {:.0} s",
            run.ended - run.began
        )),
    }
}

fn no_limit(run: &Run) -> Verdict {
    let crowd: BTreeSet<u16> = said(run, Role::Crowd)
        .iter()
        .map(|(_, (port, _))| *port)
        .collect();
    let lists = heard(run, |role| role == Role::Crowd);
    let listed: BTreeSet<u16> = lists
        .iter()
        .flat_map(|(_, peers)| peers.iter().map(|peer| peer.port))
        .collect();
    let missing = crowd.difference(&listed).count();
    let asked = said(run, Role::Crowd)
        .iter()
        .filter(|(_, (_, files))| files.is_none())
        .count();
    let expected = "all of them, on one list or, of a long one, on several";
    match missing {
        _ if crowd.len() < CROWD.into() => CantTell("it wasn't watched for so long".to_owned()),
        0 => Holds(format!(
            "{} peers came at once, and all were listed",
            crowd.len()
        )),
        _ if lists.len() < asked => fails(
            format!(
                "of {asked} pings of {CROWD} peers, {} weren't answered",
                asked - lists.len()
            ),
            expected,
            Vec::new(),
        ),
        n => fails(
            format!(
                "{n} of {} peers that came at once were never listed",
                crowd.len()
            ),
            expected,
            Vec::new(),
        ),
    }
}

fn apart(run: &Run) -> Verdict {
    let lists = watched(run);
    let together = |peers: &&Vec<PeerEntry>| {
        peers
            .iter()
            .map(|peer| (&peer.ip, peer.port))
            .collect::<BTreeSet<_>>()
            .len()
    };
    let most = lists.iter().map(|(_, peers)| together(&peers)).max();
    let remote = run
        .events
        .iter()
        .any(|event| matches!(event.what, What::Reached { remote: true, .. }));
    match most {
        _ if is_collapsed(run) => fails(
            "of several peers at one address, one alone is on the list".to_owned(),
            "all of them, told apart by port",
            lists
                .last()
                .map(|(at, peers)| line(*at, format!("came: {peers:?}")))
                .into_iter()
                .collect(),
        ),
        None | Some(0 | 1) => CantTell("nobody was listed".to_owned()),
        Some(n) if remote => Holds(format!(
            "{n} peers at one address, told apart by port; two addresses can't be shown from one machine"
        )),
        Some(n) => Holds(format!("{n} peers at one address, told apart by port")),
    }
}

fn stores_torrent(run: &Run) -> Verdict {
    let kept = run.all(|what| match what {
        What::Kept { fault } => Some(fault.as_ref()),
        _ => None,
    });
    match kept.first() {
        None => NotSpoken,
        Some((_, None)) => Holds(
            "it handed out the .torrent that it was given: name, peers, number of pieces, MD5"
                .to_owned(),
        ),
        Some((at, Some(fault))) => fails(
            format!("the .torrent isn't there: {fault}"),
            "the .torrent that was published",
            vec![line(*at, fault)],
        ),
    }
}
