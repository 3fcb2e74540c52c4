//! What the worker has to say, for the log.

use engine::report::{CheckOutcome, LoopChange, ServerChange};
use tracing::{info, warn};

use super::Driver;

impl Driver {
    /// Logs what the worker has to say, and has the host's resolvers say what it asks.
    pub(super) fn tell_news(&mut self) {
        self.tend_names();
        let (server, port) = (self.worker.next_server_change(), self.worker.next_loop_change());
        if server.is_some() || port.is_some() {
            self.pause(|driver| {
                driver.tell_server_changes(server);
                driver.tell_loops(port);
            });
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
