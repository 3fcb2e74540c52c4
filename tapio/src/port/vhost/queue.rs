//! Frames of a vhost-user port, and who is at the other side.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use mio::{Registry, Token};
use packet::{Burst, Millis, OffloadSet, PortCounters, TxEntry};
use rustix::net::SocketType;

use crate::port::kind::Queue;
use crate::port::outcome::{LinkLoss, Rx};
use crate::port::parcel::{Contents, Meeting, Parcel};
use crate::port::vhost::keeper::Keeper;
use crate::port::vhost::ring::Pieces;
use crate::port::vhost::session::Session;
use crate::port::vhost::transmit::{Transmitter, drop_all};
use crate::port::vhost::violation::Violation;
use crate::port::vhost::watched::Watched;
use crate::sys::closer::Given;
use crate::sys::process::Clock;
use crate::sys::unix_socket::{Passed, accept, connect_to};
use crate::sys::watch::Watch;

/// The network card of a guest.
#[derive(Debug)]
pub(crate) struct VhostQueue {
    /// As server only.
    listener: Option<Watched<Given>>,
    /// Where it is looked for, as client, if it is to look itself.
    path: Option<PathBuf>,
    offload: bool,
    session: Option<Box<Session>>,
    keeper: Keeper,
    watch: Option<Arc<Watch>>,
    transmitter: Transmitter,
    pieces: Pieces,
    /// Receiving is called again and again: the guest need not tell.
    polled: bool,
    calls: u32,
    /// Why the link went down while sending.
    loss: Option<LinkLoss>,
    clock: Clock,
    /// Until when no front-end is taken after one that broke the protocol.
    barred: Option<Millis>,
}

impl VhostQueue {
    /// Makes it of a parcel.
    pub(crate) fn open(parcel: Parcel) -> io::Result<Box<dyn Queue>> {
        let Meeting { listens, path, .. } = parcel.label.meeting()?;
        let [offload, ..] = parcel.label.offloads;
        let keeper = Keeper::new()?;
        let listener = listens.then(|| Contents::new(parcel.descriptors).next()).transpose()?;
        let listener = listener.map(|listener| Passed::Received(keeper.closer.clone()).keep(listener));
        Ok(Box::new(Self {
            listener: listener.map(Watched::unwatched),
            path,
            offload,
            session: None,
            keeper,
            watch: None,
            transmitter: Transmitter::new(),
            pieces: Pieces::new(),
            polled: false,
            calls: 0,
            loss: None,
            clock: Clock::start(),
            barred: None,
        }))
    }

    fn receive(&mut self, burst: &mut Burst) -> Result<Rx, LinkLoss> {
        self.meet();
        let Some(session) = &mut self.session else { return Ok(Rx::Drained) };
        let more = session.receive(&mut self.pieces, burst)?;
        self.calls = self.calls.wrapping_add(1);
        let quiet = (!more && !self.polled) || session.has_unwanted();
        if session.up && !quiet && !self.calls.is_multiple_of(CALLS_PER_LOOK) {
            return Ok(if more { Rx::More } else { Rx::Drained });
        }
        if session.serve()? {
            self.transmitter.agree(session.features());
            return match session.look_at_rings() {
                Some(loss) => Ok(Rx::LinkDown(loss)),
                None => Ok(Rx::More),
            };
        }
        session.discard_unwanted()?;
        Ok(if more || (!self.polled && session.arm()) { Rx::More } else { Rx::Drained })
    }

    fn watch_from(&mut self, watch: Option<Arc<Watch>>) -> io::Result<()> {
        if let Some(listener) = &mut self.listener {
            listener.rewatch(watch.as_ref())?;
        }
        self.watch = watch;
        Ok(())
    }

    /// Takes a front-end that waits, or finds one, if there is none.
    fn meet(&mut self) {
        if self.session.is_some() || !self.may_meet() {
            return;
        }
        let socket = match (&self.listener, &self.path) {
            (Some(listener), _) => accept(listener, &self.passed()),
            (None, Some(path)) => connect_to(path, SocketType::STREAM, &self.passed()),
            (None, None) => return,
        };
        if let Ok(socket) = socket {
            self.begin_session(socket);
        }
    }

    /// Whether a front-end may come now.
    fn may_meet(&self) -> bool {
        let barred = self.barred.is_some_and(|until| self.clock.now() < until);
        !barred && self.keeper.has_room()
    }

    fn begin_session(&mut self, socket: Given) {
        let socket = Watched::new(socket, self.watch.as_ref()).ok();
        self.session = socket.map(|socket| {
            let (keeper, watch) = (self.keeper.clone(), self.watch.clone());
            Box::new(Session::new(socket, self.offload, watch, keeper))
        });
    }

    /// Lets the front-end go, and returns the true reason.
    fn lose(&mut self, loss: LinkLoss) -> LinkLoss {
        let is_whole = self.session.as_ref().is_none_or(|session| session.has_whole_memory());
        self.end_session();
        let loss = match is_whole {
            true => loss,
            // What looked like a lie was zeros where the memory had been.
            false => Violation::MemoryCutShort.into(),
        };
        let broke_protocol = matches!(loss, LinkLoss::Violation(_));
        self.barred = broke_protocol.then(|| self.clock.now() + BARRED);
        loss
    }

    /// What comes beside messages is part of them.
    fn passed(&self) -> Passed {
        Passed::Received(self.keeper.closer.clone())
    }

    /// The front-end is told at once; all that it gave is let go of on the thread for that.
    fn end_session(&mut self) {
        if let Some(session) = self.session.take() {
            session.hang_up();
            self.keeper.closer.later(session);
        }
    }
}

impl Queue for VhostQueue {
    fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx> {
        if let Some(loss) = self.loss.take() {
            return Ok(Rx::LinkDown(loss));
        }
        Ok(self.receive(burst).unwrap_or_else(|loss| {
            let loss = self.lose(loss);
            // Another front-end may wait already, of which there will be no event.
            self.meet();
            Rx::LinkDown(loss)
        }))
    }

    fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        let Some(session) = &mut self.session else {
            return drop_all(list, counters);
        };
        if let Err(violation) = session.transmit(&mut self.transmitter, burst, list, counters) {
            self.loss = Some(self.lose(violation.into()));
        }
    }

    /// To be called before a front-end is met.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let watch = Arc::new(Watch::new(registry, token)?);
        self.watch_from(Some(watch))
    }

    /// A front-end that is connected is let go.
    fn deregister(&mut self, _registry: &Registry) -> io::Result<()> {
        self.end_session();
        self.watch_from(None)
    }

    fn offloads(&self) -> OffloadSet {
        self.transmitter.offloads()
    }

    /// Whether the guest's driver runs. Meets a front-end if there is none.
    fn is_connected(&mut self) -> bool {
        self.meet();
        self.session.as_ref().is_some_and(|session| session.up)
    }

    fn wants_peer(&self) -> bool {
        self.session.is_none() && self.listener.is_none() && self.path.is_none() && self.may_meet()
    }

    fn meet(&mut self, socket: OwnedFd) {
        if self.wants_peer() {
            self.begin_session(self.passed().keep(socket));
        }
    }

    /// With `on`, the guest need not tell of frames.
    fn set_polled(&mut self, on: bool) -> bool {
        self.polled = on;
        true
    }

    fn sends_by_call(&self) -> bool {
        false
    }
}

impl Drop for VhostQueue {
    fn drop(&mut self) {
        self.end_session();
    }
}

/// While traffic never pauses, or nobody waits for events, the socket is looked at once in so many calls: a look costs
/// a system call.
const CALLS_PER_LOOK: u32 = 256;

/// How long a front-end that broke the protocol has to wait.
const BARRED: Millis = Millis::from_secs(1);
