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
        let (state, expires_in) = ("", Millis::ZERO);
        Self { original: nothing, reply: nothing, state, expires_in, packets: [0; 2], bytes: [0; 2] }
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
            packets: passed.map(|passed| passed.packets),
            bytes: passed.map(|passed| passed.bytes),
        }
    }
}
