//! The folder, on this machine's file system and on one that lacks what others lack.

use super::fake::*;
use super::opening::{free_of_df, lock};
use super::*;
use crate::md5::Digest;
use crate::md5::Hasher;
use crate::torrent::{BLOCKS_A_PIECE, NameError};
use serde_json::json;
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A store in a folder of its own, which is removed with it.
struct Own(Option<Store>, PathBuf);

impl Own {
    fn new() -> Self {
        Self::on(Fake::default())
    }

    /// On a file system that lacks something.
    fn on(fake: Fake) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("bittorrentish-store-{}-{next}", std::process::id()));
        fs::create_dir_all(&dir).expect("room");
        Self(
            Some(Store::open_on(Box::new(fake), &dir).expect("a new folder")),
            dir,
        )
    }

    fn store(&self) -> &Store {
        self.0.as_ref().expect("open")
    }

    /// Opens the folder again, as the next run does. What another test starts has its lock, too, for a moment: until it has
    /// become a program of its own.
    fn reopen(&mut self, fake: Fake) {
        self.reopen_on(Box::new(fake));
    }

    fn reopen_on(&mut self, disk: Box<dyn Disk>) {
        self.0 = None;
        let deadline = Instant::now() + Duration::from_secs(60);
        let taken = || lock(&Plain, &self.1, &self.1.join(HIDDEN));
        while matches!(taken(), Err(StoreError::InUse(_))) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        self.0 = Some(Store::open_on(disk, &self.1).expect("as before"));
    }

    /// Puts a file into the folder.
    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.1.join(name), content).expect("room");
    }

    fn content(&self, name: &str) -> Vec<u8> {
        fs::read(self.1.join(name)).expect("it stands there")
    }

    /// A part that is whole, ready for its name.
    fn whole_part(&self, torrent: &Torrent, content: &[u8]) -> File {
        let (part, _) = self.store().open_part(torrent).expect("room");
        self.store()
            .write(torrent, &part, content, 0)
            .expect("room");
        part
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0 = None;
        let _ = fs::remove_dir_all(&self.1);
    }
}

fn name(name: &str) -> Name {
    Name::parse(name).expect("a name")
}

/// The `.torrent` of some bytes under this name.
fn torrent_as(name: &str, content: &[u8]) -> Torrent {
    let size = content.len() as u64;
    let piece_len = Torrent::piece_len_for(size);
    let mut hasher = Hasher::new(piece_len as usize / BLOCKS_A_PIECE);
    hasher.update(content);
    let (checkpoints, md5) = hasher.finish();
    let name = Name::parse(name).expect("a name");
    Torrent::new(name, size, piece_len, md5, checkpoints).expect("a file's")
}

/// The same, of a file called `made`.
fn torrent(_: &Own, content: &[u8]) -> Torrent {
    torrent_as("made", content)
}

/// The one hidden file whose name ends like this.
fn hidden(own: &Own, ending: &str) -> PathBuf {
    let names = Plain.read_dir(&own.1.join(HIDDEN)).expect("a folder");
    let names = names.iter().map(|name| name.to_string_lossy());
    let mut fit = names.filter(|name| name.ends_with(ending));
    let name = fit.next().expect("there is one");
    assert_eq!(fit.next(), None, "one only");
    own.1.join(HIDDEN).join(&*name)
}

fn saved(torrent: &Torrent, stamp: Option<Stamp>) -> Saved {
    let (verified, received) = (true, false);
    let torrent = torrent.clone();
    Saved {
        stamp,
        verified,
        received,
        torrent,
    }
}

/// What is remembered of a file that came from a swarm.
fn received(torrent: &Torrent, stamp: Option<Stamp>) -> Saved {
    Saved {
        received: true,
        ..saved(torrent, stamp)
    }
}

#[test]
fn a_folder_is_one_clients() {
    let own = Own::new();
    assert!(matches!(Store::open(&own.1), Err(StoreError::InUse(_))));
}

#[test]
fn a_whole_part_gets_its_name_and_never_somebody_elses() {
    let own = Own::new();
    let content = vec![3; 200_000];
    let torrent = torrent(&own, &content);
    for taken in [false, true] {
        let (part, was_there) = own.store().open_part(&torrent).expect("room");
        assert!(!was_there);
        own.store()
            .write(&torrent, &part, &content, 0)
            .expect("room");
        let done = own.store().finish(&torrent, &part, None);
        assert_eq!(done.is_err(), taken);
        assert_eq!(
            fs::read(own.1.join("made")).expect("it stands there"),
            content
        );
        if !taken {
            let saved = own.store().saved(torrent.name()).expect("remembered");
            assert_eq!(saved.stamp, done.ok());
            assert!(
                !own.store()
                    .part_path(torrent.name(), torrent.md5())
                    .exists()
            );
        }
    }
    assert!(
        own.store()
            .part_path(torrent.name(), torrent.md5())
            .exists(),
        "what came isn't lost"
    );
}

#[test]
fn a_part_is_checked_whatever_it_is() {
    let own = Own::new();
    let content: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    let torrent = torrent(&own, &content);
    let part = own.store().part_path(torrent.name(), torrent.md5());
    let mut flipped = content.clone();
    flipped[70_000] ^= 1;
    let half = [&content[..131_072], &[0; 168_928]].concat();
    for (what, bytes, here) in [
        ("whole", content.clone(), vec![0, 1, 2, 3, 4]),
        ("a bit flipped", flipped, vec![0, 2, 3, 4]),
        ("cut short", content[..131_080].to_vec(), vec![0, 1]),
        ("zeroed behind", half, vec![0, 1]),
        (
            "too long",
            [&content[..], &[1; 50]].concat(),
            vec![0, 1, 2, 3, 4],
        ),
        ("empty", Vec::new(), vec![]),
        ("garbage", vec![0xaa; 300_000], vec![]),
    ] {
        fs::write(&part, bytes).expect("room");
        let (file, was_there) = own.store().open_part(&torrent).expect("a plain file");
        assert!(was_there);
        let have = own
            .store()
            .check(&torrent, &file, |_, _| true)
            .expect("readable");
        assert_eq!(have.iter().collect::<Vec<_>>(), here, "{what}");
    }
}

#[test]
fn what_stands_in_the_parts_way_is_not_followed() {
    let own = Own::new();
    let torrent = torrent(&own, &[1; 1000]);
    let part = own.store().part_path(torrent.name(), torrent.md5());
    fs::write(own.1.join("victim"), "mine").expect("room");
    symlink(own.1.join("victim"), &part).expect("room");
    assert!(matches!(
        own.store().open_part(&torrent),
        Err(StoreError::InTheWay(_))
    ));
    fs::remove_file(&part).expect("the link");
    fs::create_dir(&part).expect("room");
    assert!(matches!(
        own.store().open_part(&torrent),
        Err(StoreError::InTheWay(_))
    ));
    fs::remove_dir(&part).expect("the folder");
    // a run that was cut off between the two names of a whole file
    fs::hard_link(own.1.join("victim"), &part).expect("room");
    let (_, was_there) = own.store().open_part(&torrent).expect("a new one");
    assert!(!was_there);
    assert_eq!(
        fs::read(own.1.join("victim")).expect("it stands there"),
        b"mine"
    );
}

#[test]
fn what_is_remembered_wrongly_is_as_if_it_were_not() {
    let own = Own::new();
    let torrent = torrent(&own, b"some bytes");
    let saved = saved(&torrent, None);
    own.store().save(&saved).expect("room");
    let path = hidden(&own, ".torrent");
    let good = fs::read(&path).expect("it was saved");
    assert!(own.store().saved(saved.torrent.name()).is_some());
    let other = String::from_utf8(good.clone())
        .expect("JSON")
        .replace("\"made\"", "\"other\"");
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("cut", good[..good.len() / 2].to_vec()),
        ("garbage", vec![0xff; 100]),
        ("another file's", other.into_bytes()),
    ] {
        fs::write(&path, bytes).expect("room");
        assert!(own.store().saved(saved.torrent.name()).is_none(), "{what}");
    }
}

/// A disk that remembers which files were written to and not synced, by their numbers.
struct BeforeACut(Arc<Mutex<HashSet<u64>>>);

impl Disk for BeforeACut {
    fn write_at(&self, file: &File, buf: &[u8], at: u64) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no panic")
            .insert(file.metadata()?.ino());
        Plain.write_at(file, buf, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.0
            .lock()
            .expect("no panic")
            .remove(&file.metadata()?.ino());
        Plain.sync(file)
    }
}

#[test]
fn that_a_large_file_was_received_outlives_a_power_cut() {
    let mut own = Own::new();
    let content = vec![0; 16 << 20];
    let torrent = torrent_as("f", &content);
    own.put("f", &content);
    let unsynced = Arc::default();
    let disk = Box::new(BeforeACut(Arc::clone(&unsynced)));
    own.reopen_on(disk);
    let (_, stamp) = own.store().open_shared(&name("f")).expect("a file");
    for stamp in [None, Some(stamp)] {
        own.store().save(&received(&torrent, stamp)).expect("room");
        let path = hidden(&own, ".torrent");
        let number = fs::metadata(&path).expect("it is there").ino();
        assert!(
            !unsynced.lock().expect("no panic").contains(&number),
            "{stamp:?}"
        );
    }
}

#[test]
fn what_cannot_be_read_at_the_start_is_not_forgotten() {
    let mut own = Own::new();
    let torrent = torrent_as("f", b"abc");
    own.put("f", b"abc");
    own.store().save(&received(&torrent, None)).expect("room");
    let key = own.store().key();
    let (mut k, mut failed) = (1, 0);
    loop {
        own.0 = None;
        let works = Arc::new(AtomicUsize::new(k));
        let fake = Fake {
            works: Arc::clone(&works),
            ..Fake::default()
        };
        let opened = Store::open_on(Box::new(fake), &own.1);
        let reached = works.swap(0, Ordering::SeqCst) == 0;
        failed += usize::from(opened.is_err());
        if let Ok(store) = opened {
            assert!(store.known(&name("f"))[0].received, "{k}");
            assert_eq!(store.key(), key, "{k}");
        }
        own.reopen(Fake::default());
        let (_, stamp) = own.store().open_shared(&name("f")).expect("a file");
        let found = own
            .store()
            .identify(&name("f"), stamp, None, |_| true, |_, _| {});
        let found = found.expect("readable").expect("untouched");
        assert!(found.is_received(), "{k}");
        if !reached {
            break;
        }
        k += 1;
    }
    assert!(failed > 5, "{failed} of {k}");
}

#[test]
fn a_file_that_shrinks_while_it_is_hashed_has_no_torrent() {
    let own = Own::new();
    let path = own.1.join("shrinks");
    fs::write(&path, vec![0; 3 << 20]).expect("room");
    let (file, stamp) = own
        .store()
        .open_shared(&name("shrinks"))
        .expect("a plain file");
    let cut = |_| {
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(10))
            .is_ok()
    };
    assert!(
        own.store()
            .hash(&name("shrinks"), &file, stamp.size, cut, |_, _| ())
            .expect("readable")
            .is_none()
    );
}

#[test]
fn stamps_outlive_a_remount_of_fat_and_exfat() {
    let of = |secs, nanos| Stamp {
        size: 5,
        mtime: (secs, nanos),
    };
    let exact = of(1001, 123_456_789);
    for (what, other, equal) in [
        ("the same", exact, true),
        ("exFAT", of(1001, 120_000_000), true),
        ("FAT", of(1000, 0), true),
        ("a second", of(1001, 0), false),
        ("changed by a moment", of(1001, 123_456_790), false),
        ("changed by 10 ms", of(1001, 130_000_000), false),
        ("changed by 2 s", of(1002, 0), false),
        ("another size", Stamp { size: 6, ..exact }, false),
    ] {
        assert_eq!(exact == other, equal, "{what}");
        assert_eq!(other == exact, equal, "{what}, the other way round");
    }
    assert_ne!(of(1001, 0), of(1000, 0), "file systems with whole seconds");
}

#[test]
fn a_stamp_of_the_first_version_is_read() {
    let text = r#"{"size":5,"mtime":[1000,7],"inode":99}"#;
    let stamp: Stamp = serde_json::from_str(text).expect("a stamp");
    assert_eq!((stamp.size, stamp.mtime), (5, (1000, 7)));
    let now = serde_json::to_string(&stamp).expect("plain data");
    assert!(!now.contains("inode"), "{now}");
}

#[test]
fn changed_permissions_are_seen_without_reading() {
    let own = Own::new();
    own.put("f", b"x");
    let before = own.store().access_stamp(&name("f")).expect("a file");
    let mode = fs::Permissions::from_mode(0o400);
    fs::set_permissions(own.1.join("f"), mode).expect("ours");
    let after = own.store().access_stamp(&name("f")).expect("a file");
    assert!(before != after && after.mode & 0o777 == 0o400, "{after:?}");
    assert_eq!(own.store().access_stamp(&name("missing")), None);
}

#[test]
fn hidden_names_are_digits_only() {
    let own = Own::new();
    for (long, content) in [("A".repeat(240), "one"), ("é b".to_owned(), "two")] {
        let torrent = torrent_as(&long, content.as_bytes());
        own.store().open_part(&torrent).expect("room");
        own.store().save(&saved(&torrent, None)).expect("room");
        own.store().new_copy(&name(&long), "copy1").expect("room");
        let part = own.store().part_path(torrent.name(), torrent.md5());
        assert!(part.exists());
    }
    for found in Plain.read_dir(&own.1.join(HIDDEN)).expect("a folder") {
        let found = found.to_str().expect("ASCII").to_owned();
        let (stem, _) = found.rsplit_once('.').unwrap_or(("", ""));
        let is_digits = |c: char| matches!(c, '0'..='9' | 'a'..='f' | '.');
        assert!(stem.chars().all(is_digits), "{found}");
    }
}

#[test]
fn what_fits_the_standing_file_is_remembered_first() {
    let mut own = Own::new();
    let (one, two, three) = (
        torrent_as("f", b"one"),
        torrent_as("f", b"two"),
        torrent_as("f", b"three"),
    );
    own.put("f", b"one");
    let (_, stands) = own.store().open_shared(&name("f")).expect("a file");
    let other = Stamp {
        size: 3,
        mtime: (1, 1),
    };
    for saved in [
        saved(&one, Some(stands)),
        saved(&two, Some(other)),
        saved(&three, None),
    ] {
        own.store().save(&saved).expect("room");
    }
    let best = |own: &Own| own.store().saved(&name("f")).map(|s| s.torrent.md5());
    for again in [false, true] {
        assert_eq!(best(&own), Some(one.md5()), "by the file, {again}");
        let known = own.store().known(&name("f"));
        let md5s: Vec<Digest> = known.iter().map(|known| known.md5).collect();
        if !again {
            assert_eq!(md5s, [three.md5(), two.md5(), one.md5()]);
        }
        assert_eq!(known.len(), 3);
        own.reopen(Fake::default());
    }
    own.put("f", b"changed");
    own.store().save(&saved(&two, Some(other))).expect("room");
    assert_eq!(best(&own), Some(two.md5()), "the most recent whole one");
    let content = own.store().saved_content(&name("f"), three.md5());
    assert_eq!(content.map(|saved| saved.stamp), Some(None));
    assert!(own.store().saved_content(&name("g"), one.md5()).is_none());
}

#[test]
fn sixteen_contents_of_a_name_are_remembered() {
    let mut own = Own::new();
    for n in 0..20_u8 {
        let torrent = torrent_as("f", &[n]);
        own.store().save(&saved(&torrent, None)).expect("room");
    }
    for _ in 0..20 {
        let again = saved(&torrent_as("g", b"g"), None);
        own.store().save(&again).expect("room");
    }
    for _ in 0..2 {
        let known = own.store().known(&name("f"));
        assert_eq!(known.len(), 16);
        let first = torrent_as("f", &[3]).md5();
        assert!(known.iter().all(|known| known.md5 != first));
        assert_eq!(own.store().known(&name("g")).len(), 1);
        let files = Plain.read_dir(&own.1.join(HIDDEN)).expect("a folder");
        assert_eq!(files.len(), 16 + 1 + 1, "with the lock: {files:?}");
        own.reopen(Fake::default());
    }
}

#[test]
fn what_the_first_version_remembered_is_known() {
    let mut own = Own::new();
    let (begun, whole) = (torrent_as("begun", b"one"), torrent_as("whole", b"two"));
    let stamp = json!({"size": 3, "mtime": [5, 6], "inode": 7});
    for (torrent, stamp) in [(&begun, json!(null)), (&whole, stamp)] {
        let text = json!({"stamp": stamp, "verified": true, "torrent": torrent});
        let file = format!("{HIDDEN}/{}.torrent", torrent.name().as_str());
        own.put(&file, text.to_string().as_bytes());
    }
    own.reopen(Fake::default());
    let saved = own.store().saved(&name("begun")).expect("known");
    assert!(saved.received && saved.stamp.is_none());
    let saved = own.store().saved(&name("whole")).expect("known");
    assert!(!saved.received && saved.stamp.is_some_and(|stamp| stamp.mtime == (5, 6)));
    own.store().save(&saved).expect("room");
    let left = own.1.join(HIDDEN).join("whole.torrent");
    assert!(!left.exists(), "it is kept in its new place");
    assert!(own.store().saved(&name("whole")).is_some());
}

#[test]
fn an_earlier_versions_part_is_adopted() {
    let torrent = torrent_as("made", &[7; 100_000]);
    for left in ["made.part".to_owned(), format!("{}.part", torrent.md5())] {
        let own = Own::new();
        own.put(&format!("{HIDDEN}/{left}"), &[7; 70_000]);
        let (part, was_there) = own.store().open_part(&torrent).expect("a part");
        assert!(was_there);
        let have = own.store().check(&torrent, &part, |_, _| true);
        assert_eq!(have.expect("readable").iter().collect::<Vec<_>>(), [0]);
        assert!(!own.1.join(HIDDEN).join(left).exists());
    }
}

#[test]
fn another_contents_part_is_gone_on_with() {
    let own = Own::new();
    let (old, mut bytes) = (vec![7; 200_000], vec![7; 200_000]);
    bytes[0] = 8;
    let (old, new) = (torrent_as("made", &old), torrent_as("made", &bytes));
    let late = own.whole_part(&old, &[7; 200_000]);
    let (part, was_there) = own.store().open_part(&new).expect("a part");
    assert!(was_there);
    own.store()
        .write(&old, &late, &[1; 70_000], 65_536)
        .expect("left out");
    let have = own.store().check(&new, &part, |_, _| true);
    assert_eq!(
        have.expect("readable").iter().collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let left = own.store().part_path(old.name(), old.md5());
    assert!(!left.exists(), "it is the new one's");
    // and so is one that an earlier run left
    let mut own = Own::new();
    own.store().save(&saved(&old, None)).expect("room");
    drop(own.whole_part(&old, &[7; 200_000]));
    own.reopen(Fake::default());
    assert!(own.store().open_part(&new).expect("a part").1);
}

#[test]
fn one_content_under_two_names_has_two_parts() {
    let mut own = Own::new();
    let content = [5; 1000];
    let (one, two) = (torrent_as("one", &content), torrent_as("two", &content));
    let (first, second) = (
        own.whole_part(&one, &content),
        own.whole_part(&two, &content),
    );
    own.store().finish(&one, &first, None).expect("room");
    drop(second);
    own.reopen(Fake::default());
    let (second, was_there) = own.store().open_part(&two).expect("room");
    assert!(was_there, "found by the next run");
    own.store().finish(&two, &second, None).expect("room");
    assert!(own.content("one") == content && own.content("two") == content);
}

#[test]
fn a_hidden_folder_that_vanishes_is_made_again() {
    let own = Own::new();
    let torrent = torrent_as("made", b"abc");
    for round in ["part", "save", "copy"] {
        fs::remove_dir_all(own.1.join(HIDDEN)).expect("ours");
        match round {
            "part" => drop(own.store().open_part(&torrent).expect("room")),
            "save" => own.store().save(&saved(&torrent, None)).expect("room"),
            _ => drop(own.store().new_copy(&name("f"), "upload").expect("room")),
        }
        let other = Store::open(&own.1);
        assert!(matches!(other, Err(StoreError::InUse(_))), "{round}");
    }
}

#[test]
fn a_hidden_folder_may_vanish_at_any_moment() {
    let torrent = torrent_as("made", b"abc");
    for round in ["part", "save", "copy"] {
        let removals = Arc::new(AtomicUsize::new(0));
        let mut own = Own::new();
        own.reopen(Fake {
            removals: removals.clone(),
            ..Fake::default()
        });
        removals.store(1, Ordering::SeqCst);
        match round {
            "part" => drop(own.store().open_part(&torrent).expect("room")),
            "save" => own.store().save(&saved(&torrent, None)).expect("room"),
            _ => drop(own.store().new_copy(&name("f"), "upload").expect("room")),
        }
        assert_eq!(removals.load(Ordering::SeqCst), 0, "{round}");
    }
}

#[test]
fn a_part_without_its_path_still_completes() {
    let own = Own::new();
    let content = vec![9; 300_000];
    for what in ["gone", "another"] {
        let torrent = torrent_as(what, &content);
        let part = own.whole_part(&torrent, &content);
        let path = own.store().part_path(torrent.name(), torrent.md5());
        fs::remove_file(&path).expect("a part");
        if what == "another" {
            fs::write(&path, vec![0; 300_000]).expect("room");
        }
        let stamp = own.store().finish(&torrent, &part, None).expect(what);
        assert_eq!(own.content(what), content);
        assert_eq!(Stamp::of_file(&part).ok(), Some(stamp), "{what}");
    }
    assert_no_copies(&own);
}

fn assert_no_copies(own: &Own) {
    let names = Plain.read_dir(&own.1).expect("a folder");
    let copies = |name: &&std::ffi::OsString| name.to_string_lossy().starts_with(BESIDE);
    assert_eq!(names.iter().filter(copies).count(), 0, "{names:?}");
}

#[test]
fn a_part_that_is_done_with_is_not_completed_again() {
    let own = Own::new();
    let torrent = torrent_as("made", b"abc");
    let part = own.whole_part(&torrent, b"abc");
    own.store().finish(&torrent, &part, None).expect("room");
    let again = own.store().finish(&torrent, &part, None);
    assert!(matches!(again, Err(StoreError::Changed(_))));
    own.store()
        .write(&torrent, &part, b"xyz", 0)
        .expect("left out");
    assert_eq!(own.content("made"), b"abc");
}

#[test]
fn a_key_is_kept_and_a_broken_one_replaced() {
    let mut own = Own::new();
    let key = own.store().key();
    assert!(key.len() == 32 && key.bytes().all(|c| c.is_ascii_hexdigit()));
    own.reopen(Fake::default());
    assert_eq!(own.store().key(), key);
    let mode = fs::metadata(own.1.join(HIDDEN).join("key"))
        .expect("a file")
        .mode();
    assert_eq!(mode & 0o77, 0, "it is nobody else's business");
    own.put(&format!("{HIDDEN}/key"), b"short");
    own.reopen(Fake::default());
    let other = own.store().key();
    assert_eq!(other.len(), 32);
    assert!(other != key && own.content(&format!("{HIDDEN}/key")) == other.as_bytes());
    // somebody has removed it all, while this runs
    fs::remove_dir_all(own.1.join(HIDDEN)).expect("ours");
    let saved = saved(&torrent_as("f", b"abc"), None);
    own.store().save(&saved).expect("room");
    own.reopen(Fake::default());
    assert_eq!(own.store().key(), other);
}

#[test]
fn a_read_only_folder_is_for_seeding_only() {
    for number in [EROFS, EACCES] {
        let mut own = Own::new();
        let torrent = torrent_as("f", b"abc");
        own.put("f", b"abc");
        let (_, stamp) = own.store().open_shared(&name("f")).expect("a file");
        own.store()
            .save(&saved(&torrent, Some(stamp)))
            .expect("room");
        for was_there in [true, false] {
            own.reopen(Fake {
                writing: Some(number),
                ..Fake::default()
            });
            let store = own.store();
            assert_eq!(store.saved(&name("f")).is_some(), was_there);
            let place = Location::Whole(name("f"), stamp);
            store.read_at(&place, &mut [0; 3], 0).expect("readable");
            store.save(&saved(&torrent, None)).expect("skipped");
            let part = store.open_part(&torrent);
            assert!(matches!(part, Err(StoreError::ReadOnly(_))));
            let copy = store.new_copy(&name("g"), "upload");
            assert!(matches!(copy, Err(StoreError::ReadOnly(_))));
            assert_eq!(store.key(), store.key());
            let remarks = store.remarks();
            assert!(remarks.len() == 1 && remarks[0].contains("can't be written to"));
            assert_eq!(remarks[0].contains(HIDDEN), was_there, "{remarks:?}");
            own.0 = None;
            let _ = fs::remove_dir_all(own.1.join(HIDDEN));
        }
    }
}

#[test]
fn a_file_system_without_locks_is_gone_on_with() {
    for number in [ENOLCK, ENOSYS, EINVAL, EOPNOTSUPP] {
        let own = Own::on(Fake {
            locks: Some(number),
            ..Fake::default()
        });
        let remarks = own.store().remarks();
        let told = remarks.len() == 1 && remarks[0].contains("can't be locked");
        assert!(told, "{number}: {remarks:?}");
    }
    let (own, locks) = (Own::new(), Some(EIO));
    let fake = Fake {
        locks,
        ..Fake::default()
    };
    let dir = own.1.join("other");
    assert!(matches!(
        Store::open_on(Box::new(fake), &dir),
        Err(StoreError::Io(..))
    ));
    assert!(own.store().remarks().is_empty());
}

#[test]
fn without_hard_links_nothing_is_overwritten() {
    for number in [EPERM, EACCES, ENOSYS, EOPNOTSUPP, EMLINK] {
        let own = Own::on(Fake {
            hard_links: Some(number),
            ..Fake::default()
        });
        let torrent = torrent_as("made", b"abc");
        let part = own.whole_part(&torrent, b"abc");
        own.store().finish(&torrent, &part, None).expect("room");
        own.put("made", b"mine");
        let part = own.whole_part(&torrent, b"abc");
        let done = own.store().finish(&torrent, &part, None);
        assert!(matches!(done, Err(StoreError::Exists(_))), "{number}");
        assert_eq!(own.content("made"), b"mine", "{number}");
    }
    let own = Own::on(Fake {
        hard_links: Some(EIO),
        ..Fake::default()
    });
    let torrent = torrent_as("made", b"abc");
    let part = own.whole_part(&torrent, b"abc");
    let done = own.store().finish(&torrent, &part, None);
    assert!(matches!(done, Err(StoreError::Io(..))) && !own.1.join("made").exists());
}

#[test]
fn of_names_that_fold_to_one_one_is_given() {
    for hard_links in [None, Some(EPERM)] {
        let own = Own::on(Fake {
            folds: true,
            hard_links,
            ..Fake::default()
        });
        let names: Vec<String> = (0..8_u32)
            .map(|bits| {
                let upper = |(at, c): (usize, char)| match bits >> at & 1 {
                    0 => c,
                    _ => c.to_ascii_uppercase(),
                };
                "abc".chars().enumerate().map(upper).collect()
            })
            .collect();
        let all = names.iter().map(|name| {
            let torrent = torrent_as(name, name.as_bytes());
            let part = own.whole_part(&torrent, name.as_bytes());
            (torrent, part)
        });
        let all: Vec<_> = all.collect();
        let done: Vec<_> = std::thread::scope(|scope| {
            let store = own.store();
            let complete = |(torrent, part)| scope.spawn(move || store.finish(torrent, part, None));
            let threads: Vec<_> = all.iter().map(|(t, p)| complete((t, p))).collect();
            let ends = threads.into_iter().map(|thread| thread.join());
            ends.map(|end| end.expect("no panic")).collect()
        });
        let given: Vec<usize> = (0..8).filter(|at| done[*at].is_ok()).collect();
        assert_eq!(given.len(), 1, "{done:?}");
        let stands = &names[given[0]];
        assert_eq!(own.content(stands), stands.as_bytes());
        let folded = |end: &&Result<_, StoreError>| matches!(end, Err(StoreError::Folded { stands: by, .. }) if by == stands);
        assert_eq!(done.iter().filter(folded).count(), 7, "{done:?}");
    }
}

#[test]
fn a_folded_name_is_told_with_what_stands_there() {
    let own = Own::on(Fake {
        folds: true,
        ..Fake::default()
    });
    for (stands, wanted) in [("A.bin", "a.bin"), ("caf\u{e9}", "cafe\u{301}")] {
        own.put(stands, b"mine");
        let torrent = torrent_as(wanted, b"abc");
        assert_eq!(
            own.store().stands_as(&name(wanted)).as_deref(),
            Some(stands)
        );
        assert_eq!(
            own.store().stands_as(&name(stands)).as_deref(),
            Some(stands)
        );
        let (_, stamp) = own.store().open_shared(&name(stands)).expect("a file");
        let part = own.whole_part(&torrent, b"abc");
        let done = own.store().finish(&torrent, &part, None);
        let replaced = own.store().finish(&torrent, &part, Some(stamp));
        for fault in [done, replaced] {
            let text = fault.expect_err("it is taken").to_string();
            let said = format!(
                "{wanted} can't be stored here beside {stands}: to this file system they are the same name, as names are that differ in case or Unicode form only; use another folder"
            );
            assert_eq!(text, said);
        }
        assert_eq!(own.content(stands), b"mine");
    }
    assert_eq!(own.store().stands_as(&name("free")), None);
    // where both can stand, each is itself
    let own = Own::new();
    for stands in ["B.bin", "b.bin"] {
        own.put(stands, b"mine");
    }
    for stands in ["B.bin", "b.bin"] {
        let found = own.store().stands_as(&name(stands));
        assert_eq!(found.as_deref(), Some(stands));
    }
}

#[test]
fn a_part_on_another_file_system_is_copied_and_checked() {
    let split = || Fake {
        is_split: true,
        ..Fake::default()
    };
    let own = Own::on(split());
    let remarks = own.store().remarks();
    assert!(remarks.len() == 1 && remarks[0].contains("another file system"));
    let mut content = vec![0; 3 << 20];
    content[2_500_000] = 1;
    let torrent = torrent_as("made", &content);
    let part = own.whole_part(&torrent, &content);
    let stamp = own.store().finish(&torrent, &part, None).expect("room");
    assert_eq!(own.content("made"), content);
    assert_eq!(Stamp::of_file(&part).ok(), Some(stamp));
    assert!(
        !own.store()
            .part_path(torrent.name(), torrent.md5())
            .exists()
    );
    let again = own.whole_part(&torrent, &content);
    let taken = own.store().finish(&torrent, &again, None);
    assert!(matches!(taken, Err(StoreError::Exists(_))));
    let mut copy = own.store().new_copy(&name("up"), "upload").expect("room");
    own.store().append(&mut copy, b"uploaded").expect("room");
    own.store().complete_copy(&name("up"), &copy).expect("room");
    assert_eq!(own.content("up"), b"uploaded");
    assert_no_copies(&own);
}

#[test]
fn a_bad_copy_gets_no_final_name() {
    let mut own = Own::new();
    let content = vec![3; 100_000];
    let torrent = torrent_as("made", &content);
    own.whole_part(&torrent, &content);
    own.reopen(Fake {
        is_split: true,
        garbles: true,
        ..Fake::default()
    });
    let (part, was_there) = own.store().open_part(&torrent).expect("room");
    assert!(was_there);
    let done = own.store().finish(&torrent, &part, None);
    assert!(
        matches!(done, Err(StoreError::Io(_, fault)) if fault.kind() == ErrorKind::InvalidData)
    );
    assert!(!own.1.join("made").exists());
    let mut copy = own.store().new_copy(&name("up"), "upload").expect("room");
    fs::write(&copy.path, b"uploaded").expect("room");
    copy.size = 8;
    assert!(own.store().complete_copy(&name("up"), &copy).is_err());
    assert!(!own.1.join("up").exists());
    assert_no_copies(&own);
}

#[test]
fn left_over_copies_are_removed_at_the_start() {
    let mut own = Own::new();
    for left in [".bittorrentish-00ff-12.new", ".bittorrentish/x.copy1"] {
        own.put(left, b"half");
        own.reopen(Fake::default());
        assert!(!own.1.join(left).exists(), "{left}");
    }
    for mine in [".bittorrentish-mine", "mine.new", ".bittorrentish/x.other"] {
        own.put(mine, b"not ours");
        own.reopen(Fake::default());
        assert_eq!(own.content(mine), b"not ours", "{mine}");
    }
}

#[test]
fn a_folder_that_cannot_be_synced_is_no_fault() {
    for (number, fine) in [
        (EINVAL, true),
        (EBADF, true),
        (EACCES, true),
        (EOPNOTSUPP, true),
        (EIO, false),
    ] {
        for is_split in [false, true] {
            let own = Own::on(Fake {
                folder_syncs: Some(number),
                is_split,
                ..Fake::default()
            });
            let torrent = torrent_as("made", b"abc");
            let part = own.whole_part(&torrent, b"abc");
            let done = own.store().finish(&torrent, &part, None);
            assert_eq!(done.is_ok(), fine, "{number} {is_split}");
        }
    }
}

#[test]
fn what_cannot_be_brought_to_the_disk_gets_no_name() {
    // the part; or the second time its copy, which is on another file system
    for (is_split, syncs) in [(false, 0), (true, 0), (true, 1)] {
        let own = Own::on(Fake {
            is_split,
            file_syncs: Some(syncs.into()),
            ..Fake::default()
        });
        let torrent = torrent_as("made", b"abc");
        let part = own.whole_part(&torrent, b"abc");
        let done = own.store().finish(&torrent, &part, None);
        done.expect_err("the disk fails");
        assert!(!own.1.join("made").exists(), "{is_split} {syncs}");
    }
}

#[test]
fn only_a_whole_file_of_this_content_gets_its_name() {
    let own = Own::new();
    let content = vec![3; 200_000];
    let torrent = Arc::new(torrent(&own, &content));
    drop(own.whole_part(&torrent, &content));
    let mut pieces = StoredPieces::none_of(&torrent);
    let longer = torrent_as("made", &[3; 300_000]);
    for of_another in [false, true] {
        for idx in 0..torrent.n_pieces() {
            let all_of_another = StoredPieces::all_for_a_test(&longer);
            let have = if of_another { &all_of_another } else { &pieces };
            let named = own.store().complete(&torrent, have, None);
            assert!(matches!(named, Err(StoreError::Changed(_))), "{idx}");
            assert!(!pieces.add(&StoredPiece::for_a_test(&longer, idx)));
            assert!(of_another || pieces.add(&StoredPiece::for_a_test(&torrent, idx)));
        }
    }
    own.store().complete(&torrent, &pieces, None).expect("room");
    assert_eq!(own.content("made"), content);
}

#[test]
fn what_came_is_received_unless_it_was_the_users_before() {
    for (before, was_received, received) in [
        (None, false, true),
        (Some(&b"another"[..]), false, true),
        (Some(b"new"), false, false),
        (Some(b"new"), true, true),
    ] {
        let own = Own::new();
        if let Some(before) = before {
            let known = Saved {
                received: was_received,
                ..saved(&torrent_as("made", before), None)
            };
            own.store().save(&known).expect("room");
        }
        let torrent = torrent_as("made", b"new");
        let part = own.whole_part(&torrent, b"new");
        own.store().finish(&torrent, &part, None).expect("room");
        let saved = own.store().saved(torrent.name()).expect("remembered");
        assert_eq!(saved.received, received, "{before:?} {was_received}");
    }
}

/// What a file in the folder turns out to be.
fn identified(own: &Own, listed: Option<Torrent>) -> Option<WholeFile> {
    let (_, stamp) = own.store().open_shared(&name("made")).expect("a file");
    let heads = |_: Torrent, _: StoredPieces| ();
    let found = own
        .store()
        .identify(&name("made"), stamp, listed, |_| true, heads);
    found.expect("readable")
}

#[test]
fn a_file_is_the_listed_one_only_if_all_of_it_is() {
    let own = Own::new();
    let content = vec![3; 200_000];
    let mut other = content.clone();
    other[150_000] = 4;
    own.put("made", &content);
    for listed in [None, Some(&content), Some(&other)] {
        let listed = listed.map(|listed| torrent_as("made", listed));
        let found = identified(&own, listed).expect("it stands still");
        assert_eq!(found.torrent().md5(), torrent_as("made", &content).md5());
        assert!(!found.is_received());
    }
    // what came from a swarm once is a received copy, whatever was done with it
    let kept = Saved {
        received: true,
        ..saved(&torrent_as("made", &content), None)
    };
    own.store().save(&kept).expect("room");
    assert!(identified(&own, None).expect("the same").is_received());
}

#[test]
fn a_file_that_changes_while_it_is_hashed_is_none() {
    let own = Own::new();
    own.put("made", &[3; 100]);
    let (_, stamp) = own.store().open_shared(&name("made")).expect("a file");
    let hash = |stamp, progress: &dyn Fn(u64) -> bool| {
        let heads = |_: Torrent, _: StoredPieces| ();
        let found = own
            .store()
            .identify(&name("made"), stamp, None, progress, heads);
        found.expect("readable")
    };
    let earlier = Stamp { size: 99, ..stamp };
    assert!(hash(earlier, &|_| true).is_none(), "it changed before");
    assert!(hash(stamp, &|_| false).is_none(), "the program ends");
    let grows = |_| {
        own.put("made", &[3; 101]);
        true
    };
    assert!(hash(stamp, &grows).is_none(), "it changes meanwhile");
    assert!(own.store().saved(&name("made")).is_none());
}

#[test]
fn only_what_stands_there_unchanged_is_remembered() {
    let own = Own::new();
    own.put("made", b"abc");
    let (_, stamp) = own.store().open_shared(&name("made")).expect("a file");
    let earlier = Stamp { size: 2, ..stamp };
    for (kept, asked, verified, vouched, whole) in [
        (stamp, stamp, true, false, Some(true)),
        (stamp, stamp, false, false, Some(false)),
        (stamp, stamp, false, true, Some(true)),
        (earlier, stamp, true, true, None),
        (earlier, earlier, true, true, None),
    ] {
        let saved = Saved {
            verified,
            ..saved(&torrent_as("made", b"abc"), Some(kept))
        };
        own.store().save(&saved).expect("room");
        let found = own.store().remembered(&name("made"), asked, vouched);
        let found = found.map(|found| matches!(found, Remembered::Whole(_)));
        assert_eq!(found, whole, "{kept:?} {asked:?} {verified} {vouched}");
    }
}

#[test]
fn what_was_deleted_is_not_picked_again() {
    let own = Own::new();
    let names = ["here", "deleted", "never whole"].map(name);
    own.put("here", b"abc");
    let stamp = own.store().open_shared(&names[0]).expect("a file").1;
    for whole in &names[..2] {
        let torrent = torrent_as(whole.as_str(), b"abc");
        own.store()
            .save(&saved(&torrent, Some(stamp)))
            .expect("room");
    }
    own.store().save_picked(|| names.to_vec()).expect("room");
    let [here, _, never] = names;
    assert_eq!(own.store().picked(), [here, never]);
}

#[test]
fn what_is_discarded_leaves_the_disk() {
    let own = Own::new();
    let content = [7; 1000];
    let [kept, other] = [&content[..], b"another"].map(|bytes| torrent_as("made", bytes));
    drop(own.whole_part(&other, b"another"));
    drop(own.whole_part(&kept, &content));
    let path = |torrent: &Torrent| own.store().part_path(torrent.name(), torrent.md5());
    // the kept one went on with the other's part; another run may have left one
    fs::write(path(&other), b"another").expect("room");
    own.store().save(&saved(&other, None)).expect("room");
    own.store().discard_other_parts(&kept);
    assert!(!path(&other).exists() && path(&kept).exists());
    own.store().discard_part_of(kept.name(), kept.md5());
    assert!(!path(&kept).exists());
    assert!(
        !own.store()
            .write_part(&kept, &content, 0)
            .expect("left out")
    );
}

#[test]
fn what_is_in_the_way_is_told() {
    let own = Own::new();
    own.put("file", b"abc");
    fs::create_dir(own.1.join("folder")).expect("room");
    symlink(own.1.join("file"), own.1.join("link")).expect("room");
    for (stands, blocks) in [
        ("file", false),
        ("folder", true),
        ("link", true),
        ("-", false),
    ] {
        assert_eq!(own.store().is_blocked(&name(stands)), blocks, "{stands}");
    }
    let locked = |hidden: &str| lock(&Plain, &own.1, &own.1.join(hidden));
    assert!(matches!(locked("file"), Err(StoreError::HiddenInTheWay(_))));
    fs::create_dir(own.1.join("folder/lock")).expect("room");
    assert!(matches!(locked("folder"), Err(StoreError::InTheWay(_))));
}

#[test]
fn faults_are_told_apart() {
    let io = |number| StoreError::Io(PathBuf::new(), io::Error::from_raw_os_error(number));
    let changed = StoreError::Changed(PathBuf::new());
    let in_the_way = StoreError::InTheWay(PathBuf::new());
    let no_room = StoreError::NoRoom {
        dir: PathBuf::new(),
        needed: 2,
        free: 1,
    };
    let [enoent, enfile, emfile, enospc] = [2, 23, 24, 28];
    for (fault, is_full, is_out, is_gone) in [
        (no_room, true, false, false),
        (io(enospc), true, false, false),
        (io(enfile), false, true, false),
        (io(emfile), false, true, false),
        (io(enoent), false, false, true),
        (changed, false, false, true),
        (in_the_way, false, false, true),
        (io(EIO), false, false, false),
    ] {
        let found = (
            fault.is_full(),
            fault.is_out_of_descriptors(),
            fault.is_gone(),
        );
        assert_eq!(found, (is_full, is_out, is_gone), "{fault:?}");
    }
}

#[test]
fn only_the_expected_file_is_replaced() {
    for is_split in [false, true] {
        let own = Own::on(Fake {
            is_split,
            ..Fake::default()
        });
        own.put("made", b"old");
        let (_, stamp) = own.store().open_shared(&name("made")).expect("a file");
        let torrent = torrent_as("made", b"new one");
        let part = own.whole_part(&torrent, b"new one");
        let other = Stamp { size: 4, ..stamp };
        let replace = |stamp| own.store().finish(&torrent, &part, Some(stamp));
        assert!(matches!(replace(other), Err(StoreError::Exists(_))));
        assert_eq!(own.content("made"), b"old");
        let new = replace(stamp).expect("as expected");
        assert_eq!(own.content("made"), b"new one");
        assert_eq!(
            own.store().saved(&name("made")).and_then(|s| s.stamp),
            Some(new)
        );

        let part = own.whole_part(&torrent, b"new one");
        let path = own.1.join("made");
        fs::remove_file(&path).expect("a file");
        symlink("elsewhere", &path).expect("room");
        let blocked = own.store().finish(&torrent, &part, Some(new));
        assert!(matches!(blocked, Err(StoreError::Exists(_))));
        fs::remove_file(&path).expect("a link");
        let done = own.store().finish(&torrent, &part, Some(new));
        assert!(done.is_ok() && own.content("made") == b"new one");
        assert_no_copies(&own);
    }
}

#[test]
fn holes_stay_holes() {
    let own = Own::new();
    let size: usize = 64 << 20;
    let mut content = vec![0; size];
    content[40 << 20..41 << 20].fill(7);
    let torrent = torrent_as("sparse", &content);
    let (part, _) = own.store().open_part(&torrent).expect("room");
    for idx in 0..torrent.n_pieces() {
        let start = torrent.piece_start(idx);
        let piece = &content[start as usize..][..torrent.piece_len(idx)];
        own.store()
            .write(&torrent, &part, piece, start)
            .expect("room");
    }
    own.store().finish(&torrent, &part, None).expect("room");
    let used = fs::metadata(own.1.join("sparse")).expect("a file").blocks() * 512;
    assert!(used < 4 << 20, "{used} bytes are used");
    assert!(own.content("sparse") == content);
}

#[test]
fn zeros_replace_what_was_written() {
    let own = Own::new();
    let torrent = torrent_as("f", &[0; 200_000]);
    let path = own.store().part_path(torrent.name(), torrent.md5());
    for adopted in [false, true] {
        if adopted {
            fs::write(&path, [1; 200_000]).expect("room");
        }
        let (part, was_there) = own.store().open_part(&torrent).expect("room");
        assert_eq!(was_there, adopted);
        if !adopted {
            own.store()
                .write(&torrent, &part, &[1; 200_000], 0)
                .expect("room");
        }
        own.store()
            .write(&torrent, &part, &[0; 200_000], 0)
            .expect("room");
        assert!(fs::read(&path).expect("a part") == [0; 200_000]);
    }
}

#[test]
fn whatever_is_not_shared_is_told_with_its_reason() {
    use std::os::unix::ffi::OsStrExt;
    let mut own = Own::new();
    for file in [
        "plain",
        ".dot",
        "image.iso.part0001",
        "a.TMP",
        "b.part",
        "c~",
        "Thumbs.db",
        ".bittorrentish-00-11.new",
    ] {
        own.put(file, b"12345");
    }
    let huge = File::create(own.1.join("huge")).expect("room");
    huge.set_len((1 << 40) + 1).expect("a file system of today");
    fs::create_dir(own.1.join("folder")).expect("room");
    symlink("/etc/passwd", own.1.join("link")).expect("room");
    let _socket = std::os::unix::net::UnixListener::bind(own.1.join("socket")).expect("room");
    let odd_name = std::ffi::OsStr::from_bytes(b"odd\xff");
    fs::write(own.1.join(odd_name), "").expect("room");
    let look = |explicit: &dyn Fn(&str) -> bool| {
        let seen = own.store().look_for(explicit).expect("readable");
        let mut shown: Vec<(String, Option<LeftOut>)> = seen
            .into_iter()
            .map(|seen| match seen {
                Seen::File(name, stamp) => {
                    assert_eq!(stamp.size, 5);
                    (name.to_string(), None)
                }
                Seen::Odd(name, why) => (name, Some(why)),
            })
            .collect();
        shown.sort_by(|one, two| one.0.cmp(&two.0));
        shown
    };
    let mut expected = vec![
        (".dot", Some(LeftOut::Name(NameError::LeadingDot))),
        ("Thumbs.db", Some(LeftOut::Temporary)),
        ("a.TMP", Some(LeftOut::Temporary)),
        ("b.part", Some(LeftOut::Temporary)),
        ("c~", Some(LeftOut::Temporary)),
        ("folder", Some(LeftOut::Folder(own.1.clone()))),
        ("huge", Some(LeftOut::TooLarge)),
        ("image.iso.part0001", Some(LeftOut::Name(NameError::Piece))),
        ("link", Some(LeftOut::Link)),
        ("odd\u{fffd}", Some(LeftOut::NotUtf8)),
        ("plain", None),
        ("socket", Some(LeftOut::Special)),
    ];
    let owned = |expected: &[(&str, Option<LeftOut>)]| -> Vec<(String, Option<LeftOut>)> {
        let each = expected.iter();
        each.map(|(name, why)| ((*name).to_owned(), why.clone()))
            .collect()
    };
    assert_eq!(look(&|_| false), owned(&expected));
    expected[2].1 = None;
    assert_eq!(look(&|name| name == "a.TMP"), owned(&expected));
    for other in ["link", "folder"] {
        let opened = own.store().open_shared(&name(other));
        assert!(matches!(opened, Err(StoreError::InTheWay(_))), "{other}");
    }
    let log = own.1.join("plain");
    own.0.as_mut().expect("open").leave_out(&log);
    let seen = own.store().look_for(&|_| false).expect("readable");
    let is_left_out = Seen::Odd("plain".to_owned(), LeftOut::Output);
    assert!(seen.contains(&is_left_out), "{seen:?}");
}

#[test]
fn half_downloads_are_known_by_their_names() {
    for name in ["x.CRDOWNLOAD", "x.!qB", "x.aria2", "DESKTOP.INI", "doc~"] {
        assert!(is_temporary(name), "{name}");
    }
    for name in ["x.iso", "party", "tmp", "x.part0001", "desktop.ini.zip"] {
        assert!(!is_temporary(name), "{name}");
    }
}

#[test]
fn few_files_are_open_and_each_is_the_one_asked_for() {
    let own = Own::new();
    let store = own.store();
    let mut places = Vec::new();
    for n in 0..100_u8 {
        own.put(&format!("f{n}"), &[n; 10]);
        let (_, stamp) = store.open_shared(&name(&format!("f{n}"))).expect("a file");
        places.push(Location::Whole(name(&format!("f{n}")), stamp));
    }
    let mut buf = [0; 10];
    for _ in 0..2 {
        for (n, place) in (0..).zip(&places) {
            store.read_at(place, &mut buf, 0).expect("readable");
            assert_eq!(buf, [n; 10]);
            assert!(store.open_files() <= 32);
        }
    }
    let kept = store.open_at(&places[99]).expect("open");
    let again = store.open_at(&places[99]).expect("open");
    assert!(Arc::ptr_eq(&kept, &again), "it isn't opened twice");
}

#[test]
fn a_shared_file_that_changed_is_not_read() {
    let own = Own::new();
    own.put("f", b"12345");
    let (_, stamp) = own.store().open_shared(&name("f")).expect("a file");
    let place = Location::Whole(name("f"), stamp);
    own.store()
        .read_at(&place, &mut [0; 5], 0)
        .expect("as it was");
    own.put("f", b"123456");
    for _ in 0..2 {
        let read = own.store().read_at(&place, &mut [0; 5], 0);
        assert!(matches!(read, Err(StoreError::Changed(_))));
    }
    fs::remove_file(own.1.join("f")).expect("a file");
    own.put("g", b"abcde");
    fs::rename(own.1.join("g"), own.1.join("f")).expect("room");
    let (_, stamp) = own.store().open_shared(&name("f")).expect("a file");
    let mut buf = [0; 5];
    let place = Location::Whole(name("f"), stamp);
    own.store()
        .read_at(&place, &mut buf, 0)
        .expect("the new one");
    assert_eq!(&buf, b"abcde");
}

#[test]
fn a_part_is_read_and_written_by_its_place() {
    let own = Own::new();
    let torrent = torrent_as("made", b"abcdef");
    let place = Location::part(&torrent);
    assert!(own.store().open_at(&place).is_err(), "there is none");
    drop(own.store().open_part(&torrent).expect("room"));
    own.store()
        .write_part(&torrent, b"abcdef", 0)
        .expect("room");
    let mut buf = [0; 3];
    own.store().read_at(&place, &mut buf, 2).expect("readable");
    assert_eq!(&buf, b"cde");
    let file = own.store().open_at(&place).expect("a part");
    own.store().finish(&torrent, &file, None).expect("room");
    let read = own.store().read_at(&place, &mut buf, 2);
    read.expect("until its peers are told that it is whole");
    let written = own.store().write_part(&torrent, b"x", 0);
    assert!(!written.expect("left out"));
    own.store().close_part(&torrent);
    assert!(own.store().open_at(&place).is_err(), "it is whole now");
    assert_eq!(own.content("made"), b"abcdef");
}

#[test]
fn the_room_that_is_left_is_learnt_from_df() {
    let own = Own::new();
    assert!(
        own.store()
            .free_space()
            .is_some_and(|bytes| bytes > 1 << 20)
    );
    let head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
    for (line, bytes) in [
        ("/dev/sda1 1000 400 600 40% /mnt", Some(600 << 10)),
        (
            "//server/my share 7 1000 400 600 40% /mnt/a b",
            Some(600 << 10),
        ),
        ("none 0 0 0 - /proc", Some(0)),
        ("nonsense", None),
        ("/dev/sda1 1000 1100 -100 110% /mnt", None),
    ] {
        assert_eq!(free_of_df(&format!("{head}{line}\n")), bytes, "{line}");
    }
    assert_eq!(free_of_df(""), None);
}

#[test]
fn a_part_that_was_cut_short_meanwhile_gets_no_name() {
    let content = vec![3; 200_000];
    let torrent = torrent_as("made", &content);
    let mut own = Own::new();
    own.whole_part(&torrent, &content);
    own.reopen(Fake::default());
    let (part, whole) = own.store().open_part(&torrent).expect("a part");
    assert!(whole);
    let other = File::options().write(true).open(hidden(&own, ".part"));
    other.and_then(|other| other.set_len(1000)).expect("a part");
    // the last bytes would make it as long as before
    let written = own.store().write(&torrent, &part, &[3], 199_999);
    assert!(
        matches!(written, Err(StoreError::Changed(_))),
        "{written:?}"
    );
    let named = own.store().finish(&torrent, &part, None);
    assert!(matches!(named, Err(StoreError::Changed(_))), "{named:?}");
    assert!(!own.1.join("made").exists());
}

#[test]
fn whichever_step_fails_no_wrong_content_gets_a_name() {
    let content = vec![3; 200_000];
    let torrent = torrent_as("made", &content);
    for (is_split, hard_links) in [(false, None), (false, Some(EPERM)), (true, None)] {
        for replaces in [false, true] {
            let (mut k, mut failed) = (1, 0);
            loop {
                let mut own = Own::new();
                own.whole_part(&torrent, &content);
                if replaces {
                    own.put("made", b"old");
                }
                let works = Arc::new(AtomicUsize::new(0));
                own.reopen(Fake {
                    is_split,
                    hard_links,
                    works: Arc::clone(&works),
                    ..Fake::default()
                });
                let (part, _) = own.store().open_part(&torrent).expect("a part");
                let found = own.store().open_shared(&name("made"));
                works.store(k, Ordering::SeqCst);
                let done = match found {
                    Ok((_, stamp)) => own.store().finish(&torrent, &part, Some(stamp)),
                    Err(_) => own.store().finish(&torrent, &part, None),
                };
                let reached = works.swap(0, Ordering::SeqCst) == 0;
                let stands = fs::read(own.1.join("made")).ok();
                let is_old = stands.as_deref() == replaces.then_some(b"old".as_slice());
                let is_new = stands.as_ref() == Some(&content);
                let what = format!("{is_split}, {hard_links:?}, {replaces}, {k}: {done:?}");
                assert!(is_new || is_old && done.is_err(), "{what}");
                failed += usize::from(done.is_err());
                // the next run finishes
                own.reopen(Fake::default());
                assert_no_copies(&own);
                if is_old {
                    assert!(own.store().open_part(&torrent).expect("a part").1, "{what}");
                }
                if !reached {
                    break;
                }
                k += 1;
            }
            assert!(
                failed >= 3,
                "{is_split}, {hard_links:?}, {replaces}: {failed}"
            );
        }
    }
}

#[test]
fn what_another_version_has_in_common_is_copied_block_by_block() {
    let own = Own::new();
    let new: Vec<u8> = (0..3 * 65_536 + 5000_u32)
        .map(|n| (n * 7 + n / 251) as u8)
        .collect();
    let torrent = torrent_as("made", &new);
    let mut old = new.clone();
    old[65_536 + 3 * 4096] ^= 1; // the fourth block of the second piece
    old.truncate(3 * 65_536 + 100); // and the last piece is cut short within its first block
    own.put("old", &old);
    let source = File::open(own.1.join("old")).expect("it stands there");
    let mut part = own.store().resume(&torrent, |_| true).expect("room");
    let reused = own.store().reuse(&torrent, &mut part, &source, |_| true);
    reused.expect("room");
    let here: Vec<u32> = part.pieces.iter().collect();
    assert_eq!(here, [0, 2]);
    let missing = part.blocks[&1].missing_of(16);
    assert_eq!(missing.runs().flatten().collect::<Vec<_>>(), [3]);
    assert!(!part.blocks.contains_key(&3), "no block of it is whole");
    assert_eq!(part.reused, 2 * 65_536 + 15 * 4096);
    // the next run finds the same
    let again = own.store().resume(&torrent, |_| true).expect("room");
    assert_eq!((again.pieces, again.blocks), (part.pieces, part.blocks));
    let mut piece = vec![0; 65_536];
    let mut all_but_one = crate::torrent::BlockSet::NONE;
    (0..16)
        .filter(|block| *block != 3)
        .for_each(|block| all_but_one.insert(block));
    let read = own
        .store()
        .read_blocks(&torrent, 1, all_but_one, &mut piece);
    read.expect("readable");
    piece[3 * 4096..4 * 4096].copy_from_slice(&new[65_536 + 3 * 4096..][..4096]);
    let verified = torrent
        .verify(1, &piece)
        .expect("with the missing block it is good");
    assert!(own.store().write_piece(verified).expect("room").is_some());
}

/// A large file with holes, and its first two heads.
fn with_heads() -> (Vec<u8>, Torrent, [Torrent; 2]) {
    let mut content = vec![0; 256 << 20];
    for at in (0..content.len()).step_by(8 << 20) {
        content[at..at + 4096].fill((at >> 23) as u8 + 1);
    }
    let torrent = torrent_as("large", &content);
    let mut heads = torrent.heads_for_a_test().into_iter();
    let heads = [(); 2].map(|()| heads.next().expect("two heads"));
    (content, torrent, heads)
}

#[test]
fn a_heads_part_becomes_the_next_ones_and_the_files() {
    let own = Own::new();
    let (content, torrent, heads) = with_heads();
    let write = |torrent: &Torrent, from: u32| {
        for idx in from..torrent.n_pieces() {
            let start = torrent.piece_start(idx) as usize;
            let bytes = &content[start..start + torrent.piece_len(idx)];
            let piece = torrent.verify(idx, bytes).expect("its own bytes");
            let written = own.store().write_piece(piece).expect("room");
            assert!(written.is_some());
        }
    };
    own.store().open_part(&heads[0]).expect("room");
    write(&heads[0], 0);
    let [first, second] = &heads;
    let taken = own.store().part_on_disk(first);
    assert!(taken > 0);
    for longer in [second, &torrent] {
        let room = own.store().part_on_disk(longer);
        assert_eq!(room, taken, "it needs no room again");
    }
    let all_of_first = StoredPieces::all_for_a_test(first);
    let all_of_second = StoredPieces::all_for_a_test(second);
    for (content, head, pieces, longer, fits) in [
        (&torrent, first, &all_of_first, &torrent, true),
        (&torrent, first, &all_of_second, &torrent, false),
        (&torrent, first, &all_of_first, second, false),
        (first, second, &all_of_second, first, false),
    ] {
        let mut have = StoredPieces::none_of(content);
        have.add_head(head, pieces, longer);
        assert_eq!(!have.is_empty(), fits, "{content:?} {head:?} {longer:?}");
    }
    assert!(own.store().continue_part(first, second).expect("room"));
    let old = first.verify(0, &content[..first.piece_len(0)]);
    let old = own.store().write_piece(old.expect("its own bytes"));
    assert!(old.expect("no fault").is_none(), "it is done with");
    assert!(!own.store().continue_part(first, &torrent).expect("no part"));
    write(second, first.n_pieces());
    assert!(own.store().continue_part(second, &torrent).expect("room"));
    write(&torrent, second.n_pieces());
    let pieces = StoredPieces::all_for_a_test(&torrent);
    let torrent = Arc::new(torrent);
    own.store().complete(&torrent, &pieces, None).expect("room");
    assert!(own.content("large") == content);
    let used = fs::metadata(own.1.join("large")).expect("a file").blocks() * 512;
    assert!(used < 8 << 20, "{used} bytes are used");
}

#[test]
fn a_head_gets_no_name_and_another_run_finds_it() {
    let mut own = Own::new();
    let (content, torrent, [head, _]) = with_heads();
    own.store().open_part(&head).expect("room");
    let bytes = &content[..head.piece_len(0)];
    let piece = head.verify(0, bytes).expect("its own bytes");
    own.store().write_piece(piece).expect("room");
    let pieces = StoredPieces::all_for_a_test(&head);
    let named = own.store().complete(&Arc::new(head.clone()), &pieces, None);
    assert!(matches!(named, Err(StoreError::Changed(_))));
    own.reopen(Fake::default());
    assert!(
        !own.store()
            .continue_part(&head, &torrent)
            .expect("no fault"),
        "unchecked"
    );
    let part = own.store().resume(&torrent, |_| true).expect("room");
    assert!(part.pieces.get(0) && part.continues.is_none());
    assert!(hidden(&own, ".part").exists());
}
