//! The worker: the order of the stages, the gateway, snapshots and statistics.
#![forbid(unsafe_code)]

mod dhcp;
pub mod report;
mod runtime_config;

pub use dhcp::{DhcpReply, DhcpServer};
pub use runtime_config::{DhcpConfig, InterfaceConfig, NetworkConfig, PortConfig, Reach, RuntimeConfig};
