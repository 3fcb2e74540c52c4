//! Counters of the whole switch.

use std::time::Duration;

use engine::report::StatsReport;
use serde::{Deserialize, Serialize};

use super::table::{Column, Style, left, right, table, time};
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
    /// The longest time in microseconds that frames waited because the switch did something else: read requests, applied a
    /// configuration, looked at links.
    #[serde(default)]
    pub longest_pause_us: u64,
    /// The process.
    #[serde(flatten)]
    pub process: Process,
}

/// The process that answers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Process {
    /// Its version.
    pub version: String,
    /// Milliseconds since its start.
    pub uptime_ms: u64,
    /// Configurations applied: 1 after the start, one more with each reload and each change by `port` and `nat`.
    pub generation: u64,
}

impl Process {
    pub(super) fn text(&self) -> String {
        let Self { version, uptime_ms, generation } = self;
        format!("tapswitch {version}, up {}, configuration {generation}", time(*uptime_ms))
    }
}

const COLUMNS: &[Column<(&str, String)>] =
    &[left("counter", |(name, _), _| (*name).to_owned()), right("value", |(_, value), _| value.clone())];

/// A table.
pub(super) fn text(stats: &Stats, style: &Style) -> String {
    let counters = [
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
    let Process { version, uptime_ms, generation } = &stats.process;
    let process = [
        ("version", version.clone()),
        ("running for", time(*uptime_ms)),
        ("configurations applied", generation.to_string()),
        ("longest pause", format!("{} µs", stats.longest_pause_us)),
    ];
    let counters = counters.map(|(name, value)| (name, value.to_string()));
    let rows: Vec<(&str, String)> = process.into_iter().chain(counters).collect();
    table(COLUMNS, &rows, style)
}

/// To `show stats`.
pub fn answer(process: Process, report: &StatsReport, longest_pause: Duration, plan: &Plan) -> Stats {
    let networks = plan.runtime.networks.iter().filter(|network| !network.name.is_empty());
    Stats {
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
        longest_pause_us: longest_pause.as_micros().try_into().unwrap_or(u64::MAX),
        process,
    }
}
