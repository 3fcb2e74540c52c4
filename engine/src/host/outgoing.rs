//! Frames that the switch itself sends.

use packet::rate::PortBuckets;
use packet::wire::{EthernetHeader, FromBytes};
use packet::{
    BURST_BYTES, BURST_FRAMES, Burst, DropCounters, DropReason, EtherType, Frame, MacAddr, Millis, NetworkId,
    Offload, PortId, TxEntry, TxLists, Verdict,
};
use switch_core::Bridge;

/// Where a frame of the switch itself goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum To {
    /// Out of this port, whatever the bridge says.
    Port(PortId),
    /// Into this network, to the station that it is addressed to.
    Network(NetworkId),
    /// Into this network, to the port of this station only, whoever it is addressed to.
    Station(NetworkId, MacAddr),
}

/// The answers of one visit to the host.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    burst: Burst,
    /// By frame.
    to: Vec<To>,
    /// Which frame goes to which port; filled by [`finish`](Self::finish).
    lists: TxLists,
    /// Frames of the switch itself that were dropped.
    pub drops: DropCounters,
    /// Frames ever sent.
    pub sent: u64,
    /// How many ICMP errors were told because of whose frames.
    pub errors: PortBuckets,
}

impl Outgoing {
    /// Makes room for ports below `limit`.
    pub(crate) fn reserve_ports(&mut self, limit: usize) {
        self.lists.reserve_ports(limit);
    }

    /// Forgets the frames of the last visit.
    pub(crate) fn restart(&mut self) {
        self.burst.restart(None, NetworkId::new(0));
        self.to.clear();
        self.lists.clear();
    }

    /// Whether half of the burst is free.
    pub(crate) fn has_room(&self) -> bool {
        self.burst.len() < BURST_FRAMES / 2 && self.burst.total_bytes() < BURST_BYTES / 2
    }

    /// Whether no frame more has room.
    pub(crate) fn is_full(&self) -> bool {
        self.burst.len() == BURST_FRAMES || self.burst.total_bytes() >= BURST_BYTES
    }

    /// Sends `frame`, which has its Ethernet header and no tag.
    pub(crate) fn push(&mut self, to: To, frame: &[u8], offload: Offload) {
        let Ok((ethernet, _)) = EthernetHeader::ref_from_prefix(frame) else {
            return self.drops.count(DropReason::FrameTooShort);
        };
        if !self.burst.push(frame, offload) {
            return self.drops.count(DropReason::ReplyBurstFull);
        }
        self.to.push(to);
        self.sent += 1;
        if let Some(meta) = self.burst.metas_mut().last_mut() {
            (meta.dst, meta.src) = (MacAddr::new(ethernet.dst), MacAddr::new(ethernet.src));
            (meta.ether_type, meta.l3) = (EtherType(ethernet.ether_type.get()), EthernetHeader::LEN as u16);
            meta.routed = true;
            if let To::Network(network) | To::Station(network, _) = to {
                meta.network = network;
            }
        }
    }

    /// The frames find their ports.
    pub(crate) fn finish(&mut self, bridges: &[Bridge], now: Millis) {
        for (index, &to) in self.to.iter().enumerate() {
            let Frame { meta, bytes } = self.burst.frame_mut(index);
            let station = match to {
                To::Port(port) => {
                    meta.verdict = Verdict::Forward(port);
                    self.lists.push(port, TxEntry::as_is(index));
                    continue;
                }
                To::Network(_) => meta.dst,
                To::Station(_, station) => station,
            };
            match bridges.get(meta.network.index()) {
                Some(bridge) => {
                    meta.verdict = bridge.towards(station, now);
                    let packet_len = meta.offload.packet_len(bytes, usize::from(meta.l3), meta.ether_type);
                    bridge.egress(TxEntry::as_is(index), meta, packet_len, None, &mut self.lists);
                }
                None => meta.drop(DropReason::NoRoute),
            }
            if let Verdict::Drop(reason) = meta.verdict {
                self.drops.count(reason);
            }
        }
    }

    /// The frames, and which port is to get which of them.
    pub(crate) const fn frames_mut(&mut self) -> (&Burst, &mut TxLists) {
        (&self.burst, &mut self.lists)
    }

    /// The frames, and which port gets which of them.
    pub(crate) const fn frames(&mut self) -> (&mut Burst, &TxLists) {
        (&mut self.burst, &self.lists)
    }
}
