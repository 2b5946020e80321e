//! aria2c at the same work, where it is installed: a `.torrent` made with `sha1sum`, and a tracker of a few lines.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::lab::Lab;
use super::network::Network;
use super::support::Temp;
use super::swarm::{NAME, Outcome, Work, cpu, fill, memory, watch};

/// As mktorrent has it where nothing else is said.
const PIECE: usize = 256 << 10;

/// Ended with this value.
struct Aria2(Child);

impl Drop for Aria2 {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether it can be measured here.
pub fn is_installed() -> bool {
    let run = Command::new("aria2c")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

/// The same work. `None` where it isn't installed.
pub fn aria2(work: &Work) -> Option<Outcome> {
    is_installed().then(|| {
        let temp = Temp::within(&memory());
        let network = Network::of(work).expect("root and iproute2");
        let lab = network.as_ref().map(|network| &network.lab);
        let source = temp.dir("seed");
        fill(&source.join(NAME), work.mib);
        let tracker_ip = lab.map_or(Ipv4Addr::LOCALHOST, Lab::gateway);
        let announce = format!("http://{tracker_ip}:{}/announce", tracker());
        let torrent = temp.path().join("f.torrent");
        fs::write(&torrent, metainfo(&source.join(NAME), &announce)).expect("room");
        let client = |host: u8, dir: &Path, more: &[&str]| {
            let mut command = match lab {
                None => Command::new("aria2c"),
                Some(lab) => {
                    let mut ip = Command::new("ip");
                    ip.args(["netns", "exec", &lab.ns(host), "aria2c"]);
                    ip
                }
            };
            let port = if lab.is_some() {
                6881
            } else {
                26881 + u16::from(host)
            };
            let done = format!("{}.done", dir.display());
            let script = format!("{}.sh", dir.display());
            fs::write(&script, format!("#!/bin/sh\ntouch '{done}'\n")).expect("room");
            let _ = Command::new("chmod").args(["+x", &script]).status();
            command
                .args([
                    "--no-conf",
                    "-q",
                    "--seed-ratio=0",
                    "--enable-dht=false",
                    "--enable-dht6=false",
                ])
                .args([
                    "--bt-enable-lpd=false",
                    "--file-allocation=none",
                    "--bt-max-peers=0",
                ])
                .args([
                    "--bt-request-peer-speed-limit=1000M",
                    "--follow-torrent=mem",
                ])
                .args(["--max-overall-upload-limit=0", "--bt-tracker-interval=2"])
                .arg(format!("--dir={}", dir.display()))
                .arg(format!("--listen-port={port}"))
                .arg(format!("--on-bt-download-complete={script}"))
                .args(more)
                .arg(&torrent)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            Aria2(command.spawn().expect("it is installed"))
        };
        let seed = client(0, &source, &["--bt-seed-unverified=true"]);
        std::thread::sleep(std::time::Duration::from_secs(2)); // its first announce
        let before = cpu(seed.0.id());
        let dir = |i: u8| temp.path().join(format!("p{i}"));
        let start = |i: u8| client(i + 1, &dir(i), &[]);
        let has = |i: u8| dir(i).with_extension("done").exists();
        let (peers, seconds) = watch(work, start, has);
        let ids: Vec<u32> = peers.iter().map(|peer| peer.0.id()).collect();
        Outcome::of(seconds, before, seed.0.id(), &ids, network.as_ref())
    })
}

/// A BitTorrent metainfo file: the SHA-1 of each piece comes from `split` and `sha1sum`.
fn metainfo(path: &Path, announce: &str) -> Vec<u8> {
    let split = Command::new("split")
        .args(["-b", &PIECE.to_string(), "--filter=sha1sum"])
        .arg(path)
        .output()
        .expect("coreutils");
    let text = String::from_utf8_lossy(&split.stdout);
    let digits = text.lines().filter_map(|line| line.get(..40));
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hex")
    };
    let hashes: Vec<u8> = digits
        .flat_map(|line| line.as_bytes().chunks(2).map(byte).collect::<Vec<_>>())
        .collect();
    let size = fs::metadata(path).expect("a file").len();
    let mut out = format!(
        "d8:announce{}:{announce}4:infod6:lengthi{size}e4:name{}:{NAME}12:piece lengthi{PIECE}e6:pieces{}:",
        announce.len(),
        NAME.len(),
        hashes.len()
    )
    .into_bytes();
    out.extend(hashes);
    out.extend(b"ee");
    out
}

/// Tells everybody of everybody. Lives as long as the benchmark.
fn tracker() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let peers: Arc<Mutex<BTreeSet<SocketAddrV4>>> = Arc::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let peers = Arc::clone(&peers);
            std::thread::spawn(move || drop(answer(stream, &peers)));
        }
    });
    port
}

fn answer(mut stream: TcpStream, peers: &Mutex<BTreeSet<SocketAddrV4>>) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let port = line
        .split(['?', '&', ' '])
        .find_map(|field| field.strip_prefix("port="));
    let mut known = peers.lock().expect("no panic");
    if let (SocketAddr::V4(from), Some(Ok(port))) = (stream.peer_addr()?, port.map(str::parse)) {
        known.insert(SocketAddrV4::new(*from.ip(), port));
    }
    let mut body = format!("d8:intervali2e5:peers{}:", known.len() * 6).into_bytes();
    for peer in known.iter() {
        body.extend(peer.ip().octets());
        body.extend(peer.port().to_be_bytes());
    }
    body.push(b'e');
    write!(
        stream,
        "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}
