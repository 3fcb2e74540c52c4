//! The answers of the switch: what `show` prints and JSON has. Names stand where the worker has numbers.
//!
//! One file a noun. It has the noun's JSON, how that is made of the worker's report (`answer`), and how people see it
//! (`text`). Field names are stable; docs/control.md lists them.

pub mod changed;
pub mod drops;
pub mod fdb;
pub mod flows;
pub mod leases;
mod list;
pub mod map;
pub mod mappings;
pub mod names;
pub mod nat;
pub mod neighbours;
pub mod networks;
pub mod ports;
pub mod reloaded;
pub mod select;
pub mod servers;
pub mod stats;
pub mod stp;
mod table;
pub mod uplinks;
pub mod vlans;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::changed::{Flushed, PortChanged, RuleChanged, Saved};
use self::drops::Drop;
use self::fdb::FdbEntry;
use self::flows::Flow;
use self::leases::Lease;
use self::map::Map;
use self::mappings::Mapping;
use self::names::Name;
use self::nat::Rule;
use self::neighbours::Neighbour;
use self::networks::Networks;
use self::ports::Port;
use self::reloaded::Reloaded;
use self::select::{SelectError, Selection};
use self::servers::BalancedServer;
use self::stats::Stats;
use self::stp::Trees;
use self::uplinks::Uplink;
use self::vlans::Vlan;

pub use self::list::Listed;
pub use self::stats::Process;
pub use self::table::Style;

/// What the switch answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `show networks`.
    Networks(Networks),
    /// To `show uplinks`.
    Uplinks(Vec<Uplink>),
    /// To `show map`.
    Map(Map),
    /// To `show neighbours`.
    Neighbours(Listed<Neighbour>),
    /// To `show ports`.
    Ports(Vec<Port>),
    /// To `show fdb`.
    Fdb(Listed<FdbEntry>),
    /// To `show vlans`.
    Vlans(Listed<Vlan>),
    /// To `show flows`.
    Flows(Listed<Flow>),
    /// To `show nat`.
    Nat(Vec<Rule>),
    /// To `show servers`.
    Servers(Vec<BalancedServer>),
    /// To `show leases`.
    Leases(Listed<Lease>),
    /// To `show names`.
    Names(Listed<Name>),
    /// To `show mappings`.
    Mappings(Listed<Mapping>),
    /// To `show drops`.
    Drops(Vec<Drop>),
    /// To `show stats`.
    Stats(Stats),
    /// To `show stp`.
    Stp(Trees),
    /// To `reload`.
    Reloaded(Reloaded),
    /// To `nat`.
    RuleChanged(RuleChanged),
    /// To `port-add` and `port-del`.
    PortChanged(PortChanged),
    /// To `flush`.
    Flushed(Flushed),
    /// To `nat-save`.
    Saved(Saved),
}

impl Answer {
    /// The rows of a table that `selection` wants, and the first `limit` of them.
    ///
    /// # Errors
    /// There is no such column, or it is no table.
    pub fn select(self, selection: &Selection, limit: usize) -> Result<Self, SelectError> {
        Ok(match self {
            Self::Networks(networks) => {
                let entries = selection.apply(networks.entries)?;
                Self::Networks(Networks { entries, ..networks })
            }
            Self::Stp(trees) => {
                let entries = selection.apply(trees.entries)?;
                Self::Stp(Trees { entries, ..trees })
            }
            Self::Uplinks(rows) => Self::Uplinks(selection.apply(rows)?),
            Self::Neighbours(list) => Self::Neighbours(list.select(selection, limit)?),
            Self::Ports(rows) => Self::Ports(selection.apply(rows)?),
            Self::Fdb(list) => Self::Fdb(list.select(selection, limit)?),
            Self::Vlans(list) => Self::Vlans(list.select(selection, limit)?),
            Self::Flows(list) => Self::Flows(list.select(selection, limit)?),
            Self::Nat(rows) => Self::Nat(selection.apply(rows)?),
            Self::Servers(rows) => Self::Servers(selection.apply(rows)?),
            Self::Leases(list) => Self::Leases(list.select(selection, limit)?),
            Self::Names(list) => Self::Names(list.select(selection, limit)?),
            Self::Mappings(list) => Self::Mappings(list.select(selection, limit)?),
            Self::Drops(rows) => Self::Drops(selection.apply(rows)?),
            Self::Map(_)
            | Self::Stats(_)
            | Self::Reloaded(_)
            | Self::RuleChanged(_)
            | Self::PortChanged(_)
            | Self::Flushed(_)
            | Self::Saved(_) => return Err(SelectError::no_table()),
        })
    }
}

/// The answer as text for a terminal, with a newline at the end.
pub fn text(answer: &Answer, style: &Style) -> String {
    match answer {
        Answer::Networks(networks) => networks::text(networks),
        Answer::Uplinks(uplinks) => uplinks::text(uplinks, style),
        Answer::Map(map) => map::text(map, style),
        Answer::Neighbours(neighbours) => neighbours::text(neighbours, style),
        Answer::Flushed(flushed) => changed::flushed_text(flushed),
        Answer::Ports(ports) => ports::text(ports, style),
        Answer::Fdb(entries) => fdb::text(entries, style),
        Answer::Vlans(vlans) => vlans::text(vlans, style),
        Answer::Flows(flows) => flows::text(flows, style),
        Answer::Nat(rules) => nat::text(rules, style),
        Answer::Servers(servers) => servers::text(servers, style),
        Answer::Leases(leases) => leases::text(leases, style),
        Answer::Names(names) => names::text(names, style),
        Answer::Mappings(mappings) => mappings::text(mappings, style),
        Answer::Drops(drops) => drops::text(drops, style),
        Answer::Stats(stats) => stats::text(stats, style),
        Answer::Stp(trees) => stp::text(trees, style),
        Answer::Reloaded(reloaded) => reloaded::text(reloaded),
        Answer::RuleChanged(changed) => changed::rule_text(changed),
        Answer::PortChanged(changed) => changed::port_text(changed),
        Answer::Saved(saved) => changed::saved_text(saved),
    }
}
