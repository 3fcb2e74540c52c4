//! The NAT as its caller sees it: the hit path, time, and what it tells about itself.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::Range;

use packet::{DropReason, Ipv4Packet, Millis, NetworkId, PortId, Protocol};

use crate::chains::rule::NatRule;
use crate::chains::servers::Servers;
use crate::flows::flow::Flow;
use crate::flows::table::{FlowKey, FlowMappings, FlowTable, deadline};
use crate::flows::tuple::Direction;
use crate::fragments::{Fragments, WaitingFragment};
use crate::memory::keyed::Random;
use crate::memory::slab::Id;
use crate::outside::explicit::Explicit;
use crate::outside::hosts::Hosts;
use crate::outside::mapping::Mappings;
use crate::outside::owners::Owners;
use crate::outside::port_pool::{PortChange, Published};
use crate::translate::Translation;
use crate::{Behaviour, Known, NatPacket, NatSettings, PortRange, RuleSet, Timeouts, Tuple};

/// Flows, mappings and rules of one worker.
#[derive(Debug)]
pub struct Nat {
    pub(crate) config: NatConfig,
    pub(crate) flows: FlowTable,
    pub(crate) mappings: Mappings,
    pub(crate) hosts: Hosts,
    pub(crate) owners: Owners,
    /// Whose the packets at hand are.
    pub(crate) owner: Option<PortId>,
    pub(crate) explicit: Explicit,
    pub(crate) random: Random,
    pub(crate) servers: Servers,
    pub(crate) fragments: Fragments,
    pub(crate) prerouting_counters: Vec<RuleCounter>,
    pub(crate) postrouting_counters: Vec<RuleCounter>,
    pub(crate) admitted: u64,
    /// Of `expired`, those that made room for another.
    pub(crate) displaced: u64,
    expired: u64,
}

/// What a [`Nat`] is told from outside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NatConfig {
    /// The rules.
    pub rules: RuleSet,
    /// Idle times of flows.
    pub timeouts: Timeouts,
    /// Flows at most; a new one beyond that is refused. 2 147 483 646 if that is less.
    pub flow_limit: u32,
    /// The switch's own address on each network, by [`packet::NetworkId::index`]: what MASQUERADE takes on the way out.
    pub addresses: Vec<Option<Ipv4Addr>>,
    /// By which network packets to elsewhere leave, by [`packet::NetworkId::index`] of the network they come from: hosts that
    /// reach each other by outside addresses see the sources they have there. `None` for networks that are outside.
    pub uplinks: Vec<Option<NetworkId>>,
    /// Own addresses that a host has, too: only these ports and identifiers of theirs are taken for hosts inside. What is in
    /// use of them is told by [`Nat::take_port_changes`], which has to be called.
    pub shared: Vec<(Ipv4Addr, PortRange)>,
    /// Mapping, filtering and limits.
    pub settings: NatSettings,
}

impl NatConfig {
    pub(crate) fn published(&self) -> Published<'_> {
        Published { rules: &self.rules, addresses: &self.addresses, shared: &self.shared }
    }
}

/// A flow, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowView {
    /// The direction of the flow's first packet, as its packets arrive.
    pub original: Tuple,
    /// The other direction, as its packets arrive.
    pub reply: Tuple,
    /// Where the flow is in its life, such as `established`.
    pub state: &'static str,
    /// Time until it is forgotten if nothing comes.
    pub expires_in: Millis,
    /// Packets in original and reply direction.
    pub packets: [u64; 2],
    /// Bytes of IP packets in original and reply direction.
    pub bytes: [u64; 2],
}

/// How often a rule was the deciding one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleCounter {
    /// Flows' first packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A counter for each rule of the running configuration, in the rules' order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleCounters<'a> {
    /// Those of `rules.prerouting`.
    pub prerouting: &'a [RuleCounter],
    /// Those of `rules.postrouting`.
    pub postrouting: &'a [RuleCounter],
}

/// Flows that one call of [`Nat::on_timeout`] forgets at most. Among 1 M flows, which are far from the processor, that takes
/// 0.2 to 0.3 ms (`cargo bench -p bench --bench nat`).
const EXPIRE_AT_ONCE: usize = 512;

/// Flows that there is room for from the start: 2²⁴. Beyond that tables grow while packets wait.
const RESERVE_LIMIT: usize = 1 << 24;

impl Nat {
    /// A NAT without flows. `seed` keys the hashes and the choice of ports: it must be random and secret.
    pub fn new(config: NatConfig, seed: [u64; 2]) -> Self {
        let mut nat = Self {
            prerouting_counters: vec![RuleCounter::default(); config.rules.prerouting.len()],
            postrouting_counters: vec![RuleCounter::default(); config.rules.postrouting.len()],
            config,
            flows: FlowTable::new(seed),
            mappings: Mappings::new(seed),
            hosts: Hosts::new(seed),
            owners: Owners::default(),
            owner: None,
            explicit: Explicit::default(),
            random: Random::new(seed),
            servers: Servers::default(),
            fragments: Fragments::new(seed),
            admitted: 0,
            displaced: 0,
            expired: 0,
        };
        nat.reserve();
        nat.follow_servers();
        nat
    }

    /// Replaces rules, timeouts, limit and addresses. Flows that exist keep their translation, but those to or from one
    /// of the switch's own addresses that is gone are forgotten; rules that stay keep their counters.
    pub fn reconfigure(&mut self, config: NatConfig) {
        let (old, new) = (&self.config.rules, &config.rules);
        self.prerouting_counters = carry_over(&old.prerouting, &new.prerouting, &self.prerouting_counters);
        self.postrouting_counters =
            carry_over(&old.postrouting, &new.postrouting, &self.postrouting_counters);
        self.mappings.ports.republish(&config.published());
        let old = std::mem::replace(&mut self.config, config);
        self.reserve();
        self.follow_servers();
        if old.settings.filtering != self.config.settings.filtering {
            self.recall_contacts();
        }
        if self.config.settings.limits_hosts() && !old.settings.limits_hosts() {
            self.recount_hosts();
        }
        self.forget_addresses(old.addresses);
    }

    /// From now on, packets are of this port of the switch, which gets no more than its share of flows, outside ports and
    /// places for fragments. `None`, as at first: the tables are the only limit.
    #[inline]
    pub const fn set_owner(&mut self, owner: Option<PortId>) {
        self.owner = owner;
    }

    /// The port of the switch is another's from now on: that one begins without what the last one held.
    pub fn forget_owner(&mut self, owner: PortId) {
        self.owners.forget(owner);
        self.explicit.forget_port(owner);
    }

    /// Where the flow of this packet is to be found, for [`look_ahead`](Self::look_ahead) and
    /// [`translate_known_at`](Self::translate_known_at).
    #[inline]
    pub fn key(&self, ip: &Ipv4Packet) -> FlowKey {
        Tuple::of(ip).map_or(FlowKey::default(), |tuple| self.flows.key(tuple))
    }

    /// Brings the flows of a burst's packets, at most 64, into the processor's cache, all at once, and notes in the keys
    /// where they are. Changes nothing else. Bit n of the result is set if the n-th packet belongs to no flow.
    ///
    /// Worth it from a few thousand flows on, where packet after packet would wait for memory.
    #[inline]
    pub fn look_ahead(&self, keys: &mut [FlowKey], now: Millis) -> u64 {
        self.flows.look_ahead(keys, now)
    }

    /// Rewrites a packet of a known flow in place, or an ICMP error about one: the hit path. Allocates nothing; budget
    /// 25 ns and the memory's latency.
    ///
    /// Drops: `BadFragment`, and of ICMP errors `BadIcmpChecksum`, `BadIpChecksum` and `BadL4Header`
    /// (of the packet quoted).
    #[inline]
    pub fn translate_known(&mut self, packet: &mut NatPacket<'_>, now: Millis) -> Known {
        self.translate_known_at(packet, self.key(packet.ip), now)
    }

    /// [`translate_known`](Self::translate_known) of a packet whose key is known already.
    #[inline]
    pub fn translate_known_at(&mut self, packet: &mut NatPacket<'_>, key: FlowKey, now: Millis) -> Known {
        debug_assert_eq!(key.hash, self.key(packet.ip).hash, "another packet's key");
        self.translation(now).translate_known(packet, key)
    }

    /// Whether the packet belongs to a flow.
    pub fn knows(&self, ip: &Ipv4Packet) -> bool {
        Tuple::of(ip).is_some_and(|tuple| self.flows.find(tuple, self.flows.key(tuple)).is_some())
    }

    /// Says that this packet goes on without [`admit_new`](Self::admit_new). If it is a first fragment the later ones are
    /// to follow it: they are misses then, too.
    pub fn pass_untranslated(&mut self, ip: &Ipv4Packet, now: Millis) {
        self.fragments.pass_untranslated(ip, self.owner, now);
    }

    /// Keeps a fragment for which [`translate_known`](Self::translate_known) has said [`Known::Later`], two seconds at most.
    /// It came from the network `from`; `bytes` is what the caller wants back, such as the whole frame. What is kept has to
    /// be asked for by [`next_fragment`](Self::next_fragment).
    ///
    /// # Errors
    /// `FragmentQueueFull`: more fragments of that sender or [owner](Self::set_owner) are waiting than may.
    pub fn keep_fragment(
        &mut self,
        ip: &Ipv4Packet,
        from: NetworkId,
        bytes: &[u8],
        now: Millis,
    ) -> Result<(), DropReason> {
        self.fragments.keep(ip, from, self.owner, bytes, now)
    }

    /// A fragment that was kept and whose first one has come since: to be translated as if it came now. To be asked until
    /// there is none, after packets that may have been first ones and before [`on_timeout`](Self::on_timeout).
    pub fn next_fragment(&mut self, now: Millis) -> Option<WaitingFragment> {
        self.fragments.next_ready(now)
    }

    /// How many fragments that were kept have been given up since the last call: `FragmentWithoutFirst`.
    pub const fn take_lost_fragments(&mut self) -> u64 {
        self.fragments.take_lost()
    }

    /// When [`on_timeout`](Self::on_timeout) or [`next_fragment`](Self::next_fragment) has something to do; a moment that has
    /// passed means at once.
    pub fn next_timeout(&self) -> Option<Millis> {
        self.next_flow_timeout().into_iter().chain(self.fragments.next_timeout()).min()
    }

    /// As [`next_timeout`](Self::next_timeout), without fragments.
    pub(crate) fn next_flow_timeout(&self) -> Option<Millis> {
        if self.is_sweeping() {
            return Some(Millis::ZERO);
        }
        let flow = self.flows.next_to_expire(&self.config.timeouts).map(|(_, deadline)| deadline);
        flow.into_iter().chain(self.explicit.next_timeout()).min()
    }

    /// Forgets flows that were idle for too long, and such as have no use for a server that died; some hundred at a
    /// time. And mappings that were asked for until now, and fragments whose first one is late.
    pub fn on_timeout(&mut self, now: Millis) {
        self.fragments.on_timeout(now);
        self.sweep(now);
        self.expire_explicit(now);
        for _ in 0..EXPIRE_AT_ONCE {
            match self.flows.next_to_expire(&self.config.timeouts) {
                Some((id, deadline)) if deadline <= now => self.expire(id, now),
                _ => break,
            }
        }
    }

    /// All flows. Walks the whole table.
    pub fn flows(&self, now: Millis) -> impl Iterator<Item = FlowView> + '_ {
        self.flows.ids().map(move |id| self.view(id, now))
    }

    /// The flows in these `places` of the table: see [`flow_places`](Self::flow_places).
    pub fn flows_in(&self, places: Range<usize>, now: Millis) -> impl Iterator<Item = FlowView> + '_ {
        self.flows.ids_in(places).map(move |id| self.view(id, now))
    }

    fn view(&self, id: Id, now: Millis) -> FlowView {
        let (flow, passed) = (self.flows.get(id), self.flows.passed(id));
        FlowView {
            original: flow.tuple(Direction::Original),
            reply: flow.tuple(Direction::Reply),
            state: flow.state_name(),
            expires_in: deadline(flow, &self.config.timeouts).since(now),
            packets: passed.map(|passed| passed.packets),
            bytes: passed.map(|passed| passed.bytes),
        }
    }

    /// Forgets the flows that `which` chooses among those in `places` of the table, and returns how many. Their ports rest as
    /// after a timeout. All flows are in the places below [`flow_places`](Self::flow_places): whoever has no time for a
    /// million at once takes a part at a time.
    pub fn flush(&mut self, places: Range<usize>, which: impl Fn(&FlowView) -> bool, now: Millis) -> usize {
        let is_chosen = |id: &Id| which(&self.view(*id, now));
        let ids: Vec<Id> = self.flows.ids_in(places).filter(is_chosen).collect();
        ids.iter().for_each(|&id| self.expire(id, now));
        ids.len()
    }

    /// Places of the table that flows are in, or were.
    pub const fn flow_places(&self) -> usize {
        self.flows.places()
    }

    /// The settings.
    pub const fn settings(&self) -> &NatSettings {
        &self.config.settings
    }

    /// The rules.
    pub const fn rules(&self) -> &RuleSet {
        &self.config.rules
    }

    /// Ports of shared addresses whose use has begun or ended since the last call, in that order.
    pub fn take_port_changes(&mut self) -> Vec<PortChange> {
        self.mappings.ports.take_changes()
    }

    /// Ports of shared addresses that are in use.
    pub fn shared_ports(&self) -> impl Iterator<Item = PortChange> + '_ {
        self.mappings.ports.shared()
    }

    /// How often each rule decided.
    pub fn rule_counters(&self) -> RuleCounters<'_> {
        RuleCounters { prerouting: &self.prerouting_counters, postrouting: &self.postrouting_counters }
    }

    /// Flows in the table.
    pub const fn flow_count(&self) -> usize {
        self.flows.len()
    }

    /// Flows ever admitted.
    pub const fn admitted(&self) -> u64 {
        self.admitted
    }

    /// Flows that nobody had answered and that made room for another; [`expired`](Self::expired) ones too.
    pub const fn displaced(&self) -> u64 {
        self.displaced
    }

    /// Flows that timed out, were flushed, whose server died, or that a new configuration has no place for.
    pub const fn expired(&self) -> u64 {
        self.expired
    }

    fn reserve(&mut self) {
        // One more, as a flow that makes room for another goes when that one is there.
        let limit = self.flow_limit().min(RESERVE_LIMIT) + 1;
        self.flows.reserve(limit);
        self.mappings.reserve(limit);
    }

    pub(crate) fn flow_limit(&self) -> usize {
        self.config.flow_limit.min(Id::LIMIT - 2) as usize
    }

    #[inline]
    pub(crate) const fn translation(&mut self, now: Millis) -> Translation<'_> {
        Translation { flows: &mut self.flows, fragments: &mut self.fragments, owner: self.owner, now }
    }

    /// One flow fewer uses the mapping.
    pub(crate) fn release(&mut self, mapping: Id, now: Millis) {
        let key = self.mappings.key(mapping);
        let lease = self.mappings.release(mapping);
        if lease.is_some() {
            self.owners.remove_mapping(mapping);
        }
        let settings = &self.config.settings;
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

    pub(crate) fn filters_by_address(&self) -> bool {
        self.config.settings.filtering == Behaviour::AddressDependent
    }

    fn recall_contacts(&mut self) {
        self.mappings.clear_contacts();
        if !self.filters_by_address() {
            return;
        }
        for id in self.flows.ids() {
            if let Some(mapping) = self.flows.mappings(id).source {
                self.mappings.add_contact(mapping, contact_of(self.flows.get(id)));
            }
        }
    }

    fn recount_hosts(&mut self) {
        self.hosts.clear();
        let mut counted = BTreeSet::new();
        for id in self.flows.ids() {
            let FlowMappings { source, destination } = self.flows.mappings(id);
            for mapping in source.into_iter().chain(destination) {
                let host = *self.mappings.key(mapping).inside().ip();
                let is_new = counted.insert(mapping.get());
                self.hosts.add(host, is_new, &self.config.settings, Millis::ZERO);
            }
        }
        for mapping in self.explicit.mappings() {
            let host = *self.mappings.key(mapping).inside().ip();
            self.hosts.add(host, counted.insert(mapping.get()), &self.config.settings, Millis::ZERO);
        }
    }

    /// Forgets flows to or from those of `old` own addresses that are own no more.
    pub(crate) fn forget_addresses(&mut self, old: Vec<Option<Ipv4Addr>>) {
        let mut gone = old;
        gone.retain(|address| address.is_some() && !self.config.addresses.contains(address));
        if !gone.is_empty() {
            self.forget(|flow| {
                let arrives = |direction| Some(flow.tuple(direction).destination_address());
                gone.contains(&arrives(Direction::Original)) || gone.contains(&arrives(Direction::Reply))
            });
            // Nobody gets their ports: the address is gone.
            self.retain_explicit(|mapping| !gone.contains(&Some(*mapping.outside.ip())), Millis::ZERO);
        }
    }

    fn forget(&mut self, which: impl Fn(&Flow) -> bool) {
        let ids: Vec<Id> = self.flows.ids().filter(|&id| which(self.flows.get(id))).collect();
        // Nobody gets their ports: the address is gone.
        ids.into_iter().for_each(|id| self.expire(id, Millis::ZERO));
    }

    pub(crate) fn expire(&mut self, id: Id, now: Millis) {
        let FlowMappings { source, destination } = self.flows.mappings(id);
        let flow = self.flows.remove(id);
        self.owners.remove_flow(id);
        flow.iter().for_each(|flow| self.servers.remove(flow));
        if let (Some(mapping), Some(flow), true) = (source, flow, self.filters_by_address()) {
            self.mappings.remove_contact(mapping, contact_of(&flow));
        }
        source.into_iter().chain(destination).for_each(|mapping| self.release(mapping, now));
        self.expired += 1;
    }
}

/// Whom the flow's mapping lets in because of it: whoever its first packet was sent to.
pub(crate) fn contact_of(flow: &Flow) -> Ipv4Addr {
    flow.tuple(Direction::Original).destination_address()
}

/// The counters of `new` rules: those of an equal old rule, else from zero. Mostly the rules are in their old order, so the
/// search goes on where the last one ended.
fn carry_over(old: &[NatRule], new: &[NatRule], counters: &[RuleCounter]) -> Vec<RuleCounter> {
    let mut next = 0;
    let counter = |rule: &NatRule| {
        let mut places = (next..old.len()).chain(0..next);
        let found = places.find(|&place| old[place] == *rule)?;
        next = found + 1;
        counters.get(found).copied()
    };
    new.iter().map(counter).map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Condition, Match, PortList, Target};

    #[test]
    fn counters_stay_with_their_rules_in_any_order_and_equal_ones_keep_theirs() {
        let rule = |port| NatRule {
            matches: Match {
                destination_ports: Some(Condition::is(PortList::port(port))),
                ..Match::default()
            },
            target: Target::Accept,
        };
        let rules = |ports: &[u16]| ports.iter().map(|&port| rule(port)).collect::<Vec<_>>();
        let counters = [10, 20, 21, 30].map(|packets| RuleCounter { packets, bytes: 0 });
        let after = |ports: &[u16]| {
            let counters = carry_over(&rules(&[1, 2, 2, 3]), &rules(ports), &counters);
            counters.iter().map(|counter| counter.packets).collect::<Vec<_>>()
        };
        assert_eq!(after(&[1, 2, 2, 3]), [10, 20, 21, 30]);
        assert_eq!(after(&[0, 1, 2, 3]), [0, 10, 20, 30]);
        assert_eq!(after(&[3, 2, 2, 9, 1]), [30, 20, 21, 0, 10]);
        assert_eq!(after(&[]), []);
    }
}
