//! Names that DNS forwarders were told of, and where they lead.

use engine::report::{NameReport, NameSource};
use serde::{Deserialize, Serialize};

use super::list::{Listed, listed};
use super::table::{Column, Style, left, right, time};
use crate::config::Plan;

/// A name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Name {
    /// The network.
    pub network: String,
    /// The name, without the network's domain where it is below that.
    pub name: String,
    /// What it leads to.
    pub address: String,
    /// Who says so: `hosts`, or the `answer` of a server.
    pub source: String,
    /// Milliseconds until it no longer does; `null`: until the configuration changes.
    pub expires_in_ms: Option<u64>,
}

const COLUMNS: &[Column<Name>] = &[
    left("network", |name, _| name.network.clone()),
    left("name", |name: &Name, _| name.name.clone()).wrapped(),
    left("address", |name, _| name.address.clone()),
    left("source", |name, _| name.source.clone()),
    right("expires", |name, _| name.expires_in_ms.map_or_else(|| "-".to_owned(), time)),
];

/// A table.
pub(super) fn text(list: &Listed<Name>, style: &Style) -> String {
    list.text(COLUMNS, style)
}

/// To `show names`: at most `limit` of `reports`.
pub fn answer(reports: impl Iterator<Item = NameReport>, limit: usize, plan: &Plan) -> Listed<Name> {
    let name = |report: NameReport| Name {
        network: plan.network_name(report.network).to_owned(),
        name: report.name,
        address: report.address.to_string(),
        source: match report.source {
            NameSource::Host => "hosts",
            NameSource::Answer => "answer",
        }
        .to_owned(),
        expires_in_ms: report.ends_in.map(|time| time.get()),
    };
    listed(reports, limit, name)
}
