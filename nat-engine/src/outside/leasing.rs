//! Which port of the outside address a new flow gets: that of the mapping that its source has, or a new
//! one, as far as the host and its port of the switch may have one more.

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{DropReason, Millis, PortId, Protocol, share};

use crate::chains::rule::PortRange;
use crate::config::NatConfig;
use crate::memory::random::Random;
use crate::outside::Outside;
use crate::outside::mapping::{HashedKey, SourceMapping};
use crate::outside::port_pool::{PortLease, PortWish};

/// For whom a port is leased, and when.
pub(crate) struct Leasing<'a> {
    pub(crate) config: &'a NatConfig,
    pub(crate) random: &'a mut Random,
    /// The port of the switch that it counts for.
    pub(crate) owner: Option<PortId>,
    pub(crate) now: Millis,
}

impl Outside {
    /// The mapping of the inside socket that has this key, else a new one with a port of `range`. Beside it,
    /// what `reply_to` makes of the outside socket; where it says `None`, another port is looked for.
    ///
    /// # Errors
    /// `NatHostLimit`, `NatShareUsed`, `NatNoPorts`. Nothing is leased then.
    pub(crate) fn map_source<Reply>(
        &mut self,
        key: HashedKey,
        range: Option<PortRange>,
        leasing: &mut Leasing<'_>,
        reply_to: impl Fn(SocketAddrV4) -> Option<Reply>,
    ) -> Result<(SourceMapping, Reply), DropReason> {
        let (protocol, inside, outside) = (key.key().protocol(), key.key().inside(), key.key().outside());
        let settings = &leasing.config.settings;
        let parity = settings.port_parity && protocol == Protocol::UDP;
        let mut wish = PortWish { port: inside.port(), keep: settings.port_preservation, range, parity };
        let known = self.mappings.find(key);
        if let Some((id, port)) = known {
            if let Some(reply) = reply_to(SocketAddrV4::new(outside, port)) {
                return Ok((SourceMapping::Known(id), reply));
            }
            wish.keep = false;
        }
        if !self.may_map(*inside.ip(), leasing) {
            return Err(DropReason::NatHostLimit);
        }
        if !self.may_lease(protocol, outside, wish, leasing) {
            return Err(DropReason::NatShareUsed);
        }
        // Leases that turn out to be of no use are kept until a good one is found, so that none comes twice.
        let mut refused = Vec::new();
        let mut good = None;
        while good.is_none() && refused.len() < TRIES {
            let Some(lease) = self.lease(outside, protocol, wish, leasing) else { break };
            match reply_to(SocketAddrV4::new(outside, lease.port())) {
                Some(reply) => good = Some((SourceMapping::New(key, lease, known.is_none()), reply)),
                None => refused.push(lease),
            }
            wish.keep = false;
        }
        refused.into_iter().for_each(|lease| self.mappings.ports.give_back(lease));
        good.ok_or(DropReason::NatNoPorts)
    }

    /// A port of one of the switch's own addresses, for its own use.
    pub(crate) fn lease_for_switch(
        &mut self,
        address: Ipv4Addr,
        protocol: Protocol,
        leasing: &mut Leasing<'_>,
    ) -> Option<PortLease> {
        let wish = PortWish { port: u16::MAX, keep: false, range: None, parity: false };
        self.lease(address, protocol, wish, leasing)
    }

    /// The port is free at once.
    pub(crate) fn give_back(&mut self, lease: PortLease) {
        self.mappings.ports.give_back(lease);
    }

    pub(super) fn lease(
        &mut self,
        outside: Ipv4Addr,
        protocol: Protocol,
        wish: PortWish,
        leasing: &mut Leasing<'_>,
    ) -> Option<PortLease> {
        let Leasing { config, random, now, .. } = leasing;
        self.mappings.ports.lease(outside, protocol, wish, config, random, *now)
    }

    /// Whether the inside host may have one more outside port.
    pub(super) fn may_map(&mut self, host: Ipv4Addr, leasing: &Leasing<'_>) -> bool {
        let settings = &leasing.config.settings;
        !settings.limits_hosts() || self.hosts.may_map(host, settings, leasing.now)
    }

    /// Whether the owner may have one more port of the outside address. How many are used is asked of
    /// those only that have many.
    pub(super) fn may_lease(
        &self,
        protocol: Protocol,
        outside: Ipv4Addr,
        wish: PortWish,
        leasing: &Leasing<'_>,
    ) -> bool {
        let Some(owner) = leasing.owner else { return true };
        let limit = leasing.config.limit(outside);
        let Some((low, high)) = wish.range_for(protocol, limit) else { return true };
        let (held, limit) = (self.shares.held(owner), usize::from(high - low) + 1);
        let used = || self.mappings.ports.used(outside, protocol, (low, high));
        held <= limit / MANY || share::may_take(held, used(), limit)
    }
}

/// Ports that are tried when the one at hand is taken towards the same remote. Each try fails only if a flow of just
/// that port and remote exists without a lease, so one is nearly always enough.
pub(crate) const TRIES: usize = 8;
/// One eighth of an address' ports are everybody's to have.
const MANY: usize = 8;
