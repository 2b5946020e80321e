//! One peer takes 1 GiB from one seed, beside one plain TCP copy to a file: read, send, receive, write, and no check.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use super::support::Temp;
use super::swarm::{memory, ours};
use super::tables::unshaped;
use super::{median, rounds};

const MIB: usize = 1024;
/// Bytes at a time: of the sizes tried (64 KiB to 1 MiB) the fastest.
const STRIDE: usize = 256 << 10;

pub fn run() {
    let (mut plain, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        plain.push(plain_copy());
        peer.push(ours(&unshaped(MIB, 1)).last());
    }
    let rate = |seconds: &Vec<f64>| MIB as f64 / median(seconds.clone());
    println!("  plain copy   {:6.0} MiB/s", rate(&plain));
    println!("  one peer     {:6.0} MiB/s", rate(&peer));
    println!(
        "  peer / plain {:6.2}    (goal 0.7)",
        rate(&peer) / rate(&plain)
    );
}

fn plain_copy() -> f64 {
    let temp = Temp::within(&memory());
    let (from, to) = (temp.path().join("from"), temp.path().join("to"));
    super::swarm::fill(&from, MIB);
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let addr = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let (file, mut buffer, mut at) = (File::open(from).expect("there"), vec![0; STRIDE], 0);
        while let Ok(n @ 1..) = file.read_at(&mut buffer, at) {
            stream.write_all(&buffer[..n]).expect("somebody reads");
            at += n as u64;
        }
    });
    let start = Instant::now();
    let mut stream = TcpStream::connect(addr).expect("it listens");
    let (mut file, mut buffer) = (File::create(to).expect("room"), vec![0; STRIDE]);
    loop {
        let mut filled = 0;
        while let Ok(n @ 1..) = stream.read(&mut buffer[filled..]) {
            filled += n;
        }
        if filled == 0 {
            return start.elapsed().as_secs_f64();
        }
        file.write_all(&buffer[..filled]).expect("room");
    }
}
