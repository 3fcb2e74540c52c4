//! VLANs of networks, and the ports that carry them.

use std::collections::BTreeMap;

use engine::report::FdbReport;
use packet::{NetworkId, Vid};
use serde::{Deserialize, Serialize};

use super::list::{Listed, listed};
use super::table::{Column, Style, left, right};
use crate::config::Plan;

/// A VLAN of a network.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Vlan {
    /// The network.
    pub network: String,
    /// The VLAN. 0: that of untagged frames which no port puts into another.
    pub vid: u16,
    /// The ports where its frames have no tag.
    pub untagged: Vec<String>,
    /// The ports where they have its tag.
    pub tagged: Vec<String>,
    /// Stations known in it.
    pub stations: u64,
}

const COLUMNS: &[Column<Vlan>] = &[
    left("network", |vlan, _| vlan.network.clone()),
    right("vlan", |vlan, _| vlan.vid.to_string()),
    left("untagged", |vlan, _| names(&vlan.untagged)),
    left("tagged", |vlan, _| names(&vlan.tagged)),
    right("stations", |vlan, _| vlan.stations.to_string()),
];

fn names(ports: &[String]) -> String {
    if ports.is_empty() { "-".to_owned() } else { ports.join(",") }
}

/// A table.
pub(super) fn text(list: &Listed<Vlan>, style: &Style) -> String {
    list.text(COLUMNS, style)
}

/// To `show vlans`: at most `limit` of the VLANs that ports name, or that a station is in.
pub fn answer(stations: impl Iterator<Item = FdbReport>, limit: usize, plan: &Plan) -> Listed<Vlan> {
    let mut known: BTreeMap<(NetworkId, Vid), u64> = BTreeMap::new();
    for port in &plan.runtime.ports {
        let of_untagged = port.settings.vlans.carry(Vid::UNTAGGED).then_some(Vid::UNTAGGED);
        for vid in port.settings.vlans.named().into_iter().chain(of_untagged) {
            known.entry((port.network, vid)).or_default();
        }
    }
    stations.for_each(|station| *known.entry((station.network, station.vid)).or_default() += 1);
    listed(known.into_iter(), limit, |((network, vid), stations)| vlan(network, vid, stations, plan))
}

fn vlan(network: NetworkId, vid: Vid, stations: u64, plan: &Plan) -> Vlan {
    let ports = |tagged| {
        let ports = plan.runtime.ports.iter().filter(|port| port.network == network);
        let ports = ports.filter(|port| port.settings.vlans.leave_tagged(vid) == Some(tagged));
        ports.map(|port| port.name.clone()).collect()
    };
    Vlan {
        network: plan.network_name(network).to_owned(),
        vid: vid.get(),
        untagged: ports(false),
        tagged: ports(true),
        stations,
    }
}
