//! The judges on records that were written by hand.

use std::collections::BTreeMap;

use crate::judge_peer::judge;
use crate::record::{Plan, RecordedEvent, event};
use crate::report::{in_short, rows};
use crate::scene::CHOICES;
use crate::verdict::Run;

fn at(at: f64, mut event: RecordedEvent) -> RecordedEvent {
    event.at = at;
    event
}

/// A list with a.txt at peers 1 to 2, b.txt at 1 to 3 and so on.
fn offer(time: f64) -> RecordedEvent {
    let mut lists: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (idx, name) in ["a.txt", "b.txt", "c.txt", "d.txt"].iter().enumerate() {
        for who in 1..=idx + 2 {
            lists.entry(who).or_default().push((*name).to_owned());
        }
    }
    at(time, event("sent: the list with", 0, "").lists(lists))
}

/// A record in which each list is answered with these requests at once.
fn chosen(asked: &[(usize, &str)], more: &[RecordedEvent]) -> Vec<RecordedEvent> {
    let mut events = Vec::new();
    for nth in 0..CHOICES {
        let time = 30.0 * nth as f64;
        events.push(offer(time));
        let asks = asked.iter();
        events.extend(
            asks.map(|(who, name)| at(time + 1.0, event("came: a request for", *who, name))),
        );
        let (who, name) = asked[0];
        events.push(at(time + 1.3, event("sent: all of", who, name)));
        // what is asked for once a place is free is no choice
        events.push(at(time + 1.4, event("came: a request for", who, "d.txt")));
    }
    events.extend_from_slice(more);
    events.sort_by(|one, other| one.at.total_cmp(&other.at));
    events
}

fn word(row: &str, events: &[RecordedEvent]) -> &'static str {
    let run = Run::new(events, Plan::new(1.0, None));
    in_short(&run.doubted(row, judge(row, &run))).0
}

#[test]
fn c4_is_judged_by_what_could_have_been_asked_for() {
    let late = at(31.4, event("came: a request for", 5, "d.txt"));
    let stall = at(61.2, event("stood still", 0, "0.5"));
    for (asked, more, expected) in [
        (&[(1, "a.txt")][..], None, "holds"),
        (&[(2, "b.txt")], None, "fails"),
        (&[(5, "d.txt")], None, "fails"),
        // several at once: the rarest of what whoever is free has
        (&[(1, "a.txt"), (2, "b.txt"), (3, "c.txt")], None, "holds"),
        (&[(1, "b.txt"), (2, "a.txt")], None, "holds"),
        (&[(5, "d.txt"), (4, "c.txt")], None, "fails"),
        (&[(5, "d.txt"), (1, "c.txt")], None, "fails"),
        // the request of a free peer comes too late to be among them
        (&[(1, "a.txt"), (2, "b.txt")], Some(late), "can't tell"),
        // one of six choices isn't one
        (&[(1, "a.txt"), (2, "b.txt")], Some(stall), "can't tell"),
    ] {
        let events = chosen(asked, &Vec::from_iter(more));
        assert_eq!(word("C4", &events), expected, "{asked:?}");
    }
}

#[test]
fn f4_fails_for_the_same_place_only() {
    assert_eq!(
        word("F4", &chosen(&[(1, "a.txt")], &[])),
        "fails",
        "the first"
    );
    assert_eq!(
        word("F4", &chosen(&[(2, "a.txt")], &[])),
        "fails",
        "the last"
    );
    let both = [(1, "a.txt"), (2, "a.txt"), (2, "b.txt")];
    assert_eq!(word("F4", &chosen(&both, &[])), "holds");
}

#[test]
fn an_interval_is_the_middle_one_of_several() {
    let pings = |times: &[f64]| -> Vec<RecordedEvent> {
        times
            .iter()
            .map(|time| at(*time, event("came: a ping", 0, "")))
            .collect()
    };
    for (times, expected) in [
        (&[0.0, 10.0, 20.0, 30.0, 40.0][..], "holds"),
        (&[0.0, 12.0, 21.0, 33.0, 40.0], "holds"),
        (&[0.0, 15.0, 30.0, 45.0, 60.0], "fails"),
        (&[0.0, 5.0, 10.0, 15.0, 20.0], "fails"),
        (&[0.0, 10.0, 20.0, 30.0, 60.0], "fails"),
        (&[0.0, 10.0, 20.0], "can't tell"),
    ] {
        assert_eq!(word("F1", &pings(times)), expected, "{times:?}");
    }
    let mut late = pings(&[0.0, 10.0, 20.0, 30.0, 60.0]);
    late.insert(4, at(55.0, event("stood still", 0, "25")));
    assert_eq!(
        word("F1", &late),
        "holds",
        "the machine was late, not the program"
    );
    let mut rare = pings(&[0.0, 25.0, 50.0, 75.0, 100.0]);
    rare.push(at(100.0, event("stood still", 0, "0.5")));
    assert_eq!(word("F1", &rare), "fails", "it explains nothing");
    rare.push(at(101.0, event("stood still", 0, "2")));
    assert_eq!(word("F1", &rare), "can't tell");
}

#[test]
fn every_row_is_worded_in_both_languages() {
    assert_eq!(rows().len(), 24);
    let empty = Run::new(&[], Plan::new(1.0, None));
    for row in rows().iter().filter(|row| row.is_judged("peer")) {
        // nothing was seen, so nothing holds
        assert_ne!(in_short(&judge(row.id, &empty)).0, "holds", "{}", row.id);
    }
}
