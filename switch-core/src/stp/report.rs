//! What a bridge tells of its tree, for people.

use packet::{Millis, PortId};

use super::bpdu::Role;
use super::port::Port;
use super::settings::StpMode;
use super::state::Traffic;
use super::tree::Tree;
use super::vector::{BridgeId, Times, Vector};

/// A bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BridgeReport {
    /// The protocol.
    pub mode: StpMode,
    /// The bridge.
    pub id: BridgeId,
    /// The root, and what the way there costs.
    pub root: Vector,
    /// The port that leads there; `None`: this bridge is the root.
    pub root_port: Option<PortId>,
    /// The times that hold.
    pub times: Times,
    /// How often the topology has changed.
    pub topology_changes: u64,
    /// When it did last.
    pub topology_changed: Option<Millis>,
}

/// A port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreePortReport {
    /// The port.
    pub id: PortId,
    /// What it is in the tree.
    pub role: Role,
    /// What it does with frames.
    pub traffic: Traffic,
    /// Whether only stations are behind it.
    pub edge: bool,
    /// Whether it speaks RSTP.
    pub rapid: bool,
    /// Whether it hears what it has sent itself.
    pub looped: bool,
    /// What the way by it costs.
    pub cost: u32,
    /// Its priority and number on the wire.
    pub number: u16,
    /// Who speaks for the wire behind it.
    pub designated: Vector,
    /// Messages sent.
    pub sent: u64,
    /// Messages heard.
    pub heard: u64,
}

pub(super) const fn bridge(tree: &Tree) -> BridgeReport {
    BridgeReport {
        mode: tree.settings.mode,
        id: tree.id,
        root: tree.root,
        root_port: tree.root_port,
        times: tree.root_times,
        topology_changes: tree.topology_changes,
        topology_changed: tree.topology_changed,
    }
}

pub(super) fn port(now: Millis, port: &Port) -> TreePortReport {
    TreePortReport {
        id: port.id,
        role: port.role,
        traffic: port.states.traffic,
        edge: port.oper_edge,
        rapid: port.send_rapid,
        looped: port.is_looped_until > now,
        cost: port.cost,
        number: port.number(),
        designated: port.priority,
        sent: port.count.sent,
        heard: port.count.heard,
    }
}
