//! What every other crate of tapswitch speaks: addresses, bursts of frames, frame meta, verdicts, drop reasons,
//! wire formats and checksums.
//!
//! ```text
//! Burst ─┬─ frame 0: [headroom 64][bytes …]  + FrameMeta (≤ 64 bytes: where the headers are, offload, verdict)
//!        ├─ frame 1: …
//!        └─ up to 64 frames, all received on one port (or injected by the switch itself)
//! ```
//!
//! Nothing here does I/O, knows the time or keeps state between bursts.
#![forbid(unsafe_code)]

mod addr;
mod addr6;
pub mod builder;
mod burst;
pub mod checksum;
mod counted;
mod dns_name;
mod drop_reason;
pub mod extensions;
mod family;
pub mod hash;
mod ipv4;
mod ipv6;
pub mod keyed;
mod meta;
pub mod offload;
mod parse;
pub mod rate;
pub mod share;
mod time;
mod tx_entry;
mod tx_list;
mod verdict;
mod vlan;
pub mod wire;

pub use addr::{EtherType, Ipv4Cidr, MacAddr, NetworkId, ParseAddrError, PortId};
pub use addr6::{ALL_NODES, ALL_ROUTERS, Ipv6Cidr, solicited_node};
pub use burst::{BURST_BYTES, BURST_FRAMES, Burst, Frame, HEADROOM, MAX_FRAME, Slot};
pub use counted::{DropCounters, PortCounters};
pub use dns_name::DnsName;
pub use drop_reason::DropReason;
pub use family::{Family, Socket, V4, V6};
pub use ipv4::{Fragment, Ipv4Packet, L4, Protocol};
pub use ipv6::{Ipv6Packet, icmp6};
pub use meta::FrameMeta;
pub use offload::{Gso, Offload, OffloadSet, VNET_HDR_LEN};
pub use parse::parse;
pub use time::Millis;
pub use tx_entry::TxEntry;
pub use tx_list::TxLists;
pub use verdict::{DivertReason, PuntReason, Verdict};
pub use vlan::{FrameTag, ParseVidsError, Vid, VidSet};
