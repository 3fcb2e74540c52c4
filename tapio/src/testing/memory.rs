//! Two ports joined in memory: what one sends the other receives. For tests and benchmarks.
//!
//! ```text
//! MemoryPort A ──tx──▶ ring of `capacity` frames ──rx──▶ MemoryPort B
//!              ◀──rx── ring of `capacity` frames ◀──tx──
//! ```
//!
//! A ring is locked once per burst. Its slots are allocated at the start; one that meets a super-frame grows once.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use packet::{Burst, DropReason, Offload, OffloadSet, PortCounters, TxEntry, VNET_HDR_LEN};
use rustix::event::{EventfdFlags, eventfd};

use crate::port::kind::Queue as PortQueue;
use crate::port::outcome::{Rx, send_each};
use crate::port::software_offload::Scratch;

/// Two joined ports, each with a queue of `capacity` frames, that take every kind of offload.
pub fn memory_pair(capacity: usize) -> (MemoryPort, MemoryPort) {
    let (a, b) = (Arc::new(Queue::new(capacity)), Arc::new(Queue::new(capacity)));
    (MemoryPort::new(a.clone(), b.clone()), MemoryPort::new(b, a))
}

/// One end of a pair.
#[derive(Debug)]
pub struct MemoryPort {
    rx: Arc<Queue>,
    tx: Arc<Queue>,
    offloads: OffloadSet,
    scratch: Scratch,
}

impl MemoryPort {
    fn new(rx: Arc<Queue>, tx: Arc<Queue>) -> Self {
        Self { rx, tx, offloads: OffloadSet::ALL, scratch: Scratch::new() }
    }

    /// The same port, which takes only these kinds of offloaded frame to send.
    #[must_use]
    pub fn with_offloads(self, offloads: OffloadSet) -> Self {
        Self { offloads, ..self }
    }
}

impl PortQueue for MemoryPort {
    fn offloads(&self) -> OffloadSet {
        self.offloads
    }

    fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx> {
        let mut ring = self.rx.lock();
        while let Some((bytes, offload)) = ring.front() {
            if !burst.push(bytes, offload) {
                return Ok(Rx::More);
            }
            ring.pop();
        }
        Ok(Rx::Drained)
    }

    fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        let mut ring = self.tx.lock();
        let was_empty = ring.len == 0;
        send_each(burst, list, counters, |meta, bytes| {
            self.scratch
                .send(meta, bytes, self.offloads, |offload, bytes| ring.push(&bytes[VNET_HDR_LEN..], offload))
        });
        if was_empty && ring.len > 0 {
            self.tx.wake_receiver();
        }
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let ring = self.rx.lock();
        let event = match self.rx.event.get() {
            Some(event) => event,
            None => {
                let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
                self.rx.event.get_or_init(|| event)
            }
        };
        SourceFd(&event.as_raw_fd()).register(registry, token, Interest::READABLE)?;
        if ring.len > 0 {
            self.rx.wake_receiver();
        }
        Ok(())
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        let event = self.rx.event.get().ok_or(io::ErrorKind::NotFound)?;
        SourceFd(&event.as_raw_fd()).deregister(registry)
    }

    fn sends_by_call(&self) -> bool {
        false
    }
}

/// One direction of a pair.
#[derive(Debug)]
struct Queue {
    ring: Mutex<Ring>,
    /// Written when the ring stops being empty, once the receiver has asked for events. Never read: events are
    /// edge-triggered.
    event: OnceLock<OwnedFd>,
}

#[derive(Debug)]
struct Ring {
    slots: Box<[(Vec<u8>, Offload)]>,
    first: usize,
    len: usize,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        let slots = (0..capacity).map(|_| (Vec::with_capacity(SLOT_BYTES), Offload::NONE)).collect();
        Self { ring: Mutex::new(Ring { slots, first: 0, len: 0 }), event: OnceLock::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_receiver(&self) {
        if let Some(event) = self.event.get() {
            // Fails only when the counter is full after 2^64 - 2 events.
            let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
        }
    }
}

impl Ring {
    fn front(&self) -> Option<(&[u8], Offload)> {
        if self.len == 0 {
            return None;
        }
        let (bytes, offload) = &self.slots[self.first];
        Some((bytes, *offload))
    }

    /// Forgets the front frame. An emptied ring starts over at its first slots, which are in the cache.
    fn pop(&mut self) {
        self.len -= 1;
        self.first = if self.len == 0 || self.first + 1 == self.slots.len() { 0 } else { self.first + 1 };
    }

    fn push(&mut self, frame: &[u8], offload: Offload) -> Result<(), DropReason> {
        if self.len == self.slots.len() {
            return Err(DropReason::TxQueueFull);
        }
        let end = self.first + self.len;
        let end = if end >= self.slots.len() { end - self.slots.len() } else { end };
        let slot = &mut self.slots[end];
        slot.0.clear();
        slot.0.extend_from_slice(frame);
        slot.1 = offload;
        self.len += 1;
        Ok(())
    }
}

/// An ordinary frame with room to spare.
const SLOT_BYTES: usize = 2048;
