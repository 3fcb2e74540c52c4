//! A front-end that is connected, and the rings that it has us run.

use std::sync::Arc;

use packet::{BURST_FRAMES, Burst, PortCounters, TxEntry};

use crate::port::outcome::LinkLoss;
use crate::port::vhost::backend::{Backend, MAX_QUEUE_PAIRS, Running};
use crate::port::vhost::connection::Connection;
use crate::port::vhost::features::Features;
use crate::port::vhost::keeper::Keeper;
use crate::port::vhost::ring::Pieces;
use crate::port::vhost::transmit::{Transmitter, drop_all};
use crate::port::vhost::violation::Violation;
use crate::port::vhost::watched::Watched;
use crate::port::vhost::{fault, message, receive, spread};
use crate::sys::closer::Given;
use crate::sys::watch::Watch;

/// A front-end that is connected.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    backend: Backend,
    /// Queue pairs up to the last that runs.
    pairs: usize,
    /// The pair that is received from first.
    turn: usize,
    /// A ring was usable the last time.
    pub up: bool,
    faults: u32,
}

impl Session {
    pub fn new(socket: Watched<Given>, offload: bool, watch: Option<Arc<Watch>>, keeper: Keeper) -> Self {
        Self {
            connection: Connection::new(socket, keeper.clone()),
            backend: Backend::new(offload, watch, keeper),
            pairs: 0,
            turn: 0,
            up: false,
            faults: fault::count(),
        }
    }

    /// What was agreed on.
    pub fn features(&self) -> Features {
        self.backend.features()
    }

    /// Whether all of the guest's memory has been there so far.
    pub fn has_whole_memory(&self) -> bool {
        self.backend.memory.is_whole()
    }

    /// Tells the front-end that this is the end.
    pub fn hang_up(&self) {
        self.connection.hang_up();
    }

    /// Does what the front-end asks; `true` if it asked anything.
    pub fn serve(&mut self) -> Result<bool, LinkLoss> {
        for served in 0..REQUESTS_PER_LOOK {
            let Some((header, request)) = self.connection.receive()? else { return Ok(served > 0) };
            if let Some(reply) = self.backend.handle(header, request)? {
                self.connection.reply(&message::reply(header.request, &reply.payload()))?;
            }
        }
        Ok(true)
    }

    /// Takes note of which rings run. Returns a loss if none is usable any more.
    pub fn look_at_rings(&mut self) -> Option<LinkLoss> {
        self.pairs = self.backend.running_pairs();
        let was_up = self.up;
        self.up = (0..self.pairs).any(|pair| self.backend.is_usable(receive_ring(pair)));
        (was_up && !self.up).then_some(LinkLoss::DriverStopped)
    }

    /// Appends frames until the burst is full or all rings are empty; `true` if there may be more.
    pub fn receive(&mut self, pieces: &mut Pieces, burst: &mut Burst) -> Result<bool, LinkLoss> {
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
    pub fn has_unwanted(&mut self) -> bool {
        (0..self.pairs).any(|pair| self.unwanted(pair).is_some())
    }

    /// Gives back what is in rings that are not enabled, as the protocol demands.
    pub fn discard_unwanted(&mut self) -> Result<(), Violation> {
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
    pub fn arm(&mut self) -> bool {
        let mut arm = |pair| self.backend.ring(transmit_ring(pair)).is_some_and(|running| running.ring.arm());
        (0..self.pairs).any(&mut arm)
    }

    /// Spreads the frames over the guest's receive rings, those of a flow to the same.
    pub fn transmit(
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

/// The ring that the guest receives from.
const fn receive_ring(pair: usize) -> usize {
    2 * pair
}

/// The ring that the guest sends with.
const fn transmit_ring(pair: usize) -> usize {
    2 * pair + 1
}

/// Requests served at a time, so that a front-end that never stops asking doesn't hold up other ports.
const REQUESTS_PER_LOOK: usize = 16;
