//! What the worker and the devices are given, and what changes from one configuration to the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use engine::{BalanceConfig, NetworkConfig, NetworkSettings, PortConfig, PortVlans, Reach, RuntimeConfig};
use nat_engine::{Balance, Condition, Match, NatRule, PortList, Target};
use packet::{Ipv4Cidr, NetworkId, PortId, Protocol};
use tapio::PortSpec;

use super::checked::{Balanced, Config, Mode, Network, Port, Uplink, UplinkPlace};
use super::lease_file::LeaseFile;
use super::origin::{Numbers, Origin};
use super::poll::PollMode;
use super::publish::Publish;
use super::settings::Settings;
use super::shared::{SharedUplink, host_placeholder};
use crate::rules::{self, Interfaces};

/// A configuration with numbers for names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// What the worker runs. A network without a name is a gap that a removed one left.
    pub runtime: RuntimeConfig,
    /// What the ports are made of, in ascending order of the identifiers.
    pub devices: Vec<(PortId, PortSpec)>,
    /// Networks of mode bridge, and the port of each that is its uplink.
    pub bridged: Vec<(NetworkId, PortId)>,
    /// Uplinks whose address is the host's, too: see [`Plan::follow_hosts`].
    pub shared: Vec<SharedUplink>,
    /// Whether the switch waits for frames or looks for them.
    pub poll: PollMode,
    /// Where connections are kept from one process to the next.
    pub state: Option<PathBuf>,
    /// What the file says, and what was changed since, in its own words.
    pub settings: Settings,
    /// Where leases are.
    pub leases: LeaseFile,
    /// How it came about.
    pub origin: Origin,
}

/// What has to be done with a port's device on the way from one plan to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Close it.
    Close(PortId),
    /// Open it.
    Open(PortId, PortSpec),
    /// It stays, with other settings.
    Reconfigure(PortId, PortSpec),
}

impl Plan {
    /// The plan for `config`. Networks and ports that `previous` had keep their numbers.
    pub fn new(config: &Config, previous: Option<&Self>) -> Self {
        Self::numbered(config, &previous.map(|previous| previous.numbers_for(config)).unwrap_or_default())
    }

    /// The plan for `config`. What is in `numbers` has these.
    pub(super) fn numbered(config: &Config, numbers: &Numbers) -> Self {
        let mut builder = Builder::new(config, numbers);
        config.networks.iter().for_each(|network| builder.network(network));
        config.networks.iter().for_each(|network| builder.publish_rules(network));
        config.networks.iter().for_each(|network| builder.balance(network));
        config.networks.iter().for_each(|network| builder.nat_rules(network));
        config.uplinks.iter().enumerate().for_each(|(nth, uplink)| builder.uplink(nth, uplink));
        builder.finish()
    }

    /// The numbers of its networks and ports.
    fn numbers(&self) -> Numbers {
        let networks = self.runtime.networks.iter().filter(|network| !network.name.is_empty());
        let networks = networks.map(|network| (network.name.clone(), network.id.get())).collect();
        let of_port = |port: &PortConfig| {
            (self.network_name(port.network).to_owned(), port.name.clone(), port.id.get())
        };
        Numbers { networks, ports: self.runtime.ports.iter().map(of_port).collect() }
    }

    /// The same by the names that `config` has: a port that is called otherwise there, or is in another network, keeps the
    /// number that its device has, so nothing is to be done about thousands of them.
    fn numbers_for(&self, config: &Config) -> Numbers {
        let mut numbers = self.numbers();
        let known: BTreeSet<(String, String)> =
            numbers.ports.iter().map(|(network, port, _)| (network.clone(), port.clone())).collect();
        let (mut names, mut new): (BTreeSet<_>, HashMap<_, Vec<(&str, &Port)>>) = Default::default();
        for (network, port) in segments(config).into_iter().flat_map(of_segment) {
            let name = (network.to_owned(), port.name.clone());
            if !known.contains(&name) {
                new.entry(port.device.device()).or_default().push((network, port));
            }
            names.insert(name);
        }
        for (network, name, id) in &mut numbers.ports {
            let Some(spec) = PortId::new(*id).and_then(|id| self.spec(id)) else { continue };
            if !names.contains(&(network.clone(), name.clone()))
                && let Some(heirs) = new.get_mut(&spec.device())
                && let Some(nth) = heirs.iter().position(|(_, port)| port.device.same_device(spec))
            {
                let (new_network, port) = heirs.swap_remove(nth);
                (*network, *name) = (new_network.to_owned(), port.name.clone());
            }
        }
        numbers
    }

    /// What to do to come from `old` to `new`: first what frees devices, last what takes them.
    /// A start is the way from the empty plan.
    pub fn diff(old: &Self, new: &Self) -> Vec<Action> {
        let before: BTreeMap<PortId, &PortSpec> = old.devices.iter().map(|(id, spec)| (*id, spec)).collect();
        let after: BTreeMap<PortId, &PortSpec> = new.devices.iter().map(|(id, spec)| (*id, spec)).collect();
        let stays =
            |id: &PortId| matches!((before.get(id), after.get(id)), (Some(a), Some(b)) if a.same_device(b));
        let (mut reconfigure, mut open) = (Vec::new(), Vec::new());
        let mut actions: Vec<Action> =
            before.keys().filter(|id| !stays(id)).map(|id| Action::Close(*id)).collect();
        for (&id, &spec) in &after {
            if !stays(&id) {
                open.push(Action::Open(id, spec.clone()));
            } else if before.get(&id) != Some(&spec) {
                reconfigure.push(Action::Reconfigure(id, spec.clone()));
            }
        }
        actions.append(&mut reconfigure);
        actions.append(&mut open);
        actions
    }

    /// What the port is made of; `None` if there is none.
    pub fn spec(&self, id: PortId) -> Option<&PortSpec> {
        let index = self.devices.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.devices[index].1)
    }

    /// What the rules of this plan may name.
    pub fn interfaces(&self) -> Interfaces {
        let named = self.runtime.networks.iter().filter(|network| !network.name.is_empty());
        let (uplinks, networks): (Vec<&NetworkConfig>, Vec<&NetworkConfig>) =
            named.partition(|network| matches!(network.reach, Reach::Uplink(_)));
        let device = |network: &NetworkConfig| {
            let port = self.runtime.ports.iter().find(|port| port.network == network.id)?;
            self.spec(port.id).map(|spec| spec.device().into_owned())
        };
        let uplinks: Vec<(&str, String)> = uplinks
            .iter()
            .map(|network| (network.name.as_str(), device(network).unwrap_or_default()))
            .collect();
        Interfaces::new(
            networks.iter().map(|network| network.name.as_str()),
            uplinks.iter().map(|(name, device)| (*name, device.as_str())),
        )
    }

    /// The number of a network or uplink.
    pub fn network_id(&self, name: &str) -> Option<NetworkId> {
        let mut networks = self.runtime.networks.iter();
        networks.find(|network| network.name == name && !name.is_empty()).map(|network| network.id)
    }

    /// The name of a network or uplink; empty if there is none.
    pub fn network_name(&self, id: NetworkId) -> &str {
        self.runtime.networks.get(id.index()).map_or("", |network| &network.name)
    }

    /// The name of a port; empty if there is none.
    pub fn port_name(&self, id: PortId) -> &str {
        self.port(id).map_or("", |port| &port.name)
    }

    /// What messages call a port: `NETWORK/PORT`, or the uplink that it is.
    pub fn place_of(&self, id: PortId) -> String {
        let (name, port) = (self.port_name(id), self.port(id));
        let network = port.and_then(|port| self.runtime.networks.get(port.network.index()));
        match network {
            Some(network) if !matches!(network.reach, Reach::Uplink(_)) => format!("{}/{name}", network.name),
            _ => name.to_owned(),
        }
    }

    /// The MTU of a port; 0 if there is none.
    pub fn port_mtu(&self, id: PortId) -> u16 {
        self.port(id).map_or(0, |port| port.settings.mtu)
    }

    /// The VLANs of a port.
    pub fn port_vlans(&self, id: PortId) -> &PortVlans {
        self.port(id).map_or(&PortVlans::All, |port| &port.settings.vlans)
    }

    /// The mode of a network, as it is written in the file; of an uplink `uplink`.
    pub fn mode_name(&self, network: &NetworkConfig) -> &'static str {
        let is_bridged = self.bridged.iter().any(|(id, _)| *id == network.id);
        match network.reach {
            Reach::Uplink(_) => "uplink",
            Reach::Translated(_) if network.settings.isolated => "nat-isolated",
            Reach::Translated(_) => "nat",
            Reach::Routed(_) => "route",
            Reach::Closed if network.interface.is_some() => "host-only",
            Reach::Closed if is_bridged => "bridge",
            Reach::Closed => "internal",
        }
    }

    pub(super) fn port(&self, id: PortId) -> Option<&PortConfig> {
        let ports = &self.runtime.ports;
        ports.binary_search_by_key(&id, |port| port.id).ok().map(|index| &ports[index])
    }
}

struct Builder<'a> {
    config: &'a Config,
    network_ids: BTreeMap<&'a str, u16>,
    port_ids: BTreeMap<(&'a str, &'a str), u16>,
    plan: Plan,
}

impl<'a> Builder<'a> {
    fn new(config: &'a Config, previous: &'a Numbers) -> Self {
        let segments = segments(config);
        let old_networks = previous.networks.iter().map(|(name, id)| (name.as_str(), *id));
        let old_ports = previous.ports.iter();
        let old_ports = old_ports.map(|(network, port, id)| ((network.as_str(), port.as_str()), *id));
        let mut plan = Plan::default();
        plan.runtime.timeouts = config.timeouts;
        plan.runtime.flow_limit = config.flow_limit;
        plan.runtime.nat = config.nat;
        plan.poll = config.poll;
        plan.state.clone_from(&config.state);
        plan.settings = config.settings.clone();
        plan.leases = config.leases.clone();
        Self {
            config,
            network_ids: number(segments.iter().map(|(name, _)| *name), old_networks),
            port_ids: number(
                segments
                    .iter()
                    .flat_map(|(name, ports)| ports.iter().map(|port| (*name, port.name.as_str()))),
                old_ports,
            ),
            plan,
        }
    }

    fn network(&mut self, network: &Network) {
        let uplink_id = |uplink: usize| self.network_id(&self.config.uplinks[uplink].port.name);
        let reach = match network.mode {
            Mode::Internal | Mode::HostOnly | Mode::Bridge { .. } => Reach::Closed,
            Mode::Nat { uplink, .. } => Reach::Translated(uplink_id(uplink)),
            Mode::Route { uplink } => Reach::Routed(uplink.map(uplink_id)),
        };
        self.plan.runtime.networks.push(NetworkConfig {
            id: self.network_id(&network.name),
            name: network.name.clone(),
            reach,
            interface: network.interface.clone(),
            settings: network.settings.clone(),
        });
        network.ports.iter().for_each(|port| self.port(&network.name, port));
        if let Mode::Bridge { uplink } = network.mode {
            let uplink = &self.config.uplinks[uplink].port;
            self.port(&network.name, uplink);
            let place = (self.network_id(&network.name), self.port_id(&network.name, &uplink.name));
            self.plan.bridged.push(place);
        }
    }

    fn uplink(&mut self, nth: usize, uplink: &Uplink) {
        let interface = match &uplink.place {
            // It is a port of the network that bridges it.
            UplinkPlace::Bridged => return,
            UplinkPlace::Own(interface) => Some(interface.as_ref().clone()),
            UplinkPlace::Shared(ports) => {
                let network = self.network_id(&uplink.port.name);
                let port = self.port_id(&uplink.port.name, &uplink.port.name);
                let placeholder = host_placeholder(nth);
                self.plan.shared.push(SharedUplink { network, port, ports: *ports, host: None, placeholder });
                None
            }
        };
        self.plan.runtime.networks.push(NetworkConfig {
            id: self.network_id(&uplink.port.name),
            name: uplink.port.name.clone(),
            reach: Reach::Uplink(uplink.gateway),
            interface,
            settings: NetworkSettings {
                fdb_capacity: uplink.port.settings.learn_limit.clamp(MIN_FDB_CAPACITY, UPLINK_FDB_CAPACITY),
                ..NetworkSettings::default()
            },
        });
        self.port(&uplink.port.name, &uplink.port);
    }

    fn port(&mut self, network: &str, port: &Port) {
        let id = self.port_id(network, &port.name);
        self.plan.devices.push((id, port.device.clone()));
        self.plan.runtime.ports.push(port.runtime(id, self.network_id(network)));
    }

    /// What the file's `publish` says goes before any rule.
    fn publish_rules(&mut self, network: &Network) {
        let Mode::Nat { uplink, .. } = network.mode else { return };
        let own = match &self.config.uplinks[uplink].place {
            UplinkPlace::Bridged => return,
            UplinkPlace::Own(interface) => interface.address.address(),
            UplinkPlace::Shared(_) => host_placeholder(uplink),
        };
        let from_outside = Condition::is(self.network_id(&self.config.uplinks[uplink].port.name));
        let rules = network.publish.iter().flat_map(|publish| {
            let address = publish.address.unwrap_or(own);
            let rule = publish_rule(address, publish);
            // A rule about what comes from the uplink has the switch answer for the address there.
            let theirs = (address != own).then(|| {
                let mut rule = rule.clone();
                rule.matches.input = Some(from_outside);
                rule
            });
            theirs.into_iter().chain([rule])
        });
        self.plan.runtime.rules.prerouting.extend(rules);
    }

    /// What the sections `balance` say goes behind what is published.
    fn balance(&mut self, network: &Network) {
        let id = self.network_id(&network.name);
        for section in &network.balances {
            let Balanced { name, protocol, listen, servers, backups, check } = section.clone();
            let balance = Balance { servers, backups };
            let mut rule = inward_rule(
                *listen.ip(),
                PortList::port(listen.port()),
                protocol,
                Target::Balance(balance.clone()),
            );
            rule.matches.comment = Some(name.clone());
            let runtime = &mut self.plan.runtime;
            runtime.rules.prerouting.push(rule);
            runtime.balances.push(BalanceConfig { name, network: id, protocol, balance, check });
        }
    }

    fn nat_rules(&mut self, network: &Network) {
        let (Mode::Nat { uplink, .. }, Some(interface)) = (network.mode, &network.interface) else { return };
        let Some(lines) = &network.rules else {
            let output = self.network_id(&self.config.uplinks[uplink].port.name);
            self.plan.runtime.rules.postrouting.extend(masquerade_rules(interface.address, output));
            return;
        };
        for (chain, rule) in lines {
            let id = |name: &str| self.network_ids.get(name).copied().map(NetworkId::new);
            let rule = rule.bind(id).expect("the names of a checked rule exist");
            rules::of_chain(&mut self.plan.runtime.rules, *chain).push(rule);
        }
    }

    /// Numbers are ascending, and networks have no gaps.
    fn finish(self) -> Plan {
        let mut plan = self.plan;
        plan.devices.sort_by_key(|(id, _)| *id);
        plan.runtime.ports.sort_by_key(|port| port.id);
        let mut networks = plan.runtime.networks;
        networks.sort_by_key(|network| network.id);
        plan.runtime.networks = Vec::with_capacity(networks.len());
        for network in networks {
            while plan.runtime.networks.len() < network.id.index() {
                plan.runtime.networks.push(gap(plan.runtime.networks.len() as u16));
            }
            plan.runtime.networks.push(network);
        }
        plan.origin = Origin::new(Arc::clone(&self.config.source), plan.numbers());
        plan
    }

    fn network_id(&self, name: &str) -> NetworkId {
        NetworkId::new(self.network_ids[name])
    }

    fn port_id(&self, network: &str, port: &str) -> PortId {
        PortId::new(self.port_ids[&(network, port)]).expect("there are no more ports than identifiers")
    }
}

/// Every segment with its ports: networks, and the uplinks that no network bridges.
fn segments(config: &Config) -> Vec<(&str, Vec<&Port>)> {
    let networks = config.networks.iter().map(|network| {
        let bridged = match network.mode {
            Mode::Bridge { uplink } => Some(&config.uplinks[uplink].port),
            _ => None,
        };
        (network.name.as_str(), network.ports.iter().chain(bridged).collect())
    });
    let uplinks = config.uplinks.iter().filter(|uplink| uplink.place != UplinkPlace::Bridged);
    networks.chain(uplinks.map(|uplink| (uplink.port.name.as_str(), vec![&uplink.port]))).collect()
}

fn of_segment<'a>((name, ports): (&'a str, Vec<&'a Port>)) -> impl Iterator<Item = (&'a str, &'a Port)> {
    ports.into_iter().map(move |port| (name, port))
}

/// A number for each of `names`: the one it had, or else the lowest that nobody had, or has now that all are taken.
fn number<K: Ord + Copy>(
    names: impl Iterator<Item = K>,
    previous: impl Iterator<Item = (K, u16)>,
) -> BTreeMap<K, u16> {
    let previous: BTreeMap<K, u16> = previous.collect();
    let had: BTreeSet<u16> = previous.values().copied().collect();
    let (kept, new): (Vec<K>, Vec<K>) = names.partition(|name| previous.contains_key(name));
    let mut numbers: BTreeMap<K, u16> = kept.iter().map(|name| (*name, previous[name])).collect();
    let taken: BTreeSet<u16> = numbers.values().copied().collect();
    let fresh = (0..PortId::LIMIT as u16).filter(|id| !had.contains(id));
    let freed = had.difference(&taken).copied();
    numbers.extend(new.into_iter().zip(fresh.chain(freed)));
    numbers
}

/// Stands for a network that is gone: no port is in it.
fn gap(id: u16) -> NetworkConfig {
    NetworkConfig {
        id: NetworkId::new(id),
        name: String::new(),
        reach: Reach::Closed,
        interface: None,
        settings: NetworkSettings { fdb_capacity: MIN_FDB_CAPACITY, ..NetworkSettings::default() },
    }
}

/// What comes to the uplink's port goes to the inside port, wherever it came from.
fn publish_rule(outside: Ipv4Addr, publish: &Publish) -> NatRule {
    let (address, ports) = publish.inside;
    let (first, last) = publish.outside;
    let base = (first != last && ports.0 != first).then_some(first);
    let target = Target::Dnat { addresses: address.into(), ports: Some(ports), base };
    inward_rule(outside, publish.outside.into(), publish.protocol, target)
}

fn inward_rule(outside: Ipv4Addr, ports: PortList, protocol: Protocol, target: Target) -> NatRule {
    NatRule {
        matches: Match {
            destination: host(outside).map(Condition::is),
            protocol: Some(Condition::is(protocol)),
            destination_ports: Some(Condition::is(ports)),
            ..Match::default()
        },
        target,
    }
}

/// What libvirt sets up for a network: the subnet is masqueraded, but towards neither itself nor link-local groups.
fn masquerade_rules(subnet: Ipv4Cidr, output: NetworkId) -> [NatRule; 3] {
    let rule = |destination: Option<Condition<Ipv4Cidr>>, target| NatRule {
        matches: Match {
            source: Ipv4Cidr::new(subnet.network(), subnet.prefix_len()).map(Condition::is),
            output: Some(Condition::is(output)),
            destination,
            ..Match::default()
        },
        target,
    };
    let inside = Ipv4Cidr::new(subnet.network(), subnet.prefix_len());
    [
        rule(Ipv4Cidr::new(Ipv4Addr::new(224, 0, 0, 0), 24).map(Condition::is), Target::Accept),
        rule(host(Ipv4Addr::BROADCAST).map(Condition::is), Target::Accept),
        rule(inside.map(Condition::not), Target::Masquerade { ports: None }),
    ]
}

fn host(address: Ipv4Addr) -> Option<Ipv4Cidr> {
    Ipv4Cidr::new(address, 32)
}

const MIN_FDB_CAPACITY: u32 = 16;
/// All of its stations are behind the one port; what isn't in the table goes there too.
const UPLINK_FDB_CAPACITY: u32 = 8192;
