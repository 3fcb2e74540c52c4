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

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mio::{Registry, Token};
use packet::{
    Burst, DropReason, HEADROOM, MAX_FRAME, Offload, OffloadSet, PortCounters, TxEntry, VNET_HDR_LEN,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType};

use crate::port::error::{Operation, PortError};
use crate::port::framing::{LENGTH, Outbox};
use crate::port::kind::{Device, Opener, Queue, Settings};
use crate::port::outcome::{Rx, send_each};
use crate::port::parcel::{Contents, Label, Meeting, Parcel};
use crate::port::software_offload::Scratch;
use crate::sys::closer::Given;
use crate::sys::unix_socket::{BoundSocket, Passed, connect_for_another, connect_to};
use crate::sys::watch::Watch;

/// The word for this kind.
pub(crate) const KIND: &str = "dgram";

/// Settings of a dgram port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DgramConfig {
    /// Where the switch's socket is.
    pub path: PathBuf,
    /// Where the other side's is.
    pub peer: PathBuf,
}

impl Settings for DgramConfig {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn device(&self) -> Cow<'_, str> {
        self.path.to_string_lossy()
    }

    fn socket(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn same_device(&self, other: &dyn Settings) -> bool {
        other.of().is_some_and(|other: &Self| self.path == other.path)
    }

    fn open(&self) -> Result<Box<dyn Device>, PortError> {
        let path = self.path.to_string_lossy();
        let device = DgramDevice::open(self).map_err(PortError::when(Operation::Listen, &path))?;
        Ok(Box::new(device))
    }
}

/// What the switch's socket is on the host.
#[derive(Debug)]
struct DgramDevice {
    config: DgramConfig,
    socket: BoundSocket,
    passed: Passed,
    needs_queue: bool,
    /// As it was before a change, until that is settled.
    before: Option<DgramConfig>,
}

impl DgramDevice {
    /// Makes the switch's socket. That there is no peer yet is no error: the link is down.
    fn open(config: &DgramConfig) -> io::Result<Self> {
        let passed = Passed::unwanted()?;
        let socket = BoundSocket::bind(&config.path, SocketType::DGRAM, passed.clone())?;
        Ok(Self { config: config.clone(), socket, passed, needs_queue: true, before: None })
    }

    /// Goes over to another peer: the queue has frames that wait for the one before.
    fn become_as(&mut self, config: &DgramConfig) {
        self.needs_queue |= self.config.peer != config.peer;
        self.config = config.clone();
    }
}

impl Device for DgramDevice {
    fn settings(&self) -> &dyn Settings {
        &self.config
    }

    fn parcel(&mut self) -> Result<Parcel, PortError> {
        let device = self.config.path.to_string_lossy();
        let socket = self.socket.socket().map_err(PortError::when(Operation::HandOver, &device))?;
        self.needs_queue = false;
        // What comes next mustn't be lost because of a change of the peer.
        let peer = self.connect().and_then(Result::ok);
        let (path, refuses) = (Some(self.config.peer.clone()), self.passed.refuses());
        let meeting = Some(Meeting { listens: false, path, refuses });
        let label = Label { meeting, ..Label::of(KIND) };
        Ok(Parcel { label, descriptors: [socket].into_iter().chain(peer).collect() })
    }

    fn opener(&self) -> Opener {
        DgramQueue::open
    }

    fn connect(&self) -> Option<io::Result<OwnedFd>> {
        Some(connect_for_another(&self.config.peer, SocketType::DGRAM, &self.passed))
    }

    fn needs_queue(&self) -> bool {
        self.needs_queue
    }

    fn reconfigure(&mut self, wanted: &dyn Settings) -> Result<(), PortError> {
        let Some(config) = wanted.of().filter(|_| self.config.same_device(wanted)) else {
            return Err(PortError::when(Operation::Move, &wanted.device())(Errno::INVAL));
        };
        self.before = Some(self.config.clone());
        self.become_as(config);
        Ok(())
    }

    fn take_back(&mut self) {
        if let Some(config) = self.before.take() {
            self.become_as(&config);
        }
    }

    fn settle(&mut self) {
        self.before = None;
    }

    fn is(&self, wanted: &dyn Settings) -> bool {
        self.config.same_device(wanted)
    }

    fn socket_mut(&mut self) -> Option<&mut BoundSocket> {
        Some(&mut self.socket)
    }

    fn disarm(&mut self) {
        self.socket.disarm();
    }
}

/// The switch's end of a pair of datagram sockets.
#[derive(Debug)]
pub(crate) struct DgramQueue {
    socket: Given,
    /// If it is to look for its peer itself.
    peer_path: Option<PathBuf>,
    /// Connected to the peer's socket.
    peer: Option<Given>,
    passed: Passed,
    /// The peer's queue is full: there will be an event when it isn't.
    blocked: bool,
    outbox: Outbox,
    scratch: Scratch,
    watch: Option<Watch>,
}

impl Queue for DgramQueue {
    fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx> {
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
                Err(_) => return Ok(Rx::Drained),
            }
        }
        Ok(Rx::More)
    }

    fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        send_each(burst, list, counters, |meta, bytes| match self.peer {
            None => Err(DropReason::TxLinkDown),
            Some(_) => self
                .scratch
                .send(meta, bytes, OffloadSet::NONE, |_, bytes| self.outbox.push(&bytes[VNET_HDR_LEN..])),
        });
        self.flush();
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let watch = Watch::new(registry, token)?;
        watch.readable(&self.socket)?;
        if let Some(peer) = &self.peer {
            watch.readable(peer)?;
        }
        self.watch = Some(watch);
        Ok(())
    }

    fn deregister(&mut self, _registry: &Registry) -> io::Result<()> {
        let watch = self.watch.take().ok_or(io::ErrorKind::NotFound)?;
        watch.remove(&self.socket)?;
        self.peer.as_ref().map_or(Ok(()), |peer| watch.remove(peer))
    }

    fn offloads(&self) -> OffloadSet {
        OffloadSet::NONE
    }

    fn is_connected(&mut self) -> bool {
        self.peer.is_some() || self.connect()
    }

    fn wants_peer(&self) -> bool {
        self.peer.is_none() && self.peer_path.is_none()
    }

    fn meet(&mut self, socket: OwnedFd) {
        if self.peer.is_none() {
            self.take(Some(self.passed.keep(socket)));
        }
    }
}

impl DgramQueue {
    /// Makes it of a parcel.
    pub(crate) fn open(parcel: Parcel) -> io::Result<Box<dyn Queue>> {
        let Meeting { path, refuses, .. } = parcel.label.meeting()?;
        let passed = Passed::unwanted_by(refuses)?;
        let mut contents = Contents::new(parcel.descriptors);
        let socket = passed.keep(contents.next()?);
        let peer = contents.next().ok().map(|peer| passed.keep(peer));
        Ok(Box::new(Self {
            socket,
            peer_path: path,
            peer,
            passed,
            blocked: false,
            outbox: Outbox::new(),
            scratch: Scratch::new(),
            watch: None,
        }))
    }

    fn connect(&mut self) -> bool {
        let path = self.peer_path.as_ref();
        let peer = path.and_then(|path| connect_to(path, SocketType::DGRAM, &self.passed).ok());
        self.take(peer)
    }

    fn take(&mut self, peer: Option<Given>) -> bool {
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
