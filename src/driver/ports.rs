//! The open ports.

use std::error::Error;
use std::fmt;

use mio::Registry;
use packet::PortId;
use tapio::{Device, PortError, PortSpec, Queue};

use super::closing::Closing;
use super::port::{Port, deregister, register};
use crate::config::Plan;

/// The open ports, by number. Moving frames needs their queues only.
pub(super) struct Ports {
    devices: Vec<Option<Box<dyn Device>>>,
    pub(super) queues: Queues,
    closing: Closing,
}

/// The queues of open ports, by number.
#[derive(Default)]
pub(super) struct Queues(Vec<Option<Box<dyn Queue>>>);

impl Ports {
    /// None; those that come will be closed by `closing`.
    pub(super) fn new(closing: Closing) -> Self {
        Self { devices: Vec::new(), queues: Queues::default(), closing }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.devices.iter().flatten().count()
    }

    /// The numbers of the open ports.
    pub(super) fn ids(&self) -> impl Iterator<Item = PortId> + '_ {
        let numbered = (0..PortId::LIMIT as u16).zip(&self.devices);
        numbered.filter_map(|(id, device)| device.as_ref().and(PortId::new(id)))
    }

    pub(super) fn device(&mut self, id: PortId) -> Option<&mut (dyn Device + 'static)> {
        self.devices.get_mut(id.index())?.as_deref_mut()
    }

    /// Whether frames pass by the port. A system call or two.
    ///
    /// # Errors
    /// A device that has come can't be read.
    pub(super) fn link_up(&mut self, id: PortId, registry: &Registry) -> Result<bool, PortError> {
        let is_up = self.device(id).is_some_and(|device| device.link_up());
        self.renew_queue(id, registry)?;
        Ok(is_up && self.queues.get_mut(id).is_some_and(|queue| queue.is_connected()))
    }

    /// Takes another queue of the port's device, if it has made another one of it.
    ///
    /// # Errors
    /// The process has no memory or descriptors left.
    pub(super) fn renew_queue(&mut self, id: PortId, registry: &Registry) -> Result<(), PortError> {
        let Some(Some(device)) = self.devices.get_mut(id.index()) else { return Ok(()) };
        let Some(place) = self.queues.0.get_mut(id.index()) else { return Ok(()) };
        if place.is_some() && !device.needs_queue() {
            return Ok(());
        }
        // The new one may have the same descriptor.
        deregister(place, registry);
        *place = None;
        let mut queue = device.queue()?;
        register(&mut *queue, id, &**device, registry)?;
        *place = Some(queue);
        Ok(())
    }

    /// Closes a port, which was opened as `spec` says: a device that it made goes with it, in a moment.
    pub(super) fn close(&mut self, id: PortId, spec: &PortSpec) {
        if let Some(port) = self.remove(id) {
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
        let mut port = self.remove(id)?;
        port.deregister(registry);
        Some(port)
    }

    fn remove(&mut self, id: PortId) -> Option<Port> {
        let device = self.devices.get_mut(id.index())?.take()?;
        Some(Port { queue: self.queues.0.get_mut(id.index()).and_then(Option::take), device })
    }

    /// Puts a port in, whose events are asked for.
    pub(super) fn put(&mut self, id: PortId, port: Port) {
        if self.devices.len() <= id.index() {
            self.devices.resize_with(id.index() + 1, || None);
            self.queues.0.resize_with(id.index() + 1, || None);
        }
        self.devices[id.index()] = Some(port.device);
        self.queues.0[id.index()] = port.queue;
    }
}

impl Queues {
    #[inline]
    pub(super) fn get_mut(&mut self, id: PortId) -> Option<&mut (dyn Queue + 'static)> {
        self.0.get_mut(id.index())?.as_deref_mut()
    }
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
