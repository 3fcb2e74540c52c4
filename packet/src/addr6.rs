//! IPv6 addresses: prefixes, and what follows from a MAC address. RFC 4291.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::{MacAddr, ParseAddrError};

/// An IPv6 address with the prefix length of the network it is in, such as fd00:1::1/64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ipv6Cidr {
    address: Ipv6Addr,
    len: u8,
}

impl Ipv6Cidr {
    /// `None` if `len` is over 128.
    pub const fn new(address: Ipv6Addr, len: u8) -> Option<Self> {
        if len <= 128 { Some(Self { address, len }) } else { None }
    }

    /// The address itself, host bits kept.
    pub const fn address(self) -> Ipv6Addr {
        self.address
    }

    /// The prefix length, 0 to 128.
    pub const fn prefix_len(self) -> u8 {
        self.len
    }

    /// The prefix: all host bits zero. With a length below 127 it is the anycast address of the subnet's routers. RFC 4291, 2.6.1.
    pub const fn network(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.address.to_bits() & self.mask())
    }

    /// Whether `address` is in the network.
    #[inline]
    pub const fn contains(self, address: Ipv6Addr) -> bool {
        (address.to_bits() ^ self.address.to_bits()) & self.mask() == 0
    }

    /// Whether any address is in both networks.
    pub const fn overlaps(self, other: Self) -> bool {
        self.contains(other.network()) || other.contains(self.network())
    }

    /// Whether it is a unique local one, which the Internet doesn't route. RFC 4193.
    pub const fn is_unique_local(self) -> bool {
        self.len >= 7 && self.address.is_unique_local()
    }

    /// The bits of the prefix, set.
    pub const fn mask(self) -> u128 {
        if self.len == 0 { 0 } else { u128::MAX << (128 - self.len) }
    }
}

impl fmt::Display for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl FromStr for Ipv6Cidr {
    type Err = ParseAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, len) = text.split_once('/').ok_or(ParseAddrError::Cidr6)?;
        let address = address.parse().map_err(|_| ParseAddrError::Cidr6)?;
        let len = len.parse().map_err(|_| ParseAddrError::Cidr6)?;
        Self::new(address, len).ok_or(ParseAddrError::Cidr6)
    }
}

impl MacAddr {
    /// The group address that carries packets to `group`, a multicast address. RFC 2464, 7.
    pub const fn of_group6(group: Ipv6Addr) -> Self {
        Self::from_u64(0x3333_0000_0000 | (group.to_bits() as u64 & 0xffff_ffff))
    }

    /// The link-local address of the interface with this MAC address. RFC 2464, 5.
    pub const fn link_local6(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(0xfe80 << 112 | self.interface_id() as u128)
    }

    /// The lower half of an address that is made of the MAC address: modified EUI-64. RFC 4291, appendix A.
    pub const fn interface_id(self) -> u64 {
        let bits = self.to_u64();
        ((bits >> 24) << 40 | 0xff_fe00_0000 | bits & 0xff_ffff) ^ 0x0200_0000_0000_0000
    }
}

/// The group in which questions for `address` are asked. RFC 4291, 2.7.1.
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | address.to_bits() & 0xff_ffff)
}

/// All nodes of a link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of a link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_has_its_addresses_and_no_others() {
        let net: Ipv6Cidr = "fd00:1::1/64".parse().unwrap();
        assert_eq!((net.network(), net.to_string()), (of("fd00:1::"), "fd00:1::1/64".to_owned()));
        assert!(net.contains(of("fd00:1::ffff:ffff:ffff:ffff")) && !net.contains(of("fd00:1:0:1::1")));
        assert!(net.is_unique_local() && !"2001:db8::1/64".parse::<Ipv6Cidr>().unwrap().is_unique_local());
        let all: Ipv6Cidr = "::/0".parse().unwrap();
        assert!(all.overlaps(net) && net.overlaps(all) && all.contains(of("ffff::")));
        let host: Ipv6Cidr = "fd00:1::1/128".parse().unwrap();
        assert!(host.contains(of("fd00:1::1")) && !host.contains(of("fd00:1::2")));
        for bad in ["", "fd00::1", "fd00::1/129", "fd00::1/", "10.0.0.1/24", "fd00::g/64"] {
            assert_eq!(bad.parse::<Ipv6Cidr>(), Err(ParseAddrError::Cidr6), "{bad}");
        }
    }

    /// The example of RFC 2464, 4 and 5.
    #[test]
    fn rfc2464_addresses_follow_from_the_mac_address() {
        let mac: MacAddr = "34:56:78:9a:bc:de".parse().unwrap();
        assert_eq!(mac.link_local6(), of("fe80::3656:78ff:fe9a:bcde"));
        assert_eq!(MacAddr::of_group6(of("ff02::1:ff9a:bcde")), "33:33:ff:9a:bc:de".parse().unwrap());
    }

    /// The example of RFC 4291, 2.7.1.
    #[test]
    fn rfc4291_questions_for_an_address_go_to_its_group() {
        assert_eq!(solicited_node(of("4037::01:800:200e:8c6c")), of("ff02::1:ff0e:8c6c"));
    }
}
