//! Port Role Transitions: figures 17-18 to 17-21.

use super::{Change, NOW, RUNNING, tree};
use crate::stp::bpdu::Role;
use crate::stp::machines::transition;
use crate::stp::port::Port;
use crate::stp::settings::StpMode;
use crate::stp::state::Transition as S;
use crate::stp::timer::Timer;
use crate::stp::tree::Tree;
use packet::Millis;

#[test]
fn figures_17_18_to_17_21_port_role_transitions() {
    let root: Change<Tree> = |tree| {
        let port = &mut tree.ports[0];
        (port.role, port.selected_role, port.states.transition) = (Role::Root, Role::Root, S::RootPort);
        (port.agree, port.learn, port.forward) = (true, true, true);
        port.timers.recent_root = Timer::Held(Millis::from_secs(15));
    };
    let designated: Change<Tree> = |tree| {
        let port = &mut tree.ports[0];
        (port.role, port.selected_role) = (Role::Designated, Role::Designated);
        port.states.transition = S::DesignatedPort;
        (port.learn, port.forward, port.learning, port.forwarding) = (true, true, true, true);
    };
    let alternate: Change<Tree> = |tree| {
        let port = &mut tree.ports[0];
        (port.role, port.selected_role) = (Role::Alternate, Role::Alternate);
        (port.states.transition, port.agree) = (S::AlternatePort, true);
        port.timers.forward_delay = Timer::Held(Millis::from_secs(2));
    };
    let table: &[(Change<Tree>, Change<Tree>, Option<S>)] = &[
        (root, |_| {}, None),
        (root, |tree| tree.ports[0].selected_role = Role::Designated, Some(S::DesignatedPort)),
        (root, |tree| tree.ports[0].selected_role = Role::Backup, Some(S::BlockPort)),
        (root, |tree| tree.ports[0].selected_role = Role::Disabled, Some(S::DisablePort)),
        (root, |tree| (tree.ports[0].selected, tree.ports[0].selected_role) = (false, Role::Disabled), None),
        (root, |tree| (tree.ports[0].proposed, tree.ports[0].agree) = (true, false), Some(S::RootProposed)),
        (root, |tree| tree.ports[0].proposed = true, Some(S::RootAgreed)),
        (root, |tree| tree.ports[0].agree = false, Some(S::RootAgreed)),
        (root, |tree| (tree.ports[0].agree, tree.ports[1].synced) = (false, false), None),
        (root, |tree| tree.ports[0].forward = false, Some(S::ReRoot)),
        (root, |tree| tree.ports[0].re_root = true, Some(S::ReRooted)),
        (root, |tree| no_root_yet(&mut tree.ports[0], false), Some(S::RootLearn)),
        (root, |tree| no_root_yet(&mut tree.ports[0], true), Some(S::RootForward)),
        (
            root,
            |tree| {
                no_root_yet(&mut tree.ports[0], false);
                tree.ports[1].timers.recent_root = RUNNING;
            },
            None,
        ),
        (
            root,
            |tree| {
                no_root_yet(&mut tree.ports[0], false);
                tree.ports[0].timers.recent_backup = RUNNING;
            },
            None,
        ),
        (
            root,
            |tree| {
                no_root_yet(&mut tree.ports[0], false);
                tree.settings.mode = StpMode::Stp;
            },
            None,
        ),
        (root, |tree| tree.ports[0].timers.recent_root = RUNNING, Some(S::RootPort)),
        (designated, |_| {}, None),
        (designated, |tree| tree.ports[0].sync = true, Some(S::DesignatedSynced)),
        (
            designated,
            |tree| (tree.ports[0].sync, tree.ports[0].synced) = (true, false),
            Some(S::DesignatedDiscard),
        ),
        (designated, |tree| tree.ports[0].disputed = true, Some(S::DesignatedDiscard)),
        (designated, |tree| (tree.ports[0].disputed, tree.ports[0].oper_edge) = (true, true), None),
        (designated, |tree| tree.ports[0].re_root = true, Some(S::DesignatedRetired)),
        (
            designated,
            |tree| (tree.ports[0].re_root, tree.ports[0].timers.recent_root) = (true, RUNNING),
            Some(S::DesignatedDiscard),
        ),
        (
            designated,
            |tree| (tree.ports[0].agreed, tree.ports[0].synced) = (true, false),
            Some(S::DesignatedSynced),
        ),
        (designated, |tree| stopped(&mut tree.ports[0]), Some(S::DesignatedPropose)),
        (
            designated,
            |tree| {
                stopped(&mut tree.ports[0]);
                (tree.ports[0].proposing, tree.ports[0].timers.forward_delay) = (true, RUNNING);
            },
            None,
        ),
        (
            designated,
            |tree| {
                stopped(&mut tree.ports[0]);
                (tree.ports[0].agreed, tree.ports[0].timers.forward_delay) = (true, RUNNING);
            },
            Some(S::DesignatedLearn),
        ),
        (
            designated,
            |tree| {
                stopped(&mut tree.ports[0]);
                (tree.ports[0].agreed, tree.ports[0].learn) = (true, true);
            },
            Some(S::DesignatedForward),
        ),
        (alternate, |_| {}, None),
        (alternate, |tree| tree.ports[0].synced = false, Some(S::AlternatePort)),
        (alternate, |tree| tree.ports[0].timers.forward_delay = RUNNING, Some(S::AlternatePort)),
        (alternate, |tree| tree.ports[0].proposed = true, Some(S::AlternateAgreed)),
        (
            alternate,
            |tree| (tree.ports[0].proposed, tree.ports[0].agree) = (true, false),
            Some(S::AlternateProposed),
        ),
        (
            alternate,
            |tree| (tree.ports[0].role, tree.ports[0].selected_role) = (Role::Backup, Role::Backup),
            Some(S::BackupPort),
        ),
        (alternate, |tree| tree.ports[0].states.transition = S::BlockPort, Some(S::AlternatePort)),
        (
            alternate,
            |tree| (tree.ports[0].states.transition, tree.ports[0].learning) = (S::BlockPort, true),
            None,
        ),
    ];
    for (at, (set_up, change, expected)) in table.iter().enumerate() {
        let mut tree = tree();
        set_up(&mut tree);
        change(&mut tree);
        assert_eq!(transition::next(&tree, 0, NOW), *expected, "{at}");
    }
}

/// A root port that has told all others that there is a new one.
const fn no_root_yet(port: &mut Port, learn: bool) {
    (port.learn, port.forward, port.re_root) = (learn, false, true);
    port.timers.forward_delay = RUNNING;
}

const fn stopped(port: &mut Port) {
    (port.learn, port.forward, port.learning, port.forwarding) = (false, false, false, false);
}
