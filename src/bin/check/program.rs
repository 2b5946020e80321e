//! The program under test: started in a fresh folder, its output drained, and ended with all that it started.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// The last bytes of its output that are kept.
const TAIL: usize = 300;

/// A running program.
pub struct Program {
    child: Child,
    /// The fresh folder, removed at the end.
    dir: PathBuf,
    tail: Arc<Mutex<Vec<u8>>>,
}

impl Program {
    /// Starts a command in a fresh folder, with one file in the `folder` in it. `replace` has what stands for each `{word}`.
    ///
    /// # Errors
    /// Returns what the system says.
    pub fn start(
        command: &[String],
        folder: &str,
        mut replace: Vec<(&str, String)>,
        (name, bytes): (&str, &[u8]),
    ) -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("check-{}", std::process::id()));
        let files = dir.join(folder);
        fs::create_dir_all(&files)?;
        fs::write(files.join(name), bytes)?;
        replace.push(("{dir}", files.to_string_lossy().into_owned()));
        let words: Vec<String> = command.iter().map(|word| filled(word, &replace)).collect();
        let mut started = Command::new(&words[0]);
        started.args(&words[1..]).current_dir(&dir).process_group(0);
        started.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = started.stderr(Stdio::piped()).spawn()?;
        let tail = Arc::default();
        drain(child.stdout.take(), &tail);
        drain(child.stderr.take(), &tail);
        Ok(Self { child, dir, tail })
    }

    /// How it ended, if it has, with the last of what it printed.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let printed = String::from_utf8_lossy(&tail);
        Some(format!("{status}; it printed … {}", printed.trim()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // with what it has started: a group of its own
        let group = format!("-{}", self.child.id());
        let mut kill = Command::new("kill");
        let _ = kill
            .args(["-9", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A word of the command with what stands for its braces; a file by its whole path, as the program runs in another folder.
fn filled(word: &str, replace: &[(&str, String)]) -> String {
    let mut word = word.to_owned();
    for (brace, with) in replace {
        word = word.replace(brace, with);
    }
    match fs::canonicalize(&word) {
        Ok(path) if path.is_file() && Path::new(&word).is_relative() => {
            path.to_string_lossy().into_owned()
        }
        _ => word,
    }
}

/// Reads an output to its end, so that the program never waits, and keeps the last of it.
fn drain(from: Option<impl Read + Send + 'static>, tail: &Arc<Mutex<Vec<u8>>>) {
    let (Some(mut from), tail) = (from, Arc::clone(tail)) else {
        return;
    };
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(came @ 1..) = from.read(&mut buffer) {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.extend(&buffer[..came]);
            let over = tail.len().saturating_sub(TAIL);
            tail.drain(..over);
        }
    });
}
