//! One direction of a flow: who sends to whom.
//!
//! ```text
//! protocol   source port         destination port
//! with ports source port         destination port
//! ICMP       request: id         reply: id           (the other one is 0, so the two directions differ)
//! others     0                   0                   (tracked by addresses only)
//! ```

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{Ipv4Packet, L4, Protocol};

/// Which of a flow's two directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Direction {
    /// That of its first packet.
    Original,
    /// The other one.
    Reply,
}

impl Direction {
    /// Both, in their order.
    pub(crate) const BOTH: [Self; 2] = [Self::Original, Self::Reply];

    #[inline]
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// Protocol, source and destination of a packet, ports in host byte order. An ICMP query's identifier stands where its
/// sender's (request) or receiver's (reply) port would.
///
/// Packed so that hashing, comparing and reversing don't gather fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// `source:32 destination:32`.
    pub(crate) addresses: u64,
    /// `source:16 destination:16`.
    pub(crate) ports: u32,
    pub(crate) protocol: Protocol,
}

const _: () = assert!(size_of::<Tuple>() == 16);

impl Tuple {
    /// The tuple of packets of `protocol` from `source` to `destination`.
    #[inline]
    pub const fn new(protocol: Protocol, source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        Self {
            addresses: (source.ip().to_bits() as u64) << 32 | destination.ip().to_bits() as u64,
            ports: (source.port() as u32) << 16 | destination.port() as u32,
            protocol,
        }
    }

    /// The tuple of this packet; `None` where layer 4 doesn't tell: later fragments, ICMP errors, and ICMP messages
    /// other than echo and timestamp.
    #[inline]
    pub fn of(packet: &Ipv4Packet) -> Option<Self> {
        match packet.l4 {
            L4::Tcp | L4::Udp | L4::UdpLite | L4::Dccp | L4::Other => {}
            L4::EchoRequest | L4::EchoReply | L4::TimestampRequest | L4::TimestampReply => {}
            // Without ports to look for, a later fragment is as good as a first.
            L4::None if !packet.protocol.has_ports() && packet.protocol != Protocol::ICMP => {}
            L4::None | L4::IcmpError | L4::IcmpOther => return None,
        }
        Some(Self::new(
            packet.protocol,
            SocketAddrV4::new(packet.src, packet.src_port),
            SocketAddrV4::new(packet.dst, packet.dst_port),
        ))
    }

    /// The tuple of the packets that answer.
    #[inline]
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            addresses: self.addresses.rotate_left(32),
            ports: self.ports.rotate_left(16),
            protocol: self.protocol,
        }
    }

    /// The protocol.
    #[inline]
    pub const fn protocol(self) -> Protocol {
        self.protocol
    }

    /// Address and port of the sender.
    pub const fn source(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.source_address(), self.source_port())
    }

    /// Address and port of the receiver.
    pub const fn destination(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.destination_address(), self.destination_port())
    }

    /// Address of the sender.
    #[inline]
    pub const fn source_address(self) -> Ipv4Addr {
        Ipv4Addr::from_bits((self.addresses >> 32) as u32)
    }

    /// Address of the receiver.
    #[inline]
    pub const fn destination_address(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.addresses as u32)
    }

    /// Port of the sender.
    #[inline]
    pub const fn source_port(self) -> u16 {
        (self.ports >> 16) as u16
    }

    /// Port of the receiver.
    #[inline]
    pub const fn destination_port(self) -> u16 {
        self.ports as u16
    }

    /// What is hashed: all of it.
    #[inline]
    pub(crate) const fn words(self) -> [u64; 2] {
        [self.addresses, (self.protocol.0 as u64) << 32 | self.ports as u64]
    }
}

/// Whether there is something in a packet that tells several hosts behind one address apart.
pub(crate) fn has_ports_or_identifiers(protocol: Protocol) -> bool {
    protocol.has_ports() || protocol == Protocol::ICMP
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} > {}", self.protocol(), self.source(), self.destination())
    }
}

impl fmt::Debug for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::builder::eth;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn of(frame: &[u8]) -> Option<Tuple> {
        Tuple::of(&Ipv4Packet::parse(&frame[14..]).unwrap())
    }

    #[test]
    fn fields_come_back_and_reversal_swaps_them() {
        let tuple = of(&eth().ipv4(A, B).udp(1000, 53).payload(b"")).unwrap();
        assert_eq!(tuple.to_string(), "udp 10.0.0.1:1000 > 10.0.0.2:53");
        assert_eq!(tuple.reversed().to_string(), "udp 10.0.0.2:53 > 10.0.0.1:1000");
        assert_eq!(tuple.reversed().reversed(), tuple);
    }

    #[test]
    fn an_echo_reply_has_the_reversed_tuple_of_its_request() {
        let request = of(&eth().ipv4(A, B).icmp_echo(7, 1).payload(b"")).unwrap();
        let reply = of(&eth().ipv4(B, A).icmp_echo_reply(7, 1).payload(b"")).unwrap();
        assert_eq!(request.reversed(), reply);
        assert_ne!(request, reply);
    }

    #[test]
    fn icmp_errors_and_unknown_icmp_have_none() {
        assert_eq!(of(&eth().ipv4(A, B).icmp(3, 1, 0).payload(b"")), None);
        assert_eq!(of(&eth().ipv4(A, B).icmp(15, 0, 0).payload(b"")), None);
    }
}
