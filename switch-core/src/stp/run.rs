//! Looks at the machines of ports until none moves any more.

use packet::Millis;

use super::bpdu::Role;
use super::machines::{
    detection, information, migration, receive, selection, topology, traffic, transition, transmit,
};
use super::port::Port;
use super::state::{Detection, Information, Migration, Receive, Topology, Traffic, Transition, Transmit};
use super::timer::Timer;
use super::tree::Tree;

/// The machines of a new port begin.
pub(super) fn begin(tree: &mut Tree, at: usize, now: Millis) {
    let is_rapid = tree.is_rapid();
    let port = &mut tree.ports[at];
    let detected = if port.admin_edge() { Detection::Edge } else { Detection::NotEdge };
    receive::enter(port, Receive::Discard, now);
    migration::enter(port, Migration::CheckingRstp, is_rapid, now);
    detection::enter(port, detected);
    information::enter(tree, at, Information::Disabled, now);
    transition::enter(tree, at, Transition::InitPort, now);
    traffic::enter(tree, at, Traffic::Discarding);
    topology::enter(tree, at, Topology::Inactive, now);
    transmit::enter(tree, at, Transmit::Init, now);
}

/// Takes all machines as far as they go at `now`, after they have stood still since `last`. Returns when one of them may go on.
pub(super) fn run(tree: &mut Tree, last: Millis, now: Millis) -> Option<Millis> {
    touch_expired(tree, last, now);
    // Each turn decides something that was open; the bound is for mistakes in the tables.
    for _ in 0..MOST_TURNS {
        while let Some(at) = tree.due.pop() {
            tree.ports[at].is_due = false;
            tree.ports[at].forget_sent(now);
            for _ in 0..MOST_STEPS {
                if !step(tree, at, now) {
                    break;
                }
                tree.has_moved = true;
            }
        }
        tree.has_moved |= selection::step(tree);
        if std::mem::take(&mut tree.has_moved) {
            tree.touch_waiting();
        } else if tree.due.is_empty() {
            break;
        }
    }
    // What is said is what has come out in the end.
    for at in 0..tree.ports.len() {
        while let Some(state) = transmit::next(&tree.ports[at], now) {
            transmit::enter(tree, at, state, now);
        }
    }
    tree.ports.iter().filter_map(|port| port.next_timeout(now)).min()
}

/// Ports one of whose timers has come to zero, and those that were held back.
fn touch_expired(tree: &mut Tree, last: Millis, now: Millis) {
    for at in 0..tree.ports.len() {
        let port = &mut tree.ports[at];
        port.forget_sent(now);
        if std::mem::take(&mut port.wants_start) {
            port.timers.edge_delay.release(now);
            port.timers.migration_delay.release(now);
            tree.touch(at);
        } else if port.has_expired(last, now) {
            tree.touch(at);
        }
    }
}

/// Moves one of a port's machines, if one can.
fn step(tree: &mut Tree, at: usize, now: Millis) -> bool {
    let is_rapid = tree.is_rapid();
    let port = &mut tree.ports[at];
    if let Some(state) = receive::next(port) {
        receive::enter(port, state, now);
    } else if let Some(state) = migration::next(port, is_rapid, now) {
        migration::enter(port, state, is_rapid, now);
    } else if let Some(state) = detection::next(port, now) {
        detection::enter(port, state);
    } else if let Some(state) = information::next(port, now) {
        information::enter(tree, at, state, now);
    } else if let Some(state) = transition::next(tree, at, now) {
        transition::enter(tree, at, state, now);
    } else if let Some(state) = traffic::next(&tree.ports[at]) {
        traffic::enter(tree, at, state);
    } else if let Some(state) = topology::next(&tree.ports[at]) {
        topology::enter(tree, at, state, now);
    } else {
        return false;
    }
    true
}

/// What the port has sent comes back by it: the wire is a loop, and whatever passes would go round. It stays closed for as
/// long as that goes on. The standard leaves this open.
pub(super) fn hear_oneself(tree: &mut Tree, at: usize, now: Millis) {
    let port: &mut Port = &mut tree.ports[at];
    if port.role != Role::Designated {
        return;
    }
    port.oper_edge = false;
    (port.agreed, port.proposing) = (false, true);
    port.timers.edge_delay = Timer::start(port.max_age(), now);
    port.timers.forward_delay = Timer::start(port.max_age(), now);
    port.disputed = port.learn || port.forward;
    port.is_looped_until = now + port.max_age();
    tree.touch(at);
}

/// A turn looks at each port that something has changed for. Agreements and role changes take a handful.
const MOST_TURNS: usize = 1000;
/// A port's machines have fewer states than this, and come by each a few times at most.
const MOST_STEPS: usize = 1000;
