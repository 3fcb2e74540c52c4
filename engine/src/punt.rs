//! Which frames the host gets, and what is known of them already.
//!
//! ```text
//! Punt      as the frame came in, from its network: nothing is translated
//! copy      as it came in; it was flooded, too
//! Divert    translated and routed, with its next hop: only sending is left to do
//! ```

use std::net::Ipv6Addr;

use packet::{
    DivertReason, DropReason, EtherType, FrameMeta, Ipv4Packet, Ipv6Packet, NetworkId, PortId, PuntReason,
    Verdict,
};

use crate::gateway::Gateway;
use crate::gateway::route::Hop;

/// Why the host gets a frame, which says what its bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Punt {
    /// The frame is as it came in.
    Arrived(PuntReason),
    /// It is translated, and on its way to this hop.
    Departing(DivertReason, Hop),
    /// The same for IPv6.
    Departing6(DivertReason, Hop<Ipv6Addr>),
}

/// A frame for the host.
#[derive(Debug)]
pub(crate) struct Punted<'a> {
    pub meta: &'a FrameMeta,
    pub bytes: &'a mut [u8],
    /// The network that it came from.
    pub input: NetworkId,
    /// The port that it came from.
    pub origin: Option<PortId>,
}

impl Punt {
    /// Whether the host gets a frame.
    #[inline]
    pub(crate) const fn is_one(meta: &FrameMeta) -> bool {
        matches!(meta.verdict, Verdict::Punt(_) | Verdict::Divert(_)) || meta.copy.is_some()
    }

    /// Why the host gets the frame in this place of the last burst, if it does.
    pub(crate) fn of(meta: &FrameMeta, index: usize, gateway: &Gateway) -> Option<Self> {
        match (meta.verdict, meta.copy) {
            (Verdict::Punt(reason), _) | (_, Some(reason)) => Some(Self::Arrived(reason)),
            (Verdict::Divert(reason), None) if meta.ether_type == EtherType::IPV6 => {
                Some(Self::Departing6(reason, gateway.v6.hop_of(index)?))
            }
            (Verdict::Divert(reason), None) => Some(Self::Departing(reason, gateway.hop_of(index)?)),
            _ => None,
        }
    }
}

impl Punted<'_> {
    /// What is behind the Ethernet header and its tags.
    pub(crate) fn packet(&self) -> &[u8] {
        self.bytes.get(usize::from(self.meta.l3)..).unwrap_or_default()
    }

    /// The IPv4 packet in the frame.
    pub(crate) fn ip(&self) -> Result<Ipv4Packet, DropReason> {
        Ipv4Packet::parse(self.packet())
    }

    /// The IPv6 packet in the frame.
    pub(crate) fn ip6(&self) -> Result<Ipv6Packet, DropReason> {
        Ipv6Packet::parse(self.packet())
    }

    /// Whether the frame was flooded, too, and goes on whatever becomes of this copy.
    pub(crate) fn is_copy(&self) -> bool {
        self.meta.copy.is_some()
    }
}
