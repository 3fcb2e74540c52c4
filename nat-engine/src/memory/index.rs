//! From keyed hashes to numbers, by one cache line per look-up.
//!
//! ```text
//! hash ─▶ line: [tag:8 × 12][passed:32][number:32 × 12]
//!                0: free     how many were meant for this line or one before, and found it full
//! ```
//!
//! A number is in the first line, from that of its hash on, that had room for it; a search ends at a line that nobody had
//! to pass. So what is removed leaves nothing behind, and a full table of fixed size works as well as it did on its first
//! day. A tag is 8 bits of the hash: one look-up in 20 meets a wrong number and has to be told so.
//!
//! Under a secret key nobody can choose hashes that fill a line.

/// Numbers above zero by the hashes of their keys, which the user of the table keeps.
#[derive(Debug)]
pub(crate) struct Index {
    /// Zeros from the system, which cost nothing before they are used.
    words: Vec<u32>,
    /// Where in `words` the first cache line starts.
    start: usize,
    lines: usize,
    len: usize,
}

type Line = [u32; WORDS];

impl Index {
    pub(crate) fn new() -> Self {
        Self::with_lines(1)
    }

    /// Makes room for `limit` numbers: 7 bytes each. `hash` tells the hash of one.
    pub(crate) fn reserve(&mut self, limit: usize, hash: impl Fn(u32) -> u64) {
        let lines = limit.div_ceil(WELL_FILLED).max(1);
        if lines != self.lines && lines * WELL_FILLED >= self.len {
            let numbers: Vec<u32> = self.numbers().collect();
            *self = Self::with_lines(lines);
            numbers.into_iter().for_each(|number| self.put(hash(number), number));
        }
    }

    fn with_lines(lines: usize) -> Self {
        let words = vec![0; (lines + 1) * WORDS];
        let start = words.as_ptr().align_offset(LINE_BYTES).min(WORDS);
        Self { words, start, lines, len: 0 }
    }

    /// The number with this hash that is the right one.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut place = self.home(hash);
        for _ in 0..self.lines {
            let line = self.line(place);
            let mut slots = slots_with(line, tag(hash));
            while slots != 0 {
                let number = line[NUMBERS + first(slots)];
                if is_it(number) {
                    return Some(number);
                }
                slots &= slots - 1;
            }
            if line[PASSED] == 0 {
                break;
            }
            place = self.next(place);
        }
        None
    }

    /// Reads what [`find`](Self::find) reads first. The value has no meaning.
    #[inline]
    pub(crate) fn touch(&self, hash: u64) -> u32 {
        self.line(self.home(hash))[PASSED]
    }

    /// Adds a number. `hash_of` tells the hash of one that is here already.
    pub(crate) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        if self.len >= self.lines * WELL_FILLED {
            self.reserve(self.len * 2, hash_of);
        }
        self.put(hash, number);
    }

    /// Removes a number that was added with this hash, if it is there.
    pub(crate) fn remove(&mut self, hash: u64, number: u32) {
        let home = self.home(hash);
        let mut place = home;
        for _ in 0..self.lines {
            let line = self.line_mut(place);
            if let Some(slot) = line[NUMBERS..].iter().position(|&other| other == number) {
                set(line, slot, FREE, 0);
                self.len -= 1;
                while place != home {
                    place = if place == 0 { self.lines - 1 } else { place - 1 };
                    self.line_mut(place)[PASSED] -= 1;
                }
                return;
            }
            if line[PASSED] == 0 {
                return;
            }
            place = self.next(place);
        }
    }

    /// There is room.
    fn put(&mut self, hash: u64, number: u32) {
        self.len += 1;
        let mut place = self.home(hash);
        loop {
            let line = self.line_mut(place);
            let free = slots_with(line, FREE);
            if free != 0 {
                return set(line, first(free), tag(hash), number);
            }
            line[PASSED] += 1;
            place = self.next(place);
        }
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        let lines = (0..self.lines).map(|place| self.line(place));
        lines.flat_map(|line| &line[NUMBERS..]).copied().filter(|&number| number != 0)
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines as u64) >> 32) as usize
    }

    #[inline]
    const fn next(&self, place: usize) -> usize {
        if place + 1 == self.lines { 0 } else { place + 1 }
    }

    #[inline]
    fn line(&self, place: usize) -> &Line {
        &self.words[self.start..].as_chunks().0[place]
    }

    #[inline]
    fn line_mut(&mut self, place: usize) -> &mut Line {
        &mut self.words[self.start..].as_chunks_mut().0[place]
    }
}

/// The slots of a line that have this tag: the highest bit of each one's byte.
#[inline]
fn slots_with(line: &Line, tag: u8) -> u128 {
    let word = |at: usize| u128::from(line[at]) << (32 * at);
    let different = (word(0) | word(1) | word(2)) ^ (u128::from(tag) * LOWEST_BITS);
    let is_zero = !(((different & OTHER_BITS) + OTHER_BITS) | different | OTHER_BITS);
    is_zero & TAGS
}

#[inline]
const fn first(slots: u128) -> usize {
    slots.trailing_zeros() as usize / 8
}

fn set(line: &mut Line, slot: usize, tag: u8, number: u32) {
    let shift = slot % 4 * 8;
    line[slot / 4] = line[slot / 4] & !(0xff << shift) | u32::from(tag) << shift;
    line[NUMBERS + slot] = number;
}

/// Other bits than those that choose the line.
#[inline]
const fn tag(hash: u64) -> u8 {
    let tag = hash as u8;
    if tag == FREE { 1 } else { tag }
}

const LINE_BYTES: usize = 64;
const WORDS: usize = LINE_BYTES / size_of::<u32>();
/// The tags before it, and the numbers behind it.
const PASSED: usize = 3;
const NUMBERS: usize = PASSED + 1;
const FREE: u8 = 0;
/// Numbers in a line on average when the table is full. With 9 of 12, one in 8 lines is passed by one in 60 numbers.
const WELL_FILLED: usize = 9;

const TAGS: u128 = (1 << 96) - 1;
const LOWEST_BITS: u128 = u128::MAX / 0xff;
const OTHER_BITS: u128 = LOWEST_BITS * 0x7f;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A hash that puts numbers into few lines.
    fn crowded(number: u32) -> u64 {
        u64::from(number % 5) << 61 | u64::from(number % 3)
    }

    fn find(index: &Index, number: u32) -> Option<u32> {
        index.find(crowded(number), |other| other == number)
    }

    proptest! {
        #[test]
        fn it_is_a_set_of_numbers_whatever_their_hashes(
            steps in prop::collection::vec((0_u8..8, 1_u32..200), 0..600), limit in 0_usize..200,
        ) {
            let (mut index, mut model) = (Index::new(), BTreeSet::new());
            index.reserve(limit, crowded);
            for (step, number) in steps {
                if step == 0 {
                    index.reserve(number as usize, crowded);
                } else if model.contains(&number) {
                    prop_assert_eq!(find(&index, number), Some(number));
                    index.remove(crowded(number), number);
                    model.remove(&number);
                } else {
                    prop_assert_eq!(find(&index, number), None);
                    index.remove(crowded(number), number);
                    index.insert(crowded(number), number, crowded);
                    model.insert(number);
                }
                prop_assert_eq!(index.numbers().collect::<BTreeSet<_>>(), model.clone());
            }
            model.iter().for_each(|&number| index.remove(crowded(number), number));
            prop_assert!(index.words.iter().all(|&word| word == 0));
        }
    }

    #[test]
    fn lines_are_those_of_the_cache() {
        let mut index = Index::new();
        index.reserve(1000, |_| 0);
        assert_eq!(index.line(0).as_ptr().addr() % LINE_BYTES, 0);
        assert_eq!(index.lines, 112);
    }
}
