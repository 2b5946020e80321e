//! The messages, to bytes and back.

use super::framing::VALUES;
use super::*;

use crate::bitfield::Bitfield;
use crate::md5::{INITIAL, digest};
use crate::torrent::{BLOCKS_A_PIECE, MAX_NAME};
use std::io::{self, BufRead, BufReader, Read};

use serde_json::json;

/// A reader that gives its bytes one by one.
struct OneByOne<'a>(&'a [u8]);
impl Read for OneByOne<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(self.0.len()).min(1);
        buf[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

#[test]
fn the_originals_messages_are_understood_as_python_writes_them() {
    let ping: ToTracker = parse(br#"{"port": 50001, "msg": "ping"}"#).expect("the original's");
    assert_eq!(
        ping,
        ToTracker::Ping {
            port: 50001,
            v: None,
            wants: vec![],
            edition: None
        }
    );
    let list: ToTracker =
        parse(br#"{"port": 50001, "files": ["1.txt", "na\u00efve.txt"], "msg": "file_list"}"#)
            .expect("the original's");
    let files = vec!["1.txt".to_owned(), "naïve.txt".to_owned()];
    assert_eq!(
        list,
        ToTracker::FileList {
            port: 50001,
            v: None,
            list: PeerList {
                files,
                ..PeerList::default()
            }
        }
    );
    let first: FirstMessage = parse(br#"{"filename": "1.txt"}"#).expect("the original's");
    assert_eq!(
        first,
        FirstMessage::Original {
            filename: "1.txt".to_owned()
        }
    );
    let answer: PingAnswer =
        parse(br#"[{"ip": "10.0.0.7", "port": 50001, "file_list": ["1.txt"]}]"#)
            .expect("the original's");
    assert!(
        matches!(answer, PingAnswer::Original(peers) if peers.len() == 1 && peers[0].v.is_none())
    );
}

#[test]
fn ours_go_both_ways() {
    let have = Have {
        name: Name::parse("f").expect("a name"),
        md5: crate::md5::digest(b""),
        pieces: Pieces::These(vec![4, 7]),
    };
    for answer in [
        Answer::Hello(Hello {
            v: 1,
            id: "9f".to_owned(),
            port: 1,
            have: vec![have.clone()],
        }),
        Answer::Piece(PieceHeader {
            n: 1,
            idx: 9,
            len: 65536,
            idle_ms: 5,
            news: vec![have.clone()],
        }),
        Answer::News { n: 2, news: vec![] },
        Answer::Gone {
            n: 3,
            name: have.name.clone(),
        },
        Answer::Refused {
            why: "full".to_owned(),
        },
    ] {
        assert_eq!(
            parse::<Answer>(&to_bytes(&answer)).expect("its own bytes"),
            answer
        );
    }
    let get = Ask::Get(Get {
        n: 1,
        name: have.name.clone(),
        md5: have.md5,
        pieces: vec![3],
        blocks: Some(BlockSet::NONE),
        wait: 0.5,
    });
    assert_eq!(
        parse::<FirstMessage>(&to_bytes(&get)).expect("its own bytes"),
        FirstMessage::Ours(get)
    );
    assert!(matches!(
        parse(br#"{"v":1,"error":"x"}"#).expect("ours"),
        PingAnswer::Refused(_)
    ));
    assert!(matches!(
        parse(br#"{"v":1,"local":true,"peers":[],"torrents":[]}"#).expect("ours"),
        PingAnswer::Ours(_)
    ));
}

#[test]
fn a_message_ends_at_its_brace_however_it_arrives() {
    let wire = b"\n {\"filename\": \"}]\\\"{\"}\n[[1],{}]{\"a\":1";
    for stream in [
        &mut BufReader::with_capacity(1, OneByOne(wire)) as &mut dyn BufRead,
        &mut &wire[..],
    ] {
        let mut stream = stream;
        assert_eq!(
            read_value(&mut stream, 100).expect("whole").expect("one"),
            br#"{"filename": "}]\"{"}"#
        );
        assert_eq!(
            read_value(&mut stream, 100).expect("whole").expect("one"),
            b"[[1],{}]"
        );
        assert_eq!(
            read_value(&mut stream, 100).expect_err("cut").kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
    assert_eq!(read_value(&mut &b" \n"[..], 100).expect("nothing"), None);
}

#[test]
fn what_is_no_message_is_refused_before_it_is_buffered() {
    for (name, wire) in [
        ("a number", &b"17 "[..]),
        ("a string", b"\"x\""),
        ("a closing brace", b"}"),
        ("binary", b"\x00\x01\x02"),
        ("too long", &[b'['; 101]),
        ("much of nothing", &[b' '; 101]),
    ] {
        assert_eq!(
            read_value(&mut &wire[..], 100).expect_err(name).kind(),
            io::ErrorKind::InvalidData,
            "{name}"
        );
    }
    let deep = [vec![b'['; 5000], vec![b']'; 5000]].concat();
    assert_eq!(
        read_message::<PingAnswer>(&mut &deep[..], 1 << 20)
            .expect_err("deep")
            .kind(),
        io::ErrorKind::InvalidData
    );
}

#[test]
fn a_message_has_so_many_values_at_most() {
    for (n, taken) in [(VALUES, true), (VALUES + 1, false)] {
        let wire = [b"[0", &b",0".repeat(n - 1)[..], b"]"].concat();
        let mut stream = BufReader::new(&wire[..]);
        assert_eq!(read_value(&mut stream, TORRENT_CAP).is_ok(), taken, "{n}");
    }
}

#[test]
fn the_torrent_of_the_largest_file_fits_into_a_message() {
    let (name, size) = (
        Name::parse(&"n".repeat(MAX_NAME)).expect("a name"),
        1_u64 << 40,
    );
    let piece_len = Torrent::piece_len_for(size);
    let checkpoints = vec![INITIAL; (size / u64::from(piece_len)) as usize * BLOCKS_A_PIECE];
    let torrent = Torrent::new(name, size, piece_len, digest(b""), checkpoints).expect("a torrent");
    let file = Publication {
        torrent: Some(torrent.clone()),
        ..Publication::of(&torrent)
    };
    let published = ToTracker::Publish {
        port: 50001,
        key: "k".repeat(KEY_CAP),
        files: vec![file],
    };
    assert!(to_bytes(&published).len() <= TORRENT_CAP);
}

#[test]
fn what_is_wrong_with_a_message_is_short_and_legible() {
    let long = "x".repeat(1 << 20);
    for odd in ["\u{1b}[2J", &long] {
        for message in [json!({ "msg": odd }), json!({"msg": "ping", "port": odd})] {
            let fault = parse::<ToTracker>(&to_bytes(&message)).expect_err("odd");
            let why = fault.to_string();
            assert!(why.len() < 500, "{} bytes", why.len());
            assert!(!why.chars().any(char::is_control), "{why:?}");
        }
    }
}

#[test]
fn an_id_has_so_many_bytes_at_most() {
    for (len, fits) in [(ID_CAP, true), (ID_CAP + 1, false)] {
        let id = "x".repeat(len);
        let hello = format!(r#"{{"msg": "hello", "v": 1, "id": "{id}", "port": 1}}"#);
        assert_eq!(parse::<Ask>(hello.as_bytes()).is_ok(), fits, "{len}");
    }
}

#[test]
fn pieces_that_the_file_does_not_have_are_refused() {
    assert!(Pieces::These(vec![0, 8]).bits(8).is_none());
    assert!(Pieces::Digits("ffff".to_owned()).bits(8).is_none());
    assert!(
        Pieces::Digits("all".to_owned())
            .bits(8)
            .expect("all")
            .is_full()
    );
    assert_eq!(
        Pieces::of(&Bitfield::full(3)),
        Pieces::Digits("all".to_owned())
    );
}
