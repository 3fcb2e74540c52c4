//! A configuration without mistakes: what a [`Plan`](super::Plan) is made of.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;

use engine::report::Chain;
use engine::{CheckConfig, InterfaceConfig, NetworkSettings, PortConfig, PortSettings};
use nat_engine::{NatSettings, PortRange, Timeouts};
use packet::{MacAddr, NetworkId, PortId, Protocol};
use tapio::PortSpec;

use super::lease_file::LeaseFile;
use super::origin::Source;
use super::poll::PollMode;
use super::publish::Publish;
use super::settings::Settings;
use crate::rules::Rule;

/// A configuration without mistakes; what it refers to exists in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub(super) networks: Vec<Network>,
    pub(super) uplinks: Vec<Uplink>,
    pub(super) timeouts: Timeouts,
    pub(super) flow_limit: u32,
    pub(super) state: Option<PathBuf>,
    pub(super) leases: LeaseFile,
    pub(super) nat: NatSettings,
    pub(super) poll: PollMode,
    pub(super) settings: Settings,
    pub(super) source: Arc<Source>,
}

impl Config {
    /// The port `name` of `network`.
    pub fn port(&self, network: &str, name: &str) -> Option<PortView<'_>> {
        let network = self.networks.iter().find(|candidate| candidate.name == network)?;
        let port = network.ports.iter().find(|port| port.name == name)?;
        let mac = port.settings.static_macs.first().copied();
        Some(PortView { name: &port.name, spec: &port.device, mtu: port.settings.mtu, mac })
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
pub(super) struct Network {
    pub(super) name: String,
    pub(super) mode: Mode,
    /// `None` in modes internal and bridge, and only there.
    pub(super) interface: Option<InterfaceConfig>,
    pub(super) publish: Vec<Publish>,
    /// `None`: mode nat masquerades.
    pub(super) rules: Option<Vec<(Chain, Rule)>>,
    pub(super) settings: NetworkSettings,
    pub(super) ports: Vec<Port>,
    pub(super) balances: Vec<Balanced>,
}

/// Uplinks by their index in [`Config::uplinks`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Internal,
    HostOnly,
    Nat { uplink: usize, isolated: bool },
    Route { uplink: Option<usize> },
    Bridge { uplink: usize },
}

/// Servers that share an outside port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Balanced {
    pub(super) name: String,
    pub(super) protocol: Protocol,
    pub(super) listen: SocketAddrV4,
    pub(super) servers: Vec<SocketAddrV4>,
    pub(super) backups: Vec<SocketAddrV4>,
    pub(super) check: Option<CheckConfig>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) device: PortSpec,
    /// Its `mtu` holds until the device's is known, where the file says none.
    pub(super) settings: PortSettings,
}

impl Port {
    /// The port as the worker has it, with this number in a network.
    pub(super) fn runtime(&self, id: PortId, network: NetworkId) -> PortConfig {
        PortConfig { id, name: self.name.clone(), network, settings: self.settings.clone() }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Uplink {
    pub(super) port: Port,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) place: UplinkPlace,
}

/// What the switch has on an uplink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum UplinkPlace {
    /// Nothing: a network of mode bridge has it as its port.
    Bridged,
    /// An address of its own.
    Own(Box<InterfaceConfig>),
    /// These ports of the host's address.
    Shared(PortRange),
}
