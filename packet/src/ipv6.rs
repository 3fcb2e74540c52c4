//! An IPv6 packet, checked once: what the gateway and NAT need to know of its headers. RFC 8200.

use std::net::Ipv6Addr;

use crate::extensions::{self, FragmentHeader};
use crate::ipv4::Rare;
use crate::wire::{FromBytes, IcmpHeader, Ipv6Header, TcpHeader, UdpHeader};
use crate::{DropReason, Fragment, L4, Protocol};

/// An IPv6 packet whose headers were checked: lengths hold, and layer 4 was found behind the extension headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Packet {
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// Length of headers and payload; the bytes may be longer (Ethernet padding).
    pub total_len: u32,
    /// Of a fragment: what all fragments of the packet have in common.
    pub id: u32,
    /// Length of all headers up to layer 4, extension headers included; 40 without.
    pub header_len: u16,
    /// Where `protocol` stands as the next header.
    pub next_at: u16,
    /// Source port, in host byte order; of an echo request its identifier; else 0.
    pub src_port: u16,
    /// Destination port; of an echo reply its identifier; else 0.
    pub dst_port: u16,
    /// Protocol of the payload, behind all extension headers; of a later fragment, of what stands behind its header in the
    /// first one.
    pub protocol: Protocol,
    /// Hop limit.
    pub hop_limit: u8,
    /// What the payload is.
    pub l4: L4,
    /// FIN, SYN, RST … of TCP, as on the wire; of DCCP those that mean what its packet does; else 0.
    pub tcp_flags: u8,
    /// Whether it is a fragment.
    pub fragment: Fragment,
    /// Whether it has a fragment header, as atomic fragments do, too: RFC 6946.
    pub has_fragment_header: bool,
    /// Whether it has a routing header.
    pub has_routing_header: bool,
}

const _: () = assert!(size_of::<Ipv6Packet>() <= 64);

impl Ipv6Packet {
    /// What nothing was read into yet.
    pub const EMPTY: Self = Self {
        src: Ipv6Addr::UNSPECIFIED,
        dst: Ipv6Addr::UNSPECIFIED,
        total_len: 0,
        id: 0,
        header_len: 0,
        next_at: 0,
        src_port: 0,
        dst_port: 0,
        protocol: Protocol(0),
        hop_limit: 0,
        l4: L4::None,
        tcp_flags: 0,
        fragment: Fragment::Whole,
        has_fragment_header: false,
        has_routing_header: false,
    };

    /// Reads the packet that starts at `bytes`; trailing padding is allowed.
    ///
    /// # Errors
    /// `BadIpHeader`, `TooManyExtensions`, `BadL4Header`: the latter also if a first fragment hasn't all headers, RFC 7112.
    /// Checksums of layer 4 are not looked at: end hosts check them, and with offload they may not be there yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let mut packet = Self::EMPTY;
        packet.read(bytes)?;
        Ok(packet)
    }

    /// [`parse`](Self::parse) into a place that is there already, as [`Ipv4Packet::read`](crate::Ipv4Packet::read).
    ///
    /// # Errors
    /// As `parse`; then it is unspecified what was read.
    #[inline]
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), DropReason> {
        let (header, rest) = Ipv6Header::ref_from_prefix(bytes).map_err(|_| DropReason::BadIpHeader)?;
        let payload_len = usize::from(header.payload_len.get());
        if header.version_class_label.get() >> 28 != 6 || payload_len > rest.len() {
            return Err(DropReason::BadIpHeader);
        }
        let bytes = &bytes[..Ipv6Header::LEN + payload_len];
        *self = Self {
            src: header.src.into(),
            dst: header.dst.into(),
            total_len: bytes.len() as u32,
            header_len: Ipv6Header::LEN as u16,
            next_at: NEXT_HEADER,
            protocol: Protocol(header.next_header),
            hop_limit: header.hop_limit,
            ..Self::EMPTY
        };
        if !matches!(self.protocol, Protocol::TCP | Protocol::UDP | Protocol::ICMPV6) {
            self.walk(bytes)?;
            if self.fragment == Fragment::Later {
                return Ok(());
            }
        }
        self.read_l4(&bytes[usize::from(self.header_len)..])
    }

    /// Where the fragment header starts, of a packet that was read from `bytes` and has one.
    pub fn fragment_header(&self, bytes: &[u8]) -> Option<FragmentHeader> {
        let first = *bytes.get(usize::from(NEXT_HEADER))?;
        extensions::walk(first, bytes.get(..self.total_len as usize)?).ok()?.fragment
    }

    /// What is behind all headers up to layer 4, padding left out, in the `bytes` that it was read from.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(usize::from(self.header_len)..self.total_len as usize).unwrap_or_default()
    }

    #[cold]
    fn walk(&mut self, bytes: &[u8]) -> Result<(), DropReason> {
        let chain = extensions::walk(self.protocol.0, bytes)?;
        (self.protocol, self.has_routing_header) = (chain.protocol, chain.routing_at.is_some());
        (self.header_len, self.next_at) = (chain.end as u16, chain.next_at as u16);
        if let Some(fragment) = chain.fragment {
            (self.fragment, self.id, self.has_fragment_header) = (fragment.part(), fragment.id, true);
        }
        Ok(())
    }

    #[inline]
    fn read_l4(&mut self, l4: &[u8]) -> Result<(), DropReason> {
        const BAD: DropReason = DropReason::BadL4Header;
        match self.protocol {
            Protocol::TCP => {
                let (tcp, _) = TcpHeader::ref_from_prefix(l4).map_err(|_| BAD)?;
                if tcp.header_len() < TcpHeader::LEN || tcp.header_len() > l4.len() {
                    return Err(BAD);
                }
                (self.src_port, self.dst_port) = (tcp.src_port.get(), tcp.dst_port.get());
                (self.l4, self.tcp_flags) = (L4::Tcp, tcp.flags);
            }
            Protocol::UDP => {
                let (udp, _) = UdpHeader::ref_from_prefix(l4).map_err(|_| BAD)?;
                let len = usize::from(udp.len.get());
                if len < UdpHeader::LEN || (self.fragment == Fragment::Whole && len > l4.len()) {
                    return Err(BAD);
                }
                (self.src_port, self.dst_port) = (udp.src_port.get(), udp.dst_port.get());
                self.l4 = L4::Udp;
            }
            Protocol::ICMPV6 => {
                // Messages may be shorter than an echo's: the fixed part is 4 bytes, RFC 4443, 2.1.
                let &[kind, _, _, _, ..] = l4 else { return Err(BAD) };
                let id = || Some(IcmpHeader::ref_from_prefix(l4).ok()?.0.id.get());
                match kind {
                    icmp6::ECHO_REQUEST => {
                        (self.l4, self.src_port) = (L4::EchoRequest, id().ok_or(BAD)?);
                    }
                    icmp6::ECHO_REPLY => (self.l4, self.dst_port) = (L4::EchoReply, id().ok_or(BAD)?),
                    kind if icmp6::is_error(kind) => self.l4 = L4::IcmpError,
                    _ => self.l4 = L4::IcmpOther,
                }
            }
            Protocol::DCCP | Protocol::UDP_LITE => {
                let rare = Rare::read(self.protocol, l4, self.fragment).ok_or(BAD)?;
                (self.src_port, self.dst_port) = rare.ports;
                (self.l4, self.tcp_flags) = (rare.l4, rare.tcp_flags);
            }
            _ => self.l4 = L4::Other,
        }
        Ok(())
    }
}

/// Types of ICMPv6 messages.
pub mod icmp6 {
    /// Destination unreachable. RFC 4443, 3.1.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big. RFC 4443, 3.2.
    pub const TOO_BIG: u8 = 2;
    /// Time exceeded. RFC 4443, 3.3.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem. RFC 4443, 3.4.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request. RFC 4443, 4.1.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply. RFC 4443, 4.2.
    pub const ECHO_REPLY: u8 = 129;
    /// Multicast listener query. RFC 3810, 5.1.
    pub const LISTENER_QUERY: u8 = 130;
    /// Router solicitation. RFC 4861, 4.1.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement. RFC 4861, 4.2.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation. RFC 4861, 4.3.
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement. RFC 4861, 4.4.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// Redirect. RFC 4861, 4.5.
    pub const REDIRECT: u8 = 137;
    /// Multicast listener report, version 2. RFC 3810, 5.2.
    pub const LISTENER_REPORT: u8 = 143;

    /// Whether messages of this type are errors: they quote the packet that they are about. RFC 4443, 2.1.
    pub const fn is_error(kind: u8) -> bool {
        kind < 128
    }
}

/// Where the next header stands in IPv6's.
const NEXT_HEADER: u16 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::eth;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    const A: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
    const B: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
    const OPTIONS: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

    #[test]
    fn a_udp_packet_is_read_with_and_without_extension_headers() {
        let frame = eth().ipv6(A, B).hop_limit(9).udp(1000, 53).payload(b"q");
        let packet = Ipv6Packet::parse(&frame[14..]).unwrap();
        assert_eq!((packet.src, packet.dst, packet.total_len, packet.hop_limit), (A, B, 49, 9));
        assert_eq!((packet.l4, packet.src_port, packet.dst_port, packet.header_len), (L4::Udp, 1000, 53, 40));
        let frame = eth().ipv6(A, B).extension(Protocol::HOP_BY_HOP, &OPTIONS).udp(1000, 53).payload(b"q");
        let packet = Ipv6Packet::parse(&frame[14..]).unwrap();
        assert_eq!(
            (packet.l4, packet.src_port, packet.header_len, packet.total_len),
            (L4::Udp, 1000, 48, 57)
        );
        assert_eq!(packet.payload(&frame[14..]).len(), 9);
    }

    #[test]
    fn echoes_and_errors_are_told_apart() {
        let read = |kind, rest| {
            Ipv6Packet::parse(&eth().ipv6(A, B).icmp6(kind, 0, rest).payload(b"")[14..]).unwrap()
        };
        let request = read(icmp6::ECHO_REQUEST, 7 << 16);
        assert_eq!((request.l4, request.src_port, request.dst_port), (L4::EchoRequest, 7, 0));
        let reply = read(icmp6::ECHO_REPLY, 7 << 16);
        assert_eq!((reply.l4, reply.src_port, reply.dst_port), (L4::EchoReply, 0, 7));
        assert_eq!(read(icmp6::TOO_BIG, 1280).l4, L4::IcmpError);
        assert_eq!(read(icmp6::ROUTER_SOLICITATION, 0).l4, L4::IcmpOther);
    }

    #[test]
    fn rfc6946_an_atomic_fragment_is_a_whole_packet() {
        let frame =
            eth().ipv6(A, B).extension(Protocol::FRAGMENT, &[0, 0, 0, 0, 0, 0, 0, 9]).udp(1, 2).payload(b"");
        let packet = Ipv6Packet::parse(&frame[14..]).unwrap();
        assert_eq!((packet.fragment, packet.has_fragment_header, packet.id), (Fragment::Whole, true, 9));
        assert_eq!(packet.l4, L4::Udp);
    }

    #[test]
    fn rfc7112_a_first_fragment_has_all_headers() {
        let frame =
            eth().ipv6(A, B).extension(Protocol::FRAGMENT, &[0, 0, 0, 1, 0, 0, 0, 9]).udp(1, 2).payload(b"");
        assert_eq!(Ipv6Packet::parse(&frame[14..]).unwrap().fragment, Fragment::First);
        let mut cut = frame[14..54 + 12].to_vec();
        cut[4..6].copy_from_slice(&12_u16.to_be_bytes());
        assert_eq!(Ipv6Packet::parse(&cut), Err(DropReason::BadL4Header));
    }

    #[test]
    fn every_truncation_is_refused_and_none_panics() {
        for frame in [
            eth().ipv6(A, B).tcp(1, 2, TcpHeader::SYN).payload(b"abc"),
            eth().ipv6(A, B).extension(Protocol::HOP_BY_HOP, &OPTIONS).udp(1, 2).payload(b"abc"),
            eth().ipv6(A, B).icmp6(icmp6::ECHO_REQUEST, 0, 0).payload(b"abc"),
        ] {
            for end in 14..frame.len() {
                assert_eq!(Ipv6Packet::parse(&frame[14..end]), Err(DropReason::BadIpHeader));
            }
        }
    }

    /// What another parser makes of a packet: layer 4's ports, if it can be read.
    fn ports_as_etherparse_has_them(packet: &[u8]) -> Option<(u16, u16)> {
        let sliced = SlicedPacket::from_ip(packet).ok()?;
        if !matches!(&sliced.net, Some(NetSlice::Ipv6(ip)) if !ip.payload().fragmented) {
            return None;
        }
        match sliced.transport? {
            TransportSlice::Udp(udp) => Some((udp.source_port(), udp.destination_port())),
            TransportSlice::Tcp(tcp) => Some((tcp.source_port(), tcp.destination_port())),
            _ => None,
        }
    }

    fn extension() -> impl Strategy<Value = (Protocol, Vec<u8>)> {
        let kinds = prop::sample::select(vec![Protocol::ROUTING, Protocol::DESTINATION_OPTIONS]);
        let options = (kinds, 0_u8..4).prop_map(|(kind, len)| {
            let mut header = vec![0; (usize::from(len) + 1) * 8];
            header[1] = len;
            (kind, header)
        });
        let fragment = (0_u16..3, any::<u32>()).prop_map(|(field, id)| {
            let mut header = vec![0; 8];
            header[2..4].copy_from_slice(&(field & 1 | (field & 2) << 2).to_be_bytes());
            header[4..].copy_from_slice(&id.to_be_bytes());
            (Protocol::FRAGMENT, header)
        });
        prop_oneof![options, fragment]
    }

    proptest! {
        #[test]
        fn ports_are_where_another_parser_finds_them(
            headers in proptest::collection::vec(extension(), 0..4), tcp: bool, src: u16, dst: u16,
        ) {
            let packet = headers.iter().fold(eth().ipv6(A, B), |packet, (kind, header)| packet.extension(*kind, header));
            let packet = if tcp { packet.tcp(src, dst, TcpHeader::SYN) } else { packet.udp(src, dst) };
            let frame = packet.payload(b"data");
            // It stops at headers in another order than the usual one.
            if let Some(ports) = ports_as_etherparse_has_them(&frame[14..]) {
                let ours = Ipv6Packet::parse(&frame[14..]).unwrap();
                prop_assert_eq!((ours.src_port, ours.dst_port), ports);
            }
        }

        #[test]
        fn whatever_comes_is_survived_and_stays_inside(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() {
                *first = 0x60;
            }
            if let Ok(packet) = Ipv6Packet::parse(&bytes) {
                prop_assert!(u32::from(packet.header_len) <= packet.total_len);
                prop_assert!(packet.total_len as usize <= bytes.len());
            }
        }
    }
}
