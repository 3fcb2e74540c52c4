//! Which outside address and port stands for which inside address and port.
//!
//! ```text
//! (protocol, inside address:port, outside address) ─▶ outside port, for as long as a flow uses it
//! ```
//!
//! A mapping doesn't depend on where packets go: two flows from one inside socket share it. That is endpoint-independent
//! mapping, RFC 4787 REQ-1, on which peers behind NATs rely to find each other.

use std::net::{Ipv4Addr, SocketAddrV4};

use hashbrown::HashTable;
use packet::Protocol;

use crate::Tuple;
use crate::keyed::{KeyedHash, Purpose};
use crate::port_pool::PortLease;
use crate::slab::{Id, Slab};

/// The mappings of all inside sockets.
#[derive(Debug)]
pub(crate) struct Mappings {
    mappings: Slab<Mapping>,
    index: HashTable<Id>,
    hash: KeyedHash,
}

/// What a mapping is found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MappingKey(Tuple);

impl MappingKey {
    /// The key for packets of `protocol` from `inside` that are to leave as `outside`.
    pub(crate) const fn new(protocol: Protocol, inside: SocketAddrV4, outside: Ipv4Addr) -> Self {
        Self(Tuple::new(protocol, inside, SocketAddrV4::new(outside, 0)))
    }

    pub(crate) const fn outside(self) -> Ipv4Addr {
        self.0.destination_address()
    }
}

#[derive(Debug)]
struct Mapping {
    key: MappingKey,
    lease: PortLease,
    flows: u32,
}

const _: () = assert!(size_of::<Option<Mapping>>() == 40);

impl Mappings {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self { mappings: Slab::new(), index: HashTable::new(), hash: KeyedHash::new(seed, Purpose::Mappings) }
    }

    /// Makes room for `limit` mappings, as [`FlowTable::reserve`](crate::flow_table::FlowTable::reserve) does.
    pub(crate) fn reserve(&mut self, limit: usize) {
        self.mappings.reserve(limit);
        let Self { mappings, hash, index } = self;
        let missing = limit.saturating_sub(index.len());
        let _ = index.try_reserve(missing, |&id| hash.of(mappings[id].key.0.words()));
    }

    /// The mapping with this key, and its outside port.
    pub(crate) fn find(&self, key: MappingKey) -> Option<(Id, u16)> {
        let id = *self.index.find(self.hash.of(key.0.words()), |&id| self.mappings[id].key == key)?;
        Some((id, self.mappings[id].lease.port()))
    }

    /// The outside address of a mapping.
    pub(crate) fn outside(&self, id: Id) -> Ipv4Addr {
        self.mappings[id].key.outside()
    }

    /// Adds a mapping, used by no flow yet. Another with the same key keeps being the one that is found.
    pub(crate) fn insert(&mut self, key: MappingKey, lease: PortLease) -> Id {
        let is_known = self.find(key).is_some();
        let id = self.mappings.insert(Mapping { key, lease, flows: 0 });
        if !is_known {
            let Self { mappings, hash, index } = self;
            index.insert_unique(hash.of(key.0.words()), id, |&id| hash.of(mappings[id].key.0.words()));
        }
        id
    }

    /// One more flow uses the mapping.
    pub(crate) fn acquire(&mut self, id: Id) {
        self.mappings[id].flows += 1;
    }

    /// One flow fewer uses the mapping; the last one frees its port.
    pub(crate) fn release(&mut self, id: Id) {
        let mapping = &mut self.mappings[id];
        mapping.flows -= 1;
        if mapping.flows == 0 {
            let key = mapping.key;
            if let Ok(entry) = self.index.find_entry(self.hash.of(key.0.words()), |&other| other == id) {
                entry.remove();
            }
            self.mappings.remove(id);
        }
    }
}
