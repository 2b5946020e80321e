//! Things with a number each, which stays the same while the thing is there. Pure.

use std::ops::{Index, IndexMut};

/// Numbers are used again.
pub(super) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        let (places, free) = (Vec::new(), Vec::new());
        Self { places, free }
    }

    pub(super) fn insert(&mut self, thing: T) -> u32 {
        let no = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.places[no as usize] = Some(thing);
        no
    }

    pub(super) fn get(&self, no: u32) -> Option<&T> {
        self.places.get(no as usize)?.as_ref()
    }

    pub(super) fn remove(&mut self, no: u32) -> Option<T> {
        let thing = self.places[no as usize].take();
        self.free.extend(thing.as_ref().map(|_| no));
        thing
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, no: u32) -> &T {
        let thing = &self.places[no as usize];
        thing.as_ref().expect("who knows a number keeps its thing")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, no: u32) -> &mut T {
        let thing = &mut self.places[no as usize];
        thing.as_mut().expect("who knows a number keeps its thing")
    }
}
