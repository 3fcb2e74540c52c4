//! Addresses leased by DHCP.

use engine::report::LeaseReport;
use serde::{Deserialize, Serialize};

use super::list::{Listed, listed};
use super::table::{Column, Style, left, right, time};
use crate::config::Plan;

/// A DHCP lease.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Lease {
    /// The network.
    pub network: String,
    /// The address.
    pub address: String,
    /// Whose it is.
    pub mac: String,
    /// What the client calls itself.
    pub host_name: Option<String>,
    /// Milliseconds until it ends.
    pub expires_in_ms: u64,
}

const COLUMNS: &[Column<Lease>] = &[
    left("network", |lease, _| lease.network.clone()),
    left("address", |lease, _| lease.address.clone()),
    left("mac", |lease, _| lease.mac.clone()),
    left("host name", |lease: &Lease, _| lease.host_name.clone().unwrap_or_else(|| "-".to_owned())).wrapped(),
    right("expires", |lease, _| time(lease.expires_in_ms)),
];

/// A table.
pub(super) fn text(list: &Listed<Lease>, style: &Style) -> String {
    list.text(COLUMNS, style)
}

/// To `show leases`: at most `limit` of `reports`.
pub fn answer(reports: impl Iterator<Item = LeaseReport>, limit: usize, plan: &Plan) -> Listed<Lease> {
    let lease = |report: LeaseReport| Lease {
        network: plan.network_name(report.network).to_owned(),
        address: report.address.to_string(),
        mac: report.mac.to_string(),
        host_name: report.host_name,
        expires_in_ms: report.expires_in.get(),
    };
    listed(reports, limit, lease)
}
