//! A flow's first packet: rules decide, a port is leased, and only then is anything stored.
//!
//! ```text
//! destination():  PREROUTING ─▶ where to route
//! prepare():      POSTROUTING ─▶ outside address
//! admit():        mapping or new port ─▶ flow ─▶ packet rewritten
//! ```
//!
//! Only the last of them changes anything. So the first two can be asked about all packets of a burst, and memory that the
//! third one needs for each of them is fetched at once.

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{DropReason, Ipv4Packet, L4, Millis, NetworkId, Protocol};

use crate::flow::{Direction, Flow};
use crate::flow_table::{FlowKey, FlowMappings};
use crate::mapping::{HashedKey, MappingKey};
use crate::nat::{Nat, contact_of};
use crate::port_pool::{PortLease, Published, Wanted};
use crate::rule::{Candidate, NatRule, Target, netmap, pick_port};
use crate::slab::Id;
use crate::tcp::TcpState;
use crate::{Behaviour, NatPacket, NatSettings, PortRange, Tuple};

/// Where a flow's first packet is to go after PREROUTING. To be handed on to [`Nat::prepare`].
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

/// What the rules make of a flow's first packet. To be handed on to [`Nat::admit`], before rules or settings change.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Admission {
    original: Tuple,
    key: FlowKey,
    destination: Destination,
    /// Who receives it.
    server: SocketAddrV4,
    source: Source,
    /// What is looked for first: the reply if the source port is kept.
    reply: Reply,
    /// The deciding POSTROUTING rule's place in the chain.
    rule: Option<usize>,
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
enum Source {
    /// This address, with the port as it is if that can be.
    Kept(Ipv4Addr),
    /// The mapping with this key, or a new one with a port of this range. The number tells where it is found by its outside
    /// port, if that is the inside one.
    Mapped(HashedKey, Option<PortRange>, u64),
}

/// The mapping that a flow's source takes.
enum SourceMapping {
    Known(Id),
    /// A new one, and whether it is to be found by its key.
    New(HashedKey, PortLease, bool),
}

/// The tuple of packets that answer, and where it is to be found.
#[derive(Clone, Copy, Debug)]
struct Reply {
    tuple: Tuple,
    key: FlowKey,
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

    /// POSTROUTING for a flow's first packet, which the caller routed from `input` to `output` and whose
    /// [`key`](Self::key) this is. Stores and counts nothing.
    ///
    /// A packet between hosts behind one uplink, by an outside address, also gets the source that it would have outside
    /// (hairpinning, RFC 4787 REQ-9).
    ///
    /// # Errors
    /// `FlowTableFull`, `NatNoAddress`, `NatProtocolUnsupported`, `TcpNoSyn`, `NatUnsolicited` (an echo reply that nobody
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
        if self.flows.len() >= self.flow_limit() {
            return Err(DropReason::FlowTableFull);
        }
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

    /// Brings what [`admit`](Self::admit) will need into the processor's cache, for many flows at once, as
    /// [`look_ahead`](Self::look_ahead) does. Changes nothing.
    pub fn look_ahead_new<'a>(&self, admissions: impl Iterator<Item = &'a Admission> + Clone) {
        self.flows.look_ahead_reply(admissions.clone().map(|admission| admission.reply.key));
        self.mappings.look_ahead(admissions.filter_map(|admission| match admission.source {
            Source::Mapped(key, _, outside) => Some((key, outside)),
            Source::Kept(_) => None,
        }));
    }

    /// Stores a new flow and rewrites its first packet. Budget 250 ns.
    ///
    /// # Errors
    /// `FlowTableFull`, `NatHostLimit`, `NatNoPorts`, `NatUnsolicited` (the mapping that `destination` has found is gone).
    /// Nothing is stored then, and the packet is untouched.
    pub fn admit(
        &mut self,
        packet: &mut NatPacket<'_>,
        admission: Admission,
        now: Millis,
    ) -> Result<(), DropReason> {
        let Admission { original, destination, .. } = admission;
        debug_assert_eq!(Tuple::of(packet.ip), Some(original), "another packet's admission");
        if self.flows.len() >= self.flow_limit() {
            return Err(DropReason::FlowTableFull);
        }
        let inward = match destination.mapped {
            true => Some(self.destination_mapping(original, destination).ok_or(DropReason::NatUnsolicited)?),
            false => None,
        };
        let settings = &self.config.settings;
        if settings.limits_hosts() {
            let receiver = inward.map(|_| destination.address);
            let mut hosts = receiver.into_iter().chain([original.source_address()]);
            if !hosts.all(|host| self.hosts.may_add_flow(host, settings)) {
                return Err(DropReason::NatHostLimit);
            }
        }
        let (source, reply) = match admission.source {
            Source::Mapped(key, range, _) => {
                let (mapping, reply) = self.map_source(&admission, key, range, now)?;
                (Some(mapping), reply)
            }
            Source::Kept(address) => (None, self.keep_source(&admission, address)?),
        };
        self.count_rules(destination.rule, admission.rule, packet.ip.total_len);
        self.store(packet, &admission, source, reply, inward, now);
        Ok(())
    }

    /// [`prepare`](Self::prepare) and [`admit`](Self::admit) in one, with the errors of both.
    ///
    /// # Errors
    /// Nothing is stored then, and the packet is untouched.
    pub fn admit_new(
        &mut self,
        packet: &mut NatPacket<'_>,
        destination: Destination,
        input: NetworkId,
        output: NetworkId,
        now: Millis,
    ) -> Result<(), DropReason> {
        let admission = self.prepare(packet.ip, self.key(packet.ip), destination, input, output)?;
        self.admit(packet, admission, now)
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

    /// The mapping that the inside socket has towards everywhere, else a new one; and the flow's reply with it.
    fn map_source(
        &mut self,
        admission: &Admission,
        key: HashedKey,
        range: Option<PortRange>,
        now: Millis,
    ) -> Result<(SourceMapping, Reply), DropReason> {
        let (original, outside) = (admission.original, admission.reply.tuple.destination_address());
        let NatSettings { port_preservation: keep, port_parity, .. } = self.config.settings;
        let parity = port_parity && original.protocol() == Protocol::UDP;
        let mut wanted = Wanted { port: original.source_port(), keep, range, parity };
        let known = self.mappings.find(key);
        if let Some((id, port)) = known {
            if let Some(reply) = self.free_reply(admission, SocketAddrV4::new(outside, port)) {
                return Ok((SourceMapping::Known(id), reply));
            }
            wanted.keep = false;
        }
        let settings = &self.config.settings;
        if settings.limits_hosts() && !self.hosts.may_map(original.source_address(), settings, now) {
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
            match self.free_reply(admission, SocketAddrV4::new(outside, lease.port())) {
                Some(reply) => good = Some((SourceMapping::New(key, lease, known.is_none()), reply)),
                None => refused.push(lease),
            }
            wanted.keep = false;
        }
        refused.into_iter().for_each(|lease| self.mappings.ports.give_back(lease));
        good.ok_or(DropReason::NatNoPorts)
    }

    /// The flow's reply with the source port as it is; another one only if another flow looks the same from the other
    /// side, as when two published ports lead to one server and a client uses one port for both.
    fn keep_source(&mut self, admission: &Admission, address: Ipv4Addr) -> Result<Reply, DropReason> {
        let ports = match admission.original.protocol() {
            protocol if has_ports_or_identifiers(protocol) => TRIES,
            _ => 0,
        };
        let mut port = admission.original.source_port();
        for _ in 0..=ports {
            if let Some(reply) = self.free_reply(admission, SocketAddrV4::new(address, port)) {
                return Ok(reply);
            }
            port = self.random.between(1024, u16::MAX);
        }
        Err(DropReason::NatNoPorts)
    }

    /// The reply to `client`, unless a flow has this tuple already, in either direction.
    fn free_reply(&self, admission: &Admission, client: SocketAddrV4) -> Option<Reply> {
        let reply = match admission.reply {
            expected if expected.tuple.destination() == client => expected,
            _ => {
                let tuple = reply(admission.original, admission.server, client);
                Reply { tuple, key: self.flows.key(tuple) }
            }
        };
        let is_free = reply.tuple != admission.original && self.flows.find(reply.tuple, reply.key).is_none();
        is_free.then_some(reply)
    }

    /// Everything is decided: stores the flow and lets its first packet through.
    fn store(
        &mut self,
        packet: &mut NatPacket<'_>,
        admission: &Admission,
        source: Option<SourceMapping>,
        reply: Reply,
        inward: Option<Id>,
        now: Millis,
    ) {
        let outward = source.map(|source| match source {
            SourceMapping::Known(id) => id,
            SourceMapping::New(key, lease, is_found) => self.mappings.insert(key, lease, is_found),
        });
        let mut flow = Flow::new(admission.original, reply.tuple);
        flow.note(Direction::Original, packet);
        let left = flow.translated(Direction::Original);
        let mappings = FlowMappings { source: outward, destination: inward };
        self.add_flow(flow, [admission.key, reply.key], mappings, now);
        self.admitted += 1;
        self.rewrite(packet, admission.original, left, now);
    }

    /// `keys` are those of its tuples.
    pub(crate) fn add_flow(&mut self, flow: Flow, keys: [FlowKey; 2], mappings: FlowMappings, now: Millis) {
        let FlowMappings { source, destination } = mappings;
        source.into_iter().chain(destination).for_each(|mapping| self.acquire(mapping, now));
        if let Some(mapping) = source.filter(|_| self.filters_by_address()) {
            self.mappings.add_contact(mapping, contact_of(&flow));
        }
        self.servers.add(&flow);
        self.flows.insert(flow, keys, mappings, now);
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

fn reply(original: Tuple, server: SocketAddrV4, client: SocketAddrV4) -> Tuple {
    Tuple::new(original.protocol(), server, client)
}
