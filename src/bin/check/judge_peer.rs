//! The rows that show on a peer, each judged by the record of one run.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Plan, Unclear, What};
use crate::scene::{CORRUPT, DECISIONS, DYING, FAR, LARGE, NEAR};
use crate::verdict::{CantTell, Holds, NotSpoken, Run, Verdict, fails, kept, line};

/// What a program may take to start, seconds.
const START: f64 = 3.0;
/// After an answer the program may still do what it had decided before it, seconds.
const UNDER_WAY: f64 = 1.0;
/// What is asked for at once comes within this time, seconds.
const AT_ONCE: f64 = 1.0;
/// Fewer good pieces than this tell nothing of shares.
const SHARES: usize = 24;

/// The first message of a peer.
pub fn is_first(what: &What) -> bool {
    matches!(
        what,
        What::Ping { .. } | What::List { .. } | What::Unclear { .. }
    )
}

/// The judge of a row.
pub fn judge(row: &str, run: &Run) -> Verdict {
    match row {
        "C1" => large_file(run),
        "C2" => first_contact(run),
        "C3" => as_listed(run),
        "C4" => rarest_first(run),
        "C5" => sends_pieces(run),
        "C6" => three_minutes(run),
        "F1" => pings(run),
        "F2" => lists(run),
        "F4" => rounds(run),
        "F5" => complete(run),
        _ if !run
            .events
            .iter()
            .any(|event| matches!(event.what, What::Ping { v: true })) =>
        {
            NotSpoken
        }
        "P2" => torrent_first(run),
        "P3" => shares(run),
        "P4" => verified(run),
        "P5" => goes_on(run),
        _ => served_on(run),
    }
}

/// What peers were asked for: when, whom, and what.
fn asks<'a>(run: &Run<'a>) -> Vec<(f64, (usize, &'a str))> {
    run.all(|what| match what {
        What::Asks { holder, name } => Some((*holder, name.as_str())),
        _ => None,
    })
}

/// What the peer sent back when it was asked: whether it was right.
fn backs<'a>(run: &Run<'a>) -> Vec<(f64, (&'a str, usize, Option<&'a str>))> {
    run.all(|what| match what {
        What::Back { name, len, fault } => Some((name.as_str(), *len, fault.as_deref())),
        _ => None,
    })
}

fn list_times(run: &Run) -> Vec<(f64, Vec<String>)> {
    run.all(|what| match what {
        What::List { files } => Some(files.clone()),
        _ => None,
    })
}

/// The messages that weren't understood.
fn unclear<'a>(run: &Run<'a>, which: Unclear) -> Vec<(f64, &'a str)> {
    run.all(|what| match what {
        What::Unclear { of, why } if *of == which => Some(why.as_str()),
        _ => None,
    })
}

/// A message of a kind that isn't understood, where there is one.
fn garbled(run: &Run, which: Unclear, expected: &str) -> Option<Verdict> {
    let (at, why) = *unclear(run, which).first()?;
    Some(fails(
        format!("a message isn't understood: {why}"),
        expected,
        vec![line(at, why)],
    ))
}

/// When only what the peer has was listed.
fn complete_at<'a>(run: &Run<'a>) -> Option<(f64, &'a Vec<String>)> {
    let complete = run.all(|what| match what {
        What::Complete { names } => Some(names),
        _ => None,
    });
    complete.first().copied()
}

fn large_file(run: &Run) -> Verdict {
    let backs = backs(run);
    let large = backs.iter().find(|(_, (_, len, _))| *len >= LARGE);
    match large {
        Some((at, (name, len, None))) => Holds(format!(
            "{name}, {len} bytes, came and is handed on, at {at:.1} s"
        )),
        Some(_) if backs.iter().all(|(_, (.., fault))| fault.is_some()) => {
            CantTell("it hands on nothing, see C5".to_owned())
        }
        Some((at, (name, len, Some(fault)))) => {
            let why = format!("{name} isn't whole there: {fault}");
            let sent = format!("sent: {name}, {len} bytes, to its end");
            fails(
                why,
                "the same bytes where the peer is asked for the file",
                vec![sent, line(*at, fault)],
            )
        }
        None => CantTell(format!(
            "no file of {LARGE} bytes went to it and was listed by it"
        )),
    }
}

fn first_contact(run: &Run) -> Verdict {
    let pings = run.all(|what| matches!(what, What::Ping { .. }).then_some(()));
    let latest = 1.5 * run.plan.ping + Plan::tolerance(run.plan.ping) + START;
    match pings.first() {
        None if !unclear(run, Unclear::Tracker).is_empty() => {
            CantTell("its pings aren't understood, see F1".to_owned())
        }
        None => fails(
            "it never asked the tracker for the list".to_owned(),
            "a ping",
            Vec::new(),
        ),
        Some((at, ())) if at - run.began - run.stalled(run.began, *at) > latest => {
            let why = format!(
                "it asked for the list only {:.1} s after its start",
                at - run.began
            );
            let expected = format!("a ping within {latest:.1} s");
            fails(
                why,
                &expected,
                vec![line(run.began, "the start"), line(*at, "the first ping")],
            )
        }
        Some((at, ())) => Holds(format!(
            "it asked for the list {:.1} s after its start",
            at - run.began
        )),
    }
}

fn as_listed(run: &Run) -> Verdict {
    let mut listed: BTreeSet<(&str, usize)> = BTreeSet::new();
    for (_, copies) in offers(run) {
        let pairs = copies
            .iter()
            .flat_map(|(name, has)| has.iter().map(move |holder| (name.as_str(), *holder)));
        listed.extend(pairs);
    }
    let here: BTreeSet<&str> = complete_at(run)
        .into_iter()
        .flat_map(|(_, names)| names.iter().map(String::as_str))
        .collect();
    let is_listed = |(holder, name): (usize, &str)| {
        holder >= NEAR || listed.contains(&(name, holder)) || here.contains(name)
    };
    let asks = asks(run);
    match asks.iter().find(|(_, asked)| !is_listed(*asked)) {
        Some((at, (holder, name))) => {
            let known = listed.iter().filter(|(listed, _)| listed == name).count();
            let why = format!(
                "it asked peer {holder} for {name:?}, which isn't on that peer's list ({known} others list it)"
            );
            let expected =
                "requests at the listed address and port, for a name that is listed there";
            fails(
                why,
                expected,
                vec![line(*at, format!("asked peer {holder} for {name:?}"))],
            )
        }
        None if asks.is_empty() => CantTell("it asked nobody for anything".to_owned()),
        None => Holds(format!(
            "{} requests, all at a listed address for what is listed there",
            asks.len()
        )),
    }
}

fn offers<'a>(run: &Run<'a>) -> Vec<(f64, &'a BTreeMap<String, Vec<usize>>)> {
    run.all(|what| match what {
        What::Offers { copies } => Some(copies),
        _ => None,
    })
}

/// What was asked for at once, out of names that nobody had seen before.
struct Choice<'a> {
    offered: f64,
    copies: &'a BTreeMap<String, Vec<usize>>,
    asked: Vec<(f64, usize, &'a str)>,
}

/// Every choice up to the first answer. What a peer that asks for several at once adds soon after it counts, too.
fn choices<'a>(run: &Run<'a>) -> Vec<Choice<'a>> {
    let mut choices: Vec<Choice> = Vec::new();
    let mut answered: Option<f64> = None;
    for event in run.events {
        match (&event.what, choices.last_mut()) {
            (What::Offers { copies }, _) => {
                answered = None;
                choices.push(Choice {
                    offered: event.at,
                    copies,
                    asked: Vec::new(),
                });
            }
            (What::Asks { holder, name }, Some(choice))
                if choice
                    .copies
                    .get(name)
                    .is_some_and(|has| has.contains(holder)) =>
            {
                let with_others =
                    choice.asked.len() > 1 && answered.is_some_and(|at| event.at < at + AT_ONCE);
                if answered.is_none() || with_others {
                    choice.asked.push((event.at, *holder, name));
                }
            }
            (What::Gave { name, .. }, Some(choice)) if choice.copies.contains_key(name) => {
                answered = answered.or(Some(event.at));
            }
            _ => {}
        }
    }
    choices.retain(|choice| !choice.asked.is_empty());
    choices
}

impl Choice<'_> {
    /// A name that was asked for, and a rarer one that could have been asked for instead.
    fn rarer(&self) -> Option<(&str, &str)> {
        let busy: BTreeSet<usize> = self.asked.iter().map(|(_, holder, _)| *holder).collect();
        let asked: BTreeSet<&str> = self.asked.iter().map(|(.., name)| *name).collect();
        let count = |name: &str| self.copies[name].len();
        self.asked.iter().find_map(|(_, holder, name)| {
            let free =
                |has: &Vec<usize>| has.iter().any(|one| one == holder || !busy.contains(one));
            let missed = self
                .copies
                .iter()
                .filter(|(other, has)| !asked.contains(other.as_str()) && free(has));
            let rarest = missed.min_by_key(|(_, has)| has.len())?;
            (rarest.1.len() < count(name)).then_some((*name, rarest.0.as_str()))
        })
    }
}

fn rarest_first(run: &Run) -> Verdict {
    let choices = choices(run);
    for choice in &choices {
        let Some((name, rarer)) = choice.rarer() else {
            continue;
        };
        let count = |name: &str| format!("{name} ({} copies)", choice.copies[name].len());
        let why = format!(
            "asked for {} while {} was missing",
            count(name),
            count(rarer)
        );
        let all: Vec<String> = choice.copies.keys().map(|name| count(name)).collect();
        let asked = choice.asked[0].0;
        let came = vec![
            line(
                choice.offered,
                format!("sent: the list with {}", all.join(", ")),
            ),
            line(asked, format!("came: a request for {name}")),
        ];
        return fails(why, &format!("a request for {rarer}"), came);
    }
    match choices.len() {
        0 => garbled(run, Unclear::Request, "a request for a file")
            .unwrap_or_else(|| CantTell("it asked nobody for anything, see F4".to_owned())),
        n if n < DECISIONS => CantTell(format!(
            "{n} choices, all right, but {DECISIONS} are needed"
        )),
        n => Holds(format!("the rarest in each of {n} choices")),
    }
}

fn sends_pieces(run: &Run) -> Verdict {
    let small = backs(run)
        .into_iter()
        .filter(|(_, (_, len, _))| *len < LARGE);
    let until = complete_at(run).map_or(f64::MAX, |(at, _)| at);
    let small: Vec<_> = small.filter(|(at, _)| *at < until).collect();
    match small.iter().find(|(_, (.., fault))| fault.is_some()) {
        Some((at, (name, _, fault))) => {
            let fault = fault.unwrap_or_default();
            let asked = format!("sent: {{\"filename\": {name:?}}} to the port that it announced");
            fails(
                format!("it doesn't send {name}: {fault}"),
                "the bytes of the file, and a close",
                vec![asked, line(*at, fault)],
            )
        }
        None if small.is_empty() => {
            CantTell("it never listed a file that is known here".to_owned())
        }
        None => Holds(format!("{} files asked for, all came", small.len())),
    }
}

fn three_minutes(run: &Run) -> Verdict {
    let times: Vec<f64> = list_times(run).iter().map(|(at, _)| *at).collect();
    let (longest, tolerance) = (run.plan.longest, Plan::tolerance(run.plan.longest));
    let ends = [run.began]
        .into_iter()
        .chain(times.iter().copied())
        .zip(times.iter().copied().chain([run.ended]));
    let gap = ends
        .map(|(from, to)| to - from - run.stalled(from, to))
        .fold(0.0, f64::max);
    if gap > longest + tolerance {
        let expected = format!("a list at least every {longest:.0} s");
        return fails(format!("{gap:.0} s without a list"), &expected, Vec::new());
    }
    match times.len() {
        0 => CantTell(format!(
            "no list came, but it was watched for {:.0} s only",
            run.ended - run.began
        )),
        n => Holds(format!("{n} lists, at most {gap:.1} s apart")),
    }
}

fn pings(run: &Run) -> Verdict {
    let times = run.all(|what| matches!(what, What::Ping { .. }).then_some(()));
    let times: Vec<f64> = times.iter().map(|(at, ())| *at).collect();
    let every = run.plan.ping;
    if times.is_empty()
        && let Some(verdict) = garbled(
            run,
            Unclear::Tracker,
            "{\"port\": 50001, \"msg\": \"ping\"}",
        )
    {
        return verdict;
    }
    match run.interval("ping", &times, run.ended, every) {
        Err(verdict) => verdict,
        Ok(middle) if middle < every - Plan::tolerance(every) => {
            let expected = format!(
                "a ping every {every:.1} s, give or take {:.1} s",
                Plan::tolerance(every)
            );
            fails(format!("a ping every {middle:.1} s"), &expected, Vec::new())
        }
        Ok(middle) => Holds(kept("a ping", middle, every, times.len())),
    }
}

fn lists(run: &Run) -> Verdict {
    let expected = "{\"port\": 50001, \"files\": [\"1.txt\"], \"msg\": \"file_list\"}";
    if let Some(verdict) = garbled(run, Unclear::List, expected) {
        return verdict;
    }
    let lists = list_times(run);
    let times: Vec<f64> = lists.iter().map(|(at, _)| *at).collect();
    let every = run.plan.list;
    let middle = match run.interval("list", &times, run.ended, every) {
        Ok(middle) => middle,
        Err(verdict) => return verdict,
    };
    // a piece of a file is listed otherwise
    let given = run.all(|what| match what {
        What::Gave {
            name, whole: true, ..
        } if name.ends_with(".txt") => Some(name),
        _ => None,
    });
    let due = every + Plan::tolerance(every) + UNDER_WAY;
    for (gave, name) in given {
        let later = lists
            .iter()
            .find(|(at, files)| *at > gave + due + run.stalled(gave, *at) && !files.contains(name));
        if let Some((at, files)) = later {
            let came = vec![
                line(gave, format!("sent: all of {name}")),
                line(*at, format!("came: the list {files:?}")),
            ];
            return fails(
                format!("its list of {at:.1} s lacks {name}, which it had at {gave:.1} s"),
                "a list with it",
                came,
            );
        }
    }
    Holds(kept("a list", middle, every, times.len()))
}

fn rounds(run: &Run) -> Verdict {
    let (choices, every) = (choices(run), run.plan.round);
    let times: Vec<f64> = choices.iter().map(|choice| choice.asked[0].0).collect();
    let until =
        run.all(|what| matches!(what, What::Complete { .. } | What::Download { .. }).then_some(()));
    let until = until.first().map_or(run.ended, |(at, ())| *at);
    if offers(run).is_empty() {
        return CantTell("it had no list to choose from".to_owned());
    }
    let interval = run.interval("round", &times, until, every);
    if let Err(verdict @ Verdict::Fails { .. }) = interval {
        return verdict;
    }
    let asked: Vec<(usize, usize)> = choices
        .iter()
        .flat_map(|choice| {
            let has = |name: &str| &choice.copies[name];
            let place = |(_, holder, name): &(f64, usize, &str)| {
                (
                    has(name).iter().position(|one| one == holder).unwrap_or(0),
                    has(name).len(),
                )
            };
            choice.asked.iter().map(place).collect::<Vec<_>>()
        })
        .collect();
    if choices.len() < DECISIONS {
        return CantTell(format!(
            "{} choices, but {DECISIONS} are needed",
            choices.len()
        ));
    }
    let first = asked[0].0;
    let same = asked.iter().all(|(place, _)| *place == first);
    let last = asked.iter().all(|(place, of)| place + 1 == *of);
    if same || last {
        let place = if last {
            "last".to_owned()
        } else {
            format!("{}.", first + 1)
        };
        let why = format!(
            "in {} requests it asked the {place} holder on the list each time",
            asked.len()
        );
        return fails(why, "a holder at random", Vec::new());
    }
    match interval {
        Ok(middle) => {
            Holds(kept("a request", middle, every, choices.len()) + ", at holders at random")
        }
        Err(verdict) => verdict,
    }
}

fn complete(run: &Run) -> Verdict {
    let Some((since, names)) = complete_at(run).filter(|(_, names)| !names.is_empty()) else {
        return CantTell(
            "it never listed a file that is known here, so it can't be seen to be complete"
                .to_owned(),
        );
    };
    let listed = line(
        since,
        format!(
            "sent: lists with nothing but what it has: {}",
            names.join(", ")
        ),
    );
    if let Some((at, (_, name))) = asks(run)
        .iter()
        .find(|(at, _)| *at > since + UNDER_WAY + run.stalled(since, *at))
    {
        let came = vec![listed, line(*at, format!("came: a request for {name}"))];
        return fails(
            format!(
                "it asked for {name} {:.1} s after it had everything",
                at - since
            ),
            "no request",
            came,
        );
    }
    let ended = run.all(|what| match what {
        What::Ended { how } => Some(how),
        _ => None,
    });
    if let Some((at, how)) = ended.first() {
        return fails(
            "it ended".to_owned(),
            "a peer that goes on",
            vec![listed, line(*at, how)],
        );
    }
    let watched = run.ended - since - run.stalled(since, run.ended);
    let due = 2.0 * run.plan.list + Plan::tolerance(run.plan.list);
    if watched < due {
        return CantTell(format!("it was complete for {watched:.1} s only"));
    }
    if !list_times(run).iter().any(|(at, _)| *at > since) {
        return fails(
            format!("no list came in the {watched:.0} s in which it had everything"),
            "lists as before",
            vec![listed],
        );
    }
    let (after, before): (Vec<_>, Vec<_>) = backs(run).into_iter().partition(|(at, _)| *at > since);
    let served = |backs: &[(f64, (&str, usize, Option<&str>))]| {
        backs.iter().any(|(_, (.., fault))| fault.is_none())
    };
    match after.first() {
        _ if served(&after) => Holds(format!(
            "complete for {watched:.0} s: no request, lists as before, and it serves on"
        )),
        Some((at, (name, _, fault))) if served(&before) => {
            let fault = fault.unwrap_or_default();
            fails(
                format!("it doesn't send {name} any more: {fault}"),
                "a peer that serves on",
                vec![listed, line(*at, fault)],
            )
        }
        _ => CantTell(
            "no request and lists as before; but that it serves wasn't seen before, see C5"
                .to_owned(),
        ),
    }
}

/// The download's name, its requests and what was given, where there was one.
struct Download<'a> {
    name: &'a str,
    asks: Vec<(f64, (usize, &'a str))>,
    /// When, by whom, what, and whether it was good.
    gave: Vec<(f64, (usize, &'a str, bool))>,
    /// The whole file, sent back: with the fault.
    back: Option<(f64, Option<&'a str>)>,
}

fn download<'a>(run: &Run<'a>) -> Option<Download<'a>> {
    let begun = run.all(|what| match what {
        What::Download { name } => Some(name.as_str()),
        _ => None,
    });
    let name = begun.first()?.1;
    let gave = run.all(|what| match what {
        What::Gave {
            holder,
            name: piece,
            whole: true,
            good,
            ..
        } if piece.starts_with(name) => Some((*holder, piece.as_str(), *good)),
        _ => None,
    });
    let back = backs(run).into_iter().find(|(_, (back, ..))| *back == name);
    Some(Download {
        name,
        asks: asks(run)
            .into_iter()
            .filter(|(_, (_, piece))| piece.starts_with(name))
            .collect(),
        gave,
        back: back.map(|(at, (.., fault))| (at, fault)),
    })
}

/// Where the download didn't come to its end.
fn not_whole(download: &Download) -> Verdict {
    CantTell(format!(
        "the download wasn't whole in the time: {} pieces went out",
        download.gave.len()
    ))
}

fn torrent_first(run: &Run) -> Verdict {
    let Some(download) = download(run) else {
        return CantTell("there was no download".to_owned());
    };
    let torrent = run
        .all(|what| matches!(what, What::Torrent { name } if name == download.name).then_some(()));
    match (torrent.first(), download.asks.first()) {
        (Some((got, ())), Some((asked, _))) if got < asked => Holds(format!(
            "the .torrent at {got:.1} s, the first piece at {asked:.1} s"
        )),
        (_, Some((asked, (_, piece)))) => fails(
            format!("it asked for {piece} without the .torrent"),
            "a request for the .torrent first",
            vec![line(*asked, piece)],
        ),
        (_, None) => CantTell("it asked for no piece".to_owned()),
    }
}

fn shares(run: &Run) -> Verdict {
    let Some(download) = download(run) else {
        return CantTell("there was no download".to_owned());
    };
    let of = |which: usize| {
        download
            .gave
            .iter()
            .filter(|(_, (holder, _, good))| *holder == which && *good)
            .count()
    };
    let shares = [NEAR, NEAR + 1, FAR].map(of);
    let told = format!(
        "{} pieces from the nearest, {} from the next and {} from the farthest",
        shares[0], shares[1], shares[2]
    );
    match shares {
        _ if shares.iter().sum::<usize>() < SHARES => {
            CantTell(format!("{told}: too few to compare"))
        }
        [near, next, far] if near > next && next >= far && near >= 2 * far => Holds(told),
        _ => fails(
            told,
            "fewer pieces from peers that are farther away (0, 60 and 200 ms)",
            Vec::new(),
        ),
    }
}

fn verified(run: &Run) -> Verdict {
    let Some(download) = download(run) else {
        return CantTell("there was no download".to_owned());
    };
    let bad = download
        .gave
        .iter()
        .filter(|(_, (holder, ..))| *holder == CORRUPT)
        .count();
    match download.back {
        _ if bad == 0 => CantTell("no wrong piece was asked for".to_owned()),
        None => not_whole(&download),
        Some((_, None)) => Holds(format!("{bad} wrong pieces came, and the file is right")),
        Some((at, Some(fault))) => fails(
            format!("{bad} wrong pieces came, and the file is wrong: {fault}"),
            "the MD5 of the .torrent",
            vec![line(at, fault)],
        ),
    }
}

fn goes_on(run: &Run) -> Verdict {
    let Some(download) = download(run) else {
        return CantTell("there was no download".to_owned());
    };
    let died = run.all(|what| matches!(what, What::Died { .. }).then_some(()));
    let Some((died, ())) = died.first() else {
        return CantTell("the source that was to go away wasn't asked often enough".to_owned());
    };
    // what was under way when it died may have been asked of two
    let had: BTreeSet<&str> = download
        .gave
        .iter()
        .filter(|(at, (.., good))| *good && at + UNDER_WAY < *died)
        .map(|(_, (_, piece, _))| *piece)
        .collect();
    if let Some((at, (_, piece))) = download
        .asks
        .iter()
        .find(|(at, (_, piece))| at > died && had.contains(piece))
    {
        return fails(
            format!("it asked again for {piece}, which it had"),
            "only what is missing",
            vec![line(*died, "a source went away"), line(*at, piece)],
        );
    }
    let after = download
        .gave
        .iter()
        .filter(|(at, (holder, ..))| at > died && *holder != DYING)
        .count();
    let last = download.asks.last().map_or(0.0, |(at, _)| *at);
    match download.back {
        Some(_) => Holds(format!(
            "a source went away at {died:.1} s; {after} pieces came from others, and the file is whole"
        )),
        None if after == 0 && last < *died + UNDER_WAY => fails(
            "nothing more was asked for once a source had gone".to_owned(),
            "requests to others",
            vec![line(*died, "a source went away")],
        ),
        None => not_whole(&download),
    }
}

fn served_on(run: &Run) -> Verdict {
    let Some(download) = download(run) else {
        return CantTell("there was no download".to_owned());
    };
    let back = backs(run)
        .into_iter()
        .find(|(_, (name, ..))| name.starts_with(download.name) && *name != download.name);
    match back {
        None => CantTell("the download didn't get so far".to_owned()),
        Some((at, (piece, _, None))) => Holds(format!(
            "{piece} was sent on at {at:.1} s, in the middle of the download"
        )),
        Some((at, (piece, _, Some(fault)))) => fails(
            format!("{piece}, which it had, wasn't sent on: {fault}"),
            "the piece",
            vec![line(at, fault)],
        ),
    }
}
