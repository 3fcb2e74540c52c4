//! The open ports, and how one set of them becomes another.

use mio::{Registry, Token};
use packet::PortId;
use tapio::{Port, PortError, PortSpec};
use tracing::warn;

use crate::config::{Action, Plan};

/// The open ports, by number.
#[derive(Default)]
pub(super) struct Ports(Vec<Option<Port>>);

impl Ports {
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// The numbers of the open ports.
    pub(super) fn ids(&self) -> impl Iterator<Item = PortId> + '_ {
        (0..PortId::LIMIT as u16).zip(&self.0).filter_map(|(id, port)| port.as_ref().and(PortId::new(id)))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.0.get_mut(id.index())?.as_mut()
    }

    /// Goes from the ports of `old` to those of `new`, wholly or not at all: what was done is taken back after a
    /// failure. Devices that nothing has to be closed for are opened first, so that a failure there disturbs nobody.
    ///
    /// A socket that can't be had is no failure, lest others who may write to its folder keep the whole switch from starting:
    /// such ports are returned, not open.
    pub(super) fn apply(
        &mut self,
        old: &Plan,
        new: &Plan,
        registry: &Registry,
    ) -> Result<Vec<(PortId, PortError)>, PortError> {
        let mut actions = Plan::diff(old, new);
        let closing: Vec<(PortId, PortSpec)> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Close(id) => Some((*id, old.spec(*id)?.clone())),
                _ => None,
            })
            .collect();
        actions.sort_by_key(|action| match action {
            Action::Open(id, spec) => {
                let waits =
                    closing.iter().any(|(other, closed)| other == id || closed.device() == spec.device());
                if waits { 3 } else { 0 }
            }
            Action::Reconfigure(..) => 1,
            Action::Close(_) => 2,
        });
        let (mut undo, mut waiting) = (Vec::new(), Vec::new());
        for action in actions {
            let (inverse, opened) = (inverse_of(&action, old), opened_by(&action));
            match (self.perform(action, registry), opened) {
                (Ok(()), _) => {}
                (Err(error), Some(id)) if error.is_about_socket() => waiting.push((id, error)),
                (Err(error), _) => {
                    self.take_back(undo, registry);
                    return Err(error);
                }
            }
            undo.extend(inverse);
        }
        Ok(waiting)
    }

    /// Opens a port and asks for its events.
    pub(super) fn open(&mut self, id: PortId, spec: &PortSpec, registry: &Registry) -> Result<(), PortError> {
        let mut port = Port::open(spec)?;
        let watched = port.register(registry, Token(id.index()));
        watched.map_err(|error| PortError::watch(&spec.device(), error))?;
        if self.0.len() <= id.index() {
            self.0.resize_with(id.index() + 1, || None);
        }
        self.0[id.index()] = Some(port);
        Ok(())
    }

    /// Closes a port: a device that it made goes with it.
    pub(super) fn close(&mut self, id: PortId, registry: &Registry) {
        if let Some(mut port) = self.0.get_mut(id.index()).and_then(Option::take) {
            // Fails only if the descriptor is dead, and then it isn't watched any more.
            let _ = port.deregister(registry);
        }
    }

    fn perform(&mut self, action: Action, registry: &Registry) -> Result<(), PortError> {
        match action {
            Action::Open(id, spec) => self.open(id, &spec, registry),
            Action::Close(id) => {
                self.close(id, registry);
                Ok(())
            }
            // A port that is gone takes its settings when it comes back.
            Action::Reconfigure(id, spec) => self.get_mut(id).map_or(Ok(()), |port| port.reconfigure(&spec)),
        }
    }

    fn take_back(&mut self, undo: Vec<Action>, registry: &Registry) {
        for action in undo.into_iter().rev() {
            if let Err(error) = self.perform(action, registry) {
                warn!(%error, "after a failed reload, a port could not be had back");
            }
        }
    }
}

fn opened_by(action: &Action) -> Option<PortId> {
    match action {
        Action::Open(id, _) => Some(*id),
        Action::Close(_) | Action::Reconfigure(..) => None,
    }
}

/// What takes `action` back.
fn inverse_of(action: &Action, old: &Plan) -> Option<Action> {
    Some(match action {
        Action::Open(id, _) => Action::Close(*id),
        Action::Close(id) => Action::Open(*id, old.spec(*id)?.clone()),
        Action::Reconfigure(id, _) => Action::Reconfigure(*id, old.spec(*id)?.clone()),
    })
}
