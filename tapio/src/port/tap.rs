//! A tap: the switch holds the userspace end, the kernel's network device is the other side.
//!
//! ```text
//! read(2), write(2):  [virtio_net_hdr 12][frame …]      one call per frame, header and frame contiguous
//! ```
//!
//! * A call costs about 400 ns (read) or 600 ns (write) whatever the frame's size, so offloads, which make frames
//!   few and large, are what makes a tap fast.
//! * A device that this process creates goes with it. A persistent one that is there already stays and gets back the
//!   address, MAC, MTU and state that it had.
//! * While the device is down, reads find nothing and writes fail with EIO. When it is deleted, both fail with
//!   EBADFD.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use packet::{
    Burst, DropReason, HEADROOM, Ipv4Cidr, MAX_FRAME, MacAddr, Offload, OffloadSet, PortCounters, TxEntry,
    VNET_HDR_LEN,
};
use rustix::io::Errno;

use crate::device::link::{Link, LinkChange, Links};
use crate::device::netns::{Netns, NetnsHandle, NetnsId};
use crate::port::error::Operation;
use crate::port::error::PortError;
use crate::port::outcome::{Rx, send_each};
use crate::port::software_offload::Scratch;
use crate::sys::tap_ioctl;

/// What a tap is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TapConfig {
    /// The device's name: 1 to 15 characters.
    pub device: String,
    /// The namespace that the device is in; `None`: this process's.
    pub netns: Option<Netns>,
    /// MAC address of the network device, the tap's other side; `None`: the kernel chooses, or it stays as found.
    pub mac: Option<MacAddr>,
    /// The largest layer-3 packet, in bytes: 68 to 65 521; `None`: the kernel chooses, or it stays as found, and whoever
    /// changes it is followed.
    pub mtu: Option<u16>,
    /// An address for the network device.
    pub peer_address: Option<Ipv4Cidr>,
    /// Super-frames and unfinished checksums in both directions. Without it, the port takes and gives ordinary frames
    /// only.
    pub offload: bool,
}

impl Default for TapConfig {
    fn default() -> Self {
        Self { device: String::new(), netns: None, mac: None, mtu: None, peer_address: None, offload: true }
    }
}

/// The userspace end of a tap.
#[derive(Debug)]
pub struct TapPort {
    tun: OwnedFd,
    links: Links,
    config: TapConfig,
    /// Where the device is; `None` if /proc doesn't tell.
    netns: Option<NetnsId>,
    link: Link,
    /// The device was there before: give it back as it was in `link`.
    found: bool,
    /// The address that this port gave the device.
    added_address: Option<Ipv4Cidr>,
    /// The one that it is to lose when nothing can be in the way of the change any more.
    leaving_address: Option<Ipv4Cidr>,
    offloads: OffloadSet,
    scratch: Scratch,
}

/// How a tap was before a change.
#[derive(Debug)]
pub(crate) struct TapBefore {
    config: TapConfig,
    link: LinkChange,
    address: Option<Ipv4Cidr>,
}

impl TapPort {
    /// Creates the tap, or attaches to a persistent one, configures it and brings it up.
    ///
    /// # Errors
    /// The device can't be had as configured; the error says what to do. A device that was there before is as it was.
    pub fn open(config: &TapConfig) -> Result<Self, PortError> {
        let Some(netns) = &config.netns else { return Self::open_here(config) };
        let (device, name) = (&config.device, netns.to_string());
        let handle = netns.open().map_err(PortError::when(Operation::OpenNetns(name.clone()), device))?;
        handle
            .enter(|| Self::open_here(config))
            .map_err(PortError::when(Operation::EnterNetns(name), device))?
    }

    fn open_here(config: &TapConfig) -> Result<Self, PortError> {
        let device = &config.device;
        if !is_device_name(device) {
            return Err(PortError::when(Operation::CheckName, device)(Errno::INVAL));
        }
        let tun = tap_ioctl::open_tun().map_err(PortError::when(Operation::OpenTun, device))?;
        tap_ioctl::attach(&tun, device, tap_ioctl::TAP)
            .map_err(PortError::when(Operation::Attach, device))?;
        let found = tap_ioctl::is_persistent(&tun).map_err(PortError::when(Operation::Attach, device))?;
        tap_ioctl::set_header_size(&tun, VNET_HDR_LEN)
            .map_err(PortError::when(Operation::SetHeaderSize, device))?;
        let links = Links::open().map_err(PortError::when(Operation::OpenNetlink, device))?;
        let link = links.find(device).map_err(PortError::when(Operation::Attach, device))?;
        let mut port = Self {
            tun,
            links,
            config: config.clone(),
            netns: NetnsHandle::current().and_then(|netns| netns.id()).ok(),
            link,
            found,
            added_address: None,
            leaving_address: None,
            offloads: OffloadSet::NONE,
            scratch: Scratch::new(),
        };
        port.apply(config)?;
        port.set_link(&LinkChange { up: Some(true), ..LinkChange::default() })?;
        Ok(port)
    }

    /// Changes MAC, MTU, address and offloads of the live device, and says how it was. An address that is to go stays
    /// until [`settle`](Self::settle): with it, routes would be gone.
    ///
    /// # Errors
    /// The system refuses a value, or `config` is about another device. Nothing has changed then.
    pub(crate) fn reconfigure(&mut self, config: &TapConfig) -> Result<TapBefore, PortError> {
        if config.device != self.config.device {
            return Err(PortError::when(Operation::Move, &config.device)(Errno::INVAL));
        }
        self.settle();
        let link = self.link().map_err(PortError::when(Operation::ConfigureLink, &config.device))?;
        if self.config.mtu.is_none() {
            self.link.mtu = link.mtu;
        }
        let before = TapBefore {
            config: self.config.clone(),
            link: LinkChange { mac: Some(link.mac), mtu: Some(link.mtu), up: None },
            address: self.added_address,
        };
        match self.apply(config) {
            Ok(()) => {
                self.config = config.clone();
                Ok(before)
            }
            Err(error) => {
                self.take_back(before);
                Err(error)
            }
        }
    }

    /// Takes a change back. What fails can't be helped: then the device is gone.
    pub(crate) fn take_back(&mut self, TapBefore { config, link, address }: TapBefore) {
        self.leaving_address = None;
        if self.added_address != address
            && let Some(address) = std::mem::replace(&mut self.added_address, address)
        {
            let _ = self.links.remove_address(self.link.index, address);
        }
        let _ = self.set_link(&link);
        if let Ok(offloads) = offer_offloads(&self.tun, config.offload) {
            self.offloads = offloads;
        }
        self.config = config;
    }

    /// The end of a change.
    pub(crate) fn settle(&mut self) {
        let Some(address) = self.leaving_address.take() else { return };
        // It is gone where somebody else has taken it away.
        let _ = self.links.remove_address(self.link.index, address);
        if let Some(address) = self.added_address {
            // The kernel takes an address of the same subnet away with the one before it.
            let _ = self.links.add_address(self.link.index, address);
        }
    }

    pub(crate) fn device(&self) -> &str {
        &self.config.device
    }

    pub(crate) fn netns(&self) -> Option<NetnsId> {
        self.netns
    }

    fn apply(&mut self, config: &TapConfig) -> Result<(), PortError> {
        self.offloads = offer_offloads(&self.tun, config.offload)
            .map_err(PortError::when(Operation::SetOffload, &config.device))?;
        // One that was set goes back to what it was when it is set no more.
        let unset = self.config.mtu.map(|_| self.link.mtu).filter(|_| config.mtu.is_none());
        let mtu = config.mtu.map(u32::from).or(unset);
        self.set_link(&LinkChange { mac: config.mac, mtu, up: None })?;
        self.set_address(config.peer_address).map_err(PortError::when(Operation::SetAddress, &config.device))
    }

    /// Changes what differs only: a user may open a tap of theirs that root has set up.
    fn set_link(&self, wanted: &LinkChange) -> Result<(), PortError> {
        let change = || {
            let link = self.link()?;
            if wanted.is_met_by(&link) { Ok(()) } else { self.links.change(link.index, wanted) }
        };
        change().map_err(PortError::when(Operation::ConfigureLink, &self.config.device))
    }

    /// Adds `address`; the one that was added before is to leave.
    fn set_address(&mut self, address: Option<Ipv4Cidr>) -> io::Result<()> {
        if self.added_address.is_some() && self.added_address == address {
            return Ok(());
        }
        let added = match address.map(|address| self.links.add_address(self.link.index, address)) {
            None => None,
            Some(Ok(())) => address,
            Some(Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => None,
            Some(Err(error)) => return Err(error),
        };
        self.leaving_address = std::mem::replace(&mut self.added_address, added);
        Ok(())
    }

    /// The network device as the kernel sees it now.
    ///
    /// # Errors
    /// It is gone, or in another namespace.
    pub fn link(&self) -> io::Result<Link> {
        self.links.get(self.link.index)
    }

    pub(crate) fn link_up(&self) -> bool {
        self.links.is_running(self.link.index).unwrap_or(false)
    }

    /// The device's MTU, if nobody has set it here.
    pub(crate) fn own_mtu(&self) -> Option<u32> {
        self.links.mtu(self.link.index).ok().filter(|_| self.config.mtu.is_none())
    }

    pub(crate) fn offloads(&self) -> OffloadSet {
        self.offloads
    }

    pub(crate) fn rx_burst(&mut self, burst: &mut Burst) -> io::Result<Rx> {
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

    pub(crate) fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        send_each(burst, list, counters, |meta, bytes| {
            self.scratch.send(meta, bytes, self.offloads, |offload, bytes| write(&self.tun, offload, bytes))
        });
    }

    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        SourceFd(&self.tun.as_raw_fd()).register(registry, token, Interest::READABLE)
    }

    pub(crate) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.tun.as_raw_fd()).deregister(registry)
    }
}

/// The descriptor to read and write: frames behind a `virtio_net_hdr` of [`VNET_HDR_LEN`] bytes.
impl AsFd for TapPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tun.as_fd()
    }
}

impl Drop for TapPort {
    /// Gives a device that was there before back as it was. Errors are of no use here: then the device is gone.
    fn drop(&mut self) {
        if !self.found {
            return;
        }
        self.settle();
        let _ = self.set_address(None);
        self.settle();
        let _ = tap_ioctl::set_offload(&self.tun, 0);
        let before = LinkChange {
            mac: self.config.mac.map(|_| self.link.mac),
            mtu: self.config.mtu.map(|_| self.link.mtu),
            up: Some(self.link.up),
        };
        let _ = self.set_link(&before);
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

/// Asks for everything, without UDP segmentation if the kernel is older than 6.2 and doesn't know it.
fn offer_offloads(tun: &OwnedFd, wanted: bool) -> rustix::io::Result<OffloadSet> {
    const TSO: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    const USO: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    if !wanted {
        return tap_ioctl::set_offload(tun, 0).map(|()| OffloadSet::NONE);
    }
    match tap_ioctl::set_offload(tun, TSO | USO) {
        Ok(()) => Ok(OffloadSet::ALL),
        Err(Errno::INVAL) => {
            tap_ioctl::set_offload(tun, TSO).map(|()| OffloadSet { uso: false, ..OffloadSet::ALL })
        }
        Err(error) => Err(error),
    }
}

/// What the kernel takes as a name, and doesn't take for a pattern.
fn is_device_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || matches!(c, '/' | ':' | '%' | '\0');
    !name.is_empty() && name.len() < libc::IF_NAMESIZE && name != "." && name != ".." && !name.contains(bad)
}
