//! Tells waiting peers of a new file at once: its publisher says hello to the others, which then ping the tracker.

use std::net::SocketAddr;
use std::thread::{Builder, sleep};
use std::time::Instant;

use super::Client;
use super::errors::ClientError;
use crate::net::HEADER;
use crate::protocol::{Answer, Ask, Hello, PEER_CAP};

impl Client {
    /// Has the others greeted after the next ping, which is made now: peers that came since the last one are on no list here yet.
    pub(super) fn greet_peers_soon(&self) {
        self.lock().greet_soon();
        if let Some(timer) = self.0.ping_timer.get() {
            timer.fire();
        }
    }

    /// Says hello to the peers on the tracker's list, if they are to be greeted, on a thread of its own. Where that doesn't
    /// work, they learn of it at their next ping.
    pub(super) fn greet_peers(&self) {
        if !self.lock().begin_greeting() {
            return;
        }
        let client = self.clone();
        let greet = move || {
            loop {
                let next = client.lock().next_to_greet();
                let Some(listed) = next else { return };
                for addr in listed {
                    if client.lock().is_ending() {
                        break;
                    }
                    let _ = client.greet(addr);
                }
            }
        };
        let thread = Builder::new().name("greet".to_owned()).spawn(greet);
        if thread.is_err() {
            self.lock().end_greeting();
        }
    }

    fn greet(&self, addr: SocketAddr) -> Result<(), ClientError> {
        let mut connection = self.connect_to(addr)?;
        let (have, _) = self.lock().haves();
        connection.send(&Ask::Hello(self.hello(have)))?;
        connection.expect::<Answer>(HEADER, PEER_CAP)?;
        Ok(())
    }

    /// Asks the tracker if a hello tells of what isn't on its list: now, or a moment later if it was asked a moment ago.
    pub(super) fn ask_what_is_new(&self, hello: &Hello) {
        let wait = self.lock().prompted_in(hello, Instant::now());
        let Some((timer, wait)) = self.0.ping_timer.get().zip(wait) else {
            return;
        };
        sleep(wait);
        timer.fire();
    }
}
