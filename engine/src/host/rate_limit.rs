//! How many errors the host tells. RFC 1812, 4.3.2.8.

use packet::{Millis, PortId};

/// How many ICMP errors may be sent because of a port's frames, so that no port has others go without. RFC 1812, 4.3.2.8.
#[derive(Debug, Default)]
pub(crate) struct RateLimits {
    ports: Vec<RateLimit>,
    /// Of what no frame is the reason.
    own: RateLimit,
}

/// A bucket that fills with time.
#[derive(Clone, Debug)]
struct RateLimit {
    tokens: u64,
    filled: Millis,
}

impl RateLimits {
    /// Whether one more may be sent because of a frame from `port`.
    pub(crate) fn admit(&mut self, port: Option<PortId>, now: Millis) -> bool {
        let Some(port) = port else { return self.own.admit(now) };
        if self.ports.len() <= port.index() {
            self.ports.resize_with(port.index() + 1, RateLimit::default);
        }
        self.ports[port.index()].admit(now)
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { tokens: BURST, filled: Millis::ZERO }
    }
}

impl RateLimit {
    /// Takes one token, if there is one.
    fn admit(&mut self, now: Millis) -> bool {
        self.tokens = (self.tokens + now.since(self.filled).get() * PER_MILLISECOND).min(BURST);
        self.filled = now;
        let admitted = self.tokens > 0;
        self.tokens -= u64::from(admitted);
        admitted
    }
}

/// 1000 a second, as Linux's `icmp_msgs_per_sec`.
const PER_MILLISECOND: u64 = 1;
/// At once: a traceroute of a few hosts.
const BURST: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_limited_in_rate_by_port() {
        let (mut limits, port) = (RateLimits::default(), PortId::new(3));
        let now = Millis::from_secs(1);
        assert_eq!((0..1000).filter(|_| limits.admit(port, now)).count() as u64, BURST);
        let later = now + Millis::new(10);
        assert_eq!((0..1000).filter(|_| limits.admit(port, later)).count(), 10);
        assert!(limits.admit(PortId::new(2), later) && limits.admit(None, later), "others have their own");
    }
}
