//! A set from which things can be drawn at random. A `HashSet` doesn't offer that: it has no n-th element.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Each thing stands in a list, and a map knows its place there.
pub(super) struct DrawSet<T> {
    items: Vec<T>,
    places: HashMap<T, usize>,
}

impl<T> Default for DrawSet<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> DrawSet<T> {
    /// Returns false if it was there already.
    pub(super) fn insert(&mut self, item: T) -> bool {
        if self.places.contains_key(&item) {
            return false;
        }
        self.places.insert(item.clone(), self.items.len());
        self.items.push(item);
        true
    }

    /// The last of the list moves into the gap. Returns false if the thing wasn't there.
    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, item: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        let Some(place) = self.places.remove(item) else {
            return false;
        };
        self.items.swap_remove(place);
        if let Some(moved) = self.items.get(place) {
            self.places.insert(moved.clone(), place);
        }
        true
    }

    /// All of them, in no order: an index drawn at random is a thing drawn at random.
    pub(super) fn as_slice(&self) -> &[T] {
        &self.items
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_there_once_and_goes_from_any_place() {
        let mut set = DrawSet::default();
        assert_eq!(
            [1, 2, 3, 2].map(|n| set.insert(n)),
            [true, true, true, false]
        );
        assert_eq!([1, 7].map(|n| set.remove(&n)), [true, false]);
        assert_eq!((set.as_slice(), set.len()), (&[3, 2][..], 2));
        assert_eq!([2, 3, 3].map(|n| set.remove(&n)), [true, true, false]);
        assert!(set.is_empty() && set.insert(1));
    }
}
