//! The open ports.

use std::error::Error;
use std::fmt;

use mio::{Registry, Token};
use packet::PortId;
use tapio::{Port, PortError, PortSpec};

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

    /// The MTUs of devices whose ports say none.
    pub(super) fn own_mtus(&self) -> impl Iterator<Item = (PortId, u16)> + '_ {
        self.ids().filter_map(|id| Some((id, self.0[id.index()].as_ref()?.own_mtu()?)))
    }

    /// Opens a port and asks for its events.
    pub(super) fn open(&mut self, id: PortId, spec: &PortSpec, registry: &Registry) -> Result<(), PortError> {
        let port = open(id, spec, registry)?;
        self.put(id, port);
        Ok(())
    }

    /// Closes a port: a device that it made goes with it.
    pub(super) fn close(&mut self, id: PortId, registry: &Registry) {
        drop(self.take(id, registry));
    }

    /// Takes a port out, without its events.
    pub(super) fn take(&mut self, id: PortId, registry: &Registry) -> Option<Port> {
        let mut port = self.0.get_mut(id.index())?.take()?;
        // Fails only if the descriptor is dead, and then it isn't watched any more.
        let _ = port.deregister(registry);
        Some(port)
    }

    /// Puts a port in, whose events are asked for.
    pub(super) fn put(&mut self, id: PortId, port: Port) {
        if self.0.len() <= id.index() {
            self.0.resize_with(id.index() + 1, || None);
        }
        self.0[id.index()] = Some(port);
    }
}

/// Opens a port and asks for its events.
pub(super) fn open(id: PortId, spec: &PortSpec, registry: &Registry) -> Result<Port, PortError> {
    let mut port = Port::open(spec)?;
    register(&mut port, id, spec, registry)?;
    Ok(port)
}

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
