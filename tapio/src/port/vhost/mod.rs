//! A vhost-user port: the network card of a guest, whose memory is shared with us. QEMU's docs/interop/vhost-user;
//! virtio 1.2, 5.1.
//!
//! ```text
//! front-end (QEMU, testpmd) ── socket ──▶ connection ─▶ message ─▶ backend ─▶ memory_table, ring
//! guest's driver ── transmit ring ──▶ receive ──▶ Burst ──▶ worker ──▶ Burst ──▶ transmit ── receive ring ──▶ guest
//! ```
//!
//! Nothing that a front-end or guest does can harm more than its own port: a [`Violation`] ends
//! the connection, and a new one is taken a second later at the earliest.
//!
//! The socket is not handled with a crate, because the one there is (`vhost`) waits for the rest of a message that was
//! sent by half, and all ports would wait with it.

mod backend;
mod budget;
mod call;
mod connection;
mod driver;
mod fault;
mod features;
mod guest_memory;
mod keeper;
mod memory_table;
mod message;
mod receive;
mod ring;
mod spread;
mod transmit;
pub(super) mod violation;
mod watched;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use mio::{Registry, Token};
use packet::BURST_FRAMES;
use packet::{Burst, DropReason, Millis, OffloadSet, PortCounters, TxEntry};
use rustix::net::{SocketType, listen};

use self::backend::{Backend, MAX_QUEUE_PAIRS, Running};
use self::connection::Connection;
pub use self::driver::VhostDriver;
use self::keeper::Keeper;
use self::ring::Pieces;
use self::transmit::Transmitter;
use self::violation::Violation;
use self::watched::Watched;
use crate::port::error::Operation;
use crate::port::error::PortError;
use crate::port::outcome::{LinkLoss, Rx};
use crate::port::stream::Role;
use crate::sys::closer::Given;
use crate::sys::process::Clock;
use crate::sys::unix_socket::{BoundSocket, Passed, accept, connect_to};
use crate::sys::watch::Watch;

/// What a vhost-user port is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VhostUserConfig {
    /// Where the socket is.
    pub path: PathBuf,
    /// Who waits for whom. As client, the port tries to connect once a second.
    pub role: Role,
    /// Super-frames and unfinished checksums in both directions, if the guest's driver takes them.
    pub offload: bool,
}

/// The network card of a guest.
#[derive(Debug)]
pub struct VhostUserPort {
    config: VhostUserConfig,
    /// As server only.
    listener: Option<Watched<BoundSocket>>,
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

/// A front-end that is connected.
#[derive(Debug)]
struct Session {
    connection: Connection,
    backend: Backend,
    /// Queue pairs up to the last that runs.
    pairs: usize,
    /// The pair that is received from first.
    turn: usize,
    /// A ring was usable the last time.
    up: bool,
    faults: u32,
}

impl VhostUserPort {
    /// As server, makes the socket. The front-end may come later.
    ///
    /// # Errors
    /// The socket can't be had; the error says what to do.
    pub fn open(config: &VhostUserConfig) -> Result<Self, PortError> {
        let path = config.path.to_string_lossy();
        let failed = |error: io::Error| PortError::when(Operation::Listen, &path)(error);
        let keeper = Keeper::new().map_err(failed)?;
        let listener = match config.role {
            Role::Client => None,
            Role::Server => Some(listen_at(config, &keeper).map_err(failed)?),
        };
        Ok(Self {
            config: config.clone(),
            listener,
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
        })
    }

    /// To be called before a front-end is met.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let watch = Arc::new(Watch::new(registry, token)?);
        self.watch_from(Some(watch))
    }

    /// A front-end that is connected is let go.
    pub(crate) fn deregister(&mut self) -> io::Result<()> {
        self.end_session();
        self.watch_from(None)
    }

    fn watch_from(&mut self, watch: Option<Arc<Watch>>) -> io::Result<()> {
        if let Some(listener) = &mut self.listener {
            listener.rewatch(watch.as_ref())?;
        }
        self.watch = watch;
        Ok(())
    }

    /// Whether the guest's driver runs. Meets a front-end if there is none.
    pub(crate) fn link_up(&mut self) -> bool {
        self.meet();
        self.session.as_ref().is_some_and(|session| session.up)
    }

    pub(crate) fn listener_mut(&mut self) -> Option<&mut BoundSocket> {
        self.listener.as_mut().map(Watched::get_mut)
    }

    pub(crate) fn offloads(&self) -> OffloadSet {
        self.transmitter.offloads()
    }

    /// With `on`, [`rx_burst`](Self::rx_burst) is called all the time, and the guest need not tell of frames.
    pub(crate) fn set_polled(&mut self, on: bool) {
        self.polled = on;
    }

    pub(crate) fn rx_burst(&mut self, burst: &mut Burst) -> Rx {
        if let Some(loss) = self.loss.take() {
            return Rx::LinkDown(loss);
        }
        self.receive(burst).unwrap_or_else(|loss| {
            let loss = self.lose(loss);
            // Another front-end may wait already, of which there will be no event.
            self.meet();
            Rx::LinkDown(loss)
        })
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
            self.transmitter.agree(session.backend.features());
            return match session.look_at_rings() {
                Some(loss) => Ok(Rx::LinkDown(loss)),
                None => Ok(Rx::More),
            };
        }
        session.discard_unwanted()?;
        Ok(if more || (!self.polled && session.arm()) { Rx::More } else { Rx::Drained })
    }

    pub(crate) fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        let Some(session) = &mut self.session else {
            return drop_all(list, counters);
        };
        if let Err(violation) = session.transmit(&mut self.transmitter, burst, list, counters) {
            self.loss = Some(self.lose(violation.into()));
        }
    }

    /// Takes a front-end that waits, or finds one, if there is none.
    fn meet(&mut self) {
        let barred = self.barred.is_some_and(|until| self.clock.now() < until);
        if self.session.is_some() || barred || !self.keeper.has_room() {
            return;
        }
        let socket = match &self.listener {
            Some(listener) => accept(listener, &self.passed()),
            None => connect_to(&self.config.path, SocketType::STREAM, &self.passed()),
        };
        let socket = socket.ok().and_then(|socket| Watched::new(socket, self.watch.as_ref()).ok());
        self.session = socket.map(|socket| {
            let (keeper, watch) = (self.keeper.clone(), self.watch.clone());
            Box::new(Session::new(socket, self.config.offload, watch, keeper))
        });
    }

    /// Lets the front-end go, and returns the true reason.
    fn lose(&mut self, loss: LinkLoss) -> LinkLoss {
        let is_whole = self.session.as_ref().is_none_or(|session| session.backend.memory.is_whole());
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
            session.connection.hang_up();
            self.keeper.closer.later(session);
        }
    }
}

impl Drop for VhostUserPort {
    fn drop(&mut self) {
        self.end_session();
    }
}

impl Session {
    fn new(socket: Watched<Given>, offload: bool, watch: Option<Arc<Watch>>, keeper: Keeper) -> Self {
        Self {
            connection: Connection::new(socket, keeper.clone()),
            backend: Backend::new(offload, watch, keeper),
            pairs: 0,
            turn: 0,
            up: false,
            faults: fault::count(),
        }
    }

    /// Does what the front-end asks; `true` if it asked anything.
    fn serve(&mut self) -> Result<bool, LinkLoss> {
        for served in 0..REQUESTS_PER_LOOK {
            let Some((header, request)) = self.connection.receive()? else { return Ok(served > 0) };
            if let Some(reply) = self.backend.handle(header, request)? {
                self.connection.reply(&message::reply(header.request, &reply.payload()))?;
            }
        }
        Ok(true)
    }

    /// Takes note of which rings run. Returns a loss if none is usable any more.
    fn look_at_rings(&mut self) -> Option<LinkLoss> {
        self.pairs = self.backend.running_pairs();
        let was_up = self.up;
        self.up = (0..self.pairs).any(|pair| self.backend.is_usable(receive_ring(pair)));
        (was_up && !self.up).then_some(LinkLoss::DriverStopped)
    }

    /// Appends frames until the burst is full or all rings are empty; `true` if there may be more.
    fn receive(&mut self, pieces: &mut Pieces, burst: &mut Burst) -> Result<bool, LinkLoss> {
        self.check_memory()?;
        let header_len = self.backend.features().header_len();
        self.turn = if self.turn + 1 < self.pairs { self.turn + 1 } else { 0 };
        let mut more = false;
        for pair in (self.turn..self.pairs).chain(0..self.turn) {
            let Some(running) = self.enabled(pair) else { continue };
            running.ring.disarm();
            if receive::receive(running.ring, running.memory, header_len, pieces, burst)? {
                running.tell();
            }
            more |= running.ring.has_ready();
        }
        Ok(more)
    }

    /// The transmit ring of `pair`, if it is enabled.
    #[inline]
    fn enabled(&mut self, pair: usize) -> Option<Running<'_>> {
        self.backend.ring(transmit_ring(pair)).filter(|running| running.enabled)
    }

    /// The transmit ring of `pair`, if it is not enabled and holds frames.
    fn unwanted(&mut self, pair: usize) -> Option<Running<'_>> {
        let running = self.backend.ring(transmit_ring(pair)).filter(|running| !running.enabled)?;
        running.ring.is_waiting().then_some(running)
    }

    /// Whether there are frames in rings that are not enabled, unless a request that enables them is on its way.
    fn has_unwanted(&mut self) -> bool {
        (0..self.pairs).any(|pair| self.unwanted(pair).is_some())
    }

    /// Gives back what is in rings that are not enabled, as the protocol demands.
    fn discard_unwanted(&mut self) -> Result<(), Violation> {
        for pair in 0..self.pairs {
            if let Some(running) = self.unwanted(pair)
                && receive::discard(running.ring)?
            {
                running.tell();
            }
        }
        Ok(())
    }

    /// Asks the guest to tell of frames; `true` if there are some already.
    fn arm(&mut self) -> bool {
        let mut arm = |pair| self.backend.ring(transmit_ring(pair)).is_some_and(|running| running.ring.arm());
        (0..self.pairs).any(&mut arm)
    }

    /// Spreads the frames over the guest's receive rings, those of a flow to the same.
    fn transmit(
        &mut self,
        transmitter: &mut Transmitter,
        burst: &mut Burst,
        list: &[TxEntry],
        counters: &mut PortCounters,
    ) -> Result<(), Violation> {
        self.check_memory()?;
        let mut usable = [0; MAX_QUEUE_PAIRS];
        let mut count = 0;
        for ring in (0..self.pairs).map(receive_ring).filter(|&ring| self.backend.is_usable(ring)) {
            usable[count] = ring;
            count += 1;
        }
        match &usable[..count] {
            [] => drop_all(list, counters),
            &[ring] => self.transmit_to(ring, transmitter, burst, list, counters)?,
            rings => {
                for (nth, &ring) in rings.iter().enumerate() {
                    let (mut part, mut len) = ([TxEntry::as_is(0); BURST_FRAMES], 0);
                    for &entry in list {
                        let frame = entry.frame();
                        let flow = spread::flow_number(burst.bytes(frame), &burst.metas()[frame]);
                        if flow % rings.len() == nth {
                            part[len] = entry;
                            len += 1;
                        }
                    }
                    self.transmit_to(ring, transmitter, burst, &part[..len], counters)?;
                }
            }
        }
        Ok(())
    }

    fn transmit_to(
        &mut self,
        ring: usize,
        transmitter: &mut Transmitter,
        burst: &mut Burst,
        list: &[TxEntry],
        counters: &mut PortCounters,
    ) -> Result<(), Violation> {
        if let Some(running) = self.backend.ring(ring)
            && transmitter.transmit(running.ring, running.memory, burst, list, counters)?
        {
            running.tell();
        }
        Ok(())
    }

    /// All of the guest's memory must have been there at every access so far.
    fn check_memory(&mut self) -> Result<(), Violation> {
        let faults = fault::count();
        if faults != self.faults {
            self.faults = faults;
            if !self.backend.memory.is_whole() {
                return Err(Violation::MemoryCutShort);
            }
        }
        Ok(())
    }
}

fn listen_at(config: &VhostUserConfig, keeper: &Keeper) -> io::Result<Watched<BoundSocket>> {
    let listener =
        BoundSocket::bind(&config.path, SocketType::STREAM, Passed::Received(keeper.closer.clone()))?;
    listen(&listener, BACKLOG)?;
    Watched::new(listener, None)
}

fn drop_all(list: &[TxEntry], counters: &mut PortCounters) {
    counters.drops.count_many(DropReason::TxLinkDown, list.len() as u64);
}

/// The ring that the guest receives from.
const fn receive_ring(pair: usize) -> usize {
    2 * pair
}

/// The ring that the guest sends with.
const fn transmit_ring(pair: usize) -> usize {
    2 * pair + 1
}

/// While traffic never pauses, or nobody waits for events, the socket is looked at once in so many calls: a look costs
/// a system call.
const CALLS_PER_LOOK: u32 = 256;

/// Requests served at a time, so that a front-end that never stops asking doesn't hold up other ports.
const REQUESTS_PER_LOOK: usize = 16;

/// Connections that wait to be taken.
const BACKLOG: i32 = 8;

/// How long a front-end that broke the protocol has to wait.
const BARRED: Millis = Millis::from_secs(1);
