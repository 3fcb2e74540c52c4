//! A flow, for people.

use packet::Millis;

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
    /// Packets in original and reply direction.
    pub packets: [u64; 2],
    /// Bytes of IP packets in original and reply direction.
    pub bytes: [u64; 2],
}

impl FlowView {
    pub(crate) fn of(flows: &FlowTable, id: Id, timeouts: &Timeouts, now: Millis) -> Self {
        let (flow, passed) = (flows.get(id), flows.passed(id));
        Self {
            original: flow.tuple(Direction::Original),
            reply: flow.tuple(Direction::Reply),
            state: flow.state_name(),
            expires_in: deadline(flow, timeouts).since(now),
            packets: passed.map(|passed| passed.packets),
            bytes: passed.map(|passed| passed.bytes),
        }
    }
}
