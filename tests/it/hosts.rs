//! Several machines, each with its own address: hosts of a lab.

use std::fs;

use super::lab::lab;
use super::support::{Program, QUICK, Temp, md5_of, random_bytes, until};

/// The README's way to hand one file to many machines: `n` hosts beside the first, which has tracker and seed.
fn hand_out(n: u8, mib: usize) {
    let Some(lab) = lab(n + 1) else { return };
    let temp = Temp::new();
    let image = random_bytes(mib << 20, 1);
    let seed_dir = temp.dir("seed");
    fs::write(seed_dir.join("image.iso"), &image).expect("room for the image");
    let torrents = temp.dir("torrents");
    let server = [
        "--remote",
        "--port",
        "29283",
        "--torrents",
        torrents.to_str().expect("UTF-8"),
    ];
    let tracker = lab.start(0, "server", &server);
    tracker.until_line("listening on port 29283");
    // the seed is beside the tracker, and comes to it over loopback
    let seed = [
        &["127.0.0.1", "29283", seed_dir.to_str().expect("UTF-8")],
        &QUICK[..],
    ]
    .concat();
    let seed = lab.start(0, "client", &seed);
    seed.until_line("the tracker has the .torrent of image.iso");
    let at = lab.addr(0).to_string();
    let dirs: Vec<_> = (1..=n).map(|i| temp.dir(&format!("host{i}"))).collect();
    let start = |(i, dir): (u8, &std::path::PathBuf)| {
        let args = [
            &at,
            "29283",
            dir.to_str().expect("UTF-8"),
            "--only",
            "image.iso",
            "--exit-when-complete",
        ];
        let more = ["--seed-for", "1", "--listen", "50001"];
        lab.start(i, "client", &[&args[..], &more, &QUICK].concat())
    };
    let mut peers: Vec<Program> = (1..).zip(&dirs).map(start).collect();
    for (peer, dir) in peers.iter_mut().zip(&dirs) {
        let status = peer.until_ended();
        assert_eq!(status.code(), Some(0), "{peer:?}");
        assert_eq!(
            md5_of(&dir.join("image.iso")),
            Some(bittorrentish::md5::digest(&image))
        );
    }
    let other = |line: &String| line.contains("10.77.") && line.contains(":50001");
    assert!(
        n < 2 || peers.iter().any(|peer| peer.lines().iter().any(other)),
        "nobody took from another host"
    );
}

#[test]
fn p8_it_runs_across_machines_with_their_own_addresses() {
    hand_out(3, 16);
}

#[test]
fn many_machines_take_one_image() {
    hand_out(12, 4);
}

#[test]
fn a_local_tracker_tells_another_machine_what_was_forgotten() {
    let Some(lab) = lab(2) else { return };
    let temp = Temp::new();
    let torrents = temp.dir("torrents");
    let tracker = lab.start(
        0,
        "server",
        &["--torrents", torrents.to_str().expect("UTF-8")],
    );
    tracker.until_line("listening on port 29283");
    let dir = temp.dir("stranger");
    let at = lab.addr(0).to_string();
    let stranger = lab.start(
        1,
        "client",
        &[
            &[at.as_str(), "29283", dir.to_str().expect("UTF-8")],
            &QUICK[..],
        ]
        .concat(),
    );
    stranger.until_line("started without --remote");
    // the same machine under its own address is no stranger
    let beside = temp.dir("beside");
    let beside = lab.start(
        0,
        "client",
        &[
            &[at.as_str(), "29283", beside.to_str().expect("UTF-8")],
            &QUICK[..],
        ]
        .concat(),
    );
    until("an answer to who came from the very address", || {
        beside
            .lines()
            .iter()
            .any(|line| line.contains("ping →"))
            .then_some(())
    });
}
