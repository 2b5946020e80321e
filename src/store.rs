//! The folder: whole files in `<dir>`, unfinished ones in `<dir>/.bittorrentish/`.
//!
//! The original lists whatever stands in its folder, half-written files included, and serves it. Ours puts a file's final
//! name into `<dir>` only when all of it is checked and on the disk, never overwrites or changes what stands there, and
//! never follows a link out of it.
//!
//! In `.bittorrentish/`: `NAME.part`, the pieces so far, in place; `NAME.torrent`, what is known of the file, so that it
//! isn't hashed or asked for again. There is no list of finished pieces that could be wrong: a part is checked against its
//! checkpoints whenever it is opened, at several GB/s. Called from several threads; holds no lock but that on the folder.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bitfield::Bitfield;
use crate::md5::Hasher;
use crate::protocol::TORRENT_CAP;
use crate::torrent::{BLOCKS_A_PIECE, Name, NameError, Torrent};

pub use self::disk::{Disk, Plain};

mod disk;

/// Where unfinished files are, within the folder.
pub const HIDDEN: &str = ".bittorrentish";
/// Bytes that are hashed at a stride.
const STRIDE: usize = 1 << 20;

/// What tells whether a file was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, i64),
    /// The file's number in its file system.
    pub inode: u64,
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            size: meta.len(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            inode: meta.ino(),
        }
    }

    /// Of an open file.
    ///
    /// # Errors
    /// The system's.
    pub fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|meta| Self::of(&meta))
    }
}

/// What is remembered of a file from one run to the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// The file that was hashed; none for one that isn't whole yet.
    pub stamp: Option<Stamp>,
    /// Whether the content is proven, or only came twice the same from originals.
    pub verified: bool,
    /// What is known of it.
    pub torrent: Torrent,
}

/// A file in the folder, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It can be shared.
    File(Name, Stamp),
    /// It can't, and why.
    Odd(String, NameError),
}

/// A fault of the folder. Its text names the path, and what to do where that is known.
#[derive(Debug)]
pub enum StoreError {
    /// Another client works on this folder.
    InUse(PathBuf),
    /// Something that isn't a plain file stands in the way.
    InTheWay(PathBuf),
    /// A file with this name came into the folder meanwhile.
    Exists(PathBuf),
    /// The system's fault at this path.
    Io(PathBuf, io::Error),
}

impl StoreError {
    /// Whether there is no room: it may come back.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io(_, fault) if matches!(fault.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another client works on {}: give each its own folder",
                path.display()
            ),
            Self::InTheWay(path) => {
                write!(f, "{} isn't a plain file: move it away", path.display())
            }
            Self::Exists(path) => write!(
                f,
                "{} came into the folder meanwhile; it is left as it is",
                path.display()
            ),
            Self::Io(path, fault) => match fault.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    write!(f, "disk full: no room for {}", path.display())
                }
                ErrorKind::PermissionDenied => write!(f, "no permission for {}", path.display()),
                _ => write!(f, "{}: {fault}", path.display()),
            },
        }
    }
}

impl std::error::Error for StoreError {}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    |fault| StoreError::Io(path.to_owned(), fault)
}

/// A folder that this process alone works on.
pub struct Store {
    disk: Box<dyn Disk>,
    dir: PathBuf,
    hidden: PathBuf,
    /// Locked as long as it is open; the system unlocks it however the process ends.
    _lock: File,
}

impl Store {
    /// Takes the folder, and makes it where it is missing.
    ///
    /// # Errors
    /// Where it can't be made or written, or another client works on it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_on(Box::new(Plain), dir)
    }

    /// The same, on any disk.
    ///
    /// # Errors
    /// See [`Store::open`].
    pub fn open_on(disk: Box<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        let hidden = dir.join(HIDDEN);
        fs::create_dir_all(dir).map_err(at(dir))?;
        match fs::create_dir(&hidden) {
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists => {}
            done => done.map_err(at(&hidden))?,
        }
        let is_dir = fs::symlink_metadata(&hidden).map_err(at(&hidden))?.is_dir();
        if !is_dir {
            return Err(StoreError::InTheWay(hidden));
        }
        let path = hidden.join("lock");
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {
                discard_copies(&hidden);
                Ok(Self {
                    disk,
                    dir: dir.to_owned(),
                    hidden,
                    _lock: lock,
                })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.to_owned())),
            Err(TryLockError::Error(fault)) => Err(StoreError::Io(path, fault)),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.dir.join(name.as_str())
    }

    fn hidden(&self, name: &Name, what: &str) -> PathBuf {
        self.hidden.join(format!("{}.{what}", name.as_str()))
    }

    /// The plain files in the folder. Folders, links and what else there is are passed over, and so are names that begin
    /// with a dot.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn look(&self) -> Result<Vec<Seen>, StoreError> {
        let mut seen = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(at(&self.dir))? {
            let entry = entry.map_err(at(&self.dir))?;
            // a file that went away since is no fault
            let Some(meta) = entry.metadata().ok().filter(fs::Metadata::is_file) else {
                continue;
            };
            let shown = entry.file_name().to_string_lossy().into_owned();
            match entry
                .file_name()
                .to_str()
                .map_or(Err(NameError::NotPlain), Name::parse)
            {
                Ok(name) => seen.push(Seen::File(name, Stamp::of(&meta))),
                Err(NameError::LeadingDot) => {}
                Err(fault) => seen.push(Seen::Odd(shown, fault)),
            }
        }
        Ok(seen)
    }

    /// Whether anything, be it a folder or a link, has this name in the folder.
    pub fn exists(&self, name: &Name) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    /// Whether something that is no plain file has this name in the folder.
    pub fn is_blocked(&self, name: &Name) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok_and(|meta| !meta.is_file())
    }

    /// Opens a whole file of the folder to be read.
    ///
    /// # Errors
    /// Where it isn't a plain file of the folder (any more).
    pub fn open_shared(&self, name: &Name) -> Result<(File, Stamp), StoreError> {
        self.open_plain(&self.path(name), File::options().read(true))
    }

    /// Hashes a file from front to back; `progress` is called with the bytes so far, and ends the hashing by `false`.
    /// `None` where it was ended, or the file is shorter than its stamp says.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn hash(
        &self,
        name: &Name,
        file: &File,
        size: u64,
        mut progress: impl FnMut(u64) -> bool,
    ) -> Result<Option<Torrent>, StoreError> {
        let piece_len = Torrent::piece_len_for(size);
        let mut hasher = Hasher::new(piece_len as usize / BLOCKS_A_PIECE);
        let mut buf = vec![0; STRIDE.min(size as usize)];
        let mut done = 0;
        while done < size {
            let n = buf.len().min((size - done) as usize);
            match self.disk.read_exact_at(file, &mut buf[..n], done) {
                Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                read => read.map_err(at(&self.path(name)))?,
            }
            hasher.update(&buf[..n]);
            done += n as u64;
            if !progress(done) {
                return Ok(None);
            }
        }
        let (checkpoints, md5) = hasher.finish();
        Ok(Torrent::new(name.clone(), size, piece_len, md5, checkpoints).ok())
    }

    /// Which pieces of `file` are what the `.torrent` says. `go_on` is called after each piece, with the bytes
    /// so far and whether this piece is.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn check(
        &self,
        torrent: &Torrent,
        file: &File,
        mut go_on: impl FnMut(u64, bool) -> bool,
    ) -> Result<Bitfield, StoreError> {
        let mut have = Bitfield::new(torrent.n_pieces());
        let mut buf = vec![0; torrent.full_piece_len().min(torrent.size() as usize)];
        for idx in 0..torrent.n_pieces() {
            let piece = &mut buf[..torrent.piece_len(idx)];
            match self
                .disk
                .read_exact_at(file, piece, torrent.piece_start(idx))
            {
                Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => break,
                read => read.map_err(at(&self.hidden(torrent.name(), "part")))?,
            }
            let good = torrent.check(idx, piece).is_ok() && have.set(idx);
            let done = torrent.piece_start(idx) + piece.len() as u64;
            if !go_on(done, good) {
                break;
            }
        }
        Ok(have)
    }

    /// Opens a file that is plain, and no link: what was opened is what stands there.
    fn open_plain(
        &self,
        path: &Path,
        options: &fs::OpenOptions,
    ) -> Result<(File, Stamp), StoreError> {
        let before = fs::symlink_metadata(path).map_err(at(path))?;
        if !before.is_file() {
            return Err(StoreError::InTheWay(path.to_owned()));
        }
        let file = self.disk.open(path, options).map_err(at(path))?;
        let opened = file.metadata().map_err(at(path))?;
        if (before.dev(), before.ino()) != (opened.dev(), opened.ino()) {
            return Err(StoreError::InTheWay(path.to_owned()));
        }
        Ok((file, Stamp::of(&opened)))
    }

    /// Reads bytes of a file that is shared, or of a part.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.read_exact_at(file, buf, offset)
    }

    /// Moves `part` to `path` where nothing stands, for good. A hard link fails where something does, as a rename would
    /// not; file systems without hard links are asked first, which leaves a moment in between.
    fn publish_name(&self, part: &Path, path: &Path) -> Result<(), StoreError> {
        match self.disk.hard_link(part, path) {
            Ok(()) => self.disk.remove(part).map_err(at(part))?,
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists => {
                return Err(StoreError::Exists(path.to_owned()));
            }
            Err(fault)
                if matches!(
                    fault.kind(),
                    ErrorKind::Unsupported | ErrorKind::PermissionDenied
                ) =>
            {
                match fs::symlink_metadata(path) {
                    Ok(_) => return Err(StoreError::Exists(path.to_owned())),
                    Err(_) => self.disk.rename(part, path).map_err(at(path))?,
                }
            }
            Err(fault) => return Err(StoreError::Io(path.to_owned(), fault)),
        }
        let dir = self.disk.open(&self.dir, File::options().read(true));
        dir.and_then(|dir| self.disk.sync(&dir))
            .map_err(at(&self.dir))
    }

    /// What was remembered of a file; anything that isn't that is as if it weren't there.
    pub fn saved(&self, name: &Name) -> Option<Saved> {
        let path = self.hidden(name, "torrent");
        let (file, _) = self.open_plain(&path, File::options().read(true)).ok()?;
        let mut bytes = Vec::new();
        file.take(TORRENT_CAP as u64).read_to_end(&mut bytes).ok()?;
        let saved: Saved = serde_json::from_slice(&bytes).ok()?;
        (saved.torrent.name() == name).then_some(saved)
    }

    /// Remembers what is known of a file.
    ///
    /// # Errors
    /// Where it can't be written; then it is only hashed again.
    pub fn save(&self, saved: &Saved) -> Result<(), StoreError> {
        let name = saved.torrent.name();
        let bytes = serde_json::to_vec(saved).expect("plain data");
        write_atomically(
            &*self.disk,
            &self.hidden(name, "torrent"),
            &self.hidden(name, "new"),
            &bytes,
        )
    }

    /// Opens the unfinished file, at its full size, and tells whether it was there before.
    ///
    /// # Errors
    /// Where it can't be made: the folder is read-only, say, or the file system has no files of that size.
    pub fn open_part(&self, torrent: &Torrent) -> Result<(File, bool), StoreError> {
        let path = self.hidden(torrent.name(), "part");
        // cut off between the two names of a whole file: it is the user's by now, and not to be written to
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.nlink() > 1) {
            self.disk.remove(&path).map_err(at(&path))?;
        }
        let mut options = File::options();
        options.read(true).write(true);
        let new = self.disk.open(&path, options.clone().create_new(true));
        let (file, was_there) = match new {
            Ok(file) => (file, false),
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists => {
                (self.open_plain(&path, &options)?.0, true)
            }
            Err(fault) => return Err(StoreError::Io(path, fault)),
        };
        if file.metadata().map_err(at(&path))?.len() != torrent.size() {
            self.disk
                .set_len(&file, torrent.size())
                .map_err(at(&path))?;
        }
        Ok((file, was_there))
    }

    /// Removes what is unfinished of a file that is whole now.
    pub fn discard_part(&self, name: &Name) {
        let _ = self.disk.remove(&self.hidden(name, "part"));
    }

    /// Writes into a part.
    ///
    /// # Errors
    /// Where the disk doesn't take it.
    pub fn write(
        &self,
        torrent: &Torrent,
        file: &File,
        bytes: &[u8],
        offset: u64,
    ) -> Result<(), StoreError> {
        self.disk
            .write_all_at(file, bytes, offset)
            .map_err(at(&self.hidden(torrent.name(), "part")))
    }

    /// Gives a part, all of which is checked, its final name: first its bytes are on the disk, then the name, and where
    /// something has that name already, neither is touched.
    ///
    /// # Errors
    /// As for the steps; after a failed sync the part has to be checked anew.
    pub fn complete(
        &self,
        torrent: &Torrent,
        file: &File,
        verified: bool,
    ) -> Result<Stamp, StoreError> {
        let (part, path) = (
            self.hidden(torrent.name(), "part"),
            self.path(torrent.name()),
        );
        self.disk.sync(file).map_err(at(&part))?;
        self.publish_name(&part, &path)?;
        let stamp = Stamp::of_file(file).map_err(at(&path))?;
        // only a hint that saves a hashing: the file is whole without it
        let _ = self.save(&Saved {
            stamp: Some(stamp),
            verified,
            torrent: torrent.clone(),
        });
        Ok(stamp)
    }

    /// Makes an empty file for a copy from an original, or an upload; `which` is its file's ending,
    /// `copy1`, `copy2` or `upload`.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn new_copy(&self, name: &Name, which: &str) -> Result<Copy, StoreError> {
        let path = self.hidden(name, which);
        let gone = self.disk.remove(&path);
        if let Err(fault) = gone
            && fault.kind() != ErrorKind::NotFound
        {
            return Err(StoreError::Io(path, fault));
        }
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        let file = self.disk.open(&path, &options).map_err(at(&path))?;
        Ok(Copy {
            file,
            path,
            size: 0,
        })
    }

    /// Appends to a copy. Where that fails, it is emptied: nobody needs half of it, and others may need the room.
    ///
    /// # Errors
    /// Where the disk doesn't take it.
    pub fn append(&self, copy: &mut Copy, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.disk.write_all_at(&copy.file, bytes, copy.size);
        copy.size += bytes.len() as u64;
        written.map_err(|fault| {
            let _ = self.disk.set_len(&copy.file, 0);
            StoreError::Io(copy.path.clone(), fault)
        })
    }

    /// Gives a copy its final name.
    ///
    /// # Errors
    /// As [`Store::complete`].
    pub fn complete_copy(&self, name: &Name, copy: &Copy) -> Result<Stamp, StoreError> {
        self.disk.sync(&copy.file).map_err(at(&copy.path))?;
        let path = self.path(name);
        self.publish_name(&copy.path, &path)?;
        Stamp::of_file(&copy.file).map_err(at(&path))
    }
}

/// What an earlier run had received of copies and uploads: it can't be gone on with.
fn discard_copies(hidden: &Path) {
    let entries = fs::read_dir(hidden).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let is_copy = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("copy1" | "copy2" | "upload"))
    };
    paths
        .filter(is_copy)
        .for_each(|path| drop(fs::remove_file(path)));
}

/// A copy from an original, or an upload, not yet in the folder. It is removed with this value.
pub struct Copy {
    /// Open to be read and written.
    pub file: File,
    /// Bytes so far.
    pub size: u64,
    path: PathBuf,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes a file so that it is there whole, or as it was before.
///
/// # Errors
/// Where the disk doesn't take it; the new file is removed.
pub fn write_atomically(
    disk: &dyn Disk,
    path: &Path,
    beside: &Path,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    let written = disk.open(beside, &options).and_then(|file| {
        disk.write_all_at(&file, bytes, 0)?;
        disk.sync(&file)
    });
    let renamed = written.and_then(|()| disk.rename(beside, path));
    renamed.map_err(|fault| {
        let _ = disk.remove(beside);
        StoreError::Io(path.to_owned(), fault)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A store in a folder of its own, which is removed with it.
    struct Own(Option<Store>, PathBuf);

    impl Own {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = std::env::temp_dir()
                .join(format!("bittorrentish-store-{}-{next}", std::process::id()));
            Self(Some(Store::open(&dir).expect("a new folder")), dir)
        }

        fn store(&self) -> &Store {
            self.0.as_ref().expect("open")
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

    /// The `.torrent` of some bytes, by way of the folder.
    fn torrent(own: &Own, content: &[u8]) -> Torrent {
        let path = own.1.join("made");
        fs::write(&path, content).expect("room");
        let (file, stamp) = own
            .store()
            .open_shared(&name("made"))
            .expect("a plain file");
        let torrent = own.store().hash(&name("made"), &file, stamp.size, |_| true);
        fs::remove_file(path).expect("it was there");
        torrent.expect("readable").expect("not ended")
    }

    #[test]
    fn a_folder_is_one_clients() {
        let own = Own::new();
        assert!(matches!(Store::open(&own.1), Err(StoreError::InUse(_))));
    }

    #[test]
    fn a_look_sees_plain_files_only() {
        let own = Own::new();
        fs::write(own.1.join("plain"), "12345").expect("room");
        fs::write(own.1.join(".hidden"), "").expect("room");
        fs::write(own.1.join("image.iso.part0001"), "").expect("room");
        fs::create_dir(own.1.join("folder")).expect("room");
        symlink("/etc/passwd", own.1.join("link")).expect("room");
        let seen = own.store().look().expect("readable");
        let odd = Seen::Odd("image.iso.part0001".to_owned(), NameError::Piece);
        assert!(seen.len() == 2 && seen.contains(&odd), "{seen:?}");
        assert!(seen.iter().any(|seen| matches!(seen, Seen::File(name, stamp) if name.as_str() == "plain" && stamp.size == 5)));
        for other in ["link", "folder"] {
            assert!(
                matches!(
                    own.store().open_shared(&name(other)),
                    Err(StoreError::InTheWay(_))
                ),
                "{other}"
            );
        }
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
            let done = own.store().complete(&torrent, &part, true);
            assert_eq!(done.is_err(), taken);
            assert_eq!(
                fs::read(own.1.join("made")).expect("it stands there"),
                content
            );
            if !taken {
                let saved = own.store().saved(torrent.name()).expect("remembered");
                assert_eq!(saved.stamp, done.ok());
                assert!(!own.store().hidden(torrent.name(), "part").exists());
            }
        }
        assert!(
            own.store().hidden(torrent.name(), "part").exists(),
            "what came isn't lost"
        );
    }

    #[test]
    fn a_part_is_checked_whatever_it_is() {
        let own = Own::new();
        let content: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let torrent = torrent(&own, &content);
        let part = own.store().hidden(torrent.name(), "part");
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
        let part = own.store().hidden(torrent.name(), "part");
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
        let saved = Saved {
            stamp: None,
            verified: true,
            torrent,
        };
        own.store().save(&saved).expect("room");
        let path = own.store().hidden(saved.torrent.name(), "torrent");
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
                .hash(&name("shrinks"), &file, stamp.size, cut)
                .expect("readable")
                .is_none()
        );
    }
}
