//! What a change of the running configuration did, or a save.

use serde::{Deserialize, Serialize};

use crate::rules;
use crate::terminal::count;

/// What a line about a NAT rule did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RuleChanged {
    /// `PREROUTING` or `POSTROUTING`.
    pub chain: String,
    /// The number that the rule has, or had.
    pub number: u64,
    /// Whether the rule came; else it went.
    pub added: bool,
}

/// A port that came or went.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PortChanged {
    /// `NETWORK/PORT`.
    pub port: String,
    /// Whether it came; else it went.
    pub added: bool,
}

/// Connections that were saved.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    /// The file.
    pub file: String,
    /// How many.
    pub flows: u64,
}

/// The tables that entries can be flushed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Flushable {
    /// Learned addresses.
    Fdb,
    /// Connections.
    Flows,
    /// Next hops and their MAC addresses.
    Neighbours,
}

/// Entries that were forgotten.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flushed {
    /// The table.
    pub what: Flushable,
    /// How many.
    pub count: u64,
}

/// A line about entries.
pub(super) fn flushed_text(flushed: &Flushed) -> String {
    let (one, more) = match flushed.what {
        Flushable::Fdb => ("address", "addresses"),
        Flushable::Flows => ("connection", "connections"),
        Flushable::Neighbours => ("neighbour", "neighbours"),
    };
    format!("{} {} forgotten\n", flushed.count, if flushed.count == 1 { one } else { more })
}

/// A line about a rule.
pub(super) fn rule_text(changed: &RuleChanged) -> String {
    let RuleChanged { chain, number, added } = changed;
    let what = if *added { "added as" } else { "deleted:" };
    format!("{what} rule {number} of {chain}, until the next reload of the configuration file\n")
}

/// A line about a port.
pub(super) fn port_text(PortChanged { port, added }: &PortChanged) -> String {
    let what = if *added { "added" } else { "deleted" };
    format!("{what} {port}, until the next reload of the configuration file\n")
}

/// A line about connections.
pub(super) fn saved_text(Saved { file, flows }: &Saved) -> String {
    format!("saved {} to {file}\n", count(*flows, "connection"))
}

/// To `nat`: what `line` did to the rule with this number.
pub fn rule(line: &rules::Line, number: usize) -> RuleChanged {
    RuleChanged {
        chain: rules::chain_name(line.chain).to_owned(),
        number: number as u64,
        added: line.edit.adds(),
    }
}
