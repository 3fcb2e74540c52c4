//! What it takes to tell a guest that there are used buffers: whoever waits for its eventfd wakes up inside of that call.
//!
//! ```text
//! price    calls on the thread that moves frames, and then
//! usual    by the clock; a long one makes it suspect
//! suspect  by the processor's time, as the thread may have been kept from running: it is high, or usual
//! high     none: the port's own thread calls, and rests four times as long as a call took; usual after 10 s of low ones
//! ```

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::process::thread_nanos;

/// What it takes to tell a guest, found out call by call.
#[derive(Debug, Default)]
pub(super) struct Price {
    stage: AtomicU8,
    /// When it was high the last time.
    seen_high: Mutex<Option<Instant>>,
}

impl Price {
    /// The last call took long by the clock: perhaps the thread was kept from running.
    const SUSPECT: u8 = 1;
    const HIGH: u8 = 2;

    pub(super) fn is_high(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == Self::HIGH
    }

    /// Calls, and takes note of what that took.
    pub(super) fn pay(&self, call: impl FnOnce()) {
        if self.stage.load(Ordering::Relaxed) == Self::SUSPECT {
            let is_high = nanos_of(call) > HIGH.as_nanos() as u64;
            return self.stage.store(if is_high { Self::HIGH } else { 0 }, Ordering::Relaxed);
        }
        let begun = Instant::now();
        call();
        if begun.elapsed() > HIGH {
            self.stage.store(Self::SUSPECT, Ordering::Relaxed);
        }
    }

    /// The same on a thread that has time.
    pub(super) fn pay_slowly(&self, call: impl FnOnce()) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let took = Duration::from_nanos(nanos_of(call));
        let mut seen_high = self.seen_high.lock().unwrap_or_else(PoisonError::into_inner);
        if took > HIGH {
            *seen_high = Some(Instant::now());
            thread::sleep((took * 4).min(REST_MOST));
        } else if seen_high.get_or_insert_with(Instant::now).elapsed() > FORGIVEN {
            *seen_high = None;
            self.stage.store(0, Ordering::Relaxed);
        }
        drop(one);
    }
}

/// How long the processor was this thread's meanwhile.
fn nanos_of(work: impl FnOnce()) -> u64 {
    let begun = thread_nanos();
    work();
    thread_nanos() - begun
}

/// A high price: five times what waking a virtual processor takes.
const HIGH: Duration = Duration::from_micros(50);
/// How long a price must have been low.
const FORGIVEN: Duration = Duration::from_secs(10);
/// How long the thread rests after a call at most.
const REST_MOST: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_high_when_calls_take_the_processor_and_not_when_others_do() {
        let work = || {
            let begun = thread_nanos();
            while thread_nanos() - begun < 200_000 {}
        };
        let price = Price::default();
        for _ in 0..4 {
            price.pay(|| thread::sleep(Duration::from_millis(1)));
            assert!(!price.is_high());
        }
        price.pay(work);
        price.pay(work);
        assert!(price.is_high());
        // Low by now, but not for long.
        price.pay_slowly(|| {});
        assert!(price.is_high());
    }
}
