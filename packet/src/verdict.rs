//! What becomes of a frame.

use crate::{DropReason, PortId};

/// The fate of a frame. Every frame of a burst ends with one that isn't `Undecided`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No stage has decided yet.
    Undecided,
    /// To one port of the frame's network.
    Forward(PortId),
    /// To every port of the frame's network that may have it.
    Flood,
    /// Addressed to the switch's own MAC: the gateway decides.
    Local,
    /// To the switch as a host, as it came in; the frame ends there.
    Punt(PuntReason),
    /// To the switch as a host, translated and routed, with its next hop known; the frame ends there.
    Divert(DivertReason),
    /// Nowhere; the first reason wins.
    Drop(DropReason),
}

/// Why the host gets a frame as it came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PuntReason {
    /// An ARP packet that the switch's own address may care about.
    Arp,
    /// A frame to a group address that no bridge forwards, or that a protocol of the host has asked for.
    Control,
    /// An IP packet for one of the switch's own addresses, groups or sockets.
    ToSelf,
    /// A later fragment: where it goes isn't known before its first one has come.
    EarlyFragment,
    /// To be answered with an ICMP time exceeded.
    TtlExceeded,
    /// To be answered with an ICMPv6 destination unreachable: beyond scope of source address.
    BeyondScope,
    /// To be answered with an ICMP destination unreachable: network.
    NoRoute,
    /// To be answered with an ICMP destination unreachable: communication administratively prohibited.
    Prohibited,
    /// Likewise: the network's hosts go only where names lead to, and none has led there lately.
    NotNamed,
    /// To be answered with an ICMP destination unreachable: NAT has no place or no server for the flow, for this reason.
    NoResources(DropReason),
}

/// Why the host gets a packet that is translated and routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DivertReason {
    /// The next hop's MAC is not known yet.
    ResolveNeighbour,
    /// It is larger than the way out, and may be fragmented.
    Fragment,
    /// It is larger than the way out, and to be answered with an ICMP fragmentation needed.
    TooBig,
}

impl From<DropReason> for Verdict {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

impl From<PuntReason> for Verdict {
    fn from(reason: PuntReason) -> Self {
        Self::Punt(reason)
    }
}

impl From<DivertReason> for Verdict {
    fn from(reason: DivertReason) -> Self {
        Self::Divert(reason)
    }
}

const _: () = assert!(size_of::<Verdict>() <= 4);
