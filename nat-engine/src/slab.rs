//! Things of one kind at stable places, with the places of removed ones used again.

use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

/// A place in a [`Slab`]. `Option<Id>` takes 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Id(NonZeroU32);

impl Id {
    /// One more than the largest number: one bit is left for users that store a flag beside it.
    pub(crate) const LIMIT: u32 = 1 << 31;

    /// The number, 1 to `LIMIT - 1`.
    #[inline]
    pub(crate) const fn get(self) -> u32 {
        self.0.get()
    }

    /// The place with this number, which came from [`get`](Self::get).
    #[inline]
    pub(crate) const fn new(number: u32) -> Self {
        match NonZeroU32::new(number) {
            Some(number) => Self(number),
            None => Self(NonZeroU32::MIN),
        }
    }

    /// Counts from 0, for tables beside the slab.
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// The things and the free places. Never shrinks. `Option<T>` should be no larger than `T`.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    items: Vec<Option<T>>,
    free: Vec<Id>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }

    /// Makes room for `limit` things, if that much memory can be promised.
    pub(crate) fn reserve(&mut self, limit: usize) {
        let missing = limit.saturating_sub(self.items.len());
        let _ = self.items.try_reserve_exact(missing);
        let _ = self.free.try_reserve_exact(limit.saturating_sub(self.free.len()));
    }

    pub(crate) const fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// The caller keeps [`len`](Self::len) below [`Id::LIMIT`] - 1.
    pub(crate) fn insert(&mut self, item: T) -> Id {
        if let Some(id) = self.free.pop() {
            self.items[id.index()] = Some(item);
            return id;
        }
        self.items.push(Some(item));
        Id::new(self.items.len() as u32)
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let item = self.items.get_mut(id.index())?.take()?;
        self.free.push(id);
        Some(item)
    }
}

/// Ids are held by tables that drop theirs when they remove the thing.
const GONE: &str = "an id outlived its thing";

impl<T> Index<Id> for Slab<T> {
    type Output = T;
    #[inline]
    fn index(&self, id: Id) -> &T {
        self.items[id.index()].as_ref().expect(GONE)
    }
}

impl<T> IndexMut<Id> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, id: Id) -> &mut T {
        self.items[id.index()].as_mut().expect(GONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again() {
        let mut slab = Slab::new();
        let [a, b] = ["a", "b"].map(|item| slab.insert(item));
        assert_eq!((slab[a], slab[b], slab.len()), ("a", "b", 2));
        assert_eq!((slab.remove(a), slab.remove(a), slab.len()), (Some("a"), None, 1));
        assert_eq!(slab.insert("c"), a);
    }
}
