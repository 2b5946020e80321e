//! Messages and events as bytes choose them: at random in the tests, and in `tests/fuzz` as a fuzzer likes. Shared with the
//! unit tests of [`bittorrentish::state`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use bittorrentish::bitfield::Bitfield;
use bittorrentish::md5::{INITIAL, digest};
use bittorrentish::protocol::{Have, PeerEntry, Pieces, Summary, VERSION, parse, to_bytes};
use bittorrentish::store::Stamp;
use bittorrentish::torrent::{BLOCKS_A_PIECE, MIN_PIECE_LEN, Name, Torrent};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The contents that there are: one in two cuts, two under one name, a small one, an empty one, and one of over 64 pieces.
pub static CONTENTS: LazyLock<Vec<Arc<Torrent>>> = LazyLock::new(|| {
    let of = |(name, size, piece_len, content)| Arc::new(torrent(name, size, piece_len, content));
    [
        ("a", 20 * 65536 - 5000, MIN_PIECE_LEN, "one"),
        ("a", 20 * 65536 - 5000, 2 * MIN_PIECE_LEN, "one"),
        ("a", 5 * 65536, MIN_PIECE_LEN, "other"),
        ("b", 100, MIN_PIECE_LEN, "small"),
        ("c", 0, MIN_PIECE_LEN, ""),
        ("d", 70 * 65536, MIN_PIECE_LEN, "large"),
    ]
    .map(of)
    .into()
});

/// Names as somebody may list them.
const LISTED: [&str; 14] = [
    "a",
    "b",
    "c",
    "d",
    "a.part0001",
    "a.part0005",
    "a.part0020",
    "a.part0021",
    "b.part0001",
    "a.part4294967295",
    "x",
    "../x",
    ".x",
    "\u{1}\"\\é",
];

pub fn torrent(name: &str, size: u64, piece_len: u32, content: &str) -> Torrent {
    let n_blocks = size.div_ceil(u64::from(piece_len) / BLOCKS_A_PIECE as u64);
    let checkpoints = vec![INITIAL; n_blocks as usize];
    let name = Name::parse(name).expect("a name");
    let md5 = digest(content.as_bytes());
    Torrent::new(name, size, piece_len, md5, checkpoints).expect("a .torrent")
}

pub fn summary(torrent: &Torrent) -> Summary {
    Summary::of(torrent)
}

/// What somebody sent, as it is understood where it arrives.
pub fn sent<T: Serialize + DeserializeOwned>(message: &T) -> T {
    parse(&to_bytes(message)).expect("its own bytes")
}

/// Choices, one byte each; once there are none left, the first of all.
pub struct Dice<'a>(pub &'a [u8]);

impl Dice<'_> {
    pub fn below(&mut self, n: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first) % n
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 1
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    pub fn up_to<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    pub fn content(&mut self) -> Arc<Torrent> {
        Arc::clone(self.of(&CONTENTS))
    }

    pub fn name(&mut self) -> Name {
        self.content().name().clone()
    }

    pub fn port(&mut self) -> u16 {
        *self.of(&[1, 2, 3, 50001, 0])
    }

    pub fn bits(&mut self, n: u32) -> Bitfield {
        if self.one_in(3) {
            return Bitfield::full(n);
        }
        let (from, to, step) = (self.below(4), self.below(80), 1 + self.below(4));
        let mut bits = Bitfield::new(n);
        (from..to).step_by(step).for_each(|idx| {
            bits.set(idx as u32);
        });
        bits
    }

    pub fn digits(&mut self) -> String {
        let n = self.content().n_pieces();
        let odd = ["all", "", "zz", "ff", "+f"];
        match self.below(8) {
            at @ 0..5 => odd[at].to_owned(),
            _ => self.bits(n).to_hex(),
        }
    }

    pub fn listed(&mut self) -> String {
        (*self.of(&LISTED)).to_owned()
    }

    pub fn parts(&mut self) -> BTreeMap<String, String> {
        self.up_to(3, |dice| (dice.listed(), dice.digits()))
            .into_iter()
            .collect()
    }

    pub fn pieces(&mut self) -> Pieces {
        if self.one_in(2) {
            Pieces::Digits(self.digits())
        } else {
            Pieces::These(self.up_to(5, |dice| {
                *dice.of(&[0, 1, 2, 4, 5, 9, 19, 69, 70, u32::MAX])
            }))
        }
    }

    pub fn haves(&mut self) -> Vec<Have> {
        let have = |dice: &mut Self| {
            let torrent = dice.content();
            let (name, md5) = (torrent.name().clone(), torrent.md5());
            Have {
                name,
                md5,
                pieces: dice.pieces(),
            }
        };
        sent(&self.up_to(4, have))
    }

    pub fn entry(&mut self) -> PeerEntry {
        PeerEntry {
            ip: (*self.of(&[
                "10.0.0.1",
                "10.0.0.2",
                "::ffff:10.0.0.2",
                "fe80::1",
                "x",
                "",
            ]))
            .to_owned(),
            port: self.port(),
            file_list: self.up_to(4, Self::listed),
            v: self.one_in(2).then_some(VERSION),
            pieces: self.parts(),
        }
    }

    pub fn addr(&mut self) -> SocketAddr {
        let ip: IpAddr = [10, 0, 0, 1 + self.below(3) as u8].into();
        (ip, self.port()).into()
    }

    pub fn stamp(&mut self) -> Stamp {
        Stamp {
            size: 100,
            mtime: (self.below(2) as i64, 0),
        }
    }
}
