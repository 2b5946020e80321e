//! The folder: whole files in `<dir>`, unfinished ones in `<dir>/.bittorrentish/`.
//!
//! The original lists whatever stands in its folder, half-written files included, and serves it. Ours puts a file's final
//! name into `<dir>` only when all of it is checked and on the disk, never overwrites or changes what stands there, and
//! never follows a link out of it.
//!
//! In `.bittorrentish/`, under names of hexadecimal digits that no file system takes for one another:
//! - `<MD5>.part`, the pieces so far, in place: see `parts`;
//! - `<MD5>.<digits of the name>.torrent`, what is known of a file, so that it isn't hashed or asked for again: `memory`;
//! - `key`, what a publisher is known by; `lock`.
//!
//! There is no list of finished pieces that could be wrong: a part is checked against its checkpoints whenever it is
//! opened, at several GB/s. How a file gets its final name is in `naming`. Called from several threads; holds no lock but
//! that on the folder, and leaf locks for a few words each.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use rand::RngExt;

use crate::bitfield::Bitfield;
use crate::md5::{Hasher, digest};
use crate::report::bytes;
use crate::torrent::{BLOCKS_A_PIECE, Name, NameError, Torrent, legible};

use self::cache::Cache;
use self::memory::Memory;
use self::parts::Parts;

pub use self::cache::Place;
pub use self::disk::{Disk, Plain};
pub use self::left_out::{LeftOut, TEMPORARY, is_temporary};
pub use self::memory::{Known, Saved};
pub use self::stamp::{AccessStamp, Stamp};

mod cache;
mod disk;
#[cfg(test)]
mod fake;
mod lacks;
mod left_out;
mod memory;
mod naming;
mod parts;
mod stamp;
#[cfg(test)]
mod tests;

/// Where unfinished files are, within the folder.
pub const HIDDEN: &str = ".bittorrentish";
/// Bytes that are hashed or copied at a stride.
const STRIDE: usize = 1 << 20;

/// How the names of copies in the folder itself begin, which are made where `.bittorrentish` is on another file system.
const BESIDE: &str = ".bittorrentish-";
/// How they end.
const NEW: &str = ".new";
/// Hexadecimal digits of a name's MD5 that stand for it in file names.
const NAME_DIGITS: usize = 16;

/// What stands for a name in the names of hidden files.
fn digits_of(name: &Name) -> String {
    let mut digits = digest(name.as_str().as_bytes()).to_string();
    digits.truncate(NAME_DIGITS);
    digits
}

/// A file in the folder, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It can be shared.
    File(Name, Stamp),
    /// It can't, and why.
    Odd(String, LeftOut),
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
    /// The file system takes this name for that of something else, which stands in the folder.
    Folded {
        /// What should be stored.
        name: Name,
        /// What stands there.
        stands: String,
    },
    /// Nothing can be written here.
    ReadOnly(PathBuf),
    /// It isn't any more what it was.
    Changed(PathBuf),
    /// The download needs more room than there is.
    NoRoom {
        /// The folder.
        dir: PathBuf,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The system's fault at this path.
    Io(PathBuf, io::Error),
}

impl StoreError {
    /// Whether there is no room: it may come back.
    pub fn is_full(&self) -> bool {
        if matches!(self, Self::NoRoom { .. }) {
            return true;
        }
        matches!(self, Self::Io(_, fault) if matches!(fault.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    }
}

impl StoreError {
    /// Whether the file isn't there any more as it was.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Changed(_) | Self::InTheWay(_) => true,
            Self::Io(_, fault) => fault.kind() == ErrorKind::NotFound,
            _ => false,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { dir, needed, free } => write!(
                f,
                "not enough room in {}: {} more are needed, {} are free",
                dir.display(),
                bytes(*needed),
                bytes(*free)
            ),
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
            Self::Folded { name, stands } => write!(
                f,
                "{name} can't be stored here beside {}: to this file system they are the same name, as names are that differ in case or \
                 Unicode form only; use another folder",
                legible(stands)
            ),
            Self::ReadOnly(path) => write!(f, "{} can't be written to", path.display()),
            Self::Changed(path) => write!(f, "{} has changed meanwhile", path.display()),
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
    /// Locked as long as it is open; the system unlocks it however the process ends. `None` where it can't be.
    lock: Mutex<Option<File>>,
    is_read_only: bool,
    remarks: Vec<String>,
    key: OnceLock<String>,
    memory: Mutex<Memory>,
    parts: Mutex<Parts>,
    cache: Mutex<Cache>,
    /// Held while a name is given that can't be given in one step.
    naming: Mutex<()>,
}

/// What became of locking a folder.
enum Locked {
    Ours(File),
    Unsupported,
    ReadOnly,
}

impl Store {
    /// Takes the folder, and makes it where it is missing. One that can't be written to is taken for seeding only.
    ///
    /// # Errors
    /// Where it can't be made, or another client works on it.
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
        let locked = match disk.create_dir(&hidden) {
            Err(fault) if lacks::writing(&fault) => Locked::ReadOnly,
            Err(fault) if fault.kind() != ErrorKind::AlreadyExists => {
                return Err(at(&hidden)(fault));
            }
            _ => lock(&*disk, dir, &hidden)?,
        };
        let mut store = Self {
            disk,
            dir: dir.to_owned(),
            hidden,
            is_read_only: matches!(locked, Locked::ReadOnly),
            remarks: Vec::new(),
            lock: Mutex::default(),
            key: OnceLock::new(),
            memory: Mutex::default(),
            parts: Mutex::default(),
            cache: Mutex::default(),
            naming: Mutex::default(),
        };
        store.remarks = store.lacking(&locked);
        if let Locked::Ours(file) = locked {
            store.lock = Mutex::new(Some(file));
        }
        if !store.is_read_only {
            store.discard_left_overs();
        }
        store.memory = Mutex::new(store.load_memory());
        Ok(store)
    }

    fn lacking(&self, locked: &Locked) -> Vec<String> {
        let dir = self.dir.display();
        let mut remarks = Vec::new();
        match locked {
            Locked::Ours(_) => {}
            Locked::Unsupported => remarks.push(format!(
                "{dir} can't be locked on this file system: see to it that no other client works on it"
            )),
            Locked::ReadOnly => remarks.push(format!(
                "{dir} can't be written to: what is in it is shared, nothing is downloaded or remembered"
            )),
        }
        let device = |path| self.disk.device(path).ok();
        let devices = device(&self.dir).zip(device(&self.hidden));
        if devices.is_some_and(|(one, other)| one != other) {
            remarks.push(format!(
                "{} is on another file system than {dir}: each file is copied once it is whole, and needs room on both",
                self.hidden.display()
            ));
        }
        remarks
    }

    /// What the folder's file system lacks, one sentence each, to be told at the start.
    pub fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }

    /// Makes `.bittorrentish` again where somebody has removed it, and locks it again.
    fn make_hidden(&self) -> Result<(), StoreError> {
        if self.is_read_only {
            return Err(StoreError::ReadOnly(self.dir.clone()));
        }
        match self.disk.create_dir(&self.hidden) {
            Ok(()) => {}
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists => return Ok(()),
            Err(fault) => return Err(at(&self.hidden)(fault)),
        }
        if let Locked::Ours(file) = lock(&*self.disk, &self.dir, &self.hidden)? {
            *self.lock.lock().expect("no panic while locked") = Some(file);
        }
        Ok(())
    }

    /// What a publisher is known by: 32 hexadecimal digits, made at their first use. Where they can't be kept, they are
    /// others in the next run.
    pub fn key(&self) -> String {
        let kept = || self.kept_key().unwrap_or_else(|| self.make_key());
        self.key.get_or_init(kept).clone()
    }

    fn kept_key(&self) -> Option<String> {
        let path = self.hidden.join("key");
        let (file, _) = self.open_plain(&path, File::options().read(true)).ok()?;
        let mut key = String::new();
        file.take(64).read_to_string(&mut key).ok()?;
        let is_key = key.len() == 32 && key.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_key.then_some(key)
    }

    fn make_key(&self) -> String {
        let key = format!("{:032x}", rand::rng().random::<u128>());
        let beside = self.hidden.join("key.new");
        let _ = self.make_hidden().and_then(|()| {
            let _ = self.disk.remove(&beside);
            let mut options = File::options();
            options.write(true).create_new(true).mode(0o600);
            let written = self.disk.open(&beside, &options).and_then(|file| {
                self.disk.write_all_at(&file, key.as_bytes(), 0)?;
                self.disk.sync(&file)?;
                self.disk.rename(&beside, &self.hidden.join("key"))
            });
            written.map_err(at(&beside))
        });
        key
    }

    /// Bytes that are free for files in the folder, by `df`; `None` where that can't be learnt.
    pub fn free_space(&self) -> Option<u64> {
        let mut df = Command::new("df");
        df.args(["-Pk", "--"]).arg(&self.dir).env("LC_ALL", "C");
        let out = df
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = out.status.success().then(|| String::from_utf8(out.stdout));
        free_of_df(&text?.ok()?)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.dir.join(name.as_str())
    }

    /// All that stands in the folder: the files that can be shared, and what can't be, and why. `.bittorrentish` and what
    /// belongs to it are passed over.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn look(&self) -> Result<Vec<Seen>, StoreError> {
        self.look_for(&|_| false)
    }

    /// The same, but a file that is asked for by its name is shared although it looks like a half download.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn look_for(&self, explicit: &dyn Fn(&str) -> bool) -> Result<Vec<Seen>, StoreError> {
        let mut seen = Vec::new();
        for found in self.disk.read_dir(&self.dir).map_err(at(&self.dir))? {
            let shown = found.to_string_lossy().into_owned();
            if shown == HIDDEN || shown.starts_with(BESIDE) && shown.ends_with(NEW) {
                continue;
            }
            // a file that went away since is no fault
            let Ok(meta) = self.disk.lstat(&self.dir.join(&found)) else {
                continue;
            };
            seen.push(match self.shareable(found.to_str(), &meta, explicit) {
                Ok(name) => Seen::File(name, Stamp::of(&meta)),
                Err(why) => Seen::Odd(shown, why),
            });
        }
        Ok(seen)
    }

    fn shareable(
        &self,
        name: Option<&str>,
        meta: &fs::Metadata,
        explicit: &dyn Fn(&str) -> bool,
    ) -> Result<Name, LeftOut> {
        let kind = meta.file_type();
        if name.is_some_and(|name| name.starts_with('.')) {
            return Err(LeftOut::Name(NameError::LeadingDot));
        }
        if kind.is_dir() {
            return Err(LeftOut::Folder(self.dir.clone()));
        }
        if kind.is_symlink() {
            return Err(LeftOut::Link);
        }
        if !kind.is_file() {
            return Err(LeftOut::Special);
        }
        let name = name.ok_or(LeftOut::NotUtf8)?;
        let name = Name::parse(name).map_err(LeftOut::Name)?;
        if is_temporary(name.as_str()) && !explicit(name.as_str()) {
            return Err(LeftOut::Temporary);
        }
        Ok(name)
    }

    /// What changes when a file's permissions do; `None` where there is no such file.
    pub fn access_stamp(&self, name: &Name) -> Option<AccessStamp> {
        let meta = self.disk.lstat(&self.path(name)).ok()?;
        Some(AccessStamp::of(&meta))
    }

    /// Whether anything, be it a folder or a link, has this name in the folder.
    pub fn exists(&self, name: &Name) -> bool {
        self.disk.lstat(&self.path(name)).is_ok()
    }

    /// Whether something that is no plain file has this name in the folder.
    pub fn is_blocked(&self, name: &Name) -> bool {
        let found = self.disk.lstat(&self.path(name));
        found.is_ok_and(|meta| !meta.is_file())
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
                read => {
                    read.map_err(|fault| at(&self.part_path(torrent.name(), torrent.md5()))(fault))?
                }
            }
            let good = torrent.check(idx, piece).is_ok() && have.set(idx);
            let done = torrent.piece_start(idx) + piece.len() as u64;
            if !go_on(done, good) {
                break;
            }
        }
        Ok(have)
    }

    /// Opens a file that is plain, and no link, before and after: what was opened is what stands there.
    fn open_plain(
        &self,
        path: &Path,
        options: &fs::OpenOptions,
    ) -> Result<(File, Stamp), StoreError> {
        let is_plain = || self.disk.lstat(path).map(|meta| meta.is_file());
        let in_the_way = || StoreError::InTheWay(path.to_owned());
        if !is_plain().map_err(at(path))? {
            return Err(in_the_way());
        }
        let file = self.disk.open(path, options).map_err(at(path))?;
        let opened = file.metadata().map_err(at(path))?;
        if !opened.is_file() || !is_plain().map_err(at(path))? {
            return Err(in_the_way());
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

    /// Makes an empty file for a copy from an original, or an upload; `which` is its file's ending,
    /// `copy1`, `copy2` or `upload`.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn new_copy(&self, name: &Name, which: &str) -> Result<Copy, StoreError> {
        self.make_hidden()?;
        let path = self.hidden.join(format!("{}.{which}", digits_of(name)));
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

    /// Removes what an earlier run had received of copies and uploads, and what it hadn't written to the end: it can't be
    /// gone on with.
    fn discard_left_overs(&self) {
        for name in self.disk.read_dir(&self.hidden).unwrap_or_default() {
            let path = self.hidden.join(name);
            let ending = path.extension().and_then(|ending| ending.to_str());
            if matches!(ending, Some("copy1" | "copy2" | "upload" | "new")) {
                let _ = self.disk.remove(&path);
            }
        }
        for name in self.disk.read_dir(&self.dir).unwrap_or_default() {
            let shown = name.to_string_lossy();
            if shown.starts_with(BESIDE) && shown.ends_with(NEW) {
                let _ = self.disk.remove(&self.dir.join(&name));
            }
        }
    }
}

/// Takes the folder for this process.
fn lock(disk: &dyn Disk, dir: &Path, hidden: &Path) -> Result<Locked, StoreError> {
    if !disk.lstat(hidden).map_err(at(hidden))?.is_dir() {
        return Err(StoreError::InTheWay(hidden.to_owned()));
    }
    let path = hidden.join("lock");
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    let file = match disk.open(&path, &options) {
        Err(fault) if lacks::writing(&fault) => return Ok(Locked::ReadOnly),
        opened => opened.map_err(at(&path))?,
    };
    match disk.try_lock(&file) {
        Ok(()) => Ok(Locked::Ours(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.to_owned())),
        Err(TryLockError::Error(fault)) if lacks::locks(&fault) => Ok(Locked::Unsupported),
        Err(TryLockError::Error(fault)) => Err(at(&path)(fault)),
    }
}

/// The bytes that are free, as `df -Pk` says: the third number of the last line; the file system's name before them may
/// have blanks in it.
fn free_of_df(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.lines().next_back()?.split_whitespace().collect();
    let mut fields = words.windows(4);
    fields.find_map(|fields| {
        let is_share = fields[3] == "-" || fields[3].ends_with('%');
        let numbers: Vec<u64> = fields[..3].iter().flat_map(|word| word.parse()).collect();
        let kib = *numbers.get(2).filter(|_| is_share)?;
        kib.checked_mul(1024)
    })
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
