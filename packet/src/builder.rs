//! Builds packets layer by layer, for tests, benchmarks and the switch's own answers:
//! `eth().ipv4(a, b).udp(1000, 53).payload(b"q")`. Lengths and checksums are filled in at the end.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::checksum::{self, Sum};
use crate::wire::{
    ArpPacket, DccpHeader, EthernetHeader, FromBytes, IntoBytes, Ipv4Header, Ipv6Header, TcpHeader, U16, U32,
    UdpHeader,
};
use crate::{EtherType, MacAddr, Protocol};

/// A frame under construction.
#[derive(Clone, Debug)]
pub struct FrameBuilder {
    dst: MacAddr,
    src: MacAddr,
    tags: Vec<(EtherType, u16)>,
    ether_type: EtherType,
    ip: Option<Ipv4Header>,
    ip6: Option<Ipv6Header>,
    /// Between `ip6` and layer 4.
    extensions: Vec<u8>,
    /// Where in `extensions` the next header stands that layer 4 is; `None`: in `ip6`.
    next_at: Option<usize>,
    l4: Vec<u8>,
}

/// A frame from 02:00:00:00:00:01 to 02:00:00:00:00:02, untagged, of a local experimental EtherType.
pub fn eth() -> FrameBuilder {
    FrameBuilder {
        dst: MacAddr::local(2),
        src: MacAddr::local(1),
        tags: Vec::new(),
        ether_type: EtherType(0x88b5),
        ip: None,
        ip6: None,
        extensions: Vec::new(),
        next_at: None,
        l4: Vec::new(),
    }
}

impl FrameBuilder {
    /// Source address.
    #[must_use]
    pub fn src(self, src: MacAddr) -> Self {
        Self { src, ..self }
    }

    /// Destination address.
    #[must_use]
    pub fn dst(self, dst: MacAddr) -> Self {
        Self { dst, ..self }
    }

    /// Adds a C-tag inside the tags already there; what it says isn't checked, so that tests can send a bad one.
    #[must_use]
    pub fn vlan(mut self, tci: u16) -> Self {
        self.tags.push((EtherType::VLAN, tci));
        self
    }

    /// Adds an S-tag likewise.
    #[must_use]
    pub fn service_vlan(mut self, tci: u16) -> Self {
        self.tags.push((EtherType::SERVICE_VLAN, tci));
        self
    }

    /// EtherType of the payload.
    #[must_use]
    pub fn ether_type(self, ether_type: EtherType) -> Self {
        Self { ether_type, ..self }
    }

    /// An IPv4 header: ttl 64, id 1, DF set.
    #[must_use]
    pub fn ipv4(self, src: Ipv4Addr, dst: Ipv4Addr) -> Self {
        let ip = Ipv4Header {
            version_ihl: 0x45,
            tos: 0,
            total_len: U16::ZERO,
            id: U16::new(1),
            flags_fragment: U16::new(Ipv4Header::DF),
            ttl: 64,
            protocol: 253,
            checksum: U16::ZERO,
            src: src.octets(),
            dst: dst.octets(),
        };
        Self { ether_type: EtherType::IPV4, ip: Some(ip), ..self }
    }

    /// Changes the IPv4 header.
    #[must_use]
    pub fn ip(mut self, change: impl FnOnce(&mut Ipv4Header)) -> Self {
        if let Some(ip) = &mut self.ip {
            change(ip);
        }
        self
    }

    /// Time to live.
    #[must_use]
    pub fn ttl(self, ttl: u8) -> Self {
        self.ip(|ip| ip.ttl = ttl)
    }

    /// An IPv6 header: hop limit 64, no flow label.
    #[must_use]
    pub fn ipv6(self, src: Ipv6Addr, dst: Ipv6Addr) -> Self {
        let ip = Ipv6Header {
            version_class_label: U32::new(6 << 28),
            payload_len: U16::ZERO,
            next_header: Protocol::NO_NEXT_HEADER.0,
            hop_limit: 64,
            src: src.octets(),
            dst: dst.octets(),
        };
        Self { ether_type: EtherType::IPV6, ip6: Some(ip), ..self }
    }

    /// Hop limit of the IPv6 header.
    #[must_use]
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        if let Some(ip) = &mut self.ip6 {
            ip.hop_limit = hop_limit;
        }
        self
    }

    /// Adds an extension header behind those already there. Its first byte, the next header, is filled in.
    #[must_use]
    pub fn extension(mut self, kind: Protocol, header: &[u8]) -> Self {
        self.next_is(kind);
        self.next_at = Some(self.extensions.len());
        self.extensions.extend_from_slice(header);
        self
    }

    /// A UDP header.
    #[must_use]
    pub fn udp(self, src: u16, dst: u16) -> Self {
        let udp = UdpHeader {
            src_port: U16::new(src),
            dst_port: U16::new(dst),
            len: U16::ZERO,
            checksum: U16::ZERO,
        };
        self.layer4(Protocol::UDP, udp.as_bytes())
    }

    /// A TCP header with these flags, of a connection in which nobody has sent any data: both sides
    /// go on at 1000, so their SYNs are 999. Window 65535.
    #[must_use]
    pub fn tcp(self, src: u16, dst: u16, flags: u8) -> Self {
        let tcp = TcpHeader {
            src_port: U16::new(src),
            dst_port: U16::new(dst),
            seq: U32::new(if flags & TcpHeader::SYN != 0 { 999 } else { 1000 }),
            ack: U32::new(if flags & TcpHeader::ACK != 0 { 1000 } else { 0 }),
            data_offset: 5 << 4,
            flags,
            window: U16::MAX_VALUE,
            checksum: U16::ZERO,
            urgent: U16::ZERO,
        };
        self.layer4(Protocol::TCP, tcp.as_bytes())
    }

    /// Sequence and acknowledgment number of the TCP header.
    #[must_use]
    pub fn numbers(mut self, seq: u32, ack: u32) -> Self {
        if let Ok((tcp, _)) = TcpHeader::mut_from_prefix(&mut self.l4) {
            (tcp.seq, tcp.ack) = (U32::new(seq), U32::new(ack));
        }
        self
    }

    /// A UDP-Lite header, with so many bytes covered by the checksum; 0 covers all.
    #[must_use]
    pub fn udp_lite(self, src: u16, dst: u16, coverage: u16) -> Self {
        let udp = UdpHeader {
            src_port: U16::new(src),
            dst_port: U16::new(dst),
            len: U16::new(coverage),
            checksum: U16::ZERO,
        };
        self.layer4(Protocol::UDP_LITE, udp.as_bytes())
    }

    /// A DCCP header without options and with short sequence numbers, of this type, with this coverage of the payload by the
    /// checksum: 0 is all, n is n − 1 words.
    #[must_use]
    pub fn dccp(self, src: u16, dst: u16, kind: u8, coverage: u8) -> Self {
        let dccp = DccpHeader {
            src_port: U16::new(src),
            dst_port: U16::new(dst),
            data_offset: (DccpHeader::LEN / 4) as u8,
            coverage,
            checksum: U16::ZERO,
            kind: kind << 1,
            seq: [0, 0, 7],
        };
        self.layer4(Protocol::DCCP, dccp.as_bytes())
    }

    /// An ICMP echo request.
    #[must_use]
    pub fn icmp_echo(self, id: u16, seq: u16) -> Self {
        self.icmp(8, 0, u32::from(id) << 16 | u32::from(seq))
    }

    /// An ICMP echo reply.
    #[must_use]
    pub fn icmp_echo_reply(self, id: u16, seq: u16) -> Self {
        self.icmp(0, 0, u32::from(id) << 16 | u32::from(seq))
    }

    /// An ICMP message: type, code and the four bytes behind the checksum.
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8, rest: u32) -> Self {
        let mut header = [kind, code, 0, 0, 0, 0, 0, 0];
        header[4..].copy_from_slice(&rest.to_be_bytes());
        self.layer4(Protocol::ICMP, &header)
    }

    /// An ICMPv6 message: type, code and the four bytes behind the checksum.
    #[must_use]
    pub fn icmp6(self, kind: u8, code: u8, rest: u32) -> Self {
        let mut header = [kind, code, 0, 0, 0, 0, 0, 0];
        header[4..].copy_from_slice(&rest.to_be_bytes());
        self.layer4(Protocol::ICMPV6, &header)
    }

    /// An ARP packet; the Ethernet addresses are left as they are.
    pub fn arp(self, operation: u16, sender: (MacAddr, Ipv4Addr), target: (MacAddr, Ipv4Addr)) -> Vec<u8> {
        let arp = ArpPacket {
            hardware: U16::new(1),
            protocol: U16::new(EtherType::IPV4.0),
            hardware_len: 6,
            protocol_len: 4,
            operation: U16::new(operation),
            sender_mac: sender.0.octets(),
            sender_ip: sender.1.octets(),
            target_mac: target.0.octets(),
            target_ip: target.1.octets(),
        };
        self.ether_type(EtherType::ARP).payload(arp.as_bytes())
    }

    /// Ends the packet: appends `payload`, fills in lengths and checksums.
    pub fn payload(self, payload: &[u8]) -> Vec<u8> {
        let mut frame = [self.dst.octets(), self.src.octets()].concat();
        for (protocol, tci) in &self.tags {
            frame.extend_from_slice(&protocol.0.to_be_bytes());
            frame.extend_from_slice(&tci.to_be_bytes());
        }
        frame.extend_from_slice(&self.ether_type.0.to_be_bytes());
        let mut l4 = self.l4;
        l4.extend_from_slice(payload);
        if let Some(mut ip) = self.ip {
            ip.total_len = U16::new((Ipv4Header::LEN + l4.len()) as u16);
            ip.checksum = U16::new(checksum::of(ip.as_bytes()));
            let len = l4.len() as u16;
            let pseudo = Sum::pseudo_header_v4(ip.source(), ip.destination(), ip.protocol, len);
            complete_l4(Protocol(ip.protocol), pseudo, &mut l4);
            frame.extend_from_slice(ip.as_bytes());
        }
        if let Some(mut ip) = self.ip6 {
            ip.payload_len = U16::new((self.extensions.len() + l4.len()) as u16);
            let protocol = self.next_at.map_or(ip.next_header, |at| self.extensions[at]);
            let pseudo = Sum::pseudo_header_v6(ip.src, ip.dst, protocol, l4.len() as u32);
            complete_l4(Protocol(protocol), pseudo, &mut l4);
            frame.extend_from_slice(ip.as_bytes());
            frame.extend_from_slice(&self.extensions);
        }
        frame.extend_from_slice(&l4);
        frame
    }

    fn layer4(mut self, protocol: Protocol, header: &[u8]) -> Self {
        self.l4 = header.to_vec();
        self.next_is(protocol);
        self.ip(|ip| ip.protocol = protocol.0)
    }

    /// What comes next behind the IPv6 header and those that are there.
    fn next_is(&mut self, next: Protocol) {
        match (self.next_at, &mut self.ip6) {
            (Some(at), _) => self.extensions[at] = next.0,
            (None, Some(ip)) => ip.next_header = next.0,
            (None, None) => {}
        }
    }
}

/// How much of layer 4 its checksum covers.
pub fn covered(protocol: Protocol, l4: &[u8]) -> usize {
    let covered = match (protocol, l4) {
        (Protocol::UDP_LITE, &[_, _, _, _, high, low, ..]) => usize::from(u16::from_be_bytes([high, low])),
        (Protocol::DCCP, &[_, _, _, _, offset, coverage, ..]) => match coverage & 0xf {
            0 => 0,
            words => (usize::from(offset) + usize::from(words) - 1) * 4,
        },
        _ => 0,
    };
    if covered == 0 { l4.len() } else { covered.min(l4.len()) }
}

/// The fragments, in order, of the untagged IPv4 frame `whole`, which has no IP options: each with this identification and
/// `size` bytes of layer 4, a multiple of 8.
pub fn fragments(whole: &[u8], id: u16, size: usize) -> Vec<Vec<u8>> {
    let (headers, l4) = whole.split_at(L4_START);
    let pieces = l4.chunks(size).enumerate();
    pieces
        .map(|(index, piece)| {
            let is_last = index * size + piece.len() == l4.len();
            let more = if is_last { 0 } else { Ipv4Header::MF };
            let mut frame = [headers, piece].concat();
            if let Ok((ip, _)) = Ipv4Header::mut_from_prefix(&mut frame[EthernetHeader::LEN..]) {
                ip.total_len = U16::new((Ipv4Header::LEN + piece.len()) as u16);
                ip.id = U16::new(id);
                ip.flags_fragment = U16::new(more | (index * size / 8) as u16);
                ip.checksum = U16::ZERO;
                ip.checksum = U16::new(checksum::of(ip.as_bytes()));
            }
            frame
        })
        .collect()
}

/// Where layer 4 starts in an untagged IPv4 frame without IP options.
const L4_START: usize = EthernetHeader::LEN + Ipv4Header::LEN;

fn complete_l4(protocol: Protocol, pseudo: Sum, l4: &mut [u8]) {
    let (at, pseudo) = match protocol {
        Protocol::UDP => {
            let len = l4.len() as u16;
            l4[4..6].copy_from_slice(&len.to_be_bytes());
            (6, pseudo)
        }
        Protocol::TCP => (16, pseudo),
        Protocol::ICMP => (2, Sum::ZERO),
        Protocol::ICMPV6 => (2, pseudo),
        Protocol::UDP_LITE | Protocol::DCCP => (6, pseudo),
        _ => return,
    };
    let checksum = match pseudo.add(Sum::of(&l4[..covered(protocol, l4)])).checksum() {
        // RFC 768: 0 says that there is none.
        0 if protocol == Protocol::UDP => 0xffff,
        checksum => checksum,
    };
    l4[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn a_udp_datagram_is_never_without_a_checksum() {
        for payload in 0..=u16::MAX {
            let frame = eth().ipv4(A, B).udp(1000, 53).payload(&payload.to_be_bytes());
            assert_ne!(frame[40..42], [0, 0]);
        }
    }

    #[test]
    fn another_decoder_reads_what_was_built_of_ipv6() {
        let (a, b) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        let options = [0, 0, 1, 4, 0, 0, 0, 0];
        let frame =
            eth().ipv6(a, b).extension(Protocol::DESTINATION_OPTIONS, &options).udp(1000, 53).payload(b"odd");
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("{packet:?}") };
        assert_eq!((ip.header().source_addr(), ip.header().destination_addr()), (a, b));
        let Some(TransportSlice::Udp(udp)) = &packet.transport else { panic!("{packet:?}") };
        assert_eq!(
            udp.to_header().calc_checksum_ipv6_raw(a.octets(), b.octets(), b"odd"),
            Ok(udp.checksum())
        );
        let frame = eth().ipv6(a, b).icmp6(128, 0, 7).payload(b"odd");
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else { panic!("{packet:?}") };
        assert!(icmp.is_checksum_valid(a.octets(), b.octets()));
    }

    #[test]
    fn another_decoder_reads_what_was_built() {
        let frame = eth().vlan(7).ipv4(A, B).ttl(9).tcp(1000, 80, TcpHeader::SYN).payload(b"hello");
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        assert_eq!(packet.vlan_ids()[0].value(), 7);
        let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("{packet:?}") };
        assert_eq!((ip.header().source_addr(), ip.header().ttl()), (A, 9));
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("{packet:?}") };
        assert_eq!(
            (tcp.source_port(), tcp.destination_port(), tcp.syn(), tcp.payload()),
            (1000, 80, true, &b"hello"[..])
        );
        assert_eq!(tcp.calc_checksum_ipv4(A.octets(), B.octets()), Ok(tcp.checksum()));
    }
}
