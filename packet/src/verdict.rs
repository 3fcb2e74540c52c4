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
    /// To the slow path; the frame ends there.
    Punt(PuntReason),
    /// Nowhere; the first reason wins.
    Drop(DropReason),
}

/// Why the slow path gets a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PuntReason {
    /// An ARP packet that the switch's own address may care about.
    Arp,
    /// A frame by which the switch looks for loops has come back.
    LoopProbe,
    /// A DHCP client's message to the network's server.
    Dhcp,
    /// An IPv4 packet for one of the switch's own addresses.
    ToSelf,
    /// To be forwarded, but the next hop's MAC is not known yet. The frame is translated already.
    ResolveNeighbour,
    /// To be forwarded, but larger than the way out, and may be fragmented. The frame is translated already.
    Fragment,
    /// A later fragment: where it goes isn't known before its first one has come.
    EarlyFragment,
    /// To be answered with an ICMP time exceeded.
    TtlExceeded,
    /// To be answered with an ICMP destination unreachable: network.
    NoRoute,
    /// To be answered with an ICMP destination unreachable: communication administratively prohibited.
    Prohibited,
    /// To be answered with an ICMP fragmentation needed.
    TooBig,
    /// To be answered with an ICMP destination unreachable: NAT has no place or no server for the flow, for this reason.
    NoResources(DropReason),
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

const _: () = assert!(size_of::<Verdict>() <= 4);
