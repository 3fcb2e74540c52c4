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
//! put devices where the configuration wants them; [`host`] has what demo, tests and benchmarks need of the system
//! beyond that.
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)]

mod bpf;
mod claim;
mod closer;
mod clsact;
mod dgram;
mod error;
mod folders;
mod framing;
pub mod host;
mod host_use;
mod huge_pages;
mod link;
mod link_monitor;
mod listeners;
mod memory;
mod netlink;
mod netns;
mod packet_options;
mod packet_ring;
mod packet_send;
mod packet_socket;
mod port;
mod process;
mod shared;
mod signals;
mod silence;
mod software_offload;
mod spec;
mod stream;
mod tap;
mod tap_ioctl;
mod tun;
mod unix_socket;
mod vhost;
mod watch;

pub use dgram::{DgramConfig, DgramPort};
pub use error::PortError;
pub use host_use::{DefaultRoute, HostUse};
pub use huge_pages::HugePages;
pub use link::{Link, LinkChange, LinkIndex, Links};
pub use link_monitor::{LinkEvent, LinkMonitor};
pub use listeners::listeners;
pub use memory::{MemoryPort, memory_pair};
pub use netns::{Netns, NetnsHandle, NetnsId};
pub use packet_socket::{HostStack, PacketConfig, PacketPort};
pub use port::{Before, LinkLoss, Port, Rx};
pub use process::{Clock, ProcessWatch, end_with_this_thread, random_bytes, thread_nanos};
pub use shared::SharedAddress;
pub use signals::{Signal, Signals};
pub use spec::PortSpec;
pub use stream::{Role, StreamConfig, StreamPort};
pub use tap::{TapConfig, TapPort};
pub use tun::Tun;
pub use unix_socket::BoundSocket;
pub use vhost::{VhostDriver, VhostUserConfig, VhostUserPort};
