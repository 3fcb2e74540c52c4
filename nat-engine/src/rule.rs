//! Which new flows are translated, and to what: the ordered rules of iptables' nat table.
//!
//! ```text
//! packet ─▶ PREROUTING rules (destination) ─▶ routing ─▶ POSTROUTING rules (source) ─▶ flow
//! ```
//!
//! Rules are consulted for the first packet of a flow only; the flow remembers.

use std::net::Ipv4Addr;

use packet::{Ipv4Cidr, NetworkId, Protocol};

/// The rules of one configuration, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuleSet {
    /// Consulted before routing: may change the destination.
    pub prerouting: Vec<NatRule>,
    /// Consulted after routing: may change the source.
    pub postrouting: Vec<NatRule>,
}

/// A rule: the first one that matches decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NatRule {
    /// What it applies to.
    pub matches: Match,
    /// What it does.
    pub target: Target,
}

/// A condition that may be negated, as iptables' `!` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition<T> {
    /// The value to compare with.
    pub value: T,
    /// Matches what is *not* `value`.
    pub negated: bool,
}

impl<T> Condition<T> {
    /// Matches what is `value`.
    pub const fn is(value: T) -> Self {
        Self { value, negated: false }
    }

    /// Matches what is not `value`.
    pub const fn not(value: T) -> Self {
        Self { value, negated: true }
    }

    fn holds(&self, compare: impl FnOnce(&T) -> bool) -> bool {
        compare(&self.value) != self.negated
    }
}

/// The conditions of a rule; all must hold, `None` always does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Match {
    /// `-i`: where the packet came from.
    pub input: Option<Condition<NetworkId>>,
    /// `-o`: where it goes; postrouting only.
    pub output: Option<Condition<NetworkId>>,
    /// `-s`.
    pub source: Option<Condition<Ipv4Cidr>>,
    /// `-d`.
    pub destination: Option<Condition<Ipv4Cidr>>,
    /// `-p`.
    pub protocol: Option<Condition<Protocol>>,
    /// `--sport`; holds for TCP and UDP only.
    pub source_ports: Option<Condition<PortRange>>,
    /// `--dport`; holds for TCP and UDP only.
    pub destination_ports: Option<Condition<PortRange>>,
}

/// A range of TCP or UDP ports, both ends included.
pub type PortRange = (u16, u16);

/// What a rule does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// No translation; no further rule is looked at.
    Accept,
    /// Source to the address of the network that the packet leaves by.
    Masquerade,
    /// Source to this address.
    Snat(Ipv4Addr),
    /// Destination to this address, and to this port if given.
    Dnat(Ipv4Addr, Option<u16>),
}

/// What rules look at: the flow's first packet.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Where it came from.
    pub input: NetworkId,
    /// Where it goes; `None` before routing.
    pub output: Option<NetworkId>,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Protocol.
    pub protocol: Protocol,
    /// Source port, where the protocol has one.
    pub source_port: Option<u16>,
    /// Destination port, where the protocol has one.
    pub destination_port: Option<u16>,
}

impl NatRule {
    /// The ports of `address` that this rule takes for an inside server, if it says so: by its destination, or else by
    /// the network that packets come from, whose own address `own` tells.
    pub(crate) fn publishes(
        &self,
        address: Ipv4Addr,
        protocol: Protocol,
        own: impl Fn(NetworkId) -> Option<Ipv4Addr>,
    ) -> Option<PortRange> {
        let Match { input, destination, protocol: on, destination_ports, .. } = &self.matches;
        let ports = destination_ports.filter(|ports| !ports.negated)?.value;
        let to_address = match (destination, input) {
            (Some(net), _) => !net.negated && net.holds(|net| net.contains(address)),
            (None, Some(input)) => !input.negated && own(input.value) == Some(address),
            (None, None) => false,
        };
        let published = matches!(self.target, Target::Dnat(..)) && to_address;
        (published && on.is_none_or(|on| on.holds(|&on| on == protocol))).then_some(ports)
    }
}

impl Match {
    /// Whether all conditions hold for `packet`.
    pub fn holds(&self, packet: &Candidate) -> bool {
        fn check<T>(condition: &Option<Condition<T>>, compare: impl FnOnce(&T) -> bool) -> bool {
            condition.as_ref().is_none_or(|c| c.holds(compare))
        }
        // A port condition, negated or not, can't hold where there is no port.
        fn port(condition: &Option<Condition<PortRange>>, port: Option<u16>) -> bool {
            condition
                .as_ref()
                .is_none_or(|c| port.is_some_and(|p| c.holds(|&(low, high)| (low..=high).contains(&p))))
        }
        check(&self.input, |&network| network == packet.input)
            && check(&self.output, |&network| Some(network) == packet.output)
            && check(&self.source, |net| net.contains(packet.source))
            && check(&self.destination, |net| net.contains(packet.destination))
            && check(&self.protocol, |&protocol| protocol == packet.protocol)
            && port(&self.source_ports, packet.source_port)
            && port(&self.destination_ports, packet.destination_port)
    }
}
