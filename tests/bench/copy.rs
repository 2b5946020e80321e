//! One plain TCP copy to a file: read, send, receive, write, and no check. Beside it, one peer that takes 1 GiB from one seed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::network::Network;
use super::support::Temp;
use super::swarm::{Work, memory, ours};
use super::tables::unshaped;
use super::{median, rounds};

const MIB: usize = 1024;
/// Bytes at a time: of the sizes tried (64 KiB to 1 MiB) the fastest.
const STRIDE: usize = 256 << 10;

pub fn run() {
    let (mut plain, mut peer) = (Vec::new(), Vec::new());
    let work = unshaped(MIB, 1);
    for _ in 0..rounds() {
        plain.push(plain_copy(&work));
        peer.push(ours(&work).last(&work));
    }
    let rate = |seconds: &Vec<f64>| MIB as f64 / median(seconds.clone());
    println!("  plain copy   {:6.0} MiB/s", rate(&plain));
    println!("  one peer     {:6.0} MiB/s", rate(&peer));
    println!(
        "  peer / plain {:6.2}    (goal 0.7)",
        rate(&peer) / rate(&plain)
    );
}

/// Seconds for a copy from the seed's host to the first peer's. This program is both ends.
pub fn plain_copy(work: &Work) -> f64 {
    let temp = Temp::within(&memory());
    let network = Network::of(work).expect("root and iproute2");
    let (from, to) = (temp.path().join("from"), temp.path().join("to"));
    super::swarm::fill(&from, work.mib);
    let end = |host: u8| {
        let own = std::env::current_exe().expect("it runs");
        let mut command = match &network {
            None => Command::new(own),
            Some(network) => {
                let mut ip = Command::new("ip");
                ip.args(["netns", "exec", &network.lab.ns(host)]).arg(own);
                ip
            }
        };
        command.stdout(Stdio::piped());
        command
    };
    let ip = network
        .as_ref()
        .map_or(Ipv4Addr::LOCALHOST, |network| network.lab.addr(0));
    let mut sender = end(0).arg("--send").arg(from).spawn().expect("itself");
    let mut port = String::new();
    let printed = sender.stdout.take().expect("piped");
    let _ = BufReader::new(printed).read_line(&mut port);
    let addr = format!("{ip}:{}", port.trim());
    let received = end(1).args(["--receive", &addr]).arg(to).output();
    sender.wait().expect("its end");
    let seconds = String::from_utf8(received.expect("itself").stdout).expect("UTF-8");
    seconds.trim().parse().expect("seconds")
}

/// Returns true if it was started as one end of a plain copy, which is over then.
pub fn was_an_end(args: &[String]) -> bool {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--send", from] => send(Path::new(from)),
        ["--receive", addr, to] => receive(addr, Path::new(to)),
        _ => return false,
    }
    true
}

/// Prints its port, and sends a file to the first who comes.
fn send(from: &Path) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
    println!("{}", listener.local_addr().expect("bound").port());
    let (mut stream, _) = listener.accept().expect("a connection");
    let (file, mut buffer, mut at) = (File::open(from).expect("there"), vec![0; STRIDE], 0);
    while let Ok(n @ 1..) = file.read_at(&mut buffer, at) {
        stream.write_all(&buffer[..n]).expect("somebody reads");
        at += n as u64;
    }
}

/// Takes it, and prints the seconds that it took.
fn receive(addr: &str, to: &Path) {
    let start = Instant::now();
    let mut stream = TcpStream::connect(addr).expect("it listens");
    let (mut file, mut buffer) = (File::create(to).expect("room"), vec![0; STRIDE]);
    loop {
        let mut filled = 0;
        while let Ok(n @ 1..) = stream.read(&mut buffer[filled..]) {
            filled += n;
        }
        if filled == 0 {
            println!("{}", start.elapsed().as_secs_f64());
            return;
        }
        file.write_all(&buffer[..filled]).expect("room");
    }
}
