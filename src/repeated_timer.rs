//! The original's `RepeatedTimer`: it calls a function again and again.
//!
//! The original makes a new thread for each call and starts the next timer before it calls: a call that takes longer than the
//! interval overlaps with the next one. Ours makes one call at a time, on one thread; it also calls at the start, and can be
//! asked to call at once.

use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Calls a function at once and then every interval, on a thread of its own, until it is dropped.
pub struct RepeatedTimer {
    orders: Sender<TimerOrder>,
    thread: Option<JoinHandle<()>>,
}

enum TimerOrder {
    Now,
    Every(Duration),
    End,
}

impl RepeatedTimer {
    /// Starts the thread `name`. If a call takes longer than the interval, the next one follows at once, and any others that it
    /// missed are skipped.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(
        name: &str,
        mut every: Duration,
        mut call: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, ordered) = channel();
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let mut due = Instant::now();
            loop {
                call();
                due = (due + every).max(Instant::now());
                let order = ordered.recv_timeout(due.saturating_duration_since(Instant::now()));
                // several orders in the meantime count as one
                for order in order.into_iter().chain(ordered.try_iter()) {
                    match order {
                        TimerOrder::Now => due = Instant::now(),
                        TimerOrder::Every(new) => (every, due) = (new, Instant::now()),
                        TimerOrder::End => return,
                    }
                }
            }
        })?;
        Ok(Self {
            orders,
            thread: Some(thread),
        })
    }

    /// A handle that has the timer call before its time.
    pub fn trigger(&self) -> Trigger {
        Trigger(self.orders.clone())
    }
}

/// Has a [`RepeatedTimer`] call before its time, or at other intervals.
#[derive(Clone)]
pub struct Trigger(Sender<TimerOrder>);

impl Trigger {
    /// Calls now, or right after the call that is under way; the next one is an interval later. After the timer's end
    /// it does nothing.
    pub fn fire(&self) {
        let _ = self.0.send(TimerOrder::Now);
    }

    /// Calls now, and from then on every interval.
    pub fn fire_every(&self, interval: Duration) {
        let _ = self.0.send(TimerOrder::Every(interval));
    }
}

impl Drop for RepeatedTimer {
    /// Ends the thread, and waits for a call that is under way. A timer that is dropped by its own call isn't waited for.
    fn drop(&mut self) {
        let _ = self.orders.send(TimerOrder::End);
        if let Some(thread) = self
            .thread
            .take()
            .filter(|timer| timer.thread().id() != thread::current().id())
        {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_calls_when_due_and_when_asked() {
        let (call, calls) = channel();
        let soon = RepeatedTimer::start("soon", Duration::from_millis(5), move || {
            call.send(()).expect("kept")
        })
        .expect("a thread");
        (0..3).for_each(|_| calls.recv_timeout(Duration::from_secs(10)).expect("a call"));
        drop(soon);
        while calls.try_recv().is_ok() {}
        assert!(
            calls.recv().is_err(),
            "the thread has ended, and what it called with is gone"
        );

        let (call, calls) = channel();
        let rare = RepeatedTimer::start("rare", Duration::from_secs(3600), move || {
            call.send(()).expect("kept")
        })
        .expect("a thread");
        calls
            .recv_timeout(Duration::from_secs(10))
            .expect("the first call");
        rare.trigger().fire();
        let called = |what| calls.recv_timeout(Duration::from_secs(10)).expect(what);
        called("the call that was asked for");
        rare.trigger().fire_every(Duration::from_millis(5));
        (0..3).for_each(|_| called("a call at the new interval"));
    }
}
