//! Things with a number each, which stays the same while the thing is there. Pure.

use std::mem;
use std::ops::{Index, IndexMut};

/// Numbers are used again.
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Option<u32>,
}

enum Place<T> {
    Taken(T),
    /// With the next that is free: so a thing that goes needs no memory.
    Free(Option<u32>),
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        let (places, free) = (Vec::new(), None);
        Self { places, free }
    }

    pub(super) fn insert(&mut self, thing: T) -> u32 {
        let no = self.free.unwrap_or(self.places.len() as u32);
        match self.places.get_mut(no as usize) {
            None => self.places.push(Place::Taken(thing)),
            Some(place) => {
                if let Place::Free(next) = mem::replace(place, Place::Taken(thing)) {
                    self.free = next;
                }
            }
        }
        no
    }

    pub(super) fn get(&self, no: u32) -> Option<&T> {
        match self.places.get(no as usize)? {
            Place::Taken(thing) => Some(thing),
            Place::Free(_) => None,
        }
    }

    pub(super) fn remove(&mut self, no: u32) -> Option<T> {
        self.get(no)?;
        match mem::replace(&mut self.places[no as usize], Place::Free(self.free)) {
            Place::Taken(thing) => {
                self.free = Some(no);
                Some(thing)
            }
            Place::Free(_) => None,
        }
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, no: u32) -> &T {
        self.get(no).expect("who knows a number keeps its thing")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, no: u32) -> &mut T {
        match &mut self.places[no as usize] {
            Place::Taken(thing) => thing,
            Place::Free(_) => panic!("who knows a number keeps its thing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_stay_as_long_as_their_things() {
        let mut slab = Slab::new();
        let [a, b, c] = ["a", "b", "c"].map(|thing| slab.insert(thing));
        assert_eq!((slab.remove(a), slab.remove(c)), (Some("a"), Some("c")));
        assert_eq!(
            (slab.remove(a), slab.get(c), slab.get(7)),
            (None, None, None)
        );
        assert_eq!(
            [slab.insert("d"), slab.insert("e"), slab.insert("f")],
            [c, a, 3]
        );
        assert_eq!([c, a, 3, b].map(|no| slab[no]), ["d", "e", "f", "b"]);
    }
}
