//! How long calls take, for [`shares`](super::shares).

use tapio::{Clock, thread_nanos};

/// Measures how long calls take: by the clock, and of those that took long while calls are watched only what the thread ran: who
/// is kept from running by others is not dear. To ask for the processor's time is a system call, so it is asked for at the
/// beginning, and then only about what took long.
#[derive(Debug)]
pub(super) struct Meter {
    clock: Clock,
    begun: u64,
    /// When the last lap ended.
    mark: u64,
    /// The clock and the processor's time of the thread when they were last compared.
    compared: Option<(u64, u64)>,
    /// How long the thread hasn't run, as far as known.
    lost: u64,
}

impl Meter {
    /// Measures from `from` on, an earlier [`Meter::mark`].
    pub(super) fn new(clock: Clock, from: u64, is_watching: bool) -> Self {
        let compared = is_watching.then(|| (from, thread_nanos()));
        Self { clock, begun: from, mark: from, compared, lost: 0 }
    }

    /// What it took since the last lap; if that is more than `usual`, what the thread ran of that.
    pub(super) fn lap(&mut self, usual: u64) -> u64 {
        let now = self.clock.nanos();
        let took = now.saturating_sub(std::mem::replace(&mut self.mark, now));
        if took > usual { took.saturating_sub(self.compare(now)) } else { took }
    }

    /// What all took, from the beginning to now.
    pub(super) fn total(&mut self) -> u64 {
        self.mark = self.clock.nanos();
        self.compare(self.mark);
        self.mark.saturating_sub(self.begun).saturating_sub(self.lost)
    }

    /// The processor's time counts from now on too.
    pub(super) fn be_exact(&mut self) {
        let mark = self.mark;
        self.compared.get_or_insert_with(|| (mark, thread_nanos()));
    }

    /// Whether that holds by now.
    pub(super) fn is_exact(&self) -> bool {
        self.compared.is_some()
    }

    /// When the last lap ended.
    pub(super) fn mark(&self) -> u64 {
        self.mark
    }

    /// How long the thread hasn't run since the last comparison.
    fn compare(&mut self, now: u64) -> u64 {
        let Some((at, ran)) = &mut self.compared else { return 0 };
        let (passed, cpu) = (now.saturating_sub(*at), thread_nanos());
        let lost = passed.saturating_sub(cpu.saturating_sub(*ran));
        (*at, *ran) = (now, cpu);
        self.lost += lost;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_in_which_the_thread_did_not_run_took_nothing_where_that_is_measured() {
        let clock = Clock::start();
        let took = |is_watching| {
            let mut meter = Meter::new(clock, clock.nanos(), is_watching);
            std::thread::sleep(std::time::Duration::from_millis(5));
            (meter.lap(0), meter.total())
        };
        let (lap, total) = took(false);
        assert!(lap >= 5_000_000 && total >= lap);
        let (lap, total) = took(true);
        assert!(lap < 3_000_000 && total < 3_000_000, "{lap} {total}");
    }
}
