//! The socket of a vhost-user port on the host.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::port::error::PortError;
use crate::port::kind::{Device, Opener, Settings};
use crate::port::parcel::{Label, Parcel};
use crate::port::socket_end::{Role, SocketEnd};
use crate::port::vhost::queue::VhostQueue;
use crate::sys::closer::Closer;
use crate::sys::unix_socket::{BoundSocket, Passed};

/// The word for this kind.
pub(crate) const KIND: &str = "vhost-user";

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
        KIND
    }

    fn device(&self) -> Cow<'_, str> {
        self.path.to_string_lossy()
    }

    fn socket(&self) -> Option<&Path> {
        self.role.socket(&self.path)
    }

    /// The settings are all that there is to it.
    fn same_device(&self, other: &dyn Settings) -> bool {
        other.of() == Some(self)
    }

    fn open(&self) -> Result<Box<dyn Device>, PortError> {
        // What comes beside messages is part of them.
        let end = SocketEnd::open(&self.path, self.role, || Ok(Passed::Received(Closer::start()?)))?;
        Ok(Box::new(VhostDevice { config: self.clone(), end }))
    }
}

/// Where guests' front-ends come to, or where they are looked for.
#[derive(Debug)]
struct VhostDevice {
    config: VhostUserConfig,
    end: SocketEnd,
}

impl Device for VhostDevice {
    fn settings(&self) -> &dyn Settings {
        &self.config
    }

    fn parcel(&mut self) -> Result<Parcel, PortError> {
        let offloads = [self.config.offload; 3];
        self.end.parcel(Label { offloads, ..Label::of(KIND) })
    }

    fn opener(&self) -> Opener {
        VhostQueue::open
    }

    fn connect(&self) -> Option<io::Result<OwnedFd>> {
        self.end.connect()
    }

    fn needs_queue(&self) -> bool {
        self.end.needs_queue()
    }

    /// Never: its guest's connection belongs to it.
    fn is(&self, _wanted: &dyn Settings) -> bool {
        false
    }

    fn socket_mut(&mut self) -> Option<&mut BoundSocket> {
        self.end.socket_mut()
    }

    fn disarm(&mut self) {
        self.end.disarm();
    }
}
