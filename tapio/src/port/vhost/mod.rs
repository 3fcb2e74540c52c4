//! A vhost-user port: the network card of a guest, whose memory is shared with us. QEMU's docs/interop/vhost-user;
//! virtio 1.2, 5.1.
//!
//! ```text
//! front-end (QEMU, testpmd) ── socket ──▶ connection ─▶ message ─▶ backend ─▶ memory_table, ring
//! guest's driver ── transmit ring ──▶ receive ──▶ Burst ──▶ worker ──▶ Burst ──▶ transmit ── receive ring ──▶ guest
//! ```
//!
//! Nothing that a front-end or guest does can harm more than its own port: a [`Violation`](violation::Violation) ends
//! the connection, and a new one is taken a second later at the earliest.
//!
//! The socket is not handled with a crate, because the one there is (`vhost`) waits for the rest of a message that was
//! sent by half, and all ports would wait with it.

mod backend;
mod budget;
mod call;
mod connection;
mod device;
#[cfg(feature = "testing")]
mod driver;
mod fault;
mod features;
mod guest_memory;
mod keeper;
mod memory_table;
mod message;
mod price;
mod queue;
mod receive;
mod ring;
mod session;
mod spread;
mod transmit;
pub(super) mod violation;
mod watched;

pub(crate) use self::call::prepare as prepare_calls;
pub(super) use self::device::KIND;
pub use self::device::VhostUserConfig;
#[cfg(feature = "testing")]
pub use self::driver::VhostDriver;
pub(super) use self::queue::VhostQueue;
