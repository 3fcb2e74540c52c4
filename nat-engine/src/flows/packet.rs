//! A packet: puts other addresses and ports into it, and keeps its checksums right.

use std::net::Ipv4Addr;

use packet::checksum::Delta;
use packet::offload::update_checksum;
use packet::wire::{FromBytes, IcmpHeader, Ipv4Header, TcpHeader, U16, UdpHeader};
use packet::{DropReason, Fragment, Ipv4Packet, L4};

use crate::flows::sequence::Segment;
use crate::flows::tcp::TcpState;
use crate::flows::tuple::Tuple;

/// A packet as its caller parsed it.
#[derive(Debug)]
pub struct NatPacket<'a> {
    /// From the IPv4 header on; `ip.total_len` bytes or more (padding).
    pub bytes: &'a mut [u8],
    /// What [`Ipv4Packet::parse`] read from `bytes`; follows every rewrite.
    pub ip: &'a mut Ipv4Packet,
    /// The layer-4 checksum is still to be completed and holds the pseudo-header's sum only:
    /// [`packet::Offload::is_partial_at`].
    pub partial_checksum: bool,
}

/// What [`Nat::translate_known`](crate::Nat::translate_known) made of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Known {
    /// It belongs to a flow and has been rewritten: route it by its new destination.
    Translated,
    /// It belongs to no flow; untouched. If it then goes on as it is, [`Nat::pass_untranslated`](crate::Nat::pass_untranslated) wants to know.
    Miss,
    /// It is a later fragment of a datagram whose first fragment, which alone has the ports, hasn't come yet; untouched.
    /// [`Nat::keep_fragment`](crate::Nat::keep_fragment) can keep it until then; else it is lost.
    Later,
    /// It must not go on; untouched.
    Drop(DropReason),
}

impl NatPacket<'_> {
    /// Makes a packet that has the tuple `from` one that has the tuple `to`.
    #[inline]
    pub(crate) fn rewrite(&mut self, from: Tuple, to: Tuple) {
        if from == to {
            return;
        }
        let addresses = self.rewrite_addresses(to.source_address(), to.destination_address());
        let ports = Delta::NONE
            .u16(from.source_port(), to.source_port())
            .u16(from.destination_port(), to.destination_port());
        let Some((_, l4)) = self.bytes.split_at_mut_checked(usize::from(self.ip.header_len)) else { return };
        let (source, destination) = (to.source_port(), to.destination_port());
        let partial = self.partial_checksum;
        (self.ip.src_port, self.ip.dst_port) = (source, destination);
        match self.ip.l4 {
            L4::Tcp => {
                let Ok((tcp, _)) = TcpHeader::mut_from_prefix(l4) else { return };
                (tcp.src_port, tcp.dst_port) = (U16::new(source), U16::new(destination));
                update(&mut tcp.checksum, |field| update_checksum(field, partial, false, addresses, ports));
            }
            L4::Udp => {
                let Ok((udp, _)) = UdpHeader::mut_from_prefix(l4) else { return };
                (udp.src_port, udp.dst_port) = (U16::new(source), U16::new(destination));
                update(&mut udp.checksum, |field| update_checksum(field, partial, true, addresses, ports));
            }
            L4::EchoRequest | L4::EchoReply | L4::TimestampRequest | L4::TimestampReply => {
                let Ok((icmp, _)) = IcmpHeader::mut_from_prefix(l4) else { return };
                // The other one of the two is 0.
                icmp.id = U16::new(source | destination);
                // No pseudo-header: the addresses don't count.
                update(&mut icmp.checksum, |field| {
                    update_checksum(field, partial, false, Delta::NONE, ports);
                });
            }
            L4::UdpLite | L4::Dccp => self.rewrite_rare_ports(to, addresses, ports),
            L4::IcmpError | L4::IcmpOther | L4::Other | L4::None => {}
        }
    }

    /// The checksums of UDP-Lite and DCCP stand where UDP's does, and cover the ports however little else.
    #[cold]
    fn rewrite_rare_ports(&mut self, to: Tuple, addresses: Delta, ports: Delta) {
        let (partial, is_lite) = (self.partial_checksum, self.ip.l4 == L4::UdpLite);
        let Some((_, l4)) = self.bytes.split_at_mut_checked(usize::from(self.ip.header_len)) else { return };
        let Ok((udp, _)) = UdpHeader::mut_from_prefix(l4) else { return };
        (udp.src_port, udp.dst_port) = (U16::new(to.source_port()), U16::new(to.destination_port()));
        update(&mut udp.checksum, |field| update_checksum(field, partial, is_lite, addresses, ports));
    }

    /// Changes the addresses in the IP header only. Returns the change, for the checksums of layer 4.
    #[inline]
    pub(crate) fn rewrite_addresses(&mut self, src: Ipv4Addr, dst: Ipv4Addr) -> Delta {
        let addresses =
            Delta::NONE.u32(self.ip.src.to_bits(), src.to_bits()).u32(self.ip.dst.to_bits(), dst.to_bits());
        (self.ip.src, self.ip.dst) = (src, dst);
        if let Ok((header, _)) = Ipv4Header::mut_from_prefix(self.bytes) {
            (header.src, header.dst) = (src.octets(), dst.octets());
            header.checksum = U16::new(addresses.apply(header.checksum.get()));
        }
        addresses
    }

    /// Changes the identification.
    pub(crate) fn rewrite_id(&mut self, id: u16) {
        let change = Delta::NONE.u16(self.ip.id, id);
        self.ip.id = id;
        if let Ok((header, _)) = Ipv4Header::mut_from_prefix(self.bytes) {
            header.id = U16::new(id);
            header.checksum = U16::new(change.apply(header.checksum.get()));
        }
    }

    /// The numbers of a TCP segment, those of SYN and FIN left out.
    #[inline]
    pub(crate) fn segment(&self) -> Segment {
        let header_len = usize::from(self.ip.header_len);
        let header = self.bytes.get(header_len..).map(TcpHeader::ref_from_prefix);
        let Some(Ok((tcp, _))) = header else { return Segment::default() };
        let payload = u32::from(self.ip.total_len).wrapping_sub((header_len + tcp.header_len()) as u32);
        let (seq, ack) = (tcp.seq.get(), tcp.ack.get());
        Segment { seq, end: seq.wrapping_add(payload), ack }
    }

    /// The packet without padding.
    pub(crate) fn packet_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.ip.total_len)).unwrap_or_default()
    }

    pub(crate) fn is_fragment(&self) -> bool {
        self.ip.fragment != Fragment::Whole
    }
}

/// The tuple of a packet that may be a flow's first.
pub(crate) fn may_start_flow(ip: &Ipv4Packet) -> Result<Tuple, DropReason> {
    match ip.l4 {
        L4::Tcp | L4::Dccp if !TcpState::may_start(ip.tcp_flags) => Err(DropReason::TcpNoSyn),
        L4::EchoReply | L4::TimestampReply => Err(DropReason::NatUnsolicited),
        L4::IcmpError => Err(DropReason::IcmpErrorUnmatched),
        L4::IcmpOther => Err(DropReason::NatProtocolUnsupported),
        _ => Tuple::of(ip).ok_or(DropReason::FragmentWithoutFirst),
    }
}

#[inline]
fn update(field: &mut U16, change: impl FnOnce(&mut [u8; 2])) {
    let mut bytes = field.to_bytes();
    change(&mut bytes);
    *field = U16::from_bytes(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_checksums_right, frame_of, make_partial};
    use packet::Protocol;
    use packet::builder::{FrameBuilder, eth};
    use proptest::prelude::*;
    use std::net::SocketAddrV4;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    const PROTOCOLS: &[Protocol] =
        &[Protocol::TCP, Protocol::UDP, Protocol::ICMP, Protocol::UDP_LITE, Protocol::DCCP];

    fn build(protocol: Protocol, tuple: Tuple) -> FrameBuilder {
        let ip = eth().ipv4(tuple.source_address(), tuple.destination_address());
        match protocol {
            Protocol::TCP => ip.tcp(tuple.source_port(), tuple.destination_port(), 0x10),
            Protocol::UDP => ip.udp(tuple.source_port(), tuple.destination_port()),
            Protocol::UDP_LITE => ip.udp_lite(tuple.source_port(), tuple.destination_port(), 12),
            Protocol::DCCP => ip.dccp(tuple.source_port(), tuple.destination_port(), 2, 2),
            _ => ip.icmp_echo(tuple.source_port(), 7),
        }
    }

    fn tuple(protocol: Protocol, source: (u32, u16), destination: (u32, u16)) -> Tuple {
        let at = |(address, port)| SocketAddrV4::new(Ipv4Addr::from_bits(address), port);
        let destination_port = if protocol == Protocol::ICMP { 0 } else { destination.1 };
        Tuple::new(protocol, at(source), at((destination.0, destination_port)))
    }

    fn rewritten(frame: &[u8], partial: bool, to: Tuple) -> Vec<u8> {
        let mut bytes = frame[14..].to_vec();
        let mut ip = Ipv4Packet::parse(&bytes).unwrap();
        let from = Tuple::of(&ip).unwrap();
        NatPacket { bytes: &mut bytes, ip: &mut ip, partial_checksum: partial }.rewrite(from, to);
        assert_eq!(Ipv4Packet::parse(&bytes).unwrap(), ip);
        bytes
    }

    #[test]
    fn a_udp_packet_without_checksum_stays_without() {
        let mut frame = eth().ipv4(A, B).udp(1, 2).payload(b"x");
        frame[40..42].fill(0);
        let to = tuple(Protocol::UDP, (0x0102_0304, 99), (0x0506_0708, 77));
        assert_eq!(rewritten(&frame, false, to)[26..28], [0, 0]);
    }

    #[test]
    fn other_protocols_get_addresses_only() {
        let frame = eth().ipv4(A, B).payload(b"protocol 253");
        let to = Tuple::new(Protocol(253), SocketAddrV4::new(B, 0), SocketAddrV4::new(A, 0));
        let expected = eth().ipv4(B, A).payload(b"protocol 253");
        assert_eq!(rewritten(&frame, false, to), expected[14..]);
    }

    proptest! {
        #[test]
        fn a_rewritten_packet_is_the_one_that_would_have_been_built(
            protocol in prop::sample::select(PROTOCOLS),
            from: ((u32, u16), (u32, u16)), to: ((u32, u16), (u32, u16)),
            payload in prop::collection::vec(any::<u8>(), 4..50), padding in 0_usize..8,
        ) {
            let (from, to) = (tuple(protocol, from.0, from.1), tuple(protocol, to.0, to.1));
            let mut frame = build(protocol, from).payload(&payload);
            let expected = build(protocol, to).payload(&payload);
            frame.resize(frame.len() + padding, 0xaa);
            let whole = rewritten(&frame, false, to);
            assert_checksums_right(&whole);
            prop_assert_eq!(&whole[..expected.len() - 14], &expected[14..]);
            prop_assert_eq!(rewritten(&frame_of(&whole), false, from), &frame[14..]);
        }

        #[test]
        fn a_partial_checksum_completes_to_the_right_one(
            protocol in prop::sample::select(vec![Protocol::TCP, Protocol::UDP]),
            from: ((u32, u16), (u32, u16)), to: ((u32, u16), (u32, u16)), payload: Vec<u8>,
        ) {
            let (from, to) = (tuple(protocol, from.0, from.1), tuple(protocol, to.0, to.1));
            let mut frame = build(protocol, from).payload(&payload);
            let mut offload = make_partial(&mut frame);
            let mut whole = frame_of(&rewritten(&frame, true, to));
            packet::offload::complete_checksum(&mut whole, &mut offload);
            assert_checksums_right(&whole[14..]);
        }
    }
}
