//! Stage 4: destinations become verdicts.

use packet::{Burst, DropReason, FrameMeta, MacAddr, Millis, PortId, PuntReason, Verdict, Vid};

use crate::fdb::Fdb;
use crate::guard::Guards;
use crate::own::Own;
use crate::ports::{Origin, Ports};

/// What decides where a frame goes.
#[derive(Clone, Copy)]
pub(crate) struct Forward<'a> {
    pub fdb: &'a Fdb,
    pub guards: &'a Guards,
    pub ports: &'a Ports,
    pub own: &'a Own,
}

impl Forward<'_> {
    /// Decides where each frame goes.
    #[inline]
    pub(crate) fn all(self, burst: &mut Burst, now: Millis) {
        let origin = burst.origin().and_then(|id| self.ports.origin(id));
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

    /// Where a frame goes that the switch itself sends to `dst` in the untagged VLAN.
    #[inline]
    pub(crate) fn towards(self, dst: MacAddr, now: Millis) -> Verdict {
        if dst.is_group() {
            return Verdict::Flood;
        }
        match self.find(dst, Vid::UNTAGGED, now) {
            Some(port) => Verdict::Forward(port),
            None if self.ports.are_all_apart() => Verdict::Drop(DropReason::UnknownStation),
            None => Verdict::Flood,
        }
    }

    #[inline]
    fn decide(self, meta: &FrameMeta, origin: Option<Origin>, now: Millis) -> Verdict {
        if Some(meta.dst) == self.own.gateway {
            let is_here = meta.vid == Vid::UNTAGGED;
            return if is_here { Verdict::Local } else { DropReason::TaggedForGateway.into() };
        }
        if meta.dst.is_group() {
            let is_asked_for = self.own.asked_for.contains(&meta.dst);
            return if is_asked_for { PuntReason::Control.into() } else { Verdict::Flood };
        }
        match (self.find(meta.dst, meta.vid, now), origin) {
            (Some(port), Some(origin)) => self.between(origin, port),
            (Some(port), None) => Verdict::Forward(port),
            (None, _) => Verdict::Flood,
        }
    }

    /// The port of a station that was heard of lately, or that is the only one at a guarded port.
    #[inline]
    fn find(self, mac: MacAddr, vid: Vid, now: Millis) -> Option<PortId> {
        self.fdb.lookup(mac, vid, now).or_else(|| self.guarded_port(mac, vid))
    }

    #[cold]
    fn guarded_port(self, mac: MacAddr, vid: Vid) -> Option<PortId> {
        let port = self.guards.port_of(mac)?;
        self.ports.get(port).filter(|port| port.vlans.carry(vid)).map(|_| port)
    }

    #[inline]
    fn between(self, origin: Origin, port: PortId) -> Verdict {
        if port == origin.id {
            return if origin.hairpin { Verdict::Forward(port) } else { DropReason::SamePort.into() };
        }
        let is_apart =
            origin.group.is_some() && self.ports.get(port).is_some_and(|port| port.group == origin.group);
        if is_apart { DropReason::PortIsolated.into() } else { Verdict::Forward(port) }
    }
}
