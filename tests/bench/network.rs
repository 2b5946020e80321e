//! The hosts that some work needs, and what is between them: the speed of their links, a round trip, a trunk between two rooms.
//!
//! netem would delay frames, but not every kernel has it. Here every frame that a host sends goes to a macvtap instead of the
//! switch. This process reads it there, and writes it back when it is due, into the switch.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::lab::{Lab, ip, limit, run};
use super::swarm::{Net, Work, memory};

/// The hosts of some work: the seed is the first, the tracker the last. Gone with this value.
pub struct Network {
    _delay: Option<Delay>,
    trunk: Option<Trunk>,
    pub lab: Lab,
}

impl Network {
    /// None where the work needs this machine's loopback alone. One that is late is shaped like the others.
    ///
    /// # Errors
    /// Where this machine doesn't let us.
    pub fn of(work: &Work) -> Result<Option<Self>, String> {
        let links = match &work.net {
            Net::Loopback => return Ok(None),
            Net::Unshaped => None,
            Net::Shaped(links) => Some(links),
        };
        let lab = Lab::new(work.peers + 2)?;
        let tcp = congestion_control();
        for i in 0..work.peers + 2 {
            let of = lab.ns(i);
            ip(&format!(
                "netns exec {of} sysctl -qw net.ipv4.tcp_congestion_control={tcp}"
            ))?;
        }
        if let Some(links) = links {
            lab.shape(0, links.seed_up, links.down.max(links.seed_up))?;
            for i in 0..work.peers {
                lab.shape(i + 1, links.up_of(i), links.down)?;
            }
        }
        let second_room = work.peers.div_ceil(2) + 1..work.peers + 1;
        let trunk = links.and_then(|links| links.trunk);
        let trunk = trunk.map(|mbit| Trunk::between(&lab, second_room, mbit));
        let round_trip = links.and_then(|links| links.round_trip);
        // the tracker's own frames aren't delayed: it is half as far, as aria2's is, outside of the hosts
        let delay = round_trip.map(|whole| Delay::start(&lab, work.peers + 1, whole / 2));
        Ok(Some(Self {
            _delay: delay.transpose()?,
            trunk: trunk.transpose()?,
            lab,
        }))
    }

    /// Bytes that came into the second room.
    pub fn crossed(&self) -> Option<u64> {
        let far = &self.trunk.as_ref()?.far;
        let bytes = fs::read_to_string(format!("/sys/class/net/{far}/statistics/rx_bytes"));
        bytes.ok()?.trim().parse().ok()
    }
}

/// How the hosts' TCP finds its speed: as a machine of a lab does, where nobody has set another.
pub fn congestion_control() -> String {
    std::env::var("CONGESTION").unwrap_or("cubic".to_owned())
}

/// What joins a second room to the first. Gone with this value.
struct Trunk {
    /// Its end in the second room.
    far: String,
}

impl Trunk {
    /// Puts these hosts into a second room, with addresses of its own.
    fn between(lab: &Lab, hosts: Range<u8>, mbit: f64) -> Result<Self, String> {
        let id = &lab.id;
        let [near, far] = [format!("{id}t"), format!("{id}u")];
        ip(&format!("link add {far} type veth peer name {near}"))?;
        let trunk = Self { far };
        lab.split(&hosts.clone().collect::<Vec<_>>());
        for (end, switch) in [(&near, id), (&trunk.far, &format!("{id}b"))] {
            ip(&format!("link set {end} master {switch} up"))?;
            limit("", end, mbit)?;
        }
        for i in hosts {
            let (ns, [a, b, c, d]) = (lab.ns(i), lab.addr(i).octets());
            ip(&format!("-n {ns} addr del {a}.{b}.{c}.{d}/23 dev eth0"))?;
            ip(&format!(
                "-n {ns} addr add {a}.{b}.{}.{d}/23 dev eth0",
                c + 1
            ))?;
        }
        Ok(trunk)
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        let _ = ip(&format!("link del {}", self.far));
    }
}

/// Every frame that one of the first hosts sends takes some time. Ended with this value.
struct Delay {
    is_over: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
    /// The end of a veth pair that is a port of the switch; frames leave the other end for the macvtap.
    port: String,
}

impl Delay {
    fn start(lab: &Lab, n_hosts: u8, one_way: Duration) -> Result<Self, String> {
        let id = &lab.id;
        let [port, end, tap] = ["d", "e", "f"].map(|name| format!("{id}{name}"));
        let is_over = Arc::<AtomicBool>::default();
        let mut delay = Self {
            is_over: Arc::clone(&is_over),
            carrier: None,
            port: port.clone(),
        };
        ip(&format!("link add {port} type veth peer name {end}"))?;
        ip(&format!(
            "link add link {end} name {tap} txqueuelen 10000 type macvtap mode passthru"
        ))?;
        ip(&format!("link set {port} master {id} up"))?;
        // else this machine would answer for its own address there, too
        ip(&format!("link set {end} arp off up"))?;
        ip(&format!("link set {tap} up"))?;
        // all frames come in by this port, whoever sent them: the switch is told where each host is
        ip(&format!("link set {port} type bridge_slave learning off"))?;
        for i in 0..n_hosts {
            let (ns, link, mac) = (
                lab.ns(i),
                format!("{id}v{i}"),
                format!("02:00:00:00:00:{i:02x}"),
            );
            ip(&format!("-n {ns} link set eth0 address {mac}"))?;
            run(
                "bridge",
                &format!("fdb replace {mac} dev {link} master static"),
            )?;
            run("tc", &format!("qdisc add dev {link} clsact"))?;
            run(
                "tc",
                &format!(
                    "filter add dev {link} ingress u32 match u32 0 0 action mirred egress redirect dev {port}"
                ),
            )?;
        }
        let device = fs::read_to_string(format!("/sys/class/net/{tap}/ifindex"))
            .and_then(|index| {
                let mut options = OpenOptions::new();
                options.read(true).write(true).custom_flags(O_NONBLOCK);
                options.open(format!("/dev/tap{}", index.trim()))
            })
            .map_err(|fault| format!("{tap}: {fault}"))?;
        let carrier = thread::Builder::new().name("delay".to_owned());
        let carrier = carrier.spawn(move || carry(&device, one_way, &is_over));
        delay.carrier = Some(carrier.map_err(|fault| fault.to_string())?);
        Ok(delay)
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.carrier.take().map(JoinHandle::join);
        let _ = ip(&format!("link del {}", self.port));
    }
}

/// As Linux on x86 and ARM numbers it.
const O_NONBLOCK: i32 = 0o4000;
/// The longest frame: TCP's of 64 KiB that the card would cut, and macvtap's 10 bytes that say how.
const LONGEST_FRAME: usize = 66 << 10;
/// How often to look: a frame is late by up to this when it is read, and again when it is written. Where two virtual cores were
/// measured, a quiet network took 7 % of one of them, and 13 % at 100 µs.
const LOOK_EVERY: Duration = Duration::from_micros(250);

/// Writes each frame back once it is due, until it is over.
fn carry(mut device: &File, one_way: Duration, is_over: &AtomicBool) {
    let mut on_the_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut frame = vec![0; LONGEST_FRAME];
    while !is_over.load(Ordering::Relaxed) {
        while let Ok(len @ 1..) = device.read(&mut frame) {
            on_the_way.push_back((Instant::now() + one_way, frame[..len].to_vec()));
        }
        while let Some((due, frame)) = on_the_way.front()
            && *due <= Instant::now()
        {
            // where there is no room for it, it is lost, as in a switch
            let _ = device.write(frame);
            on_the_way.pop_front();
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Why this machine can't do the work, if so.
pub fn obstacle(work: &Work) -> Option<String> {
    let hosts = usize::from(work.peers) + 2;
    let most = fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3");
    let most: Option<usize> = most.ok().and_then(|most| most.trim().parse().ok());
    if let Some(most) = most
        && !matches!(work.net, Net::Loopback)
        && hosts.pow(2) > most
    {
        // some hosts wouldn't reach each other for a while
        return Some(format!(
            "this machine knows only {most} neighbours of all its hosts \
             (sysctl -w net.ipv4.neigh.default.gc_thresh3=4096 makes it more)"
        ));
    }
    let need = work.mib * (hosts - 1) + SPARE_MIB;
    if let Some(room) = room_mib().filter(|room| *room < need) {
        return Some(format!(
            "it needs {need} MiB of memory, and {room} are free"
        ));
    }
    Network::of(work).err()
}

/// What programs and their sockets take beside the files.
const SPARE_MIB: usize = 2048;

/// MiB that files may take: there is so much room, and as much memory.
fn room_mib() -> Option<usize> {
    let number = |text: &str| text.split_whitespace().find_map(|word| word.parse().ok());
    let df = Command::new("df")
        .args(["--output=avail", "-k"])
        .arg(memory())
        .output();
    let free: Option<usize> = df
        .ok()
        .and_then(|df| number(&String::from_utf8_lossy(&df.stdout)));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))
        .and_then(number);
    Some(free?.min(memory?) / 1024)
}
