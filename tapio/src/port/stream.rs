//! A stream port: frames over a connected unix socket, as QEMU's `-netdev stream` and `-netdev socket` speak.
//!
//! ```text
//! recv(2) ─▶ Inbox ─▶ burst        many frames per call; one frame copied once more is nothing beside the call
//! send(2) ◀─ Outbox ◀─ burst       what the peer doesn't take at once waits; when the box is full, frames are dropped
//! ```
//!
//! | state | event | then |
//! |---|---|---|
//! | no peer | as server: a connection comes | it is the peer, the link is up |
//! | no peer | as client: asked for the link's state | tries to connect |
//! | peer | as server: another connection comes | it is closed |
//! | peer | it closes, or sends a length that no frame has | no peer, the link is down |

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mio::{Registry, Token};
use packet::{Burst, DropReason, HEADROOM, Offload, OffloadSet, PortCounters, TxEntry, VNET_HDR_LEN};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType};

use crate::port::error::PortError;
use crate::port::framing::{Inbox, Outbox};
use crate::port::kind::{Device, Opener, Queue, Settings};
use crate::port::outcome::{LinkLoss, Rx, send_each};
use crate::port::parcel::{Contents, Label, Meeting, Parcel};
use crate::port::socket_end::{Role, SocketEnd};
use crate::port::software_offload::Scratch;
use crate::sys::closer::Given;
use crate::sys::unix_socket::{BACKLOG, BoundSocket, Passed, accept, connect_to};
use crate::sys::watch::Watch;

/// Settings of a stream port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamConfig {
    /// Where the socket is.
    pub path: PathBuf,
    /// Who waits for whom.
    pub role: Role,
}

/// The word for this kind.
pub(crate) const KIND: &str = "stream";

impl Settings for StreamConfig {
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
        let end = SocketEnd::open(&self.path, self.role, Passed::unwanted)?;
        Ok(Box::new(StreamDevice { config: self.clone(), end }))
    }
}

/// What a stream's socket is on the host.
#[derive(Debug)]
struct StreamDevice {
    config: StreamConfig,
    end: SocketEnd,
}

impl Device for StreamDevice {
    fn settings(&self) -> &dyn Settings {
        &self.config
    }

    fn parcel(&mut self) -> Result<Parcel, PortError> {
        self.end.parcel(Label::of(KIND))
    }

    fn opener(&self) -> Opener {
        StreamQueue::open
    }

    fn connect(&self) -> Option<io::Result<OwnedFd>> {
        self.end.connect()
    }

    fn needs_queue(&self) -> bool {
        self.end.needs_queue()
    }

    fn is(&self, wanted: &dyn Settings) -> bool {
        self.config.same_device(wanted)
    }

    fn socket_mut(&mut self) -> Option<&mut BoundSocket> {
        self.end.socket_mut()
    }

    fn disarm(&mut self) {
        self.end.disarm();
    }
}

/// The switch's end of a stream.
#[derive(Debug)]
pub(crate) struct StreamQueue {
    /// As client only, if it is to look for its peer itself.
    path: Option<PathBuf>,
    /// As server only.
    listener: Option<Given>,
    peer: Option<Given>,
    passed: Passed,
    /// The peer has not taken everything: there will be an event when it does.
    blocked: bool,
    inbox: Inbox,
    outbox: Outbox,
    scratch: Scratch,
    watch: Option<Watch>,
}

impl Queue for StreamQueue {
    fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx> {
        if !self.is_connected() {
            return Ok(Rx::Drained);
        }
        Ok(match self.flush().and_then(|()| self.receive(burst)) {
            Ok(Rx::Drained) => {
                self.refuse_others();
                Rx::Drained
            }
            Ok(rx) => rx,
            Err(loss) => {
                self.hang_up();
                Rx::LinkDown(loss)
            }
        })
    }

    fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        send_each(burst, list, counters, |meta, bytes| match self.peer {
            None => Err(DropReason::TxLinkDown),
            Some(_) => self
                .scratch
                .send(meta, bytes, OffloadSet::NONE, |_, bytes| self.outbox.push(&bytes[VNET_HDR_LEN..])),
        });
        // A peer that has gone is noted when its event comes, or at the next look for frames: hanging up here, nobody would
        // be told, and the event would go with the descriptor.
        let _ = self.flush();
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let watch = Watch::new(registry, token)?;
        if let Some(listener) = &self.listener {
            watch.readable(listener)?;
        }
        if let Some(peer) = &self.peer {
            watch.readable(peer)?;
        }
        self.watch = Some(watch);
        Ok(())
    }

    fn deregister(&mut self, _registry: &Registry) -> io::Result<()> {
        let watch = self.watch.take().ok_or(io::ErrorKind::NotFound)?;
        self.listener.as_ref().map_or(Ok(()), |listener| watch.remove(listener))?;
        self.peer.as_ref().map_or(Ok(()), |peer| watch.remove(peer))
    }

    fn offloads(&self) -> OffloadSet {
        OffloadSet::NONE
    }

    fn is_connected(&mut self) -> bool {
        self.peer.is_some() || self.connect()
    }

    fn wants_peer(&self) -> bool {
        self.peer.is_none() && self.listener.is_none() && self.path.is_none()
    }

    fn meet(&mut self, socket: OwnedFd) {
        if self.peer.is_none() {
            self.take(Some(self.passed.keep(socket)));
        }
    }
}

impl StreamQueue {
    /// Makes it of a parcel.
    pub(crate) fn open(parcel: Parcel) -> io::Result<Box<dyn Queue>> {
        let Meeting { listens, path, refuses } = parcel.label.meeting()?;
        let passed = Passed::unwanted_by(refuses)?;
        let listener = listens.then(|| Contents::new(parcel.descriptors).next()).transpose()?;
        Ok(Box::new(Self {
            path,
            listener: listener.map(|listener| passed.keep(listener)),
            peer: None,
            passed,
            blocked: false,
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            scratch: Scratch::new(),
            watch: None,
        }))
    }

    /// Finds a peer, if there is one.
    fn connect(&mut self) -> bool {
        let peer = match (&self.listener, &self.path) {
            (Some(listener), _) => accept(listener, &self.passed).ok(),
            (None, Some(path)) => connect_to(path, SocketType::STREAM, &self.passed).ok(),
            (None, None) => None,
        };
        self.take(peer);
        self.peer.is_some()
    }

    fn take(&mut self, peer: Option<Given>) {
        self.peer = peer.filter(|peer| self.watch.as_ref().is_none_or(|watch| watch.readable(peer).is_ok()));
    }

    /// Whoever connects while there is a peer learns at once that the place is taken.
    fn refuse_others(&self) {
        if let Some(listener) = &self.listener {
            (0..BACKLOG).find(|_| accept(listener, &self.passed).is_err());
        }
    }

    fn hang_up(&mut self) {
        self.peer = None;
        self.blocked = false;
        self.inbox.clear();
        self.outbox.clear();
    }

    fn receive(&mut self, burst: &mut Burst) -> Result<Rx, LinkLoss> {
        let Some(peer) = &self.peer else { return Ok(Rx::Drained) };
        loop {
            let Some(mut slot) = burst.slot() else { return Ok(Rx::More) };
            match self.inbox.next() {
                Ok(Some(frame)) => {
                    slot.buffer()[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
                    slot.commit(frame.len(), Offload::NONE);
                    continue;
                }
                Ok(None) => {}
                Err(loss) => {
                    slot.commit(0, Offload::NONE);
                    if let Some(meta) = burst.metas_mut().last_mut() {
                        meta.drop(loss.drop_reason());
                    }
                    return Err(loss);
                }
            }
            match self.passed.recv(peer, self.inbox.space(), RecvFlags::empty()) {
                Ok(0) => return Err(LinkLoss::Closed),
                Ok(len) => self.inbox.received(len),
                Err(Errno::AGAIN) => return Ok(Rx::Drained),
                Err(Errno::INTR) => {}
                Err(error) => return Err(LinkLoss::Failed(io::Error::from(error).kind())),
            }
        }
    }

    /// Sends what waits, as far as the peer takes it.
    fn flush(&mut self) -> Result<(), LinkLoss> {
        let Some(peer) = &self.peer else { return Ok(()) };
        let mut blocked = false;
        while !self.outbox.unsent().is_empty() && !blocked {
            match rustix::net::send(peer, self.outbox.unsent(), SendFlags::NOSIGNAL) {
                Ok(len) => self.outbox.sent(len),
                Err(Errno::AGAIN) => blocked = true,
                Err(Errno::INTR) => {}
                Err(error) => return Err(LinkLoss::Failed(io::Error::from(error).kind())),
            }
        }
        if blocked != self.blocked
            && let Some(watch) = &self.watch
        {
            watch.set_writable(peer, blocked).map_err(|error| LinkLoss::Failed(error.kind()))?;
            self.blocked = blocked;
        }
        Ok(())
    }
}
