//! How the gateway goes over to another configuration, and to another MTU of an uplink.

use std::net::Ipv4Addr;

use nat_engine::{NatConfig, PortRange};
use packet::NetworkId;

use super::route::Routes;
use super::{Gateway, Interface};
use crate::runtime_config::{InterfaceConfig, NetworkConfig, Reach, RuntimeConfig};

impl Gateway {
    /// Takes over a configuration that replaces `old`. Flows stay, and neighbours.
    pub(crate) fn install(&mut self, old: &RuntimeConfig, config: &RuntimeConfig) {
        let interface = |network: &NetworkConfig| {
            let interface = network.interface.as_ref()?;
            Some(Interface::new(interface, network.reach))
        };
        self.interfaces = config.networks.iter().map(interface).collect();
        (self.routes, self.last_route) = (Routes::new(config), None);
        self.egress.install(old, config);
        self.translates = !(config.rules.prerouting.is_empty() && config.rules.postrouting.is_empty());
        self.v6.install(config, &self.routes);
        self.nat.reconfigure(NatConfig {
            rules: config.rules.clone(),
            timeouts: config.timeouts,
            flow_limit: config.flow_limit,
            addresses: self.interfaces.iter().map(|i| Some(i.as_ref()?.address.address())).collect(),
            uplinks: config.networks.iter().map(|network| network.reach.uplink()).collect(),
            shared: config.networks.iter().filter_map(shared_address).collect(),
            settings: config.nat,
        });
    }

    /// The way out by this uplink takes packets of this size. Other networks have their own word on it.
    pub(crate) fn set_mtu(&mut self, network: NetworkId, mtu: u16) {
        self.v6.set_mtu(network, mtu);
        if let Some(Some(interface)) = self.interfaces.get_mut(network.index())
            && matches!(interface.reach, Reach::Uplink(_))
        {
            interface.mtu = mtu;
        }
    }
}

impl Interface {
    const fn new(config: &InterfaceConfig, reach: Reach) -> Self {
        let &InterfaceConfig { mac, address, ref settings } = config;
        Self { mac, address, mtu: settings.mtu, reach, is_shared: settings.shared.is_some() }
    }
}

/// The address that a network's interface shares with a host, and the ports of it.
fn shared_address(network: &NetworkConfig) -> Option<(Ipv4Addr, PortRange)> {
    let interface = network.interface.as_ref()?;
    Some((interface.address.address(), interface.settings.shared?))
}
