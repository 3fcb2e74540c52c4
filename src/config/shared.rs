//! Uplinks whose address is the host's, too. It is known only where the switch runs, and may change while it does: until it is
//! known, and in what is read from a file, a placeholder stands for it.

use std::net::Ipv4Addr;

use nat_engine::PortRange;
use packet::{Ipv4Cidr, MacAddr, NetworkId, PortId};

/// An uplink by the host's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedUplink {
    /// The uplink.
    pub network: NetworkId,
    /// Its port.
    pub port: PortId,
    /// The ports of the address that are the switch's.
    pub ports: PortRange,
    /// What the host has there now.
    pub host: Option<HostAddress>,
    pub(super) placeholder: Ipv4Addr,
}

/// What a host has on a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostAddress {
    /// Its address there.
    pub address: Ipv4Cidr,
    /// Its router.
    pub gateway: Option<Ipv4Addr>,
    /// The device's MAC address.
    pub mac: MacAddr,
}

/// Stands for the host's address on the uplink of this place: one that nobody has.
pub(super) fn host_placeholder(uplink: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(1 + uplink as u32)
}
