//! What a port is to be, one variant per kind.

use std::borrow::Cow;
use std::path::Path;

use crate::device::netns::Netns;
use crate::port::dgram::DgramConfig;
use crate::port::packet_socket::{HostStack, PacketConfig};
use crate::port::stream::{Role, StreamConfig};
use crate::port::tap::TapConfig;
use crate::port::vhost::VhostUserConfig;

/// What a port is to be.
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
    /// The word for the kind, as configuration and tables have it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tap(_) => "tap",
            Self::Packet(_) => "packet",
            Self::Stream(_) => "stream",
            Self::Dgram(_) => "dgram",
            Self::VhostUser(_) => "vhost-user",
        }
    }

    /// What messages and tables call it: the name of its device, or the path of its socket.
    pub fn device(&self) -> Cow<'_, str> {
        match self {
            Self::Tap(config) => config.device.as_str().into(),
            Self::Packet(config) => config.device.as_str().into(),
            Self::Stream(config) => config.path.to_string_lossy(),
            Self::Dgram(config) => config.path.to_string_lossy(),
            Self::VhostUser(config) => config.path.to_string_lossy(),
        }
    }

    /// The namespace that the device is in; `None`: this process's.
    pub const fn netns(&self) -> Option<&Netns> {
        match self {
            Self::Tap(config) => config.netns.as_ref(),
            Self::Packet(config) => config.netns.as_ref(),
            Self::Stream(_) | Self::Dgram(_) | Self::VhostUser(_) => None,
        }
    }

    /// Whether it is a network device.
    pub const fn is_device(&self) -> bool {
        matches!(self, Self::Tap(_) | Self::Packet(_))
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

    /// The socket that the switch makes.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match self {
            Self::Stream(StreamConfig { path, role: Role::Server })
            | Self::VhostUser(VhostUserConfig { path, role: Role::Server, .. })
            | Self::Dgram(DgramConfig { path, .. }) => Some(path),
            Self::Tap(_) | Self::Packet(_) | Self::Stream(_) | Self::VhostUser(_) => None,
        }
    }

    /// Whether both are the same device, so that an open port goes from one to the other by
    /// [`Port::reconfigure`](crate::Port::reconfigure). Otherwise it has to be closed and opened anew.
    pub fn same_device(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tap(a), Self::Tap(b)) => a.device == b.device && a.netns == b.netns,
            (Self::Packet(a), Self::Packet(b)) => {
                let both_share = matches!((&a.host, &b.host), (HostStack::Shared(_), HostStack::Shared(_)));
                let host = if both_share { a.host.clone() } else { b.host.clone() };
                PacketConfig { mtu: a.mtu, host, ..b.clone() } == *a
            }
            (Self::Dgram(a), Self::Dgram(b)) => a.path == b.path,
            // All that there is to them.
            (Self::Stream(_) | Self::VhostUser(_), _) => self == other,
            (Self::Tap(_) | Self::Packet(_) | Self::Dgram(_), _) => false,
        }
    }
}
