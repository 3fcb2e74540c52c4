//! Ports and their counters.

use std::collections::BTreeMap;

use engine::PortState;
use engine::report::PortReport;
use serde::{Deserialize, Serialize};

use super::table::{Column, Style, left, right, table};
use crate::config::Plan;

/// A port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    pub id: u16,
    /// Its network, or the uplink it is.
    pub network: String,
    /// Its name.
    pub name: String,
    /// What it is made of: `tap`, `packet`, `stream`, `dgram` or `vhost-user`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether frames can pass: its device is up and has a carrier, or a peer is connected.
    pub link: bool,
    /// What it may do: `forwarding`; `down`; `blocked` or `learning` in a spanning tree; `looping`: closed because of a loop;
    /// `shut` by `bpdu-guard`.
    pub state: String,
    /// The network device, or the path of the socket.
    pub device: String,
    /// The network namespace of the device: a name, a path or a process id; null: the switch's own.
    pub netns: Option<String>,
    /// The largest layer-3 packet, in bytes.
    pub mtu: u16,
    /// Its VLANs: `all`, a number, `trunk 20,30-39`, `10, trunk 20` or `qinq 100`.
    pub vlans: String,
    /// Addresses learned on it.
    pub learned: u32,
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames received for an unknown address or a group.
    pub flooded: u64,
    /// Source addresses that there was no room for.
    pub learn_refused: u64,
    /// Frames dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

const COLUMNS: &[Column<Port>] = &[
    right("id", |port: &Port, _| port.id.to_string()).rank(9),
    left("network", |port, _| port.network.clone()),
    left("port", |port, _| port.name.clone()),
    left("type", |port: &Port, _| port.kind.clone()).rank(1),
    left("link", |port, _| if port.link { "up" } else { "down" }.to_owned()),
    left("state", |port: &Port, _| port.state.clone()).rank(4),
    left("device", |port: &Port, _| port.device.clone()).rank(5),
    left("netns", |port: &Port, _| port.netns.clone().unwrap_or_else(|| "-".to_owned())).rank(7),
    right("mtu", |port: &Port, _| port.mtu.to_string()).rank(6),
    left("vlans", |port: &Port, _| port.vlans.clone()).rank(8),
    right("macs", |port: &Port, _| port.learned.to_string()).rank(4),
    right("rx frames", |port: &Port, _| port.rx_frames.to_string()).rank(3),
    right("rx bytes", |port: &Port, style| style.bytes(port.rx_bytes)).rank(2),
    right("tx frames", |port: &Port, _| port.tx_frames.to_string()).rank(3),
    right("tx bytes", |port: &Port, style| style.bytes(port.tx_bytes)).rank(2),
];

/// A table.
pub(super) fn text(rows: &[Port], style: &Style) -> String {
    table(COLUMNS, rows, style)
}

/// To `show ports`.
pub fn answer(reports: &[PortReport], plan: &Plan) -> Vec<Port> {
    reports.iter().map(|report| port(report, plan)).collect()
}

pub(super) fn port(report: &PortReport, plan: &Plan) -> Port {
    let spec = plan.spec(report.id);
    let counters = &report.counters;
    Port {
        id: report.id.get(),
        network: plan.network_name(report.network).to_owned(),
        name: plan.port_name(report.id).to_owned(),
        kind: spec.map_or("", |spec| spec.kind()).to_owned(),
        link: report.link,
        state: state(report.state).to_owned(),
        device: spec.map(|spec| spec.device().into_owned()).unwrap_or_default(),
        netns: spec.and_then(|spec| spec.netns()).map(ToString::to_string),
        mtu: plan.port_mtu(report.id),
        vlans: plan.port_vlans(report.id).to_string(),
        learned: report.learned,
        rx_frames: counters.rx_frames,
        rx_bytes: counters.rx_bytes,
        tx_frames: counters.tx_frames,
        tx_bytes: counters.tx_bytes,
        flooded: counters.flooded,
        learn_refused: counters.learn_refused,
        drops: counters.drops.nonzero().map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
    }
}

const fn state(state: PortState) -> &'static str {
    match state {
        PortState::Discarding => "down",
        PortState::Looping => "looping",
        PortState::Blocked => "blocked",
        PortState::Shut => "shut",
        PortState::Learning => "learning",
        PortState::Forwarding => "forwarding",
    }
}
