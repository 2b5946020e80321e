//! The README's thirty machines, done as described: its `lab.sh` and its `--status`, as they stand there but for the
//! address and the MD5, which an operator fills in, too. The machines are namespaces; `ssh` and `scp` are stand-ins that
//! run a command there. Each machine has a `/var/tmp` and a host name of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use bittorrentish::md5::digest;
use serde_json::Value;

use super::lab::{Lab, SmallDisk, lab};
use super::support::{
    Program, Temp, md5_of, next_version, plant, random_bytes, until, until_content,
};

/// Machines beside the first, which has tracker and seed.
const MACHINES: u8 = 8;
/// The one with a full disk, the one that is killed, the one that is off, and the one whose name is misspelt.
const FULL: u8 = 5;
const KILLED: u8 = 6;
const OFF: u8 = 7;
const MISSPELT: u8 = 8;

/// The README's content.
const MD5: &str = "beecc9fbebc8e7439c2f125d82312982";

/// Runs a command on a machine of the lab, as ssh would: `machines/NAME` has its namespace and its `/var/tmp`. The process
/// number is written down: it is that of the command itself.
const SSH: &str = r#"#!/bin/sh
while [ "$1" != "${1#-}" ]; do case $1 in -o) shift 2 ;; *) shift ;; esac; done
name=$1; shift
lab=$(dirname "$0")
[ -e "$lab/machines/$name" ] || { echo "ssh: Could not resolve hostname $name: Name or service not known" >&2; exit 255; }
read -r namespace home < "$lab/machines/$name"
[ -e "$home.off" ] && { echo "ssh: connect to host $name port 22: No route to host" >&2; exit 255; }
echo $$ > "$home.pid"
exec ip netns exec "$namespace" unshare --uts sh -c \
    'hostname "$1"; mount --rbind "$2" /var/tmp; shift 2; eval "$*"' sh "$name" "$home" "$*"
"#;

/// Copies a file to a machine's `/var/tmp`, as scp would.
const SCP: &str = r#"#!/bin/sh
while [ "$1" != "${1#-}" ]; do case $1 in -o) shift 2 ;; *) shift ;; esac; done
name=${2%%:*}
lab=$(dirname "$0")
[ -e "$lab/machines/$name" ] || { echo "ssh: Could not resolve hostname $name: Name or service not known" >&2; exit 255; }
read -r namespace home < "$lab/machines/$name"
[ -e "$home.off" ] && { echo "ssh: connect to host $name port 22: No route to host" >&2; exit 255; }
case ${2#*:} in /var/tmp/*) cp "$1" "$home/${2#*:/var/tmp/}" ;; *) exit 1 ;; esac
"#;

/// The block of the README with this text in it.
fn block(text: &str) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let readme = readme.expect("UTF-8");
    let mut blocks = readme.split("```\n").skip(1).step_by(2);
    blocks
        .find(|block| block.contains(text))
        .expect(text)
        .to_owned()
}

/// The operator's desk: a folder on the first machine, with the README's scripts in it, and the lab around it.
struct Desk<'a> {
    lab: &'a Lab,
    temp: Temp,
}

impl<'a> Desk<'a> {
    fn new(lab: &'a Lab) -> Self {
        let desk = Self {
            lab,
            temp: Temp::new(),
        };
        let bin = desk.temp.dir("bin/machines");
        let bin = bin.parent().expect("it has one");
        for (name, text) in [("ssh", SSH), ("scp", SCP)] {
            plant(bin, name, text.as_bytes());
            let executable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(bin.join(name), executable).expect("its own");
        }
        for i in 1..=MACHINES {
            let line = format!("{} {}\n", lab.ns(i), desk.home(i).display());
            plant(&bin.join("machines"), &format!("pc{i}"), line.as_bytes());
        }
        fs::copy(env!("CARGO_BIN_EXE_client"), desk.path().join("client")).expect("room");
        desk
    }

    fn path(&self) -> PathBuf {
        self.temp.dir("desk")
    }

    /// A machine's `/var/tmp`.
    fn home(&self, i: u8) -> PathBuf {
        self.temp.dir(&format!("home{i}"))
    }

    /// Where the image will be on a machine.
    fn image(&self, i: u8) -> PathBuf {
        self.home(i).join("shared/image.iso")
    }

    /// Whether a machine can be reached by ssh.
    fn set_off(&self, i: u8, off: bool) {
        let flag = self.home(i).with_extension("off");
        match off {
            true => fs::write(flag, "").expect("room"),
            false => fs::remove_file(flag).expect("it was off"),
        }
    }

    /// What the README has with this text in it, with the address and the content of this lab.
    fn script(&self, text: &str, image: &[u8]) -> String {
        let script = block(text).replace("192.168.1.10", &self.lab.addr(0).to_string());
        script.replace(MD5, &digest(image).to_string())
    }

    fn bash(&self, script: &str, args: &[&str]) -> Command {
        let bin = self.temp.path().join("bin");
        let path = std::env::var("PATH").expect("a PATH");
        let mut bash = Command::new("ip");
        bash.args(["netns", "exec", &self.lab.ns(0), "bash", script])
            .args(args)
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.path())
            .stdin(Stdio::null());
        bash
    }

    /// Runs `lab.sh`, which ends when all clients that it started have.
    fn lab_sh(&self, image: &[u8], machines: &[&str]) -> Child {
        plant(
            &self.path(),
            "lab.sh",
            self.script("one() {", image).as_bytes(),
        );
        let out = fs::File::create(self.path().join("lab.out")).expect("room");
        let mut bash = self.bash("lab.sh", machines);
        // a file, and no pipe: whoever is left over would hold that open
        let err = out.try_clone().expect("a file");
        bash.stdout(out).stderr(err).spawn().expect("bash")
    }

    /// What `lab.sh` has printed so far.
    fn printed(&self) -> String {
        fs::read_to_string(self.path().join("lab.out")).unwrap_or_default()
    }

    /// Runs the README's `--status`, for so many machines and so long. Returns its exit code and what it printed.
    fn status(&self, image: &[u8], until: usize, within: &str) -> (Option<i32>, String) {
        let script = self
            .script("--status --only image.iso", image)
            .replace("--until 30", &format!("--until {until}"))
            .replace("--within 30m", &format!("--within {within}"));
        plant(&self.path(), "status.sh", script.as_bytes());
        let out = self.bash("status.sh", &[]).output().expect("bash");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        (out.status.code(), text)
    }

    /// How many bytes a machine's last download copied from files that were there, by its log.
    fn reused(&self, i: u8) -> Option<u64> {
        let log = fs::read_to_string(self.home(i).join("client.log")).expect("a log");
        let mut events = log
            .lines()
            .map(|line| -> Value { serde_json::from_str(line).expect("JSON") });
        let last = events.rfind(|event| event["event"] == "complete")?;
        last["reused"].as_u64()
    }

    /// Pulls a machine's plug: what ssh started there is gone at once.
    fn kill(&self, i: u8) {
        let pid = fs::read_to_string(self.home(i).with_extension("pid"));
        if let Ok(pid) = pid {
            let _ = Command::new("kill")
                .args(["-9", pid.trim()])
                .stderr(Stdio::null())
                .status();
            let _ = fs::remove_file(self.home(i).with_extension("pid"));
        }
    }

    /// Everybody goes home, and `lab.sh` ends.
    fn evening(&self, mut lab_sh: Child) {
        (1..=MACHINES).for_each(|i| self.kill(i));
        until("the end of lab.sh", || lab_sh.try_wait().expect("a child"));
    }
}

impl Drop for Desk<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("lab.sh printed\n{}", self.printed());
        }
        (1..=MACHINES).for_each(|i| self.kill(i));
    }
}

/// The README's second and third step: tracker and seed.
fn tracker_and_seed(desk: &Desk, more: &[&str]) -> (Program, Program) {
    let (torrents, images) = (desk.temp.dir("torrents"), desk.temp.dir("images"));
    let utf8 = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
    let (torrents, images) = (utf8(torrents), utf8(images));
    let server = ["--remote", "--torrents", &torrents, "--sweep-every", "2"];
    let tracker = desk.lab.start(0, "server", &server);
    tracker.until_line("listening on port 29283");
    let at = desk.lab.addr(0).to_string();
    let seed = [&at, "29283", &images, "--listen", "50001"];
    let seed = [&seed[..], &["--only", "image.iso"], more].concat();
    let seed = desk.lab.start(0, "client", &seed);
    seed.until_line("sharing image.iso");
    (tracker, seed)
}

#[test]
fn the_readmes_lab_is_handed_two_images() {
    let Some(lab) = lab(MACHINES + 1) else { return };
    let desk = Desk::new(&lab);
    let old = random_bytes(8 << 20, 1);
    let plant_image = |image: &[u8], age: Duration| {
        let images = desk.temp.dir("images");
        plant(&images, "image.iso", image);
        // left alone for a minute: it is hashed at once
        let file = fs::File::options()
            .write(true)
            .open(images.join("image.iso"));
        file.and_then(|file| file.set_modified(SystemTime::now() - age))
            .expect("its own");
    };
    plant_image(&old, Duration::from_secs(120));
    let (tracker, seed) = tracker_and_seed(&desk, &["--max-up", "1M"]);
    let names: Vec<String> = (1..=MACHINES)
        .map(|i| match i {
            MISSPELT => "pc8x # the printer's neighbour\n".to_owned(),
            i => format!("pc{i}\n"),
        })
        .collect();
    plant(&desk.path(), "hosts.txt", names.concat().as_bytes());
    let small_dir = desk.temp.dir(&format!("home{FULL}/shared"));
    let small = SmallDisk::mount(&small_dir, 2);
    desk.set_off(OFF, true);

    // the first week
    let lab_sh = desk.lab_sh(&old, &[]);
    until("a report of the one that is to be killed", || {
        let (_, text) = desk.status(&old, 1, "0.1s");
        let mut lines = text.lines();
        lines
            .any(|line| line.starts_with("pc6 ") && line.contains(" peer"))
            .then_some(())
    });
    desk.kill(KILLED);
    for i in 1..FULL {
        until_content(&desk.image(i), &old);
    }
    until("each machine named with its cause", || {
        let (code, text) = desk.status(&old, usize::from(MACHINES), "1s");
        assert_eq!(code, Some(6), "{text}");
        let missing: Vec<&str> = text
            .lines()
            .filter(|l| l.starts_with("missing: "))
            .collect();
        let named = |i: &str, why: &str| {
            let mut lines = missing.iter();
            lines.any(|line| line.starts_with(&format!("missing: {i} ")) && line.contains(why))
        };
        let all = named("pc5", "exit code 5: ")
            && named("pc6", "gone at ")
            && named("pc7", "never came")
            && named("pc8x", "never came");
        (all && missing.len() == 4 && text.contains("4 of 8 machines have image.iso")).then_some(())
    });
    until("the exit codes of those that ended", || {
        let printed = desk.printed();
        let ended = ["pc5: exit code 5", "pc6: exit code 137"];
        let off = ["pc7: exit code 255", "pc8x: exit code 255"];
        let mut all = ended.iter().chain(&off);
        all.all(|line| printed.contains(line)).then_some(())
    });

    // each of them is mended, and started again by name
    small.grow(40);
    desk.set_off(OFF, false);
    let hosts = names.concat().replace("pc8x", "pc8");
    plant(&desk.path(), "hosts.txt", hosts.as_bytes());
    let again = desk.lab_sh(&old, &["pc5", "pc6", "pc7", "pc8"]);
    let (code, text) = desk.status(&old, usize::from(MACHINES), "60s");
    assert_eq!(code, Some(0), "{text}");
    for i in 1..=MACHINES {
        assert_eq!(md5_of(&desk.image(i)), Some(digest(&old)), "pc{i}");
    }
    desk.evening(again);
    desk.evening(lab_sh);
    drop((tracker, seed));

    // a week later: the same steps with a changed image
    let new = next_version(&old);
    plant_image(&new, Duration::from_secs(60));
    let (_tracker, _seed) = tracker_and_seed(&desk, &[]);
    let lab_sh = desk.lab_sh(&new, &[]);
    let (code, text) = desk.status(&new, usize::from(MACHINES), "60s");
    assert_eq!(code, Some(0), "{text}");
    for i in 1..=MACHINES {
        assert_eq!(md5_of(&desk.image(i)), Some(digest(&new)), "pc{i}");
        // 7 of its 128 blocks of 64 KiB have changed
        assert!(
            desk.reused(i) > Some(7 << 20),
            "pc{i}: {:?}",
            desk.reused(i)
        );
    }
    desk.evening(lab_sh);
}
