//! Sending on a packet socket, whole where the device takes super-frames, else in segments.
//!
//! A socket that goes past the queueing discipline loses a super-frame that its device can't send as it is, with the error
//! of a full queue. What devices can do differs by kind of frame and changes while they are up (a guest's driver starts), so
//! the frame itself is the question: one that is refused goes in segments, and so do the next ones of its kind.

use std::os::fd::OwnedFd;

use packet::{Burst, DropReason, Gso, VNET_HDR_LEN};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::packet_options::HEADER_LEN;
use crate::software_offload::Scratch;

/// What is known of a device's abilities.
#[derive(Debug)]
pub(crate) struct Sender {
    scratch: Scratch,
    /// How many of the next super-frames go in segments: of TCP, of UDP.
    segmented: [u32; 2],
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self { scratch: Scratch::new(), segmented: [0; 2] }
    }

    /// Sends a frame of `burst`, whose headroom is overwritten.
    #[inline]
    pub(crate) fn send(
        &mut self,
        socket: &OwnedFd,
        burst: &mut Burst,
        index: usize,
    ) -> Result<(), DropReason> {
        let offload = burst.metas()[index].offload;
        let segmented = match offload.gso {
            Gso::None => return send(socket, with_header(burst, index)),
            Gso::Tcp4 | Gso::Tcp6 => &mut self.segmented[0],
            Gso::Udp => &mut self.segmented[1],
        };
        if *segmented == 0 {
            match send(socket, with_header(burst, index)) {
                Err(DropReason::TxQueueFull) => {}
                outcome => return outcome,
            }
        }
        let (bytes, meta) = (burst.bytes(index), &burst.metas()[index]);
        // The header in front of a segment is all zero, so its beginning may as well be left out.
        let segment = |segment: &[u8]| send(socket, &segment[VNET_HDR_LEN - HEADER_LEN..]);
        self.scratch.send(bytes, meta, segment)?;
        // If the queue was full just then, this is the price.
        *segmented = segmented.checked_sub(1).unwrap_or(SEGMENTED);
        Ok(())
    }
}

/// The frame behind its `virtio_net_hdr`.
#[inline]
fn with_header(burst: &mut Burst, index: usize) -> &[u8] {
    let header = burst.metas()[index].offload.encode();
    let bytes = burst.with_headroom(index, HEADER_LEN);
    bytes[..HEADER_LEN].copy_from_slice(&header[..HEADER_LEN]);
    bytes
}

#[inline]
fn send(socket: &OwnedFd, bytes: &[u8]) -> Result<(), DropReason> {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(_) => Ok(()),
        Err(Errno::AGAIN | Errno::NOBUFS) => Err(DropReason::TxQueueFull),
        Err(Errno::NETDOWN | Errno::NXIO | Errno::NODEV) => Err(DropReason::TxLinkDown),
        Err(_) => Err(DropReason::TxRefused),
    }
}

/// A refused frame costs as much as its segments: one in so many is little, and a driver that has just started is found
/// out soon.
const SEGMENTED: u32 = 200;
