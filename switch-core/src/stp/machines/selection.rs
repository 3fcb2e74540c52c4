//! Port Role Selection: which port leads to the root, and what the others are. Figure 17-17; one for the whole bridge.

use crate::stp::bpdu::Role;
use crate::stp::port::{InfoIs, Port};
use crate::stp::tree::Tree;
use crate::stp::vector::{Times, Vector};

/// Decides anew, if that is to be done. Whether it was.
pub(crate) fn step(tree: &mut Tree) -> bool {
    if !tree.ports.iter().any(|port| port.reselect) {
        return false;
    }
    // clearReselectTree, updtRolesTree, setSelectedTree.
    tree.ports.iter_mut().for_each(|port| port.reselect = false);
    choose_root(tree);
    for at in 0..tree.ports.len() {
        let before = (tree.ports[at].selected_role, tree.ports[at].is_decided());
        choose_role(tree, at);
        let port = &mut tree.ports[at];
        port.selected = true;
        if before != (port.selected_role, port.is_decided()) || port.update_info {
            tree.touch(at);
        }
    }
    true
}

/// 17.21.25, b to d. The best of what ports have heard, with what their ways cost; and this bridge itself.
fn choose_root(tree: &mut Tree) {
    let own = Vector::own(tree.id);
    let heard = |port: &&Port| {
        port.info_is == InfoIs::Received
            && !port.settings.root_guard
            && port.priority.bridge.address() != tree.id.address()
    };
    let way = |port: &Port| {
        let cost = port.priority.cost.saturating_add(port.cost);
        (Vector { cost, ..port.priority }, port.number(), port.id, port.times)
    };
    let best = tree.ports.iter().filter(heard).map(way).min_by_key(|(vector, number, ..)| (*vector, *number));
    let (root, times, port) = match best {
        Some((vector, _, id, times)) if vector < own => (vector, times.one_on(), Some(id)),
        _ => (own, tree.settings.times(), None),
    };
    (tree.root, tree.root_times, tree.root_port) = (root, times, port);
}

/// 17.21.25, e to l.
fn choose_role(tree: &mut Tree, at: usize) {
    let (own, root, root_port) = (tree.id, tree.root, tree.root_port);
    let times = Times { hello: tree.settings.times().hello, ..tree.root_times };
    let port = &mut tree.ports[at];
    port.designated_priority = Vector { bridge: own, port: port.number(), ..root };
    port.designated_times = times;
    let is_better = port.designated_priority < port.priority;
    (port.selected_role, port.update_info) = match port.info_is {
        InfoIs::Disabled => (Role::Disabled, false),
        InfoIs::Aged => (Role::Designated, true),
        InfoIs::Mine => {
            let is_news = port.priority != port.designated_priority || port.times != times;
            (Role::Designated, is_news)
        }
        InfoIs::Received if root_port == Some(port.id) => (Role::Root, false),
        InfoIs::Received if is_better => (Role::Designated, true),
        InfoIs::Received if port.priority.bridge.address() == own.address() => (Role::Backup, false),
        InfoIs::Received => (Role::Alternate, false),
    };
}
