//! Guests that open ports of the uplink for themselves: see [`server`].

pub(super) mod server;

use packet::builder::eth;
use packet::{DropReason, FrameMeta, Ipv4Packet, Millis, NetworkId, Offload};

use self::server::{Client, PCP_SERVER_PORT};
use super::{Outgoing, udp_payload};
use crate::gateway::Gateway;
use crate::runtime_config::Reach;

impl Gateway {
    /// The uplink whose ports hosts of the network may open.
    pub(crate) fn mapped_uplink(&self, network: NetworkId) -> Option<NetworkId> {
        let interface = self.interface(network).filter(|interface| interface.pcp)?;
        match interface.reach {
            Reach::Translated(uplink) => Some(uplink),
            _ => None,
        }
    }

    /// A request that a host of `client.input` sent to the switch.
    pub(crate) fn map_port(
        &mut self,
        meta: &FrameMeta,
        bytes: &[u8],
        ip: &Ipv4Packet,
        client: Client,
        now: Millis,
        out: &mut Outgoing,
    ) -> Result<(), DropReason> {
        let interface = self.interface(client.input).ok_or(DropReason::NoService)?;
        let (own, own_mac) = (interface.address.address(), interface.mac);
        // The first request finds a server without mappings.
        let epoch = now.since(*self.first_request.get_or_insert(now));
        let answer = server::answer(udp_payload(bytes, meta.offload)?, client, &mut self.nat, epoch, now)?;
        let frame = eth().src(own_mac).dst(meta.src).ipv4(own, client.address);
        out.push(client.input, &frame.udp(PCP_SERVER_PORT, ip.src_port).payload(&answer), Offload::NONE);
        Ok(())
    }

    /// Ends the mappings of hosts that a new configuration doesn't serve.
    pub(crate) fn end_port_mappings(&mut self) {
        let networks = (0..self.interfaces.len()).map(|index| NetworkId::new(index as u16));
        let served: Vec<_> = networks
            .filter(|&network| self.mapped_uplink(network).is_some())
            .filter_map(|network| Some(self.interface(network)?.address))
            .collect();
        let is_served = |address| served.iter().any(|subnet| subnet.contains(address));
        self.nat.retain_explicit(|mapping| is_served(*mapping.inside.ip()), Millis::ZERO);
    }
}
