//! The device of a packet port, which comes and goes.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::device::netns::{Netns, NetnsHandle, NetnsId};
use crate::device::shared_address::Share;
use crate::port::error::{Operation, PortError};
use crate::port::kind::{Device, Opener, Settings, own_mtu};
use crate::port::packet_socket::config::{HostStack, PacketConfig};
use crate::port::packet_socket::queue::PacketQueue;
use crate::port::packet_socket::taken::Taken;
use crate::port::parcel::{Label, Parcel, copy};

/// The word for this kind.
pub(crate) const KIND: &str = "packet";

impl Settings for PacketConfig {
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

    fn keeps_host_off(&self) -> bool {
        true
    }

    fn same_device(&self, other: &dyn Settings) -> bool {
        let same =
            |other: &Self| self.network_device() == other.network_device() && self.host_can_become(other);
        other.of().is_some_and(same)
    }

    fn open(&self) -> Result<Box<dyn Device>, PortError> {
        Ok(Box::new(PacketDevice::open(self)?))
    }
}

/// A network device that the switch has from the kernel's side, whether it is there or not.
#[derive(Debug)]
struct PacketDevice {
    config: PacketConfig,
    netns: Option<NetnsHandle>,
    /// The switch's part of the host's address, if it has one.
    share: Option<Share>,
    /// `None` while there is none of this name.
    taken: Option<Taken>,
    /// Why the one that is there can't be had.
    refusal: Option<PortError>,
    needs_queue: bool,
    /// As it was before a change, until that is settled.
    before: Option<PacketConfig>,
}

impl PacketDevice {
    /// Takes the device, if it is there.
    fn open(config: &PacketConfig) -> Result<Self, PortError> {
        let opened = config.netns.as_ref().map(|netns| {
            netns.open().map_err(PortError::when(Operation::OpenNetns(netns.to_string()), &config.device))
        });
        let share = match &config.host {
            HostStack::Shared(shared) => {
                let share = Share::new().map_err(PortError::when(Operation::ShareAddress, &config.device))?;
                share.set(shared);
                Some(share)
            }
            HostStack::Silent { .. } | HostStack::Beside => None,
        };
        let mut port = Self {
            config: config.clone(),
            netns: opened.transpose()?,
            share,
            taken: None,
            refusal: None,
            needs_queue: true,
            before: None,
        };
        port.attach()?;
        Ok(port)
    }

    /// Takes the device if it is there now.
    fn attach(&mut self) -> Result<(), PortError> {
        let Self { config, share, .. } = self;
        let share = share.as_ref();
        self.taken = in_namespace(config, self.netns.as_ref(), || Taken::open(config, share))??;
        self.needs_queue |= self.taken.is_some();
        Ok(())
    }

    fn become_as(&mut self, config: &PacketConfig) -> Result<(), PortError> {
        if let Some(taken) = &mut self.taken {
            taken.configure(config)?;
        }
        if let (Some(share), HostStack::Shared(shared)) = (&self.share, &config.host) {
            share.set(shared);
        }
        self.config = config.clone();
        Ok(())
    }
}

impl Device for PacketDevice {
    fn settings(&self) -> &dyn Settings {
        &self.config
    }

    fn parcel(&mut self) -> Result<Parcel, PortError> {
        let socket = self.taken.as_ref().map(|taken| copy(&taken.socket));
        let bits = self.share.as_ref().map(Share::bits);
        let descriptors: io::Result<Vec<OwnedFd>> = socket.into_iter().chain(bits).collect();
        let descriptors = descriptors.map_err(PortError::when(Operation::HandOver, &self.config.device))?;
        self.needs_queue = false;
        let label = Label {
            device: self.taken.as_ref().map(|taken| taken.before.index.get()),
            is_new: self.taken.as_mut().is_some_and(|taken| !std::mem::replace(&mut taken.was_read, true)),
            is_shared: self.share.is_some(),
            ..Label::of(KIND)
        };
        Ok(Parcel { label, descriptors })
    }

    fn opener(&self) -> Opener {
        PacketQueue::open
    }

    fn needs_queue(&self) -> bool {
        self.needs_queue
    }

    /// Changes the MTU of the live device, and what the switch has of the host's address.
    fn reconfigure(&mut self, wanted: &dyn Settings) -> Result<(), PortError> {
        let Some(config) = wanted.of() else {
            return Err(PortError::when(Operation::Move, &wanted.device())(Errno::INVAL));
        };
        self.before = Some(self.config.clone());
        self.become_as(config).inspect_err(|_| self.take_back())
    }

    /// What fails can't be helped: then the device is gone.
    fn take_back(&mut self) {
        if let Some(config) = self.before.take() {
            let _ = self.become_as(&config);
            self.config = config;
        }
    }

    fn settle(&mut self) {
        self.before = None;
    }

    fn is(&self, wanted: &dyn Settings) -> bool {
        wanted.of().is_some_and(|wanted| self.config.host_can_become(wanted))
            && (self as &dyn Device).has_device_of(wanted)
    }

    fn link_up(&mut self) -> bool {
        if self.lacks_device() {
            self.taken = None;
            self.refusal = self.attach().err();
        }
        self.taken.as_ref().is_some_and(Taken::is_running)
    }

    fn lacks_device(&self) -> bool {
        self.taken.as_ref().is_none_or(|taken| taken.running().is_err())
    }

    fn take_refusal(&mut self) -> Option<PortError> {
        self.refusal.take()
    }

    fn netns(&self) -> Option<NetnsId> {
        self.netns.as_ref().map_or_else(|| NetnsId::find(None), NetnsHandle::id).ok()
    }

    fn own_mtu(&self) -> Option<u16> {
        let taken = self.taken.as_ref().filter(|_| self.config.mtu.is_none())?;
        taken.links.mtu(taken.before.index).ok().map(own_mtu)
    }

    fn disarm(&mut self) {
        if let Some(taken) = &mut self.taken {
            taken.disarm();
        }
    }
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
