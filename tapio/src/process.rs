//! What the core may not ask for itself: time and randomness.

use std::io;
use std::time::Instant;

use packet::Millis;
use rustix::rand::{GetRandomFlags, getrandom};

/// The monotonic clock, from its creation on.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    #[allow(clippy::disallowed_methods, reason = "this is the place where time comes from")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start. About 20 ns: once per wake-up, not per frame.
    pub fn now(&self) -> Millis {
        Millis::new(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// `N` bytes (at most 256) from the kernel's random number generator, to seed hash keys and port choice.
///
/// # Errors
/// The kernel is older than 3.17, or a sandbox forbids getrandom(2).
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    const { assert!(N <= 256, "longer requests may come back short") };
    let mut bytes = [0; N];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_starts_at_zero_and_moves() {
        let clock = Clock::start();
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(clock.now() >= Millis::new(5) && clock.now() < Millis::from_secs(60));
    }

    #[test]
    fn two_seeds_differ() {
        assert_ne!(random_bytes::<16>().unwrap(), random_bytes::<16>().unwrap());
    }
}
