//! Ports: see [`kind`]. The one list of kinds that there is: a module, its settings for others, and how its queue is opened.

pub(crate) mod dgram;
pub(crate) mod packet_socket;
pub(crate) mod stream;
pub(crate) mod tap;
pub(crate) mod udp;
pub(crate) mod vhost;

pub(crate) mod error;
pub(crate) mod framing;
pub(crate) mod kind;
pub(crate) mod outcome;
pub(crate) mod parcel;
pub(crate) mod socket_end;
pub(crate) mod software_offload;
pub(crate) mod spec;

use std::io;

pub use self::dgram::DgramConfig;
pub use self::error::PortError;
pub use self::kind::{Device, Queue, Settings};
pub use self::outcome::{LinkLoss, Rx};
pub use self::packet_socket::{HostStack, PacketConfig};
pub use self::parcel::{Label, Meeting, Parcel};
pub use self::socket_end::Role;
pub use self::spec::PortSpec;
pub use self::stream::StreamConfig;
pub use self::tap::{TapConfig, TapDevice};
pub use self::udp::UdpConfig;
pub use self::vhost::VhostUserConfig;

/// How a queue of each kind is opened.
const OPENERS: &[(&str, kind::Opener)] = &[
    (dgram::KIND, dgram::DgramQueue::open),
    (packet_socket::KIND, packet_socket::PacketQueue::open),
    (stream::KIND, stream::StreamQueue::open),
    (tap::KIND, tap::TapQueue::open),
    (udp::KIND, udp::UdpQueue::open),
    (vhost::KIND, vhost::VhostQueue::open),
];

/// Makes a queue of what it was handed over as.
///
/// # Errors
/// It is not whole or of no kind that there is, or the process has no memory left.
pub fn open_queue(parcel: Parcel) -> io::Result<Box<dyn Queue>> {
    let (_, open) =
        OPENERS.iter().find(|(kind, _)| *kind == parcel.label.kind).ok_or(io::ErrorKind::InvalidInput)?;
    open(parcel)
}
