//! What is set for IPv6 on a network or uplink.

use std::net::Ipv6Addr;

use packet::{Ipv6Cidr, MacAddr, Millis};

/// The switch's IPv6 settings on a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ipv6Config {
    /// The switch's own address, with the network's prefix length.
    pub address: Ipv6Cidr,
    /// Of an uplink: the next hop for everything that is on no network.
    pub gateway: Option<Ipv6Addr>,
    /// Router advertisements, if the network has them.
    pub ra: Option<RaConfig>,
    /// The DHCPv6 server, if the network has one.
    pub dhcp: Option<Dhcp6Config>,
}

impl Ipv6Config {
    /// An address, and nothing that guests are told.
    pub const fn new(address: Ipv6Cidr) -> Self {
        Self { address, gateway: None, ra: None, dhcp: None }
    }
}

/// What router advertisements say, beside what follows from the addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RaConfig {
    /// Whether the switch is a way to elsewhere: not in mode host-only.
    pub is_router: bool,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// Domain that names are looked up in.
    pub domain: Option<String>,
}

/// A DHCPv6 server's settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dhcp6Config {
    /// First and last address to lease; `None`: the server only tells the rest ("stateless").
    pub range: Option<(Ipv6Addr, Ipv6Addr)>,
    /// How long a lease is good for.
    pub lease_time: Millis,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// Domain that names are looked up in.
    pub domain: Option<String>,
    /// Addresses that belong to certain clients.
    pub reserved: Vec<(Client6, Ipv6Addr)>,
}

/// What a client is told apart by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Client6 {
    /// By its card.
    Mac(MacAddr),
    /// By its DUID.
    Duid(Box<[u8]>),
}

/// All DHCPv6 servers and relay agents of a link. RFC 8415, 7.1.
pub const ALL_DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
