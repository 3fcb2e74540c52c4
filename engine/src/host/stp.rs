//! The spanning tree: BPDUs in and out of the ports of networks that have one, and ports that may hear of none.
//!
//! ```text
//! BPDU ─▶ a guarded port? shut, until its link goes down and up
//!         │ no             (and any other BPDU that comes where there is no tree goes nowhere)
//!         ▼
//!         the network's tree ─▶ BPDUs, by port · what ports may do · ports whose stations are forgotten
//! ```

use std::collections::VecDeque;

use packet::builder::eth;
use packet::rate::{PortBuckets, Rate};
use packet::{DropReason, EtherType, MacAddr, Millis, NetworkId, Offload, PortId};
use switch_core::stp::{Bpdu, BridgeId, SpanningTree, StpMode, Traffic, TreeSettings, cost_of};
use switch_core::{Bridge, PortState};

use super::outgoing::To;
use super::slow::Slow;
use crate::punt::Punted;
use crate::report::{TreeChange, TreeReport};
use crate::runtime_config::{PortConfig, RuntimeConfig};

/// The spanning trees of all networks.
#[derive(Debug, Default)]
pub(crate) struct Stp {
    /// By network.
    trees: Vec<Option<Tree>>,
    /// By port.
    ports: Vec<Port>,
    /// BPDUs that ports may bring.
    limits: PortBuckets,
    /// Ports that may do more or less, which their bridges don't know yet.
    switched: Vec<PortId>,
    changes: VecDeque<TreeChange>,
    next: Option<Millis>,
}

#[derive(Debug)]
struct Tree {
    tree: SpanningTree,
    address: MacAddr,
    /// The root, and the port that leads there, as told last.
    told: (BridgeId, Option<PortId>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Port {
    is_guarded: bool,
    is_shut: bool,
    /// In Mbit/s, if known.
    speed: Option<u32>,
}

impl Stp {
    /// Takes over a configuration that replaces `old`. What ports are set to comes by [`follow`](Self::follow).
    pub(super) fn install(&mut self, old: &RuntimeConfig, config: &RuntimeConfig, bridges: &[Bridge]) {
        let mut before = std::mem::take(&mut self.trees);
        for (network, bridge) in config.networks.iter().zip(bridges) {
            let TreeSettings { mode, .. } = network.settings.tree;
            let place = old.networks.iter().position(|other| other.name == network.name);
            let known = place.and_then(|place| before.get_mut(place)?.take());
            let tree = (mode != StpMode::Off).then(|| {
                let (address, _) = bridge.probe();
                let mut tree = known.unwrap_or_else(|| Tree::new(address, network.settings.tree));
                tree.tree.set(network.settings.tree);
                tree
            });
            self.trees.push(tree);
        }
        let limit = config.ports.last().map_or(0, |port| port.id.index() + 1);
        self.ports.resize_with(limit.max(self.ports.len()), Port::default);
        self.set_next();
    }

    /// The port has this configuration, and its link is up or not. Its network has the settings `tree`.
    pub(crate) fn follow(&mut self, config: &PortConfig, tree: TreeSettings, is_up: bool) {
        let Some(port) = self.ports.get_mut(config.id.index()) else { return };
        port.is_guarded = config.settings.tree.bpdu_guard;
        port.is_shut &= port.is_guarded && is_up;
        let Port { is_shut, speed, .. } = *port;
        if let Some(Some(Tree { tree: machines, .. })) = self.trees.get_mut(config.network.index()) {
            let settings = config.settings.tree;
            let cost = settings.path_cost.unwrap_or(cost_of(speed.unwrap_or(USUAL_SPEED), tree.mode));
            machines.set_port(config.id, settings, cost, is_up && !is_shut);
            self.set_next();
        }
    }

    /// The port is another's from now on.
    pub(super) fn forget_port(&mut self, port: PortId) {
        if let Some(port) = self.ports.get_mut(port.index()) {
            *port = Port::default();
        }
        for Tree { tree, .. } in self.trees.iter_mut().flatten() {
            tree.remove_port(port);
        }
    }

    /// The device of `port` has this speed, in Mbit/s. Whether that is news.
    pub(crate) fn set_speed(&mut self, port: PortId, speed: Option<u32>) -> bool {
        let port = self.ports.get_mut(port.index());
        port.is_some_and(|port| std::mem::replace(&mut port.speed, speed) != speed)
    }

    /// What a port whose link is up may do, as far as the tree is concerned.
    pub(crate) fn state(&self, network: NetworkId, port: PortId) -> PortState {
        if self.ports.get(port.index()).is_some_and(|port| port.is_shut) {
            return PortState::Shut;
        }
        let Some(Some(Tree { tree, .. })) = self.trees.get(network.index()) else {
            return PortState::Forwarding;
        };
        match tree.traffic(port) {
            Some(Traffic::Forwarding) => PortState::Forwarding,
            Some(Traffic::Learning) => PortState::Learning,
            Some(Traffic::Discarding) | None => PortState::Blocked,
        }
    }

    /// Takes a frame to the bridges' address.
    pub(super) fn serve(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let port = punted.origin.ok_or(DropReason::BridgeReserved)?;
        let payload = payload(punted).ok_or(DropReason::BridgeReserved)?;
        if let Some(Port { is_guarded: true, is_shut, .. }) = self.ports.get_mut(port.index()) {
            if !std::mem::replace(is_shut, true) {
                self.tell(TreeChange::Shut(port));
                self.switched.push(port);
            }
            return Err(DropReason::BpduGuard);
        }
        let network = punted.input;
        let Some(Some(Tree { tree, .. })) = self.trees.get_mut(network.index()) else {
            return Err(DropReason::BridgeReserved);
        };
        if !self.limits.take(BPDUS, Some(port), slow.now) {
            return Err(DropReason::BpduRate);
        }
        tree.receive(port, payload, slow.now).map_err(|_| DropReason::BadBpdu)?;
        self.collect(network, slow);
        Ok(())
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub(super) const fn next_timeout(&self) -> Option<Millis> {
        self.next
    }

    /// Does what is due, as much as has room.
    pub(super) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        if self.next.is_none_or(|next| next > slow.now) {
            return;
        }
        for network in 0..self.trees.len() {
            let Some(Tree { tree, .. }) = &mut self.trees[network] else { continue };
            if tree.next_timeout().is_some_and(|due| due <= slow.now) {
                tree.on_timeout(slow.now);
            }
            self.collect(NetworkId::new(network as u16), slow);
        }
        self.set_next();
    }

    /// A port that may do more or less than before, since the last call.
    pub(super) fn next_switched(&mut self) -> Option<PortId> {
        self.switched.pop()
    }

    /// Something that happened since the last call.
    pub(crate) fn next_change(&mut self) -> Option<TreeChange> {
        self.changes.pop_front()
    }

    /// All trees, for people.
    pub(crate) fn reports(&self, now: Millis) -> impl Iterator<Item = TreeReport> + '_ {
        let networks = (0..).map(NetworkId::new).zip(&self.trees);
        networks.filter_map(move |(network, tree)| {
            let tree = &tree.as_ref()?.tree;
            let bridge = tree.report();
            let unchanged_for = bridge.topology_changed.map(|last| now.since(last));
            let ports: Vec<_> = tree.ports().collect();
            let is_shut = |id: &PortId| self.ports.get(id.index()).is_some_and(|port| port.is_shut);
            let shut = ports.iter().map(|port| port.id).filter(is_shut).collect();
            Some(TreeReport { network, bridge, unchanged_for, ports, shut })
        })
    }

    /// What the tree of a network has to say goes where it belongs.
    fn collect(&mut self, network: NetworkId, slow: &mut Slow<'_>) {
        let Some(Some(Tree { tree, address, told })) = self.trees.get_mut(network.index()) else { return };
        while let Some(port) = tree.next_flush() {
            if let Some(bridge) = slow.bridges.get(network.index()) {
                bridge.fdb().flush_port(port);
            }
        }
        let mut news = Vec::new();
        while let Some(id) = tree.next_change() {
            self.switched.push(id);
            if let Some(port) = tree.ports().find(|port| port.id == id) {
                news.push(TreeChange::Port { port: id, role: port.role, traffic: port.traffic });
            }
        }
        let bridge = tree.report();
        let root = (bridge.root.root, bridge.root_port);
        if std::mem::replace(told, root) != root {
            news.push(TreeChange::Root { network, root: root.0, port: root.1 });
        }
        while slow.out.has_room()
            && let Some((port, bpdu)) = tree.next_message()
        {
            slow.out.push(To::Port(port), &frame(*address, &bpdu), Offload::NONE);
        }
        news.into_iter().for_each(|change| self.tell(change));
        self.set_next();
    }

    fn set_next(&mut self) {
        let due = |Tree { tree, .. }: &Tree| {
            if tree.has_messages() { Some(Millis::ZERO) } else { tree.next_timeout() }
        };
        self.next = self.trees.iter().flatten().filter_map(due).min();
    }

    fn tell(&mut self, change: TreeChange) {
        if self.changes.len() < UNTOLD {
            self.changes.push_back(change);
        }
    }
}

impl Tree {
    fn new(address: MacAddr, settings: TreeSettings) -> Self {
        let tree = SpanningTree::new(address, settings);
        let told = (tree.report().id, None);
        Self { tree, address, told }
    }
}

/// What is behind the header of logical link control, of an untagged frame whose header is that of bridges.
fn payload<'a>(punted: &'a Punted<'_>) -> Option<&'a [u8]> {
    let len = usize::from(punted.meta.ether_type.0);
    let is_bridges = punted.meta.dst == MacAddr::BRIDGES && punted.meta.l3 == 14;
    punted.packet().get(..len).filter(|_| is_bridges)?.strip_prefix(&LLC)
}

fn frame(src: MacAddr, bpdu: &Bpdu) -> Vec<u8> {
    let (bytes, len) = bpdu.write();
    let mut payload = [0; SHORTEST];
    payload[..LLC.len()].copy_from_slice(&LLC);
    payload[LLC.len()..LLC.len() + len].copy_from_slice(&bytes[..len]);
    let length = EtherType((LLC.len() + len) as u16);
    eth().src(src).dst(MacAddr::BRIDGES).ether_type(length).payload(&payload)
}

/// Both service access points are that of bridges; unnumbered information. IEEE 802.1D-2004, 7.12.3.
const LLC: [u8; 3] = [0x42, 0x42, 3];
/// A frame's payload has no fewer bytes.
const SHORTEST: usize = 46;
/// What neighbours send: a handful at once while roles change, and one in a second otherwise. Several may be on one wire.
const BPDUS: Rate = Rate { per_second: 10, burst: 30 };
/// Mbit/s of ports that have no speed, such as those of virtual machines.
const USUAL_SPEED: u32 = 10_000;
/// Changes that nobody has asked for.
const UNTOLD: usize = 256;
