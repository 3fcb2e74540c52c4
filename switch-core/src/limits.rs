//! How much a port may send and get: rates in both directions, and storms. A frame that is too many is dropped, none waits.
//!
//! ```text
//! in ─▶ rate-in ─▶ … forward ─▶ storm: what is to be flooded, by kind ─▶ … egress ─▶ rate-out ─▶ out
//! ```
//!
//! Buckets hold a quarter of a second: a TCP stream through a policer needs 200 ms of its rate to reach it.

use packet::rate::{Bucket, Rate};
use packet::{Burst, DropReason, MacAddr, Millis, PortCounters, PortId, TxLists, Verdict};

use crate::ports::{PortSettings, Storm};

/// The ports that have limits, mostly none, in ascending order.
#[derive(Debug, Default)]
pub struct Limits(Vec<Limited>);

/// A port with limits, and what was taken of them.
#[derive(Debug)]
struct Limited {
    port: PortId,
    rate_in: Limit,
    rate_out: Limit,
    broadcast: Limit,
    multicast: Limit,
    unknown: Limit,
}

#[derive(Clone, Copy, Debug, Default)]
struct Limit {
    rate: Option<Rate>,
    bucket: Bucket,
}

impl Limit {
    fn allows(&mut self, amount: usize, now: Millis) -> bool {
        self.rate.is_none_or(|rate| self.bucket.take(rate, amount as u64, now))
    }
}

impl Limited {
    fn new(port: PortId) -> Self {
        let [rate_in, rate_out, broadcast, multicast, unknown] = [Limit::default(); 5];
        Self { port, rate_in, rate_out, broadcast, multicast, unknown }
    }

    fn set(&mut self, settings: &PortSettings) {
        let &PortSettings { rate_in, rate_out, storm, .. } = settings;
        (self.rate_in.rate, self.rate_out.rate) = (rate_in, rate_out);
        (self.broadcast.rate, self.multicast.rate) = (storm.broadcast, storm.multicast);
        self.unknown.rate = storm.unknown;
    }
}

impl Limits {
    /// The port has these settings from now on. What it has taken lately stays taken.
    pub fn set(&mut self, port: PortId, settings: &PortSettings) {
        let place = self.place_of(port);
        let PortSettings { rate_in, rate_out, storm, .. } = settings;
        if rate_in.is_none() && rate_out.is_none() && *storm == Storm::default() {
            if let Ok(place) = place {
                self.0.remove(place);
            }
            return;
        }
        let place = place.unwrap_or_else(|place| {
            self.0.insert(place, Limited::new(port));
            place
        });
        self.0[place].set(settings);
    }

    /// The port is gone.
    pub fn forget(&mut self, port: PortId) {
        self.0.retain(|limited| limited.port != port);
    }

    /// Drops what the port sends beyond its rate. Nothing is learned from that.
    pub fn police(&mut self, burst: &mut Burst, now: Millis) {
        if let Some(limited) = self.of(burst.origin())
            && limited.rate_in.rate.is_some()
        {
            burst.for_each(|_, frame| {
                if !frame.meta.is_dropped() && !limited.rate_in.allows(frame.bytes.len(), now) {
                    frame.meta.refuse(DropReason::RateExceeded);
                }
            });
        }
    }

    /// Drops what would be flooded beyond what the port may have flooded.
    pub fn calm(&mut self, burst: &mut Burst, now: Millis) {
        let Some(limited) = self.of(burst.origin()) else { return };
        for meta in burst.metas_mut().iter_mut().filter(|meta| meta.verdict == Verdict::Flood) {
            let limit = match meta.dst {
                MacAddr::BROADCAST => &mut limited.broadcast,
                dst if dst.is_group() => &mut limited.multicast,
                _ => &mut limited.unknown,
            };
            if !limit.allows(1, now) {
                meta.drop(DropReason::Storm);
            }
        }
    }

    /// Takes off the lists what ports would get beyond their rates. Counters are by port.
    pub fn leaving(
        &mut self,
        burst: &Burst,
        lists: &mut TxLists,
        counters: &mut [PortCounters],
        now: Millis,
    ) {
        if self.0.is_empty() {
            return;
        }
        // From the last one on: a list that becomes empty is none.
        for at in (0..lists.touched().len()).rev() {
            let port = lists.touched()[at];
            let Some(Limited { rate_out, .. }) = self.of(Some(port)) else { continue };
            let dropped = lists.retain(port, |entry| rate_out.allows(burst.bytes(entry.frame()).len(), now));
            if let Some(counters) = counters.get_mut(port.index()) {
                counters.drops.count_many(DropReason::RateExceeded, dropped as u64);
            }
        }
    }

    fn of(&mut self, port: Option<PortId>) -> Option<&mut Limited> {
        let place = self.place_of(port?).ok()?;
        Some(&mut self.0[place])
    }

    fn place_of(&self, port: PortId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&port, |limited| limited.port)
    }
}
