//! What the tracker remembers of the machines: how far each is by its last report, and who finished and left.
//!
//! It is for people who watch a rollout (`client --status`, and the page), and decides nothing. A machine is its address and
//! what it calls itself: a run on another port is the same machine, and so is one at another address with the same folder. On
//! loopback, where many peers share one address, each is a machine by its port. The Mutex is a leaf lock.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::md5::Digest;
use crate::protocol::{
    FILES_REPORTED, FilePace, FileReport, HOST_CHARS, MachineReport, MachineStatus, RunEnd,
    SwarmPace, TEXT_CHARS,
};
use crate::torrent::{Name, legible};

/// The most machines that are remembered; beyond that, the one that has been silent for longest is forgotten.
const MACHINES: usize = 10_000;
/// The most of them at one address.
const MACHINES_PER_ADDRESS: usize = 64;
/// About how many bytes a machine takes as JSON, without its files.
const MACHINE_LEN: usize = 200;
/// About how many bytes one of its files takes, without its name and state.
const FILE_LEN: usize = 350;
/// A machine that hasn't reported for this long isn't counted as part of the swarm: at least every 18 s a peer reports.
const SILENT: Duration = Duration::from_secs(20);
/// The largest figure of a report that is believed, bytes a second: of larger ones the sum is no number.
const FASTEST: f64 = 1e15;
/// The swarm's speed is computed this often at most: everybody is told, and there may be thousands.
const SUM_EVERY: Duration = Duration::from_secs(1);

/// Which machine: its address, what it calls itself, and its port where only that tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MachineId(IpAddr, String, u16);

/// A machine that has reported.
struct Machine {
    addr: SocketAddr,
    /// When it reported first, and last.
    began: Instant,
    reported: Instant,
    report: MachineReport,
    /// How much of each file there was when it last grew, and when that was.
    grew: BTreeMap<Name, (u64, Instant)>,
}

/// A machine's peer, its folder, and what is known of it.
pub(super) type ReportedMachine = (SocketAddr, Option<Digest>, MachineStatus);

/// What is known of the machines, behind its lock.
#[derive(Default)]
pub(super) struct Machines(Mutex<Reports>);

#[derive(Default)]
struct Reports {
    /// All that have reported.
    machines: BTreeMap<MachineId, Machine>,
    /// How fast the swarm was when that was last asked for.
    last_pace: Option<LastPace>,
}

/// How fast the swarm moved a content, and when that was computed.
struct LastPace {
    at: Instant,
    name: Name,
    md5: Option<Digest>,
    pace: SwarmPace,
}

impl Machines {
    /// Returns how fast the swarm moves the content that a peer reports of.
    pub(super) fn pace(&self, file: &FileReport, now: Instant) -> SwarmPace {
        let mut reports = self.lock();
        let of_it = |name: &Name, md5| *name == file.name && md5 == file.md5;
        if let Some(last) = &reports.last_pace
            && of_it(&last.name, last.md5)
            && now.saturating_duration_since(last.at) < SUM_EVERY
        {
            return last.pace;
        }
        let here = |machine: &&Machine| {
            let age = now.saturating_duration_since(machine.reported);
            age < SILENT && machine.report.ended.is_none()
        };
        let files = reports.machines.values().filter(here);
        let files = files.flat_map(|machine| &machine.report.files);
        let pace = SwarmPace::of(files.filter(|other| of_it(&other.name, other.md5)));
        let (at, name, md5) = (now, file.name.clone(), file.md5);
        reports.last_pace = Some(LastPace {
            at,
            name,
            md5,
            pace,
        });
        pace
    }

    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report of the peer at this address.
    pub(super) fn note(&self, addr: SocketAddr, report: MachineReport, now: Instant) {
        let report = bounded(report);
        let port = if addr.ip().is_loopback() {
            addr.port()
        } else {
            0
        };
        let id = MachineId(addr.ip(), report.host.clone(), port);
        let machines = &mut self.lock().machines;
        forget_old_name(machines, &id, addr, report.folder);
        make_room(machines, &id);
        let before = machines.remove(&id);
        let (began, mut grew) = before.map_or_else(
            || (now, BTreeMap::new()),
            |before| (before.began, before.grew),
        );
        grew.retain(|name, _| report.files.iter().any(|file| file.name == *name));
        for file in &report.files {
            match grew.get(&file.name) {
                Some((here, _)) if *here == file.here => {}
                _ => drop(grew.insert(file.name.clone(), (file.here, now))),
            }
        }
        let machine = Machine {
            addr,
            began,
            reported: now,
            report,
            grew,
        };
        machines.insert(id, machine);
    }

    /// Returns about how many bytes all that is known takes as JSON.
    pub(super) fn len_hint(&self) -> usize {
        let len = |machine: &Machine| {
            let files = machine.report.files.iter();
            let files = files.map(|file| FILE_LEN + file.name.as_str().len() + file.state.len());
            let ended = machine.report.ended.as_ref();
            MACHINE_LEN + ended.map_or(0, |ended| ended.why.len()) + files.sum::<usize>()
        };
        self.lock().machines.values().map(len).sum()
    }

    /// Returns what is known of each, at most `most`, with the address of its peer and its folder. Whether that is here the
    /// roster knows.
    pub(super) fn all(&self, now: Instant, most: usize) -> Vec<ReportedMachine> {
        let since = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
        let status = |machine: &Machine| {
            let files = machine.report.files.clone();
            let still = |name: &Name| machine.grew.get(name).map_or(0.0, |(_, at)| since(*at));
            let status = MachineStatus {
                host: machine.report.host.clone(),
                peer: machine.addr.to_string(),
                here: false,
                age: since(machine.reported),
                still: files.iter().map(|file| still(&file.name)).collect(),
                files,
                ended: machine.report.ended.clone(),
            };
            (machine.addr, machine.report.folder, status)
        };
        let machines = &self.lock().machines;
        let mut last: BTreeMap<(&str, Digest), Instant> = BTreeMap::new();
        for machine in machines.values() {
            if let Some(folder) = machine.report.folder {
                let of_it = last.entry((&machine.report.host, folder));
                let began = of_it.or_insert(machine.began);
                *began = machine.began.max(*began);
            }
        }
        // at another address since then, it is the same machine: counted twice, it would stand for one that is missing;
        // machines with a copied folder report at the same time
        let is_last = |machine: &&Machine| {
            let (host, folder) = (machine.report.host.as_str(), machine.report.folder);
            folder.is_none_or(|folder| last[&(host, folder)] <= machine.reported)
        };
        let machines = machines.values().filter(is_last);
        machines.take(most).map(status).collect()
    }
}

/// Cuts off what is longer than agreed: it is kept, and shown to people.
fn bounded(mut report: MachineReport) -> MachineReport {
    let cut = |text: &str, most| legible(text).chars().take(most).collect::<String>();
    report.host = cut(&report.host, HOST_CHARS);
    report.files.truncate(FILES_REPORTED);
    for file in &mut report.files {
        file.state = cut(&file.state, TEXT_CHARS);
        file.here = file.here.min(file.size);
        file.speed = figure(file.speed);
        file.left = file.left.map(figure);
        file.pace = FilePace {
            up: figure(file.pace.up),
            best_up: figure(file.pace.best_up),
            best_down: figure(file.pace.best_down),
            ..file.pace
        };
    }
    report.ended = report.ended.map(|ended| RunEnd {
        why: cut(&ended.why, TEXT_CHARS),
        ..ended
    });
    report
}

/// A figure that can be shown, and added to others.
fn figure(n: f64) -> f64 {
    n.clamp(0.0, FASTEST)
}

/// Forgets the peer at this address by the name that its machine had before, which would count twice: a machine may get
/// its name only some time after it has started. With another folder it is another machine, behind the same NAT.
fn forget_old_name(
    machines: &mut BTreeMap<MachineId, Machine>,
    id: &MachineId,
    addr: SocketAddr,
    folder: Option<Digest>,
) {
    if machines.contains_key(id) {
        return;
    }
    let first = MachineId(id.0, String::new(), 0);
    let mut of_address = machines
        .range(first..)
        .take_while(|(other, _)| other.0 == id.0);
    let is_it = |machine: &Machine| machine.addr == addr && machine.report.folder == folder;
    let before = of_address.find(|(_, machine)| is_it(machine));
    if let Some(before) = before.map(|(before, _)| before.clone()) {
        machines.remove(&before);
    }
}

/// Forgets whoever has been silent for longest, where there is no room for one more.
fn make_room(machines: &mut BTreeMap<MachineId, Machine>, id: &MachineId) {
    if machines.contains_key(id) {
        return;
    }
    let first = MachineId(id.0, String::new(), 0);
    let of_address = machines
        .range(first..)
        .take_while(|(other, _)| other.0 == id.0);
    let crowded = !id.0.is_loopback() && of_address.clone().count() >= MACHINES_PER_ADDRESS;
    let silent = match crowded {
        true => of_address.min_by_key(|(_, machine)| machine.reported),
        false if machines.len() >= MACHINES => {
            machines.iter().min_by_key(|(_, machine)| machine.reported)
        }
        false => None,
    };
    if let Some(silent) = silent.map(|(silent, _)| silent.clone()) {
        machines.remove(&silent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::digest;

    fn report(port: u16, host: &str, here: u64) -> MachineReport {
        let file = FileReport {
            name: Name::parse("image.iso").expect("a name"),
            md5: Some(digest(b"image")),
            size: 100,
            here,
            whole: here == 100,
            mine: false,
            unconfirmed: false,
            speed: 5.0,
            left: None,
            state: "from 1 peer".to_owned(),
            pace: FilePace {
                up: 3.0,
                ..FilePace::default()
            },
        };
        MachineReport {
            port,
            host: host.to_owned(),
            folder: None,
            files: vec![file],
            ended: None,
        }
    }

    fn known(machines: &Machines, now: Instant) -> Vec<MachineStatus> {
        let all = machines.all(now, usize::MAX);
        all.into_iter().map(|(.., machine)| machine).collect()
    }

    fn at(ip: [u8; 4], port: u16) -> SocketAddr {
        (ip, port).into()
    }

    #[test]
    fn a_machine_that_comes_back_at_another_address_counts_once() {
        let (machines, start) = (Machines::default(), Instant::now());
        let note = |second, ip, host, folder: &str| {
            let report = MachineReport {
                folder: Some(digest(folder.as_bytes())),
                ..report(1, host, 100)
            };
            machines.note(at(ip, 1), report, start + Duration::from_secs(second));
        };
        note(0, [10, 0, 0, 7], "pc07", "one");
        note(1, [10, 0, 0, 19], "pc07", "one");
        // clones: with one name, with one folder, and with both
        note(2, [10, 0, 0, 8], "pc07", "another");
        note(3, [10, 0, 0, 9], "pc09", "one");
        note(4, [10, 0, 0, 10], "vm", "copied");
        note(5, [10, 0, 0, 11], "vm", "copied");
        note(6, [10, 0, 0, 10], "vm", "copied");
        let known = known(&machines, start + SILENT);
        let peers: Vec<&str> = known.iter().map(|one| one.peer.as_str()).collect();
        assert_eq!(
            peers,
            [
                "10.0.0.8:1",
                "10.0.0.9:1",
                "10.0.0.10:1",
                "10.0.0.11:1",
                "10.0.0.19:1"
            ]
        );
    }

    #[test]
    fn a_machine_that_reports_again_takes_nobodys_place() {
        let (machines, now) = (Machines::default(), Instant::now());
        let lan = [10, 0, 0, 7];
        let note = |ip, n: u16| machines.note(at(ip, n), report(n, &format!("pc{n}"), 1), now);
        let n_here = || known(&machines, now).len();
        let all = MACHINES_PER_ADDRESS as u16;
        (0..all).chain([all - 1]).for_each(|n| note(lan, n));
        assert_eq!(n_here(), MACHINES_PER_ADDRESS);
        note(lan, all);
        assert_eq!(n_here(), MACHINES_PER_ADDRESS, "one more has another's");
        note([10, 0, 0, 8], 1);
        assert_eq!(n_here(), MACHINES_PER_ADDRESS + 1, "another address");
        (0..all + 1).for_each(|n| note([127, 0, 0, 1], n));
        assert_eq!(
            n_here(),
            2 * MACHINES_PER_ADDRESS + 2,
            "all on this machine"
        );
    }

    #[test]
    fn a_report_is_cut_to_what_a_report_has() {
        let mut long = report(1, &"h".repeat(2 * HOST_CHARS), 1000);
        let file = &mut long.files[0];
        (file.state, file.speed, file.left) = ("s".repeat(2 * TEXT_CHARS), 1e300, Some(-1.0));
        long.files = vec![file.clone(); 2 * FILES_REPORTED];
        let cut = bounded(long);
        let file = &cut.files[0];
        let lens = (cut.host.len(), cut.files.len(), file.state.len());
        assert_eq!(lens, (HOST_CHARS, FILES_REPORTED, TEXT_CHARS));
        assert_eq!(
            (file.here, file.speed, file.left),
            (100, FASTEST, Some(0.0))
        );
    }

    #[test]
    fn a_machine_is_its_name_and_address_whatever_its_port() {
        let (machines, now) = (Machines::default(), Instant::now());
        let lan = [10, 0, 0, 7];
        machines.note(at(lan, 1), report(1, "pc07", 60), now);
        machines.note(at(lan, 2), report(2, "pc07", 70), now);
        machines.note(at(lan, 3), report(3, "other", 10), now);
        machines.note(at([127, 0, 0, 1], 1), report(1, "pc07", 10), now);
        machines.note(at([127, 0, 0, 1], 2), report(2, "pc07", 10), now);
        let all = known(&machines, now);
        let peers: Vec<&str> = all.iter().map(|machine| &*machine.peer).collect();
        assert_eq!(
            peers,
            ["10.0.0.7:3", "10.0.0.7:2", "127.0.0.1:1", "127.0.0.1:2"]
        );
        assert_eq!(all[1].files[0].here, 70);
    }

    #[test]
    fn a_machine_that_is_renamed_counts_once() {
        let (machines, now) = (Machines::default(), Instant::now());
        for (port, host) in [(1, "localhost"), (2, "other"), (1, "pc07"), (2, "other")] {
            let lan = at([10, 0, 0, 7], port);
            machines.note(lan, report(port, host, 100), now);
        }
        let hosts: Vec<String> = known(&machines, now)
            .into_iter()
            .map(|machine| machine.host)
            .collect();
        assert_eq!(hosts, ["other", "pc07"]);
    }

    #[test]
    fn machines_behind_one_nat_all_count() {
        let (machines, now) = (Machines::default(), Instant::now());
        let nat = at([10, 0, 0, 7], 50001);
        for (host, here) in [("pc01", 10), ("pc02", 20), ("pc03", 30), ("pc01", 100)] {
            let report = MachineReport {
                folder: Some(digest(host.as_bytes())),
                ..report(50001, host, here)
            };
            machines.note(nat, report, now);
        }
        let all = known(&machines, now);
        let here: Vec<(&str, u64)> = all
            .iter()
            .map(|machine| (&*machine.host, machine.files[0].here))
            .collect();
        assert_eq!(here, [("pc01", 100), ("pc02", 20), ("pc03", 30)]);
    }

    #[test]
    fn how_long_it_has_stood_still_is_known() {
        let (machines, start) = (Machines::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let lan = at([10, 0, 0, 7], 1);
        for (seconds, here) in [(0, 10), (3, 20), (6, 20), (9, 20)] {
            machines.note(lan, report(1, "pc07", here), after(seconds));
        }
        let all = known(&machines, after(10));
        assert_eq!(
            (all[0].age, all[0].still[0], all[0].here),
            (1.0, 7.0, false)
        );
    }

    #[test]
    fn how_fast_a_swarm_is_counts_who_is_here_with_this_content() {
        let (machines, start) = (Machines::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let lan = |host| at([10, 0, 0, host], 1);
        machines.note(lan(1), report(1, "silent", 50), after(0));
        machines.note(lan(2), report(1, "seed", 100), after(20));
        machines.note(lan(3), report(1, "moves", 50), after(20));
        let mut other = report(1, "other", 50);
        other.files[0].md5 = Some(digest(b"another"));
        machines.note(lan(4), other, after(20));
        let mut ended = report(1, "ended", 50);
        let why = String::new();
        ended.ended = Some(RunEnd { code: 5, why });
        machines.note(lan(5), ended, after(20));
        let asked = &report(1, "moves", 50).files[0];
        let pace = machines.pace(asked, after(21));
        assert_eq!((pace.n_behind, pace.up), (1, 6.0));
        // summed up once a second, and anew for another content
        machines.note(lan(6), report(1, "moves too", 50), after(21));
        assert_eq!(machines.pace(asked, after(21)).n_behind, 1);
        let mut another = asked.clone();
        another.md5 = Some(digest(b"another"));
        assert_eq!(machines.pace(&another, after(21)).up, 3.0);
        assert_eq!(machines.pace(asked, after(21)).n_behind, 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (machines, now) = (Machines::default(), Instant::now());
        for n in 0..200 {
            let host = format!("{}\u{1b}{n}", "x".repeat(100));
            let at_time = now + Duration::from_secs(n);
            machines.note(at([10, 0, 0, 7], 1), report(1, &host, 200), at_time);
        }
        // cut to the same name
        let all = known(&machines, now);
        assert_eq!((all.len(), all[0].files[0].here), (1, 100));
        assert_eq!(all[0].host.chars().count(), HOST_CHARS);
        for n in 0..200 {
            let at_time = now + Duration::from_secs(n);
            let lan = at([10, 0, 0, 8], n as u16 + 1);
            machines.note(lan, report(1, &n.to_string(), 0), at_time);
        }
        let all = known(&machines, now);
        let hosts = all
            .iter()
            .filter(|machine| machine.peer.starts_with("10.0.0.8:"));
        assert_eq!(hosts.count(), MACHINES_PER_ADDRESS);
        assert!(all.iter().any(|machine| machine.host == "199"));
    }
}
