//! Topology Change: stations may be behind other ports than before, and all bridges hear of it. Figure 17-23.

use packet::Millis;

use crate::stp::bpdu::Role;
use crate::stp::port::Port;
use crate::stp::state::Topology;
use crate::stp::timer::Timer;
use crate::stp::tree::Tree;
use crate::stp::vector::{Times, span};

pub(crate) const fn next(port: &Port) -> Option<Topology> {
    let is_active = matches!(port.role, Role::Root | Role::Designated);
    let has_heard = port.received_tc || port.received_tcn || port.received_tc_ack || port.tc_prop;
    match port.states.topology {
        Topology::Inactive if port.learn => Some(Topology::Learning),
        Topology::Learning if port.forward && !port.oper_edge && is_active => Some(Topology::Detected),
        Topology::Learning if !is_active && !port.learn && !port.learning && !has_heard => {
            Some(Topology::Inactive)
        }
        Topology::Learning if has_heard => Some(Topology::Learning),
        Topology::Active if !is_active || port.oper_edge => Some(Topology::Learning),
        Topology::Active if port.received_tcn => Some(Topology::NotifiedTcn),
        Topology::Active if port.received_tc => Some(Topology::NotifiedTc),
        Topology::Active if port.tc_prop => Some(Topology::Propagating),
        Topology::Active if port.received_tc_ack => Some(Topology::Acknowledged),
        Topology::NotifiedTcn => Some(Topology::NotifiedTc),
        Topology::Detected | Topology::NotifiedTc | Topology::Propagating | Topology::Acknowledged => {
            Some(Topology::Active)
        }
        _ => None,
    }
}

pub(crate) fn enter(tree: &mut Tree, at: usize, state: Topology, now: Millis) {
    let root_times = tree.root_times;
    let port = &mut tree.ports[at];
    let id = port.id;
    port.states.topology = state;
    match state {
        Topology::Inactive => {
            (port.timers.topology_change, port.tc_ack) = (Timer::Zero, false);
            tree.note_flush(id);
        }
        Topology::Learning => {
            (port.received_tc, port.received_tcn) = (false, false);
            (port.received_tc_ack, port.tc_prop) = (false, false);
        }
        Topology::Detected => {
            run_timer(port, root_times, now);
            port.new_info = true;
            tree.set_tc_prop(at, now);
        }
        Topology::NotifiedTcn => run_timer(port, root_times, now),
        Topology::NotifiedTc => {
            (port.received_tcn, port.received_tc) = (false, false);
            port.tc_ack |= port.role == Role::Designated;
            tree.set_tc_prop(at, now);
        }
        Topology::Propagating => {
            run_timer(port, root_times, now);
            port.tc_prop = false;
            tree.note_flush(id);
        }
        Topology::Acknowledged => {
            (port.timers.topology_change, port.received_tc_ack) = (Timer::Zero, false);
        }
        Topology::Active => {}
    }
}

/// newTcWhile, 17.21.7.
fn run_timer(port: &mut Port, root_times: Times, now: Millis) {
    if !port.timers.topology_change.is_zero(now) {
        return;
    }
    let time = if port.send_rapid {
        port.new_info = true;
        port.hello_time() + Millis::from_secs(1)
    } else {
        span(root_times.max_age) + span(root_times.forward_delay)
    };
    port.timers.topology_change = Timer::start(time, now);
}
