//! Port Transmit: what the port says, and when. Figure 17-15.

use packet::Millis;

use crate::stp::bpdu::{Bpdu, Message, Role};
use crate::stp::port::Port;
use crate::stp::state::Transmit;
use crate::stp::timer::Timer;
use crate::stp::tree::Tree;

pub(crate) fn next(port: &Port, now: Millis) -> Option<Transmit> {
    if !port.enabled {
        return (port.states.transmit != Transmit::Init).then_some(Transmit::Init);
    }
    match port.states.transmit {
        Transmit::Idle if port.is_decided() => {
            let is_silent = !port.new_info || !port.may_send();
            match port.role {
                _ if port.timers.hello.is_zero(now) => Some(Transmit::Periodic),
                _ if is_silent => None,
                _ if port.send_rapid => Some(Transmit::Rapid),
                Role::Designated => Some(Transmit::Config),
                Role::Root => Some(Transmit::Tcn),
                Role::Disabled | Role::Alternate | Role::Backup => None,
            }
        }
        Transmit::Idle => None,
        _ => Some(Transmit::Idle),
    }
}

pub(crate) fn enter(tree: &mut Tree, at: usize, state: Transmit, now: Millis) {
    let port = &mut tree.ports[at];
    port.states.transmit = state;
    match state {
        Transmit::Init => (port.new_info, port.tx.count, port.timers.hello) = (true, 0, Timer::Zero),
        Transmit::Idle => port.timers.hello = Timer::start(port.hello_time(), now),
        Transmit::Periodic => {
            let has_news = match port.role {
                Role::Designated => true,
                Role::Root => !port.timers.topology_change.is_zero(now),
                Role::Disabled | Role::Alternate | Role::Backup => false,
            };
            port.new_info |= has_news;
        }
        Transmit::Config => {
            let config = Bpdu::Config(message(port, now));
            send(tree, at, config, now);
            tree.ports[at].tc_ack = false;
        }
        Transmit::Tcn => send(tree, at, Bpdu::Notification, now),
        Transmit::Rapid => {
            let rapid = Bpdu::Rapid(message(port, now));
            send(tree, at, rapid, now);
            tree.ports[at].tc_ack = false;
        }
    }
}

fn send(tree: &mut Tree, at: usize, bpdu: Bpdu, now: Millis) {
    let port = &mut tree.ports[at];
    if port.tx.count == 0 {
        port.tx.since = now;
    }
    port.new_info = false;
    port.tx.count += 1;
    port.count.sent += 1;
    let id = port.id;
    tree.outbox.push_back((id, bpdu));
}

/// txConfig and txRstp, 17.21.19 and 17.21.20.
fn message(port: &Port, now: Millis) -> Message {
    Message {
        role: port.role,
        vector: port.designated_priority,
        times: port.designated_times,
        topology_change: !port.timers.topology_change.is_zero(now),
        acknowledged: port.tc_ack,
        proposal: port.proposing,
        agreement: port.agree,
        learning: port.learning,
        forwarding: port.forwarding,
    }
}
