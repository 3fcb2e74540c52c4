//! The worker: the order of the stages, the gateway, snapshots and statistics.
//!
//! ```text
//! burst ─▶ parse ─▶ ingress ─▶ learn ─▶ forward ─▶ gateway ─▶ egress ─▶ account ─▶ lists, a list per port
//!                                                    └ Punt ─▶ service: ARP, ICMP, DHCP ─▶ the switch's own frames
//! ```
//!
//! No I/O, no clock: [`Worker`] takes bursts and `now`, and gives back which frame goes to which port.
#![forbid(unsafe_code)]

mod gateway;
mod host;
mod punt;
pub mod report;
mod runtime_config;
mod sockets;
mod worker;

pub use runtime_config::{
    BalanceConfig, CheckConfig, CheckKind, DhcpBoot, DhcpClient, DhcpConfig, DnsConfig, InterfaceConfig,
    InterfaceSettings, Ipv6Config, NamePattern, NetworkConfig, NetworkSettings, PortConfig, RaConfig, Reach,
    RuntimeConfig,
};
pub use switch_core::{Guard, PortSettings, PortState, PortVlans, Storm, stp};
pub use worker::{NewTables, OwnFrames, Processed, Transmitted, Worker};
