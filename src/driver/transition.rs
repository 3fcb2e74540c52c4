//! How one set of open ports becomes another: wholly or not at all.
//!
//! ```text
//! 1  open what is new, beside what is there                        ─┐ a failure takes all of it back: nobody has lost
//! 2  change what stays with other settings, or under another name  ─┘ a device, an address or a frame
//! 3  close what goes, put what is new into its place                  can't fail
//! ```
//!
//! Where something new needs what something old has: the old socket steps aside, so that the new one can be made at its
//! path; a device that gets another kind of port is opened for a trial while the old port is there, and again after it.

use std::collections::BTreeMap;

use mio::Registry;
use packet::PortId;
use tapio::{Before, Port, PortError, PortSpec};
use tracing::warn;

use super::ports::{PlacedError, Ports, open, register};
use crate::config::{Action, Plan};

impl Ports {
    /// Goes from the ports of `old` to those of `new`, wholly or not at all. Those in `ready` have been opened already.
    ///
    /// At the start, a socket that can't be had is no failure, lest others who may write to its folder keep the whole switch
    /// from starting: such ports are returned, not open.
    pub(super) fn apply(
        &mut self,
        old: &Plan,
        new: &Plan,
        ready: Vec<(PortId, Port)>,
        registry: &Registry,
    ) -> Result<Vec<(PortId, PortError)>, PlacedError> {
        let steps = Steps::between(old, new, self);
        let ready = ready.into_iter().collect();
        let mut trial = Trial { ready, sockets_may_wait: old.devices.is_empty(), ..Trial::default() };
        if let Err((id, error)) = trial.run(&steps, self, registry) {
            trial.take_back(self, registry);
            return Err(PlacedError::new(new.place_of(id), error));
        }
        let waiting = std::mem::take(&mut trial.waiting);
        self.finish(steps, trial, new, registry);
        Ok(waiting)
    }

    /// Step 3. What fails here, after it has worked a moment ago, leaves a port that is down and looked after.
    fn finish(&mut self, steps: Steps, trial: Trial, plan: &Plan, registry: &Registry) {
        let moving = steps.change.iter().filter(|change| change.from != change.to);
        let moved: Vec<(&Change, Option<Port>)> =
            moving.map(|change| (change, self.take(change.from, registry))).collect();
        for id in steps.close {
            drop(self.take(id, registry));
        }
        let tell = |id, error: PortError| warn!(port = plan.place_of(id), %error, "the port is down");
        for (change, port) in moved {
            let Some(mut port) = port else { continue };
            match register(&mut port, change.to, &change.spec, registry) {
                Ok(()) => self.put(change.to, port),
                Err(error) => tell(change.to, error),
            }
        }
        for (id, port) in trial.opened {
            self.put(id, port);
        }
        for (id, spec) in trial.tried {
            if let Err(error) = self.open(id, &spec, registry) {
                tell(id, error);
            }
        }
        for change in &steps.change {
            if let Some(port) = self.get_mut(change.to) {
                port.settle();
            }
        }
    }
}

/// What is to be done. A port that is in none of the lists stays as it is.
struct Steps {
    open: Vec<(PortId, PortSpec)>,
    change: Vec<Change>,
    close: Vec<PortId>,
}

/// An open port that is to have another number, other settings, or both.
struct Change {
    from: PortId,
    to: PortId,
    spec: PortSpec,
}

impl Steps {
    fn between(old: &Plan, new: &Plan, ports: &mut Ports) -> Self {
        let mut steps = Self { open: Vec::new(), change: Vec::new(), close: Vec::new() };
        for action in Plan::diff(old, new) {
            match action {
                Action::Close(id) => steps.close.push(id),
                Action::Open(id, spec) => steps.open.push((id, spec)),
                Action::Reconfigure(id, spec) => steps.change.push(Change { from: id, to: id, spec }),
            }
        }
        steps.move_ports(ports);
        // Packet ports keep the host off their devices: the later, the less it notices of a failure.
        steps.open.sort_by_key(|(_, spec)| matches!(spec, PortSpec::Packet(_)));
        // Nothing can fail there.
        steps.change.sort_by_key(|change| matches!(change.spec, PortSpec::Dgram(_)));
        steps
    }

    /// What would be closed here and opened there moves: its device stays.
    fn move_ports(&mut self, ports: &mut Ports) {
        let Self { open, change, close } = self;
        open.retain(|(to, spec)| {
            let here = close.iter().position(|&id| ports.get_mut(id).is_some_and(|port| port.is(spec)));
            let Some(here) = here else { return true };
            change.push(Change { from: close.remove(here), to: *to, spec: spec.clone() });
            false
        });
    }
}

/// Steps 1 and 2 as far as they were done.
#[derive(Default)]
struct Trial {
    /// Ports that were opened before.
    ready: BTreeMap<PortId, Port>,
    opened: Vec<(PortId, Port)>,
    /// Could be opened, and is to be again when the port on its device is closed.
    tried: Vec<(PortId, PortSpec)>,
    aside: Vec<PortId>,
    changed: Vec<(PortId, Before)>,
    /// Could not be opened, which is no failure.
    waiting: Vec<(PortId, PortError)>,
    sockets_may_wait: bool,
}

impl Trial {
    fn run(
        &mut self,
        steps: &Steps,
        ports: &mut Ports,
        registry: &Registry,
    ) -> Result<(), (PortId, PortError)> {
        let (mut at_socket, mut on_device) = (Vec::new(), Vec::new());
        for (id, spec) in &steps.open {
            let mut held = |holds: fn(&mut Port, &PortSpec) -> bool| {
                let mut closing = steps.close.iter().copied();
                closing.find(|&id| ports.get_mut(id).is_some_and(|port| holds(port, spec)))
            };
            if let Some(holder) = held(Port::has_socket_of) {
                at_socket.push((*id, spec, holder));
            } else if held(|port, spec| port.has_device_of(spec)).is_some() {
                on_device.push((*id, spec));
            } else {
                self.open(*id, spec, registry)?;
            }
        }
        for (id, spec, holder) in at_socket {
            if let Some(port) = ports.get_mut(holder) {
                port.step_aside().map_err(|error| (id, error))?;
                self.aside.push(holder);
            }
            self.open(id, spec, registry)?;
        }
        for Change { from, to, spec } in &steps.change {
            // A port that is gone takes its settings when it comes back.
            if let Some(port) = ports.get_mut(*from) {
                let before = port.reconfigure(spec).map_err(|error| (*to, error))?;
                self.changed.push((*from, before));
            }
        }
        for (id, spec) in on_device {
            Port::open(spec).map_err(|error| (id, error))?;
            self.tried.push((id, spec.clone()));
        }
        Ok(())
    }

    fn open(&mut self, id: PortId, spec: &PortSpec, registry: &Registry) -> Result<(), (PortId, PortError)> {
        let opened = match self.ready.remove(&id) {
            Some(mut port) => register(&mut port, id, spec, registry).map(|()| port),
            None => open(id, spec, registry),
        };
        match opened {
            Ok(port) => self.opened.push((id, port)),
            Err(error) if self.sockets_may_wait && error.is_about_socket() => self.waiting.push((id, error)),
            Err(error) => return Err((id, error)),
        }
        Ok(())
    }

    fn take_back(self, ports: &mut Ports, registry: &Registry) {
        for (id, before) in self.changed.into_iter().rev() {
            if let Some(port) = ports.get_mut(id) {
                port.take_back(before);
            }
        }
        for (_, mut port) in self.opened {
            let _ = port.deregister(registry);
        }
        for id in self.aside {
            if let Some(port) = ports.get_mut(id) {
                port.step_back();
            }
        }
    }
}
