//! A port as the driver sees it. One match per burst; below it, each kind has its own loop.

use std::io;

use packet::{Burst, DropReason, OffloadSet, PortCounters};

use rustix::io::Errno;

use crate::error::Operation;
use crate::{MemoryPort, PortError, PortSpec, TapPort};

/// A port of the switch.
#[derive(Debug)]
pub enum Port {
    /// A tap device.
    Tap(TapPort),
    /// One end of a pair in memory, for tests and benchmarks.
    Memory(MemoryPort),
}

/// Why receiving stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rx {
    /// The burst is full: call again, there will be no event for what is left.
    More,
    /// Nothing is left: an event comes with the next frame.
    Drained,
}

impl Port {
    /// Opens the port that `spec` describes. See [`TapPort::open`].
    ///
    /// # Errors
    /// It can't be had as configured; the error says what to do.
    pub fn open(spec: &PortSpec) -> Result<Self, PortError> {
        match spec {
            PortSpec::Tap(config) => TapPort::open(config).map(Self::Tap),
        }
    }

    /// Appends received frames to `burst` until it is full or the queue is empty. A frame that the port itself finds
    /// bad is in the burst too, dropped.
    ///
    /// # Errors
    /// The device is gone for good. A link that is down is not an error: there are just no frames.
    pub fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx> {
        match self {
            Self::Tap(port) => port.rx_burst(burst),
            Self::Memory(port) => Ok(port.rx_burst(burst)),
        }
    }

    /// Sends the frames of `burst` whose indices are in `frames`, in that order, and counts each as sent or as
    /// dropped. The frames stay as they are; the headroom before them is overwritten.
    pub fn tx_burst(&mut self, burst: &mut Burst, frames: &[u8], counters: &mut PortCounters) {
        match self {
            Self::Tap(port) => port.tx_burst(burst, frames, counters),
            Self::Memory(port) => port.tx_burst(burst, frames, counters),
        }
    }

    /// The kinds of offloaded frame that the port takes as they are. Others are segmented and summed here.
    pub fn offloads(&self) -> OffloadSet {
        match self {
            Self::Tap(port) => port.offloads(),
            Self::Memory(port) => port.offloads(),
        }
    }

    /// Asks for edge-triggered events under `token`: one when frames arrive after [`Rx::Drained`].
    ///
    /// # Errors
    /// The system's limit on watched descriptors is reached, or the port is registered already.
    pub fn register(&mut self, registry: &mio::Registry, token: mio::Token) -> io::Result<()> {
        match self {
            Self::Tap(port) => port.register(registry, token),
            Self::Memory(port) => port.register(registry, token),
        }
    }

    /// Takes [`register`](Self::register) back.
    ///
    /// # Errors
    /// The port is not registered.
    pub fn deregister(&mut self, registry: &mio::Registry) -> io::Result<()> {
        match self {
            Self::Tap(port) => port.deregister(registry),
            Self::Memory(port) => port.deregister(registry),
        }
    }

    /// Changes the settings of the live port to those of `spec`.
    ///
    /// # Errors
    /// The system refuses a value, or `spec` is about another device: see [`PortSpec::same_device`].
    pub fn reconfigure(&mut self, spec: &PortSpec) -> Result<(), PortError> {
        match (self, spec) {
            (Self::Tap(port), PortSpec::Tap(config)) => port.reconfigure(config),
            (Self::Memory(_), _) => Err(PortError::when(Operation::Move, spec.device())(Errno::INVAL)),
        }
    }

    /// Whether the device exists, is up and has a carrier. A system call or two: for `show`, not per frame.
    pub fn link_up(&self) -> bool {
        match self {
            Self::Tap(port) => port.link_up(),
            Self::Memory(_) => true,
        }
    }
}

/// Counts the frame of `len` bytes as sent, or as dropped.
#[inline]
pub(crate) fn count_tx(counters: &mut PortCounters, len: usize, outcome: Result<(), DropReason>) {
    match outcome {
        Ok(()) => {
            counters.tx_frames += 1;
            counters.tx_bytes += len as u64;
        }
        Err(reason) => counters.drops.count(reason),
    }
}
