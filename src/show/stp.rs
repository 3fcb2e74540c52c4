//! Spanning trees: the switch as a bridge, and its ports.

use engine::report::TreeReport;
use engine::stp::{StpMode, Traffic, TreePortReport};
use serde::{Deserialize, Serialize};

use super::table::{Column, Style, left, right, table, time};
use crate::config::Plan;
use crate::terminal::printable;

/// The spanning trees of all networks that have one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Trees {
    /// The switch as a bridge, by network.
    pub bridges: Vec<TreeBridge>,
    /// The ports.
    pub entries: Vec<TreePort>,
}

/// The switch as a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TreeBridge {
    /// The network.
    pub network: String,
    /// `stp` or `rstp`.
    pub protocol: String,
    /// Its identifier: priority and address.
    pub bridge: String,
    /// The root's.
    pub root: String,
    /// The port that leads there; null: it is the root.
    pub root_port: Option<String>,
    /// What the way there costs.
    pub root_cost: u32,
    /// Seconds between BPDUs, as the root has it.
    pub hello_time: u16,
    /// Seconds after which what the root said counts no more.
    pub max_age: u16,
    /// Seconds that a port listens, and learns.
    pub forward_delay: u16,
    /// How often the topology has changed.
    pub topology_changes: u64,
    /// Milliseconds since it did last.
    pub unchanged_ms: Option<u64>,
}

/// A port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TreePort {
    /// The network.
    pub network: String,
    /// Its name.
    pub port: String,
    /// `root`, `designated`, `alternate`, `backup` or `disabled`.
    pub role: String,
    /// `forwarding`, `learning`, `discarding`; `shut`: by `bpdu-guard`; `looped`: it hears itself.
    pub state: String,
    /// What the way by it costs.
    pub cost: u32,
    /// Its priority.
    pub priority: u16,
    /// Its number on the wire.
    pub number: u16,
    /// Whether only stations are behind it.
    pub edge: bool,
    /// What it speaks: `stp` or `rstp`.
    pub protocol: String,
    /// The bridge that leads to the root for who is behind the port.
    pub designated_bridge: String,
    /// Its port: priority and number.
    pub designated_port: String,
    /// What the way from there to the root costs.
    pub designated_cost: u32,
    /// BPDUs received.
    pub rx_bpdus: u64,
    /// BPDUs sent.
    pub tx_bpdus: u64,
}

const COLUMNS: &[Column<TreePort>] = &[
    left("network", |port: &TreePort, _| port.network.clone()),
    left("port", |port, _| port.port.clone()),
    left("role", |port, _| port.role.clone()),
    left("state", |port, _| port.state.clone()),
    right("cost", |port: &TreePort, _| port.cost.to_string()).rank(1),
    right("priority", |port: &TreePort, _| port.priority.to_string()).rank(5),
    left("edge", |port: &TreePort, _| if port.edge { "yes" } else { "no" }.to_owned()).rank(2),
    left("speaks", |port: &TreePort, _| port.protocol.clone()).rank(3),
    left("designated", |port: &TreePort, _| port.designated_bridge.clone()).rank(4),
    right("rx", |port: &TreePort, _| port.rx_bpdus.to_string()).rank(6),
    right("tx", |port: &TreePort, _| port.tx_bpdus.to_string()).rank(6),
];

/// A line or two for each network, and a table.
pub(super) fn text(trees: &Trees, style: &Style) -> String {
    let lines: String = trees.bridges.iter().map(TreeBridge::text).collect();
    lines + &table(COLUMNS, &trees.entries, style)
}

impl TreeBridge {
    fn text(&self) -> String {
        let Self { network, protocol, bridge, root, root_cost, hello_time, max_age, forward_delay, .. } =
            self;
        let way = match &self.root_port {
            Some(port) => format!("the root is {root}, by {port} at a cost of {root_cost}"),
            None => "is the root".to_owned(),
        };
        let changes = match self.unchanged_ms {
            Some(unchanged) => format!("{} topology changes, {} ago", self.topology_changes, time(unchanged)),
            None => "no topology changes".to_owned(),
        };
        let line = format!("{network}: {protocol}, bridge {bridge}: {way}; {changes}");
        let times = format!("  hello {hello_time} s, max age {max_age} s, forward delay {forward_delay} s");
        format!("{}\n{times}\n", printable(&line))
    }
}

/// To `show stp`.
pub fn answer(reports: &[TreeReport], plan: &Plan) -> Trees {
    let port = |tree: &TreeReport, port: &TreePortReport| TreePort {
        network: plan.network_name(tree.network).to_owned(),
        port: plan.port_name(port.id).to_owned(),
        role: port.role.name().to_owned(),
        state: state(tree, port).to_owned(),
        cost: port.cost,
        priority: port.number >> 12 << 4,
        number: port.number & 0xfff,
        edge: port.edge,
        protocol: if port.rapid { "rstp" } else { "stp" }.to_owned(),
        designated_bridge: port.designated.bridge.to_string(),
        designated_port: format!("{}.{}", port.designated.port >> 12 << 4, port.designated.port & 0xfff),
        designated_cost: port.designated.cost,
        rx_bpdus: port.heard,
        tx_bpdus: port.sent,
    };
    let ports = |tree: &TreeReport| tree.ports.iter().map(|one| port(tree, one)).collect::<Vec<_>>();
    Trees {
        bridges: reports.iter().map(|tree| bridge(tree, plan)).collect(),
        entries: reports.iter().flat_map(ports).collect(),
    }
}

fn bridge(tree: &TreeReport, plan: &Plan) -> TreeBridge {
    let bridge = &tree.bridge;
    TreeBridge {
        network: plan.network_name(tree.network).to_owned(),
        protocol: match bridge.mode {
            StpMode::Off => "off",
            StpMode::Stp => "stp",
            StpMode::Rstp => "rstp",
        }
        .to_owned(),
        bridge: bridge.id.to_string(),
        root: bridge.root.root.to_string(),
        root_port: bridge.root_port.map(|port| plan.port_name(port).to_owned()),
        root_cost: bridge.root.cost,
        hello_time: bridge.times.hello / 256,
        max_age: bridge.times.max_age / 256,
        forward_delay: bridge.times.forward_delay / 256,
        topology_changes: bridge.topology_changes,
        unchanged_ms: tree.unchanged_for.map(|time| time.get()),
    }
}

fn state(tree: &TreeReport, port: &TreePortReport) -> &'static str {
    match port.traffic {
        _ if tree.shut.contains(&port.id) => "shut",
        Traffic::Forwarding => "forwarding",
        Traffic::Learning => "learning",
        Traffic::Discarding if port.looped => "looped",
        Traffic::Discarding => "discarding",
    }
}
