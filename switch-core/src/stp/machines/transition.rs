//! Port Role Transitions: from a role to what the port does. Figures 17-18 to 17-21.

use packet::Millis;

use crate::stp::bpdu::Role;
use crate::stp::port::Port;
use crate::stp::state::Transition as S;
use crate::stp::timer::Timer;
use crate::stp::tree::Tree;

pub(crate) fn next(tree: &Tree, at: usize, now: Millis) -> Option<S> {
    let port = &tree.ports[at];
    if port.states.transition == S::InitPort {
        return Some(S::DisablePort);
    }
    if !port.is_decided() {
        return None;
    }
    if port.role != port.selected_role {
        return Some(match port.selected_role {
            Role::Disabled => S::DisablePort,
            Role::Root => S::RootPort,
            Role::Designated => S::DesignatedPort,
            Role::Alternate | Role::Backup => S::BlockPort,
        });
    }
    match port.role {
        Role::Disabled => disabled(port),
        Role::Root => root(tree, at, now),
        Role::Designated => designated(port, now),
        Role::Alternate | Role::Backup => alternate(tree, at),
    }
}

/// Figure 17-18.
fn disabled(port: &Port) -> Option<S> {
    let is_still = !port.learning && !port.forwarding;
    let is_settled = port.timers.forward_delay == Timer::Held(first_delay(port))
        && !port.sync
        && !port.re_root
        && port.synced;
    match port.states.transition {
        S::DisablePort => is_still.then_some(S::DisabledPort),
        _ => (!is_settled).then_some(S::DisabledPort),
    }
}

/// Figure 17-19.
fn root(tree: &Tree, at: usize, now: Millis) -> Option<S> {
    let port = &tree.ports[at];
    if port.states.transition != S::RootPort {
        return Some(S::RootPort);
    }
    let may_move = || {
        port.timers.forward_delay.is_zero(now)
            || (tree.is_rapid() && port.timers.recent_backup.is_zero(now) && tree.re_rooted(at, now))
    };
    if port.proposed && !port.agree {
        Some(S::RootProposed)
    } else if (port.proposed && port.agree) || (!port.agree && tree.all_synced()) {
        Some(S::RootAgreed)
    } else if !port.forward && !port.re_root {
        Some(S::ReRoot)
    } else if port.re_root && port.forward {
        Some(S::ReRooted)
    } else if !port.learn && may_move() {
        Some(S::RootLearn)
    } else if port.learn && !port.forward && may_move() {
        Some(S::RootForward)
    } else {
        (port.timers.recent_root != Timer::Held(port.full_forward_delay())).then_some(S::RootPort)
    }
}

/// Figure 17-20.
fn designated(port: &Port, now: Millis) -> Option<S> {
    if port.states.transition != S::DesignatedPort {
        return Some(S::DesignatedPort);
    }
    let was_root = !port.timers.recent_root.is_zero(now);
    let is_retired = !was_root || !port.re_root;
    let may_move =
        (port.timers.forward_delay.is_zero(now) || port.agreed || port.oper_edge) && is_retired && !port.sync;
    let is_to_stop = (port.sync && !port.synced) || (port.re_root && was_root) || port.disputed;
    if !port.forward && !port.agreed && !port.proposing && !port.oper_edge {
        Some(S::DesignatedPropose)
    } else if (!port.learning && !port.forwarding && !port.synced)
        || (port.agreed && !port.synced)
        || (port.oper_edge && !port.synced)
        || (port.sync && port.synced)
    {
        Some(S::DesignatedSynced)
    } else if !was_root && port.re_root {
        Some(S::DesignatedRetired)
    } else if is_to_stop && !port.oper_edge && (port.learn || port.forward) {
        Some(S::DesignatedDiscard)
    } else if may_move && !port.learn {
        Some(S::DesignatedLearn)
    } else if may_move && !port.forward {
        Some(S::DesignatedForward)
    } else {
        None
    }
}

/// Figure 17-21.
fn alternate(tree: &Tree, at: usize) -> Option<S> {
    let port = &tree.ports[at];
    match port.states.transition {
        S::BlockPort => return (!port.learning && !port.forwarding).then_some(S::AlternatePort),
        S::AlternatePort => {}
        _ => return Some(S::AlternatePort),
    }
    let backed_up = Timer::Held(backup_time(port));
    let is_settled = port.timers.forward_delay == Timer::Held(port.forward_delay())
        && !port.sync
        && !port.re_root
        && port.synced;
    if port.proposed && !port.agree {
        Some(S::AlternateProposed)
    } else if (port.proposed && port.agree) || (!port.agree && tree.all_synced()) {
        Some(S::AlternateAgreed)
    } else if port.role == Role::Backup && port.timers.recent_backup != backed_up {
        Some(S::BackupPort)
    } else {
        (!is_settled).then_some(S::AlternatePort)
    }
}

pub(crate) fn enter(tree: &mut Tree, at: usize, state: S, now: Millis) {
    let port = &mut tree.ports[at];
    port.states.transition = state;
    match state {
        S::InitPort => {
            port.role = Role::Disabled;
            (port.learn, port.forward, port.synced) = (false, false, false);
            (port.sync, port.re_root) = (true, true);
            port.timers.recent_root = Timer::start(port.full_forward_delay(), now);
            port.timers.forward_delay = Timer::Held(first_delay(port));
            port.timers.recent_backup = Timer::Zero;
        }
        S::DisablePort | S::BlockPort => {
            port.role = port.selected_role;
            (port.learn, port.forward) = (false, false);
            let_run(port, now);
        }
        S::DisabledPort => {
            port.timers.forward_delay = Timer::Held(first_delay(port));
            (port.synced, port.timers.recent_root) = (true, Timer::Zero);
            (port.sync, port.re_root) = (false, false);
        }
        S::RootProposed | S::AlternateProposed => {
            port.proposed = false;
            tree.set_sync();
        }
        S::ReRoot => tree.set_re_root(),
        S::RootPort | S::RootAgreed | S::ReRooted => enter_root(port, state, now),
        S::RootLearn | S::DesignatedLearn => {
            port.timers.forward_delay = Timer::start(port.forward_delay(), now);
            port.learn = true;
        }
        S::RootForward => (port.timers.forward_delay, port.forward) = (Timer::Zero, true),
        S::DesignatedPort
        | S::DesignatedPropose
        | S::DesignatedSynced
        | S::DesignatedRetired
        | S::DesignatedForward
        | S::DesignatedDiscard => enter_designated(port, state, now),
        S::AlternatePort | S::AlternateAgreed | S::BackupPort => enter_alternate(port, state),
    }
}

fn enter_root(port: &mut Port, state: S, now: Millis) {
    match state {
        S::RootAgreed => {
            (port.proposed, port.sync) = (false, false);
            (port.agree, port.new_info) = (true, true);
        }
        S::ReRooted => port.re_root = false,
        _ => {
            if port.role != Role::Root {
                let_run(port, now);
            }
            port.role = Role::Root;
            port.timers.recent_root = Timer::Held(port.full_forward_delay());
        }
    }
}

fn enter_designated(port: &mut Port, state: S, now: Millis) {
    match state {
        S::DesignatedPropose => {
            (port.proposing, port.new_info) = (true, true);
            port.timers.edge_delay = Timer::start(port.edge_delay(), now);
        }
        S::DesignatedSynced => {
            (port.timers.recent_root, port.synced, port.sync) = (Timer::Zero, true, false);
        }
        S::DesignatedRetired => port.re_root = false,
        S::DesignatedForward => {
            (port.forward, port.timers.forward_delay) = (true, Timer::Zero);
            port.agreed = port.send_rapid;
        }
        S::DesignatedDiscard => {
            (port.learn, port.forward, port.disputed) = (false, false, false);
            port.timers.forward_delay = Timer::start(port.forward_delay(), now);
        }
        _ => {
            if port.role != Role::Designated {
                let_run(port, now);
            }
            port.role = Role::Designated;
        }
    }
}

fn enter_alternate(port: &mut Port, state: S) {
    match state {
        S::AlternateAgreed => {
            port.proposed = false;
            (port.agree, port.new_info) = (true, true);
        }
        S::BackupPort => port.timers.recent_backup = Timer::Held(backup_time(port)),
        _ => {
            port.timers.forward_delay = Timer::Held(port.forward_delay());
            (port.synced, port.timers.recent_root) = (true, Timer::Zero);
            (port.sync, port.re_root) = (false, false);
        }
    }
}

/// The role that held the timers at their values is over.
fn let_run(port: &mut Port, now: Millis) {
    port.timers.forward_delay.release(now);
    port.timers.recent_root.release(now);
    port.timers.recent_backup.release(now);
}

/// How long a port without anybody who agrees waits before it learns, at first. The standard of 2004 says the maximum age;
/// that of 1998, which is the one that there is nobody to agree in, the forward delay, as bridges have it.
const fn first_delay(port: &Port) -> Millis {
    port.full_forward_delay()
}

const fn backup_time(port: &Port) -> Millis {
    Millis::new(2 * port.hello_time().get())
}
