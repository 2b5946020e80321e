//! MD5: in lanes, in one lane, and beside `md5sum`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use bittorrentish::md5::{digest, lanes};
use bittorrentish::store::Store;
use bittorrentish::torrent::Name;

use super::support::{Temp, random_bytes};
use super::{median, rounds};

const MIB: usize = 512;

pub fn run() {
    let temp = Temp::within(&super::swarm::memory());
    let content = random_bytes(MIB << 20, 1);
    fs::write(temp.path().join("f"), &content).expect("room for the file");
    let store = Store::open(temp.path()).expect("a folder");
    let name = Name::parse("f").expect("a name");
    let (file, stamp) = store.open_shared(&name).expect("the file");
    let hash = || {
        let hashed = store.hash(&name, &file, stamp.size, |_| true, |_, _| ());
        hashed.expect("it can be read").expect("nobody changes it")
    };
    let torrent = hash();

    let gib = MIB as f64 / 1024.0;
    let [mut one, mut check, mut first, mut md5sum] = [const { Vec::new() }; 4];
    for _ in 0..rounds() {
        one.push(gib / seconds(|| assert_eq!(digest(&content), torrent.md5())));
        check.push(
            gib / seconds(|| {
                let have = store.check(&torrent, &file, |_, _| true).expect("readable");
                assert!(have.is_full());
            }),
        );
        first.push(seconds(|| drop(hash())));
        let mut command = Command::new("md5sum");
        command.arg(temp.path().join("f")).stdout(Stdio::null());
        if Path::new("/usr/bin/md5sum").exists() {
            md5sum.push(seconds(|| drop(command.status())));
        }
    }
    println!(
        "  one lane, in memory              {:6.2} GiB/s",
        median(one)
    );
    println!(
        "  read and checked, {:14} {:6.2} GiB/s",
        lanes(),
        median(check)
    );
    println!(
        "  first hashing / md5sum           {:6.2}  ({:.2} s for {MIB} MiB)",
        median(first.clone()) / median(md5sum),
        median(first)
    );
}

fn seconds(what: impl FnOnce()) -> f64 {
    let start = Instant::now();
    what();
    start.elapsed().as_secs_f64()
}
