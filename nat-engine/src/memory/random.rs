//! Random numbers that nobody guesses.

use packet::keyed::KeyedHash;

/// Random numbers: the hash of a counter. Seeing some doesn't tell the next.
#[derive(Debug)]
pub(crate) struct Random {
    hash: KeyedHash,
    counter: u64,
}

impl Random {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self { hash: KeyedHash::new(seed, "random"), counter: 0 }
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u16, high: u16) -> u16 {
        self.counter += 1;
        let count = u64::from(high.saturating_sub(low)) + 1;
        let random = self.hash.of([self.counter, 0]) >> 32;
        low + ((random * count) >> 32) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_range_and_depend_on_the_seed() {
        let draw = |seed| {
            let mut random = Random::new([seed, 7]);
            [(); 64].map(|()| random.between(1024, u16::MAX))
        };
        assert!(draw(1).iter().all(|&port| port >= 1024));
        assert_ne!(draw(1), draw(2));
        let mut random = Random::new([1, 2]);
        assert_eq!(random.between(5, 5), 5);
        assert!((0..100).map(|_| random.between(0, 1)).any(|bit| bit == 1));
    }
}
