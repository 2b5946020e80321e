//! The program under test: started in a fresh folder, its output taken down, and ended with all that it started.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::CheckArgs;
use crate::record::{PRINTED, fails, note};

/// The file that is in its folder at the start, what is in it, and how old it is: it was written a while ago.
pub const PLANTED: &str = "planted.txt";
pub const PLANTED_BYTES: &[u8] = b"This file was here before the program was started.\n";
const AGE: Duration = Duration::from_secs(60);
/// How lines of its errors begin, and what tells that it ended.
pub const ON_STDERR: &str = "it printed on stderr";
pub const ENDED: &str = "it ended";
/// A longer line counts as several, and at most this much of each output is taken down, bytes.
const LINE: u64 = 400;
const MOST: u64 = 4 << 20;

/// The program, running; or none, where somebody else starts it.
#[derive(Default)]
pub struct Program {
    child: Option<Child>,
    /// The fresh folder, removed at the end.
    dir: PathBuf,
}

impl Program {
    /// Starts a command, if there is one, in a fresh folder with one file in the `folder` in it. `port` is the
    /// tracker's.
    pub fn start(&mut self, args: &CheckArgs, port: u16) -> Result<(), String> {
        let started = match args.command.is_empty() {
            true => Ok(()),
            false => self.spawn(args, port),
        };
        started.map_err(|fault| format!("{} can't be started: {fault}", args.command.join(" ")))
    }

    fn spawn(&mut self, args: &CheckArgs, port: u16) -> io::Result<()> {
        note(format!("it was started: {}", args.command.join(" ")));
        self.dir = std::env::temp_dir().join(format!("check-{}", std::process::id()));
        let files = self.dir.join(&args.folder);
        fs::create_dir_all(&files)?;
        fs::write(files.join(PLANTED), PLANTED_BYTES)?;
        let planted = File::options().write(true).open(files.join(PLANTED))?;
        planted.set_modified(SystemTime::now() - AGE)?;
        let (port, dir) = (port.to_string(), files.to_string_lossy());
        let every = [
            ("{ping}", 10.0),
            ("{list}", 20.0),
            ("{round}", 30.0),
            ("{sweep}", 15.0),
        ];
        let filled = |word: &String| {
            let mut word = word.replace("{ip}", "127.0.0.1").replace("{port}", &port);
            for (mark, seconds) in every {
                word = word.replace(mark, &(seconds * args.scale).to_string());
            }
            absolute(word.replace("{dir}", &dir))
        };
        let words: Vec<String> = args.command.iter().map(filled).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&self.dir);
        command.process_group(0).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.child.insert(command.spawn()?);
        read(child.stdout.take().expect("piped"), PRINTED);
        read(child.stderr.take().expect("piped"), ON_STDERR);
        Ok(())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        Some(format!("{ENDED}: {status}"))
    }

    /// Judges that it has ended, if it has: behind all else, as what it sent may be why.
    pub fn judge_end(&mut self) {
        if let Some(how) = self.ended() {
            note(&how);
            fails("F1", how, ENDED);
        }
    }
}

impl Drop for Program {
    /// Ends it with what it has started, which is a group of its own.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let mut kill = Command::new("kill");
            kill.args(["-9", "--", &format!("-{}", child.id())]);
            let _ = kill.stderr(Stdio::null()).status();
            let _ = child.wait();
        }
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
    let (mut from, mut line) = (BufReader::new(from).take(MOST), Vec::new());
    thread::spawn(move || {
        while let Ok(1..) = from.by_ref().take(LINE).read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line);
            note(format!("{what}: {}", text.trim_end()));
            line.clear();
        }
        io::copy(&mut from.into_inner(), &mut io::sink())
    });
}
