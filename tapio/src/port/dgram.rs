//! A dgram port: one frame per datagram between two unix sockets, as QEMU's `-netdev dgram` speaks.
//!
//! ```text
//! path ◀── socket that receives          the peer sends to it from whichever socket
//! peer ◀── socket that sends             connected, so that the kernel says at once when the peer is gone
//! ```
//!
//! The link is up while there is a socket at `peer`. A peer that went away is noticed when the next frame is sent, and
//! one that came back in its place gets that frame.
//!
//! sendmmsg(2) and recvmmsg(2) were not faster here than a call per frame (64 bytes: 779 and 649 ns against 753 and
//! 670): the kernel's work on a datagram is what costs.

use std::io;
use std::path::PathBuf;

use mio::{Registry, Token};
use packet::{
    Burst, DropReason, HEADROOM, MAX_FRAME, Offload, OffloadSet, PortCounters, TxEntry, VNET_HDR_LEN,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType};

use crate::port::error::Operation;
use crate::port::error::PortError;
use crate::port::framing::{LENGTH, Outbox};
use crate::port::outcome::{Rx, send_each};
use crate::port::software_offload::Scratch;
use crate::sys::closer::Given;
use crate::sys::unix_socket::{BoundSocket, Passed, connect_to};
use crate::sys::watch::Watch;

/// What a dgram port is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DgramConfig {
    /// Where the switch's socket is.
    pub path: PathBuf,
    /// Where the other side's is.
    pub peer: PathBuf,
}

/// The switch's end of a pair of datagram sockets.
#[derive(Debug)]
pub struct DgramPort {
    config: DgramConfig,
    socket: BoundSocket,
    /// Connected to the peer's socket.
    peer: Option<Given>,
    passed: Passed,
    /// The peer's queue is full: there will be an event when it isn't.
    blocked: bool,
    outbox: Outbox,
    scratch: Scratch,
    watch: Option<Watch>,
}

impl DgramPort {
    /// Makes the switch's socket.
    ///
    /// # Errors
    /// It can't be made. That there is no peer yet is none: the link is down.
    pub fn open(config: &DgramConfig) -> Result<Self, PortError> {
        let path = config.path.to_string_lossy();
        let failed = |error: io::Error| PortError::when(Operation::Listen, &path)(error);
        let passed = Passed::unwanted().map_err(failed)?;
        Ok(Self {
            socket: BoundSocket::bind(&config.path, SocketType::DGRAM, passed.clone()).map_err(failed)?,
            passed,
            config: config.clone(),
            peer: None,
            blocked: false,
            outbox: Outbox::new(),
            scratch: Scratch::new(),
            watch: None,
        })
    }

    /// Goes over to another peer.
    pub(crate) fn reconfigure(&mut self, config: &DgramConfig) {
        if self.config.peer != config.peer {
            self.config = config.clone();
            // What waits was for the one before.
            self.outbox.clear();
            self.peer = None;
            self.connect();
        }
    }

    pub(crate) fn socket_mut(&mut self) -> &mut BoundSocket {
        &mut self.socket
    }

    pub(crate) fn config(&self) -> &DgramConfig {
        &self.config
    }

    pub(crate) fn link_up(&mut self) -> bool {
        self.peer.is_some() || self.connect()
    }

    pub(crate) fn rx_burst(&mut self, burst: &mut Burst) -> Rx {
        if self.blocked {
            self.flush();
        }
        while let Some(mut slot) = burst.slot() {
            let buffer = &mut slot.buffer()[HEADROOM..];
            // TRUNC: the whole length, also of a datagram that doesn't fit.
            match self.passed.recv(&self.socket, buffer, RecvFlags::TRUNC) {
                Ok(len) => {
                    slot.commit(len, Offload::NONE);
                    if len > MAX_FRAME
                        && let Some(meta) = burst.metas_mut().last_mut()
                    {
                        meta.drop(DropReason::FrameTooLong);
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return Rx::Drained,
            }
        }
        Rx::More
    }

    pub(crate) fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        send_each(burst, list, counters, |meta, bytes| match self.peer {
            None => Err(DropReason::TxLinkDown),
            Some(_) => self
                .scratch
                .send(meta, bytes, OffloadSet::NONE, |_, bytes| self.outbox.push(&bytes[VNET_HDR_LEN..])),
        });
        self.flush();
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let watch = Watch::new(registry, token)?;
        watch.readable(&self.socket)?;
        if let Some(peer) = &self.peer {
            watch.readable(peer)?;
        }
        self.watch = Some(watch);
        Ok(())
    }

    pub(crate) fn deregister(&mut self) -> io::Result<()> {
        let watch = self.watch.take().ok_or(io::ErrorKind::NotFound)?;
        watch.remove(&self.socket)?;
        self.peer.as_ref().map_or(Ok(()), |peer| watch.remove(peer))
    }

    fn connect(&mut self) -> bool {
        let peer = connect_to(&self.config.peer, SocketType::DGRAM, &self.passed).ok();
        self.peer = peer.filter(|peer| self.watch.as_ref().is_none_or(|watch| watch.readable(peer).is_ok()));
        self.blocked = false;
        self.peer.is_some()
    }

    /// Sends what waits, as far as the peer takes it.
    fn flush(&mut self) {
        let mut blocked = false;
        while let (Some(peer), Some(frame), false) = (&self.peer, self.outbox.next_frame(), blocked) {
            match rustix::net::send(peer, frame, SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => blocked = true,
                Err(Errno::INTR) => {}
                // The peer is gone. There may be another one in its place.
                Err(Errno::CONNREFUSED | Errno::NOTCONN | Errno::CONNRESET) => {
                    if !self.connect() {
                        self.outbox.clear();
                    }
                }
                // Sent; or it can't be, and would be in the way of all others.
                _ => {
                    let len = frame.len();
                    self.outbox.sent(LENGTH + len);
                }
            }
        }
        self.wait_until_writable(blocked);
    }

    fn wait_until_writable(&mut self, blocked: bool) {
        if blocked != self.blocked
            && let (Some(peer), Some(watch)) = (&self.peer, &self.watch)
        {
            // Without the event, the next frame to be sent is the next attempt.
            let _ = watch.set_writable(peer, blocked);
            self.blocked = blocked;
        }
    }
}
