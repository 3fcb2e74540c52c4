//! What the tests of this crate share.

use packet::builder::covered;
use packet::checksum::{Sum, of};
use packet::{Gso, Ipv4Packet, Offload, Protocol};

/// The packet with an Ethernet header in front.
pub(crate) fn frame_of(packet: &[u8]) -> Vec<u8> {
    [&[0; 14], packet].concat()
}

/// Recomputes all checksums of the packet from nothing.
pub(crate) fn assert_checksums_right(packet: &[u8]) {
    let ip = Ipv4Packet::parse_header(packet).unwrap();
    let l4 = &packet[usize::from(ip.header_len)..usize::from(ip.total_len)];
    let pseudo = Sum::pseudo_header_v4(ip.src, ip.dst, ip.protocol.0, l4.len() as u16);
    match ip.protocol {
        Protocol::UDP if l4[6..8] == [0, 0] => {}
        protocol if protocol.has_ports() => {
            assert_eq!(pseudo.add(Sum::of(&l4[..covered(ip.protocol, l4)])).fold(), 0xffff, "{ip:?}");
        }
        Protocol::ICMP => assert_eq!(of(l4), 0, "{ip:?}"),
        _ => {}
    }
}

/// Turns the frame's TCP or UDP checksum into the half-done one of a sender with offload.
pub(crate) fn make_partial(frame: &mut [u8]) -> Offload {
    let ip = Ipv4Packet::parse(&frame[14..]).unwrap();
    let csum_offset = if ip.protocol == Protocol::TCP { 16 } else { 6 };
    let l4_len = ip.total_len - ip.header_len;
    let pseudo = Sum::pseudo_header_v4(ip.src, ip.dst, ip.protocol.0, l4_len).fold();
    let at = 14 + usize::from(ip.header_len + csum_offset);
    frame[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
    Offload {
        csum_start: 14 + ip.header_len,
        csum_offset,
        gso: Gso::None,
        needs_checksum: true,
        ..Offload::NONE
    }
}
