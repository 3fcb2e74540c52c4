//! The spanning tree: STP and RSTP. IEEE 802.1D-2004, clause 17.
//!
//! ```text
//! a message, a link, the time ─▶ Receive ─▶ Information ─▶ Selection (one for all ports) ─▶ Transition
//!                                Migration, Detection                                        │
//!      messages out ◀─ Transmit ◀──────────────────── Topology ◀─ what the port does ◀─ Traffic
//! ```
//!
//! No I/O and no clock: [`SpanningTree`] takes messages, links and `now`, and gives back what is to be sent, what ports may
//! do, and whose stations are to be forgotten. Machines are looked at where something has changed, until none moves any
//! more. A message from a guest so costs no more than it changes.

mod bpdu;
mod machines;
mod port;
mod report;
mod run;
mod settings;
mod state;
mod timer;
mod tree;
mod vector;

use packet::{MacAddr, Millis, PortId};

pub use self::bpdu::{BadBpdu, Bpdu, Message, Role};
pub use self::report::{BridgeReport, TreePortReport};
pub use self::settings::{Edge, StpMode, TreePort, TreeSettings, cost_of};
pub use self::state::Traffic;
pub use self::vector::{BridgeId, Times, Vector};

use self::port::Port;
use self::tree::Tree;

/// The part of a bridge in the spanning tree.
#[derive(Clone, Debug)]
pub struct SpanningTree {
    tree: Tree,
    address: MacAddr,
    now: Millis,
    /// Whether something has changed since the machines stood still.
    is_stirred: bool,
    next: Option<Millis>,
}

impl SpanningTree {
    /// A bridge without ports. No other one may have its `address`.
    pub fn new(address: MacAddr, settings: TreeSettings) -> Self {
        let tree = Tree::new(BridgeId::new(settings.priority, address), settings);
        Self { tree, address, now: Millis::ZERO, is_stirred: false, next: None }
    }

    /// Goes over to other settings; with another protocol everything begins anew.
    pub fn set(&mut self, settings: TreeSettings) {
        let before = std::mem::replace(&mut self.tree.settings, settings);
        if before == settings {
            return;
        }
        self.is_stirred = true;
        self.tree.id = BridgeId::new(settings.priority, self.address);
        if before.mode == settings.mode {
            return (0..self.tree.ports.len()).for_each(|at| self.redo(at));
        }
        let ports = std::mem::take(&mut self.tree.ports);
        for Port { id, settings, cost, enabled, .. } in ports {
            self.set_port(id, settings, cost, enabled);
        }
    }

    /// Adds a port, or changes it. `is_up`: frames pass, and nothing else keeps it shut.
    pub fn set_port(&mut self, id: PortId, settings: TreePort, cost: u32, is_up: bool) {
        let at = match self.tree.place_of(id) {
            Ok(at) => at,
            Err(at) => {
                let port = Port::new(id, Vector::own(self.tree.id), self.tree.settings.times());
                self.tree.ports.insert(at, port);
                // Places have moved.
                self.tree.due.clear();
                self.tree.ports.iter_mut().for_each(|port| port.is_due = false);
                self.tree.ports[at].settings = settings;
                run::begin(&mut self.tree, at, self.now);
                self.tree.touch_all();
                at
            }
        };
        let port = &mut self.tree.ports[at];
        let is_same = (port.settings, port.cost, port.enabled) == (settings, cost, is_up);
        if is_same && port.is_due {
            self.is_stirred = true;
        }
        if is_same {
            return;
        }
        (port.settings, port.cost) = (settings, cost);
        if port.enabled != is_up {
            port.enabled = is_up;
            port.bpdu = None;
            // What was held while it was down runs from here on; on the way down everything begins anew.
            self.tree.ports[at].wants_start = is_up;
        }
        self.redo(at);
    }

    /// There is no such port any more.
    pub fn remove_port(&mut self, id: PortId) {
        let Ok(at) = self.tree.place_of(id) else { return };
        self.tree.ports.remove(at);
        self.tree.due.clear();
        self.tree.ports.iter_mut().for_each(|port| port.is_due = false);
        (0..self.tree.ports.len()).for_each(|at| self.redo(at));
        self.is_stirred = true;
    }

    /// Takes what is behind the header of logical link control of a frame to the bridges' address.
    ///
    /// # Errors
    /// It is no BPDU.
    pub fn receive(&mut self, id: PortId, bytes: &[u8], now: Millis) -> Result<(), BadBpdu> {
        let bpdu = Bpdu::parse(bytes)?;
        if self.next_timeout().is_some_and(|due| due <= now) {
            self.run(now);
        }
        let Ok(at) = self.tree.place_of(id) else { return Ok(()) };
        let port = &mut self.tree.ports[at];
        if !port.enabled {
            return Ok(());
        }
        port.count.heard += 1;
        if let Bpdu::Config(message) | Bpdu::Rapid(message) = bpdu
            && message.vector.bridge.address() == self.address
            && message.vector.port == port.number()
        {
            run::hear_oneself(&mut self.tree, at, now);
        } else {
            port.bpdu = Some(bpdu);
            self.tree.touch(at);
        }
        self.run(now);
        Ok(())
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Millis> {
        if self.is_stirred { Some(Millis::ZERO) } else { self.next }
    }

    /// Does what is due.
    pub fn on_timeout(&mut self, now: Millis) {
        self.run(now);
    }

    /// The next message that is to be sent, by which port.
    pub fn next_message(&mut self) -> Option<(PortId, Bpdu)> {
        self.tree.outbox.pop_front()
    }

    /// Whether messages are to be sent.
    pub fn has_messages(&self) -> bool {
        !self.tree.outbox.is_empty()
    }

    /// A port that does something else with frames than before, since the last call.
    pub fn next_change(&mut self) -> Option<PortId> {
        self.tree.changed.pop()
    }

    /// A port whose stations may be elsewhere now, since the last call.
    pub fn next_flush(&mut self) -> Option<PortId> {
        self.tree.flushes.pop()
    }

    /// What a port may do with frames; `None`: there is no such port.
    pub fn traffic(&self, id: PortId) -> Option<Traffic> {
        Some(self.tree.ports[self.tree.place_of(id).ok()?].states.traffic)
    }

    /// The bridge, for people.
    pub fn report(&self) -> BridgeReport {
        report::bridge(&self.tree)
    }

    /// Its ports, in ascending order of their ids.
    pub fn ports(&self) -> impl Iterator<Item = TreePortReport> + '_ {
        self.tree.ports.iter().map(|port| report::port(self.now, port))
    }

    /// What was decided of the port is to be decided anew.
    fn redo(&mut self, at: usize) {
        self.is_stirred = true;
        self.tree.reselect(at);
        self.tree.touch(at);
    }

    fn run(&mut self, now: Millis) {
        let last = self.now;
        (self.now, self.is_stirred) = (last.max(now), false);
        self.next = run::run(&mut self.tree, last, self.now);
    }
}
