//! The program under test: started in a fresh folder, its output drained, and ended with all that it started.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// The last bytes of its output that are kept.
const TAIL: usize = 2000;

/// A running program.
pub struct Program {
    child: Child,
    /// The fresh folder, removed at the end.
    dir: PathBuf,
    tail: Arc<Mutex<VecDeque<u8>>>,
}

impl Program {
    /// Starts a command in a fresh folder with `files` in it. `replace` has what stands for each `{word}`.
    ///
    /// # Errors
    /// Returns what the system says.
    pub fn start(
        command: &[String],
        folder: Option<&str>,
        replace: &[(&str, String)],
        plant: &[(&str, Vec<u8>)],
    ) -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("check-{}", std::process::id()));
        let files = dir.join(folder.unwrap_or("files"));
        fs::create_dir_all(&files)?;
        for (name, bytes) in plant {
            fs::write(files.join(name), bytes)?;
        }
        let mut replace = replace.to_vec();
        replace.push(("{dir}", files.to_string_lossy().into_owned()));
        let words: Vec<String> = command.iter().map(|word| filled(word, &replace)).collect();
        let mut started = Command::new(&words[0]);
        started.args(&words[1..]).current_dir(&dir).process_group(0);
        started
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = started
            .spawn()
            .inspect_err(|_| drop(fs::remove_dir_all(&dir)));
        let mut child = started?;
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        drain(child.stdout.take(), &tail);
        drain(child.stderr.take(), &tail);
        Ok(Self { child, dir, tail })
    }

    /// How it ended, if it has, with the last of what it printed.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let (front, back) = tail.as_slices();
        let printed = String::from_utf8_lossy(&[front, back].concat()).into_owned();
        let last: Vec<&str> = printed
            .lines()
            .rev()
            .filter(|line| !line.is_empty())
            .take(3)
            .collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Some(format!(
            "{status}; the last that it printed: {}",
            last.join(" / ")
        ))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // with what it has started: a group of its own
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill")
            .args(["-9", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A word of the command with what stands for its braces; a file of this folder by its whole path, as it is run in another one.
fn filled(word: &str, replace: &[(&str, String)]) -> String {
    let mut filled = word.to_owned();
    for (brace, with) in replace {
        filled = filled.replace(brace, with);
    }
    match fs::canonicalize(&filled) {
        Ok(path) if Path::new(&filled).is_relative() && path.is_file() => {
            path.to_string_lossy().into_owned()
        }
        _ => filled,
    }
}

/// Reads an output to its end, so that the program never waits, and keeps the last of it.
fn drain(from: Option<impl Read + Send + 'static>, tail: &Arc<Mutex<VecDeque<u8>>>) {
    let Some(mut from) = from else { return };
    let tail = Arc::clone(tail);
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
