//! Networks, their ports and the uplinks as a picture.
//!
//! ```text
//! network lan: nat, 192.168.122.1/24
//! ├─ vm1  up    tap vm1
//! ├─ vm2  down  vhost-user /run/tapswitch/vm2.sock
//! ╰─▶ uplink wan
//!
//! uplink wan: 10.180.13.2/24, gateway 10.180.13.1
//! ╰─ wan  up  packet eth0
//! ```

use engine::report::{PoolReport, PortReport};
use serde::{Deserialize, Serialize};

use super::networks::{self, Network};
use super::ports::{self, Port};
use super::table::Style;
use super::uplinks::{self, Uplink};
use crate::config::Plan;
use crate::terminal::printable;

/// All that is connected.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Map {
    /// The networks, as `show networks` has them.
    pub networks: Vec<Network>,
    /// The uplinks, as `show uplinks` has them.
    pub uplinks: Vec<Uplink>,
    /// The ports, as `show ports` has them.
    pub ports: Vec<Port>,
}

/// The picture.
pub(super) fn text(map: &Map, style: &Style) -> String {
    let Map { networks, uplinks, ports } = map;
    let of = |name: &str| ports.iter().filter(|port| port.network == name).collect::<Vec<_>>();
    let network = |network: &Network| {
        let address = network.address.as_ref().map(|address| format!(", {address}")).unwrap_or_default();
        let title = format!("network {}: {}{address}", network.name, network.mode);
        // The uplink of a bridge is one of its ports.
        let arrow = network.uplink.as_ref().filter(|_| network.mode != "bridge");
        block(&title, &of(&network.name), arrow.map(|uplink| format!("▶ uplink {uplink}")), style)
    };
    let uplink = |uplink: &Uplink| {
        let address = uplink.address.as_ref()?;
        let gateway = uplink.gateway.as_ref().map(|gateway| format!(", gateway {gateway}"));
        let title = format!("uplink {}: {address}{}", uplink.name, gateway.unwrap_or_default());
        Some(block(&title, &of(&uplink.name), None, style))
    };
    let blocks: Vec<String> = networks.iter().map(network).chain(uplinks.iter().filter_map(uplink)).collect();
    if blocks.is_empty() { "no networks\n".to_owned() } else { blocks.join("\n") }
}

/// A title, and below it a branch for each port, and one more.
fn block(title: &str, ports: &[&Port], last: Option<String>, style: &Style) -> String {
    let width = ports.iter().map(|port| port.name.chars().count()).max().unwrap_or(0);
    let branch = |port: &&Port| {
        let link = if port.link { "up" } else { "down" };
        let netns = port.netns.as_ref().map(|netns| format!(" in {netns}")).unwrap_or_default();
        format!(" {:<width$}  {link:<4}  {} {}{netns}", port.name, port.kind, port.device)
    };
    let branches: Vec<String> = ports.iter().map(branch).chain(last).collect();
    let mut text = format!("{}\n", printable(title));
    for (index, branch) in branches.iter().enumerate() {
        let corner = if index + 1 == branches.len() { '╰' } else { '├' };
        text += &format!("{}\n", cut(&format!("{corner}─{}", printable(branch)), style.width));
    }
    text
}

/// No longer than `width` characters: of a long line the end is missing, a namespace or a part of a path.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept = line.chars().take(width.saturating_sub(1));
    kept.chain(std::iter::once('…')).collect()
}

/// To `show map`.
pub fn answer(reports: &[PortReport], pools: impl Iterator<Item = PoolReport>, plan: &Plan) -> Map {
    Map {
        networks: networks::networks(reports, pools, plan),
        uplinks: uplinks::answer(reports, plan),
        ports: reports.iter().map(|report| ports::port(report, plan)).collect(),
    }
}
