//! Settings of a port, as the configuration says them.

use std::net::Ipv4Addr;

use packet::MacAddr;

use crate::guard::Guard;

/// What is set for a port. The default is what holds where nothing is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortSettings {
    /// The largest layer-3 packet it takes, in bytes.
    pub mtu: u16,
    /// Addresses learned on it at most.
    pub learn_limit: u32,
    /// Addresses that are always behind it.
    pub static_macs: Vec<MacAddr>,
    /// What it may not say of itself.
    pub guard: Guard,
    /// Addresses that are given to it, for `guard`.
    pub addresses: Vec<Ipv4Addr>,
}

impl Default for PortSettings {
    fn default() -> Self {
        Self {
            // Ethernet's.
            mtu: 1500,
            // A LAN may be behind the port, and whoever has most gives way to others when the table is full.
            learn_limit: u32::MAX,
            static_macs: Vec::new(),
            guard: Guard::NONE,
            addresses: Vec::new(),
        }
    }
}
