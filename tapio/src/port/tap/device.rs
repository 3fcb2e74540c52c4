//! The device of a tap: its settings, what was changed of it, and how it was found.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use packet::{Ipv4Cidr, MacAddr, OffloadSet, VNET_HDR_LEN};
use rustix::io::Errno;

use crate::device::link::{Link, LinkChange, Links};
use crate::device::netns::{Netns, NetnsHandle, NetnsId};
use crate::port::error::{Operation, PortError};
use crate::port::kind::{Device, Opener, Settings, own_mtu};
use crate::port::parcel::{Label, Parcel, copy};
use crate::port::tap::queue::TapQueue;
use crate::sys::tap_ioctl;

/// The word for this kind.
pub(crate) const KIND: &str = "tap";

/// Settings of a tap.
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

impl Settings for TapConfig {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn device(&self) -> Cow<'_, str> {
        self.device.as_str().into()
    }

    fn network_device(&self) -> Option<(&str, Option<&Netns>)> {
        Some((&self.device, self.netns.as_ref()))
    }

    fn has_own_mtu(&self) -> bool {
        self.mtu.is_none()
    }

    fn same_device(&self, other: &dyn Settings) -> bool {
        let same = |other: &Self| self.network_device() == other.network_device();
        other.of().is_some_and(same)
    }

    fn open(&self) -> Result<Box<dyn Device>, PortError> {
        Ok(Box::new(TapDevice::open(self)?))
    }
}

/// A tap.
#[derive(Debug)]
pub struct TapDevice {
    /// The userspace end, of which the queue has a copy.
    tun: OwnedFd,
    links: Links,
    config: TapConfig,
    /// Where the device is; `None` if /proc doesn't tell.
    netns: Option<NetnsId>,
    link: Link,
    /// The device was there before: give it back as it was in `link`.
    found: bool,
    /// The address that this gave the device.
    added_address: Option<Ipv4Cidr>,
    /// The one that it is to lose when nothing can be in the way of the change any more.
    leaving_address: Option<Ipv4Cidr>,
    offloads: OffloadSet,
    /// The offloads that the queue knows of, once it was handed out.
    handed_out: Option<OffloadSet>,
    /// Until the last change is settled.
    before: Option<Before>,
}

/// How a tap was before a change.
#[derive(Debug)]
struct Before {
    config: TapConfig,
    link: LinkChange,
    address: Option<Ipv4Cidr>,
}

impl TapDevice {
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
            handed_out: None,
            before: None,
        };
        port.apply(config)?;
        port.set_link(&LinkChange { up: Some(true), ..LinkChange::default() })?;
        Ok(port)
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
}

impl Device for TapDevice {
    fn settings(&self) -> &dyn Settings {
        &self.config
    }

    fn parcel(&mut self) -> Result<Parcel, PortError> {
        let tun = copy(&self.tun).map_err(PortError::when(Operation::HandOver, &self.config.device))?;
        self.handed_out = Some(self.offloads);
        let OffloadSet { checksum, tso, uso } = self.offloads;
        Ok(Parcel {
            label: Label { offloads: [checksum, tso, uso], ..Label::of(KIND) },
            descriptors: vec![tun],
        })
    }

    fn opener(&self) -> Opener {
        TapQueue::open
    }

    fn needs_queue(&self) -> bool {
        self.handed_out != Some(self.offloads)
    }

    /// Changes MAC, MTU, address and offloads of the live device. An address that is to go stays until
    /// [`settle`](Self::settle): with it, routes would be gone.
    fn reconfigure(&mut self, wanted: &dyn Settings) -> Result<(), PortError> {
        let is_ours = |config: &&TapConfig| config.device == self.config.device;
        let Some(config) = wanted.of().filter(is_ours) else {
            return Err(PortError::when(Operation::Move, &wanted.device())(Errno::INVAL));
        };
        self.settle();
        let link = self.link().map_err(PortError::when(Operation::ConfigureLink, &config.device))?;
        if self.config.mtu.is_none() {
            self.link.mtu = link.mtu;
        }
        self.before = Some(Before {
            config: self.config.clone(),
            link: LinkChange { mac: Some(link.mac), mtu: Some(link.mtu), up: None },
            address: self.added_address,
        });
        self.apply(config).inspect_err(|_| self.take_back())?;
        self.config = config.clone();
        Ok(())
    }

    /// What fails can't be helped: then the device is gone.
    fn take_back(&mut self) {
        let Some(Before { config, link, address }) = self.before.take() else { return };
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

    fn settle(&mut self) {
        self.before = None;
        let Some(address) = self.leaving_address.take() else { return };
        // It is gone where somebody else has taken it away.
        let _ = self.links.remove_address(self.link.index, address);
        if let Some(address) = self.added_address {
            // The kernel takes an address of the same subnet away with the one before it.
            let _ = self.links.add_address(self.link.index, address);
        }
    }

    fn is(&self, wanted: &dyn Settings) -> bool {
        wanted.of::<TapConfig>().is_some() && (self as &dyn Device).has_device_of(wanted)
    }

    fn link_up(&mut self) -> bool {
        self.links.is_running(self.link.index).unwrap_or(false)
    }

    fn netns(&self) -> Option<NetnsId> {
        self.netns
    }

    fn own_mtu(&self) -> Option<u16> {
        self.links.mtu(self.link.index).ok().filter(|_| self.config.mtu.is_none()).map(own_mtu)
    }

    fn disarm(&mut self) {
        self.found = false;
    }
}

/// The descriptor to read and write: frames behind a `virtio_net_hdr` of [`VNET_HDR_LEN`] bytes.
impl AsFd for TapDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tun.as_fd()
    }
}

impl Drop for TapDevice {
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
