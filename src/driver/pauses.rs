//! How long frames wait because the thread does something else.
//!
//! What counts is the time that the switch itself takes: not that in which another process had the processor.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use tapio::Clock;

/// The longest pause since the start, and the one that is going on.
pub(super) struct Pauses {
    longest: u64,
    current: u64,
    /// proc(5), schedstat: what this thread used, and waited for, in nanoseconds.
    schedule: Option<File>,
}

/// The moment when something began, and how long the thread had waited for a processor until then.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    at: u64,
    waited: u64,
}

impl Pauses {
    /// Of the calling thread.
    pub(super) fn open() -> Self {
        Self { longest: 0, current: 0, schedule: File::open("/proc/thread-self/schedstat").ok() }
    }

    pub(super) fn begin(&self, clock: Clock) -> Begun {
        Begun { waited: self.waited(), at: clock.nanos() }
    }

    /// What began then is done. Frames still wait.
    pub(super) fn add(&mut self, begun: Begun, clock: Clock) {
        let took = clock.nanos() - begun.at;
        self.current += took.saturating_sub(self.waited().saturating_sub(begun.waited));
    }

    /// Frames go on.
    #[inline]
    pub(super) fn end(&mut self) {
        if self.current > 0 {
            self.longest = self.longest.max(self.current);
            self.current = 0;
        }
    }

    pub(super) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.max(self.current))
    }

    fn waited(&self) -> u64 {
        let mut text = [0; 64];
        let read = self.schedule.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
        let text = std::str::from_utf8(&text[..read]).unwrap_or_default();
        text.split(' ').nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    }
}
