//! Mappings that inside hosts asked for in so many words: explicit dynamic mappings, RFC 6887 (PCP), RFC 6888 REQ-9.
//!
//! ```text
//! request ─▶ the rule that would translate its flows ─▶ mapping, used by the request itself, so that it needs no flow
//! ```
//!
//! It is the mapping that the host's own flows from that port have, or get. While it is requested it lets in everybody.

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{Millis, Protocol};

use crate::chains::rule::PortRange;
use crate::config::{Behaviour, NatConfig};
use crate::memory::slab::Id;
use crate::outside::Outside;
use crate::outside::leasing::Leasing;
use crate::outside::mapping::{HashedKey, MappingKey, SourceMapping};
use crate::outside::port_pool::PortWish;
use crate::outside::requests::{Request, RequestKey, key_of};

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

/// A host may ask for this many at a time: whoever claims another's address takes none of what that one may have.
const HOST_LIMIT: usize = 128;

impl Outside {
    /// Gives the inside host a port of the outside address that its flows have, or lengthens the time of
    /// the one that it has. `shared` is that address and the ports of it that rules allow.
    pub(crate) fn map(
        &mut self,
        request: &MappingRequest,
        shared: Option<(Ipv4Addr, Option<PortRange>)>,
        leasing: &mut Leasing<'_>,
    ) -> Result<ExplicitMapping, MappingRefused> {
        let &MappingRequest { protocol, inside, owner, lifetime, .. } = request;
        let key = key_of(protocol, inside);
        let until = leasing.now + lifetime;
        let mapping = match self.requests.get(key) {
            Some(entry) if entry.owner != owner => {
                return Err(MappingRefused::NotOwner(entry.until.since(leasing.now)));
            }
            Some(entry) => entry.mapping,
            None => self.new_explicit(request, shared, leasing)?,
        };
        let entry = Request { mapping, owner, port: leasing.owner, until };
        self.requests.set(key, entry);
        Ok(self.explicit_mapping(&entry))
    }

    /// Ends what the host asked for; port 0: all of that protocol.
    pub(crate) fn unmap(
        &mut self,
        protocol: Protocol,
        inside: SocketAddrV4,
        owner: [u8; 12],
        config: &NatConfig,
        now: Millis,
    ) -> Result<(), MappingRefused> {
        let (address, protocol, port) = key_of(protocol, inside);
        let ports = if port == 0 { 0..=u16::MAX } else { port..=port };
        let of_host = self.requests.of_ports((address, protocol, ports));
        let (mine, others): (Vec<_>, Vec<_>) = of_host.partition(|(_, entry)| entry.owner == owner);
        if let ([], [(_, other), ..]) = (mine.as_slice(), others.as_slice()) {
            return Err(MappingRefused::NotOwner(other.until.since(now)));
        }
        mine.into_iter().for_each(|(key, _)| self.end_explicit(key, config, now));
        Ok(())
    }

    /// What was asked for and still holds.
    pub(crate) fn explicit_mappings(&self) -> impl Iterator<Item = ExplicitMapping> + '_ {
        self.requests.all().map(|entry| self.explicit_mapping(entry))
    }

    fn explicit_mapping(&self, entry: &Request) -> ExplicitMapping {
        let (key, port) = self.mapping(entry.mapping);
        ExplicitMapping {
            protocol: key.protocol(),
            inside: key.inside(),
            outside: SocketAddrV4::new(key.outside(), port),
            until: entry.until,
        }
    }

    /// Ends all but those that `keep` holds for.
    pub(crate) fn retain_explicit(
        &mut self,
        keep: impl Fn(&ExplicitMapping) -> bool,
        config: &NatConfig,
        now: Millis,
    ) {
        let gone: Vec<_> = self.explicit_mappings().filter(|mapping| !keep(mapping)).collect();
        gone.into_iter()
            .for_each(|mapping| self.end_explicit(key_of(mapping.protocol, mapping.inside), config, now));
    }

    /// When the next request ends.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        self.requests.next_timeout()
    }

    /// Ends those whose time is over.
    pub(crate) fn on_timeout(&mut self, config: &NatConfig, now: Millis) {
        while let Some(key) = self.requests.due(now) {
            self.end_explicit(key, config, now);
        }
    }

    fn end_explicit(&mut self, key: RequestKey, config: &NatConfig, now: Millis) {
        if let Some(entry) = self.requests.remove(key) {
            self.release(entry.mapping, config, now);
        }
    }

    /// The mapping of the inside socket, acquired: the one that its flows have, or a new one.
    fn new_explicit(
        &mut self,
        request: &MappingRequest,
        shared: Option<(Ipv4Addr, Option<PortRange>)>,
        leasing: &mut Leasing<'_>,
    ) -> Result<Id, MappingRefused> {
        let &MappingRequest { protocol, inside, wanted, exactly, .. } = request;
        if !matches!(protocol, Protocol::TCP | Protocol::UDP) {
            return Err(MappingRefused::Protocol);
        }
        let (outside, range) = shared.ok_or(MappingRefused::NotTranslated)?;
        if exactly && !wanted.ip().is_unspecified() && *wanted.ip() != outside {
            return Err(MappingRefused::Taken);
        }
        let is_full = self.requests.of_host(*inside.ip(), leasing.owner) >= HOST_LIMIT;
        if is_full || !self.may_add_flow(*inside.ip(), leasing.config) {
            return Err(MappingRefused::HostLimit);
        }
        let key = MappingKey::new(Behaviour::EndpointIndependent, protocol, inside, outside, UNSPECIFIED);
        let key = self.mappings.hashed(key);
        let port = if wanted.port() == 0 { inside.port() } else { wanted.port() };
        let mapping = match self.mappings.find(key) {
            Some((_, known)) if exactly && known != port => return Err(MappingRefused::Taken),
            Some((id, _)) => id,
            None => self.lease_explicit(
                key,
                PortWish { port, keep: true, range, parity: false },
                exactly,
                leasing,
            )?,
        };
        self.acquire(mapping, leasing.config, leasing.now);
        Ok(mapping)
    }

    /// A new mapping with the port of `wish`, or another one unless that has to be it `exactly`.
    fn lease_explicit(
        &mut self,
        key: HashedKey,
        wish: PortWish,
        exactly: bool,
        leasing: &mut Leasing<'_>,
    ) -> Result<Id, MappingRefused> {
        let (protocol, inside, outside) = (key.key().protocol(), key.key().inside(), key.key().outside());
        if !self.may_map(*inside.ip(), leasing) {
            return Err(MappingRefused::HostLimit);
        }
        if !self.may_lease(protocol, outside, wish, leasing) {
            return Err(MappingRefused::ShareUsed);
        }
        let lease = self.lease(outside, protocol, wish, leasing).ok_or(MappingRefused::NoPorts)?;
        if exactly && lease.port() != wish.port {
            self.give_back(lease);
            return Err(MappingRefused::Taken);
        }
        Ok(self.settle(SourceMapping::New(key, lease, true), leasing.owner))
    }
}

/// Nobody in particular.
pub(crate) const UNSPECIFIED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
