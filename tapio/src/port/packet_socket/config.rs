//! Settings of a packet port.

use crate::device::netns::Netns;
use crate::device::shared_address::SharedAddress;

/// Settings of a packet port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketConfig {
    /// The device's name.
    pub device: String,
    /// The namespace that the device is in; `None`: this process's.
    pub netns: Option<Netns>,
    /// The largest layer-3 packet, in bytes: the device's is raised to it where it is smaller. `None`: the device's own.
    pub mtu: Option<u16>,
    /// What the host's own stack has of the device.
    pub host: HostStack,
}

/// What the host's own stack has of a device that the switch is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostStack {
    /// Nothing: the device is the switch's alone.
    Silent {
        /// Also if the host has addresses or a default route on it.
        take_over: bool,
    },
    /// Everything, beside the switch.
    Beside,
    /// Everything but the switch's ports of an address that both have.
    Shared(SharedAddress),
}

impl PacketConfig {
    /// Whether what the host has of the device is what `other` says, or can become so while the port has it.
    pub(super) fn host_can_become(&self, other: &Self) -> bool {
        let both_share = matches!((&self.host, &other.host), (HostStack::Shared(_), HostStack::Shared(_)));
        both_share || self.host == other.host
    }
}
