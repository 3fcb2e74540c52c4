//! What a piece of work takes.

use std::fs;
use std::time::{Duration, Instant};

use cases::nat::{Source, Tables};
use packet::{BURST_FRAMES, Millis};
use rustix::time::{ClockId, clock_gettime};

/// Memory of this process, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Heap and large allocations, used or not.
    pub reserved: f64,
    /// What of it is used.
    pub resident: f64,
}

impl Memory {
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let bytes = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_end_matches("kB").trim().parse::<f64>().unwrap() * 1024.0
        };
        Self { reserved: bytes("VmData:"), resident: bytes("VmRSS:") }
    }

    pub fn since(self, before: Self) -> Self {
        Self { reserved: self.reserved - before.reserved, resident: self.resident - before.resident }
    }
}

/// What this thread has had of its processor: others that run meanwhile don't count, but for what they do to the caches.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What it has had since then.
pub fn time_since(start: Duration) -> Duration {
    processor_time().saturating_sub(start)
}

/// Sends packets of known flows, and returns what each took, in ns.
pub fn forward(tables: &mut Tables, all: &[Source], packets: usize) -> f64 {
    let (clock, start) = (Instant::now(), processor_time());
    for _ in 0..packets / BURST_FRAMES {
        // The clock goes on: once in a second, a flow moves in its list.
        tables.forward(all, Millis::new(clock.elapsed().as_millis() as u64));
    }
    assert_eq!(tables.admitted(), all.len() as u64);
    time_since(start).as_nanos() as f64 / packets as f64
}

/// Lets all flows expire. The longest call, and all together.
pub fn expire(tables: &mut Tables, now: Millis) -> (Duration, Duration) {
    let (mut longest, start) = (Duration::ZERO, processor_time());
    loop {
        let call = processor_time();
        let is_more = tables.expire(now);
        longest = longest.max(time_since(call));
        if !is_more {
            return (longest, time_since(start));
        }
    }
}
