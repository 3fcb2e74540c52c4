//! A learning bridge: IEEE 802.1Q without the I/O.
//!
//! ```text
//! ingress ─▶ guard ─▶ learn ─▶ forward ─▶ … ─▶ egress
//!   │          │        │         │              └ one frame to one port, or flooded to all but the origin
//!   │          │        │         └ destination → Forward | Flood | Local
//!   │          │        └ source → Fdb
//!   │          └ what a port may say of itself
//!   └ port state, reserved addresses, VLAN
//! ```
//!
//! A [`Bridge`] is one Ethernet segment with its ports and its [`Fdb`].
#![forbid(unsafe_code)]

mod bridge;
mod egress;
mod fdb;
#[cfg(test)]
#[path = "fdb/tests.rs"]
mod fdb_tests;
mod forward;
mod guard;
mod ingress;
mod learn;
mod limits;
mod own;
mod ports;
pub mod stp;
mod sync;
mod vlan;

pub use bridge::Bridge;
pub use fdb::{Fdb, FdbEntry, Learned, Sighting};
pub use guard::{Guard, PortGuard};
pub use limits::Limits;
pub use ports::{BridgePort, Group, PortSettings, PortState, Storm};
pub use vlan::PortVlans;
