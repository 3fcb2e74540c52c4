//! The ports of a segment: what is set for each, what it may do, and which see each other.

use std::net::Ipv4Addr;

use packet::{MacAddr, PortId};

use crate::guard::Guard;

/// What is set for a port. The default is what holds where nothing is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortSettings {
    /// The largest layer-3 packet it takes, in bytes.
    pub mtu: u16,
    /// Addresses learned on it at most.
    pub learn_limit: u32,
    /// Addresses that are always behind it.
    pub static_macs: Vec<MacAddr>,
    /// What it may not say of itself.
    pub guard: Guard,
    /// Addresses that are given to it, for `guard`.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether it sees only ports that are not isolated.
    pub isolated: bool,
    /// Whether frames may leave by it that came in by it. IEEE 802.1Qbg, reflective relay.
    pub hairpin: bool,
}

impl Default for PortSettings {
    fn default() -> Self {
        Self {
            // Ethernet's.
            mtu: 1500,
            // A LAN may be behind the port, and whoever has most gives way to others when the table is full.
            learn_limit: u32::MAX,
            static_macs: Vec::new(),
            guard: Guard::NONE,
            addresses: Vec::new(),
            isolated: false,
            hairpin: false,
        }
    }
}

/// What a port may do. IEEE 802.1Q, 8.4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortState {
    /// Nothing passes, nothing is learned. Also: the link is down.
    Discarding,
    /// Closed because of a loop: nothing passes, nothing is learned, but probes for loops come in.
    Looping,
    /// Nothing passes, addresses are learned.
    Learning,
    /// Everything passes.
    Forwarding,
}

impl PortState {
    /// Whether stations behind the port are learned.
    pub(crate) const fn learns(self) -> bool {
        matches!(self, Self::Learning | Self::Forwarding)
    }
}

/// A group of ports that don't see each other: what comes in by one of them leaves by none of the others. They see all
/// other ports, and the switch itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group(pub u8);

impl Group {
    /// The guests that are kept apart from each other.
    pub const ISOLATED: Self = Self(0);
}

/// A port as the bridge sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BridgePort {
    /// What it may do.
    pub state: PortState,
    /// The largest layer-3 packet it takes, in bytes.
    pub mtu: u16,
    /// Addresses learned on it at most.
    pub learn_limit: u32,
    /// The group that it is in.
    pub group: Option<Group>,
    /// Frames may leave by it that came in by it. IEEE 802.1Qbg, reflective relay.
    pub hairpin: bool,
}

impl BridgePort {
    /// A port in this state, with what is set for it. Where `is_apart`, the segment keeps all its ports apart.
    pub const fn new(state: PortState, is_apart: bool, settings: &PortSettings) -> Self {
        let &PortSettings { mtu, learn_limit, isolated, hairpin, .. } = settings;
        let group = if is_apart || isolated { Some(Group::ISOLATED) } else { None };
        Self { state, mtu, learn_limit, group, hairpin }
    }
}

/// Where a frame came in, as far as that decides where it may leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub id: PortId,
    pub group: Option<Group>,
    pub hairpin: bool,
}

/// The ports of a segment.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    settings: Vec<Option<BridgePort>>,
    /// The ids of the ports there are, ascending: where flooding goes.
    members: Vec<PortId>,
}

impl Ports {
    pub(crate) fn set(&mut self, id: PortId, port: BridgePort) {
        if self.settings.len() <= id.index() {
            self.settings.resize(id.index() + 1, None);
        }
        self.settings[id.index()] = Some(port);
        if let Err(at) = self.members.binary_search(&id) {
            self.members.insert(at, id);
        }
    }

    pub(crate) fn remove(&mut self, id: PortId) {
        if let Some(port) = self.settings.get_mut(id.index()) {
            *port = None;
        }
        if let Ok(at) = self.members.binary_search(&id) {
            self.members.remove(at);
        }
    }

    /// The port, if it is in this segment.
    #[inline]
    pub(crate) fn get(&self, id: PortId) -> Option<&BridgePort> {
        self.settings.get(id.index())?.as_ref()
    }

    /// The ids of all ports, ascending.
    pub(crate) fn members(&self) -> &[PortId] {
        &self.members
    }

    pub(crate) fn origin(&self, id: PortId) -> Option<Origin> {
        let port = self.get(id)?;
        Some(Origin { id, group: port.group, hairpin: port.hairpin })
    }

    /// Whether no port sees another one: all are in one group.
    pub(crate) fn are_all_apart(&self) -> bool {
        let mut groups = self.members.iter().map(|&id| self.get(id)?.group);
        let first = groups.next().flatten();
        first.is_some() && groups.all(|group| group == first)
    }
}
