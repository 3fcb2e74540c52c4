//! Which outside address and port stands for which inside address and port.
//!
//! ```text
//! (protocol, inside address:port, outside address) ◀─▶ outside port, for as long as a flow uses it
//! ```
//!
//! A mapping doesn't depend on where packets go: two flows from one inside socket share it. That is endpoint-independent
//! mapping, RFC 4787 REQ-1, on which peers behind NATs rely to find each other. If the settings want it to depend on the
//! remote address or port, these are part of the key.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddrV4};

use packet::Protocol;

use crate::config::Behaviour;
use crate::flows::tuple::Tuple;
use crate::memory::index::Index;
use crate::memory::slab::{Id, Slab};
use crate::outside::contacts::Contacts;
use crate::outside::port_pool::{PortLease, PortPools};
use packet::keyed::KeyedHash;

/// The mappings of all inside sockets, and the ports they are made of.
#[derive(Debug)]
pub(crate) struct Mappings {
    mappings: Slab<Mapping>,
    by_key: Index,
    by_outside: Index,
    hash: KeyedHash,
    /// Those remote addresses that are not in their [`Mapping`].
    contacts: Contacts,
    pub(super) ports: PortPools,
}

/// What a mapping is found by from inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MappingKey {
    /// From the inside socket to the outside address, with the remote port if the mapping depends on that.
    tuple: Tuple,
    /// The remote address if the mapping depends on that.
    remote: Ipv4Addr,
}

impl MappingKey {
    /// The key for packets of `protocol` from `inside` to `remote` that are to leave as `outside`.
    pub(crate) fn new(
        behaviour: Behaviour,
        protocol: Protocol,
        inside: SocketAddrV4,
        outside: Ipv4Addr,
        remote: SocketAddrV4,
    ) -> Self {
        let (remote, port) = match behaviour {
            Behaviour::EndpointIndependent => (Ipv4Addr::UNSPECIFIED, 0),
            Behaviour::AddressDependent => (*remote.ip(), 0),
            Behaviour::AddressAndPortDependent => (*remote.ip(), remote.port()),
        };
        Self { tuple: Tuple::new(protocol, inside, SocketAddrV4::new(outside, port)), remote }
    }

    /// The key that has these parts: [`remote`](Self::remote) with zeros for what the mapping doesn't depend on.
    pub(crate) fn restored(
        protocol: Protocol,
        inside: SocketAddrV4,
        outside: Ipv4Addr,
        remote: SocketAddrV4,
    ) -> Self {
        Self::new(Behaviour::AddressAndPortDependent, protocol, inside, outside, remote)
    }

    /// What the mapping depends on of the remote socket; the rest is zero.
    pub(crate) fn remote(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.remote, self.tuple.destination_port())
    }

    pub(crate) const fn protocol(self) -> Protocol {
        self.tuple.protocol()
    }

    pub(crate) fn inside(self) -> SocketAddrV4 {
        self.tuple.source()
    }

    pub(crate) fn outside(self) -> Ipv4Addr {
        self.tuple.destination_address()
    }

    fn hash(self, hash: &KeyedHash) -> u64 {
        let key = hash.of(self.tuple.words());
        if self.remote.is_unspecified() { key } else { hash.of([key, self.remote.to_bits().into()]) }
    }
}

/// A key and where in the table it is to be found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashedKey {
    key: MappingKey,
    hash: u64,
}

impl HashedKey {
    pub(super) const fn key(&self) -> MappingKey {
        self.key
    }
}

/// The mapping that a flow's source takes.
pub(crate) enum SourceMapping {
    Known(Id),
    /// A new one, and whether it is to be found by its key.
    New(HashedKey, PortLease, bool),
}

/// Half a cache line: most inside sockets send to one remote address only, so that one has its place here.
///
/// Beside it: twice 7 bytes of index.
#[derive(Debug)]
struct Mapping {
    lease: PortLease,
    inside: Ipv4Addr,
    inside_port: u16,
    /// With its address, what the mapping depends on of the remote socket.
    remote_port: u16,
    remote: Ipv4Addr,
    flows: u32,
    /// Remote address of the first flow; valid while `contact_flows` > 0.
    contact: Ipv4Addr,
    contact_flows: u32,
}

const _: () = assert!(Slab::<Mapping>::BYTES == 32);

impl Mapping {
    #[inline]
    fn key(&self, ports: &PortPools) -> MappingKey {
        let (protocol, outside) = ports.socket(&self.lease);
        let inside = SocketAddrV4::new(self.inside, self.inside_port);
        let remote = SocketAddrV4::new(self.remote, self.remote_port);
        MappingKey::restored(protocol, inside, *outside.ip(), remote)
    }

    fn outside_hash(&self, ports: &PortPools, hash: &KeyedHash) -> u64 {
        let (protocol, outside) = ports.socket(&self.lease);
        outside_hash(hash, protocol, outside)
    }

    fn has_contact(&self, remote: Ipv4Addr) -> bool {
        self.contact_flows > 0 && self.contact == remote
    }
}

fn outside_hash(hash: &KeyedHash, protocol: Protocol, outside: SocketAddrV4) -> u64 {
    let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    hash.of(Tuple::new(protocol, nobody, outside).words())
}

impl Mappings {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            mappings: Slab::new(),
            by_key: Index::new(),
            by_outside: Index::new(),
            hash: KeyedHash::new(seed, "mappings"),
            contacts: Contacts::new(seed),
            ports: PortPools::new(),
        }
    }

    /// Makes room for `limit` mappings, as [`FlowTable::reserve`](crate::flows::table::FlowTable::reserve) does.
    pub(crate) fn reserve(&mut self, limit: usize) {
        self.mappings.reserve(limit);
        let Self { mappings, by_key, by_outside, hash, ports, .. } = self;
        by_key.reserve(limit, |id| mappings[Id::new(id)].key(ports).hash(hash));
        by_outside.reserve(limit, |id| mappings[Id::new(id)].outside_hash(ports, hash));
    }

    /// What [`find`](Self::find) and [`insert`](Self::insert) take.
    pub(crate) fn hashed(&self, key: MappingKey) -> HashedKey {
        HashedKey { key, hash: key.hash(&self.hash) }
    }

    /// Where a mapping is found by its outside address and port.
    pub(crate) fn outside_hash(&self, protocol: Protocol, outside: SocketAddrV4) -> u64 {
        outside_hash(&self.hash, protocol, outside)
    }

    /// Reads what these take first, for many flows at once: by their mappings' keys, and by [`outside_hash`](Self::outside_hash).
    pub(crate) fn look_ahead(&self, flows: impl Iterator<Item = (HashedKey, u64)>) {
        let touch =
            |(key, outside): (HashedKey, u64)| self.by_key.touch(key.hash) ^ self.by_outside.touch(outside);
        black_box(flows.fold(0, |sum, flow| sum ^ touch(flow)));
    }

    /// The mapping with this key, and its outside port.
    pub(crate) fn find(&self, HashedKey { key, hash }: HashedKey) -> Option<(Id, u16)> {
        let is_it = |id| self.mappings[Id::new(id)].key(&self.ports) == key;
        let id = Id::new(self.by_key.find(hash, is_it)?);
        Some((id, self.mappings[id].lease.port()))
    }

    /// The mapping that has this outside address and port, and its inside socket.
    pub(crate) fn find_outside(
        &self,
        protocol: Protocol,
        outside: SocketAddrV4,
    ) -> Option<(Id, SocketAddrV4)> {
        let is_it = |id| self.ports.socket(&self.mappings[Id::new(id)].lease) == (protocol, outside);
        let id = Id::new(self.by_outside.find(outside_hash(&self.hash, protocol, outside), is_it)?);
        Some((id, self.key(id).inside()))
    }

    /// What a mapping is found by.
    pub(crate) fn key(&self, id: Id) -> MappingKey {
        self.mappings[id].key(&self.ports)
    }

    /// The outside port of a mapping.
    pub(crate) fn port(&self, id: Id) -> u16 {
        self.mappings[id].lease.port()
    }

    /// How many flows use a mapping, and the request for it if there is one.
    pub(crate) fn users(&self, id: Id) -> u32 {
        self.mappings[id].flows
    }

    /// Adds a mapping, used by no flow yet. Of those with the same key, one `is_found` by it.
    pub(crate) fn insert(
        &mut self,
        HashedKey { key, hash: key_hash }: HashedKey,
        lease: PortLease,
        is_found: bool,
    ) -> Id {
        let (inside, remote) = (key.inside(), key.remote());
        let id = self.mappings.insert(Mapping {
            lease,
            inside: *inside.ip(),
            inside_port: inside.port(),
            remote_port: remote.port(),
            remote: *remote.ip(),
            flows: 0,
            contact: Ipv4Addr::UNSPECIFIED,
            contact_flows: 0,
        });
        let Self { mappings, by_key, by_outside, hash, ports, .. } = self;
        if is_found {
            by_key.insert(key_hash, id.get(), |id| mappings[Id::new(id)].key(ports).hash(hash));
        }
        let of = |id| mappings[Id::new(id)].outside_hash(ports, hash);
        by_outside.insert(of(id.get()), id.get(), of);
        id
    }

    /// One more flow uses the mapping. Whether it is the first.
    pub(crate) fn acquire(&mut self, id: Id) -> bool {
        let flows = &mut self.mappings[id].flows;
        *flows += 1;
        *flows == 1
    }

    /// One flow fewer uses the mapping; with the last one it is gone, and its port may be returned.
    pub(crate) fn release(&mut self, id: Id) -> Option<PortLease> {
        let mapping = &mut self.mappings[id];
        mapping.flows -= 1;
        if mapping.flows > 0 {
            return None;
        }
        let Self { mappings, hash, ports, .. } = self;
        let (key, outside) = (mappings[id].key(ports).hash(hash), mappings[id].outside_hash(ports, hash));
        self.by_key.remove(key, id.get());
        self.by_outside.remove(outside, id.get());
        self.mappings.remove(id).map(|mapping| mapping.lease)
    }

    /// Whether a flow of the mapping goes to `remote`.
    pub(crate) fn knows(&self, id: Id, remote: Ipv4Addr) -> bool {
        self.mappings[id].has_contact(remote) || self.contacts.knows(id, remote)
    }

    /// One more flow of the mapping goes to `remote`; [`acquire`](Self::acquire) has counted it.
    pub(crate) fn add_contact(&mut self, id: Id, remote: Ipv4Addr) {
        let mapping = &mut self.mappings[id];
        if mapping.flows == 1 {
            mapping.contact = remote;
        }
        match mapping.contact == remote && (mapping.flows == 1 || mapping.contact_flows > 0) {
            true => mapping.contact_flows += 1,
            false => self.contacts.add(id, remote),
        }
    }

    /// One flow fewer of the mapping goes to `remote`.
    pub(crate) fn remove_contact(&mut self, id: Id, remote: Ipv4Addr) {
        let mapping = &mut self.mappings[id];
        match mapping.has_contact(remote) {
            true => mapping.contact_flows -= 1,
            false => self.contacts.remove(id, remote),
        }
    }

    pub(crate) fn clear_contacts(&mut self) {
        self.contacts.clear();
        let ids: Vec<Id> = self.mappings.ids().collect();
        ids.into_iter().for_each(|id| self.mappings[id].contact_flows = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NatConfig;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_mapping_knows_those_that_its_flows_go_to(steps in prop::collection::vec((any::<bool>(), 1_u8..6), 1..60)) {
            let mut mappings = Mappings::new([1, 2]);
            let outside = Ipv4Addr::new(203, 0, 113, 1);
            let inside = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 5000);
            let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
            let key = MappingKey::restored(Protocol::UDP, inside, outside, nobody);
            let config = NatConfig::default();
            let remote = |last| Ipv4Addr::new(198, 51, 100, last);
            let (mut mapping, mut flows) = (None, BTreeMap::new());
            for (begins, last) in steps {
                let id = *mapping.get_or_insert_with(|| {
                    let lease = mappings.ports.claim(outside, Protocol::UDP, 5000, &config);
                    mappings.insert(mappings.hashed(key), lease, true)
                });
                if begins || flows.is_empty() {
                    mappings.acquire(id);
                    mappings.add_contact(id, remote(last));
                    *flows.entry(last).or_insert(0) += 1;
                } else if let Some(count) = flows.get_mut(&last) {
                    *count -= 1;
                    flows.retain(|_, &mut count| count > 0);
                    mappings.remove_contact(id, remote(last));
                    if let Some(lease) = mappings.release(id) {
                        mappings.ports.give_back(lease);
                        mapping = None;
                    }
                }
                prop_assert_eq!(mapping.is_none(), flows.is_empty());
                let known = mapping.map(|id| (1..6).filter(|&last| mappings.knows(id, remote(last))).collect::<Vec<_>>());
                prop_assert_eq!(known.unwrap_or_default(), flows.keys().copied().collect::<Vec<_>>());
            }
        }
    }
}
