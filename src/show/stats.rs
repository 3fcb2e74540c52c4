//! Counters of the whole switch.

use engine::report::StatsReport;
use serde::{Deserialize, Serialize};

use super::Answer;
use super::table::{Column, Style, left, right, table};
use crate::config::Plan;

/// Counters of the whole switch.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Networks, uplinks included.
    pub networks: u64,
    /// Ports.
    pub ports: u64,
    /// Bursts processed.
    pub bursts: u64,
    /// Frames processed.
    pub frames: u64,
    /// Frames that went to the slow path.
    pub punted: u64,
    /// Frames that the switch itself sent.
    pub injected: u64,
    /// Flows in the table.
    pub flows: u64,
    /// Flows that it has room for.
    pub flow_limit: u64,
    /// Flows ever admitted.
    pub flows_admitted: u64,
    /// Flows that timed out.
    pub flows_expired: u64,
    /// Of these, those that nobody had answered and that made room for another.
    pub flows_displaced: u64,
}

const COLUMNS: &[Column<(&str, u64)>] =
    &[left("counter", |(name, _), _| (*name).to_owned()), right("value", |(_, value), _| value.to_string())];

/// A table.
pub(super) fn text(stats: &Stats, style: &Style) -> String {
    let rows = [
        ("networks", stats.networks),
        ("ports", stats.ports),
        ("bursts", stats.bursts),
        ("frames", stats.frames),
        ("punted to the slow path", stats.punted),
        ("sent by the switch itself", stats.injected),
        ("flows", stats.flows),
        ("flows at most", stats.flow_limit),
        ("flows admitted", stats.flows_admitted),
        ("flows timed out", stats.flows_expired),
        ("flows displaced", stats.flows_displaced),
    ];
    table(COLUMNS, &rows, style)
}

/// To `show stats`.
pub fn answer(report: &StatsReport, plan: &Plan) -> Answer {
    let networks = plan.runtime.networks.iter().filter(|network| !network.name.is_empty());
    Answer::Stats(Stats {
        networks: networks.count() as u64,
        ports: plan.runtime.ports.len() as u64,
        bursts: report.bursts,
        frames: report.frames,
        punted: report.punted,
        injected: report.injected,
        flows: report.flows,
        flow_limit: plan.runtime.flow_limit.into(),
        flows_admitted: report.flows_admitted,
        flows_expired: report.flows_expired,
        flows_displaced: report.flows_displaced,
    })
}
