//! What holds for any bytes that somebody sends. The tests next door give it damaged messages, and `tests/fuzz` whatever a
//! fuzzer comes up with. Each function returns whether the bytes were understood.

use std::fmt::Debug;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use bittorrentish::bitfield::Bitfield;
use bittorrentish::md5::Digest;
use bittorrentish::protocol::{
    Answer, Ask, Cap, FirstMessage, Get, Have, LIST_CAP, PEER_CAP, PeerEntry, PieceHeader, Pieces,
    PingAnswer, Reply, TORRENT_CAP, ToTracker, parse, read_message, read_value, to_bytes,
};
use bittorrentish::store::Saved;
use bittorrentish::torrent::{MAX_NAME, MIN_PIECE_LEN, Name, Torrent, legible};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most characters in the text of an error: people read it, and it goes over the wire in an answer of 4,096 bytes.
const ERROR_TEXT: usize = 2100;

/// As messages to the tracker.
pub fn to_tracker(bytes: &[u8]) -> bool {
    let Some(message) = message::<ToTracker>(bytes, TORRENT_CAP) else {
        return false;
    };
    match &message {
        ToTracker::Ping { .. } => {}
        ToTracker::FileList { list, .. } => {
            list.files.iter().for_each(|name| _ = text(name));
            digits(list.pieces.values());
        }
        ToTracker::Publish { files, .. } => files
            .iter()
            .filter_map(|file| file.torrent.as_ref())
            .for_each(torrent_fits),
        ToTracker::GetTorrent { name } => name_is_plain(name),
        ToTracker::Report(report) => report
            .files
            .iter()
            .for_each(|file| name_is_plain(&file.name)),
        ToTracker::Status { .. } => {}
    }
    true
}

/// As a tracker's answers.
pub fn from_tracker(bytes: &[u8]) -> bool {
    let entries = |peers: &[PeerEntry]| {
        for peer in peers {
            peer.file_list.iter().for_each(|name| _ = text(name));
            digits(peer.pieces.values());
        }
    };
    let list = message::<PingAnswer>(bytes, LIST_CAP);
    match &list {
        Some(PingAnswer::Ours(list)) => {
            entries(&list.peers);
            list.torrents
                .iter()
                .flatten()
                .for_each(|summary| name_is_plain(&summary.name));
        }
        Some(PingAnswer::Original(peers)) => entries(peers),
        Some(PingAnswer::Refused(_)) | None => {}
    }
    let reply = message::<Reply>(bytes, TORRENT_CAP);
    reply
        .iter()
        .filter_map(|reply| reply.torrent.as_ref())
        .for_each(torrent_fits);
    list.is_some() || reply.is_some()
}

/// As messages between peers, of either side.
pub fn between_peers(bytes: &[u8]) -> bool {
    all_that_come(bytes);
    let haves = |have: &[Have]| {
        for have in have {
            name_is_plain(&have.name);
            pieces_fit(&have.pieces);
        }
    };
    let first = message::<FirstMessage>(bytes, PEER_CAP);
    if let Some(FirstMessage::Original { filename }) = &first {
        text(filename);
    }
    let ask = message::<Ask>(bytes, PEER_CAP);
    match &ask {
        Some(Ask::Hello(hello)) => haves(&hello.have),
        Some(Ask::Get(get)) => name_is_plain(&get.name),
        None => {}
    }
    assert!(
        ask.is_none() || first.is_some(),
        "whatever is asked may be asked first"
    );
    let answer = message::<Answer>(bytes, PEER_CAP);
    match &answer {
        Some(Answer::Hello(hello)) => haves(&hello.have),
        Some(Answer::Piece(PieceHeader { news, .. }) | Answer::News { news, .. }) => haves(news),
        Some(Answer::Gone { name, .. }) => name_is_plain(name),
        Some(Answer::Refused { .. }) | None => {}
    }
    first.is_some() || answer.is_some()
}

/// As what lies on a disk: a `.torrent`, and what a client remembers of a file.
pub fn on_disk(bytes: &[u8]) -> bool {
    let torrent = serde_json::from_slice::<Torrent>(bytes);
    if let Ok(torrent) = &torrent {
        torrent_fits(torrent);
        assert_eq!(&again(torrent), torrent);
    }
    let saved = serde_json::from_slice::<Saved>(bytes);
    if let Ok(saved) = &saved {
        torrent_fits(&saved.torrent);
        let (stamp, verified, torrent) = (saved.stamp, saved.verified, saved.torrent.clone());
        let saved = again(saved);
        assert_eq!(
            (saved.stamp, saved.verified, saved.torrent),
            (stamp, verified, torrent)
        );
    }
    torrent.is_ok() || saved.is_ok()
}

/// As the name of a file or a piece, and whatever else is told in a string.
pub fn names(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(text)
}

fn text(text: &str) -> bool {
    let name = Name::parse(text);
    if let Ok(name) = &name {
        name_is_plain(name);
        assert_eq!(name.as_str(), text);
    }
    let piece = Name::parse_piece(text);
    if let Some((name, idx)) = &piece {
        name_is_plain(name);
        assert_eq!(name.of_piece(*idx), text, "a piece has one name");
        assert!(Name::parse(text).is_err(), "and no file has it");
    }
    let shown = legible(text);
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    if text.len() <= 64 {
        pieces_fit(&Pieces::Digits(text.to_owned()));
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text.to_ascii_lowercase());
    }
    name.is_ok() || piece.is_some()
}

fn name_is_plain(name: &Name) {
    let text = name.as_str();
    assert!(
        (1..=MAX_NAME).contains(&text.len())
            && !text.starts_with('.')
            && !text.contains(['/', '\0']),
        "{text:?}"
    );
    assert!(!name.to_string().chars().any(char::is_control), "{text:?}");
    for idx in [0, 9998, 9999, u32::MAX - 1] {
        assert_eq!(
            Name::parse_piece(&name.of_piece(idx)),
            Some((name.clone(), idx))
        );
    }
    assert_eq!(&again(name), name);
}

/// Its pieces tile the file: each begins where the one before it ends.
fn torrent_fits(torrent: &Torrent) {
    name_is_plain(torrent.name());
    let (full, mut end) = (torrent.full_piece_len(), 0);
    assert!(full >= MIN_PIECE_LEN as usize && full.is_power_of_two());
    for idx in 0..torrent.n_pieces() {
        assert_eq!(torrent.piece_start(idx), end);
        let len = torrent.piece_len(idx);
        assert!(len == full || len < full && idx + 1 == torrent.n_pieces() && len > 0);
        assert!(torrent.verify(idx, &[]).is_err(), "a piece is never empty");
        end += len as u64;
    }
    assert_eq!(end, torrent.size());
}

fn digits<'a>(all: impl Iterator<Item = &'a String>) {
    all.for_each(|digits| pieces_fit(&Pieces::Digits(digits.clone())));
}

/// Whatever they are taken for, they are pieces of a file that has so many.
fn pieces_fit(pieces: &Pieces) {
    let by_len = match pieces {
        Pieces::Digits(digits) => digits.len().saturating_mul(4),
        Pieces::These(idxs) => idxs.iter().max().map_or(0, |last| *last as usize + 1),
    };
    // no file has more pieces than its `.torrent` can have checkpoints
    let by_len = by_len.min(TORRENT_CAP / 32 / 16) as u32;
    for n in [0, 1, 7, 8, 9, 64, 65, by_len, by_len.saturating_sub(3)] {
        let Some(bits) = pieces.bits(n) else { continue };
        let idxs: Vec<u32> = bits.iter().collect();
        assert!(bits.len() == n && idxs.len() == bits.count() as usize);
        assert!(idxs.is_sorted() && idxs.last().is_none_or(|last| *last < n));
        assert_eq!(Bitfield::from_hex(&bits.to_hex(), n), Some(bits.clone()));
        assert_eq!(again(&Pieces::of(&bits)).bits(n), Some(bits));
    }
}

/// A value as it comes back from its own JSON.
fn again<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let json = to_bytes(value);
    parse(&json).unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(&json)))
}

/// The first message in `bytes`, where there is one.
fn message<T: Serialize + DeserializeOwned + Alike + Debug>(bytes: &[u8], cap: usize) -> Option<T> {
    let (read, taken) = read_from::<T>(&mut &*bytes, cap);
    // it is the same however it arrives
    let mut in_drops = BufReader::with_capacity(7, bytes);
    let (dripped, _) = read_from::<T>(&mut in_drops, cap);
    match (&read, &dripped) {
        (Ok(read), Ok(dripped)) => assert_eq!(read, dripped),
        (Err(read), Err(dripped)) => assert_eq!(read.kind(), dripped.kind()),
        _ => panic!("{read:?} at once, {dripped:?} in drops"),
    }
    let message = match read {
        Ok(message) => message?,
        Err(fault) => {
            let why = fault.to_string();
            assert!(
                matches!(
                    fault.kind(),
                    ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                ),
                "{why}"
            );
            assert!(why.chars().count() <= ERROR_TEXT, "{} bytes", why.len());
            assert!(!why.chars().any(char::is_control), "{why:?}");
            return None;
        }
    };
    let whole = bytes[..taken].trim_ascii_start();
    for cut in [1, 2, whole.len() / 2, whole.len() - 1] {
        is_cut_short::<T>(&whole[..cut.min(whole.len() - 1)]);
    }
    // the cap is kept to the byte
    assert!(read_from::<T>(&mut &*whole, whole.len()).0.is_ok());
    let over = read_from::<T>(&mut &*whole, whole.len() - 1).0;
    assert_eq!(
        over.expect_err("a byte over").kind(),
        ErrorKind::InvalidData
    );
    let written = again(&message);
    assert!(written.is_like(&message), "{message:?}, then {written:?}");
    Some(message)
}

/// Part of a message is never taken for one.
fn is_cut_short<T: DeserializeOwned + Debug>(part: &[u8]) {
    match read_message::<T>(&mut &*part, TORRENT_CAP) {
        Err(fault) => assert_eq!(fault.kind(), ErrorKind::UnexpectedEof, "{fault}"),
        Ok(None) => assert!(part.trim_ascii().is_empty()),
        Ok(Some(taken)) => panic!("{taken:?} of a part"),
    }
}

/// Reads a message; with how many bytes were taken for it.
fn read_from<T: DeserializeOwned>(
    stream: &mut impl BufRead,
    cap: impl Cap,
) -> (io::Result<Option<T>>, usize) {
    let mut counting = Counting { stream, taken: 0 };
    let read = read_message(&mut counting, cap);
    (read, counting.taken)
}

/// Reads all values that follow each other: nothing of one goes to the next, and each takes something.
fn all_that_come(bytes: &[u8]) {
    let (mut rest, mut values) = (bytes, 0);
    while let Ok(Some(value)) = read_value(&mut rest, PEER_CAP) {
        assert!(bytes[..bytes.len() - rest.len()].ends_with(&value));
        values += value.len();
    }
    assert!(values <= bytes.len() - rest.len());
}

/// A stream, and how much was taken from it.
struct Counting<'a, S> {
    stream: &'a mut S,
    taken: usize,
}

impl<S: BufRead> Read for Counting<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let came = self.stream.read(buf)?;
        self.taken += came;
        Ok(came)
    }
}

impl<S: BufRead> BufRead for Counting<'_, S> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount;
        self.stream.consume(amount);
    }
}

/// The same, but for the last bits of a fraction: read from its decimal digits, it may be its neighbour.
trait Alike: PartialEq {
    fn is_like(&self, other: &Self) -> bool {
        self == other
    }
}

impl Alike for ToTracker {}
impl Alike for PingAnswer {}
impl Alike for Reply {}
impl Alike for Answer {}

impl Alike for FirstMessage {
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ours(one), Self::Ours(other)) => one.is_like(other),
            _ => self == other,
        }
    }
}

impl Alike for Ask {
    fn is_like(&self, other: &Self) -> bool {
        let waitless = |get: &Get| Get {
            wait: 0.0,
            ..get.clone()
        };
        match (self, other) {
            (Self::Get(one), Self::Get(other)) => {
                waitless(one) == waitless(other)
                    && (one.wait - other.wait).abs() <= one.wait.abs() * 4.0 * f64::EPSILON
            }
            _ => self == other,
        }
    }
}
