//! The open ports.

use std::error::Error;
use std::fmt;

use mio::{Registry, Token};
use packet::PortId;
use tapio::{Port, PortError, PortSpec};

use super::closing::Closing;
use crate::config::Plan;

/// The open ports, by number.
pub(super) struct Ports {
    open: Vec<Option<Port>>,
    closing: Closing,
}

impl Ports {
    /// None; those that come will be closed by `closing`.
    pub(super) fn new(closing: Closing) -> Self {
        Self { open: Vec::new(), closing }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.iter().flatten().count()
    }

    /// The numbers of the open ports.
    pub(super) fn ids(&self) -> impl Iterator<Item = PortId> + '_ {
        (0..PortId::LIMIT as u16).zip(&self.open).filter_map(|(id, port)| port.as_ref().and(PortId::new(id)))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.open.get_mut(id.index())?.as_mut()
    }

    /// The MTUs of devices whose ports say none.
    pub(super) fn own_mtus(&self) -> impl Iterator<Item = (PortId, u16)> + '_ {
        self.ids().filter_map(|id| Some((id, self.open[id.index()].as_ref()?.own_mtu()?)))
    }

    /// Closes a port, which was opened as `spec` says: a device that it made goes with it, in a moment.
    pub(super) fn close(&mut self, id: PortId, spec: &PortSpec) {
        if let Some(port) = self.open.get_mut(id.index()).and_then(Option::take) {
            self.close_port(spec, port);
        }
    }

    /// Closes a port that is none of these.
    pub(super) fn close_port(&self, spec: &PortSpec, port: Port) {
        self.closing.close(spec, port);
    }

    /// Closes all, and waits until that is done: the host is left as it was found.
    pub(super) fn close_all(&mut self, plan: &Plan) {
        plan.devices.iter().for_each(|(id, spec)| self.close(*id, spec));
        self.closing.wait_for_all();
    }

    /// Takes a port out, without its events.
    pub(super) fn take(&mut self, id: PortId, registry: &Registry) -> Option<Port> {
        let mut port = self.open.get_mut(id.index())?.take()?;
        // Fails only if the descriptor is dead, and then it isn't watched any more.
        let _ = port.deregister(registry);
        Some(port)
    }

    /// Puts a port in, whose events are asked for.
    pub(super) fn put(&mut self, id: PortId, port: Port) {
        if self.open.len() <= id.index() {
            self.open.resize_with(id.index() + 1, || None);
        }
        self.open[id.index()] = Some(port);
    }
}

/// Asks for a port's events.
pub(super) fn register(
    port: &mut Port,
    id: PortId,
    spec: &PortSpec,
    registry: &Registry,
) -> Result<(), PortError> {
    let watched = port.register(registry, Token(id.index()));
    watched.map_err(|error| PortError::watch(&spec.device(), error))
}

/// A port of the configuration that can't be had.
#[derive(Debug)]
pub struct PlacedError {
    place: String,
    error: PortError,
}

impl PlacedError {
    /// `place` is `NETWORK/PORT`, or the uplink.
    pub(super) const fn new(place: String, error: PortError) -> Self {
        Self { place, error }
    }
}

impl fmt::Display for PlacedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}: {}", self.place, self.error)
    }
}

impl Error for PlacedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
