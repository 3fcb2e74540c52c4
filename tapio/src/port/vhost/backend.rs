//! What the front-end and we have agreed on, and the rings that follow from it.
//!
//! ```text
//! a ring   stopped ── SET_VRING_NUM, _ADDR, _CALL … then SET_VRING_KICK ──▶ runs
//!          runs    ── GET_VRING_BASE, RESET_DEVICE ──▶ stopped
//! ```
//!
//! A ring that runs is used only while it is enabled; the guest's transmit ring is emptied otherwise.

use std::os::fd::AsFd;
use std::sync::Arc;

use crate::port::vhost::call::{Call, is_eventfd};
use crate::port::vhost::features::{Features, protocol};
use crate::port::vhost::keeper::{GuestFd, Keeper};
use crate::port::vhost::memory_table::{MAX_REGIONS, MemoryTable, RegionAddress};
use crate::port::vhost::message::{Header, Request, RingAddress};
use crate::port::vhost::ring::Ring;
use crate::port::vhost::violation::Violation;
use crate::port::vhost::watched::Watched;
use crate::sys::watch::Watch;

/// The virtio-net device of one connection.
#[derive(Debug)]
pub(super) struct Backend {
    offered: Features,
    features: Features,
    protocol_features: u64,
    pub memory: MemoryTable,
    keeper: Keeper,
    /// Receive and transmit ring of each queue pair in turn, as the guest calls them.
    rings: Vec<RingState>,
    watch: Option<Arc<Watch>>,
}

/// A ring with what is known of it.
#[derive(Debug, Default)]
struct RingState {
    size: Option<u16>,
    address: Option<RingAddress>,
    /// Where a stopped ring would go on.
    base: u32,
    enabled: bool,
    running: Option<Ring>,
    kick: Option<Watched<GuestFd>>,
    call: Option<Arc<Call>>,
}

/// A ring that runs.
#[derive(Debug)]
pub(super) struct Running<'a> {
    pub ring: &'a mut Ring,
    pub memory: &'a MemoryTable,
    pub enabled: bool,
    call: Option<&'a Arc<Call>>,
    keeper: &'a Keeper,
}

impl Running<'_> {
    /// Tells the guest that there are used buffers.
    pub fn tell(&self) {
        if let Some(call) = self.call {
            call.tell(self.keeper);
        }
    }
}

impl Backend {
    /// A device that nothing is agreed on yet. Kicks are events of `watch`.
    pub fn new(offload: bool, watch: Option<Arc<Watch>>, keeper: Keeper) -> Self {
        Self {
            offered: Features::offered(offload),
            features: Features::NONE,
            protocol_features: 0,
            memory: MemoryTable::default(),
            keeper,
            rings: (0..MAX_RINGS).map(|_| RingState::default()).collect(),
            watch,
        }
    }

    /// What was agreed on.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The ring, if it runs.
    #[inline]
    pub fn ring(&mut self, index: usize) -> Option<Running<'_>> {
        let state = self.rings.get_mut(index)?;
        let enabled = state.enabled || !self.features.rings_start_disabled();
        let ring = state.running.as_mut()?;
        let (memory, keeper) = (&self.memory, &self.keeper);
        Some(Running { ring, memory, enabled, call: state.call.as_ref(), keeper })
    }

    /// How many queue pairs there are up to the last of which a ring runs.
    pub fn running_pairs(&self) -> usize {
        let last = self.rings.iter().rposition(|state| state.running.is_some());
        last.map_or(0, |ring| ring / 2 + 1)
    }

    /// Whether the ring runs and is enabled.
    pub fn is_usable(&self, index: usize) -> bool {
        let enabled = |state: &RingState| state.enabled || !self.features.rings_start_disabled();
        self.rings.get(index).is_some_and(|state| state.running.is_some() && enabled(state))
    }

    /// Does what the front-end asks, and returns the reply if there is one.
    pub fn handle(&mut self, header: Header, request: Request) -> Result<Option<Reply>, Violation> {
        match request {
            Request::Features => return Ok(Some(Reply::Number(self.offered.0))),
            Request::ProtocolFeatures => return Ok(Some(Reply::Number(protocol::OFFERED))),
            Request::QueueCount => return Ok(Some(Reply::Number(MAX_QUEUE_PAIRS as u64))),
            Request::MemorySlotCount => return Ok(Some(Reply::Number(MAX_REGIONS as u64))),
            Request::RingBase { ring } => {
                let state = self.state(ring)?;
                let base = state.stop();
                return Ok(Some(Reply::Ring { ring, base }));
            }
            Request::SetFeatures(bits) => self.set_features(Features(bits))?,
            Request::SetProtocolFeatures(bits) => self.set_protocol_features(bits)?,
            Request::SetOwner | Request::SetError => {}
            Request::ResetOwner | Request::ResetDevice => self.reset(),
            Request::SetMemoryTable(regions) => self.set_memory(regions)?,
            Request::AddRegion(address, file) => {
                self.memory.add(address, &file, &self.keeper)?;
                self.keeper.seal_and_close(file);
            }
            Request::RemoveRegion(address) => {
                self.memory.remove(address)?;
                self.relocate_rings()?;
            }
            Request::SetRingSize { ring, size } => self.stopped(ring)?.size = Some(ring_size(size)?),
            Request::SetRingAddress { ring, address } => {
                self.state(ring)?.address = Some(address);
                self.relocate(ring as usize)?;
                self.start_if_complete(ring)?;
            }
            Request::SetRingBase { ring, base } => self.stopped(ring)?.base = base,
            Request::SetKick { ring, eventfd } => {
                let eventfd = eventfd.ok_or(Violation::KickMissing(ring))?;
                self.set_kick(ring, eventfd)?;
                self.start_if_complete(ring)?;
            }
            Request::SetCall { ring, eventfd } => {
                self.state(ring)?.call = eventfd.map(checked_eventfd).transpose()?.map(Call::new);
            }
            Request::EnableRing { ring, enable } => self.state(ring)?.enabled = enable,
        }
        let asked = header.wants_reply() && self.protocol_features & protocol::REPLY_ACK != 0;
        Ok(asked.then_some(Reply::Number(0)))
    }

    fn set_features(&mut self, features: Features) -> Result<(), Violation> {
        match features.beyond(self.offered) {
            0 => self.features = features,
            beyond => return Err(Violation::FeatureNotOffered(beyond)),
        }
        Ok(())
    }

    fn set_protocol_features(&mut self, bits: u64) -> Result<(), Violation> {
        match bits & !protocol::OFFERED {
            0 => self.protocol_features = bits,
            beyond => return Err(Violation::FeatureNotOffered(beyond)),
        }
        Ok(())
    }

    fn reset(&mut self) {
        for state in &mut self.rings {
            state.stop();
            state.enabled = false;
        }
        self.features = Features::NONE;
    }

    fn set_memory(&mut self, regions: Vec<(RegionAddress, GuestFd)>) -> Result<(), Violation> {
        let mut memory = MemoryTable::default();
        for (address, file) in &regions {
            memory.add(*address, file, &self.keeper)?;
        }
        self.memory = memory;
        regions.into_iter().for_each(|(_, file)| self.keeper.seal_and_close(file));
        self.relocate_rings()
    }

    fn set_kick(&mut self, ring: u32, eventfd: GuestFd) -> Result<(), Violation> {
        let eventfd = checked_eventfd(eventfd)?;
        let kick = Watched::new(eventfd, self.watch.as_ref()).map_err(|_| Violation::NotAnEventfd)?;
        self.state(ring)?.kick = Some(kick);
        Ok(())
    }

    fn start_if_complete(&mut self, ring: u32) -> Result<(), Violation> {
        let state = self.rings.get_mut(ring as usize).ok_or(Violation::NoSuchRing(ring))?;
        if let RingState { size: Some(size), address: Some(address), kick: Some(_), running: None, .. } =
            state
        {
            let started = Ring::new(&self.memory, address, *size, self.features.event_index());
            state.running = Some(started.ok_or(Violation::RingOutsideMemory(ring))?);
        }
        Ok(())
    }

    /// The memory has changed: rings that run go on in it.
    fn relocate_rings(&mut self) -> Result<(), Violation> {
        (0..self.rings.len()).try_for_each(|index| self.relocate(index))
    }

    fn relocate(&mut self, index: usize) -> Result<(), Violation> {
        match self.rings.get_mut(index) {
            Some(RingState { running: Some(ring), address: Some(address), .. }) => {
                let relocated = ring.relocate(&self.memory, address);
                relocated.ok_or(Violation::RingOutsideMemory(index as u32))
            }
            _ => Ok(()),
        }
    }

    fn state(&mut self, ring: u32) -> Result<&mut RingState, Violation> {
        self.rings.get_mut(ring as usize).ok_or(Violation::NoSuchRing(ring))
    }

    fn stopped(&mut self, ring: u32) -> Result<&mut RingState, Violation> {
        let state = self.state(ring)?;
        if state.running.is_some() { Err(Violation::RingRuns(ring)) } else { Ok(state) }
    }
}

impl RingState {
    /// Stops the ring, and returns where it would go on.
    fn stop(&mut self) -> u32 {
        if let Some(ring) = self.running.take() {
            self.base = ring.base().into();
        }
        (self.kick, self.call) = (None, None);
        self.base
    }
}

/// What is sent back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    Number(u64),
    Ring { ring: u32, base: u32 },
}

impl Reply {
    pub fn payload(self) -> [u8; 8] {
        match self {
            Self::Number(number) => number.to_le_bytes(),
            Self::Ring { ring, base } => (u64::from(base) << 32 | u64::from(ring)).to_le_bytes(),
        }
    }
}

fn ring_size(size: u32) -> Result<u16, Violation> {
    u16::try_from(size)
        .ok()
        .filter(|&size| size.is_power_of_two() && size <= MAX_RING_SIZE)
        .ok_or(Violation::BadRingSize(size))
}

/// Nothing else can be signalled, and watching it could wait for others.
fn checked_eventfd(fd: GuestFd) -> Result<GuestFd, Violation> {
    if is_eventfd(fd.as_fd()) { Ok(fd) } else { Err(Violation::NotAnEventfd) }
}

/// Queue pairs of a guest at most.
pub(super) const MAX_QUEUE_PAIRS: usize = 16;
const MAX_RINGS: usize = 2 * MAX_QUEUE_PAIRS;
/// Virtio 1.2, 2.7.
const MAX_RING_SIZE: u16 = 32_768;
