//! How the values of a file fit together; what does becomes a [`Config`].

mod balance;
mod device;
mod dns;
mod host;
mod interface;
mod ipv6;
mod rules;
mod shared;
mod stp;

use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;

use engine::{Guard, InterfaceConfig, InterfaceSettings, NetworkSettings, PortSettings};
use packet::hash::fnv1a;
use packet::{Ipv4Cidr, MacAddr};
use toml::Spanned;

pub(super) use self::host::Devices;
use self::interface::given_addresses;
use super::checked::{Config, Mode, Network, Port, Uplink, UplinkPlace};
use super::file::{FileConfig, ModeName, NetworkTable, PortTable, UplinkTable};
use super::settings::Settings;
use super::table::{Given, GivenList};
use crate::mistake::{Mistake, suggestion};
use crate::rules::Interfaces;

/// Checks what concerns more than one value of `text`, which `file` was read from. `name_servers` are offered where a
/// network names none, and `devices` tells what the host has on its own.
pub(super) fn check(
    file: &FileConfig,
    text: &str,
    name_servers: &[Ipv4Addr],
    devices: Devices<'_>,
) -> Result<Config, Vec<Mistake>> {
    let interfaces = rules::interfaces(file);
    let mut check = Check { file, text, interfaces, name_servers, devices, mistakes: Vec::new() };
    check.numbers()?;
    let networks = file.networks.iter().filter_map(|table| check.network(table)).collect();
    let uplinks = file.uplinks.iter().filter_map(|table| check.uplink(table)).collect();
    check.shared();
    check.host_devices();
    check.number_of_rules();
    check.balances();
    let Check { mistakes, .. } = check;
    let config = Config {
        networks,
        uplinks,
        timeouts: file.engine.timeouts,
        flow_limit: file.engine.flow_limit,
        state: file.engine.state.clone(),
        leases: file.engine.leases.clone(),
        nat: file.nat,
        poll: file.engine.poll,
        settings: Settings::default(),
        source: Arc::default(),
    };
    // Whatever is missing in `config` left a mistake.
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

struct Check<'a> {
    file: &'a FileConfig,
    text: &'a str,
    /// What rules may name.
    interfaces: Interfaces,
    name_servers: &'a [Ipv4Addr],
    devices: Devices<'a>,
    mistakes: Vec<Mistake>,
}

impl Check<'_> {
    fn wrong(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.mistakes.push(Mistake::new(span, message, help));
    }

    fn network(&mut self, table: &NetworkTable) -> Option<Network> {
        let mode = self.mode(table)?;
        let interface = match mode {
            Mode::Internal | Mode::Bridge { .. } => {
                self.no_interface(table, mode);
                None
            }
            Mode::HostOnly | Mode::Nat { .. } | Mode::Route { .. } => Some(self.interface(table, mode)?),
        };
        self.published(table, mode, interface.as_ref());
        self.port_mapping(table, mode);
        self.given(table, interface.as_ref());
        self.station_addresses(table, interface.as_ref());
        Some(Network {
            name: table.name.get_ref().clone(),
            mode,
            interface,
            publish: table.publish.values(),
            rules: self.rules(table, mode),
            settings: NetworkSettings {
                isolated: is_isolated(mode),
                tree: self.tree(&table.tree),
                ..table.settings.clone()
            },
            ports: table
                .ports
                .iter()
                .filter_map(|port| self.port(port, table.mtu.value().copied(), mode))
                .collect(),
            balances: self.balanced(table, mode),
        })
    }

    fn mode(&mut self, table: &NetworkTable) -> Option<Mode> {
        let name = table.mode.as_ref()?;
        let uplink = match (&table.uplink, name.get_ref()) {
            (Some(uplink), ModeName::Internal | ModeName::HostOnly) => {
                self.wrong(
                    uplink.span(),
                    "a network of this mode has no uplink",
                    "remove the key, or change `mode`",
                );
                return None;
            }
            (None, ModeName::Nat | ModeName::NatIsolated | ModeName::Bridge) => {
                let example = self.file.uplinks.first().map_or("wan", |uplink| uplink.name.get_ref());
                let help = format!("write uplink = \"{example}\" in this network");
                self.wrong(name.span(), "a network of this mode needs an uplink", help);
                return None;
            }
            (Some(uplink), _) => Some(self.uplink_named(uplink)?),
            (None, _) => None,
        };
        Some(match (name.get_ref(), uplink) {
            (ModeName::Nat, Some(uplink)) => Mode::Nat { uplink, isolated: false },
            (ModeName::NatIsolated, Some(uplink)) => Mode::Nat { uplink, isolated: true },
            (ModeName::Bridge, Some(uplink)) => Mode::Bridge { uplink },
            (ModeName::Route, uplink) => Mode::Route { uplink },
            (ModeName::HostOnly, _) => Mode::HostOnly,
            (_, _) => Mode::Internal,
        })
    }

    fn uplink_named(&mut self, name: &Spanned<String>) -> Option<usize> {
        let found = self.file.uplinks.iter().position(|uplink| uplink.name.get_ref() == name.get_ref());
        if found.is_none() {
            let names: Vec<&str> =
                self.file.uplinks.iter().map(|uplink| uplink.name.get_ref().as_str()).collect();
            let help = match names.as_slice() {
                [] => format!("write a section [uplink.{}]", name.get_ref()),
                names => suggestion(name.get_ref(), names),
            };
            self.wrong(name.span(), format!("there is no uplink `{}`", name.get_ref()), help);
        }
        found
    }

    fn port(&mut self, table: &PortTable, networks_mtu: Option<u16>, mode: Mode) -> Option<Port> {
        let mtu = table.mtu.value().copied().or(networks_mtu);
        let set = &table.settings;
        Some(Port {
            name: table.name.get_ref().clone(),
            device: self.device(&table.name, &table.device, mtu, false)?,
            settings: PortSettings {
                mtu: mtu.unwrap_or(set.mtu),
                static_macs: table.static_macs.values(),
                guard: table.guard.value_or(if is_isolated(mode) { Guard::ALL } else { set.guard }),
                // The address of its device included.
                addresses: given_addresses(table).map(|(_, address)| address).collect(),
                vlans: table.vlans.vlans(&mut self.mistakes),
                ..set.clone()
            },
        })
    }

    fn uplink(&mut self, table: &UplinkTable) -> Option<Uplink> {
        let mtu = table.mtu.value().copied();
        let device = self.device(&table.name, &table.device, mtu, table.host_address.is_some());
        let users: Vec<&NetworkTable> =
            self.file.networks.iter().filter(|network| uses(network, table)).collect();
        let name = table.name.get_ref();
        let place = match users.as_slice() {
            [] => {
                let help = format!("write uplink = \"{name}\" in a network, or remove the section");
                self.wrong(table.name.span(), "no network uses this uplink", help);
                return None;
            }
            [only] if is_bridge(only) => {
                self.bridged_uplink(table, only);
                UplinkPlace::Bridged
            }
            users => {
                if let Some(bridge) = users.iter().find(|network| is_bridge(network)) {
                    let place = bridge.uplink.as_ref().map_or(table.name.span(), |uplink| uplink.span());
                    let message = format!("uplink `{name}` is another network's too, so it can't be bridged");
                    self.wrong(place, message, "give the bridge network an uplink of its own");
                    return None;
                }
                match &table.host_address {
                    Some(address) => {
                        self.no_uplink_ipv6(table, "this version shares no IPv6 address with the host");
                        self.shared_uplink(table, address.span())
                    }
                    None => UplinkPlace::Own(self.uplink_interface(table)?.into()),
                }
            }
        };
        let settings = PortSettings {
            mtu: mtu.unwrap_or(table.settings.mtu),
            vlans: table.vlans.vlans(&mut self.mistakes),
            ..table.settings.clone()
        };
        Some(Uplink {
            port: Port { name: name.clone(), device: device?, settings },
            gateway: table.gateway.value().copied(),
            place,
        })
    }

    /// The uplink is a port of `network` and has nothing of its own.
    fn bridged_uplink(&mut self, table: &UplinkTable, network: &NetworkTable) {
        let own =
            [table.address.place(), table.host_address.place(), table.gateway.place(), table.mac.place()];
        for place in own.into_iter().flatten() {
            let message = format!(
                "network `{}` bridges this uplink: the switch has no address on it",
                network.name.get_ref()
            );
            self.wrong(place, message, "remove the key");
        }
        self.no_uplink_ipv6(table, "the switch has no address on an uplink that is bridged");
        if let Some(port) = network.ports.iter().find(|port| port.name.get_ref() == table.name.get_ref()) {
            let message = "the uplink of this bridge network has the same name";
            self.wrong(port.name.span(), message, "write another name for the port");
        }
    }

    fn uplink_interface(&mut self, table: &UplinkTable) -> Option<InterfaceConfig> {
        if let Some(place) = table.host_ports.place() {
            self.wrong(place, "this key needs `address = \"host\"`", "remove the key");
        }
        let Some(address) = &table.address else {
            let help = "write address = \"host\" to share the host's, or the switch's own address on the uplink, for example \
                        address = \"10.180.13.232/24\"";
            self.wrong(table.name.span(), "`address` is missing", help);
            return None;
        };
        let subnet = *address.get_ref();
        if let Some(gateway) = &table.gateway {
            self.neighbour_of(subnet, gateway.span(), *gateway.get_ref(), "the gateway");
        }
        if let Some(peer) = &table.device.peer_address {
            self.neighbour_of(subnet, peer.span(), peer.get_ref().address(), "the other side");
        }
        let mac =
            table.mac.as_ref().map_or_else(|| own_mac(table.name.get_ref(), subnet), |mac| *mac.get_ref());
        let defaults = InterfaceSettings::default();
        let (mtu, ipv6) = (table.mtu.value_or(defaults.mtu), self.uplink_ipv6(table));
        let settings = InterfaceSettings { mtu, ipv6, ..defaults };
        Some(InterfaceConfig { mac, address: subnet, settings })
    }
}

fn uses(network: &NetworkTable, uplink: &UplinkTable) -> bool {
    network.uplink.value().is_some_and(|name| name == uplink.name.get_ref())
}

fn is_bridge(network: &NetworkTable) -> bool {
    network.mode.value().is_some_and(|mode| *mode == ModeName::Bridge)
}

const fn is_isolated(mode: Mode) -> bool {
    matches!(mode, Mode::Nat { isolated: true, .. })
}

/// The switch's own MAC: the same after each start, so that guests needn't ask again, and another one on each network.
fn own_mac(name: &str, address: Ipv4Cidr) -> MacAddr {
    MacAddr::local(fnv1a(name.bytes().chain(address.to_string().into_bytes())))
}
