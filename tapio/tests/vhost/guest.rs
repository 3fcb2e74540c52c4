//! A guest with its front-end, as far as a vhost-user port can see: a socket, shared memory, rings. It does as it is
//! told, so that it can also lie.
//!
//! ```text
//! memory (a memfd), seen by the guest at GUEST, by the front-end at USER:
//!   ring 0: descriptors, available, used │ ring 1: … │ … │ at BUFFERS: a buffer per descriptor and ring
//! ```

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

pub const GUEST: u64 = 0x1_0000_0000;
pub const USER: u64 = 0x7f00_0000_0000;
pub const MEMORY: u64 = 8 << 20;
/// Where the buffers start.
pub const BUFFERS: u64 = 1 << 20;
/// Room for a buffer.
pub const BUFFER: u64 = 2048;
/// Room for one ring's parts.
const RING: u64 = 0x8000;
const AVAILABLE: u64 = 0x4000;
const USED: u64 = 0x5000;

pub const VERSION_1: u64 = 1 << 32;
pub const MRG_RXBUF: u64 = 1 << 15;
pub const EVENT_IDX: u64 = 1 << 29;
pub const PROTOCOL_FEATURES: u64 = 1 << 30;
pub const GUEST_CSUM: u64 = 1 << 1;
pub const GUEST_TSO: u64 = 1 << 7 | 1 << 8 | 1 << 9;
pub const BASE: u64 = VERSION_1 | MRG_RXBUF | PROTOCOL_FEATURES;

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// Requests by their numbers.
pub const SET_FEATURES: u32 = 2;
pub const SET_OWNER: u32 = 3;
pub const SET_MEM_TABLE: u32 = 5;
pub const SET_VRING_NUM: u32 = 8;
pub const SET_VRING_ADDR: u32 = 9;
pub const SET_VRING_BASE: u32 = 10;
pub const GET_VRING_BASE: u32 = 11;
pub const SET_VRING_KICK: u32 = 12;
pub const SET_VRING_CALL: u32 = 13;
pub const SET_PROTOCOL_FEATURES: u32 = 16;
pub const GET_QUEUE_NUM: u32 = 17;
pub const SET_VRING_ENABLE: u32 = 18;
pub const RESET_DEVICE: u32 = 34;
pub const ADD_MEM_REG: u32 = 37;
pub const REM_MEM_REG: u32 = 38;
pub const NEED_REPLY: u32 = 8;

pub struct Guest {
    pub socket: UnixStream,
    pub memory: File,
    pub rings: Vec<Ring>,
    pub size: u16,
}

/// What the guest and its front-end keep of a ring.
pub struct Ring {
    pub kick: OwnedFd,
    pub call: OwnedFd,
    /// The next available index.
    pub available: u16,
    /// The next used index to look at.
    pub used: u16,
}

impl Guest {
    /// Connects, without saying anything.
    pub fn connect(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).unwrap())
    }

    /// The same over a connection that is there.
    pub fn over(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let memory = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(MEMORY).unwrap();
        let event = || eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        let ring = |_| Ring { kick: event(), call: event(), available: 0, used: 0 };
        Self { socket, memory, rings: (0..8).map(ring).collect(), size: 256 }
    }

    /// Sends a request.
    pub fn ask(&self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        self.ask_with(request, 1, payload, fds);
    }

    /// Sends a request with these flags.
    pub fn ask_with(&self, request: u32, flags: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        self.send_bytes(&message(request, flags, payload), fds).unwrap();
    }

    /// Sends any bytes with any descriptors.
    pub fn send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(fds)));
        }
        Ok(sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
    }

    /// The payload of a reply to `request`.
    pub fn reply(&mut self, request: u32) -> u64 {
        let mut bytes = [0; 20];
        self.socket.read_exact(&mut bytes).unwrap();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!([word(0), word(4), word(8)], [request, 5, 8]);
        u64::from_le_bytes(bytes[12..].try_into().unwrap())
    }

    /// Whether the port has closed the connection.
    pub fn is_disconnected(&mut self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let read = self.socket.read(&mut [0; 64]);
        self.socket.set_nonblocking(false).unwrap();
        match read {
            Ok(len) => len == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Agrees on `features`, shares the memory and starts the first `rings` rings.
    pub fn start(&mut self, features: u64, rings: u16) {
        self.ask(SET_OWNER, &[], &[]);
        if features & PROTOCOL_FEATURES != 0 {
            let reply_ack_reset_slots_mq = 1 << 3 | 1 << 13 | 1 << 15 | 1_u64;
            self.ask(SET_PROTOCOL_FEATURES, &reply_ack_reset_slots_mq.to_le_bytes(), &[]);
        }
        self.ask(SET_FEATURES, &features.to_le_bytes(), &[]);
        self.share_memory();
        for ring in 0..rings {
            self.start_ring(ring);
        }
        if features & PROTOCOL_FEATURES != 0 {
            (0..rings).for_each(|ring| self.enable(ring, true));
        }
    }

    pub fn share_memory(&self) {
        self.ask(
            SET_MEM_TABLE,
            &[pair(1, 0).to_vec(), region(GUEST, MEMORY, USER, 0)].concat(),
            &[self.memory.as_fd()],
        );
    }

    pub fn start_ring(&mut self, ring: u16) {
        let (index, size) = (u32::from(ring), u32::from(self.size));
        self.ask(SET_VRING_NUM, &pair(index, size), &[]);
        self.ask(SET_VRING_BASE, &pair(index, self.rings[usize::from(ring)].available.into()), &[]);
        self.ask(SET_VRING_ADDR, &Self::address(ring), &[]);
        self.ask(
            SET_VRING_CALL,
            &u64::from(ring).to_le_bytes(),
            &[self.rings[usize::from(ring)].call.as_fd()],
        );
        self.ask(
            SET_VRING_KICK,
            &u64::from(ring).to_le_bytes(),
            &[self.rings[usize::from(ring)].kick.as_fd()],
        );
    }

    /// Payload of SET_VRING_ADDR.
    pub fn address(ring: u16) -> Vec<u8> {
        let at = USER + u64::from(ring) * RING;
        ring_address(u32::from(ring), at, at + USED, at + AVAILABLE)
    }

    pub fn enable(&self, ring: u16, on: bool) {
        self.ask(SET_VRING_ENABLE, &pair(ring.into(), on.into()), &[]);
    }

    /// Where the guest sees descriptor `index`'s buffer of `ring`.
    pub fn buffer(ring: u16, index: u16) -> u64 {
        GUEST + BUFFERS + (u64::from(ring) * 256 + u64::from(index)) * BUFFER
    }

    pub fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, address - GUEST).unwrap();
    }

    pub fn read(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read_exact_at(&mut bytes, address - GUEST).unwrap();
        bytes
    }

    pub fn word(&self, ring: u16, offset: u64) -> u16 {
        u16::from_le_bytes(self.read(at(ring) + offset, 2).try_into().unwrap())
    }

    pub fn set_word(&self, ring: u16, offset: u64, value: u16) {
        self.write(at(ring) + offset, &value.to_le_bytes());
    }

    /// Writes a descriptor of the ring's table.
    pub fn describe(&self, ring: u16, index: u16, (address, len): (u64, u32), flags: u16, next: u16) {
        self.write(at(ring) + u64::from(index) * 16, &descriptor(address, len, flags, next));
    }

    /// Makes the buffer that starts at `head` available.
    pub fn offer(&mut self, ring: u16, head: u16) {
        let next = self.rings[usize::from(ring)].available;
        self.set_word(ring, AVAILABLE + 4 + 2 * u64::from(next % self.size), head);
        self.rings[usize::from(ring)].available = next.wrapping_add(1);
        self.set_available_index(ring, next.wrapping_add(1));
    }

    pub fn set_available_index(&self, ring: u16, index: u16) {
        self.set_word(ring, AVAILABLE + 2, index);
    }

    /// Whether the port asks to be kicked when the index goes from `old` to the present one.
    pub fn wants_kick(&self, ring: u16, old: u16, event_index: bool) -> bool {
        if event_index {
            let event = self.word(ring, USED + 4 + 8 * u64::from(self.size));
            let new = self.rings[usize::from(ring)].available;
            return new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old);
        }
        self.word(ring, USED) & 1 == 0
    }

    /// Asks to be called when the used index passes `event`.
    pub fn set_used_event(&self, ring: u16, event: u16) {
        self.set_word(ring, AVAILABLE + 4 + 2 * u64::from(self.size), event);
    }

    /// Asks not to be called, by flag.
    pub fn set_no_interrupt(&self, ring: u16, on: bool) {
        self.set_word(ring, AVAILABLE, on.into());
    }

    pub fn used_index(&self, ring: u16) -> u16 {
        self.word(ring, USED + 2)
    }

    /// The next used buffer: its head, and how many bytes were written to it.
    pub fn take_used(&mut self, ring: u16) -> Option<(u16, u32)> {
        let next = self.rings[usize::from(ring)].used;
        if self.used_index(ring) == next {
            return None;
        }
        self.rings[usize::from(ring)].used = next.wrapping_add(1);
        let entry = self.read(at(ring) + USED + 4 + 8 * u64::from(next % self.size), 8);
        let word = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
        Some((word(0) as u16, word(4)))
    }

    /// Sends a frame behind `header` on transmit ring `ring`, in one buffer.
    pub fn send(&mut self, ring: u16, header: &[u8], frame: &[u8]) {
        let index = self.rings[usize::from(ring)].available % self.size;
        let buffer = Self::buffer(ring, index);
        self.write(buffer, &[header, frame].concat());
        self.describe(ring, index, (buffer, (header.len() + frame.len()) as u32), 0, 0);
        self.offer(ring, index);
    }

    /// Makes `count` buffers available on receive ring `ring`.
    pub fn fill(&mut self, ring: u16, count: u16) {
        for _ in 0..count {
            let index = self.rings[usize::from(ring)].available % self.size;
            self.describe(ring, index, (Self::buffer(ring, index), BUFFER as u32), WRITE, 0);
            self.offer(ring, index);
        }
    }

    /// The next frame received, with its header: all buffers that it is in.
    pub fn receive(&mut self, ring: u16) -> Option<Vec<u8>> {
        let (head, len) = self.take_used(ring)?;
        let mut bytes = self.read(Self::buffer(ring, head), len as usize);
        for _ in 1..u16::from_le_bytes([bytes[10], bytes[11]]) {
            let (head, len) = self.take_used(ring).expect("all buffers of a frame appear at once");
            bytes.extend(self.read(Self::buffer(ring, head), len as usize));
        }
        Some(bytes)
    }

    pub fn kick(&self, ring: u16) {
        rustix::io::write(&self.rings[usize::from(ring)].kick, &1_u64.to_ne_bytes()).unwrap();
    }

    /// How often the port has called since the last time it was asked.
    pub fn calls(&self, ring: u16) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&self.rings[usize::from(ring)].call, &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(_) => 0,
        }
    }
}

/// Where the guest sees a ring.
fn at(ring: u16) -> u64 {
    GUEST + u64::from(ring) * RING
}

pub fn descriptor(address: u64, len: u32, flags: u16, next: u16) -> Vec<u8> {
    let parts: [&[u8]; 4] =
        [&address.to_le_bytes(), &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()];
    parts.concat()
}

pub fn message(request: u32, flags: u32, payload: &[u8]) -> Vec<u8> {
    let head = [request, flags, payload.len() as u32].map(u32::to_le_bytes).concat();
    [head.as_slice(), payload].concat()
}

pub fn pair(a: u32, b: u32) -> [u8; 8] {
    (u64::from(b) << 32 | u64::from(a)).to_le_bytes()
}

pub fn region(guest: u64, len: u64, user: u64, offset: u64) -> Vec<u8> {
    [guest, len, user, offset].map(u64::to_le_bytes).concat()
}

/// Payload of ADD_MEM_REG and REM_MEM_REG.
pub fn single_region(guest: u64, len: u64, user: u64, offset: u64) -> Vec<u8> {
    [vec![0; 8], region(guest, len, user, offset)].concat()
}

pub fn ring_address(ring: u32, descriptors: u64, used: u64, available: u64) -> Vec<u8> {
    [pair(ring, 0).to_vec(), [descriptors, used, available, 0].map(u64::to_le_bytes).concat()].concat()
}
