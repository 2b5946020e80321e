//! The rows that show on a peer, each judged by the record of one run.

use std::collections::BTreeSet;

use bittorrentish::units::plural;

use crate::record::{ENDED, RecordedEvent};
use crate::scene::*;
use crate::verdict::*;

/// What a program may take to start, seconds.
const START: f64 = 3.0;
/// Of C6, seconds.
const THREE_MINUTES: f64 = 180.0;
/// What is given so shortly before a source dies may be asked for again; and whoever asks for nothing for so long has given
/// up. In real seconds.
const UNDER_WAY: f64 = 1.0;
const GIVES_UP: f64 = 5.0;
/// Being so late is as if a peer was as far away, in real seconds.
const LATE: f64 = 0.05;
/// So many small files are asked for while it meets the peers.
const MEETS: usize = 8;

pub const JUDGES: [RowJudge; 15] = [
    ("C1", large_file),
    ("C2", first_contact),
    ("C3", as_listed),
    ("C4", rarest_first),
    ("C5", sends_pieces),
    ("C6", three_minutes),
    ("F1", pings),
    ("F2", lists),
    ("F4", rounds),
    ("F5", complete),
    ("P2", torrent_first),
    ("P3", shares),
    ("P4", verified),
    ("P5", goes_on),
    ("P6", handed_on),
];
/// A row that fails isn't blamed where one of these fails, which explains it.
pub const BECAUSE: [RowCauses; 6] = [
    ("C1", &["C3", "C5"]),
    ("C2", &["F1"]),
    ("C4", &["C3"]),
    ("F2", &["F1"]),
    ("F4", &["C3", "F1"]),
    ("F5", &["C5", "F1"]),
];

fn large_file(run: &Run) -> Verdict {
    let back = run.about(BACK, LARGE);
    let all = [run.about(GAVE, LARGE), back.clone()].concat();
    never(all.into_iter().filter(is_bad))?;
    needs(
        !back.is_empty(),
        "no large file was asked for, or none was listed then",
    )?;
    holds("a large file came whole, and is handed on")
}

fn first_contact(run: &Run) -> Verdict {
    let latest = run.began + 1.5 * PING_EVERY + START + run.grace(PING_EVERY)?;
    let mut pings = run.of(PING).chain(run.of(ODD));
    let ping = pings.next();
    let wrong = ping.into_iter().filter(|ping| ping.at > latest);
    let why = "no ping for {after}";
    never_so(wrong, run.events.first(), why)?;
    needs(ping.is_some(), "no ping came")?;
    holds("it asked for the list at the start")
}

fn as_listed(run: &Run) -> Verdict {
    let asks = run.of(ASKED).filter(|ask| ask.who < NEAR);
    let unlisted = |ask: &&RecordedEvent| {
        let mut offers = run.of(OFFER).chain(run.of(COMPLETE));
        !offers.any(|offer| offer.at < ask.at && offer.holders(&ask.name).contains(&ask.who))
    };
    let wrong = asks.clone().filter(unlisted);
    let why = "peer {who} doesn't list {name}";
    never_so(wrong, None, why)?;
    let short = asks.clone().filter(|ask| ask.name.starts_with(SHORT));
    let most = run.of(SENT).max_by_key(|sent| sent.who);
    let why = "it asks for what comes in a short list, and for nothing in a long one: does it read with one recv()?";
    never_so(short.filter(|_| choices(run).is_empty()), most, why)?;
    needs(asks.clone().count() > 0, "it asked nobody for anything")?;
    let n = plural(asks.count(), "request");
    holds(format!("{n}, for what that peer lists"))
}

/// The first request of each choice.
fn choices<'a>(run: &Run<'a>) -> Vec<(&'a RecordedEvent, &'a RecordedEvent)> {
    let first = |offer: &'a RecordedEvent| {
        let copies = offer.copies();
        let kinds = copies.values().collect::<BTreeSet<_>>().len();
        let ask = run
            .of(ASKED)
            .find(|ask| copies.contains_key(ask.name.as_str()));
        Some((offer, ask?)).filter(|_| kinds > 1)
    };
    run.of(OFFER).filter_map(first).collect()
}

fn enough(run: &Run, n: usize) -> Result<(), No> {
    let odd = run.about(ODD, "request").into_iter();
    never(odd.filter(|_| n < CHOICES))?;
    let told = plural(n, "choice");
    needs(n >= CHOICES, format!("{told}, and {CHOICES} are needed"))
}

fn rarest_first(run: &Run) -> Verdict {
    let choices = choices(run);
    for (offer, ask) in &choices {
        let copies = offer.copies();
        let rarest = copies.iter().min_by_key(|(_, n)| **n);
        let n = copies[ask.name.as_str()];
        if let Some((rarer, least)) = rarest.filter(|(_, least)| **least < n) {
            let why =
                format!("asked for {{name}} ({n} copies) while {rarer} ({least}) was missing");
            never_so([*ask].into_iter(), Some(offer), &why)?;
        }
    }
    enough(run, choices.len())?;
    holds(format!("the rarest in each of {} choices", choices.len()))
}

fn sends_pieces(run: &Run) -> Verdict {
    let mut names = BTreeSet::new();
    let mut backs: Vec<_> = run
        .of(BACK)
        .filter(|back| names.insert(&back.name))
        .collect();
    backs.retain(|back| ![LARGE, FILM].iter().any(|kind| back.name.starts_with(kind)));
    never(backs.iter().copied().filter(is_bad))?;
    needs(
        !backs.is_empty(),
        "it never listed a file that is known here",
    )?;
    let n = plural(backs.len(), "file");
    holds(format!("{n} came that it was asked for"))
}

fn three_minutes(run: &Run) -> Verdict {
    let most = THREE_MINUTES + run.grace(THREE_MINUTES)?;
    let mut last = run.events.first();
    for event in run.of(LIST).chain(run.events.last()) {
        never_so(
            [event]
                .into_iter()
                .filter(|event| last.is_some_and(|last| event.at > last.at + most)),
            last,
            "no list for {after}",
        )?;
        last = Some(event);
    }
    needs(
        run.first(LIST).is_some(),
        "no list came, but it was watched for less than three minutes",
    )?;
    holds(plural(run.of(LIST).count(), "list"))
}

fn pings(run: &Run) -> Verdict {
    never(run.of(ENDED))?;
    let pings: Vec<_> = run.of(PING).collect();
    match run.interval("ping", &pings, PING_EVERY, &run.about(ODD, "ping"))? {
        (told, true) => fails(told, &pings),
        (told, false) => holds(told),
    }
}

fn lists(run: &Run) -> Verdict {
    let lists: Vec<_> = run.of(LIST).collect();
    let (told, _) = run.interval("list", &lists, LIST_EVERY, &run.about(ODD, "list"))?;
    let has = |list: &RecordedEvent, name: &str| list.files().iter().any(|file| file == name);
    let planted = lists.iter().any(|list| has(list, PLANTED));
    let why =
        "no list has planted.txt, which is in its folder: is it another folder, see --folder?";
    never_so(
        run.of(STARTED).filter(|_| !planted),
        lists.last().copied(),
        why,
    )?;
    // a piece of a file of ours is listed otherwise
    for gave in run
        .of(GAVE)
        .filter(|gave| gave.fault.is_none() && gave.name.ends_with(".txt"))
    {
        let due = gave.at + LIST_EVERY + run.grace(LIST_EVERY)?;
        let lacks = |list: &&RecordedEvent| list.at > due && !has(list, &gave.name);
        let wrong = lists.iter().copied().filter(lacks);
        let why = "a list lacks what it was given {after} before";
        never_so(wrong, Some(gave), why)?;
    }
    holds(told)
}

fn rounds(run: &Run) -> Verdict {
    let choices = choices(run);
    let asked: Vec<&RecordedEvent> = choices.iter().map(|(_, ask)| *ask).collect();
    let end = run.first(DOWNLOAD).or(run.first(COMPLETE));
    let until = run.until(end.map_or(run.ended, |end| end.at));
    let (told, _) = until.interval("request", &asked, ROUND_EVERY, &run.about(ODD, "request"))?;
    enough(run, choices.len())?;
    // the place on the list of each holder that was asked, from either end
    let (mut firsts, mut lasts) = (BTreeSet::new(), BTreeSet::new());
    for ask in run.of(ASKED) {
        let mut offers = choices.iter().map(|(offer, _)| offer.holders(&ask.name));
        let holders = offers
            .find(|holders| holders.contains(&ask.who))
            .unwrap_or_default();
        if let Some(place) = holders.iter().position(|who| *who == ask.who) {
            firsts.insert(place);
            lasts.insert(holders.len() - place);
        }
    }
    match firsts.len().min(lasts.len()) {
        1 => fails(
            "it asked the holder at the same place of the list each time",
            &asked,
        ),
        _ => holds(told + ", of holders at random"),
    }
}

fn complete(run: &Run) -> Verdict {
    let done = run.first(COMPLETE).filter(|done| !done.copies().is_empty());
    let at = done.map_or(run.ended, |done| done.at);
    needs(done.is_some(), "it never listed a file that is known here")?;
    never_so(run.of(ENDED), done, "")?;
    // a list that it had before may count for a while
    let after = at + PING_EVERY + run.grace(PING_EVERY)?;
    let wrong = run.of(ASKED).filter(|ask| ask.who < NEAR && ask.at > after);
    let why = "it asked for {name} {after} after it had everything";
    never_so(wrong, done, why)?;
    needs(
        run.ended - at > WATCHED - PING_EVERY,
        "it wasn't watched for so long",
    )?;
    let lists = run.of(LIST).any(|list| list.at > at);
    let wrong = done.into_iter().filter(|_| !lists);
    let why = "no list comes since it has everything";
    never_so(wrong, None, why)?;
    let (before, later): (Vec<_>, Vec<_>) = run.of(BACK).partition(|back| back.at < at);
    let had = |back: &&&RecordedEvent| {
        before
            .iter()
            .any(|had| !is_bad(had) && had.name == back.name)
    };
    never_so(later.iter().filter(had).copied().filter(is_bad), done, "")?;
    needs(
        later.iter().any(|back| !is_bad(back)),
        "that it serves wasn't seen, see C5",
    )?;
    holds(format!(
        "for {:.0} s it asked for nothing, listed and served",
        run.ended - at
    ))
}

/// Can't tell, unless there was a download.
fn download(run: &Run) -> Result<(), No> {
    match run.first(OURS) {
        None => Err(No::NotSpoken),
        Some(_) => needs(run.first(DOWNLOAD).is_some(), "there was no download"),
    }
}

/// What the peer was asked for of the film: the whole of it, or pieces before.
fn film<'a>(run: &Run<'a>, whole: bool) -> Vec<&'a RecordedEvent> {
    let mut backs = run.about(BACK, FILM);
    backs.retain(|back| back.name.ends_with(".bin") == whole);
    backs
}

fn torrent_first(run: &Run) -> Verdict {
    download(run)?;
    let (asks, torrents) = (run.about(ASKED, FILM), run.about(TORRENT, FILM));
    needs(!asks.is_empty(), "it asked for no piece")?;
    let early = |ask: &&&RecordedEvent| torrents.first().is_none_or(|torrent| ask.at < torrent.at);
    let wrong = asks.iter().filter(early).copied();
    let why = "{name} was asked for before the .torrent came";
    never_so(wrong, None, why)?;
    holds("the .torrent came before the first piece was asked for")
}

fn shares(run: &Run) -> Verdict {
    download(run)?;
    // the first ones are asked for before it has met everybody
    let asks = run.about(ASKED, SMALL);
    let asks = &asks[asks.len().min(MEETS)..];
    let from = |away| asks.iter().filter(|ask| ask.who == NEAR + away).count();
    let [near, next, last] = [0, 1, 2].map(from);
    let told = format!(
        "{near} files from the nearest peer, {next} and {last} from those 60 and 200 ms away"
    );
    needs(asks.len() >= MEETS, told.clone() + ": too few to compare")?;
    // what is measured on a machine that is late itself isn't how far away a peer is
    let is_far = near >= 2 * (next + last);
    needs(
        is_far || !run.is_late(LATE),
        told.clone() + "; but this machine was late",
    )?;
    match is_far {
        true => holds(told),
        false => fails(told, asks),
    }
}

fn verified(run: &Run) -> Verdict {
    download(run)?;
    let mut corrupt = run.about(GAVE, FILM);
    corrupt.retain(|gave| gave.who == CORRUPT);
    needs(!corrupt.is_empty(), "no wrong piece was asked for")?;
    let whole = film(run, true);
    never_so(whole.iter().copied().filter(is_bad), Some(corrupt[0]), "")?;
    needs(!whole.is_empty(), "the film wasn't whole in the time")?;
    let n = plural(corrupt.len(), "wrong piece");
    holds(format!("{n} came, and the file is right"))
}

fn goes_on(run: &Run) -> Verdict {
    download(run)?;
    let died = run.first(DIED);
    let at = died.map_or(run.ended, |died| died.at);
    needs(
        died.is_some(),
        "the source that was to go away wasn't asked often enough",
    )?;
    let had = run
        .of(GAVE)
        .filter(|gave| gave.who != CORRUPT && gave.at + run.real(UNDER_WAY) < at);
    let had: BTreeSet<&str> = had.map(|gave| gave.name.as_str()).collect();
    let asks = run.about(ASKED, FILM);
    let again = |ask: &&RecordedEvent| ask.at > at && had.contains(ask.name.as_str());
    let wrong = asks.iter().copied().filter(again);
    let why = "{name} was there already";
    never_so(wrong, died, why)?;
    let end = run.first(COMPLETE).map_or(run.ended, |done| done.at);
    let last = asks.iter().rfind(|ask| ask.at < end).copied();
    let whole = !film(run, true).is_empty();
    let gave_up = last.filter(|last| !whole && end - last.at > run.real(GIVES_UP));
    let why = "nothing was asked for after {name}";
    never_so(gave_up.into_iter(), died, why)?;
    needs(whole, "the film wasn't whole in the time")?;
    holds("a source went away, and others gave the rest")
}

fn handed_on(run: &Run) -> Verdict {
    download(run)?;
    never(film(run, false).into_iter().filter(is_bad))?;
    needs(
        !film(run, false).is_empty(),
        "the download didn't get so far",
    )?;
    holds("a piece was handed on in the middle of the download")
}
