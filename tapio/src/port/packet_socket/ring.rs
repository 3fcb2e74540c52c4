//! Received frames in memory that the kernel writes them to: no system call per frame. packet(7), PACKET_RX_RING; the
//! kernel's packet_mmap.rst, TPACKET_V2.
//!
//! ```text
//! slot    [tpacket2_hdr][sockaddr_ll] … [virtio_net_hdr][frame …]
//! status  the kernel's ──a frame comes──▶ ours ──it was copied──▶ the kernel's
//! ```
//!
//! A frame that is too long for its slot, such as a super-frame, waits whole in the socket's queue, and its slot says so.
//! TPACKET_V3, where frames of any length share a block, hands blocks over when they are full, or a millisecond later.

use std::io;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::sockopt::socket_error;

use crate::sys::packet_options::{self as options, HEADER_LEN, Received, Tag};

/// The ring of a packet socket.
#[derive(Debug)]
pub(super) struct FrameRing {
    /// [`SLOTS`] times [`SLOT`] bytes.
    start: NonNull<u8>,
    next: usize,
    /// Whether the next frame comes to `next`.
    is_in_step: bool,
}

// SAFETY: the memory is the kernel's and this value's alone.
unsafe impl Send for FrameRing {}

/// Gives `socket`, whose `virtio_net_hdr` is switched on, a ring.
pub(super) fn make(socket: &impl AsFd) -> io::Result<()> {
    options::set_ring(socket, SLOT, SLOTS, BLOCK)
}

impl FrameRing {
    /// Maps the ring of `socket`, which [`make`] made. If it `is_new`, nobody has read from it.
    pub(super) fn map(socket: &impl AsFd, is_new: bool) -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the kernel chooses a free range of addresses, so nothing that exists is replaced.
        let start = unsafe { mmap(ptr::null_mut(), SLOTS * SLOT, protection, flags, socket, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut ring = Self { start, next: 0, is_in_step: is_new };
        ring.get_in_step();
        Ok(ring)
    }

    /// Copies the next frame of `socket` behind its header into `buffer`.
    ///
    /// # Errors
    /// `AGAIN` if there is none, `NOBUFS` if it was too long for its slot and the socket's queue was full, else what is
    /// wrong with the socket.
    #[inline]
    pub(super) fn receive(&mut self, socket: &impl AsFd, buffer: &mut [u8]) -> Result<Received, Errno> {
        let mut state = self.status(self.next).load(Ordering::Acquire);
        if state & libc::TP_STATUS_USER == 0 {
            if !self.get_in_step() {
                // That is how a device says that it went down.
                return Err(socket_error(socket).and_then(|error| error).err().unwrap_or(Errno::AGAIN));
            }
            state = self.status(self.next).load(Ordering::Acquire);
        }
        let received = match state & libc::TP_STATUS_COPY {
            0 => copy(self.slot(self.next), buffer),
            _ => options::receive(socket, buffer),
        };
        // The device's trouble is told first; the frame still waits.
        if let Err(Errno::NETDOWN | Errno::INTR) = received {
            return received;
        }
        self.status(self.next).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % SLOTS;
        received.map_err(|errno| if errno == Errno::AGAIN { Errno::NOBUFS } else { errno })
    }

    /// Goes to the first frame, where somebody else has read before: the kernel doesn't tell where it goes on. `false` if
    /// there is nothing to be found.
    fn get_in_step(&mut self) -> bool {
        let is_ours = |number| self.status(number).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0;
        let is_first = |&number: &usize| is_ours(number) && !is_ours((number + SLOTS - 1) % SLOTS);
        let find = || match (0..SLOTS).all(is_ours) {
            // It overflowed while nobody read.
            true => (0..SLOTS).min_by_key(|&number| self.time(number)),
            false => (0..SLOTS).find(is_first),
        };
        let first = if self.is_in_step { None } else { find() };
        if let Some(first) = first {
            (self.next, self.is_in_step) = (first, true);
        }
        first.is_some()
    }

    /// When the frame in this slot, which is ours, came.
    fn time(&self, number: usize) -> (u32, u32) {
        // SAFETY: a slot that is ours begins with this header, and is aligned to it.
        let head = unsafe { self.slot(number).cast::<libc::tpacket2_hdr>().read() };
        (head.tp_sec, head.tp_nsec)
    }

    #[inline]
    fn status(&self, number: usize) -> &AtomicU32 {
        // SAFETY: a slot begins with its status, is inside the mapping and aligned to 16 bytes. The kernel writes to
        // it too, which an atomic allows.
        unsafe { AtomicU32::from_ptr(self.slot(number).cast().as_ptr()) }
    }

    #[inline]
    fn slot(&self, number: usize) -> NonNull<u8> {
        debug_assert!(number < SLOTS);
        // SAFETY: `number` is below SLOTS in every call, so the slot is inside the mapping.
        unsafe { self.start.add(number * SLOT) }
    }
}

impl Drop for FrameRing {
    fn drop(&mut self) {
        // SAFETY: exactly the range that mmap returned, and nothing points into it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), SLOTS * SLOT) };
    }
}

/// Copies header and frame from `slot`, which is ours.
#[inline]
fn copy(slot: NonNull<u8>, buffer: &mut [u8]) -> Result<Received, Errno> {
    // SAFETY: a slot that is ours begins with this header, and is aligned to it.
    let head = unsafe { slot.cast::<libc::tpacket2_hdr>().read() };
    if head.tp_snaplen < head.tp_len {
        return Err(Errno::NOBUFS);
    }
    let start = usize::from(head.tp_mac).saturating_sub(HEADER_LEN).min(SLOT);
    let len = HEADER_LEN + head.tp_snaplen as usize;
    let copied = len.min(SLOT - start).min(buffer.len());
    let source = slot.as_ptr().wrapping_add(start);
    // SAFETY: the slot has as many bytes from `start` on, which nobody writes to now.
    buffer[..copied].copy_from_slice(unsafe { std::slice::from_raw_parts(source, copied) });
    let tag = Tag { status: head.tp_status, tci: head.tp_vlan_tci, tpid: head.tp_vlan_tpid };
    Ok(Received { len, is_cut: copied < len, tag: tag.bytes() })
}

/// Holds a frame of the usual MTU, its VLAN tag taken off, and what stands before it; longer ones take the queue.
const SLOT: usize = 2048;
/// About as many as a tap queues.
const SLOTS: usize = 1024;
/// What the kernel allocates at a time.
const BLOCK: usize = 16 * SLOT;
