//! Hashes under a secret key, for tables whose keys remote parties choose. From the seed that the caller gives, each purpose, which
//! is a word, has a key of its own.
//!
//! ```text
//! SipKeys      SipHash-1-3 for the standard library's tables
//! KeyedHash    SipHash-1-3 of two words, 4.9 ns: its results may be shown
//! PairHash     pair-multiply-shift of some words, 2 ns: for what is looked up per packet; nobody may see results
//! ```

use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// SipHash-1-3 with a random key.
#[derive(Clone, Copy, Debug)]
pub struct SipKeys(pub [u64; 2]);

impl BuildHasher for SipKeys {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}

/// A hash of two words under a secret key.
#[derive(Clone, Debug)]
pub struct KeyedHash(SipHasher13);

impl KeyedHash {
    /// Different purposes get different keys from the same seed.
    pub fn new(seed: [u64; 2], purpose: &str) -> Self {
        let master = SipHasher13::new_with_keys(seed[0], seed[1]);
        let key = |half: u8| master.hash(&[&[half], purpose.as_bytes()].concat());
        Self(SipHasher13::new_with_keys(key(0), key(1)))
    }

    /// The hash of two words, the second one below 2⁵⁶: SipHash puts the length into the last byte, and 16 whole bytes
    /// would cost a round more (1.5 ns of 6).
    #[inline]
    pub fn of(&self, words: [u64; 2]) -> u64 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&words[0].to_le_bytes());
        bytes[8..].copy_from_slice(&words[1].to_le_bytes());
        self.0.hash(&bytes[..15])
    }
}

/// A hash of two words, or a few more, in 2 ns: pair-multiply-shift with secret numbers, and the result scattered.
///
/// Any two keys have the same hash about as rarely as by chance, once in 2³¹, whoever chose them: M. Thorup, "High Speed Hashing
/// for Integers and Strings", 3.5. Unlike SipHash it gives its secret away to who sees hashes; nobody outside does, and
/// not by waiting times either: a look-up takes the same time for one and for twelve flows in a cache line.
#[derive(Clone, Debug)]
pub struct PairHash([[u64; 2]; WORDS]);

impl PairHash {
    /// Different purposes get different secrets from the same seed.
    pub fn new(seed: [u64; 2], purpose: &str) -> Self {
        let keyed = KeyedHash::new(seed, purpose);
        Self(std::array::from_fn(|word| [0, 1].map(|half| keyed.of([2 * word as u64 + half, 0]))))
    }

    /// Of a key as long as all others: up to four words, always as many, and the last one.
    #[inline]
    pub fn of(&self, words: &[u64], last: u64) -> u64 {
        let [of_last, of_words @ ..] = &self.0;
        let products = of_words.iter().zip(words).map(|(secrets, word)| multiply_shift(*secrets, *word));
        let upper = products.fold(multiply_shift(*of_last, last), u64::wrapping_add) >> 32;
        // Keys in equal steps, such as ports one after the other, are in equal steps still: this scatters them.
        let once = upper.wrapping_mul(MIX[0]);
        let twice = (once ^ once >> 32).wrapping_mul(MIX[1]);
        twice ^ twice >> 32
    }
}

/// Words that a key may have: two addresses of IPv6, ports and protocol.
const WORDS: usize = 5;

/// Odd, and with ones and zeros all over: of splitmix64. Public domain, S. Vigna.
const MIX: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// Of one word: two keys have the same upper half of it about as rarely as by chance, whoever chose them, as long as the two numbers
/// are secret. M. Thorup, as above.
#[inline]
pub const fn multiply_shift([a, b]: [u64; 2], word: u64) -> u64 {
    a.wrapping_add(word >> 32).wrapping_mul(b.wrapping_add(word & 0xffff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_by_little_spread_as_evenly_as_random_ones() {
        let spread = |words: fn(u64) -> [u64; 2], seed| {
            let hash = PairHash::new([seed, 7], "flows");
            let (mut lines, mut tags) = (vec![0_u32; 4096], [0_u32; 256]);
            for n in 0..1 << 15 {
                let [first, last] = words(n);
                let hash = hash.of(&[first], last);
                lines[(hash >> 52) as usize] += 1;
                tags[hash as usize & 0xff] += 1;
            }
            (lines.into_iter().max().unwrap(), tags.into_iter().max().unwrap())
        };
        const UDP: u64 = 17 << 32;
        let ports = |n: u64| [10_u64 << 56 | 1, UDP | n << 16 | 53];
        let hosts = |n: u64| [(10_u64 << 24 | n) << 32 | 1, UDP | 5000 << 16 | 53];
        let both = |n: u64| [10_u64 << 56 | n >> 8, UDP | (n & 0xff) << 16 | n >> 8];
        for seed in 0..100 {
            for words in [ports as fn(u64) -> [u64; 2], hosts, both] {
                // 8 and 128 on average. With random numbers, one run in a million goes beyond.
                let (line, tag) = spread(words, seed);
                assert!(line < 32 && tag < 192, "{seed}: {line}, {tag}");
            }
        }
    }
}
