//! What is known of a frame beside its bytes.

use crate::{EtherType, FrameTag, MacAddr, NetworkId, Offload, PuntReason, Verdict, Vid};

/// Where the headers of a frame are, what its hardware offload still owes, and what becomes of it.
///
/// Filled by [`parse`](crate::parse()); `bytes` in the comments are the frame's, from the destination address on.
#[derive(Clone, Copy, Debug)]
pub struct FrameMeta {
    /// What becomes of the frame.
    pub verdict: Verdict,
    /// The host wants to see this frame too, whatever the verdict: a broadcast ARP request is flooded and
    /// looked at.
    pub copy: Option<PuntReason>,
    /// The network the frame is in: the ingress port's at first, the way out's after routing.
    pub network: NetworkId,
    /// The source may be learned: there is one, and no stage has refused the frame because of it.
    pub learn: bool,
    /// The gateway forwarded it: it comes from the switch's own MAC now, and may go to any port.
    pub routed: bool,
    /// The checksum and segmentation that the sender left to its hardware.
    pub offload: Offload,
    /// The VLAN: the outermost tag's, until the port it came in by says otherwise.
    pub vid: Vid,
    /// What else the tag says that names the VLAN.
    pub tag: FrameTag,
    /// The EtherType behind all tags; a value below 0x600 is a length (IEEE 802.3 LLC).
    pub ether_type: EtherType,
    /// Offset in `bytes` of what follows the EtherType.
    pub l3: u16,
    /// Destination address.
    pub dst: MacAddr,
    /// Source address.
    pub src: MacAddr,
}

impl FrameMeta {
    /// The meta of a frame in `network` about which nothing else is known yet.
    pub const fn new(network: NetworkId, offload: Offload) -> Self {
        Self {
            verdict: Verdict::Undecided,
            copy: None,
            network,
            learn: false,
            routed: false,
            offload,
            vid: Vid::UNTAGGED,
            tag: FrameTag::NONE,
            ether_type: EtherType(0),
            l3: 0,
            dst: MacAddr::ZERO,
            src: MacAddr::ZERO,
        }
    }

    /// Whether a stage has dropped the frame.
    pub const fn is_dropped(&self) -> bool {
        matches!(self.verdict, Verdict::Drop(_))
    }

    /// Drops the frame for `reason`, unless an earlier stage has already dropped it: the first reason wins. Its source may
    /// still be learned.
    pub const fn drop(&mut self, reason: crate::DropReason) {
        if !self.is_dropped() {
            self.verdict = Verdict::Drop(reason);
        }
    }

    /// Drops the frame for `reason`, as [`drop`](Self::drop) does, and has nothing learned from it.
    pub const fn refuse(&mut self, reason: crate::DropReason) {
        self.drop(reason);
        self.learn = false;
    }
}

const _: () = assert!(size_of::<FrameMeta>() <= 64);
