//! Every name that is listed or published: who has it, how rare each piece is, and the list of files ready to be sent. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Index, IndexMut};
use std::sync::{Arc, OnceLock};

use rand::{Rng, RngExt};

use super::LIST_ROOM;
use super::counts::Counts;
use super::ends::{Ends, View};
use super::has::{FileNo, Held, PeerNo};
use super::publisher::Publisher;
use super::slab::Slab;
use crate::bitfield::Bitfield;
use crate::protocol::{Summary, to_bytes};

/// Of so many holders of a file's rarest pieces the tracker knows the names: the last that listed.
pub(super) const RARE_KEPT: usize = 16;
/// Lists of files that are kept ready: one for each address of this machine at which peers reach it, of which it has few.
const VIEWS: usize = 8;

/// One name.
pub(super) struct File {
    pub(super) name: Arc<str>,
    /// What is published under it.
    pub(super) record: Option<Arc<Summary>>,
    /// Who published that.
    pub(super) publisher: Publisher,
    /// Who lists it, in no order.
    pub(super) holders: Vec<PeerNo>,
    /// How many have each piece, where it is published in several.
    pub(super) counts: Arc<Counts>,
    /// Some of those who have one of the rarest pieces, as of their last list.
    pub(super) rare: Vec<PeerNo>,
    /// Its place in [`Files::live`].
    live_at: Option<u32>,
}

/// Invariant: a file is here while it has a record or a holder, and in `live` while it has both.
pub(super) struct Files {
    all: Slab<File>,
    by_name: BTreeMap<Arc<str>, FileNo>,
    pub(super) live: Vec<FileNo>,
    /// The live files as they are told, until one of them changes.
    ready: Vec<(View, Arc<FileList>)>,
}

/// The live files of one moment, as those with one [`View`] are told of them.
pub(super) struct FileList {
    /// Another number for each list that differs: who names it knows the list.
    pub(super) edition: u64,
    files: Vec<Arc<Summary>>,
    asker: Ends,
    /// Written by the first who tells of it, without a lock.
    text: OnceLock<Box<[u8]>>,
}

/// Editions are below this: other languages' programs know whole numbers up to here.
const EDITIONS: u64 = 1 << 53;

impl Index<FileNo> for Files {
    type Output = File;

    fn index(&self, no: FileNo) -> &File {
        &self.all[no]
    }
}

impl IndexMut<FileNo> for Files {
    fn index_mut(&mut self, no: FileNo) -> &mut File {
        &mut self.all[no]
    }
}

impl Files {
    pub(super) fn new() -> Self {
        Self {
            all: Slab::new(),
            by_name: BTreeMap::new(),
            live: Vec::new(),
            ready: Vec::new(),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<FileNo> {
        self.by_name.get(name).copied()
    }

    /// What is published under a name.
    #[cfg(test)]
    pub(super) fn record(&self, name: &str) -> Option<&Summary> {
        self.all[self.find(name)?].record.as_deref()
    }

    /// The number of a name: a new one where nobody has listed it.
    pub(super) fn intern(&mut self, name: &str) -> FileNo {
        self.find(name).unwrap_or_else(|| self.renew(name))
    }

    /// A new number for a name: nothing that was listed is of this file. What has the old number is nameless.
    pub(super) fn renew(&mut self, name: &str) -> FileNo {
        let name: Arc<str> = name.into();
        let no = self.all.insert(File {
            name: Arc::clone(&name),
            record: None,
            publisher: Publisher::default(),
            holders: Vec::new(),
            counts: Arc::default(),
            rare: Vec::new(),
            live_at: None,
        });
        self.by_name.insert(name, no);
        no
    }

    /// What has this number, where there is anything.
    pub(super) fn get(&self, no: FileNo) -> Option<&File> {
        self.all.get(no)
    }

    /// Whether a number is still that of this very file.
    pub(super) fn is(&self, no: FileNo, name: &Arc<str>) -> bool {
        let file = self.all.get(no);
        file.is_some_and(|file| Arc::ptr_eq(&file.name, name))
    }

    /// A published file as it stands in the list of who has all of it.
    pub(super) fn whole(&self, no: FileNo) -> Held {
        let file = &self.all[no];
        let n_pieces = file.counts.n_pieces();
        Held {
            file: no,
            name: Arc::clone(&file.name),
            named: n_pieces == 0,
            bits: (n_pieces > 0).then(|| Bitfield::full(n_pieces)),
            list: 0,
        }
    }

    /// Nothing of a file yet.
    pub(super) fn none(&self, no: FileNo) -> Held {
        Held {
            file: no,
            name: Arc::clone(&self.all[no].name),
            named: false,
            bits: None,
            list: 0,
        }
    }

    /// Puts a record to a file that has none, and of which nobody holds pieces.
    pub(super) fn set_record(&mut self, no: FileNo, record: Summary, publisher: Publisher) {
        let file = &mut self.all[no];
        file.publisher = publisher;
        if record.n_pieces > 1 {
            file.counts = Counts::new(record.n_pieces).into();
        }
        file.record = Some(Arc::new(record));
        self.settle(no);
    }

    /// Takes a file's record away.
    pub(super) fn take_record(&mut self, no: FileNo) -> Option<Arc<Summary>> {
        let record = self.all[no].record.take();
        self.settle(no);
        record
    }

    /// A peer lists it. Returns its place among the holders.
    pub(super) fn join(&mut self, no: FileNo, peer: PeerNo) -> u32 {
        let holders = &mut self.all[no].holders;
        holders.push(peer);
        let place = holders.len() as u32 - 1;
        self.settle(no);
        place
    }

    /// What a peer has of a file was replaced: counts the pieces that came and went, and sees whether it has one of the
    /// rarest.
    pub(super) fn recount(
        &mut self,
        no: FileNo,
        peer: PeerNo,
        old: Option<&Held>,
        new: Option<&Held>,
    ) {
        let file = &mut self.all[no];
        let [old, new] = [old, new].map(|held| held.and_then(|held| held.bits.as_ref()));
        if old != new {
            Arc::make_mut(&mut file.counts).replace(old, new);
        }
        file.rare.retain(|other| *other != peer);
        let Some(new) = new else { return };
        if file.counts.are_rarest(new) {
            if file.rare.len() >= RARE_KEPT {
                file.rare.remove(0);
            }
            file.rare.push(peer);
        }
    }

    /// The holder at this place lists it no more. Returns who has that place now.
    pub(super) fn leave(&mut self, no: FileNo, place: u32) -> Option<PeerNo> {
        let file = &mut self.all[no];
        let left = file.holders.swap_remove(place as usize);
        file.rare.retain(|peer| *peer != left);
        let moved = file.holders.get(place as usize).copied();
        self.settle(no);
        moved
    }

    /// Keeps the invariant after a change of one file.
    fn settle(&mut self, no: FileNo) {
        let file = &mut self.all[no];
        let live = file.record.is_some() && !file.holders.is_empty();
        match file.live_at {
            None if live => {
                file.live_at = Some(self.live.len() as u32);
                self.live.push(no);
                self.ready.clear();
            }
            Some(at) if !live => {
                file.live_at = None;
                self.live.swap_remove(at as usize);
                if let Some(moved) = self.live.get(at as usize) {
                    self.all[*moved].live_at = Some(at);
                }
                self.ready.clear();
            }
            _ => {}
        }
        let file = &self.all[no];
        if file.record.is_none() && file.holders.is_empty() {
            if self.by_name.get(&file.name) == Some(&no) {
                self.by_name.remove(&file.name);
            }
            self.all.remove(no);
        }
    }

    /// A live file's record is told otherwise from now on.
    pub(super) fn tell_anew(&mut self, no: FileNo) {
        if self.all[no].live_at.is_some() {
            self.ready.clear();
        }
    }

    /// Changes what is told of a file's record.
    pub(super) fn change_record(&mut self, no: FileNo, change: impl FnOnce(&mut Summary)) {
        if let Some(record) = &mut self.all[no].record {
            change(Arc::make_mut(record));
            self.tell_anew(no);
        }
    }

    /// Whether its record is told: it has one, and somebody has the file.
    pub(super) fn is_live(&self, no: FileNo) -> bool {
        self.all[no].live_at.is_some()
    }

    /// The list that is ready for who asks.
    pub(super) fn ready(&self, asker: Ends) -> Option<Arc<FileList>> {
        let view = asker.view();
        let (_, ready) = self.ready.iter().find(|(of, _)| *of == view)?;
        Some(Arc::clone(ready))
    }

    /// Makes the list of these files ready for who asks.
    pub(super) fn make_ready(
        &mut self,
        files: Vec<Arc<Summary>>,
        asker: Ends,
        rng: &mut impl Rng,
    ) -> Arc<FileList> {
        if self.ready.len() >= VIEWS {
            self.ready.clear();
        }
        let ready = Arc::new(FileList {
            edition: rng.random_range(..EDITIONS),
            files,
            asker,
            text: OnceLock::new(),
        });
        self.ready.push((asker.view(), Arc::clone(&ready)));
        ready
    }
}

impl FileList {
    /// As it goes over the wire.
    pub(super) fn text(&self) -> &[u8] {
        self.text.get_or_init(|| {
            let mut text = Vec::new();
            for record in &self.files {
                let begin = text.len();
                text.extend_from_slice(if begin == 0 { b"" } else { b"," });
                text.extend_from_slice(&to_bytes(&summary_for(record, self.asker)));
                if text.len() > LIST_ROOM {
                    text.truncate(begin);
                }
            }
            text.into()
        })
    }
}

/// A record as the asker is told it: with its publisher's address as the asker finds it.
pub fn summary_for(record: &Summary, asker: Ends) -> Summary {
    let mut summary = record.clone();
    let found = |text: &str| {
        let addr: SocketAddr = text.parse().ok()?;
        Some(SocketAddr::new(asker.finds(addr.ip()), addr.port()).to_string())
    };
    let others = summary.others.iter_mut().map(|other| &mut other.peer);
    for addr in others.chain([&mut summary.publisher]) {
        if let Some(found) = found(addr) {
            *addr = found;
        }
    }
    summary
}
