//! How the worker goes over to another configuration, and what bridges are told of their ports.

use std::collections::{BTreeMap, BTreeSet};

use packet::{DropReason, Ipv4Cidr, Ipv6Cidr, MacAddr, Millis, NetworkId, PortCounters, PortId, Vid};
use switch_core::{Bridge, BridgePort, Fdb, Guard, PortGuard, PortSettings, PortState};

use super::Worker;
use super::tables::NewTables;
use crate::host;
use crate::runtime_config::{PortConfig, RuntimeConfig};

impl Worker {
    /// Takes over a configuration. Networks with the name of an earlier one keep what they learned and leased, ports
    /// with the same id their counters, and all flows stay. A new port's link is taken to be up.
    pub fn install(&mut self, config: RuntimeConfig) {
        self.install_with(config, NewTables::default());
    }

    /// The same where packets wait: with what was made before, and the old configuration to be dropped elsewhere.
    pub fn install_with(&mut self, config: RuntimeConfig, mut tables: NewTables) -> RuntimeConfig {
        let mut old: Vec<_> = self.bridges.drain(..).map(Some).collect();
        let places = places(&self.config);
        for network in &config.networks {
            let before = places.get(&network.name);
            let bridge = before.and_then(|index| old.get_mut(*index)?.take());
            let mut bridge = bridge.unwrap_or_else(|| {
                self.bridges_made += 1;
                let table = tables.take(network, self.seed);
                new_bridge(table, self.seed, self.bridges_made)
            });
            bridge.fdb_mut().set_ageing(network.settings.ageing);
            bridge.fdb_mut().set_capacity(network.settings.fdb_capacity);
            bridge.set_local(network.interface.as_ref().map(|interface| interface.mac));
            self.bridges.push(bridge);
        }
        let limit = config.ports.last().map_or(0, |port| port.id.index() + 1);
        self.counters.resize_with(limit.max(self.counters.len()), PortCounters::default);
        self.links.resize(limit.max(self.links.len()), true);
        self.lists.reserve_ports(limit);
        self.out.reserve_ports(limit);
        let mappings = self.gateway.nat.explicit_mappings().count();
        let keeps = |network| keeps_addresses(network, &self.config, &config);
        let lost = self.resolution.keep(keeps, &mut self.gateway.neighbours);
        self.out.drops.count_many(DropReason::InterfaceChanged, lost);
        let keeps = |network| keeps_addresses6(network, &self.config, &config);
        let lost = self.host.ip6.ndp.resolution().keep(keeps, &mut self.gateway.v6.neighbours);
        self.out.drops.count_many(DropReason::InterfaceChanged, lost);
        self.gateway.install(&self.config, &config);
        self.host.install(&self.config, &config, mappings, &mut self.gateway, &self.bridges);
        let old = std::mem::replace(&mut self.config, config);
        self.forget_ports(&old);
        self.doubt_moved_ports(&old);
        (0..self.config.ports.len()).for_each(|index| self.set_port(index));
        self.set_stations(&old);
        old
    }

    /// Ports that are gone, or in another network now, leave nothing behind. Tables are gone through once for all of them.
    fn forget_ports(&mut self, old: &RuntimeConfig) {
        let places = places(&self.config);
        let name_of = |port: &PortConfig| &old.networks[port.network.index()].name;
        let stays = |port: &PortConfig| {
            self.place_of(port.id).map(|index| &self.config.ports[index]).is_ok_and(|other| {
                other.name == port.name && self.config.networks[other.network.index()].name == *name_of(port)
            })
        };
        let gone: Vec<&PortConfig> = old.ports.iter().filter(|port| !stays(port)).collect();
        if gone.is_empty() {
            return;
        }
        let ids = gone.iter().map(|port| port.id).collect();
        self.doubt_stations(&ids);
        for port in gone {
            if let Some(&index) = places.get(name_of(port)) {
                self.bridges[index].remove_port(port.id);
            }
            self.counters[port.id.index()] = PortCounters::default();
            self.links[port.id.index()] = true;
            self.limits.forget(port.id);
        }
        self.gateway.nat.forget_owners(&ids);
        self.host.forget_ports(&ids);
    }

    /// Whoever was behind a port whose VLANs change is somewhere else now.
    fn doubt_moved_ports(&mut self, old: &RuntimeConfig) {
        let has_moved = |port: &&PortConfig| {
            let same = self.place_of(port.id).map(|index| &self.config.ports[index]);
            same.is_ok_and(|same| same.settings.vlans != port.settings.vlans)
        };
        let moved: BTreeSet<PortId> = old.ports.iter().filter(has_moved).map(|port| port.id).collect();
        if !moved.is_empty() {
            self.doubt_stations(&moved);
        }
    }

    /// Whoever comes to these ports next may have an address of those that were there.
    pub(super) fn doubt_stations(&mut self, ports: &BTreeSet<PortId>) {
        let bridges = &self.bridges;
        let is_there = |network: NetworkId, mac| {
            let bridge = bridges.get(network.index());
            // Before the start of time nothing is too old.
            let place = bridge.and_then(|bridge| bridge.fdb().lookup(mac, Vid::UNTAGGED, Millis::ZERO));
            place.is_some_and(|port| ports.contains(&port))
        };
        self.gateway.neighbours.doubt(|hop, mac| is_there(hop.network, mac));
        self.gateway.v6.neighbours.doubt(|hop, mac| is_there(hop.network, mac));
    }

    /// Tells the bridge of the port in this place of the configuration what the port may do.
    pub(super) fn set_port(&mut self, index: usize) {
        let port = &self.config.ports[index];
        let tree = self.config.networks[port.network.index()].settings.tree;
        self.host.stp.follow(port, tree, self.links[port.id.index()]);
        let state = self.state_of(port);
        let is_apart = self.config.networks[port.network.index()].settings.isolated;
        let guard = self.guard_of(port);
        let bridge = &mut self.bridges[port.network.index()];
        bridge.set_port(port.id, BridgePort::new(state, is_apart, &port.settings));
        bridge.set_guard(port.id, guard);
        self.limits.set(port.id, &port.settings);
    }

    /// What a port may do: nothing without a link, and no more than the watch for loops and the spanning tree allow.
    pub(super) fn state_of(&self, port: &PortConfig) -> PortState {
        match self.links[port.id.index()] {
            false => PortState::Discarding,
            true if self.host.loops.is_closed(port.id) => PortState::Looping,
            true => self.host.stp.state(port.network, port.id),
        }
    }

    fn guard_of(&self, port: &PortConfig) -> Option<PortGuard> {
        let network = &self.config.networks[port.network.index()];
        let has_dhcp = network.interface.as_ref().is_some_and(|interface| interface.settings.dhcp.is_some());
        let PortSettings { guard, static_macs, addresses, .. } = &port.settings;
        (*guard != Guard::NONE).then(|| PortGuard {
            checks: *guard,
            macs: static_macs.clone(),
            addresses: addresses.clone(),
            first_come: !has_dhcp && addresses.is_empty(),
        })
    }

    /// Stations that are always behind one port: those that are so no longer go, new ones come, and all others stay as
    /// they are.
    fn set_stations(&mut self, old: &RuntimeConfig) {
        let (before, after) = (static_stations(old), static_stations(&self.config));
        for (network, mac, vid, _) in before.difference(&after) {
            if let Some(index) = self.config.networks.iter().position(|other| other.name == *network) {
                self.bridges[index].fdb().remove_static(*mac, *vid);
            }
        }
        for (network, mac, vid, port) in after.difference(&before) {
            if let Some(index) = self.config.networks.iter().position(|other| other.name == *network) {
                self.bridges[index].fdb().add_static(*mac, *vid, *port);
            }
        }
    }
}

/// The same of IPv6.
fn keeps_addresses6(network: NetworkId, old: &RuntimeConfig, new: &RuntimeConfig) -> bool {
    fn addresses(network: NetworkId, config: &RuntimeConfig) -> Option<(&str, MacAddr, Ipv6Cidr)> {
        let network = config.networks.get(network.index())?;
        let interface = network.interface.as_ref()?;
        Some((&network.name, interface.mac, interface.settings.ipv6.as_ref()?.address))
    }
    let before = addresses(network, old);
    before.is_some() && before == addresses(network, new)
}

/// Networks, stations in their VLANs, and the ports they are always behind.
fn static_stations(config: &RuntimeConfig) -> BTreeSet<(&str, MacAddr, Vid, PortId)> {
    let of_port = |port: &PortConfig| {
        let (network, id) = (config.networks[port.network.index()].name.as_str(), port.id);
        let PortSettings { static_macs, vlans, .. } = &port.settings;
        let vids = if static_macs.is_empty() { Vec::new() } else { vlans.of_stations() };
        let stations = |vid| static_macs.clone().into_iter().map(move |mac| (network, mac, vid, id));
        vids.into_iter().flat_map(stations).collect::<Vec<_>>()
    };
    config.ports.iter().flat_map(of_port).collect()
}

/// Whether the switch has the same addresses on a network as before.
fn keeps_addresses(network: NetworkId, old: &RuntimeConfig, new: &RuntimeConfig) -> bool {
    fn addresses(network: NetworkId, config: &RuntimeConfig) -> Option<(&str, MacAddr, Ipv4Cidr)> {
        let network = config.networks.get(network.index())?;
        let interface = network.interface.as_ref()?;
        Some((&network.name, interface.mac, interface.address))
    }
    let before = addresses(network, old);
    before.is_some() && before == addresses(network, new)
}

/// Where the networks are, by their names.
fn places(config: &RuntimeConfig) -> BTreeMap<String, usize> {
    config.networks.iter().enumerate().map(|(place, network)| (network.name.clone(), place)).collect()
}

/// The `nth` bridge ever made.
fn new_bridge(table: Fdb, seed: [u64; 2], nth: u64) -> Bridge {
    let mut bridge = Bridge::new(table);
    bridge.set_probe(host::probe_source(seed, nth));
    bridge.ask_for(bridge.probe().1);
    bridge
}
