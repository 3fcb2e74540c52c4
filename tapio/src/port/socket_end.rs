//! The switch's end of a unix socket that streams go through: it waits for the other side, or looks for it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::net::SocketType;

use crate::port::error::{Operation, PortError};
use crate::port::parcel::{Label, Meeting, Parcel};
use crate::sys::unix_socket::{BoundSocket, Passed, connect_for_another};

/// Which end of a connection the switch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// It makes the socket and waits.
    #[default]
    Server,
    /// It connects to the socket that the other side has made.
    Client,
}

impl Role {
    /// The socket at `path`, if the switch makes it.
    pub(crate) fn socket(self, path: &Path) -> Option<&Path> {
        (self == Self::Server).then_some(path)
    }
}

/// The switch's end.
#[derive(Debug)]
pub(crate) struct SocketEnd {
    path: PathBuf,
    /// As server only.
    listener: Option<BoundSocket>,
    passed: Passed,
    was_handed_out: bool,
}

impl SocketEnd {
    /// As server, makes the socket. That there is nobody yet is no error: the link is down.
    pub(crate) fn open(
        path: &Path,
        role: Role,
        passed: impl FnOnce() -> io::Result<Passed>,
    ) -> Result<Self, PortError> {
        let open = || -> io::Result<Self> {
            let passed = passed()?;
            let listener = match role {
                Role::Server => Some(BoundSocket::listen(path, passed.clone())?),
                Role::Client => None,
            };
            Ok(Self { path: path.to_owned(), listener, passed, was_handed_out: false })
        };
        open().map_err(PortError::when(Operation::Listen, &path.to_string_lossy()))
    }

    /// What the queue needs of it, as `label` says of its kind.
    pub(crate) fn parcel(&mut self, label: Label) -> Result<Parcel, PortError> {
        let listener = self.listener.as_ref().map(BoundSocket::socket).transpose();
        let listener =
            listener.map_err(PortError::when(Operation::HandOver, &self.path.to_string_lossy()))?;
        self.was_handed_out = true;
        let (listens, path) = (listener.is_some(), Some(self.path.clone()));
        let meeting = Some(Meeting { listens, path, refuses: self.passed.refuses() });
        Ok(Parcel { label: Label { meeting, ..label }, descriptors: listener.into_iter().collect() })
    }

    /// As client, looks for the other side.
    pub(crate) fn connect(&self) -> Option<io::Result<OwnedFd>> {
        let connect = || connect_for_another(&self.path, SocketType::STREAM, &self.passed);
        self.listener.is_none().then(connect)
    }

    pub(crate) const fn needs_queue(&self) -> bool {
        !self.was_handed_out
    }

    pub(crate) const fn socket_mut(&mut self) -> Option<&mut BoundSocket> {
        self.listener.as_mut()
    }

    pub(crate) fn disarm(&mut self) {
        self.listener.iter_mut().for_each(BoundSocket::disarm);
    }
}
