//! The folder of `.torrent`s: `NAME.torrent` each, and for a moment `.new-…`, which no name begins with.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::events::Event;
use crate::protocol::{Summary, TORRENT_CAP, invalid, parse, to_bytes};
use crate::roster::Record;
use crate::store::{Plain, StoreError, write_atomically};
use crate::torrent::{Name, Torrent};

/// Bytes of a file here beside what came in a message.
const BESIDE: usize = 1024;

pub(super) struct Shelf(PathBuf);

/// What is kept in a `.torrent`'s file beside the `.torrent`, and handed to nobody: more fields of the same object. The files of
/// earlier versions have none.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Its publisher's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// Whether its publisher pinned it.
    #[serde(default)]
    pub(super) pinned: bool,
}

impl Shelf {
    /// Makes the folder, and sees whether it can be written to.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let shelf = Self(path.to_owned());
        File::create(shelf.beside())?;
        fs::remove_file(shelf.beside())?;
        Ok(shelf)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.0.join(format!("{}.torrent", name.as_str()))
    }

    /// Only the publisher of the moment writes it; another tracker in the same folder has its own.
    fn beside(&self) -> PathBuf {
        self.0.join(format!(".new-{}", process::id()))
    }

    /// Puts a `.torrent` in its place: after a power cut there is the old one or the new one, whole. One call at a time.
    pub(super) fn put(&self, torrent: &Torrent, kept: &Kept) -> Result<(), StoreError> {
        let (mut bytes, kept) = (to_bytes(torrent), to_bytes(kept));
        bytes.pop();
        bytes.push(b',');
        bytes.extend_from_slice(&kept[1..]);
        write_atomically(&Plain, &self.path(torrent.name()), &self.beside(), &bytes)
    }

    /// Keeps something else beside a `.torrent` that is here, and another publisher in it. One call at a time.
    pub(super) fn rewrite(&self, name: &Name, publisher: &str, kept: &Kept) -> io::Result<()> {
        let mut torrent = self.get(name)?;
        publisher.clone_into(&mut torrent.publisher);
        self.put(&torrent, kept).map_err(io::Error::other)
    }

    /// Sees to it that what was put outlives a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    /// How many bytes a `.torrent` has; none where it isn't there.
    pub(super) fn len_of(&self, name: &Name) -> u64 {
        fs::metadata(self.path(name)).map_or(0, |found| found.len())
    }

    pub(super) fn get(&self, name: &Name) -> io::Result<Torrent> {
        read(&self.path(name)).map(|(torrent, _)| torrent)
    }

    /// Reads what is there. What is no `.torrent` is told of and left alone.
    pub(super) fn load(&self) -> io::Result<(Vec<Record>, Vec<Event>)> {
        let (mut loaded, mut bad) = (Vec::new(), Vec::new());
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
                    let summary = Summary {
                        pinned: kept.pinned,
                        ..Summary::of(&torrent)
                    };
                    loaded.push(Record {
                        summary,
                        key: kept.key,
                    });
                    continue;
                }
                Ok((torrent, _)) => format!("it is of {}", torrent.name()),
                Err(fault) => fault.to_string(),
            };
            bad.push(Event::BadTorrent { file, why });
        }
        Ok((loaded, bad))
    }
}

/// When a file was written last, seconds since 1970: about when a `.torrent` without a time was published.
fn modified(path: &Path) -> u64 {
    let time = fs::metadata(path).and_then(|found| found.modified());
    let since = time
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

fn read(path: &Path) -> io::Result<(Torrent, Kept)> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > (TORRENT_CAP + BESIDE) as u64 {
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

    fn with_folder(test: impl FnOnce(&Path, &Shelf)) {
        let thread = std::thread::current().id();
        let dir =
            std::env::temp_dir().join(format!("bittorrentish-shelf-{}-{thread:?}", process::id()));
        test(&dir, &Shelf::open(&dir).expect("a new folder"));
        fs::remove_dir_all(&dir).expect("it is there");
    }

    #[test]
    fn key_and_pin_are_kept_and_stay_out_of_what_is_handed_out() {
        with_folder(|_, shelf| {
            let kept = |key: &str| Kept {
                key: Some(key.to_owned()),
                pinned: true,
            };
            let mut torrent = image();
            torrent.published = 7;
            shelf.put(&torrent, &kept("first")).expect("it is written");
            shelf
                .rewrite(torrent.name(), "10.0.0.2:5", &kept("second"))
                .expect("it is there");
            let (loaded, bad) = shelf.load().expect("it is read");
            let [record] = &loaded[..] else {
                panic!("{loaded:?}, {} bad", bad.len())
            };
            assert_eq!(record.key.as_deref(), Some("second"));
            let summary = &record.summary;
            assert!(summary.pinned && summary.published == 7 && summary.publisher == "10.0.0.2:5");
            let handed_out = to_bytes(&shelf.get(torrent.name()).expect("it is there"));
            assert!(!String::from_utf8_lossy(&handed_out).contains("second"));
        });
    }

    #[test]
    fn a_file_of_the_first_version_is_read() {
        with_folder(|dir, shelf| {
            let mut first: serde_json::Value = parse(&to_bytes(&image())).expect("its own bytes");
            let fields = first.as_object_mut().expect("an object");
            fields.remove("published").expect("it is later");
            fields.insert("publisher".to_owned(), "10.0.0.2:5".into());
            fs::write(dir.join("image.iso.torrent"), first.to_string()).expect("a file");
            let (loaded, _) = shelf.load().expect("it is read");
            let [record] = &loaded[..] else {
                panic!("{loaded:?}")
            };
            assert_eq!(record.key, None);
            let summary = &record.summary;
            assert_eq!(summary.checkpoints, Some(image().checkpoints_md5()));
            assert!(!summary.pinned && summary.published > 1_600_000_000);
        });
    }
}
