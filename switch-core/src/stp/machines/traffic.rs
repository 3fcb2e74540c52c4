//! Port State Transition: what the port does with frames. Figure 17-22.

use crate::stp::port::Port;
use crate::stp::state::Traffic;
use crate::stp::tree::Tree;

pub(crate) const fn next(port: &Port) -> Option<Traffic> {
    match port.states.traffic {
        Traffic::Discarding if port.learn => Some(Traffic::Learning),
        Traffic::Learning if !port.learn => Some(Traffic::Discarding),
        Traffic::Learning if port.forward => Some(Traffic::Forwarding),
        Traffic::Forwarding if !port.forward => Some(Traffic::Discarding),
        _ => None,
    }
}

pub(crate) fn enter(tree: &mut Tree, at: usize, state: Traffic) {
    let port = &mut tree.ports[at];
    port.states.traffic = state;
    (port.learning, port.forwarding) = match state {
        Traffic::Discarding => (false, false),
        Traffic::Learning => (true, false),
        Traffic::Forwarding => (true, true),
    };
    let id = port.id;
    tree.note_change(id);
}
