//! Port Receive: a message comes in. Figure 17-12.

use packet::Millis;

use crate::stp::bpdu::Bpdu;
use crate::stp::port::{MIGRATE_TIME, Port};
use crate::stp::state::Receive;
use crate::stp::timer::Timer;

pub(crate) fn next(port: &Port) -> Option<Receive> {
    if !port.enabled {
        let is_idle = port.bpdu.is_none() && port.timers.edge_delay == Timer::Held(MIGRATE_TIME);
        return (!is_idle).then_some(Receive::Discard);
    }
    (port.bpdu.is_some() && port.message.is_none()).then_some(Receive::Receive)
}

pub(crate) fn enter(port: &mut Port, state: Receive, now: Millis) {
    port.states.receive = state;
    match state {
        Receive::Discard => {
            (port.bpdu, port.message) = (None, None);
            (port.received_rapid, port.received_stp) = (false, false);
            // Set anew as long as the port is down.
            port.timers.edge_delay = Timer::Held(MIGRATE_TIME);
        }
        Receive::Receive => {
            port.message = port.bpdu.take();
            // updtBPDUVersion, 17.21.22.
            match port.message {
                Some(Bpdu::Rapid(_)) => port.received_rapid = true,
                _ => port.received_stp = true,
            }
            port.oper_edge = false;
            port.timers.edge_delay = Timer::start(MIGRATE_TIME, now);
        }
    }
}
