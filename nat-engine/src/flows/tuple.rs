//! One direction of a flow: who sends to whom.
//!
//! ```text
//! protocol   source port         destination port
//! with ports source port         destination port
//! ICMP       request: id         reply: id           (the other one is 0, so the two directions differ)
//! others     0                   0                   (tracked by addresses only)
//! ```

use std::fmt;
use std::net::SocketAddrV4;

use packet::{Family, Ipv4Packet, L4, Protocol, Socket, V4, V6};

use packet::keyed::PairHash;

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

/// Protocol, source and destination of a packet, ports in host byte order. An ICMP query's identifier
/// stands where its sender's (request) or receiver's (reply) port would.
///
/// Packed so that hashing, comparing and reversing don't gather fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple<F: Family = V4> {
    pub(super) addresses: F::Pair,
    /// `source:16 destination:16`.
    pub(super) ports: u32,
    pub(super) protocol: Protocol,
}

const _: () = assert!(size_of::<Tuple>() == 16 && size_of::<Tuple<V6>>() == 40);

impl Tuple {
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

    /// All of it, to be hashed.
    #[inline]
    pub(crate) fn words(self) -> [u64; 2] {
        [self.addresses, self.last_word()]
    }
}

impl<F: Family> Tuple<F> {
    /// The tuple of packets of `protocol` from `source` to `destination`.
    #[inline]
    pub fn new<S: Socket<Family = F>>(protocol: Protocol, source: S, destination: S) -> Self {
        Self {
            addresses: F::pair(source.address(), destination.address()),
            ports: u32::from(source.port_number()) << 16 | u32::from(destination.port_number()),
            protocol,
        }
    }

    /// The tuple of the packets that answer.
    #[inline]
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            addresses: F::reversed(self.addresses),
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
    #[inline]
    pub fn source(self) -> F::Socket {
        F::Socket::of(self.source_address(), self.source_port())
    }

    /// Address and port of the receiver.
    #[inline]
    pub fn destination(self) -> F::Socket {
        F::Socket::of(self.destination_address(), self.destination_port())
    }

    /// Address of the sender.
    #[inline]
    pub fn source_address(self) -> F::Address {
        F::source(self.addresses)
    }

    /// Address of the receiver.
    #[inline]
    pub fn destination_address(self) -> F::Address {
        F::destination(self.addresses)
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

    /// Where the tuple is found in the table of flows.
    #[inline]
    pub(crate) fn hashed(self, hash: &PairHash) -> u64 {
        hash.of(F::words(self.addresses).as_ref(), self.last_word())
    }

    /// What isn't addresses.
    #[inline]
    fn last_word(self) -> u64 {
        u64::from(self.protocol.0) << 32 | u64::from(self.ports)
    }
}

/// Whether there is something in a packet that tells several hosts behind one address apart.
pub(crate) fn has_ports_or_identifiers(protocol: Protocol) -> bool {
    protocol.has_ports() || protocol == Protocol::ICMP
}

impl<F: Family> fmt::Display for Tuple<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} > {}", self.protocol(), self.source(), self.destination())
    }
}

impl<F: Family> fmt::Debug for Tuple<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::builder::eth;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};

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
    fn a_tuple_of_ipv6_is_as_one_of_ipv4() {
        let at =
            |last, port| SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last), port, 0, 0);
        let tuple = Tuple::new(Protocol::UDP, at(1, 1000), at(2, 53));
        assert_eq!(tuple.to_string(), "udp [2001:db8::1]:1000 > [2001:db8::2]:53");
        assert_eq!(tuple.reversed(), Tuple::new(Protocol::UDP, at(2, 53), at(1, 1000)));
        assert_eq!((tuple.source(), tuple.destination_port()), (at(1, 1000), 53));
        let hash = PairHash::new([1, 2], "flows");
        let others = [at(3, 1000), at(1, 1001), SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1000, 0, 0)];
        for other in others.map(|source| Tuple::new(Protocol::UDP, source, at(2, 53))) {
            assert_ne!(tuple.hashed(&hash), other.hashed(&hash));
        }
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
