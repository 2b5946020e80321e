//! The names that were picked on the page, kept from one run with `--pick` to the next: `picked`, a list in JSON.

use super::Store;
use super::faults::StoreError;
use crate::torrent::Name;

/// The file in the hidden folder.
const PICKED: &str = "picked";
/// The most bytes of it that are read: more than 10,000 of the longest names have.
const LONGEST: usize = 4 << 20;

impl Store {
    /// Returns the names that an earlier run was told to fetch, without those that were whole here and were removed
    /// since. If that can't be read, there are none.
    pub fn picked(&self) -> Vec<Name> {
        let bytes = self.get_hidden(PICKED, LONGEST).ok().flatten();
        let bytes = bytes.unwrap_or_default();
        let mut names: Vec<Name> = serde_json::from_slice(&bytes).unwrap_or_default();
        names.retain(|name| self.exists(name) || !self.was_whole(name));
        names
    }

    fn was_whole(&self, name: &Name) -> bool {
        let known = self.known(name);
        known.iter().any(|known| known.stamp.is_some())
    }

    /// Keeps the names for the next run; what is asked for last is kept. If the folder is read-only, it does nothing and
    /// returns no error.
    ///
    /// # Errors
    /// Returns an error if they can't be written; then the next run doesn't know of them.
    pub fn save_picked(&self, names: impl FnOnce() -> Vec<Name>) -> Result<(), StoreError> {
        let _turn = self.picking.lock().expect("no panic while locked");
        let bytes = serde_json::to_vec(&names()).expect("plain data");
        self.put_hidden(PICKED, &bytes, false)
    }
}
