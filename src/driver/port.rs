//! A port from its opening to its closing.

use mio::{Registry, Token};
use packet::PortId;
use tapio::{Device, NetnsId, PortError, PortSpec, Queue};

/// A port as it is opened, handed on, and closed: first the queue, then the device.
#[derive(Debug)]
pub(super) struct Port {
    /// `None`: the device couldn't hand one out.
    pub(super) queue: Option<Box<dyn Queue>>,
    pub(super) device: Box<dyn Device>,
}

impl Port {
    /// Opens the device, and has it hand out its queue.
    pub(super) fn open(spec: &PortSpec) -> Result<Self, PortError> {
        let mut device = spec.open()?;
        let queue = Some(device.queue()?);
        Ok(Self { queue, device })
    }

    /// Looks for a device that is missing. Why it can't be had, if it is there.
    pub(super) fn look(&mut self) -> Option<PortError> {
        self.device.link_up();
        if self.device.needs_queue() {
            match self.device.queue() {
                Ok(queue) => self.queue = Some(queue),
                Err(error) => return Some(error),
            }
        }
        self.device.take_refusal()
    }

    /// Where its device is, if it has one, and that is known.
    pub(super) fn netns(&self) -> Option<NetnsId> {
        self.device.netns()
    }

    /// Asks for its events.
    pub(super) fn register(&mut self, id: PortId, registry: &Registry) -> Result<(), PortError> {
        match &mut self.queue {
            Some(queue) => register(&mut **queue, id, &*self.device, registry),
            None => Ok(()),
        }
    }

    /// No more events.
    pub(super) fn deregister(&mut self, registry: &Registry) {
        deregister(&mut self.queue, registry);
    }
}

pub(super) fn register(
    queue: &mut dyn Queue,
    id: PortId,
    device: &dyn Device,
    registry: &Registry,
) -> Result<(), PortError> {
    let watched = queue.register(registry, Token(id.index()));
    watched.map_err(|error| PortError::watch(&device.settings().device(), error))
}

pub(super) fn deregister(queue: &mut Option<Box<dyn Queue>>, registry: &Registry) {
    if let Some(queue) = queue {
        // Fails only if the descriptor is dead, and then it isn't watched any more.
        let _ = queue.deregister(registry);
    }
}
