//! The threads that write, one to standard output and one to the log, so that nobody else waits for these: a terminal that was
//! halted with Ctrl-S, a pipe that nobody reads, or a file server that is down must not hold up the swarm.
//!
//! A kill loses the lines that wait at that moment: microseconds' worth, unless the output stands still.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::mem::take;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use super::screen::Screen;

/// The most bytes of lines that wait to be written: further lines are counted and left out.
const WAITING: usize = 8 << 20;

/// How long the end of the program waits for a log that stands still.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// Where lines go.
pub(super) enum Output {
    /// Standard output, with the status lines that stand on it.
    Screen(Screen),
    /// A file of JSON lines.
    Log(Log),
}

/// A log and what was written to it.
pub(super) struct Log {
    file: File,
    /// When the program started.
    start: Instant,
    /// Whether a fault cut the last line off.
    is_torn: bool,
}

impl Log {
    /// Opens a log to append to.
    ///
    /// # Errors
    /// Returns an error if it can't be opened.
    pub(super) fn open(path: &Path, start: Instant) -> io::Result<Self> {
        let mut options = File::options();
        options.append(true).create(true);
        // opened to write alone, a pipe would keep us waiting until somebody reads it
        if std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo()) {
            options.read(true);
        }
        Ok(Self {
            file: options.open(path)?,
            start,
            is_torn: false,
        })
    }

    /// Writes lines. Returns the number of those that the file didn't take.
    fn append(&mut self, text: &str) -> usize {
        let mut rest = text.as_bytes();
        if self.is_torn && !rest.is_empty() {
            match self.file.write(b"\n") {
                Ok(1) => self.is_torn = false,
                _ => return text.lines().count(),
            }
        }
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(n) if n > 0 => {
                    self.is_torn = rest[n - 1] != b'\n';
                    rest = &rest[n..];
                }
                Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
                _ => return rest.iter().filter(|byte| **byte == b'\n').count(),
            }
        }
        0
    }
}

impl Output {
    /// Writes whole lines, and that some were left out. Returns the number of those that weren't taken.
    ///
    /// # Errors
    /// Returns an error if nobody reads any more.
    fn write(
        &mut self,
        mut text: String,
        left_out: usize,
        status: Option<Vec<String>>,
    ) -> io::Result<usize> {
        match self {
            Self::Screen(screen) => {
                if left_out > 0 {
                    text += &format!(
                        "{:12}{left_out} lines were left out: they weren't read in time, or the disk was full\n",
                        ""
                    );
                }
                let bytes = screen.update(&text, status);
                let mut out = io::stdout().lock();
                match out.write_all(bytes.as_bytes()).and_then(|()| out.flush()) {
                    // a file, on a disk that may have room again; the last line that it took may lack its end
                    Err(fault) if lacks_room(&fault) => {
                        screen.is_torn = true;
                        Ok(text.lines().count())
                    }
                    written => written.map(|()| 0),
                }
            }
            Self::Log(log) => {
                let not_taken = log.append(&text);
                if left_out == 0 {
                    return Ok(not_taken);
                }
                let t = (log.start.elapsed().as_secs_f64() * 1e3).round() / 1e3;
                let news = json!({"t": t, "event": "left_out", "n_lines": left_out});
                match log.append(&format!("{news}\n")) {
                    0 => Ok(not_taken),
                    _ => Ok(not_taken + left_out),
                }
            }
        }
    }

    /// How long the end of the program waits for it.
    fn patience(&self) -> Duration {
        match self {
            // a person who halted the terminal goes on in their own time
            Self::Screen(_) => Duration::MAX,
            Self::Log(_) => LOG_PATIENCE,
        }
    }
}

fn lacks_room(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// Writes lines, and draws the status lines below them. Dropping it writes what is queued and ends its thread.
pub(super) struct Printer {
    shared: Arc<Shared>,
    patience: Duration,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// The queue of lines to write.
#[derive(Default)]
struct Queue {
    text: String,
    status: Option<Vec<String>>,
    /// The number of lines that found no room.
    left_out: usize,
    /// The number of lines that the output didn't take.
    not_taken: usize,
    /// Whether the thread is writing.
    busy: bool,
    /// Whether status lines are no longer drawn.
    settled: bool,
    /// Whether nothing more will come, or nobody reads it any more.
    ended: bool,
}

impl Printer {
    /// Starts a thread that writes to `output`.
    ///
    /// # Errors
    /// Returns an error if the system gives none.
    pub(super) fn start(name: &str, output: Output) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let printing = Arc::clone(&shared);
        let patience = output.patience();
        let thread = Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || printing.print(output))?;
        Ok(Self {
            shared,
            patience,
            thread: Some(thread),
        })
    }

    /// Queues whole lines to be written.
    pub(super) fn print(&self, text: &str) {
        let mut queue = self.shared.lock();
        if queue.ended {
            return;
        }
        if queue.text.len() + text.len() > WAITING {
            queue.left_out += 1;
        } else {
            queue.text.push_str(text);
        }
        self.shared.changed.notify_all();
    }

    /// Shows these lines below the others from now on.
    pub(super) fn show(&self, lines: Vec<String>) {
        let mut queue = self.shared.lock();
        if !queue.settled && !queue.ended {
            queue.status = Some(lines);
            self.shared.changed.notify_all();
        }
    }

    /// Removes the status lines for good, and waits until everything is written. Returns false if that takes too long.
    pub(super) fn settle(&self) -> bool {
        let mut queue = self.shared.lock();
        (queue.settled, queue.status) = (true, Some(Vec::new()));
        self.shared.changed.notify_all();
        let unwritten = |queue: &mut Queue| !queue.ended && (queue.busy || queue.is_waiting());
        let changed = &self.shared.changed;
        let waited = changed.wait_timeout_while(queue, self.patience, unwritten);
        let (_queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        let is_settled = self.settle();
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        // a thread that is stuck in a write ends with the program
        if let Some(thread) = self.thread.take()
            && is_settled
        {
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn is_waiting(&self) -> bool {
        !self.text.is_empty() || self.status.is_some() || self.left_out > 0
    }
}

impl Shared {
    /// Each step leaves the queue consistent, so a lock poisoned by a panic can still be used.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let woken = self.changed.wait(queue);
        woken.unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, mut output: Output) {
        loop {
            let (text, left_out, status) = {
                let mut queue = self.lock();
                queue.busy = false;
                self.changed.notify_all();
                while !queue.ended && !queue.is_waiting() {
                    queue = self.wait(queue);
                }
                if queue.ended {
                    return;
                }
                queue.busy = true;
                let left_out = take(&mut queue.left_out) + take(&mut queue.not_taken);
                (take(&mut queue.text), left_out, queue.status.take())
            };
            match output.write(text, left_out, status) {
                // said with the next lines: a full disk would be asked again and again
                Ok(not_taken) => self.lock().not_taken += not_taken,
                // a reader that closed the pipe doesn't want more
                Err(_) => {
                    let mut queue = self.lock();
                    *queue = Queue {
                        ended: true,
                        ..Queue::default()
                    };
                    self.changed.notify_all();
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::process::Command;

    use super::*;

    #[test]
    fn what_a_pipe_does_not_take_is_counted() {
        let path = std::env::temp_dir().join(format!("bittorrentish-pipe-{}", std::process::id()));
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("coreutils").success());
        let log = Log::open(&path, Instant::now()).expect("nobody need read it");
        let printer = Printer::start("log", Output::Log(log)).expect("a thread");
        let line = format!("\"{}\"\n", "x".repeat(997));
        // more than the queue, the one write that is under way, and the pipe take together
        for _ in 0..3 * WAITING / line.len() {
            printer.print(&line);
        }
        assert!(!printer.settle(), "nobody reads");
        let reader = BufReader::new(File::open(&path).expect("there"));
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || reader.lines().try_for_each(|line| sender.send(line)));
        let (mut n_read, mut n_left_out) = (0, 0);
        // they may be told in two parts, before and after the write that was under way
        while n_read + n_left_out < 3 * WAITING / line.len() {
            let read = lines.recv_timeout(Duration::from_secs(60));
            let read = read.expect("all are written or counted").expect("text");
            if read == line.trim_end() {
                n_read += 1;
                continue;
            }
            let news: serde_json::Value = serde_json::from_str(&read).expect("JSON");
            n_left_out += news["n_lines"].as_u64().expect("a number") as usize;
        }
        assert_eq!(n_read + n_left_out, 3 * WAITING / line.len());
        assert!(n_left_out > 0, "the pipe doesn't take all");
        fs::remove_file(&path).expect("ours");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_leaves_lines_out() {
        let full = Path::new("/dev/full");
        let mut log = Log::open(full, Instant::now()).expect("Linux has it");
        assert_eq!(log.append("one\ntwo\n"), 2);
        let mut output = Output::Log(log);
        let not_taken = output
            .write("three\n".to_owned(), 2, None)
            .expect("a log has no end");
        assert_eq!(not_taken, 3);
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next() {
        let path = std::env::temp_dir().join(format!("bittorrentish-torn-{}", std::process::id()));
        let mut log = Log::open(&path, Instant::now()).expect("room");
        assert_eq!(log.append("cut o"), 0);
        assert!(log.is_torn);
        assert_eq!(log.append("whole\n"), 0);
        assert_eq!(fs::read_to_string(&path).expect("ours"), "cut o\nwhole\n");
        fs::remove_file(&path).expect("ours");
    }
}
