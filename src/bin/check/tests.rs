//! What is said of rows, by runs that are made up.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::peer::swarm::{CHOICES, Swarm};
use crate::record::{begin, judge_beat, judged, note_at, was_late};
use crate::rows::{CourseRow, rows};

/// A process has one record: each test begins it anew, and has it for itself.
fn anew() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    begin(1.0, None);
    alone
}

fn said(id: &str, kind: &str) -> CourseRow {
    let mut found = rows();
    found.retain(|row| row.id == id && row.shows_on == kind);
    judged(found.remove(0))
}

fn word(id: &str) -> &'static str {
    said(id, "peer").word
}

/// A swarm in which each choice has a0.txt at peers 1 to 2, b0.txt at 1 to 3 and so on, and gets these requests.
fn chosen(asked: &[(usize, &str)]) {
    let mut swarm = Swarm::default();
    for nth in 0..CHOICES {
        let kinds = ["a", "b", "c", "d"].into_iter().enumerate();
        let files =
            kinds.map(|(more, kind)| (format!("{kind}{nth}.txt"), (1..=2 + more).collect()));
        swarm.list_now("files to choose from", files.collect());
        for (who, kind) in asked {
            swarm.asked(*who, &format!("{kind}{nth}.txt"));
        }
    }
    swarm.conclude();
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
        let _alone = anew();
        chosen(asked);
        assert_eq!(word("C4"), expected, "{asked:?}");
    }
}

#[test]
fn f4_fails_for_the_same_place_only() {
    for (asked, expected) in [
        (&[(1, "a")][..], "fails"),
        (&[(2, "a")], "fails"),
        (&[(1, "a"), (2, "a"), (2, "b")], "holds"),
    ] {
        let _alone = anew();
        chosen(asked);
        assert_eq!(word("F4"), expected, "{asked:?}");
    }
}

#[test]
fn a_file_that_a_peer_doesnt_list_is_c3() {
    let _alone = anew();
    chosen(&[(3, "a")]);
    assert_eq!(
        [word("C3"), word("C4"), word("F4")],
        ["fails", "can't tell", "can't tell"]
    );
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
        (
            &[0.0, 10.0, 20.0, 30.0, 60.0],
            &[0.0, 0.0, 2.5],
            "can't tell",
        ),
        (&[0.0, 15.0, 30.0, 45.0, 60.0], &[0.0, 0.0, 1.0], "fails"),
        (&[0.0, 13.0, 26.0, 39.0, 52.0], &[0.3, 0.3, 0.3], "holds"),
    ] {
        let _alone = anew();
        // 25 count as one
        for late in late {
            (0..25).for_each(|_| was_late(*late));
        }
        for at in times {
            note_at(*at, "ping from somebody".to_owned());
        }
        judge_beat("F1", "ping", 10.0, times[times.len() - 1]);
        assert_eq!(word("F1"), expected, "{late:?}");
    }
}

#[test]
fn a_message_that_isnt_understood_is_told() {
    let _alone = anew();
    let mut swarm = Swarm::default();
    swarm.odd("F1", "ping", &std::io::Error::other("msg is \"pingg\""));
    swarm.conclude();
    let why = said("F1", "peer").why;
    assert!(why.contains("pingg"), "{why}");
}

#[test]
fn every_row_has_its_words_and_holds_only_if_something_was_seen() {
    let _alone = anew();
    let mut ids: Vec<&str> = rows().iter().map(|row| row.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 24);
    for (kind, n) in [("peer", 15), ("tracker", 10)] {
        let mut found = rows();
        found.retain(|row| row.shows_on == kind);
        assert_eq!(found.len(), n);
        for row in found.into_iter().map(judged) {
            assert!(row.word != "holds" && !row.untold.is_empty(), "{}", row.id);
            assert!(row.causes.iter().all(|id| ids.contains(id)), "{}", row.id);
        }
    }
}
