//! Outside ports, and ICMP identifiers, which are the ports of echo: who has which.
//!
//! ```text
//! (outside address, protocol) ─▶ leased   1 bit per port: in use by a mapping, or resting
//!                                reserved 1 bit per port: published by a DNAT rule
//! ```
//!
//! The inside host's port is kept where it is free. Else the port is a random one of the same range
//! (RFC 4787 REQ-3a): the first free one after a random place, RFC 6056 algorithm 1. A port that is free
//! again rests for a while before another mapping gets it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

use packet::{Millis, Protocol};

use crate::chains::rule::PortRange;
use crate::config::NatConfig;
use crate::memory::random::Random;
use crate::memory::slab::{Id, Slab};
use crate::outside::port_set::PortSet;

/// A port of an address, or an identifier of ICMP queries. It goes back to where it came from; there is only one.
///
/// 8 bytes, as there are as many as mappings; the pool knows the address.
#[derive(Debug)]
#[must_use]
pub struct PortLease {
    pool: Id,
    port: u16,
}

impl PortLease {
    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// The use of a port, or of an identifier of ICMP queries, of an address that a host has, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortChange {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose port it is.
    pub protocol: Protocol,
    /// The port or identifier.
    pub port: u16,
    /// Whether it is in use from now on, or free.
    pub leased: bool,
}

/// A port that rests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resting {
    pub(crate) until: Millis,
    pub(crate) outside: SocketAddrV4,
    pub(crate) protocol: Protocol,
}

/// The pools of all outside addresses. 8 KiB for each address and protocol in use, and 8 more if ports are published.
#[derive(Debug)]
pub(crate) struct PortPools {
    pools: Slab<PortPool>,
    by_address: BTreeMap<(Ipv4Addr, Protocol), Id>,
    /// Ports that rest, and until when, the next one first.
    resting: VecDeque<(Millis, PortLease)>,
    /// Of addresses that are shared.
    changes: Vec<PortChange>,
}

impl PortPools {
    pub(crate) const fn new() -> Self {
        Self {
            pools: Slab::new(),
            by_address: BTreeMap::new(),
            resting: VecDeque::new(),
            changes: Vec::new(),
        }
    }

    /// A free port of `address`: `wish` itself, else another of its range. `None` if there is none left.
    ///
    /// Up to 1024 words are looked at when the pool is nearly exhausted.
    pub(crate) fn lease(
        &mut self,
        address: Ipv4Addr,
        protocol: Protocol,
        wish: PortWish,
        config: &NatConfig,
        random: &mut Random,
        now: Millis,
    ) -> Option<PortLease> {
        while let Some((_, rested)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.give_back(rested);
        }
        let pool = self.pool(address, protocol, config);
        let port = self.pools[pool].choose(wish, random)?;
        Some(self.take(pool, port))
    }

    /// How many of these ports of `address` are in use, resting or published.
    pub(crate) fn used(&self, address: Ipv4Addr, protocol: Protocol, range: PortRange) -> usize {
        self.by_address.get(&(address, protocol)).map_or(0, |&pool| self.pools[pool].used(range))
    }

    /// Whether a port of `address` may be in use.
    pub(crate) fn has_pool(&self, address: Ipv4Addr, protocol: Protocol) -> bool {
        self.by_address.contains_key(&(address, protocol))
    }

    /// This very port, which nobody has.
    pub(crate) fn claim(
        &mut self,
        address: Ipv4Addr,
        protocol: Protocol,
        port: u16,
        config: &NatConfig,
    ) -> PortLease {
        let pool = self.pool(address, protocol, config);
        self.take(pool, port)
    }

    /// Which protocol's port this is, and of which address.
    #[inline]
    pub(crate) fn socket(&self, lease: &PortLease) -> (Protocol, SocketAddrV4) {
        let pool = &self.pools[lease.pool];
        (pool.protocol, SocketAddrV4::new(pool.address, lease.port))
    }

    /// The port is free at once.
    pub(crate) fn give_back(&mut self, lease: PortLease) {
        let pool = &mut self.pools[lease.pool];
        pool.leased.remove(lease.port);
        pool.leases -= 1;
        self.note(lease.pool, lease.port, false);
    }

    /// What has changed of shared addresses since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<PortChange> {
        std::mem::take(&mut self.changes)
    }

    /// What is leased of shared addresses.
    pub(crate) fn shared(&self) -> impl Iterator<Item = PortChange> + '_ {
        let pools = self.by_address.values().map(|&id| &self.pools[id]).filter(|pool| pool.limit.is_some());
        pools.flat_map(|pool| {
            let leased = (0..=u16::MAX).filter(|&port| pool.leased.word(port / 64) >> (port % 64) & 1 != 0);
            leased.map(|port| pool.change(port, true))
        })
    }

    fn take(&mut self, pool: Id, port: u16) -> PortLease {
        self.pools[pool].leased.insert(port);
        self.pools[pool].leases += 1;
        self.note(pool, port, true);
        PortLease { pool, port }
    }

    fn note(&mut self, pool: Id, port: u16, leased: bool) {
        let pool = &self.pools[pool];
        if pool.limit.is_some() {
            self.changes.push(pool.change(port, leased));
        }
    }

    fn pool(&mut self, address: Ipv4Addr, protocol: Protocol, config: &NatConfig) -> Id {
        *self.by_address.entry((address, protocol)).or_insert_with(|| {
            let (reserved, limit) = (reserved(config, address, protocol), config.limit(address));
            let leased = PortSet::default();
            self.pools.insert(PortPool { address, protocol, leased, reserved, limit, leases: 0 })
        })
    }

    /// A port that no flow uses any more. It rests until `until`, if it is among the last `limit` that do.
    pub(crate) fn rest(&mut self, lease: PortLease, until: Millis, limit: u32) {
        self.resting.push_back((until, lease));
        while self.resting.len() > limit as usize {
            let Some((_, oldest)) = self.resting.pop_front() else { return };
            self.give_back(oldest);
        }
    }

    /// Ports that rest, in the order in which they will be free.
    pub(crate) fn resting(&self) -> impl Iterator<Item = Resting> + '_ {
        self.resting.iter().map(|&(until, ref lease)| {
            let (protocol, outside) = self.socket(lease);
            Resting { until, outside, protocol }
        })
    }

    /// The published ports, or those to be had, have changed. Leases stay, also of ports that are reserved now.
    pub(crate) fn republish(&mut self, config: &NatConfig) {
        let Self { pools, by_address, .. } = self;
        by_address.retain(|&(address, protocol), &mut id| {
            let is_used = pools[id].leases > 0;
            match is_used {
                true => {
                    pools[id].reserved = reserved(config, address, protocol);
                    pools[id].limit = config.limit(address);
                }
                false => drop(pools.remove(id)),
            }
            is_used
        });
    }
}

/// Which port a flow would like to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortWish {
    /// The inside host's.
    pub(crate) port: u16,
    /// That one itself, if it is free.
    pub(crate) keep: bool,
    /// One of these; else of the range that the inside host's is in.
    pub(crate) range: Option<PortRange>,
    /// Rather one that is even or odd as the inside host's.
    pub(crate) parity: bool,
}

impl PortWish {
    /// The ports that it may be, of those that are to be had; `None`: there are none.
    pub(crate) fn range_for(&self, protocol: Protocol, limit: Option<PortRange>) -> Option<PortRange> {
        let range = self.range.filter(|_| protocol.has_ports());
        let (low, high) = match (range, limit) {
            (Some((low, high)), Some((first, last))) => (low.max(first), high.min(last)),
            (range, limit) => range.or(limit).unwrap_or_else(|| range_of(protocol, self.port)),
        };
        (low <= high).then_some((low, high))
    }
}

/// The ports that DNAT rules publish.
fn reserved(config: &NatConfig, address: Ipv4Addr, protocol: Protocol) -> PortSet {
    let mut reserved = PortSet::default();
    for (low, high) in config.published(address, protocol) {
        if high.saturating_sub(low) < RESERVE_LIMIT {
            (low..=high).for_each(|port| reserved.insert(port));
        }
    }
    reserved
}

/// A rule that publishes more ports than this (a quarter of them) reserves none: too little would be left to
/// masquerade with. A new flow still can't take a port towards a remote that is using it.
const RESERVE_LIMIT: u16 = 16_384;

#[derive(Debug)]
struct PortPool {
    address: Ipv4Addr,
    protocol: Protocol,
    leased: PortSet,
    reserved: PortSet,
    /// Of these ports only, identifiers included; `None`: of all.
    limit: Option<PortRange>,
    /// How many bits `leased` has.
    leases: u32,
}

impl PortPool {
    fn choose(&self, wish: PortWish, random: &mut Random) -> Option<u16> {
        let PortWish { port, keep, parity, .. } = wish;
        let (low, high) = wish.range_for(self.protocol, self.limit)?;
        let kept =
            (keep && (low..=high).contains(&port)).then(|| self.first_free(port..=port, ANY)).flatten();
        kept.or_else(|| {
            let start = random.between(low, high);
            let first =
                |set| self.first_free(start..=high, set).or_else(|| self.first_free(low..=start, set));
            let same_parity = if port % 2 == 0 { EVEN } else { ODD };
            parity.then(|| first(same_parity)).flatten().or_else(|| first(ANY))
        })
    }

    fn used(&self, (low, high): PortRange) -> usize {
        let bits = |word: u16| (self.leased.word(word) | self.reserved.word(word)).count_ones();
        (low / 64..=high / 64).map(|word| bits(word) as usize).sum()
    }

    const fn change(&self, port: u16, leased: bool) -> PortChange {
        PortChange { address: self.address, protocol: self.protocol, port, leased }
    }

    /// Of those ports that have a bit in `set`, for each 64 alike.
    fn first_free(&self, range: RangeInclusive<u16>, set: u64) -> Option<u16> {
        let (low, high) = range.into_inner();
        (low / 64..=high / 64).find_map(|word| {
            let mut free = !(self.leased.word(word) | self.reserved.word(word)) & set;
            if word == low / 64 {
                free &= u64::MAX << (low % 64);
            }
            if word == high / 64 {
                free &= u64::MAX >> (63 - high % 64);
            }
            (free != 0).then(|| word * 64 + free.trailing_zeros() as u16)
        })
    }
}

const ANY: u64 = u64::MAX;
const EVEN: u64 = 0x5555_5555_5555_5555;
const ODD: u64 = !EVEN;

/// RFC 4787 REQ-3a: ports below 1024 stay below. Port 0 is nobody's; identifier 0 is as good as any.
fn range_of(protocol: Protocol, port: u16) -> PortRange {
    match port {
        _ if protocol == Protocol::ICMP => (0, u16::MAX),
        0..1024 => (1, 1023),
        _ => (1024, u16::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chains::rule::{AddressRange, Condition, Match, NatRule, Target};
    use packet::Ipv4Cidr;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

    fn same(port: u16) -> PortWish {
        PortWish { port, keep: true, range: None, parity: false }
    }

    struct Fixture {
        pools: PortPools,
        config: NatConfig,
        random: Random,
    }

    impl Fixture {
        fn new() -> Self {
            let config = NatConfig { addresses: vec![Some(OUTSIDE)], ..NatConfig::default() };
            Self { pools: PortPools::new(), config, random: Random::new([1, 2]) }
        }

        fn lease(&mut self, protocol: Protocol, wish: PortWish) -> Option<PortLease> {
            self.pools.lease(OUTSIDE, protocol, wish, &self.config, &mut self.random, Millis::ZERO)
        }

        fn udp(&mut self, port: u16) -> Option<PortLease> {
            self.lease(Protocol::UDP, same(port))
        }
    }

    #[test]
    fn a_free_port_is_kept_and_is_free_again_after_its_lease() {
        let mut fixture = Fixture::new();
        let first = fixture.udp(5000).unwrap();
        assert_eq!(first.port(), 5000);
        assert_ne!(fixture.udp(5000).unwrap().port(), 5000);
        fixture.pools.give_back(first);
        assert_eq!(fixture.udp(5000).unwrap().port(), 5000);
    }

    #[test]
    fn protocols_have_ports_of_their_own() {
        let mut fixture = Fixture::new();
        let udp = fixture.udp(5000).unwrap();
        let tcp = fixture.lease(Protocol::TCP, same(5000)).unwrap();
        assert_eq!((udp.port(), tcp.port()), (5000, 5000));
    }

    #[test]
    fn rfc4787_req3a_the_port_stays_in_its_range() {
        let mut fixture = Fixture::new();
        let low: Vec<_> = (0..1023).map(|_| fixture.udp(80).unwrap()).collect();
        let ports: HashSet<_> = low.iter().map(PortLease::port).collect();
        assert_eq!(ports, (1..=1023).collect());
        assert!(fixture.udp(80).is_none());
        assert_eq!(fixture.udp(1024).unwrap().port(), 1024);
    }

    #[test]
    fn rfc4787_req3_every_port_is_leased_once_until_none_is_left() {
        let mut fixture = Fixture::new();
        let leases: Vec<_> = (1024..=u16::MAX).map(|_| fixture.udp(40_000).unwrap()).collect();
        let ports: HashSet<_> = leases.iter().map(PortLease::port).collect();
        assert_eq!(ports.len(), leases.len());
        assert!(fixture.udp(50_000).is_none());
    }

    #[test]
    fn published_ports_are_never_leased() {
        let mut fixture = Fixture::new();
        let matches = Match {
            destination: Some(Condition::is(Ipv4Cidr::new(OUTSIDE, 32).unwrap())),
            protocol: Some(Condition::is(Protocol::UDP)),
            destination_ports: Some(Condition::is((5000, 5001).into())),
            ..Match::default()
        };
        let target = Target::Dnat {
            addresses: AddressRange::from(Ipv4Addr::new(10, 0, 0, 2)),
            ports: None,
            base: None,
        };
        fixture.config.rules.prerouting.push(NatRule { matches, target });
        assert!(!(5000..=5001).contains(&fixture.udp(5000).unwrap().port()));
        assert_eq!(fixture.lease(Protocol::TCP, same(5000)).unwrap().port(), 5000);
        fixture.config.rules.prerouting.clear();
        fixture.pools.republish(&fixture.config);
        assert_eq!(fixture.udp(5000).unwrap().port(), 5000);
    }

    #[test]
    fn of_a_shared_address_only_its_range_is_leased_and_each_change_is_told() {
        let mut fixture = Fixture::new();
        fixture.config.shared.push((OUTSIDE, (40_000, 40_003)));
        let kept = fixture.udp(40_001).unwrap();
        assert_eq!(kept.port(), 40_001);
        let ping = fixture.lease(Protocol::ICMP, same(7)).unwrap();
        assert!((40_000..=40_003).contains(&ping.port()));
        let others: Vec<_> = [80, 5000, 50_000].map(|port| fixture.udp(port).unwrap().port()).into();
        assert!(others.iter().all(|port| (40_000..=40_003).contains(port)), "{others:?}");
        assert!(fixture.udp(40_000).is_none());
        let ruled = |low, high| PortWish { range: Some((low, high)), ..same(9) };
        assert!(fixture.lease(Protocol::TCP, ruled(1024, 39_999)).is_none());
        let ruled = fixture.lease(Protocol::TCP, ruled(1024, u16::MAX)).unwrap();
        assert!((40_000..=40_003).contains(&ruled.port()));
        let changes = fixture.pools.take_changes();
        assert_eq!(changes.len(), 6);
        assert_eq!(fixture.pools.shared().count(), 6);
        let change = |leased| PortChange { address: OUTSIDE, protocol: Protocol::UDP, port: 40_001, leased };
        assert_eq!(changes[0], change(true));
        fixture.pools.give_back(kept);
        assert_eq!(fixture.pools.take_changes(), [change(false)]);
        assert!(fixture.pools.shared().all(|leased| leased != change(true)));
    }

    #[test]
    fn rfc4787_req4_parity_is_kept_on_request_as_long_as_it_can_be() {
        let mut fixture = Fixture::new();
        let mut lease = |port| {
            let wish = PortWish { port, keep: true, range: Some((2000, 2007)), parity: true };
            fixture.lease(Protocol::UDP, wish).map(|lease| (lease.port() % 2, lease))
        };
        let leases: Vec<_> = (0..4).filter_map(|n| lease(9001 + 2 * n)).collect();
        assert_eq!(leases.iter().map(|(parity, _)| *parity).collect::<Vec<_>>(), [1; 4]);
        assert_eq!(lease(9001).map(|(parity, _)| parity), Some(0));
    }

    #[test]
    fn rfc7857_s9_a_changed_port_depends_on_the_seed() {
        let draw = |seed| {
            let mut fixture = Fixture { random: Random::new([seed, 0]), ..Fixture::new() };
            let leases: Vec<_> = (0..9).map(|_| fixture.udp(40_000).unwrap()).collect();
            leases.iter().map(PortLease::port).collect::<Vec<_>>()
        };
        assert_ne!(draw(1), draw(2));
    }

    proptest! {
        #[test]
        fn no_port_is_leased_twice(steps: Vec<(bool, u16, bool)>) {
            let mut fixture = Fixture::new();
            let mut held: Vec<PortLease> = Vec::new();
            for (take, port, keep) in steps {
                // Few different ports, so that they are fought for.
                let port = if keep { port % 4 } else { 1024 + port % 4 };
                if take || held.is_empty() {
                    let lease = fixture.udp(port).unwrap();
                    prop_assert!(held.iter().all(|other| other.port() != lease.port()));
                    prop_assert_eq!(lease.port() < 1024, keep);
                    held.push(lease);
                } else {
                    let lease = held.swap_remove(usize::from(port) % held.len());
                    fixture.pools.give_back(lease);
                }
            }
        }
    }
}
