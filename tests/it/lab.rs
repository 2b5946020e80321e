//! Several machines: network namespaces on one bridge, each with its own address, and links of any speed. Needs root and
//! iproute2: elsewhere the tests with them say so and are left out, but not where `BITTORRENTISH_HOSTS=must` is set, as
//! `.ci/run` does.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::support::{Program, until};

/// Some hosts with the addresses 10.77.x.1, 10.77.x.2, …, x being even: those of x + 1 are on the same link, and free.
/// Gone with this value.
#[derive(Debug)]
pub struct Lab {
    /// The name of the switch, with which the names of all else begin.
    pub id: String,
    net: u8,
    n: u8,
}

/// `n` hosts, or none where this machine doesn't let us.
pub fn lab(n: u8) -> Option<Lab> {
    or_left_out(Lab::new(n).map_err(|why| format!("hosts need root and iproute2: {why}")))
}

/// What a test needs of this machine; none, and said, where it doesn't let us.
pub fn or_left_out<T>(made: Result<T, String>) -> Option<T> {
    let must = std::env::var("BITTORRENTISH_HOSTS").is_ok_and(|must| must == "must");
    match made {
        Ok(made) => Some(made),
        Err(why) if must => panic!("BITTORRENTISH_HOSTS=must, and {why}"),
        Err(why) => {
            eprintln!("left out: {why}");
            None
        }
    }
}

/// Runs `ip` with these words.
pub fn ip(args: &str) -> Result<(), String> {
    run("ip", args)
}

/// The most that may leave by this link, Mbit/s, with a queue of 60 ms. `of` is `-n NAMESPACE `, or nothing.
pub fn limit(of: &str, link: &str, mbit: f64) -> Result<(), String> {
    let burst = (mbit * 1e6 / 8.0 / 200.0).max(16384.0) as u64;
    run(
        "tc",
        &format!(
            "{of}qdisc replace dev {link} root tbf rate {mbit}mbit burst {burst} latency 60ms"
        ),
    )
}

/// Runs a program with these words.
pub fn run(program: &str, args: &str) -> Result<(), String> {
    let out = Command::new(program)
        .args(args.split(' '))
        .output()
        .map_err(|fault| fault.to_string())?;
    let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    if out.status.success() {
        Ok(())
    } else {
        Err(format!("{program} {args}: {said}"))
    }
}

impl Lab {
    /// `n` hosts.
    ///
    /// # Errors
    /// Where this machine doesn't let us.
    pub fn new(n: u8) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let at = NEXT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let lab = Self {
            id: format!("bt{pid:x}n{at:x}"),
            // another process has labs of its own at the same time
            net: (pid.wrapping_add(at) % 128) as u8 * 2,
            n,
        };
        lab.make().map(|()| lab)
    }

    fn make(&self) -> Result<(), String> {
        let Self { id, .. } = self;
        ip(&format!("link add {id} type bridge"))?;
        ip(&format!("addr add {}/23 dev {id}", self.gateway()))?;
        ip(&format!("link set {id} up"))?;
        for i in 0..self.n {
            let (ns, addr) = (self.ns(i), self.addr(i));
            ip(&format!("netns add {ns}"))?;
            ip(&format!(
                "link add {id}v{i} type veth peer name eth0 netns {ns}"
            ))?;
            ip(&format!("link set {id}v{i} master {id} up"))?;
            ip(&format!("-n {ns} link set lo up"))?;
            ip(&format!("-n {ns} addr add {addr}/23 dev eth0"))?;
            ip(&format!("-n {ns} link set eth0 up"))?;
        }
        Ok(())
    }

    /// The most that a host sends and receives, Mbit/s: queues of 60 ms at both ends of its link, as switches have them.
    pub fn shape(&self, i: u8, up: f64, down: f64) -> Result<(), String> {
        limit(&format!("-n {} ", self.ns(i)), "eth0", up)?;
        limit("", &format!("{}v{i}", self.id), down)
    }

    /// The name of a host's namespace.
    pub fn ns(&self, i: u8) -> String {
        format!("{}h{i}", self.id)
    }

    /// Where a host is.
    pub fn addr(&self, i: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.net, i + 1)
    }

    /// A host's link-local IPv6 address, which the system has found to be nobody else's.
    pub fn link_local(&self, i: u8) -> Ipv6Addr {
        let ns = self.ns(i);
        until("a link-local address", || {
            let show = [
                "-n",
                &ns,
                "-6",
                "-o",
                "addr",
                "show",
                "dev",
                "eth0",
                "-tentative",
            ];
            let out = Command::new("ip").args(show).output().ok()?;
            let out = String::from_utf8(out.stdout).ok()?;
            let addr = out
                .split_whitespace()
                .find(|word| word.starts_with("fe80:"))?;
            addr.split('/').next()?.parse().ok()
        })
    }

    /// This machine, as the hosts see it.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.net, 254)
    }

    /// Pulls the plug of a host's link, or, `up`, puts it back in.
    pub fn link(&self, i: u8, up: bool) {
        let to = if up { "up" } else { "down" };
        ip(&format!("link set {}v{i} {to}", self.id)).expect("its link");
    }

    /// Puts these hosts on a switch of their own: they reach each other, and nobody else.
    pub fn split(&self, hosts: &[u8]) {
        let id = &self.id;
        ip(&format!("link add {id}b type bridge")).expect("a second switch");
        ip(&format!("link set {id}b up")).expect("it stands there");
        for i in hosts {
            ip(&format!("link set {id}v{i} master {id}b")).expect("its link");
        }
    }

    /// Puts these hosts back on the switch of all.
    pub fn rejoin(&self, hosts: &[u8]) {
        let id = &self.id;
        for i in hosts {
            ip(&format!("link set {id}v{i} master {id}")).expect("its link");
        }
    }

    /// Gives a host another address in place of the one that it has, as a new lease of DHCP may; returns it.
    pub fn readdress(&self, i: u8) -> Ipv4Addr {
        let (ns, old) = (self.ns(i), self.addr(i));
        let new = Ipv4Addr::new(10, 77, self.net, i + 101);
        ip(&format!("-n {ns} addr del {old}/23 dev eth0")).expect("its address");
        ip(&format!("-n {ns} addr add {new}/23 dev eth0")).expect("a free address");
        new
    }

    /// Starts a program on a host.
    pub fn start(&self, i: u8, program: &str, args: &[&str]) -> Program {
        Program::start_on(Some(&self.ns(i)), program, args)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for i in 0..self.n {
            // the system keeps a namespace, and its links, for as long as a connection in it lingers
            let _ = ip(&format!("link del {}v{i}", self.id));
            let _ = ip(&format!("netns del {}", self.ns(i)));
        }
        let _ = ip(&format!("link del {}", self.id));
        let _ = ip(&format!("link del {}b", self.id));
    }
}

/// A folder with so much room, in MiB; it is given back in the end.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// An empty disk in the place of this folder.
    pub fn mount(dir: &Path, mib: u32) -> Self {
        let size = format!("size={mib}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir)
            .status();
        assert!(mount.expect("util-linux").success());
        Self(dir.to_owned())
    }

    /// More room, or less.
    pub fn grow(&self, mib: u32) {
        let size = format!("remount,size={mib}m");
        let mount = Command::new("mount")
            .args(["-o", &size])
            .arg(&self.0)
            .status();
        assert!(mount.expect("util-linux").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
