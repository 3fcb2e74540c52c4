//! The worker: the one place that states the order of the stages.

mod install;
mod names;
mod reports;
mod tables;
mod turn;

use std::collections::BTreeSet;
use std::ops::Range;

use nat_engine::{Imported, PortChange, Snapshot, StateError};
use packet::{
    Burst, DropReason, Frame, Millis, NetworkId, PortCounters, PortId, TxEntry, TxLists, Verdict, parse,
};
use switch_core::{Bridge, Limits};

pub use self::tables::NewTables;
pub use self::turn::{OwnFrames, Processed, Transmitted};
use crate::gateway::Gateway;
use crate::host::{Host, Outgoing, Resolution, Slow};
use crate::punt::{Punt, Punted};
use crate::report::{
    Cursor, FdbReport, FlowView, LoopChange, NeighbourReport, PoolReport, ServerChange, StatsReport,
    TreeChange,
};
use crate::runtime_config::RuntimeConfig;

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
    limits: Limits,
    /// By port: whether the device can send and receive.
    links: Vec<bool>,
    gateway: Gateway,
    host: Host,
    resolution: Resolution,
    /// Whether the host gets any frame of the last burst.
    punts: bool,
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
            limits: Limits::default(),
            links: Vec::new(),
            gateway: Gateway::new(seed),
            host: Host::new(seed),
            resolution: Resolution::default(),
            punts: false,
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
        self.punts = false;
        let (network, host) = (burst.network(), &self.host);
        let Some(origin) = burst.origin() else { return Processed(()) };
        let Some(bridge) = self.bridges.get_mut(network.index()) else { return Processed(()) };
        parse(burst);
        bridge.ingress(burst);
        self.limits.police(burst, now);
        bridge.guard(burst, |address| host.holder(network, address, now));
        bridge.learn(burst, &mut self.counters[origin.index()], now);
        bridge.forward(burst, now);
        self.limits.calm(burst, now);
        self.gateway.process(burst, &self.bridges, now);
        egress(burst, &self.bridges, &mut self.lists);
        self.limits.leaving(burst, &mut self.lists, &mut self.counters, now);
        let counters = &mut self.counters[origin.index()];
        let flooded = counters.flooded;
        self.punts = account(burst, counters, &mut self.stats);
        self.flooding = (flooded ^ counters.flooded) >= MANY_FLOODED;
        Processed(())
    }

    /// Hands each port's list of the burst just processed to `send`.
    pub fn transmit(
        &mut self,
        Processed(()): Processed,
        burst: &mut Burst,
        mut send: impl FnMut(PortId, &mut Burst, &[TxEntry], &mut PortCounters),
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
        let is_suspicious = self.bridges.get_mut(input.index()).is_some_and(Bridge::take_suspicion);
        let Self { host, gateway, bridges, resolution, out, .. } = self;
        let mut slow = Slow { now, gateway, bridges, resolution, out };
        let count = if self.punts { burst.len() } else { 0 };
        for index in 0..count {
            let Frame { meta, bytes } = burst.frame_mut(index);
            let Some(punt) = Punt::of(meta, index, slow.gateway) else { continue };
            self.stats.punted += 1;
            let mut punted = Punted { meta, bytes, input, origin: Some(origin) };
            let served = host.serve(punt, &mut punted, &mut slow);
            if let Err(reason) = served.or_else(|reason| not_for_us(reason, punted.is_copy())) {
                self.counters[origin.index()].drops.count(reason);
            }
        }
        let is_watched = || self.config.networks[input.index()].settings.loop_detect;
        if (is_suspicious || self.flooding) && is_watched() {
            host.loops.suspect(origin, input, now);
        }
        host.finish(&mut slow);
        self.finish_own(now);
        OwnFrames(())
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Millis> {
        let asking = self.resolution.next_timeout();
        [self.gateway.next_timeout(), asking, self.host.next_timeout()].into_iter().flatten().min()
    }

    /// Does what is due at `now`. [`transmit_own`](Self::transmit_own) then sends what that gave.
    pub fn on_timeout(&mut self, now: Millis) -> OwnFrames {
        self.out.restart();
        let Self { host, gateway, bridges, resolution, out, .. } = self;
        host.on_timeout(&mut Slow { now, gateway, bridges, resolution, out });
        self.finish_own(now);
        OwnFrames(())
    }

    /// The switch ends: guests are told that it is no router any more. [`transmit_own`](Self::transmit_own) then sends that.
    pub fn farewell(&mut self, now: Millis) -> OwnFrames {
        self.out.restart();
        let Self { host, gateway, bridges, resolution, out, .. } = self;
        host.ip6.farewell(&mut Slow { now, gateway, bridges, resolution, out });
        self.finish_own(now);
        OwnFrames(())
    }

    /// Hands the switch's own frames to `send`.
    pub fn transmit_own(
        &mut self,
        OwnFrames(()): OwnFrames,
        mut send: impl FnMut(PortId, &mut Burst, &[TxEntry], &mut PortCounters),
    ) {
        let (burst, lists) = self.out.frames();
        for &port in lists.touched() {
            send(port, burst, lists.list(port), &mut self.counters[port.index()]);
        }
    }

    /// The device of `port` can send and receive, or no longer can. What was learned on a port that goes down is
    /// forgotten.
    pub fn set_link(&mut self, port: PortId, up: bool) {
        if let Some(link) = self.links.get_mut(port.index())
            && *link != up
        {
            *link = up;
            if !up {
                self.doubt_stations(&BTreeSet::from([port]));
            }
            self.host.loops.forget(port);
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

    /// The device of `port` has this speed, in Mbit/s, which says what the way by it costs in a spanning tree; `None`: it has
    /// none.
    pub fn set_speed(&mut self, port: PortId, speed: Option<u32>) {
        if self.host.stp.set_speed(port, speed) {
            self.refresh_port(port);
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
        self.gateway.nat.export(now)
    }

    /// As [`export_flows`](Self::export_flows), a part at a time: see [`Nat::snapshot`](nat_engine::Nat::snapshot).
    pub fn flow_snapshot(&self) -> Snapshot {
        self.gateway.nat.snapshot()
    }

    /// Adds the flows in these places of the table.
    pub fn copy_flows(&self, places: Range<usize>, now: Millis, snapshot: &mut Snapshot) {
        self.gateway.nat.copy_flows(places, now, snapshot);
    }

    /// Takes over flows of another process, saved `age` ago, after the configuration and before the first frame. As
    /// [`Nat::import`](nat_engine::Nat::import) says, `now` should be later than the longest timeout.
    ///
    /// # Errors
    /// The state doesn't fit; nothing has changed.
    pub fn import_flows(&mut self, state: &[u8], age: Millis, now: Millis) -> Result<Imported, StateError> {
        self.gateway.nat.import(state, age, now)
    }

    /// Ports of uplinks' addresses that hosts have, too, whose use has begun or ended since the last call. To be asked
    /// before [`transmit`](Self::transmit) and [`transmit_own`](Self::transmit_own).
    pub fn take_port_changes(&mut self) -> Vec<PortChange> {
        self.gateway.nat.take_port_changes()
    }

    /// Ports of such addresses that are in use.
    pub fn shared_ports(&self) -> impl Iterator<Item = PortChange> + '_ {
        self.gateway.nat.shared_ports()
    }

    /// A server that has died or come back since the last call; `None`: there are no more.
    pub fn next_server_change(&mut self) -> Option<ServerChange> {
        self.host.health.next_change()
    }

    /// How full the ranges of the DHCP servers are.
    pub fn pools(&self, now: Millis) -> impl Iterator<Item = PoolReport> + '_ {
        self.host.dhcp.pools(now)
    }

    /// Forgets the learned addresses that `which` chooses, in a part of the forwarding databases: see
    /// [`fdb_part`](Self::fdb_part). Static ones stay. How many; `None`: there is no more.
    pub fn flush_fdb_part(
        &mut self,
        cursor: &mut Cursor,
        which: impl Fn(&FdbReport) -> bool,
        now: Millis,
    ) -> Option<u64> {
        let forget = |entry: &FdbReport| {
            let bridge = self.bridges.get(entry.network.index());
            bridge.is_some_and(|bridge| bridge.fdb().forget(entry.mac, entry.vid, now))
        };
        Some(self.fdb_part(cursor, now)?.filter(which).filter(forget).count() as u64)
    }

    /// Forgets the flows that `which` chooses among those in `places`, as [`Nat::flush`](nat_engine::Nat::flush) has it, and
    /// returns how many.
    pub fn flush_flows(
        &mut self,
        places: Range<usize>,
        which: impl Fn(&FlowView) -> bool,
        now: Millis,
    ) -> u64 {
        self.gateway.nat.flush(places, which, now) as u64
    }

    /// Places of the table that flows are in, or were.
    pub fn flow_places(&self) -> usize {
        self.gateway.nat.flow_places()
    }

    /// Forgets the known neighbours that `which` chooses, and returns how many.
    pub fn flush_neighbours(&mut self, which: impl Fn(&NeighbourReport) -> bool) -> u64 {
        let known = &mut self.gateway.neighbours;
        let forgotten = self.resolution.forget(|hop, mac| which(&reports::neighbour(hop, Some(mac))), known);
        let (known6, asked6) = (&mut self.gateway.v6.neighbours, self.host.ip6.ndp.resolution());
        forgotten + asked6.forget(|hop, mac| which(&reports::neighbour(hop, Some(mac))), known6)
    }

    /// A port that was closed because of a loop, or opened, since the last call; `None`: there are no more.
    pub fn next_loop_change(&mut self) -> Option<LoopChange> {
        self.host.loops.next_change()
    }

    /// Something that happened to a spanning tree since the last call; `None`: there is no more.
    pub fn next_tree_change(&mut self) -> Option<TreeChange> {
        self.host.stp.next_change()
    }

    /// The switch's own frames find their ports, and ports may do what the host says.
    fn finish_own(&mut self, now: Millis) {
        self.out.finish(&self.bridges, now);
        let (burst, lists) = self.out.frames_mut();
        self.limits.leaving(burst, lists, &mut self.counters, now);
        while let Some(port) = self.host.next_switched_port() {
            self.refresh_port(port);
        }
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
}

/// Stage 6: from verdicts to lists, each frame in the network that it is in by now.
fn egress(burst: &mut Burst, bridges: &[Bridge], lists: &mut TxLists) {
    let origin = burst.origin();
    burst.for_each(|index, frame| {
        let (l3, ether_type) = (usize::from(frame.meta.l3), frame.meta.ether_type);
        let packet_len = frame.meta.offload.packet_len(frame.bytes, l3, ether_type);
        if let Some(bridge) = bridges.get(frame.meta.network.index()) {
            bridge.egress(TxEntry::as_is(index), frame.meta, packet_len, origin, lists);
        }
    });
}

/// Stage 7: every frame is counted, by its verdict. Whether the host gets any.
fn account(burst: &Burst, counters: &mut PortCounters, stats: &mut StatsReport) -> bool {
    counters.rx_frames += burst.len() as u64;
    counters.rx_bytes += burst.total_bytes() as u64;
    stats.bursts += 1;
    stats.frames += burst.len() as u64;
    let mut punts = false;
    for meta in burst.metas() {
        punts |= Punt::is_one(meta);
        match meta.verdict {
            Verdict::Drop(reason) => counters.drops.count(reason),
            Verdict::Flood => counters.flooded += 1,
            _ => {}
        }
    }
    punts
}

/// A flooded frame that was not about the switch has lost nothing by being looked at.
fn not_for_us(reason: DropReason, is_copy: bool) -> Result<(), DropReason> {
    let harmless = matches!(
        reason,
        DropReason::ArpNotForUs
            | DropReason::ArpConflict
            | DropReason::DhcpNotForUs
            | DropReason::NdpNotForUs
    );
    if is_copy && harmless { Ok(()) } else { Err(reason) }
}

/// So often a port that floods is looked at; a power of two. A storm gets there in a fraction of a second.
const MANY_FLOODED: u64 = 4096;
