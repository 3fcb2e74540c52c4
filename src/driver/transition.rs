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

use std::collections::VecDeque;

use mio::Registry;
use packet::PortId;
use tapio::{PortError, PortSpec};
use tracing::warn;

use super::planned::{Found, Move, Opening, Planned, Steps};
use super::port::Port;
use super::ports::{PlacedError, Ports};
use crate::config::Plan;

/// The way from one plan to another, a part at a time.
pub(super) struct Transition {
    planned: Planned,
    trial: Trial,
}

impl Transition {
    /// At the start, a socket that can't be had is no failure, lest others who may write to its folder keep the whole switch
    /// from starting: such ports are not open after it.
    pub(super) fn new(planned: Planned, is_start: bool) -> Self {
        Self { planned, trial: Trial { sockets_may_wait: is_start, ..Trial::default() } }
    }

    /// Steps 1 and 2, for as long as there is time. Whether they are done.
    ///
    /// # Errors
    /// A port can't be had as the plan says; all is as it was.
    pub(super) fn go_on(
        &mut self,
        ports: &mut Ports,
        registry: &Registry,
        has_time: impl Fn() -> bool,
    ) -> Result<bool, PlacedError> {
        let outcome = self.trial.run(&mut self.planned.steps, ports, registry, has_time);
        outcome.map_err(|(id, error)| {
            self.take_back(ports, registry);
            PlacedError::new(self.planned.plan.place_of(id), error)
        })
    }

    /// All is as it was.
    pub(super) fn take_back(&mut self, ports: &mut Ports, registry: &Registry) {
        let mut trial = std::mem::take(&mut self.trial);
        trial.openings.extend(std::mem::take(&mut self.planned.steps.open));
        trial.take_back(ports, registry);
    }

    /// Step 3, for the ports of `old`. What fails here, after it has worked a moment ago, leaves a port that is down and looked
    /// after.
    pub(super) fn finish(mut self, old: &Plan, ports: &mut Ports, registry: &Registry) -> (Planned, Rest) {
        let steps = std::mem::take(&mut self.planned.steps);
        let moving = steps.change.iter().filter(|change| change.from != change.to);
        let moved: Vec<(&Move, Option<Port>)> =
            moving.map(|change| (change, ports.take(change.from, registry))).collect();
        for id in steps.close {
            if let Some(spec) = old.spec(id) {
                ports.close(id, spec);
            }
        }
        for (change, port) in moved {
            let Some(mut port) = port else { continue };
            match port.register(change.to, registry) {
                Ok(()) => ports.put(change.to, port),
                Err(error) => {
                    warn!(port = self.planned.plan.place_of(change.to), %error, "the port is down");
                }
            }
        }
        for (id, _, port) in self.trial.opened {
            ports.put(id, port);
        }
        for change in steps.change.iter().filter(|change| change.is_change) {
            if let Some(device) = ports.device(change.to) {
                device.settle();
            }
        }
        (self.planned, self.trial.rest)
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

/// Steps 1 and 2 as far as they were done.
#[derive(Default)]
struct Trial {
    /// Ports that are still to be opened, or were before.
    openings: VecDeque<Opening>,
    opened: Vec<(PortId, PortSpec, Port)>,
    aside: Vec<PortId>,
    /// How many of the changes were made, and of which ports.
    made: usize,
    changed: Vec<PortId>,
    rest: Rest,
    sockets_may_wait: bool,
}

impl Trial {
    fn run(
        &mut self,
        steps: &mut Steps,
        ports: &mut Ports,
        registry: &Registry,
        has_time: impl Fn() -> bool,
    ) -> Result<bool, (PortId, PortError)> {
        self.open_all(steps, ports, registry)?;
        while let Some(change) = steps.change.get(self.made) {
            if !has_time() {
                return Ok(false);
            }
            self.made += 1;
            // A port that is gone takes its settings when it comes back.
            if let Some(device) = ports.device(change.from).filter(|_| change.is_change) {
                device.reconfigure(&*change.spec).map_err(|error| (change.to, error))?;
                self.changed.push(change.from);
                ports.renew_queue(change.from, registry).map_err(|error| (change.to, error))?;
            }
        }
        Ok(true)
    }

    /// Step 1; nothing if it is done.
    fn open_all(
        &mut self,
        steps: &mut Steps,
        ports: &mut Ports,
        registry: &Registry,
    ) -> Result<(), (PortId, PortError)> {
        let mut at_socket = Vec::new();
        // What fails leaves the others where they are closed.
        let openings = std::mem::take(&mut steps.open);
        let (held, free): (Vec<_>, Vec<_>) = openings.into_iter().partition(|open| open.holder.is_some());
        self.openings.extend(free);
        for opening in held {
            let held = opening.holder.and_then(|id| Some((id, ports.device(id)?)));
            let Some((from, device)) = held else {
                self.openings.push_back(opening);
                continue;
            };
            if device.is(&*opening.spec) {
                steps.close.retain(|&id| id != from);
                let Opening { id, spec, .. } = opening;
                steps.change.push(Move { from, to: id, spec, is_change: true });
            } else if device.has_socket_of(&*opening.spec) {
                at_socket.push((opening, from));
            } else if device.has_device_of(&*opening.spec) {
                let Opening { id, spec, found, .. } = opening;
                if let Found::Refused(error) = found {
                    return Err((id, error));
                }
                self.rest.reopen.push((id, spec));
            } else {
                self.openings.push_back(opening);
            }
        }
        while let Some(opening) = self.openings.pop_front() {
            self.open(opening, registry)?;
        }
        for (opening, holder) in at_socket {
            if let Some(device) = ports.device(holder) {
                device.step_aside().map_err(|error| (opening.id, error))?;
                self.aside.push(holder);
            }
            self.open(opening, registry)?;
        }
        Ok(())
    }

    fn open(&mut self, opening: Opening, registry: &Registry) -> Result<(), (PortId, PortError)> {
        let Opening { id, spec, found, .. } = opening;
        let opened = match found {
            Found::Open(port) => Ok(*port),
            Found::Refused(error) => Err(error),
            Found::Nothing => {
                Port::open(&spec).and_then(|mut port| port.register(id, registry).map(|()| port))
            }
        };
        match opened {
            Ok(port) => self.opened.push((id, spec, port)),
            Err(error) if self.sockets_may_wait && error.is_about_socket() => {
                self.rest.waiting.push((id, error));
            }
            Err(error) => return Err((id, error)),
        }
        Ok(())
    }

    fn take_back(self, ports: &mut Ports, registry: &Registry) {
        for id in self.changed.into_iter().rev() {
            if let Some(device) = ports.device(id) {
                device.take_back();
            }
            // Where it fails, it is tried again with the next look at the link.
            let _ = ports.renew_queue(id, registry);
            // Where it fails, it is tried again with the next look at the link.
            let _ = ports.renew_queue(id, registry);
        }
        let unused = self.openings.into_iter().filter_map(|Opening { spec, found, .. }| match found {
            Found::Open(port) => Some((spec, *port)),
            Found::Nothing | Found::Refused(_) => None,
        });
        for (spec, port) in self.opened.into_iter().map(|(_, spec, port)| (spec, port)).chain(unused) {
            // A socket goes at once: another is to have its path again.
            if spec.is_device() {
                ports.close_port(&spec, port);
            }
        }
        for id in self.aside {
            if let Some(device) = ports.device(id) {
                device.step_back();
            }
        }
    }
}
