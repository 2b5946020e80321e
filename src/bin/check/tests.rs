//! The judges on records that were written by hand.

use crate::judge_peer::{BECAUSE, JUDGES};
use crate::record::{Holdings, RecordedEvent, event};
use crate::report::{in_short, rows};
use crate::scene::{ASKED, CHOICES, GAVE, ODD, OFFER, PING};
use crate::verdict::{Run, of_rows};

fn at(at: f64, mut event: RecordedEvent) -> RecordedEvent {
    event.at = at;
    event
}

/// A list with a0.txt at peers 1 to 2, b0.txt at 1 to 3 and so on.
fn offer(nth: usize) -> Holdings {
    let files = |who: usize| {
        let mut files = vec!["a", "b", "c", "d"];
        files.retain(|file| who <= usize::from(file.as_bytes()[0] - b'a') + 2);
        files
            .iter()
            .map(|file| format!("{file}{nth}.txt"))
            .collect()
    };
    (1..=5).map(|who| (who, files(who))).collect()
}

/// A record in which each list is answered with these requests.
fn chosen(asked: &[(usize, &str)]) -> Vec<RecordedEvent> {
    let mut events = Vec::new();
    for nth in 0..=CHOICES {
        let time = 30.0 * nth as f64;
        events.push(at(time, event(OFFER, 0, "").lists(offer(nth))));
        for (who, kind) in asked {
            let name = format!("{kind}{nth}.txt");
            events.push(at(time + 1.0, event(ASKED, *who, &name)));
            events.push(at(time + 1.2, event(GAVE, *who, &name)));
        }
    }
    events
}

fn word(row: &str, events: &[RecordedEvent], late: &[f64]) -> &'static str {
    let run = Run::new(events, late.to_vec(), 1.0);
    in_short(&of_rows(&run, &JUDGES, &BECAUSE)[row]).0
}

#[test]
fn c4_is_judged_by_the_first_request_for_each_choice() {
    for (asked, expected) in [
        (&[(1, "a")][..], "holds"),
        (&[(2, "b")], "fails"),
        (&[(5, "d")], "fails"),
        (&[(1, "a"), (5, "d")], "holds"),
        (&[(5, "d"), (1, "a")], "fails"),
        (&[], "can't tell"),
    ] {
        assert_eq!(word("C4", &chosen(asked), &[]), expected, "{asked:?}");
    }
}

#[test]
fn f4_fails_for_the_same_place_only() {
    for (asked, expected) in [
        (&[(1, "a")][..], "fails"),
        (&[(2, "a")], "fails"),
        (&[(1, "a"), (2, "a"), (2, "b")], "holds"),
    ] {
        let mut events = chosen(asked);
        let pings = (0..20).map(|nth| at(10.0 * f64::from(nth), event(PING, 1, "127.0.0.1")));
        events.extend(pings);
        events.sort_by(|one, other| one.at.total_cmp(&other.at));
        assert_eq!(word("F4", &events, &[]), expected, "{asked:?}");
    }
}

#[test]
fn an_interval_is_the_middle_one_of_several() {
    for (times, late, expected) in [
        (&[0.0, 10.0, 20.0, 30.0, 40.0][..], &[][..], "holds"),
        (&[0.0, 12.0, 21.0, 33.0, 40.0], &[], "holds"),
        (&[0.0, 15.0, 30.0, 45.0, 60.0], &[], "fails"),
        (&[0.0, 5.0, 10.0, 15.0, 20.0], &[], "fails"),
        (&[0.0, 10.0, 20.0, 30.0, 60.0], &[], "fails"),
        (&[0.0, 10.0, 20.0], &[], "can't tell"),
        // this machine may have been so late itself: once, or mostly
        (&[0.0, 10.0, 20.0, 30.0, 60.0], &[0.0, 0.0, 2.5], "holds"),
        (&[0.0, 15.0, 30.0, 45.0, 60.0], &[0.0, 0.0, 2.5], "fails"),
        (&[0.0, 13.0, 26.0, 39.0, 52.0], &[0.3, 0.3, 0.3], "holds"),
    ] {
        let pings = times
            .iter()
            .map(|time| at(*time, event(PING, 1, "127.0.0.1")));
        let pings: Vec<RecordedEvent> = pings.collect();
        assert_eq!(word("F1", &pings, late), expected, "{times:?} {late:?}");
    }
}

#[test]
fn a_message_that_isnt_understood_is_told() {
    let odd = event(ODD, 0, "ping").fault(Some("msg is \"pingg\"".to_owned()));
    let run = [at(1.0, odd)];
    let run = Run::new(&run, Vec::new(), 1.0);
    let verdicts = of_rows(&run, &JUDGES, &BECAUSE);
    assert!(
        in_short(&verdicts["F1"]).1.contains("pingg"),
        "{verdicts:?}"
    );
}

#[test]
fn every_row_has_its_words_and_its_judge() {
    assert_eq!(rows().len(), 24);
    for (kind, judges) in [
        ("peer", &JUDGES[..]),
        ("tracker", &crate::judge_tracker::JUDGES),
    ] {
        let empty = Run::new(&[], Vec::new(), 1.0);
        let verdicts = of_rows(&empty, judges, &[]);
        let judged = rows().into_iter().filter(|row| row.is_judged(kind));
        assert!(
            judged.map(|row| row.id).eq(verdicts.keys().copied()),
            "{kind}"
        );
        // nothing was seen, so nothing holds
        for (row, verdict) in verdicts {
            assert!(row == "F6" || in_short(&verdict).0 != "holds", "{row}");
        }
    }
}
