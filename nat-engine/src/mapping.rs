//! Which outside address and port stands for which inside address and port.
//!
//! ```text
//! (protocol, inside address:port, outside address) ◀─▶ outside port, for as long as a flow uses it
//! ```
//!
//! A mapping doesn't depend on where packets go: two flows from one inside socket share it. That is endpoint-independent
//! mapping, RFC 4787 REQ-1, on which peers behind NATs rely to find each other. If the settings want it to depend on the
//! remote address or port, these are part of the key.

use std::net::{Ipv4Addr, SocketAddrV4};

use hashbrown::HashTable;
use packet::Protocol;

use crate::keyed::{KeyedHash, Purpose};
use crate::port_pool::PortLease;
use crate::slab::{Id, Slab};
use crate::{Behaviour, Tuple};

/// The mappings of all inside sockets.
#[derive(Debug)]
pub(crate) struct Mappings {
    mappings: Slab<Mapping>,
    by_key: HashTable<Id>,
    by_outside: HashTable<Id>,
    hash: KeyedHash,
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
    pub(crate) const fn new(
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
    pub(crate) const fn restored(
        protocol: Protocol,
        inside: SocketAddrV4,
        outside: Ipv4Addr,
        remote: SocketAddrV4,
    ) -> Self {
        Self::new(Behaviour::AddressAndPortDependent, protocol, inside, outside, remote)
    }

    /// What the mapping depends on of the remote socket; the rest is zero.
    pub(crate) const fn remote(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.remote, self.tuple.destination_port())
    }

    pub(crate) const fn protocol(self) -> Protocol {
        self.tuple.protocol()
    }

    pub(crate) const fn inside(self) -> SocketAddrV4 {
        self.tuple.source()
    }

    pub(crate) const fn outside(self) -> Ipv4Addr {
        self.tuple.destination_address()
    }

    fn hash(self, hash: &KeyedHash) -> u64 {
        let key = hash.of(self.tuple.words());
        if self.remote.is_unspecified() { key } else { hash.of([key, self.remote.to_bits().into()]) }
    }
}

/// Both halves of a [`MappingKey`], apart, to leave no gaps.
#[derive(Debug)]
struct Mapping {
    tuple: Tuple,
    remote: Ipv4Addr,
    lease: PortLease,
    flows: u32,
}

const _: () = assert!(size_of::<Option<Mapping>>() == 40);

impl Mapping {
    const fn key(&self) -> MappingKey {
        MappingKey { tuple: self.tuple, remote: self.remote }
    }

    const fn outside(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.key().outside(), self.lease.port())
    }

    fn outside_hash(&self, hash: &KeyedHash) -> u64 {
        outside_hash(hash, self.key().protocol(), self.outside())
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
            by_key: HashTable::new(),
            by_outside: HashTable::new(),
            hash: KeyedHash::new(seed, Purpose::Mappings),
        }
    }

    /// Makes room for `limit` mappings, as [`FlowTable::reserve`](crate::flow_table::FlowTable::reserve) does.
    pub(crate) fn reserve(&mut self, limit: usize) {
        self.mappings.reserve(limit);
        let Self { mappings, hash, by_key, by_outside } = self;
        let _ = by_key.try_reserve(limit.saturating_sub(by_key.len()), |&id| mappings[id].key().hash(hash));
        let missing = limit.saturating_sub(by_outside.len());
        let _ = by_outside.try_reserve(missing, |&id| mappings[id].outside_hash(hash));
    }

    /// The mapping with this key, and its outside port.
    pub(crate) fn find(&self, key: MappingKey) -> Option<(Id, u16)> {
        let id = *self.by_key.find(key.hash(&self.hash), |&id| self.mappings[id].key() == key)?;
        Some((id, self.mappings[id].lease.port()))
    }

    /// The mapping that has this outside address and port, and its inside socket.
    pub(crate) fn find_outside(
        &self,
        protocol: Protocol,
        outside: SocketAddrV4,
    ) -> Option<(Id, SocketAddrV4)> {
        let is_it = |&id: &Id| {
            let mapping = &self.mappings[id];
            mapping.outside() == outside && mapping.key().protocol() == protocol
        };
        let id = *self.by_outside.find(outside_hash(&self.hash, protocol, outside), is_it)?;
        Some((id, self.mappings[id].key().inside()))
    }

    /// What a mapping is found by.
    pub(crate) fn key(&self, id: Id) -> MappingKey {
        self.mappings[id].key()
    }

    /// The outside port of a mapping.
    pub(crate) fn port(&self, id: Id) -> u16 {
        self.mappings[id].lease.port()
    }

    /// All mappings.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.by_outside.iter().copied()
    }

    /// Adds a mapping, used by no flow yet. Another with the same key keeps being the one that is found.
    pub(crate) fn insert(&mut self, key: MappingKey, lease: PortLease) -> Id {
        let is_known = self.find(key).is_some();
        let id = self.mappings.insert(Mapping { tuple: key.tuple, remote: key.remote, lease, flows: 0 });
        let Self { mappings, hash, by_key, by_outside } = self;
        if !is_known {
            by_key.insert_unique(key.hash(hash), id, |&id| mappings[id].key().hash(hash));
        }
        let outside = mappings[id].outside_hash(hash);
        by_outside.insert_unique(outside, id, |&id| mappings[id].outside_hash(hash));
        id
    }

    /// One more flow uses the mapping. Whether it is the first.
    pub(crate) fn acquire(&mut self, id: Id) -> bool {
        let flows = &mut self.mappings[id].flows;
        *flows += 1;
        *flows == 1
    }

    /// One flow fewer uses the mapping; with the last one it is gone, and its port is returned.
    pub(crate) fn release(&mut self, id: Id) -> Option<PortLease> {
        let mapping = &mut self.mappings[id];
        mapping.flows -= 1;
        if mapping.flows > 0 {
            return None;
        }
        let (key, outside) = (mapping.key().hash(&self.hash), mapping.outside_hash(&self.hash));
        for (index, hash) in [(&mut self.by_key, key), (&mut self.by_outside, outside)] {
            if let Ok(entry) = index.find_entry(hash, |&other| other == id) {
                entry.remove();
            }
        }
        self.mappings.remove(id).map(|mapping| mapping.lease)
    }
}
