//! Guests that open ports of the uplink for themselves: see [`server`].

pub(super) mod server;

use packet::builder::eth;
use packet::{DropReason, Millis, NetworkId, Offload, Protocol};

use self::server::{Client, PCP_SERVER_PORT};
use super::outgoing::To;
use super::slow::Slow;
use super::udp;
use crate::gateway::Gateway;
use crate::punt::Punted;
use crate::runtime_config::{NetworkConfig, Reach, RuntimeConfig};
use crate::sockets::Service;

/// The port mapping server of all networks.
#[derive(Debug, Default)]
pub(super) struct Pcp {
    /// By network: the uplink whose ports its hosts may open.
    uplinks: Vec<Option<NetworkId>>,
    /// When it was first asked.
    first_request: Option<Millis>,
}

impl Pcp {
    /// Takes over a configuration that NAT has already; before, there were `mappings`. Those of hosts that it doesn't serve
    /// end.
    pub(super) fn install(&mut self, config: &RuntimeConfig, mappings: usize, gateway: &mut Gateway) {
        self.uplinks = config.networks.iter().map(mapped_uplink).collect();
        gateway.sockets.stop_listening(Service::Pcp);
        let mut served = Vec::new();
        for network in config.networks.iter().filter(|network| mapped_uplink(network).is_some()) {
            gateway.sockets.listen(network.id, Protocol::UDP, PCP_SERVER_PORT, Service::Pcp);
            served.extend(network.interface.as_ref().map(|interface| interface.address));
        }
        let is_served = |address| served.iter().any(|subnet| subnet.contains(address));
        gateway.nat.retain_explicit(|mapping| is_served(*mapping.inside.ip()), Millis::ZERO);
        if gateway.nat.explicit_mappings().count() < mappings {
            // By the epoch, clients notice that theirs may be gone: RFC 6887, 8.5.
            self.first_request = None;
        }
    }

    /// Takes a request that a host sent to the switch.
    pub(super) fn serve(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let (input, ip) = (punted.input, punted.ip()?);
        let uplink = self.uplinks.get(input.index()).copied().flatten();
        let client = Client { address: ip.src, input, output: uplink.ok_or(DropReason::NoService)? };
        let interface = slow.gateway.interface(input).ok_or(DropReason::NoService)?;
        let (own, own_mac) = (interface.address.address(), interface.mac);
        // The first request finds a server without mappings.
        let epoch = slow.now.since(*self.first_request.get_or_insert(slow.now));
        let answer = server::answer(udp::payload(punted)?, client, &mut slow.gateway.nat, epoch, slow.now)?;
        let frame = eth().src(own_mac).dst(punted.meta.src).ipv4(own, client.address);
        let frame = frame.udp(PCP_SERVER_PORT, ip.src_port).payload(&answer);
        slow.out.push(To::Network(input), &frame, Offload::NONE);
        Ok(())
    }
}

/// The uplink whose ports hosts of the network may open.
fn mapped_uplink(network: &NetworkConfig) -> Option<NetworkId> {
    network.interface.as_ref().filter(|interface| interface.settings.pcp)?;
    match network.reach {
        Reach::Translated(uplink) => Some(uplink),
        _ => None,
    }
}
