//! The configuration: from the text of a file to what the worker and the devices are given.
//!
//! ```text
//! text ──table──▶ file (typed, each value knows its place) ──check──▶ Config ──Plan::new──▶ Plan ──diff──▶ Actions
//! ```
//!
//! All mistakes of a file are collected and shown at once, each with its line, column and what to write instead.

mod balance;
mod change;
mod check;
mod device;
mod file;
mod host;
mod lease_file;
mod mistake;
mod nat_settings;
mod note;
mod place;
mod plan;
mod poll;
mod publish;
mod settings;
mod shared;
mod slip;
mod table;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use engine::report::Chain;
use engine::{CheckConfig, Guard, InterfaceConfig, PortConfig};
use nat_engine::{NatSettings, PortRange, Timeouts};
use packet::{MacAddr, Millis, NetworkId, PortId, Protocol};
use tapio::{HostUse, Netns, PortSpec};

use self::publish::Publish;
use crate::rules::Rule;

pub use change::ChangeError;
pub use lease_file::LeaseFile;
pub use mistake::{ConfigError, Mistake, Mistakes};
pub use plan::{Action, Plan};
pub use poll::PollMode;
pub use settings::{Change, Kind, Outcome, Settings, Value};
pub use shared::{HostAddress, SharedUplink};
pub(crate) use table::suggestion;
pub(crate) use text::read as read_text;

/// Where `run` looks for the configuration.
pub const DEFAULT_PATH: &str = "/etc/tapswitch/tapswitch.toml";

/// A configuration without mistakes; what it refers to exists in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    networks: Vec<Network>,
    uplinks: Vec<Uplink>,
    timeouts: Timeouts,
    flow_limit: u32,
    state: Option<PathBuf>,
    leases: LeaseFile,
    nat: NatSettings,
    poll: PollMode,
    settings: Settings,
}

impl Config {
    /// Reads and checks the file at `path`. The name servers to offer where the file names none are the host's.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = text::read_file(path)?;
        Ok(Self::parse_here(&path.display().to_string(), &text, &host::name_servers())?)
    }

    /// Checks `text`. Messages call it `name`. `name_servers` are offered by DHCP on networks that name none.
    pub fn parse(name: &str, text: &str, name_servers: &[Ipv4Addr]) -> Result<Self, Mistakes> {
        Self::parse_on(name, text, name_servers, &|_, _| None)
    }

    /// As [`parse`](Self::parse), and it must fit to what the host has on its devices.
    fn parse_here(name: &str, text: &str, name_servers: &[Ipv4Addr]) -> Result<Self, Mistakes> {
        // What can't be looked at is said when it is to be opened.
        let look = |device: &str, netns: Option<&Netns>| HostUse::of(device, netns).ok().flatten();
        Self::parse_on(name, text, name_servers, &look)
    }

    fn parse_on(
        name: &str,
        text: &str,
        name_servers: &[Ipv4Addr],
        devices: check::Devices<'_>,
    ) -> Result<Self, Mistakes> {
        let wrong = |mistakes| Mistakes::new(name, text, mistakes);
        let file = file::read(text).map_err(wrong)?;
        let mut config = check::check(&file, text, name_servers, devices).map_err(wrong)?;
        config.settings = Settings::read(text);
        for network in &config.networks {
            if let Some(dhcp) = network.interface.as_ref().and_then(|interface| interface.dhcp.as_ref()) {
                let servers = dhcp.dns.iter().map(ToString::to_string).collect();
                config.settings.set_name_servers(&network.name, servers);
            }
        }
        Ok(config)
    }

    /// The port `name` of `network`.
    pub fn port(&self, network: &str, name: &str) -> Option<PortView<'_>> {
        let network = self.networks.iter().find(|candidate| candidate.name == network)?;
        let port = network.ports.iter().find(|port| port.name == name)?;
        let mac = port.static_macs.first().copied();
        Some(PortView { name: &port.name, spec: &port.device, mtu: port.mtu, mac })
    }

    /// Network and name of every port, uplinks not counted.
    pub fn port_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.networks
            .iter()
            .flat_map(|network| network.ports.iter().map(|port| (network.name.as_str(), port.name.as_str())))
    }

    /// How many networks there are, uplinks not counted.
    pub fn network_count(&self) -> usize {
        self.networks.len()
    }

    /// How many ports there are, the uplinks' included.
    pub fn port_count(&self) -> usize {
        self.networks.iter().map(|network| network.ports.len()).sum::<usize>() + self.uplinks.len()
    }
}

/// A port, as whoever is to be connected to it needs to know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortView<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is made of.
    pub spec: &'a PortSpec,
    /// The largest layer-3 packet it takes, in bytes.
    pub mtu: u16,
    /// The address that is to be behind it, if the file says so.
    pub mac: Option<MacAddr>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Network {
    name: String,
    mode: Mode,
    /// `None` in modes internal and bridge, and only there.
    interface: Option<InterfaceConfig>,
    publish: Vec<Publish>,
    /// `None`: mode nat masquerades.
    rules: Option<Vec<(Chain, Rule)>>,
    ageing: Millis,
    fdb_capacity: u32,
    ports: Vec<Port>,
    balances: Vec<Balanced>,
}

/// Uplinks by their index in [`Config::uplinks`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Internal,
    HostOnly,
    Nat { uplink: usize, isolated: bool },
    Route { uplink: Option<usize> },
    Bridge { uplink: usize },
}

/// Servers that share an outside port.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Balanced {
    name: String,
    protocol: Protocol,
    listen: SocketAddrV4,
    servers: Vec<SocketAddrV4>,
    backups: Vec<SocketAddrV4>,
    check: Option<CheckConfig>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Port {
    name: String,
    device: PortSpec,
    /// Until its device's is known, where the file says none.
    mtu: u16,
    learn_limit: u32,
    static_macs: Vec<MacAddr>,
    /// `None`: as the network's mode has it.
    guard: Option<Guard>,
    /// Those that are given to it, its device's own included.
    addresses: Vec<Ipv4Addr>,
}

impl Port {
    /// The port as the worker has it, with this number in a network.
    fn runtime(&self, id: PortId, network: NetworkId, is_isolated: bool) -> PortConfig {
        PortConfig {
            id,
            name: self.name.clone(),
            network,
            mtu: self.mtu,
            learn_limit: self.learn_limit,
            static_macs: self.static_macs.clone(),
            guard: self.guard.unwrap_or(if is_isolated { Guard::ALL } else { Guard::NONE }),
            addresses: self.addresses.clone(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Uplink {
    port: Port,
    gateway: Option<Ipv4Addr>,
    place: UplinkPlace,
}

/// What the switch has on an uplink.
#[derive(Clone, PartialEq, Eq, Debug)]
enum UplinkPlace {
    /// Nothing: a network of mode bridge has it as its port.
    Bridged,
    /// An address of its own.
    Own(InterfaceConfig),
    /// These ports of the host's address.
    Shared(PortRange),
}
