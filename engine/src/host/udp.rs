//! UDP of the switch itself.

use packet::DropReason;
use packet::Ipv4Packet;
use packet::checksum::Sum;
use packet::wire::{FromBytes, UdpHeader};

use crate::punt::Punted;

/// The payload of the UDP datagram in a frame for the switch, which has to be right as any host would check it.
pub(super) fn payload<'a>(punted: &'a Punted<'_>) -> Result<&'a [u8], DropReason> {
    let (packet, offload) = (punted.packet(), punted.meta.offload);
    let ip = Ipv4Packet::parse(packet)?;
    let datagram = &packet[usize::from(ip.header_len)..usize::from(ip.total_len)];
    let (udp, _) = UdpHeader::ref_from_prefix(datagram).map_err(|_| DropReason::BadUdp)?;
    let datagram = datagram.get(..usize::from(udp.len.get())).ok_or(DropReason::BadUdp)?;
    let is_summed = udp.checksum.get() != 0 && !offload.needs_checksum && !offload.checksum_valid;
    let pseudo = Sum::pseudo_header_v4(ip.src, ip.dst, ip.protocol.0, udp.len.get());
    if is_summed && pseudo.add(Sum::of(datagram)).checksum() != 0 {
        return Err(DropReason::BadUdp);
    }
    datagram.get(UdpHeader::LEN..).ok_or(DropReason::BadUdp)
}
