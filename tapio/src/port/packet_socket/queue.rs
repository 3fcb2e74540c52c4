//! Frames of a packet port: the ring's, and those that are too long for it.

use std::io;
use std::os::fd::OwnedFd;

use mio::{Registry, Token};
use packet::{
    Burst, DropReason, HEADROOM, MAX_FRAME, Offload, OffloadSet, PortCounters, Protocol, TxEntry,
    VNET_HDR_LEN,
};
use rustix::io::Errno;

use crate::device::shared_address::Bits;
use crate::port::kind::Queue;
use crate::port::outcome::{LinkLoss, Rx};
use crate::port::packet_socket::ring::FrameRing;
use crate::port::packet_socket::send::send;
use crate::port::parcel::{Contents, Label, Parcel};
use crate::port::software_offload::Scratch;
use crate::sys::netdevice::{self, LinkIndex};
use crate::sys::packet_options::{self as options, HEADER_LEN, Received};
use crate::sys::watch::Watch;

/// What is received and sent by a packet socket.
#[derive(Debug)]
pub(crate) struct PacketQueue {
    /// `None`: there is no device yet, or no longer one. With the next one there is another queue.
    attached: Option<Attached>,
    /// The switch's part of the host's address, if it has one.
    leases: Option<Bits>,
    watch: Option<Watch>,
    scratch: Scratch,
}

/// The socket on a device.
#[derive(Debug)]
struct Attached {
    socket: OwnedFd,
    ring: FrameRing,
    index: LinkIndex,
}

impl PacketQueue {
    /// Makes it of a parcel.
    pub(crate) fn open(parcel: Parcel) -> io::Result<Box<dyn Queue>> {
        let Label { device, is_new, is_shared, .. } = parcel.label;
        let mut contents = Contents::new(parcel.descriptors);
        let attached = device.map(LinkIndex::new).map(|index| {
            let socket = contents.next()?;
            let ring = FrameRing::map(&socket, is_new)?;
            Ok::<_, io::Error>(Attached { socket, ring, index })
        });
        let attached = attached.transpose()?;
        let leases = is_shared.then(|| Bits::map(&contents.next()?)).transpose()?;
        Ok(Box::new(Self { attached, leases, watch: None, scratch: Scratch::new() }))
    }
}

impl Queue for PacketQueue {
    fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx> {
        let Some(attached) = &mut self.attached else { return Ok(Rx::Drained) };
        Ok(attached.receive(burst).unwrap_or_else(|loss| {
            let gone = self.attached.take_if(|_| loss == LinkLoss::DeviceGone);
            if let (Some(gone), Some(watch)) = (gone, &self.watch) {
                // It was watched, and nothing comes of it any more.
                let _ = watch.remove(&gone.socket);
            }
            Rx::LinkDown(loss)
        }))
    }

    fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        self.scratch.send_each(burst, list, OffloadSet::ALL, counters, |offload, bytes| {
            match &self.attached {
                Some(attached) => send(&attached.socket, offload, bytes),
                None => Err(DropReason::TxLinkDown),
            }
        });
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let watch = Watch::new(registry, token)?;
        if let Some(attached) = &self.attached {
            watch.readable(&attached.socket)?;
        }
        self.watch = Some(watch);
        Ok(())
    }

    fn deregister(&mut self, _registry: &Registry) -> io::Result<()> {
        let watch = self.watch.take().ok_or(io::ErrorKind::NotFound)?;
        self.attached.as_ref().map_or(Ok(()), |attached| watch.remove(&attached.socket))
    }

    fn offloads(&self) -> OffloadSet {
        OffloadSet::ALL
    }

    fn count_missed(&self, counters: &mut PortCounters) {
        let missed = self.attached.as_ref().map_or(0, |attached| options::take_drops(&attached.socket));
        counters.drops.count_many(DropReason::RxQueueFull, missed.into());
    }

    fn lease(&self, protocol: Protocol, port: u16, is_leased: bool) {
        if let Some(bits) = &self.leases {
            bits.lease(protocol, port, is_leased);
        }
    }
}

impl Attached {
    fn receive(&mut self, burst: &mut Burst) -> Result<Rx, LinkLoss> {
        while let Some(mut slot) = burst.slot() {
            let buffer = &mut slot.buffer()[HEADROOM - HEADER_LEN..];
            let (len, offload) = match self.ring.receive(&self.socket, buffer) {
                Ok(received) => match restore(&received, buffer) {
                    Ok((len, offload)) => (len, Ok(offload)),
                    Err(reason) => (received.len.saturating_sub(HEADER_LEN), Err(reason)),
                },
                Err(Errno::AGAIN) => return Ok(Rx::Drained),
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => (0, Err(DropReason::RxQueueFull)),
                // A super-frame of a kind that the header has no word for.
                Err(Errno::INVAL) => (0, Err(DropReason::BadOffload)),
                Err(_) => match netdevice::is_running(&self.socket, self.index) {
                    Ok(true) => continue,
                    Ok(_) => return Err(LinkLoss::DeviceDown),
                    Err(_) => return Err(LinkLoss::DeviceGone),
                },
            };
            slot.commit(len, offload.unwrap_or(Offload::NONE));
            if let (Err(reason), Some(meta)) = (offload, burst.metas_mut().last_mut()) {
                meta.drop(reason);
            }
        }
        Ok(Rx::More)
    }
}

/// Makes the frame in `buffer` what it was on the wire: its length, and its offload.
fn restore(received: &Received, buffer: &mut [u8]) -> Result<(usize, Offload), DropReason> {
    let len = received.len.checked_sub(HEADER_LEN).ok_or(DropReason::FrameTooShort)?;
    let tagged_len = len + received.tag.map_or(0, |tag| tag.len());
    if received.is_cut || tagged_len > MAX_FRAME {
        return Err(DropReason::FrameTooLong);
    }
    let mut header = [0; VNET_HDR_LEN];
    header[..HEADER_LEN].copy_from_slice(&buffer[..HEADER_LEN]);
    let mut offload = Offload::decode(&header, len)?;
    let Some(tag) = received.tag else { return Ok((len, offload)) };
    if len < MACS {
        return Err(DropReason::FrameTooShort);
    }
    let frame = &mut buffer[HEADER_LEN..HEADER_LEN + tagged_len];
    frame.copy_within(MACS..len, MACS + tag.len());
    frame[MACS..MACS + tag.len()].copy_from_slice(&tag);
    if offload.needs_checksum {
        let csum_start = offload.csum_start.checked_add(tag.len() as u16);
        offload.csum_start = csum_start.ok_or(DropReason::BadOffload)?;
    }
    Ok((tagged_len, offload))
}

/// Destination and source address.
const MACS: usize = 12;
