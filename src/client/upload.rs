//! Serving others: `listen_requests` and `handle_piece_request`, on a thread for each connection.
//!
//! The original has a thread for each connection, too, but its lock lets only one of them send at a time, and a request for a
//! missing file leaves the lock taken: nothing is served after it. Ours serves all at once. Of the pieces that a request
//! names it sends the one that it has sent least.
//!
//! Cost for each piece: one read of the request, one read and at best one write per 256 KiB, two short holds of the lock.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Client;
use super::errors::ClientError;
use crate::limit::Limit;
use crate::net::{Connection, HEADER, Listener, Pace, is_local};
use crate::picker::PeerId;
use crate::protocol::{
    Answer, Ask, FirstMessage, Get, Have, Hello, PEER_CAP, PieceHeader, Pieces, to_bytes,
};
use crate::state::{Served, TrackerKind};
use crate::torrent::{BlockSet, Torrent};

/// The most connections that are served at once.
pub(super) const UPLOADS: usize = 256;
/// A connection is closed after this long without a request.
const IDLE: Duration = Duration::from_secs(75);
/// The longest that an answer is held back: a connection that is closed to make room gives its thread back only then.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a request waits for its turn under `--max-up`; then the asker may try another holder. It gives up after 30 s.
const PLACE_WAIT: Duration = Duration::from_secs(20);
/// News is collected for this long before it is sent to a peer that has nothing to ask for: in a fast swarm several pieces
/// are told in one message.
const GATHER: Duration = Duration::from_millis(5);

/// Whom a connection's thread serves, from one request to the next.
struct Asker {
    peer: PeerId,
    /// The position in the news from which it is new to the asker.
    news_from: usize,
    buffer: Vec<u8>,
}

impl Client {
    /// The original's `listen_requests`: accepts the connections of other peers, and serves each on a thread of its own.
    pub(super) fn listen_requests(&self, listener: TcpListener) -> io::Result<Listener> {
        let (serving, telling) = (self.clone(), self.clone());
        let pretence = self.0.config.pretence;
        let serve = move |connection| serving.serve(pretence.farther(connection));
        let told = move |trouble| telling.trouble(trouble);
        Listener::start("upload", listener, UPLOADS, serve, told)
    }

    /// Serves one connection until it ends.
    fn serve(&self, mut connection: Connection) {
        let served = self.serve_first(&mut connection);
        self.tell_upload_ended(connection.peer, served);
    }

    /// Reads the first message, which tells an original from one of ours.
    fn serve_first(&self, connection: &mut Connection) -> Result<(), ClientError> {
        let local = self.lock().tracker() == TrackerKind::Ours { local: true };
        if local && !is_local(connection.peer.ip(), connection.own.ip()) {
            let why =
                "its tracker was started without --remote: this peer serves its own machine alone";
            let why = why.to_owned();
            return Ok(connection.send(&Answer::Refused { why })?);
        }
        match connection.read(HEADER, PEER_CAP)? {
            None => Ok(()),
            Some(FirstMessage::Original { filename }) => self.serve_original(connection, &filename),
            Some(FirstMessage::Ours(Ask::Hello(hello))) => self.serve_ours(connection, &hello),
            Some(FirstMessage::Head { head, md5 }) => self.serve_head(connection, &head, md5),
            Some(FirstMessage::ForTracker(message)) => self.not_the_tracker(connection, &message),
            Some(FirstMessage::Ours(Ask::Get(_))) => {
                Err(ClientError::Unexpected("expected a hello, got a get"))
            }
        }
    }

    /// Exchanges hellos, and then answers request after request.
    fn serve_ours(&self, connection: &mut Connection, hello: &Hello) -> Result<(), ClientError> {
        if hello.id == self.0.run_id {
            return self.answer_hello(connection, Vec::new()); // it has called itself, and will notice
        }
        let addr = (connection.peer.ip(), hello.port).into();
        let met = self.lock().meets(addr, hello, Instant::now());
        self.answer_hello(connection, met.have)?;
        // it may not be on our list yet, and have what is missing here
        self.connect_to_peers();
        self.ask_what_is_new(hello);
        let mut asker = Asker {
            peer: met.peer,
            news_from: met.news_from,
            buffer: Vec::new(),
        };
        while let Some(ask) = connection.read(IDLE, PEER_CAP)? {
            match ask {
                Ask::Hello(_) => self.answer_hello(connection, Vec::new())?,
                Ask::Get(get) => self.handle_piece_request(connection, &mut asker, &get)?,
            }
        }
        Ok(())
    }

    fn answer_hello(&self, connection: &Connection, have: Vec<Have>) -> Result<(), ClientError> {
        Ok(connection.send(&Answer::Hello(self.hello(have)))?)
    }

    /// The original's `handle_piece_request`: answers with one of the pieces that were named, from the disk. Where none of
    /// them is here, it answers with news once there are any.
    fn handle_piece_request(
        &self,
        connection: &Connection,
        asker: &mut Asker,
        get: &Get,
    ) -> Result<(), ClientError> {
        let (served, mut news) = self.choose_or_wait(asker, get);
        let (n, name) = (get.n, get.name.clone());
        let (torrent, location, idx) = match served {
            Served::Gone => return Ok(connection.send(&Answer::Gone { n, name })?),
            Served::NotHere => return Ok(connection.send(&Answer::News { n, news })?),
            Served::Piece(torrent, location, idx) => (torrent, location, idx),
        };
        let Some(_place) = self.0.upload_places.acquire(PLACE_WAIT) else {
            // it is here all the same
            let (md5, pieces) = (get.md5, Pieces::These(vec![idx]));
            news.push(Have { name, md5, pieces });
            return Ok(connection.send(&Answer::News { n, news })?);
        };
        let Some(file) = self.open_or_withdraw(&location)? else {
            return Ok(connection.send(&Answer::Gone { n, name })?);
        };
        let ranges = ranges_of(&torrent, idx, get.blocks);
        let lens = ranges.iter().map(|range| (range.end - range.start) as u32);
        let len = lens.sum();
        let header = to_bytes(&Answer::Piece(PieceHeader {
            n,
            idx,
            len,
            idle_ms: connection.silent.as_millis() as u64,
            news,
        }));
        self.send_ranges(connection, &mut asker.buffer, &header, &file, &ranges)?;
        self.gave(asker.peer, &get.name, idx, len);
        Ok(())
    }

    /// Decides what to send. Where nothing of it is here, it waits for news as long as the asker allows.
    fn choose_or_wait(&self, asker: &mut Asker, get: &Get) -> (Served, Vec<Have>) {
        let wait = Duration::try_from_secs_f64(get.wait).unwrap_or_default();
        let wait = wait.min(LONGEST_WAIT);
        let until = Instant::now() + wait;
        if get.pieces.is_empty() {
            std::thread::sleep(GATHER.min(wait));
        }
        let mut state = self.lock();
        loop {
            let served = state.choose(get);
            let (news, next) = state.news_from(asker.news_from);
            let nothing = matches!(served, Served::NotHere) && news.is_empty();
            if !nothing || state.is_ending() || Instant::now() >= until {
                asker.news_from = next;
                return (served, news);
            }
            state = self.wait(state, until);
        }
    }

    /// Sends a header and ranges of a file, at the rate that `--max-up` allows.
    pub(super) fn send_ranges(
        &self,
        to: &Connection,
        buffer: &mut Vec<u8>,
        mut header: &[u8],
        file: &File,
        ranges: &[Range<u64>],
    ) -> Result<(), ClientError> {
        let (limit, sender, mut pace) = (self.0.up.as_ref(), to.sender(), Pace::default());
        for Range { mut start, end } in ranges.iter().cloned() {
            buffer.resize((end - start).min(Limit::stride(limit) as u64) as usize, 0);
            while start < end {
                let stride = (end - start).min(buffer.len() as u64) as usize;
                self.0.store.read(file, &mut buffer[..stride], start)?;
                self.0.config.pretence.corrupt(&mut buffer[..stride]);
                Limit::pass(limit, stride);
                sender.send_both(header, &buffer[..stride], &mut pace)?;
                header = &[];
                start += stride as u64;
            }
        }
        Ok(())
    }
}

/// Where a piece, or these blocks of it, are in the file.
fn ranges_of(torrent: &Torrent, idx: u32, blocks: Option<BlockSet>) -> Vec<Range<u64>> {
    let all = BlockSet::NONE.missing_of(torrent.n_blocks(idx));
    let wanted = blocks.map(|blocks| all.without(all.without(blocks)));
    let wanted = wanted.filter(|wanted| !wanted.is_empty());
    let runs = wanted.unwrap_or(all).runs();
    let start = torrent.piece_start(idx);
    let in_file = |run| torrent.bytes_of(idx, run);
    let ranges = runs
        .map(in_file)
        .map(|range| start + range.start as u64..start + range.end as u64);
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md5::{INITIAL, digest};
    use crate::torrent::{BLOCKS_A_PIECE, MIN_PIECE_LEN, Name};

    #[test]
    fn the_blocks_that_are_sent_are_those_that_are_missing() {
        // a full piece of 16 blocks of 4 KiB, and one of two blocks, the second of 100 bytes
        let size = u64::from(MIN_PIECE_LEN) + 4096 + 100;
        let checkpoints = vec![INITIAL; BLOCKS_A_PIECE + 2];
        let name = Name::parse("f").expect("a name");
        let torrent = Torrent::new(name, size, MIN_PIECE_LEN, digest(b"f"), checkpoints);
        let torrent = torrent.expect("a torrent");
        let some = |blocks: &[usize]| {
            let mut set = BlockSet::NONE;
            blocks.iter().for_each(|block| set.insert(*block));
            Some(set)
        };
        let piece = u64::from(MIN_PIECE_LEN);
        for (idx, blocks, ranges) in [
            (0, None, &[(0, piece)][..]),
            (0, some(&[0, 1, 15]), &[(0, 8192), (61_440, 65_536)]),
            (1, None, &[(piece, size)]),
            (1, some(&[1]), &[(piece + 4096, size)]),
            // blocks that the piece hasn't, or none at all, mean all of it
            (1, some(&[7]), &[(piece, size)]),
            (1, some(&[]), &[(piece, size)]),
        ] {
            let found = ranges_of(&torrent, idx, blocks).into_iter();
            let found: Vec<(u64, u64)> = found.map(|range| (range.start, range.end)).collect();
            assert_eq!(found, ranges, "{idx}, {blocks:?}");
        }
    }
}
