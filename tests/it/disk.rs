//! Disks that fail. In process, on a disk of which the k-th operation fails, for every k of a whole download; and as a user
//! meets it, on a small file system that is full.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bittorrentish::cli::Exit;
use bittorrentish::client::{Client, ClientConfig, Running};
use bittorrentish::md5::digest;
use bittorrentish::net::listen;
use bittorrentish::report::{Report, ReportConfig};
use bittorrentish::state::Wants;
use bittorrentish::store::{Disk, Plain, Stamp, Store};
use bittorrentish::torrent::Name;
use serde_json::{Value, json};

use super::lab::or_left_out;
use super::page::{link, until_kind};
use super::support::{
    Program, QUICK, Temp, md5_of, plant, random_bytes, swarm_list, torrent_of, until, until_content,
};

/// How the operation fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Full,
    Io,
    /// Reading and writing only, and no fault: it is to be tried again.
    Interrupted,
    /// The same: half of it is read or written.
    Short,
}

/// A disk whose k-th operation fails.
struct Failing {
    fault: Fault,
    k: usize,
    count: Arc<AtomicUsize>,
}

/// Makes such a disk, which counts its operations in `seen`.
fn failing(fault: Fault, k: usize, seen: &Arc<AtomicUsize>) -> impl Fn() -> Box<dyn Disk> {
    let seen = Arc::clone(seen);
    move || {
        let count = Arc::clone(&seen);
        Box::new(Failing { fault, k, count })
    }
}

impl Failing {
    fn is_due(&self) -> bool {
        self.count.fetch_add(1, Ordering::SeqCst) == self.k
    }

    fn step(&self) -> io::Result<()> {
        match (self.fault, self.is_due()) {
            (Fault::Full, true) => Err(ErrorKind::StorageFull.into()),
            (Fault::Io, true) => Err(io::Error::from_raw_os_error(5)), // EIO
            _ => Ok(()),
        }
    }

    /// How many of `len` bytes are read or written.
    fn some(&self, len: usize) -> io::Result<usize> {
        match (self.fault, self.is_due()) {
            (Fault::Full, true) => Err(ErrorKind::StorageFull.into()),
            (Fault::Io, true) => Err(io::Error::from_raw_os_error(5)),
            (Fault::Interrupted, true) => Err(ErrorKind::Interrupted.into()),
            (Fault::Short, true) => Ok(len.div_ceil(2)),
            _ => Ok(len),
        }
    }
}

impl Disk for Failing {
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        self.step().and_then(|()| Plain.open(path, options))
    }

    fn read_at(&self, file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let len = self.some(buf.len())?;
        Plain.read_at(file, &mut buf[..len], at)
    }

    fn write_at(&self, file: &File, buf: &[u8], at: u64) -> io::Result<usize> {
        let len = self.some(buf.len())?;
        Plain.write_at(file, &buf[..len], at)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.step().and_then(|()| Plain.set_len(file, len))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.step()
            .inspect_err(|_| lose(file))
            .and_then(|()| Plain.sync(file))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step().and_then(|()| Plain.hard_link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step().and_then(|()| Plain.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step().and_then(|()| Plain.remove(path))
    }
}

/// After a failed sync the system may forget what it couldn't write.
fn lose(file: &File) {
    let _ = Plain.write_at(file, &[0; 4096], 0);
}

/// A disk on which the first sync of a file of this size fails.
struct Unsynced {
    size: u64,
    failed: Arc<AtomicBool>,
}

impl Disk for Unsynced {
    fn sync(&self, file: &File) -> io::Result<()> {
        if file.metadata()?.len() == self.size && !self.failed.swap(true, Ordering::SeqCst) {
            lose(file);
            return Err(io::Error::from_raw_os_error(5));
        }
        Plain.sync(file)
    }
}

/// A tracker, and a peer that has published files of these names, all with this content, from the folder `seed`.
fn seeded(temp: &Temp, names: &[&str], content: &[u8]) -> (Program, Program) {
    let tracker = Program::tracker(&temp.dir("torrents"), &[]);
    let source = temp.dir("seed");
    for name in names {
        plant(&source, name, content);
    }
    let seed = Program::peer(&tracker, &source, &[]);
    for name in names {
        seed.until_line(&format!("the tracker has the .torrent of {name}"));
    }
    (tracker, seed)
}

/// Makes a disk.
type NewDisk<'a> = &'a dyn Fn() -> Box<dyn Disk>;

fn plain() -> Box<dyn Disk> {
    Box::new(Plain)
}

/// Takes a folder. What another test starts has its lock, too, for a moment: until it has become a program of its own.
fn open(dir: &Path, disk: NewDisk) -> Store {
    until("the folder", || Store::open_on(disk(), dir).ok())
}

/// A peer in this process, which wants one file; `exits` once it has it, or by a fault.
fn start(tracker: &Program, dir: &Path, disk: NewDisk, exits: bool) -> Running {
    start_telling(tracker, dir, disk, exits, Report::silent())
}

/// The same, which reports.
fn start_telling(
    tracker: &Program,
    dir: &Path,
    disk: NewDisk,
    exits: bool,
    report: Report,
) -> Running {
    let every = Duration::from_millis(300);
    let config = ClientConfig {
        tracker: "127.0.0.1".to_owned(),
        tracker_port: tracker.port(),
        dir: dir.to_owned(),
        wants: Wants {
            only: vec![Name::parse("image.iso").expect("a name")],
            exit_when_complete: exits,
            seed_for: Duration::ZERO,
            list_every: every,
            ping_every: every,
            ..Wants::default()
        },
        reuse: None,
        classic: false,
        min_peers: 0,
        max_up: None,
        max_down: None,
        round_every: every,
        pretence: Default::default(),
    };
    let store = open(dir, disk);
    let listener = listen(0).expect("a port");
    Client::start(config, store, listener, report).expect("threads")
}

/// One run that ends with the file or with a fault.
fn run(tracker: &Program, dir: &Path, disk: NewDisk) -> Exit {
    let running = start(tracker, dir, disk, true);
    let exit = running.client.wait_until_done();
    drop(running);
    // connections end a moment later, and the folder is free then
    drop(open(dir, &plain));
    exit
}

#[test]
fn whichever_operation_fails_the_next_run_finishes() {
    let temp = Temp::new();
    let content = random_bytes(4 * (64 << 10) + 100, 50);
    let (tracker, _seed) = seeded(&temp, &["image.iso"], &content);
    let right = Some(digest(&content));

    let (tracker, temp) = (&tracker, &temp);
    let every = |fault: Fault| {
        let (mut k, mut failed) = (0, 0);
        loop {
            let dir = temp.dir(&format!("{fault:?}{k}"));
            let seen = Arc::new(AtomicUsize::new(0));
            let exit = run(tracker, &dir, &failing(fault, k, &seen));
            let came = md5_of(&dir.join("image.iso"));
            assert!(
                came.is_none() || came == right,
                "{fault:?} at {k}: wrong content"
            );
            let harmless = matches!(fault, Fault::Interrupted | Fault::Short);
            assert!(
                exit == Exit::Done && came == right || exit == Exit::Disk && !harmless,
                "{fault:?} at {k}: {exit:?}"
            );
            failed += usize::from(exit == Exit::Disk);
            let again = run(tracker, &dir, &plain);
            assert_eq!(again, Exit::Done, "after {fault:?} at {k}");
            assert_eq!(
                md5_of(&dir.join("image.iso")),
                right,
                "after {fault:?} at {k}"
            );
            if seen.load(Ordering::SeqCst) <= k {
                return (fault, k, failed);
            }
            k += 1;
        }
    };
    let faults = [Fault::Full, Fault::Io, Fault::Interrupted, Fault::Short];
    let done = thread::scope(|scope| {
        let runs = faults.map(|fault| scope.spawn(move || every(fault)));
        runs.map(|run| run.join().expect("told above"))
    });
    for (fault, k, failed) in done {
        // making the part, its size, its pieces, the sync, the name: not all of it can be harmless
        let harmless = matches!(fault, Fault::Interrupted | Fault::Short);
        assert!(
            k > 10 && (harmless || failed > 8),
            "{fault:?}: {failed} of {k} failed"
        );
    }
}

#[test]
fn after_a_failed_sync_the_file_is_checked_and_comes_whole() {
    let temp = Temp::new();
    let content = random_bytes(300_000, 55);
    let (tracker, _seed) = seeded(&temp, &["image.iso"], &content);
    let dir = temp.dir("a");
    let (size, failed) = (content.len() as u64, Arc::default());
    let disk = || -> Box<dyn Disk> {
        let failed = Arc::clone(&failed);
        Box::new(Unsynced { size, failed })
    };
    let _running = start(&tracker, &dir, &disk, false);
    until_content(&dir.join("image.iso"), &content);
}

/// A disk that has room for bytes, and none for a name.
struct NoRoomForNames;

impl Disk for NoRoomForNames {
    fn hard_link(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(ErrorKind::StorageFull.into())
    }
}

#[test]
fn where_no_bytes_are_missing_a_full_disk_names_the_file() {
    let temp = Temp::new();
    let (tracker, _seed) = seeded(&temp, &["image.iso"], &random_bytes(200_000, 52));
    let (dir, log) = (temp.dir("peer"), temp.path().join("peer.log"));
    let report = Report::new(ReportConfig::default(), Some(&log)).expect("a log");
    let disk = || -> Box<dyn Disk> { Box::new(NoRoomForNames) };
    let running = start_telling(&tracker, &dir, &disk, true, report);
    assert_eq!(running.client.wait_until_done(), Exit::Disk);
    let told = fs::read_to_string(&log).expect("its log");
    let end = told.lines().find(|line| line.contains("\"ending\""));
    let end = end.unwrap_or_else(|| panic!("{told}"));
    assert!(end.contains("disk full: no room for"), "{end}");
}

#[test]
fn whichever_read_fails_no_file_is_hashed_wrong() {
    let temp = Temp::new();
    let content = random_bytes(3 * (1 << 20) + 100, 56);
    let dir = temp.dir("a");
    plant(&dir, "image.iso", &content);
    let (name, right) = (Name::parse("image.iso").expect("a name"), digest(&content));
    for fault in [Fault::Full, Fault::Io, Fault::Interrupted, Fault::Short] {
        let (mut k, mut wrong) = (0, 0);
        loop {
            let seen = Arc::new(AtomicUsize::new(0));
            let store = open(&dir, &failing(fault, k, &seen));
            let hashed = store.open_shared(&name).and_then(|(file, stamp)| {
                store.hash(&name, &file, stamp.size, |_| true, |_, _| ())
            });
            match hashed {
                Ok(hashed) => assert_eq!(hashed.expect("all of it").md5(), right, "{fault:?}, {k}"),
                Err(_) => wrong += 1,
            }
            if seen.load(Ordering::SeqCst) <= k {
                break;
            }
            k += 1;
        }
        // it is opened, and read in four strides
        let harmless = matches!(fault, Fault::Interrupted | Fault::Short);
        assert_eq!(wrong, if harmless { 0 } else { 5 }, "{fault:?}");
    }
}

/// What an earlier run may have left, and what happened to it since.
#[test]
fn the_next_run_mends_any_unfinished_file() {
    type Harm = fn(part: &Path, saved: &Path);
    let harms: [(&str, Harm); 11] = [
        ("untouched", |_, _| {}),
        ("a flipped byte", |part, _| {
            let mut bytes = fs::read(part).expect("a part");
            bytes[70_000] ^= 1;
            fs::write(part, bytes).expect("room");
        }),
        ("zeroed", |part, _| {
            let len = fs::read(part).expect("a part").len();
            fs::write(part, vec![0; len]).expect("room");
        }),
        ("emptied", |part, _| fs::write(part, "").expect("room")),
        ("removed", |part, _| fs::remove_file(part).expect("a part")),
        ("what was known is empty", |_, saved| {
            fs::write(saved, "").expect("room");
        }),
        ("what was known is garbage", |_, saved| {
            fs::write(saved, [0xff; 4000]).expect("room");
        }),
        ("what was known is of another name", |_, saved| {
            let other = torrent_of("other", b"other");
            let text = json!({ "stamp": null, "verified": true, "torrent": other });
            fs::write(saved, text.to_string()).expect("room");
        }),
        ("what was known is of another content", |_, saved| {
            let other = torrent_of("image.iso", b"other");
            let text = json!({ "stamp": null, "verified": true, "torrent": other });
            fs::write(saved, text.to_string()).expect("room");
        }),
        ("what was known is newer than the data", |part, saved| {
            let text = fs::read_to_string(saved).expect("saved");
            let mut known: Value = serde_json::from_str(&text).expect("JSON");
            let stamp = Stamp::of_file(&File::open(part).expect("a part")).expect("a file");
            known["stamp"] = serde_json::to_value(stamp).expect("plain");
            fs::write(saved, known.to_string()).expect("room");
        }),
        ("what was known is a folder", |_, saved| {
            fs::remove_file(saved).expect("saved");
            fs::create_dir(saved).expect("room");
        }),
    ];
    let temp = Temp::new();
    let content = random_bytes(4 * (64 << 10) + 100, 52);
    let (tracker, _seed) = seeded(&temp, &["image.iso"], &content);
    let right = Some(digest(&content));
    let digits = &digest(b"image.iso").to_string()[..16];
    let md5 = digest(&content);
    let of = |ending| format!("{md5}.{digits}.{ending}");
    let ours = (of("part"), of("torrent"));
    let first_versions = ("image.iso.part".to_owned(), "image.iso.torrent".to_owned());
    let both = harms
        .iter()
        .flat_map(|harm| [(harm, &ours), (harm, &first_versions)]);
    for (k, (&(what, harm), names)) in both.enumerate() {
        let dir = temp.dir(&k.to_string());
        let hidden = temp.dir(&format!("{k}/.bittorrentish"));
        let (part, saved) = (hidden.join(&names.0), hidden.join(&names.1));
        let mut begun = content.clone();
        begun[2 * (64 << 10)..].fill(0);
        fs::write(&part, begun).expect("room");
        let torrent = torrent_of("image.iso", &content);
        let text = json!({ "stamp": null, "verified": true, "torrent": torrent });
        fs::write(&saved, text.to_string()).expect("room");
        harm(&part, &saved);
        let exit = run(&tracker, &dir, &plain);
        if saved.is_dir() && *names == ours {
            // it can't be remembered: said, and nothing else is lost
            assert_eq!(exit, Exit::Disk, "{what}");
            fs::remove_dir(&saved).expect("a folder");
            assert_eq!(run(&tracker, &dir, &plain), Exit::Done, "{what}");
        } else {
            assert_eq!(exit, Exit::Done, "{what}");
        }
        assert_eq!(md5_of(&dir.join("image.iso")), right, "{what}");
    }
}

#[test]
fn holes_take_no_room_at_the_receiver() {
    let temp = Temp::new();
    let path = temp.dir("seed").join("image.iso");
    let sparse = File::create(&path).expect("room");
    sparse.set_len(512 << 20).expect("room");
    sparse
        .write_all_at(&random_bytes(1 << 20, 58), 100 << 20)
        .expect("room");
    let tracker = Program::tracker(&temp.dir("torrents"), &[]);
    let seed = Program::peer(&tracker, &temp.dir("seed"), &[]);
    seed.until_line("the tracker has the .torrent of image.iso");
    let dir = temp.dir("a");
    assert_eq!(run(&tracker, &dir, &plain), Exit::Done, "{seed:?}");
    let came = dir.join("image.iso");
    assert_eq!(md5_of(&came), md5_of(&path));
    let used = fs::metadata(&came).expect("a file").blocks() * 512;
    assert!(used < 64 << 20, "{used} bytes are used");
}

#[test]
fn what_stands_in_one_files_way_holds_up_no_other() {
    let temp = Temp::new();
    let content = random_bytes(300_000, 53);
    let other = random_bytes(200_000, 57);
    plant(&temp.dir("seed"), "blocked", &other);
    let (tracker, seed) = seeded(&temp, &["free"], &content);
    seed.until_line("the tracker has the .torrent of blocked");
    let dir = temp.dir("a");
    let digits = &digest(b"blocked").to_string()[..16];
    let part = format!("{}.{digits}.part", digest(&other));
    let in_the_way = temp.dir(&format!("a/.bittorrentish/{part}"));
    let peer = Program::peer(&tracker, &dir, &[]);
    until_content(&dir.join("free"), &content);
    let line = peer.until_line("isn't a plain file: move it away");
    assert!(line.contains(&part), "{line}");
    fs::remove_dir(in_the_way).expect("it is empty");
    until_content(&dir.join("blocked"), &other);
    assert_eq!(peer.events("disk").len(), 1, "once: {peer:?}");
}

#[test]
fn a_vanished_folder_is_reported() {
    let temp = Temp::new();
    let content = random_bytes(4 << 20, 54);
    let (tracker, _seed) = seeded(&temp, &["image.iso"], &content);
    let dir = temp.dir("a");
    let mut peer = Program::peer(&tracker, &dir, &["--max-down", "2M"]);
    peer.until_event("piece", |_| true);
    fs::remove_dir_all(&dir).expect("it is ours");
    let line = peer.until_line("No such file or directory");
    assert!(line.contains(dir.to_str().expect("UTF-8")), "{line}");
    assert!(peer.is_running(), "{peer:?}");
    let other = temp.dir("b");
    let _other = Program::peer(&tracker, &other, &[]);
    until_content(&other.join("image.iso"), &content);
}

/// A disk on which a file of the folder can't be opened for the time being.
struct Forbidding {
    forbids: Arc<AtomicBool>,
    refused: Arc<AtomicBool>,
}

impl Disk for Forbidding {
    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        if path.ends_with("image.iso") && self.forbids.load(Ordering::SeqCst) {
            self.refused.store(true, Ordering::SeqCst);
            return Err(ErrorKind::PermissionDenied.into());
        }
        Plain.open(path, options)
    }
}

#[test]
fn a_file_whose_permissions_are_corrected_is_shared() {
    let temp = Temp::new();
    let tracker = Program::tracker(&temp.dir("torrents"), &[]);
    let dir = temp.dir("seed");
    plant(&dir, "image.iso", b"content");
    let forbids = Arc::new(AtomicBool::new(true));
    let refused = Arc::new(AtomicBool::new(false));
    let disk = || -> Box<dyn Disk> {
        let (forbids, refused) = (Arc::clone(&forbids), Arc::clone(&refused));
        Box::new(Forbidding { forbids, refused })
    };
    let _seed = start(&tracker, &dir, &disk, false);
    until("it can't be read", || {
        refused.load(Ordering::SeqCst).then_some(())
    });
    forbids.store(false, Ordering::SeqCst);
    let mut mode = 0o640;
    until("it is listed", || {
        // again and again: the peer may not have noted yet how they were when it failed
        mode ^= 0o040;
        let readable = Permissions::from_mode(mode);
        fs::set_permissions(dir.join("image.iso"), readable).expect("it is ours");
        (swarm_list(&tracker).torrents.unwrap_or_default().len() == 1).then_some(())
    });
}

/// A disk on which a file grows as it is read for the first time.
struct Growing {
    path: PathBuf,
    size: u64,
    grown: Arc<AtomicBool>,
}

impl Disk for Growing {
    fn read_at(&self, file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if file.metadata()?.len() == self.size && !self.grown.swap(true, Ordering::SeqCst) {
            let mut grows = OpenOptions::new().append(true).open(&self.path)?;
            grows.write_all(b"and more")?;
        }
        Plain.read_at(file, buf, at)
    }
}

#[test]
fn a_file_that_changes_while_it_is_hashed_is_hashed_again() {
    let temp = Temp::new();
    let tracker = Program::tracker(&temp.dir("torrents"), &[]);
    let dir = temp.dir("seed");
    let content = random_bytes(300_000, 59);
    plant(&dir, "image.iso", &content);
    let (path, size) = (dir.join("image.iso"), content.len() as u64);
    let grown = Arc::new(AtomicBool::new(false));
    let disk = || -> Box<dyn Disk> {
        let (path, grown) = (path.clone(), Arc::clone(&grown));
        Box::new(Growing { path, size, grown })
    };
    let _seed = start(&tracker, &dir, &disk, false);
    let whole = [&content[..], b"and more"].concat();
    until("all of it listed", || {
        let listed = swarm_list(&tracker).torrents.unwrap_or_default();
        (listed.first()?.md5 == digest(&whole)).then_some(())
    });
    let replaced = tracker
        .lines()
        .iter()
        .any(|line| line.contains("in place of"));
    assert!(!replaced, "{tracker:?}");
}

/// A disk whose names fold by case.
struct Folding;

impl Disk for Folding {
    fn lstat(&self, path: &Path) -> io::Result<fs::Metadata> {
        let name = path.file_name().unwrap_or_default().to_ascii_lowercase();
        let names = Plain.read_dir(path.parent().unwrap_or(path))?;
        let is_it = |found: &&OsString| found.to_ascii_lowercase() == name;
        let found = names.iter().find(is_it).ok_or(ErrorKind::NotFound)?;
        Plain.lstat(&path.with_file_name(found))
    }
}

#[test]
fn a_name_that_differs_only_in_case_is_not_begun() {
    let temp = Temp::new();
    let (tracker, _seed) = seeded(&temp, &["image.iso"], b"content");
    let dir = temp.dir("a");
    plant(&dir, "Image.iso", b"another");
    let peer = start(&tracker, &dir, &|| Box::new(Folding), true);
    let client = peer.client.clone();
    let ended = thread::spawn(move || client.wait_until_done());
    until("the end", || ended.is_finished().then_some(()));
    assert_eq!(ended.join().expect("no panic"), Exit::Integrity);
    drop(peer);
    assert!(!dir.join("image.iso").exists());
    let names = Plain
        .read_dir(&dir.join(".bittorrentish"))
        .expect("a folder");
    let torrent = torrent_of("image.iso", b"content").md5().to_string();
    let began = |name: &OsString| name.to_string_lossy().starts_with(&torrent);
    assert!(!names.iter().any(began), "{names:?}");
}

/// A file system in memory, of so many MiB; gone with this value.
struct Small(std::path::PathBuf);

impl Small {
    /// None where this machine doesn't let us.
    fn new(dir: std::path::PathBuf, mib: u32) -> Option<Self> {
        let mounted = mount(&dir, &format!("size={mib}m"));
        or_left_out(if mounted {
            Ok(Self(dir))
        } else {
            Err("mounting needs root".to_owned())
        })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(dir: &Path, options: &str) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir);
    mount.output().is_ok_and(|out| out.status.success())
}

#[test]
fn too_little_room_is_said_before_the_download_starts() {
    let temp = Temp::new();
    let Some(small) = Small::new(temp.dir("small"), 8) else {
        return;
    };
    let content = random_bytes(24 << 20, 59);
    let (tracker, _seed) = seeded(&temp, &["image.iso"], &content);
    let said = |line: &str| line.contains("24.0 MiB more are needed") && line.contains("8.0 MiB");
    let log = |name: &str| temp.path().join(name).to_str().expect("UTF-8").to_owned();

    let folder = small.0.join("a");
    let log_a = log("a.log");
    let flags = ["--log", &log_a, "--only", "image.iso"];
    let mut ends = Program::peer(
        &tracker,
        &folder,
        &[&flags[..], &["--exit-when-complete"]].concat(),
    );
    assert_eq!(ends.until_ended().code(), Some(5), "{ends:?}");
    assert!(ends.lines().iter().any(|line| said(line)), "{ends:?}");
    for kind in ["begin", "piece"] {
        assert!(ends.events(kind).is_empty(), "{ends:?}");
    }

    // without --exit-when-complete it waits for room
    let log_b = log("b.log");
    let folder = small.0.join("b");
    let waits = Program::peer(&tracker, &folder, &["--log", &log_b]);
    let fault = waits.until_event("disk", |_| true);
    assert!(fault["why"].as_str().is_some_and(said), "{fault}");
    assert!(waits.events("begin").is_empty(), "{waits:?}");
    assert!(mount(&small.0, "remount,size=64m"), "more room");
    until_content(&folder.join("image.iso"), &content);
    assert_eq!(waits.events("disk").len(), 1, "once: {waits:?}");
}

#[test]
fn where_inodes_run_out_that_is_said_and_not_that_no_bytes_are_needed() {
    let temp = Temp::new();
    let Some(small) = Small::new(temp.dir("small"), 6) else {
        return;
    };
    // the root, the folder, the hidden one, its lock
    assert!(mount(&small.0, "remount,nr_inodes=4"), "fewer inodes");
    let (tracker, _seed) = seeded(&temp, &["image.iso"], &random_bytes(1 << 20, 51));
    let log = temp.path().join("a.log");
    let log = [
        "--log",
        log.to_str().expect("UTF-8"),
        "--exit-when-complete",
    ];
    let mut peer = Program::peer(&tracker, &small.0.join("a"), &log);
    assert_eq!(peer.until_ended().code(), Some(5), "{peer:?}");
    let line = peer.until_line("disk full: ");
    assert!(line.contains(" or no inode"), "{line}");
}

#[test]
fn a_download_continues_once_a_full_disk_has_room() {
    let temp = Temp::new();
    let Some(small) = Small::new(temp.dir("small"), 6) else {
        return;
    };
    let content = random_bytes(12 << 20, 51);
    let (tracker, mut seed) = seeded(&temp, &["image.iso"], &content);

    let folder = small.0.join("a");
    // the log would need room there, too
    let log = temp.path().join("a.log");
    let peer = Program::peer(&tracker, &folder, &["--log", log.to_str().expect("UTF-8")]);
    let line = peer.until_line("disk full: ");
    assert!(line.contains(" MiB more are needed in "), "{line}");
    assert!(line.contains(folder.to_str().expect("UTF-8")), "{line}");

    // with --exit-when-complete it is an end, with its own code
    let other = Small::new(temp.dir("other"), 6).expect("as before");
    let log = temp.path().join("b.log");
    let more = [
        "--log",
        log.to_str().expect("UTF-8"),
        "--exit-when-complete",
    ];
    let mut ends = Program::peer(&tracker, &other.0.join("b"), &more);
    assert_eq!(ends.until_ended().code(), Some(5), "{ends:?}");

    // what is here is served: nobody else has it any more
    seed.kill();
    let here = peer.events("piece").len();
    assert!(here > 0, "{peer:?}");
    let third = Program::peer(&tracker, &temp.dir("c"), &[]);
    until("the pieces that are here", || {
        (third.events("piece").len() >= here).then_some(())
    });
    let said = peer.events("disk").len();
    assert_eq!(said, 1, "once, not at each try: {peer:?}");

    assert!(mount(&small.0, "remount,size=32m"), "more room");
    let _seed = Program::peer(&tracker, &temp.dir("seed"), &[]);
    until_content(&folder.join("image.iso"), &content);
    fs::remove_dir_all(&folder).expect("it is ours");
}

/// A program that is killed with this value.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// As with `nohup`, where what is printed goes to the disk that is full.
#[test]
fn what_is_printed_goes_on_once_a_full_disk_has_room() {
    let temp = Temp::new();
    let Some(small) = Small::new(temp.dir("small"), 1) else {
        return;
    };
    let tracker = Program::tracker(&temp.dir("torrents"), &[]);
    let printed = small.0.join("printed");
    let out = File::create(&printed).expect("room");
    let fill = File::create(small.0.join("fill")).expect("room");
    let full = (0..).map(|at| fill.write_all_at(&[1; 4096], at * 4096));
    let full = full.take(1000).find_map(Result::err);
    assert_eq!(full.map(|it| it.kind()), Some(ErrorKind::StorageFull));
    let peer = temp.dir("peer");
    let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
    client.args([
        "127.0.0.1",
        &tracker.port().to_string(),
        peer.to_str().expect("UTF-8"),
    ]);
    client.args(QUICK).arg("--verbose").stdout(out);
    let client = Killed(client.spawn().expect("it starts"));
    // it pings, and prints in vain
    until("three pings", || {
        let lines = tracker.lines();
        let pings = lines.iter().filter(|line| line.contains("ping from"));
        (pings.count() >= 3).then_some(())
    });
    assert_eq!(fs::metadata(&printed).expect("there").len(), 0);
    fs::remove_file(small.0.join("fill")).expect("ours");
    drop(fill);
    let told = || {
        fs::read_to_string(&printed)
            .ok()
            .filter(|told| told.contains("ping "))
    };
    let told = until("lines once there is room", told);
    drop(client);
    assert!(told.contains(" lines were left out: "), "{told}");
}

#[test]
fn a_download_without_room_for_it_does_not_start() {
    let temp = Temp::new();
    let Some(small) = Small::new(temp.dir("small"), 6) else {
        return;
    };
    let content = random_bytes(17 << 20, 58);
    let (tracker, _seed) = seeded(&temp, &["image.iso"], &content);
    let folder = small.0.join("a");
    let log = temp.path().join("a.log");
    let flags = ["--log", log.to_str().expect("UTF-8")];
    let peer = Program::peer(&tracker, &folder, &flags);
    peer.until_event("disk", |event| event["full"] == true);
    // on the page and with --status, too
    let stuck = until_kind(link(&peer).0, "image.iso", "stuck");
    let why = stuck["doing"]["why"].as_str().expect("text");
    assert!(why.contains("17.0 MiB more are needed"), "{stuck}");
    let [ip, port] = ["127.0.0.1".to_owned(), tracker.port().to_string()];
    until("the reason in --status", || {
        let mut status = Command::new(env!("CARGO_BIN_EXE_client"));
        let status = status.args([ip.as_str(), &port, "--status"]).output();
        let said = String::from_utf8(status.expect("it runs").stdout).expect("text");
        said.contains("waiting: not enough room in ").then_some(())
    });
    let n_lists = peer.events("list").len();
    until("three more lists", || {
        (peer.events("list").len() > n_lists + 3).then_some(())
    });
    assert!(peer.events("begin").is_empty(), "{peer:?}");
    let exits = ["--log", flags[1], "--exit-when-complete"];
    drop(peer);
    let mut peer = Program::peer(&tracker, &folder, &exits);
    assert_eq!(peer.until_ended().code(), Some(5), "{peer:?}");
}
