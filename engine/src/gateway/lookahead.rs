//! What is known of a burst's packets before the first of them is dealt with.

use nat_engine::{Admission, Destination, FlowKey};
use packet::{BURST_FRAMES, Verdict};

use super::route::Hop;

/// By the packets' order in the burst. Kept for its allocations.
#[derive(Debug)]
pub(super) struct Lookahead {
    /// Where the packets' flows are to be found.
    pub keys: Vec<FlowKey>,
    /// What rules and routes say of those packets that have no flow; empty if all have.
    pub first_packets: Vec<Option<FirstPacket>>,
}

/// What rules and routes say of a packet that no flow knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstPacket {
    pub destination: Destination,
    /// Its route, and what NAT makes of it, if NAT has a part in it.
    pub route: Result<(Hop, Option<Admission>), Verdict>,
}

impl Lookahead {
    pub(super) fn new() -> Self {
        Self { keys: Vec::with_capacity(BURST_FRAMES), first_packets: Vec::with_capacity(BURST_FRAMES) }
    }

    /// Where the flow of the burst's `nth` packet is to be found. Packets that came before are fragments, and have no key.
    #[inline]
    pub(super) fn key(&self, nth: Option<usize>) -> FlowKey {
        nth.and_then(|nth| self.keys.get(nth).copied()).unwrap_or_default()
    }

    /// What rules and routes say of the `nth` packet.
    pub(super) fn first_packet(&self, nth: Option<usize>) -> Option<FirstPacket> {
        nth.and_then(|nth| self.first_packets.get(nth).copied().flatten())
    }
}

impl FirstPacket {
    pub(super) fn admission(&self) -> Option<&Admission> {
        self.route.as_ref().ok()?.1.as_ref()
    }
}
