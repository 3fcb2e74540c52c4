//! Flows: which packets belong together, in both directions, and where each is in its life.
//!
//! ```text
//! tuple ◀─ packet ◀─ flow ◀─ table ◀─ room, icmp, view
//!     └─◀─ tcp ◀─────┘
//! ```

pub(crate) mod count;
pub(crate) mod families;
pub(crate) mod flow;
pub(crate) mod icmp;
pub(crate) mod packet;
mod room;
pub(crate) mod sequence;
pub(crate) mod table;
pub(crate) mod tcp;
pub(crate) mod timeouts;
pub(crate) mod tuple;
pub(crate) mod view;
