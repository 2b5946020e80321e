//! Several machines, each with its own address: hosts of a lab.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use bittorrentish::md5::digest;

use super::lab::{Lab, SmallDisk, ip, lab};
use super::support::{Program, QUICK, Temp, md5_of, next_version, plant, random_bytes, until};

/// The README's way to hand one file to many machines: `n` hosts beside the first, which has tracker and seed. They reach it
/// at the address that `tracker_at` says.
fn hand_out(n: u8, mib: usize, tracker_at: impl Fn(&Lab) -> String) {
    let Some(lab) = lab(n + 1) else { return };
    let at = tracker_at(&lab);
    // slow enough that whoever starts a little later still meets the others
    lab.shape(0, 100.0, 1000.0).expect("the seed's link");
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
    seed.until_line("sharing image.iso");
    let dirs: Vec<_> = (1..=n).map(|i| temp.dir(&format!("host{i}"))).collect();
    let start = |(i, dir): (u8, &PathBuf)| {
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
        assert_eq!(md5_of(&dir.join("image.iso")), Some(digest(&image)));
    }
    let other = |line: &String| line.contains("connected to ") && line.contains(":50001");
    assert!(
        n < 2 || peers.iter().any(|peer| peer.lines().iter().any(other)),
        "nobody took from another host"
    );
}

#[test]
fn p8_it_runs_across_machines_with_their_own_addresses() {
    hand_out(3, 16, |lab| lab.addr(0).to_string());
}

#[test]
fn many_machines_take_one_image() {
    hand_out(12, 4, |lab| lab.addr(0).to_string());
}

#[test]
fn machines_without_any_configured_address_reach_each_other() {
    hand_out(3, 4, |lab| format!("{}%eth0", lab.link_local(0)));
}

/// Who turns IPv6 off, by sysctl or in a firewall, leaves a system that still listens at all addresses, and can't reach `::1`.
#[test]
fn a_machine_whose_ipv6_is_turned_off_ends_its_run() {
    hand_out(2, 4, |lab| {
        for i in 0..=2 {
            ip(&format!("-n {} -6 addr flush dev lo", lab.ns(i))).expect("it had one");
        }
        lab.addr(0).to_string()
    });
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

/// How the seed comes into the second week.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seed {
    /// It ran all week, as the tracker did; the image changed below it.
    LeftRunning,
    /// Tracker and seed are started before the machines, which wait for neither's hashing.
    First,
    /// The tracker is started, then the machines, then the seed.
    Last,
}

/// One way to do the second rollout.
#[derive(Debug)]
struct Rollout<'a> {
    lab: &'a Lab,
    /// The folders of this rollout.
    dir: PathBuf,
    /// Other rollouts use other ports of the same hosts.
    n: u16,
    seed: Seed,
    replace: bool,
    pinned: bool,
}

impl Rollout<'_> {
    /// Beside the first host, which has tracker and seed.
    const MACHINES: u8 = 6;

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn tracker(&self) -> Program {
        let port = (29283 + self.n).to_string();
        let torrents = self.folder("torrents");
        let torrents = torrents.to_str().expect("UTF-8");
        let args = ["--remote", "--port", &port, "--torrents", torrents];
        let tracker = self.lab.start(0, "server", &args);
        tracker.until_line("listening on port");
        tracker
    }

    /// A client with the README's flags for the seed and for the machines, and further ones.
    fn client(&self, host: u8, week: u8, more: &[&str]) -> Program {
        let at = self.lab.addr(0).to_string();
        // below the ports that the system gives to outgoing connections
        let (port, listen) = (29283 + self.n, 20001 + self.n);
        let (port, listen) = (port.to_string(), listen.to_string());
        let folder = self.folder(&format!("host{host}"));
        let log = self.dir.join(format!("host{host}-week{week}.log"));
        let (folder, log) = (folder.to_str().expect("UTF-8"), log.to_str());
        let args = [&at, &port, folder, "--listen", &listen];
        let args = [
            &args[..],
            &["--only", "image.iso"],
            &["--log", log.expect("UTF-8")],
            more,
        ];
        self.lab.start(host, "client", &args.concat())
    }

    /// All machines at once, as by the README's script.
    fn machines(&self, week: u8, image: &[u8]) -> Vec<Program> {
        let md5 = digest(image).to_string();
        let mut flags = vec!["--exit-when-complete", "--seed-for", "1"];
        if self.replace {
            flags.push("--replace");
        }
        if self.pinned {
            flags.extend(["--md5", &md5]);
        }
        let hosts = 1..=Self::MACHINES;
        hosts.map(|host| self.client(host, week, &flags)).collect()
    }

    fn sharing(seed: &Program, image: &[u8]) {
        let md5 = digest(image).to_string();
        seed.until_event("sharing", |event| event["md5"] == md5.as_str());
    }

    /// The image on a host.
    fn image(&self, host: u8) -> PathBuf {
        self.folder(&format!("host{host}")).join("image.iso")
    }

    fn first_week(&self, image: &[u8]) -> (Program, Program) {
        let tracker = self.tracker();
        plant(&self.folder("host0"), "image.iso", image);
        let seed = self.client(0, 1, &[]);
        Self::sharing(&seed, image);
        for mut machine in self.machines(1, image) {
            assert_eq!(machine.until_ended().code(), Some(0), "{machine:?}");
        }
        (tracker, seed)
    }

    /// Returns what has to go on running.
    fn second_week(
        &self,
        (tracker, seed): (Program, Program),
        image: &[u8],
    ) -> (Program, Program, Vec<Program>) {
        let change = || plant(&self.folder("host0"), "image.iso", image);
        if self.seed == Seed::LeftRunning {
            change();
            Self::sharing(&seed, image);
            return (tracker, seed, self.machines(2, image));
        }
        drop((tracker, seed));
        change();
        let tracker = self.tracker();
        if self.seed == Seed::First {
            let seed = self.client(0, 2, &[]);
            seed.until_line("listening on port");
            return (tracker, seed, self.machines(2, image));
        }
        let mut machines = self.machines(2, image);
        for machine in &mut machines {
            until(&format!("{self:?}: a list of {machine:?}"), || {
                let known = !machine.events("list_sent").is_empty() || !machine.is_running();
                known.then_some(())
            });
        }
        (tracker, self.client(0, 2, &[]), machines)
    }

    fn run(&self, old: &[u8], new: &[u8]) {
        let first = self.first_week(old);
        let (tracker, seed, machines) = self.second_week(first, new);
        let (code, stands) = if self.replace { (0, new) } else { (4, old) };
        let md5s = [old, new].map(|image| digest(image).to_string());
        for (host, mut machine) in (1..).zip(machines) {
            assert_eq!(
                machine.until_ended().code(),
                Some(code),
                "{self:?}: {machine:?}"
            );
            let stands_here = md5_of(&self.image(host));
            assert_eq!(stands_here, Some(digest(stands)), "{self:?}: {machine:?}");
            let end = machine.events("ending").pop().expect("it ends");
            let why = end["why"].to_string();
            assert!(why.contains(&md5s[1]), "{self:?}: {end}");
            // who ends with 4 is told both; who ends with 0 has nothing to do with the old one
            assert_eq!(why.contains(&md5s[0]), code == 4, "{self:?}: {end}");
            // what the README looks for to see who is done
            let mut done = machine.events("complete");
            if self.pinned {
                done.extend(machine.events("sharing"));
            }
            assert!(
                done.iter().all(|event| event["md5"] == md5s[1].as_str()),
                "{self:?}: {machine:?}"
            );
        }
        drop((tracker, seed));
    }
}

#[test]
fn six_machines_take_a_changed_image_or_say_why_not() {
    let Some(lab) = lab(1 + Rollout::MACHINES) else {
        return;
    };
    let temp = Temp::new();
    let old = random_bytes(4 << 20, 1);
    let new = next_version(&old);
    let mut rollouts = Vec::new();
    for seed in [Seed::LeftRunning, Seed::First, Seed::Last] {
        for (replace, pinned) in [(false, false), (false, true), (true, false), (true, true)] {
            let n = rollouts.len() as u16;
            rollouts.push(Rollout {
                lab: &lab,
                dir: temp.dir(&n.to_string()),
                n,
                seed,
                replace,
                pinned,
            });
        }
    }
    // mostly they wait for pings: all at once
    thread::scope(|scope| {
        for rollout in &rollouts {
            scope.spawn(|| rollout.run(&old, &new));
        }
    });
}

/// What a machine of the rollout has against it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    Killed,
    OtherContent,
    DiskFull,
    NeverStarted,
}

/// One machine of the rollout, by its number.
fn trouble_of(i: u8) -> Trouble {
    match i {
        27 => Trouble::DiskFull,
        28 => Trouble::OtherContent,
        29 => Trouble::Killed,
        30 => Trouble::NeverStarted,
        _ => Trouble::None,
    }
}

/// Thirty machines, four of them in trouble, watched by `--status` alone: all four are named with the cause; and once that is
/// mended, the same command ends with 0.
#[test]
fn a_rollout_to_thirty_is_watched_by_its_status_alone() {
    let Some(lab) = lab(31) else { return };
    let temp = Temp::new();
    let image = random_bytes(8 << 20, 1);
    let (torrents, seed_dir) = (temp.dir("torrents"), temp.dir("seed"));
    plant(&seed_dir, "image.iso", &image);
    let utf8 = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let torrents = utf8(&torrents);
    let server = [
        "--remote",
        "--port",
        "29283",
        "--sweep-every",
        "1",
        "--torrents",
        &torrents,
    ];
    let tracker = lab.start(0, "server", &server);
    tracker.until_line("listening on port");
    let at = lab.addr(0).to_string();
    let dirs: Vec<PathBuf> = (0..=30).map(|i| temp.dir(&format!("host{i}"))).collect();
    let log = |i: u8| utf8(&temp.path().join(format!("host{i}.log")));
    let start = |i: u8, more: &[&str]| {
        let (dir, log) = (utf8(&dirs[usize::from(i)]), log(i));
        let args = [
            &at,
            "29283",
            &dir,
            "--only",
            "image.iso",
            "--exit-when-complete",
            "--log",
            &log,
        ];
        let more = [&QUICK[..], &["--seed-for", "600", "--no-page"], more].concat();
        lab.start(i, "client", &[&args[..], &more].concat())
    };
    let small = SmallDisk::mount(&dirs[27], 2);
    plant(&dirs[28], "image.iso", b"the user's own");
    let seed = utf8(&seed_dir);
    let seed = lab.start(
        0,
        "client",
        &[&[at.as_str(), "29283", &seed][..], &QUICK].concat(),
    );
    seed.until_line("sharing image.iso");
    let hosts = temp.path().join("hosts");
    let listed: String = (1..=30)
        .map(|i| format!("{}  # pc{i}\n", lab.addr(i)))
        .collect();
    fs::write(&hosts, listed).expect("room");
    let status = |more: &[&str]| {
        let hosts = utf8(&hosts);
        let args = [
            &at,
            "29283",
            "--status",
            "--only",
            "image.iso",
            "--hosts",
            &hosts,
        ];
        lab.start(0, "client", &[&args[..], more].concat())
    };
    let mut peers: Vec<Program> = (1..=29)
        .map(|i| match trouble_of(i) {
            Trouble::Killed => start(i, &["--max-down", "1M"]),
            _ => start(i, &[]),
        })
        .collect();
    let killed = &mut peers[28];
    // 60 % of 128 pieces
    until("60 % of it", || {
        (killed.events("piece").len() >= 77).then_some(())
    });
    killed.kill();
    for i in (1..=30).filter(|i| trouble_of(*i) == Trouble::None) {
        let peer = &peers[usize::from(i) - 1];
        peer.until_event("complete", |_| true);
    }
    assert_eq!(peers[26].until_ended().code(), Some(5), "{:?}", peers[26]);
    // the tracker drops the killed one at its second sweep, and a report may be on its way
    until("each machine named with its cause", || {
        let mut late = status(&["--until", "30", "--within", "0.1"]);
        assert_eq!(late.until_ended().code(), Some(6), "{late:?}");
        let text = late.lines().join("\n");
        let named = |i: u8, why: &str| {
            let at = lab.addr(i).to_string();
            let mut lines = text.lines().filter(|line| line.starts_with("missing: "));
            lines.any(|line| line.contains(&at) && line.contains(why))
        };
        let all = named(27, "exit code 5: ")
            && named(28, "has another content")
            && named(29, "gone at ")
            && named(30, "never came");
        (all && text.contains("26 of 30 machines have image.iso")).then_some(())
    });
    // and now each of them is mended
    small.grow(40);
    peers[27].kill();
    fs::remove_file(dirs[28].join("image.iso")).expect("there");
    let mut waits = status(&["--until", "30"]);
    peers.extend([27, 28, 29, 30].map(|i| start(i, &[])));
    assert_eq!(waits.until_ended().code(), Some(0), "{waits:?}");
    for dir in &dirs[1..] {
        assert_eq!(
            md5_of(&dir.join("image.iso")),
            Some(digest(&image)),
            "{}",
            dir.display()
        );
    }
    drop(peers);
}
