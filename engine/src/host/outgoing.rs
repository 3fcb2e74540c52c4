//! Frames that the switch itself sends.

use packet::{
    BURST_BYTES, BURST_FRAMES, Burst, DropCounters, DropReason, MacAddr, NetworkId, Offload, PortId, TxEntry,
    TxLists,
};

/// The answers of one visit to the slow path.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// The frames; each one's network is in its meta.
    pub burst: Burst,
    /// By frame: the station whose port it goes to, if that isn't its destination's.
    pub stations: Vec<Option<MacAddr>>,
    /// Where they go.
    pub lists: TxLists,
    /// Frames of the switch itself that were dropped.
    pub drops: DropCounters,
    /// Frames ever sent.
    pub sent: u64,
}

impl Outgoing {
    /// Forgets the frames of the last visit.
    pub(crate) fn restart(&mut self) {
        self.burst.restart(None, NetworkId::new(0));
        self.stations.clear();
        self.lists.clear();
    }

    /// Whether half of the burst is free.
    pub(crate) fn has_room(&self) -> bool {
        self.burst.len() < BURST_FRAMES / 2 && self.burst.total_bytes() < BURST_BYTES / 2
    }

    /// Sends `frame` out of one port, whatever the bridge says; its egress is over then.
    pub(crate) fn push_to(&mut self, port: PortId, frame: &[u8]) {
        let index = self.burst.len();
        if self.burst.push(frame, Offload::NONE) {
            self.lists.push(port, TxEntry::as_is(index));
            self.stations.push(None);
            self.sent += 1;
        } else {
            self.drops.count(DropReason::ReplyBurstFull);
        }
    }

    /// Whether no frame more has room.
    pub(crate) fn is_full(&self) -> bool {
        self.burst.len() == BURST_FRAMES || self.burst.total_bytes() >= BURST_BYTES
    }

    /// Sends `frame` into `network`; it has its Ethernet header.
    pub(crate) fn push(&mut self, network: NetworkId, frame: &[u8], offload: Offload) {
        self.push_towards(None, network, frame, offload);
    }

    /// Sends `frame` to the port of `station` only, whoever it is addressed to.
    pub(crate) fn push_towards(
        &mut self,
        station: Option<MacAddr>,
        network: NetworkId,
        frame: &[u8],
        offload: Offload,
    ) {
        if !self.burst.push(frame, offload) {
            self.drops.count(DropReason::ReplyBurstFull);
        } else if let Some(meta) = self.burst.metas_mut().last_mut() {
            (meta.network, meta.routed) = (network, true);
            self.stations.push(station);
            self.sent += 1;
        }
    }
}
