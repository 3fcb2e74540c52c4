//! Which address is behind which port.

use engine::report::FdbReport;
use serde::{Deserialize, Serialize};

use super::list::{Listed, listed};
use super::table::{Column, Style, left, right, time};
use crate::config::Plan;

/// An entry of the forwarding database.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FdbEntry {
    /// The network.
    pub network: String,
    /// The VLAN.
    pub vid: u16,
    /// The address.
    pub mac: String,
    /// The port that it is behind.
    pub port: String,
    /// Milliseconds since it was last seen; null: a static entry.
    pub idle_ms: Option<u64>,
}

const COLUMNS: &[Column<FdbEntry>] = &[
    left("network", |entry, _| entry.network.clone()),
    right("vlan", |entry, _| entry.vid.to_string()),
    left("mac", |entry, _| entry.mac.clone()),
    left("port", |entry, _| entry.port.clone()),
    right("idle", |entry, _| entry.idle_ms.map_or_else(|| "static".to_owned(), time)),
];

/// A table.
pub(super) fn text(list: &Listed<FdbEntry>, style: &Style) -> String {
    list.text(COLUMNS, style)
}

/// To `show fdb`: at most `limit` of `reports`.
pub fn answer(reports: impl Iterator<Item = FdbReport>, limit: usize, plan: &Plan) -> Listed<FdbEntry> {
    let entry = |report: FdbReport| FdbEntry {
        network: plan.network_name(report.network).to_owned(),
        vid: report.vid.get(),
        mac: report.mac.to_string(),
        port: plan.port_name(report.port).to_owned(),
        idle_ms: report.idle.map(|idle| idle.get()),
    };
    listed(reports, limit, entry)
}
