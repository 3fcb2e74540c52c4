//! What passed, counted in a word as long as it fits.

use std::ops::{Add, AddAssign};

/// Packets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Passed {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Add for Passed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Passed {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What passed of late in one direction of a flow: packets in the upper 28 bits, bytes below. Half
/// of that is room for what passes within a second at 250 Gbit/s or 130 million packets.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Count(u64);

impl Count {
    const BYTES_BITS: u32 = 36;
    const BYTES: u64 = (1 << Self::BYTES_BITS) - 1;
    /// Of each.
    const HALF: u64 = 1 << (u64::BITS - 1) | 1 << (Self::BYTES_BITS - 1);

    /// As much of it as leaves half of the room, and the rest.
    pub(crate) fn split(passed: Passed) -> (Self, Passed) {
        let fits = passed.packets < 1 << (u64::BITS - Self::BYTES_BITS - 1)
            && passed.bytes < 1 << (Self::BYTES_BITS - 1);
        let (packets, bytes) = if fits { (passed.packets, passed.bytes) } else { (passed.packets.min(1), 0) };
        let rest = Passed { packets: passed.packets - packets, bytes: passed.bytes - bytes };
        (Self(packets << Self::BYTES_BITS | bytes), rest)
    }

    /// One more packet, of this length.
    #[inline]
    pub(crate) fn add(&mut self, len: u16) {
        self.0 = self.0.wrapping_add(1 << Self::BYTES_BITS | len as u64);
    }

    pub(crate) const fn get(self) -> Passed {
        Passed { packets: self.0 >> Self::BYTES_BITS, bytes: self.0 & Self::BYTES }
    }

    #[inline]
    pub(crate) const fn is_half_full(self) -> bool {
        self.0 & Self::HALF != 0
    }

    /// Takes out what has to be kept elsewhere. A packet stays, so that one still sees that there was any.
    pub(crate) fn take(&mut self) -> Passed {
        let Passed { packets, bytes } = self.get();
        let stay = packets.min(1);
        self.0 = stay << Self::BYTES_BITS;
        Passed { packets: packets - stay, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_and_what_stays_is_what_passed() {
        let (mut count, mut carried) = (Count::default(), Passed::default());
        for nth in 1..=3_000_000_u64 {
            count.add(u16::MAX);
            if count.is_half_full() {
                carried += count.take();
                assert_eq!(count.get(), Passed { packets: 1, bytes: 0 });
            }
            let passed = Passed { packets: nth, bytes: nth * 65_535 };
            assert_eq!(count.get() + carried, passed);
        }
        assert!(carried.bytes > 1 << 36);
    }

    #[test]
    fn packets_without_many_bytes_are_taken_out_in_time_too() {
        let (mut count, rest) = Count::split(Passed { packets: (1 << 27) - 1, bytes: 20 });
        assert_eq!((count.is_half_full(), rest), (false, Passed::default()));
        count.add(20);
        assert_eq!(
            (count.is_half_full(), count.take()),
            (true, Passed { packets: (1 << 27) - 1, bytes: 40 })
        );
    }

    #[test]
    fn what_has_no_room_is_split() {
        for passed in [(0, 0), (0, 7), (1, 1 << 35), (1 << 27, 5), (1 << 46, 1 << 62)] {
            let passed = Passed { packets: passed.0, bytes: passed.1 };
            let (count, rest) = Count::split(passed);
            assert!(!count.is_half_full() && count.get() + rest == passed);
            assert_eq!(count.get().packets == 0, passed.packets == 0);
        }
    }
}
