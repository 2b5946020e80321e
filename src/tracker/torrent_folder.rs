//! The tracker's folder of `.torrent`s: `NAME.torrent` each, and for a moment `.new-…`, which no name begins with.
//!
//! This module owns those files, and nothing else on the disk. It never decides what is kept.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::events::TrackerEvent;
use crate::protocol::{Summary, TORRENT_CAP, invalid, parse, to_bytes};
use crate::roster::Record;
use crate::store::{Plain, StoreError, write_atomically};
use crate::torrent::{Name, Torrent};

/// A file has at most this many bytes more than the message in which its `.torrent` came.
const KEPT_CAP: usize = 1024;

/// A folder that can be written to.
pub(super) struct TorrentFolder(PathBuf);

/// What was in the folder at the start.
pub(super) struct LoadedTorrents {
    pub(super) records: Vec<Record>,
    /// What is no `.torrent`, with the reason. It was left alone.
    pub(super) bad: Vec<TrackerEvent>,
}

/// What is kept in a `.torrent`'s file beside the `.torrent`, and handed to nobody: more fields of the same object. The files
/// of earlier versions have none.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PublisherNote {
    /// Its publisher's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// Whether its publisher pinned it.
    #[serde(default)]
    pub(super) pinned: bool,
}

impl PublisherNote {
    /// What is published, where this is kept beside its `.torrent`.
    pub(super) fn record(self, torrent: &Torrent) -> Record {
        let summary = Summary {
            pinned: self.pinned,
            ..Summary::of(torrent)
        };
        let key = self.key;
        Record { summary, key }
    }
}

impl TorrentFolder {
    /// Makes the folder, and checks that it can be written to.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let folder = Self(path.to_owned());
        File::create(folder.new_path())?;
        fs::remove_file(folder.new_path())?;
        Ok(folder)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.0.join(format!("{}.torrent", name.as_str()))
    }

    /// Where a `.torrent` is written first. One thread at a time does so; another tracker in the same folder has its own.
    fn new_path(&self) -> PathBuf {
        self.0.join(format!(".new-{}", process::id()))
    }

    /// Puts a `.torrent` in its place: after a power cut there is the old one or the new one, whole. One call at a time.
    pub(super) fn put(&self, torrent: &Torrent, kept: &PublisherNote) -> Result<(), StoreError> {
        let (mut bytes, kept) = (to_bytes(torrent), to_bytes(kept));
        bytes.pop();
        bytes.push(b',');
        bytes.extend_from_slice(&kept[1..]);
        // somebody may have deleted it; where that can't be made good, the write says why
        let _ = fs::create_dir_all(&self.0);
        write_atomically(&Plain, &self.path(torrent.name()), &self.new_path(), &bytes)
    }

    /// Keeps something else beside a `.torrent` that is here, and another publisher in it. One call at a time.
    pub(super) fn rewrite(
        &self,
        name: &Name,
        publisher: &str,
        kept: &PublisherNote,
    ) -> io::Result<()> {
        let mut torrent = self.get(name)?;
        publisher.clone_into(&mut torrent.publisher);
        self.put(&torrent, kept).map_err(io::Error::other)
    }

    /// Makes what was put outlive a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    /// How many bytes a `.torrent` has; 0 if it isn't there.
    pub(super) fn len_of(&self, name: &Name) -> usize {
        fs::metadata(self.path(name)).map_or(0, |found| found.len() as usize)
    }

    pub(super) fn get(&self, name: &Name) -> io::Result<Torrent> {
        read(&self.path(name)).map(|(torrent, _)| torrent)
    }

    /// Reads what is there.
    pub(super) fn load(&self) -> io::Result<LoadedTorrents> {
        let (mut records, mut bad) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().into_owned();
            let name = match file.strip_suffix(".torrent") {
                Some(name) if !name.starts_with('.') => name,
                _ => continue,
            };
            let why = match read(&entry.path()) {
                Ok((mut torrent, kept)) if torrent.name().as_str() == name => {
                    if torrent.published == 0 {
                        torrent.published = modified(&entry.path());
                    }
                    records.push(kept.record(&torrent));
                    continue;
                }
                Ok((torrent, _)) => format!("it is of {}", torrent.name()),
                Err(fault) => fault.to_string(),
            };
            bad.push(TrackerEvent::BadTorrent { file, why });
        }
        Ok(LoadedTorrents { records, bad })
    }
}

/// When a file was written last, seconds since 1970: a `.torrent` without a time was published about then.
fn modified(path: &Path) -> u64 {
    let time = fs::metadata(path).and_then(|found| found.modified());
    let since = time
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

fn read(path: &Path) -> io::Result<(Torrent, PublisherNote)> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > (TORRENT_CAP + KEPT_CAP) as u64 {
        return Err(invalid(format!(
            "expected a file of at most {TORRENT_CAP} bytes"
        )));
    }
    let bytes = fs::read(path)?;
    Ok((parse(&bytes)?, parse(&bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::{INITIAL, digest};

    fn image() -> Torrent {
        let name = Name::parse("image.iso").expect("a name");
        Torrent::new(name, 9, 64 << 10, digest(b"any"), vec![INITIAL]).expect("a .torrent")
    }

    fn with_folder(test: impl FnOnce(&Path, &TorrentFolder)) {
        let thread = std::thread::current().id();
        let dir = std::env::temp_dir().join(format!(
            "bittorrentish-torrents-{}-{thread:?}",
            process::id()
        ));
        test(&dir, &TorrentFolder::open(&dir).expect("a new folder"));
        fs::remove_dir_all(&dir).expect("it is there");
    }

    #[test]
    fn key_and_pin_are_kept_and_never_handed_out() {
        with_folder(|_, folder| {
            let kept = |key: &str| PublisherNote {
                key: Some(key.to_owned()),
                pinned: true,
            };
            let mut torrent = image();
            torrent.published = 7;
            folder.put(&torrent, &kept("first")).expect("it is written");
            folder
                .rewrite(torrent.name(), "10.0.0.2:5", &kept("second"))
                .expect("it is there");
            let loaded = folder.load().expect("it is read");
            let [record] = &loaded.records[..] else {
                panic!("{:?}, {} bad", loaded.records, loaded.bad.len())
            };
            assert_eq!(record.key.as_deref(), Some("second"));
            let summary = &record.summary;
            assert!(summary.pinned && summary.published == 7 && summary.publisher == "10.0.0.2:5");
            let handed_out = to_bytes(&folder.get(torrent.name()).expect("it is there"));
            assert!(!String::from_utf8_lossy(&handed_out).contains("second"));
        });
    }

    #[test]
    fn a_file_of_the_first_version_is_read() {
        with_folder(|dir, folder| {
            let mut first: serde_json::Value = parse(&to_bytes(&image())).expect("its own bytes");
            let fields = first.as_object_mut().expect("an object");
            fields.remove("published").expect("it is later");
            fields.insert("publisher".to_owned(), "10.0.0.2:5".into());
            fs::write(dir.join("image.iso.torrent"), first.to_string()).expect("a file");
            let loaded = folder.load().expect("it is read");
            let [record] = &loaded.records[..] else {
                panic!("{:?}", loaded.records)
            };
            assert_eq!(record.key, None);
            let summary = &record.summary;
            assert_eq!(summary.checkpoints, Some(image().checkpoints_md5()));
            assert!(!summary.pinned && summary.published > 1_600_000_000);
        });
    }
}
