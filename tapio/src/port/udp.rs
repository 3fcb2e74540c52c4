//! A udp port: one frame per UDP datagram between two addresses, as QEMU's `-netdev dgram` speaks with `type=inet`, and the
//! tunnels of GNS3, Dynamips and VirtualBox.
//!
//! ```text
//! local ◀─▶ peer      one connected socket: the kernel takes datagrams from the peer only
//! ```
//!
//! There is nothing that would tell whether somebody is at the other side, so the link is always up. What the kernel says of
//! a peer that refuses datagrams ends neither it nor the next frame.

use std::borrow::Cow;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use mio::{Registry, Token};
use packet::{
    Burst, DropReason, HEADROOM, MAX_FRAME, Offload, OffloadSet, PortCounters, TxEntry, VNET_HDR_LEN,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::port::error::{Operation, PortError};
use crate::port::kind::{Device, Opener, Queue, Settings};
use crate::port::outcome::{Rx, send_each};
use crate::port::parcel::{Contents, Label, Parcel, copy};
use crate::port::software_offload::Scratch;
use crate::sys::watch::Watch;

/// The word for this kind.
pub(crate) const KIND: &str = "udp";

/// Settings of a udp port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpConfig {
    /// The switch's address and port.
    pub local: SocketAddr,
    /// The other side's, of the same family.
    pub peer: SocketAddr,
}

impl Settings for UdpConfig {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn device(&self) -> Cow<'_, str> {
        self.local.to_string().into()
    }

    fn same_device(&self, other: &dyn Settings) -> bool {
        other.of().is_some_and(|other: &Self| self.local == other.local)
    }

    fn open(&self) -> Result<Box<dyn Device>, PortError> {
        let open = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind(self.local)?;
            socket.set_nonblocking(true)?;
            socket.connect(self.peer)?;
            Ok(socket)
        };
        let socket = open().map_err(PortError::when(Operation::Listen, &self.device()))?;
        Ok(Box::new(UdpDevice { config: self.clone(), socket, before: None, was_handed_out: false }))
    }
}

/// The socket, of which the queue has a copy: both have one peer.
#[derive(Debug)]
struct UdpDevice {
    config: UdpConfig,
    socket: UdpSocket,
    /// As it was before a change, until that is settled.
    before: Option<UdpConfig>,
    was_handed_out: bool,
}

impl Device for UdpDevice {
    fn settings(&self) -> &dyn Settings {
        &self.config
    }

    fn parcel(&mut self) -> Result<Parcel, PortError> {
        let socket =
            copy(&self.socket).map_err(PortError::when(Operation::HandOver, &self.config.device()))?;
        self.was_handed_out = true;
        Ok(Parcel { label: Label::of(KIND), descriptors: vec![socket] })
    }

    fn opener(&self) -> Opener {
        UdpQueue::open
    }

    fn needs_queue(&self) -> bool {
        !self.was_handed_out
    }

    /// Goes over to another peer.
    fn reconfigure(&mut self, wanted: &dyn Settings) -> Result<(), PortError> {
        let fail = |error: io::Error| PortError::when(Operation::Move, &wanted.device())(error);
        let config = wanted.of::<UdpConfig>().filter(|_| self.config.same_device(wanted));
        let config = config.ok_or_else(|| fail(Errno::INVAL.into()))?;
        self.socket.connect(config.peer).map_err(fail)?;
        self.before = Some(std::mem::replace(&mut self.config, config.clone()));
        Ok(())
    }

    fn take_back(&mut self) {
        if let Some(config) = self.before.take() {
            // It could be connected to before.
            let _ = self.socket.connect(config.peer);
            self.config = config;
        }
    }

    fn settle(&mut self) {
        self.before = None;
    }

    fn is(&self, wanted: &dyn Settings) -> bool {
        self.config.same_device(wanted)
    }

    /// There is nothing to give back.
    fn disarm(&mut self) {}
}

/// The connected socket, to read and write.
#[derive(Debug)]
pub(crate) struct UdpQueue {
    socket: OwnedFd,
    scratch: Scratch,
    watch: Option<Watch>,
}

impl UdpQueue {
    /// Makes it of a parcel.
    pub(crate) fn open(parcel: Parcel) -> io::Result<Box<dyn Queue>> {
        let socket = Contents::new(parcel.descriptors).next()?;
        Ok(Box::new(Self { socket, scratch: Scratch::new(), watch: None }))
    }
}

impl Queue for UdpQueue {
    fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx> {
        while let Some(mut slot) = burst.slot() {
            let buffer = &mut slot.buffer()[HEADROOM..];
            // TRUNC: the whole length, also of a datagram that doesn't fit.
            match rustix::net::recv(&self.socket, buffer, RecvFlags::TRUNC) {
                Ok((_, len)) => {
                    slot.commit(len, Offload::NONE);
                    if len > MAX_FRAME
                        && let Some(meta) = burst.metas_mut().last_mut()
                    {
                        meta.drop(DropReason::FrameTooLong);
                    }
                }
                // The peer had refused a frame of ours; there may be frames of its behind that.
                Err(Errno::INTR | Errno::CONNREFUSED) => {}
                Err(_) => return Ok(Rx::Drained),
            }
        }
        Ok(Rx::More)
    }

    fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        let socket = &self.socket;
        send_each(burst, list, counters, |meta, bytes| {
            self.scratch.send(meta, bytes, OffloadSet::NONE, |_, bytes| send(socket, &bytes[VNET_HDR_LEN..]))
        });
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let watch = Watch::new(registry, token)?;
        watch.readable(&self.socket)?;
        self.watch = Some(watch);
        Ok(())
    }

    fn deregister(&mut self, _registry: &Registry) -> io::Result<()> {
        self.watch.take().ok_or(io::ErrorKind::NotFound)?.remove(&self.socket)
    }

    fn offloads(&self) -> OffloadSet {
        OffloadSet::NONE
    }
}

/// The kernel tells of an earlier datagram that was refused in the place of sending the next: then it is sent again.
fn send(socket: &OwnedFd, frame: &[u8]) -> Result<(), DropReason> {
    for _ in 0..ATTEMPTS {
        match rustix::net::send(socket, frame, SendFlags::empty()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR | Errno::CONNREFUSED) => {}
            Err(Errno::AGAIN | Errno::NOBUFS) => return Err(DropReason::TxQueueFull),
            Err(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN) => {
                return Err(DropReason::TxLinkDown);
            }
            Err(_) => return Err(DropReason::TxRefused),
        }
    }
    Err(DropReason::TxLinkDown)
}

const ATTEMPTS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use packet::NetworkId;

    fn peer() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        socket
    }

    /// A port that is at an address that was free a moment ago.
    fn port(peer: &UdpSocket) -> (UdpConfig, Box<dyn Device>, Box<dyn Queue>) {
        let local = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = UdpConfig { local, peer: peer.local_addr().unwrap() };
        let mut device = config.open().unwrap();
        assert!(device.needs_queue());
        let queue = device.queue().unwrap();
        assert!(!device.needs_queue());
        (config, device, queue)
    }

    fn send(queue: &mut dyn Queue, frame: &[u8]) -> PortCounters {
        let (mut burst, mut counters) = (Burst::default(), PortCounters::default());
        burst.restart(None, NetworkId::new(0));
        assert!(burst.push(frame, Offload::NONE));
        queue.tx_burst(&mut burst, &[TxEntry::as_is(0)], &mut counters);
        counters
    }

    fn receive(queue: &mut dyn Queue) -> Vec<u8> {
        let mut burst = Burst::default();
        burst.restart(None, NetworkId::new(0));
        assert!(matches!(queue.rx_burst(&mut burst), Ok(Rx::Drained)));
        burst.frame_mut(0).bytes.to_vec()
    }

    fn heard(peer: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 2000];
        let len = peer.recv(&mut buffer).unwrap();
        buffer[..len].to_vec()
    }

    #[test]
    fn a_frame_is_a_datagram_both_ways_and_nobody_else_is_heard() {
        let (peer, stranger) = (peer(), peer());
        let (config, _device, mut queue) = port(&peer);
        assert_eq!(send(&mut *queue, &[7; 60]).tx_frames, 1);
        assert_eq!(heard(&peer), [7; 60]);
        stranger.send_to(&[9; 60], config.local).unwrap();
        peer.send_to(&[8; 1514], config.local).unwrap();
        assert_eq!(receive(&mut *queue), [8; 1514]);
    }

    #[test]
    fn a_peer_that_refuses_and_comes_back_loses_no_frame_that_it_is_there_for() {
        let first = peer();
        let (config, _device, mut queue) = port(&first);
        drop(first);
        // The kernel tells of the first with the second.
        for _ in 0..2 {
            send(&mut *queue, &[1; 60]);
        }
        let again = UdpSocket::bind(config.peer).unwrap();
        assert_eq!(send(&mut *queue, &[2; 60]).tx_frames, 1);
        assert_eq!(heard(&again), [2; 60]);
    }

    #[test]
    fn another_peer_is_gone_over_to_and_back() {
        let (one, two) = (peer(), peer());
        let (config, mut device, mut queue) = port(&one);
        let changed = UdpConfig { peer: two.local_addr().unwrap(), ..config.clone() };
        device.reconfigure(&changed).unwrap();
        send(&mut *queue, &[2; 60]);
        assert_eq!(heard(&two), [2; 60]);
        device.take_back();
        send(&mut *queue, &[1; 60]);
        assert_eq!((heard(&one), device.settings().of()), (vec![1; 60], Some(&config)));
        let elsewhere = UdpConfig { local: "127.0.0.1:1".parse().unwrap(), ..config };
        assert!(device.reconfigure(&elsewhere).is_err());
    }
}
