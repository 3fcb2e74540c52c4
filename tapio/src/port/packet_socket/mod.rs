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

mod config;
mod device;
mod queue;
mod ring;
mod send;
mod taken;

pub use self::config::{HostStack, PacketConfig};
pub(super) use self::device::KIND;
pub(super) use self::queue::PacketQueue;
