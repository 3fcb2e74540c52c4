//! An IPv4 packet, checked once: what the gateway and NAT need to know of its headers.

use std::net::Ipv4Addr;

use crate::DropReason;
use crate::checksum::Sum;
use crate::wire::{FromBytes, IcmpHeader, Ipv4Header, TcpHeader, UdpHeader};

/// An IP protocol number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP, RFC 792.
    pub const ICMP: Self = Self(1);
    /// TCP, RFC 9293.
    pub const TCP: Self = Self(6);
    /// UDP, RFC 768.
    pub const UDP: Self = Self(17);
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::ICMP => f.pad("icmp"),
            Self::TCP => f.pad("tcp"),
            Self::UDP => f.pad("udp"),
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

/// The layer-4 header, as far as forwarding and NAT need it. Ports in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum L4 {
    /// TCP: ports and flags.
    Tcp {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
        /// FIN, SYN, RST … as on the wire.
        flags: u8,
    },
    /// UDP: ports.
    Udp {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// ICMP echo request or reply with its identifier.
    IcmpEcho {
        /// Request, else reply.
        request: bool,
        /// Identifier.
        id: u16,
    },
    /// An ICMP message about another packet, which it quotes.
    IcmpError,
    /// Another ICMP message.
    IcmpOther,
    /// Another protocol.
    Other,
    /// A later fragment: no header here.
    None,
}

/// An IPv4 packet whose header was checked: lengths hold, and the checksum is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Packet {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Protocol of the payload.
    pub protocol: Protocol,
    /// Header length with options, 20 to 60.
    pub header_len: u16,
    /// Length of header and payload; the bytes may be longer (Ethernet padding).
    pub total_len: u16,
    /// Time to live.
    pub ttl: u8,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// Whether it is a fragment.
    pub fragment: Fragment,
    /// Identification.
    pub id: u16,
    /// The layer-4 header.
    pub l4: L4,
}

impl Ipv4Packet {
    /// Reads the packet that starts at `bytes`; trailing padding is allowed.
    ///
    /// # Errors
    /// `BadIpHeader`, `BadIpChecksum`, `BadL4Header`. Checksums of layer 4 are not looked at: end hosts check them, and
    /// with offload they may not be there yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let packet = Self::parse_header(bytes)?;
        let l4 = &bytes[usize::from(packet.header_len)..usize::from(packet.total_len)];
        if packet.fragment == Fragment::Later {
            return Ok(packet);
        }
        Ok(Self { l4: parse_l4(packet.protocol, l4, packet.fragment)?, ..packet })
    }

    /// Reads the IP header alone; `l4` is [`L4::None`].
    ///
    /// # Errors
    /// `BadIpHeader`, `BadIpChecksum`.
    pub fn parse_header(bytes: &[u8]) -> Result<Self, DropReason> {
        let (header, _) = Ipv4Header::ref_from_prefix(bytes).map_err(|_| DropReason::BadIpHeader)?;
        let header_len = usize::from(header.version_ihl & 0xf) * 4;
        let total_len = usize::from(header.total_len.get());
        let version = header.version_ihl >> 4;
        if version != 4 || header_len < Ipv4Header::LEN || total_len < header_len || total_len > bytes.len() {
            return Err(DropReason::BadIpHeader);
        }
        if Sum::of(&bytes[..header_len]).fold() != 0xffff {
            return Err(DropReason::BadIpChecksum);
        }
        let flags = header.flags_fragment.get();
        let fragment = match (flags & Ipv4Header::OFFSET_MASK, flags & Ipv4Header::MF) {
            (0, 0) => Fragment::Whole,
            (0, _) => Fragment::First,
            _ => Fragment::Later,
        };
        Ok(Self {
            src: header.source(),
            dst: header.destination(),
            protocol: Protocol(header.protocol),
            header_len: header_len as u16,
            total_len: total_len as u16,
            ttl: header.ttl,
            dont_fragment: flags & Ipv4Header::DF != 0,
            fragment,
            id: header.id.get(),
            l4: L4::None,
        })
    }
}

fn parse_l4(protocol: Protocol, l4: &[u8], fragment: Fragment) -> Result<L4, DropReason> {
    const BAD: DropReason = DropReason::BadL4Header;
    match protocol {
        Protocol::TCP => {
            let (tcp, _) = TcpHeader::ref_from_prefix(l4).map_err(|_| BAD)?;
            if tcp.header_len() < TcpHeader::LEN || tcp.header_len() > l4.len() {
                return Err(BAD);
            }
            Ok(L4::Tcp { src: tcp.src_port.get(), dst: tcp.dst_port.get(), flags: tcp.flags })
        }
        Protocol::UDP => {
            let (udp, _) = UdpHeader::ref_from_prefix(l4).map_err(|_| BAD)?;
            let len = usize::from(udp.len.get());
            if len < UdpHeader::LEN || (fragment == Fragment::Whole && len > l4.len()) {
                return Err(BAD);
            }
            Ok(L4::Udp { src: udp.src_port.get(), dst: udp.dst_port.get() })
        }
        Protocol::ICMP => {
            let (icmp, _) = IcmpHeader::ref_from_prefix(l4).map_err(|_| BAD)?;
            Ok(match icmp.kind {
                IcmpHeader::ECHO_REQUEST => L4::IcmpEcho { request: true, id: icmp.id.get() },
                IcmpHeader::ECHO_REPLY => L4::IcmpEcho { request: false, id: icmp.id.get() },
                kind if IcmpHeader::is_error(kind) => L4::IcmpError,
                _ => L4::IcmpOther,
            })
        }
        _ => Ok(L4::Other),
    }
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
        assert_eq!(packet.l4, L4::Udp { src: 1000, dst: 53 });
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
