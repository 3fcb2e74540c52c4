//! Room for a new flow where there is none, or none for its owner: a flow that nobody has answered goes.
//!
//! ```text
//! table full           ─▶ of the oldest unanswered ones, one of the owner with most flows
//! owner has its share  ─▶ of the oldest unanswered ones, one of its own
//! of several           ─▶ one of the host that most of them are from, or for
//! ```
//!
//! Mappings stay: a flow goes only if it has none, as one to a published port, or others use its mapping
//! too. So a flood of first packets, with whatever addresses, displaces itself: connections that were
//! answered stay, and new ones find room.

use std::net::Ipv4Addr;

use packet::{DropReason, PortId, share};

use crate::flows::table::{FlowMappings, FlowTable};
use crate::flows::timeouts::TimeoutClass;
use crate::flows::tuple::Direction;
use crate::memory::slab::Id;

impl FlowTable {
    /// Whether there is room for a flow of `owner` among `limit`, or else which flow has to make room
    /// for it: one without which its mappings stay.
    ///
    /// # Errors
    /// `FlowTableFull`, `NatShareUsed`: there is nothing that may go.
    pub(crate) fn room_for(
        &self,
        owner: Option<PortId>,
        limit: usize,
        leaves_its_mappings: impl Fn(FlowMappings) -> bool,
    ) -> Result<Option<Id>, DropReason> {
        let used = self.len();
        let is_full = used >= limit;
        let has_share = |owner| share::may_take(self.shares().held(owner), used, limit);
        if !is_full && owner.is_none_or(has_share) {
            return Ok(None);
        }
        let displaced = self.unanswered(owner.filter(|_| !is_full), leaves_its_mappings);
        let full = if is_full { DropReason::FlowTableFull } else { DropReason::NatShareUsed };
        displaced.ok_or(full).map(Some)
    }

    /// The flow that is missed least, of those that nobody has answered: of `owner`, if that is given.
    fn unanswered(
        &self,
        owner: Option<PortId>,
        leaves_its_mappings: impl Fn(FlowMappings) -> bool,
    ) -> Option<Id> {
        let shares = self.shares();
        let may_go = |&id: &Id| {
            let flow = self.get(id);
            (owner.is_none() || shares.owner(id) == owner)
                && (flow.class == TimeoutClass::TcpOpening || flow.is_unanswered())
                // RFC 6888 REQ-11c: no mapping ends to make room.
                && leaves_its_mappings(self.mappings(id))
        };
        let oldest = UNANSWERED.into_iter().flat_map(|class| self.oldest(class).take(LOOKED_AT));
        let candidates: Vec<(Id, [Ipv4Addr; 2])> =
            oldest.filter(may_go).map(|id| (id, self.hosts_of(id))).collect();
        let weight = |&(id, hosts): &(Id, [Ipv4Addr; 2])| {
            let same = |nth: usize| candidates.iter().filter(|(_, other)| other[nth] == hosts[nth]).count();
            (shares.owner(id).map_or(0, |owner| shares.held(owner)), same(0).max(same(1)))
        };
        // Of equals the first, which is the oldest.
        candidates.iter().rev().max_by_key(|candidate| weight(candidate)).map(|&(id, _)| id)
    }

    /// Who sent the first packet, and who was to receive it.
    fn hosts_of(&self, id: Id) -> [Ipv4Addr; 2] {
        Direction::BOTH.map(|direction| self.get(id).tuple(direction).source_address())
    }
}

/// The classes whose flows may be unanswered.
const UNANSWERED: [TimeoutClass; 3] = [TimeoutClass::TcpOpening, TimeoutClass::Udp, TimeoutClass::Icmp];
/// Flows of each that are looked at, the oldest ones: two dozen cache lines, a microsecond or two, and
/// only where a new flow would be refused otherwise.
const LOOKED_AT: usize = 8;
