//! Several descriptors under one port's token: a listener, a peer that comes and goes.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// Where a port asks for events of descriptors that it opens later. A closed descriptor is watched no more.
#[derive(Debug)]
pub(crate) struct Watch {
    registry: Registry,
    token: Token,
}

impl Watch {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self { registry: registry.try_clone()?, token })
    }

    /// An event when `fd` becomes readable.
    pub(crate) fn readable(&self, fd: &impl AsFd) -> io::Result<()> {
        SourceFd(&fd.as_fd().as_raw_fd()).register(&self.registry, self.token, Interest::READABLE)
    }

    /// From now on, also an event when `fd`, which is watched, becomes writable; or no longer.
    pub(crate) fn set_writable(&self, fd: &impl AsFd, writable: bool) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let interest = if writable { both } else { Interest::READABLE };
        SourceFd(&fd.as_fd().as_raw_fd()).reregister(&self.registry, self.token, interest)
    }

    /// No more events of `fd`.
    pub(crate) fn remove(&self, fd: &impl AsFd) -> io::Result<()> {
        SourceFd(&fd.as_fd().as_raw_fd()).deregister(&self.registry)
    }
}
