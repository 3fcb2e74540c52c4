//! Things of one kind at stable places, with the places of removed ones used again.

use std::num::NonZeroU32;
use std::ops::{Index, IndexMut, Range};

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

/// The things, and between them the free places, each of which knows the next one. Never shrinks.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Option<Id>,
    len: usize,
}

/// No larger than a `T` with a niche and 4 bytes beside it.
#[derive(Debug)]
enum Slot<T> {
    Used(T),
    Free(Option<Id>),
}

impl<T> Slab<T> {
    /// What a place takes.
    pub(crate) const BYTES: usize = size_of::<Slot<T>>();

    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: None, len: 0 }
    }

    /// Makes room for `limit` things, if that much memory can be promised.
    pub(crate) fn reserve(&mut self, limit: usize) {
        let _ = self.slots.try_reserve_exact(limit.saturating_sub(self.slots.len()));
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Places, free ones included.
    pub(crate) const fn places(&self) -> usize {
        self.slots.len()
    }

    /// The places in use among these, counted from 0.
    pub(crate) fn ids_in(&self, places: Range<usize>) -> impl Iterator<Item = Id> + '_ {
        let used = move |&place: &usize| matches!(self.slots.get(place), Some(Slot::Used(_)));
        (places.start..places.end.min(self.places())).filter(used).map(|place| Id::new(place as u32 + 1))
    }

    #[inline]
    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        match self.slots.get(id.index()) {
            Some(Slot::Used(item)) => Some(item),
            _ => None,
        }
    }

    /// The caller keeps [`len`](Self::len) below [`Id::LIMIT`] - 1.
    pub(crate) fn insert(&mut self, item: T) -> Id {
        self.len += 1;
        let free = self.free.and_then(|id| self.slots.get_mut(id.index()).map(|slot| (id, slot)));
        let Some((id, slot)) = free else {
            self.slots.push(Slot::Used(item));
            return Id::new(self.slots.len() as u32);
        };
        if let Slot::Free(next) = std::mem::replace(slot, Slot::Used(item)) {
            self.free = next;
        }
        id
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| matches!(slot, Slot::Used(_)))?;
        let Slot::Used(item) = std::mem::replace(slot, Slot::Free(self.free)) else { return None };
        self.free = Some(id);
        self.len -= 1;
        Some(item)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        let used = |slot: &Slot<T>| matches!(slot, Slot::Used(_));
        (1..).zip(&self.slots).filter(move |(_, slot)| used(slot)).map(|(number, _)| Id::new(number))
    }
}

/// Ids are held by tables that drop theirs when they remove the thing.
const GONE: &str = "an id outlived its thing";

impl<T> Index<Id> for Slab<T> {
    type Output = T;
    #[inline]
    fn index(&self, id: Id) -> &T {
        match &self.slots[id.index()] {
            Slot::Used(item) => item,
            Slot::Free(_) => unreachable!("{GONE}"),
        }
    }
}

impl<T> IndexMut<Id> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, id: Id) -> &mut T {
        match &mut self.slots[id.index()] {
            Slot::Used(item) => item,
            Slot::Free(_) => unreachable!("{GONE}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_the_last_free_one_first() {
        let mut slab = Slab::new();
        let [a, b, c] = ["a", "b", "c"].map(|item| slab.insert(item));
        assert_eq!((slab[a], slab[b], slab[c], slab.len()), ("a", "b", "c", 3));
        assert_eq!((slab.remove(a), slab.remove(a), slab.len()), (Some("a"), None, 2));
        assert_eq!(slab.remove(b), Some("b"));
        assert_eq!(slab.ids().collect::<Vec<_>>(), [c]);
        assert_eq!(["d", "e", "f"].map(|item| slab.insert(item)), [b, a, Id::new(4)]);
        assert_eq!((slab[b], slab.len()), ("d", 4));
    }
}
