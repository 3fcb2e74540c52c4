//! Addresses and identifiers: each number with a meaning is a type.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An EUI-48 address. IEEE 802-2014, 8.2. A number inside, so that comparing and hashing take one instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(u64);

impl MacAddr {
    /// All stations.
    pub const BROADCAST: Self = Self(0xffff_ffff_ffff);
    /// All bridges: the spanning tree's address. IEEE 802.1D-2004, table 7-10.
    pub const BRIDGES: Self = Self(0x0180_c200_0000);
    /// No station; never valid on the wire.
    pub const ZERO: Self = Self(0);

    /// The address with these octets, in transmission order.
    pub const fn new(octets: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = octets;
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// A unicast, locally administered address made of the low 46 bits of `seed`.
    pub const fn local(seed: u64) -> Self {
        Self(seed & 0xfcff_ffff_ffff | 0x0200_0000_0000)
    }

    /// The octets in transmission order.
    pub const fn octets(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// The address as a number, first octet highest; the upper 16 bits are zero.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The inverse of [`to_u64`](Self::to_u64); the upper 16 bits are ignored.
    pub const fn from_u64(bits: u64) -> Self {
        Self(bits & 0xffff_ffff_ffff)
    }

    /// The group address with the same other bits.
    #[must_use]
    pub const fn to_group(self) -> Self {
        Self(self.0 | 1 << 40)
    }

    /// A group address: multicast or broadcast.
    pub const fn is_group(self) -> bool {
        self.0 >> 40 & 1 != 0
    }

    /// 01:80:C2:00:00:00 to 0F, which no bridge forwards. IEEE 802.1Q, table 8-1.
    pub const fn is_bridge_reserved(self) -> bool {
        self.0 & !0xf == 0x0180_c200_0000
    }

    /// May be a frame's source: neither a group address nor all zero.
    pub const fn is_station(self) -> bool {
        !self.is_group() && self.0 != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.octets();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no address of the kind asked for; the message says what one looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseAddrError {
    /// Not six hexadecimal octets.
    Mac,
    /// Not an IPv4 address with a prefix length.
    Cidr,
    /// Not an IPv6 address with a prefix length.
    Cidr6,
}

impl fmt::Display for ParseAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mac => "not a MAC address; write six octets, such as 52:54:00:12:34:56",
            Self::Cidr => "not an address with prefix length; write for example 192.168.122.1/24",
            Self::Cidr6 => "not an IPv6 address with prefix length; write for example fd00:1::1/64",
        })
    }
}

impl std::error::Error for ParseAddrError {}

impl FromStr for MacAddr {
    type Err = ParseAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2).ok_or(ParseAddrError::Mac)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| ParseAddrError::Mac)?;
        }
        if parts.next().is_some() { Err(ParseAddrError::Mac) } else { Ok(Self::new(octets)) }
    }
}

/// A port of the switch. Assigned by the configuration, dense from 0, unchanged while the port exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortId(u16);

impl PortId {
    /// One more than the largest identifier.
    pub const LIMIT: usize = 4096;

    /// `None` if `id` is [`LIMIT`](Self::LIMIT) or more.
    pub const fn new(id: u16) -> Option<Self> {
        if (id as usize) < Self::LIMIT { Some(Self(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One Ethernet segment: a network of guests, or an uplink, which is a network with one port and the world behind it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NetworkId(u16);

impl NetworkId {
    /// The network with this number; dense from 0.
    pub const fn new(id: u16) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An EtherType, host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4, RFC 894.
    pub const IPV4: Self = Self(0x0800);
    /// ARP, RFC 826.
    pub const ARP: Self = Self(0x0806);
    /// Customer VLAN tag (C-tag), IEEE 802.1Q.
    pub const VLAN: Self = Self(0x8100);
    /// Service VLAN tag (S-tag), IEEE 802.1Q.
    pub const SERVICE_VLAN: Self = Self(0x88a8);
    /// IPv6, RFC 2464.
    pub const IPV6: Self = Self(0x86dd);
}

/// An IPv4 address with the prefix length of the network it is in, such as 192.168.122.1/24.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ipv4Cidr {
    address: Ipv4Addr,
    len: u8,
}

impl Ipv4Cidr {
    /// `None` if `len` is over 32.
    pub const fn new(address: Ipv4Addr, len: u8) -> Option<Self> {
        if len <= 32 { Some(Self { address, len }) } else { None }
    }

    /// The address itself, host bits kept.
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// The prefix length, 0 to 32.
    pub const fn prefix_len(self) -> u8 {
        self.len
    }

    /// The netmask.
    pub const fn netmask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.mask())
    }

    /// The first address of the network: all host bits zero.
    pub const fn network(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() & self.mask())
    }

    /// The last address of the network: all host bits one.
    pub const fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !self.mask())
    }

    /// Whether `address` is in the network.
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        (address.to_bits() ^ self.address.to_bits()) & self.mask() == 0
    }

    /// Whether any address is in both networks.
    pub const fn overlaps(self, other: Self) -> bool {
        self.contains(other.network()) || other.contains(self.network())
    }

    /// Whether `address` is the network's broadcast address; networks of /31 and /32 have none. RFC 3021.
    pub const fn is_broadcast(self, address: Ipv4Addr) -> bool {
        self.len < 31 && address.to_bits() == self.broadcast().to_bits()
    }

    /// Whether `address` is the network's first or last one, which no host has; /31 and /32 have no such. RFC 3021.
    pub const fn is_edge(self, address: Ipv4Addr) -> bool {
        let host = address.to_bits() & !self.mask();
        self.contains(address) && !self.mask() > 1 && (host == 0 || host == !self.mask())
    }

    const fn mask(self) -> u32 {
        if self.len == 0 { 0 } else { u32::MAX << (32 - self.len) }
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl FromStr for Ipv4Cidr {
    type Err = ParseAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, len) = text.split_once('/').ok_or(ParseAddrError::Cidr)?;
        let address = address.parse().map_err(|_| ParseAddrError::Cidr)?;
        let len = len.parse().map_err(|_| ParseAddrError::Cidr)?;
        Self::new(address, len).ok_or(ParseAddrError::Cidr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_text_and_number_round_trip() {
        let mac: MacAddr = "52:54:00:12:34:56".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:12:34:56");
        assert_eq!(MacAddr::from_u64(mac.to_u64()), mac);
        for bad in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:5g", "5:54:00:12:34:56"] {
            assert_eq!(bad.parse::<MacAddr>(), Err(ParseAddrError::Mac), "{bad}");
        }
    }

    #[test]
    fn local_macs_are_unicast_and_locally_administered() {
        for seed in [0, u64::MAX, 0x0123_4567_89ab_cdef] {
            let mac = MacAddr::local(seed);
            assert!(mac.is_station());
            assert_eq!(mac.octets()[0] & 3, 2);
        }
    }

    #[test]
    fn only_the_sixteen_bridge_addresses_are_reserved() {
        assert!(MacAddr::new([1, 0x80, 0xc2, 0, 0, 0x0f]).is_bridge_reserved());
        assert!(!MacAddr::new([1, 0x80, 0xc2, 0, 0, 0x10]).is_bridge_reserved());
    }

    #[test]
    fn cidr_bounds() {
        let net: Ipv4Cidr = "192.168.122.1/24".parse().unwrap();
        assert_eq!(net.network(), Ipv4Addr::new(192, 168, 122, 0));
        assert_eq!(net.broadcast(), Ipv4Addr::new(192, 168, 122, 255));
        assert!(net.contains(Ipv4Addr::new(192, 168, 122, 200)));
        assert!(!net.contains(Ipv4Addr::new(192, 168, 123, 1)));
        assert!("10.0.0.1/33".parse::<Ipv4Cidr>().is_err());
        let all: Ipv4Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.overlaps(net) && net.overlaps(all));
        assert!(!"10.0.0.0/31".parse::<Ipv4Cidr>().unwrap().is_broadcast(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(net.is_edge(net.network()) && net.is_edge(net.broadcast()) && !net.is_edge(net.address()));
        assert!(!net.is_edge(Ipv4Addr::new(192, 168, 123, 255)));
        assert!(!"10.0.0.0/31".parse::<Ipv4Cidr>().unwrap().is_edge(Ipv4Addr::new(10, 0, 0, 0)));
    }
}
