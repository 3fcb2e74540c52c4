//! A keyed hash for tables whose keys remote parties choose.

use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// SipHash-1-3 with a random key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed(pub [u64; 2]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}
