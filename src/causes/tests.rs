//! Every cause with its text. How a cause is found is tested where it is made: `client::errors`, `state::waits`,
//! `protocol::wrong_field`; and `tests/it/causes.rs` runs the real programs into most of them.

use serde_json::json;

use super::*;
use crate::md5::digest;
use crate::torrent::Name;

fn said(text: &str) -> String {
    text.to_owned()
}

#[test]
fn each_reason_for_no_list_says_what_is_and_what_to_do() {
    for (cause, text) in [
        (
            NoList::NoAddress {
                said: said("unknown"),
            },
            "its name can't be resolved, or not yet (unknown): check the spelling, or give its address",
        ),
        (
            NoList::NobodyListens,
            "nothing listens at that port: start `server`, or compare address and port with the command that it prints",
        ),
        (
            NoList::NoRoute {
                said: said("No route to host"),
            },
            "no way leads there (No route to host): check the address, and whether both machines are in one network",
        ),
        (
            NoList::NoScope,
            "an address that begins with fe80 needs its interface behind it, as in fe80::1%eth0",
        ),
        (
            NoList::NoReply,
            "nothing comes back from that address: it is wrong, the machine is off, or a firewall drops what goes to that port",
        ),
        (
            NoList::Silent,
            "it takes the connection, and no whole answer comes in time: it hangs, the network is slow or loses large packets, or this isn't the tracker's port",
        ),
        (
            NoList::Closed,
            "it closes the connection without an answer: is this the tracker's port, and not that of its page, of a peer or of \
             another program?",
        ),
        (
            NoList::NotATracker {
                sends: said("HTTP/1.1 400 Bad Request"),
            },
            "no tracker answers there, but a web server: give the port that `server` prints",
        ),
        (
            NoList::BadAnswer {
                what: NotUnderstood::TooLong { most: 8 },
            },
            "its answer isn't understood: a message of over 8 bytes",
        ),
        (
            NoList::Refused { said: said("no") },
            "it refuses this peer: no",
        ),
        (NoList::Failed { said: said("odd") }, "odd"),
    ] {
        assert_eq!(cause.to_string(), text);
    }
}

#[test]
fn each_reason_for_a_lost_peer_says_what_is_known() {
    for (cause, text) in [
        (
            Lost::NobodyListens,
            "nothing listens at its port: its program has ended, and the tracker forgets it soon; or a firewall or a NAT in between refuses",
        ),
        (
            Lost::NoRoute {
                said: said("No route to host"),
            },
            "no way leads there (No route to host): it is off, in another network, or kept apart by its Wi-Fi",
        ),
        (
            Lost::NoReply,
            "nothing comes back from that address: it is off, a firewall drops what goes to its port, or a Wi-Fi keeps its clients apart",
        ),
        (
            Lost::BrokeOff,
            "the connection broke off: its program was ended, or its machine",
        ),
        (
            Lost::ClosedEarly,
            "it closed the connection in the middle of an answer",
        ),
        (
            Lost::Late {
                said: said("nothing came in time"),
            },
            "nothing came in time: it hangs, or the network between has failed or loses large packets (is an MTU too large?)",
        ),
        (
            Lost::Refused { said: said("no") },
            "it takes no requests: no",
        ),
        (
            Lost::BadMessage {
                what: NotUnderstood::TooManyValues { most: 8 },
            },
            "its message isn't understood: a message of over 8 values",
        ),
        (
            Lost::Misfit {
                how: said("a second hello"),
            },
            "the answer doesn't fit: a second hello",
        ),
        (Lost::BadPiece { idx: 7 }, "it sent piece 7 wrong"),
        (
            Lost::BadPieces,
            "it sent too many bad pieces, and is left alone",
        ),
        (Lost::Failed { said: said("odd") }, "odd"),
    ] {
        assert_eq!(cause.to_string(), text);
    }
}

#[test]
fn each_reason_to_wait_names_who_or_what_is_waited_for() {
    let (here, swarm) = (digest(b"here"), digest(b"swarm"));
    let name = Name::parse("f 1").expect("a name");
    let peer = ([10, 0, 0, 2], 1).into();
    for (cause, text) in [
        (
            Waits::NoTracker { no_list: None },
            said("for the tracker's first answer"),
        ),
        (
            Waits::NoTracker {
                no_list: Some(NoList::Refused { said: said("no") }),
            },
            said("no list from the tracker so far: it refuses this peer: no"),
        ),
        (
            Waits::TrackerGone {
                no_list: NoList::Refused { said: said("no") },
            },
            said("the tracker's last list didn't have it; no list now: it refuses this peer: no"),
        ),
        (Waits::NotListed { near: None }, said("nobody lists it")),
        (
            Waits::NotListed {
                near: Some(said("g")),
            },
            said("nobody lists it: did you mean g?"),
        ),
        (
            Waits::HashedElsewhere {
                by: said("10.0.0.2:1"),
                percent: 25,
            },
            said("10.0.0.2:1 is hashing it, 25 %"),
        ),
        (
            Waits::OtherThanPinned {
                swarm,
                publisher: said("10.0.0.2:1"),
            },
            format!(
                "the swarm's has MD5 {swarm}, published by 10.0.0.2:1; --md5 asks for another, which nobody publishes"
            ),
        ),
        (
            Waits::Unconfirmed { name, md5: here },
            format!(
                "it is here with MD5 {here}, but the machine that published it isn't here, and may have a newer version; to take \
                 this one as it is, name it with --only 'f 1' --md5 {here}"
            ),
        ),
        (
            Waits::OtherContent { here, swarm },
            format!("here it has MD5 {here}, in the swarm MD5 {swarm}"),
        ),
        (
            Waits::NoGoodCopy {
                idx: 7,
                tried: vec![peer],
            },
            said("nobody has a correct copy of piece 7; tried 10.0.0.2:1"),
        ),
        (
            Waits::NoSource { n_missing: 1 },
            said(
                "nobody is here who has any of it, and 1 piece is missing: start a peer that has it",
            ),
        ),
        (
            Waits::SourcesGone {
                n_missing: 2,
                most_from: peer,
            },
            said(
                "whoever had it has left, and 2 pieces are missing: start one of them again, such as 10.0.0.2:1",
            ),
        ),
        (
            Waits::Nowhere {
                n: 3,
                first: vec![7, 9],
                of_sample: false,
            },
            said("nobody has 3 of the missing pieces (7, 9, …)"),
        ),
        (
            Waits::Nowhere {
                n: 1,
                first: vec![7],
                of_sample: true,
            },
            said("nobody known here has 1 of the missing pieces (7)"),
        ),
        (
            Waits::NotConnected { n_holders: 2 },
            said("no connection so far to the 2 peers with pieces of it"),
        ),
        (
            Waits::SourcesFail {
                n_holders: 2,
                peer,
                lost: Lost::Refused { said: said("no") },
            },
            said(
                "the 2 peers with pieces of it can't be taken from; 10.0.0.2:1: it takes no requests: no",
            ),
        ),
        (
            Waits::FewPeers {
                listed: 1,
                least: 5,
            },
            said("1 of 5 peers (--min-peers)"),
        ),
        (
            Waits::Disk {
                said: said("disk full: no room for d"),
            },
            said("disk full: no room for d"),
        ),
        (
            Waits::InTheWay {
                said: said("no permission for f"),
            },
            said("no permission for f"),
        ),
        (
            Waits::TrackerRefuses { said: said("no") },
            said("the tracker doesn't take it: no"),
        ),
    ] {
        assert_eq!(cause.to_string(), text);
    }
}

/// As an event has it.
#[derive(Serialize)]
struct Told<C: Serialize + Display> {
    #[serde(flatten, serialize_with = "with_text")]
    cause: C,
}

#[test]
fn programs_get_the_causes_name_its_parts_and_its_text() {
    let field = NotUnderstood::WrongField {
        path: said("port"),
        expected: said("a number"),
        got: said("null"),
    };
    let told = serde_json::to_value(Told { cause: field }).expect("plain data");
    assert_eq!(
        told,
        json!({"cause": "wrong_field", "path": "port", "expected": "a number", "got": "null",
            "why": "expected \"port\" to be a number, got null"})
    );
    let cause = Lost::NobodyListens;
    let told = serde_json::to_value(Told { cause }).expect("plain data");
    assert_eq!(told["cause"], "nobody_listens");
}
