//! An IPv4 packet, checked once: what the gateway and NAT need to know of its headers.

use std::net::Ipv4Addr;

use crate::DropReason;
use crate::checksum::Sum;
use crate::wire::{DccpHeader, FromBytes, IcmpHeader, Ipv4Header, TcpHeader, UdpHeader};

/// An IP protocol number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Protocol(pub u8);

impl Protocol {
    /// IPv6's hop-by-hop options, RFC 8200 4.3.
    pub const HOP_BY_HOP: Self = Self(0);
    /// ICMP, RFC 792.
    pub const ICMP: Self = Self(1);
    /// TCP, RFC 9293.
    pub const TCP: Self = Self(6);
    /// UDP, RFC 768.
    pub const UDP: Self = Self(17);
    /// DCCP, RFC 4340.
    pub const DCCP: Self = Self(33);
    /// IPv6's routing header, RFC 8200 4.4.
    pub const ROUTING: Self = Self(43);
    /// IPv6's fragment header, RFC 8200 4.5.
    pub const FRAGMENT: Self = Self(44);
    /// The authentication header, RFC 4302.
    pub const AUTHENTICATION: Self = Self(51);
    /// ICMPv6, RFC 4443.
    pub const ICMPV6: Self = Self(58);
    /// Nothing follows, RFC 8200 4.7.
    pub const NO_NEXT_HEADER: Self = Self(59);
    /// IPv6's destination options, RFC 8200 4.6.
    pub const DESTINATION_OPTIONS: Self = Self(60);
    /// UDP-Lite, RFC 3828.
    pub const UDP_LITE: Self = Self(136);

    /// Whether layer 4 begins with a source and a destination port that NAT can change.
    #[inline]
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::DCCP | Self::UDP_LITE)
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::ICMP => f.pad("icmp"),
            Self::TCP => f.pad("tcp"),
            Self::UDP => f.pad("udp"),
            Self::DCCP => f.pad("dccp"),
            Self::ICMPV6 => f.pad("icmpv6"),
            Self::UDP_LITE => f.pad("udplite"),
            Self(other) => f.pad(&other.to_string()),
        }
    }
}

/// What a packet is a fragment of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// The packet is whole.
    Whole,
    /// The first fragment: it has the layer-4 header.
    First,
    /// A later fragment: it has payload only.
    Later,
}

/// What layer 4 is, as far as forwarding and NAT need it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum L4 {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// UDP-Lite.
    UdpLite,
    /// DCCP.
    Dccp,
    /// An ICMP echo request.
    EchoRequest,
    /// An ICMP echo reply.
    EchoReply,
    /// An ICMP timestamp request.
    TimestampRequest,
    /// An ICMP timestamp reply.
    TimestampReply,
    /// Another protocol.
    Other,
    /// An ICMP message about another packet, which it quotes.
    IcmpError,
    /// Another ICMP message.
    IcmpOther,
    /// A later fragment: no header here.
    None,
}

/// An IPv4 packet whose header was checked: lengths hold, and the checksum is right.
///
/// Flat, so that a burst's packets can be kept and copied without looking into them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Packet {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Source port, in host byte order; of an ICMP request its identifier; else 0.
    pub src_port: u16,
    /// Destination port; of an ICMP reply its identifier; else 0.
    pub dst_port: u16,
    /// Header length with options, 20 to 60.
    pub header_len: u16,
    /// Length of header and payload; the bytes may be longer (Ethernet padding).
    pub total_len: u16,
    /// Identification.
    pub id: u16,
    /// Protocol of the payload.
    pub protocol: Protocol,
    /// Time to live.
    pub ttl: u8,
    /// What the payload is.
    pub l4: L4,
    /// FIN, SYN, RST … of TCP, as on the wire; of DCCP those that mean what its packet does; else 0.
    pub tcp_flags: u8,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// Whether it is a fragment.
    pub fragment: Fragment,
}

const _: () = assert!(size_of::<Ipv4Packet>() <= 24);

impl Ipv4Packet {
    /// What nothing was read into yet.
    pub const EMPTY: Self = Self {
        src: Ipv4Addr::UNSPECIFIED,
        dst: Ipv4Addr::UNSPECIFIED,
        src_port: 0,
        dst_port: 0,
        header_len: 0,
        total_len: 0,
        id: 0,
        protocol: Protocol(0),
        ttl: 0,
        l4: L4::None,
        tcp_flags: 0,
        dont_fragment: false,
        fragment: Fragment::Whole,
    };

    /// Reads the packet that starts at `bytes`; trailing padding is allowed.
    ///
    /// # Errors
    /// `BadIpHeader`, `BadIpChecksum`, `BadL4Header`. Checksums of layer 4 are not looked at: end hosts check them, and
    /// with offload they may not be there yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let mut packet = Self::EMPTY;
        packet.read(bytes)?;
        Ok(packet)
    }

    /// Reads the IP header alone; `l4` is [`L4::None`].
    ///
    /// # Errors
    /// `BadIpHeader`, `BadIpChecksum`.
    pub fn parse_header(bytes: &[u8]) -> Result<Self, DropReason> {
        let mut packet = Self::EMPTY;
        packet.read_header(bytes)?;
        Ok(packet)
    }

    /// [`parse`](Self::parse) into a place that is there already. On the way of a burst it saves copies, and with them
    /// 5 ns: a copy of what was written field by field a moment ago waits until the processor has put the fields together.
    ///
    /// # Errors
    /// As `parse`; then it is unspecified what was read.
    #[inline]
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), DropReason> {
        self.read_header(bytes)?;
        if self.fragment == Fragment::Later {
            return Ok(());
        }
        self.read_l4(&bytes[usize::from(self.header_len)..usize::from(self.total_len)])
    }

    /// Whether it is no fragment and will not become any, so that its identification means nothing. RFC 6864, 4.
    #[inline]
    pub const fn is_atomic(&self) -> bool {
        self.dont_fragment && matches!(self.fragment, Fragment::Whole)
    }

    #[inline]
    fn read_header(&mut self, bytes: &[u8]) -> Result<(), DropReason> {
        let (header, _) = Ipv4Header::ref_from_prefix(bytes).map_err(|_| DropReason::BadIpHeader)?;
        let header_len = usize::from(header.version_ihl & 0xf) * 4;
        let total_len = usize::from(header.total_len.get());
        let version = header.version_ihl >> 4;
        if version != 4 || header_len < Ipv4Header::LEN || total_len < header_len || total_len > bytes.len() {
            return Err(DropReason::BadIpHeader);
        }
        let right = match header_len {
            Ipv4Header::LEN => checksum_is_right(header),
            _ => Sum::of(&bytes[..header_len]).fold() == 0xffff,
        };
        if !right {
            return Err(DropReason::BadIpChecksum);
        }
        let flags = header.flags_fragment.get();
        let fragment = match (flags & Ipv4Header::OFFSET_MASK, flags & Ipv4Header::MF) {
            (0, 0) => Fragment::Whole,
            (0, _) => Fragment::First,
            _ => Fragment::Later,
        };
        *self = Self {
            src: header.source(),
            dst: header.destination(),
            header_len: header_len as u16,
            total_len: total_len as u16,
            id: header.id.get(),
            protocol: Protocol(header.protocol),
            ttl: header.ttl,
            dont_fragment: flags & Ipv4Header::DF != 0,
            fragment,
            ..Self::EMPTY
        };
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
            Protocol::ICMP => {
                let (icmp, _) = IcmpHeader::ref_from_prefix(l4).map_err(|_| BAD)?;
                match icmp.kind {
                    IcmpHeader::ECHO_REQUEST => (self.l4, self.src_port) = (L4::EchoRequest, icmp.id.get()),
                    IcmpHeader::ECHO_REPLY => (self.l4, self.dst_port) = (L4::EchoReply, icmp.id.get()),
                    IcmpHeader::TIMESTAMP => (self.l4, self.src_port) = (L4::TimestampRequest, icmp.id.get()),
                    IcmpHeader::TIMESTAMP_REPLY => {
                        (self.l4, self.dst_port) = (L4::TimestampReply, icmp.id.get());
                    }
                    kind if IcmpHeader::is_error(kind) => self.l4 = L4::IcmpError,
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

/// What layer 4 of a protocol is that few packets have.
pub(crate) struct Rare {
    pub l4: L4,
    pub ports: (u16, u16),
    pub tcp_flags: u8,
}

impl Rare {
    /// `None` if the header contradicts itself. Not a call: with one in it, reading TCP and UDP takes 15 instructions more.
    #[inline]
    pub(crate) fn read(protocol: Protocol, l4: &[u8], fragment: Fragment) -> Option<Self> {
        if protocol == Protocol::DCCP {
            let (dccp, _) = DccpHeader::ref_from_prefix(l4).ok()?;
            let is_right = (DccpHeader::LEN..=l4.len()).contains(&dccp.header_len());
            let ports = (dccp.src_port.get(), dccp.dst_port.get());
            return is_right.then_some(Self { l4: L4::Dccp, ports, tcp_flags: dccp.tcp_flags() });
        }
        // The length of UDP is what the checksum covers here: all, or so much.
        let (udp, _) = UdpHeader::ref_from_prefix(l4).ok()?;
        let coverage = usize::from(udp.len.get());
        let fits = fragment != Fragment::Whole || coverage <= l4.len();
        let is_right = coverage == 0 || (coverage >= UdpHeader::LEN && fits);
        let ports = (udp.src_port.get(), udp.dst_port.get());
        is_right.then_some(Self { l4: L4::UdpLite, ports, tcp_flags: 0 })
    }
}

/// The same for a header without options, as nearly all are: nothing to loop over, in whatever byte order (RFC 1071, 2 B).
/// What folds to all ones is a multiple of that, and with a version in it no sum is zero.
#[inline]
fn checksum_is_right(header: &Ipv4Header) -> bool {
    let words: [[u8; 4]; Ipv4Header::LEN / 4] = zerocopy::transmute!(*header);
    let sum: u64 = words.into_iter().map(|word| u64::from(u32::from_ne_bytes(word))).sum();
    sum.is_multiple_of(0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::eth;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn a_udp_packet_is_read() {
        let frame = eth().ipv4(A, B).udp(1000, 53).payload(b"q");
        let packet = Ipv4Packet::parse(&frame[14..]).unwrap();
        assert_eq!((packet.src, packet.dst, packet.total_len), (A, B, 29));
        assert_eq!((packet.l4, packet.src_port, packet.dst_port), (L4::Udp, 1000, 53));
    }

    #[test]
    fn padding_behind_the_packet_is_ignored() {
        let mut frame = eth().ipv4(A, B).udp(1, 2).payload(b"");
        frame.resize(60, 0);
        assert!(Ipv4Packet::parse(&frame[14..]).is_ok());
    }

    #[test]
    fn every_truncation_is_refused_and_none_panics() {
        for frame in [
            eth().ipv4(A, B).tcp(1, 2, TcpHeader::SYN).payload(b"abc"),
            eth().ipv4(A, B).udp(1, 2).payload(b"abc"),
            eth().ipv4(A, B).icmp_echo(1, 2).payload(b"abc"),
        ] {
            for end in 14..frame.len() {
                assert_eq!(Ipv4Packet::parse(&frame[14..end]), Err(DropReason::BadIpHeader));
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_the_header_is_noticed() {
        let mut frame = eth().ipv4(A, B).udp(1, 2).payload(b"");
        frame[14 + 8] ^= 1;
        assert_eq!(Ipv4Packet::parse(&frame[14..]), Err(DropReason::BadIpChecksum));
    }
}
