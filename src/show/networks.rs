//! Networks: mode, addresses, uplink, DHCP range and limits; and the process that has them.

use engine::report::{PoolReport, PortReport, StatsReport};
use engine::{DhcpConfig, InterfaceConfig, NetworkConfig, Reach};
use nat_engine::NatSettings;
use serde::{Deserialize, Serialize};

use super::stats::Process;
use super::table::time;
use crate::config::Plan;
use crate::terminal::{count, printable};

/// All networks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Networks {
    /// The process.
    #[serde(flatten)]
    pub process: Process,
    /// Connections of all networks.
    pub flows: u64,
    /// Connections at most.
    pub flow_limit: u64,
    /// Connections that a host may have; null: as many as there are.
    pub host_flow_limit: Option<u32>,
    /// Outside ports that a host may have.
    pub host_port_limit: Option<u32>,
    /// Outside ports that a host may get in a second.
    pub host_mapping_rate: Option<u32>,
    /// The networks; uplinks are not among them.
    pub entries: Vec<Network>,
}

/// A network.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its mode, as in the configuration.
    pub mode: String,
    /// The switch's own address, with the prefix length; null: it has none.
    pub address: Option<String>,
    /// The same of IPv6.
    #[serde(default)]
    pub address6: Option<String>,
    /// The switch's own MAC address.
    pub mac: Option<String>,
    /// The largest IP packet that the switch itself sends or routes there.
    pub mtu: Option<u16>,
    /// The uplink that it uses.
    pub uplink: Option<String>,
    /// The range of the DHCP server; null: there is none.
    pub dhcp: Option<Range>,
    /// Whether guests may open ports of the uplink.
    pub pcp: bool,
    /// Ports.
    pub ports: u64,
    /// Ports whose link is up.
    pub ports_up: u64,
    /// MAC addresses learned.
    pub learned: u64,
    /// MAC addresses learned at most.
    pub fdb_capacity: u32,
    /// Milliseconds after which a silent MAC address is forgotten.
    pub ageing_ms: u64,
}

/// The range of a DHCP server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Range {
    /// The first address.
    pub first: String,
    /// The last address.
    pub last: String,
    /// Addresses that anybody may get.
    pub free: u32,
    /// Addresses that are leased.
    pub leased: u32,
    /// Milliseconds that a lease is good for.
    pub lease_time_ms: u64,
}

/// A block of lines for each network.
pub(super) fn text(networks: &Networks) -> String {
    let Networks { process, flows, flow_limit, entries, .. } = networks;
    let mut text =
        format!("{}\n{} of {flow_limit}{}\n", process.text(), count(*flows, "flow"), host_limits(networks));
    for network in entries {
        text += &format!("\n{}\n", network.title());
        if let Some(address) = &network.address {
            let mac = network.mac.as_deref().unwrap_or("-");
            let mtu = network.mtu.unwrap_or_default();
            text += &format!("  address   {address}, {mac}, MTU {mtu}\n");
        }
        if let Some(address) = &network.address6 {
            text += &format!("  IPv6      {address}\n");
        }
        if let Some(Range { first, last, free, leased, lease_time_ms }) = &network.dhcp {
            let lease_time = time(*lease_time_ms);
            text += &format!("  DHCP      {first}-{last}, {free} free, {leased} leased, for {lease_time}\n");
        }
        if network.pcp {
            text += "  PCP       guests may open ports of the uplink\n";
        }
        let Network { ports, ports_up, learned, fdb_capacity, ageing_ms, .. } = network;
        text += &format!("  ports     {ports}, {ports_up} up\n");
        text += &format!("  stations  {learned} of {fdb_capacity}, forgotten after {}\n", time(*ageing_ms));
    }
    text
}

impl Network {
    /// `lan: nat by wan`.
    fn title(&self) -> String {
        let by = self.uplink.as_ref().map(|uplink| format!(" by uplink {uplink}")).unwrap_or_default();
        printable(&format!("{}: {}{by}", self.name, self.mode))
    }
}

fn host_limits(networks: &Networks) -> String {
    let limits = [
        (networks.host_flow_limit, "flow"),
        (networks.host_port_limit, "outside port"),
        (networks.host_mapping_rate, "new port"),
    ];
    let limits = limits.into_iter().filter_map(|(limit, what)| Some(count(limit?.into(), what)));
    let limits: Vec<String> = limits.collect();
    if limits.is_empty() { String::new() } else { format!("; a host at most {}", limits.join(", ")) }
}

/// To `show networks`.
pub fn answer(
    process: Process,
    ports: &[PortReport],
    pools: impl Iterator<Item = PoolReport>,
    stats: &StatsReport,
    plan: &Plan,
) -> Networks {
    let NatSettings { host_flow_limit, host_port_limit, host_mapping_rate, .. } = plan.runtime.nat;
    Networks {
        process,
        flows: stats.flows,
        flow_limit: plan.runtime.flow_limit.into(),
        host_flow_limit,
        host_port_limit,
        host_mapping_rate,
        entries: networks(ports, pools, plan),
    }
}

pub(super) fn networks(
    ports: &[PortReport],
    pools: impl Iterator<Item = PoolReport>,
    plan: &Plan,
) -> Vec<Network> {
    let pools: Vec<PoolReport> = pools.collect();
    let shown =
        |network: &&NetworkConfig| !network.name.is_empty() && !matches!(network.reach, Reach::Uplink(_));
    let networks = plan.runtime.networks.iter().filter(shown);
    networks.map(|network| describe(network, ports, &pools, plan)).collect()
}

fn describe(config: &NetworkConfig, ports: &[PortReport], pools: &[PoolReport], plan: &Plan) -> Network {
    let of_network = ports.iter().filter(|port| port.network == config.id);
    let interface = config.interface.as_ref();
    let bridged = plan.bridged.iter().find(|(network, _)| *network == config.id);
    let uplink = config.reach.uplink().map(|uplink| plan.network_name(uplink));
    let pool = pools.iter().find(|pool| pool.network == config.id);
    Network {
        name: config.name.clone(),
        mode: plan.mode_name(config).to_owned(),
        address: interface.map(|interface| interface.address.to_string()),
        address6: interface.and_then(address6),
        mac: interface.map(|interface| interface.mac.to_string()),
        mtu: interface.map(|interface| interface.settings.mtu),
        uplink: uplink.or_else(|| Some(plan.port_name(bridged?.1))).map(str::to_owned),
        dhcp: interface.and_then(|interface| interface.settings.dhcp.as_ref()).zip(pool).map(range),
        pcp: interface.is_some_and(|interface| interface.settings.pcp),
        ports: of_network.clone().count() as u64,
        ports_up: of_network.clone().filter(|port| port.link).count() as u64,
        learned: of_network.map(|port| u64::from(port.learned)).sum(),
        fdb_capacity: config.settings.fdb_capacity,
        ageing_ms: config.settings.ageing.get(),
    }
}

fn range((config, pool): (&DhcpConfig, &PoolReport)) -> Range {
    Range {
        first: config.first.to_string(),
        last: config.last.to_string(),
        free: pool.free,
        leased: pool.leased,
        lease_time_ms: config.lease_time.get(),
    }
}

/// The switch's own IPv6 address, with the prefix length.
pub(super) fn address6(interface: &InterfaceConfig) -> Option<String> {
    interface.settings.ipv6.as_ref().map(|ipv6| ipv6.address.to_string())
}
