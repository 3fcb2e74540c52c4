//! The socket of a vhost-user port on the host.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::net::SocketType;

use crate::port::error::{Operation, PortError};
use crate::port::kind::{Device, Opener, Settings};
use crate::port::parcel::{Label, Meeting, Parcel};
use crate::port::stream::Role;
use crate::port::vhost::queue::VhostQueue;
use crate::sys::closer::Closer;
use crate::sys::unix_socket::{BoundSocket, Passed, connect_for_another};

/// Settings of a vhost-user port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VhostUserConfig {
    /// Where the socket is.
    pub path: PathBuf,
    /// Who waits for whom. As client, the port tries to connect once a second.
    pub role: Role,
    /// Super-frames and unfinished checksums in both directions, if the guest's driver takes them.
    pub offload: bool,
}

impl Settings for VhostUserConfig {
    fn kind(&self) -> &'static str {
        "vhost-user"
    }

    fn device(&self) -> Cow<'_, str> {
        self.path.to_string_lossy()
    }

    fn socket(&self) -> Option<&Path> {
        (self.role == Role::Server).then_some(&self.path)
    }

    /// The settings are all that there is to it.
    fn same_device(&self, other: &dyn Settings) -> bool {
        other.of() == Some(self)
    }

    fn open(&self) -> Result<Box<dyn Device>, PortError> {
        let path = self.path.to_string_lossy();
        let device = VhostDevice::open(self).map_err(PortError::when(Operation::Listen, &path))?;
        Ok(Box::new(device))
    }
}

/// Where guests' front-ends come to, or where they are looked for.
#[derive(Debug)]
struct VhostDevice {
    config: VhostUserConfig,
    /// As server only.
    listener: Option<BoundSocket>,
    passed: Passed,
    needs_queue: bool,
}

impl VhostDevice {
    /// As server, makes the socket. The front-end may come later.
    fn open(config: &VhostUserConfig) -> io::Result<Self> {
        let passed = Passed::Received(Closer::start()?);
        let listener = match config.role {
            Role::Client => None,
            Role::Server => Some(BoundSocket::listen(&config.path, passed.clone())?),
        };
        Ok(Self { config: config.clone(), listener, passed, needs_queue: true })
    }
}

impl Device for VhostDevice {
    fn settings(&self) -> &dyn Settings {
        &self.config
    }

    fn parcel(&mut self) -> Result<Parcel, PortError> {
        let listener = self.listener.as_ref().map(BoundSocket::socket).transpose();
        let listener =
            listener.map_err(PortError::when(Operation::HandOver, &self.config.path.to_string_lossy()))?;
        self.needs_queue = false;
        let (listens, path) = (listener.is_some(), Some(self.config.path.clone()));
        let meeting = Meeting { listens, path, refuses: false };
        let label = Label::VhostUser { meeting, offload: self.config.offload };
        Ok(Parcel { label, descriptors: listener.into_iter().collect() })
    }

    fn opener(&self) -> Opener {
        VhostQueue::open
    }

    fn connect(&self) -> Option<io::Result<OwnedFd>> {
        // What comes beside messages is part of them.
        let connect = || connect_for_another(&self.config.path, SocketType::STREAM, &self.passed);
        (self.config.role == Role::Client).then(connect)
    }

    fn needs_queue(&self) -> bool {
        self.needs_queue
    }

    /// Never: its guest's connection belongs to it.
    fn is(&self, _wanted: &dyn Settings) -> bool {
        false
    }

    fn socket_mut(&mut self) -> Option<&mut BoundSocket> {
        self.listener.as_mut()
    }

    fn disarm(&mut self) {
        self.listener.iter_mut().for_each(BoundSocket::disarm);
    }
}
