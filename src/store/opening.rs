//! How a process takes a folder: it creates it if it is missing, locks it, reads the publisher's key, and finds out what
//! the file system lacks.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::Duration;

use rand::RngExt;

use super::disk::{Disk, Plain};
use super::faults::{StoreError, at};
use super::{HIDDEN, Store, lacks};

/// How often `.bittorrentish` may be removed while something is done in it, before that is reported.
const REMOVALS: usize = 3;
/// How often a folder that another process has locked is tried again, and after what time each: one that was killed keeps
/// its lock for a moment.
const LOCK_TRIES: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// The file with the key, and the most bytes of it that are read.
const KEY: &str = "key";
const KEY_BYTES: usize = 64;
/// The file with the port.
const PORT: &str = "port";

/// What became of locking a folder.
pub(super) enum Locked {
    Ours(File),
    Unsupported,
    ReadOnly,
}

impl Store {
    /// Takes the folder, and creates it if it is missing. One that can't be written to is taken for seeding only.
    ///
    /// # Errors
    /// Returns an error if it can't be created, or if another client works on it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_on(Box::new(Plain), dir)
    }

    /// Does the same on any disk.
    ///
    /// # Errors
    /// Fails as [`Store::open`] does.
    pub fn open_on(disk: Box<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        let hidden = dir.join(HIDDEN);
        fs::create_dir_all(dir).map_err(|fault| {
            // it, or what it is to be in
            let mut above = dir
                .components() // without a slash at the end, behind which no file is found
                .as_path()
                .ancestors()
                .filter(|path| path.is_symlink() || path.exists());
            let in_the_way = above.next().filter(|path| !path.is_dir());
            match in_the_way {
                Some(path) => StoreError::NotAFolder(path.to_owned()),
                None => at(dir)(fault),
            }
        })?;
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
            outputs: outputs(),
            key: OnceLock::new(),
            memory: Mutex::default(),
            parts: Mutex::default(),
            cache: Mutex::default(),
            naming: Mutex::default(),
            picking: Mutex::default(),
        };
        store.remarks = store.lacking(&locked);
        if let Locked::Ours(file) = locked {
            store.lock = Mutex::new(Some(file));
        }
        let (mut memory, mut key) = (store.load_memory(), store.kept_key());
        if store.is_read_only {
            (memory, key) = (Ok(memory.unwrap_or_default()), Ok(key.unwrap_or_default()));
        }
        store.memory = Mutex::new(memory?);
        // one that can't be read isn't to be replaced by another
        store.key = key?.map(OnceLock::from).unwrap_or_default();
        if !store.is_read_only {
            store.discard_left_overs();
        }
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
                "{} can't be written to: what is in {dir} is shared, nothing is downloaded or remembered",
                self.unwritable().display()
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

    /// Returns what can't be written to: after a run by another user, that is the hidden folder alone.
    fn unwritable(&self) -> &Path {
        match self.disk.lstat(&self.hidden) {
            Ok(_) => &self.hidden,
            Err(_) => &self.dir,
        }
    }

    /// Leaves one more file out that this process writes to.
    pub fn leave_out(&mut self, path: &Path) {
        self.outputs
            .extend(fs::metadata(path).map(|meta| (meta.dev(), meta.ino())));
    }

    /// Returns what the folder's file system lacks, one sentence each, to be told at the start.
    pub fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }

    /// Does `work` in `.bittorrentish`, which is created again if somebody has removed it, and does it again if that
    /// happens in the meantime: removing a folder takes several steps.
    pub(super) fn in_hidden<T>(
        &self,
        work: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut done = self.make_hidden().and_then(|()| work());
        for _ in 0..REMOVALS {
            let is_gone = matches!(&done, Err(StoreError::Io(_, fault)) if fault.kind() == ErrorKind::NotFound);
            if !is_gone {
                break;
            }
            done = self.make_hidden().and_then(|()| work());
        }
        done
    }

    /// Creates `.bittorrentish` again if somebody has removed it, and locks it again.
    fn make_hidden(&self) -> Result<(), StoreError> {
        if self.is_read_only {
            return Err(StoreError::ReadOnly(self.unwritable().to_owned()));
        }
        match self.disk.create_dir(&self.hidden) {
            Ok(()) => {}
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists => return Ok(()),
            Err(fault) => return Err(at(&self.hidden)(fault)),
        }
        if let Locked::Ours(file) = lock(&*self.disk, &self.dir, &self.hidden)? {
            *self.lock.lock().expect("no panic while locked") = Some(file);
        }
        // or else the next run would be another publisher
        self.key.get().map_or(Ok(()), |key| self.keep_key(key))
    }

    /// Returns the key by which a publisher is known: 32 hexadecimal digits, created at their first use. If they can't be
    /// stored, the next run has another key.
    pub fn key(&self) -> String {
        self.key.get_or_init(|| self.make_key()).clone()
    }

    /// Reads the key of earlier runs, if there is one.
    fn kept_key(&self) -> Result<Option<String>, StoreError> {
        let is_key =
            |key: &String| key.len() == 32 && key.bytes().all(|digit| digit.is_ascii_hexdigit());
        let kept = self.get_hidden(KEY, KEY_BYTES)?;
        Ok(kept.and_then(|kept| String::from_utf8(kept).ok().filter(is_key)))
    }

    fn make_key(&self) -> String {
        let key = format!("{:032x}", rand::rng().random::<u128>());
        let _ = self.in_hidden(|| self.keep_key(&key));
        key
    }

    /// Returns the port at which the last run listened: whoever is started again is found where it was, also while that
    /// run is still listed.
    pub fn last_port(&self) -> Option<u16> {
        let kept = self.get_hidden(PORT, 64).ok()??;
        std::str::from_utf8(&kept).ok()?.parse().ok()
    }

    /// Keeps the port at which this run listens. If it can't be stored, the next run has another one.
    pub fn keep_port(&self, port: u16) {
        if self.last_port() != Some(port) {
            let _ = self.put_hidden(PORT, port.to_string().as_bytes(), false);
        }
    }

    fn keep_key(&self, key: &str) -> Result<(), StoreError> {
        let beside = self.hidden.join("key.new");
        let _ = self.disk.remove(&beside);
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        let written = self.disk.open(&beside, &options).and_then(|file| {
            self.disk.write_all_at(&file, key.as_bytes(), 0)?;
            self.disk.sync(&file)?;
            self.disk.rename(&beside, &self.hidden.join(KEY))
        });
        written.map_err(at(&beside))
    }

    /// Returns the bytes that are free for files in the folder, by `df`; `None` if that can't be found out.
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
}

/// Returns where this process's output goes: a file that grows with each line about it is never left alone.
fn outputs() -> Vec<(u64, u64)> {
    let (out, err) = (io::stdout(), io::stderr());
    let fds = [
        out.as_fd().try_clone_to_owned(),
        err.as_fd().try_clone_to_owned(),
    ];
    let files = fds.into_iter().flatten().map(File::from);
    let metas = files.filter_map(|file| file.metadata().ok());
    metas.map(|meta| (meta.dev(), meta.ino())).collect()
}

/// Takes the folder for this process.
pub(super) fn lock(disk: &dyn Disk, dir: &Path, hidden: &Path) -> Result<Locked, StoreError> {
    if !disk.lstat(hidden).map_err(at(hidden))?.is_dir() {
        return Err(StoreError::HiddenInTheWay(hidden.to_owned()));
    }
    let path = hidden.join("lock");
    // whoever opens a pipe waits for its other end
    if disk.lstat(&path).is_ok_and(|meta| !meta.is_file()) {
        return Err(StoreError::InTheWay(path));
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    let file = match disk.open(&path, &options) {
        Err(fault) if lacks::writing(&fault) => return Ok(Locked::ReadOnly),
        opened => opened.map_err(at(&path))?,
    };
    let mut locked = disk.try_lock(&file);
    for _ in 0..LOCK_TRIES {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        sleep(LOCK_PAUSE);
        locked = disk.try_lock(&file);
    }
    match locked {
        Ok(()) => Ok(Locked::Ours(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.to_owned())),
        Err(TryLockError::Error(fault)) if lacks::locks(&fault) => Ok(Locked::Unsupported),
        Err(TryLockError::Error(fault)) => Err(at(&path)(fault)),
    }
}

/// Returns the free bytes from the output of `df -Pk`: the third number of the last line. The file system's name before
/// the numbers may have blanks in it.
pub(super) fn free_of_df(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.lines().next_back()?.split_whitespace().collect();
    let mut fields = words.windows(4);
    fields.find_map(|fields| {
        let is_share = fields[3] == "-" || fields[3].ends_with('%');
        let numbers: Vec<u64> = fields[..3].iter().flat_map(|word| word.parse()).collect();
        let kib = *numbers.get(2).filter(|_| is_share)?;
        kib.checked_mul(1024)
    })
}
