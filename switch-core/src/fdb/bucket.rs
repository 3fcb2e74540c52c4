//! Eight keys in one cache line, their values in the next.

use super::entry::{Key, Value};
use crate::sync::{AtomicU64, Ordering};

#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Bucket {
    keys: [AtomicU64; SLOTS],
    values: [AtomicU64; SLOTS],
}

/// Slots in a bucket: eight keys are one cache line.
pub(super) const SLOTS: usize = 8;
/// A model checker's atomics are larger.
const _: () = assert!(size_of::<Bucket>() == 128 || size_of::<AtomicU64>() > 8);
impl Bucket {
    /// Looks at all slots before it decides: eight comparisons cost less than one wrong guess of where the key is.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<Slot<'_>> {
        let mut found = SLOTS;
        for (index, word) in self.keys.iter().enumerate() {
            found = if word.load(Ordering::Relaxed) == key.0 { index } else { found };
        }
        (found < SLOTS).then_some(Slot { bucket: self, index: found })
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..SLOTS).map(|index| Slot { bucket: self, index })
    }
}

#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    bucket: &'a Bucket,
    index: usize,
}

impl<'a> Slot<'a> {
    pub(super) fn key_word(&self) -> &'a AtomicU64 {
        &self.bucket.keys[self.index]
    }

    pub(super) fn value_word(&self) -> &'a AtomicU64 {
        &self.bucket.values[self.index]
    }

    pub(super) fn key(&self) -> Key {
        Key(self.key_word().load(Ordering::Relaxed))
    }

    pub(super) fn value(&self) -> Value {
        Value(self.value_word().load(Ordering::Relaxed))
    }
}
