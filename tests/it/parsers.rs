//! Every parser of what comes from others, with messages that are damaged in every small way and in many large ones: none is
//! taken for what it isn't, and none ends the program. The dice are seeded, so that a failure comes back.

use std::io::{self, BufReader, Read};
use std::ops::Range;

use bittorrentish::bitfield::Bitfield;
use bittorrentish::md5::digest;
use bittorrentish::protocol::{
    Answer, Ask, Coming, FirstMessage, Get, Have, Head, Hello, PeerEntry, PeerList, PieceHeader,
    Pieces, PingAnswer, PingRefusal, Publication, Reply, Summary, SwarmList, ToTracker, VERSION,
    read_message, read_value, to_bytes,
};
use bittorrentish::store::{Saved, Stamp};
use bittorrentish::torrent::{Name, Source, Torrent};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::support::{random_bytes, torrent_of};

#[allow(dead_code)] // the unit tests of what a peer knows use the rest
mod dice;
mod holds;
mod sequence;

type Holds = fn(&[u8]) -> bool;

/// A message, and what holds for it.
#[derive(Clone)]
struct Sample(Holds, Vec<u8>);

fn name(name: &str) -> Name {
    Name::parse(name).expect("a name")
}

fn torrent() -> Torrent {
    let mut torrent = torrent_of("image.iso", &random_bytes(65536 + 5000, 1));
    torrent.publisher = "10.0.0.7:50001".to_owned();
    torrent.peers = vec![Source {
        ip: "10.0.0.7".to_owned(),
        port: 50001,
    }];
    torrent
}

fn have(pieces: Pieces) -> Have {
    let (name, md5) = (name("naïve.iso"), torrent().md5());
    Have { name, md5, pieces }
}

fn to_tracker() -> Vec<Sample> {
    let of = |message: ToTracker| Sample(holds::to_tracker, to_bytes(&message));
    let v = Some(VERSION);
    vec![
        of(ToTracker::Ping {
            port: 50001,
            v,
            wants: vec![name("image.iso")],
            edition: Some(u64::MAX),
        }),
        of(ToTracker::Ping {
            port: 1,
            v: None,
            wants: vec![],
            edition: None,
        }),
        of(ToTracker::FileList {
            port: 50001,
            v,
            list: PeerList {
                files: vec!["1.txt".to_owned(), "\u{1b}\"\\".to_owned()],
                pieces: [("image.iso".to_owned(), "fff0".to_owned())].into(),
                coming: vec![coming("")],
                others: [(name("c"), digest(b"other"))].into(),
            },
        }),
        of(ToTracker::Publish {
            port: 50001,
            key: "5c".to_owned(),
            files: vec![Publication {
                name: name("image.iso"),
                size: torrent().size(),
                md5: torrent().md5(),
                checkpoints: torrent().checkpoints_md5(),
                own: true,
                pinned: true,
                replace: true,
                published: 7,
                publisher: "10.0.0.7:5".to_owned(),
                torrent: Some(torrent()),
            }],
        }),
        of(ToTracker::GetTorrent {
            name: name("image.iso"),
        }),
    ]
}

fn coming(peer: &str) -> Coming {
    Coming {
        name: name("b.iso"),
        size: 99,
        done: 10,
        peer: peer.to_owned(),
        head: Some(Head::of(&torrent())),
    }
}

fn from_tracker() -> Vec<Sample> {
    let of = |message: Vec<u8>| Sample(holds::from_tracker, message);
    let torrent = torrent();
    let peer = |v, pieces| PeerEntry {
        ip: "fe80::7".to_owned(),
        port: 50001,
        file_list: vec!["1.txt".to_owned(), "image.iso.part0001".to_owned()],
        v,
        pieces,
    };
    let summary = Summary::of(&torrent);
    let digits = [("image.iso".to_owned(), "a0".to_owned())].into();
    let reply = Reply {
        v: VERSION,
        ..Reply::default()
    };
    vec![
        of(to_bytes(&PingAnswer::Ours(SwarmList {
            v: VERSION,
            local: false,
            edition: Some(7),
            n_peers: None,
            sweep_every: None,
            peers: vec![peer(Some(VERSION), digits)],
            torrents: Some(vec![summary]),
            n_files: None,
            coming: vec![coming("10.0.0.7:5")],
        }))),
        of(to_bytes(&PingAnswer::Original(vec![peer(
            None,
            Default::default(),
        )]))),
        of(to_bytes(&PingAnswer::Refused(PingRefusal {
            error: "no".to_owned(),
        }))),
        of(to_bytes(&reply)),
        of(to_bytes(&Reply {
            error: Some("another".to_owned()),
            ..reply.clone()
        })),
        of(to_bytes(&Reply {
            torrent: Some(torrent),
            ..reply
        })),
    ]
}

fn between_peers() -> Vec<Sample> {
    let of = |message: Vec<u8>| Sample(holds::between_peers, message);
    let mut bits = Bitfield::new(70);
    bits.set(69);
    let hello = || Hello {
        v: VERSION,
        id: "9f".to_owned(),
        port: 50001,
        have: vec![
            have(Pieces::of(&bits)),
            have(Pieces::of(&Bitfield::full(3))),
        ],
    };
    let news = || vec![have(Pieces::These(vec![4, 7]))];
    let get = Get {
        n: 1,
        name: name("image.iso"),
        md5: torrent().md5(),
        pieces: vec![3, 9, 12],
        blocks: None,
        wait: 0.25,
    };
    vec![
        of(to_bytes(&FirstMessage::Original {
            filename: "image.iso.part0001".to_owned(),
        })),
        of(to_bytes(&FirstMessage::Head {
            head: name("b.iso"),
            md5: torrent().md5(),
        })),
        of(to_bytes(&FirstMessage::Ours(Ask::Hello(hello())))),
        of(to_bytes(&Ask::Get(get))),
        of(to_bytes(&Answer::Hello(hello()))),
        of(to_bytes(&Answer::Piece(PieceHeader {
            n: 1,
            idx: 9,
            len: 65536,
            idle_ms: 5,
            news: news(),
        }))),
        of(to_bytes(&Answer::News { n: 2, news: news() })),
        of(to_bytes(&Answer::Gone {
            n: 3,
            name: name("image.iso"),
        })),
        of(to_bytes(&Answer::Refused {
            why: "full".to_owned(),
        })),
    ]
}

fn on_disk() -> Vec<Sample> {
    let stamp = Stamp {
        size: torrent().size(),
        mtime: (1_790_000_000, 5),
    };
    let saved = Saved {
        stamp: Some(stamp),
        verified: true,
        received: true,
        torrent: torrent(),
    };
    vec![
        Sample(holds::on_disk, to_bytes(&torrent())),
        Sample(holds::on_disk, to_bytes(&saved)),
    ]
}

fn names() -> Vec<Sample> {
    let texts = [
        "image.iso",
        "image.iso.part0001",
        "x.part12345",
        "naïve ファイル.txt",
        "d41d8cd98f00b204e9800998ecf8427e",
        "fff0",
    ];
    let of = |text: &str| Sample(holds::names, text.into());
    texts.map(of).into()
}

/// Where the strings, numbers and words of a message are.
fn values(message: &[u8]) -> Vec<Range<usize>> {
    let (mut values, mut at) = (Vec::new(), 0);
    while at < message.len() {
        let start = at;
        let is_plain = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        at += if message[at] == b'"' {
            let escaped = |byte: &u8| *byte == b'\\';
            let mut end = at + 1;
            while message[end] != b'"' {
                end += 1 + usize::from(escaped(&message[end]));
            }
            end + 1 - at
        } else {
            message[at..].iter().take_while(is_plain).count()
        };
        if at > start {
            values.push(start..at);
        } else {
            at += 1;
        }
    }
    values
}

/// What stands for a value that nobody expects there.
fn odd_values() -> Vec<Vec<u8>> {
    let plain = [
        "0",
        "-1",
        "-0",
        "65536",
        "4294967295",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "1e999",
        "-1e308",
        "5e-324",
        "0.1",
        "01",
        "NaN",
        "null",
        "true",
        "[]",
        "{}",
        "[0,1]",
        "{\"\":0}",
        "\"\"",
        "\".\"",
        "\"..\"",
        "\".x\"",
        "\"../x\"",
        "\"a/b\"",
        "\"a\\u0000b\"",
        "\"\\u001b[2J\"",
        "\"\\ud800\"",
        "\"x.part0001\"",
        "\"all\"",
        "\"hello\"",
        "\"ping\"",
        "\"",
        "\\",
        "",
    ];
    let mut odd: Vec<Vec<u8>> = plain.map(Vec::from).into();
    odd.push("1".repeat(400).into());
    odd.push([&b"\""[..], "é".repeat(150).as_bytes(), b"\""].concat());
    odd.push(b"\"\xff\xfe\xc0\"".to_vec());
    odd.push([vec![b'['; 300], vec![b']'; 300]].concat());
    odd
}

/// Damages each message in each small way: cut at each byte, each bit flipped, each value replaced by each odd one.
fn damage(samples: &[Sample]) -> usize {
    let mut n = 0;
    for Sample(holds, whole) in samples {
        assert!(holds(whole), "{}", String::from_utf8_lossy(whole));
        let mut bytes = whole.clone();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            holds(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for value in values(whole) {
            for odd in odd_values() {
                holds(&[&whole[..value.start], &odd, &whole[value.end..]].concat());
                n += 1;
            }
        }
        n += 8 * bytes.len();
    }
    n
}

/// No beginning of a message is one.
fn cut(samples: &[Sample]) {
    for Sample(holds, whole) in samples {
        for len in 0..whole.len() {
            let part = &whole[..len];
            assert!(!holds(part), "{}", String::from_utf8_lossy(part));
        }
    }
}

/// Damages messages at random, several times each: bytes swapped, replaced, left out and repeated, and values replaced.
fn shake(samples: &[Sample], seed: u64, n: usize) {
    let rng = &mut StdRng::seed_from_u64(seed);
    let odd = odd_values();
    for Sample(holds, whole) in samples {
        for _ in 0..n {
            let mut bytes = whole.clone();
            for _ in 0..rng.random_range(1..=4) {
                shake_once(&mut bytes, &odd, rng);
            }
            holds(&bytes);
        }
    }
}

fn shake_once(bytes: &mut Vec<u8>, odd: &[Vec<u8>], rng: &mut StdRng) {
    let len = bytes.len();
    if len == 0 {
        return;
    }
    let (from, to) = (rng.random_range(0..len), rng.random_range(0..len));
    let (from, to) = (from.min(to), from.max(to));
    match rng.random_range(0..5) {
        0 => bytes.swap(from, to),
        1 => bytes[from] = rng.random(),
        2 => drop(bytes.drain(from..to)),
        3 => {
            let chunk = bytes[from..to].repeat(rng.random_range(1..4));
            bytes.splice(to..to, chunk);
        }
        _ => {
            let with = &odd[rng.random_range(0..odd.len())];
            bytes.splice(from..to.min(from + 8), with.iter().copied());
        }
    }
}

#[test]
fn messages_that_are_damaged_a_little() {
    let wires = [to_tracker(), from_tracker(), between_peers(), on_disk()].concat();
    let n = damage(&wires) + damage(&names());
    assert!(n > 40_000, "{n} are too few");
    cut(&wires);
}

#[test]
fn messages_that_are_damaged_at_random() {
    let all = [
        to_tracker(),
        from_tracker(),
        between_peers(),
        on_disk(),
        names(),
    ]
    .concat();
    shake(&all, 7, 1500);
}

#[test]
fn random_bytes_are_no_messages() {
    let rng = &mut StdRng::seed_from_u64(8);
    let all = [
        holds::to_tracker,
        holds::from_tracker,
        holds::between_peers,
        holds::on_disk,
    ];
    for _ in 0..5000 {
        let mut bytes = vec![0; rng.random_range(0..200)];
        rng.fill_bytes(&mut bytes);
        assert!(!all.iter().any(|holds| holds(&bytes)), "{bytes:?}");
        holds::names(&bytes);
        // of JSON's own characters
        let of = br#"{}[]":,\u0019e.-ntf msgvp"#;
        let alike = bytes.iter().map(|byte| of[usize::from(*byte) % of.len()]);
        let alike: Vec<u8> = alike.collect();
        all.iter().for_each(|holds| _ = holds(&alike));
    }
}

#[test]
fn long_strings_and_deep_brackets() {
    let long = [&b"\""[..], &vec![b'x'; 1 << 20], b"\""].concat();
    let deep = [vec![b'['; 200_000], vec![b']'; 200_000]].concat();
    for samples in [to_tracker(), from_tracker(), between_peers(), on_disk()] {
        for Sample(holds, whole) in samples {
            let values = values(&whole);
            for value in values.iter().take(2) {
                for odd in [&long, &deep] {
                    holds(&[&whole[..value.start], odd, &whole[value.end..]].concat());
                }
            }
        }
    }
    assert!(!holds::names(&long));
}

/// The same bytes for ever; or until so many were read that nobody may read them.
struct Endless {
    bytes: &'static [u8],
    read: usize,
}

impl Read for Endless {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        assert!(self.read < 1 << 20, "{} bytes were read", self.read);
        for byte in &mut *buf {
            *byte = self.bytes[self.read % self.bytes.len()];
            self.read += 1;
        }
        Ok(buf.len())
    }
}

#[test]
fn an_endless_message_is_read_to_the_cap() {
    const CAP: usize = 100_000;
    for bytes in ["[", "[{},", "{\"msg\":\"ping\",", "[\"", "[\\", " ", "\n\t"] {
        let bytes = bytes.as_bytes();
        let mut stream = BufReader::new(Endless { bytes, read: 0 });
        let fault = read_message::<ToTracker>(&mut stream, CAP).expect_err("no end");
        assert_eq!(fault.kind(), io::ErrorKind::InvalidData);
        let read = stream.get_ref().read;
        assert!(read <= CAP + 2 * stream.capacity(), "{read} bytes");
        let mut stream = BufReader::new(Endless { bytes, read: 0 });
        assert!(read_value(&mut stream, |len: usize| len.min(CAP)).is_err());
    }
}

#[test]
fn what_peers_and_trackers_know_stays_in_order() {
    let rng = &mut StdRng::seed_from_u64(9);
    for _ in 0..500 {
        let mut bytes = vec![0; rng.random_range(0..600)];
        rng.fill_bytes(&mut bytes);
        sequence::of_a_tracker(&bytes);
    }
}
