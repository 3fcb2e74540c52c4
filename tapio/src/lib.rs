//! Every system call and every `unsafe` of tapswitch.
//!
//! ```text
//!              network namespace │                        this process
//!  kernel's stack ── netdev t0 ─┼─ /dev/net/tun ── TapPort ──┐
//!  any netdev ── packet socket ─┼── PacketPort ─────────────┤
//!           QEMU ── unix socket ┼── StreamPort, DgramPort ───┤
//!                               │                 MemoryPort ├─ Port ── rx_burst ──▶ Burst ──▶ worker (no I/O)
//!                               │                            ┘     ◀── tx_burst ◀── Burst + list of frames
//! ```
//!
//! [`Port`] is what the driver sees: bursts in, lists of frames out, an event source for mio. [`Netns`] and [`Links`]
//! put devices where the configuration wants them; [`host`] has what tests and benchmarks need of the system
//! beyond that.
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)]

mod device;
mod port;
mod sys;
mod testing;

pub use device::host_use::{DefaultRoute, HostUse};
pub use device::link::{Link, LinkChange, Links};
pub use device::link_monitor::{LinkEvent, LinkMonitor};
pub use device::listeners::listeners;
pub use device::netns::{Netns, NetnsHandle, NetnsId};
pub use device::shared_address::SharedAddress;
pub use device::tun::Tun;
pub use port::dgram::{DgramConfig, DgramPort};
pub use port::error::PortError;
pub use port::outcome::{LinkLoss, Rx};
pub use port::packet_socket::{HostStack, PacketConfig, PacketPort};
pub use port::spec::PortSpec;
pub use port::stream::{Role, StreamConfig, StreamPort};
pub use port::tap::{TapConfig, TapPort};
pub use port::vhost::{VhostDriver, VhostUserConfig, VhostUserPort};
pub use port::{Before, Port};
pub use sys::huge_pages::HugePages;
pub use sys::netdevice::{LinkIndex, bind_to_device};
pub use sys::process::{Clock, ProcessWatch, end_with_this_thread, random_bytes, thread_nanos};
pub use sys::signals::{Signal, Signals};
pub use sys::unix_socket::BoundSocket;
pub use sys::user_namespace::enter_user_namespace;
pub use testing::host;
pub use testing::memory::{MemoryPort, memory_pair};
