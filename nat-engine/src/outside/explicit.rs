//! Mappings that inside hosts asked for in so many words: explicit dynamic mappings, RFC 6887 (PCP), RFC 6888 REQ-9.
//!
//! ```text
//! request ─▶ the rule that would translate its flows ─▶ mapping, used by the request itself, so that it needs no flow
//! ```
//!
//! It is the mapping that the host's own flows from that port have, or get. While it is requested it lets in everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{Millis, NetworkId, PortId, Protocol};

use crate::memory::slab::Id;
use crate::nat::Nat;
use crate::outside::mapping::{HashedKey, MappingKey};
use crate::outside::port_pool::Wanted;
use crate::prepare::{Outside, candidate, decide};
use crate::{Behaviour, PortRange, Tuple};

/// What an inside host asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MappingRequest {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The host and its port.
    pub inside: SocketAddrV4,
    /// What it would like to have outside. Port 0: that of `inside`.
    pub wanted: SocketAddrV4,
    /// Whether nothing else will do; an unspecified address always does.
    pub exactly: bool,
    /// Who may change the mapping later: whoever knows this.
    pub owner: [u8; 12],
    /// For how long.
    pub lifetime: Millis,
}

/// A mapping that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExplicitMapping {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The host and its port.
    pub inside: SocketAddrV4,
    /// What stands for them outside.
    pub outside: SocketAddrV4,
    /// When it ends, unless it is asked for again.
    pub until: Millis,
}

/// Why a host doesn't get a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MappingRefused {
    /// Somebody else asked for it, and has it for so long.
    NotOwner(Millis),
    /// No rule lets an outside address stand for several hosts here.
    NotTranslated,
    /// The protocol has no ports that are translated.
    Protocol,
    /// What was wanted exactly is not to be had.
    Taken,
    /// There is no free port.
    NoPorts,
    /// The host has as many as it may have.
    HostLimit,
    /// The port of the switch that the request came in by has so many outside ports that others would find none.
    ShareUsed,
}

/// The mappings that are asked for.
#[derive(Debug, Default)]
pub(crate) struct Explicit {
    entries: BTreeMap<Key, Entry>,
    /// Next to expire first.
    expiry: BTreeSet<(Millis, Key)>,
}

/// Inside address first: a host's entries are neighbours.
type Key = (Ipv4Addr, u8, u16);

#[derive(Clone, Copy, Debug)]
struct Entry {
    mapping: Id,
    owner: [u8; 12],
    /// The port of the switch that the request came in by.
    port: Option<PortId>,
    until: Millis,
}

/// A host may ask for this many at a time: whoever claims another's address takes none of what that one may have.
const HOST_LIMIT: usize = 128;

impl Explicit {
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        self.expiry.first().map(|&(until, _)| until)
    }

    /// All mappings that are asked for.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = Id> + '_ {
        self.entries.values().map(|entry| entry.mapping)
    }

    /// How many `host`, as far as it is behind that port of the switch, has asked for.
    fn of_host(&self, host: Ipv4Addr, port: Option<PortId>) -> usize {
        let entries = self.entries.range((host, 0, 0)..=(host, u8::MAX, u16::MAX));
        entries.filter(|(_, entry)| entry.port == port).count()
    }

    /// The port of the switch is another's from now on.
    pub(crate) fn forget_port(&mut self, port: PortId) {
        self.entries
            .values_mut()
            .filter(|entry| entry.port == Some(port))
            .for_each(|entry| entry.port = None);
    }

    fn set(&mut self, key: Key, entry: Entry) {
        self.remove(key);
        self.expiry.insert((entry.until, key));
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: Key) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.expiry.remove(&(entry.until, key));
        Some(entry)
    }
}

impl Nat {
    /// Gives the inside host, which is in the network `input`, a port of the outside address that its flows to `output` have;
    /// or lengthens the time of the one that it has.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn map(
        &mut self,
        request: &MappingRequest,
        input: NetworkId,
        output: NetworkId,
        now: Millis,
    ) -> Result<ExplicitMapping, MappingRefused> {
        let &MappingRequest { protocol, inside, owner, lifetime, .. } = request;
        let key = key(protocol, inside);
        let until = now + lifetime;
        let mapping = match self.explicit.entries.get(&key) {
            Some(entry) if entry.owner != owner => {
                return Err(MappingRefused::NotOwner(entry.until.since(now)));
            }
            Some(entry) => entry.mapping,
            None => self.new_explicit(request, input, output, now)?,
        };
        self.explicit.set(key, Entry { mapping, owner, port: self.owner, until });
        let outside = SocketAddrV4::new(self.mappings.key(mapping).outside(), self.mappings.port(mapping));
        Ok(ExplicitMapping { protocol, inside, outside, until })
    }

    /// The outside address that flows of `inside` to `output` have, where several hosts share it.
    pub fn outside_address(
        &self,
        protocol: Protocol,
        inside: SocketAddrV4,
        input: NetworkId,
        output: NetworkId,
    ) -> Option<Ipv4Addr> {
        self.shared(protocol, inside, input, output).map(|(address, _)| address)
    }

    /// Ends what the host asked for; port 0: all of that protocol. Flows that use a mapping keep it.
    ///
    /// # Errors
    /// [`MappingRefused::NotOwner`], if that is so for all of them.
    pub fn unmap(
        &mut self,
        protocol: Protocol,
        inside: SocketAddrV4,
        owner: [u8; 12],
        now: Millis,
    ) -> Result<(), MappingRefused> {
        let (address, protocol, port) = key(protocol, inside);
        let ports = if port == 0 { 0..=u16::MAX } else { port..=port };
        let range = (address, protocol, *ports.start())..=(address, protocol, *ports.end());
        let found: Vec<_> = self.explicit.entries.range(range).map(|(&key, &entry)| (key, entry)).collect();
        let (mine, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, entry)| entry.owner == owner);
        if let ([], [(_, other), ..]) = (mine.as_slice(), others.as_slice()) {
            return Err(MappingRefused::NotOwner(other.until.since(now)));
        }
        mine.into_iter().for_each(|(key, _)| self.end_explicit(key, now));
        Ok(())
    }

    /// What was asked for and still holds.
    pub fn explicit_mappings(&self) -> impl Iterator<Item = ExplicitMapping> + '_ {
        self.explicit.entries.values().map(|entry| {
            let key = self.mappings.key(entry.mapping);
            ExplicitMapping {
                protocol: key.protocol(),
                inside: key.inside(),
                outside: SocketAddrV4::new(key.outside(), self.mappings.port(entry.mapping)),
                until: entry.until,
            }
        })
    }

    /// Ends all but those that `keep` holds for.
    pub fn retain_explicit(&mut self, keep: impl Fn(&ExplicitMapping) -> bool, now: Millis) {
        let gone: Vec<_> = self.explicit_mappings().filter(|mapping| !keep(mapping)).collect();
        gone.into_iter().for_each(|mapping| self.end_explicit(key(mapping.protocol, mapping.inside), now));
    }

    pub(crate) fn expire_explicit(&mut self, now: Millis) {
        while let Some(&(until, key)) = self.explicit.expiry.first()
            && until <= now
        {
            self.end_explicit(key, now);
        }
    }

    /// Whether the mapping is one that was asked for.
    pub(crate) fn is_requested(&self, mapping: Id) -> bool {
        let key = self.mappings.key(mapping);
        self.explicit
            .entries
            .get(&self::key(key.protocol(), key.inside()))
            .is_some_and(|entry| entry.mapping == mapping)
    }

    fn end_explicit(&mut self, key: Key, now: Millis) {
        if let Some(entry) = self.explicit.remove(key) {
            self.release(entry.mapping, now);
        }
    }

    /// The mapping of the inside socket, acquired: the one that its flows have, or a new one.
    fn new_explicit(
        &mut self,
        request: &MappingRequest,
        input: NetworkId,
        output: NetworkId,
        now: Millis,
    ) -> Result<Id, MappingRefused> {
        let &MappingRequest { protocol, inside, wanted, exactly, .. } = request;
        if !matches!(protocol, Protocol::TCP | Protocol::UDP) {
            return Err(MappingRefused::Protocol);
        }
        let (outside, range) =
            self.shared(protocol, inside, input, output).ok_or(MappingRefused::NotTranslated)?;
        if exactly && !wanted.ip().is_unspecified() && *wanted.ip() != outside {
            return Err(MappingRefused::Taken);
        }
        let settings = &self.config.settings;
        let is_full = self.explicit.of_host(*inside.ip(), self.owner) >= HOST_LIMIT;
        if is_full || settings.limits_hosts() && !self.hosts.may_add_flow(*inside.ip(), settings) {
            return Err(MappingRefused::HostLimit);
        }
        let key = MappingKey::new(Behaviour::EndpointIndependent, protocol, inside, outside, UNSPECIFIED);
        let key = self.mappings.hashed(key);
        let port = if wanted.port() == 0 { inside.port() } else { wanted.port() };
        let mapping = match self.mappings.find(key) {
            Some((_, known)) if exactly && known != port => return Err(MappingRefused::Taken),
            Some((id, _)) => id,
            None => self.lease_explicit(key, request, port, (outside, range), now)?,
        };
        self.acquire(mapping, now);
        Ok(mapping)
    }

    /// A new mapping with `port` of the outside address, or another one if that will do.
    fn lease_explicit(
        &mut self,
        key: HashedKey,
        request: &MappingRequest,
        port: u16,
        (outside, range): (Ipv4Addr, Option<PortRange>),
        now: Millis,
    ) -> Result<Id, MappingRefused> {
        let &MappingRequest { protocol, inside, exactly, .. } = request;
        let settings = &self.config.settings;
        if settings.limits_hosts() && !self.hosts.may_map(*inside.ip(), settings, now) {
            return Err(MappingRefused::HostLimit);
        }
        let wanted = Wanted { port, keep: true, range, parity: false };
        if !self.may_lease(protocol, outside, wanted) {
            return Err(MappingRefused::ShareUsed);
        }
        let published = self.config.published();
        let ports = &mut self.mappings.ports;
        let lease = ports.lease(outside, protocol, wanted, &published, &mut self.random, now);
        let lease = lease.ok_or(MappingRefused::NoPorts)?;
        if exactly && lease.port() != port {
            ports.give_back(lease);
            return Err(MappingRefused::Taken);
        }
        let mapping = self.mappings.insert(key, lease, true);
        self.owners.add_mapping(mapping, self.owner);
        Ok(mapping)
    }

    /// What POSTROUTING makes of flows to nobody in particular.
    fn shared(
        &self,
        protocol: Protocol,
        inside: SocketAddrV4,
        input: NetworkId,
        output: NetworkId,
    ) -> Option<(Ipv4Addr, Option<PortRange>)> {
        let original = Tuple::new(protocol, inside, UNSPECIFIED);
        let candidate = candidate(original, UNSPECIFIED, input, Some(output));
        match self.outside(decide(&self.config.rules.postrouting, &candidate), original, output) {
            Ok(Some(Outside::Shared(address, range))) => Some((address, range)),
            _ => None,
        }
    }
}

const UNSPECIFIED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

fn key(protocol: Protocol, inside: SocketAddrV4) -> Key {
    (*inside.ip(), protocol.0, inside.port())
}
