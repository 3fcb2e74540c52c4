//! How often something may happen: token buckets. The one place for limits by time, whoever has them.
//!
//! ```text
//! takes ──▶ used ──▶ per_second: leaks out with time         used + what is wanted ≤ burst: it may be
//! ```

use crate::{Millis, PortId};

/// A limit: so many in a second, and so many at once. Frames, answers or bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How many a second, on average. 0: none but the first `burst`.
    pub per_second: u64,
    /// How many at once. What takes more than this at a time never may, so of bytes it is the longest frame at least.
    pub burst: u64,
}

/// What was taken of a [`Rate`] lately. 16 bytes, without a clock. The default is one of which nothing was taken, whatever its
/// rate; that may change at any time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    /// In thousandths: a rate in a second is as many of them in a millisecond.
    used: u64,
    at: Millis,
}

impl Bucket {
    /// Takes `amount`, if so much is there at `now`. If not, nothing is taken.
    #[inline]
    pub fn take(&mut self, rate: Rate, amount: u64, now: Millis) -> bool {
        let leaked = rate.per_second.saturating_mul(now.since(self.at).get());
        (self.used, self.at) = (self.used.saturating_sub(leaked), self.at.max(now));
        let used = self.used.saturating_add(amount.saturating_mul(1000));
        let is_there = used <= rate.burst.saturating_mul(1000);
        self.used = if is_there { used } else { self.used };
        is_there
    }
}

/// A bucket for each port, so that none has others go without, and one for what is done because of none.
#[derive(Clone, Debug, Default)]
pub struct PortBuckets {
    ports: Vec<Bucket>,
    own: Bucket,
}

impl PortBuckets {
    /// Takes one because of a frame from `port`, if there is one. Allocates when it sees a port for the first time.
    pub fn take(&mut self, rate: Rate, port: Option<PortId>, now: Millis) -> bool {
        let Some(port) = port else { return self.own.take(rate, 1, now) };
        if self.ports.len() <= port.index() {
            self.ports.resize_with(port.index() + 1, Bucket::default);
        }
        self.ports[port.index()].take(rate, 1, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 1000, burst: 100 };

    fn taken(bucket: &mut Bucket, rate: Rate, now: Millis) -> usize {
        (0..10_000).filter(|_| bucket.take(rate, 1, now)).count()
    }

    #[test]
    fn a_burst_goes_at_once_and_then_as_much_as_time_gives() {
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, RATE, Millis::from_secs(1)), 100);
        assert_eq!(taken(&mut bucket, RATE, Millis::new(1010)), 10);
        assert_eq!(taken(&mut bucket, RATE, Millis::from_secs(3600)), 100, "no more than that is saved up");
    }

    #[test]
    fn a_rate_below_one_in_a_millisecond_is_kept_however_often_one_asks() {
        let rate = Rate { per_second: 3, burst: 1 };
        let mut bucket = Bucket::default();
        let taken = (0..=10_000).filter(|&at| bucket.take(rate, 1, Millis::new(at))).count();
        assert_eq!(taken, 30, "in ten seconds");
    }

    #[test]
    fn what_is_too_much_takes_nothing() {
        let mut bucket = Bucket::default();
        assert!(!bucket.take(RATE, 101, Millis::ZERO));
        assert!(bucket.take(RATE, 100, Millis::ZERO) && !bucket.take(RATE, 1, Millis::ZERO));
    }

    #[test]
    fn the_largest_numbers_and_a_clock_that_goes_back_are_borne() {
        let rate = Rate { per_second: 1, burst: u64::MAX / 2000 };
        let mut bucket = Bucket::default();
        assert!(!bucket.take(rate, u64::MAX, Millis::new(u64::MAX)));
        assert!(bucket.take(rate, rate.burst, Millis::new(u64::MAX)));
        assert!(!bucket.take(rate, 1, Millis::ZERO));
        assert!(!bucket.take(rate, 1, Millis::new(u64::MAX)));
    }

    #[test]
    fn each_port_has_its_own() {
        let (mut buckets, port) = (PortBuckets::default(), PortId::new(3));
        let now = Millis::from_secs(1);
        assert_eq!((0..1000).filter(|_| buckets.take(RATE, port, now)).count(), 100);
        assert!(buckets.take(RATE, PortId::new(2), now) && buckets.take(RATE, None, now));
    }
}
