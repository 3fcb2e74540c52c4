//! Servers that connections are spread over.

use engine::CheckKind;
use engine::report::{ServerReport, ServerState};
use serde::{Deserialize, Serialize};

use super::table::{Column, Style, left, right, table, time};
use crate::config::Plan;

/// A server that connections are spread over.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BalancedServer {
    /// The network.
    pub network: String,
    /// The section of it that has the server.
    pub balance: String,
    /// `ADDRESS:PORT`.
    pub server: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Whether it serves only while none of the others lives.
    pub backup: bool,
    /// `alive`, `dead`, or `unchecked`, which counts as alive.
    pub state: String,
    /// Milliseconds since then; null: no check has ended yet.
    pub since_ms: Option<u64>,
    /// What it is asked by: `tcp` or `icmp`; null: it is not.
    pub check: Option<String>,
    /// Checks that have ended.
    pub checks: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Connections that it has.
    pub flows: u64,
    /// Connections that it was ever given.
    pub flows_admitted: u64,
}

const COLUMNS: &[Column<BalancedServer>] = &[
    left("network", |server, _| server.network.clone()),
    left("balance", |server, _| server.balance.clone()),
    left("server", |server, _| format!("{}/{}", server.server, server.protocol)),
    left("role", |server, _| if server.backup { "backup" } else { "server" }.to_owned()),
    left("state", |server, _| server.state.clone()),
    right("since", |server, _| server.since_ms.map_or_else(|| "-".to_owned(), time)),
    left("check", |server, _| server.check.clone().unwrap_or_else(|| "none".to_owned())),
    right("checks", |server: &BalancedServer, _| server.checks.to_string()).rank(4),
    right("failed", |server: &BalancedServer, _| server.failures.to_string()).rank(3),
    right("flows", |server, _| server.flows.to_string()),
    right("admitted", |server: &BalancedServer, _| server.flows_admitted.to_string()).rank(2),
];

/// A table.
pub(super) fn text(rows: &[BalancedServer], style: &Style) -> String {
    table(COLUMNS, rows, style)
}

/// To `show servers`.
pub fn answer(reports: impl Iterator<Item = ServerReport>, plan: &Plan) -> Vec<BalancedServer> {
    let server = |report: ServerReport| {
        let config = plan.runtime.balances.get(report.balance)?;
        Some(BalancedServer {
            network: plan.network_name(config.network).to_owned(),
            balance: config.name.clone(),
            server: report.server.to_string(),
            protocol: config.protocol.to_string(),
            backup: report.is_backup,
            state: state_name(report.state).to_owned(),
            since_ms: report.since.map(|since| since.get()),
            check: config.check.map(|check| check_name(check.kind).to_owned()),
            checks: report.checks,
            failures: report.failures,
            flows: report.flows,
            flows_admitted: report.flows_admitted,
        })
    };
    reports.filter_map(server).collect()
}

const fn state_name(state: ServerState) -> &'static str {
    match state {
        ServerState::Unchecked => "unchecked",
        ServerState::Alive => "alive",
        ServerState::Dead => "dead",
    }
}

const fn check_name(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Tcp => "tcp",
        CheckKind::Icmp => "icmp",
    }
}
