//! A flow, for people.

use std::net::{Ipv4Addr, SocketAddrV4};

use packet::{Millis, Protocol};

use crate::flows::table::{FlowTable, deadline};
use crate::flows::timeouts::Timeouts;
use crate::flows::tuple::{Direction, Tuple};
use crate::memory::slab::Id;

/// A flow, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowView {
    /// The direction of the flow's first packet, as its packets arrive.
    pub original: Tuple,
    /// The other direction, as its packets arrive.
    pub reply: Tuple,
    /// Where the flow is in its life, such as `established`.
    pub state: &'static str,
    /// Time until it is forgotten if nothing comes.
    pub expires_in: Millis,
    /// Time since its last packet, or up to a second more.
    pub idle: Millis,
    /// Packets in original and reply direction.
    pub packets: [u64; 2],
    /// Bytes of IP packets in original and reply direction.
    pub bytes: [u64; 2],
}

/// One that nothing has passed, for tests that name what they are about.
impl Default for FlowView {
    fn default() -> Self {
        let nowhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let nothing = Tuple::new(Protocol(0), nowhere, nowhere);
        let (original, reply, state) = (nothing, nothing, "");
        let (expires_in, idle, packets, bytes) = (Millis::ZERO, Millis::ZERO, [0; 2], [0; 2]);
        Self { original, reply, state, expires_in, idle, packets, bytes }
    }
}

impl FlowView {
    pub(crate) fn of(flows: &FlowTable, id: Id, timeouts: &Timeouts, now: Millis) -> Self {
        let (flow, passed) = (flows.get(id), flows.passed(id));
        Self {
            original: flow.tuple(Direction::Original),
            reply: flow.tuple(Direction::Reply),
            state: flow.state_name(),
            expires_in: deadline(flow, timeouts).since(now),
            idle: now.since(Millis::from_secs(flow.refreshed.into())),
            packets: passed.map(|passed| passed.packets),
            bytes: passed.map(|passed| passed.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::flow::Flow;
    use crate::flows::table::FlowMappings;

    #[test]
    fn a_flow_is_idle_since_its_last_packet() {
        let (mut flows, at) = (FlowTable::new([1, 2]), |secs| Millis::from_secs(secs));
        let view = FlowView::default();
        let keys = [view.original, view.reply].map(|tuple| flows.key(tuple));
        let id =
            flows.insert(Flow::new(view.original, view.reply), keys, FlowMappings::default(), None, at(10));
        let idle = |flows: &FlowTable, now| FlowView::of(flows, id, &Timeouts::default(), at(now)).idle;
        assert_eq!([10, 70].map(|now| idle(&flows, now)), [at(0), at(60)]);
        flows.refresh(id, flows.get(id).class, at(75));
        assert_eq!(idle(&flows, 80), at(5));
    }
}
