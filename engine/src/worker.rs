//! The worker: the one place that states the order of the stages.

mod reports;
mod turn;

use std::collections::BTreeSet;
use std::ops::Range;

use nat_engine::{Imported, PortChange, Snapshot, StateError};
use packet::{
    Burst, DropReason, MacAddr, Millis, NetworkId, PortCounters, PortId, PuntReason, TxLists, Verdict, Vid,
    parse,
};
use switch_core::{Bridge, BridgePort, Fdb, Group, Guard, PortGuard, PortState};

pub use self::turn::{OwnFrames, Processed, Transmitted};
use crate::gateway::Gateway;
use crate::host::Outgoing;
use crate::host::loops::{self, Due, LoopWatch};
use crate::report::{
    FdbReport, FlowReport, LoopChange, NeighbourReport, PoolReport, ServerChange, StatsReport,
};
use crate::runtime_config::{NetworkConfig, PortConfig, RuntimeConfig};

/// Forwards bursts. Owns its bridges, flows, neighbours and counters; does no I/O.
///
/// ```text
/// driver: rx_burst ─▶ process ─▶ transmit ─▶ service ─▶ transmit_own        (per burst)
///         next_timeout ─▶ on_timeout ─▶ transmit_own                        (when it is time)
/// ```
///
/// Each of these calls returns what the next one takes, so that none is forgotten.
#[derive(Debug)]
pub struct Worker {
    config: RuntimeConfig,
    /// By network.
    bridges: Vec<Bridge>,
    bridges_made: u64,
    /// By port.
    counters: Vec<PortCounters>,
    /// By port: whether the device can send and receive.
    links: Vec<bool>,
    gateway: Gateway,
    loops: LoopWatch,
    /// Whether it is time to look for a loop, because the last burst's port has flooded many more frames.
    flooding: bool,
    lists: TxLists,
    out: Outgoing,
    stats: StatsReport,
    seed: [u64; 2],
}

impl Worker {
    /// A worker without networks. `seed` must be random and secret: it keys hashes and the choice of ports.
    pub fn new(seed: [u64; 2]) -> Self {
        Self {
            config: RuntimeConfig::default(),
            bridges: Vec::new(),
            bridges_made: 0,
            counters: Vec::new(),
            links: Vec::new(),
            gateway: Gateway::new(seed),
            loops: LoopWatch::new(seed),
            flooding: false,
            lists: TxLists::default(),
            out: Outgoing::default(),
            stats: StatsReport::default(),
            seed,
        }
    }

    /// Takes a burst through all stages. No allocation; [`transmit`](Self::transmit) then sends it.
    pub fn process(&mut self, burst: &mut Burst, now: Millis) -> Processed {
        self.lists.clear();
        let (network, gateway) = (burst.network(), &self.gateway);
        let Some(origin) = burst.origin() else { return Processed(()) };
        let Some(bridge) = self.bridges.get_mut(network.index()) else { return Processed(()) };
        parse(burst);
        bridge.ingress(burst);
        bridge.guard(burst, |address| gateway.holder(network, address, now));
        bridge.learn(burst, &mut self.counters[origin.index()], now);
        bridge.forward(burst, now);
        self.gateway.process(burst, &self.bridges, now);
        egress(burst, &self.bridges, &mut self.lists);
        let counters = &mut self.counters[origin.index()];
        let flooded = counters.flooded;
        account(burst, counters, &mut self.stats);
        self.flooding = (flooded ^ counters.flooded) >= MANY_FLOODED;
        Processed(())
    }

    /// Hands each port's list of the burst just processed to `send`.
    pub fn transmit(
        &mut self,
        Processed(()): Processed,
        burst: &mut Burst,
        mut send: impl FnMut(PortId, &mut Burst, &[u8], &mut PortCounters),
    ) -> Transmitted {
        for &port in self.lists.touched() {
            send(port, burst, self.lists.list(port), &mut self.counters[port.index()]);
        }
        Transmitted(())
    }

    /// Answers what the burst asked of the switch itself. [`transmit_own`](Self::transmit_own) then sends the answers.
    pub fn service(&mut self, Transmitted(()): Transmitted, burst: &mut Burst, now: Millis) -> OwnFrames {
        self.out.restart();
        let Some(origin) = burst.origin() else { return OwnFrames(()) };
        let input = burst.network();
        for index in 0..burst.len() {
            let frame = burst.frame_mut(index);
            let (reason, is_copy) = match (frame.meta.verdict, frame.meta.copy) {
                (Verdict::Punt(reason), _) => (reason, false),
                (_, Some(reason)) => (reason, true),
                _ => continue,
            };
            self.stats.punted += 1;
            if reason == PuntReason::LoopProbe {
                if let Some(port) = self.loops.answer(frame.meta, frame.bytes, input, origin, now) {
                    self.refresh_port(port);
                }
                continue;
            }
            let served = self.gateway.serve(reason, frame.meta, frame.bytes, input, now, &mut self.out);
            if let Err(reason) = served.or_else(|reason| not_for_us(reason, is_copy)) {
                self.counters[origin.index()].drops.count(reason);
            }
        }
        self.gateway.release_fragments(now, &mut self.out);
        let is_suspicious = self.bridges.get(input.index()).is_some_and(Bridge::take_suspicion);
        if is_suspicious || self.flooding {
            self.loops.suspect(origin, input, now);
        }
        self.finish_own(now);
        OwnFrames(())
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Millis> {
        [self.gateway.next_timeout(), self.loops.next_timeout()].into_iter().flatten().min()
    }

    /// Does what is due at `now`. [`transmit_own`](Self::transmit_own) then sends what that gave.
    pub fn on_timeout(&mut self, now: Millis) -> OwnFrames {
        self.out.restart();
        self.gateway.on_timeout(now, &mut self.out);
        self.finish_own(now);
        OwnFrames(())
    }

    /// Hands the switch's own frames to `send`.
    pub fn transmit_own(
        &mut self,
        OwnFrames(()): OwnFrames,
        mut send: impl FnMut(PortId, &mut Burst, &[u8], &mut PortCounters),
    ) {
        let Outgoing { burst, lists, .. } = &mut self.out;
        for &port in lists.touched() {
            send(port, burst, lists.list(port), &mut self.counters[port.index()]);
        }
    }

    /// Takes over a configuration. Networks with the name of an earlier one keep what they learned and leased, ports
    /// with the same id their counters, and all flows stay. A new port's link is taken to be up.
    pub fn install(&mut self, config: RuntimeConfig) {
        let mut old: Vec<_> = self.bridges.drain(..).map(Some).collect();
        for network in &config.networks {
            let before = self.config.networks.iter().position(|other| other.name == network.name);
            let bridge = before.and_then(|index| old.get_mut(index)?.take());
            let mut bridge = bridge.unwrap_or_else(|| {
                self.bridges_made += 1;
                new_bridge(network, self.seed, self.bridges_made)
            });
            bridge.fdb_mut().set_ageing(network.ageing);
            bridge.fdb_mut().set_capacity(network.fdb_capacity);
            bridge.set_local(network.interface.as_ref().map(|interface| interface.mac));
            self.bridges.push(bridge);
        }
        let limit = config.ports.last().map_or(0, |port| port.id.index() + 1);
        self.counters.resize_with(limit.max(self.counters.len()), PortCounters::default);
        self.links.resize(limit.max(self.links.len()), true);
        self.lists.reserve_ports(limit);
        self.out.lists.reserve_ports(limit);
        self.gateway.install(&self.config, &config, &mut self.out.drops);
        let old = std::mem::replace(&mut self.config, config);
        self.forget_ports(&old);
        (0..self.config.ports.len()).for_each(|index| self.set_port(index));
        self.set_stations(&old);
    }

    /// The device of `port` can send and receive, or no longer can. What was learned on a port that goes down is
    /// forgotten.
    pub fn set_link(&mut self, port: PortId, up: bool) {
        if let Some(link) = self.links.get_mut(port.index())
            && *link != up
        {
            *link = up;
            if let (false, Some(network)) = (up, self.network_of(port)) {
                self.doubt_stations(port, network);
            }
            self.loops.forget(port);
            self.refresh_port(port);
        }
    }

    /// The device of `port` takes IP packets of this size at most, from now on.
    pub fn set_mtu(&mut self, port: PortId, mtu: u16) {
        if self.config.set_mtu(port, mtu)
            && let Ok(index) = self.place_of(port)
        {
            self.gateway.set_mtu(self.config.ports[index].network, mtu);
            self.set_port(index);
        }
    }

    /// Whether the device of `port` can send and receive, as far as known.
    pub fn link(&self, port: PortId) -> bool {
        self.links.get(port.index()).copied().unwrap_or(false)
    }

    /// The counters of `port`, for what its device counts itself.
    pub fn counters_mut(&mut self, port: PortId) -> Option<&mut PortCounters> {
        self.counters.get_mut(port.index())
    }

    /// The running configuration.
    pub fn config(&self) -> &RuntimeConfig {
        &self.config
    }

    /// The network of `port`.
    pub fn network_of(&self, port: PortId) -> Option<NetworkId> {
        Some(self.config.ports[self.place_of(port).ok()?].network)
    }

    /// All flows as bytes, for [`import_flows`](Self::import_flows) into the worker of another process.
    pub fn export_flows(&self, now: Millis) -> Vec<u8> {
        self.gateway.nat().export(now)
    }

    /// As [`export_flows`](Self::export_flows), a part at a time: see [`Nat::snapshot`](nat_engine::Nat::snapshot).
    pub fn flow_snapshot(&self) -> Snapshot {
        self.gateway.nat().snapshot()
    }

    /// Adds the flows in these places of the table.
    pub fn copy_flows(&self, places: Range<usize>, now: Millis, snapshot: &mut Snapshot) {
        self.gateway.nat().copy_flows(places, now, snapshot);
    }

    /// Takes over flows of another process, saved `age` ago, after the configuration and before the first frame. As
    /// [`Nat::import`](nat_engine::Nat::import) says, `now` should be later than the longest timeout.
    ///
    /// # Errors
    /// The state doesn't fit; nothing has changed.
    pub fn import_flows(&mut self, state: &[u8], age: Millis, now: Millis) -> Result<Imported, StateError> {
        self.gateway.nat_mut().import(state, age, now)
    }

    /// Ports of uplinks' addresses that hosts have, too, whose use has begun or ended since the last call. To be asked
    /// before [`transmit`](Self::transmit) and [`transmit_own`](Self::transmit_own).
    pub fn take_port_changes(&mut self) -> Vec<PortChange> {
        self.gateway.nat_mut().take_port_changes()
    }

    /// Ports of such addresses that are in use.
    pub fn shared_ports(&self) -> impl Iterator<Item = PortChange> + '_ {
        self.gateway.nat().shared_ports()
    }

    /// A server that has died or come back since the last call; `None`: there are no more.
    pub fn next_server_change(&mut self) -> Option<ServerChange> {
        self.gateway.next_server_change()
    }

    /// How full the ranges of the DHCP servers are.
    pub fn pools(&self, now: Millis) -> impl Iterator<Item = PoolReport> + '_ {
        self.gateway.pools(now)
    }

    /// Forgets the learned addresses that `which` chooses, and returns how many. Static ones stay.
    pub fn flush_fdb(&mut self, which: impl Fn(&FdbReport) -> bool, now: Millis) -> u64 {
        let chosen: Vec<FdbReport> = self.fdb(now).filter(which).collect();
        let forget = |entry: &&FdbReport| {
            let bridge = self.bridges.get(entry.network.index());
            bridge.is_some_and(|bridge| bridge.fdb().forget(entry.mac, entry.vid, now))
        };
        chosen.iter().filter(forget).count() as u64
    }

    /// Forgets the flows that `which` chooses among those in `places`, as [`Nat::flush`](nat_engine::Nat::flush) has it, and
    /// returns how many.
    pub fn flush_flows(
        &mut self,
        places: Range<usize>,
        which: impl Fn(&FlowReport) -> bool,
        now: Millis,
    ) -> u64 {
        self.gateway.nat_mut().flush(places, |flow| which(&flow_report(flow)), now) as u64
    }

    /// Places of the table that flows are in, or were.
    pub fn flow_places(&self) -> usize {
        self.gateway.nat().flow_places()
    }

    /// Forgets the known neighbours that `which` chooses, and returns how many.
    pub fn flush_neighbours(&mut self, which: impl Fn(&NeighbourReport) -> bool) -> u64 {
        self.gateway.flush_neighbours(which)
    }

    /// A port that was closed because of a loop, or opened, since the last call; `None`: there are no more.
    pub fn next_loop_change(&mut self) -> Option<LoopChange> {
        self.loops.next_change()
    }

    /// The switch's own frames find their ports.
    fn finish_own(&mut self, now: Millis) {
        let Outgoing { burst, stations, lists, drops, .. } = &mut self.out;
        parse(burst);
        for (meta, station) in burst.metas_mut().iter_mut().zip(stations) {
            match self.bridges.get(meta.network.index()) {
                Some(bridge) => meta.verdict = bridge.towards(station.unwrap_or(meta.dst), now),
                None => meta.drop(DropReason::NoRoute),
            }
        }
        egress(burst, &self.bridges, lists);
        for meta in burst.metas() {
            if let Verdict::Drop(reason) = meta.verdict {
                drops.count(reason);
            }
        }
        self.look_for_loops(now);
    }

    fn look_for_loops(&mut self, now: Millis) {
        while self.out.has_room()
            && let Some(due) = self.loops.due(now)
        {
            match due {
                Due::Probe { port, network, token } => {
                    let (src, dst) = self.bridges[network.index()].probe();
                    self.out.push_to(port, &loops::probe(src, dst, token));
                }
                Due::Open(port) => self.refresh_port(port),
            }
        }
    }

    /// Ports that are gone, or in another network now, leave nothing behind.
    fn forget_ports(&mut self, old: &RuntimeConfig) {
        for port in &old.ports {
            let same = self.place_of(port.id).map(|index| &self.config.ports[index]);
            let stays = same.is_ok_and(|other| {
                other.name == port.name
                    && self.config.networks[other.network.index()].name
                        == old.networks[port.network.index()].name
            });
            if !stays {
                let name = &old.networks[port.network.index()].name;
                if let Some(index) = self.config.networks.iter().position(|network| network.name == *name) {
                    self.doubt_stations(port.id, NetworkId::new(index as u16));
                }
                self.bridges.iter_mut().for_each(|bridge| bridge.remove_port(port.id));
                self.counters[port.id.index()] = PortCounters::default();
                self.links[port.id.index()] = true;
                self.loops.forget(port.id);
                self.gateway.forget_port(port.id);
            }
        }
    }

    /// Whoever comes to the port next may have an address of those that were there.
    fn doubt_stations(&mut self, port: PortId, network: NetworkId) {
        let Some(bridge) = self.bridges.get(network.index()) else { return };
        // Before the start of time nothing is too old.
        let is_there = |mac| bridge.fdb().lookup(mac, Vid::DEFAULT, Millis::ZERO) == Some(port);
        self.gateway.doubt_neighbours(network, is_there);
    }

    /// Where a port stands in the configuration.
    fn place_of(&self, port: PortId) -> Result<usize, usize> {
        self.config.ports.binary_search_by_key(&port, |port| port.id)
    }

    fn refresh_port(&mut self, port: PortId) {
        if let Ok(index) = self.place_of(port) {
            self.set_port(index);
        }
    }

    /// Tells the bridge of the port in this place of the configuration what the port may do.
    fn set_port(&mut self, index: usize) {
        let port = &self.config.ports[index];
        let state = match self.links[port.id.index()] {
            false => PortState::Discarding,
            true if self.loops.is_closed(port.id) => PortState::Looping,
            true => PortState::Forwarding,
        };
        let is_apart = self.config.networks[port.network.index()].isolated;
        let settings = BridgePort {
            state,
            mtu: port.mtu,
            learn_limit: port.learn_limit,
            group: is_apart.then_some(Group::ISOLATED),
            hairpin: false,
        };
        let guard = self.guard_of(port);
        let bridge = &mut self.bridges[port.network.index()];
        bridge.set_port(port.id, settings);
        bridge.set_guard(port.id, guard);
    }

    fn guard_of(&self, port: &PortConfig) -> Option<PortGuard> {
        let network = &self.config.networks[port.network.index()];
        let has_dhcp = network.interface.as_ref().is_some_and(|interface| interface.dhcp.is_some());
        (port.guard != Guard::NONE).then(|| PortGuard {
            checks: port.guard,
            macs: port.static_macs.clone(),
            addresses: port.addresses.clone(),
            first_come: !has_dhcp && port.addresses.is_empty(),
        })
    }

    /// Stations that are always behind one port: those that are so no longer go, new ones come, and all others stay as
    /// they are.
    fn set_stations(&mut self, old: &RuntimeConfig) {
        let (before, after) = (static_stations(old), static_stations(&self.config));
        for (network, mac, _) in before.difference(&after) {
            if let Some(index) = self.config.networks.iter().position(|other| other.name == *network) {
                self.bridges[index].fdb().remove_static(*mac, Vid::DEFAULT);
            }
        }
        for (network, mac, port) in after.difference(&before) {
            if let Some(index) = self.config.networks.iter().position(|other| other.name == *network) {
                self.bridges[index].fdb().add_static(*mac, Vid::DEFAULT, *port);
            }
        }
    }
}

/// Networks, stations, and the ports they are always behind.
fn static_stations(config: &RuntimeConfig) -> BTreeSet<(&str, MacAddr, PortId)> {
    let of_port = |port: &crate::PortConfig| {
        let (network, id) = (config.networks[port.network.index()].name.as_str(), port.id);
        port.static_macs.clone().into_iter().map(move |mac| (network, mac, id))
    };
    config.ports.iter().flat_map(of_port).collect()
}

fn flow_report(flow: &nat_engine::FlowView) -> FlowReport {
    FlowReport {
        protocol: flow.original.protocol(),
        original_source: flow.original.source(),
        original_destination: flow.original.destination(),
        reply_source: flow.reply.source(),
        reply_destination: flow.reply.destination(),
        state: flow.state,
        expires_in: flow.expires_in,
        packets: flow.packets,
        bytes: flow.bytes,
    }
}

/// Stage 6: from verdicts to lists, each frame in the network that it is in by now.
fn egress(burst: &mut Burst, bridges: &[Bridge], lists: &mut TxLists) {
    let origin = burst.origin();
    burst.for_each(|index, frame| {
        let (l3, ether_type) = (usize::from(frame.meta.l3), frame.meta.ether_type);
        let packet_len = frame.meta.offload.packet_len(frame.bytes, l3, ether_type);
        if let Some(bridge) = bridges.get(frame.meta.network.index()) {
            bridge.egress(index, frame.meta, packet_len, origin, lists);
        }
    });
}

/// Stage 7: every frame is counted, by its verdict.
fn account(burst: &Burst, counters: &mut PortCounters, stats: &mut StatsReport) {
    counters.rx_frames += burst.len() as u64;
    counters.rx_bytes += burst.total_bytes() as u64;
    stats.bursts += 1;
    stats.frames += burst.len() as u64;
    for meta in burst.metas() {
        match meta.verdict {
            Verdict::Drop(reason) => counters.drops.count(reason),
            Verdict::Flood => counters.flooded += 1,
            _ => {}
        }
    }
}

/// A flooded frame that was not about the switch has lost nothing by being looked at.
fn not_for_us(reason: DropReason, is_copy: bool) -> Result<(), DropReason> {
    let harmless =
        matches!(reason, DropReason::ArpNotForUs | DropReason::ArpConflict | DropReason::DhcpNotForUs);
    if is_copy && harmless { Ok(()) } else { Err(reason) }
}

/// So often a port that floods is looked at; a power of two. A storm gets there in a fraction of a second.
const MANY_FLOODED: u64 = 4096;

/// The `nth` bridge ever made.
fn new_bridge(network: &NetworkConfig, seed: [u64; 2], nth: u64) -> Bridge {
    let mut bridge = Bridge::new(Fdb::new(network.fdb_capacity, network.ageing, seed));
    bridge.set_probe(loops::probe_source(seed, nth));
    bridge
}
