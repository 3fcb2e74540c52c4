//! The outside: which addresses and ports of it stand for whom inside.
//!
//! ```text
//! mapping    inside socket ◀─▶ outside socket, as long as a flow or a request uses it
//! port_pool  which ports of an address are leased, resting or published
//! leasing    a port for a new flow                  explicit  mappings that hosts asked for
//! contacts   whom a mapping lets in                 hosts     what each inside host may have
//! carry_over what goes on in the next process
//! ```

pub(crate) mod carry_over;
pub(crate) mod contacts;
pub(crate) mod explicit;
pub(crate) mod hosts;
pub(crate) mod leasing;
pub(crate) mod mapping;
pub(crate) mod port_pool;
mod port_set;
mod requests;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{Millis, PortId, Protocol};

use crate::config::{Behaviour, NatConfig};
use crate::flows::table::FlowMappings;
use crate::flows::tuple::Tuple;
use crate::memory::shares::Shares;
use crate::memory::slab::Id;
use crate::outside::hosts::Hosts;
use crate::outside::mapping::{HashedKey, MappingKey, Mappings, SourceMapping};
use crate::outside::port_pool::PortChange;
use crate::outside::requests::{Requests, key_of};

/// All mappings, and who may have more of them.
#[derive(Debug)]
pub(crate) struct Outside {
    mappings: Mappings,
    hosts: Hosts,
    /// Whose the mappings are.
    shares: Shares,
    requests: Requests,
}

impl Outside {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            mappings: Mappings::new(seed),
            hosts: Hosts::new(seed),
            shares: Shares::default(),
            requests: Requests::default(),
        }
    }

    /// Makes room for `limit` mappings.
    pub(crate) fn reserve(&mut self, limit: usize) {
        self.mappings.reserve(limit);
    }

    /// Published ports and limits of addresses may be others.
    pub(crate) fn republish(&mut self, config: &NatConfig) {
        self.mappings.ports.republish(config);
    }

    /// The port of the switch is another's from now on.
    pub(crate) fn forget_owners(&mut self, owners: &BTreeSet<PortId>) {
        self.shares.forget(owners);
        self.requests.forget_ports(owners);
    }

    /// Where the mapping with this key is to be found.
    pub(crate) fn hashed(&self, key: MappingKey) -> HashedKey {
        self.mappings.hashed(key)
    }

    /// Where a mapping is found by its outside address and port.
    pub(crate) fn outside_hash(&self, protocol: Protocol, outside: SocketAddrV4) -> u64 {
        self.mappings.outside_hash(protocol, outside)
    }

    /// Reads what mapping these flows will read: by the keys and outside hashes of their mappings.
    pub(crate) fn look_ahead(&self, flows: impl Iterator<Item = (HashedKey, u64)>) {
        self.mappings.look_ahead(flows);
    }

    /// Whether a mapping may have this destination. Nearly all packets are for somebody else: a look at a short list
    /// instead of one at memory that is far away.
    pub(crate) fn may_let_in(&self, original: Tuple) -> bool {
        original.protocol().has_ports()
            && self.mappings.ports.has_pool(original.destination_address(), original.protocol())
    }

    /// The inside socket that a packet is for by its outside address and port, if it may start a flow with it. Packets from
    /// inside always may: two hosts behind one NAT could never let each other in, as what one sends is refused and not
    /// remembered.
    pub(crate) fn let_in(
        &self,
        original: Tuple,
        is_from_inside: bool,
        filtering: Behaviour,
    ) -> Option<SocketAddrV4> {
        if !self.may_let_in(original) {
            return None;
        }
        let (id, inside) = self.mappings.find_outside(original.protocol(), original.destination())?;
        let is_let_in = match filtering {
            _ if is_from_inside || self.is_requested(id) => true,
            Behaviour::EndpointIndependent => true,
            Behaviour::AddressDependent => self.mappings.knows(id, original.source_address()),
            Behaviour::AddressAndPortDependent => false,
        };
        is_let_in.then_some(inside)
    }

    /// Whether the mapping is one that was asked for.
    fn is_requested(&self, mapping: Id) -> bool {
        let key = self.mappings.key(mapping);
        let request = self.requests.get(key_of(key.protocol(), key.inside()));
        request.is_some_and(|request| request.mapping == mapping)
    }

    /// The mapping that has this outside address and port, and its inside socket.
    pub(crate) fn find(&self, protocol: Protocol, outside: SocketAddrV4) -> Option<(Id, SocketAddrV4)> {
        self.mappings.find_outside(protocol, outside)
    }

    /// A mapping's key and its outside port.
    pub(crate) fn mapping(&self, id: Id) -> (MappingKey, u16) {
        (self.mappings.key(id), self.mappings.port(id))
    }

    /// Whether these stay if the flow that has them goes.
    pub(crate) fn have_other_users(&self, FlowMappings { source, destination }: FlowMappings) -> bool {
        source.into_iter().chain(destination).all(|mapping| self.mappings.users(mapping) > 1)
    }

    /// Whether the inside host may have one more flow.
    pub(crate) fn may_add_flow(&self, host: Ipv4Addr, config: &NatConfig) -> bool {
        !config.settings.limits_hosts() || self.hosts.may_add_flow(host, &config.settings)
    }

    /// What was decided for the source of a flow is so.
    pub(crate) fn settle(&mut self, source: SourceMapping, owner: Option<PortId>) -> Id {
        match source {
            SourceMapping::Known(id) => id,
            SourceMapping::New(key, lease, is_found) => {
                let mapping = self.mappings.insert(key, lease, is_found);
                self.shares.add(mapping, owner);
                mapping
            }
        }
    }

    /// A flow to `remote` begins to use these.
    pub(crate) fn add_flow(
        &mut self,
        mappings: FlowMappings,
        remote: Ipv4Addr,
        config: &NatConfig,
        now: Millis,
    ) {
        let FlowMappings { source, destination } = mappings;
        source.into_iter().chain(destination).for_each(|mapping| self.acquire(mapping, config, now));
        if let Some(mapping) = source.filter(|_| config.filters_by_address()) {
            self.mappings.add_contact(mapping, remote);
        }
    }

    /// A flow to `remote` doesn't use these any longer.
    pub(crate) fn remove_flow(
        &mut self,
        mappings: FlowMappings,
        remote: Ipv4Addr,
        config: &NatConfig,
        now: Millis,
    ) {
        let FlowMappings { source, destination } = mappings;
        if let Some(mapping) = source.filter(|_| config.filters_by_address()) {
            self.mappings.remove_contact(mapping, remote);
        }
        source.into_iter().chain(destination).for_each(|mapping| self.release(mapping, config, now));
    }

    /// One flow or request more uses the mapping.
    fn acquire(&mut self, mapping: Id, config: &NatConfig, now: Millis) {
        let is_new = self.mappings.acquire(mapping);
        if config.settings.limits_hosts() {
            self.hosts.add(*self.mappings.key(mapping).inside().ip(), is_new, &config.settings, now);
        }
    }

    /// One flow or request fewer uses the mapping.
    fn release(&mut self, mapping: Id, config: &NatConfig, now: Millis) {
        let key = self.mappings.key(mapping);
        let lease = self.mappings.release(mapping);
        if lease.is_some() {
            self.shares.remove(mapping);
        }
        let settings = &config.settings;
        if settings.limits_hosts() {
            self.hosts.remove(*key.inside().ip(), lease.is_some());
        }
        match lease {
            Some(lease) if key.protocol() == Protocol::TCP => self.mappings.ports.give_back(lease),
            Some(lease) => {
                let until = now + settings.quarantine;
                self.mappings.ports.rest(lease, until, settings.quarantine_limit);
            }
            None => {}
        }
    }

    /// Whom mappings let in was not counted so far, or isn't any longer. These are all flows' source mappings, and whom the
    /// flows go to.
    pub(crate) fn recount_contacts(&mut self, flows: impl Iterator<Item = (Id, Ipv4Addr)>) {
        self.mappings.clear_contacts();
        flows.for_each(|(mapping, remote)| self.mappings.add_contact(mapping, remote));
    }

    /// What hosts have was not counted so far. These are the mappings of all flows.
    pub(crate) fn recount_hosts(&mut self, flows: impl Iterator<Item = FlowMappings>, config: &NatConfig) {
        self.hosts.clear();
        let Self { mappings, hosts, requests, .. } = self;
        let mut counted = BTreeSet::new();
        let of_flows = flows.flat_map(|of| of.source.into_iter().chain(of.destination));
        for mapping in of_flows.chain(requests.mappings()) {
            let host = *mappings.key(mapping).inside().ip();
            hosts.add(host, counted.insert(mapping.get()), &config.settings, Millis::ZERO);
        }
    }

    /// What has changed of the ports of shared addresses since the last call.
    pub(crate) fn take_port_changes(&mut self) -> Vec<PortChange> {
        self.mappings.ports.take_changes()
    }

    /// Ports of shared addresses that are in use.
    pub(crate) fn shared_ports(&self) -> impl Iterator<Item = PortChange> + '_ {
        self.mappings.ports.shared()
    }
}
