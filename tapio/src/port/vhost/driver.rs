//! The other end of a vhost-user port, front-end and driver in one, that sends and receives as fast as it can: to measure
//! ports with. Like any driver it fills and reads its buffers; that is all it does with them.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use packet::VNET_HDR_LEN;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg};

use crate::port::vhost::features::DRIVER_FEATURES;
use crate::port::vhost::guest_memory::{Mapping, SharedArea};
use crate::port::vhost::keeper::Keeper;
use crate::port::vhost::message;
use crate::sys::closer::Given;
use crate::sys::unix_socket::{Passed, connect_to};

/// A pair of rings with 1024 buffers each, without offloads.
///
/// It relies on buffers being given back in order, which a port of ours does.
#[derive(Debug)]
pub struct VhostDriver {
    _socket: Given,
    kick: OwnedFd,
    receive: Ring,
    transmit: Ring,
    frames: Vec<Vec<u8>>,
}

impl VhostDriver {
    /// Connects to the port at `path`, to send `frames` again and again.
    ///
    /// # Errors
    /// Nobody listens there, there is no frame, or one is longer than a buffer.
    pub fn connect(path: &Path, frames: Vec<Vec<u8>>) -> io::Result<Self> {
        if frames.is_empty() || frames.iter().any(|frame| VNET_HDR_LEN + frame.len() > BUFFER) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let socket = connect_to(path, SocketType::STREAM, &Passed::Refused)?;
        let memory = memfd_create("vhost-driver", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, MEMORY as u64)?;
        let mapping = Mapping::new(memory.as_fd(), 0, MEMORY as u64, &Keeper::new()?);
        let mapping = Arc::new(mapping.map_err(|_| io::ErrorKind::OutOfMemory)?);
        let receive = Ring::new(&mapping, 0, |_| BUFFER, WRITE).ok_or(io::ErrorKind::OutOfMemory)?;
        let lens = |slot: usize| VNET_HDR_LEN + frames[slot % frames.len()].len();
        let transmit = Ring::new(&mapping, 1, lens, 0).ok_or(io::ErrorKind::OutOfMemory)?;
        let kick = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        negotiate(&socket, memory.as_fd(), kick.as_fd())?;
        let mut driver = Self { _socket: socket, kick, receive, transmit, frames };
        driver.receive.offer(SIZE as u16);
        Ok(driver)
    }

    /// Takes what came, and sends as many frames as there is room for. Returns how many came.
    pub fn turn(&mut self) -> u16 {
        let came = self.receive.used();
        for index in 0..came {
            self.receive.buffers.read_16(self.receive.slot(index) * BUFFER);
        }
        self.receive.offer(came);
        let free = self.transmit.used();
        for index in 0..free {
            let slot = self.transmit.slot(index);
            let frame = &self.frames[slot % self.frames.len()];
            self.transmit.buffers.write(slot * BUFFER + VNET_HDR_LEN, frame);
        }
        self.transmit.offer(free);
        if free > 0 && self.transmit.used.load(FLAGS) & NO_NOTIFY == 0 {
            // Fails only after 2^64 - 2 kicks that nobody looked at.
            let _ = rustix::io::write(&self.kick, &1_u64.to_ne_bytes());
        }
        came
    }
}

#[derive(Debug)]
struct Ring {
    available: SharedArea,
    used: SharedArea,
    buffers: SharedArea,
    /// The available index: all buffers before it were offered.
    offered: u16,
}

impl Ring {
    /// The ring `number`, whose descriptor `slot` is a buffer of `len(slot)` bytes.
    fn new(mapping: &Arc<Mapping>, number: usize, len: impl Fn(usize) -> usize, flags: u16) -> Option<Self> {
        let start = number * RING;
        let first = RINGS + number * SIZE * BUFFER;
        let descriptors = mapping.area(start as u64, SIZE * 16, 16)?;
        let available = mapping.area((start + AVAILABLE) as u64, 4 + SIZE * 2, 2)?;
        for slot in 0..SIZE {
            let (address, len) = ((first + slot * BUFFER) as u64, len(slot) as u32);
            let parts: [&[u8]; 4] =
                [&address.to_le_bytes(), &len.to_le_bytes(), &flags.to_le_bytes(), &[0; 2]];
            descriptors.write(slot * 16, &parts.concat());
            available.write(4 + slot * 2, &(slot as u16).to_le_bytes());
        }
        Some(Self {
            available,
            used: mapping.area((start + USED) as u64, 4 + SIZE * 8, 4)?,
            buffers: mapping.area(first as u64, SIZE * BUFFER, 64)?,
            offered: 0,
        })
    }

    /// How many buffers are not the port's.
    fn used(&self) -> u16 {
        SIZE as u16 - self.offered.wrapping_sub(self.used.load(INDEX)).min(SIZE as u16)
    }

    /// The buffer that is the `index`th of them.
    fn slot(&self, index: u16) -> usize {
        usize::from(self.offered.wrapping_add(index)) % SIZE
    }

    /// Gives the port the first `count` of them.
    fn offer(&mut self, count: u16) {
        self.offered = self.offered.wrapping_add(count);
        self.available.store(INDEX, self.offered);
    }
}

/// Agrees on features, shares the memory, and starts both rings.
fn negotiate(socket: &Given, memory: BorrowedFd<'_>, kick: BorrowedFd<'_>) -> io::Result<()> {
    let send = |request: u32, payload: &[&[u8]], fds: &[BorrowedFd<'_>]| {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        let bytes = message::request(request, &payload.concat());
        sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
    };
    let pair = |a: u32, b: usize| (u64::from(a) | (b as u64) << 32).to_le_bytes();
    send(message::SET_FEATURES, &[&DRIVER_FEATURES.to_le_bytes()], &[])?;
    let (len, zero) = ((MEMORY as u64).to_le_bytes(), [0; 8]);
    send(message::SET_MEM_TABLE, &[&pair(1, 0), &zero, &len, &zero, &zero], &[memory])?;
    for ring in [0, 1] {
        let at = |part: usize| ((ring as usize * RING + part) as u64).to_le_bytes();
        send(message::SET_VRING_NUM, &[&pair(ring, SIZE)], &[])?;
        send(message::SET_VRING_ADDR, &[&pair(ring, 0), &at(0), &at(USED), &at(AVAILABLE), &zero], &[])?;
        send(message::SET_VRING_KICK, &[&pair(ring, 0)], &[kick])?;
    }
    Ok(())
}

const SIZE: usize = 1024;
/// An odd number of cache lines, so that the frames fall into different cache sets.
const BUFFER: usize = 33 * 64;
/// Descriptors, available and used ring: each on pages of its own.
const AVAILABLE: usize = 0x4000;
const USED: usize = 0x5000;
const RING: usize = 0x8000;
const RINGS: usize = 2 * RING;
const MEMORY: usize = RINGS + 2 * SIZE * BUFFER;

const FLAGS: usize = 0;
const INDEX: usize = 2;
const WRITE: u16 = 2;
const NO_NOTIFY: u16 = 1;
