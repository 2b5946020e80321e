//! The program under test: started in a fresh folder, its output taken down, and ended with all that it started.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::record::{PRINTED, fails, note};

/// The file that is in its folder at the start, what is in it, and how old it is: it was written a while ago.
pub const PLANTED: &str = "planted.txt";
pub const PLANTED_BYTES: &[u8] = b"This file was here before the program was started.\n";
const AGE: Duration = Duration::from_secs(60);
/// How lines of its errors begin, and what tells that it ended.
pub const ON_STDERR: &str = "it printed on stderr";
pub const ENDED: &str = "it ended";
/// A longer line counts as several, bytes; and so many lines of each output are taken down.
const LINE: u64 = 400;
const LINES: usize = 50_000;

/// A running program.
pub struct Program {
    child: Child,
    /// The fresh folder, removed at the end.
    dir: PathBuf,
}

impl Program {
    /// Starts a command in a fresh folder with one file in the `folder` in it. `port` is the tracker's.
    pub fn start(command: &[String], folder: &str, port: u16, scale: f64) -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("check-{}", std::process::id()));
        let files = dir.join(folder);
        fs::create_dir_all(&files)?;
        fs::write(files.join(PLANTED), PLANTED_BYTES)?;
        let planted = File::options().write(true).open(files.join(PLANTED))?;
        planted.set_modified(SystemTime::now() - AGE)?;
        let files = files.to_string_lossy();
        let every = |seconds: f64| (seconds * scale).to_string();
        let marks = [
            ("{ip}", "127.0.0.1".to_owned()),
            ("{port}", port.to_string()),
            ("{dir}", files.into_owned()),
            ("{ping}", every(10.0)),
            ("{list}", every(20.0)),
            ("{round}", every(30.0)),
            ("{sweep}", every(15.0)),
        ];
        let fill = |word: String, (mark, with): &(&str, String)| word.replace(mark, with);
        let filled = |word: &String| absolute(marks.iter().fold(word.clone(), fill));
        let words: Vec<String> = command.iter().map(filled).collect();
        let mut started = Command::new(&words[0]);
        started.args(&words[1..]).current_dir(&dir).process_group(0);
        started.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = started.stderr(Stdio::piped()).spawn()?;
        read(child.stdout.take().expect("piped"), PRINTED);
        read(child.stderr.take().expect("piped"), ON_STDERR);
        Ok(Self { child, dir })
    }

    /// How it ended, if it was started and has.
    pub fn ended(program: &mut Option<Self>) -> Option<String> {
        let status = program.as_mut()?.child.try_wait().ok()??;
        Some(format!("{ENDED}: {status}"))
    }

    /// Whether it has ended, which is a fault.
    pub fn has_ended(program: &mut Option<Self>) -> bool {
        let ended = Self::ended(program);
        if let Some(how) = &ended {
            note(how);
            fails("F1", how, ENDED);
        }
        ended.is_some()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // with what it has started: a group of its own
        let mut kill = Command::new("kill");
        kill.args(["-9", "--", &format!("-{}", self.child.id())]);
        let _ = kill.stderr(Stdio::null()).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A file by its whole path, as the program runs in another folder; another word as it is.
fn absolute(word: String) -> String {
    match std::path::absolute(&word) {
        Ok(path) if path.is_file() => path.to_string_lossy().into_owned(),
        _ => word,
    }
}

/// Reads an output to its end, so that the program never waits.
fn read(from: impl Read + Send + 'static, what: &'static str) {
    let (mut from, mut line, mut left) = (BufReader::new(from), Vec::new(), LINES);
    thread::spawn(move || {
        while let Ok(1..) = from.by_ref().take(LINE).read_until(b'\n', &mut line) {
            if left > 0 {
                let text = String::from_utf8_lossy(&line);
                note(format!("{what}: {}", text.trim_end()));
                left -= 1;
            }
            line.clear();
        }
    });
}
