//! Later fragments that overtook their first one: kept until it has come, then sent after it. RFC 4787 REQ-14.

use nat_engine::{NatPacket, WaitingFragment};
use packet::wire::{EthernetHeader, FromBytes};
use packet::{DropReason, FrameMeta, Ipv4Packet, MacAddr, Millis, NetworkId, Offload, Verdict};

use super::Outgoing;
use crate::gateway::{Gateway, decrement_ttl};

impl Gateway {
    /// Keeps the frame of a later fragment until its first one has come.
    ///
    /// # Errors
    /// `FragmentQueueFull`: the frame is lost.
    pub(crate) fn keep_fragment(
        &mut self,
        bytes: &[u8],
        input: NetworkId,
        now: Millis,
    ) -> Result<(), DropReason> {
        let ip = Ipv4Packet::parse_header(&bytes[EthernetHeader::LEN..])?;
        self.nat.keep_fragment(&ip, input, bytes, now)
    }

    /// Sends on the fragments whose first one has come by now, as many as have room in `out`, and counts those given up.
    pub(crate) fn release_fragments(&mut self, now: Millis, out: &mut Outgoing) {
        while out.has_room()
            && let Some(fragment) = self.nat.next_fragment(now)
        {
            if let Err(reason) = self.forward_fragment(fragment, now, out) {
                out.drops.count(reason);
            }
        }
        out.drops.count_many(DropReason::FragmentWithoutFirst, self.nat.take_lost_fragments());
    }

    fn forward_fragment(
        &mut self,
        fragment: WaitingFragment,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        let WaitingFragment { from, owner, mut bytes, .. } = fragment;
        self.speak_for(owner);
        let (ethernet, _) = EthernetHeader::ref_from_prefix(&bytes).map_err(|_| DropReason::FrameTooShort)?;
        let mut meta = FrameMeta::new(from, Offload::NONE);
        meta.src = MacAddr::new(ethernet.src);
        let packet = &mut bytes[EthernetHeader::LEN..];
        let mut ip = Ipv4Packet::parse(packet)?;
        let mut packet = NatPacket { bytes: packet, ip: &mut ip, partial_checksum: false };
        match self.translate(&mut packet, None, from, now) {
            Ok(hop) => {
                meta.network = hop.network;
                decrement_ttl(packet.bytes);
                if ip.dont_fragment && usize::from(ip.total_len) > self.mtu_of(hop.network) {
                    return Err(DropReason::FragmentationNeeded);
                }
                self.fragment(&meta, &mut bytes, now, out)
            }
            Err(Verdict::Punt(reason)) => self.serve(reason, &meta, &mut bytes, from, now, out),
            Err(Verdict::Drop(reason)) => Err(reason),
            Err(_) => unreachable!("a packet that isn't forwarded is punted or dropped"),
        }
    }
}
