//! What was dropped where, and why.

use engine::report::{PortReport, StatsReport};
use packet::{DropCounters, DropReason};
use serde::{Deserialize, Serialize};

use super::table::{Column, Style, left, right, table};
use crate::config::Plan;

/// Frames dropped for one reason at one place.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Drop {
    /// The network; null: frames of the switch itself.
    pub network: Option<String>,
    /// The port; null: frames of the switch itself.
    pub port: Option<String>,
    /// The reason's name.
    pub reason: String,
    /// What it means.
    pub meaning: String,
    /// How many.
    pub frames: u64,
}

const COLUMNS: &[Column<Drop>] = &[
    left("network", |drop, _| drop.network.clone().unwrap_or_else(own)),
    left("port", |drop, _| drop.port.clone().unwrap_or_else(own)),
    right("frames", |drop, _| drop.frames.to_string()),
    left("reason", |drop, _| drop.reason.clone()),
    left("meaning", |drop: &Drop, _| drop.meaning.clone()).wrapped(),
];

/// A table.
pub(super) fn text(rows: &[Drop], style: &Style) -> String {
    if rows.is_empty() { "nothing was dropped\n".to_owned() } else { table(COLUMNS, rows, style) }
}

fn own() -> String {
    "(switch)".to_owned()
}

/// To `show drops`: what each port dropped, and what happened to the switch's own frames.
pub fn answer(ports: &[PortReport], stats: &StatsReport, plan: &Plan) -> Vec<Drop> {
    let mut answer = Vec::new();
    for port in ports {
        let place = (plan.network_name(port.network), plan.port_name(port.id));
        answer.extend(drops_at(Some(place), &port.counters.drops));
    }
    answer.extend(drops_at(None, &stats.own_drops));
    answer
}

fn drops_at(place: Option<(&str, &str)>, counters: &DropCounters) -> impl Iterator<Item = Drop> {
    let drop = move |(reason, frames): (DropReason, u64)| Drop {
        network: place.map(|(network, _)| network.to_owned()),
        port: place.map(|(_, port)| port.to_owned()),
        reason: reason.name().to_owned(),
        meaning: reason.sentence().to_owned(),
        frames,
    };
    counters.nonzero().map(drop)
}
