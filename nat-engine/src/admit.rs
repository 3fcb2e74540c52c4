//! A flow's first packet comes in: a port is leased, and only when nothing refuses it any more is anything stored.
//!
//! ```text
//! Admission ─▶ mapping or new port ─▶ flow ─▶ packet rewritten
//! ```

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{DropReason, Millis, NetworkId, Protocol};

use crate::flows::flow::Flow;
use crate::flows::table::{FlowKey, FlowMappings};
use crate::flows::tuple::Direction;
use crate::memory::slab::Id;
use crate::nat::{Nat, contact_of};
use crate::outside::mapping::HashedKey;
use crate::outside::port_pool::{PortLease, Wanted};
use crate::prepare::{Admission, Destination, Reply, Source, has_ports_or_identifiers, reply};
use crate::{NatPacket, NatSettings, PortRange, Tuple};

/// The mapping that a flow's source takes.
enum SourceMapping {
    Known(Id),
    /// A new one, and whether it is to be found by its key.
    New(HashedKey, PortLease, bool),
}

impl Nat {
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
    /// `FlowTableFull`, `NatShareUsed`, `NatHostLimit`, `NatNoPorts`, `NatUnsolicited` (the mapping that `destination` has found is gone).
    /// Nothing is stored then, and the packet is untouched.
    pub fn admit(
        &mut self,
        packet: &mut NatPacket<'_>,
        admission: Admission,
        now: Millis,
    ) -> Result<(), DropReason> {
        let Admission { original, destination, .. } = admission;
        debug_assert_eq!(Tuple::of(packet.ip), Some(original), "another packet's admission");
        let displaced = self.room_for(self.owner)?;
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
        if let Some(flow) = displaced {
            self.displaced += 1;
            self.expire(flow, now);
        }
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
        if !self.may_lease(original.protocol(), outside, wanted) {
            return Err(DropReason::NatShareUsed);
        }
        // Leases that turn out to be of no use are kept until a good one is found, so that none comes twice.
        let mut refused = Vec::new();
        let mut good = None;
        while good.is_none() && refused.len() < TRIES {
            let published = self.config.published();
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

    /// Whether the owner at hand may have one more port of the outside address.
    pub(crate) fn may_lease(&self, protocol: Protocol, outside: Ipv4Addr, wanted: Wanted) -> bool {
        let ports = &self.mappings.ports;
        let limit = self.config.published().limit(outside);
        let Some((low, high)) = wanted.range_for(protocol, limit) else { return true };
        let used = || ports.used(outside, protocol, (low, high));
        self.owners.may_add_port(self.owner, usize::from(high - low) + 1, used)
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
            SourceMapping::New(key, lease, is_found) => {
                let mapping = self.mappings.insert(key, lease, is_found);
                self.owners.add_mapping(mapping, self.owner);
                mapping
            }
        });
        let mut flow = Flow::new(admission.original, reply.tuple);
        flow.note(Direction::Original, packet);
        let departing = flow.translated(Direction::Original);
        let mappings = FlowMappings { source: outward, destination: inward };
        let id = self.add_flow(flow, [admission.key, reply.key], mappings, now);
        self.owners.add_flow(id, self.owner);
        self.admitted += 1;
        self.translation(now).rewrite(packet, admission.original, departing);
    }

    /// `keys` are those of its tuples.
    pub(crate) fn add_flow(
        &mut self,
        flow: Flow,
        keys: [FlowKey; 2],
        mappings: FlowMappings,
        now: Millis,
    ) -> Id {
        let FlowMappings { source, destination } = mappings;
        source.into_iter().chain(destination).for_each(|mapping| self.acquire(mapping, now));
        if let Some(mapping) = source.filter(|_| self.filters_by_address()) {
            self.mappings.add_contact(mapping, contact_of(&flow));
        }
        self.servers.add(&flow);
        self.flows.insert(flow, keys, mappings, now)
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

/// Ports that are tried when the one at hand is taken towards the same remote. Each try fails only if a flow of just
/// that port and remote exists without a lease, so one is nearly always enough.
const TRIES: usize = 8;
