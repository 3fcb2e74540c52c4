//! A learning bridge: IEEE 802.1Q without the I/O.
//!
//! ```text
//! ingress ─▶ learn ─▶ forward ─▶ … ─▶ egress
//!   │          │         │              └ one frame to one port, or flooded to all but the origin
//!   │          │         └ destination → Forward | Flood | Local
//!   │          └ source → Fdb
//!   └ port state, reserved addresses
//! ```
//!
//! A [`Bridge`] is one Ethernet segment with its ports and its [`Fdb`].
#![forbid(unsafe_code)]

mod bridge;
mod fdb;

pub use bridge::{Bridge, BridgePort, PortState};
pub use fdb::{Fdb, FdbEntry, Learned, Sighting};
