//! How one set of open ports becomes another: wholly or not at all.
//!
//! ```text
//! 1  open what is new, beside what is there                        ─┐ a failure takes all of it back: nobody has lost
//! 2  change what stays with other settings, or under another name  ─┘ a device, an address or a frame
//! 3  close what goes, put what is new into its place                  can't fail
//! ```
//!
//! Where something new needs what something old has: the old socket steps aside, so that the new one can be made at its
//! path; a device that gets another kind of port is opened for a trial while the old port is there, and again when that is
//! closed. The thread of [`changes`](super::changes) has opened all that it can before, and opens what is to be opened again.

use std::collections::BTreeMap;

use mio::Registry;
use packet::PortId;
use tapio::{Device, PortError, PortSpec};
use tracing::warn;

use super::ports::{PlacedError, Port, Ports};
use crate::config::{Action, Plan};

impl Ports {
    /// Goes from the ports of `old` to those of `new`, wholly or not at all. Those in `prepared` have been tried already.
    ///
    /// At the start, a socket that can't be had is no failure, lest others who may write to its folder keep the whole switch
    /// from starting: such ports are not open after it.
    pub(super) fn apply(
        &mut self,
        old: &Plan,
        new: &Plan,
        prepared: Vec<(PortId, Prepared)>,
        registry: &Registry,
    ) -> Result<Rest, PlacedError> {
        let steps = Steps::between(old, new, self);
        let prepared = prepared.into_iter().collect();
        let mut trial = Trial { prepared, sockets_may_wait: old.devices.is_empty(), ..Trial::default() };
        if let Err((id, error)) = trial.run(&steps, self, registry) {
            trial.take_back(self, new, registry);
            return Err(PlacedError::new(new.place_of(id), error));
        }
        let rest = std::mem::take(&mut trial.rest);
        self.finish(steps, trial, (old, new), registry);
        Ok(rest)
    }

    /// Step 3. What fails here, after it has worked a moment ago, leaves a port that is down and looked after.
    fn finish(&mut self, steps: Steps, mut trial: Trial, (old, new): (&Plan, &Plan), registry: &Registry) {
        let moving = steps.change.iter().filter(|change| change.from != change.to);
        let moved: Vec<(&Change, Option<Port>)> =
            moving.map(|change| (change, self.take(change.from, registry))).collect();
        for id in steps.close {
            if let Some(spec) = old.spec(id) {
                self.close(id, spec);
            }
        }
        for (change, port) in moved {
            let Some(mut port) = port else { continue };
            match port.register(change.to, registry) {
                Ok(()) => self.put(change.to, port),
                Err(error) => warn!(port = new.place_of(change.to), %error, "the port is down"),
            }
        }
        for (id, port) in std::mem::take(&mut trial.opened) {
            self.put(id, port);
        }
        for change in &steps.change {
            if let Some(device) = self.device(change.to) {
                device.settle();
            }
        }
        trial.close(self, new);
    }
}

/// What is still to be done after a change.
#[derive(Default)]
pub(super) struct Rest {
    /// Ports whose sockets can't be had yet.
    pub(super) waiting: Vec<(PortId, PortError)>,
    /// Ports that are to be opened when those that had their devices are closed.
    pub(super) reopen: Vec<(PortId, PortSpec)>,
}

/// What was found out about a new port before the change.
pub(super) enum Prepared {
    Open(Box<Port>),
    /// Its device could be had, but for the port that has it now.
    Tried,
    /// It can't be had.
    Refused(PortError),
}

impl Prepared {
    /// `is_taken`: another port has its device.
    pub(super) fn new(spec: &PortSpec, is_taken: bool) -> Self {
        match Port::open(spec) {
            Ok(_) if is_taken => Self::Tried,
            Ok(port) => Self::Open(Box::new(port)),
            Err(error) => Self::Refused(error),
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
            let here = close.iter().position(|&id| ports.device(id).is_some_and(|device| device.is(&**spec)));
            let Some(here) = here else { return true };
            change.push(Change { from: close.remove(here), to: *to, spec: spec.clone() });
            false
        });
    }
}

/// Steps 1 and 2 as far as they were done.
#[derive(Default)]
struct Trial {
    prepared: BTreeMap<PortId, Prepared>,
    opened: Vec<(PortId, Port)>,
    aside: Vec<PortId>,
    changed: Vec<PortId>,
    rest: Rest,
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
            let mut held = |holds: fn(&mut dyn Device, &PortSpec) -> bool| {
                let mut closing = steps.close.iter().copied();
                closing.find(|&id| ports.device(id).is_some_and(|device| holds(device, spec)))
            };
            if let Some(holder) = held(|device, spec| device.has_socket_of(&**spec)) {
                at_socket.push((*id, spec, holder));
            } else if held(|device, spec| device.has_device_of(&**spec)).is_some() {
                on_device.push((*id, spec));
            } else {
                self.open(*id, spec, registry)?;
            }
        }
        for (id, spec, holder) in at_socket {
            if let Some(device) = ports.device(holder) {
                device.step_aside().map_err(|error| (id, error))?;
                self.aside.push(holder);
            }
            self.open(id, spec, registry)?;
        }
        for Change { from, to, spec } in &steps.change {
            // A port that is gone takes its settings when it comes back.
            if let Some(device) = ports.device(*from) {
                device.reconfigure(&**spec).map_err(|error| (*to, error))?;
                self.changed.push(*from);
                ports.renew_queue(*from, registry).map_err(|error| (*to, error))?;
            }
        }
        for (id, spec) in on_device {
            match self.prepared.remove(&id) {
                Some(Prepared::Refused(error)) => return Err((id, error)),
                Some(Prepared::Open(port)) => ports.close_port(spec, *port),
                Some(Prepared::Tried) | None => {}
            }
            self.rest.reopen.push((id, spec.clone()));
        }
        Ok(())
    }

    fn open(&mut self, id: PortId, spec: &PortSpec, registry: &Registry) -> Result<(), (PortId, PortError)> {
        let opened = match self.prepared.remove(&id) {
            Some(Prepared::Open(port)) => Ok(*port),
            Some(Prepared::Refused(error)) => Err(error),
            Some(Prepared::Tried) | None => Port::open(spec),
        };
        let watched = opened.and_then(|mut port| port.register(id, registry).map(|()| port));
        match watched {
            Ok(port) => self.opened.push((id, port)),
            Err(error) if self.sockets_may_wait && error.is_about_socket() => {
                self.rest.waiting.push((id, error));
            }
            Err(error) => return Err((id, error)),
        }
        Ok(())
    }

    fn take_back(mut self, ports: &mut Ports, new: &Plan, registry: &Registry) {
        for id in std::mem::take(&mut self.changed).into_iter().rev() {
            if let Some(device) = ports.device(id) {
                device.take_back();
            }
            // Where it fails, it is tried again with the next look at the link.
            let _ = ports.renew_queue(id, registry);
        }
        let aside = std::mem::take(&mut self.aside);
        self.close(ports, new);
        for id in aside {
            if let Some(device) = ports.device(id) {
                device.step_back();
            }
        }
    }

    /// Closes what was opened for nothing. Sockets at once: another is to take the path back.
    fn close(self, ports: &Ports, new: &Plan) {
        let unused = self.prepared.into_iter().filter_map(|(id, prepared)| match prepared {
            Prepared::Open(port) => Some((id, *port)),
            Prepared::Tried | Prepared::Refused(_) => None,
        });
        for (id, port) in self.opened.into_iter().chain(unused) {
            if let Some(spec) = new.spec(id).filter(|spec| spec.is_device()) {
                ports.close_port(spec, port);
            }
        }
    }
}
