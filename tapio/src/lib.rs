//! Every system call and every `unsafe` of tapswitch.
//!
//! ```text
//!              network namespace │                 this process
//!  kernel's stack ── netdev t0 ──┼─ /dev/net/tun ── tap ─────────┐
//!  any netdev ── packet socket ──┼───────────────── packet ──────┤
//!           QEMU ── unix socket ─┼─ stream, dgram, vhost-user ───┤
//!                                │                               ├─ Queue ── rx_burst ──▶ Burst ──▶ worker (no I/O)
//!    settings, links, way back ──┼─ Device ── hands out ─────────┘        ◀── tx_burst ◀── Burst + list of frames
//! ```
//!
//! | folder | what is there | may use |
//! |---|---|---|
//! | `port/` | kinds of port: for each its settings, its [`Device`] and its [`Queue`] | all below |
//! | `device/` | what the kernel has: [`Netns`], [`Links`], addresses, what keeps the host off a device | `sys/` |
//! | `sys/` | system calls by subject: sockets, programs, signals, the clock | nothing of this crate |
//! | `sandbox/` | what the process that moves frames gives up | `port/`, `sys/` |
//! | `testing/` | what only tests and benchmarks need | all |
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)]

mod device;
mod port;
mod sandbox;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;

pub use device::host_use::{DefaultRoute, HostUse};
pub use device::link::{Link, LinkChange, Links};
pub use device::link_monitor::{LinkEvent, LinkMonitor};
pub use device::listeners::listeners;
pub use device::netns::{Netns, NetnsHandle, NetnsId};
pub use device::shared_address::SharedAddress;
pub use device::tun::Tun;
pub use port::*;
pub use sandbox::{ConfineError, Gap, Sandbox, User, confine, system_calls};
pub use sys::huge_pages::HugePages;
pub use sys::netdevice::{LinkIndex, bind_to_device};
pub use sys::process::{Clock, ProcessWatch, end_with_this_thread, random_bytes, thread_nanos};
pub use sys::signals::{Signal, Signals};
pub use sys::unix_socket::BoundSocket;
pub use sys::user_namespace::enter_user_namespace;
