//! Next hops and their MAC addresses: the ARP table.

use engine::report::NeighbourReport;
use serde::{Deserialize, Serialize};

use super::list::{Listed, listed};
use super::table::{Column, Style, left};
use crate::config::Plan;

/// A next hop.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Neighbour {
    /// The network.
    pub network: String,
    /// The address.
    pub address: String,
    /// Its MAC address; null: it is being asked for.
    pub mac: Option<String>,
}

const COLUMNS: &[Column<Neighbour>] = &[
    left("network", |neighbour, _| neighbour.network.clone()),
    left("address", |neighbour, _| neighbour.address.clone()),
    left("mac", |neighbour, _| neighbour.mac.clone().unwrap_or_else(|| "(being asked for)".to_owned())),
];

/// A table.
pub(super) fn text(list: &Listed<Neighbour>, style: &Style) -> String {
    list.text(COLUMNS, style)
}

/// To `show neighbours`: at most `limit` of `reports`.
pub fn answer(
    reports: impl Iterator<Item = NeighbourReport>,
    limit: usize,
    plan: &Plan,
) -> Listed<Neighbour> {
    let neighbour = |report: NeighbourReport| Neighbour {
        network: plan.network_name(report.network).to_owned(),
        address: report.address.to_string(),
        mac: report.mac.map(|mac| mac.to_string()),
    };
    listed(reports, limit, neighbour)
}
