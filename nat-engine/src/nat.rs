//! The NAT as its caller sees it: which calls there are, and which owner does what is asked.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;

use packet::{DropReason, Ipv4Packet, Millis, NetworkId, PortId, Protocol};

use crate::chains::Chains;
use crate::chains::counters::RuleCounters;
use crate::chains::rule::RuleSet;
use crate::chains::servers::ServerUse;
use crate::config::{NatConfig, NatSettings};
use crate::first_packet::admit::Admitter;
use crate::first_packet::lookahead::{Admission, Destination, Lookahead};
use crate::flows::packet::{Known, NatPacket};
use crate::flows::table::{FlowKey, FlowTable};
use crate::flows::tuple::Tuple;
use crate::flows::view::FlowView;
use crate::fragments::{Fragments, WaitingFragment};
use crate::lifecycle::{self, Lifecycle};
use crate::memory::random::Random;
use crate::outside::Outside;
use crate::outside::explicit::{ExplicitMapping, MappingRefused, MappingRequest};
use crate::outside::leasing::Leasing;
use crate::outside::port_pool::{PortChange, PortLease};
use crate::saved::record::StateError;
use crate::saved::state::{self, Imported, Snapshot};
use crate::translate::translate_known;

/// Flows, mappings and rules of one worker.
#[derive(Debug)]
pub struct Nat {
    config: NatConfig,
    flows: FlowTable,
    outside: Outside,
    chains: Chains,
    fragments: Fragments,
    random: Random,
    /// The port of the switch whose packets are at hand.
    owner: Option<PortId>,
}

/// The configuration, and whose the packets are.
impl Nat {
    /// A NAT without flows. `seed` keys the hashes and the choice of ports: it must be random and secret.
    pub fn new(config: NatConfig, seed: [u64; 2]) -> Self {
        let (mut flows, mut outside) = (FlowTable::new(seed), Outside::new(seed));
        lifecycle::reserve(&config, &mut flows, &mut outside);
        let (chains, fragments) = (Chains::new(&config.rules), Fragments::new(seed));
        Self { config, flows, outside, chains, fragments, random: Random::new(seed), owner: None }
    }

    /// Replaces rules, timeouts, limit and addresses. Flows that exist keep their translation, but those to or from one
    /// of the switch's own addresses that is gone are forgotten; rules that stay keep their counters.
    pub fn reconfigure(&mut self, config: NatConfig) {
        let old = std::mem::replace(&mut self.config, config);
        self.lifecycle().reconfigure(&old);
    }

    /// The settings.
    pub const fn settings(&self) -> &NatSettings {
        &self.config.settings
    }

    /// The rules.
    pub const fn rules(&self) -> &RuleSet {
        &self.config.rules
    }

    /// From now on, packets are of this port of the switch, which gets no more than its share of flows, outside ports and
    /// places for fragments. `None`, as at first: the tables are the only limit.
    #[inline]
    pub const fn set_owner(&mut self, owner: Option<PortId>) {
        self.owner = owner;
        self.fragments.set_owner(owner);
    }

    /// These ports of the switch are others' from now on: they begin without what the last ones held. Goes through all flows once,
    /// if any of these had some.
    pub fn forget_owners(&mut self, owners: &BTreeSet<PortId>) {
        self.flows.forget_owners(owners);
        self.outside.forget_owners(owners);
    }
}

/// Packets of known flows.
impl Nat {
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
        translate_known(&mut self.flows, &mut self.fragments, packet, key, now)
    }

    /// Whether the packet belongs to a flow.
    pub fn knows(&self, ip: &Ipv4Packet) -> bool {
        Tuple::of(ip).is_some_and(|tuple| self.flows.find(tuple, self.flows.key(tuple)).is_some())
    }
}

/// First packets of flows: questions that change nothing, and [`admit`](Self::admit).
impl Nat {
    /// PREROUTING for a flow's first packet: where it wants to go. If no rule says so, and it is for the outside address
    /// and port of a mapping whose filter lets it in, that is the inside socket. Stores and counts nothing.
    ///
    /// # Errors
    /// `NatNoServer` if a rule spreads flows over servers and all are dead, or why the packet may not start such a flow.
    pub fn destination(&self, ip: &Ipv4Packet, input: NetworkId) -> Result<Destination, DropReason> {
        self.lookahead().destination(ip, input)
    }

    /// Whether [`destination`](Self::destination) would say the same after flows have been admitted.
    pub fn is_settled(&self, destination: Destination, ip: &Ipv4Packet) -> bool {
        self.lookahead().is_settled(destination, ip)
    }

    /// POSTROUTING for a flow's first packet, which the caller routed from `input` to `output` and whose
    /// [`key`](Self::key) this is. Stores and counts nothing.
    ///
    /// A packet between hosts behind one uplink, by an outside address, also gets the source that it would have outside
    /// (hairpinning, RFC 4787 REQ-9).
    ///
    /// # Errors
    /// `NatNoAddress`, `NatProtocolUnsupported`, `TcpNoSyn`, `NatUnsolicited` (an echo reply that nobody
    /// asked for), `IcmpErrorUnmatched`, `FragmentWithoutFirst`.
    pub fn prepare(
        &self,
        ip: &Ipv4Packet,
        key: FlowKey,
        destination: Destination,
        input: NetworkId,
        output: NetworkId,
    ) -> Result<Admission, DropReason> {
        self.lookahead().prepare(ip, key, destination, input, output)
    }

    /// Brings what [`admit`](Self::admit) will need into the processor's cache, for many flows at once, as
    /// [`look_ahead`](Self::look_ahead) does. Changes nothing.
    pub fn look_ahead_new<'a>(&self, admissions: impl Iterator<Item = &'a Admission> + Clone) {
        self.lookahead().look_ahead_new(admissions);
    }

    /// Stores a new flow and rewrites its first packet. Budget 250 ns.
    ///
    /// # Errors
    /// `FlowTableFull`, `NatShareUsed`, `NatHostLimit`, `NatNoPorts`, `NatUnsolicited` (the mapping that `destination` has
    /// found is gone). Nothing is stored then, and the packet is untouched.
    pub fn admit(
        &mut self,
        packet: &mut NatPacket<'_>,
        admission: Admission,
        now: Millis,
    ) -> Result<(), DropReason> {
        let Self { config, flows, outside, chains, fragments, random, owner } = self;
        let leasing = Leasing { config, random, owner: *owner, now };
        let lifecycle = Lifecycle { config, flows, outside, chains };
        Admitter { lifecycle, fragments, leasing }.admit(packet, &admission)
    }

    /// [`prepare`](Self::prepare) and [`admit`](Self::admit) in one, with the errors of both.
    ///
    /// # Errors
    /// Nothing is stored then, and the packet is untouched.
    pub fn admit_new(
        &mut self,
        packet: &mut NatPacket<'_>,
        destination: Destination,
        input: NetworkId,
        output: NetworkId,
        now: Millis,
    ) -> Result<(), DropReason> {
        let admission = self.prepare(packet.ip, self.key(packet.ip), destination, input, output)?;
        self.admit(packet, admission, now)
    }
}

/// Fragments.
impl Nat {
    /// Says that this packet goes on without [`admit_new`](Self::admit_new). If it is a first fragment the later ones are
    /// to follow it: they are misses then, too.
    pub fn pass_untranslated(&mut self, ip: &Ipv4Packet, now: Millis) {
        self.fragments.pass_untranslated(ip, now);
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
        self.fragments.keep(ip, from, bytes, now)
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
}

/// Time.
impl Nat {
    /// When [`on_timeout`](Self::on_timeout) or [`next_fragment`](Self::next_fragment) has something to do; a moment that has
    /// passed means at once.
    pub fn next_timeout(&self) -> Option<Millis> {
        let Self { config, flows, outside, chains, fragments, .. } = self;
        let flows = lifecycle::next_timeout(config, flows, outside, chains);
        flows.into_iter().chain(fragments.next_timeout()).min()
    }

    /// Forgets flows that were idle for too long, and such as have no use for a server that died; some hundred at a
    /// time. And mappings that were asked for until now, and fragments whose first one is late.
    pub fn on_timeout(&mut self, now: Millis) {
        self.fragments.on_timeout(now);
        self.lifecycle().on_timeout(now);
    }
}

/// What there is, and forgetting it.
impl Nat {
    /// All flows. Walks the whole table.
    pub fn flows(&self, now: Millis) -> impl Iterator<Item = FlowView> + '_ {
        self.flows.ids().map(move |id| FlowView::of(&self.flows, id, &self.config.timeouts, now))
    }

    /// The flows in these `places` of the table: see [`flow_places`](Self::flow_places).
    pub fn flows_in(&self, places: Range<usize>, now: Millis) -> impl Iterator<Item = FlowView> + '_ {
        self.flows.ids_in(places).map(move |id| FlowView::of(&self.flows, id, &self.config.timeouts, now))
    }

    /// Places of the table that flows are in, or were.
    pub const fn flow_places(&self) -> usize {
        self.flows.places()
    }

    /// Forgets the flows that `which` chooses among those in `places` of the table, and returns how many. Their ports rest as
    /// after a timeout. All flows are in the places below [`flow_places`](Self::flow_places): whoever has no time for a
    /// million at once takes a part at a time.
    pub fn flush(&mut self, places: Range<usize>, which: impl Fn(&FlowView) -> bool, now: Millis) -> usize {
        self.lifecycle().flush(places, which, now)
    }

    /// Flows in the table.
    pub const fn flow_count(&self) -> usize {
        self.flows.len()
    }

    /// Flows ever admitted.
    pub const fn admitted(&self) -> u64 {
        self.flows.counts().admitted
    }

    /// Flows that nobody had answered and that made room for another; [`expired`](Self::expired) ones too.
    pub const fn displaced(&self) -> u64 {
        self.flows.counts().displaced
    }

    /// Flows that timed out, were flushed, whose server died, or that a new configuration has no place for.
    pub const fn expired(&self) -> u64 {
        self.flows.counts().expired
    }

    /// How often each rule decided.
    pub fn rule_counters(&self) -> RuleCounters<'_> {
        self.chains.counters()
    }
}

/// Servers of [`Target::Balance`](crate::Target::Balance).
impl Nat {
    /// Says whether new flows may go to a server. All are taken to be alive until told otherwise; servers that no rule has
    /// are not remembered.
    pub fn set_server_alive(&mut self, protocol: Protocol, server: SocketAddrV4, alive: bool) {
        self.chains.set_server_alive(protocol, server, alive);
    }

    /// How a server is used, also by rules that lead to it alone; `None` if no rule spreads flows over it.
    pub fn server_use(&self, protocol: Protocol, server: SocketAddrV4) -> Option<ServerUse> {
        self.chains.server_use(protocol, server)
    }
}

/// Mappings that hosts ask for, and ports that the switch itself takes.
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
        let shared = self.lookahead().shared(request.protocol, request.inside, input, output);
        let Self { config, outside, random, owner, .. } = self;
        outside.map(request, shared, &mut Leasing { config, random, owner: *owner, now })
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
        self.outside.unmap(protocol, inside, owner, &self.config, now)
    }

    /// What was asked for and still holds.
    pub fn explicit_mappings(&self) -> impl Iterator<Item = ExplicitMapping> + '_ {
        self.outside.explicit_mappings()
    }

    /// Ends all but those that `keep` holds for.
    pub fn retain_explicit(&mut self, keep: impl Fn(&ExplicitMapping) -> bool, now: Millis) {
        self.outside.retain_explicit(keep, &self.config, now);
    }

    /// The outside address that flows of `inside` to `output` have, where several hosts share it.
    pub fn outside_address(
        &self,
        protocol: Protocol,
        inside: SocketAddrV4,
        input: NetworkId,
        output: NetworkId,
    ) -> Option<Ipv4Addr> {
        self.lookahead().shared(protocol, inside, input, output).map(|(address, _)| address)
    }

    /// A port of one of the switch's own addresses, or an identifier of ICMP queries, for its own use: no new mapping gets
    /// it before it comes back by [`return_port`](Self::return_port). Nobody can guess which it is. `None` if all are taken.
    pub fn lease_port(&mut self, address: Ipv4Addr, protocol: Protocol, now: Millis) -> Option<PortLease> {
        let Self { config, outside, random, owner, .. } = self;
        outside.lease_for_switch(address, protocol, &mut Leasing { config, random, owner: *owner, now })
    }

    /// The port is free again. It came from this very NAT.
    pub fn return_port(&mut self, lease: PortLease) {
        self.outside.give_back(lease);
    }

    /// Ports of shared addresses whose use has begun or ended since the last call, in that order.
    pub fn take_port_changes(&mut self) -> Vec<PortChange> {
        self.outside.take_port_changes()
    }

    /// Ports of shared addresses that are in use.
    pub fn shared_ports(&self) -> impl Iterator<Item = PortChange> + '_ {
        self.outside.shared_ports()
    }
}

/// Flows as bytes.
impl Nat {
    /// All flows and mappings, for [`import`](Self::import) into another process. Walks the whole table; about 110 bytes per
    /// flow.
    pub fn export(&self, now: Millis) -> Vec<u8> {
        let mut snapshot = self.snapshot();
        self.copy_flows(0..self.flow_places(), now, &mut snapshot);
        snapshot.into_bytes()
    }

    /// As [`export`](Self::export), for whoever has no time for a million flows at once: nothing is in the snapshot yet, and
    /// all flows are in it when [`copy_flows`](Self::copy_flows) had all places below [`flow_places`](Self::flow_places) in
    /// turn. Packets may go on meanwhile.
    pub fn snapshot(&self) -> Snapshot {
        state::snapshot(&self.config)
    }

    /// Adds the flows in `places` of the table, as they are now.
    pub fn copy_flows(&self, places: Range<usize>, now: Millis, snapshot: &mut Snapshot) {
        state::copy_flows(&self.flows, &self.outside, places, now, snapshot);
    }

    /// How many bytes the state has that begins with `start`, its first [`STATE_START`](crate::STATE_START) bytes: to be
    /// asked before memory is spent on the rest.
    ///
    /// # Errors
    /// It is no state that [`import`](Self::import) could read.
    pub fn state_len(start: &[u8]) -> Result<u64, StateError> {
        state::state_len(start)
    }

    /// Takes over what [`export`](Self::export) saved `age` ago, into a NAT that has its configuration and no flows yet.
    ///
    /// Flows stay as when a NAT of the saved configuration is [reconfigured](Self::reconfigure) to this one. Their idle
    /// time goes on, `age` included; as no flow can have been used before [`Millis::ZERO`], `now` should be later than
    /// the longest timeout.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn import(&mut self, state: &[u8], age: Millis, now: Millis) -> Result<Imported, StateError> {
        state::import(&mut self.lifecycle(), state, age, now)
    }
}

impl Nat {
    const fn lookahead(&self) -> Lookahead<'_> {
        let Self { config, flows, outside, chains, .. } = self;
        Lookahead { config, flows, outside, chains }
    }

    const fn lifecycle(&mut self) -> Lifecycle<'_> {
        let Self { config, flows, outside, chains, .. } = self;
        Lifecycle { config, flows, outside, chains }
    }
}
