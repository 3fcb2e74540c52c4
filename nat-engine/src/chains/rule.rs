//! Which new flows are translated, and to what: the ordered rules of iptables' nat table.
//!
//! ```text
//! packet ─▶ PREROUTING rules (destination) ─▶ routing ─▶ POSTROUTING rules (source) ─▶ flow
//! ```
//!
//! Rules are consulted for the first packet of a flow only; the flow remembers.

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{Ipv4Cidr, NetworkId, Protocol};

/// The rules of one configuration, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuleSet {
    /// Consulted before routing: may change the destination.
    pub prerouting: Vec<NatRule>,
    /// Consulted after routing: may change the source.
    pub postrouting: Vec<NatRule>,
}

impl RuleSet {
    /// Ports of `address` that rules take for inside servers, as far as they name them. `own` tells the switch's own address
    /// on a network.
    pub fn published(
        &self,
        address: Ipv4Addr,
        protocol: Protocol,
        own: impl Fn(NetworkId) -> Option<Ipv4Addr>,
    ) -> impl Iterator<Item = PortRange> {
        self.prerouting.iter().flat_map(move |rule| rule.publishes(address, protocol, &own).to_vec())
    }

    /// Whether hosts on `network` know inside hosts by `address`, because a rule translates sources to it or its
    /// destinations to others: somebody has to answer for it there.
    pub fn stands_for_others(&self, address: Ipv4Addr, network: NetworkId) -> bool {
        let is_source = |rule: &NatRule| {
            let leaves_here =
                rule.matches.output.is_none_or(|output| output.holds(|&output| output == network));
            leaves_here
                && match rule.target {
                    Target::Snat { addresses, .. } => addresses.contains(address),
                    Target::Netmap(net) => net.contains(address),
                    _ => false,
                }
        };
        let is_destination = |rule: &NatRule| {
            let Match { input, destination: Some(net), .. } = &rule.matches else { return false };
            let comes_here = input.map_or(matches!(rule.target, Target::Balance(_)), |input| {
                input.holds(|&input| input == network)
            });
            let translates =
                matches!(rule.target, Target::Dnat { .. } | Target::Netmap(_) | Target::Balance(_));
            comes_here && !net.negated && translates && net.value.contains(address)
        };
        self.postrouting.iter().any(is_source) || self.prerouting.iter().any(is_destination)
    }
}

/// A rule: the first one that matches decides.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct NatRule {
    /// What it applies to.
    pub matches: Match,
    /// What it does.
    pub target: Target,
}

/// A condition that may be negated, as iptables' `!` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
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
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
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
    /// `--sport`, or `--sports` of `-m multiport`; holds for TCP and UDP only.
    pub source_ports: Option<Condition<PortList>>,
    /// `--dport`, or `--dports` of `-m multiport`; holds for TCP and UDP only.
    pub destination_ports: Option<Condition<PortList>>,
    /// `-m comment`: for people, always holds.
    pub comment: Option<String>,
}

/// A range of TCP or UDP ports, both ends included.
pub type PortRange = (u16, u16);

/// Ports of which one has to be met.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct PortList(pub Vec<PortRange>);

impl PortList {
    /// Just this port.
    pub fn port(port: u16) -> Self {
        Self(vec![(port, port)])
    }

    /// Whether one of the ranges has this port.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|&(low, high)| (low..=high).contains(&port))
    }
}

impl From<PortRange> for PortList {
    fn from(range: PortRange) -> Self {
        Self(vec![range])
    }
}

/// Addresses in a row, both ends included. One whose end is before its start has just the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct AddressRange {
    /// The first one.
    pub first: Ipv4Addr,
    /// The last one.
    pub last: Ipv4Addr,
}

impl AddressRange {
    /// Whether it has this address.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address) || address == self.first
    }

    /// One of the addresses, always the same one for the same `peer`; neighbouring peers get neighbouring ones.
    pub(crate) fn pick(&self, peer: Ipv4Addr) -> Ipv4Addr {
        let count = u64::from(self.last.to_bits().saturating_sub(self.first.to_bits())) + 1;
        let place = u64::from(peer.to_bits()) % count;
        Ipv4Addr::from_bits(self.first.to_bits() + place as u32)
    }
}

impl From<Ipv4Addr> for AddressRange {
    fn from(address: Ipv4Addr) -> Self {
        Self { first: address, last: address }
    }
}

/// What a rule does. Ports apply to TCP and UDP only; a target that is no use in its chain does nothing.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Target {
    /// No translation; no further rule is looked at.
    Accept,
    /// The same as [`Accept`](Self::Accept), as there is no chain to return to.
    Return,
    /// Source to the address of the network that the packet leaves by, and to one of these ports if given.
    Masquerade {
        /// The port to take: kept if it is among them, else any free one of them.
        ports: Option<PortRange>,
    },
    /// Source to one of these addresses, and to one of these ports if given. An inside host keeps its outside address:
    /// pooling is "paired", RFC 4787 REQ-2.
    Snat {
        /// The pool.
        addresses: AddressRange,
        /// As for [`Masquerade`](Self::Masquerade).
        ports: Option<PortRange>,
    },
    /// Destination to one of these addresses, chosen by the client's, and to one of these ports if given.
    Dnat {
        /// The servers.
        addresses: AddressRange,
        /// The port is kept if it is among them, else it is one of them, chosen by the client's.
        ports: Option<PortRange>,
        /// The port that becomes the first one; those behind it become those behind that, and after the last one it begins
        /// again.
        base: Option<u16>,
    },
    /// Destination to one of these servers: to that which has waited longest, of those that live.
    Balance(Balance),
    /// Destination to the switch's own address on the network that the packet comes from. The switch itself serves
    /// nothing over TCP; a proxy on another host is reached by [`Dnat`](Self::Dnat).
    Redirect {
        /// As for [`Dnat`](Self::Dnat).
        ports: Option<PortRange>,
    },
    /// The network part of the address to this one, the host part stays; of the destination before routing, of the source
    /// after it. Ports stay.
    Netmap(Ipv4Cidr),
}

/// Servers that flows are spread over, one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Balance {
    /// Those that serve.
    pub servers: Vec<SocketAddrV4>,
    /// Those that serve while none of `servers` lives.
    pub backups: Vec<SocketAddrV4>,
}

impl Balance {
    /// The server whose `turn` it is, of those that live.
    pub(super) fn pick(&self, turn: u64, is_alive: impl Fn(SocketAddrV4) -> bool) -> Option<SocketAddrV4> {
        [&self.servers, &self.backups].into_iter().find_map(|servers| {
            let alive = || servers.iter().copied().filter(|&server| is_alive(server));
            let place = turn.checked_rem(alive().count() as u64)?;
            alive().nth(place as usize)
        })
    }
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
    ) -> &[PortRange] {
        let Match { input, destination, protocol: on, destination_ports, .. } = &self.matches;
        let to_address = match (destination, input) {
            (Some(net), _) => !net.negated && net.holds(|net| net.contains(address)),
            (None, Some(input)) => !input.negated && own(input.value) == Some(address),
            (None, None) => false,
        };
        let is_inwards =
            matches!(self.target, Target::Dnat { .. } | Target::Redirect { .. } | Target::Balance(_));
        let is_published = is_inwards && to_address && on.is_none_or(|on| on.holds(|&on| on == protocol));
        match destination_ports {
            Some(ports) if is_published && !ports.negated => &ports.value.0,
            _ => &[],
        }
    }
}

impl Match {
    /// Whether all conditions hold for `packet`.
    pub fn holds(&self, packet: &Candidate) -> bool {
        fn check<T>(condition: &Option<Condition<T>>, compare: impl FnOnce(&T) -> bool) -> bool {
            condition.as_ref().is_none_or(|c| c.holds(compare))
        }
        // A port condition, negated or not, can't hold where there is no port.
        fn port(condition: &Option<Condition<PortList>>, port: Option<u16>) -> bool {
            condition.as_ref().is_none_or(|c| port.is_some_and(|port| c.holds(|ports| ports.contains(port))))
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

/// The address with the network part of `net`.
pub(crate) fn netmap(net: Ipv4Cidr, address: Ipv4Addr) -> Ipv4Addr {
    net.network() | (address & !net.netmask())
}

/// The port that is as far from the range's first as `port` is from `base`.
pub(crate) fn shift_port((low, high): PortRange, base: u16, port: u16) -> u16 {
    let count = u32::from(high.saturating_sub(low)) + 1;
    low + (u32::from(port.wrapping_sub(base)) % count) as u16
}

/// The port itself if it is in the range, else one of the range, always the same one for the same `peer`.
pub(crate) fn pick_port(range: PortRange, port: u16, peer: u16) -> u16 {
    let (low, high) = range;
    if (low..=high).contains(&port) {
        return port;
    }
    low + (u32::from(peer) % (u32::from(high.saturating_sub(low)) + 1)) as u16
}
