//! What a machine's report means for whoever waits for a rollout. Pure.

use std::net::{IpAddr, SocketAddr};

use crate::md5::Digest;
use crate::protocol::{FileReport, MachineStatus, Summary, SwarmStatus};
use crate::torrent::Name;
use crate::units::percent;

/// A machine that hasn't got anything new for this long stands still, seconds: several reports.
const STILL: f64 = 30.0;

/// A file that every machine is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The file.
    pub name: Name,
    /// The content: the pinned one, or else the one that stands; `None` if nothing stands.
    pub md5: Option<Digest>,
    /// Its size, bytes, if something stands.
    pub size: u64,
    /// Whether the user named its MD5: it counts, whatever stands elsewhere.
    pub pinned: bool,
}

/// How a machine stands to the targets.
#[derive(Clone, Debug, PartialEq)]
pub enum RolloutState {
    /// It published the largest of them: it isn't counted.
    Publisher,
    /// It has them all.
    Done,
    /// It stands here with another content.
    Other,
    /// Its run ended by itself, before it had them.
    Ended(u8, String),
    /// It left, or was cut off.
    Gone,
    /// It has got nothing new for this many seconds.
    Still(f64),
    /// It gets on.
    OnItsWay,
}

/// One machine, and how it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedMachine {
    /// What it calls itself.
    pub host: String,
    /// Where it was last.
    pub peer: String,
    /// Whether it is here.
    pub here: bool,
    /// How old its report is, seconds.
    pub age: f64,
    /// How it stands.
    pub standing: RolloutState,
    /// The file that it is about: the first that isn't done, or else the first of all; where nothing is published yet, the first
    /// that it is busy with.
    pub file: Option<FileReport>,
}

impl JudgedMachine {
    /// Returns true if it counts as having everything.
    pub fn is_done(&self) -> bool {
        self.standing == RolloutState::Done
    }

    /// Returns true if nothing is missing there: it is done, or it published one of the targets.
    pub fn has_it(&self) -> bool {
        self.is_done() || self.standing == RolloutState::Publisher
    }

    /// Returns how much of the file is there, in whole percents: nothing of it where another content is whole.
    pub fn percent(&self) -> u64 {
        let file = self.file.as_ref();
        let is_other = matches!(self.standing, RolloutState::Other | RolloutState::Ended(..));
        file.map_or(0, |file| match file.size {
            _ if file.whole && is_other => 0,
            0 if file.whole => 100,
            size => percent(file.here, size),
        })
    }

    /// Returns true if a line of a list of hosts means this machine: its name, its address, or a name of this address.
    pub fn is_host(&self, host: &Host) -> bool {
        let ip = self.peer.parse().ok().map(|addr: SocketAddr| addr.ip());
        let name = host.name.as_ref().filter(|name| !name.is_empty());
        let by_name = name.is_some_and(|name| name.eq_ignore_ascii_case(&self.host));
        by_name || ip.is_some_and(|ip| host.addresses.contains(&ip))
    }
}

/// A machine that is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// As it was written.
    pub text: String,
    /// The short name, if no other machine that is expected has it, too.
    pub name: Option<String>,
    /// The addresses of that name, as far as they are known.
    pub addresses: Vec<IpAddr>,
}

/// Returns the files that every machine is to have: the one that is asked for, or else all that stand.
pub fn targets(only: Option<&Name>, pin: Option<Digest>, files: &[Summary]) -> Vec<Target> {
    let of = |listed: &Summary| Target {
        name: listed.name.clone(),
        md5: Some(listed.md5),
        size: listed.size,
        pinned: false,
    };
    let Some(name) = only else {
        return files.iter().map(of).collect();
    };
    let stands = files.iter().find(|listed| listed.name == *name);
    vec![Target {
        name: name.clone(),
        md5: pin.or(stands.map(|listed| listed.md5)),
        size: stands.map_or(0, |listed| listed.size),
        pinned: pin.is_some(),
    }]
}

/// Returns how each machine stands, whoever is furthest behind first.
pub fn judge(status: &SwarmStatus, targets: &[Target]) -> Vec<JudgedMachine> {
    let mut all: Vec<JudgedMachine> = status
        .machines
        .iter()
        .map(|machine| judge_one(machine, targets))
        .collect();
    all.sort_by_key(|one| {
        (
            one.is_done(),
            one.standing == RolloutState::Publisher,
            one.percent(),
        )
    });
    all
}

fn judge_one(machine: &MachineStatus, targets: &[Target]) -> JudgedMachine {
    let report = |name: &Name| machine.files.iter().position(|file| file.name == *name);
    let has = |target: &Target| {
        let file = report(&target.name).map(|at| &machine.files[at]);
        let file = file.filter(|file| file.whole && (target.pinned || !file.unconfirmed));
        file.is_some_and(|file| target.md5.is_some() && file.md5 == target.md5)
    };
    // whoever has a small file of its own in the folder is no seed
    let largest = targets.iter().max_by_key(|target| target.size);
    let is_publisher = largest.is_some_and(|target| {
        let file = report(&target.name).map(|at| &machine.files[at]);
        file.is_some_and(|file| file.mine) && has(target)
    });
    let lacking = targets.iter().find(|target| !has(target));
    let about = lacking.or(targets.first());
    let at = match about {
        Some(target) => report(&target.name),
        None => (!machine.files.is_empty()).then_some(0),
    };
    let file = at.map(|at| machine.files[at].clone());
    let still = at.and_then(|at| machine.still.get(at)).copied();
    let standing = match lacking {
        _ if is_publisher => RolloutState::Publisher,
        // without anything to have, nobody is done
        None if !targets.is_empty() => RolloutState::Done,
        _ => match (&machine.ended, &file) {
            (Some(ended), _) => RolloutState::Ended(ended.code, ended.why.clone()),
            (None, Some(file)) if file.whole && !file.unconfirmed && !targets.is_empty() => {
                RolloutState::Other
            }
            _ if !machine.here => RolloutState::Gone,
            _ => match still {
                Some(still) if still >= STILL => RolloutState::Still(still),
                _ => RolloutState::OnItsWay,
            },
        },
    };
    JudgedMachine {
        host: machine.host.clone(),
        peer: machine.peer.clone(),
        here: machine.here,
        age: machine.age,
        standing,
        file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::digest;
    use crate::protocol::{FilePace, RunEnd};

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    fn file(content: &[u8], here: u64) -> FileReport {
        FileReport {
            name: name("f"),
            md5: Some(digest(content)),
            size: 100,
            here,
            whole: here == 100,
            mine: false,
            unconfirmed: false,
            speed: 0.0,
            left: None,
            state: String::new(),
            pace: FilePace::default(),
        }
    }

    fn machine(file: FileReport) -> MachineStatus {
        MachineStatus {
            host: "pc07".to_owned(),
            peer: "10.0.0.7:1".to_owned(),
            here: true,
            age: 1.0,
            files: vec![file],
            still: vec![0.0],
            ended: None,
        }
    }

    #[test]
    fn a_machine_stands_as_its_report_says() {
        let ended = |code| {
            let why = "disk full".to_owned();
            Some(RunEnd { code, why })
        };
        let target = |content: Option<&[u8]>| Target {
            name: name("f"),
            md5: content.map(digest),
            size: 100,
            pinned: false,
        };
        let right = || vec![target(Some(b"right"))];
        let pinned = || {
            vec![Target {
                pinned: true,
                ..target(Some(b"right"))
            }]
        };
        let unconfirmed = || {
            machine(FileReport {
                unconfirmed: true,
                ..file(b"right", 100)
            })
        };
        let whole = || machine(file(b"right", 100));
        let part = || machine(file(b"right", 60));
        let mine = FileReport {
            mine: true,
            ..file(b"right", 100)
        };
        for (what, machine, targets, expected) in [
            ("it has it", whole(), right(), RolloutState::Done),
            (
                "it has it from an earlier run, and nobody confirms it",
                unconfirmed(),
                right(),
                RolloutState::OnItsWay,
            ),
            (
                "so it has what is pinned",
                unconfirmed(),
                pinned(),
                RolloutState::Done,
            ),
            (
                "it had it, and left",
                MachineStatus {
                    here: false,
                    ended: ended(0),
                    ..whole()
                },
                right(),
                RolloutState::Done,
            ),
            (
                "it has last week's",
                machine(file(b"old", 100)),
                right(),
                RolloutState::Other,
            ),
            (
                "nothing stands: nobody is done",
                whole(),
                vec![target(None)],
                RolloutState::Other,
            ),
            (
                "nothing is published",
                whole(),
                vec![],
                RolloutState::OnItsWay,
            ),
            (
                "it published it",
                machine(mine.clone()),
                right(),
                RolloutState::Publisher,
            ),
            (
                "it published another",
                machine(FileReport {
                    md5: Some(digest(b"old")),
                    ..mine
                }),
                right(),
                RolloutState::Other,
            ),
            ("it gets on", part(), right(), RolloutState::OnItsWay),
            (
                "it stands still",
                MachineStatus {
                    still: vec![31.0],
                    ..part()
                },
                right(),
                RolloutState::Still(31.0),
            ),
            (
                "it was cut off",
                MachineStatus {
                    here: false,
                    ..part()
                },
                right(),
                RolloutState::Gone,
            ),
            (
                "its disk is full",
                MachineStatus {
                    here: false,
                    ended: ended(5),
                    ..part()
                },
                right(),
                RolloutState::Ended(5, "disk full".to_owned()),
            ),
            (
                "it published a small file of its own",
                MachineStatus {
                    files: vec![FileReport {
                        name: name("g"),
                        mine: true,
                        ..file(b"right", 100)
                    }],
                    ..whole()
                },
                vec![
                    right().remove(0),
                    Target {
                        name: name("g"),
                        md5: Some(digest(b"right")),
                        size: 3,
                        pinned: false,
                    },
                ],
                RolloutState::OnItsWay,
            ),
            (
                "one of two files is missing",
                whole(),
                vec![
                    right().remove(0),
                    Target {
                        name: name("g"),
                        md5: None,
                        size: 0,
                        pinned: false,
                    },
                ],
                RolloutState::OnItsWay,
            ),
        ] {
            let found = judge_one(&machine, &targets).standing;
            assert_eq!(found, expected, "{what}");
        }
        assert_eq!(
            judge_one(&machine(file(b"old", 100)), &right()).percent(),
            0
        );
        // while a file is hashed, what is there of it shows
        assert_eq!(judge_one(&part(), &[]).percent(), 60);
    }

    #[test]
    fn a_host_is_known_by_name_or_address() {
        let judged = judge_one(&machine(file(b"a", 1)), &[]);
        let host = |text: &str, addresses: &[&str]| Host {
            text: text.to_owned(),
            name: Some(text.split('.').next().unwrap_or_default().to_owned()),
            addresses: addresses
                .iter()
                .map(|ip| ip.parse().expect("an address"))
                .collect(),
        };
        assert!(judged.is_host(&host("PC07", &[])));
        assert!(judged.is_host(&host("pc07.lab.example", &[])));
        assert!(judged.is_host(&host("10.0.0.7", &["10.0.0.7"])));
        assert!(judged.is_host(&host("other", &["10.0.0.7"])));
        assert!(!judged.is_host(&host("pc08", &["10.0.0.8"])));
    }

    #[test]
    fn without_a_pin_the_standing_content_counts() {
        let checkpoints = vec![crate::md5::INITIAL; 1];
        let (len, md5) = (crate::torrent::MIN_PIECE_LEN, digest(b"standing"));
        let torrent = crate::torrent::Torrent::new(name("f"), 8, len, md5, checkpoints);
        let files = [Summary::of(&torrent.expect("a torrent"))];
        let target = |only: Option<&str>, pin: Option<&[u8]>| {
            let only = only.map(name);
            targets(only.as_ref(), pin.map(digest), &files)
        };
        assert_eq!(target(None, None)[0].md5, Some(digest(b"standing")));
        assert_eq!(target(Some("f"), None)[0].md5, Some(digest(b"standing")));
        assert_eq!(target(Some("f"), Some(b"pin"))[0].md5, Some(digest(b"pin")));
        assert_eq!(target(Some("g"), None)[0].md5, None);
    }
}
