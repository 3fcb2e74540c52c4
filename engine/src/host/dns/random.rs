//! Numbers that nobody guesses.

use packet::keyed::KeyedHash;

/// A source of numbers, for one purpose.
#[derive(Debug)]
pub(super) struct Random {
    keyed: KeyedHash,
    drawn: u64,
}

impl Random {
    /// `seed` must be random and secret.
    pub(super) fn new(seed: [u64; 2], purpose: &str) -> Self {
        Self { keyed: KeyedHash::new(seed, purpose), drawn: 0 }
    }

    /// The next number.
    pub(super) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.keyed.of([self.drawn, 0])
    }
}
