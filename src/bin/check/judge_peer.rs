//! The rows that show on a peer, each judged by the record of one run.

use std::collections::BTreeSet;

use crate::record::{RecordedEvent, tolerance};
use crate::scene::{CHOICES, CORRUPT, NEAR};
use crate::verdict::{No, Run, Verdict, cant, fails, kept};

/// What a program may take to start, seconds.
const START: f64 = 3.0;
/// What was decided before an answer still comes within this time after it, seconds.
const UNDER_WAY: f64 = 1.0;
/// Of C6, seconds.
const THREE_MINUTES: f64 = 180.0;
/// Whoever asks for nothing during this time has given up, seconds.
const GIVES_UP: f64 = 5.0;
/// Fewer pieces than this tell nothing of shares.
const SHARES: usize = 24;

const PING: &str = "came: a ping";
const LIST: &str = "came: the list";
const OFFER: &str = "sent: the list with";
const ASKED: &str = "came: a request for";
const GAVE: &str = "sent: all of";
const BACK: &str = "asked the peer for";

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
        _ if !run.of(PING).any(|ping| ping.name == "ours") => Err(No::NotSpoken),
        _ => match (row, run.first("download")) {
            (_, None) => cant("there was no download"),
            ("P2", Some(begun)) => torrent_first(run, &begun.name),
            ("P3", Some(begun)) => shares(run, &begun.name),
            ("P4", Some(begun)) => verified(run, &begun.name),
            ("P5", Some(begun)) => goes_on(run, &begun.name),
            (_, Some(begun)) => served_on(run, &begun.name),
        },
    }
}

/// Fails if a message of this kind isn't understood.
fn understood(run: &Run, of: &str, expected: &str) -> Result<(), No> {
    match run.of("not understood").find(|event| event.name == of) {
        Some(event) => {
            let why = event.fault.clone().unwrap_or_default();
            fails(
                format!("a message isn't understood: {why}"),
                expected,
                &[event],
            )
        }
        None => Ok(()),
    }
}

fn large_file(run: &Run) -> Verdict {
    if let Some(gave) = run
        .of(GAVE)
        .find(|gave| gave.who < NEAR && gave.fault.is_some())
    {
        let why = format!("it closed before all of {} had come", gave.name);
        return fails(why, "a read up to the close", &[gave]);
    }
    let Some(back) = run.of(BACK).find(|back| !back.files.is_empty()) else {
        return cant("no large file went to it and was listed by it");
    };
    match &back.fault {
        None => Ok(format!("{} came whole, and is handed on", back.name)),
        Some(_) if run.of(BACK).all(|back| back.fault.is_some()) => {
            cant("it hands on nothing, see C5")
        }
        Some(fault) => {
            let gave = run.of(GAVE).find(|gave| gave.name == back.name);
            let shown = [gave.unwrap_or(back), back];
            fails(
                format!("{} isn't whole: {fault}", back.name),
                "all its bytes",
                &shown,
            )
        }
    }
}

fn first_contact(run: &Run) -> Verdict {
    let latest = 1.5 * run.plan.ping + tolerance(run.plan.ping) + START;
    let expected = format!("a ping within {latest:.1} s");
    let Some(ping) = run.first(PING) else {
        if run.of("not understood").next().is_some() {
            return cant("its pings aren't understood, see F1");
        }
        return fails("it never asked for the list".to_owned(), &expected, &[]);
    };
    let after = run.lasted(run.began, ping.at);
    match after > latest {
        true => fails(
            format!("it asked for the list only after {after:.1} s"),
            &expected,
            &[ping],
        ),
        false => Ok(format!("it asked for the list after {after:.1} s")),
    }
}

fn as_listed(run: &Run) -> Verdict {
    let done = run.first("complete");
    let asks = run.of(ASKED).filter(|ask| ask.who < NEAR);
    let mut n = 0;
    for ask in asks {
        let listed = run
            .of(OFFER)
            .any(|offer| offer.holders(&ask.name).contains(&ask.who));
        let here = |done: &RecordedEvent| done.at < ask.at && done.files.contains(&ask.name);
        if !listed && !done.is_some_and(here) {
            let why = format!("peer {} doesn't list {:?}", ask.who, ask.name);
            return fails(why, "requests for what a peer lists", &[ask]);
        }
        n += 1;
    }
    match n {
        0 => cant("it asked nobody for anything"),
        n => Ok(format!("{n} requests, each for what that peer lists")),
    }
}

/// What was asked for at once, out of names that nobody had seen before.
struct WatchedChoice<'a> {
    offer: &'a RecordedEvent,
    asked: Vec<&'a RecordedEvent>,
}

/// Every choice, up to the first answer. One of several requests doesn't count if more of them came only after that: of a
/// holder that was free, or while this machine stood still.
fn choices<'a>(run: &Run<'a>) -> Vec<WatchedChoice<'a>> {
    let mut choices: Vec<WatchedChoice> = Vec::new();
    let mut answered = false;
    for event in run.events {
        if event.what == OFFER {
            let asked = Vec::new();
            choices.push(WatchedChoice {
                offer: event,
                asked,
            });
            answered = false;
        }
        let Some(choice) = choices.last_mut() else {
            continue;
        };
        if !choice.offer.holders(&event.name).contains(&event.who) {
            continue;
        }
        match event.what {
            ASKED if !answered => choice.asked.push(event),
            ASKED if choice.is_cut_by(event) => choice.asked.clear(),
            GAVE => answered = true,
            _ => {}
        }
    }
    choices.retain(|choice| match choice.asked[..] {
        [] => false,
        [_] => true,
        [first, .., last] => {
            let until = last.at + UNDER_WAY;
            run.lasted(first.at, until) == until - first.at
        }
    });
    choices
}

impl<'a> WatchedChoice<'a> {
    /// Whether a request belongs to the choice, though it came after the first answer.
    fn is_cut_by(&self, ask: &RecordedEvent) -> bool {
        let last = self.asked.last().filter(|_| self.asked.len() > 1);
        let soon = last.is_some_and(|last| ask.at < last.at + UNDER_WAY);
        soon && self.asked.iter().all(|other| other.who != ask.who)
    }

    /// A request, and a rarer name that could have been asked for instead.
    fn rarer(&self) -> Option<(&'a RecordedEvent, &'a str)> {
        let copies = self.offer.copies();
        for ask in &self.asked {
            let mut rarer = copies
                .iter()
                .filter(|(_, n)| **n < copies[ask.name.as_str()]);
            let missed = rarer.find(|(name, _)| {
                let free = |who: &usize| {
                    *who == ask.who || self.asked.iter().all(|other| other.who != *who)
                };
                self.asked.iter().all(|other| other.name != **name)
                    && self.offer.holders(name).iter().any(free)
            });
            if let Some((name, _)) = missed {
                return Some((ask, name));
            }
        }
        None
    }
}

fn rarest_first(run: &Run) -> Verdict {
    let choices = choices(run);
    for choice in &choices {
        let Some((ask, rarer)) = choice.rarer() else {
            continue;
        };
        let copies = choice.offer.copies();
        let count = |name: &str| format!("{name} ({} copies)", copies[name]);
        let (asked, missed) = (count(&ask.name), count(rarer));
        let why = format!("asked for {asked} while {missed} was missing");
        return fails(why, &format!("a request for {rarer}"), &[choice.offer, ask]);
    }
    match choices.len() {
        0 => {
            understood(run, "to a peer", r#"{"filename": "1.txt"}"#)?;
            cant("it asked nobody for anything, see F4")
        }
        n if n < CHOICES => cant(format!("{n} choices, but {CHOICES} are needed")),
        n => Ok(format!("the rarest in each of {n} choices")),
    }
}

fn sends_pieces(run: &Run) -> Verdict {
    let done = run.first("complete").map_or(f64::MAX, |done| done.at);
    let is_small = |back: &&RecordedEvent| back.files.is_empty() && back.at < done;
    let backs: Vec<&RecordedEvent> = run.of(BACK).filter(is_small).collect();
    for back in &backs {
        if let Some(fault) = &back.fault {
            let why = format!("it doesn't send {}: {fault}", back.name);
            return fails(why, "the bytes of the file, then a close", &[back]);
        }
    }
    match backs.len() {
        0 => cant("it never listed a file that is known here"),
        n => Ok(format!("{n} files were asked for, and came")),
    }
}

fn three_minutes(run: &Run) -> Verdict {
    if understood(run, "list", "").is_err() {
        return cant("its lists aren't understood, see F2");
    }
    let most = THREE_MINUTES * run.plan.scale + tolerance(THREE_MINUTES * run.plan.scale);
    let (mut from, mut longest) = (run.began, 0.0);
    for at in run.of(LIST).map(|list| list.at).chain([run.ended]) {
        longest = run.lasted(from, at).max(longest);
        from = at;
    }
    match run.of(LIST).count() {
        _ if longest > most => {
            let why = format!("no list for {longest:.0} s");
            fails(why, &format!("a list within {most:.0} s"), &[])
        }
        0 => cant("no list came, but it was watched for less than three minutes"),
        n => Ok(format!("{n} lists, at most {longest:.1} s apart")),
    }
}

fn pings(run: &Run) -> Verdict {
    let (pings, every) = (run.of(PING).collect::<Vec<_>>(), run.plan.ping);
    if let Some(ended) = run.first("ended") {
        return fails("it ended".to_owned(), "pings until it is ended", &[ended]);
    }
    if pings.is_empty() {
        understood(run, "to the tracker", r#"{"port": 50001, "msg": "ping"}"#)?;
    }
    let middle = run.interval("ping", &pings, run.ended, every)?;
    match middle < every - tolerance(every) {
        true => fails(
            kept("ping", middle, every),
            "no more pings than these",
            &pings,
        ),
        false => Ok(kept("ping", middle, every)),
    }
}

fn lists(run: &Run) -> Verdict {
    let sample = r#"{"port": 50001, "files": ["1.txt"], "msg": "file_list"}"#;
    understood(run, "list", sample)?;
    let (lists, every) = (run.of(LIST).collect::<Vec<_>>(), run.plan.list);
    let middle = run.interval("list", &lists, run.ended, every)?;
    // a piece of a file of ours is listed otherwise
    let whole = |gave: &&RecordedEvent| gave.fault.is_none() && gave.name.ends_with(".txt");
    for gave in run.of(GAVE).filter(whole) {
        let due = every + tolerance(every) + UNDER_WAY;
        let lacks = |list: &&&RecordedEvent| !list.files.contains(&gave.name);
        let late = |list: &&&RecordedEvent| run.lasted(gave.at, list.at) > due;
        if let Some(list) = lists.iter().filter(late).find(lacks) {
            let why = format!("a list lacks {}, which it has", gave.name);
            return fails(why, "a list with it", &[gave, list]);
        }
    }
    Ok(kept("list", middle, every))
}

fn rounds(run: &Run) -> Verdict {
    if run.first(OFFER).is_none() {
        return cant("it had no list to choose from");
    }
    if let Err(No::Fails { .. }) = as_listed(run) {
        return cant("it asks for what isn't listed there, see C3");
    }
    let (choices, every) = (choices(run), run.plan.round);
    let asked: Vec<&RecordedEvent> = choices.iter().map(|choice| choice.asked[0]).collect();
    let end = run.first("download").or(run.first("complete"));
    let until = end.map_or(run.ended, |end| end.at);
    let middle = run.interval("request", &asked, until, every)?;
    if choices.len() < CHOICES {
        return cant(format!(
            "{} choices, but {CHOICES} are needed",
            choices.len()
        ));
    }
    // the place on the list of each holder that was asked, from either end
    let (mut firsts, mut lasts) = (BTreeSet::new(), BTreeSet::new());
    for choice in &choices {
        for ask in &choice.asked {
            let holders = choice.offer.holders(&ask.name);
            let place = holders.iter().position(|who| *who == ask.who);
            firsts.insert(place);
            lasts.insert(place.map(|place| holders.len() - place));
        }
    }
    if firsts.len() == 1 || lasts.len() == 1 {
        let why = "it asked the holder at the same place of the list each time".to_owned();
        return fails(why, "a holder at random", &asked);
    }
    Ok(kept("request", middle, every) + ", of holders at random")
}

fn complete(run: &Run) -> Verdict {
    let Some(done) = run.first("complete").filter(|done| !done.files.is_empty()) else {
        return cant("it never listed a file that is known here");
    };
    let after = |event: &&RecordedEvent| event.at > done.at;
    // a download that wasn't whole in the time may go on
    let late = |ask: &&RecordedEvent| ask.who < NEAR && run.lasted(done.at, ask.at) > UNDER_WAY;
    if let Some(ask) = run.of(ASKED).find(late) {
        let after = ask.at - done.at;
        let why = format!(
            "it asked for {} {after:.1} s after it had everything",
            ask.name
        );
        return fails(why, "no request", &[done, ask]);
    }
    if let Some(ended) = run.first("ended") {
        return fails("it ended".to_owned(), "a peer that goes on", &[done, ended]);
    }
    let watched = run.lasted(done.at, run.ended);
    if watched < 2.0 * run.plan.list + tolerance(run.plan.list) {
        return cant(format!("it was complete for {watched:.1} s only"));
    }
    if run.of(LIST).find(after).is_none() {
        let why = format!("no list in the {watched:.0} s in which it had everything");
        return fails(why, "lists as before", &[done]);
    }
    let served = |back: &&RecordedEvent| back.fault.is_none();
    let (before, later): (Vec<_>, Vec<_>) = run.of(BACK).partition(|back| back.at < done.at);
    let known = |name: &str| before.iter().any(|back| served(back) && back.name == name);
    let lost = |back: &&&RecordedEvent| !served(back) && known(&back.name);
    if let Some(back) = later.iter().find(lost) {
        let why = format!("it doesn't send {} any more", back.name);
        return fails(why, "a peer that serves on", &[done, back]);
    }
    match later.iter().any(served) {
        true => Ok(format!(
            "for {watched:.0} s it asked for nothing, listed and served"
        )),
        false => cant("it asked for nothing, and listed; that it serves wasn't seen, see C5"),
    }
}

/// Events about the pieces of a download.
fn about<'a>(run: &Run<'a>, what: &'a str, name: &str) -> Vec<&'a RecordedEvent> {
    run.of(what)
        .filter(|event| event.name.starts_with(name))
        .collect()
}

/// The whole file, where the peer was asked for it.
fn back<'a>(run: &Run<'a>, name: &str) -> Result<&'a RecordedEvent, No> {
    let back = run.of(BACK).find(|back| back.name == name);
    back.map_or_else(|| cant("the download wasn't whole in the time"), Ok)
}

fn torrent_first(run: &Run, name: &str) -> Verdict {
    let asks = about(run, ASKED, name);
    let Some(ask) = asks.first() else {
        return cant("it asked for no piece");
    };
    let mut torrents = run.of("came: for the .torrent of");
    match torrents.find(|torrent| torrent.name == name && torrent.at < ask.at) {
        Some(_) => Ok("the .torrent came before the first piece".to_owned()),
        None => fails(
            "a piece was asked for first".to_owned(),
            "the .torrent first",
            &[ask],
        ),
    }
}

fn shares(run: &Run, name: &str) -> Verdict {
    let gave = about(run, GAVE, name);
    let of = |who: usize| gave.iter().filter(|gave| gave.who == who).count();
    let [near, next, far] = [of(NEAR), of(NEAR + 1), of(NEAR + 2)];
    let told = format!("{near} pieces from the nearest, {next} from the next, {far} from the last");
    match near + next + far < SHARES {
        true => cant(told + ": too few to compare"),
        false if near > next && next >= far && near >= 2 * far => Ok(told),
        false => fails(told, "fewer from farther ones (0, 60 and 200 ms)", &[]),
    }
}

fn verified(run: &Run, name: &str) -> Verdict {
    let gave = about(run, GAVE, name);
    let bad = gave.iter().filter(|gave| gave.who == CORRUPT).count();
    if bad == 0 {
        return cant("no wrong piece was asked for");
    }
    let back = back(run, name)?;
    match &back.fault {
        None => Ok(format!("{bad} wrong pieces came, and the file is right")),
        Some(_) => fails(
            format!("{bad} wrong pieces came, and stay"),
            "the right MD5",
            &[back],
        ),
    }
}

fn goes_on(run: &Run, name: &str) -> Verdict {
    let Some(died) = run.first("a source went away") else {
        return cant("the source that was to go away wasn't asked often enough");
    };
    let asks = about(run, ASKED, name);
    // what was under way when it died may have been asked of two
    let mut had = BTreeSet::new();
    for gave in about(run, GAVE, name) {
        if gave.who != CORRUPT && gave.at + UNDER_WAY < died.at {
            had.insert(&gave.name);
        }
    }
    let later = |ask: &&&RecordedEvent| ask.at > died.at && had.contains(&ask.name);
    if let Some(ask) = asks.iter().find(later) {
        let why = format!("{} was there already", ask.name);
        return fails(why, "what is missing", &[died, ask]);
    }
    let end = run.first("complete").map_or(run.ended, |done| done.at);
    let last = asks.iter().rfind(|ask| ask.at < end);
    let whole = back(run, name);
    if let Some(last) = last.filter(|last| whole.is_err() && end - last.at > GIVES_UP) {
        let why = "nothing more was asked for".to_owned();
        return fails(why, "requests to others", &[died, last]);
    }
    whole?;
    Ok("a source went away, and others gave the rest".to_owned())
}

fn served_on(run: &Run, name: &str) -> Verdict {
    let backs = about(run, BACK, name);
    let Some(back) = backs.iter().find(|back| back.name != name) else {
        return cant("the download didn't get so far");
    };
    match &back.fault {
        None => Ok(format!(
            "{} was handed on in the middle of the download",
            back.name
        )),
        Some(_) => fails(
            format!("{} isn't handed on", back.name),
            "the piece",
            &[back],
        ),
    }
}
