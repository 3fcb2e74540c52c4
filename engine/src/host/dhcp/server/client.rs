//! Who asks, and how clients are told apart.

use std::net::Ipv4Addr;

use packet::{MacAddr, Millis, PortId};

use super::leases::{Binding, BindingState, ClientKey};
use super::message::Request;

/// Who asks.
#[derive(Debug)]
pub(super) struct Client {
    pub key: ClientKey,
    pub mac: MacAddr,
    pub host_name: Option<Box<str>>,
    /// The relay agent that speaks for it.
    pub agent: Option<(Ipv4Addr, MacAddr)>,
}

impl Client {
    pub fn of(request: &Request<'_>, from: MacAddr, is_guarded: bool) -> Self {
        let mac = request.mac.octets();
        let by_mac = [&[1], mac.as_slice()].concat();
        Self {
            key: match request.identifier {
                Some(identifier) if is_guarded && identifier != by_mac => {
                    [identifier, mac.as_slice()].concat().into()
                }
                Some(identifier) => identifier.into(),
                None => by_mac.into(),
            },
            mac: request.mac,
            host_name: request.host_name.map(Box::from),
            agent: request.relay.map(|agent| (agent, from)),
        }
    }

    pub fn binding(self, state: BindingState, port: Option<PortId>, until: Millis) -> Binding {
        let Self { key: client, mac, host_name, agent } = self;
        let relay = agent.map(|(_, mac)| mac);
        Binding { client, mac, host_name, relay, port, state, until, probed: Millis::ZERO, disputed: false }
    }
}
