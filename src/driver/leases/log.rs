//! Who got which address, as the log tells it.

use std::collections::HashMap;

use engine::report::{LeaseEvent, LeaseEventKind};
use packet::{Millis, NetworkId};
use tracing::{info, warn};

/// How much guests of each network may have written.
#[derive(Default)]
pub(in super::super) struct LeaseLog {
    buckets: HashMap<NetworkId, Bucket>,
    /// When a bucket that was empty has something again.
    due: Option<Millis>,
}

struct Bucket {
    name: String,
    left: u64,
    filled: Millis,
    /// Events that were not written.
    more: u64,
}

impl LeaseLog {
    /// Writes a line, unless the network's guests have caused too many.
    pub(in super::super) fn tell(&mut self, event: &LeaseEvent, network: &str, now: Millis) {
        let bucket = self.buckets.entry(event.network).or_insert_with(|| Bucket {
            name: network.to_owned(),
            left: AT_ONCE,
            filled: now,
            more: 0,
        });
        if bucket.takes_one(now) { tell(event, network) } else { self.due = self.due.or(Some(now + TELL)) }
    }

    /// Tells how many lines were left out, once in a while.
    pub(in super::super) fn tell_of_others(&mut self, now: Millis) {
        if self.due.take_if(|due| *due <= now).is_none() {
            return;
        }
        for bucket in self.buckets.values_mut().filter(|bucket| bucket.more > 0) {
            let (network, more) = (&bucket.name, std::mem::take(&mut bucket.more));
            warn!(network, more, "so much happened to leases that not all was logged");
        }
    }

    pub(in super::super) const fn next_timeout(&self) -> Option<Millis> {
        self.due
    }
}

impl Bucket {
    fn takes_one(&mut self, now: Millis) -> bool {
        let seconds = now.since(self.filled).as_secs();
        self.left = (self.left + seconds * A_SECOND).min(AT_ONCE);
        self.filled = self.filled + Millis::from_secs(seconds);
        let takes = self.left > 0;
        self.left -= u64::from(takes);
        self.more += u64::from(!takes);
        takes
    }
}

fn tell(event: &LeaseEvent, network: &str) {
    let LeaseEvent { address, mac, host_name, kind, .. } = event;
    // Only what can be in a host name gets this far.
    let name = host_name.as_deref().unwrap_or("-");
    match kind {
        LeaseEventKind::Leased => info!(network, %address, %mac, name, "leased"),
        LeaseEventKind::Released => info!(network, %address, %mac, name, "lease given back"),
        LeaseEventKind::Declined => {
            warn!(network, %address, %mac, name, "lease declined: the client found the address in use");
        }
        LeaseEventKind::InUse => {
            warn!(network, %address, %mac, "in use without a lease: nobody else gets the address for a while");
        }
        LeaseEventKind::Disputed => {
            warn!(network, %address, %mac, "in use by this station too, but leased to another");
        }
        LeaseEventKind::Renewed | LeaseEventKind::Moved => {}
    }
}

/// Lines about a network's leases at once: all of its guests start.
const AT_ONCE: u64 = 1000;
/// And in the long run.
const A_SECOND: u64 = 1;
/// How often those are told of that were left out.
const TELL: Millis = Millis::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_at_once_then_one_a_second() {
        let mut bucket = Bucket { name: "lan".into(), left: AT_ONCE, filled: Millis::ZERO, more: 0 };
        let admitted = |bucket: &mut Bucket, second| {
            (0..2000).filter(|_| bucket.takes_one(Millis::from_secs(second))).count()
        };
        assert_eq!(admitted(&mut bucket, 0), 1000);
        assert_eq!(admitted(&mut bucket, 7), 7);
        assert_eq!(admitted(&mut bucket, 100_000), 1000);
        assert_eq!(bucket.more, 1000 + 1993 + 1000);
    }
}
