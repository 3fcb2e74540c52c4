//! A packet port: the switch on the kernel's side of any network device, through a packet socket. packet(7).
//!
//! ```text
//! guest ── QEMU ── /dev/net/tun ── netdev tap1 ─┬─ packet socket ── switch
//!                                               └─✗ the host's stack
//! ring, recvmsg(2), send(2):  [virtio_net_hdr 10][frame …]     super-frames whole
//! ```
//!
//! * The device must exist at some time, not at the start: the port takes it when it comes, and again when it comes
//!   back. Until then its link is down.
//! * The kernel takes a frame's outer VLAN tag off before a packet socket sees it and tells it beside the frame; the port
//!   puts it back.
//! * While the port has the device it is up, promiscuous, has at least the port's MTU if that is set, and the host's own
//!   stack neither hears nor says anything on it, unless asked to. All of that ends with the port; if the process is killed,
//!   the host stays silent where it had no use of the device.

mod ring;
mod send;

use std::io;
use std::os::fd::OwnedFd;

use mio::{Registry, Token};
use packet::{
    Burst, DropReason, HEADROOM, MAX_FRAME, Offload, PortCounters, Protocol, TxEntry, VNET_HDR_LEN,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use self::ring::FrameRing;
use self::send::send;
use crate::device::claim::Claim;
use crate::device::host_use::HostUse;
use crate::device::link::{Link, LinkChange, Links};
use crate::device::netns::{Netns, NetnsHandle, NetnsId};
use crate::device::shared_address::{Fence, Share, SharedAddress};
use crate::device::silence::{Remains, Silence};
use crate::port::error::Operation;
use crate::port::error::PortError;
use crate::port::outcome::{LinkLoss, Rx, send_each};
use crate::sys::packet_options::{self as options, HEADER_LEN, Received};
use crate::sys::watch::Watch;

/// What a packet port is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketConfig {
    /// The device's name.
    pub device: String,
    /// The namespace that the device is in; `None`: this process's.
    pub netns: Option<Netns>,
    /// The largest layer-3 packet, in bytes: the device's is raised to it where it is smaller. `None`: the device's own.
    pub mtu: Option<u16>,
    /// What the host's own stack has of the device.
    pub host: HostStack,
}

/// What the host's own stack has of a device that the switch is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostStack {
    /// Nothing: the device is the switch's alone.
    Silent {
        /// Also if the host has addresses or a default route on it.
        take_over: bool,
    },
    /// Everything, beside the switch.
    Beside,
    /// Everything but the switch's ports of an address that both have.
    Shared(SharedAddress),
}

/// The switch's socket on a network device.
#[derive(Debug)]
pub struct PacketPort {
    config: PacketConfig,
    netns: Option<NetnsHandle>,
    /// The switch's part of the host's address, if it has one.
    share: Option<Share>,
    /// `None` while there is none of this name.
    device: Option<Device>,
    /// Why the one that is there can't be had.
    refusal: Option<PortError>,
    watch: Option<Watch>,
}

/// How a packet port was before a change.
#[derive(Debug)]
pub(crate) struct PacketBefore(PacketConfig);

impl PacketPort {
    /// Takes the device, if it is there.
    ///
    /// # Errors
    /// There is no such namespace, or the device can't be had as configured; the error says what to do.
    pub fn open(config: &PacketConfig) -> Result<Self, PortError> {
        let netns = match &config.netns {
            Some(netns) => Some(
                netns
                    .open()
                    .map_err(PortError::when(Operation::OpenNetns(netns.to_string()), &config.device))?,
            ),
            None => None,
        };
        let share = match &config.host {
            HostStack::Shared(shared) => {
                let share = Share::new().map_err(PortError::when(Operation::ShareAddress, &config.device))?;
                share.set(shared);
                Some(share)
            }
            HostStack::Silent { .. } | HostStack::Beside => None,
        };
        let mut port =
            Self { config: config.clone(), netns, share, device: None, refusal: None, watch: None };
        port.attach()?;
        Ok(port)
    }

    /// Changes the MTU of the live device, and what the switch has of the host's address, and says how it was.
    ///
    /// # Errors
    /// The device can't be as `config` says. Nothing has changed then.
    pub(crate) fn reconfigure(&mut self, config: &PacketConfig) -> Result<PacketBefore, PortError> {
        let before = PacketBefore(self.config.clone());
        self.become_as(config).inspect_err(|_| self.take_back(PacketBefore(before.0.clone())))?;
        Ok(before)
    }

    /// Takes a change back. What fails can't be helped: then the device is gone.
    pub(crate) fn take_back(&mut self, PacketBefore(config): PacketBefore) {
        let _ = self.become_as(&config);
        self.config = config;
    }

    fn become_as(&mut self, config: &PacketConfig) -> Result<(), PortError> {
        if let Some(device) = &mut self.device {
            device.configure(config)?;
        }
        if let (Some(share), HostStack::Shared(shared)) = (&self.share, &config.host) {
            share.set(shared);
        }
        self.config = config.clone();
        Ok(())
    }

    /// A port of the address that the switch shares with the host is in use for a guest, or no longer is.
    pub fn lease(&self, protocol: Protocol, port: u16, is_leased: bool) {
        if let Some(share) = &self.share {
            share.lease(protocol, port, is_leased);
        }
    }

    /// Whether what the host has of the device is what `config` says, or can become so while the port has it.
    pub(crate) fn can_become(&self, config: &PacketConfig) -> bool {
        let both_share =
            matches!((&self.config.host, &config.host), (HostStack::Shared(_), HostStack::Shared(_)));
        both_share || self.config.host == config.host
    }

    pub(crate) fn device(&self) -> &str {
        &self.config.device
    }

    pub(crate) fn netns(&self) -> Option<NetnsId> {
        self.netns.as_ref().map_or_else(|| NetnsId::find(None), NetnsHandle::id).ok()
    }

    /// Takes the device if it is there now.
    fn attach(&mut self) -> Result<(), PortError> {
        let Self { config, share, .. } = self;
        let share = share.as_ref();
        let device = in_namespace(config, self.netns.as_ref(), || Device::open(config, share))??;
        if let (Some(device), Some(watch)) = (&device, &self.watch) {
            watch.readable(&device.socket).map_err(PortError::when(Operation::Watch, &self.config.device))?;
        }
        self.device = device;
        Ok(())
    }

    pub(crate) fn lacks_device(&self) -> bool {
        self.device.as_ref().is_none_or(|device| device.running().is_err())
    }

    pub(crate) fn link_up(&mut self) -> bool {
        if self.lacks_device() {
            self.device = None;
            self.refusal = self.attach().err();
        }
        self.device.as_ref().is_some_and(Device::is_running)
    }

    pub(crate) fn take_refusal(&mut self) -> Option<PortError> {
        self.refusal.take()
    }

    /// The device's MTU, if nobody has set it here.
    pub(crate) fn own_mtu(&self) -> Option<u32> {
        let device = self.device.as_ref().filter(|_| self.config.mtu.is_none())?;
        device.links.mtu(device.before.index).ok()
    }

    pub(crate) fn rx_burst(&mut self, burst: &mut Burst) -> Rx {
        let Some(device) = &mut self.device else { return Rx::Drained };
        match device.rx_burst(burst) {
            Ok(rx) => rx,
            Err(LinkLoss::DeviceGone) => {
                self.device = None;
                Rx::LinkDown(LinkLoss::DeviceGone)
            }
            Err(loss) => Rx::LinkDown(loss),
        }
    }

    pub(crate) fn tx_burst(&mut self, burst: &mut Burst, list: &[TxEntry], counters: &mut PortCounters) {
        send_each(burst, list, counters, |meta, bytes| match &self.device {
            Some(device) => send(&device.socket, meta.offload, bytes),
            None => Err(DropReason::TxLinkDown),
        });
    }

    /// Frames that the kernel has dropped since the last call because the ring was full.
    pub(crate) fn missed(&self) -> u32 {
        self.device.as_ref().map_or(0, |device| options::take_drops(&device.socket))
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let watch = Watch::new(registry, token)?;
        if let Some(device) = &self.device {
            watch.readable(&device.socket)?;
        }
        self.watch = Some(watch);
        Ok(())
    }

    pub(crate) fn deregister(&mut self) -> io::Result<()> {
        let watch = self.watch.take().ok_or(io::ErrorKind::NotFound)?;
        self.device.as_ref().map_or(Ok(()), |device| watch.remove(&device.socket))
    }
}

/// A device that the port has.
#[derive(Debug)]
struct Device {
    socket: OwnedFd,
    ring: FrameRing,
    links: Links,
    /// As it was found.
    before: Link,
    /// Whether its MTU was set.
    has_mtu: bool,
    _host: Option<HostProgram>,
    _claim: Option<Claim>,
}

/// What keeps the host's stack off the device, or off a part of it.
#[derive(Debug)]
enum HostProgram {
    Silence { _silence: Silence },
    Fence { _fence: Fence },
}

impl HostProgram {
    /// What `config` wants of the host, in place of what `remains`, on the device that was as `before`.
    fn on(
        before: &Link,
        remains: Remains,
        config: &PacketConfig,
        share: Option<&Share>,
        socket: &OwnedFd,
    ) -> Result<Option<Self>, PortError> {
        let name = &config.device;
        let program = match (&config.host, share) {
            (HostStack::Silent { take_over }, _) => {
                let stays = match remains {
                    Remains::Left(_) => true,
                    Remains::InUse => false,
                    // Who has a use for the device has it back when the switch is killed.
                    Remains::Nothing => !before.up || !take_over || !is_used_by_the_host(name),
                };
                let mtu = config.mtu.map(|_| before.mtu);
                let kept = if stays { Silence::kept_on(before, mtu, &remains, socket).ok() } else { None };
                if let Some(silence) = kept {
                    return Ok(Some(Self::Silence { _silence: silence }));
                }
                let silence = Silence::on(before.index, socket);
                let silence = silence.map_err(PortError::when(Operation::SilenceHost, name))?;
                Some(Self::Silence { _silence: silence })
            }
            (HostStack::Shared(_), Some(share)) => {
                let fence = share.filter(socket).and_then(|()| share.fence(before.index));
                let fence = fence.map_err(PortError::when(Operation::ShareAddress, name))?;
                Some(Self::Fence { _fence: fence })
            }
            (HostStack::Shared(_) | HostStack::Beside, _) => None,
        };
        remains.remove();
        Ok(program)
    }
}

impl Device {
    /// Takes the device of the calling thread's namespace; `None` if there is none.
    fn open(config: &PacketConfig, share: Option<&Share>) -> Result<Option<Self>, PortError> {
        let name = &config.device;
        let links = Links::open().map_err(PortError::when(Operation::OpenNetlink, name))?;
        let found = match links.find(name) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => return Ok(None),
            found => found.map_err(PortError::when(Operation::FindDevice, name))?,
        };
        if !found.is_ethernet {
            return Err(PortError::when(Operation::TakeLayer3, name)(Errno::OPNOTSUPP));
        }
        let claim = Claim::to(found.index)
            .map_err(|holder| PortError::when(Operation::Claim(holder), name)(Errno::BUSY))?;
        if config.host == (HostStack::Silent { take_over: false }) {
            refuse_what_the_host_uses(name)?;
        }
        let remains = Remains::on(found.index);
        let (before, has_mtu) = remains.before(found);
        let (socket, ring) = open_socket().map_err(PortError::when(Operation::OpenPacketSocket, name))?;
        let host = HostProgram::on(&before, remains, config, share, &socket)?;
        let is_shared = share.is_some();
        let mut device = Self { socket, ring, links, before, has_mtu, _host: host, _claim: claim };
        bind_socket(&device.socket, &device.before, is_shared)
            .map_err(PortError::when(Operation::OpenPacketSocket, name))?;
        device.configure(config)?;
        Ok(Some(device))
    }

    fn configure(&mut self, config: &PacketConfig) -> Result<(), PortError> {
        if let (false, Ok(link)) = (self.has_mtu, self.link()) {
            self.before.mtu = link.mtu;
        }
        let raised = config.mtu.map(|mtu| self.before.mtu.max(mtu.into()));
        // One that was set goes back to what it was when it is set no more.
        let mtu = raised.or(self.has_mtu.then_some(self.before.mtu));
        let wanted = LinkChange { mtu, up: Some(true), mac: None };
        self.change(&wanted).map_err(PortError::when(Operation::ConfigureLink, &config.device))?;
        self.has_mtu = raised.is_some();
        // Who asks by rtnetlink has the kernel look at the carrier now, not some milliseconds later.
        let _ = self.link();
        Ok(())
    }

    fn change(&self, wanted: &LinkChange) -> io::Result<()> {
        if wanted.is_met_by(&self.link()?) { Ok(()) } else { self.links.change(self.before.index, wanted) }
    }

    fn link(&self) -> io::Result<Link> {
        self.links.get(self.before.index)
    }

    fn is_running(&self) -> bool {
        self.running().unwrap_or(false)
    }

    fn running(&self) -> io::Result<bool> {
        self.links.is_running(self.before.index)
    }

    fn rx_burst(&mut self, burst: &mut Burst) -> Result<Rx, LinkLoss> {
        while let Some(mut slot) = burst.slot() {
            let buffer = &mut slot.buffer()[HEADROOM - HEADER_LEN..];
            let (len, offload) = match self.ring.receive(&self.socket, buffer) {
                Ok(received) => match Self::restore(&received, buffer) {
                    Ok((len, offload)) => (len, Ok(offload)),
                    Err(reason) => (received.len.saturating_sub(HEADER_LEN), Err(reason)),
                },
                Err(Errno::AGAIN) => return Ok(Rx::Drained),
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => (0, Err(DropReason::RxQueueFull)),
                // A super-frame of a kind that the header has no word for.
                Err(Errno::INVAL) => (0, Err(DropReason::BadOffload)),
                Err(_) => match self.running() {
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
}

impl Drop for Device {
    /// Gives the device back as it was. Errors are of no use here: then it is gone.
    fn drop(&mut self) {
        let mtu = self.has_mtu.then_some(self.before.mtu);
        let _ = self.change(&LinkChange { mtu, up: Some(self.before.up), mac: None });
    }
}

/// The host would be cut off without warning.
fn refuse_what_the_host_uses(device: &str) -> Result<(), PortError> {
    let found = HostUse::here(device).map_err(PortError::when(Operation::FindDevice, device))?;
    match found.and_then(|found| found.what()) {
        Some(what) => Err(PortError::when(Operation::TakeOver(what), device)(Errno::BUSY)),
        None => Ok(()),
    }
}

fn is_used_by_the_host(device: &str) -> bool {
    HostUse::here(device).ok().flatten().is_some_and(|found| found.what().is_some())
}

/// A socket, which nothing comes to yet, and its ring.
fn open_socket() -> io::Result<(OwnedFd, FrameRing)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // Protocol 0: nothing is received before it is bound to the device.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    for option in OPTIONS {
        options::enable(&socket, option)?;
    }
    options::set_queues(&socket, QUEUE_BYTES)?;
    let ring = FrameRing::new(&socket)?;
    Ok((socket, ring))
}

/// Where the address is the host's too, nothing comes for any other.
fn bind_socket(socket: &OwnedFd, link: &Link, is_shared: bool) -> io::Result<()> {
    if !is_shared {
        options::be_promiscuous(socket, link.index)?;
    }
    options::bind(socket, link.index, libc::ETH_P_ALL as u16)
}

/// Runs `f` where the device is.
fn in_namespace<R: Send>(
    config: &PacketConfig,
    netns: Option<&NetnsHandle>,
    f: impl FnOnce() -> R + Send,
) -> Result<R, PortError> {
    match (netns, &config.netns) {
        (Some(handle), Some(netns)) => {
            handle.enter(f).map_err(PortError::when(Operation::EnterNetns(netns.to_string()), &config.device))
        }
        _ => Ok(f()),
    }
}

/// Not `PACKET_QDISC_BYPASS`: what goes past the queueing discipline goes past tcpdump, too.
const OPTIONS: [libc::c_int; 3] = [libc::PACKET_VNET_HDR, libc::PACKET_IGNORE_OUTGOING, libc::PACKET_AUXDATA];

/// Destination and source address.
const MACS: usize = 12;

/// Bytes that may wait in each direction, of which the kernel counts half; when receiving, those of long frames. About 400
/// super-frames, where a tap's queue takes 1000. The kernel's own default holds two or three. With 4 MiB, four TCP streams
/// between two ports overran it (842 to 40 582 retransmissions in 4 seconds); with 16 MiB there were 0 to 97.
const QUEUE_BYTES: u32 = 16 << 20;
