//! The program under test: started in a fresh folder, its output taken down, and ended with all that it started.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::record::Recorder;
use crate::scene::{PLANTED, PLANTED_BYTES};

/// A longer line counts as several, bytes.
const LINE: u64 = 4096;
/// How old the file in its folder is: it was written a while ago.
const AGE: Duration = Duration::from_secs(60);

/// A running program.
pub struct Program {
    child: Child,
    /// The fresh folder, removed at the end.
    dir: PathBuf,
}

impl Program {
    /// Starts a command in a fresh folder with one file in the `folder` in it. `replace` has what stands for each `{word}`.
    pub fn start(
        command: &[String],
        folder: &str,
        mut replace: Vec<(&str, String)>,
        recorder: &Arc<Recorder>,
    ) -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("check-{}", std::process::id()));
        let files = dir.join(folder);
        fs::create_dir_all(&files)?;
        fs::write(files.join(PLANTED), PLANTED_BYTES)?;
        let planted = File::options().write(true).open(files.join(PLANTED))?;
        planted.set_modified(SystemTime::now() - AGE)?;
        replace.push(("{dir}", files.to_string_lossy().into_owned()));
        let words: Vec<String> = command.iter().map(|word| filled(word, &replace)).collect();
        let mut started = Command::new(&words[0]);
        started.args(&words[1..]).current_dir(&dir).process_group(0);
        started.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = started.stderr(Stdio::piped()).spawn()?;
        read(child.stdout.take(), false, recorder);
        read(child.stderr.take(), true, recorder);
        Ok(Self { child, dir })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(status.to_string())
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

/// A word of the command with what stands for its braces; a file by its whole path, as the program runs in another folder.
fn filled(word: &str, replace: &[(&str, String)]) -> String {
    let fill = |word: String, (brace, with): &(&str, String)| word.replace(brace, with);
    let word = replace.iter().fold(word.to_owned(), fill);
    match fs::canonicalize(&word) {
        Ok(path) if path.is_file() && Path::new(&word).is_relative() => {
            path.to_string_lossy().into_owned()
        }
        _ => word,
    }
}

/// Reads an output to its end, so that the program never waits.
fn read(from: Option<impl Read + Send + 'static>, is_error: bool, recorder: &Arc<Recorder>) {
    let (recorder, Some(from)) = (Arc::clone(recorder), from) else {
        return;
    };
    let (mut from, mut line) = (BufReader::new(from), Vec::new());
    thread::spawn(move || {
        while let Ok(1..) = from.by_ref().take(LINE).read_until(b'\n', &mut line) {
            recorder.printed(is_error, String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    });
}
