//! What is to become of a flow's first packet: rules decide. Nothing is stored, leased or counted.
//!
//! ```text
//! destination():  PREROUTING ─▶ where to route
//! prepare():      POSTROUTING ─▶ outside address ─▶ Admission, for admit()
//! ```
//!
//! So both can be asked about all packets of a burst, and memory that admitting these takes is fetched at once.

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{DropReason, Ipv4Packet, L4, NetworkId, Protocol};

use crate::chains::rule::{Candidate, NatRule, Target, netmap, pick_port, shift_port};
use crate::flows::table::FlowKey;
use crate::flows::tcp::TcpState;
use crate::nat::Nat;
use crate::outside::mapping::{HashedKey, MappingKey};
use crate::{Behaviour, PortRange, Tuple};

/// Where a flow's first packet is to go after PREROUTING. To be handed on to [`Nat::prepare`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The address to route by.
    pub address: Ipv4Addr,
    /// Whether that is a rule's doing, or a mapping's that lets the packet in.
    pub translated: bool,
    /// The port to send to, for protocols that have ports, if a rule or mapping changes it.
    pub(crate) port: Option<u16>,
    /// Whether a mapping decided, not a rule.
    pub(crate) mapped: bool,
    /// The deciding rule's place in the chain.
    pub(crate) rule: Option<usize>,
}

/// What the rules make of a flow's first packet. To be handed on to [`Nat::admit`], before rules or settings change.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Admission {
    pub(crate) original: Tuple,
    pub(crate) key: FlowKey,
    pub(crate) destination: Destination,
    /// Who receives it.
    pub(crate) server: SocketAddrV4,
    pub(crate) source: Source,
    /// What is looked for first: the reply if the source port is kept.
    pub(crate) reply: Reply,
    /// The deciding POSTROUTING rule's place in the chain.
    pub(crate) rule: Option<usize>,
}

/// What a rule makes of the source.
pub(crate) enum Outside {
    /// This address, one port of which stands for the inside socket.
    Shared(Ipv4Addr, Option<PortRange>),
    /// This address, which is the inside host's alone.
    OneToOne(Ipv4Addr),
}

/// What is to become of the source.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// This address, with the port as it is if that can be.
    Kept(Ipv4Addr),
    /// The mapping with this key, or a new one with a port of this range. The number tells where it is found by its outside
    /// port, if that is the inside one.
    Mapped(HashedKey, Option<PortRange>, u64),
}

/// The tuple of packets that answer, and where it is to be found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    pub(crate) tuple: Tuple,
    pub(crate) key: FlowKey,
}

impl Nat {
    /// PREROUTING for a flow's first packet: where it wants to go. If no rule says so, and it is for the outside address
    /// and port of a mapping whose filter lets it in, that is the inside socket. Stores and counts nothing.
    ///
    /// # Errors
    /// `NatNoServer` if a rule spreads flows over servers and all are dead, or why the packet may not start such a flow.
    pub fn destination(&self, ip: &Ipv4Packet, input: NetworkId) -> Result<Destination, DropReason> {
        let unchanged =
            Destination { address: ip.dst, translated: false, port: None, mapped: false, rule: None };
        let Some(original) = Tuple::of(ip) else { return Ok(unchanged) };
        let candidate = candidate(original, original.destination(), input, None);
        let rule = decide(&self.config.rules.prerouting, &candidate);
        let Some(index) = rule else {
            let inside = self.let_in(original, input);
            return Ok(inside.map_or(unchanged, |inside| Destination {
                address: *inside.ip(),
                translated: true,
                port: Some(inside.port()),
                mapped: true,
                rule,
            }));
        };
        let to = match &self.config.rules.prerouting[index].target {
            Target::Balance(balance) => {
                may_start_flow(ip)?;
                // As many flows as the rule has had.
                let turn = self.prerouting_counters[index].packets;
                let server = self.servers.pick(balance, original.protocol(), turn);
                let server = server.ok_or(DropReason::NatNoServer)?;
                Some((*server.ip(), Some(server.port())))
            }
            target => self.new_destination(target, original, input),
        };
        Ok(match to {
            Some((address, port)) => Destination { address, translated: true, port, mapped: false, rule },
            None => Destination { rule, ..unchanged },
        })
    }

    /// Whether [`destination`](Self::destination) would say the same after flows have been admitted.
    pub fn is_settled(&self, destination: Destination, ip: &Ipv4Packet) -> bool {
        match destination.rule.and_then(|rule| self.config.rules.prerouting.get(rule)) {
            Some(rule) => !matches!(rule.target, Target::Balance(_)),
            None => Tuple::of(ip).is_none_or(|original| !self.may_be_let_in(original)),
        }
    }

    /// Whether a mapping may have this destination. Nearly all packets are for somebody else: a look at a short list
    /// instead of one at memory that is far away.
    fn may_be_let_in(&self, original: Tuple) -> bool {
        original.protocol().has_ports()
            && self.mappings.ports.has_pool(original.destination_address(), original.protocol())
    }

    /// The inside socket that a packet is for by its outside address and port, if it may start a flow with it.
    fn let_in(&self, original: Tuple, input: NetworkId) -> Option<SocketAddrV4> {
        if !self.may_be_let_in(original) {
            return None;
        }
        let (id, inside) = self.mappings.find_outside(original.protocol(), original.destination())?;
        let is_let_in = match self.config.settings.filtering {
            // Two hosts behind one NAT could never let each other in: what one sends is refused and not remembered.
            _ if self.uplink(input).is_some() => true,
            _ if self.is_requested(id) => true,
            Behaviour::EndpointIndependent => true,
            Behaviour::AddressDependent => self.mappings.knows(id, original.source_address()),
            Behaviour::AddressAndPortDependent => false,
        };
        is_let_in.then_some(inside)
    }

    /// Where a PREROUTING rule sends a flow's packets; `None` leaves them.
    fn new_destination(
        &self,
        target: &Target,
        original: Tuple,
        input: NetworkId,
    ) -> Option<(Ipv4Addr, Option<u16>)> {
        let one_of = |range| pick_port(range, original.destination_port(), original.source_port());
        match *target {
            Target::Dnat { addresses, ports, base } => {
                let port = ports.map(|range| match base {
                    Some(base) => shift_port(range, base, original.destination_port()),
                    None => one_of(range),
                });
                Some((addresses.pick(original.source_address()), port))
            }
            Target::Redirect { ports } => Some((self.own_address(input)?, ports.map(one_of))),
            Target::Netmap(net) => Some((netmap(net, original.destination_address()), None)),
            Target::Accept
            | Target::Return
            | Target::Masquerade { .. }
            | Target::Snat { .. }
            | Target::Balance(_) => None,
        }
    }

    /// POSTROUTING for a flow's first packet, which the caller routed from `input` to `output` and whose
    /// [`key`](Self::key) this is. Stores and counts nothing.
    ///
    /// A packet between hosts behind one uplink, by an outside address, also gets the source that it would have outside
    /// (hairpinning, RFC 4787 REQ-9).
    ///
    /// # Errors
    /// `NatNoAddress`, `NatProtocolUnsupported`, `TcpNoSyn`, `NatUnsolicited` (an echo reply that nobody
    /// asked for), `IcmpErrorUnmatched`, `FragmentWithoutFirst`.
    pub fn prepare(
        &self,
        ip: &Ipv4Packet,
        key: FlowKey,
        destination: Destination,
        input: NetworkId,
        output: NetworkId,
    ) -> Result<Admission, DropReason> {
        let original = may_start_flow(ip)?;
        let server = server(original, destination);
        let candidate = candidate(original, server, input, Some(output));
        let rule = decide(&self.config.rules.postrouting, &candidate);
        let outside = self.outside(rule, original, output)?;
        let outside = outside.or_else(|| self.hairpin(original, destination, input, output));
        if !is_translatable(original.protocol(), outside.as_ref()) {
            return Err(DropReason::NatProtocolUnsupported);
        }
        let address = match outside {
            Some(Outside::Shared(address, _) | Outside::OneToOne(address)) => address,
            None => original.source_address(),
        };
        let client = SocketAddrV4::new(address, original.source_port());
        let source = match outside {
            Some(Outside::Shared(_, range)) => {
                let (behaviour, protocol) = (self.config.settings.mapping, original.protocol());
                let (inside, remote) = (original.source(), original.destination());
                let key = MappingKey::new(behaviour, protocol, inside, address, remote);
                let outside = self.mappings.outside_hash(protocol, client);
                Source::Mapped(self.mappings.hashed(key), range, outside)
            }
            _ => Source::Kept(address),
        };
        let reply = reply(original, server, client);
        let reply = Reply { tuple: reply, key: self.flows.key(reply) };
        Ok(Admission { original, key, destination, server, source, reply, rule })
    }

    /// The outside source of a packet that comes in again: as if it had been to the uplink and back. Without a rule for
    /// that, and where the reply would not pass here, it is the address that the packet was sent to.
    fn hairpin(
        &self,
        original: Tuple,
        destination: Destination,
        input: NetworkId,
        output: NetworkId,
    ) -> Option<Outside> {
        if !destination.translated {
            return None;
        }
        let outwards = || {
            let uplink = self.uplink(input).filter(|&uplink| self.uplink(output) == Some(uplink))?;
            let candidate = candidate(original, original.destination(), input, Some(uplink));
            self.outside(decide(&self.config.rules.postrouting, &candidate), original, uplink).ok()?
        };
        let back = || (input == output).then(|| Outside::Shared(original.destination_address(), None));
        outwards().or_else(back)
    }

    fn uplink(&self, network: NetworkId) -> Option<NetworkId> {
        self.config.uplinks.get(network.index()).copied().flatten()
    }

    /// Where a POSTROUTING rule moves the source to; `None` leaves it.
    pub(crate) fn outside(
        &self,
        rule: Option<usize>,
        original: Tuple,
        output: NetworkId,
    ) -> Result<Option<Outside>, DropReason> {
        let Some(rule) = rule else { return Ok(None) };
        Ok(match self.config.rules.postrouting[rule].target {
            Target::Snat { addresses, ports } => {
                Some(Outside::Shared(addresses.pick(original.source_address()), ports))
            }
            Target::Masquerade { ports } => {
                let own = self.own_address(output).ok_or(DropReason::NatNoAddress)?;
                Some(Outside::Shared(own, ports))
            }
            Target::Netmap(net) => Some(Outside::OneToOne(netmap(net, original.source_address()))),
            Target::Accept
            | Target::Return
            | Target::Dnat { .. }
            | Target::Redirect { .. }
            | Target::Balance(_) => None,
        })
    }

    /// The switch's own address on a network.
    fn own_address(&self, network: NetworkId) -> Option<Ipv4Addr> {
        self.config.addresses.get(network.index()).copied().flatten()
    }
}

/// The tuple of a packet that may be a flow's first.
fn may_start_flow(ip: &Ipv4Packet) -> Result<Tuple, DropReason> {
    match ip.l4 {
        L4::Tcp | L4::Dccp if !TcpState::may_start(ip.tcp_flags) => Err(DropReason::TcpNoSyn),
        L4::EchoReply | L4::TimestampReply => Err(DropReason::NatUnsolicited),
        L4::IcmpError => Err(DropReason::IcmpErrorUnmatched),
        L4::IcmpOther => Err(DropReason::NatProtocolUnsupported),
        _ => Tuple::of(ip).ok_or(DropReason::FragmentWithoutFirst),
    }
}

/// Whether the translation is possible. Without ports, one outside address can't stand for several hosts.
fn is_translatable(protocol: Protocol, outside: Option<&Outside>) -> bool {
    has_ports_or_identifiers(protocol) || !matches!(outside, Some(Outside::Shared(..)))
}

/// Whether there is something in a packet that tells several hosts behind one address apart.
pub(crate) fn has_ports_or_identifiers(protocol: Protocol) -> bool {
    protocol.has_ports() || protocol == Protocol::ICMP
}

/// The first rule that matches.
pub(crate) fn decide(rules: &[NatRule], candidate: &Candidate) -> Option<usize> {
    rules.iter().position(|rule| rule.matches.holds(candidate))
}

pub(crate) fn candidate(
    original: Tuple,
    to: SocketAddrV4,
    input: NetworkId,
    output: Option<NetworkId>,
) -> Candidate {
    let has_ports = original.protocol().has_ports();
    Candidate {
        input,
        output,
        source: original.source_address(),
        destination: *to.ip(),
        protocol: original.protocol(),
        source_port: has_ports.then(|| original.source_port()),
        destination_port: has_ports.then(|| to.port()),
    }
}

/// Who receives the flow's first packet.
fn server(original: Tuple, destination: Destination) -> SocketAddrV4 {
    let has_ports = original.protocol().has_ports();
    let port = destination.port.filter(|_| has_ports).unwrap_or(original.destination_port());
    SocketAddrV4::new(destination.address, port)
}

pub(crate) fn reply(original: Tuple, server: SocketAddrV4, client: SocketAddrV4) -> Tuple {
    Tuple::new(original.protocol(), server, client)
}
