//! A network device that a packet port has: what was changed of it, and how it was found.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::device::claim::Claim;
use crate::device::host_use::HostUse;
use crate::device::link::{Link, LinkChange, Links};
use crate::device::shared_address::{Fence, Share};
use crate::device::silence::{Remains, Silence};
use crate::port::error::{Operation, PortError};
use crate::port::packet_socket::config::{HostStack, PacketConfig};
use crate::port::packet_socket::ring;
use crate::sys::packet_options as options;

/// A device that the port has.
#[derive(Debug)]
pub(super) struct Taken {
    /// Of which the queue has a copy.
    pub socket: OwnedFd,
    /// A queue of it has been handed out.
    pub was_read: bool,
    pub links: Links,
    /// As it was found.
    pub before: Link,
    /// Whether its MTU was set.
    has_mtu: bool,
    /// Whether it is somebody else's to give back.
    is_disarmed: bool,
    host: Option<HostProgram>,
    _claim: Option<Claim>,
}

/// What keeps the host's stack off the device, or off a part of it.
#[derive(Debug)]
enum HostProgram {
    Silence(Silence),
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
                    return Ok(Some(Self::Silence(silence)));
                }
                let silence = Silence::on(before.index, socket);
                let silence = silence.map_err(PortError::when(Operation::SilenceHost, name))?;
                Some(Self::Silence(silence))
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

impl Taken {
    /// Takes the device of the calling thread's namespace; `None` if there is none.
    pub(super) fn open(config: &PacketConfig, share: Option<&Share>) -> Result<Option<Self>, PortError> {
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
        let socket = open_socket().map_err(PortError::when(Operation::OpenPacketSocket, name))?;
        let host = HostProgram::on(&before, remains, config, share, &socket)?;
        let is_shared = share.is_some();
        let mut device =
            Self { socket, was_read: false, links, before, has_mtu, is_disarmed: false, host, _claim: claim };
        bind_socket(&device.socket, &device.before, is_shared)
            .map_err(PortError::when(Operation::OpenPacketSocket, name))?;
        device.configure(config)?;
        Ok(Some(device))
    }

    pub(super) fn configure(&mut self, config: &PacketConfig) -> Result<(), PortError> {
        if let (false, Ok(link)) = (self.has_mtu, self.link()) {
            self.before.mtu = link.mtu;
        }
        let raised = config.mtu.map(|mtu| self.before.mtu.max(mtu.into()));
        // One that was set goes back to what it was when it is set no more.
        let mtu = raised.or(self.has_mtu.then_some(self.before.mtu));
        self.note_mtu(mtu.is_some());
        let wanted = LinkChange { mtu, up: Some(true), mac: None };
        self.change(&wanted).map_err(PortError::when(Operation::ConfigureLink, &config.device))?;
        self.has_mtu = raised.is_some();
        self.note_mtu(self.has_mtu);
        // Who asks by rtnetlink has the kernel look at the carrier now, not some milliseconds later.
        let _ = self.link();
        Ok(())
    }

    /// Tells the switch that comes after one that is killed. Without it only the MTU stays changed then.
    fn note_mtu(&mut self, is_changed: bool) {
        let mtu = is_changed.then_some(self.before.mtu);
        if let Some(HostProgram::Silence(silence)) = &mut self.host {
            let _ = silence.note_mtu(mtu);
        }
    }

    /// From now on it stays as it is when this is dropped.
    pub(super) fn disarm(&mut self) {
        self.is_disarmed = true;
        if let Some(HostProgram::Silence(silence)) = &mut self.host {
            silence.disarm();
        }
    }

    fn change(&self, wanted: &LinkChange) -> io::Result<()> {
        if wanted.is_met_by(&self.link()?) { Ok(()) } else { self.links.change(self.before.index, wanted) }
    }

    fn link(&self) -> io::Result<Link> {
        self.links.get(self.before.index)
    }

    pub(super) fn is_running(&self) -> bool {
        self.running().unwrap_or(false)
    }

    pub(super) fn running(&self) -> io::Result<bool> {
        self.links.is_running(self.before.index)
    }
}

impl Drop for Taken {
    /// Gives the device back as it was. Errors are of no use here: then it is gone.
    fn drop(&mut self) {
        if self.is_disarmed {
            return;
        }
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

/// A socket with a ring, which nothing comes to yet.
fn open_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // Protocol 0: nothing is received before it is bound to the device.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    for option in OPTIONS {
        options::enable(&socket, option)?;
    }
    options::set_queues(&socket, QUEUE_BYTES)?;
    ring::make(&socket)?;
    Ok(socket)
}

/// Where the address is the host's too, nothing comes for any other.
fn bind_socket(socket: &OwnedFd, link: &Link, is_shared: bool) -> io::Result<()> {
    if !is_shared {
        options::be_promiscuous(socket, link.index)?;
    }
    options::bind(socket, link.index, libc::ETH_P_ALL as u16)
}

/// Not `PACKET_QDISC_BYPASS`: what goes past the queueing discipline goes past tcpdump, too.
const OPTIONS: [libc::c_int; 3] = [libc::PACKET_VNET_HDR, libc::PACKET_IGNORE_OUTGOING, libc::PACKET_AUXDATA];

/// Bytes that may wait in each direction, of which the kernel counts half; when receiving, those of long frames. About 400
/// super-frames, where a tap's queue takes 1000. The kernel's own default holds two or three. With 4 MiB, four TCP streams
/// between two ports overran it (842 to 40 582 retransmissions in 4 seconds); with 16 MiB there were 0 to 97.
const QUEUE_BYTES: u32 = 16 << 20;
