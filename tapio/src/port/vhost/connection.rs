//! The socket to the front-end: bytes and descriptors in, whole requests out. Nothing here waits: half a message stays
//! in the buffer until the rest comes.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, Shutdown, recvmsg, send,
    shutdown,
};

use crate::port::outcome::LinkLoss;
use crate::port::vhost::keeper::{GuestFd, Keeper};
use crate::port::vhost::message::{HEADER_LEN, Header, MAX_DESCRIPTORS, MAX_PAYLOAD, Request};
use crate::port::vhost::violation::Violation;
use crate::port::vhost::watched::Watched;
use crate::sys::closer::Given;
use crate::sys::unix_socket::SCM_MAX_FD;

/// A front-end that is connected.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Watched<Given>,
    keeper: Keeper,
    buffer: [u8; HEADER_LEN + MAX_PAYLOAD],
    filled: usize,
    fds: Vec<GuestFd>,
}

impl Connection {
    /// `socket` doesn't block.
    pub fn new(socket: Watched<Given>, keeper: Keeper) -> Self {
        Self { socket, keeper, buffer: [0; _], filled: 0, fds: Vec::new() }
    }

    /// The next request, once all of it is there.
    pub fn receive(&mut self) -> Result<Option<(Header, Request)>, LinkLoss> {
        loop {
            let header = match self.buffer.first_chunk() {
                Some(head) if self.filled >= HEADER_LEN => Some(Header::parse(head)?),
                _ => None,
            };
            let wanted = header.map_or(HEADER_LEN, |header| HEADER_LEN + header.size);
            if let Some(header) = header
                && self.filled == wanted
            {
                self.filled = 0;
                let fds = std::mem::take(&mut self.fds);
                return Ok(Some((header, Request::parse(header, &self.buffer[HEADER_LEN..wanted], fds)?)));
            }
            if !self.read(wanted)? {
                return Ok(None);
            }
        }
    }

    /// Reads until `wanted` bytes are there at most; `false` if there is nothing to read now. Takes whatever descriptors
    /// come along: those that there is no room for, the kernel closes here, and waits.
    fn read(&mut self, wanted: usize) -> Result<bool, LinkLoss> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SCM_MAX_FD))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [IoSliceMut::new(&mut self.buffer[self.filled..wanted])];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = match recvmsg(&self.socket, &mut bytes, &mut ancillary, flags) {
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => return Ok(true),
            Err(Errno::CONNRESET) => return Err(LinkLoss::Closed),
            outcome => outcome.map_err(failed)?,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds.map(|fd| self.keeper.keep(fd)));
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || self.fds.len() > MAX_DESCRIPTORS {
            return Err(Violation::TooManyDescriptors.into());
        }
        self.keeper.check_descriptors()?;
        if received.bytes == 0 {
            return Err(LinkLoss::Closed);
        }
        self.filled += received.bytes;
        Ok(true)
    }

    /// Ends the connection for the other side. The socket is closed later.
    pub fn hang_up(&self) {
        // Fails only if the other side has gone.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }

    /// Sends a reply. A front-end waits for it before it asks for more, so there is room in the socket.
    pub fn reply(&mut self, bytes: &[u8]) -> Result<(), LinkLoss> {
        match send(self.socket.as_fd(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) | Err(Errno::AGAIN) => Err(Violation::RepliesNotTaken.into()),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(LinkLoss::Closed),
            Err(errno) => Err(failed(errno)),
        }
    }
}

fn failed(errno: Errno) -> LinkLoss {
    LinkLoss::Failed(std::io::Error::from(errno).kind())
}
