//! Settings of a port, one variant per kind: the one list of kinds that there is.

use std::io;
use std::ops::Deref;

use crate::port::dgram::{DgramConfig, DgramQueue};
use crate::port::kind::{Queue, Settings};
use crate::port::packet_socket::{PacketConfig, PacketQueue};
use crate::port::parcel::{Label, Parcel};
use crate::port::stream::{StreamConfig, StreamQueue};
use crate::port::tap::{TapConfig, TapQueue};
use crate::port::vhost::{VhostQueue, VhostUserConfig};

/// Settings of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortSpec {
    /// A tap device.
    Tap(TapConfig),
    /// The kernel's side of any network device.
    Packet(PacketConfig),
    /// Frames over a connected unix socket.
    Stream(StreamConfig),
    /// Frames as datagrams between two unix sockets.
    Dgram(DgramConfig),
    /// The network card of a guest, whose memory is shared.
    VhostUser(VhostUserConfig),
}

impl PortSpec {
    /// Whether it has the MTU that its device has, as the settings say none.
    pub const fn has_own_mtu(&self) -> bool {
        match self {
            Self::Tap(settings) => settings.mtu.is_none(),
            Self::Packet(settings) => settings.mtu.is_none(),
            Self::Stream(_) | Self::Dgram(_) | Self::VhostUser(_) => false,
        }
    }

    /// Whether both are the same device, so that an open one goes from these settings to `other` by
    /// [`Device::reconfigure`](crate::Device::reconfigure). Otherwise it has to be closed and opened anew.
    pub fn same_device(&self, other: &Self) -> bool {
        (**self).same_device(&**other)
    }

    /// Whether both need something that only one port can have: a device, or a socket that the switch makes.
    pub fn collides(&self, other: &Self) -> bool {
        match (self.socket(), other.socket()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => {
                self.is_device()
                    && other.is_device()
                    && self.device() == other.device()
                    && self.netns() == other.netns()
            }
            _ => false,
        }
    }
}

/// Makes a queue of what it was handed over as.
///
/// # Errors
/// It is not whole, or the process has no memory left.
pub fn open(parcel: Parcel) -> io::Result<Box<dyn Queue>> {
    let open = match &parcel.label {
        Label::Tap { .. } => TapQueue::open,
        Label::Packet { .. } => PacketQueue::open,
        Label::Stream(_) => StreamQueue::open,
        Label::Dgram(_) => DgramQueue::open,
        Label::VhostUser { .. } => VhostQueue::open,
    };
    open(parcel)
}

/// What is the same for all kinds.
impl Deref for PortSpec {
    type Target = dyn Settings;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Tap(settings) => settings,
            Self::Packet(settings) => settings,
            Self::Stream(settings) => settings,
            Self::Dgram(settings) => settings,
            Self::VhostUser(settings) => settings,
        }
    }
}
