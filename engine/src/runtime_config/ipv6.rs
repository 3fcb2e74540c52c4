//! What is set for IPv6 on a network or uplink.

use std::net::Ipv6Addr;

use packet::Ipv6Cidr;

/// The switch's IPv6 settings on a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ipv6Config {
    /// The switch's own address, with the network's prefix length.
    pub address: Ipv6Cidr,
    /// Of an uplink: the next hop for everything that is on no network.
    pub gateway: Option<Ipv6Addr>,
    /// Router advertisements, if the network has them.
    pub ra: Option<RaConfig>,
}

impl Ipv6Config {
    /// An address, and nothing that guests are told.
    pub const fn new(address: Ipv6Cidr) -> Self {
        Self { address, gateway: None, ra: None }
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
