//! One Ethernet segment: the stages ingress, guard, learn, forward and egress. IEEE 802.1Q, 8.6.

use std::cell::Cell;
use std::net::Ipv4Addr;

use packet::{
    Burst, DropReason, FrameMeta, MacAddr, Millis, PortCounters, PortId, PuntReason, TxEntry, TxLists,
    Verdict, Vid,
};

use crate::fdb::{Fdb, Learned};
use crate::guard::{Guards, PortGuard};
use crate::ports::PortSettings;

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
    /// A port in this state and group, with what is set for it.
    pub const fn new(state: PortState, group: Option<Group>, settings: &PortSettings) -> Self {
        Self { state, mtu: settings.mtu, learn_limit: settings.learn_limit, group, hairpin: false }
    }
}

/// Where a burst came in.
#[derive(Clone, Copy)]
struct Origin {
    id: PortId,
    group: Option<Group>,
    hairpin: bool,
}

/// A segment with its ports.
#[derive(Debug)]
pub struct Bridge {
    fdb: Fdb,
    ports: Vec<Option<BridgePort>>,
    /// The ids of the ports there are, ascending: where flooding goes.
    members: Vec<PortId>,
    local: Option<MacAddr>,
    /// Where probes for loops come from.
    probe: MacAddr,
    /// Group addresses whose frames end at the host.
    asked_for: Vec<MacAddr>,
    /// Whether a frame since the last look hints at a loop.
    suspicious: Cell<bool>,
    guards: Guards,
}

impl Bridge {
    /// A segment without ports.
    pub fn new(fdb: Fdb) -> Self {
        Self {
            fdb,
            ports: Vec::new(),
            members: Vec::new(),
            local: None,
            probe: MacAddr::ZERO,
            asked_for: Vec::new(),
            suspicious: Cell::new(false),
            guards: Guards::default(),
        }
    }

    /// The forwarding database.
    pub fn fdb(&self) -> &Fdb {
        &self.fdb
    }

    /// The forwarding database, for settings.
    pub fn fdb_mut(&mut self) -> &mut Fdb {
        &mut self.fdb
    }

    /// The switch's own address in the segment; frames to it get the verdict `Local`.
    pub fn set_local(&mut self, local: Option<MacAddr>) {
        self.local = local;
    }

    /// The address that probes for loops come from, which must be this bridge's alone. They go to its group address, so
    /// that all other bridges flood them.
    pub fn set_probe(&mut self, source: MacAddr) {
        self.probe = source;
        self.fdb.set_own(source);
    }

    /// Frames to this group address end at the host, like those to the addresses that no bridge forwards.
    pub fn ask_for(&mut self, group: MacAddr) {
        self.asked_for.push(group);
    }

    /// Source and destination of a probe for loops.
    pub const fn probe(&self) -> (MacAddr, MacAddr) {
        (self.probe, self.probe.to_group())
    }

    /// Whether the last burst hints at a loop: a station in it flaps, or it has a frame from the switch's own address.
    pub fn take_suspicion(&self) -> bool {
        self.suspicious.take()
    }

    /// Adds the port or changes it. One that stops learning is flushed.
    pub fn set_port(&mut self, id: PortId, port: BridgePort) {
        if self.ports.len() <= id.index() {
            self.ports.resize(id.index() + 1, None);
        }
        if matches!(port.state, PortState::Discarding | PortState::Looping) {
            self.fdb.flush_port(id);
            self.guards.forget(id);
        }
        self.ports[id.index()] = Some(port);
        if let Err(at) = self.members.binary_search(&id) {
            self.members.insert(at, id);
        }
    }

    /// Has the port say nothing but what is true of it, or no longer.
    pub fn set_guard(&mut self, id: PortId, guard: Option<PortGuard>) {
        self.guards.set(id, guard);
    }

    /// Removes the port and what was learned on it.
    pub fn remove_port(&mut self, id: PortId) {
        if let Some(port) = self.ports.get_mut(id.index()) {
            *port = None;
        }
        self.members.retain(|&member| member != id);
        self.guards.set(id, None);
        self.fdb.flush_port(id);
    }

    /// The port, if it is in this segment.
    pub fn port(&self, id: PortId) -> Option<BridgePort> {
        self.ports.get(id.index()).copied().flatten()
    }

    /// The ids of all ports, ascending.
    pub fn members(&self) -> &[PortId] {
        &self.members
    }

    /// Drops what may not enter. Frames of the switch itself (no origin) may.
    pub fn ingress(&self, burst: &mut Burst) {
        let Some(origin) = burst.origin() else { return };
        let state = self.port(origin).map_or(PortState::Discarding, |port| port.state);
        if state != PortState::Forwarding {
            return self.refuse(burst, state);
        }
        for meta in burst.metas_mut() {
            if meta.dst.is_bridge_reserved() {
                punt(meta);
            } else if Some(meta.src) == self.local {
                meta.drop(DropReason::OwnSourceMac);
                self.suspicious.set(true);
            }
        }
    }

    /// Drops all frames of a port that isn't forwarding, but for probes that look whether its loop is still there.
    #[cold]
    fn refuse(&self, burst: &mut Burst, state: PortState) {
        let is_looping = state == PortState::Looping;
        let reason = if is_looping { DropReason::LoopDamped } else { DropReason::PortNotForwarding };
        for meta in burst.metas_mut() {
            if !(is_looping && meta.dst == self.probe.to_group()) {
                meta.drop(reason);
            }
        }
    }

    /// Drops what a guarded port may not say. `holder` tells which station an address is leased or reserved to.
    pub fn guard(&mut self, burst: &mut Burst, holder: impl Fn(Ipv4Addr) -> Option<MacAddr>) {
        let (fdb, origin) = (&self.fdb, burst.origin());
        let is_static = |mac| fdb.static_port(mac, Vid::DEFAULT).is_some_and(|port| Some(port) != origin);
        self.guards.check(burst, holder, is_static);
    }

    /// Notes where the sources are. Never drops; counts what it could not learn.
    pub fn learn(&self, burst: &Burst, counters: &mut PortCounters, now: Millis) {
        let Some((origin, port)) = burst.origin().and_then(|id| Some((id, self.port(id)?))) else { return };
        if matches!(port.state, PortState::Discarding | PortState::Looping) {
            return;
        }
        let sighting = self.fdb.sighting(origin, now);
        // Frames of a burst mostly have one sender.
        let mut last = None;
        for meta in burst.metas() {
            let station = (meta.src, meta.vid);
            if last == Some(station) || !may_be_learned(meta) {
                continue;
            }
            last = Some(station);
            let learned = self.fdb.learn(meta.src, meta.vid, sighting, port.learn_limit);
            if matches!(learned, Learned::Refused | Learned::Flapping) {
                counters.learn_refused += 1;
                self.suspicious.set(self.suspicious.get() || learned == Learned::Flapping);
            }
        }
    }

    fn origin(&self, id: PortId) -> Option<Origin> {
        let port = self.port(id)?;
        Some(Origin { id, group: port.group, hairpin: port.hairpin })
    }

    /// Decides where each frame goes.
    pub fn forward(&self, burst: &mut Burst, now: Millis) {
        let origin = burst.origin().and_then(|id| self.origin(id));
        let mut last = None;
        for meta in burst.metas_mut() {
            if meta.verdict != Verdict::Undecided {
                continue;
            }
            let station = (meta.dst, meta.vid);
            meta.verdict = match last {
                Some((known, verdict)) if known == station => verdict,
                _ => self.decide(meta, origin, now),
            };
            last = Some((station, meta.verdict));
        }
    }

    /// Where a frame goes that the switch itself sends to `dst` in the untagged VLAN. Where no port sees another, nothing is
    /// flooded that is for one station.
    #[inline]
    pub fn towards(&self, dst: MacAddr, now: Millis) -> Verdict {
        if dst.is_group() {
            return Verdict::Flood;
        }
        match self.find(dst, Vid::DEFAULT, now) {
            Some(port) => Verdict::Forward(port),
            None if self.is_all_apart() => Verdict::Drop(DropReason::UnknownStation),
            None => Verdict::Flood,
        }
    }

    /// Whether all ports are in one group.
    fn is_all_apart(&self) -> bool {
        let mut groups = self.members.iter().map(|&id| self.port(id)?.group);
        let first = groups.next().flatten();
        first.is_some() && groups.all(|group| group == first)
    }

    /// The port of a station that was heard of lately, or that is the only one at a guarded port.
    #[inline]
    fn find(&self, mac: MacAddr, vid: Vid, now: Millis) -> Option<PortId> {
        self.fdb.lookup(mac, vid, now).or_else(|| self.guards.port_of(mac))
    }

    fn decide(&self, meta: &FrameMeta, origin: Option<Origin>, now: Millis) -> Verdict {
        if Some(meta.dst) == self.local {
            return Verdict::Local;
        }
        if meta.dst.is_group() {
            let is_asked_for = self.asked_for.contains(&meta.dst);
            return if is_asked_for { PuntReason::Control.into() } else { Verdict::Flood };
        }
        match self.find(meta.dst, meta.vid, now) {
            Some(port) => match origin.map_or(Ok(()), |origin| self.sees(origin, port)) {
                Ok(()) => Verdict::Forward(port),
                Err(reason) => Verdict::Drop(reason),
            },
            None => Verdict::Flood,
        }
    }

    /// Whether what came in by `origin` may leave by `port`.
    #[inline]
    fn sees(&self, origin: Origin, port: PortId) -> Result<(), DropReason> {
        if port == origin.id {
            return if origin.hairpin { Ok(()) } else { Err(DropReason::SamePort) };
        }
        let is_hidden =
            origin.group.is_some() && self.port(port).is_some_and(|port| port.group == origin.group);
        if is_hidden { Err(DropReason::PortIsolated) } else { Ok(()) }
    }

    /// Puts a frame of a burst from `origin` on the lists of the ports it goes to; `packet_len` is the length of
    /// the largest layer-3 packet that it becomes on the wire.
    #[inline]
    pub fn egress(
        &self,
        entry: TxEntry,
        meta: &mut FrameMeta,
        packet_len: usize,
        origin: Option<PortId>,
        lists: &mut TxLists,
    ) {
        match meta.verdict {
            Verdict::Forward(port) => match self.admits(port, packet_len) {
                Ok(()) => lists.push(port, entry),
                Err(reason) => meta.drop(reason),
            },
            Verdict::Flood => self.flood(entry, meta, packet_len, origin, lists),
            Verdict::Undecided
            | Verdict::Local
            | Verdict::Punt(_)
            | Verdict::Divert(_)
            | Verdict::Drop(_) => {}
        }
    }

    fn flood(
        &self,
        entry: TxEntry,
        meta: &mut FrameMeta,
        packet_len: usize,
        origin: Option<PortId>,
        lists: &mut TxLists,
    ) {
        let origin = if meta.routed { None } else { origin.and_then(|id| self.origin(id)) };
        let mut refused = None;
        let mut sent = false;
        for &port in &self.members {
            let seen = origin.map_or(Ok(()), |origin| self.sees(origin, port));
            if seen == Err(DropReason::SamePort) {
                continue;
            }
            match self.admits(port, packet_len).and(seen) {
                // Ports that are down take nothing, and miss nothing; what a loop leads to comes by another port.
                Err(DropReason::PortNotForwarding | DropReason::LoopDamped) => {}
                Ok(()) => {
                    lists.push(port, entry);
                    sent = true;
                }
                Err(reason) => refused = Some(reason),
            }
        }
        // A frame that the gateway looks at has arrived, even if no port is there to take it; and what is for all has
        // reached all where nobody else is there.
        let is_for_one = meta.routed && !meta.dst.is_group();
        if !sent
            && meta.copy.is_none()
            && let Some(reason) = refused.or(is_for_one.then_some(DropReason::NoEgressPort))
        {
            meta.drop(reason);
        }
    }

    #[inline]
    fn admits(&self, port: PortId, packet_len: usize) -> Result<(), DropReason> {
        match self.port(port) {
            Some(port) if port.state == PortState::Looping => Err(DropReason::LoopDamped),
            Some(port) if port.state != PortState::Forwarding => Err(DropReason::PortNotForwarding),
            Some(port) if packet_len > usize::from(port.mtu) => Err(DropReason::MtuExceeded),
            Some(_) => Ok(()),
            None => Err(DropReason::NoEgressPort),
        }
    }
}

/// The host gets the frame, unless an earlier stage has dropped it.
fn punt(meta: &mut FrameMeta) {
    if !meta.is_dropped() {
        meta.verdict = PuntReason::Control.into();
    }
}

/// A frame without a usable source, or that ingress refused for another reason than its destination, teaches nothing.
fn may_be_learned(meta: &FrameMeta) -> bool {
    match meta.verdict {
        Verdict::Drop(reason) => reason == DropReason::PortNotForwarding,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
