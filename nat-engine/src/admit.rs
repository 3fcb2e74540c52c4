//! A flow's first packet: rules decide, a port is leased, and only then is anything stored.
//!
//! ```text
//! destination():  PREROUTING ─▶ where to route
//! admit_new():    POSTROUTING ─▶ outside address ─▶ mapping or new port ─▶ flow ─▶ packet rewritten
//! ```

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{DropReason, L4, Millis, NetworkId, Protocol};

use crate::flow::{Direction, Flow};
use crate::flow_table::FlowMappings;
use crate::mapping::MappingKey;
use crate::nat::{Nat, contact_of};
use crate::port_pool::{PortLease, Published, Wanted};
use crate::rule::{Candidate, NatRule, Target, netmap, pick_port};
use crate::slab::Id;
use crate::tcp::TcpState;
use crate::{Behaviour, NatPacket, NatSettings, PortRange, Tuple};

/// Where a flow's first packet is to go after PREROUTING. To be handed on to [`Nat::admit_new`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The address to route by.
    pub address: Ipv4Addr,
    /// Whether that is a rule's doing, or a mapping's that lets the packet in.
    pub translated: bool,
    /// The port to send to, for protocols that have ports, if a rule or mapping changes it.
    port: Option<u16>,
    /// Whether a mapping decided, not a rule.
    mapped: bool,
    /// The deciding rule's place in the chain.
    rule: Option<usize>,
}

/// Ports that are tried when the one at hand is taken towards the same remote. Each try fails only if a flow of just
/// that port and remote exists without a lease, so one is nearly always enough.
const TRIES: usize = 8;

/// What a rule makes of the source.
pub(crate) enum Outside {
    /// This address, one port of which stands for the inside socket.
    Shared(Ipv4Addr, Option<PortRange>),
    /// This address, which is the inside host's alone.
    OneToOne(Ipv4Addr),
}

/// What becomes of the source.
enum Source {
    /// This one, for this flow alone.
    Plain(SocketAddrV4),
    /// It takes that of a mapping in use.
    Known(Id, u16),
    /// It takes a new mapping.
    New(MappingKey, PortLease),
}

impl Nat {
    /// PREROUTING for a flow's first packet: where it wants to go. If no rule says so, and it is for the outside address
    /// and port of a mapping whose filter lets it in, that is the inside socket. Stores and counts nothing.
    ///
    /// # Errors
    /// `NatNoServer` if a rule spreads flows over servers and all are dead, or why the packet may not start such a flow.
    pub fn destination(&self, packet: &NatPacket<'_>, input: NetworkId) -> Result<Destination, DropReason> {
        let unchanged =
            Destination { address: packet.ip.dst, translated: false, port: None, mapped: false, rule: None };
        let Some(original) = Tuple::of(packet.ip) else { return Ok(unchanged) };
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
                may_start_flow(packet)?;
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

    /// The inside socket that a packet is for by its outside address and port, if it may start a flow with it.
    fn let_in(&self, original: Tuple, input: NetworkId) -> Option<SocketAddrV4> {
        let has_ports = matches!(original.protocol(), Protocol::TCP | Protocol::UDP);
        // Nearly all packets are for somebody else: a look at a short list instead of one at memory that is far away.
        if !has_ports || !self.mappings.ports.has_pool(original.destination_address(), original.protocol()) {
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
            Target::Dnat { addresses, ports } => {
                Some((addresses.pick(original.source_address()), ports.map(one_of)))
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

    /// POSTROUTING for a flow's first packet, which the caller routed from `input` to `output`: picks the translation,
    /// stores the flow and rewrites the packet. Budget 250 ns.
    ///
    /// A packet between hosts behind one uplink, by an outside address, also gets the source that it would have outside
    /// (hairpinning, RFC 4787 REQ-9).
    ///
    /// # Errors
    /// `FlowTableFull`, `NatHostLimit`, `NatNoPorts`, `NatNoAddress`, `NatProtocolUnsupported`, `TcpNoSyn`,
    /// `NatUnsolicited` (an echo reply that nobody asked for, or a mapping that is gone), `IcmpErrorUnmatched`,
    /// `FragmentWithoutFirst`. Nothing is stored then, and the packet is untouched.
    pub fn admit_new(
        &mut self,
        packet: &mut NatPacket<'_>,
        destination: Destination,
        input: NetworkId,
        output: NetworkId,
        now: Millis,
    ) -> Result<(), DropReason> {
        let original = may_start_flow(packet)?;
        if self.flows.len() >= self.flow_limit() {
            return Err(DropReason::FlowTableFull);
        }
        let inward = match destination.mapped {
            true => Some(self.destination_mapping(original, destination).ok_or(DropReason::NatUnsolicited)?),
            false => None,
        };
        let server = server(original, destination);
        let settings = &self.config.settings;
        if settings.limits_hosts() {
            let receiver = inward.map(|_| destination.address);
            let mut hosts = receiver.into_iter().chain([original.source_address()]);
            if !hosts.all(|host| self.hosts.may_add_flow(host, settings)) {
                return Err(DropReason::NatHostLimit);
            }
        }
        let (outside, rule) = {
            let candidate = candidate(original, server, input, Some(output));
            let rule = decide(&self.config.rules.postrouting, &candidate);
            let outside = self.outside(rule, original, output)?;
            (outside.or_else(|| self.hairpin(original, destination, input, output)), rule)
        };
        if !is_translatable(original.protocol(), destination, outside.as_ref()) {
            return Err(DropReason::NatProtocolUnsupported);
        }
        let source = match outside {
            Some(Outside::Shared(address, ports)) => {
                self.map_source(original, server, address, ports, now)?
            }
            Some(Outside::OneToOne(address)) => self.keep_source(original, server, address)?,
            None => self.keep_source(original, server, original.source_address())?,
        };
        self.count_rules(destination.rule, rule, packet.ip.total_len);
        self.store(packet, original, server, source, inward, now);
        Ok(())
    }

    /// The mapping that [`destination`](Self::destination) found, if it is still there.
    fn destination_mapping(&self, original: Tuple, destination: Destination) -> Option<Id> {
        let (id, inside) = self.mappings.find_outside(original.protocol(), original.destination())?;
        (*inside.ip() == destination.address && Some(inside.port()) == destination.port).then_some(id)
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

    /// The mapping that the inside socket has towards everywhere, else a new one.
    fn map_source(
        &mut self,
        original: Tuple,
        server: SocketAddrV4,
        outside: Ipv4Addr,
        range: Option<PortRange>,
        now: Millis,
    ) -> Result<Source, DropReason> {
        let inside = original.source();
        let NatSettings { mapping, port_preservation: keep, port_parity, .. } = self.config.settings;
        let key = MappingKey::new(mapping, original.protocol(), inside, outside, original.destination());
        let parity = port_parity && original.protocol() == Protocol::UDP;
        let mut wanted = Wanted { port: inside.port(), keep, range, parity };
        if let Some((id, port)) = self.mappings.find(key) {
            if self.is_free(original, reply(original, server, SocketAddrV4::new(outside, port))) {
                return Ok(Source::Known(id, port));
            }
            wanted.keep = false;
        }
        let settings = &self.config.settings;
        if settings.limits_hosts() && !self.hosts.may_map(*inside.ip(), settings, now) {
            return Err(DropReason::NatHostLimit);
        }
        // Leases that turn out to be of no use are kept until a good one is found, so that none comes twice.
        let mut refused = Vec::new();
        let mut good = None;
        while good.is_none() && refused.len() < TRIES {
            let published = Published { rules: &self.config.rules, addresses: &self.config.addresses };
            let ports = &mut self.mappings.ports;
            let lease = ports.lease(outside, original.protocol(), wanted, &published, &mut self.random, now);
            let Some(lease) = lease else { break };
            let client = SocketAddrV4::new(outside, lease.port());
            match self.is_free(original, reply(original, server, client)) {
                true => good = Some(lease),
                false => refused.push(lease),
            }
            wanted.keep = false;
        }
        refused.into_iter().for_each(|lease| self.mappings.ports.give_back(lease));
        good.map(|lease| Source::New(key, lease)).ok_or(DropReason::NatNoPorts)
    }

    /// The source port as it is; another one only if another flow looks the same from the other side, as when two
    /// published ports lead to one server and a client uses one port for both.
    fn keep_source(
        &mut self,
        original: Tuple,
        server: SocketAddrV4,
        address: Ipv4Addr,
    ) -> Result<Source, DropReason> {
        let ports = match original.protocol() {
            Protocol::TCP | Protocol::UDP | Protocol::ICMP => TRIES,
            _ => 0,
        };
        let mut port = original.source_port();
        for _ in 0..=ports {
            let client = SocketAddrV4::new(address, port);
            if self.is_free(original, reply(original, server, client)) {
                return Ok(Source::Plain(client));
            }
            port = self.random.between(1024, u16::MAX);
        }
        Err(DropReason::NatNoPorts)
    }

    /// Whether no flow has this tuple yet, in either direction.
    fn is_free(&self, original: Tuple, reply: Tuple) -> bool {
        reply != original && self.flows.find(reply, self.flows.key(reply)).is_none()
    }

    /// Everything is decided: stores the flow and lets its first packet through.
    fn store(
        &mut self,
        packet: &mut NatPacket<'_>,
        original: Tuple,
        server: SocketAddrV4,
        source: Source,
        inward: Option<Id>,
        now: Millis,
    ) {
        let (outward, client) = match source {
            Source::Plain(client) => (None, client),
            Source::Known(id, port) => (Some(id), SocketAddrV4::new(self.mappings.key(id).outside(), port)),
            Source::New(key, lease) => {
                let outside = SocketAddrV4::new(key.outside(), lease.port());
                (Some(self.mappings.insert(key, lease)), outside)
            }
        };
        let mut flow = Flow::new(original, reply(original, server, client));
        flow.note(Direction::Original, packet);
        let left = flow.translated(Direction::Original);
        self.add_flow(flow, FlowMappings { source: outward, destination: inward }, now);
        self.admitted += 1;
        self.rewrite(packet, original, left, now);
    }

    pub(crate) fn add_flow(&mut self, flow: Flow, mappings: FlowMappings, now: Millis) {
        let FlowMappings { source, destination } = mappings;
        source.into_iter().chain(destination).for_each(|mapping| self.acquire(mapping, now));
        if let Some(mapping) = source.filter(|_| self.filters_by_address()) {
            self.mappings.add_contact(mapping, contact_of(&flow));
        }
        self.servers.add(&flow);
        self.flows.insert(flow, mappings, now);
    }

    /// One more flow uses the mapping.
    pub(crate) fn acquire(&mut self, mapping: Id, now: Millis) {
        let is_new = self.mappings.acquire(mapping);
        let settings = &self.config.settings;
        if settings.limits_hosts() {
            self.hosts.add(*self.mappings.key(mapping).inside().ip(), is_new, settings, now);
        }
    }

    fn count_rules(&mut self, prerouting: Option<usize>, postrouting: Option<usize>, len: u16) {
        // A rule decided by an earlier configuration may be gone.
        let prerouting = prerouting.and_then(|rule| self.prerouting_counters.get_mut(rule));
        let postrouting = postrouting.and_then(|rule| self.postrouting_counters.get_mut(rule));
        for counter in prerouting.into_iter().chain(postrouting) {
            counter.packets += 1;
            counter.bytes += u64::from(len);
        }
    }
}

/// The tuple of a packet that may be a flow's first.
fn may_start_flow(packet: &NatPacket<'_>) -> Result<Tuple, DropReason> {
    match packet.ip.l4 {
        L4::Tcp if !TcpState::may_start(packet.ip.tcp_flags) => Err(DropReason::TcpNoSyn),
        L4::EchoReply => Err(DropReason::NatUnsolicited),
        L4::IcmpError => Err(DropReason::IcmpErrorUnmatched),
        L4::IcmpOther => Err(DropReason::NatProtocolUnsupported),
        _ => Tuple::of(packet.ip).ok_or(DropReason::FragmentWithoutFirst),
    }
}

/// Whether the translation is possible. Without ports, one outside address can't stand for several hosts; and a
/// checksum over addresses, as these two protocols have it, has to be known to be kept right.
fn is_translatable(protocol: Protocol, destination: Destination, outside: Option<&Outside>) -> bool {
    match protocol {
        Protocol::TCP | Protocol::UDP | Protocol::ICMP => true,
        _ if matches!(outside, Some(Outside::Shared(..))) => false,
        UDP_LITE | DCCP => !destination.translated && outside.is_none(),
        _ => true,
    }
}

/// RFC 3828.
const UDP_LITE: Protocol = Protocol(136);
/// RFC 4340.
const DCCP: Protocol = Protocol(33);

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
    let has_ports = matches!(original.protocol(), Protocol::TCP | Protocol::UDP);
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
    let has_ports = matches!(original.protocol(), Protocol::TCP | Protocol::UDP);
    let port = destination.port.filter(|_| has_ports).unwrap_or(original.destination_port());
    SocketAddrV4::new(destination.address, port)
}

fn reply(original: Tuple, server: SocketAddrV4, client: SocketAddrV4) -> Tuple {
    Tuple::new(original.protocol(), server, client)
}
