//! What the worker has to say, for the log.

use engine::report::{CheckOutcome, LoopChange, ServerChange, TreeChange};
use engine::stp::Traffic;
use tracing::{info, warn};

use super::Driver;

impl Driver {
    /// Logs what the worker has to say, and has the host's resolvers say what it asks.
    pub(super) fn tell_news(&mut self) {
        self.tend_names();
        let (server, port) = (self.worker.next_server_change(), self.worker.next_loop_change());
        let tree = self.worker.next_tree_change();
        if server.is_some() || port.is_some() || tree.is_some() {
            self.pause(|driver| {
                driver.tell_server_changes(server);
                driver.tell_loops(port);
                driver.tell_trees(tree);
            });
        }
    }

    /// Spanning trees have changed: by this, and more.
    fn tell_trees(&mut self, mut next: Option<TreeChange>) {
        while let Some(change) = next {
            match change {
                TreeChange::Root { network, root, port } => {
                    let network = self.plan.network_name(network);
                    let port = port.map(|port| self.plan.place_of(port));
                    if let Some(port) = port {
                        info!(network, %root, port, "the spanning tree has this root, by this port");
                    } else {
                        info!(network, bridge = %root, "the switch is the root of the spanning tree");
                    }
                }
                TreeChange::Port { port, role, traffic } => {
                    let (port, role, state) = (self.plan.place_of(port), role.name(), word_for(traffic));
                    info!(port, role, state, "its place in the spanning tree");
                }
                TreeChange::Shut(port) => {
                    let port = self.plan.place_of(port);
                    warn!(
                        port,
                        "a BPDU came by a port with `bpdu-guard`: shut until its link goes down and up"
                    );
                }
            }
            next = self.worker.next_tree_change();
        }
    }

    /// Servers that connections are spread over have died, or are back: this one, and more.
    fn tell_server_changes(&mut self, mut next: Option<ServerChange>) {
        while let Some(ServerChange { network, server, protocol, outcome }) = next {
            let network = self.plan.network_name(network);
            match outcome {
                CheckOutcome::Answered => info!(network, %server, %protocol, "the server is back"),
                CheckOutcome::Refused => {
                    warn!(network, %server, %protocol, "the server is dead: it refuses connections");
                }
                CheckOutcome::Silent => {
                    warn!(network, %server, %protocol, "the server is dead: it doesn't answer");
                }
            }
            next = self.worker.next_server_change();
        }
    }

    /// Ports have been closed because of a loop, or are open again: this one, and more.
    fn tell_loops(&mut self, mut next: Option<LoopChange>) {
        while let Some(LoopChange { port, other }) = next {
            let path = |port| {
                let network = self.worker.network_of(port).map_or("", |id| self.plan.network_name(id));
                format!("{network}/{}", self.plan.port_name(port))
            };
            match other.map(path) {
                Some(other) => {
                    warn!(port = path(port), other, "there is a loop between these ports: closed the first");
                }
                None => info!(port = path(port), "the loop is gone: the port is open"),
            }
            next = self.worker.next_loop_change();
        }
    }
}

const fn word_for(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::Discarding => "discarding",
        Traffic::Learning => "learning",
        Traffic::Forwarding => "forwarding",
    }
}
