//! What a NAT is told from outside: rules, addresses, times, and what it does where the RFCs leave a choice.

use std::net::Ipv4Addr;

use packet::{Millis, NetworkId, Protocol};

use crate::chains::rule::{PortRange, RuleSet};
use crate::flows::timeouts::Timeouts;
use crate::memory::slab::Id;

/// What a [`Nat`](crate::Nat) is told from outside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NatConfig {
    /// The rules.
    pub rules: RuleSet,
    /// Idle times of flows.
    pub timeouts: Timeouts,
    /// Flows at most; a new one beyond that is refused. 2 147 483 646 if that is less.
    pub flow_limit: u32,
    /// The switch's own address on each network, by [`packet::NetworkId::index`]: what MASQUERADE takes on the way out.
    pub addresses: Vec<Option<Ipv4Addr>>,
    /// By which network packets to elsewhere leave, by [`packet::NetworkId::index`] of the network they come from: hosts that
    /// reach each other by outside addresses see the sources they have there. `None` for networks that are outside.
    pub uplinks: Vec<Option<NetworkId>>,
    /// Own addresses that a host has, too: only these ports and identifiers of theirs are taken for hosts inside. What is in
    /// use of them is told by [`Nat::take_port_changes`](crate::Nat::take_port_changes), which has to be called.
    pub shared: Vec<(Ipv4Addr, PortRange)>,
    /// Mapping, filtering and limits.
    pub settings: NatSettings,
}

impl NatConfig {
    /// Flows at most, of those that can be numbered.
    pub(crate) fn flow_limit(&self) -> usize {
        self.flow_limit.min(Id::LIMIT - 2) as usize
    }

    /// The switch's own address on a network.
    pub(crate) fn own_address(&self, network: NetworkId) -> Option<Ipv4Addr> {
        self.addresses.get(network.index()).copied().flatten()
    }

    /// By which network packets of this one leave, if it is inside.
    pub(crate) fn uplink(&self, network: NetworkId) -> Option<NetworkId> {
        self.uplinks.get(network.index()).copied().flatten()
    }

    /// Of this address only these ports are to be had; `None`: all.
    pub(crate) fn limit(&self, address: Ipv4Addr) -> Option<PortRange> {
        self.shared.iter().find(|(shared, _)| *shared == address).map(|&(_, range)| range)
    }

    /// The ports of this address that DNAT rules publish.
    pub(crate) fn published(&self, address: Ipv4Addr, protocol: Protocol) -> impl Iterator<Item = PortRange> {
        let own = move |network| self.own_address(network);
        self.rules.prerouting.iter().flat_map(move |rule| rule.publishes(address, protocol, own)).copied()
    }

    /// Whether a mapping lets in those only that its inside socket has sent to.
    pub(crate) fn filters_by_address(&self) -> bool {
        self.settings.filtering == Behaviour::AddressDependent
    }
}

/// What a mapping, or its filter, depends on. RFC 4787, 4.1 and 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Behaviour {
    /// On the inside socket only.
    #[default]
    EndpointIndependent,
    /// On the remote address too.
    AddressDependent,
    /// On the remote address and port too.
    AddressAndPortDependent,
}

/// The choices. The defaults follow RFC 4787, 5382, 5508, 7857 and 6888.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NatSettings {
    /// Which packets of an inside socket leave by one outside port. Default endpoint-independent: RFC 4787 REQ-1 allows
    /// nothing else, and peer-to-peer connections fail with anything else.
    pub mapping: Behaviour,
    /// Whom a mapping lets in: anyone, or those that the inside socket has sent to by address, or by address and port.
    /// Default address-dependent, RFC 4787 REQ-8 and 5382 REQ-3. Hosts behind the same uplink are always let in.
    pub filtering: Behaviour,
    /// Whether an inside socket keeps its port outside where that is free. Default true. Without it every port is a random
    /// one, RFC 7857, 9.
    pub port_preservation: bool,
    /// Whether an even UDP port gets an even one outside, and an odd one an odd one, as long as there are. Default false, as
    /// RFC 7857, 8, allows: RTP no longer needs it, and it halves the choice.
    pub port_parity: bool,
    /// How long a port rests after its last flow, UDP and ICMP, so that a new owner doesn't get what was meant for the old
    /// one. Default 120 s, RFC 6888 REQ-8; TCP ports are watched to their end and don't need it. With zero they don't rest.
    pub quarantine: Millis,
    /// Ports that rest at most, over all outside addresses; beyond that the oldest returns early. Default 16 384, a quarter
    /// of one address.
    pub quarantine_limit: u32,
    /// Flows that an inside host may have, those from outside to its mappings among them. Default none: hosts share the table.
    pub host_flow_limit: Option<u32>,
    /// Outside ports and identifiers that an inside host may have. Default none.
    pub host_port_limit: Option<u32>,
    /// Outside ports that an inside host may get in a second, and at once. Default none.
    pub host_mapping_rate: Option<u32>,
    /// What a sender is told whose new flow finds no place.
    pub exhausted: Exhausted,
}

/// An ICMP destination unreachable message for a flow that finds no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Exhausted {
    /// Code 13, communication administratively prohibited. RFC 5508 REQ-8.
    #[default]
    Prohibited,
    /// Code 1, host unreachable. RFC 6888 REQ-11.
    HostUnreachable,
}

impl NatSettings {
    pub(crate) const fn limits_hosts(&self) -> bool {
        self.host_flow_limit.is_some() || self.host_port_limit.is_some() || self.host_mapping_rate.is_some()
    }
}

impl Default for NatSettings {
    fn default() -> Self {
        Self {
            mapping: Behaviour::EndpointIndependent,
            filtering: Behaviour::AddressDependent,
            port_preservation: true,
            port_parity: false,
            quarantine: Millis::from_secs(120),
            quarantine_limit: 16_384,
            host_flow_limit: None,
            host_port_limit: None,
            host_mapping_rate: None,
            exhausted: Exhausted::Prohibited,
        }
    }
}
