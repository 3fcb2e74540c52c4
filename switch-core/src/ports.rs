//! The ports of a segment: what is set for each, what it may do, and which see each other.

use std::net::Ipv4Addr;

use packet::rate::Rate;
use packet::{DropReason, MacAddr, PortId};

use crate::guard::Guard;
use crate::stp::TreePort;
use crate::vlan::PortVlans;

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
    /// Its VLANs.
    pub vlans: PortVlans,
    /// Bytes a second that it may send.
    pub rate_in: Option<Rate>,
    /// Bytes a second that it gets at most.
    pub rate_out: Option<Rate>,
    /// What it may have flooded.
    pub storm: Storm,
    /// Whether it sees only ports that are not isolated.
    pub isolated: bool,
    /// Whether frames may leave by it that came in by it. IEEE 802.1Qbg, reflective relay.
    pub hairpin: bool,
    /// Whether segments of a flow that follow one another leave as one super-frame, if it takes such frames.
    pub gro: bool,
    /// Its place in the spanning tree.
    pub tree: TreePort,
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
            vlans: PortVlans::All,
            rate_in: None,
            rate_out: None,
            storm: Storm::default(),
            isolated: false,
            hairpin: false,
            gro: true,
            tree: TreePort::default(),
        }
    }
}

/// Frames a second that a port may have flooded; `None`: as many as it likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Storm {
    /// To all stations.
    pub broadcast: Option<Rate>,
    /// To other groups.
    pub multicast: Option<Rate>,
    /// To stations of which nobody knows where they are.
    pub unknown: Option<Rate>,
}

/// What a port may do. IEEE 802.1Q, 8.4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortState {
    /// Nothing passes, nothing is learned. Also: the link is down.
    Discarding,
    /// Closed because of a loop: nothing passes, nothing is learned, but probes for loops come in.
    Looping,
    /// Kept out of the spanning tree: nothing passes, nothing is learned, but the tree's messages come in.
    Blocked,
    /// Shut because it must not hear of a spanning tree, and has.
    Shut,
    /// About to be in the spanning tree: nothing passes, addresses are learned.
    Learning,
    /// Everything passes.
    Forwarding,
}

impl PortState {
    /// Why frames come in and leave by it that don't pass.
    pub(crate) const fn refusal(self) -> DropReason {
        match self {
            Self::Looping => DropReason::LoopDamped,
            Self::Blocked | Self::Learning => DropReason::StpBlocked,
            Self::Shut => DropReason::BpduGuard,
            Self::Discarding | Self::Forwarding => DropReason::PortNotForwarding,
        }
    }

    /// Whether what bridges say of the spanning tree comes in although nothing else does.
    pub(crate) const fn hears_bridges(self) -> bool {
        matches!(self, Self::Blocked | Self::Learning | Self::Looping)
    }

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
#[derive(Clone, PartialEq, Eq, Debug)]
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
    /// Segments of a flow may leave as one super-frame.
    pub gro: bool,
    /// Its VLANs.
    pub vlans: PortVlans,
}

impl BridgePort {
    /// A port in this state, with what is set for it. Where `is_apart`, the segment keeps all its ports apart.
    pub fn new(state: PortState, is_apart: bool, settings: &PortSettings) -> Self {
        let &PortSettings { mtu, learn_limit, isolated, hairpin, gro, ref vlans, .. } = settings;
        let group = if is_apart || isolated { Some(Group::ISOLATED) } else { None };
        Self { state, mtu, learn_limit, group, hairpin, gro, vlans: vlans.clone() }
    }
}

/// A port as most frames need it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub id: PortId,
    pub group: Option<Group>,
    /// Packets below this length leave as they are, whatever else there is to be known of them. 0: all are looked at.
    pub plain_below: u32,
}

impl Member {
    /// Where `is_plain`, no port of the segment has VLANs of its own.
    fn new(id: PortId, port: &BridgePort, is_plain: bool) -> Self {
        let is_open = is_plain && port.gro && port.state == PortState::Forwarding;
        let plain_below = if is_open { u32::from(port.mtu) + 1 } else { 0 };
        Self { id, group: port.group, plain_below }
    }

    /// Whether a packet of this length leaves as it is.
    #[inline]
    pub(crate) const fn is_plain(&self, packet_len: usize) -> bool {
        packet_len < self.plain_below as usize
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
    /// By port.
    settings: Vec<Option<BridgePort>>,
    /// By port: see [`Member::plain_below`].
    plain_below: Vec<u32>,
    /// The ports there are, in ascending order of their ids: where flooding goes.
    members: Vec<Member>,
    /// Ports that have VLANs of their own.
    choosy: usize,
}

impl Ports {
    pub(crate) fn set(&mut self, id: PortId, port: BridgePort) {
        if self.settings.len() <= id.index() {
            self.settings.resize(id.index() + 1, None);
            self.plain_below.resize(id.index() + 1, 0);
        }
        self.replace(id, Some(port));
    }

    pub(crate) fn remove(&mut self, id: PortId) {
        if id.index() < self.settings.len() {
            self.replace(id, None);
        }
    }

    fn replace(&mut self, id: PortId, port: Option<BridgePort>) {
        let is_choosy =
            |port: &Option<BridgePort>| usize::from(port.as_ref().is_some_and(|port| !port.vlans.is_all()));
        let (before, is_there) = (self.choosy, port.is_some());
        self.choosy += is_choosy(&port);
        self.choosy -= is_choosy(&std::mem::replace(&mut self.settings[id.index()], port));
        match self.members.binary_search_by_key(&id, |member| member.id) {
            Ok(at) if !is_there => drop(self.members.remove(at)),
            Err(at) if is_there => self.members.insert(at, Member { id, group: None, plain_below: 0 }),
            _ => {}
        }
        self.plain_below[id.index()] = 0;
        if (before == 0) == (self.choosy == 0) {
            self.refresh(id);
        } else {
            let all: Vec<PortId> = self.members.iter().map(|member| member.id).collect();
            all.into_iter().for_each(|id| self.refresh(id));
        }
    }

    /// Notes anew what most frames need.
    fn refresh(&mut self, id: PortId) {
        if let Ok(at) = self.members.binary_search_by_key(&id, |member| member.id)
            && let Some(Some(port)) = self.settings.get(id.index())
        {
            let member = Member::new(id, port, self.choosy == 0);
            (self.members[at], self.plain_below[id.index()]) = (member, member.plain_below);
        }
    }

    /// The port, if it is in this segment.
    #[inline]
    pub(crate) fn get(&self, id: PortId) -> Option<&BridgePort> {
        self.settings.get(id.index())?.as_ref()
    }

    /// Whether a packet of this length leaves by the port as it is.
    #[inline]
    pub(crate) fn is_plain(&self, id: PortId, packet_len: usize) -> bool {
        self.plain_below.get(id.index()).is_some_and(|&below| packet_len < below as usize)
    }

    /// All ports, in ascending order of their ids.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn origin(&self, id: PortId) -> Option<Origin> {
        let port = self.get(id)?;
        Some(Origin { id, group: port.group, hairpin: port.hairpin })
    }

    /// Whether no port sees another one: all are in one group.
    pub(crate) fn are_all_apart(&self) -> bool {
        let mut groups = self.members.iter().map(|member| member.group);
        let first = groups.next().flatten();
        first.is_some() && groups.all(|group| group == first)
    }
}
