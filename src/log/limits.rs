//! How often a port may say the same: a guest whose link flaps must not fill the disk, nor hide what others say.
//!
//! A token bucket for each port and message. What it doesn't admit is counted and told in one line as soon as it would
//! admit again.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata};

/// The buckets of those who have said something lately.
#[derive(Debug, Default)]
pub(super) struct Limits {
    buckets: HashMap<Key, Bucket>,
    /// How many buckets were left when those that are full again were last forgotten.
    swept: usize,
}

/// Where in the program the event is, and who it is about.
type Key = (Identifier, String);

#[derive(Debug)]
struct Bucket {
    left: u32,
    /// When the bucket last got something.
    filled: Instant,
    /// Events that were not admitted since the last line.
    more: u64,
    metadata: &'static Metadata<'static>,
    message: String,
}

impl Limits {
    /// Whether the event becomes a line, and whether it is the first one that a later line has to tell of. Events about no
    /// port and no server are not limited: no guest causes them.
    pub(super) fn admit(&mut self, event: &Event<'_>, now: Instant) -> (bool, bool) {
        let mut about = About::default();
        event.record(&mut about);
        let Some(who) = about.who else { return (true, false) };
        let metadata = event.metadata();
        if self.buckets.len() >= BUCKETS.max(2 * self.swept) {
            self.buckets.retain(|_, bucket| !bucket.is_idle(now));
            self.swept = self.buckets.len();
        }
        let bucket = self.buckets.entry((metadata.callsite(), who)).or_insert_with(|| Bucket {
            left: AT_ONCE,
            filled: now,
            more: 0,
            metadata,
            message: about.message,
        });
        bucket.admit(now)
    }

    /// A line about events that were not admitted, when it is time for one.
    pub(super) fn due(&mut self, now: Instant) -> Option<String> {
        let ((_, who), bucket) =
            self.buckets.iter_mut().find(|(_, bucket)| bucket.due().is_some_and(|at| at <= now))?;
        Some(bucket.tell(who, now))
    }

    /// When [`due`](Self::due) will have something.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.buckets.values().filter_map(Bucket::due).min()
    }
}

impl Bucket {
    fn admit(&mut self, now: Instant) -> (bool, bool) {
        if self.more > 0 {
            self.more += 1;
            return (false, false);
        }
        self.fill(now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                (true, false)
            }
            None => {
                self.more = 1;
                (false, true)
            }
        }
    }

    fn fill(&mut self, now: Instant) {
        let intervals = now.saturating_duration_since(self.filled).as_secs() / INTERVAL.as_secs();
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX).min(AT_ONCE);
        if intervals > 0 {
            self.left = (self.left + intervals).min(AT_ONCE);
            self.filled = now;
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.more == 0 && now.saturating_duration_since(self.filled) >= INTERVAL * AT_ONCE
    }

    fn due(&self) -> Option<Instant> {
        (self.more > 0).then_some(self.filled + INTERVAL)
    }

    /// The line costs what any line costs.
    fn tell(&mut self, who: &str, now: Instant) -> String {
        (self.left, self.filled) = (0, now);
        let more = std::mem::take(&mut self.more);
        let (level, target) = (self.metadata.level(), self.metadata.target());
        format!("{level:>5} {target}: {} {who}: {more} more like this", self.message)
    }
}

/// What an event is about.
#[derive(Default)]
struct About {
    message: String,
    who: Option<String>,
}

impl Visit for About {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            // Writing into memory can't fail.
            "message" => drop(write!(self.message, "{value:?}")),
            name @ ("port" | "server") => self.who = Some(format!("{name}={value:?}")),
            _ => {}
        }
    }
}

/// Lines of one kind that a port may have at once: a link that goes down and up is seen, and one that flaps as well.
const AT_ONCE: u32 = 5;
/// And after those, one in so long.
const INTERVAL: Duration = Duration::from_secs(10);
/// Below so many, none is forgotten.
const BUCKETS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(now: Instant) -> Bucket {
        let metadata = tracing::callsite!(name: "event", kind: tracing::metadata::Kind::EVENT, target: "driver", level: tracing::Level::INFO, fields: port);
        let metadata = tracing::callsite::Callsite::metadata(metadata);
        Bucket { left: AT_ONCE, filled: now, more: 0, metadata, message: "link down".into() }
    }

    #[test]
    fn five_at_once_then_one_in_ten_seconds_that_tells_of_the_others() {
        let start = Instant::now();
        let mut bucket = bucket(start);
        let admitted = (0..100).filter(|_| bucket.admit(start).0).count();
        assert_eq!((admitted, bucket.due()), (5, Some(start + INTERVAL)));
        let later = start + INTERVAL;
        assert_eq!(bucket.tell("port=\"a\"", later), " INFO driver: link down port=\"a\": 95 more like this");
        assert_eq!((bucket.due(), bucket.admit(later)), (None, (false, true)));
        assert_eq!(bucket.due(), Some(later + INTERVAL));
    }

    #[test]
    fn who_was_silent_long_enough_may_say_five_things_again() {
        let start = Instant::now();
        let mut bucket = bucket(start);
        while bucket.admit(start).0 {}
        let told = start + INTERVAL;
        bucket.tell("port", told);
        let much_later = told + INTERVAL * 20;
        assert!(bucket.is_idle(much_later) && !bucket.is_idle(told));
        assert_eq!((0..9).filter(|_| bucket.admit(much_later).0).count(), 5);
    }
}
