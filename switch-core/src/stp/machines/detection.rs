//! Bridge Detection: whether there is a bridge behind the port at all. Figure 17-14.

use packet::Millis;

use crate::stp::port::Port;
use crate::stp::state::Detection;

pub(crate) fn next(port: &Port, now: Millis) -> Option<Detection> {
    let is_alone = port.timers.edge_delay.is_zero(now) && port.send_rapid && port.proposing;
    match port.states.detection {
        Detection::NotEdge if !port.enabled && port.admin_edge() => Some(Detection::Edge),
        Detection::NotEdge if port.enabled && port.auto_edge() && is_alone => Some(Detection::Edge),
        Detection::Edge if !port.enabled && !port.admin_edge() => Some(Detection::NotEdge),
        Detection::Edge if !port.oper_edge => Some(Detection::NotEdge),
        _ => None,
    }
}

pub(crate) const fn enter(port: &mut Port, state: Detection) {
    port.states.detection = state;
    port.oper_edge = matches!(state, Detection::Edge);
}
