//! One Ethernet segment: what its stages share, and what is set. IEEE 802.1Q, 8.6.

use std::net::Ipv4Addr;

use packet::{Burst, FrameMeta, MacAddr, Millis, PortCounters, PortId, TxEntry, TxLists, Verdict};

use crate::egress::egress;
use crate::fdb::Fdb;
use crate::forward::Forward;
use crate::guard::{Guards, PortGuard};
use crate::ingress::ingress;
use crate::learn::learn;
use crate::own::Own;
use crate::ports::{BridgePort, PortState, Ports};
use crate::vlan::classify;

/// A segment with its ports.
#[derive(Debug)]
pub struct Bridge {
    fdb: Fdb,
    ports: Ports,
    guards: Guards,
    own: Own,
    /// Whether a frame since the last look hints at a loop.
    is_suspicious: bool,
}

impl Bridge {
    /// A segment without ports.
    pub fn new(fdb: Fdb) -> Self {
        Self {
            fdb,
            ports: Ports::default(),
            guards: Guards::default(),
            own: Own::default(),
            is_suspicious: false,
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
        self.own.gateway = local;
    }

    /// The address that probes for loops come from, which must be this bridge's alone. They go to its group address, so
    /// that all other bridges flood them.
    pub fn set_probe(&mut self, source: MacAddr) {
        self.own.probe = source;
        self.fdb.set_own(source);
    }

    /// Frames to this group address end at the host, like those to the addresses that no bridge forwards.
    pub fn ask_for(&mut self, group: MacAddr) {
        self.own.asked_for.push(group);
    }

    /// Source and destination of a probe for loops.
    pub const fn probe(&self) -> (MacAddr, MacAddr) {
        (self.own.probe, self.own.probe.to_group())
    }

    /// Whether the last burst hints at a loop: a station in it flaps, or it has a frame from the switch's own address.
    pub fn take_suspicion(&mut self) -> bool {
        std::mem::take(&mut self.is_suspicious)
    }

    /// Adds the port or changes it. One that stops learning is flushed, and one whose VLANs change.
    pub fn set_port(&mut self, id: PortId, port: BridgePort) {
        if !port.state.learns() {
            self.guards.forget(id);
        }
        if !port.state.learns() || self.ports.get(id).is_some_and(|before| before.vlans != port.vlans) {
            self.fdb.flush_port(id);
        }
        self.ports.set(id, port);
    }

    /// Has the port say nothing but what is true of it, or no longer.
    pub fn set_guard(&mut self, id: PortId, guard: Option<PortGuard>) {
        self.guards.set(id, guard);
    }

    /// Removes the port and what was learned on it.
    pub fn remove_port(&mut self, id: PortId) {
        self.ports.remove(id);
        self.guards.set(id, None);
        self.fdb.flush_port(id);
    }

    /// Drops what may not enter, and finds the VLAN of the rest. Frames of the switch itself (no origin) may.
    pub fn ingress(&mut self, burst: &mut Burst) {
        let Some(origin) = burst.origin() else { return };
        let port = self.ports.get(origin);
        let state = port.map_or(PortState::Discarding, |port| port.state);
        self.is_suspicious |= ingress(burst, state, &self.own);
        if let Some(BridgePort { vlans, .. }) = port.filter(|port| !port.vlans.is_all()) {
            classify(burst, vlans);
        }
    }

    /// Drops what a guarded port may not say. `holder` tells which station an address is leased or reserved to.
    pub fn guard(&mut self, burst: &mut Burst, holder: impl Fn(Ipv4Addr) -> Option<MacAddr>) {
        let (fdb, origin) = (&self.fdb, burst.origin());
        let is_static = |mac, vid| fdb.static_port(mac, vid).is_some_and(|port| Some(port) != origin);
        self.guards.check(burst, holder, is_static);
    }

    /// Notes where the sources are. Never drops; counts what it could not learn.
    pub fn learn(&mut self, burst: &Burst, counters: &mut PortCounters, now: Millis) {
        let Some((origin, port)) = burst.origin().and_then(|id| Some((id, self.ports.get(id)?))) else {
            return;
        };
        if port.state.learns() {
            self.is_suspicious |= learn(burst, (origin, port), &self.fdb, counters, now);
        }
    }

    /// Decides where each frame goes.
    pub fn forward(&self, burst: &mut Burst, now: Millis) {
        self.forwarding().all(burst, now);
    }

    /// Where a frame goes that the switch itself sends to `dst` in the untagged VLAN. Where no port sees another, nothing is
    /// flooded that is for one station.
    #[inline]
    pub fn towards(&self, dst: MacAddr, now: Millis) -> Verdict {
        self.forwarding().towards(dst, now)
    }

    fn forwarding(&self) -> Forward<'_> {
        Forward { fdb: &self.fdb, guards: &self.guards, ports: &self.ports, own: &self.own }
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
        egress(&self.ports, entry, meta, packet_len, origin, lists);
    }
}

#[cfg(test)]
mod tests;
