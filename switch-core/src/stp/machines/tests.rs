//! The figures' arrows, one by one: from a state, by what holds, to a state; and what must hold for none.

mod transitions;

use packet::{MacAddr, Millis, PortId};

use super::{detection, information, migration, receive, selection, topology, traffic, transmit};
use crate::stp::bpdu::{Bpdu, Message, Role};
use crate::stp::port::{InfoIs, MIGRATE_TIME, Port, Received, TX_HOLD_COUNT};
use crate::stp::settings::{Edge, StpMode, TreeSettings};
use crate::stp::state::{
    Detection as D, Information as I, Migration as M, Receive as R, Topology as T, Traffic as F,
    Transmit as X,
};
use crate::stp::timer::Timer;
use crate::stp::tree::Tree;
use crate::stp::vector::{BridgeId, Times, Vector};

const NOW: Millis = Millis::from_secs(100);
const RUNNING: Timer = Timer::Until(Millis::from_secs(101));
const OVER: Timer = Timer::Until(NOW);

fn id(n: u64) -> BridgeId {
    BridgeId::new(32_768, MacAddr::local(n))
}

/// Three ports that are up and decided, of a bridge that speaks RSTP.
fn tree() -> Tree {
    let settings = TreeSettings { mode: StpMode::Rstp, ..TreeSettings::default() };
    let mut tree = Tree::new(id(5), settings);
    tree.ports = (0..3).map(|n| port(PortId::new(n).unwrap())).collect();
    tree
}

fn port(id: PortId) -> Port {
    let mut port = Port::new(id, Vector::own(self::id(5)), Times::of_root(2, 20, 15));
    (port.enabled, port.selected, port.send_rapid, port.synced) = (true, true, true, true);
    port
}

fn one(change: impl FnOnce(&mut Port)) -> Port {
    let mut port = port(PortId::new(0).unwrap());
    change(&mut port);
    port
}

const fn message(role: Role) -> Message {
    Message {
        role,
        vector: Vector::own(BridgeId::new(32_768, MacAddr::local(1))),
        times: Times::of_root(2, 20, 15),
        topology_change: false,
        acknowledged: false,
        proposal: false,
        agreement: false,
        learning: false,
        forwarding: false,
    }
}

type Change<T> = fn(&mut T);

#[test]
fn figure_17_12_port_receive() {
    let table: &[(Change<Port>, Option<R>)] = &[
        (|_| {}, None),
        (|port| port.bpdu = Some(Bpdu::Notification), Some(R::Receive)),
        (|port| (port.bpdu, port.message) = (Some(Bpdu::Notification), Some(Bpdu::Notification)), None),
        (|port| port.enabled = false, Some(R::Discard)),
        (|port| (port.enabled, port.timers.edge_delay) = (false, Timer::Held(MIGRATE_TIME)), None),
        (
            |port| {
                (port.enabled, port.timers.edge_delay) = (false, Timer::Held(MIGRATE_TIME));
                port.bpdu = Some(Bpdu::Notification);
            },
            Some(R::Discard),
        ),
    ];
    for (at, (change, expected)) in table.iter().enumerate() {
        assert_eq!(receive::next(&one(change)), *expected, "{at}");
    }
    let mut port = one(|port| (port.oper_edge, port.bpdu) = (true, Some(Bpdu::Notification)));
    receive::enter(&mut port, R::Receive, NOW);
    assert!(!port.oper_edge && port.received_stp && !port.received_rapid && port.message.is_some());
    assert_eq!(port.timers.edge_delay, Timer::start(MIGRATE_TIME, NOW));
}

#[test]
fn figure_17_13_port_protocol_migration() {
    let table: &[(M, bool, Change<Port>, Option<M>)] = &[
        (M::CheckingRstp, true, |port| port.timers.migration_delay = RUNNING, None),
        (M::CheckingRstp, true, |port| port.timers.migration_delay = OVER, Some(M::Sensing)),
        (
            M::CheckingRstp,
            true,
            |port| (port.enabled, port.timers.migration_delay) = (false, RUNNING),
            Some(M::CheckingRstp),
        ),
        (M::Sensing, true, |_| {}, None),
        (M::Sensing, true, |port| port.received_rapid = true, None),
        (M::Sensing, true, |port| port.received_stp = true, Some(M::SelectingStp)),
        (M::Sensing, true, |port| (port.received_stp, port.send_rapid) = (true, false), None),
        (
            M::Sensing,
            true,
            |port| (port.received_rapid, port.send_rapid) = (true, false),
            Some(M::CheckingRstp),
        ),
        (M::Sensing, false, |port| (port.received_rapid, port.send_rapid) = (true, false), None),
        (M::Sensing, true, |port| port.enabled = false, Some(M::CheckingRstp)),
        (M::SelectingStp, true, |port| port.timers.migration_delay = RUNNING, None),
        (M::SelectingStp, true, |port| port.timers.migration_delay = OVER, Some(M::Sensing)),
        (
            M::SelectingStp,
            true,
            |port| (port.enabled, port.timers.migration_delay) = (false, RUNNING),
            Some(M::Sensing),
        ),
    ];
    for (at, (state, is_rapid, change, expected)) in table.iter().enumerate() {
        let mut port = one(change);
        port.states.migration = *state;
        assert_eq!(migration::next(&port, *is_rapid, NOW), *expected, "{at}");
    }
}

#[test]
fn figure_17_14_bridge_detection() {
    let table: &[(D, Change<Port>, Option<D>)] = &[
        (D::NotEdge, |_| {}, None),
        (D::NotEdge, |port| port.proposing = true, Some(D::Edge)),
        (D::NotEdge, |port| (port.proposing, port.timers.edge_delay) = (true, RUNNING), None),
        (D::NotEdge, |port| (port.proposing, port.send_rapid) = (true, false), None),
        (D::NotEdge, |port| (port.proposing, port.settings.edge) = (true, Edge::No), None),
        (D::NotEdge, |port| (port.enabled, port.settings.edge) = (false, Edge::Yes), Some(D::Edge)),
        (D::NotEdge, |port| port.settings.edge = Edge::Yes, None),
        (D::Edge, |port| port.oper_edge = true, None),
        (D::Edge, |_| {}, Some(D::NotEdge)),
        (D::Edge, |port| (port.enabled, port.oper_edge) = (false, true), Some(D::NotEdge)),
        (D::Edge, |port| (port.enabled, port.oper_edge, port.settings.edge) = (false, true, Edge::Yes), None),
    ];
    for (at, (state, change, expected)) in table.iter().enumerate() {
        let mut port = one(change);
        port.states.detection = *state;
        assert_eq!(detection::next(&port, NOW), *expected, "{at}");
    }
}

#[test]
fn figure_17_15_port_transmit() {
    let due: Change<Port> = |port| (port.new_info, port.timers.hello) = (true, RUNNING);
    let table: &[(Role, Change<Port>, Option<X>)] = &[
        (Role::Designated, |port| port.timers.hello = RUNNING, None),
        (Role::Designated, |port| port.timers.hello = OVER, Some(X::Periodic)),
        (Role::Designated, |_| {}, Some(X::Rapid)),
        (Role::Alternate, |_| {}, Some(X::Rapid)),
        (Role::Designated, |port| port.tx.count = TX_HOLD_COUNT, None),
        (Role::Designated, |port| port.selected = false, None),
        (Role::Designated, |port| port.update_info = true, None),
        (Role::Designated, |port| port.send_rapid = false, Some(X::Config)),
        (Role::Root, |port| port.send_rapid = false, Some(X::Tcn)),
        (Role::Alternate, |port| port.send_rapid = false, None),
        (Role::Designated, |port| port.enabled = false, Some(X::Init)),
    ];
    for (at, (role, change, expected)) in table.iter().enumerate() {
        let mut port = one(due);
        (port.role, port.states.transmit) = (*role, X::Idle);
        if at == 0 {
            port.new_info = false;
        }
        change(&mut port);
        assert_eq!(transmit::next(&port, NOW), *expected, "{at}");
    }
    // What each hello brings.
    for (role, while_, says) in [
        (Role::Designated, Timer::Zero, true),
        (Role::Root, Timer::Zero, false),
        (Role::Root, RUNNING, true),
        (Role::Alternate, RUNNING, false),
    ] {
        let mut tree = tree();
        (tree.ports[0].role, tree.ports[0].timers.topology_change) = (role, while_);
        transmit::enter(&mut tree, 0, X::Periodic, NOW);
        assert_eq!(tree.ports[0].new_info, says, "{role:?}");
    }
}

#[test]
fn figure_17_16_port_information() {
    let table: &[(I, Change<Port>, Option<I>)] = &[
        (I::Disabled, |_| {}, Some(I::Aged)),
        (I::Disabled, |port| port.enabled = false, None),
        (I::Current, |port| (port.enabled, port.info_is) = (false, InfoIs::Mine), Some(I::Disabled)),
        (I::Aged, |_| {}, None),
        (I::Aged, |port| port.update_info = true, Some(I::Update)),
        (I::Aged, |port| (port.update_info, port.selected) = (true, false), None),
        (I::Update, |_| {}, Some(I::Current)),
        (I::Current, |_| {}, None),
        (I::Current, |port| port.update_info = true, Some(I::Update)),
        (I::Current, |port| port.message = Some(Bpdu::Notification), Some(I::Receive)),
        (I::Current, |port| port.info_is = InfoIs::Received, Some(I::Aged)),
        (I::Current, |port| (port.info_is, port.timers.received_info) = (InfoIs::Received, RUNNING), None),
        (
            I::Current,
            |port| (port.info_is, port.message) = (InfoIs::Received, Some(Bpdu::Notification)),
            Some(I::Receive),
        ),
        (I::Receive, |port| port.received = Some(Received::SuperiorDesignated), Some(I::SuperiorDesignated)),
        (I::Receive, |port| port.received = Some(Received::RepeatedDesignated), Some(I::RepeatedDesignated)),
        (I::Receive, |port| port.received = Some(Received::InferiorDesignated), Some(I::InferiorDesignated)),
        (I::Receive, |port| port.received = Some(Received::InferiorRootAlternate), Some(I::NotDesignated)),
        (I::Receive, |port| port.received = Some(Received::Other), Some(I::Other)),
        (I::SuperiorDesignated, |_| {}, Some(I::Current)),
        (I::Other, |_| {}, Some(I::Current)),
    ];
    for (at, (state, change, expected)) in table.iter().enumerate() {
        let mut port = one(change);
        port.states.information = *state;
        assert_eq!(information::next(&port, NOW), *expected, "{at}");
    }
}

#[test]
fn section_17_21_8_what_a_message_is_to_a_port_that_has_heard_another() {
    use Received::{
        InferiorDesignated, InferiorRootAlternate, Other, RepeatedDesignated, SuperiorDesignated,
    };
    let held = Vector { root: id(2), cost: 10, bridge: id(3), port: 0x8001 };
    let other_times = Times::of_root(1, 20, 15);
    let table: &[(Role, Vector, Times, Received)] = &[
        (Role::Designated, held, Times::of_root(2, 20, 15), RepeatedDesignated),
        (Role::Designated, held, other_times, SuperiorDesignated),
        (Role::Designated, Vector { root: id(1), ..held }, other_times, SuperiorDesignated),
        (Role::Designated, Vector { cost: 9, ..held }, other_times, SuperiorDesignated),
        (Role::Designated, Vector { bridge: id(2), ..held }, other_times, SuperiorDesignated),
        // The same speaker takes back what it has said.
        (Role::Designated, Vector { root: id(9), ..held }, other_times, SuperiorDesignated),
        (Role::Designated, Vector { cost: 11, bridge: id(4), ..held }, other_times, InferiorDesignated),
        (Role::Designated, Vector { port: 0x8002, ..held }, other_times, InferiorDesignated),
        (Role::Root, held, other_times, InferiorRootAlternate),
        (Role::Alternate, Vector { cost: 11, ..held }, other_times, InferiorRootAlternate),
        (Role::Root, Vector { cost: 9, ..held }, other_times, Other),
    ];
    for (at, (role, vector, times, expected)) in table.iter().enumerate() {
        let mut tree = tree();
        let port = &mut tree.ports[0];
        (port.priority, port.info_is) = (held, InfoIs::Received);
        port.message = Some(Bpdu::Rapid(Message { vector: *vector, times: *times, ..message(*role) }));
        information::enter(&mut tree, 0, I::Receive, NOW);
        assert_eq!(tree.ports[0].received, Some(*expected), "{at}");
    }
}

#[test]
fn agreements_and_disputes_count_from_one_bridge_on_a_wire_that_speaks_rapidly() {
    for (is_rapid, point_to_point, agreement, agreed) in [
        (true, true, true, true),
        (true, true, false, false),
        (true, false, true, false),
        (false, true, true, false),
    ] {
        let mut tree = tree();
        tree.settings.mode = if is_rapid { StpMode::Rstp } else { StpMode::Stp };
        let port = &mut tree.ports[0];
        port.proposing = true;
        port.settings.point_to_point = point_to_point;
        port.message = Some(Bpdu::Rapid(Message { agreement, ..message(Role::Root) }));
        information::enter(&mut tree, 0, I::NotDesignated, NOW);
        assert_eq!((tree.ports[0].agreed, tree.ports[0].proposing), (agreed, !agreed));
    }
    for learning in [true, false] {
        let mut tree = tree();
        tree.ports[0].message = Some(Bpdu::Rapid(Message { learning, ..message(Role::Designated) }));
        information::enter(&mut tree, 0, I::InferiorDesignated, NOW);
        assert_eq!(tree.ports[0].disputed, learning);
    }
}

#[test]
fn figure_17_17_roles_are_as_the_best_message_has_it() {
    let mut tree = tree();
    let best = Vector { root: id(1), cost: 10, bridge: id(3), port: 0x8001 };
    for (at, info, priority) in [
        (0, InfoIs::Received, best),
        (1, InfoIs::Received, Vector { port: 0x8002, ..best }),
        (2, InfoIs::Aged, best),
    ] {
        let port = &mut tree.ports[at];
        (port.info_is, port.priority, port.cost, port.reselect) = (info, priority, 5, true);
    }
    let roles = |tree: &mut Tree| {
        tree.ports[0].reselect = true;
        assert!(selection::step(tree) && !selection::step(tree));
        tree.ports.iter().map(|port| (port.selected_role, port.update_info)).collect::<Vec<_>>()
    };
    let old = [(Role::Root, false), (Role::Alternate, false), (Role::Designated, true)];
    assert_eq!(roles(&mut tree), old);
    assert_eq!((tree.root.cost, tree.root_times.message_age), (15, 256));
    // Another port of this bridge speaks there.
    tree.ports[1].priority = Vector { root: id(1), cost: 15, bridge: id(5), port: 0x8001 };
    assert_eq!(roles(&mut tree)[1], (Role::Backup, false));
    // Whoever speaks there has a worse way than this bridge.
    tree.ports[1].priority = Vector { root: id(1), cost: 16, bridge: id(2), port: 0x8001 };
    assert_eq!(roles(&mut tree)[1], (Role::Designated, true));
    // No way leads by a guarded port.
    tree.ports[0].settings.root_guard = true;
    assert_eq!(roles(&mut tree)[0], (Role::Alternate, false));
    assert_eq!(tree.root_port, tree.ports[1].id.into());
    tree.ports[0].info_is = InfoIs::Disabled;
    assert_eq!(roles(&mut tree)[0], (Role::Disabled, false));
}

#[test]
fn figure_17_22_port_state_transition() {
    let table: &[(F, bool, bool, Option<F>)] = &[
        (F::Discarding, false, false, None),
        (F::Discarding, true, false, Some(F::Learning)),
        (F::Learning, true, false, None),
        (F::Learning, true, true, Some(F::Forwarding)),
        (F::Learning, false, false, Some(F::Discarding)),
        (F::Forwarding, true, true, None),
        (F::Forwarding, false, false, Some(F::Discarding)),
    ];
    for (state, learn, forward, expected) in table {
        let mut port = one(|port| (port.learn, port.forward) = (*learn, *forward));
        port.states.traffic = *state;
        assert_eq!(traffic::next(&port), *expected, "{state:?}, {learn}, {forward}");
    }
}

#[test]
fn figure_17_23_topology_change() {
    let table: &[(T, Role, Change<Port>, Option<T>)] = &[
        (T::Inactive, Role::Root, |_| {}, None),
        (T::Inactive, Role::Root, |port| port.learn = true, Some(T::Learning)),
        (T::Learning, Role::Root, |port| port.learn = true, None),
        (T::Learning, Role::Root, |port| port.forward = true, Some(T::Detected)),
        (T::Learning, Role::Designated, |port| (port.forward, port.oper_edge) = (true, true), None),
        (T::Learning, Role::Designated, |port| port.received_tc = true, Some(T::Learning)),
        (T::Learning, Role::Alternate, |_| {}, Some(T::Inactive)),
        (T::Learning, Role::Alternate, |port| port.tc_prop = true, Some(T::Learning)),
        (T::Detected, Role::Root, |_| {}, Some(T::Active)),
        (T::Active, Role::Root, |_| {}, None),
        (T::Active, Role::Alternate, |_| {}, Some(T::Learning)),
        (T::Active, Role::Designated, |port| port.oper_edge = true, Some(T::Learning)),
        (T::Active, Role::Designated, |port| port.received_tcn = true, Some(T::NotifiedTcn)),
        (T::Active, Role::Root, |port| port.received_tc = true, Some(T::NotifiedTc)),
        (T::Active, Role::Root, |port| port.tc_prop = true, Some(T::Propagating)),
        (T::Active, Role::Root, |port| port.received_tc_ack = true, Some(T::Acknowledged)),
        (T::NotifiedTcn, Role::Root, |_| {}, Some(T::NotifiedTc)),
        (T::NotifiedTc, Role::Root, |_| {}, Some(T::Active)),
        (T::Propagating, Role::Root, |_| {}, Some(T::Active)),
        (T::Acknowledged, Role::Root, |_| {}, Some(T::Active)),
    ];
    for (at, (state, role, change, expected)) in table.iter().enumerate() {
        let mut port = one(change);
        (port.role, port.states.topology) = (*role, *state);
        assert_eq!(topology::next(&port), *expected, "{at}");
    }
    // A change that one port tells of has the stations of all others forgotten, and is told on by these.
    let mut tree = tree();
    topology::enter(&mut tree, 0, T::NotifiedTc, NOW);
    assert_eq!(tree.ports.iter().map(|port| port.tc_prop).collect::<Vec<_>>(), [false, true, true]);
    topology::enter(&mut tree, 1, T::Propagating, NOW);
    assert_eq!(tree.flushes, [tree.ports[1].id]);
    assert_eq!(tree.ports[1].timers.topology_change, Timer::start(Millis::from_secs(3), NOW));
    // To old bridges for as long as these take to forget.
    tree.ports[2].send_rapid = false;
    topology::enter(&mut tree, 2, T::Propagating, NOW);
    assert_eq!(tree.ports[2].timers.topology_change, Timer::start(Millis::from_secs(35), NOW));
}
