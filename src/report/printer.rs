//! The one thread that writes to standard output, so that nobody else waits for it: a terminal that was halted with
//! Ctrl-S, or a pager that nobody scrolls, must not hold up the swarm.

use std::io::{self, Write};
use std::mem::take;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::screen::Screen;

/// The most bytes of lines that wait to be written: further lines are counted and left out.
const WAITING: usize = 8 << 20;

/// Writes lines, and draws the status lines below them. Dropping it writes what is queued and ends its thread.
pub(super) struct Printer {
    shared: Arc<Shared>,
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
    /// Whether the thread is writing.
    busy: bool,
    /// Whether status lines are no longer drawn.
    settled: bool,
    /// Whether nothing more will come, or nobody reads it any more.
    ended: bool,
}

impl Printer {
    /// Starts the thread.
    ///
    /// # Errors
    /// Returns an error if the system gives none.
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let printing = Arc::clone(&shared);
        let thread = Builder::new().name("print".to_owned());
        let thread = thread.spawn(move || printing.print())?;
        Ok(Self {
            shared,
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

    /// Removes the status lines for good, and waits until everything is written.
    pub(super) fn settle(&self) {
        let mut queue = self.shared.lock();
        (queue.settled, queue.status) = (true, Some(Vec::new()));
        self.shared.changed.notify_all();
        while !queue.ended && (queue.busy || queue.is_waiting()) {
            queue = self.shared.wait(queue);
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.settle();
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
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

    fn print(&self) {
        let mut screen = Screen::default();
        loop {
            let (text, status) = {
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
                let left_out = match take(&mut queue.left_out) {
                    0 => String::new(),
                    n => {
                        format!("            {n} lines were left out: they weren't read in time\n")
                    }
                };
                (take(&mut queue.text) + &left_out, queue.status.take())
            };
            let bytes = screen.update(&text, status);
            let mut out = io::stdout().lock();
            let written = out.write_all(bytes.as_bytes()).and_then(|()| out.flush());
            drop(out);
            // a reader that closed the pipe doesn't want more
            if written.is_err() {
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
