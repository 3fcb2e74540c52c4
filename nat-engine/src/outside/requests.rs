//! Which mappings are asked for: by whom, and for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

use packet::{Millis, PortId, Protocol};

use crate::memory::slab::Id;

/// The mappings that are asked for.
#[derive(Debug, Default)]
pub(super) struct Requests {
    entries: BTreeMap<RequestKey, Request>,
    /// Next to expire first.
    expiry: BTreeSet<(Millis, RequestKey)>,
}

/// Inside address, protocol and port: a host's requests are neighbours.
pub(super) type RequestKey = (Ipv4Addr, u8, u16);

#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The mapping, used by the request itself.
    pub(super) mapping: Id,
    /// Who may change it: whoever knows this.
    pub(super) owner: [u8; 12],
    /// The port of the switch that the request came in by.
    pub(super) port: Option<PortId>,
    pub(super) until: Millis,
}

impl Requests {
    pub(super) fn next_timeout(&self) -> Option<Millis> {
        self.expiry.first().map(|&(until, _)| until)
    }

    /// The next one to expire, if that is due.
    pub(super) fn due(&self, now: Millis) -> Option<RequestKey> {
        self.expiry.first().filter(|(until, _)| *until <= now).map(|&(_, key)| key)
    }

    pub(super) fn get(&self, key: RequestKey) -> Option<&Request> {
        self.entries.get(&key)
    }

    /// Those of a host, on these ports, for a protocol.
    pub(super) fn of_ports(
        &self,
        (host, protocol, ports): (Ipv4Addr, u8, RangeInclusive<u16>),
    ) -> impl Iterator<Item = (RequestKey, Request)> {
        let range = (host, protocol, *ports.start())..=(host, protocol, *ports.end());
        self.entries.range(range).map(|(&key, &entry)| (key, entry))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Request> {
        self.entries.values()
    }

    /// All mappings that are asked for.
    pub(super) fn mappings(&self) -> impl Iterator<Item = Id> + '_ {
        self.entries.values().map(|entry| entry.mapping)
    }

    /// How many `host`, as far as it is behind that port of the switch, has asked for.
    pub(super) fn of_host(&self, host: Ipv4Addr, port: Option<PortId>) -> usize {
        let entries = self.entries.range((host, 0, 0)..=(host, u8::MAX, u16::MAX));
        entries.filter(|(_, entry)| entry.port == port).count()
    }

    /// These ports of the switch are others' from now on.
    pub(super) fn forget_ports(&mut self, ports: &BTreeSet<PortId>) {
        let is_gone = |entry: &&mut Request| entry.port.is_some_and(|port| ports.contains(&port));
        self.entries.values_mut().filter(is_gone).for_each(|entry| entry.port = None);
    }

    pub(super) fn set(&mut self, key: RequestKey, entry: Request) {
        self.remove(key);
        self.expiry.insert((entry.until, key));
        self.entries.insert(key, entry);
    }

    pub(super) fn remove(&mut self, key: RequestKey) -> Option<Request> {
        let entry = self.entries.remove(&key)?;
        self.expiry.remove(&(entry.until, key));
        Some(entry)
    }
}

pub(super) const fn key_of(protocol: Protocol, inside: SocketAddrV4) -> RequestKey {
    (*inside.ip(), protocol.0, inside.port())
}
