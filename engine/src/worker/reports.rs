//! What the worker tells about its state, and what is kept of it for the next process.

use std::net::IpAddr;
use std::ops::Range;

use nat_engine::ExplicitMapping;
use packet::{MacAddr, Millis, NetworkId};

use super::Worker;
use crate::gateway::route::Hop;
use crate::report::{
    Chain, Cursor, FdbReport, FlowView, Learned, LeaseChanges, LeaseEvent, LeaseRecord, LeaseReport,
    NeighbourReport, PortReport, RuleReport, ServerReport, StatsReport, TreeReport,
};
use crate::runtime_config::PortConfig;

impl Worker {
    /// The ports with their counters, and what [`count_learned`](Self::count_learned) has found.
    pub fn ports(&self, learned: &Learned) -> Vec<PortReport> {
        let report = |port: &PortConfig| PortReport {
            id: port.id,
            network: port.network,
            link: self.link(port.id),
            state: self.state_of(port),
            learned: learned.on(port.id),
            counters: self.counters[port.id.index()].clone(),
        };
        self.config.ports.iter().map(report).collect()
    }

    /// Counts what is learned in a part of the forwarding databases, from `cursor` on, which moves on. Whether there is more.
    pub fn count_learned(&self, cursor: &mut Cursor, learned: &mut Learned, now: Millis) -> bool {
        let Some(entries) = self.fdb_part(cursor, now) else { return false };
        entries.filter(|entry| entry.idle.is_some()).for_each(|entry| learned.count(entry.port));
        true
    }

    /// A part of the forwarding databases of all networks, from `cursor` on, which moves on; `None`: there is no more. In no
    /// particular order.
    pub fn fdb_part(&self, cursor: &mut Cursor, now: Millis) -> Option<impl Iterator<Item = FdbReport> + '_> {
        let network = NetworkId::new(u16::try_from(cursor.network).ok()?);
        let fdb = self.bridges.get(network.index())?.fdb();
        let places = cursor.next_part(fdb.places(), FDB_PART);
        Some(fdb.entries_in(places, now).map(move |entry| FdbReport {
            network,
            vid: entry.vid,
            mac: entry.mac,
            port: entry.port,
            idle: entry.idle,
        }))
    }

    /// The spanning trees of networks that have one.
    pub fn trees(&self, now: Millis) -> impl Iterator<Item = TreeReport> + '_ {
        self.host.stp.reports(now)
    }

    /// The flows in these places of the table, as [`flush_flows`](Self::flush_flows) has them.
    pub fn flows_in(&self, places: Range<usize>, now: Millis) -> impl Iterator<Item = FlowView> + '_ {
        self.gateway.nat.flows_in(places, now)
    }

    /// The NAT rules' counters, in the rules' order.
    pub fn rules(&self) -> Vec<RuleReport> {
        let counters = self.gateway.nat.rule_counters();
        let chains = [(Chain::Prerouting, counters.prerouting), (Chain::Postrouting, counters.postrouting)];
        let of_chain = |(chain, counters): (Chain, &[nat_engine::RuleCounter])| {
            let report = |(index, counter): (usize, &nat_engine::RuleCounter)| RuleReport {
                chain,
                index,
                packets: counter.packets,
                bytes: counter.bytes,
            };
            counters.iter().enumerate().map(report).collect::<Vec<_>>()
        };
        chains.into_iter().flat_map(of_chain).collect()
    }

    /// A part of the DHCP leases of all networks, from `cursor` on, which moves on; `None`: there is no more. Each network's
    /// in the order of their addresses.
    pub fn leases_part(&self, cursor: &mut Cursor, now: Millis) -> Option<Vec<LeaseReport>> {
        self.host.dhcp.leases_part(cursor, now)
    }

    /// Whether leases are kept elsewhere: then [`take_lease_changes`](Self::take_lease_changes) has what is to be kept, and
    /// a client is told of a lease when [`leases_kept`](Self::leases_kept) was called, or two seconds later.
    pub fn keep_leases(&mut self, kept: bool) {
        self.host.dhcp.keep_leases(kept);
    }

    /// Takes back a lease, after the configuration and before the first frame. Whether the configuration allows it.
    pub fn restore_lease(&mut self, record: LeaseRecord, now: Millis) -> bool {
        self.host.dhcp.restore_lease(record, now)
    }

    /// From when on leases have changed that are to be kept; `None`: nothing has changed.
    pub fn leases_changed(&self) -> Option<Millis> {
        self.host.dhcp.leases_changed()
    }

    /// The changes of leases since the last call.
    pub fn take_lease_changes(&mut self, now: Millis) -> LeaseChanges {
        self.host.dhcp.take_lease_changes(now)
    }

    /// The changes up to this revision are kept, or can't be: [`on_timeout`](Self::on_timeout) now tells the clients.
    pub fn leases_kept(&mut self, revision: u64) {
        self.host.dhcp.leases_kept(revision);
    }

    /// Something that happened to a lease since the last call; `None`: there is no more.
    pub fn next_lease_event(&mut self) -> Option<LeaseEvent> {
        self.host.dhcp.next_lease_event()
    }

    /// Ports of uplinks that guests opened for themselves.
    pub fn explicit_mappings(&self) -> impl Iterator<Item = ExplicitMapping> + '_ {
        self.gateway.nat.explicit_mappings()
    }

    /// The servers that flows are spread over.
    pub fn servers(&self, now: Millis) -> impl Iterator<Item = ServerReport> + '_ {
        self.host.health.servers(&self.config.balances, &self.gateway.nat, now)
    }

    /// The neighbours, with the next hops that are being asked for, of both families.
    pub fn neighbours(&self) -> impl Iterator<Item = NeighbourReport> + '_ {
        let known = &self.gateway.neighbours;
        let unknown = self.resolution.unknown(known).map(|hop| neighbour(hop, None));
        let (known6, asked6) = (&self.gateway.v6.neighbours, self.host.ip6.ndp.asked());
        let unknown6 = asked6.unknown(known6).map(|hop| neighbour(hop, None));
        let v4 = known.iter().map(|(hop, mac)| neighbour(hop, Some(mac))).chain(unknown);
        v4.chain(known6.iter().map(|(hop, mac)| neighbour(hop, Some(mac)))).chain(unknown6)
    }

    /// Counters of the worker as a whole.
    pub fn stats(&self) -> StatsReport {
        let nat = &self.gateway.nat;
        StatsReport {
            injected: self.out.sent,
            flows: nat.flow_count() as u64,
            flows_admitted: nat.admitted(),
            flows_expired: nat.expired(),
            flows_displaced: nat.displaced(),
            own_drops: self.out.drops.clone(),
            ..self.stats.clone()
        }
    }
}

pub(super) fn neighbour<A: Into<IpAddr>>(hop: Hop<A>, mac: Option<MacAddr>) -> NeighbourReport {
    NeighbourReport { network: hop.network, address: hop.address.into(), mac }
}

/// Places of a forwarding database that are looked at at once: 10 µs if they are empty, 0.1 ms if they are full.
const FDB_PART: usize = 512;
