//! Uplinks, and who uses them.

use engine::report::PortReport;
use engine::{InterfaceConfig, NetworkConfig, Reach};
use packet::NetworkId;
use serde::{Deserialize, Serialize};

use super::networks::address6;
use super::ports::{self, Port};
use super::table::{Column, Style, left, right, table};
use crate::config::Plan;

/// An uplink.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Uplink {
    /// Its name.
    pub name: String,
    /// What it is made of: a type of port.
    #[serde(rename = "type")]
    pub kind: String,
    /// The network device, or the path of the socket.
    pub device: String,
    /// The network namespace of the device; null: the switch's own.
    pub netns: Option<String>,
    /// Whether frames can pass.
    pub link: bool,
    /// The switch's own address with its prefix length; null: a network bridges it.
    pub address: Option<String>,
    /// The same of IPv6; null: there is none.
    #[serde(default)]
    pub address6: Option<String>,
    /// The switch's own MAC address.
    pub mac: Option<String>,
    /// The largest IP packet.
    pub mtu: u16,
    /// The next hop for everything that is on no network.
    pub gateway: Option<String>,
    /// The same of IPv6.
    #[serde(default)]
    pub gateway6: Option<String>,
    /// The networks that use it.
    pub networks: Vec<String>,
}

const COLUMNS: &[Column<Uplink>] = &[
    left("uplink", |uplink, _| uplink.name.clone()),
    left("type", |uplink: &Uplink, _| uplink.kind.clone()).rank(2),
    left("device", |uplink: &Uplink, _| uplink.device.clone()).rank(1),
    left("netns", |uplink: &Uplink, _| or_dash(&uplink.netns)).rank(5),
    left("link", |uplink, _| if uplink.link { "up" } else { "down" }.to_owned()),
    left("address", |uplink, _| uplink.address.clone().unwrap_or_else(|| "(bridged)".to_owned())),
    left("mac", |uplink: &Uplink, _| or_dash(&uplink.mac)).rank(4),
    right("mtu", |uplink: &Uplink, _| uplink.mtu.to_string()).rank(3),
    left("gateway", |uplink, _| or_dash(&uplink.gateway)),
    left("address6", |uplink: &Uplink, _| or_dash(&uplink.address6)).rank(6),
    left("gateway6", |uplink: &Uplink, _| or_dash(&uplink.gateway6)).rank(7),
    left("used by", |uplink: &Uplink, _| uplink.networks.join(", ")).wrapped(),
];

fn or_dash(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(|| "-".to_owned())
}

/// A table.
pub(super) fn text(rows: &[Uplink], style: &Style) -> String {
    table(COLUMNS, rows, style)
}

/// To `show uplinks`.
pub fn answer(reports: &[PortReport], plan: &Plan) -> Vec<Uplink> {
    let uplink = |report: &PortReport| {
        let bridged_by = plan.bridged.iter().find(|(_, port)| *port == report.id);
        let network = plan.runtime.networks.get(report.network.index())?;
        match (network.reach, bridged_by) {
            (Reach::Uplink(gateway), _) => {
                let of_uplink = |other: &&NetworkConfig| other.reach.uplink() == Some(network.id);
                let users = plan.runtime.networks.iter().filter(of_uplink).map(|user| user.id);
                Some(Uplink {
                    gateway: gateway.map(|gateway| gateway.to_string()),
                    ..describe(report, network, users, plan)
                })
            }
            (_, Some((user, _))) => {
                let bridged = describe(report, network, std::iter::once(*user), plan);
                Some(Uplink { address: None, mac: None, ..bridged })
            }
            _ => None,
        }
    };
    reports.iter().filter_map(uplink).collect()
}

fn describe(
    report: &PortReport,
    network: &NetworkConfig,
    users: impl Iterator<Item = NetworkId>,
    plan: &Plan,
) -> Uplink {
    let Port { name, kind, device, netns, link, mtu, .. } = ports::port(report, plan);
    Uplink {
        name,
        kind,
        device,
        netns,
        link,
        address: network.interface.as_ref().map(|interface| interface.address.to_string()),
        address6: network.interface.as_ref().and_then(address6),
        mac: network.interface.as_ref().map(|interface| interface.mac.to_string()),
        mtu: network.interface.as_ref().map_or(mtu, |interface| interface.settings.mtu),
        gateway: None,
        gateway6: network.interface.as_ref().and_then(gateway6),
        networks: users.map(|user| plan.network_name(user).to_owned()).collect(),
    }
}

fn gateway6(interface: &InterfaceConfig) -> Option<String> {
    interface.settings.ipv6.as_ref()?.gateway.map(|gateway| gateway.to_string())
}
