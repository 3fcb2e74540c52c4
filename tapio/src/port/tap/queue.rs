//! Frames of a tap: one system call for each.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use packet::{
    Burst, DropReason, HEADROOM, MAX_FRAME, Offload, OffloadSet, PortCounters, TxEntry, VNET_HDR_LEN,
};
use rustix::io::Errno;

use crate::port::kind::Queue;
use crate::port::outcome::Rx;
use crate::port::parcel::{Contents, Parcel};
use crate::port::software_offload::Scratch;

/// The userspace end of a tap, to read and write.
#[derive(Debug)]
pub(crate) struct TapQueue {
    tun: OwnedFd,
    offloads: OffloadSet,
    scratch: Scratch,
}

impl TapQueue {
    /// Makes it of a parcel.
    pub(crate) fn open(parcel: Parcel) -> io::Result<Box<dyn Queue>> {
        let [checksum, tso, uso] = parcel.label.offloads;
        let tun = Contents::new(parcel.descriptors).next()?;
        Ok(Box::new(Self { tun, offloads: OffloadSet { checksum, tso, uso }, scratch: Scratch::new() }))
    }
}

impl Queue for TapQueue {
    fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx> {
        while let Some(mut slot) = burst.slot() {
            let buffer = &mut slot.buffer()[HEADROOM - VNET_HDR_LEN..];
            let (len, offload) = match rustix::io::read(&self.tun, &mut *buffer) {
                Ok(len) => (len.saturating_sub(VNET_HDR_LEN), decode(buffer, len)),
                Err(Errno::AGAIN) => return Ok(Rx::Drained),
                // The kernel had a super-frame of a kind that was not asked for, and has dropped it.
                Err(Errno::INVAL) => (0, Err(DropReason::BadOffload)),
                Err(error @ (Errno::BADFD | Errno::BADF)) => return Err(error.into()),
                // The link is down or going down: there is an event when frames come again.
                Err(_) => return Ok(Rx::Drained),
            };
            slot.commit(len, offload.unwrap_or(Offload::NONE));
            if let (Err(reason), Some(meta)) = (offload, burst.metas_mut().last_mut()) {
                meta.drop(reason);
            }
        }
        Ok(Rx::More)
    }

    fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        self.scratch.send_each(burst, list, self.offloads, counters, |offload, bytes| {
            write(&self.tun, offload, bytes)
        });
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        SourceFd(&self.tun.as_raw_fd()).register(registry, token, Interest::READABLE)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.tun.as_raw_fd()).deregister(registry)
    }

    fn offloads(&self) -> OffloadSet {
        self.offloads
    }
}

/// The offload of the frame that a read of `len` bytes put into `buffer`.
#[inline]
fn decode(buffer: &[u8], len: usize) -> Result<Offload, DropReason> {
    match buffer.first_chunk() {
        // A read that fills the buffer may have cut the frame.
        _ if len == VNET_HDR_LEN + MAX_FRAME => Err(DropReason::FrameTooLong),
        Some(header) if len >= VNET_HDR_LEN => Offload::decode(header, len - VNET_HDR_LEN),
        _ => Err(DropReason::FrameTooShort),
    }
}

/// Writes the frame behind its `virtio_net_hdr`, for which there is room before it.
#[inline]
fn write(tun: &OwnedFd, offload: Offload, bytes: &mut [u8]) -> Result<(), DropReason> {
    bytes[..VNET_HDR_LEN].copy_from_slice(&offload.encode());
    match rustix::io::write(tun, bytes) {
        Ok(_) => Ok(()),
        Err(Errno::AGAIN | Errno::NOBUFS) => Err(DropReason::TxQueueFull),
        Err(Errno::IO) => Err(DropReason::TxLinkDown),
        Err(_) => Err(DropReason::TxRefused),
    }
}
