//! A port for who has one thread: a device with its queue.

use std::io;
use std::ops::{Deref, DerefMut};

use mio::{Registry, Token};

use crate::port::error::PortError;
use crate::port::kind::{Device, Queue};
use crate::port::spec::PortSpec;

/// A device and its queue, which it is used as.
#[derive(Debug)]
pub struct Port {
    /// The device.
    pub device: Box<dyn Device>,
    queue: Box<dyn Queue>,
    registered: Option<(Registry, Token)>,
}

impl Port {
    /// Opens the device that `spec` describes.
    ///
    /// # Errors
    /// It can't be had.
    pub fn open(spec: &PortSpec) -> Result<Self, PortError> {
        let mut device = spec.open()?;
        let queue = device.queue()?;
        Ok(Self { device, queue, registered: None })
    }

    /// Asks for events.
    ///
    /// # Errors
    /// As [`Queue::register`].
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.queue.register(registry, token)?;
        self.registered = Some((registry.try_clone()?, token));
        Ok(())
    }

    /// Whether frames can pass, as far as both are concerned.
    pub fn link_up(&mut self) -> bool {
        let is_up = self.device.link_up();
        self.follow();
        is_up && self.queue.is_connected()
    }

    /// Changes the settings of the device, for good.
    ///
    /// # Errors
    /// As [`Device::reconfigure`].
    pub fn reconfigure(&mut self, spec: &PortSpec) -> Result<(), PortError> {
        self.device.reconfigure(&**spec)?;
        self.device.settle();
        self.follow();
        Ok(())
    }

    /// Takes another queue of the device if it is to be.
    pub fn follow(&mut self) {
        if self.device.needs_queue() {
            self.renew_queue();
        }
    }

    /// Drops the queue, as a worker that died does, and takes another one.
    pub fn renew_queue(&mut self) {
        if let Some((registry, _)) = &self.registered {
            let _ = self.queue.deregister(registry);
        }
        self.queue = self.device.queue().expect("memory and descriptors are left");
        if let Some((registry, token)) = &self.registered {
            self.queue.register(registry, *token).expect("it isn't registered yet");
        }
    }
}

impl Deref for Port {
    type Target = dyn Queue;

    fn deref(&self) -> &Self::Target {
        &*self.queue
    }
}

impl DerefMut for Port {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.queue
    }
}
