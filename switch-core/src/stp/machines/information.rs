//! Port Information: what the port knows, from whom, and for how long. Figure 17-16.

use packet::Millis;

use crate::stp::bpdu::{Bpdu, Message, Role};
use crate::stp::port::{InfoIs, Port, Received};
use crate::stp::state::Information;
use crate::stp::timer::Timer;
use crate::stp::tree::Tree;
use crate::stp::vector::Vector;

pub(crate) fn next(port: &Port, now: Millis) -> Option<Information> {
    if !port.enabled && port.info_is != InfoIs::Disabled {
        return Some(Information::Disabled);
    }
    let is_to_update = (port.selected && port.update_info).then_some(Information::Update);
    match port.states.information {
        Information::Disabled if port.message.is_some() => Some(Information::Disabled),
        Information::Disabled => port.enabled.then_some(Information::Aged),
        Information::Aged => is_to_update,
        Information::Current => {
            let is_aged = port.info_is == InfoIs::Received
                && port.timers.received_info.is_zero(now)
                && !port.update_info
                && port.message.is_none();
            let aged = is_aged.then_some(Information::Aged);
            let receive = (port.message.is_some() && !port.update_info).then_some(Information::Receive);
            is_to_update.or(aged).or(receive)
        }
        Information::Receive => Some(match port.received {
            Some(Received::SuperiorDesignated) => Information::SuperiorDesignated,
            Some(Received::RepeatedDesignated) => Information::RepeatedDesignated,
            Some(Received::InferiorDesignated) => Information::InferiorDesignated,
            Some(Received::InferiorRootAlternate) => Information::NotDesignated,
            Some(Received::Other) | None => Information::Other,
        }),
        Information::Update
        | Information::SuperiorDesignated
        | Information::RepeatedDesignated
        | Information::InferiorDesignated
        | Information::NotDesignated
        | Information::Other => Some(Information::Current),
    }
}

pub(crate) fn enter(tree: &mut Tree, at: usize, state: Information, now: Millis) {
    let is_rapid = tree.is_rapid();
    let port = &mut tree.ports[at];
    port.states.information = state;
    match state {
        Information::Disabled => {
            port.message = None;
            (port.proposing, port.proposed, port.agree, port.agreed) = (false, false, false, false);
            (port.timers.received_info, port.info_is) = (Timer::Zero, InfoIs::Disabled);
            tree.reselect(at);
        }
        Information::Aged => {
            port.info_is = InfoIs::Aged;
            tree.reselect(at);
        }
        Information::Update => {
            (port.proposing, port.proposed) = (false, false);
            port.agreed = port.agreed && port.better_or_same(InfoIs::Mine);
            port.synced = port.synced && port.agreed;
            (port.priority, port.times) = (port.designated_priority, port.designated_times);
            (port.update_info, port.info_is, port.new_info) = (false, InfoIs::Mine, true);
        }
        Information::Current => {}
        Information::Receive => port.received = port.message.map(|message| meaning(port, &message)),
        Information::SuperiorDesignated => superior(tree, at, now),
        Information::RepeatedDesignated => {
            record_proposal(port);
            set_tc_flags(port);
            port.timers.received_info = Timer::start(port.times.good_for(), now);
            port.message = None;
        }
        Information::InferiorDesignated => {
            record_dispute(port);
            port.message = None;
        }
        Information::NotDesignated => {
            record_agreement(port, is_rapid);
            set_tc_flags(port);
            port.message = None;
        }
        Information::Other => {
            // Notifications are nothing else.
            if port.message == Some(Bpdu::Notification) {
                set_tc_flags(port);
            }
            port.message = None;
        }
    }
}

fn superior(tree: &mut Tree, at: usize, now: Millis) {
    let port = &mut tree.ports[at];
    let before = port.priority;
    (port.agreed, port.proposing) = (false, false);
    record_proposal(port);
    set_tc_flags(port);
    port.agree = port.agree && port.better_or_same(InfoIs::Received);
    if let Some(message) = message(port) {
        (port.priority, port.times) = (message.vector, message.times);
    }
    port.timers.received_info = Timer::start(port.times.good_for(), now);
    (port.info_is, port.message) = (InfoIs::Received, None);
    let is_worse = port.priority > before;
    tree.reselect(at);
    if is_worse {
        doubt_siblings(tree, before);
    }
}

/// A bridge says that the way to the root by it is worse than `before`, or that there is none. What other ports have of it
/// is old: whoever took that for another way would hear of the lost root from itself, and once more with each turn, until
/// the maximum age ends that, with a loop meanwhile. The standard has no such rule; to forget what is known is always safe.
fn doubt_siblings(tree: &mut Tree, before: Vector) {
    for at in 0..tree.ports.len() {
        let port = &mut tree.ports[at];
        let held = port.priority;
        let is_of_it = port.info_is == InfoIs::Received && held.bridge.address() == before.bridge.address();
        if is_of_it && (held.root, held.cost) == (before.root, before.cost) {
            port.timers.received_info = Timer::Zero;
            tree.touch(at);
        }
    }
}

/// rcvInfo, 17.21.8.
fn meaning(port: &Port, bpdu: &Bpdu) -> Received {
    let (Bpdu::Config(message) | Bpdu::Rapid(message)) = bpdu else { return Received::Other };
    let is_same = message.vector == port.priority;
    match message.role {
        Role::Designated if is_same && message.times == port.times => Received::RepeatedDesignated,
        Role::Designated if is_same || message.vector.replaces(&port.priority) => {
            Received::SuperiorDesignated
        }
        Role::Designated => Received::InferiorDesignated,
        Role::Root | Role::Alternate | Role::Backup if message.vector >= port.priority => {
            Received::InferiorRootAlternate
        }
        _ => Received::Other,
    }
}

/// 17.21.9.
fn record_agreement(port: &mut Port, is_rapid: bool) {
    let agrees = matches!(port.message, Some(Bpdu::Rapid(Message { agreement: true, .. })));
    port.agreed = is_rapid && port.settings.point_to_point && agrees;
    if port.agreed {
        port.proposing = false;
    }
}

/// 17.21.10.
fn record_dispute(port: &mut Port) {
    if let Some(Bpdu::Rapid(Message { learning: true, .. })) = port.message {
        (port.disputed, port.agreed) = (true, false);
    }
}

/// 17.21.11.
fn record_proposal(port: &mut Port) {
    let proposes = |message: Message| message.role == Role::Designated && message.proposal;
    port.proposed |= message(port).is_some_and(proposes);
}

/// 17.21.17.
fn set_tc_flags(port: &mut Port) {
    port.received_tcn |= port.message == Some(Bpdu::Notification);
    if let Some(message) = message(port) {
        port.received_tc |= message.topology_change;
        port.received_tc_ack |= message.acknowledged;
    }
}

const fn message(port: &Port) -> Option<Message> {
    match port.message {
        Some(Bpdu::Config(message) | Bpdu::Rapid(message)) => Some(message),
        Some(Bpdu::Notification) | None => None,
    }
}
