//! Address families: what differs between IPv4 and IPv6 where somebody sends to somebody.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use crate::Protocol;

/// A family, for types that are the same in both but for their addresses.
pub trait Family: Copy + Eq + Hash + Debug + 'static {
    /// Of a host.
    type Address: Copy + Ord + Hash + Debug + Display;
    /// An address and a port.
    type Socket: Socket<Family = Self>;
    /// Source and destination address of a packet, as tables keep them.
    type Pair: Copy + Eq + Hash + Debug;
    /// The same as words, to be hashed.
    type Words: AsRef<[u64]>;

    /// The ICMP that tells about this family's packets.
    const ICMP: Protocol;

    /// Packs two addresses.
    fn pair(source: Self::Address, destination: Self::Address) -> Self::Pair;

    /// The source of a pair.
    fn source(pair: Self::Pair) -> Self::Address;

    /// The destination of a pair.
    fn destination(pair: Self::Pair) -> Self::Address;

    /// The pair of the packets that answer.
    #[must_use]
    fn reversed(pair: Self::Pair) -> Self::Pair;

    /// All bits of a pair.
    fn words(pair: Self::Pair) -> Self::Words;
}

/// An address and a port of one family.
pub trait Socket: Copy + Eq + Hash + Debug + Display {
    /// That family.
    type Family: Family<Socket = Self>;

    /// Puts both together.
    fn of(address: <Self::Family as Family>::Address, port: u16) -> Self;

    /// The address.
    fn address(self) -> <Self::Family as Family>::Address;

    /// The port.
    fn port_number(self) -> u16;
}

/// IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct V4;

/// IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct V6;

impl Family for V4 {
    type Address = Ipv4Addr;
    type Socket = SocketAddrV4;
    /// `source:32 destination:32`.
    type Pair = u64;
    type Words = [u64; 1];

    const ICMP: Protocol = Protocol::ICMP;

    #[inline]
    fn pair(source: Ipv4Addr, destination: Ipv4Addr) -> u64 {
        u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits())
    }

    #[inline]
    fn source(pair: u64) -> Ipv4Addr {
        Ipv4Addr::from_bits((pair >> 32) as u32)
    }

    #[inline]
    fn destination(pair: u64) -> Ipv4Addr {
        Ipv4Addr::from_bits(pair as u32)
    }

    #[inline]
    fn reversed(pair: u64) -> u64 {
        pair.rotate_left(32)
    }

    #[inline]
    fn words(pair: u64) -> [u64; 1] {
        [pair]
    }
}

impl Family for V6 {
    type Address = Ipv6Addr;
    type Socket = SocketAddrV6;
    /// Source and destination, 8 aligned bytes at a time.
    type Pair = [u64; 4];
    type Words = [u64; 4];

    const ICMP: Protocol = Protocol::ICMPV6;

    #[inline]
    fn pair(source: Ipv6Addr, destination: Ipv6Addr) -> [u64; 4] {
        let (source, destination) = (source.to_bits(), destination.to_bits());
        [(source >> 64) as u64, source as u64, (destination >> 64) as u64, destination as u64]
    }

    #[inline]
    fn source([high, low, ..]: [u64; 4]) -> Ipv6Addr {
        Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))
    }

    #[inline]
    fn destination([.., high, low]: [u64; 4]) -> Ipv6Addr {
        Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))
    }

    #[inline]
    fn reversed([a, b, c, d]: [u64; 4]) -> [u64; 4] {
        [c, d, a, b]
    }

    #[inline]
    fn words(pair: [u64; 4]) -> [u64; 4] {
        pair
    }
}

impl Socket for SocketAddrV4 {
    type Family = V4;

    #[inline]
    fn of(address: Ipv4Addr, port: u16) -> Self {
        Self::new(address, port)
    }

    #[inline]
    fn address(self) -> Ipv4Addr {
        *self.ip()
    }

    #[inline]
    fn port_number(self) -> u16 {
        self.port()
    }
}

impl Socket for SocketAddrV6 {
    type Family = V6;

    #[inline]
    fn of(address: Ipv6Addr, port: u16) -> Self {
        Self::new(address, port, 0, 0)
    }

    #[inline]
    fn address(self) -> Ipv6Addr {
        *self.ip()
    }

    #[inline]
    fn port_number(self) -> u16 {
        self.port()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<F: Family>(source: F::Address, destination: F::Address) {
        let pair = F::pair(source, destination);
        assert_eq!((F::source(pair), F::destination(pair)), (source, destination));
        let back = F::reversed(pair);
        assert_eq!((F::source(back), F::destination(back)), (destination, source));
        assert_ne!(F::words(pair).as_ref(), F::words(back).as_ref());
    }

    #[test]
    fn addresses_come_back_from_a_pair_and_change_places() {
        comes_back::<V4>(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(198, 51, 100, 9));
        let of = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        comes_back::<V6>(of("fd00:1:2:3:4:5:6:7"), of("2001:db8:8:9:a:b:c:d"));
    }
}
